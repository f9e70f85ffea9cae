"""`hub documents`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hub.cli.options import config_option, json_option

_PATIENT = click.option("--patient", metavar="NUMBER", help="Number of the chart, or AUTHORITY|NUMBER.")
_APPOINTMENT = click.option("--appointment", metavar="ID", help="The EHR's id of the appointment.")


@click.group()
def documents() -> None:
    """Faxes, scans and other documents on their way into a chart."""


@documents.command("list")
@click.option(
    "--state",
    type=click.Choice(["received", "matched", "waiting", "filed", "rejected"]),
    help="Default: all that are neither filed nor rejected.",
)
@_PATIENT
@config_option
@json_option
def list_documents(state: str | None, patient: str | None, config: str, as_json: bool) -> int:
    """Documents with their state, and why they wait."""
    from hub.cli.operate import operate
    from hub.cli.output import print_lines, short_time, table

    lines = operate(config, "documents.list", {"state": state, "patient": patient})
    if as_json:
        print_lines(lines)
        return 0
    rows = [
        (
            line["id"],
            short_time(line["received_at"]),
            line["source"],
            line["state"],
            line["title"] or line["kind"],
            line["pages"],
            line["patient"]["name"] or line["patient"]["id"] if line["patient"] else None,
            line["appointment"],
            line["why"],
        )
        for line in lines
    ]
    heads = ("document", "came (UTC)", "by", "state", "kind", "pages", "patient", "visit", "why")
    table(heads, rows, empty="no documents")
    return 0


@documents.command()
@click.argument("id")
@click.option("--save", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write its bytes into a file.")
@config_option
@json_option
def show(id: str, file: Path | None, config: str, as_json: bool) -> int:
    """One document: what on it tells whose it is, which charts it could belong to, and how far it is."""
    from hub.cli.operate import operate
    from hub.cli.output import print_json

    document = operate(config, "documents.show", {"id": id})
    if file is not None:
        _save(file, operate(config, "documents.content", {"id": id})["content"])
    if as_json:
        print_json(document)
        return 0
    for name in (
        "state",
        "why",
        "source",
        "sender",
        "received_at",
        "kind",
        "title",
        "pages",
        "media_type",
        "trouble",
        "appointment",
    ):
        if document[name] is not None:
            click.echo(f"{name.replace('_', ' ')}: {document[name]}")
    if document["patient"] is not None:
        click.echo(f"patient: {_person(document['patient'])}" + (f", said {document['by']}" if document["by"] else ""))
    for clue in document["clues"]:
        where = f" (page {clue['page']})" if clue["page"] else ""
        click.echo(f"it says: {clue['kind'].replace('_', ' ')} {' or '.join(clue['values'])}{where}")
    for chart in document["charts"]:
        click.echo(f"could be: {_person(chart)}")
    if file is not None:
        click.echo(f"written to {file}")
    return 0


def _person(person: dict[str, Any]) -> str:
    return ", ".join(part for part in (person["name"], person["birth_date"], person["id"]) if part)


def _save(file: Path, content: str) -> None:
    from base64 import b64decode

    file.write_bytes(b64decode(content))


@documents.command()
@click.argument("id")
@_PATIENT
@_APPOINTMENT
@click.option("--kind", metavar="CODE", help="Of which kind it is.")
@config_option
@json_option
def match(id: str, config: str, as_json: bool, **whose: Any) -> int:
    """Say whose a document is; without --patient and --appointment it is compared with the charts there are now."""
    return _act("match", {"id": id, **whose}, config, as_json)


@documents.command()
@click.argument("id")
@click.option("--why", required=True, help="Such as: advertising.")
@config_option
@json_option
def reject(id: str, why: str, config: str, as_json: bool) -> int:
    """Say that a document belongs in no chart; it is kept."""
    return _act("reject", {"id": id, "why": why}, config, as_json)


@documents.command()
@click.argument("id")
@config_option
@json_option
def undo(id: str, config: str, as_json: bool) -> int:
    """Take back a match or a rejection, before the document is filed."""
    return _act("undo", {"id": id}, config, as_json)


@documents.command("file")
@click.argument("id")
@click.option("--again", is_flag=True, help="Also when it is on its way and no answer is to be expected any more.")
@config_option
@json_option
def file_document(id: str, again: bool, config: str, as_json: bool) -> int:
    """File a matched document now, or once more after it failed."""
    return _act("file", {"id": id, "again": again}, config, as_json)


def _act(verb: str, params: dict[str, Any], config: str, as_json: bool) -> int:
    from hub.cli.operate import operate
    from hub.cli.output import print_json

    line = operate(config, f"documents.{verb}", {name: value for name, value in params.items() if value is not None})
    if as_json:
        print_json(line)
        return 0
    whose = f" for {_person(line['patient'])}" if line["patient"] else ""
    when = f"; it goes to the chart at {line['file_at']}" if line["file_at"] and verb == "match" else ""
    click.echo(f"the document {line['id']} is {line['state']}{whose}{when}" + (f": {line['why']}" if line["why"] else ""))
    return 0


@documents.command()
@_APPOINTMENT
@_PATIENT
@click.option("--kind", default="", metavar="CODE", help="Kind of the document it will lie on.")
@click.option("--out", "file", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The PDF to write.")
@config_option
@json_option
def cover(file: Path, config: str, as_json: bool, **whose: Any) -> int:
    """Print a cover sheet, whose code says whose the document is that it lies on."""
    from hub.cli.operate import operate
    from hub.cli.output import print_json

    sheet = operate(config, "documents.cover", {name: value for name, value in whose.items() if value is not None})
    _save(file, sheet["content"])
    if as_json:
        print_json({"id": sheet["id"], "file": str(file)})
    else:
        click.echo(f"written to {file}")
    return 0
