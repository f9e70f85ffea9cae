"""A message of our own by a mapping that reads a record (`from: visit_coverage`, `to: hl7v2`).

Its segments stand in the order in which the mapping first gives them a value; one that gets none is left out.  What a mapping
does not say of the header is: MSH-7 the time, MSH-10 an id that a repeat of the run gives again, MSH-11 P, MSH-12 2.5.1, MSH-18
UNICODE UTF-8.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from hub.errors import MessageUnusable
from hub.formats.hl7v2 import paths
from hub.formats.hl7v2.message import Hl7
from hub.message import Message

_BEGINNING = b"MSH|^~\\&\r"
CHARSET = "UNICODE UTF-8"


def composed(values: Mapping[str, Any], message: Message, *, control_id: str, now: datetime) -> Message:
    """The message with these values at these paths; `now` is in the zone of the site.  Raises MessageUnusable."""
    header = {"MSH-7": f"{now:%Y%m%d%H%M%S%z}", "MSH-10": control_id, "MSH-11": "P", "MSH-12": "2.5.1", "MSH-18": CHARSET}
    hl7 = Hl7(_BEGINNING, CHARSET)
    for path, value in {**header, **values}.items():
        _put(hl7, path, value)
    if not (hl7.get("MSH-9.1") and hl7.get("MSH-9.2")):
        raise MessageUnusable("a message needs its type and trigger: fill MSH-9.1 and MSH-9.2")
    return message.derive(bytes(hl7), format="hl7v2", type=hl7.type, headers={"charset": CHARSET})


def _put(hl7: Hl7, path: str, value: Any) -> None:
    target = paths.parse(path)
    if target.where is None:
        for _ in range(target.occurrence - len(hl7.places(target.segment))):
            hl7.add(target.segment)
    if isinstance(value, list):
        hl7.set_repetitions(path, [as_text(one) for one in value])
    else:
        hl7.set(path, as_text(value))


def as_text(value: Any) -> str:
    """A value as HL7 v2 writes it: Y and N, days as YYYYMMDD, moments with their offset."""
    match value:
        case bool():
            return "Y" if value else "N"
        case datetime():
            return f"{value:%Y%m%d%H%M%S%z}"
        case date():
            return f"{value:%Y%m%d}"
        case _:
            return str(value)
