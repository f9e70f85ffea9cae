"""`keep`: bodies stay as long as the clinic file says, and never shorter than somebody has to deliver them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.bus import keeping
from hub.clinic import examine
from hub.errors import MessageRejected, NotFound, Refused
from hub.message import Message
from tests.hub.bus.probe import Place, World, adt, control_ids, deliver, in_turn, rows, states
from tests.support import ask, clinic_folder, running_hub, settled, until

pytestmark = pytest.mark.both_stores
FLOW = """
connections:
  inbox: {kind: probe_in, keep: IN}
  pms: {kind: probe_out, on_rejected: quarantine, keep: OUT}
flows:
  work: {from: inbox, steps: [{send: pms}]}
"""
ASKING = """
connections:
  inbox: {kind: probe_in}
  payer: {kind: probe_out, answer: "yes"}
flows:
  work: {from: inbox, keep: until_delivered, steps: [{ask: payer}, {probe: after}]}
"""


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "SOON", 0.05)


def clinic(folder: Path, come_in: str, go_out: str) -> Path:
    return clinic_folder(folder, FLOW.replace("IN", come_in).replace("OUT", go_out))


@pytest.fixture
def refusing(world: World) -> World:
    @world.partner
    async def pms(message: Message) -> None:
        if b"BAD" in message.body:
            raise MessageRejected("no", answer="AE", final=True, reply=b"MSA|AE|BAD|JANE DOE")

    return world


def bodies(store: Place) -> dict[str, bool]:
    """Direction and control id of each message, and whether its body is there."""
    found = rows(store, "SELECT direction, control_id, body IS NOT NULL FROM message ORDER BY seq")
    return {f"{direction} {control_id}".strip(): bool(there) for direction, control_id, there in found}


async def becomes(store: Place, expected: dict[str, bool]) -> None:
    async def so() -> bool:
        return bodies(store) == expected

    await until(so)


async def test_delivered_bodies_go_and_quarantined_ones_wait_for_a_replay(
    refusing: World, tmp_path: Path, store: Place
) -> None:
    async with running_hub(clinic(tmp_path, "until_delivered", "until_delivered")) as hub:
        await in_turn(hub, [adt("M1", "1"), adt("BAD2", "2")])
        await settled(hub)
        await becomes(store, {"in M1": False, "out M1": False, "in BAD2": False, "out BAD2": True})
        refusing.partners.clear()
        await ask(hub, "replay", state="quarantined", yes=1)
        await settled(hub)
        await becomes(store, {"in M1": False, "out M1": False, "in BAD2": False, "out BAD2": False})
        [found] = await ask(hub, "messages.list", control_id="M1", connection="inbox")
        shown = await ask(hub, "messages.show", id=found["id"], phi=True)
        assert (shown["state"], shown["body"], shown["body_hidden"]) == ("delivered", None, "no longer kept")
    assert control_ids(refusing.sent["pms"])[-1] == "BAD2"


async def test_metadata_alone_stays_and_nothing_a_partner_wrote(refusing: World, tmp_path: Path, store: Place) -> None:
    async with running_hub(clinic(tmp_path, "metadata", "metadata")) as hub:
        receipt = await deliver(hub, adt("BAD1"))
        await settled(hub)
        await becomes(store, {"in BAD1": False, "out BAD1": False})
        assert rows(store, "SELECT count(*) FROM attempt WHERE reply IS NOT NULL") == [(0,)]
        with pytest.raises(Refused, match="keep"):
            await ask(hub, "replay", ids=[receipt.ids[0]], yes=1)
        assert (await ask(hub, "replay", connection="inbox", dry_run=True))["count"] == 0, "not named, so passed over"
        assert len(await ask(hub, "messages.list", patient="00042")) == 2, "it is still found"
        [stuck] = await ask(hub, "messages.list", connection="pms")
        assert "no" in stuck["reason"]


async def test_what_is_open_keeps_its_body_over_restarts(refusing: World, tmp_path: Path, store: Place) -> None:
    file = clinic(tmp_path, "metadata", "metadata")
    async with running_hub(file) as hub:
        await ask(hub, "pause", name="pms")
        await deliver(hub, adt("M1"))
        await becomes(store, {"in M1": False, "out M1": True})
    async with running_hub(file) as hub:
        await hub.core.keeping.look()
        assert bodies(store)["out M1"]
        await ask(hub, "resume", name="pms")
        await settled(hub)
        await becomes(store, {"in M1": False, "out M1": False})
    assert control_ids(refusing.sent["pms"]) == ["M1"]


async def test_what_ended_just_before_a_stop_is_erased_by_the_next_start(
    refusing: World, tmp_path: Path, store: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = clinic(tmp_path, "until_delivered", "full")
    with monkeypatch.context() as patched:
        patched.setattr(keeping, "SOON", 100.0)
        async with running_hub(file) as hub:
            await deliver(hub, adt("M1"))
            await settled(hub)
    assert bodies(store) == {"in M1": True, "out M1": True}
    async with running_hub(file):
        await becomes(store, {"in M1": False, "out M1": True})


async def test_a_parked_message_keeps_its_body_until_the_answer_has_come(world: World, tmp_path: Path, store: Place) -> None:
    async with running_hub(clinic_folder(tmp_path, ASKING)) as hub:
        await ask(hub, "pause", name="payer")
        await deliver(hub, adt("M1"))
        await until(lambda: states(store, "flow:work") == ["parked"])
        await hub.core.keeping.look()
        assert bodies(store) == {"in M1": True, "out M1": True}
        await ask(hub, "resume", name="payer")
        await settled(hub)
        await becomes(store, {"in M1": False, "out M1": False, "in": False})
    assert [step for step, _ in world.runs] == ["after"]


async def test_the_connection_decides_before_the_flow_and_of_flows_the_longest(
    refusing: World, tmp_path: Path, store: Place
) -> None:
    text = """
