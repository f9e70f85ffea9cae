"""Building a 270 (005010X279A1): who is asked about, of which payer, for which services and days; one, or many in a batch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from hub.errors import MessageUnusable
from hub.formats.x12 import codes
from hub.formats.x12.tokens import Delimiters
from hub.formats.x12.write import DEFAULT, MOST_CONTROL, Line, Parties, clean, interchange, transaction

__all__ = ["Inquiry", "PersonNamed", "build_270", "build_batch", "clean"]

_RELATIONSHIP = {"spouse": "01", "child": "19", "other": "34", "dependent": "34"}
_SERVICE_TYPE = re.compile(r"[A-Z0-9]{1,2}")
_CODE = "X12-270"


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
    """Everything one 270 says."""

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
    service_end: date | None = None
    """The last day asked for; the inquiry is then about a range (RD8)."""
    references: Sequence[tuple[str, str]] = ()
    """Further ids of the patient: qualifier (SY, EJ, 18, 1L ...) and value."""
    provider_given: str | None = None
    """Given name, where the provider is a person."""
    provider_taxonomy: str | None = None
    """Taxonomy code, where the payer wants it (PRV)."""
    provider_role: str = "BI"
    """PRV01, with the taxonomy."""
    provider_references: Sequence[tuple[str, str]] = ()
    """Further ids of the provider: qualifier (EO, TJ, N5 ...) and value."""
    payer_qualifier: str = "PI"
    provider_qualifier: str = "XX"
    repeat_types: bool = False
    """Whether all service types stand in one EQ; else each has its own."""
    delimiters: Delimiters = DEFAULT

    @property
    def parties(self) -> Parties:
        return Parties(
            self.sender, self.receiver, self.usage, self.sender_qualifier, self.receiver_qualifier, delimiters=self.delimiters
        )


def build_270(inquiry: Inquiry, *, control_number: int, trace: str, now: datetime) -> bytes:
    """One interchange with one 270.

    `control_number` (1 to 999,999,999) becomes ISA13, GS06 and ST02; `trace` becomes BHT03 and TRN02 and comes back in the
    answer.  Raises MessageUnusable when something a 270 cannot do without is missing.
    """
    _require(inquiry, control_number)
    one = transaction("270", f"{control_number:04d}", _body(inquiry, trace, now))
    return interchange(inquiry.parties, control_number=control_number, now=now, groups=[("270", [one])], code=_CODE)


def build_batch(inquiries: Sequence[tuple[Inquiry, str]], *, control_number: int, now: datetime) -> bytes:
    """One interchange with one group of many 270s: pairs of an inquiry and its trace, in order, numbered 0001 on in ST02.

    All go from the same sender to the same receiver.  Raises MessageUnusable when one of them cannot be built, or two have the
    same trace: an answer could not be told from the other.
    """
    if not inquiries:
        raise MessageUnusable("a batch needs at least one inquiry", code=_CODE)
    if len({inquiry.parties for inquiry, _ in inquiries}) > 1:
        raise MessageUnusable("the inquiries of a batch must have one sender, receiver and usage", code=_CODE)
    if len({clean(trace, 50) for _, trace in inquiries}) < len(inquiries):
        raise MessageUnusable("each inquiry of a batch needs a trace number of its own", code=_CODE)
    sets = []
    for number, (inquiry, trace) in enumerate(inquiries, 1):
        _require(inquiry, control_number)
        sets.append(transaction("270", f"{number:04d}", _body(inquiry, trace, now)))
    parties = inquiries[0][0].parties
    return interchange(parties, control_number=control_number, now=now, groups=[("270", sets)], code=_CODE)


def _require(inquiry: Inquiry, control_number: int) -> None:
    if not 1 <= control_number <= MOST_CONTROL:
        raise MessageUnusable("the interchange control number must have one to nine digits", code=_CODE)
    _refuse_without(
        {
            "the clinic's id as the sender": clean(inquiry.sender, 15),
            "the clearinghouse's id as the receiver": clean(inquiry.receiver, 15),
            "the usage, T or P": inquiry.usage in ("T", "P"),
        }
        | _needed(inquiry)
    )


def require(inquiry: Inquiry) -> None:
    """Raises MessageUnusable when a question says too little, whatever it is sent as; every missing thing is named."""
    _refuse_without(_needed(inquiry))


def _refuse_without(things: Mapping[str, object]) -> None:
    if missing := [words for words, value in things.items() if not value]:
        raise MessageUnusable(f"a 270 cannot be built without {', '.join(missing)}", code=_CODE)


def _needed(inquiry: Inquiry) -> dict[str, object]:
    """What a payer cannot do without, in words, with what the question has of it."""
    subscriber, dependent = inquiry.subscriber, inquiry.patient
    family, born = clean(subscriber.family, 60), subscriber.birth_date
    ssn = next((clean(value, 50) for kind, value in inquiry.references if kind == "SY"), "")
    types = [clean(code, 3) for code in inquiry.service_types]
    return {
        "the payer's id": clean(inquiry.payer_id, 80),
        "the clinic's NPI": clean(inquiry.provider_npi, 80),
        "the member id, or name and birth date": clean(inquiry.member_id, 80) or (born and (family or ssn)),
        "the dependent's name": dependent is None or clean(dependent.family, 60),
        "a service type of one or two characters": types and all(_SERVICE_TYPE.fullmatch(code) for code in types),
        "a last day that is not before the first": inquiry.service_end is None or inquiry.service_end >= inquiry.service_date,
        "references a 270 has": all(kind in codes.REF_MEMBER and clean(value, 50) for kind, value in inquiry.references)
        and all(kind in codes.REF_PROVIDER and clean(value, 50) for kind, value in inquiry.provider_references),
    }


def _body(inquiry: Inquiry, trace: str, now: datetime) -> list[Line]:
    def plain(text: str | None, most: int) -> str:
        return clean(text, most, inquiry.delimiters)

    payer = ["NM1", "PR", "2", plain(inquiry.payer_name, 60), "", "", "", "", inquiry.payer_qualifier]
    given = plain(inquiry.provider_given, 35)
    provider = ["NM1", "1P", "1" if given else "2", plain(inquiry.provider_name, 60), given, "", "", ""]
    taxonomy = plain(inquiry.provider_taxonomy, 50)
    return [
        ["BHT", "0022", "13", plain(trace, 50), now.strftime("%Y%m%d"), now.strftime("%H%M")],
        ["HL", "1", "", "20", "1"],
        [*payer, plain(inquiry.payer_id, 80)],
        ["HL", "2", "1", "21", "1"],
        [*provider, inquiry.provider_qualifier, plain(inquiry.provider_npi, 80)],
        *(["REF", kind, plain(value, 50)] for kind, value in inquiry.provider_references),
        *([["PRV", inquiry.provider_role, "PXC", taxonomy]] if taxonomy else []),
        *_patient_loops(inquiry, trace),
    ]


def _patient_loops(inquiry: Inquiry, trace: str) -> list[Line]:
    dependent, separators = inquiry.patient, inquiry.delimiters
    ours = ["TRN", "1", clean(trace, 50, separators), f"9{clean(inquiry.provider_npi, 9, separators):0<9}"]
    subscriber = _name("IL", inquiry.subscriber, inquiry.member_id, separators)
    references = [["REF", kind, clean(value, 50, separators)] for kind, value in inquiry.references]
    group = clean(inquiry.group, 50, separators)
    groups = [["REF", "6P", group]] if group else []
    loops: list[Line] = [["HL", "3", "2", "22", "1" if dependent else "0"]]
    if dependent is None:
        loops += [ours, subscriber, *groups, *references, *_demographics(inquiry.subscriber)]
    else:
        known = clean(inquiry.member_id, 80, separators)
        loops += [subscriber, *groups, *([] if known else _demographics(inquiry.subscriber))]
        loops += [["HL", "4", "3", "23", "0"], ours]
        loops += [_name("03", dependent, None, separators), *references, *_demographics(dependent)]
        loops.append(["INS", "N", _RELATIONSHIP.get(inquiry.relationship, "34")])
    types = [clean(code, 2, separators) for code in inquiry.service_types]
    asked: list[Line] = [["EQ", types]] if inquiry.repeat_types else [["EQ", code] for code in types]
    return [*loops, _period(inquiry), *asked]


def _period(inquiry: Inquiry) -> Line:
    first, last = inquiry.service_date, inquiry.service_end
    if last is None or last == first:
        return ["DTP", "291", "D8", first.strftime("%Y%m%d")]
    return ["DTP", "291", "RD8", f"{first:%Y%m%d}-{last:%Y%m%d}"]


def _name(code: str, person: PersonNamed, member_id: str | None, separators: Delimiters) -> Line:
    member = clean(member_id, 80, separators)
    parts = ((person.family, 60), (person.given, 35), (person.middle, 25), (None, 10), (person.suffix, 10))
    return ["NM1", code, "1", *(clean(text, most, separators) for text, most in parts), *(["MI", member] if member else [])]


def _demographics(person: PersonNamed) -> list[Line]:
    if person.birth_date is None:
        return []
    sex = person.sex if person.sex in ("F", "M") else ""
    return [["DMG", "D8", person.birth_date.strftime("%Y%m%d"), sex]]
