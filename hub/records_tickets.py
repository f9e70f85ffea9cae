"""Tickets at a help desk: what is ordered, what the desk tells, and what the hub knows of one."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime

from hub.progress import Progress
from hub.records import Record, Text

TicketState = Literal["ordered", "unknown", "open", "closed", "failed"]
TICKET = Progress(["ordered", "unknown", "open"], ends=["closed", "failed"])
Priority = Literal["low", "normal", "high", "urgent"]


class TicketOrder(Record):
    """What a help desk is asked to open."""

    ticket: str
    """The hub's own id of it, which goes with the ticket, so that it is found again."""
    subject: Text
    text: str
    """May have several lines."""
    priority: Priority = "normal"
    tags: list[Text] = []


class TicketReport(Record):
    """What the desk says of a ticket."""

    ticket: str
    state: TicketState
    partner_id: Text | None = None
    """The desk's number of it."""


class Ticket(Record):
    """One ticket, opened for one item of the worklist or one failure."""

    id: str
    state: TicketState = "ordered"
    desk: str = ""
    """The connection it was ordered at."""
    partner_id: Text | None = None
    item: str = ""
    """The item of the worklist it is about."""
    appointment: str = ""
    subject: Text = ""
    ordered_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None
