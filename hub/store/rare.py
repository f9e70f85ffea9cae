"""Statements of changes off the hot path, the same for both databases: what people ask for, and what is erased.

Values stand in the order of the `?`; PostgreSQL's driver gets them as `$1`, `$2` ... (`numbered`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count
from typing import Any

from hub.store.rows import JobRow, Rare, Replaced, RouteRow

Statement = tuple[str, tuple[Any, ...]]


def statements(rare: Rare) -> Iterator[Statement]:
    """In the order they are to be run, after everything else of their write."""
    for route in rare.routes:
        yield _route(route)
    for job in rare.jobs:
        yield _job(job)
    for replaced in rare.replaced:
        yield from _replaced(replaced)
    for seq in rare.erased:
        yield from _erased(seq)


def numbered(statement: str) -> str:
    """The statement as PostgreSQL wants it."""
    numbers = count(1)
    return re.sub(r"\?", lambda _: f"${next(numbers)}", statement)


def _erased(seq: int) -> Iterator[Statement]:
    """Unless some of its work has become open meanwhile."""
    idle = "NOT EXISTS (SELECT 1 FROM work WHERE work.seq = ? AND state IN ('waiting', 'working', 'held', 'parked'))"
    yield f"UPDATE message SET body = NULL, file = NULL WHERE seq = ? AND {idle}", (seq, seq)  # noqa: S608 - our own words
    of_it = "work IN (SELECT id FROM work WHERE seq = ?)"
    yield f"UPDATE attempt SET reply = NULL WHERE reply IS NOT NULL AND {of_it} AND {idle}", (seq, seq)  # noqa: S608 - the same


def _route(row: RouteRow) -> Statement:
    if not row.state:
        return "DELETE FROM route_state WHERE name = ?", (row.name,)
    statement = """
        INSERT INTO route_state (name, state, until, at, actor) VALUES (?,?,?,?,?)
        ON CONFLICT (name) DO UPDATE
        SET state = excluded.state, until = excluded.until, at = excluded.at, actor = excluded.actor
    """
    return statement, (row.name, row.state, row.until, row.at, row.actor)


def _job(row: JobRow) -> Statement:
    statement = """
        INSERT INTO job (id, kind, state, at, changed_at, actor, total, looked, done, params, seqs)
        VALUES (?,?,?,?,?,?,?,?,?,?,?)
        ON CONFLICT (id) DO UPDATE
        SET state = CASE WHEN job.state = 'stopped' AND excluded.state = 'running' AND excluded.looked > job.looked
                THEN job.state ELSE excluded.state END,
            changed_at = excluded.changed_at, looked = excluded.looked, done = excluded.done
    """
    values = (
        row.id, row.kind, row.state, row.at, row.changed_at, row.actor, row.total, row.looked, row.done, row.params, row.seqs,
    )  # fmt: skip
    return statement, values


def _replaced(row: Replaced) -> Iterator[Statement]:
    yield "UPDATE attempt SET work = ? WHERE work = ?", (row.closed.id, row.work)
    statement = """
        UPDATE work SET seq = ?, state = 'waiting', attempts = 0, next_at = 0, reason = NULL, answer = NULL, at = ? WHERE id = ?
    """
    yield statement, (row.message.seq, row.at, row.work)
