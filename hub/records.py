"""What the clinic knows: the records that plugins save, find and meet through.

Every model refuses unknown fields, hides values in errors and reprs (they are patient data), and carries zones in its
times.  A field that was never set means "not said"; `None` that was set means "said to be empty" (HL7 `""`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, time
from functools import cache
from types import NoneType
from typing import Annotated, Any, Literal, get_args

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=2000)]

Outcome = Literal[
    "covered",
    "covered_elsewhere",
    "inactive",
    "not_found",
    "mismatch",
    "no_coverage_on_file",
    "self_pay",
    "payer_unavailable",
    "pending",
    "unclear",
    "withdrawn",
]
"""What the front desk knows about the coverage of one visit."""

OUTCOME_WORDS: dict[str, str] = {
    "covered": "covered",
    "covered_elsewhere": "covered by another plan",
    "inactive": "not active",
    "not_found": "not found",
    "mismatch": "data differ",
    "no_coverage_on_file": "no insurance on file",
    "self_pay": "self-pay",
    "payer_unavailable": "payer not answering",
    "pending": "being checked",
    "unclear": "unclear",
    "withdrawn": "does not take place",
}
"""Outcomes as people read them."""


class Record(BaseModel):
    """Base of all records."""

    model_config = ConfigDict(
        extra="forbid",
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        frozen=True,
        ser_json_bytes="base64",
        val_json_bytes="base64",
    )

    @model_validator(mode="before")
    @classmethod
    def _nothing_said(cls, data: Any) -> Any:
        """A field that cannot be empty and is given as None counts as not said."""
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if value is not None or key not in _never_empty(cls)}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {getattr(self, 'id', '')}>"

    __str__ = __repr__


@cache
def _never_empty(model: type[BaseModel]) -> frozenset[str]:
    return frozenset(name for name, field in model.model_fields.items() if NoneType not in get_args(field.annotation))


class Content(Record):
    """Bytes of any size that the store keeps once, sealed, as long as a record or a message names them.

    `context.keep` gives one, `context.content` reads it, and a message is made of it without copying (`context.body`).
    """

    name: Text
    """A keyed digest: the same bytes have the same name, and it tells nothing about them."""
    size: int
    """Bytes."""


def contents_of(record: BaseModel) -> Iterator[Content]:
    """Every content that a record names, in fields whose types say that they may."""
    for name in _may_name_content(type(record)):
        yield from _contents_in(getattr(record, name))


def _contents_in(value: Any) -> Iterator[Content]:
    if isinstance(value, Content):
        yield value
    elif isinstance(value, BaseModel):
        yield from contents_of(value)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _contents_in(part)
    elif isinstance(value, dict):
        yield from _contents_in(list(value.values()))


@cache
def _may_name_content(model: type[BaseModel]) -> tuple[str, ...]:
    return tuple(name for name, field in model.model_fields.items() if _speaks_of_content(field.annotation, ()))


def _speaks_of_content(annotation: Any, within: tuple[type, ...]) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation in within:
            return False
        fields = annotation.model_fields.values()
        return annotation is Content or any(_speaks_of_content(field.annotation, (*within, annotation)) for field in fields)
    return any(_speaks_of_content(part, within) for part in get_args(annotation))


class Identifier(Record):
    """A number by which somebody knows the patient (PID-3): value, who assigned it, what kind it is."""

    value: Text
    authority: Text = ""
    """Assigning authority (CX.4)."""
    type: Text = ""
    """Identifier type, HL7 table 0203: MR, PI, SS ..."""


class Person(Record):
    """A person by name, birth date and sex."""

    family: Text | None = None
    given: Text | None = None
    middle: Text | None = None
    suffix: Text | None = None
    birth_date: date | None = None
    sex: Text | None = None
    """HL7 table 0001: F, M, O, U ..."""


class Coverage(Record):
    """One insurance of one patient (IN1 with its IN2)."""

    priority: int = 1
    """1 is primary (IN1-22, else the order of the segments)."""
    payer: Text | None = None
    """The EHR's id of the payer (IN1-3, else the plan id IN1-2); looked up in the clinic's payer list."""
    payer_name: Text | None = None
    member_id: Text | None = None
    group: Text | None = None
    group_name: Text | None = None
    """IN1-9."""
    medicare_id: Text | None = None
    """Medicare beneficiary identifier (IN2-6)."""
    patient_member_id: Text | None = None
    """The number of the patient where it is not that of the subscriber (IN2-61)."""
    plan: Text | None = None
    relationship: Text = "self"
    """The patient is the subscriber's: self, spouse, child, other."""
    subscriber: Person | None = None
    """The insured person, when that is not the patient."""
    starts_on: date | None = None
    ends_on: date | None = None


