"""HL7 v2 over TCP: the minimal lower layer protocol (HL7 v2 implementation guide, appendix C: `0B` message `1C 0D`).

The listener answers when the message is on disk, not before; the sender takes an acknowledgement only for the message it
belongs to (MSA-2 = MSH-10), and never uses a connection again on which an answer was missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import structlog
from pydantic import Field, model_validator

from hub.connector import AnyConnector, Deliver, Destination, DestinationConfig, Source, SourceConfig
from hub.errors import ConnectionDown, HubError, MessageRejected, MessageUnusable
from hub.formats.hl7v2 import Hl7, acknowledge, read_acknowledgement, split
from hub.formats.hl7v2.ack import Fault
from hub.hookspecs import hookimpl
from hub.message import Message
from hub.net.hosts import HostName, is_loopback
from hub.net.tls import TlsClient, TlsServer, client_context, server_context, tls_failure
from hub.units import Duration, Size

log = structlog.get_logger(__name__)

START, END, CR = b"\x0b", b"\x1c", b"\r"
CODES = ("AA", "AE", "AR", "CA", "CE", "CR")
"""HL7 table 0008: what an acknowledgement may say."""
JUNK_LIMIT = 64 * 1024
"""Bytes between frames after which a peer is cut off: it does not speak MLLP."""
HEADER = b"MSH"
HEAD = 4096
"""What is kept of a frame that is too long: enough for its MSH."""
LONE_END = 0.2
"""Seconds of silence after a 1C without its 0D that make it the end of the frame all the same."""
WAITING_FRAMES = 64
WAITING_BYTES = 1024 * 1024
"""Frames of one connection, and bytes in them, that may wait for their answer before it is no longer read."""
TURN = 100
"""Messages of one frame that are looked at before other connections have their turn."""
DONE = ("delivered", "skipped")
"""Outcomes after which the sender hears that all is well; a message no flow wants is one of them."""

T = TypeVar("T")


# Framing.


@dataclass(frozen=True, slots=True)
class Frame:
    """What was found between a start and an end; with a fault it is only a part."""

    body: bytes
    fault: Literal["", "too long", "broken"] = ""


@dataclass(slots=True)
class Framer:
    """Cuts a stream into frames, however it arrives.  Knows no HL7 and no sockets."""

    max_frame: int
    lenient_start: bool = False
    """Takes what begins with MSH for a frame whose 0B is missing."""
    inside: bool = False
    begun: int = 0
    """Frames that have begun, so far."""
    junk: int = 0
    """Bytes outside of frames, so far."""
    gap: int = 0
    """Bytes outside of frames since the last one."""
    lone_ends: int = 0
    """Frames that ended in 1C without its 0D, so far."""
    _may_be_naked: bool = False
    """True while a message without its 0B would be accepted: nothing but line ends came since the last frame."""
    _buffer: bytearray = field(default_factory=bytearray)
    _scanned: int = 0
    _head: bytes | None = None
    """Beginning of a frame that is too long, while the rest is thrown away."""

    def __post_init__(self) -> None:
        self._may_be_naked = self.lenient_start

    def feed(self, data: bytes) -> list[Frame]:
        self._buffer += data
        frames: list[Frame] = []
        while self._within(frames) if self.inside else self._between():
            pass
        return frames

    def _between(self) -> bool:
        if self._may_be_naked and (naked := self._naked_start()) is not None:
            return naked
        start = self._buffer.find(START)
        self._skip(len(self._buffer) if start < 0 else start)
        if start < 0:
            return False
        del self._buffer[:1]
        self._begin()
        return True

    def _skip(self, count: int) -> None:
        self.junk += count
        self.gap += count
        del self._buffer[:count]

    def _naked_start(self) -> bool | None:
        """True when a message begins without its 0B, False when it is too early to say, None when it does not."""
        self._skip(len(self._buffer) - len(self._buffer.lstrip(b"\r\n")))
        first = bytes(self._buffer[: len(HEADER)])
        if not HEADER.startswith(first):
            self._may_be_naked = False
            return None
        if first == HEADER:
            self._begin()
        return first == HEADER

    def _begin(self) -> None:
        self.inside, self.begun, self.gap = True, self.begun + 1, 0
        self._scanned, self._head = 0, None
        self._may_be_naked = self.lenient_start

    def _within(self, frames: list[Frame]) -> bool:
        buffer = self._buffer
        end = buffer.find(END, self._scanned)
        again = buffer.find(START, self._scanned, end if end >= 0 else len(buffer))
        if again >= 0:
            self._finish(frames, again, "broken")
            del buffer[: again + 1]
            self._begin()
            return True
        if end < 0:
            self._scanned = len(buffer)
            self._throw_away_what_is_too_long()
            return False
        following = buffer[end + 1 : end + 2]
        if not following:
            self._scanned = end
            return False
        if following not in (CR, START):
            self._scanned = end + 1  # 1C inside a message: not allowed, but the message is not over
            return True
        self._finish(frames, end)
        self.lone_ends += following != CR
        del buffer[: end + 1 + (following == CR)]
        return True

    def _throw_away_what_is_too_long(self) -> None:
        if self._head is not None or len(self._buffer) > self.max_frame:
            self._head = self._beginning()
            self._buffer.clear()
            self._scanned = 0

    def _beginning(self) -> bytes:
        return self._head or bytes(self._buffer[: min(HEAD, self.max_frame)])

    def _finish(self, frames: list[Frame], length: int, fault: Literal["", "broken"] = "") -> None:
        """The frame up to here is one; an empty one says nothing, some senders keep the link alive with it."""
        self.inside = False
        if self._head is not None or length > self.max_frame:
            frames.append(Frame(self._beginning(), fault or "too long"))
        elif length:
            frames.append(Frame(bytes(self._buffer[:length]), fault))

    @property
    def lone_end(self) -> bool:
        """True when all there is ends in 1C: silence will make it the end."""
        return self.inside and self._buffer[-1:] == END

    def silence(self) -> list[Frame]:
        """Nothing came after a 1C: takes it as the end."""
        frames: list[Frame] = []
        if self.lone_end:
            self._finish(frames, len(self._buffer) - 1)
            self._buffer.clear()
            self.lone_ends += 1
        return frames


def framed(body: bytes) -> bytes:
    return START + body + END + CR


@dataclass(slots=True)
class _Timer:
    """One call later on, which may be put off or called off."""

    loop: asyncio.AbstractEventLoop
    _handle: asyncio.TimerHandle | None = None

    def start(self, seconds: float, call: Callable[[], None]) -> None:
        self.stop()
        self._handle = self.loop.call_later(seconds, call)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


class _Stream(asyncio.Protocol):
    """A connection whose bytes become frames: what listener and sender have in common."""

    def __init__(self, framer: Framer) -> None:
        self.framer = framer
        self.transport: Any = None
        self.loop = asyncio.get_running_loop()
        self.silence = _Timer(self.loop)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        _keep_alive(transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self.silence.stop()

    def data_received(self, data: bytes) -> None:
        self.silence.stop()
        self.take(self.framer.feed(data))
        if self.framer.lone_end:
            self.silence.start(LONE_END, self.take_what_ended)

    def take_what_ended(self) -> None:
        self.take(self.framer.silence())

    def take(self, frames: list[Frame]) -> None:
        raise NotImplementedError


def _keep_alive(transport: asyncio.BaseTransport) -> None:
    sock: socket.socket | None = transport.get_extra_info("socket")
    if sock is None:
        return
    with contextlib.suppress(OSError, AttributeError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for option, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


# Listener.


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


class _Peer(_Stream):
    """One connection of a sender: its frames are answered in order."""

    def __init__(self, listener: MllpListener) -> None:
        super().__init__(Framer(listener.config.max_frame, listener.config.lenient_start))
        self.listener = listener
        self.frames: deque[Frame] = deque()
        self.worker: asyncio.Task[None] | None = None
        self.clock = _Timer(self.loop)
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
        hl7 = Hl7(body, charset)
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


# Sender.


class SenderConfig(DestinationConfig):
    """Sends HL7 v2 over MLLP."""

    host: HostName
    """The partner's host name or address."""
    port: int = Field(ge=1, le=65535)
    """Its TCP port."""
    tls: TlsClient | None = None
    """TLS, with `cert` and `key` for mutual TLS. Write `tls: {}` for TLS with the system's authorities."""
    allow_plaintext: str | None = None
    """Why this connection may do without TLS although it leaves this machine, in a few words."""
    connect_timeout: Duration = Field(default=10.0, gt=0)
    """How long connecting may take."""
    timeout: Duration = Field(default=30.0, gt=0)
    """How long the acknowledgement may take; the connection is closed after it."""
    max_frame: Size = Field(default=1024 * 1024, ge=1024)
    """Longest acknowledgement."""

    @model_validator(mode="after")
    def _plain_text_needs_a_reason(self) -> SenderConfig:
        if self.tls is None and not is_loopback(self.host) and not self.allow_plaintext:
            raise ValueError("sending beyond this machine needs `tls`, or `allow_plaintext` with the reason why not")
        return self


