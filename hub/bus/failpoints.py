"""Named ways to break the bus on purpose, so that tests can prove that they would notice.

Switched on by CLINIC_HUB_FAILPOINTS (names separated by commas), never by a configuration file; a hub that runs with one
says so in its log with every start.  There are two sorts:

    ack_before_commit     a mutant: the hub is wrong in this way from its start to its end
    kill@sent:3           an end: the process kills itself (SIGKILL) when it comes to this stage for the third time
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hub.bus.core import Core
    from hub.store.committing import Committer
    from hub.store.rows import Write

MUTANTS = {
    "ack_before_commit": "answers the sender before the message is on disk",
    "ordering_key_dropped": "every message has a lane of its own",
    "dedupe_off": "routes what a sender sends again",
    "synchronous_off": "commits without waiting for the disk",
    "writer_swallows_errors": "calls a commit that failed a success",
    "unbounded_queue": "takes in whatever comes, however slow the disk is",
    "lease_not_fenced": "sends although another hub may have taken over from it",
    "marks_not_awaited": "goes on with a lane before the outcome of its last message is on disk",
}
STAGES = {
    "received": "a message is here, nothing of it is kept",
    "in_commit": "all rows of a group are written, the commit has not begun",
    "committed": "the commit is on disk, nobody knows yet",
    "flow_ran": "the steps of a flow have run, nothing they want is kept",
    "flow_kept": "what the steps want is on disk, the lane does not know yet",
    "sending": "a message is about to be sent",
    "sent": "the partner has taken a message, its mark is not kept",
    "refused": "the partner has refused a message, its mark is not kept",
    "marked": "the outcome of a message is on disk, the lane does not know yet",
    "body_written": "a large body is in its draft, not yet on disk",
    "body_synced": "a large body is on disk, without its name",
    "body_named": "a large body has its name, the folder is not yet on disk",
}
BEFORE_THE_KILL = 0.05
"""Seconds a kill at the writer waits, in which whatever is said too early gets out."""


def active() -> frozenset[str]:
    """The failpoints of this process; raises ValueError for a name that does not exist."""
    names = frozenset(name for name in os.environ.get("CLINIC_HUB_FAILPOINTS", "").split(",") if name)
    unknown = {name for name in names if name not in MUTANTS and _stage_of(name) not in STAGES}
    if unknown:
        known = [*MUTANTS, *(f"kill@{stage}" for stage in STAGES)]
        raise ValueError(f"there is no failpoint {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return names


def _stage_of(name: str) -> str:
    way, _, stage = name.partition("@")
    return stage.partition(":")[0] if way == "kill" else ""


# Stages.

_left: dict[str, int] = {}
"""Passages that are left before the end, by stage; empty in a hub that is whole."""
_together: list[int] = []
"""Processes that end with this one, before it."""


def ends_with(process: int) -> None:
    """Called by a part of a hub in a process of its own: where it ends, the hub does."""
    _together.append(process)


def reached(stage: str) -> None:
    """Ends the process here, if that was asked for."""
    if _left and stage in _left:
        _left[stage] -= 1
        if _left[stage] <= 0:
            if _together or threading.current_thread() is not threading.main_thread():
                time.sleep(BEFORE_THE_KILL)
            for process in (*_together, os.getpid()):
                os.kill(process, getattr(signal, "SIGKILL", signal.SIGTERM))
            time.sleep(60)


# What is broken from the start.


def break_on_purpose(core: Core, points: frozenset[str]) -> None:
    """Puts the mutants of the bus in place, and arms the kills."""
    arm(points)
    committer = getattr(core.journal.engine, "committer", None)
    if committer is not None:  # a writer in a process of its own is broken there
        break_writer(committer, points)
    elif points:
        _break_postgres(core, points)
    if "unbounded_queue" in points:
        core.admission.most_bytes = core.admission.most_messages = sys.maxsize
    if "marks_not_awaited" in points:
        core.journal.commit = _not_waiting(core.journal)  # type: ignore[method-assign]


def break_writer(committer: Committer, points: frozenset[str]) -> None:
    """The same for the writer of SQLite, in whatever process it is; its kills are armed already."""
    writer: Any = committer.writer
    if "synchronous_off" in points:
        writer.connection.execute("PRAGMA synchronous=OFF")
    if _left.keys() & {"in_commit", "committed"}:
        writer.connection = _Watched(writer.connection)
    if points & {"dedupe_off", "writer_swallows_errors"}:
        committer.applies = _BrokenWriter(writer, points)


def _break_postgres(core: Core, points: frozenset[str]) -> None:
    from hub.store.postgres import PostgresWriter  # a process that writes to SQLite does not need it

    if not isinstance(core.store.writer, PostgresWriter):
        return
    writer: Any = core.store.writer
    if "synchronous_off" in points:
        raise ValueError("the failpoint synchronous_off is one of a store on SQLite")
    if _left.keys() & {"in_commit", "committed"}:
        writer._run = _watched(writer._run)  # noqa: SLF001 - where a group becomes a statement
    if points & {"dedupe_off", "writer_swallows_errors"}:
        core.journal.engine.writer = _BrokenPostgresWriter(writer, points)  # type: ignore[attr-defined]


def arm(points: frozenset[str]) -> None:
    """From now on this process ends where it was asked to."""
    _left.clear()
    for name in points:
        if stage := _stage_of(name):
            _left[stage] = int(name.partition(":")[2] or 1)


class _Watched:
    """A connection of the writer with the two stages of a commit."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: str, *values: Any) -> Any:
        commits = statement == "COMMIT"
        if commits:
            reached("in_commit")
        found = self._connection.execute(statement, *values)
        if commits:
            reached("committed")
        return found


def _watched(run: Callable[[Any], Awaitable[Any]]) -> Callable[[Any], Awaitable[Any]]:
    """The same two stages on PostgreSQL, where one statement writes a group and commits it: before it, and after it."""

    async def watched(batch: Any) -> Any:
        if _left.get("in_commit") == 1:
            await asyncio.sleep(BEFORE_THE_KILL)
        reached("in_commit")
        found = await run(batch)
        reached("committed")
        return found

    return watched


class _BrokenWriter:
    """A writer that forgets what it has seen, or says nothing of what went wrong."""

    def __init__(self, writer: Any, points: frozenset[str]) -> None:
        self._writer, self._points = writer, points

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    def apply(self, writes: Sequence[Write]) -> None:
        self._forget_what_was_seen(writes)
        if "writer_swallows_errors" not in self._points:
            self._writer.apply(writes)
            return
        with contextlib.suppress(Exception):
            self._writer.apply(writes)

    def _forget_what_was_seen(self, writes: Sequence[Write]) -> None:
        if "dedupe_off" in self._points:
            for write in writes:
                for message in write.messages:
                    message.seen_key = None


class _BrokenPostgresWriter(_BrokenWriter):
    """The same on PostgreSQL."""

    async def apply(self, writes: Sequence[Write]) -> None:  # type: ignore[override]
        self._forget_what_was_seen(writes)
        try:
            await self._writer.apply(writes)
        except Exception:
            if "writer_swallows_errors" not in self._points:
                raise


def _not_waiting(journal: Any) -> Any:
    """A commit that waits for everything but outcomes."""
    honest = journal.commit

    async def commit(write: Write) -> Write:
        if write.marks and not write.messages:
            journal.submit(write).add_done_callback(lambda done: done.exception())
            return write
        return await honest(write)  # type: ignore[no-any-return]

    return commit
