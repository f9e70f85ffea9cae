"""Patients: upserted from what the EHR says, and charts merged, so that there is one patient to speak of.

A patient is known by identifier and assigning authority (PID-3).  A merge (A40, A34, A18) makes the retired chart point to
the surviving one and moves its identifiers and appointments there, so that later messages under the old number still find it.
"""

from __future__ import annotations

from hub import Appointment, Context, Identifier, MessageUnusable, Patient, RecordKey
from hub.people import usable
from hub.records import Coverage, Person, Record


class ChartNumber(Record):
    """That a chart was begun under a number, whoever assigned it."""

    id: str


# Finding.


async def find_patient(identifiers: list[Identifier], context: Context) -> Patient | None:
    """The chart with one of these identifiers; raises MessageUnusable when it could be several."""
    exact: dict[str, Patient] = {}
    for identifier in usable(identifiers):
        exact.update({chart.id: chart for chart in await context.find(Patient, "identifier", _full(identifier), limit=2)})
    if len(exact) > 1:
        raise MessageUnusable(
            "the patient's numbers belong to several charts; merge the charts in the EHR, or correct the numbers in PID-3",
            code="VIS-005",
        )
    if exact:
        return next(iter(exact.values()))
    for identifier in usable(identifiers):
        if loose := await _by_number(identifier, context):
            return loose
    return None


async def _by_number(identifier: Identifier, context: Context) -> Patient | None:
    """A number without an authority matches one with, when only one chart has that number."""
    charts = await context.find(Patient, "number", identifier.value, limit=5)
    fitting = [
        chart
        for chart in charts
        if any(i.value == identifier.value and not (i.authority and identifier.authority) for i in chart.identifiers)
    ]
    if len(fitting) > 1:
        raise MessageUnusable(
            "the patient's number has no assigning authority and belongs to several charts; set `authority` for the connection",
            code="VIS-001",
        )
    return fitting[0] if fitting else None


def _full(identifier: Identifier) -> str:
    return f"{identifier.authority}|{identifier.value}"


# Saving patients.


async def save_patient(update: Patient, context: Context) -> Patient:
    """Merges what a message says into the chart: fields it does not speak of stay, `""` empties them."""
    if not usable(update.identifiers):
        raise MessageUnusable("PID-3 has no patient number, so there is no chart to save", code="VIS-002")
    known = await find_patient(_staying(update), context)
    retired = await _retired_charts(update, known, context)
    if known is None and retired:
        known = retired.pop(0)  # the chart goes on under its new number
    if known is None:
        await _claim(update.identifiers, context)
    chart = _updated(known or Patient(id=context.new_id("p-")), update)
    for old in retired:
        chart = await _retire(old, chart, context)
    await context.put(chart)
    file_under(chart, context)
    if update.retires:
        context.note("merged", "Chart merged: later messages under the old number go to this one", plain=True)
    return chart


def _staying(update: Patient) -> list[Identifier]:
    """The identifiers of the surviving chart; some senders list those that retire among them."""
    retiring = {_full(i) for i in update.retires}
    return [i for i in update.identifiers if _full(i) not in retiring] or update.identifiers


async def _claim(identifiers: list[Identifier], context: Context) -> None:
    """Of two messages that begin a chart under one number at once, with and without its authority, one goes again."""
    for identifier in usable(identifiers):
        await context.put(ChartNumber(id=context.digest("chart number", identifier.value)))


async def _retired_charts(update: Patient, known: Patient | None, context: Context) -> list[Patient]:
    found: dict[str, Patient] = {}
    for identifier in update.retires:
        chart = await find_patient([identifier], context)
        if chart is not None and (known is None or chart.id != known.id):
            found[chart.id] = chart
    return list(found.values())


def _updated(chart: Patient, update: Patient) -> Patient:
    """A booking only fills what no registration has said, and never takes a registration back."""
    said = update.model_fields_set - {"id", "identifiers", "name", "retires", "merged_into", "provisional"}
    values = {name: getattr(update, name) for name in said}
    if "coverages" in values:
        values["coverages"] = _in_order(update.coverages)
    registered = bool(chart.identifiers) and not chart.provisional
    if update.provisional and registered:
        values = {name: value for name, value in values.items() if getattr(chart, name) in (None, [], False)}
        values["name"] = _merged_name(update.name, _only_said(chart.name))
    else:
        values["name"] = _merged_name(chart.name, update.name)
    values["identifiers"] = _union(chart.identifiers, update.identifiers + update.retires)
    values["provisional"] = update.provisional and not registered
    return chart.model_copy(update=values)


def _merged_name(known: Person, update: Person) -> Person:
    return known.model_copy(update={name: getattr(update, name) for name in update.model_fields_set})


def _in_order(coverages: list[Coverage]) -> list[Coverage]:
    """By IN1-22; those that do not say follow in the order they came."""
    said = sorted((c for c in coverages if "priority" in c.model_fields_set), key=lambda c: c.priority)
    following = max((c.priority for c in said), default=0) + 1
    unsaid = [c for c in coverages if "priority" not in c.model_fields_set]
    return said + [c.model_copy(update={"priority": following + index}) for index, c in enumerate(unsaid)]


def _union(known: list[Identifier], more: list[Identifier]) -> list[Identifier]:
    merged = {_full(i): i for i in known}
    for identifier in more:
        if not identifier.authority and any(i.value == identifier.value for i in merged.values()):
            continue
        merged[_full(identifier)] = identifier
    return list(merged.values())


async def _retire(old: Patient, chart: Patient, context: Context) -> Patient:
    """Points the old chart to the surviving one; its appointments move, its insurance only fills a gap."""
    await context.put(old.model_copy(update={"merged_into": chart.id}))
    for appointment in await context.find(Appointment, "patient", old.id, limit=10_000):
        await context.put(appointment.model_copy(update={"patient_id": chart.id}))
    return chart.model_copy(
        update={
            "identifiers": _union(chart.identifiers, old.identifiers),
            "coverages": chart.coverages or old.coverages,
            "name": _merged_name(old.name, _only_said(chart.name)),
        }
    )


def _only_said(person: Person) -> Person:
    return Person(**{name: value for name in Person.model_fields if (value := getattr(person, name)) is not None})


def file_under(chart: Patient, context: Context) -> None:
    for identifier in usable(chart.identifiers):
        context.key("patient", identifier.value)


# Search keys.


def patient_keys(patient: Patient) -> list[RecordKey]:
    if patient.merged_into is not None:
        return [RecordKey("merged_into", patient.merged_into)]
    numbers = usable(patient.identifiers)
    return [
        *(RecordKey("identifier", _full(i), unique=True) for i in numbers),
        *(RecordKey("number", i.value) for i in numbers),
        *([RecordKey("born", patient.name.birth_date.isoformat())] if patient.name.birth_date is not None else []),
    ]
