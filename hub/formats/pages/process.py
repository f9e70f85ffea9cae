"""A document is opened in a process of its own, with limits: what it breaks, fills or keeps busy is that process and no hub.

The process gets the documents as its standard input and answers on its standard output.  Both are files in memory without a
name (on systems without such files, unnamed files on disk), so nothing unsealed is left behind, and the event loop moves no
bytes.  It gets nothing of the hub's environment but where programs are, ends with the limits on processor time and on the
clock, and ends itself when the hub is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO
from weakref import WeakKeyDictionary

import hub
from hub.errors import ConnectionDown
from hub.formats.pages.words import Limits, State

Body = bytes | Callable[[], bytes]
"""A document, or what reads it."""
AT_ONCE = 2
"""Processes at once; further documents wait for their turn."""
TURN = 25.0
"""Seconds a document waits for its turn: with the time it may take then, less than a run of a flow may last."""
_PROGRAM = "import sys; sys.path.insert(0, {root!r}); from hub.formats.pages.worker import main; main()"
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR", "TEMP")
_GRACE = 2.0
"""Seconds that starting and ending the process may take besides."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the process said before it ended, and what it made."""

    state: State
    said: list[dict[str, Any]]
    made: bytes = b""


async def run(request: dict[str, Any], documents: Sequence[Body], limits: Limits) -> Answer:
    """Raises ConnectionDown when there is no turn for it, or no process can be started: it is tried again later."""
    loop = asyncio.get_running_loop()
    turns = _TURNS.setdefault(loop, asyncio.Semaphore(AT_ONCE))
    try:
        async with asyncio.timeout(TURN):
            await turns.acquire()
    except TimeoutError:
        raise ConnectionDown("other documents are being read; this one waits", code="DOC-010") from None
    job = _Job(request, documents, limits)
    try:
        return await loop.run_in_executor(_threads(), job.run)
    except asyncio.CancelledError:
        job.kill()
        raise
    finally:
        turns.release()


_TURNS: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(AT_ONCE, "pages")


class _Job:
    """One process, from a thread that waits for it."""

    def __init__(self, request: dict[str, Any], documents: Sequence[Body], limits: Limits) -> None:
        self._request, self._documents, self._limits = request, documents, limits
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False
        self._lock = threading.Lock()

    def kill(self) -> None:
        """Nobody waits for it any more."""
        with self._lock:
            self._killed = True
            if self._process is not None:
                self._process.kill()

    def run(self) -> Answer:
        with _file() as given, _file() as answer:
            if not self._give(given):
                return Answer("too_large", [])
            ended = self._wait(self._start(given, answer))
            answer.seek(0)
            return _read(answer, ended)

    def _give(self, given: BinaryIO) -> bool:
        """Writes the request and the documents; False when they are more than the process may be given."""
        bodies = [document if isinstance(document, bytes) else document() for document in self._documents]
        if sum(len(body) for body in bodies) > self._limits.document:
            return False
        request = {**self._request, "limits": self._limits.as_json(), "sizes": [len(body) for body in bodies]}
        given.write(json.dumps(request).encode() + b"\n")
        for body in bodies:
            given.write(body)
        given.flush()
        given.seek(0)
        return True

    def _start(self, given: BinaryIO, answer: BinaryIO) -> subprocess.Popen[bytes]:
        root = str(Path(hub.__file__).parents[1])
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        with self._lock:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - ourselves
                    [sys.executable, "-I", "-c", _PROGRAM.format(root=root)],
                    stdin=given,
                    stdout=answer,
                    stderr=subprocess.DEVNULL,
                    env=environment,
                )
            except OSError as error:
                raise ConnectionDown(
                    f"no process can be started to read documents ({error.strerror}); they wait", code="DOC-011"
                ) from None
            if self._killed:
                self._process.kill()
            return self._process

    def _wait(self, process: subprocess.Popen[bytes]) -> State:
        """The state of a document whose process ended without naming one."""
        try:
            process.wait(self._limits.wall + _GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return "took_too_long"
        return _SIGNS.get(-process.returncode, "broken")


def _signs() -> dict[int, State]:
    states: dict[str, State] = {
        "SIGXCPU": "took_too_long",
        "SIGALRM": "took_too_long",
        "SIGABRT": "too_large",  # PDFium ends so when there is no memory
        "SIGTRAP": "too_large",
        "SIGILL": "too_large",
    }
    return {getattr(signal, name): state for name, state in states.items() if hasattr(signal, name)}


_SIGNS = _signs()


def _read(answer: BinaryIO, ended: State) -> Answer:
    said: list[dict[str, Any]] = []
    while line := answer.readline():
        with contextlib.suppress(ValueError):  # it was ended in the middle of a line
            said.append(json.loads(line))
        if said and "state" in said[-1]:
            return Answer(said[-1]["state"], said[:-1], answer.read())
    return Answer(ended, said)


def _file() -> BinaryIO:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("document"), "w+b")
    return tempfile.TemporaryFile()  # type: ignore[return-value, unused-ignore]
