"""`hub tail`: messages as they come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from hub.cli.options import config_option, json_option, phi_option


@click.command()
@config_option
@click.option("--connection", metavar="NAME", help="Came in or goes out by this connection.")
@click.option("--type", "type", metavar="T", help="Message type, such as SIU^S12; ADT^* for all that begin so.")
@click.option("--last", type=click.IntRange(0, 200), default=0, help="First so many of those that are there.")
@click.option("--count", type=click.IntRange(1), default=None, help="End after so many.")
@phi_option
@json_option
def tail(config: str, connection: str | None, type: str | None, last: int, count: int | None, phi: bool, as_json: bool) -> int:
    """Messages of the running hub as they come, until Ctrl-C or the hub ends."""
    from hub.cli.output import print_json

    params = {"connection": connection, "type": type, "last": last, "phi": phi}
    for number, message in enumerate(_messages(config, params), 1):
        if as_json:
            print_json(message)
        else:
            click.echo(_line(message))
        if number == count:
            break
    return 0


def _messages(config: str, params: dict[str, Any]) -> Iterator[dict[str, Any]]:
    from hub.cli.operate import operate

    found = operate(config, "tail.begin", params)
    while True:
        yield from found["messages"]
        found = operate(config, "tail.next", {"tail": found["tail"]}, running=True)


def _line(message: dict[str, Any]) -> str:
    arrow = {"in": "->", "out": "<-"}.get(message["direction"], "--")
    parts = (
        message["at"], f"{arrow} {message['connection']}", message["type"] or "-", message["control_id"] or "-",
        message["state"], message["patient"] or "-", message["appointment"] or "-", message["id"],
    )  # fmt: skip
    return "  ".join(parts)
