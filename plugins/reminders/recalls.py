"""Recalls: people on a list (CSV or XLSX) who shall be asked to make an appointment.  Step `take_recalls`.

The first row names the columns: `recall` (a kind of the policy file), `phone`, and if known `id` (of the line, the patient's
number for instance), `language`.  A line that comes again, in the same list or another, is not reminded again before it is a
year old.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from hub import Context, Message, MessageUnusable, Record, StepResult, WorklistItem
from hub.formats.sheets import read_sheet
from hub.records_reminders import Reminder
from hub.settings.schedule import moment_of
from plugins.reminders.people import e164, zone_of
from plugins.reminders.plan import PolicyConfig, PolicyStep, plan_due
from plugins.reminders.policies import Recall
from plugins.reminders.times import is_quiet, quiet_ends

AGAIN_AFTER = timedelta(days=330)
USEFUL_FOR = timedelta(days=3)
"""How long after its time a recall may still leave."""


class RecallList(Record):
    """How many of a kind of recall are reminded on a day."""

    id: str
    """Kind and day."""
    planned: int = 0


class TakeRecallsConfig(PolicyConfig):
    """Settings of `take_recalls`."""

    queue: str = "front_desk"
    """Worklist for lines that cannot be used."""


class TakeRecalls(PolicyStep[TakeRecallsConfig]):
    """Plans a reminder for each line of a list."""

    kind = "take_recalls"
    main = "policies"

    async def run(self, message: Message, context: Context) -> StepResult:
        rows = read_sheet(message.body)
        if not rows:
            raise MessageUnusable("the list is empty", code="REM-008")
        columns = [name.strip().lower() for name in rows[0]]
        if missing := [name for name in ("recall", "phone") if name not in columns]:
            raise MessageUnusable(f"the first row of the list names no column {missing[0]!r}", code="REM-008")
        wrong: list[str] = []
        planned = 0
        for number, row in enumerate(rows[1:], 2):
            line = dict(zip(columns, [*row, *[""] * len(columns)], strict=False))
            why = await self._line(line, context)
            planned += not why
            if why and why != _KNOWN:
                wrong.append(f"line {number}: {why}")
        context.note("recalls", f"{planned} recalls planned, {len(wrong)} lines cannot be used", plain=True)
        if wrong:
            told = "; ".join(wrong[:10])
            text = f"{len(wrong)} lines of a recall list cannot be used: {told}. Correct them and send them again."
            await context.save(WorklistItem(queue=self.config.queue, text=text, cause=f"recall list {message.id}"))
        return None

    async def _line(self, line: dict[str, str], context: Context) -> str:
        """Plans one; returns why it is not planned."""
        kind = line["recall"].strip()
        recall = self._policies.recalls.get(kind)
        if recall is None:
            return f"there is no kind of recall {kind!r}; there are {', '.join(self._policies.recalls)}"
        number = e164(line["phone"], self._policies.country)
        if number is None:
            return "the telephone number cannot be used"
        who = line.get("id", "").strip() or number
        id = f"recall/{context.digest('recall', kind, who)[:24]}"
        known = await context.get(Reminder, id)
        if known is not None and known.due_at is not None and known.due_at > context.now - AGAIN_AFTER:
            return _KNOWN
        due_at = await self._moment(kind, recall, number, context)
        reminder = Reminder(
            id=id, recall=kind, template=recall.template, due_at=due_at, until=due_at + USEFUL_FOR, number=number,
            language=line.get("language", "").strip(),
        )  # fmt: skip
        await context.put(reminder)
        plan_due(reminder, due_at, context)
        return ""

    async def _moment(self, kind: str, recall: Recall, number: str, context: Context) -> datetime:
        """The first day that has room, at the time of day where the patient is, not in quiet hours."""
        zone = zone_of(number, context.site.zone, self._policies)
        day = context.now.astimezone(zone).date()
        while True:
            moment = moment_of(day, recall.at, zone)
            if is_quiet(moment, zone, self._policies.quiet.hours):
                moment = quiet_ends(moment, zone, self._policies.quiet.hours)
            if moment > context.now:
                id = f"{kind}/{day.isoformat()}"
                full = await context.get(RecallList, id) or RecallList(id=id)
                if full.planned < recall.most_a_day:
                    await context.put(full.model_copy(update={"planned": full.planned + 1}))
                    return moment
            day += timedelta(days=1)


_KNOWN = "known"
