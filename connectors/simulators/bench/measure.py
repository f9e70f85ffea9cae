"""One measurement: a real hub, and the bare loop, each in a process of its own between the same far sides."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from connectors.simulators.bench.load import FarSide, Tally
from hub.errors import HubError, Unreachable
from hub.security.seal import new_key, write_key

WARM_UP = 300
"""Messages before those that count."""
PARALLEL = 32
"""Messages under way to the receiver at once."""
_CLINIC = """
organisation: {name: Bench, npi: "1234567893"}
sites:
  main: {timezone: UTC}
store: {STORE}
log: {level: error}
mappings: mappings
connections:
  ehr: {kind: mllp_listener, port: "{IN}"}
{SENDERS}
flows:
  {FLOW}
"""
_SENDER = '  pms: {kind: mllp_sender, host: 127.0.0.1, port: "{OUT}", parallel: "{PARALLEL}"}'
FORWARD = "forward: {from: ehr, steps: [{map: bench_forward}, {send: pms}]}"
_MAPPING = """
about: one field changed, everything else as it came
from: hl7v2
to: hl7v2
fields:
  MSH-6: "'CHANGED'"
"""


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run showed; rates are messages per second, times milliseconds."""

    delivered_per_second: float
    acked_per_second: float
    ack_p50_ms: float
    ack_p99_ms: float
    cpu_us: float
    """Microseconds of CPU of the measured process for each message."""


async def measure_hub(folder: Path, store: str, connections: int, messages: int, run: str = "M") -> Figures:
    """Raises Unreachable when the hub does not start, TimeoutError when messages do not arrive."""
    far = FarSide()
    out_port, in_port = await far.open(), free_port()
    sender = _SENDER.replace("{OUT}", str(out_port)).replace("{PARALLEL}", str(PARALLEL))
    file = write_clinic(folder, store, in_port, sender, FORWARD)
    try:
        async with hub_process(file) as pid:
            return await _measure(far, pid, in_port, connections, messages, run)
    finally:
        await far.close()


async def measure_ceiling(folder: Path, store: str, connections: int, messages: int) -> Figures:
    """The same for the bare loop."""
    far = FarSide()
    out_port, in_port = await far.open(), free_port()
    arguments = ["-m", "connectors.simulators.bench.ceiling", store, str(in_port), str(out_port), str(PARALLEL)]
    try:
        async with _process(arguments, folder) as pid:
            return await _measure(far, pid, in_port, connections, messages)
    finally:
        await far.close()


def hub_process(file: Path) -> AbstractAsyncContextManager[int]:
    """A running hub; its process id."""
    return _process(["-m", "hub", "run", "-c", str(file)], file.parent)


async def _measure(far: FarSide, pid: int, port: int, connections: int, messages: int, run: str = "M") -> Figures:
    await far.run(port, connections, WARM_UP, f"W{run}")
    before = cpu_seconds(pid)
    tally = await far.run(port, connections, messages, run)
    return _figures(tally, cpu_seconds(pid) - before)


def _figures(tally: Tally, cpu: float) -> Figures:
    if tally.refused:
        raise HubError(f"{tally.refused} of {tally.wanted} messages were not accepted; there is nothing to measure")
    return Figures(
        delivered_per_second=round(tally.wanted / (tally.last_arrival - tally.started), 1),
        acked_per_second=round(tally.wanted / (tally.last_ack - tally.started), 1),
        ack_p50_ms=tally.ack_ms(0.5),
        ack_p99_ms=tally.ack_ms(0.99),
        cpu_us=round(cpu / tally.wanted * 1e6, 1),
    )


def write_clinic(folder: Path, store: str, in_port: int, senders: str, flow: str) -> Path:
    """A clinic file with its mapping and key; returns it."""
    text = _CLINIC
    for name, value in {"STORE": store, "IN": in_port, "SENDERS": senders, "FLOW": flow}.items():
        text = text.replace("{" + name + "}", str(value))
    (folder / "mappings").mkdir(exist_ok=True)
    (folder / "mappings" / "bench_forward.yaml").write_text(_MAPPING, encoding="utf-8")
    file = folder / "clinic.yaml"
    file.write_text(text, encoding="utf-8")
    if not (folder / "hub.key").exists():
        write_key(folder / "hub.key", new_key())
    return file


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def cpu_seconds(pid: int) -> float:
    """CPU time a process and those it has begun have used; 0 where the system does not tell in /proc."""
    return sum(_cpu_seconds(process) for process in with_its_own(pid))


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def with_its_own(pid: int) -> list[int]:
    """A process and those it has begun: the writer of a hub's store is one."""
    children: list[int] = []
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            children += map(int, tasks.read_text(encoding="ascii").split())
    return [pid, *(process for child in children for process in with_its_own(child))]


@asynccontextmanager
async def _process(arguments: Sequence[str], folder: Path) -> AsyncIterator[int]:
    """A Python process that says `ready` on stderr; it is stopped at the end.  Raises Unreachable when it ends before."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=folder, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None  # noqa: S101 - it is a pipe
    said = b""
    try:
        async with asyncio.timeout(60):
            while line := await process.stderr.readline():
                said += line
                if line.startswith(b"ready"):
                    break
            else:
                raise Unreachable(f"what is to be measured did not start: {said.decode(errors='replace')[-500:]}")
        yield process.pid
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(30):
                await process.communicate()
        except TimeoutError:
            process.kill()
            await process.communicate()
