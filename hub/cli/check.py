"""`hub check`: everything that is wrong, before anything runs."""

from __future__ import annotations

from typing import Any

import click

from hub.cli.options import config_option


@click.command()
@click.argument("file", required=False, type=click.Path(dir_okay=False))
@config_option
@click.option("--connect", is_flag=True, help="Also reach every partner.")
@click.option("--format", "form", type=click.Choice(["text", "json", "github"]), default="text", show_default=True)
@click.option("--effective", metavar="CONNECTION", help="Show each value of a connection and where it came from.")
@click.option("--schema", is_flag=True, help="Print the JSON schema of the clinic file.")
def check(file: str | None, config: str, connect: bool, form: str, effective: str | None, schema: bool) -> int:
    """Check a clinic file with its mappings and vendor profiles.

    Exit 0 when nothing keeps the hub from starting, 2 when something does, 4 when a partner cannot be reached.
    """
    from pathlib import Path

    from hub.cli import OK, UNREACHABLE, USAGE
    from hub.clinic import examine

    if schema:
        return _print_schema()
    path = Path(file or config)
    examined = examine(path, strict_secrets=connect)
    problems = list(examined.problems)
    if examined.clinic is not None and not examined.errors:
        problems += _homeless_work(examined.clinic)
    _report(path, problems, form)
    if examined.errors or examined.clinic is None:
        return USAGE
    if effective is not None:
        return _show_effective(examined.clinic, effective)
    if connect and not _reach_all(examined.clinic):
        return UNREACHABLE
    return OK


def _report(path: Any, problems: list[Any], form: str) -> None:
    from hub.cli.output import print_json, problem_json, relative, say, show_problems

    errors = [p for p in problems if p.level == "error"]
    if form == "json":
        print_json({"file": str(path), "ok": not errors, "problems": [problem_json(p) for p in problems]})
    elif form == "github":
        for p in problems:
            place = f"file={_in_workflow(relative(p.file), ':,')},line={p.line or 1},col={p.column or 1}"
            click.echo(f"::{p.level} {place},title={p.code}::{_in_workflow(p.text)}")
    else:
        show_problems(problems)
        warnings = len(problems) - len(errors)
        found = f"{len(errors)} error(s), {warnings} warning(s)" if problems else "nothing wrong"
        say(f"{path}: {found}")


def _in_workflow(text: str, also: str = "") -> str:
    """A text in a GitHub workflow command: some characters would end it."""
    return "".join(f"%{ord(c):02X}" if c in f"%\r\n{also}" else c for c in text)


def _homeless_work(clinic: Any) -> list[Any]:
    """Open work in the store whose flow, step or connection this file no longer has."""
    import asyncio

    from hub.bus.hub import homeless
    from hub.errors import Problem
    from hub.store.opening import open_any_reader

    async def open_targets() -> list[tuple[str, str, str, int]]:
        reader = open_any_reader(clinic.settings.store, clinic.settings.folder)
        if reader is None:
            return []
        try:
            return await reader.open_targets()
        finally:
            await reader.close()

    found = []
    for target, step, _, count in asyncio.run(open_targets()):
        if reason := homeless(target, step, clinic.settings):
            text = f"{count} message(s) in the store wait, but {reason}: they are held when the hub starts"
            help = "put it back, or replay them from another step"
            found.append(Problem("CFG-070", text, str(clinic.settings.file), level="warning", help=help))
    return found


def _show_effective(clinic: Any, name: str) -> int:
    from hub.cli import OK
    from hub.cli.output import table
    from hub.errors import NotFound

    connection = clinic.settings.connections.get(name)
    if connection is None:
        raise NotFound(f"there is no connection {name!r}; there are {', '.join(clinic.settings.connections)}")
    rows = [(key, _shown(value), place) for key, (value, place) in connection.effective.items()]
    table(("setting", "value", "from"), rows, empty="no settings")
    return OK


def _shown(value: Any) -> str:
    return ", ".join(f"{{{way}: {name}}}" for way, name in value.items()) if isinstance(value, dict) and value else str(value)


def _reach_all(clinic: Any) -> bool:
    import asyncio

    from hub.cli.output import say
    from hub.errors import HubError

    async def reach() -> bool:
        good = True
        for name, settings in clinic.settings.connections.items():
            connection = settings.connector(name, settings.config)
            try:
                async with asyncio.timeout(30):
                    say(f"{name}: {await connection.check()}")
            except (HubError, TimeoutError) as error:
                good = False
                say(f"{name}: {str(error) or 'no answer within 30 s'}")
            finally:
                await connection.close()
        return good

    return asyncio.run(reach())


def _print_schema() -> int:
    from hub.cli import OK
    from hub.cli.output import print_json
    from hub.registry import Registry
    from hub.settings.schema import clinic_schema

    print_json(clinic_schema(Registry().catalogue))
    return OK
