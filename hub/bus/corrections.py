"""What a person does to one message: skip what is stuck of it, or send an edited copy in its place.

Work is claimed in its lane before it is looked at, so that it neither runs nor ends meanwhile.  An edited copy of a message
whose work is open takes its place in the lane, so the order stays; of one whose work has ended it comes at the end, late.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from hub.bus.core import Core
from hub.bus.replay import REPLACED
from hub.bus.target import Target
from hub.errors import MessageUnusable, NotFound, Refused
from hub.message import Message, new_id
from hub.moments import now_micros
from hub.store.rows import OPEN_STATES, Answered, AuditRow, Mark, NewMessage, NewWork, Rare, Replaced, Write

if TYPE_CHECKING:
    from hub.bus.hub import Hub

STUCK = (*OPEN_STATES, "quarantined", "unknown")
"""States of work that can be skipped."""


class SkipParams(BaseModel):
    """`messages.skip`."""

    model_config = ConfigDict(extra="forbid")

    id: str


class EditParams(BaseModel):
    """`messages.edit`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    id: str
    body: str
    """The new body, in base64."""


@dataclass(slots=True)
class _Edit:
    """What an edited copy does to the work of its original."""

    works: list[NewWork] = field(default_factory=list)
    """New work, at the end of its lanes."""
    in_place: list[Any] = field(default_factory=list)
    ended: list[Any] = field(default_factory=list)
    """Work of the original that is over with this."""


class Corrections:
    """Of a running hub, or of a store at rest."""

    def __init__(self, core: Core, hub: Hub | None) -> None:
        self._core, self._hub = core, hub

    # Skip.

    async def skip(self, params: SkipParams, audit: AuditRow) -> dict[str, Any]:
        row = await self._message(params.id)
        async with self._core.by_hand, self._claimed(row) as works:
            stuck = [work for work in works if work.state in STUCK]
            if not stuck:
                raise Refused(_nothing_to_skip(row, works), code="OPS-003")
            write = Write(audit=[audit])
            _end(write, stuck, f"skipped by {audit.actor}")
            await self._core.journal.commit(write)
            self._ended(stuck)
        return {"id": row.id, "skipped": [work.target for work in stuck]}

    # Edit.

    async def edit(self, params: EditParams, audit: AuditRow) -> dict[str, Any]:
        row = await self._message(params.id)
        if row.direction == "own":
            raise Refused(f"the message {row.id} was made by the hub itself and has nothing to edit", code="OPS-005")
        message = await self._edited(row, params.body)
        async with self._core.by_hand, self._claimed(row) as works:
            if any(work.state == "parked" for work in works):
                raise Refused(_nothing_to_skip(row, works), code="OPS-003")
            new, edit = await self._row(row, message, works)
            write = self._write(row, new, edit, audit)
            await self._core.journal.commit(write)
            for work in edit.in_place:
                if (target := self._target(work)) is not None and target.does(work.lane):
                    target.lanes.replace(work.id, new.seq, new.id)
            self._ended(edit.ended)
        places = [(work.target, "kept") for work in edit.in_place] + [(work.target, "end") for work in edit.works]
        return {"id": new.id, "replaces": row.id, "works": [{"target": t, "place": p} for t, p in places]}

    async def _edited(self, row: Any, body: str) -> Message:
        """The copy; raises Refused when it is no message of its format."""
        try:
            content = b64decode(body, validate=True)
        except (binascii.Error, ValueError):
            raise Refused("the body is no base64", code="CLI-004") from None
        original = self._core.bodies.message(row)
        if row.format == "hl7v2":
            content = _with_ends_of(original.body if row.body is not None else b"", content)
        message = replace(original, payload=content, type="", id=new_id(), parent=row.id)
        codec = self._core.clinic.catalogue.formats.get(row.format)
        try:
            if not content:
                raise MessageUnusable("it is empty")
            if codec is not None:
                codec.open(message)
        except MessageUnusable as error:
            raise Refused(f"the file is no message of the format {row.format}: {error}", code="OPS-006") from None
        return message

    async def _row(self, row: Any, message: Message, works: Sequence[Any]) -> tuple[NewMessage, _Edit]:
        keys = self._core.filing.keys(message, message.headers)
        message = replace(message, type=keys.type)
        at = now_micros()
        new = await self._core.bodies.row(
            message, connection=row.connection, direction=row.direction, at=at, control_id=keys.control_id
        )
        inherited = [(k.kind, k.value) for k in await self._core.reader.keys_of([row.seq]) if k.kind != "control"]
        new.keys = self._core.filing.rows(keys, inherited if row.direction == "out" or row.parent else ())
        new.keep, new.flag = row.keep, "edited"
        if row.direction == "in" and row.parent is None:
            lanes = self._core.filing.lanes(keys, row.connection)
            wanted = self._core.router.wanted(f"connection {row.connection}", message, keys.control_id)
            works_wanted = [NewWork(f"flow:{f.name}", lanes[0], lanes[1:], config=f.fingerprint, again=1) for f in wanted]
        else:
            works_wanted = [_as_new(work) for work in works]
        return new, _compare(works, works_wanted)

    def _write(self, row: Any, new: NewMessage, edit: _Edit, audit: AuditRow) -> Write:
        """The original's work ends with the copy's beginning, in one commit."""
        new.works = edit.works
        if not (edit.works or edit.in_place):
            new.state, new.reason = "skipped", "no flow wants it"
        reason = f"{REPLACED}{new.id}"
        write = Write(
            messages=[new], audit=[audit], notes=[self._core.bodies.note(row.seq, "edited", f"Sent edited as {new.id}")]
        )
        _end(write, edit.ended, reason, answer=False)
        rare = write.rare = Rare()
        for work in edit.in_place:
            also = tuple(work.also.split()) if work.also else ()
            closed = NewWork(work.target, work.lane, also, work.generation, work.step, None, work.config, "skipped", reason)
            write.more_work.append((row.seq, row.id, closed))
            rare.replaced.append(Replaced(work.id, new.at, new, closed))
        for fresh in edit.works:
            if fresh.origin is not None:
                write.marks.append(Mark(fresh.origin, "parked", new.at, asks=1))
        return write

    # Claims.

    @asynccontextmanager
    async def _claimed(self, row: Any) -> AsyncIterator[list[Any]]:
        """The newest work for each target, none of it running; raises Refused when some is."""
        claimed: list[tuple[Target, int]] = []
        try:
            for work in await self._core.reader.works_of([row.seq]):
                if work.state in OPEN_STATES and work.state != "held":
                    await self._refuse_what_another_does(row, work)
                if (target := self._target(work)) is None:
                    continue
                if not target.lanes.claim(work.id):
                    raise Refused(f"the message {row.id} is being worked on this moment; try again", code="OPS-004")
                claimed.append((target, work.id))
            newest = {work.target: work for work in await self._core.reader.works_of([row.seq])}
            yield list(newest.values())
        finally:
            for target, id in claimed:
                target.lanes.unclaim(id)
                target.pump()

    async def _refuse_what_another_does(self, row: Any, work: Any) -> None:
        """What waits for a person every hub may end or change; what another hub may begin any moment only that one."""
        target = self._target(work)
        if self._hub is None and getattr(self._core.store.writer, "together", False):
            raise Refused(f"the message {row.id} is being worked on by a running hub; ask that one", code="OPS-012")
        if self._hub is not None and self._hub.sharing is not None and target is not None and not target.does(work.lane):
            name = await self._hub.sharing.who_does(work.lane)
            raise Refused(f"the message {row.id} is the work of another hub, {name}; ask that one", code="OPS-012")

    def _target(self, work: Any) -> Target | None:
        return self._hub.targets.get(work.target) if self._hub is not None else None

    def _ended(self, works: Sequence[Any]) -> None:
        for work in works:
            if work.state in OPEN_STATES and (target := self._target(work)) is not None:
                target.lanes.withdraw(work.id)
            if self._hub is not None:
                self._hub.follower.finished(work.seq)
        if self._hub is not None:
            self._hub.tell_others()

    async def _message(self, id: str) -> Any:
        row = await self._core.reader.message(id)
        if row is None:
            raise NotFound(f"there is no message {id!r}")
        return row


