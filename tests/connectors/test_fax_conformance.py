"""What every fax line has to do, as tests that each proved profile runs through, with every fault of the simulator switched on.

A vendor joins by a class of a few lines; the last one exists only here, and needs no Python beside its settings.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from connectors.fax import FaxLine
from connectors.fax.connector import PIECE
from connectors.fax.settings import FaxConfig
from connectors.simulators.fax_carrier import Carrier
from connectors.simulators.fax_carrier.rest import Rest
from hub import calls
from hub.clinic import load_clinic
from hub.errors import ConfigError, ConnectionDown, DoubtfulSend, MessageRejected, MessageUnusable
from hub.message import Message
from hub.records_fax import FAX, FaxReport
from hub.testing import FakeDeliver
from tests.connectors.web import Web, answer
from tests.support import clinic_folder, until

BEFORE = ("503", "429 after 1", "429", "401", "501")
"""Faults after which nothing was done, and it is known."""
AFTER = ("silent after commit", "hangup", "half", "twice", "empty", "html", "502 after commit")
"""Faults after which it was done, and the hub cannot know."""
UNSURE = ("500", "silent", "drop")
"""Faults after which nothing was done, and the hub cannot know."""
NO_ANSWER = (*BEFORE, *UNSURE, "hangup", "half", "html", "silent after commit", "502 after commit")
"""Faults after which a question has no answer."""


def pdf(pages: int = 1) -> bytes:
    """What the simulator counts as so many pages."""
    return b"%PDF-1.4\n" + b"".join(b"%d 0 obj <</Type /Page>> endobj\n" % n for n in range(1, pages + 1)) + b"%%EOF"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "LOOKS", (0.01, 0.02))
    monkeypatch.setenv("FAX_SECRET", "srfax-password")
    monkeypatch.setenv("FAX_KEY", "Basic documo-key")
    monkeypatch.setenv("FAX_PASSWORD", "rest-secret")


class FaxContract:
    """Subclasses say how a clinic writes the connection."""

    settings: ClassVar[str]
    """In the clinic file; @BASE@ is the simulator."""
    finds = True
    """Whether the carrier can be asked by our reference."""
    polls = True
    """Whether what came in can be looked for."""

    def __init_subclass__(cls) -> None:
        """What a carrier cannot do at all needs no test."""
        if not cls.finds:
            cls.test_it_is_found_although_the_carrier_lists_it_late = None  # type: ignore[assignment]
        if not cls.polls:
            cls.test_what_came_in_is_brought_once_and_then_taken = None  # type: ignore[assignment]
            cls.test_what_came_in_is_not_lost_whatever_goes_wrong = None  # type: ignore[assignment]

    @asynccontextmanager
    async def line(self, tmp_path: Any, carrier: Carrier) -> AsyncIterator[FaxLine]:
        text = "connections:\n  line:\n" + self.settings.replace("@BASE@", carrier.base) + "\nflows: {}\n"
        settings = load_clinic(clinic_folder(tmp_path, text)).settings.connections["line"]
        line = FaxLine("line", settings.config)  # type: ignore[arg-type]
        try:
            yield line
        finally:
            await line.close()

    async def order(self, line: FaxLine, to: str = "+13125550100", reference: str = "r1", **more: str) -> FaxReport:
        headers = {"fax": "f1", "reference": reference, "to": to, "from_name": "Riverside", **more}
        return report_of(await line.send(Message(pdf(4), "document", headers=headers)))

    async def look(self, line: FaxLine, report: FaxReport) -> FaxReport:
        headers = {"fax": "f1", "reference": report.reference, "partner_id": report.partner_id or ""}
        return report_of(await line.send(Message(b"", "look", headers=headers)))

    async def end(self, line: FaxLine, report: FaxReport) -> FaxReport:
        found = report

        async def is_over() -> bool:
            nonlocal found
            found = await self.look(line, report)
            return FAX.is_over(found.state)

        await until(is_over)
        return found

    # Sending.

    @pytest.mark.parametrize(
        ("digit", "state", "error", "pages"),
        [
            ("0", "sent", None, 4),
            ("1", "failed", "busy", 0),
            ("3", "failed", "no_answer", 0),
            ("4", "failed", "partial", 2),
            ("6", "failed", "bad_number", 0),
            ("7", "failed", "refused", 0),
        ],
    )
    async def test_how_it_ends_is_told_in_our_words(
        self, tmp_path: Any, digit: str, state: str, error: str | None, pages: int
    ) -> None:
        async with Carrier() as carrier, self.line(tmp_path, carrier) as line:
            taken = await self.order(line, f"+1312555010{digit}")
            assert (taken.fax, taken.reference) == ("f1", "r1")
            assert taken.partner_id
            assert not FAX.is_over(taken.state)
            end = await self.end(line, taken)
            assert (end.state, end.error, end.pages, end.partner_id) == (state, error, pages, taken.partner_id)
            [fax] = carrier.faxes.out
            assert (fax.to, fax.document) == (f"1312555010{digit}", pdf(4))

    async def test_a_failure_that_was_none_is_told_when_it_is_known(self, tmp_path: Any) -> None:
        async with Carrier() as carrier, self.line(tmp_path, carrier) as line:
            taken = await self.order(line, "+13125550105")
            assert (await self.end(line, taken)).state in ("failed", "sent")
            await carrier.settled()
            assert (await self.look(line, taken)).state == "sent"

    @pytest.mark.parametrize("word", BEFORE)
    async def test_what_was_surely_not_sent_is_sent_again(self, tmp_path: Any, word: str) -> None:
        async with Carrier() as carrier, self.line(tmp_path, carrier) as line:
            carrier.faults.script(word, to="send")
            with pytest.raises((ConnectionDown, MessageRejected)):
                await self.order(line)
            assert carrier.faxes.out == []
            assert (await self.order(line)).partner_id

    @pytest.mark.parametrize("word", AFTER)
    async def test_what_may_have_been_sent_is_found_or_left_to_a_person(self, tmp_path: Any, word: str) -> None:
        async with Carrier() as carrier, self.line(tmp_path, carrier) as line:
            carrier.faults.script(word, to="send")
            with contextlib.nullcontext() if self.finds else pytest.raises(DoubtfulSend):
                assert (await self.order(line)).partner_id == carrier.faxes.out[0].id
            assert len(carrier.faxes.out) == 1

    @pytest.mark.parametrize("word", UNSURE)
    async def test_what_was_perhaps_not_sent_is_left_to_a_person(self, tmp_path: Any, word: str) -> None:
        async with Carrier() as carrier, self.line(tmp_path, carrier) as line:
            carrier.faults.script(word, to="send")
            with pytest.raises(DoubtfulSend):
                await self.order(line)
            assert carrier.faxes.out == []

    async def test_it_is_found_although_the_carrier_lists_it_late(self, tmp_path: Any) -> None:
        async with Carrier() as carrier, self.line(tmp_path, carrier) as line:
            carrier.faults.script("silent after commit", to="send")
            carrier.faults.script("503", "500", to="find")
            with pytest.raises(DoubtfulSend):
                await self.order(line)
            later = report_of(await line.send(Message(b"", "look", headers={"fax": "f1", "reference": "r1"})))
            assert later.partner_id == carrier.faxes.out[0].id
            other = report_of(await line.send(Message(b"", "look", headers={"fax": "f1", "reference": "r2"})))
            assert (other.state, other.partner_id) == ("unknown", None), "only what has our reference counts"

    async def test_one_that_a_person_has_sent_again_is_looked_for_first(self, tmp_path: Any) -> None:
        async with Carrier() as carrier, self.line(tmp_path, carrier) as line:
            first = await self.order(line)
            headers = {"fax": "f1", "reference": "r1", "to": "+13125550100"}
            again = report_of(await line.send(Message(pdf(4), "document", headers=headers, generation=1)))
            assert (again.partner_id == first.partner_id) == self.finds
            assert len(carrier.faxes.out) == (1 if self.finds else 2)

    async def test_a_look_that_fails_is_made_again(self, tmp_path: Any) -> None:
        async with Carrier() as carrier, self.line(tmp_path, carrier) as line:
            taken = await self.order(line)
            for word in NO_ANSWER:
                carrier.faults.script(word, to="look")
                with pytest.raises((ConnectionDown, MessageRejected)):
                    await self.look(line, taken)
            assert (await self.end(line, taken)).state == "sent"

    async def test_slow_answers_are_waited_for(self, tmp_path: Any) -> None:
        async with Carrier() as carrier, self.line(tmp_path, carrier) as line:
            carrier.faults.script("slow 0.15", to="send")
            assert (await self.order(line)).partner_id

    # What came in.

    async def test_what_came_in_is_brought_once_and_then_taken(self, tmp_path: Any) -> None:
        async with Carrier() as carrier, self.line(tmp_path, carrier) as line:
            deliver = FakeDeliver()
            await line.poll(deliver)
            assert deliver.delivered == [], "an empty inbox"
            for number in range(1, 6):
                carrier.faxes.receive(f"+1773555000{number}", pdf(number))
                if number == 1:
                    await line.poll(deliver)
            deliver.failures = 1
            with contextlib.suppress(Exception):
                await line.poll(deliver)
            await line.poll(deliver)
            await line.poll(deliver)
            assert [m.body for m in deliver.delivered] == [pdf(n) for n in range(1, 6)]
            assert [m.headers["from"].lstrip("+") for m in deliver.delivered] == [f"1773555000{n}" for n in range(1, 6)]
            assert [m.headers["pages"] for m in deliver.delivered] == ["1", "2", "3", "4", "5"]
            assert [m.duplicate_key for m in deliver.delivered] == [fax.id for fax in carrier.faxes.incoming]
            assert all(fax.taken for fax in carrier.faxes.incoming)

    @pytest.mark.parametrize("to", ["inbox", "fetch", "taken"])
    async def test_what_came_in_is_not_lost_whatever_goes_wrong(self, tmp_path: Any, to: str) -> None:
        async with Carrier() as carrier, self.line(tmp_path, carrier) as line:
            deliver = FakeDeliver()
            for number, word in enumerate(NO_ANSWER, start=1):
                carrier.faxes.receive("+17735550001", pdf(number))
                carrier.faults.script(word, to=to)
                with contextlib.suppress(ConnectionDown, MessageRejected):
                    await line.poll(deliver)
                await line.poll(deliver)
                assert [m.body for m in deliver.delivered] == [pdf(n) for n in range(1, number + 1)], word
                assert carrier.faxes.incoming[-1].taken

    async def test_one_that_came_in_is_fetched_by_its_id(self, tmp_path: Any) -> None:
        async with Carrier() as carrier, self.line(tmp_path, carrier) as line:
            fax = carrier.faxes.receive("+17735550001", pdf(3))
            found = await line.send(Message(b"", "fetch", headers={"partner_id": fax.id}))
            assert found is not None
            assert (found.format, found.body, found.headers["partner_id"]) == ("document", pdf(3), fax.id)
            with pytest.raises((MessageUnusable, MessageRejected)):
                await line.send(Message(b"", "fetch", headers={"partner_id": "0"}))

    async def test_the_connection_is_checked_without_sending(self, tmp_path: Any) -> None:
        async with Carrier() as carrier, self.line(tmp_path, carrier) as line:
            assert "answers" in await line.check()
            assert carrier.faxes.out == []


def report_of(answer: Message | None) -> FaxReport:
    assert answer is not None
    assert answer.format == "fax_report"
    return FaxReport.model_validate_json(answer.body)


class TestDocumo(FaxContract):
    settings = "    {vendor: documo, kind: fax, url: '@BASE@/documo', auth: {api_key: {$env: FAX_KEY}}, timeout: 400ms}"
    finds = polls = False


class TestSrfax(FaxContract):
    settings = """    vendor: srfax
    kind: fax
    url: '@BASE@'
    secrets: {access_id: '12345', access_pwd: {$env: FAX_SECRET}}
    values: {caller_id: '3125550199', email: fax@clinic.example}
    timeout: 400ms
