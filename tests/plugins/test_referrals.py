"""Referrals through a hub: documents of one visit to one specialist, by fax or secure mail, and whether they arrived."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from connectors.simulators.ehr import EhrClient
from connectors.simulators.fax_carrier import Carrier
from hub.bus.hub import Hub
from hub.errors import NotFound, Refused
from hub.formats.pages import look
from hub.records_mail import Mail
from plugins.referrals.directory import DirectoryError, read_directory
from plugins.referrals.records import Referral, state_of
from tests.connectors.imap_server import PASSWORD, USER, ImapServer
from tests.connectors.smtp_server import SmtpServer, Taken
from tests.hub.formats.mails import mdn
from tests.plugins.clinic import Clinic, adt, at, mrn, pid, quick_hub, siu
from tests.plugins.papers import pdf
from tests.support import ask, clinic_folder, environment, port_of, until

DIRECTORY = """name,fax,direct
Lake Cardiology,+1 312 555 0100,heart@direct.lake.example
Busy Clinic,(312) 555-0102,
Nobody There,3125550106,
Only Mail,,only@direct.example
"""
FLOWS = """
connections:
  ehr: {kind: mllp_listener, port: "0"}
  scans: {kind: folder, path: "@FOLDER@/scans", format: bytes, every: 50ms, stable_for: 0s}
  line:
    vendor: srfax
    kind: fax
    url: http://127.0.0.1:@FAX@
    secrets: {access_id: "12345", access_pwd: {$env: FAX_SECRET}}
    values: {caller_id: "3125550199", email: fax@clinic.example}
    every: 50ms
  direct:
    kind: mail_sender
    host: 127.0.0.1
    port: "@SMTP@"
    encryption: none
    sender: hub@clinic.example
  direct_inbox:
    kind: mailbox
    host: 127.0.0.1
    port: "@IMAP@"
    encryption: none
    user: @USER@
    password: {$env: BOX_PASSWORD}
    every: 20ms
flows:
  registrations:
    from: ehr
    when: {type: ADT^*}
    steps: [{map: adt_to_patient}, {save: patient}]
  bookings:
    from: ehr
    when: {type: SIU^*}
    steps: [{map: siu_to_appointment}, {save: appointment}]
  scans_in:
    from: scans
    steps: [{receive_document: scan}, {match_document: {file_after: 1h}}]
  faxes_in:
    from: line
    steps: [save_fax, {receive_document: fax}, {match_document: {file_after: 1h}}]
  mails_in:
    from: direct_inbox
    when: {format: document}
    steps: [{receive_document: mail}, {match_document: {file_after: 1h}}]
  referrals:
    from: {due: referral}
    steps:
      - send_referral: {directory: "@FOLDER@/specialists.csv", policy: @POLICY@}
      - track_mail: 1h
      - note_referral
      - ask: direct
      - mail_sent
  faxes_out: {from: {due: fax}, steps: [fax_order, {ask: line}, save_fax]}
  fax_looks: {from: {due: fax_look}, steps: [{ask: line}, save_fax]}
  receipts: {from: direct_inbox, when: {type: [receipt, bounce]}, steps: [mail_receipt]}
  overdue: {from: {due: mail_overdue}, steps: [mail_overdue]}
  not_sent: {from: {failed: referrals}, steps: [mail_failed]}
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAX_SECRET", "srfax-password")


class Desk(Clinic):
    """A clinic with a fax line and secure mail."""

    carrier: Carrier
    smtp: SmtpServer
    imap: ImapServer
    ids: list[str]
    """Documents of Jane's visit F-77, and at the end one of Joan's."""

    async def document_by(self, source: str) -> dict[str, Any]:
        """The document that came this way."""

        async def found() -> Any:
            lines = await ask(self.hub, "documents.list")
            return next((line for line in lines if line["source"] == source and line["state"] != "received"), None)

        await until(found)
        line: dict[str, Any] = await found()
        return line

    async def refer(self, to: str, **params: Any) -> str:
        line = await ask(self.hub, "referrals.send", appointment="F-77", to=to, **params)
        return str(line["id"])

    async def comes_to(self, id: str, *states: str) -> dict[str, Any]:
        async def found() -> Any:
            lines = await ask(self.hub, "referrals.list", appointment="F-77")
            return next((line for line in lines if line["id"] == id and line["state"] in states), None)

        await until(found)
        line: dict[str, Any] = await found()
        return line


