"""HL7 v2 trees for the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hub.formats.hl7v2 import Hl7, split
from hub.formats.hl7v2.message import Segment
from hub.formats.hl7v2.names import field_name, field_table, field_type


def show_hl7(file: Path, found: dict[str, Any], data: bytes) -> None:
    """Segments with the names and data types of their fields, values unescaped."""
    click.echo(f"{file}: {len(found['messages'])} HL7 v2 message(s)")
    _findings(found["findings"])
    for part, described in zip(split(data)[0], found["messages"], strict=True):
        click.echo()
        structure = f" ({described['structure']})" if described["structure"] else ""
        encoding = described["encoding"] or "unreadable"
        click.echo(f"{described['type'] or 'no type'}{structure}, version {described['version'] or '?'}, {encoding}")
        _findings(described["findings"])
        if described["segments"]:
            _tree(Hl7(part.body))


def _tree(message: Hl7) -> None:
    version = (message.get("MSH-12.1") or "").strip()
    seen: dict[str, int] = {}
    for segment in message.segments:
        seen[segment.id] = seen.get(segment.id, 0) + 1
        click.echo(f"  {segment.id}")
        count = len(segment.fields) + (segment.id == "MSH")
        for number in range(1, count):
            values = message.get_all(f"{segment.id}[{seen[segment.id]}]-{number}[*]")
            for value in values:
                name, type = field_name(version, segment.id, number)[:32], field_type(version, segment.id, number)
                click.echo(f"    {segment.id}-{number:<3} {name:32} {type:3} {value}{_table(message, segment, number, value)}")


def _table(message: Hl7, segment: Segment, number: int, value: str) -> str:
    """Which HL7 table a code is of, or that it is not in it; nothing for what is no code, or a code of the site's own."""
    table, codes = field_table((message.get("MSH-12.1") or "").strip(), segment.id, number)
    if not codes:
        return ""
    known = message.part(value, 1) in {*codes, '""'}
    return f"   (table {table})" if known else f"   (not in table {table})"


def _findings(findings: list[dict[str, Any]]) -> None:
    for finding in findings:
        place = f" at {finding['id'] or 'segment'} {finding['segment']}" if finding["segment"] else ""
        click.echo(f"  {finding['level']} {finding['code']}{place}: {finding['text']}")
