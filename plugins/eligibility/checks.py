"""What a check needs when it is due, and when a visit is to be checked again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from hub import Appointment, Context, Coverage, CoverageCheck, Patient, Prepared, Visit, WorklistItem
from hub.formats.x12.exchange import new_numbers
from hub.records import GONE, CoverageAttempt, Payer, Person
from hub.units import iso
from plugins.eligibility.follow_up import note_differences
from plugins.eligibility.matching import DECIDED, UNANSWERED, headers_of, plan_end_of_patience, stop_waiting, with_attempt
from plugins.eligibility.outcome import Decision, decided
from plugins.eligibility.people import as_asked, question_of, types_asked
from plugins.eligibility.searches import changed, with_fields
from plugins.eligibility.stops import begin_probe, may_probe, stop_of, stopped
from plugins.eligibility.times import month_begins, opens_at
from plugins.eligibility.visits import chart_of, is_ahead, plan_check, service_day, site_of, today_at

ASKED = "asked"
"""The reason of a check that a person wants."""
SEARCH = "search"
"""The reason of a question that is put in another way after a rejection."""
OPENS = "opens"
"""The reason of a check that had to wait for a payer's hours."""


async def prepare_check(payload: Mapping[str, str], context: Context) -> Prepared | None:
    """The visit to ask about; None when there is nothing to ask (now), with the outcome saved."""
    appointment = await context.get(Appointment, payload.get("appointment", ""))
    if appointment is None or appointment.status in GONE or not is_ahead(appointment, context):
        return None
    context.key("appointment", appointment.id)
    known = await context.get(CoverageCheck, appointment.id) or CoverageCheck(id=appointment.id)
    why = payload.get("why", "")
    if why == UNANSWERED:
        await stop_waiting(known, payload.get("trace", ""), appointment, context)
        return None
    patient, coverage, payer = await _whom_and_whose(appointment, await chart_of(appointment, context), context)
    for identifier in patient.identifiers if patient else ():
        context.key("patient", identifier.value)
    check = CoverageCheck(
        id=appointment.id,
        service_date=service_day(appointment, context),
        patient_id=appointment.patient_id,
        payer=_payer_name(coverage, payer),
        plan=known.plan,
        attempts=known.attempts,
    )
    if (decision := without_asking(patient, coverage, payer)) is not None:
        await _save_decision(check, decision, context)
        return None
    assert patient is not None and coverage is not None and payer is not None  # noqa: S101, PT018 - decided above
    visit = _visit(appointment, patient, coverage, payer, context)
    asked_for = fingerprint(visit, context)
    if not _is_wanted(known, asked_for, why, visit, context):
        return None
    if known.asked_for == asked_for:
        check = known.model_copy(update={"patient_id": appointment.patient_id, "payer": payer.name})
    check = check.model_copy(update={"asked_for": asked_for})
    return await _ask(check, visit, why, payload.get("search", ""), context)


def _visit(appointment: Appointment, patient: Patient, coverage: Coverage, payer: Payer, context: Context) -> Visit:
    """The visit as its payer wants to be asked about it."""
    day = service_day(appointment, context)
    assert day is not None  # noqa: S101 - only visits with a time are asked about
    visit = Visit(
        appointment=appointment,
        patient=patient,
        coverage=coverage,
        payer=payer.model_copy(update={"service_types": _of_type(payer.types, appointment, payer.service_types)}),
        organisation=context.organisation,
        service_date=day,
    )
    return with_fields(visit, payer.fields)


def _of_type(codes: Mapping[str, tuple[str, ...]], appointment: Appointment, otherwise: tuple[str, ...]) -> tuple[str, ...]:
    """What the payer list says for appointments of this type."""
    return codes.get((appointment.type or "").strip().upper(), otherwise)


async def visit_of(appointment: Appointment, context: Context) -> Visit | None:
    """The visit as it would be asked about now; None when it would not."""
    patient, coverage, payer = await _whom_and_whose(appointment, await chart_of(appointment, context), context)
    if patient is None or coverage is None or payer is None or without_asking(patient, coverage, payer) is not None:
        return None
    return _visit(appointment, patient, coverage, payer, context)


def _is_wanted(known: CoverageCheck, asked_for: str, why: str, visit: Visit, context: Context) -> bool:
    """Whether a question is needed: no answer is fresh, and the same one is not out already.  A person always gets one."""
    if why == ASKED:
        return True
    if why == SEARCH:
        return known.outcome == "pending" and known.asked_for == asked_for
    return not (is_fresh(known, asked_for, visit, context) or is_out(known, asked_for))


