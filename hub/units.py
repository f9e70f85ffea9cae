"""Durations, sizes, rates and times of day as people write them in a clinic file: `90s`, `5m`, `20MiB`, `10/s`, `06:00`."""

from __future__ import annotations

import re
import zoneinfo
from datetime import datetime, time
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

YEAR = 366 * 86400
"""Seconds of a year as a duration: what is kept for six years is never gone before six years are over."""
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "y": YEAR}
_BYTES = {"B": 1, "KB": 1000, "MB": 1000**2, "KIB": 1024, "MIB": 1024**2, "GIB": 1024**3}
_DURATION = r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d|y)"
_SIZE = r"([0-9]+)\s*((?:[KkMmGg][Ii]|[KkMm])?[Bb])"
_PER = {"s": 1, "min": 60, "h": 3600}
_RATE = r"([0-9]+(?:\.[0-9]+)?)\s*/\s*(s|min|h)"
_TIME_OF_DAY = r"([01]?[0-9]|2[0-3]):([0-5][0-9])"


def parse_duration(value: object) -> float:
    """Seconds of `90s`, `1.5h`, `2d`, `6y`; a bare number is refused because its unit would be a guess.

    Numbers that are no text (defaults in code) are seconds.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    match = re.fullmatch(_DURATION, str(value).strip())
    if not match:
        raise ValueError("expected a duration with its unit, such as 90s, 5m, 24h or 3d")
    return float(match[1]) * _SECONDS[match[2]]


def parse_size(value: object) -> int:
    """Bytes of `256KiB`, `20MiB`."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = re.fullmatch(_SIZE, str(value).strip())
    if not match or match[2].upper() not in _BYTES:
        raise ValueError("expected a size with its unit, such as 256KiB or 20MiB")
    return int(match[1]) * _BYTES[match[2].upper()]


def parse_rate(value: object) -> float:
    """How many in a second: `10/s`, `600/min`, `1000/h`."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    match = re.fullmatch(_RATE, str(value).strip())
    if not match or float(match[1]) == 0:
        raise ValueError("expected how many in which time, such as 10/s, 600/min or 1000/h")
    return float(match[1]) / _PER[match[2]]


def parse_time_of_day(value: object) -> time:
    """A time of day on the 24-hour clock: `06:00`."""
    if isinstance(value, time):
        return value
    match = re.fullmatch(_TIME_OF_DAY, str(value).strip())
    if not match:
        raise ValueError("expected a time of day on the 24-hour clock, such as 06:00")
    return time(int(match[1]), int(match[2]))


def _written(pattern: str) -> WithJsonSchema:
    """How it stands in a file, for editors."""
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern}$"})


Duration = Annotated[float, BeforeValidator(parse_duration), _written(_DURATION)]
Rate = Annotated[float, BeforeValidator(parse_rate), _written(_RATE)]
Size = Annotated[int, BeforeValidator(parse_size), _written(_SIZE)]
TimeOfDay = Annotated[time, BeforeValidator(parse_time_of_day), _written(_TIME_OF_DAY)]


def iso(moment: datetime) -> str:
    """ISO 8601 with its zone, to the second; UTC is written `Z`."""
    text = moment.isoformat(timespec="seconds")
    return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text


def age_in_words(seconds: float) -> str:
    """`42 s`, `7 min`, `3 h`, `2 d`."""
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60), (172800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def size_in_words(size: int) -> str:
    """`512 B`, `20 KiB`, `1.5 GiB`."""
    for limit, unit, scale in ((1 << 10, "B", 1), (1 << 20, "KiB", 1 << 10), (1 << 30, "MiB", 1 << 20)):
        if size < limit:
            return f"{size / scale:.3g} {unit}" if size / scale < 100 else f"{size / scale:.0f} {unit}"
    return f"{size / (1 << 30):.1f} GiB"


def _zone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("is no time zone; one looks like America/Chicago") from None
    return name


Zone = Annotated[str, AfterValidator(_zone)]
"""An IANA name that is known here: America/Chicago."""
