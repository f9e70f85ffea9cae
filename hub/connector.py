"""The contract of a connector: code that moves bytes for one protocol and knows no vendor and no workflow.

A `Source` brings messages in, a `Destination` takes them out; one class may be both.  The one rule:

    receipt = await deliver(messages)

**When `deliver` returns, the hub owns the messages; when it raises, the sender still does.**  So a poller deletes after
it, and a listener answers after it.  When more comes in than the disk takes, `deliver` waits, which slows the sender, and then
raises Busy: a listener answers what its protocol has for "try later" (AR with 207, HTTP 503 with Retry-After).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar, get_args, get_origin

import structlog
from pydantic import BaseModel, ConfigDict, Field

from hub.errors import HubError
from hub.message import Message
from hub.units import Duration, Rate, Zone

log = structlog.get_logger(__name__)

Keep = Literal["full", "until_delivered", "metadata"]
Reject = Literal["retry", "hold", "quarantine", "skip"]


class ConnectorConfig(BaseModel):
    """Settings every connection has.  Describe each of your own fields with a string under it: the docs are made of them."""

    model_config = ConfigDict(
        extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True, frozen=True, validate_default=True
    )

    kind: str
    """Which connector moves the bytes."""
    vendor: str | None = None
    """Vendor profile whose values fill in what is not set here."""
    site: str | None = None
    """The clinic's site this connection belongs to; its time zone is used for times without one. Default: the only site."""
    keep: Keep | None = None
    """How long the bodies of its messages stay in the store: `full` for as long as retention says, `until_delivered` until
    all is delivered or skipped (what is quarantined keeps its body for a replay), `metadata` until all has ended in any way.
    Default: what the flow says, else full."""


class SourceConfig(ConnectorConfig):
    """Settings of everything that brings messages in."""

    timezone: Zone | None = None
    """Time zone of times that come without one, as an IANA name (America/Chicago). Default: that of the site."""
    authority: str | None = None
    """Assigning authority to assume for patient ids that come without one (PID-3.4)."""
    overlays: dict[str, str] = {}
    """Mappings that stand in for others in flows from this connection: `{siu_to_appointment: our_bookings}`. Each extends the
    one it stands in for; a vendor profile may bring them."""
    ordering_key: str | None = None
    """Path of the field whose value keeps messages in order. Default: the patient, else the connection."""
    remember_for: Duration = Field(default=7 * 86400.0, ge=0)
    """How long control ids are remembered to recognise messages that are sent again; 0s switches it off."""


class Retry(BaseModel):
    """How often and how long to try again."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, frozen=True)

    first: Duration = Field(default=1.0, gt=0)
    """Wait before the second attempt; doubles from there, with jitter."""
    most: Duration = Field(default=300.0, gt=0)
    """Longest wait between attempts."""
    attempts: int = Field(default=5, ge=1)
    """Attempts at one message before `on_rejected` gives it up."""


class DestinationConfig(ConnectorConfig):
    """Settings of everything that takes messages out."""

    parallel: int = Field(default=1, ge=1, le=256)
    """How many messages may be under way at once; messages with the same ordering key never are."""
    rate: Rate | None = Field(default=None, gt=0)
    """Send no faster than this, evenly: 10/s, 600/min, 1000/h. What comes faster waits in order. Default: as fast as it can."""
    retry: Retry = Retry()
    """For messages the partner refuses, and for connections that are down (there without counting attempts)."""
    on_rejected: Reject = "retry"
    """When the partner refuses a message: try again and then quarantine, hold the lane for a person, quarantine or skip it."""


ConfigT = TypeVar("ConfigT", bound=ConnectorConfig)


class Receipt(Protocol):
    """Proof that the hub owns what was delivered."""

    @property
    def ids(self) -> Sequence[str]: ...

    @property
    def duplicates(self) -> Sequence[bool]:
        """True for each message the hub had already: it is answered again and not routed."""
        ...

    async def outcome(self, timeout: float) -> str:
        """The state the messages ended in, `delivered` or the first that is worse; `waiting` after `timeout` seconds."""
        ...

    async def outcomes(self, timeout: float, *, sent_on: bool = False) -> Sequence[str]:
        """The same for each message, in their order; with `sent_on` once what its flows sent on has ended too."""
        ...

    async def answered_no(self, numbers: Sequence[int]) -> None:
        """The sender was told that the messages at these places failed: a resend of them is looked at afresh."""
        ...

    def remark(self, number: int, what: str, text: str) -> None:
        """Leaves a line on the timeline of the message at this place, without patient data; nobody waits for it."""
        ...


class Deliver(Protocol):
    """Hands messages to the hub.  One call is one transaction."""

    async def __call__(self, messages: Sequence[Message]) -> Receipt: ...

    async def refuse(self, message: Message, reason: str) -> None:
        """Keeps a message that is answered negatively; a resend of it is looked at afresh."""
        ...

    def turned_away(self, reason: str) -> None:
        """Counts what came and is no message: a wrong signature, too many at once; `reason` is one of a few words."""
        ...

    def threadsafe(self, messages: Sequence[Message]) -> Receipt:
        """The same as a call, for libraries that block in threads of their own."""
        ...


class Connector(ABC, Generic[ConfigT]):
    """A connection: one protocol, configured under a name."""

    kind: ClassVar[str]
    Config: ClassVar[type[ConnectorConfig]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for base in getattr(cls, "__orig_bases__", ()):
            for argument in get_args(base) if get_origin(base) else ():
                if isinstance(argument, type) and issubclass(argument, ConnectorConfig):
                    cls.Config = argument

    def __init__(self, name: str, config: ConfigT) -> None:
        self.name = name
        self.config = config

    async def check(self) -> str:
        """Reaches the partner without sending anything, for `hub check --connect`.

        Returns one line saying what answered; raises ConnectionDown saying what did not.
        """
        return "nothing to reach"

    async def close(self) -> None:
        """Lets go of everything within two seconds; may be called twice."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"


