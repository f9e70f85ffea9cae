"""The steps of mails that must be known to have arrived."""

from __future__ import annotations

from pydantic import Field

from hub import Context, Message, MessageUnusable, Step, StepConfig, StepResult
from hub.formats.mail.reading import read_mail
from hub.formats.mail.receipts import receipt_of
from hub.records import Failure
from hub.records_mail import MAIL, Mail, MailReport, Receipts
from hub.units import Duration
from plugins.mail.tracking import JOB, close, file_under, handed_in, plan_next, received, tell, wanted_next

OURS = frozenset({"mail_id", "receipts"})
"""Headers that belong to one mail: a further mail of the same flow is another."""


class TrackMailConfig(StepConfig):
    """What is waited for."""

    processed_within: Duration = Field(default=3600.0, gt=0)
    """Time from sending in which the receiving system says that it has the mail."""
    dispatched_within: Duration | None = Field(default=None, gt=0)
    """Time from sending in which it says that it delivered the mail to who it is for; without it that is not waited for."""
    receipts: bool = True
    """`no` for ordinary mail, whose systems write no receipts: nothing is asked for, and only what comes back (a bounce) is
    told."""
    queue: str = "front_desk"
    """Worklist for mails that failed, or whose receipts are missing."""


class TrackMail(Step[TrackMailConfig]):
    """Begins to follow a mail; stands before the `ask` that sends it, which then also asks for the receipts."""

    kind = "track_mail"
    main = "processed_within"

    async def run(self, message: Message, context: Context) -> StepResult:
        config = self.config
        wanted: Receipts = "none" if not config.receipts else "processed" if config.dispatched_within is None else "dispatched"
        mail = Mail(
            id=context.new_id(),
            appointment=message.headers.get("appointment", ""),
            receipts=config.receipts,
            processed_within=config.processed_within,
            dispatched_within=config.dispatched_within,
            queue=config.queue,
            queued_at=context.now,
        )
        await context.put(mail)
        file_under(mail, context)
        return message.named(message.type, {**message.headers, "mail_id": mail.id, "receipts": wanted})


class MailSent(Step[StepConfig]):
    """Notes that our mail server took a mail, and plans the look after its receipts; stands behind the `ask`."""

    kind = "mail_sent"

    async def run(self, message: Message, context: Context) -> StepResult:
        if message.format != "mail_report":
            raise MessageUnusable(f"mail_sent works on a mail_report, but this is {message.format}", code="MAI-008")
        report = MailReport.model_validate_json(message.body)
        known = await context.get(Mail, report.id)
        if known is None:
            raise MessageUnusable("nobody follows this mail: put `track_mail` before the `ask`", code="MAI-008")
        mail = handed_in(known, report.to, context)
        await context.put(mail)
        if known.state in ("unknown", "failed") and known.sent_at is None:  # a person has sent it again
            await close(mail, "the mail was sent", context)
        plan_next(mail, context)
        file_under(mail, context)
        context.note("mail", f"Mail handed in for {len(report.to)} address(es)", plain=True)
        following = message.derive(mail, format="sent_mail")
        return following.named("", {name: value for name, value in following.headers.items() if name not in OURS})


class MailReceipt(Step[StepConfig]):
    """Reads what other systems say became of a mail of ours (MDN, DSN), and brings the mail forward."""

    kind = "mail_receipt"

    async def run(self, message: Message, context: Context) -> StepResult:
        receipt = receipt_of(read_mail(message.body)) if message.format == "mail" else None
        if receipt is None:
            what = message.type or message.format
            raise MessageUnusable(f"mail_receipt works on a receipt, but this is {what}", code="MAI-008")
        known = await context.get(Mail, receipt.original.partition("@")[0])
        if known is None:
            context.note("mail", "A receipt of a mail that nobody follows", plain=True)
            return None
        mail = received(known, receipt, context)
        if wanted_next(mail) is None or wanted_next(mail) != wanted_next(known):
            mail = mail.model_copy(update={"missed": ""})
        await context.put(mail)
        file_under(mail, context)
        context.note("mail", f"The receiving system says: {receipt.event}", plain=True)
        await _follow_up(known, mail, context)
        return message.derive(mail, format="sent_mail")


async def _follow_up(known: Mail, mail: Mail, context: Context) -> None:
    """What a receipt changes on the worklist and in what is planned."""
    if mail.state == "failed":
        if known.state != "failed":
            await tell(mail, _NOT_DELIVERED.format(mail.detail), f"mail {mail.detail}", context)
        context.withdraw(JOB, mail.id)
        return
    if mail.state != known.state:
        await close(mail, f"the mail was {mail.state}", context)
    plan_next(mail, context)


_NOT_DELIVERED = (
    "{{mail}} did not arrive: the receiving system says {}. Check the address with the recipient, and send it another way."
)


class MailOverdue(Step[StepConfig]):
    """Tells a person that a receipt did not come in time."""

    kind = "mail_overdue"

    async def run(self, message: Message, context: Context) -> StepResult:
        mail = message.record
        if not isinstance(mail, Mail):
            raise MessageUnusable(f"mail_overdue works on a mail, but this is {message.format}", code="MAI-008")
        following = wanted_next(mail)
        if following is None:
            return None
        missed = following[0]
        await context.put(mail.model_copy(update={"missed": missed}))
        file_under(mail, context)
        text = (
            f"Nobody has said that {{mail}} was {missed}. It counts as not delivered until that is said: ask the recipient, or "
            "send it another way."
        )
        await tell(mail, text, f"mail not {missed}", context)
        context.note("mail", f"No receipt in time: not {missed}", plain=True)
        return None


class MailFailed(Step[StepConfig]):
    """Tells a person that a mail was not sent, or perhaps not; for `from: {failed: FLOW}`."""

    kind = "mail_failed"

    async def run(self, message: Message, context: Context) -> StepResult:
        if message.format != "failure":
            raise MessageUnusable(f"mail_failed works on a failure, but this is {message.format}", code="MAI-008")
        failure = message.record if isinstance(message.record, Failure) else Failure.model_validate_json(message.body)
        known = await context.get(Mail, failure.headers.get("mail_id", ""))
        if known is None or known.sent_at is not None:
            return None
        state = "unknown" if failure.may_be_done else "failed"
        mail = known.model_copy(update={"state": MAIL.advance(known.state, state), "detail": failure.code})
        await context.put(mail)
        file_under(mail, context)
        if mail.state == "unknown":
            text = "It is not known whether {mail} was sent. Ask the recipient before you send it again."
        else:
            text = f"{{mail}} was not sent ({failure.code}). IT looks at the message."
        await tell(mail, text, f"mail {mail.state}", context)
        context.note("mail", f"Mail {mail.state}", plain=True)
        return None
