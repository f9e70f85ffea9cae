"""270 and 271 (005010X279A1): the hierarchy payer > provider > subscriber > dependent, with everything it says in order.

A walk over the segments builds one `Level` for each HL; benefits collect what follows their EB (HSD, REF, DTP, MSG, III and
the entity in LS/LE).  Nothing here decides anything: status and amounts are chosen in `benefits.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import TypeVar

from hub.formats.x12 import codes
from hub.formats.x12.envelope import Transaction
from hub.formats.x12.tokens import Finding, Findings, Segment

PAYER, PROVIDER, SUBSCRIBER, DEPENDENT = "20", "21", "22", "23"
_Said = TypeVar("_Said")
_LOOP_LETTER = {PAYER: "A", PROVIDER: "B", SUBSCRIBER: "C", DEPENDENT: "D"}
MOST_REPEATS = 50
"""So many TRN, REF, DTP or AAA of one level are kept; 005010X279A1 allows nine."""
MOST_ELEMENTS: dict[str, int] = {
    "AAA": 4,
    "AMT": 3,
    "BHT": 6,
    "DMG": 11,
    "DTP": 3,
    "EB": 14,
    "EQ": 5,
    "HI": 12,
    "HL": 4,
    "HSD": 8,
    "III": 9,
    "INS": 17,
    "LE": 1,
    "LS": 1,
    "MPI": 7,
    "MSG": 3,
    "N3": 2,
    "N4": 7,
    "NM1": 12,
    "PER": 9,
    "PRV": 6,
    "REF": 4,
    "TRN": 4,
}
"""Elements a segment has in 005010."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """One AAA segment."""

    loop: str
    code: str
    follow_up: str | None
    segment: int


@dataclass(slots=True)
class Entity:
    """Somebody named by an NM1."""

    code: str = ""
    family: str = ""
    """NM103: the family name of a person, or the name of an organisation."""
    given: str = ""
    middle: str = ""
    suffix: str = ""
    qualifier: str = ""
    id: str = ""
    person: bool = False

    @property
    def name(self) -> str:
        return ", ".join(part for part in (self.family, self.given) if part)


@dataclass(slots=True)
class Period:
    """A DTP segment: a day, or a range."""

    qualifier: str
    starts: str
    ends: str


@dataclass(slots=True)
class Benefit:
    """One EB with the segments that belong to it."""

    segment: int
    code: str
    level: str
    service_types: list[str]
    insurance_type: str
    plan: str
    period: str
    amount: str
    percent: str
    quantity_qualifier: str
    quantity: str
    authorization: str
    network: str
    """EB12: Y in, N out, W both or not applicable, U unknown, empty not said."""
    delivery: list[list[str]] = field(default_factory=list)
    """HSD segments, element by element."""
    references: list[tuple[str, str, str]] = field(default_factory=list)
    dates: list[Period] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    """Place of service codes (III01 = ZZ)."""
    entities: list[Entity] = field(default_factory=list)


@dataclass(slots=True)
class Level:
    """One HL with what stands in it."""

    kind: str
    segment: int
    entity: Entity = field(default_factory=Entity)
    birth_date: str = ""
    sex: str = ""
    relationship: str = ""
    traces: list[tuple[str, str]] = field(default_factory=list)
    """TRN01 and TRN02."""
    references: list[tuple[str, str, str]] = field(default_factory=list)
    dates: list[Period] = field(default_factory=list)
    inquiries: list[list[str]] = field(default_factory=list)
    """Service types of each EQ."""
    benefits: list[Benefit] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)

    def reference(self, qualifier: str) -> str:
        return next((value for kind, value, _ in self.references if kind == qualifier), "")


@dataclass(slots=True)
class Patient:
    """One patient of a transaction with the levels above."""

    payer: Level
    provider: Level
    subscriber: Level
    dependent: Level | None = None

    @property
    def level(self) -> Level:
        return self.dependent or self.subscriber

    @property
    def relationship(self) -> str:
        if self.dependent is None:
            return "self"
        return codes.RELATIONSHIP.get(self.dependent.relationship, "dependent")

    @property
    def rejections(self) -> list[Rejection]:
        return [*self.subscriber.rejections, *(self.dependent.rejections if self.dependent else [])]

    @property
    def benefits(self) -> list[Benefit]:
        return self.level.benefits


@dataclass(slots=True)
class Eligibility:
    """A 270 or 271, read."""

    set: str
    control_number: str
    reference: str = ""
    """BHT03."""
    patients: list[Patient] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    """AAA above the subscriber (2000A, 2100A, 2100B)."""
    findings: Findings = field(default_factory=Findings)


def read_eligibility(transaction: Transaction) -> Eligibility:
    """Total: whatever the segments are, it reads what it can and says what it could not."""
    walk = _Walk(transaction)
    for position, segment in enumerate(transaction.segments, 1):
        walk.take(position, segment)
    return walk.finish()


class _Walk:
    def __init__(self, transaction: Transaction) -> None:
        self.delimiters = transaction.delimiters
        self.result = Eligibility(transaction.set, transaction.control_number)
        self.levels: list[Level] = []
        self.level: Level | None = None
        self.benefit: Benefit | None = None
        self.wrapped_at = 0
        """Position of the open LS; 0 when none is."""

    def find(self, code: str, text: str, position: int, segment: str, level: str = "error", element: int | None = None) -> None:
        self.result.findings.add(Finding(level, code, text, position, segment, element))

    def repeated(self, text: str) -> list[str]:
        separator = self.delimiters.repetition
        return [part.strip() for part in (text.split(separator) if separator else [text]) if part.strip()]

    def keep(self, kept: list[_Said], item: _Said, position: int, segment: Segment) -> None:
        """Adds to what a level says; every patient below it repeats that, so there is an end to it."""
        if len(kept) < MOST_REPEATS:
            kept.append(item)
        else:
            text = f"there are more than {MOST_REPEATS} {segment.id} in one level; this one was left out"
            self.find("X12-REPEATS", text, position, segment.id)

    def take(self, position: int, segment: Segment) -> None:
        self.check_elements(position, segment)
        match segment.id:
            case "ST" | "SE" | "":
                return
            case "BHT":
                self.result.reference = segment[3]
            case "HL":
                self.open_level(position, segment)
            case _ if self.level is None:
                self.find("X12-NO-HL", f"{segment.id} stands before the first HL", position, segment.id)
            case "EB":
                self.open_benefit(position, segment, self.level)
            case "LS":
                self.wrapped_at = position
            case "LE":
                self.close_wrapper()
            case _ if self.benefit is not None:
                self.in_benefit(position, segment, self.level, self.benefit)
            case _:
                self.in_level(position, segment, self.level)

    def check_elements(self, position: int, segment: Segment) -> None:
        most = MOST_ELEMENTS.get(segment.id, len(segment.elements))
        if any(element.strip() for element in segment.elements[most:]):
            text = f"{segment.id} has {len(segment.elements)} elements, but at most {most}"
            self.find("X12-ELEMENTS", text, position, segment.id, element=most + 1)

    def open_level(self, position: int, segment: Segment) -> None:
        self.close_wrapper()
        self.benefit = None
        if segment[3] not in _LOOP_LETTER:
            self.find(
                "X12-HL03", f"HL03 is {segment[3]!r}; an eligibility transaction has 20, 21, 22, 23", position, "HL", element=3
            )
        self.level = Level(segment[3], position)
        self.levels.append(self.level)

    def open_benefit(self, position: int, segment: Segment, level: Level) -> None:
        self.close_wrapper()
        if segment[1] not in codes.EB01:
            self.find("X12-EB01", f"EB01 is {segment[1]!r}, which is no benefit code", position, "EB", element=1)
        self.benefit = Benefit(
            position,
            segment[1],
            segment[2],
            self.repeated(segment[3]),
            segment[4],
            segment[5],
            segment[6],
            segment[7],
            segment[8],
            segment[9],
            segment[10],
            segment[11],
            segment[12],
        )
        level.benefits.append(self.benefit)

    def close_wrapper(self) -> None:
        if self.wrapped_at and self.benefit is not None and not self.benefit.entities:
            self.find("X12-2120", "LS/LE wraps a loop 2120 without its NM1", self.wrapped_at, "LS")
        self.wrapped_at = 0

    def in_benefit(self, position: int, segment: Segment, level: Level, benefit: Benefit) -> None:
        match segment.id:
            case "HSD":
                benefit.delivery.append([element.strip() for element in segment.elements])
            case "REF":
                benefit.references.append((segment[1], segment[2], segment[3]))
            case "DTP":
                benefit.dates.append(self.period(position, segment))
            case "MSG":
                benefit.messages.append(segment[1])
            case "III" if segment[1] == "ZZ" and segment[2]:
                benefit.places.append(segment[2])
            case "NM1":
                benefit.entities.append(_entity(segment))
            case "AAA":
                self.reject(position, segment, level, f"2110{_LOOP_LETTER.get(level.kind, 'C')}")
            case "III" | "N3" | "N4" | "PER" | "PRV":
                pass
            case _:
                self.find("X12-SEGMENT", f"{segment.id} does not belong after an EB", position, segment.id, "warning")

    def in_level(self, position: int, segment: Segment, level: Level) -> None:
        match segment.id:
            case "NM1":
                level.entity = _entity(segment)
            case "TRN":
                self.keep(level.traces, (segment[1], segment[2]), position, segment)
            case "REF":
                self.keep(level.references, (segment[1], segment[2], segment[3]), position, segment)
            case "DMG":
                level.birth_date, level.sex = segment[2], segment[3]
                self.check_day(segment[2], position, "DMG", 2)
            case "INS":
                level.relationship = segment[2]
            case "DTP":
                self.keep(level.dates, self.period(position, segment), position, segment)
            case "EQ":
                level.inquiries.append(self.repeated(segment[1]))
            case "AAA":
                letter = _LOOP_LETTER.get(level.kind, "A")
                named = level.entity.code or level.kind != PAYER
                self.reject(position, segment, level, f"2100{letter}" if named else "2000A")
            case "N3" | "N4" | "PER" | "PRV" | "HI" | "MPI" | "III" | "AMT":
                pass
            case _:
                self.find("X12-SEGMENT", f"{segment.id} does not belong into this loop", position, segment.id, "warning")

    def reject(self, position: int, segment: Segment, level: Level, loop: str) -> None:
        rejection = Rejection(loop, segment[3], segment[4] or None, position)
        if level.kind in (SUBSCRIBER, DEPENDENT):
            self.keep(level.rejections, rejection, position, segment)
        else:
            self.result.rejections.append(rejection)

    def period(self, position: int, segment: Segment) -> Period:
        first, _, last = segment[3].partition("-") if segment[2] == "RD8" else (segment[3], "", "")
        if segment[2] in ("D8", "RD8"):
            for day in (first, last):
                self.check_day(day, position, "DTP", 3)
        return Period(segment[1], first, last)

    def check_day(self, day: str, position: int, segment: str, element: int) -> None:
        if day and not _is_day(day):
            self.find("X12-DATE", f"{segment}{element:02d} is no day of the form CCYYMMDD", position, segment, element=element)

    def finish(self) -> Eligibility:
        self.close_wrapper()
        payer, provider = Level(PAYER, 0), Level(PROVIDER, 0)
        subscriber: Level | None = None
        patients: list[Patient] = []
        for level in self.levels:
            if level.kind == PAYER:
                payer, provider, subscriber = level, Level(PROVIDER, 0), None
            elif level.kind == PROVIDER:
                provider, subscriber = level, None
            elif level.kind == SUBSCRIBER:
                subscriber = level
                patients.append(Patient(payer, provider, level))
            elif level.kind == DEPENDENT:
                self.add_dependent(patients, payer, provider, subscriber, level)
        self.result.patients = patients
        self.check_names(patients)
        return self.result

    def add_dependent(
        self, patients: list[Patient], payer: Level, provider: Level, subscriber: Level | None, level: Level
    ) -> None:
        if subscriber is None:
            self.find("X12-HL", "a dependent stands without a subscriber above", level.segment, "HL")
            subscriber = Level(SUBSCRIBER, 0)
        last = patients[-1] if patients else None
        only_frame = last is not None and last.subscriber is subscriber and last.dependent is None
        if only_frame and not (subscriber.benefits or subscriber.inquiries):
            patients.pop()  # this subscriber is not a patient, only the way to one
        patients.append(Patient(payer, provider, subscriber, level))

    def check_names(self, patients: list[Patient]) -> None:
        for patient in patients:
            if not patient.subscriber.entity.code:
                self.find("X12-2100C", "the subscriber has no NM1", patient.subscriber.segment, "HL")


def _entity(segment: Segment) -> Entity:
    return Entity(
        code=segment[1],
        person=segment[2] == "1",
        family=segment[3],
        given=segment[4],
        middle=segment[5],
        suffix=segment[7],
        qualifier=segment[8],
        id=segment[9],
    )


def _is_day(text: str) -> bool:
    if len(text) != 8 or not (text.isascii() and text.isdecimal()):
        return False
    try:
        date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return False
    return True
