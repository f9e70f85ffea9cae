"""Moves a clinic from SQLite to PostgreSQL: every row and every file, verified by counts and hashes before it counts.

Values are sealed and bound to their row, not to the database, so they are copied as they are and no key is needed.  Everything
is one transaction: a copy that is cut off, or that does not come out the same, leaves the target as empty as it was.  The
source is only read, under its lock, and stays where it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import Table

from hub.errors import Refused, StoreError
from hub.store.batch import partition_of
from hub.store.opening import StoreLock, schema_version
from hub.store.postgres import check_server, connect, words
from hub.store.postgres_opening import FILES_MARK, MIGRATING, migrate, schema_version as version_on_postgres
from hub.store.schema import HEAD, metadata

AT_ONCE = 5000
"""Rows in one piece."""
_OF_HUBS = ("node", "lease")
"""Tables of who is at work: they begin empty."""
_COUNTED_BY = {"message": "seq", "work": "id", "note": "id", "audit": "seq"}
"""Tables with a sequence, and its column."""
Progress = Callable[[str, int], None]
"""Is told the table and how many rows of it are copied."""


async def copy_store(source: Path, url: str, files: Path, progress: Progress = lambda *_: None) -> dict[str, int]:
    """Rows of each table, and `files`.  Raises Refused when the source is in use or the target holds something, StoreError when
    either cannot be used or the copy does not come out the same.
    """
    if not source.is_file():  # noqa: ASYNC240 - nothing else runs in this process
        raise StoreError(f"there is no store at {source}", code="STO-011")
    lock = StoreLock(source.with_name(source.name + ".lock"))
    lock.take()
    try:
        with contextlib.closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True)) as read:
            if (version := schema_version(read)) != HEAD:
                raise StoreError(
                    f"the store {source} has the schema {version or 'none'}; start the hub on it once", code="STO-008"
                )
            return await _copy(read, source.with_name(source.name + ".files"), url, files, progress)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, sqlite3.Error) as error:
        raise StoreError(f"the store cannot be copied: {words(error)}", code="STO-016") from error
    finally:
        lock.release()


async def _copy(read: sqlite3.Connection, bodies: Path, url: str, files: Path, progress: Progress) -> dict[str, int]:
    write = await connect(url)
    try:
        await check_server(write)
        await write.execute(f"SELECT pg_advisory_lock({MIGRATING})")
        if await version_on_postgres(write) != HEAD:
            await migrate(url, await version_on_postgres(write))
        async with write.transaction():
            await _must_be_empty(write)
            copied = {}
            for table in metadata.sorted_tables:
                if table.name not in _OF_HUBS:
                    copied[table.name] = await _copy_table(read, write, table, progress)
            for name, column in _COUNTED_BY.items():
                await write.execute(
                    f"SELECT setval('{name}_{column}_seq', greatest((SELECT max({column}) FROM {name}), 1),"
                    f" (SELECT count(*) > 0 FROM {name}))"
                )
            copied["files"] = _copy_files(bodies, files)
            known = os.urandom(16).hex()
            (files / FILES_MARK).write_text(known, encoding="ascii")
            await write.execute("INSERT INTO info VALUES ('files', $1)", known)
        await write.execute("ANALYZE")
        return copied
    finally:
        await write.close()


async def must_be_empty(url: str) -> None:
    """Raises Refused when the database holds something, StoreError when it cannot be used."""
    try:
        write = await connect(url)
        try:
            await check_server(write)
            if await version_on_postgres(write) == HEAD:
                await _must_be_empty(write)
        finally:
            await write.close()
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
        raise StoreError(f"the database cannot be used: {words(error)}", code="STO-001") from error


async def _must_be_empty(write: asyncpg.Connection[Any]) -> None:
    for table in metadata.sorted_tables:
        if await write.fetchval(f"SELECT EXISTS (SELECT FROM {table.name})"):
            raise Refused(
                f"the database holds something already (table {table.name}); copy into one that is new", code="STO-017"
            )


async def _copy_table(read: sqlite3.Connection, write: asyncpg.Connection[Any], table: Table, progress: Progress) -> int:
    columns = [column.name for column in table.columns]
    there, count = hashlib.sha256(), 0
    for piece in _rows(read, table, columns):
        for row in piece:
            there.update(repr(row).encode())
        await write.copy_records_to_table(table.name, records=piece, columns=columns)
        count += len(piece)
        progress(table.name, count)
    here, found = hashlib.sha256(), 0
    async for row in _rows_on_postgres(write, table, columns):
        here.update(repr(row).encode())
        found += 1
    if (found, here.digest()) != (count, there.digest()):
        raise StoreError(f"the copy of the table {table.name} is not the same ({found} of {count} rows)", code="STO-016")
    return count


def _rows(read: sqlite3.Connection, table: Table, columns: list[str]) -> Iterator[list[tuple[Any, ...]]]:
    """In the order of the primary key, which both databases compare byte by byte."""
    order = ", ".join(column.name for column in table.primary_key)
    names = ", ".join(f'"{name}"' for name in columns)
    cursor = read.execute(f"SELECT {names} FROM {table.name} ORDER BY {order}")
    while piece := cursor.fetchmany(AT_ONCE):
        yield [_as_kept(table, columns, row) for row in piece]


def _as_kept(table: Table, columns: list[str], row: tuple[Any, ...]) -> tuple[Any, ...]:
    """PostgreSQL keeps no NUL in a text, and knows the partition of each work."""
    values = [value.replace("\0", "?") if isinstance(value, str) and "\0" in value else value for value in row]
    if table.name == "work":
        values[columns.index("partition")] = partition_of(values[columns.index("lane")])
    return tuple(values)


async def _rows_on_postgres(write: asyncpg.Connection[Any], table: Table, columns: list[str]) -> AsyncIterator[tuple[Any, ...]]:
    order = ", ".join(column.name for column in table.primary_key)
    names = ", ".join(f'"{name}"' for name in columns)
    async for row in write.cursor(f"SELECT {names} FROM {table.name} ORDER BY {order}", prefetch=AT_ONCE):
        yield tuple(row)


def _copy_files(source: Path, target: Path) -> int:
    """Each file whole and on disk; one that is there already is compared."""
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    count = 0
    for path in sorted(source.glob("[0-9a-f][0-9a-f]/*")):
        if path.suffix:
            continue  # what a crash left of a file that was never named
        copy = target / path.parent.name / path.name
        copy.parent.mkdir(mode=0o700, exist_ok=True)
        if not copy.exists() or _digest(copy) != _digest(path):
            draft = copy.with_name(copy.name + ".part")
            shutil.copyfile(path, draft)
            with draft.open("rb") as handle:
                os.fsync(handle.fileno())
            draft.replace(copy)
        if _digest(copy) != _digest(path):
            raise StoreError(f"the copy of the file {path.name} is not the same", code="STO-016")
        count += 1
    return count


def _digest(path: Path) -> bytes:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").digest()
