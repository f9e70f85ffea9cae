"""What a check needs when it is due, and when a visit is to be checked again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from hub import Appointment, Context, Coverage, CoverageCheck, Patient, Prepared, Visit, WorklistItem
from hub.formats.x12.exchange import new_numbers
from hub.records import GONE, CoverageAttempt, Payer, Person
from plugins.eligibility.matching import DECIDED, UNANSWERED, headers_of, plan_end_of_patience, stop_waiting, with_attempt
from plugins.eligibility.outcome import Decision
from plugins.eligibility.people import CorrectedQuestion, as_asked, question_of, types_asked
from plugins.eligibility.visits import chart_of, is_ahead, plan_check, service_day

ON_CHANGE = frozenset({"booking", "coverage"})
"""Reasons to ask that come in bursts, whenever something about a visit or its patient is said again."""


async def prepare_check(payload: Mapping[str, str], context: Context) -> Prepared | None:
    """The visit to ask about; None when there is nothing to ask, with the outcome saved."""
    appointment = await context.get(Appointment, payload.get("appointment", ""))
    if appointment is None or appointment.status in GONE or appointment.starts_at is None:
        return None
    context.key("appointment", appointment.id)
    day = service_day(appointment, context)
    if day is None or not is_ahead(appointment, context):
        return None
    known = await context.get(CoverageCheck, appointment.id) or CoverageCheck(id=appointment.id)
    if payload.get("why") == UNANSWERED:
        await stop_waiting(known, payload.get("trace", ""), appointment, context)
        return None
    chart = await chart_of(appointment, context)
    question = await question_of(appointment.id, chart, context)
    patient = as_asked(chart, question) if chart is not None else None
    for identifier in patient.identifiers if patient else ():
        context.key("patient", identifier.value)
    coverage, payer = choose_coverage(patient, question, context)
    check = CoverageCheck(
        id=appointment.id,
        service_date=day,
        patient_id=appointment.patient_id,
        payer=_payer_name(coverage, payer),
        plan=known.plan,
        attempts=known.attempts,
    )
    if (decision := without_asking(patient, coverage, payer)) is not None:
        await _save_decision(check, decision, context)
        return None
    assert patient is not None and coverage is not None and payer is not None  # noqa: S101, PT018 - decided above
    asked_for = fingerprint(coverage, patient, payer, day, context)
    why = payload.get("why")
    if why != "asked" and (is_fresh(known, asked_for, context) or (why in ON_CHANGE and is_out(known, asked_for))):
        return None
    if known.asked_for == asked_for:
        check = known.model_copy(update={"patient_id": appointment.patient_id, "payer": payer.name})
    trace, number = await new_numbers(context)
    attempt = CoverageAttempt(
        trace=trace,
        control_number=str(number),
        set_number=f"{number:04d}",
        payer=payer.payer,
        provider=context.organisation.npi,
        asked_for=asked_for,
        service_date=day,
        service_types=list(payer.service_types),
        why=why or "",
        asked_at=context.now,
    )
    pending = {"outcome": "pending", "action": None, "who": None, "cause": None, "asked_for": asked_for, "question": trace}
    await context.put(with_attempt(check.model_copy(update=pending), attempt))
    plan_end_of_patience(check, trace, context)
    context.note("checking", f"Asking {payer.name} about coverage")
    visit = Visit(
        appointment=appointment,
        patient=patient,
        coverage=coverage,
        payer=payer,
        organisation=context.organisation,
        service_date=day,
    )
    return Prepared(visit, headers_of(appointment.id, attempt))


def without_asking(patient: Patient | None, coverage: Coverage | None, payer: Payer | None) -> Decision | None:
    """The outcome when no payer needs to be asked, or none can be."""
    if patient is not None and (patient.self_pay or (payer is not None and payer.check == "self_pay")):
        return Decision("self_pay")
    if patient is None or coverage is None:
        action = "No insurance on file. Ask the patient for the card, or agree on self-pay."
        return Decision("no_coverage_on_file", action, "coordinator", "no coverage")
    if payer is None:
        name = coverage.payer or coverage.payer_name or "without an id"
        return Decision(
            "unclear", f"The payer {name} is not in the payer list. IT adds it to payers.csv.", "it", "payer unknown"
        )
    if payer.check == "no":
        return Decision(
            "unclear",
            f"{payer.name} cannot be asked electronically. Verify by phone or portal.",
            "coordinator",
            "payer not electronic",
        )
    return None


def choose_coverage(
    patient: Patient | None, question: CorrectedQuestion | None, context: Context
) -> tuple[Coverage | None, Payer | None]:
    """The primary coverage and its line in the payer list."""
    if patient is None or not patient.coverages:
        return None, None
    coverage = patient.coverages[0]
    return coverage, types_asked(context.payer(coverage.payer, coverage.plan, coverage.payer_name), question)


def fingerprint(coverage: Coverage, patient: Patient, payer: Payer, day: date, context: Context) -> str:
    """Equal as long as the same question would be asked."""
    people = [*_all_of(coverage.subscriber or patient.name), *_all_of(patient.name)]
    parts = [payer.payer, coverage.member_id, coverage.group, coverage.relationship, *people, day, *payer.service_types]
    return context.digest("asked_for", *(str(part or "") for part in parts))


def _all_of(person: Person) -> list[object]:
    return [getattr(person, name) for name in Person.model_fields]


def is_out(check: CoverageCheck, asked_for: str) -> bool:
    """Whether just this question is on its way, and its answer only has to be waited for."""
    return check.outcome == "pending" and check.asked_for == asked_for


def is_fresh(check: CoverageCheck, asked_for: str, context: Context) -> bool:
    if check.asked_for != asked_for or check.outcome not in DECIDED or check.checked_at is None:
        return False
    return (context.now - check.checked_at).total_seconds() < check.plan.fresh_for


def _payer_name(coverage: Coverage | None, payer: Payer | None) -> str | None:
    if payer is not None:
        return payer.name
    return (coverage.payer_name or coverage.payer) if coverage is not None else None


async def _save_decision(check: CoverageCheck, decision: Decision, context: Context) -> None:
    """Whatever a payer said before does not count any more."""
    update = {"outcome": decision.outcome, "action": decision.action, "who": decision.who, "cause": decision.cause}
    await context.put(check.model_copy(update=update))
    context.note(decision.outcome, decision.action or "Nothing to ask: the patient pays")
    await context.save(work_for(check.id, check.plan.queue, decision))


def work_for(appointment: str, queue: str, decision: Decision) -> WorklistItem:
    """The worklist item of a decision; a closed one closes what is open for the visit."""
    if decision.action is None:
        return WorklistItem(appointment=appointment, open=False, closed_because=f"outcome: {decision.outcome}")
    return WorklistItem(
        appointment=appointment,
        queue=queue,
        text=decision.action,
        who=decision.who or "coordinator",
        cause=decision.cause or decision.outcome,
    )


async def recheck_visits(patient: Patient, context: Context) -> None:
    """A chart was saved: visits whose question would now be another one are checked again."""
    if patient.merged_into is not None or patient.provisional:
        return
    for appointment in await context.find(Appointment, "patient", patient.id, limit=200):
        if appointment.status in GONE or appointment.starts_at is None or appointment.starts_at < context.now:
            continue
        check = await context.get(CoverageCheck, appointment.id)
        if check is not None and await _would_ask_something_else(check, appointment, patient, context):
            plan_check(appointment.id, "coverage", context.now, context)


async def _would_ask_something_else(check: CoverageCheck, appointment: Appointment, chart: Patient, context: Context) -> bool:
    question = await question_of(appointment.id, chart, context)
    patient = as_asked(chart, question)
    coverage, payer = choose_coverage(patient, question, context)
    decision = without_asking(patient, coverage, payer)
    if decision is not None:
        return check.outcome != decision.outcome or check.cause != decision.cause
    day = service_day(appointment, context)
    assert coverage is not None and payer is not None and day is not None  # noqa: S101, PT018 - decided above
    return check.asked_for != fingerprint(coverage, patient, payer, day, context)
