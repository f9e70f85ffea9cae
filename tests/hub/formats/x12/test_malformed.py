"""X12 as payers really send it: whatever is wrong becomes a finding, and what can be read is read all the same."""

import itertools

import pytest

from hub.formats.describe import describe
from hub.formats.x12 import envelope, report
from hub.formats.x12.tokens import MAX_ELEMENT
from tests.hub.formats.messages import (
    BODY,
    HEAD_271,
    ISA,
    SUBSCRIBER,
    answer_271,
    codes,
    group,
    interchange,
    transaction,
    transactions,
)

EBS = ["EB*1**30**GOLD", "EB*B**1^98***27*25*****Y"]
GOOD = answer_271(*EBS)
SEPARATORS = GOOD.decode()


def changed(before: str, after: str) -> bytes:
    """The good answer with one thing changed."""
    assert SEPARATORS.count(before) == 1, before
    return SEPARATORS.replace(before, after).encode()


def read_well(data: bytes) -> bool:
    """Whether everything the payer said got through."""
    found = [t for t in transactions(report.describe(data)) if t["set"] == "271"]
    if not found or not found[0].get("coverages"):
        return False
    coverage = found[0]["coverages"][0]
    return (
        coverage["status"] == "active"
        and coverage["plan"] == "GOLD"
        and coverage["subscriber"]["member_id"] == "W100"
        and coverage["subscriber"]["given"] == "JANE"
        and coverage["payer"]["id"] == "60054"
        and [b["amount"] for b in coverage["benefits"] if b["code"] == "B"] == ["25"]
        and [b["service_types"] for b in coverage["benefits"]] == [["30"], ["1", "98"]]
    )


def test_a_good_answer_has_no_findings() -> None:
    assert read_well(GOOD)
    assert report.describe(GOOD)["findings"] == []


