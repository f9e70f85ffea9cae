"""What the payer has otherwise than the chart, once both are written alike (names: `hub.people`).  Pure: no store, no clock."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hub import Coverage, Patient, Person
from hub.people import normal_name
from hub.records import Difference, PayersChart

_SEXES = frozenset({"F", "M"})
"""What is compared; unknown and other are no contradiction."""


def normal_id(text: str | None) -> str:
    """A member id or group number without blanks and marks."""
    return re.sub(r"[\W_]", "", text or "").upper()


def differences(payer_has: PayersChart, patient: Patient, coverage: Coverage | None) -> list[Difference]:
    """Only what both sides say is compared.

    Some payers name the insured person where the patient is a dependent: then it is that person they are compared with.
    """
    people = [patient.name] + ([coverage.subscriber] if coverage is not None and coverage.subscriber is not None else [])
    found = min((list(_of_person(person, payer_has.name)) for person in people), key=len)
    if coverage is not None:
        found += _of_card(coverage, payer_has)
    return found


def _of_person(ours: Person, theirs: Person) -> Iterator[Difference]:
    if not _same(normal_name(ours.family), normal_name(theirs.family)):
        yield Difference(field="family", ours=ours.family or "", payers=theirs.family or "")
    if not _same_given(ours, theirs):
        yield Difference(field="given", ours=ours.given or "", payers=theirs.given or "")
    if ours.birth_date is not None and theirs.birth_date is not None and ours.birth_date != theirs.birth_date:
        yield Difference(field="birth_date", ours=ours.birth_date.isoformat(), payers=theirs.birth_date.isoformat())
    sexes = {(ours.sex or "").upper(), (theirs.sex or "").upper()}
    if len(sexes) == 2 and sexes <= _SEXES:
        yield Difference(field="sex", ours=ours.sex or "", payers=theirs.sex or "")


def _of_card(coverage: Coverage, theirs: PayersChart) -> Iterator[Difference]:
    if not _same(normal_id(coverage.member_id), normal_id(theirs.member_id)):
        yield Difference(field="member_id", ours=coverage.member_id or "", payers=theirs.member_id or "")
    if not _same(normal_id(coverage.group).lstrip("0"), normal_id(theirs.group).lstrip("0")):
        yield Difference(field="group", ours=coverage.group or "", payers=theirs.group or "")


def _same(ours: str, theirs: str) -> bool:
    return not ours or not theirs or ours == theirs


def _same_given(ours: Person, theirs: Person) -> bool:
    """With or without the middle name; an initial agrees with the name it begins."""
    given, other = normal_name(ours.given), normal_name(theirs.given)
    if _same(given, other) or (min(len(given), len(other)) == 1 and given[0] == other[0]):
        return True
    return bool({given, given + normal_name(ours.middle)} & {other, other + normal_name(theirs.middle)})
