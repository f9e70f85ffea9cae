"""The writer's side of PostgreSQL: one connection, a task of the event loop, one statement for whatever waits.

A group is one statement (batch.py) and, with `synchronous_commit`, on disk when it returns: one round trip.  Writes that can
fail alone (records, what was read, due work that fires) are looked at first: everything they depend on is read, what does not
hold is told Conflict, and the rest is written.  When a group as a whole cannot be kept each of its writes is tried alone.

Several hubs may write to one database.  One that knows of others takes turns with them: a lock is held from before a group
looks at anything until it is committed, so that numbers rise in the order of commits and nobody decides on what another one is
just changing.  A hub that is alone needs no lock; one that comes waits until the others know of it.

When the connection breaks nobody knows whether the last group was kept.  Each group therefore has a number, which its statement
writes into the row of this hub (`node`), only if it follows the one before: after a new connection the row tells, and what was
sent twice counts once.

The planner is told to use indexes and no JIT (research: a plan made while a table was empty cost 11 ms for each commit later).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

import asyncpg
import structlog

from hub.errors import Conflict, LeaseLost, StoreBroken, StoreError, StoreFull, Unkept
from hub.store.batch import Batch, each, fitting, statement
from hub.store.postgres_removal import remove
from hub.store.processes import is_running
from hub.store.rare import numbered, statements
from hub.store.rows import AuditRow, NewMessage, Write

log = structlog.get_logger(__name__)
T = TypeVar("T")

OLDEST_SERVER = 130000
"""`server_version_num` of the oldest PostgreSQL that is supported."""
TURN = 0x687562
"""Number of the advisory lock of who writes."""
CHANNEL = "clinic_hub"
"""On which hubs wake each other."""
VISIT = 10.0
"""Seconds a command may work on a store beside a hub, or a hub may take to begin."""
CONNECT_WITHIN = 10.0
"""Seconds."""
ANSWER_WITHIN = 60.0
"""Seconds a statement may take; then the connection counts as gone."""
_WAITS = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds between tries to connect again; the last one goes on."""
PLANS = {
    "jit": "off",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
}
LOST = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.TooManyConnectionsError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
)
"""The connection, or the server, is gone; another one, or the next primary, will be there."""
_OF_THE_WRITE = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.CharacterNotInRepertoireError)
_AGAIN = asyncpg.TransactionRollbackError


async def connect(url: str, **settings: str) -> asyncpg.Connection[Any]:
    """A connection to the server that can write; raises what asyncpg raises."""
    return await asyncpg.connect(
        url,
        timeout=CONNECT_WITHIN,
        command_timeout=ANSWER_WITHIN,
        target_session_attrs="primary",
        server_settings={"application_name": "clinic-hub", "client_min_messages": "error", **settings},
    )


async def check_server(connection: asyncpg.Connection[Any]) -> None:
    """Raises StoreError when the server does not keep promises."""
    version, fsync = await connection.fetchrow(
        "SELECT current_setting('server_version_num')::int, current_setting('fsync') || current_setting('full_page_writes')"
    )
    if version < OLDEST_SERVER:
        raise StoreError(f"PostgreSQL is {version // 10000}; the hub needs {OLDEST_SERVER // 10000} or newer", code="STO-013")
    if fsync != "onon":
        raise StoreError(
            "this PostgreSQL runs with fsync or full_page_writes off and would lose what was acknowledged. "
            "Switch both on in postgresql.conf.",
            code="STO-013",
        )
    if await connection.fetchval("SELECT current_setting('synchronous_commit')") in ("off", "local"):
        await connection.execute("SET synchronous_commit = on")


