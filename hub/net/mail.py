"""Handing mail in by SMTP (RFC 5321): what a server says is sorted by what follows from it.

Blocking, so it belongs into a thread (hub/net/worker.py).  The only home of smtplib; hub/net/imap.py fetches mail.
"""

from __future__ import annotations

import contextlib
import re
import smtplib
import socket
import ssl
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Any, Literal

from hub.errors import ConnectionDown, DoubtfulSend, HubError, MessageRejected
from hub.net.tls import TlsClient, client_context, tls_failure

Encryption = Literal["starttls", "always", "none"]
TIMEOUT = 20.0
"""Seconds for each step of the conversation with the server."""
ANSWER_WITHIN = 600.0
"""Seconds a server may look at a whole mail before it says whether it takes it (RFC 5321, section 4.5.3.2.6)."""
GOOD_BYE = 3.0
"""Seconds that are waited for the answer to a good-bye."""
LOGIN_PAUSE = 300.0
"""Seconds after a refused login before the next: more often would lock our account."""
LOGIN_WANTED = frozenset({530, 534, 535, 538})
"""What a server says that does not know us, or not well enough (RFC 4954, section 6)."""
CLOSING = 421
"""What a server says that is about to go, whatever it was asked (RFC 5321, section 3.8)."""
PIECE = 256 * 1024
"""Bytes of a mail that are handed over at once."""
_ENHANCED = re.compile(rb"[245]\.\d{1,3}\.\d{1,3}(?!\S)")


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed in or fetched, and who we are there."""

    host: str
    port: int
    encryption: Encryption
    user: str | None = None
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    """An access token (XOAUTH2); used instead of the password when there is one."""
    tls: TlsClient = field(default_factory=TlsClient)
    timeout: float = TIMEOUT
    """Seconds for each step of the conversation."""

    @property
    def place(self) -> str:
        return f"the mail server {self.host}:{self.port}"

    def context(self) -> ssl.SSLContext:
        """TLS towards it, for smtplib and imaplib.  Raises ConfigError when a file cannot be used."""
        return _named(client_context(self.tls), self.tls.server_name or self.host)

    def xoauth2(self) -> str:
        """How a token is shown (Google's and Microsoft's XOAUTH2)."""
        return f"user={self.user}\1auth=Bearer {self.token}\1\1"


class _Named(ssl.SSLContext):
    """A context that knows the name the server's certificate must have, whatever the library thinks it is."""

    server_name = ""

    def wrap_socket(self, sock: socket.socket, *arguments: Any, **named: Any) -> ssl.SSLSocket:
        return super().wrap_socket(sock, *arguments, **{**named, "server_hostname": self.server_name})


def _named(context: ssl.SSLContext, name: str) -> ssl.SSLContext:
    context.__class__ = _Named
    context.server_name = name  # type: ignore[attr-defined]
    return context


