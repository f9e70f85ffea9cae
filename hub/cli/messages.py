"""`hub messages`: the journal."""

from __future__ import annotations

from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import click

from hub.cli.options import config_option, json_option, phi_option, selection_options


@click.group()
def messages() -> None:
    """The journal: list, show, skip, edit messages."""


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
            m["state"] + (", late" if m["late"] else ""),
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
@click.option("--body", "only_body", is_flag=True, help="The body alone, byte by byte, to edit it (with --phi).")
@json_option
def show_message(id: str, config: str, phi: bool, only_body: bool, as_json: bool) -> int:
    """One message: body, path, attempts, replies."""
    from hub.cli.operate import operate
    from hub.cli.output import print_json, table

    if only_body:
        click.echo(b64decode(operate(config, "messages.show", {"id": id, "phi": phi, "raw": True})["raw"]), nl=False)
        return 0
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


@messages.command("skip")
@click.argument("id")
@config_option
@json_option
def skip_message(id: str, config: str, as_json: bool) -> int:
    """End what waits or is stuck of a message; its lane goes on.

    A flow that asked a question hears that it was not answered.
    """
    from hub.cli.operate import operate
    from hub.cli.output import print_json

    done = operate(config, "messages.skip", {"id": id})
    if as_json:
        print_json(done)
    else:
        click.echo(f"skipped for {', '.join(done['skipped'])}")
    return 0


@messages.command("edit")
@click.argument("id")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@config_option
@json_option
def edit_message(id: str, file: str, config: str, as_json: bool) -> int:
    """Send FILE in the place of a message.

    It is a new message that names the other as its parent.  What waited or was held keeps its place in its lane; what had
    ended goes to the end.  Get the body with `hub messages show ID --phi --body`.
    """
    from hub.cli.operate import operate
    from hub.cli.output import print_json

    body = b64encode(Path(file).read_bytes()).decode()
    done = operate(config, "messages.edit", {"id": id, "body": body})
    if as_json:
        print_json(done)
    else:
        click.echo(f"{done['id']} goes in the place of {id}")
        for work in done["works"]:
            click.echo(f"  {work['target']}: " + ("its place is kept" if work["place"] == "kept" else "at the end"))
    return 0
