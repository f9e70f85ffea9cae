"""A group of writes as columns, and the one statement that takes them all to PostgreSQL.

Each part of the statement is one table and gets its rows as arrays (`unnest`), so its text depends only on which parts a group
has, and it is prepared once for each such set.  All parts see the database as it was before: a group therefore never holds two
writes that touch the same row (`fitting` says how many go together).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from hub.moments import now_micros
from hub.store.rows import NewMessage, NewWork, Write

PARTITIONS = 32
"""Shares of the ordering keys that hubs on one database can have; fixed for the life of a store."""


def partition_of(lane: str) -> int:
    """The partition of an ordering key: the same on every machine."""
    return zlib.crc32(lane.encode()) % PARTITIONS


def fitting(writes: Iterable[Write]) -> int:
    """How many of these, from the first one on, can be one statement: none touches what another one has touched."""
    touched: set[Any] = set()
    count = 0
    for write in writes:
        try:
            if write.alone:  # goes alone: its statements change whatever rows they want
                return max(count, 1)
            if count and any(key in touched for key in (*_touches(write), *_looks_at(write))):
                break
            touched.update(_touches(write))
        except Exception:  # what cannot even be looked at goes alone, and fails alone
            return max(count, 1)
        count += 1
    return count


def _touches(write: Write) -> list[Any]:
    keys: list[Any] = [mark.work for mark in write.marks]
    for message in write.messages:
        keys.append(message.id)
        if message.seen_key is not None:
            keys.append(message.seen_key)
    if write.more:
        keys += [answered.work for answered in write.answered]
        keys += [(attempt.work, attempt.number) for attempt in write.attempts]
        keys += [("record", record.kind, record.id) for record in write.records]
        keys += [("due", due.job, due.key) for due in write.due]
        keys += [("counter", name) for name, _ in write.counters]
        keys += [("key", number) for number, _ in write.data_keys]
        keys += [key for key, _ in write.unseen]
    return keys


def _looks_at(write: Write) -> list[Any]:
    return [("record", kind, id) for kind, id, _ in write.reads]


# One statement.


@dataclass(frozen=True, slots=True)
class Part:
    """One table's share of the statement; `{u}` stands for the arrays, `ids` has the first numbers of this group."""

    types: str
    """Of its columns, separated by blanks."""
    sql: str
    check: str = ""
    """What must hold, or nothing of the statement counts."""


_SEQ = "CASE WHEN u.m > 0 THEN ids.seq + u.m - 1 ELSE u.seq END"
"""The seq of a message: of the m-th of this group, or of one that was there."""

