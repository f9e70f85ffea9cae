"""Putting a backup in the place of a store: everything is verified before anything is replaced, and nothing is destroyed.

The store that was there is renamed.  A restore that is killed while it renames leaves a marker beside the store: no hub starts
on half of it, and the next `hub restore` brings the renaming to its end.

What happened since a backup was made is not in it.  So counters are moved on, lest a number be given twice, and what waits for
a partner that must not be sent anything twice becomes doubtful.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hub.errors import StoreError
from hub.moments import now_micros
from hub.store.backup import DATABASE, FILE_NAME, FORMAT, MANIFEST, Manifest, copy_hashed, count_rows, sync_folder
from hub.store.opening import Sealer, StoreLock, restore_marker, schema_version
from hub.store.removal import AUDIT_START
from hub.store.rows import AuditRow, Write
from hub.store.schema import FILES, HEAD
from hub.store.sqlite import SqliteWriter, verify_audit

NUMBERS_AHEAD = 100_000
"""How far counters are moved on: more than is used between two backups."""
SAMPLE = 200
"""Bodies that are opened to see that the key is the right one and nothing was changed, the newest first."""
_ENDS = ("-wal", "-shm", ".files", "")
"""What belongs to a store, in the order it is moved; the database comes last."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did."""

    manifest: Manifest
    put_aside: Path | None
    """The store that was there before."""
    opened: int
    """Bodies that were opened to see."""
    doubtful: int = 0


