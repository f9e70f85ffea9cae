"""The frames of MLLP, cut out of a stream however it arrives, and the connection that carries them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

START, END, CR, LF = b"\x0b", b"\x1c", b"\r", b"\n"
ACK, NAK = b"\x06", b"\x15"
"""Commit bytes of MLLP release 2: a frame was kept, or was not."""
REPEATS = 2
"""Times a frame is sent again that the other side could not keep (MLLP release 2)."""
HEADER = b"MSH"
HEAD = 4096
"""Bytes kept of a frame that is too long: enough for its MSH."""
LONE_END = 0.2
"""Seconds of silence after a 1C without its 0D that make it the end of the frame all the same."""


class Frame(NamedTuple):
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
    empty: int = 0
    """Frames without anything in them, so far; some senders keep the link alive with them."""
    lone_ends: int = 0
    """Frames that ended in 1C without its 0D, so far."""
    _may_be_naked: bool = False
    """True while a message without its 0B would be accepted: nothing but line ends came since the last frame."""
    _buffer: bytearray = field(default_factory=bytearray)
    _scanned: int = 0
    _head: bytes | None = None
    """Beginning of a frame that is too long, while the rest is thrown away."""
    _thrown: int = 0
    """Bytes of it that were thrown away."""

    def __post_init__(self) -> None:
        self._may_be_naked = self.lenient_start

    def feed(self, data: bytes) -> list[Frame]:
        frames: list[Frame] = []
        if not self.inside and not self._buffer:
            data = self._whole_frames(data, frames)
            if not data:
                return frames
        self._buffer += data
        while self._within(frames) if self.inside else self._between():
            pass
        return frames

    def _whole_frames(self, data: bytes, frames: list[Frame]) -> bytes:
        """Takes the frames that begin and end within one read, as nearly all do, and gives back what is left of it."""
        at, length = 0, len(data)
        while data.startswith(START, at):
            end = data.find(END, at + 1)
            size = end - at - 1
            if (
                not 0 < size <= self.max_frame
                or end + 2 > length
                or data[end + 1] != 0x0D
                or data.find(START, at + 1, end) >= 0
            ):
                break
            frames.append(Frame(data[at + 1 : end]))
            at = end + 2
        if at:
            self.begun, self.gap, self._may_be_naked = self.begun + len(frames), 0, self.lenient_start
        return data[at:]

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
        self._scanned, self._head, self._thrown = 0, None, 0
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
        if following not in (CR, LF, START):
            self._scanned = end + 1  # 1C inside a message: not allowed, but the message is not over
            return True
        self._finish(frames, end)
        self.lone_ends += following != CR  # a line feed instead is no part of a message either
        del buffer[: end + 1 + (following == CR)]
        return True

    def _throw_away_what_is_too_long(self) -> None:
        if self._head is not None or len(self._buffer) > self.max_frame:
            self._head = self.beginning
            self._thrown += len(self._buffer)
            self._buffer.clear()
            self._scanned = 0

    @property
    def beginning(self) -> bytes:
        """Of the frame that has begun."""
        return self._head or bytes(self._buffer[: min(HEAD, self.max_frame)])

    def _finish(self, frames: list[Frame], length: int, fault: Literal["", "broken"] = "") -> None:
        """The frame up to here is one; an empty one says nothing."""
        self.inside = False
        if self._head is not None or length > self.max_frame:
            frames.append(Frame(self.beginning, fault or "too long"))
        elif length:
            frames.append(Frame(bytes(self._buffer[:length]), fault))
        else:
            self.empty += 1

    @property
    def unfinished(self) -> int:
        """Bytes of the frame that has begun."""
        return self._thrown + len(self._buffer) if self.inside else 0

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
class Timer:
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


class Stream(asyncio.Protocol):
    """A connection whose bytes become frames: what listener and sender have in common."""

    def __init__(self, framer: Framer) -> None:
        self.framer = framer
        self.transport: Any = None
        self.loop = asyncio.get_running_loop()
        self.silence = Timer(self.loop)

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
