"""What a mail consists of.  Any bytes are a mail; what is broken or too much in it is said, and everything else read.

The parts are cut by hand: the parser of the standard library calls itself for each level and takes a line at a time, so that a
small mail can make it fail or work for minutes.  Here each level is one search over its bytes, and there are bounds for all.
"""

from __future__ import annotations

import binascii
import quopri
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from hub.formats.document import KNOWN_BY_BYTES, media_type
from hub.formats.mail.fields import Fields, clean, header_end, in_charset, read_fields

MOST_PARTS = 200
"""Parts of a mail that are looked at; what comes behind them stays in the mail."""
MOST_LEVELS = 12
"""Levels of parts inside parts that are looked at."""
PIECE = 1 << 20
"""Bytes of a part that are decoded at once."""
LONGEST_NAME = 200
"""Characters of a file's name that are told."""
_MULTIPART = "multipart/"
_NO_DOCUMENTS = frozenset(
    [
        *["application/pkcs7-signature", "application/x-pkcs7-signature", "application/pgp-signature"],
        *[
            "message/delivery-status",
            "message/global-delivery-status",
            "message/disposition-notification",
            "text/rfc822-headers",
        ],
    ]
)
"""Media types of parts that belong to how a mail was sent."""
_SEALED = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime", "application/pgp-encrypted", "application/ms-tnef"})
"""Media types whose content only a mail program can open."""
_WITHIN = frozenset({"message/rfc822", "message/global"})
"""Media types of mails inside a mail."""
_MEDIA_TYPE = re.compile(r"[a-z0-9.+-]{1,60}/[a-z0-9.+-]{1,60}")
_REST_OF_LINE = re.compile(rb"(--)?[ \t\r]*(?=\n|\Z)")
_PADDED = re.compile(rb"[^=]+=*")
_BASE64_ALIEN = re.sub(rb"[A-Za-z0-9+/]", b"", bytes(range(256)))


@dataclass
class Part:
    """A part that holds no further ones."""

    number: str
    """Its place: 1, 2.1 ..."""
    fields: Fields
    declared: str
    """The media type it says it is, in small letters."""
    within: bool
    """It belongs to a mail inside the mail."""
    _mail: bytes = field(repr=False)
    _place: tuple[int, int] = field(repr=False)
    """Where it stands in the mail; copied only when it is asked for."""

    @cached_property
    def _read(self) -> tuple[bytes, bool]:
        return _decoded(self._mail, *self._place, self.fields.value("content-transfer-encoding"))

    @property
    def content(self) -> bytes:
        """Its bytes, decoded as it says, or as well as that can be done."""
        return self._read[0]

    @property
    def damaged(self) -> bool:
        """Its content is not what its encoding says."""
        return self._read[1]

    @property
    def media_type(self) -> str:
        """By its first bytes; what it says of itself only where they could not tell."""
        found = media_type(self.content)
        is_told = found not in ("text/plain", "application/octet-stream") or self.declared in KNOWN_BY_BYTES
        return found if is_told or not _MEDIA_TYPE.fullmatch(self.declared) else self.declared

    @property
    def name(self) -> str:
        """The name its sender gave it, cleaned; it may name a patient, and leads nowhere."""
        said = self.fields.parameter("content-disposition", "filename") or self.fields.parameter("content-type", "name")
        return clean(re.split(r"[/\\]", said)[-1])[:LONGEST_NAME]

    @property
    def text(self) -> str:
        return in_charset(self.content, self.fields.parameter("content-type", "charset") or "utf-8")

    @property
    def is_attachment(self) -> bool:
        """True for what a person would call one: no text of the mail, no picture inside it, no signature, no report."""
        if self.declared in _NO_DOCUMENTS or self.declared.startswith(_MULTIPART):
            return False
        disposition = self.fields.value("content-disposition")
        if disposition == "attachment":
            return True
        is_inside = bool(self.fields.raw("content-id")) and self.declared.startswith("image/")
        if is_inside:
            return False
        return bool(self.name) or not self.declared.startswith("text/")


@dataclass(slots=True)
class Mail:
    """A mail, read."""

    fields: Fields
    parts: list[Part] = field(default_factory=list)
    headers_within: list[Fields] = field(default_factory=list)
    """Headers of the mails inside it."""
    findings: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """What its sender wrote: the first part that is plain text and no attachment."""
        return next((part.text for part in self.parts if part.declared == "text/plain" and not part.is_attachment), "")

    @property
    def attachments(self) -> list[Part]:
        return [part for part in self.parts if part.is_attachment]


@dataclass(slots=True)
class _Piece:
    """Something with a header and what follows it, still to be looked at."""

    start: int
    end: int
    number: str
    level: int
    assumed: str
    """Its media type when it says none."""
    within: bool = False


def read_mail(body: bytes) -> Mail:
    """Total: any bytes give a mail."""
    mail: Mail | None = None
    said: dict[str, None] = {}
    open_pieces = [_Piece(0, len(body), "", 0, "text/plain")]
    while open_pieces:
        piece = open_pieces.pop()
        head, start = header_end(body, piece.start, piece.end)
        fields = read_fields(body[piece.start : head])
        said |= dict.fromkeys(fields.findings)
        if mail is None:
            mail = Mail(fields)
        elif piece.within and piece.number.endswith("+"):
            mail.headers_within.append(fields)
        kind = _kind(fields, piece.assumed)
        further = _further(body, _Piece(start, piece.end, piece.number, piece.level, kind, piece.within), fields, said)
        if further is not None:
            open_pieces += reversed(further)
        elif len(mail.parts) >= MOST_PARTS:
            said[f"it has more than {MOST_PARTS} parts"] = None
            break
        else:
            number = piece.number.replace("+", "") or "1"
            mail.parts.append(Part(number, fields, kind, piece.within, body, (start, piece.end)))
        if len(open_pieces) > 2 * MOST_PARTS:
            del open_pieces[: len(open_pieces) - MOST_PARTS]
            said[f"it has more than {MOST_PARTS} parts"] = None
    assert mail is not None  # noqa: S101 - the first piece makes it
    if any(part.declared in _SEALED for part in mail.parts):
        said["a part of it is sealed, so that only a mail program can open it"] = None
    mail.findings = list(said)
    return mail


