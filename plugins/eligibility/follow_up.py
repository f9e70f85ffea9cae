"""What follows from a saved answer beside the outcome: notes on the worklist that stand as long as the answer says so."""

from __future__ import annotations

from hub import Appointment, Context, Coverage, CoverageCheck, Patient, WorklistItem
from hub.records import GONE
from plugins.eligibility.differences import differences
from plugins.eligibility.outcome import DIFFERENCES, OTHER_PAYER, notes

TOPICS = (DIFFERENCES, OTHER_PAYER)
_NO_ANSWER = frozenset({"pending", "payer_unavailable"})
"""Outcomes that leave the notes of the last answer as they are."""


async def compared(answer: CoverageCheck, appointment: Appointment, context: Context) -> CoverageCheck:
    """The answer with what it has otherwise than the chart it was asked from."""
    patient = await chart_of(appointment, context)
    if patient is None:
        return answer
    coverage = first_coverage(patient)
    return answer.model_copy(update={"differences": differences(answer.payer_has, patient, coverage)})


async def chart_of(appointment: Appointment, context: Context) -> Patient | None:
    """The chart of a visit, the surviving one when it was merged."""
    chart = await context.get(Patient, appointment.patient_id) if appointment.patient_id else None
    while chart is not None and chart.merged_into is not None:
        chart = await context.get(Patient, chart.merged_into)
    return chart


def first_coverage(patient: Patient) -> Coverage | None:
    return patient.coverages[0] if patient.coverages else None


async def note_differences(check: CoverageCheck, context: Context) -> None:
    """A reaction to a saved answer."""
    if check.outcome in _NO_ANSWER:
        return
    found = notes(check)
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
            await _close(check.id, topic, "the payer does not say so any more", context)


async def close_notes(appointment: Appointment, context: Context) -> None:
    """A reaction to a saved booking: nothing is to be looked at for a visit that does not take place."""
    if appointment.status not in GONE:
        return
    for item in await context.find(WorklistItem, "open_for", appointment.id):
        if item.topic in TOPICS:
            await _close(appointment.id, item.topic, f"visit {appointment.status}", context)


async def _close(appointment: str, topic: str, because: str, context: Context) -> None:
    await context.save(WorklistItem(appointment=appointment, topic=topic, open=False, closed_because=because))
