"""Exchanges messages as files on a partner's SFTP server.

Coming in: a file is taken when it has stopped changing, by giving it a name of ours, and deleted (or moved) after the hub owns
it.  Going out: a file is written under another name and renamed when it is whole.  `session.py` is the only home of paramiko.
"""

from __future__ import annotations

from connectors.sftp.connector import Sftp
from hub.connector import AnyConnector
from hub.hookspecs import hookimpl


@hookimpl
def register_connectors() -> list[type[AnyConnector]]:
    return [Sftp]
