"""The named transforms every mapping rule may use.

Each gets one value and gives the next.  Words in errors never hold the value: it may be patient data.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation

from hub.transform import Transform, TransformContext

_TIMESTAMP = re.compile(r"(\d{4})(\d{2})(\d{2})(?:(\d{2})(\d{2})?(\d{2})?(?:\.\d+)?)?([+-]\d{4})?")
_ISO_TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2}T.*")


def _date(value: str, _: Sequence[str], __: TransformContext) -> date:
    text = value.strip()
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}(T.*)?", text):
        return date.fromisoformat(text[:10])
    match = _TIMESTAMP.match(text)
    if not match:
        raise ValueError("is no date (expected YYYYMMDD)")
    try:
        return date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        raise ValueError("is no date of the calendar (expected YYYYMMDD)") from None


def _datetime(value: str, _: Sequence[str], context: TransformContext) -> datetime:
    """A time without an offset is local to the site of its connection (hl7.md 3.2)."""
    text = value.strip()
    try:
        if _ISO_TIMESTAMP.fullmatch(text):
            moment = datetime.fromisoformat(text)
            return moment if moment.tzinfo else moment.replace(tzinfo=context.zone)
        match = _TIMESTAMP.fullmatch(text)
        if not match or match[4] is None:
            raise ValueError
        numbers = [int(part or 0) for part in match.groups()[:6]]
        zone = _offset(match[7]) if match[7] else context.zone
        return datetime(*numbers, tzinfo=zone)  # type: ignore[arg-type,misc]  # six numbers: year to second
    except ValueError:
        raise ValueError("is no time (expected YYYYMMDDHHMM, with an offset or in the site's zone)") from None


def _offset(text: str) -> timezone:
    sign = -1 if text[0] == "-" else 1
    return timezone(sign * timedelta(hours=int(text[1:3]), minutes=int(text[3:5])))


def _title(value: str, _: Sequence[str], __: TransformContext) -> str:
    """`O'BRIEN-SMITH` becomes `O'Brien-Smith`; a name with small letters is kept as written."""
    if value != value.upper():
        return value
    return re.sub(r"[^\W\d_]+", lambda match: match[0].capitalize(), value)


def _digits(value: str, _: Sequence[str], __: TransformContext) -> str:
    return re.sub(r"\D", "", value)


def _number(value: str, _: Sequence[str], __: TransformContext) -> int:
    if not re.fullmatch(r"\s*[+-]?\d+\s*", value):
        raise ValueError("is no whole number")
    return int(value)


def _amount(value: str, _: Sequence[str], __: TransformContext) -> str:
    try:
        Decimal(value)
    except InvalidOperation:
        raise ValueError("is no amount") from None
    return value


def _is(value: str, arguments: Sequence[str], _: TransformContext) -> bool:
    return value.strip().upper() in {word.upper() for word in arguments}


def _plus_minutes(value: datetime, arguments: Sequence[str], _: TransformContext) -> datetime:
    if not arguments[0].isdecimal():
        raise ValueError("needs a whole number of minutes")
    return value + timedelta(minutes=int(arguments[0]))


def _keep_if(value: str, arguments: Sequence[str], _: TransformContext) -> str | None:
    return value if value.strip().upper() in {word.upper() for word in arguments} else None


def _drop_if(value: str, arguments: Sequence[str], _: TransformContext) -> str | None:
    return None if value.strip().upper() in {word.upper() for word in arguments} else value


def _authority(value: str | None, _: Sequence[str], context: TransformContext) -> str | None:
    return value or context.authority or None


MANY = 99

TRANSFORMS: tuple[Transform, ...] = (
    Transform("amount", _amount, summary="checks that the text is an amount of money; keeps it as written"),
    Transform("authority", _authority, on_empty=True, summary="the assigning authority, or the one the connection assumes"),
    Transform("date", _date, summary="a day from YYYYMMDD or a longer HL7 time"),
    Transform("datetime", _datetime, summary="a moment from an HL7 time; without an offset it is local to the site"),
    Transform("digits", _digits, summary="only the digits"),
    Transform("drop_if", _drop_if, (1, MANY), summary="empty when the value is one of these words"),
    Transform("is", _is, (1, MANY), summary="true when the value is one of these words, else false"),
    Transform("keep_if", _keep_if, (1, MANY), summary="empty unless the value is one of these words"),
    Transform("lower", lambda v, _, __: v.lower(), summary="small letters"),
    Transform("number", _number, summary="a whole number"),
    Transform("plus_minutes", _plus_minutes, (1, 1), summary="a moment so many minutes later"),
    Transform("title", _title, summary="capitals at the beginning of each word, when all was in capitals"),
    Transform("upper", lambda v, _, __: v.upper(), summary="capitals"),
)
"""`default`, `required`, `table` and `join` belong to the rule itself and are in `rules.py`."""
