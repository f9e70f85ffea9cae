"""Timelines (sentence 9): whatever belongs to an appointment, a patient or a control id is found under it, in order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.simulators.clearinghouse import Clearinghouse, Member
from connectors.simulators.ehr import segment
from hub.bus.hub import Hub
from hub.errors import HubError, MessageUnusable, NotFound
from hub.message import Message
from hub.step import Context, StepResult
from tests.hub.bus.probe import World, adt, deliver, in_turn, rows, siu
from tests.support import ask, clinic_folder, in1, running_hub, settled, until

FLOW = """
connections:
  inbox: {kind: probe_in}
  pms: {kind: probe_out}
flows:
  work: {from: inbox, steps: [{probe: work}, {send: pms}]}
"""
VISITS = """
connections:
  inbox: {kind: probe_in}
  clearinghouse:
    kind: http
    url: http://127.0.0.1:@PORT@/x12/270
    answer_format: x12
    auth: {token_url: "http://127.0.0.1:@PORT@/token", client_id: demo, client_secret: {$file: secret}}
flows:
  registrations: {from: inbox, when: {type: ADT^*}, steps: [{map: adt_to_patient}, {save: patient}]}
  bookings:
    from: inbox
    when: {type: SIU^*}
    steps: [{map: siu_to_appointment}, {save: appointment}, {plan_checks: {on_booking: true}}]
  eligibility:
    from: {due: eligibility}
    steps: [{map: visit_to_270}, {ask: clearinghouse}, {map: 271_to_coverage}, {save: coverage_check}]
"""
PAYERS = "payer,name,clearinghouse_id,also,service_types,check,medicare\n60054,Aetna,60054,AETNA,30,yes,\n"
TOMORROW = (datetime.now(UTC) + timedelta(days=2)).strftime("%Y%m%d")


async def entries(hub: Hub, id: str) -> list[dict[str, Any]]:
    return (await ask(hub, "trace", id=id))["entries"]


async def test_the_timeline_of_an_appointment_goes_from_the_booking_over_the_270_to_the_271(
    world: World, tmp_path: Path
) -> None:
    members = [Member("60054", "W100", "DOE", "JANE", "19800229", co_payment="25", deductible_remaining="10")]
    async with Clearinghouse(members) as house:
        (tmp_path / "secret").write_text("demo-secret")
        file = clinic_folder(tmp_path, VISITS.replace("@PORT@", str(house.port)), payers=PAYERS)
        async with running_hub(file) as hub:
            await in_turn(hub, [adt("M1", "7", more=(in1(),)), siu("M2", "F-77", f"{TOMORROW}0900", "7")])
            await until(lambda: house.table.asked)
            await settled(hub)
            [visit] = await ask(hub, "eligibility.list", date=(datetime.now(UTC) + timedelta(days=2)).date().isoformat())
            assert visit["outcome"] == "covered"
            found = await entries(hub, "F-77")
    assert [e["at"] for e in found] == sorted(e["at"] for e in found)
    told = [(e["what"], e["type"]) for e in found]
    for line in [
        ("received", "SIU^S12"),
        ("booked", "SIU^S12"),
        ("due", "eligibility"),
        ("queued", "270"),
        ("answered", "271"),
    ]:
        assert line in told, f"{line} is missing"
    places = [
        told.index(line) for line in (("received", "SIU^S12"), ("due", "eligibility"), ("queued", "270"), ("answered", "271"))
    ]
    assert places == sorted(places)
    assert ("covered", "271") in told
    assert "ADT^A04" not in [type for _, type in told], "the registration is no part of the appointment"


async def test_a_message_is_found_by_what_it_says_the_moment_it_is_kept(world: World, tmp_path: Path) -> None:
    """The codec's keys are in the commit of the message, not added by a flow."""
    body = siu("M1", "F-77", f"{TOMORROW}0900", "7")
    async with running_hub(clinic_folder(tmp_path, "connections:\n  inbox: {kind: probe_in}\n")) as hub:
        receipt = await deliver(hub, body)
        for way in (
            {"patient": "7"},
            {"appointment": "F-77"},
            {"appointment": "PF-77"},
            {"control_id": "M1"},
            {"type": "SIU^S12"},
        ):
            assert [m["id"] for m in await ask(hub, "messages.list", **way)] == list(receipt.ids), way
        for id in ("F-77", "PF-77", "M1", "7", receipt.ids[0]):
            assert [e["what"] for e in await entries(hub, id)] == ["received"], id


async def test_every_chart_number_of_a_merge_finds_it(world: World, tmp_path: Path) -> None:
    body = adt("M1", "7", trigger="A40", more=(segment("MRG", f1="8^^^RIVER^MR"),))
    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        await deliver(hub, body)
        await settled(hub)
        for number in ("7", "8"):
            assert {m["control_id"] for m in await ask(hub, "messages.list", patient=number)} == {"M1"}


