"""`hub referrals`."""

from __future__ import annotations

from typing import Any

import click

from hub.cli.options import config_option, json_option


@click.group()
def referrals() -> None:
    """Documents of a visit for a specialist, by fax or secure mail."""


@referrals.command()
@click.argument("appointment")
@click.option("--to", required=True, metavar="NAME", help="A name of the directory of specialists.")
@click.option("--document", "documents", multiple=True, metavar="ID", help="Default: all documents of the appointment.")
@click.option("--by", "way", type=click.Choice(["fax", "mail"]), help="Default: the way the clinic prefers.")
@config_option
@json_option
def send(appointment: str, to: str, documents: tuple[str, ...], way: str | None, config: str, as_json: bool) -> int:
    """Send documents of a visit to a specialist."""
    from hub.cli.operate import operate
    from hub.cli.output import print_json

    params: dict[str, Any] = {"appointment": appointment, "to": to, "documents": list(documents), "way": way}
    line = operate(config, "referrals.send", params)
    if as_json:
        print_json(line)
    else:
        click.echo(
            f"the referral {line['id']} goes out with {len(line['documents'])} document(s); "
            f"see hub referrals list --appointment {appointment}"
        )
    return 0


@referrals.command("list")
@click.option("--appointment", metavar="ID", help="Those of one appointment.")
@click.option("--date", default="today", show_default=True, metavar="D", help="Those ordered on a day: today, 2026-11-24.")
@config_option
@json_option
def list_referrals(appointment: str | None, date: str, config: str, as_json: bool) -> int:
    """Referrals, and whether they arrived."""
    from hub.cli.operate import operate
    from hub.cli.output import print_lines, short_time, table

    lines = operate(config, "referrals.list", {"appointment": appointment, "date": date})
    if as_json:
        print_lines(lines)
        return 0
    rows = [
        (
            line["id"],
            line["appointment"],
            line["to"],
            line["state"].replace("_", " "),
            line["detail"],
            len(line["documents"]),
            short_time(line["ordered_at"]),
        )
        for line in lines
    ]
    table(("referral", "visit", "to", "state", "detail", "documents", "ordered (UTC)"), rows, empty="no referrals")
    return 0
