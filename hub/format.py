"""The contract of a format: what a codec must be able to say about bytes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from hub.message import Message
from hub.step import Context


@dataclass(frozen=True, slots=True)
class Keys:
    """What a message is filed under."""

    type: str = ""
    control_id: str = ""
    duplicate_key: str = ""
    """What makes a resend recognisable; empty when nothing does."""
    patient: Sequence[str] = ()
    """Patient ids as the message has them."""
    appointment: Sequence[str] = ()
    member: Sequence[str] = ()
    ordering: Sequence[str] = ()
    """Ids whose messages must keep their order; a merge has two. Empty: the connection's messages keep theirs."""
    other: Sequence[tuple[str, str]] = ()
    """Further ids: kind and value."""
    findings: Sequence[str] = field(default=())


class Fields(Protocol):
    """A message opened for reading by path."""

    def get(self, path: str) -> str | None:
        """The first value at a path; None when it is empty, `""` when it was sent as "delete this"."""
        ...

    def get_all(self, path: str) -> list[str]:
        """All values at a path that says `[*]`."""
        ...

    def each(self, scope: str) -> Iterator[Fields]:
        """The groups a scope names, each read on its own (`IN1`: one insurance with what belongs to it)."""
        ...


class Format(ABC):
    """One wire format."""

    name: ClassVar[str]
    """As mappings name it in `from` and `to`."""
    orders_by_path: ClassVar[bool] = False
    """Whether `keys` reads the path that a connection names as its `ordering_key`."""

    def keys(self, body: bytes, headers: Any) -> Keys:  # noqa: ARG002
        """What the body is filed under.  Total: any bytes give an answer, none an exception."""
        return Keys()

    @abstractmethod
    def open(self, message: Message) -> Fields:
        """Opens a message for a mapping; raises MessageUnusable when it is not of this format."""

    @abstractmethod
    def path_error(self, path: str) -> str | None:
        """What is wrong with a path, or None."""

    def path_error_within(self, path: str, scope: str | None) -> str | None:  # noqa: ARG002 - most read alike everywhere
        """What is wrong with a path in an `each` over a scope (None: in none), or None."""
        return self.path_error(path)

    def in_words(self, text: str, message: Message) -> str:  # noqa: ARG002 - most paths are words already
        """What is wrong with a message, which begins with a path of it, with the name people have for what stands there."""
        return text

    def scope_error(self, scope: str) -> str | None:
        """What is wrong with the scope of an `each`, or None."""
        return self.path_error(scope)


@dataclass(frozen=True, slots=True)
class Copied:
    """A value that a mapping takes over from the message it reads, just as it stands there."""

    path: str


class WritableFormat(Format):
    """A format that a mapping can also write (`to:`)."""

    changes: ClassVar[bool] = False
    """True when a mapping that reads this format too does not make a new message but changes the one it reads: what it does not
    name stays as it is.  Then values also are `Copied`, `""` ("there is none") and the empty text.
    """

    @abstractmethod
    def target_error(self, path: str) -> str | None:
        """What is wrong with a path to write to, or None."""

    @abstractmethod
    async def write(self, values: dict[str, Any], message: Message, context: Context) -> Message:
        """Makes a message of this format from the values a mapping gives, keyed by dotted path.

        Raises MessageUnusable when they do not make one.
        """
