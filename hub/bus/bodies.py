"""Messages to rows and back: sealing, large bodies as files, a bounded memory of recent ones."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from hub.bus.bodyfiles import BodyFiles
from hub.errors import NotFound, StoreBroken
from hub.message import LARGE_BODY, Message, Stored
from hub.moments import from_micros, now_micros, to_micros
from hub.security.seal import Seal
from hub.step import Due
from hub.store.reader import Reader
from hub.store.rows import DueRow, NewMessage, Note

_PLAIN, _HIDDEN = b"p", b"h"
CACHE_BYTES = 32 * 1024 * 1024
LONGEST_REPLY = 64 * 1024
"""Bytes kept of what a partner wrote when it refused a message."""


class Bodies:
    """The way of message bodies into the store and out of it."""

    def __init__(self, seal: Seal, reader: Reader, files: Path, *, on_broken: Callable[[StoreBroken], None]) -> None:
        self._on_broken = on_broken
        self._seal = seal
        self._reader = reader
        self.files = BodyFiles(seal, files)
        self._recent: OrderedDict[str, tuple[Message, int]] = OrderedDict()
        self._recent_bytes = 0

    # In.

    async def row(self, message: Message, *, connection: str, direction: str, at: int, control_id: str = "") -> NewMessage:
        """The row of a message, its body sealed; a body over 256 KB is written to its file and synced first."""
        headers = json.dumps(dict(message.headers), ensure_ascii=False).encode() if message.headers else b""
        body = message.payload if isinstance(message.payload, Stored) else await message.read()
        if isinstance(body, Stored) or len(body) > LARGE_BODY:
            kept = await self.in_file(body)
            file, size, digest = kept.name, kept.size, bytes.fromhex(kept.name)
            sealed = self._seal.seal(_pack(headers, b""), _place(message.id, file))
        else:
            file, size, digest = None, len(body), self._seal.digest(body)
            sealed = self._seal.seal(_pack(headers, body), _place(message.id, None))
            self._remember(message, size)
        return NewMessage(
            id=message.id,
            at=at,
            connection=connection,
            direction=direction,
            format=message.format,
            type=message.type,
            control_id=control_id,
            parent=message.parent,
            generation=message.generation,
            size=size,
            digest=digest,
            body=sealed,
            file=file,
        )

    async def in_file(self, body: bytes | Stored) -> Stored:
        """The same bytes as a file that whoever commits its name within an hour will find; what is there is not written again.

        Raises StoreFull when there is no room now, NotFound when a file that was there is gone.
        """
        try:
            if isinstance(body, Stored):
                await asyncio.to_thread(self.files.hold, body.name)
                return body
            return self.stored(await asyncio.to_thread(self.files.write, body), len(body))
        except StoreBroken as error:
            self._on_broken(error)
            raise

    def stored(self, name: str, size: int) -> Stored:
        return Stored(name, size, partial(self.files.read, name))

    # Out.

    async def load(self, id: str) -> Message:
        """A message by its id; raises NotFound."""
        if found := self._recent.get(id):
            self._recent.move_to_end(id)
            return found[0]
        row = await self._reader.message(id)
        if row is None:
            raise NotFound(f"there is no message {id}")
        return self.message(row)

    def message(self, row: Any) -> Message:
        """A message from its row; a large body is read, and one that is no longer kept is missed, when somebody asks for it."""
        headers, body = _unpack(self._seal.open(row.body, _place(row.id, row.file))) if row.body is not None else ({}, b"")
        payload: Any = self.stored(row.file, row.size) if row.file else body
        if row.body is None:
            payload = partial(_no_longer_kept, row.id)
        message = Message(payload, row.format, row.type, headers, id=row.id, parent=row.parent, generation=row.generation)
        if not callable(payload):
            self._remember(message, len(body))
        return message

    def _remember(self, message: Message, size: int) -> None:
        size += 1000
        if message.id in self._recent:
            self._recent_bytes -= self._recent.pop(message.id)[1]
        self._recent[message.id] = (message, size)
        self._recent_bytes += size
        while self._recent_bytes > CACHE_BYTES:
            _, (_, gone) = self._recent.popitem(last=False)
            self._recent_bytes -= gone

    def note(self, seq: int, what: str, text: str, at: int | None = None, *, plain: bool = True) -> Note:
        """A line of the timeline, sealed; with a mark in front that tells whether everybody may read it."""
        sealed = self._seal.seal((_PLAIN if plain else _HIDDEN) + text.encode(), f"note|{seq}|{what}")
        return Note(seq, at or now_micros(), what, sealed)

    def note_text(self, seq: int, what: str, sealed: bytes) -> tuple[str, bool]:
        """The text, and whether everybody may read it."""
        content = self._seal.open(sealed, f"note|{seq}|{what}")
        return content[1:].decode(), content[:1] == _PLAIN

    def reply(self, message: str, words: bytes) -> bytes | None:
        """What a partner wrote about a message, sealed: it may name a patient."""
        return self._seal.seal(words[:LONGEST_REPLY], f"reply|{message}") if words else None

    def reply_text(self, message: str, sealed: bytes) -> str:
        return self._seal.open(sealed, f"reply|{message}").decode("utf-8", errors="replace")

    def due_row(self, due: Due) -> DueRow:
        """The row of planned work; its payload is sealed, for it names patients."""
        payload = json.dumps({"lane": due.lane or due.key, "payload": dict(due.payload)}).encode()
        return DueRow(due.job, due.key, to_micros(due.at), self._seal.seal(payload, f"due|{due.job}|{due.key}"))

    def due(self, row: Any) -> Due:
        content = json.loads(self._seal.open(row.payload, f"due|{row.job}|{row.key}"))
        return Due(row.job, row.key, from_micros(row.at), content["payload"], content["lane"])

    def forget(self, id: str) -> None:
        """Nobody is expected to ask for it again soon."""
        if found := self._recent.pop(id, None):
            self._recent_bytes -= found[1]


def _no_longer_kept(id: str) -> bytes:
    raise NotFound(f"what the message {id} said is no longer kept (`keep`, `retention` in the clinic file)")


def _pack(headers: bytes, body: bytes) -> bytes:
    return len(headers).to_bytes(4, "big") + headers + body


def _unpack(packed: bytes) -> tuple[dict[str, str], bytes]:
    length = int.from_bytes(packed[:4], "big")
    headers = json.loads(packed[4 : 4 + length]) if length else {}
    return headers, packed[4 + length :]


def _place(id: str, file: str | None) -> str:
    """What a body is bound to: its row, and the file that belongs to it."""
    return f"message|{id}|{file}" if file else f"message|{id}"
