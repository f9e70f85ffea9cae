"""What pages say about whose they are, and what it comes to: two independent things that agree, or a person decides."""

from __future__ import annotations

import asyncio
import itertools
import re
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pytest
from hypothesis import example, given, settings, strategies as st

from hub import Appointment, Identifier, Patient, Person, Record
from plugins.documents.clues import Labels, Reader, days, same_name
from plugins.documents.matching import Match, find_chart, unseen
from plugins.documents.records import Clue, CoverSheet, SeenDocument


def read(text: str, **labels: Any) -> list[str]:
    """Clues as words: `number 00042`."""
    found = Reader(Labels(**labels)).clues(text.split("\f"))
    return [f"{clue.kind} {'|'.join(clue.values)}" for clue in found]


@pytest.mark.parametrize(
    ("text", "clues"),
    [
        ("MRN: 00042", ["number 00042"]),
        ("MRN 00042", ["number 00042"]),
        ("mrn 00042", []),
        ("MRN# 00042, DOB 02/29/1980", ["number 00042", "birth_date 1980-02-29"]),
        ("Medical Record Number: 00042", ["number 00042"]),
        ("MRN: unknown", []),
        ("MRN:", []),
        ("MRN:\n00042", []),
        ("PERMRN: 00042", []),
        ("Patient: Jane Doe DOB: 02/29/1980 MRN: 00042", ["name Jane Doe", "birth_date 1980-02-29", "number 00042"]),
        ("Patient name: DOE, JANE A.   Phone: 555 0100", ["name DOE, JANE A"]),
        ("Patient: Jane Doe Phone: 555 0100", ["name Jane Doe"]),
        ("Patient: Jane Doe (new)", ["name Jane Doe"]),
        ("Patient: Jane Doe, 46 y, F", ["name Jane Doe"]),
        ("Patient: DOE, JANE, female, 02/29/1980", ["name DOE, JANE"]),
        ("Patient: Jane Doe and John Roe", ["name Jane Doe and John Roe"]),
        ("Patient: Doe", []),
        ("The patient Jane Doe was seen.", []),
        ("Appointment ID: F-77", ["appointment F-77"]),
        ("D.O.B.: Feb 29, 1980", ["birth_date 1980-02-29"]),
        ("Date of birth: 1980-02-29 (F)", ["birth_date 1980-02-29"]),
        ("DOB: 02/30/1980", []),
        # what is about somebody else
        ("Insured: Jane Doe DOB: 02/29/1980 MRN: 00042", []),
        ("Insured DOB: 02/29/1980", []),
        ("Mother's DOB: 02/29/1980", []),
        ("Patient's mother: Jane Doe", []),
        ("Patient or guardian: Jane Doe", []),
        ("Not patient: Jane Doe", []),
        ("Mother: Ann Doe  Patient: Jane Doe  MRN: 00042", ["name Jane Doe", "number 00042"]),
        ("Patient: Jane Doe Insured's name: John Doe DOB: 01/01/1950", ["name Jane Doe"]),
        ("SUBSCRIBER INFORMATION\nDOB: 02/29/1980\nMRN: 00042", []),
        ("SUBSCRIBER INFORMATION\fDOB: 02/29/1980", []),
        ("SUBSCRIBER INFORMATION\nDOB: 01/01/1950\nPATIENT INFORMATION\nDOB: 02/29/1980", ["birth_date 1980-02-29"]),
        ("Referring physician: Dr. White\nDOB: 02/29/1980", ["birth_date 1980-02-29"]),
        # each thing once, several things all
        ("MRN: 1\fMRN: 1\nMRN: 2", ["number 1", "number 2"]),
    ],
)
def test_what_labels_say_is_read(text: str, clues: list[str]) -> None:
    assert read(text) == clues


def test_a_clinic_has_labels_of_its_own() -> None:
    assert read("Akte: 7711\nMRN: 1", number=["Akte"]) == ["number 7711"]
    assert read("DOB: 03/02/1980", day_first=True) == ["birth_date 1980-02-03"]


@pytest.mark.parametrize("label", ["", "MRN:", "a" * 50, "(", "1"])
def test_labels_are_words(label: str) -> None:
    with pytest.raises(ValueError, match="expected labels"):
        Labels(number=[label])


