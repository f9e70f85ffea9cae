"""Tickets for what nobody takes care of: items of the worklist that are open too long, and flows that fail.

escalation.py  which items are overdue, and what a ticket says: by default nothing about a patient
progress.py    what the help desk tells of a ticket
"""

from __future__ import annotations

from hub import DueJob, RecordKey, RecordKind, hookimpl
from hub.records_tickets import Ticket
from hub.step import AnyStep
from plugins.tickets.escalation import OpenTicket, Overdue
from plugins.tickets.progress import SaveTicket, TicketFailed, TicketHint, look_at


@hookimpl
def register_steps() -> list[type[AnyStep]]:
    return [Overdue, OpenTicket, SaveTicket, TicketFailed, TicketHint]


@hookimpl
def register_records() -> list[RecordKind]:
    def keys(ticket: Ticket) -> list[RecordKey]:
        found = [RecordKey("state", ticket.state), RecordKey("appointment", ticket.appointment)]
        return [*found, RecordKey("partner", ticket.partner_id)] if ticket.partner_id else found

    return [RecordKind("ticket", Ticket, keys, frozenset({"state", "appointment", "partner"}))]


@hookimpl
def register_due() -> list[DueJob]:
    return [DueJob("ticket_look", look_at)]
