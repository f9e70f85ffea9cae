"""TLS for listeners and clients: 1.2 or newer, the other side verified, nothing to switch that off."""

from __future__ import annotations

import ssl
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from hub.errors import ConfigError


class TlsServer(BaseModel):
    """TLS of a listener."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, frozen=True)

    cert: Path
    """Our certificate with its chain, PEM."""
    key: Path
    """Its private key, PEM."""
    client_ca: Path | None = None
    """Only clients with a certificate of this authority may connect (mutual TLS)."""


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
