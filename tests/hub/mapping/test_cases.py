"""Cases are exact: a field too many, one missing, another word in a rejection, or no cases at all, and the mapping fails."""

from pathlib import Path
from typing import Any

import pytest

from hub.errors import Problem
from hub.mapping.cases import CaseResult, differences, flatten, run_cases
from hub.records import Appointment, Patient, Person
from tests.hub.mapping.bench import good, load

MAPPING = """
from: hl7v2
to: appointment
fields:
  id: SCH-2.1 | required
  status: MSH-9.2 | table status
  starts_at: SCH-11.4 | datetime?
  practitioner: header practitioner
  patient.identifiers: {each: PID-3, fields: {value: "1", authority: 4.1 | authority}}
  patient.name.family: PID-5.1
tables:
  status: {S12: booked, S15: cancelled}
"""
GIVEN = """
  given: |
    MSH|^~\\&|EPIC|RIVER|HUB|RIVER|2026||SIU^S12|42|P|2.5
    SCH||F-77|||||||||^^^202611301430
    PID|1||00042||DOE
"""
WHOLE = 'id: F-77, status: booked, starts_at: "2026-11-30T14:30:00Z"'
PATIENT = "patient: {identifiers: [{value: 00042}], name: {family: DOE}}"


def run(folder: Path, cases: str, mapping: str = MAPPING) -> tuple[list[CaseResult], list[Problem]]:
    made = good(folder, mapping)
    (folder / "own.test.yaml").write_text(cases, encoding="utf-8")
    return run_cases(made)


def one(folder: Path, case: str, mapping: str = MAPPING) -> CaseResult:
    (result,), problems = run(folder, f"- case: it\n{case}", mapping)
    assert not problems
    return result


def test_a_case_that_holds_has_no_differences(tmp_path: Path) -> None:
    result = one(tmp_path, f"{GIVEN}  expect: {{{WHOLE}, {PATIENT}}}\n")
    assert result.passed
    assert (result.name, result.line) == ("it", 1)


DIFFERENT = {
    "a field too many": (
        f"{{{WHOLE}, patient: {{identifiers: [{{value: 00042}}]}}}}",
        ["patient.name.family: 'DOE' was not expected"],
    ),
    "a field missing": (f"{{{WHOLE}, {PATIENT}, location: MAIN}}", ["location: expected 'MAIN', but there is none"]),
    "another value": (f"{{{WHOLE.replace('booked', 'changed')}, {PATIENT}}}", ["status: expected 'changed', got 'booked'"]),
    "a number that lost its zeros": (
        f"{{{WHOLE}, {PATIENT.replace('00042', '42')}}}",
        ["patient.identifiers.1.value: expected '42', got '00042'"],
    ),
    "another time zone": (
        f"{{{WHOLE.replace('Z', '+01:00')}, {PATIENT}}}",
        ["starts_at: expected '2026-11-30T14:30:00+01:00', got '2026-11-30T14:30:00Z'"],
    ),
    "an item too few": (
        f"{{{WHOLE}, patient: {{name: {{family: DOE}}}}}}",
        ["patient.identifiers.1.value: '00042' was not expected"],
    ),
    "a value where nothing is said": (f"{{{WHOLE}, {PATIENT}, reason: }}", ["reason: expected 'null', but there is none"]),
    "two results": (f"[{{{WHOLE}, {PATIENT}}}, {{id: F-78}}]", ["expected 2 result(s), got 1"]),
    "no result": ("[]", ["expected 0 result(s), got 1"]),
}


@pytest.mark.parametrize(("expect", "told"), DIFFERENT.values(), ids=DIFFERENT)
def test_a_case_that_does_not_hold_says_what_differs(tmp_path: Path, expect: str, told: list[str]) -> None:
    assert one(tmp_path, f"{GIVEN}  expect: {expect}\n").differences == told


@pytest.mark.parametrize(
    "expect",
    [
        f"{{{WHOLE}, patient.name.family: DOE, patient.identifiers.1.value: 00042}}",
        f"[{{{WHOLE}, {PATIENT}}}]",
        f"\n    id: F-77\n    status: booked\n    starts_at: 2026-11-30T14:30:00Z\n    {PATIENT}",
    ],
    ids=["by dotted path", "as a list of one", "as lines"],
)
def test_there_are_several_ways_to_write_the_same(tmp_path: Path, expect: str) -> None:
    assert one(tmp_path, f"{GIVEN}  expect: {expect}\n").passed


NO_ID = "\n  given: |\n    MSH|^~\\&|EPIC|RIVER|HUB|RIVER|2026||SIU^S12|42|P|2.5\n    SCH|P-9\n"
REASON = "SCH-2.1 is empty, but id needs it"

