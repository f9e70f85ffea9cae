"""How payers answer: how fast, how often not at all, and what their answers come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from hub import Context, CoverageCheck
from hub.records import CoverageAttempt

IN_TIME = 20.0
"""Seconds an answer in real time may take (CAQH CORE infrastructure rule; 90 % of a calendar month's)."""
LONGEST = 400
"""Days that are looked at at most."""
MOST_A_DAY = 100_000


async def statistics(since: datetime, context: Context) -> list[dict[str, Any]]:
    """A line for each payer that was asked since then, the most asked first."""
    by_payer: dict[str, list[CoverageAttempt]] = {}
    for day in _days(since, context.now):
        for check in await context.find(CoverageCheck, "asked_on", day.isoformat(), limit=MOST_A_DAY):
            for attempt in check.attempts:
                asked_at = attempt.asked_at.astimezone(UTC)
                if asked_at.date() == day and asked_at >= since:
                    by_payer.setdefault(attempt.payer, []).append(attempt)
    lines = [_line(id, attempts, context) for id, attempts in by_payer.items()]
    return sorted(lines, key=lambda line: (-line["asked"], line["payer"]))


def _days(since: datetime, now: datetime) -> Iterable[date]:
    """In UTC, as attempts are filed."""
    first = max(since.astimezone(UTC).date(), now.astimezone(UTC).date() - timedelta(days=LONGEST))
    return [first + timedelta(days=number) for number in range((now.astimezone(UTC).date() - first).days + 1)]


def _line(payer: str, attempts: Sequence[CoverageAttempt], context: Context) -> dict[str, Any]:
    found = context.payer(payer)
    target = found.target if found is not None else IN_TIME
    seconds = [attempt.seconds for attempt in attempts if attempt.seconds is not None]
    name = found.name if found is not None else None
    return {"payer": payer, "name": name, **summary(attempts), "target_s": target, "in_target": share(seconds, target)}


def share(seconds: Sequence[float], target: float) -> float | None:
    """How many of these are no longer than the target; None of none."""
    return round(sum(taken <= target for taken in seconds) / len(seconds), 4) if seconds else None


def summary(attempts: Sequence[CoverageAttempt]) -> dict[str, Any]:
    """Times are of answers whose time is known: those in real time."""
    states = Counter(attempt.state for attempt in attempts)
    seconds = sorted(attempt.seconds for attempt in attempts if attempt.seconds is not None)
    outcomes = Counter(attempt.outcome for attempt in attempts if attempt.outcome)
    return {
        "asked": len(attempts),
        "answered": states["answered"],
        "unanswered": states["unanswered"],
        "out": states["out"],
        "p50_s": percentile(seconds, 50),
        "p90_s": percentile(seconds, 90),
        "in_20_s": share(seconds, IN_TIME),
        "outcomes": dict(outcomes.most_common()),
    }


def percentile(ordered: Sequence[float], percent: int) -> float | None:
    """The smallest value that so many percent do not exceed; None of none."""
    if not ordered:
        return None
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
