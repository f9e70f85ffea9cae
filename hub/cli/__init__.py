"""The command `hub`.  Each command is loaded when it is called, so that starting one costs little.

0 ok · 1 findings or failed cases · 2 usage or configuration · 3 finished, some items failed
4 cannot reach hub, store or partner · 5 refused · 130 interrupted
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import click

OK, FINDINGS, USAGE, SOME_FAILED, UNREACHABLE, REFUSED, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

CORE: dict[str, tuple[str, str]] = {
    "backup": ("hub.cli.backup:backup", "Copy the store into one file while the hub works."),
    "check": ("hub.cli.check:check", "Everything wrong with configuration, mappings and profiles, at once."),
    "drain": ("hub.cli.routes:drain", "Let a connection or flow do what it has, then pause it."),
    "doctor": ("hub.cli.doctor:doctor", "What this machine lacks for a hub, and how to mend it."),
    "explain": ("hub.cli.explain:explain", "What an error code means and what to do."),
    "init": ("hub.cli.init:init", "A clinic file, key and folders to start from."),
    "jobs": ("hub.cli.jobs:jobs", "Long replays: how far they are; stop them, let them go on."),
    "messages": ("hub.cli.messages:messages", "The journal: list, show, skip, edit messages."),
    "new": ("hub.cli.new:new", "Begin a connector of your own, with its tests."),
    "pause": ("hub.cli.routes:pause", "Stop a connection or flow; its work waits."),
    "plugins": ("hub.cli.plugins:plugins", "What is installed, and what it brings."),
    "reload": ("hub.cli.reload:reload", "Let the running hub read its clinic file again."),
    "replay": ("hub.cli.replay:replay", "Do messages again."),
    "resume": ("hub.cli.routes:resume", "Let a connection or flow go on."),
    "restore": ("hub.cli.backup:restore", "Verify a backup and put it in the place of the store."),
    "retention": ("hub.cli.retention:retention", "What is older than it is kept, and taking it out now."),
    "run": ("hub.cli.run:run", "Run the hub."),
    "show": ("hub.cli.show:show", "What a file says: HL7 v2, X12, benefits."),
    "status": ("hub.cli.status:status", "Connections, flows, backlog, last error."),
    "store": ("hub.cli.store:store", "Copy the store into another database."),
    "tail": ("hub.cli.tail:tail", "Messages as they come."),
    "test": ("hub.cli.test:test", "Run the cases of mappings and flows."),
    "trace": ("hub.cli.trace:trace", "The timeline of a message, patient or appointment."),
    "try": ("hub.cli.try_flow:try_flow", "Each step's output for one message; nothing is kept or sent."),
}
"""Name to where it is and what it does."""

PLUGIN_COMMANDS = "clinic_hub.commands"
"""Entry-point group of commands that connectors and plugins bring."""


def _plugin_points() -> dict[str, list[EntryPoint]]:
    """Commands by name; two packages may bring one of the same name, which is refused when it is called."""
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=PLUGIN_COMMANDS):
        if point not in found.setdefault(point.name, []):
            found[point.name].append(point)
    return found


def _load(points: list[EntryPoint]) -> click.Command:
    """Raises ConfigError when there are several, or when the one there is cannot be imported."""
    from hub.errors import ConfigError

    first = points[0]
    if len(points) > 1:
        raise ConfigError(
            f"the command {first.name!r} is brought by both {' and '.join(sorted(p.value for p in points))}", code="PLG-005"
        )
    try:
        command: click.Command = first.load()
    except (Exception, SystemExit) as error:
        text = f"the command {first.name!r} ({first.value}) cannot be imported: {type(error).__name__}"
        raise ConfigError(text, code="PLG-002") from error
    return command


def _summary(points: list[EntryPoint]) -> str:
    from hub.errors import ConfigError

    try:
        return _load(points).get_short_help_str(100)
    except ConfigError as error:
        return f"(cannot be used: {error})"


class _NobodyReads(Exception):
    """Whoever reads our output has enough, as in `hub messages list | head`: the end, and no failure."""


class Hub(click.Group):
    """Loads commands when they are asked for."""

    # ruff: noqa: ARG002 - the signatures are those of click

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # click would end with 1
            raise _NobodyReads from None

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*CORE, *_plugin_points()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in CORE:
            module, _, name = CORE[cmd_name][0].partition(":")
            command: click.Command = getattr(importlib.import_module(module), name)
            return command
        points = _plugin_points().get(cmd_name)
        return _load(points) if points else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, help) for name, (_, help) in CORE.items()]
        rows += [(name, _summary(points)) for name, points in _plugin_points().items() if name not in CORE]
        with formatter.section("Commands"):
            formatter.write_dl(sorted(rows))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            close = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise click.UsageError(error.message + hint, ctx) from None


@click.command(cls=Hub, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="clinic-hub")
def hub() -> None:
    """Clinic Hub: the integration hub of a clinic."""


def main(arguments: list[str] | None = None) -> Any:
    """Runs a command and turns whatever happens into words and an exit code; no traceback reaches a person."""
    gc.set_threshold(50_000)  # a start makes much that stays: looking through it again and again took a seventh of its time
    try:
        code = hub.main(args=arguments, prog_name="hub", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        sys.exit(INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(USAGE)
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        sys.exit(INTERRUPTED)
    except _NobodyReads:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still to be flushed goes nowhere
        sys.exit(OK)
    except Exception as error:
        from hub.cli.output import fail

        sys.exit(fail(error))
    sys.exit(code if isinstance(code, int) else OK)
