"""Bytes to segments, whatever separators a sender chose and however it broke its lines."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

MAX_ELEMENT = 64 * 1024
MAX_SEGMENT = 128 * 1024
MOST_OF_A_KIND = 1000
"""So many findings with the same code are kept."""
_ISA = re.compile(r"(?<![A-Za-z0-9])ISA(?=[^A-Za-z0-9 \t\r\n])")
"""Where an interchange may begin: the letters alone also stand in words."""
_SEGMENT_ID = re.compile(r"[A-Z][A-Z0-9]{1,2}")
_ISA_SEPARATORS = (3, 6, 17, 20, 31, 34, 50, 53, 69, 76, 81, 83, 89, 99, 101, 103)
"""Offsets of the 16 element separators in an ISA segment of 106 characters (X12.5)."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a file's form."""

    level: str
    """`error` or `warning`."""
    code: str
    text: str
    segment: int | None = None
    """Position: from ST = 1 inside a transaction, from ISA = 1 outside."""
    id: str | None = None
    element: int | None = None

    def as_dict(self) -> dict[str, object]:
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
    """One segment: its id and its elements, counted from 1 as in `EB03`.  The id is empty when what stood there is none."""

    __slots__ = ("elements", "id")

    def __init__(self, id: str, elements: list[str]) -> None:
        self.id = id
        self.elements = elements

    def __getitem__(self, number: int) -> str:
        return self.elements[number - 1].strip() if number <= len(self.elements) else ""

    def __repr__(self) -> str:
        return f"<{self.id} of {len(self.elements)} elements>"


@dataclass(slots=True)
class Token:
    """A segment with what the tokeniser noticed about it."""

    segment: Segment
    delimiters: Delimiters
    findings: list[Finding]


def whole_number(text: str) -> int | None:
    """A count or a position; None when the text is none."""
    return int(text) if text.isdecimal() and len(text) < 12 else None


def decode(data: bytes) -> str:
    """UTF-8, else ISO 8859-1, which reads any byte; a byte order mark is dropped."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


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


def tokenise(text: str) -> Iterator[Token | Finding]:
    """Segments in order.  Separators are read anew from each ISA; what stands outside of interchanges becomes a finding."""
    blank = len(text) - len(text.lstrip())
    first = _ISA.search(text, blank, blank + 512)
    end, begin = 0, first.start() if first else -1
    while begin >= 0:
        if text[end:begin].strip():
            yield _OUTSIDE
        delimiters, start, findings = _read_isa(text, begin)
        yield Token(Segment("ISA", _isa_elements(text, begin, delimiters.element)), delimiters, findings)
        end = yield from _until_iea(text, start, delimiters)
        following = _ISA.search(text, end)
        begin = following.start() if following else -1
    if first and text[end:].strip():
        yield _OUTSIDE


_OUTSIDE = Finding("warning", "X12-OUTSIDE", "there is text outside of any interchange, which was not read")


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
    return Delimiters(separator, component, repetition, terminator), last + 3, findings


def _isa_elements(text: str, at: int, separator: str) -> list[str]:
    return [*text[at : at + 512].split(separator, 17)[1:16], ""]


def _nth_index(text: str, separator: str, start: int, count: int) -> int:
    position = start
    for _ in range(count):
        found = text.find(separator, position, start + 512)
        if found < 0:
            return position
        position = found + 1
    return position - 1


def _until_iea(text: str, position: int, delimiters: Delimiters) -> Generator[Token, None, int]:
    """Yields segments up to and with IEA, or up to an ISA; returns where it stopped."""
    terminator = delimiters.segment
    notes: list[Finding] = []
    while position < len(text):
        end = text.find(terminator, position)
        end = len(text) if end < 0 else end
        raw = text[position:end]
        position = end + 1
        body = raw.strip()
        if not body:
            if not raw and terminator not in "\r\n" and position < len(text) and not notes:
                notes.append(Finding("warning", "X12-EMPTY", "an empty segment was skipped"))
            continue
        if body.startswith("ISA" + delimiters.element):
            return position - 1 - len(raw) + raw.index("ISA")
        segment = _segment(body, delimiters, notes)
        yield Token(segment, delimiters, notes)
        notes = []
        if segment.id == "IEA":
            break
    return position


def _segment(body: str, delimiters: Delimiters, notes: list[Finding]) -> Segment:
    if len(body) > MAX_SEGMENT:
        notes.append(Finding("error", "X12-TOO-LONG", f"a segment is longer than {MAX_SEGMENT} characters and was cut"))
        body = body[:MAX_SEGMENT]
    parts = body.split(delimiters.element)
    for number, part in enumerate(parts[1:], 1):
        if len(part) > MAX_ELEMENT:
            notes.append(
                Finding(
                    "error", "X12-TOO-LONG", f"an element is longer than {MAX_ELEMENT} characters and was cut", element=number
                )
            )
            parts[number] = part[:MAX_ELEMENT]
    given = parts[0].strip()
    name = given.upper()
    if not _SEGMENT_ID.fullmatch(name):
        notes.append(Finding("error", "X12-SEGMENT-ID", "what stands here has no segment id; the separator may be another one"))
        return Segment("", parts[1:])
    if name != given:
        notes.append(Finding("warning", "X12-CASE", f"the segment id {given!r} is not in capitals", id=name))
    return Segment(name, parts[1:])
