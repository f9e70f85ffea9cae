"""The alarm clock of planned work: wakes in time, sooner when asked, again and again whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from hub import scheduler
from hub.scheduler import Scheduler
from tests.support import until


def in_seconds(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


@asynccontextmanager
async def scheduling(wake: Callable[[], Awaitable[None]]) -> AsyncIterator[Scheduler]:
    found = Scheduler(wake)
    found.start()
    try:
        yield found
    finally:
        found.stop()


class Alarm:
    """Notes when it rang."""

    def __init__(self, *, lasts: float = 0.0, fails: bool = False) -> None:
        self.rang: list[datetime] = []
        self.lasts, self.fails = lasts, fails

    async def ring(self) -> None:
        self.rang.append(datetime.now(UTC))
        await asyncio.sleep(self.lasts)
        if self.fails:
            raise RuntimeError("the store is full")


async def test_it_wakes_at_the_moment_and_not_before() -> None:
    alarm, moment = Alarm(), in_seconds(0.2)
    async with scheduling(alarm.ring) as clock:
        clock.wake_at(moment)
        await until(lambda: alarm.rang, timeout=3)
    assert moment <= alarm.rang[0] < moment + timedelta(seconds=1)


@pytest.mark.parametrize("moments", [(0.15, 60), (60, 0.15)], ids=["sooner-first", "later-first"])
async def test_the_sooner_of_two_moments_counts(moments: tuple[float, float]) -> None:
    alarm = Alarm()
    async with scheduling(alarm.ring) as clock:
        for seconds in moments:
            clock.wake_at(in_seconds(seconds))
        await until(lambda: alarm.rang, timeout=3)


async def test_a_moment_that_is_over_wakes_at_once() -> None:
    alarm = Alarm()
    async with scheduling(alarm.ring) as clock:
        clock.wake_at(in_seconds(-86400 * 365))
        await until(lambda: alarm.rang, timeout=3)
        assert len(alarm.rang) == 1


async def test_it_can_be_asked_again_after_it_woke() -> None:
    alarm = Alarm()
    async with scheduling(alarm.ring) as clock:
        for times in range(1, 4):
            clock.wake_at(in_seconds(0.02))
            await until(lambda: len(alarm.rang) == times, timeout=3)  # noqa: B023 - awaited at once


async def test_many_moments_close_together_are_all_woken_for() -> None:
    """What is planned for the moment of the last one is looked at after that moment."""
    alarm = Alarm()
    last = in_seconds(0.3)
    async with scheduling(alarm.ring) as clock:
        for step in range(30):
            clock.wake_at(last - timedelta(milliseconds=step))
        await until(lambda: alarm.rang, timeout=3)
        clock.wake_at(last)
        await until(lambda: alarm.rang[-1] >= last, timeout=3)


async def test_a_moment_that_comes_while_it_is_still_awake_is_not_lost() -> None:
    alarm = Alarm(lasts=0.3)
    async with scheduling(alarm.ring) as clock:
        clock.wake_at(in_seconds(0.01))
        await until(lambda: alarm.rang, timeout=3)
        clock.wake_at(in_seconds(0.05))
        await until(lambda: len(alarm.rang) == 2, timeout=3)


async def test_it_wakes_from_time_to_time_without_being_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "AT_LEAST_EVERY", 0.05)
    alarm = Alarm()
    async with scheduling(alarm.ring):
        await until(lambda: len(alarm.rang) >= 3, timeout=3)


async def test_it_goes_on_after_a_look_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "AT_LEAST_EVERY", 0.05)
    alarm = Alarm(fails=True)
    async with scheduling(alarm.ring):
        await until(lambda: len(alarm.rang) >= 3, timeout=3)


async def test_regular_looks_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "AT_LEAST_EVERY", 0.02)
    running, most = 0, 0

    async def slow() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.1)
        running -= 1

    async with scheduling(slow):
        await until(lambda: most, timeout=3)
        await asyncio.sleep(0.25)
    assert most == 1


async def test_other_jobs_run_at_their_pace() -> None:
    alarm, other = Alarm(), Alarm()
    async with scheduling(alarm.ring) as clock:
        clock.every(0.05, other.ring, "data keys")
        await until(lambda: len(other.rang) >= 2, timeout=3)
    assert alarm.rang == []


async def test_nothing_rings_after_a_stop_and_it_can_be_stopped_twice_or_before_its_start() -> None:
    alarm = Alarm()
    async with scheduling(alarm.ring) as clock:
        clock.wake_at(in_seconds(0.1))
    clock.stop()
    Scheduler(alarm.ring).stop()
    await asyncio.sleep(0.2)
    assert alarm.rang == []
