"""The day sheet: a line for each visit of a day, for those who open the door in the morning, as CSV or XLSX."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Literal

from pydantic import Field

from hub import Context, Message, MessageUnusable, Step, StepConfig, StepResult
from hub.errors import Refused
from hub.formats.sheets import Cell, write_csv, write_xlsx
from hub.records import GONE, OUTCOME_WORDS
from plugins.eligibility.known import KnownVisit, visits_of

SheetFormat = Literal["csv", "xlsx"]
COLUMNS = (
    "Time", "Patient", "Born", "Chart", "Payer", "Member id", "Plan", "Status", "Co-pay", "Deductible left",
    "Out-of-pocket left", "Authorization", "What to do", "Who", "Checked at",
)  # fmt: skip


async def day_sheet(day: date, format: SheetFormat, site: str | None, context: Context) -> tuple[bytes, int]:
    """The file, and how many visits are in it; those that will not take place are not."""
    visits = [visit for visit in await visits_of(day, context, site) if visit.appointment.status not in GONE]
    rows: list[list[Cell]] = [list(COLUMNS), *(_row(visit) for visit in visits)]
    content = write_csv(rows) if format == "csv" else write_xlsx(rows, f"Visits {day.isoformat()}")
    return content, len(visits)


def _row(visit: KnownVisit) -> list[Cell]:
    check, starts = visit.check, visit.starts_at
    checked = check.checked_at.astimezone(starts.tzinfo) if check.checked_at is not None and starts is not None else None
    return [
        f"{starts:%H:%M}" if starts is not None else None,
        visit.name,
        visit.patient.name.birth_date if visit.patient is not None else None,
        visit.number,
        check.payer,
        visit.member_id,
        check.plan_name,
        OUTCOME_WORDS[visit.outcome] + (f" (by {visit.verified.how})" if visit.verified is not None else ""),
        *_money(visit),
        visit.authorization or visit.in_words(None),
        visit.action or " ".join(visit.notes),
        visit.who or ("coordinator" if visit.notes else None),
        checked,
    ]


def _money(visit: KnownVisit) -> Iterable[Cell]:
    """As the payer said it, never a sum; what it did not say is said to be so."""
    chosen = visit.check.chosen
    yield visit.owes.co_payment or visit.in_words(chosen.co_payment)
    yield visit.in_words(chosen.deductible_remaining)
    yield visit.in_words(chosen.out_of_pocket_remaining)


class DaySheetConfig(StepConfig):
    """Settings of `day_sheet`."""

    format: SheetFormat = "xlsx"
    """xlsx for people; csv for programs, which then see leading zeros."""
    days_ahead: int = Field(default=0, ge=0, le=60)
    """0: the visits of the day on which the flow runs; 1: of the next day."""
    site: str | None = None
    """Only the visits of this site; all when not set."""


class DaySheet(Step[DaySheetConfig]):
    """Writes the day sheet: a line for each visit with its coverage; for a flow that begins by the clock."""

    kind = "day_sheet"
    main = "format"

    async def run(self, message: Message, context: Context) -> StepResult:
        today = message.headers.get("day")
        if today is None:
            raise MessageUnusable(
                "day_sheet needs a flow that begins by the clock, but this message has no day", code="ELG-003"
            )
        day = date.fromisoformat(today) + timedelta(days=self.config.days_ahead)
        try:
            content, visits = await day_sheet(day, self.config.format, self.config.site, context)
        except Refused as error:
            raise MessageUnusable(str(error), code="ELG-003") from None
        context.note("day sheet", f"Day sheet of {day.isoformat()}: {visits} visit(s)", plain=True)
        return message.derive(content, format="bytes", type=day.isoformat(), headers={"visits": str(visits)})
