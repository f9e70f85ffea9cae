"""Skip and edit-and-resend: order kept, lineage kept, audited, never while a message is being worked on."""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import pytest

from hub.bus.core import open_core
from hub.bus.hub import Hub
from hub.bus.operations import Operations
from hub.cli.operate import operate
from hub.clinic import load_clinic
from hub.console.api import ControlSocket
from hub.errors import ConnectionDown, MessageRejected, NotFound, Refused
from hub.message import Message
from hub.step import Context, StepResult
from tests.hub.bus.probe import Place, World, adt, control_ids, deliver, in_turn, one, rows, states
from tests.support import ask, clinic_folder, running_hub, settled, until

pytestmark = pytest.mark.both_stores

FLOW = """
connections:
  inbox: {kind: probe_in}
  pms: {kind: probe_out, on_rejected: POLICY, retry: {first: 10ms, most: 20ms, attempts: "3"}}
flows:
  work: {from: inbox, steps: [{probe: work}, {send: pms}]}
"""
ASKING = """
connections:
  inbox: {kind: probe_in}
  payer: {kind: probe_out, on_rejected: POLICY}
flows:
  work: {from: inbox, steps: [{ask: payer}, {probe: work}]}
"""


def clinic(folder: Path, policy: str, text: str = FLOW) -> Path:
    return clinic_folder(folder, text.replace("POLICY", policy))


@pytest.fixture
def refusing(world: World) -> World:
    async def answer(message: Message) -> Message:
        if b"BAD" in message.body:
            raise MessageRejected("no", answer="AE", final=True)
        return Message(b"yes", "bytes")

    world.partners["pms"] = world.partners["payer"] = answer
    return world


async def edit(hub: Hub, id: str, body: bytes) -> dict[str, Any]:
    return dict(await ask(hub, "messages.edit", id=id, body=b64encode(body).decode()))


async def sent_as(hub: Hub, control_id: str, connection: str = "pms") -> str:
    [line] = await ask(hub, "messages.list", control_id=control_id, connection=connection)
    return str(line["id"])


# Skip.


async def test_a_held_message_that_is_skipped_lets_its_lane_go_on(refusing: World, tmp_path: Path, store: Place) -> None:
    async with running_hub(clinic(tmp_path, "hold")) as hub:
        await in_turn(hub, [adt("BAD1", "7"), adt("M2", "7"), adt("M3", "7")])
        await until(lambda: "held" in states(store, "to:pms"))
        id = await sent_as(hub, "BAD1")
        assert await ask(hub, "messages.skip", id=id) == {"id": id, "skipped": ["to:pms"]}
        await settled(hub)
        shown = await ask(hub, "messages.show", id=id)
        assert (shown["state"], shown["reason"]) == ("skipped", "skipped by test")
        with pytest.raises(Refused, match="nothing"):
            await ask(hub, "messages.skip", id=id)
    assert control_ids(refusing.sent["pms"]) == ["BAD1", "M2", "M3"]
    assert rows(store, "SELECT action, object FROM audit WHERE action = 'messages.skip'") == [("messages.skip", id)]


async def test_what_stands_behind_others_is_skipped_where_it_stands_also_when_it_is_on_disk_only(
    refusing: World, tmp_path: Path, store: Place
) -> None:
    async with running_hub(clinic(tmp_path, "hold")) as hub:
        await in_turn(hub, [adt("BAD1", "7"), *(adt(f"M{n}", "7") for n in range(100))])
        await until(lambda: states(store, "to:pms")[:1] == ["held"] and len(states(store, "to:pms")) == 101)
        for skipped in ("M3", "M99"):
            await ask(hub, "messages.skip", id=await sent_as(hub, skipped))
        await ask(hub, "messages.skip", id=await sent_as(hub, "BAD1"))
        await settled(hub)
    assert control_ids(refusing.sent["pms"])[1:] == [f"M{n}" for n in range(99) if n != 3]


async def test_a_message_under_way_is_not_skipped_and_not_edited(refusing: World, tmp_path: Path) -> None:
    gate, going = asyncio.Event(), asyncio.Event()

    async def slow(_: Message) -> None:
        going.set()
        await gate.wait()

    refusing.partners["pms"] = slow  # type: ignore[assignment]
    async with running_hub(clinic(tmp_path, "hold")) as hub:
        await deliver(hub, adt("M1"))
        await going.wait()
        id = await sent_as(hub, "M1")
        with pytest.raises(Refused, match="this moment"):
            await ask(hub, "messages.skip", id=id)
        with pytest.raises(Refused, match="this moment"):
            await edit(hub, id, adt("M1B"))
        gate.set()
        await settled(hub)
    assert control_ids(refusing.sent["pms"]) == ["M1"]


