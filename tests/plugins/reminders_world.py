"""Reminders with the plugin's own functions on records in memory and a clock of our own: what the hub does around them (one
commit for each run, due work by key, an answer to each order) is played here.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from hub import Appointment, Patient, Person
from hub.bus.contents import MemoryContents
from hub.bus.context import RunContext, Surroundings
from hub.bus.numbers import MemoryNumbers
from hub.bus.records import MemoryRecords
from hub.message import Message
from hub.records import Failure, Identifier, Record
from hub.records_reminders import OptOut, Reminder, Reply, Report
from hub.security.seal import Seal
from hub.step import Due, RecordKind, Step
from plugins.reminders.plan import PlanReminders, PolicyConfig
from plugins.reminders.replies import TakeReply, TakeReplyConfig
from plugins.reminders.reports import LOOK, LookAgain, ReminderFailed, ReminderFailedConfig, TakeReport, prepare_look
from plugins.reminders.sending import Remind, RemindConfig, WaysConfig, prepare_reminder
from tests.plugins.clinic import read_clinic
from tests.support import clinic_folder

POLICIES = """
quiet: {from: "20:00", to: "09:00"}
zones: {"+1212": America/New_York, "+1808": Pacific/Honolulu, "+1213": America/Los_Angeles}
reminders:
  office:
    not_types: [NONE]
    steps:
      - {before: 5d, at: "10:00", template: visit}
      - {before: 1d, at: "18:00", template: visit}
      - {before: 2h, template: soon, channels: [text]}
templates:
  visit:
    text:
      en: "{clinic}: your visit is on {day} at {time}. Reply C to confirm, R for another time, STOP for no reminders."
      es: "{clinic}: su visita es el {day} a las {time}. Responda C, R o STOP."
    call: {en: "{clinic}. Your visit is on {day} at {time}. Press 1 to confirm, 2 for another time, 9 for no calls."}
  soon:
    text: {en: "{clinic}: see you today at {time}."}
