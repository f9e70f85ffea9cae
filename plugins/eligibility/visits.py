"""What the workflow asks of a visit: its day where it takes place, how near it is, and when its coverage is looked at again."""

from __future__ import annotations

from datetime import date, datetime

from hub import Appointment, Context, Due, Patient
from hub.people import current_chart
from hub.step import Site

JOB = "eligibility"
NEAR = 1
"""Days before a visit from which on a person is asked to find out what a payer does not tell."""


def plan_check(appointment: str, why: str, moment: datetime, context: Context, **payload: str) -> None:
    """One check of a visit for each reason there is to check it; the same reason again moves it."""
    payload = {"appointment": appointment, "why": why, **payload}
    context.plan(Due(JOB, f"{appointment}/{why}", moment, payload, lane=appointment))


def site_of(appointment: Appointment, context: Context) -> Site:
    return context.sites.get(appointment.site or "", context.site)


def service_day(appointment: Appointment, context: Context) -> date | None:
    """The day of the visit where it takes place."""
    if appointment.starts_at is None:
        return None
    return appointment.starts_at.astimezone(site_of(appointment, context).zone).date()


def today_at(appointment: Appointment, context: Context) -> date:
    """The day it is now where the visit takes place."""
    return context.now.astimezone(site_of(appointment, context).zone).date()


def days_ahead(appointment: Appointment, context: Context) -> int | None:
    """Days from today to the visit, by the calendar of its site; None for a visit without a time."""
    day = service_day(appointment, context)
    return None if day is None else (day - today_at(appointment, context)).days


def is_ahead(appointment: Appointment, context: Context) -> bool:
    """True until the day of the visit is over; who has been there is not asked about any more."""
    days = days_ahead(appointment, context)
    return days is not None and days >= 0


def is_near(appointment: Appointment, context: Context) -> bool:
    """Whether it is time for a person to call the payer."""
    days = days_ahead(appointment, context)
    return days is not None and 0 <= days <= NEAR


async def chart_of(appointment: Appointment, context: Context) -> Patient | None:
    """The chart of a visit, the surviving one when it was merged."""
    return await current_chart(appointment.patient_id, context)
