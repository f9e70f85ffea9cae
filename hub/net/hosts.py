"""Names and addresses of machines."""

from __future__ import annotations

import ipaddress
from typing import Annotated

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
