"""Coverages: what they come to, which AAA a message is, and any bytes at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from connectors.simulators.clearinghouse import Inquiry, Member, MemberTable, Rejection, Verdict, x12
from connectors.simulators.clearinghouse.rendered_coverage import rendered
from hub.formats.coverages.answer import answer
from hub.formats.coverages.codec import CoveragesFormat
from hub.formats.describe import describe
from hub.formats.x12 import codes, report
from hub.formats.x12.exchange import ANSWER_FIELDS
from tests.hub.formats.messages import PROPERTY, any_json, assert_linear

NOW = 1_795_500_000.0
PLAN = {"status": "Active Coverage", "statusCode": "1"}


def read(*asked: str, **said: Any) -> dict[str, Any]:
    return answer(json.dumps({"statusCode": "4"} | said).encode(), asked)


# The same as a 271.

amounts = st.none() | st.sampled_from(["0", "25", "25.00", "310.50"])
extra = st.lists(
    st.sampled_from(
        ["EB*A**98*****.2****Y", "EB*G*IND*30***29*4000*****Y", "EB*G*FAM*30***23*8000*****N", "EB*C*FAM*30***29*100*****Y",
         "EB*B**UC***27*75*****Y", "EB*I**98", "EB*1**98********Y*Y"]
    ),
    max_size=4,
    unique=True,
)  # fmt: skip
members = st.builds(
    Member,
    payer=st.just("60054"),
    member_id=st.just("W100"),
    family=st.just("DOE"),
    given=st.just("JANE"),
    birth_date=st.just("19800229"),
    sex=st.just("F"),
    plan=st.sampled_from(["GOLD", "HMO SELECT"]),
    active=st.booleans(),
    co_payment=amounts,
    deductible_remaining=amounts,
    group=st.none() | st.just("G-77"),
    benefits=extra,
    dependents=st.just((("TIMMY", "DOE", "20180607"),)),
)
questions = st.sampled_from([None, ("TIMMY", "DOE", "20180607")]).map(
    lambda child: Inquiry.about(
        "60054", "W100", family="DOE", given="JANE", birth_date="19800229", dependent=child, trace="T1", service_date="20261130"
    )
)


def both(verdict: Verdict, *asked: str) -> tuple[dict[str, Any], dict[str, Any]]:
    text = x12.write(verdict, 7, NOW)
    as_json = json.dumps(rendered(x12.transaction_271(verdict, NOW), "1001")).encode()
    return report.answer(text.encode(), asked), answer(as_json, asked)


def amounts_of(found: dict[str, Any]) -> dict[str, Any]:
    return {name: chosen["amount"] for name, chosen in found["chosen"].items() if name != "segments" and chosen}


@PROPERTY
@given(member=members, inquiry=questions, asked=st.sampled_from([["30"], ["98", "30"], ["UC"]]))
def test_a_coverage_comes_to_what_its_271_comes_to(member: Member, inquiry: Inquiry, asked: list[str]) -> None:
    one, other = both(MemberTable([member], clock=lambda: NOW).decide(inquiry), *asked)
    for name in ("status", "plan", "failure", "rejections", "covered_from", "other_payer"):
        assert one[name] == other[name], name
    assert amounts_of(one) == amounts_of(other)
    assert one["subscriber"]["group"] == other["subscriber"]["group"]
    assert one["subscriber"]["member_id"] == other["subscriber"]["member_id"]
    assert one["patient"]["given"] == other["patient"]["given"]
    assert one["patient"]["relationship"] == other["patient"]["relationship"]


LOOPS = [
    *(("2100A", code) for code in sorted(codes.AAA_PAYER)), *(("2100B", code) for code in sorted(codes.AAA_PROVIDER)),
    *(("2100C", code) for code in sorted(codes.AAA_SUBSCRIBER)), *(("2100D", code) for code in sorted(codes.AAA_DEPENDENT)),
]  # fmt: skip


@pytest.mark.parametrize(("loop", "code"), LOOPS)
def test_every_rejection_of_a_payer_has_its_code_and_level(loop: str, code: str) -> None:
    child = ("TIMMY", "DOE", "20180607") if loop == "2100D" else None
    inquiry = Inquiry.about("60054", "W100", family="DOE", given="JANE", birth_date="19800229", dependent=child, trace="T1")
    one, other = both(Verdict(inquiry, rejections=[Rejection(code, "C", loop)]))
    assert (one["status"], other["status"]) == ("rejected", "rejected")
    assert [r["code"] for r in other["rejections"]] == [code]
    [found] = other["rejections"]
    assert found["loop"] == loop or (loop, found["loop"]) == ("2100D", "2100C"), (
        "a rejection without a patient names no dependent"
    )


# What a status says.


@pytest.mark.parametrize(("code", "aaa"), [("7", "80"), ("14", "80"), ("E", "80"), ("13", "42"), ("15", "42")])
def test_a_payer_that_did_not_answer_is_asked_again(code: str, aaa: str) -> None:
    found = read(statusCode=code)
    assert [(one["loop"], one["code"], one["who"]) for one in found["rejections"]] == [("2100A", aaa, "hub")]


@pytest.mark.parametrize("code", ["0", "1", "R1", "R2"])
def test_an_unfinished_one_is_no_answer(code: str) -> None:
    assert "not finished" in read(statusCode=code, subscriber={"memberId": "W1"})["failure"]


@pytest.mark.parametrize("code", ["", "99", "DOE JANE", "19"])
def test_an_unknown_status_is_told_without_what_might_be_a_name(code: str) -> None:
    failure = read(statusCode=code)["failure"]
    assert "no answer of the payer" in failure
    assert "DOE" not in failure


# Messages about fields.


@pytest.mark.parametrize(
    ("field", "of_insured", "of_dependent"),
    [
        ("memberId", ("2100C", "72"), ("2100D", "64")), ("patientLastName", ("2100C", "73"), ("2100D", "65")),
        ("patient_birth_date", ("2100C", "58"), ("2100D", "58")), ("patientGender", ("2100C", "74"), ("2100D", "66")),
        ("payerId", ("2100A", "T4"), ("2100A", "T4")), ("providerNpi", ("2100B", "43"), ("2100B", "43")),
        ("providerLastName", ("2100B", "43"), ("2100B", "43")), ("asOfDate", ("2100C", "57"), ("2100D", "57")),
        ("serviceType", ("2100C", "15"), ("2100D", "15")), ("", ("2100C", "15"), ("2100D", "15")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["validationMessages", "errors"])
def test_a_message_about_a_field_is_the_aaa_that_speaks_of_it(
    place: str, field: str, of_insured: tuple[str, str], of_dependent: tuple[str, str]
) -> None:
    said = {place: [{"field": field, "code": "INVALID", "errorMessage": "x"}] * 2}
    for more, expected in (({}, of_insured), ({"patient": {"subscriberRelationshipCode": "19"}}, of_dependent)):
        found = read(statusCode="19", **said, **more)
        assert [(one["loop"], one["code"]) for one in found["rejections"]] == [expected]
        assert found["status"] == "rejected"


def test_the_payers_own_code_counts_before_the_field() -> None:
    found = read(statusCode="19", validationMessages=[{"field": "memberId", "code": "75"}, {"field": None, "code": "51"}])
    assert [(one["loop"], one["code"]) for one in found["rejections"]] == [("2100B", "51"), ("2100C", "75")]


# Benefits.


@pytest.mark.parametrize(
    ("amount", "units", "share"),
    [("20", "Percent", "0.2"), ("100", "percent", "1"), ("0", "Percent", "0"), (".2", "", ".2"), ("x", "Percent", "x")],
)
def test_a_share_is_as_payers_write_it(amount: str, units: str, share: str) -> None:
    entry = {"amount": amount, "units": units}
    [row] = [
        b for b in read(plans=[PLAN | {"amounts": {"coInsurance": {"inNetwork": [entry]}}}])["benefits"] if b["code"] == "A"
    ]
    assert (row["percent"], row["network"]) == (share, "Y")


def test_one_entry_may_say_what_is_set_and_what_is_left() -> None:
    entry = {
        "amount": "100",
        "amountTimePeriodCode": "24",
        "total": "1000",
        "totalTimePeriodCode": "23",
        "remaining": "900",
        "levelCode": "IND",
    }
    rows = read(plans=[PLAN | {"amounts": {"deductibles": {"notApplicableNetwork": entry}}}])["benefits"]
    assert [(r["segment"], r["amount"], r["period"], r["network"]) for r in rows[1:]] == [
        (2, "1000", "23", "W"), (3, "100", "24", "W"), (4, "900", "29", "W"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "status"),
    [("Active Coverage", "active"), ("Active - Pending Investigation", "active_review"), ("Inactive", "inactive")],
)
def test_a_status_in_words_will_do(words: str, status: str) -> None:
    assert read(plans=[{"status": words}])["status"] == status


def test_what_is_not_covered_and_what_needs_permission() -> None:
    benefits = [
        {"type": "98", "nonCovered": {"noNetwork": [{"description": "x"}]}},
        {"type": "UC", "statusDetails": {"inNetwork": [{"authorizationRequired": True}]}},
    ]
    assert read("98", plans=[PLAN | {"benefits": benefits}])["status"] == "not_covered"
    assert read("UC", plans=[PLAN | {"benefits": benefits}])["chosen"]["authorization"]["amount"] == "Y"


# Any bytes.

NAMES = [
    "statusCode",
    "status",
    "controlNumber",
    "payer",
    "subscriber",
    "patient",
    "plans",
    "benefits",
    "amounts",
    "coPayment",
    "deductibles",
    "coInsurance",
    "inNetwork",
    "noNetwork",
    "amount",
    "remaining",
    "total",
    "units",
    "type",
    "validationMessages",
    "errors",
    "field",
    "code",
    "payerNotes",
    "authorizationRequired",
    "additionalPayers",
    "birthDate",
    "subscriberRelationshipCode",
    "groupNumber",
]
WORDS = ["1", "6", "4", "7", "19", "72", "98", "30", "25", "Percent", "2026-01-01T05:00:00"]


@PROPERTY
@given(data=any_json(NAMES, WORDS), asked=st.lists(st.sampled_from(["30", "98", ""]), max_size=2))
def test_any_bytes_are_an_answer_or_a_failure(data: bytes, asked: list[str]) -> None:
    found = answer(data, asked, "20261130")
    assert found["status"] in ("active", "active_review", "inactive", "not_covered", "unknown", "rejected")
    assert found["set"] == "271" or found["failure"]
    assert found.keys() <= ANSWER_FIELDS
    json.dumps(found, ensure_ascii=False).encode()
    assert all(CoveragesFormat().keys(data, {}).member)
    json.dumps(describe(data))


def test_it_is_shown_as_what_it_is() -> None:
    data = json.dumps({"statusCode": "4", "controlNumber": "9", "plans": [PLAN], "subscriber": {"memberId": "W100"}}).encode()
    found = describe(data)
    assert found["format"] == "coverages"
    assert found["interchanges"][0]["groups"][0]["transactions"][0]["coverages"][0]["status"] == "active"
    keys = CoveragesFormat().keys(data, {})
    assert (keys.type, keys.control_id, keys.member) == ("271", "9", ["W100"])


def test_time_grows_with_the_benefits_and_no_faster() -> None:
    benefit = {"type": "98", "amounts": {"coPayment": {"inNetwork": [{"amount": "25", "payerNotes": ["X"] * 3}]}}}
    message = {"field": "memberId", "code": "72"}
    assert_linear(lambda count: read("98", plans=[PLAN | {"benefits": [benefit] * count}], errors=[message] * count), 1500)
