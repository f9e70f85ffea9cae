"""What a 271 comes to: one status, and amounts that are said to be unclear rather than guessed."""

import pytest

from hub.formats.x12 import report
from tests.hub.formats.messages import BODY, answer_271, transactions

MIXED = "different amounts"


def answer(*segments: str, asked: tuple[str, ...] = ()):  # type: ignore[no-untyped-def]
    return report.answer(answer_271(*segments), asked)


@pytest.mark.parametrize(
    ("segments", "asked", "status"),
    [
        (["EB*1**30"], (), "active"),
        (["EB*2**30"], (), "active"),
        (["EB*3**30"], (), "active"),
        (["EB*4**30"], (), "active"),
        (["EB*1"], (), "active"),
        (["EB*5**30"], (), "active_review"),
        (["EB*6**30"], (), "inactive"),
        (["EB*7**30"], (), "inactive"),
        (["EB*8**30"], (), "inactive"),
        (["EB*6"], (), "inactive"),
        (["EB*U**30"], (), "unknown"),
        (["EB*V**30"], (), "unknown"),
        (["EB*R**30"], (), "unknown"),
        (["EB*P**30"], (), "unknown"),
        (["EB*L", "EB*W", "EB*F**30"], (), "unknown"),
        ([], (), "unknown"),
        (["EB*QQ**30"], (), "unknown"),
        (["EB*1**30", "EB*6**30"], (), "active_review"),
        (["EB*6**30", "EB*1**30"], (), "active_review"),
        (["EB*1**30", "EB*6**35"], (), "active"),
        (["EB*6**35", "EB*1**30"], (), "active"),
        (["EB*6**30", "EB*1**88"], (), "inactive"),
        (["EB*6**30", "EB*1**98"], ("98",), "inactive"),
        (["EB*1**98"], ("98",), "active"),
        (["EB*6**98"], ("98",), "inactive"),
        (["EB*6**35", "EB*1**98"], ("98",), "active"),
        (["EB*1**35", "EB*6**98"], ("98",), "inactive"),
        (["EB*1**33^98^UC"], ("UC",), "active"),
        (["EB*1**30", "EB*I**98"], ("98",), "not_covered"),
        (["EB*1**30", "EB*I**98"], ("30", "98"), "not_covered"),
        (["EB*1**30", "EB*I**35"], ("98",), "active"),
        (["EB*1**30", "EB*I**98"], (), "active"),
        (["EB*I**30"], ("30",), "not_covered"),
        (["EB*I**98"], ("98",), "not_covered"),
        (["EB*I", "MSG*Patient not found."], (), "unknown"),
        (["EB*I**30", "MSG*Patient not found."], ("30",), "unknown"),
        (["EB*1**30", "AAA*N**62*C"], (), "active_review"),
        (["AAA*N**72*C"], (), "rejected"),
        (["AAA*N**72*C", "EB*1**30"], (), "active_review"),
        (["AAA*N**72*C", "EB*6**30"], (), "rejected"),
    ],
)
def test_the_plan_decides_the_status_then_what_was_asked(segments: list[str], asked: tuple[str, ...], status: str) -> None:
    assert answer(*segments, asked=asked)["status"] == status


@pytest.mark.parametrize(
    "segments", [["EB*1**88"], ["EB*6**88"], ["EB*1**35", "EB*1**AL"]], ids=["drugs", "no drugs", "teeth, eyes"]
)
def test_another_service_type_than_the_one_asked_for_never_decides(segments: list[str]) -> None:
    """A plan for drugs or teeth does not cover an office visit (research/x12.md 4.1)."""
    assert answer(*segments, asked=("98",))["status"] == "unknown"


def test_two_families_of_active_insurance_are_looked_at() -> None:
    assert answer("EB*1**30*HM*GOLD", "EB*1**30*MC*STATE")["status"] == "active_review"


def test_both_parts_of_medicare_are_one_insurance() -> None:
    assert answer("EB*1**30*MA", "EB*1**30*MB")["status"] == "active"


def test_what_is_not_covered_out_of_network_is_covered_in_network() -> None:
    assert answer("EB*1**30", "EB*1**98", "EB*I**98*********N", asked=("98",))["status"] == "active"


