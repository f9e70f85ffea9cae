"""Twilio's façade: `Messages.json` and `Calls.json`, forms in, JSON out, and webhooks that are signed forms."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit
from xml.etree import ElementTree as ET

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from connectors.simulators.facade import Facade, basic
from connectors.simulators.hooks import Hook

if TYPE_CHECKING:
    from connectors.simulators.phone_network.network import PhoneNetwork, Thing  # noqa: F401 - PhoneNetwork stands in the base

OWN_NUMBER = "+13125550100"


def signature(token: str, url: str, form: Mapping[str, str]) -> str:
    """`X-Twilio-Signature` of a form: the address and all fields by name, HMAC-SHA1, Base64."""
    signed = url + "".join(f"{name}{form[name]}" for name in sorted(form))
    return base64.b64encode(hmac.new(token.encode(), signed.encode(), hashlib.sha1).digest()).decode()


class Twilio(Facade["PhoneNetwork"]):
    name = "twilio"

    def routes(self) -> list[BaseRoute]:
        account = "/2010-04-01/Accounts/{account}"
        return [
            self.route("POST", f"{account}/Messages.json", "send", self._text),
            self.route("GET", f"{account}/Messages/{{id}}.json", "look", self._look),
            self.route("POST", f"{account}/Calls.json", "send", self._call),
            self.route("GET", f"{account}/Calls/{{id}}.json", "look", self._look),
        ]

    def authorized(self, request: Request, body: bytes) -> bool:
        self.house.received.append(body)
        return basic(request) == ":".join(self.house.credentials)

    def unauthorized(self) -> Response:
        return JSONResponse({"code": 20003, "message": "Authenticate", "status": 401}, status_code=401)

    # Orders.

    async def _text(self, request: Request, body: bytes) -> Response:
        form = _form(body)
        if (wrong := self._refuses(form, "Body")) is not None:
            return wrong
        person = self.house.person(form["To"])
        if person.opted_out:
            return _error(21610, "Attempt to send to unsubscribed recipient")
        if person.text == "invalid":
            return _error(21211, "Invalid 'To' Phone Number")
        callback = form.get("StatusCallback", "")
        thing = self.house.take("text", to=form["To"], words=form["Body"], callback=callback, reference=_reference(callback))
        return JSONResponse(self._shown(thing), status_code=201)

    async def _call(self, request: Request, body: bytes) -> Response:
        form = _form(body)
        if (wrong := self._refuses(form, "Twiml")) is not None:
            return wrong
        if len(form["Twiml"]) > 4000:
            return _error(21602, "Twiml is too long")
        try:
            said = ET.fromstring(form["Twiml"])  # noqa: S314 - what a test of ours has written
        except ET.ParseError:
            return _error(12100, "Document parse failure")
        gather = said.find("Gather")
        words = " ".join(" ".join((say.text or "") for say in said.iter("Say")).split())
        action = gather.get("action", "") if gather is not None else ""
        callback = form.get("StatusCallback", "")
        what = {
            "to": form["To"],
            "words": words,
            "callback": callback,
            "action": action,
            "reference": _reference(callback or action),
        }
        return JSONResponse(self._shown(self.house.take("call", **what)), status_code=201)

    def _refuses(self, form: Mapping[str, str], content: str) -> Response | None:
        if not form.get("To", "").startswith("+"):
            return _error(21211, "Invalid 'To' Phone Number")
        if not form.get("From"):
            return _error(21603, "A 'From' phone number is required")
        return None if form.get(content) else _error(21602, f"{content} is required")

    async def _look(self, request: Request, body: bytes) -> Response:
        thing = next((t for t in self.house.things if t.id == request.path_params["id"]), None)
        if thing is None:
            return JSONResponse({"code": 20404, "message": "not found", "status": 404}, status_code=404)
        return JSONResponse(self._shown(thing))

    def _shown(self, thing: Thing) -> dict[str, Any]:
        return {
            "sid": thing.id,
            "account_sid": self.house.credentials[0],
            "to": thing.to,
            "from": OWN_NUMBER,
            "status": thing.state,
            "error_code": int(thing.code) if thing.code else None,
        }

    # Webhooks.

    def tell(self, thing: Thing) -> None:
        if not thing.callback:
            return
        name = "Message" if thing.kind == "text" else "Call"
        form = {f"{name}Sid": thing.id, f"{name}Status": thing.state, "To": thing.to, "From": OWN_NUMBER}
        if thing.code:
            form["ErrorCode"] = thing.code
        self._post(thing.callback, form)

    def pressed(self, thing: Thing, digit: str) -> None:
        if thing.action:
            self._post(thing.action, {"CallSid": thing.id, "Digits": digit, "To": thing.to, "From": OWN_NUMBER})

    def brings(self, number: str, text: str) -> None:
        if self.house.reply_url:
            id = (
                f"SM{hashlib.md5(f'{number}{text}{len(self.house.hooks.answers)}'.encode(), usedforsecurity=False).hexdigest()}"
            )
            self._post(
                self.house.reply_url, {"MessageSid": id, "From": number, "To": OWN_NUMBER, "Body": text, "NumMedia": "0"}
            )

    def _post(self, url: str, form: dict[str, str]) -> None:
        form = {"AccountSid": self.house.credentials[0], **form}
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Twilio-Signature": signature(self.house.credentials[1], url, form),
        }
        forged = {"X-Twilio-Signature": signature("another token", url, form)}
        self.house.hooks.tell(Hook(urlencode(form).encode(), headers, url=url, forged=forged))


def _form(body: bytes) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}


def _reference(url: str) -> str:
    return parse_qs(urlsplit(url).query).get("thing", [""])[0]


def _error(code: int, message: str) -> Response:
    return JSONResponse({"code": code, "message": message, "status": 400}, status_code=400)
