"""What all simulated partners share: faults by kind of request, answers that go wrong, tokens, webhooks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute

from connectors.simulators.facade import PAGE, Facade
from connectors.simulators.faults import fault
from connectors.simulators.hooks import Hook, Hooks
from connectors.simulators.server import Simulator
from hub.errors import ConnectionDown
from hub.net.auth import HttpAuth
from hub.net.http import HttpClient
from tests.support import until


class Counter(Simulator):
    """Counts what was done."""

    name = "counter"

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.done = 0
        self.told: list[tuple[str, str]] = []
        self.facades = [Api(self)]


class Api(Facade[Counter]):
    name = "api"

    def routes(self) -> list[BaseRoute]:
        return [
            self.route("POST", "/things", "make", self._make),
            self.route("GET", "/things", "look", self._look),
            self.route("POST", "/hook", "hook", self._hook),
        ]

    def authorized(self, request: Request, body: bytes) -> bool:
        return request.url.path == "/hook" or super().authorized(request, body)

    async def _make(self, request: Request, body: bytes) -> Response:
        self.house.done += 1
        return JSONResponse({"id": "made-1"})

    async def _look(self, request: Request, body: bytes) -> Response:
        return JSONResponse({"done": self.house.done})

    async def _hook(self, request: Request, body: bytes) -> Response:
        right = request.headers.get("x-signature") == "right"
        self.house.told.append((body.decode(), "right" if right else "wrong"))
        return PlainTextResponse("", status_code=204 if right else 401)


def _client(counter: Counter, timeout: float = 0.3) -> HttpClient:
    auth = HttpAuth(token_url=counter.token_url, client_id="demo", client_secret="demo-secret")
    return HttpClient("test", auth=auth, timeout=timeout, tls=None)


async def _ask(counter: Counter, method: str = "POST", **settings: Any) -> tuple[int, bytes]:
    client = _client(counter)
    try:
        response = await client.exchange(method, f"{counter.base}/things", **settings)
    except ConnectionDown:
        return 0, b""
    finally:
        await client.close()
    return response.status_code, response.content


@pytest.mark.parametrize(
    ("word", "status", "done"),
    [
        ("ok", 200, 1),
        ("503", 503, 0),
        ("429 after 2", 429, 0),
        ("502 after commit", 502, 1),
        ("expire", 200, 1),
        ("401", 200, 1),
        ("drop", 0, 0),
        ("silent", 0, 0),
        ("silent after commit", 0, 1),
        ("hangup", 0, 1),
    ],
)
async def test_a_fault_is_the_same_for_the_asker_and_in_the_table(word: str, status: int, done: int) -> None:
    async with Counter() as counter:
        counter.faults.script(word)
        assert ((await _ask(counter))[0], counter.done) == (status, done)
        assert (await _ask(counter))[0] == 200, "used up"


@pytest.mark.parametrize(
    ("word", "body"), [("half", b'{"id":"'), ("twice", b'{"id":"made-1"}' * 2), ("empty", b""), ("html", PAGE.encode())]
)
async def test_an_answer_is_spoiled(word: str, body: bytes) -> None:
    async with Counter() as counter:
        counter.faults.script(word)
        assert await _ask(counter) == (200, body)
        assert counter.done == 1


async def test_scripts_are_for_a_kind_a_header_or_all() -> None:
    async with Counter() as counter:
        counter.faults.script("503", to="look")
        assert (await _ask(counter))[0] == 200
        assert (await _ask(counter, "GET"))[0] == 503
        header = {"X-Sim-Script": "500, ok, 501"}
        assert [(await _ask(counter, headers=header))[0] for _ in range(4)] == [500, 200, 501, 200]
        counter.faults.script("503", to="token")
        assert (await _ask(counter))[0] == 0, "no token, nothing sent"


async def test_another_process_scripts_faults_by_http() -> None:
    async with Counter() as counter:
        client = _client(counter)
        url = f"{counter.base}/sim/script"
        answers = [
            await client.exchange("POST", url, content=json.dumps(body).encode())
            for body in ({"words": ["503"], "to": "make"}, {"words": ["nonsense"]})
        ]
        await client.close()
        assert [answer.status_code for answer in answers] == [200, 400]
        assert (await _ask(counter))[0] == 503


def test_a_word_that_is_none_is_told() -> None:
    with pytest.raises(ValueError, match="no fault 'silnet'"):
        fault("silnet")
    with pytest.raises(ValueError, match="no way 'twcie'"):
        Hooks().script("twcie")


async def _told(*words: str) -> list[tuple[str, str]]:
    """What three events with these words come to; each comes before the next is told, unless its word keeps it."""
    async with Counter() as counter:
        hooks = Hooks(f"{counter.base}/hook")
        hooks.script(*words)
        for number, word in zip((b"1", b"2", b"3"), [*words, "ok", "ok", "ok"], strict=False):
            hooks.tell(Hook(number, {"X-Signature": "right"}, forged={"X-Signature": "wrong"}))
            came = (number.decode(), "right")
            if word in ("ok", "twice", "forged"):
                await until(lambda came=came, copies=1 + (word == "twice"): counter.told.count(came) == copies)
        await hooks.told()
        await hooks.close()
        return counter.told


async def test_webhooks_come_as_scripted() -> None:
    first, second, third = ("1", "right"), ("2", "right"), ("3", "right")
    assert await _told() == [first, second, third]
    assert await _told("twice", "never") == [first, first, third]
    assert await _told("forged") == [("1", "wrong"), first, second, third]
    for word in ("swapped", "late 0.2"):
        told = await _told(word)
        assert sorted(told) == [first, second, third]
        assert told.index(first) > told.index(second), word


async def test_a_webhook_is_told_until_it_is_taken() -> None:
    async with Counter() as counter:
        counter.faults.script("503", "503", to="hook")
        hooks = Hooks(f"{counter.base}/hook")
        hooks.tell(Hook(b"1", {"X-Signature": "right"}))
        await hooks.told()
        await hooks.close()
        assert hooks.answers == [503, 503, 204]
