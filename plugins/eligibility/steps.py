"""The steps of the eligibility workflow."""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import Field

from hub import Appointment, Context, CoverageCheck, Message, MessageUnusable, Step, StepConfig, StepResult, WorklistItem
from hub.records import GONE, CoveragePlan, Failure, Owes
from hub.units import Duration, TimeOfDay, parse_time_of_day
from plugins.eligibility.matching import attempt_of, end_of_waiting, with_attempt
from plugins.eligibility.visits import JOB, is_ahead, plan_check, service_day, site_of

_WHYS = ("booking", "retry", "coverage", "asked")


class PlanChecksConfig(StepConfig):
    """When visits are checked."""

    on_booking: bool = True
    """Check as soon as the visit is booked or moved."""
    days_before: list[int] = Field(default=[], max_length=10)
    """Check again so many days before the visit."""
    at: TimeOfDay = parse_time_of_day("06:00")
    """Time of day of those checks, where the visit takes place."""
    fresh_for: Duration = Field(default=86400.0, ge=0)
    """An answer to the same question that is younger is not asked for again."""
    retry_after: list[Duration] = [90.0, 300.0, 900.0, 3600.0, 14400.0]
    """Waits before each further try while the payer does not answer (CAQH CORE: not before 90 s)."""
    patience: Duration = Field(default=3600.0, gt=0)
    """A question without an answer is told after this time; an answer that comes later still counts."""
    queue: str = "front_desk"
    """Worklist for visits that cannot be asked about."""


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
        elif appointment.status in ("booked", "rescheduled", "changed") and is_ahead(appointment, context):
            await self._plan(appointment, known, context)
        return message

    async def _plan(self, appointment: Appointment, known: CoverageCheck | None, context: Context) -> None:
        day = service_day(appointment, context)
        config = self.config
        plan = CoveragePlan(
            fresh_for=config.fresh_for, retry_after=config.retry_after, patience=config.patience, queue=config.queue
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
        for days in self.config.days_before:
            moment = self._moment(appointment, days, context)
            if moment > context.now:
                plan_check(appointment.id, f"{days}d", moment, context)
            else:
                context.withdraw(JOB, f"{appointment.id}/{days}d")

    def _moment(self, appointment: Appointment, days: int, context: Context) -> datetime:
        site = site_of(appointment, context)
        day = service_day(appointment, context)
        assert day is not None  # noqa: S101 - only visits with a time are planned
        return datetime.combine(day - timedelta(days=days), self.config.at, tzinfo=site.zone)

    async def _withdraw(self, appointment: Appointment, known: CoverageCheck | None, context: Context) -> None:
        for why in (*_WHYS, *(f"{days}d" for days in self.config.days_before)):
            context.withdraw(JOB, f"{appointment.id}/{why}")
        for attempt in known.attempts if known is not None else ():
            end_of_waiting(appointment.id, attempt.trace, context)
        check = known or CoverageCheck(
            id=appointment.id, patient_id=appointment.patient_id, service_date=service_day(appointment, context)
        )
        await context.put(
            check.model_copy(update={"outcome": "withdrawn", "owes": Owes(), "action": None, "who": None, "cause": None})
        )
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
