"""Façade: files of many questions, dropped into one folder; acknowledgements and answers appear in another.

What is behind it (`Batch`) serves other batch ways too.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from connectors.simulators.clearinghouse import x12
from connectors.simulators.clearinghouse.faults import Fault
from connectors.simulators.clearinghouse.inquiry import Inquiry, read_270s
from connectors.simulators.clearinghouse.members import Verdict

if TYPE_CHECKING:
    from connectors.simulators.clearinghouse.server import Clearinghouse

LOOK_EVERY = 0.05
"""Seconds between looks into the folder."""


@dataclass(slots=True)
class Batch:
    """One file of questions, and what comes back for it."""

    acknowledgement: str = ""
    """A TA1 or a 999; empty when the batch was lost."""
    answers: list[str] = field(default_factory=list)
    """Interchanges of 271s: none when the file was refused or lost, two when the answer comes twice."""
    ready_at: float = 0.0
    """When the answers are there; by the clock of the house."""


def take(house: Clearinghouse, text: str, facade: str) -> Batch:
    """Takes a file of 270s, and decides on every one of them."""
    fault = house.faults.next_batch()
    inquiries = list(read_270s(text))
    if fault.kind in ("ta1", "999", "lose"):
        for inquiry in inquiries:
            house.ledger.ended(house.ledger.received(inquiry, facade, fault), fault.kind)
        return Batch() if fault.kind == "lose" else _refused(house, fault, text)
    verdicts = [verdict for inquiry in inquiries if (verdict := _decide(house, inquiry, facade)) is not None]
    now = house.clock()
    number = next(house.table.numbers)
    acknowledged = x12.interchange(
        inquiries[0], "FA", [x12.acknowledgement("A", len(inquiries), _group(inquiries[0]))], number, now
    )
    sets = [x12.transaction_271(verdict, now) for verdict in verdicts]
    answer = x12.interchange(inquiries[0], "HB", sets, next(house.table.numbers), now) if sets else ""
    copies = 2 if fault.kind == "twice" else 1
    return Batch(acknowledged, [answer] * copies if answer else [], now + (fault.seconds or 0.0))


def _refused(house: Clearinghouse, fault: Fault, text: str) -> Batch:
    inquiry = next(read_270s(text))
    number, now = next(house.table.numbers), house.clock()
    if fault.kind == "ta1":
        return Batch(x12.ta1(inquiry, fault.code, number, now))
    sets = sum(1 for _ in read_270s(text))
    return Batch(x12.interchange(inquiry, "FA", [x12.acknowledgement("R", sets, _group(inquiry))], number, now))


def _group(inquiry: Inquiry) -> str:
    """The hub numbers the only group of an interchange as the interchange."""
    return inquiry.control_number.lstrip("0") or "1"


def _decide(house: Clearinghouse, inquiry: Inquiry, facade: str) -> Verdict | None:
    """What one question of a batch comes to; None for one that is lost."""
    known = house.table.known(inquiry)
    fault = house.faults.next(inquiry, member=known.faults if known else ())
    entry = house.ledger.received(inquiry, facade, fault)
    if fault.before_commit or fault.kind == "lose":
        house.ledger.ended(entry, fault.kind)
        return None
    verdict = house.table.decide(inquiry, fault)
    house.ledger.ended(entry, verdict.end)
    return verdict


class BatchDrop:
    """Takes what is dropped into `inbox`, and puts 999s, TA1s and 271s into `outbox`; a file is never seen half written."""

    def __init__(self, house: Clearinghouse, inbox: Path, outbox: Path) -> None:
        self.house, self.inbox, self.outbox = house, inbox, outbox
        self.taken: list[str] = []
        """Names of the files that were taken, in order; a name that comes twice stands here twice."""
        self._waiting: list[tuple[str, Batch]] = []
        self._task: asyncio.Task[None] | None = None
        self._number = 0

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch(), name="batch drop")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _watch(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(LOOK_EVERY)

    def look(self) -> None:
        """Takes what has come, and puts out what is ready."""
        for file in sorted(self.inbox.iterdir()):
            if file.is_file() and not file.name.startswith(".") and not file.name.endswith((".part", ".tmp")):
                text = file.read_text(encoding="utf-8", errors="replace")
                file.unlink()
                self.taken.append(file.name)
                batch = take(self.house, text, "batch drop")
                if batch.acknowledgement:
                    self._put(f"{file.stem}.{'ta1' if '~TA1*' in batch.acknowledgement else '999'}", batch.acknowledgement)
                self._waiting.append((file.stem, batch))
        for stem, batch in [pair for pair in self._waiting if pair[1].ready_at <= self.house.clock()]:
            self._waiting.remove((stem, batch))
            for answer in batch.answers:
                self._put(f"{stem}.271", answer)

    def _put(self, name: str, text: str) -> None:
        """Each file has a number of its own, so that none replaces another."""
        self._number += 1
        draft = self.outbox / f".{self._number}.part"
        draft.write_text(text, encoding="utf-8")
        draft.rename(self.outbox / f"{self._number:04d}.{name}")
