"""The contract of a step: one thing done to one message.

A step gets a message and a context, and returns the next message, several, or None when there is nothing to go on with.
It changes nothing itself: what it wants saved, sent or planned it tells the context, and all of it is committed together
at the end of the run.  A run may be repeated after a crash or a conflict, so a step must come to the same result again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any, ClassVar, Generic, Protocol, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict

from hub.message import Message, Stored
from hub.records import Content, Organisation, Payer, Record

RecordT = TypeVar("RecordT", bound=Record)
StepResult = Message | Sequence[Message] | None


@dataclass(frozen=True, slots=True)
class Due:
    """Work that becomes due at a time: one per job and key; planning it again moves it."""

    job: str
    key: str
    at: datetime
    payload: Mapping[str, str] = field(default_factory=dict)
    lane: str = ""
    """Work with the same lane is done in order; the key when empty."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message a run wants sent; with `ask`, the flow goes on with the partner's answer."""

    destination: str
    message: Message
    ask: bool


@dataclass(slots=True)
class SavedRecord:
    """A record a run wants kept, with the version it was read at (0: it must not exist yet)."""

    kind: str
    record: Record
    version: int


@dataclass(slots=True)
class ChangeSet:
    """Everything one run changes; committed as a whole or not at all."""

    sent: list[Outgoing] = field(default_factory=list)
    records: dict[tuple[str, str], SavedRecord] = field(default_factory=dict)
    reads: dict[tuple[str, str], int] = field(default_factory=dict)
    """Versions of the records that were read, so that a change in between makes the run go again."""
    due: dict[tuple[str, str], Due | None] = field(default_factory=dict)
    """Planned work by job and key; None withdraws it."""
    keys: list[tuple[str, str]] = field(default_factory=list)
    """Further ids under which the message is found: kind and value."""
    notes: list[tuple[str, str, bool]] = field(default_factory=list)
    """What happened, for the timeline: a word, a sentence, and whether everybody may read it."""


@dataclass(frozen=True, slots=True)
class Site:
    """A place of the clinic with a time zone of its own."""

    name: str
    zone: tzinfo


class Context(Protocol):
    """What a step may ask for and what it may want changed."""

    now: datetime
    """The time of this run, in UTC; the same for every step of it."""
    site: Site
    """The site of the connection the message came from."""
    sites: Mapping[str, Site]
    organisation: Organisation
    connection: str
    """Where the message came in; empty for due work."""
    authority: str
    """Assigning authority to assume for patient ids without one."""
    actor: str
    """Who asks for an operation; empty in a flow."""

    def payer(self, *ids: str | None) -> Payer | None:
        """The line of the payer list that has one of these ids, tried in this order."""
        ...

    def digest(self, *parts: str) -> str:
        """A keyed digest: equal for equal parts, telling nothing about them."""
        ...

    def new_id(self, prefix: str = "") -> str:
        """An id for a new record; the same in a repeat of this run."""
        ...

    async def number(self, name: str) -> int:
        """The next number of a durable counter: never the same twice, gaps are possible."""
        ...

    async def get(self, kind: type[RecordT], id: str) -> RecordT | None:
        """The record of this kind with this id."""
        ...

    async def find(self, kind: type[RecordT], name: str, value: str, limit: int = 100) -> list[RecordT]:
        """Records of this kind whose search key `name` has this value."""
        ...

    async def save(self, record: RecordT) -> RecordT:
        """Saves a record the way its plugin says (merging with what is known), and whatever follows from it."""
        ...

    async def put(self, record: Record) -> None:
        """Keeps a record exactly as it is; for the plugin that owns its kind."""
        ...

    async def keep(self, content: bytes | Message) -> Content:
        """Has the store keep bytes, or the body of a message, once: on disk and sealed when this returns.

        They stay as long as a record that was saved, or a message, names them; without either for an hour.  Save the record
        in the same run.  Raises StoreFull when there is no room now.
        """
        ...

    async def content(self, kept: Content) -> bytes:
        """Reads it; raises NotFound when the store has it no longer."""
        ...

    def body(self, kept: Content) -> Stored:
        """What a message is made of without copying: `message.derive(context.body(document.kept), format="document")`."""
        ...

    async def map(self, mapping: str, message: Message) -> list[Message]:
        """What a mapping makes of a message; raises MessageUnusable."""
        ...

    def send(self, destination: str, message: Message) -> None:
        """Queues a message for a connection."""
        ...

    def ask(self, destination: str, message: Message) -> None:
        """Queues a message for a connection and parks the flow until the answer comes."""
        ...

    def plan(self, due: Due) -> None:
        """Plans due work; the same job and key moves it."""
        ...

    def withdraw(self, job: str, key: str) -> None:
        """Takes planned work back; nothing happens when there is none."""
        ...

    def key(self, kind: str, value: str) -> None:
        """Adds an id (`patient`, `appointment`, ...) under which the message is found."""
        ...

    def note(self, what: str, text: str, *, plain: bool = False) -> None:
        """Adds a line to the timeline.  Its text is hidden from looks without `--phi` unless it is `plain`: says nothing that
        could tell about a patient."""
        ...


