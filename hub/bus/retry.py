"""When to try again: waits that double, with jitter, and a breaker for a connection that is down."""

from __future__ import annotations

import random
from dataclasses import dataclass

from hub.connector import Retry

SLACK = 0.01
"""Seconds a send may be late and the next ones still keep their times."""


def wait_before(attempt: int, retry: Retry) -> float:
    """Seconds before the try after this attempt (from 1): doubling, at most `retry.most`, less up to a quarter by chance."""
    full = min(retry.most, retry.first * 2.0 ** min(attempt - 1, 40))
    return full * (1 - random.random() / 4)  # noqa: S311 - spreads load, guards nothing


@dataclass(slots=True)
class Pace:
    """No faster than a rate: sends are evenly spaced, whatever waits."""

    rate: float
    """In a second."""
    next_at: float = 0.0
    """By the monotonic clock."""

    def may_go(self, now: float) -> bool:
        return now >= self.next_at

    def went(self, now: float) -> None:
        """A timer that was late is made up for, by no more than SLACK."""
        self.next_at = max(self.next_at, now - SLACK) + 1 / self.rate


@dataclass(slots=True)
class Breaker:
    """One for each connection: while it is open nothing is tried; then one message is, and its fate decides."""

    retry: Retry
    failures: int = 0
    """In a row."""
    open_until: float = 0.0
    """By the monotonic clock, as all times here."""
    failed_at: float = -1.0
    reason: str = ""

    @property
    def down(self) -> bool:
        return self.failures > 0

    def state(self, now: float) -> dict[str, str | int]:
        """For people: `closed` while all is well, `open` while nothing is tried, `trying` while one message finds out."""
        word = "closed" if not self.down else "open" if now < self.open_until else "trying"
        return {
            "state": word,
            "failures": self.failures,
            "next_try_s": max(0, round(self.open_until - now)) if self.down else 0,
        }

    def may_try(self, now: float, under_way: int) -> bool:
        """While the connection is down only one message at a time finds out whether it is up again."""
        return now >= self.open_until and (not self.down or under_way == 0)

    def failed(self, now: float, reason: str, retry_after: float | None = None, *, began: float | None = None) -> float:
        """Returns when the next try may be.  Tries that were under way together (began before the last failure) count once."""
        if began is not None and began < self.failed_at:
            return self.open_until
        self.failures += 1
        self.failed_at = now
        wait = wait_before(self.failures, self.retry)
        self.open_until = now + (max(wait, min(retry_after, 3600.0)) if retry_after else wait)
        self.reason = reason
        return self.open_until

    def worked(self) -> bool:
        """True when the connection had been down."""
        was_down = self.down
        self.failures, self.open_until, self.reason = 0, 0.0, ""
        return was_down
