"""The clinic's payer list: a CSV or XLSX file with one line for each payer, how it is asked, and when."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from datetime import time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import ValidationError

from hub.errors import MessageUnusable, Problem, Problems
from hub.formats.sheets import read_sheet
from hub.formats.x12.service_types import SERVICE_TYPES
from hub.records import SEARCH_FIELDS, SEARCHES, OpenHours, Payer
from hub.units import parse_duration, parse_time_of_day

COLUMNS = {
    "payer": "our own id of the payer, as the EHR sends it in IN1-3 or IN1-2",
    "name": "its name, for people and for the 270",
    "clearinghouse_id": "the id by which the clearinghouse knows it",
    "also": "other ids the EHR uses for it, separated by blanks",
    "service_types": "service type codes to ask for, separated by blanks; 30 when empty",
    "check": "yes, no, or self_pay when this stands for patients who pay themselves",
    "medicare": "yes for original Medicare",
    "types": "service types for appointments of a type, in place of service_types: `PHYSIO=PT; URGENT CARE=UC 98`",
    "network": "in or out: whether the clinic is in the payer's network, by which amounts are chosen; in when empty",
    "places": "place of service for appointments of a type, in place of 11 (office): `VIDEO=10 02`",
    "fields": f"what a question names the patient by: {' '.join(SEARCH_FIELDS)}; all but group when empty",
    "searches": f"ways to ask again after a rejection, where the payer allows them: {' '.join(SEARCHES)}; none when empty",
    "at_once": "questions that may be out at once, so that no payer is flooded; as many as the connection takes when empty",
    "hours": "when the payer may be asked: `mo-fr 07:00-19:00; sa 08:00-12:00`; always when empty",
    "zone": "time zone of hours and batch: America/New_York; the first site's when empty",
    "batch": "time of day when questions leave together in a batch: `20:30`; each as it is due when empty",
    "patience": "how long an answer may take before somebody is told: `15m`; what plan_checks says when empty",
    "target": "in which time answers should come: `20s` when empty (CAQH CORE)",
}

_YES = {"yes": True, "true": True, "no": False, "false": False, "": False}
_DAYS = ("mo", "tu", "we", "th", "fr", "sa", "su")
_HOURS = re.compile(r"(?P<first>[a-z]{2})(?:-(?P<last>[a-z]{2}))?\s+(?P<opens>\d{1,2}:\d{2})\s*-\s*(?P<closes>\d{1,2}:\d{2})")
MOST_AT_ONCE = 1000
SPREADSHEET = ".xlsx"


def read_payers(path: Path, problems: Problems) -> list[Payer]:
    """The list; every mistake with file, line and column goes to `problems`."""
    try:
        return _PayerList(path, _text_of(path), problems).read()
    except MessageUnusable as error:
        problems.add(Problem("CFG-040", f"cannot read the payer list: {error}", str(path)))
    except (OSError, UnicodeDecodeError):
        problems.add(Problem("CFG-040", "cannot read the payer list, or it is not UTF-8", str(path)))
    return []


def _text_of(path: Path) -> str:
    """The list as CSV; of a spreadsheet its first sheet, so that its rows are the lines.  Raises MessageUnusable."""
    if path.suffix.lower() != SPREADSHEET:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            return lines.read()
    out = io.StringIO(newline="")
    csv.writer(out).writerows([" ".join(cell.split()) for cell in row] for row in read_sheet(path.read_bytes()))
    return out.getvalue()


# Cells.  Each raises ValueError with words for who wrote the cell.


def _words(known: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    def read(cell: str) -> tuple[str, ...]:
        words = tuple(dict.fromkeys(cell.split()))
        if unknown := [word for word in words if word not in known]:
            raise ValueError(f"{unknown[0]!r} is none of {', '.join(known)}")
        return words

    return read


def _service_types(cell: str) -> tuple[str, ...]:
    codes = tuple(cell.split())
    if unknown := [code for code in codes if code not in SERVICE_TYPES]:
        raise ValueError(f"{unknown[0]!r} is no service type; 30 is the plan as a whole, 98 an office visit")
    return codes


def _types(cell: str) -> dict[str, tuple[str, ...]]:
    return _by_type(cell, _service_types, "service types: PHYSIO=PT; URGENT CARE=UC 98")


def _places(cell: str) -> dict[str, tuple[str, ...]]:
    return _by_type(cell, _place_codes, "places of service: VIDEO=10 02; HOME VISIT=12")


def _place_codes(cell: str) -> tuple[str, ...]:
    codes = tuple(cell.split())
    if wrong := [code for code in codes if not re.fullmatch("[0-9]{2}", code)]:
        raise ValueError(f"{wrong[0]!r} is no place of service; 11 is an office, 02 and 10 are telehealth")
    return codes


def _by_type(cell: str, read: Callable[[str], tuple[str, ...]], example: str) -> dict[str, tuple[str, ...]]:
    """Codes by appointment type."""
    found: dict[str, tuple[str, ...]] = {}
    for entry in filter(None, (part.strip() for part in cell.split(";"))):
        name, equals, codes = entry.rpartition("=")
        if not (equals and name.strip() and codes.strip()):
            raise ValueError(f"{entry!r}: write an appointment type, =, and {example}")
        if name.strip().upper() in found:
            raise ValueError(f"the appointment type {name.strip()!r} stands twice")
        found[name.strip().upper()] = read(codes)
    return found


def _at_once(cell: str) -> int:
    if not cell.isdecimal() or not 1 <= int(cell) <= MOST_AT_ONCE:
        raise ValueError(f"write a number from 1 to {MOST_AT_ONCE}, or nothing")
    return int(cell)


def _hours(cell: str) -> tuple[OpenHours, ...]:
    found: list[OpenHours] = []
    for entry in filter(None, (part.strip().lower() for part in cell.split(";"))):
        found += _hours_of(entry)
    return tuple(found)


def _hours_of(entry: str) -> Iterator[OpenHours]:
    match = _HOURS.fullmatch(entry)
    days = [match["first"], match["last"] or match["first"]] if match else []
    if match is None or any(day not in _DAYS for day in days):
        raise ValueError(f"{entry!r}: write days and hours, with days {' '.join(_DAYS)}: mo-fr 07:00-19:00; sa 08:00-12:00")
    opens, closes = parse_time_of_day(match["opens"]), time(23, 59, 59)
    if match["closes"] != "24:00":
        closes = parse_time_of_day(match["closes"])
    if opens >= closes:
        raise ValueError(f"{entry!r}: it closes before it opens; over midnight, write two entries, one up to 24:00")
    first, last = (_DAYS.index(day) for day in days)
    for offset in range((last - first) % len(_DAYS) + 1):
        yield OpenHours(day=(first + offset) % len(_DAYS), opens=opens, closes=closes)


def _zone(cell: str) -> str:
    try:
        ZoneInfo(cell)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"there is no time zone {cell!r}; write one such as America/New_York") from None
    return cell


def _duration(cell: str) -> float:
    seconds = parse_duration(cell)
    if seconds <= 0:
        raise ValueError("write a time that is longer than nothing, such as 15m")
    return seconds


def _yes(cell: str) -> bool:
    if cell.lower() not in _YES:
        raise ValueError("write yes or no")
    return _YES[cell.lower()]


_CELLS: dict[str, Callable[[str], Any]] = {
    "payer": str,
    "name": str,
    "clearinghouse_id": str,
    "also": lambda cell: tuple(cell.split()),
    "service_types": _service_types,
    "check": str,
    "medicare": _yes,
    "types": _types,
    "network": str,
    "places": _places,
    "fields": _words(SEARCH_FIELDS),
    "searches": _words(SEARCHES),
    "at_once": _at_once,
    "hours": _hours,
    "zone": _zone,
    "batch": parse_time_of_day,
    "patience": _duration,
    "target": _duration,
}
"""How each cell is read; an empty one counts as not written."""


class _PayerList:
    def __init__(self, path: Path, text: str, problems: Problems) -> None:
        self.path = path
        self.text = text
        self.lines = text.splitlines(keepends=True)
        self.rows = csv.DictReader(self.lines)
        self.problems = problems
        self.known: dict[str, int] = {}
        """Ids, as they are compared, with the line they are in."""
        self.begun = 1
        """The line in which the row in hand begins."""

    def report(self, code: str, text: str, *, column: str = "", source: str = "") -> None:
        line, place = max(1, self.rows.line_num), 1
        if column:
            line, place = self.begun, self.place(column)
        self.problems.add(Problem(code, text, str(self.path), line, place, source))

    def place(self, column: str) -> int:
        """Where the cell of a column begins in the line in hand, counted from 1; in a spreadsheet the number of the column."""
        number = list(self.rows.fieldnames or []).index(column) if column in (self.rows.fieldnames or []) else 0
        if self.path.suffix.lower() == SPREADSHEET:
            return number + 1
        text = self.lines[self.begun - 1] if self.begun <= len(self.lines) else ""
        return next((start for count, start in enumerate(_starts(text)) if count == number), 1)

    def read(self) -> list[Payer]:
        payers = []
        try:
            if not self.columns_are_good():
                return []
            self.begun = self.rows.line_num + 1
            for row in self.rows:
                self.begun = self.beginning()
                if payer := self.payer(row):
                    self.check(payer)
                    payers.append(payer)
                self.begun = self.rows.line_num + 1
        except csv.Error as error:
            self.report("CFG-042", f"this is no CSV from here on ({error}); is a quote not closed?")
        return payers

    def beginning(self) -> int:
        """The line of the row in hand: empty ones before it are skipped."""
        line = self.begun
        while line < self.rows.line_num and not self.lines[line - 1].strip():
            line += 1
        return line

    def columns_are_good(self) -> bool:
        given = list(self.rows.fieldnames or [])
        wrong = [f"unknown column {name!r}" for name in given if name not in COLUMNS]
        wrong += [f"the column {name!r} is missing" for name in ("payer", "name") if name not in given]
        wrong += [f"the column {name!r} stands twice" for name in COLUMNS if given.count(name) > 1]
        if wrong:
            head = self.text.splitlines()[0] if self.text else ""
            self.report("CFG-041", f"{', '.join(wrong)}; there are {', '.join(COLUMNS)}", source=head)
        return not wrong

    def payer(self, row: dict[str | Any, Any]) -> Payer | None:
        if None in row:
            self.report("CFG-042", "more cells than columns; a name with a comma in it stands in quotes")
            return None
        cells = {name: (row.get(name) or "").strip() for name in COLUMNS}
        if not cells["payer"] or not cells["name"]:
            self.report("CFG-042", "a payer needs an id and a name", column="name" if cells["payer"] else "payer")
            return None
        values, good = {}, True
        for name, cell in cells.items():
            if not cell:
                continue
            try:
                values[name] = _CELLS[name](cell)
            except ValueError as error:
                self.report("CFG-042", f"{name}: {error}", column=name)
                good = False
        return self.made(values) if good else None

    def made(self, values: dict[str, Any]) -> Payer | None:
        try:
            return Payer.model_validate(values)
        except ValidationError as error:
            wrong = error.errors(include_input=False)[0]
            self.report("CFG-042", f"{wrong['loc'][0]}: {wrong['msg']}", column=str(wrong["loc"][0]))
            return None

    def check(self, payer: Payer) -> None:
        """What a line says together with the others, and its cells with each other."""
        line = self.rows.line_num
        for name in (payer.payer, *payer.also):
            if self.known.setdefault(name.upper(), line) != line:
                column = "payer" if name == payer.payer else "also"
                self.report("CFG-043", f"the payer id {name!r} is also in line {self.known[name.upper()]}", column=column)
        if payer.check == "yes" and not payer.clearinghouse_id:
            text = (
                f"the payer {payer.payer!r} has no clearinghouse_id, so it cannot be checked; write check=no if that is meant"
            )
            self.report("CFG-044", text)
        if "without_group" in payer.searches and "group" not in payer.fields:
            self.report("CFG-042", "searches: without_group needs `group` among the fields", column="searches")
        if payer.zone and not (payer.hours or payer.batch):
            self.report("CFG-042", "zone: it stands for hours and batch, and there is neither", column="zone")


def _starts(line: str) -> Iterator[int]:
    """Where each cell of a line begins, counted from 1; commas inside of quotes part nothing."""
    yield 1
    quoted = False
    for place, letter in enumerate(line, 1):
        if letter == '"':
            quoted = not quoted
        elif letter == "," and not quoted:
            yield place + 1
