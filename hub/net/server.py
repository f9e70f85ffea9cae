"""uvicorn in a hub: it starts and stops with what it is part of, knows nothing of signals, and waits for nobody for long.

The home of uvicorn.  `Limits` are for servers that strangers reach: how many connections there may be, and how long one may
take to say what it wants.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from hub.net.tls import is_pinned

STOP_WITHIN = 3.0
"""Seconds requests that are under way have when it ends."""
LARGEST_HEAD = 32 * 1024
"""Bytes of the request line and headers together; a longer head is answered 400."""
IDLE = 30
"""Seconds a connection that was used may wait for its next request."""


@dataclass(slots=True)
class Limits:
    """What strangers get; may be changed while it runs."""

    connections: int = 1000
    """At once.  One more takes the place of the oldest that asks nothing at this moment; when all do, it is closed."""
    head: float = 10.0
    """Seconds a connection may take until a request has begun: its head is there, whole."""
    pins: Sequence[str] = ()
    """Only clients with one of these certificates; all when empty."""


class Server:
    """Answers on a socket that is open already: uvicorn would end the process when it cannot open one."""

    def __init__(self, app: Any, *, limits: Limits | None = None, tls: ssl.SSLContext | None = None) -> None:
        config = uvicorn.Config(app, log_config=None, lifespan="off", access_log=False)
        if limits is not None:
            config.http, config.ws, config.proxy_headers, config.server_header = _limited(limits), "none", False, False
            config.h11_max_incomplete_event_size, config.timeout_keep_alive = LARGEST_HEAD, IDLE
        config.load()
        config.ssl = tls
        self._server = _Quiet(config)
        self._task: asyncio.Task[None] | None = None

    async def open(self, listening: socket.socket, name: str) -> None:
        """Returns when it answers."""
        _without_delay(listening)
        self._task = asyncio.create_task(self._server.serve(sockets=[listening]), name=name)
        while not self._server.started and not self._task.done():  # noqa: ASYNC110 - uvicorn has no event to wait for
            await asyncio.sleep(0.005)

    async def close(self, within: float = STOP_WITHIN) -> None:
        """Ends; what is under way after so many seconds is cut off."""
        self._server.should_exit = True
        if self._task is None:
            return
        _, running = await asyncio.wait([self._task], timeout=within)
        if running:
            self._server.cut_off()
            await asyncio.wait([self._task], timeout=0.5)


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

    def cut_off(self) -> None:
        """Nobody is waited for any more."""
        self.force_exit = True
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        for task in list(self.server_state.tasks):
            task.cancel()


def _limited(limits: Limits) -> type[H11Protocol]:
    """The protocol of a connection, with limits uvicorn has none of."""

    there: dict[Limited, None] = {}
    """All connections, the oldest first."""

    class Limited(H11Protocol):
        _clock: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.app_state = {**self.app_state, "hang_up": self._hang_up}
            pinned = is_pinned(limits.pins, transport.get_extra_info("ssl_object"))
            if not pinned or not self._finds_room():
                transport.abort()
                return
            there[self] = None
            self._start_clock()

        def _finds_room(self) -> bool:
            """Who only holds a connection does not keep others out."""
            if len(there) < limits.connections:
                return True
            idle = next((other for other in there if not other.asks), None)
            if idle is not None:
                del there[idle]
                idle.transport.abort()
            return idle is not None

        @property
        def asks(self) -> bool:
            """A request has begun and is not answered yet."""
            request: Any = self.cycle  # None before the first, which uvicorn's types do not say
            return request is not None and not request.response_complete

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.asks:
                self._stop_clock()
            else:
                self._start_clock()

        def connection_lost(self, exc: Exception | None) -> None:
            there.pop(self, None)
            self._stop_clock()
            super().connection_lost(exc)

        def _start_clock(self) -> None:
            """It runs on while bytes come that make no request, and while what was answered already goes on and on."""
            if self._clock is None:
                self._clock = self.loop.call_later(limits.head, self.transport.abort)

        def _stop_clock(self) -> None:
            if self._clock is not None:
                self._clock.cancel()
                self._clock = None

        def _hang_up(self) -> None:
            """Ends the connection without an answer."""
            self.cycle.disconnected = True
            self.transport.abort()

    return Limited
