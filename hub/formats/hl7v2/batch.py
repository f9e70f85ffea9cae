"""Several messages in one file or frame: FHS/BHS/BTS/FTS batches (chapter 2, section 2.10.3) and plain concatenation."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hub.formats.hl7v2.message import end_of_message

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
    marks = list(_HEADER.finditer(body))
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


def _miscounted(announced: str, sent: int) -> list[str]:
    """A finding when BTS-1 is a number, and another one than was sent."""
    if not re.fullmatch("[0-9]{1,9}", announced) or int(announced) == sent:
        return []
    return [f"BTS-1 announces {int(announced)} messages, {sent} were sent"]


def _field(segment: bytes, number: int) -> str:
    fields = re.split(rb"[\r\n]", segment, maxsplit=1)[0].split(segment[3:4])
    return fields[number].decode("latin-1").strip() if number < len(fields) else ""
