"""What the hub counts about itself, and that every stop is explained within ten seconds (P7)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hub.bus.hub import Hub
from hub.bus.signals import BOUNDS, Histogram, LoopSignals, Rate, Signals, TargetSignals
from hub.connector import Poller, SourceConfig
from hub.errors import ConnectionDown, MessageRejected
from hub.message import Message
from hub.step import Context
from tests.hub.bus.probe import World, adt, deliver, disk_is_full, long_adt, there_is_space_again
from tests.support import ask, clinic_folder, running_hub, settled, until

FLOW = """
connections:
  inbox: {kind: probe_in}
  ehr: {kind: probe_out, retry: {first: 200ms, most: 200ms}}
flows:
  work: {from: inbox, steps: [{probe: work}, {send: ehr}]}
"""


def by_name(status: dict[str, Any], part: str, name: str) -> dict[str, Any]:
    return next(line for line in status[part] if line["name"] == name)


# The parts.


def test_a_histogram_says_within_which_time_most_of_it_was_done() -> None:
    taken = Histogram()
    assert taken.quantile(0.5) is None
    for _ in range(99):
        taken.add(0.004)
    taken.add(4000.0)
    assert (taken.count, taken.total) == (100, pytest.approx(4000.396))
    assert taken.quantile(0.5) == taken.quantile(0.99) == 0.005
    assert taken.quantile(1.0) == float("inf")


def test_what_takes_as_long_as_a_bound_is_in_its_bucket() -> None:
    for index, bound in enumerate(BOUNDS):
        taken = Histogram()
        taken.add(bound)
        assert taken.counts[index] == 1, "Prometheus counts what is less or equal"


def test_a_rate_looks_back_one_minute() -> None:
    rate = Rate()
    assert rate.per_second(0.0, 7) == 0.0
    for second in range(0, 600, 5):
        rate.sample(float(second), 0 if second < 500 else (second - 500) * 10)
    assert rate.per_second(600.0, 1000) == pytest.approx(10.0)


def test_the_worst_lag_is_forgotten_after_a_minute() -> None:
    loop = LoopSignals()
    loop.add(3.0)
    for _ in range(12):
        loop.sample()
        loop.add(0.001)
    assert loop.worst == 3.0
    loop.sample()
    assert loop.worst == 0.001


async def test_a_loop_that_stands_is_noticed() -> None:
    signals = Signals()
    watching = asyncio.create_task(signals.watch())
    await asyncio.sleep(0.6)
    time.sleep(0.8)
    await asyncio.sleep(0.6)
    watching.cancel()
    assert signals.loop.worst > 0.2


def test_counting_costs_little() -> None:
    """Ten additions and three histograms, as for one message; the hub has 200 us and more for it."""
    target, taken = TargetSignals(), Histogram()
    rounds, best = 20_000, float("inf")
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(rounds):
            target.tries += 1
            target.repeats += False
            taken.add(0.003)
            target.finished(0.01, 1_000_000, 1_020_000)
        best = min(best, (time.perf_counter() - began) / rounds)
    assert best < 20e-6, f"{best * 1e6:.1f} us"


# A hub that counts.


@pytest.mark.both_stores
async def test_one_message_is_counted_on_its_whole_way(world: World, tmp_path: Path) -> None:
    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        before = hub.core.signals.journal.rows
        await deliver(hub, adt("M1"))
        await settled(hub)
        await deliver(hub, adt("M1"))
        await settled(hub)
        await until(lambda: hub.core.signals.target("to:ehr").done == 1)
        signals = hub.core.signals
        source, flow, out = signals.source("inbox"), signals.target("flow:work"), signals.target("to:ehr")
        assert (source.received, source.duplicates, source.failed, source.acknowledged.count) == (2, 1, 0, 2)
        assert (flow.tries, flow.done, flow.took.count, flow.since_received.count) == (1, 1, 1, 1)
        assert (out.tries, out.done, out.repeats, out.took.count, out.since_received.count) == (1, 1, 0, 1, 1)
        assert out.since_received.total >= flow.since_received.total, "both count from when the message came in"
        assert signals.journal.rows - before >= 8
        assert signals.journal.writes >= 4
        status = await ask(hub, "status")
        inbox, ehr, work = by_name(status, "connections", "inbox"), by_name(status, "connections", "ehr"), status["flows"][0]
        assert (inbox["received"], inbox["duplicates"], ehr["delivered"], work["done"]) == (2, 1, 1, 1)
        assert inbox["acknowledged_ms"]["p99"] > 0
        assert ehr["breaker"] == {"state": "closed", "failures": 0, "next_try_s": 0}
        assert status["store"]["rows_per_commit"] > 1
        assert status["store"]["disk_free_bytes"] > 0
        assert status["stops"] == []


async def test_what_a_partner_refuses_and_what_cannot_be_reached_is_told_apart(world: World, tmp_path: Path) -> None:
    answers: list[Exception] = [ConnectionDown("ehr: away"), MessageRejected("busy", answer="AE")]

    @world.partner
    async def ehr(message: Message) -> Message | None:
        if answers:
            raise answers.pop(0)
        return None

    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        await deliver(hub, adt("M1"))
        await until(lambda: hub.core.signals.target("to:ehr").done == 1)
        out = hub.core.signals.target("to:ehr")
        assert (out.tries, out.down, out.retried, out.repeats) == (3, 1, 1, 1), "the second try may have been a repeat"


async def test_ends_that_are_not_good_are_counted(world: World, tmp_path: Path) -> None:
    @world.step
    async def work(message: Message, context: Context) -> Message:
        if b"BAD" in message.body:
            raise ValueError("no")
        return message

    @world.partner
    async def ehr(message: Message) -> Message | None:
        raise MessageRejected("no", final=True)

    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        await deliver(hub, adt("M1", family="BAD"))
        await deliver(hub, adt("M2", "7"))
        await settled(hub)
        status = await ask(hub, "status")
        assert status["flows"][0]["quarantined"] == 1
        assert by_name(status, "connections", "ehr")["quarantined"] == 1


@pytest.mark.both_stores
async def test_the_oldest_is_as_old_as_its_message_however_often_it_was_tried(world: World, tmp_path: Path) -> None:
    @world.partner
    async def ehr(message: Message) -> Message | None:
        raise MessageRejected("busy", answer="AE")

    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        await deliver(hub, adt("M1"))
        await until(lambda: hub.core.signals.target("to:ehr").retried >= 1)
        [row] = await hub.core.reader.backlog()
        [message] = [m for m in await hub.core.reader.messages_by_seq([2]) if m.direction == "out"]
        assert (row.target, row.waiting, row.oldest, row.held) == ("to:ehr", 1, message.at, 0)


# Every stop is explained: what stands, since when, why, and what to do, within ten seconds.

Broken = Callable[[World, Hub], Any]


async def stops_of(hub: Hub) -> list[dict[str, Any]]:
    return list((await ask(hub, "status"))["stops"])


async def explained(hub: Hub, where: str, code: str) -> dict[str, Any]:
    began = time.monotonic()

    async def named() -> bool:
        return any((stop["where"], stop["code"]) == (where, code) for stop in await stops_of(hub))

    await until(named, timeout=10.0)
    assert time.monotonic() - began < 10.0
    [stop] = [stop for stop in await stops_of(hub) if (stop["where"], stop["code"]) == (where, code)]
    assert stop["text"]
    assert stop["help"], "it says what to do"
    return stop


async def test_a_partner_that_is_away_is_a_stop(world: World, tmp_path: Path) -> None:
    away = True

    @world.partner
    async def ehr(message: Message) -> Message | None:
        if away:
            raise ConnectionDown("ehr: nobody answers at 10.0.0.1")
        return None

    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        await deliver(hub, adt("M1"))
        stop = await explained(hub, "connection ehr", "NET-001")
        assert "nobody answers" in stop["text"]
        since = stop["since"]
        await until(lambda: hub.core.signals.target("to:ehr").down > 2)
        assert (await explained(hub, "connection ehr", "NET-001"))["since"] == since, "it began with the first failure"
        status = await ask(hub, "status")
        assert by_name(status, "connections", "ehr")["breaker"]["failures"] > 0
        away = False
        await settled(hub)
        assert await stops_of(hub) == []


async def test_a_message_that_is_refused_again_and_again_is_a_stop(world: World, tmp_path: Path) -> None:
    @world.partner
    async def ehr(message: Message) -> Message | None:
        raise MessageRejected("no such doctor", answer="AE")

    text = FLOW.replace("most: 200ms", "most: 60s").replace("first: 200ms", "first: 60s")
    async with running_hub(clinic_folder(tmp_path, text)) as hub:
        await deliver(hub, adt("M1"))
        stop = await explained(hub, "connection ehr", "MSG-001")
        assert "1 wait" in stop["text"]
        assert "no such doctor" in stop["text"]


@pytest.mark.both_stores
async def test_a_held_lane_is_a_stop(world: World, tmp_path: Path) -> None:
    @world.partner
    async def ehr(message: Message) -> Message | None:
        raise MessageRejected("no such doctor", answer="AR", final=True)

    async with running_hub(clinic_folder(tmp_path, FLOW.replace("ehr: {", "ehr: {on_rejected: hold, "))) as hub:
        await deliver(hub, adt("M1"))
        stop = await explained(hub, "connection ehr", "ALR-004")
        assert "no such doctor" in stop["text"]


async def test_a_step_that_can_reach_nobody_is_a_stop(world: World, tmp_path: Path) -> None:
    away = True

    @world.step
    async def work(message: Message, context: Context) -> Message:
        if away:
            raise ConnectionDown("the terminology server is away", retry_after=0.1)
        return message

    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        await deliver(hub, adt("M1"))
        assert "terminology" in (await explained(hub, "flow work", "NET-001"))["text"]
        away = False
        await settled(hub)
        assert await stops_of(hub) == []


async def test_a_full_disk_is_a_stop(world: World, tmp_path: Path) -> None:
    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        disk_is_full(hub)
        delivery = asyncio.create_task(deliver(hub, long_adt("M1")))
        await explained(hub, "the store", "STO-002")
        with pytest.raises(Exception, match="disk"):
            await delivery
        there_is_space_again(hub)
        await deliver(hub, adt("M2"))
        assert await stops_of(hub) == []
        assert hub.core.signals.source("inbox").failed == 1


async def test_a_place_that_cannot_be_looked_at_is_a_stop() -> None:
    class Config(SourceConfig):
        """A poll."""

        every: float = 0.05

    class Letters(Poller[Config]):
        """A letter box."""

        kind = "letters"
        locked = True

        async def poll(self, deliver: Any) -> None:
            if self.locked:
                raise OSError(13, "Permission denied")

    box = Letters("box", Config(kind="letters"))
    await box.open(None)  # type: ignore[arg-type]
    await until(lambda: box.failure)
    assert (box.failure_code, box.failure) == ("SYS-001", "box: Permission denied")
    assert time.time() - (box.failing_since or 0) < 5
    Letters.locked = False
    await until(lambda: box.failure is None and box.failing_since is None)
    await box.close()


async def test_what_a_person_has_paused_is_a_stop_that_says_so(world: World, tmp_path: Path) -> None:
    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        await ask(hub, "pause", name="ehr")
        assert "paused" in (await explained(hub, "connection ehr", "ALR-009"))["text"]
        await ask(hub, "resume", name="ehr")
        assert await stops_of(hub) == []


@pytest.mark.both_stores
async def test_the_longest_lanes_say_what_waits_behind_which_message(world: World, tmp_path: Path) -> None:
    @world.partner
    async def ehr(message: Message) -> Message | None:
        raise MessageRejected("no such doctor", answer="AR", final=True)

    async with running_hub(clinic_folder(tmp_path, FLOW.replace("ehr: {", "ehr: {on_rejected: hold, "))) as hub:
        first = await deliver(hub, adt("M1", "7700042"))
        for number in range(4):
            await deliver(hub, adt(f"N{number}", "7700042"))
        await deliver(hub, adt("O1", "9"))
        await until(lambda: hub.core.signals.target("to:ehr").held == 2 and hub.core.signals.target("flow:work").done == 6)
        lanes = (await ask(hub, "status", lanes=20))["lanes"]
        assert [(line["where"], line["waiting"], line["state"]) for line in lanes] == [
            ("connection ehr", 5, "held"),
            ("connection ehr", 1, "held"),
        ]
        [sent] = [row for row in await hub.core.reader.children(first.ids) if row.direction == "out"]
        assert lanes[0]["first"] == sent.id
        assert "no such doctor" in lanes[0]["reason"]
        assert "7700042" not in str(lanes)
        assert len((await ask(hub, "status", lanes=1))["lanes"]) == 1
        assert "lanes" not in await ask(hub, "status")
