"""Planned work: one for each job and key, moved, withdrawn, done exactly once, whatever the clock does."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hub.bus.duework import AT_ONCE
from hub.errors import StoreFull
from hub.message import Message
from hub.step import Context, Due, StepResult
from tests.hub.bus.probe import Place, World, adt, deliver, disk_is_full, in_turn, one, rows, states, there_is_space_again
from tests.support import ask, clinic_folder, running_hub, settled, until

pytestmark = pytest.mark.both_stores

FLOW = """
connections:
  inbox: {kind: probe_in}
flows:
  plan: {from: inbox, steps: [{probe: plan}]}
  planned: {from: {due: probe}, steps: [{probe: due}]}
"""


def at(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def planning(world: World, *dues: Callable[[], Due]) -> None:
    """Each message that comes in plans the next of these."""
    left = list(dues)

    @world.step
    async def plan(message: Message, context: Context) -> StepResult:
        context.plan(left[0]())
        del left[0]
        return None


def done(world: World) -> int:
    return len([name for name, _ in world.runs if name == "due"])


async def test_planned_work_is_done_when_it_is_due_and_not_before(world: World, tmp_path: Path, store: Place) -> None:
    moments: list[datetime] = []

    @world.step
    async def due(message: Message, context: Context) -> StepResult:
        moments.append(context.now)
        assert message.headers["seen"] == "id-1"
        return None

    when = at(0.5)
    planning(world, lambda: Due("probe", "k", when, {"id": "id-1"}))
    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        await deliver(hub, adt("M1"))
        await until(lambda: moments)
        await settled(hub)
    assert timedelta(0) <= moments[0] - when < timedelta(seconds=2)
    assert one(store, "SELECT count(*) FROM due") == 0


async def test_planning_again_under_the_same_key_moves_it(world: World, tmp_path: Path, store: Place) -> None:
    planning(
        world, lambda: Due("probe", "k", at(3600)), lambda: Due("probe", "k", at(7200)), lambda: Due("probe", "k", at(0.1))
    )
    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        for number in range(3):
            await deliver(hub, adt(f"M{number}"))
            await settled(hub)
            if number < 2:
                assert one(store, "SELECT count(*) FROM due") == 1
        await until(lambda: done(world) == 1)
        await settled(hub)
    assert one(store, "SELECT count(*) FROM due") == 0
    assert done(world) == 1


async def test_the_same_key_of_two_jobs_or_two_keys_of_a_job_are_different_work(
    world: World, tmp_path: Path, store: Place
) -> None:
    planning(
        world,
        lambda: Due("probe", "a", at(3600)),
        lambda: Due("probe", "b", at(3600)),
        lambda: Due("eligibility", "a", at(3600)),
    )
    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        await in_turn(hub, [adt(f"M{number}") for number in range(3)])
        await settled(hub)
    assert sorted(rows(store, "SELECT job, key FROM due")) == [("eligibility", "a"), ("probe", "a"), ("probe", "b")]


async def test_work_that_was_withdrawn_is_not_done(world: World, tmp_path: Path, store: Place) -> None:
    @world.step
    async def plan(message: Message, context: Context) -> StepResult:
        context.plan(Due("probe", "kept", at(2.1)))
        context.plan(Due("probe", "gone", at(2.0))) if b"M1" in message.body else context.withdraw("probe", "gone")
        return None

    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        await in_turn(hub, [adt("M1"), adt("M2")])
        await until(lambda: done(world) == 1)
        await settled(hub)
    assert rows(store, "SELECT connection FROM message WHERE format = 'due'") == [("probe",)]


async def test_withdrawing_what_was_never_planned_is_nothing(world: World, tmp_path: Path) -> None:
    @world.step
    async def plan(message: Message, context: Context) -> StepResult:
        context.withdraw("probe", "never")
        return None

    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        assert await (await deliver(hub, adt("M1"))).outcome(3.0) == "delivered"


async def test_work_is_done_once_although_several_look_at_the_same_time(world: World, tmp_path: Path, store: Place) -> None:
    planning(world, *(lambda key=key: Due("probe", f"k{key}", at(0.2)) for key in range(20)))
    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        await deliver(hub, *(adt(f"M{number}", str(number)) for number in range(20)))
        await until(lambda: states(store, "flow:plan") == ["delivered"] * 20)
        while one(store, "SELECT count(*) FROM due"):
            await asyncio.gather(*(hub.due.look() for _ in range(10)))
        await settled(hub)
    assert done(world) == 20
    assert one(store, "SELECT count(*) FROM message WHERE format = 'due'") == 20


async def test_moving_work_at_the_moment_it_is_due_does_not_do_it_twice(world: World, tmp_path: Path, store: Place) -> None:
    """Each planning is done at most once: the old time was taken, or it was moved and is done then."""
    planning(world, *(lambda: Due("probe", "k", at(0.02)) for _ in range(40)))
    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        for number in range(40):
            await deliver(hub, adt(f"M{number}"))
            await hub.due.look()
        await until(lambda: one(store, "SELECT count(*) FROM due") == 0)
        await settled(hub)
    fired = one(store, "SELECT count(*) FROM message WHERE format = 'due'")
    assert 1 <= fired <= 40
    assert done(world) == fired


async def test_work_that_became_due_while_the_hub_was_down_is_done_once_at_the_start(
    world: World, tmp_path: Path, store: Place
) -> None:
    when = at(1.5)
    planning(world, lambda: Due("probe", "k", when))
    file = clinic_folder(tmp_path, FLOW)
    async with running_hub(file) as hub:
        await deliver(hub, adt("M1"))
        await until(lambda: one(store, "SELECT count(*) FROM due") == 1)
    await until(lambda: datetime.now(UTC) > when)
    for _ in range(3):
        async with running_hub(file) as hub:
            await settled(hub)
    assert done(world) == 1


async def test_more_work_than_is_taken_in_one_go_is_all_done(world: World, tmp_path: Path) -> None:
    count = AT_ONCE * 2 + 10

    @world.step
    async def plan(message: Message, context: Context) -> StepResult:
        for number in range(count):
            context.plan(Due("probe", f"k{number}", at(-60)))
        return None

    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        await deliver(hub, adt("M1"))
        await until(lambda: done(world) == count)
        await settled(hub)
        assert done(world) == count


async def test_work_of_one_lane_is_done_in_order_and_of_others_side_by_side(world: World, tmp_path: Path) -> None:
    running: list[str] = []
    most: list[int] = []

    @world.step
    async def plan(message: Message, context: Context) -> StepResult:
        for number in range(6):
            context.plan(Due("probe", f"k{number}", at(-60 + number), {"id": f"{number}"}, lane=f"visit {number % 2}"))
        return None

    @world.step
    async def due(message: Message, context: Context) -> StepResult:
        running.append(message.headers["seen"])
        most.append(len(running))
        assert len({int(id) % 2 for id in running}) == len(running), "two of one lane at once"
        await asyncio.sleep(0.01)
        running.remove(message.headers["seen"])
        return None

    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        await deliver(hub, adt("M1"))
        await until(lambda: len(most) == 6)
        await settled(hub)
        assert not await ask(hub, "messages.list", state="quarantined")
    assert max(most) == 2


async def test_work_no_flow_is_for_is_taken_away_and_keeps_nothing_up(world: World, tmp_path: Path, store: Place) -> None:
    planning(world, lambda: Due("eligibility", "k", at(0.05)), lambda: Due("probe", "k", at(0.1)))
    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        await in_turn(hub, [adt("M1"), adt("M2")])
        await until(lambda: done(world) == 1)
        assert one(store, "SELECT count(*) FROM due") == 0


async def test_a_full_disk_at_the_moment_work_is_due_loses_nothing(world: World, tmp_path: Path, store: Place) -> None:
    when = at(2.0)
    planning(world, lambda: Due("probe", "k", when, {"id": "k", "text": "x" * 100_000}))
    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        await deliver(hub, adt("M1"))
        await until(lambda: one(store, "SELECT count(*) FROM due") == 1)
        disk_is_full(hub)
        await until(lambda: datetime.now(UTC) > when)
        with pytest.raises(StoreFull):
            await hub.due.look()
        assert one(store, "SELECT count(*) FROM due") == 1
        there_is_space_again(hub)
        await hub.due.look()
        await until(lambda: done(world) == 1)
    assert one(store, "SELECT count(*) FROM due") == 0


# A clock that jumps.

CLOCK = """
import asyncio, datetime as _datetime, json, logging, sys, time as _time
from pathlib import Path

