"""Deductibles, limits and out-of-pocket maxima: what belongs together as base, met and remaining.

One accumulator for each kind, service, person (individual, family), network, plan, place and tier: a tier is known only by its
messages.  What the payer did not send stays None; what follows from the two others is marked as worked out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from hub.formats.x12 import codes
from hub.formats.x12.eligibility import Benefit
from hub.formats.x12.values import NUMBER

COUNTED = {"C": "deductible", "G": "out_of_pocket", "F": "limitation", "Y": "spend_down"}
_NETWORK = {"Y": "in", "N": "out", "W": "both"}
_ROLE = {"24": "met", "29": "remaining", "33": "remaining"}
"""EB06 of what is no base amount."""
_LIFETIME = frozenset(["32", "33"])


@dataclass(slots=True)
class Accumulator:
    """Amounts are texts as the payer sent them, each with the segment it stands in."""

    kind: str
    service_types: list[str]
    level: str
    network: str
    """`in`, `out`, `both`; `unknown` when the payer did not say."""
    insurance_type: str
    plan: str
    places: list[str]
    messages: list[str]
    span: str
    """`lifetime`, or the period of the base amount in words."""
    base: tuple[str, int] | None = None
    met: tuple[str, int] | None = None
    remaining: tuple[str, int] | None = None
    worked_out: dict[str, str] = field(default_factory=dict)
    """What follows from the other two."""
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        said = {
            name: {"amount": pair[0], "segment": pair[1]} if pair else None
            for name, pair in (("base", self.base), ("met", self.met), ("remaining", self.remaining))
        }
        return {
            "kind": self.kind,
            "service_types": self.service_types,
            "level": self.level or None,
            "network": self.network,
            "insurance_type": self.insurance_type or None,
            "plan": self.plan or None,
            "places": self.places,
            "messages": self.messages,
            "span": self.span or None,
            **said,
            "worked_out": self.worked_out,
            "notes": self.notes,
        }


def accumulators(benefits: Iterable[Benefit]) -> list[Accumulator]:
    """In the order in which the payer began them."""
    groups: dict[tuple[object, ...], list[Benefit]] = {}
    for benefit in benefits:
        if benefit.code in COUNTED and benefit.amount:
            groups.setdefault(_key(benefit), []).append(benefit)
    found = [_accumulator(rows) for group in groups.values() for rows in _tiers(group)]
    for one in found:
        _work_out(one)
    return found


def _key(b: Benefit) -> tuple[object, ...]:
    span = "lifetime" if b.period in _LIFETIME else ""
    return b.code, tuple(b.service_types), b.level, b.network, b.insurance_type, b.plan, tuple(b.places), span


def _tiers(rows: list[Benefit]) -> list[list[Benefit]]:
    """Rows of one accumulator; where one role comes twice with different amounts, the messages tell the tiers apart."""
    by_role: dict[str, set[str]] = {}
    for row in rows:
        by_role.setdefault(_role(row), set()).add(row.amount)
    if all(len(amounts) == 1 for amounts in by_role.values()):
        return [rows]
    tiers: dict[tuple[str, ...], list[Benefit]] = {}
    for row in rows:
        tiers.setdefault(tuple(row.messages), []).append(row)
    return list(tiers.values())


def _role(row: Benefit) -> str:
    return _ROLE.get(row.period, "base")


def _accumulator(rows: list[Benefit]) -> Accumulator:
    first = rows[0]
    base = next((row for row in rows if _role(row) == "base"), None)
    lifetime = first.period in _LIFETIME
    found = Accumulator(
        COUNTED[first.code],
        first.service_types,
        first.level,
        _NETWORK.get(first.network, "unknown"),
        first.insurance_type,
        first.plan,
        first.places,
        list(dict.fromkeys(message for row in rows for message in row.messages)),
        "lifetime" if lifetime else codes.PERIODS.get(base.period, "") if base else "",
    )
    for row in rows:
        role = _role(row)
        said = getattr(found, role)
        if said is None:
            setattr(found, role, (row.amount, row.segment))
        elif not _same(said[0], row.amount):
            found.notes.append(f"segment {row.segment} names another {role} amount")
    return found


def _same(one: str, other: str) -> bool:
    return one == other or (_is_number(one) and _is_number(other) and Decimal(one) == Decimal(other))


def _is_number(text: str) -> bool:
    return bool(NUMBER.fullmatch(text))


def _work_out(one: Accumulator) -> None:
    """The third of base, met and remaining; where all three are said and disagree, all stay and a note says so."""
    said = {name: Decimal(pair[0]) for name, pair in _said(one).items() if _is_number(pair[0])}
    if len(said) == 3 and said["base"] != said["met"] + said["remaining"]:
        one.notes.append("base, met and remaining do not add up")
    if one.notes or len(said) != 2 or len(_said(one)) != 2:
        return
    if "met" not in said:
        one.worked_out["met"] = str(said["base"] - said["remaining"])
    elif "remaining" not in said:
        one.worked_out["remaining"] = str(said["base"] - said["met"])
    else:
        one.worked_out["base"] = str(said["met"] + said["remaining"])


def _said(one: Accumulator) -> dict[str, tuple[str, int]]:
    pairs = (("base", one.base), ("met", one.met), ("remaining", one.remaining))
    return {name: pair for name, pair in pairs if pair is not None}
