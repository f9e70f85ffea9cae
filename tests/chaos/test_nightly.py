"""kill -9 at random moments of a night of checks: each visit ends as it would have, and no payer is asked in vain.

The clearinghouse's ledger is the judge.  A question whose answer was on its way when the hub died is asked again, under the
same numbers: that is the price of a kill, and it is counted.  Nothing else may be asked twice.

`CLINIC_HUB_LONG=1` kills a hundred times in a night of six hundred visits; raw figures go to benchmarks/results.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from connectors.simulators.clearinghouse import Clearinghouse, Entry
from connectors.simulators.ehr import EhrClient
from connectors.simulators.night import Night
from hub.cli.operate import operate
from hub.errors import HubError
from hub.security.seal import new_key, write_key
from tests.chaos.nursery import Hub, Nursery
from tests.chaos.test_kills import keep_figures
from tests.support import free_port, until

LONG = bool(os.environ.get("CLINIC_HUB_LONG"))
VISITS, KILLS = (600, 100) if LONG else (60, 8)
PARALLEL = 4
DELAY = 0.3
"""Seconds each answer takes."""
GRACE = 0.3
"""Most seconds between an answer that left the clearinghouse and its mark on the hub's disk, on a busy machine."""
TIMEOUT = "5s" if LONG else "3s"
"""Of a question; far longer than an answer takes, so that a machine that is busy is not taken for a payer that is silent."""
PATIENCE = 600.0 if LONG else 60.0


@dataclass
class Rig:
    """A night, the clearinghouse and a hub that is killed."""

    night: Night
    house: Clearinghouse
    hub: Hub
    port: int
    deaths: list[tuple[float, float]] = field(default_factory=list)
    """When each kill was sent, and when the hub was gone."""
    in_flight: int = 0
    """Questions that were out at a kill, of all kills."""

    async def start(self) -> None:
        await asyncio.to_thread(self.hub.start)

    async def kill(self) -> None:
        began = time.time()
        self.in_flight += self.house.under_way
        await asyncio.to_thread(self.hub.kill)
        self.deaths.append((began, time.time()))

    async def send(self, bodies: Iterable[bytes]) -> None:
        """As an EHR does: each message again, until it is acknowledged."""
        for body in bodies:
            while True:
                try:
                    async with EhrClient("127.0.0.1", self.port) as ehr:
                        assert (await ehr.send(body, timeout=5.0)).code == "AA"
                        break
                except (OSError, TimeoutError):
                    await asyncio.sleep(0.01)

    async def outcomes(self) -> dict[str, str]:
        params = {"date": self.night.day.isoformat()}
        try:
            lines: list[dict[str, Any]] = await asyncio.to_thread(
                operate, str(self.hub.file), "eligibility.list", params, running=True
            )
        except HubError:
            return {}
        return {line["appointment"]: line["outcome"] for line in lines}

    async def decided(self) -> bool:
        found = await self.outcomes()
        return len(found) == self.night.visits and not {"pending", "payer_unavailable"} & set(found.values())

    # The judge.

    def asked_in_vain(self) -> list[Entry]:
        """Questions that had been answered and were asked again without a reason."""
        return [entry for entry in self.house.ledger.needless() if not self._has_reason(entry)]

    def _has_reason(self, entry: Entry) -> bool:
        """The asking before was not answered, or its answer was on its way when the hub died; and it is the same question."""
        before = self.house.ledger.before(entry)[-1]
        same = (before.control_number, before.trace) == (entry.control_number, entry.trace)
        return same and (not before.answered or self._death_after(before, entry) is not None)

    def _death_after(self, before: Entry, entry: Entry) -> int | None:
        """The kill that met an asking, or its answer on its way."""
        for number, (sent, gone) in reversed(list(enumerate(self.deaths))):
            met = not before.answered or (before.ended_at is not None and sent - GRACE <= before.ended_at)
            if before.at <= gone <= entry.at and met:
                return number
        return None

    def asked_again(self) -> Counter[int]:
        """How many each kill cost."""
        needless = self.house.ledger.needless()
        found = [self._death_after(self.house.ledger.before(entry)[-1], entry) for entry in needless]
        return Counter(number for number in found if number is not None)


@asynccontextmanager
async def rig(folder: Path, nursery: Nursery) -> AsyncIterator[Rig]:
    night = Night(VISITS, datetime.now(UTC).date() + timedelta(days=3))
    async with Clearinghouse(night.members()) as house:
        house.behaviour.delay = DELAY
        port = free_port()
        text = night.clinic(port=port, house=house.base, parallel=PARALLEL, timeout=TIMEOUT, again="200ms")
        (folder / "payers.csv").write_text(night.payers())
        (folder / "secret").write_text("demo-secret")
        (folder / "clinic.yaml").write_text(text)
        write_key(folder / "hub.key", new_key())
        hub = Hub(nursery, folder / "clinic.yaml")
        try:
            yield Rig(night, house, hub, port)
        finally:
            hub.close()


async def test_a_night_without_a_kill(tmp_path: Path, nursery: Nursery) -> None:
    """What the nights with kills are measured by."""
    async with rig(tmp_path, nursery) as it:
        await it.start()
        await it.send(it.night.registrations())
        await it.send(it.night.bookings())
        await until(it.decided, PATIENCE)
        assert await it.outcomes() == it.night.outcomes()
        assert it.house.ledger.needless() == []
        again = sum(it.night.is_unavailable(n) or it.night.is_silent(n) for n in range(VISITS))
        assert len(it.house.ledger.entries) == VISITS + again


async def test_a_night_ends_the_same_however_often_the_hub_is_killed(tmp_path: Path, nursery: Nursery) -> None:
    chance = random.Random(5)
    began = time.monotonic()
    async with rig(tmp_path, nursery) as it:
        await it.start()
        await it.send(it.night.registrations())
        booking = asyncio.create_task(it.send(it.night.bookings()))
        while len(it.deaths) < KILLS:
            await asyncio.sleep(chance.uniform(0.2, 0.8))
            await it.kill()
            await it.start()
        await booking
        await until(it.decided, PATIENCE)
        outcomes = await it.outcomes()
    keep_figures(
        "nightly",
        seconds=time.monotonic() - began,
        visits=VISITS,
        kills=len(it.deaths),
        questions=len(it.house.ledger.entries),
        in_flight_at_kills=it.in_flight,
        asked_again_after_kills=sum(it.asked_again().values()),
    )
    assert outcomes == it.night.outcomes()
    assert it.in_flight > 0, "no kill met a question that was out"
    vain = [(e.member, e.control_number, e.at) for e in it.asked_in_vain()]
    assert vain == []
    assert max(it.asked_again().values(), default=0) <= PARALLEL, "a kill costs what was on its way, no more"
