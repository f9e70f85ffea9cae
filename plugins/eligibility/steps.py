"""The steps of the eligibility workflow."""

from __future__ import annotations

from datetime import datetime, time

from pydantic import Field, field_validator

from hub import Appointment, Context, CoverageCheck, Message, MessageUnusable, Step, StepConfig, StepResult, WorklistItem
from hub.records import GONE, CoveragePlan, Failure, Owes
from hub.units import Duration, TimeOfDay, parse_time_of_day
from plugins.eligibility.checks import ASKED, OPENS, SEARCH
from plugins.eligibility.matching import attempt_of, end_of_waiting, with_attempt
from plugins.eligibility.stops import STOPPED
from plugins.eligibility.times import MONTH, MORNING, NEW_MONTH, moments_of
from plugins.eligibility.visits import JOB, is_ahead, plan_check, service_day, site_of

_WHYS = ("booking", "retry", "coverage", ASKED, SEARCH, OPENS, STOPPED, MORNING, MONTH)
"""Reasons for a check that do not depend on the settings."""


class PlanChecksConfig(StepConfig):
    """When visits are checked."""

    on_booking: bool = True
    """Check as soon as the visit is booked or moved."""
    days_before: list[int] = Field(default=[], max_length=10)
    """Check again so many days before the visit."""
    at: TimeOfDay = parse_time_of_day("06:00")
    """Time of day of those checks, where the visit takes place."""
    morning: TimeOfDay | None = None
    """Check again on the day of the visit, at this time."""
    new_month: TimeOfDay | None = None
    """Check visits of a month again on its first day, at this time: 03:00 or later, when payers have loaded what is new."""
    fresh_for: Duration = Field(default=86400.0, ge=0)
    """An answer to the same question that is younger is not asked for again."""
    retry_after: list[Duration] = [90.0, 300.0, 900.0, 3600.0, 14400.0]
    """Waits before each further try while the payer does not answer (CAQH CORE: not before 90 s)."""
    patience: Duration = Field(default=3600.0, gt=0)
    """A question without an answer is told after this time; an answer that comes later still counts."""
    probe_after: Duration = Field(default=14400.0, gt=0)
    """A payer that refuses us, whoever the patient is, gets one question after this time, to find out whether it still does."""
    queue: str = "front_desk"
    """Worklist for visits that cannot be asked about."""

    @field_validator("new_month")
    @classmethod
    def _not_too_early(cls, at: time | None) -> time | None:
        if at is not None and at < NEW_MONTH:
            raise ValueError("is 03:00 or later: before that payers still say what held in the month before")
        return at


class PlanChecks(Step[PlanChecksConfig]):
    """Plans the coverage checks of a visit, or withdraws them when the visit will not take place."""

    kind = "plan_checks"

    async def run(self, message: Message, context: Context) -> StepResult:
        appointment = message.record
        if not isinstance(appointment, Appointment):
            raise MessageUnusable(f"plan_checks works on an appointment, but this is {message.format}", code="ELG-001")
        known = await context.get(CoverageCheck, appointment.id)
        if appointment.status in GONE:
            await self._withdraw(appointment, known, context)
        elif appointment.status in ("pending", "booked", "rescheduled", "changed") and is_ahead(appointment, context):
            await self._plan(appointment, known, context)
        return message

    async def _plan(self, appointment: Appointment, known: CoverageCheck | None, context: Context) -> None:
        day = service_day(appointment, context)
        config = self.config
        plan = CoveragePlan(
            fresh_for=config.fresh_for,
            retry_after=config.retry_after,
            patience=config.patience,
            again_at=config.morning or config.at,
            probe_after=config.probe_after,
            queue=config.queue,
        )
        check = known or CoverageCheck(id=appointment.id, patient_id=appointment.patient_id)
        if known is None or known.service_date != day or known.outcome == "withdrawn":
            check = CoverageCheck(
                id=appointment.id,
                patient_id=appointment.patient_id,
                payer=check.payer,
                service_date=day,
                attempts=check.attempts,
            )
        await context.put(check.model_copy(update={"plan": plan}))
        if self.config.on_booking:
            plan_check(appointment.id, "booking", context.now, context)
        for why, moment in self._moments(appointment, context).items():
            if moment > context.now:
                plan_check(appointment.id, why, moment, context)
            else:
                context.withdraw(JOB, f"{appointment.id}/{why}")

    def _moments(self, appointment: Appointment, context: Context) -> dict[str, datetime]:
        """When the visit is checked, besides at its booking."""
        day, config = service_day(appointment, context), self.config
        assert day is not None  # noqa: S101 - only visits with a time are planned
        site = site_of(appointment, context)
        return moments_of(day, site, config.days_before, config.at, config.morning, config.new_month)

    async def _withdraw(self, appointment: Appointment, known: CoverageCheck | None, context: Context) -> None:
        for why in (*_WHYS, *(f"{days}d" for days in self.config.days_before)):
            context.withdraw(JOB, f"{appointment.id}/{why}")
        for attempt in known.attempts if known is not None else ():
            end_of_waiting(appointment.id, attempt.trace, context)
        check = known or CoverageCheck(
            id=appointment.id, patient_id=appointment.patient_id, service_date=service_day(appointment, context)
        )
        nothing = dict.fromkeys(("action", "who", "cause", "stopped_by"))
        await context.put(check.model_copy(update={"outcome": "withdrawn", "owes": Owes(), **nothing}))
        await context.save(WorklistItem(appointment=appointment.id, open=False, closed_because=f"visit {appointment.status}"))
        context.note("withdrawn", "Coverage check withdrawn", plain=True)


class CheckFailed(Step[StepConfig]):
    """Gives a visit an outcome when its inquiry could not be sent or its answer not be used."""

    kind = "check_failed"

    async def run(self, message: Message, context: Context) -> StepResult:
        failure = message.record
        if failure is None and message.format == "failure":
            failure = Failure.model_validate_json(message.body)
        if not isinstance(failure, Failure):
            raise MessageUnusable(f"check_failed works on a failure, but this is {message.format}", code="ELG-002")
        known = await context.get(CoverageCheck, failure.headers.get("appointment", ""))
        if known is None or known.outcome == "withdrawn":
            return None
        action = f"The inquiry did not get through: {failure.reason}. IT looks at the message."
        update = {"outcome": "unclear", "action": action, "who": "it", "cause": failure.code, "owes": Owes()}
        check = known.model_copy(update=update | {"checked_at": context.now, "asked_for": None})
        if (attempt := attempt_of(known, failure.headers.get("trace"))) is not None:
            check = with_attempt(check, attempt.model_copy(update={"state": "unanswered", "note": failure.code}))
            end_of_waiting(known.id, attempt.trace, context)
        await context.put(check)
        context.key("appointment", known.id)
        context.note("unclear", action)
        return message.derive(check, format="coverage_check")
