"""What people ask of reminders: the list of a day or a visit, one with all that was sent, what one would say, who wants
none."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from hub import Appointment, Context, Operation
from hub.dates import day_named
from hub.errors import NotFound, Refused
from hub.records_reminders import Call, Reminder, Sent, TextMessage, VisitReply
from hub.units import iso
from plugins.reminders.people import e164, is_out, ledger_id, note_wish
from plugins.reminders.plan import reminders_of
from plugins.reminders.policies import load_policies
from plugins.reminders.sending import Visited
from plugins.reminders.words import segments_of


class _Params(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ListParams(_Params):
    """Which reminders to list."""

    date: str = "today"
    state: str | None = None


class ShowParams(_Params):
    """One visit."""

    appointment: str


class PreviewParams(_Params):
    """One visit, and the policy file."""

    appointment: str
    policies: Path


class WishParams(_Params):
    """Who wants what."""

    number: str
    wants: Literal["none", "reminders"]


async def list_reminders(params: ListParams, context: Context) -> list[dict[str, Any]]:
    """Reminders that are due on a day of the first site, in their order."""
    day = day_named(params.date, context.now, context.site.zone)
    found: dict[str, Reminder] = {}
    for offset in (-1, 0, 1):  # they are filed by their day in UTC
        near = (day + timedelta(days=offset)).isoformat()
        found.update({r.id: r for r in await context.find(Reminder, "day", near, limit=10_000)})
    mine = [r for r in found.values() if r.due_at is not None and r.due_at.astimezone(context.site.zone).date() == day]
    lines = [_line(r, context) for r in sorted(mine, key=lambda r: (r.due_at, r.id))]
    return [line for line in lines if params.state in (None, line["state"])]


def _line(reminder: Reminder, context: Context) -> dict[str, Any]:
    zone = context.site.zone
    return {
        "reminder": reminder.id,
        "appointment": reminder.appointment or None,
        "recall": reminder.recall or None,
        "step": reminder.step or None,
        "due_at": iso(reminder.due_at.astimezone(zone)) if reminder.due_at else None,
        "starts_at": iso(reminder.starts_at.astimezone(zone)) if reminder.starts_at else None,
        "state": reminder.state,
        "why": reminder.why or None,
        "tries": [one.channel for one in reminder.tries],
    }


async def show_reminders(params: ShowParams, context: Context) -> dict[str, Any]:
    """The reminders of a visit, with every text and call, and what the patient answered."""
    appointment = await context.get(Appointment, params.appointment)
    if appointment is None:
        raise NotFound(f"there is no visit {params.appointment!r}; `hub reminders list` names those with reminders")
    reminders = await reminders_of(appointment.id, context)
    sent: list[Sent] = [*await context.find(TextMessage, "appointment", appointment.id, limit=1000)]
    sent += await context.find(Call, "appointment", appointment.id, limit=1000)
    reply = await context.get(VisitReply, appointment.id)
    current = reply is not None and reply.starts_at == appointment.starts_at
    return {
        "appointment": appointment.id,
        "status": appointment.status,
        "starts_at": iso(appointment.starts_at) if appointment.starts_at else None,
        "answer": reply.answer if reply is not None and current else None,
        "reminders": [_line(r, context) for r in sorted(reminders, key=lambda r: (r.due_at or context.now, r.id))],
        "sent": [_sent_line(one, context) for one in sorted(sent, key=lambda one: (one.ordered_at or context.now, one.id))],
    }


def _sent_line(sent: Sent, context: Context) -> dict[str, Any]:
    return {
        "id": sent.id,
        "reminder": sent.reminder,
        "channel": "text" if isinstance(sent, TextMessage) else "call",
        "to": sent.number,
        "text": sent.text,
        "state": str(sent.state),  # type: ignore[attr-defined]  # each kind has its own states
        "trouble": sent.trouble or None,
        "detail": sent.detail or None,
        "partner_id": sent.partner_id,
        "ordered_at": iso(sent.ordered_at.astimezone(context.site.zone)) if sent.ordered_at else None,
        "answered": sent.answered,
    }


async def preview(params: PreviewParams, context: Context) -> list[dict[str, Any]]:
    """What each reminder of a visit says by each way, as the chart is now."""
    policies = load_policies(params.policies)
    if await context.get(Appointment, params.appointment) is None:
        raise NotFound(f"there is no visit {params.appointment!r}; `hub reminders list` names those with reminders")
    lines = []
    for reminder in sorted(await reminders_of(params.appointment, context), key=lambda r: (r.due_at or context.now, r.id)):
        visit = await Visited.of(reminder, policies, context)
        out = visit.number is not None and await is_out(visit.number, context)
        for channel in ("text", "call"):
            words = visit.says(channel)
            if words is None:
                continue
            length = {"characters": len(words), "messages": segments_of(words) if channel == "text" else None}
            lines.append(
                _line(reminder, context) | {"channel": channel, "to": visit.number, "says": words, "out": out} | length
            )
    return lines


async def wish(params: WishParams, context: Context) -> dict[str, Any]:
    """Notes what somebody said on the telephone or at the desk."""
    number = e164(params.number, "+1")
    if number is None:
        raise Refused("that is no telephone number; write it with its country code: +13125550142")
    await note_wish(number, params.wants == "none", "person", context)
    return {"number": number, "wants": params.wants, "noted_as": ledger_id(number, context)[:12]}


OPERATIONS = [
    Operation("reminders.list", "Reminders of a day.", ListParams, list_reminders),
    Operation("reminders.show", "Reminders of one visit.", ShowParams, show_reminders),
    Operation("reminders.preview", "What the reminders of a visit say.", PreviewParams, preview),
    Operation("reminders.wish", "Who wants reminders and who none.", WishParams, wish, frozenset({"number"})),
]
