"""JSON from partners, read without trust: numbers as they were written, any value in any place, one kind of error.

A field may be a text or a number, one thing or a list of one: readers ask for what they need and get that or nothing.
"""

from __future__ import annotations

import json
from typing import Any

MOST_ITEMS = 20_000
"""So many entries of one list are read."""
_CONTROL = dict.fromkeys((*range(32), 127), " ")


class Unreadable(Exception):
    """It is no JSON; the text says what it is instead, without a word of it."""


def read_object(data: bytes) -> dict[str, Any]:
    """The object a body holds; amounts keep their zeros.  Raises Unreadable."""
    found = read_json(data)
    if not isinstance(found, dict):
        raise Unreadable("there is no JSON object in it")
    return found


def read_json(data: bytes) -> Any:
    """Whatever JSON a body holds, its numbers as texts.  Raises Unreadable."""
    text = _decoded(data)
    if (what := _something_else(text)) is not None:
        raise Unreadable(what)
    try:
        return json.loads(text, parse_float=str, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError):
        raise Unreadable("it is no JSON, or it was cut off") from None


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _something_else(text: str) -> str | None:
    head = text.lstrip()[:64].lower()
    if not head:
        return "it is empty"
    if head.startswith(("<!doctype html", "<html")):
        return "it is a web page, so the partner's server answered with an error page"
    if head.startswith("<"):
        return "it is XML"
    if head.startswith("isa"):
        return "it is X12, so this connection does not speak JSON"
    return None


def text_of(value: Any) -> str:
    """A text or number as text, in one line; empty for everything else."""
    if not isinstance(value, str):
        return ""
    clean = value.translate(_CONTROL).strip()
    return clean if clean.isascii() else clean.encode("utf-8", "replace").decode("utf-8")


def first_text(said: dict[str, Any], *keys: str) -> str:
    """What stands under the first of these names that holds something."""
    return next((text for key in keys if (text := text_of(said.get(key)))), "")


def texts_of(value: Any) -> list[str]:
    """A list of texts, or one text as a list of one; empty ones left out."""
    given = value[:MOST_ITEMS] if isinstance(value, list) else [value]
    return [text for one in given if (text := text_of(one))]


def object_of(value: Any) -> dict[str, Any]:
    """An object, or the first of a list of them; an empty one for everything else."""
    return next(iter(objects_of(value)), {})


def objects_of(value: Any) -> list[dict[str, Any]]:
    """A list of objects, or one object as a list of one."""
    given = value[:MOST_ITEMS] if isinstance(value, list) else [value]
    return [one for one in given if isinstance(one, dict)]
