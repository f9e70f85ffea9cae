"""What a person must do, in plain words: one item for each visit and cause, closed by itself when the cause is gone.

items.py       opening and closing
step.py        an outcome as an item
sheet.py       the list as a spreadsheet, out and in
operations.py  what people ask of it, and what they tell it
"""

from __future__ import annotations

from hub import Operation, RecordKey, RecordKind, WorklistItem, hookimpl
from hub.step import AnyStep
from plugins.worklist.items import same_as, save_item
from plugins.worklist.operations import OPERATIONS
from plugins.worklist.sheet import ReadWorklist, WorklistSheet
from plugins.worklist.step import Worklist


@hookimpl
def register_steps() -> list[type[AnyStep]]:
    return [Worklist, WorklistSheet, ReadWorklist]


@hookimpl
def register_records() -> list[RecordKind]:
    def keys(item: WorklistItem) -> list[RecordKey]:
        found = [RecordKey("open", "yes" if item.open else "no"), RecordKey("appointment", item.appointment)]
        if item.open:  # two runs at once that open the same item: one of them goes again, and finds it
            found += [RecordKey("open_for", item.appointment), RecordKey("open_as", same_as(item), unique=True)]
            if not item.appointment:
                found.append(RecordKey("open_about", item.topic))
        return found

    plain = frozenset({"open", "appointment", "open_for"})
    return [RecordKind("worklist_item", WorklistItem, keys, plain, save=save_item)]


@hookimpl
def register_operations() -> list[Operation]:
    return OPERATIONS
