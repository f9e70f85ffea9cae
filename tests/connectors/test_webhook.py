"""Webhooks: a good delivery is kept and then answered, everything else is turned away and is no message."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from connectors.webhook import WebhookListener
from hub.console.metrics import collect
from hub.errors import Busy, ConnectionDown, StoreError, StoreFull
from hub.message import Message
from hub.testing import CANARY, ConnectorContract, FakeDeliver, FakeReceipt
from hub.webhooks import MOST_ITEMS, files_of
from tests.connectors.certificates import Certificates
from tests.connectors.hooks import KEY, PATH, SIGNED, basic, config, event, form, line, listening, post, request, signed
from tests.support import ask, clinic_folder, free_port, port_of, running_hub, settled, until


class TestContract(ConnectorContract):
    connector = WebhookListener
    config = {"port": "0", "path": PATH, "verify": SIGNED}

    async def bring(self, connection: WebhookListener, tmp_path: Path) -> None:
        await post(connection.port, self.sample)

    async def bring_again(self, connection: WebhookListener, tmp_path: Path) -> None:
        """The partner is told to try again, and does."""
        assert (await post(connection.port, self.sample)).status == 503
        assert (await post(connection.port, self.sample)).status == 200


# What is kept.


async def test_a_delivery_is_kept_as_it_came_and_then_answered() -> None:
    deliver = FakeDeliver()
    body = b'{"event": "fax.sent",\r\n "data": {"id": 42, "note": "\\u00e9\xc3\xa9"}}\n'
    async with listening(deliver, event={"field": "event"}, resource={"field": "data.id"}) as hooks:
        answer = await post(hooks.port, body)
    assert (answer.status, answer.body) == (200, b"")
    [message] = deliver.delivered
    assert (message.body, message.format, message.type) == (body, "webhook", "fax.sent")
    assert message.headers == {"content_type": "application/json", "event": "fax.sent", "resource": "42"}


READ = {"event": {"field": "event"}, "resource": {"field": "id"}}


@pytest.mark.parametrize(
    ("body", "content_type", "places"),
    [
        (b"MessageSid=SM1&MessageStatus=sent", "application/x-www-form-urlencoded", ("MessageStatus", "MessageSid")),
        (b"fax%5Bid%5D=SM1&fax%5Bstatus%5D=sent", "application/x-www-form-urlencoded", ("fax.status", "fax.id")),
        (*form([("json", '{"event": {"kind": "sent"}, "id": "SM1"}')]), ("json.event.kind", "json.id")),
        (b'{"data": {"list": [{"id": "SM1"}, {}]}, "kind": "sent"}', "application/json", ("kind", "data.list[1].id")),
        (b'\xef\xbb\xbf{"kind": "sent", "id": "SM1"}', "application/vnd.partner+json; charset=utf-8", ("kind", "id")),
        (b'{"kind": "sent", "id": "SM1"}', "", ("kind", "id")),
    ],
    ids=["form", "brackets", "JSON in a form", "JSON", "JSON with a mark", "no content type"],
)
async def test_what_happened_to_what_is_read_from_the_body(body: bytes, content_type: str, places: tuple[str, str]) -> None:
    deliver = FakeDeliver()
    read = {"event": {"field": places[0]}, "resource": {"field": places[1]}}
    headers = {**signed(body), "Content-Type": content_type}
    async with listening(deliver, **read) as hooks:
        assert (await post(hooks.port, body, headers)).status == 200
    [message] = deliver.delivered
    assert (message.body, message.type, message.headers["resource"]) == (body, "sent", "SM1")


async def test_it_may_stand_in_a_header_or_in_the_url() -> None:
    deliver = FakeDeliver()
    read = {"event": {"header": "X-Event"}, "resource": {"query": "job"}}
    async with listening(deliver, **read) as hooks:
        headers = {**signed(b"{}"), "X-Event": "fax.sent"}
        assert (await post(hooks.port, b"{}", headers, target=f"{PATH}?prod=1&job=J%2F7")).status == 200
    assert (deliver.delivered[0].type, deliver.delivered[0].headers["resource"]) == ("fax.sent", "J/7")


@pytest.mark.parametrize("value", ["x" * 201, "a\nb", "\u0000", "", None, {"a": 1}, ["a"]], ids=lambda v: repr(v)[:20])
async def test_what_is_no_name_and_no_id_is_left_out(value: Any) -> None:
    deliver, body = FakeDeliver(), json.dumps({"event": value, "id": value}).encode()
    async with listening(deliver, **READ) as hooks:
        assert (await post(hooks.port, body)).status == 200
    assert deliver.delivered[0].body == body
    assert dict(deliver.delivered[0].headers) == {"content_type": "application/json"}


@pytest.mark.parametrize("body", [b"", b"not json", b"\xff\xfe\x00", b"[" * 50_000, b"<xml/>", b'{"a":'], ids=ascii)
async def test_what_cannot_be_read_is_kept_all_the_same(body: bytes) -> None:
    """The partner has proved itself and will not send it again: a person may look at it."""
    deliver = FakeDeliver()
    async with listening(deliver, each="events", **READ) as hooks:
        assert (await post(hooks.port, body)).status == 200
    assert [message.body for message in deliver.delivered] == [body]


async def test_several_events_of_one_delivery_are_kept_together_each_as_it_came() -> None:
    calls: list[list[Message]] = []

    class Counting(FakeDeliver):
        async def __call__(self, messages: Sequence[Message]) -> FakeReceipt:
            calls.append(list(messages))
            return await super().__call__(messages)

    first, second = b'{"event": "a",  "id": 1.50, "n": "\xc3\xa9]"}', b'{"event":"b","id":2}'
    for each, body in ((".", b"[ " + first + b" ,\n" + second + b"]"), ("x.value", b'{"y": [1], "x": {"value": [%b,%b]}}')):
        whole = body % (first, second) if b"%b" in body else body
        async with listening(Counting(), each=each, **READ) as hooks:
            assert (await post(hooks.port, whole)).status == 200
    for messages in calls:
        assert [message.body for message in messages] == [first, second]
        assert [(message.type, message.headers["resource"]) for message in messages] == [("a", "1.50"), ("b", "2")]
        assert messages[0].duplicate_key != messages[1].duplicate_key
    assert len(calls) == 2


async def test_more_events_than_may_be_are_one_message() -> None:
    for count, kept in ((MOST_ITEMS, MOST_ITEMS), (MOST_ITEMS + 1, 1)):
        deliver = FakeDeliver()
        async with listening(deliver, each=".") as hooks:
            assert (await post(hooks.port, b"[" + b"1," * (count - 1) + b"1]")).status == 200
        assert len(deliver.delivered) == kept


async def test_a_delivery_without_an_event_in_it_is_answered() -> None:
    deliver = FakeDeliver()
    async with listening(deliver, each=".") as hooks:
        assert (await post(hooks.port, b"[]")).status == 200
    assert deliver.delivered == []


async def test_a_file_that_was_posted_can_be_read() -> None:
    deliver, scan = FakeDeliver(), bytes(range(256)) * 2000
    body, content_type = form([("event", "INCOMING_FAX"), ("fax", '{"id": "F1"}')], [("file", "../../x.pdf", scan)])
    read = {"event": {"field": "event"}, "resource": {"field": "fax.id"}}
    async with listening(deliver, **read) as hooks:
        assert (await post(hooks.port, body, {**signed(body), "Content-Type": content_type})).status == 200
    [message] = deliver.delivered
    assert (message.type, message.headers["resource"], message.body) == ("INCOMING_FAX", "F1", body)
    [file] = files_of(message)
    assert (file.name, file.filename, file.media_type, file.body) == ("file", "../../x.pdf", "application/pdf", scan)


@pytest.mark.parametrize("of", ["event", "resource", "dedupe"])
async def test_an_id_may_stand_in_the_path_although_no_token_does(of: str) -> None:
    """As with WestFax, whose webhooks nothing signs."""
    deliver = FakeDeliver()
    place: Any = [{"segment": 1}] if of == "dedupe" else {"segment": 1}
    verify = {"how": "unsigned", "reason": "the partner signs nothing"}
    async with listening(deliver, verify=verify, **{of: place}) as hooks:
        assert (await post(hooks.port, b"{}", {}, target=f"{PATH}/SM1")).status == 200
    [message] = deliver.delivered
    assert (message.type, message.headers.get("resource"), message.duplicate_key) == {
        "event": ("SM1", None, None),
        "resource": ("", "SM1", None),
        "dedupe": ("", None, "SM1\x1e0"),
    }[of]


async def test_events_that_come_by_get_are_the_parameters_of_their_url() -> None:
    """WestFax calls a URL that was made from a template."""
    deliver = FakeDeliver()
    verify = {"how": "token", "secrets": ["unguessable"], "signature": {"segment": 1}}
    async with listening(deliver, methods=["GET", "POST"], verify=verify, resource={"field": "job"}) as hooks:
        for token, status in (("unguessable", 200), ("other", 401), ("unguessable/more", 200), ("", 401)):
            found = await post(hooks.port, b"", {}, method="GET", target=f"{PATH}/{token}?job=J7&dir=out")
            assert found.status == status, token
    assert deliver.delivered[0].body == b"job=J7&dir=out"
    assert deliver.delivered[0].headers["resource"] == "J7"


# What is no message.


BAD = {
    "no signature": ({}, "no_signature"),
    "another key": (signed(event(), key="other"), "wrong_signature"),
    "a signature of something else": (signed(b"{}"), "wrong_signature"),
    "an old one": (signed(event(), at=time.time() - 400), "stale"),
    "no time": ({"X-Signature": "00"}, "no_timestamp"),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_delivery_that_is_not_proved_is_no_message(name: str) -> None:
    deliver = FakeDeliver()
    headers, reason = BAD[name]
    async with listening(deliver) as hooks:
        with capture_logs() as logs:
            answer = await post(hooks.port, event(note=CANARY), headers)
    assert (answer.status, answer.body) == (401, b"")
    assert (deliver.delivered, deliver.refused, deliver.away) == ([], [], [reason])
    assert [(entry["code"], entry["reason"], entry["connection"]) for entry in logs] == [("WHK-001", reason, "hooks")]
    assert CANARY not in str(logs)


async def test_a_flood_of_forgeries_fills_no_log() -> None:
    deliver = FakeDeliver()
    async with listening(deliver) as hooks, line(hooks.port) as partner:
        with capture_logs() as logs:
            for _ in range(50):
                await partner.say(request(event(), signed(event(), key="other")))
                assert (await partner.answer()).status == 401
    assert deliver.away == ["wrong_signature"] * 50
    assert len(logs) == 1


async def test_other_paths_and_methods_are_not_there() -> None:
    deliver = FakeDeliver()
    async with listening(deliver) as hooks:
        for target in ("/", "/hooks", f"{PATH}/more", f"{PATH}x", "/HOOKS/PARTNER", f"/..{PATH}", "*", f"http://x{PATH}"):
            assert (await post(hooks.port, b"{}", signed(b"{}"), target=target)).status == 404, target
        for method in ("GET", "PUT", "DELETE", "OPTIONS", "PATCH"):
            found = await post(hooks.port, b"{}", signed(b"{}"), method=method)
            assert (found.status, found.headers["allow"]) == (405, "POST")
        assert (await post(hooks.port, b"{}", target=f"{PATH}/")).status == 200
    assert len(deliver.delivered) == 1


async def test_the_url_that_is_signed_is_ours_and_not_that_of_the_host_header() -> None:
    deliver = FakeDeliver()
    verify = {"how": "hmac", "secrets": ["12345"], "signed": "{url}{form}", "hash": "sha1", "encoding": "base64"}
    verify["signature"] = {"header": "X-Twilio-Signature"}
    public = "https://mycompany.com/myapp.php"
    body = b"To=%2B18005551212&Digits=1234&From=%2B14158675309&CallSid=CA1234567890ABCDE&Caller=%2B14158675309"
    headers = {"X-Twilio-Signature": "RSOYDt4T1cUTdK1PDd93/VVr8B8=", "Content-Type": "application/x-www-form-urlencoded"}
    async with listening(deliver, public_url=public, verify=verify) as hooks:
        assert (await post(hooks.port, body, headers, target=f"{PATH}?foo=1&bar=2")).status == 200
    async with listening(deliver, public_url="https://other.example/x", verify=verify) as hooks:
        forged = {**headers, "X-Forwarded-Host": "mycompany.com", "Forwarded": "host=mycompany.com"}
        assert (await post(hooks.port, body, forged, target=f"{PATH}?foo=1&bar=2")).status == 401
    assert len(deliver.delivered) == 1


# Handshakes.


async def test_a_subscription_is_confirmed_with_the_token_of_its_url() -> None:
    """Microsoft Graph; the token is text and never becomes a page."""
    verify = {"how": "token", "secrets": ["st4te"], "signature": {"field": "value[*].clientState"}}
    deliver = FakeDeliver()
    async with listening(deliver, verify=verify, handshake={"echo_query": "validationToken"}, each="value") as hooks:
        found = await post(hooks.port, b"", {}, target=f"{PATH}?validationToken=Validation%3A+%3Cb%3E1%26")
        assert (found.status, found.body) == (200, b"Validation: <b>1&")
        assert found.headers["content-type"] == "text/plain; charset=utf-8"
        assert found.headers["x-content-type-options"] == "nosniff"
        for query in (f"validationToken={'x' * 1025}", "validationToken=a&validationToken=b"):
            assert (await post(hooks.port, b"", {}, target=f"{PATH}?{query}")).status == 401
        told = b'{"value": [{"clientState": "st4te", "resource": "users/1"}]}'
        assert (await post(hooks.port, told, {})).status == 200
        assert (await post(hooks.port, told.replace(b"st4te", b"guess"), {})).status == 401
    assert [message.body for message in deliver.delivered] == [b'{"clientState": "st4te", "resource": "users/1"}']


async def test_a_subscription_is_confirmed_with_the_header_it_came_with() -> None:
    """RingCentral: at its creation any token, later the one that was agreed on."""
    verify = {"how": "token", "secrets": ["t0ken"], "signature": {"header": "Validation-Token"}}
    answer = {"content_type": "application/json"}
    deliver = FakeDeliver()
    async with listening(deliver, verify=verify, handshake={"echo_header": "Validation-Token"}, answer=answer) as hooks:
        found = await post(hooks.port, b"", {"Validation-Token": "whatever-7"})
        assert (found.status, found.headers["validation-token"]) == (200, "whatever-7")
        assert len(str(found.headers)) + len(found.body) < 1024
        for token in ("x" * 1025, "é", "a\tb"):
            assert (await post(hooks.port, b"", {"Validation-Token": token})).status == 401
        assert (await post(hooks.port, b"{}", {"Validation-Token": "whatever-7"})).status == 401
        assert (await post(hooks.port, b"{}", {"Validation-Token": "t0ken"})).status == 200
    assert len(deliver.delivered) == 1


async def test_a_partner_that_wants_its_id_back_gets_it_when_it_is_known() -> None:
    """Adobe Sign: on the GET that tries the address out, and on every event."""
    verify = {"how": "token", "secrets": ["CBJ-1"], "signature": {"header": "X-AdobeSign-ClientId"}}
    deliver = FakeDeliver()
    async with listening(deliver, verify=verify, handshake={"echo_header": "X-AdobeSign-ClientId", "every": True}) as hooks:
        for method, body in (("GET", b""), ("POST", b"{}")):
            found = await post(hooks.port, body, {"X-AdobeSign-ClientId": "CBJ-1"}, method=method)
            assert (found.status, found.headers["x-adobesign-clientid"]) == (200, "CBJ-1")
            stranger = await post(hooks.port, body, {"X-AdobeSign-ClientId": "CBJ-2"}, method=method)
            assert stranger.status == 401
            assert "x-adobesign-clientid" not in stranger.headers
    assert len(deliver.delivered) == 1


async def test_the_answer_says_what_the_partner_wants_to_hear() -> None:
    """Dropbox Sign sends an event again until it hears these words."""
    answer = {"body": "Hello API Event Received", "headers": {"X-Seen": "yes"}}
    async with listening(answer=answer) as hooks:
        found = await post(hooks.port, b"{}")
    assert (found.status, found.body, found.headers["x-seen"]) == (200, b"Hello API Event Received", "yes")


# In time.


class Slow(FakeDeliver):
    """A store that is slow, until it is not."""

    def __init__(self) -> None:
        super().__init__()
        self.goes_on = asyncio.Event()

    async def __call__(self, messages: Sequence[Message]) -> FakeReceipt:
        await self.goes_on.wait()
        return await super().__call__(messages)


async def test_a_slow_store_is_told_before_the_partner_gives_up() -> None:
    deliver = Slow()
    async with listening(deliver, deadline="3s") as hooks:
        began = time.monotonic()
        found = await post(hooks.port, b"{}")
        assert 2.3 < time.monotonic() - began < 3, "before it gives up, and not much before"
        assert (found.status, found.headers["retry-after"]) == (503, "5")
        deliver.goes_on.set()
        await until(lambda: bool(deliver.delivered))
        assert (await post(hooks.port, b"{}")).status == 200
    assert deliver.away == ["too_late"]


async def test_a_partner_that_sends_again_only_when_a_connection_fails_gets_no_answer() -> None:
    """Zocdoc (vendors.md 16.6)."""
    deliver = FakeDeliver(failures=1)
    async with listening(deliver, not_kept="hang_up") as hooks:
        async with line(hooks.port) as partner:
            await partner.say(request(b"{}", signed(b"{}")))
            assert await partner.ended()
        assert (await post(hooks.port, b"{}")).status == 200


@pytest.mark.parametrize(
    ("error", "after"), [(StoreFull("no space"), "5"), (Busy(retry_after=12), "12"), (StoreError("broken"), "5")], ids=repr
)
async def test_what_cannot_be_kept_is_for_the_partner_to_send_again(error: Exception, after: str) -> None:
    class Failing(FakeDeliver):
        async def __call__(self, messages: Sequence[Message]) -> FakeReceipt:
            raise error

    async with listening(Failing()) as hooks:
        found = await post(hooks.port, b"{}")
    assert (found.status, found.headers["retry-after"]) == (503, after)


async def test_a_mistake_in_the_program_is_for_the_partner_to_send_again() -> None:
    class Broken(FakeDeliver):
        async def __call__(self, messages: Sequence[Message]) -> FakeReceipt:
            raise KeyError(CANARY)

    with capture_logs() as logs:
        async with listening(Broken()) as hooks:
            assert (await post(hooks.port, b"{}")).status == 500
    assert [(entry["error"], entry["code"]) for entry in logs] == [("KeyError", "BUG-001")]
    assert CANARY not in str(logs)


async def test_what_is_on_its_way_when_it_closes_is_kept_and_answered() -> None:
    deliver = Slow()
    async with listening(deliver) as hooks, line(hooks.port) as partner:
        port = hooks.port
        await partner.say(request(b"{}", signed(b"{}")))
        await asyncio.sleep(0.05)
        closing = asyncio.create_task(hooks.close())
        await asyncio.sleep(0.05)
        later = await post(port, b"{}")
        assert (later.status, later.headers["retry-after"]) == (503, "5"), "what comes now is to come again"
        deliver.goes_on.set()
        assert (await partner.answer()).status == 200
        await closing
    assert len(deliver.delivered) == 1
    assert deliver.away == ["closing"]


async def test_a_partner_may_be_slowed() -> None:
    deliver = FakeDeliver()
    async with listening(deliver, rate="5/s") as hooks, line(hooks.port) as partner:
        statuses = []
        for number in range(8):
            await partner.say(request(event(number), signed(event(number))))
            statuses.append((await partner.answer()).status)
        for _ in range(20):
            await partner.say(request(event(), signed(event(), key="other")))
            assert (await partner.answer()).status == 401, "forgeries take nothing of what the partner may"
    assert statuses[:5] == [200] * 5
    assert 429 in statuses[5:]
    assert deliver.away.count("too_many") == statuses.count(429)


# Limits.


async def test_a_long_body_is_not_read() -> None:
    deliver = FakeDeliver()
    async with listening(deliver, max_body="4KiB") as hooks:
        at_most = b"x" * 4096
        assert (await post(hooks.port, at_most)).status == 200
        long = at_most + b"y"
        async with line(hooks.port) as partner:
            await partner.say(request(b"", signed(long)).replace(b"Content-Length: 0", b"Content-Length: 4097"))
            assert (await partner.answer()).status == 413, "it says how long it is"
            assert await partner.ended()
        async with line(hooks.port) as partner:
            chunks = b"1000\r\n" + b"x" * 4096 + b"\r\n1\r\ny\r\n"
            head = request(b"", {**signed(long), "Transfer-Encoding": "chunked"}).replace(b"Content-Length: 0\r\n", b"")
            await partner.say(head + chunks)
            assert (await partner.answer()).status == 413
            assert await partner.ended()
    assert [len(message.body) for message in deliver.delivered] == [4096]


async def test_what_comes_at_once_has_room_only_so_far() -> None:
    """Bodies of 32 MiB on five connections would be more than there is room for; what was read frees its room."""
    half = b"x" * (28 * 1024 * 1024)
    head = request(b"", signed(b"{}")).replace(b"Content-Length: 0", b"Content-Length: 31000000")
    deliver = FakeDeliver()
    async with listening(deliver) as hooks, contextlib.AsyncExitStack() as stack:
        for _ in range(2):
            lines = [await stack.enter_async_context(line(hooks.port)) for _ in range(4)]
            for partner in lines:
                await partner.say(head + half)
            one_more = await stack.enter_async_context(line(hooks.port))
            saying = asyncio.create_task(one_more.say(head + half))
            found = await one_more.answer()
            assert (found.status, found.headers["retry-after"]) == (503, "5")
            with contextlib.suppress(ConnectionError):
                await saying
            for partner in lines:
                partner.writer.transport.abort()
            await until(lambda: deliver.away.count("gone") % 4 == 0 and "gone" in deliver.away)
        assert (await post(hooks.port, b"{}")).status == 200
    assert deliver.away.count("too_much") == 2


SLOW_HEADS = {
    "nothing": b"",
    "half a line": b"POST /hooks",
    "headers without end": b"POST " + PATH.encode() + b" HTTP/1.1\r\nHost: x\r\nX-Signature: a\r\nX-",
}


@pytest.mark.parametrize("name", SLOW_HEADS)
async def test_a_head_that_does_not_end_has_its_time(name: str) -> None:
    async with listening(read_timeout="300ms") as hooks, line(hooks.port) as partner:
        began = time.monotonic()
        await partner.say(SLOW_HEADS[name])

        async def drip() -> None:
            while SLOW_HEADS[name]:
                await asyncio.sleep(0.05)
                await partner.say(b"x")

        dripping = asyncio.create_task(drip())
        assert await partner.ended()
        assert time.monotonic() - began < 2
        dripping.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await dripping
        assert (await post(hooks.port, b"{}")).status == 200


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
async def test_a_body_that_does_not_end_has_its_time(chunked: bool) -> None:
    deliver = FakeDeliver()
    async with listening(deliver, read_timeout="300ms") as hooks, line(hooks.port) as partner:
        head = request(b"", {**signed(b"{}"), "Transfer-Encoding": "chunked"} if chunked else signed(b"{}"))
        await partner.say(head.replace(b"Content-Length: 0\r\n", b"" if chunked else b"Content-Length: 100\r\n"))

        async def drip() -> None:
            while True:
                await partner.say(b"1\r\nx\r\n" if chunked else b"x")
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        assert (await partner.answer()).status == 408
        dripping.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await dripping
    assert (deliver.delivered, deliver.away) == ([], ["too_slow"])


async def test_who_goes_on_after_the_answer_is_cut_off() -> None:
    """A request that was answered before its end, and whose sender does not stop."""
    async with listening(read_timeout="300ms", max_body="1KiB") as hooks, line(hooks.port) as partner:
        await partner.say(request(b"", {}, target="/nowhere").replace(b"Content-Length: 0", b"Content-Length: 99999999"))
        assert (await partner.answer()).status == 404
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                await partner.say(b"x" * 1000)
                await asyncio.sleep(0.02)
            raise AssertionError("it went on for two seconds")


@pytest.mark.parametrize("size", [40_000, 5_000_000])
async def test_a_huge_head_is_refused(size: int) -> None:
    async with listening() as hooks, line(hooks.port) as partner:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await partner.say(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nX-Long: {'y' * size}\r\n\r\n".encode())
            assert (await partner.answer()).status in (400, 431)
        assert (await post(hooks.port, b"{}")).status == 200


NO_HTTP = [
    b"\x16\x03\x01\x02\x00\x01\x00",
    b"\x0bMSH|^~\\&|",
    b"GET\r\n\r\n",
    b"POST / HTTP/9\r\n\r\n",
    b"\r\n" * 50,
    b"\0" * 500,
]


@pytest.mark.parametrize("raw", NO_HTTP, ids=ascii)
async def test_what_is_no_http_ends_there(raw: bytes) -> None:
    async with listening(read_timeout="300ms") as hooks:
        async with line(hooks.port) as partner:
            await partner.say(raw)
            with contextlib.suppress(ConnectionError):
                rest = await partner.reader.read()
                assert rest == b"" or rest.startswith(b"HTTP/1.1 400")
        assert (await post(hooks.port, b"{}")).status == 200


async def test_who_only_holds_connections_keeps_nobody_out() -> None:
    async with listening(max_connections=3) as hooks, contextlib.AsyncExitStack() as stack:
        used, idle, begun = [await stack.enter_async_context(line(hooks.port)) for _ in range(3)]
        await used.say(request(b"{}", signed(b"{}")))
        assert (await used.answer()).status == 200
        await begun.say(request(b"{}", signed(b"{}"))[:-1])
        assert (await post(hooks.port, b"{}")).status == 200
        assert await used.ended(), "the oldest that asked nothing"
        await begun.say(b"}")
        assert (await begun.answer()).status == 200, "what was under way went on"
        await idle.say(request(b"{}", signed(b"{}")))
        assert (await idle.answer()).status == 200


async def test_more_connections_than_there_may_be_are_closed_while_all_ask() -> None:
    deliver = Slow()
    async with listening(deliver, max_connections=2) as hooks, contextlib.AsyncExitStack() as stack:
        lines = [await stack.enter_async_context(line(hooks.port)) for _ in range(2)]
        for partner in lines:
            await partner.say(request(b"{}", signed(b"{}")))
        await asyncio.sleep(0.1)
        one_more = await stack.enter_async_context(line(hooks.port))
        assert await one_more.ended()
        deliver.goes_on.set()
        assert [(await partner.answer()).status for partner in lines] == [200, 200]


async def test_a_body_that_has_to_prove_itself_may_not_be_long() -> None:
    verify = {"how": "token", "secrets": ["st4te"], "signature": {"field": "clientState"}}
    async with listening(verify=verify) as hooks, line(hooks.port) as partner:
        assert (await post(hooks.port, b'{"clientState": "st4te"}', {})).status == 200
        await partner.say(request(b"", {}).replace(b"Content-Length: 0", b"Content-Length: 1100000"))
        assert (await partner.answer()).status == 413


@pytest.mark.parametrize(
    ("signed", "content_type", "is_read"),
    [
        ("{url}{form}", "application/x-www-form-urlencoded", False),
        ("{url}{form}", "multipart/form-data; boundary=x", False),
        ("{body}", "application/x-www-form-urlencoded", False),
        ("{url}{form}{files}", "multipart/form-data; boundary=x", True),
        ("{body}", "application/json", True),
    ],
)
async def test_a_form_of_a_stranger_is_short_unless_it_brings_files(signed: str, content_type: str, is_read: bool) -> None:
    verify = {"how": "hmac", "secrets": [KEY], "signature": {"header": "X-Signature"}, "signed": signed}
    headers = {"Content-Type": content_type, "X-Signature": "0" * 64}
    async with listening(verify=verify, public_url=f"https://clinic.example{PATH}") as hooks, line(hooks.port) as partner:
        long = b"a=" + b"%41" * 400_000
        head = request(b"", headers).replace(b"Content-Length: 0", b"Content-Length: %d" % len(long))
        await partner.say(head + (long if is_read else b""))
        assert (await partner.answer()).status == (401 if is_read else 413)


# Ports, paths and TLS.


async def test_connections_share_a_port() -> None:
    port, one, other = free_port(), FakeDeliver(), FakeDeliver()
    async with listening(one, name="one", port=str(port), path="/one"):
        async with listening(other, name="other", port=str(port), path="/other"):
            assert (await post(port, b"1", target="/one")).status == 200
            assert (await post(port, b"2", target="/other")).status == 200
            with pytest.raises(ConnectionDown, match=r"third.*/one already, for one") as caught:
                async with listening(name="third", port=str(port), path="/one"):
                    pass
            assert caught.value.code == "WHK-002"
        async with line(port) as partner:
            await partner.say(request(b"3", signed(b"3"), target="/other"))
            assert await partner.ended(), "as if nobody listened: it was there, and may come back"
        assert (await post(port, b"4", target="/one")).status == 200
        async with listening(other, name="other", port=str(port), path="/other"):
            assert (await post(port, b"5", target="/other")).status == 200
    with pytest.raises(OSError):
        await post(port, b"6", target="/one")
    assert [message.body for message in one.delivered] == [b"1", b"4"]
    assert [message.body for message in other.delivered] == [b"2", b"5"]


async def test_a_port_that_is_taken_is_told() -> None:
    port = free_port()
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", port)
    async with server:
        with pytest.raises(ConnectionDown, match=f"hooks: cannot listen on 127.0.0.1:{port}") as caught:
            async with listening(port=str(port)):
                pass
    assert caught.value.code == "NET-010"
    async with listening(port=str(port)) as hooks:
        assert (await post(hooks.port, b"{}")).status == 200


async def _over_tls(port: int, context: ssl.SSLContext) -> int:
    async with line(port, ssl=context) as partner:
        await partner.say(request(b"{}", signed(b"{}")))
        return (await partner.answer()).status


async def test_over_tls_with_and_without_a_certificate_of_the_partner(certificates: Certificates) -> None:
    tls = certificates.tls("127.0.0.1")
    async with listening(tls=tls) as hooks:
        assert await _over_tls(hooks.port, certificates.client()) == 200
        async with line(hooks.port) as plain:
            with contextlib.suppress(ConnectionError):
                await plain.say(request(b"{}", signed(b"{}")))
                assert b"200" not in await plain.reader.read()
    ours = certificates.tls("client@clinic.example")
    async with listening(tls={**tls, "client_ca": certificates.ca}) as hooks:
        assert await _over_tls(hooks.port, certificates.client(ours)) == 200
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await _over_tls(hooks.port, certificates.client())
    async with listening(tls={**tls, "client_ca": certificates.ca, "client_pins": ["ab" * 32]}) as hooks:
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await _over_tls(hooks.port, certificates.client(ours))


async def test_one_port_has_one_tls(certificates: Certificates) -> None:
    port = str(free_port())
    async with listening(name="one", port=port, path="/one"):
        with pytest.raises(ConnectionDown, match=r"other: one listens on port .* with another `tls`"):
            async with listening(name="other", port=port, path="/other", tls=certificates.tls("127.0.0.1")):
                pass


# Settings.


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"verify": None}, "verify"),
        ({"host": "0.0.0.0"}, "tls.*allow_plaintext"),
        ({"path": "hooks"}, "path"),
        ({"path": "/hooks/"}, "path"),
        ({"path": "/"}, "path"),
        ({"path": "/a b"}, "path"),
        ({"public_url": "https://hooks.example/x?a=1"}, "public_url"),
        ({"public_url": "http://hooks.example/x"}, "https"),
        ({"public_url": "https://me:secret@hooks.example/x"}, "credentials"),
        ({"verify": {**SIGNED, "signed": "{url}{timestamp}"}}, "public_url"),
        ({"handshake": {}}, "echo"),
        ({"handshake": {"echo_query": "a", "echo_header": "b"}}, "echo"),
        ({"handshake": {"echo_query": "a", "every": True}}, "echo_header"),
        ({"handshake": {"echo_header": "a", "every": True}}, "token"),
        ({"answer": {"status": 302}}, "status"),
        ({"answer": {"headers": {"X": "a\r\nb"}}}, "headers"),
        ({"methods": []}, "methods"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=f"(?s){complaint}"):
        config(**settings)


def test_no_secret_is_shown() -> None:
    assert KEY not in repr(config())
    with pytest.raises(ValidationError) as caught:
        config(verify={**SIGNED, "secrets": [KEY, ""]})
    assert KEY not in str(caught.value)


# In a hub.


CLINIC = """
connections:
  hooks:
    kind: webhook_listener
    port: "0"
    path: /hooks/partner
    verify: {how: basic, user: hub, secrets: [{$file: secret}]}
    event: {field: event}
    resource: {field: id}
    dedupe: [{field: id}, {field: event}]
  out: {kind: folder, path: out, name: "{id}.json"}