async def test_what_waits_for_a_partner_that_is_down_can_be_skipped(world: World, tmp_path: Path, store: Place) -> None:
    @world.partner
    async def pms(_: Message) -> None:
        raise ConnectionDown("away", retry_after=1.5)

    async with running_hub(clinic(tmp_path, "hold")) as hub:
        await in_turn(hub, [adt("M1", "1"), adt("M2", "2"), adt("M3", "1")])
        await until(lambda: hub.targets["to:pms"].breaker.down and len(states(store, "to:pms")) == 3)  # type: ignore[attr-defined]
        await until(lambda: not hub.targets["to:pms"].running)
        await ask(hub, "messages.skip", id=await sent_as(hub, "M1"))
        world.partners.clear()
        world.sent.clear()
        await settled(hub)
    assert sorted(control_ids(world.sent["pms"])) == ["M2", "M3"]


async def test_a_flow_that_asked_hears_that_its_question_was_skipped(refusing: World, tmp_path: Path, store: Place) -> None:
    async with running_hub(clinic(tmp_path, "hold", ASKING)) as hub:
        receipt = await deliver(hub, adt("BAD1"))
        await until(lambda: "held" in states(store, "to:payer"))
        with pytest.raises(Refused, match="question"):
            await ask(hub, "messages.skip", id=receipt.ids[0])
        await ask(hub, "messages.skip", id=await sent_as(hub, "BAD1", "payer"))
        [work] = rows(store, "SELECT state, reason FROM work WHERE target = 'flow:work'")
        assert work[0] == "quarantined"
        assert "skipped by test" in work[1]


async def test_a_quarantined_message_can_be_put_away(refusing: World, tmp_path: Path, store: Place) -> None:
    file = clinic(tmp_path, "quarantine")
    async with running_hub(file) as hub:
        await deliver(hub, adt("BAD1"))
        await settled(hub)
        id = await sent_as(hub, "BAD1")
    core = await open_core(load_clinic(file))
    try:
        await Operations(core).run("messages.skip", {"id": id}, "carla")
        with pytest.raises(NotFound):
            await Operations(core).run("messages.skip", {"id": "nothing"}, "carla")
    finally:
        await core.close()
    assert states(store, "to:pms") == ["skipped"]


# Edit.


async def test_an_edited_message_takes_the_place_of_the_one_that_is_held(refusing: World, tmp_path: Path, store: Place) -> None:
    async with running_hub(clinic(tmp_path, "hold")) as hub:
        await in_turn(hub, [adt("BAD1", "7"), adt("M2", "7")])
        await until(lambda: "held" in states(store, "to:pms"))
        await until(lambda: len(states(store, "to:pms")) == 2)
        id = await sent_as(hub, "BAD1")
        raw = b64decode((await ask(hub, "messages.show", id=id, phi=True, raw=True))["raw"])
        told = await edit(hub, id, raw.replace(b"BAD1", b"GOOD1").replace(b"\r", b"\n"))
        assert told["works"] == [{"target": "to:pms", "place": "kept"}]
        await settled(hub)
        new, old = await ask(hub, "messages.show", id=told["id"]), await ask(hub, "messages.show", id=id)
        assert (new["parent"], new["state"], new["flag"], new["late"]) == (id, "delivered", "edited", False)
        assert new["attempts_made"] == []
        assert (old["state"], old["reason"]) == ("skipped", f"replaced by {told['id']}")
        assert len(old["attempts_made"]) == 1, "its attempts stay its own"
        assert "edited" in [entry["what"] for entry in (await ask(hub, "trace", id=id))["entries"]]
    assert control_ids(refusing.sent["pms"]) == ["BAD1", "GOOD1", "M2"]
    assert b"\n" not in refusing.bodies("pms")[1], "lines end as those of the original did"
    [(detail, object)] = rows(store, "SELECT detail, object FROM audit WHERE action = 'messages.edit'")
    assert object == id
    assert "body" not in detail


async def test_an_edited_message_that_is_still_on_disk_only_is_not_sent_as_it_was(
    refusing: World, tmp_path: Path, store: Place
) -> None:
    async with running_hub(clinic(tmp_path, "hold")) as hub:
        await in_turn(hub, [adt("BAD1", "7"), *(adt(f"M{n}", "7") for n in range(80))])
        await until(lambda: states(store, "to:pms")[:1] == ["held"] and len(states(store, "to:pms")) == 81)
        await edit(hub, await sent_as(hub, "M70"), adt("EDITED", "7"))
        await ask(hub, "messages.skip", id=await sent_as(hub, "BAD1"))
        await settled(hub)
    assert control_ids(refusing.sent["pms"])[1:] == [f"M{n}" if n != 70 else "EDITED" for n in range(80)]


async def test_an_edited_message_outlives_a_restart(refusing: World, tmp_path: Path, store: Place) -> None:
    file = clinic(tmp_path, "hold")
    async with running_hub(file) as hub:
        await in_turn(hub, [adt("BAD1", "7"), adt("M2", "7")])
        await until(lambda: "held" in states(store, "to:pms"))
        await until(lambda: len(states(store, "to:pms")) == 2)
        await ask(hub, "pause", name="pms")
        await edit(hub, await sent_as(hub, "BAD1"), adt("GOOD1", "7"))
    async with running_hub(file) as hub:
        await ask(hub, "resume", name="pms")
        await settled(hub)
    assert control_ids(refusing.sent["pms"]) == ["BAD1", "GOOD1", "M2"]


