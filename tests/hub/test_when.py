"""Filters of flows: headers or paths, any of a list, all of several keys, `not`, `*`, and nothing else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from hub.when import glob, keys_of, parse_when
from tests.hub.settings.planted import found, look, look_planted

MESSAGE = {"type": "SIU^S12", "format": "hl7v2", "PV1-2": "O", "PID-3[5=MR].1": "00042", "MSH-4": "RIVER[2]"}


def holds(data: Any, values: dict[str, str] | None = None) -> bool:
    def refuse(key: object, text: str) -> None:
        raise AssertionError(text)

    known = MESSAGE if values is None else values
    return parse_when(data, refuse).holds(known.get)


CASES = {
    "no filter": (None, True),
    "an empty filter": ({}, True),
    "the same text": ({"type": "SIU^S12"}, True),
    "another text": ({"type": "SIU^S13"}, False),
    "only the whole text": ({"type": "SIU^S1"}, False),
    "not a part of it": ({"type": "IU^S12"}, False),
    "a ^ is a ^": ({"type": "^SIU"}, False),
    "a star": ({"type": "SIU^*"}, True),
    "a star alone": ({"type": "*"}, True),
    "a star for nothing": ({"type": "SIU^S12*"}, True),
    "stars around": ({"type": "*U^S*"}, True),
    "a star in the middle": ({"type": "S*2"}, True),
    "a star that does not fit": ({"type": "ADT*"}, False),
    "a question mark is one": ({"type": "SIU^S1?"}, False),
    "a dot is a dot": ({"type": "SIU.S12"}, False),
    "brackets are brackets": ({"MSH-4": "RIVER[2]"}, True),
    "brackets are no choice of letters": ({"PV1-2": "[OI]"}, False),
    "a bar is no choice": ({"PV1-2": "O|I"}, False),
    "a plus is a plus": ({"PID-3[5=MR].1": "0+42"}, False),
    "capitals matter": ({"type": "siu^s12"}, False),
    "any of a list": ({"type": ["ADT^*", "SIU^S12"]}, True),
    "none of a list": ({"type": ["ADT^*", "SIU^S13"]}, False),
    "all of several keys": ({"type": "SIU^*", "PV1-2": "O"}, True),
    "one of several keys fails": ({"type": "SIU^*", "PV1-2": "I"}, False),
    "not": ({"not": {"type": "ADT^*"}}, True),
    "not what it is": ({"not": {"type": "SIU^*"}}, False),
    "not any of a list": ({"not": {"PV1-2": ["I", "O"]}}, False),
    "not both at once": ({"not": {"type": "SIU^*", "PV1-2": "I"}}, True),
    "not both, and both it is": ({"not": {"type": "SIU^*", "PV1-2": "O"}}, False),
    "not not": ({"not": {"not": {"type": "SIU^*"}}}, True),
    "beside not": ({"type": "SIU^*", "not": {"PV1-2": "I"}}, True),
    "a value that is not there": ({"PV1-3": "X"}, False),
    "a value that is not there is empty": ({"PV1-3": ""}, True),
    "a star takes what is not there": ({"PV1-3": "*"}, True),
    "not empty": ({"not": {"PV1-2": ""}}, True),
    "leading zeros count": ({"PID-3[5=MR].1": "42"}, False),
}


@pytest.mark.parametrize(("data", "expected"), CASES.values(), ids=CASES)
def test_a_filter_holds(data: Any, expected: bool) -> None:
    assert holds(data) is expected


@given(st.text(max_size=20), st.text(max_size=20))
@settings(max_examples=300, deadline=None)
def test_a_text_without_a_star_fits_itself_and_nothing_else(pattern: str, other: str) -> None:
    pattern = pattern.replace("*", "")
    assert glob(pattern).fullmatch(pattern)
    assert bool(glob(pattern).fullmatch(other)) == (pattern == other)


@given(st.text(max_size=10), st.text(max_size=10), st.text(max_size=30))
@settings(max_examples=200, deadline=None)
def test_a_star_stands_for_any_characters_even_line_ends(before: str, after: str, middle: str) -> None:
    before, after = before.replace("*", ""), after.replace("*", "")
    assert glob(f"{before}*{after}").fullmatch(before + middle + after)


@pytest.mark.timeout(2)
def test_many_stars_do_not_take_for_ever() -> None:
    """A partner chooses the value: a filter with stars must not stop the hub for it."""
    assert not glob("*a" * 8 + "*b").fullmatch("a" * 400)


WRONG = {
    "a list": [1],
    "a text": "SIU^S12",
    "a key without a value": {"type": None},
    "an empty list": {"type": []},
    "a mapping as value": {"type": {"is": "SIU^S12"}},
    "a mapping in a list": {"type": ["SIU^S12", {"a": "b"}]},
    "not with a text": {"not": "SIU^S12"},
    "not with a list": {"not": [{"type": "SIU^S12"}]},
}


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG)
def test_a_filter_of_another_shape_is_refused(data: Any) -> None:
    told: list[str] = []
    report: Callable[..., None] = lambda _, text: told.append(text)  # noqa: E731
    parse_when(data, report)
    assert len(told) == 1


def test_the_keys_of_a_filter_are_known_even_under_not() -> None:
    when = parse_when({"type": "a", "not": {"PV1-2": "b", "not": {"file": "c"}}}, lambda *_: None)
    assert sorted(keys_of(when)) == ["PV1-2", "file", "type"]


# In a clinic file.


def flow(when: str) -> str:
    return f"flows:\n  f:\n    from: {{due: eligibility}}\n    when: {when}\n    steps: [check_failed]\n"


@pytest.mark.parametrize(
    "key", ["type", "format", "control_id", "file", "generation", "PV1-2", "PID-3[5=MR].1", "OBX[*]-5", "ZPD-4", "PID-5.1.1"]
)
def test_headers_and_paths_may_be_keys(tmp_path: Path, key: str) -> None:
    assert not look(tmp_path, flow(f"{{'{key}': x}}")).problems


PLACES = {
    "a header there is not": "{«CFG-022»typ: x}",
    "no path": "{«CFG-022»PID-: x}",
    "a path that counts from 0": "{«CFG-022»PID-3.0: x}",
    "the second key": "{type: x, «CFG-022»colour: x}",
    "a key under not": "{type: x, not: {«CFG-022»colour: x}}",
    "a key under two nots": "{type: x, not: {type: y, not: {«CFG-022»colour: x}}}",
    "two keys": "{«CFG-022»colour: x, not: {«CFG-022»shape: x}}",
    "an empty list": "{type: x, format: «CFG-021»[]}",
    "a list instead of keys": "«CFG-021»[type]",
    "not with a text": "{not: «CFG-021»SIU}",
}


@pytest.mark.parametrize("marked", PLACES.values(), ids=PLACES)
def test_a_mistake_in_a_filter_has_its_place(tmp_path: Path, marked: str) -> None:
    examined, expected = look_planted(tmp_path, flow(marked))
    assert found(examined.problems) == expected
