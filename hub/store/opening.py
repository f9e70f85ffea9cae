"""Opening a store: one hub at a time, the schema brought up to date, the key checked."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy.exc import SQLAlchemyError

from hub.errors import Refused, StoreError
from hub.paths import is_postgres, store_file
from hub.store.processes import is_running
from hub.store.reader import Reader, SqliteReader
from hub.store.schema import HEAD
from hub.store.sqlite import SqliteWriter, connect

if TYPE_CHECKING:
    from hub.store.postgres import PostgresWriter

try:
    import fcntl
except ImportError:  # Windows has no flock, but locks of its own
    fcntl = None  # type: ignore[assignment]

_BEHIND_ALL = 1 << 20
"""A byte of the lock file that nobody reads."""
_LAST_WRITES = 10.0
"""Seconds the writer of a hub that was killed may take to bring to disk what it had been given."""
MIGRATIONS = Path(__file__).parent / "migrations"


class Sealer(Protocol):
    """What the store needs of the seal."""

    @property
    def check(self) -> str: ...
    def load(self, wrapped: dict[int, bytes]) -> None: ...
    def missing_days(self, now: datetime) -> list[int]: ...
    def new_data_key(self, number: int) -> bytes: ...
    def seal(self, plain: bytes, place: str) -> bytes: ...
    def open(self, sealed: bytes, place: str) -> bytes: ...
    def mac(self, kind: str, value: str) -> str: ...


class StoreLock:
    """Held by the process that writes to a store; given back by the system when that process dies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: Any = None

    @property
    def descriptor(self) -> int:
        """For a process that writes for the hub: it has the lock too, until it ends."""
        return int(self._handle.fileno())

    def take(self) -> None:
        """Raises Refused when another hub has it; the writer of a hub that was killed is waited for."""
        self._handle = self.path.open("a+")
        until = time.monotonic() + _LAST_WRITES
        while not _locked(self._handle):
            if is_running(self._holder()) or time.monotonic() > until:
                self._handle.close()
                self._handle = None
                raise Refused(f"another hub is using the store {self.path.with_suffix('')}", code="STO-007")
            time.sleep(0.01)
        self._handle.seek(0)
        self._handle.truncate()
        self._handle.write(f"{os.getpid()}\n")
        self._handle.flush()

    def _holder(self) -> int:
        """Process id of the hub that took it last; 0 when there was none."""
        self._handle.seek(0)
        text = self._handle.read().strip()
        return int(text) if text.isdecimal() else 0

    def release(self) -> None:
        if self._handle is not None:
            self._handle.close()
            self._handle = None


def _locked(handle: Any) -> bool:
    """False when another process has it."""
    try:
        _lock(handle)
    except OSError:
        return False
    return True


def _lock(handle: Any) -> None:
    if fcntl is not None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    try:
        import msvcrt
    except ImportError:
        return
    handle.seek(_BEHIND_ALL)  # Windows keeps others from reading what is locked: not what is written into it
    msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]


class AnyStore(Protocol):
    """An open store: the writer's side and the readers' side."""

    @property
    def path(self) -> Path:
        """The file of the store; on PostgreSQL a name beside which this hub keeps what is its own."""
        ...

    @property
    def writer(self) -> SqliteWriter | PostgresWriter: ...
    @property
    def reader(self) -> Reader: ...
    @property
    def files(self) -> Path:
        """Folder of bodies over 256 KB."""
        ...

    async def close(self) -> None: ...


class Store:
    """An open store on SQLite."""

    def __init__(self, path: Path, lock: StoreLock, writer: SqliteWriter, reader: SqliteReader, files: Path) -> None:
        self.path = path
        self.lock = lock
        self.writer = writer
        self.reader = reader
        self.files = files

    async def close(self) -> None:
        await self.reader.close()
        self.writer.close()
        self.lock.release()


