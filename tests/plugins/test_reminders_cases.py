"""The policy file of the how-to page passes its own cases, and a case that expects something else fails."""

from __future__ import annotations

from pathlib import Path

from hub.bus.cases import cases_of
from tests.support import ROOT
from tests.test_docs import PLACES, blocks


def shown(folder: Path) -> Path:
    """The clinic of the page, with its policies and their cases."""
    file = folder / "clinic.yaml"
    for text in blocks(ROOT / "docs/how-to/reminders.md", "yaml"):
        kind, _, name = text.split("\n")[0].removeprefix("# ").partition(" ")
        (file if kind == "clinic" else folder / PLACES[kind].format(name)).write_text(text, encoding="utf-8")
    return file


def test_cases_of_policies_say_what_leaves(tmp_path: Path) -> None:
    results, problems = cases_of(shown(tmp_path), [tmp_path / "reminders.test.yaml"])
    assert problems == []
    assert [(result.name, result.differences) for result in results] == [
        ("five days before, in the patient's language", []),
        ("in the evening nobody is disturbed", []),
    ]


def test_a_template_that_changes_fails_its_case(tmp_path: Path) -> None:
    file = shown(tmp_path)
    policies = tmp_path / "reminders.yaml"
    policies.write_text(policies.read_text(encoding="utf-8").replace("su visita es", "su cita es"), encoding="utf-8")
    results, _ = cases_of(file, [tmp_path / "reminders.test.yaml"])
    assert [result.passed for result in results] == [False, True]
