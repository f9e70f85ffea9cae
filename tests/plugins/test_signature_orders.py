"""Every order of what a signing service says, with repeats and doubts, ends in the same state with the same things to do."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from hub import Message, WorklistItem
from hub.records import Failure
from hub.records_signing import ENVELOPE, Envelope, EnvelopeReport, EnvelopeState
from plugins.signatures.envelopes import release
from plugins.signatures.reports import SaveSignature, SignatureFailed, save_report
from plugins.worklist.items import save_item

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


class Kept:
    """As much of a context as reports need: records in memory, due work by key."""

    def __init__(self, envelope: Envelope) -> None:
        self.now = NOW
        self.records: dict[tuple[type, str], Any] = {(Envelope, envelope.id): envelope}
        self.due: dict[str, datetime] = {}
        self.numbers = 0

    async def get(self, kind: type, id: str) -> Any:
        return self.records.get((kind, id))

    async def put(self, record: Any) -> None:
        self.records[type(record), record.id] = record

    async def save(self, record: Any) -> Any:
        return await save_item(record, self)  # type: ignore[arg-type]  # items are all that is saved here

    async def find(self, kind: type, name: str, value: str, limit: int = 100) -> list[Any]:
        assert (kind, name) == (WorklistItem, "open_for")
        return [r for (k, _), r in self.records.items() if k is kind and r.open and r.appointment == value]

    async def number(self, name: str) -> int:
        self.numbers += 1
        return self.numbers

    def plan(self, due: Any) -> None:
        self.due[due.key] = due.at

    def withdraw(self, job: str, key: str) -> None:
        self.due.pop(key, None)

    def key(self, *_: str) -> None: ...

    def note(self, *_: str, plain: bool = False) -> None: ...

    @property
    def envelope(self) -> Envelope:
        return next(r for (k, _), r in self.records.items() if k is Envelope)

    @property
    def to_do(self) -> set[tuple[str, str]]:
        return {(r.appointment, r.cause) for (k, _), r in self.records.items() if k is WorklistItem and r.open}


def new(**more: Any) -> Envelope:
    values = {"asked_at": NOW, "appointments": ["F-1", "F-2"], "ordered_at": NOW} | more
    return Envelope(id="sig-1", packet="consent", title="Consent", **values)


def said(state: EnvelopeState) -> EnvelopeReport:
    return EnvelopeReport(id="sig-1", action="look", partner_id=None if state == "unknown" else "P-1", state=state)


def after(reports: list[EnvelopeReport], **more: Any) -> Kept:
    async def run() -> Kept:
        kept = Kept(new(**more))
        for report in reports:
            await save_report(kept.envelope, report, kept)  # type: ignore[arg-type]
        return kept

    return asyncio.run(run())


def missing(*hours: float, then: EnvelopeState | None = None) -> Kept:
    """An envelope that is out, which the service does not know at these times."""

    async def run() -> Kept:
        kept = Kept(new(state="sent", partner_id="P-1"))
        for hour in hours:
            kept.now = NOW + timedelta(hours=hour)
            report = said("unknown").model_copy(update={"partner_id": "P-1", "found": False})
            await save_report(kept.envelope, report, kept)  # type: ignore[arg-type]
        if then is not None:
            await save_report(kept.envelope, said(then), kept)  # type: ignore[arg-type]
        return kept

    return asyncio.run(run())


@pytest.mark.parametrize("hours", [(0,), (0, 24, 48, 72), (0, 1, 2, 3, 4, 5, 6, 7)])
def test_one_answer_that_the_service_does_not_know_it_ends_nothing(hours: tuple[float, ...]) -> None:
    kept = missing(*hours)
    assert (kept.envelope.state, kept.to_do) == ("sent", set())
    assert missing(*hours, then="completed").envelope.state == "completed"
    assert missing(*hours, then="viewed").envelope.missed == 0, "only what is said in a row counts"


def test_what_the_service_does_not_know_for_days_is_looked_for_by_a_person() -> None:
    kept = missing(0, 6, 12, 18, 24)
    assert (kept.envelope.state, kept.to_do) == ("voided", {("F-1", "voided"), ("F-2", "voided")})
    [*texts] = {record.text for (kind, _), record in kept.records.items() if kind is WorklistItem}
    assert len(texts) == 1
    assert "Look for the reference sig-1 there" in texts[0]


STATES: list[EnvelopeState] = [*ENVELOPE.steps, *ENVELOPE.ends]  # type: ignore[list-item]
HISTORIES = st.lists(st.sampled_from(STATES), min_size=1, max_size=7)


@settings(max_examples=150, deadline=None)
@given(states=HISTORIES, chance=st.randoms(use_true_random=False))
def test_every_order_ends_in_the_same_state_with_the_same_things_to_do(states: list[EnvelopeState], chance: Any) -> None:
    reports = [said(state) for state in states]
    first = after(reports)
    shuffled = reports + chance.sample(reports, chance.randint(0, len(reports)))
    chance.shuffle(shuffled)
    second = after(shuffled)
    assert second.envelope.state == first.envelope.state
    assert second.envelope.partner_id == first.envelope.partner_id
    assert second.to_do == first.to_do
    assert set(second.due) == set(first.due)
    assert second.envelope.valid_until == first.envelope.valid_until


@settings(max_examples=100, deadline=None)
@given(states=HISTORIES)
def test_nothing_leads_back_and_an_end_leaves_no_work_behind(states: list[EnvelopeState]) -> None:
    before: EnvelopeState = "ordered"
    for number in range(1, len(states) + 1):
        kept = after([said(state) for state in states[:number]])
        assert ENVELOPE.advance(before, kept.envelope.state) == kept.envelope.state
        before = kept.envelope.state
    if ENVELOPE.is_over(before):
        assert {key.rpartition("/")[2] for key in kept.due} <= {"fetch", "certificate"}
        assert bool(kept.due) == (before == "completed")
    assert bool(kept.to_do) == (before in ("unknown", "declined", "voided", "expired", "bounced", "failed"))


@settings(max_examples=100, deadline=None)
@given(states=HISTORIES, at=st.integers(0, 7))
def test_a_cancelled_visit_leaves_nothing_to_do_but_to_withdraw(states: list[EnvelopeState], at: int) -> None:
    """Whenever it is cancelled: what is out is withdrawn as soon as its id is known, and nobody is asked to mend it."""

    async def run() -> Kept:
        kept = Kept(new())
        for number, state in enumerate([*states, None]):
            if number == min(at, len(states)):
                await release(kept.envelope, "F-1", "visit cancelled", kept)  # type: ignore[arg-type]
                await release(kept.envelope, "F-2", "visit cancelled", kept)  # type: ignore[arg-type]
            if state is not None:
                await save_report(kept.envelope, said(state), kept)  # type: ignore[arg-type]
        return kept

    kept = asyncio.run(run())
    assert kept.to_do == set()
    envelope = kept.envelope
    if not envelope.is_over:
        assert envelope.withdrawn
        assert kept.due["sig-1/void"] == NOW


def test_a_refused_and_a_doubtful_send_are_told_apart() -> None:
    async def run(code: str, doubtful: bool) -> Kept:
        kept = Kept(new())
        failure = Failure(
            flow="signatures", step="ask", code=code, reason="x", message="m", doubtful=doubtful,
            headers={"envelope": "sig-1", "action": "send"},
        )  # fmt: skip
        await SignatureFailed("x", SignatureFailed.Config()).run(Message(failure, "failure"), kept)  # type: ignore[arg-type]
        return kept

    assert asyncio.run(run("MSG-001", False)).envelope.state == "failed"
    assert asyncio.run(run("MSG-003", True)).envelope.state == "unknown"
    assert asyncio.run(run("BUG-001", False)).envelope.state == "unknown", "it may have happened after it was sent"


def test_what_may_be_asked_again_is_when_the_hub_stopped_in_the_middle() -> None:
    async def run(action: str) -> Kept:
        kept = Kept(new(state="completed" if action != "void" else "sent", partner_id="P-1", looking_since=NOW))
        failure = Failure(
            flow="signatures", step="ask", code="MSG-003", reason="x", message="m", doubtful=True,
            headers={"envelope": "sig-1", "action": action},
        )  # fmt: skip
        await SignatureFailed("x", SignatureFailed.Config()).run(Message(failure, "failure"), kept)  # type: ignore[arg-type]
        return kept

    for action in ("fetch", "certificate", "void"):
        kept = asyncio.run(run(action))
        assert kept.due == {f"sig-1/{action}": NOW}
        assert kept.to_do == set()
    assert asyncio.run(run("look")).envelope.looking_since is None


def test_a_document_that_is_not_ready_is_asked_for_again() -> None:
    async def run() -> Kept:
        kept = Kept(new(state="completed", ended_at=NOW, partner_id="P-1"))
        report = EnvelopeReport(id="sig-1", action="fetch", partner_id="P-1", state="completed", ready=False)
        step = SaveSignature("x", SaveSignature.Config())
        await step.run(Message(report, "envelope_report"), kept)  # type: ignore[arg-type]
        return kept

    assert asyncio.run(run()).due == {"sig-1/fetch": NOW + timedelta(seconds=5)}
