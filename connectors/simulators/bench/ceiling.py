"""A bare loop that keeps the hub's first promise and does nothing else: the ceiling for a hub on this machine.

    python -m connectors.simulators.bench.ceiling sqlite:///file.db IN_PORT OUT_PORT CONNECTIONS

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
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from connectors.simulators.bench.load import Frames
from hub.message import derived_id, new_id
from hub.security.seal import Seal
from hub.store.opening import open_store

LARGEST_GROUP = 512
_MESSAGE = """
    INSERT INTO message (seq, id, at, connection, direction, format, type, control_id, parent, generation, size, digest, keep, body)
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


Done = Callable[[], None]


class Writer:
    """Commits rows in groups, in a thread of its own."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.connection: sqlite3.Connection = store.writer.connection
        self.seq = self.work = 0
        self._queue: queue.SimpleQueue[tuple[dict[str, list[tuple[Any, ...]]], Done]] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._run, daemon=True).start()

    def put(self, rows: dict[str, list[tuple[Any, ...]]], done: Done) -> None:
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
            rows: dict[str, list[tuple[Any, ...]]] = {}
            for some, _ in group:
                for name, values in some.items():
                    rows.setdefault(name, []).extend(values)
            self.connection.execute("BEGIN IMMEDIATE")
            execute(_MESSAGE, rows.get("message", ()))
            execute("INSERT INTO message_key (seq, kind, value) VALUES (?,?,?)", rows.get("key", ()))
            execute("INSERT OR REPLACE INTO seen (key, digest, seq, at) VALUES (?,?,?,?)", rows.get("seen", ()))
            execute(_WORK, rows.get("work", ()))
            execute(_MARK, rows.get("mark", ()))
            self.connection.execute("COMMIT")
            self._loop.call_soon_threadsafe(lambda group=group: [done() for _, done in group])  # type: ignore[misc]


class Bare:
    """What is kept of each message, and who sends it."""

    def __init__(self, writer: Writer, seal: Seal) -> None:
        self.writer = writer
        self.seal = seal
        self.idle: list[Out] = []
        self.waiting: deque[tuple[bytes, str, int]] = deque()
        """Body, lane and work of what is to be sent."""
        self.busy: set[str] = set()
        self.behind: dict[str, deque[tuple[bytes, str, int]]] = {}

    def rows(self, body: bytes, direction: str, parent: str | None) -> tuple[dict[str, list[tuple[Any, ...]]], str, int, str]:
        self.writer.seq += 1
        self.writer.work += 1
        seq, work, at = self.writer.seq, self.writer.work, time.time_ns() // 1000
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
        rows: dict[str, list[tuple[Any, ...]]] = {
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
        rows["mark"] = [(0, None, time.time_ns() // 1000, work)]
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

    def frame(self, body: bytes) -> None:  # noqa: ARG002 - who answers has taken it
        lane, mark = self._lane, (1, "AA", time.time_ns() // 1000, self._work)
        self._bare.writer.put({"mark": [mark]}, lambda: self._bare.finished(lane))
        self._bare.idle.append(self)
        self._bare.pump()


async def main(store: str, in_port: int, out_port: int, connections: int) -> None:
    seal = Seal(os.urandom(32))
    opened = open_store(store, Path(), seal)
    bare = Bare(Writer(opened), seal)
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
