"""A mistake of the hub itself in one message: it is held where people see it, and no other lane waits for it."""

from __future__ import annotations

from pathlib import Path

from hub.bus.lanes import Item
from hub.bus.signals import TargetSignals
from hub.bus.target import Target
from tests.hub.bus.probe import World, adt, in_turn, one, rows, states
from tests.support import clinic_folder, running_hub, until

TEXT = """
connections:
  inbox: {kind: probe_in}
  pms: {kind: probe_out, away_while: @AWAY@}
flows:
  forward: {from: inbox, steps: [{send: pms}]}
"""


class Clumsy(Target):
    """Fails on one work in a way nobody thought of."""

    trap = 0
    done: list[int]

    async def handle(self, item: Item) -> None:
        if item.id == self.trap:
            raise KeyError("DOE^JANE")
        self.done.append(item.id)
        self.lanes.finish(item)


async def test_work_that_fails_in_a_way_nobody_thought_of_is_held_and_seen(world: World, tmp_path: Path, store: Path) -> None:
    away = tmp_path / "away"
    away.touch()
    async with running_hub(clinic_folder(tmp_path, TEXT.replace("@AWAY@", str(away)))) as hub:
        await in_turn(hub, [adt("M1", "1"), adt("M2", "1"), adt("M3", "2")])
        await until(lambda: states(store, "to:pms") == ["waiting"] * 3)
        ids = [id for (id,) in rows(store, "SELECT id FROM work WHERE target = 'to:pms' ORDER BY id")]
        target = Clumsy("to:pms", hub.core.journal, hub.core.reader, 8, signals=TargetSignals())
        target.trap, target.done = ids[0], []
        target.start(ids[-1])
        await until(lambda: states(store, "to:pms") == ["held", "waiting", "waiting"])
        await until(lambda: target.done == [ids[2]])
        await target.drain(1)
        [reason] = one(store, "SELECT reason FROM work WHERE id = ?", ids[0]).splitlines()
        assert "KeyError" in reason
        assert "DOE" not in reason
