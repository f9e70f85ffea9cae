"""Who does what, of several hubs on one PostgreSQL: signs of life, and leases on shares of the ordering keys.

All times are those of the database's clock.  A lease holds as long as its hub gives signs of life; once it has given none for
its whole time the others strike it out, and from then on it cannot commit (postgres.py).  What it could still do without the
database, sending, it stops by its own monotonic clock, and earlier: the deadline counts from before the sign of life was given.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass
from typing import Any

import asyncpg

from hub.errors import LeaseLost
from hub.store.batch import PARTITIONS
from hub.store.postgres import BURY, CHANNEL, LOST, NOW, TURN, connect

MARGIN = 0.2
"""Share of a lease in which its hub no longer sends although nobody else may have taken over."""


@dataclass(frozen=True, slots=True)
class Members:
    """Who is there."""

    sharing: list[str]
    """Hubs that take partitions, in an order all agree on."""
    others: int
    """Everybody else, commands among them."""
    unaware: bool
    """This hub is not known to take turns, and has to."""
    late: bool
    """Somebody gave no sign of life for too long."""
    next_end: float
    """Seconds until somebody else will be late, when no sign comes."""


class Leases:
    """The part of one hub, on a connection of its own: a long commit never keeps it from giving a sign of life."""

    def __init__(self, url: str, node: str, seconds: float) -> None:
        self._url, self._node, self._seconds = url, node, seconds
        self._connection: asyncpg.Connection[Any] | None = None
        self._busy = asyncio.Lock()
        self._bury_from = 0.0
        """By the monotonic clock: earlier nobody is struck out."""
        self.deadline = 0.0
        """By the monotonic clock: later than this nothing is sent."""
        self.on_call: Callable[[str], None] = lambda _: None
        """Another hub says that there is something to look at: `members` or `work`."""

    @contextlib.asynccontextmanager
    async def _at(self) -> AsyncIterator[asyncpg.Connection[Any]]:
        """The connection, for one at a time: it takes one statement after the other, and two would each open a new one."""
        async with self._busy:
            if self._connection is None or self._connection.is_closed():
                if self._connection is not None:  # perhaps another server now: the others have to find it too
                    self._bury_from = time.monotonic() + self._seconds
                self._connection = await connect(self._url)
                await self._connection.add_listener(CHANNEL, self._heard)
            yield self._connection

    def _heard(self, connection: Any, pid: int, _channel: str, about: object) -> None:
        if pid != connection.get_server_pid():
            self.on_call(str(about))

    async def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(*LOST):
                await self._connection.close(timeout=2)
            self._connection.terminate()

    async def share(self) -> None:
        """From now on this hub takes partitions."""
        async with self._at() as run:
            await run.execute("INSERT INTO lease SELECT generate_series(0, $1 - 1) ON CONFLICT DO NOTHING", PARTITIONS)
            await run.execute("UPDATE node SET shares = 1 WHERE id = $1", self._node)

    async def sign(self) -> Members:
        """A sign of life; raises LeaseLost when it comes too late."""
        began = time.monotonic()
        async with self._at() as run, asyncio.timeout(self._seconds):
            until = f"UPDATE node SET until = {NOW} + $2 WHERE id = $1 RETURNING 1"
            if await run.fetchval(until, self._node, int(self._seconds * 1_000_000)) is None:
                raise LeaseLost("another hub has taken over from this one; it begins again")
            self.deadline = began + self._seconds * (1 - MARGIN)
            rows = await run.fetch(
                f"SELECT id, shares, knows, (until - {NOW}) / 1000000.0::float8 AS left FROM node ORDER BY id"
            )
        others = [row for row in rows if row["id"] != self._node]
        mine = next((row for row in rows if row["id"] == self._node), None)
        return Members(
            [row["id"] for row in rows if row["shares"]],
            len(others),
            bool(others) and mine is not None and not mine["knows"],
            any(row["left"] < 0 for row in others),
            min((row["left"] for row in others if row["left"] >= 0), default=self._seconds),
        )

    async def bury(self) -> None:
        """Strikes out who gave no sign of life; they cannot commit any more."""
        async with self._at() as run, run.transaction():
            if time.monotonic() < self._bury_from:
                return
            await run.execute(f"SELECT pg_advisory_xact_lock({TURN})")
            await run.execute(BURY, self._node, self._seconds)

    async def claim(self, most: int) -> set[int]:
        """Takes up to so many partitions that are nobody's; returns all it has."""
        async with self._at() as run:
            if most > 0:
                await run.execute(_CLAIM, self._node, most)
            return {row["partition"] for row in await run.fetch("SELECT partition FROM lease WHERE node = $1", self._node)}

    async def holder(self, partition: int) -> str:
        """Who has it, as machine:process; "nobody" for a moment when that one has just gone."""
        query = "SELECT node.name FROM lease JOIN node ON node.id = lease.node WHERE partition = $1"
        async with self._at() as run:
            return await run.fetchval(query, partition) or "nobody"

    async def give_up(self, partitions: Collection[int]) -> None:
        async with self._at() as run:
            await run.execute(
                "UPDATE lease SET node = NULL WHERE node = $1 AND partition = ANY($2)", self._node, list(partitions)
            )

    async def call(self, about: str) -> None:
        """Wakes the others."""
        async with self._at() as run:
            await run.execute(f"NOTIFY {CHANNEL}, '{about}'")


_CLAIM = """UPDATE lease SET node = $1 WHERE partition IN (
    SELECT partition FROM lease WHERE node IS NULL OR NOT EXISTS (SELECT FROM node WHERE node.id = lease.node)
    ORDER BY partition LIMIT $2 FOR UPDATE SKIP LOCKED)"""