def test_a_rejection_above_the_patient_does_not_hide_that_the_plan_is_active() -> None:
    data = answer_271("EB*1**30**GOLD").replace(b"~HL*3*2", b"~AAA*N**51*C~HL*3*2").replace(b"SE*12*", b"SE*13*")
    found = report.answer(data)
    assert found["status"] == "active_review"
    assert [r["code"] for r in found["rejections"]] == ["51"]
    assert found["plan"] == "GOLD"


@pytest.mark.parametrize(
    ("segments", "plan"),
    [
        (["EB*1**30**GOLD"], "GOLD"),
        (["EB*1**98**OFFICE", "EB*1**30**GOLD"], "GOLD"),
        (["EB*1**98**OFFICE", "EB*1**30"], "OFFICE"),
        (["EB*B**98**COPAY*27*25", "EB*1**30"], None),
        (["EB*6**30**OLD"], "OLD"),
        ([], None),
    ],
)
def test_the_plan_is_named_by_the_status_of_the_plan(segments: list[str], plan: str | None) -> None:
    assert answer(*segments)["plan"] == plan


# Money.


def money(*segments: str, asked: tuple[str, ...] = ("98",)):  # type: ignore[no-untyped-def]
    """Amount, segments (from the first benefit = 0) and reason of co-payment and remaining deductible."""
    chosen = answer("EB*1**30", *segments, asked=asked)["chosen"]

    def plain(entry):  # type: ignore[no-untyped-def]
        return entry and (entry["amount"], [s - BODY - 1 for s in entry["segments"]], entry["why"])

    return plain(chosen["co_payment"]), plain(chosen["deductible_remaining"])


@pytest.mark.parametrize(
    ("segments", "asked", "amount", "places"),
    [
        (["EB*B**98***27*25*****Y"], ("98",), "25", [0]),
        (["EB*B**98****25*****Y"], ("98",), "25", [0]),
        (["EB*B**98***27*25.00*****Y", "EB*B**98***27*60*****N"], ("98",), "25.00", [0]),
        (["EB*B**98***27*60*****N", "EB*B**98***27*25*****Y"], ("98",), "25", [1]),
        (["EB*B**98***27*30*****W", "EB*B**98***27*25*****Y"], ("98",), "25", [1]),
        (["EB*B**98***27*30*****W"], ("98",), "30", [0]),
        (["EB*B**98***27*30"], ("98",), "30", [0]),
        (["EB*B**98***27*0*****Y"], ("98",), "0", [0]),
        (["EB*B**30***27*15*****Y", "EB*B**98***27*25*****Y"], ("98",), "25", [1]),
        (["EB*B**30***27*15*****Y"], ("98",), "15", [0]),
        (["EB*B**1^33^98***27*25*****Y"], ("98",), "25", [0]),
        (["EB*B**UC***27*75*****Y", "EB*B**98***27*25*****Y"], ("UC",), "75", [0]),
        (["EB*B**98***27*25*****Y", "EB*B**98***27*25.00*****Y"], ("98",), "25", [0]),
        (["EB*B**98***27*25*****Y", "III*ZZ*11", "EB*B**98***27*50*****Y", "III*ZZ*22"], ("98",), "25", [0]),
        (["EB*B**98***27*50*****Y", "III*ZZ*22", "EB*B**98***27*25*****Y"], ("98",), "25", [2]),
    ],
)
def test_a_co_payment_is_that_of_a_visit_in_network(
    segments: list[str], asked: tuple[str, ...], amount: str, places: list[int]
) -> None:
    found, _ = money(*segments, asked=asked)
    assert found is not None
    assert found[:2] == (amount, places)


@pytest.mark.parametrize(
    "segments",
    [
        [],
        ["EB*B**98***27*60*****N"],
        ["EB*B**35***27*25*****Y"],
        ["EB*B**98***23*25*****Y"],
        ["EB*B**98***27******Y"],
        ["EB*A**98***27**.2****Y"],
        ["EB*C**98***27*25*****Y"],
    ],
    ids=["nothing", "out of network only", "another service", "per year", "no amount", "co-insurance", "deductible"],
)
def test_without_a_co_payment_for_the_visit_there_is_none(segments: list[str]) -> None:
    assert money(*segments)[0] is None


