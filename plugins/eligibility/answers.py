"""Saving what a payer answered: what counts changes the visit, everything is kept with the question it belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from hub import Appointment, Context, CoverageCheck
from hub.records import GONE, CoverageAttempt, Payer
from plugins.eligibility.checks import SEARCH, visit_of
from plugins.eligibility.follow_up import compared
from plugins.eligibility.matching import (
    WHY_NOT,
    answers_again,
    attempt_of,
    end_of_waiting,
    standing,
    with_attempt,
)
from plugins.eligibility.outcome import Decision, decide, decided
from plugins.eligibility.searches import next_search
from plugins.eligibility.stops import close_if_over, open_stop, stopped, stopping
from plugins.eligibility.times import next_morning
from plugins.eligibility.visits import is_near, plan_check, service_day, site_of, today_at


async def save_answer(answer: CoverageCheck, context: Context) -> CoverageCheck:
    """Joins an answer with what is known of its visit, and decides what it comes to."""
    known = await context.get(CoverageCheck, answer.id)
    appointment = await context.get(Appointment, answer.id)
    if known is None or appointment is None:
        await context.put(answer)
        return answer
    context.key("appointment", answer.id)
    answer = await compared(answer, appointment, context)
    payer = context.payer(answer.payer)
    decision = decide(answer, payer)
    attempt = _attempt(known, answer)
    why_not = _why_not(answer, known, attempt, appointment, decision, context)
    if attempt is not None:
        known = await _keep(known, attempt, answer, decision, why_not, context)
    if why_not is not None:
        context.note("late", why_not, plain=True)
        return known
    check = answer.model_copy(
        update={
            "patient_id": known.patient_id,
            "payer": known.payer,
            "plan": known.plan,
            "attempts": known.attempts,
            "question": known.question,
            "checked_at": context.now,
            "tries": known.tries + 1 if decision.outcome == "payer_unavailable" else 0,
        }
    )
    check = await _follow(_Answered(check, known, attempt, payer, appointment, decision), context)
    await context.put(check)
    context.note(check.outcome, check.action or _summary(check))
    return check


@dataclass(frozen=True, slots=True)
class _Answered:
    """An answer that counts, with what it belongs to."""

    check: CoverageCheck
    """What is known now."""
    before: CoverageCheck
    attempt: CoverageAttempt | None
    payer: Payer | None
    appointment: Appointment
    decision: Decision


async def _follow(answered: _Answered, context: Context) -> CoverageCheck:
    """The check with its outcome, and whatever the hub does about it by itself."""
    check, attempt, payer = answered.check, answered.attempt, answered.payer
    if attempt is None or payer is None:
        return decided(check, _ask_again(check, answered.decision, answered.appointment, context))
    rejected = check.status == "rejected" and bool(check.rejections)
    if rejected and (action := stopping(check.rejections)) is not None:
        stop = await open_stop(action, check, attempt, payer, answered.decision.outcome, context)
        return stopped(stop, check, context)
    if check.failure is None and answered.decision.outcome != "payer_unavailable":
        await close_if_over(payer.payer, attempt, context)
    if rejected:
        return await _search(answered, attempt, context)
    return decided(check, _ask_again(check, answered.decision, answered.appointment, context))


async def _search(answered: _Answered, attempt: CoverageAttempt, context: Context) -> CoverageCheck:
    """Asks in another way; what counts in the end, when none helps, is what the payer said to the question as the data are."""
    check = answered.before if attempt.search and not answered.decision.again else answered.check
    decision = decide(check, answered.payer) if attempt.search and not answered.decision.again else answered.decision
    visit = await visit_of(answered.appointment, context)
    day = today_at(answered.appointment, context)
    search = next_search(check, answered.check.rejections, visit, day) if visit is not None else None
    if search is None and attempt.search:
        search = next_search(check, check.rejections, visit, day) if visit is not None else None
    if search is None:
        return decided(check, _ask_again(check, decision, answered.appointment, context))
    plan_check(check.id, SEARCH, context.now, context, search=search)
    return decided(check, Decision("pending", None, None, decision.cause))


# Which question it belongs to.


def _attempt(known: CoverageCheck, answer: CoverageCheck) -> CoverageAttempt | None:
    """The question of an answer; None for one from before questions were kept."""
    traces = [answer.question, *answer.trace]
    return next((attempt for trace in traces if (attempt := attempt_of(known, trace)) is not None), None)


def _why_not(
    answer: CoverageCheck,
    known: CoverageCheck,
    attempt: CoverageAttempt | None,
    appointment: Appointment,
    decision: Decision,
    context: Context,
) -> str | None:
    """Why an answer changes nothing for its visit; None when it counts."""
    if appointment.status in GONE:
        return "An answer came after the visit was cancelled; it changes nothing"
    if answer.service_date is not None and answer.service_date != service_day(appointment, context):
        return "An answer for the former day came after the visit was moved; it changes nothing"
    if attempt is None:
        return None
    return WHY_NOT.get(standing(known, attempt, decision.outcome, _digest(answer, context)))


def _digest(answer: CoverageCheck, context: Context) -> str:
    """Equal for answers that say the same, however long they took and whatever the chart says meanwhile."""
    said = answer.model_dump_json(exclude={"seconds", "plan", "attempts", "checked_at", "differences"})
    return context.digest("answer", said)


async def _keep(
    known: CoverageCheck,
    attempt: CoverageAttempt,
    answer: CoverageCheck,
    decision: Decision,
    why_not: str | None,
    context: Context,
) -> CoverageCheck:
    """What is known of a visit, with an answer noted at its question; the first answer is the one whose time counts."""
    digest = _digest(answer, context)
    if attempt.answer == digest:
        return known
    first = attempt.answered_at is None
    noted = attempt.model_copy(
        update={
            "state": "answered",
            "answered_at": context.now if first else attempt.answered_at,
            "seconds": answer.seconds if first else attempt.seconds,
            "status": answer.status,
            "codes": [rejection.code for rejection in answer.rejections],
            "outcome": decision.outcome,
            "note": why_not,
            "answer": digest,
        }
    )
    end_of_waiting(known.id, attempt.trace, context)
    await answers_again(attempt, known.payer, context)
    check = with_attempt(known, noted)
    await context.put(check)
    return check


# What it comes to.


def _ask_again(check: CoverageCheck, decision: Decision, appointment: Appointment, context: Context) -> Decision:
    """A payer that cannot answer now is asked again by itself until the visit; a person is told when that is near."""
    if not decision.again:
        return decision
    following = _next_try(check, appointment, context)
    if following is not None:
        plan_check(check.id, "retry", following, context)
    if check.tries <= len(check.plan.retry_after) or not is_near(appointment, context):
        return Decision("payer_unavailable", None, None, decision.cause)
    action = f"The payer did not answer {check.tries} times. Verify by phone or portal."
    return Decision("payer_unavailable", action, "coordinator", decision.cause)


def _next_try(check: CoverageCheck, appointment: Appointment, context: Context) -> datetime | None:
    """After each of the plan's waits, then every morning up to that of the visit; None when there is none left."""
    waits = check.plan.retry_after
    if check.tries <= len(waits):
        return context.now + timedelta(seconds=waits[check.tries - 1])
    following = next_morning(context.now, check.plan.again_at, site_of(appointment, context))
    starts = appointment.starts_at
    return following if starts is not None and following < starts else None


def _summary(check: CoverageCheck) -> str:
    if check.stopped_by is not None:
        return "The payer refuses to answer us, whoever the patient is"
    if check.outcome == "payer_unavailable":
        return "The payer is not answering; the hub asks again"
    if check.outcome == "pending":
        return "Rejected; asking in another way"
    return ", ".join(filter(None, ("Covered", check.owes.in_words())))
