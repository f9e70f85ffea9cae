"""The API of a running hub: `POST /api/v1/OPERATION` with JSON parameters, so that no patient data is ever in a URL.

It answers on a Unix socket beside the store that only the owner of the store may open; who that is, the operating system
knows, and the audit is told.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict
from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hub.bus.hub import Hub
from hub.bus.operations import Operations
from hub.console.metrics import probe_routes
from hub.console.server import Server
from hub.errors import Busy, ConfigError, ConnectionDown, HubError, NotFound, Refused, StoreError
from hub.paths import control_socket

log = structlog.get_logger(__name__)

LARGEST_REQUEST = 32 * 1024 * 1024
"""Bytes: an edited message of 20 MiB, in base64."""


def api_routes(hub: Hub, operations: Operations) -> list[Route]:
    async def operate(request: Request) -> Response:
        try:
            params = await _params(request)
            actor = request.headers.get("x-actor", "unknown")[:100]
            result = await operations.run(request.path_params["operation"], params, actor)
        except HubError as error:
            return _failure(error)
        except Exception as error:  # the caller learns that it failed; what it was about may hold patient data
            log.error("an operation failed", error=type(error).__name__)
            return JSONResponse(
                {"code": "BUG-001", "text": f"the operation failed with {type(error).__name__}"}, status_code=500
            )
        return JSONResponse({"result": result})

    return [*probe_routes(hub), Route("/api/v1/{operation:path}", operate, methods=["POST"])]


async def _params(request: Request) -> dict[str, Any]:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_REQUEST:
            raise Refused("the request is too long", code="CLI-004")
    try:
        params = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise Refused("the parameters are no JSON", code="CLI-004") from None
    if not isinstance(params, dict):
        raise Refused("the parameters are no JSON object", code="CLI-004")
    return params


def _failure(error: HubError) -> Response:
    if isinstance(error, ConfigError):
        problems = [asdict(problem) for problem in error.problems]
        return JSONResponse({"code": error.code, "text": str(error), "kind": "config", "problems": problems}, status_code=409)
    kinds = (
        (NotFound, "not_found", 404),
        (Refused, "refused", 409),
        (StoreError, "store", 503),
        (Busy, "busy", 503),
        (ConnectionDown, "down", 503),
    )
    kind, status = next(((name, status) for cls, name, status in kinds if isinstance(error, cls)), ("error", 400))
    return JSONResponse({"code": error.code, "text": str(error), "kind": kind, "help": error.help}, status_code=status)


class ControlSocket:
    """Serves the API while the hub runs."""

    def __init__(self, hub: Hub, operations: Operations) -> None:
        self.path = control_socket(hub.core.store.path)
        self._server = Server(api_routes(hub, operations))
        self._socket: socket.socket | None = None

    async def open(self) -> None:
        if not hasattr(socket, "AF_UNIX"):
            log.warning("this system has no Unix sockets: commands cannot reach the hub while it runs")
            return
        self.path.unlink(missing_ok=True)  # left by a hub that was killed; the lock of the store says that none is running
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            self._socket.bind(str(self.path))
        finally:
            os.umask(before)
        await self._server.open(self._socket, "control socket")

    async def close(self) -> None:
        await self._server.close()
        self.path.unlink(missing_ok=True)
