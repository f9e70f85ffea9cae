"""One connection to a partner: messages go out, each answer finds the message it belongs to.

An answer that is missing, makes no sense or belongs to no message that waits puts everything in doubt that is still unanswered
here: the connection is closed and never used again, so that a late answer is never taken for that of another message.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import structlog

from connectors.mllp.framing import ACK, NAK, REPEATS, Frame, Framer, Stream, framed
from hub.errors import ConnectionDown, HubError, MessageUnusable
from hub.formats.hl7v2 import Acknowledgement, read_acknowledgement
from hub.net.tls import is_pinned, tls_failure

if TYPE_CHECKING:
    from connectors.mllp.sender import MllpSender

log = structlog.get_logger(__name__)

CODES = ("AA", "AE", "AR", "CA", "CE", "CR")
"""HL7 table 0008: what an acknowledgement may say."""
REMEMBERED = 1000
"""Accepted messages whose application acknowledgement may still come although nobody waits for it."""

Answer = tuple[Acknowledgement, bytes]


class Gone(ConnectionDown):
    """The partner closed a connection before it answered."""


@dataclass(slots=True, eq=False)
class Question:
    """A message that was sent and waits for its answer."""

    control_id: str
    body: bytes
    future: asyncio.Future[Answer | None]
    silence: Literal["failure", "consent"] = "failure"
    """What no answer means: a failure, or that all went well (the message asks for answers on errors only)."""
    wants_application: bool = False
    """CA is not its end, AA is."""
    accepted: bool = False
    deadline: float = 0.0
    """By the clock of the loop."""
    repeats: int = 0
    application: Answer | None = None
    """The application acknowledgement that overtook the accept acknowledgement."""

    def end(self, answer: Answer | None) -> None:
        if not self.future.done():
            self.future.set_result(answer)

    def fail(self, error: HubError) -> None:
        if not self.future.done():
            self.future.set_exception(error)

    def acknowledged(self, acknowledgement: Acknowledgement, frame: bytes) -> None:
        """Its application acknowledgement came on another connection."""
        if self.accepted:
            self.end((acknowledgement, frame))
        else:
            self.application = acknowledgement, frame


class Link(Stream):
    """A connection to the partner, with as many unanswered messages as its window allows."""

    def __init__(self, sender: MllpSender) -> None:
        super().__init__(Framer(sender.config.max_frame))
        self.sender, self.config = sender, sender.config
        self.waiting: dict[str, Question] = {}
        """By control id, in the order they were sent."""
        self.accepted: dict[str, Question] = {}
        """Those that were accepted and wait for their application acknowledgement."""
        self.remembered: OrderedDict[str, None] = OrderedDict()
        """Control ids of accepted messages whose application acknowledgement nobody waits for."""
        self.served = 0
        """Answers so far."""
        self.closed = False
        self.failure: Exception | None = None
        self.writable = asyncio.Event()
        self.writable.set()
        self._clock: asyncio.TimerHandle | None = None

    @property
    def usable(self) -> bool:
        return not self.closed and not self.transport.is_closing()

    @property
    def has_room(self) -> bool:
        return len(self.waiting) < self.config.window

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self.config.tls is not None and not is_pinned(self.config.tls.pins, transport.get_extra_info("ssl_object")):
            self.failure = self.sender.not_pinned()
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.closed, self.failure = True, self.failure or exc
        self.writable.set()
        self.sender.forget(self)
        if self._clock is not None:
            self._clock.cancel()
        for question in [*self.waiting.values(), *self.accepted.values()]:
            question.fail(self.gone())

    def gone(self) -> ConnectionDown:
        if isinstance(self.failure, ConnectionDown):
            return self.failure
        if self.failure is not None and tls_failure(self.failure):
            return self.sender.tls_failed(self.failure)
        return Gone(f"{self.sender.name}: the partner closed the connection before it answered")

    def eof_received(self) -> bool:
        self.take_what_ended()
        return False

    # Out.

    def put(self, question: Question) -> None:
        if self.closed:
            raise self.gone()
        question.deadline = self.loop.time() + self.config.timeout
        self.waiting[question.control_id] = question
        if self._clock is None:
            self._clock = self.loop.call_at(question.deadline, self._look_at_the_clock)
        self.transport.write(framed(question.body))

    async def write(self, body: bytes) -> None:
        """Sends what gets no answer, and waits until the system has taken it."""
        if self.closed:
            raise self.gone()
        self.transport.set_write_buffer_limits(high=0)
        self.transport.write(framed(body))
        await self.writable.wait()
        if self.closed:
            raise self.gone()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def _look_at_the_clock(self) -> None:
        """One timer for all: it is set anew only when it rings, not for each message."""
        self._clock = None
        oldest = next(iter(self.waiting.values()), None)
        if oldest is None:
            return
        if oldest.deadline > self.loop.time() + 0.001:
            self._clock = self.loop.call_at(oldest.deadline, self._look_at_the_clock)
        elif oldest.silence == "consent" and not self.config.commit_bytes:
            self._done(oldest).end(None)
            self.give_up(None)
        else:
            self.give_up(self.sender.silent())

    # In.

    def take(self, frames: list[Frame]) -> None:
        for frame in frames:
            if self.closed:
                return
            if self.config.commit_bytes and frame.body in (ACK, NAK):
                self._committed(frame.body)
            else:
                self._take(frame)

    def _take(self, frame: Frame) -> None:
        try:
            if frame.fault:
                raise MessageUnusable(f"the answer is {frame.fault}")
            answer = read_acknowledgement(frame.body)
            if answer.code not in CODES:
                raise MessageUnusable("its MSA-1 is none of AA, AE, AR, CA, CE and CR")
        except MessageUnusable as error:
            self.give_up(self.sender.nonsense(error))
            return
        if self.config.commit_bytes:
            self.transport.write(framed(ACK))
        question = self.waiting.get(answer.control_id)
        if question is not None:
            self._answered(question, answer, frame.body)
        elif not self._is_application_answer(answer, frame.body):
            self.give_up(self.sender.of_another())

    def _answered(self, question: Question, answer: Acknowledgement, frame: bytes) -> None:
        self._done(question)
        if answer.code != "CA" or not question.wants_application:
            if answer.code == "CA":
                self._remember(question.control_id)
            question.end((answer, frame))
        elif question.application is not None:
            question.end(question.application)
        else:
            self._wait_for_application(question)

    def _done(self, question: Question) -> Question:
        del self.waiting[question.control_id]
        self.served += 1
        self.sender.has_room(self)
        return question

    def _committed(self, byte: bytes) -> None:
        """The partner has the frame, or could not keep it (MLLP release 2); there is only one under way."""
        question = next(iter(self.waiting.values()), None)
        if question is None:
            return
        if byte == ACK:
            if question.silence == "consent":
                self._done(question).end(None)
        elif question.repeats < REPEATS:
            question.repeats += 1
            self.transport.write(framed(question.body))
        else:
            self.give_up(self.sender.not_kept())

    # Application acknowledgements.

    def _wait_for_application(self, question: Question) -> None:
        question.accepted = True
        if self.config.returned_by is None:
            self.accepted[question.control_id] = question
        clock = self.loop.call_later(self.config.application_timeout, self._no_application, question)

        def ended(_: object) -> None:
            clock.cancel()
            self.accepted.pop(question.control_id, None)

        question.future.add_done_callback(ended)

    def _no_application(self, question: Question) -> None:
        question.fail(self.sender.no_application())
        self._remember(question.control_id)

    def _remember(self, control_id: str) -> None:
        self.remembered[control_id] = None
        if len(self.remembered) > REMEMBERED:
            self.remembered.popitem(last=False)

    def _is_application_answer(self, answer: Acknowledgement, frame: bytes) -> bool:
        """True for the second acknowledgement of a message that was accepted here."""
        if answer.code[0] != "A":
            return False
        if (question := self.accepted.get(answer.control_id)) is not None:
            question.end((answer, frame))
            return True
        if answer.control_id not in self.remembered:
            return False
        del self.remembered[answer.control_id]
        if answer.code != "AA":
            log.warning(
                "the partner refused a message it had accepted; `wait_for: application` waits for its word",
                connection=self.sender.name,
                answer=answer.code,
                control_id=answer.control_id,
            )
        return True

    # The end.

    def give_up(self, error: HubError | None) -> None:
        """Closes; the oldest message that waits hears why, the others only that they have to go again."""
        for question in list(self.waiting.values()):
            question.fail(error or self.sender.in_doubt())
            error = None
        self.waiting.clear()
        self.close()

    def close(self) -> None:
        self.closed = True
        if self.transport is not None:
            self.transport.close()
