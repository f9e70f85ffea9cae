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
from hub.formats.x12.eligibility import Benefit, Patient, Period
from hub.formats.x12.values import is_day

PLAN = "30"
"""Service type of the plan as a whole (health benefit plan coverage)."""
OFFICE_VISIT = "98"
_AMOUNT = re.compile(r"-?([0-9]+\.?[0-9]*|\.[0-9]+)")


@dataclass(frozen=True, slots=True)
class Where:
    """Where a visit takes place, as far as amounts depend on it."""

    in_network: bool = True
    """Whether the clinic is in the plan's network."""
    places: tuple[str, ...] = ("11",)
    """Place of service codes (CMS): 11 office, 02 and 10 telehealth."""

    @property
    def other_network(self) -> str:
        """EB12 of what does not count here."""
        return "N" if self.in_network else "Y"


IN_OFFICE = Where()


@dataclass(frozen=True, slots=True)
class Chosen:
    """One amount, where it stands, and why it was taken; no amount when the rules could not decide."""

    amount: str | None
    segments: tuple[int, ...]
    why: str


def status(
    patient: Patient,
    service_types: Sequence[str] = (),
    *,
    service_date: str = "",
    rejected_above: bool = False,
    where: Where = IN_OFFICE,
) -> str:
    """`active`, `active_review`, `inactive`, `not_covered`, `unknown`, `rejected`.

    The plan as a whole (EB03 = 30) decides; if it is not mentioned the asked service types do, and another one never.  A plan
    that is active, but not on the day of the visit (`service_date`, CCYYMMDD), is for a person to look at.
    """
    relevant = _most_relevant([b for b in patient.benefits if b.code in _STATUS_CODES], service_types)
    said = {b.code for b in relevant}
    active = bool(said & codes.ACTIVE)
    inactive = bool(said & codes.INACTIVE)
    if rejected_above or patient.rejections:
        return "active_review" if active else "rejected"
    if codes.ACTIVE_PENDING in said or (active and inactive) or len(_families(relevant)) > 1:
        return "active_review"
    if active and outside(patient, service_date):
        return "active_review"
    if active:
        return "not_covered" if _refused(patient, set(service_types) - {PLAN}, where) else "active"
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


def _refused(patient: Patient, asked: set[str], where: Where) -> bool:
    """Whether what was asked for is not covered, other than in the network that does not count here."""
    return any(b.code == "I" and b.network != where.other_network and asked & set(b.service_types) for b in patient.benefits)


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


def co_payment(patient: Patient, service_types: Sequence[str] = (), where: Where = IN_OFFICE) -> Chosen | None:
    """The co-payment of one visit (EB*B); None when the payer named none."""
    rows = [b for b in patient.benefits if b.code == "B" and b.amount and b.period in ("", codes.PERIOD_VISIT)]
    rows = [b for b in rows if b.network != where.other_network]
    rows = _for_service(rows, service_types)
    rows, network = _prefer_network(rows, where)
    rows = _prefer_place(rows, where)
    return _only_one(rows, f"co-payment{network}")


def co_insurance(patient: Patient, service_types: Sequence[str] = (), where: Where = IN_OFFICE) -> Chosen | None:
    """The patient's share of the price (EB*A), as the payer wrote it: .2 is a fifth; None when the payer named none."""
    rows = [b for b in patient.benefits if b.code == "A" and b.percent and b.network != where.other_network]
    rows = _for_service(rows, service_types)
    rows, network = _prefer_network(rows, where)
    return _only_one(_prefer_place(rows, where), f"co-insurance{network}", "share")


def deductible_remaining(patient: Patient, where: Where = IN_OFFICE) -> Chosen | None:
    """What is left of the deductible (EB*C)."""
    return _still_to_pay(patient, "C", "deductible", where)


def out_of_pocket_remaining(patient: Patient, where: Where = IN_OFFICE) -> Chosen | None:
    """What the patient may still have to pay in all before the plan pays everything (EB*G)."""
    return _still_to_pay(patient, "G", "out-of-pocket limit", where)


def _still_to_pay(patient: Patient, code: str, words: str, where: Where) -> Chosen | None:
    """The smaller of individual and family, which is what binds first."""
    rows = [b for b in patient.benefits if b.code == code and b.amount and b.network != where.other_network]
    if any(b.insurance_type == "MB" for b in rows):  # part B of Medicare pays for visits, part A for stays
        rows = [b for b in rows if b.insurance_type != "MA"]
    individual = _remaining([b for b in rows if b.level in ("IND", "")], f"individual {words}", where)
    family = _remaining([b for b in rows if b.level == "FAM"], f"family {words}", where)
    if individual is None or family is None:
        return individual or family
    unclear = next((c for c in (individual, family) if c.amount is None), None)
    if unclear is not None:
        return Chosen(None, individual.segments + family.segments, unclear.why)
    smaller, other = sorted((individual, family), key=lambda c: Decimal(c.amount or 0))
    return Chosen(smaller.amount, smaller.segments, f"{smaller.why}: smaller than segment {other.segments[0]}")


