"""Bookings: upserted from what the EHR says, in the order it was said, whatever the order it came in.

What an older message says that comes late only fills gaps (MSH-7).  The status has a time of its own: visit messages (ADT)
tell it too, and a change of anything else (S14, S18 to S22) says nothing about it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hub import Appointment, Context, MessageUnusable, RecordKey
from hub.people import current_chart, usable
from hub.records import Resource
from plugins.visits.charts import file_under, save_patient

TIME = ("time_blocked", "time_opened")
"""What is said about time in a schedule, and not about a booking."""
AHEAD = ("booked", "rescheduled", "changed")
CLOCKS_DIFFER = timedelta(minutes=10)
"""What a sender's clock may be ahead."""
RESOURCES = ("services", "people", "places", "things")


async def save_appointment(update: Appointment, context: Context) -> Appointment:
    """Merges what a message says into the booking, and finds or begins the chart of its patient."""
    if update.status in TIME:
        context.note(update.status, _SAID[update.status], plain=True)
        return update
    if not update.id:
        raise MessageUnusable("the booking has neither a filler id (SCH-2) nor a placer id (SCH-1)", code="VIS-003")
    update = _believed(update, context.now)
    known = await context.get(Appointment, update.id)
    late = known is not None and _is_older(update.said_at, known.said_at)
    booking = _merged(known, update, late=late)
    if booking.site is None:
        booking = booking.model_copy(update={"site": context.site.name})
    booking = await _with_chart(booking, update, context, late=late)
    await context.put(booking)
    context.key("appointment", booking.id)
    if late:
        context.note("late", "An older message that came late; what is known of the booking stays", plain=True)
    else:
        context.note(booking.status, _said(update, known), plain=True)
    return booking


async def _with_chart(booking: Appointment, update: Appointment, context: Context, *, late: bool) -> Appointment:
    if update.patient is not None and usable(update.patient.identifiers) and not (late and booking.patient_id):
        chart = await save_patient(update.patient.model_copy(update={"provisional": True}), context)
        return booking.model_copy(update={"patient_id": chart.id})
    if (chart_of := await current_chart(booking.patient_id, context)) is not None:
        file_under(chart_of, context)
    return booking


# Which of two messages is the later one.


def _is_older(said: datetime | None, known: datetime | None) -> bool:
    """True when it is certain: a time the clock shows twice in autumn counts as the second of the two."""
    return said is not None and known is not None and said.replace(fold=1).astimezone(UTC) < known.astimezone(UTC)


def _believed(update: Appointment, now: datetime) -> Appointment:
    """A sender whose clock is far ahead must not make all that follows look old: then it is not known when it was said."""
    ahead = {name for name in ("said_at", "status_at") if (said := getattr(update, name)) and said > now + CLOCKS_DIFFER}
    return update.model_copy(update=dict.fromkeys(ahead))


# What is known and what is said.


def _merged(known: Appointment | None, update: Appointment, *, late: bool) -> Appointment:
    said = update.model_fields_set - {"patient", "patient_id", "status", *RESOURCES}
    values = {name: getattr(update, name) for name in said}
    if known is None:
        known = Appointment(id=update.id)
        status: dict[str, object] = {"status": update.status, "status_at": update.status_at or update.said_at}
    else:
        status = _status(known, update)
    if late:
        values = {name: value for name, value in values.items() if getattr(known, name) is None}
    else:
        values.update(_resources(known, update))
    return known.model_copy(update={**values, **status})


def _status(known: Appointment, update: Appointment) -> dict[str, object]:
    """What becomes of the status: nothing, when something later is known or only something else was changed."""
    at = update.status_at or update.said_at
    if "status" not in update.model_fields_set or _is_older(at, known.status_at):
        return {"status": known.status, "status_at": known.status_at}
    if update.status == "changed":
        return {"status": update.status if known.status in AHEAD else known.status, "status_at": known.status_at}
    return {"status": update.status, "status_at": at or known.status_at}


def _resources(known: Appointment, update: Appointment) -> dict[str, object]:
    """The resources of the booking; a person sent as a general resource is its practitioner when no other is named."""
    values: dict[str, object] = {}
    for name in RESOURCES:
        if name in update.model_fields_set:
            values[name] = merged_resources(getattr(known, name), getattr(update, name), whole=update.status in _ALL_GONE)
    if "practitioner" not in update.model_fields_set:
        persons = [r for r in update.things if r.kind == "person" and (r.action != "D" or update.status in _ALL_GONE)]
        if persons:
            values["practitioner"] = persons[0].name or persons[0].id
    return values


_ALL_GONE = ("cancelled", "deleted")
"""Here every resource is taken away with the booking, and says who and where it would have been."""


def merged_resources(known: list[Resource], said: list[Resource], *, whole: bool) -> list[Resource]:
    """Adds, updates and takes away what a message says so of; where no action code is sent, what is listed is all there is."""
    if whole or not any(resource.action for resource in said):
        return [resource.model_copy(update={"action": None}) for resource in said]
    found = {resource.id or resource.name: resource for resource in known}
    for resource in said:
        key = resource.id or resource.name
        if resource.action == "D":
            found.pop(key, None)
        else:
            found[key] = resource.model_copy(update={"action": None})
    return list(found.values())


def _said(update: Appointment, known: Appointment | None) -> str:
    if update.status == "booked" and known is not None:
        return "The booking stands"
    return _SAID[update.status]


_SAID = {
    "pending": "Booking asked for, not yet confirmed",
    "waitlist": "The patient waits for a time",
    "booked": "New booking",
    "rescheduled": "Booking moved to another time",
    "changed": "Booking changed",
    "cancelled": "Booking cancelled",
    "deleted": "Booking deleted",
    "no_show": "The patient did not come",
    "arrived": "The patient has arrived",
    "complete": "The visit is over",
    "time_blocked": "Time in the schedule was closed; no booking is changed by that",
    "time_opened": "Time in the schedule was opened; no booking is changed by that",
}


# Search keys.


def appointment_keys(appointment: Appointment) -> list[RecordKey]:
    keys = [RecordKey("patient", appointment.patient_id)] if appointment.patient_id else []
    if appointment.account:
        keys.append(RecordKey("account", appointment.account))
    if appointment.starts_at is not None:
        keys.append(RecordKey("day", appointment.starts_at.date().isoformat()))
    return keys
