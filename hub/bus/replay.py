"""Doing things again: new work for messages that are in the journal.

What is chosen by many is a job: its messages are written down when it begins, each commit does some of them and says how
far it has come, so that after a restart it goes on where it was and does none twice.  It hands on only as much as there is
room for, and fresh work goes before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hub.bus.core import Core
from hub.errors import Refused
from hub.moments import now_micros
from hub.store.rows import Mark, NewWork, Write

if TYPE_CHECKING:
    from hub.bus.hub import Hub

GONE = "RPL-006"
REPLACED = "replaced by "
"""How the reason of work begins that has ended because an edited copy of its message was sent."""
AT_ONCE = 500
"""Messages in one commit."""
MOST_OPEN = 500
"""Works of replays that one flow or connection has before a job hands on more."""


@dataclass(frozen=True, slots=True)
class ReplayParams:
    """How to replay."""

    from_step: str | None = None
    keep_ids: bool = False
    state: str | None = None
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

    async def plan_all(self, seqs: Sequence[int], *, named: bool = True) -> list[tuple[int, str]]:
        """Seq and id of those for which something would be done; raises Refused for messages that cannot be replayed.

        What was not named is passed over when it has no body any more, or an edited copy has taken its place.
        """
        found = []
        for start in range(0, len(seqs), AT_ONCE):
            found += [(plan.seq, plan.message) for plan in await self.plan(seqs[start : start + AT_ONCE], named=named)]
        return found

    async def plan(self, seqs: Sequence[int], *, pass_over: bool = False, named: bool = True) -> list[Plan]:
        """Raises Refused for messages that cannot be replayed, or passes over them."""
        rows = await self._core.reader.messages_by_seq(seqs)
        works: dict[int, list[Any]] = {}
        for work in await self._core.reader.works_of(seqs):
            works.setdefault(work.seq, []).append(work)
        plans = []
        for row in rows:
            own = works.get(row.seq)
            if not named and own and any(is_replaced(work) for work in own):
                continue
            try:
                plan = self._again(row, own) if own else self._anew(row)
            except Refused as error:
                if pass_over or (not named and error.code == GONE):
                    continue
                raise
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
            _check_body(row)
            again = self._once_more(work)
            if work.state == "held":
                plan.released.append((work.id, again))
            else:
                plan.works.append(again)
        return plan

    def _once_more(self, work: Any) -> NewWork:
        also = tuple(work.also.split()) if work.also else ()
        generation = self._generation(work.generation)
        return NewWork(work.target, work.lane, also, generation, self._step(work), work.origin, self._config(work), again=1)

    def _anew(self, row: Any) -> Plan:
        """A message no flow had wanted: perhaps one does now."""
        plan = Plan(row.id, row.seq)
        if row.state == "refused":
            raise Refused(f"the message {row.id} was refused: its sender still has it and can send it again", code="RPL-004")
        if row.direction != "in":
            return plan
        _check_body(row)
        message = self._core.bodies.message(row)
        keys = self._core.filing.keys(message, message.headers)
        lanes = self._core.filing.lanes(keys, row.connection)
        for flow in self._core.router.wanted(f"connection {row.connection}", message, row.control_id):
            generation = self._generation(row.generation)
            work = NewWork(f"flow:{flow.name}", lanes[0], lanes[1:], generation, config=flow.fingerprint, again=1)
            plan.works.append(work)
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

    # Doing it.

    def write(self, plans: Sequence[Plan]) -> Write:
        """What makes these plans so, for one commit."""
        now = now_micros()
        write = Write()
        for plan in plans:
            write.more_work += [(plan.seq, plan.message, work) for work in plan.works]
            for id, work in plan.released:
                write.marks.append(Mark(id, "waiting", now, step=work.step, generation=work.generation))
            for new in plan.works:
                if new.origin is not None:
                    write.marks.append(Mark(new.origin, "parked", now, asks=1))
            write.notes.append(self._core.bodies.note(plan.seq, "replayed", "Done again on request"))
        return write

    def committed(self, plans: Sequence[Plan]) -> None:
        """Held work that was let go goes on at once; new work comes by itself."""
        targets = self._hub.targets if self._hub is not None else {}
        for plan in plans:
            for id, work in plan.released:
                if (target := targets.get(work.target)) is not None and target.does(work.lane):
                    target.lanes.release(id, work.generation, work.step)
                    target.pump()
        if self._hub is not None and any(plan.released for plan in plans):
            self._hub.tell_others()


def _check_body(row: Any) -> None:
    if row.body is None:
        raise Refused(f"the body of the message {row.id} is no longer kept (`keep`, `retention`)", code=GONE)


def is_replaced(work: Any) -> bool:
    return work.state == "skipped" and (work.reason or "").startswith(REPLACED)
