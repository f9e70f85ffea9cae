"""270 and 271: who is asked about, and what belongs to which benefit."""

import pytest

from hub.formats.x12 import report
from tests.hub.formats.messages import (
    BODY,
    HEAD_271,
    SUBSCRIBER,
    answer_271,
    codes,
    group,
    interchange,
    transaction,
    transactions,
)

DEPENDENT = [
    "HL*3*2*22*1",
    "NM1*IL*1*DOE*JOHN****MI*W100",
    "REF*6P*G77",
    "DMG*D8*19750101*M",
    "HL*4*3*23*0",
    "TRN*2*TRACE2*9123456789",
    "NM1*03*1*DOE*MARY*ANN",
    "DMG*D8*20101014*F",
    "INS*N*19",
    "DTP*346*D8*20260101",
]


def coverages(data: bytes):  # type: ignore[no-untyped-def]
    return [c for t in transactions(report.describe(data)) for c in t["coverages"]]


def about(*segments: str):  # type: ignore[no-untyped-def]
    """The benefits of the subscriber of a 271."""
    (coverage,) = coverages(answer_271(*segments))
    return coverage["benefits"]


def test_a_subscriber_is_the_patient() -> None:
    (found,) = coverages(answer_271("EB*1**30**GOLD"))
    assert found["trace_numbers"] == ["TRACE1"]
    assert found["payer"] == {"name": "ACME HEALTH", "id": "60054"}
    assert (found["provider"]["name"], found["provider"]["npi"]) == ("RIVERSIDE CLINIC", "1234567893")
    assert found["subscriber"] == {
        "family": "DOE", "given": "JANE", "birth_date": "19800229", "member_id": "W100", "group": None,
    }  # fmt: skip
    assert found["patient"] == {"relationship": "self", "family": "DOE", "given": "JANE", "birth_date": "19800229"}


def test_a_dependent_is_the_patient_under_the_subscriber() -> None:
    (found,) = coverages(interchange(group(transaction("271", *HEAD_271, *DEPENDENT, "EB*1**30**GOLD"))))
    assert found["trace_numbers"] == ["TRACE2"]
    assert found["subscriber"] == {
        "family": "DOE", "given": "JOHN", "birth_date": "19750101", "member_id": "W100", "group": "G77",
    }  # fmt: skip
    assert found["patient"] == {"relationship": "child", "family": "DOE", "given": "MARY", "birth_date": "20101014"}
    assert (found["status"], found["plan"]) == ("active", "GOLD")


@pytest.mark.parametrize(
    ("code", "relationship"), [("01", "spouse"), ("19", "child"), ("34", "other_adult"), ("", "dependent"), ("ZZ", "dependent")]
)
def test_the_relationship_of_a_dependent_is_named(code: str, relationship: str) -> None:
    segments = [s if not s.startswith("INS") else f"INS*N*{code}" for s in DEPENDENT]
    (found,) = coverages(interchange(group(transaction("271", *HEAD_271, *segments, "EB*1**30"))))
    assert found["patient"]["relationship"] == relationship


def test_a_subscriber_with_benefits_and_dependents_are_patients_of_their_own() -> None:
    second = ["HL*5*3*23*0", "NM1*03*1*DOE*TIM", "DMG*D8*20121014*M", "INS*N*19", "EB*6**30"]
    own = ["HL*3*2*22*1", "TRN*2*TRACE1*9123456789", "NM1*IL*1*DOE*JOHN****MI*W100", "EB*1**30"]
    found = coverages(interchange(group(transaction("271", *HEAD_271, *own, *DEPENDENT[4:], "EB*1**30", *second))))
    assert [(c["patient"]["given"], c["status"]) for c in found] == [
        ("JOHN", "active"),
        ("MARY", "active"),
        ("TIM", "inactive"),
    ]
    assert {c["subscriber"]["given"] for c in found} == {"JOHN"}


