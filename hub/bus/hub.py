"""A running hub: started in the order that keeps the promises, stopped without losing anything."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog

from hub.bus import failpoints, routes
from hub.bus.alerts import Alerts
from hub.bus.core import Core, open_core
from hub.bus.duework import DueWork
from hub.bus.failures import Follower
from hub.bus.flow import Flow, FlowTarget
from hub.bus.inbound import Inbound
from hub.bus.jobs import Jobs
from hub.bus.keeping import LOOK_EVERY as KEEPING_CHECK
from hub.bus.lanes import Item
from hub.bus.orders import CALL, Orders
from hub.bus.outgoing import OutgoingTarget
from hub.bus.space import LOOK_EVERY
from hub.bus.standstill import Standstill
from hub.bus.status import describe_status
from hub.bus.target import Target
from hub.clinic import Clinic
from hub.connector import AnyConnector, AnySource, Destination, Source
from hub.errors import HubError, StoreError
from hub.moments import from_micros, now_micros
from hub.settings import Settings
from hub.store.rows import Mark, NewWork, Write
from hub.store.sqlite import SqliteWriter

if TYPE_CHECKING:
    from hub.bus.sharing import Sharing

log = structlog.get_logger(__name__)

DRAIN = 20.0
"""Seconds a stop waits for what is under way."""
KEY_CHECK = 3600.0
"""Seconds between looks at the data keys."""
RETENTION_CHECK = 30.0
"""Seconds between looks whether old messages are to be taken out."""


class Hub:
    """One clinic's hub.

    `start` opens the store, finds a home for all open work, then opens the sources; when it returns the hub is ready.
    `stop` closes the sources first, lets what is under way end, and closes the store last.
    """

    def __init__(self, clinic: Clinic, *, key: bytes | None = None, apart: bool = False) -> None:
        """`apart`: SQLite is written by a process of its own, which takes a tenth of a second to start and pays under load."""
        self.clinic = clinic
        self._key, self._apart = key, apart
        self.core: Core
        self.flows: dict[str, Flow] = {}
        self.targets: dict[str, Target] = {}
        self.sources: dict[str, AnySource] = {}
        self.follower: Follower
        self.due: DueWork
        self.alerts: Alerts
        self.standstill: Standstill
        self.jobs: Jobs
        self.orders: Orders
        self.stopped: dict[str, str] = {}
        """Routes that people have paused or let drain."""
        self.changing = asyncio.Lock()
        """Held while the hub is changed as it runs: one change at a time."""
        self._points: frozenset[str] = frozenset()
        self._closed: set[str] = set()
        """Sources that were opened once and are closed: they need a new object."""
        self._open: set[str] = set()
        self._background: set[asyncio.Task[None]] = set()
        self.ready = False
        self.started_at = datetime.now(UTC)
        self.failed: asyncio.Future[StoreError]
        """Resolves when the store is broken and the process has to end."""
        self.last_received: dict[str, float] = {}
        self.watching: asyncio.Task[None] | None = None
        self.sharing: Sharing | None = None
        """Other hubs on the same database."""
        self.on_settled: Callable[[], None] = lambda: None
        """Called when a reload is over: what there is now stays for long."""

    @property
    def leads(self) -> bool:
        """True for the hub that looks after what concerns all hubs of a store."""
        return self.sharing is None or 0 in self.sharing.own

    @property
    def host(self) -> str:
        """Name of this machine where several hubs may share a store; empty for the only one."""
        return "" if self.clinic.settings.store.startswith("sqlite:") else socket.gethostname()

    # Start.

    async def start(self) -> None:
        """Raises ConfigError, Refused, StoreError, or ConnectionDown when a source cannot open."""
        points = failpoints.active()
        if points:
            log.warning("this hub is broken on purpose", failpoints=sorted(points))
        self.failed = asyncio.get_running_loop().create_future()
        self.core = await open_core(self.clinic, key=self._key, apart=self._apart)
        if points:
            failpoints.break_on_purpose(self.core, points)
        try:
            await self._start(points)
        except BaseException:
            await self._close_everything()
            raise

    async def _start(self, points: frozenset[str]) -> None:
        core, self._points = self.core, points
        core.journal.on_commit, core.journal.on_broken = self._committed, self._broken
        self.follower = Follower(core)
        self.jobs = Jobs(self)
        self.orders = Orders(self)
        self.due = DueWork(core)
        self._build_targets()
        await self.hold_the_homeless()
        await routes.restore(self)
        if not isinstance(core.store.writer, SqliteWriter):
            from hub.bus.sharing import Sharing  # SQLite needs nothing of it

            fenced = "lease_not_fenced" not in points
            self.sharing = Sharing(self, core.store.writer, self.clinic.settings.lease, fenced=fenced)
            for target in self.targets.values():
                self.sharing.admit(target)
            await self.sharing.start()
        highest = core.store.writer.work
        for target in self.targets.values():
            if isinstance(target, OutgoingTarget):
                await target.destination.open_destination()
            target.start(highest)
        await self.due.start()
        if self.leads:
            await self.jobs.start()
        self.due.scheduler.every(KEY_CHECK, core.renew_data_keys, "data keys")
        self.due.scheduler.every(KEEPING_CHECK, self._if_it_leads(core.keeping.look), "bodies")
        self.due.scheduler.every(RETENTION_CHECK, self._if_it_leads(core.retention.look), "retention")
        self.due.scheduler.every(LOOK_EVERY, core.space.look, "room on the disk")
        await core.space.look()
        self.standstill = Standstill(core.signals.loop)
        self.standstill.start()
        self.watching = asyncio.create_task(core.signals.watch(), name="signals")
        for name in self.sources:
            if routes.is_read(name, self.clinic.settings) and f"from:{name}" not in self.stopped:
                await self.open_source(name)
        self.alerts = Alerts(self)
        await self.alerts.start()
        if self.sharing is not None:
            await self.orders.start()
        self.ready = True
        self._in_background(core.keeping.look())
        self.clinic.registry.tell("hub_started", hub=self)

    def _build_targets(self) -> None:
        settings = self.clinic.settings
        self.flows = {name: Flow.build(flow) for name, flow in settings.flows.items()}
        for flow in self.flows.values():
            self.add_target(FlowTarget(flow, self.core, self.follower))
        for name, connection in settings.connections.items():
            self.add_connection(name, connection.connector(name, connection.config))

    def add_connection(self, name: str, connection: AnyConnector) -> None:
        """Puts a connection where it belongs; it neither sends nor receives yet."""
        if isinstance(connection, Destination):
            self.add_target(OutgoingTarget(name, connection, self.flows, self.core, self.follower))
        self.replace_source(name, connection)

    def replace_source(self, name: str, connection: AnyConnector) -> None:
        """The object that receives under this name, not opened yet; none when the connection does not receive."""
        self.sources.pop(name, None)
        if isinstance(connection, Source):
            self.sources[name] = connection
            self._closed.discard(name)

    def put_sources_back(self, sources: dict[str, AnySource], closed: Collection[str]) -> None:
        """As they were, some of them closed."""
        self.sources.clear()
        self.sources.update(sources)
        self._closed = {name for name in self._closed if name in sources} | set(closed)

    def add_target(self, target: Target) -> None:
        target.on_drained = self._drained
        if self.sharing is not None:
            self.sharing.admit(target)
        self.targets[target.name] = target

    def is_open(self, source: str) -> bool:
        """True while it receives."""
        return source in self._open

    async def open_source(self, name: str) -> None:
        """Raises ConnectionDown when it cannot be opened; then nothing has changed."""
        if name in self._closed:
            await self._renew(name)
        deliver = Inbound(
            self.clinic.settings.connections[name],
            self.core,
            self.follower.outcomes,
            answer_before_commit="ack_before_commit" in self._points,
            drop_ordering_key="ordering_key_dropped" in self._points,
        )
        self._closed.add(name)
        await self.sources[name].open(deliver)
        self._open.add(name)

    async def _renew(self, name: str) -> None:
        """What was closed is not opened again: a new object takes its place, as what sends too when it is both."""
        settings = self.clinic.settings.connections[name]
        fresh = settings.connector(name, settings.config)
        assert isinstance(fresh, Source)  # noqa: S101 - it took the place of one
        self.sources[name] = fresh
        target = self.targets.get(f"to:{name}")
        if isinstance(target, OutgoingTarget) and isinstance(fresh, Destination):
            await fresh.open_destination()
            target.destination = fresh

    async def close_source(self, name: str) -> None:
        """Nothing more is received by it."""
        if name in self._open:
            self._open.discard(name)
            await self.close_quietly(self.sources[name])

    @staticmethod
    async def close_quietly(connection: Any) -> None:
        """Within its time; how it ends is nobody's failure."""
        try:
            async with asyncio.timeout(2.5):
                await connection.close()
        except (HubError, TimeoutError, OSError) as error:
            log.warning("a connection did not close", connection=connection.name, error=type(error).__name__)

    async def hold_the_homeless(self, targets: Collection[str] | None = None) -> None:
        """Open work whose flow or connection is gone from the clinic file waits for a person.

        Of these targets, none of whose work may be running, or of all.  Work whose step is gone is held when its turn comes.
        """
        for target in await self.core.reader.targets():
            if targets is not None and target not in targets:
                continue
            if (reason := homeless(target, "", self.clinic.settings)) is None:
                continue
            after = count = 0
            while rows := await self.core.reader.open_work(target, after, 1000):
                after = rows[-1].id
                now = now_micros()
                marks = [Mark(r.id, "held", now, r.attempts, reason=reason) for r in rows if r.state != "held"]
                if marks:
                    await self.core.journal.commit(Write(marks=marks))
                    count += len(marks)
            if count:
                log.warning("open work is held", target=target, count=count, reason=reason)

    def _if_it_leads(self, look: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[None]]:
        """What one hub of a store does for all."""

        async def act() -> None:
            if self.leads:
                await look()

        return act

    def tell_others(self) -> None:
        """Something was changed in the store that all hubs of it have to obey."""
        if self.sharing is not None:
            self._in_background(self.sharing.call(CALL))

    def _drained(self, target: Target) -> None:
        self._in_background(routes.note_drained(self, target))

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    # What a commit makes possible.

    def _committed(self, write: Write) -> None:
        for message in write.messages:
            if message.known:
                self.core.bodies.forget(message.id)  # what was kept first counts
            if message.direction == "in":
                self.last_received[message.connection] = time.time()
            for work in message.works:
                self._offer(work, message.seq, message.id, message.at)
        for seq, id, work in write.more_work:
            self._offer(work, seq, id, now_micros())
        for row in write.due:
            if row.payload is not None:
                self.due.planned(from_micros(row.at))

    def _offer(self, work: NewWork, seq: int, message: str, at: int) -> None:
        target = self.targets.get(work.target)
        if self.sharing is not None and work.id and not self.sharing.takes(work.id):
            return  # it comes in order with what other hubs have put in
        if target is not None and work.id and work.state == "waiting":
            lanes = (work.lane, *work.also)
            item = Item(work.id, seq, message, lanes, work.generation, step=work.step, origin=work.origin, config=work.config)
            item.again = work.again
            item.since, item.span = work.since or at, work.span
            target.offer(item)

    def _broken(self, error: StoreError) -> None:
        log.error("the store is broken", reason=str(error))
        self.ready = False
        if not self.failed.done():
            self.failed.set_result(error)

    # Stop.

    async def stop(self) -> None:
        """Within 30 seconds: sources first, then what is under way, the store last."""
        if self.ready:
            self.clinic.registry.tell("hub_stopping", hub=self)
        self.ready = False
        await self._close_everything()

    async def _close_everything(self) -> None:
        if hasattr(self, "alerts"):
            await self.alerts.stop()
        if hasattr(self, "orders"):
            await self.orders.stop()
        if self.watching is not None:
            self.watching.cancel()
            self.standstill.stop()
        await asyncio.gather(*(self.close_quietly(source) for source in self.sources.values()))
        if hasattr(self, "due"):
            self.due.scheduler.stop()
            await self.jobs.stop()
        if self.sharing is not None:
            self.sharing.close()
        await asyncio.gather(*(target.drain(DRAIN) for target in self.targets.values()))
        if self.sharing is not None:
            await self.sharing.stop()
        destinations = [t.destination for t in self.targets.values() if isinstance(t, OutgoingTarget)]
        await asyncio.gather(*(self.close_quietly(destination) for destination in destinations))
        await self.core.close()

    # How it is.

    async def status(self) -> dict[str, Any]:
        """The JSON of `hub status` (INTERFACES section 3)."""
        return await describe_status(self.core, self)


def homeless(target: str, step: str, settings: Settings) -> str | None:
    """Why open work has no home in a clinic file any more; None when it has."""
    kind, _, name = target.partition(":")
    if kind == "flow":
        flow = settings.flows.get(name)
        if flow is None:
            return f"there is no flow {name!r} any more in the clinic file"
        if step and step not in {s.name for s in flow.steps}:
            return f"the flow {name!r} has no step {step!r} any more"
        return None
    connection = settings.connections.get(name)
    if connection is None or not issubclass(connection.connector, Destination):
        return f"there is no connection {name!r} to send to any more in the clinic file"
    return None
