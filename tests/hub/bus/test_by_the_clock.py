"""Flows by the clock: each time once; missed times caught up, all done or skipped as the flow says; clocks that jump."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hub import moments
from hub.bus.duework import Turn, turn_of
from hub.message import Message
from hub.settings.schedule import EverySettings, Schedule
from hub.step import Context, Due, StepResult
from tests.hub.bus.probe import World, adt, deliver, one, rows
from tests.support import WallClock, ask, clinic_folder, running_hub, settled, until

FLOW = """
connections:
  inbox: {kind: probe_in}
flows:
  nightly: {from: {every: day, at: "06:00"@MORE@}, steps: [{probe: tick}]}
  plan: {from: inbox, steps: [{probe: plan}]}
  planned: {from: {due: probe@MORE@}, steps: [{probe: due}]}
"""
DAY = timedelta(days=1)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    """The hub's clock."""
    clock = WallClock()
    monkeypatch.setattr(moments, "clock", clock)
    return clock


@pytest.fixture
def ticks(world: World) -> list[str]:
    found: list[str] = []

    @world.step
    async def tick(message: Message, context: Context) -> StepResult:
        found.append(message.headers["scheduled_for"])
        return None

    return found


def clinic(folder: Path, more: str = "") -> Path:
    return clinic_folder(folder, FLOW.replace("@MORE@", f", {more}" if more else ""))


def planned(store: Path) -> list[int]:
    return [at for (at,) in rows(store, "SELECT at FROM due WHERE job = '=every'")]


async def test_a_flow_by_the_clock_runs_once_for_each_time(
    ticks: list[str], clock: WallClock, tmp_path: Path, store: Path
) -> None:
    async with running_hub(clinic(tmp_path)) as hub:
        await hub.due.look()
        assert ticks == []
        for days in range(1, 4):
            clock.ahead = days * DAY
            for _ in range(3):
                await hub.due.look()
            await settled(hub)
            assert len(ticks) == days
            assert len(planned(store)) == 1
        assert len(set(ticks)) == 3
        assert {datetime.fromisoformat(tick).hour for tick in ticks} <= {11, 12}, "06:00 in Chicago"
        [first] = await ask(hub, "messages.list", connection="nightly", limit=1)
        assert first["state"] == "delivered"


async def test_it_is_planned_for_the_next_time_when_its_time_is_changed(
    ticks: list[str], clock: WallClock, tmp_path: Path, store: Path
) -> None:
    async with running_hub(clinic(tmp_path)) as hub:
        await hub.due.look()
    [before] = planned(store)
    file = clinic(tmp_path)
    file.write_text(file.read_text().replace("06:00", "07:00"))
    async with running_hub(file):
        [after] = planned(store)
    assert (after - before) % (24 * 3600 * 1_000_000) == 3600 * 1_000_000
    file.write_text(file.read_text().replace("nightly:", "renamed:"))
    clock.ahead = 3 * DAY
    async with running_hub(file) as hub:
        await hub.due.look()
        await settled(hub)
        assert len(planned(store)) == 1, "the row of a flow that is gone goes too"
    assert ticks == []


@pytest.mark.parametrize(("missed", "runs", "skipped"), [("catch_up", 1, 0), ("each", 5, 0), ("skip", 0, 1)])
async def test_times_that_were_missed_are_treated_as_the_flow_says(
    ticks: list[str], clock: WallClock, tmp_path: Path, store: Path, missed: str, runs: int, skipped: int
) -> None:
    """The hub was away for five days, and two hours more."""
    file = clinic(tmp_path, f"missed: {missed}")
    async with running_hub(file):
        [first] = planned(store)
    begin = datetime.fromtimestamp(first / 1e6, UTC)
    clock.ahead = begin - datetime.now(UTC) + 4 * DAY + timedelta(hours=2)
    for _ in range(2):
        async with running_hub(file) as hub:
            await settled(hub)
    assert len(ticks) == len(set(ticks)) == runs
    assert ticks == sorted(ticks)
    assert one(store, "SELECT count(*) FROM message WHERE connection = 'nightly' AND state = 'skipped'") == skipped
    if runs == 1:
        assert ticks[0] == (begin + 4 * DAY).isoformat().replace("+00:00", "Z")
    [following] = planned(store)
    assert following == first + 5 * 24 * 3600 * 1_000_000


