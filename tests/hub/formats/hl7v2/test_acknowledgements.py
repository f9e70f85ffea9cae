"""Acknowledgements: made for what came in, by version, and read from what comes back."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings, strategies as st

from hub.errors import MessageUnusable
from hub.formats.hl7v2 import Acknowledgement, Hl7, ack, acknowledge, read_acknowledgement
from hub.formats.hl7v2.ack import TABLE_0357, Fault
from tests.hub.formats.messages import MSH, PROPERTY, hl7, with_charset

FAULT = Fault("101", "MSH-10", "the control id is missing")


def request(version: str = "2.5", *, head: str = MSH) -> Hl7:
    return Hl7(hl7("PID|1||42", head=head.replace("|2.5", f"|{version}")))


def lines(answer: bytes) -> list[list[str]]:
    assert answer.endswith(b"\r")
    return [line.split("|") for line in answer.decode().removesuffix("\r").split("\r")]


# What every acknowledgement says.


@pytest.mark.parametrize("code", ["AA", "AE", "AR", "CA", "CE", "CR"])
def test_an_acknowledgement_names_the_message_it_answers(code: str) -> None:
    msh, msa = lines(acknowledge(request(), code))
    assert msa == ["MSA", code, "42"]
    assert msh[0] == "MSH"


def test_the_addresses_are_swapped_whole() -> None:
    head = MSH.replace("EPIC|RIVER|HUB|RIVER", "EPIC^1.2.3^ISO|RIVER^4.5&6^DNS|HUB^7^L|LAKE\\T\\SEA^8")
    msh = lines(acknowledge(request(head=head), "AA"))[0]
    assert msh[2:6] == ["HUB^7^L", "LAKE\\T\\SEA^8", "EPIC^1.2.3^ISO", "RIVER^4.5&6^DNS"]


def test_separators_processing_id_version_and_charset_are_the_senders() -> None:
    head = "MSH#*!/+#EPIC#R#HUB#R#2026##ADT*A01#42#T*A#2.4*USA#7#####8859/1"
    answer = acknowledge(Hl7(hl7(head=head)), "AE", Fault("101", "PID-3", "a#b*c!d/e+f")).decode()
    msh, msa, err = (line.split("#") for line in answer.removesuffix("\r").split("\r"))
    assert msh[1] == "*!/+"
    assert (msh[8], msh[10], msh[11], msh[17]) == ("ACK*A01", "T*A", "2.4*USA", "8859/1")
    assert msa == ["MSA", "AE", "42", "a/F/b/S/c/R/d/E/e/T/f"]
    assert err == ["ERR", "PID*1*3*101+Required field missing+HL70357"]


def test_a_header_that_says_little_is_answered_all_the_same() -> None:
    msh, msa = lines(acknowledge(Hl7(b"MSH|^~\\&"), "AA"))
    assert (msh[1], msh[8], msh[10]) == ("^~\\&", "ACK", "P")
    assert msh[11]
    assert msa == ["MSA", "AA", ""]


def test_every_acknowledgement_has_a_control_id_of_its_own() -> None:
    ids = [lines(acknowledge(request(), "AA"))[0][9] for _ in range(2000)]
    assert len(set(ids)) == 2000
    assert all(0 < len(id) <= 20 for id in ids)


def test_the_time_is_that_of_the_answer_with_its_offset() -> None:
    assert re.fullmatch(r"\d{14}[+-]\d{4}", lines(acknowledge(request(), "AA"))[0][6])
    at = datetime(2026, 11, 30, 14, 30, 5, tzinfo=UTC)
    assert lines(acknowledge(request(), "AA", now=at))[0][6] == "20261130143005+0000"


@pytest.mark.parametrize("control_id", ["             CONTROLID", "A\\T\\B", "A^B&C~D", "M\\5", "x" * 300])
def test_the_control_id_comes_back_byte_for_byte(control_id: str) -> None:
    assert lines(acknowledge(request(head=MSH.replace("|42|", f"|{control_id}|")), "AA"))[1][2] == control_id


@pytest.mark.parametrize("control_id", ["42\x1c", "4\x0b2", "\x1c\x1c4\x1c2\x0b"])
def test_a_control_id_with_the_bytes_of_a_frame_comes_back_without_ending_the_answers_frame(control_id: str) -> None:
    answer = acknowledge(request(head=MSH.replace("|42|", f"|{control_id}|").replace("RIVER", "RIV\x1cER")), "AA")
    assert not {0x0B, 0x1C} & set(answer)
    assert read_acknowledgement(answer).control_id == control_id


@pytest.mark.parametrize(
    ("version", "type"),
    [
        ("2.1", "ACK^A04"), ("2.2", "ACK^A04"), ("2.3", "ACK^A04"), ("2.3.1", "ACK^A04"), ("2.4", "ACK^A04"),
        ("2.5", "ACK^A04^ACK"), ("2.5.1", "ACK^A04^ACK"), ("2.6", "ACK^A04^ACK"), ("2.8.2", "ACK^A04^ACK"), ("2.9",
        "ACK^A04^ACK"),
    ],
)  # fmt: skip
def test_the_type_is_written_as_the_version_has_it(version: str, type: str) -> None:
    assert lines(acknowledge(request(version), "AA"))[0][8] == type


def test_a_message_without_a_trigger_is_answered_without_one() -> None:
    assert lines(acknowledge(request(head=MSH.replace("ADT^A04", "ADT")), "AA"))[0][8] == "ACK"


def test_the_charset_is_that_of_the_message() -> None:
    raw = with_charset(b"8859/1", b"PID|1||42").replace(b"EPIC", b"M\xfcller")
    answer = acknowledge(Hl7(raw), "AE", Fault("207", "", "é ł"))
    assert b"|M\xfcller|" in answer
    assert b"|8859/1\r" in answer
    assert b"\xe9" in answer


# What a negative one says.


@pytest.mark.parametrize("version", ["2.2", "2.3", "2.3.1", "2.4"])
def test_up_to_2_4_the_error_is_one_coded_field(version: str) -> None:
    _, msa, err = lines(acknowledge(request(version), "AE", FAULT))
    assert err == ["ERR", "MSH^1^10^101&Required field missing&HL70357"]
    assert msa == ["MSA", "AE", "42", "the control id is missing"]


@pytest.mark.parametrize("version", ["2.5", "2.5.1", "2.6", "2.7", "2.8.2"])
def test_from_2_5_the_error_has_fields_of_its_own(version: str) -> None:
    _, _, err = lines(acknowledge(request(version), "AE", FAULT))
    assert err == [
        "ERR", "", "MSH^1^10", "101^Required field missing^HL70357", "E", "", "", "", "the control id is missing",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("version", "has_text"), [("2.3", True), ("2.5.1", True), ("2.6", True), ("2.7", False), ("2.8.2", False)]
)
def test_msa_3_is_said_as_long_as_the_version_has_it(version: str, has_text: bool) -> None:
    msa = lines(acknowledge(request(version), "AE", FAULT))[1]
    assert (len(msa) > 3) == has_text


@pytest.mark.parametrize("version", ["2.3", "2.5"])
def test_a_fault_of_no_field_names_none(version: str) -> None:
    answer = acknowledge(request(version), "AR", Fault("207"))
    again = Hl7(answer)
    assert [s.id for s in again.segments] == ["MSH", "MSA", "ERR"]
    assert read_acknowledgement(answer).text == "207"
    assert "207" in answer.decode()


@pytest.mark.parametrize("version", ["2.3", "2.6", "2.8"])
def test_text_cannot_break_out_of_its_field(version: str) -> None:
    text = "a|b^c&d~e\\f\rMSA|AA|42\ng"
    again = Hl7(acknowledge(request(version), "AE", Fault("102", "PID-7", text)))
    assert [s.id for s in again.segments] == ["MSH", "MSA", "ERR"]
    assert again.get("MSA-1") == "AE"
    assert again.get("ERR-8" if version != "2.3" else "MSA-3") == text


@pytest.mark.parametrize("trigger", ["A\\F\\B", "A04\\X0D\\MSA\\F\\AA", "A\\S\\B"])
def test_a_trigger_cannot_break_out_of_its_component(trigger: str) -> None:
    answer = acknowledge(request(head=MSH.replace("A04", trigger)), "AE", FAULT)
    msh, msa, _ = lines(answer)
    assert msh[9:12] == [msh[9], "P", "2.5"]
    assert msa[:3] == ["MSA", "AE", "42"]
    assert Hl7(answer).get("MSH-9.3") == "ACK"


@pytest.mark.parametrize("version", ["2.\u00b2", "\u00b2", "2." + "9" * 5000, "", " 2.5 ", "2.x", "latest", "2..5", '""'])
def test_any_version_is_answered(version: str) -> None:
    answer = acknowledge(request(version), "AE", FAULT)
    assert read_acknowledgement(answer).code == "AE"
    assert read_acknowledgement(answer).control_id == "42"


def test_the_error_codes_are_those_of_table_0357() -> None:
    wanted = {"0", "100", "101", "102", "103", "200", "201", "202", "203", "204", "205", "206", "207"}
    assert set(TABLE_0357) == wanted


header_field = st.text(
    st.one_of(st.characters(exclude_categories=["Cs"], exclude_characters="|\r\n"), st.sampled_from("^~\\&XF0D"))
)


@PROPERTY
@given(
    fields=st.lists(header_field, max_size=18),
    code=st.sampled_from(["AA", "AE", "CR"]),
    fault=st.one_of(st.none(), st.builds(Fault, st.sampled_from([*TABLE_0357]), st.just("PID-3"), st.text(max_size=30))),
)
def test_any_header_gets_an_acknowledgement_that_is_whole(fields: list[str], code: str, fault: Fault | None) -> None:
    raw = "|".join(["MSH", "^~\\&", *fields]).encode()
    asked = Hl7(raw)
    answer = acknowledge(asked, code, fault)
    again = Hl7(answer, asked.encoding)
    assert [s.id for s in again.segments] == ["MSH", "MSA", *(["ERR"] if fault else [])]
    assert again.get("MSA-1") == code
    assert again.get("MSH-9.1") == "ACK"
    if asked.encoding == "utf-8":
        assert again.get("MSA-2") == asked.get("MSH-10")
        assert again.get("MSH-5") == asked.get("MSH-3")


# What comes back.


@pytest.mark.parametrize(
    ("segments", "code", "control_id", "text"),
    [
        (["MSA|AA|42"], "AA", "42", ""),
        (["MSA|aa |42"], "AA", "42", ""),
        (["MSA|CA"], "CA", "", ""),
        (["MSA|AE|42|Patient DOE JANE unknown"], "AE", "42", ""),
        (["MSA|AE|42", "ERR||PID^1^3|204^Unknown key^HL70357|E"], "AE", "42", "204"),
        (["MSA|AR|42", "ERR||PID^1^3|204|E", "ERR||PID^1^5|101|E"], "AR", "42", "204 101"),
        (["MSA|AE|42", "ERR|PID^1^3^103&Table value&HL70357"], "AE", "42", "103"),
        (["MSA|AE|A\\T\\B"], "AE", "A&B", ""),
    ],
)
def test_an_answer_is_read(segments: list[str], code: str, control_id: str, text: str) -> None:
    read = read_acknowledgement(hl7(*segments, head=MSH.replace("ADT^A04", "ACK")))
    assert (read.code, read.control_id) == (code, control_id)
    assert read.text.split()[: len(text.split())] == text.split()
    assert "DOE" not in read.text


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_an_answer_is_read_whatever_its_line_ends(end: str) -> None:
    read = read_acknowledgement(hl7("MSA|AA|42", end=end))
    assert (read.code, read.control_id) == ("AA", "42")


@pytest.mark.parametrize("frame", [b"", b"AA", b"\x06", hl7("PID|1"), hl7("MSA"), hl7("MSA||42"), b"MSA|AA|42\r"], ids=repr)
def test_what_is_no_acknowledgement_is_unusable(frame: bytes) -> None:
    with pytest.raises(MessageUnusable):
        read_acknowledgement(frame)


def test_what_a_partner_says_at_length_is_shortened() -> None:
    read = read_acknowledgement(hl7("MSA|AE|42", *[f"ERR||PID^1^{n}|{100 + n}|E" for n in range(100)]))
    assert len(read.text) <= 80


@pytest.mark.parametrize("code", ["AA", "AE", "AR"])
def test_what_we_write_we_read(code: str) -> None:
    fault = None if code == "AA" else FAULT
    read = read_acknowledgement(acknowledge(request(), code, fault))
    assert (read.code, read.control_id, read.text) == (code, "42", "101" if fault else "")


PARTS = st.sampled_from(
    [b"MSH|^~\\&|", b"MSH|^~\\&#|", b"SIM|R|", b"ACK^A01", b"|", b"\r", b"\r", b"\n", b"MSA|", b"\rMSA|AA|M1", b"\rMSA|ZZ|M1\r",
     b"AA", b"CE", b"|M-1.2_x", b"\\T\\", b"^", b"~", b"\xc3\xa9", b"UNICODE UTF-8", b"UTF-16", b"ISO IR87", b"ERR|||101\r",
     b"\x1c",
     b"\x00", b" ", b"|" * 12]
)  # fmt: skip


@given(st.lists(PARTS, max_size=14).map(b"".join), st.booleans())
@settings(max_examples=400, deadline=None)
def test_answers_that_are_read_quickly_say_what_they_say_when_read_in_full(noise: bytes, ordinary: bool) -> None:
    frame = b"MSH|^~\\&|SIM|R|HUB|R|2026||ACK|A1|P|2.5" + noise + (b"\rMSA|AE|M1|no\r" if ordinary else b"")
    for read in (frame, noise):
        quick = ack._read_quickly(read)
        assert quick is None or quick == ack._read(read)


@pytest.mark.parametrize("more", ["", "|", "|accepted", "|||7"])
@pytest.mark.parametrize("charset", ["", "||||||8859/1", "||||||UNICODE UTF-8"])
@pytest.mark.parametrize("end", ["", "\r"])
def test_the_usual_answers_are_read_quickly(more: str, charset: str, end: str) -> None:
    frame = f"MSH|^~\\&|SIM|R|HUB|R|2026||ACK^A01^ACK|A1|P|2.5{charset}\rMSA|AA|M-1{more}{end}".encode()
    assert ack._read_quickly(frame) == Acknowledgement("AA", "M-1")
