"""HL7 v2 as it really comes: every separator, line end, byte order mark and broken line, and what is read from it."""

import pytest

from hub.errors import MessageUnusable
from hub.formats.hl7v2 import Hl7
from hub.formats.hl7v2.codec import Hl7Fields
from tests.hub.formats.messages import MSH, hl7

PID = "PID|1||42^^^RIVER&1.2.3&ISO^MR~999^^^SSA^SS||DOE&VAN^JANE"


# Separators.


@pytest.mark.parametrize(
    "five",
    ["|^~\\&", "$^~\\&", "|~^\\&", "|^&\\~", "#@!/%", "^|~\\&", "]^~\\&", "-+*/=", " ^~\\&", ".:;,'", "|^~]&", "\x1f^~\\&"],
)
def test_the_separators_are_those_of_the_header(five: str) -> None:
    f, c, r, e, s = five
    head = f"MSH{f}{five[1:]}{f}EPIC{f}RIVER{f}{f}{f}2026{f}{f}ADT{c}A04{f}42{f}P{f}25"
    pid = f"PID{f}1{f}{f}42{c}{c}{c}RIVER{s}OID{c}MR{r}99{c}{c}{c}SSA{c}SS{f}{f}DO{e}T{e}E{c}J{e}F{e}N"
    message = Hl7(hl7(pid, head=head))
    assert message.type == "ADT^A04"
    assert message.get("MSH-3") == "EPIC"
    assert message.get("PID-3.4.2") == "OID"
    assert message.get("PID-3[2].1") == "99"
    assert message.get("PID-3[5=SS].4") == "SSA"
    assert message.get("PID-5.1") == f"DO{s}E"
    assert message.get("PID-5.2") == f"J{f}N"
    assert bytes(message) == hl7(pid, head=head)


@pytest.mark.parametrize("encoding_characters", ["", "^", "^~", "^~\\", "^~\\&", "^~\\&#"])
def test_what_a_truncated_msh_2_does_not_say_is_as_usual(encoding_characters: str) -> None:
    raw = hl7(PID, head=MSH.replace("^~\\&", encoding_characters))
    message = Hl7(raw)
    assert message.get("MSH-2") == (encoding_characters or None)
    assert message.get("MSH-3") == "EPIC"
    assert message.type == "ADT^A04"
    assert message.get("PID-3[2].1") == "999"
    assert message.get("PID-3.4.2") == "1.2.3"
    assert bytes(message) == raw


def test_a_header_of_nothing_but_separators_is_a_message() -> None:
    message = Hl7(b"MSH|^~\\&")
    assert (message.type, message.control_id) == ("", "")
    assert message.separators == ("|", "^", "~", "\\", "&", "")


def test_the_fifth_encoding_character_of_version_2_7_is_no_separator() -> None:
    message = Hl7(hl7("PID|1||42#7^x\\P\\y", head=MSH.replace("^~\\&", "^~\\&#")))
    assert message.get("PID-3") == "42#7^x#y"
    assert message.get("MSH-2") == "^~\\&#"


@pytest.mark.parametrize("mark", "#@P.")
def test_the_truncation_character_is_the_one_of_msh_2(mark: str) -> None:
    raw = hl7("PID|1||x\\P\\y||DOE", head=MSH.replace("^~\\&", f"^~\\&{mark}"))
    message = Hl7(raw)
    assert message.get("PID-3") == f"x{mark}y"
    message.set("PID-5.1", f"A{mark}B")
    assert message.get("PID-5.1") == f"A{mark}B"
    assert bytes(message) == raw.replace(b"DOE", b"A\\P\\B")


def test_before_2_7_there_is_no_truncation_character_and_its_letter_is_text() -> None:
    message = Hl7(hl7("PID|1||C:\\P\\temp#1"))
    assert message.get("PID-3") == "C:\\P\\temp#1"


