"""Planning the reminders of a visit, and taking them back: step `plan_reminders`, and what follows whenever a booking is saved.

A visit has one reminder for each step of its policy, known by visit and step.  A visit that moves is planned anew; one that
will not take place, or has begun, has none any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from hub import Appointment, Context, Due, Message, MessageUnusable, Step, StepConfig, StepResult
from hub.people import current_chart
from hub.records import GONE
from hub.records_reminders import Reminder
from hub.step import Misreference, References
from plugins.reminders.people import e164, site_zone, zone_of
from plugins.reminders.policies import Policies, Policy, load_policies, read_policies
from plugins.reminders.times import due_moment

JOB = "reminder"
BEGUN = frozenset({"arrived", "complete"})
REMINDED = frozenset({"booked", "rescheduled", "changed"})
"""Statuses of visits that are reminded of; a booking that is not confirmed by the clinic is none."""


class PolicyConfig(StepConfig):
    """Settings of every step that goes by a policy file."""

    policies: Path
    """The policy file, relative to the clinic file."""


def policy_misreferences(config: Any) -> Iterable[Misreference]:
    """Everything that is wrong with the policy file, at the step that names it."""
    return (Misreference("policies", wrong) for wrong in read_policies(config.policies)[1])


PolicyConfigT = TypeVar("PolicyConfigT", bound=PolicyConfig)


class PolicyStep(Step[PolicyConfigT]):
    """A step that goes by a policy file, which is read when the step is made."""

    @classmethod
    def misreferences(cls, config: Any, names: References) -> Iterable[Misreference]:  # noqa: ARG003
        return policy_misreferences(config)

    def __init__(self, name: str, config: PolicyConfigT) -> None:
        super().__init__(name, config)
        self._policies = load_policies(config.policies)


class PlanReminders(PolicyStep[PolicyConfig]):
    """Plans the reminders of a visit, or takes them back when it will not take place."""

    kind = "plan_reminders"
    main = "policies"

    async def run(self, message: Message, context: Context) -> StepResult:
        appointment = message.record
        if not isinstance(appointment, Appointment):
            raise MessageUnusable(f"plan_reminders works on an appointment, but this is {message.format}", code="REM-002")
        if appointment.id:
            await plan_visit(appointment, self._policies, context)
        return message


async def plan_visit(appointment: Appointment, policies: Policies, context: Context) -> None:
    starts_at = appointment.starts_at
    found = policies.policy_for(appointment.type, appointment.site)
    if appointment.status not in REMINDED or starts_at is None or starts_at <= context.now or found is None:
        if appointment.status != "pending":
            await withdraw_all(appointment.id, f"visit {appointment.status}", context)
        return
    known = {reminder.step: reminder for reminder in await reminders_of(appointment.id, context)}
    name, policy = found
    for reminder in await _wanted(appointment, starts_at, name, policy, policies, context):
        await _plan(reminder, known.pop(reminder.step, None), context)
    for reminder in known.values():
        await withdraw(reminder, "no reminder of its policy any more", context)


async def _wanted(
    appointment: Appointment, starts_at: datetime, name: str, policy: Policy, policies: Policies, context: Context
) -> list[Reminder]:
    """The reminders of a policy with their times; each is of use until the next is due."""
    chart = await current_chart(appointment.patient_id, context)
    number = e164(chart.phone, policies.country) if chart is not None else None
    zone = zone_of(number, site_zone(appointment, context), policies)
    moments = [due_moment(starts_at, step.lead, step.at, zone, policies.quiet.hours) for step in policy.steps]
    return [
        Reminder(
            id=f"{appointment.id}/{step.name}",
            appointment=appointment.id,
            patient_id=appointment.patient_id,
            policy=name,
            step=step.name,
            template=step.template,
            starts_at=starts_at,
            due_at=moment,
            until=min([starts_at, *(later for later in moments[index + 1 :] if later > moment)]),
        )
        for index, (step, moment) in enumerate(zip(policy.steps, moments, strict=True))
    ]


async def _plan(wanted: Reminder, known: Reminder | None, context: Context) -> None:
    """Of a visit that did not move only what has not gone out yet changes."""
    assert wanted.due_at is not None  # noqa: S101 - _wanted gives it one
    is_same = known is not None and known.starts_at == wanted.starts_at
    if known is not None and is_same and (known.tries or known.state not in ("planned", "withdrawn")):
        return
    if wanted.due_at <= context.now:
        if not (known is not None and is_same and known.state == "planned"):
            context.withdraw(JOB, wanted.id)
            await context.put(
                wanted.model_copy(update={"state": "skipped", "why": "its time was over when the visit was booked"})
            )
        return
    await context.put(wanted)
    plan_due(wanted, wanted.due_at, context)


def plan_due(reminder: Reminder, at: datetime, context: Context) -> None:
    """One piece of due work for each reminder: planning it again moves it."""
    context.plan(Due(JOB, reminder.id, at, {"reminder": reminder.id}, lane=reminder.appointment or reminder.id))


async def reminders_of(appointment: str, context: Context) -> list[Reminder]:
    return await context.find(Reminder, "appointment", appointment, limit=1000)


async def withdraw(reminder: Reminder, why: str, context: Context) -> None:
    """Nothing more is sent of it; what has gone out stays as it is."""
    context.withdraw(JOB, reminder.id)
    if reminder.state in ("planned", "sending"):
        await context.put(reminder.model_copy(update={"state": "withdrawn", "why": why}))


async def withdraw_all(appointment: str, why: str, context: Context) -> None:
    for reminder in await reminders_of(appointment, context):
        await withdraw(reminder, why, context)


async def withdraw_of_gone(appointment: Appointment, context: Context) -> None:
    """A reaction to every saved booking, whichever flow saved it."""
    if appointment.id and (appointment.status in GONE or appointment.status in BEGUN):
        await withdraw_all(appointment.id, f"visit {appointment.status}", context)
