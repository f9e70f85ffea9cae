"""A coverage read into the model of a 271: the same levels, benefits and rejections, told and chosen by the same rules.

The place of a benefit (its `segment`) is its number among all that the coverage says, in order, counted from 1.

`statusCode` says how far a coverage is: complete, refused with `validationMessages`, or a payer that did not answer.  The last
is told as the AAA a payer would have sent (80 no response, 42 not now), so that the same rules ask again.  A message about a
field (`validationMessages`, and `errors` of a refused form) is told as the AAA that speaks of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import count, islice
from typing import Any

from hub.formats.loose_json import Unreadable, first_text, object_of, objects_of, read_object, text_of, texts_of
from hub.formats.x12 import codes, report
from hub.formats.x12.benefits import IN_OFFICE, Where
from hub.formats.x12.eligibility import (
    DEPENDENT,
    MOST_REPEATS,
    PAYER,
    PROVIDER,
    SUBSCRIBER,
    Benefit,
    Eligibility,
    Entity,
    Level,
    Patient,
    Period,
    Rejection,
)
from hub.formats.x12.tokens import Finding
from hub.formats.x12.values import NUMBER

COMPLETE = ("4", "3")
_PARTLY = "3"
_SILENT = {"7": "80", "14": "80", "E": "80", "13": "42", "15": "42"}
"""AAA03 of a payer that did not answer, or not in a way the clearinghouse could read."""
_UNFINISHED = ("0", "1", "R1", "R2")
_NETWORKS = {"inNetwork": "Y", "outOfNetwork": "N", "notApplicableNetwork": "W", "noNetwork": ""}
"""EB12."""
_AMOUNTS = {"coPayment": "B", "coInsurance": "A", "deductibles": "C", "outOfPocket": "G"}
"""EB01."""
_DETAILS = {"limitations": "F", "exclusions": "E", "nonCovered": "I", "benefitDescriptions": "D", "reserve": "K"}
"""EB01 of what is told beside the amounts."""
_DATES = {
    "eligibilityStartDate": "356", "eligibilityEndDate": "357", "planStartDate": "346", "planEndDate": "347",
    "coverageStartDate": "348", "coverageEndDate": "349", "benefitBeginDate": "348", "benefitEndDate": "349",
    "coordinationOfBenefitsBeginDate": "290", "serviceDate": "472",
}  # fmt: skip
"""DTP01."""
_REFERENCES = {"planNumber": "18", "policyNumber": "IG", "groupNumber": "6P", "planNetworkId": "N6", "referralNumber": "9F",
               "priorAuthorizationNumber": "G1", "healthInsuranceClaimNumber": "F6"}  # fmt: skip
"""REF01."""
_RANKS = {"primary": "PRP", "secondary": "SEP", "tertiary": "TTP"}
_FIELDS = (
    ("payer", "2100A", "T4", "T4"),
    ("provider", "2100B", "43", "43"),
    ("memberid", "2100C", "72", "64"),
    ("birthdate", "2100C", "58", "58"),
    ("gender", "2100C", "74", "66"),
    ("name", "2100C", "73", "65"),
    ("asofdate", "2100C", "57", "57"),
    ("todate", "2100C", "57", "57"),
    ("patient", "2100C", "15", "15"),
    ("subscriber", "2100C", "15", "15"),
)
"""What a message about a field is as AAA: how its name begins or ends, the loop, AAA03 of an insured, of a dependent."""
_REQUIRED = "15"
"""AAA03: required data missing; for all other fields."""
_AAA = re.compile(r"[A-Z0-9]{2}")
_DAY = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})", re.ASCII)


@dataclass(slots=True)
class Answer:
    """What one coverage says."""

    reply: Eligibility
    failure: str | None = None
    """Why it says nothing about the patient."""


def answer(data: bytes, service_types: Sequence[str] = (), service_date: str = "", where: Where = IN_OFFICE) -> dict[str, Any]:
    """What the payer says, as `hub.formats.x12.report.answer` tells it.  Total: any bytes give an answer or a failure."""
    read = read_answer(data)
    return report.told(read.reply, read.failure, service_types, service_date, where)


def describe(data: bytes) -> dict[str, Any]:
    """Everything a coverage says, in the shape of an interchange with one 271, so that `hub show` and FHIR take it as such."""
    read = read_answer(data)
    findings = [finding.as_dict() for finding in read.reply.findings]
    if read.failure is not None:
        findings.append(Finding("error", "COV-FAILURE", read.failure).as_dict())
        return {"format": "coverages", "findings": findings, "interchanges": []}
    return {"format": "coverages", "findings": findings, "interchanges": [report.as_interchange(read.reply)]}


def is_answer(data: bytes) -> bool:
    """Whether a JSON document looks like one of these, and not like something else."""
    try:
        said = read_object(data)
    except Unreadable:
        return False
    return "statusCode" in said and ("plans" in said or "validationMessages" in said or "subscriber" in said)


def read_answer(data: bytes) -> Answer:
    """Total: whatever the bytes are, it reads what it can and says what it could not."""
    try:
        said = read_object(data)
    except Unreadable as error:
        return Answer(Eligibility("271", ""), f"The answer could not be read: {error}.")
    reply = _reply(said)
    code = text_of(said.get("statusCode")).upper()
    has_dependent = bool(reply.patients) and reply.patients[0].dependent is not None
    if silent := _SILENT.get(code):
        reply.reject(Rejection("2100A", silent, "R", 0))
    for rejection in islice(_rejections(said, has_dependent=has_dependent), MOST_REPEATS):
        reply.reject(rejection)
    if code == _PARTLY:
        text = "the payer's answer was partly unreadable for the clearinghouse; what it could read is here"
        reply.findings.add(Finding("warning", "COV-PARTLY", text))
    return Answer(reply, _why_nothing(code, reply))


def _why_nothing(code: str, reply: Eligibility) -> str | None:
    """Why a coverage that is not complete says nothing; None when it does say something."""
    if reply.rejections or any(patient.rejections or patient.benefits for patient in reply.patients):
        return None
    if code in COMPLETE and reply.patients:
        return None
    if code in _UNFINISHED:
        return f"The answer is not finished (status {code}): it was fetched too early."
    shown = code if _AAA.fullmatch(code) or code.isdecimal() else "not said"
    return f"The clearinghouse has no answer of the payer (status {shown[:10]})."


# People.


def _reply(said: dict[str, Any]) -> Eligibility:
    number = text_of(said.get("controlNumber"))
    reply = Eligibility("271", number, number)
    payers, asking = object_of(said.get("payer")), object_of(said.get("requestingProvider"))
    payer = Entity("PR", family=first_text(payers, "responseName", "name"), id=first_text(payers, "responsePayerId", "payerId"))
    npi = first_text(asking, "npi")
    provider = Entity("1P", family=first_text(asking, "lastName", "name"), given=first_text(asking, "firstName"), id=npi)
    payer.qualifier, provider.qualifier = "PI" if payer.id else "", "XX" if npi else ""
    insured, patient, plans = object_of(said.get("subscriber")), object_of(said.get("patient")), objects_of(said.get("plans"))
    if not (insured or patient or plans):
        return reply
    levels = Level(PAYER, 0, payer), Level(PROVIDER, 0, provider)
    found = Patient(*levels, *_people(insured, patient))
    found.subscriber.references = _references(plans[0])[:MOST_REPEATS] if plans else []
    found.level.dates = _dates(plans[0]) if len(plans) == 1 else []  # of several, the days are those of each
    found.level.benefits = list(_benefits(plans))
    reply.patients.append(found)
    return reply


def _people(insured: dict[str, Any], patient: dict[str, Any]) -> tuple[Level, Level | None]:
    """The insured, and the patient where that is somebody else; of one person both parts together say everything."""
    relationship = first_text(patient, "subscriberRelationshipCode", "subscriberRelationship")
    if relationship.lower() in ("", "18", "self"):
        return _person({**patient, **_said_in(insured)}, SUBSCRIBER, "IL", ""), None
    return _person(insured, SUBSCRIBER, "IL", ""), _person(patient, DEPENDENT, "03", relationship)


def _said_in(said: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in said.items() if text_of(value)}


def _person(said: dict[str, Any], kind: str, code: str, relationship: str) -> Level:
    member = first_text(said, "memberId") if kind == SUBSCRIBER else ""
    entity = Entity(
        code,
        family=first_text(said, "lastName"),
        given=first_text(said, "firstName"),
        middle=first_text(said, "middleName"),
        suffix=first_text(said, "suffix"),
        qualifier="MI" if member else "",
        id=member,
        person=True,
    )
    sex = first_text(said, "genderCode", "gender")[:1].upper()
    return Level(kind, 0, entity, birth_date=_day(said.get("birthDate")), sex=sex, relationship=relationship)


def _day(value: Any) -> str:
    """CCYYMMDD of a day or a moment; the day as it is written, wherever it was midnight."""
    found = _DAY.match(text_of(value))
    return "".join(found.groups()) if found else ""


def _dates(said: dict[str, Any]) -> list[Period]:
    return [Period(qualifier, day, "") for name, qualifier in _DATES.items() if (day := _day(said.get(name)))]


def _references(said: dict[str, Any]) -> list[tuple[str, str, str]]:
    words = {"groupNumber": "groupName", "planNumber": "planName", "planNetworkId": "planNetworkName"}
    pairs = ((name, qualifier, text_of(said.get(name))) for name, qualifier in _REFERENCES.items())
    return [(qualifier, value, text_of(said.get(words.get(name, "")))) for name, qualifier, value in pairs if value]


# Benefits.


def _benefits(plans: list[dict[str, Any]]) -> Iterator[Benefit]:
    numbers = count(1)
    for plan in plans:
        for benefit in _of_plan(plan):
            benefit.segment = next(numbers)
            yield benefit


def _of_plan(plan: dict[str, Any]) -> Iterator[Benefit]:
    name = first_text(plan, "planName", "description")
    whole = _row(plan, _status(plan), ["30"])
    whole.plan = name
    yield whole
    yield from _amounts(object_of(plan.get("amounts")), ["30"])
    yield from _details(plan, ["30"])
    for payer in objects_of(plan.get("coverageSummaryAdditionalPayers")) + objects_of(plan.get("additionalPayers")):
        yield _other_payer(payer, ["30"])
    for said in objects_of(plan.get("benefits")):
        yield from _of_benefit(said)


def _of_benefit(said: dict[str, Any]) -> Iterator[Benefit]:
    types = texts_of(said.get("type"))
    status = _status(said)
    if status:
        yield _row(said, status, types)
    for network, entry in _by_network(object_of(said.get("statusDetails"))):
        yield _row(entry, _status(entry) or status or "D", types, network)
    yield from _amounts(object_of(said.get("amounts")), types)
    yield from _details(said, types)
    for payer in objects_of(said.get("additionalPayers")):
        yield _other_payer(payer, types)


def _by_network(detail: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, network in _NETWORKS.items():
        for entry in objects_of(detail.get(name)):
            yield network, entry


def _amounts(said: dict[str, Any], types: list[str]) -> Iterator[Benefit]:
    for name, code in _AMOUNTS.items():
        for network, entry in _by_network(object_of(said.get(name))):
            yield from _sums(entry, code, types, network)


def _sums(entry: dict[str, Any], code: str, types: list[str], network: str) -> Iterator[Benefit]:
    """One entry may say what is set, what is asked for and what is left: each is a row of its own, as in a 271."""
    if code == "A":
        row = _row(entry, code, types, network)
        row.percent = _share(first_text(entry, "amount", "total"), first_text(entry, "units"))
        row.period = first_text(entry, "amountTimePeriodCode")
        yield row
        return
    for name in ("total", "amount"):
        if amount := first_text(entry, name):
            row = _row(entry, code, types, network)
            row.amount, row.period = amount, first_text(entry, f"{name}TimePeriodCode")
            yield row
    if remaining := first_text(entry, "remaining"):
        row = _row(entry, code, types, network)
        lifetime = first_text(entry, "remainingTimePeriodCode") == "33"
        row.amount, row.period = remaining, "33" if lifetime else codes.PERIOD_REMAINING
        yield row


def _share(amount: str, units: str) -> str:
    """A share as a 271 has it (.2 is a fifth): where the unit is percent, a hundredth of the number."""
    if units.lower().startswith("percent") and NUMBER.fullmatch(amount) and len(amount) < 20:
        return format((Decimal(amount) / 100).normalize(), "f")
    return amount


def _details(said: dict[str, Any], types: list[str]) -> Iterator[Benefit]:
    for name, code in _DETAILS.items():
        for network, entry in _by_network(object_of(said.get(name))):
            row = _row(entry, code, types, network)
            row.amount, row.period = (
                first_text(entry, "amount", "total"),
                first_text(entry, "amountTimePeriodCode", "totalTimePeriodCode"),
            )
            row.quantity, row.quantity_qualifier = first_text(entry, "quantity"), first_text(entry, "quantityQualifierCode")
            yield row


def _row(said: dict[str, Any], code: str, types: list[str], network: str = "") -> Benefit:
    """What every part of a coverage may say of itself."""
    permit = "Y" if said.get("authorizationRequired") is True else "N" if said.get("authorizationRequired") is False else ""
    place = first_text(said, "placeOfServiceCode")
    notes = said.get("payerNotes")
    return Benefit(
        segment=0,
        code=code,
        level=first_text(said, "levelCode"),
        service_types=list(types),
        insurance_type=first_text(said, "insuranceTypeCode"),
        plan="",
        period="",
        amount="",
        percent="",
        quantity_qualifier="",
        quantity="",
        authorization="U" if said.get("authorizationRequiredUnknown") is True and not permit else permit,
        network=network,
        references=_references(said),
        dates=_dates(said),
        messages=[
            *texts_of(notes),
            *(text for one in objects_of(notes) if (text := first_text(one, "message", "note", "description"))),
        ],
        places=[place] if place else [],
    )


def _other_payer(said: dict[str, Any], types: list[str]) -> Benefit:
    row = _row(said, "R", texts_of(said.get("serviceTypeCode")) or types)
    rank = next((code for name, code in _RANKS.items() if said.get(name) is True), "PR")
    id = first_text(said, "responsePayerId", "payerId")
    name = first_text(said, "responseName", "name", "planName")
    row.plan = first_text(said, "planName")
    row.entities.append(Entity(rank, family=name, qualifier="PI" if id else "", id=id))
    return row


def _status(said: dict[str, Any]) -> str:
    """EB01 of a status: its code, or what its words begin with."""
    code, words = first_text(said, "statusCode"), first_text(said, "status").lower()
    if code in codes.EB01:
        return code
    if words.startswith("active"):
        return codes.ACTIVE_PENDING if "pending" in words else "1"
    begins = (
        ("inactive", "6"),
        ("non-covered", "I"),
        ("non covered", "I"),
        ("not covered", "I"),
        ("contact", "U"),
        ("cannot", "V"),
    )
    return next((found for beginning, found in begins if words.startswith(beginning)), "")


# Rejections.


def _rejections(said: dict[str, Any], *, has_dependent: bool) -> Iterator[Rejection]:
    """Each message about a field once, as the AAA that speaks of it."""
    seen = set()
    for message in objects_of(said.get("validationMessages")) + objects_of(said.get("errors")):
        found = _rejection(message, has_dependent=has_dependent)
        if found not in seen:
            seen.add(found)
            yield found


def _rejection(message: dict[str, Any], *, has_dependent: bool) -> Rejection:
    code, field = first_text(message, "code").upper(), first_text(message, "field").lower().replace("_", "")
    loop, of_insured, of_dependent = next(
        (row[1:] for row in _FIELDS if field.startswith(row[0]) or field.endswith(row[0])), ("", "", "")
    )
    if code not in codes.AAA:
        code = (of_dependent if has_dependent else of_insured) or _REQUIRED
    if not loop:
        loop = "2100A" if code in codes.AAA_PAYER else "2100B" if code in codes.AAA_PROVIDER - {_REQUIRED} else "2100C"
    return Rejection("2100D" if loop == "2100C" and has_dependent else loop, code, "C", 0)
