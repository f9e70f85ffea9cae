"""Usual messages are taken apart quickly, and exactly as the thorough way does it; what is shared cannot be written to."""

import pytest
from hypothesis import given, strategies as st

from hub.errors import MessageUnusable
from hub.formats.hl7v2 import Hl7, batch, lines, opened
from hub.formats.hl7v2.codec import Hl7Format
from hub.formats.hl7v2.message import REMEMBERED_SIZE
from tests.hub.formats.hl7v2.test_any_bytes import damaged, noise
from tests.hub.formats.hl7v2.wires import Wire, wires
from tests.hub.formats.messages import MSH, PROPERTY, hl7, with_charset

CHARSETS = st.sampled_from([None, "", "utf-8", "ASCII", "8859/1", "cp1252", "GB 18030-2000", "klingon"])
USUAL = [
    hl7("PID|1||42^^^RIVER^MR", "zpd|x", "EVN"),
    hl7("PID|1||42").removesuffix(b"\r"),
    with_charset(b"UNICODE UTF-8", "PID|1||42||Müller".encode()),
    with_charset(b"8859/1", b"PID|1||42||M\xfcller"),
    hl7("PID#1##42", head="MSH#*!/+#EPIC"),
    MSH.encode() + b"\r",
]


@st.composite
def usual(draw: st.DrawFn) -> bytes:
    """A generated message with CR as its line end, and now and then something else in it."""
    wire = draw(wires())
    raw = wire.encoded().replace(b"\r\n", b"\r").replace(b"\n", b"\r")
    at = draw(st.integers(0, len(raw)))
    return (
        raw[:at]
        + draw(st.sampled_from([b"", b"", b"\n", b"\x1c", b"\x0b", b"\r", b"\xff", b"MSH|", b"\rMSH|", b" "]))
        + raw[at:]
    )


@PROPERTY
@given(raw=st.one_of(usual(), noise, damaged()), charset=CHARSETS)
def test_a_message_taken_apart_quickly_is_as_the_long_way_gives_it(raw: bytes, charset: str | None) -> None:
    quick = lines.quickly(raw, charset)
    if quick is None:
        return
    full = lines.in_full(raw, charset)
    assert quick[:7] == full[:7]
    assert full.raws is None
    assert full.ends == ["\r"] * (len(quick.texts) - 1) + [quick.end]
    assert quick.header == full.texts[0].split(full.separators.field)


@pytest.mark.parametrize("raw", USUAL, ids=repr)
def test_usual_messages_are_taken_apart_quickly(raw: bytes) -> None:
    assert lines.quickly(raw, None)
    assert batch.is_one(raw)


@PROPERTY
@given(raw=st.one_of(usual(), noise, damaged(), st.lists(usual(), max_size=3).map(b"\r".join)))
def test_a_body_that_is_one_message_at_first_sight_is_one(raw: bytes) -> None:
    assert not batch.is_one(raw) or batch.in_full(raw) == ([batch.Part(raw, 0, 1)], [])


@PROPERTY
@given(wire=wires())
def test_a_path_to_one_value_reads_what_all_at_it_begin_with(wire: Wire) -> None:
    message = Hl7(wire.encoded())
    for name in {name for name, _ in wire.segments}:
        for path in (f"{name}-1", f"{name}-2.1", f"{name}-3.2.1", f"{name}-2.9"):
            assert message.get(path) == next(iter(message.get_all(path)), None)
    assert message.get("MSH-1") == wire.five[0]
    assert message.get("MSH-2") == wire.five[1:]


# Messages that are kept open.


def test_the_same_bytes_are_opened_once_for_all_who_read_them() -> None:
    raw = hl7("PID|1||42")
    assert opened(raw) is opened(bytes(bytearray(raw)), "")
    assert opened(raw) is not opened(raw, "8859/1")
    assert opened(raw).encoding == "utf-8"
    assert opened(raw, "8859/1").encoding == "iso-8859-1"


@pytest.mark.parametrize("write", [lambda m: m.set("PID-5.1", "DOE"), lambda m: m.add("ZHB|1")], ids=["set", "add"])
def test_what_others_read_too_cannot_be_written_to(write) -> None:  # type: ignore[no-untyped-def]
    raw = hl7("PID|1||42")
    message = opened(raw)
    with pytest.raises(TypeError, match="one of your own"):
        write(message)
    assert bytes(message) == raw
    own = Hl7(raw)
    write(own)
    assert bytes(opened(raw)) == raw != bytes(own)


def test_long_messages_and_wrong_ones_are_not_kept() -> None:
    raw = hl7("OBX|1|TX|||" + "x" * REMEMBERED_SIZE)
    assert opened(raw) is not opened(raw)
    for _ in range(2):
        with pytest.raises(MessageUnusable):
            opened(b"hello")


def test_keys_are_those_of_the_connection_that_asks() -> None:
    raw, format = hl7("PID|1||42", "PV1|1|O" + "|" * 17 + "V7"), Hl7Format()
    found = [format.keys(raw, headers).ordering for headers in ({}, {"authority": "LAKE"}, {"ordering_path": "PV1-19"}, {})]
    assert found == [("|42",), ("LAKE|42",), ("V7",), ("|42",)]
