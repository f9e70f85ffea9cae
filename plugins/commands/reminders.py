"""`hub reminders`."""

from __future__ import annotations

from pathlib import Path

import click

from hub.cli.options import config_option, json_option


@click.group()
def reminders() -> None:
    """Reminders of visits: what is planned, what was sent, what patients answered."""


@reminders.command("list")
@click.option("--date", default="today", show_default=True, metavar="D", help="today, tomorrow, 2026-11-24.")
@click.option("--state", metavar="S", help="planned, sending, sent, delivered, unknown, failed, skipped, withdrawn.")
@config_option
@json_option
def list_reminders(date: str, state: str | None, config: str, as_json: bool) -> int:
    """The reminders that are due on a day."""
    from hub.cli.operate import operate
    from hub.cli.output import print_lines, table

    lines = operate(config, "reminders.list", {"date": date, "state": state})
    if as_json:
        print_lines(lines)
        return 0
    rows = [
        ((r["due_at"] or "")[11:16], r["appointment"] or r["recall"], r["step"], r["state"], ", ".join(r["tries"]), r["why"])
        for r in lines
    ]
    table(("time", "visit", "before", "state", "ways", "why"), rows, empty=f"no reminders on {date}")
    return 0


@reminders.command()
@click.argument("appointment")
@config_option
@json_option
def show(appointment: str, config: str, as_json: bool) -> int:
    """The reminders of one visit, every text and call, and the answer."""
    from hub.cli.operate import operate
    from hub.cli.output import print_json, table

    visit = operate(config, "reminders.show", {"appointment": appointment})
    if as_json:
        print_json(visit)
        return 0
    click.echo(f"{visit['appointment']}  {visit['starts_at']}  {visit['status']}  answer: {visit['answer'] or 'none'}")
    rows = [(r["due_at"], r["step"], r["state"], r["why"]) for r in visit["reminders"]]
    table(("due", "before", "state", "why"), rows, empty="no reminders")
    sent = [(s["ordered_at"], s["channel"], s["to"], s["state"], s["trouble"], s["text"]) for s in visit["sent"]]
    table(("sent", "way", "to", "state", "trouble", "words"), sent, empty="nothing was sent")
    return 0


@reminders.command()
@click.argument("appointment")
@click.option("--policies", required=True, type=click.Path(exists=True, dir_okay=False), help="The policy file.")
@config_option
@json_option
def preview(appointment: str, policies: str, config: str, as_json: bool) -> int:
    """What the reminders of a visit say, as the chart is now; nothing is sent."""
    from hub.cli.operate import operate
    from hub.cli.output import print_lines, table

    path = str(Path(policies).resolve())
    lines = operate(config, "reminders.preview", {"appointment": appointment, "policies": path})
    if as_json:
        print_lines(lines)
        return 0
    rows = [
        (p["due_at"], p["channel"], p["to"] or "no number", "wants none" if p["out"] else p["state"], p["messages"], p["says"])
        for p in lines
    ]
    table(("due", "way", "to", "state", "messages", "words"), rows, empty="no reminders")
    return 0


@reminders.command()
@click.argument("number")
@click.argument("wants", type=click.Choice(["none", "reminders"]))
@config_option
@json_option
def wish(number: str, wants: str, config: str, as_json: bool) -> int:
    """Notes that somebody at a number wants no reminders, or wants them again."""
    from hub.cli.operate import operate
    from hub.cli.output import print_json

    noted = operate(config, "reminders.wish", {"number": number, "wants": wants})
    if as_json:
        print_json(noted)
    else:
        click.echo(f"noted: {'no reminders' if wants == 'none' else 'reminders'} for {noted['number']}")
    return 0
