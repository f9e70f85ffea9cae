"""Any story of bookings, moves, cancellations, and answers that come late, twice or never: each visit ends in an outcome.

The plugin's own functions on records in memory, with the real context, so that hundreds of stories take seconds; what the hub
does around them (one commit for each run, due work by key) is played here.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hub import Appointment, Coverage, CoverageCheck, Patient, Person, WorklistItem
from hub.bus.contents import MemoryContents
from hub.bus.context import RunContext, Surroundings
from hub.bus.numbers import MemoryNumbers
from hub.bus.records import MemoryRecords
from hub.formats.x12 import codes
from hub.message import Message
from hub.records import Identifier, Outcome, Rejection
from hub.security.seal import Seal
from hub.step import Due, Prepared
from plugins.eligibility.checks import prepare_check
from plugins.eligibility.matching import DECIDED
from plugins.eligibility.steps import PlanChecks, PlanChecksConfig
from plugins.eligibility.stops import PayerStop
from plugins.worklist.step import Worklist, WorklistConfig
from tests.plugins.clinic import read_clinic
from tests.support import clinic_folder

VISITS = ("F-1", "F-2", "F-3")
BEGIN = datetime(2027, 3, 1, 15, tzinfo=UTC)
CONFIG = PlanChecksConfig.model_validate(
    {"days_before": ["3", "1"], "morning": "06:30", "new_month": "03:00", "fresh_for": "20h", "retry_after": ["90s", "5m"]}
)
PAYERS = "payer,name,clearinghouse_id,searches,hours\n"
PAYERS += "60054,Aetna,60054,without_id without_middle,mo-fr 07:00-19:00; sa 08:00-24:00\n"


@dataclass(frozen=True)
class Asked:
    """A question that went out."""

    headers: dict[str, str]
    at: datetime
    why: str
    search: str


class Story(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.now = BEGIN
        self.due: dict[tuple[str, str], Due] = {}
        self.asked: list[Asked] = []
        self.runs = 0
        self.on: dict[str, datetime | None] = {}
        """When each visit is; None when it was cancelled."""

    def teardown(self) -> None:
        if self.on:
            self.come_to_the_end()
        self.loop.close()

    @initialize()
    def a_clinic(self) -> None:
        clinic = read_clinic(FILE)
        self.memory = MemoryRecords()
        seal = Seal(b"\0" * 32)
        self.surroundings = Surroundings(
            clinic.settings, clinic.catalogue, clinic.mappings, seal, self.memory, MemoryNumbers(), MemoryContents(seal)
        )
        person = Person(family="Doe", given="Jane", middle="M", birth_date=BEGIN.date(), sex="F")
        cover = Coverage(payer="60054", member_id="W100")
        self.keep(Patient(id="P-1", identifiers=[Identifier(value="42")], name=person, coverages=[cover]))

    # What the hub does.

    def keep(self, record: Any) -> None:
        self.memory.keep(self.surroundings.kinds[type(record)], record)

    def context(self) -> RunContext:
        self.runs += 1
        return RunContext(
            self.surroundings, message_id=f"{self.runs:020d}", name="f", generation=0, connection="", now=self.now
        )

    def commit(self, context: RunContext) -> None:
        for saved in context.changes.records.values():
            self.keep(saved.record)
        for key, due in context.changes.due.items():
            self.due.pop(key, None)
            if due is not None:
                self.due[key] = due

    def wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def get(self, kind: Any, id: str) -> Any:
        found = self.wait(self.memory.get(self.surroundings.kinds[kind], id))
        return found[0] if found else None

    def check(self, visit: str) -> CoverageCheck:
        found: CoverageCheck = self.get(CoverageCheck, visit)
        return found

    def fire(self, key: tuple[str, str]) -> None:
        due = self.due.pop(key)
        self.now = max(self.now, due.at)
        context, before = self.context(), self.check(due.payload["appointment"])
        prepared: Prepared | None = self.wait(prepare_check(due.payload, context))
        self.commit(context)
        if prepared is None:
            return
        why, search = due.payload["why"], due.payload.get("search", "")
        self.was_needed(before, why, prepared.headers["asked_for"])
        self.asked.append(Asked(dict(prepared.headers), self.now, why, search))

    def was_needed(self, before: CoverageCheck, why: str, asked_for: str) -> None:
        """No question is put while the same one is out, or its answer is fresh."""
        if why in ("asked", "search"):
            return
        assert not (before.outcome == "pending" and before.asked_for == asked_for), "it is out already"
        if before.outcome in DECIDED and before.asked_for == asked_for and before.checked_at is not None:
            assert before.service_date is not None
            month = datetime(before.service_date.year, before.service_date.month, 1, 9, tzinfo=UTC)
            old = self.now - before.checked_at >= timedelta(hours=20)
            assert old or before.checked_at < month + timedelta(hours=1), "its answer is fresh"

    def book(self, visit: str, status: str, at: datetime | None) -> None:
        known = self.get(Appointment, visit)
        record = Appointment(id=visit, status=status, starts_at=at or (known.starts_at if known else None), patient_id="P-1")  # type: ignore[arg-type]
        self.keep(record)
        context = self.context()
        message = Message(record, "appointment")
        self.wait(PlanChecks("plan_checks", CONFIG).run(message, context))
        self.commit(context)
        self.on[visit] = None if status == "cancelled" else record.starts_at

    def answer(self, asked: Asked, said: dict[str, Any]) -> None:
        headers = asked.headers
        answer = CoverageCheck(
            id=headers["appointment"],
            asked_for=headers["asked_for"],
            service_date=headers["service_date"],
            payer="60054",
            question=headers["trace"],
            trace=[headers["trace"]],
            seconds=1.5,
            **said,
        )
        context = self.context()
        saved = self.wait(context.save(answer))
        self.wait(Worklist("worklist", WorklistConfig()).run(Message(saved, "coverage_check"), context))
        self.commit(context)

    # What happens.

    @rule(visit=st.sampled_from(VISITS), days=st.integers(0, 40), hour=st.integers(14, 22))
    def booked(self, visit: str, days: int, hour: int) -> None:
        day = self.now + timedelta(days=days)
        self.book(visit, "rescheduled" if self.on.get(visit) else "booked", day.replace(hour=hour, minute=30))

    @precondition(lambda self: any(self.on.values()))
    @rule(data=st.data())
    def cancelled(self, data: st.DataObject) -> None:
        self.book(data.draw(st.sampled_from([v for v, at in self.on.items() if at])), "cancelled", None)

    @precondition(lambda self: self.due)
    @rule()
    def the_next_is_due(self) -> None:
        self.fire(min(self.due, key=lambda key: (self.due[key].at, key)))

    @rule(hours=st.integers(1, 100))
    def the_hub_was_off(self, hours: int) -> None:
        """What has become due meanwhile is done when it is on again, in any order."""
        self.now += timedelta(hours=hours)
        for key in sorted(key for key, due in self.due.items() if due.at <= self.now):
            if key in self.due:
                self.fire(key)

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), code=st.sampled_from(["", "", "", "72", "73", "42", "71", "79", "50", "6"]))
    def an_answer_comes(self, data: st.DataObject, code: str) -> None:
        """To any question that was ever put: late, twice and out of order."""
        self.answer(data.draw(st.sampled_from(self.asked)), SAID[code])

    @precondition(lambda self: any(self.on.values()))
    @rule(data=st.data())
    def a_person_asks(self, data: st.DataObject) -> None:
        visit = data.draw(st.sampled_from([v for v, at in self.on.items() if at]))
        self.due["eligibility", f"{visit}/asked"] = Due(
            "eligibility", f"{visit}/asked", self.now, {"appointment": visit, "why": "asked"}
        )

    # What always holds.

    @invariant()
    def every_visit_has_an_outcome_and_something_that_goes_on_where_it_is_open(self) -> None:
        for visit, at in self.on.items():
            check = self.check(visit)
            assert check.outcome in get_args(Outcome)
            if at is None:
                assert check.outcome == "withdrawn"
                assert not [key for _, key in self.due if key.startswith(f"{visit}/")]
            elif check.outcome == "pending" and at.date() >= self.now.date():
                assert [key for _, key in self.due if key.startswith(f"{visit}/")], "nothing would ever happen"

    @invariant()
    def no_trace_number_is_used_twice(self) -> None:
        traces = [asked.headers["trace"] for asked in self.asked]
        assert len(set(traces)) == len(traces)

    @invariant()
    def a_payer_that_refuses_is_one_problem(self) -> None:
        items = [record for kind, record, _ in self.memory.kept.values() if kind.model is WorklistItem]
        for_it = [item for item in items if item.open and not item.appointment and "AAA" in item.cause]
        stops = [record for kind, record, _ in self.memory.kept.values() if kind.model is PayerStop and record.open]
        assert len(for_it) <= len(stops) <= 2

    def come_to_the_end(self) -> None:
        """Everything is done until nothing is due; nobody answers any more."""
        for _ in range(2000):
            if not self.due:
                break
            self.the_next_is_due()
        assert not self.due, "it never comes to an end"
        for visit, at in self.on.items():
            outcome = self.check(visit).outcome
            assert outcome != "pending" or at is None or at < self.now, f"{visit} is still {outcome}"


def rejected(code: str, loop: str = "2100C") -> dict[str, Any]:
    meaning = codes.rejection(code, loop)
    one = Rejection(loop=loop, code=code, follow_up="C", text=meaning.text, who=meaning.who, action=meaning.action)
    return {"status": "rejected", "rejections": [one]}


SAID: dict[str, dict[str, Any]] = {
    "": {"status": "active"},
    "6": {"status": "inactive"},
    **{code: rejected(code) for code in ("72", "73", "42", "71", "79")},
    "50": rejected("50", "2100B"),
}


FILE = clinic_folder(Path(tempfile.mkdtemp()), "", payers=PAYERS)
Story.TestCase.settings = settings(
    max_examples=120, stateful_step_count=40, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
TestStory = Story.TestCase