def test_subscribers_of_several_payers_and_providers_keep_theirs() -> None:
    other = [
        "HL*4**20*1", "NM1*PR*2*OTHER*****PI*10001", "HL*5*4*21*1", "NM1*1P*2*LAKE CLINIC*****XX*1987654328",
        "HL*6*5*22*0", "NM1*IL*1*ROE*RICK****MI*X9", "EB*6**30",
    ]  # fmt: skip
    found = coverages(interchange(group(transaction("271", *HEAD_271, *SUBSCRIBER, "EB*1**30", *other))))
    assert [(c["payer"]["id"], c["provider"]["npi"], c["subscriber"]["member_id"], c["status"]) for c in found] == [
        ("60054", "1234567893", "W100", "active"),
        ("10001", "1987654328", "X9", "inactive"),
    ]


def test_a_second_payer_does_not_inherit_the_provider_of_the_first() -> None:
    other = ["HL*4**20*1", "NM1*PR*2*OTHER*****PI*10001", "HL*5*4*22*0", "NM1*IL*1*ROE*RICK****MI*X9", "EB*6**30"]
    found = coverages(interchange(group(transaction("271", *HEAD_271, *SUBSCRIBER, "EB*1**30", *other))))
    assert [c["provider"]["npi"] for c in found] == ["1234567893", None]


def test_a_dependent_without_a_subscriber_is_read_and_found() -> None:
    found = report.describe(interchange(group(transaction("271", *HEAD_271, *DEPENDENT[4:], "EB*1**30"))))
    assert "X12-HL" in codes(found)
    (coverage,) = transactions(found)[0]["coverages"]
    assert (coverage["patient"]["given"], coverage["status"]) == ("MARY", "active")


def test_a_level_nobody_knows_is_found() -> None:
    found = report.describe(answer_271("EB*1**30", "HL*9*3*99*0", "NM1*QQ*1*X"))
    assert "X12-HL03" in codes(found)
    assert transactions(found)[0]["coverages"][0]["status"] == "active"


def test_what_stands_before_the_first_level_is_found() -> None:
    assert "X12-NO-HL" in codes(report.describe(interchange(group(transaction("271", "BHT*0022*11", "EB*1**30")))))


def test_every_element_of_a_benefit_has_its_place() -> None:
    (found,) = about("EB*B*IND*98^BY*HM*GOLD*27*25.50*.2*VS*10*Y*N")
    assert found["segment"] == BODY
    assert {k: found[k] for k in (
        "code", "kind", "level", "service_types", "insurance_type", "plan", "period", "amount", "percent", "quantity",
        "authorization", "in_network",
    )} == {
        "code": "B", "kind": "co_payment", "level": "IND", "service_types": ["98", "BY"], "insurance_type": "HM",
        "plan": "GOLD",
        "period": "27", "amount": "25.50", "percent": ".2", "quantity": "10", "authorization": True, "in_network": False,
    }  # fmt: skip


@pytest.mark.parametrize(("code", "meaning"), [("Y", True), ("N", False), ("W", None), ("U", None), ("", None)])
def test_network_and_authorisation_are_yes_no_or_not_said(code: str, meaning: bool | None) -> None:
    (found,) = about(f"EB*B**98***27*25****{code}*{code}")
    assert (found["in_network"], found["authorization"]) == (meaning, meaning)


def test_what_follows_a_benefit_belongs_to_it_and_to_no_other() -> None:
    found = about(
        "EB*1**30",
        "EB*B**98***27*25*****Y", "HSD*VS*35***21*1", "REF*18*P1*PLAN ONE", "REF*N6*NET", "DTP*348*D8*20260101",
        "DTP*292*RD8*20260101-20261231", "MSG*PRIMARY CARE", "MSG*OFFICE", "III*ZZ*11", "III*ZZ*22", "III*BF*Z00",
        "LS*2120", "NM1*P3*1*WELBY*MARCUS****XX*1234567893", "N3*1 ROAD", "N4*RIVER*MO*64108", "PER*IC**TE*5550100",
        "PRV*PC", "LE*2120",
        "EB*B**98***27*40*****N", "MSG*SPECIALIST",
    )  # fmt: skip
    plain, office, other = found
    assert office["delivery"] == [["VS", "35", "", "", "21", "1"]]
    assert [(r["qualifier"], r["value"], r["text"]) for r in office["references"]] == [
        ("18", "P1", "PLAN ONE"),
        ("N6", "NET", None),
    ]
    assert office["dates"] == [
        {"qualifier": "348", "from": "20260101", "to": None},
        {"qualifier": "292", "from": "20260101", "to": "20261231"},
    ]
    assert office["messages"] == ["PRIMARY CARE", "OFFICE"]
    assert office["places"] == ["11", "22"]
    assert (office["entity"]["code"], office["entity"]["name"], office["entity"]["id"]) == ("P3", "WELBY, MARCUS", "1234567893")
    assert other["messages"] == ["SPECIALIST"]
    for benefit in (plain, other):
        assert (benefit["delivery"], benefit["references"], benefit["dates"], benefit["places"]) == ([], [], [], [])
        assert benefit["entity"] is None
    assert plain["messages"] == []