class MllpSender(Destination[SenderConfig]):
    """Sends HL7 v2 messages and waits for the acknowledgement of each."""

    kind = "mllp_sender"
    repeat = "safe"

    def __init__(self, name: str, config: SenderConfig) -> None:
        super().__init__(name, config)
        self._idle: list[_Link] = []
        self._links: set[_Link] = set()
        self._context: ssl.SSLContext | None = None

    async def open_destination(self) -> None:
        self._context = client_context(self.config.tls) if self.config.tls is not None else None

    async def send(self, message: Message) -> Message | None:
        body = message.body
        control_id = self._control_id(body)
        link = await self._link()
        frame = await link.ask(framed(body), self.config.timeout)
        answer = self._check(link, frame, control_id)
        self._idle.append(link)
        return answer

    def _control_id(self, body: bytes) -> str:
        """MSH-10 of what can be sent; raises MessageRejected when it cannot."""
        try:
            control_id = Hl7(body).control_id
        except MessageUnusable as error:
            raise MessageRejected(f"{self.name} sends HL7 v2 only: {error}", final=True) from None
        if START in body or END in body:
            raise MessageRejected(
                f"{self.name}: the message holds the byte 0B or 1C, which MLLP keeps for its frames", final=True, code="HL7-112"
            )
        return control_id

    async def _link(self) -> _Link:
        while self._idle:
            link = self._idle.pop()
            if link.usable:
                return link
        return await self._connect()

    async def _connect(self) -> _Link:
        config, down = self.config, f"{self.name}: cannot connect to {self._place}"
        name = config.tls.server_name if config.tls is not None else None
        try:
            async with asyncio.timeout(config.connect_timeout):
                _, link = await asyncio.get_running_loop().create_connection(
                    lambda: _Link(self),
                    config.host,
                    config.port,
                    ssl=self._context,
                    server_hostname=name if self._context else None,
                )
        except TimeoutError:
            raise ConnectionDown(f"{down} within {config.connect_timeout:g} s") from None
        except ssl.SSLError as error:
            raise self.tls_failed(error) from None
        except OSError as error:
            raise ConnectionDown(f"{down}: {error.strerror or type(error).__name__}") from None
        self._links.add(link)
        return link

    @property
    def _place(self) -> str:
        return f"{self.config.host}:{self.config.port}"

    def tls_failed(self, error: Exception) -> ConnectionDown:
        return ConnectionDown(f"{self.name}: TLS with {self._place} failed: {tls_failure(error)}", code="TLS-003")

    def _check(self, link: _Link, frame: Frame, control_id: str) -> Message:
        """Takes an acknowledgement only for the message it belongs to."""
        try:
            if frame.fault:
                raise MessageUnusable(f"the answer is {frame.fault}")
            ack = read_acknowledgement(frame.body)
            if ack.code not in CODES:
                raise MessageUnusable("its MSA-1 is none of AA, AE, AR, CA, CE and CR")
        except MessageUnusable as error:
            link.close()
            raise ConnectionDown(
                f"{self.name}: what {self._place} answered is no acknowledgement: {error}", code="HL7-110"
            ) from None
        if ack.control_id != control_id:
            link.close()
            raise ConnectionDown(
                f"{self.name}: {self._place} acknowledged another message than the one that was sent", code="HL7-111"
            )
        if ack.code not in ("AA", "CA"):
            self._idle.append(link)
            codes = f" ({ack.text})" if ack.text else ""
            raise MessageRejected(f"{self._place} answered {ack.code}{codes}", answer=ack.code, reply=frame.body)
        return Message(frame.body, "hl7v2", headers={"answer": ack.code})

    def forget(self, link: _Link) -> None:
        self._links.discard(link)
        with contextlib.suppress(ValueError):
            self._idle.remove(link)

    async def check(self) -> str:
        await self.open_destination()
        link = await self._connect()
        link.close()
        return f"{self._place} accepts connections" + (" with TLS" if self._context else "")

    async def close(self) -> None:
        for link in list(self._links):
            link.close()


