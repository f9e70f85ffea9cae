"""`hub signatures`."""

from __future__ import annotations

import click

from hub.cli.options import config_option, json_option


@click.group()
def signatures() -> None:
    """What patients have to sign before their visits: what is out, what is signed, what needs somebody."""


@signatures.command("list")
@click.option("--date", metavar="D", help="Only for visits of a day: today, tomorrow, 2026-11-24.")
@click.option("--state", metavar="S", help="A state, or `problem` for all that need somebody.")
@config_option
@json_option
def list_envelopes(date: str | None, state: str | None, config: str, as_json: bool) -> int:
    """Packets that are out or need somebody; with a date all of its visits."""
    from hub.cli.operate import operate
    from hub.cli.output import print_lines, short_time, table

    lines = operate(config, "signatures.list", {"date": date, "state": state})
    if as_json:
        print_lines(lines)
        return 0
    rows = [
        (
            line["appointment"],
            short_time(line["starts_at"]) if line["starts_at"] else None,
            line["patient"]["name"] or line["patient"]["id"],
            line["packet"],
            line["words"],
            line["envelope"],
        )
        for line in lines
    ]
    table(("visit", "starts (UTC)", "patient", "packet", "status", "envelope"), rows, empty="nothing is out")
    return 0


@signatures.command()
@click.argument("appointment")
@config_option
@json_option
def show(appointment: str, config: str, as_json: bool) -> int:
    """The packets of one visit, with times, signers and documents."""
    from hub.cli.operate import operate
    from hub.cli.output import print_lines

    found = operate(config, "signatures.show", {"appointment": appointment})
    if as_json:
        print_lines(found)
        return 0
    if not found:
        click.echo("nothing has to be signed for this visit")
    for one in found:
        click.echo(f"{one['packet']}: {one['words']} ({one['envelope']})")
        for signer in one["signers"]:
            click.echo(f"  signer     {signer['role']}: {signer['name'] or '-'} {signer['email'] or '-'}")
        for name in ("ordered_at", "asked_at", "told_at", "ended_at", "valid_until", "expires_at", "document", "certificate"):
            if one[name] is not None:
                click.echo(f"  {name.removesuffix('_at').replace('_', ' '):<10} {one[name]}")
        for name in ("detail", "withdrawn"):
            if one[name]:
                click.echo(f"  {name:<10} {one[name]}")
    return 0


@signatures.command()
@click.argument("envelope")
@config_option
@json_option
def send(envelope: str, config: str, as_json: bool) -> int:
    """Sends one again that came to nothing: declined, expired, bounced, refused, or never found at the service."""
    from hub.cli.operate import operate
    from hub.cli.output import print_json

    done = operate(config, "signatures.send", {"envelope": envelope})
    if as_json:
        print_json(done)
    else:
        click.echo(f"{done['envelope']} is sent in place of {done['in_place_of']}")
    return 0
