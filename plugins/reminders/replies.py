"""What patients answer: confirmed, another time, no more reminders.  Step `take_reply`.

An answer is about the visit that was reminded of at its number, or in its call.  Where it could be about several, a person
looks.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from hub import Appointment, Context, Message, MessageUnusable, StepResult, WorklistItem
from hub.people import current_chart
from hub.records_reminders import Call, Channel, Reminder, Reply, Sent, TextMessage, VisitReply
from plugins.reminders.people import e164, note_wish
from plugins.reminders.plan import REMINDED, PolicyConfig, PolicyStep, reminders_of, withdraw
from plugins.reminders.sending import OFF, TOPIC
from plugins.reminders.words import Meaning, meaning_of

Answer = Literal["confirmed", "change", "unclear"]
TEXTS: dict[str, str] = {
    "confirmed": "The patient confirmed the visit. Enter it in the EHR.",
    "change": "The patient wants another time. Call the patient and move the visit in the EHR.",
    "unclear": "The patient answered a reminder in a way the hub does not understand. Look at the answer and call the patient.",
    "several": "The patient answered, and several visits were reminded of at this number. Ask which one is meant.",
    "moved": "The patient answered a reminder, and the visit has another time since. Call the patient and agree on the time.",
    "nobody": "Somebody answered who was not reminded of a visit lately. Look at the answer.",
}


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class TakeReplyConfig(PolicyConfig):
    """What becomes of answers."""

    queue: str = "front_desk"
    """Worklist for answers a person has to act on."""
    to_do: Annotated[list[Answer], BeforeValidator(_listed, json_schema_input_type=list[str] | str)] = [
        "confirmed",
        "change",
        "unclear",
    ]
    """Answers that go onto the worklist; leave out what the flow tells the EHR."""


class TakeReply(PolicyStep[TakeReplyConfig]):
    """Keeps what a patient answered; the flow goes on with answers about a visit that the EHR can be told."""

    kind = "take_reply"

    async def run(self, message: Message, context: Context) -> StepResult:
        reply = message.record
        if not isinstance(reply, Reply):
            raise MessageUnusable(f"take_reply works on a reply, but this is {message.format}", code="REM-007")
        meaning = meaning_of(reply.text, self._policies.all_languages)
        call = await self._call(reply, message, context)
        number = call.number if call is not None else e164(reply.number, self._policies.country)
        if number is None:
            raise MessageUnusable("the reply comes from no telephone number", code="REM-007")
        if meaning in ("stop", "start"):
            await self._wish(number, meaning, context)
            return None
        answered: list[Sent] = [call] if call is not None else await self._reminded(number, context)
        return await self._about(meaning, answered, reply.channel, message, context)

    async def _call(self, reply: Reply, message: Message, context: Context) -> Call | None:
        """By our id in the webhook's address, else by the partner's: a digit may be faster than the answer to its order."""
        if reply.channel != "call":
            return None
        ours = message.headers.get("resource", "")
        if ours and (call := await context.get(Call, ours)) is not None:
            return call
        found = await context.find(Call, "partner", reply.partner_id, limit=1) if reply.partner_id else []
        return next(iter(found), None)

    async def _wish(self, number: str, meaning: Meaning, context: Context) -> None:
        """No more reminders, of whatever visit, by whatever way; or reminders again."""
        await note_wish(number, meaning == "stop", "reply", context)
        if meaning == "stop":
            for sent in await self._all_sent(number, context):
                for reminder in await reminders_of(sent.appointment, context) if sent.appointment else []:
                    await withdraw(reminder, OFF, context)

    async def _all_sent(self, number: str, context: Context) -> list[Sent]:
        texts = await context.find(TextMessage, "number", number, limit=200)
        return [*texts, *await context.find(Call, "number", number, limit=200)]

    async def _reminded(self, number: str, context: Context) -> list[Sent]:
        """Texts to this number that an answer may be about, one for each visit that is still ahead."""
        since = context.now - timedelta(seconds=self._policies.answers_for)
        found: dict[str, Sent] = {}
        for sent in await context.find(TextMessage, "number", number, limit=200):
            appointment = await context.get(Appointment, sent.appointment) if sent.appointment else None
            ahead = appointment is not None and appointment.starts_at is not None and appointment.starts_at > context.now
            if sent.ordered_at is None or sent.ordered_at < since or sent.state == "failed":
                continue
            if appointment is not None and not (ahead and appointment.status in REMINDED):
                continue
            found[sent.appointment or sent.reminder] = sent
        return list(found.values())

    async def _about(
        self, meaning: Meaning, answered: list[Sent], channel: Channel, message: Message, context: Context
    ) -> StepResult:
        open_ones = [sent for sent in answered if not sent.answered] or answered
        if len(open_ones) != 1:
            cause = "several" if open_ones else "nobody"
            await self._to_do(cause, open_ones[0].appointment if open_ones else "", message, context)
            return None
        sent, answer = open_ones[0], "unclear" if meaning == "unclear" else meaning
        context.key("appointment", sent.appointment)
        if answer != "unclear":
            await context.put(sent.model_copy(update={"answered": True}))
        context.note(answer, f"The patient answered by {channel}: {answer}", plain=True)
        if not sent.appointment:
            await self._to_do(answer if answer == "unclear" else "change", "", message, context)
            return None
        return await self._keep(answer, sent, channel, message, context)

    async def _keep(self, answer: str, sent: Sent, channel: Channel, message: Message, context: Context) -> StepResult:
        appointment = await context.get(Appointment, sent.appointment)
        reminder = await context.get(Reminder, sent.reminder)
        if appointment is None or reminder is None or appointment.starts_at != reminder.starts_at:
            await self._to_do("moved", sent.appointment, message, context)
            return None
        kept = VisitReply(
            id=appointment.id, answer=answer, channel=channel, at=context.now, starts_at=appointment.starts_at
        )  # fmt: skip
        await context.put(kept)
        if answer in self.config.to_do:
            await self._to_do(answer, appointment.id, message, context)
        elif answer == "confirmed":
            done = WorklistItem(appointment=appointment.id, topic="reply", open=False, closed_because="the patient confirmed")
            await context.save(done)
        if answer == "unclear":
            return None
        chart = await current_chart(appointment.patient_id, context)
        whole = kept.model_copy(update={"appointment": appointment, "patient": chart})
        return message.derive(whole, format="visit_reply", headers={"appointment": appointment.id})

    async def _to_do(self, cause: str, appointment: str, message: Message, context: Context) -> None:
        said = "" if cause in ("confirmed", "change") else f" `hub messages show {message.id} --phi` shows it."
        about = cause if appointment else f"{cause} {message.id}"
        item = WorklistItem(
            queue=self.config.queue, appointment=appointment, topic="reply" if appointment else TOPIC,
            text=TEXTS[cause] + said, cause=f"reply: {about}",
        )  # fmt: skip
        await context.save(item)
