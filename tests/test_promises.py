"""The README names a test for each promise, and there is one of that name."""

from __future__ import annotations

import re

import pytest

from hub.bus.failpoints import MUTANTS
from tests.chaos.test_mutants import CAMPAIGNS
from tests.support import ROOT

_README = (ROOT / "README.md").read_text(encoding="utf-8")
_ROW = re.compile(r"^\| (P\d) \| (.+) \| (.+) \|$", re.MULTILINE)
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def test_all_eight_promises_are_printed() -> None:
    assert [name for name, _, _ in _ROW.findall(_README)] == [f"P{number}" for number in range(1, 9)]


@pytest.mark.parametrize(("promise", "shown"), [pytest.param(name, shown, id=name) for name, _, shown in _ROW.findall(_README)])
def test_every_promise_has_tests_that_exist(promise: str, shown: str) -> None:
    tests = _TEST.findall(shown)
    assert tests, f"{promise} has no test"
    for file, name in tests:
        assert re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), f"{file}::{name}"


def test_every_mutant_has_a_campaign() -> None:
    assert CAMPAIGNS.keys() == MUTANTS.keys()
