"""Which name in JSON is which code in X12 (005010X279A1)."""

from __future__ import annotations

import re

REFERENCES: dict[str, tuple[str, str]] = {
    "planNumber": ("18", "planDescription"),
    "policyNumber": ("1L", ""),
    "memberId": ("1W", ""),
    "familyUnitNumber": ("49", ""),
    "groupNumber": ("6P", "groupDescription"),
    "referralNumber": ("9F", ""),
    "alternativeListId": ("ALS", ""),
    "coverageListId": ("CLI", ""),
    "hicNumber": ("F6", ""),
    "drugFormularyNumber": ("FO", ""),
    "priorAuthorizationNumber": ("G1", ""),
    "insurancePolicyNumber": ("IG", ""),
    "medicalAssistanceCategory": ("M7", ""),
    "planNetworkIdNumber": ("N6", "planNetworkDescription"),
    "medicaidRecipientIdNumber": ("NQ", ""),
    "medicaidRecepientIdNumber": ("NQ", ""),
}
"""REF01 of a benefit, and the name under which its words (REF03) stand; one vendor spells "recipient" otherwise."""
MEMBER_REFERENCES = {name: pair for name, pair in REFERENCES.items() if name != "memberId"}
"""The same of a person, whose member id stands in the name."""

DATES: dict[str, str] = {
    "discharge": "096",
    "discharges": "096",
    "issue": "102",
    "effectiveDateOfChange": "152",
    "periodStart": "193",
    "periodEnd": "194",
    "completion": "198",
    "coordinationOfBenefits": "290",
    "plan": "291",
    "benefit": "292",
    "primaryCareProvider": "295",
    "latestVisitOrConsultation": "304",
    "eligibility": "307",
    "added": "318",
    "cobraBegin": "340",
    "cobraEnd": "341",
    "premiumPaidToDateBegin": "342",
    "premiumPaidtoDateBegin": "342",
    "premiumPaidToDateEnd": "343",
    "planBegin": "346",
    "planEnd": "347",
    "benefitBegin": "348",
    "benefitEnd": "349",
    "eligibilityBegin": "356",
    "eligibilityEnd": "357",
    "enrollment": "382",
    "admission": "435",
    "admissions": "435",
    "dateOfDeath": "442",
    "certification": "458",
    "service": "472",
    "policyEffective": "539",
    "policyExpiration": "540",
    "dateOfLastUpdate": "636",
    "status": "771",
}
"""DTP01."""

ENTITIES: dict[str, str] = {
    "contracted service provider": "13",
    "preferred provider organization": "1I",
    "provider": "1P",
    "third party administrator": "2B",
    "employer": "36",
    "other physician": "73",
    "facility": "FA",
    "gateway provider": "GP",
    "group": "GW",
    "independent physicians association": "I3",
    "insured or subscriber": "IL",
    "legal representative": "LR",
    "origin carrier": "OC",
    "primary care provider": "P3",
    "prior insurance carrier": "P4",
    "plan sponsor": "P5",
    "payer": "PR",
    "payor": "PR",
    "primary payer": "PRP",
    "secondary payer": "SEP",
    "tertiary payer": "TTP",
    "party performing verification": "VER",
    "vendor": "VN",
    "organization completing configuration change": "VY",
    "utilization management organization": "X3",
    "managed care organization": "Y2",
}
"""NM101 of a 2120, without what stands in brackets."""

CONTACTS: dict[str, str] = {
    "telephone": "TE",
    "facsimile": "FX",
    "electronic mail": "EM",
    "uniform resource locator": "UR",
    "electronic data interchange access number": "ED",
    "work phone number": "WP",
    "home phone number": "HP",
    "telephone extension": "EX",
}
"""PER03."""

FOLLOW_UPS: dict[str, str] = {
    "please correct and resubmit": "C",
    "resubmission not allowed": "N",
    "please resubmit original transaction": "P",
    "resubmission allowed": "R",
    "do not resubmit inquiry initiated to a third party": "S",
    "please wait 30 days and resubmit": "W",
    "please wait 10 days and resubmit": "X",
    "do not resubmit we will hold your request and respond again shortly": "Y",
}
"""AAA04."""

RELATIONSHIPS: dict[str, str] = {
    "self": "18",
    "spouse": "01",
    "child": "19",
    "employee": "20",
    "unknown": "21",
    "organ donor": "39",
    "cadaver donor": "40",
    "life partner": "53",
    "other relationship": "G8",
    "other adult": "34",
}
"""INS02."""

_ASIDE = re.compile(r"\([^)]*\)")
_SIGNS = re.compile(r"[^a-z0-9]+")


def code_of(words: str, table: dict[str, str]) -> str:
    """The code behind words; a code that is given in their place stays; empty when it is neither."""
    if words in table.values():
        return words
    return table.get(_SIGNS.sub(" ", _ASIDE.sub(" ", words.lower())).strip(), "")
