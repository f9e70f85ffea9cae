"""What the hub counts about itself: plain numbers in plain objects, added to where the work is done.

Each connection and flow gets its object once and adds to its attributes; there is no lock, no label to look up and no clock
read that the work does not need anyway.  Attributes are written by the event loop alone, those of `JournalSignals` by the
writer alone.  Whoever shows them (`hub status`, /metrics, alerts) reads them as they are: a figure may be a message old.

Costs of one message that is received, run through a flow and sent on: five times `Histogram.add` and about ten additions,
together 1 microsecond on the machine of docs/explanation/performance.md (a test sees to it that it stays little).
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass

from hub.errors import HubError

BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
"""Upper bounds of the buckets of all histograms, in seconds: from a commit to an outage."""
TICK = 0.5
"""Seconds between looks at how late the event loop is."""
SAMPLE = 5.0
"""Seconds between two samples of a rate."""
MINUTE = 60.0
"""Seconds that rates and the worst lag look back."""
_SAMPLES = int(MINUTE / SAMPLE) + 1


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why something does not go on."""

    code: str
    text: str
    since: float
    """Seconds since 1970."""

    @classmethod
    def of(cls, error: HubError, before: Trouble | None = None) -> Trouble:
        """What an error says; it goes on from the trouble there was before."""
        return cls(error.code, str(error), before.since if before is not None else time.time())


