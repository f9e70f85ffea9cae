"""Ids (sentence 5): ordered by time when received, derived when made, so that a repeat changes nothing and a replay is new."""

from __future__ import annotations

import itertools
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from hub.errors import MessageRejected
from hub.message import Message, derived_id, new_id
from hub.step import Context, Due, StepResult
from tests.hub.bus.probe import Place, Thing, World, adt, deliver, in_turn, one, rows, tamper
from tests.support import ask, clinic_folder, running_hub, settled, until

pytestmark = pytest.mark.both_stores

ID = re.compile(r"[0-9a-hjkmnp-tv-z]{20}")
FLOW = """
connections:
  inbox: {kind: probe_in}
  payer: {kind: probe_out}
  pms: {kind: probe_out, on_rejected: quarantine}
flows:
  work:
    from: inbox
    steps:
      - {probe: work}
      - {send: pms}
  questions: {from: inbox, when: {type: ADT^A08}, steps: [{ask: payer}, {probe: after}]}
"""


# Received.


def test_ids_of_received_messages_are_ordered_by_time() -> None:
    ids = []
    for _ in range(20):
        ids.append(new_id())
        time.sleep(0.002)
    assert sorted(ids) == ids
    assert all(ID.fullmatch(id) for id in ids)


def test_ids_of_the_same_millisecond_differ() -> None:
    assert len({new_id() for _ in range(20_000)}) == 20_000


async def test_a_message_keeps_the_id_deliver_names(world: World, tmp_path: Path, store: Place) -> None:
    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        receipt = await deliver(hub, adt("M1"), adt("M2"))
        kept = [id for (id,) in rows(store, "SELECT id FROM message WHERE direction = 'in' ORDER BY seq")]
        assert list(receipt.ids) == kept


async def test_order_comes_from_seq_and_not_from_ids(world: World, tmp_path: Path) -> None:
    """A clock that stands still or goes back must not reorder anything."""
    ids = ["z" * 20, "5" * 20, "a" * 20, "0" * 20]
    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        await hub.sources["inbox"].deliver(  # type: ignore[attr-defined]
            [Message(adt(f"M{number}"), "hl7v2", id=id) for number, id in enumerate(ids)]
        )
        await settled(hub)
    assert [id for _, id in world.runs] == ids


# Derived.

part = st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
run = st.tuples(part, part, part, st.integers(0, 99), st.integers(0, 9))


@given(run)
@settings(max_examples=200, deadline=None)
def test_a_derived_id_is_twenty_characters_and_always_the_same(of: tuple[str, str, str, int, int]) -> None:
    assert ID.fullmatch(derived_id(*of))
    assert derived_id(*of) == derived_id(*of)


@given(run, run)
@settings(max_examples=200, deadline=None)
def test_another_parent_flow_step_index_or_generation_gives_another_id(
    one_run: tuple[str, str, str, int, int], other: tuple[str, str, str, int, int]
) -> None:
    assert (derived_id(*one_run) == derived_id(*other)) == (one_run == other)


def test_a_derived_id_is_the_same_in_every_version() -> None:
    """Partners recognise repeats by it over an upgrade, so it must never change."""
    assert derived_id("06h0mhv92j334x1c7c1r", "bookings", "send:pms", 0, 0) == "5baz5ebthqnadxm9pwqg"


# What one step of one run makes.


async def makes_much(message: Message, context: Context) -> StepResult:
    await context.save(Thing(id=context.new_id("t-"), text="a"))
    await context.save(Thing(id=context.new_id("t-"), text="b"))
    return [message.derive(f"{number}".encode(), format="bytes") for number in range(3)]


async def test_each_message_a_step_makes_has_an_id_of_its_own(world: World, tmp_path: Path) -> None:
    world.steps["work"] = makes_much
    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        receipt = await deliver(hub, adt("M1"))
        await settled(hub)
    sent = world.sent["pms"]
    assert [message.body for message in sent] == [b"0", b"1", b"2"]
    assert len({message.id for message in sent} | {*receipt.ids}) == 4
    assert {message.parent for message in sent} == {*receipt.ids}
    assert all(ID.fullmatch(message.id) for message in sent)