REJECTIONS = {
    "the very words": (f"{NO_ID}  rejected: {REASON}\n", []),
    "other words": (
        f"{NO_ID}  rejected: SCH-2.1 is empty\n",
        ["expected rejection: SCH-2.1 is empty", f"     but rejected: {REASON}"],
    ),
    "accepted after all": (f"{GIVEN}  rejected: {REASON}\n", [f"expected a rejection ({REASON}), but it was accepted"]),
    "rejected after all": (f"{NO_ID}  expect: {{id: P-9}}\n", [f"rejected: {REASON}"]),
}


@pytest.mark.parametrize(("case", "told"), REJECTIONS.values(), ids=REJECTIONS)
def test_a_rejection_is_exact_to_the_word(tmp_path: Path, case: str, told: list[str]) -> None:
    assert one(tmp_path, case).differences == told


def test_zone_authority_and_headers_are_those_of_the_case(tmp_path: Path) -> None:
    surroundings = "  zone: America/Chicago\n  authority: RIVER\n  headers: {practitioner: HOUSE}\n"
    expect = f"{WHOLE.replace('Z', '-06:00')}, practitioner: HOUSE, {PATIENT.replace('00042', '00042, authority: RIVER')}"
    assert one(tmp_path, f"{GIVEN}{surroundings}  expect: {{{expect}}}\n").passed


def test_a_mapping_that_writes_a_message_is_compared_segment_by_segment(tmp_path: Path) -> None:
    mapping = """
from: visit
to: x12
fields:
  sender: "'CLINIC'"
  receiver: "'HOUSE'"
  payer.id: payer.clearinghouse_id
  provider.npi: organisation.npi
  member_id: coverage.member_id
  service_date: service_date | date
  service_types: payer.service_types[*]
"""
    case = """
  now: "2026-11-23T15:00:00+00:00"
  given:
    appointment: {id: F-77}
    patient: {}
    coverage: {member_id: W100}
    payer: {payer: "1", name: A, clearinghouse_id: "9"}
    organisation: {name: A, npi: "1234567893"}
    service_date: 2026-11-24
  expect: |
    ISA*00*          *00*          *ZZ*CLINIC         *ZZ*HOUSE          *261123*1500*^*00501*000000001*0*T*:~
    GS*HS*CLINIC*HOUSE*20261123*1500*1*X*005010X279A1~
    ST*270*0001*005010X279A1~
    BHT*0022*13*TRACE0*20261123*1500~
    HL*1**20*1~
    NM1*PR*2******PI*9~
    HL*2*1*21*1~
    NM1*1P*2******XX*1234567893~
    HL*3*2*22*0~
    TRN*1*TRACE0*9123456789~
    NM1*IL*1******MI*W200~
    DTP*291*D8*20261124~
    EQ*30~
    SE*12*0001~
    GE*1*1~
    IEA*1*000000001~
"""
    result = one(tmp_path, case, mapping)
    assert result.differences == ["line 11: expected 'NM1*IL*1******MI*W200~', got 'NM1*IL*1******MI*W100~'"]


# Files of cases.


def test_a_mapping_without_cases_fails(tmp_path: Path) -> None:
    (result,), problems = run_cases(good(tmp_path, MAPPING))
    assert not problems
    assert not result.passed
    assert "own.test.yaml" in result.differences[0]


NO_LIST = {"an empty file": "", "an empty list": "[]\n", "a mapping": "case: a\n", "a list of texts": "- a\n", "a text": "a\n"}


@pytest.mark.parametrize("text", NO_LIST.values(), ids=NO_LIST)
def test_a_file_that_holds_no_cases_is_a_problem(tmp_path: Path, text: str) -> None:
    results, problems = run(tmp_path, text)
    assert not results
    assert [p.code for p in problems] == ["MAP-020"]


def test_a_case_file_that_is_no_yaml_is_one_problem(tmp_path: Path) -> None:
    results, problems = run(tmp_path, "- case: a\n  given: [\n")
    assert not results
    assert [p.code for p in problems] == ["CFG-002"]


CARELESS = {
    "an unknown field": (f"- case: a\n{GIVEN}  expects: {{}}\n  expect: {{{WHOLE}, {PATIENT}}}\n", 7),
    "neither expect nor rejected": (f"- case: a\n{GIVEN}", 1),
    "both": (f"- case: a\n{GIVEN}  expect: {{{WHOLE}, {PATIENT}}}\n  rejected: no\n", 1),
    "nothing given": ("- case: a\n  expect: {id: F-77}\n", 1),
}


@pytest.mark.parametrize(("text", "line"), CARELESS.values(), ids=CARELESS)
def test_a_case_with_a_mistake_of_form_is_told_with_its_place(tmp_path: Path, text: str, line: int) -> None:
    _, problems = run(tmp_path, text)
    assert [(p.code, p.line, Path(p.file).name) for p in problems] == [("MAP-020", line, "own.test.yaml")]


