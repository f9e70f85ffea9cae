"""What drives the writer of a store: a thread on SQLite, or a process (apart.py) where messages come by the thousand; a task of
the event loop on PostgreSQL.

All take whatever waits as one group, and tell the event loop of a group only when it is on disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import structlog

from hub.bus.signals import JournalSignals, Trouble
from hub.errors import StoreBroken, StoreError
from hub.store.committing import Committer
from hub.store.rows import LARGEST_GROUP, Write
from hub.store.sqlite import SqliteWriter

if TYPE_CHECKING:
    from hub.store.postgres import PostgresWriter  # SQLite needs nothing of it

log = structlog.get_logger(__name__)

MOST_WAITING = 4 * LARGEST_GROUP
"""Writes that wait for a database that is away; what comes then is not taken."""
STOP_WITHIN = 10.0
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
    """SQLite in the same process: a thread with the connection of its own."""

    def __init__(self, writer: SqliteWriter, committed: Committed, failed: Failed) -> None:
        self.committer = Committer(writer, not_folded_in)
        self._committed, self._failed = committed, failed
        self.signals = JournalSignals()
        self._gathered: list[Entry] = []
        """What came in this turn of the event loop: it goes to the thread at once, for every hand-over costs both a wait."""
        self._queue: queue.SimpleQueue[list[Entry] | None] = queue.SimpleQueue()
        self._left: list[Entry] = []
        """What came to the thread and is for its next group."""
        self._put = self._taken = 0
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._write_forever, name="journal", daemon=True)
        self._broken: StoreError | None = None

    @property
    def waiting(self) -> int:
        return self._put - self._taken

    def start(self) -> None:
        self.committer.start()
        self._thread.start()

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
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)
        await asyncio.to_thread(self.committer.stop)

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
        writer = self.committer.writer
        began, rows = time.monotonic(), writer.rows
        try:
            self.committer.commit([write for write, _ in group])
        except Exception as error:
            failure = _store_error(error)
            if isinstance(failure, StoreBroken):
                self._broken = failure
            note_failure(self.signals, failure)
            self._tell(self._failed, group, failure)
            return
        note_commit(self.signals, len(group), writer.rows - rows, time.monotonic() - began)
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
        await asyncio.wait([self._task], timeout=STOP_WITHIN)
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
            note_failure(self.signals, failure)
            self._failed([*group, *self._waiting] if over else group, failure)
            return not over
        note_commit(self.signals, len(group), self.writer.rows - rows, time.monotonic() - began)
        self._committed(group)
        return True


def not_folded_in(error: str) -> None:
    log.warning("the write-ahead log could not be folded in", error=error)


def note_commit(signals: JournalSignals, writes: int, rows: int, took: float) -> None:
    signals.trouble = None
    signals.commits += 1
    signals.writes += writes
    signals.rows += rows
    signals.took.add(took)


def note_failure(signals: JournalSignals, failure: StoreError) -> None:
    signals.failures += 1
    signals.trouble = Trouble.of(failure, signals.trouble)


def _store_error(error: Exception) -> StoreError:
    if isinstance(error, StoreError):
        return error
    log.error("the writer failed", error=type(error).__name__)
    return StoreBroken(f"the writer failed: {type(error).__name__}")
