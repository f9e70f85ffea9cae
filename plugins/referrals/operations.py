"""What people ask of referrals: send one, and see how far they are."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from hub import Appointment, Context, Due, Operation, Patient
from hub.dates import day_named
from hub.errors import NotFound, Refused
from hub.people import current_chart
from hub.records import Document
from hub.records_fax import Fax
from hub.records_mail import Mail
from hub.units import iso
from plugins.referrals.records import Referral, Way, state_of
from plugins.referrals.sending import JOB

_MOST = 1000


class _Params(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class SendParams(_Params):
    """What goes to whom."""

    appointment: str
    to: str
    """A name of the directory."""
    documents: list[str] = []
    """Ids; all documents of the appointment without any."""
    way: Way | None = None


class ListParams(_Params):
    """Which referrals to list."""

    appointment: str | None = None
    date: str = "today"
    """The day on which they were ordered, without an appointment."""


async def send_referral(params: SendParams, context: Context) -> dict[str, Any]:
    """Orders a referral; refuses documents that are not those of the patient."""
    appointment = await context.get(Appointment, params.appointment)
    if appointment is None:
        raise NotFound(f"there is no appointment {params.appointment}")
    chart = await current_chart(appointment.patient_id, context)
    if chart is None:
        raise Refused(f"the patient of the appointment {appointment.id} is not known")
    documents = await _documents(params, chart, context)
    referral = Referral(
        id=context.new_id("r-"),
        appointment=appointment.id,
        patient_id=chart.id,
        to=params.to,
        way=params.way,
        documents=[document.id for document in documents],
        ordered_at=context.now.astimezone(context.site.zone),
        ordered_by=context.actor,
    )
    await context.put(referral)
    context.plan(Due(JOB, referral.id, context.now, {"referral": referral.id}, lane=referral.id))
    return await _line(referral, context)


async def _documents(params: SendParams, chart: Patient, context: Context) -> list[Document]:
    """Those that are named, or all of the appointment that are in its chart; raises Refused."""
    if not params.documents:
        found = await context.find(Document, "appointment", params.appointment, limit=_MOST)
        documents = [one for one in found if await _why_not(one, chart, context) is None]
        if not documents:
            raise Refused(f"the appointment {params.appointment} has no documents; name some with --document")
        return sorted(documents, key=lambda one: (one.received_at or one.written_at or context.now, one.id))
    named = []
    for id in dict.fromkeys(params.documents):
        document = await context.get(Document, id)
        if document is None:
            raise NotFound(f"there is no document {id}")
        if why := await _why_not(document, chart, context):
            raise Refused(f"the document {id} {why}")
        named.append(document)
    return named


async def _why_not(document: Document, chart: Patient, context: Context) -> str | None:
    """Why a document cannot go with a referral of this chart."""
    owner = await current_chart(document.patient_id, context)
    if owner is None or owner.id != chart.id:
        return "is not one of this patient"
    if document.kept is None:
        return "has no content here"
    return f"cannot be used ({document.trouble})" if document.trouble else None


async def list_referrals(params: ListParams, context: Context) -> list[dict[str, Any]]:
    """A line for each referral, in the order they were ordered."""
    if params.appointment is not None:
        found = await context.find(Referral, "appointment", params.appointment, limit=_MOST)
    else:
        day = day_named(params.date, context.now, context.site.zone)
        found = await context.find(Referral, "day", day.isoformat(), limit=_MOST)
    return [await _line(one, context) for one in sorted(found, key=lambda one: (one.ordered_at, one.id))]


async def _line(referral: Referral, context: Context) -> dict[str, Any]:
    fax = await context.get(Fax, referral.fax) if referral.fax else None
    mail = await context.get(Mail, referral.mail) if referral.mail else None
    state, detail = state_of(referral, fax, mail)
    return {
        "id": referral.id,
        "appointment": referral.appointment,
        "to": referral.to,
        "state": state,
        "detail": detail or None,
        "documents": referral.documents,
        "fax": referral.fax or None,
        "mail": referral.mail or None,
        "ordered_at": iso(referral.ordered_at),
        "ordered_by": referral.ordered_by or None,
    }


OPERATIONS = [
    Operation("referrals.send", "Send documents of a visit to a specialist.", SendParams, send_referral),
    Operation("referrals.list", "Referrals and how far they are.", ListParams, list_referrals),
]
