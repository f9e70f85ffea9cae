"""Several messages in one file or frame."""

import re

import pytest
from hypothesis import given, strategies as st

from hub.formats.describe import describe
from hub.formats.hl7v2 import Hl7, batch, split
from tests.hub.formats.messages import MSH, PROPERTY, hl7

ONE = hl7("PID|1||A")
TWO = hl7("PID|1||B", head=MSH.replace("|42|", "|43|"))
HEADS = b"FHS|^~\\&|EPIC\rBHS|^~\\&|EPIC||||||||B77\r"


def patients(body: bytes) -> list[str | None]:
    return [Hl7(part.body).get("PID-3") for part in split(body)[0]]


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n"], ids=["CR", "LF", "CRLF"])
@pytest.mark.parametrize("count", [2, 3, 0], ids=["right count", "wrong count", "no count"])
def test_a_batch_gives_its_messages_in_order_with_its_id(end: bytes, count: int) -> None:
    tail = b"BTS|" + (str(count).encode() if count else b"") + b"|done\rFTS|1\r"
    parts, findings = split((HEADS + ONE + TWO + tail).replace(b"\r", end))
    assert [(p.body, p.index, p.count, p.batch) for p in parts] == [
        (ONE.replace(b"\r", end), 0, 2, "B77"),
        (TWO.replace(b"\r", end), 1, 2, "B77"),
    ]
    assert bool(findings) == (count == 3)
    assert all("3" in text and "2" in text for text in findings)


def test_a_wrong_bts_1_is_a_warning_and_the_messages_are_read() -> None:
    found = describe(HEADS + ONE + TWO + b"BTS|3\rFTS|1\r")
    assert [(f["level"], f["code"]) for f in found["findings"]] == [("warning", "HL7-BATCH")]
    assert [m["patient"]["id"] for m in found["messages"]] == ["A", "B"]


@pytest.mark.parametrize(
    "number", [b"\xb2", b"\xb3", b"9" * 5000, b"-1", b"two", b"\xd9\xa2", b"2.0"], ids=lambda n: repr(n[:4])
)
def test_a_count_that_is_no_number_stops_nothing(number: bytes) -> None:
    parts, _ = split(HEADS + ONE + TWO + b"BTS|" + number + b"\r")
    assert [p.body for p in parts] == [ONE, TWO]


def test_several_batches_in_a_file_keep_their_ids() -> None:
    body = b"FHS|^~\\&\rBHS|^~\\&|||||||||X\r" + ONE + b"BTS|1\rBHS|^~\\&|||||||||Y\r" + TWO + b"BTS|1\rFTS|2\r"
    parts, findings = split(body)
    assert [p.batch for p in parts] == ["X", "Y"]
    assert findings == []


def test_a_message_after_a_batch_does_not_belong_to_it() -> None:
    parts, _ = split(HEADS + ONE + b"BTS|1\rFTS|1\r" + TWO)
    assert [p.batch for p in parts] == ["B77", ""]


def test_a_batch_may_have_separators_of_its_own() -> None:
    parts, findings = split(b"BHS#^~\\&#A########B9\r" + ONE + b"BTS#1\r")
    assert [(p.body, p.batch) for p in parts] == [(ONE, "B9")]
    assert findings == []


def test_a_single_message_is_one_part_with_every_byte() -> None:
    for raw in (ONE, b"\xef\xbb\xbf" + ONE, b"\r\n " + ONE, b"\x0b" + ONE + b"\x1c\r", ONE.rstrip()):
        (part,), findings = split(raw)
        assert (part.body, part.index, part.count, part.batch, findings) == (raw, 0, 1, "", [])


@pytest.mark.parametrize("body", [b"", b"PID|1", b"hello", b"FHS|^~\\&\rFTS|0\r", b"xMSH|^~\\&", b"MSHX|", b"MSH"], ids=repr)
def test_without_a_header_there_is_no_part(body: bytes) -> None:
    assert split(body)[0] == []


def test_a_batch_of_nothing_that_announces_something_says_so() -> None:
    assert split(HEADS + b"BTS|2\rFTS|1\r")[1]


