"""Where a hub keeps what it keeps: the store, its lock and files, the control socket."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

DEFAULT_STORE = "sqlite:///var/hub.db"
POSTGRES = "postgresql://"
LONGEST_SOCKET_PATH = 100
"""Bytes of a Unix socket's path that all systems take."""
_SHORT_FOLDER = "/tmp"  # noqa: S108 - the socket is for its owner alone
"""For sockets, where the folder for temporary files has a long path as well."""


def is_postgres(url: str) -> bool:
    return url.startswith((POSTGRES, "postgres://"))


def has_password(url: str) -> bool:
    """True when the address of a database tells its password."""
    try:
        parts = urlsplit(url)
        return bool(parts.password) or "password" in parse_qs(parts.query)
    except ValueError:
        return True


def store_file(url: str, folder: Path) -> Path:
    """The file of `sqlite:///relative` or `sqlite:////absolute`, by its one true name: links are followed.

    On PostgreSQL the name beside which a hub keeps what belongs to this machine: control socket, lock.
    """
    if is_postgres(url):
        return (folder / "var" / "postgresql").resolve()
    return (folder / url.removeprefix("sqlite:///")).resolve()


def control_socket(store: Path) -> Path:
    """Beside the store, unless that path is too long for a socket."""
    beside = store.with_name(store.name + ".sock")
    if _fits(beside):
        return beside
    digest = hashlib.blake2b(str(beside.resolve()).encode(), digest_size=8).hexdigest()
    user = os.getuid() if hasattr(os, "getuid") else "user"
    name = f"clinic-hub-{user}-{digest}.sock"
    path = Path(tempfile.gettempdir(), name)
    return path if _fits(path) else Path(_SHORT_FOLDER, name)


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= LONGEST_SOCKET_PATH
