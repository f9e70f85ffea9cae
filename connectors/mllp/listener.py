"""The listener: receives, hands over, and answers when the message is on disk."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import structlog
from pydantic import Field, model_validator

from connectors.mllp.framing import Frame, Framer, Stream, Timer, framed
from hub.connector import Deliver, Source, SourceConfig
from hub.errors import ConnectionDown, HubError, MessageUnusable
from hub.formats.hl7v2 import Hl7, acknowledge, opened, split
from hub.formats.hl7v2.ack import Fault
from hub.message import Message
from hub.net.hosts import HostName, is_loopback
from hub.net.tls import TlsServer, server_context
from hub.units import Duration, Size

log = structlog.get_logger(__name__)

JUNK_LIMIT = 64 * 1024
"""Bytes between frames after which a peer is cut off: it does not speak MLLP."""
WAITING_FRAMES = 64
WAITING_BYTES = 1024 * 1024
"""Frames of one connection, and bytes in them, that may wait for their answer before it is no longer read."""
TURN = 100
"""Messages of one frame that are looked at before other connections have their turn."""
DONE = ("delivered", "skipped")
"""Outcomes after which the sender hears that all is well; a message no flow wants is one of them."""

T = TypeVar("T")


class ListenerConfig(SourceConfig):
    """Receives HL7 v2 over MLLP."""

    host: HostName = "127.0.0.1"
    """Address to listen on; only this machine unless you say otherwise."""
    port: int = Field(ge=0, le=65535)
    """TCP port; 0 takes a free one."""
    tls: TlsServer | None = None
    """TLS, with `client_ca` for mutual TLS."""
    allow_plaintext: str | None = None
    """Why this listener may do without TLS although it is not on this machine alone, in a few words."""
    allow_from: list[str] = []
    """Addresses or networks that may connect, such as 10.20.0.0/16; all when empty."""
    charset: str | None = None
    """Charset of the sender, over what MSH-18 says."""
    max_frame: Size = Field(default=20 * 1024 * 1024, ge=1024)
    """Longest message; a longer one is answered AR and thrown away."""
    max_connections: int = Field(default=1000, ge=1)
    """Connections at once; more are closed at once."""
    frame_timeout: Duration = Field(default=30.0, gt=0)
    """How long one message may take to arrive, and how long the sender may take to accept an answer."""
    lenient_start: bool = False
    """Accept messages without the 0B before them, as some old senders write them."""
    reply: Literal["on_receipt", "after_flow", "never"] = "on_receipt"
    """When to answer: once the message is on disk, once its flows are done, or not at all."""
    reply_timeout: Duration = Field(default=20.0, gt=0)
    """With `after_flow`: how long to wait for the flows before answering AE."""

    @model_validator(mode="after")
    def _plain_text_needs_a_reason(self) -> ListenerConfig:
        if self.tls is None and not is_loopback(self.host) and not self.allow_plaintext:
            raise ValueError("listening beyond this machine needs `tls`, or `allow_plaintext` with the reason why not")
        for network in self.allow_from:
            ipaddress.ip_network(network, strict=False)
        return self


class MllpListener(Source[ListenerConfig]):
    """Receives HL7 v2 messages and acknowledges them."""

    kind = "mllp_listener"

    def __init__(self, name: str, config: ListenerConfig) -> None:
        super().__init__(name, config)
        self._server: asyncio.Server | None = None
        self._networks = [ipaddress.ip_network(network, strict=False) for network in config.allow_from]
        self.peers: set[_Peer] = set()
        self.deliver: Deliver

    @property
    def port(self) -> int:
        """The port it listens on; tells which one was free when the setting is 0."""
        return self._server.sockets[0].getsockname()[1] if self._server and self._server.sockets else self.config.port

    async def open(self, deliver: Deliver) -> None:
        self.deliver = deliver
        context = server_context(self.config.tls) if self.config.tls else None
        try:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: _Peer(self), self.config.host, self.config.port, ssl=context, backlog=512
            )
        except OSError as error:
            raise ConnectionDown(
                f"{self.name}: cannot listen on {self.config.host}:{self.config.port}: {error.strerror}",
                code="NET-010",
            ) from None

    def welcomes(self, address: str) -> bool:
        if len(self.peers) >= self.config.max_connections:
            return False
        if not self._networks:
            return True
        try:
            peer = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(peer in network for network in self._networks)

    async def close(self) -> None:
        if self._server is None:
            return
        self._server.close()
        await asyncio.gather(*(peer.finish() for peer in list(self.peers)))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                await self._server.wait_closed()
        self._server = None


class _Peer(Stream):
    """One connection of a sender: its frames are answered in order."""

    def __init__(self, listener: MllpListener) -> None:
        super().__init__(Framer(listener.config.max_frame, listener.config.lenient_start))
        self.listener = listener
        self.frames: deque[Frame] = deque()
        self.worker: asyncio.Task[None] | None = None
        self.clock = Timer(self.loop)
        self.timed = 0
        """Which frame the clock runs for; 0 when it stands still."""
        self.writable = asyncio.Event()
        self.writable.set()
        self.lost = asyncio.Event()
        self.paused = self.ended = False
        self.oddities: set[str] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        address = (transport.get_extra_info("peername") or ("",))[0]
        if not self.listener.welcomes(address):
            log.warning("connection refused", connection=self.listener.name, peer=address)
            self.transport.abort()
            self.lost.set()
            return
        self.listener.peers.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.lost.set()
        self.writable.set()
        self.clock.stop()
        self.listener.peers.discard(self)
        if self.framer.inside:
            log.warning("connection closed inside a message", connection=self.listener.name)

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
        can_write_on = self.listener.config.tls is None
        return can_write_on and self.worker is not None  # answer what is under way, then close

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def take(self, frames: list[Frame]) -> None:
        self.frames.extend(frames)
        if self.frames and self.worker is None:
            self.worker = self.loop.create_task(self._answer_all())
        self._tell_oddities()
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
        full = len(self.frames) >= WAITING_FRAMES or sum(len(frame.body) for frame in self.frames) >= WAITING_BYTES
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
            self.clock.start(self.listener.config.frame_timeout, self._too_slow)

    def _too_slow(self) -> None:
        if self.framer.lone_end:
            self.take_what_ended()
            return
        log.warning("a message did not arrive whole in time", connection=self.listener.name)
        self.transport.abort()

    async def _answer_all(self) -> None:
        try:
            while self.frames:
                group = [self.frames.popleft() for _ in range(min(len(self.frames), WAITING_FRAMES))]
                self._read_on_or_wait()
                answers = await self._answers(group)
                if not self.lost.is_set():
                    self.transport.write(b"".join(framed(answer) for answer in answers))
                await self._until_taken()
            if self.ended:
                self.transport.close()
        except HubError as error:
            self._give_up(error.code, str(error))
        except Exception as error:  # an open link without an answer would be the worst of all
            self._give_up("BUG-001", f"the hub failed with {type(error).__name__}")
        finally:
            self.worker = None

    async def _until_taken(self) -> None:
        """Answers must not pile up for a partner that does not read them, or is not there any more."""
        try:
            async with asyncio.timeout(self.listener.config.frame_timeout):
                await self.writable.wait()
        except TimeoutError:
            log.warning("the peer does not take its answers", connection=self.listener.name)
            self.frames.clear()
            self.transport.abort()

    def _give_up(self, code: str, reason: str) -> None:
        """Nothing was stored, so nothing is answered: the sender still has its message and will send it again."""
        log.error("messages could not be kept", connection=self.listener.name, code=code, reason=reason)
        self.frames.clear()
        self.transport.abort()

    async def _answers(self, group: Sequence[Frame]) -> list[bytes]:
        """Keeps the messages of these frames with one delivery and gives the answers, in order."""
        charset, reply = self.listener.config.charset, self.listener.config.reply
        received = await _in_turns(entry for frame in group for entry in _read(frame, charset))
        for entry in received:
            if entry.fault is not None:
                await self.listener.deliver.refuse(entry.message, entry.reason)
        await self._keep([entry for entry in received if entry.fault is None])
        if reply == "never":
            return []
        return [answer for answer in await _in_turns(map(_answer, received)) if answer is not None]

    async def _keep(self, good: list[_Received]) -> None:
        if not good:
            return
        receipt = await self.listener.deliver([entry.message for entry in good])
        if self.listener.config.reply == "after_flow":
            outcomes = await receipt.outcomes(self.listener.config.reply_timeout)
            for entry, outcome in zip(good, outcomes, strict=True):
                entry.outcome = outcome
            await receipt.answered_no([number for number, outcome in enumerate(outcomes) if outcome == "quarantined"])

    async def finish(self) -> None:
        """Answers what is under way, then closes; whoever does not take the answers is cut off."""
        self.transport.pause_reading()
        if self.worker is not None:
            await asyncio.wait([self.worker], timeout=1.2)
        if self.worker is not None:
            self.worker.cancel()
        self.transport.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                await self.lost.wait()
        self.transport.abort()


async def _in_turns(work: Iterable[T]) -> list[T]:
    """Does work piece by piece; other connections have their turn in between."""
    done: list[T] = []
    for piece in work:
        done.append(piece)
        if len(done) % TURN == 0:
            await asyncio.sleep(0)
    return done


@dataclass(slots=True, eq=False)
class _Received:
    """One message of a frame, and what is wrong with it."""

    message: Message
    hl7: Hl7 | None
    fault: Fault | None = None
    code: str = "AA"
    reason: str = ""
    outcome: str = "delivered"


def _read(frame: Frame, charset: str | None) -> Iterator[_Received]:
    if frame.fault:
        yield _damaged(frame)
        return
    parts, _ = split(frame.body)
    if not parts:
        message = Message(frame.body, "hl7v2")
        yield _Received(message, None, Fault("200"), reason="the frame holds no HL7 v2 message; it was not answered")
    for part in parts:
        yield _examined(part.body, charset)


def _damaged(frame: Frame) -> _Received:
    too_long = frame.fault == "too long"
    text = "the message is too long" if too_long else "a new message began before this one was whole"
    try:
        hl7 = Hl7(frame.body)
    except MessageUnusable:
        hl7 = None
    if hl7 is not None and not hl7.control_id:
        hl7 = None
    return _Received(Message(frame.body, "hl7v2"), hl7, Fault("207", "", text), "AR", f"{text}; answered AR")


def _examined(body: bytes, charset: str | None) -> _Received:
    message = Message(body, "hl7v2")
    try:
        hl7 = opened(body, charset)
    except MessageUnusable as error:
        return _Received(message, None, Fault("200"), reason=f"{error}; it was not answered")
    if not hl7.get("MSH-9.1"):
        return _Received(
            message, hl7, Fault("101", "MSH-9", "the message type is missing"), "AR", "MSH-9 is empty; answered AR"
        )
    if hl7.get("MSH-14") or hl7.get("DSC-1"):
        text = "messages that are continued in others are not understood"
        return _Received(message, hl7, Fault("207", "MSH-14", text), "AR", f"{text}; answered AR")
    if not hl7.control_id.strip():
        return _Received(
            message, hl7, Fault("101", "MSH-10", "the control id is missing"), "AE", "MSH-10 is empty; answered AE"
        )
    return _Received(message, hl7)


def _answer(entry: _Received) -> bytes | None:
    """The acknowledgement of one message; None when none is wanted, or the sender could not tell what it answers."""
    if entry.hl7 is None or entry.hl7.get("MSH-9.1") in ("ACK", "MCF"):
        return None
    fault, code = entry.fault, entry.code
    if fault is None and entry.outcome not in DONE:
        fault, code = Fault("207", "", f"the message is safe, but its work is not done: {entry.outcome}"), "AE"
    match _wanted(entry.hl7, failed=fault is not None):
        case "application":
            return acknowledge(entry.hl7, code, fault)
        case "accept":
            internal = fault is not None and fault.code == "207"
            return acknowledge(entry.hl7, "CE" if internal else f"C{code[1]}", fault)
        case _:
            return None


def _wanted(hl7: Hl7, *, failed: bool) -> Literal["accept", "application", "none"]:
    """Which acknowledgement MSH-15 and MSH-16 ask for (chapter 2, section 2.9.2); with neither it is original mode."""
    accept, application = _condition(hl7.get("MSH-15")), _condition(hl7.get("MSH-16"))
    if accept and _holds(accept, failed=failed):
        return "accept"
    if (application and _holds(application, failed=failed)) or not (accept or application):
        return "application"
    return "none"


def _condition(value: str | None) -> str:
    """A code of table 0155; what is none counts as empty, so that its sender is not left without an answer."""
    code = (value or "").strip().upper()
    return code if code in ("AL", "NE", "SU", "ER") else ""


def _holds(condition: str, *, failed: bool) -> bool:
    return condition == "AL" or condition == ("ER" if failed else "SU")
