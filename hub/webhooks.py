"""What webhooks carry: JSON or a form, read by dotted path, and the files of a form.  The format `webhook`.

    payload.email                  of JSON
    events[1].id                   of JSON whose list has a name
    MessageSid                     of a form
    fax.status                     of a form whose field is named fax[status]
    json.event.event_type          of a form whose field `json` holds JSON

A body is kept as it came; `content_type` among the headers of the message says what it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from hub.errors import MessageUnusable
from hub.format import Fields, Format, Keys
from hub.formats.dotted import DottedFields, path_error
from hub.formats.loose_json import Unreadable, read_json
from hub.message import Message
from hub.net.forms import URL_ENCODED, Form, FormUnusable, is_form, read_form
from hub.net.multipart import Part, media_type

NAME = "webhook"
MOST_DEPTH = 8
"""Brackets in the name of a field that are looked into: fax[id] has one."""
MOST_ITEMS = 1000
"""Events of one body; each becomes a message."""
_LIKE_A_FORM = re.compile(rb"[\w.%+\[\]-]+=")
"""How a form begins that does not say what it is: a file on a disk, in `hub try`."""
_BRACKETS = re.compile(r"\[([^\[\]]*)\]")


class Unread(Exception):
    """The body is neither JSON nor a form; the text says why without a word of it."""


def data_of(body: bytes, content_type: str) -> Any:
    """What a body says, as dicts, lists and texts.  Raises Unread."""
    if not content_type and _LIKE_A_FORM.match(body):
        content_type = URL_ENCODED
    try:
        return _form_data(read_form(body, content_type)) if is_form(content_type) else read_json(body)
    except (FormUnusable, Unreadable) as error:
        raise Unread(str(error)) from None


def fields_of(body: bytes, content_type: str) -> Fields:
    """The body opened for reading by dotted path.  Raises Unread."""
    return DottedFields(data_of(body, content_type))


def files_of(message: Message) -> list[Part]:
    """The files of a form that was posted.  Raises MessageUnusable when the form cannot be read."""
    content_type = message.headers.get("content_type", "")
    if media_type(content_type) != "multipart/form-data":
        return []
    try:
        return read_form(message.body, content_type).files
    except FormUnusable as error:
        raise MessageUnusable(f"the form of a webhook cannot be read: {error}", code="WHK-004") from None


class WebhookFormat(Format):
    """JSON or a form that somebody posted."""

    name = NAME

    def keys(self, body: bytes, headers: Mapping[str, str]) -> Keys:  # noqa: ARG002 - the listener has read it
        """Events of one thing at the partner's keep their order; those that name none keep that of their connection."""
        resource = headers.get("resource", "")
        return Keys(
            type=headers.get("event", ""),
            ordering=(resource,) if resource else (),
            other=(("partner", resource),) if resource else (),
        )

    def open(self, message: Message) -> Fields:
        try:
            return fields_of(message.body, message.headers.get("content_type", ""))
        except Unread as error:
            raise MessageUnusable(f"a webhook cannot be read: {error}", code="WHK-004") from None

    def path_error(self, path: str) -> str | None:
        return path_error(path)


# Forms.


def _form_data(form: Form) -> dict[str, Any]:
    """Fields by name, a repeated one as a list; what is inside brackets is a name inside the name."""
    data: dict[str, Any] = {}
    for name, value in form.fields:
        _put(data, _names(name), _unfolded(value))
    for part in form.files:
        about = {"filename": part.filename, "media_type": part.media_type, "size": str(len(part.body))}
        _put(data, _names(part.name), about)
    return data


def _names(name: str) -> list[str]:
    start = name.find("[")
    inner = _BRACKETS.findall(name[start:]) if start > 0 else []
    if not inner or len(inner) > MOST_DEPTH or name[:start] + "".join(f"[{part}]" for part in inner) != name:
        return [name]
    return [name[:start], *(part for part in inner if part)]


def _put(data: dict[str, Any], names: list[str], value: Any) -> None:
    *outer, last = names
    for name in outer:
        inner = data.setdefault(name, {})
        if not isinstance(inner, dict):
            return  # a field and fields inside of it: the first one counts
        data = inner
    if last not in data:
        data[last] = value
    elif isinstance(data[last], list):
        data[last].append(value)
    elif not isinstance(data[last], dict):
        data[last] = [data[last], value]


def _unfolded(value: str) -> Any:
    """JSON in a field can be looked into; it stays a text where it is none."""
    if not value.lstrip().startswith("{"):
        return value
    try:
        return read_json(value.encode("utf-8", "replace"))
    except Unreadable:
        return value


# Several events in one body.


def items_of(body: bytes, path: str) -> list[bytes]:
    """The items of the list at a path of JSON (`.`: the body is the list), each just as it stands there.

    Raises Unread when there is no such list, or one of more than MOST_ITEMS.
    """
    try:
        text = body.decode("utf-8-sig")
        at = _skip(text, 0)
        for name in [part for part in path.split(".") if part]:
            at = _member(text, at, name)
        items = [text[start:end].encode() for start, end in islice(_items(text, at), MOST_ITEMS + 1)]
    except (ValueError, IndexError, RecursionError):
        raise Unread(f"there is no list of events at {path!r}") from None
    if len(items) > MOST_ITEMS:
        raise Unread(f"there are more than {MOST_ITEMS} events at {path!r}")
    return items


_SCAN = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str).raw_decode
_SPACE = re.compile(r"[ \t\r\n]*")


def _skip(text: str, at: int) -> int:
    return _SPACE.match(text, at).end()  # type: ignore[union-attr]  # it matches nothing, too


def _member(text: str, at: int, wanted: str) -> int:
    """Where the value of a member of an object begins; of the last one of that name, as JSON readers take it."""
    found = -1
    for start in _elements(text, at, "{"):
        name, end = _SCAN(text, start)
        at = _skip(text, end)
        if text[at] != ":":
            raise ValueError
        at = _skip(text, at + 1)
        if name == wanted:
            found = at
    if found < 0:
        raise ValueError
    return found


def _items(text: str, at: int) -> Iterator[tuple[int, int]]:
    for start in _elements(text, at, "["):
        _, end = _SCAN(text, start)
        yield start, end


def _elements(text: str, at: int, opening: str) -> Iterator[int]:
    """Where each element of a list, or member of an object, begins."""
    if text[at] != opening:
        raise ValueError
    closing = "]" if opening == "[" else "}"
    at = _skip(text, at + 1)
    while text[at] != closing:
        yield at
        if opening == "{":
            _, at = _SCAN(text, at)
            at = _skip(text, _skip(text, at) + 1)
        _, end = _SCAN(text, at)
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
        elif text[at] != closing:
            raise ValueError
