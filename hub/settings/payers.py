"""The clinic's payer list: a CSV file with one line for each payer."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hub.errors import Problem, Problems
from hub.records import Payer

COLUMNS = {
    "payer": "our own id of the payer, as the EHR sends it in IN1-3 or IN1-2",
    "name": "its name, for people and for the 270",
    "clearinghouse_id": "the id by which the clearinghouse knows it",
    "also": "other ids the EHR uses for it, separated by blanks",
    "service_types": "service type codes to ask for, separated by blanks; 30 when empty",
    "check": "yes, no, or self_pay when this stands for patients who pay themselves",
    "medicare": "yes for original Medicare",
}


_YES = {"yes": True, "true": True, "no": False, "false": False, "": False}


def read_payers(path: Path, problems: Problems) -> list[Payer]:
    """The list; every mistake with file, line and column goes to `problems`."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            text = lines.read()
    except (OSError, UnicodeDecodeError):
        problems.add(Problem("CFG-040", "cannot read the payer list, or it is not UTF-8", str(path)))
        return []
    return _PayerList(path, text, problems).read()


class _PayerList:
    def __init__(self, path: Path, text: str, problems: Problems) -> None:
        self.path = path
        self.text = text
        self.rows = csv.DictReader(text.splitlines(keepends=True))
        self.problems = problems
        self.lines: dict[str, int] = {}
        """Ids, as they are compared, with the line they are in."""

    def report(self, code: str, text: str, *, source: str = "") -> None:
        self.problems.add(Problem(code, text, str(self.path), max(1, self.rows.line_num), 1, source))

    def read(self) -> list[Payer]:
        payers = []
        try:
            if not self.columns_are_good():
                return []
            for row in self.rows:
                if payer := self.payer(row):
                    self.check(payer)
                    payers.append(payer)
        except csv.Error as error:
            self.report("CFG-042", f"this is no CSV from here on ({error}); is a quote not closed?")
        return payers

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
            self.report("CFG-042", "a payer needs an id and a name")
            return None
        if cells["medicare"].lower() not in _YES:
            self.report("CFG-042", "medicare: write yes or no")
            return None
        try:
            return Payer(
                payer=cells["payer"],
                name=cells["name"],
                clearinghouse_id=cells["clearinghouse_id"],
                also=tuple(cells["also"].split()),
                service_types=tuple(cells["service_types"].split()) or ("30",),
                check=cells["check"] or "yes",
                medicare=_YES[cells["medicare"].lower()],
            )
        except ValidationError as error:
            wrong = error.errors(include_input=False)[0]
            self.report("CFG-042", f"{wrong['loc'][0]}: {wrong['msg']}")
            return None

    def check(self, payer: Payer) -> None:
        """What a line says together with the others."""
        line = self.rows.line_num
        for name in (payer.payer, *payer.also):
            if self.lines.setdefault(name.upper(), line) != line:
                self.report("CFG-043", f"the payer id {name!r} is also in line {self.lines[name.upper()]}")
        if payer.check == "yes" and not payer.clearinghouse_id:
            text = (
                f"the payer {payer.payer!r} has no clearinghouse_id, so it cannot be checked; write check=no if that is meant"
            )
            self.report("CFG-044", text)
