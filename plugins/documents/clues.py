"""What pages say about whose they are: values behind labels (`MRN: 00042`), never words in running text.  No store, no clock.

A label counts when it speaks of the patient.  Behind the name of somebody else (`Insured: ...`), or below a heading about
somebody else, numbers and birth dates are theirs and count for nothing.  Without a mark behind it (`MRN 00042`) a label counts
only in capitals.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

from hub import Person
from hub.people import name_parts, normal_name
from plugins.documents.records import Clue, ClueKind

LONGEST_LINE = 1000
LONGEST_NAME = 80
LONGEST_NUMBER = 40
MOST_LINES = 20_000
MOST_CLUES = 50
"""Of a document; one with more speaks of many patients, and waits."""
_OTHERS = frozenset(
    re.findall(
        r"\w+",
        """
    insured subscriber policyholder holder guarantor payer mother father parent parents guardian spouse husband wife partner
    child son daughter sibling brother sister relative caregiver contact emergency physician doctor provider nurse attending
    referring requesting ordering employer responsible party sender recipient other previous former donor baby newborn twin not
    """,
    )
)
"""Words that make a label or heading one about somebody else."""
_GAP = re.compile(r"\s{2,}|\t|[|;]")
_ANY_LABEL = re.compile(r"(?<!\w)([A-Za-z][A-Za-z'’./ -]{0,40}):")
_SEXES = frozenset({"", "F", "M", "FEMALE", "MALE"})
_SUFFIXES = frozenset({"JR", "SR", "II", "III", "IV"})
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


class Labels(BaseModel):
    """The words that stand in front of what tells whose a document is."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, frozen=True)

    number: list[str] = ["MRN", "Medical record number", "Medical record no", "Chart number", "Chart no"]
    """In front of the chart's number."""
    name: list[str] = ["Patient name", "Name of patient", "Patient's name", "Patient", "Pt name", "Pt"]
    """In front of the patient's name."""
    birth_date: list[str] = ["Date of birth", "Birth date", "Birthdate", "DOB", "D.O.B."]
    """In front of the patient's birth date."""
    appointment: list[str] = ["Appointment ID", "Appointment number", "Appointment no", "Visit number", "Visit no"]
    """In front of the EHR's id of the appointment."""
    day_first: bool = False
    """Write `true` where 03/02/1980 is the third of February."""

    @field_validator("number", "name", "birth_date", "appointment")
    @classmethod
    def _are_words(cls, labels: list[str]) -> list[str]:
        if not all(re.fullmatch(r"[^\W\d_][\w'’./# -]{0,39}", label) for label in labels):
            raise ValueError("expected labels of up to 40 letters, such as MRN, without the colon behind them")
        return labels


@dataclass(frozen=True, slots=True)
class _Label:
    """A label in a line."""

    kind: ClueKind | None
    """None for one about something or somebody else."""
    about_others: bool
    start: int
    end: int


