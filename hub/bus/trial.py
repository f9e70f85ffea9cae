"""A flow on trial: its steps run for one message, on records in memory; nothing is stored and nothing sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from hub.bus.contents import MemoryContents
from hub.bus.context import RunContext, Surroundings
from hub.bus.failures import problem_of
from hub.bus.flow import Flow
from hub.bus.numbers import MemoryNumbers
from hub.bus.records import MemoryRecords
from hub.clinic import Clinic
from hub.connector import SourceConfig
from hub.errors import HubError, MessageUnusable, NotFound
from hub.message import Message
from hub.records import Record
from hub.security.seal import Seal
from hub.step import Outgoing, StepResult

_ID = "0" * 20
"""Id of a message on trial: always the same, so that what is made of it is too."""


@dataclass(slots=True)
class StepOutput:
    """What one step made."""

    step: str
    messages: list[Message]


@dataclass(slots=True)
class Trial:
    """What a flow would have done."""

    steps: list[StepOutput] = field(default_factory=list)
    saved: list[tuple[str, Record]] = field(default_factory=list)
    sent: list[Outgoing] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    planned: list[tuple[str, str, datetime]] = field(default_factory=list)
    """Job, key and time of work that was planned."""
    failed_at: str = ""
    error: HubError | None = None


async def try_flow(
    clinic: Clinic, name: str, message: Message, *, start: str = "", records: Iterable[Record] = (), now: datetime | None = None
) -> Trial:
    """Runs a flow; an error of a step ends the trial and is in it.  Raises NotFound for an unknown flow or step."""
    settings = clinic.settings.flows.get(name)
    if settings is None:
        raise NotFound(f"there is no flow {name!r}; there are {', '.join(clinic.settings.flows)}")
    flow = Flow.build(settings)
    index = flow.index(start)
    if index is None:
        raise NotFound(f"the flow {name} has no step {start!r}; it has {', '.join(s.name for s in flow.steps)}")
    memory = MemoryRecords()
    seal = Seal(b"\0" * 32)
    surroundings = Surroundings(
        clinic.settings, clinic.catalogue, clinic.mappings, seal, memory, MemoryNumbers(), MemoryContents(seal)
    )
    for record in records:
        memory.keep(surroundings.kinds[type(record)], record)
    context = _context(clinic, surroundings, flow, now)
    trial = Trial()

    def watch(step: str, result: StepResult) -> None:
        made = [] if result is None else [result] if isinstance(result, Message) else list(result)
        trial.steps.append(StepOutput(step, made))

    try:
        if message.format == "due":
            await flow.run(message, index, context, watch)
        else:
            await flow.run_steps(message, index, context, watch)
    except Exception as error:
        trial.error, trial.failed_at = problem_of(error), context.step
    trial.saved = [(kind, saved.record) for (kind, _), saved in context.changes.records.items()]
    trial.sent = context.changes.sent
    trial.notes = [(what, text) for what, text, _ in context.changes.notes]
    trial.planned = [(due.job, due.key, due.at) for due in context.changes.due.values() if due is not None]
    return trial


def _context(clinic: Clinic, surroundings: Surroundings, flow: Flow, now: datetime | None) -> RunContext:
    way, _, source = flow.settings.source.partition(" ")
    connection = source if way == "connection" else ""
    found = clinic.settings.connections.get(connection)
    authority = found.config.authority if found and isinstance(found.config, SourceConfig) else None
    return RunContext(
        surroundings,
        message_id=_ID,
        name=flow.name,
        generation=0,
        connection=connection,
        now=now or datetime.now(UTC),
        authority=authority or "",
    )


def message_for(clinic: Clinic, flow: str, given: Any, headers: dict[str, str]) -> Message:
    """The message a flow begins with: bytes as they came, the fields of the record its first mapping reads, or, of a flow of
    due work without a mapping, what was planned (`{reminder: F-77/1d}`)."""
    if isinstance(given, bytes):
        format = "x12" if given[:512].lstrip(b"\xef\xbb\xbf \r\n").startswith(b"ISA") else "hl7v2"
        known = clinic.catalogue.formats[format]
        return Message(given, format, known.keys(given, headers).type, headers, id=_ID)
    for step in clinic.settings.flows[flow].steps:
        mapping = clinic.mappings.get(getattr(step.config, "mapping", ""))
        if mapping is not None and mapping.source_model is not None:
            try:
                return Message(mapping.source_model.model_validate(given), mapping.source, headers=headers, id=_ID)
            except ValidationError as error:
                first = error.errors(include_input=False)[0]
                raise MessageUnusable(
                    f"this is no {mapping.source}: {'.'.join(map(str, first['loc']))}: {first['msg']}"
                ) from None
    way, _, job = clinic.settings.flows[flow].source.partition(" ")
    if way == "due" and isinstance(given, dict):
        return Message(b"", "due", job, {**headers, **{str(name): str(value) for name, value in given.items()}}, id=_ID)
    raise MessageUnusable(f"the flow {flow} does not begin with a record")
