"""The web server of a hub's own pages, and of the simulators: routes of Starlette, served by hub.net.server."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.routing import BaseRoute

from hub.net.server import Server as AnyServer


class Server(AnyServer):
    """Answers routes on a socket that is open already."""

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        super().__init__(Starlette(routes=list(routes)))
