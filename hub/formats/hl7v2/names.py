"""Names of segments, fields and data types for people, from hl7apy's tables.

hl7apy is never on the way of a message: parsing 1 KB with it costs 17 ms, and it drops segments it does not know.
"""

from __future__ import annotations

import importlib
from functools import lru_cache
from typing import Any

VERSIONS = ("2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8", "2.8.1", "2.8.2")


@lru_cache(maxsize=16)
def _tables(version: str) -> Any:
    known = version if version in VERSIONS else "2.5.1"
    return importlib.import_module(f"hl7apy.v{known.replace('.', '_')}")


@lru_cache(maxsize=4096)
def field_name(version: str, segment: str, number: int) -> str:
    """`Date/Time Of Birth` for PID, 7; empty when the tables do not know it."""
    return _field(version, segment, number)[0].replace("_", " ").capitalize()


@lru_cache(maxsize=4096)
def field_table(version: str, segment: str, number: int) -> tuple[str, frozenset[str]]:
    """Number of the HL7 table that a field takes its codes from, and those codes: `0001` for PID, 8.  Empty when it has none;
    tables that each site fills itself have no codes here.
    """
    table = _field(version, segment, number)[1]
    codes = getattr(_tables(version), "TABLES", {}).get(table, ("", ()))[1]
    return table.removeprefix("HL7"), frozenset(codes)


def _field(version: str, segment: str, number: int) -> tuple[str, str]:
    """Name and table of a field, as hl7apy has them; of a field that is no code (its parts may be), no table."""
    return _fields(version, segment).get(f"{segment}_{number}", ("", ""))


_CODED = frozenset({"ID", "IS", "CE", "CWE", "CNE"})
"""Data types whose first component is a code."""


@lru_cache(maxsize=512)
def _fields(version: str, segment: str) -> dict[str, tuple[str, str]]:
    definition = getattr(_tables(version), "SEGMENTS", {}).get(segment)
    if definition is None:
        return {}
    known = {name: of for name, of, *_ in definition[1] if len(of) > 4}
    return {name: (of[3] or "", (of[4] or "") if of[2] in _CODED else "") for name, of in known.items()}
