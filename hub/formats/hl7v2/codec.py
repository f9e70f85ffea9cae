"""HL7 v2 as a format of the hub: what a message is filed under, and how mappings read it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from hub.errors import MessageUnusable
from hub.format import Fields, Keys, WritableFormat
from hub.formats.hl7v2 import paths
from hub.formats.hl7v2.change import changed
from hub.formats.hl7v2.compose import composed
from hub.formats.hl7v2.message import REMEMBERED, REMEMBERED_SIZE, Group, Hl7, opened
from hub.formats.hl7v2.names import field_name
from hub.message import Message
from hub.step import Context

NOT_FOR_MATCHING = frozenset({"SS", "SSN", "DL", "PPN"})
"""Identifier types (table 0203) that are no chart numbers: social security, driver's licence, passport."""


_AT = re.compile(r"(?P<segment>[A-Za-z][A-Za-z0-9]{2})(?:\[[^\]]*\])?-(?P<field>[0-9]{1,4})(?:\[[^\]]*\])?(?:\.[0-9]+){0,2}")
"""A path at the beginning of a sentence."""
_COMPONENT = re.compile(r"[1-9][0-9]{0,3}(\.[1-9][0-9]{0,3})?")
_SCOPE = re.compile(r"[A-Za-z][A-Za-z0-9]{2}(-[0-9]{1,4})?")


class Hl7Fields:
    """A message or a group of it, opened for a mapping."""

    __slots__ = ("_view",)

    def __init__(self, view: Hl7 | Group) -> None:
        self._view = view

    def get(self, path: str) -> str | None:
        return self._view.get(path)

    def get_all(self, path: str) -> list[str]:
        return self._view.get_all(path)

    def each(self, scope: str) -> Iterator[Fields]:
        """Groups by segment (`IN1`), or the repetitions of a field (`PID-3`), read as `1`, `4.1`, `5`."""
        if "-" not in scope:
            for group in self._view.each(scope):
                yield Hl7Fields(group)
            return
        for repetition in range(1, self._repetitions(paths.parse(scope)) + 1):
            yield Repetition(self._view, scope, repetition)

    def _repetitions(self, field: paths.Path) -> int:
        hl7 = self._view if isinstance(self._view, Hl7) else self._view.message
        place = next((p for p in self._view.places_for(field.segment) if hl7.ids[p] == field.segment), None)
        return 0 if place is None else len(hl7.repetitions(place, field.field))


class Repetition:
    """One repetition of a field; paths are components: `1`, `4.1`."""

    __slots__ = ("_field", "_number", "_view")

    def __init__(self, view: Hl7 | Group, field: str, number: int) -> None:
        self._view, self._field, self._number = view, field, number

    def get(self, path: str) -> str | None:
        return self._view.get(self._whole(path))

    def get_all(self, path: str) -> list[str]:
        return self._view.get_all(self._whole(path))

    def _whole(self, path: str) -> str:
        return f"{self._field}[{self._number}].{path}" if path[:1].isdigit() else path

    def each(self, scope: str) -> Iterator[Fields]:  # noqa: ARG002 - a repetition has no groups
        return iter(())


class Hl7Format(WritableFormat):
    """HL7 v2, all versions.  A mapping to it changes fields of the message it reads, or writes one of its own from a record."""

    name = "hl7v2"
    changes = True
    orders_by_path = True

    def keys(self, body: bytes, headers: Mapping[str, str]) -> Keys:
        what = (body, headers.get("charset"), headers.get("authority", ""), headers.get("ordering_path", ""))
        return _remembered(*what) if len(body) <= REMEMBERED_SIZE else _keys(*what)

    def open(self, message: Message) -> Fields:
        return Hl7Fields(opened(message.body, message.headers.get("charset")))

    def path_error(self, path: str) -> str | None:
        if _COMPONENT.fullmatch(path):
            return None  # of the repetition a rule is in
        try:
            paths.parse(path)
        except ValueError as error:
            return str(error)
        return None

    def path_error_within(self, path: str, scope: str | None) -> str | None:
        if _COMPONENT.fullmatch(path) and "-" not in (scope or ""):
            return f"{path!r} is a component, which is read within `each` over a field; a path looks like PID-5.1"
        return self.path_error(path)

    def in_words(self, text: str, message: Message) -> str:
        found = _AT.match(text)
        if found is None:
            return text
        version = (opened(message.body, message.headers.get("charset")).get("MSH-12.1") or "").strip()
        name = field_name(version, found["segment"].upper(), int(found["field"]))
        return f"{found[0]} ({name}){text[found.end() :]}" if name else text

    def target_error(self, path: str) -> str | None:
        return paths.target_error(path)

    async def write(self, values: dict[str, Any], message: Message, context: Context) -> Message:
        if message.format == self.name:
            return changed(message, values)
        now = context.now.astimezone(context.site.zone)
        return composed(values, message, control_id=context.new_id(), now=now)

    def scope_error(self, scope: str) -> str | None:
        if _SCOPE.fullmatch(scope):
            return self.path_error(scope) if "-" in scope else None
        return f"{scope!r} is no segment and no field; one looks like IN1 or PID-3"


def _keys(body: bytes, charset: str | None, authority: str, ordering_path: str) -> Keys:
    try:
        message = opened(body, charset)
    except MessageUnusable:
        return Keys(findings=("not HL7 v2",))
    control_id = message.control_id
    patients, charts = _patients(message, authority)
    own = _said(message.get(ordering_path)) if ordering_path else ""
    filler, placer = _said(message.get("SCH-2.1")), _said(message.get("SCH-1.1"))
    sender = f"{message.get('MSH-3') or ''}\x1f{message.get('MSH-4') or ''}"
    return Keys(
        type=message.type,
        control_id=control_id,
        duplicate_key=f"{sender}\x1f{control_id}" if control_id.strip() else "",
        patient=patients,
        appointment=_unique([filler or placer]),
        other=(("placer", placer),) if placer and filler and placer != filler else (),
        member=_unique(message.get_all("IN1[*]-36.1") + message.get_all("IN1[*]-49.1")),
        ordering=(own,) if own else charts,
        findings=tuple(message.findings),
    )


_remembered = lru_cache(maxsize=REMEMBERED)(_keys)


def _patients(message: Hl7, authority: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """All ids of the patients a message is about, and their charts, authority and first id: one, or for a merge all that take
    part.
    """
    ids, charts = [], []
    for segment, field in (("PID", 3), ("MRG", 1)):
        for place in message.places(segment):
            for number, repetition in enumerate(message.repetitions(place, field)):
                id = _said(message.part(repetition, 1))
                ids.append(id)
                if id and number == 0:
                    charts.append(f"{_said(message.part(repetition, 4, 1)) or authority}|{id}")
    return _unique(ids), _unique(charts)


def _said(value: str | None) -> str:
    """The value without blanks around it; nothing when it is empty, or `""` says that there is none."""
    text = (value or "").strip()
    return "" if text == '""' else text


def _unique(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([text for value in values if (text := _said(value))])) if values else ()
