"""Which rows are older than they are kept: what retention takes out, and what its preview counts.

Everything is read in pieces by the readers' connections, so that neither the writer nor the event loop waits for a long walk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, exists, func, select, text, tuple_

from hub.store.reader import Reader
from hub.store.removal import AUDIT_START, SETTLED, UNDER_WAY
from hub.store.schema import NAMES_FILE, attempt, audit, info, message, note, record_key, seen, work

BLOCK = 2000
"""Rows looked at in one go."""
BODIES_DONE = "retention bodies"
"""Counter: up to this time every body that may go has gone."""


class Outdated:
    """Reads what is older than a moment, in microseconds since 1970."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def bodies(self, before: int, after: tuple[int, int], limit: int) -> list[tuple[int, int]]:
        """Time and seq of messages whose bodies may go, the oldest first, behind a place."""
        place = tuple_(message.c.at, message.c.seq)
        query = (
            select(message.c.at, message.c.seq)
            .where(message.c.at < before, place > tuple_(*after), _has_body(), ~_has_work(~work.c.state.in_(SETTLED)))
            .order_by(message.c.at, message.c.seq)
            .limit(limit)
        )
        return [(row.at, row.seq) for row in await self._reader.rows(query)]

    async def bodies_done(self) -> int:
        return await self._reader.counter(BODIES_DONE)

    async def first_body_left(self, before: int, after: int) -> int | None:
        """When the oldest message came whose body is still there only because of open work."""
        query = (
            select(message.c.at)
            .where(message.c.at < before, message.c.at >= after, _has_body(), _has_work(work.c.state.in_(UNDER_WAY)))
            .order_by(message.c.at)
            .limit(1)
        )
        row = await self._reader.first(query)
        return row.at if row else None

    async def messages(self, before: int, place: tuple[int, int] | None, limit: int) -> list[tuple[int, int]]:
        """Time and seq of messages that may go, the newest first, so that children go before their parents."""
        here = tuple_(message.c.at, message.c.seq)
        query = (
            select(message.c.at, message.c.seq)
            .where(message.c.at < before, ~_has_work(work.c.state.in_(UNDER_WAY)))
            .order_by(message.c.at.desc(), message.c.seq.desc())
            .limit(limit)
        )
        rows = await self._reader.rows(query if place is None else query.where(here < tuple_(*place)))
        return [(row.at, row.seq) for row in rows]

    async def notes(self, before: int, after: int) -> tuple[list[int], int | None]:
        """Ids of a block of notes that may go, and where the next block begins; None behind the last one."""
        query = select(note.c.id, note.c.at, note.c.seq).where(note.c.id > after).order_by(note.c.id).limit(BLOCK)
        rows = await self._reader.rows(query)
        old = [row for row in rows if row.at < before]
        open_ones = await self._open({row.seq for row in old})
        end = len(rows) < BLOCK or not old
        return [row.id for row in old if row.seq not in open_ones], None if end else rows[-1].id

    async def attempts(self, before: int, after: tuple[int, int]) -> tuple[list[tuple[int, int]], tuple[int, int] | None]:
        """Work and number of a block of failed tries that may go, and where the next block begins."""
        key = tuple_(attempt.c.work, attempt.c.number)
        query = (
            select(attempt.c.work, attempt.c.number, attempt.c.at, work.c.state)
            .outerjoin(work, work.c.id == attempt.c.work)
            .where(key > tuple_(*after))
            .order_by(attempt.c.work, attempt.c.number)
            .limit(BLOCK)
        )
        rows = await self._reader.rows(query)
        old = [(row.work, row.number) for row in rows if row.at < before and row.state not in UNDER_WAY]
        return old, None if len(rows) < BLOCK else (rows[-1].work, rows[-1].number)

    async def audit(self, before: int) -> tuple[int, int]:
        """How many of the oldest audit rows may go, and the seq of the last of them."""
        first_kept = select(func.min(audit.c.seq)).where(audit.c.at >= before).scalar_subquery()
        query = select(func.count(), func.max(audit.c.seq)).where(
            audit.c.at < before, audit.c.seq < func.coalesce(first_kept, select(func.max(audit.c.seq)).scalar_subquery())
        )
        [(count, last)] = await self._reader.run(lambda connection: list(connection.execute(query)))
        return count, last or 0

    async def audit_start(self) -> bytes:
        """What the audit chain begins with."""
        row = await self._reader.first(select(info.c.value).where(info.c.name == AUDIT_START))
        return bytes.fromhex(row.value) if row else b""

    async def files_in_use(self, names: Sequence[str]) -> set[str]:
        """Those of these files that a message or a record names."""
        by_message = select(message.c.file).where(message.c.file.in_(names))
        by_record = select(record_key.c.value).where(text(NAMES_FILE), record_key.c.value.in_(names))
        return {row[0] for query in (by_message, by_record) for row in await self._reader.rows(query.distinct())}

    async def reusable(self) -> int:
        """Bytes that are free within the file of a SQLite store; 0 elsewhere."""

        def ask(connection: Connection) -> int:
            if connection.dialect.name != "sqlite":
                return 0
            names = ("freelist_count", "page_size")
            pages, size = (connection.exec_driver_sql(f"PRAGMA {name}").scalar() or 0 for name in names)
            return int(pages) * int(size)

        return await self._reader.run(ask)

    async def _open(self, seqs: set[int]) -> set[int]:
        rows = await self._reader.rows(select(work.c.seq).where(work.c.seq.in_(seqs), work.c.state.in_(UNDER_WAY)))
        return {row.seq for row in rows}

    # The preview.

    async def count(self, name: str, before: int) -> int:
        """How many rows of a class may go."""
        if name == "audit":
            return (await self.audit(before))[0]
        table, condition = _COUNTED[name](before)
        row = await self._reader.first(select(func.count()).select_from(table).where(condition))
        return int(row[0]) if row else 0

    async def oldest(self, name: str) -> int | None:
        """The time of the oldest row of a class."""
        row = await self._reader.first(_OLDEST[name]())
        return row[0] if row else None

    async def kept_although_old(self, before: int) -> int:
        """Messages that are older and stay, because they are not at their end."""
        query = select(func.count()).select_from(message).where(message.c.at < before, _has_work(work.c.state.in_(UNDER_WAY)))
        return await self._reader.run(lambda connection: int(connection.execute(query).scalar_one()))


