"""Hands messages in as mails, and sorts what the server says.

A mail goes to all its addresses or to none, so that "sent" and "not sent" are never both true.  Nobody can be asked afterwards
whether a mail was taken: when the server had all of it and said nothing, the message becomes `unknown`.
"""

from __future__ import annotations

import asyncio
import re

from connectors.mail.access import Access
from connectors.mail.settings import MailSenderConfig
from hub.connector import Destination
from hub.errors import ConnectionDown, DoubtfulSend, MessageRejected
from hub.formats.mail.fields import is_address
from hub.formats.mail.writing import Attached, Draft, ending_of, kind_of, write_mail
from hub.message import Message
from hub.moments import now
from hub.net.mail import Submission
from hub.net.worker import in_a_thread
from hub.records_mail import AttachedFile, MailOrder, MailReport

STOPPING = 5.0
"""Seconds in which a conversation that was ended from outside has to be over."""
FINAL_DELIVERY = "X-DIRECT-FINAL-DESTINATION-DELIVERY=optional,true"
"""Asks for the receipt `dispatched` (ONC, Implementation Guide for Delivery Notification in Direct, section 1.3)."""
_ID = re.compile(r"[A-Za-z0-9-]{1,64}")


class MailSender(Destination[MailSenderConfig]):
    """Sends messages as mail."""

    kind = "mail_sender"
    repeat = "ask"

    def __init__(self, name: str, config: MailSenderConfig) -> None:
        super().__init__(name, config)
        self._access = Access(name, config)
        self._under_way: set[Submission] = set()

    async def send(self, message: Message) -> Message | None:
        draft = await asyncio.to_thread(lambda: self._draft(message, self._order(message)))
        content = await asyncio.to_thread(write_mail, draft)
        if len(content) > self.config.max_size:
            text = f"{self.name}: the mail has {len(content)} bytes, more than max_size ({self.config.max_size})"
            raise MessageRejected(text, answer="552", final=True, code="MAI-002")
        submission = Submission(await self._access.server(), self.name, answer_within=self.config.answer_within)
        try:
            await self._handed_in(submission, draft, content)
        except ConnectionDown as error:
            self._access.failed(error)
            raise
        self._access.worked()
        report = MailReport(id=draft.message_id.partition("@")[0], message_id=draft.message_id, to=list(draft.to))
        return Message(report, "mail_report", headers={"answer": "250"})

    async def _handed_in(self, submission: Submission, draft: Draft, content: bytes) -> None:
        """Raises what `hand_in` does; when it takes too long it is ended, and says itself how far it was."""
        self._under_way.add(submission)
        work = asyncio.create_task(
            in_a_thread(f"mail {self.name}", lambda: submission.hand_in(self.config.sender, draft.to, content))
        )
        try:
            done, _ = await asyncio.wait([work], timeout=self.config.mail_timeout)
            if not done:
                submission.stop()
                done, _ = await asyncio.wait([work], timeout=STOPPING)
            if not done:
                raise self._stuck(submission)
            work.result()
        finally:
            submission.stop()
            work.cancel()
            self._under_way.discard(submission)

    def _stuck(self, submission: Submission) -> ConnectionDown | DoubtfulSend:
        if submission.maybe_taken:
            return DoubtfulSend(f"{self.name}: the mail server had the whole mail and said nothing", code="MAI-004")
        return ConnectionDown(f"{self.name}: the mail server was not done within mail_timeout")

    # A message as a mail.

    def _order(self, message: Message) -> MailOrder:
        """What is to be sent; every message that is no order is one document, or a text."""
        if message.format == "mail_order":
            try:
                return MailOrder.model_validate_json(message.body)
            except ValueError:
                raise self._unusable("is no mail_order") from None
        to = [self._address(one) for one in re.split(r"[\s,;]+", message.headers.get("to", "")) if one] or self.config.to
        if not to:
            raise self._unusable("has no address: neither its header `to` nor the setting `to` of the connection says one")
        if message.format == "text":
            return MailOrder(to=to, text=message.body.decode("utf-8", "replace"))
        return MailOrder(to=to, text=self.config.text, attached=[AttachedFile(content=message.body)])

    def _address(self, said: str) -> str:
        digits = "".join(re.findall(r"[0-9]", said))
        return self.config.address.replace("{to}", said).replace("{digits}", digits)

    def _draft(self, message: Message, order: MailOrder) -> Draft:
        config = self.config
        if not all(is_address(address) for address in order.to):
            raise self._unusable("has an address that is none")
        mail_id = message.headers.get("mail_id", "")
        id = mail_id if _ID.fullmatch(mail_id) else message.id
        subject = order.subject or config.subject.replace("{id}", id)
        return Draft(
            message_id=f"{id}@{config.sender.rpartition('@')[2]}",
            sender=config.sender,
            sender_name=config.sender_name,
            to=list(dict.fromkeys(order.to)),
            subject=config.subject_prefix + subject,
            text=order.text,
            sent_at=now(),
            attached=self._attached(message, order, id),
            headers=[*self._further_fields(message), *config.headers.items()],
        )

    def _attached(self, message: Message, order: MailOrder, id: str) -> list[Attached]:
        found = []
        for number, file in enumerate(order.attached, 1):
            kind = kind_of(file.content, message.format)
            several = f"-{number}" if len(order.attached) > 1 else ""
            name = re.sub(r"[^A-Za-z0-9._-]", "_", file.name) or self.config.file_name.replace("{id}", id) + several
            found.append(Attached(file.content, kind, f"{name}.{ending_of(kind)}"))
        return found

    def _further_fields(self, message: Message) -> list[tuple[str, str]]:
        """A request for receipts; else that machines need not answer (RFC 3834), which would include those."""
        wanted = message.headers.get("receipts") or self.config.receipts
        if wanted not in ("processed", "dispatched"):
            is_said = any(name.lower() == "auto-submitted" for name in self.config.headers)
            return [] if is_said else [("Auto-Submitted", "auto-generated")]
        fields = [("Disposition-Notification-To", self.config.sender)]
        return [*fields, ("Disposition-Notification-Options", FINAL_DELIVERY)] if wanted == "dispatched" else fields

    def _unusable(self, what: str) -> MessageRejected:
        return MessageRejected(f"{self.name}: the message {what}", final=True, code="MAI-006")

    # The connection.

    async def check(self) -> str:
        submission = Submission(await self._access.server(), self.name)
        try:
            async with asyncio.timeout(self.config.mail_timeout):
                return await in_a_thread(f"mail {self.name}", submission.try_login)
        except TimeoutError:
            raise ConnectionDown(f"{self.name}: the mail server was not done within mail_timeout") from None
        finally:
            submission.stop()

    async def close(self) -> None:
        for submission in list(self._under_way):
            submission.stop()
        await self._access.close()
