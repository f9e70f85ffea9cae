"""Documents through a real hub: from a folder or a message into the chart of the EHR, or before a person."""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from connectors.simulators.ehr import EhrClient, EhrServer, header, message, script_of, segment
from hub.errors import NotFound, Refused
from hub.formats.hl7v2.message import Hl7
from hub.formats.pages import join
from tests.plugins.clinic import Clinic, adt, at, control_id, mrn, pid, quick_hub, siu
from tests.plugins.papers import pdf, tiff
from tests.support import PATIENCE, ask, clinic_folder, port_of, until

FLOWS = """
connections:
  ehr: {kind: mllp_listener, port: "0"}
  scans: {kind: folder, path: "@FOLDER@/scans", format: bytes, every: 50ms, stable_for: 0s}
  charts: {kind: mllp_sender, host: 127.0.0.1, port: "@PORT@", timeout: 500ms, retry: {first: 20ms, most: 50ms, attempts: "2"}}
  files: {kind: folder, path: "@FOLDER@/files", name: "{id}.hl7"}
flows:
  registrations:
    from: ehr
    when: {type: ADT^*}
    steps: [{map: adt_to_patient}, {save: patient}]
  bookings:
    from: ehr
    when: {type: SIU^*}
    steps: [{map: siu_to_appointment}, {save: appointment}]
  results_in:
    from: ehr
    when: {type: ORU^R01}
    steps: [{map: oru_to_document}, {receive_document: hl7}, {match_document: {file_after: "@AFTER@"}}]
  scans_in:
    from: scans
    steps: [{receive_document: scan}, {match_document: {file_after: "@AFTER@"}}]
  filing:
    from: {due: file_document}
    steps: [{map: @MAPPING@}, embed_document, {ask: @TO@}, document_filed]
  filing_failures:
    from: {failed: filing}
    steps: [filing_failed]
"""
JANE = "Discharge summary\nMRN: 00042\nPatient: Jane Doe\nDOB: 02/29/1980"