HOPELESS = {
    "headers as a text": f"{GIVEN}  headers: practitioner\n  expect: {{id: F-77}}\n",
    "a zone there is not": f"{GIVEN}  zone: Chicago\n  expect: {{id: F-77}}\n",
    "a zone as a list": f"{GIVEN}  zone: [UTC]\n  expect: {{id: F-77}}\n",
    "given as a list": "\n  given: [a]\n  expect: {id: F-77}\n",
    "given as fields": "\n  given: {id: F-77}\n  expect: {id: F-77}\n",
    "given without anything": "\n  given:\n  expect: {id: F-77}\n",
    "no message": "\n  given: hello\n  expect: {id: F-77}\n",
    "expect without anything": f"{GIVEN}  expect:\n",
    "expect as a text": f"{GIVEN}  expect: F-77\n",
}


@pytest.mark.parametrize("case", HOPELESS.values(), ids=HOPELESS)
def test_a_case_that_cannot_be_run_fails_and_the_others_run(tmp_path: Path, case: str) -> None:
    try:
        results, _ = run(tmp_path, f"- case: it\n{case}- case: good\n{GIVEN}  expect: {{{WHOLE}, {PATIENT}}}\n")
    except Exception as error:
        pytest.fail(f"{type(error).__name__} came out: {error}", pytrace=False)
    assert [result.passed for result in results] == [False, True]


BROKEN = {
    "transforms that do not fit together": MAPPING.replace("SCH-11.4 | datetime?", "SCH-11.4 | datetime | upper"),
    "a list without fields": MAPPING.replace('fields: {value: "1", authority: 4.1 | authority}', "fields: {}"),
}


@pytest.mark.parametrize("mapping", BROKEN.values(), ids=BROKEN)
def test_a_mapping_that_breaks_on_a_case_is_a_mistake_with_a_name_and_no_failure_of_the_program(
    tmp_path: Path, mapping: str
) -> None:
    loaded, problems = load(tmp_path, mapping)
    if loaded is None:
        assert problems
        return
    (tmp_path / "own.test.yaml").write_text(f"- case: it\n{GIVEN}  expect: {{{WHOLE}, {PATIENT}}}\n", encoding="utf-8")
    try:
        (result,), _ = run_cases(loaded)
    except Exception as error:
        pytest.fail(f"{type(error).__name__} came out: {error}", pytrace=False)
    assert not result.passed


def test_a_270_from_a_birth_date_that_is_no_date_is_a_failed_case_and_no_failure_of_the_program(tmp_path: Path) -> None:
    """An overlay that forgets `| date` gives the text of the record."""
    mapping = "extends: visit_to_270\nfields: {patient.birth_date: patient.name.birth_date}\n"
    case = """
  given:
    appointment: {id: F-77}
    patient: {name: {family: Doe, birth_date: 1980-02-29}}
    coverage: {member_id: W100}
    payer: {payer: "1", name: A, clearinghouse_id: "9"}
    organisation: {name: A, npi: "1234567893"}
    service_date: 2026-11-24
  expect: x
"""
    try:
        result = one(tmp_path, case, mapping)
    except Exception as error:
        pytest.fail(f"{type(error).__name__} came out: {error}", pytrace=False)
    assert not result.passed


# Comparing.


@pytest.mark.parametrize(
    ("value", "flat"),
    [
        ({"a": {"b": [{"c": "x"}, {"c": "y"}]}}, {"a.b.1.c": "x", "a.b.2.c": "y"}),
        ({"a": None, "b": "", "c": True, "d": False, "e": 0}, {"a": "null", "b": "", "c": "true", "d": "false", "e": "0"}),
        (Patient(name=Person(family="DOE", given=None)), {"name.family": "DOE", "name.given": "null"}),
        (Appointment(id="F-77"), {"id": "F-77"}),
        ([], {}),
    ],
)
def test_results_are_compared_by_dotted_path(value: Any, flat: dict[str, str]) -> None:
    assert flatten(value) == flat


def test_differences_stand_in_the_order_a_person_reads() -> None:
    want = {"items": [{"n": str(number)} for number in range(12)]}
    got = {"items": [{"n": "x"} for _ in range(12)]}
    assert [line.split(":")[0] for line in differences(want, got)] == [f"items.{number}.n" for number in range(1, 13)]


def test_an_empty_text_is_not_the_same_as_nothing() -> None:
    assert differences({"a": ""}, {"a": None}) == ["a: expected '', got 'null'"]
    assert differences({"a": None}, {}) == ["a: expected 'null', but there is none"]


def test_an_empty_list_is_a_field_too_many() -> None:
    assert differences({}, {"coverages": []})
    assert differences({"name": {}}, {})
