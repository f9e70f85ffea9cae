"""Mail to people, by SMTP: blocking, so it belongs into a thread."""

from __future__ import annotations

import contextlib
import smtplib
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import Literal

from hub.errors import ConnectionDown
from hub.net.tls import TlsClient, client_context, tls_failure

TIMEOUT = 20.0
"""Seconds for each step of the conversation with the server."""


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed in, and who we are there."""

    host: str
    port: int
    tls: Literal["starttls", "always", "none"]
    user: str | None = None
    password: str = ""
    ca: Path | None = None


def send_mail(server: MailServer, sender: str, to: list[str], subject: str, text: str) -> None:
    """Hands one mail in for all addresses; raises ConnectionDown saying what the server did."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = sender, ", ".join(to), subject
    mail["Date"], mail["Message-ID"] = formatdate(), make_msgid(domain=sender.rpartition("@")[2])
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no answers of machines
    mail.set_content(text)
    try:
        with contextlib.closing(_connected(server)) as connection:
            refused = connection.send_message(mail, sender, to)
            with contextlib.suppress(smtplib.SMTPException, OSError):
                connection.quit()
    except smtplib.SMTPResponseException as error:
        raise _down(server, f"answers {error.smtp_code}") from None
    except smtplib.SMTPRecipientsRefused:
        raise _down(server, "takes none of the addresses") from None
    except (smtplib.SMTPException, OSError) as error:
        words = tls_failure(error)
        raise _down(server, f"TLS failed: {words}" if words else f"cannot be used: {type(error).__name__}") from None
    if refused:
        raise _down(server, f"does not take {len(refused)} of the {len(to)} addresses; the others have the mail")


def _connected(server: MailServer) -> smtplib.SMTP:
    context = client_context(TlsClient(ca=server.ca))
    if server.tls == "always":
        connection: smtplib.SMTP = smtplib.SMTP_SSL(server.host, server.port, timeout=TIMEOUT, context=context)
    else:
        connection = smtplib.SMTP(server.host, server.port, timeout=TIMEOUT)
    try:
        _introduce(connection, server, context)
    except BaseException:
        connection.close()
        raise
    return connection


def _introduce(connection: smtplib.SMTP, server: MailServer, context: ssl.SSLContext) -> None:
    if server.tls == "starttls":
        connection.starttls(context=context)
    if server.user is not None:
        connection.login(server.user, server.password)


def _down(server: MailServer, what: str) -> ConnectionDown:
    return ConnectionDown(f"the mail server {server.host}:{server.port} {what}")
