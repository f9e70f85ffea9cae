"""The conformance test of signing services: every profile that is proven runs through it, with every fault switched on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from connectors.esign import Esign
from connectors.esign.settings import EsignConfig
from connectors.simulators.signer import SigningService
from connectors.simulators.signer.pdf import page
from hub import calls
from hub.clinic import load_clinic
from hub.errors import ConnectionDown, DoubtfulSend, HubError, MessageRejected
from hub.message import Message
from hub.records_signing import EnvelopeAction, EnvelopeOrder, EnvelopeReport, Signer
from tests.support import clinic_folder

JANE = Signer(role="patient", name="Jane Doe", email="signs.jane@x.example")
PASSING = ["401", "expire", "429", "429 after 0", "429 until 1", "503", "503 until 1", "408", "slow 0.1"]
"""Faults after which nothing was done: the same order is tried again."""
DOUBTS = ["silent", "silent after commit", "502", "504", "500 after commit", "drop", "hangup", "half", "html", "empty"]
"""Faults after which nobody knows: what is there has to be looked for."""
FORMS = {"consent.pdf": page(["I agree", "/sign-patient/"]), "waiver.pdf": page(["Waiver"])}
NOT_DONE = ("silent", "502", "504", "drop")

_READ: dict[type, tuple[int, EsignConfig]] = {}


class SigningContract:
    """Set `vendor` (or `profile`, its text), and say what the clinic file adds."""

    vendor: ClassVar[str]
    facade: ClassVar[str]
    """Name of the simulator's façade."""
    speaks_certificate: ClassVar[bool] = False
    finds: ClassVar[bool] = True
    """Whether the service can be asked what it has under our reference."""

    def settings(self, service: SigningService, folder: Path) -> str:
        """What stands in the clinic file below the vendor."""
        raise NotImplementedError

    def profile(self) -> str:
        """The text of a profile of its own, for a vendor that does not come with the hub."""
        return ""

    @asynccontextmanager
    async def opened(self, folder: Path, service: SigningService) -> AsyncIterator[Esign]:
        """A connection to a service.  The clinic file is read once for each class: it always has the same port."""
        if type(self) not in _READ:
            _READ[type(self)] = self._read(folder, service)
        port, config = _READ[type(self)]
        assert service.port == port
        self.set_up(service)
        connection = Esign("signing", config)
        try:
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def service(self) -> AsyncIterator[SigningService]:
        known = _READ.get(type(self))
        async with SigningService(pace=0, port=known[0] if known else 0) as service:
            yield service

    @asynccontextmanager
    async def both(self, folder: Path) -> AsyncIterator[tuple[SigningService, Esign]]:
        async with self.service() as service, self.opened(folder, service) as connection:
            yield service, connection

    def set_up(self, service: SigningService) -> None:
        """What the simulator has to know of the clinic."""

    def _read(self, folder: Path, service: SigningService) -> tuple[int, EsignConfig]:
        (folder / "in").mkdir(exist_ok=True)
        (folder / "forms").mkdir(exist_ok=True)
        for name, content in FORMS.items():
            (folder / "forms" / name).write_bytes(content)
        if text := self.profile():
            (folder / "vendors").mkdir(exist_ok=True)
            (folder / "vendors" / f"{self.vendor}.yaml").write_text(text)
        inner = self.settings(service, folder).replace("\n", "\n    ")
        text = (
            f"connections:\n  signing:\n    vendor: {self.vendor}\n    kind: esign\n    documents: forms\n    timeout: 1s\n"
            f"    {inner}\n  drop: {{kind: folder, path: in}}\nflows: {{f: {{from: drop, steps: [{{send: signing}}]}}}}\n"
        )
        config = load_clinic(clinic_folder(folder, text)).settings.connections["signing"].config
        assert isinstance(config, EsignConfig)
        return service.port, config

    @pytest.fixture(autouse=True)
    def _looks_soon(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(calls, "LOOKS", (0.01, 0.05))

    # Asking.

    def order(self, action: EnvelopeAction = "send", id: str = "sig-1", **more: Any) -> EnvelopeOrder:
        values: dict[str, Any] = {
            "title": "Consent for your visit",
            "text": "Please sign before you come.",
            "files": ["consent.pdf", "waiver.pdf"],
            "signers": [JANE],
            **more,
        }
        return EnvelopeOrder(id=id, action=action, **values)

    async def ask(self, connection: Esign, order: EnvelopeOrder) -> EnvelopeReport:
        answer = await connection.send(Message(order, "envelope_order"))
        assert answer is not None
        assert isinstance(answer.record, EnvelopeReport), answer.format
        return answer.record

    async def later(self, connection: Esign, report: EnvelopeReport, action: EnvelopeAction = "look") -> EnvelopeReport:
        return await self.ask(connection, self.order(action, report.id, partner_id=report.partner_id, reason="no more needed"))

    async def patiently(self, connection: Esign, order: EnvelopeOrder) -> EnvelopeReport:
        """As the bus does: what is down is tried again."""
        for _ in range(5):
            try:
                return await self.ask(connection, order)
            except ConnectionDown:
                await asyncio.sleep(0.01)
        raise AssertionError("it stays down")

    # From the order to the signed document.

    async def test_an_envelope_is_sent_signed_and_fetched(self, tmp_path: Path) -> None:
        async with self.both(tmp_path) as (service, connection):
            order = self.order(expires_at=datetime.now(UTC) + timedelta(days=30))
            sent = await self.ask(connection, order)
            [envelope] = service.table.by_id.values()
            assert (sent.id, sent.state, sent.partner_id) == ("sig-1", "sent", envelope.id)
            assert (envelope.reference, envelope.title, envelope.facade) == ("sig-1", "Consent for your visit", self.facade)
            assert [(p.name, p.email) for p in envelope.people] == [("Jane Doe", "signs.jane@x.example")]
            assert [body for _, body in envelope.files] == list(FORMS.values())
            states = []
            while service.move(envelope):
                states.append((await self.later(connection, sent)).state)
            assert states == ["sent", "viewed", "completed"]
            document = None
            for _ in range(3):
                document = await connection.send(Message(self.order("fetch", partner_id=sent.partner_id), "envelope_order"))
                assert document is not None
                if document.format == "document":
                    break
                assert isinstance(document.record, EnvelopeReport)
                assert (document.record.ready, document.record.state) == (False, "completed")
            assert document is not None
            assert (document.format, document.headers["envelope"]) == ("document", "sig-1")
            assert b"signed: Jane Doe" in document.body

    async def test_of_two_signers_one_alone_is_not_enough(self, tmp_path: Path) -> None:
        both = [JANE, Signer(role="clinician", name="Dr. Roe", email="signs.roe@x.example", order=2)]
        async with self.both(tmp_path) as (service, connection):
            sent = await self.ask(connection, self.order(signers=both))
            [envelope] = service.table.by_id.values()
            assert [person.order for person in envelope.people] == [1, 2]
            states = [sent.state]
            while service.move(envelope):
                states.append((await self.later(connection, sent)).state)
        assert list(dict.fromkeys(states)) == ["sent", "viewed", "partially_signed", "completed"]

    @pytest.mark.parametrize(
        ("does", "state"),
        [("declines", "declined"), ("views", "viewed"), ("never", "sent"), ("bounces", "bounced"), ("expires", "expired")],
    )
    async def test_what_signers_do_is_told_in_our_words(self, does: str, state: str, tmp_path: Path) -> None:
        someone = JANE.model_copy(update={"email": f"{does}.jane@x.example"})
        async with self.both(tmp_path) as (service, connection):
            sent = await self.ask(connection, self.order(signers=[someone]))
            [envelope] = service.table.by_id.values()
            while service.move(envelope):
                pass
            report = await self.later(connection, sent)
            assert report.state == state
            if does == "declines":
                assert report.detail == "I have a question first"

    async def test_it_is_withdrawn_once_and_reminded_of_once(self, tmp_path: Path) -> None:
        async with self.both(tmp_path) as (service, connection):
            sent = await self.ask(connection, self.order())
            [envelope] = service.table.by_id.values()
            assert (await self.later(connection, sent, "remind")).state == "sent"
            assert envelope.reminders == 1
            assert (await self.later(connection, sent, "void")).state == "voided"
            assert (await self.later(connection, sent, "void")).state == "voided", "again does no harm"
            assert (await self.later(connection, sent)).state == "voided"
            assert [entry.what for entry in service.table.ledger] == ["send", "remind", "void"]

    async def test_what_is_signed_already_cannot_be_withdrawn(self, tmp_path: Path) -> None:
        async with self.both(tmp_path) as (service, connection):
            sent = await self.ask(connection, self.order())
            while service.move(service.table.by_id[sent.partner_id or ""]):
                pass
            with pytest.raises(MessageRejected) as caught:
                await self.later(connection, sent, "void")
            assert caught.value.final
            assert (await self.later(connection, sent)).state == "completed"

    async def test_what_the_service_does_not_know_is_told_and_not_over(self, tmp_path: Path) -> None:
        async with self.both(tmp_path) as (_, connection):
            report = await self.ask(connection, self.order("look", partner_id="00000000-nobody"))
            assert (report.state, report.found, report.partner_id) == ("unknown", False, "00000000-nobody")

    async def test_the_certificate_is_fetched_where_there_is_one(self, tmp_path: Path) -> None:
        async with self.both(tmp_path) as (service, connection):
            sent = await self.ask(connection, self.order())
            while service.move(service.table.by_id[sent.partner_id or ""]):
                pass
            found = await connection.send(Message(self.order("certificate", partner_id=sent.partner_id), "envelope_order"))
            assert found is not None
            if self.speaks_certificate:
                assert found.body.startswith(b"%PDF-")
                assert b"Certificate" in found.body
            else:
                assert isinstance(found.record, EnvelopeReport)
                assert "part of the document" in (found.record.detail or "")

    async def test_a_template_stands_in_for_files(self, tmp_path: Path) -> None:
        async with self.both(tmp_path) as (service, connection):
            sent = await self.ask(connection, self.order(files=[], template="tpl-7"))
            [envelope] = service.table.by_id.values()
            assert (envelope.template, envelope.files, sent.state) == ("tpl-7", [], "sent")
            assert [(p.role, p.email) for p in envelope.people] == [("patient", "signs.jane@x.example")]

    # Faults.

    @pytest.mark.parametrize("word", PASSING)
    async def test_what_passes_costs_nothing_but_time(self, word: str, tmp_path: Path) -> None:
        async with self.both(tmp_path) as (service, connection):
            service.faults.script(word, to="send")
            sent = await self.patiently(connection, self.order())
            assert sent.state == "sent"
            for to, action in (("look", "look"), ("fetch", "fetch"), ("change", "void")):
                service.faults.script(word, to=to)
                order = self.order(action, partner_id=sent.partner_id, reason="no more needed")  # type: ignore[arg-type]
                answer = None
                for _ in range(5):
                    try:
                        answer = await connection.send(Message(order, "envelope_order"))
                        break
                    except ConnectionDown:
                        await asyncio.sleep(0.01)
                assert answer is not None
            assert not service.table.twice()
            assert len(service.table.by_id) == 1

    @pytest.mark.parametrize("word", DOUBTS)
    async def test_a_doubtful_send_is_looked_for_and_never_repeated(self, word: str, tmp_path: Path) -> None:
        async with self.both(tmp_path) as (service, connection):
            await self.ask(connection, self.order(id="sig-0", title="Another"))
            service.faults.script(word, to="send")
            if word in NOT_DONE or not self.finds:
                with pytest.raises(DoubtfulSend):
                    await self.ask(connection, self.order())
                report = await self.ask(connection, self.order("look"))
                assert (report.state, report.partner_id) == ("unknown", None)
            else:
                report = await self.ask(connection, self.order())
                [envelope] = service.table.under("sig-1")
                assert (report.state, report.partner_id) == ("sent", envelope.id)
            assert len(service.table.under("sig-1")) == (0 if word in NOT_DONE else 1)
            assert not service.table.twice()

    async def test_a_send_that_a_person_replays_is_looked_for_first(self, tmp_path: Path) -> None:
        async with self.both(tmp_path) as (service, connection):
            sent = await self.ask(connection, self.order())
            answer = await connection.send(Message(self.order(), "envelope_order", generation=1))
            assert answer is not None
            assert isinstance(answer.record, EnvelopeReport)
            if self.finds:
                assert answer.record.partner_id == sent.partner_id
                assert not service.table.twice()

    @pytest.mark.parametrize("word", ["silent", "502", "half", "html", "drop", "hangup"])
    async def test_a_look_that_went_wrong_is_a_connection_that_is_down(self, word: str, tmp_path: Path) -> None:
        async with self.both(tmp_path) as (service, connection):
            sent = await self.ask(connection, self.order())
            service.faults.script(word, to="look")
            with pytest.raises(ConnectionDown):
                await self.later(connection, sent)
            assert (await self.later(connection, sent)).state == "sent"

    async def test_what_the_service_refuses_is_refused_once_and_for_all(self, tmp_path: Path) -> None:
        nobody = JANE.model_copy(update={"email": "no address"})
        async with self.both(tmp_path) as (service, connection):
            with pytest.raises(MessageRejected) as caught:
                await self.ask(connection, self.order(signers=[nobody]))
            assert caught.value.final
            assert "no address" not in str(caught.value)
            assert not service.table.by_id

    async def test_a_file_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        async with self.both(tmp_path) as (service, connection):
            for name in ("missing.pdf", "../clinic.yaml"):
                with pytest.raises(HubError, match=r"missing\.pdf|clinic\.yaml"):
                    await self.ask(connection, self.order(files=[name]))
            assert service.requests == 0 or not service.table.by_id