@pytest.mark.parametrize(
    ("text", "read_as"),
    [
        ("02/29/1980", ["1980-02-29"]),
        ("2-29-1980", ["1980-02-29"]),
        ("1980-02-29", ["1980-02-29"]),
        ("19800229", ["1980-02-29"]),
        ("Feb 29, 1980", ["1980-02-29"]),
        ("29 February 1980", ["1980-02-29"]),
        ("29-Feb-1980", ["1980-02-29"]),
        ("03/04/24", ["2024-03-04", "1924-03-04"]),
        ("03/04/80", ["1980-03-04"]),
        ("02/30/1980", []),
        ("29/02/1980", []),
        ("yesterday", []),
        ("", []),
        ("Foo 29, 1980", []),
    ],
)
def test_days_are_read_as_they_are_written(text: str, read_as: list[str]) -> None:
    assert [day.isoformat() for day in days(text, today=date(2026, 11, 25))] == read_as


JANE = Person(family="Doe", given="Jane", middle="Ann")


@pytest.mark.parametrize(
    ("written", "same"),
    [
        ("Jane Doe", True),
        ("DOE, JANE", True),
        ("DOE JANE", True),
        ("Doe, Jane A.", True),
        ("Jane Ann Doe", True),
        ("Mrs. Jane Doe", True),
        ("Jané Doe", True),
        ("J. Doe", None),
        ("Doe, J", None),
        ("Jane Beth Doe", False),
        ("Jane B Doe", False),
        ("Jan Doe", False),
        ("Jane Roe", False),
        ("John Doe", False),
        ("Doe, John Jane", False),
        ("Jane Doe Smith", False),
    ],
)
def test_names_are_compared(written: str, same: bool | None) -> None:
    assert same_name(written, JANE) is same


def test_names_of_several_words_and_generations() -> None:
    maria = Person(family="De la Cruz", given="Maria Jose")
    assert same_name("Maria Jose de la Cruz", maria) is True
    assert same_name("De La Cruz, María José", maria) is True
    assert same_name("Cruz, Maria", maria) is False
    senior = Person(family="Doe", given="John", suffix="Sr")
    assert same_name("John Doe Jr.", senior) is False
    assert same_name("John Doe Sr", senior) is True
    assert same_name("John Doe", senior) is True
    assert same_name("Jane Doe", Person()) is None


# What the clues come to.


@dataclass
class Charts:
    """What `find_chart` asks of a context, from a list of records."""

    records: list[Record] = field(default_factory=list)

    async def get(self, kind: type[Record], id: str) -> Any:
        return next((r for r in self.records if isinstance(r, kind) and getattr(r, "id", None) == id), None)

    async def find(self, kind: type[Record], name: str, value: str, limit: int = 100) -> list[Any]:
        found = [r for r in self.records if isinstance(r, kind) and value in self._keys(r, name)]
        return found[:limit]

    def _keys(self, chart: Any, name: str) -> list[str]:
        if chart.merged_into is not None:
            return []
        born = chart.name.birth_date
        return [i.value for i in chart.identifiers] if name == "number" else [born.isoformat()] if born else []


def chart(id: str, *numbers: str, family: str = "Doe", given: str = "Jane", born: str = "1980-02-29", **more: Any) -> Patient:
    identifiers = [Identifier(value=number, authority="RIVER", type="MR") for number in numbers]
    return Patient(id=id, identifiers=identifiers, name=Person(family=family, given=given, birth_date=born), **more)


CHARTS = [
    chart("p-jane", "00042"),
    chart("p-twin", "00050", given="Joan"),
    chart("p-same-1", "00061", family="Roe", given="Ann", born="1971-05-05"),
    chart("p-same-2", "00062", family="Roe", given="Ann", born="1971-05-05"),
    chart("p-old", "00009", merged_into="p-jane"),
    Appointment(id="F-77", patient_id="p-jane"),
    Appointment(id="F-99", patient_id="p-old"),
    Appointment(id="F-50", patient_id="p-twin"),
    CoverSheet(id="c-jane", patient_id="p-jane", appointment="F-77"),
    CoverSheet(id="c-old", patient_id="p-old"),
]


def matched(text: str, *more: Clue) -> Match:
    clues = [*more, *Reader(Labels()).clues(text.split("\f"))]
    return asyncio.run(find_chart(clues, Charts(list(CHARTS))))  # type: ignore[arg-type]  # as much of a context as it needs