async def _ask(check: CoverageCheck, visit: Visit, why: str, search: str, context: Context) -> Prepared | None:
    """The question, unless its payer may not be asked now."""
    payer = visit.payer
    assert payer is not None  # noqa: S101 - who calls has one
    stop = await stop_of(payer.payer, visit.organisation.npi, context)
    if stop is not None and why != ASKED and not may_probe(stop, context.now):
        await context.put(stopped(stop, check, context))
        return None
    opens = opens_at(payer, context.now, context.site.zone)
    if opens > context.now and why != ASKED:
        await _wait_until(opens, check, payer, context)
        return None
    attempt = await _attempt(visit, payer, check.asked_for or "", why, search, context)
    pending = decided(check, Decision("pending")).model_copy(update={"question": attempt.trace, "stopped_by": None})
    await context.put(with_attempt(pending, attempt))
    plan_end_of_patience(check, attempt.trace, payer, context)
    if stop is not None:
        await begin_probe(stop, attempt.trace, check.plan, context)
    context.note("checking", f"Asking {payer.name} about coverage" + (f" ({search})" if search else ""))
    asked = changed(visit, search, today_at(visit.appointment, context)) if search else visit
    return Prepared(asked or visit, headers_of(check.id, attempt), lane=await _lane(payer, context))


async def _attempt(visit: Visit, payer: Payer, asked_for: str, why: str, search: str, context: Context) -> CoverageAttempt:
    """A question with numbers of its own."""
    trace, number = await new_numbers(context)
    return CoverageAttempt(
        trace=trace,
        control_number=str(number),
        set_number=f"{number:04d}",
        payer=payer.payer,
        provider=visit.organisation.npi,
        asked_for=asked_for,
        service_date=visit.service_date,
        service_types=list(payer.service_types),
        network=payer.network,
        places=list(_of_type(payer.places, visit.appointment, ())),
        why=why,
        search=search,
        asked_at=context.now,
    )


async def _lane(payer: Payer, context: Context) -> str:
    """One of as many lanes as the payer may have questions out at once, in turn."""
    if not payer.at_once:
        return ""
    return f"{payer.payer}|{await context.number(f'lane|{payer.payer}') % payer.at_once}"


async def _wait_until(moment: datetime, check: CoverageCheck, payer: Payer, context: Context) -> None:
    """The payer may not be asked at this hour; until then the visit is pending."""
    plan_check(check.id, OPENS, moment, context)
    if check.outcome not in DECIDED:
        waiting = {"outcome": "pending", "action": None, "who": None, "cause": f"{payer.name} is closed", "asked_for": None}
        await context.put(check.model_copy(update=waiting))
    context.note("closed", f"{payer.name} may be asked from {iso(moment)} on", plain=True)


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


async def _whom_and_whose(
    appointment: Appointment, chart: Patient | None, context: Context
) -> tuple[Patient | None, Coverage | None, Payer | None]:
    """The patient as somebody wants them asked about, the primary coverage, and its line in the payer list."""
    question = await question_of(appointment.id, chart, context)
    patient = as_asked(chart, question) if chart is not None else None
    if patient is None or not patient.coverages:
        return patient, None, None
    coverage = patient.coverages[0]
    return patient, coverage, types_asked(context.payer(coverage.payer, coverage.plan, coverage.payer_name), question)


def fingerprint(visit: Visit, context: Context) -> str:
    """Equal as long as the same question would be asked."""
    coverage, patient, payer = visit.coverage, visit.patient, visit.payer
    assert coverage is not None and payer is not None  # noqa: S101, PT018 - who calls has them
    people = [*_all_of(coverage.subscriber or patient.name), *_all_of(patient.name)]
    parts = [payer.payer, coverage.member_id, coverage.group, coverage.relationship, *people, visit.service_date]
    parts += payer.service_types
    return context.digest("asked_for", *(str(part or "") for part in parts))


def _all_of(person: Person) -> list[object]:
    return [getattr(person, name) for name in Person.model_fields]


def is_out(check: CoverageCheck, asked_for: str) -> bool:
    """Whether just this question is on its way, and its answer only has to be waited for."""
    return check.outcome == "pending" and check.asked_for == asked_for


def is_fresh(check: CoverageCheck, asked_for: str, visit: Visit, context: Context) -> bool:
    """Whether the last answer is to the same question and young enough; one from before the visit's month began is not."""
    if check.asked_for != asked_for or check.outcome not in DECIDED or check.checked_at is None:
        return False
    if check.checked_at < month_begins(visit.service_date, site_of(visit.appointment, context)) <= context.now:
        return False
    return (context.now - check.checked_at).total_seconds() < check.plan.fresh_for


def _payer_name(coverage: Coverage | None, payer: Payer | None) -> str | None:
    if payer is not None:
        return payer.name
    return (coverage.payer_name or coverage.payer) if coverage is not None else None


async def _save_decision(check: CoverageCheck, decision: Decision, context: Context) -> None:
    """Whatever a payer said before does not count any more."""
    check = decided(check, decision)
    await context.put(check)
    await note_differences(check, context)
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
    patient, coverage, payer = await _whom_and_whose(appointment, chart, context)
    decision = without_asking(patient, coverage, payer)
    if decision is not None:
        return check.outcome != decision.outcome or check.cause != decision.cause
    assert patient is not None and coverage is not None and payer is not None  # noqa: S101, PT018 - decided above
    return check.asked_for != fingerprint(_visit(appointment, patient, coverage, payer, context), context)