class PostgresWriter:
    """Applies groups of writes, one after the other."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._connection: asyncpg.Connection[Any]
        self._prepared: dict[tuple[str, ...], Any] = {}
        self._busy = asyncio.Lock()
        self.node = os.urandom(8).hex()
        self.together = False
        """Others write too: they take turns."""
        self._number = 0
        """Of the last group that was kept."""
        self.work = 0
        """Highest id of a work that is known."""
        self.rows = 0
        """Rows inserted, changed or deleted so far."""
        self.away: str | None = None
        """Why the database cannot be reached, while it cannot."""
        self.closing = False

    # The connection.

    async def open(self) -> None:
        """Comes back when all others know of this hub.  Raises what asyncpg raises, StoreError for a server that keeps no
        promises.
        """
        await self._connect()
        try:
            await self._join()
            self.work = await self._connection.fetchval("SELECT coalesce(max(id), 0) FROM work")
        except BaseException:
            self._connection.terminate()
            raise

    async def _join(self) -> None:
        run = self._connection
        async with run.transaction():
            await run.execute(f"SELECT pg_advisory_xact_lock({TURN})")
            for id in await self._dead_ones():
                await run.execute("DELETE FROM node WHERE id = $1", id)
            self.together = bool(await run.fetchval("SELECT count(*) FROM node"))
            await run.execute(_REGISTER, self.node, f"{socket.gethostname()}:{os.getpid()}"[:100], VISIT, int(self.together))
        while self.together:
            await run.execute(f"NOTIFY {CHANNEL}, 'members'")
            await run.execute(BURY, self.node, VISIT)
            if not await run.fetchval("SELECT count(*) FROM node WHERE knows = 0"):
                return
            await asyncio.sleep(0.05)

    async def _dead_ones(self) -> list[str]:
        """Hubs of this machine that were killed: their session and their process are gone."""
        here, found = f"{socket.gethostname()}:", []
        for id, name in await self._connection.fetch("SELECT id, name FROM node"):
            here_and_dead = name.startswith(here) and not is_running(int(name.removeprefix(here)))
            if here_and_dead and await self._connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", _number_of(id)):
                found.append(id)
        return found

    async def know(self) -> None:
        """From now on it takes turns with others, who wait for that."""
        async with self._busy:
            self.together = True
            await self._surely(lambda: self._connection.execute("UPDATE node SET knows = 1 WHERE id = $1", self.node))

    async def forget_others(self) -> None:
        """Nobody else is there any more: no turns are needed, if that is still so."""
        async with self._busy:
            with contextlib.suppress(*LOST, asyncpg.PostgresError):
                async with self._connection.transaction():
                    await self._connection.execute(f"SELECT pg_advisory_xact_lock({TURN})")
                    if await self._connection.fetchval("SELECT count(*) FROM node WHERE id <> $1", self.node):
                        return
                    await self._connection.execute("UPDATE node SET knows = 0 WHERE id = $1", self.node)
                self.together = False

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Nobody else decides or writes meanwhile; the end of it is the commit."""
        if not self.together:
            yield
            return
        await self._connection.execute(f"BEGIN; SELECT pg_advisory_xact_lock({TURN})")
        try:
            yield
        except BaseException:
            if not self._connection.is_closed():
                with contextlib.suppress(*LOST, asyncpg.PostgresError):
                    await self._connection.execute("ROLLBACK")
            raise
        await self._connection.execute("COMMIT")

    async def _connect(self) -> None:
        connection = await connect(self.url, **PLANS, idle_in_transaction_session_timeout="2s")
        try:
            await check_server(connection)
            await connection.execute("SELECT pg_advisory_lock_shared($1)", _number_of(self.node))  # a sign that it is there
        except BaseException:
            connection.terminate()
            raise
        self._connection, self._prepared = connection, {}

    async def close(self) -> None:
        self.closing = True
        with contextlib.suppress(*LOST):
            await self._connection.execute("DELETE FROM node WHERE id = $1", self.node)
            await self._connection.close(timeout=5)
        self._connection.terminate()

    async def _connect_again(self, error: BaseException) -> None:
        """Comes back with a connection; gives up only when the hub is stopping."""
        self._connection.terminate()
        self.away = self.away or words(error)
        log.warning("the database is away; nothing is acknowledged until it is back", reason=self.away)
        for attempt in range(1_000_000_000):
            if self.closing:
                raise StoreFull("the database cannot be reached; what was not acknowledged is sent again by its sender")
            await asyncio.sleep(_WAITS[min(attempt, len(_WAITS) - 1)])
            try:
                await self._connect()
            except (*LOST, asyncpg.PostgresError) as failure:
                self.away = words(failure)
                continue
            log.warning("the database is back")
            self.away = None
            return

    # Groups.

    def fitting(self, writes: Sequence[Write]) -> int:
        """How many of these, from the first one on, can be one group."""
        return fitting(writes)

    async def apply(self, writes: Sequence[Write]) -> None:
        """Commits a group.  A write that fails alone gets its `error` and leaves no trace; when the store fails nothing of
        the group is kept, and StoreFull or StoreBroken is raised.
        """
        async with self._busy:
            await self._apply(writes)

    async def _apply(self, writes: Sequence[Write]) -> None:
        careful = any(write.guarded or write.audit or write.counters or write.alone for write in writes)
        everything = False
        while True:
            batch = Batch()
            try:
                await self._attempt(writes, batch, careful, everything)
                return
            except asyncpg.DivisionByZeroError:
                if await self._is_out():
                    raise LeaseLost("another hub has taken over from this one; it begins again") from None
                if everything:
                    raise StoreBroken("the store is not as this hub left it: the hub stops rather than guess") from None
                careful = everything = True
            except _AGAIN:
                continue
            except asyncpg.InsufficientResourcesError as error:
                raise StoreFull("the disk of the database is full: nothing is acknowledged until there is space") from error
            except _OF_THE_WRITE as error:
                if len(writes) == 1:
                    writes[0].error = _error_of(writes[0], error)
                    return
                await self._one_by_one(writes)
                return
            except StoreError:
                raise
            except Exception as error:
                if self._is_lost(error):
                    await self._connect_again(error)
                    if await self._was_kept(batch):
                        return
                elif isinstance(error, asyncpg.PostgresError):
                    raise StoreBroken(
                        f"the store cannot be written ({words(error)}): the hub stops rather than guess"
                    ) from error
                elif len(writes) == 1:  # data of a kind nobody should hand over
                    writes[0].error = Unkept(f"this cannot be kept ({type(error).__name__})")
                    return
                else:
                    await self._one_by_one(writes)
                    return

    async def _is_out(self) -> bool:
        query = "SELECT count(*) FROM node WHERE id = $1"
        return not await self._surely(lambda: self._connection.fetchval(query, self.node))

    def _is_lost(self, error: Exception) -> bool:
        return isinstance(error, LOST) and (
            self._connection.is_closed() or isinstance(error, OSError | TimeoutError | asyncpg.PostgresError)
        )

    async def _one_by_one(self, writes: Sequence[Write]) -> None:
        for index, write in enumerate(writes):
            try:
                await self._apply([write])
            except StoreBroken:
                raise
            except StoreError as error:  # those before it are kept: each gets its own answer
                for left in writes[index:]:
                    left.error = error
                return

    async def _attempt(self, writes: Sequence[Write], batch: Batch, careful: bool, everything: bool) -> None:
        for write in writes:
            write.error = None
            for message in write.messages:
                message.duplicate = message.known = False
        async with self._turn():
            first = await (self._carefully(writes, batch, everything) if careful else self._at_once(writes, batch))
        if first is not None:
            self._kept(batch, *first)

    async def _at_once(self, writes: Sequence[Write], batch: Batch) -> tuple[int, int]:
        for write in writes:
            batch.put(write)
        self._expect_no_repeats(batch, writes)
        return await self._run(batch)

    async def _carefully(self, writes: Sequence[Write], batch: Batch, everything: bool) -> tuple[int, int] | None:
        """Looks first; None when nothing was left to write."""
        passed = await _Look(self._connection, batch, everything).at(writes)
        for write in passed:
            batch.put(write)
        if not everything:
            self._expect_no_repeats(batch, passed)
        given_up = batch.rows.pop("given_up", None)
        alone = passed[0] if passed and passed[0].alone else None
        if given_up or alone:
            return await self._in_steps(batch, given_up or [], alone)
        if batch.rows:
            return await self._run(batch)
        if any(message.duplicate for message in each(passed, lambda write: write.messages)):
            await self._wait_for_standbys()
        return None

    async def _wait_for_standbys(self) -> None:
        """What only repeats is answered when what it repeats is wherever a commit has to be: the lock is a commit, too."""
        await self._connection.execute("SELECT FROM node WHERE id = $1 FOR UPDATE", self.node)

    async def _in_steps(self, batch: Batch, given_up: list[tuple[Any, ...]], alone: Write | None) -> tuple[int, int]:
        """Keys that only one record may have are given up before another one takes them; rare changes come last."""
        async with self._steps():
            if given_up:
                await self._connection.execute(_GIVE_UP, *(list(column) for column in zip(*given_up, strict=True)))
            first = await self._run(batch)
            batch.numbered(*first)
            if alone is not None:
                await self._change_rarely(alone)
            return first

    def _steps(self) -> contextlib.AbstractAsyncContextManager[Any]:
        """One transaction: who takes turns has one already."""
        return contextlib.nullcontext() if self.together else self._connection.transaction()

    async def _change_rarely(self, write: Write) -> None:
        if write.rare is not None:
            for text, values in statements(write.rare):
                await self._connection.execute(numbered(text), *values)
        if write.removal is not None:
            await remove(self._connection, write.removal)

    def _expect_no_repeats(self, batch: Batch, writes: Sequence[Write]) -> None:
        """The fast way takes it that nothing was sent before; the statement leaves nothing behind when it was."""
        if "seen" in batch.rows:
            for message in each(writes, lambda write: write.messages):
                if message.seen_key is not None:
                    batch.add("unseen_yet", (message.seen_key, message.forget_before))
            if len(batch.rows["seen"]) != len({(row[1]) for row in batch.rows["seen"]}):
                raise asyncpg.DivisionByZeroError("the same message twice in one group")

    async def _run(self, batch: Batch) -> tuple[int, int]:
        """The first seq and the first id of a work of this group."""
        parts = batch.parts
        prepared = self._prepared.get(parts)
        if prepared is None:
            prepared = self._prepared[parts] = await self._connection.prepare(statement(parts))
        counts = len(batch.messages), len(batch.works)
        first_seq, first_work, _ = (await prepared.fetch(*counts, self._number + 1, self.node, *batch.arguments()))[0]
        return first_seq, first_work

    def _kept(self, batch: Batch, first_seq: int, first_work: int) -> None:
        self._number += 1
        self.rows += sum(len(rows) for rows in batch.rows.values())
        batch.numbered(first_seq, first_work)
        if batch.works:
            self.work = first_work + len(batch.works) - 1

    async def _was_kept(self, batch: Batch) -> bool:
        """After a broken connection: whether the group is in the store all the same."""
        row = await self._surely(
            lambda: self._connection.fetchrow(
                "SELECT number, first_seq, first_work FROM node WHERE id = $1 FOR UPDATE", self.node
            )
        )
        if row is None:
            raise LeaseLost("another hub has taken over from this one; it begins again")
        if row["number"] == self._number:
            return False
        self._kept(batch, row["first_seq"], row["first_work"])
        return True

    async def _surely(self, act: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await act()
            except LOST as error:
                await self._connect_again(error)


NOW = "(extract(epoch FROM clock_timestamp()) * 1000000)::int8"
"""Microseconds since 1970 by the clock of the database, which all hubs share."""
_REGISTER = f"INSERT INTO node VALUES ($1, $2, {NOW} + ($3::float8 * 1000000)::int8, 0, $4, 0, 0, 0)"
BURY = f"""DELETE FROM node WHERE id <> $1 AND until < {NOW}
    AND pg_postmaster_start_time() < clock_timestamp() - make_interval(secs => $2)"""
"""Who gave no sign of life is out, and cannot commit any more; after a start of the server everybody has time to come back."""


def _number_of(node: str) -> int:
    """The advisory lock each hub holds as long as its session lives."""
    return int.from_bytes(bytes.fromhex(node), "big", signed=True)


_GIVE_UP = """DELETE FROM record_key USING unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS u(kind, id, name, value)
    WHERE record_key.kind = u.kind AND record_key.id = u.id AND record_key.name = u.name AND record_key.value = u.value"""


class _Look:
    """Reads what the writes of a group depend on, and tells those that do not hold so."""

    def __init__(self, connection: asyncpg.Connection[Any], batch: Batch, everything: bool) -> None:
        self._connection = connection
        self._batch = batch
        self._everything = everything
        self._versions: dict[tuple[str, str], int] = {}
        self._keys: dict[tuple[str, str], list[tuple[str, str, int]]] = {}
        self._due: dict[tuple[str, str], int] = {}
        self._counters: dict[str, int] = {}
        self._seen: dict[bytes, list[tuple[bytes, int, int, NewMessage | None]]] = {}
        self._ids: dict[str, int] = {}

    async def at(self, writes: Sequence[Write]) -> list[Write]:
        """Those that hold."""
        await self._read(writes)
        passed = []
        for write in writes:
            try:
                self._check(write)
            except Conflict as error:
                write.error = error
                continue
            for row in write.records:
                self._record(row)
            passed.append(write)
        await self._chain(each(passed, lambda write: write.audit))
        if self._everything:
            for message in each(passed, lambda write: write.messages):
                self._recognise(message)
        return passed

    async def _read(self, writes: Sequence[Write]) -> None:
        fetch = self._connection.fetch
        written = {(row.kind, row.id) for row in each(writes, lambda write: write.records)}
        wanted = written | {(kind, id) for kind, id, _ in each(writes, lambda write: write.reads)}
        if wanted:
            for row in await fetch(_RECORDS, *_columns(wanted), [pair in written for pair in wanted]):
                self._versions[row["kind"], row["id"]] = row["version"]
                self._keys[row["kind"], row["id"]] = [tuple(key) for key in json.loads(row["keys"] or "[]")]
        due = {(row.job, row.key) for row in each(writes, lambda write: write.due) if row.fired}
        if due:
            for row in await fetch(_DUE, *_columns(due)):
                self._due[row["job"], row["key"]] = row["at"]
        counters = {name for name, _ in each(writes, lambda write: write.counters)}
        if counters:
            self._counters = dict(await fetch("SELECT name, value FROM counter WHERE name = ANY($1)", list(counters)))
        if self._everything:
            await self._read_messages(each(writes, lambda write: write.messages))

    async def _read_messages(self, messages: Sequence[NewMessage]) -> None:
        ids = [message.id for message in messages]
        self._ids = dict(await self._connection.fetch("SELECT id, seq FROM message WHERE id = ANY($1)", ids))
        keys = [message.seen_key for message in messages if message.seen_key is not None]
        for row in await self._connection.fetch("SELECT key, digest, seq, at FROM seen WHERE key = ANY($1)", keys):
            self._seen.setdefault(row["key"], []).append((row["digest"], row["seq"], row["at"], None))

    def _check(self, write: Write) -> None:
        needed = [*write.reads, *((row.kind, row.id, row.version) for row in write.records)]
        for kind, id, version in needed:
            if self._versions.get((kind, id), 0) != version:
                raise Conflict(f"a record of kind {kind} changed meanwhile")
        for due in write.due:
            if due.fired and self._due.get((due.job, due.key)) != due.at:
                raise Conflict("the due work was moved or withdrawn meanwhile")
        for name, value in write.counters:
            if self._counters.get(name, 0) >= value:
                raise Conflict("others took these numbers meanwhile")

    def _record(self, row: Any) -> None:
        self._batch.add("records", (row.kind, row.id, row.version + 1, row.at, row.body))
        had = self._keys.get((row.kind, row.id), [])
        has = [(name, value, int(only)) for name, value, only in dict.fromkeys(row.keys)]
        for name, value, only in has:
            if (name, value, only) not in had:
                self._batch.add("record_keys", (row.kind, name, value, row.id, only))
        for key in had:
            if key not in has:
                self._batch.add("given_up", (row.kind, row.id, key[0], key[1]))

    def _recognise(self, message: NewMessage) -> None:
        """What came before is a duplicate, or known under its id."""
        if message.seen_key is not None:
            sightings = [s for s in self._seen.get(message.seen_key, []) if s[2] >= message.forget_before]
            for digest, seq, _, original in sightings:
                if digest == message.digest:
                    message.duplicate, message.seq = True, seq
                    if original is not None:
                        self._batch.repeats.append((message, original))
                    return
            if sightings:
                message.flag = "reused control id"
            self._seen.setdefault(message.seen_key, []).append((message.digest, 0, message.at, message))
        if message.id in self._ids:
            message.known, message.seq = True, self._ids[message.id]

    async def _chain(self, rows: Sequence[AuditRow]) -> None:
        if not rows:
            return
        chain = await self._connection.fetchval("SELECT chain FROM audit ORDER BY seq DESC LIMIT 1") or b""
        for row in rows:
            content = json.dumps([row.at, row.actor, row.action, row.object, row.detail], ensure_ascii=False)
            chain = hashlib.sha256(chain + content.encode()).digest()
            self._batch.add("audit", (row.at, row.actor, row.action, row.object, row.detail, chain))


_RECORDS = """SELECT record.kind, record.id, record.version, CASE WHEN u.written THEN (
        SELECT json_agg(json_build_array(k.name, k.value, k.sole)) FROM record_key k
        WHERE k.kind = record.kind AND k.id = record.id
    )::text END AS keys
    FROM unnest($1::text[], $2::text[], $3::bool[]) AS u(kind, id, written)
    JOIN record ON record.kind = u.kind AND record.id = u.id"""
_DUE = """SELECT due.job, due.key, due.at FROM unnest($1::text[], $2::text[]) AS u(job, key)
    JOIN due ON due.job = u.job AND due.key = u.key"""


def _columns(rows: set[tuple[str, str]]) -> list[list[str]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _error_of(write: Write, error: Exception) -> StoreError:
    if isinstance(error, asyncpg.UniqueViolationError) and write.guarded:
        return Conflict("another record has this id already")
    return Unkept(f"this cannot be kept ({type(error).__name__})")


def words(error: BaseException) -> str:
    """What a server or a network said.  It names no patient: PostgreSQL tells values in the detail, which is left out."""
    return f"{type(error).__name__}: {str(error).splitlines()[0][:200]}" if str(error) else type(error).__name__