BROKEN = {
    "wrong SE01": (changed("SE*13*", "SE*33*"), ["X12-SE01"]),
    "no SE01": (changed("SE*13*", "SE**"), ["X12-SE01"]),
    "SE01 in words": (changed("SE*13*", "SE*²*"), ["X12-SE01"]),
    "SE02 differs": (changed("SE*13*0001", "SE*13*0002"), ["X12-SE02"]),
    "GE01 wrong": (changed("GE*1*7", "GE*2*7"), ["X12-GE01"]),
    "GE02 differs": (changed("GE*1*7", "GE*1*8"), ["X12-GE02"]),
    "IEA01 wrong": (changed("IEA*1*", "IEA*2*"), ["X12-IEA01"]),
    "IEA02 differs": (changed("IEA*1*000000007", "IEA*1*000000008"), ["X12-IEA02"]),
    "no IEA": (changed("IEA*1*000000007~", ""), ["X12-IEA-MISSING"]),
    "no GE and IEA": (changed("GE*1*7~IEA*1*000000007~", ""), ["X12-GE-MISSING", "X12-IEA-MISSING"]),
    "no GE": (changed("GE*1*7~", ""), ["X12-GE-MISSING"]),
    "no SE": (changed("SE*13*0001~", ""), ["X12-SE-MISSING"]),
    "cut after the last benefit": (GOOD[: GOOD.index(b"SE*13")], ["X12-SE-MISSING", "X12-GE-MISSING", "X12-IEA-MISSING"]),
    "wrong GS01": (changed("GS*HB*", "GS*HS*"), ["X12-GS01"]),
    "GS08 of the first edition": (changed("7*X*005010X279A1", "7*X*005010X279"), ["X12-GS08"]),
    "GS08 of another transaction": (changed("7*X*005010X279A1", "7*X*005010X222A1"), ["X12-GS08"]),
    "lower-case segment ids": (changed("~EB*1**30", "~eb*1**30"), ["X12-CASE"]),
    "byte order mark": (b"\xef\xbb\xbf" + GOOD, ["X12-BOM"]),
    "ISA too short": (changed("PAYER          *", "PAYER*"), ["X12-ISA-LENGTH"]),
    "ISA too long": (changed("*ZZ*CLINIC         *", "*ZZ*CLINIC                    *"), ["X12-ISA-LENGTH"]),
    "ISA13 too short": (changed("*00501*000000007*0*", "*00501*7*0*").replace(b"IEA*1*000000007", b"IEA*1*7"),
    ["X12-ISA-LENGTH"]),
    "empty segment": (changed("~EB*1**30", "~~EB*1**30"), ["X12-EMPTY"]),
    "empty segments everywhere": (SEPARATORS.replace("~", "~~").encode(), ["X12-EMPTY"]),
    "text after IEA": (GOOD + b"-- end of report --", []),
    "NUL after IEA": (GOOD + b"\x00\x00", []),
    "web page after IEA": (GOOD + b"<html><body>bye</body></html>", []),
    "SE where none is open": (changed("GE*1*7~", "SE*13*0001~GE*1*7~"), ["X12-SE"]),
    "GE where none is open": (changed("IEA*1", "GE*1*7~IEA*1"), ["X12-GE"]),
    "a segment between ST and GS": (changed("~ST*271", "~REF*1*2~ST*271"), ["X12-STRAY"]),
    "unknown segment": (changed("~EB*1**30", "~ZZZ*1~EB*1**30").replace(b"SE*13*", b"SE*14*"), ["X12-SEGMENT"]),
    "no GS": (changed("GS*HB*PAYER*CLINIC*20261130*1430*7*X*005010X279A1~", ""), ["X12-GS-MISSING"]),
    "no GS and GE": (
        changed("GS*HB*PAYER*CLINIC*20261130*1430*7*X*005010X279A1~", "").replace(b"GE*1*7~", b""), ["X12-GS-MISSING"],
    ),
}  # fmt: skip
"""Research x12.md 2.3 and 2.6: what is wrong, and which findings say so at least."""


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_answer_is_read_and_what_is_wrong_is_said(what: str) -> None:
    data, wanted = BROKEN[what]
    found = codes(report.describe(data))
    assert found, "nothing was said to be wrong"
    assert set(wanted) <= set(found)
    assert read_well(data)


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_answer_answers_the_question(what: str) -> None:
    answer = report.answer(BROKEN[what][0], ["30"])
    assert (answer["set"], answer["status"], answer["failure"]) == ("271", "active", None)
    assert answer["chosen"]["co_payment"]["amount"] == "25"
    assert answer["findings"]


@pytest.mark.parametrize(
    ("segment", "instead"),
    [
        ("DMG*D8*19800229*F", "DMG*D8*19801399*F"),
        ("DMG*D8*19800229*F", "DMG*D8*29.02.1980*F"),
        ("EB*1**30**GOLD", "EB*1**30**GOLD" + "*" * 15 + "X"),
        ("EB*1**30**GOLD", "EB*QQ**30**GOLD"),
    ],
    ids=["no such day", "no date of this format", "too many elements", "unknown benefit code"],
)
def test_what_is_wrong_inside_a_transaction_is_found_at_its_segment(segment: str, instead: str) -> None:
    found = report.describe(changed(segment, instead))
    position = [*HEAD_271, *SUBSCRIBER, *EBS].index(segment) + 2
    assert any(f["segment"] == position and f["id"] == segment.split("*")[0] for f in found["findings"]), found["findings"]
    assert transactions(found)[0]["coverages"][0]["payer"]["id"] == "60054"


def test_a_subscriber_without_a_name_is_found_and_the_benefits_are_read() -> None:
    data = changed("NM1*IL*1*DOE*JANE****MI*W100~", "").replace(b"SE*13*", b"SE*12*")
    found = report.describe(data)
    assert "X12-2100C" in codes(found)
    assert transactions(found)[0]["coverages"][0]["status"] == "active"


