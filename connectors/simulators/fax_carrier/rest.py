"""Façade: plain REST with basic authentication, as several carriers have it; JSON in, JSON out, lists in pages."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from connectors.simulators.facade import Facade, basic
from connectors.simulators.fax_carrier.faxes import Fax, Incoming, Stage
from connectors.simulators.hooks import Hook

if TYPE_CHECKING:
    from connectors.simulators.fax_carrier.carrier import Carrier

USER = "clinic:rest-secret"
PAGE = 2
"""Entries of a list on one page."""


class Rest(Facade["Carrier"]):
    """`/rest/faxes`, `/rest/faxes/{id}`, `/rest/inbox`, `/rest/inbox/{id}`."""

    name: ClassVar[str] = "rest"

    def __init__(self, house: Carrier) -> None:
        super().__init__(house)
        self.repeats = False
        """Whether pages of the inbox repeat the last entry of the page before."""

    def routes(self) -> list[BaseRoute]:
        return [
            self.route("POST", "/rest/faxes", "send", self._send),
            self.route("GET", "/rest/faxes", "find", self._find),
            self.route("GET", "/rest/faxes/{id}", "look", self._look),
            self.route("GET", "/rest/inbox", "inbox", self._inbox),
            self.route("GET", "/rest/inbox/{id}", "fetch", self._fetch),
            self.route("DELETE", "/rest/inbox/{id}", "taken", self._taken),
        ]

    def authorized(self, request: Request, body: bytes) -> bool:
        return basic(request) == USER

    async def _send(self, request: Request, body: bytes) -> Response:
        try:
            said = json.loads(body)
            document = base64.b64decode(said["content"], validate=True)
            number = str(said["to"]).removeprefix("+")
        except (ValueError, KeyError, TypeError, binascii.Error):
            return JSONResponse({"error": "invalid"}, status_code=422)
        if not number.isdecimal():
            return JSONResponse({"error": "invalid_number"}, status_code=422)
        fax = self.house.faxes.take(self.name, number, str(said.get("tag", "")), document)
        self.house.took(fax)
        return JSONResponse(self._told(fax, fax.stages[0]), status_code=201)

    async def _find(self, request: Request, body: bytes) -> Response:
        tag = request.query_params.get("tag", "")
        now = self.house.clock()
        return JSONResponse([self._told(fax, fax.stage(now)) for fax in self.house.faxes.out if fax.reference == tag])

    async def _look(self, request: Request, body: bytes) -> Response:
        fax = self.house.faxes.get(request.path_params["id"])
        if fax is None:
            return Response(status_code=404)
        return JSONResponse(self._told(fax, fax.stage(self.house.clock())))

    async def _inbox(self, request: Request, body: bytes) -> Response:
        waiting = [fax for fax in self.house.faxes.incoming if not fax.taken]
        start = int(request.query_params.get("start", "0"))
        first = max(0, start - 1) if self.repeats else start
        listed = [{"id": fax.id, "from": fax.sender, "pages": fax.pages} for fax in waiting[first : start + PAGE]]
        more = start + PAGE < len(waiting)
        return JSONResponse({"faxes": listed, "next": str(start + PAGE) if more else None})

    async def _fetch(self, request: Request, body: bytes) -> Response:
        fax = self.house.faxes.came_in(request.path_params["id"])
        return Response(fax.document, media_type="application/pdf") if fax is not None else Response(status_code=404)

    async def _taken(self, request: Request, body: bytes) -> Response:
        fax = self.house.faxes.came_in(request.path_params["id"])
        if fax is None:
            return Response(status_code=404)
        fax.taken = True
        return Response(status_code=204)

    def _told(self, fax: Fax, stage: Stage) -> dict[str, Any]:
        pages = fax.arrived(self.house.clock())
        return {"id": fax.id, "tag": fax.reference, "state": stage.state, "why": stage.error or None, "pages_sent": pages}

    def ended(self, fax: Fax, stage: Stage) -> Iterator[Hook]:
        told = {"event": f"fax.{stage.state}", "fax": self._told(fax, stage)}
        yield self.house.signed(json.dumps(told).encode())

    def incoming(self, fax: Incoming) -> Hook:
        return self.house.signed(json.dumps({"event": "fax.received", "fax": {"id": fax.id}}).encode())
