"""What tests share: clinic folders, hubs in this process and in others, messages."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from connectors.simulators.bench.measure import free_port as free_port
from connectors.simulators.ehr import header, message, segment
from hub.bus.hub import Hub
from hub.bus.operations import Operations
from hub.clinic import load_clinic
from hub.security.seal import new_key, write_key

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT.parent / "shared" / "samples"
"""Public sample messages; not part of this repository, and not everywhere there."""

CLINIC = """
organisation: {name: Test Clinic, npi: "1234567893"}
sites:
  main: {timezone: America/Chicago}
store: {store}
log: {level: error}
"""
STORE = ["sqlite:///var/hub.db"]
"""The store of the clinics that are written now: the last one."""


def clinic_folder(folder: Path, text: str, *, payers: str | None = None, head: str = CLINIC) -> Path:
    """Writes a clinic file with its key; `text` has the connections and flows. Returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    if payers is not None:
        (folder / "payers.csv").write_text(payers, encoding="utf-8")
        head += "payers: payers.csv\n"
    file = folder / "clinic.yaml"
    file.write_text(head.replace("{store}", STORE[-1]) + text, encoding="utf-8")
    if not (folder / "hub.key").exists():
        write_key(folder / "hub.key", new_key())
    return file


@asynccontextmanager
async def running_hub(file: Path) -> AsyncIterator[Hub]:
    """A hub in this process."""
    hub = Hub(load_clinic(file))
    await hub.start()
    try:
        yield hub
    finally:
        await hub.stop()


def ask(hub: Hub, operation: str, **params: Any) -> Any:
    """An operation of a running hub; await it."""
    return Operations(hub.core, hub).run(operation, params, "test")


def port_of(hub: Hub, source: str) -> int:
    return int(hub.sources[source].port)  # type: ignore[attr-defined]


PATIENCE = 3.0
"""How many times longer tests wait for what must come than it takes on a machine that does nothing else."""


async def until(condition: Callable[[], Any], timeout: float = 10.0) -> None:
    """Waits until something is so; an async condition is awaited."""
    end = time.monotonic() + timeout * PATIENCE
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return
        if time.monotonic() > end:
            raise AssertionError(f"not so within {timeout:g} s")
        await asyncio.sleep(0.01)


def clinic_on(url: str, folder: Path, text: str) -> Path:
    """A clinic file as `clinic_folder` makes it, whose store is a database of its own."""
    STORE.append(url)
    try:
        return clinic_folder(folder, text)
    finally:
        STORE.pop()


async def settled(hub: Hub, timeout: float = 10.0) -> None:
    """Nothing is on its way any more."""

    async def nothing_open() -> bool:
        return not await hub.core.reader.open_targets()

    await until(nothing_open, timeout)


class WallClock:
    """Stands in for the clock on the wall that the hub reads (`hub.moments.clock`): it may stand still, be set, and jump."""

    def __init__(self) -> None:
        self.ahead = timedelta()
        self.at: datetime | None = None
        """Where it stands still; None while it goes."""

    def time_ns(self) -> int:
        if self.at is not None:
            return (self.at - _EPOCH) // timedelta(microseconds=1) * 1000
        return time.time_ns() + self.ahead // timedelta(microseconds=1) * 1000


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class HubProcess:
    """`hub run` in a process of its own, which can be killed."""

    def __init__(self, file: Path, *, env: dict[str, str] | None = None) -> None:
        self.file = file
        self.env = {**os.environ, **(env or {})}
        self.process: subprocess.Popen[bytes] | None = None
        self.lines: list[str] = []

    def start(self, timeout: float = 20.0, stdout: Any = subprocess.DEVNULL) -> str:
        """Returns the ready line; raises AssertionError with what it said instead."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hub", "run", "-c", str(self.file)],
            stderr=subprocess.PIPE,
            stdout=stdout,
            env=self.env,
        )
        assert self.process.stderr is not None
        os.set_blocking(self.process.stderr.fileno(), False)
        end, text = time.monotonic() + timeout, ""
        while time.monotonic() < end:
            text += (self.process.stderr.read() or b"").decode()
            if ready := [line for line in text.splitlines() if line.startswith("ready")]:
                os.set_blocking(self.process.stderr.fileno(), True)
                return ready[0]
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        self.kill()  # it is late, or has ended already: nothing stays behind
        raise AssertionError(f"the hub did not get ready: {text}")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)
        assert self.process.stderr is not None
        self.process.stderr.close()

    def terminate(self, timeout: float = 30.0) -> int:
        """SIGTERM; returns the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.terminate()
                return
            self.kill()


def run_hub(
    *arguments: str | Path, env: dict[str, str] | None = None, cwd: Path | None = None, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "hub", *map(str, arguments)],
        capture_output=True, text=True, timeout=timeout, cwd=cwd, env={**os.environ, **(env or {})}, check=False,
    )  # fmt: skip


def json_lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


# Messages.


def adt(
    control_id: str,
    mrn: str = "00042",
    *,
    trigger: str = "A04",
    family: str = "DOE",
    given: str = "JANE",
    more: tuple[str, ...] = (),
) -> bytes:
    pid = segment("PID", f1="1", f3=f"{mrn}^^^RIVER^MR", f5=f"{family}^{given}", f7="19800229", f8="F")
    return message(header(f"ADT^{trigger}", control_id), segment("EVN", f1=trigger), pid, *more)


def in1(member: str = "W100", payer: str = "60054", **fields: str) -> str:
    return segment("IN1", f1="1", f2="PPO", f3=payer, f4="AETNA", f17="SEL", f22="1", f36=member, **fields)


def siu(
    control_id: str,
    appointment: str,
    starts: str,
    mrn: str = "00042",
    *,
    trigger: str = "S12",
    family: str = "DOE",
    given: str = "JANE",
) -> bytes:
    sch = segment("SCH", f1=f"P{appointment}", f2=appointment, f8="OFFICE", f11=f"^^^{starts}")
    pid = segment("PID", f1="1", f3=f"{mrn}^^^RIVER^MR", f5=f"{family}^{given}", f7="19800229", f8="F")
    return message(header(f"SIU^{trigger}", control_id), sch, pid)


@contextlib.contextmanager
def environment(**values: str) -> Iterator[None]:
    """Environment variables for a while."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
