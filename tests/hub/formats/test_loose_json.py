"""JSON from partners: what is asked for or nothing, numbers as they were written."""

from __future__ import annotations

from typing import Any

import pytest

from hub.formats.loose_json import MOST_ITEMS, Unreadable, object_of, objects_of, read_object, text_of, texts_of


@pytest.mark.parametrize(
    "data", [b'{"a": "1"}', b'\xef\xbb\xbf{"a": "1"}', b'\n {"a": 1}', '{"a": "1", "\u00fc": 2}'.encode("latin-1")]
)
def test_an_object_is_read_in_the_charsets_there_are(data: bytes) -> None:
    assert read_object(data)["a"] == "1"


@pytest.mark.parametrize("number", ["25.00", "1e5", "-0", "123456789012345678901234567890", "0.10", "NaN"])
def test_numbers_stay_as_they_were_written(number: str) -> None:
    assert text_of(read_object(f'{{"a": {number}}}'.encode())["a"]) == number


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"<!DOCTYPE html><p>DOE", "web page"),
        (b"<Envelope>DOE", "XML"),
        (b"ISA*00*DOE", "X12"),
        (b"[1]", "no JSON object"),
        (b'"DOE"', "no JSON object"),
        (b'{"a": "DOE', "cut off"),
        (b"DOE", "no JSON"),
        (b"\xff\x00", "no JSON"),
    ],
)
def test_what_it_is_instead_is_told_without_a_word_of_it(data: bytes, what: str) -> None:
    with pytest.raises(Unreadable, match=what) as caught:
        read_object(data)
    assert "DOE" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "text"),
    [("  a\tb\n", "a b"), (None, ""), (True, ""), ({}, ""), (["a"], ""), ("\ud800x", "?x"), ("Zo\u00eb\x00", "Zo\u00eb")],
)
def test_a_text_is_one_line_or_nothing(value: Any, text: str) -> None:
    assert text_of(value) == text


def test_one_thing_may_stand_for_a_list_of_one() -> None:
    assert (texts_of("a"), texts_of(["a", None, "", "b"]), texts_of(None)) == (["a"], ["a", "b"], [])
    assert (objects_of({"a": 1}), objects_of([1, {"a": 1}]), objects_of("a")) == ([{"a": 1}], [{"a": 1}], [])
    assert (object_of([{"a": 1}, {"b": 2}]), object_of(None)) == ({"a": 1}, {})


def test_there_is_an_end_to_lists() -> None:
    assert len(texts_of(["a"] * (MOST_ITEMS + 5))) == MOST_ITEMS
