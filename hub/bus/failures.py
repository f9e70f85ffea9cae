"""What follows when work ends: those who wait for an outcome are told, plugins are told, and flows that look after failures
get a message about each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog

from hub.bus.core import Core
from hub.bus.lanes import Item
from hub.bus.spans import failed as span_failed
from hub.errors import DoubtfulSend, HubError, MessageUnusable
from hub.message import Message, derived_id
from hub.moments import now_micros
from hub.records import Failure
from hub.store.reader import state_of
from hub.store.rows import OPEN_STATES, NewMessage, NewWork

log = structlog.get_logger(__name__)

STILL_TO_COME = (*OPEN_STATES, "parked")
"""States in which a message has not come to its end."""
ENDED_WELL = ("delivered", "skipped")
AT_ONCE = 500
"""Messages that are asked for with one query."""
LOOK_AGAIN = 0.5
"""Seconds after which who waits for an outcome looks by itself: another hub on the same database may have brought it about."""


def problem_of(error: BaseException) -> HubError:
    """Our own errors say where, what, and what to do; of others only the kind is told, their words may hold patient data."""
    if isinstance(error, HubError):
        return error
    if isinstance(error, TimeoutError):
        return MessageUnusable("the steps took longer than they may", code="MSG-005")
    return MessageUnusable(
        f"the program failed with {type(error).__name__}; this is a mistake in a plugin or in the hub", code="BUG-001"
    )


class Follower:
    """Knows who wants to hear of an end."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._waiting: dict[int, list[asyncio.Future[None]]] = {}
        """By the seq of the message."""

    def finished(self, seq: int) -> None:
        """Some work of a message has ended; who waits looks whether all has."""
        self._core.keeping.ended(seq)
        for future in self._waiting.pop(seq, ()):
            if not future.done():
                future.set_result(None)

    def failed(self, item: Item, where: str, error: HubError, attempt: int, *, final: bool = True) -> None:
        if item.span is not None:
            span_failed(item.span, error.code)
        log.warning("a message failed", message=item.message, where=where, code=error.code, attempt=attempt, final=final)
        registry = self._core.clinic.registry
        registry.tell("message_failed", message_id=item.message, where=where, error=error, attempt=attempt, final=final)
        if final:
            self.finished(item.seq)

    async def outcomes(self, seqs: Sequence[int], timeout: float, *, sent_on: bool = False) -> list[str]:
        """The state each message has come to once nothing of it is open, or when the time is over.

        With `sent_on` that of what was made of it counts too: of several one that did not end well.
        """
        end = time.monotonic() + timeout
        states = await self._outcomes(seqs, end)
        if sent_on:
            await self._look_at_what_was_made(states, end)
        return [states[seq] for seq in seqs]

    async def _look_at_what_was_made(self, states: dict[int, str], end: float) -> None:
        """Of messages that ended well those made of them count, and those made of these."""
        rows = await self._rows(self._core.reader.messages_by_seq, list(states))
        origin = {row.id: row.seq for row in rows if states[row.seq] in ENDED_WELL}
        while origin:
            made = await self._rows(self._core.reader.children, list(origin))
            found = await self._outcomes([row.seq for row in made], end)
            for row in made:
                if found[row.seq] not in ENDED_WELL:
                    states[origin[row.parent]] = found[row.seq]
            origin = {row.id: origin[row.parent] for row in made if found[row.seq] in ENDED_WELL}

    async def _outcomes(self, seqs: Sequence[int], end: float) -> dict[int, str]:
        """By seq.  All are looked at together: a batch may be of thousands."""
        states: dict[int, str] = {}
        left = list(dict.fromkeys(seqs))
        while left:
            waiting = {seq: self._told(seq) for seq in left}
            try:
                states |= await self._states(left)
                left = [seq for seq in left if states[seq] in STILL_TO_COME]
                time_left = end - time.monotonic()
                if left and time_left > 0:
                    await asyncio.wait([waiting[seq] for seq in left], timeout=min(time_left, LOOK_AGAIN))
                elif left:
                    break
            finally:
                for seq, future in waiting.items():
                    self._forget(seq, future)
        return states

    async def _states(self, seqs: Sequence[int]) -> dict[int, str]:
        own = {row.seq: row.state for row in await self._rows(self._core.reader.messages_by_seq, seqs)}
        works: dict[int, list[Any]] = {}
        for row in await self._rows(self._core.reader.works_of, seqs):
            works.setdefault(row.seq, []).append(row)
        return {seq: state_of(own.get(seq), works.get(seq, ())) for seq in seqs}

    async def _rows(self, read: Callable[[Sequence[Any]], Awaitable[list[Any]]], of: Sequence[Any]) -> list[Any]:
        """What a query gives for many, asked so that it never has too many parameters."""
        return [row for at in range(0, len(of), AT_ONCE) for row in await read(of[at : at + AT_ONCE])]

    def _told(self, seq: int) -> asyncio.Future[None]:
        """Done when some work of a message has ended."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(seq, []).append(future)
        return future

    def _forget(self, seq: int, future: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(seq, [])
        if future in waiting:
            waiting.remove(future)
        if not waiting:
            self._waiting.pop(seq, None)

    async def failure(self, flow: str, step: str, error: HubError, message: Message, item: Item) -> list[NewMessage]:
        """A message about a failure, for the flows `from: {failed: FLOW}`; none when there is no such flow."""
        id = derived_id(item.message, flow, f"failed:{step}", item.attempts, item.generation)
        record = Failure(
            flow=flow,
            step=step,
            code=error.code,
            reason=str(error),
            message=item.message,
            doubtful=isinstance(error, DoubtfulSend),
            headers=dict(message.headers),
        )
        told = Message(record, "failure", flow, message.headers, id=id, parent=item.message)
        wanted = self._core.router.wanted(f"failed {flow}", told, "")
        if not wanted:
            return []
        row = await self._core.bodies.row(told, connection=flow, direction="own", at=now_micros())
        row.keep = self._core.keeping.level("", [w.name for w in wanted])
        row.works = [NewWork(f"flow:{w.name}", item.lanes[0], item.lanes[1:], config=w.fingerprint) for w in wanted]
        for known in await self._core.reader.keys_of([item.seq]):
            row.keys.append((known.kind, known.value))
        return [row]
