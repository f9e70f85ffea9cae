"""What people ask about coverage: the list of visits, one visit's card, the day sheet, a check at once."""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime, time, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict

from hub import Context, Operation
from hub.dates import day_named
from hub.errors import Refused
from hub.records import GONE
from hub.units import iso, parse_duration
from plugins.eligibility import corrections
from plugins.eligibility.known import KnownVisit, appointment_named, known_visit, visits_of
from plugins.eligibility.people import question_of
from plugins.eligibility.sheet import SheetFormat, day_sheet
from plugins.eligibility.statistics import statistics
from plugins.eligibility.visits import plan_check


class ListParams(BaseModel):
    """Which visits to list."""

    model_config = ConfigDict(extra="forbid")

    date: str = "today"
    state: str | None = None
    site: str | None = None


class VisitParams(BaseModel):
    """One visit."""

    model_config = ConfigDict(extra="forbid")

    appointment: str


class SheetParams(BaseModel):
    """Which day sheet."""

    model_config = ConfigDict(extra="forbid")

    date: str = "today"
    format: SheetFormat = "xlsx"
    site: str | None = None


class StatsParams(BaseModel):
    """Since when."""

    model_config = ConfigDict(extra="forbid")

    since: str = "30d"
    """A time span (30d), or a day."""


async def list_visits(params: ListParams, context: Context) -> list[dict[str, Any]]:
    """A line for each visit of a day, in the order of the day."""
    day = day_named(params.date, context.now, context.site.zone)
    visits = await visits_of(day, context, params.site)
    if params.state == "problem":
        return [visit_line(visit) for visit in visits if visit.needs_somebody]
    return [visit_line(visit) for visit in visits if params.state in (None, visit.outcome)]


def visit_line(visit: KnownVisit) -> dict[str, Any]:
    """What lists show of a visit (INTERFACES section 3)."""
    check = visit.check
    return {
        "appointment": visit.appointment.id,
        "starts_at": iso(visit.starts_at) if visit.starts_at else None,
        "patient": {"id": visit.number, "name": visit.name},
        "payer": check.payer,
        "outcome": visit.outcome,
        "owes": visit.owes.model_dump(),
        "authorization": visit.authorization,
        "verified": verified_line(visit),
        "action": visit.action,
        "who": visit.who,
        "notes": list(visit.notes),
        "checked_at": iso(check.checked_at) if check.checked_at else None,
    }


def verified_line(visit: KnownVisit) -> dict[str, Any] | None:
    return visit.verified.model_dump(mode="json", exclude={"id", "service_date"}) if visit.verified is not None else None


async def show_visit(params: VisitParams, context: Context) -> dict[str, Any]:
    """Everything known about the coverage of one visit."""
    visit = await known_visit(await appointment_named(params.appointment, context), context)
    check = visit.check
    asked = await question_of(visit.appointment.id, visit.patient, context)
    return visit_line(visit) | {
        "status": visit.appointment.status,
        "plan": check.plan_name,
        "group": check.group,
        "chosen": check.chosen.model_dump(),
        "other_payer": check.other_payer,
        "payer_has": check.payer_has.model_dump(mode="json"),
        "differences": [difference.model_dump() for difference in check.differences],
        "others": [other.model_dump() for other in check.others],
        "programmes": [programme.model_dump() for programme in check.programmes],
        "payer_says": check.status,
        "payer_outcome": check.outcome,
        "asked_instead": asked.model_dump(mode="json", exclude={"id", "chart"}, exclude_none=True) if asked else None,
        "rejections": [rejection.model_dump() for rejection in check.rejections],
        "findings": check.findings,
        "cause": check.cause,
        "tries": check.tries,
        "attempts": [attempt.model_dump(mode="json", exclude={"asked_for", "answer"}) for attempt in check.attempts],
    }


async def sheet(params: SheetParams, context: Context) -> dict[str, Any]:
    """The day sheet as a file, in base64."""
    day = day_named(params.date, context.now, context.site.zone)
    content, visits = await day_sheet(day, params.format, params.site, context)
    return {"day": day.isoformat(), "visits": visits, "format": params.format, "content": b64encode(content).decode()}


async def stats(params: StatsParams, context: Context) -> list[dict[str, Any]]:
    """How payers answer: a line for each."""
    return await statistics(_since(params.since, context), context)


def _since(text: str, context: Context) -> datetime:
    try:
        return context.now - timedelta(seconds=parse_duration(text))
    except ValueError:
        return datetime.combine(day_named(text, context.now, context.site.zone), time(), tzinfo=context.site.zone)


async def check_visit(params: VisitParams, context: Context) -> dict[str, Any]:
    """Plans a check for now, whether or not the last answer is fresh."""
    appointment = await appointment_named(params.appointment, context)
    if appointment.status in GONE:
        raise Refused(f"the visit {appointment.id} is {appointment.status}; there is nothing to check")
    plan_check(appointment.id, "asked", context.now, context)
    return {"appointment": appointment.id, "planned": True}


OPERATIONS = [
    *corrections.OPERATIONS,
    Operation("eligibility.list", "Coverage of the visits of a day.", ListParams, list_visits),
    Operation("eligibility.show", "Coverage of one visit.", VisitParams, show_visit),
    Operation("eligibility.stats", "How payers answer.", StatsParams, stats),
    Operation("eligibility.sheet", "The day sheet as a file.", SheetParams, sheet),
    Operation("eligibility.check", "Check one visit now.", VisitParams, check_visit),
]