class Histogram:
    """How long something took, in buckets."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        """The last one counts what took longer than all bounds."""
        self.total = 0.0
        """Seconds."""

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    @property
    def count(self) -> int:
        return sum(self.counts)

    def quantile(self, share: float) -> float | None:
        """Seconds within which this share of all was done, to the bound of its bucket; None when there was nothing."""
        wanted, seen = share * self.count, 0
        for bound, count in zip((*BOUNDS, float("inf")), self.counts, strict=True):
            seen += count
            if seen and seen >= wanted:
                return bound
        return None


class Rate:
    """How often something happens each second, over the last minute."""

    __slots__ = ("_samples",)

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque(maxlen=_SAMPLES)

    def sample(self, now: float, count: int) -> None:
        self._samples.append((now, count))

    def per_second(self, now: float, count: int) -> float:
        if not self._samples:
            return 0.0
        began, before = self._samples[0]
        return (count - before) / max(now - began, 1.0)


class SourceSignals:
    """One connection that receives."""

    __slots__ = ("acknowledged", "duplicates", "failed", "last_at", "rate", "received", "refused", "turned_away")

    def __init__(self) -> None:
        self.received = 0
        """Messages the hub has taken over, duplicates among them."""
        self.duplicates = 0
        """Messages that were sent again: answered, not routed."""
        self.refused = 0
        """Messages that were answered negatively and kept as refused."""
        self.turned_away: dict[str, int] = {}
        """What came and was no message (a wrong signature, too many at once), by the reason."""
        self.failed = 0
        """Deliveries that could not be kept: their senders still have the messages."""
        self.acknowledged = Histogram()
        """From the whole message to the commit that lets its acknowledgement go."""
        self.last_at = 0.0
        """When the last message came; seconds since 1970, 0 for not yet."""
        self.rate = Rate()

    @property
    def moved(self) -> int:
        return self.received


class TargetSignals:
    """One flow, or one connection that sends."""

    __slots__ = (
        "done", "down", "held", "quarantined", "rate", "repeats", "retried", "since_received", "skipped", "took", "tries",
        "unknown",
    )  # fmt: skip

    def __init__(self) -> None:
        self.tries = 0
        """Runs of the flow, or sends."""
        self.done = 0
        """Messages a flow has finished or parked, or that were delivered."""
        self.retried = 0
        """Tries that the partner refused and that are to be repeated."""
        self.down = 0
        """Tries that failed because something could not be reached."""
        self.repeats = 0
        """Sends of a message that may have arrived before: same id, same content."""
        self.quarantined = 0
        self.skipped = 0
        self.unknown = 0
        self.held = 0
        """Messages that were given to a person, with their lane."""
        self.took = Histogram()
        """One run of the flow with its commit, or one send with its answer."""
        self.since_received = Histogram()
        """From when the message that caused this one was received until it was done here."""
        self.rate = Rate()

    @property
    def moved(self) -> int:
        return self.done

    def ended(self, state: str) -> None:
        """A message has ended here otherwise than well: `quarantined`, `skipped`, `unknown`."""
        setattr(self, state, getattr(self, state) + 1)

    def finished(self, took: float, since: int, now: int) -> None:
        """A message is done; `since` and `now` are microseconds since 1970."""
        self.done += 1
        self.took.add(took)
        self.since_received.add(max(0, now - since) / 1e6)


class JournalSignals:
    """The one writer."""

    __slots__ = ("commits", "failures", "rate", "rows", "took", "trouble", "writes")

    def __init__(self) -> None:
        self.commits = 0
        self.writes = 0
        """Sets of changes; several share a commit."""
        self.rows = 0
        """Rows inserted, changed or deleted."""
        self.failures = 0
        """Commits that failed."""
        self.trouble: Trouble | None = None
        """Why nothing can be committed; None while it can."""
        self.took = Histogram()
        """A commit, from its first statement to the end of its sync."""
        self.rate = Rate()

    @property
    def moved(self) -> int:
        return self.commits


class LoopSignals:
    """The event loop: how late it comes back to what should have been done already."""

    __slots__ = ("_stood", "_worst", "beat", "lag")

    def __init__(self) -> None:
        self.lag = Histogram()
        self.beat = 0.0
        """When the loop last turned, by the monotonic clock; a thread that watches it sees whether it does."""
        self._worst: deque[float] = deque([0.0], maxlen=_SAMPLES)
        self._stood = ("", -MINUTE)

    def add(self, seconds: float) -> None:
        self.lag.add(seconds)
        self._worst[-1] = max(self._worst[-1], seconds)

    def stands(self, where: str) -> None:
        """It does not turn at this moment; called by the thread that watches it."""
        self._stood = where, time.monotonic()

    @property
    def stood_at(self) -> str:
        """Where it stood still within the last minute; empty when it did not."""
        where, moment = self._stood
        return where if time.monotonic() - moment < MINUTE else ""

    def sample(self) -> None:
        self._worst.append(0.0)

    @property
    def worst(self) -> float:
        """Seconds, over the last minute."""
        return max(self._worst)


class Signals:
    """Everything one hub counts since it started."""

    def __init__(self) -> None:
        self.sources: dict[str, SourceSignals] = {}
        self.targets: dict[str, TargetSignals] = {}
        self.journal = JournalSignals()
        self.loop = LoopSignals()

    def source(self, name: str) -> SourceSignals:
        """What belongs to a connection; the same object for as long as the process lives."""
        return self.sources.setdefault(name, SourceSignals())

    def target(self, name: str) -> TargetSignals:
        """What belongs to `flow:NAME` or `to:NAME`."""
        return self.targets.setdefault(name, TargetSignals())

    def sample(self, now: float) -> None:
        """Remembers where all counts stand, so that rates can be told; `now` is of the monotonic clock."""
        counting: list[SourceSignals | TargetSignals | JournalSignals] = [*self.sources.values(), *self.targets.values()]
        for counted in (*counting, self.journal):
            counted.rate.sample(now, counted.moved)
        self.loop.sample()

    async def watch(self) -> None:
        """Looks at the clock again and again, until it is cancelled."""
        sampled = time.monotonic()
        self.sample(sampled)
        while True:
            expected = time.monotonic() + TICK
            await asyncio.sleep(TICK)
            now = self.loop.beat = time.monotonic()
            self.loop.add(max(0.0, now - expected))
            if now - sampled >= SAMPLE:
                sampled = now
                self.sample(now)
