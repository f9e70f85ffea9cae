"""Doing things again: new work for messages that are in the journal, in one commit for each thousand."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hub.bus.core import Core
from hub.bus.hub import Hub
from hub.errors import Refused
from hub.store.rows import AuditRow, Mark, NewWork, Write

_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class ReplayParams:
    """How to replay."""

    from_step: str | None
    keep_ids: bool
    state: str | None
    """Only work in this state, when the messages were chosen by it."""


@dataclass(slots=True)
class Plan:
    """What is done again for one message."""

    message: str
    seq: int
    works: list[NewWork] = field(default_factory=list)
    released: list[tuple[int, NewWork]] = field(default_factory=list)
    """Held works that go on at their place at the head of their lane: id, and what they become."""


class Replay:
    """Plans first, so that the count can be told; then does it."""

    def __init__(self, core: Core, hub: Hub | None, params: ReplayParams) -> None:
        self._core, self._hub, self._params = core, hub, params

    async def plan(self, rows: Sequence[Any]) -> list[Plan]:
        """Raises Refused for messages that cannot be replayed."""
        works = await self._core.reader.works_of([row.seq for row in rows])
        plans = []
        for row in sorted(rows, key=lambda row: row.seq):
            own = [work for work in works if work.seq == row.seq]
            plan = self._again(row, own) if own else await self._anew(row)
            if plan.works or plan.released:
                plans.append(plan)
        return plans

    def _again(self, row: Any, works: Sequence[Any]) -> Plan:
        """The newest work of each target, once more."""
        plan = Plan(row.id, row.seq)
        newest = {work.target: work for work in works}
        for work in newest.values():
            if self._params.state is not None and work.state != self._params.state:
                continue
            if work.state in ("waiting", "working"):
                raise Refused(f"the message {row.id} is still on its way; there is nothing to replay yet", code="RPL-003")
            again = self._once_more(work)
            if work.state == "held":
                plan.released.append((work.id, again))
            else:
                plan.works.append(again)
        return plan

    def _once_more(self, work: Any) -> NewWork:
        also = tuple(work.also.split()) if work.also else ()
        generation = self._generation(work.generation)
        return NewWork(work.target, work.lane, also, generation, self._step(work), work.origin, self._config(work))

    async def _anew(self, row: Any) -> Plan:
        """A message no flow had wanted: perhaps one does now."""
        plan = Plan(row.id, row.seq)
        if row.state == "refused":
            raise Refused(f"the message {row.id} was refused: its sender still has it and can send it again", code="RPL-004")
        if row.direction != "in":
            return plan
        message = self._core.bodies.message(row)
        keys = self._core.filing.keys(message, message.headers)
        lanes = self._core.filing.lanes(keys, row.connection)
        for flow in self._core.router.wanted(f"connection {row.connection}", message, row.control_id):
            plan.works.append(
                NewWork(f"flow:{flow.name}", lanes[0], lanes[1:], self._generation(row.generation), config=flow.fingerprint)
            )
        return plan

    def _generation(self, generation: int) -> int:
        """A new generation makes new ids; the same one gives what is sent its old ids, so that a partner can drop a repeat."""
        return generation if self._params.keep_ids else generation + 1

    def _step(self, work: Any) -> str:
        if self._params.from_step is None or not work.target.startswith("flow:"):
            return str(work.step)
        name = work.target.removeprefix("flow:")
        flow = self._core.clinic.settings.flows.get(name)
        steps = [step.name for step in flow.steps] if flow else []
        if self._params.from_step not in steps:
            raise Refused(f"the flow {name} has no step {self._params.from_step!r}; it has {', '.join(steps)}", code="RPL-005")
        return self._params.from_step

    def _config(self, work: Any) -> str:
        flow = self._core.clinic.settings.flows.get(work.target.removeprefix("flow:"))
        return flow.fingerprint if flow else str(work.config)

    async def run(self, plans: Sequence[Plan], audit: AuditRow) -> None:
        """The audit row of who wanted it is in the first commit."""
        for start in range(0, len(plans), _AT_ONCE):
            await self._commit(plans[start : start + _AT_ONCE], [] if start else [audit])

    async def _commit(self, plans: Sequence[Plan], audit: list[AuditRow]) -> None:
        now = time.time_ns() // 1000
        write = Write(audit=audit)
        for plan in plans:
            write.more_work += [(plan.seq, plan.message, work) for work in plan.works]
            for id, work in plan.released:
                write.marks.append(Mark(id, "waiting", now, step=work.step, generation=work.generation))
            for new in plan.works:
                if new.origin is not None:
                    write.marks.append(Mark(new.origin, "parked", now, asks=1))
            write.notes.append(self._core.bodies.note(plan.seq, "replayed", "Done again on request"))
        await self._core.journal.commit(write)
        if self._hub is not None:
            for plan in plans:
                self._release(self._hub, plan.released)

    @staticmethod
    def _release(hub: Hub, works: Sequence[tuple[int, NewWork]]) -> None:
        for id, work in works:
            if (target := hub.targets.get(work.target)) is not None:
                target.lanes.release(id, work.generation, work.step)
                target.pump()
