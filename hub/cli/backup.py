"""`hub backup` and `hub restore`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hub.cli.options import config_option, json_option

if TYPE_CHECKING:
    from hub.clinic import Clinic
    from hub.store.backup import Manifest

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("file", type=_FILE)
@config_option
@json_option
def backup(file: Path, config: str, as_json: bool) -> int:
    """Copy the store into FILE while the hub works: tables and large bodies, never the key.

    FILE is a tar file; what it holds is sealed.  It appears once it is whole and on disk.  Keep the key elsewhere.
    """
    import time

    from hub.cli.output import print_json, say
    from hub.clinic import load_clinic

    began = time.monotonic()
    manifest = _make(load_clinic(Path(config)), config, file.absolute())
    seconds = round(time.monotonic() - began, 1)
    if as_json:
        rows = manifest.rows
        print_json({"file": str(file), "made_at": manifest.made_at, "bytes": manifest.size, "seconds": seconds, "rows": rows})
    else:
        count, files = manifest.rows.get("message", 0), len(manifest.members) - 1
        say(f"{file}: {count} messages, {files} large bodies, {manifest.size / 1e6:.1f} MB in {seconds} s")
        say("the key is not in it: keep a copy of the key file somewhere else")
    return 0


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, exists=True, path_type=Path))
@config_option
@json_option
@click.option("--check", is_flag=True, help="Only verify FILE; a hub may run meanwhile, and nothing is replaced.")
@click.option("--moved", is_flag=True, help="FILE is the last state of the store (it moves): nothing that waits is doubtful.")
def restore(file: Path, config: str, as_json: bool, check: bool, moved: bool) -> int:
    """Verify FILE, then put it in the place of the store.

    Verified are every checksum, the database, its rows, the audit chain, the key and that bodies open.  The store that was
    there is kept under another name.  Refused while a hub uses it.  A database on PostgreSQL has to be an empty one.
    """
    import asyncio

    from hub.cli.operate import actor
    from hub.cli.output import print_json, say
    from hub.clinic import load_clinic
    from hub.connector import Destination
    from hub.paths import is_postgres, store_file
    from hub.security.seal import Seal, read_key
    from hub.store.postgres_restoring import restore_into_postgres
    from hub.store.restoring import Restore

    clinic = load_clinic(Path(config))
    store = store_file(clinic.settings.store, clinic.settings.folder)
    work = Restore(file, store, Seal(read_key(clinic.settings.key)))
    connections = clinic.settings.connections.values()
    asking = [f"to:{c.name}" for c in connections if issubclass(c.connector, Destination) and c.connector.repeat == "ask"]
    if check:
        done = work.check()
    elif is_postgres(clinic.settings.store):
        files = clinic.settings.files or store.with_name("postgresql.files")
        done = asyncio.run(restore_into_postgres(work, clinic.settings.store, files, asking=asking, moved=moved, actor=actor()))
    else:
        done = work.run(asking=asking, moved=moved, actor=actor())
    manifest, aside = done.manifest, str(done.put_aside) if done.put_aside else None
    if as_json:
        found = {"made_at": manifest.made_at, "rows": manifest.rows, "opened": done.opened, "checked_only": check}
        print_json({**found, "put_aside": aside, "doubtful": done.doubtful})
        return 0
    say(f"{file} is whole: made at {manifest.made_at}, {manifest.rows.get('message', 0)} messages; {done.opened} were opened")
    if not check:
        say(f"it is in its place; the store that was there is {aside}" if aside else "it is in its place")
        say("what senders were told since then is not in it: ask them to send it again")
    if done.doubtful:
        say(f"{done.doubtful} message(s) may have been sent since: hub messages list --state unknown, once the hub runs")
    return 0


def _make(clinic: Clinic, config: str, file: Path) -> Manifest:
    import asyncio

    from hub.cli.operate import operate
    from hub.paths import is_postgres, store_file
    from hub.store.backup import back_up, must_be_new

    must_be_new(file)
    settings = clinic.settings
    if is_postgres(settings.store):
        from hub.store.postgres_backup import back_up_postgres

        operate(config, "backup", {"file": str(file)})
        files = settings.files or store_file(settings.store, settings.folder).with_name("postgresql.files")
        return asyncio.run(back_up_postgres(settings.store, files, file))
    store = store_file(settings.store, settings.folder)
    _tell_the_audit(config, store, file)
    return back_up(store, file)


def _tell_the_audit(config: str, store: Path, file: Path) -> None:
    """A store that an older program made is copied as it is: opening it would change its schema."""
    import contextlib
    import sqlite3

    from hub.cli.operate import operate
    from hub.errors import Unreachable
    from hub.store.opening import schema_version
    from hub.store.schema import HEAD

    if not store.exists():
        raise Unreachable(f"there is no store at {store} yet; `hub run` makes it", code="STO-011")
    with contextlib.closing(sqlite3.connect(store, timeout=10.0)) as connection:
        version = schema_version(connection)
    if version == HEAD:
        operate(config, "backup", {"file": str(file)})
