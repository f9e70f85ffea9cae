"""One address that is listened on: connections with the same host and port share it, each has its path."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

from connectors.webhook.endpoint import HANG_UP, Endpoint, Reply, Request
from connectors.webhook.settings import WebhookConfig
from hub.errors import ConnectionDown
from hub.net.tls import ServerTls

STOPPING = 0.7
"""Seconds answers that are under way have when the last connection of a door closes."""

LARGEST_HEADERS = 32 * 1024
"""Bytes of all headers of a request."""

_OPEN: dict[tuple[str, int], Door] = {}
"""By host and port, where a port was named."""


class Door:
    """A server, and the connections behind it by their paths."""

    def __init__(self, config: WebhookConfig) -> None:
        from hub.net.server import Limits, Server  # takes long to import, and commands that only read need it not

        self._loop = asyncio.get_running_loop()
        self._tls = config.tls
        self.endpoints: dict[str, Endpoint] = {}
        self._closed: set[str] = set()
        """Paths of connections that were closed while others stay: as if nobody listened there, so that partners try again."""
        self._limits = Limits(pins=config.tls.client_pins if config.tls is not None else ())
        self._server = Server(self, limits=self._limits, tls=ServerTls(config.tls).context if config.tls is not None else None)
        self._address = (config.host, config.port)
        self.port = config.port

    async def open(self, name: str) -> None:
        """Raises ConnectionDown when it cannot listen."""
        host, port = self._address
        try:
            listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        except OSError as error:
            raise ConnectionDown(f"{name}: cannot listen on {host}:{port}: {error.strerror}", code="NET-010") from None
        self.port = listening.getsockname()[1]
        await self._server.open(listening, f"webhooks {host}:{self.port}")

    def add(self, endpoint: Endpoint) -> None:
        """Raises ConnectionDown when another connection is in the way."""
        config, name = endpoint.config, endpoint.name
        if (other := self.endpoints.get(config.path)) is not None:
            raise ConnectionDown(
                f"{name}: port {self.port} has the path {config.path} already, for {other.name}; give one of them another path",
                code="WHK-002",
            )
        if self.endpoints and config.tls != self._tls:
            other = next(iter(self.endpoints.values()))
            raise ConnectionDown(
                f"{name}: {other.name} listens on port {self.port} with another `tls`; write the same, or take another port",
                code="WHK-002",
            )
        self.endpoints[config.path] = endpoint
        self._closed.discard(config.path)
        self._adapt()

    async def remove(self, endpoint: Endpoint) -> None:
        """The last one that leaves shuts the door."""
        path = endpoint.config.path
        if len(self.endpoints) > 1 and self.endpoints.get(path) is endpoint:
            del self.endpoints[path]
            self._closed.add(path)
            self._adapt()
        elif list(self.endpoints.values()) == [endpoint]:
            if _OPEN.get(self._address) is self:
                del _OPEN[self._address]
            await self._server.close(STOPPING)
            self.endpoints.clear()

    def _adapt(self) -> None:
        configs = [endpoint.config for endpoint in self.endpoints.values()]
        self._limits.connections = max(config.max_connections for config in configs)
        self._limits.head = max(config.read_timeout for config in configs)

    def belongs_here(self) -> bool:
        """False for one that an event loop has left open that is no more."""
        return self._loop is asyncio.get_running_loop()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """One request, as ASGI has it."""
        path = scope["raw_path"].decode("latin-1")
        found = next(self._wanted(path), None)
        if sum(len(name) + len(value) for name, value in scope["headers"]) > LARGEST_HEADERS:
            reply = Reply(431, headers={"connection": "close"})
        elif found is None:
            reply = HANG_UP if path.rstrip("/") in self._closed else Reply(404, headers={"connection": "close"})
        else:
            endpoint, rest = found
            headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
            query = scope["query_string"].decode("latin-1")
            reply = await endpoint.answer(Request(scope["method"], rest, query, headers, receive))
        if reply is HANG_UP:
            scope["state"]["hang_up"]()
            return
        await _send(reply, send)

    def _wanted(self, path: str) -> Iterator[tuple[Endpoint, str]]:
        """The connection whose path it is, and what comes behind that."""
        head = path.rstrip("/")
        if (endpoint := self.endpoints.get(head)) is not None:
            yield endpoint, path[len(head) :]
        for known, endpoint in self.endpoints.items():
            if endpoint.takes_rest and path.startswith(f"{known}/"):
                yield endpoint, path[len(known) :]


async def _send(reply: Reply, send: Any) -> None:
    headers = {"x-content-type-options": "nosniff", **reply.headers, "content-length": str(len(reply.body))}
    wire = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": wire})
    await send({"type": "http.response.body", "body": reply.body})


async def door_for(config: WebhookConfig, name: str) -> Door:
    """The door of an address, opened when it is not yet.  Raises ConnectionDown, and ConfigError for a certificate."""
    address = (config.host, config.port)
    door = _OPEN.get(address)
    if door is not None and door.belongs_here():
        return door
    door = Door(config)
    if config.port:
        _OPEN[address] = door
    try:
        await door.open(name)
    except BaseException:
        _OPEN.pop(address, None)
        raise
    return door
