"""Certificates for the tests of TLS: an authority we trust, one we do not, and what they have signed."""

from __future__ import annotations

import contextlib
import ssl
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme


@dataclass(frozen=True)
class Certificates:
    """Files, as a clinic would have them."""

    folder: Path
    ca: Path
    other_ca: Path
    """An authority nobody here trusts."""

    def tls(self, name: str, *, ca: str = "ca") -> dict[str, Any]:
        """Settings with a certificate and key; of the other authority with `ca="other"`."""
        return {"cert": self.folder / f"{ca}-{name}.pem", "key": self.folder / f"{ca}-{name}.key"}

    def server(self, name: str, *, ca: str = "ca", clients: bool = False) -> ssl.SSLContext:
        """TLS of a partner, made without the hub's own code."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        files = self.tls(name, ca=ca)
        context.load_cert_chain(files["cert"], files["key"])
        if clients:
            context.load_verify_locations(self.ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client(self, certificate: dict[str, Any] | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.ca))
        if certificate is not None:
            context.load_cert_chain(certificate["cert"], certificate["key"])
        return context


def make(folder: Path) -> Certificates:
    """Certificates for `127.0.0.1`, `ehr.example` and `client` from each of two authorities."""
    authorities = {"ca": trustme.CA(organization_name="Riverside"), "other": trustme.CA(organization_name="Nobody")}
    for ca, authority in authorities.items():
        authority.cert_pem.write_to_path(folder / f"{ca}.pem")
        for name in ("127.0.0.1", "ehr.example", "client@clinic.example"):
            leaf = authority.issue_cert(name)
            leaf.private_key_pem.write_to_path(folder / f"{ca}-{name}.key")
            for number, blob in enumerate(leaf.cert_chain_pems):
                blob.write_to_path(folder / f"{ca}-{name}.pem", append=number > 0)
    return Certificates(folder, folder / "ca.pem", folder / "other.pem")


HANDSHAKE = b"\x16"
"""Type of the TLS record in which a server takes up a handshake (RFC 5246, section 6.2.1)."""


def client_hello(version: ssl.TLSVersion) -> bytes:
    """The greeting of a client that speaks no version above this one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that it is old is the point
        context.minimum_version = context.maximum_version = version
    outgoing = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="127.0.0.1").do_handshake()
    return outgoing.read()
