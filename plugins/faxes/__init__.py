"""Faxes out and in: tried again by why they failed, looked after until it is known how they ended, none sent twice.

ordering.py    a document becomes a fax; the order of each try
progress.py    what is reported of a try, and what follows: another try, a look, somebody who must see to it
arriving.py    what came in, and webhooks
operations.py  what people see and ask for
"""

from __future__ import annotations

from hub import DueJob, Operation, RecordKey, RecordKind, hookimpl
from hub.records_fax import Fax
from hub.step import AnyStep
from plugins.faxes.arriving import FaxEvent, came_in
from plugins.faxes.operations import OPERATIONS
from plugins.faxes.ordering import JOB, FaxOrder, SendFax, keep_fax, prepare_order
from plugins.faxes.progress import LOOK, FaxFailed, SaveFax, prepare_look


@hookimpl
def register_steps() -> list[type[AnyStep]]:
    return [SendFax, FaxOrder, SaveFax, FaxFailed, FaxEvent]


@hookimpl
def register_records() -> list[RecordKind]:
    def keys(fax: Fax) -> list[RecordKey]:
        found = [RecordKey("state", fax.state), RecordKey("direction", fax.direction)]
        found += [RecordKey("appointment", fax.appointment)] if fax.appointment else []
        found += [RecordKey("document", fax.document)] if fax.document else []
        found += [RecordKey("reference", one.reference) for one in fax.tries]
        ids = [fax.partner_id, *(one.partner_id for one in fax.tries)]
        found += [RecordKey("partner", id) for id in dict.fromkeys(filter(None, ids))]
        if fax.direction == "in" and fax.partner_id:  # a webhook and a look at the inbox may bring it at the same time
            found.append(RecordKey("came_in", came_in(fax.line, fax.partner_id), unique=True))
        return found

    plain = frozenset({"state", "direction", "appointment", "document", "reference", "partner", "came_in"})
    return [RecordKind("fax", Fax, keys, plain, save=keep_fax)]


@hookimpl
def register_due() -> list[DueJob]:
    return [DueJob(JOB, prepare_order), DueJob(LOOK, prepare_look)]


@hookimpl
def register_operations() -> list[Operation]:
    return OPERATIONS
