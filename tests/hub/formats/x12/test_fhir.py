"""A 271 as FHIR R4 CoverageEligibilityResponse."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
from hypothesis import given

from hub.formats.x12 import report
from hub.formats.x12.fhir import REMAINING, SEGMENT, resources
from tests.hub.formats.messages import BODY, HEAD_271, PROPERTY, SUBSCRIBER, answer_271, group, interchange, transaction
from tests.hub.formats.x12.test_any_bytes import anything

TODAY = date(2026, 11, 30)


def response(*segments: str, member: tuple[str, ...] = ()) -> dict[str, Any]:
    (found,) = resources(report.describe(answer_271(*segments, member=member)), TODAY)
    return found


def items(found: dict[str, Any]) -> list[dict[str, Any]]:
    return found["insurance"][0]["item"]


def test_who_and_what_is_told() -> None:
    found = response("DTP*346*D8*20260101", "EB*1**30**GOLD", member=("REF*6P*G1",))
    assert (found["resourceType"], found["status"], found["purpose"]) == ("CoverageEligibilityResponse", "active", ["benefits"])
    assert (found["outcome"], found["disposition"], found["created"]) == ("complete", "active", "2026-11-30")
    assert found["request"] == {"identifier": {"value": "TRACE1"}}
    inside = {one["id"]: one for one in found["contained"]}
    assert inside["patient"]["name"] == [{"family": "DOE", "given": ["JANE"]}]
    assert inside["patient"]["birthDate"] == "1980-02-29"
    assert inside["insurer"]["identifier"] == [{"value": "60054"}]
    assert inside["requestor"]["identifier"] == [{"system": "http://hl7.org/fhir/sid/us-npi", "value": "1234567893"}]
    assert inside["coverage"]["subscriberId"] == "W100"
    assert [c["value"] for c in inside["coverage"]["class"]] == ["G1", "GOLD"]
    (insurance,) = found["insurance"]
    assert (insurance["inforce"], insurance["benefitPeriod"]) == (True, {"start": "2026-01-01"})


def test_money_is_allowed_and_used_and_what_remains_is_an_extension() -> None:
    (item, _) = items(response("EB*1**30", "EB*C*IND*30***23*1500*****Y", "EB*C*IND*30***29*310.50*****Y"))
    (benefit,) = item["benefit"]
    assert benefit["type"]["coding"][0]["code"] == "deductible"
    assert benefit["allowedMoney"] == {"value": 1500.0, "currency": "USD"}
    assert benefit["usedMoney"] == {"value": 1189.5, "currency": "USD"}
    assert {"url": REMAINING, "valueMoney": {"value": 310.5, "currency": "USD"}} in benefit["extension"]
    assert {"url": SEGMENT, "valuePositiveInt": BODY + 2} in benefit["extension"]
    assert [item[name]["coding"][0]["code"] for name in ("network", "unit", "term")] == ["in", "individual", "annual"]


@pytest.mark.parametrize(
    ("row", "kind", "value"),
    [
        ("EB*B**98***27*25*****Y", "copay", {"allowedMoney": {"value": 25.0, "currency": "USD"}}),
        ("EB*A**98*****.2****Y", "copay-percent", {"allowedUnsignedInt": 20}),
        ("EB*A**98*****.125****Y", "copay-percent", {"allowedString": ".125"}),
        ("EB*A**98*****x****Y", "copay-percent", {"allowedString": "x"}),
    ],
)
def test_co_payments_and_shares_have_their_own_items(row: str, kind: str, value: dict[str, Any]) -> None:
    item = items(response("EB*1**30", row))[-1]
    (benefit,) = item["benefit"]
    assert benefit["type"]["coding"][0]["code"] == kind
    assert value.items() <= benefit.items()
    assert item["category"]["coding"][0] == {
        "system": "https://x12.org/codes/service-type-codes", "code": "98", "display": "Physician visit, office",
    }  # fmt: skip


def test_what_is_not_covered_is_excluded_and_authorization_is_told() -> None:
    excluded, permit = items(response("EB*1**30", "EB*I**35", "EB*B**98***27*25****Y*Y"))[1:]
    assert excluded["excluded"] is True
    assert permit["authorizationRequired"] is True


def test_rejections_are_errors_with_their_codes() -> None:
    found = response("AAA*N**72*C")
    assert (found["outcome"], found["insurance"][0].get("inforce")) == ("error", None)
    (error,) = found["error"]
    assert error["code"]["coding"][0]["code"] == "72"


def test_a_rejection_before_any_patient_is_an_error_too() -> None:
    data = interchange(group(transaction("271", *HEAD_271[:3], "AAA*N**42*R")))
    (found,) = resources(report.describe(data), TODAY)
    assert (found["outcome"], found["error"][0]["code"]["coding"][0]["code"]) == ("error", "42")


def test_each_patient_has_a_resource() -> None:
    two = transaction("271", *HEAD_271, *SUBSCRIBER, "EB*1**30", "HL*4*2*22*0", *SUBSCRIBER[1:], "EB*6**30")
    found = resources(report.describe(interchange(group(two))), TODAY)
    assert [one["insurance"][0]["inforce"] for one in found] == [True, False]


@PROPERTY
@given(data=anything)
def test_any_bytes_give_resources_without_anything_empty(data: bytes) -> None:
    for found in resources(report.describe(data), TODAY):
        json.dumps(found, allow_nan=False)
        assert {"status", "purpose", "patient", "created", "request", "outcome", "insurer"} <= set(found)
        assert not any(empty(found))


def empty(value: Any) -> list[bool]:
    if isinstance(value, dict):
        return [not value, *(flag for inner in value.values() for flag in empty(inner))]
    if isinstance(value, list):
        return [not value, *(flag for inner in value for flag in empty(inner))]
    return [value in (None, "")]
