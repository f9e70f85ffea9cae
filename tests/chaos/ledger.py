"""Senders and a receiver that remember everything, outside of the hub, and a checker: lost, repeated, reordered."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections import defaultdict
from dataclasses import dataclass, field

from connectors.simulators.ehr import EhrClient, EhrServer
from tests.support import adt


@dataclass(slots=True)
class Ledger:
    """What was acknowledged to senders, and what arrived at the receiver."""

    acknowledged: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    """Numbers by patient, in the order of their acknowledgements."""
    arrived: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    """Numbers by patient, as accepted by the receiver, repeats included."""

    def lost(self) -> list[str]:
        """Acknowledged to the sender, never delivered."""
        return [f"{p}-{n}" for p, numbers in self.acknowledged.items() for n in numbers if n not in set(self.arrived[p])]

    def reordered(self) -> list[str]:
        """First deliveries that came behind a later message of the same patient."""
        found = []
        for patient, numbers in self.arrived.items():
            firsts = list(dict.fromkeys(numbers))
            found += [f"{patient}-{n} after {m}" for m, n in itertools.pairwise(firsts) if n < m]
        return found

    def old_repeats(self) -> list[str]:
        """Repeats of a message that was not the newest of its patient: more than a crash may cause."""
        found = []
        for patient, numbers in self.arrived.items():
            newest = 0
            for n in numbers:
                if n < newest:
                    found.append(f"{patient}-{n} again after {newest}")
                newest = max(newest, n)
        return found

    def complete(self) -> bool:
        return not self.lost()


class Sender:
    """Sends the messages of a few patients, one at a time; sends again under the same id until each is acknowledged."""

    def __init__(self, port: int, patients: list[str], ledger: Ledger) -> None:
        self.port, self.patients, self.ledger = port, patients, ledger
        self.stop = False

    async def run(self) -> None:
        numbers = dict.fromkeys(self.patients, 0)
        while not self.stop:
            try:
                async with EhrClient("127.0.0.1", self.port) as ehr:
                    while not self.stop:
                        for patient in self.patients:
                            await self._one(ehr, patient, numbers)
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                await asyncio.sleep(0.02)  # the hub was killed: connect again, send again

    async def _one(self, ehr: EhrClient, patient: str, numbers: dict[str, int]) -> None:
        number = numbers[patient] + 1
        answer = await ehr.send(adt(f"{patient}-{number}", patient, family=f"PATIENT{patient}"), timeout=5.0)
        if answer.code == "AA":
            numbers[patient] = number
            self.ledger.acknowledged[patient].append(number)


@contextlib.asynccontextmanager
async def receiver(ledger: Ledger, refuse: float, seed: int):  # type: ignore[no-untyped-def]  # an async generator of EhrServer
    """Accepts messages and notes them; refuses a share of first tries."""
    chance = random.Random(seed)

    def script(body: bytes, control_id: str, tries: int) -> str:
        if tries == 0 and chance.random() < refuse:
            return "AE"
        patient, _, number = control_id.partition("-")
        ledger.arrived[patient].append(int(number))
        return "AA"

    async with EhrServer(script=script) as server:
        yield server