class Submission:
    """One mail on its way to a server.  All its addresses get it or none, unless `partial`."""

    def __init__(self, server: MailServer, name: str = "", *, answer_within: float = ANSWER_WITHIN) -> None:
        self._server = server
        self._where = f"{name}: {server.place}" if name else server.place
        self._answer_within = answer_within
        self._connection: smtplib.SMTP | None = None
        self._ended = False
        """The sign that ends the mail was sent: from then on the server may have it."""
        self._stopped = False

    def hand_in(self, sender: str, to: Sequence[str], content: bytes, *, partial: bool = False) -> list[str]:
        """Hands a whole mail (lines end in CRLF) in for these addresses; with `partial` returns those that were not taken.

        Raises ConnectionDown when the server cannot be reached, is silent, does not know us or is about to go; MessageRejected
        when it says no to this mail or an address, `final` unless it says "later"; DoubtfulSend when it went silent after it
        had all.
        """
        refused, is_taken = list[str](), False
        try:
            with contextlib.closing(self._connected()) as connection:
                refused = self._envelope(connection, sender, to, len(content), partial)
                self._content(connection, content)
                is_taken = True
                self._say_good_bye(connection)
        except HubError:
            raise
        except (smtplib.SMTPException, OSError, ValueError) as error:
            if not is_taken:
                raise self._broken(error) from None
        return refused

    def try_login(self) -> str:
        """Reaches the server and logs in, without any mail.  Returns a line saying what answered; raises ConnectionDown."""
        try:
            with contextlib.closing(self._connected()) as connection:
                self._say_good_bye(connection)
                who = f", takes the login of {self._server.user}" if self._server.user else ""
                return f"{self._server.place} answers{who}"
        except HubError:
            raise
        except (smtplib.SMTPException, OSError, ValueError) as error:
            raise self._broken(error) from None

    def stop(self) -> None:
        """Ends it from another thread: whoever waits in `hand_in` gets the error that fits how far it was."""
        self._stopped = True
        sock = self._connection.sock if self._connection is not None else None
        if isinstance(sock, socket.socket):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # of the socket below TLS, which its thread is at

    @property
    def maybe_taken(self) -> bool:
        """The server was sent all of the mail and has not said whether it takes it."""
        return self._ended

    # The conversation.

    def _connected(self) -> smtplib.SMTP:
        server, context = self._server, self._server.context()
        if server.encryption == "always":
            connection: smtplib.SMTP = smtplib.SMTP_SSL(timeout=server.timeout, context=context)
        else:
            connection = smtplib.SMTP(timeout=server.timeout)
        self._connection = connection  # before it connects, so that `stop` finds it
        try:
            code, _ = connection.connect(server.host, server.port)
            if code != 220:
                raise ConnectionDown(f"{self._where} answers {code}")
            self._introduce(connection, context)
        except BaseException:
            connection.close()
            raise
        return connection

    def _introduce(self, connection: smtplib.SMTP, context: ssl.SSLContext) -> None:
        server = self._server
        connection.ehlo_or_helo_if_needed()
        if server.encryption == "starttls":
            if not connection.has_extn("starttls"):
                raise ConnectionDown(f"{self._where} offers no TLS (STARTTLS), and nothing is sent without", code="MAI-001")
            connection.starttls(context=context)
            connection.ehlo()
        if server.user is not None:
            self._login(connection, server.user)

    def _login(self, connection: smtplib.SMTP, user: str) -> None:
        """Once, in one way: the library would try a wrong password in every way there is, which locks accounts."""
        server, offered = self._server, connection.esmtp_features.get("auth", "").upper().split()
        try:
            if server.token:
                code = self._said(connection, "XOAUTH2", server.xoauth2())
            elif "PLAIN" in offered:
                code = self._said(connection, "PLAIN", f"\0{user}\0{server.password}")
            elif "LOGIN" in offered:
                connection.user, connection.password = user, server.password
                code, _ = connection.auth("LOGIN", connection.auth_login)
            else:
                raise ConnectionDown(f"{self._where} offers no login that we know", code="NET-020")
        except smtplib.SMTPAuthenticationError as error:
            code = error.smtp_code
        if code != 235:
            raise self._login_refused(code)

    def _said(self, connection: smtplib.SMTP, way: str, words: str) -> int:
        """What a server answers to a login in one step (RFC 4954); it may tell why not and wait for an empty line."""
        code, _ = connection.docmd("AUTH", f"{way} {b64encode(words.encode()).decode()}")
        if code == 334:
            code, _ = connection.docmd("")
        return code

    def _envelope(self, connection: smtplib.SMTP, sender: str, to: Sequence[str], size: int, partial: bool) -> list[str]:
        most = connection.esmtp_features.get("size", "")
        if most.isdecimal() and 0 < int(most) < size:
            raise MessageRejected(
                f"{self._where} takes mails of at most {most} bytes, and this one has {size}",
                answer="552",
                final=True,
                code="MAI-002",
            )
        self._expect(250, connection.mail(sender, [f"size={size}"] if most else []), "our address")
        refused = []
        for number, address in enumerate(to, 1):
            code, words = connection.rcpt(address)
            if code in (250, 251):
                continue
            if not partial or code == CLOSING:
                which = f"address {number} of {len(to)}; nobody was sent the mail" if len(to) > 1 else "the address"
                raise self._no(code, words, which)
            refused.append(address)
        if to and len(refused) == len(to):
            raise self._no(code, words, "any of the addresses")
        return refused

    def _content(self, connection: smtplib.SMTP, content: bytes) -> None:
        self._expect(354, connection.docmd("DATA"), "the mail")
        for piece in _stuffed(content):
            connection.send(piece)
        if not content.endswith(b"\r\n"):
            connection.send(b"\r\n")
        if self._stopped:
            raise ConnectionDown(f"{self._where} was too slow")
        if connection.sock is not None:
            connection.sock.settimeout(self._answer_within)
        self._ended = True
        connection.send(b".\r\n")
        code, words = connection.getreply()
        if not 200 <= code < 600:
            raise smtplib.SMTPServerDisconnected  # what it says is no answer
        self._ended = False
        if code >= 300:
            raise self._no(code, words, "the mail")

    def _say_good_bye(self, connection: smtplib.SMTP) -> None:
        """What comes of that is of no matter any more, and nobody waits long for it."""
        with contextlib.suppress(smtplib.SMTPException, OSError, ValueError):
            if connection.sock is not None:
                connection.sock.settimeout(min(self._server.timeout, GOOD_BYE))
            connection.quit()

    # What its answers mean.

    def _expect(self, wanted: int, answer: tuple[int, bytes], what: str) -> None:
        if answer[0] != wanted:
            raise self._no(*answer, what)

    def _no(self, code: int, words: bytes, what: str) -> HubError:
        """An answer that is none of the good ones.  Its words may name people: they are only kept sealed."""
        if code in LOGIN_WANTED:
            return self._login_refused(code)
        if code == CLOSING or not 400 <= code < 600:
            return ConnectionDown(f"{self._where} answers {code}")
        detail = _ENHANCED.search(words)
        said = f"{code} {detail[0].decode()}" if detail else str(code)
        later = "; it is tried again later" if code < 500 else ""
        text = f"{self._where} does not take {what} ({said}){later}"
        return MessageRejected(text, answer=said, final=code >= 500, reply=words, code="MAI-003")

    def _login_refused(self, code: int) -> ConnectionDown:
        text = f"{self._where} refuses our login ({code}). Check user and password with the provider."
        return ConnectionDown(text, retry_after=LOGIN_PAUSE, code="NET-020")

    def _broken(self, error: Exception) -> HubError:
        if self._ended:
            return DoubtfulSend(f"{self._where} had the whole mail and did not say whether it takes it", code="MAI-004")
        words = tls_failure(error)
        if words:
            return ConnectionDown(f"{self._where}: TLS failed: {words}", code="TLS-003")
        if isinstance(error, smtplib.SMTPResponseException):
            return ConnectionDown(f"{self._where} answers {error.smtp_code}")
        return ConnectionDown(f"{self._where} cannot be used: {type(error).__name__}")


def _stuffed(content: bytes) -> Iterator[bytes]:
    """The mail in pieces, in which a dot at the beginning of a line is doubled (RFC 5321, section 4.5.2).

    In pieces, because other threads wait while one is made.
    """
    start = 0
    while start < len(content):
        line_end = content.find(b"\n", start + PIECE)
        end = len(content) if line_end < 0 else line_end + 1
        piece = content[start:end]
        yield (b"." if piece.startswith(b".") else b"") + piece.replace(b"\n.", b"\n..")
        start = end


def send_mail(server: MailServer, sender: str, to: list[str], subject: str, text: str) -> None:
    """Hands one mail of the hub's own in for all addresses; raises HubError saying what the server did."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = sender, ", ".join(to), subject
    mail["Date"], mail["Message-ID"] = formatdate(), make_msgid(domain=sender.rpartition("@")[2])
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no answers of machines
    mail.set_content(text)
    submission = Submission(server, answer_within=server.timeout)
    content = mail.as_bytes(policy=mail.policy.clone(linesep="\r\n", cte_type="7bit"))
    if refused := submission.hand_in(sender, to, content, partial=True):
        raise ConnectionDown(
            f"{server.place} does not take {len(refused)} of the {len(to)} addresses; the others have the mail"
        )
