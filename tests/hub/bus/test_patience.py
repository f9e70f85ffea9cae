"""A run that takes too long ends; it costs no timer of its own."""

from __future__ import annotations

import asyncio

import pytest

from hub.bus.patience import Patience


async def run(patience: Patience, seconds: float) -> str:
    """What becomes of a run of so many seconds."""
    task = asyncio.current_task()
    assert task is not None
    try:
        await patience.within(task, asyncio.sleep(seconds))
    except TimeoutError:
        return "too late"
    return "done"


async def test_only_what_takes_too_long_ends() -> None:
    patience = Patience(0.2)
    began = asyncio.get_running_loop().time()
    found = await asyncio.gather(*(run(patience, seconds) for seconds in (0.01, 9, 0.02, 9, 0.0)))
    assert found == ["done", "too late", "done", "too late", "done"]
    assert 0.19 < asyncio.get_running_loop().time() - began < 5


async def test_each_has_its_own_time() -> None:
    patience = Patience(0.3)
    first = asyncio.create_task(run(patience, 9))
    await asyncio.sleep(0.2)
    second = asyncio.create_task(run(patience, 0.2))
    assert (await first, await second) == ("too late", "done"), "the second began later"
    assert await run(patience, 9) == "too late", "and so does who comes when nobody is there any more"


async def test_who_is_cancelled_by_others_is_not_late() -> None:
    patience = Patience(5)
    task = asyncio.create_task(run(patience, 9))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_hundred_runs_share_one_timer() -> None:
    patience = Patience(5)
    await run(patience, 0)
    timer = patience._timer
    await asyncio.gather(*(run(patience, 0) for _ in range(100)))
    assert patience._timer is timer
    assert timer is not None
    timer.cancel()
