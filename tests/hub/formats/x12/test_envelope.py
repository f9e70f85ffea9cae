"""Interchanges, groups and transaction sets: what contains what, and where a finding points."""

import pytest

from hub.formats.x12 import envelope, report
from tests.hub.formats.messages import HEAD_271, ISA, SUBSCRIBER, answer_271, group, interchange, transaction, transactions

BODY = [*HEAD_271, *SUBSCRIBER, "EB*1**30"]


def test_everything_is_read_in_its_place_and_order() -> None:
    data = interchange(
        group(transaction("271", *BODY, number="0001"), transaction("271", *BODY, number="0002"), number="7"),
        group(transaction("999", "AK1*HS*1", "AK9*A*1*1*1", number="0003"), kind="999", number="8"),
    )
    found = report.describe(data + answer_271("EB*6**30"))
    assert found["findings"] == []
    first, second = found["interchanges"]
    assert (first["control_number"], first["sender"], first["receiver"], first["version"]) == (
        "000000007", "PAYER", "CLINIC", "00501",
    )  # fmt: skip
    assert [(g["control_number"], g["code"], g["version"]) for g in first["groups"]] == [
        ("7", "HB", "005010X279A1"),
        ("8", "FA", "005010X231A1"),
    ]
    assert [[t["control_number"] for t in g["transactions"]] for g in first["groups"]] == [["0001", "0002"], ["0003"]]
    assert [len(g["transactions"]) for g in second["groups"]] == [1]


def test_a_wrong_count_of_segments_says_both_numbers_at_the_se() -> None:
    data = interchange(group(["ST*271*0001*005010X279A1", *BODY, "SE*33*0001"]))
    (finding,) = report.describe(data)["findings"]
    sent = len(BODY) + 2
    assert finding == {
        "level": "error", "code": "X12-SE01", "segment": sent, "id": "SE", "element": 1,
        "text": f"SE01 says 33 segments, {sent} were sent",
    }  # fmt: skip


def test_findings_inside_a_transaction_also_stand_with_it() -> None:
    good = transaction("271", *BODY, number="0002")
    bad = ["ST*271*0001*005010X279A1", *BODY, "SE*33*0009"]
    first, second = envelope.read(interchange(group(bad, good))).transactions()
    assert [f.code for f in first.findings] == ["X12-SE01", "X12-SE02"]
    assert second.findings == []


def test_a_finding_about_the_group_points_at_the_group() -> None:
    data = interchange(group(transaction("271", *BODY, number="0001"), transaction("271", *BODY, number="0002")))
    found = report.describe(data.replace(b"GS*HB*", b"GS*HS*"))["findings"]
    assert {(f["code"], f["segment"], f["id"], f["element"]) for f in found} == {("X12-GS01", 2, "GS", 1)}


@pytest.mark.parametrize("before", [0, 1, 2])
def test_positions_begin_anew_in_each_interchange(before: int) -> None:
    short = answer_271("EB*1**30").replace(b"PAYER          *", b"PAYER*")
    found = report.describe(answer_271("EB*1**30") * before + short)["findings"]
    assert [(f["code"], f["segment"], f["id"]) for f in found] == [("X12-ISA-LENGTH", 1, "ISA")]


def test_counts_of_several_groups_and_sets_are_checked() -> None:
    sets = [transaction("271", *BODY, number=f"{n:04d}") for n in range(1, 6)]
    data = interchange(group(*sets[:3], number="1"), group(*sets[3:], number="2"))
    assert report.describe(data)["findings"] == []
    assert len(transactions(report.describe(data))) == 5


def test_a_ta1_stands_with_its_interchange() -> None:
    data = (ISA + "TA1*000000050*261130*1430*R*006~IEA*0*000000007~").encode()
    (found,) = envelope.read(data).interchanges
    assert [s[5] for s in found.acknowledgements] == ["006"]
    assert envelope.read(data).findings == []


def test_a_transaction_the_hub_has_no_words_for_is_named_and_not_read() -> None:
    data = interchange(group(transaction("271", *BODY))).replace(b"ST*271*0001*005010X279A1", b"ST*835*0001*005010X221A1")
    (found,) = transactions(report.describe(data))
    assert found == {"set": "835", "control_number": "0001"}