def test_msh_counts_its_separator_as_the_first_field() -> None:
    message = Hl7(hl7())
    assert message.get("MSH-1") == "|"
    assert message.get("MSH-2") == "^~\\&"
    assert message.get("MSH-3") == "EPIC"
    assert message.get("MSH-10") == "42"
    assert message.get("MSH-12") == "2.5"
    assert message.get("MSH-13") is None


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"\x00", b"   ", b"PID|1||42\r", b"MSH", b"MSH\r", b"MSHA^~\\&|x", b"MSH1^~\\&", b"hello",
        b"<html>MSH|^~\\&|</html>",
        b"FHS|^~\\&|A\r", "MSH|^~\\&|A\r".encode("utf-16"), "MSH|^~\\&|A\r".encode("utf-16-le"),
        "MSH|^~\\&|A\r".encode("utf-32"),
        b"\n" * 5000 + b"MSH|^~\\&|A",
    ],
    ids=[
        "empty", "nul", "blanks", "no header", "header cut", "header without separator", "letter as separator",
        "digit as separator", "prose", "web page", "batch header", "utf-16", "utf-16 without mark", "utf-32", "far too late",
    ],
)  # fmt: skip
def test_what_has_no_header_with_separators_is_unusable(raw: bytes) -> None:
    with pytest.raises(MessageUnusable) as refused:
        Hl7(raw)
    assert refused.value.code.startswith("HL7-")


# Lines.


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"], ids=["CR", "LF", "CRLF"])
@pytest.mark.parametrize("last", [True, False], ids=["ended", "last line not ended"])
def test_any_line_end_parts_segments(end: str, last: bool) -> None:
    raw = hl7(PID, "PV1|1|O", end=end)
    raw = raw if last else raw.removesuffix(end.encode())
    message = Hl7(raw)
    assert [s.id for s in message.segments] == ["MSH", "PID", "PV1"]
    assert message.get("MSH-12") == "2.5"
    assert message.get("PID-5.2") == "JANE"
    assert message.get("PV1-2") == "O"
    assert bytes(message) == raw


def test_line_ends_may_be_mixed() -> None:
    raw = f"{MSH}\r\n{PID}\nPV1|1|O\rZPD|1|x\r\n\r\n".encode()
    message = Hl7(raw)
    assert [s.id for s in message.segments] == ["MSH", "PID", "PV1", "ZPD"]
    assert [message.get(p) for p in ("MSH-12", "PID-5.2", "PV1-2", "ZPD-2")] == ["2.5", "JANE", "O", "x"]
    assert bytes(message) == raw


def test_blank_lines_are_no_segments_and_no_values() -> None:
    raw = f"{MSH}\r\r\n\n{PID}\r\r\rPV1|1|O\r\n\n".encode()
    message = Hl7(raw)
    assert [s.id for s in message.segments] == ["MSH", "PID", "PV1"]
    assert message.get("PID-5.2") == "JANE"
    assert message.get("PV1-2") == "O"
    assert bytes(message) == raw


@pytest.mark.parametrize("lead", [b"\xef\xbb\xbf", b"  \t", b"\r\n\r\n", b"\x0b", b"\xef\xbb\xbf \r\n"], ids=repr)
def test_what_stands_before_the_header_is_passed_over_and_kept(lead: bytes) -> None:
    raw = lead + hl7(PID)
    message = Hl7(raw)
    assert message.control_id == "42"
    assert message.get("PID-3.1") == "42"
    assert bytes(message) == raw


def test_the_end_of_a_frame_is_no_part_of_the_last_value() -> None:
    raw = b"\x0b" + hl7("PID|1||42") + b"\x1c\r"
    message = Hl7(raw)
    assert message.get("PID-3") == "42"
    assert bytes(message) == raw


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"], ids=["CR", "LF", "CRLF"])
def test_a_value_broken_over_lines_stays_one_value(end: str) -> None:
    note = f"first line{end}second line, longer|more{end}123 third"
    raw = hl7(PID, f"OBX|1|TX|NOTE||{note}|||||F", "PV1|1|O", end=end)
    message = Hl7(raw)
    assert [s.id for s in message.segments] == ["MSH", "PID", "OBX", "PV1"]
    assert message.get("OBX-5") == f"first line{end}second line, longer"
    assert message.get("OBX-6") == f"more{end}123 third"
    assert message.get("OBX-11") == "F"
    assert bytes(message) == raw


def test_lower_case_segment_ids_are_read_like_others() -> None:
    raw = hl7(PID.replace("PID", "pid"), "Pv1|1|O", "zpd|7")
    message = Hl7(raw)
    assert [s.id for s in message.segments] == ["MSH", "PID", "PV1", "ZPD"]
    assert message.get("PID-5.2") == "JANE"
    assert message.get("zpd-1") == "7"
    assert [group.get("PID-3.1") for group in message.each("PID")] == ["42"]
    assert bytes(message) == raw


def test_a_lower_case_header_is_a_header_with_all_its_fields() -> None:
    raw = b"msh" + MSH[3:].encode() + b"||||||8859/1\rpid|1||42||M\xfcller\r"
    message = Hl7(raw)
    assert message.type == "ADT^A04"
    assert message.get("MSH-3") == "EPIC"
    assert message.encoding == "iso-8859-1"
    assert message.get("PID-5") == "Müller"
    assert bytes(message) == raw


