"""One connection of a sender: what comes in, and what it is answered.

It has one task for as long as it lives.  What came while that was busy is handed over together, with one delivery, and
answered in order, with one write.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

import structlog

from connectors.mllp import returned
from connectors.mllp.framing import ACK, NAK, REPEATS, Frame, Framer, Stream, Timer, framed
from connectors.mllp.received import Received, header_of, read
from hub.connector import Receipt
from hub.errors import Busy, HubError, MessageUnusable
from hub.formats.hl7v2 import read_acknowledgement
from hub.formats.hl7v2.batch import acknowledged
from hub.formats.hl7v2.conformance import Conformance
from hub.message import LARGE_BODY
from hub.net.tls import is_pinned

if TYPE_CHECKING:
    from connectors.mllp.listener import MllpListener

log = structlog.get_logger(__name__)

JUNK_LIMIT = 64 * 1024
"""Bytes between frames after which a peer is cut off: it does not speak MLLP."""
WAITING_FRAMES = 64
WAITING_BYTES = 1024 * 1024
"""Frames of one connection, and bytes in them, that may wait for their answer before it is no longer read."""
TURN = 100
"""Messages of one frame that are looked at before other connections have their turn."""


class Peer(Stream):
    """One connection of a sender: its frames are answered in order."""

    def __init__(self, listener: MllpListener) -> None:
        config = listener.config
        super().__init__(Framer(config.max_frame, config.lenient_start))
        self.listener, self.config = listener, config
        self.frames: deque[Frame] = deque()
        self.waiting_bytes = 0
        """In these frames."""
        self.worker: asyncio.Task[None] | None = None
        self._bell: asyncio.Future[None] | None = None
        """What the worker waits for while there is nothing to do."""
        self._later: set[asyncio.Task[None]] = set()
        """Application acknowledgements that wait for their flows."""
        self._unconfirmed: deque[tuple[bytes, int]] = deque(maxlen=WAITING_FRAMES)
        """With commit bytes: answers the partner has not confirmed, and how often they were sent again."""
        self.clock = Timer(self.loop)
        self.timed = 0
        """Which frame the clock runs for; 0 when it stands still."""
        self.idle = Timer(self.loop)
        self.heard = 0.0
        """When something came last, by the clock of the loop."""
        self.writable = asyncio.Event()
        self.writable.set()
        self.lost = asyncio.Event()
        self.busy = self.paused = self.ended = False
        self.oddities: set[str] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        address = (transport.get_extra_info("peername") or ("",))[0]
        tls = self.config.tls
        pinned = tls is None or is_pinned(tls.client_pins, transport.get_extra_info("ssl_object"))
        if not pinned or not self.listener.welcomes(address):
            reason = "not allowed, or too many" if pinned else "its certificate is none of those in client_pins"
            log.warning("connection refused", connection=self.listener.name, peer=address, reason=reason)
            self.transport.abort()
            self.lost.set()
            return
        self.listener.peers.add(self)
        if self.config.idle_timeout:
            self.heard = self.loop.time()
            self.idle.start(self.config.idle_timeout, self._look_whether_idle)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.framer.inside and not self.lost.is_set():
            self._tell_unfinished("connection closed inside a message")
        self.lost.set()
        self.writable.set()
        self.clock.stop()
        self.idle.stop()
        self.listener.peers.discard(self)
        for task in self._later:
            task.cancel()
        self._ring()

    # What comes in.

    def data_received(self, data: bytes) -> None:
        if self.lost.is_set():
            return
        super().data_received(data)
        if self.framer.gap > JUNK_LIMIT:
            log.warning("the peer does not speak MLLP", connection=self.listener.name, bytes=self.framer.gap)
            self.transport.abort()

    def eof_received(self) -> bool:
        self.ended = True
        self.take_what_ended()
        self._ring()
        can_write_on = self.config.tls is None
        return can_write_on and (self.busy or bool(self._later))  # answer what is under way, then close

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def take(self, frames: list[Frame]) -> None:
        if self.config.idle_timeout:
            self.heard = self.loop.time()
        for frame in frames:
            if self.config.commit_bytes and frame.body in (ACK, NAK):
                self._confirmed(frame.body)
                continue
            self.frames.append(frame)
            self.waiting_bytes += len(frame.body)
        if self.frames and not self.busy:
            self.busy = True
            if self.worker is None:
                self.worker = self.loop.create_task(self._work())
            self._ring()
        framer = self.framer
        if framer.junk or framer.lone_ends:
            self._tell_oddities()
        if (
            framer.inside
            or self.paused
            or self.timed
            or self.waiting_bytes >= WAITING_BYTES
            or len(self.frames) >= WAITING_FRAMES
        ):
            self._read_on_or_wait()

    def _tell_oddities(self) -> None:
        """Each once for a connection."""
        if self.framer.junk:
            self._tell("the peer sends bytes outside of messages; they are skipped")
        if self.framer.lone_ends:
            self._tell("the peer ends messages with 1C alone; the 0D after it is missing")

    def _tell(self, oddity: str) -> None:
        if oddity not in self.oddities:
            self.oddities.add(oddity)
            log.info(oddity, connection=self.listener.name)

    def _read_on_or_wait(self) -> None:
        """Reads only while little waits for its answer, so that no sender fills the memory."""
        full = len(self.frames) >= WAITING_FRAMES or self.waiting_bytes >= WAITING_BYTES
        if full != self.paused and not self.transport.is_closing():
            self.paused = full
            if full:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()
        self._watch_the_clock()

    def _watch_the_clock(self) -> None:
        """A message has its time from its first byte on; while we do not read, it does not run."""
        if not self.framer.inside or self.paused:
            self.clock.stop()
            self.timed = 0
        elif self.timed != self.framer.begun:
            self.timed = self.framer.begun
            self.clock.start(self.config.frame_timeout, self._too_slow)

    def _too_slow(self) -> None:
        if self.framer.lone_end:
            self.take_what_ended()
            return
        self._tell_unfinished("a message did not arrive whole in time")
        self.lost.set()
        self.transport.abort()

    def _tell_unfinished(self, event: str) -> None:
        """Of a message only how much there is of it and, where that has come, its control id: the rest names patients."""
        hl7 = header_of(self.framer.beginning)
        control_id = hl7.control_id if hl7 is not None else ""
        log.warning(event, connection=self.listener.name, bytes=self.framer.unfinished, control_id=control_id)

    def _look_whether_idle(self) -> None:
        left = self.heard + self.config.idle_timeout - self.loop.time()
        if left > 0 or self.busy or self._later:
            self.idle.start(max(left, 0.01), self._look_whether_idle)
            return
        log.info("a silent connection was closed", connection=self.listener.name)
        self.transport.close()

    # What it is answered.

    def _ring(self) -> None:
        if self._bell is not None and not self._bell.done():
            self._bell.set_result(None)

    async def _work(self) -> None:
        """Answers what comes, until the connection is over."""
        while not self.lost.is_set() or self.frames:
            while self.frames:
                await self._answer_a_group()
            self.busy = False
            if self.ended:
                self._close_when_done()
                return
            self._bell = self.loop.create_future()
            await self._bell

    def _close_when_done(self) -> None:
        if self.ended and not self.busy and not self._later:
            self.transport.close()

    async def _answer_a_group(self) -> None:
        group = [self.frames.popleft() for _ in range(min(len(self.frames), WAITING_FRAMES))]
        self.waiting_bytes -= sum(len(frame.body) for frame in group)
        if self.paused:
            self._read_on_or_wait()
        try:
            await self._take_over(group)
        except HubError as error:
            self._cannot_keep(len(group), error.code, str(error))
        except Exception as error:  # an open link without an answer would be the worst of all
            self._cannot_keep(len(group), "BUG-001", f"the hub failed with {type(error).__name__}")
        if not self.writable.is_set():
            await self._until_taken()

    def _cannot_keep(self, count: int, code: str, reason: str) -> None:
        """Nothing was stored, so nothing is answered: the sender still has its messages and will send them again."""
        count += len(self.frames)
        self.listener.unkept.tell(count, code, reason)
        self._drop_what_waits()
        if self.config.commit_bytes and not self.lost.is_set():
            self.transport.write(framed(NAK) * count)
        else:
            self.transport.abort()

    def _drop_what_waits(self) -> None:
        self.frames.clear()
        self.waiting_bytes = 0

    async def _until_taken(self) -> None:
        """Answers must not pile up for a partner that does not read them, or is not there any more."""
        try:
            async with asyncio.timeout(self.config.frame_timeout):
                await self.writable.wait()
        except TimeoutError:
            log.warning("the peer does not take its answers", connection=self.listener.name)
            self._drop_what_waits()
            self.transport.abort()

    async def _take_over(self, group: Sequence[Frame]) -> None:
        """Keeps the messages of these frames with one delivery and answers them, in order."""
        received = await self._read(group)
        receipt = await self._keep(received)
        if self.config.commit_bytes:
            self._write([], confirmed=len(group))
        if self.config.reply == "on_receipt":
            self._write(await self._answers(received, self._all))
        elif self.config.reply != "never":
            await self._answer_after_flow(received, receipt)
        if self.listener.conformance is not None and receipt is not None:
            self._offer_for_checking(self.listener.conformance, [e for e in received if e.fault is None], receipt)

    async def _read(self, group: Sequence[Frame]) -> list[Received]:
        """The messages of these frames.  Other connections have their turn meanwhile: large frames are read in a thread."""
        received: list[Received] = []
        for frame in group:
            entries = read(frame, self.listener.rules)
            if len(frame.body) > LARGE_BODY:
                received += await asyncio.to_thread(list, entries)
                continue
            for entry in entries:
                received.append(entry)
                if len(received) % TURN == 0:
                    await asyncio.sleep(0)
        return received

    def _offer_for_checking(self, conformance: Conformance, good: Sequence[Received], receipt: Receipt) -> None:
        for number, entry in enumerate(good):
            if not receipt.duplicates[number]:
                told = partial(_remark, receipt, number)
                conformance.offer(entry.message.body, self.config.charset, told)

    async def _keep(self, received: Sequence[Received]) -> Receipt | None:
        deliver = self.listener.deliver
        good = [entry for entry in received if entry.fault is None]
        if len(good) < len(received):
            for entry in received:
                if entry.fault is not None:
                    await deliver.refuse(entry.message, entry.reason)
        try:
            receipt = await deliver([entry.message for entry in good]) if good else None
        except Busy as error:
            for entry in good:
                entry.turn_away(str(error))
            told = all(entry.answers(by_flow=False) for entry in good)
            if self.config.commit_bytes or self.config.reply == "never" or not told:
                raise  # who cannot be told in words is told by the commit byte, or by the end of the link
            return None
        for entry in good:
            if entry.acknowledges:
                self._tell_who_waits(entry)
        return receipt

    def _tell_who_waits(self, entry: Received) -> None:
        """An acknowledgement came on its own connection: the sender of the message it is about may be waiting for it."""
        body = entry.message.body
        with contextlib.suppress(MessageUnusable):
            returned.came(self.listener.name, read_acknowledgement(body), body)

    def _all(self, entry: Received) -> Sequence[bytes]:
        return entry.answers(by_flow=self.config.application_ack == "by_flow")

    async def _answers(self, received: Sequence[Received], of: Callable[[Received], Sequence[bytes]]) -> list[bytes]:
        """What these are answered, a frame each; those of a batch may be answered together."""
        frames: list[bytes] = []
        for batch, entries in groupby(received, attrgetter("batch")):
            answers: list[bytes] = []
            for number, entry in enumerate(entries, 1):
                answers += of(entry)
                if number % TURN == 0:
                    await asyncio.sleep(0)
            frames += [acknowledged(batch, answers)] if batch and answers else answers
        return frames

    async def _answer_after_flow(self, received: Sequence[Received], receipt: Receipt | None) -> None:
        """Whoever asked for an accept acknowledgement has it at once, and sends on; the others wait for the flows."""
        good = [entry for entry in received if entry.fault is None]
        accepted = [entry for entry in good if entry.mode.accepts(failed=False)]
        self._write(await self._answers(accepted, Received.accept_answers))
        if receipt is not None and len(accepted) < len(good):
            await self._learn_outcomes(good, receipt)
        waiting = [entry for entry in received if entry.fault is not None or not entry.mode.accepts(failed=False)]
        self._write(await self._answers(waiting, self._all))
        by_flow = self.config.application_ack == "by_flow"
        later = [] if by_flow else [entry for entry in accepted if entry.mode.application not in ("", "NE")]
        if receipt is not None and later:
            await self._answer_later(later, good, receipt)

    async def _learn_outcomes(self, good: Sequence[Received], receipt: Receipt) -> None:
        outcomes = await receipt.outcomes(self.config.reply_timeout, sent_on=self.config.reply == "after_delivery")
        for entry, outcome in zip(good, outcomes, strict=True):
            entry.outcome = outcome
        if refused := [number for number, outcome in enumerate(outcomes) if outcome == "quarantined"]:
            await receipt.answered_no(refused)

    async def _answer_later(self, later: Sequence[Received], good: Sequence[Received], receipt: Receipt) -> None:
        async def answer() -> None:
            await self._learn_outcomes(good, receipt)
            self._write(await self._answers(later, Received.application_answers))

        if len(self._later) >= WAITING_FRAMES:
            await asyncio.wait(self._later, return_when=asyncio.FIRST_COMPLETED)
        task = self.loop.create_task(answer())
        self._later.add(task)
        task.add_done_callback(self._answered_later)

    def _answered_later(self, task: asyncio.Task[None]) -> None:
        self._later.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("an application acknowledgement was not sent", connection=self.listener.name, error=type(error).__name__)
        self._close_when_done()

    def _write(self, answers: Sequence[bytes], confirmed: int = 0) -> None:
        """One write, with a commit byte for each frame that is kept."""
        if self.lost.is_set() or not (answers or confirmed):
            return
        if self.config.commit_bytes:
            self._unconfirmed.extend((answer, 0) for answer in answers)
        self.transport.write(framed(ACK) * confirmed + b"".join(map(framed, answers)))

    def _confirmed(self, byte: bytes) -> None:
        """The partner has our oldest answer, or could not keep it."""
        if not self._unconfirmed:
            return
        answer, repeats = self._unconfirmed.popleft()
        if byte == NAK and repeats < REPEATS:
            self._unconfirmed.append((answer, repeats + 1))
            self.transport.write(framed(answer))
        elif byte == NAK:
            log.warning("the partner could not keep an answer", connection=self.listener.name)

    async def finish(self) -> None:
        """Answers what is under way, then closes; whoever does not take the answers is cut off."""
        self.transport.pause_reading()
        self.ended = True
        self._ring()
        under_way = {task for task in (self.worker, *self._later) if task is not None}
        if under_way:
            await asyncio.wait(under_way, timeout=1.2)
        for task in under_way:
            task.cancel()
        self.transport.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                await self.lost.wait()
        self.transport.abort()


def _remark(receipt: Receipt, number: int, warnings: Sequence[str]) -> None:
    receipt.remark(number, "conformance", "; ".join(warnings))
