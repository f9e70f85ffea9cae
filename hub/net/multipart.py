"""Bodies of several parts (RFC 2046), byte-exact: forms (RFC 7578), and XML with attachments (XOP, MTOM)."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.message import Message

MOST_PARTS = 1000
LONGEST_HEAD = 16 * 1024
"""Bytes of the headers of a part."""


class MultipartUnusable(Exception):
    """It is no body of several parts; the text says why without a word of it."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its headers by their names in small letters, and its bytes."""

    body: bytes
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The field of a form."""
        return _parameter(self.headers.get("content-disposition", ""), "name")

    @property
    def filename(self) -> str:
        """The name a file of a form had where it came from: never one to write to."""
        return _parameter(self.headers.get("content-disposition", ""), "filename")

    @property
    def is_file(self) -> bool:
        """In a form: a file and no field."""
        return "filename" in self.headers.get("content-disposition", "").lower()

    @property
    def content_id(self) -> str:
        return self.headers.get("content-id", "").strip().removeprefix("<").removesuffix(">")

    @property
    def content(self) -> bytes:
        """What it carries, its transfer encoding undone.  Raises MultipartUnusable when it is not of that encoding."""
        if self.headers.get("content-transfer-encoding", "").strip().lower() != "base64":
            return self.body
        try:
            return base64.b64decode(b"".join(self.body.split()), validate=True)
        except binascii.Error:
            raise MultipartUnusable("a part is not the Base64 it says it is") from None

    @property
    def media_type(self) -> str:
        return media_type(self.headers.get("content-type", ""))


def media_type(content_type: str) -> str:
    """`multipart/related` of a Content-Type header, in small letters."""
    return content_type.partition(";")[0].strip().lower()


def write_parts(parts: Sequence[Part]) -> tuple[bytes, str]:
    """The body and its boundary, which stands in no part."""
    heads, end, boundary = part_heads(parts)
    return b"".join(head + part.body + b"\r\n" for head, part in zip(heads, parts, strict=True)) + end, boundary


def part_heads(parts: Sequence[Part]) -> tuple[list[bytes], bytes, str]:
    """What goes before the body of each part (a line end follows it), what ends the whole, and the boundary."""
    boundary = secrets.token_hex(16)
    while any(boundary.encode() in part.body for part in parts):
        boundary = secrets.token_hex(16)
    heads = []
    for part in parts:
        head = "".join(f"{name.title()}: {value}\r\n" for name, value in part.headers.items())
        heads.append(f"--{boundary}\r\n{head}\r\n".encode())
    return heads, f"--{boundary}--\r\n".encode(), boundary


def read_parts(body: bytes, content_type: str) -> list[Part]:
    """The parts in their order.  Raises MultipartUnusable; any bytes give one or the other."""
    boundary = _parameter(content_type, "boundary")
    if not boundary or not boundary.isascii():
        raise MultipartUnusable("its Content-Type names no boundary")
    line = b"--" + boundary.encode()
    pieces = (b"\r\n" + body).split(b"\r\n" + line, MOST_PARTS)
    if len(pieces) < 2:
        pieces = (b"\n" + body).split(b"\n" + line, MOST_PARTS)  # some servers end lines with LF alone
    if len(pieces) < 2:
        raise MultipartUnusable("the boundary of its Content-Type is not in it")
    if len(pieces) > MOST_PARTS:
        raise MultipartUnusable("it has too many parts")
    parts: list[Part] = []
    for piece in pieces[1:]:
        if piece.startswith(b"--"):
            return parts
        parts.append(_part(piece))
    raise MultipartUnusable("its end is missing")


def _part(piece: bytes) -> Part:
    _, _, rest = piece.partition(b"\n")  # blanks may follow a boundary
    if rest.startswith((b"\r\n", b"\n")):
        return Part(rest.partition(b"\n")[2])
    ends = [(at, len(end)) for end in (b"\r\n\r\n", b"\n\n") if (at := rest.find(end)) >= 0]
    if not ends:
        raise MultipartUnusable("a part has no end of its headers")
    at, length = min(ends)
    if at > LONGEST_HEAD:
        raise MultipartUnusable("the headers of a part are too long")
    headers: dict[str, str] = {}
    name = ""
    for raw in rest[:at].decode("latin-1").splitlines():
        if raw[:1] in (" ", "\t") and name:
            headers[name] += f" {raw.strip()}"
        else:
            name, _, value = raw.partition(":")
            name = name.strip().lower()
            headers[name] = value.strip()
    return Part(rest[at + length :], headers)


def _parameter(header: str, name: str) -> str:
    """A parameter of a header such as Content-Type; empty when it is not there."""
    message = Message()
    message["content-type"] = "".join(c for c in header if c.isprintable() or c == "\t")
    found = message.get_param(name)
    if header.lower().startswith("form-data"):  # get_param wants a media type in front
        message = Message()
        message["content-disposition"] = "".join(c for c in header if c.isprintable() or c == "\t")
        found = message.get_param(name, header="content-disposition")
    return found if isinstance(found, str) else ""
