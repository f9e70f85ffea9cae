"""`hub eligibility`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hub.cli.options import config_option, json_option


@click.group()
def eligibility() -> None:
    """Coverage of the visits: list, show, check, day sheet."""


@eligibility.command("list")
@click.option("--date", default="today", show_default=True, metavar="D", help="today, tomorrow, 2026-11-24.")
@click.option("--state", metavar="S", help="An outcome, or `problem` for all that need somebody.")
@config_option
@json_option
def list_visits(date: str, state: str | None, config: str, as_json: bool) -> int:
    """The visits of a day with what is known about their coverage."""
    from hub.cli.operate import operate
    from hub.cli.output import print_lines

    lines = operate(config, "eligibility.list", {"date": date, "state": state})
    if as_json:
        print_lines(lines)
    else:
        show_visits(lines, empty=f"no visits on {date}" + (f" with {state}" if state else ""))
    return 0


def show_visits(lines: list[dict[str, Any]], *, empty: str) -> None:
    """The table a coordinator reads."""
    from hub.cli.output import table
    from hub.records import OUTCOME_WORDS, Owes

    rows = [
        (
            (line["starts_at"] or "")[11:16],
            line["patient"]["name"] or line["patient"]["id"],
            line["payer"],
            OUTCOME_WORDS[line["outcome"]],
            Owes(**line["owes"]).in_words(),
            line["who"],
            line["action"],
        )
        for line in lines
    ]
    table(("time", "patient", "payer", "status", "owes", "who", "what to do"), rows, empty=empty)


@eligibility.command()
@click.argument("appointment")
@config_option
@json_option
def show(appointment: str, config: str, as_json: bool) -> int:
    """Everything known about the coverage of one visit."""
    from hub.cli.operate import operate
    from hub.cli.output import print_json
    from hub.records import OUTCOME_WORDS, Owes

    visit = operate(config, "eligibility.show", {"appointment": appointment})
    if as_json:
        print_json(visit)
        return 0
    click.echo(f"{visit['patient']['name']}  {visit['starts_at']}  ({visit['status']})")
    click.echo(f"{OUTCOME_WORDS[visit['outcome']].upper()}  {visit['payer'] or ''}  {visit['plan'] or ''}".rstrip())
    lines = {
        "owes": Owes(**visit["owes"]).in_words(),
        "other payer": visit["other_payer"],
        "to do": visit["action"],
        "who": visit["who"],
        "cause": visit["cause"],
        "checked at": visit["checked_at"],
    }
    for name, value in lines.items():
        if value:
            click.echo(f"  {name:12} {value}")
    for rejection in visit["rejections"]:
        click.echo(f"  rejected     {rejection['loop']} AAA {rejection['code']}: {rejection['text']}")
    for finding in visit["findings"]:
        click.echo(f"  finding      {finding}")
    return 0


@eligibility.command()
@click.argument("appointment")
@config_option
@json_option
def check(appointment: str, config: str, as_json: bool) -> int:
    """Check one visit now, whether or not the last answer is fresh."""
    from hub.cli.operate import operate
    from hub.cli.output import print_json

    result = operate(config, "eligibility.check", {"appointment": appointment})
    if as_json:
        print_json(result)
    else:
        click.echo(f"the visit {appointment} is checked as soon as the hub runs; see hub eligibility show {appointment}")
    return 0


@eligibility.command()
@click.option("--date", default="tomorrow", show_default=True, metavar="D", help="today, tomorrow, 2026-11-24.")
@click.option("--to", "file", required=True, type=click.Path(dir_okay=False, path_type=Path), help="FILE.xlsx or FILE.csv.")
@config_option
@json_option
def sheet(date: str, file: Path, config: str, as_json: bool) -> int:
    """Write the day sheet: a line for each visit with its coverage. A file of that name is replaced."""
    from base64 import b64decode

    from hub.cli.operate import operate
    from hub.cli.output import print_json

    format = file.suffix.lower().removeprefix(".")
    if format not in ("csv", "xlsx"):
        raise click.BadParameter("the name of the file ends in .xlsx or .csv", param_hint="--to")
    found = operate(config, "eligibility.sheet", {"date": date, "format": format})
    _write(file, b64decode(found["content"]))
    if as_json:
        print_json({"file": str(file), "day": found["day"], "visits": found["visits"]})
    else:
        click.echo(f"{found['visits']} visit(s) of {found['day']} are in {file}")
    return 0


def _write(file: Path, content: bytes) -> None:
    """Whole or not at all, and only for its owner: it names patients."""
    import os
    import tempfile

    handle, draft = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content)
        Path(draft).replace(file)
    except OSError:
        Path(draft).unlink(missing_ok=True)
        raise
