"""Large documents at once through a hub: how much memory they take above idle, and how long its event loop stands still.

    python benchmarks/documents.py [--json] [--count 10] [--mebibytes 64] [--to folder|http]

Each document comes in by a folder of its own, so that all are on their way at the same time; all leave by one connection.
`times_their_size` is the promise: the most memory the hub had, less what it had before, by the size of all documents.
`event_loop_ms` is the longest time in which the event loop did not turn, whoever was to blame; `event_loop_cpu_ms` what it
computed itself in the longest of its turns, which other work of the machine does not change.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from hub.bus.hub import Hub
from hub.cli.serve import spare_the_collector
from hub.clinic import load_clinic
from hub.security.seal import new_key, write_key

MIB = 1024 * 1024
PAGE = os.sysconf("SC_PAGE_SIZE")
LOOK_EVERY = 0.002
"""Seconds between looks at memory and event loop."""
WITHIN = 300.0
CLINIC = """
organisation: {name: Benchmark, npi: "1234567893"}
sites: {main: {timezone: UTC}}
store: sqlite:///hub.db
log: {level: error}
connections:
"""
OUT = {
    "folder": "{kind: folder, path: OUT, parallel: COUNT}",
    "http": "{kind: http, url: 'http://127.0.0.1:PORT/', parallel: COUNT}",
}


# The hub, in a process of its own.


async def be_the_hub(file: Path) -> None:
    """Runs until its standard input ends; says on standard output what it has when idle, and at its end the most it had."""
    hub = Hub(load_clinic(file))
    await hub.start()
    spare_the_collector()
    idle = memory()
    print(json.dumps({"idle": idle}), flush=True)
    ending = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    most, worst, busiest = idle, 0.0, 0.0
    while not ending.done():
        before, used = time.monotonic(), time.thread_time()
        await asyncio.sleep(LOOK_EVERY)
        worst = max(worst, time.monotonic() - before - LOOK_EVERY)
        busiest = max(busiest, time.thread_time() - used)
        most = max(most, memory())
    print(json.dumps({"most": most, "worst": worst, "busiest": busiest}), flush=True)
    await hub.stop()


def run_as_a_hub_does(work: Coroutine[Any, Any, None]) -> None:
    try:
        import uvloop
    except ImportError:
        asyncio.run(work)
    else:
        uvloop.run(work)


def memory() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


# The world around it.


class Sink:
    """A partner that takes documents over HTTP and counts them."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                left = length
                while left:
                    left -= len(await reader.read(min(left, MIB)))
                self.sizes.append(length)
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def measure(folder: Path, to: str, count: int, mebibytes: int) -> dict[str, Any]:
    sink = Sink()
    server = await asyncio.start_server(sink.serve, "127.0.0.1", 0)
    file = write_clinic(folder, to, count, server.sockets[0].getsockname()[1])
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--hub", file, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        idle = (await told(process.stdout))["idle"]
        for number in range(count):
            await asyncio.to_thread(write_document, folder, number, mebibytes)
        began = time.monotonic()
        for number in range(count):
            (folder / f"{number}.pdf").rename(folder / f"in{number}" / "scan.pdf")
        await arrived(folder, sink, to, count, mebibytes)
        took = time.monotonic() - began
        process.stdin.close()
        found = await told(process.stdout)
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        server.close()
    above = found["most"] - idle
    return {
        "documents": count,
        "mebibytes_each": mebibytes,
        "seconds": round(took, 2),
        "idle_mib": round(idle / MIB),
        "above_idle_mib": round(above / MIB),
        "times_their_size": round(above / (count * mebibytes * MIB), 2),
        "event_loop_ms": round(found["worst"] * 1000, 1),
        "event_loop_cpu_ms": round(found["busiest"] * 1000, 1),
    }


async def told(stdout: asyncio.StreamReader) -> dict[str, Any]:
    """The next thing the hub says; lines of its log are for people."""
    while not (line := await stdout.readline()).startswith(b"{"):
        print(line.decode(), end="", file=sys.stderr)
        if not line:
            raise RuntimeError("the hub ended")
    return dict(json.loads(line))


def write_clinic(folder: Path, to: str, count: int, port: int) -> Path:
    (folder / "out").mkdir()
    text = CLINIC
    for number in range(count):
        (folder / f"in{number}").mkdir()
        text += (
            f"  in{number}: {{kind: folder, path: {folder / f'in{number}'}, every: 50ms, stable_for: 0s, format: document}}\n"
        )
    out = OUT[to].replace("OUT", str(folder / "out")).replace("PORT", str(port)).replace("COUNT", f'"{count}"')
    text += f"  out: {out}\nflows:\n"
    text += "".join(f"  f{number}: {{from: in{number}, steps: [{{send: out}}]}}\n" for number in range(count))
    file = folder / "clinic.yaml"
    file.write_text(text, encoding="utf-8")
    write_key(folder / "hub.key", new_key())
    return file


def write_document(folder: Path, number: int, mebibytes: int) -> None:
    """No two alike: the hub keeps the same bytes once."""
    piece = os.urandom(MIB)
    with (folder / f"{number}.pdf").open("wb") as handle:
        handle.write(b"%PDF-1.7")
        for _ in range(mebibytes - 1):
            handle.write(piece)
        handle.write(piece[8:])


async def arrived(folder: Path, sink: Sink, to: str, count: int, mebibytes: int) -> None:
    def sizes() -> list[int]:
        if to == "http":
            return sink.sizes
        return [path.stat().st_size for path in (folder / "out").iterdir() if not path.name.startswith(".")]

    async with asyncio.timeout(WITHIN):
        while sizes() != [mebibytes * MIB] * count:  # noqa: ASYNC110 - files have no events
            await asyncio.sleep(0.02)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--mebibytes", type=int, default=64)
    parser.add_argument("--to", choices=list(OUT))
    parser.add_argument("--hub", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.hub:
        run_as_a_hub_does(be_the_hub(options.hub))
        return
    for to in [options.to] if options.to else OUT:
        with tempfile.TemporaryDirectory(prefix="clinic-hub-bench-") as folder:
            found = asyncio.run(measure(Path(folder), to, options.count, options.mebibytes))
        line = {"what": f"documents from folders to {to}", **found}
        print(json.dumps(line) if options.json else "  ".join(f"{name} {value}" for name, value in line.items()))


if __name__ == "__main__":
    main()
