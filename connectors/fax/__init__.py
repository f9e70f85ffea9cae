"""The kind `fax`: sends documents through a fax carrier, looks how they are, and brings what came in.

Which requests that takes is data of the carrier's profile.

settings.py    what a profile says: calls, and what the carrier's words mean
connector.py   orders, looks, and the inbox
"""

from __future__ import annotations

from connectors.fax.connector import FaxLine
from hub.connector import AnyConnector
from hub.hookspecs import hookimpl

__all__ = ["FaxLine"]


@hookimpl
def register_connectors() -> list[type[AnyConnector]]:
    return [FaxLine]
