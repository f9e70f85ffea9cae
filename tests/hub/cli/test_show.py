"""`hub show`: what a file says, as a tree for people and as INTERFACES section 3 has it for programs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hub.cli.conftest import Cli

SIU = (
    b"MSH|^~\\&|EPIC|RIVER|HUB|RIVER|20261123090000||SIU^S12|42|P|2.5|||||||UNICODE UTF-8\r"
    b"SCH|P-9|F-77|||||||||^^^202611301430\rPID|1||00042^^^RIVER^MR||DOE^JANE||19800229|F\rIN1|1|PPO|60054\r"
)
ISA = "ISA*00*          *00*          *ZZ*PAYER          *ZZ*CLINIC         *261123*1501*^*00501*000000001*0*T*:~"
X12 = (
    f"{ISA}\nGS*HB*PAYER*CLINIC*20261123*1501*1*X*005010X279A1~\nST*271*0001*005010X279A1~\nBHT*0022*11*T1*20261123*1501~\n"
    "HL*1**20*1~\nNM1*PR*2*ABC COMPANY*****PI*842610001~\nHL*2*1*21*1~\nNM1*1P*2*BONE AND JOINT CLINIC*****XX*1234567893~\n"
    "HL*3*2*22*0~\nTRN*2*93175-012547*9877281234~\nNM1*IL*1*SMITH*JOHN****MI*123456789~\nDMG*D8*19630519~\n"
    "EB*1**30**GOLD 123 PLAN~\nEB*B**98***27*10*****Y~\nAAA*N**72*C~\nSE*14*0001~\nGE*1*1~\nIEA*1*000000001~\n"
)


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.hl7").write_bytes(SIU)
    Path("b.edi").write_text(X12, encoding="utf-8")
    Path("counts.edi").write_text(X12.replace("SE*14", "SE*33"), encoding="utf-8")
    Path("two.hl7").write_bytes(SIU + SIU.replace(b"|42|", b"||"))
    Path("no_version.hl7").write_bytes(SIU.replace(b"|2.5|", b"||"))
    Path("page.html").write_text("<html><body>502 Bad Gateway</body></html>", encoding="utf-8")
    Path("empty").write_bytes(b"")
    Path("bytes.bin").write_bytes(bytes(range(256)) * 4)


def test_a_message_is_told_as_the_interface_has_it(cli: Cli) -> None:
    done = cli("show", "a.hl7", "--json")
    assert (done.code, done.err) == (0, "")
    assert done.json == {
        "file": "a.hl7", "format": "hl7v2", "findings": [],
        "messages": [{
            "type": "SIU^S12", "structure": "SIU_S12", "control_id": "42", "version": "2.5", "encoding": "UTF-8",
            "sender": {"application": "EPIC", "facility": "RIVER"}, "receiver": {"application": "HUB", "facility": "RIVER"},
            "patient": {"id": "00042", "family": "DOE", "given": "JANE", "birth_date": "19800229", "sex": "F"},
            "appointment": {"placer_id": "P-9", "filler_id": "F-77", "starts_at": "202611301430"},
            "segments": ["MSH", "SCH", "PID", "IN1"], "findings": [],
        }],
    }  # fmt: skip


def test_an_answer_is_told_as_the_interface_has_it(cli: Cli) -> None:
    done = cli("show", "b.edi", "--json")
    assert done.json["format"] == "x12"
    (interchange,) = done.json["interchanges"]
    assert {name: interchange[name] for name in ("control_number", "sender", "receiver", "version")} == {
        "control_number": "000000001", "sender": "PAYER", "receiver": "CLINIC", "version": "00501",
    }  # fmt: skip
    (group,) = interchange["groups"]
    assert (group["control_number"], group["code"], group["version"]) == ("1", "HB", "005010X279A1")
    (transaction,) = group["transactions"]
    assert (transaction["set"], transaction["control_number"], transaction["rejections"]) == ("271", "0001", [])
    (coverage,) = transaction["coverages"]
    assert coverage["status"] == "active_review"
    assert coverage["trace_numbers"] == ["93175-012547"]
    assert coverage["payer"] == {"name": "ABC COMPANY", "id": "842610001"}
    assert coverage["subscriber"] == {
        "family": "SMITH", "given": "JOHN", "member_id": "123456789", "birth_date": "19630519", "group": None,
    }  # fmt: skip
    assert coverage["patient"] == {"relationship": "self", "family": "SMITH", "given": "JOHN", "birth_date": "19630519"}
    benefit = coverage["benefits"][1]
    named = ("segment", "code", "kind", "level", "service_types", "insurance_type", "plan", "period", "amount", "percent",
             "quantity", "authorization", "in_network", "dates", "places", "messages", "entity")  # fmt: skip
    assert {name: benefit[name] for name in named} == {
        "segment": 12, "code": "B", "kind": "co_payment", "level": None, "service_types": ["98"], "insurance_type": None,
        "plan": None, "period": "27", "amount": "10", "percent": None, "quantity": None, "authorization": None,
        "in_network": True, "dates": [], "places": [], "messages": [], "entity": None,
    }  # fmt: skip
    (rejection,) = coverage["rejections"]
    assert {name: rejection[name] for name in ("code", "follow_up", "text", "who")} == {
        "code": "72", "follow_up": "C", "text": "Invalid/Missing Subscriber/Insured ID", "who": "coordinator",
    }  # fmt: skip


ENDS = {
    "a message in order": ("a.hl7", 0),
    "an answer in order": ("b.edi", 0),
    "a warning only": ("no_version.hl7", 0),
    "an error in one of two messages": ("two.hl7", 1),
    "a wrong count": ("counts.edi", 1),
    "a web page": ("page.html", 1),
    "an empty file": ("empty", 1),
    "bytes": ("bytes.bin", 1),
}


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["text", "json"])
@pytest.mark.parametrize(("file", "code"), ENDS.values(), ids=ENDS)
def test_findings_of_level_error_end_with_1(cli: Cli, file: str, code: int, options: tuple[str, ...]) -> None:
    done = cli("show", file, *options)
    assert (done.code, done.err) == (code, "")
    assert done.out


def test_a_finding_stands_where_the_interface_has_it(cli: Cli) -> None:
    assert cli("show", "counts.edi", "--json").json["findings"] == [
        {"level": "error", "code": "X12-SE01", "segment": 14, "id": "SE", "element": 1,
         "text": "SE01 says 33 segments, 14 were sent"},
    ]  # fmt: skip
    (bad,) = cli("show", "two.hl7", "--json").json["messages"][1]["findings"]
    assert (bad["level"], bad["code"]) == ("error", "HL7-MSH-10")


def test_several_files_are_a_line_each(cli: Cli) -> None:
    done = cli("show", "a.hl7", "counts.edi", "b.edi", "--json")
    assert done.code == 1
    assert [line["file"] for line in done.lines] == ["a.hl7", "counts.edi", "b.edi"]


def test_people_see_the_names_of_fields_and_what_values_mean(cli: Cli) -> None:
    Path("escaped.hl7").write_bytes(SIU.replace(b"DOE^JANE", b"DOE \\T\\ SONS^JANE"))
    out = cli("show", "escaped.hl7").out
    assert "SIU^S12 (SIU_S12), version 2.5, UTF-8" in out
    line = next(line for line in out.splitlines() if line.strip().startswith("PID-7"))
    assert "birth" in line.lower()
    assert line.split()[-2:] == ["TS", "19800229"], "its data type too"
    assert "DOE & SONS" in out


def test_people_see_which_table_a_code_is_of_and_whether_it_is_in_it(cli: Cli) -> None:
    Path("codes.hl7").write_bytes(SIU.replace(b"|19800229|F", b'|19800229|W||""|12 ELM'))
    lines = {line.split()[0]: line for line in cli("show", "codes.hl7").out.splitlines() if line.strip()}
    assert lines["PID-8"].endswith("W   (not in table 0001)")
    assert lines["MSH-11"].endswith(" P   (table 0103)") or lines["MSH-11"].endswith(" P"), "older tables do not know it"
    assert lines["PID-5"].endswith("DOE^JANE"), "no code, no table"
    assert lines["MSH-3"].endswith("EPIC"), "a table that each site fills itself is not shown"


def test_a_line_of_foreign_letters_is_shown_as_part_of_the_value(cli: Cli) -> None:
    Path("broken.hl7").write_bytes(SIU + "NTE|1|L|Vu en\rÉté\r".encode())
    done = cli("show", "broken.hl7")
    assert done.code == 0
    assert "Été" in done.out


def test_people_see_a_card_with_the_word_first(cli: Cli) -> None:
    out = cli("show", "b.edi").out
    assert out.index("ACTIVE_REVIEW") < out.index("co-payment") < out.index("co_payment")
    assert "REJECTED 2110C AAA 72" in out or "REJECTED 2100C AAA 72" in out
    assert "JOHN SMITH" in out


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_a_message_may_come_through_a_pipe(options: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hub", "show", "/dev/stdin", *options], input=SIU, capture_output=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert b"00042" in done.stdout


def test_people_see_what_the_visit_costs_who_else_pays_and_where_it_stands(cli: Cli) -> None:
    rich = X12.replace("AAA*N**72*C~\n", "EB*C*IND*30***23*1500*****Y~\nEB*C*IND*30***29*310.50*****Y~\nEB*R**30*C1*SECOND~\n")
    Path("rich.edi").write_text(rich.replace("SE*14", "SE*16"), encoding="utf-8")
    out = cli("show", "rich.edi").out
    assert "co-payment          10   (co-payment in network, segment 12)" in out
    assert "deductible left     310.50   (remaining individual deductible in network, segment 14)" in out
    assert "base 1500, remaining 310.50, met 1189.50 (worked out)" in out
    assert "co-insurance        the payer did not say" in out
    assert "other coverage      SECOND" in out
    assert "authorization       the payer did not say" in out


def test_the_card_stays_on_one_page(cli: Cli) -> None:
    many = X12.replace("AAA*N**72*C~\n", "EB*B**98***27*10*****Y~\n" * 60).replace("SE*14", "SE*73")
    Path("many.edi").write_text(many, encoding="utf-8")
    out = cli("show", "many.edi").out
    assert len(out.splitlines()) < 50
    assert "and 38 more; --json has all of them" in out


def test_an_answer_can_be_had_as_fhir(cli: Cli) -> None:
    done = cli("show", "b.edi", "a.hl7", "--fhir")
    assert done.code == 0
    assert [(line["resourceType"], line["outcome"]) for line in done.lines] == [("CoverageEligibilityResponse", "complete")]


def test_claims_are_for_an_optional_library_and_without_it_that_is_said(cli: Cli) -> None:
    Path("pay.edi").write_text(X12.replace("271", "835").replace("005010X279A1", "005010X221A1"), encoding="utf-8")
    done = cli("show", "pay.edi")
    assert "clinic-hub[claims]" in done.err or "X12-CLAIMS" in done.out


V3 = (
    '{"controlNumber": "000000042", "tradingPartnerServiceId": "60054", "subscriber": {"memberId": "W100", "lastName": "DOE"},'
    ' "benefitsInformation": [{"code": "1", "serviceTypeCodes": ["30"], "planCoverage": "GOLD"}]@MORE@}'
)
COVERAGE = (
    '{"statusCode": "4", "controlNumber": "7", "subscriber": {"memberId": "W100", "lastName": "DOE"},'
    ' "plans": [{"status": "Active Coverage", "planName": "GOLD"}]}'
)


@pytest.mark.parametrize(
    ("text", "format"),
    [
        (V3.replace("@MORE@", ""), "eligibility_v3"),
        (V3.replace("@MORE@", f', "x12": {json.dumps(X12)}'), "eligibility_v3"),
        (COVERAGE, "coverages"),
    ],
    ids=["eligibility v3", "eligibility v3 with its 271", "coverage"],
)
def test_an_answer_in_json_is_told_as_a_271_is(cli: Cli, text: str, format: str) -> None:
    Path("answer.json").write_text(text, encoding="utf-8")
    told = cli("show", "answer.json", "--json").json
    assert told["format"] == format
    (coverage,) = told["interchanges"][0]["groups"][0]["transactions"][0]["coverages"]
    has_x12 = '"x12"' in text
    assert coverage["plan"] == ("GOLD 123 PLAN" if has_x12 else "GOLD")
    card = cli("show", "answer.json")
    assert card.code == 0
    assert f"JSON of a clearinghouse ({format})" in card.out
    assert "GOLD" in card.out
    resource = cli("show", "--fhir", "answer.json").json
    assert resource["resourceType"] == "CoverageEligibilityResponse"


def test_json_that_is_no_answer_is_no_format_of_ours(cli: Cli) -> None:
    Path("other.json").write_text('{"resourceType": "Patient"}', encoding="utf-8")
    done = cli("show", "other.json", "--json")
    assert (done.code, done.json["format"]) == (1, "hl7v2")
