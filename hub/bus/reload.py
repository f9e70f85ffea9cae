"""`hub reload`: a checked clinic file takes the place of the old one while the hub runs, or the old one stays.

Connections whose settings are the same keep their links and what is under way; others are closed and opened anew.  First the
sources that change are closed, then the new file counts, then they are opened: when one cannot be, everything is put back as
it was.  What is left is without risk: destinations that changed end what they are sending and go on as the new file says, and
the work of those that are gone is held for a person.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from hub import logs
from hub.bus import routes
from hub.bus.flow import Flow, FlowTarget
from hub.bus.outgoing import OutgoingTarget
from hub.bus.target import Target
from hub.clinic import Clinic, load_clinic
from hub.connector import AnyConnector, Destination
from hub.errors import HubError, Refused
from hub.settings import Settings
from hub.store.rows import AuditRow, Rare, RouteRow, Write

if TYPE_CHECKING:
    from hub.bus.hub import Hub

log = structlog.get_logger(__name__)

DRAIN = 20.0
"""Seconds a connection that changed has for what it is sending."""


@dataclass(slots=True)
class Difference:
    """What a new clinic file changes."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    flows_added: list[str] = field(default_factory=list)
    flows_changed: list[str] = field(default_factory=list)
    flows_gone: list[str] = field(default_factory=list)
    opening: list[str] = field(default_factory=list)
    """Sources to open."""
    closing: list[str] = field(default_factory=list)
    """Sources to close."""

    def told(self) -> dict[str, list[str]]:
        return {
            "connections_added": self.added,
            "connections_changed": self.changed,
            "connections_gone": self.gone,
            "flows_added": self.flows_added,
            "flows_changed": self.flows_changed,
            "flows_gone": self.flows_gone,
        }

    def __str__(self) -> str:
        parts = (f"{name.replace('_', ' ')}: {', '.join(names)}" for name, names in self.told().items() if names)
        return "; ".join(parts) or "no connection and no flow changed"


def compare(old: Settings, new: Settings) -> Difference:
    found = Difference()
    found.added = [name for name in new.connections if name not in old.connections]
    found.gone = [name for name in old.connections if name not in new.connections]
    both = [name for name in new.connections if name in old.connections]
    found.changed = [name for name in both if not _is_same(old, new, name)]
    found.flows_added = [name for name in new.flows if name not in old.flows]
    found.flows_gone = [name for name in old.flows if name not in new.flows]
    found.flows_changed = [n for n in new.flows if n in old.flows and new.flows[n].fingerprint != old.flows[n].fingerprint]
    was = {name for name in old.connections if routes.is_read(name, old)}
    will = {name for name in new.connections if routes.is_read(name, new)}
    found.closing = sorted(name for name in was if name not in will or name in found.changed)
    found.opening = sorted(name for name in will if name not in was or name in found.changed)
    return found


def _is_same(old: Settings, new: Settings, name: str) -> bool:
    before, after = old.connections[name], new.connections[name]
    return before.connector is after.connector and before.config == after.config


async def reload(hub: Hub, audit: AuditRow, file: Path | None = None) -> dict[str, Any]:
    """Raises ConfigError with all that is wrong with the file, Refused when it needs a restart, or what kept a connection
    from opening; the old file counts on in each case.
    """
    clinic = await asyncio.to_thread(load_clinic, file or hub.clinic.settings.file)
    async with hub.changing:
        _refuse_what_needs_a_restart(hub.clinic, clinic)
        change = _Change(hub, clinic)
        await change.prepare()
        await hub.core.journal.commit(Write(audit=[replace(audit, detail=str(change.difference)[:1000])]))
        try:
            await change.apply()
        except HubError as error:
            await hub.core.journal.commit(Write(audit=[replace(audit, detail=f"left as it was: {error.code}")]))
            raise
        await change.finish()
    hub.on_settled()
    logs.configure(clinic.settings.log.level, clinic.settings.log.format)
    log.info("the clinic file was read again", changes=str(change.difference))
    return change.difference.told()


def _refuse_what_needs_a_restart(old: Clinic, new: Clinic) -> None:
    parts = [
        ("store", old.settings.store, new.settings.store),
        ("key", old.settings.key, new.settings.key),
        ("metrics", old.settings.metrics, new.settings.metrics),
        ("disable", old.registry.disabled, new.registry.disabled),
        ("plugins", old.catalogue.plugins, new.catalogue.plugins),
    ]
    changed = [name for name, before, after in parts if before != after]
    if changed:
        text = f"{', '.join(changed)} cannot be changed while the hub runs: restart it; the old file counts until then"
        raise Refused(text, code="OPS-010")


