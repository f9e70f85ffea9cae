"""Opens tickets at a help desk and looks how they are.  Which requests that takes is data of the desk's profile.

A message of format `ticket_order` opens one; one of format `ticket` (what the hub knows of one) looks at it.  Both are
answered with a `ticket_report`.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from hub.calls import Answer, Api, ApiSettings, Call
from hub.connector import AnyConnector, Destination, DestinationConfig
from hub.errors import MessageRejected, MessageUnusable
from hub.hookspecs import hookimpl
from hub.message import Message
from hub.records_tickets import Priority, Ticket, TicketOrder, TicketReport, TicketState

ORDER = frozenset({"ticket", "subject", "text", "priority", "tags"})
LOOK = frozenset({"ticket", "partner_id"})
"""What calls may be told."""


class TicketConfig(ApiSettings, DestinationConfig):
    """Opens each ticket that is ordered."""

    open: Call
    """How a ticket is opened. Blanks: ticket (our id), subject, text, priority, tags. Answer: partner_id, state."""
    find: Call | None = None
    """How a ticket is found by our id, after an answer that never came. Blanks: ticket. Answer: partner_id, state."""
    look: Call | None = None
    """How a ticket is looked at. Blanks: ticket, partner_id. Answer: state."""
    states: dict[str, TicketState] = {}
    """The desk's words for how a ticket is, and ours: open or closed. What is not named is open."""
    priorities: dict[Priority, str] = {}
    """Our priorities, and the desk's words for them; low, normal, high and urgent stay as they are when they are not named."""
    values: dict[str, str] = Field(default={})
    """What the calls carry beside the order, for instance the number of a group: `{value.NAME}` in a call."""

    @model_validator(mode="after")
    def _blanks_are_known(self) -> TicketConfig:
        values = frozenset(f"value.{name}" for name in self.values)
        for name, call, known in (("open", self.open, ORDER), ("find", self.find, LOOK), ("look", self.look, LOOK)):
            unknown = sorted(
                blank for blank in (call.blanks if call else ()) if blank not in known | values and not _is_secret(blank)
            )
            if unknown:
                raise ValueError(f"`{name}` wants {unknown[0]}, which is none of {', '.join(sorted(known | values))}")
        return self


def _is_secret(blank: str) -> bool:
    return blank.startswith("secret.")


class TicketDesk(Destination[TicketConfig]):
    """A help desk."""

    kind = "ticket"
    repeat = "ask"

    def __init__(self, name: str, config: TicketConfig) -> None:
        super().__init__(name, config)
        self._api: Api | None = None

    async def open_destination(self) -> None:
        self._api = self._api or Api(self.name, self.config)

    async def send(self, message: Message) -> Message | None:
        await self.open_destination()
        if message.format == "ticket_order":
            return await self._order(TicketOrder.model_validate_json(message.body), is_replay=message.generation > 0)
        if message.format == "ticket":
            return await self._look(Ticket.model_validate_json(message.body))
        raise MessageUnusable(f"{self.name} takes a ticket_order or a ticket, and no {message.format}", code="TCK-001")

    async def _order(self, order: TicketOrder, *, is_replay: bool) -> Message:
        """What a person has sent again is looked for first: it may be there."""
        priority = self.config.priorities.get(order.priority, order.priority)
        told = {"subject": order.subject, "text": order.text, "priority": priority, "tags": order.tags}
        values = self._values({"ticket": order.ticket, **told})
        find, answer = self.config.find, None
        if is_replay and find is not None:
            answer = await self._asked().find(find, values)
        if answer is None:
            answer = await self._asked().order(self.config.open, values, find=find)
        if answer is None or not (partner_id := answer.text("partner_id")):
            raise MessageRejected(f"{self.name}: the desk took the ticket without a number", answer="no number", final=True)
        return self._report(order.ticket, partner_id, answer)

    async def _look(self, ticket: Ticket) -> Message:
        if self.config.look is None:
            raise MessageUnusable(f"{self.name} cannot look at tickets: its profile has no `look`", code="TCK-001")
        answer = await self._asked().ask(self.config.look, self._values({"ticket": ticket.id, "partner_id": ticket.partner_id}))
        if answer is None:
            return _message(TicketReport(ticket=ticket.id, state="closed", partner_id=ticket.partner_id))
        return self._report(ticket.id, ticket.partner_id, answer)

    def _values(self, told: dict[str, Any]) -> dict[str, Any]:
        return {**told, **{f"value.{name}": text for name, text in self.config.values.items()}}

    def _asked(self) -> Api:
        assert self._api is not None  # noqa: S101 - opened before anything is sent
        return self._api

    def _report(self, ticket: str, partner_id: str | None, answer: Answer) -> Message:
        state = self.config.states.get(answer.text("state") or "", "open")
        return _message(TicketReport(ticket=ticket, state=state, partner_id=partner_id))

    async def check(self) -> str:
        await self.open_destination()
        return await self._asked().check()

    async def close(self) -> None:
        if self._api is not None:
            api, self._api = self._api, None
            await api.close()


def _message(report: TicketReport) -> Message:
    return Message(report, "ticket_report", headers={"answer": report.state})


@hookimpl
def register_connectors() -> list[type[AnyConnector]]:
    return [TicketDesk]
