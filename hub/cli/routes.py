"""`hub pause`, `hub resume`, `hub drain`: connections and flows that are stopped and go on."""

from __future__ import annotations

import time
from typing import Any

import click

from hub.cli.options import config_option, json_option

EVERY = 0.2
"""Seconds between looks at a drain that is waited for."""


@click.command()
@click.argument("name")
@config_option
@json_option
def pause(name: str, config: str, as_json: bool) -> int:
    """Stop a connection or flow, also across restarts; its work waits where it is.

    A connection that receives is closed: its senders keep what they have.
    """
    return _show(_ask(config, "pause", name), as_json)


@click.command()
@click.argument("name")
@config_option
@json_option
def resume(name: str, config: str, as_json: bool) -> int:
    """Let a connection or flow go on."""
    return _show(_ask(config, "resume", name), as_json)


@click.command()
@click.argument("name")
@config_option
@click.option("--wait", metavar="TIME", help="Wait so long for the end: 30s, 5m. Exit code 3 when it is not reached.")
@json_option
def drain(name: str, config: str, wait: str | None, as_json: bool) -> int:
    """Let a connection or flow do what it has, then pause it; what comes later waits.

    Work that waits for a person does not keep a drain from its end.
    """
    from hub.cli import OK, SOME_FAILED
    from hub.errors import Refused
    from hub.units import parse_duration

    try:
        end = time.monotonic() + (parse_duration(wait) if wait else 0.0)
    except ValueError as error:
        raise Refused(f"--wait {wait!r}: {error}", code="CLI-005") from None
    routes = _ask(config, "drain", name)
    while any(route["state"] == "draining" for route in routes) and time.monotonic() < end:
        time.sleep(EVERY)
        routes = _ask(config, "routes", name)
    _show(routes, as_json)
    return SOME_FAILED if wait and any(route["state"] == "draining" for route in routes) else OK


def _ask(config: str, operation: str, name: str) -> list[dict[str, Any]]:
    from hub.cli.operate import operate

    routes: list[dict[str, Any]] = operate(config, operation, {"name": name})
    return routes


def _show(routes: list[dict[str, Any]], as_json: bool) -> int:
    from hub.cli.output import print_lines, table

    if as_json:
        print_lines(routes)
        return 0
    rows = [(r["route"], r["state"], r["waiting"], r["held"], r["under_way"]) for r in routes]
    table(("route", "state", "waiting", "held", "under way"), rows, empty="")
    return 0
