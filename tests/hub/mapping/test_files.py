"""Mapping files are checked whole before anything runs: each mistake has its place and its help."""

from pathlib import Path
from typing import Any

import pytest

from connectors.simulators.ehr import segment
from hub.errors import MessageUnusable
from hub.mapping import load_mapping, run_mapping
from hub.message import Message
from hub.records import Coverage, Patient, Person
from tests.hub.mapping.bench import HEADER, catalogue, context, good, load, records
from tests.hub.settings.planted import found, plant

PATIENT = "from: hl7v2\nto: patient\nfields:\n"

MARKED = """
about: planted mistakes
from: «MAP-013»hl7v3
to: «MAP-013»patients
«MAP-011»feilds: {}
fields:
  email: PID-13.4
tables:
  sexes: «MAP-014»{F: [female]}
  empty: «MAP-014»{}
  plain: «MAP-014»some text
  missing.csv: «MAP-015»{unknown: keep}
  strange.csv: «MAP-014»{unknown: drop}
"""

MARKED_FIELDS = """
from: hl7v2
to: patient
each: «MAP-019»PIDX
fields:
  «MAP-016»nam.family: PID-5.1
  name.«»given: PID-5.2 | titel
  name.sex: «MAP-018»PID-8 | table sxes
  phone: «MAP-019»PID-
  email: «MAP-019»PID-13.4 | default PID.4
  self_pay: «MAP-018»PV1-20 | is
  deceased: «MAP-018»PID-30 PID-31
  provisional: «MAP-018»PID-30 || required
  identifiers: «MAP-017»[PID-3]
  retires: «MAP-017»{each: MRG-1}
  coverages:
    each: «MAP-019»IN
    «MAP-011»filds: {}
    fields:
      «MAP-016»payr: IN1-3
      payer: IN1-3
      «MAP-016»subscriber.famly: IN1-16.1
      priority: «MAP-018»IN1-22 | numbr
  «CFG-007»phone: PID-14
""".replace("name.«»given: PID-5.2 | titel", "name.given: «MAP-018»PID-5.2 | titel")


@pytest.mark.parametrize("marked", [MARKED, MARKED_FIELDS], ids=["the head and tables", "the fields"])
def test_every_mistake_of_a_file_is_told_at_once_with_its_place(tmp_path: Path, marked: str) -> None:
    expected = plant(tmp_path / "own.yaml", marked)
    (tmp_path / "strange.csv").write_text("code,meaning\n", encoding="utf-8")
    known = catalogue()
    known.mappings["own"] = tmp_path / "own.yaml"
    mapping, problems = load_mapping("own", known)
    assert mapping is None
    assert found(problems) == expected


SPELLING = {
    "a field of the file": (f"{PATIENT}  phone: PID-13\ntabels: {{}}\n", "tables"),
    "a format": ("from: hl7v3\nto: patient\nfields: {phone: PID-13}\n", "hl7v2"),
    "a record to read": ("from: vist\nto: x12\nfields: {member_id: coverage.member_id}\n", "visit"),
    "a record to make": ("from: hl7v2\nto: patiant\nfields: {phone: PID-13}\n", "patient"),
    "a field of the record": (f"{PATIENT}  phon: PID-13\n", "phone"),
    "a field within it": (f"{PATIENT}  name.famly: PID-5.1\n", "family"),
    "a field of a list": (f"{PATIENT}  coverages: {{each: IN1, fields: {{memberid: IN1-36}}}}\n", "member_id"),
    "a transform": (f"{PATIENT}  phone: PID-13 | digts\n", "digits"),
    "a table": (f"{PATIENT}  name.sex: PID-8 | table sxes\ntables: {{sexes: {{F: F}}}}\n", "sexes"),
    "a mapping to extend": ("extends: adt_to_pateint\nfields: {phone: PID-14}\n", "adt_to_patient"),
}


@pytest.mark.parametrize(("text", "meant"), SPELLING.values(), ids=SPELLING)
def test_a_misspelt_name_brings_the_right_one(tmp_path: Path, text: str, meant: str) -> None:
    _, problems = load(tmp_path, text)
    assert any(p.help == f"did you mean {meant!r}?" for p in problems), problems


