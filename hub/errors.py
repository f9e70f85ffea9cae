"""Every error of the hub, named by what the hub does next.

    HubError
    ├── ConfigError          the configuration is wrong: nothing starts; lists every mistake with its place
    ├── ConnectionDown       the partner cannot be reached or is silent: messages wait in order, no attempt counts
    ├── MessageRejected      the partner answered, and refused this message: an attempt counts
    ├── MessageUnusable      the hub cannot make sense of this message: it goes to quarantine at once
    ├── DoubtfulSend         it may or may not have been sent: the message becomes `unknown`, never repeated blindly
    ├── StoreError           the store cannot be used
    │   ├── StoreFull        no space: nothing is acknowledged until there is some
    │   ├── StoreBroken      a write or sync failed: the hub stops rather than guess
    │   │   └── LeaseLost    another hub has taken over: this one forgets what it had and begins again
    │   ├── Conflict         a record changed meanwhile: the flow runs again
    │   └── Unkept           this alone cannot be kept: its message goes to quarantine, all else goes on
    ├── Busy                 too much at once: the sender keeps its message and tries later
    ├── Refused              not allowed as asked: a count that differs, a store in use
    ├── NotFound             there is no such message, visit or connection
    └── Unreachable          the running hub, its store or a partner does not answer

The texts say where, what and what to do.  They never hold patient data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hub.texts import whole_characters

LONGEST_TEXT = 2000
"""Characters of an error that are kept; a partner may have written some of them."""


class HubError(Exception):
    """Base of all errors the hub raises on purpose."""

    code = "HUB-000"

    def __init__(self, text: str = "", *, code: str | None = None, help: str | None = None) -> None:
        super().__init__(whole_characters(text)[:LONGEST_TEXT] or (self.__doc__ or "").strip())
        if code is not None:
            self.code = code
        self.help = help


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a file a person wrote: code, place, the line as written, what was expected, what to do."""

    code: str
    text: str
    file: str = ""
    line: int = 0
    """Counted from 1; 0 when the mistake has no place."""
    column: int = 0
    source: str = ""
    """The line as written."""
    width: int = 1
    """How many characters to underline."""
    expected: str = ""
    help: str = ""
    level: str = "error"
    """`error` keeps the hub from starting, `warning` does not."""

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


class ConfigError(HubError):
    """The configuration is wrong."""

    code = "CFG-000"

    def __init__(self, text: str = "", *, problems: Sequence[Problem] = (), code: str | None = None) -> None:
        self.problems = list(problems)
        super().__init__(text or "; ".join(f"{p.place}: {p.text}" for p in self.problems), code=code)


class ConnectionDown(HubError):
    """The partner cannot be reached."""

    code = "NET-001"

    def __init__(
        self,
        text: str = "",
        *,
        retry_after: float | None = None,
        code: str | None = None,
        unanswered: bool = False,
        maybe_done: bool = False,
    ) -> None:
        super().__init__(text, code=code)
        self.retry_after = retry_after
        """Seconds to wait at least: the partner asked for it, or a rule does."""
        self.unanswered = unanswered
        """The partner took the message and did not answer in time: while it answers others, only this message waits."""
        self.maybe_done = maybe_done
        """What was asked may have been done: it left, and no answer says that it was not."""


class MessageRejected(HubError):
    """The partner refused this message."""

    code = "MSG-001"

    def __init__(
        self,
        text: str = "",
        *,
        answer: str = "",
        final: bool = False,
        reply: bytes = b"",
        policy: str = "",
        code: str | None = None,
    ) -> None:
        super().__init__(text, code=code)
        self.answer = whole_characters(answer)[:40]
        """The partner's own code: AE, AR, 422 ..."""
        self.final = final
        """True when trying again cannot help."""
        self.reply = reply
        """What the partner wrote; it may name a patient, so it is kept sealed."""
        self.policy = policy
        """What the connection does about this answer, where it says more than `on_rejected`: retry, hold, quarantine, skip."""


class MessageUnusable(HubError):
    """The hub cannot make sense of this message."""

    code = "MSG-002"


class DoubtfulSend(HubError):
    """It is not known whether the partner got the message."""

    code = "MSG-003"


class StoreError(HubError):
    """The store cannot be used."""

    code = "STO-001"


class StoreFull(StoreError):
    """The store has no space left."""

    code = "STO-002"


class StoreBroken(StoreError):
    """A write to the store failed."""

    code = "STO-003"


class LeaseLost(StoreBroken):
    """Another hub has taken over from this one."""

    code = "STO-015"


class Conflict(StoreError):
    """A record changed while a flow was working on it."""

    code = "STO-004"


class Unkept(StoreError):
    """This cannot be kept in the store."""

    code = "STO-010"


class Busy(HubError):
    """More comes in than can be brought to disk; nothing was kept, try again later."""

    code = "HUB-007"

    def __init__(self, text: str = "", *, retry_after: float = 5.0, code: str | None = None) -> None:
        super().__init__(text, code=code)
        self.retry_after = retry_after
        """Seconds after which it is worth trying again."""


class Refused(HubError):
    """Not allowed as asked."""

    code = "HUB-005"


class NotFound(HubError):
    """There is nothing of that name."""

    code = "HUB-006"


class Unreachable(HubError):
    """It does not answer."""

    code = "HUB-004"


@dataclass(slots=True)
class Problems:
    """Collects mistakes so that all of them are reported at once."""

    found: list[Problem] = field(default_factory=list)

    def add(self, problem: Problem) -> None:
        if problem not in self.found:
            self.found.append(problem)

    @property
    def errors(self) -> list[Problem]:
        return [p for p in self.found if p.level == "error"]

    def sorted(self) -> list[Problem]:
        return sorted(self.found, key=lambda p: (p.file, p.line, p.column, p.code))

    def raise_if_any(self) -> None:
        if self.errors:
            raise ConfigError(problems=self.sorted())
