"""How PostgreSQL answers what people ask of a journal of a quarter million rows: by indexes, never by reading a whole table.

The plans are those the server makes of its own accord, with statistics of what is there.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table

from hub.bus.hub import Hub
from hub.store.schema import metadata
from tests.hub.bus.probe import World, adt, deliver
from tests.hub.bus.test_operations import FLOW, QUERIES, refusing, statements
from tests.postgres import execute, query
from tests.support import STORE, clinic_folder, running_hub, settled

pytestmark = [pytest.mark.parametrize("store_kind", ["postgres"], indirect=True), pytest.mark.timeout(240)]
COPIES = 1000
LARGE = ("message", "message_key", "work", "attempt")
"""Tables that grow with every message."""


def multiply(url: str) -> None:
    """As many again, a thousand times, each with ids and keys of its own, as a journal has them."""
    top = {name: query(url, f"SELECT max({column}) FROM {name}")[0][0] or 0 for name, column in _NUMBERS.items()}
    for name in LARGE:
        table = metadata.tables[name]
        values = ", ".join(_copied(table, column.name, top) for column in table.columns)
        names = ", ".join(f'"{column.name}"' for column in table.columns)
        execute(url, f"INSERT INTO {name} ({names}) SELECT {values} FROM {name} o, generate_series(1, {COPIES}) n")
    for name in LARGE:
        execute(url, f"ANALYZE {name}")


_NUMBERS = {"message": "seq", "work": "id"}


def _copied(table: Table, column: str, top: dict[str, int]) -> str:
    moved = {
        "seq": f"o.seq + n * {top['message']}",
        ("work", "id"): f"o.id + n * {top['work']}",
        ("attempt", "work"): f"o.work + n * {top['work']}",
        ("message", "id"): "o.id || '-' || n",
        ("message_key", "value"): "o.value || '-' || n",
    }
    return moved.get((table.name, column), moved.get(column, f'o."{column}"'))


def plan_of(url: str, statement: str, values: Sequence[Any]) -> list[str]:
    return [line for (line,) in query(url, f"EXPLAIN {statement}", *values)]


def reads_all(plan: Sequence[str]) -> list[str]:
    """Tables that grow and are read from one end to the other."""
    found = [match[1] for line in plan if (match := re.search(r"Seq Scan on (\w+)", line))]
    return [table for table in found if table in LARGE]


async def test_no_question_reads_a_whole_table_of_a_large_journal(world: World, tmp_path: Path) -> None:
    world.partners["pms"] = refusing  # type: ignore[assignment]
    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        receipt = await deliver(hub, *(adt(f"M{number}", str(number)) for number in range(60)), adt("BAD", "7"))
        await settled(hub)
        await asyncio.to_thread(multiply, STORE[-1])
        asked = await _asked(hub, receipt.ids[0])
        wrong = {name: plan for name, plan in await asyncio.to_thread(_plans, asked) if reads_all(plan)}
    assert not wrong, "\n".join(line for plan in wrong.values() for line in plan)
    assert len(asked) > len(QUERIES)


async def _asked(hub: Hub, which: str) -> list[tuple[str, str, Any]]:
    found = []
    for name, ask in QUERIES.items():
        with statements() as ran:
            await ask(hub, which)
        found += [(name, statement, values) for statement, values in ran]
    return found


def _plans(asked: Sequence[tuple[str, str, Any]]) -> list[tuple[str, list[str]]]:
    return [(name, plan_of(STORE[-1], statement, values)) for name, statement, values in asked]


def test_a_table_that_is_read_whole_is_noticed(tmp_path: Path) -> None:
    assert reads_all(plan_of(STORE[-1], "SELECT * FROM message WHERE size = 7", ())) == ["message"]
