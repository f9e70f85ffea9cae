"""Telling other systems what a payer said: once for each change, by a flow of its own `from: {due: write_back}`.

A mapping says how (`coverage_to_hl7_in1`, `_nte`, `_z`, or one of the clinic's), a connection where to.  No more is told than
status, plan, co-payment, what is left of the deductible, and when it was checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import AwareDatetime

from hub import (
    Appointment,
    Context,
    Coverage,
    CoverageCheck,
    Due,
    Message,
    MessageUnusable,
    Patient,
    Prepared,
    Record,
    Step,
    StepConfig,
    StepResult,
)
from hub.records import GONE, OUTCOME_WORDS, Outcome, Text
from plugins.eligibility.known import KnownVisit, known_visit
from plugins.eligibility.visits import chart_of

JOB = "write_back"
Told = Literal["covered", "covered_elsewhere", "inactive", "not_found", "mismatch", "unclear"]


class VisitCoverage(Record):
    """A visit with what is told of its coverage, for mappings that write it for other systems."""

    appointment: Appointment
    patient: Patient
    coverage: Coverage | None = None
    """The insurance on file, as the chart has it."""
    outcome: Outcome
    payer: Text | None = None
    """The payer's name in the payer list."""
    plan: Text | None = None
    co_payment: Text | None = None
    deductible_remaining: Text | None = None
    checked_at: AwareDatetime | None = None
    words: Text = ""
    """All of it in one line."""


class WriteBack(Record):
    """What was told last about a visit."""

    id: str
    """The appointment's id."""
    told: Text = ""
    """Keyed digest of it; empty when nothing was told yet."""


class PlanWriteBackConfig(StepConfig):
    """Settings of `plan_write_back`."""

    outcomes: list[Told] = ["covered", "covered_elsewhere", "inactive"]
    """Outcomes that are told."""


class PlanWriteBack(Step[PlanWriteBackConfig]):
    """Plans that other systems are told what the payer said; a flow `from: {due: write_back}` does it."""

    kind = "plan_write_back"
    main = "outcomes"

    async def run(self, message: Message, context: Context) -> StepResult:
        check = message.record
        if not isinstance(check, CoverageCheck):
            raise MessageUnusable(f"plan_write_back works on an outcome, but this is {message.format}", code="ELG-005")
        if check.outcome in self.config.outcomes:
            if await context.get(WriteBack, check.id) is None:
                await context.put(WriteBack(id=check.id))
            plan_write_back(check.id, context)
        return message


def plan_write_back(appointment: str, context: Context) -> None:
    context.plan(Due(JOB, appointment, context.now, {"appointment": appointment}, lane=appointment))


async def prepare_write_back(payload: Mapping[str, str], context: Context) -> Prepared | None:
    """The visit to tell about; None when there is nothing new to tell."""
    appointment = await context.get(Appointment, payload.get("appointment", ""))
    if appointment is None or appointment.status in GONE:
        return None
    context.key("appointment", appointment.id)
    chart = await chart_of(appointment, context)
    if chart is None:
        return None
    told = _told(await known_visit(appointment, context), chart)
    digest = context.digest("told", told.model_dump_json(include={"outcome", "plan", "co_payment", "deductible_remaining"}))
    known = await context.get(WriteBack, appointment.id) or WriteBack(id=appointment.id)
    if known.told == digest:
        return None
    await context.put(known.model_copy(update={"told": digest}))
    context.note("written back", "What the payer said goes to other systems", plain=True)
    return Prepared(told, {"appointment": appointment.id})


def _told(visit: KnownVisit, chart: Patient) -> VisitCoverage:
    verified, check = visit.verified, visit.check
    return VisitCoverage(
        appointment=visit.appointment,
        patient=chart,
        coverage=chart.coverages[0] if chart.coverages else None,
        outcome=visit.outcome,
        payer=check.payer,
        plan=check.plan_name if verified is None else None,
        co_payment=visit.owes.co_payment,
        deductible_remaining=visit.owes.deductible_remaining,
        checked_at=check.checked_at if verified is None else verified.at,
        words=_in_words(visit),
    )


def _in_words(visit: KnownVisit) -> str:
    """`covered, Aetna, GOLD PLAN, co-pay 25, deductible left 310.50`."""
    plan = visit.check.plan_name if visit.verified is None else None
    amounts = {"co-pay": visit.owes.co_payment, "deductible left": visit.owes.deductible_remaining}
    parts = [OUTCOME_WORDS[visit.outcome], visit.check.payer, plan]
    parts += [f"{name} {amount}" for name, amount in amounts.items() if amount is not None]
    if visit.verified is not None:
        parts.append(f"verified by {visit.verified.how}")
    return ", ".join(part for part in parts if part)
