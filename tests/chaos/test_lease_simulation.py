"""Stories of hubs that share a database, on virtual time: 60 of them here, 20,000 with CLINIC_HUB_LONG=1."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator

import pytest
import structlog

from tests.chaos.lease_simulation import tell
from tests.chaos.test_kills import keep_figures

LONG = bool(os.environ.get("CLINIC_HUB_LONG"))
STORIES = 20_000 if LONG else 60
FAILED_ONCE: tuple[int, ...] = ()
"""Seeds of stories that went wrong before the sharing was mended."""

pytestmark = pytest.mark.timeout(7200 if LONG else 180)


@pytest.fixture(autouse=True)
def _silence() -> Iterator[None]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


def test_hubs_that_freeze_die_and_come_back_lose_nothing_and_repeat_nothing_old() -> None:
    began, kills, freezes, repeats, sent = time.monotonic(), 0, 0, 0, 0
    for seed in (*FAILED_ONCE, *range(1, STORIES + 1)):
        world = tell(seed)
        kills, freezes = kills + world.kills, freezes + world.freezes
        repeats, sent = repeats + world.repeats, sent + len(world.taken)
    figures = {"kills": kills, "freezes": freezes, "repeats_of_the_newest": repeats, "sent": sent, "wrong": 0}
    keep_figures("lease_simulation", stories=STORIES, seconds=time.monotonic() - began, **figures)
    assert freezes > STORIES, "the stories are too quiet"
    assert repeats > 0, "no hub was ever taken over from while it sent"


def test_the_same_seed_tells_the_same_story() -> None:
    first, second = tell(7), tell(7)
    assert (first.loop.now, first.taken) == (second.loop.now, second.taken)


def test_hubs_that_send_after_their_lease_are_found_out() -> None:
    for seed in range(60, 200):
        try:
            tell(seed, fenced=False)
        except AssertionError as error:
            assert "an older message again" in str(error)  # noqa: PT017 - some story has to fail, not each
            return
    raise AssertionError("140 stories found nothing wrong: the simulation is blind")
