"""Attachments of mails become documents: each finds its chart or waits for a person, and a bad one keeps no other back."""

from __future__ import annotations

from pathlib import Path

from connectors.simulators.ehr import EhrClient
from hub.formats.mail.writing import Attached
from tests.connectors.imap_server import PASSWORD, USER, ImapServer
from tests.hub.formats.mails import letter
from tests.plugins.clinic import Clinic, adt, mrn, pid, quick_hub
from tests.plugins.papers import pdf
from tests.support import ask, clinic_folder, environment, port_of, until

FLOWS = """
connections:
  ehr: {{kind: mllp_listener, port: "0"}}
  box:
    kind: mailbox
    host: 127.0.0.1
    port: "{port}"
    encryption: none
    user: {user}
    password: {{$env: BOX_PASSWORD}}
    every: 30ms
flows:
  registrations:
    from: ehr
    when: {{type: ADT^*}}
    steps: [{{map: adt_to_patient}}, {{save: patient}}]
  attachments:
    from: box
    when: {{format: document}}
    steps: [{{receive_document: mail}}, {{match_document: {{file_after: 1h}}}}]
"""
JANE = "Discharge summary\nMRN: 00042\nPatient: Jane Doe\nDOB: 02/29/1980"


async def test_each_attachment_finds_its_chart_or_waits_for_a_person(tmp_path: Path) -> None:
    files = [
        Attached(pdf(JANE), "application/octet-stream", "DOE_JANE.pdf"),
        Attached(b"%PDF-1.7 not really one", "application/pdf", "broken.pdf"),
        Attached(pdf("A letter about nobody"), "application/pdf", "letter.pdf"),
    ]
    async with ImapServer() as server:
        with environment(BOX_PASSWORD=PASSWORD):
            file = clinic_folder(tmp_path, FLOWS.format(port=server.port, user=USER))
            async with quick_hub(file) as hub, EhrClient("127.0.0.1", port_of(hub, "ehr")) as ehr:
                clinic = Clinic(hub, ehr)
                await clinic.tell(adt("A04", pid(mrn("00042"))))
                server.put(letter(1, *files))

                async def states() -> bool:
                    listed = await ask(hub, "documents.list")
                    return sorted(line["state"] for line in listed) == ["matched", "waiting", "waiting"]

                await until(states)
                await clinic.quiet()
                listed = await ask(hub, "documents.list")
                assert {line["source"] for line in listed} == {"mail"}
                assert await ask(hub, "messages.list", state="quarantined") == []
    assert server.folders["INBOX"][0].flags == {"\\Seen"}
