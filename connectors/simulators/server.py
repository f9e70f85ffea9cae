"""The HTTP server of a simulated partner: tokens, its façades, its faults, and how it behaves whatever it is asked.

A family is a table of the things it keeps, and façades over it:

    class Carrier(Simulator):
        name = "fax carrier"

        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            self.faxes = Faxes(self.clock)
            self.facades = [Documo(self), Srfax(self)]

    async with Carrier() as carrier:
        carrier.faults.script("503", "silent after commit", to="send")

`POST /token` gives OAuth2 tokens for client credentials.  `POST /sim/script` scripts faults from another process:
`{"words": ["503"], "to": "send"}`.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeVar
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from connectors.simulators.facade import PAGE, Facade, Hangup, basic, with_status, without_hangups
from connectors.simulators.faults import Fault, Faults, fault
from hub.console.server import Server

AnyFacade = TypeVar("AnyFacade", bound=Facade[Any])


@dataclass(slots=True)
class Behaviour:
    """How a partner behaves, whatever it is asked; may be changed while it runs."""

    delay: float = 0.0
    """Seconds before each answer."""
    status: int = 200
    """Answers with this HTTP status when it is not 200."""
    down: bool = False
    """Closes every connection without an answer."""
    token_lives: float = 300.0
    """Seconds a token is good for."""
    refuse_token_once: bool = False
    """Answers 401 to the next request, whatever the token."""


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


class Simulator:
    """A partner on a port of this machine.  Subclasses set `facades` and keep their table."""

    name: ClassVar[str] = "simulator"

    def __init__(
        self,
        *,
        client_id: str = "demo",
        client_secret: str = "demo-secret",
        port: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.clock = clock
        self.behaviour = Behaviour()
        self.faults: Faults[Any] = Faults(fault)
        self.tokens = Tokens()
        self.port = port
        """0 for any that is free; then the one that was taken."""
        self.requests = 0
        """Requests to any façade, refused ones too."""
        self.credentials = (client_id, client_secret)
        self.facades: Sequence[Facade[Any]] = ()
        self._server: Server | None = None
        self._closing = asyncio.Event()

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def token_url(self) -> str:
        return f"{self.base}/token"

    def facade(self, kind: type[AnyFacade]) -> AnyFacade:
        """The façade of a class, to look at what it got or to change how it answers."""
        return next(facade for facade in self.facades if isinstance(facade, kind))

    def routes(self) -> list[BaseRoute]:
        """Every address: tokens, the control of faults, and those of the façades."""
        own = [
            Route("/token", self._token, methods=["POST"]),
            Route("/sim/script", self._script, methods=["POST"]),
        ]
        return [*own, *(route for facade in self.facades for route in facade.routes())]

    async def __aenter__(self) -> Self:
        logging.getLogger("uvicorn.error").addFilter(without_hangups)
        listening = socket.create_server(("127.0.0.1", self.port))  # here, because uvicorn ends the process when it cannot
        self.port = listening.getsockname()[1]
        self._server = Server(self.routes())
        await self._server.open(listening, self.name)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing.set()
        if self._server is not None:
            await self._server.close()

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

    async def _script(self, request: Request) -> Response:
        said = await request.json()
        try:
            self.faults.script(*said.get("words", []), to=said.get("to", ""))
        except ValueError as error:
            return PlainTextResponse(str(error), status_code=400)
        return PlainTextResponse("ok")

    async def _token(self, request: Request) -> Response:
        fault = self.faults.take_own("token")
        if fault.kind == "slow":
            await asyncio.sleep(fault.seconds or 0.0)
        elif fault.kind in ("html", "empty"):
            return HTMLResponse(PAGE if fault.kind == "html" else "")
        elif (wrong := await self.misbehave(request, fault)) is not None:
            return wrong
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode("utf-8", "replace")).items()}
        if not self.gives_token(request, form) or fault.status == 401:
            return JSONResponse({"error": "invalid_client"}, status_code=401)
        lives = self.behaviour.token_lives
        return JSONResponse({"access_token": self.tokens.give(lives), "token_type": "Bearer", "expires_in": lives})

    def gives_token(self, request: Request, form: dict[str, str]) -> bool:
        """Client credentials, by basic authentication or in the form."""
        in_form = f"{form.get('client_id')}:{form.get('client_secret')}"
        return form.get("grant_type") == "client_credentials" and ":".join(self.credentials) in (basic(request), in_form)
