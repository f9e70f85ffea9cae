"""Every query.  Readers have connections of their own and never wait for the writer."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Row,
    Select,
    and_,
    bindparam,
    create_engine,
    event,
    exists,
    func,
    literal as sql_literal,
    or_,
    select,
    text,
    true,
    union_all,
)

from hub.store.rows import KEEP, OPEN_STATES, OpenWork
from hub.store.schema import (
    ERASABLE,
    NOT_DONE,
    OPEN,
    attempt,
    audit,
    counter,
    data_key,
    due,
    job,
    message,
    message_key,
    note,
    record,
    record_key,
    route_state,
    work,
    work_lane,
)

T = TypeVar("T")
_WORST = ("quarantined", "unknown", "held", "working", "waiting", "parked", "skipped", "delivered")
"""States of a message's works, the one that counts first."""


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """Which messages to list; None does not matter.  Ids that are patient data come as their digests."""

    connection: str | None = None
    type: str | None = None
    state: str | None = None
    keys: Sequence[tuple[Sequence[str], str]] = ()
    """Kinds, of which one must have the value; all must hold."""
    since: int | None = None
    limit: int = 100
    before_seq: int | None = None
    after_seq: int | None = None


@dataclass(frozen=True, slots=True)
class Backlog:
    """The open work of one target."""

    target: str
    waiting: int
    oldest: int
    """When the message of the first of it was received or made, in microseconds."""
    held: int


_RECORD = select(record).where(record.c.kind == bindparam("of_kind"), record.c.id == bindparam("of_id"))
"""Statements of the hot path are made once: making them anew cost as much as running them."""
_FOUND_RECORDS = (
    select(record)
    .join(record_key, and_(record_key.c.kind == record.c.kind, record_key.c.id == record.c.id))
    .where(
        record_key.c.kind == bindparam("of_kind"),
        record_key.c.name == bindparam("by_name"),
        record_key.c.value == bindparam("by_value"),
    )
    .order_by(record.c.id)
    .limit(bindparam("most", type_=Integer))
)

_KEYS = select(message_key).where(message_key.c.seq.in_(bindparam("of_seqs", expanding=True)))


