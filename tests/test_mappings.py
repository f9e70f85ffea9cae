"""The cases of the built-in mappings hold, and no part of a mapping can be changed without a case noticing."""

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from hub.catalogue import Catalogue
from hub.mapping import load_mapping
from hub.mapping.cases import CaseResult, case_file, run_cases
from hub.registry import Registry
from hub.yaml_text import load_file
from tests.support import ROOT, run_hub

NAMES = (
    "271_to_coverage",
    "adt_to_deletion",
    "adt_to_patient",
    "adt_to_visit_move",
    "adt_to_visit_state",
    "call_reply",
    "coverage_to_hl7_in1",
    "coverage_to_hl7_nte",
    "coverage_to_hl7_z",
    "coverages_to_coverage",
    "document_to_kind",
    "document_to_mdm",
    "document_to_oru",
    "eligibility_v3_to_coverage",
    "mdm_to_document",
    "oru_to_document",
    "phone_event",
    "reply_to_hl7",
    "siu_to_appointment",
    "text_reply",
    "visit_to_270",
    "visit_to_coverages_form",
    "visit_to_eligibility_v3",
)


@cache
def built_ins() -> Catalogue:
    return Registry().catalogue


def results_of(name: str, path: Path | None = None) -> list[CaseResult]:
    """The cases of a mapping; of another file under its name, when one is given."""
    catalogue = built_ins()
    if path is not None:
        catalogue = replace(catalogue, mappings={**catalogue.mappings, name: path})
    mapping, problems = load_mapping(name, catalogue)
    assert mapping is not None, problems
    results, problems = run_cases(mapping)
    assert not problems
    return results


built_in = cache(results_of)


def all_cases() -> list[Any]:
    return [
        pytest.param(name, index, id=f"{name}: {result.name}") for name in NAMES for index, result in enumerate(built_in(name))
    ]


@pytest.mark.parametrize(("name", "index"), all_cases())
def test_a_case_of_a_built_in_mapping_holds(name: str, index: int) -> None:
    result = built_in(name)[index]
    assert result.passed, "\n".join([f"{result.file}:{result.line}", *result.differences])


def test_every_built_in_mapping_is_known_here() -> None:
    files = {path.stem for path in (ROOT / "mappings").glob("*.yaml") if not path.name.endswith(".test.yaml")}
    assert files == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_case_has_a_name_of_its_own(name: str) -> None:
    names = [result.name for result in built_in(name)]
    assert len(names) == len(set(names))
    assert not [case for case in names if re.fullmatch(r"case \d+", case)]


def test_the_same_cases_run_without_pytest(tmp_path: Path) -> None:
    done = run_hub("test", "--json", cwd=tmp_path)
    summary = json.loads(done.stdout)
    assert len(summary["cases"]) == sum(len(built_in(name)) for name in NAMES)
    assert done.returncode == (1 if summary["failed"] else 0)


# Mutations.

Mutant = tuple[str, dict[str, Any]]


def mutants(data: dict[str, Any]) -> Iterator[Mutant]:
    """The mapping with one thing left out: a field, a part of a rule, a line of a table, an `each`."""
    if "each" in data:
        yield "each", {key: value for key, value in data.items() if key != "each"}
    yield from without_one(data, ("fields",)) if "fields" in data else ()
    if "extends" in data:
        yield from ((end, {key: value for key, value in data.items() if key != end}) for end in ("from", "to") if end in data)
    for table, rows in data.get("tables", {}).items():
        for code in rows:
            mutant = copy.deepcopy(data)
            del mutant["tables"][table][code]
            yield f"tables.{table}.{code}", mutant


def without_one(data: dict[str, Any], key: tuple[str, ...]) -> Iterator[Mutant]:
    fields: Any = data
    for part in key:
        fields = fields[part]
    for name, rule in fields.items():
        here = (*key, name)
        if len(fields) > 1:
            yield ".".join(here), changed(data, here, None)
        if isinstance(rule, dict):
            if "when" in rule:
                yield f"{'.'.join(here)}: when", changed(data, (*here, "when"), None)
            yield from without_one(data, (*here, "fields"))
            continue
        parts = [part.strip() for part in rule.split("|")]
        for number in range(1, len(parts)):
            rest = " | ".join(parts[:number] + parts[number + 1 :])
            yield f"{'.'.join(here)}: {parts[number]}", changed(data, here, rest)
        for number, part in enumerate(parts):
            if "?" in part:
                strict = " | ".join([*parts[:number], part.replace("?", ""), *parts[number + 1 :]])
                yield f"{'.'.join(here)}: ?", changed(data, here, strict)


def changed(data: dict[str, Any], key: tuple[str, ...], rule: str | None) -> dict[str, Any]:
    mutant = copy.deepcopy(data)
    fields: Any = mutant
    for part in key[:-1]:
        fields = fields[part]
    if rule is None:
        del fields[key[-1]]
    else:
        fields[key[-1]] = rule
    return mutant


SAME_ALL_THE_SAME = {
    "fields.owes.segments: number",  # the record makes a number of the text by itself
    "fields.deceased: is Y",  # and a truth value of Y and N
}


@pytest.mark.parametrize("name", NAMES)
def test_no_part_of_a_mapping_can_go_without_a_case_noticing(name: str, tmp_path: Path) -> None:
    original = ROOT / "mappings" / f"{name}.yaml"
    good = {result.name for result in built_in(name) if result.passed}
    path = tmp_path / f"{name}.yaml"
    case_file_of_mutant = tmp_path / f"{name}.test.yaml"
    case_file_of_mutant.write_text(original.with_name(f"{name}.test.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    survivors = []
    for what, mutant in mutants(load_file(original).data):
        path.write_text(json.dumps(mutant, ensure_ascii=False), encoding="utf-8")
        if what not in SAME_ALL_THE_SAME and not is_noticed(name, path, good):
            survivors.append(what)
    assert not survivors, survivors


def is_noticed(name: str, path: Path, good: set[str]) -> bool:
    """True when a case that held does not hold any more, or the mapping is refused, or fails."""
    try:
        return not good <= {result.name for result in results_of(name, path) if result.passed}
    except Exception:
        return True


def test_a_case_notices_one_field_too_many(tmp_path: Path) -> None:
    text = (ROOT / "mappings" / "siu_to_appointment.yaml").read_text(encoding="utf-8")
    path = tmp_path / "siu_to_appointment.yaml"
    path.write_text(text.replace("  type: SCH-8.1\n", "  type: SCH-8.1\n  site: MSH-4\n"), encoding="utf-8")
    (tmp_path / "siu_to_appointment.test.yaml").write_text(
        "- case: a booking\n  given: |\n    MSH|^~\\&|E|RIVER|H|R|2026||SIU^S12|1|P|2.5\n    SCH||F-77\n"
        "  expect: {id: F-77, status: booked}\n",
        encoding="utf-8",
    )
    (result,) = results_of("siu_to_appointment", path)
    assert result.differences == ["site: 'RIVER' was not expected"]


def test_the_file_of_cases_stands_beside_its_mapping() -> None:
    mapping, _ = load_mapping("adt_to_patient", Registry().catalogue)
    assert mapping is not None
    assert case_file(mapping) == ROOT / "mappings" / "adt_to_patient.test.yaml"
