"""Stories on virtual time: 300 of them here, 20,000 with CLINIC_HUB_LONG=1.  A seed that failed once stays here."""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Iterator

import pytest
import structlog

from tests.chaos.simulation import Story, tell
from tests.chaos.test_kills import keep_figures

LONG = bool(os.environ.get("CLINIC_HUB_LONG"))
STORIES = 20_000 if LONG else 300
FAILED_ONCE: tuple[int, ...] = ()
"""Seeds of stories that went wrong before the bus was mended."""


@pytest.fixture(autouse=True)
def _silence() -> Iterator[None]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


def test_whatever_happens_nothing_is_lost_reordered_or_forgotten() -> None:
    began, kills, messages = time.monotonic(), 0, 0
    for seed in (*FAILED_ONCE, *range(1, STORIES + 1)):
        world = tell(seed)
        kills += len(world.story.kills)
        messages += world.story.messages
    keep_figures("simulation", stories=STORIES, kills=kills, messages=messages, wrong=0, seconds=time.monotonic() - began)
    assert kills > STORIES, "the stories are too quiet"


def test_the_same_seed_tells_the_same_story() -> None:
    first, second = tell(7), tell(7)
    assert first.loop.now == second.loop.now
    assert [partner.taken for partner in first.partners.values()] == [partner.taken for partner in second.partners.values()]


@pytest.mark.parametrize("broken", ["ack_before_commit", "ordering_key_dropped", "dedupe_off", "marks_not_awaited"])
def test_a_broken_bus_is_found_out(broken: str) -> None:
    for seed in range(1, 200):
        try:
            tell(seed, broken=broken)
        except AssertionError:
            return
    raise AssertionError("200 stories found nothing wrong: the simulation is blind")


def test_a_partner_that_is_away_for_an_hour_costs_no_memory_and_gets_all_in_order() -> None:
    """An hour of virtual time: a message a second here, 50 a second in the long form."""
    story = Story.of(random.Random(1))
    story.keys, story.messages, story.seconds, story.lanes = 20, 180_000 if LONG else 3600, 3600.0, (400, 16)
    story.policy, story.parallel, story.slow, story.poisoned, story.merges = "retry", 8, 0.002, 0.0, 0.0
    story.kills, story.full, story.jumps, story.step_fails, story.unreadable = [1800.0], [], [], 0.0, 0.0
    story.repeat, story.outages, story.answers = {"a": "safe"}, {"a": [(10.0, 3610.0)]}, [1.0, 0.01, 0.0, 0.001, 0.0, 0.0]
    world = tell(1, story)
    assert len(world.partners["a"].taken) == story.messages
    assert world.most_items <= 2 * 400, "what waits is on disk, not in memory"