class Reader(ABC):
    """Every query; how it reaches the database is for each store to say."""

    @abstractmethod
    async def run(self, query: Callable[[Connection], T]) -> T:
        """Runs a function of a connection that cannot write."""

    @abstractmethod
    async def close(self) -> None: ...

    async def rows(self, query: Select[Any], **values: Any) -> list[Row[Any]]:
        return await self.run(lambda connection: list(connection.execute(query, values)))

    async def first(self, query: Select[Any], **values: Any) -> Row[Any] | None:
        return await self.run(lambda connection: connection.execute(query, values).first())

    # Open work.

    async def open_work(self, target: str, after: int, limit: int, partitions: Collection[int] | None = None) -> list[OpenWork]:
        """The next open works of a target, in order: of some partitions and what has several lanes (merges), or all."""
        query = _open_work().where(work.c.target == target, work.c.id > after).order_by(work.c.id).limit(limit)
        if partitions is not None:
            query = query.where(or_(work.c.partition.in_(partitions), work.c.also.is_not(None)))
        return [_as_open_work(row) for row in await self.rows(query)]

    async def open_work_of_lane(self, target: str, lane: str, after: int, limit: int) -> list[OpenWork]:
        """The next open works of one lane, those that hold it as a further lane (merges) among them."""
        further = select(work_lane.c.work).where(
            work_lane.c.target == target, work_lane.c.lane == lane, work_lane.c.work > after
        )
        query = _open_work().where(work.c.target == target, work.c.id > after).order_by(work.c.id).limit(limit)
        own, shared = query.where(work.c.lane == lane), query.where(work.c.id.in_(further))
        found = {row.id: _as_open_work(row) for half in (own, shared) for row in await self.rows(half)}
        return [found[id] for id in sorted(found)][:limit]

    async def newer_work(self, after: int, limit: int, partitions: Collection[int]) -> tuple[list[tuple[str, OpenWork]], int]:
        """What was made since then, with its target, and up to which id that is all."""
        wanted = or_(work.c.partition.in_(partitions), work.c.also.is_not(None))
        query = _open_work().add_columns(work.c.target).where(work.c.id > after, wanted).order_by(work.c.id).limit(limit)

        def look(connection: Connection) -> tuple[list[tuple[str, OpenWork]], int]:
            top = connection.execute(select(func.max(work.c.id))).scalar() or 0
            rows = connection.execute(query.where(work.c.id <= top)).all()
            return [(row.target, _as_open_work(row)) for row in rows], rows[-1].id if len(rows) >= limit else max(top, after)

        return await self.run(look)

    async def is_open(self, id: int) -> bool:
        return await self.first(select(work.c.id).where(work.c.id == id, text(OPEN))) is not None

    async def is_open_before(self, target: str, lanes: Collection[str], id: int) -> bool:
        """True while something in one of these lanes comes before a work."""
        earlier = select(work.c.id).where(text(OPEN), work.c.target == target, work.c.id < id)
        shared = select(work_lane.c.work).where(
            work_lane.c.target == target, work_lane.c.lane.in_(lanes), work_lane.c.work < id
        )
        for query in (earlier.where(work.c.lane.in_(lanes)), earlier.where(work.c.id.in_(shared))):
            if await self.first(query.limit(1)) is not None:
                return True
        return False

    async def open_works(self, ids: Collection[int]) -> list[OpenWork]:
        """Those of these that are open."""
        return [_as_open_work(row) for row in await self.rows(_open_work().where(work.c.id.in_(ids)))]

    async def goes_on_until(self, target: str, until: int, partitions: Collection[int] | None = None) -> bool:
        """True while work up to this one can go on without a person: it waits, and nothing held is before it in its lane."""
        before = work.alias()
        held = select(before.c.id).where(
            text(f"work_1.{OPEN}"), before.c.target == target, before.c.lane == work.c.lane, before.c.id < work.c.id,
            before.c.state == "held",
        )  # fmt: skip
        query = select(work.c.id).where(
            text(f"work.{OPEN}"), work.c.target == target, work.c.id <= until, work.c.state != "held", ~held.exists()
        )
        if partitions is not None:
            query = query.where(work.c.partition.in_(partitions))
        return await self.first(query.limit(1)) is not None

    async def data_keys(self) -> dict[int, bytes]:
        """All data keys, wrapped."""
        return {row.number: row.wrapped for row in await self.rows(select(data_key))}

    async def targets(self) -> list[str]:
        """Those with open work, each found by one step in the index, however much there is."""
        return await self.run(lambda connection: list(_targets(connection)))

    async def open_targets(self) -> list[tuple[str, str, str, int]]:
        """Target, step, configuration and count of open and parked work; it reads all of that."""
        columns = select(work.c.target, work.c.step, work.c.config)
        found = union_all(columns.where(text(OPEN)), columns.where(text(NOT_DONE), work.c.state == "parked")).subquery()
        query = select(*found.c, func.count()).group_by(*found.c)
        return [tuple(row) for row in await self.rows(query)]

    async def backlog(self) -> list[Backlog]:
        """For each target with open work how much there is, since when, and how much is held: counted in the indexes alone."""

        def count(connection: Connection) -> list[Backlog]:
            held = (
                select(work.c.target, func.count().label("held"))
                .where(text(NOT_DONE), work.c.state == "held")
                .group_by(work.c.target)
            )
            for_a_person = {row.target: row.held for row in connection.execute(held)}
            found: list[Backlog] = []
            for target in _targets(connection):
                mine = (work.c.target == target, text(OPEN))
                waiting = connection.execute(select(func.count()).select_from(work).where(*mine)).scalar_one()
                first = select(work.c.seq).where(*mine).order_by(work.c.id).limit(1).scalar_subquery()
                oldest = connection.execute(select(message.c.at).where(message.c.seq == first)).scalar()
                if oldest is not None:
                    found.append(Backlog(target, waiting, oldest, for_a_person.get(target, 0)))
            return found

        return await self.run(count)

    async def longest_lanes(self, limit: int) -> list[Row[Any]]:
        """The lanes with most open work, counted in their index; for each its first work and its message."""
        count = func.count().label("waiting")
        lanes = select(work.c.target, work.c.lane, count, func.min(work.c.id).label("first")).where(text(OPEN))
        found = lanes.group_by(work.c.target, work.c.lane).order_by(count.desc()).limit(limit).subquery()
        query = select(found, work.c.state, work.c.attempts, work.c.reason, message.c.id.label("message"), message.c.at)
        query = query.join(work, work.c.id == found.c.first).join(message, message.c.seq == work.c.seq)
        return await self.rows(query.order_by(found.c.waiting.desc(), found.c.first))

    async def held(self) -> list[Row[Any]]:
        """For each target with held work: how many, and the reason and time of the first."""
        mine = (text(NOT_DONE), work.c.state == "held")
        first = (
            select(func.min(work.c.id).label("id"), func.count().label("held")).where(*mine).group_by(work.c.target).subquery()
        )
        query = select(work.c.target, first.c.held, work.c.reason, work.c.at).join(first, first.c.id == work.c.id)
        return await self.rows(query.order_by(work.c.target))

    async def route_states(self) -> list[Row[Any]]:
        """What people have stopped."""
        return await self.rows(select(route_state).order_by(route_state.c.name))

    async def highest_work(self) -> int:
        row = await self.first(select(func.max(work.c.id)))
        return int(row[0] or 0) if row else 0

    async def jobs(self, limit: int = 100, *, running: bool = False) -> list[Row[Any]]:
        """Newest first, without the messages they are about."""
        columns = [column for column in job.c if column is not job.c.seqs]
        query = select(*columns).order_by(job.c.at.desc(), job.c.id).limit(limit)
        return await self.rows(query.where(text("state = 'running'")) if running else query)

    async def job(self, id: str) -> Row[Any] | None:
        return await self.first(select(job).where(job.c.id == id))

    async def quarantined(self) -> list[Row[Any]]:
        """For each target how many messages are in quarantine: its newest work for them ended there."""
        newer = work.alias("newer")
        is_newest = ~exists().where(newer.c.seq == work.c.seq, newer.c.target == work.c.target, newer.c.id > work.c.id)
        mine = (text(f"work.{NOT_DONE}"), work.c.state == "quarantined", is_newest)
        return await self.rows(select(work.c.target, func.count().label("number")).where(*mine).group_by(work.c.target))

    async def counts_between(self, names: Sequence[str], moments: Sequence[int]) -> dict[str, list[int]]:
        """How many messages each connection had between each two of these times (microseconds, rising).

        Times and seqs rise together but for clock steps, so the messages are counted in the index of connection and seq alone.
        """

        def count(connection: Connection) -> dict[str, list[int]]:
            first_since = select(message.c.seq).order_by(message.c.at).limit(1)
            bounds = [connection.execute(first_since.where(message.c.at >= moment)).scalar() for moment in moments]
            seqs = [bound if bound is not None else 1 << 62 for bound in bounds]
            between = text("SELECT count(*) FROM message WHERE connection = :name AND seq >= :low AND seq < :high")
            return {
                name: [
                    connection.execute(between, {"name": name, "low": low, "high": high}).scalar_one() if low < high else 0
                    for low, high in pairwise(seqs)
                ]
                for name in names
            }

        return await self.run(count)

    async def first_message(self) -> int | None:
        """When the oldest message that is still there came, in microseconds."""
        row = await self.first(select(func.min(message.c.at)))
        return row[0] if row else None

    async def works_of(self, seqs: Sequence[int]) -> list[Row[Any]]:
        return await self.rows(select(work).where(work.c.seq.in_(seqs)).order_by(work.c.id))

    async def work(self, id: int) -> Row[Any] | None:
        return await self.first(select(work).where(work.c.id == id))

    async def attempts_of(self, works: Sequence[int]) -> list[Row[Any]]:
        return await self.rows(select(attempt).where(attempt.c.work.in_(works)).order_by(attempt.c.work, attempt.c.number))

    async def last_error(self, target: str) -> Row[Any] | None:
        """The newest failed attempt among the open work of a target."""
        query = (
            select(attempt.c.at, attempt.c.code, attempt.c.text)
            .join(work, work.c.id == attempt.c.work)
            .where(work.c.target == target, text(f"work.{OPEN}"))
            .order_by(attempt.c.at.desc())
            .limit(1)
        )
        return await self.first(query)

    # Messages.

    async def message(self, id: str) -> Row[Any] | None:
        return await self.first(select(message).where(message.c.id == id))

    async def messages_by_seq(self, seqs: Sequence[int]) -> list[Row[Any]]:
        return await self.rows(select(message).where(message.c.seq.in_(seqs)).order_by(message.c.seq))

    async def children(self, ids: Sequence[str]) -> list[Row[Any]]:
        return await self.rows(select(message).where(message.c.parent.in_(ids)).order_by(message.c.seq))

    async def list_messages(self, wanted: MessageFilter, *, oldest_first: bool = False) -> list[Row[Any]]:
        """Newest first as a rule.  Every condition has an index."""
        order = message.c.seq.asc() if oldest_first else message.c.seq.desc()
        query = select(message).order_by(order).limit(wanted.limit)
        return await self.rows(query.where(_matches(wanted)))

    async def erasable(self, ended: Sequence[int]) -> list[Row[Any]]:
        """Seq and id of messages whose bodies may go by what they are kept for: these, and those they were made of."""
        parents = select(message.c.parent).where(message.c.seq.in_(ended), message.c.parent.is_not(None))
        return await self.rows(_erasable().where(or_(message.c.seq.in_(ended), message.c.id.in_(parents))))

    async def all_erasable(self, after: int, limit: int) -> list[Row[Any]]:
        return await self.rows(_erasable().where(message.c.seq > after).order_by(message.c.seq).limit(limit))

    async def newest_seq(self) -> int:
        row = await self.first(select(func.max(message.c.seq)))
        return int(row[0] or 0) if row else 0

    async def list_seqs(self, wanted: MessageFilter) -> list[int]:
        """Only where they are, for many: the newest of them, oldest first."""
        query = select(message.c.seq).order_by(message.c.seq.desc()).limit(wanted.limit)
        return [row.seq for row in await self.rows(query.where(_matches(wanted)))][::-1]

    async def seqs_with_key(self, kinds: Sequence[str], values: Sequence[str], limit: int = 10_000) -> list[int]:
        query = (
            select(message_key.c.seq)
            .where(message_key.c.kind.in_(kinds), message_key.c.value.in_(values))
            .order_by(message_key.c.seq)
            .distinct()
            .limit(limit)
        )
        return [row.seq for row in await self.rows(query)]

    async def keys_of(self, seqs: Sequence[int]) -> list[Row[Any]]:
        return await self.rows(_KEYS, of_seqs=list(seqs))

    async def notes_of(self, seqs: Sequence[int]) -> list[Row[Any]]:
        return await self.rows(select(note).where(note.c.seq.in_(seqs)).order_by(note.c.id))

    async def last_messages(self) -> dict[str, int]:
        """When the last message of each connection came or was made."""

        def newest(connection: Connection) -> dict[str, int]:
            found: dict[str, int] = {}
            name = connection.execute(select(func.min(message.c.connection))).scalar()
            while name is not None:
                query = select(message.c.at).where(message.c.connection == name).order_by(message.c.seq.desc()).limit(1)
                found[name] = connection.execute(query).scalar_one()
                name = connection.execute(select(func.min(message.c.connection)).where(message.c.connection > name)).scalar()
            return found

        return await self.run(newest)

    # Records, due work, counters, audit.

    async def record(self, kind: str, id: str) -> Row[Any] | None:
        return await self.first(_RECORD, of_kind=kind, of_id=id)

    async def find_records(self, kind: str, name: str, value: str, limit: int) -> list[Row[Any]]:
        return await self.rows(_FOUND_RECORDS, of_kind=kind, by_name=name, by_value=value, most=limit)

    async def due_until(self, moment: int, limit: int) -> list[Row[Any]]:
        return await self.rows(select(due).where(due.c.at <= moment).order_by(due.c.at).limit(limit))

    async def next_due(self) -> int | None:
        row = await self.first(select(func.min(due.c.at)))
        return row[0] if row else None

    async def due(self, job: str, key: str) -> Row[Any] | None:
        return await self.first(select(due).where(due.c.job == job, due.c.key == key))

    async def counter(self, name: str) -> int:
        row = await self.first(select(counter.c.value).where(counter.c.name == name))
        return int(row[0]) if row else 0

    async def audit_rows(self, limit: int = 1_000_000) -> list[Row[Any]]:
        return await self.rows(select(audit).order_by(audit.c.seq).limit(limit))


