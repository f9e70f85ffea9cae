"""Answers that come late, twice, out of order, without an `ask`, to nobody, or not at all: each by its rule, through a hub."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from connectors.simulators.clearinghouse import read_270
from connectors.simulators.ehr import EhrClient
from hub import CoverageCheck
from hub.records import CoverageAttempt
from plugins.eligibility.matching import MOST_ATTEMPTS, standing, with_attempt
from tests.plugins.clinic import (
    DAY,
    PAYERS,
    ZONE,
    Clinic,
    RecordingTable,
    adt,
    at,
    in1,
    jane,
    mrn,
    pid,
    quick_hub,
    siu,
)
from tests.support import ask, clinic_folder, port_of, until

TEXT = """
connections:
  ehr: {kind: mllp_listener, port: "0"}
  drop: {kind: folder, path: "@FOLDER@/out", name: "{id}.270"}
  pickup: {kind: folder, path: "@FOLDER@/in", format: x12, every: 20ms, stable_for: 0s}
flows:
  registrations:
    from: ehr
    when: {type: ADT^*}
    steps: [{map: adt_to_patient}, {save: patient}]
  bookings:
    from: ehr
    when: {type: SIU^*}
    steps: [{map: siu_to_appointment}, {save: appointment}, {plan_checks: {patience: @PATIENCE@, retry_after: [50ms]}}]
  eligibility:
    from: {due: eligibility}
    steps: [{map: visit_to_270}, {send: drop}]
  answers:
    from: pickup
    steps: [match_answers, {map: 271_to_coverage}, {save: coverage_check}, {worklist: front_desk}]
