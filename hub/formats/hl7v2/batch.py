"""Several messages in one file or frame: FHS/BHS/BTS/FTS batches (chapter 2, section 2.10.3) and plain concatenation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from hub.formats.hl7v2.lines import end_of_message

_WORDS = frozenset({b"MSH", b"FHS", b"BHS", b"BTS", b"FTS"})
_HEADER = re.compile(
    rb"(?<![^\r\n\x0b\x1c])(?:[ \t\x00]|\xef\xbb\xbf)*((?:MSH|FHS|BHS|BTS|FTS)(?=[^A-Za-z0-9\r\n]))", re.IGNORECASE
)
"""A header at the beginning of a line, of a frame, or behind the byte order mark of a file that was joined to another."""


@dataclass(frozen=True, slots=True)
class Part:
    """One message of a body: its bytes, and where it stood."""

    body: bytes
    index: int
    count: int
    batch: str = ""
    """Batch control id (BHS-11), when there is one."""


def split(body: bytes) -> tuple[list[Part], list[str]]:
    """The messages in a body, in order, and what was wrong with the batch around them.

    A body without any MSH gives no parts.
    """
    return ([Part(body, 0, 1)], []) if is_one(body) else in_full(body)


def in_full(body: bytes) -> tuple[list[Part], list[str]]:
    """What `split` gives, found by a thorough look."""
    marks = [mark for mark in _HEADER.finditer(body)]  # noqa: C416 - `list` would let no other thread run meanwhile
    ends = [mark.start() for mark in marks[1:]] + [len(body)]
    messages: list[tuple[bytes, str]] = []
    findings: list[str] = []
    batch, first = "", 0
    for mark, end in zip(marks, ends, strict=False):
        segment = body[mark.start(1) : end]
        match mark[1].upper():
            case b"MSH":
                messages.append((segment[: end_of_message(segment)] if len(marks) > 1 else body, batch))
            case b"BHS":
                batch, first = _field(segment, 10), len(messages)
            case b"BTS":
                findings += _miscounted(_field(segment, 1), len(messages) - first)
                batch, first = "", len(messages)
    return [Part(text, index, len(messages), of) for index, (text, of) in enumerate(messages)], findings


def is_one(body: bytes) -> bool:
    """True when there is certainly one message, from the first byte on: a quick look, which most bodies need no other than."""
    if not body.startswith(b"MSH") or b"\x0b" in body or b"\x1c" in body:
        return False
    first, *others = (body.replace(b"\n", b"\r") if b"\n" in body else body).split(b"\r")
    return first[3:4] != b"" and not first[3:4].isalnum() and _begin_no_header(frozenset([line[:3] for line in others]))


@lru_cache(maxsize=500)
def _begin_no_header(beginnings: frozenset[bytes]) -> bool:
    """True when no line that begins so is a header, even behind blanks."""
    return all(not head or (head.isalnum() and head.upper() not in _WORDS) for head in beginnings)


def _miscounted(announced: str, sent: int) -> list[str]:
    """A finding when BTS-1 is a number, and another one than was sent."""
    if not re.fullmatch("[0-9]{1,9}", announced) or int(announced) == sent:
        return []
    return [f"BTS-1 announces {int(announced)} messages, {sent} were sent"]


def _field(segment: bytes, number: int) -> str:
    fields = re.split(rb"[\r\n]", segment, maxsplit=1)[0].split(segment[3:4])
    return fields[number].decode("latin-1").strip() if number < len(fields) else ""
