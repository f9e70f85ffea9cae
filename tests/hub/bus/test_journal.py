"""The one writer (sentence 3): groups of whatever waits, answers after the commit, nobody harmed by another's mistake."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hub.bus.journal import Journal
from hub.errors import Conflict, StoreBroken, StoreError, StoreFull
from hub.security.seal import Seal, new_key
from hub.store.opening import AnyStore, open_any_store
from hub.store.rows import LARGEST_GROUP, AuditRow, NewMessage, NewWork, RecordRow, Write
from tests import support
from tests.hub.bus.probe import Place, one, rows

pytestmark = pytest.mark.both_stores


@asynccontextmanager
async def journal_in(folder: Path) -> AsyncIterator[tuple[Journal, AnyStore]]:
    store = await open_any_store(support.STORE[-1], folder, Seal(new_key()))
    journal = Journal(store.writer)
    journal.start()
    try:
        yield journal, store
    finally:
        await journal.stop()
        await store.close()


def message(id: str, *, works: int = 1, size: int = 10, at: int = 1) -> NewMessage:
    return NewMessage(
        id=id, at=at, connection="c", direction="in", format="bytes", type="", control_id=id, parent=None, generation=0,
        size=size, digest=b"d", body=b"x" * size, works=[NewWork("flow:f", "lane") for _ in range(works)],
    )  # fmt: skip


def record(id: str, version: int, text: bytes = b"") -> RecordRow:
    return RecordRow("thing", id, version, 1, text)


POISON = "\ud800"


async def test_whatever_waits_goes_into_one_commit(tmp_path: Path, store: Place) -> None:
    async with journal_in(tmp_path) as (journal, _):
        futures = [journal.submit(Write(messages=[message(f"m{number}")])) for number in range(400)]
        await asyncio.gather(*futures)
        assert journal.writes == 400
        assert journal.commits < 40
        assert one(store, "SELECT count(*) FROM message") == 400


async def test_a_single_write_does_not_wait_for_company(tmp_path: Path, store: Place) -> None:
    async with journal_in(tmp_path) as (journal, _):
        for number in range(5):
            before = journal.commits
            await asyncio.wait_for(journal.commit(Write(messages=[message(f"m{number}")])), 2)
            assert journal.commits == before + 1


async def test_a_group_has_a_limit(tmp_path: Path, store: Place) -> None:
    async with journal_in(tmp_path) as (journal, _):
        await asyncio.gather(*(journal.submit(Write(messages=[message(f"m{n}")])) for n in range(LARGEST_GROUP * 3)))
        assert journal.commits >= 3


async def test_answers_come_after_the_commit_and_in_the_order_of_the_journal(tmp_path: Path, store: Place) -> None:
    async with journal_in(tmp_path) as (journal, _):
        told: list[tuple[int, int]] = []

        def on_commit(write: Write) -> None:
            told.append((write.messages[0].seq, one(store, "SELECT count(*) FROM message")))

        journal.on_commit = on_commit
        await asyncio.gather(*(journal.submit(Write(messages=[message(f"m{number}")])) for number in range(60)))
        assert [seq for seq, _ in told] == list(range(1, 61))
        assert all(on_disk >= seq for seq, on_disk in told)


async def test_seqs_and_works_are_numbered_without_gaps(tmp_path: Path, store: Place) -> None:
    async with journal_in(tmp_path) as (journal, _):
        writes = [Write(messages=[message(f"m{n}-{i}", works=2) for i in range(3)]) for n in range(30)]
        await asyncio.gather(*(journal.submit(write) for write in writes))
        assert [m.seq for write in writes for m in write.messages] == list(range(1, 91))
        assert [w.id for write in writes for m in write.messages for w in m.works] == list(range(1, 181))
        assert [id for (id,) in rows(store, "SELECT id FROM work ORDER BY id")] == list(range(1, 181))


@pytest.mark.parametrize("place", [0, 7, 19], ids=["first", "in-the-middle", "last"])
@pytest.mark.parametrize(
    "poison",
    [
        pytest.param(lambda: Write(messages=[message(POISON)]), id="no-text"),
        pytest.param(lambda: Write(messages=[message("m"), message("n", at=1 << 70)]), id="number-too-large"),
        pytest.param(lambda: Write(messages=[message("m"), None]), id="no-message"),  # type: ignore[list-item]
        pytest.param(lambda: Write(records=[record("r", 0)], keys=[(1, "kind", POISON)]), id="record-and-no-text"),
        pytest.param(lambda: Write(audit=[AuditRow(1, POISON, "look", "x")]), id="audit-row"),
    ],
)
async def test_a_poisonous_write_harms_no_other_of_its_group(
    tmp_path: Path, store: Place, place: int, poison: Callable[[], Write]
) -> None:
    async with journal_in(tmp_path) as (journal, _):
        writes = [
            Write(messages=[message(f"m{number}")], audit=[AuditRow(1, "carla", "look", f"{number}")]) for number in range(19)
        ]
        writes.insert(place, poison())
        results = await asyncio.gather(*(journal.submit(write) for write in writes), return_exceptions=True)
        assert [index for index, result in enumerate(results) if isinstance(result, BaseException)] == [place]
        assert isinstance(results[place], StoreError)
        assert not isinstance(results[place], StoreBroken)
        assert one(store, "SELECT count(*) FROM message") == one(store, "SELECT count(*) FROM audit") == 19
        assert one(store, "SELECT count(*) FROM record") == 0
        assert [write.messages[0].seq for index, write in enumerate(writes) if index != place] == list(range(1, 20))
        await journal.commit(Write(messages=[message("after")]))


async def test_a_conflict_undoes_its_own_set_and_nothing_else(tmp_path: Path, store: Place) -> None:
    async with journal_in(tmp_path) as (journal, _):
        writes = [Write(records=[record("r", 0, b"%d" % n)], messages=[message(f"m{n}")]) for n in range(10)]
        results = await asyncio.gather(*(journal.submit(write) for write in writes), return_exceptions=True)
        assert [isinstance(result, Conflict) for result in results] == [False] + [True] * 9
        assert rows(store, "SELECT id FROM message") == [("m0",)]
        assert rows(store, "SELECT id, version, body FROM record") == [("r", 1, b"0")]
        assert rows(store, "SELECT count(*) FROM work") == [(1,)]
        await journal.commit(Write(records=[record("r", 1, b"next")], messages=[message("m1")]))
        assert rows(store, "SELECT seq, id FROM message") == [(1, "m0"), (2, "m1")]


@pytest.mark.parametrize(
    ("read", "conflict"), [((1,), False), ((0,), True), ((2,), True)], ids=["as-read", "was-not-there", "older"]
)
async def test_what_was_only_read_must_not_have_changed(tmp_path: Path, store: Place, read: tuple[int], conflict: bool) -> None:
    async with journal_in(tmp_path) as (journal, _):
        await journal.commit(Write(records=[record("r", 0)]))
        late = journal.submit(Write(messages=[message("m")], reads=[("thing", "r", read[0])]))
        if conflict:
            with pytest.raises(Conflict):
                await late
        else:
            await late
        assert one(store, "SELECT count(*) FROM message") == int(not conflict)


@pytest.mark.only_sqlite
async def test_a_full_disk_fails_the_whole_group_and_is_over_when_there_is_space(tmp_path: Path, store: Place) -> None:
    async with journal_in(tmp_path) as (journal, opened):
        opened.writer.connection.execute("PRAGMA max_page_count=1")
        writes = [Write(messages=[message("small")]), Write(messages=[message("large", size=200_000)])]
        results = await asyncio.gather(*(journal.submit(write) for write in writes), return_exceptions=True)
        assert isinstance(results[1], StoreFull)
        kept = one(store, "SELECT count(*) FROM message")
        assert kept == sum(not isinstance(result, StoreFull) for result in results)
        assert journal.broken is None
        opened.writer.connection.execute("PRAGMA max_page_count=1000000")
        again = await journal.commit(writes[1])
        assert again.messages[0].seq == kept + 1, "numbers of what was not kept are given again"


async def test_what_follows_a_commit_can_fail_without_harm(tmp_path: Path, store: Place) -> None:
    """An exception in what an answer sets off must never end the writer (a trap of the prototype)."""
    async with journal_in(tmp_path) as (journal, _):

        def on_commit(write: Write) -> None:
            raise RuntimeError("the socket is gone")

        journal.on_commit = on_commit
        for number in range(3):
            await asyncio.wait_for(journal.commit(Write(messages=[message(f"m{number}")])), 2)


async def test_who_does_not_wait_any_more_harms_nobody(tmp_path: Path, store: Place) -> None:
    async with journal_in(tmp_path) as (journal, _):
        futures = [journal.submit(Write(messages=[message(f"m{number}")])) for number in range(10)]
        for future in futures[::2]:
            future.cancel()
        await asyncio.gather(*futures[1::2])
        await journal.commit(Write(messages=[message("after")]))
        assert one(store, "SELECT count(*) FROM message") == 11


async def test_a_stop_commits_what_waits(tmp_path: Path, store: Place) -> None:
    async with journal_in(tmp_path) as (journal, _):
        futures = [journal.submit(Write(messages=[message(f"m{number}")])) for number in range(100)]
        await journal.stop()
        await asyncio.wait_for(asyncio.gather(*futures), 2)
    assert one(store, "SELECT count(*) FROM message") == 100


async def test_writes_after_the_stop_fail_and_do_not_wait_for_ever(tmp_path: Path, store: Place) -> None:
    async with journal_in(tmp_path) as (journal, _):
        await journal.stop()
        with pytest.raises(StoreError):
            await asyncio.wait_for(journal.commit(Write(messages=[message("late")])), 2)


@pytest.mark.only_sqlite
async def test_no_thread_stays_behind(tmp_path: Path, store: Place) -> None:
    def ours() -> set[str]:
        return {
            name for thread in threading.enumerate() if (name := thread.name).startswith(("journal", "checkpoint", "reader"))
        }

    async with journal_in(tmp_path) as (journal, opened):
        await journal.commit(Write(messages=[message("m")]))
        await opened.reader.audit_rows()
        assert {"journal", "checkpoint"} < ours()
    assert ours() == set()


async def test_readers_cannot_write(tmp_path: Path, store: Place) -> None:
    async with journal_in(tmp_path) as (_, opened):
        with pytest.raises(Exception, match=r"read.?only"):
            await opened.reader.run(lambda connection: connection.exec_driver_sql("DELETE FROM message"))


async def test_readers_wait_for_no_writer_and_see_no_part_of_a_group(tmp_path: Path, store: Place) -> None:
    async with journal_in(tmp_path) as (journal, opened):
        stop = False
        seen: set[tuple[int, int]] = set()

        async def look() -> None:
            query = "SELECT (SELECT count(*) FROM message), (SELECT count(*) FROM work)"
            while not stop:
                seen.add(tuple(await opened.reader.run(lambda c: c.exec_driver_sql(query).one())))

        looking = asyncio.create_task(look())
        for number in range(40):
            await journal.commit(Write(messages=[message(f"m{number}-{i}", works=2) for i in range(5)]))
        stop = True
        await looking
        assert all(works == 2 * messages and messages % 5 == 0 for messages, works in seen)
        assert len(seen) > 2


@pytest.mark.only_sqlite
async def test_the_write_ahead_log_is_folded_in_outside_of_commits(tmp_path: Path, store: Place) -> None:
    """Otherwise a commit waits for it: 51 ms at two million rows."""
    async with journal_in(tmp_path) as (journal, _):
        for number in range(30):
            await journal.commit(Write(messages=[message(f"m{number}", size=50_000)]))
        wal = (store.with_name("hub.db-wal")).stat().st_size
        end = time.monotonic() + 3
        while (store).stat().st_size < 1_500_000 and time.monotonic() < end:
            await asyncio.sleep(0.05)
        assert (store).stat().st_size >= 1_500_000, "nothing was folded in"
        await journal.commit(Write(messages=[message("after", size=50_000)]))
        assert (store.with_name("hub.db-wal")).stat().st_size <= wal + 200_000, "the log begins again at its start"


@pytest.mark.only_sqlite
async def test_a_long_look_does_not_stop_the_writer(tmp_path: Path, store: Place) -> None:
    async with journal_in(tmp_path) as (journal, opened):
        await journal.commit(Write(messages=[message("m")]))
        hold, held = threading.Event(), threading.Event()

        def long_look(connection: object) -> int:
            count = connection.exec_driver_sql("SELECT count(*) FROM message").scalar()  # type: ignore[attr-defined]
            held.set()
            hold.wait(5)
            return int(count)

        looking = asyncio.ensure_future(opened.reader.run(long_look))
        try:
            await asyncio.to_thread(held.wait, 5)
            for number in range(50):
                await asyncio.wait_for(journal.commit(Write(messages=[message(f"n{number}")])), 2)
        finally:
            hold.set()
            with contextlib.suppress(Exception):
                await looking
