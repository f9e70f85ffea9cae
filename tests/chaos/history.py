"""What happened, as the far sides saw it: a line on disk for each event, before anybody is told; and a checker for it.

A history is outside of the hub and knows nothing of it.  Its lines: seconds, what, patient, number, digest of the body.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to message `number` of a patient."""

    what: str
    """sent, AA, AE ... at the sender; taken, refused ... at the receiver."""
    patient: str
    number: int
    digest: str
    at: float = 0.0

    def __str__(self) -> str:
        return f"{self.patient}-{self.number}"


class History:
    """The events of one far side."""

    def __init__(self, path: Path, *, sync: bool = True) -> None:
        self.path = path
        self.events: list[Event] = []
        self._sync = sync
        self._file = path.open("a", encoding="ascii")

    def note(self, what: str, patient: str, number: int, body: bytes) -> None:
        """Is on disk when this returns."""
        event = Event(what, patient, number, hashlib.sha256(body).hexdigest()[:16], time.time())
        self._file.write(f"{event.at:.6f} {what} {patient} {number} {event.digest}\n")
        self._file.flush()
        if self._sync:
            os.fdatasync(self._file.fileno()) if hasattr(os, "fdatasync") else os.fsync(self._file.fileno())
        self.events.append(event)

    def count(self, what: str) -> int:
        return sum(1 for event in self.events if event.what == what)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_history(path: Path) -> Iterator[Event]:
    """The events of a file."""
    for line in path.read_text("ascii").splitlines():
        at, what, patient, number, digest = line.split()
        yield Event(what, patient, int(number), digest, float(at))


@dataclass(slots=True)
class Verdict:
    """What is wrong with what arrived; all lists are empty when the hub kept its word."""

    acknowledged: int = 0
    arrived: int = 0
    """Different messages."""
    repeats: int = 0
    """Deliveries of a message that had been delivered before: a crash between the partner's answer and its mark."""
    lost: list[str] = field(default_factory=list)
    """Acknowledged to the sender, never taken by the receiver."""
    reordered: list[str] = field(default_factory=list)
    """First deliveries behind a later message of the same patient."""
    old_repeats: list[str] = field(default_factory=list)
    """Repeats of a message that was not the newest of its patient: more than a crash may cause."""
    changed: list[str] = field(default_factory=list)
    """Bodies that are not what was sent."""
    invented: list[str] = field(default_factory=list)
    """Taken by the receiver, never sent by the sender."""

    @property
    def wrong(self) -> dict[str, list[str]]:
        """Every violation, by its name; the first few of each."""
        names = ("lost", "reordered", "old_repeats", "changed", "invented")
        return {name: found[:10] for name in names if (found := getattr(self, name))}


def check(sender: Iterable[Event], receiver: Iterable[Event]) -> Verdict:
    """Holds what the receiver took against what the sender was told."""
    verdict = Verdict()
    sent: dict[tuple[str, int], str] = {}
    owed: dict[tuple[str, int], Event] = {}
    for event in sender:
        if event.what == "sent":
            sent[event.patient, event.number] = event.digest
        elif event.what == "AA":
            owed[event.patient, event.number] = event
    taken: set[tuple[str, int]] = set()
    newest: dict[str, int] = defaultdict(int)
    for event in receiver:
        if event.what != "taken":
            continue
        message = event.patient, event.number
        if message not in sent:
            verdict.invented.append(str(event))
        elif sent[message] != event.digest:
            verdict.changed.append(str(event))
        behind = event.number < newest[event.patient]
        if message in taken:
            verdict.repeats += 1
            if behind:
                verdict.old_repeats.append(f"{event} again after {newest[event.patient]}")
        elif behind:
            verdict.reordered.append(f"{event} after {newest[event.patient]}")
        taken.add(message)
        newest[event.patient] = max(newest[event.patient], event.number)
    verdict.lost = [str(event) for message, event in owed.items() if message not in taken]
    verdict.acknowledged, verdict.arrived = len(owed), len(taken)
    return verdict
