"""The named transforms every mapping rule may use.

Each gets one value and gives the next.  Words in errors never hold the value: it may be patient data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta, timezone

from hub.formats import document
from hub.transform import Transform, TransformContext

_TIMESTAMP = re.compile(r"(\d{4})(\d{2})(\d{2})(?:(\d{2})(\d{2})?(\d{2})?(?:\.\d+)?)?([+-]\d{4})?", re.ASCII)
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(T.*)?", re.ASCII)
_AMOUNT = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)", re.ASCII)
_WHOLE = re.compile(r"\s*[+-]?\d{1,18}\s*", re.ASCII)
_LENGTH = re.compile(r"\d{1,9}(\.\d+)?", re.ASCII)
_UNITS = {
    **dict.fromkeys(("S", "SEC"), timedelta(seconds=1)),
    **dict.fromkeys(("MIN", "MINUTE", "MINUTES"), timedelta(minutes=1)),
    **dict.fromkeys(("H", "HR", "HOUR", "HOURS"), timedelta(hours=1)),
}
"""Units of time as senders write them into SCH-10."""


def _date(value: str, _: Sequence[str], __: TransformContext) -> date:
    text = value.strip()
    match = _TIMESTAMP.fullmatch(text)
    if not match and not _ISO_DATE.fullmatch(text):
        raise ValueError("is no date (expected YYYYMMDD)")
    try:
        return date(int(match[1]), int(match[2]), int(match[3])) if match else date.fromisoformat(text[:10])
    except ValueError:
        raise ValueError("is no date of the calendar (expected YYYYMMDD)") from None


def _datetime(value: str, _: Sequence[str], context: TransformContext) -> datetime:
    """A time without an offset is local to the site of its connection (hl7.md 3.2)."""
    text = value.strip()
    try:
        if text[10:11] == "T" and _ISO_DATE.fullmatch(text):
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
    if not _WHOLE.fullmatch(value):
        raise ValueError("is no whole number")
    return int(value)


def _amount(value: str, _: Sequence[str], __: TransformContext) -> str:
    if not _AMOUNT.fullmatch(value):
        raise ValueError("is no amount")
    return value


def _is(value: str, arguments: Sequence[str], _: TransformContext) -> bool:
    return value.strip().upper() in {word.upper() for word in arguments}


def _minutes(arguments: Sequence[str]) -> None:
    if not re.fullmatch("[0-9]{1,18}", arguments[0]):
        raise ValueError("needs a whole number of minutes")


def _plus_minutes(value: datetime, arguments: Sequence[str], _: TransformContext) -> datetime:
    _minutes(arguments)
    return _later(value, int(arguments[0]), timedelta(minutes=1))


def _plus(value: datetime, arguments: Sequence[str], _: TransformContext) -> datetime | None:
    amount, unit = (argument.strip() for argument in arguments)
    if not amount or not unit:
        return None
    if not _LENGTH.fullmatch(amount) or unit.upper() not in _UNITS:
        raise ValueError("is followed by no length of time (expected a number and S, MIN or HR)")
    return _later(value, float(amount), _UNITS[unit.upper()])


def _later(moment: datetime, amount: float, unit: timedelta) -> datetime:
    """So much time passes, whatever the clock on the wall is put to meanwhile."""
    try:
        return (moment.astimezone(UTC) + amount * unit).astimezone(moment.tzinfo)
    except OverflowError:
        raise ValueError("is followed by a time no calendar has") from None


def _earliest(values: Sequence[date], _: Sequence[str], __: TransformContext) -> date:
    return min(values)


def _keep_if(value: str, arguments: Sequence[str], _: TransformContext) -> str | None:
    return value if value.strip().upper() in {word.upper() for word in arguments} else None


def _keep_when(value: str, arguments: Sequence[str], _: TransformContext) -> str | None:
    one, *words = (word.strip().upper() for word in arguments)
    return value if one in words else None


def _drop_if(value: str, arguments: Sequence[str], _: TransformContext) -> str | None:
    return None if value.strip().upper() in {word.upper() for word in arguments} else value


def _authority(value: str | None, _: Sequence[str], context: TransformContext) -> str | None:
    return value or context.authority or None


def _document(values: Sequence[str], arguments: Sequence[str], _: TransformContext) -> bytes:
    return document.lines(values) if arguments else document.embedded(values)


def _one_word(word: str) -> Callable[[Sequence[str]], None]:
    def check(arguments: Sequence[str]) -> None:
        if list(arguments) not in ([], [word]):
            raise ValueError(f"takes no argument but {word}")

    return check


MANY = 99

TRANSFORMS: tuple[Transform, ...] = (
    Transform("amount", _amount, summary="checks that the text is an amount of money; keeps it as written"),
    Transform("authority", _authority, on_empty=True, summary="the assigning authority, or the one the connection assumes"),
    Transform("date", _date, summary="a day from YYYYMMDD or a longer HL7 time"),
    Transform("datetime", _datetime, summary="a moment from an HL7 time; without an offset it is local to the site"),
    Transform("digits", _digits, summary="only the digits"),
    Transform(
        "document",
        _document,
        (0, 1),
        summary="the document in OBX-5 of type ED, which may come in pieces; `document text` makes one of lines of text",
        whole=True,
        check=_one_word("text"),
    ),
    Transform("drop_if", _drop_if, (1, MANY), summary="empty when the value is one of these words"),
    Transform("earliest", _earliest, summary="of several days or moments the first", takes=date, whole=True),
    Transform("is", _is, (1, MANY), summary="true when the value is one of these words, else false"),
    Transform("keep_if", _keep_if, (1, MANY), summary="empty unless the value is one of these words"),
    Transform(
        "keep_when",
        _keep_when,
        (2, MANY),
        summary="empty unless another value is one of these words, for instance `keep_when {MSH-9.2} S15 S16`",
    ),
    Transform("lower", lambda v, _, __: v.lower(), summary="small letters"),
    Transform(
        "media_type",
        lambda v, _, __: document.media_type(v),
        summary="what a document is, by its first bytes: application/pdf, text/plain ...",
        takes=bytes,
    ),
    Transform("number", _number, summary="a whole number"),
    Transform(
        "plus",
        _plus,
        (2, 2),
        summary="a moment so much later: a number and S, MIN or HR, for instance `plus {SCH-9} {SCH-10}`; empty without both",
        takes=datetime,
    ),
    Transform("plus_minutes", _plus_minutes, (1, 1), summary="a moment so many minutes later", takes=datetime, check=_minutes),
    Transform("title", _title, summary="capitals at the beginning of each word, when all was in capitals"),
    Transform("upper", lambda v, _, __: v.upper(), summary="capitals"),
)
"""`default`, `else`, `required`, `table` and `join` belong to the rule itself and are in `rules.py`."""
