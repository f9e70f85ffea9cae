"""A question as form fields: what a 270 says, under the names a coverage service gives it."""

from __future__ import annotations

from urllib.parse import urlencode

from hub.formats.x12.inquiry import Inquiry, clean, require

_RELATIONSHIP = {"self": "18", "spouse": "01", "child": "19"}
_OTHER = "G8"
_REFERENCES = {
    "SY": "patientSSN",
    "EJ": "patientAccountNumber",
    "EA": "medicalRecordIdentificationNumber",
    "18": "planNumber",
    "IG": "insurancePolicyNumber",
    "N6": "planNetworkIdentificationNumber",
    "F6": "healthInsuranceClaimNumber",
    "NQ": "medicaidId",
    "HJ": "identityCardNumber",
}
"""REF01 of the patient, as the form calls it; what has no field there is not sent."""


def build_form(inquiry: Inquiry) -> bytes:
    """One question; raises MessageUnusable when something a payer cannot do without is missing.

    A form speaks of one person, the patient; that somebody else is the insured is said by the relationship.
    """
    require(inquiry)
    patient = inquiry.patient or inquiry.subscriber
    relationship = _RELATIONSHIP.get(inquiry.relationship, _OTHER) if inquiry.patient else _RELATIONSHIP["self"]
    tax_id = next((value for kind, value in inquiry.provider_references if kind == "TJ"), "")
    fields = [
        ("payerId", clean(inquiry.payer_id, 80)),
        ("providerNpi", clean(inquiry.provider_npi, 80)),
        ("providerLastName", clean(inquiry.provider_name, 60)),
        ("providerFirstName", clean(inquiry.provider_given, 35)),
        ("providerTaxId", clean(tax_id, 50)),
        ("providerSpecialty", clean(inquiry.provider_taxonomy, 50)),
        ("memberId", clean(inquiry.member_id, 80)),
        ("patientLastName", clean(patient.family, 60)),
        ("patientFirstName", clean(patient.given, 35)),
        ("patientMiddleName", clean(patient.middle, 25)),
        ("patientSuffix", clean(patient.suffix, 10)),
        ("patientBirthDate", patient.birth_date.isoformat() if patient.birth_date else ""),
        ("patientGender", patient.sex if patient.sex in ("F", "M") else ""),
        ("subscriberRelationship", relationship),
        ("groupNumber", clean(inquiry.group, 50)),
        ("asOfDate", inquiry.service_date.isoformat()),
        ("toDate", inquiry.service_end.isoformat() if inquiry.service_end else ""),
        *(("serviceType", clean(code, 2)) for code in inquiry.service_types),
        *((_REFERENCES[kind], clean(value, 50)) for kind, value in inquiry.references if kind in _REFERENCES),
    ]
    return urlencode([(name, value) for name, value in fields if value]).encode()
