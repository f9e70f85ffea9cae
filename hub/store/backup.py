"""A backup of a store: one tar file that holds the whole of it, made while the hub works, and nothing of its key.

    files/NAME      the bodies over 256 KB and what records keep, sealed as they are
    store.db        the tables, as a SQLite database at one moment, whatever engine they came from
    manifest.json   size and SHA-256 of every member, rows of every table, the end of the audit chain

The copy is made by SQLite's own backup, a few pages at a time, from a connection that reads the state of one moment: commits
go on beside it, and the write-ahead log is not folded in until it is done.  The file appears under its name once it is whole
and on disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import sqlite3
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO
from urllib.parse import quote

from hub.errors import Refused, StoreError
from hub.store.schema import CONTENT, FILES, IS_NAMED, metadata

FORMAT = 1
"""Of the backup file."""
DATABASE, MANIFEST = "store.db", "manifest.json"
FILE_NAME = re.compile(r"files/([0-9a-f]{32})")
STEP_PAGES = 512
"""Pages copied in one go (2 MiB)."""
STEP_REST = 0.001
"""Seconds between, so that the disk has time for the commits of the hub."""
_CHUNK = 1 << 20
Progress = Callable[[int, int], None]
"""Is told how many pages of how many are copied."""
StillNamed = Callable[[str], bool]
"""Whether the store, as it is now, has a message or a record that names a file."""


@dataclass(slots=True)
class Manifest:
    """What a backup says about itself."""

    format: int
    made_at: str
    engine: str
    schema: str
    audit_end: str
    """Chain value of the newest audit row, in hex."""
    rows: dict[str, int]
    members: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Size and SHA-256 of every other member."""

    @property
    def size(self) -> int:
        return sum(size for size, _ in self.members.values())


def back_up(store: Path, target: Path, progress: Progress | None = None) -> Manifest:
    """Copies a SQLite store into a backup file while others may write to the store.

    Raises Refused when the file is there already, StoreError when the store is damaged or there is no room.
    """
    must_be_new(target)
    copy, draft = drafts_of(target)
    try:
        with contextlib.suppress(FileNotFoundError):
            copy.unlink()
        copy_tables(store, copy, progress)
        manifest = pack(copy, store.with_name(store.name + ".files"), draft, engine="sqlite", still_named=_asker(store))
        put_in_place(draft, target)
        return manifest
    except OSError as error:
        raise StoreError(f"the backup {target} cannot be written: {error.strerror}", code="STO-031") from None
    except sqlite3.Error as error:
        raise StoreError(f"the store {store} cannot be copied ({error})", code="STO-031") from None
    finally:
        for path in (copy, draft):
            with contextlib.suppress(OSError):
                path.unlink()


def must_be_new(target: Path) -> None:
    if target.exists():
        raise Refused(f"there is already a file {target}; a backup never replaces another one", code="STO-030")


def drafts_of(target: Path) -> tuple[Path, Path]:
    """Where the copy of the tables and the tar are made."""
    copy, draft = (target.with_name(f".{target.name}.{end}") for end in ("copy", "part"))
    return copy, draft


def put_in_place(draft: Path, target: Path) -> None:
    draft.replace(target)
    sync_folder(target.parent)


def copy_tables(store: Path, copy: Path, progress: Progress | None) -> None:
    """The tables at one moment, page by page."""

    def step(_: int, remaining: int, pages: int) -> None:
        if progress is not None:
            progress(pages - remaining, pages)
        time.sleep(STEP_REST)

    with _reading(store) as source, _writing(copy) as target:
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_master").fetchone()  # from here on it sees one moment
        source.backup(target, pages=STEP_PAGES, progress=step)
        source.execute("ROLLBACK")
        target.execute("PRAGMA journal_mode=DELETE")
        if (found := target.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise StoreError(f"the store {store} is damaged ({found}); restore an older backup", code="STO-032")


def pack(copy: Path, files: Path, draft: Path, *, engine: str, still_named: StillNamed) -> Manifest:
    """Makes the tar of a copy of the tables and of the files it names."""
    with open(draft, "wb", opener=_private) as out, tarfile.open(fileobj=out, mode="w") as tar:
        with _writing(copy) as tables:
            manifest = _describe(tables, engine)
            for (name,) in tables.execute(f"{FILES} ORDER BY 1").fetchall():
                path = files / name[:2] / name
                try:
                    _add(tar, f"files/{name}", path, manifest)
                except FileNotFoundError:
                    _was_let_go(tables, name, still_named)
            manifest.rows = count_rows(tables)
        _add(tar, DATABASE, copy, manifest)
        text = json.dumps(asdict(manifest), indent=1).encode()
        tar.addfile(_member(MANIFEST, len(text)), io.BytesIO(text))
        tar.close()
        out.flush()
        os.fsync(out.fileno())
    return manifest


def _describe(tables: sqlite3.Connection, engine: str) -> Manifest:
    schema = tables.execute("SELECT version_num FROM alembic_version").fetchone()[0]
    end = tables.execute("SELECT chain FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Manifest(FORMAT, now, engine, schema, end[0].hex() if end else "", count_rows(tables))


def count_rows(tables: sqlite3.Connection) -> dict[str, int]:
    there = {name for (name,) in tables.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    names = [name for name in metadata.tables if name in there]
    return {name: tables.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names}


def _was_let_go(tables: sqlite3.Connection, name: str, still_named: StillNamed) -> None:
    """Retention may have taken a file away since the moment of the copy; if it did not, the store is damaged."""
    if still_named(name):
        raise StoreError(
            f"the file {name} of a message body or document is gone; restore it from an older backup", code="STO-032"
        )
    tables.execute("UPDATE message SET body = NULL, file = NULL WHERE file = ?", (name,))
    tables.execute("DELETE FROM record_key WHERE name = ? AND value = ?", (CONTENT, name))


def _asker(store: Path) -> StillNamed:
    def ask(name: str) -> bool:
        with _reading(store) as source:
            return bool(source.execute(IS_NAMED, (name,)).fetchone()[0])

    return ask


def _add(tar: tarfile.TarFile, name: str, path: Path, manifest: Manifest) -> None:
    with path.open("rb") as handle:
        size = os.fstat(handle.fileno()).st_size
        hashing = Hashing(handle)
        tar.addfile(_member(name, size), hashing)
        manifest.members[name] = (size, hashing.hexdigest())


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, 0o600, int(time.time())
    return member


class Hashing:
    """A file that digests what is read of it."""

    def __init__(self, handle: IO[bytes]) -> None:
        self._handle, self._digest = handle, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        chunk = self._handle.read(size)
        self._digest.update(chunk)
        return chunk

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def copy_hashed(source: IO[bytes], target: IO[bytes]) -> str:
    """Copies everything; returns its SHA-256."""
    hashing = Hashing(source)
    while chunk := hashing.read(_CHUNK):
        target.write(chunk)
    return hashing.hexdigest()


@contextmanager
def _reading(store: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(f"file:{quote(str(store))}?mode=ro", uri=True, isolation_level=None, timeout=10.0)
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def _writing(copy: Path) -> Iterator[sqlite3.Connection]:
    if not copy.exists():
        os.close(_private(str(copy), os.O_WRONLY | os.O_CREAT))
    connection = sqlite3.connect(copy, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous=OFF")  # a copy of what is safe elsewhere; it is synced once it is whole
        yield connection
    finally:
        connection.close()


def _private(path: str, flags: int) -> int:
    """For its owner alone: it is sealed, but says who sends how much to whom."""
    return os.open(path, flags, 0o600)


def sync_folder(folder: Path) -> None:
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
