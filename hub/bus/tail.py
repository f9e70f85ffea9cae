"""Messages as they come, for `hub tail`: who looks is written down once, when the look begins."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from hub.bus.core import Core
from hub.errors import NotFound, Unreachable
from hub.message import new_id
from hub.store.reader import MessageFilter
from hub.store.rows import AuditRow

AT_ONCE = 200
"""Messages in one answer."""
WAIT = 2.0
"""Seconds an answer waits for a message: short, so that it does not hold up a stop."""
EVERY = 0.1
"""Seconds between looks."""
MOST = 32
"""Looks that may be open; the one nobody asked about for longest is forgotten for a new one."""

Lines = Callable[[Sequence[Any], bool], Awaitable[list[dict[str, Any]]]]


class TailParams(BaseModel):
    """`tail.begin`."""

    model_config = ConfigDict(extra="forbid")

    connection: str | None = None
    type: str | None = None
    phi: bool = False
    last: int = Field(default=0, ge=0, le=AT_ONCE)
    """How many of those that are there are shown first."""


class NextParams(BaseModel):
    """`tail.next`."""

    model_config = ConfigDict(extra="forbid")

    tail: str


@dataclass(slots=True)
class _Look:
    params: TailParams
    seq: int
    """Up to here it has seen everything."""


class Tails:
    """The looks of a running hub."""

    def __init__(self, core: Core, lines: Lines, *, running: bool) -> None:
        self._core, self._lines, self._running = core, lines, running
        self._looks: OrderedDict[str, _Look] = OrderedDict()

    async def begin(self, params: TailParams, _: AuditRow) -> dict[str, Any]:
        if not self._running:
            raise Unreachable("no hub is running, so nothing comes in; `hub messages list` shows what came")
        seq = await self._core.reader.newest_seq()
        id = new_id()
        self._looks[id] = _Look(params, seq)
        while len(self._looks) > MOST:
            self._looks.popitem(last=False)
        wanted = MessageFilter(params.connection, params.type, limit=params.last, before_seq=seq + 1)
        rows = await self._core.reader.list_messages(wanted) if params.last else []
        return {"tail": id, "messages": await self._lines(rows[::-1], params.phi)}

    async def next(self, params: NextParams, _: AuditRow) -> dict[str, Any]:
        """What came since the last answer; nothing when nothing comes for a while."""
        look = self._looks.get(params.tail)
        if look is None:
            raise NotFound("this look has ended; begin anew", code="OPS-011")
        self._looks.move_to_end(params.tail)
        end = time.monotonic() + WAIT
        while not (rows := await self._new(look)) and time.monotonic() < end:  # noqa: ASYNC110 - the store has no event
            await asyncio.sleep(EVERY)
        return {"tail": params.tail, "messages": await self._lines(rows, look.params.phi)}

    async def _new(self, look: _Look) -> list[Any]:
        newest = await self._core.reader.newest_seq()
        if newest <= look.seq:
            return []
        wanted = MessageFilter(
            look.params.connection, look.params.type, limit=AT_ONCE, after_seq=look.seq, before_seq=newest + 1
        )
        rows = await self._core.reader.list_messages(wanted, oldest_first=True)
        look.seq = rows[-1].seq if len(rows) == AT_ONCE else newest
        return rows
