"""What people tell one hub counts for all hubs of its store.

The store says what is stopped, which jobs run, what waits for a person, and when the clinic file was last to be read again.
The hub that was asked changes it and does what it says; the others look, when they are called (NOTIFY) or every two seconds,
and do the same.  So it also counts for a hub that was not there, and after a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import structlog

from hub.bus import routes
from hub.bus.reload import reload
from hub.bus.target import Target
from hub.errors import Conflict, HubError
from hub.moments import now_micros
from hub.store.rows import AuditRow, Write

if TYPE_CHECKING:
    from hub.bus.hub import Hub

log = structlog.get_logger(__name__)

LOOK_EVERY = 2.0
"""Seconds between looks, when nobody calls."""
RELOADS = "reloads"
"""Counter of the store: when the clinic file was last to be read again, in microseconds since 1970."""
CALL = "orders"


class Orders:
    """This hub, obeying."""

    def __init__(self, hub: Hub) -> None:
        self._hub, self._core = hub, hub.core
        self._called = asyncio.Event()
        self._reloaded = 0
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """What counts now is known: the hub has begun with it."""
        self._reloaded = await self._core.reader.counter(RELOADS)
        self._task = asyncio.create_task(self._follow(), name="orders")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def called(self) -> None:
        self._called.set()

    async def note_reload(self) -> None:
        """This hub has read its clinic file again: the others read theirs."""
        self._reloaded = max(now_micros(), await self._core.reader.counter(RELOADS) + 1)
        with contextlib.suppress(Conflict):  # another one was just told the same
            await self._core.journal.commit(Write(counters=[(RELOADS, self._reloaded)]))

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await self._called.wait()
            self._called.clear()
            try:
                await self.look()
            except Exception as error:  # the database may be away; whatever it is, the next look must come
                log.warning("what other hubs were told cannot be read", reason=type(error).__name__)

    async def look(self) -> None:
        await self._routes()
        await self._held()
        await self._reload()
        await self._jobs()

    # What is stopped.

    async def _routes(self) -> None:
        hub = self._hub
        async with hub.changing:
            rows = {row.name: row for row in await self._core.reader.route_states()}
            for name in [name for name in hub.stopped if name not in rows]:
                await self._go_on(name)
            for name, row in rows.items():
                if hub.stopped.get(name) != row.state:
                    log.info("stopped, as another hub was told", route=name, state=row.state)
                    await routes.stop(hub, row)
        for name, row in rows.items():
            if row.state == "draining" and (target := hub.targets.get(name)) is not None and target.paused:
                await self._end_drain(target, row.until)

    async def _go_on(self, route: str) -> None:
        hub = self._hub
        side, _, name = route.partition(":")
        if side == "from" and name in hub.sources and not hub.is_open(name):
            await hub.open_source(name)
        hub.stopped.pop(route, None)
        if (target := hub.targets.get(route)) is not None:
            target.resume()
        log.info("goes on, as another hub was told", route=route)

    async def _end_drain(self, target: Target, until: int) -> None:
        """Its own part is done.  The last hub to be done says so; what it has taken over meanwhile is done first."""
        if await self._core.reader.goes_on_until(target.name, until, target.partitions):
            target.drain_until(until)
        else:
            await routes.note_drained(self._hub, target)

    # What waits for a person.

    async def _held(self) -> None:
        """Nobody does anything by hand meanwhile."""
        for target in list(self._hub.targets.values()):
            if not (held := target.lanes.held()):
                continue
            async with self._core.by_hand:
                rows = {row.id: row for row in await self._core.reader.open_works(held)}
                for id in held:
                    item, row = target.lanes.items.get(id), rows.get(id)
                    if item is None or not item.held or (row is not None and row.state == "held"):
                        continue
                    if row is None:
                        target.lanes.withdraw(id)
                        self._hub.follower.finished(item.seq)
                    elif row.seq != item.seq:
                        target.lanes.replace(id, row.seq, row.message)
                    else:
                        target.lanes.release(id, row.generation, row.step)
            target.pump()

    # The clinic file, and what takes long.

    async def _reload(self) -> None:
        asked = await self._core.reader.counter(RELOADS)
        if asked <= self._reloaded:
            return
        self._reloaded = asked
        now = now_micros()
        try:
            await reload(self._hub, AuditRow(now, "another hub", "reload", "", "it was told to read its clinic file again"))
        except HubError as error:
            log.error("the clinic file cannot be read again, as another hub has done", code=error.code, reason=str(error))

    async def _jobs(self) -> None:
        """They are done by the hub that leads."""
        if self._hub.leads:
            await self._hub.jobs.start()
        else:
            await self._hub.jobs.stop()
