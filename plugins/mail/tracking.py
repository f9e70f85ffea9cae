"""The record of a mail: how it goes forward, and what stands on the worklist because of it.

Receipts come late, twice, in any order, and before our own server has said that it took the mail.  Each address goes forward by
itself (`hub.records_mail.MAIL`); the mail is as far as the one that is least far, and failed when it failed for one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from hub import Context, Due, Prepared, WorklistItem
from hub.formats.mail.receipts import Receipt, Told
from hub.records_mail import MAIL, Mail, MailRecipient

JOB = "mail_overdue"
STATES = {
    "processed": "processed",
    "displayed": "dispatched",
    "delivered": "dispatched",
    "dispatched": "dispatched",
    "failed": "failed",
    "denied": "failed",
}
"""What an event of a receipt makes of a mail; others (delayed, relayed, expanded, deleted) are noted and change nothing."""
_ORDER = ("failed", "queued", "unknown", "sent", "processed", "dispatched")
"""States of addresses, the one that counts for the whole first."""


def whole_state(recipients: Sequence[MailRecipient], otherwise: str) -> str:
    return min((one.state for one in recipients), key=_ORDER.index, default=otherwise)


def handed_in(mail: Mail, to: Sequence[str], context: Context) -> Mail:
    """Our server has it for these addresses; receipts may have come before."""
    told = list(mail.recipients)
    if len(to) == 1 and told:
        told = [_joined(told, to[0])]  # of one address all that was said is about it, whatever name it has there
    recipients = []
    for address in to:
        one = next((one for one in told if address.lower() in _names(one.address, one.also)), MailRecipient(address=address))
        recipients.append(one.model_copy(update={"address": address, "state": MAIL.advance(one.state, "sent")}))
    return _with(mail, recipients, sent_at=mail.sent_at or context.now)


def _joined(told: Sequence[MailRecipient], address: str) -> MailRecipient:
    one = told[0]
    for other in told[1:]:
        one = other.model_copy(update={"state": MAIL.advance(one.state, other.state)})
    return one.model_copy(update={"address": address})


def received(mail: Mail, receipt: Receipt, context: Context) -> Mail:
    """What a receipt says; what it says of an address that the mail never went to is not believed."""
    recipients = list(mail.recipients)
    for told in receipt.told:
        place = _place_of(told, recipients, mail)
        if place is None:
            continue
        one = recipients[place] if place < len(recipients) else MailRecipient(address=told.address, also=told.also)
        state = MAIL.advance(one.state, STATES.get(told.event, one.state))
        said = f"{told.event} {told.status}".strip()
        changed = one.model_copy(
            update={"state": state, "said": said, "at": context.now} if state != one.state else {"said": said}
        )
        recipients[place : place + 1] = [changed]
    return _with(mail, recipients)


def _place_of(told: Told, recipients: Sequence[MailRecipient], mail: Mail) -> int | None:
    """Whom a line of a receipt is about.  One address has no other; before we know our own, each is a new one."""
    names = _names(told.address, told.also)
    for place, one in enumerate(recipients):
        if names & _names(one.address, one.also):
            return place
    if mail.sent_at is None:
        return len(recipients)
    return 0 if len(recipients) == 1 else None


def _names(*addresses: str) -> set[str]:
    return {address.lower() for address in addresses if address}


def _with(mail: Mail, recipients: list[MailRecipient], **more: object) -> Mail:
    state = whole_state(recipients, mail.state)
    detail = next((one.said for one in recipients if one.state == "failed"), "") or ("" if state != "failed" else mail.detail)
    return mail.model_copy(update={"recipients": recipients, "state": state, "detail": detail, **more})


# What is missing, and who is told.


def wanted_next(mail: Mail) -> tuple[str, float] | None:
    """The receipt that is to come next, and within how many seconds of sending; None when nothing is waited for any more."""
    if not mail.receipts:
        return None
    if mail.state in ("queued", "unknown", "sent"):
        return "processed", mail.processed_within
    if mail.state == "processed" and mail.dispatched_within is not None:
        return "dispatched", mail.dispatched_within
    return None


def plan_next(mail: Mail, context: Context) -> None:
    """Plans the look after the next receipt, or withdraws it."""
    following = wanted_next(mail)
    if following is None or mail.sent_at is None:
        context.withdraw(JOB, mail.id)
        return
    at = mail.sent_at + timedelta(seconds=following[1])
    if mail.missed != following[0]:
        context.plan(Due(JOB, mail.id, max(at, context.now), {"mail_id": mail.id}))


async def prepare_overdue(payload: Mapping[str, str], context: Context) -> Prepared | None:
    """The mail whose receipt is still missing; None when it has come."""
    mail = await context.get(Mail, payload.get("mail_id", ""))
    if mail is None or wanted_next(mail) is None:
        return None
    return Prepared(mail, {"mail_id": mail.id, **({"appointment": mail.appointment} if mail.appointment else {})})


async def tell(mail: Mail, text: str, cause: str, context: Context) -> None:
    """Opens an item for a person; there is one for each mail."""
    where = "the mail" if not mail.appointment else "the mail of this visit"
    item = WorklistItem(
        queue=mail.queue, appointment=mail.appointment, topic=f"mail {mail.id}", text=text.replace("{mail}", where), cause=cause
    )
    await context.save(item)


async def close(mail: Mail, because: str, context: Context) -> None:
    await context.save(WorklistItem(appointment=mail.appointment, topic=f"mail {mail.id}", open=False, closed_because=because))


def file_under(mail: Mail, context: Context) -> None:
    """So that the timeline of the visit has it."""
    context.key("mail", mail.id)
    if mail.appointment:
        context.key("appointment", mail.appointment)
