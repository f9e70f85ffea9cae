"""Setting fields of an HL7 v2 message: the field that is meant changes, and nothing else."""

import pytest
from hypothesis import given, strategies as st

from hub.errors import MessageUnusable
from hub.formats.hl7v2 import Hl7
from tests.hub.formats.hl7v2.wires import Wire, plain, wires
from tests.hub.formats.messages import MSH, PROPERTY, hl7, with_charset

ODD = f"\ufeff{MSH}\r\nPID|1||42^^^RIVER^MR~99^^^SSA^SS|||\nzpd|A\\T\\B|x\\Z9\\y|tail|||\r\rOBX|1|TX|||one\rtwo lines".encode()
"""Byte order mark, every line end, unknown escapes, trailing separators, a broken value, no end of the last line."""


@pytest.mark.parametrize(
    ("path", "value", "before", "after"),
    [
        ("PID-3.1", "43", b"42^^^RIVER", b"43^^^RIVER"),
        ("PID-3[2].1", "98", b"99^^^SSA", b"98^^^SSA"),
        ("PID-3[2].4.2", "OID", b"SSA^SS", b"SSA&OID^SS"),
        ("PID-3[3].1", "7", b"SSA^SS|", b"SSA^SS~7|"),
        ("PID-3[2]", "A^B", b"99^^^SSA^SS", b"A^B"),
        ("PID-3", "A^B", b"42^^^RIVER^MR~", b"A^B~"),
        ("PID-5.2", "JANE", b"SS|||\n", b"SS||^JANE|\n"),
        ("PID-8", "F", b"SS|||\n", b"SS|||||F\n"),
        ("ZPD-1.1", "C", b"A\\T\\B|", b"C|"),
        ("ZPD-2.1", "", b"x\\Z9\\y|", b"|"),
        ("OBX-5.1", "new", b"one\rtwo lines", b"new"),
        ("OBX[1]-2", "ST", b"|TX|", b"|ST|"),
        ("MSH-9.2", "A08", b"ADT^A04", b"ADT^A08"),
        ("MSH-10", "43", b"|42|P|", b"|43|P|"),
        ("MSH-18", "UNICODE UTF-8", b"|2.5\r\n", b"|2.5||||||UNICODE UTF-8\r\n"),
    ],
)
def test_setting_a_value_changes_only_its_bytes(path: str, value: str, before: bytes, after: bytes) -> None:
    assert ODD.count(before) == 1
    message = Hl7(ODD)
    message.set(path, value)
    assert bytes(message) == ODD.replace(before, after)
    assert message.raw == ODD


def test_values_are_escaped_where_they_are_parts() -> None:
    message = Hl7(hl7("PID|1||42"))
    message.set("PID-5.1", "A|B^C~D&E\\F\rG\nH")
    assert bytes(message) == hl7("PID|1||42||A\\F\\B\\S\\C\\R\\D\\T\\E\\E\\F\\X0D\\G\\.br\\H")
    assert message.get("PID-5.1") == "A|B^C~D&E\\F\rG\nH"
    assert [s.id for s in message.segments] == ["MSH", "PID"]


@pytest.mark.parametrize("value", ["A|B", "A\rZZZ|1", "A\nZZZ|1", "A\r\nMSH|^~\\&|X"], ids=repr)
def test_a_whole_field_cannot_reach_into_other_fields_or_segments(value: str) -> None:
    message = Hl7(hl7("PID|1||42||DOE||19800229|F", "PV1|1|O"))
    try:
        message.set("PID-5", value)
    except MessageUnusable:
        return
    again = Hl7(bytes(message))
    assert [s.id for s in again.segments] == ["MSH", "PID", "PV1"]
    assert again.get("PID-6") is None
    assert again.get("PID-7") == "19800229"
    assert again.get("PID-8") == "F"


@pytest.mark.parametrize("path", ["PID-3[5=SS].1", "PID-3[5=SS].4.1", "PID-3[5=SS]"])
def test_a_selector_writes_to_the_repetition_it_selects_or_refuses(path: str) -> None:
    message = Hl7(hl7("PID|1||42^^^RIVER^MR~99^^^SSA^SS"))
    try:
        message.set(path, "NEW")
    except (MessageUnusable, ValueError):
        return
    assert message.get("PID-3[1].1") == "42"
    assert message.get("PID-3[1].4") == "RIVER"
    assert "NEW" in (message.get("PID-3[2]") or "")


