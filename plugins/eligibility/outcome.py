"""What an answer comes to: one outcome, what to do, and who does it.  Pure: no store, no clock."""

from __future__ import annotations

from dataclasses import dataclass

from hub.formats.x12 import codes
from hub.records import CoverageCheck, OtherCoverage, Outcome, Payer

_WEIGHT: dict[str, int] = {"not_found": 0, "mismatch": 1, "unclear": 2, "payer_unavailable": 3}
"""Of several rejections, which one names the outcome."""
_PAYS_FIRST = {"medicare_secondary": "pays before Medicare", "medicaid_managed_care": "managed care plan"}
"""Kinds of other coverage that are billed instead or first, with the cause of the item; Medicare Advantage has a rule above."""
ELSEWHERE = frozenset({"medicare_advantage", *_PAYS_FIRST})
"""Kinds of other coverage that are billed instead or first."""
DIFFERENCES, OTHER_PAYER = "differences", "other payer"
"""Topics of worklist items beside the outcome."""
FIELD_WORDS = {
    "family": "family name", "given": "given name", "birth_date": "birth date", "sex": "sex", "member_id": "member id",
    "group": "group number",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Decision:
    """One outcome; `action` is None when nobody needs to do anything."""

    outcome: Outcome
    action: str | None = None
    who: str | None = None
    cause: str | None = None
    again: bool = False
    """Whether the hub asks again by itself before anybody is told."""


def decided(check: CoverageCheck, decision: Decision) -> CoverageCheck:
    """The check with this outcome."""
    return check.model_copy(
        update={"outcome": decision.outcome, "action": decision.action, "who": decision.who, "cause": decision.cause}
    )


def decide(answer: CoverageCheck, payer: Payer | None) -> Decision:
    """The outcome of an answer from the payer it was asked of."""
    if answer.failure:
        return Decision("unclear", f"{answer.failure} IT looks at the message.", "it", "answer not usable")
    if answer.rejections:
        return _rejected(answer)
    if answer.other_payer and payer is not None and payer.medicare and answer.status in ("active", "active_review"):
        action = f"{answer.other_payer} covers this patient instead of Medicare. Ask for that card and register it."
        return Decision("covered_elsewhere", action, "coordinator", "other plan")
    return _another_person(answer) or _pays_first(answer) or _by_status(answer)


def _another_person(answer: CoverageCheck) -> Decision | None:
    """An active plan helps nobody when it is somebody else's: another birth date, or another name altogether."""
    fields = {difference.field for difference in answer.differences if not difference.asked}
    if answer.status != "active" or not ("birth_date" in fields or fields >= {"family", "given"}):
        return None
    named = [FIELD_WORDS[d.field] for d in answer.differences]
    action = (
        f"The payer has another {', '.join(named)} than the chart: is this the same person? Compare with the card, "
        "correct what is wrong, check again."
    )
    return Decision("mismatch", action, "coordinator", f"differs: {', '.join(named)}")


def _pays_first(answer: CoverageCheck) -> Decision | None:
    """Another insurance is the one to bill first."""
    first = next((other for other in answer.others if other.kind in _PAYS_FIRST), None)
    if first is None or answer.status not in ("active", "active_review"):
        return None
    return Decision("covered_elsewhere", f"{named(first)}: {first.action}", "coordinator", _PAYS_FIRST[first.kind])


def named(other: OtherCoverage) -> str:
    return other.payer or other.plan or "Another insurance"


def notes(answer: CoverageCheck) -> dict[str, Decision]:
    """What is to be looked at although the outcome stands, by topic; nothing where the outcome itself is about it."""
    if answer.outcome not in ("covered", "covered_elsewhere"):
        return {}
    found = {}
    if answer.differences:
        fields = [FIELD_WORDS[difference.field] for difference in answer.differences]
        text = (
            f"The payer has another {', '.join(fields)} than the chart. Compare with the card; `hub eligibility show` has both."
        )
        found[DIFFERENCES] = Decision(answer.outcome, text, "coordinator", f"differs: {', '.join(fields)}")
    if answer.outcome == "covered":
        for other in answer.others:
            if other.kind == "other_payer" and other.about_plan:
                text = f"{named(other)}: {other.action}"
                found[OTHER_PAYER] = Decision(answer.outcome, text, "coordinator", "other payer")
    return found


def _rejected(answer: CoverageCheck) -> Decision:
    """Every rejection is told; none is collapsed into "not found" (CAQH CORE rule 259)."""
    meanings = sorted((codes.rejection(r.code) for r in answer.rejections), key=lambda m: _WEIGHT.get(m.outcome, 2))
    listed = list(dict.fromkeys(r.code for r in answer.rejections))
    cause = f"AAA {', '.join(listed)}"
    if answer.status == "active_review":
        return Decision("unclear", "The payer says active, but also rejects the inquiry. Call the payer.", "coordinator", cause)
    first = meanings[0]
    outcome: Outcome = first.outcome  # type: ignore[assignment]  # the table holds outcomes only
    words = "; ".join(dict.fromkeys(r.text for r in answer.rejections))
    action = f"Payer rejected: {words}. {' '.join(dict.fromkeys(m.action for m in meanings))}"
    if outcome != "payer_unavailable":
        return Decision(outcome, action, first.who, cause)
    if told := [codes.FOLLOW_UP[r.follow_up] for r in answer.rejections if r.follow_up in codes.NOT_AGAIN]:
        action = f"Payer rejected: {words} ({'; '.join(dict.fromkeys(told))}). Verify by phone or portal."
        return Decision(outcome, action, "coordinator", cause)
    return Decision(outcome, action, first.who, cause, again=True)


def _by_status(answer: CoverageCheck) -> Decision:
    match answer.status:
        case "active":
            return Decision("covered")
        case "inactive":
            action = (
                "The plan is not active for the day of the visit. Ask the patient for the new insurance, or agree on self-pay."
            )
            return Decision("inactive", action, "coordinator", "inactive")
        case "not_covered":
            action = "The payer says this service is not covered. Tell the patient, or call the payer."
            return Decision("unclear", action, "coordinator", "service not covered")
        case "active_review":
            return Decision(
                "unclear",
                "The payer is still looking into this coverage, or says different things of it. Call the payer.",
                "coordinator",
                "under review",
            )
        case _:
            return Decision(
                "unclear", "The payer did not say whether the plan is active. Call the payer.", "coordinator", "no status"
            )
