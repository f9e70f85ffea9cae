"""Which characters the bytes are: MSH-18 (HL7 table 0211) and what to do when it is absent or wrong.

The ladder: the connection's setting; MSH-18, first repetition; UTF-8; Windows-1252; ISO 8859-1, which can read any byte.
Each is strict.  Only charsets that contain ASCII count: in any other (UTF-16, EBCDIC) separators and line ends are no bytes.
"""

from __future__ import annotations

import codecs
import re
from encodings import aliases, normalize_encoding
from functools import lru_cache

TABLE_0211: dict[str, str] = {
    "ASCII": "ascii",
    "8859/1": "iso-8859-1",
    "8859/2": "iso-8859-2",
    "8859/3": "iso-8859-3",
    "8859/4": "iso-8859-4",
    "8859/5": "iso-8859-5",
    "8859/6": "iso-8859-6",
    "8859/7": "iso-8859-7",
    "8859/8": "iso-8859-8",
    "8859/9": "iso-8859-9",
    "8859/15": "iso-8859-15",
    "UNICODE": "utf-8",
    "UNICODE UTF-8": "utf-8",
    "UTF-8": "utf-8",
    "UTF8": "utf-8",
    "ISO IR6": "ascii",
    "ISO IR14": "shift_jis",
    "ISO IR87": "iso2022_jp",
    "ISO IR159": "iso2022_jp_1",
    "GB 18030-2000": "gb18030",
    "KS X 1001": "euc_kr",
    "CNS 11643-1992": "big5",
    "BIG-5": "big5",
}

_NAMES = {"utf-8": "UTF-8", "ascii": "ASCII", "cp1252": "windows-1252"}
_KNOWN = frozenset({*aliases.aliases, *aliases.aliases.values()})
"""What Python knows by name; a name in a message must never make it look for, and remember, another."""
PLAIN = frozenset({"ascii", "utf-8", "iso-8859-1", "cp1252"})
"""Charsets that write each character in one way only."""
_ASCII = bytes((0x09, 0x0A, 0x0D, *range(0x20, 0x7F)))


def name(encoding: str) -> str:
    """The name people know: `UTF-8`, `ISO-8859-1`, `windows-1252`."""
    return _NAMES.get(encoding, encoding.upper().replace("_", "-"))


@lru_cache(maxsize=256)
def python_encoding(charset: str) -> str | None:
    """Python's name for a charset of table 0211 or of a clinic file; None when unknown, or unfit for HL7 v2."""
    known = TABLE_0211.get(charset.strip().upper())
    if known:
        return known
    word = normalize_encoding(charset.strip()[:40]).lower()
    if word not in _KNOWN:
        return None
    try:
        found = codecs.lookup(word).name
        return found if _ASCII.decode(found) == _ASCII.decode("ascii") else None
    except (UnicodeError, LookupError):
        return None


def declared(raw: bytes) -> str:
    """MSH-18, first repetition, read from the bytes; empty when there is none."""
    if raw[:3].upper() != b"MSH" or len(raw) < 9:
        return ""
    fields = raw[: _line_end(raw)].split(raw[3:4], 18)
    if len(fields) < 18:
        return ""
    repetition = fields[1][1:2] or b"~"
    return fields[17].split(repetition)[0].decode("latin-1").strip()


def _line_end(raw: bytes) -> int:
    found = re.search(rb"[\r\n]", raw)
    return found.start() if found else len(raw)


def decode(raw: bytes, charset: str | None = None) -> tuple[str, str, str]:
    """The text, the encoding used, and a finding (empty when all was as declared)."""
    finding = ""
    for source, wanted in (("the connection's charset", charset), ("MSH-18", declared(raw))):
        if not wanted:
            continue
        encoding = python_encoding(wanted)
        if encoding is None:
            finding = finding or f"{source} names a charset that is unknown, or unfit for HL7 v2"
        elif (text := _decoded(raw, encoding)) is not None:
            return text, encoding, finding
        else:
            finding = finding or f"the bytes are not {name(encoding)}, as {source} says"
    for encoding in ("utf-8", "cp1252"):
        if (text := _decoded(raw, encoding)) is not None:
            return text, encoding, finding
    return raw.decode("latin-1"), "iso-8859-1", finding


def _decoded(raw: bytes, encoding: str) -> str | None:
    """None when the bytes are of another charset: they cannot be read, or line ends would come or go."""
    try:
        text = raw.decode(encoding)
    except UnicodeError:
        return None
    if encoding in PLAIN or all(text.count(end) == raw.count(end.encode()) for end in "\r\n"):
        return text
    return None


def writes_back(text: str, encoding: str, raw: bytes) -> bool:
    """False when the charset has written something in one of several ways (ISO 2022 escapes, Big5 doubles) and would choose
    another.
    """
    if encoding in PLAIN:
        return True
    try:
        return text.encode(encoding) == raw
    except UnicodeError:
        return False


def spliced(raw: bytes, encoding: str, start: int, stop: int, text: str) -> bytes | None:
    """The bytes with other characters from `start` to `stop`, counted in characters; what is around them keeps its bytes.

    None where that cannot be: the charset has states, and what follows depends on what was before; or it has no such character.
    """
    decoder, count = codecs.getincrementaldecoder(encoding)(), 0
    first, last = 0 if start == 0 else len(raw), len(raw)
    for at in range(len(raw)):
        found = len(decoder.decode(raw[at : at + 1]))
        if not found:
            continue
        count += found
        if count == start:
            first = at + 1
        elif count == stop + 1:
            last = at
            break
    if start == stop:
        first = last  # behind what only changes the state
    try:
        made = raw[:first] + text.encode(encoding) + raw[last:]
    except UnicodeError:
        return None
    before = raw.decode(encoding)
    return made if _decoded(made, encoding) == before[:start] + text + before[stop:] else None