def test_a_name_after_a_benefit_is_not_the_patients() -> None:
    (found,) = coverages(answer_271("EB*L", "LS*2120", "NM1*P3*1*WELBY*MARCUS", "LE*2120", "EB*1**30", "DTP*291*D8*20261130"))
    assert found["patient"]["family"] == "DOE"
    assert found["benefits"][0]["entity"]["name"] == "WELBY, MARCUS"
    assert found["benefits"][1]["dates"] == [{"qualifier": "291", "from": "20261130", "to": None}]


def test_a_wrapper_without_a_name_is_found_at_its_place() -> None:
    found = report.describe(answer_271("EB*1**30", "LS*2120", "REF*6P*PLAN", "LE*2120", "DTP*291*D8*20261130"))
    assert [(f["code"], f["segment"], f["id"]) for f in found["findings"]] == [("X12-2120", BODY + 1, "LS")]
    (benefit,) = transactions(found)[0]["coverages"][0]["benefits"]
    assert [r["value"] for r in benefit["references"]] == ["PLAN"]
    assert benefit["dates"]


@pytest.mark.parametrize("end", ["LE*2120", "EB*6**88", "HL*4*2*22*0", None])
def test_a_wrapper_may_end_anyhow(end: str | None) -> None:
    segments = ["EB*1**30", "LS*2120", "NM1*PR*2*OTHER", *([end] if end else [])]
    found = coverages(answer_271(*segments))
    assert found[0]["status"] == "active"
    assert found[0]["benefits"][0]["entity"]["name"] == "OTHER"


def test_the_dates_of_the_coverage_are_those_before_any_benefit() -> None:
    (found,) = coverages(answer_271("DTP*346*D8*20260101", "DTP*347*D8*20261231", "DTP*291*RD8*20260101-20261231", "EB*1**30"))
    assert found["dates"] == [
        {"qualifier": "346", "from": "20260101", "to": None},
        {"qualifier": "347", "from": "20261231", "to": None},
        {"qualifier": "291", "from": "20260101", "to": "20261231"},
    ]


@pytest.mark.parametrize(
    ("references", "group_number"),
    [(["REF*6P*G1*ACME"], "G1"), (["REF*1L*G2"], "G2"), (["REF*1L*G2", "REF*6P*G1"], "G1"), (["REF*18*P"], None), ([], None)],
)
def test_the_group_number_is_6p_else_1l(references: list[str], group_number: str | None) -> None:
    (found,) = coverages(answer_271(*references, "EB*1**30"))
    assert found["subscriber"]["group"] == group_number


def test_an_inquiry_is_read() -> None:
    data = interchange(
        group(transaction("270", *HEAD_271, *SUBSCRIBER, "DTP*291*D8*20261130", "EQ*30^98", "EQ*UC"), kind="270")
    )
    (found,) = transactions(report.describe(data))
    assert found["rejections"] == []
    (inquiry,) = found["inquiries"]
    assert inquiry["service_types"] == ["30", "98", "UC"]
    assert inquiry["dates"] == [{"qualifier": "291", "from": "20261130", "to": None}]
    assert inquiry["subscriber"]["member_id"] == "W100"
    assert inquiry["patient"] == {"relationship": "self", "family": "DOE", "given": "JANE", "birth_date": "19800229"}
    assert "coverages" not in found


def test_an_inquiry_for_a_dependent_is_read() -> None:
    data = interchange(group(transaction("270", *HEAD_271, *DEPENDENT, "EQ*30"), kind="270"))
    ((inquiry,),) = ([*t["inquiries"]] for t in transactions(report.describe(data)))
    assert inquiry["patient"]["given"] == "MARY"
    assert inquiry["subscriber"]["given"] == "JOHN"
    assert inquiry["service_types"] == ["30"]
