"""Who comes when, and what is said about them: charts, bookings, visit states, documents, and what the EHR wants deleted."""

from __future__ import annotations

from hub import Appointment, Patient, RecordKind, Visit, hookimpl
from hub.records import Document
from plugins.visits.charts import ChartNumber, appointment_keys, patient_keys, save_appointment, save_patient
from plugins.visits.documents import document_keys, save_document
from plugins.visits.states import Deletion, VisitState, save_deletion, save_visit_state


@hookimpl
def register_records() -> list[RecordKind]:
    return [
        RecordKind("patient", Patient, patient_keys, save=save_patient),
        RecordKind("appointment", Appointment, appointment_keys, frozenset({"day", "patient"}), save=save_appointment),
        RecordKind("chart_number", ChartNumber),
        RecordKind("visit", Visit),
        RecordKind("visit_state", VisitState, save=save_visit_state),
        RecordKind("deletion", Deletion, save=save_deletion),
        RecordKind("document", Document, document_keys, frozenset({"patient"}), save=save_document),
    ]
