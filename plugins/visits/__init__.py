"""Who comes when: charts, bookings, visit states and moves, and what the EHR wants deleted."""

from __future__ import annotations

from hub import Appointment, Patient, RecordKind, Visit, hookimpl
from plugins.visits.bookings import appointment_keys, save_appointment
from plugins.visits.charts import ChartNumber, patient_keys, save_patient
from plugins.visits.moves import VisitMove, save_visit_move
from plugins.visits.states import Deletion, VisitState, save_deletion, save_visit_state


@hookimpl
def register_records() -> list[RecordKind]:
    return [
        RecordKind("patient", Patient, patient_keys, save=save_patient),
        RecordKind("appointment", Appointment, appointment_keys, frozenset({"day", "patient"}), save=save_appointment),
        RecordKind("chart_number", ChartNumber),
        RecordKind("visit", Visit),
        RecordKind("visit_state", VisitState, save=save_visit_state),
        RecordKind("visit_move", VisitMove, save=save_visit_move),
        RecordKind("deletion", Deletion, save=save_deletion),
    ]