def test_segments_nobody_knows_stay_where_they_are_and_can_be_read() -> None:
    raw = hl7("ZCH|a^b|c", PID, "XYZ|1", "ZPD|1|A&B^C\\T\\D", "NTE|1||free", "Z1A|9")
    message = Hl7(raw)
    assert [s.id for s in message.segments] == ["MSH", "ZCH", "PID", "XYZ", "ZPD", "NTE", "Z1A"]
    assert message.get("ZCH-1.2") == "b"
    assert message.get("ZPD-2.1.2") == "B"
    assert message.get("ZPD-2.2") == "C&D"
    assert message.get("Z1A-1") == "9"
    assert bytes(message) == raw


def test_a_message_hides_what_it_says_from_logs() -> None:
    shown = repr(Hl7(hl7(PID)))
    assert "ADT^A04" in shown
    assert not any(word in shown for word in ("DOE", "JANE", "999"))


# Values.


def test_delete_this_is_told_from_not_sent() -> None:
    message = Hl7(hl7('PID|1||42||DOE^""^||""|| ||^|""^x'))
    assert message.get("PID-7") == '""'
    assert message.get("PID-5.2") == '""'
    assert message.get("PID-6") is None
    assert message.get("PID-5.3") is None
    assert message.get("PID-11.2") is None
    assert message.get("PID-99") is None
    assert message.get("PV1-2") is None
    assert message.get("PID-9") == " "


@pytest.mark.parametrize(
    ("path", "first", "all_of_them"),
    [
        ("PID-3.1", "A", ["A"]),
        ("PID-3", "A^^^RIVER^MR", ["A^^^RIVER^MR"]),
        ("PID-3[2].1", "B", ["B"]),
        ("PID-3[3].1", None, []),
        ("PID-3[4].1", "D", ["D"]),
        ("PID-3[5].1", None, []),
        ("PID-3[*].1", "A", ["A", "B", "D"]),
        ("PID-3[*].5", "MR", ["MR", "SS", "MR"]),
        ("PID-3[5=MR].1", "A", ["A", "D"]),
        ("PID-3[5=SS].1", "B", ["B"]),
        ("PID-3[5=SS].4.2", "OID", ["OID"]),
        ("PID-3[5=XX].1", None, []),
        ("PID-3[4=RIVER].1", "A", ["A"]),
        ("PID-3[5=mr].1", None, []),
        ("OBX-5", "one", ["one"]),
        ("OBX[2]-5", None, []),
        ("OBX[3]-5", "three", ["three"]),
        ("OBX[4]-5", None, []),
        ("OBX[*]-5", "one", ["one", "three"]),
        ("OBX[*]-1", "1", ["1", "2", "3"]),
    ],
)
def test_repetitions_and_occurrences_are_chosen_by_number_or_by_what_they_say(
    path: str, first: str | None, all_of_them: list[str]
) -> None:
    pid = "PID|1||A^^^RIVER^MR~B^^^SSA&OID^SS~~D^^^LAKE^MR"
    message = Hl7(hl7(pid, "OBX|1|TX|||one", "NTE|1", "OBX|2|TX|||", "OBX|3|TX|||three"))
    assert message.get(path) == first
    assert message.get_all(path) == all_of_them


def test_a_selector_compares_what_a_person_reads() -> None:
    message = Hl7(hl7("PID|1||A^^^X\\T\\Y^MR~B^^^XY^MR"))
    assert message.get_all("PID-3[4=X&Y].1") == ["A"]


def test_parts_that_were_not_sent_as_parts_are_the_first_part() -> None:
    message = Hl7(hl7(PID))
    assert message.get("PID-3.1.1") == "42"
    assert message.get("PID-1.1.1") == "1"
    assert message.get("PID-1.1.2") is None
    assert message.get("PID-1.2") is None


# Groups.

INSURED = [
    PID, "PV1|1|O",
    "IN1|1|PPO|60054", "IN2|1|S1", "ZIN|1", "IN3|1|P1",
    "IN1|2|HMO|10001",
    "IN1|3|MCR|00882", "IN2|3|S3", "IN2|4|S4",
]  # fmt: skip