async def test_a_time_that_is_late_by_a_little_is_not_skipped(
    ticks: list[str], clock: WallClock, tmp_path: Path, store: Path
) -> None:
    file = clinic(tmp_path, "missed: skip, late: 3h")
    async with running_hub(file):
        [first] = planned(store)
    clock.ahead = datetime.fromtimestamp(first / 1e6, UTC) - datetime.now(UTC) + timedelta(hours=2)
    async with running_hub(file) as hub:
        await settled(hub)
    assert len(ticks) == 1


@pytest.mark.parametrize(("more", "done"), [("", 1), ("missed: skip", 0), ("missed: skip, late: 2d", 1)])
async def test_planned_work_that_was_missed_is_done_or_skipped_as_its_flow_says(
    world: World, clock: WallClock, tmp_path: Path, store: Path, more: str, done: int
) -> None:
    @world.step
    async def plan(message: Message, context: Context) -> StepResult:
        context.plan(Due("probe", "k", datetime.now(UTC) + timedelta(hours=1), {"id": "k"}))
        return None

    file = clinic(tmp_path, more)
    async with running_hub(file) as hub:
        await deliver(hub, adt("M1"))
        await until(lambda: one(store, "SELECT count(*) FROM due WHERE job = 'probe'") == 1)
    clock.ahead = DAY
    async with running_hub(file) as hub:
        await settled(hub)
        found = await ask(hub, "messages.list", connection="probe")
    assert len([name for name, _ in world.runs if name == "due"]) == done
    assert one(store, "SELECT count(*) FROM due WHERE job = 'probe'") == 0
    assert [row["state"] for row in found] == ["delivered" if done else "skipped"], (
        "either way the journal says what became of it"
    )
    if not done:
        assert "was missed" in found[0]["reason"]


async def test_a_clock_that_is_set_back_repeats_nothing_and_stops_nothing(
    ticks: list[str], clock: WallClock, tmp_path: Path, store: Path
) -> None:
    async with running_hub(clinic(tmp_path)) as hub:
        for days in (1, 2, 400):  # the clock was wrong by more than a year for a while
            clock.ahead = days * DAY
            await hub.due.look()
        await settled(hub)
        assert len(ticks) == 3
        clock.ahead = 1 * DAY
        await hub.due.look()
        await settled(hub)
        assert len(ticks) == 3
        [following] = planned(store)
        assert following / 1e6 < (datetime.now(UTC) + 3 * DAY).timestamp(), "not silent until that wrong day comes"
        for days in (2, 3):
            clock.ahead = days * DAY
            await hub.due.look()
        await settled(hub)
        assert len(ticks) == len(set(ticks)) == 4, "the second day had been done"


def test_turns() -> None:
    schedule = Schedule.of(EverySettings.model_validate({"every": "1h"}), UTC)
    due = datetime(2026, 1, 1, tzinfo=UTC)
    now = due + timedelta(hours=3, minutes=10)
    three, four = due + timedelta(hours=3), due + timedelta(hours=4)
    assert turn_of(schedule, "catch_up", 0, due, now) == Turn(three, four, 3)
    assert turn_of(schedule, "each", 0, due, now) == Turn(due, due + timedelta(hours=1), 0)
    assert turn_of(schedule, "skip", 60, due, now) == Turn(None, four, 4)
    assert turn_of(schedule, "skip", 3600, due, now) == Turn(three, four, 3)
    assert turn_of(schedule, "skip", 0, due, due) == Turn(due, due + timedelta(hours=1), 0)