async def test_keys_a_flow_adds_are_keys_of_what_it_read_and_of_what_it_sends(world: World, tmp_path: Path) -> None:
    @world.step
    async def work(message: Message, context: Context) -> StepResult:
        context.key("appointment", "F-99")
        return message.derive(b"a letter", format="bytes")

    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        receipt = await deliver(hub, adt("M1"))
        await settled(hub)
        found = await ask(hub, "messages.list", appointment="F-99")
        assert {m["id"] for m in found} == {receipt.ids[0], world.sent["pms"][0].id}
        told = [(e["what"], e["connection"]) for e in await entries(hub, "F-99")]
        assert (told[0], told[-1]) == (("received", "inbox"), ("delivered", "pms"))
        assert sorted(told[1:-1]) == [("delivered", "inbox"), ("queued", "pms")]


async def test_the_timeline_of_a_message_has_what_was_made_of_it_whichever_is_named(world: World, tmp_path: Path) -> None:
    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        receipt = await deliver(hub, adt("M1"))
        await settled(hub)
        by_parent, by_child = await entries(hub, receipt.ids[0]), await entries(hub, world.sent["pms"][0].id)
        assert by_parent == by_child
        assert sorted(e["what"] for e in by_parent) == ["delivered", "delivered", "queued", "received"]


async def test_failures_are_on_the_timeline(world: World, tmp_path: Path) -> None:
    @world.step
    async def work(message: Message, context: Context) -> StepResult:
        raise MessageUnusable("there is no such payer")

    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        receipt = await deliver(hub, adt("M1"))
        await settled(hub)
        found = await entries(hub, receipt.ids[0])
        assert [e["what"] for e in found] == ["received", "failed", "quarantined"]
        assert "there is no such payer" in found[1]["text"]


async def test_a_replay_is_on_the_timeline(world: World, tmp_path: Path) -> None:
    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        receipt = await deliver(hub, adt("M1"))
        await settled(hub)
        await ask(hub, "replay", ids=[*receipt.ids], yes=1)
        await settled(hub)
        found = [e["what"] for e in await entries(hub, receipt.ids[0])]
    assert found.count("replayed") == 1
    assert found.count("queued") == 2


async def test_a_control_id_that_was_used_several_times_lists_the_messages(world: World, tmp_path: Path) -> None:
    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        first = await deliver(hub, adt("M1", family="DOE"))
        second = await deliver(hub, adt("M1", family="ROE"))
        await settled(hub)
        found = await ask(hub, "trace", id="M1")
        assert found["entries"] == []
        assert {m["id"] for m in found["matches"]} >= {first.ids[0], second.ids[0]}


async def test_an_id_that_is_a_control_id_and_a_patient_number_lists_both(world: World, tmp_path: Path) -> None:
    """`hub trace ID`: several matches are listed; showing one of them as if there were no other misleads."""
    async with running_hub(clinic_folder(tmp_path, "connections:\n  inbox: {kind: probe_in}\n")) as hub:
        by_control = await deliver(hub, adt("4711", "7"))
        by_patient = await deliver(hub, adt("M2", "4711"))
        found = await ask(hub, "trace", id="4711")
    named = {e["message"] for e in found["entries"]} | {m["id"] for m in found["matches"]}
    assert named == {by_control.ids[0], by_patient.ids[0]}


async def test_what_nobody_knows_is_not_found(world: World, tmp_path: Path) -> None:
    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        with pytest.raises(NotFound):
            await ask(hub, "trace", id="F-404")


async def test_a_timeline_hides_what_a_plugin_wrote_about_a_patient_unless_asked(world: World, tmp_path: Path) -> None:
    """`trace` masks patient data unless `--phi`, as `messages` does."""

    @world.step
    async def work(message: Message, context: Context) -> StepResult:
        context.note("seen", "Jane Doe, born 1980-02-29, was here")
        context.note("booked", "New booking", plain=True)
        return None

    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        receipt = await deliver(hub, adt("M1"))
        await settled(hub)
        masked = await ask(hub, "trace", id=receipt.ids[0])
        shown = await ask(hub, "trace", id=receipt.ids[0], phi=True)
    assert "Jane Doe" in str(shown)
    assert "seen" in [e["what"] for e in masked["entries"]]
    assert "New booking" in [e["text"] for e in masked["entries"]], "what says nothing about a patient is for everybody"
    assert "Jane" not in str(masked)


async def test_keys_are_in_the_order_of_the_journal(world: World, tmp_path: Path, store: Path) -> None:
    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        await deliver(hub, *(adt(f"M{number}", "7") for number in range(30)))
        await settled(hub)
        seqs = [m["seq"] for m in await ask(hub, "messages.list", patient="7")]
    assert seqs == sorted(seqs, reverse=True), "newest first"
    assert len(seqs) == 60
    assert len(rows(store, "SELECT DISTINCT value FROM message_key WHERE kind = 'patient'")) == 1


async def test_a_codec_that_fails_does_not_keep_a_message_from_being_kept(world: World, tmp_path: Path) -> None:
    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        try:
            receipt = await deliver(hub, b"ISA*00*\xff" + b"~" * 50, format="x12")
        except HubError as error:
            raise AssertionError("a body its codec cannot read was not kept") from error
        assert (await ask(hub, "messages.show", id=receipt.ids[0]))["format"] == "x12"