"""


class TestACarrierOfNobody(FaxContract):
    """A vendor that exists only here: all of it is settings."""

    settings = """    kind: fax
    url: '@BASE@/rest'
    auth: {user: clinic, password: {$env: FAX_PASSWORD}}
    timeout: 400ms
    send:
      path: /faxes
      body: {to: "{to}", tag: "{reference}", content: "{document|base64}"}
      answer: {partner_id: id, state: state}
    look: {method: GET, path: "/faxes/{partner_id}", nothing: ["404"], answer: {state: state, error: why, pages: pages_sent}}
    find:
      method: GET
      path: /faxes
      query: {tag: "{reference}"}
      items: $list
      answer: {partner_id: id, reference: tag, state: state}
    inbox:
      method: GET
      path: /inbox
      items: faxes
      next_page: next
      page: start
      answer: {partner_id: id, from: from, pages: pages}
    fetch: {method: GET, path: "/inbox/{partner_id}", nothing: ["404"], answer: {document: $body}}
    taken: {method: DELETE, path: "/inbox/{partner_id}"}
    states: {queued: queued, sending: sending, sent: sent, failed: failed}
    errors: {busy: busy, no_answer: no_answer, partial: partial, bad_number: bad_number, refused: refused}
"""

    async def test_a_page_that_repeats_an_entry_brings_it_once(self, tmp_path: Any) -> None:
        async with Carrier() as carrier, self.line(tmp_path, carrier) as line:
            carrier.facade(Rest).repeats = True
            for number in range(5):
                carrier.faxes.receive(f"+1773555000{number}", pdf())
            deliver = FakeDeliver()
            await line.poll(deliver)
            assert [m.duplicate_key for m in deliver.delivered] == [fax.id for fax in carrier.faxes.incoming]

    async def test_one_that_cannot_be_fetched_is_told_and_keeps_none_from_coming(self, tmp_path: Any) -> None:
        async with Carrier() as carrier, self.line(tmp_path, carrier) as line:
            for number in range(3):
                carrier.faxes.receive(f"+1773555000{number}", pdf())
            carrier.faults.script("404", to="fetch")
            deliver = FakeDeliver()
            with pytest.raises(ConnectionDown, match="1 fax"):
                await line.poll(deliver)
            assert len(deliver.delivered) == 2

    async def test_one_that_cannot_be_fetched_waits_for_the_others(self, tmp_path: Any) -> None:
        """Its document may be longer than any answer that is read, and comes first in the inbox."""
        async with Carrier() as carrier, self.line(tmp_path, carrier) as line:
            for number in range(3):
                carrier.faxes.receive(f"+1773555000{number}", pdf())
            deliver = FakeDeliver()
            carrier.faults.script("drop", "ok", "ok", "drop", to="fetch")
            for _ in range(2):
                with pytest.raises(ConnectionDown):
                    await line.poll(deliver)
            assert [m.duplicate_key for m in deliver.delivered] == [fax.id for fax in carrier.faxes.incoming[1:]]
            await line.poll(deliver)
            assert len(deliver.delivered) == 3


# What a clinic writes is checked before anything runs.


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("{to}", "{number}"), "`send` wants number, which is none of"),
        (("{partner_id: id, state: state}", "{state: state}"), "the answer of `send` has to name partner_id"),
        (("pages: pages_sent", "sheets: pages_sent"), "the answer of `look` names sheets"),
        (("sent: sent", "sent: arrived"), "sent: input should be 'queued', 'sending', 'sent' or 'failed'"),
        (("busy: busy", "busy: engaged"), "busy: input should be 'partial', 'busy'"),
        (('fetch: {method: GET, path: "/inbox/{partner_id}"', 'find: {method: GET, path: "/x/{reference}"'), "find"),
    ],
)
def test_a_profile_that_is_wrong_is_told_with_its_place(tmp_path: Any, change: tuple[str, str], told: str) -> None:
    text = TestACarrierOfNobody.settings.replace("@BASE@", "http://127.0.0.1:1").replace(*change)
    with pytest.raises(ConfigError) as wrong:
        load_clinic(clinic_folder(tmp_path, f"connections:\n  line:\n{text}\nflows: {{}}\n"))
    assert told in str(wrong.value)
    assert any(problem.line > 5 for problem in wrong.value.problems)


@pytest.mark.parametrize("to", ["", "7735550100", "+1 773 555 0100", "+0123456789", "+1773555010O"])
async def test_a_number_that_is_none_is_not_dialled(tmp_path: Any, to: str) -> None:
    contract = TestACarrierOfNobody()
    async with Carrier() as carrier, contract.line(tmp_path, carrier) as line:
        with pytest.raises(MessageUnusable) as wrong:
            await contract.order(line, to)
        assert wrong.value.code == "FAX-002"
        assert to not in str(wrong.value) or not to
        assert carrier.faxes.out == []


@pytest.mark.parametrize("line_end", ["", "\r\n"])
@pytest.mark.parametrize("size", [0, 1, 2, 3 * PIECE // 4, 2 * PIECE + 1])
async def test_a_document_in_base64_is_decoded_beside_all_else(
    size: int, line_end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = b"%PDF-1.4\n" + bytes(range(256)) * (size // 256) + b"x" * (size % 256) + b"%%EOF"
    text = base64.encodebytes(document).decode().replace("\n", line_end)
    threads: list[threading.Thread] = []

    def decode(*given: Any, **more: Any) -> bytes:
        threads.append(threading.current_thread())
        return base64.b64decode(*given, **more)

    monkeypatch.setattr("connectors.fax.connector.base64", SimpleNamespace(b64decode=decode))
    api: dict[str, Any] = {"send": {"answer": {"partner_id": "id"}}, "fetch": {"answer": {"document": "Result"}}}
    async with Web(lambda _: answer(200, json.dumps({"Result": text}).encode())) as web:
        line = FaxLine("line", FaxConfig(kind="fax", url=f"http://127.0.0.1:{web.port}", **api))
        found = await line.send(Message(b"", "fetch", headers={"partner_id": "1"}))
        await line.close()
    assert found is not None
    assert found.body == document
    assert threading.main_thread() not in threads


@pytest.mark.parametrize("text", ["JVBERi0xLjQ", "JVBE!i0xLjQ=", "JVBERi0xLjQ=JVBERi0xLjQ=", "\u00e9"])
async def test_what_is_no_base64_is_no_document(text: str) -> None:
    api: dict[str, Any] = {"send": {"answer": {"partner_id": "id"}}, "fetch": {"answer": {"document": "Result"}}}
    async with Web(lambda _: answer(200, json.dumps({"Result": text}).encode())) as web:
        line = FaxLine("line", FaxConfig(kind="fax", url=f"http://127.0.0.1:{web.port}", **api))
        with pytest.raises(MessageRejected):
            await line.send(Message(b"", "fetch", headers={"partner_id": "1"}))
        await line.close()


async def test_a_cover_page_goes_in_front_where_the_carrier_has_none(tmp_path: Any) -> None:
    from reportlab.pdfgen.canvas import Canvas

    page = tmp_path / "page.pdf"
    canvas = Canvas(str(page))
    canvas.drawString(72, 72, "a page")
    canvas.save()
    contract = TestACarrierOfNobody()
    async with Carrier() as carrier, contract.line(tmp_path, carrier) as line:
        headers = {"fax": "f1", "reference": "r1", "to": "+13125550100", "cover": "To: Dr. Who\nFrom: Riverside"}
        await line.send(Message(await asyncio.to_thread(page.read_bytes), "document", headers=headers))
        assert carrier.faxes.out[0].pages == 2


# Profiles that nobody has tried: they can be used as they are, and say so.

UNTRIED = {
    "sinch": ("auth: {user: u, password: @S@}, values: {project: p, from: '+1'}", "verify: {user: hub, secrets: [@S@]}"),
    "phaxio": ("auth: {user: u, password: @S@}", "public_url: 'https://hub.example/hooks', verify: {secrets: [@S@]}"),
    "efax": ("auth: {client_id: i, client_secret: @S@}, values: {user_id: u}", ""),
    "westfax": ("secrets: {user: @S@, password: @S@}, values: {product: x}", "path: /hooks/unguessable"),
    "ringcentral": ("auth: {client_id: i, client_secret: @S@, assertion: @S@}", ""),
}


@pytest.mark.parametrize("vendor", UNTRIED)
def test_a_profile_that_was_never_tried_is_whole(tmp_path: Any, vendor: str) -> None:
    line, hooks = UNTRIED[vendor]
    text = f"connections:\n  line: {{vendor: {vendor}, kind: fax, {line}}}\n"
    if hooks:
        path = "" if "path:" in hooks else "path: /hooks, "
        text += f"  hooks: {{vendor: {vendor}, kind: webhook_listener, port: '0', {path}{hooks}}}\n"
    text = text.replace("@S@", "{$env: FAX_SECRET}")
    connections = load_clinic(clinic_folder(tmp_path, text + "flows: {}\n")).settings.connections
    config: Any = connections["line"].config
    assert config.look is not None
    assert set(config.states.values()) >= {"queued", "sent", "failed"}
