"""A 271 as the JSON of eligibility v3: every element under its name, with words beside codes as clearinghouses send them.

Deliberately written without the hub's own code, so that a mistake there does not cancel itself out here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

_FOLLOW_UP = {
    "C": "Please Correct and Resubmit",
    "N": "Resubmission Not Allowed",
    "P": "Please Resubmit Original Transaction",
    "R": "Resubmission Allowed",
    "S": "Do Not Resubmit; Inquiry Initiated to a Third Party",
    "W": "Please Wait 30 Days and Resubmit",
    "X": "Please Wait 10 Days and Resubmit",
    "Y": "Do Not Resubmit; We Will Hold Your Request and Respond Again Shortly",
}
_ENTITY = {
    "13": "Contracted Service Provider",
    "1I": "Preferred Provider Organization (PPO)",
    "1P": "Provider",
    "2B": "Third-Party Administrator",
    "36": "Employer",
    "73": "Other Physician",
    "FA": "Facility",
    "GP": "Gateway Provider",
    "GW": "Group",
    "I3": "Independent Physicians Association (IPA)",
    "IL": "Insured or Subscriber",
    "LR": "Legal Representative",
    "OC": "Origin Carrier",
    "P3": "Primary Care Provider",
    "P4": "Prior Insurance Carrier",
    "P5": "Plan Sponsor",
    "PR": "Payer",
    "PRP": "Primary Payer",
    "SEP": "Secondary Payer",
    "TTP": "Tertiary Payer",
    "VER": "Party Performing Verification",
    "VN": "Vendor",
    "VY": "Organization Completing Configuration Change",
    "X3": "Utilization Management Organization",
    "Y2": "Managed Care Organization",
}
_MODE = {"TE": "Telephone", "FX": "Facsimile", "EM": "Electronic Mail", "UR": "Uniform Resource Locator (URL)",
         "ED": "Electronic Data Interchange Access Number", "WP": "Work Phone Number"}  # fmt: skip
_RELATION = {"01": "Spouse", "19": "Child", "20": "Employee", "21": "Unknown", "34": "Other Adult", "39": "Organ Donor",
             "53": "Life Partner", "G8": "Other Relationship", "18": "Self"}  # fmt: skip
_DATE = {
    "096": "discharge", "102": "issue", "152": "effectiveDateOfChange", "193": "periodStart", "194": "periodEnd",
    "198": "completion", "290": "coordinationOfBenefits", "291": "plan", "292": "benefit", "295": "primaryCareProvider",
    "304": "latestVisitOrConsultation", "307": "eligibility", "318": "added", "340": "cobraBegin", "341": "cobraEnd",
    "342": "premiumPaidToDateBegin", "343": "premiumPaidToDateEnd", "346": "planBegin", "347": "planEnd", "348": "benefitBegin",
    "349": "benefitEnd", "356": "eligibilityBegin", "357": "eligibilityEnd", "382": "enrollment", "435": "admission",
    "442": "dateOfDeath", "458": "certification", "472": "service", "539": "policyEffective", "540": "policyExpiration",
    "636": "dateOfLastUpdate", "771": "status",
}  # fmt: skip
_REF = {
    "18": ("planNumber", "planDescription"),
    "1L": ("policyNumber", ""),
    "1W": ("memberId", ""),
    "49": ("familyUnitNumber", ""),
    "6P": ("groupNumber", "groupDescription"),
    "9F": ("referralNumber", ""),
    "ALS": ("alternativeListId", ""),
    "CLI": ("coverageListId", ""),
    "F6": ("hicNumber", ""),
    "FO": ("drugFormularyNumber", ""),
    "G1": ("priorAuthorizationNumber", ""),
    "IG": ("insurancePolicyNumber", ""),
    "M7": ("medicalAssistanceCategory", ""),
    "N6": ("planNetworkIdNumber", "planNetworkDescription"),
    "NQ": ("medicaidRecepientIdNumber", ""),
}
_PERSON = ("lastName", "firstName", "middleName", "", "suffix")
_EB = (
    "code",
    "coverageLevelCode",
    "",
    "insuranceTypeCode",
    "planCoverage",
    "timeQualifierCode",
    "benefitAmount",
    "benefitPercent",
    "quantityQualifierCode",
    "benefitQuantity",
    "authOrCertIndicator",
    "inPlanNetworkIndicatorCode",
)
_HSD = (
    "quantityQualifierCode",
    "quantity",
    "unitForMeasurementQualifierCode",
    "sampleSelectionModulus",
    "timePeriodQualifierCode",
    "numOfPeriods",
    "deliveryOrCalendarPatternQualifierCode",
    "deliveryPatternTimeQualifierCode",
)


def rendered(segments: Iterable[str], control_number: str, trading_partner: str) -> dict[str, Any]:
    """The JSON of a 271, given from BHT to before SE; only its first patient has a place in it."""
    walk = _Walk()
    for raw in segments:
        walk.take([part.strip() for part in raw.split("*")])
    walk.result |= {
        "meta": {"senderId": "SIMULATOR", "applicationMode": "sandbox", "traceId": f"trace-{control_number}"},
        "controlNumber": control_number,
        "reassociationKey": control_number,
        "tradingPartnerServiceId": trading_partner,
        "errors": walk.errors,
    }
    return {name: value for name, value in walk.result.items() if value or name == "errors"}


class _Walk:
    """Goes through a 271 and puts each segment where its JSON stands."""

    def __init__(self) -> None:
        self.result: dict[str, Any] = {"benefitsInformation": [], "subscriberTraceNumbers": []}
        self.errors: list[dict[str, str]] = []
        self.level = ""
        self.place: dict[str, Any] = {}
        self.benefit: dict[str, Any] | None = None

    def take(self, s: list[str]) -> None:
        s = s + [""] * 15
        match s[0]:
            case "HL":
                self._open(s[3])
            case "NM1" if self.benefit is None:
                self._name(s)
            case "NM1":
                self.benefit.setdefault("benefitsRelatedEntities", []).append(_entity(s))  # type: ignore[union-attr]
            case "TRN":
                numbers = {"traceTypeCode": s[1], "referenceIdentification": s[2], "originatingCompanyIdentifier": s[3]}
                self.result["subscriberTraceNumbers"].append(numbers)
            case "DMG":
                self.place |= _without_empty({"dateOfBirth": s[2], "gender": s[3]})
            case "INS" if self.level == "23":
                self.place |= {"relationToSubscriber": _RELATION.get(s[2], ""), "relationToSubscriberCode": s[2]}
            case "AAA":
                self._reject(s)
            case "EB":
                self._benefit(s)
            case _ if self.benefit is not None:
                self._in_benefit(s, self.benefit)
            case "REF":
                self.place |= _reference(s)
            case "DTP":
                self.result.setdefault("planDateInformation", {}).update(_day(s))

    def _open(self, kind: str) -> None:
        self.level, self.benefit, self.place = kind, None, {}
        match kind:
            case "20":
                self.result["payer"] = self.place
            case "21":
                self.result["provider"] = self.place
            case "22":
                self.result["subscriber"] = self.place
            case "23":
                self.result["dependents"] = [self.place]

    def _name(self, s: list[str]) -> None:
        kind = "Person" if s[2] == "1" else "Non-Person Entity"
        self.place |= {"entityIdentifier": _ENTITY.get(s[1], "Dependent"), "entityType": kind}
        if self.level in ("22", "23"):
            names = {name: s[3 + number] for number, name in enumerate(_PERSON) if name}
            self.place |= _without_empty({**names, "memberId": s[9]})
        elif self.level == "20":
            self.place |= _without_empty({"name": s[3], "payorIdentification": s[9]})
        elif s[2] == "1":
            self.place |= _without_empty({"providerLastName": s[3], "providerFirstName": s[4], "npi": s[9]})
        else:
            self.place |= _without_empty({"providerName": s[3], "npi": s[9]})

    def _reject(self, s: list[str]) -> None:
        loop = {"20": "2100A", "21": "2100B", "22": "2100C", "23": "2100D"}[self.level]
        if self.level == "20" and not self.place:
            loop = "2000A"
        elif self.benefit is not None:
            loop = loop.replace("2100", "2110")
        error = {"field": "AAA", "code": s[3], "description": f"Reject reason {s[3]}", "location": f"Loop {loop}",
                 "followupAction": _FOLLOW_UP.get(s[4], ""), "possibleResolutions": "See the payer's guide."}  # fmt: skip
        self.errors.append(error)
        self.place.setdefault("aaaErrors", []).append({name: error[name] for name in ("field", "code", "followupAction")})
        if self.benefit is not None:
            self.place["aaaErrors"].pop()
            self.benefit.setdefault("aaaErrors", []).append(error)

    def _benefit(self, s: list[str]) -> None:
        self.benefit = _without_empty({name: s[number] for number, name in enumerate(_EB, 1) if name})
        if s[3]:
            self.benefit["serviceTypeCodes"] = s[3].split("^")
        if s[13]:
            kind, _, rest = s[13].partition(":")
            code, *modifiers = rest.split(":")
            procedure = {"productOrServiceIdQualifierCode": kind, "procedureCode": code, "procedureModifiers": modifiers}
            self.benefit["compositeMedicalProcedureIdentifier"] = procedure
        self.result["benefitsInformation"].append(self.benefit)

    def _in_benefit(self, s: list[str], benefit: dict[str, Any]) -> None:
        match s[0]:
            case "MSG":
                benefit.setdefault("additionalInformation", []).append({"description": s[1]})
            case "DTP":
                benefit.setdefault("benefitsDateInformation", {}).update(_day(s))
            case "REF":
                benefit.setdefault("benefitsAdditionalInformation", {}).update(_reference(s))
            case "HSD":
                said = _without_empty({name: s[number] for number, name in enumerate(_HSD, 1)})
                benefit.setdefault("benefitsServiceDelivery", []).append(said)
            case "III":
                more = {"codeListQualifierCode": s[1], "industryCode": s[2]}
                benefit.setdefault("eligibilityAdditionalInformationList", []).append(more)
            case "N3" | "N4" | "PER" | "PRV" if benefit.get("benefitsRelatedEntities"):
                _describe(benefit["benefitsRelatedEntities"][-1], s)


def _day(s: Sequence[str]) -> dict[str, str]:
    return {_DATE[s[1]]: s[3]} if s[1] in _DATE else {}


def _reference(s: Sequence[str]) -> dict[str, str]:
    name, words = _REF.get(s[1], ("", ""))
    return _without_empty({name: s[2], words: s[3]} if words else {name: s[2]}) if name else {}


def _entity(s: Sequence[str]) -> dict[str, Any]:
    said = {"entityIdentifier": _ENTITY.get(s[1], ""), "entityName": s[3], "entityFirstname": s[4], "entityMiddlename": s[5],
            "entitySuffix": s[7], "entityIdentification": s[8], "entityIdentificationValue": s[9]}  # fmt: skip
    return {"entityType": "Person" if s[2] == "1" else "Non-Person Entity", **_without_empty(said)}


def _describe(entity: dict[str, Any], s: Sequence[str]) -> None:
    match s[0]:
        case "N3":
            entity.setdefault("address", {}).update(_without_empty({"address1": s[1], "address2": s[2]}))
        case "N4":
            entity.setdefault("address", {}).update(_without_empty({"city": s[1], "state": s[2], "postalCode": s[3]}))
        case "PER":
            pairs = [(s[number], s[number + 1]) for number in (3, 5, 7) if s[number + 1]]
            contacts = [{"communicationMode": _MODE.get(mode, mode), "communicationNumber": to} for mode, to in pairs]
            entity.setdefault("contactInformation", {}).setdefault("contacts", []).extend(contacts)
        case "PRV":
            entity["providerInformation"] = {"providerCode": s[1], "referenceIdentification": s[3]}


def _without_empty(said: dict[str, str]) -> dict[str, Any]:
    return {name: value for name, value in said.items() if value}
