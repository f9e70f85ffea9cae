"""Every question the clearinghouse received, and how each ended: the judge of "not one check sent twice without need"."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from connectors.simulators.clearinghouse.faults import FINE, Fault
from connectors.simulators.clearinghouse.inquiry import Inquiry

LATER = ("42", "80")
"""AAA03 that mean: ask again."""


@dataclass(slots=True)
class Entry:
    """One question as it arrived."""

    number: int
    """Counted from 1."""
    at: float
    """When it arrived; seconds since 1970."""
    facade: str
    """By which way: raw, core, json_v3 ..."""
    inquiry: Inquiry
    fault: Fault = FINE
    end: str = ""
    """271, 999, TA1, `aaa CODE`, the fault that kept the answer from the asker, or `gone` when nobody waited any more; empty
    while it is open."""
    ended_at: float | None = None

    @property
    def control_number(self) -> str:
        return self.inquiry.control_number

    @property
    def trace(self) -> str:
        return self.inquiry.trace_number

    @property
    def member(self) -> str:
        return self.inquiry.member_id

    @property
    def payer(self) -> str:
        return self.inquiry.payer

    @property
    def service_date(self) -> str:
        return self.inquiry.service_date

    @property
    def answered(self) -> bool:
        """Whether the asker was given all there is to say: asking again needs a reason."""
        return self.end in ("271", "999", "TA1") or (self.end.startswith("aaa") and self.end[4:] not in LATER)


@dataclass
class Ledger:
    """All entries, in the order in which they were read."""

    clock: Callable[[], float]
    entries: list[Entry] = field(default_factory=list)

    def received(self, inquiry: Inquiry, facade: str, fault: Fault = FINE, *, at: float | None = None) -> Entry:
        """`at` is when it arrived, where that is longer ago than now."""
        entry = Entry(len(self.entries) + 1, self.clock() if at is None else at, facade, inquiry, fault)
        self.entries.append(entry)
        return entry

    def ended(self, entry: Entry, end: str) -> None:
        entry.end, entry.ended_at = end, self.clock()

    def clear(self) -> None:
        self.entries.clear()

    def about(self, member: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.member == member]

    def needless(self) -> list[Entry]:
        """Questions that had been answered when they were asked once more, under whatever numbers.

        An answer that left here may still not have arrived, when the asker died at that moment: compare `ended_at` of the one
        before with the time of its death.
        """
        answered: dict[tuple[str, ...], float] = {}
        found = []
        for entry in self.entries:
            before = answered.get(entry.inquiry.question)
            if before is not None and before <= entry.at:
                found.append(entry)
            if entry.answered and entry.ended_at is not None:
                answered.setdefault(entry.inquiry.question, entry.ended_at)
        return found

    def before(self, entry: Entry) -> list[Entry]:
        """The earlier entries that asked the same."""
        return [e for e in self.entries[: entry.number - 1] if e.inquiry.question == entry.inquiry.question]