class Patient(Record):
    """One chart."""

    id: str = ""
    """The hub's own id; given when the chart is first saved."""
    identifiers: list[Identifier] = []
    name: Person = Person()
    phone: Text | None = None
    email: Text | None = None
    language: Text | None = None
    """The patient's language as the EHR says it (PID-15): en, spa, Spanish ..."""
    deceased: bool | None = None
    coverages: list[Coverage] = []
    """Ordered by priority."""
    self_pay: bool = False
    """True when the patient said that no insurance shall be asked."""
    provisional: bool = False
    """True while only a booking has spoken of this patient, and no registration."""
    merged_into: str | None = None
    """The surviving chart, once this one was merged into it."""
    retires: list[Identifier] = []
    """Identifiers that this update merges into the chart (MRG-1)."""


AppointmentStatus = Literal[
    "pending",
    "waitlist",
    "booked",
    "rescheduled",
    "changed",
    "cancelled",
    "deleted",
    "no_show",
    "arrived",
    "complete",
    "time_blocked",
    "time_opened",
]
"""How far a booking is; the last two speak of time in a schedule, of no booking, and are never saved (SIU S23, S24, S25)."""


class Resource(Record):
    """A service, person, place or thing that a booking takes (AIS, AIP, AIL, AIG)."""

    id: Text = ""
    name: Text | None = None
    kind: Text | None = None
    """Role of a person (AIP-4), or type of a thing as its sender names types (AIG-4)."""
    npi: Text | None = None
    """National Provider Identifier of a person, where it is sent as one."""
    starts_at: AwareDatetime | None = None
    status: Text | None = None
    """Whether it is confirmed, as its sender says (AIS-10, AIG-14, AIL-12, AIP-12)."""
    action: Text | None = None
    """What a message does with it (HL7 table 0206): A adds it, U updates it, D takes it away; without one the list is whole."""


class Appointment(Record):
    """One booking of one patient."""

    id: str = ""
    """The EHR's id of the appointment: filler id (SCH-2), else placer id (SCH-1)."""
    placer_id: Text | None = None
    status: AppointmentStatus = "booked"
    starts_at: AwareDatetime | None = None
    ends_at: AwareDatetime | None = None
    type: Text | None = None
    reason: Text | None = None
    practitioner: Text | None = None
    location: Text | None = None
    account: Text | None = None
    """Number of the patient's account (PID-18), by which merged and moved accounts are followed."""
    services: list[Resource] = []
    people: list[Resource] = []
    places: list[Resource] = []
    things: list[Resource] = []
    said_at: AwareDatetime | None = None
    """When the sender wrote what is known (MSH-7): an older message that comes late does not overwrite it."""
    status_at: AwareDatetime | None = None
    """The same for the status alone, which visit messages (ADT) tell too."""
    site: Text | None = None
    patient: Patient | None = None
    """The patient as the booking names them; the saved record keeps only `patient_id`."""
    patient_id: str = ""


GONE: frozenset[str] = frozenset({"cancelled", "deleted", "no_show"})
"""Statuses of appointments that will not take place."""


DocumentEvent = Literal["new", "status", "addendum", "edited", "replacement", "cancelled"]
DocumentSource = Literal["fax", "scan", "mail", "hl7", "signing", "person"]
DocumentFiling = Literal["received", "matched", "waiting", "filed", "rejected"]
"""How far it is on its way into a chart: `received` -> `matched`, or `waiting` for a person -> `filed` or `rejected`."""


