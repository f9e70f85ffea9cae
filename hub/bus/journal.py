"""The one writer: whatever waits when a commit ends goes into the next one, and only then the answers.

No timer collects writes; the commit in progress is the window.  What drives the writer depends on the store (engines.py): a
thread or a process on SQLite, a task on PostgreSQL.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import structlog

from hub.bus.apart import ProcessEngine
from hub.bus.engines import Engine, Entry, TaskEngine, ThreadEngine
from hub.errors import StoreBroken, StoreError, StoreFull
from hub.store.rows import Write
from hub.store.sqlite import SqliteWriter

if TYPE_CHECKING:
    from hub.store.postgres import PostgresWriter  # SQLite needs nothing of it

log = structlog.get_logger(__name__)


class Journal:
    """Takes writes from the event loop and answers when they are on disk."""

    def __init__(self, writer: SqliteWriter | PostgresWriter, *, lock: int | None = None) -> None:
        """With `lock`, the descriptor of the store's lock, SQLite is written by a process of its own."""
        self.on_commit: Callable[[Write], None] = lambda _: None
        """Called for each write once it is on disk, in the order of the journal."""
        self.on_broken: Callable[[StoreError], None] = lambda _: None
        """Called once when the store cannot be written any more."""
        self._loop = asyncio.get_running_loop()
        self.engine: Engine
        if not isinstance(writer, SqliteWriter):
            self.engine = TaskEngine(writer, self._committed, self._failed)
        elif lock is None:
            self.engine = ThreadEngine(writer, self._committed, self._failed)
        else:
            self.engine = ProcessEngine(writer, self._committed, self._failed, lock=lock)
        self.broken: StoreError | None = None
        self._stopped = False
        self.signals = self.engine.signals

    def start(self) -> None:
        self.engine.start()

    async def stop(self) -> None:
        """Commits what waits, then ends; what comes later fails."""
        self._stopped = True
        await self.engine.stop()

    def submit(self, write: Write) -> asyncio.Future[Write]:
        """Resolves when the write is on disk; fails with StoreError, or with Conflict for this write alone."""
        future: asyncio.Future[Write] = self._loop.create_future()
        if self.broken is not None:
            future.set_exception(self.broken)
        elif self._stopped:
            future.set_exception(StoreError("the hub has stopped; nothing more is kept", code="STO-012"))
        elif (reason := self.engine.refuses()) is not None:
            future.set_exception(StoreFull(reason))
        else:
            self.engine.put((write, future))
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
        return self.engine.waiting

    async def commit(self, write: Write) -> Write:
        return await self.submit(write)

    def fail(self, error: StoreBroken) -> None:
        """Something beside the journal could not be brought to disk: nothing more is kept, and the hub ends."""
        if self.broken is None:
            self.broken = error
            self.on_broken(error)

    # Back on the event loop.

    def _committed(self, group: Sequence[Entry]) -> None:
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

    def _failed(self, group: Sequence[Entry], error: StoreError) -> None:
        for _, future in group:
            if not future.done():
                future.set_exception(error)
        if isinstance(error, StoreBroken):
            self.fail(error)
