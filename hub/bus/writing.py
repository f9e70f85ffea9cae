"""The writer of a SQLite store in a process of its own: `python -m hub.bus.writing STORE`, begun by a running hub.

Groups of writes come in on stdin and what became of them goes out on stdout (hub/store/wire.py).  Whatever has come in by the
time a commit ends is in the next one.  It ends when stdin does, after everything that came in is on disk: also when the hub
was killed.  Until then it keeps the lock of the store, so that no other hub begins before this one has ended.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hub.bus.failpoints import active, arm, break_writer, ends_with
from hub.errors import StoreError, StoreFull
from hub.store.committing import Committer
from hub.store.rows import LARGEST_GROUP, Write
from hub.store.sqlite import SqliteWriter
from hub.store.wire import Frames, framed, told, unpacked

_READ = 1024 * 1024
"""Bytes taken from the pipe at once."""
_saying = threading.Lock()


def main(path: str) -> int:
    """0 when everything is on disk, 1 when the store is broken."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they are for the hub; this ends when the hub does
    ends_with(os.getppid())
    try:
        committer = Committer(SqliteWriter(Path(path)), lambda error: _say(("folding", error)))
        arm(points := active())
        break_writer(committer, points)
        committer.start()
    except Exception as error:
        _say(("broken", f"the writer cannot open the store ({error})"))
        return 1
    incoming = _Incoming()
    while group := incoming.next_group():
        if not _commit(committer, group):
            return 1
    committer.stop()
    committer.writer.close()
    return 0


class _Incoming:
    """What waits for its commit."""

    def __init__(self) -> None:
        self._frames = Frames()
        self._waiting: deque[Any] = deque()
        self._over = False

    def next_group(self) -> list[Write]:
        """Waits for the first; empty when nothing comes any more."""
        while not self._over and (not self._waiting or _has_more()):
            data = os.read(0, _READ)
            self._over = not data
            for writes in self._frames.feed(data):
                self._waiting.extend(writes)
            if len(self._waiting) >= LARGEST_GROUP:
                break
        return unpacked(self._waiting.popleft() for _ in range(min(len(self._waiting), LARGEST_GROUP)))


def _has_more() -> bool:
    return bool(select.select([0], [], [], 0)[0])


def _commit(committer: Committer, group: Sequence[Write]) -> bool:
    """False when nothing more can be written."""
    began, rows = time.monotonic(), committer.writer.rows
    try:
        committer.commit(group)
    except StoreFull as error:
        _say(("full", len(group), str(error)))
        return True
    except Exception as error:
        _say(("broken", str(error) if isinstance(error, StoreError) else f"the writer failed: {type(error).__name__}"))
        return False
    _say(("kept", told(group), committer.writer.rows - rows, time.monotonic() - began))
    return True


def _say(answer: tuple[Any, ...]) -> None:
    """Nobody may be there any more: what was kept is kept all the same."""
    data = memoryview(framed(answer))
    with _saying, contextlib.suppress(BrokenPipeError):
        while data:
            data = data[os.write(1, data) :]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
