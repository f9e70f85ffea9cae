"""What drives the writer of a store: a thread on SQLite, a task of the event loop on PostgreSQL.

Both take whatever waits as one group, and tell the event loop of a group only when it is on disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from hub.bus.signals import JournalSignals, Trouble
from hub.errors import StoreBroken, StoreError
from hub.store.postgres import PostgresWriter
from hub.store.rows import Write
from hub.store.sqlite import SqliteWriter, checkpoint, connect

log = structlog.get_logger(__name__)

LARGEST_GROUP = 512
"""Writes in one commit."""
MOST_WAITING = 4 * LARGEST_GROUP
"""Writes that wait for a database that is away; what comes then is not taken."""
LONGEST_LOG = 4000
"""Pages of the write-ahead log (16 MB) from which on it is begun anew."""
_CHECKPOINT_EVERY = 0.5
"""Seconds."""
_STOP_WITHIN = 10.0
"""Seconds a stop waits for what is being written."""

Entry = tuple[Write, "asyncio.Future[Write]"]
Committed = Callable[[Sequence[Entry]], None]
Failed = Callable[[Sequence[Entry], StoreError], None]


class Engine(Protocol):
    """Gets writes from the event loop, in order."""

    signals: JournalSignals

    @property
    def waiting(self) -> int:
        """Writes that no commit has taken yet."""
        ...

    def start(self) -> None: ...
    def put(self, entry: Entry) -> None: ...
    def refuses(self) -> str | None:
        """Why nothing more can wait now; None as a rule."""
        ...

    async def stop(self) -> None:
        """Commits what waits, then ends."""
        ...


class ThreadEngine:
    """SQLite: a thread with the connection of its own; a second one folds the write-ahead log in, so that no commit waits
    for that.

    SQLite before 3.51.3 (3.50.7, 3.44.6) can ruin a database when a checkpoint begins on a log that is folded in already and a
    commit begins the log anew meanwhile (sqlite.org/wal.html, "the WAL-reset bug").  Here none does: only the second thread
    makes checkpoints, and only after a commit that began when its last one had ended.
    """

    def __init__(self, writer: SqliteWriter, committed: Committed, failed: Failed) -> None:
        self.writer, self._committed, self._failed = writer, committed, failed
        self.signals = JournalSignals()
        self._gathered: list[Entry] = []
        """What came in this turn of the event loop: it goes to the thread at once, for every hand-over costs both a wait."""
        self._queue: queue.SimpleQueue[list[Entry] | None] = queue.SimpleQueue()
        self._left: list[Entry] = []
        """What came to the thread and is for its next group."""
        self._put = self._taken = 0
        self._loop = asyncio.get_running_loop()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._write_forever, name="journal", daemon=True),
            threading.Thread(target=self._checkpoint_forever, name="checkpoint", daemon=True),
        ]
        self._broken: StoreError | None = None
        self._committing = threading.Lock()
        """Held for each commit; and for a moment, now and then, so that there is none."""
        self._unfolded = 0
        """Commits that began after the last checkpoint had ended."""

    @property
    def waiting(self) -> int:
        return self._put - self._taken

    def start(self) -> None:
        self.writer.connection.execute("PRAGMA wal_autocheckpoint=0")
        for thread in self._threads:
            thread.start()

    def put(self, entry: Entry) -> None:
        if not self._gathered:
            self._loop.call_soon(self._hand_over)
        self._gathered.append(entry)
        self._put += 1

    def _hand_over(self) -> None:
        if self._gathered:
            self._queue.put(self._gathered)
            self._gathered = []

    def refuses(self) -> str | None:
        return None

    async def stop(self) -> None:
        self._hand_over()
        self._queue.put(None)
        self._stopping.set()
        for thread in self._threads:
            if thread.is_alive():
                await asyncio.to_thread(thread.join)

    # The writer's thread.

    def _write_forever(self) -> None:
        going_on = True
        while going_on:
            group, going_on = self._next_group()
            if group:
                self._commit(group)
            if self._broken is not None:
                self._refuse_the_rest()
                return

    def _next_group(self) -> tuple[list[Entry], bool]:
        going_on = True
        while going_on and len(self._left) < LARGEST_GROUP:
            try:
                entries = self._queue.get(block=not self._left)
            except queue.Empty:
                break
            going_on = entries is not None
            self._left += entries or ()
        group, self._left = self._left[:LARGEST_GROUP], self._left[LARGEST_GROUP:]
        self._taken += len(group)
        return group, going_on

    def _commit(self, group: list[Entry]) -> None:
        began, rows = time.monotonic(), self.writer.rows
        try:
            with self._committing:
                self.writer.apply([write for write, _ in group])
                self._unfolded += 1
        except Exception as error:
            failure = _store_error(error)
            if isinstance(failure, StoreBroken):
                self._broken = failure
            _note_failure(self.signals, failure)
            self._tell(self._failed, group, failure)
            return
        _note_commit(self.signals, len(group), self.writer.rows - rows, time.monotonic() - began)
        self._tell(self._committed, group)

    def _tell(self, function: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is gone: there is nobody left to tell
            self._loop.call_soon_threadsafe(function, *arguments)

    def _refuse_the_rest(self) -> None:
        rest, self._left = self._left, []
        with contextlib.suppress(queue.Empty):
            while True:
                rest += self._queue.get_nowait() or ()
        self._taken += len(rest)
        if rest:
            self._tell(self._failed, rest, self._broken)

    # The thread of checkpoints.

    def _checkpoint_forever(self) -> None:
        connection = connect(self.writer.path)
        while not self._stopping.wait(_CHECKPOINT_EVERY):
            try:
                self._fold_in(connection)
            except Exception as error:  # the log grows until it goes again
                log.warning("the write-ahead log could not be folded in", error=type(error).__name__)
        connection.close()

    def _fold_in(self, connection: sqlite3.Connection) -> None:
        """Beside the commits; when the log has become long, the rest without one, so that the next begins it anew."""
        if not self._unfolded:
            return
        pages = 0
        try:
            pages = checkpoint(connection)
        finally:
            with self._committing:
                if pages > LONGEST_LOG:
                    checkpoint(connection)
                self._unfolded = 0


class TaskEngine:
    """PostgreSQL: a task; while it waits for the server the event loop goes on, and the next group gathers."""

    def __init__(self, writer: PostgresWriter, committed: Committed, failed: Failed) -> None:
        self.writer, self._committed, self._failed = writer, committed, failed
        self.signals = JournalSignals()
        self._waiting: deque[Entry] = deque()
        self._more = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def start(self) -> None:
        self._task = asyncio.create_task(self._write_forever(), name="journal")

    def put(self, entry: Entry) -> None:
        self._waiting.append(entry)
        self._more.set()

    def refuses(self) -> str | None:
        if self.writer.away is not None and len(self._waiting) >= MOST_WAITING:
            return "the database cannot be reached: nothing is acknowledged until it is back"
        return None

    async def stop(self) -> None:
        self._stopping = True
        self._more.set()
        if self._task is None:
            return
        if self.writer.away is not None:
            self.writer.closing = True
        await asyncio.wait([self._task], timeout=_STOP_WITHIN)
        self.writer.closing = True
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _write_forever(self) -> None:
        while True:
            while not self._waiting:
                if self._stopping:
                    return
                self._more.clear()
                await self._more.wait()
            if not await self._commit(self._next_group()):
                return

    def _next_group(self) -> list[Entry]:
        candidates = [write for write, _ in self._first(LARGEST_GROUP)]
        return [self._waiting.popleft() for _ in range(self.writer.fitting(candidates))]

    def _first(self, count: int) -> list[Entry]:
        return [entry for entry, _ in zip(self._waiting, range(count), strict=False)]

    async def _commit(self, group: list[Entry]) -> bool:
        """False when nothing more can be written."""
        began, rows = time.monotonic(), self.writer.rows
        try:
            await self.writer.apply([write for write, _ in group])
        except asyncio.CancelledError:
            self._failed([*group, *self._waiting], StoreError("the hub has stopped; nothing more is kept", code="STO-012"))
            raise
        except Exception as error:
            failure = _store_error(error)
            over = isinstance(failure, StoreBroken) or self.writer.closing
            _note_failure(self.signals, failure)
            self._failed([*group, *self._waiting] if over else group, failure)
            return not over
        _note_commit(self.signals, len(group), self.writer.rows - rows, time.monotonic() - began)
        self._committed(group)
        return True


def _note_commit(signals: JournalSignals, writes: int, rows: int, took: float) -> None:
    signals.trouble = None
    signals.commits += 1
    signals.writes += writes
    signals.rows += rows
    signals.took.add(took)


def _note_failure(signals: JournalSignals, failure: StoreError) -> None:
    signals.failures += 1
    signals.trouble = Trouble.of(failure, signals.trouble)


def _store_error(error: Exception) -> StoreError:
    if isinstance(error, StoreError):
        return error
    log.error("the writer failed", error=type(error).__name__)
    return StoreBroken(f"the writer failed: {type(error).__name__}")
