"""Who is who, for all plugins alike: how names are compared, by which numbers a chart is found, and which chart it is now.

Names are compared as CAQH CORE rule 258 says: what stands around a name (JR, DR, PHD ...) is left out where a blank or a mark
sets it off, and marks and blanks within it are: O'Donnell-Griswold Jr. is ODONNELLGRISWOLD.  Accents are left out too.
"""

from __future__ import annotations

import re
import unicodedata

from hub.formats.hl7v2.codec import NOT_FOR_MATCHING
from hub.records import Identifier, Patient
from hub.step import Context

_BEFORE = frozenset({"MR", "MRS", "MS", "DR", "REV"})
_BEHIND = frozenset({"JR", "SR", "I", "II", "III", "IV", "V", "RN", "MD", "PHD", "ESQ"})
_MERGES = 20
"""Merges that are followed from one chart to the next."""


def normal_name(name: str | None) -> str:
    """The letters and digits that count of a name."""
    return "".join(name_parts(name))


def name_parts(name: str | None) -> list[str]:
    """The parts of a name that count, in their order."""
    folded = unicodedata.normalize("NFKD", name or "").upper()
    parts = re.findall(r"[^\W_]+", "".join(c for c in folded if not unicodedata.combining(c)))
    while len(parts) > 1 and parts[0] in _BEFORE:
        parts.pop(0)
    while len(parts) > 1 and parts[-1] in _BEHIND:
        parts.pop()
    return parts


def usable(identifiers: list[Identifier]) -> list[Identifier]:
    """Those by which a chart is found: no social security or licence numbers."""
    return [i for i in identifiers if i.value and i.type.upper() not in NOT_FOR_MATCHING]


async def current_chart(id: str, context: Context) -> Patient | None:
    """The chart with this id, or the one it was merged into."""
    chart = await context.get(Patient, id) if id else None
    for _ in range(_MERGES):
        if chart is None or chart.merged_into is None:
            return chart
        chart = await context.get(Patient, chart.merged_into)
    return chart