@pytest.mark.parametrize(
    ("segments", "places"),
    [
        (["EB*B**98***27*25*****Y", "MSG*PRIMARY CARE", "EB*B**98***27*50*****Y", "MSG*SPECIALIST"], [0, 2]),
        (["EB*B**98***27*25", "EB*B**98***27*50"], [0, 1]),
        (["EB*B**98***27*25*****Y", "III*ZZ*11", "EB*B**98***27*30*****Y", "III*ZZ*11"], [0, 2]),
    ],
    ids=["by speciality", "network not said", "both at the office"],
)
def test_several_co_payments_are_not_chosen_from_in_silence(segments: list[str], places: list[int]) -> None:
    found, _ = money(*segments)
    assert found is not None
    amount, where, why = found
    assert amount is None
    assert where == places
    assert MIXED in why


@pytest.mark.parametrize(
    ("segments", "amount", "places"),
    [
        (["EB*C*IND*30***29*310.50*****Y"], "310.50", [0]),
        (["EB*C*IND*30***23*1500*****Y", "EB*C*IND*30***29*310.50*****Y"], "310.50", [1]),
        (["EB*C*IND*30***24*1000*****Y", "EB*C*IND*30***29*500*****Y"], "500", [1]),
        (["EB*C*IND*30***29*500*****Y", "EB*C*FAM*30***29*900*****Y"], "500", [0]),
        (["EB*C*IND*30***29*500*****Y", "EB*C*FAM*30***29*90*****Y"], "90", [1]),
        (["EB*C*IND*30***29*500*****Y", "EB*C*FAM*30***29*0*****Y"], "0", [1]),
        (["EB*C*FAM*30***29*900*****Y"], "900", [0]),
        (["EB*C**30***29*200*****Y"], "200", [0]),
        (["EB*C*IND*30***29*800*****N", "EB*C*IND*30***29*500*****Y"], "500", [1]),
        (["EB*C*IND*30***29*500*****W"], "500", [0]),
        (["EB*C*IND*30***29*500"], "500", [0]),
        (["EB*C*IND*30***29*1000*****Y", "EB*C*IND*30***29*999.99*****W"], "1000", [0]),
        (["EB*C*IND*35***29*50*****Y", "EB*C*IND*30***29*500*****Y"], "500", [1]),
        (["EB*C*FAM*30***29*0", "MSG*HIGHEST BENEFIT", "EB*C*FAM*30***29*3200*****Y"], "3200", [2]),
        (["EB*C*IND*30***29*9*****Y", "EB*C*FAM*30***29*10*****Y"], "9", [0]),
        (["EB*C*IND*30***29*500*****Y", "EB*C*FAM*30***29*100*****W"], "100", [1]),
    ],
)
def test_the_remaining_deductible_is_the_smaller_bound_in_network(segments: list[str], amount: str, places: list[int]) -> None:
    _, found = money(*segments)
    assert found is not None
    assert found[:2] == (amount, places)


@pytest.mark.parametrize(
    "segments",
    [
        [],
        ["EB*C*IND*30***23*1500*****Y"],
        ["EB*C*IND*30***24*100*****Y"],
        ["EB*C*IND*30***29*800*****N"],
        ["EB*G*IND*30***29*800*****Y"],
        ["EB*C*IND*30***29******Y"],
    ],
    ids=["nothing", "base only", "met only", "out of network only", "out of pocket", "no amount"],
)
def test_without_a_remaining_deductible_there_is_none(segments: list[str]) -> None:
    assert money(*segments)[1] is None


@pytest.mark.parametrize(
    "segments",
    [
        ["EB*C*IND*30***29*500*****Y", "EB*C*IND*30***29*300*****Y", "MSG*TIER 1"],
        ["EB*C*IND*30***29*500", "EB*C*IND*30***29*300"],
        ["EB*C*IND*30***29*500*****Y", "EB*C*FAM*30***29*0*****Y", "EB*C*FAM*30***29*3200*****Y"],
    ],
    ids=["two tiers", "network not said", "two of the family"],
)
def test_several_deductibles_are_not_chosen_from_in_silence(segments: list[str]) -> None:
    _, found = money(*segments)
    assert found is not None
    amount, places, why = found
    assert amount is None
    assert len(places) >= 2
    assert MIXED in why


def test_a_choice_says_when_the_network_was_not_said() -> None:
    co_payment, deductible = money("EB*B**98***27*30", "EB*C*IND*30***29*500")
    assert co_payment is not None
    assert deductible is not None
    assert "network not said" in co_payment[2]
    assert "network not said" in deductible[2]
    co_payment, _ = money("EB*B**98***27*30*****Y")
    assert co_payment is not None
    assert "in network" in co_payment[2]


