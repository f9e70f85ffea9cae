"""Sequence numbers a sender counts its messages with (HL7 v2: MSH-13): kept as keys of the messages, gaps are told.

A listener gives the number as the header `sequence`.  What came before is in the journal, so a gap is also seen when the hub
was down in between; nothing is looked up for messages without a number, or whose number follows the one before.
"""

from __future__ import annotations

import structlog

from hub.store.reader import Reader
from hub.store.rows import NewMessage

log = structlog.get_logger(__name__)

KIND = "sequence"
LONGEST = 15
"""Digits."""


class Sequences:
    """The numbers of one connection."""

    def __init__(self, connection: str, reader: Reader) -> None:
        self._connection, self._reader = connection, reader
        self._last: int | None = None
        """None until the first number since the start, and after one that begins anew."""
        self._begins_anew = False

    async def note(self, row: NewMessage, text: str) -> None:
        """Files a message under its number; a gap becomes its flag.  0 and -1 begin anew (chapter 2, section 2.10.1)."""
        text = text.strip()
        if text in ("0", "-1"):
            self._last, self._begins_anew = None, True
        elif text.isdecimal() and text.isascii() and len(text) <= LONGEST:
            await self._note(row, int(text))

    async def _note(self, row: NewMessage, number: int) -> None:
        finding = await self._finding(row, number)
        if finding:
            row.flag = finding
            log.warning("a sequence of messages has a gap", connection=self._connection, finding=finding)
        row.keys.append((KIND, self._value(number)))
        self._last, self._begins_anew = number, False

    async def _finding(self, row: NewMessage, number: int) -> str:
        last = self._last
        if self._begins_anew or last in (number, number - 1):
            return ""
        if last is None:
            return await self._after_start(row, number)
        if number < last and await self._has(self._value(number)):
            return ""  # sent again
        return f"sequence number {number} came, {last + 1} was expected"

    async def _after_start(self, row: NewMessage, number: int) -> str:
        """The journal knows whether the number before came, and whether this sender counts at all."""
        if await self._has(self._connection):
            before = await self._has(self._value(number - 1), self._value(number))
            return "" if before else f"sequence number {number} came, {number - 1} never did"
        row.keys.append((KIND, self._connection))
        return ""

    async def _has(self, *values: str) -> bool:
        return bool(await self._reader.seqs_with_key([KIND], list(values), limit=1))

    def _value(self, number: int) -> str:
        return f"{self._connection} {number}"