async def test_a_run_that_is_repeated_after_a_crash_makes_nothing_new(world: World, tmp_path: Path, store: Place) -> None:
    """The work is open again, as if its mark had been lost: ids, messages and records stay the same."""
    world.steps["work"] = makes_much
    file = clinic_folder(tmp_path, FLOW)
    async with running_hub(file) as hub:
        await deliver(hub, adt("M1"))
        await settled(hub)
    before = rows(store, "SELECT id, digest FROM message"), rows(store, "SELECT kind, id FROM record")
    assert tamper(store, "UPDATE work SET state = 'waiting' WHERE target = 'flow:work'") == 1
    async with running_hub(file) as hub:
        await settled(hub)
    assert (rows(store, "SELECT id, digest FROM message"), rows(store, "SELECT kind, id FROM record")) == before
    assert [m.id for m in world.sent["pms"][3:]] == [m.id for m in world.sent["pms"][:3]], "sent again under the same ids"


async def test_what_must_not_change_on_a_repeat_is_stored_under_the_id(world: World, tmp_path: Path, store: Place) -> None:
    """A control number was drawn and stored; a repeat sends what was stored, not what it would make now."""

    @world.step
    async def work(message: Message, context: Context) -> StepResult:
        return message.derive(f"control number {await context.number('isa')}".encode(), format="bytes")

    file = clinic_folder(tmp_path, FLOW)
    async with running_hub(file) as hub:
        await deliver(hub, adt("M1"))
        await settled(hub)
    tamper(store, "UPDATE work SET state = 'waiting' WHERE target = 'flow:work'")
    async with running_hub(file) as hub:
        await settled(hub)
    first, second = world.bodies("pms")
    assert first == second


# Numbers.


async def test_numbers_of_a_counter_are_never_given_twice_not_even_over_restarts(
    world: World, tmp_path: Path, store: Place
) -> None:
    given_out: list[int] = []

    @world.step
    async def work(message: Message, context: Context) -> StepResult:
        given_out.append(await context.number("isa"))
        return None

    file = clinic_folder(tmp_path, FLOW)
    for start in range(3):
        async with running_hub(file) as hub:
            await deliver(hub, *(adt(f"M{start}-{number}", str(number)) for number in range(120)))
            await settled(hub)
            assert one(store, "SELECT value FROM counter") >= max(given_out), "reserved on disk before it is given out"
    assert len(set(given_out)) == len(given_out) == 360


# Replay.


async def replayed(hub: object, id: str, **how: object) -> None:
    result = await ask(hub, "replay", ids=[id], yes=1, **how)  # type: ignore[arg-type]
    assert result["replayed"] == 1


async def test_a_replay_makes_new_ids_in_a_new_generation(world: World, tmp_path: Path, store: Place) -> None:
    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        receipt = await deliver(hub, adt("M1"))
        await settled(hub)
        for generation in (1, 2):
            await replayed(hub, receipt.ids[0])
            await until(lambda: len(world.sent["pms"]) == generation + 1)  # noqa: B023 - awaited at once
            await settled(hub)
    assert [message.generation for message in world.sent["pms"]] == [0, 1, 2]
    assert len({message.id for message in world.sent["pms"]}) == 3
    assert one(store, "SELECT count(*) FROM message WHERE direction = 'out'") == 3


async def test_a_replay_that_keeps_ids_sends_the_same_again(world: World, tmp_path: Path, store: Place) -> None:
    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        receipt = await deliver(hub, adt("M1"))
        await settled(hub)
        await replayed(hub, receipt.ids[0], keep_ids=True)
        await until(lambda: len(world.sent["pms"]) == 2)
        await settled(hub)
    first, second = world.sent["pms"]
    assert (first.id, first.generation) == (second.id, second.generation)
    assert one(store, "SELECT count(*) FROM message WHERE direction = 'out'") == 1, "it is kept once"


async def test_a_replay_of_what_a_connection_sent_sends_the_same_message_again(world: World, tmp_path: Path) -> None:
    broken = True

    @world.partner
    async def pms(message: Message) -> None:
        if broken:
            raise MessageRejected("the partner answered AR", answer="AR", final=True)

    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        await deliver(hub, adt("M1"))
        await settled(hub)
        [stuck] = await ask(hub, "messages.list", state="quarantined")
        broken = False
        await replayed(hub, stuck["id"])
        await settled(hub)
        assert (await ask(hub, "messages.show", id=stuck["id"]))["state"] == "delivered"
    first, second = world.sent["pms"]
    assert first.id == second.id == stuck["id"]
    assert first.body == second.body


