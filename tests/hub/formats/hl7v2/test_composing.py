"""Messages of our own: segments in the order they are named, values escaped, a header that needs nothing but a type."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given, strategies as st

from hub.errors import MessageUnusable
from hub.formats.hl7v2.compose import composed
from hub.formats.hl7v2.message import Hl7
from hub.message import Message

NOW = datetime(2026, 11, 24, 14, 30, tzinfo=UTC)
TYPE = {"MSH-9.1": "ADT", "MSH-9.2": "A08"}


def written(values: dict[str, Any]) -> Message:
    return composed(TYPE | values, Message(b"", "visit_coverage", headers={"appointment": "F-77"}), control_id="C1", now=NOW)


def test_segments_stand_in_the_order_they_are_named_and_the_header_is_whole() -> None:
    found = written(
        {"PID-3.1": "42", "PID-5.1": "Doe", "ZHB-2": "x", "NTE[2]-3": "two", "NTE-3": "one", "PID-7": date(1980, 2, 29)}
    )
    assert (found.format, found.type, found.headers["charset"], found.headers["appointment"]) == (
        "hl7v2", "ADT^A08", "UNICODE UTF-8", "F-77",
    )  # fmt: skip
    assert found.body.decode().split("\r") == [
        r"MSH|^~\&|||||20261124143000+0000||ADT^A08|C1|P|2.5.1||||||UNICODE UTF-8",
        "PID|||42||Doe||19800229",
        "ZHB||x",
        "NTE|||one",
        "NTE|||two",
        "",
    ]


def test_what_a_mapping_says_of_the_header_counts() -> None:
    found = Hl7(written({"MSH-3": "HUB", "MSH-10": "7", "MSH-11": "T", "MSH-12": "2.3"}).body)
    assert [found.get(f"MSH-{n}") for n in (3, 10, 11, 12)] == ["HUB", "7", "T", "2.3"]


@pytest.mark.parametrize("values", [{"MSH-9.1": ""}, {"MSH-9.2": ""}, {"PID-3[5=MR].1": "42"}])
def test_what_cannot_be_written_is_refused(values: dict[str, str]) -> None:
    with pytest.raises(MessageUnusable):
        written(values)


def test_several_values_are_repetitions() -> None:
    assert "PID|||1~2" in written({"PID-3": ["1", "2"]}).body.decode()


@given(st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=30))
def test_any_text_is_read_again_and_never_leaves_its_place(text: str) -> None:
    found = Hl7(written({"PID-5.1": text, "PID-8": "F"}).body)
    assert (found.get("PID-5.1") or "") == text
    assert found.get("PID-8") == "F"
    assert [segment.id for segment in found.segments] == ["MSH", "PID"]
