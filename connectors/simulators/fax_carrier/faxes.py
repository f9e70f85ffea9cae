"""The table of a fax carrier: every fax it took, how each ends, and what came in.  It is also the ledger.

The last digit of a number decides, each time it is called:

    0  arrives                      5  reported as failed, and then it arrived after all
    1  busy, always                 6  no such number
    2  busy twice, then it arrives  7  refused
    3  nobody answers, ever         8  takes very long, then it arrives
    4  breaks off once after half   9  nobody answers once, then it arrives
       of the pages, then arrives
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

State = Literal["queued", "sending", "sent", "failed"]
Error = Literal["", "busy", "no_answer", "partial", "bad_number", "refused", "late"]
VERY_LONG = 20
"""How many times longer than others a fax to a number with an 8 takes."""
_PAGE = re.compile(rb"/Type\s*/Page(?![a-zA-Z])")


@dataclass(frozen=True, slots=True)
class Stage:
    """What a fax is from a moment on."""

    after: float
    """Seconds since it was taken."""
    state: State
    error: Error = ""


@dataclass(slots=True)
class Fax:
    """One fax that was taken."""

    id: str
    facade: str
    to: str
    """Digits."""
    reference: str
    document: bytes = field(repr=False)
    pages: int
    at: float
    """Seconds since 1970."""
    stages: list[Stage]
    fields: dict[str, str] = field(default_factory=dict, repr=False)
    """All else that was said with it."""

    def stage(self, now: float) -> Stage:
        return [stage for stage in self.stages if self.at + stage.after <= now][-1]

    def arrived(self, now: float) -> int:
        """Pages that arrived."""
        stage = self.stage(now)
        if stage.state == "sent":
            return self.pages
        return self.pages // 2 if stage.error == "partial" else 0


@dataclass(slots=True)
class Incoming:
    """One fax that came in."""

    id: str
    sender: str
    document: bytes = field(repr=False)
    pages: int
    at: float
    taken: bool = False


@dataclass
class Faxes:
    """All of them, in the order in which they were taken."""

    clock: Callable[[], float]
    pace: float = 0.03
    """Seconds each stage of a fax takes."""
    out: list[Fax] = field(default_factory=list)
    incoming: list[Incoming] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(70_001), repr=False)

    def take(self, facade: str, to: str, reference: str, document: bytes, fields: dict[str, str] | None = None) -> Fax:
        calls = sum(fax.to == to for fax in self.out)
        stages = _stages(to[-1:], calls, self.pace)
        id = str(next(self._numbers))
        fax = Fax(id, facade, to, reference, document, pages_of(document), self.clock(), stages, dict(fields or {}))
        self.out.append(fax)
        return fax

    def receive(self, sender: str, document: bytes) -> Incoming:
        """A fax comes in."""
        fax = Incoming(str(next(self._numbers)), sender, document, pages_of(document), self.clock())
        self.incoming.append(fax)
        return fax

    def get(self, id: str) -> Fax | None:
        return next((fax for fax in self.out if fax.id == id), None)

    def came_in(self, id: str) -> Incoming | None:
        return next((fax for fax in self.incoming if fax.id == id), None)

    def sent_twice(self) -> list[Fax]:
        """Faxes that were taken although one to the same number had not failed yet: each test fax has a number of its own."""
        found = []
        for number, fax in enumerate(self.out):
            before = [other for other in self.out[:number] if other.to == fax.to]
            if any(other.stage(fax.at).state != "failed" for other in before):
                found.append(fax)
        return found

    def pages_to(self, to: str) -> int:
        """Pages that arrived at a number, of all tries."""
        now = self.clock()
        return sum(fax.arrived(now) for fax in self.out if fax.to == to)


def pages_of(document: bytes) -> int:
    return max(1, len(_PAGE.findall(document)))


def _stages(digit: str, calls: int, pace: float) -> list[Stage]:
    start = [Stage(0.0, "queued"), Stage(pace, "sending")]
    arrives = [*start, Stage(2 * pace, "sent")]

    def fails(error: Error) -> list[Stage]:
        return [*start, Stage(2 * pace, "failed", error)]

    match digit:
        case "1":
            return fails("busy")
        case "2":
            return fails("busy") if calls < 2 else arrives
        case "3":
            return fails("no_answer")
        case "4":
            return fails("partial") if calls < 1 else arrives
        case "5":
            return [*fails("late"), Stage(5 * pace, "sent")] if calls < 1 else arrives
        case "6":
            return fails("bad_number")
        case "7":
            return fails("refused")
        case "8":
            return [*start, Stage(VERY_LONG * pace, "sent")]
        case "9":
            return fails("no_answer") if calls < 1 else arrives
        case _:
            return arrives
