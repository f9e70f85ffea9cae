"""Durable counters: never the same number twice, across restarts; a crash leaves gaps."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Protocol

from hub.bus.journal import Journal
from hub.errors import Conflict
from hub.store.reader import Reader
from hub.store.rows import Write

BLOCK = 100
"""Numbers reserved with one commit."""


class Numbers(Protocol):
    """A source of numbers."""

    async def next(self, name: str) -> int: ...


class StoredNumbers:
    """Counters of the store: a block is reserved and on disk before its first number is given out."""

    def __init__(self, journal: Journal, reader: Reader) -> None:
        self._journal = journal
        self._reader = reader
        self._given: dict[str, tuple[int, int]] = {}
        """Last number given, and the last one reserved."""
        self._locks: dict[str, asyncio.Lock] = {}

    async def next(self, name: str) -> int:
        async with self._locks.setdefault(name, asyncio.Lock()):
            last, reserved = self._given.get(name, (0, 0))
            while last >= reserved:
                last = await self._reader.counter(name)
                with contextlib.suppress(Conflict):  # another hub on the same database was quicker
                    await self._journal.commit(Write(counters=[(name, last + BLOCK)]))
                    reserved = last + BLOCK
            self._given[name] = (last + 1, reserved)
            return last + 1


class MemoryNumbers:
    """Counters for a trial run."""

    def __init__(self, start: int = 0) -> None:
        self._last: dict[str, int] = {}
        self._start = start

    async def next(self, name: str) -> int:
        self._last[name] = self._last.get(name, self._start) + 1
        return self._last[name]
