"""What people ask about coverage: the list of visits, one visit's card, a check at once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict

from hub import Appointment, Context, CoverageCheck, Operation, Patient
from hub.dates import day_named
from hub.errors import NotFound, Refused
from hub.records import GONE
from hub.units import iso
from plugins.eligibility.checks import plan_check


class ListParams(BaseModel):
    """Which visits to list."""

    model_config = ConfigDict(extra="forbid")

    date: str = "today"
    state: str | None = None


class VisitParams(BaseModel):
    """One visit."""

    model_config = ConfigDict(extra="forbid")

    appointment: str


async def list_visits(params: ListParams, context: Context) -> list[dict[str, Any]]:
    """A line for each visit of a day, in the order of the day."""
    day = day_named(params.date, context.now, context.site.zone)
    found: dict[str, Appointment] = {}
    for near in (day - timedelta(days=1), day, day + timedelta(days=1)):  # days are filed in the zone the sender used
        for appointment in await context.find(Appointment, "day", near.isoformat(), limit=5000):
            found[appointment.id] = appointment
    lines = [line for a in found.values() if (line := await _line(a, context, day.isoformat())) is not None]
    if params.state == "problem":
        lines = [line for line in lines if line["action"] is not None]
    elif params.state is not None:
        lines = [line for line in lines if line["outcome"] == params.state]
    return sorted(lines, key=lambda line: (line["starts_at"] or "", line["appointment"]))


async def _line(appointment: Appointment, context: Context, day: str) -> dict[str, Any] | None:
    site = context.sites.get(appointment.site or "", context.site)
    starts = appointment.starts_at.astimezone(site.zone) if appointment.starts_at else None
    if starts is None or starts.date().isoformat() != day:
        return None
    return await visit_line(appointment, context)


async def visit_line(appointment: Appointment, context: Context) -> dict[str, Any]:
    site = context.sites.get(appointment.site or "", context.site)
    check = await context.get(CoverageCheck, appointment.id) or CoverageCheck(id=appointment.id)
    patient = await context.get(Patient, appointment.patient_id) if appointment.patient_id else None
    return {
        "appointment": appointment.id,
        "starts_at": iso(appointment.starts_at.astimezone(site.zone)) if appointment.starts_at else None,
        "patient": {"id": _number(patient), "name": _name(patient)},
        "payer": check.payer,
        "outcome": check.outcome,
        "owes": check.owes.model_dump(),
        "action": check.action,
        "who": check.who,
        "checked_at": iso(check.checked_at) if check.checked_at else None,
    }


def _number(patient: Patient | None) -> str | None:
    return patient.identifiers[0].value if patient is not None and patient.identifiers else None


def _name(patient: Patient | None) -> str | None:
    if patient is None:
        return None
    return " ".join(part for part in (patient.name.given, patient.name.family) if part) or None


async def show_visit(params: VisitParams, context: Context) -> dict[str, Any]:
    """Everything known about the coverage of one visit."""
    appointment = await _appointment(params.appointment, context)
    check = await context.get(CoverageCheck, appointment.id) or CoverageCheck(id=appointment.id)
    return await visit_line(appointment, context) | {
        "status": appointment.status,
        "plan": check.plan_name,
        "group": check.group,
        "other_payer": check.other_payer,
        "payer_says": check.status,
        "rejections": [rejection.model_dump() for rejection in check.rejections],
        "findings": check.findings,
        "cause": check.cause,
        "tries": check.tries,
    }


async def check_visit(params: VisitParams, context: Context) -> dict[str, Any]:
    """Plans a check for now, whether or not the last answer is fresh."""
    appointment = await _appointment(params.appointment, context)
    if appointment.status in GONE:
        raise Refused(f"the visit {appointment.id} is {appointment.status}; there is nothing to check")
    plan_check(appointment.id, "asked", context.now, context)
    return {"appointment": appointment.id, "planned": True}


async def _appointment(id: str, context: Context) -> Appointment:
    appointment = await context.get(Appointment, id)
    if appointment is None:
        raise NotFound(f"there is no appointment {id!r}")
    return appointment


OPERATIONS = [
    Operation("eligibility.list", "Coverage of the visits of a day.", ListParams, list_visits),
    Operation("eligibility.show", "Coverage of one visit.", VisitParams, show_visit),
    Operation("eligibility.check", "Check one visit now.", VisitParams, check_visit),
]
