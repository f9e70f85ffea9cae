"""What records keep besides themselves: bytes of any size, as files beside those of large message bodies.

A content is one file, named by a keyed digest of its bytes, complete and on disk before the record that names it.  Records and
messages may name the same file; it is taken away when none of them does (hub/bus/bodyfiles.py).
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Protocol

from hub.bus.bodies import Bodies
from hub.errors import NotFound
from hub.message import Message, Stored
from hub.records import Content
from hub.security.seal import Seal


class Contents(Protocol):
    """Where a run keeps bytes and reads them.  See `hub.step.Context` for what each method promises."""

    async def keep(self, content: bytes | Message) -> Content: ...
    async def read(self, kept: Content) -> bytes: ...
    def body(self, kept: Content) -> Stored: ...


class StoredContents:
    """The contents of the store."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies

    async def keep(self, content: bytes | Message) -> Content:
        payload = content.payload if isinstance(content, Message) else content
        if isinstance(content, Message) and not isinstance(payload, Stored):
            payload = await content.read()
        assert isinstance(payload, bytes | Stored)  # noqa: S101 - whatever else there is has been read
        kept = await self._bodies.in_file(payload)
        return Content(name=kept.name, size=kept.size)

    async def read(self, kept: Content) -> bytes:
        return await asyncio.to_thread(self.body(kept))

    def body(self, kept: Content) -> Stored:
        return self._bodies.stored(kept.name, kept.size)


class MemoryContents:
    """Contents for a trial run: nothing is kept anywhere."""

    def __init__(self, seal: Seal) -> None:
        self._seal = seal
        self._kept: dict[str, bytes] = {}

    async def keep(self, content: bytes | Message) -> Content:
        body = content.body if isinstance(content, Message) else content
        name = self._seal.digest(body).hex()
        self._kept[name] = body
        return Content(name=name, size=len(body))

    async def read(self, kept: Content) -> bytes:
        return self._read(kept.name)

    def body(self, kept: Content) -> Stored:
        return Stored(kept.name, kept.size, partial(self._read, kept.name))

    def _read(self, name: str) -> bytes:
        if name not in self._kept:
            raise NotFound("this content was not kept in this trial; only what the flow itself keeps can be read in one")
        return self._kept[name]