PARTS: dict[str, Part] = {
    "messages": Part(
        "text int8 text text text text text text int4 text text text int8 bytea text int4 bytea",
        """messages AS (INSERT INTO message (seq, id, at, connection, direction, format, type, control_id, parent, generation,
            state, reason, flag, size, digest, file, keep, body)
            SELECT ids.seq + u.n - 1, u.id, u.at, u.connection, u.direction, u.format, u.type, u.control_id, u.parent,
                u.generation, u.state, u.reason, u.flag, u.size, u.digest, u.file, u.keep, u.body
            FROM ids, {u} WITH ORDINALITY AS u(id, at, connection, direction, format, type, control_id, parent, generation,
                state, reason, flag, size, digest, file, keep, body, n)
            ON CONFLICT (id) DO NOTHING RETURNING 1)""",
        "(SELECT count(*) FROM messages) = $1",
    ),
    "unseen_yet": Part(
        "bytea int8",
        "sighted AS (SELECT 1 FROM {u} AS u(key, forget) JOIN seen ON seen.key = u.key AND seen.at >= u.forget LIMIT 1)",
        "NOT EXISTS (SELECT FROM sighted)",
    ),
    "seen": Part(
        "int8 bytea bytea int8",
        """sightings AS (INSERT INTO seen (key, digest, seq, at)
            SELECT u.key, u.digest, ids.seq + u.m - 1, u.at FROM ids, {u} AS u(m, key, digest, at)
            ON CONFLICT (key, digest) DO UPDATE SET seq = excluded.seq, at = excluded.at)""",
    ),
    "keys": Part(
        "int8 int8 text text",
        f"""keys AS (INSERT INTO message_key (kind, value, seq)
            SELECT u.kind, u.value, {_SEQ} FROM ids, {{u}} AS u(m, seq, kind, value) ON CONFLICT DO NOTHING)""",
    ),
    "works": Part(
        "int8 int8 text text text int4 int4 text text int8 text text int8 int4",
        f"""works AS (INSERT INTO work (id, seq, target, lane, also, generation, again, state, attempts, next_at, step, origin,
                asks, config, reason, at, partition)
            SELECT ids.work + u.n - 1, {_SEQ}, u.target, u.lane, u.also, u.generation, u.again, u.state, 0, 0, u.step,
                u.origin, 0, u.config, u.reason, u.at, u.partition
            FROM ids, {{u}} WITH ORDINALITY AS u(m, seq, target, lane, also, generation, again, state, step, origin, config,
                reason, at, partition, n))""",
    ),
    "lanes": Part(
        "int8 text text",
        """lanes AS (INSERT INTO work_lane (target, lane, work)
            SELECT u.target, u.lane, ids.work + u.w - 1 FROM ids, {u} AS u(w, target, lane) ON CONFLICT DO NOTHING)""",
    ),
    "marks": Part(
        "int8 text int4 int8 text text int4 text int8 int4",
        """marks AS (UPDATE work SET state = u.state, attempts = u.attempts, next_at = u.next_at, reason = u.reason,
                answer = coalesce(u.answer, work.answer), asks = u.asks, step = coalesce(u.step, work.step), at = u.at,
                generation = coalesce(u.generation, work.generation)
            FROM {u} AS u(work, state, attempts, next_at, reason, answer, asks, step, at, generation)
            WHERE work.id = u.work)""",
    ),
    "answered": Part(
        "int8 text int8",
        """answered AS (UPDATE work SET asks = work.asks - 1, at = u.at, reason = coalesce(u.reason, work.reason),
                state = CASE WHEN work.asks > 1 THEN work.state WHEN coalesce(u.reason, work.reason) IS NULL THEN 'delivered'
                    ELSE 'quarantined' END
            FROM {u} AS u(work, reason, at) WHERE work.id = u.work AND work.state = 'parked')""",
    ),
    "attempts": Part(
        "int8 int4 int8 text text bytea",
        """attempts AS (INSERT INTO attempt (work, number, at, code, text, reply) SELECT * FROM {u}
            ON CONFLICT (work, number) DO UPDATE SET at = excluded.at, code = excluded.code, text = excluded.text,
                reply = excluded.reply)""",
    ),
    "notes": Part(
        "int8 int8 text bytea",
        """notes AS (INSERT INTO note (seq, at, what, text)
            SELECT u.seq, u.at, u.what, u.text FROM {u} WITH ORDINALITY AS u(seq, at, what, text, n) ORDER BY n)""",
    ),
    "records": Part(
        "text text int4 int8 bytea",
        """records AS (INSERT INTO record (kind, id, version, at, body) SELECT * FROM {u}
            ON CONFLICT (kind, id) DO UPDATE SET version = excluded.version, at = excluded.at, body = excluded.body)""",
    ),
    "record_keys": Part(
        "text text text text int4",
        "record_keys AS (INSERT INTO record_key (kind, name, value, id, sole) SELECT * FROM {u})",
    ),
    "due": Part(
        "text text int8 bytea",
        """due_rows AS (INSERT INTO due (job, key, at, payload) SELECT * FROM {u}
            ON CONFLICT (job, key) DO UPDATE SET at = excluded.at, payload = excluded.payload)""",
    ),
    "withdrawn": Part(
        "text text",
        "withdrawn AS (DELETE FROM due USING {u} AS u(job, key) WHERE due.job = u.job AND due.key = u.key)",
    ),
    "counters": Part(
        "text int8",
        """counters AS (INSERT INTO counter (name, value) SELECT * FROM {u}
            ON CONFLICT (name) DO UPDATE SET value = greatest(counter.value, excluded.value))""",
    ),
    "unseen": Part(
        "bytea bytea",
        "unseen AS (DELETE FROM seen USING {u} AS u(key, digest) WHERE seen.key = u.key AND seen.digest = u.digest)",
    ),
    "data_keys": Part(
        "int4 bytea", "data_keys AS (INSERT INTO data_key (number, wrapped) SELECT * FROM {u} ON CONFLICT DO NOTHING)"
    ),
    "audit": Part(
        "int8 text text text text bytea",
        """audit_rows AS (INSERT INTO audit (at, actor, action, object, detail, chain)
            SELECT u.at, u.actor, u.action, u.object, u.detail, u.chain
            FROM {u} WITH ORDINALITY AS u(at, actor, action, object, detail, chain, n) ORDER BY n)""",
    ),
}

_HEAD = """WITH ids AS MATERIALIZED (SELECT
    CASE WHEN $1::int8 > 0 THEN setval('message_seq_seq', nextval('message_seq_seq') + $1 - 1) - $1 + 1 ELSE 0 END AS seq,
    CASE WHEN $2::int8 > 0 THEN setval('work_id_seq', nextval('work_id_seq') + $2 - 1) - $2 + 1 ELSE 0 END AS work),
token AS (UPDATE node SET number = $3::int8, first_seq = ids.seq, first_work = ids.work FROM ids
    WHERE node.id = $4::text AND node.number = $3 - 1 RETURNING 1)"""
