"""What crosses the pipe to a writer in a process of its own: everything that is kept, and nothing else."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from hub.errors import Conflict, Unkept
from hub.store import rows
from hub.store.rows import AuditRow, NewMessage, NewWork, Rare, Removal, Replaced, Write
from hub.store.wire import Frames, framed, packed, take_over, told, unpacked

NUMBERS = st.integers(-(2**63), 2**63 - 1)
VALUES = {
    "str": st.text(max_size=8), "int": NUMBERS, "bytes": st.binary(max_size=8), "bool": st.booleans(), "float": st.floats(),
    "str | None": st.none() | st.text(max_size=8), "int | None": st.none() | NUMBERS,
    "bytes | None": st.none() | st.binary(max_size=8),
    "tuple[str, ...]": st.lists(st.text(max_size=4), max_size=3).map(tuple), "tuple[int, int]": st.tuples(NUMBERS, NUMBERS),
    "list[int]": st.lists(NUMBERS, max_size=3),
    "list[tuple[str, str]]": st.lists(st.tuples(st.text(max_size=4), st.text(max_size=4)), max_size=3),
    "list[tuple[int, int]]": st.lists(st.tuples(NUMBERS, NUMBERS), max_size=3),
    "list[tuple[int, str, str]]": st.lists(st.tuples(NUMBERS, st.text(max_size=4), st.text(max_size=4)), max_size=3),
    "list[tuple[str, str, int]]": st.lists(st.tuples(st.text(max_size=4), st.text(max_size=4), NUMBERS), max_size=3),
    "list[tuple[str, str, bool]]": st.lists(st.tuples(st.text(max_size=4), st.text(max_size=4), st.booleans()), max_size=3),
    "list[tuple[str, int]]": st.lists(st.tuples(st.text(max_size=4), NUMBERS), max_size=3),
    "list[tuple[bytes, bytes]]": st.lists(st.tuples(st.binary(max_size=4), st.binary(max_size=4)), max_size=3),
    "list[tuple[int, bytes]]": st.lists(st.tuples(NUMBERS, st.binary(max_size=4)), max_size=3),
}  # fmt: skip
SET_BY_THE_WRITER = {
    NewMessage: {"seq", "duplicate", "known"},
    NewWork: {"id", "since", "span"},
    Removal: {"removed", "took"},
    Write: {"error"},
}
"""Fields that do not go there: `since` and `span` stay with the hub, the others come back."""


QUICK = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=40)
"""Many small parts make one write."""


@cache
def some(kind: type) -> st.SearchStrategy[Any]:
    """Any row of this kind.  A field of a type nobody knows here fails, so that new ones are thought of."""
    fields = [field for field in dataclasses.fields(kind) if field.name not in SET_BY_THE_WRITER.get(kind, ())]
    return st.builds(kind, **{field.name: _values(str(field.type)) for field in fields})


def _values(type: str) -> st.SearchStrategy[Any]:
    if type in VALUES:
        return VALUES[type]
    if type == "list[tuple[int, str, NewWork]]":
        return st.lists(st.tuples(NUMBERS, st.text(max_size=4), some(NewWork)), max_size=2)
    if type.startswith("list["):
        return st.lists(some(getattr(rows, type[5:-1])), max_size=2)
    return st.none() | some(getattr(rows, type.removesuffix(" | None")))


@st.composite
def writes(draw: st.DrawFn) -> Write:
    plain = [field for field in dataclasses.fields(Write) if field.name not in ("rare", "error")]
    write = draw(st.builds(Write, **{field.name: _values(str(field.type)) for field in plain}))
    if draw(st.booleans()):
        write.rare = Rare(draw(_values("list[RouteRow]")), draw(_values("list[JobRow]")), [], draw(_values("list[int]")))
        if write.messages and write.more_work:
            write.rare.replaced = [Replaced(draw(NUMBERS), draw(NUMBERS), write.messages[-1], write.more_work[-1][2])]
    return write


def there(given: list[Write]) -> list[Write]:
    (content,) = Frames().feed(framed(packed(given)))
    return unpacked(content)


@QUICK
@given(st.lists(writes(), max_size=2))
def test_what_arrives_is_what_was_sent(given: list[Write]) -> None:
    assert there(given) == given


@QUICK
@given(writes())
def test_who_takes_the_place_of_a_message_is_the_same_message_there(write: Write) -> None:
    (arrived,) = there([write])
    for replaced in arrived.rare.replaced if arrived.rare else ():
        assert replaced.message is arrived.messages[-1]
        assert replaced.closed is arrived.more_work[-1][2]


@QUICK
@given(writes(), st.data())
def test_what_the_writer_sets_comes_back(write: Write, data: st.DataObject) -> None:
    (arrived,) = there([write])
    for message in arrived.messages:
        message.seq, message.known, message.duplicate = data.draw(NUMBERS), data.draw(st.booleans()), data.draw(st.booleans())
        message.flag = data.draw(st.none() | st.text())
    for work in [*(work for message in arrived.messages for work in message.works), *(w for _, _, w in arrived.more_work)]:
        work.id = data.draw(NUMBERS)
    if arrived.removal is not None:
        arrived.removal.removed, arrived.removal.took = 7, 0.5
    (content,) = Frames().feed(framed(told([arrived])))
    take_over(write, content[0])
    assert write == arrived


@pytest.mark.parametrize("error", [Conflict("a record changed"), Unkept("this cannot be kept")])
def test_what_failed_alone_says_so_on_this_side_too(error: Exception) -> None:
    write, failed = Write(), Write(error=error)
    take_over(write, told([failed])[0])
    assert type(write.error) is type(error)
    assert str(write.error) == str(error)


@given(st.lists(st.binary(max_size=40), max_size=5), st.integers(1, 9))
def test_however_the_bytes_are_cut_the_frames_are_whole(contents: list[bytes], size: int) -> None:
    frames, data = Frames(), b"".join(framed(content) for content in contents)
    found = [frame for at in range(0, len(data), size) for frame in frames.feed(data[at : at + size])]
    assert found == contents


def test_a_span_stays_at_home() -> None:
    message = NewMessage("m", 1, "c", "in", "f", "", "", None, 0, 1, b"d", b"b", works=[NewWork("flow:f", "l", span=object())])
    assert there([Write(messages=[message], audit=[AuditRow(1, "a", "b", "c")])])[0].messages[0].works[0].span is None
