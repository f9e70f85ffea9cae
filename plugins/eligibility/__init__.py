"""Coverage known before the visit: checks are planned with a booking, withdrawn with a cancellation, and run when due.

steps.py       plan_checks, check_failed
visits.py      the day of a visit, and planning a look at its coverage
times.py       when a visit is checked and a payer may be asked
checks.py      what a due check needs: the visit with its patient, coverage and payer, or why there is nothing to ask
outcome.py     what an answer comes to: one outcome, who does what, and what is noted beside it
differences.py what the payer has otherwise than the chart
follow_up.py   the notes that stand on the worklist because of an answer
matching.py    which question an answer belongs to and whether it counts; questions without an answer; match_answers
answers.py     saving an answer, and what follows from it: another way to ask, tries again, a problem with the payer
searches.py    other ways to ask about the same patient
stops.py       a payer that refuses us, whoever the patient is
known.py       one visit with all that is known of its coverage
batches.py     collect_batch, send_batch: questions that leave together, and the look after their answers
sheet.py       the day sheet
people.py      what people add: another question, a word from the telephone, a no
corrections.py what people do about a visit: edit, clone, verified, accept, decline
statistics.py  how payers answer
write_back.py  telling other systems what a payer said
operations.py  the lists and cards of people
"""

from __future__ import annotations

from datetime import UTC

from hub import CoverageCheck, DueJob, Operation, Reaction, RecordKey, RecordKind, hookimpl
from hub.step import AnyStep
from plugins.eligibility import stops
from plugins.eligibility.answers import save_answer
from plugins.eligibility.batches import (
    JOB as BATCH,
    BatchQuestion,
    CollectBatch,
    EligibilityBatch,
    SendBatch,
    keys_of_question,
    prepare_batch,
)
from plugins.eligibility.checks import prepare_check, recheck_visits
from plugins.eligibility.follow_up import close_notes, note_differences
from plugins.eligibility.matching import MatchAnswers
from plugins.eligibility.operations import OPERATIONS
from plugins.eligibility.people import CorrectedQuestion, Declined, Verification, close_what_is_verified
from plugins.eligibility.sheet import DaySheet
from plugins.eligibility.steps import CheckFailed, PlanChecks
from plugins.eligibility.stops import PayerStop, stop_keys
from plugins.eligibility.visits import JOB
from plugins.eligibility.write_back import JOB as WRITE_BACK, PlanWriteBack, VisitCoverage, WriteBack, prepare_write_back


@hookimpl
def register_steps() -> list[type[AnyStep]]:
    return [PlanChecks, CheckFailed, MatchAnswers, CollectBatch, SendBatch, DaySheet, PlanWriteBack]


@hookimpl
def register_records() -> list[RecordKind]:
    def keys(check: CoverageCheck) -> list[RecordKey]:
        found = [RecordKey("day", check.service_date.isoformat())] if check.service_date else []
        for attempt in check.attempts:
            found += [RecordKey("trace", attempt.trace), RecordKey("interchange", attempt.control_number)]
            found.append(RecordKey("asked_on", attempt.asked_at.astimezone(UTC).date().isoformat()))
        if check.stopped_by:
            found.append(RecordKey("stopped_by", check.stopped_by))
        return list(dict.fromkeys(found))

    plain = frozenset({"day", "asked_on", "stopped_by"})
    return [
        RecordKind("coverage_check", CoverageCheck, keys, plain, save=save_answer),
        RecordKind("coverage_question", CorrectedQuestion),
        RecordKind("coverage_verification", Verification),
        RecordKind("coverage_declined", Declined),
        RecordKind("visit_coverage", VisitCoverage),
        RecordKind("write_back", WriteBack),
        RecordKind("payer_stop", PayerStop, stop_keys, frozenset({"payer", "open"})),
        RecordKind("batch_question", BatchQuestion, keys_of_question, frozenset({"queue"})),
        RecordKind("eligibility_batch", EligibilityBatch),
    ]


@hookimpl
def register_due() -> list[DueJob]:
    return [DueJob(JOB, prepare_check), DueJob(BATCH, prepare_batch), DueJob(WRITE_BACK, prepare_write_back)]


@hookimpl
def register_reactions() -> list[Reaction]:
    return [
        Reaction("check again when coverage changes", "patient", recheck_visits),
        Reaction("note what the payer has otherwise", "coverage_check", note_differences),
        Reaction("close what is verified by phone", "worklist_item", close_what_is_verified),
        Reaction("close the notes of visits that do not take place", "appointment", close_notes),
    ]


@hookimpl
def register_operations() -> list[Operation]:
    return [*OPERATIONS, *stops.OPERATIONS]
