"""`hub messages`: the journal."""

from __future__ import annotations

from typing import Any

import click

from hub.cli.options import config_option, json_option, phi_option, selection_options


@click.group()
def messages() -> None:
    """The journal: list and show messages."""


@messages.command("list")
@config_option
@selection_options
@phi_option
@json_option
def list_messages(config: str, phi: bool, as_json: bool, **chosen: Any) -> int:
    """Messages, newest first."""
    from hub.cli.operate import operate
    from hub.cli.options import selection
    from hub.cli.output import print_lines, short_time, table

    lines = operate(config, "messages.list", {**selection(chosen), "phi": phi})
    if as_json:
        print_lines(lines)
        return 0
    columns = ("received", "connection", "type", "control id", "state", "patient", "appointment", "tries", "id")
    rows = [
        (
            short_time(m["at"]),
            m["connection"],
            m["type"],
            m["control_id"],
            m["state"],
            m["patient"],
            m["appointment"],
            m["attempts"],
            m["id"],
        )
        for m in lines
    ]
    table(columns, rows, empty="no such messages")
    return 0


@messages.command("show")
@click.argument("id")
@config_option
@phi_option
@json_option
def show_message(id: str, config: str, phi: bool, as_json: bool) -> int:
    """One message: body, path, attempts, replies."""
    from hub.cli.operate import operate
    from hub.cli.output import print_json, table

    message = operate(config, "messages.show", {"id": id, "phi": phi})
    if as_json:
        print_json(message)
        return 0
    for name in (
        "id",
        "at",
        "connection",
        "direction",
        "type",
        "control_id",
        "state",
        "reason",
        "patient",
        "appointment",
        "parent",
        "size",
    ):
        if message[name] is not None:
            click.echo(f"{name:12} {message[name]}")
    click.echo()
    rows = [(p["target"], p["state"], p["attempts"], p["generation"], p["answer"], p["reason"]) for p in message["path"]]
    table(("where", "state", "tries", "generation", "answer", "reason"), rows, empty="no flow wanted it")
    if message["attempts_made"]:
        click.echo()
        table(
            ("at", "try", "code", "what"),
            [(a["at"], a["number"], a["code"], a["text"]) for a in message["attempts_made"]],
            empty="",
        )
    if message["replies"]:
        click.echo()
        table(("made of it", "by", "type"), [(r["id"], r["connection"], r["type"]) for r in message["replies"]], empty="")
    click.echo()
    click.echo(message["body"].replace("\r", "\n") if message["body"] is not None else f"body: {message['body_hidden']}")
    return 0
