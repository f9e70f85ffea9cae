"""Where a hub keeps what it keeps: the store, its lock and files, the control socket."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

DEFAULT_STORE = "sqlite:///var/hub.db"
LONGEST_SOCKET_PATH = 100
"""Characters of a Unix socket's path that all systems take."""


def store_file(url: str, folder: Path) -> Path:
    """The file of `sqlite:///relative` or `sqlite:////absolute`, by its one true name: links are followed."""
    return (folder / url.removeprefix("sqlite:///")).resolve()


def control_socket(store: Path) -> Path:
    """Beside the store, unless that path is too long for a socket."""
    beside = store.with_name(store.name + ".sock")
    if len(str(beside)) <= LONGEST_SOCKET_PATH:
        return beside
    digest = hashlib.blake2b(str(beside.resolve()).encode(), digest_size=8).hexdigest()
    return Path(tempfile.gettempdir()) / f"clinic-hub-{os.getuid()}-{digest}.sock"
