"""The writer of SQLite in a process of its own: the same promises as in a thread, and the end of either is the end of both."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hub.bus.apart import ProcessEngine
from hub.bus.journal import Journal
from hub.errors import Conflict, Refused, StoreBroken, StoreError, Unkept
from hub.security.seal import Seal, new_key
from hub.store.opening import Store, StoreLock, open_store
from hub.store.rows import Mark, NewMessage, NewWork, RecordRow, Write
from tests.support import until

pytestmark = pytest.mark.skipif(os.name != "posix", reason="elsewhere the writer is a thread")


@asynccontextmanager
async def journal_in(folder: Path) -> AsyncIterator[tuple[Journal, Store]]:
    store = open_store("sqlite:///hub.db", folder, Seal(new_key()))
    journal = Journal(store.writer, lock=store.lock.descriptor)
    journal.start()
    try:
        yield journal, store
    finally:
        await journal.stop()
        await store.close()


def message(id: str, seen: bytes | None = None) -> NewMessage:
    return NewMessage(
        id=id, at=1, connection="c", direction="in", format="bytes", type="", control_id=id, parent=None, generation=0, size=1,
        digest=b"d", body=b"x", works=[NewWork("flow:f", "lane")], seen_key=seen,
    )  # fmt: skip


def count(store: Store, what: str) -> int:
    return int(store.writer.connection.execute(f"SELECT count(*) FROM {what}").fetchone()[0])


async def process_of(journal: Journal) -> int:
    engine = journal.engine
    assert isinstance(engine, ProcessEngine)
    await until(lambda: engine._process is not None)
    assert engine._process is not None
    return engine._process.pid


async def test_what_is_kept_has_its_numbers_and_is_on_disk(tmp_path: Path) -> None:
    async with journal_in(tmp_path) as (journal, store):
        writes = [Write(messages=[message(f"m{number}")]) for number in range(1500)]
        await asyncio.gather(*(journal.submit(write) for write in writes))
        assert [write.messages[0].seq for write in writes] == list(range(1, 1501))
        assert [write.messages[0].works[0].id for write in writes] == list(range(1, 1501))
        assert count(store, "message") == 1500
        assert journal.writes == 1500
        assert journal.commits < 1500
        assert journal.waiting == 0
        await journal.commit(Write(marks=[Mark(7, "delivered", 2)]))
        assert count(store, "work WHERE state = 'delivered'") == 1


async def test_a_resend_is_recognised(tmp_path: Path) -> None:
    async with journal_in(tmp_path) as (journal, _):
        await journal.commit(Write(messages=[message("m1", b"key")]))
        again = Write(messages=[message("m2", b"key")])
        await journal.commit(again)
        assert (again.messages[0].duplicate, again.messages[0].seq) == (True, 1)


async def test_what_fails_alone_harms_nobody(tmp_path: Path) -> None:
    async with journal_in(tmp_path) as (journal, store):
        record = RecordRow("thing", "1", 0, 1, b"")
        await journal.commit(Write(records=[record]))
        outcomes = await asyncio.gather(
            journal.submit(Write(messages=[message("before")])),
            journal.submit(Write(records=[record])),
            journal.submit(Write(messages=[message("no text", seen=object())])),  # type: ignore[arg-type]
            journal.submit(Write(messages=[message("half a \ud800 character")])),
            journal.submit(Write(messages=[message("after")])),
            return_exceptions=True,
        )
        assert [type(outcome) for outcome in outcomes] == [Write, Conflict, Unkept, Unkept, Write]
        assert count(store, "message") == 2


async def test_without_its_writer_nothing_is_kept_and_the_hub_hears_of_it(tmp_path: Path) -> None:
    async with journal_in(tmp_path) as (journal, store):
        heard: list[StoreError] = []
        journal.on_broken = heard.append
        await journal.commit(Write(messages=[message("m1")]))
        os.kill(await process_of(journal), signal.SIGKILL)
        await until(lambda: heard)
        with pytest.raises(StoreBroken, match="the process that writes the store has ended"):
            await journal.commit(Write(messages=[message("m2")]))
        assert [type(error) for error in heard] == [StoreBroken]
        assert count(store, "message") >= 1


async def test_signals_are_for_the_hub(tmp_path: Path) -> None:
    """A terminal or systemd sends them to all processes: what the hub drains is kept all the same."""
    async with journal_in(tmp_path) as (journal, store):
        await journal.commit(Write(messages=[message("m1")]))
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(await process_of(journal), number)
        await journal.commit(Write(messages=[message("m2")]))
        assert count(store, "message") == 2


async def test_a_stop_commits_what_waits_and_leaves_no_process(tmp_path: Path) -> None:
    async with journal_in(tmp_path) as (journal, store):
        futures = [journal.submit(Write(messages=[message(f"m{number}")])) for number in range(1000)]
        process = await process_of(journal)
        await journal.stop()
        await asyncio.gather(*futures)
        assert count(store, "message") == 1000
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


async def test_a_python_that_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    async with journal_in(tmp_path) as (journal, _):
        with pytest.raises(StoreBroken, match="the writer could not be started"):
            await journal.commit(Write(messages=[message("m1")]))


async def test_a_store_that_the_writer_cannot_open_breaks_the_journal_in_words(tmp_path: Path) -> None:
    async with journal_in(tmp_path) as (journal, store):
        engine = journal.engine
        assert isinstance(engine, ProcessEngine)
        engine._path = tmp_path / "gone" / "hub.db"
        with pytest.raises(StoreBroken, match="the writer cannot open the store"):
            await journal.commit(Write(messages=[message("m1")]))
        assert count(store, "message") == 0


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from hub.bus.journal import Journal
from hub.security.seal import Seal
from hub.store.opening import open_store
from tests.hub.bus.test_apart import message, process_of
from hub.store.rows import Write

async def main():
    store = open_store("sqlite:///hub.db", Path(sys.argv[1]), Seal(bytes(32)))
    journal = Journal(store.writer, lock=store.lock.descriptor)
    journal.start()
    await journal.commit(Write(messages=[message("first")]))
    os.kill(await process_of(journal), signal.SIGSTOP)  # it is slow
    for number in range(300):
        journal.submit(Write(messages=[message(f"m{number}")]))
    await asyncio.sleep(0.1)
    print(await process_of(journal), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def test_the_writer_of_a_killed_hub_ends_before_another_hub_begins(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path], stdout=subprocess.PIPE, timeout=60, check=False)
    writer = int(done.stdout)
    with StoppedUntil(writer, 0.5):
        began = time.monotonic()
        store = open_store("sqlite:///hub.db", tmp_path, Seal(bytes(32)))
        assert time.monotonic() - began >= 0.4, "it has waited"
    assert count(store, "message") == 301, "what the writer had been given is there"
    store.writer.close()
    store.lock.release()


class StoppedUntil:
    """Lets a process that was stopped go on after some seconds."""

    def __init__(self, process: int, seconds: float) -> None:
        self._starter = subprocess.Popen(["/bin/sh", "-c", f"sleep {seconds}; kill -CONT {process}"])

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        self._starter.wait(10)


def test_a_hub_that_runs_is_not_waited_for(tmp_path: Path) -> None:
    first, second = StoreLock(tmp_path / "hub.db.lock"), StoreLock(tmp_path / "hub.db.lock")
    first.take()
    began = time.monotonic()
    with pytest.raises(Refused, match="another hub is using the store"):
        second.take()
    assert time.monotonic() - began < 1
    first.release()
    second.take()
    second.release()
