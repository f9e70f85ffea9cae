"""`hub worklist`."""

from __future__ import annotations

from pathlib import Path

import click

from hub.cli.options import config_option, json_option

_DATE = click.option("--date", metavar="D", help="Only for visits of a day: today, tomorrow, 2026-11-24.")
_QUEUE = click.option("--queue", metavar="NAME", help="Only one queue.")


@click.group(invoke_without_command=True)
@_DATE
@_QUEUE
@config_option
@json_option
@click.pass_context
def worklist(context: click.Context, date: str | None, queue: str | None, config: str, as_json: bool) -> int:
    """What people must do, in plain words."""
    if context.invoked_subcommand is not None:
        context.default_map = {context.invoked_subcommand: {"config": config}}
        return 0
    from hub.cli.operate import operate
    from hub.cli.output import print_lines, short_time, table

    items = operate(config, "worklist.list", {"date": date, "queue": queue})
    if as_json:
        print_lines(items)
        return 0
    rows = [(i["id"], i["who"], i["queue"], i["appointment"], i["text"], i["cause"], short_time(i["opened_at"])) for i in items]
    table(("item", "who", "queue", "visit", "what to do", "cause", "since (UTC)"), rows, empty="nothing to do")
    return 0


@worklist.command()
@click.argument("items", nargs=-1, required=True, metavar="ITEM...")
@click.option("--remark", metavar="TEXT", help="What was done.")
@config_option
@json_option
def done(items: tuple[str, ...], remark: str | None, config: str, as_json: bool) -> int:
    """Close items that somebody has taken care of. What closes by itself need not be closed by hand."""
    from hub.cli.operate import operate
    from hub.cli.output import print_lines

    lines = operate(config, "worklist.done", {"items": list(items), "remark": remark})
    if as_json:
        print_lines(lines)
        return 0
    for line in lines:
        click.echo(f"{line['id']} is closed" + ("" if line["was_open"] else ", as it was before"))
    return 0


@worklist.command()
@click.option("--to", "file", required=True, type=click.Path(dir_okay=False, path_type=Path), help="FILE.xlsx or FILE.csv.")
@_DATE
@_QUEUE
@config_option
@json_option
def sheet(file: Path, date: str | None, queue: str | None, config: str, as_json: bool) -> int:
    """Write the open items into a spreadsheet, with columns to tick. A file of that name is replaced."""
    from base64 import b64decode

    from hub.cli.operate import operate
    from hub.cli.output import print_json, sheet_format, write_private

    format = sheet_format(file)
    found = operate(config, "worklist.sheet", {"date": date, "queue": queue, "format": format})
    write_private(file, b64decode(found["content"]))
    if as_json:
        print_json({"file": str(file), "items": found["items"]})
    else:
        click.echo(f"{found['items']} item(s) are in {file}")
    return 0
