"""The sender: an acknowledgement counts only for its own message, and a doubtful connection is never used again."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from connectors.mllp import returned
from connectors.mllp.framing import END, START
from connectors.mllp.link import Answer, Gone, Link, Question
from connectors.mllp.modes import is_acknowledgement, mode_of
from hub.connector import Destination, DestinationConfig, Reject
from hub.errors import ConnectionDown, HubError, MessageRejected, MessageUnusable
from hub.formats.hl7v2 import Hl7, opened
from hub.message import Message
from hub.net.hosts import HostName, is_loopback
from hub.net.tls import ClientTls, PinnedTlsClient, tls_failure
from hub.units import Duration, Size


class Answers(BaseModel):
    """What follows from each answer of the partner: try again, hold, quarantine or skip the message.

    With AE, AR, CE and CR a try counts as an attempt.  With the others `retry` means that the connection is down: nothing is
    counted, and messages wait in order.
    """

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, frozen=True)

    AE: Reject | None = None
    """Application error. Default: as `on_rejected` says; so with the next three."""
    AR: Reject | None = None
    """Application reject. The standard says it may go later, many systems mean it for good."""
    CE: Reject | None = None
    """Commit error (enhanced mode)."""
    CR: Reject | None = None
    """Commit reject (enhanced mode)."""
    timeout: Reject = "retry"
    """No answer in time."""
    garbage: Reject = "retry"
    """An answer that is no acknowledgement."""
    wrong_control_id: Reject = "retry"
    """An acknowledgement of another message (MSA-2)."""


class SenderConfig(DestinationConfig):
    """Sends HL7 v2 over MLLP."""

    host: HostName
    """The partner's host name or address."""
    port: int = Field(ge=1, le=65535)
    """Its TCP port."""
    tls: PinnedTlsClient | None = None
    """TLS, with `cert` and `key` for mutual TLS. Write `tls: {}` for TLS with the system's authorities."""
    allow_plaintext: str | None = None
    """Why this connection may do without TLS although it leaves this machine, in a few words."""
    connect_timeout: Duration = Field(default=10.0, gt=0)
    """How long connecting may take."""
    timeout: Duration = Field(default=30.0, gt=0)
    """How long the acknowledgement may take; the connection is closed after it."""
    max_frame: Size = Field(default=1024 * 1024, ge=1024)
    """Longest acknowledgement."""
    keep_open: bool = True
    """Keep the connection for the next message; `false` for partners that want one for each."""
    window: int = Field(default=1, ge=1, le=256)
    """How many messages may be unanswered on one connection. `parallel` says how many may be under way in all; messages with
    the same ordering key never are."""
    answers: Answers = Answers()
    """What follows from each answer."""
    commit_bytes: bool = False
    """MLLP release 2: the partner confirms each frame with a byte, and the hub its answers."""
    wait_for: Literal["accept", "application"] = "accept"
    """For messages that ask for both acknowledgements (MSH-15 and MSH-16): whether CA ends the sending, or AA."""
    returned_by: str | None = None
    """With `wait_for: application`: the listener by which application acknowledgements come. Default: the same connection."""
    application_timeout: Duration = Field(default=60.0, gt=0)
    """How long the application acknowledgement may take after the accept acknowledgement."""

    @model_validator(mode="after")
    def _plain_text_needs_a_reason(self) -> SenderConfig:
        if self.tls is None and not is_loopback(self.host) and not self.allow_plaintext:
            raise ValueError("sending beyond this machine needs `tls`, or `allow_plaintext` with the reason why not")
        return self

    @model_validator(mode="after")
    def _fits_together(self) -> SenderConfig:
        if self.commit_bytes and self.window > 1:
            raise ValueError("`commit_bytes` confirms one message after the other: it needs `window: 1`")
        if self.returned_by is not None and self.wait_for == "accept":
            raise ValueError("`returned_by` needs `wait_for: application`")
        return self


