"""Public samples, read where they are: every value their index knows, through `describe`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hub.formats.describe import describe
from hub.formats.hl7v2 import Hl7, acknowledge, read_acknowledgement, split
from hub.formats.x12 import report
from tests.hub.formats.messages import codes, transactions
from tests.support import SAMPLES

EXPECTED = SAMPLES / "hl7" / "expected.jsonl"
HL7: dict[str, dict[str, Any]] = {
    entry["file"]: entry
    for entry in map(json.loads, EXPECTED.read_text(encoding="utf-8").splitlines() if EXPECTED.is_file() else [])
}
HL7_FILES = sorted(HL7) or ["no samples on this machine"]

MEANINGS = {"\\F\\": "|", "\\S\\": "^", "\\T\\": "&", "\\R\\": "~"}


def plain(raw: str | None) -> str | None:
    """A raw value without its escapes; the samples have only these."""
    for sequence, meaning in MEANINGS.items():
        raw = raw.replace(sequence, meaning) if raw else raw
    return raw


def parts(samples: Path, file: str) -> list[bytes]:
    return [part.body for part in split((samples / "hl7" / file).read_bytes())[0]]


@pytest.mark.parametrize("file", HL7_FILES)
def test_every_expected_value_of_hl7_is_read(samples: Path, file: str) -> None:
    bodies = parts(samples, file)
    assert len(bodies) == HL7[file]["message_count"]
    wrong = []
    for body, expected in zip(bodies, HL7[file]["messages"], strict=True):
        message = Hl7(body)
        assert "".join(message.separators[i] for i in (0, 1, 2, 3, 4)) == expected["separators"]
        assert [s.id for s in message.segments] == expected["segments"]
        assert sorted({s.id for s in message.segments if s.id[0] == "Z"}) == expected["z"]
        for path, value in expected.items():
            if path.endswith(" count"):
                found: Any = len(message.places(path.split()[0]))
            elif "-" not in path or path.endswith(" repetitions"):
                continue
            else:
                found, value = message.get(path), plain(value)
            if found != value:
                wrong.append((path, found, value))
    assert wrong == []


@pytest.mark.parametrize("file", HL7_FILES)
def test_hl7_is_described_as_the_index_says(samples: Path, file: str) -> None:
    described = describe((samples / "hl7" / file).read_bytes())
    assert described["format"] == "hl7v2"
    wrong_counts = ["HL7-BATCH"] if file.startswith("26_") else []  # its BTS says one message, two were sent
    assert codes(described) == wrong_counts
    for found, expected in zip(described["messages"], HL7[file]["messages"], strict=True):

        def value(path: str, expected: dict[str, Any] = expected) -> str | None:
            return plain(expected.get(path))

        assert found["type"] == ("^".join(v for v in (value("MSH-9.1"), value("MSH-9.2")) if v) or None)
        assert (found["control_id"], found["version"]) == (value("MSH-10"), value("MSH-12.1"))
        assert found["sender"] == {"application": value("MSH-3.1"), "facility": value("MSH-4.1")}
        assert found["receiver"] == {"application": value("MSH-5.1"), "facility": value("MSH-6.1")}
        assert found["patient"] == {
            "id": value("PID-3.1"), "family": value("PID-5.1"), "given": value("PID-5.2"), "birth_date": value("PID-7"),
            "sex": value("PID-8"),
        }  # fmt: skip
        assert found["appointment"] == {
            "placer_id": value("SCH-1.1"), "filler_id": value("SCH-2.1"), "starts_at": value("SCH-11.4"),
        }  # fmt: skip
        assert found["segments"] == expected["segments"]
        missing = {n for n, path in ((9, "MSH-9.1"), (10, "MSH-10"), (12, "MSH-12.1")) if not value(path)}
        assert {f["element"] for f in found["findings"]} == missing


@pytest.mark.parametrize("file", HL7_FILES)
def test_hl7_leaves_as_it_came(samples: Path, file: str) -> None:
    body = (samples / "hl7" / file).read_bytes()
    pieces = parts(samples, file)
    assert [bytes(Hl7(piece)) for piece in pieces] == pieces
    if not HL7[file]["batch_segments"]:
        assert b"".join(pieces) == body


@pytest.mark.parametrize("file", HL7_FILES)
def test_setting_the_control_id_of_hl7_changes_nothing_else(samples: Path, file: str) -> None:
    for piece in parts(samples, file):
        message = Hl7(piece)
        header = message.segments[0].text.split("|")
        header += [""] * (10 - len(header))
        message.set("MSH-10", "NEW-1")
        again = Hl7(bytes(message))
        assert again.segments[0].text.split("|") == [*header[:9], "NEW-1", *header[10:]]
        assert [s.text for s in again.segments[1:]] == [s.text for s in Hl7(piece).segments[1:]]


@pytest.mark.parametrize("file", HL7_FILES)
def test_hl7_can_be_acknowledged(samples: Path, file: str) -> None:
    for piece in parts(samples, file):
        message = Hl7(piece)
        answer = read_acknowledgement(acknowledge(message, "AA"))
        assert (answer.code, answer.control_id) == ("AA", message.control_id)


# X12: read by eye from the files and their index.


def edi(samples: Path, name: str) -> dict[str, Any]:
    return describe((samples / "x12" / f"{name}.edi").read_bytes())


@pytest.mark.parametrize(
    ("name", "family", "given", "member", "relationship"),
    [
        ("270-subscriber-generic", "SMITH", "ROBERT", "11122333301", "self"),
        ("270-dependent-generic", "SMITH", "MARY", "11122333301", "dependent"),
        ("270-realtime-single", "DOE", "PATIENT", "000123450", "self"),
        ("270-custom-delimiters", "DOE", "CUSTOM", "000123453", "self"),
    ],
)
def test_inquiries_ask_what_the_index_says(
    samples: Path, name: str, family: str, given: str, member: str, relationship: str
) -> None:
    found = edi(samples, name)
    assert found["findings"] == []
    ((inquiry,),) = (t["inquiries"] for t in transactions(found))
    assert (inquiry["patient"]["family"], inquiry["patient"]["given"]) == (family, given)
    assert inquiry["patient"]["relationship"] == relationship
    assert inquiry["subscriber"]["member_id"] == member
    assert inquiry["service_types"] == ["30"]
    assert len(inquiry["dates"]) == 1


@pytest.mark.parametrize(
    ("name", "birth_date"), [("270-subscriber-generic", "19430519"), ("270-dependent-generic", "19781014")]
)
def test_inquiries_name_the_birth_date(samples: Path, name: str, birth_date: str) -> None:
    (found,) = transactions(edi(samples, name))
    assert found["inquiries"][0]["patient"]["birth_date"] == birth_date


def test_version_4010_is_refused(samples: Path) -> None:
    found = edi(samples, "270-4010-legacy")
    assert {"X12-VERSION", "X12-BOM"} <= set(codes(found))
    assert "004010X092" in " ".join(f["text"] for f in found["findings"])
    assert not any(t.get("inquiries") for t in transactions(found))


@pytest.mark.parametrize("name", ["271-subscriber-active-copay", "271-dependent-active-copay"])
def test_an_active_plan_with_co_payments(samples: Path, name: str) -> None:
    found = edi(samples, name)
    assert found["findings"] == []
    ((coverage,),) = (t["coverages"] for t in transactions(found))
    assert (coverage["status"], coverage["plan"]) == ("active", "GOLD 123 PLAN")
    assert coverage["subscriber"]["family"] == "SMITH"
    assert coverage["subscriber"]["member_id"] == "123456789"
    assert coverage["trace_numbers"] == ["93175-012547"]
    assert coverage["payer"] == {"name": "ABC COMPANY", "id": "841610001"}
    copays = [
        (b["amount"], b["in_network"], b["period"], b["insurance_type"]) for b in coverage["benefits"] if b["code"] == "B"
    ]
    assert copays == [("10.00", True, "27", "HM"), ("30.00", False, "27", "HM")]
    assert [b["service_types"] for b in coverage["benefits"] if b["code"] == "B"] == [
        ["1", "33", "35", "47", "86", "88", "98", "AL", "MH", "UC"]
    ] * 2
    (doctor,) = [b["entity"] for b in coverage["benefits"] if b["code"] == "L"]
    assert (doctor["code"], doctor["name"], doctor["id"]) == ("P3", "JONES, MARCUS", "0202034")
    assert coverage["chosen"]["co_payment"]["amount"] == "10.00"
    assert [(d["qualifier"], d["from"], d["to"]) for d in coverage["dates"]] == [("346", "20060101", None)]
    answer = report.answer((samples / "x12" / f"{name}.edi").read_bytes(), ["98"])
    assert (answer["status"], answer["chosen"]["co_payment"]["amount"]) == ("active", "10.00")


def test_the_dependent_of_the_active_plan(samples: Path) -> None:
    (found,) = transactions(edi(samples, "271-dependent-active-copay"))
    assert found["coverages"][0]["patient"] == {
        "relationship": "child", "family": "SMITH", "given": "MARY", "birth_date": "19981014",
    }  # fmt: skip
    assert found["coverages"][0]["subscriber"]["given"] == "JOHN"


def test_a_provider_who_may_not_ask(samples: Path) -> None:
    found = edi(samples, "271-aaa50-se02-mismatch")
    assert codes(found) == ["X12-SE02"]
    (transaction,) = transactions(found)
    assert transaction["coverages"] == []
    assert [(r["loop"], r["code"], r["follow_up"], r["text"]) for r in transaction["rejections"]] == [
        ("2100B", "50", "N", "Provider Ineligible for Inquiries")
    ]
    answer = report.answer((samples / "x12" / "271-aaa50-se02-mismatch.edi").read_bytes(), ["30"])
    assert (answer["status"], answer["failure"]) == ("rejected", None)


def test_a_rich_answer(samples: Path) -> None:
    found = edi(samples, "271-rich-open-access-elect-choice")
    assert found["findings"] == []
    ((coverage,),) = (t["coverages"] for t in transactions(found))
    assert (coverage["status"], coverage["plan"]) == ("active", "Open Access Elect Choice")
    assert (coverage["subscriber"]["family"], coverage["subscriber"]["member_id"]) == ("SMITH", "1234567899")
    assert coverage["subscriber"]["group"] == "030030001000120"
    assert coverage["trace_numbers"] == ["434343434", "422422424"]
    benefits = coverage["benefits"]
    assert len(benefits) == 19
    (copay,) = [b for b in benefits if b["code"] == "B"]
    assert (copay["amount"], copay["service_types"], copay["in_network"], copay["level"]) == ("20", ["33"], True, "EMP")
    assert [(b["amount"], b["period"]) for b in benefits if b["code"] == "G"] == [("2100", None), ("2100", "29")]
    assert [b["percent"] for b in benefits if b["code"] == "A" and b["service_types"] == ["98"]] == [".1"]
    assert [b["places"] for b in benefits if b["code"] == "A" and b["service_types"] == ["98"]] == [["11"]]
    assert [b["delivery"] for b in benefits if b["delivery"]] == [
        [["VS", "35", "", "", "21", "1"]],
        [["VS", "35", "", "", "29"]],
    ]
    assert [(b["service_types"], b["in_network"]) for b in benefits if b["code"] == "I"] == [
        (["86"], True),
        (["86", "UC"], True),
        (["1", "33", "48", "50", "86", "98", "UC"], False),
    ]
    (other,) = [b["entity"] for b in benefits if b["code"] == "W"]
    assert (other["code"], other["name"]) == ("PR", "Mala Compania")
    assert coverage["chosen"]["co_payment"] is None
    assert coverage["chosen"]["deductible_remaining"] is None


@pytest.mark.parametrize("asked", [["30"], ["98"], ["33"], []])
def test_the_rich_answer_is_active_although_nothing_is_covered_out_of_network(samples: Path, asked: list[str]) -> None:
    data = (samples / "x12" / "271-rich-open-access-elect-choice.edi").read_bytes()
    assert report.answer(data, asked)["status"] == "active"


def test_the_chiropractor_of_the_rich_answer_has_a_co_payment(samples: Path) -> None:
    data = (samples / "x12" / "271-rich-open-access-elect-choice.edi").read_bytes()
    assert report.answer(data, ["33"])["chosen"]["co_payment"]["amount"] == "20"


@pytest.mark.parametrize(
    ("name", "given", "member", "found_wrong"),
    [
        ("271-active-minimal-gs01-hs", "PATIENT", "000123450", ["X12-GS01"]),
        ("271-ls-le-wrapper-gs01-hs", "WRAPPED", "000123454", ["X12-2120", "X12-GS01"]),
    ],
)
def test_active_plans_in_a_wrong_form(samples: Path, name: str, given: str, member: str, found_wrong: list[str]) -> None:
    found = edi(samples, name)
    assert sorted(codes(found)) == found_wrong
    ((coverage,),) = (t["coverages"] for t in transactions(found))
    assert coverage["status"] == "active"
    assert (coverage["patient"]["family"], coverage["patient"]["given"]) == ("DOE", given)
    assert coverage["subscriber"]["member_id"] == member
    assert coverage["provider"]["npi"] == "1234567893"
    assert [d["qualifier"] for d in coverage["benefits"][0]["dates"]] == ["291"]


def test_a_999_about_three_sets(samples: Path) -> None:
    found = edi(samples, "999-partial-three-sets")
    assert found["findings"] == []
    ((first, second, third),) = (t["acknowledgements"] for t in transactions(found))
    assert [v["code"] for v in (first, second, third)] == ["A", "R", "R"]
    assert {v["group_result"] for v in (first, second, third)} == {"P"}
    assert [v["control_number"] for v in (first, second, third)] == ["0001", "0002", "0003"]
    assert {(v["group"], v["set"]) for v in (first, second, third)} == {("17456", "837")}
    assert first["errors"] == []
    assert [(e["segment"], e["position"], e["element"], e["code"]) for e in second["errors"]] == [("CLM", 22, "2", "1")]
    assert [(e["segment"], e["position"], e["element"], e["code"]) for e in third["errors"]] == [("REF", 57, None, "3")]


def test_an_accepted_999_of_the_first_edition(samples: Path) -> None:
    found = edi(samples, "999-accepted-x231")
    assert [(f["level"], f["code"]) for f in found["findings"]] == [("warning", "X12-GS08")]
    ((verdict,),) = (t["acknowledgements"] for t in transactions(found))
    assert (verdict["code"], verdict["group_result"], verdict["set"], verdict["errors"]) == ("A", "A", "834", [])


def test_a_ta1(samples: Path) -> None:
    found = edi(samples, "ta1-accepted-00501")
    assert codes(found) == ["X12-IEA01"]
    ((verdict,),) = (i["interchange_acknowledgements"] for i in found["interchanges"])
    assert (verdict["control_number"], verdict["code"], verdict["note"]) == ("000000050", "A", "000")
    assert (verdict["date"], verdict["time"]) == ("200229", "1200")


def test_every_sample_of_x12_is_read_here(samples: Path) -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert [path.name for path in sorted((samples / "x12").glob("*.edi")) if path.stem not in text] == []
