"""PostgreSQL dies under load and comes back, and so does the hub: nothing acknowledged is lost, and nobody has to help."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.nursery import Nursery
from tests.chaos.rig import Rig
from tests.chaos.test_kills import LONG, figures, keep_figures
from tests.postgres import Server

KILLS = 40 if LONG else 2


@pytest.fixture
def server() -> Iterator[Server]:
    """One of its own: others use the one of the session."""
    found = Server()
    found.make()
    found.start()
    try:
        yield found
    finally:
        found.remove()


async def test_a_database_that_dies_and_comes_back_costs_nothing_that_was_acknowledged(
    tmp_path: Path, nursery: Nursery, server: Server
) -> None:
    slowest = 0.0
    async with Rig(tmp_path, nursery, patients=8, senders=4, store=await asyncio.to_thread(server.database, "hub")) as rig:
        await rig.start()
        rig.send()
        for number in range(KILLS):
            await asyncio.sleep(rig.chance.uniform(0.2, 0.6))
            await asyncio.to_thread(server.stop)
            rig.kills += 1  # what was sent and not yet marked may come once more, as after a kill of the hub
            if number % 2:
                await rig.kill()
            await asyncio.sleep(rig.chance.uniform(0.0, 0.5))
            await asyncio.to_thread(server.start)
            if number % 2:
                await rig.start()
            assert rig.hub.running, f"the hub ended: {rig.hub.said}"
            back, before = asyncio.get_running_loop().time(), rig.sent.count("AA")
            while rig.sent.count("AA") < before + 8:
                assert asyncio.get_running_loop().time() - back < 30, f"the hub does not go on: {rig.hub.said}"
                await asyncio.sleep(0.01)
            slowest = max(slowest, asyncio.get_running_loop().time() - back)
        verdict = await rig.settle(60)
    keep_figures("postgres_kills", kills=KILLS, slowest_to_go_on_s=slowest, **figures(verdict))
    assert verdict.wrong == {}
    assert verdict.repeats <= rig.repeats_allowed()
    kept = await asyncio.to_thread(server.query, "hub", "SELECT count(*) FROM message WHERE direction = 'in'")
    assert kept[0][0] >= verdict.acknowledged, "it was another store that was killed"
