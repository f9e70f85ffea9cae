"""Opening a store on PostgreSQL: the schema brought up to date, the key and the folder of large bodies checked."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from hub.errors import Refused, StoreError
from hub.paths import store_file
from hub.store.opening import Sealer, StoreLock, migrations
from hub.store.postgres import PostgresWriter, check_server, connect, words
from hub.store.postgres_reader import PostgresReader
from hub.store.schema import HEAD

MIGRATING = 0x636C696E
"""Number of the advisory lock under which one hub at a time looks at the schema ("clin")."""
FILES_MARK = "of-store"
"""File that says which store a folder of large bodies belongs to."""
_SLOTS = 16
"""Hubs of one clinic folder on one machine."""


class PostgresStore:
    """An open store on PostgreSQL."""

    def __init__(self, path: Path, lock: StoreLock, writer: PostgresWriter, reader: PostgresReader, files: Path) -> None:
        self.path = path
        self.lock = lock
        self.writer = writer
        self.reader = reader
        self.files = files

    async def close(self) -> None:
        await self.reader.close()
        await self.writer.close()
        self.lock.release()


async def open_postgres(url: str, folder: Path, seal: Sealer, files: Path | None = None) -> PostgresStore:
    """Raises Refused when too many hubs run here, StoreError when the store cannot be used."""
    lock = take_slot(store_file(url, folder))
    path = lock.path.with_suffix("")
    try:
        files = files or store_file(url, folder).with_name("postgresql.files")
        files.mkdir(mode=0o700, exist_ok=True, parents=True)
        await _prepare(url, seal, files)
        writer = PostgresWriter(url)
        await writer.open()
        return PostgresStore(path, lock, writer, PostgresReader(url), files)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, ValueError) as error:
        lock.release()
        raise StoreError(f"the store on PostgreSQL cannot be opened: {words(error)}", code="STO-001") from error
    except BaseException:
        lock.release()
        raise


def take_slot(base: Path) -> StoreLock:
    """A name of its own for each hub of one clinic folder: a second one may take over while the first one stops."""
    try:
        base.parent.mkdir(parents=True, exist_ok=True)
        for number in range(_SLOTS):
            lock = StoreLock(base.with_name(f"{base.name}{f'-{number + 1}' if number else ''}.lock"))
            try:
                lock.take()
            except Refused:
                continue
            return lock
    except OSError as error:
        raise StoreError(f"{base.parent} cannot be used: {error.strerror}", code="STO-001") from None
    raise Refused(f"{_SLOTS} hubs are running from this clinic folder already", code="STO-007")


async def _prepare(url: str, seal: Sealer, files: Path) -> None:
    connection = await connect(url)
    try:
        await check_server(connection)
        await connection.execute(f"SELECT pg_advisory_lock({MIGRATING})")  # until the connection is closed
        version = await schema_version(connection)
        if version != HEAD:
            await migrate(url, version)
        async with connection.transaction():
            await _check_key(connection, seal)
            await _check_files(connection, files)
            seal.load(dict(await connection.fetch("SELECT number, wrapped FROM data_key")))
            keys = {number: seal.new_data_key(number) for number in seal.missing_days(datetime.now(UTC))}
            await connection.executemany("INSERT INTO data_key VALUES ($1, $2)", list(keys.items()))
        seal.load(keys)
    finally:
        await connection.close()


async def schema_version(connection: asyncpg.Connection[Any]) -> str:
    """The migration a store is at; empty for a new one."""
    if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
        return ""
    return await connection.fetchval("SELECT version_num FROM alembic_version") or ""


async def migrate(url: str, version: str) -> None:
    """Brings a store to the schema of this program, in one transaction."""
    from alembic import command

    config = migrations(version, "on PostgreSQL")

    async def open_connection() -> asyncpg.Connection[Any]:
        return await connect(url)

    def upgrade(connection: Connection) -> None:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    engine = create_async_engine("postgresql+asyncpg://", async_creator=open_connection)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(upgrade)
    finally:
        await engine.dispose()


async def _check_key(connection: asyncpg.Connection[Any], seal: Sealer) -> None:
    known = await connection.fetchval("SELECT value FROM info WHERE name = 'key'")
    if known is None:
        await connection.execute("INSERT INTO info VALUES ('key', $1)", seal.check)
    elif known != seal.check:
        raise StoreError("the key file does not belong to this store; put the right one back", code="STO-009")


async def _check_files(connection: asyncpg.Connection[Any], files: Path) -> None:
    """Bodies over 256 KB are files, which all hubs of a database must see: the folder and the database know each other."""
    mark = files / FILES_MARK
    known = await connection.fetchval("SELECT value FROM info WHERE name = 'files'")
    if known is None:
        known = os.urandom(16).hex()
        mark.write_text(known, encoding="ascii")
        await connection.execute("INSERT INTO info VALUES ('files', $1)", known)
    elif not mark.exists() or mark.read_text(encoding="ascii").strip() != known:
        raise StoreError(
            f"the folder {files} is not the one in which this store keeps large bodies. All hubs of a database share one: "
            "name it as `files` in the clinic file.",
            code="STO-014",
        )