@asynccontextmanager
async def desk(folder: Path, *, receipts: bool = True) -> AsyncIterator[Desk]:
    """Jane's visit has two documents."""
    (folder / "scans").mkdir()
    (folder / "specialists.csv").write_text(DIRECTORY, encoding="utf-8")
    async with Carrier() as carrier, SmtpServer() as smtp, ImapServer() as imap:

        def answer(taken: Taken) -> None:
            original = str(taken.mail["message-id"]).strip("<>")
            if receipts:
                imap.put(mdn(original, "processed", str(taken.mail["to"])))

        smtp.on_mail = answer
        values = {"FOLDER": folder, "FAX": carrier.port, "SMTP": smtp.port, "IMAP": imap.port, "USER": USER}
        values["POLICY"] = f"{{busy: [30ms, 30ms], look: [{', '.join(['60ms'] * 60)}]}}"
        text = FLOWS
        for name, value in values.items():
            text = text.replace(f"@{name}@", str(value))
        file = clinic_folder(folder, text)
        with environment(BOX_PASSWORD=PASSWORD):
            async with quick_hub(file) as hub, EhrClient("127.0.0.1", port_of(hub, "ehr")) as ehr:
                clinic = Desk(hub, ehr)
                clinic.carrier, clinic.smtp, clinic.imap = carrier, smtp, imap
                await clinic.tell(
                    adt("A04", pid(mrn("00042"))),
                    adt("A04", pid(mrn("00050"), given="JOAN")),
                    siu("S12", "F-77", at(9), pid(mrn("00042"))),
                )
                clinic.ids = [await _scanned(hub, folder, *paper) for paper in _PAPERS]
                yield clinic


_PAPERS = [
    ("a", "Referral letter\nMRN: 00042\nAppointment ID: F-77"),
    ("b", "Lab results\nMRN: 00042\nAppointment ID: F-77"),
    ("c", "Lab results\nMRN: 00050\nPatient: Joan Doe"),
]


async def _scanned(hub: Hub, folder: Path, name: str, text: str) -> str:
    async def matched() -> set[str]:
        return {line["id"] for line in await ask(hub, "documents.list", state="matched")}

    before = await matched()
    draft = folder / "scans" / f"{name}.part"
    draft.write_bytes(pdf(text))
    draft.rename(draft.with_suffix(".pdf"))

    async def another() -> bool:
        return await matched() != before

    await until(another)
    (new,) = await matched() - before
    return new


async def test_a_referral_by_mail_arrives_with_all_documents_of_the_visit(tmp_path: Path) -> None:
    async with desk(tmp_path) as clinic:
        id = await clinic.refer("lake  cardiology")
        line = await clinic.comes_to(id, "arrived")
        assert (line["detail"], line["documents"], line["fax"]) == ("mail processed", clinic.ids[:2], None)
        (taken,) = clinic.smtp.mails
        assert str(taken.mail["to"]) == "heart@direct.lake.example"
        (sent,) = [part for part in taken.mail.walk() if part.get_content_type() == "application/pdf"]
        read = await look(sent.get_payload(decode=True))  # type: ignore[arg-type]
        assert [page.text.splitlines()[0].strip() for page in read.read] == ["Referral letter", "Lab results"]
        shown = str(await ask(clinic.hub, "trace", id="F-77"))
        assert "A referral (2 document(s)) goes out by mail" in shown
        assert "The receiving system says: processed" in shown


async def test_a_fax_that_comes_in_finds_its_chart(tmp_path: Path) -> None:
    async with desk(tmp_path) as clinic:
        clinic.carrier.receive("+17735550001", pdf("Consultation\nMRN: 00042\nPatient: Jane Doe"))
        line = await clinic.document_by("fax")
        shown = await ask(clinic.hub, "documents.show", id=line["id"])
        assert (shown["state"], shown["kind"], shown["patient"]["id"]) == ("matched", "CN", "00042")
        assert shown["sender"].endswith("7735550001")
        await until(lambda: all(fax.taken for fax in clinic.carrier.faxes.incoming))


async def test_an_attachment_of_a_mail_waits_for_its_patient(tmp_path: Path) -> None:
    async with desk(tmp_path) as clinic:
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = "lab@lab.example", "hub@clinic.example", "Result"
        mail["Message-ID"] = "<1@lab.example>"
        mail.set_content("Please find it attached.")
        mail.add_attachment(pdf("Patient: Jane Doe"), maintype="application", subtype="pdf", filename="Jane Doe.pdf")
        clinic.imap.put(mail.as_bytes())
        line = await clinic.document_by("mail")
        assert (line["state"], line["patient"]) == ("waiting", None)
        (item,) = [item for item in await clinic.to_do() if line["id"] in item["text"]]
        assert item["text"].startswith("A mail attachment waits for its patient")
        assert "Jane" not in item["text"]


