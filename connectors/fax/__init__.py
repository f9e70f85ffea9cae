"""The kinds `fax` and `hylafax`: send documents through a fax carrier or a fax server of our own, and look how they are.

Which requests a carrier wants is data of its profile.

settings.py    what a profile says: calls, and what the carrier's words mean
connector.py   a carrier: orders, looks, and the inbox
hylafax.py     a HylaFAX server: orders and looks
words.py       numbers, and words for why a fax failed
"""

from __future__ import annotations

from connectors.fax.connector import FaxLine
from connectors.fax.hylafax import Hylafax
from hub.connector import AnyConnector
from hub.hookspecs import hookimpl

__all__ = ["FaxLine", "Hylafax"]


@hookimpl
def register_connectors() -> list[type[AnyConnector]]:
    return [FaxLine, Hylafax]
