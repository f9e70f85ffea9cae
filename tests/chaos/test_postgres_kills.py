"""On PostgreSQL: the server dies under load and comes back, the hub is killed at every stage, and hubs that are broken on
purpose are found out by the campaigns of test_mutants.py.  Nothing acknowledged is lost, and nobody has to help.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from hub.bus.failpoints import STAGES
from tests import support
from tests.chaos.nursery import Nursery
from tests.chaos.rig import Rig
from tests.chaos.test_kills import LONG, figures, keep_figures
from tests.chaos.test_mutants import CAMPAIGNS
from tests.postgres import Server
from tests.support import until

KILLS = 40 if LONG else 2
ROUNDS = 10 if LONG else 1
"""Through all stages."""
MUTANTS = ("ack_before_commit", "dedupe_off", "ordering_key_dropped", "marks_not_awaited")
"""Those whose campaigns work on any store."""


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


async def test_a_kill_at_any_stage_costs_nothing_that_was_acknowledged(
    tmp_path: Path, nursery: Nursery, server: Server
) -> None:
    store = await asyncio.to_thread(server.database, "hub")
    async with Rig(tmp_path, nursery, patients=6, senders=3, large=0.3, refuse=0.3, store=store) as rig:
        rig.send()
        for number in range(ROUNDS):
            for place, stage in enumerate(STAGES):
                with contextlib.suppress(AssertionError):  # some stages are passed before a hub is ready
                    await rig.start(failpoints=f"kill@{stage}:{1 + (7 * number + place) % 5}")
                await rig.killed()
        await rig.start()
        before = rig.sent.count("AA")
        await until(lambda: rig.sent.count("AA") >= before + 6)
        verdict = await rig.settle(60)
    keep_figures("postgres_stages", kills=rig.kills, **figures(verdict))
    assert verdict.wrong == {}
    assert verdict.repeats <= rig.repeats_allowed()


@pytest.fixture
def fresh_stores(server: Server) -> Iterator[Callable[[], None]]:
    """Each call gives the clinics that are written from now on a new database."""
    names = count(1)

    def renew() -> None:
        del support.STORE[1:]
        support.STORE.append(server.database(f"hub{next(names)}"))

    yield renew
    del support.STORE[1:]


@pytest.mark.parametrize("mutant", MUTANTS)
async def test_a_hub_that_is_broken_is_found_out(
    tmp_path: Path, nursery: Nursery, fresh_stores: Callable[[], None], mutant: str
) -> None:
    await asyncio.to_thread(fresh_stores)
    assert not await CAMPAIGNS[mutant](tmp_path / "whole", nursery, ""), "a whole one has nothing wrong"
    for attempt in range(3):
        await asyncio.to_thread(fresh_stores)
        if await CAMPAIGNS[mutant](tmp_path / str(attempt), nursery, mutant):
            return
    raise AssertionError("the campaign is blind")
