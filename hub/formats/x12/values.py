"""What days, times and numbers look like in X12."""

from __future__ import annotations

import re
from datetime import date

NUMBER = re.compile(r"-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")
WHOLE = re.compile(r"-?[0-9]+")
TIME = re.compile(r"(?:[01][0-9]|2[0-3])[0-5][0-9](?:[0-5][0-9](?:[0-9]{1,2})?)?")
_DAYS: set[str] = set()
"""Days that were looked up in the calendar: the same ones come again and again."""
_MOST_DAYS = 50_000


def is_day(text: str) -> bool:
    """Whether it is a day of the calendar, as CCYYMMDD."""
    if text in _DAYS:
        return True
    if len(text) != 8 or not (text.isascii() and text.isdecimal()):
        return False
    try:
        date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return False
    if len(_DAYS) < _MOST_DAYS:
        _DAYS.add(text)
    return True