class _Change:
    """One change of a running hub to another clinic file."""

    def __init__(self, hub: Hub, clinic: Clinic) -> None:
        self._hub, self._old, self._new = hub, hub.clinic, clinic
        self.difference = compare(hub.clinic.settings, clinic.settings)
        self._flows = {name: Flow.build(flow) for name, flow in clinic.settings.flows.items()}
        fresh = [*self.difference.added, *self.difference.changed]
        settings = clinic.settings.connections
        self._connections: dict[str, AnyConnector] = {
            name: settings[name].connector(name, settings[name].config) for name in fresh
        }
        self._running: set[asyncio.Task[None]] = set()
        """Runs of flows that began under the old file."""

    async def prepare(self) -> None:
        """What can fail without a trace."""
        for connection in self._connections.values():
            if isinstance(connection, Destination):
                await connection.open_destination()

    async def apply(self) -> None:
        """The new file counts; raises what kept a source from opening, when the old one counts again."""
        hub = self._hub
        for name in self.difference.closing:
            await hub.close_source(name)
        sources = dict(hub.sources)
        self._adopt(self._new, self._flows)
        added: list[Target] = []
        opened: list[str] = []
        try:
            await self._add(added)
            for name in self.difference.opening:
                if f"from:{name}" not in hub.stopped:
                    opened.append(name)
                    await hub.open_source(name)
        except BaseException:
            await self._undo(opened, added, sources)
            raise

    def _adopt(self, clinic: Clinic, flows: dict[str, Flow]) -> None:
        """In one go, so that no message meets half of it."""
        hub = self._hub
        hub.clinic = clinic
        hub.core.adopt(clinic)
        hub.flows.clear()
        hub.flows.update(flows)
        for name, flow in flows.items():
            target = hub.targets.get(f"flow:{name}")
            if isinstance(target, FlowTarget):
                self._running |= target.running
                target.use(flow)

    async def _add(self, added: list[Target]) -> None:
        """Flows and connections there were none of; sources that changed are replaced, destinations later."""
        hub = self._hub
        for name in self.difference.flows_added:
            added.append(FlowTarget(self._flows[name], hub.core, hub.follower))
            await self._start(added[-1])
        for name, connection in self._connections.items():
            if isinstance(connection, Destination) and f"to:{name}" not in hub.targets:
                added.append(OutgoingTarget(name, connection, hub.flows, hub.core, hub.follower))
                await self._start(added[-1])
            hub.replace_source(name, connection)

    async def _start(self, target: Target) -> None:
        """Nothing may be offered to it before it knows how far the journal is; what is not committed yet does not count."""
        hub = self._hub
        highest = await hub.core.reader.highest_work()
        hub.add_target(target)
        routes.stop_as_before(hub, target.name, highest)
        target.start(highest)

    async def _undo(self, opened: Sequence[str], added: Sequence[Target], sources: dict[str, Any]) -> None:
        hub = self._hub
        for name in opened:
            await hub.close_source(name)
        for target in added:
            hub.targets.pop(target.name, None)
        self._adopt(self._old, {name: Flow.build(flow) for name, flow in self._old.settings.flows.items()})
        for target in added:
            await target.drain(DRAIN)
        for connection in self._connections.values():
            await hub.close_quietly(connection)
        hub.put_sources_back(sources, self.difference.closing)
        await hub.hold_the_homeless({target.name for target in added})
        for name in self.difference.closing:
            if f"from:{name}" not in hub.stopped:
                await self._open_again(name)

    async def _open_again(self, name: str) -> None:
        try:
            await self._hub.open_source(name)
        except HubError as error:
            log.error("a connection is closed and could not be opened again", connection=name, code=error.code)

    async def _forget_routes(self) -> None:
        """What is gone is not paused any more; should this not be written, it is when it comes back."""
        gone = [f"flow:{name}" for name in self.difference.flows_gone]
        gone += [f"{side}:{name}" for side in ("to", "from") for name in self.difference.gone]
        stopped = [name for name in gone if self._hub.stopped.pop(name, None)]
        if stopped:
            await self._hub.core.journal.commit(Write(rare=Rare(routes=[RouteRow(name, "") for name in stopped])))

    async def finish(self) -> None:
        """Destinations that changed or are gone end what they are sending; nothing of this can fail."""
        hub = self._hub
        if self._running:
            await asyncio.wait(self._running, timeout=DRAIN)
        settings = self._new.settings.connections
        replaced = [name for name in self.difference.changed if f"to:{name}" in hub.targets]
        old = [hub.targets[f"to:{name}"] for name in replaced]
        gone = [f"flow:{name}" for name in self.difference.flows_gone] + [f"to:{name}" for name in self.difference.gone]
        gone += [f"to:{name}" for name in replaced if not issubclass(settings[name].connector, Destination)]
        retired = [*old, *(hub.targets[name] for name in gone if name in hub.targets)]
        await asyncio.gather(*(target.drain(DRAIN) for target in retired))
        for name in replaced:
            await self._replace(name)
        for name in gone:
            hub.targets.pop(name, None)
        await hub.hold_the_homeless(set(gone))
        await self._forget_routes()
        for target in retired:
            if isinstance(target, OutgoingTarget):
                await hub.close_quietly(target.destination)
        for name in self.difference.gone:
            if (source := hub.sources.pop(name, None)) is not None:
                await hub.close_quietly(source)

    async def _replace(self, name: str) -> None:
        connection = self._hub.sources.get(name, self._connections[name])
        if isinstance(connection, Destination):
            await self._start(OutgoingTarget(name, connection, self._hub.flows, self._hub.core, self._hub.follower))
