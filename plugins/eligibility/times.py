"""When a visit is checked, and when a payer may be asked: days before it, its morning, a new month, business hours.  Pure.

Times of day are those where the visit takes place, by the rules of `hub.settings.schedule`: a time the clock skips comes later
that day, of one that comes twice the first counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

from hub.records import Payer
from hub.settings.schedule import moment_of
from hub.step import Site

NEW_MONTH = time(3)
"""Payers load the changes of a new month in its first night; who asks before 03:00 gets the old ones."""
MORNING, MONTH = "morning", "month"


def moments_of(
    day: date, site: Site, days_before: Sequence[int], at: time, morning: time | None, month: time | None
) -> dict[str, datetime]:
    """When a visit of this day is checked, by the reason for it, in UTC."""
    found = {f"{days}d": moment_of(day - timedelta(days=days), at, site.zone) for days in days_before}
    if morning is not None:
        found[MORNING] = moment_of(day, morning, site.zone)
    if month is not None:
        found[MONTH] = moment_of(day.replace(day=1), month, site.zone)
    return found


def month_begins(day: date, site: Site) -> datetime:
    """From when on a payer knows what holds in the month of this day."""
    return moment_of(day.replace(day=1), NEW_MONTH, site.zone)


def opens_at(payer: Payer, now: datetime, zone: tzinfo) -> datetime:
    """When the payer may be asked next; `now` when it may be asked now."""
    if not payer.hours:
        return now
    zone = ZoneInfo(payer.zone) if payer.zone else zone
    return next((max(opens, now) for opens, closes in _hours(payer, now, zone) if closes > now), now)


def _hours(payer: Payer, now: datetime, zone: tzinfo) -> Iterator[tuple[datetime, datetime]]:
    """From when to when it is open, from yesterday on, in order."""
    first = now.astimezone(zone).date() - timedelta(days=1)
    for offset in range(9):
        day = first + timedelta(days=offset)
        for hours in sorted((h for h in payer.hours if h.day == day.weekday()), key=lambda h: h.opens):
            yield moment_of(day, hours.opens, zone), moment_of(day, hours.closes, zone)


def next_morning(now: datetime, at: time, site: Site) -> datetime:
    """The next time it is this time of day, tomorrow at the earliest."""
    return moment_of(now.astimezone(site.zone).date() + timedelta(days=1), at, site.zone).astimezone(UTC)
