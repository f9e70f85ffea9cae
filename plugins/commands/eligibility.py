"""`hub eligibility`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hub.cli.options import config_option, json_option

ANSWERS = ("271", "999", "TA1")
"""Types of messages that answer a question."""

_SITE = click.option("--site", metavar="NAME", help="Only the visits of one site.")


@click.group()
def eligibility() -> None:
    """Coverage of the visits: lists, cards, day sheets, and what is done about them."""


@eligibility.command("list")
@click.option("--date", default="today", show_default=True, metavar="D", help="today, tomorrow, 2026-11-24.")
@click.option("--state", metavar="S", help="An outcome, or `problem` for all that need somebody.")
@_SITE
@config_option
@json_option
def list_visits(date: str, state: str | None, site: str | None, config: str, as_json: bool) -> int:
    """The visits of a day with what is known about their coverage."""
    from hub.cli.operate import operate
    from hub.cli.output import print_lines

    lines = operate(config, "eligibility.list", {"date": date, "state": state, "site": site})
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
            OUTCOME_WORDS[line["outcome"]] + (f" (by {line['verified']['how']})" if line["verified"] else ""),
            Owes(**line["owes"]).in_words(),
            line["who"] or ("coordinator" if line["notes"] else None),
            line["action"] or " ".join(line["notes"]),
        )
        for line in lines
    ]
    table(("time", "patient", "payer", "status", "owes", "who", "what to do"), rows, empty=empty)


@eligibility.command()
@click.argument("appointment")
@click.option("--raw", is_flag=True, help="Also the last answer as it came.")
@config_option
@json_option
def show(appointment: str, raw: bool, config: str, as_json: bool) -> int:
    """The card of one visit: outcome, amounts with their segments, differences, other insurance, attempts."""
    from hub.cli.operate import operate
    from hub.cli.output import print_json
    from plugins.commands.card import card_lines

    visit = operate(config, "eligibility.show", {"appointment": appointment})
    if raw:
        visit["raw"] = _last_answer(appointment, config)
    if as_json:
        print_json(visit)
        return 0
    for line in card_lines(visit):
        click.echo(line)
    if raw:
        click.echo(f"\n{visit['raw'] or 'no answer is kept'}")
    return 0


def _last_answer(appointment: str, config: str) -> str | None:
    """The body of the newest answer about a visit; None when there is none, or it is no longer kept."""
    from hub.cli.operate import operate

    listed = operate(config, "messages.list", {"appointment": appointment, "limit": 1000})
    answers = [message for message in listed if message["direction"] == "in" and message["type"] in ANSWERS]
    if not answers:
        return None
    newest = max(answers, key=lambda message: message["seq"])
    shown = operate(config, "messages.show", {"id": newest["id"], "phi": True})
    body: str | None = shown["body"]
    return body.replace("~", "~\n").rstrip() if body is not None and body.startswith("ISA") and "\n" not in body else body


@eligibility.command()
@click.argument("appointment")
@config_option
@json_option
def check(appointment: str, config: str, as_json: bool) -> int:
    """Check one visit now, whether or not the last answer is fresh."""
    return _act("check", {"appointment": appointment}, config, as_json)


def _act(verb: str, params: dict[str, Any], config: str, as_json: bool) -> int:
    """An operation that a person asks for; says what follows."""
    from hub.cli.operate import operate
    from hub.cli.output import print_json

    result = operate(config, f"eligibility.{verb}", {name: value for name, value in params.items() if value is not None})
    appointment = result["appointment"]
    if as_json:
        print_json(result)
    elif result.get("planned"):
        click.echo(f"the visit {appointment} is checked as soon as the hub runs; see hub eligibility show {appointment}")
    else:
        click.echo(f"noted; see hub eligibility show {appointment}")
    return 0


_TYPES = click.option("--service-types", metavar="CODES", help='What to ask for: 98, or "98 30".')
_MEMBER = click.option("--member-id", metavar="ID")


@eligibility.command()
@click.argument("appointment")
@_MEMBER
@click.option("--group", metavar="NUMBER")
@click.option("--payer", metavar="ID", help="As in payers.csv.")
@click.option("--relationship", type=click.Choice(["self", "spouse", "child", "other"]), help="The patient is the insured's.")
@click.option("--family", metavar="NAME")
@click.option("--given", metavar="NAME")
@click.option("--birth-date", metavar="DATE", help="1980-02-29.")
@click.option("--sex", type=click.Choice(["F", "M", "U"]))
@_TYPES
@click.option("--save-to-chart", is_flag=True, help="Also change the chart; without it only the question is another one.")
@config_option
@json_option
def edit(appointment: str, config: str, as_json: bool, **changes: Any) -> int:
    """Ask with other data than the chart's, and check again."""
    return _act("edit", {"appointment": appointment, **changes}, config, as_json)


