"""What people may ask of a hub: the journal, timelines, replays, status, and whatever plugins add.

One place for the commands of today and the pages of tomorrow.  Every look at patient data and every change by a person
writes an audit row; a look whose audit row cannot be written does not happen.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hub.bus.core import Core
from hub.bus.corrections import Corrections, EditParams, SkipParams
from hub.bus.hub import Hub
from hub.bus.jobs import Job, JobOperations, JobParams, line as job_line, new_replay, take_step
from hub.bus.reload import reload
from hub.bus.replay import Replay, ReplayParams
from hub.bus.routes import RouteParams, Routes
from hub.bus.status import describe_lanes, describe_status
from hub.bus.tail import NextParams, TailParams, Tails
from hub.bus.timeline import MASK, Timeline, TraceParams
from hub.errors import Conflict, NotFound, Refused, Unreachable
from hub.message import Message
from hub.moments import from_micros, now_micros, to_micros
from hub.step import Operation
from hub.store.reader import MessageFilter, state_of
from hub.store.rows import STATES, AuditRow, Write
from hub.units import iso

APPOINTMENT = ("appointment", "placer")
"""Kinds of keys an appointment is looked up under: the EHR's own id, and that of who placed it."""
MOST_LISTED = 10_000
MOST_REPLAYED = 1_000_000


