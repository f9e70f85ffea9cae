"""`hub retention`."""

from __future__ import annotations

import click

from hub.cli.options import config_option, json_option


@click.command()
@config_option
@json_option
@click.option("--dry-run", is_flag=True, help="Only say what would go (as without any option).")
@click.option("--run", "run", is_flag=True, help="Take it out now; a running hub does so by itself every hour.")
def retention(config: str, as_json: bool, dry_run: bool, run: bool) -> int:
    """What is older than the clinic file keeps it, class by class.

    What is open is never taken out, nor what belongs to it.
    """
    from hub.cli.operate import operate
    from hub.cli.output import print_json, print_lines, say, short_time, table

    if run and not dry_run:
        gone = operate(config, "retention.run", {})
        if as_json:
            print_json(gone)
        else:
            say("removed: " + (", ".join(f"{name} {count}" for name, count in gone.items() if count) or "nothing"))
        return 0
    lines = operate(config, "retention.preview", {})
    if as_json:
        print_lines(lines)
        return 0
    rows = [(line["class"], f"{line['kept_days']:g} d", short_time(line["oldest"]), line["to_go"]) for line in lines]
    table(("", "kept", "oldest (UTC)", "to go"), rows, empty="nothing")
    if still_open := next((line["open"] for line in lines if line.get("open")), 0):
        say(f"{still_open} older message(s) stay because they are open: hub messages list --state held")
    return 0
