"""Money and days of a 271: base, met and remaining together; shares, limits and authorization; the day of the visit."""

from __future__ import annotations

from typing import Any

import pytest

from hub.formats.x12 import report
from tests.hub.formats.messages import BODY, answer_271


def answer(*segments: str, asked: tuple[str, ...] = ("98",), day: str = "", member: tuple[str, ...] = ()) -> dict[str, Any]:
    return report.answer(answer_271("EB*1**30**GOLD", *segments, member=member), asked, day)


def chosen(name: str, *segments: str, asked: tuple[str, ...] = ("98",)) -> tuple[str | None, list[int]] | None:
    """Amount, and segments counted from the first given = 0."""
    found = answer(*segments, asked=asked)["chosen"][name]
    return found and (found["amount"], [segment - BODY - 1 for segment in found["segments"]])


# Accumulators.


def accumulators(*segments: str) -> list[dict[str, Any]]:
    return answer(*segments)["accumulators"]


def test_base_met_and_remaining_are_one_accumulator_with_their_segments() -> None:
    (found,) = accumulators(
        "EB*C*IND*30***23*1500*****Y", "EB*C*IND*30***24*1000*****Y", "EB*C*IND*30***29*500*****Y",
    )  # fmt: skip
    assert (found["kind"], found["level"], found["network"], found["span"]) == ("deductible", "IND", "in", "calendar year")
    assert [found[name] for name in ("base", "met", "remaining")] == [
        {"amount": "1500", "segment": BODY + 1},
        {"amount": "1000", "segment": BODY + 2},
        {"amount": "500", "segment": BODY + 3},
    ]  # fmt: skip
    assert (found["worked_out"], found["notes"]) == ({}, [])


@pytest.mark.parametrize(
    ("segments", "worked_out"),
    [
        (["EB*C*IND*30***23*1500.50", "EB*C*IND*30***29*310.25"], {"met": "1190.25"}),
        (["EB*C*IND*30***23*1500", "EB*C*IND*30***24*1000"], {"remaining": "500"}),
        (["EB*C*IND*30***24*1000", "EB*C*IND*30***29*500"], {"base": "1500"}),
        (["EB*C*IND*30***29*500"], {}),
        (["EB*C*IND*30****1500"], {}),
        (["EB*C*IND*30***23*ABC", "EB*C*IND*30***29*5"], {}),
    ],
)
def test_the_third_amount_is_worked_out_and_marked_as_such(segments: list[str], worked_out: dict[str, str]) -> None:
    (found,) = accumulators(*segments)
    assert found["worked_out"] == worked_out
    assert [found[name] is None for name in worked_out] == [True] * len(worked_out)


def test_amounts_that_disagree_all_stay_and_are_flagged() -> None:
    (found,) = accumulators("EB*C*IND*30***23*1500", "EB*C*IND*30***24*1000", "EB*C*IND*30***29*400")
    assert [found[name]["amount"] for name in ("base", "met", "remaining")] == ["1500", "1000", "400"]
    assert found["notes"] == ["base, met and remaining do not add up"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("EB*C*IND*30***23*1500*****Y", "EB*C*IND*30***23*3000*****N"),
        ("EB*C*IND*30***23*1500*****Y", "EB*C*FAM*30***23*3000*****Y"),
        ("EB*C*IND*30***23*1500*****Y", "EB*C*IND*30***23*3000"),
        ("EB*C*IND*30***23*1500*****Y", "EB*C*IND*30***23*3000*****W"),
        ("EB*C*IND*30***23*1500", "EB*G*IND*30***23*3000"),
        ("EB*C*IND*30***23*1500", "EB*C*IND*35***23*3000"),
        ("EB*C*IND*30*HM**23*1500", "EB*C*IND*30*PR**23*3000"),
        ("EB*C*IND*30***23*1500", "EB*C*IND*30***32*3000"),
    ],
    ids=["network", "family", "network not said", "both networks", "kind", "service", "insurance", "lifetime"],
)
def test_what_differs_is_kept_apart(one: str, other: str) -> None:
    assert [found["base"]["amount"] for found in accumulators(one, other)] == ["1500", "3000"]


def test_tiers_are_told_apart_by_their_messages() -> None:
    found = accumulators(
        "EB*C*FAM*30***23*0*****Y", "MSG*HIGHEST BENEFIT", "EB*C*FAM*30***23*3200*****Y", "MSG*IN NETWORK",
        "EB*C*FAM*30***29*3100*****Y", "MSG*IN NETWORK",
    )  # fmt: skip
    assert [(a["messages"], a["base"]["amount"], a["worked_out"]) for a in found] == [
        (["HIGHEST BENEFIT"], "0", {}), (["IN NETWORK"], "3200", {"met": "100"}),
    ]  # fmt: skip


