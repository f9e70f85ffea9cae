"""Making a mail: seven-bit throughout, lines that end in CRLF, and nothing in its header that could begin another field."""

from __future__ import annotations

import re
import secrets
from binascii import b2a_base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from hub.formats.document import media_type

_POLICY = SMTP.clone(cte_type="7bit")
_LINE = 57
"""Bytes in a line of base64 (RFC 2045, section 6.8: 76 characters)."""
_LINES = re.compile(r"\r\n?|\n")

ENDINGS = {
    "application/pdf": "pdf",
    "image/tiff": "tif",
    "image/png": "png",
    "image/jpeg": "jpg",
    "application/rtf": "rtf",
    "application/zip": "zip",
    "text/html": "html",
    "application/xml": "xml",
    "text/plain": "txt",
    "x-application/hl7-v2+er7": "hl7",
    "application/edi-x12": "edi",
    "application/json": "json",
}
"""How the names of files of a media type end."""
_OF_FORMATS = {"hl7v2": "x-application/hl7-v2+er7", "x12": "application/edi-x12"}
"""Media types of formats that their first bytes do not tell; that of HL7 v2 is Direct's for notifications of admissions."""


@dataclass(frozen=True, slots=True)
class Attached:
    """A file that goes with a mail."""

    content: bytes = field(repr=False)
    media_type: str
    name: str
    """Its neutral name: a patient's has no place in it."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What a mail is made of."""

    message_id: str
    """Without brackets."""
    sender: str
    to: Sequence[str]
    subject: str
    text: str
    sent_at: datetime
    sender_name: str = ""
    attached: Sequence[Attached] = ()
    headers: Sequence[tuple[str, str]] = ()
    """Further fields of its header."""


def write_mail(draft: Draft) -> bytes:
    """The whole mail.  Raises ValueError for an address that cannot be used."""
    mail = EmailMessage(policy=_POLICY)
    mail["From"] = _address(draft.sender, draft.sender_name)
    mail["To"] = [_address(one) for one in draft.to]
    mail["Subject"] = one_line(draft.subject)
    mail["Date"] = format_datetime(draft.sent_at)
    mail["Message-ID"] = f"<{draft.message_id}>"
    for name, value in draft.headers:
        mail[name] = one_line(value)
    if not draft.attached:
        _set_text(mail, draft.text)
        return mail.as_bytes()
    boundary = f"=_{secrets.token_hex(16)}"
    head = f'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="{boundary}"\r\n'
    text = EmailMessage(policy=_POLICY)
    _set_text(text, draft.text)
    between = f"\r\n--{boundary}".encode()
    written = bytearray(mail.as_bytes().rstrip(b"\r\n") + b"\r\n" + head.encode() + between + b"\r\n" + text.as_bytes())
    for one in draft.attached:
        written += between + b"\r\n"
        _append(written, one)
    written += between + b"--\r\n"
    return bytes(written)


def _set_text(mail: EmailMessage, text: str) -> None:
    mail.set_content("\n".join(_LINES.split(text)) + "\n")


def _append(written: bytearray, one: Attached) -> None:
    """A file as a part.  By hand: the library holds a file nearly six times meanwhile."""
    part = EmailMessage(policy=_POLICY)
    part["Content-Type"] = one.media_type
    part["Content-Transfer-Encoding"] = "base64"
    part["Content-Disposition"] = f'attachment; filename="{one.name}"'
    written += part.as_bytes()
    content = memoryview(one.content)
    for at in range(0, len(content), _LINE):
        written += b2a_base64(content[at : at + _LINE], newline=False)
        written += b"\r\n"


def kind_of(content: bytes, format: str) -> str:
    """The media type of what a message holds."""
    return _OF_FORMATS.get(format) or media_type(content)


def ending_of(kind: str) -> str:
    return ENDINGS.get(kind, "bin")


def one_line(text: str) -> str:
    """A text that cannot begin a further field."""
    return " ".join(text.split())


def _address(address: str, name: str = "") -> Address:
    return Address(display_name=one_line(name), addr_spec=address)
