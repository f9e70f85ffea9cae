"""From the booking to the signed consent in the chart: signatures and documents, which know nothing of each other."""

from __future__ import annotations

from pathlib import Path

from connectors.simulators.ehr import EhrServer
from connectors.simulators.signer import DropboxSign
from hub.formats.hl7v2.message import Hl7
from tests.plugins.signing import SIGNING, signing
from tests.support import ask, until

FILING = """
  filing:
    from: {due: file_document}
    steps: [{map: document_to_mdm}, embed_document, {ask: charts}, document_filed]
  filing_failures:
    from: {failed: filing}
    steps: [filing_failed]
"""
CHARTS = """
  charts: {kind: mllp_sender, host: 127.0.0.1, port: "@CHARTS@"}
"""


def text_with(port: int) -> str:
    text = SIGNING.replace("{ask: signing}, save_signature]", "{ask: signing}, save_signature, file_document]")
    return text.replace("flows:\n", f"{CHARTS.replace('@CHARTS@', str(port))}flows:\n") + FILING


async def test_a_signed_consent_and_its_certificate_come_into_the_chart(tmp_path: Path) -> None:
    async with EhrServer() as charts, signing(tmp_path, looks="100ms", text=text_with(charts.port)) as clinic:
        clinic.signer.facade(DropboxSign).not_ready = 0
        await clinic.registered()
        await clinic.booked()
        await clinic.reaches_state("sent")
        await clinic.acted()
        await until(lambda: len(charts.received) == 1)
        sent = Hl7(charts.received[0])
        assert (sent.get("MSH-9.1"), sent.get("PID-3.1"), sent.get("PV1-19.1")) == ("MDM", "42", "F-1")
        await clinic.quiet()
        [document] = await ask(clinic.hub, "documents.list", state="filed")
        assert (document["source"], document["appointment"]) == ("signing", "F-1")
        told = [line["text"] for line in (await ask(clinic.hub, "trace", id="F-1"))["entries"]]
        order = ["New booking", "Consent for your visit: signed", "Its patient is known: we asked for it"]
        order.append("Filed: the EHR has acknowledged it")
        assert [text for text in told if text in order] == order
        assert await clinic.to_do("F-1") == []
