"""Changing a message by a mapping (`to: hl7v2`): what it names is set, everything else leaves byte for byte as it came."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hub.errors import MessageUnusable
from hub.format import Copied
from hub.formats.hl7v2 import paths
from hub.formats.hl7v2.compose import as_text
from hub.formats.hl7v2.message import Hl7, opened
from hub.message import Message

_BEHIND: dict[str, tuple[str, ...]] = {
    "EVN": ("MSH", "SFT", "UAC"),
    "TQ1": ("SCH",),
    "PD1": ("PID",),
    "PV1": ("PID", "PD1", "NTE", "NK1"),
    "PV2": ("PV1",),
    "IN2": ("IN1",),
    "IN3": ("IN1", "IN2"),
}
"""Segments that a mapping may put in, and what they stand behind: the first of these, and the others that follow it at once."""


def changed(message: Message, values: Mapping[str, Any]) -> Message:
    """The message with these values at these paths.  Raises MessageUnusable when there is no place for one."""
    as_it_came = opened(message.body, message.headers.get("charset"))
    hl7 = as_it_came.own()
    for path, value in values.items():
        _set(hl7, path, value, as_it_came)
    headers = {}
    if isinstance(new := values.get("MSH-18"), str) and new:
        hl7.recode(new)
        headers = {"charset": new}
    return message.derive(bytes(hl7), format="hl7v2", type=hl7.type, headers=headers)


def _set(hl7: Hl7, path: str, value: Any, as_it_came: Hl7) -> None:
    target = paths.parse(path)
    if value == "" and not hl7.standing(path):
        return  # there is nothing to empty
    if len(hl7.matching(target)) < target.occurrence:
        _make_room(hl7, target, path)
    if isinstance(value, Copied):
        hl7.copy(path, as_it_came, value.path)
    elif isinstance(value, list):
        if target.component is not None or paths.names_repetition(path):
            raise MessageUnusable(f"{path} takes one value, but its rule gives several; write | join ' ', or the whole field")
        hl7.set_repetitions(path, [as_text(one) for one in value])
    else:
        hl7.set(path, as_text(value))


def _make_room(hl7: Hl7, target: paths.Path, path: str) -> None:
    """Puts in the segment that is missing; only where there is no doubt where it belongs."""
    there, name = hl7.places(target.segment), target.segment
    if len(there) == target.occurrence - 1 and target.where is None:
        if name.startswith("Z"):
            hl7.add(name)
            return
        behind = _BEHIND.get(name, ())
        firsts = hl7.places(behind[0]) if behind and not there else []
        if len(firsts) == 1:
            place = firsts[0] + 1
            while place < len(hl7.ids) and hl7.ids[place] in behind:
                place += 1
            hl7.insert(place, name)
            return
    raise MessageUnusable(f"{path}: the message has no such {name} segment, and it is not certain where one would belong")