GOOD_FORMS = {
    "LF after each segment": SEPARATORS.replace("~", "~\n").encode(),
    "CRLF after each segment": SEPARATORS.replace("~", "~\r\n").encode(),
    "blank lines between and at the end": SEPARATORS.replace("~", "~\n\n").encode() + b"\r\n\r\n  \n",
    "indented lines": SEPARATORS.replace("~", "~\r\n    ").encode(),
    "LF as terminator": SEPARATORS.replace("~", "\n").encode(),
    "CR as terminator": SEPARATORS.replace("~", "\r").encode(),
    "CRLF as terminator": SEPARATORS.replace("~", "\r\n").encode(),
    "other separators": SEPARATORS.translate(str.maketrans("*:^~", "|>}!")).encode(),
    "separators out of the control characters": SEPARATORS.translate(str.maketrans("*:^~", "\x1d\x1f\x1e\x1c")).encode(),
    "white space before": b"\r\n \t" + GOOD,
    "much white space before": b" \n" * 400 + GOOD,
    "a long element": changed("~SE*13", "~MSG*" + "x" * 20_000 + "~SE*14"),
}


@pytest.mark.parametrize("form", GOOD_FORMS)
def test_any_form_of_a_good_answer_is_read(form: str) -> None:
    data = GOOD_FORMS[form]
    assert read_well(data)
    assert [f for f in report.describe(data)["findings"] if f["level"] == "error"] == []
    assert describe(data)["format"] == "x12"


@pytest.mark.parametrize(
    ("name", "raw"),
    [("GONZÁLEZ", "GONZÁLEZ".encode()), ("GONZÁLEZ", "GONZÁLEZ".encode("latin-1")), ("ŁUKASZ", "ŁUKASZ".encode())],
    ids=["UTF-8", "Latin-1", "beyond Latin-1"],
)
def test_names_are_read_as_utf_8_else_as_latin(name: str, raw: bytes) -> None:
    data = GOOD.replace(b"DOE", raw)
    assert transactions(report.describe(data))[0]["coverages"][0]["subscriber"]["family"] == name
    assert envelope.read(data).findings == []


# What is no X12.

DISGUISED = {
    "empty": (b"", "empty"),
    "blank": (b" \r\n\t ", "empty"),
    "web page": (b"<html><body><h1>502 Bad Gateway</h1></body></html>", "web page"),
    "web page with a type": (b"\n<!DOCTYPE html><html></html>", "web page"),
    "XML": (b'<?xml version="1.0"?><soap:Envelope/>', "XML"),
    "JSON": (b'{"error": "too many requests"}', "JSON"),
    "JSON list": (b'[{"error": 1}]', "JSON"),
    "prose": (b"Service unavailable", "no ISA"),
    "NUL": (b"\x00" * 50, "no ISA"),
    "JSON with the letters ISA": (b'{"error": "ACCOUNT_DISABLED", "detail": "call us"}', "JSON"),
    "web page with the letters ISA": (b"<html><body>NOT ADVISABLE: VISA only</body></html>", "web page"),
    "prose with the letters ISA": (b"ACCOUNT DISABLED. CALL SUPPORT.", "no ISA"),
}


@pytest.mark.parametrize("what", DISGUISED)
def test_what_was_sent_instead_of_x12_is_named(what: str) -> None:
    data, word = DISGUISED[what]
    found = report.describe(data)
    assert found["interchanges"] == []
    assert [(f["level"], f["code"]) for f in found["findings"]] == [("error", "X12-NOT-X12")]
    assert word in found["findings"][0]["text"]


@pytest.mark.parametrize("what", DISGUISED)
def test_what_was_sent_instead_of_x12_is_a_failure_that_says_so(what: str) -> None:
    data, word = DISGUISED[what]
    answer = report.answer(data, ["30"])
    assert (answer["set"], answer["status"]) == (None, "unknown")
    assert word in answer["failure"]


