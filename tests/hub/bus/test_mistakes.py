"""A mistake of the hub itself in one message: it is held where people see it, and no other lane waits for it."""

from __future__ import annotations

from pathlib import Path

from hub.bus.lanes import Item
from hub.bus.target import Target
from tests.hub.bus.probe import World, adt, in_turn, rows, states
from tests.support import clinic_folder, running_hub, until

TEXT = """
connections:
  inbox: {kind: probe_in}
  pms: {kind: probe_out, away_while: @AWAY@}
flows:
  forward: {from: inbox, steps: [{send: pms}]}
"""


class Clumsy(Target):
    """Ends no work of its first lane as it should."""

    done: list[int]

    async def handle(self, item: Item) -> None:
        if item.id == 2:
            raise KeyError("a mistake in the hub")
        self.done.append(item.id)
        self.lanes.finish(item)


async def test_work_that_fails_in_a_way_nobody_thought_of_is_held_and_seen(world: World, tmp_path: Path, store: Path) -> None:
    away = tmp_path / "away"
    away.touch()
    async with running_hub(clinic_folder(tmp_path, TEXT.replace("@AWAY@", str(away)))) as hub:
        await in_turn(hub, [adt("M1", "1"), adt("M2", "1"), adt("M3", "2")])
        await until(lambda: states(store, "to:pms") == ["waiting"] * 3)
    async with running_hub(clinic_folder(tmp_path, TEXT.replace("@AWAY@", str(away)))) as hub:
        [first, second, third] = [id for (id,) in rows(store, "SELECT id FROM work WHERE target = 'to:pms' ORDER BY id")]
        target = Clumsy("to:pms", hub.core.journal, hub.core.reader, 8)
        target.done = []
        for id, lane in ((first, "a"), (second, "a"), (third, "b")):
            target.open = True
            target.offer(Item(2 if id == first else id, 0, "m", (lane,)))
        await until(lambda: target.done == [third])
