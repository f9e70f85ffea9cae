"""Running a mapping: a message in, one or several records or messages out.  No clock, no store, no sockets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from hub.errors import MessageUnusable
from hub.format import Copied, Fields
from hub.formats.dotted import DottedFields
from hub.mapping.files import Block, Mapping, Repeated
from hub.mapping.rules import NULL, Notes, is_empty
from hub.message import Message
from hub.records import Record
from hub.transform import TransformContext


@dataclass(slots=True)
class MappingResult:
    """What a mapping made of a message."""

    records: list[Record] = field(default_factory=list)
    values: list[dict[str, Any]] = field(default_factory=list)
    """For formats: values by dotted path, one dict for each message to write."""
    notes: list[tuple[str, str]] = field(default_factory=list)


def run_mapping(mapping: Mapping, message: Message, context: TransformContext) -> MappingResult:
    """Raises MessageUnusable saying which field is missing or wrong, never its value."""
    fields = open_fields(mapping, message)
    notes = Notes()
    groups = list(fields.each(mapping.each)) if mapping.each else [fields]
    result = MappingResult(notes=notes.found)
    for group in groups:
        if mapping.target_model is not None:
            result.records.append(_record(mapping, _nested(mapping.block, group, context, notes)))
        else:
            result.values.append((_changes if mapping.changes else _flat)(mapping.block, group, context, notes))
    return result


def open_fields(mapping: Mapping, message: Message) -> Fields:
    if mapping.source_format is not None:
        if message.format != mapping.source:
            raise MessageUnusable(
                f"the mapping {mapping.name} reads {mapping.source}, but this is {message.format}", code="MAP-004"
            )
        return mapping.source_format.open(message)
    record = message.record
    model = mapping.source_model
    if record is None and model is not None and message.format == mapping.source:
        try:
            record = model.model_validate_json(message.body)
        except ValidationError:
            record = None
    if model is None or not isinstance(record, model):
        raise MessageUnusable(
            f"the mapping {mapping.name} reads a {mapping.source}, but this is {message.format}", code="MAP-004"
        )
    return DottedFields(record)


def _nested(block: Block, fields: Fields, context: TransformContext, notes: Notes) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for target, rule in block.rules.items():
        value = rule.value(fields, context, notes)
        if value is not None:
            _put(values, target, None if value == NULL else value)
    for target, repeated in block.lists.items():
        if items := _items(repeated, fields, context, notes):
            _put(values, target, items)
    return values


def _items(repeated: Repeated, fields: Fields, context: TransformContext, notes: Notes) -> list[dict[str, Any]]:
    """One item for each group that the filter lets through, that says something, and that has what an item needs."""
    groups = (group for group in fields.each(repeated.scope) if repeated.when.holds(group.get))
    items = (_nested(repeated.block, group, context, notes) for group in groups if repeated.block.is_said(group))
    return [item for item in items if all(item.get(name) is not None for name in repeated.required)]


def _flat(block: Block, fields: Fields, context: TransformContext, notes: Notes) -> dict[str, Any]:
    values = {target: rule.value(fields, context, notes) for target, rule in block.rules.items()}
    return {target: value for target, value in values.items() if not is_empty(value)}


def _changes(block: Block, fields: Fields, context: TransformContext, notes: Notes) -> dict[str, Any]:
    """What a message is changed to; a rule that gives nothing leaves things as they are, and only `''` empties."""
    values: dict[str, Any] = {}
    for target, rule in block.rules.items():
        if rule.empties:
            values[target] = ""
        elif (value := rule.value(fields, context, notes)) not in (None, ""):
            values[target] = Copied(rule.copies) if rule.copies else value
    return values


def _put(values: dict[str, Any], target: str, value: Any) -> None:
    *parents, last = target.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
    values[last] = value


def _record(mapping: Mapping, values: dict[str, Any]) -> Record:
    assert mapping.target_model is not None  # noqa: S101 - the caller asked for a record
    try:
        return mapping.target_model.model_validate(values)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}" for e in error.errors(include_input=False)[:5])
        raise MessageUnusable(f"the mapping {mapping.name} made no {mapping.target}: {wrong}", code="MAP-005") from None
