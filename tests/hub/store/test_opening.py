"""Opening a store (sentence 2): durable or not at all, one hub at a time, with its own key, with a schema the program knows."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from hub.errors import HubError, Refused, StoreError
from hub.security.seal import Seal, SealBroken, new_key
from hub.store import opening
from hub.store.opening import Store, StoreLock, open_store
from hub.store.schema import HEAD, metadata
from hub.store.sqlite import connect

KEY = new_key()


async def opened(folder: Path, key: bytes = KEY, url: str = "sqlite:///hub.db") -> Store:
    return open_store(url, folder, Seal(key))


def query(file: Path, text: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(file)
    try:
        with connection:
            return connection.execute(text).fetchall()
    finally:
        connection.close()


# Durable or not at all.


async def test_the_writer_runs_with_a_log_and_full_syncs(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    run = store.writer.connection.execute
    assert run("PRAGMA journal_mode").fetchone() == ("wal",)
    assert run("PRAGMA synchronous").fetchone()[0] >= 2, "NORMAL lost 13 % of what was acknowledged in a power cut"
    await store.close()


def test_a_store_that_cannot_have_a_log_is_refused() -> None:
    with pytest.raises(StoreError, match="WAL mode with synchronous=FULL, but it is memory") as caught:
        connect(Path(":memory:"))
    assert caught.value.code == "STO-006"
    assert "local disk" in str(caught.value), "it says what to do"


@pytest.mark.parametrize(("version", "refused"), [((3, 34, 1), True), ((3, 35, 0), False)], ids=["3.34.1", "3.35.0"])
def test_an_old_sqlite_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int], refused: bool
) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
    monkeypatch.setattr(sqlite3, "sqlite_version", ".".join(map(str, version)))
    if not refused:
        connect(tmp_path / "hub.db").close()
        return
    with pytest.raises(StoreError, match=r"SQLite is 3\.34\.1; the hub needs 3\.35\.0 or newer. Use a newer Python") as caught:
        connect(tmp_path / "hub.db")
    assert caught.value.code == "STO-005"


async def test_a_store_that_was_made_without_a_log_gets_one(tmp_path: Path) -> None:
    query(tmp_path / "hub.db", "PRAGMA journal_mode=DELETE")
    store = await opened(tmp_path)
    await store.close()
    assert query(tmp_path / "hub.db", "PRAGMA journal_mode") == [("wal",)]


# One hub at a time.


async def test_a_second_hub_on_the_same_store_is_refused(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    with pytest.raises(Refused, match="another hub is using the store") as caught:
        await opened(tmp_path)
    assert caught.value.code == "STO-007"
    await store.close()
    await (await opened(tmp_path)).close()


async def test_a_second_hub_under_another_name_of_the_store_is_refused(tmp_path: Path) -> None:
    """Two writers on one database, each with numbers of its own, would ruin it."""
    store = await opened(tmp_path)
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "other.db").symlink_to(tmp_path / "hub.db")
    (tmp_path / "folder").symlink_to(tmp_path)
    try:
        for url in ("sqlite:///folder/hub.db", "sqlite:///link/../hub.db", "sqlite:///link/other.db"):
            with pytest.raises(Refused):
                await (await opened(tmp_path, url=url)).close()
    finally:
        await store.close()


async def test_a_hub_in_another_process_is_refused_too_and_its_death_frees_the_store(tmp_path: Path) -> None:
    await (await opened(tmp_path)).close()
    lock = tmp_path / "hub.db.lock"
    script = f"""
import sys
from pathlib import Path
from hub.store.opening import StoreLock
lock = StoreLock(Path({str(lock)!r}))
lock.take()
print("taken", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"taken\n"
        assert lock.read_text() == f"{other.pid}\n", "it says who has it"
        with pytest.raises(Refused):
            await opened(tmp_path)
        other.kill()
    await (await opened(tmp_path)).close()


async def test_a_lock_file_that_was_left_behind_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "hub.db.lock").write_text("999999\n")
    await (await opened(tmp_path)).close()


