"""When a flow begins by the clock: `from: {every: day, at: "06:00"}`, and what becomes of times that were missed.

Rules of the clock:

- A time of day is one where the site is.  It comes once a day, whatever the clocks do: a time that is skipped when they are set
  forward comes as much later (02:30 becomes 03:30), of a time that comes twice when they are set back the first one counts.
- An interval counts from midnight UTC of the first day of 1970, so it knows no such days and does not depend on when the hub
  was started.
- A run has its time in UTC as its name, and each is done once: a clock that is set back does not repeat what was done.
- A clock that jumps forward makes runs missed, as a hub that was not running does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from hub.units import Duration, TimeOfDay, parse_duration

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_NAMED = {"day": DAYS, "weekday": DAYS[:5], "weekend": DAYS[5:]}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SHORTEST = 1.0
"""Seconds."""


def _written_every(given: Any) -> Any:
    """Days of the week, or seconds of an interval."""
    words = given if isinstance(given, list) else [given]
    days = [day for word in words for day in _NAMED.get(str(word), (str(word),))]
    if all(day in DAYS for day in days):
        return tuple(dict.fromkeys(days))
    if isinstance(given, list):
        raise ValueError(f"has a day that is none; there are {', '.join((*_NAMED, *DAYS))}")
    try:
        return parse_duration(given)
    except ValueError:
        raise ValueError(f"is an interval such as 15m, or days: {', '.join((*_NAMED, *DAYS))}") from None


class Timing(BaseModel):
    """What becomes of times that were missed, because the hub was not running or its clock was set forward."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True, frozen=True)

    missed: Literal["catch_up", "each", "skip"] = "catch_up"
    """catch_up: done as soon as possible, what repeats once for all times; each: for every time; skip: not at all."""
    late: Duration = Field(default=3600.0, ge=0)
    """With `skip`, what is late by no more than this is not taken for missed."""


AS_SOON_AS_POSSIBLE = Timing()


class EverySettings(Timing):
    """A flow that begins by the clock."""

    every: Annotated[tuple[str, ...] | float, BeforeValidator(_written_every)]
    """day, weekday, weekend, a day of the week or a list of them; or an interval, such as 15m."""
    at: TimeOfDay | None = Field(default=None, validate_default=True)
    """Time of day; needed with days."""
    site: str | None = None
    """Where it is that time of day; the first site when not set."""

    @field_validator("every")
    @classmethod
    def _long_enough(cls, every: tuple[str, ...] | float) -> tuple[str, ...] | float:
        if isinstance(every, float) and every < SHORTEST:
            raise ValueError("is an interval of at least one second")
        return every

    @field_validator("at")
    @classmethod
    def _with_days(cls, at: time | None, info: ValidationInfo) -> time | None:
        every = info.data.get("every")
        if isinstance(every, tuple) and at is None:
            raise ValueError('is needed with days: at: "06:00"')
        if isinstance(every, float) and at is not None:
            raise ValueError("goes with days, not with an interval")
        return at


@dataclass(frozen=True, slots=True)
class Schedule:
    """The times of a flow."""

    zone: tzinfo
    days: frozenset[int] = frozenset()
    """0 is Monday."""
    at: time = time()
    interval: timedelta | None = None

    @classmethod
    def of(cls, settings: EverySettings, zone: tzinfo) -> Schedule:
        if isinstance(settings.every, float):
            return cls(zone, interval=timedelta(seconds=settings.every))
        days = frozenset(DAYS.index(day) for day in settings.every)
        return cls(zone, days, settings.at or time())

    def after(self, moment: datetime) -> datetime:
        """The first time later than this moment, in UTC."""
        if self.interval is not None:
            return _EPOCH + ((moment - _EPOCH) // self.interval + 1) * self.interval
        return next(run for run in self._runs(moment, 1) if run > moment)

    def latest(self, moment: datetime) -> datetime:
        """The last time that is not later than this moment, in UTC."""
        if self.interval is not None:
            return _EPOCH + ((moment - _EPOCH) // self.interval) * self.interval
        return next(run for run in self._runs(moment, -1) if run <= moment)

    def has(self, moment: datetime) -> bool:
        return self.latest(moment) == moment

    def _runs(self, moment: datetime, step: int) -> Iterator[datetime]:
        """The times of one day after another, beginning two days on the other side of the moment."""
        day = moment.astimezone(self.zone).date() - timedelta(days=2 * step)
        for _ in range(12):
            if day.weekday() in self.days:
                yield moment_of(day, self.at, self.zone)
            day += timedelta(days=step)


def moment_of(day: date, at: time, zone: tzinfo) -> datetime:
    """A time of day as a moment in UTC, by the rules above."""
    return datetime.combine(day, at, tzinfo=zone).replace(fold=0).astimezone(UTC)
