"""When a ticket is opened, and what it says."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from hub import Context, Message, MessageUnusable, Step, StepConfig, StepResult, WorklistItem
from hub.records import Failure
from hub.records_tickets import Priority, Ticket, TicketOrder
from hub.units import Duration, age_in_words

TOPIC = "ticket"
"""Of items about tickets that could not be opened: they become none themselves."""


class OverdueConfig(StepConfig):
    """Settings of `overdue`."""

    after: Duration = Field(default=4 * 3600.0, gt=0)
    """How long an item may stay open."""
    queue: str | None = None
    """Whose worklist is looked at; all when it is left out."""
    most: int = Field(default=50, ge=1, le=1000)
    """So many items at once; the others come with the next look."""


class Overdue(Step[OverdueConfig]):
    """Goes on with each item of the worklist that is open too long and has no ticket yet."""

    kind = "overdue"
    main = "after"

    async def run(self, message: Message, context: Context) -> StepResult:
        limit = context.now - timedelta(seconds=self.config.after)
        items = await context.find(WorklistItem, "open", "yes", limit=10_000)
        late = [item for item in items if item.opened_at is not None and item.opened_at <= limit and self._is_mine(item)]
        found: list[WorklistItem] = []
        for item in sorted(late, key=lambda item: (item.opened_at or context.now, item.id)):
            if len(found) < self.config.most and await context.get(Ticket, id_for(item.id)) is None:
                found.append(item)
        return [message.derive(item, format="worklist_item", headers={"appointment": item.appointment}) for item in found]

    def _is_mine(self, item: WorklistItem) -> bool:
        return self.config.queue in (None, item.queue) and item.topic != TOPIC


def id_for(about: str) -> str:
    """One ticket for each thing: the same whenever it is asked."""
    return f"t-{about}"


class TicketConfig(StepConfig):
    """Settings of `ticket`."""

    desk: str
    """The connection of the help desk, for which the order is made; an `ask` of it follows."""
    priority: Priority = "normal"
    """low, normal, high or urgent."""
    tags: list[str] = ["clinic-hub"]
    """Words by which the desk sorts its tickets."""
    with_text: bool = False
    """Whether a ticket carries the text of the item, which may speak of a patient. Without it a ticket names the cause and the
    number of the visit, and who may know more looks at `hub worklist`."""


class OpenTicket(Step[TicketConfig]):
    """Makes the order of a ticket for an item of the worklist, or for a failure of a flow; once for each."""

    kind = "ticket"
    main = "desk"

    async def run(self, message: Message, context: Context) -> StepResult:
        match _subject(message):
            case WorklistItem() as item:
                about, subject, text = item.id, f"Worklist {item.queue}: {item.cause}", _of_item(item, context)
                text = f"{text}\n\n{item.text}" if self.config.with_text else text
                appointment = item.appointment
            case failure:
                about, subject = message.id, f"Flow {failure.flow} failed at {failure.step}: {failure.code}"
                text = f"Message {failure.message}: {failure.reason}\nLook at it with: hub trace {failure.message}"
                appointment = failure.headers.get("appointment", "")
        ticket = Ticket(id=id_for(about), desk=self.config.desk, item=about, appointment=appointment, subject=subject)
        if await context.get(Ticket, ticket.id) is not None:
            return None
        await context.put(ticket.model_copy(update={"ordered_at": context.now}))
        if appointment:
            context.key("appointment", appointment)
        context.note("ticket", f"A ticket is ordered: {subject}", plain=True)
        order = TicketOrder(ticket=ticket.id, subject=subject, text=text, priority=self.config.priority, tags=self.config.tags)
        return message.derive(order, format="ticket_order", headers={"ticket": ticket.id, "appointment": appointment})


def _subject(message: Message) -> WorklistItem | Failure:
    record = message.record
    if isinstance(record, WorklistItem | Failure):
        return record
    if message.format == "failure":
        return Failure.model_validate_json(message.body)
    raise MessageUnusable(f"ticket works on an item of the worklist or a failure, but this is {message.format}", code="TCK-002")


def _of_item(item: WorklistItem, context: Context) -> str:
    age = age_in_words((context.now - item.opened_at).total_seconds()) if item.opened_at is not None else "some time"
    visit = f" for visit {item.appointment}" if item.appointment else ""
    return f"Item {item.id}{visit} is open since {age}, for {item.who}. Look at it with: hub worklist --queue {item.queue}"