async def test_a_referral_that_was_busy_twice_arrives(tmp_path: Path) -> None:
    async with desk(tmp_path) as clinic:
        id = await clinic.refer("Busy Clinic", documents=[clinic.ids[1]])
        line = await clinic.comes_to(id, "arrived", "failed")
        assert (line["state"], line["detail"], line["documents"]) == ("arrived", "fax sent", [clinic.ids[1]])
        assert len(clinic.carrier.faxes.out) == 3
        shown = str(await ask(clinic.hub, "trace", id="F-77"))
        assert "Try 1: The fax did not arrive (busy)" in shown
        assert "Try 3: The fax arrived" in shown
        await clinic.quiet()
        assert await clinic.to_do("F-77") == []


async def test_a_way_can_be_chosen_and_a_referral_that_fails_is_told(tmp_path: Path) -> None:
    async with desk(tmp_path) as clinic:
        await clinic.comes_to(await clinic.refer("Lake Cardiology", way="fax"), "arrived")
        assert clinic.smtp.mails == []
        await clinic.comes_to(await clinic.refer("Nobody There"), "failed")
        (item,) = await clinic.to_do("F-77")
        assert item["cause"] == "bad_number"


@pytest.mark.parametrize(("to", "way"), [("Dr. Unknown", None), ("Only Mail", "fax")])
async def test_what_the_directory_does_not_say_is_told(tmp_path: Path, to: str, way: str | None) -> None:
    async with desk(tmp_path) as clinic:
        id = await clinic.refer(to, way=way)
        line = await clinic.comes_to(id, "not_sent")
        assert "the directory has no" in line["detail"]
        (item,) = await clinic.to_do("F-77")
        assert (item["cause"], "hub referrals list" in item["text"]) == ("not sent", True)
        assert (clinic.smtp.mails, clinic.carrier.faxes.out) == ([], [])


async def test_documents_of_others_are_refused(tmp_path: Path) -> None:
    async with desk(tmp_path) as clinic:
        with pytest.raises(Refused, match="not one of this patient"):
            await clinic.refer("Lake Cardiology", documents=[clinic.ids[0], clinic.ids[2]])
        with pytest.raises(NotFound, match="there is no document"):
            await clinic.refer("Lake Cardiology", documents=["d-none"])
        with pytest.raises(NotFound, match="there is no appointment"):
            await ask(clinic.hub, "referrals.send", appointment="F-1", to="Lake Cardiology")
        for id in clinic.ids[:2]:
            await ask(clinic.hub, "documents.undo", id=id)
        with pytest.raises(Refused, match="has no documents"):
            await clinic.refer("Lake Cardiology")


_NO_RECEIPTS: dict[str, Any] = {"receipts": False}
_PROCESSED: dict[str, Any] = {}
_DISPATCHED: dict[str, Any] = {"dispatched_within": 86400.0}


@pytest.mark.parametrize(
    ("wanted", "state", "missed", "is_now"),
    [
        (_NO_RECEIPTS, "queued", "", "on_its_way"),
        (_NO_RECEIPTS, "sent", "", "sent"),
        (_NO_RECEIPTS, "failed", "", "failed"),
        (_PROCESSED, "sent", "", "on_its_way"),
        (_PROCESSED, "sent", "processed", "failed"),
        (_PROCESSED, "processed", "", "arrived"),
        (_DISPATCHED, "processed", "", "on_its_way"),
        (_DISPATCHED, "processed", "dispatched", "failed"),
        (_DISPATCHED, "dispatched", "", "arrived"),
        (_DISPATCHED, "unknown", "", "unknown"),
    ],
)
def test_how_far_a_mailed_referral_is_its_mail_says(wanted: dict[str, Any], state: str, missed: str, is_now: str) -> None:
    at_noon = datetime(2026, 11, 25, 12, tzinfo=UTC)
    referral = Referral(id="r-1", appointment="F-77", patient_id="p-1", to="A", documents=["d-1"], ordered_at=at_noon, mail="m")
    assert state_of(referral, None, Mail(id="m", **wanted, state=state, missed=missed))[0] == is_now


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "needs the columns"),
        ("name,fax\nA,1", "needs the columns"),
        ("name,fax,direct\n,1,", "line 2 .* needs a name"),
        ("name,fax,direct\nA,,", "line 2 .* needs a name, and a fax number or a direct address"),
        ("name,fax,direct\nA,1,\n a ,2,", "line 3 .* an earlier line has too"),
    ],
)
def test_a_directory_that_cannot_be_used_says_where(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "specialists.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(DirectoryError, match=why):
        read_directory(file)
    with pytest.raises(DirectoryError, match="cannot be read"):
        read_directory(tmp_path / "none.csv")
