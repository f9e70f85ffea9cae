"""Certificates of MLLP links: pinned, and replaced while the hub runs."""

from __future__ import annotations

import hashlib
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop
from pydantic import ValidationError
from structlog.testing import capture_logs

from connectors.mllp import ListenerConfig, SenderConfig
from hub.errors import ConnectionDown
from hub.message import Message
from hub.testing import FakeDeliver
from tests.connectors.certificates import Certificates
from tests.connectors.wire import END, Partner, Wire, acknowledgement, adt, control_id_of, frame, listening, sending, wire

CLIENT = "client@clinic.example"
M1 = Message(adt("M1"), "hl7v2", "ADT^A04")


def fingerprint(file: Path) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(first_certificate(file))).hexdigest()


def first_certificate(file: Path) -> str:
    end = "-----END CERTIFICATE-----"
    return file.read_text().partition(end)[0] + end


def as_openssl_prints(digits: str) -> str:
    return "SHA256 Fingerprint=" + ":".join(digits.upper()[at : at + 2] for at in range(0, 64, 2))


@asynccontextmanager
async def connected(certificates: Certificates, port: int, client: dict[str, Any] | None = None) -> AsyncIterator[Wire]:
    async with wire(port, tls=certificates.client(client), name="127.0.0.1") as partner:
        yield partner


async def heard(certificates: Certificates, port: int, client: dict[str, Any] | None = None) -> bool:
    """Whether a message is answered on a new connection."""
    try:
        async with connected(certificates, port, client) as partner:
            partner.writer.write(frame(adt("M1")))
            return b"MSA|AA|M1" in await partner.rest_or_frame()
    except OSError:
        return False


# Pins.


@pytest.mark.parametrize("pinned", ["this client", "written as openssl does", "another", "another and this"])
async def test_only_clients_with_a_pinned_certificate_are_heard(pinned: str, certificates: Certificates) -> None:
    own = fingerprint(certificates.tls(CLIENT)["cert"])
    pins = {
        "this client": [own],
        "written as openssl does": [as_openssl_prints(own)],
        "another": ["ab" * 32],
        "another and this": ["ab" * 32, own],
    }[pinned]
    deliver = FakeDeliver()
    tls = {**certificates.tls("127.0.0.1"), "client_ca": certificates.ca, "client_pins": pins}
    async with listening(deliver, tls=tls) as listener:
        assert await heard(certificates, listener.port, certificates.tls(CLIENT)) == (pinned != "another")
    assert bool(deliver.delivered) == (pinned != "another")


async def answering(reader: Any, writer: Any) -> None:
    while True:
        writer.write(acknowledgement("AA", control_id_of((await reader.readuntil(END))[1:-2])))


async def test_nothing_is_sent_to_a_partner_with_another_certificate_than_the_pinned_one(certificates: Certificates) -> None:
    got: list[bytes] = []

    async def handle(reader: Any, writer: Any) -> None:
        got.append(await reader.read())

    async with (
        Partner(handle, tls=certificates.server("127.0.0.1")) as partner,
        sending(partner.port, tls={"ca": certificates.ca, "pins": ["ab" * 32]}) as sender,
    ):
        with pytest.raises(ConnectionDown, match="pins") as caught:
            await sender.send(M1)
        with pytest.raises(ConnectionDown, match="pins"):
            await sender.check()
    assert caught.value.code == "TLS-004"
    assert b"".join(got) == b""


async def test_the_pinned_partner_gets_its_messages(certificates: Certificates) -> None:
    pins = [fingerprint(certificates.tls("127.0.0.1")["cert"])]
    async with (
        Partner(answering, tls=certificates.server("127.0.0.1")) as partner,
        sending(partner.port, tls={"ca": certificates.ca, "pins": pins}) as sender,
    ):
        assert (await sender.send(M1)) is not None


@pytest.mark.parametrize("pin", ["", "ab" * 20, "zz" * 32, "ab" * 33])
def test_what_is_no_fingerprint_is_refused(pin: str) -> None:
    with pytest.raises(ValidationError, match="SHA-256"):
        SenderConfig.model_validate({"kind": "mllp_sender", "host": "127.0.0.1", "port": 1, "tls": {"pins": [pin]}})


