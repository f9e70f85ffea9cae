"""Mails that must be known to have arrived: sent, then receipts waited for, then told to a person when one is missing.

    steps:
      - track_mail: {processed_within: 1h, dispatched_within: 24h}
      - ask: direct
      - mail_sent

    receipts:  {from: direct_inbox, when: {type: [receipt, bounce]}, steps: [mail_receipt]}
    overdue:   {from: {due: mail_overdue}, steps: [mail_overdue]}
    not_sent:  {from: {failed: FLOW}, steps: [mail_failed]}

tracking.py  the record of a mail: how it goes forward, and what stands on the worklist because of it
steps.py     the steps
"""

from __future__ import annotations

from hub import DueJob, RecordKey, RecordKind, hookimpl
from hub.records_mail import Mail
from hub.step import AnyStep
from plugins.mail.steps import MailFailed, MailOverdue, MailReceipt, MailSent, TrackMail
from plugins.mail.tracking import JOB, prepare_overdue


@hookimpl
def register_steps() -> list[type[AnyStep]]:
    return [TrackMail, MailSent, MailReceipt, MailOverdue, MailFailed]


@hookimpl
def register_records() -> list[RecordKind]:
    def keys(mail: Mail) -> list[RecordKey]:
        found = [RecordKey("partner", mail.id)]
        return [*found, RecordKey("appointment", mail.appointment)] if mail.appointment else found

    return [RecordKind("sent_mail", Mail, keys, frozenset({"partner", "appointment"}))]


@hookimpl
def register_due() -> list[DueJob]:
    return [DueJob(JOB, prepare_overdue)]
