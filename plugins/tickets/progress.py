"""What a help desk tells of a ticket, and what follows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from pydantic import Field

from hub import Context, Due, Message, MessageUnusable, Prepared, Step, StepConfig, StepResult, WorklistItem
from hub.records import Failure
from hub.records_tickets import TICKET, Ticket, TicketReport
from hub.units import Duration
from plugins.tickets.escalation import TOPIC

JOB = "ticket_look"


class SaveTicketConfig(StepConfig):
    """Settings of `save_ticket`."""

    look_again: Duration = Field(default=24 * 3600.0, gt=0)
    """When an open ticket is looked at again, whether or not the desk has told anything."""


class SaveTicket(Step[SaveTicketConfig]):
    """Keeps what the desk says of a ticket; its state only moves forward."""

    kind = "save_ticket"

    async def run(self, message: Message, context: Context) -> StepResult:
        if message.format != "ticket_report":
            raise MessageUnusable(f"save_ticket works on a report of a desk, but this is {message.format}", code="TCK-003")
        report = TicketReport.model_validate_json(message.body)
        known = await context.get(Ticket, report.ticket)
        if known is None:
            raise MessageUnusable("the desk speaks of a ticket that is not known here", code="TCK-003")
        ticket = _advanced(known, report, context)
        await context.put(ticket)
        if TICKET.is_over(ticket.state):
            context.withdraw(JOB, ticket.id)
        else:
            at = context.now + timedelta(seconds=self.config.look_again)
            context.plan(Due(JOB, ticket.id, at, {"ticket": ticket.id}))
        return message.derive(ticket, format="ticket")


def _advanced(known: Ticket, report: TicketReport, context: Context) -> Ticket:
    state = TICKET.advance(known.state, report.state)
    ended_at = known.ended_at or (context.now if TICKET.is_over(state) else None)
    if known.appointment:
        context.key("appointment", known.appointment)
    if state != known.state:
        number = report.partner_id or known.partner_id or "without a number"
        context.note("ticket", f"Ticket {number} is {state}", plain=True)
    update = {"state": state, "partner_id": report.partner_id or known.partner_id, "ended_at": ended_at}
    return known.model_copy(update=update)


class TicketFailed(Step[StepConfig]):
    """What follows when a ticket could not be ordered, or nobody knows whether it was: a person is told, once."""

    kind = "ticket_failed"

    async def run(self, message: Message, context: Context) -> StepResult:
        if message.format != "failure":
            raise MessageUnusable(f"ticket_failed works on a failure, but this is {message.format}", code="TCK-002")
        failure = Failure.model_validate_json(message.body)
        known = await context.get(Ticket, failure.headers.get("ticket", ""))
        if known is None:
            return None
        state = TICKET.advance(known.state, "unknown" if failure.may_be_done else "failed")
        ticket = known.model_copy(update={"state": state})
        await context.put(ticket)
        what = "It is not known whether a ticket was opened" if failure.may_be_done else "No ticket could be opened"
        text = f"{what} ({known.subject}): {failure.reason}. Look at the help desk, and open one there if there is none."
        item = WorklistItem(queue="it", appointment=known.appointment, topic=TOPIC, text=text, who="it", cause=failure.code)
        await context.save(item)
        return message.derive(ticket, format="ticket")


class TicketHint(Step[StepConfig]):
    """Something was told about a ticket by a webhook: a hint to look at it, and nothing more."""

    kind = "ticket_hint"

    async def run(self, message: Message, context: Context) -> StepResult:
        known = await context.find(Ticket, "partner", message.headers.get("resource", ""), limit=1)
        return message.derive(known[0], format="ticket", headers={"ticket": known[0].id}) if known else None


async def look_at(payload: Mapping[str, str], context: Context) -> Prepared | None:
    """Due work: an open ticket is looked at."""
    ticket = await context.get(Ticket, payload["ticket"])
    if ticket is None or TICKET.is_over(ticket.state) or not ticket.partner_id:
        return None
    return Prepared(ticket, {"ticket": ticket.id, "appointment": ticket.appointment})
