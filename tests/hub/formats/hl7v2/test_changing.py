"""Mappings to HL7 v2: what they name is set, everything else leaves byte for byte as it came."""

from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from hub.errors import MessageUnusable
from hub.formats.hl7v2.change import changed
from hub.formats.hl7v2.message import opened
from hub.mapping import run_mapping
from hub.mapping.cases import run_cases
from hub.message import Message
from tests.hub.formats.hl7v2.wires import Wire, plain, wires
from tests.hub.formats.messages import MSH, PROPERTY, hl7, with_charset
from tests.hub.mapping.bench import context, good, load

ODD = (
    f"\ufeff{MSH}\r\nPID|1||42^^^RIVER^MR~99^^^SSA^SS||DOE^JANE|x\\Z9\\y|\nzpd|A\\T\\B|tail|||\r\rOBX|1|TX|||one\rtwo lines"
).encode()
"""Byte order mark, every line end, an unknown escape, trailing separators, a broken value, no end of the last line."""


def change(folder: Path, raw: bytes, fields: str, **headers: str) -> Message:
    """What a mapping with these rules makes of a message."""
    mapping = good(folder, f"from: hl7v2\nto: hl7v2\nfields:\n{fields}\n")
    message = Message(raw, "hl7v2", headers=headers)
    (values,) = run_mapping(mapping, message, context(**headers)).values
    return changed(message, values)


@pytest.mark.parametrize(
    ("rule", "before", "after"),
    [
        ("  MSH-5: \"'LAB'\"", b"|HUB|RIVER|", b"|LAB|RIVER|"),
        ("  PID-3[5=MR].4.1: \"'LAKE'\"", b"42^^^RIVER^MR", b"42^^^LAKE^MR"),
        ("  PID-3[2].1: \"'98'\"", b"99^^^SSA", b"98^^^SSA"),
        ("  PID-5.1: PID-5.1 | title", b"DOE^JANE", b"Doe^JANE"),
        ("  PID-5.2: PID-5.1", b"DOE^JANE", b"DOE^DOE"),
        ("  PID-6: \"''\"", b"|x\\Z9\\y|", b"||"),
        ("  PID-6: '''\"\"'''", b"|x\\Z9\\y|", b'|""|'),
        ("  ZPD-2: header facility", b"|tail|", b"|NORTH|"),
        ("  PID-8: PID-19 | default 'U'", b"|x\\Z9\\y|\n", b"|x\\Z9\\y||U\n"),
    ],
)
def test_what_a_rule_gives_is_set_and_nothing_else(tmp_path: Path, rule: str, before: bytes, after: bytes) -> None:
    assert ODD.count(before) == 1
    made = change(tmp_path, ODD, rule, facility="NORTH")
    assert made.body == ODD.replace(before, after)
    assert (made.format, made.type) == ("hl7v2", "ADT^A04")


@pytest.mark.parametrize(
    "rule", ["PID-6: PID-19", "PID-6: PV1-2 | upper", "PID-6: PID-5.1 | datetime?", "PID-6: PID-5.1 | digits"]
)
def test_a_rule_that_gives_nothing_leaves_the_field_as_it_is(tmp_path: Path, rule: str) -> None:
    assert change(tmp_path, ODD, f"  {rule}").body == ODD


def test_a_value_is_copied_as_it_stands(tmp_path: Path) -> None:
    raw = hl7("PID|1||A\\S\\B^C&D^\\H\\bold\\N\\ x\\.br\\y", "ZZZ|1|was|was|was")
    made = change(tmp_path, raw, "  ZZZ-2: PID-3\n  ZZZ-3: PID-3.3\n  ZZZ-4.1.1: PID-3.2")
    assert made.body == raw.replace(b"was|was|was", b"A\\S\\B^C&D^\\H\\bold\\N\\ x\\.br\\y|\\H\\bold\\N\\ x\\.br\\y|C\\T\\D")


def test_rules_read_the_message_as_it_came(tmp_path: Path) -> None:
    made = change(tmp_path, hl7("PID|1||42||DOE^JANE"), "  PID-5.1: PID-5.2\n  PID-5.2: PID-5.1")
    assert made.body == hl7("PID|1||42||JANE^DOE")


