"""States that only move forward."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from hub.progress import Progress

FAX = Progress(["ordered", "unknown", "queued", "sending"], ends=["sent", "failed"])
STATES = [*FAX.steps, *FAX.ends]


@given(st.lists(st.sampled_from(STATES), min_size=1), st.randoms(use_true_random=False))
def test_every_order_of_what_is_told_ends_in_the_same_state(told, random):
    shuffled = list(told)
    random.shuffle(shuffled)

    assert after(told) == after(shuffled)


@given(st.lists(st.sampled_from(STATES), min_size=2))
def test_nothing_that_was_said_is_taken_back(told):
    states = [after(told[: n + 1]) for n in range(len(told))]

    for before, now in pairwise(states):
        assert FAX.advance(before, now) == now


def test_an_end_is_an_end_and_a_stronger_one_counts():
    assert FAX.advance("failed", "sending") == "failed"
    assert FAX.advance("failed", "sent") == FAX.advance("sent", "failed") == "sent"
    assert FAX.is_over("failed")
    assert not FAX.is_over("unknown")


def test_the_word_of_the_partner_settles_a_doubt():
    assert FAX.advance("unknown", "queued") == "queued"
    assert FAX.advance("queued", "unknown") == "queued"


def test_a_state_that_is_none_is_refused():
    with pytest.raises(ValueError, match="'lost' is no state; there are ordered"):
        FAX.advance("ordered", "lost")
    with pytest.raises(ValueError, match="named twice"):
        Progress(["sent"], ends=["sent"])


def after(told):
    state = told[0]
    for said in told[1:]:
        state = FAX.advance(state, said)
    return state
