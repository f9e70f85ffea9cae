"""Partners that post webhooks, byte by byte where it matters, and listeners they post to."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from connectors.webhook import WebhookConfig, WebhookListener
from hub.testing import FakeDeliver

KEY = "k3y-of-the-partner"
SIGNED: dict[str, Any] = {
    "how": "hmac",
    "secrets": [KEY],
    "signed": "{timestamp}.{body}",
    "signature": {"header": "X-Signature"},
    "timestamp": {"header": "X-Timestamp"},
}
"""A way to verify with everything on; `signed` makes the headers."""
PATH = "/hooks/partner"


def config(**settings: Any) -> WebhookConfig:
    given = {"kind": "webhook_listener", "port": "0", "path": PATH, "verify": SIGNED, **settings}
    return WebhookConfig.model_validate(given)


@asynccontextmanager
async def listening(deliver: Any = None, *, name: str = "hooks", **settings: Any) -> AsyncIterator[WebhookListener]:
    listener = WebhookListener(name, config(**settings))
    await listener.open(deliver if deliver is not None else FakeDeliver())
    try:
        yield listener
    finally:
        await listener.close()


def signed(body: bytes, *, key: str = KEY, at: float | None = None) -> dict[str, str]:
    """The headers of a delivery that is good."""
    moment = str(int(time.time() if at is None else at))
    digest = hmac.new(key.encode(), moment.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {"X-Timestamp": moment, "X-Signature": digest, "Content-Type": "application/json"}


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer as it arrived."""

    status: int
    headers: dict[str, str]
    body: bytes


class Line:
    """A connection of a partner, on which it may say anything."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def say(self, raw: bytes) -> None:
        self.writer.write(raw)
        await self.writer.drain()

    async def answer(self) -> Answered:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return Answered(int(head[0].split(" ")[1]), headers, body)

    async def ended(self) -> bool:
        """True when the other side has closed it, without a word."""
        try:
            return await self.reader.read() == b""
        except ConnectionError:
            return True


@asynccontextmanager
async def line(port: int, **how: Any) -> AsyncIterator[Line]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, **how)
    try:
        yield Line(reader, writer)
    finally:
        writer.transport.abort()


def request(body: bytes, headers: dict[str, str], *, target: str = PATH, method: str = "POST") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: whatever.example", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


async def post(port: int, body: bytes, headers: dict[str, str] | None = None, **how: Any) -> Answered:
    """One delivery, by default a good one."""
    async with line(port) as partner:
        await partner.say(request(body, signed(body) if headers is None else headers, **how))
        return await partner.answer()


def event(number: int = 1, **more: Any) -> bytes:
    return json.dumps({"event": "thing.changed", "id": f"T{number}", **more}).encode()


def form(fields: Sequence[tuple[str, str]], files: Sequence[tuple[str, str, bytes]] = ()) -> tuple[bytes, str]:
    """A multipart form and its Content-Type."""
    mark = os.urandom(8).hex()
    parts = [f'--{mark}\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n'.encode() for n, v in fields]
    for name, file, content in files:
        head = f'--{mark}\r\nContent-Disposition: form-data; name="{name}"; filename="{file}"\r\nContent-Type: application/pdf'
        parts.append(head.encode() + b"\r\n\r\n" + content + b"\r\n")
    return b"".join(parts) + f"--{mark}--\r\n".encode(), f"multipart/form-data; boundary={mark}"
