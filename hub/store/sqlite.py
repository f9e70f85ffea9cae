"""The writer's side of SQLite: one connection, one thread, one transaction for whatever waits.

Rows written for one message that is received, run through a flow and sent on:

    received      message, its keys (4 as a rule), seen, work of the flow
    flow done     message and keys of what it sends, work of the connection, mark of the flow's work (an update)
    delivered     mark of the connection's work (an update)

These statements go to the driver directly because they are the hot ones; everything else is SQLAlchemy.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hub.errors import Conflict, StoreBroken, StoreError, StoreFull, Unkept
from hub.moments import now_micros
from hub.store.rare import statements
from hub.store.removal import remove
from hub.store.rows import AuditRow, DueRow, Mark, NewMessage, NewWork, RecordRow, Write

OLDEST_SQLITE = (3, 35, 0)
_CHECKPOINT_PAGES = 4000
"""Backstop: the write-ahead log is folded in when it has this many pages."""


class SqliteWriter:
    """Applies groups of writes.  Not thread-safe: it belongs to the writer's thread once that has started."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = connect(path)
        self.rows = 0
        """Rows inserted, changed or deleted so far."""
        self.seq = self._top("SELECT max(seq) FROM message")
        self.work = self._top("SELECT max(id) FROM work")
        row = self.connection.execute("SELECT chain FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
        self.chain: bytes = row[0] if row else b""

    def _top(self, query: str) -> int:
        return int(self.connection.execute(query).fetchone()[0] or 0)

    def close(self) -> None:
        self.connection.close()

    def apply(self, writes: Sequence[Write]) -> None:
        """Commits a group.  A write that fails alone gets its `error` and leaves no trace; when the store fails nothing of
        the group is kept, and StoreFull or StoreBroken is raised.
        """
        before = self.seq, self.work, self.chain
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            for write in writes:
                if write.guarded:
                    self._guarded(write)
                else:
                    self._put(write)
            self.connection.execute("COMMIT")
            self.rows = self.connection.total_changes
        except Exception as error:
            self.seq, self.work, self.chain = before
            self._roll_back()
            if _is_of_the_store(error):
                raise _sorted_error(error) from error
            self._apply_one_by_one(writes, error)

    def _apply_one_by_one(self, writes: Sequence[Write], error: Exception) -> None:
        """One write of the group cannot be kept: find it, so that the others are."""
        if len(writes) == 1:
            writes[0].error = Unkept(f"this cannot be kept ({type(error).__name__})")
            return
        for write in writes:
            self.apply([write])

    def _roll_back(self) -> None:
        if self.connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                self.connection.execute("ROLLBACK")

    def _guarded(self, write: Write) -> None:
        before = self.seq, self.work, self.chain
        self.connection.execute("SAVEPOINT one")
        try:
            self._check_reads(write)
            self._records(write.records)
            self._put(write)
        except (Conflict, sqlite3.IntegrityError) as error:
            self.seq, self.work, self.chain = before
            self.connection.execute("ROLLBACK TO one")
            write.error = error if isinstance(error, Conflict) else Conflict("another record has this id already")
        self.connection.execute("RELEASE one")

    def _put(self, write: Write) -> None:
        for message in write.messages:
            self._message(message)
        for seq, _, work in write.more_work:
            self._work(work, seq, now_micros())
        self._marks(write.marks)
        run = self.connection.execute
        for answered in write.answered:
            run(_ANSWERED, (answered.work, answered.reason, answered.at))
        for attempt in write.attempts:
            run(
                "INSERT OR REPLACE INTO attempt VALUES (?,?,?,?,?,?)",
                (attempt.work, attempt.number, attempt.at, attempt.code, attempt.text, attempt.reply),
            )
        for note in write.notes:
            run("INSERT INTO note (seq, at, what, text) VALUES (?,?,?,?)", (note.seq, note.at, note.what, note.text))
        if write.keys:
            self.connection.executemany("INSERT OR IGNORE INTO message_key (seq, kind, value) VALUES (?,?,?)", write.keys)
        for due in write.due:
            self._due(due)
        for counter, value in write.counters:
            run("INSERT INTO counter VALUES (?1,?2) ON CONFLICT (name) DO UPDATE SET value = max(value, ?2)", (counter, value))
        for key, digest in write.unseen:
            run("DELETE FROM seen WHERE key = ? AND digest = ?", (key, digest))
        for number, wrapped in write.data_keys:
            run("INSERT OR IGNORE INTO data_key VALUES (?,?)", (number, wrapped))
        for audit in write.audit:
            self._audit(audit)
        if write.rare is not None:
            for statement, values in statements(write.rare):
                run(statement, values)
        if write.removal is not None:
            remove(self.connection, write.removal)

    # Messages and work.

    def _message(self, message: NewMessage) -> None:
        if message.seen_key is not None and self._is_duplicate(message, message.seen_key):
            return
        seq = self.seq + 1
        row = (
            seq, message.id, message.at, message.connection, message.direction, message.format, message.type,
            message.control_id, message.parent, message.generation, message.state, message.reason, message.flag,
            message.size, message.digest, message.file, message.keep, message.body,
        )  # fmt: skip
        if self.connection.execute(_MESSAGE, row).fetchone() is None:
            self._known_message(message)
            return
        self.seq = message.seq = seq
        if message.keys:
            self.connection.executemany(_KEY, [(kind, value, seq) for kind, value in message.keys])
        if message.seen_key is not None:
            self.connection.execute(
                "INSERT OR REPLACE INTO seen VALUES (?,?,?,?)", (message.seen_key, message.digest, seq, message.at)
            )
        for work in message.works:
            self._work(work, seq, message.at)

    def _known_message(self, message: NewMessage) -> None:
        """The same message under its deterministic id (a replay that keeps ids): it is not kept twice, its work is done."""
        message.known = True
        message.seq = self.connection.execute("SELECT seq FROM message WHERE id = ?", (message.id,)).fetchone()[0]
        for work in message.works:
            self._work(work, message.seq, message.at)

    def _is_duplicate(self, message: NewMessage, key: bytes) -> bool:
        sightings = self.connection.execute(
            "SELECT digest, seq FROM seen WHERE key = ? AND at >= ?", (key, message.forget_before)
        ).fetchall()
        for digest, seq in sightings:
            if digest == message.digest:
                message.duplicate, message.seq = True, seq
                return True
        if sightings:
            message.flag = "reused control id"
        return False

    def _work(self, work: NewWork, seq: int, at: int) -> None:
        self.work += 1
        work.id = self.work
        also = " ".join(work.also) or None
        self.connection.execute(
            _WORK,
            (
                work.id,
                seq,
                work.target,
                work.lane,
                also,
                work.generation,
                work.again,
                work.state,
                work.step,
                work.origin,
                work.config,
                work.reason,
                at,
            ),
        )
        for lane in work.also:
            self.connection.execute("INSERT INTO work_lane VALUES (?,?,?)", (work.target, lane, work.id))

    def _marks(self, marks: Iterable[Mark]) -> None:
        rows = [(m.state, m.attempts, m.next_at, m.reason, m.answer, m.asks, m.step, m.at, m.work, m.generation) for m in marks]
        if rows:
            self.connection.executemany(_MARK, rows)

    # Records and due work.

    def _check_reads(self, write: Write) -> None:
        for kind, id, version in write.reads:
            if self._version(kind, id) != version:
                raise Conflict(f"a record of kind {kind} changed meanwhile")

    def _version(self, kind: str, id: str) -> int:
        row = self.connection.execute("SELECT version FROM record WHERE kind = ? AND id = ?", (kind, id)).fetchone()
        return int(row[0]) if row else 0

    def _records(self, rows: Iterable[RecordRow]) -> None:
        run = self.connection.execute
        for row in rows:
            if self._version(row.kind, row.id) != row.version:
                raise Conflict(f"a record of kind {row.kind} changed meanwhile")
            run("INSERT OR REPLACE INTO record VALUES (?,?,?,?,?)", (row.kind, row.id, row.version + 1, row.at, row.body))
            if row.version:
                run("DELETE FROM record_key WHERE kind = ? AND id = ?", (row.kind, row.id))
            keys = [(row.kind, name, value, row.id, int(only)) for name, value, only in dict.fromkeys(row.keys)]
            self.connection.executemany("INSERT INTO record_key VALUES (?,?,?,?,?)", keys)

    def _due(self, row: DueRow) -> None:
        if row.payload is not None:
            self.connection.execute("INSERT OR REPLACE INTO due VALUES (?,?,?,?)", (row.job, row.key, row.at, row.payload))
            return
        if not row.fired:
            self.connection.execute("DELETE FROM due WHERE job = ? AND key = ?", (row.job, row.key))
            return
        taken = self.connection.execute("DELETE FROM due WHERE job = ? AND key = ? AND at = ?", (row.job, row.key, row.at))
        if taken.rowcount == 0:
            raise Conflict("the due work was moved or withdrawn meanwhile")

    def _audit(self, row: AuditRow) -> None:
        content = json.dumps([row.at, row.actor, row.action, row.object, row.detail], ensure_ascii=False)
        self.chain = hashlib.sha256(self.chain + content.encode()).digest()
        self.connection.execute(
            "INSERT INTO audit (at, actor, action, object, detail, chain) VALUES (?,?,?,?,?,?)",
            (row.at, row.actor, row.action, row.object, row.detail, self.chain),
        )


_MESSAGE = "INSERT INTO message VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (id) DO NOTHING RETURNING seq"
_KEY = "INSERT OR IGNORE INTO message_key VALUES (?,?,?)"
_WORK = """
    INSERT INTO work (
        id, seq, target, lane, also, generation, again, state, attempts, next_at, step, origin, asks, config, reason, at
    ) VALUES (?,?,?,?,?,?,?,?,0,0,?,?,0,?,?,?)
"""
_MARK = """
    UPDATE work SET state=?1, attempts=?2, next_at=?3, reason=?4, answer=coalesce(?5, answer), asks=?6, step=coalesce(?7, step),
        at=?8, generation=coalesce(?10, generation) WHERE id=?9
"""
_ANSWERED = """
    UPDATE work SET asks = asks - 1, at = ?3, reason = coalesce(?2, reason),
        state = CASE WHEN asks > 1 THEN state WHEN coalesce(?2, reason) IS NULL THEN 'delivered' ELSE 'quarantined' END
    WHERE id = ?1 AND state = 'parked'
"""


def connect(path: Path) -> sqlite3.Connection:
    """A connection that loses nothing: WAL with `synchronous=FULL`; raises StoreError when that cannot be had."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        wanted = ".".join(map(str, OLDEST_SQLITE))
        raise StoreError(
            f"SQLite is {sqlite3.sqlite_version}; the hub needs {wanted} or newer. Use a newer Python.", code="STO-005"
        )
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    connection.execute("PRAGMA synchronous=FULL")
    level = connection.execute("PRAGMA synchronous").fetchone()[0]
    if mode != "wal" or level < 2:
        raise StoreError(
            f"the store must run in WAL mode with synchronous=FULL, but it is {mode} with {level}. "
            "Put it on a local disk, not on a network share.",
            code="STO-006",
        )
    connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
    connection.execute("PRAGMA cache_size=-32000")
    connection.execute("PRAGMA temp_store=MEMORY")
    return connection


def checkpoint(connection: sqlite3.Connection) -> int:
    """Folds the write-ahead log into the database, from a connection of its own; returns its length in pages."""
    return int(connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1])


def verify_audit(rows: Iterable[Any], start: bytes = b"") -> int | None:
    """The number of the first row of the audit chain that does not fit; None when all do.

    `start` is the chain value of the last row that retention took out (`info`, `audit_start`, in hex).
    """
    chain = start
    for seq, at, actor, action, object, detail, expected in rows:
        content = json.dumps([at, actor, action, object, detail], ensure_ascii=False)
        chain = hashlib.sha256(chain + content.encode()).digest()
        if chain != expected:
            return int(seq)
    return None


def _is_of_the_store(error: Exception) -> bool:
    """True when the store failed, false when what was to be kept is at fault."""
    return isinstance(error, sqlite3.DatabaseError) and not isinstance(
        error, sqlite3.IntegrityError | sqlite3.ProgrammingError | sqlite3.DataError
    )


def _sorted_error(error: Exception) -> StoreError:
    text = str(error)
    if "disk is full" in text or getattr(error, "sqlite_errorname", "") == "SQLITE_FULL":
        return StoreFull("the disk of the store is full: nothing is acknowledged until there is space")
    return StoreBroken(f"the store cannot be written ({text}): the hub stops rather than guess what is on disk")
