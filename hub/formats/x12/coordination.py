"""Who else pays, and which programmes the patient is in: each with the segment that says so and what it means for the clinic.

Nothing is re-ordered by itself: the order of payers is for a person to confirm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hub.formats.x12 import codes
from hub.formats.x12.eligibility import Benefit, Entity, Patient

PLAN = "30"
_PAYERS = ("PRP", "SEP", "TTP", "PR", "GP", "36", "2B")
"""Entities of a 2120 that pay, the first first."""
_RANK = {"PRP": "primary", "SEP": "secondary", "TTP": "tertiary"}
_POLICY = ("IG", "1L", "18", "6P", "F6", "NQ")
"""References that name a policy, plan or group."""
_CONFIRM = "Ask the patient for that card, and confirm which insurance pays first."
_ACTIONS = {
    "medicare_advantage": "This plan has taken the place of Medicare. Register it, and check coverage with it.",
    "medicare_secondary": f"Another insurance pays before Medicare. {_CONFIRM}",
    "part_d": "Drugs are covered by this plan. Nothing to do for a visit.",
    "medicaid_managed_care": "A managed care plan pays for Medicaid. Register it, and check coverage with it.",
    "other_payer": f"The payer knows of another insurance. {_CONFIRM}",
}


@dataclass(frozen=True, slots=True)
class OtherCoverage:
    """Another payer, as the answer names it."""

    kind: str
    """`medicare_advantage`, `medicare_secondary`, `part_d`, `medicaid_managed_care`, `other_payer`."""
    benefit: Benefit
    payer: Entity | None

    def as_dict(self) -> dict[str, Any]:
        benefit, payer = self.benefit, self.payer
        references = [{"qualifier": kind, "value": value, "text": text or None} for kind, value, text in benefit.references]
        return {
            "kind": self.kind,
            "segment": benefit.segment,
            "payer": {"name": payer.name or None, "id": payer.id or None} if payer else None,
            "rank": _RANK.get(payer.code) if payer else None,
            "insurance_type": benefit.insurance_type or None,
            "insurance": codes.EB04.get(benefit.insurance_type),
            "plan": benefit.plan or None,
            "policy": next((value for kind, value, _ in benefit.references if kind in _POLICY and value), None),
            "references": references,
            "dates": [{"qualifier": d.qualifier, "from": d.starts, "to": d.ends or None} for d in benefit.dates],
            "phone": next((number for kind, number in payer.contacts if kind == "TE"), None) if payer else None,
            "service_types": benefit.service_types,
            "action": _ACTIONS[self.kind],
        }


def other_coverages(patient: Patient) -> list[OtherCoverage]:
    """Every other payer the answer names, in order."""
    kinds = {b.insurance_type for b in patient.benefits}
    medicare = bool(kinds & codes.MEDICARE)
    medicaid = codes.MEDICAID in kinds
    found = []
    for benefit in patient.benefits:
        kind = _kind(benefit, medicare=medicare, medicaid=medicaid)
        if kind:
            found.append(OtherCoverage(kind, benefit, _payer(benefit)))
    return found


def _kind(benefit: Benefit, *, medicare: bool, medicaid: bool) -> str:
    about_plan = not benefit.service_types or PLAN in benefit.service_types
    insurance = benefit.insurance_type
    if benefit.code == "R":
        if insurance in codes.MEDICARE_SECOND and medicare:
            return "medicare_secondary"
        if medicare and insurance in codes.ADVANTAGE and about_plan:
            return "medicare_advantage"
        if medicare and benefit.service_types == ["88"]:
            return "part_d"
        return "medicaid_managed_care" if medicaid and insurance == "HM" else "other_payer"
    managed = benefit.code == "MC" or (benefit.code in codes.ACTIVE and insurance == "HM" and _payer(benefit) is not None)
    return "medicaid_managed_care" if medicaid and managed else ""


def _payer(benefit: Benefit) -> Entity | None:
    return next((entity for code in _PAYERS for entity in benefit.entities if entity.code == code), None)


_PROGRAMMES = {
    "medicare_part_a": "Medicare part A",
    "medicare_part_b": "Medicare part B",
    "qmb": "Qualified Medicare beneficiary: no co-payment, co-insurance or deductible may be asked of the patient.",
    "hospice": "In hospice care: what belongs to it is paid there.",
    "home_health": "In a home health episode.",
    "esrd": "End-stage renal disease.",
    "medicaid": "Medicaid",
    "spend_down": "Medicaid spend-down: the patient pays this amount first.",
    "restricted": "Restricted to the named provider. Check that it is ours.",
}


def programmes(patient: Patient) -> list[dict[str, Any]]:
    """What the patient is in that changes who pays, once each, with the segment that says so and its days."""
    found: dict[str, Benefit] = {}
    for benefit in patient.benefits:
        for name in _named(benefit):
            found.setdefault(name, benefit)
    return [
        {
            "name": name,
            "segment": benefit.segment,
            "text": _PROGRAMMES[name],
            "amount": benefit.amount or None if name == "spend_down" else None,
            "dates": [{"qualifier": d.qualifier, "from": d.starts, "to": d.ends or None} for d in benefit.dates],
        }
        for name, benefit in found.items()
    ]


def _named(benefit: Benefit) -> list[str]:
    names = []
    active = benefit.code in codes.ACTIVE
    types = benefit.service_types
    if active:
        by_type = {"MA": "medicare_part_a", "MB": "medicare_part_b", codes.MEDICAID: "medicaid"}
        names += [by_type[benefit.insurance_type]] if benefit.insurance_type in by_type else []
    if benefit.insurance_type == "QM" and benefit.code not in codes.INACTIVE:
        names.append("qmb")
    if benefit.code == "X":
        names += [name for code, name in (("45", "hospice"), ("42", "home_health")) if code in types]
    if benefit.code == "D" and {"14", "15"} & set(types):
        names.append("esrd")
    if benefit.code == "Y":
        names.append("spend_down")
    if benefit.code == "N":
        names.append("restricted")
    return names
