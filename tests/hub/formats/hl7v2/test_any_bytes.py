"""Whatever comes, HL7 v2 code answers or calls it unusable, in time that grows with the bytes and no faster."""

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given, strategies as st

from hub.errors import MessageUnusable
from hub.formats.describe import describe
from hub.formats.hl7v2 import Hl7, acknowledge, read_acknowledgement, split
from hub.formats.hl7v2.codec import Hl7Format
from tests.hub.formats.hl7v2.wires import Wire, wires
from tests.hub.formats.messages import MSH, PROPERTY, assert_linear, hl7

WORDS = [
    b"MSH", b"MSH|^~\\&|", MSH.encode(), b"msh|", b"PID|1||42^^^A^MR", b"PID", b"OBX|1|TX|", b"MRG|1", b"SCH|",
    b"IN1|", b"MSA|AA|",
    b"FHS|^~\\&|", b"BHS|^~\\&|||||||||", b"BTS|", b"FTS|", b"\r", b"\n", b"\r\n", b"|", b"||||||||||", b"^", b"~",
    b"\\", b"&", b"#",
    b"\\X0D\\", b"\\.br\\", b"\\F\\", b"\\X", b"\\.sp99\\", b'""', b" ", b"\x00", b"\x0b", b"\x1c\r", b"\xef\xbb\xbf",
    b"\xff", b"\xb2",
    "²".encode(), b"UNICODE UTF-8", b"8859/1", b"UTF-7", b"idna", b"\xa4\xa2", b"9", b"0", b"2.5", b"-1", b"ISA*", b"ACK",
]  # fmt: skip
"""What messages are made of, and what breaks them."""
noise = st.one_of(
    st.binary(max_size=200),
    st.lists(st.one_of(st.sampled_from(WORDS), st.binary(max_size=3)), max_size=40).map(b"".join),
    st.lists(st.sampled_from(WORDS), max_size=40).map(lambda words: MSH.encode() + b"".join(words)),
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A good message with a piece taken out, put in or changed."""
    raw = hl7("PID|1||42^^^RIVER^MR~9^^^SSA^SS||DOE^JANE", "IN1|1|PPO|60054", "OBX|1|TX|||a\\.br\\b", "BTS|1")
    at = draw(st.integers(0, len(raw)))
    return raw[:at] + draw(st.one_of(st.sampled_from(WORDS), st.binary(max_size=4))) + raw[at + draw(st.integers(0, 30)) :]


@PROPERTY
@given(raw=st.one_of(noise, damaged()))
def test_any_bytes_are_a_message_or_unusable(raw: bytes) -> None:
    try:
        message = Hl7(raw)
    except MessageUnusable:
        return
    assert bytes(message) == raw
    for path in ("MSH-9.1", "PID-3[*].1", "PID-3[5=MR].4.2", "OBX[*]-5", "MSA-2"):
        message.get_all(path)
    for scope in ("PID", "IN1", "RGS"):
        list(message.each(scope))


@PROPERTY
@given(raw=st.one_of(noise, damaged()))
def test_any_bytes_are_split(raw: bytes) -> None:
    parts, _ = split(raw)
    assert [(p.index, p.count) for p in parts] == [(n, len(parts)) for n in range(len(parts))]
    assert all(b"MSH" in p.body.upper() for p in parts)


BETWEEN = b" \t\r\n\x0b\x1c\x00\xef\xbb\xbf"
"""Bytes that may stand between messages and belong to none."""


@PROPERTY
@given(raw=st.lists(st.one_of(noise, damaged()), min_size=1, max_size=3).map(b"\r".join))
def test_what_stands_in_no_batch_is_split_without_losing_a_byte(raw: bytes) -> None:
    parts, _ = split(raw)
    if parts and not any(header in raw.upper() for header in (b"BHS", b"FHS")):
        kept = b"".join(part.body for part in parts)
        assert kept.translate(None, BETWEEN) == raw[raw.find(parts[0].body) :].translate(None, BETWEEN)


@PROPERTY
@given(raw=st.one_of(noise, damaged()), charset=st.sampled_from(["", "utf-8", "8859/1", "klingon", "\x00"]))
def test_any_bytes_have_keys(raw: bytes, charset: str) -> None:
    keys = Hl7Format().keys(raw, {"charset": charset, "authority": "RIVER", "ordering_path": "PV1-19.1"})
    assert all(value.strip() for value in (*keys.patient, *keys.appointment, *keys.member, *keys.ordering))


@PROPERTY
@given(raw=st.one_of(noise, damaged()))
def test_any_bytes_are_described(raw: bytes) -> None:
    found = describe(raw)
    assert found["format"] in ("hl7v2", "x12")
    assert found.get("messages") or found.get("interchanges") or found["findings"]


@PROPERTY
@given(raw=st.one_of(noise, damaged()))
def test_any_message_can_be_acknowledged_and_any_bytes_read_as_an_answer(raw: bytes) -> None:
    with contextlib.suppress(MessageUnusable):
        read_acknowledgement(raw)
    with contextlib.suppress(MessageUnusable):
        assert acknowledge(Hl7(raw), "AA")


@PROPERTY
@given(wire=wires())
def test_any_message_leaves_as_it_came(wire: Wire) -> None:
    raw = wire.encoded()
    message = Hl7(raw)
    assert bytes(message) == raw
    assert message.raw == raw
    assert [s.id for s in message.segments] == ["MSH", *(name for name, _ in wire.segments)]


@PROPERTY
@given(wire=wires())
def test_any_value_of_any_message_is_read(wire: Wire) -> None:
    message = Hl7(wire.encoded())
    seen: dict[str, int] = {}
    for name, fields in wire.segments:
        seen[name] = seen.get(name, 0) + 1
        for f, field in enumerate(fields, 1):
            for r, repetition in enumerate(field, 1):
                for c, component in enumerate(repetition, 1):
                    for s, text in enumerate(component, 1):
                        assert message.get(f"{name}[{seen[name]}]-{f}[{r}].{c}.{s}") == (text or None)


# Time.

LINE = b"x" * 75 + b"\r"


def _open(raw: bytes) -> None:
    assert bytes(Hl7(raw)) == raw


SHAPES: dict[str, tuple[Callable[[int], bytes], int]] = {
    "many segments": (lambda n: hl7() + b"OBX|1|TX|NOTE^N||some text of a result|||||F\r" * (n // 43), 1_000_000),
    "one long value": (lambda n: hl7("OBX|1|ED|||^AP^PDF^Base64^" + "A" * n), 1_000_000),
    "a value broken over lines": (lambda n: hl7("OBX|1|ED|||") + LINE * (n // 76), 400_000),
    "blank lines": (lambda n: hl7("PID|1") + b"\r\n" * (n // 2), 120_000),
    "many fields": (lambda n: hl7("ZZZ" + "|" * n), 1_000_000),
    "many repetitions": (lambda n: hl7("PID|1||" + "A~" * (n // 2)), 400_000),
    "escape characters": (lambda n: hl7("OBX|1|TX|||" + "\\" * n), 100_000),
    "escapes that are none": (lambda n: hl7("OBX|1|TX|||" + "\\a" * (n // 2)), 100_000),
    "no line end": (lambda n: b"MSH|^~\\&|" + b"A" * n, 1_000_000),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_message_is_opened_in_linear_time(shape: str) -> None:
    make, size = SHAPES[shape]
    assert_linear(lambda n: _open(make(n)), size)


@pytest.mark.parametrize("shape", ["many repetitions", "escape characters", "escapes that are none", "one long value"])
def test_values_are_read_in_linear_time(shape: str) -> None:
    make, size = SHAPES[shape]

    def read(n: int) -> None:
        message = Hl7(make(n))
        assert message.get_all("PID-3[*].1") or message.get("OBX-5")

    assert_linear(read, size)


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (lambda n: hl7() * (n // len(hl7())), 400_000),
        (lambda n: hl7("PID|1") + b"\r" * n, 3_000),
        (lambda n: b"\n" * n, 3_000),
        (lambda n: hl7("OBX|1|TX|||text") + b"\x1c\r" * (n // 2), 8_000),
        (lambda n: b"BHS|^~\\&|\r" + b"BTS|1\r" * (n // 6), 100_000),
    ],
    ids=["many messages", "blank lines at the end", "nothing but blank lines", "ends of frames", "many trailers"],
)
def test_a_file_is_split_in_linear_time(make: Callable[[int], bytes], size: int) -> None:
    assert_linear(lambda n: split(make(n)), size)


@pytest.mark.parametrize(
    "segments",
    [["PID|1||{0}^^^RIVER^MR", "MRG|A{0}"], ["OBX|{0}|TX|||text"], ["IN1|{0}|PPO|60054"]],
    ids=["a merge of many pairs", "many results", "many insurances"],
)
def test_keys_are_found_in_linear_time(segments: list[str]) -> None:
    def keys(n: int) -> None:
        body = hl7(*(segment.format(number) for number in range(n) for segment in segments))
        Hl7Format().keys(body, {"authority": "RIVER"})

    assert_linear(keys, 250)


def test_a_message_of_5_mb_is_read_to_its_end() -> None:
    raw = hl7() + b"OBX|1|TX|NOTE^N||some text of a result|||||F\r" * 116_000
    assert len(raw) > 5_000_000
    message = Hl7(raw)
    assert len(message.segments) == 116_001
    assert message.get("OBX[116000]-5") == "some text of a result"
    assert bytes(message) == raw
