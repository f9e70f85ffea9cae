"""Takes out of a SQLite store what is kept no longer, as the writer does it: inside its transaction, a piece at a time.

What is to go was chosen by a reader a moment ago; what has become open since then, by a replay for example, is left.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from hub.store.rows import Removal

UNDER_WAY = ("waiting", "working", "held", "parked")
"""Work that is not at its end: its message stays."""
SETTLED = ("delivered", "skipped")
"""Work nobody has to look at any more: the body of its message may go."""
AUDIT_START = "audit_start"
"""Row of `info`: the chain value, in hex, of the last audit row that was taken out."""


def remove(connection: sqlite3.Connection, removal: Removal) -> None:
    """Counts in the removal what went, and how long it took."""
    began = time.perf_counter()
    removal.removed = (
        _bodies(connection, removal.bodies)
        + _messages(connection, removal.messages)
        + _attempts(connection, removal.attempts)
        + _gone(connection, "note", "id", removal.notes)
        + _seen(connection, *removal.seen)
        + _audit(connection, removal.audit)
        + connection.execute("DELETE FROM job WHERE state <> 'running' AND changed_at < ?", (removal.jobs,)).rowcount
    )
    removal.took = time.perf_counter() - began


def _bodies(connection: sqlite3.Connection, seqs: Sequence[int]) -> int:
    if not seqs:
        return 0
    unsettled = f"SELECT seq FROM work WHERE seq IN ({_marks(seqs)}) AND state NOT IN ({words(SETTLED)})"
    going = _without(seqs, connection.execute(unsettled, seqs))
    query = f"UPDATE message SET body = NULL, file = NULL WHERE seq IN ({_marks(going)}) AND body IS NOT NULL"
    return connection.execute(query, going).rowcount


def without_families(closed: Collection[int], children: Iterable[Any]) -> list[int]:
    """Messages of which nothing that was made of them stays; `children` are pairs of a message and one that was made of it."""
    made_of: dict[int, list[int]] = {}
    for seq, child in children:
        made_of.setdefault(seq, []).append(child)
    going: dict[int, None] = {}
    for seq in sorted(closed, reverse=True):
        if all(child in going for child in made_of.get(seq, ())):
            going[seq] = None
    return list(going)


def _messages(connection: sqlite3.Connection, seqs: Sequence[int]) -> int:
    """A message stays while work of it is open, and while another one that was made of it is there."""
    if not seqs:
        return 0
    under_way = f"SELECT seq FROM work WHERE seq IN ({_marks(seqs)}) AND state IN ({words(UNDER_WAY)})"
    closed = _without(seqs, connection.execute(under_way, seqs))
    children = f"SELECT m.seq, c.seq FROM message m JOIN message c ON c.parent = m.id WHERE m.seq IN ({_marks(closed)})"
    found = without_families(closed, connection.execute(children, closed))
    works = [id for (id,) in connection.execute(f"SELECT id FROM work WHERE seq IN ({_marks(found)})", found)]
    _gone(connection, "attempt", "work", works)
    _gone(connection, "work_lane", "work", works)
    for table in ("work", "note", "message_key"):
        _gone(connection, table, "seq", found)
    return _gone(connection, "message", "seq", found)


def _attempts(connection: sqlite3.Connection, keys: Sequence[tuple[int, int]]) -> int:
    return connection.executemany("DELETE FROM attempt WHERE work = ? AND number = ?", keys).rowcount if keys else 0


def _seen(connection: sqlite3.Connection, before: int, most: int) -> int:
    chosen = "SELECT key, digest FROM seen WHERE at < ? LIMIT ?"
    return connection.execute(f"DELETE FROM seen WHERE (key, digest) IN ({chosen})", (before, most)).rowcount if most else 0


def _audit(connection: sqlite3.Connection, until: int) -> int:
    """The oldest rows go; the chain begins anew behind them, and the newest row always stays."""
    last = "SELECT seq, chain FROM audit WHERE seq <= ? AND seq < (SELECT max(seq) FROM audit) ORDER BY seq DESC LIMIT 1"
    row = connection.execute(last, (until,)).fetchone() if until else None
    if row is None:
        return 0
    connection.execute("INSERT OR REPLACE INTO info VALUES (?,?)", (AUDIT_START, row[1].hex()))
    return connection.execute("DELETE FROM audit WHERE seq <= ?", (row[0],)).rowcount


def _gone(connection: sqlite3.Connection, table: str, column: str, values: Sequence[int]) -> int:
    if not values:
        return 0
    return connection.execute(f"DELETE FROM {table} WHERE {column} IN ({_marks(values)})", values).rowcount


def _without(values: Sequence[int], rows: Iterable[tuple[int]]) -> list[int]:
    left_out = {value for (value,) in rows}
    return [value for value in values if value not in left_out]


def _marks(values: Collection[Any]) -> str:
    return ",".join("?" * len(values))


def words(values: Iterable[str]) -> str:
    """Texts as a list in SQL; only for words of our own."""
    return ",".join(f"'{value}'" for value in values)
