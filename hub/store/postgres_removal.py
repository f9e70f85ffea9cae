"""Takes out of a PostgreSQL store what is kept no longer: removal.py in the words of the other database."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import asyncpg

from hub.store.removal import AUDIT_START, SETTLED, UNDER_WAY, without_families
from hub.store.rows import Removal


async def remove(connection: asyncpg.Connection[Any], removal: Removal) -> None:
    """Inside the writer's transaction.  Counts in the removal what went, and how long it took."""
    began = time.perf_counter()
    run = connection.execute
    removal.removed = _count(
        [
            await run(_BODIES, removal.bodies, list(SETTLED)) if removal.bodies else "0",
            await _messages(connection, removal.messages),
            await run(_ATTEMPTS, *map(list, zip(*removal.attempts, strict=True))) if removal.attempts else "0",
            await run("DELETE FROM note WHERE id = ANY($1::int8[])", removal.notes) if removal.notes else "0",
            await run(_SEEN, *removal.seen) if removal.seen[1] else "0",
            await _audit(connection, removal.audit) if removal.audit else "0",
            await run("DELETE FROM job WHERE state <> 'running' AND changed_at < $1", removal.jobs),
        ]
    )
    removal.took = time.perf_counter() - began


def _count(said: Sequence[str]) -> int:
    """Sums what PostgreSQL says of each statement: `DELETE 3`."""
    return sum(int(words.rpartition(" ")[2]) for words in said)


_BODIES = """UPDATE message SET body = NULL, file = NULL WHERE seq = ANY($1::int8[]) AND body IS NOT NULL
    AND NOT EXISTS (SELECT FROM work WHERE work.seq = message.seq AND state <> ALL($2::text[]))"""
_ATTEMPTS = (
    "DELETE FROM attempt USING unnest($1::int8[], $2::int4[]) AS u(w, n) WHERE attempt.work = u.w AND attempt.number = u.n"
)
_SEEN = "DELETE FROM seen WHERE (key, digest) IN (SELECT key, digest FROM seen WHERE at < $1 LIMIT $2)"
_CLOSED = """SELECT seq FROM unnest($1::int8[]) AS u(seq)
    WHERE NOT EXISTS (SELECT FROM work WHERE work.seq = u.seq AND state = ANY($2::text[]))"""
_CHILDREN = "SELECT m.seq, c.seq FROM message m JOIN message c ON c.parent = m.id WHERE m.seq = ANY($1::int8[])"


async def _messages(connection: asyncpg.Connection[Any], seqs: Sequence[int]) -> str:
    """A message stays while work of it is open, and while another one that was made of it is there."""
    if not seqs:
        return "0"
    closed = [seq for (seq,) in await connection.fetch(_CLOSED, seqs, list(UNDER_WAY))]
    found = without_families(closed, await connection.fetch(_CHILDREN, closed))
    works = [id for (id,) in await connection.fetch("SELECT id FROM work WHERE seq = ANY($1::int8[])", found)]
    for table in ("attempt", "work_lane"):
        await connection.execute(f"DELETE FROM {table} WHERE work = ANY($1::int8[])", works)
    for table in ("work", "note", "message_key"):
        await connection.execute(f"DELETE FROM {table} WHERE seq = ANY($1::int8[])", found)
    return str(await connection.execute("DELETE FROM message WHERE seq = ANY($1::int8[])", found))


async def _audit(connection: asyncpg.Connection[Any], until: int) -> str:
    """The oldest rows go; the chain begins anew behind them, and the newest row always stays."""
    row = await connection.fetchrow(
        "SELECT seq, chain FROM audit WHERE seq <= $1 AND seq < (SELECT max(seq) FROM audit) ORDER BY seq DESC LIMIT 1", until
    )
    if row is None:
        return "0"
    keep = "INSERT INTO info VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
    await connection.execute(keep, AUDIT_START, row["chain"].hex())
    return str(await connection.execute("DELETE FROM audit WHERE seq <= $1", row["seq"]))
