"""The table of envelopes: who signs, what they do, what happened; and the ledger of everything that was asked."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

Does = Literal["signs", "views", "declines", "bounces", "never", "expires"]
DOES: tuple[Does, ...] = ("signs", "views", "declines", "bounces", "never", "expires")
Happened = Literal["sent", "viewed", "signed", "completed", "declined", "voided", "expired", "bounced", "downloadable"]
OVER = ("completed", "declined", "voided", "expired")


@dataclass
class Person:
    """A signer."""

    name: str
    email: str
    role: str = ""
    order: int = 1
    state: Literal["sent", "viewed", "signed", "declined", "bounced"] = "sent"

    @property
    def does(self) -> Does:
        """What they do, by the first word of their address."""
        word = re.split(r"[.+@]", self.email, maxsplit=1)[0]
        return next((one for one in DOES if one == word), "signs")


@dataclass
class Envelope:
    """One envelope, whatever a vendor calls it."""

    id: str
    facade: str
    reference: str
    title: str
    people: list[Person]
    files: list[tuple[str, bytes]] = field(default_factory=list, repr=False)
    template: str = ""
    draft: bool = False
    end: Literal["", "completed", "declined", "voided", "expired"] = ""
    reason: str = ""
    """Why it was declined or voided."""
    looks: int = 0
    reminders: int = 0
    downloads: int = 0
    not_ready: int = 0
    """So many downloads more find no file."""
    happened: list[Happened] = field(default_factory=list)

    @property
    def is_viewed(self) -> bool:
        return any(person.state in ("viewed", "signed") for person in self.people)

    @property
    def is_partly_signed(self) -> bool:
        return any(person.state == "signed" for person in self.people)

    @property
    def has_bounced(self) -> bool:
        return any(person.state == "bounced" for person in self.people)


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that was asked and done."""

    at: float
    what: str
    envelope: str
    reference: str


class Envelopes:
    """All envelopes, and the ledger of what was done to them."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.by_id: dict[str, Envelope] = {}
        self.ledger: list[Entry] = []
        self._numbers = itertools.count(1)

    def made(
        self,
        facade: str,
        reference: str,
        title: str,
        people: list[Person],
        files: list[tuple[str, bytes]],
        template: str,
        *,
        draft: bool = False,
    ) -> Envelope:
        number = next(self._numbers)
        id = f"{number:08x}-0000-4000-8000-{number:012x}"
        envelope = Envelope(id, facade, reference, title, people, files, template, draft)
        self.by_id[id] = envelope
        self.note("send", envelope)
        return envelope

    def note(self, what: str, envelope: Envelope) -> None:
        self.ledger.append(Entry(self.clock(), what, envelope.id, envelope.reference))

    def under(self, reference: str) -> list[Envelope]:
        return [envelope for envelope in self.by_id.values() if envelope.reference == reference]

    def twice(self) -> list[str]:
        """References that were sent more than once: there should be none."""
        counted = Counter(envelope.reference for envelope in self.by_id.values())
        return [reference for reference, times in counted.items() if times > 1]

    # What signers do, a step at a time.

    def step(self, envelope: Envelope) -> list[Happened]:
        """The next thing that happens; nothing when there is none."""
        if envelope.end or envelope.draft:
            return []
        if "sent" not in envelope.happened:
            return self._happened(envelope, "sent")
        for person in sorted(envelope.people, key=lambda person: person.order):
            found = self._step_of(envelope, person)
            if found:
                return found
            if person.state != "signed":
                return []
        return []

    def _step_of(self, envelope: Envelope, person: Person) -> list[Happened]:
        match person.state, person.does:
            case "sent", "bounces":
                person.state = "bounced"
                return self._happened(envelope, "bounced")
            case "sent", "expires":
                envelope.end = "expired"
                return self._happened(envelope, "expired")
            case "sent", "signs" | "views" | "declines":
                person.state = "viewed"
                return self._happened(envelope, "viewed")
            case "viewed", "declines":
                person.state, envelope.end, envelope.reason = "declined", "declined", "I have a question first"
                return self._happened(envelope, "declined")
            case "viewed", "signs":
                person.state = "signed"
                if all(one.state == "signed" for one in envelope.people):
                    envelope.end = "completed"
                    return self._happened(envelope, "signed", "completed", "downloadable")
                return self._happened(envelope, "signed")
        return []

    def void(self, envelope: Envelope, reason: str) -> bool:
        """False when it is over already."""
        if envelope.end:
            return False
        envelope.end, envelope.reason = "voided", reason
        self.note("void", envelope)
        self._happened(envelope, "voided")
        return True

    def _happened(self, envelope: Envelope, *what: Happened) -> list[Happened]:
        envelope.happened += what
        return list(what)
