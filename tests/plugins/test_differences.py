"""What the payer has otherwise than the chart: names, days and numbers are compared as people would, and nothing is guessed."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from hub import Coverage, CoverageCheck, Patient, Person
from hub.people import normal_name
from hub.records import Difference, OtherCoverage, PayersChart
from plugins.eligibility.differences import differences
from plugins.eligibility.outcome import decide, notes

JANE = {"family": "Doe", "given": "Jane", "birth_date": date(1980, 2, 29), "sex": "F"}


def found(
    payers: dict[str, Any], chart: dict[str, Any] | None = None, *, card: dict[str, Any] | None = None, **theirs: Any
) -> list[str]:
    """The fields that differ between the chart (Jane's, changed) and what the payer says."""
    patient = Patient(name=Person(**(JANE | (chart or {}))))
    coverage = Coverage(**card) if card is not None else None
    return [d.field for d in differences(PayersChart(name=Person(**payers), **theirs), patient, coverage)]


@pytest.mark.parametrize(
    ("name", "normal"),
    [
        ("O'Donnell-Griswold", "ODONNELLGRISWOLD"),
        ("ODONNELL GRISWOLD", "ODONNELLGRISWOLD"),
        ("Griswold, Jr.", "GRISWOLD"),
        ("GRISWOLD III", "GRISWOLD"),
        ("Griswold MD PhD", "GRISWOLD"),
        ("Dr. Griswold", "GRISWOLD"),
        ("De la Cruz", "DELACRUZ"),
        ("Müller", "MULLER"),
        ("Núñez-Peña Sr", "NUNEZPENA"),
        ("Iverson", "IVERSON"),
        ("V", "V"),
        ("Jr", "JR"),
        ("山田", "山田"),
        ("", ""),
        (None, ""),
    ],
)
def test_names_are_written_alike(name: str | None, normal: str) -> None:
    """x12.md 3.2: CAQH CORE rule 258."""
    assert normal_name(name) == normal


@given(st.text(max_size=30))
@settings(max_examples=300)
def test_a_name_does_not_differ_from_itself_in_capitals(name: str) -> None:
    assert found({"family": name.upper()}, {"family": name}) == []


@pytest.mark.parametrize(
    ("payers", "chart", "fields"),
    [
        (JANE | {"family": "DOE", "given": "JANE"}, {}, []),
        ({}, {}, []),
        ({"family": "ROE"}, {}, ["family"]),
        ({"given": "JANET"}, {}, ["given"]),
        ({"given": "J"}, {}, []),
        ({"given": "M"}, {}, ["given"]),
        ({"given": "MARY ANN"}, {"given": "Mary", "middle": "Ann"}, []),
        ({"given": "MARY", "middle": "ANN"}, {"given": "Mary Ann"}, []),
        ({"given": "MARY", "middle": "BETH"}, {"given": "Mary Ann"}, ["given"]),
        ({"birth_date": date(1980, 2, 28)}, {}, ["birth_date"]),
        ({"birth_date": date(1980, 2, 28)}, {"birth_date": None}, []),
        ({"sex": "M"}, {}, ["sex"]),
        ({"sex": "U"}, {}, []),
        ({"sex": "M"}, {"sex": "O"}, []),
        ({"family": "ROE", "given": "ANNA", "sex": "M"}, {"birth_date": date(1955, 1, 1)}, ["family", "given", "sex"]),
    ],
)
def test_only_what_both_say_is_compared(payers: dict[str, Any], chart: dict[str, Any], fields: list[str]) -> None:
    assert found(payers, chart) == fields


@pytest.mark.parametrize(
    ("ours", "theirs", "fields"),
    [
        ({"member_id": "W100", "group": "G-7"}, {"member_id": "w 100", "group": "G7"}, []),
        ({"member_id": "1EG4-TE5-MK73"}, {"member_id": "1EG4TE5MK73"}, []),
        ({"member_id": "W100"}, {"member_id": "W10001"}, ["member_id"]),
        ({"member_id": "0100"}, {"member_id": "100"}, ["member_id"]),
        ({"group": "00077"}, {"group": "77"}, []),
        ({"group": "77"}, {"group": "78"}, ["group"]),
        ({}, {"member_id": "W100", "group": "77"}, []),
    ],
)
def test_numbers_of_the_card(ours: dict[str, str], theirs: dict[str, str], fields: list[str]) -> None:
    assert found({}, card=ours, **theirs) == fields


def test_a_payer_that_names_the_insured_person_is_compared_with_that_person() -> None:
    anna = {"family": "Doe", "given": "Anna", "birth_date": date(1955, 1, 1), "sex": "F"}
    card = {"relationship": "child", "subscriber": Person(**anna)}
    assert found(anna, card=card) == []
    assert found(JANE, card=card) == []
    assert found(anna | {"birth_date": date(1955, 1, 2)}, card=card) == ["birth_date"]


# What it comes to.


def answered(*fields: str, status: str = "active", **more: Any) -> CoverageCheck:
    differing = [Difference(field=field, ours="a", payers="b") for field in fields]
    return CoverageCheck(id="F-1", status=status, differences=differing, **more)


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        (("birth_date",), "mismatch"),
        (("family", "given"), "mismatch"),
        (("family", "given", "member_id"), "mismatch"),
        (("family",), "covered"),
        (("given", "sex"), "covered"),
        (("member_id", "group"), "covered"),
        ((), "covered"),
    ],
)
def test_another_person_is_a_mismatch_and_less_is_a_note(fields: tuple[str, ...], outcome: str) -> None:
    answer = answered(*fields)
    decision = decide(answer, None)
    assert decision.outcome == outcome
    assert (decision.who == "coordinator") == (outcome == "mismatch")
    noted = notes(answer.model_copy(update={"outcome": decision.outcome}))
    assert set(noted) == ({"differences"} if fields and outcome == "covered" else set())


def test_differences_do_not_hide_that_a_plan_is_not_active() -> None:
    assert decide(answered("birth_date", status="inactive"), None).outcome == "inactive"


def other(kind: str, *types: str) -> OtherCoverage:
    return OtherCoverage(kind=kind, segment=12, payer="ACME HEALTH", service_types=list(types), action="Ask for that card.")


@pytest.mark.parametrize(
    ("others", "outcome", "topics"),
    [
        ([other("medicare_secondary")], "covered_elsewhere", set()),
        ([other("medicaid_managed_care", "30")], "covered_elsewhere", set()),
        ([other("part_d", "88")], "covered", set()),
        ([other("other_payer", "30")], "covered", {"other payer"}),
        ([other("other_payer")], "covered", {"other payer"}),
        ([other("other_payer", "35")], "covered", set()),
    ],
    ids=str,
)
def test_who_else_pays(others: list[OtherCoverage], outcome: str, topics: set[str]) -> None:
    """x12.md 4.5: billed first, to be confirmed, or of no matter for a visit."""
    answer = answered(others=others)
    decision = decide(answer, None)
    assert decision.outcome == outcome
    assert (decision.action is not None and "ACME HEALTH" in decision.action) == (outcome == "covered_elsewhere")
    assert set(notes(answer.model_copy(update={"outcome": outcome}))) == topics
