"""A rule is a path and a short pipe of named transforms."""

from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from hub.errors import HubError, MessageUnusable
from hub.formats.dotted import DottedFields
from hub.formats.hl7v2.codec import Hl7Format
from hub.mapping.rules import Notes, RuleError, Table, parse_rule
from hub.message import Message
from tests.hub.mapping.bench import HEADER, MESSAGE, TABLES, catalogue, context, value

CHICAGO = ZoneInfo("America/Chicago")

GOOD: dict[str, tuple[str, Any]] = {
    "a path": ("PID-5.1", "DOE"),
    "a path to nothing": ("PID-5.9", None),
    "a path to no segment": ("ZZZ-1", None),
    "a repetition": ("PID-3[2].1", "E9"),
    "a repetition by what it is": ("PID-3[5=EPI].1", "E9"),
    "the first of several segments": ("OBX-5", "one"),
    "one of several segments": ("OBX[2]-5", "two"),
    "all of several": ("OBX[*]-5", ["one", "two"]),
    "all repetitions": ("PID-3[*].1", ["00042", "E9"]),
    "all of none": ("ZZZ[*]-1", None),
    "a text": ("'front desk'", "front desk"),
    "a text in other quotes": ('"it\'s"', "it's"),
    "an empty text": ("''", None),
    "a text with a bar": ("'a|b'", "a|b"),
    "a header": ("header appointment", "F-77"),
    "a header that is not there": ("header nothing", None),
    "a default that is not needed": ("PID-5.1 | default 'x'", "DOE"),
    "a default path": ("PID-5.9 | default PID-5.2", "JANE"),
    "a default text": ("PID-5.9 | default 'front desk'", "front desk"),
    "a default header": ("PID-5.9 | default header appointment", "F-77"),
    "the second default": ("PID-5.9 | default PID-5.8 | default 'x'", "x"),
    "a default of all": ("ZZZ[*]-1 | default OBX[*]-5", ["one", "two"]),
    "required and there": ("PID-5.1 | required", "DOE"),
    "required by a default": ("PID-5.9 | default 'x' | required", "x"),
    "without blanks": ("PID-5.9|default PID-5.1|title", "Doe"),
    "a pipe": ("PID-5.1 | lower | title", "doe"),
    "a transform of nothing": ("PID-5.9 | upper", None),
    "a transform of each": ("OBX[*]-5 | upper", ["ONE", "TWO"]),
    "a transform that empties some": ("OBX[*]-5 | keep_if two", ["two"]),
    "a transform that empties all": ("OBX[*]-5 | keep_if three", None),
    "a question mark that is not needed": ("PID-7 | date?", date(1980, 2, 29)),
    "a question mark that is": ("PID-5.1 | date?", None),
    "a default behind it": ("PID-5.1 | date? | default PID-7", "19800229"),
    "a table": ("PID-8 | table sexes", "female"),
    "a table of nothing": ("PID-5.9 | table sexes", None),
    "a table that keeps": ("PID-5.1 | table kept.csv", "DOE"),
    "a table told to keep": ("PID-5.1 | table sexes unknown=keep", "DOE"),
    "a table told to reject, of a code it has": ("PID-8 | table kept.csv unknown=reject", "female"),
    "a table with a question mark": ("PID-5.1 | table? sexes", None),
    "a table of each": ("PID-3[*].5 | table? sexes", None),
    "joined": ("OBX[*]-5 | join ', '", "one, two"),
    "joined by nothing": ("OBX[*]-5 | join", "onetwo"),
    "joined, of one": ("PID-5.1 | join '-'", "DOE"),
    "joined, of none": ("ZZZ[*]-1 | join ' '", None),
    "a default of a field said to be empty": ("PID-5.3 | default PID-5.1", "DOE"),
    "a default that is said to be empty": ("PID-5.9 | default PID-5.3", '""'),
    "a default of two that are empty": ("PID-5.3 | default PID-5.9", '""'),
    "another rule that is not needed": ("PID-5.1 | lower | else PID-5.2 | upper", "doe"),
    "another rule": ("PID-5.1 | date? | else PID-5.2 | lower", "jane"),
    "another rule, for a field said to be empty": ("PID-5.3 | else 'x' | upper", "X"),
    "the third rule": ("PID-5.9 | else PID-5.8 | else 'x'", "x"),
    "rules of which none gives anything": ("PID-5.3 | else PID-5.9 | upper | else PID-5.8", '""'),
    "an argument that is a path": ("PID-5.1 | is {PID-5.1} A", True),
    "an argument that is a path to nothing": ("PID-5.1 | is {PID-5.9} A", False),
    "several, of which some are said to be empty": ("PID[*]-5.3 | default OBX[*]-5", ["one", "two"]),
    '"" is kept as it is': ("PID-5.3", '""'),
    '"" is not transformed': ("PID-5.3 | upper | date | number", '""'),
    '"" is in no table': ("PID-5.3 | table sexes", '""'),
}


