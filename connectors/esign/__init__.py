"""Has documents signed: envelopes are sent, looked at, reminded of, withdrawn and fetched, at any signing service.

settings.py   what a vendor profile says: the calls of its API, and its words for how far an envelope is
service.py    where the API of this account is, and asking it
connector.py  orders in, reports out
"""

from __future__ import annotations

from connectors.esign.connector import Esign
from hub.connector import AnyConnector
from hub.hookspecs import hookimpl


@hookimpl
def register_connectors() -> list[type[AnyConnector]]:
    return [Esign]