def test_every_segment_a_choice_rests_on_is_listed() -> None:
    chosen = answer("EB*1**30", "EB*B**98***27*25*****Y", "EB*C*IND*30***29*310.50*****Y", asked=("98",))["chosen"]
    assert chosen["segments"] == [BODY + 1, BODY + 2]


NO_NUMBERS = ["ABC", "sNaN", "-Infinity", "$25"]


@pytest.mark.parametrize("amount", NO_NUMBERS)
@pytest.mark.parametrize(
    "rows",
    [
        ["EB*B**98***27*{}*****Y"],
        ["EB*B**98***27*{}*****Y", "EB*B**98***27*5*****Y"],
        ["EB*C*IND*30***29*{}*****Y"],
        ["EB*C*IND*30***29*{}*****Y", "EB*C*FAM*30***29*5*****Y"],
    ],
    ids=["co-payment", "co-payments", "deductible", "deductibles"],
)
def test_an_amount_that_is_no_number_is_shown_and_never_chosen(amount: str, rows: list[str]) -> None:
    found = answer("EB*1**30", *(row.format(amount) for row in rows), asked=("98",))
    assert found["status"] == "active"
    assert found["benefits"][1]["amount"] == amount
    chosen = [entry["amount"] for name, entry in found["chosen"].items() if name != "segments" and entry]
    assert amount not in chosen


@pytest.mark.parametrize("amount", ["10", "10.00", ".5", "0", ".00", "1.0", "1500.5"])
def test_amounts_are_texts_as_they_came(amount: str) -> None:
    (co_payment, deductible) = money(f"EB*B**98***27*{amount}*****Y", f"EB*C*IND*30***29*{amount}*****Y")
    assert co_payment is not None
    assert deductible is not None
    assert (co_payment[0], deductible[0]) == (amount, amount)
    benefit = answer(f"EB*A**98*****{amount}****Y")["benefits"][0]
    assert benefit["percent"] == amount


# Another payer.

HETS = ["EB*1**30*MA", "EB*1**30*MB"]


@pytest.mark.parametrize("kind", ["HN", "HM", "PR"])
def test_a_plan_in_the_place_of_medicare_is_named(kind: str) -> None:
    other = [f"EB*R**30*{kind}*H1234 SENIOR PLAN", "REF*18*H1234", "LS*2120", "NM1*PRP*2*ACME ADVANTAGE", "LE*2120"]
    found = answer(*HETS, *other, asked=("30",))
    assert found["other_payer"] == "ACME ADVANTAGE"
    assert found["status"] == "active"


def test_a_plan_in_the_place_of_medicare_without_a_name_is_named_by_its_plan() -> None:
    assert answer(*HETS, "EB*R**30*HN*H1234 SENIOR PLAN")["other_payer"] == "H1234 SENIOR PLAN"
    assert answer(*HETS, "EB*R**30*HN")["other_payer"]


@pytest.mark.parametrize(
    "segments",
    [
        HETS,
        [*HETS, "EB*R**88*OT*DRUGS", "LS*2120", "NM1*PR*2*DRUG PLAN", "LE*2120"],
        [*HETS, "EB*R**88*HM*DRUGS", "LS*2120", "NM1*PR*2*DRUG PLAN", "LE*2120"],
        [*HETS, "EB*R**30*12*WORKING AGED", "LS*2120", "NM1*PR*2*EMPLOYER PLAN", "LE*2120"],
        ["EB*1**30*HM*GOLD", "EB*R**30*HM*OTHER", "LS*2120", "NM1*PR*2*OTHER", "LE*2120"],
    ],
    ids=["none named", "drugs only", "drugs only, managed", "Medicare second", "no Medicare"],
)
def test_other_plans_do_not_take_the_place_of_medicare(segments: list[str]) -> None:
    assert answer(*segments)["other_payer"] is None


def test_described_and_answered_agree_where_nothing_was_asked_for() -> None:
    segments = ["EB*1**30**GOLD", "EB*B**98***27*25*****Y", "EB*C*IND*30***29*310.50*****Y"]
    (described,) = transactions(report.describe(answer_271(*segments)))[0]["coverages"]
    answered = answer(*segments)
    for key in ("status", "plan", "benefits", "payer"):
        assert answered[key] == described[key]
    for who in ("subscriber", "patient"):  # of an answer more is compared with the chart
        assert answered[who].items() >= described[who].items()
