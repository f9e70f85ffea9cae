r"""Escape sequences (HL7 v2 chapter 2, section 2.7): `\F\ \S\ \T\ \R\ \E\ \Xhh\ \.br\` and their kin.

Nothing is ever lost: a sequence nobody knows, or an escape character without its partner, stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple


class Separators(NamedTuple):
    """MSH-1 and MSH-2."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"
    truncation: str = ""
    """From version 2.7, where MSH-2 has five characters: what stands at the end of a value that was cut short."""


@lru_cache(maxsize=64)
def _pattern(escape: str) -> re.Pattern[str]:
    e = re.escape(escape)
    return re.compile(f"{e}([^{e}\r\n]*){e}" if escape != "]" else r"\]([^\]\r\n]*)\]")


def unescape(text: str, separators: Separators, encoding: str = "utf-8") -> str:
    """What a person reads."""
    escape = separators.escape
    if not escape or escape not in text:
        return text
    meanings = _meanings(separators)
    out: list[str] = []
    position = 0
    pattern = _pattern(escape)
    while match := pattern.search(text, position):
        replacement = _meaning(match[1], meanings, encoding)
        if replacement is None:
            # Not a sequence: the first escape character stays, and the second may begin one.
            out.append(text[position : match.start() + 1])
            position = match.start() + 1
            continue
        out.append(text[position : match.start()])
        out.append(replacement)
        position = match.end()
    out.append(text[position:])
    return "".join(out)


@lru_cache(maxsize=64)
def _meanings(separators: Separators) -> Mapping[str, str]:
    return {
        "F": separators.field,
        "S": separators.component,
        "T": separators.subcomponent,
        "R": separators.repetition,
        "E": separators.escape,
        **({"P": separators.truncation} if separators.truncation else {}),
        "H": "",
        "N": "",
        ".br": "\n",
        ".ce": "\n",
    }


def _meaning(code: str, meanings: Mapping[str, str], encoding: str) -> str | None:
    if code in meanings:
        return meanings[code]
    if code.startswith("X") and len(code) > 1:
        return _from_hex(code[1:], encoding)
    if re.fullmatch(r"\.sp ?\d{0,3}", code):
        return "\n" * max(1, int(code[3:].strip() or 1))
    if re.fullmatch(r"\.(in|ti|sk|fi|nf)[ +-]*\d{0,3}", code):
        return " " * int(re.sub(r"\D", "", code) or 1) if code.startswith(".sk") else ""
    return None


def _from_hex(digits: str, encoding: str) -> str | None:
    try:
        data = bytes.fromhex(digits)
    except ValueError:
        return None
    try:
        return data.decode(encoding)
    except (UnicodeDecodeError, LookupError):
        return data.decode("latin-1")


def escape(text: str, separators: Separators) -> str:
    """The text as it may stand inside a component: separators, line ends and ends of frames as escape sequences."""
    return text.translate(_in_component(separators)) if separators.escape else text


def escape_field(text: str, separators: Separators) -> str:
    """Text that brings its own components, as it may stand in a field: only what would end the field is escaped."""
    return text.translate(_in_field(separators)) if separators.escape else text


@lru_cache(maxsize=64)
def _in_component(separators: Separators) -> dict[int, str]:
    f, c, r, e, s, t = separators
    table = _ends(separators)
    for character, letter in ((t, "P"), (c, "S"), (r, "R"), (s, "T"), (f, "F"), (e, "E")):
        if character:
            table[ord(character)] = f"{e}{letter}{e}"
    return table


@lru_cache(maxsize=64)
def _in_field(separators: Separators) -> dict[int, str]:
    f, e = separators.field, separators.escape
    return _ends(separators) | {ord(f): f"{e}F{e}"}


def _ends(separators: Separators) -> dict[int, str]:
    """What would end a segment, or the frame around the message (MLLP: 0B and 1C)."""
    e = separators.escape
    line_end = "X0A" if "." in separators else ".br"
    return {ord("\r"): f"{e}X0D{e}", ord("\n"): f"{e}{line_end}{e}", 0x0B: f"{e}X0B{e}", 0x1C: f"{e}X1C{e}"}
