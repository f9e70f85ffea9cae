"""Claim status, 276 and 277 (005010X212): asking a payer what became of a claim, and what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from hub.errors import MessageUnusable
from hub.formats.x12 import codes
from hub.formats.x12.envelope import Transaction
from hub.formats.x12.inquiry import PersonNamed
from hub.formats.x12.tokens import Segment
from hub.formats.x12.write import MOST_CONTROL, Line, Parties, clean, interchange, transaction

_CODE = "X12-276"


@dataclass(frozen=True, slots=True)
class ClaimInquiry:
    """Everything one 276 asks about one claim."""

    parties: Parties
    payer_name: str
    payer_id: str
    receiver_name: str
    """Who asks (loop 2100B): the clinic, or its billing service."""
    receiver_id: str
    provider_name: str
    provider_npi: str
    member_id: str
    subscriber: PersonNamed
    service_from: date
    service_to: date | None = None
    patient: PersonNamed | None = None
    """The patient, when that is a dependent."""
    payer_claim_id: str | None = None
    """The payer's own number of the claim (REF 1K)."""
    account: str | None = None
    """Our number of the patient's account (REF EJ)."""
    bill_type: str | None = None
    """Of an institutional claim (REF BLT)."""
    amount: str | None = None
    """What was charged, in dollars."""


def build_276(inquiry: ClaimInquiry, *, control_number: int, trace: str, now: datetime) -> bytes:
    """One interchange with one 276.

    `control_number` (1 to 999,999,999) becomes ISA13, GS06 and ST02; `trace` becomes BHT03 and TRN02 and comes back in the 277.
    Raises MessageUnusable when something a 276 cannot do without is missing.
    """
    _require(inquiry, control_number, trace)
    body = [
        ["BHT", "0010", "13", clean(trace, 50), now.strftime("%Y%m%d"), now.strftime("%H%M")],
        ["HL", "1", "", "20", "1"],
        ["NM1", "PR", "2", clean(inquiry.payer_name, 60), "", "", "", "", "PI", clean(inquiry.payer_id, 80)],
        ["HL", "2", "1", "21", "1"],
        ["NM1", "41", "2", clean(inquiry.receiver_name, 60), "", "", "", "", "46", clean(inquiry.receiver_id, 80)],
        ["HL", "3", "2", "19", "1"],
        ["NM1", "1P", "2", clean(inquiry.provider_name, 60), "", "", "", "", "XX", clean(inquiry.provider_npi, 80)],
        *_people(inquiry),
        *_claim(inquiry, trace),
    ]
    one = transaction("276", f"{control_number:04d}", body)
    return interchange(inquiry.parties, control_number=control_number, now=now, groups=[("276", [one])], code=_CODE)


def _require(inquiry: ClaimInquiry, control_number: int, trace: str) -> None:
    person = inquiry.patient or inquiry.subscriber
    needed = {
        "a control number of one to nine digits": 1 <= control_number <= MOST_CONTROL,
        "a trace number": clean(trace, 50),
        "the clinic's id as the sender": clean(inquiry.parties.sender, 15),
        "the clearinghouse's id as the receiver": clean(inquiry.parties.receiver, 15),
        "the usage, T or P": inquiry.parties.usage in ("T", "P"),
        "the payer's id": clean(inquiry.payer_id, 80),
        "the id of who asks": clean(inquiry.receiver_id, 80),
        "the clinic's NPI": clean(inquiry.provider_npi, 80),
        "the member id": clean(inquiry.member_id, 80),
        "the patient's name": clean(person.family, 60),
        "the patient's birth date": person.birth_date,
        "a last day that is not before the first": (inquiry.service_to or inquiry.service_from) >= inquiry.service_from,
    }
    if missing := [words for words, value in needed.items() if not value]:
        raise MessageUnusable(f"a 276 cannot be built without {', '.join(missing)}", code=_CODE)


def _people(inquiry: ClaimInquiry) -> list[Line]:
    subscriber, patient = inquiry.subscriber, inquiry.patient
    ids = ["MI", clean(inquiry.member_id, 80)]
    if patient is None:
        return [["HL", "4", "3", "22", "0"], _demographics(subscriber), [*_name("IL", subscriber), *ids]]
    return [
        ["HL", "4", "3", "22", "1"],
        [*_name("IL", subscriber), *ids],
        ["HL", "5", "4", "23"],
        _demographics(patient),
        _name("QC", patient),
    ]


def _name(code: str, person: PersonNamed) -> list[str]:
    names = ((person.family, 60), (person.given, 35), (person.middle, 25), (None, 10), (person.suffix, 10))
    return ["NM1", code, "1", *(clean(text, most) for text, most in names)]


def _demographics(person: PersonNamed) -> Line:
    day = person.birth_date.strftime("%Y%m%d") if person.birth_date else ""
    return ["DMG", "D8", day, person.sex if person.sex in ("F", "M") else ""]


