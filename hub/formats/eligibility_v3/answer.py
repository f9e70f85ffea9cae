"""An answer in JSON, read into the model of a 271: the same levels, benefits and rejections, told and chosen by the same rules.

The place of a benefit (its `segment`) is its number in `benefitsInformation`, counted from 1.

`errors` in an answer are the payer's AAA: the HTTP status is 200 all the same.  Where the answer carries the payer's 271 beside
its JSON (`x12`), **the 271 counts**: it is what the payer said, and the JSON is somebody's rendering of it that drops what has
no field.  The JSON is read too; when the two do not say the same, a finding says so.  A 999 or TA1 in `x12` counts when there
is nothing about a patient in the JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from hub.formats.eligibility_v3 import names
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
from hub.formats.x12.tokens import Finding, Findings

MOST_ERRORS = 500
"""So many errors of one answer are looked at."""
_LOOP = re.compile(r"(2000A|2100[A-D]|2110[CD])", re.IGNORECASE)
_AAA = re.compile(r"[A-Z0-9]{2}")
_PLAIN_CODE = re.compile(r"[A-Za-z0-9_.-]{1,40}")
_REFUSED = ("r", "m", "w", "x", "p")
"""IK501 of a question that was not taken; words begin with the same letter (Rejected, Partially accepted)."""


@dataclass(slots=True)
class Answer:
    """What one JSON document says."""

    reply: Eligibility
    failure: str | None = None
    """Why it says nothing about the patient."""
    control_numbers: list[str] = field(default_factory=list)
    """Numbers by which it says what it answers: ours, when it is ours."""
    x12: bytes = b""
    """The payer's own answer, when it was sent along."""


def answer(data: bytes, service_types: Sequence[str] = (), service_date: str = "", where: Where = IN_OFFICE) -> dict[str, Any]:
    """What the payer says, as `hub.formats.x12.report.answer` tells it.  Total: any bytes give an answer or a failure."""
    read = read_answer(data)
    found = report.told(read.reply, read.failure, service_types, service_date, where)
    if read.x12:
        found = _which_counts(report.answer(read.x12, service_types, service_date, where), found)
    numbers = [*found.get("trace_numbers", []), *read.control_numbers]
    if numbers:
        found["trace_numbers"] = list(dict.fromkeys(numbers))
    return found


def _which_counts(payers: dict[str, Any], rendered: dict[str, Any]) -> dict[str, Any]:
    """The payer's 271 before its rendering; its 999 or TA1 when the rendering says nothing about a patient."""
    if payers["set"] == "271" and ("benefits" in payers or payers["rejections"]):
        if rendered["failure"] is None and _core(payers) != _core(rendered):
            text = "the payer's 271 and the JSON around it do not say the same; the 271 counts"
            payers["findings"].append(f"V3-DIFFERS: {text}")
        return payers
    if payers["set"] in ("999", "TA1") and payers["failure"] and rendered["failure"] is not None:
        return payers
    if rendered["failure"] is None and payers["set"] != "271":
        rendered["findings"].append("V3-X12: the X12 in the answer is no 271 that can be read; the JSON counts")
    return rendered


def _core(found: dict[str, Any]) -> tuple[object, ...]:
    member = (found.get("subscriber") or {}).get("member_id")
    return found["status"], sorted({one["code"] for one in found["rejections"]}), member


def describe(data: bytes) -> dict[str, Any]:
    """Everything a document says, in the shape of an interchange with one 271, so that `hub show` and FHIR take it as such."""
    read = read_answer(data)
    findings = [finding.as_dict() for finding in read.reply.findings]
    payers = report.describe(read.x12) if read.x12 else {"findings": [], "interchanges": []}
    if any(_is_about_somebody(transaction) for transaction in _transactions(payers)):
        return payers | {"format": "eligibility_v3", "findings": findings + payers["findings"]}
    if read.failure is not None:
        findings.append(Finding("error", "V3-FAILURE", read.failure).as_dict())
        return payers | {"format": "eligibility_v3", "findings": findings + payers["findings"]}
    return {"format": "eligibility_v3", "findings": findings, "interchanges": [report.as_interchange(read.reply)]}