class SqliteReader(Reader):
    """Runs queries in threads, so that a slow disk never stops the event loop."""

    def __init__(self, path: Path, threads: int = 4) -> None:
        self._engine = create_engine(f"sqlite:///{path}", pool_size=threads, max_overflow=0)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="reader")

        @event.listens_for(self._engine, "connect")
        def _read_only(driver: Any, _: Any) -> None:
            driver.execute("PRAGMA query_only=ON")
            driver.execute("PRAGMA busy_timeout=5000")

    async def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._engine.dispose()

    async def run(self, query: Callable[[Connection], T]) -> T:
        def work_in_thread() -> T:
            with self._engine.connect() as connection:
                return query(connection)

        return await asyncio.get_running_loop().run_in_executor(self._threads, work_in_thread)


def state_of(own: str | None, works: Sequence[Row[Any]]) -> str:
    """The state of a message: of the newest work for each target the worst."""
    if not works:
        return own or "delivered"
    states = {row.state for row in {row.target: row for row in sorted(works, key=lambda row: row.id)}.values()}
    return next((state for state in _WORST if state in states), "delivered")


def _targets(connection: Connection) -> Iterator[str]:
    smallest = select(func.min(work.c.target)).where(text(OPEN))
    target = connection.execute(smallest).scalar()
    while target is not None:
        yield target
        target = connection.execute(smallest.where(work.c.target > target)).scalar()


