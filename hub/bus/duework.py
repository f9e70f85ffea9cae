"""Planned work: rows with a time; each becomes a message once, in the commit that takes its row away."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

import structlog

from hub.bus.core import Core
from hub.errors import Conflict
from hub.message import Message
from hub.scheduler import Scheduler
from hub.store.rows import DueRow, NewWork, Write
from hub.units import from_micros, to_micros

log = structlog.get_logger(__name__)

AT_ONCE = 200
"""Rows that are taken in one go."""


class DueWork:
    """Turns rows that are due into messages for the flows `from: {due: JOB}`."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.scheduler = Scheduler(self.look)
        self._looking = asyncio.Lock()

    async def start(self) -> None:
        self.scheduler.start()
        await self.look()

    def planned(self, moment: datetime) -> None:
        """Work was planned for this moment."""
        self.scheduler.wake_at(moment)

    async def look(self) -> None:
        """Takes everything that is due now, and asks to be woken for the next."""
        async with self._looking:
            while rows := await self._core.reader.due_until(to_micros(datetime.now(UTC)), AT_ONCE):
                await asyncio.gather(*(self._fire(row) for row in rows))
            following = await self._core.reader.next_due()
        if following is not None:
            self.scheduler.wake_at(from_micros(following))

    async def _fire(self, row: object) -> None:
        due = self._core.bodies.due(row)
        at = to_micros(due.at)
        message = Message(b"", "due", due.job, {**due.payload, "due": due.key})
        write = Write(due=[DueRow(due.job, due.key, at, fired=True)])
        flows = self._core.router.wanted(f"due {due.job}", message, "")
        if flows:
            kept = await self._core.bodies.row(message, connection=due.job, direction="own", at=time.time_ns() // 1000)
            lane = self._core.filing.due_lane(due.job, due.lane or due.key)
            kept.works = [NewWork(f"flow:{flow.name}", lane, config=flow.fingerprint) for flow in flows]
            write.messages.append(kept)
        else:
            log.warning("planned work has no flow", job=due.job)
        try:
            await self._core.journal.commit(write)
        except Conflict:
            return  # moved or withdrawn a moment ago: it is no longer due