@pytest.mark.parametrize(("rule", "expected"), GOOD.values(), ids=GOOD)
def test_a_rule_gives(rule: str, expected: Any) -> None:
    assert value(rule, appointment="F-77") == expected


NO_DATE = "is no date (expected YYYYMMDD), but target needs it"
NO_CODE = "has a code that is not in the table"

REJECTED = {
    "an empty field": ("PID-5.9 | required", "MAP-001", "PID-5.9 is empty, but target needs it"),
    "an empty default": ("PID-5.9 | default PID-5.8 | required", "MAP-001", "PID-5.9 is empty, but target needs it"),
    'a field said to be empty ("")': ("PID-5.3 | required", "MAP-001", "PID-5.3 is empty, but target needs it"),
    "an empty header": ("header nothing | required", "MAP-001", "nothing is empty, but target needs it"),
    "no date": ("PID-5.1 | date", "MAP-002", f"PID-5.1 {NO_DATE}"),
    "no number": ("PID-5.1 | number", "MAP-002", "PID-5.1 is no whole number, but target needs it"),
    "no date in the default": ("PID-5.9 | default PID-5.2 | date", "MAP-002", f"PID-5.2 {NO_DATE}"),
    "no date in one of several": ("OBX[*]-5 | date", "MAP-002", f"OBX[*]-5 {NO_DATE}"),
    "no code": ("PID-5.1 | table sexes", "MAP-003", f"PID-5.1 {NO_CODE} sexes"),
    "no code, told to reject": ("PID-5.1 | table kept.csv unknown=reject", "MAP-003", f"PID-5.1 {NO_CODE} kept.csv"),
    "no code in one of several": ("OBX[*]-5 | table sexes", "MAP-003", f"OBX[*]-5 {NO_CODE} sexes"),
}  # fmt: skip


@pytest.mark.parametrize(("rule", "code", "text"), REJECTED.values(), ids=REJECTED)
def test_a_rejection_says_which_field_and_why_and_never_its_value(rule: str, code: str, text: str) -> None:
    with pytest.raises(MessageUnusable) as caught:
        value(rule)
    assert (caught.value.code, str(caught.value)) == (code, text)


def test_a_code_for_the_worklist_is_left_empty_and_told() -> None:
    notes = Notes()
    assert value("PID-5.1 | table told.csv", notes=notes) is None
    assert notes.found == [("table told.csv", "PID-5.1 has a code that is not in the table told.csv. Add it to the table.")]
    notes = Notes()
    assert value("OBX[*]-5 | table sexes unknown=worklist | default 'none'", notes=notes) == "none"
    assert len(notes.found) == 2


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A MALE of 40", "male"),
        ("a   male", "male"),
        ("amale", None),
        ("F", "female"),
        ("a male or F", "female"),
        ("femalef", None),
        ("", None),
    ],
)
def test_words_of_a_table_are_looked_for_whole_and_in_their_order(text: str, found: str | None) -> None:
    tables = {"found": Table("found", {"f": "female", "a  male": "male"})}
    rule, _ = parse_rule("words[*] | words found", "sex", {}, tables)
    assert rule.value(DottedFields({"words": ["none", text]}), context(), Notes()) == found


def test_blanks_around_a_code_do_not_hide_it() -> None:
    assert (
        value("PID-8 | table sexes", f"{HEADER}\rPID|1|||||| F ") is None or value("PID-8 | table sexes", MESSAGE) == "female"
    )
    assert value("PID-8 | table sexes", f"{HEADER}\rPID|1||||||| F ") == "female"