class Reader:
    """Finds clues by the labels of one clinic."""

    def __init__(self, labels: Labels) -> None:
        self._labels = labels
        named: list[tuple[str, ClueKind]] = [
            (label, kind)
            for kind in ("number", "name", "birth_date", "appointment")
            for label in getattr(labels, kind)
        ]  # fmt: skip
        self._kinds = {_plain(label): kind for label, kind in named}
        longest_first = sorted((label for label, _ in named), key=len, reverse=True)
        words = "|".join(re.escape(label) for label in longest_first)
        self._ours = re.compile(rf"(?<![\w'’])({words or '(?!)'})(?=[\s:#=.])\.?\s*(?:#\s*)?([:=#]?)", re.IGNORECASE)

    def clues(self, pages: Sequence[str]) -> list[Clue]:
        """Everything on these pages that tells whose they are, each once, in its order."""
        found: dict[tuple[str, tuple[str, ...]], Clue] = {}
        for clue in self._all(pages):
            found.setdefault((clue.kind, tuple(clue.values)), clue)
            if len(found) > MOST_CLUES:
                break
        return list(found.values())

    def _all(self, pages: Sequence[str]) -> Iterator[Clue]:
        of_patient = True
        lines = ((number, line) for number, text in enumerate(pages, 1) for line in text.splitlines())
        for number, line in itertools.islice(lines, MOST_LINES):
            line = line[:LONGEST_LINE].strip()
            labels = list(self._labels_of(line))
            if any(label.kind == "name" for label in labels):
                of_patient = True
            elif _is_heading(line, labels):
                of_patient = not _speaks_of_others(line)
            yield from self._of_line(line, labels, number, of_patient=of_patient)

    def _of_line(self, line: str, labels: list[_Label], page: int, *, of_patient: bool) -> Iterator[Clue]:
        for label, following in itertools.zip_longest(labels, labels[1:]):
            value = _value(line[label.end : following.start if following else None])
            if label.about_others:
                of_patient = False
            elif label.kind == "name":
                of_patient = True
            if label.kind is not None and of_patient and (values := self._read(label.kind, value)):
                yield Clue(kind=label.kind, values=values, page=page)

    def _labels_of(self, line: str) -> Iterator[_Label]:
        """Ours, and any other words with a colon behind them, in the order of the line."""
        found: list[_Label] = []
        for match in self._ours.finditer(line):
            kind = self._kinds[_plain(match[1])]
            if match[2] or match[1].isupper():
                others = _speaks_of_others(_GAP.split(line[: match.start()])[-1].rpartition(":")[2])
                found.append(_Label(None if others else kind, others, match.start(), match.end()))
        taken = [(label.start, label.end) for label in found]
        for match in _ANY_LABEL.finditer(line):
            if not any(start < match.end() and match.start() < end for start, end in taken):
                found.append(_Label(None, _speaks_of_others(match[1]), _start_of_other(match), match.end()))
        return iter(sorted(found, key=lambda label: label.start))

    def _read(self, kind: ClueKind, value: str) -> list[str]:
        """What stands behind a label, as it is compared; nothing when it is not of that kind."""
        if kind == "birth_date":
            return [day.isoformat() for day in days(value, day_first=self._labels.day_first)]
        if kind == "name":
            name = _name(value)
            return [name] if len(name_parts(name)) > 1 else []
        word = value.split(maxsplit=1)[0].strip(".,()") if value else ""
        return [word] if len(word) <= LONGEST_NUMBER and re.search(r"\d", word) else []


def _name(value: str) -> str:
    """Without what stands behind a name: an age, a sex, words in brackets."""
    parts = value.partition("(")[0].split(",")
    while len(parts) > 1 and (re.search(r"\d", parts[-1]) or parts[-1].strip(" .").upper() in _SEXES):
        parts.pop()
    return ",".join(parts).strip(" ,.")[:LONGEST_NAME]


def _start_of_other(match: re.Match[str]) -> int:
    """Where a label begins that is none of ours: at its word about somebody else, else at its last word."""
    words = list(re.finditer(r"[^\s]+", match[1]))
    first = next((word for word in words if _speaks_of_others(word[0])), words[-1])
    return match.start(1) + first.start()


def _plain(label: str) -> str:
    return " ".join(label.upper().split())


def _value(text: str) -> str:
    """What belongs to a label: up to a gap or a mark between columns."""
    return _GAP.split(text.strip(), maxsplit=1)[0].strip()


def _words(text: str) -> set[str]:
    return {word.removesuffix("'s").removesuffix("’s") for word in re.findall(r"[a-z]+(?:['’]s)?", text.lower())}


def _speaks_of_others(text: str) -> bool:
    return bool(_words(text) & _OTHERS)


def _is_heading(line: str, labels: list[_Label]) -> bool:
    """A short line that names somebody, and has nothing behind it."""
    if any(_value(line[label.end :]) for label in labels) or any(label.kind for label in labels):
        return False
    words = _words(line)
    return len(line) <= 60 and bool(words & (_OTHERS | {"patient"})) and len(words) <= 6


# Days.


