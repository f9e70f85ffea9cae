"""`hub worklist`."""

from __future__ import annotations

import click

from hub.cli.options import config_option, json_option


@click.command()
@click.option("--date", metavar="D", help="Only for visits of a day: today, tomorrow, 2026-11-24.")
@click.option("--queue", metavar="NAME", help="Only one queue.")
@config_option
@json_option
def worklist(date: str | None, queue: str | None, config: str, as_json: bool) -> int:
    """What people must do, in plain words."""
    from hub.cli.operate import operate
    from hub.cli.output import print_lines, short_time, table

    items = operate(config, "worklist.list", {"date": date, "queue": queue})
    if as_json:
        print_lines(items)
        return 0
    rows = [(i["id"], i["who"], i["queue"], i["appointment"], i["text"], i["cause"], short_time(i["opened_at"])) for i in items]
    table(("item", "who", "queue", "visit", "what to do", "cause", "since (UTC)"), rows, empty="nothing to do")
    return 0
