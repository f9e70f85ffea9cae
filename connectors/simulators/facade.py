"""What all façades of all simulated partners have in common: who may ask, which fault is next, how an answer goes wrong.

class Documo(Facade[Carrier]):
    name = "documo"

    def routes(self):
        return [self.route("POST", "/v1/faxes", "send", self._send), self.route("GET", "/v1/faxes/{id}", "look", self._look)]

    async def _send(self, request: Request, body: bytes) -> Response: ...
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from connectors.simulators.faults import Fault

if TYPE_CHECKING:
    from connectors.simulators.server import Simulator

PAGE = "<!DOCTYPE html><html><body><h1>Scheduled maintenance</h1></body></html>"
"""What a partner shows to people where a program asked."""

HouseT = TypeVar("HouseT", bound="Simulator")
Handler = Callable[[Request, bytes], Awaitable[Response]]


class Facade(ABC, Generic[HouseT]):
    """One vendor's way to ask."""

    name: ClassVar[str]
    """For the ledger."""

    def __init__(self, house: HouseT) -> None:
        self.house = house

    @abstractmethod
    def routes(self) -> list[BaseRoute]: ...

    def authorized(self, request: Request, body: bytes) -> bool:
        """Whether who asks has shown who he is; by default with a token that is alive."""
        return self.house.tokens.knows(request.headers.get("authorization", "").removeprefix("Bearer "))

    def unauthorized(self) -> Response:
        return PlainTextResponse("token expired", status_code=401)

    def route(self, method: str, path: str, to: str, do: Handler) -> Route:
        """An address whose requests are done by `do`, and go wrong by the script for `to`."""

        async def asked(request: Request) -> Response:
            return await self.handled(request, to, do)

        return Route(path, asked, methods=[method])

    async def handled(self, request: Request, to: str, do: Handler) -> Response:
        """One request, from its arrival to its answer."""
        self.house.requests += 1
        if self.house.behaviour.down:
            return Hangup()
        body = await request.body()
        refused = await self.as_it_behaves(request, body)
        if refused is not None:
            return refused
        fault = self.house.faults.take(self.kind_of(to, request, body), header=request.headers.get("x-sim-script", ""))
        if fault.before_commit:
            return await self.house.misbehave(request, fault) or self.unauthorized()
        return await self.spoiled(request, fault, await do(request, body))

    def kind_of(self, to: str, request: Request, body: bytes) -> str:
        """The kind of a request, for its script; another than `to` where one address serves several."""
        return to

    async def as_it_behaves(self, request: Request, body: bytes) -> Response | None:
        """What the house does whatever it is asked."""
        behaviour = self.house.behaviour
        await asyncio.sleep(behaviour.delay)
        if behaviour.status != 200:
            return PlainTextResponse("not now", status_code=behaviour.status, headers={"Retry-After": "1"})
        if behaviour.refuse_token_once or not self.authorized(request, body):
            behaviour.refuse_token_once = False
            return self.unauthorized()
        return None

    async def spoiled(self, request: Request, fault: Fault, response: Response) -> Response:
        """An answer as a fault after the deed leaves it."""
        body = bytes(response.body)
        match fault.kind:
            case "silent after commit":
                await self.house.hold(request)
                return Hangup()
            case "status after commit":
                return with_status(fault, self.house.clock())
            case "hangup":
                return Hangup(body[: len(body) // 2])
            case "half":
                return Response(body[: len(body) // 2], response.status_code, media_type=response.media_type)
            case "twice":
                return Response(body * 2, response.status_code, media_type=response.media_type)
            case "empty":
                return HTMLResponse("")
            case "html":
                return HTMLResponse(PAGE)
            case "slow":
                await asyncio.sleep(fault.seconds or 0.0)
        return response


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
