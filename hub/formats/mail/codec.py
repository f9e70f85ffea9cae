"""Mail as a format of the hub: what it is filed under, and how mappings and filters read it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from hub.format import Fields, Format, Keys
from hub.formats.dotted import DottedFields, path_error
from hub.formats.mail.reading import Mail, read_mail
from hub.formats.mail.receipts import BAD, Receipt, receipt_of
from hub.message import Message

FIELDS = (
    *["message_id", "in_reply_to", "date", "subject", "from", "sender", "reply_to", "to", "cc", "text"],
    *["parts", "attachments", "receipt", "findings"],
)
_OF_ONE = ("address", "name", "number", "media_type", "size", "event", "status", "also")
"""What one address, part or line of a receipt has, for the `each` of a mapping."""
_OF_MACHINES = frozenset({"no", ""})


def type_of(mail: Mail, receipt: Receipt | None) -> str:
    """What kind of mail it is: `receipt` and `bounce` say what became of one of ours, `reply` answers one, `automatic` was
    written by no person (RFC 3834), `mail` is all else."""
    if receipt is not None:
        return "bounce" if receipt.event in BAD else "receipt"
    if mail.fields.value("auto-submitted") not in _OF_MACHINES:
        return "automatic"
    return "reply" if mail.fields.ids("in-reply-to") else "mail"


def headers_of(mail: Mail, receipt: Receipt | None) -> dict[str, str]:
    """What goes with the message in the clear: never who wrote or what about.

    `resource`: the Message-ID of our mail that this is about; `event`: what became of it.
    """
    if receipt is not None:
        return {"event": receipt.event, **({"resource": receipt.original} if receipt.original else {})}
    answered = mail.fields.ids("in-reply-to")
    return {"resource": answered[0]} if answered else {}


def duplicate_key(mail: Mail, body: bytes) -> str:
    """The same mail again; when its bytes are others, the hub takes it for another one, and flags it."""
    ids = mail.fields.ids("message-id")
    return ids[0] if ids else hashlib.sha256(body).hexdigest()


class MailFormat(Format):
    """RFC 5322 with MIME."""

    name = "mail"

    def keys(self, body: bytes, headers: Mapping[str, str]) -> Keys:  # noqa: ARG002
        mail = read_mail(body)
        ids = mail.fields.ids("message-id")
        kind = type_of(mail, receipt_of(mail))
        return Keys(
            type=kind, control_id=ids[0] if ids else "", duplicate_key=duplicate_key(mail, body), findings=mail.findings
        )

    def open(self, message: Message) -> Fields:
        return DottedFields(content_of(read_mail(message.body)))

    def path_error(self, path: str) -> str | None:
        first = path.split(".", maxsplit=1)[0].split("[", maxsplit=1)[0]
        if first not in FIELDS and first not in _OF_ONE:
            return f"{path!r}: a mail has {', '.join(FIELDS)}"
        return path_error(path)


def content_of(mail: Mail) -> dict[str, Any]:
    """A mail as plain data."""
    fields, receipt = mail.fields, receipt_of(mail)

    def people(name: str) -> list[dict[str, str]]:
        return [{"address": one.address, "name": one.name} for one in fields.addresses(name)]

    def parts(given: list[Any]) -> list[dict[str, Any]]:
        return [{"number": p.number, "media_type": p.media_type, "name": p.name, "size": len(p.content)} for p in given]

    return {
        "message_id": next(iter(fields.ids("message-id")), None),
        "in_reply_to": next(iter(fields.ids("in-reply-to")), None),
        "date": fields.date("date"),
        "subject": fields.text("subject"),
        "from": next(iter(people("from")), None),
        "sender": next(iter(people("sender")), None),
        "reply_to": people("reply-to"),
        "to": people("to"),
        "cc": people("cc"),
        "text": mail.text,
        "parts": parts(mail.parts),
        "attachments": parts(mail.attachments),
        "receipt": receipt and _receipt(receipt),
        "findings": [{"name": finding} for finding in mail.findings],
    }


def _receipt(receipt: Receipt) -> dict[str, Any]:
    told = [{"address": one.address, "event": one.event, "status": one.status, "also": one.also} for one in receipt.told]
    return {"kind": receipt.kind, "original": receipt.original, "event": receipt.event, "told": told}
