"""The card of one visit as a coordinator reads it: what `hub eligibility show` prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hub.cli.output import short_time
from hub.records import OUTCOME_WORDS

_AMOUNTS = {
    "co_payment": "co-pay",
    "co_insurance": "co-insurance",
    "deductible_remaining": "deductible left",
    "out_of_pocket_remaining": "out-of-pocket",
}
_ANSWERED = ("active", "active_review")


def card_lines(visit: dict[str, Any]) -> Iterator[str]:
    yield f"{visit['patient']['name']}  {visit['starts_at']}  ({visit['status']})"
    yield f"{OUTCOME_WORDS[visit['outcome']].upper()}  {visit['payer'] or ''}  {visit['plan'] or ''}".rstrip()
    if (found := visit["verified"]) is not None:
        yield _line("verified", f"by {found['how']}, {found['by']}, {short_time(found['at'])}, reference {found['reference']}")
        yield _line("payer says", OUTCOME_WORDS[visit["payer_outcome"]])
    if visit["payer_says"] in _ANSWERED:
        yield from _amounts(visit)
    facts = {"to do": visit["action"], "who": visit["who"], "cause": visit["cause"], "other payer": visit["other_payer"]}
    yield from (_line(name, value) for name, value in facts.items() if value)
    yield from (_line("note", note) for note in visit["notes"])
    yield from _differences(visit)
    for other in visit["others"]:
        yield _line(
            "insurance", f"{other['payer'] or other['plan'] or other['kind']} (segment {other['segment']}): {other['action']}"
        )
    for programme in visit["programmes"]:
        yield _line("programme", f"{programme['text']} (segment {programme['segment']})")
    for rejection in visit["rejections"]:
        yield _line("rejected", f"{rejection['loop']} AAA {rejection['code']}: {rejection['text']}")
    yield from (_line("finding", finding) for finding in visit["findings"])
    if visit["checked_at"]:
        yield _line("checked at", visit["checked_at"])
    yield from _attempts(visit)


def _line(name: str, text: str) -> str:
    return f"  {name:15} {text}"


def _amounts(visit: dict[str, Any]) -> Iterator[str]:
    """Each with where it stands and why; what the payer did not say is said to be so."""
    for name, words in _AMOUNTS.items():
        chosen = visit["chosen"][name]
        if chosen is None:
            if name != "co_insurance":
                yield _line(words, "the payer did not say")
            continue
        yield _line(words, f"{chosen['value'] or 'not clear'} ({_place(chosen)}: {chosen['why']})")
    said = visit["chosen"]["authorization"]
    yield _line("authorization", f"{visit['authorization']} ({_place(said)})" if said else "the payer did not say")


def _place(chosen: dict[str, Any]) -> str:
    numbers = ", ".join(str(number) for number in chosen["segments"])
    return f"segment{'s' if len(chosen['segments']) > 1 else ''} {numbers}"


def _differences(visit: dict[str, Any]) -> Iterator[str]:
    for difference in visit["differences"]:
        yield _line("differs", f"{difference['field']}: chart {difference['ours']}, payer {difference['payers']}")
    if (asked := visit["asked_instead"]) is not None:
        changed = ", ".join(f"{name} {_text(value)}" for name, value in asked.items() if value and name not in ("by", "at"))
        yield _line("asked instead", f"{changed} (by {asked['by']}, {short_time(asked['at'])})")


def _text(value: Any) -> str:
    return " ".join(value) if isinstance(value, list) else str(value)


def _attempts(visit: dict[str, Any]) -> Iterator[str]:
    """Newest first."""
    for attempt in reversed(visit.get("attempts", [])):
        took = f" in {attempt['seconds']:.1f} s" if attempt["seconds"] is not None else ""
        came = f"{attempt['outcome'] or attempt['state']}{took}"
        note = f"; {attempt['note']}" if attempt["note"] else ""
        yield _line(
            "attempt", f"{short_time(attempt['asked_at'])} {attempt['payer']}, {attempt['why'] or 'asked'}: {came}{note}"
        )
