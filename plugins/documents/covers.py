"""Cover sheets: printed by us to lie on top of what is scanned or faxed, with a code that says whose it is.

The code names a sheet that is kept here, and nothing else: whoever reads it learns nothing.  Its end is a keyed digest, so that
nobody can make one up.
"""

from __future__ import annotations

import hmac
from datetime import datetime

from hub import Appointment, Context, Patient
from hub.formats.pages import cover
from hub.people import usable
from plugins.documents.records import Clue, CoverSheet, SeenCode

_BEGIN = "CLINIC-HUB:1:"
_DIGITS = 16
NOT_OURS = "not one of ours"
"""Stands for a code that looks like ours and is none."""


def code_of(sheet: CoverSheet, context: Context) -> str:
    return f"{_BEGIN}{sheet.id}:{_proof(sheet.id, context)}"


def clues_of(codes: list[SeenCode], context: Context) -> list[Clue]:
    """What the codes of cover sheets say; other bar codes say nothing here."""
    return [
        Clue(kind="cover", values=[_sheet_id(code.text, context)], page=code.page)
        for code in codes
        if code.text.startswith(_BEGIN)
    ]  # fmt: skip


def _sheet_id(text: str, context: Context) -> str:
    id, _, proof = text.removeprefix(_BEGIN).partition(":")
    return id if hmac.compare_digest(proof.encode(), _proof(id, context).encode()) else NOT_OURS


def _proof(id: str, context: Context) -> str:
    return context.digest("cover sheet", id)[:_DIGITS]


async def print_cover(chart: Patient, appointment: Appointment | None, kind: str, context: Context) -> tuple[CoverSheet, bytes]:
    """A new sheet and its PDF.  It shows the chart's number and the visit, for who lays it on top; no name, no birth date."""
    sheet = CoverSheet(
        id=context.new_id(),
        patient_id=chart.id,
        appointment=appointment.id if appointment is not None else "",
        kind=kind,
        printed_at=context.now,
        printed_by=context.actor,
    )
    await context.put(sheet)
    number = usable(chart.identifiers)[0].value if usable(chart.identifiers) else ""
    lines = [f"Chart {number}" if number else ""]
    if appointment is not None:
        lines.append(f"Visit {appointment.id}" + _when(appointment, context))
    lines += [f"Kind: {kind}" if kind else "", "Lay this sheet on top of one document, then scan or fax both together."]
    return sheet, await cover("Cover sheet", [line for line in lines if line], code_of(sheet, context))


def _when(appointment: Appointment, context: Context) -> str:
    if appointment.starts_at is None:
        return ""
    site = context.sites.get(appointment.site or "", context.site)
    local: datetime = appointment.starts_at.astimezone(site.zone)
    return f", {local:%Y-%m-%d %H:%M}"
