"""Acknowledgements (chapter 2, section 2.9): made for what comes in, read from what comes back."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from hub.errors import MessageUnusable
from hub.formats.hl7v2.escapes import Separators, escape, unescape
from hub.formats.hl7v2.lines import LINE_END
from hub.formats.hl7v2.message import Hl7
from hub.message import new_id

TABLE_0357 = {
    "0": "Message accepted",
    "100": "Segment sequence error",
    "101": "Required field missing",
    "102": "Data type error",
    "103": "Table value not found",
    "200": "Unsupported message type",
    "201": "Unsupported event code",
    "202": "Unsupported processing id",
    "203": "Unsupported version id",
    "204": "Unknown key identifier",
    "205": "Duplicate key identifier",
    "206": "Application record locked",
    "207": "Application internal error",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a message is answered negatively, for the ERR segment.  The text holds no patient data."""

    code: str
    """HL7 table 0357."""
    location: str = ""
    """Segment and field: `MSH-10`."""
    text: str = ""


def acknowledge(request: Hl7, code: str, fault: Fault | None = None, *, now: datetime | None = None) -> bytes:
    """The acknowledgement of a message: AA, AE, AR (original mode) or CA, CE, CR (enhanced mode).

    Separators, version, processing id and charset are the sender's; its address and ours are swapped whole.
    """
    separators, msh = request.separators, request.fields_of(0)
    if len(msh) < _COUNT:
        msh = [*msh, *[""] * (_COUNT - len(msh))]
    about = (*msh[1:6], msh[8], msh[10], msh[11], msh[17])
    make = _around if len(request.text_of(0)) <= _REMEMBERED_SIZE else _around.__wrapped__
    start, middle, end, version = make(separators, request.encoding, about)
    text = f"{start}{_timestamp(now)}{middle}{new_id()}{end}{code}{separators.field}{_echo(msh[9], separators)}"
    if fault is not None:
        if fault.text and not _at_least(version, "2.7"):
            text += separators.field + escape(fault.text, separators)
        text += f"\r{_err(fault, version, separators)}"
    return f"{text}\r".encode(request.encoding, errors="replace")


_COUNT = 18
"""Fields of an MSH up to MSH-18, with its name."""
_REMEMBERED_SIZE = 1000
"""Characters of the longest MSH whose answers' words are remembered: a sender's are the same in all its messages."""


@lru_cache(maxsize=256)
def _around(separators: Separators, encoding: str, about: tuple[str, ...]) -> tuple[str, str, str, str]:
    """What stands before, between and behind time and control id of an acknowledgement, up to MSA-1; and the version."""
    f, c = separators.field, separators.component
    application, facility, to_application, to_facility = (_echo(field, separators) for field in about[1:5])
    type, processing_id, written_version, charset = (_echo(field, separators) for field in about[5:])
    version = (_part(written_version, 1, separators, encoding) or "2.3").strip()
    trigger = escape(_part(type, 2, separators, encoding), separators)
    kind = "ACK" if not trigger else f"ACK{c}{trigger}" + (f"{c}ACK" if _at_least(version, "2.5") else "")
    start = f.join(["MSH", _first_line(about[0]), to_application, to_facility, application, facility, ""])
    tail = [processing_id or "P", written_version or version]
    if charset:
        tail += ["", "", "", "", "", charset]
    return start, f.join(["", "", kind, ""]), f.join(["", *tail]) + f"\rMSA{f}", version


def _part(field: str, number: int, separators: Separators, encoding: str) -> str:
    """A component, unescaped."""
    parts = field.split(separators.component, number)
    return unescape(parts[number - 1], separators, encoding) if number <= len(parts) else ""


def _first_line(field: str) -> str:
    """A field without what was broken onto further lines: echoed, that would break the acknowledgement over lines too."""
    return LINE_END.split(field, maxsplit=1)[0] if "\r" in field or "\n" in field else field


