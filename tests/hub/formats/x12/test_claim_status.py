"""276 and 277: what became of a claim."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from hub.errors import MessageUnusable
from hub.formats.x12 import report
from hub.formats.x12.claim_status import ClaimInquiry, build_276, final
from hub.formats.x12.inquiry import PersonNamed
from hub.formats.x12.write import Parties
from tests.hub.formats.messages import codes, transactions

NOW = datetime(2026, 11, 30, 14, 30, tzinfo=UTC)
JANE = PersonNamed(family="Doe", given="Jane", birth_date=date(1980, 2, 29), sex="F")
MARY = PersonNamed(family="Doe", given="Mary", birth_date=date(2010, 10, 14), sex="F")
ASKED = ClaimInquiry(
    parties=Parties("CLINIC", "CLEARING", "T"),
    payer_name="Acme Health",
    payer_id="60054",
    receiver_name="Riverside Clinic",
    receiver_id="R100",
    provider_name="Riverside Clinic",
    provider_npi="1234567893",
    member_id="W100",
    subscriber=JANE,
    service_from=date(2026, 11, 1),
    service_to=date(2026, 11, 2),
    payer_claim_id="C-1",
    account="A-7",
    amount="150.00",
)


def test_a_276_stands_as_it_must() -> None:
    text = build_276(ASKED, control_number=7, trace="TRACE1", now=NOW).decode()
    assert text.split("~")[1:-3] == [
        "GS*HR*CLINIC*CLEARING*20261130*1430*7*X*005010X212",
        "ST*276*0007*005010X212",
        "BHT*0010*13*TRACE1*20261130*1430",
        "HL*1**20*1",
        "NM1*PR*2*ACME HEALTH*****PI*60054",
        "HL*2*1*21*1",
        "NM1*41*2*RIVERSIDE CLINIC*****46*R100",
        "HL*3*2*19*1",
        "NM1*1P*2*RIVERSIDE CLINIC*****XX*1234567893",
        "HL*4*3*22*0",
        "DMG*D8*19800229*F",
        "NM1*IL*1*DOE*JANE****MI*W100",
        "TRN*1*TRACE1",
        "REF*1K*C-1",
        "REF*EJ*A-7",
        "AMT*T3*150.00",
        "DTP*472*RD8*20261101-20261102",
        "SE*17*0007",
    ]


@pytest.mark.parametrize("asked", [ASKED, replace(ASKED, patient=MARY), replace(ASKED, service_to=None, amount=None)])
def test_a_276_reads_back_without_findings(asked: ClaimInquiry) -> None:
    found = report.describe(build_276(asked, control_number=7, trace="TRACE1", now=NOW))
    assert found["findings"] == []
    ((claim,),) = (t["claims"] for t in transactions(found))
    assert (claim["trace_number"], claim["payer"], claim["provider"]) == ("TRACE1", "60054", "1234567893")
    assert (claim["claim_id"], claim["account"], claim["member_id"]) == ("C-1", "A-7", "W100")
    person = asked.patient or asked.subscriber
    assert claim["patient"] == {
        "family": "DOE", "given": (person.given or "").upper(), "birth_date": f"{person.birth_date:%Y%m%d}",
    }  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {"payer_id": ""},
        {"member_id": ""},
        {"subscriber": PersonNamed()},
        {"service_to": date(2026, 10, 1)},
        {"provider_npi": "*"},
    ],
)
def test_a_276_without_what_it_needs_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(MessageUnusable):
        build_276(replace(ASKED, **changes), control_number=7, trace="T", now=NOW)  # type: ignore[arg-type]


ANSWER = (
    "ISA*00*          *00*          *ZZ*PAYER          *ZZ*CLINIC         *261130*1430*^*00501*000000007*0*T*:~"
    "GS*HN*PAYER*CLINIC*20261130*1430*7*X*005010X212~ST*277*0001*005010X212~BHT*0010*08*REF1*20261130*1430*DG~"
    "HL*1**20*1~NM1*PR*2*ACME HEALTH*****PI*60054~HL*2*1*21*1~NM1*41*2*RIVERSIDE*****46*R100~HL*3*2*19*1~"
    "NM1*1P*2*RIVERSIDE*****XX*1234567893~HL*4*3*22*0~NM1*IL*1*DOE*JANE****MI*W100~TRN*2*TRACE1~"
    "STC*F1:65*20261125**150*120.5*20261126**20261127*CHK9~REF*1K*C-1~DTP*472*D8*20261101~"
    "SVC*HC:99213*150*120.5****1~STC*F1:65*20261125~DTP*472*D8*20261101~"
    "HL*5*3*22*0~NM1*IL*1*ROE*RICK****MI*W200~TRN*2*TRACE2~STC*A4:35*20261125~SE*22*0001~GE*1*7~IEA*1*000000007~"
)


def test_a_277_tells_each_claim_with_its_status_in_words() -> None:
    found = report.describe(ANSWER.encode())
    assert found["findings"] == []
    ((paid, unknown),) = (t["claims"] for t in transactions(found))
    assert (paid["trace_number"], paid["claim_id"]) == ("TRACE1", "C-1")
    (status,) = paid["statuses"]
    assert (status["category"], status["code"], status["text"]) == ("F1", "65", "finished: paid")
    assert (status["charged"], status["paid"], status["paid_on"], status["check"]) == ("150", "120.5", "20261126", "CHK9")
    (line,) = paid["lines"]
    assert (line["procedure"], line["statuses"][0]["category"]) == (["HC", "99213"], "F1")
    assert (unknown["trace_number"], unknown["statuses"][0]["text"]) == ("TRACE2", "not found")
    assert final(paid["statuses"])
    assert not final(unknown["statuses"])


def test_a_277_in_a_wrong_form_is_read_and_what_is_wrong_is_said() -> None:
    found = report.describe(ANSWER.replace("STC*A4:35", "STC*").replace("HL*5*3*22*0", "HL*9*3*22*0").encode())
    assert {"X12-HL", "X12-REQUIRED"} <= set(codes(found))
    assert [c["trace_number"] for t in transactions(found) for c in t["claims"]] == ["TRACE1", "TRACE2"]
