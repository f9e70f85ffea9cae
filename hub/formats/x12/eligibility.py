"""270 and 271 (005010X279A1): the hierarchy payer > provider > subscriber > dependent, with everything it says in order.

A walk over the segments builds one `Level` for each HL; benefits collect what follows their EB (HSD, REF, DTP, MSG, III and
the entities in LS/LE).  Nothing here decides anything: what is wrong with the form is said in `check.py`, status and amounts
are chosen in `benefits.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

from hub.formats.x12 import codes
from hub.formats.x12.envelope import Transaction
from hub.formats.x12.tokens import Finding, Findings, Segment

PAYER, PROVIDER, SUBSCRIBER, DEPENDENT = "20", "21", "22", "23"
_Said = TypeVar("_Said")
_EB_ELEMENTS = 14
_LOOP_LETTER = {PAYER: "A", PROVIDER: "B", SUBSCRIBER: "C", DEPENDENT: "D"}
MOST_REPEATS = 50
"""So many TRN, REF, DTP or AAA of one level are kept; 005010X279A1 allows nine."""


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
    address: list[str] = field(default_factory=list)
    """N3 and N4: lines, then city, state and postal code."""
    contacts: list[tuple[str, str]] = field(default_factory=list)
    """PER: what kind of number (TE, UR ...) and the number."""
    specialty: str = ""
    """PRV03."""

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
    conditions: list[str] = field(default_factory=list)
    """Other codes of III: diagnoses (BK, BF), nature of injury (NI, GR)."""
    procedure: str = ""
    """EB13 as it came: a procedure instead of a service type."""
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

    def reject(self, rejection: Rejection) -> None:
        """Puts an AAA where its loop belongs: above the subscriber, or at the first patient, who is made when there is none."""
        letter = rejection.loop[-1]
        if letter in "AB":
            self.rejections.append(rejection)
            return
        if not self.patients:
            self.patients.append(Patient(Level(PAYER, 0), Level(PROVIDER, 0), Level(SUBSCRIBER, 0)))
        patient = self.patients[0]
        level = patient.dependent if letter == "D" and patient.dependent is not None else patient.subscriber
        level.rejections.append(rejection)


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
        self.wrapped = False
        """Whether an LS is open: what follows is about an entity."""

    def repeated(self, text: str) -> list[str]:
        separator = self.delimiters.repetition
        if not separator or separator not in text:
            return [text.strip()] if text.strip() else []
        return [part.strip() for part in text.split(separator) if part.strip()]

    def keep(self, kept: list[_Said], item: _Said, position: int, segment: Segment) -> None:
        """Adds to what a level says; every patient below it repeats that, so there is an end to it."""
        if len(kept) < MOST_REPEATS:
            kept.append(item)
        else:
            text = f"there are more than {MOST_REPEATS} {segment.id} in one level; this one was left out"
            self.result.findings.add(Finding("error", "X12-REPEATS", text, position, segment.id))

    def take(self, position: int, segment: Segment) -> None:
        id, level, benefit = segment.id, self.level, self.benefit
        if id == "HL":
            self.open_level(position, segment)
        elif level is None:
            if id == "BHT":
                self.result.reference = segment[3]
        elif id == "EB":
            self.open_benefit(position, segment, level)
        elif id == "LS":
            self.wrapped = True
        elif id == "LE":
            self.wrapped = False
        elif benefit is not None:
            self.in_benefit(position, segment, level, benefit)
        else:
            self.in_level(position, segment, level)

    def open_level(self, position: int, segment: Segment) -> None:
        self.wrapped = False
        self.benefit = None
        self.level = Level(segment[3], position)
        self.levels.append(self.level)

    def open_benefit(self, position: int, segment: Segment, level: Level) -> None:
        self.wrapped = False
        said = segment.elements
        if len(said) != _EB_ELEMENTS:
            said = [*said[:_EB_ELEMENTS], *[""] * (_EB_ELEMENTS - len(said))]
        code, whose, types, kind, plan, period, amount, percent, unit, quantity, permit, network, procedure, _ = said
        self.benefit = Benefit(
            position, code, whose, self.repeated(types), kind, plan, period, amount, percent, unit, quantity, permit, network,
            procedure=procedure,
        )  # fmt: skip
        level.benefits.append(self.benefit)

    def in_benefit(self, position: int, segment: Segment, level: Level, benefit: Benefit) -> None:
        match segment.id:
            case "MSG":
                benefit.messages.append(segment[1])
            case "DTP":
                benefit.dates.append(_period(segment))
            case "HSD":
                benefit.delivery.append(segment.elements)
            case "REF":
                benefit.references.append((segment[1], segment[2], segment[3]))
            case "III" if segment[1] == "ZZ" and segment[2]:
                benefit.places.append(segment[2])
            case "III" if segment[2]:
                benefit.conditions.append(segment[2])
            case "NM1":
                benefit.entities.append(_entity(segment))
            case "N3" | "N4" | "PER" | "PRV" if benefit.entities:
                _describe(benefit.entities[-1], segment)
            case "AAA":
                self.reject(position, segment, level, f"2110{_LOOP_LETTER.get(level.kind, 'C')}")

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
            case "INS":
                level.relationship = segment[2]
            case "DTP":
                self.keep(level.dates, _period(segment), position, segment)
            case "EQ":
                level.inquiries.append(self.repeated(segment[1]))
            case "N3" | "N4" | "PER" | "PRV" if len(level.entity.contacts) + len(level.entity.address) < MOST_REPEATS:
                _describe(level.entity, segment)
            case "AAA":
                letter = _LOOP_LETTER.get(level.kind, "A")
                named = level.entity.code or level.kind != PAYER
                self.reject(position, segment, level, f"2100{letter}" if named else "2000A")

    def reject(self, position: int, segment: Segment, level: Level, loop: str) -> None:
        rejection = Rejection(loop, segment[3], segment[4] or None, position)
        if level.kind in (SUBSCRIBER, DEPENDENT):
            self.keep(level.rejections, rejection, position, segment)
        else:
            self.result.rejections.append(rejection)

    def finish(self) -> Eligibility:
        """Who is a patient, and below whom, as the levels follow each other."""
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
        return self.result

    def add_dependent(
        self, patients: list[Patient], payer: Level, provider: Level, subscriber: Level | None, level: Level
    ) -> None:
        subscriber = subscriber or Level(SUBSCRIBER, 0)
        last = patients[-1] if patients else None
        only_frame = last is not None and last.subscriber is subscriber and last.dependent is None
        if only_frame and not (subscriber.benefits or subscriber.inquiries):
            patients.pop()  # this subscriber is not a patient, only the way to one
        patients.append(Patient(payer, provider, subscriber, level))


def _period(segment: Segment) -> Period:
    first, _, last = segment[3].partition("-") if segment[2] == "RD8" else (segment[3], "", "")
    return Period(segment[1], first, last)


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


def _describe(entity: Entity, segment: Segment) -> None:
    """What follows a name: address, numbers to reach it under, specialty."""
    match segment.id:
        case "N3" | "N4":
            entity.address += [part for part in (segment[1], segment[2], segment[3]) if part]
        case "PER":
            pairs = ((segment[n], segment[n + 1]) for n in (3, 5, 7))
            entity.contacts += [(kind, number) for kind, number in pairs if number]
        case _:
            entity.specialty = segment[3]