def _remaining(rows: list[Benefit], what: str, where: Where) -> Chosen | None:
    """As the payer says it (period 29), else what it has set (23, 22, 25) less what it has counted (24)."""
    said = [b for b in rows if b.period == codes.PERIOD_REMAINING]
    if said:
        said = [b for b in said if not b.service_types or PLAN in b.service_types] or said
        said, network = _prefer_network(said, where)
        return _only_one(said, f"remaining {what}{network}")
    whole = [b for b in rows if not b.service_types or PLAN in b.service_types]
    whole, network = _prefer_network(whole, where)
    base = _only_one([b for b in whole if b.period in codes.PERIODS_OF_A_YEAR], "")
    met = _only_one([b for b in whole if b.period == codes.PERIOD_TO_DATE], "")
    if base is None or met is None:
        return None
    segments = base.segments + met.segments
    if base.amount is None or met.amount is None:
        return Chosen(None, segments, base.why or met.why)
    left = Decimal(base.amount) - Decimal(met.amount)
    if left < 0:
        return Chosen(None, segments, f"more of the {what} was counted than there is")
    return Chosen(str(left), segments, f"{what}{network} less what was counted")


def _for_service(rows: list[Benefit], service_types: Sequence[str]) -> list[Benefit]:
    for wanted in (*service_types, OFFICE_VISIT, PLAN):
        found = [b for b in rows if wanted in b.service_types]
        if found:
            return found
    return [b for b in rows if not b.service_types]


def _prefer_network(rows: list[Benefit], where: Where) -> tuple[list[Benefit], str]:
    ours = ("Y", " in network") if where.in_network else ("N", " out of network")
    for network, words in (ours, ("W", " in and out of network")):
        found = [b for b in rows if b.network == network]
        if found:
            return found, words
    return rows, ", network not said" if rows else ""


def _prefer_place(rows: list[Benefit], where: Where) -> list[Benefit]:
    """Rows of the first of the visit's places that has some, else those of no place in particular."""
    for place in where.places:
        if found := [b for b in rows if place in b.places]:
            return found
    return [b for b in rows if not b.places] or rows


def _only_one(rows: list[Benefit], why: str, what: str = "amount") -> Chosen | None:
    if not rows:
        return None
    segments = tuple(b.segment for b in rows)
    values = [b.percent if what == "share" else b.amount for b in rows]
    if not all(_AMOUNT.fullmatch(value) for value in values):
        return Chosen(None, segments, "the payer named an amount that is no number")
    if len({Decimal(value) for value in values}) > 1:
        return Chosen(None, segments, f"the payer named several different {what}s")
    return Chosen(values[0], segments[:1], why)


def authorization(patient: Patient, service_types: Sequence[str] = (), where: Where = IN_OFFICE) -> Chosen | None:
    """Whether the service needs authorization (EB11): `Y`, `N`, `U`; None when the payer did not say."""
    rows = [b for b in patient.benefits if b.authorization and b.network != where.other_network]
    rows = _for_service(rows, service_types)
    said = {b.authorization for b in rows}
    if not said:
        return None
    segments = tuple(b.segment for b in rows)
    if "Y" in said and len(said) > 1:
        return Chosen("Y", segments, "for some of what the payer lists")
    return Chosen(rows[0].authorization, segments, "as the payer says") if len(said) == 1 else Chosen("U", segments, "unclear")


# Days.


def covered_days(patient: Patient) -> tuple[str, str]:
    """First and last day of the coverage (CCYYMMDD), empty where the payer did not say."""
    levels = [patient.level, patient.subscriber]
    whole = [b for b in patient.benefits if b.code in codes.ACTIVE and (not b.service_types or PLAN in b.service_types)]
    dates = [*(d for level in levels for d in level.dates), *(d for b in whole for d in b.dates)]
    begins = [_said(dates, kind) for kind in ("356", "346", "348", "307", "291")]
    ends = [_said(dates, kind, last=True) for kind in ("357", "347", "349", "307", "291")]
    return next((day for day in begins if day), ""), next((day for day in ends if day), "")


def _said(dates: Iterable[Period], kind: str, *, last: bool = False) -> str:
    """A day of this kind; of 307 and 291 the end counts only where it is a range."""
    for date in dates:
        if date.qualifier == kind:
            if last and kind in ("307", "291"):
                return date.ends if is_day(date.ends) else ""
            if not last and kind in ("307", "291") and not date.ends:
                return ""  # one day is the day that was asked for
            return date.starts if is_day(date.starts) else ""
    return ""


def outside(patient: Patient, day: str) -> bool:
    """Whether the payer's own dates say that the coverage is not in force on this day."""
    if not is_day(day):
        return False
    first, last = covered_days(patient)
    return bool((first and day < first) or (last and day > last))


def plan_instead(patient: Patient) -> Benefit | None:
    """The plan that has taken the place of original Medicare (Medicare Advantage), when the answer names one."""
    if not any(b.insurance_type in codes.MEDICARE for b in patient.benefits):
        return None
    others = (b for b in patient.benefits if b.code == "R" and b.insurance_type in codes.ADVANTAGE)
    return next((b for b in others if not b.service_types or PLAN in b.service_types), None)


def entity_names(benefits: Iterable[Benefit]) -> list[str]:
    return [entity.name for benefit in benefits for entity in benefit.entities if entity.name]
