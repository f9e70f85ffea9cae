"""HL7 v2 trees and benefits cards for the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hub.formats.hl7v2 import Hl7, split
from hub.formats.hl7v2.names import field_name


def show_hl7(file: Path, found: dict[str, Any], data: bytes) -> None:
    """Segments with the names of their fields, values unescaped."""
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
                click.echo(f"    {segment.id}-{number:<3} {field_name(version, segment.id, number)[:32]:32} {value}")


def _findings(findings: list[dict[str, Any]]) -> None:
    for finding in findings:
        place = f" at {finding['id'] or 'segment'} {finding['segment']}" if finding["segment"] else ""
        click.echo(f"  {finding['level']} {finding['code']}{place}: {finding['text']}")


def show_x12(file: Path, found: dict[str, Any]) -> None:
    click.echo(f"{file}: X12, {len(found['interchanges'])} interchange(s)")
    _findings(found["findings"])
    for interchange in found["interchanges"]:
        click.echo(f"\ninterchange {interchange['control_number']} from {interchange['sender']} to {interchange['receiver']}")
        for verdict in interchange.get("interchange_acknowledgements", []):
            click.echo(f"  TA1 for {verdict['control_number']}: {verdict['code']} ({verdict['note']} {verdict['text']})")
        for transaction in (t for group in interchange["groups"] for t in group["transactions"]):
            _transaction(transaction)


def _transaction(transaction: dict[str, Any]) -> None:
    click.echo(f"\n  {transaction['set']} {transaction['control_number']}")
    _rejections(transaction.get("rejections", []), "    ")
    for inquiry in transaction.get("inquiries", []):
        _people(inquiry)
        days = ", ".join(d["from"] for d in inquiry["dates"]) or "the payer's day"
        click.echo(f"    asks for     {', '.join(inquiry['service_types']) or '?'} on {days}")
    for coverage in transaction.get("coverages", []):
        _card(coverage)
    for verdict in transaction.get("acknowledgements", []):
        click.echo(f"    {verdict['set'] or 'group'} {verdict['control_number'] or verdict['group']}: {verdict['code']}")
        for error in verdict["errors"]:
            where = f"{error['segment']} {error['position']}" + (f" element {error['element']}" if error["element"] else "")
            click.echo(f"      {where}: {error['code']} {error['text']}")


def _people(part: dict[str, Any]) -> None:
    subscriber, patient = part["subscriber"], part["patient"]
    click.echo(f"    payer        {part['payer']['name'] or ''} {part['payer']['id'] or ''}".rstrip())
    click.echo(f"    provider     {part['provider']['name'] or ''} {part['provider']['npi'] or ''}".rstrip())
    click.echo(f"    subscriber   {_name(subscriber)}, member {subscriber['member_id'] or '?'}")
    if patient["relationship"] != "self":
        click.echo(f"    patient      {_name(patient)}, {patient['relationship']}")


def _name(person: dict[str, Any]) -> str:
    return " ".join(part for part in (person["given"], person["family"], person["birth_date"]) if part) or "not named"


def _card(coverage: dict[str, Any]) -> None:
    """The benefits card: the word first, then what this visit costs, then everything the payer said."""
    click.echo(f"    {coverage['status'].upper()}   {coverage['plan'] or 'plan not named'}")
    _people(coverage)
    for name, words in (("co_payment", "co-payment"), ("deductible_remaining", "deductible left")):
        chosen = coverage["chosen"][name]
        if chosen is None:
            text = "the payer did not say"
        elif chosen["amount"] is None:
            text = f"{chosen['why']}: segments {', '.join(map(str, chosen['segments']))}"
        else:
            text = f"{chosen['amount']}   ({chosen['why']}, segment {chosen['segments'][0]})"
        click.echo(f"    {words:15} {text}")
    _rejections(coverage["rejections"], "    ")
    for benefit in coverage["benefits"]:
        parts = [
            benefit["level"],
            "/".join(benefit["service_types"]),
            benefit["plan"],
            _money(benefit),
            _network(benefit),
            "; ".join(benefit["messages"]),
        ]
        click.echo(f"    {benefit['segment']:4} {benefit['code']:2} {benefit['kind']:28} {'  '.join(p for p in parts if p)}")


def _money(benefit: dict[str, Any]) -> str:
    value = benefit["amount"] or (f"{benefit['percent']} (share)" if benefit["percent"] else "")
    period = f" per {benefit['period']}" if value and benefit["period"] else ""
    return f"{value}{period}"


def _network(benefit: dict[str, Any]) -> str:
    return {"Y": "in network", "N": "out of network", "W": "in and out of network"}.get(benefit["network"] or "", "")


def _rejections(rejections: list[dict[str, Any]], indent: str) -> None:
    for rejection in rejections:
        click.echo(f"{indent}REJECTED {rejection['loop']} AAA {rejection['code']}: {rejection['text']}")
        click.echo(f"{indent}  {rejection['who']}: {rejection['action']}")
