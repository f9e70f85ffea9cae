"""Planned work: rows with a time; each becomes a message once, in the commit that takes its row away.

What a flow wants by the clock (`from: {every: day, at: "06:00"}`) is such a row too, always for the next time; the commit that
takes it plans the one after it.  hub/settings/schedule.py has the rules of the clock.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from hub.bus.core import Core
from hub.errors import Conflict
from hub.message import Message, derived_id
from hub.moments import from_micros, now, now_micros, to_micros
from hub.scheduler import Scheduler
from hub.settings.model import FlowSettings
from hub.settings.schedule import Schedule
from hub.step import Due
from hub.store.rows import DueRow, NewMessage, NewWork, Write
from hub.units import iso

log = structlog.get_logger(__name__)

AT_ONCE = 200
"""Rows that are taken in one go."""
BY_THE_CLOCK = "=every"
"""The job of rows that belong to flows by the clock; their key is the flow.  No plugin can register a job of this name."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What is done of the times of a flow that have come."""

    run: datetime | None
    """The time that is run now; None when what was missed is skipped."""
    following: datetime
    missed: int
    """Times that are not run, as far as they are counted."""


class DueWork:
    """Turns rows that are due into messages for the flows `from: {due: JOB}` and `from: {every: ...}`."""

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
            await self._plan_by_the_clock()
            while rows := await self._core.reader.due_until(now_micros(), AT_ONCE):
                await asyncio.gather(*(self._fire(row) for row in rows))
            following = await self._core.reader.next_due()
        if following is not None:
            self.scheduler.wake_at(from_micros(following))

    async def _fire(self, row: Any) -> None:
        due = self._core.bodies.due(row)
        if due.job == BY_THE_CLOCK:
            write = await self._turn_of(due)
        else:
            write = await self._work_of(due)
        try:
            await self._core.journal.commit(write)
        except Conflict:
            return  # moved or withdrawn a moment ago: it is no longer due

    async def _work_of(self, due: Due) -> Write:
        message = Message(b"", "due", due.job, {**due.payload, "due": due.key})
        write = Write(due=[DueRow(due.job, due.key, to_micros(due.at), fired=True)])
        flows = self._core.router.wanted(f"due {due.job}", message, "")
        if flows:
            late = (now() - due.at).total_seconds()
            in_time = [flow for flow in flows if flow.timing.missed != "skip" or late <= flow.timing.late]
            lane = self._core.filing.due_lane(due.job, due.lane or due.key)
            write.messages.append(await self._kept(message, due.job, in_time, lane, due.at))
        else:
            log.warning("planned work has no flow", job=due.job)
        return write

    async def _kept(self, message: Message, name: str, flows: list[FlowSettings], lane: str, at: datetime) -> NewMessage:
        """The message of work that is due; without flows it says in the journal that its time was missed."""
        kept = await self._core.bodies.row(message, connection=name, direction="own", at=now_micros())
        kept.keep = self._core.keeping.level("", [flow.name for flow in flows])
        kept.works = [NewWork(f"flow:{flow.name}", lane, config=flow.fingerprint) for flow in flows]
        if not flows:
            kept.state, kept.reason = "skipped", f"it was due at {iso(at.replace(microsecond=0))} and was missed"
            log.warning("planned work was missed and is skipped", job=name, due=iso(at))
        return kept

    # By the clock.

    async def _plan_by_the_clock(self) -> None:
        """Each flow by the clock has a row for its next time, also when its times or the clock were changed."""
        moment = now()
        for flow in self._core.clinic.settings.flows.values():
            if flow.schedule is None:
                continue
            row = await self._core.reader.due(BY_THE_CLOCK, flow.name)
            planned = from_micros(row.at) if row is not None else None
            following = flow.schedule.after(moment)
            if planned is None or planned > following or not flow.schedule.has(planned):
                await self._core.journal.commit(Write(due=[self._row(flow.name, following)]))

    def _row(self, flow: str, at: datetime) -> DueRow:
        return self._core.bodies.due_row(Due(BY_THE_CLOCK, flow, at))

    async def _turn_of(self, due: Due) -> Write:
        """What is run now, and the row of the next time, in one commit."""
        write = Write(due=[DueRow(due.job, due.key, to_micros(due.at), fired=True)])
        flow = self._core.clinic.settings.flows.get(due.key)
        if flow is None or flow.schedule is None:
            log.info("a flow by the clock is gone from the clinic file", flow=due.key)
            return write
        turn = turn_of(flow.schedule, flow.timing.missed, flow.timing.late, due.at, now())
        write.due.append(self._row(flow.name, turn.following))
        at = turn.run or due.at
        message = Message(b"", "time", flow.name, _headers(at, flow.schedule), id=derived_id("time", flow.name, iso(at), 0, 0))
        if turn.missed:
            log.warning("times of a flow were missed", flow=flow.name, count=turn.missed, run=iso(at) if turn.run else None)
        if await self._core.reader.message(message.id) is None:
            wanted = self._core.router.wanted(f"every {flow.name}", message, "") if turn.run else []
            if wanted or not turn.run:
                lane = self._core.filing.due_lane(BY_THE_CLOCK, flow.name)
                write.messages.append(await self._kept(message, flow.name, wanted, lane, at))
        return write


def turn_of(schedule: Schedule, missed: str, late: float, due: datetime, now: datetime) -> Turn:
    """What to do of the times from `due` to now."""
    if missed == "each":
        return Turn(due, schedule.after(due), 0)
    latest = max(schedule.latest(now), due)
    run = None if missed == "skip" and (now - latest).total_seconds() > late else latest
    count, moment = 0, due
    while moment < latest and count < 1000:
        count, moment = count + 1, schedule.after(moment)
    return Turn(run, schedule.after(max(now, latest)), count + (run is None))


def _headers(at: datetime, schedule: Schedule) -> dict[str, str]:
    """What a flow by the clock knows: its time, and day and time of day where the site is."""
    local = at.astimezone(schedule.zone)
    return {"scheduled_for": iso(at), "day": local.date().isoformat(), "time": f"{local:%H:%M}"}
