"""A flow at work: its steps up to the next `ask`, and everything they want in one commit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from hub.bus.context import RunContext
from hub.bus.core import Core
from hub.bus.failpoints import reached
from hub.bus.failures import Follower, problem_of
from hub.bus.lanes import Item
from hub.bus.patience import Patience
from hub.bus.retry import wait_before
from hub.bus.signals import Trouble
from hub.bus.target import Target, being_cancelled
from hub.connector import Retry, SourceConfig
from hub.errors import Conflict, ConnectionDown, HubError, MessageUnusable, StoreError, Unkept
from hub.message import Message
from hub.moments import now, now_micros, to_micros
from hub.settings.model import FlowSettings
from hub.step import AnyStep, Outgoing, StepResult
from hub.store.rows import Attempt, Mark, NewMessage, NewWork, Write

log = structlog.get_logger(__name__)

PARALLEL = 64
"""Messages one flow works on at once; never two with the same ordering key."""
STEP_TIMEOUT = 60.0
"""Seconds one run may take."""
CONFLICTS = 50
"""Runs of one message that may be undone by others before it is given up."""
_AGAIN = Retry()


@dataclass(slots=True)
class Flow:
    """A flow with its steps, ready to run."""

    settings: FlowSettings
    steps: Sequence[AnyStep]

    @classmethod
    def build(cls, settings: FlowSettings) -> Flow:
        return cls(settings, [part.step(part.name, part.config) for part in settings.steps])

    @property
    def name(self) -> str:
        return self.settings.name

    def index(self, step: str) -> int | None:
        """Where a named step stands; the beginning for none; None when there is no such step any more."""
        if not step:
            return 0
        return next((i for i, candidate in enumerate(self.steps) if candidate.name == step), None)

    def after(self, step: str) -> str | None:
        """The name of the step after this one; None after the last."""
        index = self.index(step)
        return self.steps[index + 1].name if index is not None and index + 1 < len(self.steps) else None

    async def run(
        self, message: Message, start: int, context: RunContext, watch: Callable[[str, StepResult], None] | None = None
    ) -> None:
        """Runs the steps from `start` on; what they want is in the context afterwards.  `watch` is shown what each makes."""
        if start == 0 and self.settings.source.startswith("due "):
            prepared = await self._prepare(message, context)
            if prepared is None:
                return
            message = prepared
        await self.run_steps(message, start, context, watch)

    async def _prepare(self, message: Message, context: RunContext) -> Message | None:
        job = context.due_job(self.settings.source.removeprefix("due "))
        context.step = "due"
        prepared = await job.prepare(message.headers, context)
        if prepared is None:
            return None
        context.asked_in = prepared.lane
        return message.derive(prepared.record, format=context.kind_name(prepared.record), headers=prepared.headers)

    async def run_steps(
        self, message: Message, index: int, context: RunContext, watch: Callable[[str, StepResult], None] | None = None
    ) -> None:
        """Runs the steps alone; `watch` is shown what each of them makes."""
        if index == len(self.steps):
            return
        step = self.steps[index]
        context.step = step.name
        if context.spans is None:
            result = await step.run(message, context)
        else:
            with context.spans.step(step.name, message.id):
                result = await step.run(message, context)
        if watch is not None:
            watch(step.name, result)
        following = [] if result is None else [result] if isinstance(result, Message) else list(result)
        for following_message in following:
            await self.run_steps(following_message, index + 1, context, watch)


class FlowTarget(Target):
    """A flow with its lanes."""

    def __init__(self, flow: Flow, core: Core, follower: Follower) -> None:
        name = f"flow:{flow.name}"
        super().__init__(name, core.journal, core.reader, PARALLEL, signals=core.signals.target(name), spans=core.spans)
        self._core, self._follower = core, follower
        self._patience = Patience(STEP_TIMEOUT)
        self.use(flow)

    def use(self, flow: Flow) -> None:
        """From the next message on; what runs ends as it began."""
        self.flow = flow
        core = self._core
        way, _, name = flow.settings.source.partition(" ")
        self._connection = name if way == "connection" else ""
        found = core.clinic.settings.connections.get(self._connection)
        config = found.config if found else None
        self._authority = (config.authority or "") if isinstance(config, SourceConfig) else ""

    async def handle(self, item: Item) -> None:
        flow = self.flow
        start = flow.index(item.step)
        if start is None:
            await self.hold(item, MessageUnusable(f"the flow {flow.name!r} has no step {item.step!r} any more"))
            return
        message = await self._core.bodies.load(item.message)
        began = time.monotonic()
        self.signals.tries += 1
        for _ in range(CONFLICTS):
            context = RunContext(
                self._core.surroundings,
                message_id=item.message,
                name=self.flow.name,
                generation=item.generation,
                connection=self._connection,
                now=now(),
                authority=self._authority,
                spans=self.spans,
            )
            try:
                assert item.task is not None  # noqa: S101 - it runs
                await self._patience.within(item.task, flow.run(message, start, context))
                reached("flow_ran")
                await self.journal.commit(await self._write(item, context))
                reached("flow_kept")
            except Conflict:
                continue  # undone whole; the run goes again on what is there now
            except ConnectionDown as error:
                await self._try_later(item, error)
                return
            except (Exception, asyncio.CancelledError) as error:
                if being_cancelled() or (isinstance(error, StoreError) and not isinstance(error, Unkept)):
                    raise
                await self._quarantine(item, context.step, problem_of(error), message)
                return
            self._done(item)
            self.signals.finished(time.monotonic() - began, item.since, now_micros())
            return
        crowded = MessageUnusable("other messages changed the same records again and again", code="MSG-004")
        await self._quarantine(item, "", crowded, message)

    # What a run wants, as one write.

    async def _write(self, item: Item, context: RunContext) -> Write:
        changes, at = context.changes, to_micros(context.now)
        write = self._core.write_of(changes, context.now)
        keys = [(kind, self._core.filing.value(kind, value)) for kind, value in changes.keys]
        write.keys = [(item.seq, kind, value) for kind, value in keys]
        for sent in changes.sent:
            write.messages.append(await self._outgoing(item, sent, keys, at, context))
        state = "parked" if context.asked else "delivered"
        write.marks.append(Mark(item.id, state, at, item.attempts, asks=context.asked))
        write.notes = [self._core.bodies.note(item.seq, what, text, at, plain=plain) for what, text, plain in changes.notes]
        return write

    async def _outgoing(
        self, item: Item, sent: Outgoing, keys: list[tuple[str, str]], at: int, context: RunContext
    ) -> NewMessage:
        own = await self._core.filing.keys_of(sent.message)
        row = await self._core.bodies.row(
            sent.message, connection=sent.destination, direction="out", at=at, control_id=own.control_id
        )
        row.type = row.type or own.type
        row.keep = self._core.keeping.level(sent.destination, [self.flow.name])
        row.keys = self._core.filing.rows(own, keys)
        step = f"{self.flow.name}/{context.asked_at if sent.ask else ''}"
        origin = item.id if sent.ask else None
        target = f"to:{sent.destination}"
        lane, also = item.lanes[0], item.lanes[1:]
        if sent.ask and context.asked_in:
            lane, also = self._core.filing.due_lane(sent.destination, context.asked_in), ()
        work = NewWork(target, lane, also, item.generation, step, origin, item.config, again=item.again)
        work.since, work.span = item.since, item.span
        row.works = [work]
        return row

    # How a run ends.

    def _done(self, item: Item) -> None:
        if self.trouble is not None and not self.lanes.waiting:
            self.trouble = None
        self.lanes.finish(item)
        self._core.bodies.forget(item.message)
        self._follower.finished(item.seq)

    async def _try_later(self, item: Item, error: ConnectionDown) -> None:
        """A step could not reach something: no attempt counts, the lane waits."""
        self.signals.down += 1
        self.trouble = Trouble.of(error, self.trouble)
        self.lanes.wait(item, time.monotonic() + (error.retry_after or wait_before(3, _AGAIN)))

    async def _quarantine(self, item: Item, step: str, error: HubError, message: Message) -> None:
        at = now_micros()
        where = f"flow {self.flow.name}" + (f", step {step}" if step else "")
        reason = f"{where}: {error}"
        number = item.attempts + 1
        write = Write(
            marks=[Mark(item.id, "quarantined", at, number, reason=reason, step=item.step)],
            attempts=[Attempt(item.id, number, at, error.code, reason)],
        )
        write.messages += await self._follower.failure(self.flow.name, step, error, message, item)
        await self.journal.commit(write)
        self.signals.quarantined += 1
        self.lanes.finish(item)
        self._core.bodies.forget(item.message)
        self._follower.failed(item, where, error, number)
