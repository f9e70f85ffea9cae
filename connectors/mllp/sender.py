"""The sender: an acknowledgement counts only for its own message, and a doubtful connection is never used again."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

from pydantic import Field, model_validator

from connectors.mllp.framing import END, START, Frame, Framer, Stream, framed
from hub.connector import Destination, DestinationConfig
from hub.errors import ConnectionDown, MessageRejected, MessageUnusable
from hub.formats.hl7v2 import opened, read_acknowledgement
from hub.message import Message
from hub.net.hosts import HostName, is_loopback
from hub.net.tls import TlsClient, client_context, tls_failure
from hub.units import Duration, Size

CODES = ("AA", "AE", "AR", "CA", "CE", "CR")
"""HL7 table 0008: what an acknowledgement may say."""


class SenderConfig(DestinationConfig):
    """Sends HL7 v2 over MLLP."""

    host: HostName
    """The partner's host name or address."""
    port: int = Field(ge=1, le=65535)
    """Its TCP port."""
    tls: TlsClient | None = None
    """TLS, with `cert` and `key` for mutual TLS. Write `tls: {}` for TLS with the system's authorities."""
    allow_plaintext: str | None = None
    """Why this connection may do without TLS although it leaves this machine, in a few words."""
    connect_timeout: Duration = Field(default=10.0, gt=0)
    """How long connecting may take."""
    timeout: Duration = Field(default=30.0, gt=0)
    """How long the acknowledgement may take; the connection is closed after it."""
    max_frame: Size = Field(default=1024 * 1024, ge=1024)
    """Longest acknowledgement."""

    @model_validator(mode="after")
    def _plain_text_needs_a_reason(self) -> SenderConfig:
        if self.tls is None and not is_loopback(self.host) and not self.allow_plaintext:
            raise ValueError("sending beyond this machine needs `tls`, or `allow_plaintext` with the reason why not")
        return self


class MllpSender(Destination[SenderConfig]):
    """Sends HL7 v2 messages and waits for the acknowledgement of each."""

    kind = "mllp_sender"
    repeat = "safe"

    def __init__(self, name: str, config: SenderConfig) -> None:
        super().__init__(name, config)
        self._idle: list[_Link] = []
        self._links: set[_Link] = set()
        self._context: ssl.SSLContext | None = None

    async def open_destination(self) -> None:
        self._context = client_context(self.config.tls) if self.config.tls is not None else None

    async def send(self, message: Message) -> Message | None:
        body = message.body
        control_id = self._control_id(body)
        link = await self._link()
        frame = await link.ask(framed(body), self.config.timeout)
        answer = self._check(link, frame, control_id)
        self._idle.append(link)
        return answer

    def _control_id(self, body: bytes) -> str:
        """MSH-10 of what can be sent; raises MessageRejected when it cannot."""
        try:
            control_id = opened(body).control_id
        except MessageUnusable as error:
            raise MessageRejected(f"{self.name} sends HL7 v2 only: {error}", final=True) from None
        if START in body or END in body:
            raise MessageRejected(
                f"{self.name}: the message holds the byte 0B or 1C, which MLLP keeps for its frames", final=True, code="HL7-112"
            )
        return control_id

    async def _link(self) -> _Link:
        while self._idle:
            link = self._idle.pop()
            if link.usable:
                return link
        return await self._connect()

    async def _connect(self) -> _Link:
        config, down = self.config, f"{self.name}: cannot connect to {self._place}"
        name = config.tls.server_name if config.tls is not None else None
        try:
            async with asyncio.timeout(config.connect_timeout):
                _, link = await asyncio.get_running_loop().create_connection(
                    lambda: _Link(self),
                    config.host,
                    config.port,
                    ssl=self._context,
                    server_hostname=name if self._context else None,
                )
        except TimeoutError:
            raise ConnectionDown(f"{down} within {config.connect_timeout:g} s") from None
        except ssl.SSLError as error:
            raise self.tls_failed(error) from None
        except OSError as error:
            raise ConnectionDown(f"{down}: {error.strerror or type(error).__name__}") from None
        self._links.add(link)
        return link

    @property
    def _place(self) -> str:
        return f"{self.config.host}:{self.config.port}"

    def tls_failed(self, error: Exception) -> ConnectionDown:
        return ConnectionDown(f"{self.name}: TLS with {self._place} failed: {tls_failure(error)}", code="TLS-003")

    def _check(self, link: _Link, frame: Frame, control_id: str) -> Message:
        """Takes an acknowledgement only for the message it belongs to."""
        try:
            if frame.fault:
                raise MessageUnusable(f"the answer is {frame.fault}")
            ack = read_acknowledgement(frame.body)
            if ack.code not in CODES:
                raise MessageUnusable("its MSA-1 is none of AA, AE, AR, CA, CE and CR")
        except MessageUnusable as error:
            link.close()
            raise ConnectionDown(
                f"{self.name}: what {self._place} answered is no acknowledgement: {error}", code="HL7-110"
            ) from None
        if ack.control_id != control_id:
            link.close()
            raise ConnectionDown(
                f"{self.name}: {self._place} acknowledged another message than the one that was sent", code="HL7-111"
            )
        if ack.code not in ("AA", "CA"):
            self._idle.append(link)
            codes = f" ({ack.text})" if ack.text else ""
            raise MessageRejected(f"{self._place} answered {ack.code}{codes}", answer=ack.code, reply=frame.body)
        return Message(frame.body, "hl7v2", headers={"answer": ack.code})

    def forget(self, link: _Link) -> None:
        self._links.discard(link)
        with contextlib.suppress(ValueError):
            self._idle.remove(link)

    async def check(self) -> str:
        await self.open_destination()
        link = await self._connect()
        link.close()
        return f"{self._place} accepts connections" + (" with TLS" if self._context else "")

    async def close(self) -> None:
        for link in list(self._links):
            link.close()


class _Link(Stream):
    """A connection to the partner, one question at a time."""

    def __init__(self, sender: MllpSender) -> None:
        super().__init__(Framer(sender.config.max_frame))
        self.sender = sender
        self.waiting: asyncio.Future[Frame] | None = None
        self.closed = False
        self.failure: Exception | None = None

    @property
    def usable(self) -> bool:
        return not self.closed and not self.transport.is_closing()

    def take(self, frames: list[Frame]) -> None:
        for frame in frames:
            if self.waiting is None or self.waiting.done():
                self.close()  # an answer nobody waits for: it must never be taken for the next message
                return
            self.waiting.set_result(frame)

    def eof_received(self) -> bool:
        self.take_what_ended()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.closed, self.failure = True, exc
        self.sender.forget(self)
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_exception(self._gone())

    def _gone(self) -> ConnectionDown:
        if self.failure is not None and tls_failure(self.failure):
            return self.sender.tls_failed(self.failure)
        return ConnectionDown(f"{self.sender.name}: the partner closed the connection before it answered")

    async def ask(self, data: bytes, timeout: float) -> Frame:
        """Sends and waits; after a time-out this connection is never used again."""
        if self.closed:
            raise self._gone()
        self.waiting = self.loop.create_future()
        self.transport.write(data)
        try:
            async with asyncio.timeout(timeout):
                return await self.waiting
        except TimeoutError:
            self.close()
            raise ConnectionDown(f"{self.sender.name}: no acknowledgement within {timeout:g} s") from None
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            self.waiting = None

    def close(self) -> None:
        self.closed = True
        if self.transport is not None:
            self.transport.close()
