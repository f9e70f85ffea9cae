"""A reminder that is due: whether it is still wanted, by which way it goes, and what it says.

What it says, to whom, and that they want to hear it are read in the run that makes the order; a booking that is cancelled or an
opt-out that comes at the same moment makes the run go again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from hub import Appointment, Context, Message, MessageUnusable, Patient, Prepared, StepResult, WorklistItem
from hub.people import current_chart
from hub.records_reminders import REMINDER, Call, CallOrder, Channel, Reminder, TextMessage, TextOrder, Try, VisitReply
from hub.step import Misreference, References
from plugins.reminders.people import is_out, number_of, site_zone, zone_of
from plugins.reminders.plan import REMINDED, PolicyConfig, PolicyStep, plan_due
from plugins.reminders.policies import Policies
from plugins.reminders.times import LEAD, is_quiet, quiet_begins, quiet_ends
from plugins.reminders.words import day_in_words, filled, time_in_words

TOPIC = "reminder"
"""Topic of the items of this workflow on the worklist."""
OFF = "wants no reminders"


async def prepare_reminder(payload: Mapping[str, str], context: Context) -> Prepared | None:
    """The reminder that is due; None when it is not wanted any more."""
    reminder = await context.get(Reminder, payload.get("reminder", ""))
    if reminder is None or reminder.state not in ("planned", "sending"):
        return None
    if reminder.appointment:
        context.key("appointment", reminder.appointment)
        appointment = await context.get(Appointment, reminder.appointment)
        if appointment is None or appointment.status not in REMINDED:
            await _left_out(reminder, "withdrawn", f"visit {appointment.status if appointment else 'unknown'}", context)
            return None
        if appointment.starts_at != reminder.starts_at:
            await _left_out(reminder, "withdrawn", "the visit was moved", context)
            return None
    if reminder.until is not None and reminder.until <= context.now:
        await _left_out(reminder, "failed" if reminder.tries else "skipped", "its time was over", context)
        return None
    return Prepared(reminder, {"reminder": reminder.id})


async def _left_out(reminder: Reminder, state: str, why: str, context: Context) -> None:
    await context.put(reminder.model_copy(update={"state": state, "why": why}))
    context.note("no reminder", f"Reminder {reminder.step or reminder.recall}: {why}", plain=True)


class WaysConfig(PolicyConfig):
    """The connections of the ways reminders go."""

    text: str | None = None
    """Connection for texts; without one there are none."""
    call: str | None = None
    """Connection for calls; without one there are none."""

    def connection(self, channel: Channel) -> str | None:
        return self.text if channel == "text" else self.call


def unknown_ways(config: Any, names: References) -> Iterable[Misreference]:
    for field in ("text", "call"):
        name = getattr(config, field)
        if name is not None and name not in names.connections:
            yield Misreference(field, f"there is no connection {name!r}", list(names.connections))
    if config.text is None and config.call is None:
        yield Misreference("policies", "neither `text` nor `call` names a connection, so nobody can be reached")


class RemindConfig(WaysConfig):
    """How reminders leave."""

    queue: str = "front_desk"
    """Worklist for patients who cannot be reached."""


class Remind(PolicyStep[RemindConfig]):
    """Sends a reminder that is due by the first way that is left; the flow goes on with what the partner says."""

    kind = "remind"

    @classmethod
    def misreferences(cls, config: Any, names: References) -> Iterable[Misreference]:
        yield from super().misreferences(config, names)
        yield from unknown_ways(config, names)

    async def run(self, message: Message, context: Context) -> StepResult:
        reminder = message.record
        if not isinstance(reminder, Reminder):
            raise MessageUnusable(f"remind works on a reminder that is due, but this is {message.format}", code="REM-003")
        visit = await Visited.of(reminder, self._policies, context)
        if await self._must_wait(visit, context) or await self._is_confirmed(visit, context):
            return None
        if visit.number is not None and await is_out(visit.number, context):
            await _left_out(reminder, "skipped", OFF, context)
            return None
        channel = self._way(visit)
        if channel is None:
            await give_up(reminder, visit.why_unreachable, self.config.queue, context)
            return None
        await self._order(visit, channel, message, context)
        return None

    async def _must_wait(self, visit: Visited, context: Context) -> bool:
        """Quiet hours: it goes when they are over, unless that is too late to be of use."""
        reminder, now, quiet = visit.reminder, context.now, self._policies.quiet.hours
        if not is_quiet(now, visit.zone, quiet):
            return False
        later = quiet_ends(now, visit.zone, quiet)
        if reminder.until is not None and later > reminder.until - LEAD:
            await _left_out(reminder, "failed" if reminder.tries else "skipped", "quiet hours until it was of no use", context)
        else:
            plan_due(reminder, later, context)
        return True

    async def _is_confirmed(self, visit: Visited, context: Context) -> bool:
        policy = self._policies.reminders.get(visit.reminder.policy)
        step = next((s for s in policy.steps if s.name == visit.reminder.step), None) if policy else None
        if step is None or not step.unless_confirmed:
            return False
        reply = await context.get(VisitReply, visit.reminder.appointment)
        confirmed = reply is not None and reply.answer == "confirmed" and reply.starts_at == visit.reminder.starts_at
        if confirmed:
            await _left_out(visit.reminder, "skipped", "the visit is confirmed", context)
        return confirmed

    def _way(self, visit: Visited) -> Channel | None:
        """The first way that was not tried, has a connection and words."""
        tried = {one.channel for one in visit.reminder.tries}
        for channel in self._channels(visit.reminder):
            if channel in tried or self.config.connection(channel) is None or visit.number is None:
                continue
            if visit.says(channel) is not None:
                return channel
        return None

    def _channels(self, reminder: Reminder) -> list[Channel]:
        policies = self._policies
        if reminder.recall:
            recall = policies.recalls.get(reminder.recall)
            return recall.channels or policies.channels if recall else []
        policy = policies.reminders.get(reminder.policy)
        step = next((s for s in policy.steps if s.name == reminder.step), None) if policy else None
        return (step.channels or policies.channels) if step is not None else []

    async def _order(self, visit: Visited, channel: Channel, message: Message, context: Context) -> None:
        reminder, number, connection = visit.reminder, visit.number, self.config.connection(channel)
        text = visit.says(channel)
        assert number is not None and connection is not None and text is not None  # noqa: S101, PT018 - _way looked
        id = context.new_id("r-")
        until = self._until(visit, context)
        thing = {"id": id, "reminder": reminder.id, "appointment": reminder.appointment, "patient_id": reminder.patient_id}
        thing |= {"number": number, "text": text, "connection": connection}
        order: TextOrder | CallOrder
        if channel == "text":
            await context.put(TextMessage(**thing, ordered_at=context.now))
            order = TextOrder(id=id, to=number, text=text, until=until)
        else:
            await context.put(Call(**thing, ordered_at=context.now))
            order = CallOrder(id=id, to=number, text=text, until=until, language=visit.language.voice)
        tries = [*reminder.tries, Try(channel=channel, thing=id, at=context.now)]
        await context.put(reminder.model_copy(update={"state": "sending", "tries": tries}))
        headers = {"thing": id, "channel": channel, "reminder": reminder.id, "appointment": reminder.appointment}
        context.note("reminding", f"Reminder {reminder.step or reminder.recall} goes as a {channel}", plain=True)
        context.ask(connection, message.derive(order, format=f"{channel}_order", type="send", headers=headers))

    def _until(self, visit: Visited, context: Context) -> datetime:
        """Until when it may leave without being looked at again."""
        latest = context.now + timedelta(seconds=self._policies.stays)
        moments = [latest, visit.reminder.until, quiet_begins(context.now, visit.zone, self._policies.quiet.hours)]
        return min(moment for moment in moments if moment is not None)


async def give_up(reminder: Reminder, why: str, queue: str, context: Context) -> None:
    """No way is left: a person calls."""
    state = REMINDER.advance(reminder.state, "failed")
    await context.put(reminder.model_copy(update={"state": state, "why": why}))
    context.note("not reminded", f"Reminder {reminder.step or reminder.recall}: {why}", plain=True)
    about = "of the visit" if reminder.appointment else f"for {reminder.recall}"
    item = WorklistItem(
        queue=queue,
        appointment=reminder.appointment,
        topic=TOPIC,
        text=f"The patient could not be reminded {about}: {why}. Call the patient, or correct the number in the chart.",
        cause=f"not reached: {why}" if reminder.appointment else f"not reached: {reminder.id}",
    )
    await context.save(item)


class Visited:
    """A reminder with all that its words and its way need."""

    def __init__(
        self,
        reminder: Reminder,
        appointment: Appointment | None,
        chart: Patient | None,
        number: str | None,
        policies: Policies,
        context: Context,
    ) -> None:
        self.reminder, self.appointment, self.chart, self.number = reminder, appointment, chart, number
        self._policies, self._context = policies, context
        self.zone = zone_of(number, site_zone(appointment, context), policies)
        spoken = reminder.language or ((chart.language or "") if chart is not None else "")
        self._name, self.language = policies.language_of(spoken)

    @classmethod
    async def of(cls, reminder: Reminder, policies: Policies, context: Context) -> Visited:
        appointment = await context.get(Appointment, reminder.appointment) if reminder.appointment else None
        chart = await current_chart(appointment.patient_id if appointment is not None else reminder.patient_id, context)
        return cls(reminder, appointment, chart, await number_of(reminder, chart, policies), policies, context)

    @property
    def why_unreachable(self) -> str:
        if self.number is None:
            return "no telephone number that can be used is known"
        return "no way reached anybody" if self.reminder.tries else "there is no way to reach the patient"

    def says(self, channel: Channel) -> str | None:
        """Its words for a way; None when the template has none."""
        template = self._policies.templates.get(self.reminder.template)
        words = template.words(channel, self._name, self._policies.language) if template is not None else None
        return filled(words, self._values()) if words is not None else None

    def _values(self) -> dict[str, str]:
        context, appointment = self._context, self.appointment
        site = context.sites.get((appointment.site if appointment is not None else None) or "", context.site).name
        values = {"clinic": context.organisation.name, "site": self._policies.site_names.get(site, site)}
        if appointment is not None and appointment.starts_at is not None:
            local = appointment.starts_at.astimezone(site_zone(appointment, context))
            weekday = self.language.weekdays[local.weekday()]
            day, time = day_in_words(local, self.language), time_in_words(local, self.language)
            values |= {"day": day, "time": time, "weekday": weekday, "link": self._link(appointment)}
        return values | {name: self._private(name) for name in self._policies.may_say}

    def _private(self, name: str) -> str:
        person, appointment = self.chart.name if self.chart is not None else None, self.appointment
        match name:
            case "given_name":
                return (person.given or "") if person is not None else ""
            case "family_name":
                return (person.family or "") if person is not None else ""
            case "practitioner":
                return (appointment.practitioner or "") if appointment is not None else ""
            case _:
                return (appointment.type or "") if appointment is not None else ""

    def _link(self, appointment: Appointment) -> str:
        """The room of a virtual visit; the token says nothing about the patient, and is the same for the same visit."""
        telehealth = self._policies.telehealth
        if telehealth is None or (appointment.type or "").strip().upper() not in {t.upper() for t in telehealth.types}:
            return ""
        token = self._context.digest("telehealth", appointment.id)[:24]
        return f"{telehealth.room}{'&' if '?' in telehealth.room else '?'}pid={token}"
