"""`hub trace`: the timeline."""

from __future__ import annotations

import click

from hub.cli.options import config_option, json_option, phi_option


@click.command()
@click.argument("id")
@config_option
@phi_option
@json_option
def trace(id: str, config: str, phi: bool, as_json: bool) -> int:
    """The timeline of a message, control, patient or appointment id.

    When a control id was used for several messages they are listed instead.
    """
    from hub.cli.operate import operate
    from hub.cli.output import print_lines, say, table

    found = operate(config, "trace", {"id": id, "phi": phi})
    if found["matches"]:
        say(f"several messages have the control id {id!r}; trace one of them by its id")
    if as_json:
        print_lines(found["matches"] or found["entries"])
        return 0
    if found["matches"]:
        table(
            ("id", "at", "connection", "type"),
            [(m["id"], m["at"], m["connection"], m["type"]) for m in found["matches"]],
            empty="",
        )
        return 0
    table(
        ("at", "what", "connection", "text"),
        [(e["at"], e["what"], e["connection"], e["text"]) for e in found["entries"]],
        empty="nothing happened yet",
    )
    return 0
