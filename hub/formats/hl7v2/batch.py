"""Several messages in one file or frame: FHS/BHS/BTS/FTS batches (chapter 2, section 2.10.3) and plain concatenation."""

from __future__ import annotations

import re
from dataclasses import dataclass

_HEADER = re.compile(
    rb"(?:\A(?:\xef\xbb\xbf)?[ \t\r\n\x0b]*|[\r\n\x1c\x0b][ \t\r\n\x0b]*)(?=(MSH|FHS|BHS|BTS|FTS)[^A-Za-z0-9\r\n])"
)


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
    marks = [(match.end(), match[1]) for match in _HEADER.finditer(body)]
    bodies: list[bytes] = []
    announced: list[int] = []
    batch = ""
    for number, (start, kind) in enumerate(marks):
        end = marks[number + 1][0] if number + 1 < len(marks) else len(body)
        if kind == b"MSH":
            bodies.append(body[start:end].rstrip(b"\x1c\x0b") if len(marks) > 1 else body)
        elif kind == b"BHS":
            batch = _field(body[start:end], 10)
        elif kind == b"BTS" and (count := _field(body[start:end], 1)).isdigit():
            announced.append(int(count))
    findings = []
    if announced and sum(announced) != len(bodies):
        findings.append(f"BTS-1 announces {sum(announced)} messages, {len(bodies)} were sent")
    return [Part(text, index, len(bodies), batch) for index, text in enumerate(bodies)], findings


def _field(segment: bytes, number: int) -> str:
    fields = re.split(rb"[\r\n]", segment, maxsplit=1)[0].split(segment[3:4])
    return fields[number].decode("latin-1").strip() if number < len(fields) else ""
