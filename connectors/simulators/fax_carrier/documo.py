"""Façade: a form of several parts with an API key (`Authorization: Basic KEY`, not Base64), webhooks for every end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from connectors.simulators.facade import Facade
from connectors.simulators.fax_carrier.faxes import Fax, Incoming, Stage
from connectors.simulators.hooks import Hook
from hub.net.multipart import MultipartUnusable, read_parts

if TYPE_CHECKING:
    from connectors.simulators.fax_carrier.carrier import Carrier  # noqa: F401 - in the quotes below

API_KEY = "documo-key"
_CODES = {"busy": "17", "no_answer": "18", "partial": "29", "bad_number": "1", "refused": "21", "late": "99"}
"""`errorCode`: numbers of this simulator, which are Q.850's where that has one."""


class Documo(Facade["Carrier"]):
    """`POST /documo/v1/faxes`, `GET /documo/v1/fax/{id}/info` and `/download`."""

    name: ClassVar[str] = "documo"

    def routes(self) -> list[BaseRoute]:
        return [
            self.route("POST", "/documo/v1/faxes", "send", self._send),
            self.route("GET", "/documo/v1/fax/{id}/info", "look", self._look),
            self.route("GET", "/documo/v1/fax/{id}/download", "fetch", self._download),
        ]

    def authorized(self, request: Request, body: bytes) -> bool:
        return request.headers.get("authorization") == f"Basic {API_KEY}"

    def unauthorized(self) -> Response:
        return JSONResponse({"error": {"name": "UnauthorizedError", "message": "Invalid API key"}}, status_code=401)

    async def _send(self, request: Request, body: bytes) -> Response:
        try:
            parts = read_parts(body, request.headers.get("content-type", ""))
        except MultipartUnusable as error:
            return _wrong(str(error))
        fields = {part.name: part.body.decode("utf-8", "replace") for part in parts if part.name != "attachments"}
        document = next((part.body for part in parts if part.name == "attachments"), b"")
        number = fields.get("faxNumber", "")
        if not (number.isdecimal() and len(number) >= 8):
            return _wrong("faxNumber has to be digits with the country code")
        if not document:
            return _wrong("attachments are missing")
        fax = self.house.faxes.take(self.name, number, fields.get("subject", ""), document, fields)
        self.house.took(fax)
        return JSONResponse(self._told(fax, fax.stages[0]))

    async def _look(self, request: Request, body: bytes) -> Response:
        fax = self.house.faxes.get(request.path_params["id"])
        if fax is None:
            return JSONResponse({"error": {"name": "NotFoundError"}}, status_code=404)
        return JSONResponse(self._told(fax, fax.stage(self.house.clock())))

    async def _download(self, request: Request, body: bytes) -> Response:
        fax = self.house.faxes.came_in(request.path_params["id"])
        if fax is None:
            return JSONResponse({"error": {"name": "NotFoundError"}}, status_code=404)
        fax.taken = True
        return Response(fax.document, media_type="application/pdf")

    def _told(self, fax: Fax, stage: Stage) -> dict[str, Any]:
        words = {"queued": "queued", "sending": "processing", "sent": "success", "failed": "failed"}
        return {
            "messageId": fax.id,
            "status": words[stage.state],
            "faxNumber": fax.to,
            "direction": "outbound",
            "pagesCount": fax.pages,
            "pagesComplete": fax.arrived(self.house.clock()),
            "errorCode": _CODES.get(stage.error),
            "resultCode": "0" if stage.state == "sent" else None,
        }

    # Webhooks.

    def ended(self, fax: Fax, stage: Stage) -> Iterator[Hook]:
        """Two for each end, as the vendor does: one for what it was, and `.complete`."""
        body = json.dumps(self._told(fax, stage)).encode()
        for event in ("succeed" if stage.state == "sent" else "failed", "complete"):
            yield self.house.signed(body, **{"X-Webhook-Event": f"fax.v1.outbound.{event}"})

    def incoming(self, fax: Incoming) -> Hook:
        told = {
            "messageId": fax.id,
            "status": "success",
            "direction": "inbound",
            "pagesCount": fax.pages,
            "faxCallerId": fax.sender.removeprefix("+"),
        }
        return self.house.signed(json.dumps(told).encode(), **{"X-Webhook-Event": "fax.v1.inbound.complete"})


def _wrong(text: str) -> Response:
    return JSONResponse({"error": {"name": "ValidationError", "message": text}}, status_code=400)
