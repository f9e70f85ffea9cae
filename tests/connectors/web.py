"""HTTP servers for the tests of connectors, byte by byte: they answer what no framework would let them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qs

from connectors.http import Http, HttpConfig
from tests.connectors.wire import Partner


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode()).items()}


async def read_request(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    return Asked(method, path, headers, await reader.readexactly(int(headers.get("content-length", 0))))


def answer(status: int, body: bytes = b"", *, reason: str = "Whatever", **headers: str) -> bytes:
    """An answer as bytes; `retry_after` becomes `retry-after`."""
    lines = [f"HTTP/1.1 {status} {reason}", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


@dataclass
class Web:
    """A server that answers each request with the bytes its function gives; None closes the connection."""

    replies: Callable[[Asked], Any]
    tls: ssl.SSLContext | None = None
    asked: list[Asked] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self.partner = Partner(self._serve, tls=self.tls)
        await self.partner.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.partner.__aexit__(*error)

    @property
    def port(self) -> int:
        return self.partner.port

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/x12"

    @property
    def token_url(self) -> str:
        return self.url.replace("/x12", "/token")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read_request(reader)
            self.asked.append(request)
            reply = self.replies(request)
            if asyncio.iscoroutine(reply):
                reply = await reply
            if reply is None:
                return
            writer.write(reply)
            await writer.drain()


@asynccontextmanager
async def http(url: str, **settings: Any) -> AsyncIterator[Http]:
    """A connection to a URL."""
    given = {"kind": "http", "url": url, "timeout": "5s", "answer_format": "x12", **settings}
    connection = Http("clearinghouse", HttpConfig.model_validate(given))
    await connection.open_destination()
    try:
        yield connection
    finally:
        await connection.close()


class Opening:
    """Opens a server that takes a free port, and writes its address into the settings."""

    def __init__(self, web: Web, config: dict[str, Any]) -> None:
        self.web, self.config = web, config

    async def __aenter__(self) -> None:
        await self.web.__aenter__()
        self.config["url"] = self.web.url

    async def __aexit__(self, *error: object) -> None:
        await self.web.__aexit__(*error)
