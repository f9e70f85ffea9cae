"""One statement of the writer fails, whichever it is, because the disk is full or broken; or a sync of a large body does.

Nothing acknowledged is lost or out of order.  On a full disk the hub goes on by itself; on a broken one it stops, and never
tries again as if nothing had happened.  Here every 29th statement, all of them with CLINIC_HUB_LONG=1; each call of the
system below SQLite is failed in tests/system.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from connectors.simulators.ehr import EhrClient, EhrServer
from hub.bus import bodyfiles
from tests.chaos.history import Event, check
from tests.chaos.rig import CLINIC
from tests.chaos.test_kills import LONG
from tests.support import adt, clinic_folder, port_of, running_hub, settled, until

MESSAGES = [("A", 1), ("B", 1), ("A", 2), ("C", 1), ("A", 3), ("B", 2)]
EVERY = 1 if LONG else 29


class Faulty:
    """A connection of SQLite whose Nth statement fails."""

    def __init__(self, connection: Any, fail_at: int, error: str) -> None:
        self._connection, self._fail_at, self._error = connection, fail_at, error
        self.statements = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def _count(self, statement: str) -> None:
        self.statements += 1
        if self.statements == self._fail_at and "ROLLBACK" not in statement:
            raise sqlite3.OperationalError(self._error)

    def execute(self, statement: str, *values: Any) -> Any:
        self._count(statement)
        return self._connection.execute(statement, *values)

    def executemany(self, statement: str, *values: Any) -> Any:
        self._count(statement)
        return self._connection.executemany(statement, *values)


@dataclass(slots=True)
class FarSides:
    """What was sent, acknowledged and taken."""

    sender: list[Event] = field(default_factory=list)
    receiver: list[Event] = field(default_factory=list)

    def script(self, body: bytes, control_id: str, tries: int) -> str:
        patient, _, number = control_id.partition("-")
        self.receiver.append(Event("taken", patient, int(number), ""))
        return "AA"

    async def send_all(self, port: int) -> None:
        """What is not acknowledged yet, in order, each until it is; ends early when nobody listens any more."""
        done = {(event.patient, event.number) for event in self.sender if event.what == "AA"}
        for patient, number in MESSAGES:
            while (patient, number) not in done:
                self.sender.append(Event("sent", patient, number, ""))
                with contextlib.suppress(ConnectionResetError, asyncio.IncompleteReadError):
                    async with EhrClient("127.0.0.1", port) as ehr:
                        if (await ehr.send(adt(f"{patient}-{number}", patient), timeout=3)).code == "AA":
                            self.sender.append(Event("AA", patient, number, ""))
                            break
                await asyncio.sleep(0.01)


async def run(folder: Path, fail_at: int, error: str) -> tuple[int, bool]:
    """Statements of the scenario, and whether the hub stopped."""
    sides = FarSides()
    async with EhrServer(script=sides.script) as pms:
        text = CLINIC.replace("@IN@", "0").replace("@OUT@", str(pms.port)).replace("@PARALLEL@", "2")
        file = clinic_folder(folder, text)
        async with running_hub(file) as hub:
            faulty = Faulty(hub.core.store.writer.connection, fail_at, error)
            hub.core.store.writer.connection = faulty  # type: ignore[assignment]
            sending = asyncio.create_task(sides.send_all(port_of(hub, "ehr")))
            await asyncio.wait([sending, hub.failed], timeout=10, return_when=asyncio.FIRST_COMPLETED)
            stopped = hub.failed.done()
            if not stopped:
                await until(lambda: hub.failed.done() or len(sides.receiver) >= len(MESSAGES))
                await asyncio.wait([asyncio.create_task(settled(hub)), hub.failed], return_when=asyncio.FIRST_COMPLETED)
                stopped = hub.failed.done()
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        async with running_hub(file) as hub:
            await sides.send_all(port_of(hub, "ehr"))
            await settled(hub)
    verdict = check(sides.sender, sides.receiver)
    assert verdict.wrong == {}, f"statement {fail_at}: {error}"
    assert verdict.arrived == len(MESSAGES)
    return faulty.statements, stopped


@pytest.mark.parametrize(
    ("error", "stops"), [("database or disk is full", False), ("disk I/O error", True)], ids=["full", "broken"]
)
async def test_whichever_statement_fails_nothing_acknowledged_is_lost(tmp_path: Path, error: str, stops: bool) -> None:
    statements, stopped = await run(tmp_path / "whole", 0, error)
    assert not stopped
    assert statements > 30
    ends = [
        (await run(tmp_path / str(number), number, error))[1] for number in range(1 + len(error) % EVERY, statements, EVERY)
    ]
    assert all(ends) if stops else not any(ends)


async def test_a_large_body_that_cannot_be_synced_ends_the_hub_and_is_not_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of its syncs fails: of the file, of its folder, of the folder above."""
    large = adt("L-1", "L", more=("NTE|1||" + "x" * 300_000,))
    text = CLINIC.replace("@IN@", "0").replace("@OUT@", "9").replace("@PARALLEL@", "2")
    real = os.fsync
    for number in (1, 2, 3):
        calls = 0

        def failing(handle: int, number: int = number) -> None:
            nonlocal calls
            calls += 1
            if calls == number:
                raise OSError(5, "Input/output error")
            real(handle)

        async with running_hub(clinic_folder(tmp_path / str(number), text)) as hub:
            with monkeypatch.context() as patched:
                patched.setattr(bodyfiles.os, "fsync", failing)
                async with EhrClient("127.0.0.1", port_of(hub, "ehr")) as ehr:
                    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                        await ehr.send(large, timeout=3)
                await asyncio.wait_for(hub.failed, 5)
            assert "cannot be brought to disk" in str(hub.failed.result())
