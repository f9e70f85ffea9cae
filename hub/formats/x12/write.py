"""Interchanges to send: envelopes with right counts and control numbers, and no separator inside of anything.

Texts go through `clean` first, which takes separators out; what holds one all the same is refused, never sent.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from hub.errors import MessageUnusable
from hub.formats.x12.envelope import FUNCTIONAL_IDS, VERSIONS
from hub.formats.x12.tokens import Delimiters

DEFAULT = Delimiters()
MOST_CONTROL = 999_999_999
"""The highest control number of nine digits."""
Element = str | Sequence[str] | tuple[str, ...]
"""A text; a list of repetitions; a tuple of components."""
Line = Sequence[Element]
"""A segment: its id, then its elements."""
_WITHOUT_ACCENT = str.maketrans(
    {"Æ": "AE", "Œ": "OE", "Ø": "O", "Ł": "L", "Đ": "D", "Ð": "D", "Þ": "TH", "Ħ": "H", "Ŧ": "T", "Ŋ": "N", "ẞ": "SS"}
)
"""Letters that are no Latin letter with an accent, but are written as one in passports."""
_NOT_PLAIN = re.compile(r"[^ -~]|[*:^~]")


@dataclass(frozen=True, slots=True)
class Parties:
    """Who sends, who receives, and whether it counts."""

    sender: str
    receiver: str
    usage: str
    """ISA15: T or P."""
    sender_qualifier: str = "ZZ"
    receiver_qualifier: str = "ZZ"
    group_sender: str = ""
    """GS02; as ISA06 when empty."""
    group_receiver: str = ""
    """GS03; as ISA08 when empty."""
    delimiters: Delimiters = DEFAULT


def clean(text: str | None, most: int, delimiters: Delimiters = DEFAULT) -> str:
    """Capitals of the basic character set, accents taken off, no separators: what every payer's reader accepts."""
    letters = unicodedata.normalize("NFKD", (text or "").upper().translate(_WITHOUT_ACCENT))
    plain = _NOT_PLAIN.sub(" ", letters.encode("ascii", "ignore").decode().upper())
    if delimiters is not DEFAULT:
        plain = plain.translate({ord(separator): " " for separator in delimiters if separator})
    return " ".join(plain.split())[:most].rstrip()


def transaction(kind: str, number: str, body: Sequence[Line]) -> list[Line]:
    """ST to SE with the right count."""
    return [["ST", kind, number, VERSIONS[kind][0]], *body, ["SE", str(len(body) + 2), number]]


def interchange(
    parties: Parties,
    *,
    control_number: int,
    now: datetime,
    groups: Sequence[tuple[str, Sequence[Sequence[Line]]]] = (),
    before: Sequence[Line] = (),
    code: str = "X12-WRITE",
) -> bytes:
    """ISA to IEA around groups, each a kind of transaction set and its transactions; `before` stands ahead of the groups (TA1).

    `control_number` (1 to 999,999,999) becomes ISA13; the groups are numbered from it on.  `now` is the time of the sender's
    place.  Raises MessageUnusable with `code` when something holds a separator.
    """
    if not 1 <= control_number <= MOST_CONTROL:
        raise MessageUnusable("the interchange control number must have one to nine digits", code=code)
    number = f"{control_number:09d}"
    lines: list[Line] = [*before]
    for offset, (kind, transactions) in enumerate(groups):
        group = str((control_number + offset - 1) % MOST_CONTROL + 1)
        lines.append(_gs(parties, kind, group, now))
        lines += [line for one in transactions for line in one]
        lines.append(["GE", str(len(transactions)), group])
    lines.append(["IEA", str(len(groups)), number])
    return (_isa(parties, number, now) + "".join(_segment(line, parties.delimiters, code) for line in lines)).encode("ascii")


def _gs(parties: Parties, kind: str, number: str, now: datetime) -> Line:
    sender = clean(parties.group_sender or parties.sender, 15, parties.delimiters)
    receiver = clean(parties.group_receiver or parties.receiver, 15, parties.delimiters)
    day, hour = now.strftime("%Y%m%d"), now.strftime("%H%M")
    return ["GS", FUNCTIONAL_IDS[kind], sender, receiver, day, hour, number, "X", VERSIONS[kind][0]]


def _isa(parties: Parties, number: str, now: datetime) -> str:
    separators = parties.delimiters
    sender, receiver = clean(parties.sender, 15, separators), clean(parties.receiver, 15, separators)
    elements = [
        *["ISA", "00", " " * 10, "00", " " * 10],
        *[parties.sender_qualifier, f"{sender:<15}", parties.receiver_qualifier, f"{receiver:<15}"],
        *[now.strftime("%y%m%d"), now.strftime("%H%M"), separators.repetition or "^", "00501", number, "0", parties.usage],
    ]
    return separators.element.join(elements) + separators.element + separators.component + separators.segment


def _segment(line: Line, separators: Delimiters, code: str) -> str:
    elements = [_element(element, separators, line[0], code) for element in line]
    while not elements[-1]:
        elements.pop()
    return separators.element.join(elements) + separators.segment


def _element(element: Element, separators: Delimiters, id: Element, code: str) -> str:
    if isinstance(element, tuple):
        parts = [_element(part, separators, id, code) for part in element]
        while parts and not parts[-1]:
            parts.pop()
        return separators.component.join(parts)
    if not isinstance(element, str):
        return separators.repetition.join(_element(part, separators, id, code) for part in element)
    if not element.isascii() or not element.isprintable() or any(s and s in element for s in separators):
        raise MessageUnusable(f"a value of {id} holds a separator, or a character X12 has not", code=code)
    return element