class MllpSender(Destination[SenderConfig]):
    """Sends HL7 v2 messages and waits for the acknowledgement of each."""

    kind = "mllp_sender"
    repeat = "safe"

    def __init__(self, name: str, config: SenderConfig) -> None:
        super().__init__(name, config)
        self._free: list[Link] = []
        """Connections with room for a message."""
        self._links: set[Link] = set()
        self._opening: asyncio.Task[Link] | None = None
        self._tls: ClientTls | None = None

    async def open_destination(self) -> None:
        self._tls = ClientTls(self.config.tls) if self.config.tls is not None else None

    async def check(self) -> str:
        await self.open_destination()
        link = await self._connect()
        link.close()
        return f"{self._place} accepts connections" + (" with TLS" if self._tls else "")

    async def close(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
        for link in list(self._links):
            link.close()

    # A message.

    async def send(self, message: Message) -> Message | None:
        body, hl7 = await asyncio.to_thread(self._looked_at, message) if message.large else self._looked_at(message)
        question = self._question(hl7, body)
        if question is None:
            await self._send_without_answer(body)
            return None
        if self.config.returned_by is None or not question.wants_application:
            answer = await self._exchange(question)
        else:
            returned.wait(self.config.returned_by, question.control_id, question)
            try:
                answer = await self._exchange(question)
            finally:
                returned.forget(self.config.returned_by, question.control_id, question)
        return None if answer is None else self._judged(answer)

    def _looked_at(self, message: Message) -> tuple[bytes, Hl7]:
        """What is sent, and the same opened; in a thread for a large one, so that others have their turn."""
        body = message.body
        return body, self._sendable(body, message.headers.get("charset"))

    def _sendable(self, body: bytes, charset: str | None) -> Hl7:
        try:
            hl7 = opened(body, charset)
        except MessageUnusable as error:
            raise MessageRejected(f"{self.name} sends HL7 v2 only: {error}", final=True) from None
        if START in body or END in body:
            raise MessageRejected(
                f"{self.name}: the message holds the byte 0B or 1C, which MLLP keeps for its frames", final=True, code="HL7-112"
            )
        return hl7

    def _question(self, hl7: Hl7, body: bytes) -> Question | None:
        """What is waited for; None when the message asks for no answer, as acknowledgements do."""
        mode = mode_of(hl7)
        answered = mode.accepts(failed=False) or (mode.applies(failed=False) and not is_acknowledgement(hl7))
        if not answered and not self.config.commit_bytes and not (mode.accepts(failed=True) or mode.application == "ER"):
            return None
        both = mode.accepts(failed=False) and mode.application in ("AL", "SU")
        return Question(
            hl7.control_id,
            body,
            asyncio.get_running_loop().create_future(),
            "failure" if answered else "consent",
            wants_application=both and self.config.wait_for == "application",
        )

    async def _exchange(self, question: Question) -> Answer | None:
        """Sends and waits.  A kept connection may turn out to be closed by the partner just now: then a new one is tried."""
        link = await self._link(question.control_id)
        kept = link.served > 0
        try:
            return await self._ask(link, question)
        except Gone:
            if not kept:
                raise
        question.future, question.accepted = asyncio.get_running_loop().create_future(), False
        return await self._ask(await self._new_link(question.control_id), question)

    async def _ask(self, link: Link, question: Question) -> Answer | None:
        link.put(question)
        self._keep_free_or_not(link)
        try:
            return await question.future
        except asyncio.CancelledError:
            link.give_up(None)
            raise
        finally:
            if not self.config.keep_open and not link.waiting and not link.accepted:
                link.close()

    async def _send_without_answer(self, body: bytes) -> None:
        link = await self._link("")
        try:
            async with asyncio.timeout(self.config.timeout):
                await link.write(body)
        except TimeoutError:
            link.give_up(None)
            raise self._down("the partner does not take the message", None) from None
        if not self.config.keep_open and not link.waiting:
            link.close()

    def _judged(self, answer: Answer) -> Message:
        acknowledgement, frame = answer
        code = acknowledgement.code
        if code in ("AA", "CA"):
            return Message(frame, "hl7v2", headers={"answer": code})
        errors = f" ({acknowledgement.text})" if acknowledgement.text else ""
        policy = getattr(self.config.answers, code) or ""
        raise MessageRejected(f"{self._place} answered {code}{errors}", answer=code, reply=frame, policy=policy)

    # Connections.

    async def _link(self, control_id: str) -> Link:
        """One with room, but not where a message with this control id still waits: nobody could tell their answers apart."""
        for link in reversed(self._free):
            if link.usable and control_id not in link.waiting:
                return link
        return await self._new_link(control_id)

    async def _new_link(self, control_id: str) -> Link:
        """With a window, those who come while a connection is being opened wait for it together."""
        if self.config.window == 1:
            return await self._connect()
        while True:
            if self._opening is None:
                self._opening = asyncio.get_running_loop().create_task(self._connect())
                self._opening.add_done_callback(self._opened)
            opening = self._opening
            try:
                link = await asyncio.shield(opening)
            except asyncio.CancelledError:
                if opening.cancelled():
                    raise self._down("the connection was closed while it was being opened", None) from None
                raise
            if not link.usable:
                raise link.gone()
            if link.has_room and control_id not in link.waiting:
                return link

    def _opened(self, task: asyncio.Task[Link]) -> None:
        self._opening = None
        if not task.cancelled():
            task.exception()

    async def _connect(self) -> Link:
        config, down = self.config, f"cannot connect to {self._place}"
        name = config.tls.server_name if config.tls is not None else None
        context = self._tls.context if self._tls is not None else None
        try:
            async with asyncio.timeout(config.connect_timeout):
                _, link = await asyncio.get_running_loop().create_connection(
                    lambda: Link(self), config.host, config.port, ssl=context, server_hostname=name if context else None
                )
        except TimeoutError:
            raise self._down(f"{down} within {config.connect_timeout:g} s", None) from None
        except ssl.SSLError as error:
            raise self.tls_failed(error) from None
        except OSError as error:
            raise self._down(f"{down}: {error.strerror or type(error).__name__}", None) from None
        if link.closed:
            raise link.gone()
        self._links.add(link)
        self._keep_free_or_not(link)
        return link

    def _keep_free_or_not(self, link: Link) -> None:
        if link.has_room and link.usable:
            if link not in self._free:
                self._free.append(link)
        elif link in self._free:
            self._free.remove(link)

    def has_room(self, link: Link) -> None:
        """It was answered and may take the next message."""
        self._keep_free_or_not(link)

    def forget(self, link: Link) -> None:
        self._links.discard(link)
        with contextlib.suppress(ValueError):
            self._free.remove(link)

    @property
    def _place(self) -> str:
        return f"{self.config.host}:{self.config.port}"

    # What may go wrong, in words.

    def _down(self, text: str, code: str | None) -> ConnectionDown:
        return ConnectionDown(f"{self.name}: {text}", code=code)

    def _follows(self, policy: Reject, text: str, code: str) -> HubError:
        """The connection is down; or the message ends as the settings say."""
        if policy == "retry":
            return self._down(text, code)
        return MessageRejected(f"{self.name}: {text}", policy=policy, code=code)

    def silent(self) -> HubError:
        return self._follows(self.config.answers.timeout, f"no acknowledgement within {self.config.timeout:g} s", "HL7-113")

    def no_application(self) -> HubError:
        by = f" by the listener {self.config.returned_by}" if self.config.returned_by else ""
        text = f"accepted, but no application acknowledgement came{by} within {self.config.application_timeout:g} s"
        return self._follows(self.config.answers.timeout, text, "HL7-113")

    def nonsense(self, error: HubError) -> HubError:
        text = f"what {self._place} answered is no acknowledgement: {error}"
        return self._follows(self.config.answers.garbage, text, "HL7-110")

    def of_another(self) -> HubError:
        text = f"{self._place} acknowledged another message than the one that was sent"
        return self._follows(self.config.answers.wrong_control_id, text, "HL7-111")

    def in_doubt(self) -> ConnectionDown:
        return self._down("the connection was given up because the answer to another message was missing or wrong", None)

    def not_kept(self) -> ConnectionDown:
        return self._down(f"{self._place} could not keep the message, and said so three times", "HL7-114")

    def not_pinned(self) -> ConnectionDown:
        return self._down(f"the certificate of {self._place} is none of those in `pins`", "TLS-004")

    def tls_failed(self, error: Exception) -> ConnectionDown:
        return self._down(f"TLS with {self._place} failed: {tls_failure(error)}", "TLS-003")
