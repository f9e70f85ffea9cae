"""What the writer is handed: data, never code."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

OPEN_STATES = ("waiting", "working", "held")
"""Work that a lane has."""
LARGEST_GROUP = 512
"""Writes in one commit."""
KEEP = {"full": 0, "until_delivered": 1, "metadata": 2}
"""How long the body of a message stays: for good, until all of its work is delivered, until its work has ended in any way."""
STATES = ("waiting", "working", "parked", "held", "delivered", "skipped", "unknown", "quarantined", "refused")


@dataclass(slots=True)
class NewWork:
    """Something to be done with a message: by a flow, or by the connection that sends it."""

    target: str
    lane: str
    also: tuple[str, ...] = ()
    generation: int = 0
    step: str = ""
    origin: int | None = None
    config: str = ""
    state: str = "waiting"
    reason: str | None = None
    again: int = 0
    """1 when a person asked for it after its turn: it gives way to fresh work, and its delivery is marked as late."""
    id: int = 0
    """Given by the writer; the order in which its lane does it."""
    since: int = 0
    """When the message that caused it was received, in microseconds; 0 for when its own message was made.  Not kept."""
    span: Any = None
    """The span it belongs to (spans.py).  Not kept."""


@dataclass(slots=True)
class NewMessage:
    """A message to keep, with the work it makes."""

    id: str
    at: int
    connection: str
    direction: str
    format: str
    type: str
    control_id: str
    parent: str | None
    generation: int
    size: int
    digest: bytes
    body: bytes | None
    file: str | None = None
    state: str | None = None
    reason: str | None = None
    flag: str | None = None
    keys: list[tuple[str, str]] = field(default_factory=list)
    works: list[NewWork] = field(default_factory=list)
    seen_key: bytes | None = None
    """Digest of what makes a resend recognisable."""
    forget_before: int = 0
    """Older sightings do not count."""
    keep: int = 0
    """How long its body stays: one of KEEP."""
    seq: int = 0
    """Given by the writer."""
    duplicate: bool = False
    """Set by the writer: the same content came before under this control id."""
    known: bool = False
    """Set by the writer: it was kept before under this id, and that is what counts."""


@dataclass(slots=True)
class Mark:
    """What became of a work."""

    work: int
    state: str
    at: int
    attempts: int = 0
    next_at: int = 0
    reason: str | None = None
    answer: str | None = None
    asks: int = 0
    step: str | None = None
    """None leaves it."""
    generation: int | None = None
    """None leaves it."""


@dataclass(slots=True)
class Answered:
    """One question of a parked work was answered, or failed with a reason.

    After the last question the work is delivered, or quarantined when any of them failed.
    """

    work: int
    at: int
    reason: str | None = None


@dataclass(slots=True)
class Attempt:
    """A try that failed."""

    work: int
    number: int
    at: int
    code: str
    text: str
    """In the hub's own words, which name no patient."""
    reply: bytes | None = None
    """In the partner's words, sealed."""


@dataclass(slots=True)
class Note:
    """A line of the timeline."""

    seq: int
    at: int
    what: str
    text: bytes


@dataclass(slots=True)
class RecordRow:
    """A record to keep, with the version it was read at: 0 when it must not exist yet."""

    kind: str
    id: str
    version: int
    at: int
    body: bytes
    keys: list[tuple[str, str, bool]] = field(default_factory=list)
    """Name, value, and whether only one record may have it."""


@dataclass(slots=True)
class DueRow:
    """Planned work; without a payload it is withdrawn."""

    job: str
    key: str
    at: int = 0
    payload: bytes | None = None
    fired: bool = False
    """True when it is taken because it is due: it must still be there with this time, or the write conflicts."""


@dataclass(slots=True)
class AuditRow:
    """A look at patient data, or a change by a person."""

    at: int
    actor: str
    action: str
    object: str
    detail: str = ""


@dataclass(slots=True)
class RouteRow:
    """What a person has stopped; with an empty state it goes on again."""

    name: str
    """`flow:NAME`, `to:NAME` (sending) or `from:NAME` (receiving)."""
    state: str
    until: int = 0
    at: int = 0
    actor: str = ""