"""


@dataclass
class Desk(Clinic):
    """A clinic that drops its questions as files and picks the answers up."""

    folder: Path = Path()

    async def asked(self, count: int = 1) -> list[str]:
        """The questions, oldest first, once there are so many."""
        out = self.folder / "out"
        await until(lambda: len(list(out.glob("*.270"))) >= count)
        await self.quiet()
        files = sorted(out.glob("*.270"), key=lambda path: int(read_270(path.read_text()).control_number))
        return [path.read_text() for path in files]

    async def answered(self, *texts: str) -> None:
        """Drops a file with these interchanges, and waits until it was read."""
        file = self.folder / "in" / f"{self.hub.core.journal.commits}.edi"
        (self.folder / "part").write_text("".join(texts), encoding="utf-8")
        (self.folder / "part").rename(file)
        await until(lambda: not [path for path in (self.folder / "in").rglob("*") if path.is_file()])
        await self.quiet()


@asynccontextmanager
async def desk(folder: Path, *, patience: str = "1h") -> AsyncIterator[Desk]:
    for name in ("in", "out"):
        (folder / name).mkdir(parents=True)
    text = TEXT.replace("@PATIENCE@", patience).replace("@FOLDER@", str(folder))
    file = clinic_folder(folder, text, payers=PAYERS)
    async with quick_hub(file) as hub, EhrClient("127.0.0.1", port_of(hub, "ehr")) as client:
        yield Desk(hub, client, folder=folder, table=RecordingTable([jane(), jane(member_id="W200", active=False)]))


async def booked(clinic: Clinic, visit: str = "F-1", member: str = "W100", *, day: int = 0) -> None:
    number = visit.removeprefix("F-")
    patient = pid(mrn(number))
    await clinic.tell(adt("A04", patient, in1(member)), siu("S12", visit, at(9, day=DAY + timedelta(days=day)), patient))


def number_of(question: str) -> str:
    return read_270(question).control_number


def later(answer: str, was: str, now: str) -> str:
    """The same answer with another word in it."""
    assert was in answer
    return answer.replace(was, now)


# The rules.


def attempt(trace: str, *, asked_for: str = "a", state: str = "out", answer: str | None = None) -> CoverageAttempt:
    return CoverageAttempt(
        trace=trace, asked_for=asked_for, state=state, answer=answer, asked_at=datetime(2026, 11, 1, tzinfo=UTC)
    )


@pytest.mark.parametrize(
    ("outcome", "of", "said", "expected"),
    [
        ("pending", attempt("NEW"), "covered", "counts"),
        ("pending", attempt("NEW"), "payer_unavailable", "counts"),
        ("payer_unavailable", attempt("NEW", state="unanswered"), "covered", "counts"),
        ("covered", attempt("NEW", state="answered", answer="x"), "inactive", "counts"),
        ("covered", attempt("NEW", state="answered", answer="x"), "payer_unavailable", "says_less"),
        ("payer_unavailable", attempt("NEW", state="answered", answer="x"), "payer_unavailable", "counts"),
        ("covered", attempt("NEW", state="answered", answer="same"), "covered", "repeated"),
        ("pending", attempt("OLD"), "covered", "counts"),
        ("payer_unavailable", attempt("OLD", state="unanswered"), "inactive", "counts"),
        ("pending", attempt("OLD"), "payer_unavailable", "late"),
        ("covered", attempt("OLD"), "inactive", "late"),
        ("pending", attempt("OLD", asked_for="b"), "covered", "late"),
    ],
    ids=lambda value: value.trace if isinstance(value, CoverageAttempt) else None,
)
def test_what_an_answer_is_worth(outcome: str, of: CoverageAttempt, said: str, expected: str) -> None:
    known = CoverageCheck(id="F-1", outcome=outcome, asked_for="a", question="NEW", attempts=[of])
    assert standing(known, of, said, "same") == expected


def test_a_visit_keeps_its_last_questions_and_one_of_each() -> None:
    check = CoverageCheck(id="F-1")
    for number in range(MOST_ATTEMPTS + 5):
        check = with_attempt(check, attempt(f"T{number}"))
    check = with_attempt(check, attempt("T9", state="answered"))
    assert [one.trace for one in check.attempts] == [f"T{number}" for number in range(5, MOST_ATTEMPTS + 5)]
    assert [one.state for one in check.attempts].count("answered") == 1


# Picked up.


async def test_an_answer_that_is_picked_up_finds_its_visit_by_the_trace_number(tmp_path: Path) -> None:
    async with desk(tmp_path) as clinic:
        await booked(clinic)
        (question,) = await clinic.asked()
        assert await clinic.outcome("F-1") == "pending"
        await clinic.answered(clinic.table.answer(question))
        check = await clinic.check("F-1")
        assert (check.outcome, check.owes.co_payment) == ("covered", "25")
        (asked,) = check.attempts
        assert (asked.state, asked.outcome, asked.why, asked.seconds) == ("answered", "covered", "booking", None)
        assert asked.trace == read_270(question).trace[2] == read_270(question).reference
        assert int(asked.control_number) == int(number_of(question))
        assert asked.answered_at is not None


async def test_one_file_answers_many_visits_in_any_order_and_each_gets_its_own(tmp_path: Path) -> None:
    async with desk(tmp_path) as clinic:
        for number in range(6):
            await booked(clinic, f"F-{number}", "W200" if number % 2 else "W100")
        questions = await clinic.asked(6)
        await clinic.answered(*(clinic.table.answer(question) for question in reversed(questions)))
        assert [await clinic.outcome(f"F-{n}") for n in range(6)] == ["covered", "inactive"] * 3


async def test_the_same_file_twice_changes_nothing(tmp_path: Path) -> None:
    async with desk(tmp_path) as clinic:
        await booked(clinic, member="W200")
        (question,) = await clinic.asked()
        answer = clinic.table.answer(question)
        await clinic.answered(answer)
        before, items = await clinic.check("F-1"), await clinic.to_do("F-1")
        await clinic.answered(answer.replace("*X*005010X279A1", "*X*005010X279A1", 1) + "\n")
        assert await clinic.check("F-1") == before
        assert await clinic.to_do("F-1") == items
        assert len(items) == 1
        words = [entry["text"] for entry in (await ask(clinic.hub, "trace", id="F-1"))["entries"] if entry["what"] == "late"]
        assert words == ["The same answer came again; it changes nothing"]


async def test_a_second_answer_to_the_same_question_counts_unless_it_decides_less(tmp_path: Path) -> None:
    async with desk(tmp_path) as clinic:
        await booked(clinic)
        (question,) = await clinic.asked()
        answer = clinic.table.answer(question)
        await clinic.answered(answer)
        await clinic.answered(later(answer, "EB*1**30*", "EB*6**30*"))
        assert await clinic.outcome("F-1") == "inactive"
        clinic.table.instead["W100"] = ["AAA*Y**42*R"]
        await clinic.answered(clinic.table.answer(question))
        assert await clinic.outcome("F-1") == "inactive"
        assert len(await clinic.asked()) == 1, "and nobody asks again"


async def test_an_answer_to_an_older_question_counts_only_while_nothing_is_decided(tmp_path: Path) -> None:
    async with desk(tmp_path) as clinic:
        await booked(clinic)
        await clinic.asked(1)
        await ask(clinic.hub, "eligibility.check", appointment="F-1")
        old, new = await clinic.asked(2)
        await clinic.answered(clinic.table.answer(old))
        assert await clinic.outcome("F-1") == "covered"
        await clinic.answered(later(clinic.table.answer(new), "EB*1**30*", "EB*6**30*"))
        assert await clinic.outcome("F-1") == "inactive", "the newer question is the better one"
        await clinic.answered(later(clinic.table.answer(old), "CHOICE", "OTHER"))
        check = await clinic.check("F-1")
        assert (check.outcome, check.plan_name) == ("inactive", "CHOICE PPO")
        assert [(one.state, one.outcome) for one in check.attempts] == [("answered", "covered"), ("answered", "inactive")]


async def test_an_answer_about_a_member_id_that_was_corrected_meanwhile_changes_nothing(tmp_path: Path) -> None:
    async with desk(tmp_path) as clinic:
        await booked(clinic, member="W200")
        await clinic.asked(1)
        await clinic.tell(adt("A08", pid(mrn("1")), in1("W100")))
        old, new = await clinic.asked(2)
        await clinic.answered(clinic.table.answer(old))
        assert await clinic.outcome("F-1") == "pending"
        await clinic.answered(clinic.table.answer(new))
        assert await clinic.outcome("F-1") == "covered"
        assert (await clinic.check("F-1")).attempts[0].note == "An answer to a former question came; it changes nothing"


async def test_an_answer_for_a_cancelled_visit_or_its_former_day_is_kept_with_its_question_alone(tmp_path: Path) -> None:
    async with desk(tmp_path) as clinic:
        await booked(clinic, "F-1")
        await booked(clinic, "F-2")
        first, second = await clinic.asked(2)
        await clinic.tell(siu("S15", "F-1", None, pid(mrn("1"))))
        await clinic.tell(siu("S13", "F-2", at(9, day=DAY + timedelta(days=2)), pid(mrn("2"))))
        await clinic.answered(clinic.table.answer(first), clinic.table.answer(second))
        gone, moved = await clinic.check("F-1"), await clinic.check("F-2")
        assert (gone.outcome, moved.outcome) == ("withdrawn", "pending")
        assert "cancelled" in (gone.attempts[0].note or "")
        assert "former day" in (moved.attempts[0].note or "")


async def test_answers_to_nobody_change_nothing_and_are_told_to_it_once(tmp_path: Path) -> None:
    async with desk(tmp_path) as clinic:
        await booked(clinic)
        (question,) = await clinic.asked()
        trace = read_270(question).trace[2]
        foreign = clinic.table.answer(question).replace(trace, "SOMEBODYELSE")
        await clinic.answered(foreign, foreign)
        await clinic.answered(foreign)
        assert await clinic.outcome("F-1") == "pending"
        (item,) = await clinic.to_do()
        assert (item["queue"], item["who"], item["cause"]) == ("it", "it", "answers to nobody pickup")
        assert "SOMEBODY" not in item["text"]


async def test_a_refusal_of_the_form_is_found_by_control_numbers_and_concerns_its_question_alone(tmp_path: Path) -> None:
    """999 by AK102 and AK202, TA1 by TA101."""
    async with desk(tmp_path) as clinic:
        for number in (1, 2, 3):
            await booked(clinic, f"F-{number}")
        questions = await clinic.asked(3)
        for kind, question in (("999", questions[0]), ("TA1", questions[1])):
            number = int(number_of(question))
            text = RecordingTable([jane(reply=kind)]).answer(question)
            await clinic.answered(
                text.replace("AK1*HS*1*", f"AK1*HS*{number}*").replace("AK2*270*0001", f"AK2*270*{number:04d}")
            )
        assert [await clinic.outcome(f"F-{n}") for n in (1, 2, 3)] == ["unclear", "unclear", "pending"]
        assert [(item["appointment"], item["who"]) for item in await clinic.to_do()] == [("F-1", "it"), ("F-2", "it")]


async def test_a_rejection_above_the_patient_is_found_by_its_reference(tmp_path: Path) -> None:
    """A 271 that ends in loop 2100A has no TRN: BHT03 is all there is."""
    async with desk(tmp_path) as clinic:
        await booked(clinic)
        (question,) = await clinic.asked()
        clinic.table.payer_says["W100"] = "AAA*Y**41*N"
        await clinic.answered(clinic.table.answer(question))
        assert (await clinic.check("F-1")).cause == "AAA 41"


# Not at all.


async def test_a_question_without_an_answer_is_told_and_an_answer_after_that_still_counts(tmp_path: Path) -> None:
    async with desk(tmp_path, patience="300ms") as clinic:
        tomorrow = datetime.now(ZONE).date() + timedelta(days=1)
        patient = pid(mrn("1"))
        await clinic.tell(adt("A04", patient, in1()), siu("S12", "F-1", at(9, day=tomorrow), patient))
        (question,) = await clinic.asked()
        await clinic.reaches("F-1", "payer_unavailable")
        (item,) = await clinic.to_do()
        assert (item["appointment"], item["who"], item["cause"]) == ("F-1", "coordinator", "no answer")
        assert (await clinic.check("F-1")).attempts[0].state == "unanswered"
        await clinic.answered(clinic.table.answer(question))
        assert await clinic.outcome("F-1") == "covered"
        assert await clinic.to_do() == []


async def test_of_visits_that_are_not_near_one_item_for_the_payer_is_told_to_it(tmp_path: Path) -> None:
    async with desk(tmp_path, patience="300ms") as clinic:
        for number in (1, 2, 3):
            await booked(clinic, f"F-{number}")
        questions = await clinic.asked(3)
        for number in (1, 2, 3):
            await clinic.reaches(f"F-{number}", "payer_unavailable")
        (item,) = await clinic.to_do()
        assert (item["appointment"], item["queue"], item["cause"]) == (None, "it", "no answer: Aetna")
        await clinic.answered(clinic.table.answer(questions[0]))
        assert await clinic.to_do() == []


async def test_the_end_of_patience_survives_a_restart(tmp_path: Path) -> None:
    async with desk(tmp_path, patience="2s") as clinic:
        await booked(clinic)
        await clinic.asked()
    file = tmp_path / "clinic.yaml"
    async with quick_hub(file) as hub, EhrClient("127.0.0.1", port_of(hub, "ehr")) as client:
        again = Desk(hub, client, folder=tmp_path)
        await again.reaches("F-1", "payer_unavailable")
        assert [item["cause"] for item in await again.to_do()] == ["no answer: Aetna"]


async def test_a_question_that_was_answered_or_withdrawn_is_not_waited_for(tmp_path: Path) -> None:
    async with desk(tmp_path, patience="1h") as clinic:
        await booked(clinic, "F-1")
        await booked(clinic, "F-2")
        first, _ = await clinic.asked(2)
        await clinic.answered(clinic.table.answer(first))
        await clinic.tell(siu("S15", "F-2", None, pid(mrn("2"))))
        assert await clinic.hub.core.reader.next_due() is None
