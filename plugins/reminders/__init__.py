"""Reminders that patients answer: planned with a booking, taken back with a cancellation, sent as text or call, and answered.

policies.py    the policy file: who is reminded when, by which ways, in which words
times.py       when a reminder leaves; quiet hours
words.py       templates filled in; what an answer means
people.py      number, language and zone of a patient; the ledger of those who want none
plan.py        plan_reminders, and taking reminders back
sending.py     remind: a reminder that is due becomes the order of a text or call
reports.py     take_report, look_again, reminder_failed: what partners say, and what follows
replies.py     take_reply: what patients answer
recalls.py     take_recalls: people on a list who shall make an appointment
operations.py  the lists of people
"""

from __future__ import annotations

from datetime import UTC

from hub import DueJob, Operation, Reaction, RecordKey, RecordKind, hookimpl
from hub.records_reminders import Call, Hint, OptOut, Reminder, Reply, Sent, TextMessage, VisitReply
from hub.step import AnyStep
from plugins.reminders.operations import OPERATIONS
from plugins.reminders.plan import JOB, PlanReminders, withdraw_of_gone
from plugins.reminders.recalls import RecallList, TakeRecalls
from plugins.reminders.replies import TakeReply
from plugins.reminders.reports import LOOK, LookAgain, ReminderFailed, TakeReport, prepare_look
from plugins.reminders.sending import Remind, prepare_reminder


@hookimpl
def register_steps() -> list[type[AnyStep]]:
    return [PlanReminders, Remind, TakeReport, LookAgain, ReminderFailed, TakeReply, TakeRecalls]


@hookimpl
def register_records() -> list[RecordKind]:
    return [
        RecordKind("reminder", Reminder, _reminder_keys, frozenset({"appointment", "day"})),
        RecordKind("text_message", TextMessage, _sent_keys, frozenset({"appointment", "partner"})),
        RecordKind("call", Call, _sent_keys, frozenset({"appointment", "partner"})),
        RecordKind("opt_out", OptOut),
        RecordKind("reply", Reply),
        RecordKind("reminder_hint", Hint),
        RecordKind("visit_reply", VisitReply),
        RecordKind("recall_list", RecallList),
    ]


def _reminder_keys(reminder: Reminder) -> list[RecordKey]:
    keys = [RecordKey("appointment", reminder.appointment)] if reminder.appointment else []
    if reminder.due_at is not None:
        keys.append(RecordKey("day", reminder.due_at.astimezone(UTC).date().isoformat()))
    return keys


def _sent_keys(sent: Sent) -> list[RecordKey]:
    keys = [RecordKey("number", sent.number), RecordKey("appointment", sent.appointment)]
    if sent.partner_id:
        keys.append(RecordKey("partner", sent.partner_id))
    return keys


@hookimpl
def register_due() -> list[DueJob]:
    return [DueJob(JOB, prepare_reminder), DueJob(LOOK, prepare_look)]


@hookimpl
def register_reactions() -> list[Reaction]:
    return [Reaction("take reminders back", "appointment", withdraw_of_gone)]


@hookimpl
def register_operations() -> list[Operation]:
    return OPERATIONS
