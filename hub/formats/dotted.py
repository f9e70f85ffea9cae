"""Reading records and plain data by dotted path: `patient.name.family`, `identifiers[2].value`, `service_types[*]`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from pydantic import BaseModel

from hub.format import Fields

_PART = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:\[(?P<index>\*|\d+)\])?")


class DottedFields:
    """A record, or dicts and lists, opened for a mapping."""

    __slots__ = ("_data",)

    def __init__(self, data: Any) -> None:
        self._data = data

    def get(self, path: str) -> str | None:
        return next(iter(self.get_all(path)), None)

    def get_all(self, path: str) -> list[str]:
        return [text for value in _at(self._data, path) if (text := _text(value)) is not None]

    def each(self, scope: str) -> Iterator[Fields]:
        for value in _at(self._data, scope):
            for item in value if isinstance(value, list | tuple) else []:
                yield DottedFields(item)


def path_error(path: str) -> str | None:
    if all(_PART.fullmatch(part) for part in path.split(".")):
        return None
    return f"{path!r} is no path; one looks like patient.name.family"


def _at(data: Any, path: str) -> list[Any]:
    """What stands at a path; several with `[*]`, nothing when the path is none."""
    found = [data]
    for part in path.split("."):
        match = _PART.fullmatch(part)
        found = [inner for value in found for inner in _inner(value, match)] if match else []
    return found


def _step(value: Any, name: str) -> Any:
    if isinstance(value, BaseModel):
        return getattr(value, name, None)
    return value.get(name) if isinstance(value, dict) else None


def _inner(value: Any, match: re.Match[str]) -> list[Any]:
    inner = _step(value, match["name"])
    index = match["index"]
    if index is None:
        return [] if inner is None else [inner]
    items = list(inner) if isinstance(inner, list | tuple) else []
    return items if index == "*" else items[int(index) - 1 : int(index)]


def _text(value: Any) -> str | None:
    match value:
        case None | dict() | list() | tuple() | BaseModel():
            return None
        case bool():
            return "true" if value else "false"
        case datetime() | date():
            return value.isoformat()
        case Decimal() | int() | float() | str():
            return str(value) or None
    return None
