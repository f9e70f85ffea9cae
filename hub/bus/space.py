"""Room on the disk of the store: with little of it there is an alarm, and before it is full nothing more is taken in.

Sources are told that the store is full while there is still room for what is in the hub already to be delivered and marked.
They answer "try later" in the way of their protocol, or not at all, so that their senders keep what they have.  Once there is
room again they are told so by the next look; nobody has to start anything anew.

Pages that a SQLite file has free are room too: retention makes them, and the file never gets smaller.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from hub.errors import Busy
from hub.settings.model import DiskSettings
from hub.units import size_in_words

log = structlog.get_logger(__name__)

LOOK_EVERY = 2.0
"""Seconds between looks at the disk."""
TRY_AGAIN = 60.0
"""Seconds that a sender is asked to wait."""
MOST_WARN, MOST_STOP = 2 << 30, 256 << 20
"""Bytes; on a large disk the shares below would be more than anybody needs."""
WARN_SHARE, STOP_SHARE = 10, 50
"""The tenth and the fiftieth part of a disk."""
AND_A_TENTH = 1.1
"""A level is left again only with a tenth more room than it begins with, so that it does not come and go."""
OUTSIDE = 8
"""Of what a stop is at, the eighth part must be free outside of the file: the write-ahead log has no other place."""


class Space:
    """Knows how much room there is, as of the last look."""

    def __init__(self, folder: Path, settings: DiskSettings, reusable: Callable[[], Awaitable[int]]) -> None:
        self._folder, self._settings, self._reusable = folder, settings, reusable
        self.free = self.inside = 0
        """Bytes the disk still takes, and bytes free within the store's own file."""
        self.warn_below = self.stop_below = 0
        self.level = "ok"
        """`ok`, `low` (an alarm) or `stop` (nothing more is taken in)."""
        self.since: float | None = None
        """When it was no longer ok, in seconds since 1970."""

    def adopt(self, settings: DiskSettings) -> None:
        """The clinic file has changed; the next look goes by it."""
        self._settings = settings

    async def look(self) -> None:
        """Asks the disk; a disk that cannot be asked is left to the errors of those who write to it."""
        try:
            usage = await asyncio.to_thread(shutil.disk_usage, self._folder)
        except OSError:
            return
        self.warn_below, self.stop_below = limits(self._settings, usage.total)
        self.free = usage.free
        self.inside = await self._reusable() if self.free < self.warn_below * AND_A_TENTH else 0
        self._set(self._level())

    def _level(self) -> str:
        room = self.free + self.inside
        stop, warn = (limit * (AND_A_TENTH if self._is_at(level) else 1.0) for level, limit in self._limits())
        if room < stop or self.free < stop / OUTSIDE:
            return "stop"
        return "low" if room < warn else "ok"

    def _limits(self) -> tuple[tuple[str, int], tuple[str, int]]:
        return ("stop", self.stop_below), ("low", self.warn_below)

    def _is_at(self, level: str) -> bool:
        return self.level == level or (level == "low" and self.level == "stop")

    def _set(self, level: str) -> None:
        if level == self.level:
            return
        before, self.level = self.level, level
        self.since = None if level == "ok" else self.since or time.time()
        tell = log.info if level == "ok" else log.warning if level == "low" else log.error
        tell("room on the disk of the store", level=level, before=before, free=size_in_words(self.free))

    def check(self) -> None:
        """Raises Busy when nothing more is to be taken in."""
        if self.level == "stop":
            raise Busy(self.text, retry_after=TRY_AGAIN, code="STO-036")

    @property
    def text(self) -> str:
        """How it is, in words."""
        left, limit = size_in_words(self.free), size_in_words(self.stop_below)
        if self.level == "stop":
            return f"the disk of the store has {left} left, less than {limit}: nothing more is taken in"
        return f"the disk of the store has {left} left; below {limit} nothing more is taken in"


def limits(settings: DiskSettings, total: int) -> tuple[int, int]:
    warn = settings.warn_below if settings.warn_below is not None else min(MOST_WARN, total // WARN_SHARE)
    stop = settings.stop_below if settings.stop_below is not None else min(MOST_STOP, total // STOP_SHARE)
    return max(warn, stop), stop
