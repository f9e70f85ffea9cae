"""Who else pays, and which programmes the patient is in."""

from __future__ import annotations

from typing import Any

import pytest

from hub.formats.x12 import report
from tests.hub.formats.messages import BODY, answer_271

MEDICARE = ["EB*1**30*MA", "EB*1**30*MB"]


def others(*segments: str) -> list[dict[str, Any]]:
    return report.answer(answer_271(*segments))["other_coverage"]


def named(code: str, name: str = "OTHER HEALTH") -> list[str]:
    return ["LS*2120", f"NM1*{code}*2*{name}*****PI*555", "PER*IC**TE*8005550100", "LE*2120"]


@pytest.mark.parametrize(
    ("segments", "kind"),
    [
        ([*MEDICARE, "EB*R**30*HN*PLAN", *named("PRP")], "medicare_advantage"),
        ([*MEDICARE, "EB*R**30*PR*PLAN", *named("PRP")], "medicare_advantage"),
        *[([*MEDICARE, f"EB*R**30*{code}", *named("PR")], "medicare_secondary") for code in
          ("12", "13", "14", "15", "16", "41", "42", "43", "47", "WC")],
        ([*MEDICARE, "EB*R**88*OT*DRUGS", *named("PR")], "part_d"),
        (["EB*1**30*MC", "EB*R**30*HM", *named("PR")], "medicaid_managed_care"),
        (["EB*1**30*MC", "EB*MC**30*HM", *named("PR")], "medicaid_managed_care"),
        (["EB*1**30*MC", "EB*1**30*HM", *named("PR")], "medicaid_managed_care"),
        (["EB*1**30*HM", "EB*R**30*C1", *named("SEP")], "other_payer"),
        (["EB*1**30*HM", "EB*R", *named("PR")], "other_payer"),
    ],
)  # fmt: skip
def test_another_payer_is_named_for_what_it_is(segments: list[str], kind: str) -> None:
    (found,) = others(*segments)
    assert found["kind"] == kind
    assert found["payer"] == {"name": "OTHER HEALTH", "id": "555"}
    assert found["phone"] == "8005550100"
    assert found["segment"] == BODY + next(n for n, s in enumerate(segments) if s.startswith("LS")) - 1
    assert found["action"]


@pytest.mark.parametrize("segments", [MEDICARE, ["EB*1**30*HM"], ["EB*1**30*MC", "EB*1**98*HM"], ["EB*W", *named("PR")]])
def test_where_no_other_payer_is_named_there_is_none(segments: list[str]) -> None:
    assert others(*segments) == []


def test_policy_and_days_of_the_other_payer_are_told() -> None:
    (found,) = others("EB*1**30", "EB*R**30*C1", "REF*IG*POL-1", "DTP*290*RD8*20260101-20261231", *named("PRP"))
    assert (found["policy"], found["rank"]) == ("POL-1", "primary")
    assert found["dates"] == [{"qualifier": "290", "from": "20260101", "to": "20261231"}]


def test_another_payer_without_a_name_is_told() -> None:
    (found,) = others("EB*1**30", "EB*R**30*C1*SECOND PLAN")
    assert (found["payer"], found["plan"]) == (None, "SECOND PLAN")


@pytest.mark.parametrize(
    ("segments", "names"),
    [
        (MEDICARE, ["medicare_part_a", "medicare_part_b"]),
        ([*MEDICARE, "EB*1**30*QM"], ["medicare_part_a", "medicare_part_b", "qmb"]),
        ([*MEDICARE, "EB*X**45", "DTP*292*RD8*20261001-20261230"], ["medicare_part_a", "medicare_part_b", "hospice"]),
        ([*MEDICARE, "EB*X**42"], ["medicare_part_a", "medicare_part_b", "home_health"]),
        ([*MEDICARE, "EB*D**14"], ["medicare_part_a", "medicare_part_b", "esrd"]),
        (["EB*1**30*MC", "EB*Y*****24*150"], ["medicaid", "spend_down"]),
        (["EB*1**30*MC", "EB*N**30"], ["medicaid", "restricted"]),
        (["EB*1**30*HM"], []),
        (["EB*6**30*MA"], []),
        (["EB*6**30*QM"], []),
    ],
)
def test_programmes_are_told_with_their_segments(segments: list[str], names: list[str]) -> None:
    found = report.answer(answer_271(*segments))["programmes"]
    assert [programme["name"] for programme in found] == names
    assert all(programme["segment"] >= BODY and programme["text"] for programme in found)


def test_the_days_of_hospice_and_the_amount_of_a_spend_down_are_told() -> None:
    (_, _, hospice) = report.answer(answer_271(*MEDICARE, "EB*X**45", "DTP*292*RD8*20261001-20261230"))["programmes"]
    assert hospice["dates"] == [{"qualifier": "292", "from": "20261001", "to": "20261230"}]
    (_, spend_down) = report.answer(answer_271("EB*1**30*MC", "EB*Y*****24*150"))["programmes"]
    assert spend_down["amount"] == "150"
