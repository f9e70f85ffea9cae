"""The power fails under load: every byte that was not synced is gone, and nothing that was acknowledged is among them.

A library between the hub and its files keeps what was synced; a cut is SIGKILL and what is left of the files.  LazyFS, which
does the same below the file system, is in no package index.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from tests.chaos.history import Verdict
from tests.chaos.nursery import Nursery
from tests.chaos.rig import Rig
from tests.chaos.test_kills import LONG, figures, keep_figures
from tests.system.shim import Disk

CUTS = 40 if LONG else 3


async def campaign(folder: Path, nursery: Nursery, cuts: int, *, torn: bool, failpoints: str = "") -> Verdict:
    """Sends, cuts, starts again on what is left."""
    async with Rig(folder, nursery, patients=12, senders=4, large=0.05) as rig:
        disk = Disk(rig.file.parent / "var", folder / "shadow")
        await rig.start(failpoints=failpoints, **disk.env())
        rig.send()
        changed = 0
        for _ in range(cuts):
            await asyncio.sleep(rig.chance.uniform(0.1, 0.6))
            await rig.kill()
            changed += disk.power_cut(torn=rig.chance if torn else None)
            await rig.start(failpoints=failpoints, **disk.env())
        verdict = await rig.settle(20 if not failpoints else 2)
    assert changed > 0, "no cut took anything away: the disk forgets nothing"
    assert verdict.acknowledged > 5 * cuts
    return verdict


@pytest.mark.parametrize("torn", [False, True], ids=["all-unsynced-bytes-gone", "each-unsynced-sector-there-or-not"])
async def test_a_power_cut_loses_nothing_that_was_acknowledged(tmp_path: Path, nursery: Nursery, torn: bool) -> None:
    verdict = await campaign(tmp_path, nursery, CUTS, torn=torn)
    keep_figures(f"power_cuts_{'torn' if torn else 'clean'}", cuts=CUTS, **figures(verdict))
    assert verdict.wrong == {}


async def test_a_hub_that_does_not_wait_for_the_disk_is_found_out(tmp_path: Path, nursery: Nursery) -> None:
    for attempt in range(5):
        try:
            verdict = await campaign(tmp_path / str(attempt), nursery, 2, torn=False, failpoints="synchronous_off")
        except AssertionError as error:
            if "did not get ready" in str(error):
                return  # not even the store is left
            raise
        if verdict.wrong:
            return
    raise AssertionError("ten power cuts of a hub without syncs lost nothing: the campaign is blind")


def test_the_disk_tears_sectors_by_chance() -> None:
    from tests.system.shim import _mixed

    mixed = _mixed(b"a" * 4096, b"b" * 4096, random.Random(1))
    assert {mixed[at : at + 512] for at in range(0, 4096, 512)} == {b"a" * 512, b"b" * 512}
