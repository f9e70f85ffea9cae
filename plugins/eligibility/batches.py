"""Questions to payers that take batches: collected, sent together at the payer's time, looked after until they are answered.

- `collect_batch` keeps a question until the payer's time (column `batch` of the payer list), unless its visit begins before the
  answer would be there, or a person waits for it.
- At that time `send_batch` sends one file for each `most` questions; what was cancelled or asked anew meanwhile stays behind.
- Answers are picked up from wherever they come and matched (matching.py); a 999 or TA1 is found by the numbers noted here.
- When the answers are due and some are missing, IT has one item for the file.  Their questions go with a later file, `again`
  times; those about visits that are near are told to the front desk.  The file is looked after for 30 days (CAQH CORE: picked
  up again for a month), and its item goes when nothing is missing.

A file, the numbers of its questions and the look after its answers are one commit: a crash neither loses nor doubles one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import AwareDatetime, Field

from hub import (
    Appointment,
    Context,
    CoverageCheck,
    Due,
    Message,
    MessageUnusable,
    Prepared,
    Record,
    RecordKey,
    Step,
    StepConfig,
    StepResult,
    WorklistItem,
)
from hub.connector import Destination
from hub.formats.x12.exchange import new_numbers
from hub.formats.x12.joined import is_270, join_270s
from hub.records import GONE, CoverageAttempt, Payer
from hub.settings.schedule import Schedule, moment_of
from hub.step import Misreference, References
from hub.units import Duration
from plugins.eligibility.checks import ASKED
from plugins.eligibility.matching import IT, attempt_of, plan_end_of_patience, stop_waiting, with_attempt
from plugins.eligibility.visits import is_ahead, is_near

JOB = "eligibility_batch"
EASTERN = ZoneInfo("America/New_York")
SENT_BY, ANSWERED_BY = time(21), time(7)
"""CAQH CORE infrastructure rule: what is sent by 9:00 pm Eastern of a business day is answered by 7:00 am of the next one."""
GRACE = 21_600.0
"""Seconds after the answers were due at which a question alone is given up, should nobody have looked after its file."""
LOOKED_AFTER = 30 * 86_400.0
"""Seconds for which a file is looked after."""
FRIDAY = 4


# What is kept.


class BatchRules(Record):
    """How questions of one destination and time are sent, as the clinic file and the payer list say."""

    to: str
    """The connection."""
    at: time
    """When they leave, every day."""
    zone: str
    most: int
    again: int
    answers_in: float | None = None

    @property
    def queue(self) -> str:
        """The name of what waits for the same file."""
        return f"{self.to} {self.at:%H:%M} {self.zone}"

    def leaves(self, now: datetime) -> datetime:
        """The next time a file leaves."""
        return Schedule(ZoneInfo(self.zone), frozenset(range(7)), self.at).after(now)

    def answers_by(self, sent: datetime) -> datetime:
        """When the answers of what is sent then are due."""
        return sent + timedelta(seconds=self.answers_in) if self.answers_in is not None else answers_by(sent)


class BatchQuestion(Record):
    """The question of one visit that waits for its file, or was sent with one."""

    id: str
    """The appointment's id: the question that is asked last takes the place of an older one."""
    trace: str
    queue: str = ""
    """Empty when it does not wait any more."""
    body: bytes = b""
    collected_at: AwareDatetime
    sent: int = 0
    """How often it was sent."""


class EligibilityBatch(Record):
    """A file of questions that was sent."""

    id: str = ""
    """Its control number; empty before it has one."""
    rules: BatchRules
    sent_at: AwareDatetime | None = None
    questions: list[tuple[str, str]] = []
    """Appointment and trace number of each, in the order of its transaction sets."""


def keys_of_question(question: BatchQuestion) -> list[RecordKey]:
    return [RecordKey("queue", question.queue)] if question.queue else []


def answers_by(sent: datetime) -> datetime:
    """7:00 am Eastern of the next business day (CAQH CORE infrastructure rule); Monday to Friday are business days.

    What is sent after 9:00 pm, or on no business day, counts as sent on the next one.
    """
    local = sent.astimezone(EASTERN)
    day = local.date()
    if local.time() > SENT_BY or day.weekday() > FRIDAY:
        day = _next_business_day(day)
    return moment_of(_next_business_day(day), ANSWERED_BY, EASTERN)


def _next_business_day(day: Any) -> Any:
    following = day + timedelta(days=1)
    while following.weekday() > FRIDAY:
        following += timedelta(days=1)
    return following


# Collecting.


class CollectBatchConfig(StepConfig):
    """Where the batches go."""

    to: str
    """The connection that takes the files: sftp, folder, caqh_core ..."""
    most: int = Field(default=500, ge=1, le=5000)
    """Questions in one file; what is more goes with the next one at once."""
    again: int = Field(default=1, ge=0, le=5)
    """How often a question without an answer goes with a later file."""
    answers_in: Duration | None = Field(default=None, gt=0)
    """How long answers may take. Default: 7:00 am Eastern of the next business day for what is sent by 9:00 pm (CAQH CORE)."""