def _kind(fields: Fields, assumed: str) -> str:
    """The media type a header says; what is none is taken for bytes."""
    said = fields.value("content-type")
    if not said:
        return assumed
    return said if re.fullmatch(r"[!-.0-~]{1,80}/[!-.0-~]{1,80}", said) else "application/octet-stream"


def _further(body: bytes, piece: _Piece, fields: Fields, said: dict[str, None]) -> list[_Piece] | None:
    """The pieces a piece consists of; None when it is a part."""
    if not piece.assumed.startswith(_MULTIPART) and piece.assumed not in _WITHIN:
        return None
    if piece.level >= MOST_LEVELS:
        said[f"it has parts inside parts over more than {MOST_LEVELS} levels"] = None
        return None
    if piece.assumed in _WITHIN:
        if fields.value("content-transfer-encoding") in ("base64", "quoted-printable"):
            return None  # such a mail inside a mail is a file (RFC 2046, section 5.2.1 forbids it)
        return [_Piece(piece.start, piece.end, f"{piece.number}+", piece.level + 1, "text/plain", within=True)]
    boundary = fields.parameter("content-type", "boundary")
    if not boundary or len(boundary) > 200 or not boundary.isascii():
        said["a part of it does not say where its own parts begin"] = None
        return None
    found = _cut(body, piece, boundary.encode(), said)
    if not found:
        said["a part of it has none of the parts it speaks of"] = None
        return None
    return found


def _cut(body: bytes, piece: _Piece, boundary: bytes, said: dict[str, None]) -> list[_Piece]:
    """The parts between the lines that have the boundary (RFC 2046, section 5.1.1)."""
    assumed = "message/rfc822" if piece.assumed == "multipart/digest" else "text/plain"
    found: list[_Piece] = []
    begun: int | None = None
    for line_start, line_end, is_last in _lines_with(b"--" + boundary, body, piece.start, piece.end):
        if begun is not None:
            found.append(_piece(piece, begun, _without_line_end(body, begun, line_start), len(found) + 1, assumed))
            if len(found) > MOST_PARTS:
                said[f"it has more than {MOST_PARTS} parts"] = None
                return found[:MOST_PARTS]
        if is_last:
            return found
        begun = min(line_end + 1, piece.end)
    if begun is not None:
        said["it was cut off"] = None
        found.append(_piece(piece, begun, piece.end, len(found) + 1, assumed))
    return found


def _lines_with(mark: bytes, body: bytes, start: int, end: int) -> Iterator[tuple[int, int, bool]]:
    """The lines that consist of the mark, and perhaps `--` behind it: start, end, and whether that is there."""
    at = _find(mark, body, start, end)
    while at >= 0:
        rest = _REST_OF_LINE.match(body, at + len(mark), end)
        if rest is not None and (at == start or body[at - 1 : at] == b"\n"):
            yield at, rest.end(), rest[1] is not None
        at = _find(mark, body, at + len(mark), end)


def _find(mark: bytes, body: bytes, start: int, end: int) -> int:
    """Where the mark stands next, or -1; some bytes at a time, because other threads wait meanwhile."""
    while start < end:
        found = body.find(mark, start, min(end, start + 4 * PIECE + len(mark)))
        if found >= 0:
            return found
        start += 4 * PIECE
    return -1


def _piece(outer: _Piece, start: int, end: int, number: int, assumed: str) -> _Piece:
    place = outer.number.replace("+", "")
    return _Piece(start, max(start, end), f"{place}.{number}".lstrip("."), outer.level + 1, assumed, outer.within)


def _without_line_end(body: bytes, start: int, end: int) -> int:
    """The line end before a boundary belongs to the boundary."""
    if body[max(start, end - 2) : end] == b"\r\n":
        return end - 2
    return end - 1 if body[max(start, end - 1) : end] == b"\n" else end


def _from_base64(mail: bytes, start: int, end: int) -> bytes:
    """Some lines at a time, because other threads wait meanwhile.  Raises binascii.Error when they end within a group."""
    written = bytearray()
    while start < end:
        line_end = mail.find(b"\n", start + PIECE, end)
        piece_end = end if line_end < 0 else line_end + 1
        for group in _PADDED.findall(mail[start:piece_end]):  # the library stops at the first padding
            written += binascii.a2b_base64(group)
        start = piece_end
    return bytes(written)


def _decoded(mail: bytes, start: int, end: int, encoding: str) -> tuple[bytes, bool]:
    """The bytes, and whether they were damaged."""
    if encoding == "base64":
        try:
            return _from_base64(mail, start, end), False
        except binascii.Error:
            kept = mail[start:end].translate(None, _BASE64_ALIEN)
            kept = kept[: len(kept) - (len(kept) % 4 == 1)]
            return binascii.a2b_base64(kept + b"=" * (-len(kept) % 4)), True
    if encoding == "quoted-printable":
        return quopri.decodestring(mail[start:end]), False
    return mail[start:end], encoding not in ("", "7bit", "8bit", "binary")
