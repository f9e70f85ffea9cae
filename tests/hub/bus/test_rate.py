"""`rate`: a partner never gets more than it can take, in order, and nothing is lost or polled for meanwhile."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import pytest

from hub.bus.retry import Pace
from hub.clinic import load_clinic
from hub.errors import ConfigError, ConnectionDown
from hub.message import Message
from tests.hub.bus.probe import World, adt, control_ids, in_turn
from tests.support import clinic_folder, running_hub, settled

FLOW = """
connections:
  inbox: {kind: probe_in}
  pms: {kind: probe_out, rate: RATE, parallel: "4", retry: {first: 10ms, most: 20ms}}
flows:
  work: {from: inbox, steps: [{send: pms}]}
"""


def clinic(folder: Path, rate: str) -> Path:
    return clinic_folder(folder, FLOW.replace("RATE", rate))


async def test_a_connection_sends_no_faster_than_its_rate(world: World, tmp_path: Path) -> None:
    moments: list[float] = []

    @world.partner
    async def pms(_: Message) -> None:
        moments.append(time.monotonic())

    async with running_hub(clinic(tmp_path, "50/s")) as hub:
        began = time.monotonic()
        await in_turn(hub, [adt(f"M{n}", "7") for n in range(40)])
        await settled(hub)
        took = time.monotonic() - began
    assert control_ids(world.sent["pms"]) == [f"M{n}" for n in range(40)]
    assert took >= 39 / 50 - 0.05
    for index, moment in enumerate(moments):
        within = sum(1 for other in moments[index:] if other < moment + 0.2)
        assert within <= 0.2 * 50 + 2, "never a burst"


async def test_tries_count_too_and_a_partner_that_is_down_is_not_hurried(world: World, tmp_path: Path) -> None:
    tries: list[float] = []

    @world.partner
    async def pms(_: Message) -> None:
        tries.append(time.monotonic())
        if len(tries) < 6:
            raise ConnectionDown("away")

    async with running_hub(clinic(tmp_path, "20/s")) as hub:
        await in_turn(hub, [adt("M1", "1"), adt("M2", "2")])
        await settled(hub)
    assert all(after - before > 0.03 for before, after in pairwise(tries))


async def test_while_it_waits_for_its_turn_it_does_not_look_again_and_again(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_hub(clinic(tmp_path, "5/s")) as hub:
        target = hub.targets["to:pms"]
        looks = 0
        pump = target.pump

        def counted() -> None:
            nonlocal looks
            looks += 1
            pump()

        monkeypatch.setattr(target, "pump", counted)
        await in_turn(hub, [adt(f"M{n}", str(n)) for n in range(5)])
        await settled(hub)
        assert looks < 60


def test_lateness_of_a_timer_is_made_up_for_and_idleness_is_not() -> None:
    pace = Pace(rate=100)
    pace.next_at = 1.0
    pace.went(1.004)
    assert pace.next_at == pytest.approx(1.01)
    pace.went(50.0)
    assert pace.next_at == pytest.approx(50.0)
    assert pace.may_go(50.0)
    pace.went(50.0)
    assert not pace.may_go(50.005)


def test_a_rate_that_is_none_is_a_mistake_in_the_clinic_file(world: World, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="10/s"):
        load_clinic(clinic(tmp_path, "fast"))