def test_an_insurance_is_read_with_what_follows_it_and_nothing_of_another() -> None:
    groups = list(Hl7(hl7(*INSURED)).each("IN1"))
    assert [g.get("IN1-3") for g in groups] == ["60054", "10001", "00882"]
    assert [g.get_all("IN2[*]-2") for g in groups] == [["S1"], [], ["S3", "S4"]]
    assert [g.get("IN3-2") for g in groups] == ["P1", None, None]
    assert [g.get("IN1[2]-3") for g in groups] == [None, None, None]


def test_a_group_reads_other_segments_from_the_whole_message() -> None:
    assert [g.get("PID-5.2") for g in Hl7(hl7(*INSURED)).each("IN1")] == ["JANE"] * 3
    assert [g.get("MSH-10") for g in Hl7(hl7(*INSURED)).each("IN1")] == ["42"] * 3


MERGE = [
    "EVN|A40",
    "PID|1||S1^^^RIVER^MR||ONE^ANN", "PD1|x", "MRG|O1^^^RIVER^MR", "PV1|1|I",
    "PID|2||S2^^^RIVER^MR||TWO^BOB", "MRG|O2^^^RIVER^MR",
    "PID|3||S3^^^RIVER^MR||TRI^CY", "PV1|3|E", "IN1|1|PPO|60054",
]  # fmt: skip


def test_a_merge_of_several_pairs_keeps_each_pair_together() -> None:
    groups = list(Hl7(hl7(*MERGE)).each("PID"))
    assert [g.get("PID-3.1") for g in groups] == ["S1", "S2", "S3"]
    assert [g.get("MRG-1.1") for g in groups] == ["O1", "O2", None]
    assert [g.get("PV1-2") for g in groups] == ["I", None, "E"]
    assert [g.get("EVN-1") for g in groups] == ["A40"] * 3


def test_an_insurance_within_a_patient_belongs_to_that_patient() -> None:
    second = ["PID|1||A||ONE^ANN", "IN1|1|PPO|60054", "PID|2||B||TWO^BOB", "IN1|1|HMO|10001", "IN2|1|S"]
    patients = list(Hl7(hl7(*second)).each("PID"))
    assert [[i.get("IN1-3") for i in p.each("IN1")] for p in patients] == [["60054"], ["10001"]]
    assert [[i.get("PID-5.2") for i in p.each("IN1")] for p in patients] == [["ANN"], ["BOB"]]


def test_resources_of_a_booking_are_read_with_their_group_and_notes() -> None:
    raw = hl7("SCH|1|F77", PID, "RGS|1|A", "AIS|1||CT", "NTE|1||scan", "AIP|1||9^DOC", "RGS|2|A", "AIL|1||ROOM1")
    groups = list(Hl7(raw).each("RGS"))
    assert [g.get("AIS-3") for g in groups] == ["CT", None]
    assert [g.get("NTE-3") for g in groups] == ["scan", None]
    assert [g.get("AIL-3") for g in groups] == [None, "ROOM1"]
    assert [g.get("SCH-2") for g in groups] == ["F77", "F77"]


def test_a_group_that_no_segment_begins_is_empty() -> None:
    assert list(Hl7(hl7(PID)).each("IN1")) == []


def test_groups_are_named_in_either_case_like_paths() -> None:
    assert len(list(Hl7(hl7(*INSURED)).each("in1"))) == 3


# As mappings read it.


def test_the_repetitions_of_a_field_are_read_one_by_one() -> None:
    fields = Hl7Fields(Hl7(hl7("PID|1||A^^^RIVER&OID^MR~~C^^^LAKE^MR||DOE^JANE")))
    read = [(r.get("1"), r.get("4.1"), r.get("4.2"), r.get("PID-5.2")) for r in fields.each("PID-3")]
    assert read[0] == ("A", "RIVER", "OID", "JANE")
    assert read[-1] == ("C", "LAKE", None, "JANE")
    assert [r for r in read if r[0]] == [read[0], read[-1]]


def test_the_repetitions_of_each_patient_of_a_merge_are_that_patients() -> None:
    patients = Hl7Fields(Hl7(hl7("PID|1||A~B", "MRG|O1~O2", "PID|2||C", "MRG|O3"))).each("PID")
    read = [([r.get("1") for r in p.each("PID-3")], [r.get("1") for r in p.each("MRG-1")]) for p in patients]
    assert read == [(["A", "B"], ["O1", "O2"]), (["C"], ["O3"])]


def test_a_field_that_was_not_sent_has_no_repetitions_with_a_value() -> None:
    fields = Hl7Fields(Hl7(hl7("PID|1||A")))
    assert [r.get("1") for r in fields.each("PID-13") if r.get("1")] == []
    assert list(fields.each("NK1-2")) == []
