"""How long one run may take."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable


class Patience:
    """Ends runs that take too long, each in a task of its own.  They share a timer: one for each would be a twentieth of what
    a message costs.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends: dict[asyncio.Task[None], float] = {}
        """When each run has to be over, by the clock of the loop; the oldest is the first."""
        self._late: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    async def within(self, task: asyncio.Task[None], run: Awaitable[None]) -> None:
        """Waits for a run of this task; raises TimeoutError when it takes too long."""
        self._begin(task)
        try:
            await run
        except asyncio.CancelledError:
            if task in self._late and task.cancelling() == 1:  # by nobody else
                raise TimeoutError from None
            raise
        finally:
            self._end(task)

    def _begin(self, task: asyncio.Task[None]) -> None:
        end = self._ends[task] = self._loop.time() + self.seconds
        if self._timer is None:
            self._timer = self._loop.call_at(end, self._look)

    def _end(self, task: asyncio.Task[None]) -> None:
        del self._ends[task]
        if task in self._late:
            self._late.discard(task)
            task.uncancel()

    def _look(self) -> None:
        now = self._loop.time()
        for task, end in self._ends.items():
            if end > now:
                self._timer = self._loop.call_at(end, self._look)
                return
            if task not in self._late:
                self._late.add(task)
                task.cancel()
        self._timer = None
