"""Commits to SQLite, and the folding in of the write-ahead log beside them, so that no commit waits for that.

SQLite before 3.51.3 (3.50.7, 3.44.6) can ruin a database when a checkpoint begins on a log that is folded in already and a
commit begins the log anew meanwhile (sqlite.org/wal.html, "the WAL-reset bug").  Here none does: only the second thread makes
checkpoints, and only after a commit that began when its last one had ended.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from hub.store.rows import Write
from hub.store.sqlite import SqliteWriter, checkpoint, connect

LONGEST_LOG = 4000
"""Pages of the write-ahead log (16 MB) from which on it is begun anew."""
CHECKPOINT_EVERY = 0.5
"""Seconds."""


class Applies(Protocol):
    """What a group of writes is given to."""

    def apply(self, writes: Sequence[Write]) -> None: ...


class Committer:
    """One writer with the thread that folds in its log.  Belongs to the thread that commits."""

    def __init__(self, writer: SqliteWriter, tell: Callable[[str], None]) -> None:
        self.writer = writer
        self.applies: Applies = writer
        """The writer itself; or what a test has put before it."""
        self._tell = tell
        self._committing = threading.Lock()
        """Held for each commit; and for a moment, now and then, so that there is none."""
        self._unfolded = 0
        """Commits that began after the last checkpoint had ended."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._fold_forever, name="checkpoint", daemon=True)

    def start(self) -> None:
        self.writer.connection.execute("PRAGMA wal_autocheckpoint=0")
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def commit(self, group: Sequence[Write]) -> None:
        """Raises what the writer raises."""
        with self._committing:
            self.applies.apply(group)
            self._unfolded += 1

    def _fold_forever(self) -> None:
        connection = connect(self.writer.path)
        while not self._stopping.wait(CHECKPOINT_EVERY):
            try:
                self._fold_in(connection)
            except Exception as error:  # the log grows until it goes again
                self._tell(type(error).__name__)
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
