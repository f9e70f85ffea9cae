"""One HL7 v2 message: read by path, written by touching only what is set."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from hub.errors import MessageUnusable
from hub.formats.hl7v2 import charsets, lines, paths
from hub.formats.hl7v2.escapes import escape, escape_field, unescape
from hub.formats.hl7v2.lines import LINE_END
from hub.formats.hl7v2.paths import HEADERS

_MEMBERS: dict[str, frozenset[str]] = {
    "IN1": frozenset({"IN1", "IN2", "IN3"}),
    "RGS": frozenset({"RGS", "AIS", "AIG", "AIL", "AIP", "NTE"}),
    "OBR": frozenset({"OBR", "OBX", "NTE"}),
    "MRG": frozenset({"MRG", "PV1"}),
}
"""Segments that belong to the segment they follow (HL7 v2 abstract message syntax, chapters 3, 7 and 10)."""
_OF_THE_MESSAGE = frozenset({"MSH", "SFT", "UAC", "EVN", "SCH", "TQ1", "FHS", "BHS", "BTS", "FTS"})
"""Segments that belong to no patient: to a PID belongs everything else up to the next PID."""
_NUMBER = re.compile("[0-9]{1,9}")
REMEMBERED = 256
REMEMBERED_SIZE = 16 * 1024
"""Messages that stay open for the next who reads the same bytes, and bytes of the longest of them: some 20 MB at most."""


def belongs(segment: str, scope: str) -> bool:
    """True when a segment of this name is part of the group that a segment `scope` begins."""
    if scope == "PID":
        return segment not in _OF_THE_MESSAGE
    return segment in _MEMBERS.get(scope, (scope,))


def opened(raw: bytes, charset: str | None = None) -> Hl7:
    """A message for reading only, shared by all who read the same bytes one after the other.  Raises as `Hl7` does."""
    return _shared(raw, charset or None) if len(raw) <= REMEMBERED_SIZE else Hl7(raw, charset)


class Segment:
    """One segment where it stands in its message; good until a segment is put in before it."""

    __slots__ = ("_message", "place")

    def __init__(self, message: Hl7, place: int) -> None:
        self._message = message
        self.place = place
        """Which segment of the message it is, counted from 0."""

    @property
    def id(self) -> str:
        return self._message.ids[self.place]

    @property
    def text(self) -> str:
        return self._message.text_of(self.place)

    @property
    def fields(self) -> Sequence[str]:
        """The parts between field separators; part 0 is the segment id."""
        return self._message.fields_of(self.place)


class Hl7:
    """A message opened for reading and for touching single fields.

    `raw` keeps the bytes as they came.  Raises MessageUnusable when there is no MSH with its separators.
    """

    __slots__ = (
        "_end", "_ends", "_fields", "_lead", "_raws", "_tail", "_texts", "encoding", "findings", "ids", "raw", "separators",
        "shared",
    )  # fmt: skip

    def __init__(self, raw: bytes, charset: str | None = None) -> None:
        self.raw = raw
        (
            self._lead, self._tail, self.separators, self.encoding, finding, self._texts, self.ids, self._ends, self._end,
            self._raws, header,
        ) = lines.read(raw, charset)  # fmt: skip
        self._fields: list[list[str] | None] = [None] * len(self._texts)
        self._fields[0] = header
        self.findings: list[str] = [finding] if finding else []
        self.shared = False
        """True when others read it too, so that nobody may write to it."""

    def own(self) -> Hl7:
        """A copy that may be written to."""
        copy = object.__new__(Hl7)
        copy.raw, copy._lead, copy._tail, copy._end = self.raw, self._lead, self._tail, self._end
        copy.separators, copy.encoding, copy.shared = self.separators, self.encoding, False
        copy._texts, copy.ids, copy.findings = list(self._texts), list(self.ids), list(self.findings)
        copy._ends = None if self._ends is None else list(self._ends)
        copy._raws = None if self._raws is None else list(self._raws)
        copy._fields = list(self._fields)  # a field that is set gets a list of its own
        return copy

    def __repr__(self) -> str:
        return f"<Hl7 {self.type or '-'} of {len(self.ids)} segments>"

    def __bytes__(self) -> bytes:
        """The message; parts nobody set are byte for byte as they came."""
        try:
            return b"".join((self._lead, self._written(), self._tail))
        except UnicodeEncodeError as error:
            raise MessageUnusable(
                f"a value has a character that {charsets.name(self.encoding)} cannot hold; set MSH-18 and the charset to UTF-8"
            ) from error

    def _written(self) -> bytes:
        if self._ends is None:
            return ("\r".join(self._texts) + self._end).encode(self.encoding)
        if self._raws is None:
            return "".join(text + end for text, end in zip(self._texts, self._ends, strict=True)).encode(self.encoding)
        segments = zip(self._raws, self._texts, self._ends, strict=True)
        return b"".join((text + end).encode(self.encoding) if raw is None else raw for raw, text, end in segments)

    # Reading.

    @property
    def type(self) -> str:
        """MSH-9.1^MSH-9.2."""
        code, trigger = self.get("MSH-9.1") or "", self.get("MSH-9.2") or ""
        return f"{code}^{trigger}" if trigger else code

    @property
    def control_id(self) -> str:
        return self.get("MSH-10") or ""

    @property
    def segments(self) -> list[Segment]:
        return [Segment(self, place) for place in range(len(self.ids))]

    def get(self, path: str) -> str | None:
        """The first value at a path, unescaped; None when empty."""
        single = paths.single(path)
        if single is None:
            return next(iter(self.get_all(path)), None)
        try:
            place = self.ids.index(single[0])
        except ValueError:
            return None
        return self._single(place, single)

    def get_all(self, path: str) -> list[str]:
        """All values at a path that says `[*]` or selects by a component."""
        parsed = paths.parse(path)
        return list(self.values(parsed, self.places_for(parsed.segment))) if parsed.segment in self.ids else []

    def places(self, segment: str) -> list[int]:
        """Where the segments of this name stand, counted from 0."""
        name = segment.upper()
        return [place for place, id in enumerate(self.ids) if id == name] if name in self.ids else []

    def each(self, scope: str) -> Iterator[Group]:
        """The groups that begin with each segment of this name."""
        return _groups(self, scope, range(len(self.ids)))

    def places_for(self, segment: str) -> Sequence[int]:  # noqa: ARG002 - a group has only some of them
        """Where segments of this name are looked for."""
        return range(len(self.ids))

    def text_of(self, place: int) -> str:
        """One segment as it stands."""
        return self._texts[place]

    def fields_of(self, place: int) -> list[str]:
        """The parts of one segment between field separators; part 0 is its id."""
        fields = self._fields[place]
        if fields is None:
            fields = self._fields[place] = self._texts[place].split(self.separators.field)
        return fields

    def value(self, place: int, path: str) -> str | None:
        """The first value at a path within one segment."""
        single = paths.single(path)
        return self._single(place, single) if single else next(self._field_values(place, paths.parse(path)), None)

    def repetitions(self, place: int, field: int) -> list[str]:
        """The repetitions of a field, as they stand; none when it is empty."""
        text = self._field(place, field)
        return text.split(self.separators.repetition) if text else []

    def values(self, path: paths.Path, places: Iterable[int]) -> Iterator[str]:
        """The values at a path among the segments at these places."""
        found = self.matching(path, places)
        for place in found[path.occurrence - 1 : path.occurrence] if path.occurrence else found:
            yield from self._field_values(place, path)

    def matching(self, path: paths.Path, places: Iterable[int] | None = None) -> list[int]:
        """Where the segments stand that a path may mean, before one of them is picked; among these places, else among all."""
        ids, name, where = self.ids, path.segment, path.where
        found = [place for place in (range(len(ids)) if places is None else places) if ids[place] == name]
        if where is not None:
            found = [place for place in found if self._fits(place, where)]
        return found if path.order is None else self._in_order(found, path.order)

    def _in_order(self, places: list[int], field: int) -> list[int]:
        """By the numbers in a field; as they stand when one has none, or two the same."""
        numbers = [self._field(place, field).strip() for place in places]
        if not all(_NUMBER.fullmatch(number) for number in numbers):
            return places
        ordered = dict(sorted(zip(map(int, numbers), places, strict=True)))
        return list(ordered.values()) if len(ordered) == len(places) else places

    def _fits(self, place: int, where: paths.Where) -> bool:
        first = next(iter(self.repetitions(place, where.field)), "")
        return (self.part(first, where.component) == where.value) == where.holds

    def _single(self, place: int, path: paths.Single) -> str | None:
        """What `_field_values` gives first for a path that means one value."""
        _, position, component, subcomponent = path
        fields = self._fields[place] or self.fields_of(place)
        if position >= len(fields) or not (text := fields[position]):
            return None
        separators = self.separators
        if separators.repetition in text:
            text = text.partition(separators.repetition)[0]
        return self.part(text, component, subcomponent) or None

    def _field_values(self, place: int, path: paths.Path) -> Iterator[str]:
        if path.segment in HEADERS and path.field <= 2:
            yield from filter(None, (self._field(place, path.field),))
            return
        for repetition in self._selected(place, path):
            if value := self.part(repetition, path.component, path.subcomponent):
                yield value

    def _selected(self, place: int, path: paths.Path) -> Iterator[str]:
        """The repetitions that a path means, as they stand."""
        repetitions = self.repetitions(place, path.field)
        for repetition in repetitions[path.repetition - 1 : path.repetition] if path.repetition else repetitions:
            if not path.selector or self.part(repetition, path.selector[0]) == path.selector[1]:
                yield repetition

    def _field(self, place: int, number: int) -> str:
        fields = self.fields_of(place)
        if self.ids[place] in HEADERS:
            if number == 1:
                return self.separators.field
            number -= 1
        return fields[number] if number < len(fields) else ""

    def part(self, text: str, component: int | None = None, subcomponent: int | None = None) -> str:
        """A component or subcomponent of a repetition, unescaped."""
        text = self._cut(text, component, subcomponent)
        return unescape(text, self.separators, self.encoding) if self.separators.escape in text else text

    def _cut(self, text: str, component: int | None, subcomponent: int | None) -> str:
        if component is not None:
            text = _nth(text, self.separators.component, component)
            if subcomponent is not None:
                text = _nth(text, self.separators.subcomponent, subcomponent)
        return text

    def standing(self, path: str) -> str:
        """The first value at a path just as it stands, escapes and all; nothing when there is none."""
        parsed = paths.parse(path)
        if parsed.segment in HEADERS and parsed.field <= 2:
            return escape(self.get(path) or "", self.separators)
        places = self.matching(parsed)
        for place in places[parsed.occurrence - 1 : parsed.occurrence] if parsed.occurrence else places:
            for repetition in self._selected(place, parsed):
                if text := self._cut(repetition, parsed.component, parsed.subcomponent):
                    return text
        return ""

    # Writing.

    def set(self, path: str, value: str) -> None:
        """Sets one value, escaped; everything else keeps its bytes.  A path without a component takes the value as it is
        meant to stand, components and all, but never beyond its field.  Raises MessageUnusable when the segment, or the
        repetition a path selects, does not exist.
        """
        target = paths.parse(path)
        text = escape_field(value, self.separators) if target.component is None else escape(value, self.separators)
        self._put(target, path, text)

    def set_repetitions(self, path: str, values: Sequence[str]) -> None:
        """Sets a whole field, a value for each repetition."""
        target = paths.parse(path)
        text = self.separators.repetition.join(escape_field(value, self.separators) for value in values)
        self._put(target, path, text, whole=True)

    def copy(self, path: str, origin: Hl7, copied: str) -> None:
        """Sets one value to what stands at a path of another message with the same separators, escapes and all."""
        target, text = paths.parse(path), origin.standing(copied)
        if _depth(target) > _depth(paths.parse(copied)):  # in a part, separators of the whole are written as text
            text = escape(unescape(text, origin.separators, origin.encoding), self.separators)
        self._put(target, path, text)

    def add(self, segment: str) -> None:
        """Appends a segment, given as it shall stand."""
        self.insert(len(self.ids), segment)

    def insert(self, place: int, segment: str) -> None:
        """Puts in a segment, given as it shall stand, before the one at this place (counted from 0; never the first)."""
        self._may_be_written()
        ends = self._ends if self._ends is not None else ["\r"] * (len(self.ids) - 1) + [self._end]
        found = LINE_END.match(ends[0])
        line_end = found[1] if found else "\r"
        if place == len(ends) and not ends[-1]:
            ends[-1] = line_end
            if self._raws is not None and (last := self._raws[-1]) is not None:
                self._raws[-1] = last + line_end.encode()
        ends.insert(place, line_end)
        self._ends = ends
        self._texts.insert(place, segment)
        self.ids.insert(place, segment[:3].upper())
        self._fields.insert(place, None)
        if self._raws is not None:
            self._raws.insert(place, None)

    def recode(self, charset: str) -> None:
        """Writes the message in another charset from now on, as MSH-18 (table 0211) names it."""
        self._may_be_written()
        encoding = charsets.python_encoding(charset)
        if encoding is None:
            raise MessageUnusable("MSH-18 is set to a charset that is unknown, or unfit for HL7 v2")
        if encoding != self.encoding:
            self.encoding, self._raws = encoding, None

    def _may_be_written(self) -> None:
        if self.shared:
            raise TypeError("this message is shared by all who read it; open one of your own to write")

    def _put(self, path: paths.Path, written: str, text: str, *, whole: bool = False) -> None:
        self._may_be_written()
        found = self.matching(path)
        if not 1 <= path.occurrence <= len(found):
            raise MessageUnusable(f"{written}: there is no such {path.segment} segment to write to")
        header = path.segment in HEADERS
        if header and path.field <= 2:
            raise MessageUnusable(f"{path.segment}-{path.field} holds the separators and cannot be set")
        place, number = found[path.occurrence - 1], path.field - header
        fields = list(self.fields_of(place))
        missing = number + 1 - len(fields)
        if missing > 0:
            fields += [""] * missing
        old, new = fields[number], text if whole else self._with_part(fields[number], path, text, written)
        if self._raws is not None:
            self._splice(place, len(self.separators.field.join(fields[:number])) + 1, old, new, missing)
        fields[number] = new
        self._fields[place] = fields
        self._texts[place] = self.separators.field.join(fields)

    def _splice(self, place: int, start: int, old: str, new: str, missing: int) -> None:
        """Changes the kept bytes of a segment where a field stands, or (so many are missing) behind its end."""
        assert self._raws is not None  # noqa: S101 - the caller looked
        if (raw := self._raws[place]) is None:
            return
        if missing > 0:
            start, new = len(self._texts[place]), self.separators.field * missing + new
        self._raws[place] = charsets.spliced(raw, self.encoding, start, start + len(old), new)

    def _repetition(self, repetitions: list[str], path: paths.Path, written: str) -> int:
        """Which repetition a path means, counted from 0."""
        if path.selector:
            component, value = path.selector
            for index, repetition in enumerate(repetitions):
                if self.part(repetition, component, None) == value:
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


@lru_cache(maxsize=REMEMBERED)
def _shared(raw: bytes, charset: str | None) -> Hl7:
    message = Hl7(raw, charset)
    message.shared = True
    return message


class Group:
    """A segment with those that belong to it; paths to other segments read what is around it, at last the whole message."""

    __slots__ = ("_around", "_places", "_scope", "message")

    def __init__(self, around: Hl7 | Group, scope: str, places: list[int]) -> None:
        self.message: Hl7 = around if isinstance(around, Hl7) else around.message
        self._places = places
        self._around = around
        self._scope = scope

    def get(self, path: str) -> str | None:
        parsed = paths.parse(path)
        return next(self.message.values(parsed, self.places_for(parsed.segment)), None)

    def get_all(self, path: str) -> list[str]:
        parsed = paths.parse(path)
        return list(self.message.values(parsed, self.places_for(parsed.segment)))

    def places_for(self, segment: str) -> Sequence[int]:
        """Where segments of this name are looked for."""
        return self._places if belongs(segment, self._scope) else self._around.places_for(segment)

    def each(self, scope: str) -> Iterator[Group]:
        """Groups within this group."""
        return _groups(self, scope, self._places)


def _groups(around: Hl7 | Group, scope: str, places: Sequence[int]) -> Iterator[Group]:
    scope, current = scope.upper(), list[int]()
    ids = (around if isinstance(around, Hl7) else around.message).ids
    for place in places:
        if ids[place] == scope:
            if current:
                yield Group(around, scope, current)
            current = [place]
        elif current and belongs(ids[place], scope):
            current.append(place)
    if current:
        yield Group(around, scope, current)


def _depth(path: paths.Path) -> int:
    """0 for a repetition, 1 for a component, 2 for a subcomponent."""
    return (path.component is not None) + (path.subcomponent is not None)


def _nth(text: str, separator: str, number: int) -> str:
    if separator not in text:
        return text if number == 1 else ""
    parts = text.split(separator, number)
    return parts[number - 1] if number <= len(parts) else ""


def _with_nth(text: str, separator: str, number: int, value: str) -> str:
    parts = text.split(separator)
    parts += [""] * (number - len(parts))
    parts[number - 1] = value
    return separator.join(parts)