@pytest.mark.parametrize(
    "between", [b"", b"\r\n", b"\n\n\n", b" \r", b"\x1c\r\x0b", b"\xef\xbb\xbf"],
    ids=["nothing", "blank line", "blank lines", "blanks", "frames", "byte order mark"],
)  # fmt: skip
def test_messages_one_after_another_are_parted(between: bytes) -> None:
    """A byte order mark in the middle comes with files that were joined."""
    assert patients(ONE + between + TWO) == ["A", "B"]


def test_frames_in_a_file_leave_nothing_of_themselves_in_values() -> None:
    body = b"\x0b" + ONE + b"\x1c\r\x0b" + TWO + b"\x1c\r"
    assert patients(body) == ["A", "B"]


def test_lower_case_headers_part_messages_too() -> None:
    assert patients(b"m" + b"sh" + ONE[3:] + b"msh" + TWO[3:]) == ["A", "B"]


def test_the_word_msh_inside_a_value_parts_nothing() -> None:
    raw = hl7("PID|1||A", "NTE|1||see MSH|^~\\& and MSHA", "NTE|2||MSH")
    assert [p.body for p in split(raw)[0]] == [raw]


TEXTS = [
    "MSH - Mount Sinai Hospital",
    "MSH, see below",
    "MSH: no",
    "MSH---",
    "msh.",
    "BHS (behavioural health service)",
    "BTS, sleeping",
    "BTS",
    "FTS|",
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("end", ["\r", "\r\n"], ids=["CR", "CRLF"])
def test_a_line_of_text_that_begins_like_a_header_parts_nothing(text: str, end: str) -> None:
    """A value may be broken over lines, and nobody minds how one begins."""
    raw = hl7("PID|1||A", f"OBX|1|TX|||seen at{end}{text}{end}by Dr. ROE|||||F", "PV1|1|O", end=end)
    parts, findings = split(raw)
    assert ([p.body for p in parts], findings) == ([raw], [])
    both = raw + TWO.replace(b"\r", end.encode())
    assert [p.body for p in split(both)[0]] == [raw, TWO.replace(b"\r", end.encode())]


def test_messages_with_different_separators_are_parted() -> None:
    other = hl7("PID#1##B", head="MSH#*!/+#EPIC#R#HUB#R#2026##ADT*A01#42#T*A#2.4")
    assert [p.body for p in split(ONE + other + TWO)[0]] == [ONE, other, TWO]


@pytest.mark.parametrize("trailer", [b"BTS\rFTS\r", b"BTS|\rFTS|\r", b"bts|2\r", b"BTS"])
def test_a_trailer_is_no_segment_of_the_last_message(trailer: bytes) -> None:
    assert [p.body for p in split(HEADS + ONE + TWO + trailer)[0]] == [ONE, TWO]


@pytest.mark.parametrize("header", [b"MSH|^~\\&amp;|X", b"MSH||X", b"MSH|^|X", b"MSH|"], ids=repr)
def test_a_header_with_the_usual_field_separator_is_one_whatever_follows(header: bytes) -> None:
    assert [p.body for p in split(ONE + header + b"\rPID|1\r")[0]] == [ONE, header + b"\rPID|1\r"]


@PROPERTY
@given(st.binary(max_size=60), st.sampled_from("|#^!"), st.integers(1, 3))
def test_any_batch_is_acknowledged_with_a_batch(content: bytes, separator: str, count: int) -> None:
    header = f"BHS{separator}^~\\&".encode() + separator.encode() + re.sub(rb"[\r\n]", b"", content)
    answer = batch.acknowledged(header, [ONE] * count)
    parts, findings = split(answer)
    assert [part.body for part in parts] == [ONE] * count
    assert findings == []
    assert not {0x0B, 0x1C} & set(answer)
    assert answer.count(b"\r") == 2 + count * ONE.count(b"\r")


@PROPERTY
@given(
    st.lists(st.sampled_from([ONE, TWO, ONE.replace(b"\r", b"\n"), TWO.replace(b"\r", b"\r\n")]), min_size=1, max_size=6),
    st.booleans(),
)
def test_nothing_of_a_message_is_lost_in_parting(messages: list[bytes], in_batch: bool) -> None:
    body = b"".join(messages)
    if in_batch:
        body = HEADS + body + b"BTS|%d\rFTS|1\r" % len(messages)
    parts, findings = split(body)
    assert [p.body for p in parts] == messages
    assert [(p.index, p.count) for p in parts] == [(n, len(messages)) for n in range(len(messages))]
    assert findings == []
