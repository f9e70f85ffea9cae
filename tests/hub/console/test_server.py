"""The web server of a hub, and of the simulators."""

from __future__ import annotations

import asyncio
import socket
import time

import httpx2 as httpx
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from hub.console.server import Server


async def test_an_answer_does_not_wait_until_its_head_is_acknowledged() -> None:
    """On the event loop of Python itself, which sets nothing on connections of a socket it has not made."""

    async def answer(request: Request) -> Response:
        await asyncio.sleep(0)
        return PlainTextResponse(await request.body())

    listening = socket.create_server(("127.0.0.1", 0))
    server = Server([Route("/", answer, methods=["POST"])])
    await server.open(listening, "server")
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}") as client:
            took = [await seconds_of(client) for _ in range(20)]
    finally:
        await server.close()
    assert min(took[10:]) < 0.03, "a system acknowledges a head that nothing follows after 40 ms"


async def seconds_of(client: httpx.AsyncClient) -> float:
    began = time.monotonic()
    assert (await client.post("/", content=b"question")).text == "question"
    return time.monotonic() - began
