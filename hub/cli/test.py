"""`hub test`: the cases of mappings and flows, without pytest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hub.cli.options import config_option, json_option


@click.command("test")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("-k", "word", metavar="WORD", help="Only cases whose name or file has this word.")
@config_option
@json_option
def test(paths: tuple[Path, ...], word: str | None, config: str, as_json: bool) -> int:
    """Run the cases (*.test.yaml) of mappings and flows.

    PATHS are mapping files, case files or folders; without them, all mappings of the clinic and the built-in ones are tested.
    A mapping without cases fails, and so does finding none at all.
    """
    from hub.bus.cases import cases_of
    from hub.cli.output import print_json, relative, say, show_problems

    by_default = click.get_current_context().get_parameter_source("config") is click.core.ParameterSource.DEFAULT
    clinic = None if by_default and not Path(config).is_file() else Path(config)
    results, problems = cases_of(clinic, list(paths))
    if word:
        results = [r for r in results if word.lower() in f"{r.name} {r.file}".lower()]
    show_problems(problems)
    failed = [r for r in results if not r.passed]
    if as_json:
        print_json(_summary(results, failed))
    else:
        for result in results:
            mark = "ok  " if result.passed else "FAIL"
            click.echo(f"{mark} {relative(result.file)}:{result.line}  {result.name}")
            for line in result.differences:
                click.echo(f"       {line}")
        say(f"{len(results) - len(failed)} passed, {len(failed)} failed")
    if not results:
        say("no cases were found: a mapping without cases proves nothing")
    return 1 if failed or problems or not results else 0


def _summary(results: list[Any], failed: list[Any]) -> dict[str, Any]:
    cases = [
        {"file": r.file, "line": r.line, "case": r.name, "passed": r.passed, "differences": r.differences} for r in results
    ]
    return {"passed": len(results) - len(failed), "failed": len(failed), "cases": cases}
