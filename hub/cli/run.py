"""`hub run`: runs the hub until it is told to stop."""

from __future__ import annotations

import click

from hub.cli.options import config_option


@click.command()
@config_option
def run(config: str) -> int:
    """Run the hub until SIGTERM or Ctrl-C.

    Prints one line beginning with `ready` on stderr when all connections are open.
    """
    from pathlib import Path

    from hub.cli.output import show_problems
    from hub.cli.serve import serve
    from hub.clinic import load_clinic

    clinic = load_clinic(Path(config))
    show_problems(clinic.problems)
    return serve(clinic)
