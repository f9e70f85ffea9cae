"""A receiver that is slow, half-open, late, wrong or gone in the middle; and a second hub that wants the same store."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.chaos.nursery import Hub, Nursery
from tests.chaos.rig import CLINIC, Rig

IMPATIENT = CLINIC.replace("timeout: 2s", "timeout: 300ms")


@pytest.mark.parametrize(
    ("what", "taken"),
    [
        pytest.param("silent", False, id="half-open"),
        pytest.param("late", True, id="answers-after-the-time-limit"),
        pytest.param("wrong", True, id="acknowledges-another-message"),
        pytest.param("garbage", False, id="answers-nonsense"),
        pytest.param("close", False, id="hangs-up"),
        pytest.param("taken and closed", True, id="takes-it-and-hangs-up"),
        pytest.param("CE", False, id="refuses"),
    ],
)
async def test_whatever_the_receiver_does_nothing_is_lost_or_overtakes(
    tmp_path: Path, nursery: Nursery, what: str, taken: bool
) -> None:
    """One message in ten meets it at its first try; those that were taken without an answer may come once more."""
    async with Rig(tmp_path, nursery, patients=8, senders=4, most=6, clinic=IMPATIENT) as rig:
        rig.script = lambda _, __, tries: what if tries == 0 and rig.chance.random() < 0.1 else "AA"
        await rig.start()
        rig.send()
        await rig.all_sent()
        verdict = await rig.settle()
    assert verdict.wrong == {}
    assert verdict.acknowledged == verdict.arrived == 48
    assert taken or verdict.repeats == 0


async def test_a_slow_receiver_slows_nobody_who_sends(tmp_path: Path, nursery: Nursery) -> None:
    async with Rig(tmp_path, nursery, patients=8, senders=4, most=5, parallel=2) as rig:
        await rig.start()
        slow = asyncio.get_running_loop()
        rig.script = lambda *_: "late"  # a second for each message
        began = slow.time()
        rig.send()
        await rig.all_sent()
        assert slow.time() - began < 10, "40 messages take the receiver 20 s; acknowledgements do not wait for it"
        rig.script = None
        verdict = await rig.settle()
    assert verdict.wrong == {}


async def test_a_second_hub_on_the_same_store_is_refused_and_the_first_does_not_notice(
    tmp_path: Path, nursery: Nursery
) -> None:
    async with Rig(tmp_path, nursery, patients=8, senders=4) as rig:
        await rig.start()
        rig.send()
        for _ in range(3):
            second = Hub(nursery, rig.file)
            with pytest.raises(AssertionError, match="another hub is using the store"):
                await asyncio.to_thread(second.start)
            assert second.code not in (0, None)
            second.close()
        before = rig.sent.count("AA")
        while rig.sent.count("AA") < before + 8:
            await asyncio.sleep(0.01)
        verdict = await rig.settle()
    assert verdict.wrong == {}
