"""A question as JSON: what a 270 says, under the names clearinghouses give its elements."""

from __future__ import annotations

import json
from typing import Any

from hub.formats.x12.inquiry import Inquiry, PersonNamed, clean, require
from hub.formats.x12.write import MOST_CONTROL

_REFERENCES = {
    "SY": "ssn",
    "EJ": "patientAccountNumber",
    "18": "planNumber",
    "1L": "policyNumber",
    "IG": "insurancePolicyNumber",
    "F6": "healthInsuranceClaimNumber",
    "NQ": "medicaidRecipientIdentificationNumber",
    "HJ": "idCard",
    "Q4": "priorIdentifierNumber",
    "EA": "medicalRecordIdentificationNumber",
}
"""REF01 of a person, as JSON calls it; what has no field there is not sent."""
_RELATIONSHIP = {"spouse": "01", "child": "19", "other": "34", "dependent": "34"}


def control_number(number: int) -> str:
    """A durable number as the nine digits of ISA13, from 000000001 on."""
    return f"{(number - 1) % MOST_CONTROL + 1:09d}"


def build_request(inquiry: Inquiry, *, control: str) -> bytes:
    """One question; raises MessageUnusable when something a payer cannot do without is missing.

    `control` has nine digits and comes back in the answer.
    """
    require(inquiry)
    dependent = inquiry.patient
    subscriber = _person(inquiry.subscriber) | {
        "memberId": clean(inquiry.member_id, 80),
        "groupNumber": clean(inquiry.group, 50),
    }
    asked = _references(inquiry)
    said = {
        "controlNumber": control,
        "tradingPartnerServiceId": clean(inquiry.payer_id, 80),
        "tradingPartnerName": clean(inquiry.payer_name, 60),
        "provider": _provider(inquiry),
        "subscriber": subscriber if dependent else subscriber | asked,
        "dependents": [_person(dependent) | _relationship(inquiry) | asked] if dependent else [],
        "encounter": _encounter(inquiry),
    }
    return json.dumps(_filled(said), indent=1).encode()


def _provider(inquiry: Inquiry) -> dict[str, Any]:
    given, name = clean(inquiry.provider_given, 35), clean(inquiry.provider_name, 60)
    named = {"firstName": given, "lastName": name} if given else {"organizationName": name}
    taxonomy = clean(inquiry.provider_taxonomy, 50)
    role = {"providerCode": inquiry.provider_role, "referenceIdentification": taxonomy} if taxonomy else {}
    return named | {"npi": clean(inquiry.provider_npi, 80)} | role


def _person(person: PersonNamed) -> dict[str, Any]:
    return {
        "firstName": clean(person.given, 35),
        "lastName": clean(person.family, 60),
        "middleName": clean(person.middle, 25),
        "suffix": clean(person.suffix, 10),
        "dateOfBirth": person.birth_date.strftime("%Y%m%d") if person.birth_date else "",
        "gender": person.sex if person.sex in ("F", "M") else "",
    }


def _relationship(inquiry: Inquiry) -> dict[str, Any]:
    return {"individualRelationshipCode": _RELATIONSHIP.get(inquiry.relationship, "34")}


def _references(inquiry: Inquiry) -> dict[str, Any]:
    return {_REFERENCES[kind]: clean(value, 50) for kind, value in inquiry.references if kind in _REFERENCES}


def _encounter(inquiry: Inquiry) -> dict[str, Any]:
    first, last = inquiry.service_date, inquiry.service_end
    if last is None or last == first:
        days = {"dateOfService": first.strftime("%Y%m%d")}
    else:
        days = {"beginningDateOfService": first.strftime("%Y%m%d"), "endDateOfService": last.strftime("%Y%m%d")}
    return days | {"serviceTypeCodes": [clean(code, 2) for code in inquiry.service_types]}


def _filled(said: dict[str, Any]) -> dict[str, Any]:
    """Without what is empty: a payer may take an empty field for a wrong one."""
    kept = {}
    for name, value in said.items():
        if isinstance(value, dict):
            value = _filled(value)
        elif isinstance(value, list):
            value = [_filled(one) if isinstance(one, dict) else one for one in value]
        if value not in ("", [], {}):
            kept[name] = value
    return kept
