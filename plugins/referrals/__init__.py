"""Referrals: the documents of a visit go to a specialist, by fax or by secure mail, and it is known whether they arrived.

    referrals:
      from: {due: referral}
      steps:
        - send_referral: {directory: specialists.csv}     # a fax is ordered here; a mail goes on
        - track_mail: {dispatched_within: 24h}
        - note_referral
        - ask: direct
        - mail_sent

directory.py   who the specialists are, and how they are reached
sending.py     the steps
operations.py  what people ask for and see
"""

from __future__ import annotations

from hub import DueJob, Operation, RecordKey, RecordKind, hookimpl
from hub.step import AnyStep
from plugins.referrals.operations import OPERATIONS
from plugins.referrals.records import Referral
from plugins.referrals.sending import JOB, NoteReferral, SendReferral, prepare_referral


@hookimpl
def register_steps() -> list[type[AnyStep]]:
    return [SendReferral, NoteReferral]


@hookimpl
def register_records() -> list[RecordKind]:
    def keys(referral: Referral) -> list[RecordKey]:
        return [RecordKey("appointment", referral.appointment), RecordKey("day", referral.ordered_at.date().isoformat())]

    return [RecordKind("referral", Referral, keys, frozenset({"appointment", "day"}))]


@hookimpl
def register_due() -> list[DueJob]:
    return [DueJob(JOB, prepare_referral)]


@hookimpl
def register_operations() -> list[Operation]:
    return OPERATIONS
