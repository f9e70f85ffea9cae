"""The message: an immutable envelope around bytes as they came."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import BaseModel

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})

LARGE_BODY = 256 * 1024
"""Bodies above this many bytes are kept in files, not in rows."""


def _base32(number: int) -> str:
    """100 bits as 20 characters: short enough for MSH-10 (20 characters up to HL7 v2.6)."""
    return "".join([_PAIRS[(number >> shift) & 1023] for shift in range(90, -1, -10)])


def new_id() -> str:
    """A time-ordered id for a received message: 48 bits of milliseconds, 52 bits at random."""
    return _base32((time.time_ns() // 1_000_000) << 52 | random.getrandbits(52))


def derived_id(parent: str, flow: str, step: str, index: int, generation: int) -> str:
    """The same id whenever the same step of the same run makes it, so that a repeat after a crash changes nothing."""
    text = "\x1f".join((parent, flow, step, str(index), str(generation)))
    return _base32(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=13).digest(), "big") >> 4)


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """A body that the store has already: read when somebody asks for it, and named instead of copied when it is kept again."""

    name: str
    """Of its content."""
    size: int
    """Bytes."""
    read: Callable[[], bytes]

    def __call__(self) -> bytes:
        return self.read()


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """One message on its way.  Steps never change a message, they make the next one with `derive`.

    `payload` is the body as bytes, a function that reads it on demand (bodies over 256 KB), or a record, which is
    written as JSON when bytes are asked for.
    """

    payload: bytes | Callable[[], bytes] | BaseModel
    format: str = "bytes"
    """The codec that understands the body: `hl7v2`, `x12`, or the kind of a record."""
    type: str = ""
    """What kind of message it is in its format: `SIU^S12`, `270`."""
    headers: Mapping[str, str] = field(default_factory=lambda: _NO_HEADERS)
    id: str = field(default_factory=new_id)
    parent: str | None = None
    generation: int = 0
    """0 for the first run; a replay raises it."""
    duplicate_key: str | None = None
    """What makes a second copy recognisable when the format has no control id, for instance a file name."""

    @property
    def body(self) -> bytes:
        payload = self.payload
        if isinstance(payload, bytes):
            return payload
        if callable(payload):
            return payload()
        return payload.model_dump_json(exclude_unset=True).encode()

    @property
    def size(self) -> int:
        """Bytes of the body; one that the store has already is not read for it."""
        return self.payload.size if isinstance(self.payload, Stored) else len(self.body)

    @property
    def large(self) -> bool:
        """True when to read or to look through the body takes longer than others should wait for it."""
        payload = self.payload
        if isinstance(payload, bytes):
            return len(payload) > LARGE_BODY
        return not isinstance(payload, Stored) or payload.size > LARGE_BODY if callable(payload) else False

    async def read(self) -> bytes:
        """The body; a large one is read beside the event loop."""
        return await asyncio.to_thread(self.payload) if callable(self.payload) else self.body

    @property
    def record(self) -> BaseModel | None:
        """The record this message carries, when a step has made one."""
        payload = self.payload
        return None if isinstance(payload, bytes) or callable(payload) else payload

    def derive(
        self,
        payload: bytes | Callable[[], bytes] | BaseModel,
        *,
        format: str,
        type: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Message:
        """The next message: headers are inherited, the id is given when it is committed."""
        merged = {**self.headers, **headers} if headers else self.headers
        return Message(payload, format, type, merged, id=self.id, parent=self.parent, generation=self.generation)

    def named(self, type: str, headers: Mapping[str, str]) -> Message:
        """The same message, with what was found out about it."""
        return Message(self.payload, self.format, type, headers, self.id, self.parent, self.generation, self.duplicate_key)

    def child(self, id: str, parent: str, generation: int) -> Message:
        """The same content as a message of its own, made for another."""
        return Message(self.payload, self.format, self.type, self.headers, id, parent, generation, self.duplicate_key)

    def __repr__(self) -> str:
        return f"<Message {self.id} {self.format} {self.type or '-'} generation {self.generation}>"
