"""`hub explain`: the error catalogue."""

from __future__ import annotations

import click

from hub.cli.options import json_option


@click.command()
@click.argument("code", required=False)
@json_option
def explain(code: str | None, as_json: bool) -> int:
    """What an error code means and what to do; without a code, all of them."""
    from hub.cli.output import print_json, print_lines, say
    from hub.codes import CODES

    if code is None:
        if as_json:
            print_lines({"code": name, "meaning": meaning, "help": help} for name, (meaning, help) in sorted(CODES.items()))
        else:
            for name, (meaning, _) in sorted(CODES.items()):
                click.echo(f"{name:14} {meaning}")
        return 0
    known = CODES.get(code.upper())
    if known is None:
        say(f"there is no code {code!r}; `hub explain` lists all of them")
        return 1
    if as_json:
        print_json({"code": code.upper(), "meaning": known[0], "help": known[1]})
    else:
        click.echo(f"{code.upper()}: {known[0]}\n\nWhat to do: {known[1]}")
    return 0
