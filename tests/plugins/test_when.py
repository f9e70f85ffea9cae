"""When visits are checked: months on a test clock, over a change of the clocks, with the hub down now and then."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from hub import moments
from hub.bus.hub import Hub
from hub.moments import to_micros
from tests.plugins.clinic import Clinic, adt, eligibility, in1, jane, mrn, pid, quick_hub, siu
from tests.support import WallClock, ask, until

PLAN = "{on_booking: true, days_before: [3, 1], at: '06:00', morning: '06:30', new_month: '03:00', fresh_for: 20h}"
FRESH = timedelta(hours=20)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    """The hub's clock on the wall; it stands still until it is set."""
    clock = WallClock()
    monkeypatch.setattr(moments, "clock", clock)
    return clock


async def settled(hub: Hub, clock: WallClock) -> None:
    """All that is due by the test clock is done, and all that follows from it."""
    assert clock.at is not None
    now = to_micros(clock.at)

    async def nothing_left() -> bool:
        before = hub.core.journal.commits
        await hub.due.look()
        due, work = await hub.core.reader.due_until(now, 1), await hub.core.reader.open_targets()
        return not due and not work and hub.core.journal.commits == before

    await until(nothing_left, 20)


async def passes(hub: Hub, clock: WallClock, end: datetime) -> None:
    """The time up to `end`, from one thing that is due to the next."""
    while (following := await hub.core.reader.next_due()) is not None and following <= to_micros(end):
        clock.at = moments.from_micros(following)
        await settled(hub, clock)
    clock.at = end


# The oracle: the wall clock of Chicago as two offsets, and the rules as they stand in the documentation.

SUMMER = [(datetime(2027, 3, 14, 8, tzinfo=UTC), datetime(2027, 11, 7, 7, tzinfo=UTC))]
CST, CDT = timedelta(hours=-6), timedelta(hours=-5)


def chicago(day: date, hour: int, minute: int = 0) -> datetime:
    """A time of day in Chicago, in UTC; none of those used here is skipped or comes twice."""
    naive = datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)
    (begin, end), summer = SUMMER[0], naive - CDT
    return summer if begin <= summer < end else naive - CST


def expected(booked_at: datetime, day: date) -> list[datetime]:
    """When a visit of this day is asked about, that was booked then."""
    new_month = chicago(day.replace(day=1), 3)
    planned = [chicago(day - timedelta(days=3), 6), chicago(day - timedelta(days=1), 6), chicago(day, 6, 30), new_month]
    asked: list[datetime] = []
    for moment in sorted([booked_at, *(moment for moment in planned if moment > booked_at)]):
        if not asked or moment - asked[-1] >= FRESH or asked[-1] < new_month <= moment:
            asked.append(moment)
    return asked


def visits(first: date, days: int, seed: int) -> list[tuple[str, date, datetime]]:
    """Some visits of each week, booked up to six weeks ahead or the same morning: name, day, booked at."""
    rng = random.Random(seed)
    found = []
    for offset in range(0, days, 4):
        day = first + timedelta(days=offset + rng.randrange(4))
        ahead = rng.choice([0, 1, 2, 3, 5, 9, 20, 40])
        booked_at = chicago(day - timedelta(days=ahead), 5 if ahead == 0 else rng.randrange(7, 18), rng.randrange(60))
        found.append((f"F-{offset}", day, booked_at))
    for number, day in enumerate((date(first.year, first.month + 1, 1), date(first.year, first.month + 2, 2))):
        found.append((f"M-{number}", day, chicago(day - timedelta(days=1), 23, 15)))
    return sorted(found, key=lambda visit: visit[2])


async def book(clinic: Clinic, name: str, day: date, hour: int = 15) -> None:
    patient = pid(mrn(name))
    await clinic.say(adt("A04", patient, in1()), siu("S12", name, datetime(day.year, day.month, day.day, hour), patient))


async def asked_at(clinic: Clinic, name: str) -> list[datetime]:
    return [attempt.asked_at for attempt in (await clinic.check(name)).attempts]


@pytest.mark.parametrize("first", [date(2027, 2, 8), date(2027, 9, 20)], ids=["spring", "autumn"])
async def test_three_months_of_visits_are_asked_about_at_the_right_times(tmp_path: Path, clock: WallClock, first: date) -> None:
    plan = visits(first, 88, first.month)
    clock.at = plan[0][2] - timedelta(hours=1)
    async with eligibility(tmp_path, jane(), plan=PLAN) as clinic:
        for name, day, booked_at in plan:
            await passes(clinic.hub, clock, booked_at)
            await book(clinic, name, day)
            await settled(clinic.hub, clock)
        await passes(clinic.hub, clock, chicago(first + timedelta(days=100), 12))
        found = {name: await asked_at(clinic, name) for name, _, _ in plan}
        assert found == {name: expected(booked_at, day) for name, day, booked_at in plan}
        assert {await clinic.outcome(name) for name, _, _ in plan} == {"covered"}
        assert len(clinic.table.asked) == sum(map(len, found.values()))
        assert await clinic.hub.core.reader.next_due() is None


