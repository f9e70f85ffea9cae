"""Accounts and visits merged, renumbered or moved, and swapped beds (ADT A17, A35, A36, A41, A42, A44, A45, A49, A50).

Charts stay as they are: what changes is which patient, account and number a booking belongs to.
"""

from __future__ import annotations

from typing import Literal

from hub import Appointment, Context, Identifier, Patient
from hub.people import usable
from hub.records import Record, Text
from plugins.visits.charts import save_patient


class Moved(Record):
    """One account or visit: its number before (MRG-3, MRG-5) and, for a visit, now (PV1-19)."""

    account: Text | None = None
    visit: Text | None = None
    now: Text | None = None


class VisitMove(Record):
    """What became of accounts or visits of one patient."""

    what: Literal["account", "visit", "account_of_another", "visit_of_another", "beds"] = "account"
    """Of another: it was that of the patient in MRG-1, and is now that of the one in PID-3.
    Beds: two patients swapped theirs."""
    identifiers: list[Identifier] = []
    account: Text | None = None
    """The account it is now (PID-18)."""
    moved: list[Moved] = []


async def save_visit_move(move: VisitMove, context: Context) -> VisitMove:
    """Moves the bookings that are known; says so when there are none."""
    if move.what == "beds":
        context.note("moved", "Two patients swapped beds; no booking is changed by that", plain=True)
        return move
    by_account = move.what.startswith("account")
    count = 0
    for moved in move.moved:
        count += await (_move_account if by_account else _move_visit)(move, moved, context)
    what = "account" if by_account else "visit"
    if count:
        context.note("moved", f"{count} booking(s) follow the {what} that the EHR merged or moved", plain=True)
    else:
        context.note("moved", f"No booking is known for this {what}; nothing was changed", plain=True)
    return move


async def _move_account(move: VisitMove, moved: Moved, context: Context) -> int:
    old = moved.account or (move.account if move.what == "account_of_another" else None)
    bookings = await context.find(Appointment, "account", old, limit=10_000) if old else []
    for booking in bookings:
        values = {"account": move.account or old, **await _owner(move, context)}
        await _put(booking.model_copy(update=values), context)
    return len(bookings)


async def _move_visit(move: VisitMove, moved: Moved, context: Context) -> int:
    old = moved.visit or moved.now
    booking = await context.get(Appointment, old) if old else None
    if booking is None:
        return 0
    values = await _owner(move, context)
    if moved.now and moved.now != booking.id:
        return await _renumber(booking, moved.now, values, context)
    await _put(booking.model_copy(update=values), context)
    return 1


async def _renumber(booking: Appointment, now: str, values: dict[str, str], context: Context) -> int:
    """The booking goes on under its new number, or in the one it was merged into; the old number is done with."""
    known = await context.get(Appointment, now)
    await _put((known or booking).model_copy(update={"id": now, **values}), context)
    await context.save(Appointment(id=booking.id, status="deleted"))
    return 1


async def _owner(move: VisitMove, context: Context) -> dict[str, str]:
    """The chart of PID-3, begun when need be; nothing when the patient stays the same."""
    if not move.what.endswith("of_another") or not usable(move.identifiers):
        return {}
    chart = await save_patient(Patient(identifiers=move.identifiers, provisional=True), context)
    return {"patient_id": chart.id}


async def _put(booking: Appointment, context: Context) -> None:
    await context.put(booking)
    context.key("appointment", booking.id)
