"""Mail coming in: each mail once, finished only after the hub owns it, whatever bytes it is made of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.mail import Mailbox
from connectors.mail.settings import MailboxConfig
from hub.errors import ConnectionDown
from hub.formats.mail.writing import Attached
from hub.testing import ConnectorContract, FakeDeliver
from tests.connectors.certificates import Certificates
from tests.connectors.imap_server import PASSWORD, USER, ImapServer
from tests.connectors.web import Web, answer
from tests.hub.formats.mails import PDF, letter
from tests.support import HubProcess, ask, clinic_folder, environment, free_port, running_hub, settled, until


class TestContract(ConnectorContract):
    connector = Mailbox
    config = {
        "host": "127.0.0.1", "port": "1", "encryption": "none", "user": USER, "password": PASSWORD, "every": "30ms",
    }  # fmt: skip

    @pytest.fixture
    async def settings(self) -> AsyncIterator[dict[str, Any]]:  # type: ignore[override]
        async with ImapServer() as server:
            self.server = server
            yield server.settings()

    async def bring(self, connection: Any, tmp_path: Path) -> None:
        self.server.put(self.sample)


def mail(number: int = 1, *files: tuple[bytes, str, str], text: str = "See the file.") -> bytes:
    return letter(number, *(Attached(*file) for file in files), text=text)


@asynccontextmanager
async def polling(server: ImapServer, deliver: FakeDeliver, **given: Any) -> AsyncIterator[Mailbox]:
    connection = Mailbox("box", MailboxConfig.model_validate(server.settings(**given)))
    await connection.open(deliver)
    try:
        yield connection
    finally:
        await connection.close()


def bodies(deliver: FakeDeliver) -> list[bytes]:
    return [message.body for message in deliver.delivered]


async def fails(server: ImapServer, **given: Any) -> str:
    """What the status says of a connection that does not get anything."""
    deliver = FakeDeliver()
    async with polling(server, deliver, **given) as connection:
        await until(lambda: connection.failure)
        assert deliver.delivered == []
        return f"{connection.failure_code} {connection.failure}"


# Each mail once.


async def test_mails_come_in_their_order_and_are_marked_as_seen() -> None:
    deliver = FakeDeliver()
    async with ImapServer() as server, polling(server, deliver):
        for number in (1, 2, 3):
            server.put(mail(number))
        await until(lambda: all(stored.flags == {"\\Seen"} for stored in server.folders["INBOX"]))
        await asyncio.sleep(0.1)
    assert bodies(deliver) == [mail(1), mail(2), mail(3)]
    assert [(message.format, message.type) for message in deliver.delivered] == [("mail", "mail")] * 3


@pytest.mark.parametrize("can", [("MOVE", "UIDPLUS"), ("UIDPLUS",), ()])
async def test_mails_are_moved_or_deleted_one_by_one(can: tuple[str, ...]) -> None:
    for after in ("move", "delete"):
        deliver = FakeDeliver()
        async with ImapServer(can=can) as server:
            other = server.put(mail(9))
            server.folders["INBOX"][0].flags.add("\\Deleted")
            async with polling(server, deliver, after=after, moved_to="Done/2026"):
                server.put(mail(1))
                server.put(mail(2))
                await until(
                    lambda other=other, server=server: all(
                        "\\Seen" in stored.flags or stored.uid == other for stored in server.folders["INBOX"]
                    )
                )
                await asyncio.sleep(0.1)
            left = [stored.uid for stored in server.folders["INBOX"] if "\\Deleted" not in stored.flags or stored.uid == other]
            assert left == [other], "what somebody else has marked stays"
            assert len(server.folders.get("Done/2026", [])) == (2 if after == "move" else 0)
            if can:
                assert [stored.uid for stored in server.folders["INBOX"]] == [other]
        assert bodies(deliver) == [mail(1), mail(2)]


async def test_a_mail_is_finished_only_after_the_hub_owns_it() -> None:
    deliver = FakeDeliver(failures=2)
    async with ImapServer() as server:
        server.put(mail(1))
        seen_before: list[set[str]] = []
        threadsafe = deliver.threadsafe

        def watching(messages: Any) -> Any:
            seen_before.append(set(server.folders["INBOX"][0].flags))
            return threadsafe(messages)

        deliver.threadsafe = watching  # type: ignore[method-assign]
        async with polling(server, deliver, after="delete"):
            await until(lambda: not server.folders["INBOX"])
    assert seen_before == [set()] * 3
    assert bodies(deliver) == [mail(1)]


async def test_a_mail_that_could_not_be_finished_is_not_delivered_again() -> None:
    deliver = FakeDeliver()
    async with ImapServer() as server:
        server.faults.refuse.add("STORE")
        server.put(mail(1))
        async with polling(server, deliver) as connection:
            await until(lambda: connection.failure_code == "MAI-005")
            await until(lambda: server.commands.count("CAPABILITY") > 4)
            server.faults.refuse.clear()
            await until(lambda: server.folders["INBOX"][0].flags)
            await until(lambda: connection.failure is None)
    assert bodies(deliver) == [mail(1)]


async def test_one_mail_that_cannot_be_fetched_does_not_stop_the_others() -> None:
    deliver = FakeDeliver()
    async with ImapServer() as server:
        server.put(b"")
        server.put(mail(2))
        async with polling(server, deliver) as connection:
            await until(lambda: len(deliver.delivered) == 2)
            assert connection.failure is None
    assert bodies(deliver) == [b"", mail(2)]


HUB = """
connections:
  box:
    kind: mailbox
    host: 127.0.0.1
    port: "{port}"
    encryption: none
    user: {user}
    password: {{$env: BOX_PASSWORD}}
    every: 30ms
  out: {{kind: folder, path: "{out}", name: "{{id}}.bin"}}
