"""Raw connections for the tests of connectors: bytes out and frames in, with none of the hub's own framing."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

from connectors.mllp import ListenerConfig, MllpListener, MllpSender, SenderConfig
from hub.testing import FakeDeliver
from tests import support
from tests.support import until

START, END = b"\x0b", b"\x1c\r"


def _at_nine(make: Callable[..., bytes]) -> Callable[..., bytes]:
    """Messages carry the time they were made at; tests compare them, so here it is always the same."""
    return lambda *given, **named: re.sub(rb"\|\d{14}\|", b"|20261123090000|", make(*given, **named), count=1)


adt, siu = _at_nine(support.adt), _at_nine(support.siu)


def frame(body: bytes) -> bytes:
    return START + body + END


@dataclass(frozen=True, slots=True)
class Ack:
    """An acknowledgement as a partner reads it."""

    code: str
    control_id: str
    segments: dict[str, list[str]]
    raw: bytes

    def __str__(self) -> str:
        return f"{self.code} {self.control_id}"


def read_ack(body: bytes) -> Ack:
    segments = {}
    for line in body.decode("utf-8", "replace").rstrip("\r").split("\r"):
        segments.setdefault(line[:3], line.split("|"))
    msa = [*segments.get("MSA", []), "", "", ""]
    return Ack(msa[1], msa[2], segments, body)


class Wire:
    """A connection to a listener, made by a partner that decides itself how its bytes are cut."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def send_in_pieces(self, data: bytes, pieces: list[int]) -> None:
        """Sends so many bytes at a time; the listener gets to read in between."""
        at = 0
        for size in pieces:
            self.writer.write(data[at : at + size])
            at += size
            await self.writer.drain()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert at >= len(data), "the pieces are the whole"

    async def frame(self, timeout: float = 5.0) -> bytes:
        """The next frame; raises IncompleteReadError when the hub closes instead."""
        async with asyncio.timeout(timeout):
            return (await self.reader.readuntil(END))[1:-2]

    async def answer(self, timeout: float = 5.0) -> Ack:
        return read_ack(await self.frame(timeout))

    async def answers_until(self, control_id: str, timeout: float = 10.0) -> list[str]:
        """All answers up to that of the message with this id."""
        found: list[str] = []
        async with asyncio.timeout(timeout):
            while not found or not found[-1].endswith(f" {control_id}"):
                found.append(str(await self.answer(timeout)))
        return found

    async def rest_or_frame(self) -> bytes:
        """The next frame, or what there is when the hub closes instead."""
        try:
            return await self.frame()
        except asyncio.IncompleteReadError as end:
            return end.partial
        except ConnectionError:
            return b""

    async def rest(self, timeout: float = 5.0) -> bytes:
        """Everything up to the end of the connection, whether it was closed or reset."""
        async with asyncio.timeout(timeout):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""


def one_by_one(data: bytes) -> list[int]:
    """Single bytes; of long streams the ends, which are what matters."""
    if len(data) <= 8000:
        return [1] * len(data)
    middle = len(data) - 8000
    return [1] * 4000 + [1000] * (middle // 1000) + [middle % 1000] + [1] * 4000


def in_chunks(data: bytes) -> list[int]:
    """Chunks of any size, the same for the same bytes."""
    dice = random.Random(len(data))
    sizes: list[int] = []
    while sum(sizes) < len(data):
        sizes.append(dice.randint(1, 40 if len(data) <= 8000 else 4000))
    return sizes


def at_once(data: bytes) -> list[int]:
    return [len(data)]


@asynccontextmanager
async def wire(port: int, *, tls: ssl.SSLContext | None = None, name: str | None = None) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=name, limit=2**26)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@asynccontextmanager
async def listening(deliver: Any = None, **settings: Any) -> AsyncIterator[MllpListener]:
    """A listener that is open, on a free port."""
    config = ListenerConfig.model_validate({"kind": "mllp_listener", "port": 0, **settings})
    listener = MllpListener("ehr", config)
    await listener.open(FakeDeliver() if deliver is None else deliver)
    try:
        yield listener
    finally:
        await listener.close()


@asynccontextmanager
async def sending(port: int, **settings: Any) -> AsyncIterator[MllpSender]:
    """A sender to a port of this machine."""
    given = {"kind": "mllp_sender", "host": "127.0.0.1", "port": port, "timeout": 5.0, **settings}
    sender = MllpSender("pms", SenderConfig.model_validate(given))
    await sender.open_destination()
    try:
        yield sender
    finally:
        await sender.close()


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Partner:
    """A server that does with each connection what its handler says, byte by byte; counts connections."""

    def __init__(self, handler: Handler, *, tls: ssl.SSLContext | None = None) -> None:
        self.connections = 0
        self.ended = 0
        """Connections that are over."""
        self.port = 0
        self._handler, self._tls = handler, tls
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls, limit=2**26)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            # A cancelled task would make asyncio's streams complain: here it only means that the test is over.
            with contextlib.suppress(asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
                await self._handler(reader, writer)
        finally:
            self._tasks.discard(task)
            self.ended += 1
            writer.close()

    async def all_ended(self) -> None:
        await until(lambda: self.ended == self.connections)


def acknowledgement(code: str, control_id: str, *more: str) -> bytes:
    """What a partner answers, in its frame."""
    lines = [f"MSH|^~\\&|SIM|SIM|HUB|HUB|20261123090000||ACK|A{control_id}|P|2.5", f"MSA|{code}|{control_id}", *more]
    return frame(("\r".join(lines) + "\r").encode())


def control_id_of(body: bytes) -> str:
    return body.split(b"\r")[0].split(b"|")[9].decode()