"""
FOLDER = Path(tempfile.mkdtemp())
FILE = clinic_folder(FOLDER, "")
(FOLDER / "reminders.yaml").write_text(POLICIES, encoding="utf-8")
NUMBERS = {"chicago": "+13125550142", "new york": "+12125550142", "honolulu": "+18085550142", "los angeles": "+12135550142"}
ZONES = {
    "chicago": ZoneInfo("America/Chicago"),
    "new york": ZoneInfo("America/New_York"),
    "honolulu": ZoneInfo("Pacific/Honolulu"),
    "los angeles": ZoneInfo("America/Los_Angeles"),
}


@dataclass
class Out:
    """An order that left."""

    channel: str
    id: str
    to: str
    text: str
    at: datetime
    headers: dict[str, str]
    starts_at: datetime | None
    partner_id: str = ""
    said: list[str] = field(default_factory=list)


class FiledRecords(MemoryRecords):
    """Records in memory that are found by their keys at once, so that a year of a thousand patients is a matter of minutes."""

    def __init__(self) -> None:
        super().__init__()
        self._filed: dict[tuple[str, str, str], set[str]] = defaultdict(set)

    async def find(self, kind: RecordKind, name: str, value: str, limit: int) -> list[tuple[Record, int]]:
        ids = sorted(self._filed[kind.name, name, value])[:limit]
        return [(record, version) for _, record, version in (self.kept[kind.name, id] for id in ids)]

    def keep(self, kind: RecordKind, record: Record) -> None:
        id = str(getattr(record, "id", ""))
        before = self.kept.get((kind.name, id))
        for key in kind.keys(before[1]) if before is not None else ():
            self._filed[kind.name, key.name, key.value].discard(id)
        super().keep(kind, record)
        for key in kind.keys(record):
            self._filed[kind.name, key.name, key.value].add(id)


class World:
    """A clinic whose patients are reminded."""

    def __init__(self, begin: datetime, policies: str = "reminders.yaml") -> None:
        self.now = begin
        self.due: dict[tuple[str, str], Due] = {}
        self.out: list[Out] = []
        self.looks: list[Out] = []
        self.runs = 0
        clinic = read_clinic(FILE)
        self.memory = FiledRecords()
        seal = Seal(b"\0" * 32)
        self.all = Surroundings(
            clinic.settings, clinic.catalogue, clinic.mappings, seal, self.memory, MemoryNumbers(), MemoryContents(seal)
        )
        path = FOLDER / policies
        ways = {"policies": path, "text": "texts", "call": "calls"}
        self.plan_step = PlanReminders("plan_reminders", PolicyConfig(policies=path))
        self.remind_step = Remind("remind", RemindConfig(**ways))
        self.report_step = TakeReport("take_report", PolicyConfig(policies=path))
        self.look_step = LookAgain("look_again", WaysConfig(**ways))
        self.failed_step = ReminderFailed("reminder_failed", ReminderFailedConfig(policies=path))
        self.reply_step = TakeReply("take_reply", TakeReplyConfig(policies=path))

    # What the hub does.

    def wait(self, running: Coroutine[Any, Any, Any]) -> Any:
        """Nothing here waits for anything, so no loop is needed."""
        try:
            running.send(None)
        except StopIteration as done:
            return done.value
        raise AssertionError("it waits for something")

    def keep(self, record: Any) -> None:
        self.memory.keep(self.all.kinds[type(record)], record)

    def context(self) -> RunContext:
        self.runs += 1
        return RunContext(self.all, message_id=f"{self.runs:020d}", name="f", generation=0, connection="", now=self.now)

    def commit(self, context: RunContext) -> None:
        for saved in context.changes.records.values():
            self.keep(saved.record)
        for key, due in context.changes.due.items():
            self.due.pop(key, None)
            if due is not None:
                self.due[key] = due
        for sent in context.changes.sent:
            headers = dict(sent.message.headers)
            if sent.message.format == "look":
                self.looks.append(Out(headers["channel"], headers["thing"], "", "", self.now, headers, None))
                continue
            order: Any = sent.message.record
            visit = self.get(Appointment, headers["appointment"]) if headers.get("appointment") else None
            starts = visit.starts_at if visit is not None else None
            self.out.append(Out(headers["channel"], order.id, order.to, order.text, self.now, headers, starts))

    def run(self, step: Step[Any], record: Any, kind: str, headers: dict[str, str] | None = None) -> Any:
        context = self.context()
        context.step = step.name
        result = self.wait(step.run(Message(record, kind, headers=headers or {}), context))
        self.commit(context)
        return result

    def get(self, kind: type[Any], id: str) -> Any:
        return self.wait(self.context().get(kind, id))

    def all_of(self, kind: type[Any]) -> list[Any]:
        return [record for known, record, _ in self.memory.kept.values() if known.model is kind]

    def fire(self, key: tuple[str, str]) -> None:
        due = self.due.pop(key)
        self.now = max(self.now, due.at)
        context = self.context()
        job = prepare_look if due.job == LOOK else prepare_reminder
        context.step = "due"
        prepared = self.wait(job(due.payload, context))
        if prepared is not None:
            step: Step[Any] = self.look_step if due.job == LOOK else self.remind_step
            context.step = step.name
            kind = context.kind_name(prepared.record)
            self.wait(step.run(Message(prepared.record, kind, headers=dict(prepared.headers)), context))
        self.commit(context)

    def until(self, moment: datetime) -> None:
        """Everything that is due up to a moment is done at its time."""
        while self.due and (key := min(self.due, key=lambda key: (self.due[key].at, key))):
            if self.due[key].at > moment:
                break
            self.fire(key)
        self.now = max(self.now, moment)

    # What happens.

    def patient(self, id: str, number: str | None, language: str | None = None) -> None:
        name = Person(family="Canarius", given="Quetzal")
        self.keep(Patient(id=id, identifiers=[Identifier(value=id)], name=name, phone=number, language=language))

    def book(self, visit: str, patient: str, starts_at: datetime | None, status: str = "booked", **more: Any) -> None:
        known = self.get(Appointment, visit)
        at = starts_at or (known.starts_at if known is not None else None)
        record = Appointment(id=visit, status=status, starts_at=at, patient_id=patient, **more)  # type: ignore[arg-type]
        self.keep(record)
        self.run(self.plan_step, record, "appointment")

    def says(self, out: Out, state: str, trouble: str = "", partner_id: str = "") -> None:
        """The partner says something of an order: the answer to it, or to a look."""
        out.said.append(state)
        report = Report(id=out.id, partner_id=partner_id or f"SM{out.id}", state=state, trouble=trouble)  # type: ignore[arg-type]
        self.run(self.report_step, report, f"{out.channel}_report")

    def fails(self, out: Out, *, doubtful: bool) -> None:
        failure = Failure(
            flow="reminders", step="remind", code="MSG-003", reason="x", message="m", doubtful=doubtful, headers=out.headers
        )
        self.run(self.failed_step, failure, "failure")

    def replies(self, number: str, text: str, channel: str = "text") -> Any:
        return self.run(self.reply_step, Reply(channel=channel, number=number, text=text), "reply")  # type: ignore[arg-type]

    # What is looked at.

    def reminder(self, visit: str, step: str) -> Reminder:
        found: Reminder | None = self.get(Reminder, f"{visit}/{step}")
        assert found is not None
        return found

    def is_out(self, number: str) -> bool:
        id = self.context().digest("opt_out", number)
        known: OptOut | None = self.get(OptOut, id)
        return known is not None and known.out


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


def in_days(moment: datetime, days: float) -> datetime:
    return moment + timedelta(days=days)