class Desk(Clinic):
    """A clinic with a scanner, and an EHR that takes documents."""

    far: EhrServer
    folder: Path

    def scan(self, content: bytes, name: str = "scan.pdf") -> None:
        draft = self.folder / "scans" / f"{name}.part"
        draft.write_bytes(content)
        draft.rename(draft.with_suffix(""))

    async def listed(self, **params: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await ask(self.hub, "documents.list", **params)
        return found

    async def one(self, state: str) -> dict[str, Any]:
        """The only document, once it has come to this state."""

        async def is_so() -> bool:
            return [line["state"] for line in await self.listed(state=state)] == [state]

        await until(is_so)
        await self.quiet()
        (line,) = await self.listed(state=state)
        found: dict[str, Any] = await ask(self.hub, "documents.show", id=line["id"])
        return found

    async def do(self, verb: str, id: str, **params: Any) -> dict[str, Any]:
        found: dict[str, Any] = await ask(self.hub, f"documents.{verb}", id=id, **params)
        return found


@asynccontextmanager
async def desk(
    folder: Path, *answers: str, after: str = "0s", mapping: str = "document_to_mdm", to: str = "charts"
) -> AsyncIterator[Desk]:
    """Jane has a chart and a visit F-77, and so has her twin Joan."""
    for name in ("scans", "files"):
        (folder / name).mkdir()
    async with EhrServer(script_of(answers)) as charts:
        values = {"FOLDER": folder, "PORT": charts.port, "AFTER": after, "MAPPING": mapping, "TO": to}
        text = FLOWS
        for name, value in values.items():
            text = text.replace(f"@{name}@", str(value))
        file = clinic_folder(folder, text)
        async with quick_hub(file) as hub, EhrClient("127.0.0.1", port_of(hub, "ehr")) as ehr:
            clinic = Desk(hub, ehr)
            clinic.far, clinic.folder = charts, folder
            await clinic.tell(
                adt("A04", pid(mrn("00042"))),
                adt("A04", pid(mrn("00050"), given="JOAN")),
                siu("S12", "F-77", at(9), pid(mrn("00042"))),
            )
            yield clinic


def embedded(body: bytes) -> bytes:
    return base64.b64decode(Hl7(body).get("OBX-5.5") or "")


# Into the chart.


async def test_a_scan_that_says_whose_it_is_is_filed_with_its_bytes(tmp_path: Path) -> None:
    async with desk(tmp_path) as clinic:
        paper = pdf(JANE)
        clinic.scan(paper)
        found = await clinic.one("filed")
        (body,) = clinic.far.received
        hl7 = Hl7(body)
        assert (hl7.type, hl7.get("PID-3.1"), hl7.get("TXA-2.1"), hl7.get("TXA-12.1")) == (
            "MDM^T02",
            "00042",
            "DS",
            found["id"],
        )
        assert embedded(body) == paper
        assert (found["source"], found["pages"], found["patient"]["id"], found["by"]) == ("scan", 1, "00042", None)
        assert await clinic.to_do() == []


async def test_a_tiff_becomes_a_pdf_and_waits_for_a_person(tmp_path: Path) -> None:
    async with desk(tmp_path) as clinic:
        clinic.scan(tiff(3), "scan.tif")
        waiting = await clinic.one("waiting")
        assert (waiting["media_type"], waiting["pages"], waiting["why"]) == (
            "application/pdf",
            3,
            "nothing on it tells whose it is",
        )
        (item,) = await clinic.to_do()
        assert (item["queue"], item["who"]) == ("front_desk", "coordinator")
        assert waiting["id"] in item["text"]
        await clinic.do("match", waiting["id"], appointment="F-77", kind="CONSENT")
        filed = await clinic.one("filed")
        assert (filed["by"], filed["appointment"], filed["kind"]) == ("test", "F-77", "CONSENT")
        hl7 = Hl7(clinic.far.received[0])
        assert (hl7.get("PV1-19.1"), hl7.get("OBX-5.3")) == ("F-77", "PDF")
        assert embedded(clinic.far.received[0]).startswith(b"%PDF")
        assert await clinic.to_do() == []


async def test_the_timeline_of_a_visit_has_its_document(tmp_path: Path) -> None:
    async with desk(tmp_path) as clinic:
        clinic.scan(pdf(JANE + "\nAppointment ID: F-77"))
        await clinic.one("filed")
        lines = await ask(clinic.hub, "trace", id="F-77")
        assert "Filed: the EHR has acknowledged it" in str(lines)
        assert "Received a document (scan, 1 page(s))" in str(lines)


async def test_a_cover_sheet_says_whose_a_scan_is(tmp_path: Path) -> None:
    async with desk(tmp_path) as clinic:
        sheet = await ask(clinic.hub, "documents.cover", appointment="F-77", kind="CONSENT")
        cover = base64.b64decode(sheet["content"])
        clinic.scan(await join(cover, pdf("I agree.")))
        found = await clinic.one("filed")
        assert (found["kind"], found["title"], found["appointment"], found["pages"]) == ("CONSENT", "Consent", "F-77", 2)
        assert Hl7(clinic.far.received[0]).get("PID-3.1") == "00042"
        clinic.scan(await join(cover, pdf("Patient: Joan Doe")), "other.pdf")
        waiting = await clinic.one("waiting")
        assert waiting["why"].startswith("what it says does not agree")


async def test_a_result_of_another_system_finds_its_chart_by_what_it_says_of_the_patient(tmp_path: Path) -> None:
    def oru(order: str, patient: str, content: bytes) -> bytes:
        data = base64.b64encode(content).decode()
        return message(
            header("ORU^R01", control_id()),
            patient,
            segment("OBR", f1="1", f3=order, f4="CD^Echocardiogram"),
            segment("OBX", f1="1", f2="ED", f5=f"^AP^PDF^Base64^{data}"),
        )

    async with desk(tmp_path, mapping="document_to_oru") as clinic:
        await clinic.tell(oru("R-1", pid(mrn("00042")), pdf("A report")))
        found = await clinic.one("filed")
        assert (found["source"], found["kind"], found["partner_ids"]) == ("hl7", "CD", {"ehr": "R-1"})
        assert (Hl7(clinic.far.received[0]).type, embedded(clinic.far.received[0])) == ("ORU^R01", pdf("A report"))
        await clinic.tell(oru("R-2", pid(mrn("00050")), pdf("A report")))  # Joan's number, Jane's name
        assert (await clinic.one("waiting"))["patient"] is None
        (joan,) = await clinic.charts("00050")
        assert joan.name.given == "Joan", "a report from elsewhere changes no chart"


@pytest.mark.parametrize(
    ("content", "subtype"), [(b"{\\rtf1 A report}", "RTF"), (b"A report", "PLAIN"), (b"<?xml version='1.0'?><a/>", "XML")]
)
async def test_a_report_without_pages_finds_its_chart_by_what_its_message_says(
    tmp_path: Path, content: bytes, subtype: str
) -> None:
    async with desk(tmp_path) as clinic:
        data = base64.b64encode(content).decode()
        report = [segment("OBR", f1="1", f3="R-1"), segment("OBX", f1="1", f2="ED", f5=f"^AP^X^Base64^{data}")]
        await clinic.tell(message(header("ORU^R01", control_id()), pid(mrn("00042")), *report))
        await clinic.one("filed")
        (body,) = clinic.far.received
        assert (Hl7(body).get("OBX-5.3"), embedded(body)) == (subtype, content)


async def test_a_document_of_a_merged_chart_goes_to_the_surviving_one(tmp_path: Path) -> None:
    async with desk(tmp_path, after="1h") as clinic:
        clinic.scan(pdf(JANE))
        found = await clinic.one("matched")
        await clinic.tell(adt("A40", pid(mrn("00077")), segment("MRG", f1=mrn("00042"))))
        await clinic.do("file", found["id"])
        await clinic.one("filed")
        assert Hl7(clinic.far.received[0]).get("PID-3.1") in ("00042", "00077")
        assert (await clinic.patient("00077")) is not None


async def test_files_for_an_ehr_that_reads_a_folder(tmp_path: Path) -> None:
    async with desk(tmp_path, to="files") as clinic:
        clinic.scan(pdf(JANE))
        await clinic.one("filed")
        (file,) = (tmp_path / "files").glob("*.hl7")
        assert embedded(file.read_bytes()) == pdf(JANE)


# A person decides, and can think again.


async def test_a_match_can_be_taken_back_before_it_is_filed(tmp_path: Path) -> None:
    async with desk(tmp_path, after="1h") as clinic:
        clinic.scan(pdf(JANE))
        found = await clinic.one("matched")
        assert found["file_at"] is not None
        await clinic.do("undo", found["id"])
        waiting = await clinic.one("waiting")
        assert (waiting["patient"], waiting["why"]) == (None, "what was decided was taken back")
        assert len(await clinic.to_do()) == 1
        with pytest.raises(Refused, match="only a matched one"):
            await clinic.do("file", found["id"])
        await clinic.do("match", found["id"], patient="00050")
        await clinic.do("file", found["id"])
        await clinic.one("filed")
        assert [Hl7(body).get("PID-3.1") for body in clinic.far.received] == ["00050"]
        for verb, params in (("undo", {}), ("file", {}), ("reject", {"why": "x"}), ("match", {"patient": "00042"})):
            with pytest.raises(Refused, match="is filed"):
                await clinic.do(verb, found["id"], **params)


async def test_what_is_rejected_goes_nowhere_and_can_be_taken_back(tmp_path: Path) -> None:
    async with desk(tmp_path) as clinic:
        clinic.scan(pdf("Buy a new copier"))
        waiting = await clinic.one("waiting")
        await clinic.do("reject", waiting["id"], why="advertising")
        assert (await clinic.one("rejected"))["why"] == "advertising"
        assert await clinic.to_do() == []
        await clinic.do("undo", waiting["id"])
        assert len(await clinic.to_do()) == 1
        assert clinic.far.received == []


async def test_a_document_is_compared_again_with_the_charts_there_are_now(tmp_path: Path) -> None:
    async with desk(tmp_path) as clinic:
        clinic.scan(pdf("MRN: 00088\nPatient: Tim Roe"))
        waiting = await clinic.one("waiting")
        assert waiting["why"].startswith("no chart has what it says")
        await clinic.tell(adt("A04", pid(mrn("00088"), family="ROE", given="TIM")))
        await clinic.do("match", waiting["id"])
        assert (await clinic.one("filed"))["patient"]["id"] == "00088"


async def test_a_cover_sheet_far_behind_the_first_one_is_seen(tmp_path: Path) -> None:
    """Two documents for two people, scanned as one."""
    async with desk(tmp_path) as clinic:
        sheets = [
            base64.b64decode((await ask(clinic.hub, "documents.cover", patient=id))["content"]) for id in ("00042", "00050")
        ]
        clinic.scan(await join(sheets[0], tiff(20), sheets[1], tiff(2)))
        waiting = await clinic.one("waiting")
        assert waiting["pages"] == 24
        assert waiting["why"].startswith("what it says does not agree: the cover sheet")


async def test_a_document_that_is_too_long_to_be_read_waits_until_a_person_says_whose_it_is(tmp_path: Path) -> None:
    async with desk(tmp_path) as clinic:
        clinic.scan(pdf(JANE, *["Findings"] * 99, "MRN: 00050\nPatient: Joan Doe\nDOB: 02/29/1980"))
        waiting = await clinic.one("waiting")
        assert waiting["why"] == "the text of 1 of its 101 pages was not read; look whether all are about one patient"
        assert [chart["id"] for chart in waiting["charts"]] == ["00042"]
        await clinic.do("match", waiting["id"])
        assert (await clinic.one("waiting"))["why"] == waiting["why"]
        await clinic.do("match", waiting["id"], patient="00042")
        assert (await clinic.one("filed"))["patient"]["id"] == "00042"


async def test_who_names_nobody_or_two_people_is_told_so(tmp_path: Path) -> None:
    async with desk(tmp_path) as clinic:
        clinic.scan(pdf("nothing"))
        waiting = await clinic.one("waiting")
        with pytest.raises(NotFound, match="no chart has this number"):
            await clinic.do("match", waiting["id"], patient="1")
        with pytest.raises(NotFound, match="there is no appointment"):
            await clinic.do("match", waiting["id"], appointment="1")
        with pytest.raises(Refused, match="another patient"):
            await clinic.do("match", waiting["id"], appointment="F-77", patient="00050")
        with pytest.raises(NotFound, match="there is no document"):
            await clinic.do("show", "d-none")
        with pytest.raises(Refused, match="name a patient or an appointment"):
            await ask(clinic.hub, "documents.cover")


# What goes wrong.


@pytest.mark.parametrize("content", [b"", b"%PDF-1.7 and then nothing", os.urandom(5000), b"PK\3\4 a zip"])
async def test_what_is_no_document_waits_and_says_why(tmp_path: Path, content: bytes) -> None:
    async with desk(tmp_path) as clinic:
        clinic.scan(content)
        waiting = await clinic.one("waiting")
        assert waiting["trouble"] in ("broken", "not_a_document")
        assert waiting["why"] == f"its pages cannot be looked at ({waiting['trouble']})"
        await clinic.do("match", waiting["id"], patient="00042")
        await clinic.one("filed")
        assert embedded(clinic.far.received[0]) == content


async def test_what_the_ehr_refuses_is_shown_and_filed_once_it_is_mended(tmp_path: Path) -> None:
    async with desk(tmp_path, "AE", "AE") as clinic:
        clinic.scan(pdf(JANE))
        failed = await clinic.one("matched")
        assert "AE" in failed["why"]
        (item,) = await clinic.to_do()
        assert (item["queue"], item["who"]) == ("it", "it")
        await clinic.do("file", failed["id"])
        filed = await clinic.one("filed")
        assert (filed["tries"], filed["why"]) == (2, None)
        assert await clinic.to_do() == []
        assert [Hl7(body).get("TXA-12.1") for body in clinic.far.received] == [failed["id"]]


async def test_silence_of_the_ehr_repeats_the_same_message(tmp_path: Path) -> None:
    async with desk(tmp_path, "silent", "close", "AA") as clinic:
        clinic.scan(pdf(JANE))
        await clinic.one("filed")
        assert (len(clinic.far.received), list(clinic.far.seen.values())) == (1, [3])


async def test_a_document_on_its_way_cannot_be_taken_back(tmp_path: Path) -> None:
    async with desk(tmp_path, *["silent"] * 4) as clinic:
        clinic.scan(pdf(JANE))
        await until(lambda: sum(clinic.far.seen.values()) > 0)
        (line,) = await clinic.listed()
        for verb in ("undo", "file"):
            with pytest.raises(Refused, match="on its way"):
                await clinic.do(verb, line["id"])
        await clinic.one("filed")


async def test_a_failed_filing_that_is_replayed_after_it_was_taken_back_is_told(tmp_path: Path) -> None:
    async with desk(tmp_path, "AE", "AE") as clinic:
        clinic.scan(pdf(JANE))
        failed = await clinic.one("matched")
        await clinic.do("undo", failed["id"])
        (sent,) = [m for m in await clinic.quarantined() if m["type"] == "MDM^T02"]
        await ask(clinic.hub, "replay", ids=[sent["id"]], yes=1)
        await until(lambda: len(clinic.far.received) == 1, PATIENCE)
        await clinic.quiet()
        assert "taken out of meanwhile" in str(await clinic.to_do(queue="it"))
        assert (await clinic.one("waiting"))["patient"] is None


async def test_nothing_that_is_read_by_everybody_tells_about_the_patient(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as logs:
        async with desk(tmp_path, "AE", "AE") as clinic:
            secret = "Zzcanary"
            clinic.scan(pdf(f"MRN: 00042\nPatient: Jane {secret}\nDOB: 02/29/1980\nMRN: 0004711"), f"{secret}.pdf")
            waiting = await clinic.one("waiting")
            await clinic.do("match", waiting["id"], patient="00042", kind="CN")
            await clinic.one("matched")
            lines = await ask(clinic.hub, "trace", id="00042")
            items = await clinic.to_do()
            listed = await ask(clinic.hub, "messages.list")
            said = f"{lines}{items}{listed}{logs}"
            assert waiting["id"] in said
            for hidden in (secret, "1980", "0004711"):
                assert hidden not in said


async def test_a_large_document_is_embedded_whole(tmp_path: Path) -> None:
    async with desk(tmp_path, to="files") as clinic:
        content = os.urandom(5 * 1024 * 1024 + 1)
        clinic.scan(content, "large.bin")
        waiting = await clinic.one("waiting")
        await clinic.do("match", waiting["id"], patient="00042")
        await clinic.one("filed")
        (file,) = (tmp_path / "files").glob("*.hl7")
        body = file.read_bytes()
        begin = body.index(b"^Base64^") + len(b"^Base64^")
        assert base64.b64decode(body[begin : body.index(b"|", begin)]) == content
        shown = await ask(clinic.hub, "documents.content", id=waiting["id"])
        assert base64.b64decode(shown["content"]) == content
