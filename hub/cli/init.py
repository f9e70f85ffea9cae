"""`hub init`: a clinic file, key and folders to start from."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
def init(directory: Path) -> int:
    """Write a clinic file, its payer list, a key and folders into DIRECTORY.

    Nothing that is there already is touched.
    """
    from importlib.resources import files

    from hub.cli.output import say
    from hub.errors import Refused
    from hub.security.seal import new_key, write_key

    starter = files("hub.cli") / "starter"
    existing = [name for name in ("clinic.yaml", "hub.key") if (directory / name).exists()]
    if existing:
        raise Refused(f"there is already a {existing[0]} in {directory}")
    for folder in ("var", "mappings"):
        (directory / folder).mkdir(parents=True, exist_ok=True)
    for name in ("clinic.yaml", "payers.csv"):
        if not (directory / name).exists():
            (directory / name).write_text((starter / name).read_text(encoding="utf-8"), encoding="utf-8")
    write_key(directory / "hub.key", new_key())
    say(f"{directory}/clinic.yaml   the clinic file: what is connected, and what is done")
    say(f"{directory}/payers.csv    your payers")
    say(f"{directory}/hub.key       the key of the store: keep a copy elsewhere; without it nothing can be read")
    say()
    say(f"next: hub check -c {directory}/clinic.yaml")
    return 0
