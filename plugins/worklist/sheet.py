"""The worklist as a spreadsheet, out and in: what is ticked in it is done, and lines that somebody added become items.

A sheet that comes back twice changes nothing the second time.  Who wrote into it is not known: what it closes says that a
sheet said so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from hub import Appointment, Context, Message, MessageUnusable, Patient, Step, StepConfig, StepResult, WorklistItem
from hub.formats.sheets import Cell, read_sheet, write_csv, write_xlsx
from plugins.worklist.items import close_item

SheetFormat = Literal["csv", "xlsx"]
COLUMNS = ("Item", "Queue", "Visit", "Time of visit", "Patient", "What to do", "Who", "Cause", "Open since", "Done", "Remark")
TICKS = frozenset({"x", "yes", "y", "done", "true", "1", "ok", "✓", "✔"})
"""What people write into `Done`."""


async def worklist_sheet(items: Sequence[WorklistItem], format: SheetFormat, context: Context) -> bytes:
    """A line for each item, with empty columns for what somebody did about it."""
    rows: list[list[Cell]] = [list(COLUMNS)]
    for item in items:
        rows.append(await _row(item, context))
    return write_csv(rows) if format == "csv" else write_xlsx(rows, f"Worklist {context.now:%Y-%m-%d}")


async def _row(item: WorklistItem, context: Context) -> list[Cell]:
    visit = await context.get(Appointment, item.appointment) if item.appointment else None
    zone = (context.sites.get(visit.site or "", context.site) if visit is not None else context.site).zone
    starts = visit.starts_at.astimezone(zone) if visit is not None and visit.starts_at is not None else None
    chart = await context.get(Patient, visit.patient_id) if visit is not None and visit.patient_id else None
    name = ", ".join(filter(None, (chart.name.family, chart.name.given))) if chart is not None else None
    since = item.opened_at.astimezone(zone) if item.opened_at is not None else None
    known: list[Cell] = [item.id, item.queue, item.appointment, starts, name, item.text, item.who, item.cause, since]
    return [*known, None, None]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a sheet that came back; headings in any order and any case."""

    number: int
    """As a spreadsheet program counts them."""
    said: dict[str, str]

    def __getitem__(self, column: str) -> str:
        return self.said.get(column.lower(), "").strip()

    @property
    def is_done(self) -> bool:
        return self["Done"].lower() in TICKS


def lines_of(data: bytes) -> Iterator[Line]:
    """Raises MessageUnusable when it is no sheet of a worklist."""
    head, *rows = read_sheet(data) or [[]]
    names = [cell.strip().lower() for cell in head]
    if missing := [column for column in ("Item", "What to do", "Done") if column.lower() not in names]:
        raise MessageUnusable(f"the sheet has no column {missing[0]!r}; its first row names the columns", code="WRK-002")
    for number, row in enumerate(rows, start=2):
        if any(row):
            yield Line(number, dict(zip(names, row, strict=False)))


class SheetConfig(StepConfig):
    """Settings of `worklist_sheet`."""

    format: SheetFormat = "xlsx"
    """xlsx for people; csv for programs, which then see leading zeros."""
    queue: str | None = None
    """Only one queue; all when it is left out."""


class WorklistSheet(Step[SheetConfig]):
    """Writes the open items of the worklist into a spreadsheet."""

    kind = "worklist_sheet"
    main = "format"

    async def run(self, message: Message, context: Context) -> StepResult:
        items = await open_items(self.config.queue, context)
        content = await worklist_sheet(items, self.config.format, context)
        context.note("worklist", f"A sheet of the worklist: {len(items)} item(s)", plain=True)
        day = context.now.astimezone(context.site.zone).date().isoformat()
        return message.derive(content, format="bytes", type=day, headers={"items": str(len(items))})


async def open_items(queue: str | None, context: Context) -> list[WorklistItem]:
    """Oldest first."""
    items = await context.find(WorklistItem, "open", "yes", limit=10_000)
    mine = [item for item in items if queue in (None, item.queue)]
    return sorted(mine, key=lambda item: (item.opened_at or context.now, item.id))


class ReadConfig(StepConfig):
    """Settings of `read_worklist`."""

    queue: str = "front_desk"
    """Whose list gets the lines that name none."""


class ReadWorklist(Step[ReadConfig]):
    """Reads a sheet that came back: closes what is ticked, opens an item for each line without a number."""

    kind = "read_worklist"
    main = "queue"

    async def run(self, message: Message, context: Context) -> StepResult:
        closed = opened = 0
        for line in lines_of(message.body):
            if line["Item"]:
                closed += await self._close(line, context)
            elif line["What to do"] and not line.is_done:
                opened += await self._open(line, context)
        context.note("worklist", f"A sheet came back: {closed} item(s) closed, {opened} opened", plain=True)
        return message

    async def _close(self, line: Line, context: Context) -> bool:
        item = await context.get(WorklistItem, line["Item"]) if line.is_done else None
        if item is None or not item.open:
            return False
        because = f"ticked in a sheet: {line['Remark']}" if line["Remark"] else "ticked in a sheet"
        await close_item(item, because, context)
        return True

    async def _open(self, line: Line, context: Context) -> bool:
        """The same line is the same item, however often it comes, also once it is done."""
        cause = f"sheet line {context.digest('worklist line', line['Visit'], line['What to do'])[:12]}"
        known = await context.find(WorklistItem, "appointment", line["Visit"], limit=10_000)
        if any(item.cause == cause for item in known):
            return False
        who, queue = line["Who"] or "coordinator", line["Queue"] or self.config.queue
        item = WorklistItem(queue=queue, appointment=line["Visit"], topic=cause, text=line["What to do"], who=who, cause=cause)
        await context.save(item)
        return True
