"""What a transaction set must fulfil beyond the order of its segments: the hierarchy, dates, and rules that depend on content.

Each rule sees the segments as they come; what spans several is said at the end of its level.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hub.formats.x12.envelope import Transaction
from hub.formats.x12.schema import Place
from hub.formats.x12.tokens import Segment, whole_number
from hub.formats.x12.values import is_day

_ABOVE = {"21": ("20",), "19": ("21",), "22": ("21", "19"), "23": ("22",)}
"""HL03 of the level above, by HL03."""
_PERSONS = ("22", "23")
WATCHED = frozenset(["HL", "DTP", "DMG", "NM1", "EB", "AAA", "EQ", "AK2", "IK5", "AK9"])
"""Segments some rule looks at."""


@dataclass(slots=True)
class _Level:
    position: int
    kind: str
    says_child: str
    loop: str
    has_child: bool = False
    content: set[str] = field(default_factory=set)
    """Segments that make it more than a frame for the levels below."""
    known_by: set[str] = field(default_factory=set)
    """`id`, `name`, `birth date`: what a payer can find the person by."""


class Rules:
    """The rules of one transaction set."""

    def __init__(self, transaction: Transaction, find: Callable[..., None]) -> None:
        self.set = transaction.set
        self.find = find
        self.levels: dict[str, _Level] = {}
        """By HL01."""
        self.level: _Level | None = None
        self.numbers = 0
        self.verdicts: list[str] = []
        """IK501 of each set a 999 answers."""

    def take(self, position: int, segment: Segment, place: Place) -> None:
        id = segment.id
        if id == "HL":
            self.open_level(position, segment, place)
        elif id == "DTP":
            self.check_period(position, segment, 2, 3)
        elif id == "DMG":
            self.check_period(position, segment, 1, 2)
            self.known("birth date", segment[2])
        elif id == "NM1":
            self.check_name(position, segment, place)
        elif id in ("IK5", "AK9", "AK2"):
            self.check_acknowledgement(position, segment)
        elif self.level is not None:
            self.level.content.add(id)

    def known(self, how: str, value: str) -> None:
        if self.level is not None and value:
            self.level.known_by.add(how)

    # The hierarchy.

    def open_level(self, position: int, segment: Segment, place: Place) -> None:
        self.numbers += 1
        number, above, kind = segment[1], segment[2], segment[3]
        if whole_number(number) != self.numbers:
            self.find("X12-HL", f"HL01 is not {self.numbers}, the number of this level", position, "HL", element=1, ik4="7")
        parent = self.levels.get(above)
        if kind == "20":
            if above:
                self.find("X12-HL", "HL02 is not used at the highest level", position, "HL", element=2, ik4="I10")
        elif parent is None or parent.kind not in _ABOVE.get(kind, (parent.kind,)):
            self.find("X12-HL", "HL02 names no level this one can stand below", position, "HL", element=2, ik4="7")
        if parent is not None:
            parent.has_child = True
        self.level = _Level(position, kind, segment[4], place.loop.name)
        self.levels.setdefault(number, self.level)

    def finish(self) -> None:
        for level in self.levels.values():
            cut = "AAA" in level.content  # a payer that rejects stops there
            if level.says_child == "1" and not (level.has_child or cut) and level.kind in ("20", "21", "22"):
                self.find(
                    "X12-HL",
                    "HL04 announces levels below, but there are none",
                    level.position,
                    "HL",
                    loop=level.loop,
                    element=4,
                    ik4="7",
                )
            elif level.says_child == "0" and level.has_child:
                self.find(
                    "X12-HL",
                    "HL04 denies levels below, but there are some",
                    level.position,
                    "HL",
                    loop=level.loop,
                    element=4,
                    ik4="7",
                )
            if level.kind in _PERSONS:
                self.check_person(level)

    def check_person(self, level: _Level) -> None:
        """The patient is asked for, or told about; a subscriber above a dependent is neither."""
        if self.set == "271" and not (level.has_child or level.content & {"EB", "AAA"}):
            self.find(
                "X12-RULE",
                "the payer says nothing about this person: no EB, no AAA",
                level.position,
                "HL",
                loop=level.loop,
                ik3="I6",
            )
        if self.set == "270" and not level.has_child and "EQ" not in level.content:
            self.find("X12-RULE", "nothing is asked about this person: no EQ", level.position, "HL", loop=level.loop, ik3="I6")
        if (
            self.set == "270"
            and level.kind == "22"
            and not (level.known_by >= {"name", "birth date"} or "id" in level.known_by)
        ):
            text = "the subscriber is named neither by member id nor by name and birth date"
            self.find("X12-RULE", text, level.position, "HL", loop=level.loop, ik3="I6")

    # Content.

    def check_name(self, position: int, segment: Segment, place: Place) -> None:
        if not place.loop.name.startswith("2120"):
            self.known("id", segment[9])
            self.known("name", segment[3])
        if segment[8] == "XX" and not (len(segment[9]) == 10 and segment[9].isdecimal()):
            self.find("X12-RULE", "NM109 is no NPI of ten digits, as NM108 says", position, "NM1", element=9, ik4="I12")

    def check_period(self, position: int, segment: Segment, form: int, number: int) -> None:
        kind, value = segment[form], segment[number]
        if kind not in ("D8", "RD8") or not value:
            return
        first, dash, last = value.partition("-") if kind == "RD8" else (value, "", "")
        if not is_day(first) or (dash and not is_day(last)):
            text = f"{segment.id}{number:02d} is no day of the form CCYYMMDD"
        elif kind == "RD8" and not dash:
            text = f"{segment.id}{number:02d} is no range of two days"
        elif dash and last < first:
            text = f"{segment.id}{number:02d} ends before it begins"
        else:
            return
        self.find("X12-DATE", text, position, segment.id, level="error", element=number, ik4="8", reference="1251")

    # 999.

    def check_acknowledgement(self, position: int, segment: Segment) -> None:
        if segment.id == "AK2":
            self.verdicts.append("")
        elif segment.id == "IK5":
            if self.verdicts:
                self.verdicts[-1] = segment[1]
        elif self.verdicts:
            accepted = sum(verdict in ("A", "E") for verdict in self.verdicts)
            if whole_number(segment[3]) != len(self.verdicts) or whole_number(segment[4]) != accepted:
                self.find("X12-RULE", "AK9 counts otherwise than the sets before it", position, "AK9", element=3, ik4="7")
