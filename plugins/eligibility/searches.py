"""Other ways to ask about the same patient after a rejection, each once, where the payer allows it and the data do (AAA).

The table of what may follow which reason is `hub.formats.x12.codes.MACHINE`; here is what each way changes in the question.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from datetime import date

from hub import Coverage, CoverageCheck, Visit
from hub.formats.x12.codes import machine_action
from hub.records import Person, Rejection

FOLLOWING = {
    "search_without_id": ("without_id",),
    "plain_name": ("plain_name", "without_middle"),
    "without_sex": ("without_sex",),
    "other_role": ("as_subscriber", "as_dependent"),
    "as_subscriber": ("as_subscriber",),
    "without_group": ("without_group",),
    "as_of_today": ("as_of_today",),
}
"""Ways to ask by what the hub may do about a reason, in their order."""
MOST_SEARCHES = 5
"""After a first question at most so many more go out by themselves (CAQH CORE: five within 15 minutes)."""


def next_search(check: CoverageCheck, rejections: Iterable[Rejection], visit: Visit, today: date) -> str | None:
    """How to ask next about a visit that was rejected; None when nothing is left, or a person has to correct something."""
    payer = visit.payer
    actions = [machine_action(rejection.code, rejection.loop) for rejection in rejections]
    if payer is None or not actions or any(action not in FOLLOWING for action in actions):
        return None
    tried = tried_since_asked(check)
    if len(tried) >= MOST_SEARCHES:
        return None
    wanted = [search for action in FOLLOWING if action in actions for search in FOLLOWING[action]]
    for search in wanted:
        if search in payer.searches and search not in tried and changed(visit, search, today) is not None:
            return search
    return None


def tried_since_asked(check: CoverageCheck) -> list[str]:
    """Ways that were tried since the question was last asked with the data as they are."""
    tried: list[str] = []
    for attempt in check.attempts:
        tried = [*tried, attempt.search] if attempt.search else []
    return tried


def changed(visit: Visit, search: str, today: date) -> Visit | None:
    """The visit as it is asked about in this way; None when the data do not allow it, or it would be the same question."""
    other = _WAYS[search](visit, today)
    return other if other is not None and other != visit else None


def with_fields(visit: Visit, fields: Iterable[str]) -> Visit:
    """The visit with what a payer wants to be told of the patient, and nothing else."""
    missing = set(_FIELD_PARTS) - set(fields)
    gone = {part for field in missing for part in _FIELD_PARTS[field] if field in _OF_PEOPLE}
    visit = _people(visit, lambda person: person.model_copy(update=dict.fromkeys(gone)))
    coverage = {"member_id": "member_id", "group": "group"}
    return _coverage(visit, **{name: None for field, name in coverage.items() if field in missing})


_FIELD_PARTS = {
    "member_id": ("member_id",),
    "group": ("group",),
    "name": ("family", "given"),
    "middle": ("middle",),
    "suffix": ("suffix",),
    "birth_date": ("birth_date",),
    "sex": ("sex",),
}
_OF_PEOPLE = ("name", "middle", "suffix", "birth_date", "sex")


def _coverage(visit: Visit, **update: object) -> Visit:
    if visit.coverage is None or not update:
        return visit
    return visit.model_copy(update={"coverage": visit.coverage.model_copy(update=update)})


def _people(visit: Visit, change: Callable[[Person], Person]) -> Visit:
    """Patient and subscriber, changed alike."""
    patient = visit.patient.model_copy(update={"name": change(visit.patient.name)})
    visit = visit.model_copy(update={"patient": patient})
    insured = visit.coverage.subscriber if visit.coverage is not None else None
    return _coverage(visit, subscriber=change(insured)) if insured is not None else visit


def _insured(visit: Visit) -> Person:
    coverage = visit.coverage
    return coverage.subscriber if coverage is not None and coverage.subscriber is not None else visit.patient.name


def _without_id(visit: Visit, _: date) -> Visit | None:
    person = _insured(visit)
    known = person.family and person.given and (person.birth_date or visit.patient.name.birth_date)
    return _coverage(visit, member_id=None) if known else None


def _plain(text: str | None) -> str | None:
    """O'Donnell-Griswold is ODONNELLGRISWOLD (CAQH CORE rule 258)."""
    if text is None:
        return None
    letters = unicodedata.normalize("NFKD", text.upper())
    return re.sub(r"[^A-Z0-9]", "", letters) or text


def _plain_name(visit: Visit, _: date) -> Visit:
    def plain(person: Person) -> Person:
        return person.model_copy(update={"family": _plain(person.family), "given": _plain(person.given), "suffix": None})

    other = _people(visit, plain)
    same = all(
        (a.family or "").upper() == b.family and (a.given or "").upper() == b.given and not a.suffix
        for a, b in ((visit.patient.name, other.patient.name), (_insured(visit), _insured(other)))
    )
    return visit if same else other


def _without(part: str) -> Callable[[Visit, date], Visit]:
    return lambda visit, _: _people(visit, lambda person: person.model_copy(update={part: None}))


def _as_subscriber(visit: Visit, _: date) -> Visit | None:
    if visit.coverage is None or visit.coverage.relationship == "self":
        return None
    return _coverage(visit, relationship="self", subscriber=None)


def _as_dependent(visit: Visit, _: date) -> Visit | None:
    """Only where the card names another person as the insured."""
    coverage: Coverage | None = visit.coverage
    if coverage is None or coverage.relationship != "self" or coverage.subscriber is None:
        return None
    insured, patient = coverage.subscriber, visit.patient.name
    if (insured.family, insured.given) == (patient.family, patient.given):
        return None
    return _coverage(visit, relationship="other")


def _as_of_today(visit: Visit, today: date) -> Visit | None:
    return visit.model_copy(update={"service_date": today}) if visit.service_date > today else None


_WAYS: dict[str, Callable[[Visit, date], Visit | None]] = {
    "without_id": _without_id,
    "plain_name": _plain_name,
    "without_middle": _without("middle"),
    "without_sex": _without("sex"),
    "as_subscriber": _as_subscriber,
    "as_dependent": _as_dependent,
    "without_group": lambda visit, _: _coverage(visit, group=None),
    "as_of_today": _as_of_today,
}
