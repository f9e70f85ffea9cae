"""Names and addresses of machines."""

from __future__ import annotations

import ipaddress
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator


def _host(name: str) -> str:
    try:
        name.encode("idna")
    except UnicodeError:
        raise ValueError("expected a host name or an address; a part of this one is empty or too long") from None
    return name


HostName = Annotated[str, AfterValidator(_host)]
"""A name that can be looked up, or an address; whether there is such a machine turns out later."""


def is_loopback(host: str) -> bool:
    """True for this machine: the only place where plain text needs no reason."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_url(url: str, *, allow_plaintext: str | None) -> None:
    """Raises ValueError for an address that cannot be used: no host, credentials in it, or plain text beyond this machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host:
        raise ValueError("an address has no host, or a port that is none; expected https://HOST/PATH or https://HOST:PORT/PATH")
    if parts.username or parts.password:
        raise ValueError("credentials do not belong into a URL; put them under `auth`")
    if parts.scheme != "https" and not is_loopback(host) and not allow_plaintext:
        raise ValueError("an address beyond this machine needs https, or `allow_plaintext` with the reason why not")