def _open_work() -> Select[Any]:
    columns = (work.c.id, work.c.seq, message.c.id.label("message"), work.c.lane, work.c.also, work.c.generation, work.c.state)
    rest = (work.c.attempts, work.c.next_at, work.c.step, work.c.origin, work.c.config, work.c.again, message.c.at)
    return select(*columns, *rest).join(message, message.c.seq == work.c.seq).where(text(f"work.{OPEN}"))


def _as_open_work(row: Row[Any]) -> OpenWork:
    also = tuple(row.also.split()) if row.also else ()
    return OpenWork(
        row.id,
        row.seq,
        row.message,
        row.lane,
        also,
        row.generation,
        row.state,
        row.attempts,
        row.next_at,
        row.step,
        row.origin,
        row.config,
        row.again,
        row.at,
    )


def _erasable() -> Select[Any]:
    unsettled = _has_newest_work(work.c.state.not_in(("delivered", "skipped")))
    under_way = exists().where(work.c.seq == message.c.seq, work.c.state.in_((*OPEN_STATES, "parked")))
    return select(message.c.seq, message.c.id).where(
        text(ERASABLE), ~under_way, or_(message.c.keep == KEEP["metadata"], ~unsettled)
    )


def _glob(column: Any, pattern: str) -> Any:
    """Equality, or a prefix with `*` at its end: both can use the index."""
    if pattern.endswith("*") and "*" not in pattern[:-1]:
        prefix = pattern[:-1]
        return and_(column >= prefix, column < prefix + "\U0010ffff") if prefix else sql_literal(True)
    return column == pattern


