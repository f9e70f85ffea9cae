"""A hub that starts on a long queue: ready in seconds, in bounded memory, and at once at work in the right order.

50,000 messages here; a million with CLINIC_HUB_LONG=1.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from pathlib import Path

import pytest

from connectors.simulators.ehr import EhrClient, EhrServer
from hub.bus.core import Core, open_core
from hub.clinic import load_clinic
from hub.message import Message
from hub.store.rows import NewWork, Write
from tests.chaos.rig import CLINIC
from tests.chaos.test_kills import keep_figures
from tests.support import HubProcess, adt, clinic_folder, free_port, until

LONG = bool(os.environ.get("CLINIC_HUB_LONG"))
WRITTEN = 50_000
"""Messages that are written as a hub writes them."""
QUEUED = 1_000_000 if LONG else WRITTEN
"""With those that are copied from them behind them, which no test waits for: their bodies cannot be opened."""
PATIENTS = 5000
READY_WITHIN = 10.0
"""Seconds from the start of the process."""
AT_ONCE = 1000

pytestmark = pytest.mark.timeout(3000 if LONG else 120)


async def fill(core: Core, count: int) -> None:
    """Messages that wait to be sent, as a flow leaves them: patient after patient, each with its number."""
    for begin in range(0, count, AT_ONCE):
        write = Write()
        for number in range(begin, min(begin + AT_ONCE, count)):
            patient = f"P{number % PATIENTS:04d}"
            message = Message(adt(f"{patient}-{number // PATIENTS + 1}", patient), "hl7v2", id=f"b{number:019d}")
            keys = core.filing.keys(message, {})
            row = await core.bodies.row(
                message, connection="pms", direction="out", at=time.time_ns() // 1000, control_id=keys.control_id
            )
            row.keys = core.filing.rows(keys)
            row.works = [NewWork("to:pms", *core.filing.lanes(keys, "ehr"), step="forward/")]
            core.bodies.forget(message.id)
            write.messages.append(row)
        await core.journal.commit(write)


def multiply(store: Path, times: int) -> None:
    """As many again, with everything they have in the store, until there are so many times as many."""
    connection = sqlite3.connect(store)
    seqs, works = (connection.execute(f"SELECT max({what}) FROM {table}").fetchone()[0] for what, table in _NUMBERS)
    for number in range(1, times):
        moved = {"seq": f"seq + {number * seqs}"}
        _copy(connection, "message", {**moved, "id": f"id || '-{number}'"})
        _copy(connection, "message_key", moved)
        _copy(connection, "work", {**moved, "id": f"id + {number * works}"})
    connection.commit()
    connection.close()


_NUMBERS = (("seq", "message"), ("id", "work"))


def _copy(connection: sqlite3.Connection, table: str, changed: dict[str, str]) -> None:
    names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    values = ", ".join(changed.get(name, name) for name in names)
    connection.execute(f"INSERT INTO {table} SELECT {values} FROM {table} WHERE seq <= {WRITTEN}")


def memory(pid: int, what: str) -> float:
    """Megabytes: VmRSS now, VmHWM at most so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(what)).split()[1]) / 1024


def pid_of(hub: HubProcess) -> int:
    assert hub.process is not None
    return hub.process.pid


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
async def test_a_hub_with_a_long_queue_is_ready_within_ten_seconds_and_in_bounded_memory(tmp_path: Path) -> None:
    arrived: dict[str, list[int]] = {}
    gate = asyncio.Event()

    def script(body: bytes, control_id: str, tries: int) -> str:
        if not gate.is_set():
            return "close"
        patient, _, number = control_id.partition("-")
        arrived.setdefault(patient, []).append(int(number))
        return "AA"

    async with EhrServer(script=script) as pms:
        port = free_port()
        text = CLINIC.replace("@IN@", str(port)).replace("@OUT@", str(pms.port)).replace("@PARALLEL@", "8")
        file = clinic_folder(tmp_path, text)
        with HubProcess(file) as empty:
            base = memory(pid_of(empty), "VmHWM")
        core = await open_core(load_clinic(file))
        await fill(core, WRITTEN)
        await core.close()
        if QUEUED > WRITTEN:
            await asyncio.to_thread(multiply, tmp_path / "var" / "hub.db", QUEUED // WRITTEN)
        hub = HubProcess(file)
        began = time.monotonic()
        await asyncio.to_thread(hub.start, 120)
        ready = time.monotonic() - began
        with hub_ends(hub):
            async with EhrClient("127.0.0.1", port) as ehr:
                began = time.monotonic()
                assert (await ehr.send(adt("FRESH-1", "FRESH"))).code == "AA"
                first_answer = time.monotonic() - began
                gate.set()
                some = min(QUEUED, 20_000) if LONG else 1000
                began = time.monotonic()
                await until(lambda: sum(map(len, arrived.values())) >= some, timeout=120)
                took = time.monotonic() - began
            most = memory(pid_of(hub), "VmHWM")
    keep_figures(
        "backlog",
        queued=QUEUED,
        ready_s=ready,
        first_answer_s=first_answer,
        empty_mb=base,
        most_mb=most,
        drained_per_s=some / took,
    )
    assert ready < READY_WITHIN
    assert most < base + 100, "a queue on disk is no queue in memory"
    for patient, numbers in arrived.items():
        assert numbers == sorted(set(numbers)), f"{patient} out of order"


class hub_ends:  # noqa: N801 - reads as a sentence
    """Kills the hub in the end: it has more to do than a test has time for."""

    def __init__(self, hub: HubProcess) -> None:
        self.hub = hub

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        self.hub.kill()