flows:
  sent: {from: hooks, when: {event: fax.*, not: {data.quiet: "yes"}}, steps: [{send: out}]}
"""


async def test_in_a_hub_events_go_to_flows_and_are_recognised_when_they_come_again(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("pass")
    (tmp_path / "out").mkdir()
    bodies = [
        b'{"event": "fax.sent", "id": "F1"}',
        b'{"event": "fax.sent", "id": "F1"}',
        b'{"event": "fax.sent", "id": "F2"}',
        b'{"event": "text.sent", "id": "F3"}',
        b'{"event": "fax.sent", "id": "F4", "data": {"quiet": "yes"}}',
    ]
    async with running_hub(clinic_folder(tmp_path, CLINIC)) as hub:
        for body in bodies:
            assert (await post(port_of(hub, "hooks"), body, basic("hub", "pass"))).status == 200
        assert (await post(port_of(hub, "hooks"), bodies[0], basic("hub", "guess"))).status == 401
        await settled(hub)
        [one, *others] = await ask(hub, "messages.list", connection="hooks")
        signals = hub.core.signals.source("hooks")
        trace = await ask(hub, "trace", id="F2")
    assert sorted(file.read_bytes() for file in (tmp_path / "out").iterdir()) == [bodies[0], bodies[2]]
    assert [m["state"] for m in (one, *others)].count("skipped") == 2
    assert len(others) == 3
    assert (signals.received, signals.duplicates, signals.turned_away) == (5, 1, {"wrong_signature": 1})
    assert "fax.sent" in str(trace), "a timeline is found by the partner's id"


async def test_a_key_is_changed_without_losing_an_event_and_without_a_break_for_others(tmp_path: Path) -> None:
    """The steps of docs/how-to/webhooks.md; the other connection of the port keeps its links."""
    port = free_port()
    verify = "{how: unsigned, reason: a test of ports}"
    other = f"  other: {{kind: webhook_listener, port: '{port}', path: /other, verify: {verify}}}\n"
    secrets = ["{$file: old}", "{$file: new}, {$file: old}", "{$file: new}"]
    (tmp_path / "old").write_text("old-key")
    (tmp_path / "new").write_text("new-key")

    def clinic(secrets: str) -> Path:
        verify = f"{{how: basic, user: hub, secrets: [{secrets}]}}"
        one = f"  one: {{kind: webhook_listener, port: '{port}', path: /one, verify: {verify}}}\n"
        return clinic_folder(tmp_path, f"connections:\n{one}{other}")

    statuses = []
    async with running_hub(clinic(secrets[0])) as hub, line(port) as kept:
        for number, named in enumerate(secrets):
            if number:
                clinic(named)
                await ask(hub, "reload")
            await kept.say(request(b"{}", {}, target="/other"))
            assert (await kept.answer()).status == 200
            statuses.append(
                [(await post(port, b"{}", basic("hub", key), target="/one")).status for key in ("old-key", "new-key")]
            )
    assert statuses == [[200, 401], [200, 200], [401, 200]]


async def test_what_was_turned_away_is_in_the_metrics(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("pass")
    (tmp_path / "out").mkdir()
    async with running_hub(clinic_folder(tmp_path, CLINIC)) as hub:
        for key in ("guess", "pass", "guess"):
            await post(port_of(hub, "hooks"), b"{}", basic("hub", key))
        [found] = [family for family in await collect(hub) if family.name == "clinic_hub_turned_away_requests"]
    [sample] = found.samples
    assert (sample.labels, sample.value) == ({"connection": "hooks", "reason": "wrong_signature"}, 2)
