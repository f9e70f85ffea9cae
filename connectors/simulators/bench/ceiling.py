"""A bare loop that keeps the hub's first promise and does nothing else: the ceiling for a hub on this machine.

    python -m connectors.simulators.bench.ceiling STORE IN_PORT OUT_PORT CONNECTIONS

It receives, seals, commits the rows the hub would (message with its keys, what makes a resend recognisable, work), answers,
changes one field, commits what it sends (message with its keys, work, and the mark of the work that made it), sends, and
commits the mark of the delivery.  Whatever waits goes into the next commit.  It has no flows, no lanes but one message at a
time for each patient, no retries, no recovery, no codec but finding fields.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import queue
import sqlite3
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from connectors.simulators.bench.load import Frames
from hub.message import derived_id, new_id
from hub.moments import now_micros
from hub.security.seal import Seal
from hub.store.opening import Store, open_any_store
from hub.store.postgres import connect

LARGEST_GROUP = 512
_MESSAGE = """
    INSERT INTO message
        (seq, id, at, connection, direction, format, type, control_id, parent, generation, size, digest, keep, body)
    VALUES (?,?,?,?,?,'hl7v2',?,?,?,0,?,?,0,?)
"""
_WORK = """
    INSERT INTO work (id, seq, target, lane, generation, again, state, attempts, next_at, step, asks, config, at)
    VALUES (?,?,?,?,0,0,'waiting',0,0,?,0,'',?)
"""
_MARK = "UPDATE work SET state='delivered', attempts=?, answer=?, at=? WHERE id=?"


def field(body: bytes, segment: bytes, number: int) -> str:
    """The first component of a field; empty when there is none."""
    start = body.find(b"\r" + segment + b"|")
    if start < 0:
        return ""
    fields = body[start + 1 : body.find(b"\r", start + 1)].split(b"|", number + 1)
    return fields[number].split(b"^", 1)[0].decode() if number < len(fields) else ""


Row = tuple[Any, ...]
Rows = dict[str, list[Row]]
Done = Callable[[], None]


class Writer(Protocol):
    """Commits rows in groups."""

    def put(self, rows: Rows, done: Done) -> None: ...


def _together(group: Iterable[tuple[Rows, Done]]) -> Rows:
    rows: Rows = {}
    for some, _ in group:
        for name, values in some.items():
            rows.setdefault(name, []).extend(values)
    return rows


class SqliteWriter:
    """A thread with a connection of its own."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._queue: queue.SimpleQueue[tuple[Rows, Done]] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._run, daemon=True).start()

    def put(self, rows: Rows, done: Done) -> None:
        self._queue.put((rows, done))

    def _run(self) -> None:
        try:
            self._commit_forever()
        except sqlite3.Error as error:
            sys.stderr.write(f"the bare loop cannot write: {error}\n")
            os._exit(1)

    def _commit_forever(self) -> None:
        execute = self.connection.executemany
        while True:
            group = [self._queue.get()]
            while len(group) < LARGEST_GROUP and not self._queue.empty():
                group.append(self._queue.get())
            rows = _together(group)
            self.connection.execute("BEGIN IMMEDIATE")
            execute(_MESSAGE, rows.get("message", ()))
            execute("INSERT INTO message_key (seq, kind, value) VALUES (?,?,?)", rows.get("key", ()))
            execute("INSERT OR REPLACE INTO seen (key, digest, seq, at) VALUES (?,?,?,?)", rows.get("seen", ()))
            execute(_WORK, rows.get("work", ()))
            execute(_MARK, rows.get("mark", ()))
            self.connection.execute("COMMIT")
            self._loop.call_soon_threadsafe(lambda group=group: [done() for _, done in group])  # type: ignore[misc]


