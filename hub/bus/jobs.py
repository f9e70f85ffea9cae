"""Jobs: what a person asked for once and takes many commits.  Rows say how far each has come, so a restart goes on there."""

from __future__ import annotations

import asyncio
import json
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import structlog
from pydantic import BaseModel, ConfigDict

from hub.bus.core import Core
from hub.bus.replay import AT_ONCE, MOST_OPEN, Replay, ReplayParams
from hub.errors import HubError, NotFound, Refused, StoreFull
from hub.message import new_id
from hub.moments import from_micros, now_micros
from hub.store.rows import AuditRow, JobRow, Rare, Write
from hub.units import iso

if TYPE_CHECKING:
    from hub.bus.hub import Hub

log = structlog.get_logger(__name__)

SOONEST, LATEST = 0.02, 0.5
"""Seconds between looks whether there is room for more."""


class JobParams(BaseModel):
    """`jobs.stop`, `jobs.resume`."""

    model_config = ConfigDict(extra="forbid")

    id: str


@dataclass(slots=True)
class Job:
    """A replay with its messages."""

    row: JobRow
    seqs: Sequence[int]
    fed: frozenset[str] = frozenset()
    """Targets it gave work to last."""

    @property
    def params(self) -> ReplayParams:
        return ReplayParams(**json.loads(self.row.params))

    @property
    def next(self) -> Sequence[int]:
        return self.seqs[self.row.looked : self.row.looked + AT_ONCE]


def new_replay(params: ReplayParams, seqs: Sequence[int], actor: str) -> Job:
    now = now_micros()
    row = JobRow(new_id(), "replay", "running", now, now, actor, len(seqs), 0, 0, json.dumps(asdict(params)), packed(seqs))
    return Job(row, seqs)


async def take_step(core: Core, hub: Hub | None, job: Job, audit: Sequence[AuditRow] = ()) -> None:
    """The next messages of a job and how far it is then, in one commit; those that cannot be replayed now are passed over."""
    replay = Replay(core, hub, job.params)
    seqs = job.next
    async with core.by_hand:
        plans = await replay.plan(seqs, pass_over=True)
        looked = job.row.looked + len(seqs)
        state = "running" if looked < job.row.total else "done"
        now = now_micros()
        row = replace(job.row, state=state, changed_at=now, looked=looked, done=job.row.done + len(plans))
        write = replay.write(plans)
        write.audit, write.rare = list(audit), Rare(jobs=[row])
        await core.journal.commit(write)
        replay.committed(plans)
    job.row = replace(row, seqs=b"")  # they are on disk now
    job.fed = frozenset(work.target for plan in plans for work in plan.works)


class Jobs:
    """The jobs of a running hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping: set[str] = set()

    async def start(self) -> None:
        """Goes on with what was running when the hub stopped, and what another one was asked for."""
        for row in await self._hub.core.reader.jobs(1000, running=True):
            if row.id not in self._tasks:
                await self.go_on(row.id)

    async def go_on(self, id: str) -> None:
        row = await self._hub.core.reader.job(id)
        if row is not None and id not in self._tasks:
            self.run(Job(_row(row), unpacked(row.seqs)))

    def run(self, job: Job) -> None:
        task = asyncio.get_running_loop().create_task(self._run(job), name=f"job {job.row.id}")
        self._tasks[job.row.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(job.row.id, None))

    async def end(self, id: str) -> None:
        """Returns when it does nothing more."""
        self._stopping.add(id)
        if (task := self._tasks.get(id)) is not None:
            await asyncio.wait([task])
        self._stopping.discard(id)

    async def stop(self) -> None:
        """The hub stops; what is not done is done after the next start."""
        await asyncio.gather(*(self.end(id) for id in list(self._tasks)))

    async def _run(self, job: Job) -> None:
        try:
            while await self._room(job):
                try:
                    await take_step(self._hub.core, self._hub, job)
                except StoreFull:
                    await asyncio.sleep(LATEST)
        except HubError as error:
            log.error("a job stopped; it goes on after the next start", job=job.row.id, code=error.code)
        except Exception as error:
            log.error("a job stopped; it goes on after the next start", job=job.row.id, error=type(error).__name__)
        else:
            log.info("a job ended", job=job.row.id, state=job.row.state, looked=job.row.looked, done=job.row.done)

    async def _goes_on(self, job: Job) -> bool:
        """False when it is done, or was stopped where another hub was asked."""
        if job.row.state == "running" and self._hub.sharing is not None:
            found = await self._hub.core.reader.job(job.row.id)
            return found is not None and found.state == "running"
        return job.row.state == "running"

    async def _room(self, job: Job) -> bool:
        """Waits until fresh work leaves room for more; False when the job is to end."""
        wait = SOONEST
        while job.row.id not in self._stopping and await self._goes_on(job):
            if not self._is_crowded(job):
                return True
            await asyncio.sleep(wait)
            wait = min(LATEST, wait * 1.5)
        return False

    def _is_crowded(self, job: Job) -> bool:
        targets = self._hub.targets.values()
        return any(t.lanes.replays >= MOST_OPEN or (t.name in job.fed and t.lanes.behind) for t in targets)


class JobOperations:
    """What people may ask about jobs."""

    def __init__(self, core: Core, hub: Hub | None) -> None:
        self._core, self._hub = core, hub

    async def list(self, _: BaseModel, __: AuditRow) -> list[dict[str, Any]]:
        return [line(row) for row in await self._core.reader.jobs()]

    async def stop(self, params: JobParams, audit: AuditRow) -> dict[str, Any]:
        if self._hub is not None:
            await self._hub.jobs.end(params.id)
        return await self._change(params.id, "running", "stopped", audit)

    async def resume(self, params: JobParams, audit: AuditRow) -> dict[str, Any]:
        told = await self._change(params.id, "stopped", "running", audit)
        if self._hub is not None and self._hub.leads:
            await self._hub.jobs.go_on(params.id)
        elif self._hub is not None:
            self._hub.tell_others()
        return told

    async def _change(self, id: str, before: str, after: str, audit: AuditRow) -> dict[str, Any]:
        found = await self._core.reader.job(id)
        if found is None:
            raise NotFound(f"there is no job {id!r}", code="RPL-007")
        if found.state != before:
            raise Refused(f"the job {id} is {found.state}, not {before}", code="RPL-008")
        row = replace(_row(found), state=after, changed_at=now_micros(), seqs=b"")
        await self._core.journal.commit(Write(audit=[audit], rare=Rare(jobs=[row])))
        return line(row)


def line(row: Any) -> dict[str, Any]:
    """A job as people see it."""
    return {
        "id": row.id,
        "kind": row.kind,
        "state": row.state,
        "at": iso(from_micros(row.at)),
        "changed_at": iso(from_micros(row.changed_at)),
        "actor": row.actor,
        "total": row.total,
        "looked": row.looked,
        "done": row.done,
    }


def _row(row: Any) -> JobRow:
    return JobRow(
        row.id, row.kind, row.state, row.at, row.changed_at, row.actor, row.total, row.looked, row.done, row.params, row.seqs
    )


def packed(seqs: Sequence[int]) -> bytes:
    """Rising numbers in few bytes: what each is above the one before, compressed."""
    steps = array("Q", (seq - before for before, seq in zip([0, *seqs], seqs, strict=False)))
    return zlib.compress(steps.tobytes())


def unpacked(data: bytes) -> list[int]:
    steps, seq, seqs = array("Q"), 0, []
    steps.frombytes(zlib.decompress(data))
    for step in steps:
        seq += step
        seqs.append(seq)
    return seqs
