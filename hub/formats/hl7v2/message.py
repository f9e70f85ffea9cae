"""One HL7 v2 message: read by path, written by touching only what is set."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from hub.errors import MessageUnusable
from hub.formats.hl7v2 import charsets, paths
from hub.formats.hl7v2.escapes import Separators, escape, escape_field, unescape

_LINE_END = re.compile(r"(\r\n|\r|\n)")
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n|\Z)")
_BLANK = " \t\x00\x0b\x1c"
_HEADERS = frozenset({"MSH", "FHS", "BHS"})

_MEMBERS: dict[str, frozenset[str]] = {
    "IN1": frozenset({"IN1", "IN2", "IN3"}),
    "RGS": frozenset({"RGS", "AIS", "AIG", "AIL", "AIP", "NTE"}),
    "OBR": frozenset({"OBR", "OBX", "NTE"}),
}
"""Segments that belong to the segment they follow (HL7 v2 abstract message syntax, chapters 3, 7 and 10)."""
_OF_THE_MESSAGE = frozenset({"MSH", "SFT", "UAC", "EVN", "SCH", "TQ1", "FHS", "BHS", "BTS", "FTS"})
"""Segments that belong to no patient: to a PID belongs everything else up to the next PID."""


def belongs(segment: str, scope: str) -> bool:
    """True when a segment of this name is part of the group that a segment `scope` begins."""
    if scope == "PID":
        return segment not in _OF_THE_MESSAGE
    return segment in _MEMBERS.get(scope, (scope,))


class Segment:
    """One segment as it stands: its text, with continuation lines, and its fields once somebody asks."""

    __slots__ = ("_fields", "end", "raw", "text")

    def __init__(self, text: str, end: str = "\r") -> None:
        self.text = text
        self.end = end
        self.raw: bytes | None = None
        """The bytes as they came, where the charset would not write the text back the same."""
        self._fields: list[str] | None = None

    @property
    def id(self) -> str:
        return self.text[:3].upper()

    def fields(self, separator: str) -> list[str]:
        """The parts between field separators; part 0 is the segment id."""
        if self._fields is None:
            self._fields = self.text.split(separator)
        return self._fields

    def replace(self, fields: list[str], separator: str) -> None:
        self._fields = fields
        self.text = separator.join(fields)
        self.raw = None

    def encoded(self, encoding: str) -> bytes:
        return self.raw if self.raw is not None else (self.text + self.end).encode(encoding)


class Hl7:
    """A message opened for reading and for touching single fields.

    `raw` keeps the bytes as they came.  Raises MessageUnusable when there is no MSH with its separators.
    """

    __slots__ = ("_lead", "_tail", "encoding", "findings", "raw", "segments", "separators")

    def __init__(self, raw: bytes, charset: str | None = None) -> None:
        self.raw = raw
        start, stop = _start_of_header(raw), end_of_message(raw)
        self._lead, body, self._tail = raw[:start], raw[start:stop], raw[stop:]
        text, self.encoding, finding = charsets.decode(body, charset)
        self.findings: list[str] = [finding] if finding else []
        self.separators = _separators(text)
        self.segments = _split_segments(text, self.separators.field)
        if not charsets.writes_back(text, self.encoding, body):
            _keep_bytes(self.segments, body)

    def __repr__(self) -> str:
        return f"<Hl7 {self.type or '-'} of {len(self.segments)} segments>"

    def __bytes__(self) -> bytes:
        """The message; parts nobody set are byte for byte as they came."""
        try:
            return b"".join((self._lead, *(segment.encoded(self.encoding) for segment in self.segments), self._tail))
        except UnicodeEncodeError as error:
            raise MessageUnusable(
                f"a value has a character that {charsets.name(self.encoding)} cannot hold; set MSH-18 and the charset to UTF-8"
            ) from error

    # Reading.

    @property
    def type(self) -> str:
        """MSH-9.1^MSH-9.2."""
        code, trigger = self.get("MSH-9.1") or "", self.get("MSH-9.2") or ""
        return f"{code}^{trigger}" if trigger else code

    @property
    def control_id(self) -> str:
        return self.get("MSH-10") or ""

    def get(self, path: str) -> str | None:
        """The first value at a path, unescaped; None when empty."""
        return next(self._values(paths.parse(path), self.segments), None)

    def get_all(self, path: str) -> list[str]:
        """All values at a path that says `[*]` or selects by a component."""
        return list(self._values(paths.parse(path), self.segments))

    def occurrences(self, segment: str) -> list[Segment]:
        return [s for s in self.segments if s.id == segment.upper()]

    def each(self, scope: str) -> Iterator[Group]:
        """The groups that begin with each segment of this name."""
        return _groups(self, scope)

    def segments_of(self, segment: str) -> list[Segment]:  # noqa: ARG002 - a group has only some of them
        """Where segments of this name are looked for."""
        return self.segments

    def value(self, segment: Segment, path: str) -> str | None:
        """The first value at a path within one segment."""
        return next(self._field_values(segment, paths.parse(path)), None)

    def repetitions(self, segment: Segment, field: int) -> int:
        text = self._field(segment, field)
        return text.count(self.separators.repetition) + 1 if text else 0

    def _values(self, path: paths.Path, segments: list[Segment]) -> Iterator[str]:
        count = 0
        for segment in segments:
            if segment.text[:3].upper() != path.segment:
                continue
            count += 1
            if path.occurrence in (0, count):
                yield from self._field_values(segment, path)
                if path.occurrence:
                    return

    def _field_values(self, segment: Segment, path: paths.Path) -> Iterator[str]:
        field = self._field(segment, path.field)
        if not field:
            return
        if segment.id in _HEADERS and path.field <= 2:
            yield field
            return
        repetitions = field.split(self.separators.repetition) if self.separators.repetition else [field]
        if path.repetition:
            repetitions = repetitions[path.repetition - 1 : path.repetition]
        for repetition in repetitions:
            if path.selector and self._part(repetition, path.selector[0], None) != path.selector[1]:
                continue
            if value := self._part(repetition, path.component, path.subcomponent):
                yield value

    def _field(self, segment: Segment, number: int) -> str:
        fields = segment.fields(self.separators.field)
        if segment.id in _HEADERS:
            if number == 1:
                return self.separators.field
            number -= 1
        return fields[number] if number < len(fields) else ""

    def _part(self, repetition: str, component: int | None, subcomponent: int | None) -> str:
        text = repetition
        if component is not None:
            text = _nth(text, self.separators.component, component)
            if subcomponent is not None:
                text = _nth(text, self.separators.subcomponent, subcomponent)
        return unescape(text, self.separators, self.encoding)

    # Writing.

    def set(self, path: str, value: str) -> None:
        """Sets one value, escaped; everything else keeps its bytes.  A path without a component takes the value as it is
        meant to stand, components and all, but never beyond its field.  Raises MessageUnusable when the segment, or the
        repetition a path selects, does not exist.
        """
        target = paths.parse(path)
        found = self.occurrences(target.segment)
        if not 1 <= target.occurrence <= len(found):
            raise MessageUnusable(f"{path}: there is no such {target.segment} segment to write to")
        segment = found[target.occurrence - 1]
        text = escape_field(value, self.separators) if target.component is None else escape(value, self.separators)
        self._set_field(segment, target, text, path)

    def add(self, segment: str) -> None:
        """Appends a segment, given as it shall stand."""
        found, last = _LINE_END.match(self.segments[0].end), self.segments[-1]
        line_end = found[1] if found else "\r"
        if not last.end:
            last.end, last.raw = line_end, None if last.raw is None else last.raw + line_end.encode()
        self.segments.append(Segment(segment, line_end))

    def _set_field(self, segment: Segment, path: paths.Path, text: str, written: str) -> None:
        fields = list(segment.fields(self.separators.field))
        number = path.field - 1 if segment.id in _HEADERS else path.field
        if segment.id in _HEADERS and path.field <= 2:
            raise MessageUnusable(f"{segment.id}-{path.field} holds the separators and cannot be set")
        fields += [""] * (number + 1 - len(fields))
        fields[number] = self._with_part(fields[number], path, text, written)
        segment.replace(fields, self.separators.field)

    def _repetition(self, repetitions: list[str], path: paths.Path, written: str) -> int:
        """Which repetition a path means, counted from 0."""
        if path.selector:
            component, value = path.selector
            for index, repetition in enumerate(repetitions):
                if self._part(repetition, component, None) == value:
                    return index
            raise MessageUnusable(f"{written}: no repetition is selected by this, so there is none to write to")
        if not path.repetition:
            raise MessageUnusable(f"{written}: [*] means all repetitions; name the one to write to")
        return path.repetition - 1

    def _with_part(self, field: str, path: paths.Path, text: str, written: str) -> str:
        repetitions = field.split(self.separators.repetition)
        index = self._repetition(repetitions, path, written)
        repetitions += [""] * (index + 1 - len(repetitions))
        if path.component is None:
            repetitions[index] = text
        elif path.subcomponent is None:
            repetitions[index] = _with_nth(repetitions[index], self.separators.component, path.component, text)
        else:
            component = _nth(repetitions[index], self.separators.component, path.component)
            component = _with_nth(component, self.separators.subcomponent, path.subcomponent, text)
            repetitions[index] = _with_nth(repetitions[index], self.separators.component, path.component, component)
        return self.separators.repetition.join(repetitions)


class Group:
    """A segment with those that belong to it; paths to other segments read what is around it, at last the whole message."""

    __slots__ = ("_around", "_scope", "message", "segments")

    def __init__(self, around: Hl7 | Group, scope: str, segments: list[Segment]) -> None:
        self.message: Hl7 = around if isinstance(around, Hl7) else around.message
        self.segments = segments
        self._around = around
        self._scope = scope

    def get(self, path: str) -> str | None:
        return next(iter(self.get_all(path)), None)

    def get_all(self, path: str) -> list[str]:
        parsed = paths.parse(path)
        return list(self.message._values(parsed, self.segments_of(parsed.segment)))  # noqa: SLF001 - a view of its message

    def segments_of(self, segment: str) -> list[Segment]:
        return self.segments if belongs(segment, self._scope) else self._around.segments_of(segment)

    def each(self, scope: str) -> Iterator[Group]:
        """Groups within this group."""
        return _groups(self, scope)


def _groups(around: Hl7 | Group, scope: str) -> Iterator[Group]:
    scope, current = scope.upper(), list[Segment]()
    for segment in around.segments:
        if segment.id == scope:
            if current:
                yield Group(around, scope, current)
            current = [segment]
        elif current and belongs(segment.id, scope):
            current.append(segment)
    if current:
        yield Group(around, scope, current)


def _nth(text: str, separator: str, number: int) -> str:
    if not separator:
        return text if number == 1 else ""
    parts = text.split(separator, number)
    return parts[number - 1] if number <= len(parts) else ""


def _with_nth(text: str, separator: str, number: int, value: str) -> str:
    parts = text.split(separator)
    parts += [""] * (number - len(parts))
    parts[number - 1] = value
    return separator.join(parts)


def _start_of_header(raw: bytes) -> int:
    """Where MSH begins, behind a byte order mark, blanks, or a stray start-of-block byte."""
    start = 3 if raw.startswith(b"\xef\xbb\xbf") else 0
    while raw[start : start + 1] in (b" ", b"\t", b"\r", b"\n", b"\x0b", b"\x00"):
        start += 1
        if start > 4096:
            break
    if raw[start : start + 3].upper() != b"MSH":
        raise MessageUnusable("it does not begin with an MSH segment, so it is no HL7 v2 message", code="HL7-100")
    return start


def end_of_message(raw: bytes) -> int:
    """Where the end of a frame (1C) begins that a message from a file may still carry."""
    end = len(raw.rstrip(b" \t\r\n\x0b\x1c\x00"))
    frame_end = raw.find(b"\x1c", end)
    return frame_end if frame_end >= 0 else len(raw)


def _separators(text: str) -> Separators:
    field = text[3:4]
    if not field or field.isalnum() or field in "\r\n":
        raise MessageUnusable("MSH-1, the field separator, is missing or a letter", code="HL7-101")
    encoding_characters = re.split(f"[{re.escape(field)}\r\n]", text[4:64], maxsplit=1)[0][:5]
    default = Separators(field)
    return Separators(
        field,
        encoding_characters[0:1] or default.component,
        encoding_characters[1:2] or default.repetition,
        encoding_characters[2:3] or default.escape,
        encoding_characters[3:4] or default.subcomponent,
    )


def _is_segment(line: str, separator: str) -> bool:
    return line[:1].isalpha() and line[:3].isalnum() and len(line) >= 3 and (len(line) == 3 or line[3] == separator)


def _lines(text: str) -> list[tuple[str, str]]:
    """Lines with their ends."""
    if "\n" in text:
        parts = _LINE_END.split(text)
        return list(zip(parts[0::2], [*parts[1::2], ""], strict=True))
    lines = text.split("\r")
    return [*((line, "\r") for line in lines[:-1]), (lines[-1], "")]


def _split_segments(text: str, separator: str) -> list[Segment]:
    """A line that begins no segment belongs to the value before it, that was broken over lines; blank lines only lengthen
    the line end.
    """
    segments: list[Segment] = []
    start = stop = at = 0
    for line, end in _lines(text):
        if _is_segment(line, separator):
            if at:
                segments.append(Segment(text[start:stop], text[stop:at]))
            start, stop = at, at + len(line)
        elif line.strip(_BLANK):
            stop = at + len(line)
        at += len(line) + len(end)
    segments.append(Segment(text[start:stop], text[stop:at]))
    return segments


def _keep_bytes(segments: list[Segment], body: bytes) -> None:
    """Gives every segment its bytes: charsets have no way of their own with line ends, so lines are found in bytes."""
    lines = _LINE.finditer(body)
    for segment in segments:
        count = max(1, len(_LINE_END.findall(segment.text + segment.end)))
        segment.raw = b"".join(line[0] for line in islice(lines, count))
