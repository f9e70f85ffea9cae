"""When a reminder leaves: so long before the visit, or at a time of day some days before, and never in quiet hours.  Pure.

All of it goes by the clock where the patient is.  A time in quiet hours moves to their end; where that would be too short
before the visit, to before they begin.  Times of day follow the rules of `hub.settings.schedule`.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta, tzinfo

from hub.settings.schedule import moment_of

LEAD = timedelta(minutes=30)
"""A reminder that moved out of quiet hours comes at least so long before the visit."""
_STEP = timedelta(minutes=5)


def due_moment(starts_at: datetime, before: timedelta, at: time | None, zone: tzinfo, quiet: tuple[time, time]) -> datetime:
    """In UTC."""
    if at is None:
        moment = starts_at.astimezone(UTC) - before
    else:
        day = starts_at.astimezone(zone).date() - before
        moment = moment_of(day, at, zone)
    return out_of_quiet(moment, starts_at, zone, quiet)


def out_of_quiet(moment: datetime, starts_at: datetime, zone: tzinfo, quiet: tuple[time, time]) -> datetime:
    if not is_quiet(moment, zone, quiet):
        return moment
    later = quiet_ends(moment, zone, quiet)
    if later <= starts_at - LEAD:
        return later
    earlier = _last(moment, quiet[0], zone) - LEAD
    while is_quiet(earlier, zone, quiet):  # the hour in which clocks are set back
        earlier -= _STEP
    return earlier


def is_quiet(moment: datetime, zone: tzinfo, quiet: tuple[time, time]) -> bool:
    begins, ends = quiet
    now = moment.astimezone(zone).time()
    if begins == ends:
        return False
    return begins <= now < ends if begins < ends else now >= begins or now < ends


def quiet_ends(moment: datetime, zone: tzinfo, quiet: tuple[time, time]) -> datetime:
    """The first moment from this one on that is not in quiet hours."""
    if not is_quiet(moment, zone, quiet):
        return moment
    end = _next(moment, quiet[1], zone)
    while is_quiet(end, zone, quiet):
        end += _STEP
    return end


def quiet_begins(moment: datetime, zone: tzinfo, quiet: tuple[time, time]) -> datetime | None:
    """The next time quiet hours begin; None where there are none."""
    return None if quiet[0] == quiet[1] else _next(moment, quiet[0], zone)


def _next(moment: datetime, at: time, zone: tzinfo) -> datetime:
    day = moment.astimezone(zone).date()
    days = (day + timedelta(days=offset) for offset in (-1, 0, 1, 2))
    return next(found for found in (moment_of(day, at, zone) for day in days) if found > moment)


def _last(moment: datetime, at: time, zone: tzinfo) -> datetime:
    day = moment.astimezone(zone).date()
    days = (day + timedelta(days=offset) for offset in (1, 0, -1, -2))
    return next(found for found in (moment_of(day, at, zone) for day in days) if found <= moment)