def _transactions(described: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (
        one for interchange in described["interchanges"] for group in interchange["groups"] for one in group["transactions"]
    )


def _is_about_somebody(transaction: dict[str, Any]) -> bool:
    return transaction["set"] == "271" and bool(transaction.get("coverages") or transaction.get("rejections"))


def is_answer(data: bytes) -> bool:
    """Whether a JSON document looks like one of these, and not like something else."""
    try:
        said = read_object(data)
    except Unreadable:
        return False
    return "tradingPartnerServiceId" in said or "benefitsInformation" in said


# Reading.


def read_answer(data: bytes) -> Answer:
    """Total: whatever the bytes are, it reads what it can and says what it could not."""
    try:
        said = read_object(data)
    except Unreadable as error:
        return Answer(Eligibility("271", ""), f"The answer could not be read: {error}.")
    found = Answer(_reply(said))
    found.control_numbers = [n for name in ("controlNumber", "reassociationKey") if (n := text_of(said.get(name)))]
    x12 = said.get("x12")
    if isinstance(x12, str) and "ISA" in x12[:512].upper():
        found.x12 = x12.encode("utf-8", "replace")  # as it is: line ends may be its separators
    others = _read_rejections(said, found.reply)
    if not found.reply.patients and not found.reply.rejections:
        found.failure = _why_nothing(said, others)
    return found


def _why_nothing(said: dict[str, Any], others: list[str]) -> str:
    verdict = text_of(said.get("transactionSetAcknowledgement"))[:1].lower()
    if verdict in _REFUSED or text_of(said.get("implementationTransactionSetSyntaxError")):
        return "The payer refused the form of our inquiry (999)."
    if others:
        return f"The clearinghouse refused the inquiry ({', '.join(others[:3])})."
    return "The answer could not be read: there are no benefits and no errors in it."


def _reply(said: dict[str, Any]) -> Eligibility:
    reply = Eligibility("271", text_of(said.get("controlNumber")), text_of(said.get("controlNumber")))
    payer = Level(PAYER, 0, _organisation(object_of(said.get("payer")), "PR"))
    provider = Level(PROVIDER, 0, _organisation(object_of(said.get("provider")), "1P"))
    insured, dependents = object_of(said.get("subscriber")), objects_of(said.get("dependents"))
    benefits = _benefits(said, reply.findings)
    if not (benefits or insured or dependents):
        return reply
    subscriber = _member(insured, SUBSCRIBER, "IL")
    dependent = _member(dependents[0], DEPENDENT, "03") if dependents else None
    if len(dependents) > 1:
        text = "the answer names several dependents; its benefits are taken for the first"
        reply.findings.add(Finding("warning", "V3-DEPENDENTS", text))
    plan = object_of(said.get("planInformation"))
    _add_new(subscriber.references, _references(plan, names.MEMBER_REFERENCES))
    patient = Patient(payer, provider, subscriber, dependent)
    patient.level.traces = list(_traces(said, dependents))
    _add_new(patient.level.dates, list(_dates(object_of(said.get("planDateInformation")))))
    patient.level.benefits = benefits
    reply.patients.append(patient)
    return reply


def _add_new(kept: list[Any], more: Sequence[Any]) -> None:
    kept += [one for one in more if one not in kept][: MOST_REPEATS - len(kept)]


def _organisation(said: dict[str, Any], code: str) -> Entity:
    person = text_of(said.get("entityType")).lower() == "person"
    given = first_text(said, "firstName", "providerFirstName") if person else ""
    family = first_text(said, "lastName", "providerLastName") if person else ""
    id, qualifier = first_text(said, "npi"), "XX"
    if code == "PR" or not id:
        id = first_text(said, "payorIdentification", "serviceProviderNumber", "taxId", "federalTaxpayersIdNumber")
        qualifier = "PI"
    name = family or first_text(said, "name", "providerName", "organizationName", "providerOrgName", "entityName")
    return Entity(code, family=name, given=given, qualifier=qualifier if id else "", id=id, person=person)


def _member(said: dict[str, Any], kind: str, code: str) -> Level:
    member_id = first_text(said, "memberId")
    entity = Entity(
        code,
        family=first_text(said, "lastName"),
        given=first_text(said, "firstName"),
        middle=first_text(said, "middleName"),
        suffix=first_text(said, "suffix"),
        qualifier="MI" if member_id else "",
        id=member_id,
        person=True,
        address=_address(object_of(said.get("address"))),
    )
    relationship = first_text(said, "relationToSubscriberCode", "individualRelationshipCode", "relationToSubscriber")
    return Level(
        kind,
        0,
        entity,
        birth_date=first_text(said, "dateOfBirth").replace("-", ""),
        sex=first_text(said, "gender"),
        relationship=names.code_of(relationship, names.RELATIONSHIPS),
        references=_references(said, names.MEMBER_REFERENCES),
        dates=list(_dates(object_of(said.get("planDateInformation")))),
    )


def _traces(said: dict[str, Any], dependents: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    places = [*dependents[:1], said]
    named = [objects_of(place.get(key)) for place in places for key in ("dependentTraceNumbers", "subscriberTraceNumbers")]
    for one in [one for some in named for one in some][:MOST_REPEATS]:
        if number := text_of(one.get("referenceIdentification")):
            yield text_of(one.get("traceTypeCode")), number


# Benefits.


def _benefits(said: dict[str, Any], findings: Findings) -> list[Benefit]:
    if rows := objects_of(said.get("benefitsInformation")):
        return [_benefit(row, number) for number, row in enumerate(rows, 1)]
    states = objects_of(said.get("planStatus"))
    if states:
        text = "there is no benefitsInformation; status and services are taken from planStatus"
        findings.add(Finding("warning", "V3-STATUS-ONLY", text))
    return [_benefit(_from_status(row), number) for number, row in enumerate(states, 1)]


def _from_status(row: dict[str, Any]) -> dict[str, Any]:
    types = row.get("serviceTypeCodes") or row.get("serviceTypeCode")
    return {"code": row.get("statusCode"), "planCoverage": row.get("planDetails"), "serviceTypeCodes": types}


def _benefit(row: dict[str, Any], number: int) -> Benefit:
    additional = objects_of(row.get("eligibilityAdditionalInformationList"))
    additional = additional or objects_of(row.get("eligibilityAdditionalInformation"))
    entities = objects_of(row.get("benefitsRelatedEntities")) or objects_of(row.get("benefitsRelatedEntity"))
    industry = [(text_of(one.get("codeListQualifierCode")), text_of(one.get("industryCode"))) for one in additional]
    return Benefit(
        segment=number,
        code=first_text(row, "code"),
        level=first_text(row, "coverageLevelCode"),
        service_types=texts_of(row.get("serviceTypeCodes")),
        insurance_type=first_text(row, "insuranceTypeCode"),
        plan=first_text(row, "planCoverage"),
        period=first_text(row, "timeQualifierCode"),
        amount=first_text(row, "benefitAmount"),
        percent=first_text(row, "benefitPercent"),
        quantity_qualifier=first_text(row, "quantityQualifierCode"),
        quantity=first_text(row, "benefitQuantity"),
        authorization=first_text(row, "authOrCertIndicator"),
        network=first_text(row, "inPlanNetworkIndicatorCode"),
        delivery=[_delivery(one) for one in objects_of(row.get("benefitsServiceDelivery"))],
        references=_references(object_of(row.get("benefitsAdditionalInformation")), names.REFERENCES),
        dates=list(_dates(object_of(row.get("benefitsDateInformation")))),
        messages=[text for one in objects_of(row.get("additionalInformation")) if (text := text_of(one.get("description")))],
        places=[code for kind, code in industry if kind == "ZZ" and code],
        conditions=[code for kind, code in industry if kind != "ZZ" and code],
        procedure=_procedure(object_of(row.get("compositeMedicalProcedureIdentifier"))),
        entities=[_entity(one) for one in entities],
    )


def _delivery(said: dict[str, Any]) -> list[str]:
    """HSD, element by element."""
    elements = [
        first_text(said, "quantityQualifierCode"),
        first_text(said, "quantity"),
        first_text(said, "unitForMeasurementQualifierCode"),
        first_text(said, "sampleSelectionModulus"),
        first_text(said, "timePeriodQualifierCode"),
        first_text(said, "numOfPeriods"),
        first_text(said, "deliveryOrCalendarPatternQualifierCode"),
        first_text(said, "deliveryPatternTimeQualifierCode"),
    ]
    while elements and not elements[-1]:
        elements.pop()
    return elements


def _procedure(said: dict[str, Any]) -> str:
    """EB13 as a payer would have sent it, so that both ways name a procedure alike."""
    kind = first_text(said, "productOrServiceIdQualifierCode")
    parts = [kind, first_text(said, "procedureCode"), *texts_of(said.get("procedureModifiers"))]
    return ":".join(parts).strip(":")


def _references(said: dict[str, Any], table: dict[str, tuple[str, str]]) -> list[tuple[str, str, str]]:
    """In the order in which they were sent: where several name a policy, the first counts, as in a 271."""
    found = []
    for name in (name for name in said if name in table):
        qualifier, words = table[name]
        if value := text_of(said[name]):
            found.append((qualifier, value, text_of(said.get(words)) if words else ""))
    return found


def _dates(said: dict[str, Any]) -> Iterator[Period]:
    for name, value in said.items():
        if qualifier := names.DATES.get(name):
            for one in value[:MOST_REPEATS] if isinstance(value, list) else [value]:
                if (period := _period(qualifier, one)) is not None:
                    yield period


def _period(qualifier: str, value: Any) -> Period | None:
    """`20260101`, `20260101-20261231`, days with dashes, or an object with start and end."""
    if isinstance(value, dict):
        first, last = first_text(value, "startDate", "date"), first_text(value, "endDate")
    else:
        text = text_of(value)
        iso = re.fullmatch(r"(\d{4}-\d{2}-\d{2})(?:\s*-\s*(\d{4}-\d{2}-\d{2}))?", text, re.ASCII)
        first, _, last = (iso[1], "", iso[2] or "") if iso else text.partition("-")
    first, last = first.replace("-", "").strip(), last.replace("-", "").strip()
    return Period(qualifier, first, last) if first or last else None


def _entity(said: dict[str, Any]) -> Entity:
    contacts = objects_of(object_of(said.get("contactInformation")).get("contacts"))
    pairs = [(names.code_of(first_text(one, "communicationMode"), names.CONTACTS), one) for one in contacts]
    return Entity(
        code=names.code_of(first_text(said, "entityIdentifierCode", "entityIdentifier"), names.ENTITIES),
        family=first_text(said, "entityName", "entityLastname"),
        given=first_text(said, "entityFirstname"),
        middle=first_text(said, "entityMiddlename"),
        suffix=first_text(said, "entitySuffix"),
        qualifier=first_text(said, "entityIdentification"),
        id=first_text(said, "entityIdentificationValue"),
        person=first_text(said, "entityType").lower() == "person",
        address=_address(object_of(said.get("address"))),
        contacts=[(kind, number) for kind, one in pairs if (number := first_text(one, "communicationNumber"))],
        specialty=first_text(object_of(said.get("providerInformation")), "referenceIdentification"),
    )


def _address(said: dict[str, Any]) -> list[str]:
    return [text for name in ("address1", "address2", "city", "state", "postalCode") if (text := text_of(said.get(name)))]


# Rejections.


def _read_rejections(said: dict[str, Any], reply: Eligibility) -> list[str]:
    """Adds the AAA, each once though several places repeat it; returns the codes of errors that are none."""
    has_dependent = bool(objects_of(said.get("dependents")))
    found: dict[tuple[str, str], Rejection] = {}
    others: list[str] = []
    for loop, is_exact, error in islice(_errors(said, has_dependent=has_dependent), MOST_ERRORS):
        code = text_of(error.get("code")).upper()
        if not _AAA.fullmatch(code):
            others.append(code if _PLAIN_CODE.fullmatch(code) else "no code")
        elif is_exact or not any(_is_repeated(loop, code, *known) for known in found):
            where = loop or likely_loop(code, has_dependent=has_dependent)
            follow_up = names.code_of(first_text(error, "followupAction", "followUpAction"), names.FOLLOW_UPS)
            found.setdefault((where, code), Rejection(where, code, follow_up or None, 0))
    in_order = sorted(found.values(), key=lambda rejection: (rejection.loop[-1], rejection.loop))
    for rejection in in_order[:MOST_REPEATS]:
        reply.reject(rejection)
    return others


def _is_repeated(loop: str, code: str, known_loop: str, known_code: str) -> bool:
    """Whether an error that says its place less exactly repeats a known one: same code, same level."""
    return code == known_code and loop[-1:] in ("", known_loop[-1])


def _errors(said: dict[str, Any], *, has_dependent: bool) -> Iterator[tuple[str, bool, dict[str, Any]]]:
    """Every error with its loop, and whether that is exact; the ones that say most first, then those without a loop."""
    listed = [(_location(error), error) for error in objects_of(said.get("errors"))]
    yield from ((loop, True, error) for loop, error in listed if loop)
    for row in objects_of(said.get("benefitsInformation")):
        for error in objects_of(row.get("aaaErrors")):
            yield _location(error) or ("2110D" if has_dependent else "2110C"), True, error
    for name, loop in (("payer", "2100A"), ("provider", "2100B"), ("subscriber", "2100C"), ("dependents", "2100D")):
        for place in objects_of(said.get(name)):
            for error in objects_of(place.get("aaaErrors")):
                yield _location(error) or loop, False, error
    yield from (("", False, error) for loop, error in listed if not loop)


def _location(error: dict[str, Any]) -> str:
    found = _LOOP.search(text_of(error.get("location")))
    return found[1].upper() if found else ""


def likely_loop(code: str, *, has_dependent: bool) -> str:
    """Where a payer sends a code, when nobody says where it did."""
    if code in codes.AAA_PAYER:
        return "2100A"
    if code in codes.AAA_PROVIDER - {"15"}:
        return "2100B"
    return "2100D" if has_dependent and code in codes.AAA_DEPENDENT else "2100C"
