"""A HylaFAX server, simulated: jobs are made, submitted, looked at; the moment of doubt is that of JSUBM.

tests/system/test_hylafax_debian.py does the same with Debian's own hfaxd.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import ValidationError
from reportlab.pdfgen.canvas import Canvas

from connectors.fax import Hylafax, hylafax
from connectors.simulators.hylafax import PASSWORD, USER, HylafaxServer
from hub.errors import ConnectionDown, DoubtfulSend, MessageRejected, MessageUnusable
from hub.message import Message
from hub.records_fax import FAX, FaxReport
from tests.support import until


def pdf(pages: int = 1) -> bytes:
    written = io.BytesIO()
    canvas = Canvas(written)
    for number in range(pages):
        canvas.drawString(72, 72, f"page {number + 1}")
        canvas.showPage()
    canvas.save()
    return written.getvalue()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hylafax, "LOOKS", (0.01, 0.05))


@asynccontextmanager
async def at_server(**settings: Any) -> AsyncIterator[tuple[HylafaxServer, Hylafax]]:
    async with HylafaxServer() as server:
        known = {"host": "127.0.0.1", "port": server.port, "user": USER, "password": PASSWORD, "timeout": "500ms"}
        config = Hylafax.Config.model_validate({"kind": "hylafax", **known, **settings})
        yield server, Hylafax("server", config)  # type: ignore[arg-type]


def report_of(answer: Message | None) -> FaxReport:
    assert answer is not None
    assert answer.format == "fax_report"
    return FaxReport.model_validate_json(answer.body)


async def order(line: Hylafax, to: str = "+13125550100", reference: str = "r1", pages: int = 4, **more: str) -> FaxReport:
    headers = {"fax": "f1", "reference": reference, "to": to, **more}
    return report_of(await line.send(Message(pdf(pages), "document", headers=headers)))


async def look(line: Hylafax, reference: str = "r1") -> FaxReport:
    return report_of(await line.send(Message(b"", "look", headers={"fax": "f1", "reference": reference})))


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
async def test_how_it_ends_is_told_in_our_words(digit: str, state: str, error: str | None, pages: int) -> None:
    async with at_server(prefix="9,") as (server, line):
        taken = await order(line, f"+1312555010{digit}")
        assert (taken.fax, taken.reference, taken.state) == ("f1", "r1", "queued")
        found = taken

        async def is_over() -> bool:
            nonlocal found
            found = await look(line)
            return FAX.is_over(found.state)

        await until(is_over)
        assert (found.state, found.error, found.pages, found.partner_id) == (state, error, pages, taken.partner_id)
        [fax] = server.faxes.out
        assert (fax.to, fax.pages, fax.reference) == (f"9,1312555010{digit}", 4, "r1")


@pytest.mark.parametrize("to", ["login", "store"])
@pytest.mark.parametrize("word", ["503", "drop", "silent"])
async def test_what_was_surely_not_submitted_is_sent_again(to: str, word: str) -> None:
    async with at_server() as (server, line):
        server.faults.script(word, to=to)
        with pytest.raises(ConnectionDown):
            await order(line)
        assert server.faxes.out == []
        assert (await order(line)).partner_id


async def test_what_was_submitted_without_an_answer_is_found() -> None:
    async with at_server() as (server, line):
        server.faults.script("silent after commit", to="submit")
        assert (await order(line)).partner_id == server.faxes.out[0].id
        assert len(server.faxes.out) == 1


@pytest.mark.parametrize("word", ["drop", "silent"])
async def test_what_was_perhaps_not_submitted_is_left_to_a_person(word: str) -> None:
    async with at_server() as (server, line):
        server.faults.script(word, to="submit")
        with pytest.raises(DoubtfulSend):
            await order(line)
        assert server.faxes.out == []
        assert (await look(line)).state == "unknown"


async def test_a_job_that_the_server_cannot_take_now_is_submitted_later() -> None:
    async with at_server() as (server, line):
        server.faults.script("503", to="submit")
        with pytest.raises(ConnectionDown):
            await order(line)
        assert (await order(line)).partner_id


async def test_one_that_arrived_after_all_is_not_sent_again() -> None:
    async with at_server() as (server, line):
        await order(line)
        await until(lambda: server.faxes.out[0].stage(server.faxes.clock()).state == "sent")
        again = await order(line, reference="r2", before="r1")
        assert (again.reference, again.state) == ("r1", "sent")
        assert len(server.faxes.out) == 1


async def test_fax_machines_get_what_they_know() -> None:
    async with at_server(document="tiff") as (server, line):
        await order(line, pages=2)
        assert server.faxes.out[0].document.startswith(b"II*\0")
    async with at_server() as (server, line):
        await order(line, pages=2, cover="To: Laboratory")
        assert server.faxes.out[0].pages == 3


async def test_who_is_not_known_is_not_let_in() -> None:
    async with at_server(password="guessed") as (server, line):
        with pytest.raises(ConnectionDown) as wrong:
            await order(line)
        assert wrong.value.code == "NET-020"
        assert "guessed" not in str(wrong.value)
        assert server.faxes.out == []


async def test_what_cannot_be_sent_is_told_without_asking() -> None:
    async with at_server() as (server, line):
        for headers in ({"to": "911", "reference": "r1"}, {"to": "+13125550100", "reference": 'r"1'}):
            with pytest.raises(MessageUnusable):
                await line.send(Message(pdf(), "document", headers=headers))
        with pytest.raises(MessageUnusable):
            await line.send(Message(b"", "fetch"))
        with pytest.raises(MessageUnusable):
            await line.send(Message(b"no document", "document", headers={"to": "+13125550100", "reference": "r1"}))
        assert "0 job(s)" in await line.check()
        assert server.faxes.out == []


async def test_a_refusal_is_about_this_fax(monkeypatch: pytest.MonkeyPatch) -> None:
    async with at_server() as (server, line):
        monkeypatch.setattr(hylafax._Server, "store", lambda self, document: "/tmp/none")
        with pytest.raises((MessageRejected, ConnectionDown)):
            await order(line)
        assert server.faxes.out == []


def test_beyond_this_machine_it_needs_a_reason() -> None:
    with pytest.raises(ValidationError, match="no TLS"):
        Hylafax.Config.model_validate({"kind": "hylafax", "host": "fax.clinic.example", "user": "hub"})