connections:
  inbox: {kind: probe_in}
  other: {kind: probe_in, keep: full}
  pms: {kind: probe_out}
flows:
  one: {from: inbox, keep: metadata, steps: [{send: pms}]}
  two: {from: inbox, when: {control_id: BOTH*}, steps: [{probe: work}]}
  three: {from: other, keep: metadata, steps: [{probe: work}]}
"""
    async with running_hub(clinic_folder(tmp_path, text)) as hub:
        await in_turn(hub, [adt("M1"), adt("BOTH2")])
        await deliver(hub, adt("M3"), source="other")
        await settled(hub)
        await becomes(store, {"in M1": False, "out M1": False, "in BOTH2": True, "out BOTH2": False, "in M3": True})


async def test_a_body_that_is_gone_is_told_and_an_edited_message_can_take_its_place(
    refusing: World, tmp_path: Path, store: Place
) -> None:
    from base64 import b64encode

    async with running_hub(clinic(tmp_path, "metadata", "full")) as hub:
        receipt = await deliver(hub, adt("M1"))
        await settled(hub)
        await becomes(store, {"in M1": False, "out M1": True})
        with pytest.raises(NotFound, match="no longer kept"):
            await ask(hub, "messages.show", id=receipt.ids[0], phi=True, raw=True)
        await ask(hub, "messages.edit", id=receipt.ids[0], body=b64encode(adt("M1B")).decode())
        await settled(hub)
    assert control_ids(refusing.sent["pms"]) == ["M1", "M1B"]


@pytest.mark.only_sqlite
@pytest.mark.parametrize("given", ["forever", "[full]", "{a: b}"])
def test_a_level_that_is_none_is_a_mistake_with_its_place(world: World, tmp_path: Path, given: str) -> None:
    text = ASKING.replace("until_delivered", given)
    problems = examine(clinic_folder(tmp_path, text)).errors
    assert [(p.code, p.line > 0) for p in problems] == [("CFG-019", True)]
    text = FLOW.replace("IN", "forever").replace("OUT", "full")
    assert len(examine(clinic_folder(tmp_path, text)).errors) == 1
