"""Answers in JSON: what counts, where rejections belong, and any bytes at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from hub.formats.describe import describe
from hub.formats.eligibility_v3.answer import answer, likely_loop
from hub.formats.eligibility_v3.codec import EligibilityV3Format
from hub.formats.x12 import codes
from hub.formats.x12.exchange import ANSWER_FIELDS
from tests.hub.formats.messages import PROPERTY, answer_271, any_json, assert_linear, group, interchange, transaction

ACTIVE = {"code": "1", "serviceTypeCodes": ["30"], "planCoverage": "GOLD"}
REFUSED_270 = interchange(group(transaction("999", "AK1*HS*7", "AK2*270*1", "IK5*R*5", "AK9*R*1*1*0"), kind="999")).decode()


def read(*asked: str, **said: Any) -> dict[str, Any]:
    return answer(json.dumps(said).encode(), asked)


def error(code: str, location: str = "", **more: str) -> dict[str, str]:
    return {"field": "AAA", "code": code, "description": "words", "location": location, **more}


def rejections(**said: Any) -> list[tuple[str, str]]:
    return [(one["loop"], one["code"]) for one in read(**said)["rejections"]]


# Rejections.


@pytest.mark.parametrize("loop", ["2000A", "2100A", "2100B", "2100C", "2100D", "2110C", "2110D"])
def test_a_rejection_belongs_where_its_location_says(loop: str) -> None:
    assert rejections(errors=[error("15", f"Loop {loop}")]) == [(loop, "15")]
    assert rejections(errors=[error("15", loop.lower())]) == [(loop, "15")]


@pytest.mark.parametrize(
    ("place", "loop"), [("subscriber", "2100C"), ("dependents", "2100D"), ("provider", "2100B"), ("payer", "2100A")]
)
def test_without_a_location_it_belongs_where_it_stands(place: str, loop: str) -> None:
    said = {"aaaErrors": [{"code": "15"}]}
    assert rejections(**{place: [said] if place == "dependents" else said}, errors=[error("15")]) == [(loop, "15")]


@pytest.mark.parametrize(
    ("code", "loop"),
    [("42", "2100A"), ("80", "2100A"), ("T4", "2100A"), ("51", "2100B"), ("43", "2100B"), ("72", "2100C"), ("15", "2100C")],
)
def test_without_any_place_its_meaning_says_where(code: str, loop: str) -> None:
    assert rejections(errors=[error(code)]) == [(loop, code)]


@pytest.mark.parametrize("code", sorted(codes.AAA_PAYER | codes.AAA_PROVIDER | codes.AAA_SUBSCRIBER | codes.AAA_DEPENDENT))
@pytest.mark.parametrize("has_dependent", [True, False])
def test_every_code_has_a_loop_it_may_stand_in(code: str, has_dependent: bool) -> None:
    allowed = {
        "2100A": codes.AAA_PAYER,
        "2100B": codes.AAA_PROVIDER,
        "2100C": codes.AAA_SUBSCRIBER,
        "2100D": codes.AAA_DEPENDENT,
    }
    only_of_a_dependent = codes.AAA_DEPENDENT - codes.AAA_SUBSCRIBER
    if has_dependent or code not in only_of_a_dependent:
        assert code in allowed[likely_loop(code, has_dependent=has_dependent)]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("Please Correct and Resubmit", "C"), ("Resubmission Not Allowed", "N"), ("Please Resubmit Original Transaction", "P"),
        ("Resubmission Allowed", "R"), ("Do Not Resubmit; Inquiry Initiated to a Third Party", "S"),
        ("Please Wait 30 Days and Resubmit", "W"), ("Please Wait 10 Days and Resubmit", "X"),
        ("Do Not Resubmit; We Will Hold Your Request and Respond Again Shortly", "Y"), ("C", "C"), ("something else", None),
    ],
)  # fmt: skip
def test_what_to_do_is_told_in_words_or_as_a_code(words: str, code: str | None) -> None:
    (found,) = read(errors=[error("72", followupAction=words)])["rejections"]
    assert found["follow_up"] == code


def test_benefits_and_a_rejection_are_for_a_person() -> None:
    assert read(benefitsInformation=[ACTIVE], errors=[error("53", "Loop 2110C")])["status"] == "active_review"


def test_an_error_that_is_no_aaa_is_a_failure_told_without_its_words() -> None:
    found = read(errors=[error("INVALID_MEMBER", description="no patient DOE"), error("x" * 50)])
    assert found["failure"] == "The clearinghouse refused the inquiry (INVALID_MEMBER, no code)."
    assert found["rejections"] == []


# What counts.


def with_x12(x12: str, **said: Any) -> dict[str, Any]:
    return read(x12=x12, subscriber={"memberId": "W100"}, **said)


def test_the_payers_271_counts_before_its_rendering() -> None:
    found = with_x12(answer_271("EB*1**30**GOLD").decode(), benefitsInformation=[ACTIVE | {"planCoverage": "OTHER"}])
    assert (found["plan"], found["findings"]) == ("GOLD", [])


@pytest.mark.parametrize("separators", [b"*:^\n", b"\x1d\x1f\x1e\x1c", b"|>}!"])
def test_a_271_of_any_separators_is_read(separators: bytes) -> None:
    """Line ends and control characters may be separators: the text stays as it is."""
    text = answer_271("EB*1**30**GOLD").translate(bytes.maketrans(b"*:^~", separators)).decode("latin-1")
    assert with_x12(text, benefitsInformation=[ACTIVE | {"planCoverage": "OTHER"}])["plan"] == "GOLD"


@pytest.mark.parametrize("said", [{"benefitsInformation": [ACTIVE | {"code": "6"}]}, {"errors": [error("72", "Loop 2100C")]}])
def test_a_difference_between_the_two_is_told(said: dict[str, Any]) -> None:
    found = with_x12(answer_271("EB*1**30**GOLD").decode(), **said)
    assert found["status"] == "active"
    assert [text for text in found["findings"] if text.startswith("V3-DIFFERS")]


def test_another_member_in_the_271_is_told() -> None:
    found = read(x12=answer_271("EB*1**30").decode(), subscriber={"memberId": "W999"}, benefitsInformation=[ACTIVE])
    assert found["findings"] == ["V3-DIFFERS: the payer's 271 and the JSON around it do not say the same; the 271 counts"]


@pytest.mark.parametrize("x12", ["ISA*00*...masked", "not available", "", REFUSED_270])
def test_an_x12_that_is_no_answer_leaves_the_json(x12: str) -> None:
    found = with_x12(x12, benefitsInformation=[ACTIVE])
    assert (found["status"], found["plan"], found["failure"]) == ("active", "GOLD", None)
    assert bool(found["findings"]) == x12.startswith("ISA")


def test_a_999_in_the_answer_counts_when_there_is_nothing_else() -> None:
    found = read(controlNumber="7", x12=REFUSED_270)
    assert (found["set"], found["failure"]) == ("999", "The payer refused the form of our inquiry (999).")


@pytest.mark.parametrize("verdict", ["R", "Rejected", "M", "X"])
def test_a_refused_form_is_told(verdict: str) -> None:
    assert "999" in read(transactionSetAcknowledgement=verdict)["failure"]


@pytest.mark.parametrize("verdict", ["A", "Accepted", "E"])
def test_an_accepted_form_alone_is_no_answer(verdict: str) -> None:
    assert "no benefits" in read(transactionSetAcknowledgement=verdict)["failure"]


def test_where_there_are_no_benefits_the_plans_status_serves_and_is_told() -> None:
    found = read(
        planStatus=[{"statusCode": "1", "status": "Active Coverage", "planDetails": "GOLD", "serviceTypeCodes": ["30"]}]
    )
    assert (found["status"], found["plan"]) == ("active", "GOLD")
    assert found["findings"][0].startswith("V3-STATUS-ONLY")


# Shapes.


def test_one_thing_may_stand_where_a_list_belongs() -> None:
    found = read(
        "98", benefitsInformation={"code": "B", "serviceTypeCodes": "98", "timeQualifierCode": 27, "benefitAmount": 25}
    )
    assert found["chosen"]["co_payment"]["amount"] == "25"


def test_an_amount_keeps_its_zeros() -> None:
    data = b'{"benefitsInformation": [{"code": "B", "serviceTypeCodes": ["98"], "benefitAmount": 25.00}]}'
    assert answer(data, ["98"])["chosen"]["co_payment"]["amount"] == "25.00"


@pytest.mark.parametrize(
    ("value", "span"),
    [
        ("20260101", ("20260101", None)),
        ("20260101-20261231", ("20260101", "20261231")),
        ("2026-01-01", ("20260101", None)),
        ("2026-01-01-2026-12-31", ("20260101", "20261231")),
        ({"startDate": "20260101", "endDate": "20261231"}, ("20260101", "20261231")),
    ],
)
def test_days_come_in_several_spellings(value: Any, span: tuple[str, str | None]) -> None:
    (found,) = read(benefitsInformation=[ACTIVE | {"benefitsDateInformation": {"plan": value, "nothing": "x"}}])["benefits"]
    assert found["dates"] == [{"qualifier": "291", "from": span[0], "to": span[1]}]


def test_what_it_is_filed_under() -> None:
    said = {
        "controlNumber": "000000007", "reassociationKey": "K1", "subscriber": {"memberId": "W100"},
        "subscriberTraceNumbers": [{"traceTypeCode": "2", "referenceIdentification": "T1"}],
    }  # fmt: skip
    keys = EligibilityV3Format().keys(json.dumps(said).encode(), {})
    assert (keys.type, keys.control_id, keys.member) == ("271", "000000007", ["W100"])
    assert keys.other == [("trace", "T1"), ("trace", "000000007"), ("trace", "K1")]


# Any bytes.

NAMES = [
    "benefitsInformation", "errors", "subscriber", "dependents", "payer", "provider", "x12", "code", "location", "aaaErrors",
    "serviceTypeCodes", "benefitAmount", "planStatus", "statusCode", "benefitsDateInformation", "plan", "additionalInformation",
    "description", "benefitsRelatedEntities", "entityIdentifier", "contactInformation", "contacts", "planInformation",
    "subscriberTraceNumbers", "referenceIdentification", "benefitsServiceDelivery", "compositeMedicalProcedureIdentifier",
    "controlNumber", "transactionSetAcknowledgement", "eligibilityAdditionalInformationList", "procedureModifiers",
]  # fmt: skip
WORDS = ["1", "B", "C", "30", "98", "25", "72", "Loop 2100C", "20260101", "\x00", answer_271("EB*1**30").decode()]


@PROPERTY
@given(data=any_json(NAMES, WORDS), asked=st.lists(st.sampled_from(["30", "98", ""]), max_size=2))
def test_any_bytes_are_an_answer_or_a_failure(data: bytes, asked: list[str]) -> None:
    found = answer(data, asked, "20261130")
    assert found["status"] in ("active", "active_review", "inactive", "not_covered", "unknown", "rejected")
    assert found["set"] == "271" or found["failure"]
    assert found.keys() <= ANSWER_FIELDS
    json.dumps(found, ensure_ascii=False).encode()
    keys = EligibilityV3Format().keys(data, {})
    assert all(keys.member)
    json.dumps(describe(data))


def test_time_grows_with_the_benefits_and_no_faster() -> None:
    row = ACTIVE | {"benefitsDateInformation": {"plan": "20260101"}, "additionalInformation": [{"description": "X"}] * 5}
    assert_linear(lambda count: read("98", benefitsInformation=[row] * count, errors=[error("72")] * count), 1500)


@pytest.mark.parametrize("data", [b"[" * 100_000, b'{"a":' * 100_000, b'{"x":' + b"9" * 100_000 + b"}"])
def test_deep_and_long_things_are_no_trouble(data: bytes) -> None:
    assert answer(data)["failure"]
