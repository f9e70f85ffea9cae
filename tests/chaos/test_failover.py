"""A primary dies for good under load and its synchronous standby takes over: the hub finds it by itself, nothing that was
acknowledged is lost, and order holds.

`CLINIC_HUB_LONG=1` fails over twenty times, with a new standby made from the new primary each time.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.store.postgres import PostgresWriter
from hub.store.postgres_opening import migrate
from hub.store.rows import NewMessage, Write
from tests.chaos.nursery import Nursery
from tests.chaos.rig import CLINIC, Rig
from tests.chaos.test_kills import LONG, figures, keep_figures
from tests.postgres import Pair, execute
from tests.support import until

FAILOVERS = 20 if LONG else 2

pytestmark = pytest.mark.timeout(1200 if LONG else 120)


@pytest.fixture
def pair() -> Iterator[Pair]:
    found = Pair()
    try:
        found.start()
        yield found
    finally:
        found.remove()


def rig_on(pair: Pair, folder: Path, nursery: Nursery, clinic: str = CLINIC) -> Rig:
    execute(pair.primary.url("postgres"), "CREATE DATABASE hub")
    return Rig(folder, nursery, patients=8, senders=4, store=pair.url("hub"), clinic=clinic)


async def goes_on(rig: Rig, within: float = 30.0) -> float:
    """Seconds until eight more have been acknowledged."""
    clock = asyncio.get_running_loop().time
    began, before = clock(), rig.sent.count("AA")
    while rig.sent.count("AA") < before + 8:
        assert rig.hub.running, f"the hub ended: {rig.hub.said}"
        assert clock() - began < within, f"the hub does not go on: {rig.hub.said}"
        await asyncio.sleep(0.01)
    return clock() - began


async def test_a_primary_that_dies_costs_nothing_that_was_acknowledged_when_its_standby_takes_over(
    tmp_path: Path, nursery: Nursery, pair: Pair
) -> None:
    slowest = 0.0
    async with await asyncio.to_thread(rig_on, pair, tmp_path, nursery) as rig:
        await rig.start()
        rig.send()
        for number in range(FAILOVERS):
            await asyncio.sleep(rig.chance.uniform(0.3, 0.8))
            await asyncio.to_thread(pair.primary.stop, signal.SIGKILL)
            rig.kills += 1  # what was sent and not yet marked may come once more, as after a kill of the hub
            await asyncio.to_thread(pair.fail_over)
            slowest = max(slowest, await goes_on(rig))
            if number + 1 < FAILOVERS:
                await asyncio.to_thread(pair.add_standby)
        verdict = await rig.settle(60)
    keep_figures("failovers", failovers=FAILOVERS, slowest_to_go_on_s=slowest, **figures(verdict))
    assert verdict.wrong == {}
    assert verdict.repeats <= rig.repeats_allowed()


async def test_what_only_the_primary_has_is_not_acknowledged_not_even_after_its_restart(
    tmp_path: Path, nursery: Nursery, pair: Pair
) -> None:
    """A commit that waited for its standby when the primary crashed is in the primary's log: the hub finds it there
    afterwards, and must still wait for the standby before it says so, for the standby may be all that is left.
    """
    async with await asyncio.to_thread(rig_on, pair, tmp_path, nursery, f"lease: 60s{CLINIC}") as rig:
        await rig.start()
        for sender in rig.senders:
            sender.most = 2
        rig.send()
        await rig.all_sent()
        await until(lambda: pair.primary.query("hub", _OPEN)[0][0] == 0)
        receiver = pair.standby.query("postgres", "SELECT pid FROM pg_stat_wal_receiver")[0][0]
        os.kill(receiver, signal.SIGSTOP)
        for sender in rig.senders:
            sender.most, sender.patience = None, 60.0
        rig.send()
        await until(lambda: pair.primary.query("postgres", _WRITER_WAITS)[0][0])
        acknowledged = rig.sent.count("AA")
        await asyncio.to_thread(pair.primary.stop)
        await asyncio.to_thread(pair.primary.start)
        await until(lambda: pair.primary.query("postgres", _WRITER_WAITS)[0][0] or rig.sent.count("AA") > acknowledged)
        await asyncio.sleep(0.5)
        kept = pair.primary.query("hub", "SELECT count(*) FROM message WHERE direction = 'in'")[0][0]
        assert kept > acknowledged, "nothing was in the log of the primary alone: this tests nothing"
        assert rig.sent.count("AA") == acknowledged
        await asyncio.to_thread(pair.primary.stop, signal.SIGKILL)
        os.kill(receiver, signal.SIGCONT)
        rig.kills += 2
        await asyncio.to_thread(pair.fail_over)
        await goes_on(rig)
        verdict = await rig.settle(60)
    assert verdict.wrong == {}
    assert verdict.repeats <= rig.repeats_allowed()


async def test_a_resend_to_another_hub_is_not_acknowledged_before_the_standby_has_what_it_repeats(pair: Pair) -> None:
    """The first one's session was ended while it waited for the standby: then others see what it has written."""
    execute(pair.primary.url("postgres"), "CREATE DATABASE hub")
    await migrate(pair.url("hub"), "")
    first, second = PostgresWriter(pair.url("hub")), PostgresWriter(pair.url("hub"))
    await first.open()
    joining = asyncio.create_task(second.open())
    await until(lambda: joining.done() or pair.primary.query("hub", "SELECT count(*) FROM node") == [(2,)])
    await first.know()
    await joining
    receiver = pair.standby.query("postgres", "SELECT pid FROM pg_stat_wal_receiver")[0][0]
    os.kill(receiver, signal.SIGSTOP)
    try:
        sending = asyncio.create_task(first.apply([Write(messages=[received()])]))
        await until(lambda: pair.primary.query("postgres", _WRITER_WAITS)[0][0])
        waits = _WRITER_WAITS.replace("count(*)", "pg_terminate_backend(pid)")
        pair.primary.query("postgres", waits)
        await until(lambda: pair.primary.query("hub", "SELECT count(*) FROM message") == [(1,)])
        again = received()
        resending = asyncio.create_task(second.apply([Write(messages=[again])]))
        await asyncio.sleep(1.0)
        assert not resending.done()
        assert not sending.done()
    finally:
        os.kill(receiver, signal.SIGCONT)
    await asyncio.gather(sending, resending)
    assert again.duplicate
    await first.close()
    await second.close()


def received() -> NewMessage:
    return NewMessage(
        id="m", at=1, connection="c", direction="in", format="bytes", type="ADT^A04", control_id="m", parent=None, generation=0,
        size=4, digest=b"d", body=b"body", works=[], seen_key=b"key", keys=[],
    )  # fmt: skip


_OPEN = "SELECT count(*) FROM work WHERE state IN ('waiting', 'working')"
_WRITER_WAITS = """SELECT count(*) FROM pg_stat_activity
    WHERE application_name = 'clinic-hub' AND wait_event = 'SyncRep' AND query NOT LIKE 'UPDATE node SET until%'"""
