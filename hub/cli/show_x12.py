"""X12 for people: findings, inquiries, verdicts, claims, and a 271 as a benefits card of one page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hub.formats.x12 import codes
from hub.formats.x12.service_types import SERVICE_TYPES

MOST_ROWS = 24
"""So many benefits fit on the page; `--json` has all of them."""
_CHOSEN = (
    ("co_payment", "co-payment"),
    ("co_insurance", "co-insurance"),
    ("deductible_remaining", "deductible left"),
    ("out_of_pocket_remaining", "out of pocket left"),
)
_AUTHORIZATION = {"Y": "required", "N": "not required", "U": "the payer does not know"}


def show_x12(file: Path, found: dict[str, Any]) -> None:
    if found["format"] == "x12":
        click.echo(f"{file}: X12, {len(found['interchanges'])} interchange(s)")
    else:
        click.echo(f"{file}: JSON of a clearinghouse ({found['format']}); places are the numbers of its benefits")
    _findings(found["findings"])
    for interchange in found["interchanges"]:
        if found["format"] == "x12":
            sides = f"from {interchange['sender']} to {interchange['receiver']}"
            click.echo(f"\ninterchange {interchange['control_number']} {sides}")
        for verdict in interchange.get("interchange_acknowledgements", []):
            click.echo(f"  TA1 for {verdict['control_number']}: {verdict['code']} ({verdict['note']} {verdict['text']})")
        for transaction in (t for group in interchange["groups"] for t in group["transactions"]):
            _transaction(transaction)


def _findings(findings: list[dict[str, Any]]) -> None:
    for finding in findings:
        place = f" at {finding['id'] or 'segment'} {finding['segment']}" if finding["segment"] else ""
        click.echo(f"  {finding['level']} {finding['code']}{place}: {finding['text']}")


def _transaction(transaction: dict[str, Any]) -> None:
    click.echo(f"\n  {transaction['set']} {transaction['control_number']}")
    _rejections(transaction.get("rejections", []))
    for inquiry in transaction.get("inquiries", []):
        _people(inquiry)
        days = ", ".join(_days(d) for d in inquiry["dates"]) or "the payer's day"
        _line("asks for", f"{', '.join(inquiry['service_types']) or '?'} on {days}")
    for coverage in transaction.get("coverages", []):
        _card(coverage)
    for verdict in transaction.get("acknowledgements", []):
        click.echo(f"    {verdict['set'] or 'group'} {verdict['control_number'] or verdict['group']}: {verdict['code']}")
        for error in verdict["errors"]:
            where = f"{error['segment']} {error['position']}" + (f" element {error['element']}" if error["element"] else "")
            click.echo(f"      {where}: {error['code']} {error['text']}")
    for claim in transaction.get("claims", []):
        _claim(claim)


def _line(words: str, text: str) -> None:
    click.echo(f"    {words:19} {text}")


def _days(date: dict[str, Any]) -> str:
    return f"{date['from']}-{date['to']}" if date["to"] else str(date["from"])


def _people(part: dict[str, Any]) -> None:
    subscriber, patient = part["subscriber"], part["patient"]
    _line("payer", f"{part['payer']['name'] or ''} {part['payer']['id'] or ''}".strip())
    _line("provider", f"{part['provider']['name'] or ''} {part['provider']['npi'] or ''}".strip())
    group = f", group {subscriber['group']}" if subscriber["group"] else ""
    _line("subscriber", f"{_name(subscriber)}, member {subscriber['member_id'] or '?'}{group}")
    if patient["relationship"] != "self":
        _line("patient", f"{_name(patient)}, {patient['relationship']}")


def _name(person: dict[str, Any]) -> str:
    return " ".join(part for part in (person["given"], person["family"], person["birth_date"]) if part) or "not named"


def _card(coverage: dict[str, Any]) -> None:
    """The word first, then what this visit costs, who else pays, and what the payer said."""
    click.echo(f"    {coverage['status'].upper()}   {coverage['plan'] or 'plan not named'}")
    _people(coverage)
    if coverage["covered_from"] or coverage["covered_to"]:
        _line("covered", f"{coverage['covered_from'] or '...'} to {coverage['covered_to'] or 'no end said'}")
    for name, words in _CHOSEN:
        _line(words, _chosen(coverage["chosen"][name]))
    permit = coverage["chosen"]["authorization"]
    _line("authorization", f"{_AUTHORIZATION[permit['amount']]} ({_where(permit)})" if permit else "the payer did not say")
    _rejections(coverage["rejections"])
    for other in coverage["other_coverage"]:
        payer = other["payer"] or {}
        named = payer.get("name") or other["plan"] or other["insurance"] or "not named"
        _line("other coverage", f"{named} ({other['kind'].replace('_', ' ')}, segment {other['segment']})")
        _line("", other["action"])
    for programme in coverage["programmes"]:
        _line("programme", f"{programme['text']} (segment {programme['segment']})")
    _accumulators(coverage["accumulators"])
    _rows(coverage["benefits"])


def _chosen(chosen: dict[str, Any] | None) -> str:
    if chosen is None:
        return "the payer did not say"
    if chosen["amount"] is None:
        return f"{chosen['why']}: {_where(chosen)}"
    return f"{chosen['amount']}   ({chosen['why']}, {_where(chosen)})"


def _where(chosen: dict[str, Any]) -> str:
    segments = chosen["segments"]
    return f"segment{'s' if len(segments) > 1 else ''} {', '.join(map(str, segments))}"


def _accumulators(accumulators: list[dict[str, Any]]) -> None:
    for one in accumulators:
        said = [f"{name} {one[name]['amount']}" for name in ("base", "met", "remaining") if one[name]]
        said += [f"{name} {amount} (worked out)" for name, amount in one["worked_out"].items()]
        about = [codes.EB02.get(one["level"] or "", one["level"]), _types(one["service_types"]), f"network {one['network']}"]
        _line(one["kind"].replace("_", " "), f"{', '.join(said)}   {', '.join(part for part in about if part)}")
        for note in one["notes"]:
            _line("", note)


def _types(service_types: list[str]) -> str:
    """One by its name; several by their codes."""
    if len(service_types) == 1:
        return SERVICE_TYPES.get(service_types[0], service_types[0])
    return "/".join(service_types)


def _rows(benefits: list[dict[str, Any]]) -> None:
    for benefit in benefits[:MOST_ROWS]:
        parts = [
            benefit["level"],
            _types(benefit["service_types"]),
            benefit["plan"],
            _money(benefit),
            _network(benefit),
            "; ".join(benefit["messages"]),
        ]
        click.echo(f"    {benefit['segment']:4} {benefit['code']:2} {benefit['kind']:28} {'  '.join(p for p in parts if p)}")
    if len(benefits) > MOST_ROWS:
        click.echo(f"    and {len(benefits) - MOST_ROWS} more; --json has all of them")


def _money(benefit: dict[str, Any]) -> str:
    value = benefit["amount"] or (f"{benefit['percent']} (share)" if benefit["percent"] else "")
    period = f" per {codes.PERIODS.get(benefit['period'], benefit['period'])}" if value and benefit["period"] else ""
    return f"{value}{period}"


def _network(benefit: dict[str, Any]) -> str:
    return {"Y": "in network", "N": "out of network", "W": "in and out of network"}.get(benefit["network"] or "", "")


def _rejections(rejections: list[dict[str, Any]]) -> None:
    for rejection in rejections:
        click.echo(f"    REJECTED {rejection['loop']} AAA {rejection['code']}: {rejection['text']}")
        click.echo(f"      {rejection['who']}: {rejection['action']}")


def _claim(claim: dict[str, Any]) -> None:
    person = claim["patient"]
    named = " ".join(part for part in (person.get("given"), person.get("family")) if part) or "all"
    click.echo(f"    claim {claim['claim_id'] or '?'} of {named}, trace {claim['trace_number'] or '?'}")
    for status in claim["statuses"]:
        paid = f", paid {status['paid']}" if status.get("paid") else ""
        click.echo(f"      {status['category']} {status['text']}{paid}")
