"""What a 271 amounts to: one status, and the amounts for a visit, each pointing at its segment.

Nothing is summed and nothing guessed: amounts are texts as the payer sent them, a choice says why it was made, and where the
rules leave several different amounts there is no choice.  What the payer did not say is None, never 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from hub.formats.x12 import codes
from hub.formats.x12.eligibility import Benefit, Patient

PLAN = "30"
"""Service type of the plan as a whole (health benefit plan coverage)."""
OFFICE_VISIT = "98"
_AMOUNT = re.compile(r"-?([0-9]+\.?[0-9]*|\.[0-9]+)")


@dataclass(frozen=True, slots=True)
class Chosen:
    """One amount, where it stands, and why it was taken; no amount when the rules could not decide."""

    amount: str | None
    segments: tuple[int, ...]
    why: str


def status(patient: Patient, service_types: Sequence[str] = (), *, rejected_above: bool = False) -> str:
    """`active`, `active_review`, `inactive`, `not_covered`, `unknown`, `rejected`.

    The plan as a whole (EB03 = 30) decides; if it is not mentioned the asked service types do, and another one never.
    """
    relevant = _most_relevant([b for b in patient.benefits if b.code in _STATUS_CODES], service_types)
    said = {b.code for b in relevant}
    active = bool(said & codes.ACTIVE)
    inactive = bool(said & codes.INACTIVE)
    if rejected_above or patient.rejections:
        return "active_review" if active else "rejected"
    if codes.ACTIVE_PENDING in said or (active and inactive) or len(_families(relevant)) > 1:
        return "active_review"
    if active:
        return "not_covered" if _refused(patient, set(service_types) - {PLAN}) else "active"
    if inactive:
        return "inactive"
    return "not_covered" if _not_covered_at_all(patient, {PLAN, *service_types}) else "unknown"


_STATUS_CODES = codes.ACTIVE | codes.INACTIVE | codes.NO_ANSWER | {codes.ACTIVE_PENDING}


def _most_relevant(benefits: list[Benefit], service_types: Sequence[str]) -> list[Benefit]:
    """Those about the plan, else about what was asked, else about no service in particular; all when nothing was asked."""
    for wanted in ({PLAN}, set(service_types)):
        found = [b for b in benefits if wanted & set(b.service_types)]
        if found:
            return found
    return [b for b in benefits if not b.service_types] if service_types else benefits


def _families(benefits: list[Benefit]) -> set[str]:
    """The kinds of insurance (EB04) that are active; the parts of Medicare are one."""
    kinds = {b.insurance_type for b in benefits if b.code in codes.ACTIVE and b.insurance_type}
    return {"Medicare" if kind in codes.MEDICARE_PARTS else kind for kind in kinds}


def _refused(patient: Patient, asked: set[str]) -> bool:
    """Whether what was asked for is not covered, other than out of network."""
    return any(b.code == "I" and b.network != "N" and asked & set(b.service_types) for b in patient.benefits)


def _not_covered_at_all(patient: Patient, asked: set[str]) -> bool:
    """A message beside it may say something else, for instance that the patient was not found."""
    said = [b for b in patient.benefits if b.code == "I" and not b.messages]
    return any(not b.service_types or asked & set(b.service_types) for b in said)


def plan_name(patient: Patient) -> str | None:
    """EB05 of the plan's own status, else of any status."""
    active = [b for b in patient.benefits if b.code in _STATUS_CODES and b.plan]
    whole = [b for b in active if PLAN in b.service_types]
    return next((b.plan for b in whole or active), None)


def group_number(patient: Patient) -> str | None:
    for level in (patient.level, patient.subscriber):
        for qualifier in ("6P", "1L"):
            if value := level.reference(qualifier):
                return value
    return None


def co_payment(patient: Patient, service_types: Sequence[str] = ()) -> Chosen | None:
    """The co-payment of one visit (EB*B); None when the payer named none."""
    rows = [b for b in patient.benefits if b.code == "B" and b.amount and b.period in ("", codes.PERIOD_VISIT)]
    rows = [b for b in rows if b.network != "N"]
    rows = _for_service(rows, service_types)
    rows, network = _prefer_network(rows)
    rows = _prefer_office(rows)
    return _only_one(rows, f"co-payment{network}")


def deductible_remaining(patient: Patient) -> Chosen | None:
    """What is left of the deductible (EB*C, period 29); the smaller of individual and family, which is what binds first."""
    rows = [b for b in patient.benefits if b.code == "C" and b.amount and b.period == codes.PERIOD_REMAINING]
    rows = [b for b in rows if b.network != "N"]
    rows = [b for b in rows if not b.service_types or PLAN in b.service_types] or rows
    individual = _remaining([b for b in rows if b.level in ("IND", "")], "individual")
    family = _remaining([b for b in rows if b.level == "FAM"], "family")
    if individual is None or family is None:
        return individual or family
    unclear = next((c for c in (individual, family) if c.amount is None), None)
    if unclear is not None:
        return Chosen(None, individual.segments + family.segments, unclear.why)
    smaller, other = sorted((individual, family), key=lambda c: Decimal(c.amount or 0))
    return Chosen(smaller.amount, smaller.segments, f"{smaller.why}: smaller than segment {other.segments[0]}")


def _remaining(rows: list[Benefit], whose: str) -> Chosen | None:
    rows, network = _prefer_network(rows)
    return _only_one(rows, f"remaining {whose} deductible{network}")


def _for_service(rows: list[Benefit], service_types: Sequence[str]) -> list[Benefit]:
    for wanted in (*service_types, OFFICE_VISIT, PLAN):
        found = [b for b in rows if wanted in b.service_types]
        if found:
            return found
    return [b for b in rows if not b.service_types]


def _prefer_network(rows: list[Benefit]) -> tuple[list[Benefit], str]:
    for network, words in (("Y", " in network"), ("W", " in and out of network")):
        found = [b for b in rows if b.network == network]
        if found:
            return found, words
    return rows, ", network not said" if rows else ""


def _prefer_office(rows: list[Benefit]) -> list[Benefit]:
    return [b for b in rows if "11" in b.places] or [b for b in rows if not b.places] or rows


def _only_one(rows: list[Benefit], why: str) -> Chosen | None:
    if not rows:
        return None
    segments = tuple(b.segment for b in rows)
    if not all(_AMOUNT.fullmatch(b.amount) for b in rows):
        return Chosen(None, segments, "the payer named an amount that is no number")
    if len({Decimal(b.amount) for b in rows}) > 1:
        return Chosen(None, segments, "the payer named several different amounts")
    return Chosen(rows[0].amount, segments[:1], why)


def plan_instead(patient: Patient) -> Benefit | None:
    """The plan that has taken the place of original Medicare (Medicare Advantage), when the answer names one."""
    if not any(b.insurance_type in codes.MEDICARE for b in patient.benefits):
        return None
    others = (b for b in patient.benefits if b.code == "R" and b.insurance_type in codes.ADVANTAGE)
    return next((b for b in others if not b.service_types or PLAN in b.service_types), None)


def entity_names(benefits: Iterable[Benefit]) -> list[str]:
    return [entity.name for benefit in benefits for entity in benefit.entities if entity.name]
