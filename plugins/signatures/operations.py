"""What people ask of signatures: what is open for which visit, one visit's envelopes, and sending one again."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from hub import Appointment, Context, Operation
from hub.dates import day_named
from hub.errors import NotFound, Refused
from hub.people import current_chart
from hub.records_signing import ENVELOPE_WORDS, Envelope
from hub.units import iso
from plugins.signatures.envelopes import NEEDS_A_PERSON, needs_somebody, note, plan, settle

MOST_LISTED = 10_000


class ListParams(BaseModel):
    """Which envelopes to list."""

    model_config = ConfigDict(extra="forbid")

    date: str | None = None
    """Only those of the visits of a day."""
    state: str | None = None
    """A state, or `problem` for all that need somebody."""


class VisitParams(BaseModel):
    """One visit."""

    model_config = ConfigDict(extra="forbid")

    appointment: str


class EnvelopeParams(BaseModel):
    """One envelope."""

    model_config = ConfigDict(extra="forbid")

    envelope: str


async def list_envelopes(params: ListParams, context: Context) -> list[dict[str, Any]]:
    """A line for each envelope and visit: of a day all, else what is not over or needs somebody."""
    if params.date is not None:
        pairs = await _of_day(params.date, context)
    else:
        places = [("open", "yes"), ("problem", "yes")] if params.state in (None, "problem") else [("state", params.state)]
        found = {e.id: e for name, value in places for e in await context.find(Envelope, name, value or "", limit=MOST_LISTED)}
        pairs = [(e, await context.get(Appointment, id)) for e in found.values() for id in e.appointments]
    lines = [await _line(envelope, visit, context) for envelope, visit in pairs if _is_wanted(envelope, params.state)]
    return sorted(lines, key=lambda line: (line["starts_at"] or "", line["envelope"]))


async def _of_day(date: str, context: Context) -> list[tuple[Envelope, Appointment | None]]:
    day = day_named(date, context.now, context.site.zone).isoformat()
    return [
        (envelope, visit)
        for visit in await context.find(Appointment, "day", day, limit=MOST_LISTED)
        for envelope in await context.find(Envelope, "appointment", visit.id)
    ]


def _is_wanted(envelope: Envelope, state: str | None) -> bool:
    return state is None or state == envelope.state or (state == "problem" and needs_somebody(envelope))


async def _line(envelope: Envelope, visit: Appointment | None, context: Context) -> dict[str, Any]:
    chart = await current_chart(envelope.patient_id, context)
    name = " ".join(part for part in (chart.name.given, chart.name.family) if part) if chart is not None else None
    number = chart.identifiers[0].value if chart is not None and chart.identifiers else None
    return {
        "envelope": envelope.id,
        "packet": envelope.packet,
        "appointment": visit.id if visit is not None else None,
        "starts_at": iso(visit.starts_at) if visit is not None and visit.starts_at is not None else None,
        "patient": {"id": number, "name": name},
        "state": envelope.state,
        "words": "no e-mail address in the chart" if envelope.lacks else ENVELOPE_WORDS[envelope.state],
        "needs_somebody": needs_somebody(envelope),
    }


async def show_visit(params: VisitParams, context: Context) -> list[dict[str, Any]]:
    """Everything known about the envelopes of one visit."""
    visit = await context.get(Appointment, params.appointment)
    if visit is None:
        raise NotFound(f"there is no appointment {params.appointment!r}")
    found = await context.find(Envelope, "appointment", visit.id)
    shown = [
        await _line(envelope, visit, context)
        | envelope.model_dump(mode="json", include={"title", "partner_id", "detail", "withdrawn", "document", "certificate"})
        | {
            "signers": [signer.model_dump() for signer in envelope.signers],
            **{
                name: iso(at) if (at := getattr(envelope, name)) is not None else None
                for name in ("ordered_at", "asked_at", "told_at", "ended_at", "valid_until", "expires_at")
            },
        }
        for envelope in found
    ]
    return sorted(shown, key=lambda line: (line["ordered_at"] or "", line["envelope"]))


async def send_again(params: EnvelopeParams, context: Context) -> dict[str, Any]:
    """A new envelope in place of one that came to nothing; raises Refused for one that may still be signed."""
    old = await context.get(Envelope, params.envelope)
    if old is None:
        raise NotFound(f"there is no envelope {params.envelope!r}; `hub signatures list` shows them")
    if old.state not in (*NEEDS_A_PERSON, "voided") or old.withdrawn is not None:
        raise Refused(f"the envelope {old.id} is {ENVELOPE_WORDS[old.state]}{' and withdrawn' if old.withdrawn else ''}")
    new = Envelope(
        id=context.new_id("sig"),
        ordered_at=context.now,
        expires_at=context.now + (old.expires_at - old.ordered_at) if old.expires_at and old.ordered_at else None,
        **{name: getattr(old, name) for name in _SAME},
    )
    await settle(old, "sent again", context)
    await context.put(old.model_copy(update={"withdrawn": f"sent again as {new.id}", "appointments": []}))
    await context.put(new)
    plan(new, "send", context.now, context)
    for appointment in new.appointments:
        context.key("appointment", appointment)
    note(new, context, "is sent again")
    return {"envelope": new.id, "in_place_of": old.id}


_SAME = ("packet", "title", "text", "files", "template", "signers", "appointments", "patient_id", "plan")

OPERATIONS = [
    Operation("signatures.list", "Envelopes and how far they are.", ListParams, list_envelopes),
    Operation("signatures.show", "The envelopes of one visit.", VisitParams, show_visit),
    Operation("signatures.send", "Send one again that came to nothing.", EnvelopeParams, send_again),
]
