"""The clinic's payer list: a CSV file with one line for each payer."""

from __future__ import annotations

import csv
from pathlib import Path

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


def read_payers(path: Path, problems: Problems) -> list[Payer]:
    """The list; every mistake with file, line and column goes to `problems`."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            text = lines.read()
    except (OSError, UnicodeDecodeError):
        problems.add(Problem("CFG-040", "cannot read the payer list, or it is not UTF-8", str(path)))
        return []
    rows = csv.DictReader(text.splitlines(keepends=True))
    unknown = [name for name in rows.fieldnames or [] if name not in COLUMNS]
    missing = [name for name in ("payer", "name") if name not in (rows.fieldnames or [])]
    if unknown or missing:
        what = f"unknown column {unknown[0]!r}" if unknown else f"the column {missing[0]!r} is missing"
        problems.add(
            Problem("CFG-041", f"{what}; there are {', '.join(COLUMNS)}", str(path), 1, 1, text.splitlines()[0] if text else "")
        )
        return []
    payers: list[Payer] = []
    seen: dict[str, int] = {}
    for row in rows:
        payer = _payer(row, path, rows.line_num, problems)
        if payer is None:
            continue
        for name in (payer.payer, *payer.also):
            if name in seen:
                problems.add(
                    Problem("CFG-043", f"the payer id {name!r} is also in line {seen[name]}", str(path), rows.line_num, 1)
                )
            seen[name] = rows.line_num
        payers.append(payer)
    return payers


def _payer(row: dict[str, str], path: Path, line: int, problems: Problems) -> Payer | None:
    cells = {name: (row.get(name) or "").strip() for name in COLUMNS}
    try:
        payer = Payer(
            payer=cells["payer"],
            name=cells["name"],
            clearinghouse_id=cells["clearinghouse_id"],
            also=tuple(cells["also"].split()),
            service_types=tuple(cells["service_types"].split()) or ("30",),
            check=cells["check"] or "yes",
            medicare=cells["medicare"].lower() in ("yes", "true"),
        )
    except ValidationError as error:
        wrong = error.errors(include_input=False)[0]
        problems.add(Problem("CFG-042", f"{wrong['loc'][0]}: {wrong['msg']}", str(path), line, 1))
        return None
    if not payer.payer or not payer.name:
        problems.add(Problem("CFG-042", "a payer needs an id and a name", str(path), line, 1))
        return None
    if payer.check == "yes" and not payer.clearinghouse_id:
        text = f"the payer {payer.payer!r} has no clearinghouse_id, so it cannot be checked; write check=no if that is meant"
        problems.add(Problem("CFG-044", text, str(path), line, 1))
    return payer
