"""How commands speak: data on stdout, everything else on stderr, errors with code, place, line, what was expected and help."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from hub.cli import FINDINGS, REFUSED, UNREACHABLE, USAGE
from hub.errors import ConfigError, ConnectionDown, HubError, NotFound, Problem, Refused, StoreError, Unreachable

MOST_PROBLEMS = 50


def say(text: str = "") -> None:
    """To the person, beside the data."""
    click.echo(text, err=True)


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, ensure_ascii=False))


def print_lines(values: Iterable[Any]) -> None:
    """One JSON object for each line."""
    for value in values:
        print_json(value)


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, empty: str) -> None:
    """A table on a terminal, columns of text elsewhere; `empty` when there are no rows."""
    if not rows:
        say(empty)
        return
    texts = [[_cell(value) for value in row] for row in rows]
    if sys.stdout.isatty():
        _rich_table(columns, texts)
        return
    widths = [max(len(column), *(len(row[index]) for row in texts)) for index, column in enumerate(columns)]
    for row in [list(columns), *texts]:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def sheet_format(file: Path) -> str:
    """`xlsx` or `csv`, by the name of the file a table is written to."""
    format = file.suffix.lower().removeprefix(".")
    if format not in ("csv", "xlsx"):
        raise click.BadParameter("the name of the file ends in .xlsx or .csv", param_hint="--to")
    return format


def write_private(file: Path, content: bytes) -> None:
    """Whole or not at all, and only for its owner: it names patients."""
    handle, draft = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content)
        Path(draft).replace(file)
    except OSError:
        Path(draft).unlink(missing_ok=True)
        raise


def _rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*(escape(text) for text in row))
    Console().print(shown)


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


def short_time(text: str | None) -> str:
    """`2026-11-24T14:30:00-06:00` as `2026-11-24 14:30`."""
    return text[:16].replace("T", " ") if text else ""


# Problems.


def show_problems(problems: Sequence[Problem]) -> None:
    for problem in problems[:MOST_PROBLEMS]:
        say(render(problem))
        say()
    if len(problems) > MOST_PROBLEMS:
        say(f"... and {len(problems) - MOST_PROBLEMS} more")


def render(problem: Problem) -> str:
    """A problem as people read it."""
    lines = [f"{problem.level}[{problem.code}]: {problem.text}"]
    gutter = " " * len(str(problem.line))
    if problem.file:
        place = f"{relative(problem.file)}:{problem.line}:{problem.column}" if problem.line else relative(problem.file)
        lines.append(f"{gutter}--> {place}")
    if problem.source and problem.line:
        lines.append(f"{problem.line} | {problem.source.rstrip()}")
        width = max(1, min(problem.width, len(problem.source) - problem.column + 1))
        lines.append(f"{gutter} | {' ' * (problem.column - 1)}{'^' * width}")
    if problem.expected:
        lines.append(f"{gutter} = expected: {problem.expected}")
    helps = [problem.help] if problem.help else []
    lines.append(f"{gutter} = help: {'   '.join([*helps, f'more: hub explain {problem.code}'])}")
    return "\n".join(lines)


def relative(file: str) -> str:
    try:
        return str(Path(file).resolve().relative_to(Path.cwd()))
    except ValueError:
        return file


def problem_json(problem: Problem) -> dict[str, Any]:
    return {
        "level": problem.level,
        "code": problem.code,
        "file": relative(problem.file) if problem.file else None,
        "line": problem.line or None,
        "column": problem.column or None,
        "text": problem.text,
        "expected": problem.expected or None,
        "help": problem.help or None,
    }


def fail(error: Exception) -> int:
    """Says what went wrong and gives the exit code for it."""
    if isinstance(error, ConfigError) and error.problems:
        show_problems(error.problems)
        return USAGE
    if isinstance(error, HubError):
        say(f"error[{error.code}]: {error}")
        if error.help:
            say(f" = help: {error.help}")
        say(f" = more: hub explain {error.code}")
        return exit_code(error)
    if isinstance(error, OSError):
        say(f"error[SYS-001]: {error.strerror or type(error).__name__}: {error.filename or ''}".rstrip(": "))
        return UNREACHABLE
    say(f"error[BUG-001]: the program failed with {type(error).__name__}; this is a mistake in Clinic Hub or in a plugin")
    say(" = help: run it again with CLINIC_HUB_TRACEBACK=1 and send us what it says (check it for patient data first)")
    _traceback_if_wanted(error)
    return FINDINGS


def _traceback_if_wanted(error: Exception) -> None:
    import os
    import traceback

    if os.environ.get("CLINIC_HUB_TRACEBACK"):
        traceback.print_exception(error)


def exit_code(error: HubError) -> int:
    if isinstance(error, ConfigError):
        return USAGE
    if isinstance(error, Refused) and error.code.startswith("CLI-"):
        return USAGE
    if isinstance(error, Refused):
        return REFUSED
    if isinstance(error, ConnectionDown | StoreError | Unreachable):
        return UNREACHABLE
    return FINDINGS if isinstance(error, NotFound) else USAGE
