"""A 271 as a coverage: plans with their benefits, amounts gathered by network, messages about fields in place of AAA.

Deliberately written without the hub's own code, so that a mistake there does not cancel itself out here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_NETWORK = {"Y": "inNetwork", "N": "outOfNetwork", "W": "notApplicableNetwork"}
_KIND = {"A": "coInsurance", "B": "coPayment", "C": "deductibles", "G": "outOfPocket"}
_FIELD = {
    "72": "memberId",
    "64": "memberId",
    "71": "patientBirthDate",
    "58": "patientBirthDate",
    "73": "patientLastName",
    "65": "patientLastName",
    "74": "patientGender",
    "66": "patientGender",
    "75": "memberId",
    "67": "memberId",
}
_NOT_NOW = {"42": ("15", "Communication Error"), "80": ("7", "Communication Error")}


def rendered(segments: Iterable[str], id: str) -> dict[str, Any]:
    """The coverage a 271 comes to, given from BHT to before SE; about its first patient."""
    walk = _Walk()
    for raw in segments:
        walk.take([*(part.strip() for part in raw.split("*")), *[""] * 15])
    code, status = walk.status()
    return {
        "links": {"self": {"href": f"/v1/coverages/{id}"}},
        "id": id,
        "status": status,
        "statusCode": code,
        "controlNumber": f"9{id}",
        "subscriber": walk.subscriber,
        "patient": walk.patient,
        "payer": walk.payer,
        "requestingProvider": walk.provider,
        "plans": [walk.plan] if walk.plan else [],
        "validationMessages": walk.messages,
    }


class _Walk:
    """Goes through a 271 and puts each segment where it belongs."""

    def __init__(self) -> None:
        self.level = ""
        self.subscriber: dict[str, Any] = {}
        self.patient: dict[str, Any] = {"subscriberRelationshipCode": "18"}
        self.payer: dict[str, Any] = {}
        self.provider: dict[str, Any] = {}
        self.plan: dict[str, Any] = {}
        self.dates: dict[str, str] = {}
        self.messages: list[dict[str, Any]] = []
        self.last: dict[str, Any] = {}
        self.not_now = ""

    def status(self) -> tuple[str, str]:
        if self.not_now:
            return _NOT_NOW[self.not_now]
        return ("19", "Request Error") if self.messages else ("4", "Complete")

    def take(self, s: list[str]) -> None:
        match s[0]:
            case "HL":
                self.level = s[3]
                if self.level == "23":
                    self.patient = {"subscriberRelationshipCode": "19"}
            case "NM1" if not self.last:
                self._name(s)
            case "DMG":
                day = f"{s[2][:4]}-{s[2][4:6]}-{s[2][6:]}T05:00:00.000+0000"
                person = self.patient if self.level == "23" else self.subscriber
                person |= {"birthDate": day, "genderCode": s[3]}
            case "REF" if s[1] == "6P" and not self.last:
                self.dates["groupNumber"] = s[2]
            case "DTP" if s[1] == "346":
                self.dates["planStartDate"] = f"{s[3][:4]}-{s[3][4:6]}-{s[3][6:]}"
            case "AAA":
                self._reject(s)
            case "EB":
                self._benefit(s)
            case "III" if s[1] == "ZZ" and self.last:
                self.last["placeOfServiceCode"] = s[2]
            case "MSG" if self.last:
                self.last.setdefault("payerNotes", []).append(s[1])
            case "NM1" if self.last.get("payers") is not None:
                self.last["payers"].append({"name": s[3], "payerId": s[9], "primary": s[1] == "PRP"})

    def _name(self, s: list[str]) -> None:
        person = {name: value for name, value in (("lastName", s[3]), ("firstName", s[4]), ("middleName", s[5])) if value}
        match self.level:
            case "20":
                self.payer = {"name": s[3], "payerId": s[9], "responseName": s[3], "responsePayerId": s[9]}
            case "21":
                self.provider = {"lastName": s[3], "npi": s[9]}
            case "22":
                self.subscriber |= person | {"memberId": s[9]}
            case _:
                self.patient |= person

    def _reject(self, s: list[str]) -> None:
        if s[3] in _NOT_NOW and self.level == "20":
            self.not_now = s[3]
            return
        field = {"20": "payerId", "21": "providerNpi"}.get(self.level) or _FIELD.get(s[3], "patient")
        self.messages.append({"field": field, "code": s[3], "errorMessage": f"Reject reason {s[3]}", "index": None})

    def _benefit(self, s: list[str]) -> None:
        code, types = s[1], s[3].split("^") if s[3] else ["30"]
        if code in ("1", "2", "3", "4", "5", "6", "7", "8") and "30" in types and not self.plan:
            words = "Active Coverage" if code < "6" else "Inactive"
            self.plan = {
                "status": words,
                "statusCode": code,
                "planName": s[5],
                "insuranceTypeCode": s[4],
                **self.dates,
                "benefits": [],
            }
            self.last = self.plan
            return
        for one in types:
            place = self._place(one)
            if code in _KIND:
                self._amount(place, s)
            elif code == "R":
                self.last = {"payers": place.setdefault("additionalPayers", [])}
            else:
                self.last = {"statusCode": code, "authorizationRequired": {"Y": True, "N": False}.get(s[11])}
                place.setdefault("statusDetails", {}).setdefault(_NETWORK.get(s[12], "noNetwork"), []).append(self.last)

    def _place(self, service: str) -> dict[str, Any]:
        """Where a service's benefits stand; those of the plan as a whole stand in the plan."""
        self.plan = self.plan or {**self.dates, "benefits": []}
        if service == "30":
            return self.plan
        benefits: list[dict[str, Any]] = self.plan["benefits"]
        found = next((one for one in benefits if one["type"] == service), None)
        if found is None:
            found = {"name": f"Service {service}", "type": service}
            benefits.append(found)
        return found

    def _amount(self, place: dict[str, Any], s: list[str]) -> None:
        entries = place.setdefault("amounts", {}).setdefault(_KIND[s[1]], {}).setdefault(_NETWORK.get(s[12], "noNetwork"), [])
        entry = {"levelCode": s[2], "insuranceTypeCode": s[4]}
        if s[1] == "A":
            entry |= {"amount": s[8], "units": ""}
        elif s[6] == "29":
            entry |= {"remaining": s[7], "remainingTimePeriodCode": "29"}
        elif s[1] == "B":
            entry |= {"amount": s[7], "amountTimePeriodCode": s[6], "units": "Dollars"}
        else:
            entry |= {"total": s[7], "totalTimePeriodCode": s[6]}
        entries.append(entry)
        self.last = entry
