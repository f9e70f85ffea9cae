"""Backups made while the hub works, restores that verify everything first and can be killed anywhere."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import sqlite3
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hub.errors import HubError, Refused, StoreError
from hub.security.seal import Seal, SealBroken, new_key, read_key
from hub.store import backup as backups
from hub.store.backup import back_up
from hub.store.opening import restore_marker
from hub.store.restoring import NUMBERS_AHEAD, Restore
from hub.store.sqlite import verify_audit
from tests.hub.bus.probe import World, adt, deliver, in_turn, long_adt, one, rows, states, tamper
from tests.support import ask, clinic_folder, run_hub, running_hub, settled, until

FLOW = """
connections:
  inbox: {kind: probe_in}
  pms: {kind: probe_out, answer: yes}
  fax: {kind: probe_ask}
flows:
  work: {from: inbox, when: {type: ADT^A04}, steps: [{send: pms}]}
  faxes: {from: inbox, when: {type: ADT^A08}, steps: [{send: fax}]}
"""


def everything(store: Path) -> dict[str, list[Any]]:
    """All rows of all tables."""
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    names = [name for (name,) in rows(store, query)]
    return {name: rows(store, f"SELECT * FROM {name}") for name in names}


@dataclass
class Kept:
    """A store with some of everything in it, and its backup."""

    file: Path
    store: Path
    backup: Path
    content: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def seal(self) -> Seal:
        return Seal(read_key(self.file.parent / "hub.key"))

    def restore(self) -> Restore:
        return Restore(self.backup, self.store, self.seal)

    def run(self) -> Any:
        return self.restore().run(asking=["to:fax"], moved=False, actor="test")


@pytest.fixture
async def kept(world: World, tmp_path: Path, store: Path) -> Kept:
    file = clinic_folder(tmp_path, FLOW)
    async with running_hub(file) as hub:
        await in_turn(hub, [adt("M1"), adt("M2", "7"), long_adt("M3", size=300_000)])
        await ask(hub, "messages.list")
        await hub.core.surroundings.numbers.next("isa")
        await settled(hub)
    found = Kept(file, store, tmp_path / "today.tar")
    back_up(store, found.backup)
    found.content = everything(store)
    return found


# Making one.


async def test_a_backup_under_load_holds_everything_that_was_acknowledged_before_it_began(
    world: World, tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backups, "STEP_PAGES", 4)
    file = clinic_folder(tmp_path, FLOW)
    acknowledged: list[str] = []
    slowest = 0.0

    async def send() -> None:
        nonlocal slowest
        while not stop.is_set():
            began = time.monotonic()
            acknowledged.append((await deliver(hub, adt(f"M{len(acknowledged)}", f"{len(acknowledged) % 20}"))).ids[0])
            slowest = max(slowest, time.monotonic() - began)

    stop = asyncio.Event()
    async with running_hub(file) as hub:
        await deliver(hub, *(long_adt(f"B{number}", f"{number}", size=20_000) for number in range(50)))
        sending = asyncio.create_task(send())
        await until(lambda: len(acknowledged) > 20)
        before = list(acknowledged)
        manifest = await asyncio.to_thread(back_up, store, tmp_path / "b.tar")
        during = len(acknowledged) - len(before)
        stop.set()
        await sending
        await settled(hub)
    assert during > 5, "commits went on beside it"
    assert slowest < 1.0
    copy = Path(tmp_path / "copy.db")
    with tarfile.open(tmp_path / "b.tar") as tar:
        member = tar.extractfile("store.db")
        assert member is not None
        copy.write_bytes(member.read())
    assert one(copy, "PRAGMA integrity_check") == "ok"
    assert set(before) <= {id for (id,) in rows(copy, "SELECT id FROM message")}
    assert manifest.rows["message"] == one(copy, "SELECT count(*) FROM message")
    open_works = one(copy, "SELECT count(*) FROM message WHERE direction = 'in' AND seq NOT IN (SELECT seq FROM work)")
    assert open_works == 0, "one moment: no message without its work"


async def test_a_backup_is_for_its_owner_alone_and_has_nothing_of_the_key(kept: Kept) -> None:
    key = read_key(kept.file.parent / "hub.key")
    content = kept.backup.read_bytes()
    assert kept.backup.stat().st_mode & 0o077 == 0
    assert key not in content
    assert key.hex().encode() not in content
    assert (kept.file.parent / "hub.key").read_bytes().strip() not in content
    assert b"JANE" not in content
    assert not [path.name for path in kept.backup.parent.iterdir() if path.name.startswith(".")], "no drafts are left"


async def test_a_backup_never_replaces_a_file(kept: Kept) -> None:
    before = kept.backup.read_bytes()
    with pytest.raises(Refused) as caught:
        back_up(kept.store, kept.backup)
    assert caught.value.code == "STO-030"
    assert kept.backup.read_bytes() == before


async def test_a_backup_that_cannot_be_written_says_so_and_leaves_nothing(kept: Kept, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot be (written|copied)"):
        back_up(kept.store, tmp_path / "no" / "folder" / "b.tar")
    (tmp_path / "full").mkdir()
    file_of_message = next(path for path in kept.store.with_name("hub.db.files").rglob("*") if path.is_file())
    file_of_message.unlink()
    with pytest.raises(StoreError, match="is gone") as caught:
        back_up(kept.store, tmp_path / "full" / "b.tar")
    assert caught.value.code == "STO-032"
    assert list((tmp_path / "full").iterdir()) == []


async def test_a_body_that_retention_takes_away_meanwhile_does_no_harm(kept: Kept, tmp_path: Path, monkeypatch: Any) -> None:
    """The copy still names the file, the store no longer does."""
    copy_tables = backups.copy_tables

    def and_then_let_go(*arguments: Any) -> None:
        copy_tables(*arguments)
        tamper(kept.store, "UPDATE message SET file = NULL, body = NULL WHERE file IS NOT NULL")
        for path in kept.store.with_name("hub.db.files").rglob("*"):
            if path.is_file():
                path.unlink()

    monkeypatch.setattr(backups, "copy_tables", and_then_let_go)
    manifest = back_up(kept.store, tmp_path / "b.tar")
    assert [name for name in manifest.members if name.startswith("files/")] == []
    kept.backup = tmp_path / "b.tar"
    kept.restore().check()


# Restoring.


async def test_a_restored_store_is_the_one_that_was_backed_up_and_a_hub_goes_on_with_it(
    kept: Kept, world: World, tmp_path: Path
) -> None:
    async with running_hub(kept.file) as hub:
        await deliver(hub, adt("LATER"))
        await settled(hub)
    done = kept.run()
    assert done.opened == len(kept.content["message"])
    assert everything(done.put_aside)["message"] != kept.content["message"], "what was there is kept"
    now = everything(kept.store)
    for name in ("message", "message_key", "work", "seen", "note", "record", "data_key"):
        assert now[name] == kept.content[name], name
    assert [action for (action,) in rows(kept.store, "SELECT action FROM audit ORDER BY seq")][-1] == "restore"
    columns = "seq, at, actor, action, object, detail, chain"
    assert verify_audit(rows(kept.store, f"SELECT {columns} FROM audit ORDER BY seq")) is None
    world.sent.clear()
    async with running_hub(kept.file) as hub:
        [large] = [row for row in await ask(hub, "messages.list", control_id="M3") if row["direction"] == "in"]
        assert len((await ask(hub, "messages.show", id=large["id"], phi=True))["body"]) > 300_000
        await deliver(hub, adt("LATER"))
        await settled(hub)
    assert len(world.sent["pms"]) == 1
    assert one(kept.store, "PRAGMA integrity_check") == "ok"


async def test_a_restore_onto_an_empty_machine(kept: Kept, tmp_path: Path) -> None:
    other = clinic_folder(tmp_path / "other", FLOW)
    (tmp_path / "other" / "hub.key").write_bytes((kept.file.parent / "hub.key").read_bytes())
    done = Restore(kept.backup, tmp_path / "other" / "var" / "hub.db", kept.seal).run(asking=[], moved=True, actor="test")
    assert done.put_aside is None
    async with running_hub(other) as hub:
        assert len(await ask(hub, "messages.list")) == len(kept.content["message"])


async def test_no_number_is_given_again_after_a_restore_and_what_waits_for_a_fax_is_doubtful(kept: Kept) -> None:
    tamper(kept.store, "UPDATE work SET state = 'waiting', target = 'to:fax' WHERE id = (SELECT max(id) FROM work)")
    kept.backup = kept.backup.with_name("2.tar")
    back_up(kept.store, kept.backup)
    [(before,)] = rows(kept.store, "SELECT value FROM counter WHERE name = 'isa'")
    done = kept.run()
    assert done.doubtful == 1
    assert rows(kept.store, "SELECT value FROM counter WHERE name = 'isa'") == [(before + NUMBERS_AHEAD,)]
    assert "working" in states(kept.store, "to:fax")
    async with running_hub(kept.file) as hub:
        await settled(hub)
        assert states(kept.store, "to:fax")[-1] == "unknown", "a person decides; nothing is sent twice"
    moved = kept.restore().run(asking=["to:fax"], moved=True, actor="test")
    assert moved.doubtful == 0
    assert rows(kept.store, "SELECT value FROM counter WHERE name = 'isa'") == [(before,)]
    assert "waiting" in states(kept.store, "to:fax")


async def test_a_store_in_use_is_not_restored_over(kept: Kept) -> None:
    async with running_hub(kept.file):
        with pytest.raises(Refused) as caught:
            kept.run()
        assert caught.value.code == "STO-007"
        kept.restore().check()
    assert not list(kept.store.parent.glob("*.restoring*"))


# What is wrong with a backup is found before anything is replaced.


def members(backup: Path) -> dict[str, bytes]:
    with tarfile.open(backup) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def packed(backup: Path, content: dict[str, bytes]) -> None:
    with tarfile.open(backup, "w") as tar:
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def honest(content: dict[str, bytes], **changes: Any) -> dict[str, bytes]:
    """With a manifest that fits its members, as a forger would make it."""
    manifest = json.loads(content.pop("manifest.json")) | changes
    manifest["members"] = {name: [len(data), hashlib.sha256(data).hexdigest()] for name, data in content.items()}
    return content | {"manifest.json": json.dumps(manifest).encode()}


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def with_tables(content: dict[str, bytes], folder: Path, query: str) -> dict[str, bytes]:
    path = folder / "forged.db"
    path.write_bytes(content["store.db"])
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(query)
    connection.close()
    return content | {"store.db": path.read_bytes()}


def large(content: dict[str, bytes]) -> str:
    return next(name for name in content if name.startswith("files/"))


Damage = Callable[[dict[str, bytes], Path], dict[str, bytes]]
DAMAGES: dict[str, Damage] = {
    "a bit of the tables": lambda c, _: c | {"store.db": flipped(c["store.db"], len(c["store.db"]) // 2)},
    "a bit of a file": lambda c, _: c | {large(c): flipped(c[large(c)], 1000)},
    "a file is missing": lambda c, _: {name: data for name, data in c.items() if name != large(c)},
    "a file is missing, forged": lambda c, _: honest({name: data for name, data in c.items() if name != large(c)}),
    "no manifest": lambda c, _: {name: data for name, data in c.items() if name != "manifest.json"},
    "no tables": lambda c, _: honest({name: data for name, data in c.items() if name != "store.db"}),
    "something else in it": lambda c, _: honest({**c, "files/../../evil": b"x"}),
    "an absolute path in it": lambda c, _: honest({**c, "/tmp/evil": b"x"}),
    "other counts": lambda c, _: honest(c, rows={**json.loads(c["manifest.json"])["rows"], "message": 1}),
    "a message less, forged": lambda c, f: honest(with_tables(c, f, "DELETE FROM message WHERE seq = 1")),
    "an audit row changed, forged": lambda c, f: honest(with_tables(c, f, "UPDATE audit SET actor = 'nobody' WHERE seq = 1")),
    "the last audit row gone, forged": lambda c, f: honest(
        with_tables(c, f, "DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)"),
        rows={**json.loads(c["manifest.json"])["rows"], "audit": json.loads(c["manifest.json"])["rows"]["audit"] - 1},
    ),
    "a newer schema": lambda c, _: honest(c, schema="9999"),
    "a newer format": lambda c, _: honest(c, format=99),
    "a manifest that is none": lambda c, _: {**c, "manifest.json": b"[1]"},
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_backup_is_refused_and_nothing_is_replaced(kept: Kept, tmp_path: Path, damage: str) -> None:
    packed(kept.backup, DAMAGES[damage](members(kept.backup), tmp_path))
    with pytest.raises(StoreError):
        kept.run()
    assert everything(kept.store) == kept.content
    assert not list(kept.store.parent.glob("*before*"))
    assert not list(kept.store.parent.glob("*.restor*"))
    assert not Path("/tmp/evil").exists()


async def test_a_body_that_was_exchanged_is_found_by_opening_it(kept: Kept, tmp_path: Path) -> None:
    query = "UPDATE message SET body = (SELECT body FROM message WHERE seq = 1) WHERE seq = 2"
    packed(kept.backup, honest(with_tables(members(kept.backup), tmp_path, query)))
    with pytest.raises(SealBroken):
        kept.run()
    assert everything(kept.store) == kept.content


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
async def test_a_backup_that_was_cut_off_is_refused(kept: Kept, part: float) -> None:
    content = kept.backup.read_bytes()
    kept.backup.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(StoreError, match="Nothing was replaced"):
        kept.run()
    assert everything(kept.store) == kept.content


async def test_a_file_that_is_no_backup_is_refused(kept: Kept) -> None:
    for content in (b"", b"hello", os.urandom(20_000)):
        kept.backup.write_bytes(content)
        with pytest.raises(StoreError, match="cannot be used"):
            kept.run()


async def test_another_key_is_refused(kept: Kept) -> None:
    with pytest.raises(StoreError, match="key file does not belong"):
        Restore(kept.backup, kept.store, Seal(new_key())).run(asking=[], moved=False, actor="test")
    assert everything(kept.store) == kept.content


# A restore that is killed.


class Killed(BaseException):
    """The process is gone."""


async def test_a_restore_killed_anywhere_leaves_the_old_store_or_is_brought_to_its_end(
    kept: Kept, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, unlink = Path.rename, Path.unlink
    calls, after = 0, 0

    def counted(do: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Path, *arguments: Any, **options: Any) -> Any:
            nonlocal calls
            if restore_marker(kept.store).exists():
                calls += 1
                if calls == after:
                    raise Killed
            return do(self, *arguments, **options)

        return call

    monkeypatch.setattr(Path, "rename", counted(rename))
    monkeypatch.setattr(Path, "unlink", counted(unlink))
    killed = 0
    while True:
        calls, after = 0, after + 1
        try:
            kept.run()
        except Killed:
            killed += 1
        else:
            break
        calls = -1000
        with pytest.raises(HubError) as caught:
            async with running_hub(kept.file):
                pass
        assert caught.value.code == "STO-034", "no hub starts on half of it, or with an empty store"
        with pytest.raises(StoreError):
            kept.restore().check()
        kept.run()
        async with running_hub(kept.file) as hub:
            assert len(await ask(hub, "messages.list")) == len(kept.content["message"])
    assert killed >= 4
    assert not restore_marker(kept.store).exists()
    assert not list(kept.store.parent.glob("*.restoring*"))


# The commands.


def test_the_commands_work_with_and_without_a_running_hub(world: World, tmp_path: Path, store: Path) -> None:
    file = clinic_folder(tmp_path, "connections: {}\n")
    none = run_hub("backup", tmp_path / "0.tar", "-c", file)
    assert (none.returncode, "hub run" in none.stderr) == (4, True)

    async def run() -> None:
        async with running_hub(file) as hub:
            from hub.bus.operations import Operations
            from hub.console.api import ControlSocket

            control = ControlSocket(hub, Operations(hub.core, hub))
            await control.open()
            try:
                made = await asyncio.to_thread(run_hub, "backup", tmp_path / "1.tar", "--json", "-c", file)
                assert made.returncode == 0, made.stderr
                assert json.loads(made.stdout)["rows"]["audit"] == 1, "the copy knows that it was made"
                refused = await asyncio.to_thread(run_hub, "restore", tmp_path / "1.tar", "-c", file)
                assert refused.returncode == 5, refused.stderr
                assert "STO-007" in refused.stderr
            finally:
                await control.close()

    asyncio.run(run())
    checked = run_hub("restore", tmp_path / "1.tar", "--check", "-c", file)
    assert checked.returncode == 0, checked.stderr
    done = run_hub("restore", tmp_path / "1.tar", "--json", "-c", file)
    assert done.returncode == 0, done.stderr
    assert Path(json.loads(done.stdout)["put_aside"]).exists()
    again = run_hub("backup", tmp_path / "2.tar", "-c", file)
    assert again.returncode == 0, again.stderr
    assert "the key is not in it" in again.stderr
    assert run_hub("backup", tmp_path / "2.tar", "-c", file).returncode == 5
