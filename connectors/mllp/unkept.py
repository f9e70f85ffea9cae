"""Says in the log that messages could not be kept: at once, then how many more in each interval, whatever comes in.

A sender that is not answered sends again at once; while a disk is full that is thousands of times a second, and a log that
takes a line for each fills what room is left.
"""

from __future__ import annotations

import asyncio

import structlog

log = structlog.get_logger(__name__)

EVERY = 10.0
"""Seconds between two lines of a connection."""


class Unkept:
    """Of one connection."""

    def __init__(self, connection: str) -> None:
        self._connection = connection
        self._count = 0
        """Messages nothing has been said of."""
        self._code = self._reason = ""
        self._timer: asyncio.TimerHandle | None = None

    def tell(self, count: int, code: str, reason: str) -> None:
        self._count += count
        self._code, self._reason = code, reason
        if self._timer is None:
            self._say()

    def close(self) -> None:
        """What was not said yet is."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._count:
            self._line()

    def _say(self) -> None:
        """Nothing new for a whole interval ends the silence after it."""
        self._timer = None
        if self._count:
            self._line()
            self._timer = asyncio.get_running_loop().call_later(EVERY, self._say)

    def _line(self) -> None:
        count, self._count = self._count, 0
        log.error("messages could not be kept", connection=self._connection, count=count, code=self._code, reason=self._reason)
