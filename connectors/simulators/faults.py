"""What can go wrong at a simulated partner, and when: words that are used up one for each request.

    house.faults.script("401", "429 after 2", "503", "ok")        the next requests, in order
    house.faults.script("silent after commit", to="send")         the next requests of one kind
    X-Sim-Script: 503, slow 0.2                                   a header: the 1st, 2nd ... arrival with this header

After its last word all goes well.  The same words at the same places always give the same run.  A family with words of its
own adds kinds to `Fault` and reads them before the general ones (clearinghouse/faults.py).

    status               an HTTP status, nothing is done; `429 after 2` with Retry-After in seconds, `503 until 2` as a date
    status after commit  `502 after commit`: what was asked is done, and the answer says otherwise
    expire               every token is withdrawn: 401 until a new one was fetched
    silent               no answer, nothing is done; `silent after commit`: what was asked is done, and nobody hears of it
    drop                 the connection is closed before the first byte of an answer, nothing is done
    hangup               the connection is closed in the middle of the answer
    slow                 the answer takes so many seconds more: `slow 0.3`
    twice                the answer comes twice
    half                 the answer is cut off, and says nothing of it
    empty, html          a good status with nothing, or with a page for people; what was asked is done
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

GENERAL = ("ok", "expire", "silent", "silent after commit", "drop", "hangup", "twice", "half", "empty", "html")
BEFORE_COMMIT = ("status", "expire", "silent", "drop")
"""Kinds after which nothing was done."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong once."""

    kind: str = "ok"
    status: int = 0
    seconds: float | None = None
    """Of `slow`, and of Retry-After."""
    as_date: bool = False
    """Retry-After is a date."""

    @property
    def before_commit(self) -> bool:
        """Whether what was asked is not done at all."""
        return self.kind in BEFORE_COMMIT


FaultT = TypeVar("FaultT", bound=Fault)


def general(word: str, made: type[FaultT]) -> FaultT | None:
    """The fault of a word that every family knows; None for another."""
    word = " ".join(word.split())
    if word in GENERAL:
        return made(word)
    if found := re.fullmatch(r"([1-5]\d\d)(?: (after|until) (\d+(?:\.\d+)?))?", word):
        return made("status", int(found[1]), float(found[3]) if found[3] else None, found[2] == "until")
    if found := re.fullmatch(r"([1-5]\d\d) after commit", word):
        return made("status after commit", int(found[1]))
    if found := re.fullmatch(r"slow (\d+(?:\.\d+)?)", word):
        return made("slow", seconds=float(found[1]))
    return None


def fault(word: str) -> Fault:
    """Raises ValueError for a word that is none: a test must not pass because of a typing mistake."""
    found = general(word, Fault)
    if found is None:
        raise ValueError(f"there is no fault {word!r}; see connectors/simulators/faults.py")
    return found


class Faults(Generic[FaultT]):
    """Which fault is next."""

    def __init__(self, read: Callable[[str], FaultT]) -> None:
        self._read = read
        self._next: dict[str, deque[FaultT]] = defaultdict(deque)
        self._arrivals: Counter[tuple[str, ...]] = Counter()

    def script(self, *words: str, to: str = "") -> None:
        """For the next requests of one kind (`token`, `send` ...), or of any kind but tokens without `to`; calls add up."""
        self._next[to] += map(self._read, words)

    def take(self, to: str, *, header: str = "", about: Sequence[str] = ()) -> FaultT:
        """For a request that arrived: by its header, else the next for its kind, else the next for any kind.

        With a header, arrivals are counted for each header and whatever `about` tells apart.
        """
        if header:
            return self.of_script(("header", header, *about), header.split(",")) or self._read("ok")
        waiting = self._next[to] or self._next[""]
        return waiting.popleft() if waiting else self._read("ok")

    def take_own(self, to: str) -> FaultT:
        """The next for this kind alone: what goes wrong with questions does not go wrong with tokens."""
        return self._next[to].popleft() if self._next[to] else self._read("ok")

    def of_script(self, key: tuple[str, ...], words: Sequence[str]) -> FaultT | None:
        """The word for the first, second ... arrival under a key; None after the last."""
        number = self._arrivals[key]
        self._arrivals[key] += 1
        return self._read(words[number]) if number < len(words) else None