async def test_what_was_received_is_edited_and_routed_anew_and_is_late(world: World, tmp_path: Path, store: Place) -> None:
    @world.step
    async def work(message: Message, context: Context) -> StepResult:
        if b"BAD" in message.body:
            raise ValueError("no")
        return message

    async with running_hub(clinic(tmp_path, "hold")) as hub:
        receipt = await deliver(hub, adt("BAD1", "7"))
        await settled(hub)
        told = await edit(hub, receipt.ids[0], adt("GOOD1", "8"))
        assert told["works"] == [{"target": "flow:work", "place": "end"}]
        await settled(hub)
        assert (await ask(hub, "messages.show", id=receipt.ids[0]))["state"] == "skipped"
        again = await ask(hub, "replay", connection="inbox", dry_run=True)
        assert again["messages"] == [told["id"]], "the original is over, unless it is named"
        assert (await ask(hub, "replay", ids=[receipt.ids[0]], dry_run=True))["count"] == 1
        [out] = await ask(hub, "messages.list", connection="pms")
        assert (out["state"], out["late"]) == ("delivered", True)
        [found] = await ask(hub, "messages.list", patient="8", connection="inbox")
        assert (found["id"], found["late"]) == (told["id"], True)
    assert control_ids(world.sent["pms"]) == ["GOOD1"]


@pytest.mark.parametrize("policy", ["hold", "quarantine"])
async def test_the_answer_to_an_edited_question_continues_the_flow(
    refusing: World, tmp_path: Path, store: Place, policy: str
) -> None:
    async with running_hub(clinic(tmp_path, policy, ASKING)) as hub:
        await deliver(hub, adt("BAD1"))
        await until(lambda: states(store, "to:payer") in (["held"], ["quarantined"]))
        await edit(hub, await sent_as(hub, "BAD1", "payer"), adt("GOOD1"))
        await settled(hub)
        assert sorted(states(store, "flow:work")) == ["delivered", "delivered"]
    assert [step for step, _ in refusing.runs] == ["work"]


@pytest.mark.parametrize("body", [b"", b"no message at all"], ids=["empty", "not-hl7"])
async def test_a_file_that_is_no_message_changes_nothing(refusing: World, tmp_path: Path, store: Place, body: bytes) -> None:
    async with running_hub(clinic(tmp_path, "hold")) as hub:
        receipt = await deliver(hub, adt("M1"))
        await settled(hub)
        with pytest.raises(Refused, match="hl7v2"):
            await edit(hub, receipt.ids[0], body)
        with pytest.raises(Refused, match="base64"):
            await ask(hub, "messages.edit", id=receipt.ids[0], body="%%%")
    assert one(store, "SELECT count(*) FROM message WHERE parent IS NULL") == 1


# What was done late.


async def test_what_is_delivered_after_a_quarantine_is_marked_in_the_list(refusing: World, tmp_path: Path) -> None:
    async with running_hub(clinic(tmp_path, "quarantine")) as hub:
        await in_turn(hub, [adt("BAD1", "7"), adt("M2", "7")])
        await settled(hub)
        refusing.partners.clear()
        await ask(hub, "replay", ids=[await sent_as(hub, "BAD1")], yes=1)
        await settled(hub)
        late = {m["control_id"]: m["late"] for m in await ask(hub, "messages.list", connection="pms")}
    assert late == {"BAD1": True, "M2": False}


async def test_held_work_that_is_let_go_is_not_late(refusing: World, tmp_path: Path, store: Place) -> None:
    async with running_hub(clinic(tmp_path, "hold")) as hub:
        await in_turn(hub, [adt("BAD1", "7"), adt("M2", "7")])
        await until(lambda: "held" in states(store, "to:pms"))
        refusing.partners.clear()
        await ask(hub, "replay", state="held", yes=1)
        await settled(hub)
        assert [m["late"] for m in await ask(hub, "messages.list", connection="pms")] == [False, False]
    assert control_ids(refusing.sent["pms"]) == ["BAD1", "BAD1", "M2"]


@pytest.mark.only_sqlite
async def test_a_long_message_is_edited_over_the_control_socket(refusing: World, tmp_path: Path, store: Place) -> None:
    file = clinic(tmp_path, "hold")
    async with running_hub(file) as hub:
        control = ControlSocket(hub, Operations(hub.core, hub))
        await control.open()
        try:
            receipt = await deliver(hub, adt("M1"))
            await settled(hub)
            long = adt("M2", more=("NTE|1||" + "x" * 5_000_000,))
            body = b64encode(long).decode()
            done = await asyncio.to_thread(operate, str(file), "messages.edit", {"id": receipt.ids[0], "body": body})
            await settled(hub)
        finally:
            await control.close()
        assert done["replaces"] == receipt.ids[0]
    assert [len(body) for body in refusing.bodies("pms")][1] == len(long)
