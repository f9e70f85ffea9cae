"""Bytes to segments, whatever separators a sender chose and however it broke its lines.

The file is read in pieces, so that a night's batch needs no more memory than its largest transaction set.  Bytes are looked at
as ISO 8859-1, which keeps every byte one character; what is no ASCII is then read as UTF-8 where it is that (segment by
segment: some files mix both).
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO, NamedTuple

MAX_ELEMENT = 64 * 1024
MAX_SEGMENT = 128 * 1024
CHUNK = 256 * 1024
"""So many bytes are read at once; more than the longest segment."""
MOST_OF_A_KIND = 1000
"""So many findings with the same code are kept."""
BYTE_ORDER_MARK = "\xef\xbb\xbf"
"""The mark of UTF-8, looked at as ISO 8859-1."""
_ISA = re.compile(r"(?<![A-Za-z0-9])ISA(?=[^A-Za-z0-9 \t\r\n])")
"""Where an interchange may begin: the letters alone also stand in words."""
_SEGMENT_ID = re.compile(r"[A-Z][A-Z0-9]{1,2}")
_ISA_SEPARATORS = (3, 6, 17, 20, 31, 34, 50, 53, 69, 76, 81, 83, 89, 99, 101, 103)
"""Offsets of the 16 element separators in an ISA segment of 106 characters (X12.5)."""
_ISA_ROOM = 512
"""Within so many characters an ISA must be found, and end."""
_FIRST_PIECE = 2 * 1024
"""So much of an interchange is split at first; most end within it."""
_SEEN: set[str] = set()
"""Segment ids that were found to be ones: there are some hundreds, and each comes again and again."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a file's form."""

    level: str
    """`error` or `warning`."""
    code: str
    text: str
    segment: int | None = None
    """Position: from ST = 1 inside a transaction, from ISA = 1 outside; as IK302 counts it."""
    id: str | None = None
    element: int | None = None
    component: int | None = None
    repetition: int | None = None
    loop: str | None = None
    """The loop in which the segment stands, or should."""
    ik3: str | None = None
    """Why a 999 complains of the segment (data element 620)."""
    ik4: str | None = None
    """Why a 999 complains of the element (data element 621)."""
    reference: str | None = None
    """Number of the data element in the X12 dictionary."""

    def as_dict(self) -> dict[str, object]:
        """As `hub show --json` tells it."""
        return {
            "level": self.level,
            "code": self.code,
            "segment": self.segment,
            "id": self.id,
            "element": self.element,
            "text": self.text,
        }


class Findings(list[Finding]):
    """Findings in order.  Of a flood of one kind only the first are kept, and the last of them says so."""

    def __init__(self) -> None:
        super().__init__()
        self._of_a_kind: Counter[str] = Counter()

    def add(self, *findings: Finding) -> None:
        for finding in findings:
            self._of_a_kind[finding.code] += 1
            if (count := self._of_a_kind[finding.code]) < MOST_OF_A_KIND:
                self.append(finding)
            elif count == MOST_OF_A_KIND:
                self.append(replace(finding, text=f"{finding.text}; there are more of this kind, which are not listed"))


class Delimiters(NamedTuple):
    """ISA-defined separators; `repetition` is empty when there is none."""

    element: str = "*"
    component: str = ":"
    repetition: str = "^"
    segment: str = "~"


class Segment:
    """One segment: its id and its elements, counted from 1 as in `EB03`, without blanks around them.

    The id is empty when what stood there is none.
    """

    __slots__ = ("elements", "id")

    def __init__(self, id: str, elements: list[str]) -> None:
        self.id = id
        self.elements = elements

    def __getitem__(self, number: int) -> str:
        elements = self.elements
        return elements[number - 1] if number <= len(elements) else ""

    def __repr__(self) -> str:
        return f"<{self.id} of {len(self.elements)} elements>"


class Header(Segment):
    """An ISA segment, with the separators it declares."""

    __slots__ = ("delimiters",)

    def __init__(self, elements: list[str], delimiters: Delimiters) -> None:
        super().__init__("ISA", [element.strip() for element in elements])
        self.delimiters = delimiters


def whole_number(text: str) -> int | None:
    """A count or a position; None when the text is none."""
    return int(text) if text.isdecimal() and len(text) < 12 else None


