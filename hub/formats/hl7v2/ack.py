"""Acknowledgements (chapter 2, section 2.9): made for what comes in, read from what comes back."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from hub.errors import MessageUnusable
from hub.formats.hl7v2.escapes import Separators, escape
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
    separators = request.separators
    msh = request.fields_of(0)

    def field(number: int) -> str:
        return _first_line(msh[number - 1]) if number <= len(msh) else ""

    version = (request.part(field(12), 1) or "2.3").strip()
    trigger = escape(request.part(field(9), 2), separators)
    c = separators.component
    kind = "ACK" if not trigger else f"ACK{c}{trigger}" + (f"{c}ACK" if _at_least(version, "2.5") else "")
    header = ["MSH", field(2), field(5), field(6), field(3), field(4)]
    header += [_timestamp(now), "", kind, new_id(), field(11) or "P", field(12) or version]
    if field(18):
        header += ["", "", "", "", "", field(18)]
    msa = ["MSA", code, field(10)]
    if fault and fault.text and not _at_least(version, "2.7"):
        msa.append(escape(fault.text, separators))
    lines = [separators.field.join(header), separators.field.join(msa)]
    if fault:
        lines.append(_err(fault, version, separators))
    return ("\r".join(lines) + "\r").encode(request.encoding, errors="replace")


def _first_line(field: str) -> str:
    """A field without what was broken onto further lines: echoed, that would break the acknowledgement over lines too."""
    return LINE_END.split(field, maxsplit=1)[0] if "\r" in field or "\n" in field else field


def _timestamp(now: datetime | None) -> str:
    return f"{now:%Y%m%d%H%M%S%z}" if now is not None else _local(int(time.time()))


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
