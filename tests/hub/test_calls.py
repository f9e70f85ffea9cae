"""APIs of vendors as data: what leaves, what is read, and when a doubt is left."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import threading
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from pydantic import ValidationError

from hub import calls
from hub.calls import Api, ApiSettings, Call, File
from hub.errors import ConnectionDown, DoubtfulSend, HubError, MessageRejected, MessageUnusable
from hub.net.multipart import read_parts
from tests.connectors.web import Web, answer


def said(value, status=200, **headers):
    return answer(status, json.dumps(value).encode(), **headers)


@asynccontextmanager
async def api(web, **given):
    asked = Api("fax_line", ApiSettings.model_validate({"url": f"http://127.0.0.1:{web.port}/api", "timeout": "2s", **given}))
    try:
        yield asked
    finally:
        await asked.close()


async def asked_once(call, values, reply=None, **given):
    """What one call sends, and what comes of it."""
    async with Web(lambda _: said({}) if reply is None else reply) as web, api(web, **given) as partner:
        return await partner.ask(Call.model_validate(call), values), web.asked[-1]


# What leaves.


async def test_json_keeps_its_shape_and_what_nothing_fills_falls_away():
    call = {
        "path": "/envelopes/{id}",
        "query": {"notify": "{notify}", "mode": "test"},
        "headers": {"X-Ref": "{id}"},
        "body": {
            "subject": "Please sign {title}",
            "test": "=true",
            "copies": "{copies|number}",
            "notes": "{notes}",
            "people": {"signers": {"each": "signers", "as": {"mail": "{email}", "order": "{order|number}", "of": "{id}"}}},
        },
    }
    signers = [{"email": "a@x.example", "order": 1}, {"email": "b@x.example", "order": "2"}]

    _, sent = await asked_once(call, {"id": "E 1/7?", "title": "it", "copies": "3", "signers": signers})

    assert sent.path == "/api/envelopes/E%201%2F7%3F?mode=test"
    assert sent.headers["x-ref"] == "E 1/7?"
    assert json.loads(sent.body) == {
        "subject": "Please sign it",
        "test": True,
        "copies": 3,
        "people": {
            "signers": [
                {"mail": "a@x.example", "order": 1, "of": "E 1/7?"},
                {"mail": "b@x.example", "order": 2, "of": "E 1/7?"},
            ]
        },
    }


@pytest.mark.parametrize("size", [0, 1, 2, 3, 1000, 700_001])
async def test_files_in_json_and_forms_arrive_byte_for_byte(size):
    data = random.Random(size).randbytes(size)
    file = File(data, "application/pdf", "a.pdf")

    _, sent = await asked_once({"body": {"file": "{file|base64}", "list": ["{file|base64}"]}}, {"file": file})
    assert base64.b64decode(json.loads(sent.body)["file"]) == data
    assert base64.b64decode(json.loads(sent.body)["list"][0]) == data

    _, sent = await asked_once({"as": "form", "body": {"content": "{file|base64}"}}, {"file": file})
    assert base64.b64decode(sent.form.get("content", "")) == data

    _, sent = await asked_once(
        {"as": "multipart", "body": {"to": "{to|digits}", "files": ["{file}"]}}, {"to": "+1 (555) 0100", "file": file}
    )
    parts = {part.name: part for part in read_parts(sent.body, sent.headers["content-type"])}
    assert parts["to"].body == b"15550100"
    assert parts["files[0]"].body == data
    assert parts["files[0]"].headers["content-type"] == "application/pdf"


async def test_forms_name_what_stands_in_another():
    call = {"as": "form", "body": {"To": "{to}", "signers": {"each": "signers", "as": {"name": "{name}"}}, "test": "=true"}}

    _, sent = await asked_once(call, {"to": "+15550100", "signers": [{"name": "Ann & Co"}, {"name": "B"}]})

    assert parse_qsl(sent.body.decode()) == [
        ("To", "+15550100"), ("signers[0][name]", "Ann & Co"), ("signers[1][name]", "B"), ("test", "true"),
    ]  # fmt: skip


async def test_secrets_go_into_the_body_and_into_no_repr():
    call = {"as": "form", "body": {"access_pwd": "{secret.password}"}}

    _, sent = await asked_once(call, {}, secrets={"password": "s3cret"})

    assert sent.form == {"access_pwd": "s3cret"}
    assert "s3cret" not in repr(ApiSettings.model_validate({"url": "http://127.0.0.1:1", "secrets": {"password": "s3cret"}}))


async def test_what_must_be_told_and_is_missing_is_said_before_anything_leaves():
    with pytest.raises(MessageUnusable, match="`partner_id` is missing"):
        await asked_once({"method": "GET", "path": "/faxes/{partner_id}"}, {"partner_id": ""})


async def test_a_body_in_pieces_is_sent_again_with_a_new_token():
    replies = iter([said({"access_token": "old"}), answer(401), said({"access_token": "new"}), said({"id": "7"})])
    async with Web(lambda _: next(replies)) as web:
        auth = {"token_url": web.token_url, "client_id": "hub", "client_secret": "s"}
        async with api(web, auth=auth) as partner:
            call = Call.model_validate({"body": {"file": "{file|base64}"}, "answer": {"partner_id": "id"}})
            got = await partner.order(call, {"file": File(b"x" * 300_000)})

    assert got.text("partner_id") == "7"
    assert [a.headers.get("authorization") for a in web.asked if a.path == "/api"] == ["Bearer old", "Bearer new"]
    assert web.asked[1].body == web.asked[3].body


# What is read.


async def test_an_answer_is_read_where_the_profile_says():
    call = {
        "method": "GET",
        "answer": {
            "id": "data.id",
            "state": "data.faxes[1].status",
            "pages": "data.pages",
            "name": "file | after |",
            "first": "file | before |",
            "at": "$header Location | after /",
            "status": "$status",
            "whole": "$body",
            "none": "data.nothing",
        },
    }
    body = {"data": {"id": 12, "faxes": [{"status": "sent"}], "pages": 1.50}, "file": "2026|a.tif|77"}

    got, _ = await asked_once(call, {}, said(body, 201, location="/faxes/99"))

    whole = got.found["whole"]
    assert json.loads(whole) == body
    texts = {"id": "12", "state": "sent", "pages": "1.5", "name": "77", "first": "2026", "at": "99", "status": "201"}
    assert got.found == {**texts, "whole": whole}


@pytest.mark.parametrize(
    ("items", "body", "ids"),
    [
        ("Result", {"Result": [{"id": 1}, {"id": 2}]}, ["1", "2"]),
        ("Result", {"Result": {"id": 1}}, ["1"]),
        ("Result", {"Result": ""}, []),
        ("Result", {}, []),
        ("a.b", {"a": {"b": [{"id": "x"}, 7, None]}}, ["x"]),
        ("$list", [{"id": 5}], ["5"]),
    ],
)
async def test_lists_are_read_in_the_shapes_vendors_give_them(items, body, ids):
    got, _ = await asked_once({"method": "GET", "items": items, "answer": {"id": "id"}}, {}, said(body))

    assert [entry["id"] for entry in got.items] == ids


async def test_pages_are_followed_to_their_end_and_never_to_another_host():
    def replies(request):
        page = dict(parse_qsl(request.path.partition("?")[2])).get("page", "1")
        return said({"rows": [{"id": page}], "next": str(int(page) + 1) if page != "3" else ""})

    call = {
        "method": "GET",
        "query": {"size": "1"},
        "items": "rows",
        "answer": {"id": "id"},
        "next_page": "next",
        "page": "page",
    }
    async with Web(replies) as web, api(web) as partner:
        got = await partner.ask(Call.model_validate(call), {})
    assert [entry["id"] for entry in got.items] == ["1", "2", "3"]
    assert web.asked[-1].path == "/api?size=1&page=3"

    call = {**call, "page": None}
    elsewhere = ["https://elsewhere.example/api?page=2", "//elsewhere.example/", "https:/\\elsewhere.example"]
    for address in elsewhere:
        with pytest.raises(ConnectionDown, match="next page on another host"):
            await asked_once(call, {}, said({"rows": [], "next": address}))


@pytest.mark.parametrize("address", ["/api/list?page=2", "?page=2", "list?page=2", ".evil.example/x", "@evil.example/x"])
async def test_a_next_page_is_asked_of_the_same_host_however_it_is_written(address):
    replies = iter([said({"rows": [{"id": "1"}], "next": address}), said({"rows": [{"id": "2"}]})])
    call = {"method": "GET", "path": "/list", "items": "rows", "answer": {"id": "id"}, "next_page": "next"}
    async with Web(lambda _: next(replies)) as web, api(web) as partner:
        got = await partner.ask(Call.model_validate(call), {})
    assert [entry["id"] for entry in got.items] == ["1", "2"]


async def test_a_good_status_may_be_a_refusal_a_wait_or_nothing():
    call = {
        "failed_if": {"Status": ["Failed"]},
        "later_if": {"Result": ["busy"]},
        "why": "Result",
        "nothing": [404],
        "not_yet": [202],
    }

    with pytest.raises(MessageRejected) as refused:
        await asked_once(call, {}, said({"Status": "Failed", "Result": "Invalid number"}))
    assert (refused.value.answer, refused.value.final) == ("Invalid number", True)
    assert "Invalid" not in str(refused.value)
    with pytest.raises(ConnectionDown, match="says: later"):
        await asked_once(call, {}, said({"Status": "Failed", "Result": "busy"}))
    assert (await asked_once(call, {}, answer(404)))[0] is None
    assert (await asked_once(call, {}, answer(202)))[0].not_yet


@pytest.mark.parametrize(("size", "beside"), [(10, False), (300_000, True)])
async def test_others_have_their_turn_while_a_long_answer_is_read(size, beside, monkeypatch):
    threads = []

    def read(data):
        threads.append(threading.current_thread())
        return json.loads(data)

    monkeypatch.setattr(calls, "read_json", read)
    call = {"items": "rows", "answer": {"id": "id"}, "next_page": "next", "page": "page"}
    got, _ = await asked_once(call, {}, said({"rows": [{"id": "x" * size}], "next": ""}))
    assert [len(entry["id"]) for entry in got.items] == [size]
    assert [thread is not threading.main_thread() for thread in threads] == [beside, beside]


# Doubts.


@pytest.mark.parametrize(
    ("reply", "doubt"),
    [
        (answer(500), True),
        (answer(502), True),
        (answer(503), False),
        (answer(429), False),
        (answer(401), False),
        (None, True),
        ("silence", True),
        (answer(200, b"<html>Login</html>"), True),
        (answer(200, b'{"id": '), True),
        (answer(200), True),
        (answer(200, b'{"state": "queued"}'), True),
    ],
)
async def test_what_may_have_been_done_is_not_done_again(reply, doubt):
    async def silence():
        await asyncio.sleep(5)

    async with Web(lambda _: silence() if reply == "silence" else reply) as web, api(web, timeout="0.2s") as partner:
        with pytest.raises(DoubtfulSend if doubt else ConnectionDown):
            await partner.order(Call.model_validate({"body": {}, "answer": {"id": "id"}}), {})


@pytest.mark.parametrize("there", [True, False])
async def test_a_doubt_is_settled_with_the_partner_where_it_can_be(there, monkeypatch):
    monkeypatch.setattr(calls, "LOOKS", (0.01, 0.01))

    def replies(request):
        return answer(500) if request.method == "POST" else said({"rows": [{"id": "77"}] if there else []})

    find = Call.model_validate({"method": "GET", "query": {"tag": "{id}"}, "items": "rows", "answer": {"partner_id": "id"}})
    async with Web(replies) as web, api(web) as partner:
        if there:
            assert (await partner.order(Call(body={}), {"id": "f-1"}, find=find)).found == {"partner_id": "77"}
        else:
            with pytest.raises(DoubtfulSend):
                await partner.order(Call(body={}), {"id": "f-1"}, find=find)
    assert [request.method for request in web.asked].count("POST") == 1


async def test_what_a_loose_search_finds_beside_ours_is_passed_over():
    rows = [{"id": "1", "ref": "other"}, {"id": "2"}, {"id": "3", "ref": "f-1"}, {}]
    answered = {"items": "rows", "answer": {"partner_id": "id", "reference": "ref"}}
    find = Call.model_validate({"method": "GET", **answered})
    async with Web(lambda _: said({"rows": rows})) as web, api(web) as partner:
        assert (await partner.find(find, {"reference": "f-1", "partner_id": None})).found["partner_id"] == "3", (
            "what names no reference is not ours"
        )
        rows.pop(1)
        assert (await partner.find(find, {"reference": "f-1"})).found == {"partner_id": "3", "reference": "f-1"}
        assert await partner.find(find, {"reference": "f-2"}) is None


async def test_what_never_left_is_no_doubt():
    async with Web(lambda _: None) as web:
        pass
    async with api(web) as partner:
        with pytest.raises(ConnectionDown):
            await partner.order(Call(body={}), {})

    async with Web(lambda _: None) as web:
        auth = {"token_url": web.token_url, "client_id": "hub", "client_secret": "s"}
        async with api(web, auth=auth) as partner:
            with pytest.raises(ConnectionDown) as down:
                await partner.order(Call(body={}), {})
    assert not down.value.maybe_done


@pytest.mark.parametrize("where", ["connecting", "the token"])
async def test_silence_before_anything_left_is_no_doubt(where):
    """A firewall that drops packets, or a token server that hangs, must not make people look for every order."""

    async def silence():
        await asyncio.sleep(5)

    auth = {}
    async with Web(lambda request: silence()) as web:
        if where == "the token":
            auth = {"auth": {"token_url": web.token_url, "client_id": "hub", "client_secret": "s"}}
        async with api(web, timeout="0.2s", **auth) as partner:
            if where == "connecting":
                partner._client._client._transport._pool._network_backend = Unreachable()
            with pytest.raises(ConnectionDown) as down:
                await partner.order(Call(body={}), {})
    assert not down.value.maybe_done


class Unreachable:
    """A network whose connections never come about."""

    async def connect_tcp(self, *arguments, **settings):
        await asyncio.sleep(5)


# Mistakes in profiles.


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ({"answer": {"id": "data..id"}}, "is no path"),
        ({"items": "a b"}, "is no path"),
        ({"body": {"to": "{to|digit}"}}, "names digit; there are digits"),
        ({"body": {"test": "=yes"}}, "is no JSON"),
        ({"pth": "/x"}, "Extra inputs"),
    ],
)
def test_a_profile_with_a_mistake_is_refused(call, words):
    with pytest.raises(ValidationError, match=words):
        Call.model_validate(call)


def test_secrets_that_a_profile_asks_for_must_be_given():
    class Settings(ApiSettings):
        send: Call

    send = {"as": "form", "body": {"id": "{secret.account}", "pwd": "{secret.password}"}}
    with pytest.raises(ValidationError, match="`secrets` lacks account, which"):
        Settings.model_validate({"url": "http://127.0.0.1:1", "send": send, "secrets": {"password": "x"}})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "rows", "next", "Status", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40))
async def test_whatever_a_partner_answers_is_read_or_told(body):
    call = {
        "items": "rows",
        "answer": {"id": "id"},
        "next_page": "next",
        "page": "p",
        "failed_if": {"Status": ["x"]},
        "later_if": {"rows[*].x": ["*"]},
    }
    replies = iter([answer(200, body)])
    async with Web(lambda _: next(replies, said({}))) as web, api(web) as partner:
        try:
            got = await partner.ask(Call.model_validate(call), {})
        except HubError:
            return
    assert all(isinstance(entry.get("id", ""), str) for entry in got.items)