def test_a_wrong_field_of_a_270_says_which_there_are(tmp_path: Path) -> None:
    _, (problem,) = load(tmp_path, "from: visit\nto: x12\nfields: {memberid: coverage.member_id}\n")
    assert (problem.code, problem.line, problem.column) == ("MAP-016", 3, 10)
    assert "member_id" in problem.text + problem.help


SHAPES = {
    "an empty file": "",
    "a list": "- from: hl7v2\n",
    "a text": "hl7v2\n",
    "no fields": "from: hl7v2\nto: patient\n",
    "empty fields": "from: hl7v2\nto: patient\nfields: {}\n",
    "fields as a list": "from: hl7v2\nto: patient\nfields: [phone]\n",
    "from as a list": f"from: [hl7v2]\n{PATIENT[12:]}  phone: PID-13\n",
    "to as a mapping": "from: hl7v2\nto: {patient: x}\nfields: {phone: PID-13}\n",
    "from left out": "to: patient\nfields: {phone: PID-13}\n",
    "to left out": "from: hl7v2\nfields: {phone: PID-13}\n",
    "to a format that cannot be written": "from: hl7v2\nto: hl7v2\nfields: {phone: PID-13}\n",
    "each as a list": f"each: [PID]\n{PATIENT}  phone: PID-13\n",
    "each as a mapping": f"each: {{PID: x}}\n{PATIENT}  phone: PID-13\n",
    "tables as a list": f"tables: [a]\n{PATIENT}  phone: PID-13\n",
    "a table as a list": f"tables: {{a: [b]}}\n{PATIENT}  phone: PID-13\n",
    "a rule as a list": f"{PATIENT}  phone: [PID-13]\n",
    "a rule without anything": f"{PATIENT}  phone:\n",
    "a list without fields": f"{PATIENT}  coverages: {{each: IN1}}\n",
    "a list with empty fields": f"{PATIENT}  coverages: {{each: IN1, fields: {{}}}}\n",
    "a list with fields as a text": f"{PATIENT}  coverages: {{each: IN1, fields: IN1-36}}\n",
    "a list each of a list": f"{PATIENT}  coverages: {{each: [IN1], fields: {{payer: IN1-3}}}}\n",
    "a list where one value belongs": f"{PATIENT}  phone: {{each: PID-13, fields: {{value: '1'}}}}\n",
    "one value where a list belongs": f"{PATIENT}  coverages: IN1-36\n",
    "extends as a list": f"extends: [adt_to_patient]\n{PATIENT}  phone: PID-13\n",
    "extends as a mapping": f"extends: {{a: b}}\n{PATIENT}  phone: PID-13\n",
    "no YAML": "fields: [\n",
}


@pytest.mark.parametrize("text", SHAPES.values(), ids=SHAPES)
def test_a_file_of_another_shape_is_told_and_nothing_fails(tmp_path: Path, text: str) -> None:
    try:
        mapping, problems = load(tmp_path, text)
    except Exception as error:
        pytest.fail(f"{type(error).__name__} came out instead of a problem: {error}", pytrace=False)
    assert mapping is None
    assert problems
    assert all(p.line >= 1 and p.file == str(tmp_path / "own.yaml") for p in problems)


def test_a_file_that_is_no_yaml_is_one_problem(tmp_path: Path) -> None:
    _, problems = load(tmp_path, "fields: [\n")
    assert [p.code for p in problems] == ["CFG-002"]


# Tables.


def test_a_table_may_stand_in_a_file_beside_the_mapping(tmp_path: Path) -> None:
    text = f"{PATIENT}  name.sex: PID-8 | table sexes.csv\ntables: {{sexes.csv: {{unknown: keep}}}}\n"
    mapping = good(tmp_path, text, sexes_csv='\ufeffcode,meaning,remark\r\n F , female,\r\n"M","male, adult",x\r\n')
    assert [records(mapping, f"{HEADER}\nPID|1|||||||{code}")[0]["name"]["sex"] for code in "FMX"] == [
        "female", "male, adult", "X",
    ]  # fmt: skip