class CollectBatch(Step[CollectBatchConfig]):
    """Keeps a question for the batch of its payer; one whose payer takes none, or that cannot wait, goes on to the next step.

    Needs a flow `from: {due: eligibility_batch}` with the step `send_batch`.
    """

    kind = "collect_batch"
    main = "to"

    @classmethod
    def misreferences(cls, config: Any, names: References) -> Iterable[Misreference]:
        if config.to not in names.connections:
            yield Misreference("to", f"there is no connection {config.to!r}", list(names.connections))
        elif (kind := names.connections[config.to]) is not None and not issubclass(kind, Destination):
            yield Misreference("to", f"the connection {config.to!r} ({kind.kind}) only receives")

    async def run(self, message: Message, context: Context) -> StepResult:
        payer = context.payer(message.headers.get("payer"))
        if payer is None or payer.batch is None:
            return message
        trace, appointment_id = message.headers.get("trace", ""), message.headers.get("appointment", "")
        if message.format != "x12" or not trace or not is_270(message.body):
            raise MessageUnusable(f"collect_batch keeps 270s of planned checks, but this is {message.format}", code="ELG-011")
        appointment = await context.get(Appointment, appointment_id)
        known = await context.get(CoverageCheck, appointment_id)
        rules = self._rules(payer.batch, payer.zone or str(context.site.zone))
        leaves = rules.leaves(context.now)
        due = rules.answers_by(leaves)
        if known is None or appointment is None or appointment.starts_at is None or appointment.starts_at <= due:
            return message
        if (attempt := attempt_of(known, trace)) is not None and attempt.why == ASKED:
            return message
        await _wait_for_file(
            BatchQuestion(id=known.id, trace=trace, body=message.body, collected_at=context.now), rules, context
        )
        _give_time(known, trace, payer, due, context)
        context.note("collected", f"The question waits for the batch of {leaves:%Y-%m-%d %H:%M} UTC", plain=True)
        return None

    def _rules(self, at: time, zone: str) -> BatchRules:
        config = self.config
        return BatchRules(to=config.to, at=at, zone=zone, most=config.most, again=config.again, answers_in=config.answers_in)


async def _wait_for_file(question: BatchQuestion, rules: BatchRules, context: Context) -> None:
    await context.put(question.model_copy(update={"queue": rules.queue}))
    _plan_file(rules, rules.leaves(context.now), context)


def _plan_file(rules: BatchRules, moment: datetime, context: Context) -> None:
    context.plan(Due(JOB, f"file/{rules.queue}", moment, {"rules": rules.model_dump_json()}, lane=rules.queue))


def _give_time(known: CoverageCheck, trace: str, payer: Payer, due: datetime, context: Context) -> None:
    """Its answer is not missed before this; that holds also should no flow send the file."""
    seconds = (due - context.now).total_seconds() + GRACE
    plan_end_of_patience(known, trace, payer.model_copy(update={"patience": seconds}), context)


# Sending, and looking after.


async def prepare_batch(payload: Mapping[str, str], context: Context) -> Prepared | None:
    """The file that is to leave, or the one whose answers are due."""
    if number := payload.get("batch"):
        known = await context.get(EligibilityBatch, number)
        return Prepared(known) if known is not None else None
    return Prepared(EligibilityBatch(rules=BatchRules.model_validate_json(payload["rules"])))


class SendBatch(Step[StepConfig]):
    """Sends what `collect_batch` has kept as one file, and looks after the answers when they are due."""

    kind = "send_batch"

    async def run(self, message: Message, context: Context) -> StepResult:
        batch = message.record
        if not isinstance(batch, EligibilityBatch):
            raise MessageUnusable(f"send_batch works on due batches, but this is {message.format}", code="ELG-012")
        if batch.id:
            await _look_after(batch, context)
        else:
            await _send(batch.rules, message, context)
        return None


async def _send(rules: BatchRules, message: Message, context: Context) -> None:
    found = await context.find(BatchQuestion, "queue", rules.queue, limit=rules.most + 1)
    waiting = sorted(found, key=lambda question: (question.collected_at, question.id))[: rules.most]
    asked = [pair for question in waiting if (pair := await _still_asked(question, context)) is not None]
    left = len(found) > len(waiting)
    if asked:
        _, number = await new_numbers(context)
        now = context.now.astimezone(context.site.zone)
        joined = join_270s([question.body for question, _ in asked], control_number=number, now=now)
        taken = [asked[place] for place in joined.taken]
        left = left or len(taken) < len(asked)
        await _note_sent(rules, number, taken, context)
        context.send(rules.to, message.derive(joined.body, format="x12", type="270"))
        context.note("batch", f"Batch {number:09d} with {len(taken)} questions goes to {rules.to}", plain=True)
    if left:
        _plan_file(rules, context.now, context)