@pytest.mark.parametrize("trouble", ["wrong-key", "newer", "no-database"])
async def test_the_lock_is_given_back_when_the_store_cannot_be_opened(tmp_path: Path, trouble: str) -> None:
    if trouble == "no-database":
        (tmp_path / "hub.db").write_bytes(b"this is no database at all" * 100)
    else:
        await (await opened(tmp_path)).close()
    if trouble == "newer":
        query(tmp_path / "hub.db", "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError):
        await opened(tmp_path, new_key() if trouble == "wrong-key" else KEY)
    lock = StoreLock(tmp_path / "hub.db.lock")
    lock.take()
    lock.release()


# Its own key.


async def test_another_key_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    await (await opened(tmp_path)).close()
    before = query(tmp_path / "hub.db", "SELECT * FROM info"), query(tmp_path / "hub.db", "SELECT * FROM data_key")
    with pytest.raises(StoreError, match="does not belong to this store") as caught:
        await opened(tmp_path, new_key())
    assert caught.value.code == "STO-009"
    assert (query(tmp_path / "hub.db", "SELECT * FROM info"), query(tmp_path / "hub.db", "SELECT * FROM data_key")) == before


async def test_nothing_of_the_key_is_in_the_store(tmp_path: Path) -> None:
    await (await opened(tmp_path)).close()
    stored = (tmp_path / "hub.db").read_bytes()
    assert KEY not in stored
    assert KEY.hex().encode() not in stored


async def test_a_data_key_that_was_exchanged_is_noticed(tmp_path: Path) -> None:
    await (await opened(tmp_path)).close()
    [(number, _)] = query(tmp_path / "hub.db", "SELECT number, wrapped FROM data_key ORDER BY number LIMIT 1")
    foreign = Seal(new_key()).new_data_key(number)
    query(tmp_path / "hub.db", f"UPDATE data_key SET wrapped = x'{foreign.hex()}' WHERE number = {number}")
    with pytest.raises(SealBroken):
        await opened(tmp_path)


async def test_there_are_data_keys_for_today_and_tomorrow_before_anything_is_sealed(tmp_path: Path) -> None:
    before = datetime.now(UTC).date()
    await (await opened(tmp_path)).close()
    numbers = [number for (number,) in query(tmp_path / "hub.db", "SELECT number FROM data_key ORDER BY number")]
    assert numbers[0] in (int(before.strftime("%Y%m%d")), int(datetime.now(UTC).strftime("%Y%m%d")))
    assert len(numbers) == 2
    await (await opened(tmp_path)).close()
    assert len(query(tmp_path / "hub.db", "SELECT number FROM data_key")) == 2, "a restart makes no others"


# A schema the program knows.


async def test_a_store_of_a_newer_hub_is_refused_untouched(tmp_path: Path) -> None:
    await (await opened(tmp_path)).close()
    query(tmp_path / "hub.db", "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match=r"newer hub \(schema 9999\); update this one") as caught:
        await opened(tmp_path)
    assert caught.value.code == "STO-008"
    assert query(tmp_path / "hub.db", "SELECT version_num FROM alembic_version") == [("9999",)]


def test_the_program_works_with_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(opening.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


async def test_the_migrations_make_what_the_program_expects(tmp_path: Path) -> None:
    await (await opened(tmp_path)).close()
    engine = create_engine(f"sqlite:///{tmp_path / 'hub.db'}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


async def test_a_store_of_the_first_schema_is_brought_up_to_date(tmp_path: Path) -> None:
    await (await opened(tmp_path)).close()
    whole = described(tmp_path / "hub.db")
    query(tmp_path / "hub.db", "DROP INDEX record_key_content")
    query(tmp_path / "hub.db", "UPDATE alembic_version SET version_num = '0001'")
    query(tmp_path / "hub.db", "INSERT INTO record_key VALUES ('document', '=content', 'f', 'D-1', 0)")
    await (await opened(tmp_path)).close()
    assert described(tmp_path / "hub.db") == whole
    assert query(tmp_path / "hub.db", "SELECT count(*) FROM record_key") == [(1,)]


def described(file: Path) -> dict[str, Any]:
    """Columns of every table and every index with its condition, which Alembic does not compare."""
    names = [
        name for (name,) in query(file, "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    ]
    found: dict[str, Any] = {name: query(file, f"PRAGMA table_xinfo({name})") for name in names if name != "alembic_version"}
    for name, text in query(file, "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"):
        found[f"index {name}"] = re.sub(r"[\s\"()]+", " ", text)
    for (text,) in query(file, "SELECT sql FROM sqlite_master WHERE type = 'table' AND sql LIKE '%WITHOUT ROWID%'"):
        found["without rowid " + text.split()[2].strip('"')] = True
    return found


async def test_a_migrated_store_is_the_same_as_one_made_at_once(tmp_path: Path) -> None:
    await (await opened(tmp_path)).close()
    engine = create_engine(f"sqlite:///{tmp_path / 'fresh.db'}")
    metadata.create_all(engine)
    engine.dispose()
    assert described(tmp_path / "hub.db") == described(tmp_path / "fresh.db")


async def test_a_migration_that_fails_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    """Somebody else's database, with a table of a name we use too."""
    query(tmp_path / "hub.db", "CREATE TABLE counter (theirs TEXT)")
    query(tmp_path / "hub.db", "INSERT INTO counter VALUES ('precious')")
    with pytest.raises(HubError):
        await opened(tmp_path)
    assert query(tmp_path / "hub.db", "SELECT name FROM sqlite_master WHERE type = 'table'") == [("counter",)]
    assert query(tmp_path / "hub.db", "SELECT * FROM counter") == [("precious",)]


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda file: file.write_bytes(b"no database" * 1000), id="no-database"),
        pytest.param(lambda file: file.mkdir(), id="a-folder"),
        pytest.param(lambda file: file.symlink_to("/proc/none/hub.db"), id="a-link-to-nowhere"),
    ],
)
async def test_what_is_no_store_is_refused_with_words(tmp_path: Path, make: Any) -> None:
    make(tmp_path / "hub.db")
    with pytest.raises(StoreError, match="cannot be opened"):
        await opened(tmp_path)


async def test_a_store_in_a_folder_that_cannot_be_made_is_refused_with_words(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match="cannot be opened"):
        await opened(tmp_path, url="sqlite:///var/hub.db")


async def test_the_store_is_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        store = await opened(tmp_path)
        store.writer.connection.execute("INSERT INTO counter VALUES ('x', 1)")
        for name in ("hub.db", "hub.db-wal", "hub.db-shm"):
            assert (tmp_path / name).stat().st_mode & 0o077 == 0, name
        await store.close()
    finally:
        os.umask(before)
