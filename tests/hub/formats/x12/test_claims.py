"""835, 837 and 834: for pyx12, where it is installed."""

from __future__ import annotations

import pytest

from hub.formats.x12 import claims, report
from tests.hub.formats.messages import answer_271

REMITTANCE = (
    "ISA*00*          *00*          *ZZ*PAYER          *ZZ*CLINIC         *261130*1430*^*00501*000000007*0*T*:~"
    "GS*HP*PAYER*CLINIC*20261130*1430*7*X*005010X221A1~ST*835*0001~BPR*I*100*C*CHK************20261130~"
    "TRN*1*1*1512345678~N1*PR*ACME~N1*PE*RIVERSIDE*XX*1234567893~LX*1~CLP*7*1*100*100**12*1~NM1*QC*1*DOE~"
    "SVC*HC:99213*QQ*100~SE*10*0001~GE*1*7~IEA*1*000000007~"
)


def test_only_claims_and_payments_are_for_pyx12() -> None:
    assert claims.sets_in(report.describe(REMITTANCE.encode())) == ["835"]
    assert claims.sets_in(report.describe(answer_271("EB*1**30"))) == []
    assert claims.sets_in(report.describe(b"")) == []


@pytest.mark.skipif(claims.installed(), reason="pyx12 is installed")
def test_without_pyx12_it_is_said_that_nothing_could_be_checked() -> None:
    (found,) = claims.check_claims(REMITTANCE.encode())
    assert (found.level, found.code) == ("warning", "X12-CLAIMS")


def test_a_file_too_large_is_not_tried() -> None:
    (found,) = claims.check_claims(b" " * (claims.MOST_BYTES + 1))
    assert "larger than 20 MB" in found.text


@pytest.mark.skipif(not claims.installed(), reason="pyx12 is an optional extra (clinic-hub[claims])")
def test_pyx12_finds_what_is_wrong_and_no_value_is_told() -> None:
    found = claims.check_claims(REMITTANCE.encode())
    assert ("SVC", 2, "6") in {(f.id, f.element, f.ik4) for f in found}
    assert ("N3", "3") in {(f.id, f.ik3) for f in found}
    assert "QQ" not in str([f.text for f in found])


def test_what_pyx12_reports_becomes_findings() -> None:
    segment = {"seg_id": "SVC", "seg_count": 9, "name": "Service Payment", "errors": [{"err_cde": "3"}], "elements": [
        {"ele_pos": 2, "name": "Charge", "errors": [{"err_cde": "6", "err_val": "SECRET"}]}]}  # fmt: skip
    one = {"errors": [{"err_cde": "4"}], "segments": [segment]}
    found = claims._findings({"interchanges": [{"groups": [{"transactions": [one]}]}]})
    assert [(f.id, f.segment, f.element) for f in found] == [("SE", None, None), ("SVC", 9, None), ("SVC", 9, 2)]
    assert "SECRET" not in str(found)
