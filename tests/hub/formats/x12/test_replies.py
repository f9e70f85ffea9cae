"""999 and TA1 that we send: the verdict on what a partner sent, at the places it is about."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given

from hub.formats.x12 import envelope, report
from hub.formats.x12.check import check
from hub.formats.x12.replies import build_replies
from tests.hub.formats.messages import (
    BODY,
    HEAD_271,
    ISA,
    PROPERTY,
    SUBSCRIBER,
    answer_271,
    group,
    interchange,
    transaction,
    transactions,
)
from tests.hub.formats.x12.test_any_bytes import anything

NOW = datetime(2026, 11, 30, 14, 30, tzinfo=UTC)
GOOD = answer_271("EB*1**30**GOLD")


def lines(data: bytes, **options: bool) -> list[str]:
    reply = build_replies(data, control_number=42, now=NOW, **options)
    assert reply is not None
    return reply.decode("ascii").removesuffix("~").split("~")


def verdict(*segments: str) -> list[str]:
    """What a 999 says of a 271 between AK2 and AK9."""
    found = lines(answer_271(*segments))
    first = next(n for n, line in enumerate(found) if line.startswith("AK2"))
    return found[first + 1 : next(n for n, line in enumerate(found) if line.startswith("AK9"))]


def test_a_good_answer_is_accepted_and_the_way_back_is_the_senders() -> None:
    assert lines(GOOD) == [
        "ISA*00*          *00*          *ZZ*CLINIC         *ZZ*PAYER          *261130*1430*^*00501*000000042*0*T*:",
        "GS*FA*CLINIC*PAYER*20261130*1430*42*X*005010X231A1",
        "ST*999*0001*005010X231A1",
        "AK1*HB*7*005010X279A1",
        "AK2*271*0001*005010X279A1",
        "IK5*A",
        "AK9*A*1*1*1",
        "SE*6*0001",
        "GE*1*42",
        "IEA*1*000000042",
    ]


@pytest.mark.parametrize("kind", [b"H" + b"\0" * 9 + b"B", b"B", b"", b"H B"])
def test_a_group_of_a_kind_that_is_none_is_answered_in_order(kind: bytes) -> None:
    found = lines(GOOD.replace(b"GS*HB*", b"GS*" + kind + b"*"))
    assert found[3] == "AK1*HB*7*005010X279A1"


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        (["EB*QQ**30"], [f"IK3*EB*{BODY}*2110*8", "CTX*TRN02:TRACE1", "IK4*1*1390*7", "IK5*R*5"]),
        (["EB*1**30", "DTP*291*D8*20261399"], [f"IK3*DTP*{BODY + 1}*2110*8", "CTX*TRN02:TRACE1", "IK4*3*1251*8", "IK5*R*5"]),
        (["EB*1**30", "ZZZ*1"], [f"IK3*ZZZ*{BODY + 1}*2110*1", "CTX*TRN02:TRACE1", "IK5*E*I5"]),
        (["EB*1**30^Q?"], [f"IK3*EB*{BODY}*2110*8", "CTX*TRN02:TRACE1", "IK4*3::2*1365*7", "IK5*E*I5"]),
        (["EB*1**30*********Z"], [f"IK3*EB*{BODY}*2110*8", "CTX*TRN02:TRACE1", "IK4*12*1073*7", "IK5*E*I5"]),
        (["EB*1**30**********AD"], [f"IK3*EB*{BODY}*2110*8", "CTX*TRN02:TRACE1", "IK4*13:2*234*1", "IK5*E*I5"]),
        (["EB*1**30", "LS*2120", "LE*2120"], [f"IK3*LS*{BODY + 1}*2110*I6", f"CTX*SITUATIONAL TRIGGER*LS*{BODY + 1}*2110",
          "CTX*TRN02:TRACE1", "IK5*R*5"]),
        ([], ["IK3*HL*7*2000*I6", "CTX*SITUATIONAL TRIGGER*HL*7*2000", "CTX*TRN02:TRACE1", "IK5*E*I5"]),
    ],
)  # fmt: skip
def test_each_fault_is_told_at_its_place(segments: list[str], expected: list[str]) -> None:
    assert verdict(*segments) == expected


def test_what_was_sent_is_not_repeated_to_the_payer() -> None:
    data = GOOD.replace(b"DMG*D8*19800229*F", b"DMG*D8*19800230*F")
    assert "19800230" not in " ".join(lines(data))


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [("SE*12*0001", "SE*13*0001", "4"), ("SE*12*0001", "SE*12*0009", "3"), ("SE*12*0001~", "", "2")],
)
def test_a_broken_envelope_of_a_set_refuses_the_set(before: str, after: str, reason: str) -> None:
    found = lines(GOOD.replace(before.encode(), after.encode()))
    assert f"IK5*R*{reason}" in found
    assert next(line for line in found if line.startswith("AK9")).startswith("AK9*R*1*1*0")


@pytest.mark.parametrize(
    ("before", "after", "end"),
    [
        ("GE*1*7", "GE*2*7", "AK9*E*1*1*1*5"),
        ("GE*1*7", "GE*1*8", "AK9*E*1*1*1*4"),
        ("GE*1*7~", "", "AK9*E*1*1*1*3"),
        ("GS*HB", "GS*HS", "AK9*E*1*1*1*1"),
    ],
)
def test_a_broken_group_is_told_in_ak9(before: str, after: str, end: str) -> None:
    assert end in lines(GOOD.replace(before.encode(), after.encode()))


def test_a_version_we_do_not_read_is_refused() -> None:
    found = lines(GOOD.replace(b"005010X279A1", b"004010X092A1"))
    assert "IK5*R*I6" in found
    assert "AK9*R*1*1*0*2" in found


def test_of_several_sets_each_has_its_verdict() -> None:
    good = transaction("271", *HEAD_271, *SUBSCRIBER, "EB*1**30", number="0001")
    bad = transaction("271", *HEAD_271, *SUBSCRIBER, "EB*QQ**30", number="0002")
    data = interchange(group(good, bad, number="7"), group(good, number="8"))
    reply = build_replies(data, control_number=42, now=NOW)
    assert reply is not None
    first, second = (t["acknowledgements"] for t in transactions(report.describe(reply)))
    assert [(v["control_number"], v["code"], v["group_result"]) for v in first] == [("0001", "A", "P"), ("0002", "R", "P")]
    assert [(v["group"], v["code"]) for v in second] == [("8", "A")]


# TA1.


def test_a_ta1_stands_between_isa_and_gs_where_it_is_asked_for() -> None:
    found = lines(GOOD.replace(b"*0*T*:", b"*1*T*:"))
    assert found[1:3] == ["TA1*000000007*261130*1430*A*000", "GS*FA*CLINIC*PAYER*20261130*1430*42*X*005010X231A1"]


@pytest.mark.parametrize(
    ("before", "after", "note"),
    [
        ("IEA*1*000000007", "IEA*1*000000008", "R*001"),
        ("IEA*1*000000007", "IEA*3*000000007", "R*021"),
        ("IEA*1*000000007~", "", "R*023"),
        ("PAYER          *", "PAYER*", "R*024"),
    ],
)
def test_a_broken_interchange_gets_a_ta1_unasked(before: str, after: str, note: str) -> None:
    assert lines(GOOD.replace(before.encode(), after.encode()))[1] == f"TA1*000000007*261130*1430*{note}"


def test_a_duplicate_is_told_as_one() -> None:
    assert lines(GOOD, duplicate=True)[1].endswith("*R*025")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html></html>",
        interchange(group(transaction("999", "AK1*HS*7", "AK9*A*1*1*1"), kind="999")),
        (ISA.replace("*0*T*", "*1*T*") + "TA1*000000050*261130*1430*A*000~IEA*0*000000007~").encode(),
    ],
    ids=["empty", "web page", "999", "TA1"],
)
def test_what_wants_no_answer_gets_none(data: bytes) -> None:
    assert build_replies(data, control_number=42, now=NOW) is None


@PROPERTY
@given(data=anything)
def test_any_bytes_get_an_acknowledgement_without_faults_or_none(data: bytes) -> None:
    reply = build_replies(data, control_number=42, now=NOW)
    if reply is not None:
        file = envelope.read(reply)
        assert file.findings == []
        assert [check(t) for t in file.transactions()] == [[] for _ in file.transactions()]
