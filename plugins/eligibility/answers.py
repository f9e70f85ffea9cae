"""Saving what a payer answered: what counts changes the visit, everything is kept with the question it belongs to."""

from __future__ import annotations

from datetime import timedelta

from hub import Appointment, Context, CoverageCheck
from hub.records import GONE, CoverageAttempt
from plugins.eligibility.follow_up import compared
from plugins.eligibility.matching import (
    WHY_NOT,
    answers_again,
    attempt_of,
    end_of_waiting,
    standing,
    with_attempt,
)
from plugins.eligibility.outcome import Decision, decide
from plugins.eligibility.visits import plan_check, service_day


async def save_answer(answer: CoverageCheck, context: Context) -> CoverageCheck:
    """Joins an answer with what is known of its visit, and decides what it comes to."""
    known = await context.get(CoverageCheck, answer.id)
    appointment = await context.get(Appointment, answer.id)
    if known is None or appointment is None:
        await context.put(answer)
        return answer
    context.key("appointment", answer.id)
    answer = await compared(answer, appointment, context)
    decision = decide(answer, context.payer(answer.payer))
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
    check = _with(check, _ask_again(check, decision, context))
    await context.put(check)
    context.note(check.outcome, check.action or _summary(check))
    return check


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


def _with(check: CoverageCheck, decision: Decision) -> CoverageCheck:
    return check.model_copy(
        update={"outcome": decision.outcome, "action": decision.action, "who": decision.who, "cause": decision.cause}
    )


def _ask_again(check: CoverageCheck, decision: Decision, context: Context) -> Decision:
    """A payer that cannot answer now is asked again by itself; a person is only told when that did not help."""
    if not decision.again:
        return decision
    waits = check.plan.retry_after
    if check.tries <= len(waits):
        plan_check(check.id, "retry", context.now + timedelta(seconds=waits[check.tries - 1]), context)
        return Decision("payer_unavailable", None, None, decision.cause)
    if decision.who != "hub":
        return decision
    action = f"The payer did not answer {check.tries} times. Verify by phone or portal."
    return Decision("payer_unavailable", action, "coordinator", decision.cause)


def _summary(check: CoverageCheck) -> str:
    if check.outcome == "payer_unavailable":
        return "The payer is not answering; the hub asks again"
    return ", ".join(filter(None, ("Covered", check.owes.in_words())))
