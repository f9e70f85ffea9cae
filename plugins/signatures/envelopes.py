"""The record of an envelope: which visits it is for, when what is done about it, and what people are told."""

from __future__ import annotations

from datetime import datetime, timedelta

from hub import Appointment, Context, Due, Patient, WorklistItem
from hub.records import GONE
from hub.records_signing import ENVELOPE_WORDS, Envelope

JOB = "signature"
"""Due work; flows take it with `from: {due: signature}`."""
OVERDUE = "overdue"
"""What is due when a visit comes near and its packet is not signed."""
REMINDERS = 5
"""Reminders a packet may have."""
NEEDS_A_PERSON = ("unknown", "declined", "expired", "bounced", "failed")
"""States that somebody has to do something about."""


def needs_somebody(envelope: Envelope) -> bool:
    """Whether a person has to do something about it; one that was voided at the service, by nobody here, may be sent again."""
    is_stuck = envelope.state in (*NEEDS_A_PERSON, "voided") or envelope.lacks is not None
    return is_stuck and envelope.withdrawn is None


# When what is done.


def plan(envelope: Envelope, what: str, at: datetime, context: Context, **more: str) -> None:
    """Due work of one kind for an envelope; the same kind again moves it."""
    payload = {"envelope": envelope.id, "action": more.pop("action", what), **more}
    context.plan(Due(JOB, f"{envelope.id}/{what}", at, payload, lane=envelope.id))


def plan_look(envelope: Envelope, context: Context) -> Envelope:
    """The next look, later each time."""
    waits = envelope.plan.looks
    wait = waits[min(envelope.looks, len(waits) - 1)]
    plan(envelope, "look", context.now + timedelta(seconds=wait), context)
    return envelope.model_copy(update={"looks": envelope.looks + 1})


def plan_for_visit(envelope: Envelope, appointment: Appointment, reminders: list[float], due: float, context: Context) -> None:
    """Reminders before a visit, and the time at which it has to be signed; a visit that was moved moves them."""
    starts = appointment.starts_at
    if starts is None or envelope.is_over:
        return
    for number, before in enumerate(reminders, 1):
        what, at = f"remind {appointment.id} {number}", starts - timedelta(seconds=before)
        if at > context.now:
            plan(envelope, what, at, context, action="remind")
        else:
            context.withdraw(JOB, f"{envelope.id}/{what}")
    at = max(starts - timedelta(seconds=due), context.now + (starts - context.now) / 2)
    plan(envelope, f"{OVERDUE} {appointment.id}", at, context, action=OVERDUE, appointment=appointment.id)


def withdraw_for_visit(envelope: Envelope, appointment: str, context: Context) -> None:
    for number in range(1, REMINDERS + 1):
        context.withdraw(JOB, f"{envelope.id}/remind {appointment} {number}")
    context.withdraw(JOB, f"{envelope.id}/{OVERDUE} {appointment}")


def withdraw_all(envelope: Envelope, context: Context) -> None:
    """Nothing more is done about an envelope that is over."""
    for what in ("send", "look", "void"):
        context.withdraw(JOB, f"{envelope.id}/{what}")
    for appointment in envelope.appointments:
        withdraw_for_visit(envelope, appointment, context)


# What people are told.


def topic(envelope: Envelope) -> str:
    return f"signature {envelope.packet}"


async def tell(envelope: Envelope, cause: str, text: str, context: Context, *, who: str = "coordinator") -> None:
    """An item for each visit that needs the packet, in place of what was told of it before."""
    for appointment in envelope.appointments:
        item = WorklistItem(
            queue=envelope.plan.queue, appointment=appointment, topic=topic(envelope), text=text, who=who, cause=cause
        )
        await context.save(item)


async def settle(envelope: Envelope, because: str, context: Context, *, cause: str = "") -> None:
    """Closes what is open about the packet; of a `cause` only that."""
    for appointment in envelope.appointments:
        await close(envelope, appointment, because, context, cause=cause)


async def close(envelope: Envelope, appointment: str, because: str, context: Context, *, cause: str = "") -> None:
    for item in await context.find(WorklistItem, "open_for", appointment):
        if item.topic == topic(envelope) and cause in ("", item.cause):
            await context.save(item.model_copy(update={"open": False, "closed_because": because}))


def keyed(envelope: Envelope, context: Context) -> None:
    """What is done is found under each visit it is for."""
    for appointment in envelope.appointments:
        context.key("appointment", appointment)


def note(envelope: Envelope, context: Context, text: str = "") -> None:
    words = text or ENVELOPE_WORDS[envelope.state]
    context.note(f"signature {envelope.state}", f"{envelope.title or envelope.packet}: {words}", plain=True)


# Visits that are cancelled, charts that change.


async def release_visit(appointment: Appointment, context: Context) -> None:
    """A reaction to a saved booking: a visit that does not take place needs nothing signed."""
    if appointment.status in GONE:
        for envelope in await context.find(Envelope, "appointment", appointment.id):
            await release(envelope, appointment.id, f"visit {appointment.status}", context)


async def release(envelope: Envelope, appointment: str, because: str, context: Context) -> None:
    """The visit does not need it any more; an envelope that no visit needs is withdrawn."""
    withdraw_for_visit(envelope, appointment, context)
    await close(envelope, appointment, because, context)
    left = [one for one in envelope.appointments if one != appointment]
    if envelope.state == "completed":
        return
    if left:
        await context.put(envelope.model_copy(update={"appointments": left}))
    elif envelope.is_over:
        await context.put(envelope.model_copy(update={"withdrawn": because}))
    else:
        await withdraw(envelope, because, context)


async def withdraw(envelope: Envelope, because: str, context: Context) -> None:
    """Nobody needs it: it is never sent, or withdrawn where it is."""
    context.withdraw(JOB, f"{envelope.id}/send")
    envelope = envelope.model_copy(update={"withdrawn": because})
    if envelope.asked_at is None:
        envelope = envelope.model_copy(update={"state": "voided", "ended_at": context.now, "lacks": None})
        withdraw_all(envelope, context)
        note(envelope, context, "not needed any more, and never sent")
    else:  # where the service's id of it is not known yet, the report that brings it goes on from here
        plan(envelope, "void", context.now, context)
    await context.put(envelope)


async def envelopes_of(chart: Patient, context: Context) -> list[Envelope]:
    """Those of a chart and of the charts that were merged into it."""
    charts, found = [chart], []
    for one in charts:
        found += await context.find(Envelope, "patient", one.id)
        charts += await context.find(Patient, "merged_into", one.id)
    return found


async def follow_chart(patient: Patient, context: Context) -> None:
    """A reaction to a saved chart: what waited for an address is sent."""
    if not patient.email:
        return
    for envelope in await envelopes_of(patient, context):
        if envelope.lacks == "email" and not envelope.is_over and envelope.asked_at is None:
            await context.put(envelope.model_copy(update={"lacks": None}))
            await settle(envelope, "the chart has an e-mail address now", context)
            plan(envelope, "send", context.now, context)
