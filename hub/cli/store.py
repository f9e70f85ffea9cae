"""`hub store`: moving a store to another database."""

from __future__ import annotations

import click

from hub.cli.options import config_option, json_option


@click.group()
def store() -> None:
    """The store as a whole."""


@store.command()
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@config_option
@json_option
def copy(source: str, target: str, config: str, as_json: bool) -> int:
    """Copy a store on SQLite into an empty database on PostgreSQL.

    FROM is the file or its sqlite:/// address, TO a postgresql:// address (its password in PGPASSWORD or ~/.pgpass).  Every row
    and file is compared before it counts; FROM is not changed.  Large bodies go where the clinic file has them (`files`).
    """
    import asyncio
    from pathlib import Path

    from hub.cli.output import print_json, say
    from hub.errors import Refused
    from hub.paths import is_postgres, store_file
    from hub.store.copying import copy_store
    from hub.yaml_text import load_file

    if is_postgres(source) or not is_postgres(target):
        raise Refused("a store is copied from SQLite (sqlite:///PATH) to PostgreSQL (postgresql://...)", code="STO-035")
    folder = Path(config).resolve().parent
    data = load_file(Path(config)).data if Path(config).is_file() else {}
    named = data.get("files") if isinstance(data, dict) else None
    files = folder / named if isinstance(named, str) else store_file(target, folder).with_name("postgresql.files")
    copied = asyncio.run(copy_store(store_file(source, folder), target, files))
    if as_json:
        print_json(copied)
    else:
        click.echo(", ".join(f"{name} {count}" for name, count in copied.items() if count) or "an empty store")
        say("the copy is the same, row by row; write the new address as `store` into the clinic file, then start the hub")
    return 0
