"""kill -9 at random moments and at every named stage: nothing that was acknowledged is lost, and order holds.

`CLINIC_HUB_LONG=1` kills a thousand times at random, and twenty times at each stage; raw figures go to benchmarks/results.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path

import pytest

from hub.bus.failpoints import STAGES
from tests.chaos.history import Verdict
from tests.chaos.nursery import Nursery
from tests.chaos.rig import Rig
from tests.support import ROOT

LONG = bool(os.environ.get("CLINIC_HUB_LONG"))
KILLS = 1000 if LONG else 20
"""At random moments."""
AT_EACH_STAGE = 20 if LONG else 1
PATIENTS = 40


def keep_figures(name: str, **figures: object) -> None:
    """Raw figures of a long run, for whoever wants to see them."""
    if LONG:
        folder = ROOT / "benchmarks" / "results"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n")


async def test_nothing_acknowledged_is_lost_and_order_holds_however_often_the_hub_is_killed(
    tmp_path: Path, nursery: Nursery
) -> None:
    began, rows = time.monotonic(), []
    async with Rig(tmp_path, nursery, patients=PATIENTS, large=0.01) as rig:
        await rig.start()
        rig.send()
        for number in range(KILLS):
            await asyncio.sleep(rig.chance.uniform(0.02, 0.25))
            await rig.kill()
            rows.append((number + 1, rig.sent.count("AA"), rig.taken.count("taken")))
            await rig.start()
        verdict = await rig.settle(120)
    keep_figures("kills", seconds=time.monotonic() - began, kills=rig.kills, **figures(verdict), after_each=rows)
    assert verdict.wrong == {}
    assert verdict.acknowledged > 10 * KILLS, "the campaign was no load"
    assert {event.patient for event in rig.sent.events} == {f"P{number:02d}" for number in range(PATIENTS)}
    assert verdict.repeats <= rig.repeats_allowed()


def figures(verdict: Verdict) -> dict[str, object]:
    return {
        "acknowledged": verdict.acknowledged,
        "arrived": verdict.arrived,
        "repeats": verdict.repeats,
        "lost": len(verdict.lost),
        "reordered": len(verdict.reordered),
        "older_repeats": len(verdict.old_repeats),
    }


@pytest.mark.parametrize("stage", STAGES)
async def test_a_kill_at_any_stage_loses_nothing_and_repeats_at_most_what_was_on_its_way(
    tmp_path: Path, nursery: Nursery, stage: str
) -> None:
    """Ended at the first or a later passage of the stage; then started again, whole."""
    large = 1.0 if stage.startswith("body_") else 0.1
    async with Rig(tmp_path, nursery, patients=6, senders=3, large=large, seed=len(stage)) as rig:
        rig.refuse = 0.5 if stage == "refused" else 0.05
        rig.send()
        for number in range(AT_EACH_STAGE):
            await rig.start(failpoints=f"kill@{stage}:{1 + (7 * number + len(stage)) % 10}")
            await rig.killed()
        await rig.start()
        before = rig.sent.count("AA")
        while rig.sent.count("AA") < before + 6:
            await asyncio.sleep(0.01)
        verdict = await rig.settle()
    assert verdict.wrong == {}
    assert verdict.repeats <= rig.repeats_allowed()
    if stage == "sent":
        assert verdict.repeats > 0, "what was sent and not marked is sent again: the stage was not met"
