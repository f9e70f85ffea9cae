"""A real SMTP server (aiosmtpd) in this process, on a port of its own, that can misbehave.

`faults` says what goes wrong from now on; `mails` is what it took.
"""

from __future__ import annotations

import asyncio
import email
import email.policy
import logging
import ssl
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any, Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

logging.getLogger("mail.log").setLevel(logging.ERROR)  # it warns of itself
USER, PASSWORD = "clinic", "correct horse"


@dataclass
class Faults:
    """What the server does wrong."""

    says: dict[str, str] = field(default_factory=dict)
    """Its answer to a command: GREETING, MAIL, RCPT, DATA (the command), END (the whole mail)."""
    refuse: dict[str, str] = field(default_factory=dict)
    """Its answer to these addresses."""
    drop_at: str = ""
    """It breaks the connection off: CONNECT, MAIL, DATA (after a part of the mail), END (it has taken the mail)."""
    silent_at: str = ""
    """It says nothing any more: CONNECT, MAIL, END (it has taken the mail)."""
    slow: float = 0.0
    """Seconds before it answers END."""


@dataclass
class Taken:
    """A mail it took."""

    sender: str
    to: list[str]
    content: bytes

    @property
    def mail(self) -> EmailMessage:
        return email.message_from_bytes(self.content, policy=email.policy.default)  # type: ignore[return-value]


class _Server(SMTP):
    """What aiosmtpd has no hooks for."""

    faults: Faults

    async def _handle_client(self) -> None:
        if self.faults.drop_at == "CONNECT":
            self.transport.abort()
            return
        if self.faults.silent_at == "CONNECT":
            await asyncio.sleep(60)
        if greeting := self.faults.says.get("GREETING"):
            await self.push(greeting)
            self.transport.close()
            return
        await super()._handle_client()

    async def smtp_DATA(self, argument: str) -> None:  # noqa: N802 - aiosmtpd's name
        if answer := self.faults.says.get("DATA"):
            await self.push(answer)
        elif self.faults.drop_at == "DATA":
            await self.push("354 go on")
            await self._reader.readline()
            self.transport.abort()
        else:
            await super().smtp_DATA(argument)


class SmtpServer:
    """`async with`; TLS with a certificate when there is one."""

    def __init__(
        self, *, tls: ssl.SSLContext | None = None, at_once: bool = False, login: bool = False, size: int | None = None
    ) -> None:
        self.faults, self.mails = Faults(), list[Taken]()
        self.logins: list[tuple[str, bytes]] = []
        self.tokens: set[str] = set()
        self.port = 0
        self.on_mail: Callable[[Taken], None] = lambda taken: None
        self._tls, self._at_once, self._login, self._size = tls, at_once, login, size
        self._server: asyncio.Server | None = None
        self._talks: list[SMTP] = []

    def settings(self, **more: Any) -> dict[str, Any]:
        return {
            "kind": "mail_sender", "host": "127.0.0.1", "port": self.port, "encryption": "none", "sender": "hub@clinic.example",
            "to": "partner@hospital.example", "timeout": "5s", **more,
        }  # fmt: skip

    def _made(self) -> SMTP:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a login without TLS is not safe is what some tests are about
            return self._one()

    def _one(self) -> SMTP:
        server = _Server(
            self,
            hostname="mail.example",
            data_size_limit=self._size,
            tls_context=None if self._at_once else self._tls,
            require_starttls=self._tls is not None and not self._at_once,
            authenticator=self._authenticated if self._login else None,
            auth_required=self._login,
            auth_require_tls=self._tls is not None and not self._at_once,
        )
        server.faults = self.faults
        self._talks.append(server)
        return server

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._made, "127.0.0.1", self.port, ssl=self._tls if self._at_once else None)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for talk in self._talks:
            if talk.transport is not None:
                talk.transport.abort()
            if talk._handler_coroutine is not None:
                talk._handler_coroutine.cancel()
        await asyncio.sleep(0)

    # aiosmtpd's hooks.

    def _authenticated(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login.decode(), data.password))
        return AuthResult(success=(data.login.decode(), data.password.decode()) == (USER, PASSWORD), handled=False)

    async def auth_XOAUTH2(self, server: SMTP, arguments: list[str]) -> AuthResult:  # noqa: N802
        import base64

        given = base64.b64decode(arguments[1]).decode()
        if any(given == f"user={USER}\1auth=Bearer {token}\1\1" for token in self.tokens):
            return AuthResult(success=True)
        answer = await server.challenge_auth(b'{"status":"401"}')
        assert answer == b""
        return AuthResult(success=False, handled=False)

    async def handle_MAIL(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:  # noqa: N802
        if self.faults.drop_at == "MAIL":
            assert server.transport is not None
            server.transport.abort()
        if self.faults.silent_at == "MAIL":
            await asyncio.sleep(60)
        if answer := self.faults.says.get("MAIL"):
            return answer
        envelope.mail_from = address
        return "250 fine"

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:  # noqa: N802
        if answer := self.faults.refuse.get(address) or self.faults.says.get("RCPT"):
            return answer
        envelope.rcpt_tos.append(address)
        return "250 fine"

    async def handle_QUIT(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.faults.drop_at == "QUIT":
            assert server.transport is not None
            server.transport.abort()
        if self.faults.silent_at == "QUIT":
            await asyncio.sleep(60)
        return "221 bye"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.original_content, bytes)
        if answer := self.faults.says.get("END"):
            return answer
        taken = Taken(envelope.mail_from or "", list(envelope.rcpt_tos), envelope.original_content)
        self.mails.append(taken)
        self.on_mail(taken)
        if self.faults.drop_at == "END":
            assert server.transport is not None
            server.transport.abort()
        if self.faults.silent_at == "END":
            await asyncio.sleep(60)
        await asyncio.sleep(self.faults.slow)
        return "250 2.0.0 taken"
