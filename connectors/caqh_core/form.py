"""An envelope as multipart/form-data: one part for each field (HTTP+MIME of the rule)."""

from __future__ import annotations

from connectors.caqh_core.envelope import Envelope, Exchange, NotCore, fields, from_fields
from connectors.caqh_core.soap import Login
from hub.net.multipart import MultipartUnusable, Part, read_parts, write_parts


def write(exchange: Exchange, envelope: Envelope, login: Login | None) -> tuple[bytes, str]:
    """The body of a request and its Content-Type."""
    parts = []
    for name, value in fields(exchange, envelope, with_length=exchange.batch and bool(envelope.payload)):
        if name == "SenderID" and login is not None:
            parts += [_field("UserName", login.user.encode()), _field("Password", login.password.encode())]
        parts.append(_field(name, value.encode()))
    if envelope.payload:
        parts.append(_field("Payload", envelope.payload))
    body, boundary = write_parts(parts)
    return body, f'multipart/form-data; boundary="{boundary}"'


def _field(name: str, value: bytes) -> Part:
    return Part(value, {"content-disposition": f'form-data; name="{name}"'})


def read(body: bytes, content_type: str) -> Envelope:
    """The envelope of an answer.  Raises NotCore."""
    try:
        found = {part.name: part.content for part in read_parts(body, content_type) if part.name}
    except MultipartUnusable as error:
        raise NotCore(str(error)) from None
    payload = found.pop("Payload", b"")
    return from_fields({name: value.decode("utf-8", "replace") for name, value in found.items()}, payload)
