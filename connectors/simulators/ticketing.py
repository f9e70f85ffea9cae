"""A simulated help desk: one table of tickets, and the way each vendor has to them.

async with HelpDesk() as desk:
    desk.faults.script("silent after commit", to="open")
    desk.close("t-w-1")
    assert desk.opened_twice() == []
"""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, ClassVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from connectors.simulators.facade import Facade, basic
from connectors.simulators.server import Simulator


@dataclass(slots=True)
class KeptTicket:
    """One ticket at the desk."""

    number: int
    reference: str
    """Our id of it, as it was sent; empty where a vendor has no place for one."""
    said: dict[str, Any]
    """The request that opened it."""
    closed: bool = False


@dataclass
class Tickets:
    """All tickets, in the order in which they were opened."""

    kept: list[KeptTicket] = field(default_factory=list)
    _numbers: Any = field(default_factory=lambda: itertools.count(1001))

    def open(self, reference: str, said: dict[str, Any]) -> KeptTicket:
        ticket = KeptTicket(next(self._numbers), reference, said)
        self.kept.append(ticket)
        return ticket

    def by_reference(self, reference: str) -> list[KeptTicket]:
        return [ticket for ticket in self.kept if ticket.reference == reference]

    def by_number(self, number: str) -> KeptTicket | None:
        return next((ticket for ticket in self.kept if str(ticket.number) == number), None)


class Desk(Facade["HelpDesk"]):
    """What the vendors have in common: a ticket is opened, found and looked at, by a user with a password."""

    opens: ClassVar[str]
    finds: ClassVar[str | None] = None
    looks: ClassVar[str]

    def routes(self) -> list[BaseRoute]:
        routes: list[BaseRoute] = [
            self.route("POST", self.opens, "open", self._open),
            self.route("GET", self.looks, "look", self._look),
        ]
        return [*routes, self.route("GET", self.finds, "find", self._find)] if self.finds else routes

    def authorized(self, request: Request, body: bytes) -> bool:
        return basic(request) == ":".join(self.house.credentials)

    async def _open(self, request: Request, body: bytes) -> Response:
        said = json.loads(body)
        return JSONResponse(self.written(self.house.tickets.open(self.reference(said), said)), status_code=201)

    async def _find(self, request: Request, body: bytes) -> Response:
        return JSONResponse(self.listed(self.house.tickets.by_reference(self.wanted(request))))

    async def _look(self, request: Request, body: bytes) -> Response:
        ticket = self.house.tickets.by_number(self.number(request.path_params["number"]))
        return JSONResponse(self.written(ticket)) if ticket else JSONResponse({"error": "RecordNotFound"}, status_code=404)

    def number(self, text: str) -> str:
        return text

    def reference(self, said: dict[str, Any]) -> str:
        raise NotImplementedError

    def wanted(self, request: Request) -> str:
        raise NotImplementedError

    def written(self, ticket: KeptTicket) -> dict[str, Any]:
        raise NotImplementedError

    def listed(self, tickets: list[KeptTicket]) -> dict[str, Any]:
        raise NotImplementedError


class Zendesk(Desk):
    """POST, GET /api/v2/tickets.json; one under its number; by external_id."""

    name = "zendesk"
    opens = finds = "/zendesk/api/v2/tickets.json"
    looks = "/zendesk/api/v2/tickets/{number}.json"

    def reference(self, said: dict[str, Any]) -> str:
        return str(said["ticket"].get("external_id", ""))

    def wanted(self, request: Request) -> str:
        return request.query_params.get("external_id", "")

    def _one(self, ticket: KeptTicket) -> dict[str, Any]:
        return {"id": ticket.number, "external_id": ticket.reference, "status": "solved" if ticket.closed else "new"}

    def written(self, ticket: KeptTicket) -> dict[str, Any]:
        return {"ticket": self._one(ticket)}

    def listed(self, tickets: list[KeptTicket]) -> dict[str, Any]:
        return {"tickets": [self._one(ticket) for ticket in tickets], "meta": {"has_more": False}, "links": {"next": None}}


class Freshdesk(Desk):
    """POST /api/v2/tickets; found by a tag."""

    name = "freshdesk"
    opens = "/freshdesk/api/v2/tickets"
    finds = "/freshdesk/api/v2/search/tickets"
    looks = "/freshdesk/api/v2/tickets/{number}"

    def reference(self, said: dict[str, Any]) -> str:
        assert {"subject", "description", "email", "status", "priority"} <= set(said)  # noqa: S101 - what the vendor needs
        return next(iter(said.get("tags", [])), "")

    def wanted(self, request: Request) -> str:
        found = re.fullmatch(r"\"tag:'([^']*)'\"", request.query_params.get("query", ""))
        return found[1] if found else ""

    def written(self, ticket: KeptTicket) -> dict[str, Any]:
        return {"id": ticket.number, "status": 5 if ticket.closed else 2, "tags": [ticket.reference]}

    def listed(self, tickets: list[KeptTicket]) -> dict[str, Any]:
        return {"total": len(tickets), "results": [self.written(ticket) for ticket in tickets]}


class ServiceNow(Desk):
    """The table `incident`; values are texts."""

    name = "servicenow"
    opens = finds = "/servicenow/api/now/table/incident"
    looks = "/servicenow/api/now/table/incident/{number}"

    def reference(self, said: dict[str, Any]) -> str:
        return str(said.get("correlation_id", ""))

    def wanted(self, request: Request) -> str:
        return request.query_params.get("sysparm_query", "").removeprefix("correlation_id=")

    def _one(self, ticket: KeptTicket) -> dict[str, Any]:
        return {"sys_id": str(ticket.number), "state": "7" if ticket.closed else "1", "correlation_id": ticket.reference}

    def written(self, ticket: KeptTicket) -> dict[str, Any]:
        return {"result": self._one(ticket)}

    def listed(self, tickets: list[KeptTicket]) -> dict[str, Any]:
        return {"result": [self._one(ticket) for ticket in tickets]}


class JiraService(Desk):
    """Requests of a service desk; there is no place for our id of one."""

    name = "jira_service"
    opens = "/jira/rest/servicedeskapi/request"
    looks = "/jira/rest/servicedeskapi/request/{number}"

    def reference(self, said: dict[str, Any]) -> str:
        assert {"serviceDeskId", "requestTypeId"} <= set(said)  # noqa: S101 - what the vendor needs
        return ""

    def number(self, text: str) -> str:
        return text.removeprefix("HELP-")

    def written(self, ticket: KeptTicket) -> dict[str, Any]:
        status = "Resolved" if ticket.closed else "Waiting for support"
        return {"issueKey": f"HELP-{ticket.number}", "currentStatus": {"status": status}}


class HelpDesk(Simulator):
    """The desk of every vendor."""

    name = "help desk"

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.tickets = Tickets()
        self.facades = [Zendesk(self), Freshdesk(self), ServiceNow(self), JiraService(self)]

    def close(self, reference: str) -> None:
        """Somebody at the desk has done what the ticket asks."""
        for ticket in self.tickets.by_reference(reference):
            ticket.closed = True

    def opened_twice(self) -> list[str]:
        """Our ids under which there is more than one ticket."""
        counted = Counter(ticket.reference for ticket in self.tickets.kept if ticket.reference)
        return [reference for reference, count in counted.items() if count > 1]
