"""Façade: a question as JSON (eligibility v3), with an OAuth2 token or an API key; rejections come with HTTP 200."""

from __future__ import annotations

import json
import re
from typing import Any, ClassVar

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from connectors.simulators.clearinghouse import x12
from connectors.simulators.clearinghouse.facade import Facade
from connectors.simulators.clearinghouse.inquiry import Inquiry
from connectors.simulators.clearinghouse.members import Verdict
from connectors.simulators.clearinghouse.rendered_v3 import rendered

API_KEY = "simulator-key"
"""What may stand in `Authorization` in place of a token."""


class JsonV3(Facade):
    """`POST /medicalnetwork/eligibility/v3`, and the same under `/change`."""

    name: ClassVar[str] = "json_v3"
    path: ClassVar[str] = "/medicalnetwork/eligibility/v3"
    with_x12 = False
    """Whether answers carry the 271 they are made of."""

    def routes(self) -> list[BaseRoute]:
        paths = [before + self.path + after for before in ("", "/change") for after in ("", "/")]
        return [Route(path, self.asked, methods=["POST"]) for path in paths]

    def authorized(self, request: Request, body: bytes) -> bool:
        return request.headers.get("authorization") == API_KEY or super().authorized(request, body)

    async def asked(self, request: Request) -> Response:
        wrong = _wrong_fields(_object(await request.body()))
        if wrong and not self.house.behaviour.down:
            self.house.requests += 1
            errors = [{"field": field, "description": "is missing or has a wrong form", "code": "INVALID"} for field in wrong]
            return JSONResponse({"status": "VALIDATION_FAILED", "errors": errors}, status_code=400)
        return await super().asked(request)

    def read(self, body: bytes) -> Inquiry:
        said = _object(body)
        subscriber, provider, encounter = (said.get(name, {}) for name in ("subscriber", "provider", "encounter"))
        child = next(iter(said.get("dependents", [])), None)
        found = Inquiry.about(
            said.get("tradingPartnerServiceId", ""),
            subscriber.get("memberId", ""),
            family=subscriber.get("lastName", ""),
            given=subscriber.get("firstName", ""),
            birth_date=subscriber.get("dateOfBirth", ""),
            dependent=(child.get("firstName", ""), child.get("lastName", ""), child.get("dateOfBirth", "")) if child else None,
            control_number=said.get("controlNumber", ""),
            service_date=encounter.get("dateOfService", encounter.get("beginningDateOfService", "")),
            service_types=encounter.get("serviceTypeCodes", ["30"]),
            npi=provider.get("npi", ""),
        )
        found.payer_name = said.get("tradingPartnerName", "PAYER")
        return found

    def write(self, verdict: Verdict, copies: int = 1) -> Response:
        if verdict.kind in ("html", "empty"):
            return HTMLResponse(x12.PAGE if verdict.kind == "html" else "")
        said = self._said(verdict)
        if self.with_x12 or verdict.kind == "TA1":
            said["x12"] = self.house.table.write(verdict)
        return JSONResponse(said)

    def _said(self, verdict: Verdict) -> dict[str, Any]:
        inquiry = verdict.inquiry
        if verdict.kind == "271":
            return rendered(x12.transaction_271(verdict, self.house.clock()), inquiry.control_number, inquiry.payer)
        verdict_on_form = {"transactionSetAcknowledgement": "Rejected"} if verdict.kind == "999" else {}
        return {
            "controlNumber": inquiry.control_number,
            "tradingPartnerServiceId": inquiry.payer,
            "errors": [],
            **verdict_on_form,
        }


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _wrong_fields(said: dict[str, Any]) -> list[str]:
    """As the vendors check: nine digits, a payer, somebody to look for, days without dashes."""
    wrong = [] if re.fullmatch(r"\d{9}", str(said.get("controlNumber", ""))) else ["controlNumber"]
    wrong += [name for name in ("tradingPartnerServiceId", "subscriber") if not said.get(name)]
    people = [said.get("subscriber") or {}, *said.get("dependents", [])]
    wrong += ["dateOfBirth" for one in people if not re.fullmatch(r"(\d{8})?", one.get("dateOfBirth", ""))]
    return wrong