def test_a_selector_that_selects_nothing_writes_nothing() -> None:
    raw = hl7("PID|1||42^^^RIVER^MR")
    message = Hl7(raw)
    with pytest.raises((MessageUnusable, ValueError)):
        message.set("PID-3[5=XX].1", "NEW")
    assert bytes(message) == raw


@pytest.mark.parametrize("path", ["PID-3[*].1", "PID[*]-3.1"])
def test_all_is_no_place_to_write_to(path: str) -> None:
    raw = hl7("PID|1||42^^^RIVER^MR~99")
    message = Hl7(raw)
    with pytest.raises((MessageUnusable, ValueError)):
        message.set(path, "NEW")
    assert bytes(message) == raw


@pytest.mark.parametrize("path", ["PV1-2", "PID[2]-3.1", "MSH[2]-10", "ZZZ-1"])
def test_a_segment_that_is_not_there_cannot_be_written_to(path: str) -> None:
    message = Hl7(hl7("PID|1||42"))
    with pytest.raises(MessageUnusable, match=path.split("-", maxsplit=1)[0].split("[", maxsplit=1)[0]) as refused:
        message.set(path, "DOE")
    assert "DOE" not in str(refused.value)
    assert bytes(message) == hl7("PID|1||42")


@pytest.mark.parametrize("path", ["MSH-1", "MSH-2", "MSH-2.1"])
def test_the_separators_cannot_be_set(path: str) -> None:
    message = Hl7(hl7())
    with pytest.raises(MessageUnusable):
        message.set(path, "#")
    assert bytes(message) == hl7()


def test_the_second_segment_of_a_name_is_its_own() -> None:
    message = Hl7(hl7("OBX|1|TX|||one", "OBX|2|TX|||two"))
    message.set("OBX[2]-5.1", "three")
    assert bytes(message) == hl7("OBX|1|TX|||one", "OBX|2|TX|||three")


def test_what_was_set_is_read_and_set_again() -> None:
    message = Hl7(hl7("PID|1"))
    for value in ("A", "B|C", ""):
        message.set("PID-5.2", value)
        assert message.get("PID-5.2") == (value or None)
    message.set("PID-5.1", "DOE")
    assert bytes(message) == hl7("PID|1||||DOE^")


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"], ids=["CR", "LF", "CRLF"])
@pytest.mark.parametrize("last", [True, False], ids=["ended", "last line not ended"])
def test_an_added_segment_is_a_segment_of_its_own(end: str, last: bool) -> None:
    raw = hl7("PV1|1|O", end=end)
    message = Hl7(raw if last else raw.removesuffix(end.encode()))
    message.add("ZHB|1|checked")
    message.add("ZHB|2")
    again = Hl7(bytes(message))
    assert [s.id for s in again.segments] == ["MSH", "PV1", "ZHB", "ZHB"]
    assert again.get("PV1-2") == "O"
    assert again.get("ZHB-2") == "checked"


@pytest.mark.parametrize("declared", [b"ASCII", b"8859/1"])
def test_a_character_the_charset_cannot_hold_is_refused_with_what_to_do(declared: bytes) -> None:
    message = Hl7(with_charset(declared, b"PID|1||42"))
    message.set("PID-5.1", "Łukasz")
    with pytest.raises(MessageUnusable, match=r"MSH-18.*UTF-8") as refused:
        bytes(message)
    assert "ukasz" not in str(refused.value)


def test_a_value_is_written_in_the_charset_of_the_message() -> None:
    message = Hl7(with_charset(b"8859/1", b"PID|1||42"))
    message.set("PID-5.1", "Müller")
    assert bytes(message) == with_charset(b"8859/1", b"PID|1||42||M\xfcller")


@PROPERTY
@given(wire=wires(), data=st.data())
def test_setting_any_value_of_any_message_changes_that_value_only(wire: Wire, data: st.DataObject) -> None:
    message = Hl7(wire.encoded())
    at = data.draw(
        st.tuples(
            st.integers(0, len(wire.segments) - 1), st.integers(0, 5), st.integers(0, 3), st.integers(0, 3), st.integers(0, 2)
        )
    )
    value = data.draw(plain)
    name = wire.segments[at[0]][0]
    occurrence = [segment for segment, _ in wire.segments[: at[0] + 1]].count(name)
    path = f"{name}[{occurrence}]-{at[1] + 1}[{at[2] + 1}].{at[3] + 1}.{at[4] + 1}"
    wire.put(at, value)
    message.set(path, value)
    assert bytes(message) == wire.encoded()
    assert message.get(path) == (value or None)