_TAIL = """
SELECT ids.seq, ids.work, 1 / (CASE WHEN {checks} THEN 1 ELSE 0 END) FROM ids"""


@cache
def statement(parts: tuple[str, ...]) -> str:
    """The statement for these parts.  It divides by zero, and so leaves nothing behind, when something is not as it expects."""
    text, checks, number = [_HEAD], ["(SELECT count(*) FROM token) = 1"], 5
    for name in parts:
        part = PARTS[name]
        arrays = ", ".join(f"${number + index}::{type}[]" for index, type in enumerate(part.types.split()))
        text.append(part.sql.format(u=f"unnest({arrays})"))
        number += len(part.types.split())
        if part.check:
            checks.append(part.check)
    return ",\n".join(text) + _TAIL.format(checks=" AND ".join(checks))


@dataclass(slots=True)
class Batch:
    """The rows of a group, by part."""

    rows: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    messages: list[NewMessage] = field(default_factory=list)
    """Those that get a seq."""
    works: list[NewWork] = field(default_factory=list)
    """Those that get an id."""
    repeats: list[tuple[NewMessage, NewMessage]] = field(default_factory=list)
    """Duplicates of messages of the same group."""

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(name for name in PARTS if name in self.rows)

    def arguments(self) -> list[Any]:
        """The arrays, in the order of the statement."""
        return [list(column) for name in self.parts for column in zip(*self.rows[name], strict=True)]

    def numbered(self, first_seq: int, first_work: int) -> None:
        """Tells messages and works what they got."""
        for index, message in enumerate(self.messages):
            message.seq = first_seq + index
        for index, work in enumerate(self.works):
            work.id = first_work + index
        for repeat, original in self.repeats:
            repeat.seq = original.seq

    def add(self, part: str, row: tuple[Any, ...]) -> None:
        self.rows.setdefault(part, []).append(row)

    def put(self, write: Write) -> None:
        """Everything of a write but what depends on the state of the store: records and audit rows."""
        for message in write.messages:
            self._message(message)
        if write.more_work:
            now = now_micros()
            for seq, _, work in write.more_work:
                self._work(work, 0, seq, now)
        for mark in {mark.work: mark for mark in write.marks}.values():
            rest = (mark.reason, mark.answer, mark.asks, mark.step, mark.at, mark.generation)
            self.add("marks", (mark.work, mark.state, mark.attempts, mark.next_at, *rest))
        if write.more:
            self._rare(write)

    def _message(self, message: NewMessage) -> None:
        if message.duplicate:
            return
        if message.known:
            for work in message.works:
                self._work(work, 0, message.seq, message.at)
            return
        self.messages.append(message)
        m = len(self.messages)
        self.add(
            "messages",
            (message.id, message.at, message.connection, message.direction, message.format, message.type, message.control_id,
             message.parent, message.generation, message.state, message.reason, message.flag, message.size, message.digest,
             message.file, message.keep, message.body),
        )  # fmt: skip
        for kind, value in message.keys:
            self.add("keys", (m, 0, kind, value))
        if message.seen_key is not None:
            self.add("seen", (m, message.seen_key, message.digest, message.at))
        for work in message.works:
            self._work(work, m, 0, message.at)

    def _work(self, work: NewWork, m: int, seq: int, at: int) -> None:
        self.works.append(work)
        w = len(self.works)
        self.add(
            "works",
            (m, seq, work.target, work.lane, " ".join(work.also) or None, work.generation, work.again, work.state, work.step,
             work.origin, work.config, work.reason, at, partition_of(work.lane)),
        )  # fmt: skip
        for lane in work.also:
            self.add("lanes", (w, work.target, lane))

    def _rare(self, write: Write) -> None:
        for answered in write.answered:
            self.add("answered", (answered.work, answered.reason, answered.at))
        for attempt in {(attempt.work, attempt.number): attempt for attempt in write.attempts}.values():
            self.add("attempts", (attempt.work, attempt.number, attempt.at, attempt.code, attempt.text, attempt.reply))
        for note in write.notes:
            self.add("notes", (note.seq, note.at, note.what, note.text))
        for seq, kind, value in write.keys:
            self.add("keys", (0, seq, kind, value))
        for due in {(due.job, due.key): due for due in write.due}.values():
            if due.payload is not None:
                self.add("due", (due.job, due.key, due.at, due.payload))
            else:
                self.add("withdrawn", (due.job, due.key))
        for counter in dict(write.counters).items():
            self.add("counters", counter)
        for sighting in dict.fromkeys(write.unseen):
            self.add("unseen", sighting)
        for pair in dict(write.data_keys).items():
            self.add("data_keys", pair)


def each(writes: Sequence[Write], what: Callable[[Write], Iterable[Any]]) -> list[Any]:
    """Everything of one kind in a group."""
    return [thing for write in writes for thing in what(write)]