def test_places_of_service_are_told_apart() -> None:
    found = accumulators("EB*C*IND*98***23*10", "III*ZZ*11", "EB*C*IND*98***23*20", "III*ZZ*22")
    assert [(a["places"], a["base"]["amount"]) for a in found] == [(["11"], "10"), (["22"], "20")]


# What is chosen.


@pytest.mark.parametrize("code", ["C", "G"])
@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (["{}*IND*30***29*800*****Y"], ("800", [0])),
        (["{}*IND*30***29*800*****Y", "{}*FAM*30***29*300*****Y"], ("300", [1])),
        (["{}*IND*30***23*1500*****Y", "{}*IND*30***24*1000*****Y"], ("500", [0, 1])),
        (["{}*IND*30****1500*****Y", "{}*IND*30***24*1000*****Y"], ("500", [0, 1])),
        (["{}*IND*30***23*1500*****Y", "{}*IND*30***24*2000*****Y"], (None, [0, 1])),
        (["{}*IND*30***23*1500*****Y"], None),
        (["{}*IND*30***29*800*****N"], None),
        ([], None),
    ],
)
def test_what_is_left_is_said_or_worked_out_with_its_segments(code: str, rows: list[str], expected: object) -> None:
    name = {"C": "deductible_remaining", "G": "out_of_pocket_remaining"}[code]
    assert chosen(name, *(row.format(f"EB*{code}") for row in rows)) == expected


def test_of_the_parts_of_medicare_part_b_counts_for_a_visit() -> None:
    rows = ["EB*C*IND*30*MA**26*1632", "EB*C*IND*30*MA**29*1632", "EB*C*IND*30*MB**23*240", "EB*C*IND*30*MB**29*40"]
    assert chosen("deductible_remaining", *rows) == ("40", [3])


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (["EB*A**98*****.2****Y"], (".2", [0])),
        (["EB*A**98*****1.0"], ("1.0", [0])),
        (["EB*A**98*****.00"], (".00", [0])),
        (["EB*A**98*****.2****Y", "EB*A**98*****.4****N"], (".2", [0])),
        (["EB*A**98*****.2****Y", "EB*A**98*****.20****Y"], (".2", [0])),
        (["EB*A**98*****.2****Y", "EB*A**98*****.3****Y"], (None, [0, 1])),
        (["EB*A**35*****.2****Y"], None),
        (["EB*A**98*****x****Y"], (None, [0])),
    ],
)
def test_the_share_of_the_patient_is_as_the_payer_wrote_it(rows: list[str], expected: object) -> None:
    assert chosen("co_insurance", *rows) == expected


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], None),
        (["EB*B**98***27*25****Y*Y"], ("Y", [0])),
        (["EB*B**98***27*25****N*Y"], ("N", [0])),
        (["EB*B**98***27*25****U*Y"], ("U", [0])),
        (["EB*B**98***27*25****N*Y", "EB*F**98********Y*Y"], ("Y", [0, 1])),
        (["EB*B**98***27*25****Y*N"], None),
        (["EB*B**62***27*25****Y*Y"], None),
    ],
)
def test_authorization_is_required_not_required_or_not_said(rows: list[str], expected: object) -> None:
    assert chosen("authorization", *rows) == expected


# Days.


@pytest.mark.parametrize(
    ("dates", "day", "status"),
    [
        (["DTP*346*D8*20260101"], "20261130", "active"),
        (["DTP*346*D8*20261201"], "20261130", "active_review"),
        (["DTP*347*D8*20261031"], "20261130", "active_review"),
        (["DTP*347*D8*20261130"], "20261130", "active"),
        (["DTP*291*RD8*20260101-20261231"], "20261130", "active"),
        (["DTP*291*RD8*20260101-20261031"], "20261130", "active_review"),
        (["DTP*291*D8*20261101"], "20261130", "active"),
        (["DTP*356*D8*20260101", "DTP*357*D8*20260630"], "20261130", "active_review"),
        (["DTP*307*RD8*20260101-20260630"], "20261130", "active_review"),
        (["DTP*346*D8*2026"], "20261130", "active"),
        (["DTP*347*D8*20261031"], "", "active"),
        ([], "20261130", "active"),
    ],
)
def test_a_plan_that_is_not_in_force_on_the_day_is_looked_at(dates: list[str], day: str, status: str) -> None:
    data = answer_271(*dates, "EB*1**30")
    assert report.answer(data, ["30"], day)["status"] == status


def test_the_days_of_the_coverage_are_told() -> None:
    found = report.answer(answer_271("DTP*346*D8*20260101", "DTP*347*D8*20261231", "EB*1**30"))
    assert (found["covered_from"], found["covered_to"]) == ("20260101", "20261231")
    found = report.answer(answer_271("EB*1**30", "DTP*348*D8*20260201"))
    assert (found["covered_from"], found["covered_to"]) == ("20260201", None)
