"""Saving what a payer answered: late answers and those to an old question change nothing; silence is asked again."""

from __future__ import annotations

from datetime import timedelta

from hub import Appointment, Context, CoverageCheck
from hub.records import GONE
from plugins.eligibility.checks import plan_check, service_day
from plugins.eligibility.follow_up import compared
from plugins.eligibility.outcome import Decision, decide


async def save_answer(answer: CoverageCheck, context: Context) -> CoverageCheck:
    """Joins an answer with what is known of its visit, and decides what it comes to."""
    known = await context.get(CoverageCheck, answer.id)
    appointment = await context.get(Appointment, answer.id)
    if known is None or appointment is None:
        await context.put(answer)
        return answer
    context.key("appointment", answer.id)
    if appointment.status in GONE:
        context.note("late", "An answer came after the visit was cancelled; it changes nothing", plain=True)
        return known
    if answer.service_date is not None and answer.service_date != service_day(appointment, context):
        context.note("late", "An answer for the former day came after the visit was moved; it changes nothing", plain=True)
        return known
    answer = await compared(answer, appointment, context)
    decision = decide(answer, context.payer(answer.payer))
    check = answer.model_copy(
        update={
            "patient_id": known.patient_id,
            "payer": known.payer,
            "plan": known.plan,
            "checked_at": context.now,
            "tries": known.tries + 1 if decision.outcome == "payer_unavailable" else 0,
        }
    )
    check = _with(check, _ask_again(check, decision, context))
    await context.put(check)
    context.note(check.outcome, check.action or _summary(check))
    return check


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
