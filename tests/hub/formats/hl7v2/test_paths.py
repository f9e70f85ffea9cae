"""Paths to HL7 fields: what they mean, and what is refused before a message is touched."""

import pytest

from hub.errors import MessageUnusable
from hub.formats.hl7v2 import Hl7
from hub.formats.hl7v2.paths import Path, Where, parse
from tests.hub.formats.messages import hl7


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("PID-5", Path("PID", 1, 5, 1, None, None, None)),
        ("PID-5.1", Path("PID", 1, 5, 1, None, 1, None)),
        ("PID-5.1.2", Path("PID", 1, 5, 1, None, 1, 2)),
        ("PID-3[2].4.2", Path("PID", 1, 3, 2, None, 4, 2)),
        ("PID-3[*].1", Path("PID", 1, 3, 0, None, 1, None)),
        ("PID-3[5=MR].1", Path("PID", 1, 3, 0, (5, "MR"), 1, None)),
        ("PID-3[5=MR]", Path("PID", 1, 3, 0, (5, "MR"), None, None)),
        ("IN1[2]-36", Path("IN1", 2, 36, 1, None, None, None)),
        ("OBX[*]-5", Path("OBX", 0, 5, 1, None, None, None)),
        ("OBX[*<1]-5", Path("OBX", 0, 5, 1, None, None, None, None, 1)),
        ("OBX[*<1,2=ED]-5", Path("OBX", 0, 5, 1, None, None, None, Where(2, None, "ED", True), 1)),
        ("ZPD-12.3", Path("ZPD", 1, 12, 1, None, 3, None)),
        ("pid-5.1", Path("PID", 1, 5, 1, None, 1, None)),
        ("  PID-5.1 ", Path("PID", 1, 5, 1, None, 1, None)),
    ],
)
def test_a_path_is_taken_apart(text: str, meaning: Path) -> None:
    assert parse(text) == meaning


@pytest.mark.parametrize(
    "text",
    [
        *("", "PID", "PID-", "PID-x", "PI-5", "PIDX-5", "5ID-1", "PID 5", "PID.5", "PID-5.", "PID-5..1", "PID-5.1.1.1"),
        *("PID-0", "PID-5.0", "PID-5.1.0", "PID[0]-5", "PID-3[0]", "PID-3[0=MR]"),
        *("PID-3[]", "PID-3[=MR]", "PID-3[5=MR", "PID-3[-1]", "PID-3.1[2]", "PID-5\nPID-6"),
    ],
)
def test_what_is_no_path_is_refused_and_named(text: str) -> None:
    with pytest.raises(ValueError) as refused:
        parse(text)
    assert repr(text) in str(refused.value)


@pytest.mark.parametrize("path", ["PID[{0}]-3", "PID-{0}", "PID-3[{0}].1", "PID-3.{0}", "PID-3.1.{0}", "PID-3[{0}=MR].1"])
def test_a_number_beyond_any_message_reads_nothing_or_is_no_path(path: str) -> None:
    message = Hl7(hl7("PID|1||42^^^RIVER^MR"))
    try:
        value = message.get(path.format("9" * 25))
    except ValueError:
        return
    assert value is None


def test_a_path_that_is_none_says_what_one_looks_like() -> None:
    with pytest.raises(ValueError, match="PID-5"):
        Hl7(hl7("PID|1")).get("PID5")
    with pytest.raises((ValueError, MessageUnusable), match="PID-5"):
        Hl7(hl7("PID|1")).set("PID5", "x")


# Segments picked by what they hold.

RESULTS = hl7(
    "OBX|1|TX|NOTE^L||one",
    "OBX|2|ED|PDF^L||^AP^PDF^Base64^AA",
    "OBX|3|ED|SCAN^L||^AP^PDF^Base64^BB~x",
    "OBX|4||PDF\\T\\X^L||four",
)


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("OBX[2=ED]-1", ["2"]),
        ("OBX[*,2=ED]-1", ["2", "3"]),
        ("OBX[*,2!=ED]-1", ["1", "4"]),
        ("OBX[2=]-1", ["4"]),
        ("OBX[3.1=SCAN]-5.5", ["BB"]),
        ("OBX[3=PDF^L]-5[1].5", ["AA"]),
        ("OBX[3.1=PDF&X]-5", ["four"]),
        ("OBX[*,5.4=Base64]-5[*].5", ["AA", "BB"]),
        ("OBX[2=RP]-5", []),
        ("ZZZ[2=RP]-5", []),
        ("MSH[10=42]-9.1", ["ADT"]),
    ],
)
def test_a_segment_is_picked_by_the_value_of_a_field(path: str, values: list[str]) -> None:
    message = Hl7(RESULTS)
    assert message.get_all(path) == values
    assert message.get(path) == (values[0] if values else None)


@pytest.mark.parametrize(
    ("numbers", "order"),
    [
        ("10 9 1", "c b a"), ("02 1", "b a"), ("3 1 2", "b c a"), ("1 2", "a b"),
        ("2 1 -", "a b c"), ("2 1 x", "a b c"), ("2 1 1", "a b c"), ("2 1 01", "a b c"), ("2 -1", "a b"), ("2 \u0661", "a b"),
        ("2 " + "1" * 5000, "a b"), ("1", "a"),
    ],
)  # fmt: skip
def test_segments_come_in_the_order_of_a_field_where_that_gives_one(numbers: str, order: str) -> None:
    given = ["" if number == "-" else number for number in numbers.split()]
    message = Hl7(hl7(*(f"OBX|{number}|ED|||{value}" for number, value in zip(given, "abc", strict=False))))
    assert message.get_all("OBX[*<1]-5") == message.get_all("OBX[*<1,2=ED]-5") == order.split()
    assert message.get_all("OBX[*]-5") == sorted(order.split())


def test_only_the_segments_that_are_meant_have_an_order() -> None:
    message = Hl7(hl7("OBX|2|ED|||b", "OBX||TX|||note", "OBX|1|ED|||a~c"))
    assert message.get_all("OBX[*<1,2=ED]-5[*]") == ["a", "c", "b"]
    assert message.get_all("ZZZ[*<1]-5") == []


def test_a_segment_picked_by_a_value_is_written_to() -> None:
    message = Hl7(RESULTS)
    message.set("OBX[3.1=SCAN]-11", "F")
    assert bytes(message) == RESULTS.replace(b"BB~x\r", b"BB~x||||||F\r")
    with pytest.raises(MessageUnusable, match="no such OBX"):
        message.set("OBX[2=RP]-11", "F")


@pytest.mark.parametrize(
    "path",
    ["OBX[]-1", "OBX[*,]-1", "OBX[2,2=ED]-1", "OBX[*2=ED]-1", "OBX[,2=ED]-1", "OBX[0=ED]-1", "OBX[2==]", "OBX[2.0=A]-1",
     "OBX[*<]-1", "OBX[*<0]-1", "OBX[<1]-1", "OBX[2<1]-1", "OBX[*<1.1]-1", "OBX[*<12=ED]-1"],
)  # fmt: skip
def test_a_wrong_condition_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        parse(path)
