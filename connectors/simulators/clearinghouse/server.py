"""The HTTP server of the clearinghouse: tokens, the façades, and how it behaves whatever it is asked."""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self, TypeVar
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from connectors.simulators.clearinghouse.core import CoreForm, CoreSoap
from connectors.simulators.clearinghouse.facade import Facade, Hangup, basic, with_status, without_hangups
from connectors.simulators.clearinghouse.faults import Fault, Faults
from connectors.simulators.clearinghouse.form_poll import FormPoll
from connectors.simulators.clearinghouse.json_v3 import JsonV3
from connectors.simulators.clearinghouse.ledger import Ledger
from connectors.simulators.clearinghouse.members import Member, MemberTable
from connectors.simulators.clearinghouse.raw import Raw
from connectors.simulators.clearinghouse.x12 import PAGE
from hub.console.server import Server

AnyFacade = TypeVar("AnyFacade", bound=Facade)
FACADES: tuple[type[Facade], ...] = (Raw, JsonV3, FormPoll, CoreSoap, CoreForm)
"""Every way to ask over HTTP."""


@dataclass(slots=True)
class Behaviour:
    """How the clearinghouse behaves, whatever it is asked; may be changed while it runs."""

    delay: float = 0.0
    """Seconds before each answer."""
    status: int = 200
    """Answers with this HTTP status when it is not 200."""
    down: bool = False
    """Closes every connection without an answer."""
    token_lives: float = 300.0
    """Seconds a token is good for."""
    refuse_token_once: bool = False
    """Answers 401 to the next inquiry, whatever the token."""


class Tokens:
    """The tokens that were given out, and until when each is good."""

    def __init__(self) -> None:
        self._good_until: dict[str, float] = {}
        self._numbers = itertools.count(1)

    def __len__(self) -> int:
        return len(self._good_until)

    def give(self, seconds: float) -> str:
        token = f"token-{next(self._numbers)}"
        self._good_until[token] = time.monotonic() + seconds
        return token

    def knows(self, token: str) -> bool:
        return self._good_until.get(token, 0) >= time.monotonic()

    def withdraw(self) -> None:
        """None of those given out so far is good any more."""
        self._good_until.clear()


class Clearinghouse:
    """The HTTP server: `POST /token` (OAuth2 client credentials), and the addresses of its façades."""

    def __init__(
        self,
        members: Sequence[Member] = (),
        *,
        client_id: str = "demo",
        client_secret: str = "demo-secret",
        port: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.clock = clock
        self.table = MemberTable(members, clock=clock)
        self.behaviour = Behaviour()
        self.faults = Faults()
        self.ledger = Ledger(clock)
        self.tokens = Tokens()
        self.port = port
        self.requests = 0
        """Requests to any façade, refused ones too."""
        self.under_way = 0
        """Questions that have come and are not answered yet."""
        self.credentials = (client_id, client_secret)
        self.facades = [made(self) for made in FACADES]
        self._server: Server | None = None
        self._closing = asyncio.Event()

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.base}/x12/270"

    @property
    def token_url(self) -> str:
        return f"{self.base}/token"

    def facade(self, kind: type[AnyFacade]) -> AnyFacade:
        """The façade of a class, to look at what it got or to change how it answers."""
        return next(facade for facade in self.facades if isinstance(facade, kind))

    async def __aenter__(self) -> Self:
        logging.getLogger("uvicorn.error").addFilter(without_hangups)
        routes = [Route("/token", self._token, methods=["POST"])]
        listening = socket.create_server(("127.0.0.1", self.port))  # here, because uvicorn ends the process when it cannot
        self.port = listening.getsockname()[1]
        self._server = Server([*routes, *(route for facade in self.facades for route in facade.routes())])
        await self._server.open(listening, "clearinghouse")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing.set()
        if self._server is not None:
            await self._server.close()

    def reset(self, table: MemberTable | None = None) -> None:
        """As new, with other members: for tests that share a server."""
        self.table = table or MemberTable(clock=self.clock)
        self.behaviour, self.faults, self.requests = Behaviour(), Faults(), 0
        self.ledger.clear()

    async def misbehave(self, request: Request, fault: Fault) -> Response | None:
        """The answer of a fault before anything was done; None where the façade has words of its own (401)."""
        match fault.kind:
            case "expire":
                self.tokens.withdraw()
                return None
            case "status" if fault.status != 401:
                return with_status(fault, self.clock())
            case "silent":
                await self.hold(request)
                return Hangup()
            case "drop":
                return Hangup()
            case _:
                return None

    async def hold(self, request: Request) -> None:
        """Says nothing until the other side has gone, or this one closes."""
        while not self._closing.is_set() and not await request.is_disconnected():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.02)

    async def _token(self, request: Request) -> Response:
        fault = self.faults.next_token()
        if fault.kind == "slow":
            await asyncio.sleep(fault.seconds or 0.0)
        elif fault.kind in ("html", "empty"):
            return HTMLResponse(PAGE if fault.kind == "html" else "")
        elif (wrong := await self.misbehave(request, fault)) is not None:
            return wrong
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode("utf-8", "replace")).items()}
        good = form.get("grant_type") == "client_credentials" and self._proves(request, form)
        if not good or fault.status == 401:
            return JSONResponse({"error": "invalid_client"}, status_code=401)
        lives = self.behaviour.token_lives
        return JSONResponse({"access_token": self.tokens.give(lives), "token_type": "Bearer", "expires_in": lives})

    def _proves(self, request: Request, form: dict[str, str]) -> bool:
        """Client credentials, by basic authentication or in the form."""
        in_form = f"{form.get('client_id')}:{form.get('client_secret')}"
        return ":".join(self.credentials) in (basic(request), in_form)
