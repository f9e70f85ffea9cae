"""From bytes to segments: where the message begins and ends, its separators, charset, and the lines it is made of.

Nearly all messages begin with MSH, end each segment with CR and are in a charset that writes every character in one way; they
are taken apart quickly.  Everything else goes the long way, which gives the same for those too (tests/hub/formats/hl7v2).
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from hub.errors import MessageUnusable
from hub.formats.hl7v2 import charsets
from hub.formats.hl7v2.escapes import Separators

LINE_END = re.compile(r"(\r\n|\r|\n)")
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n|\Z)")
_BLANK = " \t\x00\x0b\x1c"
_KNOWN_HEADS = 1000
"""Beginnings of segments that are remembered for each field separator."""


class Lines(NamedTuple):
    """A message taken apart."""

    lead: bytes
    """Bytes before MSH."""
    tail: bytes
    """Bytes after the message."""
    separators: Separators
    encoding: str
    finding: str
    """What is wrong with the charset; empty when all is as declared."""
    texts: list[str]
    """Segments as they stand, with continuation lines."""
    ids: list[str]
    """Their names, in capitals."""
    ends: list[str] | None
    """Their line ends; None when it is CR for all but the last."""
    end: str
    """The line end of the last one."""
    raws: list[bytes | None] | None
    """Their bytes as they came, where the charset would not write the text back the same."""
    header: list[str] | None
    """The fields of the first one, when they are known already."""


def read(raw: bytes, charset: str | None) -> Lines:
    """Raises MessageUnusable when there is no MSH with its separators."""
    return quickly(raw, charset) or in_full(raw, charset)


class _Heads(dict[str, str]):
    """The first four characters of a line -> the name of the segment they begin; KeyError when they begin none."""

    def __init__(self, separator: str) -> None:
        super().__init__()
        self._separator = separator

    def __missing__(self, head: str) -> str:
        if not is_segment(head, self._separator):
            raise KeyError
        name = head[:3].upper()
        if len(self) < _KNOWN_HEADS:
            self[head] = name
        return name


_heads = lru_cache(maxsize=64)(_Heads)


def quickly(raw: bytes, charset: str | None) -> Lines | None:
    """The message, or None when it has anything unusual."""
    end = raw.find(b"\r")
    head = raw[:end]
    if end < 8 or head[:3] != b"MSH" or not head.isascii() or b"\n" in raw or b"\x1c" in raw:
        return None
    separator = chr(head[3])
    header = head.decode("ascii").split(separator)
    wanted = charset or (header[17].split(header[1][1:2] or "~")[0].strip() if len(header) > 17 else "")
    encoding = charsets.python_encoding(wanted) if wanted else "utf-8"
    if encoding not in charsets.PLAIN or separator.isalnum():
        return None
    try:
        texts = raw.decode(encoding).split("\r")
        last = "" if texts[-1] else "\r"
        if last:
            texts.pop()
        heads = _heads(separator)
        ids = [heads[text[:4]] for text in texts]
    except (UnicodeError, KeyError):
        return None
    return Lines(b"", b"", separators_of(separator, header[1][:5]), encoding, "", texts, ids, None, last, None, header)


def in_full(raw: bytes, charset: str | None) -> Lines:
    """The message, whatever it looks like."""
    start, stop = _start_of_header(raw), end_of_message(raw)
    body = raw[start:stop]
    text, encoding, finding = charsets.decode(body, charset)
    separators = _separators(text)
    found = _split_segments(text, separators.field)
    texts, ends = [segment for segment, _ in found], [end for _, end in found]
    raws = None if charsets.writes_back(text, encoding, body) else _bytes_of(found, body)
    ids = [segment[:3].upper() for segment in texts]
    return Lines(raw[:start], raw[stop:], separators, encoding, finding, texts, ids, ends, ends[-1], raws, None)


def _start_of_header(raw: bytes) -> int:
    """Where MSH begins, behind a byte order mark, blanks, or a stray start-of-block byte."""
    start = 3 if raw.startswith(b"\xef\xbb\xbf") else 0
    while raw[start : start + 1] in (b" ", b"\t", b"\r", b"\n", b"\x0b", b"\x00"):
        start += 1
        if start > 4096:
            break
    if raw[start : start + 3].upper() != b"MSH":
        raise MessageUnusable("it does not begin with an MSH segment, so it is no HL7 v2 message", code="HL7-100")
    return start


def end_of_message(raw: bytes) -> int:
    """Where the end of a frame (1C) begins that a message from a file may still carry."""
    end = len(raw.rstrip(b" \t\r\n\x0b\x1c\x00"))
    frame_end = raw.find(b"\x1c", end)
    return frame_end if frame_end >= 0 else len(raw)


def _separators(text: str) -> Separators:
    field = text[3:4]
    if not field or field.isalnum() or field in "\r\n":
        raise MessageUnusable("MSH-1, the field separator, is missing or a letter", code="HL7-101")
    return separators_of(field, re.split(f"[{re.escape(field)}\r\n]", text[4:64], maxsplit=1)[0][:5])


@lru_cache(maxsize=256)
def separators_of(field: str, encoding_characters: str) -> Separators:
    """MSH-1 and MSH-2; what MSH-2 leaves out is as usual."""
    default = Separators(field)
    return Separators(
        field,
        encoding_characters[0:1] or default.component,
        encoding_characters[1:2] or default.repetition,
        encoding_characters[2:3] or default.escape,
        encoding_characters[3:4] or default.subcomponent,
        encoding_characters[4:5],
    )


def is_segment(line: str, separator: str) -> bool:
    """True when a line begins a segment; otherwise it belongs to the value before it."""
    name = line[:3]
    return len(name) == 3 and name.isascii() and name[0].isalpha() and name.isalnum() and line[3:4] in ("", separator)


def _lines(text: str) -> list[tuple[str, str]]:
    """Lines with their ends."""
    if "\n" in text:
        parts = LINE_END.split(text)
        return list(zip(parts[0::2], [*parts[1::2], ""], strict=True))
    lines = text.split("\r")
    return [*((line, "\r") for line in lines[:-1]), (lines[-1], "")]


def _split_segments(text: str, separator: str) -> list[tuple[str, str]]:
    """Segments with their ends.  A line that begins no segment belongs to the value before it, that was broken over lines;
    blank lines only lengthen the line end.
    """
    segments: list[tuple[str, str]] = []
    start = stop = at = 0
    for line, end in _lines(text):
        if is_segment(line, separator):
            if at:
                segments.append((text[start:stop], text[stop:at]))
            start, stop = at, at + len(line)
        elif line.strip(_BLANK):
            stop = at + len(line)
        at += len(line) + len(end)
    segments.append((text[start:stop], text[stop:at]))
    return segments


def _bytes_of(segments: list[tuple[str, str]], body: bytes) -> list[bytes | None]:
    """The bytes of every segment: charsets have no way of their own with line ends, so lines are found in bytes."""
    lines = _LINE.finditer(body)
    counts = (len(LINE_END.findall(text + end)) + (not end) for text, end in segments)
    found = [b"".join(line[0] for line in islice(lines, count)) for count in counts]
    found[-1] += b"".join(line[0] for line in lines)  # a line without an end that is part of the last line end: blanks
    return [*found]
