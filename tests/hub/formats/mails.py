"""Mails as systems write them, for tests: letters, receipts (MDN) and bounces (DSN)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from hub.formats.mail.writing import Attached, Draft, write_mail

PDF = b"%PDF-1.4 not much of one\n"


def letter(number: int = 1, *files: Attached, text: str = "See the file.", headers: Sequence[tuple[str, str]] = ()) -> bytes:
    draft = Draft(
        message_id=f"m{number}@hospital.example",
        sender="desk@hospital.example",
        to=["hub@clinic.example"],
        subject=f"Mail {number}",
        text=text,
        sent_at=datetime(2026, 11, 25, tzinfo=UTC),
        attached=files,
        headers=headers,
    )
    return write_mail(draft)


def _report(kind: str, original: str, body: str, given_back: str) -> bytes:
    lines = [
        "From: MAILER-DAEMON@hospital.example", "To: hub@clinic.example", "Subject: about your mail",
        f"In-Reply-To: <{original}>", "MIME-Version: 1.0", "Auto-Submitted: auto-replied",
        f'Content-Type: multipart/report; report-type={kind}; boundary="=_r"', "", "--=_r", "Content-Type: text/plain", "",
        "For people.", "--=_r", f"Content-Type: message/{kind}", "", body, given_back, "--=_r--", "",
    ]  # fmt: skip
    return "\r\n".join(lines).encode()


def mdn(original: str, event: str, recipient: str = "partner@hospital.example", *, also: str = "", names: bool = True) -> bytes:
    """A disposition notification; with `names=False` only the header of the notification says which mail it is about."""
    fields = [
        "Reporting-UA: hisp.example; agent", f"Final-Recipient: rfc822;{recipient}",
        *([f"Original-Recipient: rfc822; {also}"] if also else []), *([f"Original-Message-ID: <{original}>"] if names else []),
        f"Disposition: automatic-action/MDN-sent-automatically;{event}", "",
    ]  # fmt: skip
    return _report("disposition-notification", original, "\r\n".join(fields), "")


def dsn(original: str, told: dict[str, tuple[str, str]], *, headers_only: bool = True) -> bytes:
    """A delivery status notification: by address what became of the mail, and the status code."""
    groups = ["Reporting-MTA: dns; mail.example\r\n"]
    for address, (action, status) in told.items():
        groups.append(f"Final-Recipient: rfc822; {address}\r\nAction: {action}\r\nStatus: {status}\r\n")
    kind = "text/rfc822-headers" if headers_only else "message/rfc822"
    back = ["--=_r", f"Content-Type: {kind}", "", f"Message-ID: <{original}>", "Subject: what we had sent", "", "Its text."]
    return _report("delivery-status", original, "\r\n".join(groups), "\r\n".join(back))