def _claim(inquiry: ClaimInquiry, trace: str) -> list[Line]:
    first, last = inquiry.service_from, inquiry.service_to
    days = ["D8", f"{first:%Y%m%d}"] if last in (None, first) else ["RD8", f"{first:%Y%m%d}-{last:%Y%m%d}"]
    references = (("1K", inquiry.payer_claim_id), ("BLT", inquiry.bill_type), ("EJ", inquiry.account))
    return [
        ["TRN", "1", clean(trace, 50)],
        *(["REF", kind, clean(value, 50)] for kind, value in references if clean(value, 50)),
        *([["AMT", "T3", clean(inquiry.amount, 18)]] if inquiry.amount else []),
        ["DTP", "472", *days],
    ]


@dataclass(slots=True)
class Claim:
    """What a 276 asks, or a 277 says, about one claim, or about everything one level holds."""

    level: str
    """HL03: 21 the receiver, 19 the provider, 22 the subscriber, 23 a dependent."""
    trace: str = ""
    references: list[tuple[str, str]] = field(default_factory=list)
    dates: list[tuple[str, str]] = field(default_factory=list)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)
    """Service lines with statuses of their own."""
    payer: str = ""
    provider: str = ""
    patient: dict[str, Any] = field(default_factory=dict)
    member_id: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {
            "level": self.level,
            "trace_number": self.trace or None,
            "payer": self.payer or None,
            "provider": self.provider or None,
            "patient": self.patient,
            "member_id": self.member_id or None,
            "claim_id": next((value for kind, value in self.references if kind == "1K"), None),
            "account": next((value for kind, value in self.references if kind == "EJ"), None),
            "dates": [{"qualifier": kind, "value": value} for kind, value in self.dates],
            "statuses": self.statuses,
            "lines": self.lines,
        }


def read_claims(received: Transaction) -> list[Claim]:
    """The claims of a 276 or 277, in order.  Total: whatever the segments are, it reads what it can."""
    walk = _Walk(received.delimiters.component)
    for segment in received.segments:
        walk.take(segment)
    return walk.claims


class _Walk:
    def __init__(self, component: str) -> None:
        self.component = component
        self.claims: list[Claim] = []
        self.claim: Claim | None = None
        self.level = ""
        self.payer = self.provider = self.member = ""
        self.patient: dict[str, Any] = {}
        self.born: str | None = None

    def take(self, segment: Segment) -> None:
        match segment.id:
            case "HL":
                self.level, self.claim, self.born = segment[3], None, None
            case "DMG":
                self.born = segment[2] or None
            case "NM1":
                self.name(segment)
            case "TRN":
                self.open_claim(segment)
            case _ if self.claim is not None:
                self.in_claim(segment, self.claim)

    def name(self, segment: Segment) -> None:
        match segment[1]:
            case "PR":
                self.payer = segment[9]
            case "1P":
                self.provider = segment[9]
            case "IL" | "QC":
                self.patient = {"family": segment[3] or None, "given": segment[4] or None, "birth_date": self.born}
                if segment[1] == "IL":
                    self.member = segment[9]

    def open_claim(self, segment: Segment) -> None:
        about = self.patient if self.level in ("22", "23") else {}
        member = self.member if self.level in ("22", "23") else ""
        self.claim = Claim(self.level, segment[2], payer=self.payer, provider=self.provider, patient=about, member_id=member)
        self.claims.append(self.claim)

    def in_claim(self, segment: Segment, claim: Claim) -> None:
        line = claim.lines[-1] if claim.lines else None
        match segment.id:
            case "SVC":
                claim.lines.append(
                    {"procedure": segment[1].split(self.component), "charged": segment[2] or None, "statuses": [], "dates": []}
                )
            case "STC":
                (line["statuses"] if line else claim.statuses).extend(self.statuses(segment))
            case "REF" if line is None:
                claim.references.append((segment[1], segment[2]))
            case "DTP" if line is None:
                claim.dates.append((segment[1], segment[3]))
            case "DTP" if line is not None:
                line["dates"].append({"qualifier": segment[1], "value": segment[3]})

    def statuses(self, segment: Segment) -> list[dict[str, Any]]:
        """Up to three reasons of one STC; dates and money stand with the first."""
        found = []
        for number in (1, 10, 11):
            parts = segment[number].split(self.component)
            if not parts[0]:
                continue
            status: dict[str, Any] = {
                "category": parts[0],
                "text": codes.CLAIM_STATUS_CATEGORIES.get(parts[0], "status of the claim"),
                "code": parts[1] if len(parts) > 1 else None,
                "entity": parts[2] if len(parts) > 2 else None,
            }
            if number == 1:
                status |= {
                    "date": segment[2] or None,
                    "charged": segment[4] or None,
                    "paid": segment[5] or None,
                    "paid_on": segment[6] or None,
                    "check": segment[9] or None,
                    "message": segment[12] or None,
                }
            found.append(status)
        return found


def final(statuses: Sequence[dict[str, Any]]) -> bool:
    """Whether the payer has finished with the claim (category F)."""
    return any(status["category"].startswith("F") for status in statuses)