WRONG = {
    "nothing": ("", "begins with a path"),
    "a bar alone": ("|", "begins with a path"),
    "a bar first": ("| upper", "begins with a path"),
    "a bar last": ("PID-5.1 |", "nothing between two |"),
    "two bars": ("PID-5.1 || upper", "nothing between two |"),
    "two paths": ("PID-5.1 PID-5.2", "put a | before 'PID-5.2'"),
    "a transform without a bar": ("PID-5.1 upper", "put a | before 'upper'"),
    "a text and more": ("'a' 'b'", "put a |"),
    "a header without a name": ("header", "`header` takes one name"),
    "a header with two": ("header a b", "`header` takes one name"),
    "no transform": ("PID-5.1 | uppr", "there is no transform 'uppr'"),
    "no table": ("PID-8 | table sxes", "there is no table 'sxes'"),
    "a table without a name": ("PID-8 | table", "`table` takes the name"),
    "a table with another word": ("PID-8 | table sexes unknown=drop", "unknown=reject, unknown=keep or unknown=worklist"),
    "words without a table": ("PID-8 | words", "`words` takes the name"),
    "words of no table": ("PID-8 | words sxes", "there is no table 'sxes'"),
    "words and more": ("PID-8 | words sexes sexes", "`words` takes the name"),
    "a default without anything": ("PID-8 | default", "`default` takes"),
    "a default of two": ("PID-8 | default PID-1 PID-2", "put a |"),
    "a join of two": ("PID-8 | join ' ' ' '", "`join` takes one text"),
    "another rule without anything": ("PID-8 | else", "begins with a path"),
    "another rule first": ("else PID-8", "put a | before 'PID-8'"),
    "what nobody makes": ("made starts_at", "`made` takes one field"),
    "a default nobody makes": ("PID-8 | default made starts_at", "`made` takes one field"),
    "an argument of several values": ("PID-8 | is {OBX[*]-5}", "an argument is one value"),
    "arguments for none": ("PID-8 | upper now", "takes no argument, here are 1"),
    "no arguments for some": ("PID-8 | is", "takes at least 1 argument(s), here are 0"),
    "too many arguments": ("SCH-11.4 | datetime | plus_minutes 1 2", "takes 1 argument(s), here are 2"),
    "a quote that is not closed": ("PID-8 | default 'self", "quote"),
    "a quote alone": ("PID-8 | default '", "quote"),
    "another quote that is not closed": ('PID-8 | keep_if "a b', "quote"),
    "a text that is not closed": ("'front desk", ""),
    "minutes that are none": ("SCH-11.4 | datetime | plus_minutes ten", "minutes"),
}