def test_an_isa_alone_is_an_interchange_without_its_end() -> None:
    found = report.describe(ISA.encode())
    assert [i["control_number"] for i in found["interchanges"]] == ["000000007"]
    assert codes(found) == ["X12-IEA-MISSING"]


@pytest.mark.parametrize("cut", [3, 4, 20, 50, 103, 105, 106, 120, 200])
def test_an_answer_cut_anywhere_is_found_broken(cut: int) -> None:
    found = report.describe(GOOD[:cut])
    assert found["findings"]
    assert len(found["interchanges"]) == 1 or cut == 3
    answer = report.answer(GOOD[:cut])
    assert (answer["status"], answer.get("patient")) == ("unknown", None)


def test_a_body_with_another_element_separator_is_found_and_its_words_are_not_repeated() -> None:
    head, _, body = SEPARATORS.partition("~")
    data = (head + "~" + body.replace("*", "|")).encode()
    found = report.describe(data)
    assert any(f["level"] == "error" for f in found["findings"])
    assert not any(word in str(found["findings"]) for word in ("DOE", "JANE", "W100", "19800229"))
    assert report.answer(data)["failure"]


def test_a_segment_with_another_element_separator_does_not_put_the_patient_into_the_findings() -> None:
    found = report.describe(changed("NM1*IL*1*DOE*JANE****MI*W100", "NM1|IL|1|DOE|JANE||||MI|W100"))
    assert found["findings"]
    assert not any(word in str(found["findings"]) for word in ("DOE", "JANE", "W100"))


# ISA11 and versions.


@pytest.mark.parametrize(
    ("isa11", "finds"), [("U", True), ("1", True), (":", True), ("~", True), (" ", True), ("^", False), ("!", False)], ids=repr
)
def test_only_a_separator_in_isa_11_repeats_elements(isa11: str, finds: bool) -> None:
    other = "^" if isa11 == "^" else ":" if isa11 in (":", " ") else isa11 if isa11 not in "~" else "^"
    data = changed("1430*^*00501", f"1430*{isa11}*00501").replace(b"EB*B**1^98", b"EB*B**1%b98" % other.encode())
    found = report.describe(data)
    assert ("X12-ISA11" in codes(found)) == finds
    benefit = transactions(found)[0]["coverages"][0]["benefits"][1]
    assert benefit["service_types"] == ([f"1{other}98"] if finds else ["1", "98"])


@pytest.mark.parametrize("version", ["004010X092A1", "004010X092", "003070", "006020X279"])
def test_another_version_is_refused_cleanly_and_once(version: str) -> None:
    isa_version = "00501" if version.startswith("006") else "00401"
    data = GOOD.replace(b"*00501*", f"*{isa_version}*".encode()).replace(b"005010X279A1~ST", f"{version}~ST".encode())
    found = report.describe(data.replace(b"*^*", b"*U*"))
    assert codes(found).count("X12-VERSION") == 1
    assert version in next(f["text"] for f in found["findings"] if f["code"] == "X12-VERSION")
    assert not any(t.get("coverages") for t in transactions(found))
    assert "version" in report.answer(data)["failure"]


def test_what_the_hub_does_not_read_does_not_hide_what_it_reads() -> None:
    old = GOOD.replace(b"*00501*", b"*00401*").replace(b"005010X279A1", b"004010X092A1")
    data = old + GOOD
    assert report.answer(data)["status"] == "active"
    assert "X12-VERSION" in codes(report.describe(data))


# One after another.


def test_two_interchanges_in_a_file_are_both_read() -> None:
    other = SEPARATORS.translate(str.maketrans("*:^~", "|>}!")).replace("W100", "W200").encode()
    for between in (b"", b"\r\n", b"\n\n  "):
        found = report.describe(GOOD + between + other + between)
        assert [t["coverages"][0]["subscriber"]["member_id"] for t in transactions(found)] == ["W100", "W200"]
        assert found["findings"] == []


