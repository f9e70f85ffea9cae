"""How many messages a connection usually has at an hour of the week, learned from the journal.

An hour of the week is of the clinic's own clock, so that a habit moves with daylight saving time.  What is usual is the
lower median of the same hour in the last four weeks: one holiday among them changes nothing, and hours in which the hub was
down make it more careful, not less.  With less than two weeks there is no habit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from statistics import median_low

from hub.store.reader import Reader

HOUR = 3600
WEEKS = 4
FEWEST = 2
"""Weeks from which there is a habit."""
LONGEST = 7 * 24
"""Hours of silence that are added up at most."""


class Habit:
    """Counts by hour (hours since 1970) of all connections that receive."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._counts: dict[str, dict[int, int]] = {}
        self._first: int | None = None
        """The hour from which the journal knows anything."""
        self._known_until: int | None = None

    async def learn(self, names: Iterable[str], now: float) -> None:
        """Reads what is not known yet, up to the last whole hour; costs nothing within the same hour."""
        names, end = list(names), int(now // HOUR)
        fresh = [name for name in names if name not in self._counts]
        if self._known_until == end and not fresh:
            return
        if self._first is None:
            oldest = await self._reader.first_message()
            self._first = oldest // (HOUR * 1_000_000) if oldest is not None else None
            if self._first is None:
                return
        begin = max(self._first, end - WEEKS * 7 * 24 - 24)
        await self._read(fresh, begin, end)
        await self._read([n for n in names if n not in fresh], max(begin, self._known_until or begin), end)
        self._known_until = end
        for counts in self._counts.values():
            for hour in [hour for hour in counts if hour < begin]:
                del counts[hour]

    async def _read(self, names: Sequence[str], begin: int, end: int) -> None:
        """A day at a time: each takes a reader a moment."""
        for name in names:
            self._counts.setdefault(name, {})
        while names and begin < end:
            until = min(begin + 24, end)
            moments = [hour * HOUR * 1_000_000 for hour in range(begin, until + 1)]
            for name, counts in (await self._reader.counts_between(names, moments)).items():
                self._counts[name].update({hour: n for hour, n in zip(range(begin, until), counts, strict=True) if n})
            begin = until

    def usual(self, name: str, hour: int, zone: tzinfo) -> int:
        """Messages a connection usually has in this hour."""
        counts, known = self._counts.get(name, {}), []
        local = datetime.fromtimestamp(hour * HOUR, zone)
        for week in range(1, WEEKS + 1):
            before = _hour_of(local - timedelta(weeks=week))
            if self._first is not None and before > self._first:
                known.append(counts.get(before, 0))
        return median_low(known) if len(known) >= FEWEST else 0

    def expected(self, name: str, since: float, until: float, zone: tzinfo) -> float:
        """Messages that usually come between two times, in seconds since 1970; a part of an hour counts in part."""
        since = max(since, until - LONGEST * HOUR)
        total, hour = 0.0, int(since // HOUR)
        while hour * HOUR < until:
            share = (min(until, (hour + 1) * HOUR) - max(since, hour * HOUR)) / HOUR
            total += self.usual(name, hour, zone) * share
            hour += 1
        return total


def _hour_of(local: datetime) -> int:
    """Hours since 1970 of a time by the clinic's clock."""
    return int(local.astimezone(UTC).timestamp() // HOUR)
