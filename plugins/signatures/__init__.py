"""What patients sign before a visit: packets of documents, sent when it is booked, and looked after until they are signed.

packets.py     which documents a visit needs, as data of the step `plan_packets`
envelopes.py   the record of an envelope: finding, planning, withdrawing, what people are told
sending.py     what is asked of the signing service when it is due
reports.py     what the service says, and what follows
operations.py  what people ask: list, show, send again
"""

from __future__ import annotations

from hub import DueJob, Operation, Reaction, RecordKey, RecordKind, hookimpl
from hub.records_signing import Envelope, EnvelopeOrder, EnvelopeReport
from hub.step import AnyStep
from plugins.signatures.envelopes import JOB, follow_chart, needs_somebody, release_visit
from plugins.signatures.operations import OPERATIONS
from plugins.signatures.packets import PlanPackets
from plugins.signatures.reports import SaveSignature, SignatureEvent, SignatureFailed
from plugins.signatures.sending import prepare_signature


@hookimpl
def register_steps() -> list[type[AnyStep]]:
    return [PlanPackets, SaveSignature, SignatureFailed, SignatureEvent]


@hookimpl
def register_records() -> list[RecordKind]:
    def keys(envelope: Envelope) -> list[RecordKey]:
        found = [RecordKey("appointment", appointment) for appointment in envelope.appointments]
        found += [RecordKey("patient", envelope.patient_id)] if envelope.patient_id else []
        found += [RecordKey("partner", envelope.partner_id)] if envelope.partner_id else []
        found += [RecordKey("problem", "yes")] if needs_somebody(envelope) else []
        return [*found, RecordKey("state", envelope.state), RecordKey("open", "no" if envelope.is_over else "yes")]

    return [
        RecordKind("envelope", Envelope, keys, frozenset({"appointment", "patient", "partner", "problem", "state", "open"})),
        RecordKind("envelope_order", EnvelopeOrder),
        RecordKind("envelope_report", EnvelopeReport),
    ]


@hookimpl
def register_due() -> list[DueJob]:
    return [DueJob(JOB, prepare_signature)]


@hookimpl
def register_reactions() -> list[Reaction]:
    return [
        Reaction("withdraw what nobody needs to sign any more", "appointment", release_visit),
        Reaction("send what waited for an address", "patient", follow_chart),
    ]


@hookimpl
def register_operations() -> list[Operation]:
    return OPERATIONS