def _echo(field: str, separators: Separators) -> str:
    """A field as it may stand in the acknowledgement: frame bytes of MLLP, which no payload may hold, as escape sequences."""
    field = _first_line(field)
    if "\x0b" in field or "\x1c" in field:
        e = separators.escape
        field = field.replace("\x0b", e and f"{e}X0B{e}").replace("\x1c", e and f"{e}X1C{e}")
    return field


def _timestamp(now: datetime | None) -> str:
    return f"{now:%Y%m%d%H%M%S%z}" if now is not None else local_time()


def local_time() -> str:
    """Now, with its offset, as the clock of this machine shows it."""
    return _local(int(time.time()))


@lru_cache(maxsize=4)
def _local(second: int) -> str:
    """A moment, in seconds since 1970, as the clock of this machine shows it."""
    return f"{datetime.fromtimestamp(second, UTC).astimezone():%Y%m%d%H%M%S%z}"


@lru_cache(maxsize=256)
def _at_least(version: str, wanted: str) -> bool:
    def numbers(text: str) -> list[int]:
        return [int(part) if re.fullmatch("[0-9]{1,3}", part) else 0 for part in text.split(".")]

    return numbers(version) >= numbers(wanted)


def _err(fault: Fault, version: str, separators: Separators) -> str:
    """ERR by version: one coded field to 2.4, ERR-2 to ERR-8 from 2.5."""
    f, c, s = separators.field, separators.component, separators.subcomponent
    segment, _, number = fault.location.partition("-")
    words = TABLE_0357.get(fault.code, "")
    if not _at_least(version, "2.5"):
        return f"ERR{f}{segment}{c}1{c}{number}{c}{fault.code}{s}{words}{s}HL70357"
    location = f"{segment}{c}1{c}{number}" if segment else ""
    return f.join(["ERR", "", location, f"{fault.code}{c}{words}{c}HL70357", "E", "", "", "", escape(fault.text, separators)])


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What a partner answered."""

    code: str
    """MSA-1."""
    control_id: str
    """MSA-2: the MSH-10 of the message it answers."""
    text: str = ""
    """Its error codes of table 0357.  Nothing else a partner writes is told: it may hold patient data."""


def read_acknowledgement(frame: bytes) -> Acknowledgement:
    """Raises MessageUnusable when the frame is no acknowledgement."""
    return _read_quickly(frame) or _read(frame)


_PLAIN = re.compile(rb"MSH\|\^~\\&\|([^\x00-\x1f]*)\rMSA\|([AC][AER])\|([A-Za-z0-9._-]+)(?:\|[^\x00-\x1f]*)?\r?")
"""Two segments with the usual separators, and nothing to unescape in what counts."""
_ASCII_OR_MORE = frozenset({b"", b"ASCII", b"8859/1", b"UNICODE UTF-8", b"UTF-8"})
"""Charsets (MSH-18) in which ASCII bytes are ASCII."""


def _read_quickly(frame: bytes) -> Acknowledgement | None:
    """The usual answer, MSH and MSA in plain ASCII; None when it takes more to read it.  Gives the same as `_read`."""
    found = _PLAIN.fullmatch(frame) if frame.isascii() else None
    if found is None:
        return None
    header = found[1]
    if header.count(b"|") >= 15 and header.split(b"|", 16)[15] not in _ASCII_OR_MORE:
        return None
    return Acknowledgement(found[2].decode(), found[3].decode())


def _read(frame: bytes) -> Acknowledgement:
    message = Hl7(frame)
    code = message.get("MSA-1")
    if not code:
        raise MessageUnusable("the answer has no MSA-1, so it is no acknowledgement", code="HL7-110")
    errors = message.get_all("ERR[*]-3.1.1") or message.get_all("ERR[*]-1.4.1")
    errors = [error for error in errors if error.isdecimal() and len(error) <= 5]
    known = [error for error in errors if error in TABLE_0357]
    return Acknowledgement(code.strip().upper(), message.get("MSA-2") or "", " ".join(known)[:80])
