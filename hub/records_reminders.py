"""What is known of reminders: when each is due, every text and call that was made of it, who wants none, and what patients
answer.

Orders go to a connection, reports come back from it; states stand here once, and only move forward (`hub.progress`).
"""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime

from hub.progress import Progress
from hub.records import Appointment, Patient, Record, Text

Channel = Literal["text", "call"]

REMINDER = Progress(["planned", "sending", "sent", "unknown"], ends=["delivered", "failed", "skipped", "withdrawn"])
TEXT = Progress(["ordered", "unknown", "queued", "sent"], ends=["delivered", "failed"])
CALL = Progress(["ordered", "unknown", "queued", "ringing", "talking"], ends=["answered", "failed"])

Trouble = Literal["", "bad_number", "landline", "opted_out", "busy", "no_answer", "blocked", "late", "other"]
"""Why a text or call did not reach anybody; `late`: it was not sent, because its time was over before it could leave."""


class Try(Record):
    """One text or call that was made of a reminder."""

    channel: Channel
    thing: Text
    """Id of the text or call."""
    at: AwareDatetime


class Reminder(Record):
    """One reminder of one visit, or of one recall."""

    id: str = ""
    """`APPOINTMENT/STEP`, or `RECALL/LINE` of a list."""
    appointment: Text = ""
    recall: Text = ""
    """Kind of recall, when it is of no visit."""
    patient_id: str = ""
    policy: Text = ""
    step: Text = ""
    template: Text = ""
    starts_at: AwareDatetime | None = None
    """The time of the visit it speaks of; when the visit moves, it is planned anew."""
    due_at: AwareDatetime | None = None
    until: AwareDatetime | None = None
    """After this it is of no use: the next reminder is due, or the visit begins."""
    number: Text = ""
    """Of a recall: the number on the list."""
    language: Text = ""
    """Of a recall: the language on the list."""
    state: Literal["planned", "sending", "sent", "unknown", "delivered", "failed", "skipped", "withdrawn"] = "planned"
    why: Text = ""
    """Why it was skipped, withdrawn or failed; no patient data."""
    tries: list[Try] = []


class Sent(Record):
    """A text or call, from its order on.  Base of both."""

    id: str = ""
    """Ours; opaque, so that it may be told to the partner."""
    reminder: Text = ""
    appointment: Text = ""
    patient_id: str = ""
    number: Text = ""
    """E.164."""
    text: Text = ""
    connection: Text = ""
    partner_id: Text | None = None
    trouble: Trouble = ""
    detail: Text = ""
    """The partner's own code."""
    ordered_at: AwareDatetime | None = None
    told_at: AwareDatetime | None = None
    """When something was last heard of it."""
    looks: int = 0
    answered: bool = False
    """The patient has answered it."""


class TextMessage(Sent):
    """One text."""

    state: Literal["ordered", "unknown", "queued", "sent", "delivered", "failed"] = "ordered"


class Call(Sent):
    """One call."""

    state: Literal["ordered", "unknown", "queued", "ringing", "talking", "answered", "failed"] = "ordered"


class OptOut(Record):
    """Whether somebody at a number wants no more reminders."""

    id: str = ""
    """Keyed digest of the number."""
    out: bool = True
    at: AwareDatetime | None = None
    how: Text = ""
    """reply, partner, person."""


class TextOrder(Record):
    """A text that shall be sent."""

    id: str
    to: Text
    text: Text
    until: AwareDatetime | None = None
    """Not to be sent later than this."""


class CallOrder(TextOrder):
    """A call that shall be made; its text is spoken."""

    language: Text = "en-US"
    """IETF tag of the voice."""


class Report(Record):
    """What a partner says of a text or call, in our words."""

    id: str = ""
    """Ours; empty when only the partner's is known."""
    partner_id: Text | None = None
    state: Text
    trouble: Trouble = ""
    detail: Text = ""


class Hint(Record):
    """That a partner has something to tell of a text or call; its header `resource` is our id.  What it tells is asked for."""

    partner_id: Text = ""


class Reply(Record):
    """What a patient answered, as a webhook brings it."""

    channel: Channel = "text"
    number: Text = ""
    """Who answered."""
    text: Text = ""
    """A text, or the digit that was pressed."""
    partner_id: Text = ""
    """The partner's id of the call that was answered."""


class VisitReply(Record):
    """What a patient answered about a visit."""

    id: str = ""
    """The appointment's id."""
    answer: Literal["confirmed", "change", "unclear"] = "unclear"
    channel: Channel = "text"
    at: AwareDatetime | None = None
    starts_at: AwareDatetime | None = None
    """The time of the visit that was answered about."""
    appointment: Appointment | None = None
    patient: Patient | None = None
    """With the appointment, for mappings that tell the EHR; not kept."""
