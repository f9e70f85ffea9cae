"""What a person must do, in plain words: one item for each visit and cause, closed by itself when the cause is gone."""

from __future__ import annotations

from hub import Operation, RecordKey, RecordKind, WorklistItem, hookimpl
from hub.step import AnyStep
from plugins.worklist.items import save_item
from plugins.worklist.operations import OPERATIONS
from plugins.worklist.step import Worklist


@hookimpl
def register_steps() -> list[type[AnyStep]]:
    return [Worklist]


@hookimpl
def register_records() -> list[RecordKind]:
    def keys(item: WorklistItem) -> list[RecordKey]:
        found = [RecordKey("open", "yes" if item.open else "no"), RecordKey("appointment", item.appointment)]
        return [*found, RecordKey("open_for", item.appointment)] if item.open else found

    plain = frozenset({"open", "appointment", "open_for"})
    return [RecordKind("worklist_item", WorklistItem, keys, plain, save=save_item)]


@hookimpl
def register_operations() -> list[Operation]:
    return OPERATIONS
