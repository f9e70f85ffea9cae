"""What all façades of a clearinghouse have in common: one question in, a verdict out, and both in the ledger."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from connectors.simulators import facade
from connectors.simulators.clearinghouse.faults import Fault
from connectors.simulators.clearinghouse.inquiry import Inquiry
from connectors.simulators.clearinghouse.ledger import Entry
from connectors.simulators.clearinghouse.members import Verdict
from connectors.simulators.facade import Hangup

if TYPE_CHECKING:
    from connectors.simulators.clearinghouse.server import Clearinghouse  # noqa: F401 - in the quotes below


class Facade(facade.Facade["Clearinghouse"]):
    """One way to ask.  Most only read and write; one with several addresses adds routes of its own."""

    path: ClassVar[str]

    def routes(self) -> list[BaseRoute]:
        return [Route(self.path, self.asked, methods=["POST"])]

    @abstractmethod
    def read(self, body: bytes) -> Inquiry:
        """What a request asks; an empty Inquiry when that cannot be told."""

    @abstractmethod
    def write(self, verdict: Verdict, copies: int = 1) -> Response:
        """The answer in the form of this façade; `copies` times, where the form has a place for that."""

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
        refused = await self.as_it_behaves(request, body)
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
        if fault.kind in ("silent after commit", "status after commit", "lose"):
            self.house.ledger.ended(entry, fault.kind)
        if fault.kind == "lose":
            await self.house.hold(request)
            return Hangup()
        if fault.kind not in ("twice", "empty", "html"):  # these the façade has written itself
            response = await self.spoiled(request, fault, response)
        if fault.kind in ("silent after commit", "status after commit"):
            return response
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
