"""The writer of SQLite in a process of its own, as the hub sees it; its other side is writing.py.

Python runs one thread at a time: a writer that is a thread waits for the event loop's turn to end before each statement, and
the other way round.  On two cores a process of its own lets a hub take half as many messages again.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from typing import Any

from hub.bus.engines import STOP_WITHIN, Committed, Entry, Failed, not_folded_in, note_commit, note_failure
from hub.bus.signals import JournalSignals
from hub.errors import StoreBroken, StoreError, StoreFull, Unkept
from hub.store.sqlite import SqliteWriter
from hub.store.wire import Frames, framed, packed, take_over


class ProcessEngine(asyncio.Protocol):
    """SQLite: a process with the connection of its own."""

    def __init__(self, writer: SqliteWriter, committed: Committed, failed: Failed, *, lock: int) -> None:
        self._path, self._lock = writer.path, lock
        self._committed, self._failed = committed, failed
        self.signals = JournalSignals()
        self._gathered: list[Entry] = []
        """What came in this turn of the event loop, or before the process is there."""
        self._under_way: deque[Entry] = deque()
        """What the process has been given and not told of yet."""
        self._frames = Frames()
        self._loop = asyncio.get_running_loop()
        self._starting: asyncio.Task[None] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: asyncio.WriteTransport | None = None
        self._over: asyncio.Future[None] = self._loop.create_future()
        """Resolves when the process tells nothing any more."""
        self._stopping = False
        self._broken: StoreError | None = None

    @property
    def waiting(self) -> int:
        return len(self._gathered) + len(self._under_way)

    def start(self) -> None:
        self._starting = self._loop.create_task(self._start(), name="journal")

    async def _start(self) -> None:
        try:
            process = self._process = self._begin()
        except OSError as error:
            self._break(StoreBroken(f"the writer could not be started: {error.strerror}"))
            return
        await self._loop.connect_read_pipe(lambda: self, process.stdout)
        self._pipe, _ = await self._loop.connect_write_pipe(asyncio.BaseProtocol, process.stdin)
        self._hand_over()

    def _begin(self) -> subprocess.Popen[bytes]:
        """The process.  It takes a few milliseconds, once; asyncio's own way would fork a process with threads."""
        arguments = (sys.executable, "-P", "-m", "hub.bus.writing", str(self._path))  # -P: nothing from the current folder
        pipe = subprocess.PIPE
        return subprocess.Popen(arguments, stdin=pipe, stdout=pipe, pass_fds=(self._lock,))  # noqa: S603 - this program

    def put(self, entry: Entry) -> None:
        if not self._gathered:
            self._loop.call_soon(self._hand_over)
        self._gathered.append(entry)

    def _hand_over(self) -> None:
        if self._broken is not None:
            self._refuse_the_rest()
        elif self._gathered and self._pipe is not None:
            group, self._gathered = self._gathered, []
            try:
                self._give(group, self._pipe)
            except ValueError:
                self._give_singly(group, self._pipe)

    def _give(self, group: Sequence[Entry], pipe: asyncio.WriteTransport) -> None:
        """Raises ValueError when a write holds what cannot be packed."""
        frame = framed(packed([write for write, _ in group]))
        self._under_way.extend(group)
        pipe.write(frame)

    def _give_singly(self, group: Sequence[Entry], pipe: asyncio.WriteTransport) -> None:
        """One write holds what no store can keep: the others are kept."""
        for entry in group:
            try:
                self._give([entry], pipe)
            except ValueError:
                entry[0].error = Unkept("this cannot be kept (it holds what is no text, number or bytes)")
                self._committed([entry])

    def refuses(self) -> str | None:
        return None

    async def stop(self) -> None:
        if self._starting is None:
            return
        await self._starting
        self._hand_over()
        self._stopping = True
        if self._process is None or self._pipe is None:
            return
        if not self._pipe.is_closing():
            self._pipe.write_eof()
        await asyncio.wait([self._over], timeout=STOP_WITHIN)
        if not self._over.done():
            self._process.kill()
        await asyncio.to_thread(self._process.wait)

    # What the process tells.

    def data_received(self, data: bytes) -> None:
        for kind, *rest in self._frames.feed(data):
            if kind == "kept":
                self._kept(*rest)
            elif kind == "full":
                self._full(*rest)
            elif kind == "broken":
                self._break(StoreBroken(*rest))
            else:
                not_folded_in(*rest)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - whatever it was, nothing more is told
        """After its last word everything is on disk, or nothing more will be."""
        self._over.set_result(None)
        if not self._stopping or self._under_way:
            self._break(StoreBroken("the process that writes the store has ended"))

    def _kept(self, told: Sequence[Any], rows: int, took: float) -> None:
        group = self._taken(len(told))
        for (write, _), what in zip(group, told, strict=True):
            take_over(write, what)
        note_commit(self.signals, len(group), rows, took)
        self._committed(group)

    def _full(self, count: int, text: str) -> None:
        failure = StoreFull(text)
        note_failure(self.signals, failure)
        self._failed(self._taken(count), failure)

    def _taken(self, count: int) -> list[Entry]:
        return [self._under_way.popleft() for _ in range(count)]

    def _break(self, failure: StoreError) -> None:
        if self._broken is None:
            self._broken = failure
            note_failure(self.signals, failure)
            self._refuse_the_rest()

    def _refuse_the_rest(self) -> None:
        assert self._broken is not None  # noqa: S101 - asked only then
        rest = [*self._under_way, *self._gathered]
        self._under_way.clear()
        self._gathered = []
        self._failed(rest, self._broken)
