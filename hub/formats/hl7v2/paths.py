"""Paths to fields: `PID-5.1`, `PID-3[2].4.2`, `PID-3[5=MR].1`, `IN1[2]-36`, `OBX[*]-5`.

`SEG[n]` picks the n-th segment of that name (default 1), `SEG[*]` all, `OBX[2=ED]` the first whose field (or component, `3.1`)
has that value, `OBX[2!=ED]` the first that has another, `OBX[*,2=ED]` all that have it.  `OBX[*<1]` is all in the order of the
numbers in their field 1, or as they stand when one has no number or two have the same.  `-F` is the field, `[r]` a
repetition by number or by the value of one of its components, `.C` a component, `.S` a subcomponent.  Without a component the
whole repetition is meant.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

_PATH = re.compile(
    r"(?P<segment>[A-Za-z][A-Za-z0-9]{2})"
    r"(?:\[(?P<occurrence>\*(?:<(?P<order>[0-9]{1,4}))?|[0-9]{1,7})?(?:(?(occurrence),)(?P<where>[0-9]{1,4})(?:\.(?P<part>[0-9]{1,4}))?(?P<is>!?=)(?P<value>[^\]]*))?\])?"
    r"-(?P<field>[0-9]{1,4})(?:\[(?P<repetition>\*|[0-9]{1,7}|[0-9]{1,4}=[^\]]*)\])?"
    r"(?:\.(?P<component>[0-9]{1,4})(?:\.(?P<subcomponent>[0-9]{1,4}))?)?"
)


HEADERS = frozenset({"MSH", "FHS", "BHS"})
"""Segments whose first field is the separator itself."""


class Where(NamedTuple):
    """A condition on the first value of a field of a segment."""

    field: int
    component: int | None
    value: str
    holds: bool
    """False for `!=`."""


class Path(NamedTuple):
    """A path taken apart; numbers count from 1, 0 means "all"."""

    segment: str
    occurrence: int
    field: int
    repetition: int
    selector: tuple[int, str] | None
    """Component number and the value it must have."""
    component: int | None
    subcomponent: int | None
    where: Where | None = None
    """What a field of the segment must hold, or must not."""
    order: int | None = None
    """The field whose numbers say in which order all of them come."""


@lru_cache(maxsize=4096)
def parse(text: str) -> Path:
    """Raises ValueError saying what a path looks like."""
    match = _PATH.fullmatch(text.strip())
    if not match or "[]" in text or (match["where"] and (match["occurrence"] or "*")[0] != "*"):
        raise ValueError(f"{text!r} is no HL7 path; one looks like PID-5.1, PID-3[2].4, PID-3[5=MR].1 or IN1[2]-36")
    repetition, selector = match["repetition"] or "1", None
    if "=" in repetition:
        number, _, value = repetition.partition("=")
        selector, repetition = (_positive(number, text), value), "*"
    return Path(
        match["segment"].upper(),
        0 if (match["occurrence"] or "")[:1] == "*" else _positive(match["occurrence"] or "1", text),
        _positive(match["field"], text),
        0 if repetition == "*" else _positive(repetition, text),
        selector,
        _positive(match["component"], text) if match["component"] else None,
        _positive(match["subcomponent"], text) if match["subcomponent"] else None,
        _where(match, text) if match["where"] else None,
        _positive(match["order"], text) if match["order"] else None,
    )


def _where(match: re.Match[str], text: str) -> Where:
    part = _positive(match["part"], text) if match["part"] else None
    return Where(_positive(match["where"], text), part, match["value"], match["is"] == "=")


Single = tuple[str, int, int | None, int | None]
"""Segment, its place among the parts between field separators, component and subcomponent of a path that means one value."""


@lru_cache(maxsize=4096)
def single(text: str) -> Single | None:
    """A path to the first repetition of a field of the first segment of its name, which most paths are; None for others."""
    path = parse(text)
    header = path.segment in HEADERS
    if (path.occurrence, path.repetition, path.selector, path.where) != (1, 1, None, None) or (header and path.field <= 2):
        return None
    return path.segment, path.field - header, path.component, path.subcomponent


def target_error(text: str) -> str | None:
    """What is wrong with a path as a place to write to, or None."""
    try:
        path = parse(text)
    except ValueError as error:
        return str(error)
    if path.occurrence == 0 or (path.repetition == 0 and path.selector is None):
        return f"{text!r}: [*] means all of them; name the one to write to"
    if path.segment in HEADERS and path.field <= 2:
        return f"{text!r} holds the separators and cannot be set"
    return None


def names_repetition(text: str) -> bool:
    """True when a path says which repetition it means: `PID-3[2]`, `PID-3[1]`."""
    match = _PATH.fullmatch(text.strip())
    return match is not None and match["repetition"] is not None


def _positive(number: str, path: str) -> int:
    value = int(number)
    if value < 1:
        raise ValueError(f"{path!r}: numbers in an HL7 path count from 1")
    return value
