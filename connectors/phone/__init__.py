"""Texts and calls by a telephone service: kinds `sms` and `voice`, one contract; what differs between vendors is data.

settings.py    what a vendor profile says: the calls of its API, its words for how far a text is, its codes for why it failed
connector.py   an order is sent once, a look asks how it is; both answer with a report
"""

from __future__ import annotations

from connectors.phone.connector import Sms, Voice
from hub.connector import AnyConnector
from hub.hookspecs import hookimpl


@hookimpl
def register_connectors() -> list[type[AnyConnector]]:
    return [Sms, Voice]