class _Link(_Stream):
    """A connection to the partner, one question at a time."""

    def __init__(self, sender: MllpSender) -> None:
        super().__init__(Framer(sender.config.max_frame))
        self.sender = sender
        self.waiting: asyncio.Future[Frame] | None = None
        self.closed = False
        self.failure: Exception | None = None

    @property
    def usable(self) -> bool:
        return not self.closed and not self.transport.is_closing()

    def take(self, frames: list[Frame]) -> None:
        for frame in frames:
            if self.waiting is None or self.waiting.done():
                self.close()  # an answer nobody waits for: it must never be taken for the next message
                return
            self.waiting.set_result(frame)

    def eof_received(self) -> bool:
        self.take_what_ended()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.closed, self.failure = True, exc
        self.sender.forget(self)
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_exception(self._gone())

    def _gone(self) -> ConnectionDown:
        if self.failure is not None and tls_failure(self.failure):
            return self.sender.tls_failed(self.failure)
        return ConnectionDown(f"{self.sender.name}: the partner closed the connection before it answered")

    async def ask(self, data: bytes, timeout: float) -> Frame:
        """Sends and waits; after a time-out this connection is never used again."""
        if self.closed:
            raise self._gone()
        self.waiting = self.loop.create_future()
        self.transport.write(data)
        try:
            async with asyncio.timeout(timeout):
                return await self.waiting
        except TimeoutError:
            self.close()
            raise ConnectionDown(f"{self.sender.name}: no acknowledgement within {timeout:g} s") from None
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            self.waiting = None

    def close(self) -> None:
        self.closed = True
        if self.transport is not None:
            self.transport.close()


@hookimpl
def register_connectors() -> list[type[AnyConnector]]:
    return [MllpListener, MllpSender]