def _matches(wanted: MessageFilter) -> ColumnElement[bool]:
    conditions: list[ColumnElement[bool]] = [true()]
    if wanted.connection is not None:
        conditions.append(message.c.connection == wanted.connection)
    if wanted.type is not None:
        conditions.append(_glob(message.c.type, wanted.type))
    if wanted.since is not None:
        conditions.append(message.c.seq >= _first_seq_since(wanted.since))
    if wanted.before_seq is not None:
        conditions.append(message.c.seq < wanted.before_seq)
    if wanted.after_seq is not None:
        conditions.append(message.c.seq > wanted.after_seq)
    for kinds, value in wanted.keys:
        seqs = select(message_key.c.seq).where(message_key.c.kind.in_(kinds), message_key.c.value == value)
        conditions.append(message.c.seq.in_(seqs))
    if wanted.state is not None:
        conditions.append(_has_state(wanted.state))
    return and_(*conditions)


def _first_seq_since(moment: int) -> Any:
    """Times and seqs rise together but for clock steps, so the first message since a time bounds the list."""
    return func.coalesce(select(func.min(message.c.seq)).where(message.c.at >= moment).scalar_subquery(), sql_literal(1 << 62))


def _has_state(state: str) -> ColumnElement[bool]:
    """True for messages that `state_of` gives this state: that of the newest work for each target, the worst counts."""
    if state == "delivered":
        return and_(message.c.state.is_(None), ~_has_newest_work(work.c.state != "delivered"))
    worse = _WORST[: _WORST.index(state)] if state in _WORST else ()
    index = text(f"work.{OPEN}" if state in OPEN_STATES else f"work.{NOT_DONE}")
    candidates = select(work.c.seq).where(index, work.c.state == state)
    found = and_(message.c.seq.in_(candidates), _has_newest_work(work.c.state == state))
    if worse:
        found = and_(found, ~_has_newest_work(work.c.state.in_(worse)))
    if state not in ("refused", "skipped"):
        return found
    of_its_own = select(message.c.seq).where(text("message.state IS NOT NULL"), message.c.state == state)
    of_its_work = select(message.c.seq).where(found)
    return message.c.seq.in_(union_all(of_its_own, of_its_work))  # with OR, PostgreSQL would go through all messages


def _has_newest_work(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    newer = work.alias("newer")
    is_newest = ~exists().where(newer.c.seq == work.c.seq, newer.c.target == work.c.target, newer.c.id > work.c.id)
    return exists().where(work.c.seq == message.c.seq, condition, is_newest)
