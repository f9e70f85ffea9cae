"""`hub reload`: the running hub reads its clinic file again."""

from __future__ import annotations

import click

from hub.cli.options import config_option, json_option


@click.command()
@config_option
@json_option
def reload(config: str, as_json: bool) -> int:
    """Let the running hub read its clinic file again, without a stop.

    A file with mistakes changes nothing: they are listed, and the old file counts on.  Connections whose settings are the
    same keep their links.
    """
    from hub.cli.operate import operate
    from hub.cli.output import print_json

    done = operate(config, "reload", {})
    if as_json:
        print_json(done)
        return 0
    told = [f"{part.replace('_', ' ')}: {', '.join(names)}" for part, names in done.items() if names]
    click.echo("\n".join(told) or "no connection and no flow changed")
    return 0
