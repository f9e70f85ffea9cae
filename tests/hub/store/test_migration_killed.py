"""A migration that is killed anywhere leaves the store as it was; the next start does it again, and nothing is lost."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.security.seal import Seal, new_key
from hub.store import opening
from hub.store.opening import open_store
from tests.support import ROOT

KILLS = 40 if os.environ.get("CLINIC_HUB_LONG") else 4
MESSAGES = 12_000
LATER = '''
"""A column more for every message, and what it says worked out for all of them."""

import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{head}"


def upgrade() -> None:
    with op.batch_alter_table("message", recreate="always") as table:
        table.add_column(sa.Column("length", sa.Integer, nullable=False, server_default="0"))
    op.execute("UPDATE message SET length = length(body)")
    op.create_index("message_length", "message", ["length", "seq"])
'''
PROGRAM = """
import asyncio, sys
from pathlib import Path
from hub.security.seal import Seal
from hub.store import opening

opening.MIGRATIONS, opening.HEAD = Path(sys.argv[2]), "9999"

async def main():
    print("begins", flush=True)
    store = opening.open_store("sqlite:///hub.db", Path(sys.argv[1]), Seal(bytes.fromhex(sys.argv[3])))
    print("done", flush=True)
    await store.close()

asyncio.run(main())
"""
KEY = new_key()


@contextlib.contextmanager
def tables(file: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(file, isolation_level=None, timeout=10)
    try:
        yield connection
    finally:
        connection.close()


@pytest.fixture(scope="module")
def migrations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The migrations of a later program."""
    folder = tmp_path_factory.mktemp("later") / "migrations"
    shutil.copytree(opening.MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / "9999_later.py").write_text(LATER.replace("{head}", opening.HEAD))
    return folder


@pytest.fixture
async def filled(tmp_path: Path) -> Path:
    """A store with some thousand messages."""
    await open_store("sqlite:///hub.db", tmp_path, Seal(KEY)).close()
    with tables(tmp_path / "hub.db") as connection:
        names = [name for _, name, *_ in connection.execute("PRAGMA table_info(message)")]
        values = {"at": "value", "id": "'M' || value", "size": "1000", "body": "randomblob(1000)", "digest": "randomblob(16)"}
        numbers = ("seq", "generation", "keep")
        columns = [values.get(name, "value" if name in numbers else "NULL" if name in _EMPTY else "'x'") for name in names]
        rows = f"WITH n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < {MESSAGES})"
        connection.execute(f"{rows} INSERT INTO message SELECT {', '.join(columns)} FROM n")
    return tmp_path


_EMPTY = ("parent", "state", "reason", "flag", "file")


def fingerprint(file: Path) -> tuple[str, str]:
    """The schema a store is at, and a digest of what it holds, read after whatever a crash left was put right."""
    with tables(file) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        [(version,)] = connection.execute("SELECT version_num FROM alembic_version")
        digest = hashlib.sha256()
        for row in connection.execute("SELECT seq, id, at, connection, size, digest, body FROM message ORDER BY seq"):
            digest.update(repr(row).encode())
        return version, digest.hexdigest()


def start(folder: Path, migrations: Path) -> subprocess.Popen[bytes]:
    found = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), str(migrations), KEY.hex()],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert found.stdout is not None
    assert found.stdout.readline() == b"begins\n"
    return found


def log_of(file: Path) -> int:
    """Bytes of the write-ahead log: how far a migration has come."""
    try:
        return file.with_name(file.name + "-wal").stat().st_size
    except FileNotFoundError:
        return 0


def how_much_is_written(folder: Path, migrations: Path) -> int:
    """The largest log while a migration runs to its end."""
    process, most = start(folder, migrations), 0
    while process.poll() is None:
        most = max(most, log_of(folder / "hub.db"))
        time.sleep(0.001)
    out, err = process.communicate()
    assert out == b"done\n", err
    return most


def test_a_migration_that_is_killed_is_done_again_and_nothing_is_lost(filled: Path, migrations: Path) -> None:
    file, chance = filled / "hub.db", random.Random(1)
    before = fingerprint(file)
    trial = filled / "trial"
    trial.mkdir()
    shutil.copy(file, trial / "hub.db")
    written = how_much_is_written(trial, migrations)
    assert written > MESSAGES * 1000
    assert fingerprint(trial / "hub.db") == ("9999", before[1])
    cut_short = 0
    for kill in range(KILLS):
        process = start(filled, migrations)
        while process.poll() is None and log_of(file) < written * (kill + chance.random()) / KILLS:
            time.sleep(0.0005)
        process.kill()
        out, _ = process.communicate(timeout=30)
        version, content = fingerprint(file)
        assert content == before[1]
        if version == "9999":
            break
        assert out == b""
        with tables(file) as connection:
            leftovers = connection.execute("SELECT name FROM sqlite_master WHERE name LIKE '%alembic_tmp%'").fetchall()
            assert leftovers == []
        cut_short += 1
    assert cut_short >= KILLS // 2
    out, err = start(filled, migrations).communicate(timeout=60)
    assert out == b"done\n", err
    assert fingerprint(file) == ("9999", before[1])
    with tables(file) as connection:
        assert connection.execute("SELECT count(*) FROM message WHERE length = length(body)").fetchone() == (MESSAGES,)


def test_the_program_before_refuses_the_store_afterwards(filled: Path, migrations: Path) -> None:
    out, err = start(filled, migrations).communicate(timeout=60)
    assert out == b"done\n", err
    with pytest.raises(opening.StoreError, match="newer hub"):
        open_store("sqlite:///hub.db", filled, Seal(KEY))
    assert fingerprint(filled / "hub.db")[0] == "9999"
