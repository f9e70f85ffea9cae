"""The second half of the day: what patients sign, what comes by fax and goes by fax, and what of it ends in a chart."""

from __future__ import annotations

import asyncio
import time
from base64 import b64decode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectors.simulators.demo.far_sides import FarSides
from connectors.simulators.signer.pdf import page
from hub.bus.hub import Hub
from hub.bus.operations import Operations
from hub.errors import HubError
from hub.formats import pages

SIGNS, DECLINES = "F-101", "F-102"
"""The visits whose patients are asked for a consent."""
COVERED = "F-103"
"""The visit of the fax with a cover sheet; what came is sent on to a specialist."""
NAMELESS = "10008"
"""The chart of the fax without any word of whom it is about."""
SPECIALIST = "Lake Pulmonology"
SPECIALISTS = f"name,fax,direct\n{SPECIALIST},+1 312 555 0142,\n"
"""A number that ends in 2 is busy twice (connectors/simulators/fax_carrier)."""
PATIENCE = 15.0
"""Seconds that each step of it may take."""
Tell = Callable[[str], None]


@dataclass
class Papers:
    """Plays it, and knows how it has to come out."""

    hub: Hub
    far: FarSides
    tell: Tell

    async def play(self) -> list[str]:
        """What did not come out as it should; nothing when all did."""
        wrong = []
        for scene in (self._consents, self._fax_with_a_cover_sheet, self._referral, self._fax_without_a_name):
            try:
                await scene()
            except (TimeoutError, HubError) as error:
                wrong.append(f"It did not come to what it should: {error}")
        return wrong

    async def _consents(self) -> None:
        self.tell("09:00  Rosa Alvarez and Tom Baker come for the first time: each gets a consent to sign by e-mail")
        await self._until("a consent is signed and filed", lambda: self._has_document(SIGNS, "signing", "filed"))
        await self._until("a consent is declined", lambda: self._is_declined(DECLINES))
        self.tell("       Rosa signed: it is in her chart.  Tom said no: that is on the worklist of the front desk")

    async def _fax_with_a_cover_sheet(self) -> None:
        sheet = await self._ask("documents.cover", appointment=COVERED, kind="RESULT")
        fax = await pages.join(b64decode(sheet["content"]), page(["Chest X-ray, two views", "No acute findings."]))
        self.far.carrier.receive("+13125550171", fax)
        self.tell("09:10  A fax comes in under a cover sheet of ours: its bar code says whose it is")
        await self._until("a fax is filed by its bar code", lambda: self._has_document(COVERED, "fax", "filed"))

    async def _referral(self) -> None:
        await self._ask("referrals.send", appointment=COVERED, to=SPECIALIST)
        self.tell(f"09:12  Li Chen's pictures go to {SPECIALIST} by fax, whose line is busy twice")
        await self._until("a referral arrives", self._has_arrived)
        tries = len(self.far.carrier.faxes.out)
        self.tell(f"       It arrived with try {tries}: nobody had to watch the machine")

    async def _has_arrived(self) -> bool:
        found = await self._ask("referrals.list", appointment=COVERED)
        return [line["state"] for line in found] == ["arrived"]

    async def _fax_without_a_name(self) -> None:
        self.far.carrier.receive("+13125550172", page(["Vaccination record", "Patient: O. Hansen"]))
        await self._until("a fax waits for a person", self._waiting)
        self.tell("09:15  Another one says no more than `O. Hansen`: nothing is guessed, it waits for a person")
        document = await self._waiting()
        await self._ask("documents.match", id=document, patient=NAMELESS)
        self.tell("       A coordinator looks at it: it is Ole Hansen's")
        await self._until("a matched fax is filed", lambda: self._has_document(NAMELESS, "fax", "filed", by="patient"))

    # What has become of it.

    async def _ask(self, operation: str, **params: Any) -> Any:
        return await Operations(self.hub.core, self.hub).run(operation, params, "demo")

    async def _has_document(self, of: str, source: str, state: str, *, by: str = "appointment") -> bool:
        found = await self._ask("documents.list", state=state)
        wanted = [line for line in found if line["source"] == source]
        if by == "appointment":
            return any(line["appointment"] == of for line in wanted)
        return any(line["patient"] and line["patient"]["id"] == of for line in wanted)

    async def _is_declined(self, appointment: str) -> bool:
        items = await self._ask("worklist.list")
        return any(item["appointment"] == appointment and item["cause"] == "declined" for item in items)

    async def _waiting(self) -> str:
        found = await self._ask("documents.list", state="waiting")
        return found[0]["id"] if found else ""

    async def _until(self, what: str, so: Callable[[], Awaitable[Any]]) -> None:
        end = time.monotonic() + PATIENCE
        while not await so():
            if time.monotonic() > end:
                raise TimeoutError(what)
            await asyncio.sleep(0.05)


def write_papers(folder: Path) -> None:
    """What the clinic has its patients sign, and the specialists it knows."""
    (folder / "specialists.csv").write_text(SPECIALISTS, encoding="utf-8")
    (folder / "forms").mkdir(exist_ok=True)
    (folder / "forms" / "consent.pdf").write_bytes(
        page(["Consent to treatment", "I agree to be treated here.", "/sign-patient/"])
    )