def test_a_whole_field_takes_several_values_as_repetitions(tmp_path: Path) -> None:
    raw = hl7("PID|1||42~43", "OBX|1|TX|||one^x", "OBX|2|TX|||two")
    assert change(tmp_path, raw, "  PID-3: OBX[*]-5.1 | upper").body == raw.replace(b"42~43", b"ONE~TWO")
    with pytest.raises(MessageUnusable, match=r"PID-3\.1 takes one value") as refused:
        change(tmp_path, raw, "  PID-3.1: OBX[*]-5.1")
    assert "one" not in str(refused.value).replace("one value", "")


def test_values_that_are_no_texts_are_written_as_hl7_has_them(tmp_path: Path) -> None:
    raw = hl7("PID|1||42", "SCH|1|2|||||||30|MIN|^^^202611301430^20261130150000-0500", "ZZZ|a|b|c|d")
    rules = "  ZZZ-1: SCH-11.4 | datetime\n  ZZZ-2: SCH-11.4 | date\n  ZZZ-3: PID-3 | is 42\n  ZZZ-4: SCH-9 | number"
    assert b"ZZZ|20261130143000-0600|20261130|Y|30\r" in change(tmp_path, raw, rules).body


def test_a_message_may_become_one_of_another_type(tmp_path: Path) -> None:
    made = change(tmp_path, hl7("PID|1||42"), "  MSH-9.2: \"'A08'\"\n  MSH-9.3: \"'ADT_A01'\"")
    assert (made.type, made.body) == ("ADT^A08", hl7("PID|1||42", head=MSH.replace("ADT^A04", "ADT^A08^ADT_A01")))


# Segments that are not there.


