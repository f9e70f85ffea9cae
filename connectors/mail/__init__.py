"""Mail: `mail_sender` hands it in (SMTP), `mailbox` fetches it (IMAP).  Neither knows what a mail is for.

settings.py  what a clinic file says about both
sender.py    a message as a mail, and what the server said
mailbox.py   each mail once: the raw mail, and a message for each attachment
access.py    how a connection logs in: password or token
"""

from __future__ import annotations

from connectors.mail.mailbox import Mailbox
from connectors.mail.sender import MailSender
from hub.connector import AnyConnector
from hub.hookspecs import hookimpl


@hookimpl
def register_connectors() -> list[type[AnyConnector]]:
    return [MailSender, Mailbox]
