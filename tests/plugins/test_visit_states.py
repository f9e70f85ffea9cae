"""Visit states, deletions and documents, from what an EHR says over MLLP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from connectors.simulators.ehr import EhrClient, header, message, segment
from hub.records import Document
from tests.plugins.clinic import Clinic, adt, at, control_id, mrn, pid, quick_hub, siu
from tests.support import clinic_folder, port_of

FLOWS = """
connections:
  ehr: {kind: mllp_listener, port: "0"}
flows:
  registrations:
    from: ehr
    when: {type: [ADT^A04, ADT^A08, ADT^A40]}
    steps: [{map: adt_to_patient}, {save: patient}]
  visit_states:
    from: ehr
    when: {type: [ADT^A01, ADT^A03, ADT^A04, ADT^A11, ADT^A13, ADT^A38], not: {PV1-19: ''}}
    steps: [{map: adt_to_visit_state}, {save: visit_state}]
  deletions:
    from: ehr
    when: {type: [ADT^A23, ADT^A29]}
    steps: [{map: adt_to_deletion}, {save: deletion}]
  bookings:
    from: ehr
    when: {type: SIU^*}
    steps: [{map: siu_to_appointment}, {save: appointment}]
  documents:
    from: ehr
    when: {type: MDM^*}
    steps: [{map: mdm_to_document}, {save: document}]