def test_pins_of_clients_need_clients_that_show_a_certificate() -> None:
    tls = {"cert": "a.pem", "key": "a.key", "client_pins": ["ab" * 32]}
    with pytest.raises(ValidationError, match="client_ca"):
        ListenerConfig.model_validate({"kind": "mllp_listener", "port": 0, "tls": tls})


# Replacing.


def put(certificates: Certificates, folder: Path, name: str, ca: str = "ca", *, only: str = "cert key") -> dict[str, Path]:
    """Files of a clinic, replaced as tools do it: written beside, then renamed."""
    files = {"cert": folder / "ours.pem", "key": folder / "ours.key"}
    for kind, source in certificates.tls(name, ca=ca).items():
        if kind in only:
            shutil.copy(source, folder / "draft")
            (folder / "draft").rename(files[kind])
    return files


async def shown(port: int) -> str:
    """Fingerprint of the certificate the listener shows to whoever comes now."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with wire(port, tls=context, name="127.0.0.1") as partner:
        certificate = partner.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return hashlib.sha256(certificate).hexdigest()


LOOPS = {"asyncio": None, "uvloop": uvloop.new_event_loop}


@pytest.mark.parametrize("loop", LOOPS)
def test_a_certificate_is_replaced_without_dropping_a_link(loop: str, certificates: Certificates, tmp_path: Path) -> None:
    import asyncio

    async def play() -> None:
        tls = put(certificates, tmp_path, "127.0.0.1")
        async with listening(tls=tls) as listener, connected(certificates, listener.port) as before:
            old = await shown(listener.port)
            put(certificates, tmp_path, "ehr.example")
            new = await shown(listener.port)
            assert (old, new) == tuple(fingerprint(certificates.tls(n)["cert"]) for n in ("127.0.0.1", "ehr.example"))
            await before.send(frame(adt("M1")))
            assert str(await before.answer()) == "AA M1"

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(play())


async def test_half_replaced_files_are_told_once_and_the_old_ones_stay_until_all_is_there(
    certificates: Certificates, tmp_path: Path
) -> None:
    tls = put(certificates, tmp_path, "127.0.0.1")
    with capture_logs() as logs:
        async with listening(tls=tls) as listener:
            put(certificates, tmp_path, "ehr.example", only="cert")
            old = fingerprint(certificates.tls("127.0.0.1")["cert"])
            assert [await shown(listener.port) for _ in range(3)] == [old] * 3
            put(certificates, tmp_path, "ehr.example", only="key")
            assert await shown(listener.port) == fingerprint(certificates.tls("ehr.example")["cert"])
    assert [line["log_level"] for line in logs if "certificate" in line["event"]] == ["error", "info"]


async def test_another_authority_for_clients_counts_from_the_next_connection_on(
    certificates: Certificates, tmp_path: Path
) -> None:
    authority = tmp_path / "clients.pem"
    shutil.copy(certificates.ca, authority)
    tls = {**certificates.tls("127.0.0.1"), "client_ca": authority}
    own, other = certificates.tls(CLIENT), certificates.tls(CLIENT, ca="other")
    async with listening(tls=tls) as listener:
        assert [await heard(certificates, listener.port, client) for client in (own, other)] == [True, False]
        shutil.copy(certificates.other_ca, authority)
        assert [await heard(certificates, listener.port, client) for client in (own, other)] == [False, True]


async def test_our_own_certificate_is_replaced_for_the_next_connection(certificates: Certificates, tmp_path: Path) -> None:
    seen: list[str] = []

    async def handle(reader: Any, writer: Any) -> None:
        certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        seen.append(hashlib.sha256(certificate).hexdigest())
        writer.write(acknowledgement("AA", control_id_of((await reader.readuntil(END))[1:-2])))

    tls = put(certificates, tmp_path, CLIENT)
    async with (
        Partner(handle, tls=certificates.server("127.0.0.1", clients=True)) as partner,
        sending(partner.port, tls={"ca": certificates.ca, **tls}) as sender,
    ):
        await sender.send(M1)
        put(certificates, tmp_path, "ehr.example")
        await partner.all_ended()
        await sender.send(M1)
    assert seen == [fingerprint(certificates.tls(name)["cert"]) for name in (CLIENT, "ehr.example")]
