"""Which characters the bytes are: MSH-18 (HL7 table 0211) and what to do when it is absent or wrong.

The ladder: the connection's setting; MSH-18, first repetition; UTF-8; Windows-1252; ISO 8859-1, which can read any byte.
Each is strict, so what was decoded can always be encoded to the same bytes again.
"""

from __future__ import annotations

import codecs

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


def name(encoding: str) -> str:
    """The name people know: `UTF-8`, `ISO-8859-1`, `windows-1252`."""
    return _NAMES.get(encoding, encoding.upper().replace("_", "-"))


def python_encoding(charset: str) -> str | None:
    """Python's name for a charset of table 0211 or of a clinic file; None when unknown."""
    known = TABLE_0211.get(charset.strip().upper())
    if known:
        return known
    try:
        return codecs.lookup(charset.strip()).name
    except LookupError:
        return None


def declared(raw: bytes) -> str:
    """MSH-18, first repetition, read from the bytes; empty when there is none."""
    if raw[:3] != b"MSH" or len(raw) < 9:
        return ""
    fields = raw[: _line_end(raw)].split(raw[3:4], 18)
    if len(fields) < 18:
        return ""
    repetition = fields[1][1:2] or b"~"
    return fields[17].split(repetition)[0].decode("latin-1").strip()


def _line_end(raw: bytes) -> int:
    ends = [end for end in (raw.find(b"\r"), raw.find(b"\n")) if end >= 0]
    return min(ends, default=len(raw))


def decode(raw: bytes, charset: str | None = None) -> tuple[str, str, str]:
    """The text, the encoding used, and a finding (empty when all was as declared)."""
    msh18 = declared(raw)
    wanted = charset or msh18
    first = python_encoding(wanted) if wanted else None
    finding = "" if first or not wanted else f"the charset {wanted[:40]!r} is unknown"
    for encoding in (first, "utf-8", "cp1252"):
        if encoding is None or encoding.startswith(("utf-16", "utf-32", "utf_16", "utf_32")):
            continue
        try:
            text = raw.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            finding = finding or (f"the bytes are not {name(encoding)}, as declared" if encoding == first else "")
            continue
        return text, encoding, finding
    return raw.decode("latin-1"), "iso-8859-1", finding
