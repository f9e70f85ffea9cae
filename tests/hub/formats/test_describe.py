"""What a file says, as JSON: every key of INTERFACES section 3, and empty as null."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from hub.formats.describe import describe
from tests.hub.formats.hl7v2.test_any_bytes import damaged as damaged_hl7, noise
from tests.hub.formats.messages import (
    BODY,
    HEAD_271,
    ISA,
    MSH,
    PROPERTY,
    SUBSCRIBER,
    answer_271,
    group,
    hl7,
    interchange,
    transaction,
    transactions,
    with_charset,
)
from tests.hub.formats.x12.test_any_bytes import anything

SIU = MSH.replace("ADT^A04", "SIU^S12")
SCH = "SCH|P-9^EPIC|F-77^EPIC|||||||||^^^202611301430"
PID = "PID|1||00042^^^RIVER^MR~9^^^SSA^SS||DOE&VAN^JANE^Q||19800229|F"


def message(*segments: str, head: str = SIU) -> dict[str, Any]:
    found = describe(hl7(*segments, head=head))
    assert found["findings"] == []
    (only,) = found["messages"]
    return only  # type: ignore[no-any-return]


# HL7 v2.


def test_a_booking_is_described_as_the_interface_says() -> None:
    assert describe(hl7(SCH, PID, "IN1|1|PPO|60054", head=SIU)) == {
        "format": "hl7v2",
        "findings": [],
        "messages": [
            {
                "type": "SIU^S12",
                "structure": "SIU_S12",
                "control_id": "42",
                "version": "2.5",
                "encoding": "UTF-8",
                "sender": {"application": "EPIC", "facility": "RIVER"},
                "receiver": {"application": "HUB", "facility": "RIVER"},
                "patient": {"id": "00042", "family": "DOE", "given": "JANE", "birth_date": "19800229", "sex": "F"},
                "appointment": {"placer_id": "P-9", "filler_id": "F-77", "starts_at": "202611301430"},
                "segments": ["MSH", "SCH", "PID", "IN1"],
                "findings": [],
            }
        ],
    }


@pytest.mark.parametrize(
    ("segments", "starts_at"),
    [
        ([SCH], "202611301430"),
        ([SCH, "TQ1|1||||||202611301500"], "202611301500"),
        (["SCH|P|F", "AIS|1||CT|202611301510"], "202611301510"),
        (["SCH|P|F", "AIP|1||9|||202611301520"], "202611301520"),
        (["SCH|P|F", "AIL|1||R|||202611301530"], "202611301530"),
        (["SCH|P|F", "AIG|1||D|||||202611301540"], "202611301540"),
        (["SCH|P|F", "PV1|1|O" + "|" * 42 + "202611301550"], "202611301550"),
        (["SCH|P|F", "AIG|1||D|||||1540", "AIP|1||9|||1520", "AIL|1||R|||1530", "AIS|1||CT|1510"], "1510"),
        (["SCH|P|F"], None),
        (["PV1|1|O" + "|" * 42 + "202611301550"], None),
    ],
)
def test_the_start_is_found_where_senders_put_it(segments: list[str], starts_at: str | None) -> None:
    assert message(*segments)["appointment"]["starts_at"] == starts_at


def test_the_earliest_resource_says_when_a_visit_starts() -> None:
    """Research hl7.md 3.2: the earliest AIS-4."""
    found = message("SCH|P|F", "RGS|1", "AIS|1||CT|202611301600", "AIS|2||MR|202611301500")
    assert found["appointment"]["starts_at"] == "202611301500"


@pytest.mark.parametrize(
    ("head", "path", "level"),
    [
        (MSH.replace("ADT^A04", ""), 9, "error"),
        (MSH.replace("|42|", "||"), 10, "error"),
        (MSH.replace("|42|", "|  |"), 10, "error"),
        (MSH.replace("|2.5", "|"), 12, "warning"),
    ],
)
def test_what_a_header_lacks_is_found_at_its_field(head: str, path: int, level: str) -> None:
    (finding,) = describe(hl7(PID, head=head))["messages"][0]["findings"]
    assert (finding["level"], finding["code"], finding["id"], finding["element"]) == (level, f"HL7-MSH-{path}", "MSH", path)


def test_findings_of_one_message_stand_in_it() -> None:
    found = describe(hl7(PID) + hl7(PID, head=MSH.replace("|42|", "||")))
    assert [len(m["findings"]) for m in found["messages"]] == [0, 1]
    assert found["findings"] == []


@pytest.mark.parametrize(
    ("data", "word"),
    [(b"", "empty"), (b"  \r\n", "empty"), (b"hello", "MSH"), (b"\x00" * 9, "MSH"), (b"%PDF-1.7", "MSH"), (b"isa*00*", "MSH")],
    ids=repr,
)
def test_what_is_nothing_is_an_error_in_words(data: bytes, word: str) -> None:
    found = describe(data)
    assert found["format"] == "hl7v2"
    assert found["messages"] == []
    assert [f["level"] for f in found["findings"]] == ["error"]
    assert word in found["findings"][0]["text"]


def test_a_header_that_cannot_be_read_is_a_message_with_an_error() -> None:
    found = describe(b"garbage before\rMSH|^~\\&|A\rPID|1\r")
    assert [f["level"] for m in found["messages"] for f in m["findings"]][:1] == ["error"]


@pytest.mark.parametrize(
    "data",
    [hl7(PID), hl7(PID, end="\n"), b"\xef\xbb\xbf" + hl7(PID), b"\n\x0b " + hl7(PID),
    hl7("NTE|1||pays by VISA ISA*00*", PID), b"FHS|^~\\&|ISA\r" + hl7(PID), b"msh" + hl7(PID)[3:]],
    ids=["CR", "LF", "byte order mark", "white space and frame", "the letters ISA", "batch", "lower case"],
)  # fmt: skip
def test_hl7_is_known_whatever_stands_before_it(data: bytes) -> None:
    found = describe(data)
    assert found["format"] == "hl7v2"
    assert [m["patient"]["id"] for m in found["messages"]] == ["00042"]


@pytest.mark.parametrize(
    "data", [answer_271("EB*1**30"), b"\xef\xbb\xbf\r\n" + answer_271("EB*1**30"), b" \n" * 400 + answer_271("EB*1**30")],
    ids=["as usual", "byte order mark", "much white space"],
)  # fmt: skip
def test_x12_is_known_whatever_stands_before_it(data: bytes) -> None:
    assert describe(data)["format"] == "x12"
    assert transactions(describe(data))


# X12.


def test_an_answer_is_described_with_every_key_of_the_interface() -> None:
    benefits = ["EB*1**30**GOLD 123 PLAN", "EB*B**98***27*10*****Y", "AAA*N**72*C"]
    data = answer_271(*benefits, member=["REF*6P*G1"])
    described = describe(data)
    assert {k: v for k, v in described.items() if k != "interchanges"} == {"format": "x12", "findings": []}
    (sent,) = described["interchanges"]
    assert {k: v for k, v in sent.items() if k != "groups"} == {
        "control_number": "000000007", "sender": "PAYER", "receiver": "CLINIC", "version": "00501",
    }  # fmt: skip
    (one,) = sent["groups"]
    assert {k: v for k, v in one.items() if k != "transactions"} == {
        "control_number": "7", "code": "HB", "version": "005010X279A1",
    }  # fmt: skip
    (answer,) = one["transactions"]
    assert {k: v for k, v in answer.items() if k != "coverages"} == {"set": "271", "control_number": "0001", "rejections": []}
    (coverage,) = answer["coverages"]
    expected = {
        "status": "active_review",
        "trace_numbers": ["TRACE1"],
        "payer": {"name": "ACME HEALTH", "id": "60054"},
        "subscriber": {"family": "DOE", "given": "JANE", "member_id": "W100", "birth_date": "19800229", "group": "G1"},
        "patient": {"relationship": "self", "family": "DOE", "given": "JANE", "birth_date": "19800229"},
        "plan": "GOLD 123 PLAN",
    }
    assert {k: coverage[k] for k in expected} == expected
    assert {"name": "RIVERSIDE CLINIC", "npi": "1234567893"}.items() <= coverage["provider"].items()
    benefit = coverage["benefits"][1]
    expected_benefit = {
        "segment": BODY + 2, "code": "B", "kind": "co_payment", "level": None, "service_types": ["98"], "insurance_type": None,
        "plan": None, "period": "27", "amount": "10", "percent": None, "quantity": None, "authorization": None,
        "in_network": True, "dates": [], "places": [], "messages": [], "entity": None,
    }  # fmt: skip
    assert {k: benefit[k] for k in expected_benefit} == expected_benefit
    (rejection,) = coverage["rejections"]
    assert rejection.pop("action")
    assert rejection == {
        "loop": "2110C", "code": "72", "follow_up": "C", "text": "Invalid/Missing Subscriber/Insured ID", "who": "coordinator",
    }  # fmt: skip


def test_the_example_of_the_interface_is_found_word_for_word() -> None:
    segments = ["EB*1**30", *["EB*1**98"] * (30 - BODY)]
    found = describe(answer_271(*segments).replace(b"SE*31*", b"SE*33*"))
    assert found["findings"] == [
        {
            "level": "error", "code": "X12-SE01", "segment": 31, "id": "SE", "element": 1,
            "text": "SE01 says 33 segments, 31 were sent",
        }
    ]  # fmt: skip


def test_an_inquiry_a_999_and_a_ta1_carry_what_the_interface_says() -> None:
    inquiry = interchange(group(transaction("270", *HEAD_271, *SUBSCRIBER, "DTP*291*D8*20261130", "EQ*30"), kind="270"))
    (found,) = transactions(describe(inquiry))
    assert {"payer", "provider", "subscriber", "patient", "service_types", "dates"} <= set(found["inquiries"][0])
    verdict = interchange(group(transaction("999", "AK1*HS*7", "AK2*270*1", "IK5*A", "AK9*A*1*1*1"), kind="999"))
    (found,) = transactions(describe(verdict))
    assert {"group", "set", "code", "errors"} <= set(found["acknowledgements"][0])
    sent = describe((ISA + "TA1*000000050*261130*1430*A*000~IEA*0*000000007~").encode())["interchanges"][0]
    assert sent["interchange_acknowledgements"][0]["code"] == "A"


# Empty is null.


def empties(value: Any, path: str = "") -> list[str]:
    """Where an empty text stands.  HSD segments are told element by element, so theirs may be empty."""
    if isinstance(value, dict):
        return [found for key, inner in value.items() for found in empties(inner, f"{path}.{key}")]
    if isinstance(value, list):
        return [] if path.endswith(".delivery") else [found for inner in value for found in empties(inner, f"{path}[]")]
    return [path] if value == "" else []


HOLLOW = {
    "HL7 header alone": b"MSH|^~\\&",
    "HL7 with nothing in its fields": hl7("PID||||||", "SCH|||", head="MSH|^~\\&||||||||||"),
    "X12 header alone": ISA.encode(),
    "X12 header cut": b"ISA*00",
    "group and sets without elements": (ISA + "GS~ST~SE~GE~IEA~").encode(),
    "no group": (ISA + "ST*271*0001~HL*3**22~EB*1~SE*4*0001~").encode(),
    "segments without elements": answer_271("TRN", "REF", "DTP", "INS", "EB", "HSD", "REF", "DTP", "MSG", "III", "NM1", "AAA"),
    "date without a day": answer_271("DTP*291*D8", "EB*1**30", "DTP*292*RD8*-"),
    "a message without words": answer_271("EB*1**30", "MSG*"),
    "999 without elements": interchange(group(transaction("999", "AK1", "AK2", "IK3", "IK4", "IK5", "AK9"), kind="999")),
    "999 with a segment error without code": interchange(
        group(transaction("999", "AK1*HS*7", "AK2*270*1", "IK3*NM1"), kind="999")
    ),
    "TA1 without elements": (ISA + "TA1~IEA*0*000000007~").encode(),
    "TA1 with an unknown note": (ISA + "TA1*000000050*261130*1430*R*099~IEA*0*000000007~").encode(),
}


@pytest.mark.parametrize("what", HOLLOW)
def test_what_is_empty_is_null(what: str) -> None:
    assert empties(describe(HOLLOW[what])) == []


MESSAGE_KEYS = {
    "type", "structure", "control_id", "version", "encoding", "sender", "receiver", "patient", "appointment",
    "segments", "findings",
}  # fmt: skip


@PROPERTY
@given(data=st.one_of(noise, damaged_hl7(), anything))
def test_any_bytes_give_the_same_shape_and_nothing_empty(data: bytes) -> None:
    found = describe(data)
    json.dumps(found, allow_nan=False).encode()
    assert empties(found) == []
    for finding in found["findings"]:
        assert set(finding) == {"level", "code", "segment", "id", "element", "text"}
    for one in found.get("messages", []):
        assert set(one) >= MESSAGE_KEYS
        assert set(one["patient"]) == {"id", "family", "given", "birth_date", "sex"}
        assert set(one["appointment"]) == {"placer_id", "filler_id", "starts_at"}
        assert set(one["sender"]) == set(one["receiver"]) == {"application", "facility"}
    for one in found.get("interchanges", []):
        assert set(one) >= {"control_number", "sender", "receiver", "version", "groups"}


def test_the_charset_is_named_as_people_know_it() -> None:
    (found,) = describe(with_charset(b"8859/1", b"PID|1||42||M\xfcller"))["messages"]
    assert (found["encoding"], found["patient"]["family"]) == ("ISO-8859-1", "Müller")
