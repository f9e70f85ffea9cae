"""Asks a partner in two steps: a form is posted and taken with an id, and its result is fetched under that id once it is there.

settings.py    what a vendor profile says: addresses, names of fields, which values mean "not yet"
remembered.py  the ids of questions under way, on disk, so that a crash does not ask twice
sender.py      posting, looking, tidying up
"""

from __future__ import annotations

from connectors.form_poll.sender import FormPoll
from hub.connector import AnyConnector
from hub.hookspecs import hookimpl


@hookimpl
def register_connectors() -> list[type[AnyConnector]]:
    return [FormPoll]