async def open_any_store(url: str, folder: Path, seal: Sealer, files: Path | None = None) -> AnyStore:
    """The store at an address; raises what `open_store` raises."""
    if not is_postgres(url):
        return open_store(url, folder, seal)
    from hub.store.postgres_opening import open_postgres  # SQLite needs nothing of it

    return await open_postgres(url, folder, seal, files)


def open_any_reader(url: str, folder: Path) -> Reader | None:
    """A reader of a store at rest; None when there is no store yet."""
    if is_postgres(url):
        from hub.store.postgres_reader import PostgresReader

        return PostgresReader(url, 1)
    path = store_file(url, folder)
    return SqliteReader(path, 1) if path.exists() else None


def open_store(url: str, folder: Path, seal: Sealer, *, readers: int = 4) -> Store:
    """Takes the store, brings its schema up to date and checks that the key belongs to it.

    Raises Refused when another hub uses it, StoreError when it cannot be used.
    """
    path = store_file(url, folder)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = StoreLock(path.with_name(path.name + ".lock"))
        lock.take()
    except OSError as error:
        raise StoreError(f"the store {path} cannot be opened: {error.strerror}", code="STO-001") from None
    try:
        if restore_marker(path).exists():
            raise StoreError(f"a restore of the store {path} was interrupted; run `hub restore FILE` again", code="STO-034")
        _prepare(path, seal)
        files = path.with_name(path.name + ".files")
        files.mkdir(mode=0o700, exist_ok=True)
        return Store(path, lock, SqliteWriter(path), SqliteReader(path, readers), files)
    except (sqlite3.Error, SQLAlchemyError) as error:
        lock.release()
        reason = getattr(error, "orig", None) or error
        raise StoreError(f"the store {path} cannot be opened: {reason}", code="STO-001") from error
    except BaseException:
        lock.release()
        raise


def restore_marker(store: Path) -> Path:
    """Is there while a restore puts a store in place."""
    return store.with_name(store.name + ".restore")


def _prepare(path: Path, seal: Sealer) -> None:
    connection = connect(path)
    try:
        version = schema_version(connection)
        if version != HEAD:
            migrate(path, version)
        _check_key(connection, seal)
        seal.load(dict(connection.execute("SELECT number, wrapped FROM data_key")))
        keys = {number: seal.new_data_key(number) for number in seal.missing_days(datetime.now(UTC))}
        connection.executemany("INSERT INTO data_key VALUES (?,?)", keys.items())
        seal.load(keys)
    finally:
        connection.close()
    if os.name == "posix":
        path.chmod(0o600)


def schema_version(connection: sqlite3.Connection) -> str:
    """The migration a store is at; empty for a new one."""
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone() if known else None
    return row[0] if row else ""


def migrations(version: str, store: str) -> Any:
    """What Alembic needs to know; raises StoreError when a store is from a newer hub."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    known: Iterable[Any] = ScriptDirectory.from_config(config).walk_revisions()
    if version and version not in {script.revision for script in known}:
        raise StoreError(f"the store {store} was made by a newer hub (schema {version}); update this one", code="STO-008")
    return config


def migrate(path: Path, version: str) -> None:
    """Brings a store to the schema of this program; raises StoreError when it is from a newer one."""
    from alembic import command  # takes a quarter of a second to import, needed once in the life of a store
    from sqlalchemy import create_engine, event

    config = migrations(version, str(path))
    engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def _by_hand(driver: Any, _: Any) -> None:
        driver.isolation_level = None  # so that BEGIN below covers the schema changes too: all of them, or none
        driver.execute("PRAGMA synchronous=FULL")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    engine.dispose()


def _check_key(connection: sqlite3.Connection, seal: Sealer) -> None:
    row = connection.execute("SELECT value FROM info WHERE name = 'key'").fetchone()
    if row is None:
        connection.execute("INSERT INTO info VALUES ('key', ?)", (seal.check,))
    elif row[0] != seal.check:
        raise StoreError("the key file does not belong to this store; put the right one back", code="STO-009")
