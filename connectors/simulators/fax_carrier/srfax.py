"""Façade: one address for all; what is asked stands in the body with account and password, and every answer has HTTP 200."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from connectors.simulators.facade import Facade
from connectors.simulators.fax_carrier.faxes import Fax, Incoming, Stage
from connectors.simulators.hooks import Hook

if TYPE_CHECKING:
    from connectors.simulators.fax_carrier.carrier import Carrier  # noqa: F401 - in the quotes below

ACCOUNT = ("12345", "srfax-password")
PATH = "/SRF_SecWebSvc.php"
KINDS = {
    "Queue_Fax": "send",
    "Get_FaxStatus": "look",
    "Get_Fax_Outbox": "find",
    "Get_Fax_Inbox": "inbox",
    "Retrieve_Fax": "fetch",
    "Update_Viewed_Status": "taken",
}
_ERRORS = {
    "busy": "User Busy",
    "no_answer": "No Answer",
    "partial": "Transmission Interrupted: 1",
    "bad_number": "Invalid Number",
    "refused": "Call Rejected",
    "late": "Unknown Error",
}
_STATES = {"queued": "In Progress", "sending": "In Progress", "sent": "Sent", "failed": "Failed"}


class Srfax(Facade["Carrier"]):
    """`POST /SRF_SecWebSvc.php`."""

    name: ClassVar[str] = "srfax"

    def routes(self) -> list[BaseRoute]:
        return [self.route("POST", PATH, "srfax", self._asked)]

    def authorized(self, request: Request, body: bytes) -> bool:
        return True  # account and password stand in the body; a wrong one is answered with HTTP 200

    def unauthorized(self) -> Response:
        return _failed("Invalid Access Code / Password")

    def kind_of(self, to: str, request: Request, body: bytes) -> str:
        return KINDS.get(_fields(request, body).get("action", ""), "srfax")

    async def _asked(self, request: Request, body: bytes) -> Response:
        said = _fields(request, body)
        if (said.get("access_id"), said.get("access_pwd")) != ACCOUNT:
            return self.unauthorized()
        match said.get("action"):
            case "Queue_Fax":
                return self._queue(said)
            case "Get_FaxStatus":
                fax = self.house.faxes.get(said.get("sFaxDetailsID", ""))
                return _success(self._told(fax)) if fax else _failed("Invalid FaxDetailsID")
            case "Get_Fax_Outbox":
                return _success([self._told(fax) for fax in self.house.faxes.out if fax.facade == self.name])
            case "Get_Fax_Inbox":
                return _success([_listed(fax) for fax in self.house.faxes.incoming if not fax.taken])
            case "Retrieve_Fax":
                found = self.house.faxes.came_in(said.get("sFaxDetailsID", ""))
                return _success(base64.b64encode(found.document).decode()) if found else _failed("Invalid Fax")
            case "Update_Viewed_Status":
                found = self.house.faxes.came_in(said.get("sFaxDetailsID", ""))
                if found is not None:
                    found.taken = said.get("sMarkasViewed") == "Y"
                return _success("") if found else _failed("Invalid Fax")
            case _:
                return _failed("Invalid action")

    def _queue(self, said: dict[str, str]) -> Response:
        number, reference = said.get("sToFaxNumber", ""), said.get("sAccountCode", "")
        if not (number.isdecimal() and len(number) == 11):
            return _failed("Invalid Fax Number / has to be 11 digits")
        if len(reference) > 20:
            return _failed("sAccountCode is longer than 20 characters")
        if not (said.get("sCallerID", "").isdecimal() and said.get("sSenderEmail") and said.get("sFaxType") == "SINGLE"):
            return _failed("sCallerID, sSenderEmail or sFaxType is missing")
        try:
            document = base64.b64decode(said.get("sFileContent_1", ""), validate=True)
        except binascii.Error:
            document = b""
        if not document or not said.get("sFileName_1"):
            return _failed("No valid file")
        rest = {name: value for name, value in said.items() if name != "sFileContent_1"}
        fax = self.house.faxes.take(self.name, number, reference, document, rest)
        self.house.took(fax)
        return _success(fax.id)

    def _told(self, fax: Fax) -> dict[str, Any]:
        stage = fax.stage(self.house.clock())
        return {
            "FileName": f"{fax.reference}|{fax.id}",
            "SentStatus": _STATES[stage.state],
            "AccountCode": fax.reference,
            "Pages": str(fax.arrived(self.house.clock())),
            "ToFaxNumber": fax.to,
            "ErrorCode": _ERRORS.get(stage.error, ""),
        }

    # Webhooks: a hint without any signature.

    def ended(self, fax: Fax, stage: Stage) -> Iterator[Hook]:
        body = f"FaxDetailsID={fax.id}&SentStatus={_STATES[stage.state]}".replace(" ", "+").encode()
        yield Hook(body, {"Content-Type": "application/x-www-form-urlencoded"})

    def incoming(self, fax: Incoming) -> None:
        """Of those the hub hears by looking."""


def _fields(request: Request, body: bytes) -> dict[str, str]:
    if "json" in request.headers.get("content-type", ""):
        try:
            return {name: str(value) for name, value in json.loads(body).items()}
        except ValueError:
            return {}
    return {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}


def _listed(fax: Incoming) -> dict[str, Any]:
    return {
        "FileName": f"20261125-{fax.id}|{fax.id}",
        "CallerID": fax.sender.removeprefix("+"),
        "Pages": str(fax.pages),
        "Size": str(len(fax.document)),
        "ViewedStatus": "N",
    }


def _success(result: Any) -> Response:
    return JSONResponse({"Status": "Success", "Result": result})


def _failed(text: str) -> Response:
    return JSONResponse({"Status": "Failed", "Result": text})