def decode(text: str) -> str:
    """What was looked at as ISO 8859-1, as UTF-8 where it is that."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return text


def transport_error(text: str) -> str:
    """What was sent instead of X12: a web page, XML, JSON, nothing."""
    head = text.lstrip()[:64].lower()
    if not head:
        return "the file is empty"
    if head.startswith(("<!doctype html", "<html")):
        return "this is a web page, not X12: the partner's server answered with an error page"
    if head.startswith("<"):
        return "this is XML, not X12"
    if head.startswith(("{", "[")):
        return "this is JSON, not X12"
    return "there is no ISA segment at the beginning, so this is no X12 interchange"


class Text:
    """The part of a file that was read and not yet taken."""

    def __init__(self, source: bytes | BinaryIO) -> None:
        self._file = io.BytesIO(source) if isinstance(source, bytes) else source
        self.text = ""
        self.at = 0
        """How much of it was taken."""
        self.more = True
        self.emptied = False
        """Whether the last segment was empty: of several only one is told."""
        self.ensure(len(BYTE_ORDER_MARK))
        self.has_mark = self.text.startswith(BYTE_ORDER_MARK)
        self.at = len(BYTE_ORDER_MARK) if self.has_mark else 0
        self._skip_blanks()
        self.head = self.text[self.at : self.at + _ISA_ROOM]
        """How the file begins."""

    def fill(self) -> bool:
        """Reads on; what was taken is let go.  False at the end of the file."""
        chunk = self._file.read(CHUNK) if self.more else b""
        self.more = bool(chunk)
        if chunk:
            self.text = self.text[self.at :] + chunk.decode("latin-1")
            self.at = 0
        return self.more

    def ensure(self, count: int) -> None:
        while len(self.text) - self.at < count and self.fill():
            pass

    def _skip_blanks(self) -> None:
        while True:
            rest = self.text[self.at :].lstrip()
            self.at = len(self.text) - len(rest)
            if rest or not self.fill():
                self.ensure(2 * _ISA_ROOM)
                return


def tokenise(text: Text) -> Iterator[Segment | Finding]:
    """Segments in order, each after the findings about it.

    Separators are read anew from each ISA; what stands outside of interchanges becomes a finding.
    """
    first = _ISA.search(text.text, text.at, text.at + _ISA_ROOM)
    if first is None:
        return
    if text.text[text.at : first.start()].strip():
        yield _OUTSIDE
    text.at = first.start()
    while True:
        text.ensure(2 * _ISA_ROOM)
        delimiters, length, findings = _read_isa(text.text, text.at)
        yield from findings
        yield Header(_isa_elements(text.text, text.at, delimiters.element), delimiters)
        text.at += length
        yield from _until_iea(text, delimiters)
        found, stray = _next_isa(text)
        if stray:
            yield _OUTSIDE
        if not found:
            return


_OUTSIDE = Finding("warning", "X12-OUTSIDE", "there is text outside of any interchange, which was not read")


def _next_isa(text: Text) -> tuple[bool, bool]:
    """Goes on to the next interchange; whether there is one, and whether anything stood before it."""
    stray = False
    while True:
        found = _ISA.search(text.text, text.at)
        end = found.start() if found else len(text.text)
        stray = stray or bool(text.text[text.at : end].strip())
        if found:
            text.at = end
            return True, stray
        text.at = max(text.at, end - 4)  # the letters may stand across two pieces
        if not text.fill():
            return False, stray


def _read_isa(text: str, at: int) -> tuple[Delimiters, int, list[Finding]]:
    separator = text[at + 3 : at + 4] or "*"
    findings = []
    if all(text[at + offset : at + offset + 1] == separator for offset in _ISA_SEPARATORS):
        last = at + _ISA_SEPARATORS[-1]
    else:
        last = _nth_index(text, separator, at, 16)
        findings.append(Finding("error", "X12-ISA-LENGTH", "the ISA segment is not 106 characters long", 1, "ISA"))
    component, terminator = text[last + 1 : last + 2], text[last + 2 : last + 3]
    if terminator == separator or not terminator:
        component, terminator = ":", "~"
    elements = text[at:last].split(separator)
    repetition = elements[11] if len(elements) > 11 else ""
    version = elements[12] if len(elements) > 12 else ""
    if len(repetition) != 1 or version < "00402":
        repetition = ""
    elif repetition.isalnum() or repetition in (separator, component, terminator, " "):
        findings.append(
            Finding(
                "warning", "X12-ISA11", "ISA11 is no repetition separator; repeated elements cannot be told apart", 1, "ISA", 11
            )
        )
        repetition = ""
    return Delimiters(separator, component, repetition, terminator), last + 3 - at, findings


def _isa_elements(text: str, at: int, separator: str) -> list[str]:
    return [*text[at : at + _ISA_ROOM].split(separator, 17)[1:16], ""]


def _nth_index(text: str, separator: str, start: int, count: int) -> int:
    position = start
    for _ in range(count):
        found = text.find(separator, position, start + _ISA_ROOM)
        if found < 0:
            return position
        position = found + 1
    return position - 1


def _until_iea(text: Text, delimiters: Delimiters) -> Generator[Segment | Finding, None, None]:
    """Segments up to and with IEA, or up to an ISA; `text` then stands behind the one or before the other."""
    terminator, size = delimiters.segment, _FIRST_PIECE
    while True:
        last = text.text.rfind(terminator, text.at, text.at + size)
        if last < 0:
            last = text.text.find(terminator, text.at + size)
        if last < 0 and text.more:
            if len(text.text) - text.at > MAX_SEGMENT:
                yield from _too_long(text, delimiters)
            else:
                text.fill()
            continue
        piece = text.text[text.at : last if last >= 0 else len(text.text)]
        if (not piece and last < 0) or (yield from _segments(text, piece, delimiters)):
            return
        if last < 0:
            text.at = len(text.text)
            return
        size = min(2 * size, CHUNK)


def _segments(text: Text, piece: str, delimiters: Delimiters) -> Generator[Segment | Finding, None, bool]:
    """The segments of a piece; whether the interchange ended in it."""
    terminator, separator = delimiters.segment, delimiters.element
    isa, breaks = "ISA" + separator, terminator in "\r\n"
    plain = piece.isascii()
    tidy = piece.isprintable() and f" {separator}" not in piece and f"{separator} " not in piece
    at = text.at
    for raw in piece.split(terminator):
        body = raw.strip()
        if not body:
            if not (raw or breaks or text.emptied):
                text.emptied = True
                yield _EMPTY
        elif body.startswith(isa):
            text.at = at + raw.index("ISA")
            return True
        else:
            text.emptied = False
            elements = (body if plain or body.isascii() else decode(body)).split(separator)
            if not tidy:
                elements = [element.strip() for element in elements]
            name = elements.pop(0)
            if name not in _SEEN or len(body) > MAX_ELEMENT:
                name = yield from _checked(name, elements, len(body))
            yield Segment(name, elements)
            if name == "IEA":
                text.at = min(at + len(raw) + 1, len(text.text))
                return True
        at += len(raw) + 1
    text.at = min(at, len(text.text))
    return False


_EMPTY = Finding("warning", "X12-EMPTY", "an empty segment was skipped")


def _too_long(text: Text, delimiters: Delimiters) -> Generator[Segment | Finding, None, None]:
    """A segment of which no end is in sight: its beginning is read, the rest is passed over."""
    body = text.text[text.at : text.at + MAX_SEGMENT + 1].lstrip()
    while True:
        end = text.text.find(delimiters.segment, text.at)
        text.at = len(text.text) if end < 0 else end + 1
        if end >= 0 or not text.fill():
            break
    elements = [element.strip() for element in decode(body).split(delimiters.element)]
    name = elements.pop(0)
    name = yield from _checked(name, elements, MAX_SEGMENT + 1)
    yield Segment(name, elements)


def _checked(given: str, elements: list[str], length: int) -> Generator[Finding, None, str]:
    """The id of a segment as it should be written; cuts what is too long."""
    if length > MAX_SEGMENT:
        yield Finding("error", "X12-TOO-LONG", f"a segment is longer than {MAX_SEGMENT} characters and was cut")
        _cut(elements, MAX_SEGMENT - len(given))
    for number, element in enumerate(elements, 1):
        if len(element) > MAX_ELEMENT:
            text = f"an element is longer than {MAX_ELEMENT} characters and was cut"
            yield Finding("error", "X12-TOO-LONG", text, element=number)
            elements[number - 1] = element[:MAX_ELEMENT]
    name = given.upper()
    if not _SEGMENT_ID.fullmatch(name):
        yield Finding("error", "X12-SEGMENT-ID", "what stands here has no segment id; the separator may be another one")
        return ""
    if name != given:
        yield Finding("warning", "X12-CASE", f"the segment id {given!r} is not in capitals", id=name)
    elif len(_SEEN) < MOST_OF_A_KIND:
        _SEEN.add(name)
    return name


def _cut(elements: list[str], room: int) -> None:
    """Leaves so many characters of a segment, with its separators."""
    for number, element in enumerate(elements):
        room -= 1 + len(element)
        if room < 0:
            elements[number] = element[: len(element) + room]
            del elements[number + 1 :]
            return
