"""Questions as a form: read back by the simulator, which shares no code with the writer, they ask what the 270 asks."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from urllib.parse import parse_qs

import pytest
from hypothesis import given, strategies as st

from connectors.simulators.clearinghouse import Clearinghouse, read_270
from connectors.simulators.clearinghouse.form_poll import FormPoll
from hub.errors import MessageUnusable
from hub.formats.coverages.form import build_form
from hub.formats.x12.inquiry import Inquiry, PersonNamed
from tests.hub.formats.messages import PROPERTY
from tests.hub.formats.x12.test_inquiry import CHILD, PLAIN, built

texts = st.text(max_size=20)
people = st.builds(PersonNamed, family=texts, given=texts, birth_date=st.dates(date(1900, 1, 1)), sex=st.sampled_from("FMX"))


def fields(inquiry: Inquiry = PLAIN) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(build_form(inquiry).decode("ascii"), strict_parsing=True).items()}


@PROPERTY
@given(subscriber=people, patient=st.none() | people, member=texts)
def test_it_asks_what_a_270_asks(subscriber: PersonNamed, patient: PersonNamed | None, member: str) -> None:
    inquiry = replace(PLAIN, subscriber=subscriber, patient=patient, member_id=member, relationship="child")
    try:
        one = read_270(built(inquiry))
    except MessageUnusable as error:
        with pytest.raises(MessageUnusable, match=str(error)):
            build_form(inquiry)
        return
    other = FormPoll(Clearinghouse()).read(build_form(inquiry))
    assert (other.payer, other.member_id, other.service_date) == (one.payer, one.member_id, one.service_date)
    person = (one.dependent if patient else one.subscriber)[3:5]
    assert (other.dependent if patient else other.subscriber)[3:5] == [*person, "", ""][:2]
    assert other.birth_dates[-1] == one.birth_dates[-1]


def test_several_service_types_a_range_and_further_ids() -> None:
    inquiry = replace(
        CHILD, service_types=["30", "98"], service_end=date(2026, 12, 2), references=[("EJ", "42"), ("CE", "X")],
        provider_references=[("TJ", "123456789")],
    )  # fmt: skip
    found = parse_qs(build_form(inquiry).decode())
    assert found["serviceType"] == ["30", "98"]
    assert (found["asOfDate"], found["toDate"]) == (["2026-11-30"], ["2026-12-02"])
    assert (found["patientAccountNumber"], found["providerTaxId"], found["groupNumber"]) == (["42"], ["123456789"], ["G77"])


@pytest.mark.parametrize(("relationship", "code"), [("spouse", "01"), ("child", "19"), ("other", "G8"), ("cousin", "G8")])
def test_a_relationship_has_its_code(relationship: str, code: str) -> None:
    assert fields(replace(CHILD, relationship=relationship))["subscriberRelationship"] == code


def test_the_patient_who_is_the_insured_is_so_whatever_else_is_said() -> None:
    assert fields(replace(PLAIN, relationship="child"))["subscriberRelationship"] == "18"
