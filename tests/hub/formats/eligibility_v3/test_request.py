"""Questions as JSON: read back by the simulator, which shares no code with the writer, they ask what the 270 asks."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given, strategies as st

from connectors.simulators.clearinghouse import Clearinghouse, Inquiry as Asked, read_270
from connectors.simulators.clearinghouse.json_v3 import JsonV3
from hub.errors import MessageUnusable
from hub.formats.eligibility_v3.codec import EligibilityV3Format
from hub.formats.eligibility_v3.request import build_request, control_number
from hub.formats.x12.inquiry import Inquiry, PersonNamed
from hub.message import Message
from tests.hub.formats.messages import PROPERTY
from tests.hub.formats.x12.test_inquiry import CHILD, PLAIN, built

texts = st.text(max_size=20)
people = st.builds(
    PersonNamed, family=texts, given=texts, middle=texts, suffix=texts, birth_date=st.dates(), sex=st.sampled_from("FMX")
)


def refusal_of(build: Callable[[], object]) -> str:
    try:
        build()
    except MessageUnusable as error:
        return str(error)
    return ""


def names(asked: Asked) -> list[str]:
    """Family and given name of the insured and of the patient, empty where there is none."""
    return [name for person in (asked.subscriber, asked.dependent) for name in [*person[3:5], "", ""][:2]]


def request(inquiry: Inquiry = PLAIN) -> dict[str, object]:
    return json.loads(build_request(inquiry, control="000000007"))  # type: ignore[no-any-return]


@PROPERTY
@given(
    subscriber=people, patient=st.none() | people, member=texts, types=st.lists(st.sampled_from(["30", "98", "UC"]), min_size=1)
)
def test_it_asks_what_a_270_asks(subscriber: PersonNamed, patient: PersonNamed | None, member: str, types: list[str]) -> None:
    inquiry = replace(
        PLAIN, subscriber=subscriber, patient=patient, member_id=member, service_types=types, relationship="child"
    )
    refusals = [refusal_of(lambda: built(inquiry)), refusal_of(lambda: build_request(inquiry, control="000000007"))]
    assert refusals[0] == refusals[1]
    if refusals[0]:
        return
    one = read_270(built(inquiry))
    other = JsonV3(Clearinghouse()).read(build_request(inquiry, control="000000007"))
    assert names(other) == names(one)
    assert (other.payer, other.member_id, other.service_date) == (one.payer, one.member_id, one.service_date)
    assert other.service_types == one.service_types
    known = bool(one.member_id) and patient is not None  # then a 270 leaves out when the insured was born
    assert [day for day in other.birth_dates if not (known and day.startswith("22:"))] == one.birth_dates


def test_a_range_of_days_and_further_ids() -> None:
    found = request(replace(PLAIN, service_end=date(2026, 12, 2), references=[("SY", "123-45-6789"), ("CE", "X")]))
    assert found["encounter"] == {
        "beginningDateOfService": "20261130",
        "endDateOfService": "20261202",
        "serviceTypeCodes": ["30"],
    }
    assert found["subscriber"]["ssn"] == "123-45-6789"  # type: ignore[index]


def test_further_ids_are_those_of_the_patient() -> None:
    found = request(replace(CHILD, references=[("EJ", "42")], service_end=CHILD.service_date))
    assert "patientAccountNumber" not in found["subscriber"]  # type: ignore[operator]
    assert found["dependents"][0]["patientAccountNumber"] == "42"  # type: ignore[index]
    assert found["encounter"]["dateOfService"] == "20261130"  # type: ignore[index]


def test_a_person_as_provider_with_a_taxonomy() -> None:
    found = request(replace(PLAIN, provider_given="Ann", provider_name="Roe", provider_taxonomy="207Q00000X"))
    assert found["provider"] == {
        "firstName": "ANN",
        "lastName": "ROE",
        "npi": "1234567893",
        "providerCode": "BI",
        "referenceIdentification": "207Q00000X",
    }


@pytest.mark.parametrize(("number", "digits"), [(1, "000000001"), (999_999_999, "999999999"), (1_000_000_000, "000000001")])
def test_a_control_number_has_nine_digits_and_is_never_zero(number: int, digits: str) -> None:
    assert control_number(number) == digits


class Planned:
    """A context that must not be asked for numbers: the question was planned with them."""


async def test_a_question_goes_with_the_number_it_was_planned_with() -> None:
    format = EligibilityV3Format()
    values = {"payer.id": "60054", "provider.npi": "1234567893", "member_id": "W1", "service_date": date(2026, 11, 30)}
    asked = Message(b"", "visit", headers={"trace": "T1", "control_number": "42"})
    question = await format.write(values | {"service_types": "30"}, asked, Planned())  # type: ignore[arg-type]
    assert json.loads(question.body)["controlNumber"] == question.headers["trace"] == "000000042"
    for number, status in (("000000042", "active"), ("000000043", None), ("", "active")):
        said = {"controlNumber": number, "benefitsInformation": [{"code": "1", "serviceTypeCodes": ["30"]}]}
        fields = format.open(Message(json.dumps(said).encode(), "eligibility_v3", headers=question.headers))
        assert fields.get("status") == status, number
