"""TLS contexts: 1.2 or newer, the other side verified, nothing to switch that off; and what counts as this machine."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from pydantic import ValidationError

from hub.errors import ConfigError
from hub.net.hosts import is_loopback
from hub.net.tls import TlsClient, TlsServer, client_context, server_context
from tests.connectors.certificates import HANDSHAKE, Certificates, client_hello, make


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make(tmp_path_factory.mktemp("certificates"))


def test_a_client_verifies_certificate_and_name(certificates: Certificates) -> None:
    for tls in (TlsClient(), TlsClient(ca=certificates.ca), TlsClient(**certificates.tls("client@clinic.example"))):
        context = client_context(tls)
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_with_an_authority_of_our_own_those_of_the_system_do_not_count(certificates: Certificates) -> None:
    found = client_context(TlsClient(ca=certificates.ca)).get_ca_certs()
    assert [dict(part[0] for part in ca["subject"])["organizationName"] for ca in found] == ["Riverside"]


def test_a_server_asks_for_certificates_when_it_knows_their_authority(certificates: Certificates) -> None:
    files = certificates.tls("127.0.0.1")
    assert server_context(TlsServer(**files)).verify_mode is ssl.CERT_NONE
    mutual = server_context(TlsServer(**files, client_ca=certificates.ca))
    assert mutual.verify_mode is ssl.CERT_REQUIRED
    assert mutual.minimum_version >= ssl.TLSVersion.TLSv1_2


VERSIONS = ssl.TLSVersion


@pytest.mark.parametrize(
    ("version", "reason"),
    [(VERSIONS.TLSv1, "unsupported"), (VERSIONS.TLSv1_1, "unsupported"), (VERSIONS.TLSv1_2, None), (VERSIONS.TLSv1_3, None)],
)
def test_a_server_speaks_1_2_and_newer(version: ssl.TLSVersion, reason: str | None, certificates: Certificates) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context(TlsServer(**certificates.tls("127.0.0.1"))).wrap_bio(incoming, outgoing, server_side=True)
    incoming.write(client_hello(version))
    with pytest.raises(ssl.SSLError if reason else ssl.SSLWantReadError, match=f"(?i){reason}" if reason else None):
        server.do_handshake()
    assert (outgoing.read()[:1] == HANDSHAKE) == (reason is None)


@pytest.mark.parametrize("word", ["verify", "insecure", "check_hostname", "minimum_version"])
def test_nothing_switches_verification_off(word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        TlsClient.model_validate({word: False})


def test_the_error_names_the_file_and_not_its_content(certificates: Certificates, tmp_path: Path) -> None:
    secret = tmp_path / "broken.key"
    secret.write_text("-----BEGIN PRIVATE KEY-----\nSECRETSECRET\n-----END PRIVATE KEY-----\n")
    with pytest.raises(ConfigError, match=r"ca-127.0.0.1.pem") as caught:
        server_context(TlsServer(cert=certificates.folder / "ca-127.0.0.1.pem", key=secret))
    assert "SECRETSECRET" not in f"{caught.value!r}"
    with pytest.raises(ConfigError, match=r"missing.pem"):
        client_context(TlsClient(ca=tmp_path / "missing.pem"))
    with pytest.raises(ConfigError, match=r"a folder|[Dd]irectory|cannot be used"):
        client_context(TlsClient(ca=tmp_path))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["", "0.0.0.0", "::", "10.0.0.1", "192.168.0.1", "localhost.example.org", "127.0.0.1.example.org", "127.0.0.256", "127.1",
     "2130706433", "ehr", "::ffff:10.0.0.1", "fe80::1", "1.0.0.127"],
)  # fmt: skip
def test_not_this_machine(host: str) -> None:
    assert not is_loopback(host)
