"""What webhooks carry: JSON and forms read by path, lists taken apart without a byte changed, and anything at all survived."""

from __future__ import annotations

import contextlib
import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, strategies as st

from hub.errors import MessageUnusable
from hub.message import Message
from hub.net.forms import FormUnusable, read_form
from hub.webhooks import Unread, WebhookFormat, data_of, fields_of, files_of, items_of
from tests.connectors.hooks import form

FORM = "application/x-www-form-urlencoded"
FIELDS = {
    "a field": ([("a", "1")], "a", ["1"]),
    "an empty field": ([("a", "")], "a", []),
    "a field twice": ([("a", "1"), ("a", "2")], "a[*]", ["1", "2"]),
    "the second of them": ([("a", "1"), ("a", "2")], "a[2]", ["2"]),
    "a name in brackets": ([("fax[id]", "7")], "fax.id", ["7"]),
    "names in brackets": ([("a[b][c]", "7")], "a.b.c", ["7"]),
    "a list in brackets": ([("a[b][]", "1"), ("a[b][]", "2")], "a.b[*]", ["1", "2"]),
    "brackets that are none": ([("a[b", "7")], "a[b", []),
    "a field and one inside of it": ([("a", "1"), ("a[b]", "2")], "a", ["1"]),
    "one inside of it and a field": ([("a[b]", "2"), ("a", "1")], "a.b", ["2"]),
    "JSON in a field": ([("json", '{"event": {"type": "sent"}}')], "json.event.type", ["sent"]),
    "no JSON in a field": ([("json", "{half")], "json", ["{half"]),
    "signs": ([("a", "é&=+ %")], "a", ["é&=+ %"]),
}


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("kind", ["url-encoded", "multipart"])
def test_a_form_is_read_by_path(name: str, kind: str) -> None:
    fields, path, values = FIELDS[name]
    body, content_type = (urlencode(fields).encode(), FORM) if kind == "url-encoded" else form(fields)
    assert fields_of(body, content_type).get_all(path) == values


def test_a_form_that_does_not_say_what_it_is_is_one() -> None:
    assert fields_of(b"fax[id]=7&a=%7B", "").get("fax.id") == "7"
    with pytest.raises(Unread):
        fields_of(b"fax[id]=7", "text/plain")


def test_a_file_of_a_form_says_what_it_is_and_is_there() -> None:
    body, content_type = form([("a", "1")], [("doc[scan]", "fax 1.pdf", b"%PDF-1.7\r\n\r\n\0")])
    message = Message(body, "webhook", headers={"content_type": content_type})
    fields = WebhookFormat().open(message)
    assert [fields.get(f"doc.scan.{part}") for part in ("filename", "media_type", "size")] == [
        "fax 1.pdf",
        "application/pdf",
        "13",
    ]
    assert [file.body for file in files_of(message)] == [b"%PDF-1.7\r\n\r\n\0"]
    assert files_of(Message(b"{}", "webhook", headers={"content_type": "application/json"})) == []


def test_what_cannot_be_read_goes_to_quarantine_and_shows_nothing() -> None:
    for body, content_type in ((b"secret", ""), (b"secret", "multipart/form-data; boundary=x"), (b"<secret/>", "text/xml")):
        message = Message(body, "webhook", headers={"content_type": content_type})
        with pytest.raises(MessageUnusable) as caught:
            WebhookFormat().open(message)
        assert caught.value.code == "WHK-004"
        assert "secret" not in str(caught.value)
    with pytest.raises(MessageUnusable):
        files_of(Message(b"cut off", "webhook", headers={"content_type": "multipart/form-data; boundary=x"}))


def test_a_form_of_a_million_fields_is_none() -> None:
    with pytest.raises(FormUnusable, match="too many"):
        read_form(b"a=1&" * 1_000_000, FORM)
    deep = "a" + "[b]" * 5000
    assert data_of(urlencode({deep: "1"}).encode(), FORM) == {deep: "1"}


def test_events_are_filed_under_what_they_are_about() -> None:
    keys = WebhookFormat().keys(b"", {"event": "fax.sent", "resource": "F1"})
    assert (keys.type, list(keys.ordering), list(keys.other)) == ("fax.sent", ["F1"], [("partner", "F1")])
    bare = WebhookFormat().keys(b"", {})
    assert (bare.type, list(bare.ordering), list(bare.other)) == ("", [], [])


# Lists.

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
STYLES: list[dict[str, Any]] = [{}, {"indent": 2}, {"separators": (",", ":")}, {"ensure_ascii": False}]


@given(st.lists(JSON, max_size=5), JSON, st.sampled_from(STYLES), st.booleans())
def test_a_list_is_taken_apart_and_no_byte_is_changed(
    items: list[Any], other: Any, style: dict[str, Any], within: bool
) -> None:
    whole = {"x": other, "value": {"other": [other], "list": items}} if within else items
    text = json.dumps(whole, **style)
    try:
        body = text.encode()
    except UnicodeEncodeError:
        return
    found = items_of(body, "value.list" if within else ".")
    assert [json.loads(item) for item in found] == items
    at = 0
    for item in found:
        at = body.index(item, at) + len(item)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b"{}", "."), (b"{}", "a"), (b'{"a": {}}', "a"), (b'{"a": [1]}', "a.b"), (b"[1", "."), (b"[1 2]", "."), (b"[1,", "."),
        (b"", "."), (b"nothing", "."), (b'{"a" [1]}', "a"), (b'{"a": [1]', "b"), (b"[" * 100_000, "."), (b"\xff[]", "."),
    ],
)  # fmt: skip
def test_where_there_is_no_list_it_says_so(body: bytes, path: str) -> None:
    with pytest.raises(Unread):
        items_of(body, path)


def test_of_two_members_of_one_name_the_last_counts_as_for_all_who_read_json() -> None:
    assert items_of(b'{"a": [1], "a": [2, 3]}', "a") == [b"2", b"3"]


@given(st.binary(max_size=200), st.sampled_from(["", FORM, "multipart/form-data; boundary=x", "application/json"]))
def test_any_body_is_read_or_is_not(body: bytes, content_type: str) -> None:
    with contextlib.suppress(Unread):
        fields_of(body, content_type).get_all("a.b[*].c")
    with contextlib.suppress(Unread):
        items_of(body, "a.b")
