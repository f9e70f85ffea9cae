"""Times as the store keeps them: microseconds since 1970 in UTC."""

from __future__ import annotations

import time as clock
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now_micros() -> int:
    """This moment, as the store keeps times."""
    return clock.time_ns() // 1000


def now() -> datetime:
    """This moment, in UTC."""
    return from_micros(now_micros())


def to_micros(moment: datetime) -> int:
    """Microseconds since 1970 in UTC: how the store keeps times."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def from_micros(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)
