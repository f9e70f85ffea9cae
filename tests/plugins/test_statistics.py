"""How payers answer: percentiles and shares of known times, outcomes counted per payer, nothing older than asked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from hub import CoverageCheck
from hub.errors import Refused
from hub.records import CoverageAttempt
from plugins.eligibility.statistics import percentile, summary
from tests.plugins.clinic import Clinic, adt, at, eligibility, in1, jane, mrn, pid, siu
from tests.support import ask

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def attempt(seconds: float | None = None, outcome: str | None = "covered", **more: Any) -> CoverageAttempt:
    state = "answered" if outcome else "out"
    return CoverageAttempt(**({"trace": "T", "asked_at": NOW, "state": state, "seconds": seconds, "outcome": outcome} | more))


def test_a_summary_counts_states_outcomes_and_known_times() -> None:
    attempts = [attempt(1.0), attempt(2.0), attempt(19.0, "inactive"), attempt(20.0), attempt(21.0), attempt(None)]
    attempts += [attempt(None, None), attempt(None, None, state="unanswered")]
    assert summary(attempts) == {
        "asked": 8, "answered": 6, "unanswered": 1, "out": 1, "p50_s": 19.0, "p90_s": 21.0, "in_20_s": 0.8,
        "outcomes": {"covered": 5, "inactive": 1},
    }  # fmt: skip


def test_of_payers_that_answer_in_batches_no_time_is_told() -> None:
    found = summary([attempt(None)])
    assert (found["p50_s"], found["p90_s"], found["in_20_s"]) == (None, None, None)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=40), st.sampled_from([50, 90]))
def test_a_percentile_is_the_smallest_value_that_enough_do_not_exceed(values: list[float], percent: int) -> None:
    found = percentile(sorted(values), percent)
    assert found is not None

    def reached(bound: float) -> bool:
        return sum(value <= bound for value in values) * 100 >= percent * len(values)

    assert found in values
    assert reached(found)
    assert not any(reached(value) for value in values if value < found)


async def asked(clinic: Clinic) -> None:
    await clinic.tell(adt("A04", pid(mrn("42")), in1()), siu("S12", "F-1", at(9), pid(mrn("42"))))
    await clinic.tell(
        adt("A04", pid(mrn("7"), family="ROE"), in1("W999")), siu("S12", "F-2", at(10), pid(mrn("7"), family="ROE"))
    )


async def test_a_hub_knows_how_long_its_payers_took(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane()) as clinic:
        assert clinic.clearinghouse is not None
        clinic.clearinghouse.behaviour.delay = 0.2
        await asked(clinic)
        (line,) = await ask(clinic.hub, "eligibility.stats", since="1d")
        assert (line["payer"], line["name"], line["asked"], line["answered"]) == ("60054", "Aetna", 2, 2)
        assert 0.2 <= line["p50_s"] <= line["p90_s"] <= 20
        assert line["in_20_s"] == 1.0
        assert line["outcomes"] == {"covered": 1, "not_found": 1}


async def test_only_what_was_asked_since_then_counts(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane()) as clinic:
        await asked(clinic)
        context = clinic.hub.core.context("test")
        check = await context.get(CoverageCheck, "F-1")
        assert check is not None
        old = check.attempts[0].model_copy(update={"trace": "OLD", "asked_at": context.now - timedelta(days=9)})
        await context.put(check.model_copy(update={"attempts": [old, *check.attempts]}))
        await clinic.hub.core.journal.commit(clinic.hub.core.write_of(context.changes, context.now))
        counts = {}
        for since in ("8d", "10d", "yesterday", (context.now - timedelta(days=20)).date().isoformat()):
            (line,) = await ask(clinic.hub, "eligibility.stats", since=since)
            counts[since] = line["asked"]
        assert list(counts.values()) == [2, 3, 2, 3]
        assert await ask(clinic.hub, "eligibility.stats", since="0s") == []
        with pytest.raises(Refused, match="no day"):
            await ask(clinic.hub, "eligibility.stats", since="long ago")
