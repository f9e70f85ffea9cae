"""`hub demo`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--once", is_flag=True, help="End when the story is told; exit 0 if every visit came out as it should.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each visit at the end; the story goes to stderr.")
@click.option("--dir", "directory", type=click.Path(file_okay=False, path_type=Path), help="Keep the demo's files here.")
def demo(once: bool, as_json: bool, directory: Path | None) -> int:
    """One day of a clinic: simulated EHR and clearinghouse around a real hub, on this machine only."""
    import asyncio

    from connectors.simulators.demo.play import play

    try:
        return asyncio.run(play(once=once, as_json=as_json, directory=directory))
    except asyncio.CancelledError:  # SIGTERM in the middle of the story
        return 130