flows:
  documents: {{from: box, when: {{format: document}}, steps: [{{send: out}}]}}
"""


def hub_on(server: ImapServer, folder: Path) -> Path:
    out = folder / "out"
    out.mkdir(parents=True)
    return clinic_folder(folder / "clinic", HUB.format(port=server.port, user=USER, out=out))


async def test_numbered_anew_or_fetched_again_a_mail_is_the_same_mail(tmp_path: Path) -> None:
    async with ImapServer() as server:
        server.put(mail(1, (PDF, "application/pdf", "scan.pdf")))
        with environment(BOX_PASSWORD=PASSWORD):
            async with running_hub(hub_on(server, tmp_path)) as hub:
                await until(lambda: "\\Seen" in server.folders["INBOX"][0].flags)
                server.folders["INBOX"][0].flags.clear()
                server.number_anew()
                await until(lambda: "\\Seen" in server.folders["INBOX"][0].flags)
                server.put(mail(1, text="other words under the same id"))
                await until(lambda: len(server.folders["INBOX"][-1].flags) == 1)
                await settled(hub)
                rows = await ask(hub, "messages.list", connection="box")
    assert len(rows) == 3, "two mails, and the attachment of the first"
    assert len(list((tmp_path / "out").iterdir())) == 1


async def test_a_hub_that_is_killed_between_owning_and_finishing_has_each_mail_once(tmp_path: Path) -> None:
    async with ImapServer() as server:
        server.faults.silent_at = "STORE"
        for number in range(3):
            server.put(mail(number, (PDF + b"%d" % number, "application/pdf", "scan.pdf")))
        with environment(BOX_PASSWORD=PASSWORD):
            hub = HubProcess(hub_on(server, tmp_path))
            await asyncio.to_thread(hub.start)
            await until(lambda: any(command.startswith("STORE") for command in server.commands))
            await asyncio.to_thread(hub.kill)
            server.faults.silent_at = ""
            async with running_hub(hub.file) as again:
                await until(lambda: all(stored.flags for stored in server.folders["INBOX"]))
                await settled(again)
    contents = sorted(file.read_bytes() for file in (tmp_path / "out").iterdir())
    assert contents == [PDF + b"%d" % number for number in range(3)]


# Attachments.


async def test_each_attachment_is_a_document_of_its_own_and_the_mail_is_kept() -> None:
    raw = mail(1, (PDF, "application/pdf", "DOE_JANE.pdf"), (b"II*\0x", "application/octet-stream", "../../etc/passwd"))
    deliver = FakeDeliver()
    async with ImapServer() as server, polling(server, deliver):
        server.put(raw)
        await until(lambda: len(deliver.delivered) == 3)
    whole, pdf, tiff = deliver.delivered
    assert whole.body == raw
    assert (pdf.body, pdf.format, pdf.type, pdf.parent) == (PDF, "document", "application/pdf", whole.id)
    assert dict(pdf.headers) == {
        "media_type": "application/pdf", "file": "attachment-1.pdf", "from_mail": whole.id, "part": "2",
    }  # fmt: skip
    assert (tiff.type, tiff.headers["file"]) == ("image/tiff", "attachment-2.tif")
    assert len({message.duplicate_key for message in deliver.delivered}) == 3


async def test_without_attachments_only_the_mail_comes() -> None:
    deliver = FakeDeliver()
    async with ImapServer() as server, polling(server, deliver, attachments="no"):
        server.put(mail(1, (PDF, "application/pdf", "scan.pdf")))
        await until(lambda: deliver.delivered and server.folders["INBOX"][0].flags)
    assert [message.format for message in deliver.delivered] == ["mail"]


# Bad servers.


@pytest.mark.parametrize(
    ("fault", "at"),
    [
        *(("refuse", at) for at in ("SELECT", "SEARCH", "FETCH")),
        *((fault, at) for fault in ("drop_at", "silent_at") for at in ("CONNECT", "LOGIN", "SELECT", "SEARCH", "FETCH")),
    ],
)
async def test_whatever_fails_the_next_look_goes_well(fault: str, at: str) -> None:
    deliver = FakeDeliver()
    async with ImapServer(plain=False) as server:
        server.put(mail(1))
        setattr(server.faults, fault, {at} if fault == "refuse" else at)
        async with polling(server, deliver, timeout="200ms") as connection:
            await until(lambda: connection.failure)
            assert deliver.delivered == []
            setattr(server.faults, fault, set() if fault == "refuse" else "")
            await until(lambda: deliver.delivered)
            await until(lambda: connection.failure is None)
    assert bodies(deliver) == [mail(1)]


async def test_a_server_that_announces_more_than_was_asked_for_gets_no_memory() -> None:
    async with ImapServer() as server:
        server.put(mail(1))
        server.faults.sends = 1 << 40
        assert "sends more than it was asked for" in await fails(server)


async def test_a_mail_that_is_too_long_stays_and_is_told() -> None:
    long = mail(1, text="x" * 20_000)
    deliver = FakeDeliver()
    async with ImapServer() as server:
        server.put(long)
        server.put(mail(2))
        async with polling(server, deliver, max_size="10KiB") as connection:
            await until(lambda: connection.failure_code == "MAI-007" and deliver.delivered)
        server.faults.says_size = 100  # one that lies about it
        server.put(long)
        async with polling(server, deliver, max_size="10KiB"):
            await asyncio.sleep(0.2)
        assert [stored.flags for stored in server.folders["INBOX"]] == [set(), {"\\Seen"}, set()]
    assert bodies(deliver) == [mail(2)]


async def test_a_server_that_talks_of_other_mails_in_between_and_writes_numbers_last() -> None:
    deliver = FakeDeliver()
    async with ImapServer() as server:
        server.faults.chatty = server.faults.uid_last = True
        for number in range(3):
            server.put(mail(number))
        async with polling(server, deliver):
            await until(lambda: len(deliver.delivered) == 3)
    assert bodies(deliver) == [mail(0), mail(1), mail(2)]


async def test_a_folder_that_is_not_there() -> None:
    async with ImapServer() as server:
        assert "MAI-005" in await fails(server, folder="Nowhere")


# TLS and logging in.


async def test_tls_from_the_first_byte_and_starttls(certificates: Certificates) -> None:
    for encryption in ("always", "starttls"):
        deliver = FakeDeliver()
        async with ImapServer(tls=certificates.server("127.0.0.1"), at_once=encryption == "always") as server:
            server.put(mail(1))
            async with polling(server, deliver, encryption=encryption, tls={"ca": certificates.ca}) as connection:
                await until(lambda: server.folders["INBOX"][0].flags)
                assert "answers" in await connection.check()


async def test_nothing_is_told_to_a_server_without_tls_or_whom_we_do_not_trust(certificates: Certificates) -> None:
    async with ImapServer() as server:
        assert "MAI-001" in await fails(server, encryption="starttls")
        assert not [command for command in server.commands if command in ("LOGIN", "AUTHENTICATE")]
    for at_once in (True, False):
        async with ImapServer(tls=certificates.server("127.0.0.1", ca="other"), at_once=at_once) as server:
            encryption = "always" if at_once else "starttls"
            assert "TLS-003" in await fails(server, encryption=encryption, tls={"ca": certificates.ca})
            assert not [command for command in server.commands if command in ("LOGIN", "AUTHENTICATE")]


@pytest.mark.parametrize("plain", [True, False])
async def test_a_refused_login_is_not_repeated_at_once(plain: bool) -> None:
    async with ImapServer(plain=plain) as server:
        said = await fails(server, password="wrong")
        assert "NET-020" in said
        assert "wrong" not in said
        await asyncio.sleep(0.1)
        assert len([command for command in server.commands if command in ("LOGIN", "AUTHENTICATE")]) == 1


async def test_a_server_that_cannot_check_a_login_now_is_asked_again_soon() -> None:
    deliver = FakeDeliver()
    async with ImapServer() as server:
        server.put(mail(1))
        server.faults.login = "NO [UNAVAILABLE] later"
        async with polling(server, deliver) as connection:
            await until(lambda: connection.failure)
            server.faults.login = ""
            await until(lambda: deliver.delivered)


async def test_a_token_instead_of_a_password() -> None:
    deliver = FakeDeliver()
    async with Web(lambda asked: answer(200, b'{"access_token": "t-1", "expires_in": 3600}')) as web, ImapServer() as server:
        server.tokens.add("t-1")
        server.put(mail(1))
        oauth = {"token_url": f"http://127.0.0.1:{web.port}/token", "client_id": "c", "client_secret": "s"}
        settings = {name: value for name, value in server.settings(oauth=oauth).items() if name != "password"}
        connection = Mailbox("box", MailboxConfig.model_validate(settings))
        await connection.open(deliver)
        try:
            await until(lambda: deliver.delivered)
        finally:
            await connection.close()


async def test_checking_reaches_the_folder_and_takes_nothing() -> None:
    async with ImapServer() as server:
        server.put(mail(1))
        connection = Mailbox("box", MailboxConfig.model_validate(server.settings()))
        assert "1 new mail(s) in INBOX" in await connection.check()
        assert server.folders["INBOX"][0].flags == set()
        await connection.close()
    with pytest.raises(ConnectionDown):
        await Mailbox("box", MailboxConfig.model_validate(server.settings(port=free_port()))).check()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"user": None, "password": None}, "needs a `user`"),
        ({"host": "mail.example"}, "does not travel"),
        ({"folder": "Eing\u00e4nge"}, "folder"),
    ],
)
def test_settings_that_would_not_do(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        MailboxConfig.model_validate({**ImapServer().settings(port=143), **given})
