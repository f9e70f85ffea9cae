"""What a coordinator does about a visit: ask something else, put a question again, note a phone call, say yes or no.

Each is one commit with its audit row.  Insurance in a chart is only ever changed by one of these.
"""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from hub import Appointment, Context, Coverage, CoverageCheck, Operation, Patient, WorklistItem
from hub.errors import Refused
from hub.records import GONE, OtherCoverage, Outcome
from plugins.eligibility.follow_up import TOPICS, close_note
from plugins.eligibility.known import appointment_named
from plugins.eligibility.outcome import ELSEWHERE
from plugins.eligibility.people import (
    CorrectedQuestion,
    Declined,
    How,
    Verification,
    chart_digest,
    note_digest,
    question_of,
    save_to_chart,
)
from plugins.eligibility.visits import chart_of, is_ahead, plan_check, service_day
from plugins.eligibility.write_back import WriteBack, plan_write_back

Relationship = Literal["self", "spouse", "child", "other"]
_ASKED = ("payer", "member_id", "group", "relationship", "family", "given", "birth_date", "sex")
PRIVATE = frozenset({"member_id", "group", "family", "given", "birth_date", "sex", "reference"})
"""Parameters that are patient data."""


class _Params(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    appointment: str


class EditParams(_Params):
    """What to ask instead; what is None stays as the chart has it."""

    payer: str | None = None
    member_id: str | None = Field(default=None, min_length=1, max_length=80)
    group: str | None = Field(default=None, min_length=1, max_length=80)
    relationship: Relationship | None = None
    family: str | None = Field(default=None, min_length=1, max_length=60)
    given: str | None = Field(default=None, min_length=1, max_length=60)
    birth_date: date | None = None
    sex: Literal["F", "M", "U"] | None = None
    service_types: str | None = Field(default=None, pattern=r"[A-Z0-9]{1,3}( [A-Z0-9]{1,3})*")
    save_to_chart: bool = False


class CloneParams(_Params):
    """Where else to put the same question."""

    to: str | None = None
    """Another visit of the same patient; the same one when None."""
    payer: str | None = None
    member_id: str | None = Field(default=None, min_length=1, max_length=80)
    service_types: str | None = Field(default=None, pattern=r"[A-Z0-9]{1,3}( [A-Z0-9]{1,3})*")


class VerifiedParams(_Params):
    """What somebody found out."""

    how: How = "phone"
    outcome: Literal["covered", "covered_elsewhere", "inactive", "not_found", "unclear", "self_pay"]
    reference: str = Field(min_length=1, max_length=200)
    co_payment: str | None = Field(default=None, pattern=r"^[0-9]{1,6}(\.[0-9]{2})?$")


class AcceptParams(_Params):
    """Which of the changes that an answer suggests."""

    change: Literal["card", "payer"] | None = None
    """card: member id and group as the payer has them; payer: the other insurance it names. None: the one there is."""
    member_id: str | None = Field(default=None, min_length=1, max_length=80)
    """Number on the card of the other insurance."""


class DeclineParams(_Params):
    """Keeps what the chart says."""


# Asking something else.


async def edit(params: EditParams, context: Context) -> dict[str, Any]:
    """Asks with these data instead of the chart's; the chart only changes with `save_to_chart`."""
    appointment, chart = await _open_visit(params.appointment, context)
    changes = {name: value for name in _ASKED if (value := getattr(params, name)) is not None}
    if not changes and params.service_types is None:
        raise Refused("say what to ask instead, for instance --member-id", code="CLI-004")
    _check_payer(params.payer, context)
    if params.save_to_chart:
        await save_to_chart(chart, changes, context)
        changes = {}
        chart = await chart_of(appointment, context) or chart
    await _ask_instead(appointment, chart, changes, params.service_types, context)
    return {"appointment": appointment.id, "planned": True, "saved_to_chart": params.save_to_chart}


async def clone(params: CloneParams, context: Context) -> dict[str, Any]:
    """Puts the question of a visit again: for another visit of the patient, to another payer, about other services."""
    appointment, chart = await _open_visit(params.appointment, context)
    target, its_chart = await _open_visit(params.to or params.appointment, context)
    if its_chart.id != chart.id:
        raise Refused(f"the visits {appointment.id} and {target.id} are of different patients; a question is about one")
    asked = await question_of(appointment.id, chart, context)
    changes = (asked.changes() if asked is not None else {}) | {
        name: value for name in ("payer", "member_id") if (value := getattr(params, name)) is not None
    }
    types = params.service_types or (" ".join(asked.service_types) if asked is not None else None)
    if target.id == appointment.id and not (params.payer or params.member_id or params.service_types):
        raise Refused("say what is different: --to, --payer, --member-id or --service-types", code="CLI-004")
    _check_payer(params.payer, context)
    await _ask_instead(target, chart, changes, types, context)
    return {"appointment": target.id, "planned": True}


async def _ask_instead(
    appointment: Appointment, chart: Patient, changes: dict[str, Any], types: str | None, context: Context
) -> None:
    """Further corrections join those that hold; what they do not name stays."""
    before = await question_of(appointment.id, chart, context)
    question = CorrectedQuestion(
        id=appointment.id,
        by=context.actor,
        at=context.now,
        chart=chart_digest(chart, context),
        service_types=(types or "").split() or (before.service_types if before is not None else []),
        **((before.changes() if before is not None else {}) | changes),
    )
    if question.changes() or question.service_types:
        await context.put(question)
    plan_check(appointment.id, "asked", context.now, context)


def _check_payer(payer: str | None, context: Context) -> None:
    if payer is not None and context.payer(payer) is None:
        raise Refused(f"the payer {payer} is not in the payer list; IT adds it to payers.csv")


async def _open_visit(id: str, context: Context) -> tuple[Appointment, Patient]:
    """A visit that can still be asked about, with its chart."""
    appointment = await appointment_named(id, context)
    if appointment.status in GONE:
        raise Refused(f"the visit {appointment.id} is {appointment.status}; there is nothing to check")
    if not is_ahead(appointment, context):
        raise Refused(f"the visit {appointment.id} is over; there is nothing to check")
    chart = await chart_of(appointment, context)
    if chart is None:
        raise Refused(f"the visit {appointment.id} has no chart yet; the EHR sends it with a registration (ADT)")
    return appointment, chart


# A word from the telephone.


async def verified(params: VerifiedParams, context: Context) -> dict[str, Any]:
    """Notes what somebody found out; it counts until the payer answers, and closes what is open for the visit."""
    appointment = await appointment_named(params.appointment, context)
    if appointment.status in GONE:
        raise Refused(f"the visit {appointment.id} is {appointment.status}; there is nothing to verify")
    outcome: Outcome = params.outcome
    found = Verification(
        id=appointment.id,
        by=context.actor,
        at=context.now,
        how=params.how,
        outcome=outcome,
        reference=params.reference,
        co_payment=params.co_payment,
        service_date=service_day(appointment, context),
    )
    await context.put(found)
    for topic in ("", *TOPICS):
        await close_note(appointment.id, topic, f"verified by {params.how}", context)
    if await context.get(WriteBack, appointment.id) is not None:  # of this visit others are told
        plan_write_back(appointment.id, context)
    return {"appointment": appointment.id, "outcome": outcome}


# A yes or a no to what an answer suggests.


async def accept(params: AcceptParams, context: Context) -> dict[str, Any]:
    """Takes over into the chart what the payer says, and checks again."""
    appointment, chart = await _open_visit(params.appointment, context)
    check = await context.get(CoverageCheck, appointment.id) or CoverageCheck(id=appointment.id)
    card = {d.field: d.payers for d in check.differences if d.field in ("member_id", "group")}
    other = next((o for o in check.others if o.kind in ELSEWHERE or (o.kind == "other_payer" and o.about_plan)), None)
    offered = (["card"] if card else []) + (["payer"] if other is not None else [])
    if not offered:
        raise Refused(f"the payer suggests no change of the insurance of visit {appointment.id}")
    if params.change is None and len(offered) > 1:
        raise Refused("the payer suggests two changes; say which: --change card, or --change payer", code="CLI-004")
    change = params.change or offered[0]
    if change not in offered:
        raise Refused(f"the payer suggests no other {change} for visit {appointment.id}; it suggests: {', '.join(offered)}")
    if change == "card":
        await save_to_chart(chart, card, context)
    else:
        assert other is not None  # noqa: S101 - it was offered
        await _register(chart, other, params.member_id, context)
    for topic in TOPICS:
        await close_note(appointment.id, topic, f"accepted: {change}", context)
    plan_check(appointment.id, "asked", context.now, context)
    return {"appointment": appointment.id, "accepted": change, "planned": True}


async def _register(chart: Patient, other: OtherCoverage, member_id: str | None, context: Context) -> None:
    """Another insurance: in front where it is billed first, else behind."""
    ids = [other.payer_id, other.payer, other.plan]
    payer = next((found for id in ids if (found := context.payer(id)) is not None), None)
    coverage = Coverage(
        payer=payer.payer if payer is not None else other.payer_id,
        payer_name=other.payer or other.plan,
        member_id=member_id or other.policy,
        plan=other.plan,
    )
    ordered = [coverage, *chart.coverages] if other.kind in ELSEWHERE else [*chart.coverages, coverage]
    coverages = [one.model_copy(update={"priority": number}) for number, one in enumerate(ordered, 1)]
    await context.save(Patient(identifiers=chart.identifiers, coverages=coverages, provisional=chart.provisional))


async def decline(params: DeclineParams, context: Context) -> dict[str, Any]:
    """Keeps what the chart says; it is not noted again as long as the payer says the same."""
    appointment = await appointment_named(params.appointment, context)
    check = await context.get(CoverageCheck, appointment.id) or CoverageCheck(id=appointment.id)
    items = await context.find(WorklistItem, "open_for", appointment.id)
    topics = [item.topic for item in items if item.topic in TOPICS]
    if not topics:
        raise Refused(f"there is nothing to decline for visit {appointment.id}")
    await context.put(Declined(id=check.id, what=[note_digest(topic, check, context) for topic in TOPICS]))
    for topic in topics:
        await close_note(appointment.id, topic, "declined", context)
    return {"appointment": appointment.id, "declined": topics}


OPERATIONS = [
    Operation("eligibility.edit", "Ask something else than the chart says.", EditParams, edit, PRIVATE),
    Operation("eligibility.clone", "Put the same question elsewhere.", CloneParams, clone, PRIVATE),
    Operation("eligibility.verified", "Note what somebody found out by phone.", VerifiedParams, verified, PRIVATE),
    Operation("eligibility.accept", "Take over what the payer says into the chart.", AcceptParams, accept, PRIVATE),
    Operation("eligibility.decline", "Keep what the chart says.", DeclineParams, decline),
]