class Restore:
    """One backup, for one store."""

    def __init__(self, backup: Path, store: Path, sealer: Sealer) -> None:
        self.backup, self.store, self.sealer = backup, store, sealer
        self._new = store.with_name(store.name + ".restoring")
        self._new_files = store.with_name(store.name + ".files.restoring")

    def check(self) -> Restored:
        """Verifies the backup, beside the store; the store itself is not touched."""
        if restore_marker(self.store).exists():
            raise StoreError(f"a restore of the store {self.store} was interrupted; bring it to its end first", code="STO-034")
        self.store.parent.mkdir(parents=True, exist_ok=True)
        try:
            manifest, opened = self._unpack_and_verify()
        finally:
            self._tidy()
        return Restored(manifest, None, opened)

    def run(self, *, asking: Sequence[str], moved: bool, actor: str) -> Restored:
        """Verifies the backup, then puts it in the place of the store.

        `asking` names the targets that must not be sent anything twice; `moved` says that the backup is the store's last state,
        so that nothing is doubtful.  Raises Refused while a hub uses the store, StoreError when the backup is not right.
        """
        self.store.parent.mkdir(parents=True, exist_ok=True)
        lock = StoreLock(self.store.with_name(self.store.name + ".lock"))
        lock.take()
        try:
            self._end_what_was_begun()
            try:
                manifest, opened = self._unpack_and_verify()
                doubtful = self._make_new(manifest, [] if moved else asking, 0 if moved else NUMBERS_AHEAD, actor)
                put_aside = self._swap()
            finally:
                if not restore_marker(self.store).exists():
                    self._tidy()
        finally:
            lock.release()
        return Restored(manifest, put_aside, opened, doubtful)

    # What is in it.

    def _unpack_and_verify(self) -> tuple[Manifest, int]:
        self._tidy()
        try:
            manifest = self._unpack()
            with contextlib.closing(sqlite3.connect(self._new, isolation_level=None)) as tables:
                return manifest, self._verify(tables, manifest)
        except (tarfile.TarError, EOFError) as error:
            raise self._wrong(f"it is no whole tar file ({error})") from None
        except sqlite3.Error as error:
            raise self._wrong(f"its tables cannot be read ({error})") from None
        except OSError as error:
            raise StoreError(f"the backup cannot be unpacked beside the store: {error.strerror}", code="STO-031") from None

    def _unpack(self) -> Manifest:
        found: dict[str, tuple[int, str]] = {}
        manifest: Manifest | None = None
        self._new_files.mkdir(mode=0o700)
        with tarfile.open(self.backup, "r:") as tar:
            for member in tar:
                handle = tar.extractfile(member) if member.isreg() else None
                if handle is None:
                    raise self._wrong(f"{member.name!r} does not belong in it")
                if member.name == MANIFEST:
                    manifest = self._read_manifest(handle.read())
                    continue
                path = self._place_of(member.name)
                with path.open("wb") as out:
                    path.chmod(0o600)
                    found[member.name] = (member.size, copy_hashed(handle, out))
                    out.flush()
                    os.fsync(out.fileno())
        if manifest is None:
            raise self._wrong("it has no manifest: it was cut off, or is no backup of a hub")
        if DATABASE not in found or {name: tuple(value) for name, value in manifest.members.items()} != found:
            raise self._wrong("what is in it is not what its manifest says; it was changed or cut off")
        return manifest

    def _read_manifest(self, text: bytes) -> Manifest:
        try:
            manifest = Manifest(**json.loads(text))
        except (ValueError, TypeError):
            raise self._wrong("its manifest cannot be read") from None
        if manifest.format != FORMAT or manifest.schema > HEAD:
            raise StoreError(f"the backup {self.backup} was made by a newer hub; update this one", code="STO-008")
        return manifest

    def _place_of(self, name: str) -> Path:
        if name == DATABASE:
            return self._new
        match = FILE_NAME.fullmatch(name)
        if match is None:
            raise self._wrong(f"{name!r} does not belong in it")
        folder = self._new_files / match[1][:2]
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder / match[1]

    def _verify(self, tables: sqlite3.Connection, manifest: Manifest) -> int:
        if (found := tables.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
            raise self._wrong(f"its tables are damaged ({found})")
        if schema_version(tables) != manifest.schema or count_rows(tables) != manifest.rows:
            raise self._wrong("the rows of its tables are not those its manifest counts")
        self._verify_audit(tables, manifest)
        key = tables.execute("SELECT value FROM info WHERE name = 'key'").fetchone()
        if key is None or key[0] != self.sealer.check:
            raise StoreError("the key file does not belong to this backup; put the right one back first", code="STO-009")
        self.sealer.load(dict(tables.execute("SELECT number, wrapped FROM data_key")))
        for (name,) in tables.execute(FILES):
            if not (self._new_files / name[:2] / name).exists():
                raise self._wrong("the file of a message body or document is missing in it")
        return self._open_some(tables)

    def _verify_audit(self, tables: sqlite3.Connection, manifest: Manifest) -> None:
        start = tables.execute("SELECT value FROM info WHERE name = ?", (AUDIT_START,)).fetchone()
        rows = tables.execute("SELECT seq, at, actor, action, object, detail, chain FROM audit ORDER BY seq")
        if (wrong := verify_audit(rows, bytes.fromhex(start[0]) if start else b"")) is not None:
            raise self._wrong(f"its audit was changed: row {wrong} does not follow from the one before")
        end = tables.execute("SELECT chain FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
        if (end[0].hex() if end else "") != manifest.audit_end:
            raise self._wrong("the end of its audit is not the one its manifest names")

    def _open_some(self, tables: sqlite3.Connection) -> int:
        query = "SELECT id, file, body FROM message WHERE body IS NOT NULL ORDER BY seq DESC LIMIT ?"
        opened = 0
        for id, file, body in tables.execute(query, (SAMPLE,)):
            self.sealer.open(body, f"message|{id}|{file}" if file else f"message|{id}")
            opened += 1
        return opened

    def _wrong(self, what: str) -> StoreError:
        return StoreError(f"the backup {self.backup} cannot be used: {what}. Nothing was replaced.", code="STO-033")

    # In its place.

    def _make_new(self, manifest: Manifest, asking: Sequence[str], ahead: int, actor: str) -> int:
        """What must be different because time has passed; all of it before anything is replaced."""
        writer = SqliteWriter(self._new)
        try:
            writer.connection.execute("UPDATE counter SET value = value + ? WHERE name NOT LIKE 'retention%'", (ahead,))
            doubtful = 0
            for target in asking:
                query = "UPDATE work SET state = 'working' WHERE state = 'waiting' AND target = ?"
                doubtful += writer.connection.execute(query, (target,)).rowcount
            detail = f"made at {manifest.made_at}, {manifest.rows.get('message', 0)} messages"
            writer.apply([Write(audit=[AuditRow(now_micros(), actor, "restore", self.backup.name, detail)])])
            writer.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            writer.close()
        return doubtful

    def _swap(self) -> Path | None:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        marker = restore_marker(self.store)
        with marker.open("w") as handle:
            handle.write(stamp)
            handle.flush()
            os.fsync(handle.fileno())
        sync_folder(self.store.parent)
        return self._rename_all(stamp)

    def _end_what_was_begun(self) -> None:
        marker = restore_marker(self.store)
        if marker.exists():
            self._rename_all(marker.read_text())

    def _rename_all(self, stamp: str) -> Path | None:
        """Can be done again from wherever it was interrupted: what is still to be moved in says how far it came."""
        aside = self.store.with_name(f"{self.store.name}.before-{stamp}")
        for end in _ENDS:
            here, new = self.store.with_name(self.store.name + end), self.store.with_name(f"{self.store.name}{end}.restoring")
            still_to_come = new.exists() if end in (".files", "") else self._new.exists()
            if still_to_come and here.exists():
                here.rename(aside.with_name(aside.name + end))
            if end in (".files", "") and still_to_come:
                new.rename(here)
        sync_folder(self.store.parent)
        restore_marker(self.store).unlink()
        sync_folder(self.store.parent)
        return aside if aside.exists() else None

    def _tidy(self) -> None:
        for end in ("", "-wal", "-shm", "-journal"):
            with contextlib.suppress(FileNotFoundError):
                self._new.with_name(self._new.name + end).unlink()
        shutil.rmtree(self._new_files, ignore_errors=True)
