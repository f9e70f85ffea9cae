"""What became of a mail of ours, as other systems write it back: a disposition notification (MDN, RFC 8098, and RFC 3798 before
it) or a delivery status notification (DSN, RFC 3464).

Direct (ONC, Implementation Guide for Delivery Notification) builds on both: an MDN `processed` says that the receiving system
took the mail, an MDN `dispatched` that it was delivered to who it is for, `failed` or a DSN that it was not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hub.formats.mail.fields import Fields, clean, read_fields
from hub.formats.mail.reading import Mail, Part

EVENTS = ("failed", "denied", "delayed", "deleted", "processed", "relayed", "expanded", "delivered", "displayed", "dispatched")
"""All that is told of a mail, the worst first: that is what is told of the whole where it differs between addresses."""
BAD = frozenset({"failed", "denied"})
"""After these nobody has it, or nobody may know whether somebody has it."""
MOST_RECIPIENTS = 200
_BLANK = re.compile(rb"\r?\n[ \t]*\r?\n")
_DSN = ("message/delivery-status", "message/global-delivery-status")
_MDN = "message/disposition-notification"


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a mail for one address."""

    address: str
    event: str
    """One of EVENTS."""
    status: str = ""
    """The status code of a DSN (RFC 3463), such as 5.1.1."""
    also: str = ""
    """The address we had written, where the mail was forwarded from it."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """A notification."""

    kind: str
    """`mdn` or `dsn`."""
    original: str
    """The Message-ID of the mail it is about, without brackets; empty when it does not say."""
    told: tuple[Told, ...]

    @property
    def event(self) -> str:
        """Of several addresses what is worst."""
        return min((told.event for told in self.told), key=EVENTS.index, default="")


def receipt_of(mail: Mail) -> Receipt | None:
    """The notification a mail is; None when it is none, or one that says nothing."""
    for part in mail.parts:
        if part.within:
            continue
        if part.declared == _MDN:
            return _mdn(part, mail)
        if part.declared in _DSN:
            return _dsn(part, mail)
    return None


def _mdn(part: Part, mail: Mail) -> Receipt | None:
    said = read_fields(part.content)
    _, _, disposition = said.raw("disposition").partition(";")
    event, _, modifiers = disposition.strip().lower().partition("/")
    event = event.strip()
    if event not in EVENTS:
        return None
    if {word.strip() for word in modifiers.split(",")} & {"error", "failure"}:
        event = "failed"
    told = Told(_address(said, "final-recipient"), event, also=_address(said, "original-recipient"))
    return Receipt("mdn", _original(said.ids("original-message-id"), mail), (told,))


def _dsn(part: Part, mail: Mail) -> Receipt | None:
    """The first group of fields is about the whole, each further one about one address."""
    told = []
    for group in _BLANK.split(part.content)[1 : MOST_RECIPIENTS + 1]:
        said = read_fields(group)
        event = said.value("action")
        if event in EVENTS:
            status = clean(said.raw("status"))[:20]
            told.append(Told(_address(said, "final-recipient"), event, status, _address(said, "original-recipient")))
    return Receipt("dsn", _original([], mail), tuple(told)) if told else None


def _original(said: list[str], mail: Mail) -> str:
    """As the notification says it, else from the header of the mail that it gives back, else as an answer names it."""
    if said:
        return said[0]
    for part in mail.parts:
        if part.declared == "text/rfc822-headers" and (ids := read_fields(part.content).ids("message-id")):
            return ids[0]
    for headers in mail.headers_within:
        if ids := headers.ids("message-id"):
            return ids[0]
    return next(iter([*mail.fields.ids("in-reply-to"), *mail.fields.ids("references")[-1:]]), "")


def _address(said: Fields, name: str) -> str:
    """`rfc822; somebody@there`."""
    _, _, address = said.raw(name).partition(";")
    return clean(address).strip("<>")[:254]
