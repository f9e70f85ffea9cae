"""RingCentral's façade: texts as JSON, states from the message store.  Calls are not offered there for reminders."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from connectors.simulators.facade import Facade

if TYPE_CHECKING:
    from connectors.simulators.phone_network.network import PhoneNetwork, Thing  # noqa: F401 - PhoneNetwork stands in the base

WORDS = {"queued": "Queued", "sent": "Sent", "delivered": "Delivered", "undelivered": "DeliveryFailed"}


class RingCentral(Facade["PhoneNetwork"]):
    name = "ringcentral"

    def routes(self) -> list[BaseRoute]:
        extension = "/restapi/v1.0/account/~/extension/~"
        return [
            self.route("POST", f"{extension}/sms", "send", self._text),
            self.route("GET", f"{extension}/message-store/{{id}}", "look", self._look),
        ]

    async def _text(self, request: Request, body: bytes) -> Response:
        self.house.received.append(body)
        said = json.loads(body)
        number = said["to"][0]["phoneNumber"]
        person = self.house.person(number)
        if person.opted_out:
            return _error("MSG-304", "Recipient has opted out")
        if person.text == "invalid":
            return _error("MSG-246", "Sending SMS to this number is not available")
        return JSONResponse(self._shown(self.house.take("text", to=number, words=said["text"])))

    async def _look(self, request: Request, body: bytes) -> Response:
        thing = next((t for t in self.house.things if t.id == request.path_params["id"]), None)
        if thing is None:
            return JSONResponse({"errorCode": "CMN-102", "message": "not found"}, status_code=404)
        return JSONResponse(self._shown(thing))

    def _shown(self, thing: Thing) -> dict[str, Any]:
        return {
            "id": thing.id,
            "to": [{"phoneNumber": thing.to, "errorCode": thing.code or None}],
            "direction": "Outbound",
            "messageStatus": WORDS.get(thing.state, thing.state),
        }


def _error(code: str, message: str) -> Response:
    return JSONResponse({"errorCode": code, "message": message}, status_code=400)