async def _still_asked(question: BatchQuestion, context: Context) -> tuple[BatchQuestion, CoverageCheck] | None:
    """A question with what is known of its visit; None when nobody wants to know any more, and then it waits no longer."""
    appointment = await context.get(Appointment, question.id)
    known = await context.get(CoverageCheck, question.id)
    wanted = appointment is not None and appointment.status not in GONE and is_ahead(appointment, context)
    asked = known is not None and known.question == question.trace and _is_out(known, question.trace)
    if wanted and known is not None and asked and is_270(question.body):
        return question, known
    await context.put(question.model_copy(update={"queue": "", "body": b""}))
    return None


def _is_out(known: CoverageCheck, trace: str) -> bool:
    attempt = attempt_of(known, trace)
    return attempt is not None and attempt.state == "out"


async def _note_sent(
    rules: BatchRules, number: int, taken: list[tuple[BatchQuestion, CoverageCheck]], context: Context
) -> None:
    """Each question with the numbers by which a 999 or TA1 names it, and the file with its questions."""
    for place, (question, known) in enumerate(taken, 1):
        attempt = attempt_of(known, question.trace)
        assert attempt is not None  # noqa: S101 - it was there a moment ago
        numbers = {"control_number": str(number), "set_number": f"{place:04d}", "asked_at": context.now}
        await context.put(with_attempt(known, attempt.model_copy(update=numbers)))
        await context.put(question.model_copy(update={"queue": "", "sent": question.sent + 1}))
        context.key("appointment", known.id)
    questions = [(question.id, question.trace) for question, _ in taken]
    batch = EligibilityBatch(id=f"{number:09d}", rules=rules, sent_at=context.now, questions=questions)
    await context.put(batch)
    _plan_look(batch, context)


def _plan_look(batch: EligibilityBatch, context: Context) -> None:
    moment = batch.rules.answers_by(context.now)
    context.plan(Due(JOB, f"answers/{batch.id}", moment, {"batch": batch.id}, lane=batch.id))


async def _look_after(batch: EligibilityBatch, context: Context) -> None:
    """Some answers may be missing when they are due: one item for the file, and what follows for each question."""
    own = [pair for id, trace in batch.questions if (pair := await _sent_with(batch, id, trace, context)) is not None]
    out = [pair for pair in own if pair[1].state != "answered"]
    missing = sum([await _miss(known, attempt, batch, context) for known, attempt in out])
    await _tell(batch, missing, context)
    first = batch.sent_at or context.now
    goes_on = missing > 0 and (context.now - first).total_seconds() < LOOKED_AFTER
    if goes_on:
        _plan_look(batch, context)
    for known, attempt in own:
        if attempt.state == "answered" or not goes_on:
            await _forget(known.id, attempt.trace, context)


async def _sent_with(
    batch: EligibilityBatch, id: str, trace: str, context: Context
) -> tuple[CoverageCheck, CoverageAttempt] | None:
    """A question of this file; None when it has gone with a later one since."""
    known = await context.get(CoverageCheck, id)
    attempt = attempt_of(known, trace) if known is not None else None
    if known is None or attempt is None or attempt.control_number != batch.id.lstrip("0"):
        return None
    return known, attempt


async def _miss(known: CoverageCheck, attempt: CoverageAttempt, batch: EligibilityBatch, context: Context) -> bool:
    """What follows for a question without an answer; False when nobody wants to know any more."""
    appointment = await context.get(Appointment, known.id)
    if appointment is None or appointment.status in GONE or known.question != attempt.trace:
        return False
    question = await context.get(BatchQuestion, known.id)
    if attempt.state != "out" or question is None or question.trace != attempt.trace or question.queue:
        return True
    if is_near(appointment, context):
        await stop_waiting(known, attempt.trace, appointment, context)
    elif question.sent <= batch.rules.again and is_ahead(appointment, context):
        await _wait_for_file(question, batch.rules, context)
        if (payer := context.payer(attempt.payer)) is not None:
            _give_time(known, attempt.trace, payer, batch.rules.answers_by(batch.rules.leaves(context.now)), context)
    return True


async def _forget(id: str, trace: str, context: Context) -> None:
    """What was asked need not be kept longer than until it is answered."""
    question = await context.get(BatchQuestion, id)
    if question is not None and question.trace == trace and question.body and not question.queue:
        await context.put(question.model_copy(update={"body": b""}))


async def _tell(batch: EligibilityBatch, missing: int, context: Context) -> None:
    cause = f"batch {batch.id}"
    if not missing:
        await context.save(WorklistItem(queue=IT, cause=cause, open=False, closed_because="nothing is missing any more"))
        context.note("batch", f"Batch {batch.id} is answered", plain=True)
        return
    text = (
        f"Batch {batch.id} to {batch.rules.to}: {missing} of {len(batch.questions)} questions have no answer although they are "
        "due. Look whether the partner took the file (999, TA1) and where its answers are; the hub goes on looking for them."
    )
    context.note("batch", text, plain=True)
    await context.save(WorklistItem(queue=IT, text=text, who=IT, cause=cause))
