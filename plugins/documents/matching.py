"""Whose a document is: never a guess.

A document belongs to a chart when two independent things on it say so, nothing on it speaks against it, and no other chart
could be meant as well.  A chart's number, a name, a birth date and an appointment are one thing each; a cover sheet of ours is
two, since we know for whom we printed it.  All else waits for a person.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date

from hub import Appointment, Context, Patient
from hub.people import current_chart, usable
from plugins.documents.clues import MOST_CLUES, same_name
from plugins.documents.records import Clue, ClueKind, CoverSheet, SeenDocument

NEEDED = 2
"""Independent things that must say whose it is."""
_WORTH: dict[ClueKind, int] = {"cover": 2, "number": 1, "name": 1, "birth_date": 1, "appointment": 1}
_WORDS: dict[ClueKind, str] = {
    "cover": "the cover sheet",
    "number": "the chart's number",
    "name": "the name",
    "birth_date": "the birth date",
    "appointment": "the appointment",
}
_MOST_CHARTS = 200
"""Charts that are looked at for one clue; one that so many have (01/01/1900) names none, and only speaks for or against."""
_MOST_SHOWN = 5


@dataclass(slots=True)
class Match:
    """What the clues of a document come to."""

    chart: Patient | None = None
    """The one it belongs to; None when a person has to say."""
    appointment: str = ""
    """The appointment it names, when that is one of the chart."""
    why: str = ""
    """Why it waits, without patient data."""
    charts: list[Patient] = field(default_factory=list)
    """Those it could belong to, the likeliest first."""


@dataclass(slots=True)
class _Found:
    """What one clue leads to."""

    clue: Clue
    charts: dict[str, Patient] = field(default_factory=dict)
    """Charts it names; a name names none, it only speaks for or against those that others name."""
    unknown: bool = False
    """It names something that we do not have."""


@dataclass(slots=True)
class _Standing:
    """How all clues stand to one chart."""

    chart: Patient
    agreeing: set[ClueKind] = field(default_factory=set)
    against: set[ClueKind] = field(default_factory=set)

    @property
    def worth(self) -> int:
        return sum(_WORTH[kind] for kind in self.agreeing)


async def find_chart(clues: list[Clue], context: Context) -> Match:
    """The chart that these clues mean, or why it is not known."""
    if len(clues) > MOST_CLUES:
        return Match(why="it names too many people to be about one")
    found = [await _look_up(clue, context) for clue in clues]
    charts = {id: chart for one in found for id, chart in one.charts.items()}
    standings = [_standing(chart, found) for chart in charts.values()]
    fitting = [one for one in standings if one.worth >= NEEDED and not one.against]
    likely = sorted(standings, key=lambda one: (len(one.against), -one.worth, one.chart.id))
    shown = [one.chart for one in likely if one.worth >= NEEDED or not one.against][:_MOST_SHOWN]
    if len(fitting) == 1:
        chart = fitting[0].chart
        return Match(chart, await _appointment(clues, chart, context), charts=[chart])
    return Match(why=_why(clues, found, standings, len(fitting)), charts=shown)


def _why(clues: list[Clue], found: list[_Found], standings: list[_Standing], fitting: int) -> str:
    """Worded without patient data: it stands in the worklist."""
    if fitting > 1:
        return f"{fitting} charts fit what it says"
    if any(one.unknown for one in found if one.clue.kind == "cover"):
        return "its cover sheet is none that we printed"
    disagreeing = [one for one in standings if one.worth >= NEEDED]
    if disagreeing:
        against = sorted({_WORDS[kind] for one in disagreeing for kind in one.against})
        return f"what it says does not agree: {' and '.join(against)} is not that of the chart the rest means"
    if not clues:
        return "nothing on it tells whose it is"
    kinds = list(dict.fromkeys(_WORDS[clue.kind] for clue in clues))
    if not standings:
        return f"no chart has what it says ({', '.join(kinds)})"
    return f"too little on it tells whose it is (it has {', '.join(kinds)}; two things have to agree)"


def unseen(seen: SeenDocument, clues: list[Clue]) -> str:
    """What of a document was not looked at, and could be about somebody else; empty when all was that matters.

    Several documents, each below a cover sheet, may come as one; without a sheet, bar codes are not what tells whose it is.
    """
    if seen.unread:
        return f"the text of {seen.unread} of its {seen.pages} pages was not read; look whether all are about one patient"
    if seen.unscanned and any(clue.kind == "cover" for clue in clues):
        return f"{seen.unscanned} of its {seen.pages} pages were not looked at for another cover sheet; look through them"
    return ""


# What a clue leads to.


async def _look_up(clue: Clue, context: Context) -> _Found:
    match clue.kind:
        case "number":
            found = await _with_key("number", clue, context)
        case "birth_date":
            found = await _with_key("born", clue, context)
        case "appointment":
            appointments = [await context.get(Appointment, value) for value in clue.values]
            found = await _current((one.patient_id for one in appointments if one is not None), context)
        case "cover":
            sheets = [await context.get(CoverSheet, value) for value in clue.values]
            found = await _current((one.patient_id for one in sheets if one is not None), context)
        case "name":
            found = []
    unknown = not found and clue.kind in ("number", "cover")
    return _Found(clue, {chart.id: chart for chart in found}, unknown)


async def _with_key(key: str, clue: Clue, context: Context) -> list[Patient]:
    found: list[Patient] = []
    for value in clue.values:
        charts = await context.find(Patient, key, value, _MOST_CHARTS)
        if len(charts) == _MOST_CHARTS:
            return []
        found += charts
    return found


async def _current(ids: Iterable[str], context: Context) -> list[Patient]:
    """The charts with these ids, or those they were merged into."""
    found = [await current_chart(id, context) for id in ids]
    return [chart for chart in found if chart is not None]


def _standing(chart: Patient, found: list[_Found]) -> _Standing:
    standing = _Standing(chart)
    for one in found:
        agrees = _agrees(chart, one)
        if agrees is not None:
            (standing.agreeing if agrees else standing.against).add(one.clue.kind)
    return standing


def _agrees(chart: Patient, found: _Found) -> bool | None:
    """Whether a clue speaks for a chart (True), against it (False), or neither.

    A number that no chart here has speaks against all: it may be that of a person we do not know yet.
    """
    clue = found.clue
    match clue.kind:
        case "number":
            return any(identifier.value in clue.values for identifier in usable(chart.identifiers))
        case "name":
            return same_name(clue.values[0], chart.name)
        case "birth_date":
            born = chart.name.birth_date
            return None if born is None else born in {date.fromisoformat(value) for value in clue.values}
        case "appointment" if not found.charts:
            return None
    return chart.id in found.charts


async def _appointment(clues: list[Clue], chart: Patient, context: Context) -> str:
    """The one appointment that the document names, when it is one of the chart."""
    named = [value for clue in clues if clue.kind == "appointment" for value in clue.values]
    for clue in clues:
        sheet = await context.get(CoverSheet, clue.values[0]) if clue.kind == "cover" else None
        if sheet is not None and sheet.appointment:
            named.append(sheet.appointment)
    found = {}
    for id in dict.fromkeys(named):
        appointment = await context.get(Appointment, id)
        owner = await current_chart(appointment.patient_id, context) if appointment is not None else None
        if owner is not None and owner.id == chart.id:
            found[id] = appointment
    return next(iter(found)) if len(found) == 1 else ""
