"""What people ask of the worklist."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from hub import Appointment, Context, Operation, WorklistItem
from hub.dates import day_named
from hub.units import iso


class ListParams(BaseModel):
    """Which items to list."""

    model_config = ConfigDict(extra="forbid")

    date: str | None = None
    queue: str | None = None


async def list_items(params: ListParams, context: Context) -> list[dict[str, Any]]:
    """Open items, oldest first; with a date only those of its visits."""
    items = await context.find(WorklistItem, "open", "yes", limit=10_000)
    if params.queue is not None:
        items = [item for item in items if item.queue == params.queue]
    if params.date is not None:
        day = day_named(params.date, context.now, context.site.zone).isoformat()
        items = [item for item in items if await _day(item, context) == day]
    return [_line(item) for item in sorted(items, key=lambda item: (item.opened_at or context.now, item.id))]


async def _day(item: WorklistItem, context: Context) -> str | None:
    appointment = await context.get(Appointment, item.appointment) if item.appointment else None
    if appointment is None or appointment.starts_at is None:
        return None
    site = context.sites.get(appointment.site or "", context.site)
    return appointment.starts_at.astimezone(site.zone).date().isoformat()


def _line(item: WorklistItem) -> dict[str, Any]:
    return {
        "id": item.id,
        "queue": item.queue,
        "appointment": item.appointment or None,
        "topic": item.topic or None,
        "text": item.text,
        "who": item.who,
        "cause": item.cause,
        "opened_at": iso(item.opened_at) if item.opened_at else None,
    }


OPERATIONS = [Operation("worklist.list", "What people must do.", ListParams, list_items)]
