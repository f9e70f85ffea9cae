"""The checker itself: each kind of violation is found, and a history that is right is right."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.history import Event, History, check, read_history


def story(what: str, text: str) -> list[Event]:
    """`"a1 a2 b1"`: events of patients a and b; a trailing `!` is another body."""
    return [Event(what, word[0], int(word[1:].rstrip("!")), "other" if word.endswith("!") else "same") for word in text.split()]


SENT = story("sent", "a1 a2 a3 b1") + story("AA", "a1 a2 a3 b1")


@pytest.mark.parametrize(
    ("arrived", "wrong"),
    [
        pytest.param("a1 a2 b1 a3", {}, id="right"),
        pytest.param("a1 a2 a2 a3 b1 b1", {}, id="newest-again"),
        pytest.param("a1 a2 b1", {"lost": ["a-3"]}, id="lost"),
        pytest.param("a2 a1 a3 b1", {"reordered": ["a-1 after 2"]}, id="reordered"),
        pytest.param("a1 a2 a1 a3 b1", {"old_repeats": ["a-1 again after 2"]}, id="older-again"),
        pytest.param("a1 a2! a3 b1", {"changed": ["a-2"]}, id="changed"),
        pytest.param("a1 a2 a3 b1 b2", {"invented": ["b-2"]}, id="invented"),
    ],
)
def test_the_checker_finds_what_is_wrong(arrived: str, wrong: dict[str, list[str]]) -> None:
    assert check(SENT, story("taken", arrived)).wrong == wrong


def test_what_was_not_acknowledged_may_be_missing_or_not() -> None:
    sent = story("sent", "a1 a2") + story("AA", "a1")
    assert check(sent, story("taken", "a1")).wrong == {}
    assert check(sent, story("taken", "a1 a2")).wrong == {}


def test_what_the_receiver_refused_has_not_arrived() -> None:
    verdict = check(SENT, story("refused", "a1") + story("taken", "a2 a3 b1"))
    assert verdict.wrong == {"lost": ["a-1"]}


def test_a_history_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    with History(tmp_path / "sender") as history:
        history.note("sent", "P01", 1, b"body")
        history.note("AA", "P01", 1, b"body")
    assert [(e.what, e.patient, e.number) for e in read_history(history.path)] == [("sent", "P01", 1), ("AA", "P01", 1)]
    assert check(read_history(history.path), []).wrong == {"lost": ["P01-1"]}
