"""Telephone services that are proven: each order once, whatever goes wrong, and the same words for what becomes of it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from connectors.phone import Sms, Voice
from connectors.phone.settings import SmsConfig
from connectors.simulators.phone_network import Person, PhoneNetwork
from connectors.simulators.phone_network.network import ASSERTION
from hub.clinic import load_clinic
from hub.errors import ConnectionDown, DoubtfulSend, MessageUnusable
from hub.message import Message
from hub.records_reminders import CallOrder, Report, TextOrder
from hub.testing import ConnectorContract
from tests.support import clinic_folder

JANE = "+13125550142"
LATER = ["503", "429 after 1", "429", "expire"]
DOUBTS = ["silent", "silent after commit", "502 after commit", "drop", "hangup", "half", "empty", "html", "twice"]


class PhoneContract:
    """What every profile of kind sms or voice has to do."""

    channel: ClassVar[str] = "text"
    kind: ClassVar[str] = "sms"
    vendor: ClassVar[str]
    more: ClassVar[str]

    @asynccontextmanager
    async def both(self, folder: Path, *, account: str = "demo") -> AsyncIterator[tuple[PhoneNetwork, Any]]:
        (folder / "token").write_text("sim-token")
        (folder / "assertion").write_text(ASSERTION)
        async with PhoneNetwork(account=account) as network:
            text = (
                f"connections:\n  phone: {{vendor: {self.vendor}, kind: {self.kind}, sender: '+13125550100', timeout: 200ms, "
            )
            file = clinic_folder(folder, f"{text}{self.more.replace('@BASE@', network.base)}}}\n")
            found = load_clinic(file).settings.connections["phone"]
            connection: Any = found.connector("phone", found.config)
            try:
                yield network, connection
            finally:
                await connection.close()

    def order(self, *, until: timedelta | None = None, id: str = "r-1") -> Message:
        kind = TextOrder if self.channel == "text" else CallOrder
        moment = datetime.now(UTC) + until if until is not None else None
        order = kind(id=id, to=JANE, text="Your visit <is> on Monday & more.", until=moment)
        return Message(order, f"{self.channel}_order")

    async def ask(self, connection: Any, message: Message) -> Report:
        answer = await connection.send(message)
        assert answer.format == f"{self.channel}_report"
        return Report.model_validate_json(answer.body)

    async def look(self, connection: Any, report: Report) -> Report:
        headers = {"thing": report.id, "partner_id": report.partner_id or ""}
        return await self.ask(connection, Message(b"", "look", headers=headers))

    async def test_an_order_leaves_with_its_words_and_is_looked_after(self, tmp_path: Path) -> None:
        async with self.both(tmp_path) as (network, connection):
            sent = await self.ask(connection, self.order())
            assert (sent.id, sent.state) == ("r-1", "queued")
            assert [thing.to for thing in network.things] == [JANE]
            assert "Your visit <is> on Monday & more." in network.things[0].words
            await network.quiet()
            assert (await self.look(connection, sent)).state == ("delivered" if self.channel == "text" else "answered")

    @pytest.mark.parametrize("word", LATER)
    async def test_what_was_surely_not_done_may_be_asked_again(self, word: str, tmp_path: Path) -> None:
        async with self.both(tmp_path) as (network, connection):
            network.faults.script(word, to="send")
            with contextlib.suppress(ConnectionDown):  # a token that ended is fetched anew at once
                await self.ask(connection, self.order())
            if not network.things:
                await self.ask(connection, self.order())
            assert len(network.things) == 1

    @pytest.mark.parametrize("word", DOUBTS)
    async def test_what_may_have_been_done_is_a_doubt(self, word: str, tmp_path: Path) -> None:
        async with self.both(tmp_path) as (network, connection):
            network.faults.script(word, to="send")
            with pytest.raises(DoubtfulSend):
                await self.ask(connection, self.order())
            assert len(network.things) <= 1

    async def test_a_number_that_cannot_be_reached_is_told_as_a_report(self, tmp_path: Path) -> None:
        async with self.both(tmp_path) as (network, connection):
            network.people[JANE] = Person(text="landline", call="busy")
            sent = await self.ask(connection, self.order())
            await network.quiet()
            looked = await self.look(connection, sent)
            assert (looked.state, looked.trouble) == ("failed", "landline" if self.channel == "text" else "busy")

    async def test_what_is_too_late_does_not_leave(self, tmp_path: Path) -> None:
        async with self.both(tmp_path) as (network, connection):
            report = await self.ask(connection, self.order(until=timedelta(seconds=-1)))
            assert (report.state, report.trouble) == ("failed", "late")
            assert network.requests == 0

    async def test_looks_go_wrong_without_harm(self, tmp_path: Path) -> None:
        async with self.both(tmp_path) as (network, connection):
            sent = await self.ask(connection, self.order())
            for word in ("503", "drop", "html", "half"):
                network.faults.script(word, to="look")
                with pytest.raises(ConnectionDown):
                    await self.look(connection, sent)
            gone = await self.look(connection, sent.model_copy(update={"partner_id": "unheard-of"}))
            assert (gone.state, gone.detail) == ("queued", "not there"), "no state is taken back by it"
            assert len(network.things) == 1

    async def test_what_is_no_order_is_refused(self, tmp_path: Path) -> None:
        async with self.both(tmp_path) as (_, connection):
            for wrong in (Message(b"{}", f"{self.channel}_order"), Message(b"x", "hl7v2")):
                with pytest.raises(MessageUnusable):
                    await connection.send(wrong)


class TextContract(PhoneContract):
    @pytest.mark.parametrize(
        ("person", "trouble"), [(Person(text="invalid"), "bad_number"), (Person(opted_out=True), "opted_out")]
    )
    async def test_a_refusal_about_the_number_is_a_report(self, person: Person, trouble: str, tmp_path: Path) -> None:
        async with self.both(tmp_path) as (network, connection):
            network.people[JANE] = person
            report = await self.ask(connection, self.order())
            assert (report.state, report.trouble) == ("failed", trouble)


TWILIO = "url: '@BASE@', values: {account: demo}, auth: {user: demo, password: {$file: token}}"


class TestTwilioTexts(TextContract):
    vendor = "twilio"
    more = TWILIO


class TestTwilioCalls(PhoneContract):
    channel = "call"
    kind = "voice"
    vendor = "twilio"
    more = f"{TWILIO}, reply_url: 'http://127.0.0.1:1/digit'"


class TestRingCentralTexts(TextContract):
    vendor = "ringcentral"
    more = (
        "url: '@BASE@', auth: {token_url: '@BASE@/token', client_id: demo, client_secret: {$file: token},"
        " assertion: {$file: assertion}}"
    )


CALLS: dict[str, Any] = {
    "url": "http://127.0.0.1:1",
    "send": {"path": "/texts", "body": {"to": "{to}", "text": "{text}"}, "answer": {"partner_id": "id", "state": "state"}},
    "look": {"method": "GET", "path": "/texts/{partner_id}", "answer": {"state": "state"}},
    "states": {"ok": "sent"},
}


class TestSms(ConnectorContract):
    connector = Sms
    config: ClassVar = CALLS

    def outgoing(self) -> Message:
        return Message(TextOrder(id="r-1", to=JANE, text="x"), "text_order")

    async def far_side(self, config: dict[str, Any]) -> Any:
        pytest.skip("PhoneContract sends to a service")


class TestVoice(ConnectorContract):
    connector = Voice
    config: ClassVar = {**CALLS, "states": {"ok": "ringing"}}

    def outgoing(self) -> Message:
        return Message(CallOrder(id="r-1", to=JANE, text="x"), "call_order")

    async def far_side(self, config: dict[str, Any]) -> Any:
        pytest.skip("PhoneContract sends to a service")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"states": {"ok": "sended"}}, "'sended' is no state of it; there are queued, sent, delivered, failed"),
        ({"states": {"ok": "failed nobody"}}, "'nobody' is no trouble"),
        ({"send": CALLS["send"] | {"body": {"to": "{number}"}}}, "nothing fills {number}"),
        ({"send": CALLS["send"] | {"answer": {}}}, "it has to say where `partner_id` stands"),
        ({"look": CALLS["look"] | {"answer": {}}}, "it has to say where `state` stands"),
        ({"send": CALLS["send"] | {"body": {"from": "{from}"}}}, "Field required"),
    ],
)
def test_what_is_wrong_with_a_profile_is_told(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told.replace("{", r"\{").replace("}", r"\}")):
        SmsConfig.model_validate({"kind": "sms", **CALLS, **changes})