@dataclass(slots=True)
class JobRow:
    """Work that takes more than one commit, and how far it has come."""

    id: str
    kind: str
    state: str
    at: int
    changed_at: int
    actor: str
    total: int
    looked: int
    done: int
    params: str
    seqs: bytes


@dataclass(slots=True)
class Replaced:
    """An edited message takes the place of the original in its lanes; the original's attempts stay with the original."""

    work: int
    at: int
    message: NewMessage
    """Kept in the same write."""
    closed: NewWork
    """How the work ended for the original; made in the same write."""


@dataclass(slots=True)
class Rare:
    """Changes off the hot path; hub/store/rare.py has their statements, the same for both databases."""

    routes: list[RouteRow] = field(default_factory=list)
    jobs: list[JobRow] = field(default_factory=list)
    replaced: list[Replaced] = field(default_factory=list)
    erased: list[int] = field(default_factory=list)
    """Messages (seq) whose body goes."""


@dataclass(slots=True)
class Removal:
    """What retention takes out of the store, a piece at a time; what is open by then is left."""

    bodies: list[int] = field(default_factory=list)
    """Seqs of messages whose bodies go."""
    messages: list[int] = field(default_factory=list)
    """Seqs of messages that go with all that belongs to them, children before their parents."""
    attempts: list[tuple[int, int]] = field(default_factory=list)
    """Work and number."""
    notes: list[int] = field(default_factory=list)
    seen: tuple[int, int] = (0, 0)
    """Sightings before this time go, at most so many."""
    audit: int = 0
    """Audit rows up to this seq go."""
    jobs: int = 0
    """Jobs that ended before this time go."""
    removed: int = 0
    """Set by the writer: rows that went."""
    took: float = 0.0
    """Set by the writer: seconds, without the commit."""


@dataclass(slots=True)
class Write:
    """One set of changes: it is committed as a whole, or undone as a whole without disturbing the others of its group."""

    messages: list[NewMessage] = field(default_factory=list)
    more_work: list[tuple[int, str, NewWork]] = field(default_factory=list)
    """Further work for messages that are already kept: seq, id, work."""
    marks: list[Mark] = field(default_factory=list)
    answered: list[Answered] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    keys: list[tuple[int, str, str]] = field(default_factory=list)
    """Further keys of messages that are already kept: seq, kind, value."""
    records: list[RecordRow] = field(default_factory=list)
    reads: list[tuple[str, str, int]] = field(default_factory=list)
    """Kind, id and version of records that were only read: they must not have changed."""
    due: list[DueRow] = field(default_factory=list)
    audit: list[AuditRow] = field(default_factory=list)
    counters: list[tuple[str, int]] = field(default_factory=list)
    """Durable counters and the value they are raised to."""
    unseen: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Key and digest of sightings that no longer count: the sender was told no."""
    data_keys: list[tuple[int, bytes]] = field(default_factory=list)
    rare: Rare | None = None
    """Applied after everything else of this write."""
    removal: Removal | None = None
    error: BaseException | None = None
    """Set by the writer when this set alone failed."""

    @property
    def alone(self) -> bool:
        """True when it changes rows that it does not name."""
        return self.rare is not None or self.removal is not None

    @property
    def more(self) -> bool:
        """True when it has more than messages, works and marks: the hot path asks once."""
        return bool(
            self.answered or self.attempts or self.notes or self.keys or self.records or self.due or self.audit
            or self.counters or self.unseen or self.data_keys
        )  # fmt: skip

    @property
    def guarded(self) -> bool:
        """True when it can fail on its own: it then gets a savepoint."""
        return bool(self.records or self.reads or any(row.fired for row in self.due))


@dataclass(frozen=True, slots=True)
class OpenWork:
    """A work as it is loaded into a lane."""

    id: int
    seq: int
    message: str
    lane: str
    also: tuple[str, ...]
    generation: int
    state: str
    attempts: int
    next_at: int
    step: str
    origin: int | None
    config: str
    again: int = 0
    since: int = 0
    """When its message was received or made, in microseconds."""
