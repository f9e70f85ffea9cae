"""The store on PostgreSQL: what it promises beside what the tests of the bus ask of both stores."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from hub.bus.journal import Journal
from hub.errors import StoreBroken, StoreError, StoreFull
from hub.security.seal import Seal, new_key
from hub.store.batch import PARTS, fitting, statement
from hub.store.leases import Leases
from hub.store.opening import AnyStore, open_any_store
from hub.store.postgres import PLANS, connect
from hub.store.postgres_reader import PostgresReader
from hub.store.reader import MessageFilter
from hub.store.rows import Answered, AuditRow, DueRow, Mark, NewMessage, NewWork, RecordRow, Removal, Write
from hub.store.schema import metadata
from hub.store.sqlite import verify_audit
from tests.postgres import Server, execute, query, running_server
from tests.support import until

KEY = new_key()


@pytest.fixture
def url(fresh_database: Callable[[], str]) -> str:
    return fresh_database()


@asynccontextmanager
async def journal_on(url: str, folder: Path, key: bytes = KEY) -> AsyncIterator[tuple[Journal, AnyStore]]:
    store = await open_any_store(url, folder, Seal(key))
    journal = Journal(store.writer)
    journal.start()
    try:
        yield journal, store
    finally:
        await journal.stop()
        await store.close()


def message(id: str, *, seen: bytes | None = None, digest: bytes = b"d", works: int = 1) -> NewMessage:
    return NewMessage(
        id=id, at=1, connection="c", direction="in", format="bytes", type="ADT^A04", control_id=id, parent=None, generation=0,
        size=4, digest=digest, body=b"body", works=[NewWork("flow:f", f"lane{id}") for _ in range(works)], seen_key=seen,
        keys=[("control", id)],
    )  # fmt: skip


# The statement.


async def test_no_part_of_the_statement_looks_through_a_whole_table(url: str) -> None:
    """A plan made while a table was empty went through all of it later: 11 ms for each commit, and growing."""
    connection = await connect(url, **PLANS)
    try:
        for part in PARTS:
            text = statement((part,))
            nothing = ", ".join(["NULL"] * (text.count("[]") + 4))
            await connection.execute(f"PREPARE {part} AS {text}")
            plan = [line for (line,) in await connection.fetch(f"EXPLAIN EXECUTE {part} ({nothing})")]
            assert not any("Seq Scan" in line or "JIT" in line or "Hash Join" in line for line in plan), "\n".join(plan)
    finally:
        await connection.close()


async def test_the_writer_has_no_plans_of_its_own_for_each_value_and_no_jit(url: str) -> None:
    connection = await connect(url, **PLANS)
    try:
        for name, value in PLANS.items():
            assert await connection.fetchval("SELECT current_setting($1)", name) == value
        assert await connection.fetchval("SELECT current_setting('synchronous_commit')") == "on"
    finally:
        await connection.close()


def test_writes_that_touch_the_same_row_go_into_different_groups() -> None:
    one = Write(marks=[Mark(7, "parked", 1, asks=1)])
    assert fitting([one, Write(marks=[Mark(8, "delivered", 1)]), Write(answered=[Answered(7, 1)])]) == 2
    assert fitting([Write(messages=[message("a", seen=b"k")]), Write(messages=[message("b", seen=b"k")])]) == 1
    assert fitting([Write(records=[RecordRow("t", "r", 0, 1, b"")]), Write(reads=[("t", "r", 0)])]) == 1
    assert fitting([Write(reads=[("t", "r", 0)]), Write(records=[RecordRow("t", "r", 0, 1, b"")])]) == 2
    assert fitting([Write(messages=[message("a")]), Write(removal=Removal()), Write(messages=[message("b")])]) == 1
    assert fitting([Write(removal=Removal()), Write()]) == 1


async def test_a_batch_file_that_has_a_message_twice_keeps_it_once(url: str, tmp_path: Path) -> None:
    async with journal_on(url, tmp_path) as (journal, _):
        first, second, other = message("a", seen=b"k"), message("b", seen=b"k"), message("c", seen=b"k", digest=b"x")
        await journal.commit(Write(messages=[first, second, other]))
        assert (first.duplicate, second.duplicate, second.seq == first.seq) == (False, True, True)
        assert other.flag == "reused control id"
        again = message("d", seen=b"k")
        await journal.commit(Write(messages=[again]))
        assert (again.duplicate, again.seq) == (True, first.seq)
    assert query(url, "SELECT id FROM message ORDER BY seq") == [("a",), ("c",)]
    assert query(url, "SELECT count(*) FROM work") == [(2,)]


async def test_numbers_are_never_given_twice_when_two_ask(url: str, tmp_path: Path) -> None:
    async with journal_on(url, tmp_path) as (journal, _):
        results = await asyncio.gather(
            *(journal.submit(Write(counters=[("isa", 100)])) for _ in range(2)), return_exceptions=True
        )
        assert [isinstance(result, StoreError) for result in results] == [False, True]


async def test_the_audit_chain_holds_and_retention_leaves_it_whole(url: str, tmp_path: Path) -> None:
    async with journal_on(url, tmp_path) as (journal, store):
        rows = [Write(audit=[AuditRow(n, "carla", "look", str(n))], due=[DueRow("j", str(n), n, b"x")]) for n in range(20)]
        await asyncio.gather(*(journal.submit(row) for row in rows))
        assert verify_audit(await store.reader.audit_rows()) is None
        removal = Removal(audit=5, seen=(10, 10), jobs=1)
        await journal.commit(Write(removal=removal))
        assert removal.removed == 5
        start = bytes.fromhex(query(url, "SELECT value FROM info WHERE name = 'audit_start'")[0][0])
        assert verify_audit(await store.reader.audit_rows(), start) is None
        await journal.commit(Write(audit=[AuditRow(30, "carla", "look", "30")]))
        assert verify_audit(await store.reader.audit_rows(), start) is None


async def test_retention_takes_messages_with_all_that_belongs_to_them_and_leaves_what_is_open(url: str, tmp_path: Path) -> None:
    async with journal_on(url, tmp_path) as (journal, _):
        kept = [message(name) for name in "abc"]
        await journal.commit(Write(messages=kept))
        await journal.commit(Write(marks=[Mark(m.works[0].id, "delivered", 5) for m in kept[:2]]))
        removal = Removal(bodies=[m.seq for m in kept], messages=[kept[0].seq, kept[2].seq], attempts=[(1, 1)])
        await journal.commit(Write(removal=removal))
        assert removal.removed == 3
    assert query(url, "SELECT id, body IS NULL FROM message ORDER BY seq") == [("b", True), ("c", False)]
    assert query(url, "SELECT count(*) FROM message_key") == [(2,)]


async def test_queries_find_by_prefix_and_by_time_whatever_the_language_of_the_database(url: str, tmp_path: Path) -> None:
    async with journal_on(url, tmp_path) as (journal, store):
        await journal.commit(Write(messages=[message("a"), message("Z")]))
        assert len(await store.reader.list_messages(MessageFilter(type="ADT^*"))) == 2
        assert len(await store.reader.list_messages(MessageFilter(since=1, keys=[(("control",), "Z")]))) == 1
        assert await store.reader.list_messages(MessageFilter(since=2)) == []
        for state in ("waiting", "delivered", "quarantined", "refused", "held"):
            assert len(await store.reader.list_messages(MessageFilter(state=state))) == (2 if state == "waiting" else 0)
        assert await store.reader.last_messages() == {"c": 1}


# A server that goes and comes back.


async def test_a_restart_of_the_server_under_load_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    with running_server() as server:
        url = server.database("hub")
        async with journal_on(url, tmp_path) as (journal, store):
            acknowledged: list[NewMessage] = []
            going_on = True

            async def sender(name: str) -> None:
                number = 0
                while going_on:
                    number += 1
                    write = await journal.commit(Write(messages=[message(f"{name}-{number}")]))
                    assert query_has(write)
                    acknowledged.append(write.messages[0])

            def query_has(write: Write) -> bool:
                return write.messages[0].seq > 0 and write.messages[0].works[0].id > 0

            senders = [asyncio.create_task(sender(f"s{number}")) for number in range(16)]
            for _ in range(3):
                await asyncio.sleep(0.2)
                await asyncio.to_thread(server.stop)
                before = len(acknowledged)
                assert await asyncio.wait_for(_answers_full(journal, store), 5)
                await asyncio.to_thread(server.start)
                async with asyncio.timeout(10):
                    while len(acknowledged) < before + 100:
                        await asyncio.sleep(0.01)
            going_on = False
            await asyncio.gather(*senders)
            assert len(await store.reader.open_work("flow:f", 0, 10)) == 10, "readers come back too"
        stored = query(url, "SELECT m.id, m.seq, w.id FROM message m JOIN work w ON w.seq = m.seq ORDER BY m.seq")
        assert sorted((m.id, m.seq, m.works[0].id) for m in acknowledged) == sorted(stored)


async def _answers_full(journal: Journal, store: AnyStore) -> bool:
    """While the database is away only so much waits, and what comes then is told so."""
    while getattr(store.writer, "away", None) is None:
        await asyncio.sleep(0.01)
    waiting = []
    for _ in range(5000):
        waiting.append(journal.submit(Write()))
    full = [future for future in waiting if future.done() and isinstance(future.exception(), StoreFull)]
    return len(full) > 1000


async def test_a_connection_that_breaks_at_any_moment_keeps_each_message_once(url: str, tmp_path: Path) -> None:
    """Whether a group was kept is not known when its connection breaks: the row of the hub tells."""
    cut = """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE application_name = 'clinic-hub' AND datname = current_database()"""
    async with journal_on(url, tmp_path) as (journal, _):
        other = await asyncpg.connect(url)
        kept: list[NewMessage] = []
        for round in range(30):
            writes = [
                Write(
                    messages=[message(f"{round}-{number}", seen=b"%d-%d" % (round, number))],
                    records=[RecordRow("thing", f"{round}-{number}", 0, 1, b"")] if number % 3 == 0 else [],
                )
                for number in range(20)
            ]
            futures = [journal.submit(write) for write in writes]
            await asyncio.sleep(0.0004 * round)
            await other.fetchval(cut)
            done = await asyncio.wait_for(asyncio.gather(*futures), 10)
            kept += [write.messages[0] for write in done]
        await other.close()
    stored = query(url, "SELECT m.id, m.seq, w.id FROM message m JOIN work w ON w.seq = m.seq")
    assert sorted(stored) == sorted((m.id, m.seq, m.works[0].id) for m in kept)
    assert query(url, "SELECT count(*), max(version) FROM record") == [(210, 1)]


async def test_a_hub_that_stops_while_the_database_is_away_does_not_wait_for_it(tmp_path: Path) -> None:
    with running_server() as server:
        url = server.database("hub")
        async with journal_on(url, tmp_path) as (journal, store):
            await asyncio.to_thread(server.stop)
            late = journal.submit(Write(messages=[message("late")]))
            while getattr(store.writer, "away", None) is None:
                await asyncio.sleep(0.01)
            await asyncio.wait_for(journal.stop(), 5)
            assert isinstance(late.exception(), StoreError)


async def test_a_full_disk_is_told_and_over_when_there_is_space(url: str, tmp_path: Path) -> None:
    from tests.postgres import FULL, SPACE

    async with journal_on(url, tmp_path) as (journal, _):
        execute(url, FULL)
        for write in (Write(messages=[message("a")]), Write(records=[RecordRow("t", "r", 0, 1, b"")])):
            with pytest.raises(StoreFull):
                await journal.commit(write)
        execute(url, SPACE)
        await journal.commit(Write(messages=[message("a")]))


async def test_a_store_that_was_changed_behind_its_back_stops_the_hub(url: str, tmp_path: Path) -> None:
    async with journal_on(url, tmp_path) as (journal, _):
        execute(url, "UPDATE node SET number = number + 7")
        with pytest.raises(StoreBroken):
            await journal.commit(Write(messages=[message("a")]))
        assert isinstance(journal.broken, StoreBroken)
    assert query(url, "SELECT count(*) FROM message") == [(0,)]


# Connections.


async def test_what_is_read_while_a_store_closes_leaves_no_connection(url: str) -> None:
    reader = PostgresReader(url, 2)
    reading = asyncio.create_task(reader.run(lambda connection: connection.execute(text("SELECT pg_sleep(0.2)")).all()))
    while not query(url, f"{OURS} AND state = 'active'"):
        await asyncio.sleep(0.01)
    await reader.close()
    assert await reading
    with pytest.raises(StoreError):
        await reader.open_targets()
    await asyncio.sleep(0.1)
    assert query(url, OURS) == []


async def test_after_a_new_connection_nobody_is_struck_out_before_all_had_time_to_come_back(url: str) -> None:
    """It may be another server by now, which has been up for long while nobody knew that it writes."""
    execute(url, "INSERT INTO node VALUES ('silent', 'elsewhere:1', 0, 0, 1, 0, 0, 0)")
    silent = "SELECT count(*) FROM node WHERE id = 'silent'"
    leases = Leases(url, "node", 0.4)
    await leases.call("work")
    query(url, f"SELECT pg_terminate_backend(pid) FROM ({OURS}) AS ours")
    await until(lambda: leases._connection is None or leases._connection.is_closed())
    await leases.bury()
    await leases.bury()
    assert query(url, silent) == [(1,)]
    await asyncio.sleep(0.5)
    await leases.bury()
    await leases.close()
    assert query(url, silent) == [(0,)]


async def test_leases_that_are_asked_at_the_same_time_have_one_connection(url: str) -> None:
    leases = Leases(url, "node", 5)
    await asyncio.gather(*(leases.call("work") for _ in range(5)))
    assert len(query(url, OURS)) == 1
    await leases.close()


OURS = """SELECT pid FROM pg_stat_activity WHERE application_name = 'clinic-hub' AND datname = current_database()"""


# Opening.


async def test_a_server_that_does_not_sync_is_refused(tmp_path: Path) -> None:
    with running_server(fsync="off") as server:
        with pytest.raises(StoreError, match="fsync or full_page_writes off") as caught:
            await open_any_store(server.url("postgres"), tmp_path, Seal(KEY))
        assert caught.value.code == "STO-013"


async def test_a_session_that_does_not_wait_for_the_disk_is_made_to(postgres_server: Server, url: str) -> None:
    execute(url, f'ALTER DATABASE "{url.rpartition("/")[2]}" SET synchronous_commit = off')
    from hub.store.postgres import check_server

    connection = await connect(url)
    try:
        await check_server(connection)
        assert await connection.fetchval("SELECT current_setting('synchronous_commit')") == "on"
    finally:
        await connection.close()


async def test_another_key_or_another_folder_of_large_bodies_is_refused(url: str, tmp_path: Path) -> None:
    async with journal_on(url, tmp_path):
        pass
    with pytest.raises(StoreError, match="does not belong to this store") as caught:
        await open_any_store(url, tmp_path, Seal(new_key()))
    assert caught.value.code == "STO-009"
    with pytest.raises(StoreError, match="All hubs of a database share one") as caught:
        await open_any_store(url, tmp_path / "elsewhere", Seal(KEY))
    assert caught.value.code == "STO-014"
    await (await open_any_store(url, tmp_path / "elsewhere", Seal(KEY), tmp_path / "var" / "postgresql.files")).close()


async def test_a_store_of_a_newer_hub_is_refused(url: str, tmp_path: Path) -> None:
    execute(url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match=r"newer hub \(schema 9999\)"):
        await open_any_store(url, tmp_path, Seal(KEY))


async def test_what_cannot_be_reached_is_told_without_a_password(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened") as caught:
        await open_any_store("postgresql://hub:tosecret@127.0.0.1:1/none", tmp_path, Seal(KEY))
    assert "tosecret" not in str(caught.value)


async def test_the_migrations_make_what_the_program_expects(url: str, tmp_path: Path) -> None:
    async with journal_on(url, tmp_path) as (_, store):
        options = {"compare_type": True, "compare_server_default": True}
        differences = await store.reader.run(
            lambda connection: compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
        )
    assert differences == []


async def test_two_that_open_a_new_store_at_once_make_it_once(postgres_server: Server, tmp_path: Path) -> None:
    url = postgres_server.database("opened_twice")
    stores = await asyncio.gather(*(open_any_store(url, tmp_path, Seal(KEY)) for _ in range(3)))
    assert len({store.path for store in stores}) == 3, "each has a control socket of its own"
    for store in stores:
        await store.close()
    assert query(url, "SELECT count(*) FROM data_key") == [(2,)]
