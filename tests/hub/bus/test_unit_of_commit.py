"""A run of steps up to the next `ask` is one commit; a question parks the flow, its answer continues it (sentence 4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hub.bus.hub import Hub
from hub.errors import ConnectionDown, MessageRejected, MessageUnusable
from hub.message import Message
from hub.step import Context, Due, StepResult
from tests.hub.bus.probe import Place, Thing, World, adt, control_ids, deliver, in_turn, one, rows, states
from tests.support import ask, clinic_folder, running_hub, settled, until

pytestmark = pytest.mark.both_stores

FLOW = """
connections:
  inbox: {kind: probe_in}
  payer: {kind: probe_out, retry: {first: 20ms, most: 50ms, attempts: "2"}@MORE@}
  pms: {kind: probe_out}
flows:
  work:
    from: inbox
    steps:
      - {probe: before}
      - {ask: payer}
      - {probe: after}
      - {send: pms}
  failures: {from: {failed: work}, steps: [{probe: failure}]}
"""
PLAIN = """
connections:
  inbox: {kind: probe_in}
  pms: {kind: probe_out}
flows:
  work: {from: inbox, steps: [{probe: work}, {send: pms}]}
"""


def clinic(folder: Path, more: str = "") -> Path:
    return clinic_folder(folder, FLOW.replace("@MORE@", more))


async def answer_to(message: Message) -> Message:
    return Message(b"answer to " + message.id.encode(), "bytes")


# One commit.


async def wants_everything(message: Message, context: Context) -> StepResult:
    """One of each thing a run can want."""
    await context.save(Thing(id=message.id, text="saved"))
    context.plan(Due("probe", message.id, datetime.now(UTC) + timedelta(days=1)))
    context.key("booking", message.id)
    context.note("seen", "noted")
    return message


async def test_what_a_run_wants_and_its_done_mark_are_seen_together(world: World, tmp_path: Path, store: Place) -> None:
    """Another program that looks all the time never sees a part of a run."""
    world.steps["work"] = wants_everything
    query = """
        SELECT (SELECT count(*) FROM work WHERE target = 'flow:work' AND state = 'delivered'),
            (SELECT count(*) FROM message WHERE direction = 'out'), (SELECT count(*) FROM record), (SELECT count(*) FROM due),
            (SELECT count(*) FROM message_key WHERE kind = 'booking') / 2, (SELECT count(*) FROM note)
    """
    async with running_hub(clinic_folder(tmp_path, PLAIN)) as hub:
        seen: set[tuple[int, ...]] = set()
        for patient in range(60):
            await deliver(hub, *(adt(f"M{patient}-{number}", str(number)) for number in range(5)))
            seen.add((await asyncio.to_thread(rows, store, query))[0])
        await settled(hub)
        seen.add(rows(store, query)[0])
    assert [counts for counts in seen if len(set(counts)) != 1] == []
    assert max(seen) == (300,) * 6


async def test_a_run_that_fails_leaves_nothing_behind(world: World, tmp_path: Path, store: Place) -> None:
    @world.step
    async def work(message: Message, context: Context) -> StepResult:
        await wants_everything(message, context)
        context.send("pms", message)
        raise MessageUnusable("and then it failed")

    async with running_hub(clinic_folder(tmp_path, PLAIN)) as hub:
        receipt = await deliver(hub, adt("M1"))
        assert await receipt.outcome(5.0) == "quarantined"
    assert [one(store, f"SELECT count(*) FROM {table}") for table in ("record", "due", "note")] == [0, 0, 0]
    assert one(store, "SELECT count(*) FROM message") == 1
    assert world.sent == {}


def half_character_as_key(context: Context) -> None:
    context.key("booking", "\ud800")


def half_character_as_due(context: Context) -> None:
    context.plan(Due("probe", "\ud800", datetime.now(UTC) + timedelta(days=1)))


@pytest.mark.parametrize("poison", [half_character_as_key, half_character_as_due])
async def test_a_run_whose_changes_cannot_be_kept_is_quarantined_and_its_lane_goes_on(
    world: World, tmp_path: Path, store: Place, poison: Callable[[Context], None]
) -> None:
    @world.step
    async def work(message: Message, context: Context) -> StepResult:
        await wants_everything(message, context)
        if b"BAD" in message.body:
            poison(context)
        return message

    async with running_hub(clinic_folder(tmp_path, PLAIN)) as hub:
        bad, good = await in_turn(hub, [adt("BAD"), adt("GOOD")])
        assert await good.outcome(3.0) == "delivered"
        assert await bad.outcome(3.0) == "quarantined"
        await until(lambda: control_ids(world.sent.get("pms", [])) == ["GOOD"])
    assert one(store, "SELECT count(*) FROM record") == 1


RAISED = [
    ValueError("x"),
    KeyError("x"),
    MemoryError(),
    RecursionError(),
    AssertionError(),
    asyncio.CancelledError(),
    TimeoutError(),
]


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
async def test_whatever_a_step_raises_its_message_is_quarantined_and_its_lane_goes_on(
    world: World, tmp_path: Path, error: BaseException
) -> None:
    @world.step
    async def work(message: Message, context: Context) -> StepResult:
        if b"BAD" in message.body:
            raise error
        return message

    async with running_hub(clinic_folder(tmp_path, PLAIN)) as hub:
        bad, good = await in_turn(hub, [adt("BAD"), adt("GOOD")])
        assert await good.outcome(3.0) == "delivered"
        assert await bad.outcome(3.0) == "quarantined"


async def test_a_step_that_hangs_keeps_only_its_own_lane(world: World, tmp_path: Path) -> None:
    hanging = asyncio.Event()

    @world.step
    async def work(message: Message, context: Context) -> StepResult:
        if b"BAD" in message.body:
            await hanging.wait()
        return message

    async with running_hub(clinic_folder(tmp_path, PLAIN)) as hub:
        _, same, other = await in_turn(hub, [adt("BAD", "1"), adt("SAME", "1"), adt("OTHER", "2")])
        assert await other.outcome(3.0) == "delivered"
        assert await same.outcome(0.0) == "waiting"
        hanging.set()
        assert await same.outcome(3.0) == "delivered"


async def test_a_step_that_cannot_reach_something_is_run_again_without_an_attempt(
    world: World, tmp_path: Path, store: Place
) -> None:
    left = [ConnectionDown("the code service is away", retry_after=0.02)] * 3

    @world.step
    async def work(message: Message, context: Context) -> StepResult:
        if left:
            raise left.pop()
        return message

    async with running_hub(clinic_folder(tmp_path, PLAIN)) as hub:
        _, second = await in_turn(hub, [adt("M1"), adt("M2")])
        assert await second.outcome(5.0) == "delivered"
        assert control_ids(world.sent["pms"]) == ["M1", "M2"]
    assert rows(store, "SELECT attempts FROM work WHERE target = 'flow:work'") == [(0,), (0,)]


# Conflicts.


async def test_runs_that_change_the_same_record_lose_no_change(world: World, tmp_path: Path, store: Place) -> None:
    """A conflict undoes that set alone and its flow runs again on what is there then."""

    @world.step
    async def work(message: Message, context: Context) -> StepResult:
        thing = await context.get(Thing, "counter") or Thing(id="counter")
        await context.save(thing.model_copy(update={"count": thing.count + 1}))
        return message

    async with running_hub(clinic_folder(tmp_path, PLAIN)) as hub:
        await asyncio.gather(*(deliver(hub, adt(f"M{number}", str(number))) for number in range(40)))
        await settled(hub)
        assert (await ask(hub, "thing.look", id="counter"))["count"] == 40
    assert states(store, "flow:work") == ["delivered"] * 40
    assert one(store, "SELECT version FROM record") == 40
    assert len(world.runs) > 40, "there was no conflict, so nothing was shown"
    assert sorted(control_ids(world.sent["pms"])) == sorted(f"M{number}" for number in range(40)), "each was sent once"


async def test_a_run_that_only_read_what_changed_meanwhile_runs_again(world: World, tmp_path: Path, store: Place) -> None:
    read, changed = asyncio.Event(), asyncio.Event()

    @world.step
    async def work(message: Message, context: Context) -> StepResult:
        thing = await context.get(Thing, "rule")
        read.set()
        if not changed.is_set():
            await changed.wait()
        await context.save(Thing(id="result", text=thing.text if thing else "no rule"))
        return None

    async with running_hub(clinic_folder(tmp_path, PLAIN)) as hub:
        receipt = await deliver(hub, adt("M1"))
        await read.wait()
        await ask(hub, "thing.change", id="rule", text="new rule")
        changed.set()
        assert await receipt.outcome(5.0) == "delivered"
        assert (await ask(hub, "thing.look", id="result"))["text"] == "new rule"
    assert len(world.runs) == 2


async def test_two_runs_that_make_the_record_of_which_there_may_be_one_end_with_one(
    world: World, tmp_path: Path, store: Place
) -> None:
    @world.step
    async def work(message: Message, context: Context) -> StepResult:
        known = await context.find(Thing, "only", "chart 7")
        await context.save(known[0] if known else Thing(id=context.new_id("t-"), only="chart 7"))
        return None

    async with running_hub(clinic_folder(tmp_path, PLAIN)) as hub:
        await asyncio.gather(*(deliver(hub, adt(f"M{number}", str(number))) for number in range(10)))
        await settled(hub)
    assert one(store, "SELECT count(*) FROM record") == 1
    assert states(store, "flow:work") == ["delivered"] * 10


# Questions.


async def test_a_question_parks_the_flow_and_frees_its_lane(world: World, tmp_path: Path, store: Place) -> None:
    answers: dict[str, asyncio.Future[Message]] = {}

    @world.partner
    async def payer(message: Message) -> Message:
        return await answers.setdefault(control_ids([message])[0], asyncio.get_running_loop().create_future())

    @world.step
    async def before(message: Message, context: Context) -> StepResult:
        return None if b"PLAIN" in message.body else message

    async with running_hub(clinic(tmp_path)) as hub:
        _, plain = await in_turn(hub, [adt("ASKS"), adt("PLAIN")])
        await until(lambda: answers)
        assert await plain.outcome(3.0) == "delivered", "the same patient's next message does not wait for the payer"
        assert states(store, "flow:work") == ["parked", "delivered"]
        assert {m["state"] for m in await ask(hub, "messages.list", state="parked")} == {"parked"}
        answers["ASKS"].set_result(Message(b"yes", "bytes"))
        await settled(hub)
        assert states(store, "flow:work") == ["delivered", "delivered", "delivered"]
        assert world.bodies("pms") == [b"yes"]


async def test_the_answer_is_a_new_message_made_of_the_question(world: World, tmp_path: Path) -> None:
    world.partners["payer"] = answer_to
    got: list[Message] = []

    @world.step
    async def before(message: Message, context: Context) -> StepResult:
        context.key("appointment", "F-77")
        return message.derive(b"question", format="bytes", headers={"visit": "F-77"})

    @world.step
    async def after(message: Message, context: Context) -> StepResult:
        got.append(message)
        return message

    async with running_hub(clinic(tmp_path)) as hub:
        receipt = await deliver(hub, adt("M1"))
        await settled(hub)
        [question] = world.sent["payer"]
        [answer] = got
        assert (question.parent, answer.parent) == (receipt.ids[0], question.id)
        assert answer.body == b"answer to " + question.id.encode()
        assert answer.headers["visit"] == "F-77", "what goes with the question goes with its answer"
        found = {m["id"] for m in await ask(hub, "messages.list", appointment="F-77")}
        assert {receipt.ids[0], question.id, answer.id} <= found
    assert world.runs == [("before", receipt.ids[0]), ("after", answer.id)]


async def test_the_answer_continues_the_flow_after_a_restart_in_between(world: World, tmp_path: Path, store: Place) -> None:
    away = tmp_path / "away"
    away.touch()
    file = clinic(tmp_path, f', away_while: "{away}", answer: "yes"')
    async with running_hub(file) as hub:
        await deliver(hub, adt("M1"))
        await until(lambda: states(store, "flow:work") == ["parked"])
    away.unlink()
    async with running_hub(file) as hub:
        await settled(hub)
    assert world.bodies("pms") == [b"yes"]
    assert [name for name, _ in world.runs] == ["before", "after"]


async def three_questions(message: Message, context: Context) -> StepResult:
    return [message.derive(f"question {number}".encode(), format="bytes") for number in range(3)]


async def test_each_answer_to_several_questions_of_one_run_continues_the_flow(
    world: World, tmp_path: Path, store: Place
) -> None:
    world.steps["before"] = three_questions
    allowed = 0

    @world.partner
    async def payer(message: Message) -> Message:
        await until(lambda: len(world.sent["payer"]) <= allowed)
        return Message(b"answer to " + message.body, "bytes")

    async with running_hub(clinic(tmp_path)) as hub:
        await deliver(hub, adt("M1"))
        for answered in range(3):
            allowed = answered + 1
            await until(lambda: len(world.bodies("pms")) == allowed)  # noqa: B023 - awaited at once
            asking = one(store, "SELECT state FROM work WHERE id = 1")
            assert asking == ("delivered" if allowed == 3 else "parked"), "parked until the last answer"
        await settled(hub)
    assert world.bodies("pms") == [f"answer to question {number}".encode() for number in range(3)]


async def rejecting(message: Message) -> Message | None:
    raise MessageRejected("the payer answered AR", answer="AR", final=True)


async def rejecting_each_time(message: Message) -> Message | None:
    raise MessageRejected("the payer answered AE", answer="AE")


async def saying_nothing(message: Message) -> Message | None:
    return None


async def failing(message: Message) -> Message | None:
    raise RuntimeError


@pytest.mark.parametrize("partner", [rejecting, rejecting_each_time, saying_nothing, failing], ids=lambda p: p.__name__)
async def test_when_the_question_fails_the_asking_work_is_quarantined_and_the_flow_for_failures_runs(
    world: World, tmp_path: Path, store: Place, partner: Callable[[Message], object]
) -> None:
    world.partners["payer"] = partner  # type: ignore[assignment]
    told: list[Message] = []

    @world.step
    async def failure(message: Message, context: Context) -> StepResult:
        told.append(message)
        return None

    async with running_hub(clinic(tmp_path)) as hub:
        receipt = await deliver(hub, adt("M1"))
        await until(lambda: told)
        await settled(hub)
        [asking] = [m for m in await ask(hub, "messages.list", state="quarantined") if m["id"] == receipt.ids[0]]
        assert "its question was not answered" in asking["reason"]
        assert "payer" in asking["reason"]
    assert states(store, "flow:work") == states(store, "to:payer") == ["quarantined"]
    record = told[0].record or told[0].body
    assert (told[0].format, told[0].type) == ("failure", "work")
    assert b"ask:payer" in (record if isinstance(record, bytes) else record.model_dump_json().encode())
    assert [name for name, _ in world.runs] == ["before", "failure"], "the flow did not go on"


@pytest.mark.parametrize("bad", [b"question 0", b"question 1", b"question 2"], ids=["the-first", "the-second", "the-last"])
async def test_when_one_of_several_questions_fails_the_asking_work_is_quarantined(
    world: World, tmp_path: Path, store: Place, bad: bytes
) -> None:
    world.steps["before"] = three_questions

    @world.partner
    async def payer(message: Message) -> Message:
        if message.body == bad:
            raise MessageRejected("the payer answered AR", answer="AR", final=True)
        return await answer_to(message)

    async with running_hub(clinic(tmp_path)) as hub:
        await deliver(hub, adt("M1"))
        await settled(hub)
    assert len(world.bodies("pms")) == 2, "the others were answered"
    assert one(store, "SELECT state FROM work WHERE id = 1") == "quarantined"


async def test_a_step_that_fails_on_the_answer_quarantines_the_answer(world: World, tmp_path: Path, store: Place) -> None:
    world.partners["payer"] = answer_to

    @world.step
    async def after(message: Message, context: Context) -> StepResult:
        raise MessageUnusable("the answer makes no sense")

    async with running_hub(clinic(tmp_path)) as hub:
        await deliver(hub, adt("M1"))
        await settled(hub)
        [stuck] = await ask(hub, "messages.list", state="quarantined")
        assert stuck["connection"] == "payer"
        assert "step probe:after" in stuck["reason"]
    assert states(store, "flow:work") == ["delivered", "quarantined"]
    assert [name for name, _ in world.runs] == ["before", "after", "failure"]


async def test_a_failure_in_the_flow_for_failures_is_the_end_of_it(world: World, tmp_path: Path, store: Place) -> None:
    @world.step
    async def before(message: Message, context: Context) -> StepResult:
        raise MessageUnusable("no use")

    @world.step
    async def failure(message: Message, context: Context) -> StepResult:
        raise MessageUnusable("nor this")

    async with running_hub(clinic(tmp_path)) as hub:
        await deliver(hub, adt("M1"))
        await settled(hub)
    assert (states(store, "flow:work"), states(store, "flow:failures")) == (["quarantined"], ["quarantined"])


async def test_the_answer_waits_for_its_turn_behind_what_its_patient_sent_meanwhile(world: World, tmp_path: Path) -> None:
    """An answer has the lane of its question: it never runs beside another message of the same patient."""
    running = 0
    most = 0

    async def alone(message: Message, context: Context) -> StepResult:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.005)
        running -= 1
        return message

    world.steps["before"] = world.steps["after"] = alone
    world.partners["payer"] = answer_to
    async with running_hub(clinic(tmp_path)) as hub:
        await in_turn(hub, [adt(f"M{number}") for number in range(10)])
        await settled(hub)
    assert len(world.runs) == 20
    assert most == 1


async def test_a_stop_lets_what_is_under_way_end(world: World, tmp_path: Path, store: Place) -> None:
    started = asyncio.Event()

    @world.step
    async def work(message: Message, context: Context) -> StepResult:
        started.set()
        await asyncio.sleep(0.2)
        return message

    hub: Hub
    async with running_hub(clinic_folder(tmp_path, PLAIN)) as hub:
        await in_turn(hub, [adt("M1"), adt("M2")])
        await started.wait()
    assert states(store, "flow:work") == ["delivered", "waiting"], "the first ended, the second was not begun"
