"""A backup of a store on PostgreSQL: its rows at one moment, as a SQLite database in the same file as every backup.

One transaction reads all tables (REPEATABLE READ, read only): commits go on beside it, and the copy is of one moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import Table

from hub.errors import StoreError
from hub.store import opening
from hub.store.backup import Manifest, drafts_of, must_be_new, pack, put_in_place
from hub.store.postgres import connect, words
from hub.store.postgres_opening import schema_version
from hub.store.schema import HEAD, IS_NAMED, metadata

AT_ONCE = 2000
"""Rows in one piece."""
OF_HUBS = ("node", "lease")
"""Tables of who is at work just now: they begin empty."""


async def back_up_postgres(url: str, files: Path, target: Path) -> Manifest:
    """Raises Refused when the file is there already, StoreError when the store cannot be read or there is no room."""
    must_be_new(target)
    copy, draft = drafts_of(target)
    try:
        await _copy_tables(url, copy)
        manifest = await asyncio.to_thread(pack, copy, files, draft, engine="postgresql", still_named=_asker(url))
        put_in_place(draft, target)
        return manifest
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise StoreError(f"the store on PostgreSQL cannot be copied: {words(error)}", code="STO-031") from None
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"the backup {target} cannot be written: {error}", code="STO-031") from None
    finally:
        for path in (copy, draft):
            with contextlib.suppress(OSError):
                path.unlink()


async def _copy_tables(url: str, copy: Path) -> None:
    os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
    await asyncio.to_thread(opening.migrate, copy, "")
    read = await connect(url)
    write = sqlite3.connect(copy, isolation_level=None, check_same_thread=False)
    try:
        write.execute("PRAGMA synchronous=OFF")
        async with read.transaction(isolation="repeatable_read", readonly=True):
            if (version := await schema_version(read)) != HEAD:
                raise StoreError(f"the store has the schema {version or 'none'}; start this hub on it once", code="STO-008")
            for table in metadata.sorted_tables:
                if table.name not in OF_HUBS:
                    await _copy_table(read, write, table)
        write.execute("DELETE FROM info WHERE name = 'files'")  # the mark of the folder the files are in now
    finally:
        write.close()
        await read.close()


async def _copy_table(read: asyncpg.Connection[Any], write: sqlite3.Connection, table: Table) -> None:
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    places = ", ".join("?" * len(table.columns))
    cursor = await read.cursor(f"SELECT {names} FROM {table.name}")
    while rows := await cursor.fetch(AT_ONCE):
        await asyncio.to_thread(_insert, write, f"INSERT INTO {table.name} ({names}) VALUES ({places})", rows)


def _insert(write: sqlite3.Connection, statement: str, rows: list[asyncpg.Record]) -> None:
    write.execute("BEGIN")
    write.executemany(statement, [tuple(row) for row in rows])
    write.execute("COMMIT")


def _asker(url: str) -> Any:
    """Tells whether the store still names a file; asked in a thread of its own."""

    async def ask(name: str) -> bool:
        connection = await connect(url)
        try:
            return bool(await connection.fetchval(IS_NAMED.replace("?", "$"), name))
        finally:
            await connection.close()

    return lambda name: asyncio.run(ask(name))
