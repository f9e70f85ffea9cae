"""The one writer: whatever waits when a commit ends goes into the next one, and only then the answers.

No timer collects writes; the commit in progress is the window.  On SQLite the writer is a thread with a connection of its
own, and a second thread folds the write-ahead log in, so that no commit waits for that.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable

import structlog

from hub.bus.signals import JournalSignals, Trouble
from hub.errors import HubError, StoreBroken, StoreError
from hub.store.rows import Write
from hub.store.sqlite import SqliteWriter, checkpoint, connect

log = structlog.get_logger(__name__)

LARGEST_GROUP = 512
"""Writes in one commit."""
_CHECKPOINT_EVERY = 0.5
"""Seconds."""

Entry = tuple[Write, "asyncio.Future[Write]"]


class Journal:
    """Takes writes from the event loop and answers when they are on disk."""

    def __init__(self, writer: SqliteWriter) -> None:
        self._writer = writer
        self.on_commit: Callable[[Write], None] = lambda _: None
        """Called for each write once it is on disk, in the order of the journal."""
        self.on_broken: Callable[[StoreError], None] = lambda _: None
        """Called once when the store cannot be written any more."""
        self._queue: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._write_forever, name="journal", daemon=True),
            threading.Thread(target=self._checkpoint_forever, name="checkpoint", daemon=True),
        ]
        self.broken: StoreError | None = None
        self._stopped = False
        self.signals = JournalSignals()

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    async def stop(self) -> None:
        """Commits what waits, then ends; what comes later fails."""
        self._stopped = True
        self._queue.put(None)
        self._stopping.set()
        for thread in self._threads:
            if thread.is_alive():
                await asyncio.to_thread(thread.join)

    def submit(self, write: Write) -> asyncio.Future[Write]:
        """Resolves when the write is on disk; fails with StoreError, or with Conflict for this write alone."""
        future: asyncio.Future[Write] = self._loop.create_future()
        if self.broken is not None:
            future.set_exception(self.broken)
        elif self._stopped:
            future.set_exception(StoreError("the hub has stopped; nothing more is kept", code="STO-012"))
        else:
            self._queue.put((write, future))
        return future

    @property
    def commits(self) -> int:
        return self.signals.commits

    @property
    def writes(self) -> int:
        return self.signals.writes

    @property
    def waiting(self) -> int:
        """Writes that no commit has taken yet."""
        return self._queue.qsize()

    async def commit(self, write: Write) -> Write:
        return await self.submit(write)

    def fail(self, error: StoreBroken) -> None:
        """Something beside the journal could not be brought to disk: nothing more is kept, and the hub ends."""
        if self.broken is None:
            self.broken = error
            self.on_broken(error)

    # The writer's thread.

    def _write_forever(self) -> None:
        going_on = True
        while going_on:
            group, going_on = self._next_group()
            if group:
                self._commit(group)
            if self.broken is not None:
                self._refuse_the_rest()
                return

    def _next_group(self) -> tuple[list[Entry], bool]:
        entry = self._queue.get()
        group: list[Entry] = []
        while entry is not None:
            group.append(entry)
            if len(group) >= LARGEST_GROUP:
                return group, True
            try:
                entry = self._queue.get_nowait()
            except queue.Empty:
                return group, True
        return group, False

    def _commit(self, group: list[Entry]) -> None:
        began, rows = time.monotonic(), self._writer.rows
        try:
            self._writer.apply([write for write, _ in group])
        except Exception as error:
            failure = error if isinstance(error, StoreError) else StoreBroken(f"the writer failed: {type(error).__name__}")
            if isinstance(failure, StoreBroken):
                self.broken = failure
            if failure is not error:
                log.error("the writer failed", error=type(error).__name__)
            self.signals.failures += 1
            self.signals.trouble = Trouble.of(failure, self.signals.trouble)
            self._tell(self._failed, group, failure)
            return
        self.signals.trouble = None
        self.signals.commits += 1
        self.signals.writes += len(group)
        self.signals.rows += self._writer.rows - rows
        self.signals.took.add(time.monotonic() - began)
        self._tell(self._committed, group)

    def _tell(self, function: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is gone: there is nobody left to tell
            self._loop.call_soon_threadsafe(function, *arguments)

    def _refuse_the_rest(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                if (entry := self._queue.get_nowait()) is not None:
                    self._tell(self._failed, [entry], self.broken)

    def _checkpoint_forever(self) -> None:
        connection = connect(self._writer.path)
        seen = 0
        while not self._stopping.wait(_CHECKPOINT_EVERY):
            if self.commits != seen:
                seen = self.commits
                with contextlib.suppress(sqlite3.Error):
                    checkpoint(connection)
        connection.close()

    # Back on the event loop.

    def _committed(self, group: list[Entry]) -> None:
        for write, future in group:
            if write.error is not None:
                if not future.done():
                    future.set_exception(write.error)
                continue
            try:
                self.on_commit(write)
            except Exception as error:  # what follows a commit must never stop the answers of the others
                log.error("could not hand committed work on", error=type(error).__name__)
            if not future.done():
                future.set_result(write)

    def _failed(self, group: list[Entry], error: HubError) -> None:
        for _, future in group:
            if not future.done():
                future.set_exception(error)
        if isinstance(error, StoreBroken):
            self.on_broken(error)
