"""Failures of the connection told from failures of the message (sentence 8)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from connectors.simulators.ehr import EhrServer
from hub.bus import flow
from hub.bus.retry import Breaker, wait_before
from hub.connector import Retry
from hub.errors import ConnectionDown, MessageRejected
from hub.message import Message
from hub.step import Context
from tests.hub.bus.probe import World, adt, control_ids, deliver, in_turn, one, rows, states
from tests.support import ask, clinic_folder, free_port, running_hub, settled, until

FLOW = """
connections:
  inbox: {kind: probe_in}
  pms: {kind: probe_out, retry: {first: @FIRST@, most: @MOST@, attempts: "3"}, on_rejected: @POLICY@, parallel: "@PARALLEL@"}
flows:
  work: {from: inbox, steps: [{send: pms}]}
"""
MLLP = """
connections:
  inbox: {kind: probe_in}
  pms: {kind: mllp_sender, host: 127.0.0.1, port: "@PORT@", timeout: 150ms, retry: {first: 10ms, most: 40ms}}
flows:
  work: {from: inbox, steps: [{send: pms}]}
"""


def clinic(folder: Path, *, policy: str = "retry", parallel: int = 1, first: str = "5ms", most: str = "20ms") -> Path:
    text = FLOW.replace("@POLICY@", policy).replace("@PARALLEL@", str(parallel))
    return clinic_folder(folder, text.replace("@FIRST@", first).replace("@MOST@", most))


def attempts(store: Path) -> list[tuple[int, int]]:
    """Work and number of each failed attempt that was counted."""
    return rows(store, "SELECT work, number FROM attempt ORDER BY work, number")  # type: ignore[return-value]


# The connection.


async def test_messages_wait_in_order_for_a_partner_that_is_not_there(world: World, tmp_path: Path, store: Path) -> None:
    port = free_port()
    async with running_hub(clinic_folder(tmp_path, MLLP.replace("@PORT@", str(port)))) as hub:
        await in_turn(hub, [adt(f"M{number}") for number in range(5)])

        async def is_down() -> bool:
            return any(c["name"] == "pms" and c["state"] == "down" for c in (await ask(hub, "status"))["connections"])

        await until(is_down)
        await until(lambda: len(states(store, "to:pms")) == 5)
        [line] = [c for c in (await ask(hub, "status"))["connections"] if c["name"] == "pms"]
        assert line["waiting"] == 5
        assert "cannot connect" in line["last_error"]
        async with EhrServer(port=port) as pms:
            await settled(hub)
            assert pms.control_ids() == [f"M{number}" for number in range(5)]
        [line] = [c for c in (await ask(hub, "status"))["connections"] if c["name"] == "pms"]
        assert (line["state"], line["waiting"], line["last_error"]) == ("up", 0, None)
    assert attempts(store) == []
    assert {n for (n,) in rows(store, "SELECT attempts FROM work WHERE target = 'to:pms'")} == {1}


@pytest.mark.parametrize("trouble", ["silent", "close", "garbage"])
async def test_silence_hanging_up_and_nonsense_count_no_attempt(
    world: World, tmp_path: Path, store: Path, trouble: str
) -> None:
    def script(body: bytes, control_id: str, tries: int) -> str:
        return trouble if tries < 2 and control_id != "M2" else "AA"

    async with EhrServer(script=script) as pms:
        async with running_hub(clinic_folder(tmp_path, MLLP.replace("@PORT@", str(pms.port)))) as hub:
            await in_turn(hub, [adt(f"M{number}") for number in range(1, 4)])
            await settled(hub)
        assert pms.control_ids() == ["M1", "M2", "M3"]
        assert pms.seen == {"M1": 3, "M2": 1, "M3": 3}
    assert attempts(store) == []


async def test_a_connection_that_is_down_for_long_gives_up_no_message(world: World, tmp_path: Path, store: Path) -> None:
    tried = 0

    @world.partner
    async def pms(message: Message) -> None:
        nonlocal tried
        tried += 1
        if tried <= 30:
            raise ConnectionDown("pms: away")

    async with running_hub(clinic(tmp_path, first="1ms", most="2ms")) as hub:
        await in_turn(hub, [adt("M1"), adt("M2")])
        await settled(hub)
    assert states(store, "to:pms") == ["delivered", "delivered"]
    assert attempts(store) == []


async def test_a_message_that_is_not_answered_in_time_while_others_are_waits_alone(
    world: World, tmp_path: Path, store: Path
) -> None:
    """A payer that is slow is no reason to ask no other; and the question is not repeated before its time."""
    times: list[float] = []
    others: list[float] = []

    @world.partner
    async def pms(message: Message) -> None:
        if message.body != adt("M1", "1"):
            others.append(time.monotonic())
            await asyncio.sleep(0.05)
            return
        times.append(time.monotonic())
        if len(times) == 1:
            await asyncio.sleep(0.2)
            raise ConnectionDown("pms: no answer in time", unanswered=True, retry_after=0.6)

    async with running_hub(clinic(tmp_path, parallel=4, first="1ms", most="2ms")) as hub:
        await deliver(hub, adt("M1", "1"))
        await deliver(hub, *(adt(f"M{number}", str(number)) for number in range(2, 40)))
        await until(lambda: len(world.sent.get("pms", [])) >= 39)
        await settled(hub)
    assert len(times) == 2
    assert times[1] - times[0] >= 0.8
    assert [at for at in others if times[0] + 0.25 < at < times[0] + 0.75], "and others went out meanwhile"
    assert attempts(store) == []


async def test_silence_while_nobody_is_answered_is_the_connections(world: World, tmp_path: Path) -> None:
    trying, most = 0, 0

    @world.partner
    async def pms(message: Message) -> None:
        nonlocal trying, most
        trying += 1
        if len(world.sent["pms"]) > 8:
            most = max(most, trying)
        await asyncio.sleep(0.02)
        trying -= 1
        if len(world.sent["pms"]) < 20:
            raise ConnectionDown("pms: no answer in time", unanswered=True)

    async with running_hub(clinic(tmp_path, parallel=4, first="1ms", most="2ms")) as hub:
        await deliver(hub, *(adt(f"M{number}", str(number)) for number in range(6)))
        await until(lambda: len(world.sent.get("pms", [])) >= 16)
        assert most == 1
        await settled(hub)


async def test_while_the_connection_is_down_one_message_at_a_time_finds_out_whether_it_is_up(
    world: World, tmp_path: Path
) -> None:
    trying, most, tried = 0, 0, 0

    @world.partner
    async def pms(message: Message) -> None:
        nonlocal trying, most, tried
        trying, tried = trying + 1, tried + 1
        if tried > 8:
            most = max(most, trying)
        await asyncio.sleep(0.01)
        trying -= 1
        if tried < 25:
            raise ConnectionDown("pms: away")

    async with running_hub(clinic(tmp_path, parallel=8, first="1ms", most="2ms")) as hub:
        await deliver(hub, *(adt(f"M{number}", str(number)) for number in range(20)))
        await until(lambda: tried >= 20)
        assert most == 1
        await settled(hub)


async def test_one_failure_of_a_connection_is_one_step_of_the_backoff_however_many_were_under_way(
    world: World, tmp_path: Path
) -> None:
    """Eight messages under way when the line is cut are one failure, not eight: the first wait follows, not the eighth."""
    tried = 0

    @world.partner
    async def pms(message: Message) -> None:
        nonlocal tried
        tried += 1
        if tried <= 8:
            await until(lambda: tried >= 8)
            raise ConnectionDown("pms: the line was cut")

    async with running_hub(clinic(tmp_path, parallel=8, first="100ms", most="1h")) as hub:
        await deliver(hub, *(adt(f"M{number}", str(number)) for number in range(8)))
        await settled(hub, timeout=2)


async def test_a_message_that_makes_the_partner_hang_up_stops_no_other_key(world: World, tmp_path: Path, store: Path) -> None:
    def script(body: bytes, control_id: str, tries: int) -> str:
        return "close" if control_id == "BAD" else "AA"

    async with EhrServer(script=script) as pms:
        async with running_hub(clinic_folder(tmp_path, MLLP.replace("@PORT@", str(pms.port)))) as hub:
            await in_turn(hub, [adt("BAD", "1"), adt("BEHIND", "1"), *(adt(f"M{n}", str(n)) for n in range(5, 10))])
            await until(lambda: len(pms.received) == 5)
            await until(lambda: pms.seen["BAD"] > 3)
            await deliver(hub, adt("LATER", "99"))
            await until(lambda: "LATER" in pms.control_ids())
        assert pms.control_ids() == [*(f"M{n}" for n in range(5, 10)), "LATER"]
    assert states(store, "to:pms")[:2] == ["waiting", "waiting"]


async def test_a_partner_that_says_when_is_asked_no_sooner(world: World, tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    times: list[float] = []

    @world.partner
    async def pms(message: Message) -> None:
        times.append(loop.time())
        if len(times) == 1:
            raise ConnectionDown("pms: busy", retry_after=0.4)

    async with running_hub(clinic(tmp_path)) as hub:
        await deliver(hub, adt("M1"))
        await settled(hub)
    assert 0.38 < times[1] - times[0] < 1.5


# Backoff and breaker, without a clock.


@given(st.integers(1, 100_000), st.floats(0.001, 60), st.floats(0.001, 3600))
@settings(max_examples=200, deadline=None)
def test_waits_double_up_to_the_longest_with_jitter_below(attempt: int, first: float, most: float) -> None:
    wait = wait_before(attempt, Retry(first=first, most=most))
    full = min(most, first * 2.0 ** min(attempt - 1, 1000))
    assert 0.75 * full <= wait <= full


def test_waits_are_spread_by_chance() -> None:
    assert len({wait_before(3, Retry()) for _ in range(50)}) > 40


def test_a_breaker_lets_one_try_through_after_its_wait_and_closes_when_that_worked() -> None:
    breaker = Breaker(Retry(first=10.0, most=100.0))
    assert breaker.may_try(0.0, under_way=5)
    assert 7.5 <= breaker.failed(0.0, "away") <= 10.0
    assert not breaker.may_try(7.0, under_way=0)
    assert breaker.may_try(10.0, under_way=0)
    assert not breaker.may_try(10.0, under_way=1), "one at a time"
    assert 25.0 <= breaker.failed(10.0, "away") <= 30.0
    assert breaker.worked()
    assert breaker.may_try(10.0, under_way=5)
    assert not breaker.worked(), "it was up already"


def test_no_partner_can_make_the_hub_wait_for_ever() -> None:
    assert Breaker(Retry()).failed(0.0, "busy", retry_after=10**9) <= 3600.0


# The message.


async def refusing_m1(message: Message) -> None:
    if b"M1" in message.body:
        raise MessageRejected("the partner answered AE", answer="AE")


@pytest.mark.parametrize(
    ("policy", "state", "tries"),
    [("retry", "quarantined", 3), ("quarantine", "quarantined", 1), ("skip", "skipped", 1), ("hold", "held", 1)],
)
async def test_a_refusal_counts_and_the_policy_says_what_follows(
    world: World, tmp_path: Path, store: Path, policy: str, state: str, tries: int
) -> None:
    world.partners["pms"] = refusing_m1  # type: ignore[assignment]
    async with running_hub(clinic(tmp_path, policy=policy)) as hub:
        await in_turn(hub, [adt("M1", "1"), adt("M2", "1"), adt("M3", "3")])
        await until(lambda: states(store, "to:pms")[:1] == [state])
        await until(lambda: states(store, "to:pms")[2:] == ["delivered"])
        if policy != "hold":
            await settled(hub)
        [found] = await ask(hub, "messages.list", control_id="M1", connection="pms")
        assert (found["state"], found["attempts"]) == (state, tries)
        assert "AE" in found["reason"]
        shown = await ask(hub, "messages.show", id=found["id"])
        assert [a["number"] for a in shown["attempts_made"]] == list(range(1, tries + 1))
        assert shown["path"][0]["answer"] == "AE"
    assert states(store, "to:pms")[1] == ("waiting" if policy == "hold" else "delivered")
    assert control_ids(world.sent["pms"]).count("M1") == tries


@pytest.mark.parametrize("code", ["AE", "AR", "CE", "CR"])
async def test_each_negative_acknowledgement_counts_as_an_attempt(world: World, tmp_path: Path, store: Path, code: str) -> None:
    async with EhrServer(script=lambda body, control_id, tries: code if tries == 0 else "AA") as pms:
        file = clinic_folder(tmp_path, MLLP.replace("@PORT@", str(pms.port)))
        async with running_hub(file) as hub:
            await deliver(hub, adt("M1"))
            await settled(hub)
    assert attempts(store) == [(2, 1)]
    assert rows(store, "SELECT state, attempts, answer FROM work WHERE target = 'to:pms'") == [("delivered", 2, "AA")]


async def test_a_refusal_that_is_final_is_not_tried_again(world: World, tmp_path: Path, store: Path) -> None:
    @world.partner
    async def pms(message: Message) -> None:
        raise MessageRejected("the partner answered 422", answer="422", final=True)

    async with running_hub(clinic(tmp_path)) as hub:
        await deliver(hub, adt("M1"))
        await settled(hub)
    assert states(store, "to:pms") == ["quarantined"]
    assert len(world.sent["pms"]) == 1


async def test_an_outage_between_two_refusals_counts_nothing(world: World, tmp_path: Path, store: Path) -> None:
    story = [
        MessageRejected("AE", answer="AE"),
        ConnectionDown("away"),
        ConnectionDown("away"),
        MessageRejected("AE", answer="AE"),
        None,
    ]

    @world.partner
    async def pms(message: Message) -> None:
        if (error := story.pop(0)) is not None:
            raise error

    async with running_hub(clinic(tmp_path)) as hub:
        await deliver(hub, adt("M1"))
        await settled(hub)
    assert (states(store, "to:pms"), [number for _, number in attempts(store)]) == (["delivered"], [1, 2])


async def test_a_wait_for_the_next_attempt_goes_on_after_a_restart(world: World, tmp_path: Path, store: Path) -> None:
    world.partners["pms"] = refusing_m1  # type: ignore[assignment]
    file = clinic(tmp_path, first="1h", most="2h")
    async with running_hub(file) as hub:
        await in_turn(hub, [adt("M1", "1"), adt("M2", "1")])
        await until(lambda: attempts(store))
        await until(lambda: states(store, "flow:work") == ["delivered", "delivered"])
    async with running_hub(file) as hub:
        await deliver(hub, adt("M3", "3"))
        await until(lambda: states(store, "to:pms") == ["waiting", "waiting", "delivered"])
    assert control_ids(world.sent["pms"]) == ["M1", "M3"]
    assert one(store, "SELECT attempts FROM work WHERE target = 'to:pms' ORDER BY id LIMIT 1") == 1


# Hold.


async def test_a_held_message_keeps_its_lane_until_a_person_replays_it_and_then_goes_first(
    world: World, tmp_path: Path, store: Path
) -> None:
    """What waited behind it is newer: letting that go first would undo it (first deliveries are in arrival order)."""
    broken = True
    accepted: list[str] = []

    @world.partner
    async def pms(message: Message) -> None:
        [id] = control_ids([message])
        if broken and id == "M1":
            raise MessageRejected("the partner answered AE", answer="AE")
        accepted.append(id)

    async with running_hub(clinic(tmp_path, policy="hold")) as hub:
        await in_turn(hub, [adt("M1", "1"), adt("M2", "1"), adt("M3", "1"), adt("OTHER", "2")])
        await until(lambda: accepted == ["OTHER"])
        await until(lambda: states(store, "flow:work") == ["delivered"] * 4)
        [line] = [c for c in (await ask(hub, "status"))["connections"] if c["name"] == "pms"]
        assert (line["held"], line["waiting"]) == (1, 3)
        broken = False
        assert (await ask(hub, "replay", state="held", yes=1))["replayed"] == 1
        await settled(hub)
    assert sorted(accepted) == ["M1", "M2", "M3", "OTHER"]
    assert accepted == ["OTHER", "M1", "M2", "M3"]


async def test_a_held_lane_is_still_held_after_a_restart(world: World, tmp_path: Path, store: Path) -> None:
    world.partners["pms"] = refusing_m1  # type: ignore[assignment]
    file = clinic(tmp_path, policy="hold")
    async with running_hub(file) as hub:
        await in_turn(hub, [adt("M1", "1"), adt("M2", "1")])
        await until(lambda: states(store, "to:pms") == ["held", "waiting"])
    async with running_hub(file) as hub:
        await in_turn(hub, [adt("M3", "1"), adt("M4", "4")])
        await until(lambda: states(store, "to:pms") == ["held", "waiting", "waiting", "delivered"])
        world.partners.clear()
        await ask(hub, "replay", state="held", yes=1)
        await settled(hub)
    assert sorted(control_ids(world.sent["pms"])) == ["M1", "M1", "M2", "M3", "M4"]


# Plugins.


@pytest.mark.parametrize(
    "error", [ValueError("x"), OSError("x"), TimeoutError(), asyncio.CancelledError()], ids=lambda e: type(e).__name__
)
async def test_whatever_a_destination_raises_stops_no_lane(
    world: World, tmp_path: Path, store: Path, error: BaseException
) -> None:
    @world.partner
    async def pms(message: Message) -> None:
        if b"M1" in message.body:
            raise error

    async with running_hub(clinic(tmp_path)) as hub:
        await in_turn(hub, [adt("M1", "1"), adt("M2", "1"), adt("M3", "3")])
        await until(lambda: states(store, "to:pms")[1:] == ["delivered", "delivered"], timeout=3)
        await settled(hub)
    assert states(store, "to:pms") == ["quarantined", "delivered", "delivered"]


async def test_a_step_that_never_ends_stops_no_lane(
    world: World, tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "STEP_TIMEOUT", 0.3)

    @world.step
    async def slow(message: Message, context: Context) -> Message:
        if b"M1" in message.body:
            await asyncio.sleep(60)
        return message

    steps = "connections:\n  inbox: {kind: probe_in}\nflows:\n  work: {from: inbox, steps: [{probe: slow}]}\n"
    async with running_hub(clinic_folder(tmp_path, steps)) as hub:
        await in_turn(hub, [adt("M1", "1"), adt("M2", "1"), adt("M3", "3")])
        await until(lambda: states(store, "flow:work") == ["quarantined", "delivered", "delivered"], timeout=5)
    assert "the steps took longer than they may" in one(store, "SELECT reason FROM work WHERE state = 'quarantined'")


@pytest.mark.parametrize(
    "text",
    [pytest.param(lambda: "half a character: \ud800", id="half-character"), pytest.param(lambda: "x" * 10**6, id="very-long")],
)
async def test_whatever_a_partner_says_stops_no_lane(
    world: World, tmp_path: Path, store: Path, text: Callable[[], str]
) -> None:
    @world.partner
    async def pms(message: Message) -> None:
        if b"M1" in message.body:
            raise MessageRejected(text(), answer=text(), final=True)

    async with running_hub(clinic(tmp_path)) as hub:
        await in_turn(hub, [adt("M1", "1"), adt("M2", "1")])
        await until(lambda: states(store, "to:pms") == ["quarantined", "delivered"], timeout=3)
