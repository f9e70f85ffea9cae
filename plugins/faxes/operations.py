"""What people see of faxes, and ask for."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from hub import Context, Due, MessageUnusable, Operation
from hub.errors import NotFound, Refused
from hub.records_fax import Fax, FaxPolicy
from hub.units import iso
from plugins.faxes.ordering import JOB, in_e164
from plugins.faxes.progress import advanced

_STATES = ("unknown", "failed", "waiting", "ordered", "queued", "sending", "sent", "received")
"""Those that want somebody come first."""


class ListParams(BaseModel):
    """Which faxes to list."""

    model_config = ConfigDict(extra="forbid")

    state: str | None = None
    appointment: str | None = None
    limit: int = Field(default=100, ge=1, le=10_000)


class FaxParams(BaseModel):
    """One fax."""

    model_config = ConfigDict(extra="forbid")

    fax: str


class AgainParams(FaxParams):
    """One fax, and where it goes now."""

    to: str | None = None


class SendParams(BaseModel):
    """A document to fax."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    content: bytes
    """Its bytes in Base64."""
    to: str
    from_name: str = Field(default="", max_length=80)
    cover: list[str] = []
    appointment: str = ""
    policy: FaxPolicy = FaxPolicy()
    queue: str = "front_desk"


async def send_document(params: SendParams, context: Context) -> dict[str, Any]:
    """A person has a document faxed."""
    try:
        content = base64.b64decode(params.content, validate=True)
    except binascii.Error:
        raise Refused("the document is not in Base64") from None
    fax = Fax(
        id="",
        to=params.to,
        sender=params.from_name,
        cover=params.cover,
        kept=await context.keep(content),
        appointment=params.appointment,
        policy=params.policy,
        queue=params.queue,
    )
    try:
        saved = await context.save(fax)
    except MessageUnusable as error:
        raise Refused(str(error), code=error.code) from None
    return {"fax": saved.id, "pages": saved.pages}


async def list_faxes(params: ListParams, context: Context) -> list[dict[str, Any]]:
    """The newest first."""
    if params.appointment is not None:
        found = await context.find(Fax, "appointment", params.appointment, limit=10_000)
    else:
        states = _STATES if params.state is None else (params.state,)
        found = [fax for state in states for fax in await context.find(Fax, "state", state, limit=10_000)]
    wanted = [fax for fax in found if params.state in (None, fax.state)]
    newest = sorted(wanted, key=lambda fax: (fax.ordered_at or context.now, fax.id), reverse=True)
    return [_line(fax) for fax in newest[: params.limit]]


async def show_fax(params: FaxParams, context: Context) -> dict[str, Any]:
    """One fax with all its tries."""
    fax = await _fax(params.fax, context)
    tries = [
        {
            "reference": one.reference,
            "to": one.to or None,
            "partner_id": one.partner_id,
            "state": one.state,
            "error": one.error if one.state == "failed" else None,
            "reason": one.reason if one.state == "failed" else None,
            "first_page": one.first_page,
            "pages": one.pages,
            "ordered_at": iso(one.ordered_at),
            "ended_at": iso(one.ended_at) if one.ended_at else None,
        }
        for one in fax.tries
    ]
    return {**_line(fax), "document": fax.document or None, "queue": fax.queue, "partner_id": fax.partner_id, "history": tries}


async def send_again(params: AgainParams, context: Context) -> dict[str, Any]:
    """A person's word that a fax is to be sent again, to the same number or another: at once."""
    fax = await _fax(params.fax, context)
    if fax.direction != "out" or fax.state not in ("failed", "unknown", "waiting"):
        raise Refused(f"the fax {fax.id} is {fax.state}; only one that failed, waits or of which nobody knows is sent again")
    if params.to is not None:
        try:
            fax = advanced(fax.model_copy(update={"to": in_e164(params.to)}), context.now)
        except ValueError as error:
            raise Refused(f"the number {error}") from None
        if fax.state == "sent":
            raise Refused(f"the fax {fax.id} has arrived at that number")
        await context.put(fax)
    context.plan(Due(JOB, fax.id, context.now, {"fax": fax.id, "try": str(len(fax.tries) + 1), "again": "yes"}))
    context.key("fax", fax.id)
    context.note("fax", "A person has it sent again", plain=True)
    return {"fax": fax.id, "planned": True}


async def _fax(id: str, context: Context) -> Fax:
    fax = await context.get(Fax, id)
    if fax is None:
        raise NotFound(f"there is no fax {id}; hub faxes list shows those there are")
    return fax


def _line(fax: Fax) -> dict[str, Any]:
    last = fax.tries[-1] if fax.tries else None
    return {
        "fax": fax.id,
        "direction": fax.direction,
        "state": fax.state,
        "to": fax.to or None,
        "sender": fax.sender or None,
        "pages": fax.pages,
        "appointment": fax.appointment or None,
        "tries": len(fax.tries),
        "error": last.error if last is not None and last.state == "failed" else None,
        "ordered_at": iso(fax.ordered_at) if fax.ordered_at else None,
        "ended_at": iso(fax.ended_at) if fax.ended_at else None,
    }


OPERATIONS = [
    Operation("faxes.send", "Fax a document.", SendParams, send_document, private=frozenset({"content"})),
    Operation("faxes.list", "Faxes out and in, the newest first.", ListParams, list_faxes),
    Operation("faxes.show", "One fax with all its tries.", FaxParams, show_fax),
    Operation("faxes.again", "Send a fax again that failed, or of which nobody knows.", AgainParams, send_again),
]
