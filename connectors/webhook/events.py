"""The messages a delivery becomes: one for each event, as it came."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from connectors.webhook.settings import WebhookConfig
from hub.format import Fields
from hub.message import Message
from hub.net.forms import URL_ENCODED, FormUnusable
from hub.net.signatures import Delivery, Place, Verdict, signature_of, verify
from hub.webhooks import NAME, Unread, fields_of, items_of

LONGEST = 200
"""Characters of the name of an event, or of an id; what is longer is neither."""
LONGEST_KEY = 500
"""Characters of a part of what makes an event recognisable."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of a delivery."""

    verdict: Verdict
    messages: list[Message]


def judge(config: WebhookConfig, delivery: Delivery, now: float) -> Judged:
    """Looks whether a delivery is from the partner, and what it brings when it is; `now` is in seconds since 1970."""
    delivery = replace(delivery, read=reader(delivery.body, _content_type(delivery)))
    verdict = verify(config.verify, delivery, now)
    return Judged(verdict, messages_of(config, delivery) if verdict.good else [])


def reader(body: bytes, content_type: str) -> Callable[[str], list[str]]:
    """Reads by path what is opened once, when it is needed; what cannot be read has nothing anywhere."""
    opened: list[Fields | None] = []

    def read(path: str) -> list[str]:
        if not opened:
            try:
                opened.append(fields_of(body, content_type))
            except Unread:
                opened.append(None)
        fields = opened[0]
        return fields.get_all(path) if fields is not None else []

    return read


def messages_of(config: WebhookConfig, delivery: Delivery) -> list[Message]:
    """What cannot be taken apart is one message: it was sent by the partner, and a person may look at it."""
    if config.each is None:
        return [_message(config, delivery, delivery.body, _content_type(delivery), 0)]
    try:
        items = items_of(delivery.body, config.each)
    except Unread:
        return [_message(config, delivery, delivery.body, _content_type(delivery), 0)]
    return [
        _message(config, replace(delivery, read=reader(item, "application/json")), item, "application/json", number)
        for number, item in enumerate(items)
    ]


def _content_type(delivery: Delivery) -> str:
    """Of a GET the parameters of the URL are the body."""
    return URL_ENCODED if delivery.method == "GET" else delivery.content_type


def _message(config: WebhookConfig, delivery: Delivery, body: bytes, content_type: str, number: int) -> Message:
    event, resource = _word(config.event, delivery), _word(config.resource, delivery)
    headers = {"content_type": _printable(content_type, LONGEST), "event": event, "resource": resource}
    return Message(
        body,
        NAME,
        event,
        {name: value for name, value in headers.items() if value},
        duplicate_key=_recognise(config, delivery, number),
    )


def _word(place: Place | None, delivery: Delivery) -> str:
    return _printable(next(iter(_values(place, delivery)), ""), LONGEST) if place is not None else ""


def _values(place: Place, delivery: Delivery) -> list[str]:
    try:
        return place.values(delivery)
    except FormUnusable:
        return []


def _printable(text: str, longest: int) -> str:
    text = text.strip()
    return text if text.isprintable() and len(text) <= longest else ""


def _recognise(config: WebhookConfig, delivery: Delivery, number: int) -> str | None:
    """What makes an event recognisable when it comes again; None when nothing does."""
    parts = ["\x1f".join(_values(place, delivery))[:LONGEST_KEY] for place in config.dedupe]
    if not any(parts):
        parts = [signature_of(config.verify, delivery)]
    return "\x1e".join([*parts, str(number)]) if any(parts) else None
