"""What people add to what payers say: another question, a word from the telephone, a no to a note.

Each is a record of its own beside the answer, so that neither overwrites the other.

- A corrected question (`hub eligibility edit`, `clone`) is asked instead of the chart's, until the chart itself changes.
- A verification (`verified`) counts until the payer answers, or the visit moves to another day.
- What was declined is not noted again as long as the payer says the same.
"""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

from pydantic import AwareDatetime

from hub import Appointment, Context, Coverage, CoverageCheck, Patient, Record, WorklistItem
from hub.records import Outcome, Payer, Text
from plugins.eligibility.matching import DECIDED
from plugins.eligibility.outcome import DIFFERENCES
from plugins.eligibility.visits import service_day

How = Literal["phone", "portal"]
_OF_PERSON = ("family", "given", "birth_date", "sex")
_OF_CARD = ("payer", "member_id", "group", "relationship")


class CorrectedQuestion(Record):
    """What is asked instead of what the chart says; None: as the chart says."""

    id: str
    """The appointment's id."""
    by: Text = ""
    at: AwareDatetime | None = None
    chart: Text = ""
    """Keyed digest of what the chart said then; once it says something else, the chart is asked again."""
    payer: Text | None = None
    member_id: Text | None = None
    group: Text | None = None
    relationship: Text | None = None
    family: Text | None = None
    given: Text | None = None
    birth_date: date | None = None
    sex: Text | None = None
    service_types: list[str] = []

    def changes(self) -> dict[str, Any]:
        """What is given, by name."""
        return {name: value for name in (*_OF_PERSON, *_OF_CARD) if (value := getattr(self, name)) is not None}


class Verification(Record):
    """What a person found out by other ways than the hub."""

    id: str
    """The appointment's id."""
    by: Text
    at: AwareDatetime
    how: How
    outcome: Outcome
    reference: Text
    """The call's reference number, or who said it."""
    co_payment: Text | None = None
    service_date: date | None = None


class Declined(Record):
    """The notes that somebody has looked at and said no to."""

    id: str
    """The appointment's id."""
    what: list[str] = []
    """Keyed digests of what was noted."""


# Corrected questions.


def chart_digest(patient: Patient, context: Context) -> str:
    """Equal as long as the chart says the same about the person and the first insurance."""
    card = patient.coverages[0].model_dump_json() if patient.coverages else ""
    return context.digest("chart", patient.name.model_dump_json(), card)


async def question_of(appointment: str, chart: Patient | None, context: Context) -> CorrectedQuestion | None:
    """The corrected question of a visit, while the chart is as it was when somebody corrected it."""
    known = await context.get(CorrectedQuestion, appointment)
    if known is None or chart is None or known.chart != chart_digest(chart, context):
        return None
    return known


def as_asked(chart: Patient, question: CorrectedQuestion | None) -> Patient:
    """The chart as it is asked about; nothing of it is saved."""
    return with_changes(chart, question.changes()) if question is not None else chart


def with_changes(chart: Patient, changes: dict[str, Any]) -> Patient:
    person = {name: value for name, value in changes.items() if name in _OF_PERSON}
    card = {name: value for name, value in changes.items() if name in _OF_CARD}
    if "payer" in card:  # the plan and the name of the former payer would find that one again
        card |= {"plan": None, "payer_name": None}
    coverages = chart.coverages or ([Coverage()] if card else [])
    if card:
        coverages = [coverages[0].model_copy(update=card), *coverages[1:]]
    return chart.model_copy(update={"name": chart.name.model_copy(update=person), "coverages": coverages})


def types_asked(payer: Payer | None, question: CorrectedQuestion | None) -> Payer | None:
    """The payer with the service types somebody wants to know about."""
    if payer is None or question is None or not question.service_types:
        return payer
    return payer.model_copy(update={"service_types": tuple(question.service_types), "types": {}})


async def save_to_chart(chart: Patient, changes: dict[str, Any], context: Context) -> None:
    """Only on a person's yes.  The EHR's next registration says again what the EHR has."""
    after = with_changes(chart, changes)
    name = after.name.model_copy()
    await context.save(
        Patient(identifiers=chart.identifiers, name=name, coverages=after.coverages, provisional=chart.provisional)
    )


# Verifications.


async def verification_of(appointment: Appointment, check: CoverageCheck, context: Context) -> Verification | None:
    """What somebody found out, while it counts."""
    known = await context.get(Verification, appointment.id)
    if known is None or known.service_date != service_day(appointment, context):
        return None
    answered = check.status is not None and check.outcome in DECIDED
    return None if answered and check.checked_at is not None and check.checked_at > known.at else known


async def close_what_is_verified(item: WorklistItem, context: Context) -> None:
    """A reaction to a saved item: who has been verified by phone need not be called because the payer does not answer."""
    if not item.open or not item.appointment or item.topic:
        return
    appointment = await context.get(Appointment, item.appointment)
    check = await context.get(CoverageCheck, item.appointment)
    if appointment is None or check is None or check.outcome != "payer_unavailable":
        return
    if await verification_of(appointment, check, context) is not None:
        await context.save(WorklistItem(appointment=item.appointment, open=False, closed_because="verified"))


# Notes somebody said no to.


def note_digest(topic: str, check: CoverageCheck, context: Context) -> str:
    """Equal as long as the payer says the same about a topic."""
    if topic == DIFFERENCES:
        return context.digest("note", topic, *(d.model_dump_json() for d in check.differences))
    return context.digest("note", topic, *(f"{o.kind} {o.payer} {o.plan}" for o in check.others))


async def is_declined(topic: str, check: CoverageCheck, context: Context) -> bool:
    known = await context.get(Declined, check.id)
    return known is not None and note_digest(topic, check, context) in known.what
