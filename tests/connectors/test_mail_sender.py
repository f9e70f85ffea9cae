"""Mail going out: all addresses or none, TLS enforced, and what a server says sorted by what follows from it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.mail import MailSender
from connectors.mail.settings import MailSenderConfig
from hub.errors import ConnectionDown, DoubtfulSend, MessageRejected
from hub.message import Message, new_id
from hub.records_mail import AttachedFile, MailOrder, MailReport
from hub.testing import CANARY, ConnectorContract
from tests.connectors.certificates import Certificates
from tests.connectors.smtp_server import PASSWORD, USER, SmtpServer
from tests.connectors.web import Web, answer
from tests.support import ask, clinic_folder, free_port, running_hub, until

PDF = b"%PDF-1.4 not much of one\n" + bytes(range(256))


class TestContract(ConnectorContract):
    connector = MailSender
    config = {"host": "127.0.0.1", "port": "1", "encryption": "none", "sender": "hub@clinic.example", "to": "a@b.example"}

    async def far_side(self, config: dict[str, Any]) -> Any:
        self.server = SmtpServer()
        self.server.port = config["port"] = free_port()
        return self.server

    def arrived(self, connection: Any, tmp_path: Path) -> bytes | None:
        [attached] = self.server.mails[0].mail.iter_attachments()
        content: bytes = attached.get_payload(decode=True)
        return content


def document(body: bytes = PDF, **headers: str) -> Message:
    return Message(body, "document", headers=headers, id=new_id())


def ordered(**fields: Any) -> Message:
    return Message(MailOrder.model_validate({"to": ["anna@home.example"], **fields}), "mail_order", id=new_id())


@asynccontextmanager
async def sending(server: SmtpServer, **given: Any) -> AsyncIterator[MailSender]:
    connection = MailSender("far", MailSenderConfig.model_validate(server.settings(**given)))
    try:
        yield connection
    finally:
        await connection.close()


async def refused(connection: MailSender, message: Message | None = None) -> MessageRejected:
    with pytest.raises(MessageRejected) as caught:
        await connection.send(message or document())
    return caught.value


async def down(connection: MailSender, message: Message | None = None) -> ConnectionDown:
    with pytest.raises(ConnectionDown) as caught:
        await connection.send(message or document())
    return caught.value


# What a mail is made of.


async def test_a_document_goes_as_an_attachment_with_its_media_type_and_a_neutral_name() -> None:
    async with SmtpServer() as server, sending(server, text="Here it is.", subject="Document {id}") as connection:
        message = document(file="DOE_JANE.pdf")
        report = await connection.send(message)
    [taken] = server.mails
    mail = taken.mail
    [attached] = mail.iter_attachments()
    assert (attached.get_content_type(), attached.get_filename()) == ("application/pdf", "document.pdf")
    assert attached.get_payload(decode=True) == PDF
    body = mail.get_body()
    assert isinstance(body, EmailMessage)
    assert body.get_content().strip() == "Here it is."
    assert mail["message-id"] == f"<{message.id}@clinic.example>"
    assert mail["subject"] == f"Document {message.id}"
    assert mail["auto-submitted"] == "auto-generated"
    assert (taken.sender, taken.to) == ("hub@clinic.example", ["partner@hospital.example"])
    assert b"DOE" not in taken.content
    assert report is not None
    assert (report.format, report.headers["answer"]) == ("mail_report", "250")
    assert isinstance(report.record, MailReport)
    assert report.record.to == ["partner@hospital.example"]
    assert report.record.message_id == f"{message.id}@clinic.example"


@pytest.mark.parametrize(
    ("format", "body", "kind", "name"),
    [
        ("hl7v2", b"MSH|^~\\&|A\rPID|1\r", "x-application/hl7-v2+er7", "document.hl7"),
        ("x12", b"ISA*00*", "application/edi-x12", "document.edi"),
        ("document", b"II*\0rest", "image/tiff", "document.tif"),
        ("bytes", b"\0\1\2", "application/octet-stream", "document.bin"),
    ],
)
async def test_what_is_no_text_is_attached_byte_for_byte(format: str, body: bytes, kind: str, name: str) -> None:
    async with SmtpServer() as server, sending(server) as connection:
        await connection.send(Message(body, format))
    [attached] = server.mails[0].mail.iter_attachments()
    assert (attached.get_content_type(), attached.get_filename()) == (kind, name)
    assert attached.get_payload(decode=True) == body


async def test_an_order_brings_address_subject_text_and_files() -> None:
    order = ordered(
        subject="Your visit\r\nBcc: spy@evil.example",
        text="Hällo.\n.\nBis bald\n",
        attached=[AttachedFile(content=PDF, name="../plan 1"), AttachedFile(content=b"just text")],
    )
    async with SmtpServer() as server, sending(server, sender_name="Riverside") as connection:
        await connection.send(order)
    [taken] = server.mails
    body = taken.mail.get_body()
    assert isinstance(body, EmailMessage)
    assert body.get_content().replace("\r\n", "\n").startswith("Hällo.\n.\nBis bald\n")
    assert taken.to == ["anna@home.example"]
    assert taken.mail["subject"] == "Your visit Bcc: spy@evil.example"
    assert taken.mail["bcc"] is None
    assert taken.mail["from"] == "Riverside <hub@clinic.example>"
    assert [part.get_filename() for part in taken.mail.iter_attachments()] == [".._plan_1.pdf", "document-2.txt"]
    assert taken.content.isascii()


async def test_a_text_is_the_text_of_the_mail() -> None:
    async with SmtpServer() as server, sending(server) as connection:
        await connection.send(Message("Grüße".encode(), "text"))
    assert not list(server.mails[0].mail.iter_attachments())
    assert server.mails[0].mail.get_content().strip() == "Grüße"


async def test_a_secure_gateway_finds_its_trigger() -> None:
    given = {"subject_prefix": "[secure] ", "headers": {"X-Encrypt": "yes"}}
    async with SmtpServer() as server, sending(server, **given) as connection:
        await connection.send(document())
    assert server.mails[0].mail["subject"] == "[secure] A message for you"
    assert server.mails[0].mail["x-encrypt"] == "yes"


async def test_a_number_becomes_the_address_of_a_fax_service() -> None:
    async with SmtpServer() as server, sending(server, address="{digits}@fax.example") as connection:
        await connection.send(document(to="+13125550100"))
    assert server.mails[-1].to == ["13125550100@fax.example"]


@pytest.mark.parametrize(
    ("receipts", "header", "wanted"),
    [
        ("none", "", (None, None)),
        ("processed", "", ("hub@clinic.example", None)),
        ("dispatched", "", ("hub@clinic.example", "X-DIRECT-FINAL-DESTINATION-DELIVERY=optional,true")),
        ("none", "dispatched", ("hub@clinic.example", "X-DIRECT-FINAL-DESTINATION-DELIVERY=optional,true")),
        ("dispatched", "none", (None, None)),
    ],
)
async def test_receipts_are_asked_for(receipts: str, header: str, wanted: tuple[str | None, str | None]) -> None:
    async with SmtpServer() as server, sending(server, receipts=receipts) as connection:
        await connection.send(document(**({"receipts": header} if header else {}), mail_id="m-1"))
    mail = server.mails[0].mail
    options = mail["disposition-notification-options"]
    assert (mail["disposition-notification-to"], options and options.strip()) == wanted
    assert mail["message-id"] == "<m-1@clinic.example>"


@pytest.mark.parametrize(
    "message",
    [
        Message(b"not json", "mail_order"),
        ordered(to=["a@b.example\r\nRCPT TO:<c@d.example>"]),
        ordered(to=["nobody"]),
        ordered(to=["jörg@home.example"]),
        document(to="no-address"),
    ],
)
async def test_what_cannot_become_a_mail_is_refused_for_good_and_without_its_words(message: Message) -> None:
    async with SmtpServer() as server, sending(server) as connection:
        error = await refused(connection, message)
        assert (error.code, error.final) == ("MAI-006", True)
        assert "example" not in str(error).replace("far", "")
    assert server.mails == []


async def test_without_any_address_nothing_is_sent() -> None:
    async with SmtpServer() as server, sending(server, to=[]) as connection:
        assert (await refused(connection)).code == "MAI-006"


# TLS and logging in.


async def test_starttls_with_a_login(certificates: Certificates) -> None:
    tls = {"encryption": "starttls", "tls": {"ca": certificates.ca}, "user": USER, "password": PASSWORD}
    async with SmtpServer(tls=certificates.server("127.0.0.1"), login=True) as server, sending(server, **tls) as connection:
        assert "takes the login" in await connection.check()
        await connection.send(document())
    assert len(server.mails) == 1
    assert server.logins[-1] == (USER, PASSWORD.encode())


async def test_tls_from_the_first_byte_and_a_certificate_of_another_name(certificates: Certificates) -> None:
    tls = {"encryption": "always", "tls": {"ca": certificates.ca, "server_name": "ehr.example"}}
    async with SmtpServer(tls=certificates.server("ehr.example"), at_once=True) as server:
        async with sending(server, **tls) as connection:
            await connection.send(document())
        assert len(server.mails) == 1
        async with sending(server, **{**tls, "tls": {"ca": certificates.ca}}) as connection:
            assert (await down(connection)).code == "TLS-003"


async def test_a_server_that_wants_a_certificate_of_ours(certificates: Certificates) -> None:
    ours = {"ca": certificates.ca, **certificates.tls("client@clinic.example")}
    async with SmtpServer(tls=certificates.server("127.0.0.1", clients=True), at_once=True) as server:
        async with sending(server, encryption="always", tls=ours) as connection:
            await connection.send(document())
        async with sending(server, encryption="always", tls={"ca": certificates.ca}) as connection:
            await down(connection)
    assert len(server.mails) == 1


async def test_a_certificate_nobody_here_trusts(certificates: Certificates) -> None:
    for at_once, encryption in ((True, "always"), (False, "starttls")):
        tls = certificates.server("127.0.0.1", ca="other")
        given = {"encryption": encryption, "tls": {"ca": certificates.ca}, "user": USER, "password": PASSWORD}
        async with SmtpServer(tls=tls, at_once=at_once, login=True) as server, sending(server, **given) as connection:
            error = await down(connection)
            assert error.code == "TLS-003"
            assert server.logins == []


async def test_nothing_goes_to_a_server_that_offers_no_tls() -> None:
    given = {"encryption": "starttls", "user": USER, "password": PASSWORD}
    async with SmtpServer(login=True) as server, sending(server, **given) as connection:
        assert (await down(connection)).code == "MAI-001"
    assert server.logins == []


async def test_a_refused_login_is_not_repeated_at_once() -> None:
    async with SmtpServer(login=True) as server, sending(server, user=USER, password="wrong") as connection:
        error = await down(connection)
        assert (error.code, error.retry_after) == ("NET-020", 300.0)
        tried = len(server.logins)
        again = await down(connection)
        assert again.code == "NET-020"
        assert again.retry_after is not None
        assert len(server.logins) == tried
    assert "wrong" not in str(error)


async def test_a_token_instead_of_a_password(certificates: Certificates) -> None:
    given: list[str] = []

    def token(asked: Any) -> Any:
        given.append(f"token-{len(given)}")
        return answer(200, json.dumps({"access_token": given[-1], "expires_in": 3600}).encode())

    async with Web(token) as web, SmtpServer(login=True) as server:
        oauth = {"token_url": f"http://127.0.0.1:{web.port}/token", "client_id": "c", "client_secret": "s", "scope": "mail"}
        async with sending(server, user=USER, oauth=oauth) as connection:
            assert (await down(connection)).code == "NET-020"
            server.tokens.add("token-1")
            connection._access._not_before = 0.0
            await connection.send(document())
            await connection.send(document())
    assert given == ["token-0", "token-1"], "a refused token is fetched anew, a good one kept"
    assert len(server.mails) == 2


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"host": "mail.example"}, "needs TLS"),
        ({"host": "mail.example", "allow_plaintext": "the link is", "user": "u", "password": "p"}, "does not travel"),
        ({"password": "p"}, "belong to a `user`"),
        ({"user": "u"}, "needs `password` or `oauth`"),
        ({"sender": "hub"}, "expected an address"),
        ({"to": ["a@b.example", "c"]}, "expected an address"),
        ({"headers": {"Bcc": "spy@evil.example"}}, "writes Bcc itself"),
        ({"subject": "{patient}"}, "knows no"),
        ({"address": "fax@fax.example"}, "address"),
    ],
)
def test_settings_that_would_not_do(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        MailSenderConfig.model_validate(SmtpServer().settings(**{"port": 25, **given}))


# What a server says.


@pytest.mark.parametrize("at", ["MAIL", "RCPT", "DATA", "END"])
async def test_later_is_an_answer_about_this_mail_that_is_tried_again(at: str) -> None:
    async with SmtpServer() as server, sending(server) as connection:
        server.faults.says[at] = f"451 4.7.1 greylisted, {CANARY}"
        error = await refused(connection)
        assert (error.code, error.final, error.answer) == ("MAI-003", False, "451 4.7.1")
        assert CANARY not in str(error)
        assert CANARY.encode() in error.reply
        assert server.mails == []
        server.faults.says.clear()
        await connection.send(document())
    assert len(server.mails) == 1


@pytest.mark.parametrize("at", ["MAIL", "RCPT", "DATA", "END"])
async def test_no_is_final(at: str) -> None:
    async with SmtpServer() as server, sending(server) as connection:
        server.faults.says[at] = "552 5.3.4 too big for us"
        error = await refused(connection)
    assert (error.code, error.final, error.answer) == ("MAI-003", True, "552 5.3.4")


@pytest.mark.parametrize("at", ["GREETING", "MAIL", "RCPT", "DATA", "END"])
async def test_a_server_that_is_about_to_go_is_a_connection_that_is_down(at: str) -> None:
    async with SmtpServer() as server, sending(server) as connection:
        server.faults.says[at] = "421 4.3.2 shutting down"
        error = await down(connection)
    assert "421" in str(error)


async def test_all_addresses_get_the_mail_or_none() -> None:
    to = ["a@b.example", "gone@b.example", "c@b.example"]
    async with SmtpServer() as server, sending(server, to=to) as connection:
        server.faults.refuse["gone@b.example"] = "550 5.1.1 no such user"
        error = await refused(connection)
        assert error.final
        assert "address 2 of 3" in str(error)
        assert "gone" not in str(error)
        assert server.mails == []
        server.faults.refuse.clear()
        await connection.send(document())
    assert server.mails[0].to == to


async def test_a_mail_that_is_too_long_for_the_server_or_for_us_does_not_leave() -> None:
    async with SmtpServer(size=5_000) as server, sending(server) as connection:
        error = await refused(connection, document(PDF * 100))
        assert (error.code, error.final) == ("MAI-002", True)
        assert "5000" in str(error)
    async with SmtpServer() as server, sending(server, max_size="4KiB") as connection:
        assert (await refused(connection, document(PDF * 100))).code == "MAI-002"
    assert server.mails == []


@pytest.mark.parametrize("at", ["CONNECT", "MAIL", "DATA"])
async def test_a_connection_that_breaks_before_the_end_has_sent_nothing(at: str) -> None:
    async with SmtpServer() as server, sending(server) as connection:
        server.faults.drop_at = at
        await down(connection, document(PDF * 40_000))  # more than fits on the way
        server.faults.drop_at = ""
        await connection.send(document())
    assert len(server.mails) == 1


@pytest.mark.parametrize("at", ["CONNECT", "MAIL"])
async def test_silence_before_the_end_is_a_connection_that_is_down(at: str) -> None:
    async with SmtpServer() as server, sending(server, timeout="200ms") as connection:
        server.faults.silent_at = at
        await down(connection)


async def test_silence_after_all_was_sent_is_doubtful() -> None:
    async with SmtpServer() as server:
        for fault in ("drop_at", "silent_at"):
            setattr(server.faults, fault, "END")
            async with sending(server, answer_within="300ms") as connection:
                with pytest.raises(DoubtfulSend) as caught:
                    await connection.send(document())
            assert caught.value.code == "MAI-004"
            setattr(server.faults, fault, "")
    assert len(server.mails) == 2, "the server does have them"


@pytest.mark.parametrize("fault", ["drop_at", "silent_at"])
async def test_what_comes_after_the_good_answer_changes_nothing(fault: str) -> None:
    async with SmtpServer() as server, sending(server, timeout="300ms", answer_within="30s") as connection:
        setattr(server.faults, fault, "QUIT")
        began = time.monotonic()
        assert await connection.send(document()) is not None
        assert time.monotonic() - began < 5
    assert len(server.mails) == 1


async def test_a_slow_server_has_time_to_look_at_a_whole_mail() -> None:
    async with SmtpServer() as server, sending(server, timeout="200ms", answer_within="5s") as connection:
        server.faults.slow = 0.6
        assert await connection.send(document()) is not None


async def test_one_mail_does_not_take_longer_than_it_may() -> None:
    async with SmtpServer() as server:
        for fault, error in (("MAIL", ConnectionDown), ("END", DoubtfulSend)):
            server.faults.silent_at = fault
            async with sending(server, timeout="30s", answer_within="30s", mail_timeout="300ms") as connection:
                began = time.monotonic()
                with pytest.raises(error):
                    await connection.send(document())
                assert time.monotonic() - began < 4


async def test_closing_ends_what_is_under_way() -> None:
    async with SmtpServer() as server, sending(server, timeout="30s") as connection:
        server.faults.silent_at = "MAIL"
        sent = asyncio.create_task(connection.send(document()))
        await asyncio.sleep(0.2)
        await connection.close()
        with pytest.raises(ConnectionDown):
            await sent


# In a hub.

FLOW = """
connections:
  scans: {{kind: folder, path: "{path}", format: document, every: 20ms, stable_for: 0s}}
  mail: {{{mail}}}
flows:
  faxes: {{from: scans, steps: [{{send: mail}}]}}
"""


async def test_a_scan_is_faxed_by_mail_and_a_doubtful_one_is_not_sent_again(tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    async with SmtpServer() as server:
        mail = (
            f'kind: mail_sender, host: 127.0.0.1, port: "{server.port}", encryption: none, sender: hub@clinic.example, '
            "to: 13125550100@fax.example, answer_within: 300ms, retry: {first: 20ms, most: 20ms}"
        )
        async with running_hub(clinic_folder(tmp_path / "clinic", FLOW.format(path=scans, mail=mail))) as hub:
            (scans / "a.pdf").write_bytes(PDF)
            await until(lambda: len(server.mails) == 1)
            server.faults.silent_at = "END"
            (scans / "b.pdf").write_bytes(PDF + b"2")
            await until(lambda: len(server.mails) == 2)

            async def is_unknown() -> bool:
                rows = await ask(hub, "messages.list", state="unknown")
                return len(rows) == 1

            await until(is_unknown)
            await asyncio.sleep(0.1)
    assert len(server.mails) == 2
    assert server.mails[0].to == ["13125550100@fax.example"]