def days(text: str, *, day_first: bool = False, today: date | None = None) -> list[date]:
    """The days a birth date can mean: none when it is no date, two where its year leaves it open."""
    text = text.strip()
    if match := re.match(r"(\d{4})-(\d{1,2})-(\d{1,2})(?!\d)", text) or re.match(r"(\d{4})(\d{2})(\d{2})(?!\d)", text):
        return _known([(int(match[1]), int(match[2]), int(match[3]))])
    if match := re.match(r"(\d{1,2})[/.-](\d{1,2})[/.-](\d{4}|\d{2})(?!\d)", text):
        first, second = int(match[1]), int(match[2])
        month, day = (second, first) if day_first else (first, second)
        return _known([(year, month, day) for year in _years(match[3], today)])
    if match := re.match(r"([A-Za-z]{3,9})\.? (\d{1,2}),? (\d{4})(?!\d)", text):
        return _known([(int(match[3]), _month(match[1]), int(match[2]))])
    if match := re.match(r"(\d{1,2})\.?[ -]([A-Za-z]{3,9})\.?,?[ -](\d{4})(?!\d)", text):
        return _known([(int(match[3]), _month(match[2]), int(match[1]))])
    return []


def _years(text: str, today: date | None) -> list[int]:
    if len(text) == 4:
        return [int(text)]
    this_year = (today or datetime.now().astimezone().date()).year
    return [year for year in (2000 + int(text), 1900 + int(text)) if year <= this_year]


def _month(name: str) -> int:
    start = name[:3].upper()
    return _MONTHS.index(start) + 1 if start in _MONTHS else 0


def _known(parts: list[tuple[int, int, int]]) -> list[date]:
    found = []
    for year, month, day in parts:
        try:
            found.append(date(year, month, day))
        except ValueError:
            continue  # no day of the calendar
    return found


# Names.


def same_name(written: str, person: Person) -> bool | None:
    """Whether a name on a page is that of a person; None when it may be (an initial, a chart without a name).

    `Doe, Jane A.`, `Jane A. Doe` and `DOE JANE` are read.  A middle name counts where both have one, and so does Jr or Sr.
    """
    family, given, middle = normal_name(person.family), normal_name(person.given), normal_name(person.middle)
    if not family or not given:
        return None
    suffixes = {_suffix(written), _suffix(person.suffix or person.family or "")} - {""}
    if len(suffixes) > 1:
        return False
    verdicts = [_given(rest, given, middle) for rest in _without_family(written, family)]
    if True in verdicts:
        return True
    return None if None in verdicts else False


def _suffix(name: str) -> str:
    parts = re.findall(r"[A-Z]+", name.upper())
    return next((part for part in reversed(parts) if part in _SUFFIXES), "")


def _without_family(written: str, family: str) -> Iterator[list[str]]:
    """The other parts of a name, for each way in which the family name stands in it: in front or at the end."""
    if "," in written:
        before, _, after = written.partition(",")
        if normal_name(before) == family:
            yield [part for part in name_parts(after) if part not in _SUFFIXES]
            return
    parts = name_parts(written.replace(",", " "))
    for count in range(1, len(parts)):
        if "".join(parts[-count:]) == family:
            yield parts[:-count]
        if "".join(parts[:count]) == family and "," not in written:
            yield parts[count:]


def _given(parts: list[str], given: str, middle: str) -> bool | None:
    """Whether given names are those of the chart: the first one whole, a middle one whole or as its initial."""
    for count in range(1, len(parts) + 1):
        if "".join(parts[:count]) == given:
            rest = "".join(parts[count:])
            return not rest or not middle or rest == middle or rest == middle[0] or middle == rest[0]
    joined = "".join(parts)
    if joined and joined == given + middle:
        return True
    return None if parts and len(parts[0]) == 1 and parts[0] == given[0] else False


def of_person(person: Person, numbers: Sequence[str]) -> list[Clue]:
    """What a message says beside its document about whose it is (PID)."""
    found: list[Any] = [Clue(kind="number", values=[number]) for number in numbers]
    if person.family and person.given:
        found.append(Clue(kind="name", values=[f"{person.family}, {person.given}"]))
    if person.birth_date is not None:
        found.append(Clue(kind="birth_date", values=[person.birth_date.isoformat()]))
    return found
