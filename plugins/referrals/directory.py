"""The directory of specialists: a CSV or XLSX file with one line for each, and how they are reached.

name,fax,direct
Lake Cardiology,+1 312 555 0100,referrals@direct.lakecardiology.example
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hub.errors import MessageUnusable
from hub.formats.sheets import read_sheet

COLUMNS = ("name", "fax", "direct")


@dataclass(frozen=True, slots=True)
class Specialist:
    """One line of the directory."""

    name: str
    fax: str = ""
    """Number; the fax line says how numbers are written."""
    direct: str = ""
    """Address of secure mail."""


class DirectoryError(ValueError):
    """The directory cannot be used; the text says where and why."""


def read_directory(file: Path) -> dict[str, Specialist]:
    """Specialists by `plain` names; raises DirectoryError."""
    try:
        rows = read_sheet(file.read_bytes())
    except OSError as error:
        raise DirectoryError(f"the directory {file} cannot be read ({error.strerror})") from None
    except MessageUnusable as error:
        raise DirectoryError(f"the directory {file}: {error}") from None
    heads = [head.strip().lower() for head in rows[0]] if rows else []
    if not set(COLUMNS) <= set(heads):
        raise DirectoryError(f"the directory {file} needs the columns {', '.join(COLUMNS)} in its first line")
    found: dict[str, Specialist] = {}
    for number, row in enumerate(rows[1:], 2):
        values = dict(zip(heads, (cell.strip() for cell in row), strict=False))
        one = Specialist(*(values.get(column, "") for column in COLUMNS))
        if not any(values.values()):
            continue
        if not one.name or not (one.fax or one.direct):
            raise DirectoryError(f"line {number} of the directory {file} needs a name, and a fax number or a direct address")
        if plain(one.name) in found:
            raise DirectoryError(f"line {number} of the directory {file} has a name that an earlier line has too")
        found[plain(one.name)] = one
    return found


def plain(name: str) -> str:
    """How names are compared: capitals and the length of gaps make no difference."""
    return " ".join(name.casefold().split())
