"""Wakes the hub when planned work is due.  APScheduler keeps the time; the rows of the store decide what is done.

A clock that is set back would make any alarm late, so the store is also looked at from time to time by the monotonic clock,
which nobody can set.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

log = structlog.get_logger(__name__)

AT_LEAST_EVERY = 30.0
"""Seconds after which the store is looked at whatever the clock said."""
Job = Callable[[], Awaitable[None]]


class Scheduler:
    """Calls one function when the next planned work is due, and from time to time; others at their own pace."""

    def __init__(self, wake: Job) -> None:
        self._wake = wake
        self._scheduler = AsyncIOScheduler(timezone=UTC)
        self._regular: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        self._scheduler.start()
        self.every(AT_LEAST_EVERY, self._wake, "regular look")

    def wake_at(self, moment: datetime) -> None:
        """Moves the next call to this moment, if that is sooner than what was asked for before."""
        known = self._scheduler.get_job("next")
        soonest = max(moment, datetime.now(UTC) + timedelta(milliseconds=1))
        if known is not None and known.next_run_time is not None and known.next_run_time <= soonest:
            return
        self._scheduler.add_job(
            self._wake,
            "date",
            run_date=soonest,
            id="next",
            replace_existing=True,
            max_instances=2,  # one at work, and one that looks after it: a moment that comes meanwhile is not passed over
            misfire_grace_time=None,
        )

    def every(self, seconds: float, job: Job, name: str) -> None:
        """Calls a function at this pace, by the monotonic clock; one that fails is called again."""
        self._regular.add(asyncio.create_task(_again_and_again(seconds, job, name), name=name))

    def stop(self) -> None:
        for task in self._regular:
            task.cancel()
        self._regular.clear()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)


async def _again_and_again(seconds: float, job: Job, name: str) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            await asyncio.sleep(seconds)
            try:
                await job()
            except Exception as error:
                log.error("a regular job failed and is done again later", job=name, error=type(error).__name__)
