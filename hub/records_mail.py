"""Mail as records: what is to be sent, what became of handing it in, and a mail whose receipts are waited for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from hub.progress import Progress
from hub.records import Record, Text

MAIL = Progress(["queued", "unknown", "sent", "processed"], ends=["dispatched", "failed"])
"""`queued`: not handed in yet; `unknown`: perhaps handed in; `sent`: our server has it; `processed`: the receiving system has
it; `dispatched`: who it is for has it; `failed`: somebody said no."""

Receipts = Literal["none", "processed", "dispatched"]
"""Which receipts are asked for and waited for: none, that the receiving system has the mail, also that who it is for has it."""
MailAddress = Annotated[str, StringConstraints(strip_whitespace=True, max_length=254)]


class AttachedFile(Record):
    """A file that is to go with a mail."""

    content: bytes
    name: Text = ""
    """Its name without what it ends in; a neutral one when empty."""


class MailOrder(Record):
    """A mail to send (format `mail_order`).  Its body is sealed in the store like every body, so that it may name a patient;
    a mail server reads it, so that subject and text should not unless the connection is a secure one."""

    to: list[MailAddress] = Field(min_length=1, max_length=100)
    subject: Text = ""
    """That of the connection when empty."""
    text: str = Field(default="", max_length=1_000_000)
    attached: list[AttachedFile] = []


class MailReport(Record):
    """What handing a mail in came to (format `mail_report`)."""

    id: str
    """Ours: what stands before the @ of its Message-ID."""
    message_id: str
    to: list[MailAddress] = []
    state: str = "sent"


class MailRecipient(Record):
    """How far a mail is for one address."""

    address: MailAddress
    also: MailAddress = ""
    """The other address a receipt names for it, where mail is forwarded."""
    state: str = "queued"
    said: str = ""
    """What was said last: the event of a receipt, with the status code of a bounce."""
    at: AwareDatetime | None = None
    """When that came."""


class Mail(Record):
    """A mail that was sent, or is to be, whose receipts are waited for."""

    id: str
    """What stands before the @ of its Message-ID."""
    state: str = "queued"
    """That of the address which is least far; `failed` when it failed for one."""
    recipients: list[MailRecipient] = []
    appointment: str = ""
    receipts: bool = True
    """Receipts are asked for and waited for; without, only a bounce is told."""
    processed_within: float = Field(default=3600.0, gt=0)
    """Seconds from sending in which the receiving systems say that they have it."""
    dispatched_within: float | None = None
    """Seconds from sending in which they say that they delivered it; None when that is not waited for."""
    queue: str = "front_desk"
    """Whose worklist it comes to when something is missing."""
    queued_at: AwareDatetime | None = None
    sent_at: AwareDatetime | None = None
    missed: str = ""
    """The receipt that did not come in time; empty again when it has come."""
    detail: str = ""
    """Why it failed or is unknown."""
