"""Façade: a form is posted and taken with an id, the coverage is fetched under it once the payer has answered, and deleted.

Failures of the post are those of all façades (`house.faults`); those of looks have a script of their own:

    polls = house.facade(FormPoll)
    polls.looks = 2                       so many looks find nothing yet (202), the first with status 0, the others R1, R2
    polls.script("503", "expire", "gone", "pending")
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from connectors.simulators.clearinghouse import x12
from connectors.simulators.clearinghouse.facade import Facade
from connectors.simulators.clearinghouse.faults import FINE, Fault, fault
from connectors.simulators.clearinghouse.inquiry import Inquiry
from connectors.simulators.clearinghouse.members import Verdict
from connectors.simulators.clearinghouse.rendered_coverage import rendered
from connectors.simulators.facade import Hangup

if TYPE_CHECKING:
    from connectors.simulators.clearinghouse.server import Clearinghouse

MOCK = "X-Api-Mock-Response"
GONE = Fault("status", 404)
_RETRYING = ("0", "R1", "R2")


@dataclass(slots=True)
class Coverage:
    """One question that was taken."""

    verdict: Verdict
    looks_left: int
    looks: int = 0
    deleted: bool = False


class FormPoll(Facade):
    """`POST /v1/coverages`, `GET` and `DELETE /v1/coverages/{id}`."""

    name: ClassVar[str] = "form_poll"
    path: ClassVar[str] = "/v1/coverages"

    def __init__(self, house: Clearinghouse) -> None:
        super().__init__(house)
        self.production = False
        """Real answers do not say that they are invented ones."""
        self.looks = 1
        """Looks that find nothing yet."""
        self.coverages: dict[str, Coverage] = {}
        self._numbers = itertools.count(1000)
        self._next: deque[Fault] = deque()

    def script(self, *words: str) -> None:
        """For the next looks: words of faults.py, `gone` (404), or `pending` (200 with a status that means not yet)."""
        special = {"gone": GONE, "pending": Fault("slow", seconds=-1.0)}
        self._next += [special.get(word) or fault(word) for word in words]

    def routes(self) -> list[BaseRoute]:
        one = self.path + "/{id}"
        return [
            Route(self.path, self.asked, methods=["POST"]),
            Route(one, self._look, methods=["GET"]),
            Route(one, self._delete, methods=["DELETE"]),
        ]

    # Posting.

    async def asked(self, request: Request) -> Response:
        wrong = _wrong_fields(_form(await request.body()))
        if wrong and not self.house.behaviour.down:
            self.house.requests += 1
            errors = [{"field": field, "code": "INVALID", "errorMessage": "is missing or has a wrong form"} for field in wrong]
            said = {"statusCode": 400, "reasonCode": 0, "userMessage": "Validation failed", "errors": errors}
            return self._marked(JSONResponse(said, status_code=400))
        return self._marked(await super().asked(request))

    def read(self, body: bytes) -> Inquiry:
        form = _form(body)
        patient = (
            form.get("patientFirstName", ""),
            form.get("patientLastName", ""),
            form.get("patientBirthDate", "").replace("-", ""),
        )
        own = form.get("subscriberRelationship", "18") == "18"
        given, family, born = patient
        return Inquiry.about(
            form.get("payerId", ""),
            form.get("memberId", ""),
            family=family if own else "",
            given=given if own else "",
            birth_date=born if own else "",
            dependent=None if own else patient,
            control_number=f"{next(self._numbers):09d}",
            service_date=form.get("asOfDate", "").replace("-", ""),
            service_types=parse_qs(body.decode("utf-8", "replace")).get("serviceType", ["30"]),
            npi=form.get("providerNpi", ""),
        )

    def write(self, verdict: Verdict, copies: int = 1) -> Response:
        if verdict.kind in ("html", "empty"):
            return HTMLResponse(x12.PAGE if verdict.kind == "html" else "")
        id = f"{next(self._numbers)}"
        self.coverages[id] = Coverage(verdict, self.looks)
        said = {"id": id, "status": "In Progress", "statusCode": "0", "links": None}
        return JSONResponse(said, status_code=202, headers={"Location": f"{self.path}/{id}"})

    # Looking.

    async def _look(self, request: Request) -> Response:
        self.house.requests += 1
        wrong = await self._wrong(request)
        if isinstance(wrong, Response):
            return wrong
        found = self.coverages.get(request.path_params["id"])
        if found is None or found.deleted:
            return self._marked(JSONResponse({"statusCode": 404, "userMessage": "not found", "errors": []}, status_code=404))
        found.looks += 1
        if found.looks_left or wrong.seconds == -1.0:
            code = _RETRYING[min(found.looks - 1, 2)]
            found.looks_left = max(0, found.looks_left - 1)
            said = {"id": request.path_params["id"], "statusCode": code, "status": "In Progress", "plans": None}
            return self._marked(JSONResponse(said, status_code=200 if wrong.seconds == -1.0 else 202))
        response = self._marked(JSONResponse(self._coverage(request.path_params["id"], found.verdict)))
        if wrong.kind in ("hangup", "half"):
            half = bytes(response.body)[: len(response.body) // 2]
            return Hangup(half) if wrong.kind == "hangup" else self._marked(Response(half, media_type="application/json"))
        return response

    async def _wrong(self, request: Request) -> Response | Fault:
        """What goes wrong with a look before anything is looked up; a fault that spoils the answer goes on."""
        behaviour = self.house.behaviour
        if behaviour.down:
            return Hangup()
        if behaviour.status != 200:
            return Response("not now", status_code=behaviour.status)
        if not self.authorized(request, b""):
            return self.unauthorized()
        found = self._next.popleft() if self._next else FINE
        if found is GONE:
            self.coverages.pop(request.path_params["id"], None)
        elif found.kind in ("html", "empty"):
            return HTMLResponse(x12.PAGE if found.kind == "html" else "")
        elif found.before_commit:
            return await self.house.misbehave(request, found) or self.unauthorized()
        elif found.kind == "slow" and found.seconds and found.seconds > 0:
            await asyncio.sleep(found.seconds)
        return found

    def _coverage(self, id: str, verdict: Verdict) -> dict[str, Any]:
        if verdict.kind != "271":
            return {"id": id, "statusCode": "13", "status": "Communication Error", "plans": None, "validationMessages": []}
        return rendered(x12.transaction_271(verdict, self.house.clock()), id)

    async def _delete(self, request: Request) -> Response:
        found = self.coverages.get(request.path_params["id"])
        if not self.authorized(request, b""):
            return self.unauthorized()
        if found is None or found.deleted:
            return self._marked(Response(status_code=404))
        found.deleted = True
        return self._marked(Response(status_code=204))

    def _marked(self, response: Response) -> Response:
        if not self.production:
            response.headers[MOCK] = "true"
        return response


def _form(body: bytes) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}


def _wrong_fields(form: dict[str, str]) -> list[str]:
    """As such services check: a payer, a provider, somebody to look for, days with dashes."""
    wrong = [name for name in ("payerId", "providerNpi") if not form.get(name)]
    wrong += [] if form.get("memberId") or form.get("patientLastName") else ["memberId"]
    days = ("patientBirthDate", "asOfDate", "toDate")
    return wrong + [name for name in days if not re.fullmatch(r"(\d{4}-\d\d-\d\d)?", form.get(name, ""))]