OFFSET = 0.0
_now, _ns = _time.time, _time.time_ns

class Shifted(_datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(_now() + OFFSET, tz)

_datetime.datetime = Shifted
_time.time = lambda: _now() + OFFSET
_time.time_ns = lambda: _ns() + int(OFFSET * 1e9)

import structlog
from datetime import UTC, datetime, timedelta
import hub.scheduler
hub.scheduler.AT_LEAST_EVERY = 0.2
from hub.bus.hub import Hub
from hub.clinic import load_clinic
from hub.errors import ConnectionDown
from hub.step import Due
from tests.hub.bus.probe import WORLD, adt, deliver
from tests.support import settled

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
done, sent, away = [], [], [True]

async def plan(message, context):
    number, seconds = message.headers["plan"].split()
    context.plan(Due("probe", number, datetime.now(UTC) + timedelta(seconds=float(seconds)), {"id": number}))

async def due(message, context):
    done.append(message.headers["seen"])

async def pms(message):
    if away[0]:
        raise ConnectionDown("pms: away")
    sent.append(message.id)

async def planned(hub, number, seconds):
    from hub.message import Message
    await hub.sources["inbox"].deliver([Message(adt(f"M{number}", number), "hl7v2", headers={"plan": f"{number} {seconds}"})])
    await asyncio.sleep(0.1)

async def wait_for(condition, seconds):
    end = asyncio.get_running_loop().time() + seconds
    while not condition() and asyncio.get_running_loop().time() < end:
        await asyncio.sleep(0.01)

async def main(file, story):
    global OFFSET
    WORLD.steps["plan"], WORLD.steps["due"], WORLD.partners["pms"] = plan, due, pms
    found = Hub(load_clinic(file))
    await found.start()
    if story == "forward":
        await planned(found, "1", 3600)
        OFFSET += 3700
        await wait_for(lambda: done, 3)
        OFFSET -= 3700
        await asyncio.sleep(0.5)
        OFFSET += 3700
        await asyncio.sleep(0.5)
    if story == "back":
        await planned(found, "1", 1)
        OFFSET -= 3600
        await asyncio.sleep(0.5)
        OFFSET += 3600
        await wait_for(lambda: done, 4)
    if story == "back-for-good":
        OFFSET -= 86400
        await asyncio.sleep(0.5)
        await planned(found, "1", 0.3)
        await wait_for(lambda: done, 3)
    if story == "outage":
        await deliver(found, adt("M1"), source="other")
        await asyncio.sleep(0.3)
        OFFSET -= 86400
        away[0] = False
        await wait_for(lambda: sent, 3)
    await found.stop()
    print(json.dumps({"done": done, "sent": len(sent)}))

asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""
CLOCK_FLOW = """
connections:
  inbox: {kind: probe_in}
  other: {kind: probe_in}
  pms: {kind: probe_out, retry: {first: 100ms, most: 200ms}}
flows:
  plan: {from: inbox, steps: [{probe: plan}]}
  planned: {from: {due: probe}, steps: [{probe: due}]}
  forward: {from: other, steps: [{send: pms}]}
"""


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        pytest.param("forward", '{"done": ["1"], "sent": 0}', id="an-hour-forward-and-back-and-forward-again"),
        pytest.param("back", '{"done": ["1"], "sent": 0}', id="an-hour-back-for-half-a-second"),
        pytest.param("back-for-good", '{"done": ["1"], "sent": 0}', id="a-day-back"),
        pytest.param("outage", '{"done": [], "sent": 1}', id="a-day-back-while-a-partner-is-away"),
    ],
)
def test_a_clock_that_jumps_loses_no_work_and_does_none_twice(
    tmp_path: Path, plugin_env: dict[str, str], story: str, expected: str
) -> None:
    """The clock of a process of its own is moved while its hub runs; the store is looked at again whatever the clock said."""
    file = clinic_folder(tmp_path, CLOCK_FLOW)
    ran = subprocess.run(
        [sys.executable, "-c", CLOCK, str(file), story], capture_output=True, text=True, env=plugin_env, timeout=30, check=False
    )
    assert ran.stdout.strip() == expected, ran.stderr