@pytest.mark.parametrize(
    ("given", "path", "expected"),
    [
        (["PID|1"], "ZHB-1", ["PID|1", "ZHB|X"]),
        (["ZHB|1", "PID|1"], "ZHB[2]-2", ["ZHB|1", "PID|1", "ZHB||X"]),
        (["PID|1"], "EVN-1", ["EVN|X", "PID|1"]),
        (["PID|1", "NK1|1", "NK1|2", "AL1|1", "NK1|3"], "PV1-2", ["PID|1", "NK1|1", "NK1|2", "PV1||X", "AL1|1", "NK1|3"]),
        (["PID|1", "PV1|1", "AL1|1"], "PV2-3", ["PID|1", "PV1|1", "PV2|||X", "AL1|1"]),
        (["SCH|1", "PID|1"], "TQ1-1", ["SCH|1", "TQ1|X", "PID|1"]),
        (["PID|1", "IN1|1", "IN2|1", "GT1"], "IN3-1", ["PID|1", "IN1|1", "IN2|1", "IN3|X", "GT1"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("end", ["\r", "\r\n"], ids=["CR", "CRLF"])
def test_a_segment_is_put_in_where_it_belongs(
    tmp_path: Path, given: list[str], path: str, expected: list[str], end: str
) -> None:
    made = change(tmp_path, hl7(*given, end=end), f"  {path}: \"'X'\"")
    assert made.body == hl7(*expected, end=end)


@pytest.mark.parametrize(
    ("given", "path"),
    [
        (["PID|1"], "OBX-5"),
        (["PID|1"], "PV2-3"),
        (["PID|1"], "PID[2]-3"),
        (["PID|1", "PID|2"], "PV1-2"),
        (["IN1|1", "IN1|2"], "IN2-1"),
        (["PID|1"], "ZHB[2]-1"),
        (["PID|1||42"], "PID-3[5=MR].1"),
    ],
)
def test_a_segment_whose_place_is_not_certain_is_refused_in_words(tmp_path: Path, given: list[str], path: str) -> None:
    with pytest.raises(MessageUnusable) as refused:
        change(tmp_path, hl7(*given), f"  {path}: \"'SECRET'\"")
    assert str(refused.value).startswith(path)
    assert "SECRET" not in str(refused.value)


def test_nothing_is_put_in_to_hold_nothing(tmp_path: Path) -> None:
    raw = hl7("PID|1||42")
    assert change(tmp_path, raw, "  ZHB-1: \"''\"\n  PV1-2: PID-19\n  OBX-5: \"''\"").body == raw


# Charsets.


def test_a_message_is_written_in_the_charset_a_mapping_sets(tmp_path: Path) -> None:
    raw = with_charset(b"8859/1", b"PID|1||42||M\xfcller")
    made = change(tmp_path, raw, "  MSH-18: \"'UNICODE UTF-8'\"\n  PID-5.2: \"'Łukasz'\"")
    assert made.body == with_charset(b"UNICODE UTF-8", "PID|1||42||Müller^Łukasz".encode())
    assert made.headers["charset"] == "UNICODE UTF-8"


def test_a_character_the_charset_cannot_hold_stops_the_message_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(MessageUnusable, match="MSH-18"):
        change(tmp_path, with_charset(b"8859/1", b"PID|1||42"), "  PID-5.1: \"'Łukasz'\"")
    with pytest.raises(MessageUnusable, match="MSH-18 is set to a charset that is unknown"):
        change(tmp_path, hl7("PID|1"), "  MSH-18: \"'KLINGON'\"")


# Mistakes in the file.


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("from: hl7v2\nto: hl7v2\neach: PID\nfields: {PID-5.1: PID-5.2}", "MAP-019", "no `each`"),
        ("from: hl7v2\nto: hl7v2\nfields:\n  PID-3[*].1: PID-5.2", "MAP-016", "name the one to write to"),
        ("from: hl7v2\nto: hl7v2\nfields: {MSH-2: PID-5.2}", "MAP-016", "separators"),
        ("from: hl7v2\nto: hl7v2\nfields: {name.family: PID-5.2}", "MAP-016", "no HL7 path"),
        ("from: hl7v2\nto: hl7v2\nfields: {PID-3: {each: PID-3, fields: {'1': '1'}}}", "MAP-017", "single values"),
    ],
)
def test_what_cannot_be_written_is_told_before_anything_runs(tmp_path: Path, text: str, code: str, words: str) -> None:
    mapping, problems = load(tmp_path, text)
    assert mapping is None
    assert (code, True) in [(p.code, words in p.text) for p in problems]


@PROPERTY
@given(wire=wires(), value=plain.filter(bool), number=st.integers(1, 6))
def test_a_change_of_any_message_changes_that_value_only(wire: Wire, value: str, number: int) -> None:
    raw = wire.encoded()
    name = wire.segments[0][0]
    wire.put((0, number - 1, 0, 0, 0), value)
    assert changed(Message(raw, "hl7v2"), {f"{name}-{number}.1.1": value}).body == wire.encoded()
    assert changed(Message(raw, "hl7v2"), {}).body == raw


@PROPERTY
@given(wire=wires(), value=plain.filter(bool))
def test_who_reads_the_same_message_sees_no_change_of_a_copy(wire: Wire, value: str) -> None:
    raw = wire.encoded()
    shared = opened(raw)
    fields = [[segment.text, *segment.fields] for segment in shared.segments]
    own = shared.own()
    own.set("MSH-5", value)
    own.add("ZZZ|1")
    assert bytes(shared) == raw
    assert [[segment.text, *segment.fields] for segment in shared.segments] == fields
    assert bytes(own) == bytes(own.own())


def test_cases_beside_such_a_mapping_are_exact(tmp_path: Path) -> None:
    mapping = good(tmp_path, "from: hl7v2\nto: hl7v2\nfields:\n  PID-5.1: PID-5.1 | title\n")
    case = "- case: {}\n  given: |\n    {}\n    PID|1||42||{}\n  expect: |\n    {}\n    PID|1||42||{}\n"
    text = case.format("good", MSH, "DOE", MSH, "Doe") + case.format("wrong", MSH, "DOE", MSH, "DOE")
    (tmp_path / "own.test.yaml").write_text(text, encoding="utf-8")
    results, problems = run_cases(mapping)
    assert problems == []
    assert [(result.name, len(result.differences)) for result in results] == [("good", 0), ("wrong", 1)]
