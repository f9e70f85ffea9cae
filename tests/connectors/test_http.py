"""The HTTP connector: answers are told from failures of the connection, and nothing secret is told at all."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import random
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from email.utils import format_datetime, formatdate
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from connectors.http import Http, HttpConfig
from connectors.simulators.clearinghouse import Clearinghouse, Member
from hub.errors import ConnectionDown, HubError, MessageRejected
from hub.message import Message, new_id
from hub.testing import CANARY, ConnectorContract
from tests.connectors.certificates import Certificates
from tests.connectors.simulators.inquiries import inquiry
from tests.connectors.web import Asked, Opening, Web, answer, http
from tests.connectors.wire import Partner, adt, frame, wire
from tests.support import ask, clinic_folder, environment, free_port, port_of, running_hub, settled, until

SECRET = "s3cr3t-of-the-clinic"
ID = "clinic-17"


class TestContract(ConnectorContract):
    connector = Http
    config = {"url": "http://127.0.0.1:1/x12"}

    async def far_side(self, config: dict[str, Any]) -> Web:
        self.web = Web(lambda _: answer(200, b"thanks"))
        return Opening(self.web, config)  # type: ignore[return-value]

    def arrived(self, connection: Http, tmp_path: Path) -> bytes | None:
        return self.web.asked[0].body

    def without_partner(self, settings: dict[str, Any]) -> dict[str, Any]:
        return {**settings, "url": f"http://127.0.0.1:{free_port()}/x12"}


def message(body: bytes = b"ISA*00*" + CANARY.encode()) -> Message:
    return Message(body, "x12", "270", id=new_id())


def always(reply: Any) -> Callable[[Asked], Any]:
    return lambda _: reply


# What is sent and what comes back.


async def test_the_body_is_sent_as_it_is_and_the_answer_is_the_partners_answer() -> None:
    body = bytes(range(256)) * 50
    async with (
        Web(always(answer(201, b"ISA*answer~\r\n\xff"))) as web,
        http(web.url, content_type="application/edi-x12", headers={"X-Site": "main"}) as connection,
    ):
        sent = message(body)
        found = await connection.send(sent)
    [asked] = web.asked
    assert (asked.method, asked.path, asked.body) == ("POST", "/x12", body)
    assert asked.headers["content-type"] == "application/edi-x12"
    assert asked.headers["x-site"] == "main"
    assert asked.headers["idempotency-key"] == sent.id, "a partner can tell a repeat from a new message"
    assert found is not None
    assert (found.body, found.format, found.headers["answer"]) == (b"ISA*answer~\r\n\xff", "x12", "201")


async def test_a_large_body_is_sent_whole_with_its_length_and_again_with_a_new_token(tmp_path: Path) -> None:
    """It leaves in pieces, so that others have their turn in between."""
    body, tokens = random.Random(1).randbytes(1_500_000), iter(("old", "new"))

    def reply(asked: Asked) -> bytes:
        if asked.path == "/token":
            return answer(200, json.dumps({"access_token": next(tokens), "token_type": "Bearer", "expires_in": 3600}).encode())
        return answer(200 if asked.headers["authorization"] == "Bearer new" else 401)

    async with Web(reply) as web:
        auth = {"token_url": web.token_url, "client_id": ID, "client_secret": SECRET}
        async with http(web.url, auth=auth) as connection:
            await connection.send(message(body))
    sent = [asked for asked in web.asked if asked.path != "/token"]
    assert [asked.body for asked in sent] == [body, body]
    assert {asked.headers["content-length"] for asked in sent} == {"1500000"}
    assert not any("transfer-encoding" in asked.headers for asked in sent)


async def test_it_may_be_put() -> None:
    async with Web(always(answer(200, b"ok"))) as web, http(web.url, method="PUT") as connection:
        await connection.send(message())
    assert web.asked[0].method == "PUT"


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_an_empty_answer_is_none(status: int) -> None:
    async with Web(always(answer(status))) as web, http(web.url) as connection:
        assert await connection.send(message()) is None


@pytest.mark.parametrize(
    "page", [b"<html><body>502</body></html>", b"\xef\xbb\xbf\r\n <!DOCTYPE html>\n<title>Sign in</title>"]
)
async def test_a_web_page_is_no_answer_but_may_be_one_where_bytes_are_wanted(page: bytes) -> None:
    reply = page + CANARY.encode()
    async with Web(always(answer(200, reply))) as web:
        async with http(web.url) as connection:
            with pytest.raises(MessageRejected, match="web page instead of x12") as caught:
                await connection.send(message())
        async with http(web.url, answer_format="bytes") as connection:
            found = await connection.send(message())
    assert (caught.value.code, caught.value.final, caught.value.reply) == ("MSG-007", False, reply)
    assert CANARY not in str(caught.value)
    assert found is not None
    assert found.body == reply


async def test_a_packed_answer_is_unpacked() -> None:
    packed = answer(200, gzip.compress(b"ISA*answer~"), content_encoding="gzip")
    async with Web(always(packed)) as web, http(web.url) as connection:
        found = await connection.send(message())
    assert found is not None
    assert found.body == b"ISA*answer~"


@pytest.mark.parametrize("header", ["Müller", "€", "\xff"], ids=ascii)
@pytest.mark.parametrize("status", [200, 422, 429])
async def test_headers_of_an_answer_may_hold_any_bytes(status: int, header: str) -> None:
    """Nobody reads them, so they must not decide over the answer."""
    reply = answer(status, b"ISA*answer~").replace(b"\r\n", f"\r\nx-server: {header}\r\n".encode(), 1)
    async with Web(always(reply)) as web, http(web.url) as connection:
        match status:
            case 200:
                assert await connection.send(message())
            case 422:
                with pytest.raises(MessageRejected, match="422"):
                    await connection.send(message())
            case _:
                with pytest.raises(ConnectionDown, match="429"):
                    await connection.send(message())


async def test_connections_are_kept() -> None:
    async with Web(always(answer(200, b"ok"))) as web, http(web.url) as connection:
        for _ in range(20):
            await connection.send(message())
        assert web.partner.connections == 1


# What the hub does next.


@pytest.mark.parametrize("status", [400, 404, 405, 409, 410, 413, 415, 422])
async def test_a_refusal_is_final_and_has_the_answer(status: int) -> None:
    refusal = answer(status, f"no patient {CANARY}".encode(), reason=f"No {CANARY}")
    async with Web(always(refusal)) as web, http(web.url) as connection:
        with pytest.raises(MessageRejected, match=str(status)) as caught:
            await connection.send(message())
    assert (caught.value.answer, caught.value.final) == (str(status), True)
    assert caught.value.reply == f"no patient {CANARY}".encode()
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("status", [401, 403, 408, 425, 429, 500, 502, 503, 504, 599])
async def test_a_failure_is_that_of_the_connection(status: int) -> None:
    async with Web(always(answer(status, CANARY.encode(), reason=CANARY))) as web, http(web.url) as connection:
        with pytest.raises(ConnectionDown, match=f"clearinghouse.*127.0.0.1.*{status}") as caught:
            await connection.send(message())
    assert CANARY not in str(caught.value)
    assert (caught.value.code == "NET-020") == (status in (401, 403))
    assert len(web.asked) == 1, "trying again is for the bus"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(status: int) -> None:
    async with Web(always(answer(200, b"mine now"))) as other:
        moved = answer(status, location=other.url)
        async with Web(always(moved)) as web, http(web.url, auth={"api_key": SECRET}) as connection:
            with pytest.raises(ConnectionDown, match=f"{status}.*redirects are not followed") as caught:
                await connection.send(message())
        assert caught.value.code == "NET-021"
        assert not other.asked


CHICAGO = ZoneInfo("America/Chicago")
RETRY_AFTER: dict[str, tuple[Any, float | None, float | None]] = {
    "seconds": ("30", 30.0, 30.0),
    "no seconds": ("0", 0.0, 0.0),
    "a date": (lambda: formatdate(time.time() + 600, usegmt=True), 580.0, 600.0),
    "a date of another zone": (lambda: format_datetime(datetime.now(CHICAGO) + timedelta(seconds=600)), 580.0, 600.0),
    "a date that is past": (lambda: formatdate(time.time() - 600, usegmt=True), 0.0, 0.0),
    "more than anybody would wait": ("9" * 400, 3600.0, float("inf")),
    "nothing": (None, None, None),
    "a blank": (" ", None, None),
    "nonsense": ("soon", None, None),
    "a fraction": ("1.5", None, None),
    "less than nothing": ("-5", None, None),
}


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("name", RETRY_AFTER)
async def test_a_partner_may_say_when_to_come_back(name: str, status: int) -> None:
    given, least, most = RETRY_AFTER[name]
    headers = {} if given is None else {"retry_after": given() if callable(given) else given}
    async with Web(always(answer(status, **headers))) as web, http(web.url) as connection:
        with pytest.raises(ConnectionDown, match=str(status)) as caught:
            await connection.send(message())
    if least is None:
        assert caught.value.retry_after is None
    else:
        assert caught.value.retry_after is not None
        assert most is not None
        assert least <= caught.value.retry_after <= most


async def _slowly(parts: int) -> bytes:
    await asyncio.sleep(parts)
    return answer(200, b"too late")


async def test_a_slow_answer_runs_into_the_time_out() -> None:
    async with Web(lambda _: _slowly(5)) as web, http(web.url, timeout="300ms") as connection:
        with pytest.raises(ConnectionDown, match="did not answer in time"):
            await connection.send(message())


async def test_what_was_not_answered_in_time_is_not_sent_again_before_its_time() -> None:
    """CAQH CORE: no question twice before 90 s."""
    async with Web(lambda _: _slowly(5)) as web, http(web.url, timeout="200ms", resend_after="90s") as connection:
        with pytest.raises(ConnectionDown) as caught:
            await connection.send(message())
        assert caught.value.unanswered
        assert 88 < (caught.value.retry_after or 0) < 90
    async with Web(lambda _: _slowly(5)) as web, http(web.url, timeout="200ms") as connection:
        with pytest.raises(ConnectionDown) as caught:
            await connection.send(message())
        assert caught.value.retry_after is None


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def _raw(*parts: bytes, every: float = 0.0) -> Handler:
    """Reads something of a request, writes these bytes and closes."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(every)

    return handle


