"""TLS for listeners and clients: 1.2 or newer, the other side verified, nothing to switch that off."""

from __future__ import annotations

import hashlib
import re
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import structlog
from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator

from hub.errors import ConfigError

log = structlog.get_logger(__name__)


def _fingerprint(text: str) -> str:
    digits = text.lower().removeprefix("sha256:").removeprefix("sha256 fingerprint=").replace(":", "").strip()
    if not re.fullmatch("[0-9a-f]{64}", digits):
        raise ValueError(
            "expected the SHA-256 fingerprint of a certificate: 64 hex digits, as `openssl x509 -fingerprint -sha256` prints"
        )
    return digits


Fingerprint = Annotated[str, AfterValidator(_fingerprint)]
"""SHA-256 of a certificate (DER), as hex digits with or without colons."""


class TlsServer(BaseModel):
    """TLS of a listener."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, frozen=True)

    cert: Path
    """Our certificate with its chain, PEM."""
    key: Path
    """Its private key, PEM."""
    client_ca: Path | None = None
    """Only clients with a certificate of this authority may connect (mutual TLS)."""
    client_pins: list[Fingerprint] = []
    """Only clients with one of these certificates may connect: SHA-256 fingerprints. All of `client_ca` when empty."""

    @model_validator(mode="after")
    def _pins_need_certificates(self) -> TlsServer:
        if self.client_pins and self.client_ca is None:
            raise ValueError("`client_pins` needs `client_ca`: without it clients show no certificate")
        return self


class TlsClient(BaseModel):
    """TLS towards a partner."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, frozen=True)

    ca: Path | None = None
    """Authorities to trust, PEM. Default: those of the system."""
    cert: Path | None = None
    """Our own certificate, when the partner asks for one (mutual TLS)."""
    key: Path | None = None
    """Its private key."""
    server_name: str | None = None
    """Name the partner's certificate must have. Default: the host."""


class PinnedTlsClient(TlsClient):
    """TLS towards a partner whose certificate may be pinned."""

    pins: list[Fingerprint] = []
    """The partner must show one of these certificates, besides being trusted: SHA-256 fingerprints, the next one too."""


def certificates_of(config: BaseModel) -> list[Path]:
    """The files of our own certificates in the settings of a connection."""
    found: list[Path] = []
    for name in type(config).model_fields:
        value = getattr(config, name)
        if isinstance(value, TlsServer | TlsClient):
            found += [value.cert] if value.cert is not None else []
        elif isinstance(value, BaseModel):
            found += certificates_of(value)
    return found


def server_context(tls: TlsServer) -> ssl.SSLContext:
    """Raises ConfigError when a file cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load(context, tls.cert, tls.key)
    if tls.client_ca is not None:
        _trust(context, tls.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(tls: TlsClient) -> ssl.SSLContext:
    """Raises ConfigError when a file cannot be used."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.ca is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        _trust(context, tls.ca)
    if tls.cert is not None:
        _load(context, tls.cert, tls.key)
    return context


class ServerTls:
    """The TLS of a listener.  Files may be replaced while it listens: connections that exist stay as they are, new ones are
    made with the new files.  Files that cannot be used are told, and the old ones stay in use.
    """

    def __init__(self, tls: TlsServer) -> None:
        """Raises ConfigError when a file cannot be used."""
        self._followed = _Followed([tls.cert, tls.key, tls.client_ca], lambda: server_context(tls))
        self.context = server_context(tls)
        """For the server; each handshake is given the context of the files as they are now."""
        self.context.sni_callback = self._choose

    def _choose(self, connection: Any, name: str | None, context: ssl.SSLContext) -> None:  # noqa: ARG002 - ssl's signature
        connection.context = self._followed.context()


class ClientTls:
    """The TLS towards a partner; files may be replaced, the next connection is made with the new ones."""

    def __init__(self, tls: TlsClient) -> None:
        """Raises ConfigError when a file cannot be used."""
        self._followed = _Followed([tls.ca, tls.cert, tls.key], lambda: client_context(tls))

    @property
    def context(self) -> ssl.SSLContext:
        return self._followed.context()


class _Followed:
    """A context that is made anew when one of its files was replaced."""

    def __init__(self, files: Sequence[Path | None], make: Callable[[], ssl.SSLContext]) -> None:
        self._files = [file for file in files if file is not None]
        self._make = make
        self._stamp = self._stamp_now()
        self._context = make()

    def context(self) -> ssl.SSLContext:
        """What the files say now: they are looked at for each new connection."""
        stamp = self._stamp_now()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._context = self._make()
                log.info("certificates were read anew", files=[str(file) for file in self._files])
            except ConfigError as error:
                log.error("new certificates cannot be used; the old ones stay", code=error.code, reason=str(error))
        return self._context

    def _stamp_now(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(file) for file in self._files]


def _stamp(file: Path) -> tuple[int, int, int] | None:
    """Changes when a file is replaced or written to."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def is_pinned(pins: Sequence[str], connection: ssl.SSLObject | ssl.SSLSocket | None) -> bool:
    """True when the other side showed one of these certificates, or nothing is pinned."""
    if not pins:
        return True
    certificate = connection.getpeercert(binary_form=True) if connection is not None else None
    return certificate is not None and hashlib.sha256(certificate).hexdigest() in pins


def _load(context: ssl.SSLContext, cert: Path, key: Path | None) -> None:
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"the certificate {cert} or its key cannot be used: {_reason(error)}", code="TLS-001") from None


def _trust(context: ssl.SSLContext, ca: Path) -> None:
    try:
        context.load_verify_locations(ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"the authority file {ca} cannot be used: {_reason(error)}", code="TLS-002") from None


def _reason(error: OSError) -> str:
    return error.strerror or getattr(error, "reason", "") or type(error).__name__


def tls_failure(error: BaseException | None) -> str:
    """What TLS complained about when that is why an error came up, in OpenSSL's words; empty when it is not."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return getattr(error, "verify_message", "") or (error.reason or type(error).__name__).replace("_", " ").lower()
        error = error.__cause__ or error.__context__
    return ""
