"""`hub faxes`."""

from __future__ import annotations

from pathlib import Path

import click

from hub.cli.options import config_option, json_option


@click.group()
def faxes() -> None:
    """Faxes out and in: how each is, and sending one again."""


@faxes.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--to", required=True, metavar="NUMBER", help="With its country: +13125550100.")
@click.option("--from-name", default="", metavar="NAME", help="Who sends it.")
@click.option("--cover", multiple=True, metavar="LINE", help="A line of a cover page; not about a patient. May be repeated.")
@click.option("--appointment", default="", metavar="ID", help="The visit it belongs to.")
@config_option
@json_option
def send(file: Path, to: str, from_name: str, cover: tuple[str, ...], appointment: str, config: str, as_json: bool) -> int:
    """Fax a PDF or TIFF. It is tried again while the line is busy; see hub faxes show."""
    from base64 import b64encode

    from hub.cli.operate import operate
    from hub.cli.output import print_json

    params = {"to": to, "from_name": from_name, "cover": list(cover), "appointment": appointment}
    result = operate(config, "faxes.send", {"content": b64encode(file.read_bytes()).decode("ascii"), **params})
    if as_json:
        print_json(result)
    else:
        click.echo(f"{result['fax']} ({result['pages']} page(s)) is ordered; see hub faxes show {result['fax']}")
    return 0


@faxes.command("list")
@click.option("--state", metavar="S", help="ordered, unknown, queued, sending, waiting, sent, failed or received.")
@click.option("--appointment", metavar="ID", help="Only those of one visit.")
@click.option("--limit", default=100, show_default=True, metavar="N")
@config_option
@json_option
def list_faxes(state: str | None, appointment: str | None, limit: int, config: str, as_json: bool) -> int:
    """Faxes, the newest first."""
    from hub.cli.operate import operate
    from hub.cli.output import print_lines, short_time, table

    lines = operate(config, "faxes.list", {"state": state, "appointment": appointment, "limit": limit})
    if as_json:
        print_lines(lines)
        return 0
    rows = [
        (
            line["fax"],
            line["direction"],
            line["to"] or line["sender"],
            line["state"],
            line["error"] or "",
            line["pages"],
            line["tries"] or "",
            line["appointment"],
            short_time(line["ordered_at"]),
        )
        for line in lines
    ]
    table(("fax", "way", "number", "state", "why", "pages", "tries", "visit", "since (UTC)"), rows, empty="no faxes")
    return 0


@faxes.command()
@click.argument("fax")
@config_option
@json_option
def show(fax: str, config: str, as_json: bool) -> int:
    """One fax with all its tries."""
    from hub.cli.operate import operate
    from hub.cli.output import print_json, short_time, table

    found = operate(config, "faxes.show", {"fax": fax})
    if as_json:
        print_json(found)
        return 0
    where = f"to {found['to']}" if found["direction"] == "out" else f"from {found['sender'] or 'an unknown number'}"
    click.echo(f"{found['fax']} {where}: {found['state']}, {found['pages'] or 'unknown'} page(s)")
    rows = [
        (
            number,
            one["state"],
            " ".join(filter(None, (one["error"], f"({one['reason']})" if one["reason"] else ""))),
            one["first_page"],
            one["pages"],
            one["partner_id"],
            short_time(one["ordered_at"]),
            short_time(one["ended_at"]) if one["ended_at"] else "",
        )
        for number, one in enumerate(found["history"], start=1)
    ]
    heads = ("try", "state", "why", "from page", "arrived", "carrier's id", "ordered (UTC)", "ended (UTC)")
    table(heads, rows, empty="it came in" if found["direction"] == "in" else "not tried yet")
    return 0


@faxes.command()
@click.argument("fax")
@click.option("--to", metavar="NUMBER", help="Another number: +13125550100.")
@config_option
@json_option
def again(fax: str, to: str | None, config: str, as_json: bool) -> int:
    """Send one again that failed, or of which nobody knows whether it arrived: look with the carrier first."""
    from hub.cli.operate import operate
    from hub.cli.output import print_json

    result = operate(config, "faxes.again", {"fax": fax, "to": to})
    if as_json:
        print_json(result)
    else:
        click.echo(f"{result['fax']} is sent again as soon as the hub runs; see hub faxes show {result['fax']}")
    return 0
