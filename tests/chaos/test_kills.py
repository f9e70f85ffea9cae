"""kill -9 at random moments: nothing that was acknowledged is lost, and every patient's messages arrive in order.

The same campaign runs against two variants that are broken on purpose, and must find them out.
"""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

from tests.chaos.ledger import Ledger, Sender, receiver
from tests.support import HubProcess, clinic_folder, free_port, until

PATIENTS = [f"P{number:02d}" for number in range(40)]
SENDERS = 8
KILLS = 200 if os.environ.get("CLINIC_HUB_LONG") else 20
CLINIC = """
connections:
  ehr: {kind: mllp_listener, port: "@IN@"}
  pms:
    {kind: mllp_sender, host: 127.0.0.1, port: "@OUT@", parallel: "8", timeout: 5s,
     retry: {first: 20ms, most: 100ms, attempts: "50"}}
flows:
  forward: {from: ehr, steps: [{send: pms}]}
"""


async def campaign(folder: Path, kills: int, *, failpoint: str = "", seed: int = 1, stop_at_violation: bool = False) -> Ledger:
    """Sends, kills and restarts; returns the ledger once everything has had its time to arrive."""
    ledger, chance, port = Ledger(), random.Random(seed), free_port()
    async with receiver(ledger, refuse=0.05, seed=seed) as pms:
        file = clinic_folder(folder, CLINIC.replace("@IN@", str(port)).replace("@OUT@", str(pms.port)))
        hub = HubProcess(file, env={"CLINIC_HUB_FAILPOINTS": failpoint})
        senders = [Sender(port, PATIENTS[n::SENDERS], ledger) for n in range(SENDERS)]
        await asyncio.to_thread(hub.start)
        tasks = [asyncio.create_task(sender.run()) for sender in senders]
        try:
            for _ in range(kills):
                await asyncio.sleep(chance.uniform(0.05, 0.4))
                hub.kill()
                if stop_at_violation and ledger.reordered():
                    break
                await asyncio.to_thread(hub.start)
        finally:
            for sender in senders:
                sender.stop = True
            if hub.process is not None and hub.process.poll() is None:
                await asyncio.wait(tasks, timeout=10)
            for task in tasks:
                task.cancel()
        if hub.process is not None and hub.process.poll() is None:
            if not failpoint:
                await until(ledger.complete, timeout=60)
            else:
                await asyncio.sleep(1.0)
            assert await asyncio.to_thread(hub.terminate) == 0
    return ledger


async def test_nothing_acknowledged_is_lost_and_order_holds_over_twenty_kills(tmp_path: Path) -> None:
    ledger = await campaign(tmp_path, KILLS)
    acknowledged = sum(len(numbers) for numbers in ledger.acknowledged.values())
    assert acknowledged > 20 * KILLS, "the campaign was no load"
    assert len(ledger.acknowledged) == len(PATIENTS)
    assert ledger.lost() == []
    assert ledger.reordered() == []
    assert ledger.old_repeats() == []


async def test_the_campaign_finds_out_a_hub_that_acknowledges_before_the_commit(tmp_path: Path) -> None:
    for attempt in range(5):
        ledger = await campaign(tmp_path / str(attempt), 4, failpoint="ack_before_commit", seed=attempt)
        if ledger.lost():
            return
    raise AssertionError("20 kills of a hub that acknowledges too early lost nothing: the campaign is blind")


async def test_the_campaign_finds_out_a_hub_that_drops_the_ordering_key(tmp_path: Path) -> None:
    ledger = await campaign(tmp_path, 20, failpoint="ordering_key_dropped", stop_at_violation=True)
    assert ledger.reordered(), "a hub without ordering keys kept the order: the campaign is blind"