@pytest.mark.parametrize("where", ["headers", "body"])
async def test_an_answer_that_drips_runs_into_the_time_out_as_a_whole(where: str) -> None:
    """The time is how long an answer may take, not how long a byte may."""
    head, body = answer(200, b"x" * 60)[:-60], b"x" * 60
    drops = [head[at : at + 2] for at in range(0, len(head), 2)] if where == "headers" else [head, *[b"x"] * 60]
    assert len(drops) > 20
    assert len(body) == 60
    async with (
        Partner(_raw(*drops, every=0.1)) as partner,
        http(f"http://127.0.0.1:{partner.port}/x", timeout="400ms") as connection,
    ):
        began = time.monotonic()
        with pytest.raises(ConnectionDown, match="in time"):
            await connection.send(message())
        assert time.monotonic() - began < 1.5


BROKEN = {
    "nothing": _raw(),
    "half of the headers": _raw(b"HTTP/1.1 200 OK\r\ncontent-le"),
    "half of the body": _raw(answer(200, b"ISA" * 1000)[:-1000]),
    "half of the chunks": _raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nISA*0\r\n"),
    "no HTTP": _raw(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "MLLP": _raw(frame(adt("M1"))),
    "a negative length": _raw(b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\nISA"),
    "lengths that differ": _raw(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nISA*"),
    "headers without end": _raw(b"HTTP/1.1 200 OK\r\n" + b"x-a: b\r\n" * 50_000),
    "no gzip": _raw(answer(200, b"not packed at all", content_encoding="gzip")),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_an_answer_that_is_broken_is_a_connection_that_is_down(name: str) -> None:
    async with Partner(BROKEN[name]) as partner, http(f"http://127.0.0.1:{partner.port}/x", timeout="2s") as connection:
        with pytest.raises(ConnectionDown, match="clearinghouse") as caught:
            await connection.send(message())
    assert CANARY not in str(caught.value)
    assert "token" not in str(caught.value), "this connection has none"


async def test_the_simulator_hangs_up_in_the_middle_of_an_answer() -> None:
    async with Clearinghouse() as house, http(house.url) as connection:
        house.behaviour.down = True
        with pytest.raises(ConnectionDown, match="clearinghouse"):
            await connection.send(message())


HUGE = {
    "without end": (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 1_000_000),
    "a packed one": (
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n" + gzip.compress(b"\x00" * 60_000_000),
        b"",
    ),
}


@pytest.mark.parametrize("name", HUGE)
async def test_an_answer_that_is_huge_is_not_kept_in_memory(name: str) -> None:
    first, more = HUGE[name]
    sent = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.read(65536)
        writer.write(first)
        while more and sent < 120_000_000:
            writer.write(more)
            await writer.drain()
            sent += len(more)

    async with Partner(handle) as partner, http(f"http://127.0.0.1:{partner.port}/x", timeout="20s") as connection:
        with pytest.raises(ConnectionDown, match="longer than"):
            await connection.send(message())
    assert sent < 80_000_000


async def test_an_answer_of_the_token_address_that_is_huge_is_not_kept_in_memory() -> None:
    sent = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.read(65536)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while sent < 120_000_000:
            writer.write(b"x" * 1_000_000)
            await writer.drain()
            sent += 1_000_000

    async with Partner(handle) as partner:
        place = f"http://127.0.0.1:{partner.port}"
        auth = {"token_url": f"{place}/token", "client_id": ID, "client_secret": SECRET}
        async with http(f"{place}/x12", auth=auth, timeout="20s") as connection:
            with pytest.raises(ConnectionDown, match="clearinghouse"):
                await connection.send(message())
    assert sent < 80_000_000


async def test_a_partner_that_does_not_read_runs_into_the_time_out() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()
        await asyncio.sleep(10)

    async with Partner(handle) as partner, http(f"http://127.0.0.1:{partner.port}/x", timeout="300ms") as connection:
        with pytest.raises(ConnectionDown, match="in time"):
            await connection.send(message(b"x" * 20_000_000))


async def test_nothing_in_the_environment_redirects_what_is_sent() -> None:
    """A proxy is for the clinic file to name: what is sent is patient data."""
    async with Web(always(answer(200, b"mine now"))) as proxy, Web(always(answer(200, b"ok"))) as web:
        place = proxy.url.removesuffix("/x12")
        with environment(HTTP_PROXY=place, http_proxy=place, ALL_PROXY=place, NO_PROXY="", no_proxy=""):
            async with http(web.url) as connection:
                await connection.send(message())
        assert (len(proxy.asked), len(web.asked)) == (0, 1)


# OAuth2 against the simulated clearinghouse.

JANE = Member("60054", "W100", "DOE", "JANE", "19800229", "F", "CHOICE PPO", co_payment="25")
ASKED = inquiry("60054", "W100", family="DOE", given="JANE", born="19800229").encode()


def oauth(house: Clearinghouse, **more: str) -> dict[str, str]:
    return {"token_url": house.token_url, "client_id": "demo", "client_secret": "demo-secret", **more}


async def test_a_token_is_fetched_once_and_used_again() -> None:
    async with Clearinghouse([JANE]) as house, http(house.url, auth=oauth(house)) as connection:
        for _ in range(5):
            found = await connection.send(message(ASKED))
            assert found is not None
            assert b"EB*1" in found.body
        assert len(house.tokens) == 1


async def test_a_token_that_expires_meanwhile_is_renewed() -> None:
    async with Clearinghouse([JANE]) as house, http(house.url, auth=oauth(house)) as connection:
        house.behaviour.token_lives = 0.2
        for _ in range(3):
            assert await connection.send(message(ASKED))
            await asyncio.sleep(0.25)
        assert len(house.tokens) >= 3


async def test_a_token_that_is_withdrawn_early_is_renewed_without_an_error() -> None:
    async with Clearinghouse([JANE]) as house, http(house.url, auth=oauth(house)) as connection:
        assert await connection.send(message(ASKED))
        house.tokens.withdraw()
        assert await connection.send(message(ASKED))
        house.behaviour.refuse_token_once = True
        assert await connection.send(message(ASKED))
        assert house.requests == 5


async def test_several_messages_at_once_survive_a_withdrawn_token() -> None:
    async with Clearinghouse([JANE]) as house, http(house.url, auth=oauth(house), parallel=16) as connection:
        for _ in range(3):
            house.tokens.withdraw()
            answers = await asyncio.gather(*(connection.send(message(ASKED)) for _ in range(16)))
            assert all(answers)


async def test_a_token_that_is_refused_again_is_a_connection_that_is_down() -> None:
    def replies(asked: Asked) -> bytes:
        good = json.dumps({"access_token": SECRET, "token_type": "Bearer", "expires_in": 300}).encode()
        return answer(200, good) if asked.path == "/token" else answer(401, b"no")

    async with Web(replies) as web:
        auth = {"token_url": web.token_url, "client_id": ID, "client_secret": SECRET}
        async with http(web.url, auth=auth) as connection:
            with pytest.raises(ConnectionDown, match=r"401.*vendor") as caught:
                await connection.send(message())
    assert caught.value.code == "NET-020"
    assert [asked.path for asked in web.asked] == ["/token", "/x12", "/token", "/x12"]
    assert SECRET not in str(caught.value)


async def test_wrong_credentials_are_a_connection_that_is_down_and_never_a_rejected_message() -> None:
    async with Clearinghouse([JANE]) as house:
        async with http(house.url, auth=oauth(house, client_secret=SECRET)) as connection:
            with pytest.raises(ConnectionDown, match=r"clearinghouse.*token.*client id") as caught:
                await connection.send(message(ASKED))
        assert caught.value.code == "NET-020"
        assert SECRET not in str(caught.value)
        assert house.requests == 0


async def test_the_scope_and_the_credentials_go_to_the_token_address() -> None:
    def replies(asked: Asked) -> bytes:
        return answer(200, b'{"access_token": "T1", "token_type": "Bearer"}' if asked.path == "/token" else b"ok")

    async with Web(replies) as web:
        auth = {"token_url": web.token_url, "client_id": ID, "client_secret": SECRET, "scope": "hipaa-demo"}
        async with http(web.url, auth=auth) as connection:
            await connection.send(message())
    token, asked = web.asked
    assert (token.form["grant_type"], token.form["scope"]) == ("client_credentials", "hipaa-demo")
    assert asked.headers["authorization"] == "Bearer T1"
    assert CANARY.encode() not in token.body


GOOD_TOKENS = [
    {"access_token": "T1", "token_type": "Bearer", "expires_in": 300},
    {"access_token": "T1", "token_type": "bearer", "expires_in": "300"},
    {"access_token": "T1", "token_type": "BEARER"},
    {"access_token": "T1"},
    {"access_token": "T1", "expires_in": None, "refresh_token": None},
    {"access_token": "T1", "token_type": "Bearer", "expires_in": 300.5, "scope": "a b", "more": {"x": [1]}},
]
BAD_TOKENS = {
    "an error page": answer(200, b"<html>maintenance</html>"),
    "another object": answer(200, b'{"message": "maintenance"}'),
    "an empty object": answer(200, b"{}"),
    "a list": answer(200, b"[]"),
    "a text": answer(200, b'"later"'),
    "null": answer(200, b"null"),
    "an empty token": answer(200, b'{"access_token": "", "token_type": "Bearer"}'),
    "a token of another kind": answer(200, b'{"access_token": "T0", "token_type": "mac"}'),
    "a life that is no number": answer(200, b'{"access_token": "T0", "token_type": "Bearer", "expires_in": "long"}'),
    "a token that cannot be sent": answer(200, '{"access_token": "\u20ac\\r\\nX: 1", "token_type": "Bearer"}'.encode()),
    "an empty answer": answer(200),
    "a refusal": answer(401, b'{"error": "invalid_client"}'),
    "a refusal on a page": answer(401, b"<html>who are you</html>"),
    "too many": answer(429, b"slow down", retry_after="30"),
    "out of order": answer(503, b"<html>", retry_after="30"),
    "a redirect": answer(302, location="http://127.0.0.1:1/"),
    "half an answer": answer(200, b'{"access_token": "T0"')[:-5],
}


def _tokens(first: list[bytes], good: dict[str, Any] | None = None) -> Callable[[Asked], bytes]:
    """A partner whose token address answers these first, and then well."""
    left = list(first)
    token = json.dumps(good or GOOD_TOKENS[0]).encode()

    def replies(asked: Asked) -> bytes:
        if asked.path == "/token":
            return left.pop(0) if left else answer(200, token)
        return answer(200, b"ok") if asked.headers.get("authorization") == "Bearer T1" else answer(401, b"no")

    return replies


@pytest.mark.parametrize("token", GOOD_TOKENS, ids=str)
async def test_tokens_as_vendors_write_them_are_understood(token: dict[str, Any]) -> None:
    async with (
        Web(_tokens([], token)) as web,
        http(web.url, auth={"token_url": web.token_url, "client_id": ID, "client_secret": SECRET}) as connection,
    ):
        for _ in range(3):
            assert await connection.send(message())
    assert len(web.asked) == 4


@pytest.mark.parametrize("name", BAD_TOKENS)
async def test_after_a_bad_answer_of_the_token_address_the_next_good_one_helps(name: str) -> None:
    """The connection is down, the bus tries again, and no restart is needed."""
    async with Web(_tokens([BAD_TOKENS[name]])) as web:
        auth = {"token_url": web.token_url, "client_id": ID, "client_secret": SECRET}
        async with http(web.url, auth=auth, timeout="1s") as connection:
            with pytest.raises(ConnectionDown, match="clearinghouse") as caught:
                await connection.send(message())
            assert SECRET not in str(caught.value)
            assert await connection.send(message())


async def test_how_long_to_wait_counts_for_the_token_address_too() -> None:
    async with Web(_tokens([BAD_TOKENS["too many"], BAD_TOKENS["out of order"]])) as web:
        auth = {"token_url": web.token_url, "client_id": ID, "client_secret": SECRET}
        async with http(web.url, auth=auth) as connection:
            for status in ("429", "503"):
                with pytest.raises(ConnectionDown, match=status) as caught:
                    await connection.send(message())
                assert caught.value.retry_after == 30


@pytest.mark.parametrize("status", [302, 307, 308])
async def test_credentials_do_not_follow_a_redirect_of_the_token_address(status: int) -> None:
    async with Web(always(answer(200, b"{}"))) as other:
        async with Web(_tokens([answer(status, location=other.url)])) as web:
            auth = {"token_url": web.token_url, "client_id": ID, "client_secret": SECRET}
            async with http(web.url, auth=auth) as connection:
                with pytest.raises(ConnectionDown):
                    await connection.send(message())
        assert not other.asked


# Other ways to say who we are.


async def test_basic_authentication_and_keys() -> None:
    async with Web(always(answer(200, b"ok"))) as web:
        for auth in ({"user": "me", "password": "pass:wörd"}, {"api_key": "K1"}, {"api_key": "K2", "header": "X-Api-Key"}):
            async with http(web.url, auth=auth) as connection:
                await connection.send(message())
    basic, key, named = web.asked
    assert basic.headers["authorization"] == "Basic bWU6cGFzczp3w7ZyZA=="
    assert key.headers["authorization"] == "K1"
    assert (named.headers["x-api-key"], named.headers.get("authorization")) == ("K2", None)


@pytest.mark.parametrize("key", ["“quoted”", "line\nbreak", "nul\x00", "é"], ids=ascii)
async def test_a_key_that_cannot_be_sent_is_refused_or_a_connection_that_is_down(key: str) -> None:
    async with Web(always(answer(200, b"ok"))) as web:
        try:
            async with http(web.url, auth={"api_key": key + SECRET}) as connection:
                await connection.send(message())
        except ValidationError as error:
            text = str(error)
        except ConnectionDown as error:
            text = str(error)
            assert "token" not in text, "there is none: it is the key that is wrong"
        else:
            text = ""
    assert SECRET not in text


@pytest.mark.parametrize(
    "auth",
    [
        {"client_id": ID, "client_secret": SECRET},
        {"token_url": "https://vendor.example/token"},
        {"client_secret": SECRET},
        {"password": SECRET},
        {"header": "X-Api-Key"},
        {"user": "me", "password": SECRET, "api_key": SECRET},
    ],
    ids="+".join,
)
def test_half_an_authentication_is_refused(auth: dict[str, str]) -> None:
    """Otherwise messages would leave without it, and the vendor's answer would be the first to tell."""
    with pytest.raises(ValidationError, match="auth") as caught:
        HttpConfig.model_validate({"kind": "http", "url": "https://vendor.example/x12", "auth": auth})
    assert SECRET not in str(caught.value)


# Nothing secret in errors and logs.


def _line(asked: Asked) -> str:
    return f"{SECRET} {CANARY} {asked.headers.get('authorization', '')}"


def _echo(asked: Asked) -> bytes:
    return _line(asked).encode() + b"\r\n" + asked.body


ECHOES = {
    "a refusal": lambda asked: answer(422, _echo(asked), reason=_line(asked)),
    "a failure": lambda asked: answer(500, _echo(asked), reason=_line(asked), retry_after=_line(asked)),
    "a redirect": lambda asked: answer(302, _echo(asked), location=f"https://{SECRET}:{CANARY}@127.0.0.1/{SECRET}"),
    "no credentials": lambda asked: answer(401, _echo(asked), www_authenticate=_line(asked)),
    "no HTTP": _echo,
    "a wrong header": lambda asked: b"HTTP/1.1 200 OK\r\n" + _echo(asked) + b"\r\n\r\n",
    "no gzip": lambda asked: answer(200, _echo(asked), content_encoding="gzip"),
    "an unknown status": lambda asked: answer(999, _echo(asked), reason=_line(asked)),
    "a token error": lambda asked: answer(400, json.dumps({"error": _line(asked), "error_description": _line(asked)}).encode()),
    "a token of a secret kind": lambda asked: answer(
        200, json.dumps({"access_token": SECRET, "token_type": f"{SECRET}{CANARY}"}).encode()
    ),
}
WAYS: dict[str, Callable[[Web], dict[str, str]]] = {
    "oauth2": lambda web: {"token_url": web.token_url, "client_id": ID, "client_secret": SECRET},
    "basic": lambda _: {"user": "me", "password": SECRET},
    "key": lambda _: {"api_key": SECRET, "header": "X-Key"},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("echo", ECHOES)
async def test_no_error_and_no_log_tells_a_secret_or_a_patient(echo: str, way: str, caplog: pytest.LogCaptureFixture) -> None:
    def replies(asked: Asked) -> bytes:
        if asked.path == "/token" and "token" not in echo and echo != "no credentials":
            return answer(200, json.dumps({"access_token": SECRET, "token_type": "Bearer"}).encode())
        return ECHOES[echo](asked)

    caplog.set_level(logging.WARNING)  # below it no library is heard: hub/logs.py takes away the handlers
    with capture_logs() as logs:
        timeout = "300ms" if echo == "no HTTP" else "5s"  # there the hub waits for the rest of a line
        async with Web(replies) as web, http(web.url, auth=WAYS[way](web), timeout=timeout) as connection:
            said = [repr(connection), str(connection.config)]
            try:
                await connection.send(message())
            except HubError as error:
                said += [str(error), repr(error), error.code, str(error.help)]
            said += [json.dumps(logs, default=str), caplog.text]
    found = [text for text in said if SECRET in text or CANARY in text or "bWU6" in text]
    assert not found


# TLS.


async def test_https_with_our_own_authority(certificates: Certificates) -> None:
    async with (
        Web(always(answer(200, b"ok")), tls=certificates.server("127.0.0.1")) as web,
        http(web.url, tls={"ca": certificates.ca}) as connection,
    ):
        assert await connection.send(message())


@pytest.mark.parametrize(
    ("host", "ca", "tls"), [("127.0.0.1", "other", True), ("ehr.example", "ca", True), ("127.0.0.1", "ca", False)]
)
async def test_a_certificate_that_is_wrong_is_told_in_words(host: str, ca: str, tls: bool, certificates: Certificates) -> None:
    async with (
        Web(always(answer(200, b"ok")), tls=certificates.server(host, ca=ca)) as web,
        http(web.url, tls={"ca": certificates.ca} if tls else None) as connection,
    ):
        with pytest.raises(ConnectionDown, match=r"clearinghouse.*127.0.0.1") as caught:
            await connection.send(message())
    assert not web.asked
    assert "certificate" in str(caught.value).lower(), "so that a person knows what to ask the vendor"
    assert caught.value.code == "TLS-003"


async def test_the_token_address_is_verified_as_well(certificates: Certificates) -> None:
    async with Web(_tokens([]), tls=certificates.server("127.0.0.1", ca="other")) as web:
        auth = {"token_url": web.token_url, "client_id": ID, "client_secret": SECRET}
        async with http(web.url, tls={"ca": certificates.ca}, auth=auth) as connection:
            with pytest.raises(ConnectionDown):
                await connection.send(message())
    assert not web.asked


async def test_with_mutual_tls_our_certificate_is_shown(certificates: Certificates) -> None:
    server = certificates.server("127.0.0.1", clients=True)
    async with Web(always(answer(200, b"ok")), tls=server) as web:
        own = certificates.tls("client@clinic.example")
        async with http(web.url, tls={"ca": certificates.ca, **own}) as connection:
            assert await connection.send(message())
        async with http(web.url, tls={"ca": certificates.ca}) as connection:
            with pytest.raises(ConnectionDown):
                await connection.send(message())
    assert len(web.asked) == 1


# Settings.


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"url": "http://vendor.example/x12"}, "https"),
        ({"url": "http://10.0.0.1/x12"}, "https"),
        ({"url": "http://localhost.example/x12"}, "https"),
        ({"url": "http://127.0.0.1.example/x12"}, "https"),
        ({"url": "http://vendor.example#@127.0.0.1/"}, "https"),
        ({"url": "http://vendor.example?@127.0.0.1/"}, "https"),
        ({"url": "http://127.0.0.1@vendor.example/"}, "https|credentials"),
        ({"url": "http://[::ffff:10.0.0.1]/"}, "https"),
        ({"url": "http://vendor.example/x12", "allow_plaintext": ""}, "https"),
        ({"auth": {"token_url": "http://vendor.example/token", "client_id": "a", "client_secret": "b"}}, "https"),
        ({"url": f"https://me:{SECRET}@vendor.example/x12"}, "credentials"),
        ({"url": f"https://{SECRET}@vendor.example/x12"}, "credentials"),
        ({"url": f"https://:{SECRET}@vendor.example/x12"}, "credentials"),
        ({"auth": {"token_url": f"https://me:{SECRET}@v.example/", "client_id": "a", "client_secret": "b"}}, "credentials"),
        ({"url": "ftp://vendor.example/x12"}, "url"),
        ({"url": "vendor.example/x12"}, "url"),
        ({"url": "https://"}, "url|address"),
        ({"url": "https:///x12"}, "url|address"),
        ({"url": "https://vendor.example:port/"}, "url|address|port"),
        ({"url": "https://vendor.example:99999/"}, "url|address|port|Port"),
        ({"url": "https://[::1/"}, "url|address|URL"),
        ({"method": "GET"}, "method"),
        ({"method": "DELETE"}, "method"),
        ({"timeout": "60"}, "unit"),
        ({"timeout": "0s"}, "timeout"),
        ({"auth": {"token": "x"}}, "token"),
        ({"verify": "no"}, "verify"),
        ({"follow_redirects": "yes"}, "follow_redirects"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says) as caught:
        HttpConfig.model_validate({"kind": "http", "url": "https://vendor.example/x12", **wrong})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "right",
    [
        {"url": "http://127.0.0.1:8271/x12"},
        {"url": "http://[::1]:8271/x12"},
        {"url": "http://localhost/x12"},
        {"url": "https://vendor.example:8443/a/b?c=d"},
        {"url": "http://vendor.example/x12", "allow_plaintext": "a tunnel of the vendor"},
    ],
    ids=str,
)
def test_settings_that_make_sense_are_taken(right: dict[str, Any]) -> None:
    HttpConfig.model_validate({"kind": "http", **right})


async def test_the_check_reaches_the_partner_without_sending_anything() -> None:
    for status in (200, 204, 400, 404, 405, 500, 503):
        async with Web(always(answer(status))) as web, http(web.url) as connection:
            assert f"127.0.0.1:{web.port}" in await connection.check()
        assert [(asked.method, asked.body) for asked in web.asked] == [("HEAD", b"")]
    for status in (401, 403, 302):
        async with Web(always(answer(status))) as web, http(web.url) as connection:
            with pytest.raises(ConnectionDown, match=str(status)):
                await connection.check()
    async with http(f"http://127.0.0.1:{free_port()}/x") as connection:
        with pytest.raises(ConnectionDown, match="clearinghouse"):
            await connection.check()


async def test_closing_ends_a_send_that_waits() -> None:
    async with Web(lambda _: _slowly(20)) as web, http(web.url, timeout="20s") as connection:
        waiting = asyncio.create_task(connection.send(message()))
        await until(lambda: web.asked)
        began = time.monotonic()
        await connection.close()
        assert time.monotonic() - began < 2
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


# With a real hub.

QUESTIONS = """
connections:
  ehr: {kind: mllp_listener, port: "0"}
  clearinghouse: {kind: http, url: "@URL@", answer_format: x12, retry: {first: 20ms, most: 50ms, attempts: "3"}}
flows:
  questions:
    from: ehr
    steps: [{ask: clearinghouse}]
"""


async def status_of(hub: Any) -> dict[str, Any]:
    status = await ask(hub, "status")
    return next(line for line in status["connections"] if line["name"] == "clearinghouse")


async def test_an_empty_answer_to_a_question_is_not_taken_for_one(tmp_path: Path) -> None:
    async with Web(always(answer(200))) as web:
        file = clinic_folder(tmp_path, QUESTIONS.replace("@URL@", web.url))
        async with running_hub(file) as hub, wire(port_of(hub, "ehr")) as ehr:
            await ehr.send(frame(adt("M1")))
            await ehr.answer()
            await settled(hub)
            found = await ask(hub, "messages.list", control_id="M1")
    assert {line["state"] for line in found} == {"quarantined"}
    assert any("no answer" in (line["reason"] or "") for line in found)
    assert len(web.asked) == 1


async def test_a_page_of_maintenance_is_tried_again_and_then_goes_to_quarantine(tmp_path: Path) -> None:
    async with Web(always(answer(200, b"<html>back soon</html>"))) as web:
        file = clinic_folder(tmp_path, QUESTIONS.replace("@URL@", web.url))
        async with running_hub(file) as hub, wire(port_of(hub, "ehr")) as ehr:
            await ehr.send(frame(adt("M1")))
            await ehr.answer()
            await settled(hub)
            found = await ask(hub, "messages.list", control_id="M1")
    assert {line["state"] for line in found} == {"quarantined"}
    assert any("web page" in (line["reason"] or "") for line in found)
    assert len(web.asked) == 3


@pytest.mark.parametrize("status", [400, 422])
async def test_a_final_refusal_is_not_tried_again(status: int, tmp_path: Path) -> None:
    async with Web(always(answer(status, CANARY.encode()))) as web:
        file = clinic_folder(tmp_path, QUESTIONS.replace("@URL@", web.url))
        async with running_hub(file) as hub, wire(port_of(hub, "ehr")) as ehr:
            await ehr.send(frame(adt("M1")))
            await ehr.answer()
            await settled(hub)
            found = await ask(hub, "messages.list", control_id="M1")
            assert (await status_of(hub))["state"] == "up"
    assert {line["state"] for line in found} == {"quarantined"}
    assert len(web.asked) == 1
    assert CANARY not in json.dumps(found)


@pytest.mark.parametrize("status", [401, 403, 500, 503, 302])
async def test_while_the_connection_is_down_messages_wait_and_cost_no_attempt(status: int, tmp_path: Path) -> None:
    replies = [answer(status, CANARY.encode())] * 5
    async with Web(lambda _: replies.pop() if replies else answer(200, b"ISA*")) as web:
        file = clinic_folder(tmp_path, QUESTIONS.replace("@URL@", web.url))
        async with running_hub(file) as hub, wire(port_of(hub, "ehr")) as ehr:
            await ehr.send(frame(adt("M1")))
            await ehr.answer()
            await until(lambda: hub.targets["to:clearinghouse"].last_error)  # type: ignore[attr-defined]
            line = await status_of(hub)
            assert line["state"] == "down"
            assert str(status) in line["last_error"]
            assert CANARY not in json.dumps(line)
            await settled(hub)
            assert (await status_of(hub))["state"] == "up"
            found = await ask(hub, "messages.list", control_id="M1")
    assert {line["state"] for line in found} == {"delivered"}
    assert max(line["attempts"] for line in found) <= 1
    assert len(web.asked) == 6


async def test_the_hub_waits_as_long_as_the_partner_says(tmp_path: Path) -> None:
    replies = [answer(429, retry_after="1")]
    times: list[float] = []

    def reply(_: Asked) -> bytes:
        times.append(time.monotonic())
        return replies.pop() if replies else answer(200, b"ISA*")

    async with Web(reply) as web:
        file = clinic_folder(tmp_path, QUESTIONS.replace("@URL@", web.url))
        async with running_hub(file) as hub, wire(port_of(hub, "ehr")) as ehr:
            await ehr.send(frame(adt("M1")))
            await ehr.answer()
            await until(lambda: len(times) == 2, timeout=4)
            await settled(hub)
    assert times[1] - times[0] >= 0.99