def test_what_stands_between_two_interchanges_is_found_and_both_are_read() -> None:
    found = report.describe(GOOD + b"-- page 2 --" + GOOD)
    assert len(found["interchanges"]) == 2
    assert found["findings"]


def test_an_interchange_without_its_end_does_not_swallow_the_next() -> None:
    cut = GOOD[: GOOD.index(b"SE*13")]
    found = report.describe(cut + GOOD)
    assert len(found["interchanges"]) == 2
    assert [t["coverages"][0]["status"] for t in transactions(found)] == ["active", "active"]
    assert {"X12-SE-MISSING", "X12-GE-MISSING", "X12-IEA-MISSING"} <= set(codes(found))


@pytest.mark.parametrize("bad", [["ST*271*0001"], ["ST*271*0001", "HL", "EB", "AAA"], ["ST", "XX*1"], ["ST*999*1", "IK5*R"]])
def test_a_broken_transaction_never_stops_the_next(bad: list[str]) -> None:
    good = transaction("271", *HEAD_271, *SUBSCRIBER, *EBS, number="0002")
    found = report.describe(interchange(group(bad, good)))
    assert [c["status"] for t in transactions(found) for c in t.get("coverages", [])][-1:] == ["active"]
    assert "X12-SE-MISSING" in codes(found)


# Limits.


@pytest.mark.parametrize("size", [MAX_ELEMENT + 1, 1_000_000])
def test_an_element_over_the_limit_is_an_error_and_the_rest_is_read(size: int) -> None:
    data = changed("~SE*13", "~MSG*" + "x" * size + "~EB*B**98***27*30*****N~SE*15")
    found = report.describe(data)
    assert ("error", "X12-TOO-LONG") in {(f["level"], f["code"]) for f in found["findings"]}
    coverage = transactions(found)[0]["coverages"][0]
    assert [b["amount"] for b in coverage["benefits"]] == [None, "25", "30"]
    assert max(len(text) for b in coverage["benefits"] for text in b["messages"] or [""]) <= MAX_ELEMENT


def test_a_segment_over_the_limit_is_an_error_and_the_rest_is_read() -> None:
    data = changed("~SE*13", "~MSG" + "*xxxxxxxxx" * 30_000 + "~EB*B**98***27*30*****N~SE*15")
    found = report.describe(data)
    assert "X12-TOO-LONG" in codes(found)
    assert len(transactions(found)[0]["coverages"][0]["benefits"]) == 3


def test_a_transaction_of_too_many_segments_is_an_error() -> None:
    found = report.describe(answer_271(*EBS, *itertools.repeat("MSG*x", 200_001)))
    assert ("error", "X12-TOO-LONG") in {(f["level"], f["code"]) for f in found["findings"]}


def test_a_flood_of_nonsense_is_not_a_flood_of_findings() -> None:
    """Memory is bounded under any input (DESIGN 4.13)."""
    found = envelope.read(ISA.encode() + b"A~" * 100_000)
    assert found.findings
    assert len(found.findings) < 20_000


def test_positions_count_from_st_inside_and_from_isa_outside() -> None:
    data = answer_271(*EBS, "ZZZ*1").replace(b"GE*1*7", b"GE*9*7").replace(b"IEA*1*", b"IEA*9*")
    found = {f["code"]: (f["segment"], f["id"], f["element"]) for f in report.describe(data)["findings"]}
    assert found["X12-SEGMENT"] == (BODY + 2, "ZZZ", None)
    assert found["X12-GE01"] == (len(HEAD_271) + len(SUBSCRIBER) + 2 + 1 + 2 + 3, "GE", 1)
    assert found["X12-IEA01"] == (len(HEAD_271) + len(SUBSCRIBER) + 2 + 1 + 2 + 4, "IEA", 1)
