"""The contract of a transform: a named, tested function that a mapping rule can use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any


@dataclass(frozen=True, slots=True)
class TransformContext:
    """What a transform may know besides the value: where the message came from."""

    zone: tzinfo
    """Time zone for times that come without one."""
    authority: str = ""
    """Assigning authority for ids that come without one."""
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Transform:
    """One transform: `PID-7 | date`.

    `run(value, arguments, context)` gets the value so far (None when empty) and returns the next one.  It raises
    ValueError, worded without the value, when it cannot.  An argument in braces is a path: `plus {SCH-9} {SCH-10}`; what
    stands there is the argument, empty when nothing does.
    """

    name: str
    run: Callable[[Any, Sequence[str], TransformContext], Any]
    arguments: tuple[int, int] = (0, 0)
    """Fewest and most arguments."""
    on_empty: bool = False
    """True when it also wants empty values (`default`, `required`); others are skipped for them."""
    summary: str = ""
    takes: type = str
    """What it works on; a message is rejected when something else comes through the pipe."""
    whole: bool = False
    """True when it wants all values of a `[*]` at once, as a list, and gives one."""
    check: Callable[[Sequence[str]], None] | None = None
    """Looks at the arguments before anything runs, and raises ValueError when it cannot work with them."""
