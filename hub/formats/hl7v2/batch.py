"""Several messages in one file or frame: FHS/BHS/BTS/FTS batches (chapter 2, section 2.10.3) and plain concatenation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from hub.formats.hl7v2.ack import local_time
from hub.formats.hl7v2.lines import end_of_message
from hub.message import new_id

_TRAILERS = (b"BTS", b"FTS")
_WORDS = frozenset({b"MSH", b"FHS", b"BHS", *_TRAILERS})
_LINE_ENDS = (b"", b"\r", b"\n")
_FRAME = b"\x0b\x1c"
"""Bytes that would end the frame of an answer (MLLP)."""
_MARK = re.compile(
    rb"(?<![^\r\n\x0b\x1c])(?:[ \t\x00]|\xef\xbb\xbf)*((?:MSH|FHS|BHS)(?=[^A-Za-z0-9\r\n])|(?:BTS|FTS)(?![A-Za-z0-9]))",
    re.IGNORECASE,
)
"""A header or trailer at the beginning of a line, of a frame, or behind the byte order mark of a file joined to another."""
_ENCODING_CHARACTERS = re.compile(rb"[^A-Za-z0-9\s]{3,5}")
"""What MSH-2 holds in a header that can be told by it alone."""


@dataclass(frozen=True, slots=True)
class Part:
    """One message of a body: its bytes, and where it stood."""

    body: bytes
    index: int
    count: int
    header: bytes = b""
    """Header of the batch it stood in (BHS), without its line end."""

    @property
    def batch(self) -> str:
        """Batch control id (BHS-11), when there is one."""
        return _field(self.header, 10) if self.header else ""


def split(body: bytes) -> tuple[list[Part], list[str]]:
    """The messages in a body, in order, and what was wrong with the batch around them.

    A body without any MSH gives no parts.
    """
    return ([Part(body, 0, 1)], []) if is_one(body) else in_full(body)


def in_full(body: bytes) -> tuple[list[Part], list[str]]:
    """What `split` gives, found by a thorough look."""
    marks = _marks(body)
    ends = [mark.start() for mark in marks[1:]] + [len(body)]
    messages: list[tuple[bytes, bytes]] = []
    findings: list[str] = []
    header, first = b"", 0
    for mark, end in zip(marks, ends, strict=False):
        segment = body[mark.start(1) : end]
        match mark[1].upper():
            case b"MSH":
                messages.append((segment[: end_of_message(segment)] if len(marks) > 1 else body, header))
            case b"BHS":
                header, first = _first_line(segment), len(messages)
            case b"BTS":
                findings += _miscounted(_field(segment, 1), len(messages) - first)
                header, first = b"", len(messages)
    return [Part(text, index, len(messages), of) for index, (text, of) in enumerate(messages)], findings


def _marks(body: bytes) -> list[re.Match[bytes]]:
    """Headers and trailers.  A line of text may begin with their letters too ("MSH - Mount Sinai"), and parts nothing."""
    found: list[re.Match[bytes]] = []
    usual, of_batches = b"", set[bytes]()
    for mark in _MARK.finditer(body):
        word, separator = mark[1].upper(), body[mark.end() : mark.end() + 1]
        if word in _TRAILERS:
            if separator not in of_batches and not (of_batches and separator in _LINE_ENDS):
                continue
        elif found and separator != usual and not _is_told_by_its_separators(body, mark.end()):
            continue
        elif word != b"MSH":
            of_batches.add(separator)
        found.append(mark)
        usual = usual or separator
    return found


def _is_told_by_its_separators(body: bytes, at: int) -> bool:
    """True when what follows is MSH-1, MSH-2 and MSH-1 again."""
    separator = body[at : at + 1]
    marks, again, _ = body[at + 1 : at + 7].partition(separator)
    return bool(again) and not separator.isspace() and _ENCODING_CHARACTERS.fullmatch(marks) is not None


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


def acknowledged(header: bytes, answers: Sequence[bytes]) -> bytes:
    """The acknowledgements of the messages of a batch as a batch of their own, addressed as they are.

    Its header names the batch it answers (BHS-12 is the other's BHS-11), its trailer counts the acknowledgements.
    """
    header = header.translate(None, _FRAME)
    separator = header[3:4]
    application, facility, to_application, to_facility, id = (_bytes(header, number) for number in (2, 3, 4, 5, 10))
    addresses = [to_application, to_facility, application, facility]
    fields = [b"BHS", _bytes(header, 1), *addresses, local_time().encode(), b"", b"", b"", new_id().encode(), id]
    return separator.join(fields) + b"\r" + b"".join(answers) + b"BTS%s%d\r" % (separator, len(answers))


def _field(segment: bytes, number: int) -> str:
    return _bytes(segment, number).decode("latin-1").strip()


def _bytes(segment: bytes, number: int) -> bytes:
    fields = _first_line(segment).split(segment[3:4] or b"|")
    return fields[number] if number < len(fields) else b""


def _first_line(segment: bytes) -> bytes:
    return re.split(rb"[\r\n]", segment, maxsplit=1)[0]