class StepConfig(BaseModel):
    """Base of all step settings."""

    model_config = ConfigDict(
        extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True, frozen=True, validate_default=True
    )


class References(Protocol):
    """The names a step's settings may refer to, for checking them before anything runs."""

    connections: Mapping[str, Any]
    mappings: Mapping[str, Any]
    records: Mapping[str, Any]


StepConfigT = TypeVar("StepConfigT", bound=StepConfig)


@dataclass(frozen=True, slots=True)
class Misreference:
    """A setting that names something that does not exist."""

    field: str
    text: str
    candidates: Sequence[str] | None = None
    """Names that would do, when the name is what is wrong."""


class Step(ABC, Generic[StepConfigT]):
    """One thing done to one message."""

    kind: ClassVar[str]
    main: ClassVar[str | None] = None
    """The setting that the short form fills: `- map: adt_to_patient`."""
    Config: ClassVar[type[StepConfig]] = StepConfig

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for base in getattr(cls, "__orig_bases__", ()):
            for argument in get_args(base) if get_origin(base) else ():
                if isinstance(argument, type) and issubclass(argument, StepConfig):
                    cls.Config = argument

    def __init__(self, name: str, config: StepConfigT) -> None:
        self.name = name
        self.config = config

    @classmethod
    def misreferences(cls, config: Any, names: References) -> Iterable[Misreference]:  # noqa: ARG003
        """Settings that name something unknown."""
        return ()

    @abstractmethod
    async def run(self, message: Message, context: Context) -> StepResult:
        """Returns the next message, several, or None to end here.

        Raises MessageUnusable when this message cannot be worked on.
        """


AnyStep = Step[Any]


@dataclass(frozen=True, slots=True)
class RecordKey:
    """One id under which a record is found."""

    name: str
    value: str
    unique: bool = False
    """At most one record may have it: a second one is a conflict, and its run goes again."""


@dataclass(frozen=True, slots=True)
class RecordKind:
    """A kind of record a plugin owns: its model, its search keys, and how an update is merged."""

    name: str
    model: type[Record]
    keys: Callable[[Any], Iterable[RecordKey]] = lambda _: ()
    plain: frozenset[str] = frozenset()
    """Names of search keys that are no patient data (a day, an appointment id); all others are kept as keyed digests."""
    save: Callable[[Any, Context], Awaitable[Any]] | None = None
    """Merges what comes in with what is known; None keeps it as it comes."""


@dataclass(frozen=True, slots=True)
class Reaction:
    """What follows, in the same commit, when a record of a kind was saved."""

    name: str
    kind: str
    run: Callable[[Any, Context], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a flow begins with when work has become due: a record, and headers that go with all that comes of it."""

    record: Record
    headers: Mapping[str, str] = field(default_factory=dict)
    lane: str = ""
    """Questions with the same lane are out one after another; the lane of the work when empty.  A few lanes for each partner
    limit how many questions it has at once, and no partner waits for another."""


@dataclass(frozen=True, slots=True)
class DueJob:
    """Makes the beginning of a flow from work that has become due, or None when there is nothing to do any more."""

    name: str
    prepare: Callable[[Mapping[str, str], Context], Awaitable[Prepared | None]]


@dataclass(frozen=True, slots=True)
class Operation:
    """Something a person may ask of a hub: a command, later a page.  Its changes and its audit row are one commit."""

    name: str
    """Group and verb: `worklist.list`."""
    summary: str
    params: type[BaseModel]
    run: Callable[[Any, Context], Awaitable[Any]]
    """Returns what is shown, ready for JSON."""
    private: frozenset[str] = frozenset()
    """Parameters that are patient data: the audit keeps a keyed digest of what was given, not the value."""
