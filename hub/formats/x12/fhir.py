"""A 271 as FHIR R4 CoverageEligibilityResponse: one resource for each patient of the answer.

Amounts that X12 has and FHIR has no place for (what remains) and the segment a value comes from stand in extensions.  Who is
named stands as contained resources, for the hub does not know the identities of a FHIR server.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from hub.formats.x12 import codes
from hub.formats.x12.service_types import SERVICE_TYPES
from hub.formats.x12.values import NUMBER, is_day

REMAINING = "urn:clinic-hub:fhir:remaining"
"""Extension on a benefit: money that is left of it."""
SEGMENT = "urn:clinic-hub:fhir:x12-segment"
"""Extension: position of the EB segment in its transaction set, from ST = 1."""
_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem/"
_SERVICE_TYPE = "https://x12.org/codes/service-type-codes"
_REJECT_REASON = "https://x12.org/codes/eligibility-reject-reason-codes"
_UNIT = {"IND": "individual", "FAM": "family"}
_TERM = {"day": "day", "lifetime": "lifetime", "calendar year": "annual", "service year": "annual", "contract": "annual"}
_NETWORK = {"in": "in", "out": "out", "Y": "in", "N": "out"}
_ACTIVE = ("active", "active_review")


def resources(described: dict[str, Any], created: date) -> list[dict[str, Any]]:
    """The resources of a file as `report.describe` tells it; `created` is the day they are made."""
    found = []
    for interchange in described["interchanges"]:
        for transaction in (t for group in interchange["groups"] for t in group["transactions"]):
            if transaction["set"] != "271":
                continue
            above = transaction.get("rejections", [])
            for coverage in transaction.get("coverages", []):
                found.append(resource(coverage, above, created))
            if above and not transaction.get("coverages"):
                found.append(_nobody(transaction, above, created))
    return found


def resource(coverage: dict[str, Any], above: list[dict[str, Any]], created: date) -> dict[str, Any]:
    rejections = [*above, *coverage["rejections"]]
    return _without_empty(  # type: ignore[no-any-return]
        {
            "resourceType": "CoverageEligibilityResponse",
            "contained": [_patient(coverage), _insurer(coverage), _contained_coverage(coverage), *_requestor(coverage)],
            "status": "active",
            "purpose": ["benefits"],
            "patient": {"reference": "#patient"},
            "created": created.isoformat(),
            "requestor": {"reference": "#requestor"} if coverage["provider"]["name"] else None,
            "request": _request(coverage["trace_numbers"]),
            "outcome": "error" if coverage["status"] == "rejected" else "complete",
            "disposition": coverage["status"],
            "insurer": {"reference": "#insurer"},
            "insurance": [_insurance(coverage)],
            "error": [_error(rejection) for rejection in rejections],
        }
    )


def _nobody(transaction: dict[str, Any], rejections: list[dict[str, Any]], created: date) -> dict[str, Any]:
    """The payer or the provider was refused before any patient was looked for."""
    unknown = {"display": "not named in the answer"}
    return {
        "resourceType": "CoverageEligibilityResponse",
        "status": "active",
        "purpose": ["benefits"],
        "patient": unknown,
        "created": created.isoformat(),
        "request": {"identifier": {"value": transaction["control_number"] or "unknown"}},
        "outcome": "error",
        "disposition": "rejected",
        "insurer": unknown,
        "error": [_error(rejection) for rejection in rejections],
    }


def _request(traces: list[str]) -> dict[str, Any]:
    return {"identifier": {"value": traces[0]}} if traces else {"display": "no trace number in the answer"}


def _patient(coverage: dict[str, Any]) -> dict[str, Any]:
    person = coverage["patient"]
    return {
        "resourceType": "Patient",
        "id": "patient",
        "name": [_name(person)] if person["family"] or person["given"] else None,
        "birthDate": _day(person["birth_date"]),
    }


def _name(person: dict[str, Any]) -> dict[str, Any]:
    return {"family": person["family"], "given": [person["given"]] if person["given"] else None}


def _insurer(coverage: dict[str, Any]) -> dict[str, Any]:
    payer = coverage["payer"]
    return {
        "resourceType": "Organization",
        "id": "insurer",
        "identifier": [{"value": payer["id"]}] if payer["id"] else None,
        "name": payer["name"] or "not named",
    }


def _requestor(coverage: dict[str, Any]) -> list[dict[str, Any]]:
    provider = coverage["provider"]
    if not provider["name"]:
        return []
    npi = [{"system": "http://hl7.org/fhir/sid/us-npi", "value": provider["npi"]}] if provider["npi"] else None
    return [{"resourceType": "Organization", "id": "requestor", "identifier": npi, "name": provider["name"]}]


def _contained_coverage(coverage: dict[str, Any]) -> dict[str, Any]:
    subscriber, group = coverage["subscriber"], coverage["subscriber"]["group"]
    classes = [("group", group), ("plan", coverage["plan"])]
    return {
        "resourceType": "Coverage",
        "id": "coverage",
        "status": "active" if coverage["status"] in _ACTIVE else "cancelled",
        "subscriberId": subscriber["member_id"],
        "beneficiary": {"reference": "#patient"},
        "relationship": {"text": coverage["patient"]["relationship"]},
        "period": _period(coverage["covered_from"], coverage["covered_to"]),
        "payor": [{"reference": "#insurer"}],
        "class": [
            {"type": _coded("coverage-class", kind), "value": value, "name": value if kind == "plan" else None}
            for kind, value in classes
            if value
        ],
    }


def _insurance(coverage: dict[str, Any]) -> dict[str, Any]:
    items = [_counted(one) for one in coverage["accumulators"]]
    items += [item for benefit in coverage["benefits"] if (item := _item(benefit)) is not None]
    inforce = {"active": True, "inactive": False, "not_covered": False}.get(coverage["status"])
    return {
        "coverage": {"reference": "#coverage"},
        "inforce": inforce,
        "benefitPeriod": _period(coverage["covered_from"], coverage["covered_to"]),
        "item": items,
    }


def _item(benefit: dict[str, Any]) -> dict[str, Any] | None:
    """What the accumulators do not hold: what is covered, co-payments, shares, what is not covered."""
    code = benefit["code"]
    if code in codes.ACTIVE:
        benefits = []
    elif code == "B" and benefit["amount"]:
        benefits = [_benefit("copay", _money(benefit["amount"]), benefit["segment"])]
    elif code == "A" and benefit["percent"]:
        benefits = [_benefit("copay-percent", _percent(benefit["percent"]), benefit["segment"])]
    elif code == "I":
        benefits = []
    else:
        return None
    return {
        "extension": [_segment(benefit["segment"])],
        "category": _category(benefit["service_types"]),
        "excluded": True if code == "I" else None,
        "name": benefit["plan"],
        "description": "; ".join(benefit["messages"]) or None,
        "network": _network(benefit["network"]),
        "unit": _unit(benefit["level"]),
        "benefit": benefits,
        "authorizationRequired": benefit["authorization"],
    }


def _counted(one: dict[str, Any]) -> dict[str, Any]:
    """Base as allowed, met as used; what remains in an extension."""
    base, met, remaining = (one[name] for name in ("base", "met", "remaining"))
    used = met["amount"] if met else one["worked_out"].get("met")
    segments = [said["segment"] for said in (base, met, remaining) if said]
    left = remaining["amount"] if remaining else one["worked_out"].get("remaining")
    extensions = [_segment(segment) for segment in segments]
    if left and (money := _money(left)):
        extensions.append({"url": REMAINING, "valueMoney": money["allowedMoney"]})
    kind = {"deductible": "deductible", "out_of_pocket": "copay-maximum"}.get(one["kind"], "benefit")
    benefit: dict[str, Any] = {"extension": extensions, "type": _coded("benefit-type", kind)}
    benefit |= _money(base["amount"] if base else one["worked_out"].get("base")) or {}
    if used and (money := _money(used)):
        benefit["usedMoney"] = money["allowedMoney"]
    term = _TERM.get(one["span"] or "")
    return {
        "category": _category(one["service_types"]),
        "name": one["plan"],
        "description": "; ".join(one["messages"]) or None,
        "network": _network(one["network"]),
        "unit": _unit(one["level"]),
        "term": _coded("benefit-term", term) if term else None,
        "benefit": [benefit],
    }


def _benefit(kind: str, value: dict[str, Any] | None, segment: int) -> dict[str, Any]:
    return {"extension": [_segment(segment)], "type": _coded("benefit-type", kind), **(value or {})}


def _money(text: str | None) -> dict[str, Any] | None:
    if not text or len(text) > 20 or not NUMBER.fullmatch(text):
        return None
    return {"allowedMoney": {"value": float(text), "currency": "USD"}}


def _percent(text: str) -> dict[str, Any]:
    """X12 writes a share (.2), FHIR has whole units only; what is not a whole percent goes as text."""
    share = float(text) * 100 if len(text) <= 20 and NUMBER.fullmatch(text) else None
    if share is not None and 0 <= share <= 100 and share == int(share):
        return {"allowedUnsignedInt": int(share)}
    return {"allowedString": text}


def _segment(position: int) -> dict[str, Any]:
    return {"url": SEGMENT, "valuePositiveInt": position}


def _category(service_types: list[str]) -> dict[str, Any] | None:
    if not service_types:
        return None
    return {"coding": [{"system": _SERVICE_TYPE, "code": code, "display": SERVICE_TYPES.get(code)} for code in service_types]}


def _network(code: str | None) -> dict[str, Any] | None:
    known = _NETWORK.get(code or "")
    if known:
        return _coded("benefit-network", known)
    return {"text": "in and out of network"} if code in ("both", "W") else None


def _unit(level: str | None) -> dict[str, Any] | None:
    known = _UNIT.get(level or "")
    return _coded("benefit-unit", known) if known else ({"text": codes.EB02.get(level, level)} if level else None)


def _coded(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": _TERMINOLOGY + system, "code": code}]}


def _error(rejection: dict[str, Any]) -> dict[str, Any]:
    coding = {"system": _REJECT_REASON, "code": rejection["code"], "display": rejection["text"]}
    return {"code": {"coding": [coding], "text": f"{rejection['loop']}: {rejection['text']}"}}


def _period(first: str | None, last: str | None) -> dict[str, Any] | None:
    return {"start": _day(first), "end": _day(last)} if first or last else None


def _day(text: str | None) -> str | None:
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if text and is_day(text) else None


def _without_empty(value: Any) -> Any:
    """FHIR has no empty lists, objects or nulls."""
    if isinstance(value, dict):
        kept = {name: _without_empty(inner) for name, inner in value.items()}
        return {name: inner for name, inner in kept.items() if inner not in (None, "", [], {})}
    if isinstance(value, list):
        return [inner for item in value if (inner := _without_empty(item)) not in (None, "", [], {})]
    return value
