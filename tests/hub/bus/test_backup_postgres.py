"""A backup of a store on PostgreSQL is the same file; it becomes a SQLite store or fills an empty database; a hub goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hub.errors import Refused, StoreError
from hub.security.seal import Seal, read_key
from hub.store.postgres_backup import OF_HUBS, back_up_postgres
from hub.store.restoring import Restore
from hub.store.schema import metadata
from tests.hub.bus.probe import World, adt, deliver, in_turn, long_adt, rows
from tests.support import CLINIC, STORE, HubProcess, ask, clinic_folder, run_hub, running_hub, settled, until

pytestmark = pytest.mark.parametrize("store_kind", ["postgres"], indirect=True)
SQLITE = "sqlite:///var/hub.db"
FLOW = """
connections:
  inbox: {kind: probe_in}
  pms: {kind: probe_out, answer: yes}
flows:
  work: {from: inbox, steps: [{send: pms}]}
"""


async def test_what_is_restored_is_what_was_on_postgres(world: World, tmp_path: Path) -> None:
    file = clinic_folder(tmp_path, FLOW)
    backup, files = tmp_path / "pg.tar", tmp_path / "var" / "postgresql.files"
    acknowledged: list[str] = []
    stop = asyncio.Event()

    async def send() -> None:
        while not stop.is_set():
            acknowledged.append((await deliver(hub, adt(f"N{len(acknowledged)}", f"{len(acknowledged) % 20}"))).ids[0])

    async with running_hub(file) as hub:
        await in_turn(hub, [adt("M1"), long_adt("M2", size=300_000)])
        await ask(hub, "messages.list")
        sending = asyncio.create_task(send())
        await until(lambda: len(acknowledged) > 20)
        before = list(acknowledged)
        beside = await back_up_postgres(STORE[-1], files, tmp_path / "beside.tar")
        assert beside.rows["message"] >= len(before) + 2
        stop.set()
        await sending
        await settled(hub)
    manifest = await back_up_postgres(STORE[-1], files, backup)
    assert manifest.engine == "postgresql"
    with pytest.raises(Refused):
        await back_up_postgres(STORE[-1], files, backup)
    seal = Seal(read_key(tmp_path / "hub.key"))
    restored = tmp_path / "other" / "var" / "hub.db"
    for source in (tmp_path / "beside.tar", backup):
        done = Restore(source, restored, seal).run(asking=[], moved=True, actor="test")
        assert done.opened > 20
    for table in metadata.sorted_tables:
        if table.name not in (*OF_HUBS, "info", "audit"):
            names = ", ".join(f'"{column.name}"' for column in table.columns)
            order = ", ".join(column.name for column in table.primary_key)
            query = f"SELECT {names} FROM {table.name} ORDER BY {order}"
            assert rows(restored, query) == [tuple(row) for row in rows(STORE[-1], query)], table.name
    head = file.read_text().replace(STORE[-1], "sqlite:///var/hub.db")
    other = tmp_path / "other" / "clinic.yaml"
    other.write_text(head)
    (tmp_path / "other" / "hub.key").write_bytes((tmp_path / "hub.key").read_bytes())
    (tmp_path / "other" / "hub.key").chmod(0o600)
    async with running_hub(other) as hub:
        [large] = [row for row in await ask(hub, "messages.list", control_id="M2") if row["direction"] == "in"]
        assert len((await ask(hub, "messages.show", id=large["id"], phi=True))["body"]) > 300_000
        await deliver(hub, adt("N0", "0"))
        await settled(hub)


async def test_a_file_that_is_gone_is_found_while_the_backup_is_made(world: World, tmp_path: Path) -> None:
    file = clinic_folder(tmp_path, FLOW)
    files = tmp_path / "var" / "postgresql.files"
    async with running_hub(file) as hub:
        await deliver(hub, long_adt("M1", size=300_000))
        await settled(hub)
    next(path for path in files.glob("??/*") if path.is_file()).unlink()
    with pytest.raises(StoreError, match="is gone"):
        await back_up_postgres(STORE[-1], files, tmp_path / "b.tar")
    assert not list(tmp_path.glob("*.tar"))
    assert not list(tmp_path.glob(".*.tar*"))


def test_the_commands(tmp_path: Path) -> None:
    file = clinic_folder(tmp_path, "connections: {}\n")
    with HubProcess(file):
        made = run_hub("backup", tmp_path / "b.tar", "--json", "-c", file)
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["rows"]["audit"] == 1
    checked = run_hub("restore", tmp_path / "b.tar", "--check", "-c", file)
    assert checked.returncode == 0, checked.stderr
    before = [rows(STORE[-1], f"SELECT count(*) FROM {table.name}") for table in metadata.sorted_tables]
    refused = run_hub("restore", tmp_path / "b.tar", "-c", file)
    assert refused.returncode == 5
    assert "the database holds something already" in refused.stderr
    assert [rows(STORE[-1], f"SELECT count(*) FROM {table.name}") for table in metadata.sorted_tables] == before


@pytest.mark.parametrize("made_of", ["postgres", "sqlite"])
async def test_a_backup_is_restored_into_an_empty_database(
    world: World, tmp_path: Path, fresh_database: Callable[[], str], plugin_env: dict[str, str], made_of: str
) -> None:
    file = clinic_folder(tmp_path / "a", FLOW, head=CLINIC if made_of == "postgres" else CLINIC.replace("{store}", SQLITE))
    async with running_hub(file) as hub:
        await in_turn(hub, [adt("M1"), long_adt("M2", size=300_000), *(adt(f"N{n}", f"{n % 5}") for n in range(30))])
        await settled(hub)
    backup, url = tmp_path / "b.tar", fresh_database()
    made = await asyncio.to_thread(run_hub, "backup", backup, "-c", file, env=plugin_env)
    assert made.returncode == 0, made.stderr
    other = clinic_folder(tmp_path / "b", FLOW, head=CLINIC.replace("{store}", url))
    (other.parent / "hub.key").write_bytes((file.parent / "hub.key").read_bytes())
    damaged = bytearray(backup.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "damaged.tar").write_bytes(damaged)
    refused = await asyncio.to_thread(run_hub, "restore", tmp_path / "damaged.tar", "-c", other, env=plugin_env)
    assert refused.returncode != 0
    assert rows(url, "SELECT count(*) FROM message") == [(0,)]
    done = await asyncio.to_thread(run_hub, "restore", backup, "--moved", "-c", other, "--json", env=plugin_env)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"]["message"] == 64
    assert not list((other.parent / "var").glob("*restoring*"))
    async with running_hub(other) as hub:
        [large] = [row for row in await ask(hub, "messages.list", control_id="M2") if row["direction"] == "in"]
        assert len((await ask(hub, "messages.show", id=large["id"], phi=True))["body"]) > 300_000
        before = len(world.sent["pms"])
        assert (await deliver(hub, adt("N0", "0"))).duplicates == [True], "what was received before is known"
        await in_turn(hub, [adt("NEW", "0")])
        await settled(hub)
        assert len(world.sent["pms"]) == before + 1