"""


@asynccontextmanager
async def clinic_at(folder: Path) -> AsyncIterator[Clinic]:
    async with quick_hub(clinic_folder(folder, FLOWS)) as hub, EhrClient("127.0.0.1", port_of(hub, "ehr")) as client:
        yield Clinic(hub, client)


def visit(trigger: str, number: str) -> bytes:
    return adt(trigger, pid(mrn("42")), segment("PV1", f1="1", f2="O", f19=number))


def mdm(trigger: str, id: str, parent: str = "", text: str = "") -> bytes:
    obx = [segment("OBX", f1="1", f2="TX", f5=text)] if text else []
    return message(header(f"MDM^{trigger}", control_id()), pid(mrn("42")), segment("TXA", f1="1", f12=id, f13=parent), *obx)


async def document(clinic: Clinic, id: str) -> Document | None:
    """With its bytes, which the store has."""
    context = clinic.hub.core.context("test")
    found = await context.get(Document, id)
    if found is None or found.kept is None:
        return found
    assert found.content is None, "they are kept once"
    return found.model_copy(update={"content": await context.content(found.kept)})


async def status(clinic: Clinic, appointment: str) -> str | None:
    booking = await clinic.booking(appointment)
    return booking.status if booking else None


async def test_a_booking_follows_the_patient_through_the_visit(tmp_path: Path) -> None:
    async with clinic_at(tmp_path) as clinic:
        await clinic.tell(siu("S12", "F-77", at(14), pid(mrn("42"))))
        for trigger, expected in (("A04", "arrived"), ("A03", "complete"), ("A13", "arrived"), ("A11", "booked")):
            await clinic.tell(visit(trigger, "F-77"))
            assert await status(clinic, "F-77") == expected
        booking = await clinic.booking("F-77")
        assert booking is not None
        assert booking.starts_at == at(14), "what else is known of the booking stays"


async def test_a_stay_without_a_booking_begins_none(tmp_path: Path) -> None:
    async with clinic_at(tmp_path) as clinic:
        await clinic.tell(visit("A04", "V-1"), visit("A04", ""))
        assert await clinic.booking("V-1") is None
        assert await clinic.patient("42") is not None
        assert await clinic.quarantined() == []


async def test_a_deleted_chart_stays_and_is_put_before_a_person_once(tmp_path: Path) -> None:
    async with clinic_at(tmp_path) as clinic:
        await clinic.tell(adt("A04", pid(mrn("42"))), adt("A29", pid(mrn("42"))), adt("A29", pid(mrn("42"))))
        assert await clinic.patient("42") is not None
        (item,) = await clinic.to_do()
        assert item["who"] == "coordinator"
        assert "deleted the chart 42 (Jane Doe)" in item["text"]
        assert "Nothing was changed" in item["text"]


async def test_deletions_of_several_are_several_and_of_what_is_unknown_none(tmp_path: Path) -> None:
    async with clinic_at(tmp_path) as clinic:
        await clinic.tell(
            adt("A04", pid(mrn("42"))),
            adt("A04", pid(mrn("43"), given="JOHN")),
            siu("S12", "F-77", at(14), pid(mrn("42"))),
            *(adt("A29", pid(mrn(number))) for number in ("42", "43", "99")),
            visit("A23", "F-77"),
            visit("A23", "F-99"),
        )
        assert await status(clinic, "F-77") == "booked"
        texts = sorted(item["text"].partition(".")[0] for item in await clinic.to_do())
        what = ("the chart 42 (Jane Doe)", "the chart 43 (John Doe)", "the visit F-77")
        assert texts == [f"The EHR deleted {one}" for one in what]


async def test_a_document_keeps_its_content_through_what_is_said_later(tmp_path: Path) -> None:
    async with clinic_at(tmp_path) as clinic:
        await clinic.tell(mdm("T02", "D-1", text="dear colleague"), mdm("T03", "D-1"))
        await clinic.tell(mdm("T10", "D-2", "D-1", text="corrected"))
        first, second = await document(clinic, "D-1"), await document(clinic, "D-2")
        assert first is not None
        assert second is not None
        assert (first.content, first.event, first.replaced_by) == (b"dear colleague", "status", "D-2")
        assert (second.content, second.parent, second.media_type) == (b"corrected", "D-1", "text/plain")
        chart = await clinic.patient("42")
        assert chart is not None
        assert first.patient_id == second.patient_id == chart.id
        assert chart.provisional, "a document begins a chart no more than a booking does"
        await clinic.tell(mdm("T11", "D-2"))
        cancelled = await document(clinic, "D-2")
        assert cancelled is not None
        assert (cancelled.event, cancelled.content) == ("cancelled", b"corrected"), "nothing is ever deleted"


async def test_what_a_document_holds_is_in_no_error(tmp_path: Path) -> None:
    async with clinic_at(tmp_path) as clinic:
        body = mdm("T02", "D-1", text="x").replace(b"|TX|||x", b"|ED|||^AP^PDF^Base64^SECRET!")
        await clinic.tell(body)
        (found,) = await clinic.quarantined()
        assert "OBX" in found["reason"]
        assert "SECRET" not in found["reason"]


async def test_an_addendum_is_listed_and_an_edit_takes_the_place(tmp_path: Path) -> None:
    """MDM T06 and T08: what they speak of (TXA-13) keeps its content and says so."""
    async with clinic_at(tmp_path) as clinic:
        await clinic.tell(mdm("T02", "D-1", text="first"), mdm("T06", "D-2", "D-1", "more"), mdm("T06", "D-2", "D-1", "more"))
        await clinic.tell(mdm("T08", "D-3", "D-1", "better"), mdm("T08", "D-9", "D-8", "of one that nobody knows"))
        first, edited = await document(clinic, "D-1"), await document(clinic, "D-3")
        assert first is not None
        assert edited is not None
        assert (first.content, first.addenda, first.replaced_by) == (b"first", ["D-2"], "D-3")
        assert edited.content == b"better"
        assert not await clinic.quarantined()


async def test_a_cancelled_document_keeps_its_content(tmp_path: Path) -> None:
    async with clinic_at(tmp_path) as clinic:
        await clinic.tell(mdm("T02", "D-1", text="first"), mdm("T11", "D-1"))
        found = await document(clinic, "D-1")
        assert found is not None
        assert (found.event, found.content) == ("cancelled", b"first")
