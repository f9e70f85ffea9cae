"""`hub status`."""

from __future__ import annotations

import click

from hub.cli.options import config_option, json_option


@click.command()
@config_option
@json_option
def status(config: str, as_json: bool) -> int:
    """Connections, flows, backlog, oldest waiting, last error."""
    from hub.cli.operate import operate
    from hub.cli.output import print_json, say, short_time, table
    from hub.units import age_in_words

    found = operate(config, "status", {})
    if as_json:
        print_json(found)
        return 0
    say("ready" if found["ready"] else "not running")
    rows = [
        (
            kind,
            c["name"],
            c["state"],
            c["waiting"],
            c["held"],
            age_in_words(c["oldest_s"]) if c["waiting"] else "",
            short_time(c["last_message_at"]),
            c["last_error"],
        )
        for kind, lines in (("connection", found["connections"]), ("flow", found["flows"]))
        for c in lines
    ]
    table(("", "name", "state", "waiting", "held", "oldest", "last message (UTC)", "last error"), rows, empty="no connections")
    return 0