def _compare(works: Sequence[Any], wanted: Sequence[NewWork]) -> _Edit:
    """Open work with the same lanes keeps its place; other work of the original that is stuck is over."""
    edit = _Edit()
    targets = {work.target: work for work in wanted}
    for work in works:
        new = targets.get(work.target)
        lanes = (work.lane, *(work.also.split() if work.also else ()))
        if new is not None and work.state in OPEN_STATES and (new.lane, *new.also) == lanes:
            edit.in_place.append(work)
            del targets[work.target]
        elif work.state in STUCK:
            edit.ended.append(work)
    edit.works = list(targets.values())
    return edit


def _as_new(work: Any) -> NewWork:
    also = tuple(work.also.split()) if work.also else ()
    return NewWork(work.target, work.lane, also, work.generation, work.step, work.origin, work.config, again=1)


def _end(write: Write, works: Sequence[Any], reason: str, *, answer: bool = True) -> None:
    """Ends works as skipped; a flow that asked hears of it, unless the question is put again."""
    at = now_micros()
    for work in works:
        write.marks.append(Mark(work.id, "skipped", at, work.attempts, reason=reason))
        if work.origin is not None and answer:
            write.answered.append(Answered(work.origin, at, f"its question was not answered: {reason}"))


def _nothing_to_skip(row: Any, works: Sequence[Any]) -> str:
    if any(work.state == "parked" for work in works):
        return f"the message {row.id} waits for an answer; skip the question it has put, `hub messages show` names it"
    return f"nothing of the message {row.id} waits or is stuck"


def _with_ends_of(original: bytes, content: bytes) -> bytes:
    """Editors end lines their own way; segments end as those of the original did, CR as a rule."""
    if b"\n" in original:
        return content
    return content.replace(b"\r\n", b"\r").replace(b"\n", b"\r")
