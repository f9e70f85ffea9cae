"""What follows from a saved answer beside the outcome: notes on the worklist that stand as long as the answer says so."""

from __future__ import annotations

from hub import Appointment, Context, Coverage, CoverageCheck, Patient, WorklistItem
from hub.records import GONE
from plugins.eligibility.differences import differences
from plugins.eligibility.outcome import DIFFERENCES, OTHER_PAYER, Decision, notes
from plugins.eligibility.people import as_asked, is_declined, question_of
from plugins.eligibility.visits import chart_of

TOPICS = (DIFFERENCES, OTHER_PAYER)
_NO_ANSWER = frozenset({"pending", "payer_unavailable"})
"""Outcomes that leave the notes of the last answer as they are."""


async def compared(answer: CoverageCheck, appointment: Appointment, context: Context) -> CoverageCheck:
    """The answer with what it has otherwise than the chart it was asked from."""
    chart = await chart_of(appointment, context)
    if chart is None:
        return answer
    asked = as_asked(chart, await question_of(appointment.id, chart, context))
    found = differences(answer.payer_has, chart, first_coverage(chart))
    left = {difference.field for difference in differences(answer.payer_has, asked, first_coverage(asked))}
    found = [difference.model_copy(update={"asked": difference.field not in left}) for difference in found]
    return answer.model_copy(update={"differences": found})


def first_coverage(patient: Patient) -> Coverage | None:
    return patient.coverages[0] if patient.coverages else None


async def open_notes(check: CoverageCheck, context: Context) -> dict[str, Decision]:
    """What an answer says that is to be looked at, by topic, without what somebody said no to."""
    found = notes(check)
    return {topic: note for topic, note in found.items() if not await is_declined(topic, check, context)}


async def note_differences(check: CoverageCheck, context: Context) -> None:
    """A reaction to a saved answer."""
    if check.outcome in _NO_ANSWER:
        return
    found = await open_notes(check, context)
    open_items = await context.find(WorklistItem, "open_for", check.id)
    for topic in TOPICS:
        if (note := found.get(topic)) is not None:
            item = WorklistItem(
                appointment=check.id,
                queue=check.plan.queue,
                topic=topic,
                text=note.action or "",
                who=note.who or "coordinator",
                cause=note.cause or topic,
            )
            await context.save(item)
        elif any(item.topic == topic for item in open_items):
            await close_note(check.id, topic, "the payer does not say so any more", context)


async def close_notes(appointment: Appointment, context: Context) -> None:
    """A reaction to a saved booking: nothing is to be looked at for a visit that does not take place."""
    if appointment.status not in GONE:
        return
    for item in await context.find(WorklistItem, "open_for", appointment.id):
        if item.topic in TOPICS:
            await close_note(appointment.id, item.topic, f"visit {appointment.status}", context)


async def close_note(appointment: str, topic: str, because: str, context: Context) -> None:
    await context.save(WorklistItem(appointment=appointment, topic=topic, open=False, closed_because=because))
