"""Consents signed before a visit: sent once, looked after, withdrawn, re-used, and told of in plain words."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.simulators.ehr import segment
from connectors.simulators.signer import DropboxSign
from hub import calls
from hub.clinic import load_clinic
from hub.errors import ConfigError, NotFound, Refused
from tests.plugins.clinic import adt, at, mrn, pid, siu
from tests.plugins.signing import PACKETS, SigningClinic, due_now, signing, signing_file
from tests.support import ask, until

SOON = "100ms"


@pytest.fixture(autouse=True)
def _looked_for_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "LOOKS", (0.01, 0.05, 0.1))


async def to_do(clinic: SigningClinic, appointment: str = "F-1") -> list[tuple[str, str]]:
    return [(item["cause"], item["who"]) for item in await clinic.to_do(appointment)]


async def test_a_consent_is_sent_when_the_visit_is_booked_signed_and_kept(tmp_path: Path) -> None:
    async with signing(tmp_path, looks=SOON) as clinic:
        await clinic.registered()
        await clinic.booked()
        sent = await clinic.reaches_state("sent")
        [at_service] = clinic.sent()
        assert at_service.reference == sent.id
        assert [(person.name, person.email) for person in at_service.people] == [("Jane Doe", "signs.jane@x.example")]
        assert at_service.files[0][1] == (tmp_path / "forms" / "consent.pdf").read_bytes()
        clinic.signer.facade(DropboxSign).not_ready = at_service.not_ready = 0
        await clinic.acted()
        signed = await clinic.reaches_state("completed")
        [document] = await clinic.documents()
        assert (document.id, document.source, document.filing, document.appointment) == (
            signed.document, "signing", "matched", "F-1",
        )  # fmt: skip
        assert document.partner_ids == {"signing": at_service.id}
        assert document.kept is not None
        assert b"signed: Jane Doe" in await clinic.hub.core.context("test").content(document.kept)
        assert await to_do(clinic) == []
        assert [line["state"] for line in await ask(clinic.hub, "signatures.list", date=at(9).date().isoformat())] == [
            "completed"
        ]
        assert clinic.signer.table.twice() == []


async def test_the_timeline_of_the_visit_tells_it_without_patient_data(tmp_path: Path) -> None:
    async with signing(tmp_path, looks=SOON) as clinic:
        await clinic.registered()
        await clinic.booked()
        await clinic.reaches_state("sent")
        await clinic.acted()
        await clinic.reaches_state("completed")
        lines = (await ask(clinic.hub, "trace", id="F-1"))["entries"]
        listed = await ask(clinic.hub, "messages.list", limit=1000)
    assert "Jane" not in str(listed)
    assert "jane@" not in str(listed)
    texts = [line["text"] for line in lines if line["what"].startswith("signature")]
    assert "Consent for your visit: about to be sent" in texts
    assert "Consent for your visit: signed" in texts
    assert "Jane" not in str(lines)


@pytest.mark.parametrize(
    ("does", "state", "cause", "who"),
    [
        ("declines", "declined", "declined", "coordinator"),
        ("expires", "expired", "expired", "coordinator"),
        ("bounces", "bounced", "bounced", "coordinator"),
    ],
)
async def test_what_comes_to_nothing_is_told_in_plain_words_and_may_be_sent_again(
    does: str, state: str, cause: str, who: str, tmp_path: Path
) -> None:
    async with signing(tmp_path, looks=SOON) as clinic:
        await clinic.registered(email=f"{does}.jane@x.example")
        await clinic.booked()
        await clinic.reaches_state("sent")
        await clinic.acted()
        old = await clinic.reaches_state(state)
        assert await to_do(clinic) == [(cause, who)]
        [item] = await clinic.to_do("F-1")
        assert item["text"].startswith("Consent for your visit: ")
        await clinic.booked(trigger="S14")
        assert len(clinic.sent()) == 1, "a change of the booking sends nothing again"
        await clinic.registered(email="signs.jane@x.example")
        done = await ask(clinic.hub, "signatures.send", envelope=old.id)
        await clinic.quiet()
        assert await to_do(clinic) == []
        new = await clinic.envelope()
        assert (new.id, new.state) == (done["envelope"], "sent")
        assert clinic.sent()[-1].people[0].email == "signs.jane@x.example"
        with pytest.raises(Refused, match="sent"):
            await ask(clinic.hub, "signatures.send", envelope=new.id)
        with pytest.raises(Refused, match="withdrawn"):
            await ask(clinic.hub, "signatures.send", envelope=old.id)


async def test_a_visit_that_moves_sends_nothing_again_and_one_that_is_cancelled_withdraws(tmp_path: Path) -> None:
    async with signing(tmp_path) as clinic:
        await clinic.registered()
        await clinic.booked()
        await clinic.booked(trigger="S13", starts=at(15))
        [at_service] = clinic.sent()
        await clinic.booked(trigger="S15", starts=at(15))
        assert at_service.end == "voided"
        assert (await clinic.envelope()).state == "voided"
        assert await to_do(clinic) == []
        await clinic.booked(trigger="S12", starts=at(16), appointment="F-2")
        assert [envelope.end for envelope in clinic.sent()] == ["voided", ""]


async def test_a_visit_that_is_booked_again_after_it_was_cancelled_gets_a_new_one(tmp_path: Path) -> None:
    async with signing(tmp_path) as clinic:
        await clinic.registered()
        await clinic.booked()
        await clinic.booked(trigger="S15")
        await clinic.booked(trigger="S12")
        assert [envelope.end for envelope in clinic.sent()] == ["voided", ""]
        assert clinic.signer.table.twice() == []


async def test_a_visit_that_is_cancelled_while_the_service_is_down_is_never_sent_or_withdrawn_later(tmp_path: Path) -> None:
    async with signing(tmp_path) as clinic:
        await clinic.registered()
        clinic.signer.behaviour.status = 503
        await clinic.say(siu("S12", "F-1", at(9), pid(mrn("42"))))
        await clinic.say(siu("S15", "F-1", at(9), pid(mrn("42"))))
        clinic.signer.behaviour.status = 200
        await clinic.quiet()
        assert all(envelope.end == "voided" for envelope in clinic.sent())
        assert {envelope.state for envelope in await clinic.envelopes()} == {"voided"}


VALID = "consent: {title: Consent, files: [consent.pdf], valid_for: 365d}"


async def test_what_is_signed_is_used_again_as_long_as_it_is_valid(tmp_path: Path) -> None:
    async with signing(tmp_path, packets=VALID, looks=SOON) as clinic:
        await clinic.registered()
        await clinic.booked()
        await clinic.booked("F-2")
        assert len(clinic.sent()) == 1, "one that is out serves both visits"
        await clinic.booked(trigger="S15")
        assert clinic.sent()[0].end == "", "the other visit still needs it"
        await clinic.acted()
        signed = await clinic.reaches_state("completed", "F-2")
        await clinic.booked("F-3", starts=at(9) + timedelta(days=300))
        await clinic.booked("F-4", starts=at(9) + timedelta(days=380))
        assert signed.valid_until is not None
        assert [len(await clinic.envelopes(id)) for id in ("F-1", "F-2", "F-3", "F-4")] == [0, 1, 1, 1]
        assert (await clinic.envelope("F-3")).id == signed.id
        assert (await clinic.envelope("F-4")).id != signed.id
        assert len(clinic.sent()) == 2


async def test_without_valid_for_each_visit_has_its_own(tmp_path: Path) -> None:
    async with signing(tmp_path) as clinic:
        await clinic.registered()
        await clinic.booked()
        await clinic.booked("F-2")
        assert len(clinic.sent()) == 2


async def test_packets_are_for_types_of_visits(tmp_path: Path) -> None:
    more = "mri: {title: M, files: [consent.pdf], types: [MRI]}, office: {title: O, files: [consent.pdf], types: [office]}"
    packets = f"{PACKETS}, {more}"
    async with signing(tmp_path, packets=packets) as clinic:
        await clinic.registered()
        await clinic.booked()  # its type is OFFICE
        assert [envelope.packet for envelope in await clinic.envelopes()] == ["consent", "office"]


async def test_a_visit_that_becomes_one_of_another_type_needs_other_packets(tmp_path: Path) -> None:
    packets = "office: {title: O, files: [consent.pdf], types: [office]}, mri: {title: M, files: [consent.pdf], types: [MRI]}"
    async with signing(tmp_path, packets=packets) as clinic:
        await clinic.registered()
        await clinic.booked()
        await clinic.tell(siu("S14", "F-1", at(9), pid(mrn("42"))).replace(b"OFFICE", b"MRI"))
        assert [(e.packet, e.state) for e in await clinic.envelopes()] == [("mri", "sent"), ("office", "voided")]
        assert [envelope.end for envelope in clinic.sent()] == ["voided", ""]


async def test_what_nobody_signed_is_withdrawn_long_after_the_visit(tmp_path: Path) -> None:
    async with signing(tmp_path) as clinic:
        await clinic.registered()
        await clinic.booked()
        envelope = await clinic.envelope()
        context = clinic.hub.core.context("test")
        visit = await clinic.booking("F-1")
        assert visit is not None
        old = context.now - timedelta(days=40)
        await context.put(visit.model_copy(update={"starts_at": old}))
        await context.put(envelope.model_copy(update={"ordered_at": old}))
        await clinic.hub.core.journal.commit(clinic.hub.core.write_of(context.changes, context.now))
        await due_now(clinic, envelope.id, "look")
        assert clinic.sent()[0].end == "voided"
        assert (await clinic.envelope()).state == "voided"
        assert await to_do(clinic) == []


async def test_looks_do_not_pile_up_while_the_service_is_away(tmp_path: Path) -> None:
    async with signing(tmp_path, looks="30ms") as clinic:
        await clinic.registered()
        await clinic.booked()
        await clinic.reaches_state("sent")
        clinic.signer.behaviour.status = 503
        await asyncio.sleep(0.5)
        waiting = [m for m in await ask(clinic.hub, "messages.list", limit=1000) if m["state"] in ("parked", "waiting")]
        assert len(waiting) <= 3
        clinic.signer.behaviour.status = 200
        await clinic.acted()
        await clinic.reaches_state("completed")


async def test_without_an_address_somebody_is_told_and_it_goes_out_when_there_is_one(tmp_path: Path) -> None:
    async with signing(tmp_path) as clinic:
        await clinic.registered(email="")
        await clinic.booked()
        assert await to_do(clinic) == [("no e-mail", "coordinator")]
        assert clinic.sent() == []
        await clinic.registered(email="signs.jane@x.example")
        assert await to_do(clinic) == []
        assert len(clinic.sent()) == 1


async def test_an_envelope_goes_with_the_chart_when_it_is_merged(tmp_path: Path) -> None:
    async with signing(tmp_path, packets=VALID, looks=SOON) as clinic:
        await clinic.registered("42")
        await clinic.registered("43")
        await clinic.booked(number="43")
        await clinic.acted()
        await clinic.reaches_state("completed")
        await clinic.tell(adt("A40", pid(mrn("42")), segment("MRG", f1=mrn("43"))))
        await clinic.booked("F-2", number="42")
        assert (await clinic.envelope("F-2")).id == (await clinic.envelope("F-1")).id
        assert len(clinic.sent()) == 1


async def test_a_doubtful_send_is_shown_and_never_repeated_by_itself(tmp_path: Path) -> None:
    async with signing(tmp_path, looks="50ms, 50ms, 1h") as clinic:
        await clinic.registered()
        clinic.signer.faults.script("silent", to="send")
        await clinic.booked()
        unknown = await clinic.reaches_state("unknown")
        assert await to_do(clinic) == [("unknown", "it")]
        assert unknown.id in (await clinic.to_do("F-1"))[0]["text"]
        assert clinic.sent() == []
        assert [m["state"] for m in await ask(clinic.hub, "messages.list", state="unknown")] == ["unknown"]
        await ask(clinic.hub, "signatures.send", envelope=unknown.id)
        await clinic.quiet()
        assert len(clinic.sent()) == 1
        assert await to_do(clinic) == []


async def test_a_doubtful_send_that_turns_up_later_is_settled(tmp_path: Path) -> None:
    async with signing(tmp_path, looks="200ms") as clinic:
        await clinic.registered()
        clinic.signer.faults.script("silent after commit", to="send")
        clinic.signer.faults.script(*["html"] * 3, to="find")  # it is not seen at first
        await clinic.booked()
        sent = await clinic.reaches_state("sent")
        assert sent.partner_id == clinic.sent()[0].id
        assert await to_do(clinic) == []
        assert clinic.signer.table.twice() == []


@pytest.mark.parametrize("status", ["404", "410"])
async def test_a_look_at_which_the_service_does_not_know_it_ends_nothing(tmp_path: Path, status: str) -> None:
    async with signing(tmp_path, looks="100ms") as clinic:
        await clinic.registered()
        await clinic.booked()
        await clinic.reaches_state("sent")
        clinic.signer.faults.script(status, status, to="look")
        await until(lambda: not clinic.signer.faults._next["look"])
        assert (await clinic.envelope()).state == "sent"
        await clinic.acted()
        await clinic.reaches_state("completed")
        assert await to_do(clinic) == []
        assert clinic.signer.table.twice() == []


async def test_what_the_service_refuses_is_for_it(tmp_path: Path) -> None:
    async with signing(tmp_path, packets="consent: {title: C, files: [missing.pdf]}") as clinic:
        await clinic.registered()
        await clinic.booked()
        assert (await clinic.envelope()).state == "failed"
        assert await to_do(clinic) == [("failed", "it")]


async def test_reminders_and_what_is_not_signed_in_time_are_planned_before_the_visit(tmp_path: Path) -> None:
    async with signing(tmp_path, packets="consent: {title: C, files: [consent.pdf], remind: [9d, 1d], due: 1d}") as clinic:
        await clinic.registered()
        await clinic.booked()
        rows = await clinic.hub.core.reader.due_until(int((at(9) + timedelta(days=1)).timestamp() * 1_000_000), 100)
        times = {row.key.rpartition("/")[2]: row.at // 1_000_000 for row in rows if row.job == "signature"}
        starts = int(at(9).timestamp())
        assert times.pop("remind F-1 1") == starts - 9 * 86400
        assert times.pop("remind F-1 2") == starts - 86400
        assert times.pop("overdue F-1") == starts - 86400
        assert set(times) == {"look"}
        envelope = await clinic.envelope()
        await due_now(clinic, envelope.id, "remind")
        assert clinic.sent()[0].reminders == 1
        await due_now(clinic, envelope.id, "overdue", appointment="F-1")
        assert await to_do(clinic) == [("not signed", "coordinator")]
        await clinic.acted()
        await due_now(clinic, envelope.id, "look")
        assert await to_do(clinic) == []
        await due_now(clinic, envelope.id, "overdue", appointment="F-1")
        await due_now(clinic, envelope.id, "remind")
        assert await to_do(clinic) == []
        assert clinic.sent()[0].reminders == 1


async def test_what_people_ask(tmp_path: Path) -> None:
    async with signing(tmp_path) as clinic:
        await clinic.registered()
        await clinic.booked()
        [line] = await ask(clinic.hub, "signatures.list")
        assert (line["appointment"], line["packet"], line["state"], line["patient"]["name"]) == (
            "F-1", "consent", "sent", "Jane Doe",
        )  # fmt: skip
        assert await ask(clinic.hub, "signatures.list", state="problem") == []
        [shown] = await ask(clinic.hub, "signatures.show", appointment="F-1")
        assert shown["partner_id"] == clinic.sent()[0].id
        with pytest.raises(NotFound):
            await ask(clinic.hub, "signatures.show", appointment="nobody")
        with pytest.raises(NotFound):
            await ask(clinic.hub, "signatures.send", envelope="nobody")


WRONG: dict[str, Any] = {
    "neither files nor a template": "c: {title: C}",
    "both": "c: {title: C, files: [a.pdf], template: t}",
    "a path": "c: {title: C, files: [../a.pdf]}",
    "no PDF": "c: {title: C, files: [a.docx]}",
    "a signer without address": "c: {title: C, files: [a.pdf], signers: [{role: guardian}]}",
    "a patient with address": "c: {title: C, files: [a.pdf], signers: [{role: patient, email: a@b.example}]}",
    "nobody": "c: {title: C, files: [a.pdf], signers: []}",
}


@pytest.mark.parametrize("name", WRONG)
def test_packets_that_cannot_be_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_clinic(signing_file(tmp_path, 1, packets=WRONG[name]))
    assert all(problem.line for problem in caught.value.problems)
