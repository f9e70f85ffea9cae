"""Days as people name them: today, tomorrow, 2026-11-24."""

from __future__ import annotations

from datetime import date, datetime, timedelta, tzinfo

from hub.errors import Refused

_NAMED = {"yesterday": -1, "today": 0, "tomorrow": 1}


def day_named(text: str, now: datetime, zone: tzinfo) -> date:
    """Raises Refused when it is no day."""
    if text in _NAMED:
        return now.astimezone(zone).date() + timedelta(days=_NAMED[text])
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Refused(f"{text!r} is no day; write today, tomorrow or 2026-11-24", code="CLI-002") from None
