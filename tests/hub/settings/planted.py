"""Files with planted mistakes: `«CFG-020»` stands before what is wrong, and is taken out before the file is written."""

import re
from pathlib import Path

from hub.clinic import Examined, examine
from hub.errors import Problem

MARK = re.compile(r"«([A-Z]{3}-\d{3})»")

Place = tuple[str, str, int, int]
"""Code, file name, line, column."""

HEAD = 'organisation: {name: Test Clinic, npi: "1234567893"}\nsites:\n  main: {timezone: America/Chicago}\n'


def plant(file: Path, marked: str) -> list[Place]:
    """Writes the file without its marks, and says which mistakes are where."""
    places = []
    for number, line in enumerate(marked.splitlines(), 1):
        while match := MARK.search(line):
            places.append((match[1], file.name, number, match.start() + 1))
            line = line[: match.start()] + line[match.end() :]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(MARK.sub("", marked), encoding="utf-8")
    return sorted(places)


def found(problems: list[Problem], level: str = "error") -> list[Place]:
    return sorted((p.code, Path(p.file).name, p.line, p.column) for p in problems if p.level == level)


def look(folder: Path, text: str, *, strict: bool = False, head: str = HEAD, **files: str) -> Examined:
    """Examines a clinic file; `payers_csv="..."` writes payers.csv beside it, `vendors__acme_yaml` a file in a folder."""
    for name, content in files.items():
        file = folder / re.sub(r"_(yaml|csv|txt)$", r".\1", name.replace("__", "/"))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "clinic.yaml").write_text(head + text, encoding="utf-8")
    return examine(folder / "clinic.yaml", strict_secrets=strict)


def look_planted(folder: Path, marked: str, *, head: str = HEAD, strict: bool = False) -> tuple[Examined, list[Place]]:
    """Examines a clinic file with planted mistakes."""
    expected = plant(folder / "clinic.yaml", head + marked)
    return examine(folder / "clinic.yaml", strict_secrets=strict), expected


def errors(examined: Examined) -> list[Problem]:
    return [p for p in examined.problems if p.level == "error"]


def only(examined: Examined) -> Problem:
    """The one error there is."""
    (problem,) = errors(examined)
    return problem