@pytest.mark.parametrize(
    "text",
    [
        "MRN: 00042\nPatient: Jane Doe",
        "MRN: 00042\nDOB: 02/29/1980",
        "Patient: Doe, Jane\nDOB: 02/29/1980",
        "Appointment ID: F-77\nPatient: Jane Doe",
        "Appointment ID: F-99\nDOB: 02/29/1980",
        "Appointment ID: F-77\nMRN: 00042",
        "Patient: Jane Doe  DOB: 02/29/80  MRN: 00042",
        "Patient: Jane Doe\nDOB: 02/29/1980\nAppointment ID: X-1",
    ],
)
def test_two_things_that_agree_are_enough(text: str) -> None:
    found = matched(text)
    assert found.chart is not None, found.why
    assert found.chart.id == "p-jane"
    assert found.appointment in ("", "F-77", "F-99")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "nothing on it tells"),
        ("MRN: 00042", "too little on it"),
        ("Patient: Jane Doe", "no chart has what it says"),
        ("DOB: 02/29/1980", "too little on it"),
        ("Patient: J. Doe\nMRN: 00042", "too little on it"),
        ("Patient: Ann Roe\nDOB: 05/05/1971", "2 charts fit"),
        ("MRN: 00042\nPatient: John Doe", "too little on it"),
        ("MRN: 00042\nDOB: 02/28/1980", "too little on it"),
        ("MRN: 00042\nPatient: Jane Doe\nDOB: 03/01/1980", "the birth date is not that"),
        ("MRN: 00050\nPatient: Jane Doe\nDOB: 02/29/1980", "does not agree"),
        ("MRN: 77777\nPatient: Jane Doe\nDOB: 02/29/1980", "the chart's number is not that"),
        ("MRN: 00042\nMRN: 00050\nPatient: Jane Doe\nDOB: 02/29/1980", "does not agree"),
        ("Patient: Jane Doe\nPatient: Joan Doe\nDOB: 02/29/1980\nMRN: 00042", "the name is not that"),
        ("MRN: 00042\nPatient: Jane Doe\nAppointment ID: F-50", "does not agree"),
        ("\n".join(f"MRN: {number:05}" for number in range(60)), "too many people"),
    ],
)
def test_all_else_waits(text: str, why: str) -> None:
    found = matched(text)
    assert found.chart is None
    assert why in found.why
    assert not re.search(r"Doe|Jane|0004|1980", found.why), "why it waits says nothing about the patient"


def test_a_third_thing_tells_two_people_of_one_name_and_day_apart() -> None:
    found = matched("Patient: Ann Roe\nDOB: 05/05/1971\nMRN: 00062")
    assert found.chart is not None
    assert found.chart.id == "p-same-2"


def test_a_cover_sheet_of_ours_is_enough_unless_something_speaks_against_it() -> None:
    sheet = Clue(kind="cover", values=["c-jane"])
    assert matched("", sheet).chart is not None
    assert matched("", sheet).appointment == "F-77"
    assert matched("Patient: Jane Doe", sheet).chart is not None
    assert matched("Patient: John Roe", sheet).chart is None
    assert matched("MRN: 00050", sheet).chart is None
    merged = matched("", Clue(kind="cover", values=["c-old"])).chart
    assert merged is not None
    assert merged.id == "p-jane"
    assert matched("", Clue(kind="cover", values=["not one of ours"])).why == "its cover sheet is none that we printed"
    assert matched("MRN: 00042\nPatient: Jane Doe", Clue(kind="cover", values=["no such"])).chart is None


def test_a_birth_date_that_very_many_have_finds_nobody() -> None:
    crowd = [chart(f"p-{n}", f"{n:05}", given=f"Given{n}", born="1900-01-01") for n in range(300)]
    crowd[299] = chart("p-last", "99999", given="Given0", born="1900-01-01")  # the same as the first, behind the limit
    clues = Reader(Labels()).clues(["Patient: Given Doe\nPatient name: Doe, Given0\nDOB: 01/01/1900"])
    assert asyncio.run(find_chart(clues, Charts(list(crowd)))).chart is None  # type: ignore[arg-type]
    clues = Reader(Labels()).clues(["MRN: 00007\nDOB: 01/01/1900"])
    found = asyncio.run(find_chart(clues, Charts(list(crowd)))).chart  # type: ignore[arg-type]
    assert found is not None
    assert found.id == "p-7"


# The promise, whatever the text.

_BITS = [
    "MRN: 00042", "MRN: 00050", "MRN 00061", "MRN: 00062", "MRN: 0004", "MRN: 000420", "MRN: 00009", "MRN: 77777", "MRN#00042",
    "Patient: Jane Doe", "Patient: Joan Doe", "Patient name: DOE, JANE", "Patient: Ann Roe", "Patient: J. Doe", "Patient: Jane",
    "Patient: Jane Roe", "DOB: 02/29/1980", "DOB: 02/29/80", "Date of birth: 1980-02-29", "DOB: 05/05/1971", "DOB: 29.02.1980",
    "DOB: 02/28/1980", "Insured: Jane Doe", "Mother: Jane Doe", "SUBSCRIBER", "PATIENT INFORMATION", "Jane Doe", "02/29/1980",
    "00042", "Appointment ID: F-77", "Appointment ID: F-50", "Appointment ID: none", "seen by Dr. Doe", ":", "Patient:", "MRN:",
]  # fmt: skip
_GAPS = ["\n", " ", "   ", "\t", "; ", "\f", ", "]


