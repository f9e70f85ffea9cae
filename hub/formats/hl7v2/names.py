"""Names of segments, fields and data types for people, from hl7apy's tables.

hl7apy is never on the way of a message: parsing 1 KB with it costs 17 ms, and it drops segments it does not know.
"""

from __future__ import annotations

import importlib
from functools import lru_cache
from typing import Any, NamedTuple

VERSIONS = ("2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8", "2.8.1", "2.8.2")


@lru_cache(maxsize=16)
def _tables(version: str) -> Any:
    known = version if version in VERSIONS else "2.5.1"
    return importlib.import_module(f"hl7apy.v{known.replace('.', '_')}")


@lru_cache(maxsize=4096)
def field_name(version: str, segment: str, number: int) -> str:
    """`Date/Time Of Birth` for PID, 7; empty when the tables do not know it."""
    return _field(version, segment, number).name.replace("_", " ").capitalize()


def field_type(version: str, segment: str, number: int) -> str:
    """`XPN` for PID, 5: the data type of a field; empty when the tables do not know it."""
    return _field(version, segment, number).type


@lru_cache(maxsize=4096)
def field_table(version: str, segment: str, number: int) -> tuple[str, frozenset[str]]:
    """Number of the HL7 table that a field takes its codes from, and those codes: `0001` for PID, 8.  Empty when it has none;
    tables that each site fills itself have no codes here.
    """
    field = _field(version, segment, number)
    table = field.table if field.type in _CODED else ""
    codes = getattr(_tables(version), "TABLES", {}).get(table, ("", ()))[1]
    return table.removeprefix("HL7"), frozenset(codes)


class _Field(NamedTuple):
    """A field as hl7apy has it."""

    name: str = ""
    type: str = ""
    table: str = ""
    """Of its first component, when the field itself is no code."""


def _field(version: str, segment: str, number: int) -> _Field:
    return _fields(version, segment).get(f"{segment}_{number}", _Field())


_CODED = frozenset({"ID", "IS", "CE", "CWE", "CNE"})
"""Data types whose first component is a code."""


@lru_cache(maxsize=512)
def _fields(version: str, segment: str) -> dict[str, _Field]:
    definition = getattr(_tables(version), "SEGMENTS", {}).get(segment)
    if definition is None:
        return {}
    return {name: _Field(of[3] or "", of[2] or "", of[4] or "") for name, of, *_ in definition[1] if len(of) > 4}
