"""Writes as bytes and back, for a writer in a process of its own: nothing but plain values crosses the pipe.

What is packed are the columns the store keeps and nothing else (no spans), in the order of the fields of their classes; what
comes back is what the writer sets: numbers, duplicates, and what failed.  Both sides are one program on one machine, started
together, so the form (marshal) is nobody else's business and has no version.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any

from hub.errors import Conflict, StoreError, Unkept
from hub.store.rows import (
    Answered,
    Attempt,
    AuditRow,
    DueRow,
    JobRow,
    Mark,
    NewMessage,
    NewWork,
    Note,
    Rare,
    RecordRow,
    Removal,
    Replaced,
    RouteRow,
    Write,
)

HEAD = 4
"""Bytes before each frame: its length."""


def framed(content: Any) -> bytes:
    data = marshal.dumps(content)
    return len(data).to_bytes(HEAD, "big") + data


class Frames:
    """Bytes of a pipe, cut into what was sent."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> list[Any]:
        """Everything that is whole by now."""
        self._data += data
        whole, at = [], 0
        while len(self._data) - at >= HEAD:
            end = at + HEAD + int.from_bytes(self._data[at : at + HEAD], "big")
            if end > len(self._data):
                break
            with memoryview(self._data) as view:
                whole.append(marshal.loads(view[at + HEAD : end]))  # noqa: S302 - written by our own other half
            at = end
        del self._data[:at]
        return whole


def _taker(kind: type, *without: str) -> Callable[[Any], tuple[Any, ...]]:
    """The fields of a row as a tuple, in their order."""
    take: Callable[[Any], tuple[Any, ...]] = attrgetter(*(f.name for f in fields(kind) if f.name not in without))
    return take


_GIVEN = ("seq", "duplicate", "known")
"""Fields of a message that the writer sets."""
_message, _work = _taker(NewMessage, "works", *_GIVEN), _taker(NewWork, "id", "since", "span")
_WORKS = [f.name for f in fields(NewMessage)].index("works")
_mark, _removal = _taker(Mark), _taker(Removal, "removed", "took")
_route, _job = _taker(RouteRow), _taker(JobRow)
_PLAIN: list[tuple[str, type]] = [
    ("answered", Answered), ("attempts", Attempt), ("notes", Note),
    ("records", RecordRow), ("due", DueRow), ("audit", AuditRow),
]  # fmt: skip
"""Lists of a write whose rows are plain values."""
_TAKERS = {name: _taker(kind) for name, kind in _PLAIN}
_PAIRS = ("keys", "reads", "counters", "unseen", "data_keys")
"""Lists of a write that hold tuples already."""


# The way there.


def packed(writes: Iterable[Write]) -> list[Any]:
    return [_packed(write) for write in writes]


def _packed(write: Write) -> tuple[Any, ...]:
    messages = [(_message(message), [_work(work) for work in message.works]) for message in write.messages]
    marks = [_mark(mark) for mark in write.marks]
    has_more = write.more or write.guarded or write.alone or write.more_work
    return messages, marks, _rest(write) if has_more else None


def _rest(write: Write) -> tuple[Any, ...]:
    more_work = [(seq, id, _work(work)) for seq, id, work in write.more_work]
    plain = [[_TAKERS[name](row) for row in getattr(write, name)] for name, _ in _PLAIN]
    pairs = [list(getattr(write, name)) for name in _PAIRS]
    removal = None if write.removal is None else _removal(write.removal)
    return more_work, plain, pairs, _packed_rare(write), removal


def _packed_rare(write: Write) -> tuple[Any, ...] | None:
    rare = write.rare
    if rare is None:
        return None
    closed = _works_of(write)
    replaced = [(r.work, r.at, _place(r.message, write.messages), _place(r.closed, closed)) for r in rare.replaced]
    return [_route(row) for row in rare.routes], [_job(row) for row in rare.jobs], replaced, list(rare.erased)


def _works_of(write: Write) -> list[NewWork]:
    return [work for _, _, work in write.more_work] + [work for message in write.messages for work in message.works]


def _place(thing: Any, among: Sequence[Any]) -> int:
    """Where it stands: it is the same object on the other side too."""
    return next(index for index, other in enumerate(among) if other is thing)


def unpacked(writes: Iterable[Any]) -> list[Write]:
    return [_unpacked(*write) for write in writes]


def _unpacked(messages: list[Any], marks: list[Any], rest: tuple[Any, ...] | None) -> Write:
    write = Write(messages=[_new_message(*message) for message in messages], marks=[Mark(*mark) for mark in marks])
    if rest is not None:
        more_work, plain, pairs, rare, removal = rest
        write.more_work = [(seq, id, NewWork(*work)) for seq, id, work in more_work]
        for (name, kind), rows in zip(_PLAIN, plain, strict=True):
            setattr(write, name, [kind(*row) for row in rows])
        for name, pair in zip(_PAIRS, pairs, strict=True):
            setattr(write, name, pair)
        write.rare = None if rare is None else _new_rare(write, *rare)
        write.removal = None if removal is None else Removal(*removal)
    return write


def _new_message(columns: tuple[Any, ...], works: list[Any]) -> NewMessage:
    values = [*columns[:_WORKS], [NewWork(*work) for work in works], *columns[_WORKS:]]
    return NewMessage(*values)


def _new_rare(write: Write, routes: list[Any], jobs: list[Any], replaced: list[Any], erased: list[int]) -> Rare:
    closed = _works_of(write)
    return Rare(
        [RouteRow(*row) for row in routes],
        [JobRow(*row) for row in jobs],
        [Replaced(work, at, write.messages[message], closed[place]) for work, at, message, place in replaced],
        erased,
    )


# The way back.


def told(writes: Iterable[Write]) -> list[Any]:
    """What the writer has set in each of them; None where there is nothing to tell."""
    return [_told(write) for write in writes]


def _told(write: Write) -> tuple[Any, ...] | None:
    if write.error is not None:
        return (type(write.error).__name__, str(write.error))
    if not (write.messages or write.more_work or write.removal):
        return None
    messages = [(m.seq, m.duplicate, m.known, m.flag, [work.id for work in m.works]) for m in write.messages]
    removal = None if write.removal is None else (write.removal.removed, write.removal.took)
    return messages, [work.id for _, _, work in write.more_work], removal


def take_over(write: Write, told: tuple[Any, ...] | None) -> None:
    """Sets in a write what the writer has told of it."""
    if told is None:
        return
    if isinstance(told[0], str):
        write.error = _error(*told)
        return
    messages, ids, removal = told
    for message, (seq, duplicate, known, flag, works) in zip(write.messages, messages, strict=True):
        message.seq, message.duplicate, message.known, message.flag = seq, duplicate, known, flag
        for work, id in zip(message.works, works, strict=True):
            work.id = id
    for (_, _, work), id in zip(write.more_work, ids, strict=True):
        work.id = id
    if write.removal is not None:
        write.removal.removed, write.removal.took = removal


def _error(kind: str, text: str) -> StoreError:
    return Conflict(text) if kind == "Conflict" else Unkept(text)
