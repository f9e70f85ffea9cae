"""A hub between a sender and a receiver that remember everything, to be disturbed and judged.

The sender sends each message again under the same id until it is acknowledged, as an EHR does.  Both note what happens in a
history of their own, on disk, before they go on.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Self

from connectors.simulators.ehr import EhrClient, EhrServer, Script
from tests import support
from tests.chaos.history import History, Verdict, check
from tests.chaos.nursery import Hub, Nursery
from tests.support import adt, clinic_folder, free_port, until

PARALLEL = 8
"""Messages that are on their way to the receiver at once."""
CLINIC = """
connections:
  ehr: {kind: mllp_listener, port: "@IN@"}
  pms:
    {kind: mllp_sender, host: 127.0.0.1, port: "@OUT@", parallel: "@PARALLEL@", timeout: 2s,
     retry: {first: 20ms, most: 100ms, attempts: "50"}}
flows:
  forward: {from: ehr, steps: [{send: pms}]}
"""
LARGE = 300_000
"""Bytes of a body that is kept in a file."""


class Sender:
    """Sends the messages of a few patients in turn on one connection."""

    def __init__(self, port: int, patients: list[str], history: History, *, large: float = 0.0, seed: int = 0) -> None:
        self.port, self.patients, self.history = port, patients, history
        self.chance = random.Random(seed)
        self.large = large
        """Share of messages with a large body."""
        self.repeats = 1
        """How often each message is sent, acknowledged or not."""
        self.patience = 5.0
        """Seconds it waits for an answer."""
        self.stop = False
        self.most: int | None = None
        """Numbers each patient gets to at most; None for as long as it runs."""
        self.numbers = dict.fromkeys(patients, 0)

    async def run(self) -> None:
        while not self.stop:
            try:
                async with EhrClient("127.0.0.1", self.port) as ehr:
                    while not self.stop:
                        for patient in self.patients:
                            if self.most is None or self.numbers[patient] < self.most:
                                await self._one(ehr, patient)
                        if self.most is not None and min(self.numbers.values()) >= self.most:
                            return
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                await asyncio.sleep(0.01)  # the hub is away: connect again, send again

    async def _one(self, ehr: EhrClient, patient: str) -> None:
        number = self.numbers[patient] + 1
        body = self._body(patient, number)
        self.history.note("sent", patient, number, body)
        for _ in range(self.repeats):
            answer = await ehr.send(body, timeout=self.patience)
            self.history.note(answer.code, patient, number, body)
        if answer.code == "AA":
            self.numbers[patient] = number

    def _body(self, patient: str, number: int) -> bytes:
        """The same bytes each time, so that a resend is one."""
        large = random.Random(f"{patient}-{number}").random() < self.large
        more = (f"NTE|1||{'x' * LARGE}",) if large else ()
        stamped = adt(f"{patient}-{number}", patient, family=f"PATIENT{patient}", more=more)
        head, _, rest = stamped.partition(b"\r")
        fields = head.split(b"|")
        fields[6] = b"20261123090000"
        return b"|".join(fields) + b"\r" + rest


class Rig:
    """The three of them; `async with` opens sender and receiver, the hub is started by hand."""

    def __init__(
        self,
        folder: Path,
        nursery: Nursery,
        *,
        patients: int = 40,
        senders: int = 8,
        refuse: float = 0.05,
        large: float = 0.0,
        seed: int = 1,
        clinic: str = CLINIC,
        parallel: int = PARALLEL,
        store: str = "",
        repeats: int = 1,
        most: int | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.nursery, self.chance = folder, nursery, random.Random(seed)
        self.sent, self.taken = History(folder / "sender.history"), History(folder / "receiver.history")
        self.refuse = refuse
        """Share of first tries that are answered AE."""
        self.script: Script | None = None
        """What the receiver does instead; what it answers AA counts as taken."""
        self.port = free_port()
        self._clinic, self._parallel = clinic, parallel
        self._head = support.CLINIC.replace("{store}", store or support.STORE[-1])
        self._receiver = EhrServer(script=self._answer)
        names = [f"P{number:02d}" for number in range(patients)]
        self.senders = [Sender(self.port, names[n::senders], self.sent, large=large, seed=seed) for n in range(senders)]
        for sender in self.senders:
            sender.repeats, sender.most = repeats, most
        self._tasks: list[asyncio.Task[None]] = []
        self.kills = 0
        self.file: Path
        self.hub: Hub

    async def __aenter__(self) -> Self:
        await self._receiver.__aenter__()
        text = self._clinic.replace("@IN@", str(self.port)).replace("@OUT@", str(self._receiver.port))
        self.file = clinic_folder(self.folder, text.replace("@PARALLEL@", str(self._parallel)), head=self._head)
        self.hub = Hub(self.nursery, self.file)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop_sending(0.0)
        self.hub.close()
        await self._receiver.__aexit__(None, None, None)
        self.sent.close()
        self.taken.close()

    def _answer(self, body: bytes, control_id: str, tries: int) -> str:
        patient, _, number = control_id.partition("-")
        if self.script is not None:
            what = self.script(body, control_id, tries)
        else:
            what = "AE" if tries == 0 and self.chance.random() < self.refuse else "AA"
        taken = what in ("AA", "late", "wrong", "taken and closed")
        self.taken.note("taken" if taken else "refused", patient, int(number), body)
        return "close" if what == "taken and closed" else what

    # The hub.

    async def start(self, *, failpoints: str = "", **env: str) -> None:
        await asyncio.to_thread(self.hub.start, failpoints=failpoints, **env)

    async def kill(self) -> None:
        self.kills += 1
        await asyncio.to_thread(self.hub.kill)

    async def killed(self, timeout: float = 20.0) -> None:
        """Waits until it has killed itself."""
        await until(self.hub.ended, timeout)
        assert self.hub.code == -9, f"it ended with {self.hub.code}: {self.hub.said}"
        self.kills += 1

    # The sender.

    def send(self) -> None:
        self._tasks = [asyncio.create_task(sender.run()) for sender in self.senders]

    async def stop_sending(self, grace: float = 10.0) -> None:
        for sender in self.senders:
            sender.stop = True
        if self._tasks and grace:
            await asyncio.wait(self._tasks, timeout=grace)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def all_sent(self, timeout: float = 60.0) -> None:
        done, left = await asyncio.wait(self._tasks, timeout=timeout)
        assert not left, "the sender is not done"
        for task in done:
            task.result()

    # The end.

    def verdict(self) -> Verdict:
        return check(self.sent.events, self.taken.events)

    async def settle(self, timeout: float = 30.0) -> Verdict:
        """Stops sending, waits until all that was acknowledged has arrived, and ends the hub; then judges."""
        await self.stop_sending()
        waits = asyncio.get_running_loop().time() + timeout
        while self.verdict().lost and asyncio.get_running_loop().time() < waits and self.hub.running:
            await asyncio.sleep(0.05)
        if self.hub.running:
            assert await asyncio.to_thread(self.hub.terminate) == 0
        return self.verdict()

    def repeats_allowed(self) -> int:
        """Each kill may cost one repeat for each message that was on its way."""
        return self._parallel * self.kills
