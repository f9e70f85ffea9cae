"""An EHR: sends HL7 v2 messages over MLLP and receives them, and misbehaves as told.

Deliberately written without the hub's own codec and connectors, so that a mistake there does not cancel itself out here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

START, END = b"\x0b", b"\x1c\r"


def segment(name: str, **fields: str) -> str:
    """`segment("PID", f3="42^^^RIVER^MR", f5="DOE^JANE")`."""
    numbers = {int(key[1:]): value for key, value in fields.items()}
    return "|".join([name, *(numbers.get(n, "") for n in range(1, max(numbers, default=0) + 1))])


def header(
    type: str, control_id: str, *, sender: str = "EHR", facility: str = "RIVER", version: str = "2.5", at: str = ""
) -> str:
    stamp = at or datetime.now(UTC).strftime("%Y%m%d%H%M%S")
    return f"MSH|^~\\&|{sender}|{facility}|HUB|{facility}|{stamp}||{type}|{control_id}|P|{version}"


def message(*segments: str) -> bytes:
    return ("\r".join(segments) + "\r").encode()


@dataclass(slots=True)
class Answer:
    """What came back for one message."""

    code: str
    control_id: str
    raw: bytes


class EhrClient:
    """Sends messages one after another on one connection."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(self.host, self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()

    async def send(self, body: bytes, timeout: float = 10.0) -> Answer:
        """Raises ConnectionError or TimeoutError when no answer comes."""
        await self.send_raw(START + body + END)
        async with asyncio.timeout(timeout):
            return await self.read()

    async def send_raw(self, data: bytes) -> None:
        assert self._writer is not None  # noqa: S101 - opened by `async with`
        self._writer.write(data)
        await self._writer.drain()

    async def read(self) -> Answer:
        assert self._reader is not None  # noqa: S101 - opened by `async with`
        try:
            frame = await self._reader.readuntil(END)
        except asyncio.IncompleteReadError:
            raise ConnectionResetError("the hub closed the connection before it answered") from None
        body = frame[:-2].lstrip(START)
        fields = _fields(body, b"MSA")
        return Answer(fields[1].decode() if len(fields) > 1 else "", fields[2].decode() if len(fields) > 2 else "", body)


def _fields(body: bytes, name: bytes) -> list[bytes]:
    separator = body[3:4] or b"|"
    for line in body.split(b"\r"):
        if line[:3] == name:
            return line.split(separator)
    return []


Script = Callable[[bytes, str, int], str]
"""Body, control id and how many times this id came already: what to do with it.

AA, AE, AR, CA, CE, CR: answer so. `CA AA`: two answers, as enhanced mode has them. silent: no answer. close: close the
connection. wrong: acknowledge another message. garbage: answer nonsense. late: answer AA after a second.
"""


@dataclass(slots=True)
class EhrServer:
    """Receives messages over MLLP, keeps them in order, and answers as its script says."""

    script: Script = lambda _, __, ___: "AA"
    received: list[bytes] = field(default_factory=list)
    """Bodies that were accepted, in order."""
    seen: Counter[str] = field(default_factory=Counter)
    """How often each control id came, accepted or not."""
    host: str = "127.0.0.1"
    port: int = 0
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self.host, self.port, limit=64 * 1024 * 1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def control_ids(self) -> list[str]:
        return [_fields(body, b"MSH")[9].decode() for body in self.received]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a handler always runs in a task
        self._tasks.add(task)
        try:
            while True:
                frame = await reader.readuntil(END)
                if not await self._answer(frame[:-2].lstrip(START), writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the hub closed: that is its right
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, body: bytes, writer: asyncio.StreamWriter) -> bool:
        control_id = _fields(body, b"MSH")[9].decode()
        what = self.script(body, control_id, self.seen[control_id])
        self.seen[control_id] += 1
        if what in ("AA", "CA", "CA AA", "late", "wrong"):
            self.received.append(body)
        match what:
            case "close":
                return False
            case "silent":
                return True
            case "garbage":
                writer.write(START + b"this is no acknowledgement" + END)
            case "late":
                await asyncio.sleep(1.0)
                writer.write(_acknowledgement("AA", control_id))
            case "wrong":
                writer.write(_acknowledgement("AA", control_id + "x"))
            case _:
                for code in what.split():
                    writer.write(_acknowledgement(code, control_id))
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        return True


def _acknowledgement(code: str, control_id: str) -> bytes:
    stamp = datetime.now(UTC).strftime("%Y%m%d%H%M%S")
    body = f"MSH|^~\\&|SIM|SIM|HUB|HUB|{stamp}||ACK|A{control_id}|P|2.5\rMSA|{code}|{control_id}\r"
    return START + body.encode() + END


def script_of(answers: Iterable[str]) -> Script:
    """Answers in this order, whatever comes; AA once they are used up."""
    left = list(answers)
    return lambda _, __, ___: left.pop(0) if left else "AA"
