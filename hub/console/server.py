"""uvicorn in a hub: it starts and stops with what it is part of, and knows nothing of signals."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Sequence

import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute

STOP_WITHIN = 3.0
"""Seconds requests that are under way have when it ends."""


class Server:
    """Answers on a socket that is open already: uvicorn would end the process when it cannot open one."""

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        app = Starlette(routes=list(routes))
        self._server = _Quiet(uvicorn.Config(app, log_config=None, lifespan="off", access_log=False))
        self._task: asyncio.Task[None] | None = None

    async def open(self, listening: socket.socket, name: str) -> None:
        """Returns when it answers."""
        _without_delay(listening)
        self._task = asyncio.create_task(self._server.serve(sockets=[listening]), name=name)
        while not self._server.started and not self._task.done():  # noqa: ASYNC110 - uvicorn has no event to wait for
            await asyncio.sleep(0.005)

    async def close(self) -> None:
        self._server.should_exit = True
        if self._task is not None:
            await asyncio.wait([self._task], timeout=STOP_WITHIN)


def _without_delay(listening: socket.socket) -> None:
    """Head and body of an answer are two writes: Nagle's algorithm keeps the body back until the head is acknowledged, which
    takes most systems 40 ms.  asyncio sees to that itself only where a socket was made with the protocol named.
    """
    if listening.family in (socket.AF_INET, socket.AF_INET6):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what it accepts inherits it


class _Quiet(uvicorn.Server):
    """Without its own idea of signals: the hub decides when to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
