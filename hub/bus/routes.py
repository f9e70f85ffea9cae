"""What people stop and let go on: connections and flows that are paused or drain, across restarts.

A route is a flow (`flow:NAME`), the sending side of a connection (`to:NAME`) or its receiving side (`from:NAME`).  Paused,
it takes nothing new and its work stays where it is.  Draining, what is there is still done, what is newer waits, and then it
is paused.  A connection that receives is closed meanwhile: its sender keeps what it has.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import structlog
from pydantic import BaseModel, ConfigDict

from hub.bus.core import Core
from hub.bus.target import Target
from hub.connector import Destination, Source
from hub.errors import HubError, NotFound, Refused
from hub.moments import now_micros
from hub.settings import Settings
from hub.store.rows import AuditRow, Rare, RouteRow, Write

if TYPE_CHECKING:
    from hub.bus.hub import Hub

log = structlog.get_logger(__name__)

WAIT = 10.0
"""Seconds a pause waits for what is under way, before it says how much still is."""


class RouteParams(BaseModel):
    """`pause`, `resume`, `drain`."""

    model_config = ConfigDict(extra="forbid")

    name: str
    """Of a connection or a flow; `connection:NAME` or `flow:NAME` when both are called so."""


def routes_of(name: str, settings: Settings) -> list[str]:
    """The routes a name stands for; raises NotFound, or Refused when it could mean two things."""
    kind, _, rest = name.rpartition(":")
    as_flow = kind in ("", "flow") and rest in settings.flows
    as_connection = kind in ("", "connection") and rest in settings.connections
    if as_flow and as_connection:
        raise Refused(f"both a connection and a flow are called {rest!r}; say connection:{rest} or flow:{rest}", code="OPS-002")
    if as_flow:
        return [f"flow:{rest}"]
    if not as_connection:
        names = sorted({*settings.connections, *settings.flows})
        raise NotFound(f"there is no connection and no flow {name!r}; there are {', '.join(names)}", code="OPS-001")
    connector = settings.connections[rest].connector
    sides = [("from", is_read(rest, settings)), ("to", issubclass(connector, Destination))]
    return [f"{side}:{rest}" for side, has in sides if has]


def is_read(connection: str, settings: Settings) -> bool:
    """True when it is opened to receive: what could do both and is only written to is not."""
    connector = settings.connections[connection].connector
    if not issubclass(connector, Source):
        return False
    wanted = any(flow.source == f"connection {connection}" for flow in settings.flows.values())
    return wanted or not issubclass(connector, Destination)


class Routes:
    """Stops routes and lets them go on; without a running hub it is written down and counts from the next start."""

    def __init__(self, core: Core, hub: Hub | None) -> None:
        self._core, self._hub = core, hub

    async def look(self, params: RouteParams, _: AuditRow) -> list[dict[str, Any]]:
        return [await self._told(route) for route in routes_of(params.name, self._core.clinic.settings)]

    async def pause(self, params: RouteParams, audit: AuditRow) -> list[dict[str, Any]]:
        return await self._stop(params.name, "paused", audit)

    async def drain(self, params: RouteParams, audit: AuditRow) -> list[dict[str, Any]]:
        return await self._stop(params.name, "draining", audit)

    async def _stop(self, name: str, state: str, audit: AuditRow) -> list[dict[str, Any]]:
        """On disk with its audit row first, then so."""
        routes = routes_of(name, self._core.clinic.settings)
        async with self._alone():
            rows = await self._keep(routes, state, audit)
            if self._hub is not None:
                for row in reversed(rows):  # what sends first: both sides may be one object
                    await stop(self._hub, row)
                self._hub.tell_others()
            return [await self._told(route) for route in routes]

    async def resume(self, params: RouteParams, audit: AuditRow) -> list[dict[str, Any]]:
        routes = routes_of(params.name, self._core.clinic.settings)
        async with self._alone():
            if self._hub is None:
                await self._keep(routes, "", audit)
            else:
                await self._go_on(self._hub, routes, audit)
            return [await self._told(route) for route in routes]

    async def _go_on(self, hub: Hub, routes: Sequence[str], audit: AuditRow) -> None:
        """What receives is opened first: when it cannot be, nothing has changed."""
        sides = [route.partition(":") for route in routes]
        closed = [name for side, _, name in sides if side == "from" and not hub.is_open(name)]
        for name in closed:
            await hub.open_source(name)
        try:
            await self._keep(routes, "", audit)
        except HubError:
            for name in closed:
                await hub.close_source(name)
            raise
        for route in routes:
            hub.stopped.pop(route, None)
            if (target := hub.targets.get(route)) is not None:
                target.resume()
        hub.tell_others()

    def _alone(self) -> contextlib.AbstractAsyncContextManager[Any]:
        """One change of a running hub at a time."""
        return self._hub.changing if self._hub else contextlib.nullcontext()

    async def _keep(self, routes: Sequence[str], state: str, audit: AuditRow) -> list[RouteRow]:
        until = await self._core.reader.highest_work()
        now = now_micros()
        rows = [RouteRow(route, _sided(route, state), until, now, audit.actor) for route in routes]
        await self._core.journal.commit(Write(audit=[audit], rare=Rare(routes=rows)))
        return rows

    async def _told(self, route: str) -> dict[str, Any]:
        rows = {row.name: row.state for row in await self._core.reader.route_states()}
        backlog = {row.target: row for row in await self._core.reader.backlog()}
        target = self._hub.targets.get(route) if self._hub else None
        return {
            "route": route,
            "state": rows.get(route, "running"),
            "waiting": backlog[route].waiting if route in backlog else 0,
            "held": backlog[route].held if route in backlog else 0,
            "under_way": len(target.running) if target else 0,
        }


def _sided(route: str, state: str) -> str:
    """What receives has nothing to drain: what it has brought is the work of flows."""
    return "paused" if state == "draining" and route.startswith("from:") else state


async def stop(hub: Hub, row: Any) -> None:
    """As a row says, whether the route is here or not (yet)."""
    hub.stopped[row.name] = row.state
    if row.name.startswith("from:"):
        await hub.close_source(row.name.removeprefix("from:"))
        return
    if (target := hub.targets.get(row.name)) is None:
        return
    if row.state == "draining":
        target.drain_until(row.until)
    else:
        target.pause()
        if target.running:
            await asyncio.wait(set(target.running), timeout=WAIT)


async def restore(hub: Hub) -> None:
    """At a start, before targets start and sources open: what was stopped stays so."""
    for row in await hub.core.reader.route_states():
        hub.stopped[row.name] = row.state
        stop_as_before(hub, row.name, row.until)


def stop_as_before(hub: Hub, route: str, until: int) -> None:
    target, state = hub.targets.get(route), hub.stopped.get(route)
    if target is None or state is None:
        return
    if state == "draining":
        target.lanes.drain_until(until)
    else:
        target.pause()


async def note_drained(hub: Hub, target: Target) -> None:
    """A drain has come to its end; when that cannot be written now, the next start finds it out again."""
    log.info("drained", target=target.name)
    async with hub.changing:
        row = next((row for row in await hub.core.reader.route_states() if row.name == target.name), None)
        if row is None or row.state != "draining":
            return
        if hub.sharing is not None and await hub.core.reader.goes_on_until(target.name, row.until):
            return  # at another hub: the last one to be done says so
        hub.stopped[target.name] = "paused"
        done = RouteRow(target.name, "paused", row.until, now_micros(), row.actor)
        await _commit_if_possible(hub.core, Write(rare=Rare(routes=[done])))


async def _commit_if_possible(core: Core, write: Write) -> None:
    try:
        await core.journal.commit(write)
    except HubError as error:
        log.warning("the end of a drain could not be written", code=error.code)