class Document(Record):
    """One document of one patient, wherever it came from: MDM, ORU with an embedded one, fax, scan, mail, signature."""

    id: str = ""
    """Unique number of the document (TXA-12), else the filler's order number (OBR-3)."""
    event: DocumentEvent = "new"
    """What was said last about it."""
    parent: Text | None = None
    """The document that this one adds to or replaces (TXA-13)."""
    replaced_by: Text | None = None
    addenda: list[Text] = []
    """Documents that add to this one, in the order they came."""
    content_type: Text | None = None
    """How its content is presented, as its sender says (TXA-3, HL7 table 0191): AP, TX ..."""
    availability: Text | None = None
    """Whether it may be used for care (TXA-19, HL7 table 0273): AV, CA, OB, UN."""
    kind: Text | None = None
    """What kind of document it is, as its sender names kinds (TXA-2, OBR-4)."""
    title: Text | None = None
    status: Text | None = None
    """How far it is (TXA-17, HL7 table 0271; OBR-25, table 0123)."""
    author: Text | None = None
    written_at: AwareDatetime | None = None
    content: bytes | None = None
    """Its bytes as a message brought them; the saved record has them in `kept`."""
    kept: Content | None = None
    """Where the store has its bytes."""
    media_type: Text | None = None
    """What the content is, as its first bytes say: application/pdf, image/tiff, text/plain ..."""
    pointer: Text | None = None
    """Where the document is, when it was not sent itself (OBX-5 of type RP); several places with a blank between."""
    source: DocumentSource | None = None
    """Which way it came."""
    received_at: AwareDatetime | None = None
    pages: int | None = None
    """How many pages it has, once somebody looked."""
    has_text: bool | None = None
    """Whether its pages have a text layer, once somebody looked."""
    trouble: Text | None = None
    """Why its bytes cannot be used, in a word: encrypted, broken, too_many_pages ...; None when they can, or nobody looked."""
    filing: DocumentFiling | None = None
    """How far it is on its way into the chart; None for what the EHR itself sent."""
    partner_ids: dict[Text, Text] = {}
    """Ids by which partners know it, by connection: the fax carrier's, the signing service's."""
    appointment: Text | None = None
    """The appointment it belongs to, where one is known."""
    patient: Patient | None = None
    """The patient as the message names them; the saved record keeps only `patient_id`."""
    patient_id: str = ""


SEARCH_FIELDS = ("member_id", "name", "middle", "suffix", "birth_date", "sex", "group")
"""What a question can name a patient by; all but the group unless the payer list says otherwise."""
SEARCHES = (
    "without_id",
    "plain_name",
    "without_middle",
    "without_sex",
    "as_subscriber",
    "as_dependent",
    "without_group",
    "as_of_today",
)
"""Other ways to ask about the same patient, for payers that allow them."""


class OpenHours(Record):
    """Hours of one weekday in which a payer may be asked."""

    day: int
    """0 is Monday."""
    opens: time
    closes: time


class Payer(Record):
    """One line of the clinic's payer list."""

    payer: str
    """Our own id of the payer."""
    name: str
    clearinghouse_id: str = ""
    """The id by which the clearinghouse knows the payer (2100A NM109)."""
    also: tuple[str, ...] = ()
    """Other ids the EHR uses for it (IN1-3, IN1-2)."""
    service_types: tuple[str, ...] = ("30",)
    """Service type codes to ask for (EQ01)."""
    check: Literal["yes", "no", "self_pay"] = "yes"
    """`self_pay`: this "payer" of the EHR means that the patient pays."""
    medicare: bool = False
    """True for original Medicare, where another plan may turn out to be the one to bill."""
    network: Literal["in", "out"] = "in"
    """Whether the clinic is in the payer's network."""
    places: dict[str, tuple[str, ...]] = {}
    """Place of service codes for appointments of a type, in place of 11 (office); types in capitals."""
    types: dict[str, tuple[str, ...]] = {}
    """Service types for appointments of a type, in place of `service_types`; types in capitals."""
    fields: tuple[str, ...] = SEARCH_FIELDS[:-1]
    """What a question names the patient by."""
    searches: tuple[str, ...] = ()
    """Other ways to ask that the payer allows after a rejection."""
    at_once: int = 0
    """Questions that may be out at once; 0 for as many as the connection takes."""
    hours: tuple[OpenHours, ...] = ()
    """When the payer may be asked; always when there are none."""
    zone: str = ""
    """Time zone of `hours` and `batch`; the first site's when empty."""
    batch: time | None = None
    """When questions leave together in a batch; None for each as it is due."""
    patience: float | None = None
    """Seconds after which a question without an answer is told; None for what the plan says."""
    target: float = 20.0
    """Seconds in which answers should come (CAQH CORE: 20 s for nine of ten in a month)."""


class Organisation(Record):
    """Who asks: the clinic as payers know it."""

    name: str
    npi: str
    tax_id: str | None = None
    x12_sender: str = ""
    """ISA06/GS02; the NPI when empty."""
    x12_receiver: str = "CLEARINGHOUSE"
    """ISA08/GS03: the clearinghouse's id."""
    x12_usage: Literal["T", "P"] = "T"
    """ISA15: T for test data, P for production."""