class _Params(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Selection(_Params):
    """Which messages are meant."""

    connection: str | None = None
    type: str | None = None
    state: str | None = None
    patient: str | None = None
    control_id: str | None = None
    appointment: str | None = None
    since: datetime | None = None
    limit: int = Field(default=100, ge=1, le=MOST_LISTED)


class ListParams(Selection):
    """`messages list`."""

    phi: bool = False


class ShowParams(_Params):
    """`messages show`."""

    id: str
    phi: bool = False
    raw: bool = False
    """Also the body as it is, in base64."""


class ReplayRequest(Selection):
    """`replay`."""

    ids: list[str] = []
    from_step: str | None = None
    keep_ids: bool = False
    dry_run: bool = False
    yes: int | None = None
    limit: int = Field(default=MOST_REPLAYED, ge=1, le=MOST_REPLAYED)


class BackupParams(_Params):
    """`backup`."""

    file: str


class NoParams(_Params):
    """What needs no more words."""


class StatusParams(_Params):
    """`status`."""

    lanes: int = Field(default=0, ge=0, le=1000)
    """So many of the longest lanes as well."""


@dataclass(frozen=True, slots=True)
class _BuiltIn:
    params: type[BaseModel]
    run: Callable[[Any, AuditRow], Awaitable[Any]]
    audit: Literal["before", "with", "none"] = "before"
    """Whether its audit row is on disk before it looks, goes with what it changes, or is not needed."""


class Operations:
    """Everything that can be asked, by name.  Without a running hub it works on the store at rest."""

    def __init__(self, core: Core, hub: Hub | None = None) -> None:
        self.core = core
        self.hub = hub
        tails = Tails(core, self._lines, running=hub is not None)
        self._built_in = {
            "messages.list": _BuiltIn(ListParams, self.list_messages),
            "messages.show": _BuiltIn(ShowParams, self.show_message),
            "messages.skip": _BuiltIn(SkipParams, Corrections(core, hub).skip, audit="with"),
            "messages.edit": _BuiltIn(EditParams, Corrections(core, hub).edit, audit="with"),
            "trace": _BuiltIn(TraceParams, self.trace),
            "replay": _BuiltIn(ReplayRequest, self.replay, audit="with"),
            "jobs.list": _BuiltIn(NoParams, JobOperations(core, hub).list, audit="none"),
            "jobs.stop": _BuiltIn(JobParams, JobOperations(core, hub).stop, audit="with"),
            "jobs.resume": _BuiltIn(JobParams, JobOperations(core, hub).resume, audit="with"),
            "routes": _BuiltIn(RouteParams, Routes(core, hub).look, audit="none"),
            "pause": _BuiltIn(RouteParams, Routes(core, hub).pause, audit="with"),
            "resume": _BuiltIn(RouteParams, Routes(core, hub).resume, audit="with"),
            "drain": _BuiltIn(RouteParams, Routes(core, hub).drain, audit="with"),
            "backup": _BuiltIn(BackupParams, self.backup),
            "retention.preview": _BuiltIn(NoParams, self.retention_preview, audit="none"),
            "retention.run": _BuiltIn(NoParams, self.retention_run),
            "tail.begin": _BuiltIn(TailParams, tails.begin),
            "tail.next": _BuiltIn(NextParams, tails.next, audit="none"),
            "reload": _BuiltIn(NoParams, self.reload, audit="with"),
            "status": _BuiltIn(StatusParams, self.status, audit="none"),
        }

    def names(self) -> list[str]:
        return sorted([*self._built_in, *self.core.clinic.catalogue.operations])

    async def run(self, name: str, params: dict[str, Any], actor: str) -> Any:
        """Raises NotFound, Refused (parameters that make no sense among them), or what the operation raises."""
        if (built_in := self._built_in.get(name)) is not None:
            parsed = _parse(built_in.params, params)
            audit = await self._audit(actor, name, params)
            if built_in.audit == "before":
                await self.core.journal.commit(Write(audit=[audit]))
            return await built_in.run(parsed, audit)
        operation = self.core.clinic.catalogue.operations.get(name)
        if operation is None:
            raise NotFound(f"there is no operation {name!r}; there are {', '.join(self.names())}")
        return await self._run_of_plugin(operation, _parse(operation.params, params), params, actor)

    async def _run_of_plugin(self, operation: Operation, parsed: BaseModel, params: dict[str, Any], actor: str) -> Any:
        """Its changes and its audit row are one commit; what was only read need not have stayed the same."""
        for _ in range(20):
            context = self.core.context(operation.name, actor)
            result = await operation.run(parsed, context)
            write = self.core.write_of(context.changes, context.now)
            if not (write.records or write.due):
                write.reads = []
            write.audit = [await self._audit(actor, operation.name, params, operation.private)]
            try:
                await self.core.journal.commit(write)
            except Conflict:
                continue
            return result
        raise Refused("others are changing the same records; try again")

    async def _audit(self, actor: str, name: str, params: dict[str, Any], private: frozenset[str] = frozenset()) -> AuditRow:
        """Who asked for what; patient data are kept as digests: only who has the key can tell whose they were."""
        shown = {key: value for key, value in params.items() if key != "body"}
        for key in private & {key for key, value in shown.items() if value not in (None, "")}:
            shown[key] = self.core.seal.mac("audit", str(shown[key]))
        if "patient" in shown:
            shown["patient"] = self.core.filing.value("patient", str(shown["patient"]))
        if name == "trace" and not await Timeline(self.core).is_no_patient(str(shown.get("id"))):
            shown["id"] = self.core.filing.value("patient", str(shown.get("id")))
        subject = str(shown.get("appointment") or shown.get("id") or shown.get("ids") or shown.get("name") or "")[:200]
        details = ", ".join(f"{key}={value}" for key, value in sorted(shown.items()) if value not in (None, False, [], ""))
        return AuditRow(now_micros(), actor, name, subject, details[:1000])

    # The journal.

    async def list_messages(self, params: ListParams, _: AuditRow) -> list[dict[str, Any]]:
        return await self._lines(await self._select(params), params.phi)

    async def _lines(self, rows: Sequence[Any], phi: bool) -> list[dict[str, Any]]:
        works = await self.core.reader.works_of([row.seq for row in rows])
        keys = await self.core.reader.keys_of([row.seq for row in rows])
        return [self._line(row, works, keys, phi) for row in rows]

    async def _select(self, params: Selection) -> Sequence[Any]:
        if params.state == "working":
            return await self.core.reader.messages_by_seq(self._working()[: params.limit])
        return await self.core.reader.list_messages(self._filter(params))

    async def _select_seqs(self, params: Selection) -> Sequence[int]:
        if params.state == "working":
            return self._working()[: params.limit]
        return await self.core.reader.list_seqs(self._filter(params))

    def _filter(self, params: Selection) -> MessageFilter:
        if params.state is not None and params.state not in STATES:
            raise Refused(f"there is no state {params.state!r}; there are {', '.join(STATES)}", code="CLI-003")
        filing = self.core.filing
        wanted = [(("patient",), params.patient), (("control",), params.control_id), (APPOINTMENT, params.appointment)]
        keys = [(kinds, filing.value(kinds[0], value)) for kinds, value in wanted if value is not None]
        since = to_micros(params.since if params.since.tzinfo else params.since.astimezone()) if params.since else None
        return MessageFilter(params.connection, params.type, params.state, keys, since, params.limit)

    def _working(self) -> list[int]:
        """What is under way this moment: known to the running hub only."""
        targets = self.hub.targets.values() if self.hub else []
        return [item.seq for target in targets for item in target.lanes.items.values() if item.running]

    def _line(self, row: Any, works: Sequence[Any], keys: Sequence[Any], phi: bool) -> dict[str, Any]:
        own = [work for work in works if work.seq == row.seq]
        filed = [key for key in keys if key.seq == row.seq]
        patient = any(key.kind == "patient" for key in filed)
        return {
            "id": row.id,
            "seq": row.seq,
            "at": iso(from_micros(row.at)),
            "connection": row.connection,
            "direction": row.direction,
            "type": row.type or None,
            "control_id": row.control_id or None,
            "state": self._state(row, own),
            "reason": _reason(row, own),
            "patient": (self._patient(row) if phi else MASK) if patient else None,
            "appointment": next((key.value for key in filed if key.kind == "appointment"), None),
            "attempts": max((work.attempts for work in own), default=0),
            "late": _is_late(own),
            "flag": row.flag,
        }

    def _state(self, row: Any, works: Sequence[Any]) -> str:
        state = state_of(row.state, works)
        if state == "waiting" and self.hub is not None:
            running = (self.hub.targets[w.target].lanes.items.get(w.id) for w in works if w.target in self.hub.targets)
            return "working" if any(item is not None and item.running for item in running) else state
        return state

    def _patient(self, row: Any) -> str | None:
        message = self.core.bodies.message(row)
        keys = self.core.filing.keys(message, message.headers)
        return next(iter(keys.patient), None)

    async def show_message(self, params: ShowParams, _: AuditRow) -> dict[str, Any]:
        if params.raw and not params.phi:
            raise Refused("the body as it is shows patient data; ask with --phi", code="CLI-004")
        row = await self._message(params.id)
        works = await self.core.reader.works_of([row.seq])
        keys = await self.core.reader.keys_of([row.seq])
        message = self.core.bodies.message(row)
        attempts = await self.core.reader.attempts_of([work.id for work in works])
        children = await self.core.reader.children([row.id])
        return self._line(row, works, keys, params.phi) | {
            "format": row.format,
            "size": row.size,
            "parent": row.parent,
            "generation": row.generation,
            **self._body_line(row, message, params.phi),
            **({"raw": b64encode(message.body).decode()} if params.raw else {}),
            "path": [_path_line(work) for work in works],
            "attempts_made": [self._attempt_line(row.id, attempt, params.phi) for attempt in attempts],
            "replies": [
                {"id": c.id, "direction": c.direction, "connection": c.connection, "type": c.type or None} for c in children
            ],
        }

    @staticmethod
    def _body_line(row: Any, message: Message, phi: bool) -> dict[str, Any]:
        if row.body is None:
            return {"body": None, "body_hidden": "no longer kept"}
        if not phi:
            return {"body": None, "body_hidden": "patient data; ask with --phi"}
        return {"body": message.body.decode("utf-8", errors="replace"), "body_hidden": None}

    def _attempt_line(self, message: str, attempt: Any, phi: bool) -> dict[str, Any]:
        line = {"work": attempt.work, "number": attempt.number, "at": iso(from_micros(attempt.at)), "code": attempt.code}
        reply = attempt.reply and (self.core.bodies.reply_text(message, attempt.reply) if phi else MASK)
        return line | {"text": attempt.text, "reply": reply}

    async def _message(self, id: str) -> Any:
        row = await self.core.reader.message(id)
        if row is None:
            raise NotFound(f"there is no message {id!r}")
        return row

    async def trace(self, params: TraceParams, _: AuditRow) -> dict[str, Any]:
        return await Timeline(self.core).trace(params)

    async def replay(self, params: ReplayRequest, audit: AuditRow) -> dict[str, Any]:
        """Refuses unless the count was typed; a dry run tells it.  What takes more than one commit goes on as a job."""
        if not params.ids and not any(
            (params.state, params.connection, params.type, params.patient, params.control_id, params.appointment, params.since)
        ):
            raise Refused("say which messages: by id, by --state, or by another filter", code="RPL-001")
        seqs = [(await self._message(id)).seq for id in params.ids] if params.ids else await self._select_seqs(params)
        how = ReplayParams(params.from_step, params.keep_ids, params.state)
        found = await Replay(self.core, self.hub, how).plan_all(sorted(set(seqs)), named=bool(params.ids))
        told = {"count": len(found), "messages": [id for _, id in found[:100]], "replayed": 0, "job": None}
        if params.dry_run:
            await self.core.journal.commit(Write(audit=[audit]))
            return told
        if params.yes != len(found):
            raise Refused(f"this replays {len(found)} message(s); say so: --yes {len(found)}", code="RPL-002")
        job = new_replay(how, [seq for seq, _ in found], audit.actor)
        await self._begin(job, audit)
        return told | {"replayed": job.row.done, "job": job.row.id}

    async def _begin(self, job: Job, audit: AuditRow) -> None:
        """Who wanted it is in the first commit; without a running hub all of it is done at once."""
        await take_step(self.core, self.hub, job, [audit])
        while self.hub is None and job.row.state == "running":
            await take_step(self.core, None, job)
        if self.hub is not None and job.row.state == "running":
            if self.hub.leads:
                self.hub.jobs.run(job)
            else:
                self.hub.tell_others()

    async def backup(self, _: BackupParams, __: AuditRow) -> dict[str, Any]:
        """Says in the audit that a copy is about to be made; who makes it only reads, and needs no hub for it."""
        return {"store": str(self.core.store.path)}

    async def retention_preview(self, _: NoParams, __: AuditRow) -> list[dict[str, Any]]:
        return await self.core.retention.preview()

    async def retention_run(self, _: NoParams, audit: AuditRow) -> dict[str, Any]:
        swept = await self.core.retention.sweep(audit.actor)
        return {**swept.rows, "files": swept.files, "drafts": swept.drafts}

    async def reload(self, _: NoParams, audit: AuditRow) -> dict[str, Any]:
        if self.hub is None:
            raise Unreachable("no hub is running; it reads the clinic file when it starts")
        told = await reload(self.hub, audit)
        if self.hub.sharing is not None:
            await self.hub.orders.note_reload()
            self.hub.tell_others()
        return told

    async def status(self, params: StatusParams, _: AuditRow) -> dict[str, Any]:
        found = await describe_status(self.core, self.hub)
        found["jobs"] = [job_line(row) for row in await self.core.reader.jobs(running=True)]
        if params.lanes:
            found["lanes"] = await describe_lanes(self.core.reader, params.lanes)
        return found


def _parse(model: type[BaseModel], params: dict[str, Any]) -> Any:
    try:
        return model.model_validate(params)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        raise Refused(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}", code="CLI-004") from None


def _reason(row: Any, works: Sequence[Any]) -> str | None:
    return row.reason or next((work.reason for work in reversed(works) if work.reason), None)


def _is_late(works: Sequence[Any]) -> bool:
    """True when some of it was delivered after its turn: replayed after a quarantine, or edited."""
    newest = {work.target: work for work in sorted(works, key=lambda work: work.id)}
    return any(work.again and work.state == "delivered" for work in newest.values())


def _path_line(work: Any) -> dict[str, Any]:
    return {
        "work": work.id,
        "target": work.target,
        "state": work.state,
        "generation": work.generation,
        "attempts": work.attempts,
        "step": work.step or None,
        "reason": work.reason,
        "answer": work.answer,
        "at": iso(from_micros(work.at)),
        "next_at": iso(from_micros(work.next_at)) if work.next_at > now_micros() else None,
    }
