"""How long the bodies of messages stay, as `keep` says: for good, until all is delivered, or until all has ended.

A body is always kept while work of its message is open: a hub that has acknowledged a message must be able to deliver it.
When the last work of a message ends, its body is erased a moment later, and what partners wrote about it.  What was left by a
crash is found by the next start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import structlog

from hub.bus.bodies import Bodies
from hub.bus.journal import Journal
from hub.errors import HubError
from hub.settings import Settings
from hub.store.reader import Reader
from hub.store.rows import KEEP, Rare, Write

log = structlog.get_logger(__name__)

SOON = 0.5
"""Seconds after an end that its body is erased, together with others."""
AT_ONCE = 500
"""Messages in one commit."""
MOST_WAITING = 100_000
"""Ends remembered; of more, the next look at everything takes care."""
LOOK_EVERY = 3600.0
"""Seconds between looks at everything."""


class Keeping:
    """Knows how long each body stays, and erases those whose time is over."""

    def __init__(self, settings: Settings, journal: Journal, reader: Reader, bodies: Bodies, by_hand: asyncio.Lock) -> None:
        self._journal, self._reader, self._bodies, self._by_hand = journal, reader, bodies, by_hand
        self._ended: set[int] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._erasing: set[asyncio.Task[None]] = set()
        self._closed = False
        self.adopt(settings)

    def adopt(self, settings: Settings) -> None:
        """The clinic file has changed: it counts for messages from now on."""
        configs = {name: connection.config for name, connection in settings.connections.items()}
        self._connections = {name: KEEP[config.keep] for name, config in configs.items() if config.keep}
        self._flows = {name: KEEP[flow.keep] for name, flow in settings.flows.items() if flow.keep}
        self._wanted = any((*self._connections.values(), *self._flows.values()))

    def level(self, connection: str, flows: Iterable[str] = ()) -> int:
        """One of KEEP: what the connection says, else the flow; of several flows the one that keeps longest."""
        if not self._wanted:
            return 0
        own = self._connections.get(connection)
        return own if own is not None else min((self._flows.get(flow, 0) for flow in flows), default=0)

    # Erasing.

    def ended(self, seq: int) -> None:
        """Work of a message has ended."""
        if self._wanted and not self._closed and len(self._ended) < MOST_WAITING:
            self._ended.add(seq)
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(SOON, self._begin)

    def _begin(self) -> None:
        self._timer = None
        task = asyncio.get_running_loop().create_task(self._erase_ended())
        self._erasing.add(task)
        task.add_done_callback(self._erasing.discard)

    async def _erase_ended(self) -> None:
        ended, self._ended = sorted(self._ended), set()
        for start in range(0, len(ended), AT_ONCE):
            await self._erase(lambda some=ended[start : start + AT_ONCE]: self._reader.erasable(some))

    async def look(self) -> None:
        """Erases whatever may go, wherever it is."""
        after = 0
        while rows := await self._erase(lambda after=after: self._reader.all_erasable(after, AT_ONCE)):
            after = rows[-1].seq

    async def _erase(self, find: Any) -> Sequence[Any]:
        """Nobody replays or edits a message between the look and the commit."""
        try:
            async with self._by_hand:
                rows: Sequence[Any] = await find()
                if rows:
                    await self._journal.commit(Write(rare=Rare(erased=[row.seq for row in rows])))
        except HubError as error:
            log.warning("bodies that may go could not be erased now; the next look does it", code=error.code)
            return ()
        for row in rows:
            self._bodies.forget(row.id)
        return rows

    async def close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._erasing:
            await asyncio.wait(self._erasing)