TABLES = {
    "no such file": None,
    "no such columns": "from,to\nF,female\n",
    "no such columns and no lines": "from,to\n",
    "nothing in it": "",
    "a line without a meaning": "code,meaning\nF\n",
    "not UTF-8": b"code,meaning\nF,f\xe9minin\n",
    "a code that stands twice": "code,meaning\nF,female\nM,male\nF,feminine\n",
}


@pytest.mark.parametrize("content", TABLES.values(), ids=TABLES)
def test_a_table_file_that_cannot_be_used_is_a_problem(tmp_path: Path, content: str | bytes | None) -> None:
    if content is not None:
        (tmp_path / "sexes.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    text = f"{PATIENT}  name.sex: PID-8 | table sexes.csv\ntables:\n  sexes.csv: {{}}\n"
    try:
        mapping, problems = load(tmp_path, text)
    except Exception as error:
        pytest.fail(f"{type(error).__name__} came out instead of a problem: {error}", pytrace=False)
    assert mapping is None
    assert [p.code for p in problems] == ["MAP-015"]


# Overlays.

BASE = """
from: hl7v2
to: patient
each: PID
fields:
  name.family: PID-5.1
  name.sex: PID-8 | table sexes
  phone: PID-13.1
  coverages:
    each: IN1
    fields: {payer: IN1-3, member_id: IN1-36, group: IN1-8}
tables:
  sexes: {F: female, M: male}
"""
IN1 = segment("IN1", f1="1", f3="60054", f8="G-7", f36="W100", f49="X900")
SENT = f"{HEADER}\nPID|1||1||DOE^JANE||19800229|F|||||1^^^^^^^^^^^2|3\n{IN1}"


def overlaid(folder: Path, overlay: str, **files: str) -> dict[str, object]:
    (made,) = records(good(folder, overlay, base_yaml=BASE, **files), SENT)
    return made


def test_an_overlay_lays_its_fields_over_those_of_another_mapping(tmp_path: Path) -> None:
    made = overlaid(tmp_path, "extends: base\nfields: {phone: PID-14.1, name.given: PID-5.2}\n")
    assert made["phone"] == "3"
    assert made["name"] == {"family": "DOE", "given": "JANE", "sex": "female"}


def test_an_overlay_of_an_overlay_counts_most(tmp_path: Path) -> None:
    middle = "extends: base\nfields: {phone: PID-14.1, email: \"'middle'\"}\n"
    made = overlaid(tmp_path, "extends: middle\nfields: {email: \"'top'\"}\n", middle_yaml=middle)
    assert (made["phone"], made["email"]) == ("3", "top")


def test_an_overlay_changes_one_code_of_a_table_and_keeps_the_others(tmp_path: Path) -> None:
    mapping = good(tmp_path, "extends: base\ntables: {sexes: {M: man, X: other}}\n", base_yaml=BASE)
    assert [records(mapping, f"{HEADER}\nPID|1|||||||{code}")[0]["name"]["sex"] for code in "FMX"] == ["female", "man", "other"]


def test_an_overlay_changes_one_field_of_a_list_and_keeps_the_others(tmp_path: Path) -> None:
    made = overlaid(tmp_path, "extends: base\nfields:\n  coverages:\n    fields: {member_id: IN1-49}\n")
    assert made["coverages"] == [{"payer": "60054", "member_id": "X900", "group": "G-7"}]


def test_a_table_file_of_the_base_is_looked_for_beside_the_base(tmp_path: Path) -> None:
    base = f"{PATIENT}  name.sex: PID-8 | table sexes.csv\ntables: {{sexes.csv: {{}}}}\n"
    known = catalogue()
    for name, folder, text in (("base", "general", base), ("own", "clinic", "extends: base\nfields: {phone: PID-13.1}\n")):
        (tmp_path / folder).mkdir()
        known.mappings[name] = tmp_path / folder / f"{name}.yaml"
        known.mappings[name].write_text(text, encoding="utf-8")
    (tmp_path / "general" / "sexes.csv").write_text("code,meaning\nF,female\n", encoding="utf-8")
    mapping, problems = load_mapping("own", known)
    assert not problems
    assert mapping is not None
    assert records(mapping, SENT)[0]["name"]["sex"] == "female"


@pytest.mark.parametrize(
    ("overlay", "files", "words"),
    [
        ("extends: own\n", {}, "extends itself"),
        ("extends: other\n", {"other_yaml": "extends: own\n"}, "extends itself"),
        ("extends: nothing\n", {}, "does not exist"),
        ("extends: other\n", {"other_yaml": "extends: nothing\n"}, "does not exist"),
    ],
    ids=["itself", "in a circle", "nothing", "something that extends nothing"],
)
def test_an_overlay_of_what_cannot_be_extended_is_told(tmp_path: Path, overlay: str, files: dict[str, str], words: str) -> None:
    _, problems = load(tmp_path, f"{overlay}fields: {{phone: PID-13}}\n", **files)
    assert "MAP-012" in {p.code for p in problems}
    assert any(words in p.text for p in problems)


def test_a_mistake_that_came_from_the_base_names_the_file_of_the_base(tmp_path: Path) -> None:
    base = f"{PATIENT}  phone: PID-13 | titel\n"
    _, problems = load(tmp_path, "extends: base\nfields:\n  email: PID-13.4\n", base_yaml=base)
    assert [(p.code, Path(p.file).name, p.line) for p in problems] == [("MAP-018", "base.yaml", 4)]


def test_an_overlay_that_hits_a_base_which_is_no_yaml_says_so(tmp_path: Path) -> None:
    mapping, problems = load(tmp_path, "extends: base\nfields: {email: PID-13.4}\n", base_yaml="fields: [\n")
    assert mapping is None
    assert ("CFG-002", "base.yaml") in {(p.code, Path(p.file).name) for p in problems}


# Groups, and what is empty.


def test_one_result_for_each_group_and_one_item_for_each_group_within(tmp_path: Path) -> None:
    text = f"{HEADER}\nPID|1||1||DOE\nIN1|1||A\nIN1|2||B\nPID|2||2||ROE\nIN1|1||C"
    made = records(good(tmp_path, BASE), text)
    assert [[c["payer"] for c in patient["coverages"]] for patient in made] == [["A", "B"], ["C"]]


ITEMS = """
from: hl7v2
to: patient
fields:
  identifiers: {each: PID-3, fields: {type: "5", value: "1", authority: 4.1 | authority}}
  coverages:
    each: IN1
    when: {IN1-2: [P*, HMO], not: {IN1-22: "9"}}
    fields: {payer: IN1-3, relationship: IN1-17 | default 'self', payer_name: IN1-4, plan: IN1-2}
"""


def items(folder: Path, text: str) -> dict[str, Any]:
    (made,) = records(good(folder, ITEMS), f"{HEADER}\n{text}", authority="RIVER")
    return made


def test_an_item_the_message_says_nothing_in_is_left_out(tmp_path: Path) -> None:
    (made,) = records(good(tmp_path, BASE), f'{HEADER}\nPID|1||1||DOE\nIN1|1||A\nIN1|2\nIN1|3||""\nIN1|4||C')
    assert [c["payer"] for c in made["coverages"]] == ["A", "C"]


def test_an_item_is_an_item_by_any_of_its_fields(tmp_path: Path) -> None:
    assert items(tmp_path, "PID|1\nIN1|1|HMO||AETNA") == {
        "coverages": [{"relationship": "self", "payer_name": "AETNA", "plan": "HMO"}]
    }


def test_an_item_without_what_every_item_must_have_is_left_out(tmp_path: Path) -> None:
    """A number of the patient is one by its value, whatever else is said of it."""
    assert items(tmp_path, "PID|1||^^^RIVER^MR~7~^^^STATE^PI") == {"identifiers": [{"value": "7", "authority": "RIVER"}]}


def test_only_items_for_which_the_filter_holds_are_made(tmp_path: Path) -> None:
    made = items(tmp_path, f"PID|1\nIN1|1|PPO|A\nIN1|2|MCR|B\nIN1|3|HMO|C\n{segment('IN1', f2='PPO', f3='D', f22='9')}")
    assert [c["payer"] for c in made["coverages"]] == ["A", "C"]


FILTERS = {
    "a path": ("{IN1: A}", "MAP-019"),
    "a header": ("{type: ADT^A40}", "MAP-019"),
    "a list": ("[IN1-2]", "MAP-021"),
    "values that are none": ("{IN1-2: {a: b}}", "MAP-021"),
    "not": ("{not: {IN1: A}}", "MAP-019"),
}


@pytest.mark.parametrize(("when", "code"), FILTERS.values(), ids=FILTERS)
def test_a_filter_that_cannot_hold_is_told(tmp_path: Path, when: str, code: str) -> None:
    mapping, problems = load(tmp_path, f"{PATIENT}  coverages: {{each: IN1, when: {when}, fields: {{payer: IN1-3}}}}\n")
    assert mapping is None
    assert [(p.code, p.line) for p in problems] == [(code, 4)]


def test_a_component_alone_is_read_only_within_a_field(tmp_path: Path) -> None:
    _, (problem,) = load(tmp_path, f"{PATIENT}  phone: '13.1'\n")
    assert (problem.code, problem.line) == ("MAP-019", 4)


def test_no_items_are_no_list_so_that_nothing_known_is_taken_away(tmp_path: Path) -> None:
    (made,) = records(good(tmp_path, BASE), f"{HEADER}\nPID|1||1||DOE")
    assert "coverages" not in made


def test_empty_is_not_said_and_null_is_said_to_be_empty(tmp_path: Path) -> None:
    empty, null = (records(good(tmp_path, BASE), f"{HEADER}\nPID|1||1||DOE||||||||{sent}")[0] for sent in ("", '""'))
    assert "phone" not in empty
    assert null["phone"] is None


def test_a_mapping_from_a_record_reads_its_fields_lists_and_items(tmp_path: Path) -> None:
    text = """
from: patient
to: coverage_check
fields:
  id: id
  payer: coverages[1].payer
  plan_name: coverages[2].plan | default 'none'
  trace: coverages[*].payer
  service_date: name.birth_date | date
"""
    patient = Patient(id="p-1", name=Person(birth_date="1980-02-29"), coverages=[Coverage(payer="A"), Coverage(payer="B")])
    result = run_mapping(good(tmp_path, text), Message(patient, "patient"), context())
    made = result.records[0].model_dump(mode="json", exclude_unset=True)
    assert made == {"id": "p-1", "payer": "A", "plan_name": "none", "trace": ["A", "B"], "service_date": "1980-02-29"}


@pytest.mark.parametrize(("format", "body"), [("x12", b"ISA*"), ("bytes", b"x"), ("patient", b"{}"), ("hl7v2", b"no message")])
def test_a_message_of_another_kind_is_rejected_and_never_misread(tmp_path: Path, format: str, body: bytes) -> None:
    with pytest.raises(MessageUnusable) as caught:
        run_mapping(good(tmp_path, BASE), Message(body, format), context())
    assert caught.value.code in ("MAP-004", "HL7-100")


def test_what_does_not_make_a_whole_record_is_rejected_with_the_field(tmp_path: Path) -> None:
    text = "from: hl7v2\nto: appointment\nfields:\n  id: PID-3.1\n  starts_at: PID-7\n  status: PID-8\n"
    with pytest.raises(MessageUnusable) as caught:
        records(good(tmp_path, text), f"{HEADER}\nPID|1||1||||CANARY-1|CANARY-2")
    assert caught.value.code == "MAP-005"
    assert "starts_at" in str(caught.value)
    assert "status" in str(caught.value)
    assert "CANARY" not in str(caught.value)