@eligibility.command()
@click.argument("appointment")
@click.option("--to", metavar="APPOINTMENT", help="Another visit of the same patient.")
@click.option("--payer", metavar="ID", help="Another payer, as in payers.csv.")
@_MEMBER
@_TYPES
@config_option
@json_option
def clone(appointment: str, config: str, as_json: bool, **where: Any) -> int:
    """Put the question of a visit again: for another visit, to another payer, about other services."""
    return _act("clone", {"appointment": appointment, **where}, config, as_json)


@eligibility.command()
@click.argument("appointment")
@click.option("--by-phone", "how", flag_value="phone", default="phone", help="The default.")
@click.option("--by-portal", "how", flag_value="portal")
@click.option(
    "--outcome",
    required=True,
    type=click.Choice(["covered", "covered_elsewhere", "inactive", "not_found", "unclear", "self_pay"]),
)
@click.option("--reference", required=True, help="Reference number of the call, or who said it.")
@click.option("--co-payment", metavar="AMOUNT", help="25 or 25.00.")
@config_option
@json_option
def verified(appointment: str, config: str, as_json: bool, **found: Any) -> int:
    """Note what you found out; it counts until the payer answers."""
    return _act("verified", {"appointment": appointment, **found}, config, as_json)


@eligibility.command()
@click.argument("appointment")
@click.option("--change", type=click.Choice(["card", "payer"]), help="Needed when the payer suggests both.")
@_MEMBER
@config_option
@json_option
def accept(appointment: str, config: str, as_json: bool, **what: Any) -> int:
    """Take over into the chart what the payer says, and check again.

    card: member id and group number. payer: the other insurance it names; --member-id is the number on that card.
    """
    return _act("accept", {"appointment": appointment, **what}, config, as_json)


@eligibility.command()
@click.argument("appointment")
@config_option
@json_option
def decline(appointment: str, config: str, as_json: bool) -> int:
    """Keep what the chart says; it is not noted again as long as the payer says the same."""
    return _act("decline", {"appointment": appointment}, config, as_json)


@eligibility.command()
@click.option("--since", default="30d", show_default=True, metavar="T", help="A time span (7d), or a day (2026-11-01).")
@config_option
@json_option
def stats(since: str, config: str, as_json: bool) -> int:
    """How payers answer: times (half, and nine of ten, within), the share within 20 s, and what the answers come to."""
    from hub.cli.operate import operate
    from hub.cli.output import print_lines, table

    lines = operate(config, "eligibility.stats", {"since": since})
    if as_json:
        print_lines(lines)
        return 0
    rows = [
        (
            line["name"] or line["payer"],
            line["asked"],
            line["answered"],
            _seconds(line["p50_s"]),
            _seconds(line["p90_s"]),
            "" if line["in_20_s"] is None else f"{line['in_20_s']:.1%}",
            ", ".join(f"{outcome} {count}" for outcome, count in line["outcomes"].items()),
        )
        for line in lines
    ]
    table(("payer", "asked", "answered", "p50", "p90", "in 20 s", "outcomes"), rows, empty=f"no payer was asked since {since}")
    return 0


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} s"


@eligibility.command()
@click.option("--date", default="tomorrow", show_default=True, metavar="D", help="today, tomorrow, 2026-11-24.")
@click.option("--to", "file", required=True, type=click.Path(dir_okay=False, path_type=Path), help="FILE.xlsx or FILE.csv.")
@_SITE
@config_option
@json_option
def sheet(date: str, file: Path, site: str | None, config: str, as_json: bool) -> int:
    """Write the day sheet: a line for each visit with its coverage. A file of that name is replaced."""
    from base64 import b64decode

    from hub.cli.operate import operate
    from hub.cli.output import print_json, sheet_format, write_private

    format = sheet_format(file)
    found = operate(config, "eligibility.sheet", {"date": date, "format": format, "site": site})
    write_private(file, b64decode(found["content"]))
    if as_json:
        print_json({"file": str(file), "day": found["day"], "visits": found["visits"]})
    else:
        click.echo(f"{found['visits']} visit(s) of {found['day']} are in {file}")
    return 0


@eligibility.command()
@config_option
@json_option
def stops(config: str, as_json: bool) -> int:
    """Payers that refuse us whoever the patient is: their visits wait."""
    from hub.cli.operate import operate
    from hub.cli.output import print_lines, table

    lines = operate(config, "eligibility.stops", {})
    if as_json:
        print_lines(lines)
        return 0
    rows = [(line["payer"], line["name"], line["cause"], line["opened_at"], line["probe_at"], line["text"]) for line in lines]
    table(("payer", "name", "cause", "since", "next question", "what to do"), rows, empty="no payer refuses us")
    return 0


@eligibility.command()
@click.argument("payer")
@config_option
@json_option
def resume(payer: str, config: str, as_json: bool) -> int:
    """Ask a payer again that refused us, once the cause is mended; PAYER as in payers.csv."""
    from hub.cli.operate import operate
    from hub.cli.output import print_json

    result = operate(config, "eligibility.resume", {"payer": payer})
    if as_json:
        print_json(result)
    else:
        click.echo(f"{result['payer']} is asked again, about {result['visits']} visits that waited")
    return 0
