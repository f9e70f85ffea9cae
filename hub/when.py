"""The filter of a flow, and of a list in a mapping.

    when: {type: [SIU^S12, SIU^S13], not: {PV1-2: I}}

A key is a header of the message (`type`, `format`, `control_id`, `event` ...) or a path; a list is any of its values, several
keys are all of them, `not:` negates what is under it, `*` stands for any characters.  There is nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

HEADERS = ("type", "format", "control_id", "file", "generation", "event")

Look = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Condition:
    """One key and the values it may have."""

    key: str
    values: tuple[re.Pattern[str], ...]
    place: tuple[str | int, ...] = ()
    """Where it stands inside the filter."""

    def holds(self, look: Look) -> bool:
        value = look(self.key) or ""
        return any(pattern.fullmatch(value) for pattern in self.values)


@dataclass(frozen=True, slots=True)
class When:
    """All conditions must hold, and none of the negated ones may."""

    conditions: tuple[Condition, ...] = ()
    negated: tuple[When, ...] = ()

    def holds(self, look: Look) -> bool:
        return all(c.holds(look) for c in self.conditions) and not any(w.holds(look) for w in self.negated)


def glob(text: str) -> re.Pattern[str]:
    """A pattern in which `*` stands for any characters.

    What lies between two stars is taken where it comes first and not looked for again, so that no value takes long.
    """
    first, *rest = (re.escape(part) for part in text.split("*"))
    if not rest:
        return re.compile(first)
    *middle, last = rest
    return re.compile(f"{first}{''.join(f'(?>.*?{part})' for part in middle)}.*{last}", re.DOTALL)


def is_path(key: str) -> bool:
    return "-" in key or "." in key


def parse_when(data: Any, report: Callable[[tuple[str | int, ...], str], None], key: tuple[str | int, ...] = ()) -> When:
    """The filter; mistakes go to `report` with the place inside the filter."""
    if data is None:
        return When()
    if not isinstance(data, Mapping):
        report(key, "`when` is a list of headers or paths with the values they may have")
        return When()
    conditions, negated = [], []
    for name, values in data.items():
        here = (*key, name)
        if name == "not":
            negated.append(parse_when(values, report, here))
            continue
        listed = values if isinstance(values, list) else [values]
        if not listed or not all(isinstance(value, str) for value in listed):
            report(here, f"{name}: expected a value or a list of values")
            continue
        conditions.append(Condition(name, tuple(glob(value) for value in listed), here))
    return When(tuple(conditions), tuple(negated))


def conditions_of(when: When) -> list[Condition]:
    """All of them, those under `not` too."""
    return [*when.conditions, *(condition for inner in when.negated for condition in conditions_of(inner))]


def keys_of(when: When) -> list[str]:
    return [condition.key for condition in conditions_of(when)]
