"""What all façades have in common: who may ask, which fault is next, what goes into the ledger, how an answer goes wrong."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
from abc import ABC, abstractmethod
from dataclasses import replace
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, ClassVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from connectors.simulators.clearinghouse.faults import Fault
from connectors.simulators.clearinghouse.inquiry import Inquiry
from connectors.simulators.clearinghouse.ledger import Entry
from connectors.simulators.clearinghouse.members import Verdict

if TYPE_CHECKING:
    from connectors.simulators.clearinghouse.server import Clearinghouse


class Facade(ABC):
    """One way to ask.  Most only read and write; one with several addresses adds routes of its own."""

    name: ClassVar[str]
    """For the ledger."""
    path: ClassVar[str]

    def __init__(self, house: Clearinghouse) -> None:
        self.house = house

    def routes(self) -> list[BaseRoute]:
        return [Route(self.path, self.asked, methods=["POST"])]

    @abstractmethod
    def read(self, body: bytes) -> Inquiry:
        """What a request asks; an empty Inquiry when that cannot be told."""

    @abstractmethod
    def write(self, verdict: Verdict, copies: int = 1) -> Response:
        """The answer in the form of this façade; `copies` times, where the form has a place for that."""

    def authorized(self, request: Request, body: bytes) -> bool:
        """Whether who asks has shown who he is; by default with a token that is alive."""
        return self.house.tokens.knows(request.headers.get("authorization", "").removeprefix("Bearer "))

    def unauthorized(self) -> Response:
        return PlainTextResponse("token expired", status_code=401)

    async def asked(self, request: Request) -> Response:
        """One question, from its arrival to its answer."""
        self.house.requests += 1
        if self.house.behaviour.down:
            return Hangup(b"ISA")
        self.house.under_way += 1
        try:
            return await self._answered(request, self.house.clock())
        finally:
            self.house.under_way -= 1

    async def _answered(self, request: Request, arrived: float) -> Response:
        body = await request.body()
        refused = await self._as_it_behaves(request, body)
        if refused is not None:
            return refused
        inquiry = self.read(body)
        known = self.house.table.known(inquiry)
        fault = self.house.faults.next(inquiry, request.headers.get("x-sim-script", ""), known.faults if known else ())
        entry = self.house.ledger.received(inquiry, self.name, fault, at=arrived)
        if fault.before_commit:
            return await self._not_done(request, fault, entry)
        verdict = self.house.table.decide(inquiry, fault)
        return await self._done(request, fault, entry, verdict)

    async def _as_it_behaves(self, request: Request, body: bytes) -> Response | None:
        """What the house does whatever it is asked."""
        behaviour = self.house.behaviour
        await asyncio.sleep(behaviour.delay)
        if behaviour.status != 200:
            return PlainTextResponse("not now", status_code=behaviour.status, headers={"Retry-After": "1"})
        if behaviour.refuse_token_once or not self.authorized(request, body):
            behaviour.refuse_token_once = False
            return self.unauthorized()
        return None

    async def _not_done(self, request: Request, fault: Fault, entry: Entry) -> Response:
        self.house.ledger.ended(entry, str(fault.status) if fault.kind == "status" else fault.kind)
        return await self.house.misbehave(request, fault) or self.refuse(fault)

    def refuse(self, fault: Fault) -> Response:
        """The answer to a fault for which this façade has words of its own; by default that of a token that is not known."""
        return self.unauthorized()

    async def _done(self, request: Request, fault: Fault, entry: Entry, verdict: Verdict) -> Response:
        if fault.kind == "stray":
            verdict.inquiry = _stranger(verdict.inquiry)
        response = self.write(verdict, 2 if fault.kind == "twice" else 1)
        match fault.kind:
            case "silent after commit" | "lose":
                self.house.ledger.ended(entry, fault.kind)
                await self.house.hold(request)
                return Hangup()
            case "hangup":
                response = Hangup(bytes(response.body)[: len(response.body) // 2])
            case "half":
                half = bytes(response.body)[: len(response.body) // 2]
                response = Response(half, response.status_code, media_type=response.media_type)
            case "slow":
                await asyncio.sleep(fault.seconds or 0.0)
        kept = fault.kind in ("hangup", "half", "stray")
        self.house.ledger.ended(entry, await self._nobody_waits(request) or (fault.kind if kept else verdict.end))
        return response

    async def _nobody_waits(self, request: Request) -> str:
        """The word of the ledger for an asker that has gone: its time was over, or it died."""
        return "gone" if await request.is_disconnected() else ""


def _stranger(inquiry: Inquiry) -> Inquiry:
    """Somebody else's question."""
    return replace(
        inquiry,
        control_number="999999999",
        reference="STRANGER",
        trace=["TRN", "1", "STRANGER", *inquiry.trace[3:]],
    )


def with_status(fault: Fault, now: float) -> Response:
    """An HTTP status, with Retry-After where the fault has one."""
    headers = {}
    if fault.seconds is not None:
        headers["Retry-After"] = formatdate(now + fault.seconds, usegmt=True) if fault.as_date else f"{fault.seconds:.0f}"
    return PlainTextResponse("not now", status_code=fault.status, headers=headers)


def basic(request: Request) -> str:
    """`user:password` of basic authentication."""
    way, _, text = request.headers.get("authorization", "").partition(" ")
    with contextlib.suppress(ValueError):
        return base64.b64decode(text).decode() if way.lower() == "basic" else ""
    return ""


class HungUp(ConnectionResetError):
    """Meant so: nobody need hear of it, nor of an asker that was killed."""


def without_hangups(record: logging.LogRecord) -> bool:
    """A filter for the log of the server."""
    return not (record.exc_info and isinstance(record.exc_info[1], HungUp | ClientDisconnect))


class Hangup(Response):
    """Closes the connection in the middle of the answer, or before its first byte, as a server that dies does."""

    def __init__(self, begun: bytes = b"") -> None:
        super().__init__()
        self._begun = begun

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        length = str(len(self._begun) + 1000).encode()  # the head has to be sent: without it the server makes a 500 of it
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        await send({"type": "http.response.body", "body": self._begun, "more_body": True})
        raise HungUp