class Visit(Record):
    """An appointment joined with its patient and the coverage to ask about."""

    appointment: Appointment
    patient: Patient
    coverage: Coverage | None = None
    payer: Payer | None = None
    organisation: Organisation
    service_date: date
    """The visit's day in the time zone of its site."""


class Owes(Record):
    """What the patient owes for this visit, as the payer said it: amounts as text, never summed."""

    co_payment: str | None = None
    deductible_remaining: str | None = None
    out_of_pocket_remaining: str | None = None
    segments: list[int] = []
    """The segments of the 271 that co-payment and deductible come from, counted from ST = 1; of an answer in another form the
    numbers of its benefits, counted from 1."""

    def in_words(self) -> str:
        parts = {
            "co-pay": self.co_payment,
            "deductible left": self.deductible_remaining,
            "out-of-pocket left": self.out_of_pocket_remaining,
        }
        return ", ".join(f"{name} {amount}" for name, amount in parts.items() if amount is not None)


class Chosen(Record):
    """One thing chosen from what the payer listed; a reason without a value says why the rules could not choose."""

    value: Text | None = None
    """As the payer sent it."""
    segments: list[int] = []
    """Where it stands in the 271, counted from ST = 1."""
    why: Text = ""


class ChosenBenefits(Record):
    """What an answer says about this visit; what is None the payer did not say."""

    co_payment: Chosen | None = None
    co_insurance: Chosen | None = None
    """The patient's share of the price: .2 is a fifth."""
    deductible_remaining: Chosen | None = None
    out_of_pocket_remaining: Chosen | None = None
    authorization: Chosen | None = None
    """Y required, N not required, U unclear."""


class OtherCoverage(Record):
    """Another insurance the payer names (EB*R and its like), and what to do about it."""

    kind: Text
    """medicare_advantage, medicare_secondary, part_d, medicaid_managed_care, other_payer."""
    segment: int
    payer: Text | None = None
    payer_id: Text | None = None
    rank: Text | None = None
    """primary, secondary, tertiary."""
    plan: Text | None = None
    policy: Text | None = None
    phone: Text | None = None
    service_types: list[str] = []
    action: Text

    @property
    def about_plan(self) -> bool:
        """It is said of the plan as a whole, and not of a service such as drugs."""
        return not self.service_types or "30" in self.service_types


class Programme(Record):
    """Something the patient is in that changes who pays: hospice, QMB, spend-down."""

    name: Text
    segment: int
    text: Text


class PayersChart(Record):
    """The patient as the payer has them; what is None it did not say."""

    name: Person = Person()
    member_id: Text | None = None
    group: Text | None = None


class Difference(Record):
    """Something the payer has otherwise than the chart."""

    field: Text
    """family, given, birth_date, sex, member_id, group."""
    ours: Text
    payers: Text
    asked: bool = False
    """The payer agrees with what somebody asked instead of the chart (`hub eligibility edit`)."""


class Rejection(Record):
    """One AAA segment: why the payer could not answer."""

    loop: str
    code: str
    follow_up: str | None = None
    text: str
    who: str
    action: str


class CoveragePlan(Record):
    """When a visit is to be checked, and how long an answer counts as fresh."""

    fresh_for: float = 86400.0
    """Seconds."""
    retry_after: list[float] = []
    """Seconds to wait before each further try while the payer does not answer."""
    patience: float = 3600.0
    """Seconds after which a question without an answer is told to somebody."""
    again_at: time = time(6)
    """Time of day of the tries that follow those of `retry_after`, one each morning up to the visit."""
    probe_after: float = 14400.0
    """Seconds after which a payer that refuses us is asked one question to find out whether it still does."""
    queue: str = "front_desk"


AttemptState = Literal["out", "answered", "unanswered"]


class CoverageAttempt(Record):
    """One question to a payer about one visit, and what became of it."""

    trace: Text
    """Trace number (TRN02, BHT03) by which an answer is known as its own."""
    control_number: Text = ""
    """Number of the interchange and group it was sent in (ISA13, GS06); a batch has many with the same."""
    set_number: Text = ""
    """Number of its transaction set (ST02)."""
    payer: Text = ""
    """Our id of the payer."""
    provider: Text = ""
    """NPI of who asked."""
    asked_for: Text = ""
    """What was asked (`CoverageCheck.asked_for`)."""
    service_date: date | None = None
    service_types: list[str] = []
    network: Text = "in"
    places: list[str] = []
    """Where the visit takes place, by which amounts are chosen (`Payer.network`, `Payer.places`)."""
    why: Text = ""
    """What made it necessary: booking, 3d, morning, month, coverage, asked, retry ..."""
    search: Text = ""
    """How it was asked, when not with the data as they are: without_id, plain_name ..."""
    state: AttemptState = "out"
    asked_at: AwareDatetime
    answered_at: AwareDatetime | None = None
    seconds: float | None = None
    """How long the payer took, without the time the question waited in the hub; None where that is not known (batches)."""
    status: Text | None = None
    """The payer's word, as in `CoverageCheck.status`."""
    codes: list[str] = []
    """Reject reasons (AAA03) of the answer."""
    outcome: Text | None = None
    """What the answer came to, whether or not it counted."""
    note: Text | None = None
    """Why the answer did not count, in words."""
    answer: Text | None = None
    """Keyed digest of the answer, so that the same one is recognised."""