def _has_body() -> ColumnElement[bool]:
    return message.c.body.is_not(None)


def _has_work(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(work.c.seq == message.c.seq, condition)


def _note_is_closed() -> ColumnElement[bool]:
    return ~exists().where(work.c.seq == note.c.seq, work.c.state.in_(UNDER_WAY))


def _attempt_is_closed() -> ColumnElement[bool]:
    return ~exists().where(work.c.id == attempt.c.work, work.c.state.in_(UNDER_WAY))


_COUNTED: dict[str, Callable[[int], tuple[Table, ColumnElement[bool]]]] = {
    "messages": lambda before: (message, and_(message.c.at < before, ~_has_work(work.c.state.in_(UNDER_WAY)))),
    "bodies": lambda before: (message, and_(message.c.at < before, _has_body(), ~_has_work(~work.c.state.in_(SETTLED)))),
    "attempts": lambda before: (attempt, and_(attempt.c.at < before, _attempt_is_closed())),
    "notes": lambda before: (note, and_(note.c.at < before, _note_is_closed())),
    "seen": lambda before: (seen, seen.c.at < before),
}
_OLDEST: dict[str, Callable[[], Any]] = {
    "messages": lambda: select(func.min(message.c.at)),
    "bodies": lambda: select(func.min(message.c.at)).where(message.c.body.is_not(None)),
    "attempts": lambda: select(func.min(attempt.c.at)),
    "notes": lambda: select(note.c.at).order_by(note.c.id).limit(1),
    "seen": lambda: select(func.min(seen.c.at)),
    "audit": lambda: select(audit.c.at).order_by(audit.c.seq).limit(1),
}
