"""Documents inside messages: HL7's encapsulated data (ED) in the spellings senders use, and what kind of bytes they are."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence

_ENCODED = re.compile(r"(?:^|([^A-Za-z0-9\s]))(base64|hex|a)([^A-Za-z0-9\s])", re.IGNORECASE)
_HEAD = 400
"""Characters in which the name of the encoding must stand."""
_CHUNK = re.compile(r"[^=]+=*")
_PIECE = 256 * 1024
"""Characters of a large document that are worked on at a time, so that others have their turn; a multiple of 4."""
_MAGIC = (
    (b"%PDF", "application/pdf"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"{\\rtf", "application/rtf"),
    (b"PK\3\4", "application/zip"),
)

KNOWN_BY_BYTES = frozenset(name for _, name in _MAGIC)
"""Media types that begin with bytes of their own: what says it is one and does not, is none."""


def media_type(content: bytes) -> str:
    """By the first bytes: senders write `AP^PDF`, `application^pdf` or `TEXT^PDF` for the same thing."""
    start = content[:1024].lstrip(b"\xef\xbb\xbf \r\n\t")
    for magic, name in _MAGIC:
        if start.startswith(magic):
            return name
    if re.match(rb"(<\?xml|<!doctype html|<html|<ClinicalDocument)", start, re.IGNORECASE):
        return "text/html" if b"html" in start[:20].lower() else "application/xml"
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return "application/octet-stream"
    return "application/octet-stream" if re.search("[\0-\x08\x0e-\x1f]", text) else "text/plain"


def embedded(pieces: Sequence[str]) -> bytes:
    """The document in the values of OBX-5, which may be cut into several: `^AP^PDF^Base64^...`, `PDF^Base64^...`, and further
    pieces with or without the words before the data.  Raises ValueError, worded without the value.
    """
    encoding, parts = "", list[str]()
    for piece in pieces:
        found = _encoding(piece)
        if found is None and not encoding:
            raise ValueError("is no embedded document (expected source^type^subtype^Base64^data)")
        if found is not None:
            encoding, piece = found[2].lower(), piece[found.end() :]
        parts.append(piece)
    if encoding == "a":
        return "".join(parts).encode()
    contents = (
        [_decoded(part, encoding) for part in parts] if _are_whole(parts, encoding) else [_decoded("".join(parts), encoding)]
    )
    if sum(media_type(content[:1024]) in KNOWN_BY_BYTES for content in contents) > 1:
        raise ValueError("holds several documents where one belongs")
    return b"".join(contents)


def lines(values: Sequence[str]) -> bytes:
    """Lines of text as one document; the document itself where they are the base64 of one that its first bytes name."""
    compact = "".join("".join(values).split())
    if compact and len(compact) % 4 == 0 and _BASE64.fullmatch(compact):
        content = base64.b64decode(compact)
        if media_type(content) in KNOWN_BY_BYTES:
            return content
    return "\n".join(values).encode()


_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")


def _encoding(piece: str) -> re.Match[str] | None:
    """Where a piece names its encoding: between two separators, whichever they are; Base64 and Hex before the letter A."""
    found = [match for match in _ENCODED.finditer(piece[:_HEAD]) if match[1] in (None, match[3])]
    return next((match for match in found if match[2].lower() != "a"), found[-1] if found else None)


def _are_whole(parts: Sequence[str], encoding: str) -> bool:
    """True when each piece was encoded for itself: then pieces end in padding, or at a whole group of four characters."""
    return encoding == "base64" and all(len(_compact(part)) % 4 == 0 for part in parts)


def _compact(text: str) -> str:
    """Without blanks and ends of lines."""
    return "".join("".join(text[at : at + _PIECE].split()) for at in range(0, len(text), _PIECE))


def _decoded(text: str, encoding: str) -> bytes:
    text = _compact(text)
    try:
        if encoding == "hex":
            return bytes.fromhex(text)
        chunks = [text] if "=" not in text.rstrip("=") else _CHUNK.findall(text)
        chunks[-1:] = [chunk.rstrip("=") + "=" * (-len(chunk.rstrip("=")) % 4) for chunk in chunks[-1:]]
        pieces = (chunk[at : at + _PIECE] for chunk in chunks for at in range(0, len(chunk), _PIECE))
        return b"".join(base64.b64decode(piece, validate=True) for piece in pieces)
    except (ValueError, binascii.Error):
        raise ValueError("is no document: what it holds is not what its encoding says") from None
