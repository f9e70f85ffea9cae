"""What people ask of the worklist, and what they tell it."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from hub import Appointment, Context, Operation, WorklistItem
from hub.dates import day_named
from hub.errors import NotFound
from hub.units import iso
from plugins.worklist.items import close_item
from plugins.worklist.sheet import SheetFormat, open_items, worklist_sheet


class ListParams(BaseModel):
    """Which items to list."""

    model_config = ConfigDict(extra="forbid")

    date: str | None = None
    queue: str | None = None


async def list_items(params: ListParams, context: Context) -> list[dict[str, Any]]:
    """Open items, oldest first; with a date only those of its visits."""
    return [_line(item) for item in await _wanted(params, context)]


async def _wanted(params: ListParams, context: Context) -> list[WorklistItem]:
    items = await open_items(params.queue, context)
    if params.date is None:
        return items
    day = day_named(params.date, context.now, context.site.zone).isoformat()
    return [item for item in items if await _day(item, context) == day]


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


class SheetParams(ListParams):
    """Which items go into a sheet, and in what form."""

    format: SheetFormat = "xlsx"


async def sheet(params: SheetParams, context: Context) -> dict[str, Any]:
    """The open items as a file, in base64."""
    items = await _wanted(params, context)
    content = await worklist_sheet(items, params.format, context)
    return {"items": len(items), "format": params.format, "content": b64encode(content).decode()}


class DoneParams(BaseModel):
    """What is done."""

    model_config = ConfigDict(extra="forbid")

    items: list[str] = Field(min_length=1)
    remark: str | None = None


async def done(params: DoneParams, context: Context) -> list[dict[str, Any]]:
    """Closes items; all of them, or none when there is one that is not known."""
    found = {id: await context.get(WorklistItem, id) for id in params.items}
    if missing := [id for id, item in found.items() if item is None]:
        raise NotFound(f"there is no item {missing[0]}; nothing was closed. `hub worklist` lists what is open.")
    because = f"done by {context.actor}" + (f": {params.remark}" if params.remark else "")
    lines = []
    for item in found.values():
        assert item is not None  # noqa: S101 - looked at above
        if item.open:
            await close_item(item, because, context)
        lines.append({"id": item.id, "was_open": item.open})
    return lines


OPERATIONS = [
    Operation("worklist.list", "What people must do.", ListParams, list_items),
    Operation("worklist.sheet", "What people must do, as a file.", SheetParams, sheet),
    Operation("worklist.done", "Closes items.", DoneParams, done, private=frozenset({"remark"})),
]
