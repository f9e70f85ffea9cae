"""Services that want more than one call to send: documents are brought first, envelopes are made and then sent.

The profiles of two such vendors were never tried with them; here they speak with a server that answers as they document it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from connectors.esign import Esign, connector
from connectors.esign.settings import EsignConfig
from hub.clinic import load_clinic
from hub.errors import MessageUnusable
from hub.message import Message
from hub.net.multipart import read_parts
from hub.records_signing import EnvelopeOrder, EnvelopeReport, Signer
from tests.connectors.web import Asked, Web, answer
from tests.support import clinic_folder

SIGNERS = [Signer(name="Jane Doe", email="jane@x.example"), Signer(role="clinician", name="Roe", email="r@x.example", order=2)]
PDF = b"%PDF-1.4 I agree"


def said(value: Any, status: int = 200) -> bytes:
    return answer(status, json.dumps(value).encode(), content_type="application/json")


@asynccontextmanager
async def at(folder: Path, vendor: str, web: Web, more: str) -> AsyncIterator[Esign]:
    (folder / "forms").mkdir()
    (folder / "in").mkdir()
    for name in ("a.pdf", "b.pdf"):
        (folder / "forms" / name).write_bytes(PDF + name.encode())
    (folder / "key").write_text("KEY of the clinic")
    inner = f"vendor: {vendor}, kind: esign, documents: forms, auth: {{api_key: {{$file: key}}}}, {more}"
    text = (
        f"connections:\n  signing: {{{inner}}}\n"
        "  drop: {kind: folder, path: in}\nflows: {f: {from: drop, steps: [{send: signing}]}}\n"
    )
    config = load_clinic(clinic_folder(folder, text)).settings.connections["signing"].config
    assert isinstance(config, EsignConfig)
    connection = Esign("signing", config)
    try:
        yield connection
    finally:
        await connection.close()


async def ask(connection: Esign, action: str = "send", **more: Any) -> EnvelopeReport:
    order = EnvelopeOrder.model_validate({"id": "sig-1", "action": action, "title": "Consent", "signers": SIGNERS, **more})
    found = await connection.send(Message(order, "envelope_order"))
    assert found is not None
    assert isinstance(found.record, EnvelopeReport)
    return found.record


# Documents are brought first, and the host of the account is asked for.


def adobe(web: Callable[[], Web]) -> Callable[[Asked], bytes]:
    def replies(asked: Asked) -> bytes:
        path = asked.path.removeprefix("/api/rest/v6")
        if path == "/baseUris":
            return said({"apiAccessPoint": f"{web().url.rpartition('/')[0]}/", "webAccessPoint": "x"})
        if path == "/transientDocuments":
            return said({"transientDocumentId": f"T-{len(asked.body)}"}, 201)
        if path == "/agreements":
            return said({"id": "AG-1"}, 201)
        return said({"id": "AG-1", "status": "OUT_FOR_SIGNATURE"})

    return replies


async def test_documents_are_brought_first_and_named_by_what_the_service_says(tmp_path: Path) -> None:
    async with Web(adobe(lambda: web)) as web:
        base = web.url.rpartition("/")[0]
        more = f"url: '{base}/api/rest/v6', discover: {{url: '{base}'}}"
        async with at(tmp_path, "adobe_sign", web, more) as connection:
            report = await ask(connection, files=["a.pdf", "b.pdf"])
            looked = await ask(connection, "look", partner_id="AG-1")
    assert (report.state, report.partner_id, looked.state) == ("sent", "AG-1", "sent")
    asked = [(a.method, a.path.removeprefix("/api/rest/v6")) for a in web.asked]
    assert asked == [
        ("GET", "/baseUris"), ("POST", "/transientDocuments"), ("POST", "/transientDocuments"), ("POST", "/agreements"),
        ("GET", "/agreements/AG-1"),
    ]  # fmt: skip
    assert {a.headers["authorization"] for a in web.asked} == {"KEY of the clinic"}
    parts = {part.name: part for part in read_parts(web.asked[1].body, web.asked[1].headers["content-type"])}
    assert parts["File"].body == PDF + b"a.pdf"
    assert parts["File-Name"].body == b"a.pdf"
    made = json.loads(web.asked[3].body)
    sizes = [f"T-{len(a.body)}" for a in web.asked[1:3]]
    assert [file["transientDocumentId"] for file in made["fileInfos"]] == sizes
    assert [(s["memberInfos"][0]["email"], s["order"], s["role"]) for s in made["participantSetsInfo"]] == [
        ("jane@x.example", 1, "SIGNER"), ("r@x.example", 2, "SIGNER"),
    ]  # fmt: skip
    assert (made["externalId"], made["state"]) == ({"id": "sig-1"}, "IN_PROCESS")


# An envelope is made, and sent when it is ready.


class Panda:
    """Becomes ready after so many looks; may fail at the second call."""

    def __init__(self, looks: int = 1, failures: int = 0, unseen: int = 0) -> None:
        self.unseen = unseen
        """So often it does not know yet what it has made."""
        self.looks, self.failures, self.status, self.starts = looks, failures, "document.uploaded", 0

    def __call__(self, asked: Asked) -> bytes:
        if asked.method == "POST" and asked.path == "/v1/documents":
            return said({"id": "PD-1", "status": "document.uploaded"}, 201)
        if asked.path == "/v1/documents/PD-1/send":
            self.starts += 1
            if self.failures:
                self.failures -= 1
                return said({"type": "busy"}, 500)
            self.status = "document.sent"
            return said({"id": "PD-1", "status": "document.sent"})
        if self.unseen:
            self.unseen -= 1
            return said({"type": "not found"}, 404)
        self.looks -= 1
        if self.looks < 0 and self.status == "document.uploaded":
            self.status = "document.draft"
        return said({"id": "PD-1", "status": self.status})


@pytest.fixture
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connector, "READY_AFTER", (0.01, 0.01, 0.01))


@pytest.mark.usefixtures("_soon")
@pytest.mark.parametrize(
    ("panda", "state", "starts"),
    [(Panda(), "sent", 1), (Panda(failures=1), "sent", 2), (Panda(unseen=1), "sent", 1), (Panda(9), "draft", 0)],
)
async def test_an_envelope_that_was_made_is_sent_when_it_is_ready(
    panda: Panda, state: str, starts: int, tmp_path: Path
) -> None:
    async with Web(panda) as web:
        more = f"url: '{web.url.rpartition('/')[0]}/v1'"
        async with at(tmp_path, "pandadoc", web, more) as connection:
            report = await ask(connection, template="tpl")
            assert (report.state, report.partner_id) == (state, "PD-1")
            assert panda.starts == starts
            if state == "draft":
                panda.looks = 0
                assert (await ask(connection, "look", partner_id="PD-1")).state == "sent", "a later look goes on"
    made = json.loads(web.asked[0].body)
    assert made["recipients"][0] == {"email": "jane@x.example", "first_name": "Jane Doe", "role": "patient", "signing_order": 1}
    assert [a.path for a in web.asked].count("/v1/documents") == 1, "it is made once"


async def test_a_profile_for_templates_says_so_when_a_packet_has_files(tmp_path: Path) -> None:
    async with Web(Panda()) as web, at(tmp_path, "pandadoc", web, "url: 'http://127.0.0.1:9/v1'") as connection:
        with pytest.raises(MessageUnusable, match="`template`"):
            await ask(connection, files=["a.pdf"])


async def test_something_that_is_no_order_is_not_sent(tmp_path: Path) -> None:
    async with Web(Panda()) as web, at(tmp_path, "pandadoc", web, "url: 'http://127.0.0.1:9/v1'") as connection:
        with pytest.raises(MessageUnusable, match="hl7v2"):
            await connection.send(Message(b"MSH|", "hl7v2"))
    assert web.asked == []
