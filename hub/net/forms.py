"""Forms as browsers and webhooks post them: fields with their texts, and files."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from hub.net.multipart import MultipartUnusable, Part, media_type, read_parts

MOST_FIELDS = 1000
URL_ENCODED, MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"


class FormUnusable(Exception):
    """It says that it is a form and is none; the text says why without a word of it."""


@dataclass(frozen=True, slots=True)
class Form:
    """What a form carries, in the order it came."""

    fields: list[tuple[str, str]]
    files: list[Part] = field(default_factory=list)


def is_form(content_type: str) -> bool:
    return media_type(content_type) in (URL_ENCODED, MULTIPART)


def read_form(body: bytes, content_type: str) -> Form:
    """Fields that were sent empty are there, empty.  Raises FormUnusable."""
    match media_type(content_type):
        case "application/x-www-form-urlencoded":
            return Form(read_query(body.decode("utf-8", "replace")))
        case "multipart/form-data":
            return _of_parts(body, content_type)
        case _:
            raise FormUnusable("its Content-Type is that of no form")


def read_query(text: str) -> list[tuple[str, str]]:
    """Names and values of `a=1&b=2`.  Raises FormUnusable when there are too many."""
    try:
        return parse_qsl(text, keep_blank_values=True, errors="replace", max_num_fields=MOST_FIELDS)
    except ValueError:
        raise FormUnusable("it has too many fields") from None


def _of_parts(body: bytes, content_type: str) -> Form:
    try:
        parts = read_parts(body, content_type)
    except MultipartUnusable as error:
        raise FormUnusable(str(error)) from None
    fields = [(part.name, part.body.decode("utf-8", "replace")) for part in parts if not part.is_file]
    return Form(fields, [part for part in parts if part.is_file])