async def test_a_replay_from_a_step_begins_there(world: World, tmp_path: Path) -> None:
    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        receipt = await deliver(hub, adt("M1"))
        await settled(hub)
        world.runs.clear()
        await replayed(hub, receipt.ids[0], from_step="send:pms")
        await until(lambda: len(world.sent["pms"]) == 2)
        assert world.runs == []


@pytest.mark.parametrize("keep_ids", [False, True], ids=["new-ids", "same-ids"])
async def test_a_question_that_is_replayed_goes_on_with_the_new_answer(world: World, tmp_path: Path, keep_ids: bool) -> None:
    """What the payer says now counts, and what the flow worked on is what the journal shows."""
    answers = itertools.count(1)
    got: list[tuple[str, bytes]] = []

    @world.partner
    async def payer(message: Message) -> Message:
        return Message(f"answer {next(answers)}".encode(), "bytes")

    @world.step
    async def after(message: Message, context: Context) -> StepResult:
        got.append((message.id, message.body))
        return None

    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        await deliver(hub, adt("M1", trigger="A08"))
        await settled(hub)
        await replayed(hub, world.sent["payer"][0].id, keep_ids=keep_ids)
        await until(lambda: len(got) == 2)
        await settled(hub)
        assert [body for _, body in got] == [b"answer 1", b"answer 2"]
        for id, body in got:
            assert (await ask(hub, "messages.show", id=id, phi=True))["body"].encode() == body


async def test_due_work_that_is_planned_again_for_the_same_moment_is_done_with_its_new_content(
    world: World, tmp_path: Path, store: Place
) -> None:
    """Its id is derived from job, key and time; that must not bring back what was planned before, not even after a restart."""
    moment = datetime.now(UTC) - timedelta(seconds=5)
    texts: list[str] = []

    @world.step
    async def work(message: Message, context: Context) -> StepResult:
        context.plan(Due("probe", "key", moment, {"id": "x", "text": message.headers["text"]}))
        return None

    @world.step
    async def due(message: Message, context: Context) -> StepResult:
        texts.append(getattr(message.record, "text", ""))
        return None

    file = clinic_folder(tmp_path, FLOW + "  planned: {from: {due: probe}, steps: [{probe: due}]}\n")
    async with running_hub(file) as hub:
        for number, words in enumerate(("first", "second")):
            message = Message(adt(f"M{number}"), "hl7v2", headers={"text": words})
            await hub.sources["inbox"].deliver([message])  # type: ignore[attr-defined]
            await until(lambda: len(texts) == number + 1)  # noqa: B023 - awaited at once
            await settled(hub)
    assert texts == ["first", "second"]
    async with running_hub(file) as hub:
        await replayed(
            hub, one(store, "SELECT message.id FROM work JOIN message USING (seq) WHERE format = 'due' ORDER BY work.id DESC")
        )
        await until(lambda: len(texts) == 3)
    assert texts[-1] == "second"


async def test_flow_step_and_configuration_of_work_are_kept(world: World, tmp_path: Path, store: Place) -> None:
    """The journal keeps flow, step name and configuration hash (sentence 12)."""
    text = FLOW.replace("payer: {kind: probe_out}", "payer: {kind: probe_out, answer: yes}")
    async with running_hub(clinic_folder(tmp_path, text)) as hub:
        await in_turn(hub, [adt("M1", trigger="A08")])
        await settled(hub)
    changed = clinic_folder(tmp_path, text.replace("{probe: work}", "{probe: more}"))
    async with running_hub(changed) as hub:
        await in_turn(hub, [adt("M2", trigger="A08")])
        await settled(hub)
    kept = rows(store, "SELECT target, step, config FROM work WHERE target LIKE 'flow:%' ORDER BY target, id")
    questions = [(step, config) for target, step, config in kept if target == "flow:questions"]
    assert [step for step, _ in questions] == ["", "probe:after"] * 2
    assert len({config for _, config in questions}) == 1, "the flow of the questions is as it was"
    first, second = [config for target, _, config in kept if target == "flow:work"]
    assert first != second
