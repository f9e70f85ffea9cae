"""Wakes the hub when planned work is due.  APScheduler keeps the time; the rows of the store decide what is done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.asyncio import AsyncIOScheduler

AT_LEAST_EVERY = 30.0
"""Seconds after which the store is looked at whatever the clock said."""


class Scheduler:
    """Calls one function when the next planned work is due, and from time to time."""

    def __init__(self, wake: Callable[[], Awaitable[None]]) -> None:
        self._wake = wake
        self._scheduler = AsyncIOScheduler(timezone=UTC)

    def start(self) -> None:
        self._scheduler.start()
        self._scheduler.add_job(
            self._wake,
            "interval",
            seconds=AT_LEAST_EVERY,
            id="regular",
            max_instances=1,
            coalesce=True,
            misfire_grace_time=None,
        )

    def wake_at(self, moment: datetime) -> None:
        """Moves the next call to this moment, if that is sooner than what was asked for before."""
        known = self._scheduler.get_job("next")
        soonest = max(moment, datetime.now(UTC) + timedelta(milliseconds=1))
        if known is not None and known.next_run_time is not None and known.next_run_time <= soonest:
            return
        self._scheduler.add_job(self._wake, "date", run_date=soonest, id="next", replace_existing=True, misfire_grace_time=None)

    def every(self, seconds: float, job: Callable[[], Awaitable[None]], name: str) -> None:
        self._scheduler.add_job(
            job, "interval", seconds=seconds, id=name, max_instances=1, coalesce=True, misfire_grace_time=None
        )

    def stop(self) -> None:
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