class Source(Connector[ConfigT]):
    """Brings messages in."""

    @abstractmethod
    async def open(self, deliver: Deliver) -> None:
        """Starts to listen or to poll, and returns; raises ConnectionDown when it cannot."""


class Poller(Source[ConfigT]):
    """A source that looks for messages again and again; authors write `poll` and have an `every` in their settings."""

    _task: asyncio.Task[None] | None = None
    failure: str | None = None
    """Why the last poll failed; None when it did not."""
    failure_code: str = ""
    failing_since: float | None = None
    """When polls began to fail; seconds since 1970."""

    @abstractmethod
    async def poll(self, deliver: Deliver) -> None:
        """Delivers what there is; raises ConnectionDown when the place cannot be reached."""

    async def open(self, deliver: Deliver) -> None:
        self._task = asyncio.create_task(self._poll_forever(deliver), name=f"poll {self.name}")

    async def _poll_forever(self, deliver: Deliver) -> None:
        while True:
            try:
                await self.poll(deliver)
                self.failure = self.failing_since = None
            except Exception as error:  # whatever went wrong, the next look may go well
                self._note(error)
            await asyncio.sleep(getattr(self.config, "every", 5.0))

    def _note(self, error: Exception) -> None:
        """Keeps for `hub status` why a poll failed, and logs it once."""
        failure = _told(self.name, error)
        if failure != self.failure:
            log.warning("looking for messages failed", connection=self.name, reason=failure)
        self.failure, self.failure_code = failure, _code_of(error)
        self.failing_since = self.failing_since or time.time()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None


def _told(name: str, error: Exception) -> str:
    """The words of an error; of a mistake in a program only its kind, because its words may hold patient data."""
    if isinstance(error, HubError):
        return str(error)
    if isinstance(error, OSError):
        return f"{name}: {error.strerror or type(error).__name__}"
    return f"{name}: the program failed with {type(error).__name__}; this is a mistake in a plugin or in the hub"


def _code_of(error: Exception) -> str:
    return error.code if isinstance(error, HubError) else "SYS-001" if isinstance(error, OSError) else "BUG-001"


class Destination(Connector[ConfigT]):
    """Takes messages out."""

    repeat: ClassVar[Literal["safe", "ask"]] = "safe"
    """`safe`: a message may be sent again under the same id. `ask`: a doubtful send is for a person to decide."""

    def may_repeat(self, message: Message) -> bool:  # noqa: ARG002 - for those that override it
        """Whether this message may be sent again after a doubtful send.  A destination that takes questions beside orders
        (how is it?) says so of each.
        """
        return self.repeat == "safe"

    async def open_destination(self) -> None:
        """Prepares to send; reaching the partner may wait for the first message."""

    @abstractmethod
    async def send(self, message: Message) -> Message | None:
        """Sends one message and returns the partner's answer, if it has one.

        Raises ConnectionDown when the partner cannot be reached or is silent, MessageRejected when it answers about this
        message, DoubtfulSend when it is not known whether it arrived.
        """


AnySource = Source[Any]
AnyDestination = Destination[Any]
AnyConnector = Connector[Any]
