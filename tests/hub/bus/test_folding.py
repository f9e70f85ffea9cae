"""The write-ahead log is folded in beside the commits, stays short, and never in the way older SQLite cannot bear."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from hub.bus.engines import ThreadEngine
from hub.bus.journal import Journal
from hub.security.seal import Seal, new_key
from hub.store import committing
from hub.store.committing import Committer
from hub.store.opening import Store, open_store
from hub.store.rows import AuditRow, Write
from tests.support import until

PAGE = 4096


async def committed(journal: Journal, count: int, size: int = 1000) -> None:
    for _ in range(count):
        await journal.commit(Write(audit=[AuditRow(1, "test", "test", "x" * size)]))


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committing, "CHECKPOINT_EVERY", 0.002)


def opened(folder: Path) -> tuple[Store, Journal, Committer]:
    store = open_store("sqlite:///hub.db", folder, Seal(new_key()))
    journal = Journal(store.writer)
    assert isinstance(journal.engine, ThreadEngine)
    journal.start()
    return store, journal, journal.engine.committer


async def test_no_checkpoint_begins_on_a_log_that_is_folded_in_already_while_commits_go_on(
    often: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault needs that; see committing.py."""
    fold_in = committing.checkpoint
    beside: list[int] = []
    total = 0

    def watched(connection: sqlite3.Connection) -> int:
        nonlocal total
        if not committer._committing.locked():
            beside.append(total - at_end[-1])
        return fold_in(connection)

    at_end = [0]
    """Commits there were whenever a checkpoint had ended."""
    monkeypatch.setattr(committing, "checkpoint", watched)
    store, journal, committer = opened(tmp_path)
    apply: Callable[..., None] = store.writer.apply

    def counted(writes: list[Write]) -> None:
        nonlocal total
        apply(writes)
        total += 1

    monkeypatch.setattr(store.writer, "apply", counted)
    original = committer._fold_in

    def and_then(connection: sqlite3.Connection) -> None:
        had = committer._unfolded
        original(connection)
        if had:
            at_end.append(total)

    monkeypatch.setattr(committer, "_fold_in", and_then)
    for _ in range(30):
        await committed(journal, 10)
        await asyncio.sleep(0.005)  # idle for a few looks of the other thread
    await journal.stop()
    await store.close()
    assert len(beside) >= 5
    assert min(beside) >= 1, "each followed a commit that the one before had not seen"


async def test_the_log_stays_short_under_load_and_is_begun_anew(
    often: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committing, "LONGEST_LOG", 100)
    store, journal, _ = opened(tmp_path)
    log = store.path.with_name("hub.db-wal")
    await committed(journal, 600, size=8000)
    written = 600 * 3 * PAGE
    assert log.stat().st_size < written / 3, "it was begun anew again and again"
    await journal.stop()
    await store.close()


async def test_the_writer_makes_no_checkpoints_of_its_own(tmp_path: Path) -> None:
    store, journal, _ = opened(tmp_path)
    assert store.writer.connection.execute("PRAGMA wal_autocheckpoint").fetchone() == (0,)
    await journal.stop()
    await store.close()


async def test_a_checkpoint_that_fails_is_made_again(often: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fold_in, failed, made = committing.checkpoint, [], []

    def failing(connection: sqlite3.Connection) -> int:
        if not failed:
            failed.append(True)
            raise sqlite3.OperationalError("disk I/O error")
        made.append(True)
        return fold_in(connection)

    monkeypatch.setattr(committing, "checkpoint", failing)
    store, journal, _ = opened(tmp_path)
    await committed(journal, 3)
    await until(lambda: failed)
    await committed(journal, 3)
    await until(lambda: made)
    assert journal.broken is None
    await journal.stop()
    await store.close()