@st.composite
def texts(draw: st.DrawFn) -> str:
    bits = draw(st.lists(st.one_of(st.sampled_from(_BITS), st.text(max_size=8)), max_size=10))
    gaps = draw(st.lists(st.sampled_from(_GAPS), min_size=len(bits), max_size=len(bits)))
    return "".join(itertools.chain.from_iterable(zip(bits, gaps, strict=True)))


def _stands_in(text: str, patient: Patient) -> int:
    """How many of number, name, birth date and appointment of a chart stand in a text at all, looked for in another way."""
    flat = re.sub(r"[^A-Z0-9]+", " ", text.upper())
    names = {f"{patient.name.given} {patient.name.family}".upper(), f"{patient.name.family} {patient.name.given}".upper()}
    born = patient.name.birth_date
    assert born is not None
    dates = {f"{born:%m %d %Y}", f"{born:%m %d %y}", f"{born:%Y %m %d}", f"{born:%d %m %Y}"}
    ours = [a.id for a in CHARTS if isinstance(a, Appointment) and a.patient_id == patient.id]
    return (
        any(f" {number.value} " in f" {flat} " for number in patient.identifiers)
        + any(f" {name} " in f" {flat} " for name in names)
        + any(f" {day} " in f" {flat} " for day in dates)
        + any(f" {id.replace('-', ' ')} " in f" {flat} " for id in ours)
    )


@given(texts())
@settings(max_examples=600, deadline=None)
@example("Mother: Jane Doe DOB: 02/29/1980")
@example("SUBSCRIBER\nDOB: 02/29/1980\nMRN: 00042\nJane Doe")
def test_no_chart_without_two_things_of_its_own_and_none_of_another(text: str) -> None:
    found = matched(text).chart
    if found is None:
        return
    assert _stands_in(text, found) >= 2
    labelled = set(re.findall(r"MRN[:# ]+([0-9]{4,})\b", text))
    alone = "Insured" not in text and "Mother" not in text and "SUBSCRIBER" not in text
    if alone:  # else a number may be that of the other person
        assert labelled <= {number.value for number in found.identifiers}
        others = {c.id for c in CHARTS if isinstance(c, Patient) and c.id != found.id and _stands_in(text, c) >= 3}
        assert not others


_OTHER = st.sampled_from(["Insured", "Mother", "Guarantor", "Emergency contact", "Subscriber name", "Patient's mother"])
_THEIRS = st.lists(st.sampled_from(["DOB: 02/29/1980", "MRN: 00042", "MRN# 00042", "Date of birth: 1980-02-29"]), max_size=3)


@given(
    st.lists(st.tuples(_OTHER, st.sampled_from(["Jane Doe", "DOE, JANE"]), _THEIRS), max_size=5), st.sampled_from([" ", "   "])
)
@settings(max_examples=200, deadline=None)
def test_what_is_said_of_others_says_nothing_about_the_patient(lines: list[tuple[str, str, list[str]]], gap: str) -> None:
    text = "\n".join(f"{who}: {name}{gap}{gap.join(rest)}" for who, name, rest in lines)
    assert matched(text).chart is None


@given(st.lists(st.text(max_size=300), max_size=5))
@settings(max_examples=200, deadline=None)
def test_any_text_is_read_without_a_failure(pages: list[str]) -> None:
    for clue in Reader(Labels()).clues(pages):
        assert clue.values


@pytest.mark.parametrize(
    ("left_out", "kind", "why"),
    [
        ({"unread": 0, "unscanned": 0}, "cover", ""),
        ({"unread": 0, "unscanned": 5}, "number", ""),
        ({"unread": 0, "unscanned": 5}, "cover", "5 of its 150 pages were not looked at for another cover sheet"),
        ({"unread": 50, "unscanned": 130}, "number", "the text of 50 of its 150 pages was not read"),
    ],
)
def test_what_nobody_looked_at_is_told(left_out: dict[str, int], kind: Any, why: str) -> None:
    said = unseen(SeenDocument(id="d-1", pages=150, **left_out), [Clue(kind=kind, values=["00042"], page=1)])
    assert said.split(";")[0] == why
