"""Building a 270 (005010X279A1): one patient, one payer, the service types to ask for."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from hub.errors import MessageUnusable

_RELATIONSHIP = {"spouse": "01", "child": "19", "other": "34", "dependent": "34"}
_SEPARATORS = str.maketrans({"*": " ", ":": " ", "^": " ", "~": " ", "\r": " ", "\n": " "})


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
    plain = unicodedata.normalize("NFKD", text or "").encode("ascii", "ignore").decode()
    return " ".join(plain.upper().translate(_SEPARATORS).split())[:most]


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
        ["NM1", "1P", "2", clean(inquiry.provider_name, 60), "", "", "", "", "XX", inquiry.provider_npi],
        *_patient_loops(inquiry, trace),
    ]
    number = f"{control_number:09d}"
    transaction = [["ST", "270", number[-4:], "005010X279A1"], *body]
    transaction.append(["SE", str(len(transaction) + 1), number[-4:]])
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
    missing = [
        words
        for value, words in (
            (inquiry.payer_id, "the payer's id"),
            (inquiry.provider_npi, "the clinic's NPI"),
            (
                inquiry.member_id or (inquiry.subscriber.family and inquiry.subscriber.birth_date),
                "the member id, or name and birth date",
            ),
            (inquiry.service_types, "a service type"),
        )
        if not value
    ]
    if missing:
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
    ours = ["TRN", "1", clean(trace, 50), f"9{inquiry.provider_npi[:9]}"]
    subscriber = _name("IL", inquiry.subscriber, inquiry.member_id)
    loops: list[list[str]] = [["HL", "3", "2", "22", "1" if dependent else "0"]]
    if dependent is None:
        loops += [ours, subscriber, *_group(inquiry), *_demographics(inquiry.subscriber)]
    else:
        loops += [subscriber, *_group(inquiry), ["HL", "4", "3", "23", "0"], ours]
        loops += [_name("03", dependent, None), *_demographics(dependent)]
        loops.append(["INS", "N", _RELATIONSHIP.get(inquiry.relationship, "34")])
    loops.append(["DTP", "291", "D8", inquiry.service_date.strftime("%Y%m%d")])
    return [*loops, *(["EQ", code] for code in inquiry.service_types)]


def _name(code: str, person: PersonNamed, member_id: str | None) -> list[str]:
    names = [clean(person.family, 60), clean(person.given, 35), clean(person.middle, 25), "", clean(person.suffix, 10)]
    return ["NM1", code, "1", *names, *(["MI", clean(member_id, 80)] if member_id else [])]


def _demographics(person: PersonNamed) -> list[list[str]]:
    if person.birth_date is None:
        return []
    sex = person.sex if person.sex in ("F", "M") else ""
    return [["DMG", "D8", person.birth_date.strftime("%Y%m%d"), sex]]


def _group(inquiry: Inquiry) -> list[list[str]]:
    return [["REF", "6P", clean(inquiry.group, 50)]] if inquiry.group else []
