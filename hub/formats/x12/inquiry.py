"""Building a 270 (005010X279A1): one patient, one payer, the service types to ask for."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from hub.errors import MessageUnusable

_RELATIONSHIP = {"spouse": "01", "child": "19", "other": "34", "dependent": "34"}
_WITHOUT_ACCENT = str.maketrans(
    {"Æ": "AE", "Œ": "OE", "Ø": "O", "Ł": "L", "Đ": "D", "Ð": "D", "Þ": "TH", "Ħ": "H", "Ŧ": "T", "Ŋ": "N", "ẞ": "SS"}
)
"""Letters that are no Latin letter with an accent, but are written as one in passports."""
_NOT_PLAIN = re.compile(r"[^ -~]|[*:^~]")
_SERVICE_TYPE = re.compile(r"[A-Z0-9]{1,2}")


@dataclass(frozen=True, slots=True)
class PersonNamed:
    """A person as on the insurance card."""

    family: str | None = None
    given: str | None = None
    middle: str | None = None
    suffix: str | None = None
    birth_date: date | None = None
    sex: str | None = None


@dataclass(frozen=True, slots=True)
class Inquiry:
    """Everything one real-time 270 says."""

    sender: str
    receiver: str
    usage: str
    """ISA15: T or P."""
    payer_name: str
    payer_id: str
    provider_name: str
    provider_npi: str
    member_id: str | None
    subscriber: PersonNamed
    service_date: date
    service_types: Sequence[str]
    patient: PersonNamed | None = None
    """The patient, when that is a dependent."""
    relationship: str = "self"
    group: str | None = None
    sender_qualifier: str = "ZZ"
    receiver_qualifier: str = "ZZ"


def clean(text: str | None, most: int) -> str:
    """Capitals of the basic character set, accents taken off, no separators: what every payer's reader accepts."""
    letters = unicodedata.normalize("NFKD", (text or "").upper().translate(_WITHOUT_ACCENT))
    plain = _NOT_PLAIN.sub(" ", letters.encode("ascii", "ignore").decode().upper())
    return " ".join(plain.split())[:most].rstrip()


def build_270(inquiry: Inquiry, *, control_number: int, trace: str, now: datetime) -> bytes:
    """One interchange with one 270.

    `control_number` (1 to 999,999,999) becomes ISA13, GS06 and ST02; `trace` becomes BHT03 and TRN02 and comes back in the
    answer.  Raises MessageUnusable when something a 270 cannot do without is missing.
    """
    _require(inquiry, control_number)
    body = [
        ["BHT", "0022", "13", clean(trace, 50), now.strftime("%Y%m%d"), now.strftime("%H%M")],
        ["HL", "1", "", "20", "1"],
        ["NM1", "PR", "2", clean(inquiry.payer_name, 60), "", "", "", "", "PI", clean(inquiry.payer_id, 80)],
        ["HL", "2", "1", "21", "1"],
        ["NM1", "1P", "2", clean(inquiry.provider_name, 60), "", "", "", "", "XX", clean(inquiry.provider_npi, 80)],
        *_patient_loops(inquiry, trace),
    ]
    number = f"{control_number:09d}"
    set_number = f"{control_number:04d}"
    transaction = [["ST", "270", set_number, "005010X279A1"], *body]
    transaction.append(["SE", str(len(transaction) + 1), set_number])
    group = ["GS", "HS", clean(inquiry.sender, 15), clean(inquiry.receiver, 15), now.strftime("%Y%m%d"), now.strftime("%H%M")]
    segments = [
        _isa(inquiry, number, now),
        [*group, str(control_number), "X", "005010X279A1"],
        *transaction,
        ["GE", "1", str(control_number)],
        ["IEA", "1", number],
    ]
    return "".join(
        "*".join(segment).rstrip("*") + "~" if segment[0] != "ISA" else "*".join(segment) + "~" for segment in segments
    ).encode()


def _require(inquiry: Inquiry, control_number: int) -> None:
    if not 1 <= control_number <= 999_999_999:
        raise MessageUnusable("the interchange control number must have one to nine digits", code="X12-270")
    subscriber, dependent = inquiry.subscriber, inquiry.patient
    known = clean(inquiry.member_id, 80) or (clean(subscriber.family, 60) and subscriber.birth_date)
    types = [clean(code, 3) for code in inquiry.service_types]
    needed = {
        "the clinic's id as the sender": clean(inquiry.sender, 15),
        "the clearinghouse's id as the receiver": clean(inquiry.receiver, 15),
        "the usage, T or P": inquiry.usage in ("T", "P"),
        "the payer's id": clean(inquiry.payer_id, 80),
        "the clinic's NPI": clean(inquiry.provider_npi, 80),
        "the member id, or name and birth date": known,
        "the dependent's name": dependent is None or clean(dependent.family, 60),
        "a service type of one or two characters": types and all(_SERVICE_TYPE.fullmatch(code) for code in types),
    }
    if missing := [words for words, value in needed.items() if not value]:
        raise MessageUnusable(f"a 270 cannot be built without {', '.join(missing)}", code="X12-270")


def _isa(inquiry: Inquiry, number: str, now: datetime) -> list[str]:
    return [
        "ISA",
        "00",
        " " * 10,
        "00",
        " " * 10,
        inquiry.sender_qualifier,
        f"{clean(inquiry.sender, 15):<15}",
        inquiry.receiver_qualifier,
        f"{clean(inquiry.receiver, 15):<15}",
        now.strftime("%y%m%d"),
        now.strftime("%H%M"),
        "^",
        "00501",
        number,
        "0",
        inquiry.usage,
        ":",
    ]


def _patient_loops(inquiry: Inquiry, trace: str) -> list[list[str]]:
    dependent = inquiry.patient
    ours = ["TRN", "1", clean(trace, 50), f"9{clean(inquiry.provider_npi, 9)}"]
    subscriber = _name("IL", inquiry.subscriber, inquiry.member_id)
    loops: list[list[str]] = [["HL", "3", "2", "22", "1" if dependent else "0"]]
    if dependent is None:
        loops += [ours, subscriber, *_group(inquiry), *_demographics(inquiry.subscriber)]
    else:
        loops += [subscriber, *_group(inquiry), ["HL", "4", "3", "23", "0"], ours]
        loops += [_name("03", dependent, None), *_demographics(dependent)]
        loops.append(["INS", "N", _RELATIONSHIP.get(inquiry.relationship, "34")])
    loops.append(["DTP", "291", "D8", inquiry.service_date.strftime("%Y%m%d")])
    return [*loops, *(["EQ", clean(code, 2)] for code in inquiry.service_types)]


def _name(code: str, person: PersonNamed, member_id: str | None) -> list[str]:
    member = clean(member_id, 80)
    names = [clean(person.family, 60), clean(person.given, 35), clean(person.middle, 25), "", clean(person.suffix, 10)]
    return ["NM1", code, "1", *names, *(["MI", member] if member else [])]


def _demographics(person: PersonNamed) -> list[list[str]]:
    if person.birth_date is None:
        return []
    sex = person.sex if person.sex in ("F", "M") else ""
    return [["DMG", "D8", person.birth_date.strftime("%Y%m%d"), sex]]


def _group(inquiry: Inquiry) -> list[list[str]]:
    group = clean(inquiry.group, 50)
    return [["REF", "6P", group]] if group else []
