"""`hub jobs`: replays of many messages, which go on in the background and after a restart."""

from __future__ import annotations

import time
from typing import Any

import click

from hub.cli.options import config_option, json_option

EVERY = 0.3
"""Seconds between looks at a job that is waited for."""


@click.group()
def jobs() -> None:
    """Long replays: how far they are; stop them, let them go on."""


@jobs.command("list")
@config_option
@json_option
def list_jobs(config: str, as_json: bool) -> int:
    """Jobs, newest first: how many messages, how many it has come to, how many of these were done again."""
    from hub.cli.operate import operate

    _show(operate(config, "jobs.list", {}), as_json)
    return 0


@jobs.command()
@click.argument("id")
@config_option
@json_option
def stop(id: str, config: str, as_json: bool) -> int:
    """Stop a job; what it has handed on already is done."""
    from hub.cli.operate import operate

    _show([operate(config, "jobs.stop", {"id": id})], as_json)
    return 0


@jobs.command()
@click.argument("id")
@config_option
@json_option
def resume(id: str, config: str, as_json: bool) -> int:
    """Let a job that was stopped go on where it was."""
    from hub.cli.operate import operate

    _show([operate(config, "jobs.resume", {"id": id})], as_json)
    return 0


def wait_for(config: str, id: str) -> dict[str, Any]:
    """Shows how far a job is until it ends; returns how it ended."""
    from hub.cli.operate import operate
    from hub.cli.output import say

    shown = -1
    while True:
        found: dict[str, Any] = next(job for job in operate(config, "jobs.list", {}) if job["id"] == id)
        if found["looked"] != shown:
            shown = found["looked"]
            say(f"{shown} of {found['total']}")
        if found["state"] != "running":
            return found
        time.sleep(EVERY)


def _show(lines: list[dict[str, Any]], as_json: bool) -> None:
    from hub.cli.output import print_lines, short_time, table

    if as_json:
        print_lines(lines)
        return
    columns = ("job", "kind", "state", "begun (UTC)", "by", "messages", "looked at", "done again")
    rows = [
        (j["id"], j["kind"], j["state"], short_time(j["at"]), j["actor"], j["total"], j["looked"], j["done"]) for j in lines
    ]
    table(columns, rows, empty="no jobs")
