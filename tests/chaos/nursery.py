"""Hubs that start quickly: a process that has imported everything and makes a copy of itself for each hub.

The copy runs `hub run` as a hub that was started from a shell does; only the half second of imports is saved, without which
hundreds of kills fit into a minute.  Where processes cannot be copied (Windows) hubs are started as always.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support import ROOT


class Nursery:
    """Starts hubs; closed, it ends those that still run."""

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.nursery", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": path, **(env or {})},
            cwd=ROOT,
        )
        theirs.close()
        self._socket = ours
        self._answers = ours.makefile("r")

    def ask(self, *handles: int, **question: object) -> int:
        socket.send_fds(self._socket, [json.dumps(question).encode() + b"\n"], list(handles))
        answer = self._answers.readline()
        if not answer:
            raise RuntimeError("the nursery has ended")
        return int(answer)

    def close(self) -> None:
        self._answers.close()
        self._socket.close()
        self._process.wait(10)


class Hub:
    """`hub run` in a process of its own, which can be killed."""

    def __init__(self, nursery: Nursery, file: Path) -> None:
        self.file = file
        self._nursery = nursery
        self.pid = 0
        self.code: int | None = None
        self._words = -1
        self.said = ""

    def start(self, *, failpoints: str = "", timeout: float = 20.0, **env: str) -> str:
        """Returns the ready line; raises AssertionError with what it said instead."""
        env["CLINIC_HUB_FAILPOINTS"] = failpoints
        self._forget_words()
        words = self.file.with_name("stderr")  # a file and no pipe: who has much to say must not wait for us
        writing = os.open(words, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        self.said, self.code, self._words = "", None, os.open(words, os.O_RDONLY)
        self.pid = self._nursery.ask(writing, start=str(self.file), env=env)
        os.close(writing)
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            self._listen()
            if ready := [line for line in self.said.splitlines() if line.startswith("ready")]:
                return ready[0]
            if self.ended():
                break
            time.sleep(0.002)
        self._listen()
        fate = f"ended with {self.code}" if self.code is not None else f"still not after {timeout:g} s"
        raise AssertionError(f"the hub did not get ready ({fate}): {self.said}")

    def _listen(self) -> None:
        while words := os.read(self._words, 65536):
            self.said += words.decode()

    def _forget_words(self) -> None:
        if self._words >= 0:
            os.close(self._words)
            self._words = -1

    @property
    def running(self) -> bool:
        return self.pid != 0 and not self.ended()

    def ended(self) -> bool:
        """True when it is gone; its exit code is in `code`, negative for a signal."""
        if self.code is None and self.pid:
            code = self._nursery.ask(look=self.pid)
            self.code = None if code == _RUNNING else code
        return self.code is not None

    def wait(self, timeout: float = 30.0) -> int:
        """Until it has ended; returns the exit code."""
        end = time.monotonic() + timeout
        while not self.ended():
            if time.monotonic() > end:
                raise AssertionError(f"the hub still runs after {timeout:g} s")
            time.sleep(0.002)
        self._listen()
        assert self.code is not None
        return self.code

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.wait(10)

    def terminate(self) -> int:
        self.signal(signal.SIGTERM)
        return self.wait()

    def close(self) -> None:
        if self.running:
            self.kill()
        self._forget_words()


@contextlib.contextmanager
def nursery(env: Mapping[str, str] | None = None) -> Iterator[Nursery]:
    found = Nursery(env)
    try:
        yield found
    finally:
        found.close()


# The process itself.

_RUNNING = 1 << 20


def _serve(handle: int) -> None:
    from hub.cli import run, serve  # noqa: F401 - what `hub run` would import
    from hub.registry import Registry

    Registry()
    import alembic.command  # noqa: F401
    import uvloop  # noqa: F401

    ours = socket.socket(fileno=handle)
    children: set[int] = set()
    while True:
        line, handles, _, _ = socket.recv_fds(ours, 65536, 4)
        if not line:
            break
        question = json.loads(line)
        if "start" in question:
            answer = _start(question, handles, ours)
            children.add(answer)
        else:
            answer = _look(question["look"], children)
        for number in handles:
            os.close(number)
        ours.sendall(f"{answer}\n".encode())
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def _look(pid: int, children: set[int]) -> int:
    found, status = os.waitpid(pid, os.WNOHANG)
    if found == 0:
        return _RUNNING
    children.discard(pid)
    return os.waitstatus_to_exitcode(status)


def _start(question: dict[str, object], handles: list[int], ours: socket.socket) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        ours.close()
        os.dup2(handles[0], 2)
        os.environ.update(question["env"])  # type: ignore[call-overload]
        from hub.cli import main

        sys.argv = ["hub", "run", "-c", str(question["start"])]
        code = int(main() or 0)
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