@pytest.mark.parametrize(("rule", "words"), WRONG.values(), ids=WRONG)
def test_a_rule_that_cannot_be_understood_is_refused_before_anything_runs(rule: str, words: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse_rule(rule, "target", catalogue().transforms, TABLES)
    assert words in caught.value.args[0]


def test_a_rule_names_every_path_it_reads_so_that_all_are_checked() -> None:
    rule = "PID-5.1 | default PID-5.2 | default header x | default 'y' | default OBX[*]-5 | is {PID-7} | else PID-8"
    _, paths = parse_rule(rule, "target", catalogue().transforms, TABLES)
    assert paths == ["PID-5.1", "PID-5.2", "OBX[*]-5", "PID-7", "PID-8"]


def test_a_rule_may_go_on_with_what_one_above_it_makes() -> None:
    known = catalogue().transforms
    start, _ = parse_rule("SCH-11.4 | datetime", "starts_at", known, TABLES)
    rule, paths = parse_rule("TQ1-8 | else made starts_at | plus_minutes 30", "ends_at", known, TABLES, {"starts_at": start})
    fields = Hl7Format().open(Message(MESSAGE.encode(), "hl7v2"))
    assert rule.value(fields, context(), Notes()) == datetime(2026, 11, 30, 15, tzinfo=CHICAGO)
    assert paths == ["TQ1-8"]


@pytest.mark.parametrize(
    "rule",
    [
        "PID-7 | date | upper",
        "PID-7 | date | title",
        "PID-7 | date | is 19800229",
        "PID-8 | is F | lower",
        "PID-22 | number | digits",
        "PID-22 | plus_minutes 10",
        "PID-22 | plus 10 MIN",
        "OBX[*]-5 | earliest",
        "SCH-11.4 | datetime | date",
        "SCH-11.4 | datetime | plus_minutes 999999999999",
        "OBX[*]-5 | join ' ' | number | amount",
    ],
)
def test_transforms_that_do_not_fit_together_reject_the_message_and_are_no_failure_of_the_program(rule: str) -> None:
    try:
        value(rule)
    except HubError:
        return
    except Exception as error:
        pytest.fail(f"{type(error).__name__} came out: {error}", pytrace=False)


# The transforms.

TRANSFORMS: dict[str, tuple[str, str, Any]] = {
    "amount": ("amount", "25", "25"),
    "amount with cents": ("amount", "310.50", "310.50"),
    "amount below nothing": ("amount", "-5", "-5"),
    "amount of nothing": ("amount", "0", "0"),
    "authority that is there": ("authority", "RIVER", "RIVER"),
    "date": ("date", "19800229", date(1980, 2, 29)),
    "date with a time": ("date", "19800229233000", date(1980, 2, 29)),
    "date with an offset": ("date", "19800229233000-0600", date(1980, 2, 29)),
    "date with blanks": ("date", " 19800229 ", date(1980, 2, 29)),
    "date in ISO": ("date", "1980-02-29", date(1980, 2, 29)),
    "datetime": ("datetime", "202611301430", datetime(2026, 11, 30, 14, 30, tzinfo=CHICAGO)),
    "datetime with seconds": ("datetime", "20261130143015", datetime(2026, 11, 30, 14, 30, 15, tzinfo=CHICAGO)),
    "datetime with an hour": ("datetime", "2026113014", datetime(2026, 11, 30, 14, tzinfo=CHICAGO)),
    "datetime in ISO": ("datetime", "2026-11-30T14:30", datetime(2026, 11, 30, 14, 30, tzinfo=CHICAGO)),
    "digits": ("digits", "(512) 555-0100", "5125550100"),
    "document": ("document", "^AP^PDF^Base64^JVBERi0xLjQ=", b"%PDF-1.4"),
    "document of text": ("document text", "no finding", b"no finding"),
    "drop_if": ("drop_if NONE N/A", "n/a", None),
    "drop_if another": ("drop_if NONE", "some", "some"),
    "is": ("is Y yes", "y", True),
    "is not": ("is Y", "N", False),
    "is with blanks around": ("is Y", " Y ", True),
    "keep_if": ("keep_if A B", "b", "b"),
    "keep_if not": ("keep_if A B", "c", None),
    "keep_if in quotes": ("keep_if 'no show'", "NO SHOW", "NO SHOW"),
    "keep_when": ("keep_when {MSH-9.1} A08 adt", "b", "b"),
    "keep_when not": ("keep_when {MSH-9.1} SIU ORU", "b", None),
    "keep_when of what is empty": ("keep_when {ZZZ-9} SIU", "b", None),
    "lower": ("lower", "ÄB", "äb"),
    "media_type": ("document | media_type", "^AP^PDF^Base64^JVBERi0xLjQ=", "application/pdf"),
    "media_type of text": ("document text | media_type", "no finding", "text/plain"),
    "upper": ("upper", "äb", "ÄB"),
    "number": ("number", "007", 7),
    "number with a sign": ("number", " -7 ", -7),
    "title": ("title", "O'BRIEN-SMITH", "O'Brien-Smith"),
    "title with accents": ("title", "ÉMILE ZOË", "Émile Zoë"),
    "title as written": ("title", "de la Cruz", "de la Cruz"),
    "title of nothing to change": ("title", "李", "李"),
}


def transformed(transform: str, text: str) -> Any:
    escaped = (
        text.replace("\\", "\\E\\").replace("|", "\\F\\").replace("^", "\\S\\").replace("~", "\\R\\").replace("&", "\\T\\")
    )
    return value(f"ZZZ-1 | {transform}", f"{HEADER}\rZZZ|{escaped}")


@pytest.mark.parametrize(("transform", "text", "expected"), TRANSFORMS.values(), ids=TRANSFORMS)
def test_a_transform_gives(transform: str, text: str, expected: Any) -> None:
    result = transformed(transform, text)
    assert result == expected
    assert type(result) is type(expected)


REFUSED = [
    *(("amount", text) for text in ("ten", "1,000.00", "$5", "NaN", "Infinity", "1_000")),
    *(
        ("date", text)
        for text in ("1980", "198002", "1980022", "19800230", "00000000", "02/29/1980", "1980-02-30", "1980-13-01")
    ),
    *(("date", text) for text in ("19800229 is her birthday", "١٩٨٠-٠٢-٢٩")),
    *(
        ("datetime", text)
        for text in ("20261130", "202611302460", "202611301430+9900", "noon", "202611301430Z", "2026113014305")
    ),
    *(("datetime", text) for text in ("2026-11-30", "2026-11-30Tnoon")),
    *(("number", text) for text in ("7.0", "seven", "7 7", "9" * 5000)),
]


@pytest.mark.parametrize(("transform", "text"), REFUSED, ids=[f"{t} of {x[:24]!r}" for t, x in REFUSED])
def test_a_transform_refuses_what_it_is_not_for(transform: str, text: str) -> None:
    with pytest.raises(MessageUnusable) as caught:
        transformed(transform, text)
    assert caught.value.code == "MAP-002"
    assert text[:40] not in str(caught.value)
    assert transformed(f"{transform}?", text) is None


def test_the_assigning_authority_is_filled_in_from_the_connection() -> None:
    assert value("PID-5.9 | authority", authority="RIVER") == "RIVER"
    assert value("PID-5.9 | authority") is None
    assert value("PID-5.1 | authority", authority="RIVER") == "DOE"


def test_an_offset_counts_more_than_the_zone_of_the_site() -> None:
    moment = transformed("datetime", "202611301430-0500")
    assert moment.isoformat() == "2026-11-30T14:30:00-05:00"


@pytest.mark.parametrize(
    ("start", "minutes", "end"),
    [
        ("202611301430", 45, "2026-11-30T15:15:00-06:00"),
        ("202611302345", 30, "2026-12-01T00:15:00-06:00"),
        ("202603080130", 60, "2026-03-08T03:30:00-05:00"),
        ("202611010130", 60, "2026-11-01T01:30:00-06:00"),
    ],
    ids=["plainly", "over midnight", "over the hour that is skipped", "into the hour that comes twice"],
)
def test_minutes_later_are_minutes_that_pass_even_when_the_clock_changes(start: str, minutes: int, end: str) -> None:
    moment = transformed(f"datetime | plus_minutes {minutes}", start)
    assert moment.isoformat() == end


LATER = {
    "minutes": ("30", "MIN", "2026-11-30T15:00:00-06:00"),
    "minutes as a word": ("30", "minutes", "2026-11-30T15:00:00-06:00"),
    "seconds": ("90", "s", "2026-11-30T14:31:30-06:00"),
    "hours": ("1.5", "HR", "2026-11-30T16:00:00-06:00"),
}


@pytest.mark.parametrize(("amount", "unit", "end"), LATER.values(), ids=LATER)
def test_so_much_later_is_read_from_the_message(amount: str, unit: str, end: str) -> None:
    body = f"{HEADER}\rSCH|||||||||{amount}|{unit}|^^^202611301430"
    assert value("SCH-11.4 | datetime | plus {SCH-9} {SCH-10}", body).isoformat() == end


@pytest.mark.parametrize("length", ["|MIN", "30|", '""|MIN', "|"])
def test_how_much_later_is_not_guessed(length: str) -> None:
    assert value("SCH-11.4 | datetime | plus {SCH-9} {SCH-10}", f"{HEADER}\rSCH|||||||||{length}|^^^202611301430") is None


@pytest.mark.parametrize("length", ["half|HR", "-5|MIN", "30|FORTNIGHT", "999999999|HR"])
def test_what_is_no_length_of_time_is_refused_without_its_value(length: str) -> None:
    body = f"{HEADER}\rSCH|||||||||{length}|^^^202611301430"
    with pytest.raises(MessageUnusable, match=r"SCH-11.4 is followed by") as caught:
        value("SCH-11.4 | datetime | plus {SCH-9} {SCH-10}", body)
    assert length.split("|")[0] not in str(caught.value)
    assert value("SCH-11.4 | datetime | plus? {SCH-9} {SCH-10}", body) is None


@pytest.mark.parametrize(("path", "day"), [("ZZZ[*]-1", 4), ("ZZZ[2]-1", 9)], ids=["of several", "of one"])
def test_the_earliest_is_found_by_time_and_not_by_how_it_is_written(path: str, day: int) -> None:
    body = "\r".join([HEADER, "ZZZ|202612050000+0300", "ZZZ|2026120900", "ZZZ|20261204230000-0600"])
    assert value(f"{path} | datetime | earliest", body, zone="UTC").day == {4: 5, 9: 9}[day]


def test_every_transform_says_what_it_does_and_is_tried_here() -> None:
    known = catalogue().transforms
    assert all(transform.summary for transform in known.values())
    parts = [part for rule, _, _ in TRANSFORMS.values() for part in rule.split("|")]
    tried = {part.split()[0] for part in parts} | {"plus", "plus_minutes", "earliest"}
    assert tried == set(known)
