"""The fields of a mail's header: any bytes give fields, none an exception; what is too much is cut off and said."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message as Headers
from email.utils import collapse_rfc2231_value, getaddresses, parsedate_to_datetime

LONGEST_HEADER = 128 * 1024
"""Bytes of a header that are looked at."""
LONGEST_FIELD = 16 * 1024
"""Characters of a field that are looked at."""
MOST_FIELDS = 500
"""Fields of a header that are looked at."""
MOST_ADDRESSES = 500
_LINE = re.compile(rb"\r\n|\n|\r(?!\n)")
_FIELD = re.compile(r"([!-9;-~]{1,80})[ \t]*:[ \t]*(.*)", re.DOTALL)
_BLANK = re.compile(rb"\r?\n\r?\n|\r\r")
_IDS = re.compile(r"<\s*([!-;=?-~]{1,250})\s*>")
_ADDRESS = re.compile(r"[^\s@<>,;:\\\"()\[\]\x00-\x1f\x7f]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?")
_CONTROL = dict.fromkeys((*range(9), *range(10, 32), 127), " ")


def is_address(text: str) -> bool:
    """True for an address that can be sent to: one `@`, ASCII, nothing that means something in a header or an envelope."""
    return text.isascii() and len(text) <= 254 and _ADDRESS.fullmatch(text) is not None and ".." not in text


@dataclass(frozen=True, slots=True)
class Address:
    """Somebody in a header."""

    address: str
    name: str = ""


@dataclass(slots=True)
class Fields:
    """A header: names in small letters, in their order."""

    all: list[tuple[str, str]] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)

    def raw(self, name: str) -> str:
        """The first field of this name, unfolded; empty when there is none."""
        return next((value for known, value in self.all if known == name), "")

    def text(self, name: str) -> str:
        """The same with its encoded words (RFC 2047) read, in one line."""
        return decoded(self.raw(name))

    def ids(self, name: str) -> list[str]:
        """The message ids of a field, without their brackets."""
        return _IDS.findall(self.raw(name))[:100]

    def addresses(self, name: str) -> list[Address]:
        """Who stands in the fields of this name."""
        found: list[Address] = []
        for value in (value for known, value in self.all if known == name):
            found += [Address(clean(address), decoded(label)) for label, address in _pairs(value) if "@" in address]
        return found[:MOST_ADDRESSES]

    def date(self, name: str) -> datetime | None:
        """The time a field says, with its zone; UTC when it says none."""
        try:
            found = parsedate_to_datetime(self.raw(name))
            found.utcoffset()
            return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
        except Exception:  # it is no date
            return None

    def parameter(self, name: str, parameter: str) -> str:
        """A parameter of a structured field, RFC 2231 read."""
        headers = Headers()
        headers["x"] = self.raw(name)
        try:
            found = headers.get_param(parameter, "", "x")
            return clean(decoded(collapse_rfc2231_value(found))) if found else ""
        except Exception:  # the library does not expect everything people write there
            return ""

    def value(self, name: str) -> str:
        """The value of a structured field without its parameters, in small letters."""
        return clean(self.raw(name).partition(";")[0]).lower()


def _pairs(value: str) -> list[tuple[str, str]]:
    try:
        return getaddresses([value])
    except Exception:  # whatever the library stumbles over, it is no address
        return []


def clean(text: str) -> str:
    """In one line, without control characters or halves of characters."""
    text = text.translate(_CONTROL).strip()
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def decoded(text: str) -> str:
    """A text with its encoded words read; as it stands when they are broken."""
    if "=?" not in text:
        return clean(text)
    try:
        parts = decode_header(text)
    except (HeaderParseError, ValueError):
        return clean(text)
    return clean("".join(part if isinstance(part, str) else in_charset(part, charset or "ascii") for part, charset in parts))


def in_charset(content: bytes, charset: str) -> str:
    """Text in the charset it says, else UTF-8, else Latin-1: never an error."""
    for name in (charset if charset.lower().startswith(_CHARSETS) else "utf-8", "utf-8"):
        try:
            return content.decode(name)
        except (LookupError, ValueError):
            continue
    return content.decode("latin-1")


_CHARSETS = ("utf", "us-ascii", "ascii", "iso", "latin", "windows", "cp", "koi8", "big5", "gb", "euc", "shift", "mac", "ks_c")
"""How the names of charsets begin that mail is written in; Python has codecs that are none (punycode)."""


def header_end(body: bytes, start: int, end: int) -> tuple[int, int]:
    """Where the header that begins here ends, and where what follows it begins."""
    if body[start : start + 1] == b"\n" or body[start : start + 2] == b"\r\n":
        return start, start + (1 if body[start : start + 1] == b"\n" else 2)
    found = _BLANK.search(body, start, min(end, start + LONGEST_HEADER))
    if found is not None:
        return found.start(), found.end()
    return min(end, start + LONGEST_HEADER), min(end, start + LONGEST_HEADER)


def read_fields(header: bytes) -> Fields:
    """The fields of a header, or of a part that is made like one.  Total."""
    fields = Fields()
    for line in _unfolded(header):
        if len(fields.all) >= MOST_FIELDS:
            fields.findings.append(f"its header has more than {MOST_FIELDS} fields")
            break
        found = _FIELD.fullmatch(line[: LONGEST_FIELD + 100])
        if found is None:
            if line.strip() and not line.startswith("From "):
                fields.findings.append("its header has lines that are no fields")
            continue
        if len(line) > LONGEST_FIELD:
            fields.findings.append("its header has fields that are too long")
        fields.all.append((found[1].lower(), found[2][:LONGEST_FIELD].rstrip()))
    fields.findings = list(dict.fromkeys(fields.findings))
    return fields


def _unfolded(header: bytes) -> Iterator[str]:
    """The lines of a header with those joined that belong together."""
    begun: list[str] = []
    for line in _LINE.split(header[:LONGEST_HEADER]):
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            text = line.decode("latin-1")
        if text[:1] in (" ", "\t") and begun:
            begun.append(text.replace("\t", " ", 1))
        else:
            if begun:
                yield "".join(begun)
            begun = [text]
    if begun:
        yield "".join(begun)
