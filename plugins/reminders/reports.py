"""What partners say of texts and calls, and what follows: the next way, a look later, an item when nobody knows.

What is said comes as the answer to an order, to a look, or after a webhook's hint; it may come twice, late and in any order,
and ends in the same state (`hub.progress`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from pydantic import ValidationError

from hub import Appointment, Context, Due, Message, MessageUnusable, Prepared, Step, StepResult, WorklistItem
from hub.progress import Progress
from hub.records import Failure
from hub.records_reminders import CALL, REMINDER, TEXT, Call, Channel, Hint, Reminder, Report, Sent, TextMessage
from hub.step import Misreference, References
from plugins.reminders.people import note_wish
from plugins.reminders.plan import REMINDED, PolicyConfig, PolicyStep, plan_due, policy_misreferences
from plugins.reminders.sending import OFF, TOPIC, WaysConfig, unknown_ways

LOOK = "reminder_look"
KINDS: dict[Channel, tuple[type[Sent], Progress]] = {"text": (TextMessage, TEXT), "call": (Call, CALL)}
_SETTLED = timedelta(minutes=1)
REACHED = ("delivered", "answered")


async def sent_of(channel: Channel, id: str, partner_id: str | None, context: Context) -> Sent | None:
    """A text or call by our id, else by the partner's."""
    kind = KINDS[channel][0]
    if id and (found := await context.get(kind, id)) is not None:
        return found
    if not partner_id:
        return None
    return next(iter(await context.find(kind, "partner", partner_id, limit=1)), None)


class TakeReport(PolicyStep[PolicyConfig]):
    """Keeps what a partner says of a text or call, and does what follows from it."""

    kind = "take_report"
    main = "policies"

    async def run(self, message: Message, context: Context) -> StepResult:
        report, channel = _report_in(message)
        known = await sent_of(channel, report.id, report.partner_id, context)
        if known is None:
            raise MessageUnusable("the report is of nothing that was sent from here", code="REM-005")
        context.key("appointment", known.appointment)
        await take(report, channel, known, self._policies.looks, context)
        return None


def _report_in(message: Message) -> tuple[Report, Channel]:
    channel = message.format.removesuffix("_report")
    if channel not in KINDS or not message.format.endswith("_report"):
        raise MessageUnusable(f"take_report works on a report of a text or call, but this is {message.format}", code="REM-004")
    try:
        return Report.model_validate_json(message.body), channel
    except ValidationError:
        raise MessageUnusable("the report cannot be read", code="REM-004") from None


async def take(report: Report, channel: Channel, known: Sent, looks: list[float], context: Context) -> None:
    """One thing said of one text or call."""
    progress = KINDS[channel][1]
    before = str(known.state)  # type: ignore[attr-defined]  # each kind has its own states
    state = progress.advance(before, report.state)
    update = {"state": state, "told_at": context.now, "partner_id": known.partner_id or report.partner_id}
    if state == report.state and state != before:
        update |= {"trouble": report.trouble, "detail": report.detail}
    told = known.model_copy(update=update)
    if state != before or told.partner_id != known.partner_id:
        context.note(state, f"The {channel} of the reminder: {state}" + _because(report), plain=True)
    await context.put(told)
    if progress.is_over(state):
        context.withdraw(LOOK, known.id)
    else:
        told = await plan_look(told, channel, looks, context)
    if state != before:
        await _follow(told, channel, report, state, context)


def _because(report: Report) -> str:
    parts = [part for part in (report.trouble.replace("_", " "), report.detail) if part]
    return f" ({', '.join(parts)})" if parts else ""


async def _follow(told: Sent, channel: Channel, report: Report, state: str, context: Context) -> None:
    """What a new state of a text or call means for its reminder."""
    if report.trouble == "opted_out" and channel == "text":
        await note_wish(told.number, True, "partner", context)
    if state == "unknown":
        return
    await _close_doubt(told, context)
    reminder = await context.get(Reminder, told.reminder)
    if reminder is None or not is_last_try(told, reminder):
        return
    if state == "failed":
        await _next_way(reminder, report, context)
        return
    now = "delivered" if state in REACHED else "sent"
    await context.put(reminder.model_copy(update={"state": REMINDER.advance(reminder.state, now)}))


def is_last_try(sent: Sent, reminder: Reminder) -> bool:
    """Whether the reminder is about what was sent: it may have been planned anew since, for another time of the visit."""
    return bool(reminder.tries) and reminder.tries[-1].thing == sent.id


async def _next_way(reminder: Reminder, report: Report, context: Context) -> None:
    """The reminder goes by the next way that is left; what was too late to leave is looked at again as it was."""
    if reminder.state not in ("sending", "sent", "unknown"):
        return
    appointment = await context.get(Appointment, reminder.appointment) if reminder.appointment else None
    if appointment is not None and appointment.status not in REMINDED:
        await context.put(reminder.model_copy(update={"state": "withdrawn", "why": f"visit {appointment.status}"}))
        return
    if report.trouble == "opted_out":
        await context.put(reminder.model_copy(update={"state": "skipped", "why": OFF}))
        return
    tries = reminder.tries[:-1] if report.trouble == "late" else reminder.tries
    await context.put(reminder.model_copy(update={"state": "sending", "tries": tries}))
    plan_due(reminder, context.now, context)


