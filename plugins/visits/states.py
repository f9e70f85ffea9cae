"""What happens to a booking at the front desk, and what the EHR wants deleted.

A visit state speaks of a booking that is known, and never begins one: hospital stays have no booking.  A deletion changes
nothing by itself; it is put before a person.
"""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime

from hub import Appointment, Context, Identifier, MessageUnusable, Patient, WorklistItem
from hub.records import AppointmentStatus, Record, Text
from plugins.visits.charts import find_patient


class VisitState(Record):
    """How far a visit is: the patient has arrived, has gone, or none of it was true (`adt_to_visit_state` has the events)."""

    id: Text = ""
    """The EHR's id of the appointment, where it sends one with the visit (PV1-19)."""
    status: AppointmentStatus = "arrived"
    said_at: AwareDatetime | None = None
    """When the sender wrote it (MSH-7); what is later known of the booking's status stays."""


class Deletion(Record):
    """That the EHR deleted a chart (ADT A29) or a visit (ADT A23)."""

    what: Literal["chart", "visit"] = "chart"
    identifiers: list[Identifier] = []
    visit: Text | None = None
    """The visit's number (PV1-19)."""


async def save_visit_state(state: VisitState, context: Context) -> VisitState:
    if not state.id:
        raise MessageUnusable("PV1-19 is empty, so it is not said which visit this is about", code="VIS-006")
    known = await context.get(Appointment, state.id)
    context.key("appointment", state.id)
    if known is None:
        context.note("visit_state", "No booking is known for this visit; nothing was changed")
    elif known.status != state.status:
        await context.save(Appointment(id=state.id, status=state.status, status_at=state.said_at))
    return state


async def save_deletion(deletion: Deletion, context: Context) -> Deletion:
    """Puts before a person what is still known here of what the EHR deleted; when nothing is, nobody need look."""
    chart = await find_patient(deletion.identifiers, context)
    if deletion.what == "visit":
        known = await context.get(Appointment, deletion.visit) if deletion.visit else None
        what = f"the visit {known.id}" if known else ""
    else:
        what = f"the chart {_name(chart)}" if chart else ""
    if not what:
        context.note("deletion", "What the EHR deleted is not known here; nothing was changed")
        return deletion
    text = f"The EHR deleted {what}. Nothing was changed here. Ask why, and cancel what was booked for it in the EHR."
    about = deletion.visit if deletion.what == "visit" else chart.id if chart else ""
    await context.save(WorklistItem(text=text, cause=f"deleted {deletion.what} {about}"))
    return deletion


def _name(chart: Patient) -> str:
    numbers = ", ".join(identifier.value for identifier in chart.identifiers[:3])
    person = " ".join(part for part in (chart.name.given, chart.name.family) if part)
    return f"{numbers} ({person})" if person else numbers
