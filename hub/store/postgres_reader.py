"""The readers' side of PostgreSQL: the queries of reader.py on connections of asyncpg."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import asyncpg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from hub.errors import StoreError
from hub.store.postgres import connect
from hub.store.reader import Reader

T = TypeVar("T")


class PostgresReader(Reader):
    """Reads on the primary: a replica may show commits in another order."""

    def __init__(self, url: str, connections: int = 4) -> None:
        async def open_connection() -> asyncpg.Connection[Any]:
            return await connect(url, default_transaction_read_only="on", jit="off")

        self._engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=open_connection,
            isolation_level="AUTOCOMMIT",
            pool_size=connections,
            max_overflow=0,
        )
        self._closed = False

    async def close(self) -> None:
        """What is being read is read to its end."""
        self._closed = True
        await self._engine.dispose()

    async def run(self, query: Callable[[Connection], T]) -> T:
        """Once more on a new connection when the old one has gone, as after a restart of the server."""
        try:
            return await self._run(query)
        except (DBAPIError, OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError) as error:
            if isinstance(error, DBAPIError) and not error.connection_invalidated:
                raise
            return await self._run(query)

    async def _run(self, query: Callable[[Connection], T]) -> T:
        if self._closed:  # the engine would begin a new pool, which nobody closes
            raise StoreError("the hub has stopped; nothing more is read", code="STO-012")
        async with self._engine.connect() as connection:
            try:
                return await connection.run_sync(query)
            finally:
                if self._closed:  # its pool is gone and closes nothing any more
                    await connection.invalidate()
