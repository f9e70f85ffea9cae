"""One call to the disk fails, whichever it is: the Nth of a scenario, for all N, in each way a disk can fail.

After each: nothing that was acknowledged is lost or out of order.  The hub went on by itself, or it ended with a clear word,
and a failed sync always ends it: trying again would report a success that nobody has seen.
"""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from hub.cli import OK, UNREACHABLE
from tests.chaos.nursery import Nursery
from tests.chaos.rig import Rig
from tests.chaos.test_kills import keep_figures
from tests.system.shim import Disk

STEP = 1
"""Every so many-th call."""


@dataclass(slots=True)
class Outcome:
    """How one run of the scenario went."""

    calls: int
    """Watched calls of the whole run."""
    ended: int | None
    """Exit code when the hub ended by itself."""
    said: str
    wrong: dict[str, list[str]]


async def scenario(folder: Path, nursery: Nursery, *, fail_at: int = 0, how: str = "EIO", goes_on: bool = False) -> Outcome:
    """A hub on a store that is there already gets nine messages, one of them large, sends them on and stops."""
    async with Rig(folder, nursery, patients=3, senders=1, most=3, refuse=0.0) as rig:
        rig.senders[0].large = 0.15
        await rig.start()
        assert await asyncio.to_thread(rig.hub.terminate) == OK
        disk = Disk(rig.file.parent / "var", folder / "shadow")
        more = {"SHIM_FAIL_AT": str(fail_at), "SHIM_HOW": how, **({"SHIM_ON": "1"} if goes_on else {})}
        ended: int | None = None
        said = ""
        try:
            await rig.start(**disk.env(**more))
            rig.send()
            for _ in range(600):
                if rig.hub.ended() or rig.taken.count("taken") >= 9:
                    break
                await asyncio.sleep(0.01)
            if not rig.hub.ended():
                rig.hub.signal(signal.SIGTERM)
            code = await asyncio.to_thread(rig.hub.wait)
            ended, said = (None if code == OK else code), rig.hub.said
        except AssertionError:
            ended, said = rig.hub.code, rig.hub.said
        calls = disk.calls
        if not rig._tasks:
            rig.send()
        disk.power_cut() if fail_at % 2 else None
        await rig.start()
        await rig.all_sent(20)
        verdict = await rig.settle(20)
    return Outcome(calls, ended, said, verdict.wrong)


@pytest.mark.parametrize("how", ["EIO", "ENOSPC", "short"])
async def test_whichever_call_to_the_disk_fails_nothing_acknowledged_is_lost(
    tmp_path: Path, nursery: Nursery, how: str
) -> None:
    whole = await scenario(tmp_path / "whole", nursery)
    assert whole.ended is None
    assert whole.wrong == {}
    assert whole.calls > 50
    endings: dict[int | None, int] = {}
    for number in range(1, whole.calls + 1, STEP):
        outcome = await scenario(tmp_path / str(number), nursery, fail_at=number, how=how)
        assert outcome.wrong == {}, f"call {number} failed with {how}: {outcome.wrong}"
        assert outcome.ended in (None, UNREACHABLE), f"call {number} failed with {how}, the hub ended with {outcome.ended}"
        assert "Traceback" not in outcome.said, f"call {number} failed with {how}: {outcome.said}"
        endings[outcome.ended] = endings.get(outcome.ended, 0) + 1
    keep_figures(f"io_{how}", calls=whole.calls, went_on=endings.get(None, 0), ended=endings.get(UNREACHABLE, 0))
    assert endings.get(None, 0) > 0
    if how == "EIO":
        assert endings.get(UNREACHABLE, 0) > 0, "a failed sync must end the hub"