class CoverageCheck(Record):
    """What is known about the coverage of one visit, and where it comes from."""

    id: str = ""
    """The appointment's id."""
    outcome: Outcome = "pending"
    patient_id: str = ""
    payer: Text | None = None
    service_date: date | None = None
    status: Text | None = None
    """The payer's word: active, active_review, inactive, not_covered, unknown, rejected."""
    plan_name: Text | None = None
    group: Text | None = None
    other_payer: Text | None = None
    """Another plan the payer named, for instance a Medicare Advantage plan."""
    owes: Owes = Owes()
    chosen: ChosenBenefits = ChosenBenefits()
    others: list[OtherCoverage] = []
    programmes: list[Programme] = []
    payer_has: PayersChart = PayersChart()
    differences: list[Difference] = []
    """Between the payer and the chart, once names are written alike."""
    rejections: list[Rejection] = []
    findings: list[str] = []
    """What was wrong with the answer's form."""
    trace: list[str] = []
    """Trace numbers of the answer (TRN02)."""
    failure: Text | None = None
    """Why there is no answer about the patient: a 999, a TA1, something unreadable."""
    action: Text | None = None
    """What to do, in plain words; none when nothing is."""
    who: Text | None = None
    """Who does it: coordinator, it, hub."""
    cause: Text | None = None
    """What made the action necessary, for instance `AAA 72`."""
    asked_for: Text | None = None
    """What was asked: payer, member and day in one keyed digest, so that a fresh answer is recognised."""
    checked_at: AwareDatetime | None = None
    tries: int = 0
    """Checks in a row that the payer did not answer."""
    plan: CoveragePlan = CoveragePlan()
    question: Text | None = None
    """Trace number of the question that was asked last; of an answer, of the one it is the answer to."""
    seconds: float | None = None
    """How long the payer took for the answer."""
    stopped_by: Text | None = None
    """The problem with the payer that keeps this visit from being asked about (`PayerStop.id`)."""
    attempts: list[CoverageAttempt] = []
    """The questions asked about this visit, oldest first; a visit keeps the last 40."""


class WorklistItem(Record):
    """What a person must do, in plain words: one item per visit, topic and cause."""

    id: str = ""
    queue: str = "front_desk"
    appointment: str = ""
    topic: Text = ""
    """What it is about beside the outcome of the visit; items of one visit and topic take each other's place."""
    text: Text = ""
    who: Text = "coordinator"
    cause: Text = ""
    opened_at: AwareDatetime | None = None
    closed_at: AwareDatetime | None = None
    closed_because: Text | None = None
    open: bool = True


class Alert(Record):
    """Something that is worth telling a person: raised once, cleared once."""

    id: str = ""
    """Code and place."""
    code: str = ""
    where: str = ""
    """`connection NAME`, `flow NAME`, `the disk` ..."""
    host: str = ""
    """Machine it is about, where several hubs share a store; empty for what concerns the store as a whole."""
    text: str = ""
    raised_at: AwareDatetime | None = None
    cleared_at: AwareDatetime | None = None
    told: list[str] = []
    """By which ways it was told that it is raised."""
    told_cleared: list[str] = []
    """By which ways it was told that it is cleared."""
    pending: bool = True
    """It is raised, or somebody has still to be told."""


class Failure(Record):
    """A message of a flow that ended in quarantine, for the flows that follow up."""

    flow: str
    step: str
    code: str
    reason: str
    message: str
    doubtful: bool = False
    """The message may have arrived all the same: nobody knows."""
    headers: dict[str, str] = Field(default_factory=dict)

    @property
    def may_be_done(self) -> bool:
        """What was ordered may have been done: nobody knows, or a mistake in a program may have come after it was sent."""
        return self.doubtful or self.code.startswith("BUG")
