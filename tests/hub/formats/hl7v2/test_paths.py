"""Paths to HL7 fields: what they mean, and what is refused before a message is touched."""

import pytest

from hub.errors import MessageUnusable
from hub.formats.hl7v2 import Hl7
from hub.formats.hl7v2.paths import Path, parse
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
        *("PID-3[]", "PID-3[=MR]", "PID-3[5=MR", "PID-3[-1]", "PID-3.1[2]", "PID[5=MR]-3", "PID-5\nPID-6"),
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
