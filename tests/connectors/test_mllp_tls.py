"""MLLP over TLS: who may connect, whom the hub talks to, and whether the errors say what is wrong."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
import uvloop

from connectors.mllp import ListenerConfig, MllpListener
from hub.errors import ConfigError, ConnectionDown
from hub.message import Message
from hub.testing import CANARY, FakeDeliver
from tests.connectors.certificates import HANDSHAKE, Certificates, client_hello
from tests.connectors.wire import (
    END,
    Partner,
    Wire,
    acknowledgement,
    adt,
    control_id_of,
    frame,
    listening,
    one_by_one,
    sending,
    wire,
)

M1 = Message(adt("M1"), "hl7v2", "ADT^A04")
CLIENT = "client@clinic.example"
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


# The listener.


@asynccontextmanager
async def connected(certificates: Certificates, port: int, client: dict[str, Any] | None = None) -> AsyncIterator[Wire]:
    async with wire(port, tls=certificates.client(client), name="127.0.0.1") as partner:
        yield partner


@pytest.mark.parametrize("loop", LOOPS)
def test_messages_come_in_over_tls_whole_and_byte_by_byte(loop: str, certificates: Certificates) -> None:
    async def play() -> None:
        deliver = FakeDeliver()
        async with (
            listening(deliver, tls=certificates.tls("127.0.0.1")) as listener,
            connected(certificates, listener.port) as partner,
        ):
            assert partner.writer.get_extra_info("ssl_object").version() in ("TLSv1.2", "TLSv1.3")
            sent = frame(adt("M1")) + frame(adt("M2"))
            await partner.send(sent)
            assert [str(await partner.answer()) for _ in range(2)] == ["AA M1", "AA M2"]
            await partner.send_in_pieces(sent, one_by_one(sent))
            assert [str(await partner.answer()) for _ in range(2)] == ["AA M1", "AA M2"]
        assert [message.body for message in deliver.delivered] == [adt("M1"), adt("M2")] * 2

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(play())


async def test_plain_text_to_a_tls_listener_gets_nothing(certificates: Certificates) -> None:
    deliver = FakeDeliver()
    async with listening(deliver, tls=certificates.tls("127.0.0.1")) as listener, wire(listener.port) as partner:
        await partner.send(frame(adt("M1", family=CANARY)))
        answer = await partner.rest()
        assert b"MSA" not in answer
    assert deliver.delivered == []
    assert deliver.refused == []


async def test_tls_before_1_2_is_refused(certificates: Certificates) -> None:
    async with listening(tls=certificates.tls("127.0.0.1")) as listener, wire(listener.port) as partner:
        await partner.send(client_hello(ssl.TLSVersion.TLSv1_1))
        assert (await partner.rest())[:1] != HANDSHAKE
    async with listening(tls=certificates.tls("127.0.0.1")) as listener, wire(listener.port) as partner:
        await partner.send(client_hello(ssl.TLSVersion.TLSv1_2))
        assert await partner.reader.readexactly(1) == HANDSHAKE, "the same with 1.2 is answered"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_tls_1_2_and_1_3_are_spoken(version: ssl.TLSVersion, certificates: Certificates) -> None:
    context = certificates.client()
    context.minimum_version = context.maximum_version = version
    async with (
        listening(tls=certificates.tls("127.0.0.1")) as listener,
        wire(listener.port, tls=context, name="127.0.0.1") as partner,
    ):
        await partner.send(frame(adt("M1")))
        assert str(await partner.answer()) == "AA M1"


async def test_with_mutual_tls_the_right_client_is_heard(certificates: Certificates) -> None:
    tls = {**certificates.tls("127.0.0.1"), "client_ca": certificates.ca}
    async with listening(tls=tls) as listener, connected(certificates, listener.port, certificates.tls(CLIENT)) as partner:
        await partner.send(frame(adt("M1")))
        assert str(await partner.answer()) == "AA M1"


@pytest.mark.parametrize("client", ["of another authority", "none"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_with_mutual_tls_another_client_is_not_heard(
    client: str, version: ssl.TLSVersion, certificates: Certificates
) -> None:
    deliver = FakeDeliver()
    tls = {**certificates.tls("127.0.0.1"), "client_ca": certificates.ca}
    context = certificates.client(certificates.tls(CLIENT, ca="other") if client != "none" else None)
    context.minimum_version = context.maximum_version = version
    async with listening(deliver, tls=tls) as listener:
        with contextlib.suppress(OSError):
            async with wire(listener.port, tls=context, name="127.0.0.1") as partner:
                partner.writer.write(frame(adt("M1")))
                assert await partner.rest() == b""
        assert not listener.peers
        async with connected(certificates, listener.port, certificates.tls(CLIENT)) as right:
            await right.send(frame(adt("M2")))
            assert str(await right.answer()) == "AA M2"
    assert [message.body for message in deliver.delivered] == [adt("M2")]


async def test_a_peer_that_never_shakes_hands_does_not_keep_others_out(certificates: Certificates) -> None:
    async with listening(tls=certificates.tls("127.0.0.1"), max_connections=2) as listener, contextlib.AsyncExitStack() as idle:
        for _ in range(5):
            await idle.enter_async_context(wire(listener.port))
        async with connected(certificates, listener.port) as partner:
            await partner.send(frame(adt("M1")))
            assert str(await partner.answer()) == "AA M1"


@pytest.mark.parametrize("loop", LOOPS)
def test_over_tls_too_a_partner_that_stops_writing_gets_its_answers(loop: str, certificates: Certificates) -> None:
    """TLS has no half-closed state in Python, but what was sent before the end is owed an answer."""

    async def play() -> None:
        async with listening(tls=certificates.tls("127.0.0.1")) as listener:
            async with connected(certificates, listener.port) as partner:
                await partner.send(frame(adt("M1")))
                assert str(await partner.answer()) == "AA M1"
            async with asyncio.timeout(2):
                while listener.peers:
                    await asyncio.sleep(0.01)

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(play())


BROKEN = [
    ({"cert": "missing.pem", "key": "missing.key"}, "TLS-001", "missing.pem"),
    ({"cert": "ca-127.0.0.1.pem", "key": "other-127.0.0.1.key"}, "TLS-001", "ca-127.0.0.1.pem"),
    ({"cert": "ca-127.0.0.1.key", "key": "ca-127.0.0.1.key"}, "TLS-001", "ca-127.0.0.1.key"),
    ({"cert": "ca-127.0.0.1.pem", "key": "ca-127.0.0.1.key", "client_ca": "none.pem"}, "TLS-002", "none.pem"),
    ({"cert": "ca-127.0.0.1.pem", "key": "ca-127.0.0.1.key", "client_ca": "ca-127.0.0.1.key"}, "TLS-002", "ca-127.0.0.1.key"),
]


@pytest.mark.parametrize(("tls", "code", "file"), BROKEN, ids=lambda value: str(value)[:40])
async def test_files_that_cannot_be_used_are_named(
    tls: dict[str, str], code: str, file: str, certificates: Certificates
) -> None:
    given = {name: certificates.folder / path for name, path in tls.items()}
    config = ListenerConfig.model_validate({"kind": "mllp_listener", "port": 0, "tls": given})
    with pytest.raises(ConfigError, match=file) as caught:
        await MllpListener("ehr", config).open(FakeDeliver())
    assert caught.value.code == code


# The sender.


async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(acknowledgement("AA", control_id_of((await reader.readuntil(END))[1:-2])))


async def test_messages_go_out_over_tls(certificates: Certificates) -> None:
    async with (
        Partner(answering, tls=certificates.server("127.0.0.1")) as partner,
        sending(partner.port, tls={"ca": certificates.ca}) as sender,
    ):
        assert (await sender.send(M1)) is not None
        await sender.send(Message(adt("M2"), "hl7v2"))
        assert "TLS" in await sender.check()


async def test_the_name_of_the_certificate_may_be_given(certificates: Certificates) -> None:
    async with (
        Partner(answering, tls=certificates.server("ehr.example")) as partner,
        sending(partner.port, tls={"ca": certificates.ca, "server_name": "ehr.example"}) as sender,
    ):
        assert (await sender.send(M1)) is not None


WRONG = {
    "the wrong host name": ("ehr.example", "ca", {}, "ehr|match|valid for"),
    "another name than was given": ("127.0.0.1", "ca", {"server_name": "ehr.example"}, "ehr.example"),
    "an authority nobody trusts": ("127.0.0.1", "other", {}, "issuer|self-signed|authority|trust"),
}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("name", WRONG)
def test_a_certificate_that_is_wrong_is_told_in_words(name: str, loop: str, certificates: Certificates) -> None:
    host, ca, more, says = WRONG[name]
    got: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.read())

    async def play() -> ConnectionDown:
        async with (
            Partner(handle, tls=certificates.server(host, ca=ca)) as partner,
            sending(partner.port, tls={"ca": certificates.ca, **more}) as sender,
        ):
            with pytest.raises(ConnectionDown, match=says) as caught:
                await sender.send(M1)
            with pytest.raises(ConnectionDown, match=says):
                await sender.check()
            return caught.value

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        error = runner.run(play())
    assert error.code == "TLS-003"
    assert str(error).startswith("pms: TLS with 127.0.0.1:")
    assert b"".join(got) == b""


async def test_without_an_authority_of_our_own_those_of_the_system_count(certificates: Certificates) -> None:
    async with Partner(answering, tls=certificates.server("127.0.0.1")) as partner, sending(partner.port, tls={}) as sender:
        with pytest.raises(ConnectionDown, match=r"issuer|self-signed|authority|trust"):
            await sender.send(M1)


async def test_a_partner_that_speaks_plain_text_is_no_tls_partner() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(acknowledgement("AA", "M1"))
        await reader.read()

    async with Partner(handle) as partner, sending(partner.port, tls={}) as sender:
        with pytest.raises(ConnectionDown, match="pms: TLS with"):
            await sender.send(M1)


async def test_a_partner_that_never_shakes_hands_runs_into_the_time_out() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        await asyncio.sleep(5)

    async with Partner(handle) as partner, sending(partner.port, tls={}, connect_timeout="300ms") as sender:
        with pytest.raises(ConnectionDown, match=r"within 0.3 s"):
            await sender.send(M1)


async def test_with_mutual_tls_our_certificate_is_shown(certificates: Certificates) -> None:
    async with (
        Partner(answering, tls=certificates.server("127.0.0.1", clients=True)) as partner,
        sending(partner.port, tls={"ca": certificates.ca, **certificates.tls(CLIENT)}) as sender,
    ):
        assert (await sender.send(M1)) is not None


@contextmanager
def strict_server(context: ssl.SSLContext) -> Iterator[int]:
    """A partner on OpenSSL itself: unlike asyncio's servers it says with an alert why it refuses a certificate."""

    def serve() -> None:
        connection, _ = listener.accept()
        connection.settimeout(5)
        tls = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        with socket.socket(fileno=os.dup(tls.fileno())) as raw:
            with tls, contextlib.suppress(OSError):
                tls.do_handshake()
            raw.settimeout(5)
            while raw.recv(65536):  # closing with unread bytes would reset the connection and lose the alert
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join(5)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("client", ["of another authority", "none"])
def test_with_mutual_tls_a_refused_certificate_is_told_as_such(client: str, loop: str, certificates: Certificates) -> None:
    own = certificates.tls(CLIENT, ca="other") if client != "none" else {}

    async def play(port: int) -> str:
        async with sending(port, tls={"ca": certificates.ca, **own}) as sender:
            with pytest.raises(ConnectionDown, match="pms") as caught:
                await sender.send(M1)
            return str(caught.value)

    with (
        strict_server(certificates.server("127.0.0.1", clients=True)) as port,
        asyncio.Runner(loop_factory=LOOPS[loop]) as runner,
    ):
        text = runner.run(play(port))
    assert "TLS" in text, "not: the partner closed the connection"
    assert "certificate" in text.lower() or "unknown_ca" in text.lower() or "unknown ca" in text.lower()
