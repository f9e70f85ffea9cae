"""`hub try`: a flow on trial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hub.cli.options import config_option, json_option


@click.command("try")
@click.argument("flow")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@config_option
@click.option("--from", "from_step", default="", metavar="STEP", help="Begin at this step.")
@click.option("--header", "headers", multiple=True, metavar="NAME=VALUE", help="A header of the message.")
@json_option
def try_flow(flow: str, file: Path, config: str, from_step: str, headers: tuple[str, ...], as_json: bool) -> int:
    """Each step's output for one message; nothing is stored or sent.

    FILE is a message as it comes, or YAML with the fields of the record the flow begins with.
    """
    import asyncio

    from hub.bus.trial import message_for, try_flow as run_trial
    from hub.cli.output import print_json
    from hub.clinic import load_clinic
    from hub.errors import NotFound
    from hub.formats.hl7v2 import split

    clinic = load_clinic(Path(config))
    if flow not in clinic.settings.flows:
        raise NotFound(f"there is no flow {flow!r}; there are {', '.join(clinic.settings.flows)}")
    given: Any = _record(file) if file.suffix in (".yaml", ".yml") else file.read_bytes()
    bodies = [part.body for part in split(given)[0]] if isinstance(given, bytes) else []
    told = dict(header.partition("=")[::2] for header in headers)
    failed = False
    for body in bodies or [given]:
        trial = asyncio.run(run_trial(clinic, flow, message_for(clinic, flow, body, told), start=from_step))
        failed = failed or trial.error is not None
        print_json(_as_json(trial)) if as_json else _show(trial)
    return 1 if failed else 0


def _record(file: Path) -> Any:
    """The fields of a record, as they stand in a YAML file."""
    from hub.yaml_text import load_file

    document = load_file(file)
    document.problems.raise_if_any()
    return document.data


def _as_json(trial: Any) -> dict[str, Any]:
    return {
        "steps": [{"step": s.step, "messages": [_message_json(m) for m in s.messages]} for s in trial.steps],
        "saved": [
            {"kind": kind, "record": record.model_dump(mode="json", exclude_defaults=True)} for kind, record in trial.saved
        ],
        "sent": [
            {"to": o.destination, "ask": o.ask, "body": o.message.body.decode("utf-8", errors="replace")} for o in trial.sent
        ],
        "planned": [{"job": job, "key": key, "at": at.isoformat()} for job, key, at in trial.planned],
        "notes": [{"what": what, "text": text} for what, text in trial.notes],
        "error": {"step": trial.failed_at, "code": trial.error.code, "text": str(trial.error)} if trial.error else None,
    }


def _message_json(message: Any) -> dict[str, Any]:
    record = message.record
    body = (
        record.model_dump(mode="json", exclude_unset=True)
        if record is not None
        else message.body.decode("utf-8", errors="replace")
    )
    return {"format": message.format, "type": message.type or None, "body": body}


def _show(trial: Any) -> None:
    for step in trial.steps:
        click.echo(f"{step.step}")
        for message in step.messages:
            for line in _lines(message):
                click.echo(f"    {line}")
        if not step.messages:
            click.echo("    (ends here)")
    for outgoing in trial.sent:
        click.echo(f"{'would ask' if outgoing.ask else 'would send to'} {outgoing.destination}")
        for line in _lines(outgoing.message):
            click.echo(f"    {line}")
    for kind, record in trial.saved:
        click.echo(f"would save {kind} {getattr(record, 'id', '')}")
    for job, key, at in trial.planned:
        click.echo(f"would plan {job} {key} at {at.isoformat(timespec='minutes')}")
    for what, text in trial.notes:
        click.echo(f"timeline: {what}: {text}")
    if trial.error is not None:
        click.echo(f"stopped at {trial.failed_at}: {trial.error} [{trial.error.code}]")


def _lines(message: Any) -> list[str]:
    from hub.mapping.cases import flatten

    if message.record is not None:
        return [f"{name}: {value}" for name, value in flatten(message.record).items()]
    text = message.body.decode("utf-8", errors="replace").replace("\r", "\n")
    text = text.replace("~", "~\n") if message.format == "x12" else text
    return [line for line in text.split("\n") if line]
