"""Fetches mails from a folder, each once.

A mail is delivered first, and marked, moved or deleted after.  One that was delivered when the hub died is fetched again and
recognised by its Message-ID and its bytes, also when the server has numbered its mails anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from connectors.mail.access import Access
from connectors.mail.settings import MailboxConfig
from hub.connector import Deliver, Poller
from hub.errors import ConnectionDown
from hub.formats.mail.codec import duplicate_key, headers_of, type_of
from hub.formats.mail.reading import Part, read_mail
from hub.formats.mail.receipts import receipt_of
from hub.formats.mail.writing import ending_of
from hub.message import Message
from hub.net.imap import ImapSession
from hub.net.worker import Worker

T = TypeVar("T")


def messages_of(raw: bytes, *, attachments: bool = True) -> list[Message]:
    """A mail as it came, and behind it a message for each attachment.  Total: any bytes give at least the first.

    Names that senders give to files are not told: they may name patients, and lead elsewhere.
    """
    mail = read_mail(raw)
    receipt = receipt_of(mail)
    key = duplicate_key(mail, raw)
    whole = Message(raw, "mail", type_of(mail, receipt), headers_of(mail, receipt), duplicate_key=key)
    if not attachments or receipt is not None:
        return [whole]
    found = [part for part in mail.attachments if part.content]
    return [whole, *(_document(part, number, whole, key) for number, part in enumerate(found, 1))]


def _document(part: Part, number: int, whole: Message, key: str) -> Message:
    kind = part.media_type
    headers = {"media_type": kind, "file": f"attachment-{number}.{ending_of(kind)}", "from_mail": whole.id, "part": part.number}
    if part.damaged:
        headers["damaged"] = "yes"
    return Message(part.content, "document", kind, headers, parent=whole.id, duplicate_key=f"{key}|{part.number}")


class Mailbox(Poller[MailboxConfig]):
    """Fetches mails."""

    kind = "mailbox"

    def __init__(self, name: str, config: MailboxConfig) -> None:
        super().__init__(name, config)
        self._access = Access(name, config)
        self._worker = Worker(f"mailbox {name}")
        self._session: ImapSession | None = None
        self._owned: set[tuple[int, int]] = set()
        """Mails the hub owns and that are not finished yet: UIDVALIDITY and UID."""

    async def poll(self, deliver: Deliver) -> None:
        server = await self._access.server()
        session = self._session = ImapSession(server, self.name, most=self.config.max_size)
        try:
            await self._work(lambda: session.open(self.config.folder))
            self._access.worked()
            await self._fetch_all(session, deliver)
        except ConnectionDown as error:
            self._access.failed(error)
            raise
        finally:
            await self._let_go(session)

    async def _fetch_all(self, session: ImapSession, deliver: Deliver) -> None:
        sizes = await self._work(session.new)
        self._owned = {(session.validity, uid) for uid in sizes} & self._owned
        too_long, failures = 0, []
        for uid, size in sizes.items():
            if size > self.config.max_size:
                too_long += 1
                continue
            try:
                await self._fetch(session, uid, deliver)
            except ConnectionDown as error:
                if error.code != "MAI-005":
                    raise
                failures.append(error)  # about this mail; the others go on
        if failures:
            raise failures[0]
        if too_long:
            what = f"{too_long} mail(s) are longer than max_size ({self.config.max_size} bytes) and stay where they are"
            raise ConnectionDown(f"{self.name}: {what}", code="MAI-007")

    async def _fetch(self, session: ImapSession, uid: int, deliver: Deliver) -> None:
        """One mail, from its bytes to its end."""
        mark = session.validity, uid
        if mark not in self._owned:
            raw = await self._work(lambda: session.fetch(uid))
            if raw is None:
                return
            await deliver(await asyncio.to_thread(messages_of, raw, attachments=self.config.attachments))
            self._owned.add(mark)
        await self._work(lambda: self._finish(session, uid))
        self._owned.discard(mark)

    def _finish(self, session: ImapSession, uid: int) -> None:
        if self.config.after == "move":
            session.move(uid, self.config.moved_to)
        elif self.config.after == "delete":
            session.delete(uid)
        else:
            session.mark_seen(uid)

    async def check(self) -> str:
        session = ImapSession(await self._access.server(), self.name, most=self.config.max_size)
        worker = Worker(f"check {self.name}")
        try:
            async with asyncio.timeout(self.config.timeout):
                await worker.run(lambda: session.open(self.config.folder))
                count = len(await worker.run(session.new))
                await worker.run(session.close)
        except TimeoutError:
            raise ConnectionDown(f"{self.name}: the mail server did not answer in time") from None
        finally:
            session.stop()
            worker.stop(session.close)
        return f"the mail server {self.config.host}:{self.config.port} answers; {count} new mail(s) in {self.config.folder}"

    # The thread.

    async def _work(self, job: Callable[[], T]) -> T:
        """Does something with the session, in the connection's thread, and not for longer than it may take."""
        try:
            async with asyncio.timeout(self.config.mail_timeout):
                return await self._worker.run(job)
        except TimeoutError:
            raise ConnectionDown(f"{self.name}: the mail server was not done within mail_timeout") from None

    async def _let_go(self, session: ImapSession) -> None:
        """Says good-bye, in the background; a thread that is stuck is left alone."""
        worker, self._worker, self._session = self._worker, Worker(f"mailbox {self.name}"), None
        try:
            async with asyncio.timeout(1.0):
                await worker.run(session.close)
        except TimeoutError:
            pass  # it does not answer any more
        finally:
            session.stop()
            worker.stop(session.close)  # what was cancelled above is not done, and a thread may still be at something

    async def close(self) -> None:
        if self._session is not None:
            self._session.stop()
        await super().close()
        self._worker.stop()
        await self._access.close()