class PostgresWriter:
    """A task: one statement for each group, its rows as arrays."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._waiting: deque[tuple[Rows, Done]] = deque()
        self._more = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    def put(self, rows: Rows, done: Done) -> None:
        self._waiting.append((rows, done))
        self._more.set()

    async def _run(self) -> None:
        statement = await self._connection.prepare(_POSTGRES)
        while True:
            await self._more.wait()
            self._more.clear()
            while self._waiting:
                group = [self._waiting.popleft() for _ in range(min(len(self._waiting), LARGEST_GROUP))]
                rows = _together(group)
                await statement.fetch(
                    *(list(column) for name, width in _WIDTHS.items() for column in _columns(rows, name, width))
                )
                for _, done in group:
                    done()


_WIDTHS = {"message": 11, "key": 3, "seen": 4, "work": 6, "mark": 4}
_TYPES = {
    "message": "int8 text int8 text text text text text int8 bytea bytea",
    "key": "int8 text text",
    "seen": "bytea bytea int8 int8",
    "work": "int8 int8 text text text int8",
    "mark": "int4 text int8 int8",
}


def _columns(rows: Rows, name: str, width: int) -> list[Any]:
    return list(zip(*rows[name], strict=True)) if rows.get(name) else [()] * width


def _arrays() -> dict[str, str]:
    """The arrays of each table as arguments of the statement."""
    found, number = {}, 1
    for name, types in _TYPES.items():
        found[name] = ", ".join(f"${number + index}::{type}[]" for index, type in enumerate(types.split()))
        number += _WIDTHS[name]
    return found


_POSTGRES = """
WITH messages AS (
    INSERT INTO message
        (seq, id, at, connection, direction, format, type, control_id, parent, generation, size, digest, keep, body)
    SELECT s, i, a, c, d, 'hl7v2', t, o, p, 0, z, g, 0, b FROM unnest({message}) AS u (s, i, a, c, d, t, o, p, z, g, b)
), keys AS (
    INSERT INTO message_key (seq, kind, value) SELECT * FROM unnest({key})
), sightings AS (
    INSERT INTO seen (key, digest, seq, at) SELECT * FROM unnest({seen})
), works AS (
    INSERT INTO work (id, seq, target, lane, generation, again, state, attempts, next_at, step, asks, config, at, partition)
    SELECT i, s, t, l, 0, 0, 'waiting', 0, 0, p, 0, '', a, 0 FROM unnest({work}) AS u (i, s, t, l, p, a)
)
UPDATE work SET state = 'delivered', attempts = n, answer = w, at = m
FROM unnest({mark}) AS u (n, w, m, i) WHERE work.id = u.i
""".format(**_arrays())  # noqa: S608 - the numbers of arguments


class Bare:
    """What is kept of each message, and who sends it."""

    def __init__(self, writer: Writer, seal: Seal) -> None:
        self.writer = writer
        self.seal = seal
        self.seq = self.work = 0
        self.idle: list[Out] = []
        self.waiting: deque[tuple[bytes, str, int]] = deque()
        """Body, lane and work of what is to be sent."""
        self.busy: set[str] = set()
        self.behind: dict[str, deque[tuple[bytes, str, int]]] = {}

    def rows(self, body: bytes, direction: str, parent: str | None) -> tuple[Rows, str, int, str]:
        """The rows of a message, its id, its work and its lane."""
        self.seq += 1
        self.work += 1
        seq, work, at = self.seq, self.work, now_micros()
        head = body[: body.find(b"\r")].split(b"|", 10)
        control_id, type = head[9].decode(), head[8].decode()
        patient = field(body, b"PID", 3)
        id = derived_id(parent, "forward", "send", 0, 0) if parent else new_id()
        lane = self.seal.mac("lane", f"in|NORTH|{patient}")
        keys = [(seq, "control", control_id), (seq, "patient", self.seal.mac("patient", patient))]
        keys += [(seq, kind, value) for kind, n in (("placer", 1), ("appointment", 2)) if (value := field(body, b"SCH", n))]
        digest = self.seal.digest(body)
        sealed = self.seal.seal(b"\0\0\0\0" + body, f"message|{id}")
        name = "in" if direction == "in" else "out"
        rows: Rows = {
            "message": [(seq, id, at, name, direction, type, control_id, parent, len(body), digest, sealed)],
            "key": keys,
            "work": [(work, seq, "flow:forward" if direction == "in" else "to:out", lane, "", at)],
        }
        if direction == "in":
            key = hashlib.blake2b(b"|".join((head[2], head[3], head[9])), digest_size=16).digest()
            rows["seen"] = [(key, digest, seq, at)]
        return rows, id, work, lane

    def offer(self, body: bytes, lane: str, work: int) -> None:
        """To be sent when nothing of its patient is under way."""
        if lane in self.busy:
            self.behind.setdefault(lane, deque()).append((body, lane, work))
            return
        self.busy.add(lane)
        self.waiting.append((body, lane, work))
        self.pump()

    def pump(self) -> None:
        while self.waiting and self.idle:
            self.idle.pop().begin(*self.waiting.popleft())

    def finished(self, lane: str) -> None:
        if behind := self.behind.get(lane):
            self.waiting.append(behind.popleft())
            self.pump()
        else:
            self.behind.pop(lane, None)
            self.busy.discard(lane)


class In(Frames):
    """Keeps, then answers."""

    def __init__(self, bare: Bare) -> None:
        super().__init__()
        self._bare = bare

    def frame(self, body: bytes) -> None:
        rows, id, work, _ = self._bare.rows(body, "in", None)
        self._bare.writer.put(rows, lambda: self._kept(body, id, work))

    def _kept(self, body: bytes, id: str, work: int) -> None:
        control_id = body[: body.find(b"\r")].split(b"|", 10)[9]
        self.send(b"MSH|^~\\&|HUB||||||ACK|1|P|2.5.1\rMSA|AA|" + control_id + b"\r")
        head, rest = body.split(b"\r", 1)
        fields = head.split(b"|")
        fields[5] = b"CHANGED"
        changed = b"|".join(fields) + b"\r" + rest
        rows, _, next_work, lane = self._bare.rows(changed, "out", id)
        rows["mark"] = [(0, None, now_micros(), work)]
        self._bare.writer.put(rows, lambda: self._bare.offer(changed, lane, next_work))


class Out(Frames):
    """Sends one message at a time."""

    def __init__(self, bare: Bare) -> None:
        super().__init__()
        self._bare = bare
        self._lane, self._work = "", 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._bare.idle.append(self)

    def begin(self, body: bytes, lane: str, work: int) -> None:
        self._lane, self._work = lane, work
        self.send(body)

    def frame(self, body: bytes) -> None:
        lane, mark = self._lane, (1, "AA", now_micros(), self._work)
        self._bare.writer.put({"mark": [mark]}, lambda: self._bare.finished(lane))
        self._bare.idle.append(self)
        self._bare.pump()


async def main(store: str, in_port: int, out_port: int, connections: int) -> None:
    seal = Seal(os.urandom(32))
    opened = await open_any_store(store, Path(), seal)
    if isinstance(opened, Store):
        bare = Bare(SqliteWriter(opened.writer.connection), seal)
    else:
        bare = Bare(PostgresWriter(await connect(store)), seal)
    loop = asyncio.get_running_loop()
    for _ in range(connections):
        await loop.create_connection(lambda: Out(bare), "127.0.0.1", out_port)
    await loop.create_server(lambda: In(bare), "127.0.0.1", in_port, backlog=512)
    sys.stderr.write("ready\n")
    sys.stderr.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