# Looks.


async def plan_look(told: Sent, channel: Channel, looks: list[float], context: Context) -> Sent:
    """A webhook may be lost: what is not over is looked after, a few times."""
    if told.looks >= len(looks) or told.partner_id is None:
        return told
    at = context.now + timedelta(seconds=looks[told.looks])
    context.plan(Due(LOOK, told.id, at, {"thing": told.id, "channel": channel}, lane=told.appointment or told.id))
    return told


async def prepare_look(payload: Mapping[str, str], context: Context) -> Prepared | None:
    """The text or call to look after; None when it is over, or the partner never gave it an id."""
    channel: Channel = "call" if payload.get("channel") == "call" else "text"
    known = await sent_of(channel, payload.get("thing", ""), None, context)
    if known is None or known.partner_id is None or KINDS[channel][1].is_over(str(known.state)):  # type: ignore[attr-defined]
        return None
    context.key("appointment", known.appointment)
    await context.put(known.model_copy(update={"looks": known.looks + 1}))
    return Prepared(known)


class LookAgain(Step[WaysConfig]):
    """Asks the partner how a text or call is: one that is due for a look, or one a webhook hints at."""

    kind = "look_again"

    @classmethod
    def misreferences(cls, config: Any, names: References) -> Iterable[Misreference]:
        yield from policy_misreferences(config)
        yield from unknown_ways(config, names)

    async def run(self, message: Message, context: Context) -> StepResult:
        for channel in KINDS:
            known, connection = await self._meant(message, channel, context), self.config.connection(channel)
            if known is None or connection is None:
                continue
            partner_id = known.partner_id or (message.record.partner_id if isinstance(message.record, Hint) else "")
            context.key("appointment", known.appointment)
            headers = {"thing": known.id, "channel": channel, "partner_id": partner_id, "look": "yes"}
            look = Message(b"", "look", "look", headers, id=message.id, generation=message.generation)
            context.ask(connection, look)
            return None
        context.note("not ours", "A webhook speaks of nothing that was sent from here", plain=True)
        return None

    async def _meant(self, message: Message, channel: Channel, context: Context) -> Sent | None:
        record = message.record
        if isinstance(record, Hint):
            return await sent_of(channel, message.headers.get("resource", ""), record.partner_id, context)
        return record if isinstance(record, KINDS[channel][0]) else None


# What did not get through.


class ReminderFailedConfig(PolicyConfig):
    """Where doubts are put before a person."""

    queue: str = "front_desk"
    """Worklist for reminders of which nobody knows whether they were sent."""


class ReminderFailed(Step[ReminderFailedConfig]):
    """What follows when an order got no answer: a doubtful one is never sent again, any other goes by the next way."""

    kind = "reminder_failed"
    main = "policies"

    @classmethod
    def misreferences(cls, config: Any, names: References) -> Iterable[Misreference]:  # noqa: ARG003
        return policy_misreferences(config)

    async def run(self, message: Message, context: Context) -> StepResult:
        failure = message.record
        if failure is None and message.format == "failure":
            failure = Failure.model_validate_json(message.body)
        if not isinstance(failure, Failure):
            raise MessageUnusable(f"reminder_failed works on a failure, but this is {message.format}", code="REM-006")
        headers = failure.headers
        channel: Channel = "call" if headers.get("channel") == "call" else "text"
        known = await sent_of(channel, headers.get("thing", ""), None, context)
        if known is None or headers.get("look"):
            return None
        context.key("appointment", known.appointment)
        if failure.may_be_done:
            await self._doubt(known, channel, context)
        else:
            await take(Report(id=known.id, state="failed", trouble="other", detail=failure.code), channel, known, [], context)
        return None

    async def _doubt(self, known: Sent, channel: Channel, context: Context) -> None:
        state = KINDS[channel][1].advance(str(known.state), "unknown")  # type: ignore[attr-defined]
        if state != "unknown":
            return  # the partner has told meanwhile
        await context.put(known.model_copy(update={"state": state}))
        reminder = await context.get(Reminder, known.reminder)
        if reminder is not None and is_last_try(known, reminder):
            await context.put(reminder.model_copy(update={"state": REMINDER.advance(reminder.state, "unknown")}))
        context.note("unknown", f"Nobody knows whether the {channel} was sent; it is not sent again", plain=True)
        text = f"Nobody knows whether the {channel} with the reminder was sent. It is not sent again; ask, or leave it."
        item = WorklistItem(queue=self.config.queue, appointment=known.appointment, topic=TOPIC, text=text, cause=_doubt(known))
        await context.save(item)


def _doubt(known: Sent) -> str:
    return f"unknown {known.id}"


async def _close_doubt(told: Sent, context: Context) -> None:
    """The partner's word settles it."""
    for item in await context.find(WorklistItem, "open_for", told.appointment, limit=100):
        if item.cause == _doubt(told):
            closing = WorklistItem(
                queue=item.queue,
                appointment=told.appointment,
                topic=TOPIC,
                cause=item.cause,
                open=False,
                closed_because="settled",
            )
            await context.save(closing)
