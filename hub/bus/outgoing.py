"""A connection that sends: failures of the connection told from failures of the message.

Refused connections, time-outs and silence belong to the connection: one breaker and one backoff, everything waits in order,
no attempt counts.  An answer about this message counts, and the connection's policy says what follows.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace

import structlog

from hub.bus.core import Core
from hub.bus.failpoints import reached
from hub.bus.failures import Follower, problem_of
from hub.bus.flow import Flow
from hub.bus.lanes import Item
from hub.bus.retry import Breaker, Pace, wait_before
from hub.bus.signals import Trouble
from hub.bus.spans import failed as span_failed
from hub.bus.target import Target, being_cancelled
from hub.connector import AnyDestination, DestinationConfig
from hub.errors import ConnectionDown, DoubtfulSend, HubError, MessageRejected, MessageUnusable, StoreError, Unkept
from hub.message import Message, derived_id
from hub.moments import now_micros
from hub.store.rows import Answered, Attempt, Mark, NewMessage, NewWork, Write

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Asker:
    """Where an answer goes on."""

    flow: Flow | None
    name: str
    step: str


class OutgoingTarget(Target):
    """A destination with its lanes."""

    def __init__(self, name: str, destination: AnyDestination, flows: dict[str, Flow], core: Core, follower: Follower) -> None:
        config = destination.config
        assert isinstance(config, DestinationConfig)  # noqa: S101 - the settings let only destinations get here
        signals = core.signals.target(f"to:{name}")
        super().__init__(f"to:{name}", core.journal, core.reader, config.parallel, signals=signals, spans=core.spans)
        self.connection = name
        self.destination = destination
        self.config = config
        self.breaker = Breaker(config.retry)
        self.pace = Pace(config.rate) if config.rate else None
        self.last_error: str | None = None
        self.last_sent: float | None = None
        self.answered_at = 0.0
        """When it answered last, by the monotonic clock."""
        self._flows, self._registry, self._follower = flows, core.clinic.registry, follower
        self._bodies, self._filing, self._keeping = core.bodies, core.filing, core.keeping

    def may_run(self) -> bool:
        now = time.monotonic()
        return (self.pace is None or self.pace.may_go(now)) and self.breaker.may_try(now, len(self.running))

    def take(self, now: float) -> Item | None:
        item = super().take(now)
        if self.pace is not None and item is not None:
            self.pace.went(now)
        return item

    def next_time(self) -> float | None:
        """Not before the connection may be tried and its pace lets the next one go."""
        if self.breaker.down and self.running:
            return None  # its fate decides
        now, timed = time.monotonic(), super().next_time()
        gate = max(self.breaker.open_until, self.pace.next_at if self.pace is not None else 0.0)
        if gate <= now:
            return timed
        wanted = now if self.lanes.has_ready else timed
        return None if wanted is None else max(wanted, gate)

    async def handle(self, item: Item) -> None:
        message = await self._bodies.load(item.message)
        if item.generation > message.generation:  # a replay under the same id: who sends it can tell
            message = message.child(message.id, message.parent or "", item.generation)
        if not self.destination.may_repeat(message):
            if item.doubtful:
                await self._doubtful(item, message, DoubtfulSend("the hub stopped while this was being sent"))
                return
            await self.commit_surely(Write(marks=[Mark(item.id, "working", now_micros(), item.attempts)]))
        if not self.fence():
            await self._not_ours(item)
            return
        began = time.monotonic()
        reached("sending")
        self.signals.tries += 1
        self.signals.repeats += item.sent
        item.sent = True
        try:
            answer = await self.destination.send(message)
        except ConnectionDown as error:
            await self._connection_failed(item, error, began)
        except MessageRejected as error:
            reached("refused")
            self._connection_worked()
            item.sent = False
            await self._rejected(item, message, error)
        except DoubtfulSend as error:
            await self._doubtful(item, message, error)
        except StoreError:
            raise
        except (Exception, asyncio.CancelledError) as error:
            if being_cancelled():
                raise
            await self._give_up(item, message, problem_of(error), "quarantined")
        else:
            reached("sent")
            self._connection_worked()
            await self._sent(item, message, answer, time.monotonic() - began)

    async def _not_ours(self, item: Item) -> None:
        """Another hub may have taken over: it is left as it was."""
        if self.destination.repeat == "ask":
            await self.commit_surely(Write(marks=[Mark(item.id, "waiting", now_micros(), item.attempts)]))
        self.lanes.put_back(item)

    # The connection.

    async def _connection_failed(self, item: Item, error: ConnectionDown, began: float) -> None:
        if error.unanswered and self.answered_at > began:
            await self._unanswered(item, error)
            return
        was_down = self.breaker.down
        self.signals.down += 1
        self.trouble = Trouble.of(error, self.trouble)
        if item.span is not None:
            span_failed(item.span, error.code)
        self.breaker.failed(time.monotonic(), str(error), error.retry_after, began=began)
        self.last_error = str(error)
        if self.destination.repeat == "ask":
            await self.commit_surely(Write(marks=[Mark(item.id, "waiting", now_micros(), item.attempts)]))
        self.lanes.put_back(item)
        if not was_down:
            log.warning("connection down", connection=self.connection, reason=str(error))
            self._registry.tell("connection_changed", connection=self.connection, state="down", reason=str(error))

    async def _unanswered(self, item: Item, error: ConnectionDown) -> None:
        """Others were answered meanwhile, so the connection works: this message waits, and what comes after it in its lane."""
        await self._try_again(item, error, max(error.retry_after or 0.0, wait_before(1, self.config.retry)))

    async def _try_again(self, item: Item, error: HubError, wait: float, *attempts: Attempt) -> None:
        """The message waits so many seconds, and what comes after it in its lane."""
        at, answer = now_micros(), error.answer if isinstance(error, MessageRejected) else None
        mark = Mark(item.id, "waiting", at, item.attempts, at + int(wait * 1_000_000), str(error), answer)
        await self.commit_surely(Write(marks=[mark], attempts=list(attempts)))
        self.signals.retried += 1
        self.lanes.wait(item, time.monotonic() + wait)

    def _connection_worked(self) -> None:
        self.last_sent = time.time()
        self.answered_at = time.monotonic()
        if self.breaker.worked():
            self.last_error = self.trouble = None
            log.info("connection up", connection=self.connection)
            self._registry.tell("connection_changed", connection=self.connection, state="up", reason="")

    # The message.

    async def _sent(self, item: Item, message: Message, answer: Message | None, took: float) -> None:
        if item.origin is not None and answer is None:
            error = MessageUnusable(f"{self.connection} sent no answer to a question", code="MSG-006")
            await self._give_up(item, message, error, "quarantined")
            return
        try:
            await self.surely(lambda: self._keep_outcome(item, message, answer, took))
        except Unkept as error:
            await self._give_up(item, message, error, "quarantined")
            return
        reached("marked")
        self.signals.finished(took, item.since, now_micros())
        self.lanes.finish(item)
        self._bodies.forget(item.message)
        self._follower.finished(item.seq)

    async def _keep_outcome(self, item: Item, message: Message, answer: Message | None, took: float) -> None:
        at = now_micros()
        write = Write(marks=[Mark(item.id, "delivered", at, item.attempts + 1, answer=_code_of(answer))])
        if item.origin is not None and answer is not None:
            write.messages.append(await self._answer(item, message, answer, at, took))
            write.answered.append(Answered(item.origin, at))
        await self.journal.commit(write)

    async def _answer(self, item: Item, question: Message, answer: Message, at: int, took: float) -> NewMessage:
        """The partner's answer as a message that continues the flow which asked; each asking has an answer of its own.

        Its header `answer_seconds` says how long the partner took, without the time the question waited here.
        """
        id = derived_id(question.id, self.connection, f"answer {item.id}", 0, item.generation)
        headers = {**question.headers, "answer_seconds": f"{took:.3f}", **answer.headers}
        kept = replace(answer, headers=headers, id=id, parent=question.id, generation=item.generation)
        keys = await self._filing.keys_of(kept)
        row = await self._bodies.row(kept, connection=self.connection, direction="in", at=at, control_id=keys.control_id)
        row.type = row.type or keys.type
        inherited = [(k.kind, k.value) for k in await self.reader.keys_of([item.seq]) if k.kind != "control"]
        row.keys = self._filing.rows(keys, inherited)
        asker = self._asker(item)
        row.keep = self._keeping.level(self.connection, [asker.name])
        following = asker.flow.after(asker.step) if asker.flow is not None else None
        if following is not None:
            work = NewWork(f"flow:{asker.name}", item.lanes[0], item.lanes[1:], item.generation, following, config=item.config)
            work.again = item.again
            work.span = item.span
            row.works = [work]
        elif asker.flow is None or asker.flow.index(asker.step) is None:
            reason = f"the flow {asker.name} or its step {asker.step!r} does not exist any more"
            row.works = [
                NewWork(
                    f"flow:{asker.name}",
                    item.lanes[0],
                    item.lanes[1:],
                    item.generation,
                    asker.step,
                    config=item.config,
                    state="held",
                    reason=reason,
                )
            ]
        return row

    def _asker(self, item: Item) -> _Asker:
        name, _, step = item.step.partition("/")
        return _Asker(self._flows.get(name), name, step)

    async def _rejected(self, item: Item, message: Message, error: MessageRejected) -> None:
        policy = error.policy or self.config.on_rejected
        number = item.attempts + 1
        if policy == "retry" and not error.final and number < self.config.retry.attempts:
            item.attempts = number
            attempt = self._attempt(item, error, str(error), number)
            await self._try_again(item, error, wait_before(number, self.config.retry), attempt)
            self._follower.failed(item, f"connection {self.connection}", error, number, final=False)
        elif policy == "hold":
            await self._hold_rejected(item, error)
        else:
            await self._give_up(item, message, error, "skipped" if policy == "skip" else "quarantined")

    async def _hold_rejected(self, item: Item, error: MessageRejected) -> None:
        item.attempts += 1
        mark = Mark(item.id, "held", now_micros(), item.attempts, reason=str(error), answer=error.answer)
        await self.commit_surely(Write(marks=[mark], attempts=[self._attempt(item, error, str(error), item.attempts)]))
        self._follower.failed(item, f"connection {self.connection}", error, item.attempts)
        self.signals.held += 1
        self.lanes.hold(item)

    async def _doubtful(self, item: Item, message: Message, error: DoubtfulSend) -> None:
        await self._give_up(item, message, error, "unknown")

    async def _give_up(self, item: Item, message: Message, error: HubError, state: str) -> None:
        """The message ends here; its lane goes on, and a flow that asked hears of it."""
        at, number = now_micros(), item.attempts + 1
        answer = error.answer if isinstance(error, MessageRejected) else None
        reason = f"connection {self.connection}: {error}"
        write = Write(
            marks=[Mark(item.id, state, at, number, reason=reason, answer=answer)],
            attempts=[self._attempt(item, error, reason, number)],
        )
        asker = self._asker(item)
        if item.origin is not None:
            write.answered.append(Answered(item.origin, at, f"its question was not answered: {reason}"))
        if asker.name and state != "skipped":
            write.messages += await self._follower.failure(asker.name, asker.step, error, message, item)
        await self.commit_surely(write)
        self.signals.ended(state)
        self.last_error = str(error)
        self.lanes.finish(item)
        self._follower.failed(item, f"connection {self.connection}", error, number)

    def _attempt(self, item: Item, error: HubError, text: str, number: int) -> Attempt:
        words = error.reply if isinstance(error, MessageRejected) else b""
        return Attempt(item.id, number, now_micros(), error.code, text, self._bodies.reply(item.message, words))


def _code_of(answer: Message | None) -> str | None:
    return answer.headers.get("answer") if answer is not None else None
