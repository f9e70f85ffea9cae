"""What can go wrong at a clearinghouse, and when: words that are used up one for each request.

    house.faults.script("401", "429 after 2", "503", "ok")      the next requests, in order
    Member(..., faults=("aaa 42 2100A", "silent after commit"))  the next inquiries about one member
    X-Sim-Script: 503, slow 0.2                                  a header: the 1st, 2nd ... arrival of one question

After its last word all goes well.  The same words at the same places always give the same run.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from connectors.simulators.clearinghouse.inquiry import Inquiry

Kind = Literal[
    "ok",
    "status",
    "expire",
    "silent",
    "silent after commit",
    "drop",
    "hangup",
    "slow",
    "twice",
    "half",
    "empty",
    "html",
    "stray",
    "lose",
    "aaa",
    "ta1",
    "999",
    "core",
    "fault",
]
"""
status               an HTTP status, nothing is done; `429 after 2` with Retry-After in seconds, `503 until 2` as a date
expire               every token is withdrawn: 401 until a new one was fetched
silent               no answer, nothing is done; `silent after commit`: what was asked is done, and nobody hears of it
drop                 the connection is closed before the first byte of an answer, nothing is done
hangup               the connection is closed in the middle of the answer
slow                 the answer takes so many seconds more
twice                the answer comes twice
half                 the answer is cut off, and says nothing of it
empty, html          a good status with nothing, or with a page for people
stray                the answer to somebody else's question
lose                 what was taken is never spoken of again (batches)
core, fault          an ErrorCode of a CORE envelope with its HTTP status (`core SenderIDIllegal 500`), or a SOAP fault
                     (`fault Receiver`); nothing is done
aaa, ta1, 999        a rejection with its loop and follow-up (`aaa 72 2100C C`), a TA1 with its note (`ta1 006`), a 999
"""
_PLAIN: tuple[Kind, ...] = (
    "ok", "expire", "silent", "silent after commit", "drop", "hangup", "twice", "half", "empty", "html", "stray", "lose", "999",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong once."""

    kind: Kind = "ok"
    status: int = 0
    seconds: float | None = None
    """Of `slow`, and of Retry-After."""
    as_date: bool = False
    """Retry-After is a date."""
    code: str = ""
    """AAA03, TA105, ErrorCode, or the code of a SOAP fault."""
    loop: str = ""
    follow_up: str = ""
    """AAA04."""

    @property
    def before_commit(self) -> bool:
        """Whether what was asked is not done at all."""
        return self.kind in ("status", "expire", "silent", "drop", "core", "fault")


FINE = Fault()


def fault(word: str) -> Fault:
    """Raises ValueError for a word that is none: a test must not pass because of a typing mistake."""
    word = " ".join(word.split())
    if word in _PLAIN:
        return Fault(word)
    if found := re.fullmatch(r"([1-5]\d\d)(?: (after|until) (\d+(?:\.\d+)?))?", word):
        return Fault("status", int(found[1]), float(found[3]) if found[3] else None, found[2] == "until")
    if found := re.fullmatch(r"slow (\d+(?:\.\d+)?)", word):
        return Fault("slow", seconds=float(found[1]))
    if found := re.fullmatch(r"aaa (\w\w)(?: (20\d\d[A-D]|2[01][01]0[A-D]))?(?: ([A-Z]))?", word):
        return Fault("aaa", code=found[1], loop=found[2] or "", follow_up=found[3] or "C")
    if found := re.fullmatch(r"ta1 (\d\d\d)", word):
        return Fault("ta1", code=found[1])
    if found := re.fullmatch(r"(core|fault) ([A-Za-z0-9]+)(?: (\d\d\d))?", word):
        kind: Kind = "core" if found[1] == "core" else "fault"
        return Fault(kind, int(found[3] or 200), code=found[2])
    raise ValueError(f"the clearinghouse knows no fault {word!r}; see connectors/simulators/clearinghouse/faults.py")


class Faults:
    """Which fault is next."""

    def __init__(self) -> None:
        self._next: deque[Fault] = deque()
        self._next_token: deque[Fault] = deque()
        self._next_batch: deque[Fault] = deque()
        self._arrivals: Counter[tuple[str, ...]] = Counter()

    def script(self, *words: str) -> None:
        """For the next requests, whoever they are about; several calls add up."""
        self._next += map(fault, words)

    def script_token(self, *words: str) -> None:
        """For the next requests of a token: a status, silent, drop, slow, empty or html."""
        self._next_token += map(fault, words)

    def script_batch(self, *words: str) -> None:
        """For the next batches: lose, twice, 999, ta1, slow or a status."""
        self._next_batch += map(fault, words)

    def next(self, inquiry: Inquiry, header: str = "", member: Iterable[str] = ()) -> Fault:
        """For one question that arrived: its own script, else that of its member, else that of the house."""
        if header:
            return self._of_script(("header", header, inquiry.trace_number or inquiry.control_number), header.split(","))
        words = list(member)
        if words:
            found = self._of_script(("member", inquiry.payer, inquiry.member_id), words)
            if found is not FINE:
                return found
        return self._next.popleft() if self._next else FINE

    def next_token(self) -> Fault:
        return self._next_token.popleft() if self._next_token else FINE

    def next_batch(self) -> Fault:
        return self._next_batch.popleft() if self._next_batch else FINE

    def _of_script(self, key: tuple[str, ...], words: list[str]) -> Fault:
        number = self._arrivals[key]
        self._arrivals[key] += 1
        return fault(words[number]) if number < len(words) else FINE