@asynccontextmanager
async def again(folder: Path, clinic: Clinic) -> AsyncIterator[Clinic]:
    async with quick_hub(folder / "clinic.yaml") as hub:
        yield Clinic(hub, clinic.ehr, clinic.clearinghouse, clinic.table)


async def test_a_hub_that_was_off_or_whose_clock_jumps_asks_about_each_visit_once(tmp_path: Path, clock: WallClock) -> None:
    """Three checks of each visit have become due meanwhile."""
    day = date(2027, 4, 15)
    clock.at = chicago(date(2027, 4, 1), 9)
    async with eligibility(tmp_path, jane(), plan=PLAN) as clinic:
        for number in range(4):
            await book(clinic, f"F-{number}", day)
        await settled(clinic.hub, clock)
        assert len(clinic.table.asked) == 4
    clock.at = chicago(day, 8)
    async with again(tmp_path, clinic) as clinic:
        await settled(clinic.hub, clock)
        assert [len(await asked_at(clinic, f"F-{number}")) for number in range(4)] == [2] * 4
        clock.at = chicago(day, 6)
        await settled(clinic.hub, clock)
        clock.at = chicago(day, 14)
        await settled(clinic.hub, clock)
        assert len(clinic.table.asked) == 8, "a clock that is set back and forth asks nothing again"


async def test_a_payer_that_does_not_answer_is_asked_until_the_visit_and_a_person_hears_of_it_when_that_is_near(
    tmp_path: Path, clock: WallClock
) -> None:
    """AAA 42: after each of the waits, then every morning; x12.md 4.6."""
    day, booked_at = date(2027, 4, 15), chicago(date(2027, 4, 12), 9)
    plan = "{on_booking: true, morning: '06:30', retry_after: [90s, 5m]}"
    clock.at = booked_at
    async with eligibility(tmp_path, jane(unavailable=1000), plan=plan) as clinic:
        await book(clinic, "F-1", day)
        await settled(clinic.hub, clock)
        await passes(clinic.hub, clock, chicago(date(2027, 4, 13), 5))
        times = await asked_at(clinic, "F-1")
        assert times == [booked_at, booked_at + timedelta(seconds=90), booked_at + timedelta(seconds=390)]
        assert (await clinic.to_do(), await clinic.outcome("F-1")) == ([], "payer_unavailable")
        await passes(clinic.hub, clock, chicago(date(2027, 4, 14), 7))
        (item,) = await clinic.to_do()
        assert (item["appointment"], item["who"]) == ("F-1", "coordinator")
        await passes(clinic.hub, clock, chicago(day, 12))
        times = (await asked_at(clinic, "F-1"))[3:]
        assert times == [chicago(date(2027, 4, number), 6, 30) for number in (13, 14, 15)]
        assert await clinic.hub.core.reader.next_due() is None


async def test_a_check_that_is_due_at_night_waits_for_the_payers_hours(tmp_path: Path, clock: WallClock) -> None:
    """Before the clocks change and after, where the payer is."""
    payers = "payer,name,clearinghouse_id,hours,zone\n60054,Aetna,60054,mo-fr 08:00-18:00,America/New_York\n"
    clock.at = chicago(date(2027, 3, 1), 9)
    async with eligibility(tmp_path, jane(), plan=PLAN, payers=payers) as clinic:
        await book(clinic, "F-1", date(2027, 3, 16))
        await settled(clinic.hub, clock)
        await passes(clinic.hub, clock, chicago(date(2027, 3, 16), 12))
        assert await asked_at(clinic, "F-1") == [
            chicago(date(2027, 3, 1), 9),
            chicago(date(2027, 3, 15), 7),  # due on Saturday the 13th and Monday at 06:00
            chicago(date(2027, 3, 16), 7),
        ]


async def test_what_a_person_moves_and_cancels_is_planned_anew(tmp_path: Path, clock: WallClock) -> None:
    clock.at = chicago(date(2027, 4, 1), 9)
    patient = pid(mrn("F-1"))
    async with eligibility(tmp_path, jane(), plan=PLAN) as clinic:
        await book(clinic, "F-1", date(2027, 4, 20))
        await settled(clinic.hub, clock)
        await passes(clinic.hub, clock, chicago(date(2027, 4, 18), 9))
        await clinic.say(siu("S13", "F-1", datetime(2027, 5, 10, 15), patient))
        await settled(clinic.hub, clock)
        await passes(clinic.hub, clock, chicago(date(2027, 5, 8), 9))
        assert await asked_at(clinic, "F-1") == [
            chicago(date(2027, 4, 1), 9),
            chicago(date(2027, 4, 17), 6),
            chicago(date(2027, 4, 18), 9),
            chicago(date(2027, 5, 1), 3),
            chicago(date(2027, 5, 7), 6),
        ]
        await clinic.say(siu("S15", "F-1", None, patient))
        await settled(clinic.hub, clock)
        assert await clinic.hub.core.reader.next_due() is None
        assert (await ask(clinic.hub, "eligibility.show", appointment="F-1"))["outcome"] == "withdrawn"
