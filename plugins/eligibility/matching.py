"""Which question an answer belongs to, and whether it counts: answers come late, twice, out of order, or without an `ask`.

Each question is an attempt in the record of its visit, found by its trace number (TRN02, BHT03), by the control number of its
interchange (ISA13, GS06) and the number of its transaction set (ST02).  The rules:

- The first answer to the question that was asked last counts.
- The same answer again changes nothing.  Another answer to the same question counts, unless it decides less than the first.
- An answer to an older question counts only while nothing is decided, and only if that question asked for the same.
- An answer for a visit that is gone, or for its former day, is kept with its question and changes nothing else.
- An answer to no question of ours changes nothing and is told to IT.
- A question without an answer is told after the plan's patience: of a visit that is near to the front desk, else once for
  its payer to IT.  An answer that comes after that still counts.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from hub import Appointment, Context, CoverageCheck, Due, Message, MessageUnusable, Step, StepConfig, StepResult, WorklistItem
from hub.formats.x12.split import AnswerPart, split_answers
from hub.records import CoverageAttempt, Payer
from plugins.eligibility.visits import JOB, is_near

DECIDED = frozenset({"covered", "covered_elsewhere", "inactive", "not_found", "mismatch", "unclear"})
"""Outcomes that are an answer of the payer, and need no second question while they are fresh."""
UNANSWERED = "unanswered"
"""The reason of the look at a question whose answer has taken too long."""
MOST_ATTEMPTS = 40
"""Questions that are kept with a visit."""
IT = "it"
Standing = Literal["counts", "repeated", "says_less", "late"]
WHY_NOT: dict[Standing, str] = {
    "repeated": "The same answer came again; it changes nothing",
    "says_less": "A second answer to the same question decides less than the first; it changes nothing",
    "late": "An answer to a former question came; it changes nothing",
}


# Questions.


def attempt_of(check: CoverageCheck, number: str | None) -> CoverageAttempt | None:
    """The attempt with this trace number, or control number where that is all a partner gives back."""
    if not number:
        return None
    return next((a for a in check.attempts if number == a.trace or number.lstrip("0") == a.control_number), None)


def with_attempt(check: CoverageCheck, attempt: CoverageAttempt) -> CoverageCheck:
    """The check with this attempt, new or in its place; the oldest ones go."""
    if attempt_of(check, attempt.trace) is None:
        attempts = [*check.attempts, attempt][-MOST_ATTEMPTS:]
    else:
        attempts = [attempt if known.trace == attempt.trace else known for known in check.attempts]
    return check.model_copy(update={"attempts": attempts})


def headers_of(appointment: str, attempt: CoverageAttempt) -> dict[str, str]:
    """What goes with a question, so that whatever answers it is read the same way."""
    day = attempt.service_date
    return {
        "appointment": appointment,
        "asked_for": attempt.asked_for,
        "service_date": day.isoformat() if day is not None else "",
        "service_types": " ".join(attempt.service_types),
        "network": attempt.network,
        "places": " ".join(attempt.places),
        "payer": attempt.payer,
        "trace": attempt.trace,
        "control_number": attempt.control_number,
    }


async def asked_with(trace: str, context: Context) -> tuple[CoverageCheck, CoverageAttempt] | None:
    """The check and the question that have this trace number."""
    for check in await context.find(CoverageCheck, "trace", trace, limit=2):
        if attempt := attempt_of(check, trace):
            return check, attempt
    return None


async def sent_in(
    control_number: str, set_number: str, context: Context, limit: int = 10_000
) -> list[tuple[CoverageCheck, CoverageAttempt]]:
    """The questions of an interchange; with a set number (ST02) only that one."""
    found = []
    for check in await context.find(CoverageCheck, "interchange", control_number, limit=limit):
        for attempt in check.attempts:
            same_set = not set_number or attempt.set_number.lstrip("0") == set_number.lstrip("0")
            if attempt.control_number == control_number and same_set:
                found.append((check, attempt))
    return found


# Whether an answer counts.


def standing(known: CoverageCheck, attempt: CoverageAttempt, outcome: str, digest: str) -> Standing:
    """What an answer is worth, that would come to this outcome, beside what is known of its visit."""
    if attempt.answer == digest:
        return "repeated"
    decides = outcome in DECIDED
    if attempt.trace == known.question:
        first = attempt.state != "answered"
        return "counts" if first or decides or known.outcome not in DECIDED else "says_less"
    same = attempt.asked_for == known.asked_for
    return "counts" if same and decides and known.outcome not in DECIDED else "late"


# Questions without an answer.


def _patience_key(appointment: str, trace: str) -> str:
    return f"{appointment}/{UNANSWERED}/{trace}"


def plan_end_of_patience(check: CoverageCheck, trace: str, payer: Payer, context: Context) -> None:
    """A look at this question when its answer should have come."""
    payload = {"appointment": check.id, "why": UNANSWERED, "trace": trace}
    moment = context.now + timedelta(seconds=payer.patience or check.plan.patience)
    context.plan(Due(JOB, _patience_key(check.id, trace), moment, payload, lane=check.id))


def end_of_waiting(appointment: str, trace: str, context: Context) -> None:
    """An answer came, or nobody waits for one any more."""
    context.withdraw(JOB, _patience_key(appointment, trace))


async def stop_waiting(known: CoverageCheck, trace: str, appointment: Appointment, context: Context) -> None:
    """The answer to a question has not come in time: a person is told."""
    attempt = attempt_of(known, trace)
    if attempt is None or attempt.state != "out":
        return
    check = with_attempt(known, attempt.model_copy(update={"state": "unanswered", "note": "no answer in time"}))
    if known.question != trace or known.outcome != "pending":
        await context.put(check)
        return
    near = is_near(appointment, context)
    payer = known.payer or attempt.payer
    action = f"{payer} has not answered. Verify by phone or portal." if near else None
    update = {"outcome": "payer_unavailable", "action": action, "who": "coordinator" if near else None, "cause": "no answer"}
    await context.put(check.model_copy(update=update))
    context.note("unanswered", "The payer has not answered in time", plain=True)
    if action is not None:
        item = WorklistItem(appointment=known.id, queue=known.plan.queue, text=action, who="coordinator", cause="no answer")
    else:
        item = _silent(payer)
    await context.save(item)


def _silent(payer: str, *, open: bool = True) -> WorklistItem:
    """One item for each payer, however many questions it leaves without an answer."""
    text = f"{payer} leaves questions without an answer. Look whether its connection works (hub status), then ask {payer}."
    because = "" if open else "it answers again"
    return WorklistItem(queue=IT, text=text, who=IT, cause=f"no answer: {payer}", open=open, closed_because=because)


async def answers_again(attempt: CoverageAttempt, payer: str | None, context: Context) -> None:
    """An answer came after all: nobody has to look why it does not come."""
    if attempt.state == "unanswered":
        await context.save(_silent(payer or attempt.payer, open=False))


# Answers without an `ask`.


class MatchAnswers(Step[StepConfig]):
    """Takes a file of answers apart and finds the question of each, for flows that pick answers up."""

    kind = "match_answers"

    async def run(self, message: Message, context: Context) -> StepResult:
        if message.format != "x12":
            raise MessageUnusable(f"match_answers works on X12, but this is {message.format}", code="ELG-010")
        file = split_answers(message.body)
        matched: list[Message] = []
        strangers = 0
        for part in file.parts:
            asked = await _questions(part, context)
            strangers += not asked
            matched += [_answer(message, part, check, attempt) for check, attempt in asked]
        if strangers or file.unread:
            await _tell_of_strangers(strangers, file.unread, context)
        context.note("matched", f"{len(matched)} answers belong to questions of ours, {strangers} to none", plain=True)
        return matched


async def _questions(part: AnswerPart, context: Context) -> list[tuple[CoverageCheck, CoverageAttempt]]:
    if part.kind != "271":
        return await sent_in(part.control_number, part.set_number, context)
    for trace in part.traces:
        if found := await asked_with(trace, context):
            return [found]
    return []


def _answer(message: Message, part: AnswerPart, check: CoverageCheck, attempt: CoverageAttempt) -> Message:
    return message.derive(part.body, format="x12", type=part.kind, headers=headers_of(check.id, attempt))


async def _tell_of_strangers(strangers: int, unread: int, context: Context) -> None:
    place = f"from {context.connection} " if context.connection else ""
    what = [f"{strangers} answers to questions the hub did not ask"] if strangers else []
    what += [f"{unread} transaction sets that answer no question about eligibility"] if unread else []
    text = f"A file {place}has {' and '.join(what)}. Look at it (hub messages list), and ask who sent it to whom."
    context.note("strangers", text, plain=True)
    await context.save(WorklistItem(queue=IT, text=text, who=IT, cause=f"answers to nobody {context.connection}".strip()))
