"""Hubs that share a database on virtual time: the sharing and the lanes as they are, a database and a partner that are played.

One seed is one story: hubs start, stand still for a while (all of one stands still, as a process does under SIGSTOP), die and
come back, while messages of a few patients arrive at any of them.

    python -m tests.chaos.lease_simulation 1 20000        # these seeds; what goes wrong is printed with its seed
"""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
from collections.abc import Callable, Collection
from contextvars import Context, ContextVar
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, TypeVar

from hub.bus import sharing as sharing_module
from hub.bus.lanes import Item
from hub.bus.sharing import Sharing
from hub.bus.signals import TargetSignals
from hub.bus.target import Target, item_of
from hub.errors import LeaseLost
from hub.store.batch import PARTITIONS, partition_of
from hub.store.leases import MARGIN, Members
from hub.store.rows import OpenWork
from tests.chaos.simulation import VirtualLoop, virtual_time
from tests.chaos.stories import tell_all

T = TypeVar("T")
NODE: ContextVar[str] = ContextVar("node", default="")
"""The hub something runs in; nothing for the database, the partner and the sender."""
LEASE = 3.0
NEVER = float("inf")
TARGET = "to:pms"


class Database:
    """What hubs see of PostgreSQL; what it was asked is done there, whatever becomes of who asked."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.nodes: dict[str, dict[str, Any]] = {}
        self.leases: list[str | None] = [None] * PARTITIONS
        self.works: dict[int, str] = {}
        """Lane of each, by id."""
        self.open: set[int] = set()
        self.listeners: dict[str, Callable[[str], None]] = {}
        self.serving: set[asyncio.Task[Any]] = set()

    async def ask(self, act: Callable[[], T]) -> T:
        serving = asyncio.get_running_loop().create_task(self._serve(act), context=Context())
        self.serving.add(serving)
        serving.add_done_callback(self.serving.discard, context=Context())
        return await asyncio.shield(serving)

    async def _serve(self, act: Callable[[], T]) -> T:
        await asyncio.sleep(self._world.chance.uniform(0.0005, 0.01))
        found = act()
        await asyncio.sleep(self._world.chance.uniform(0.0005, 0.01))
        return found

    def add(self, node: str, lane: str) -> int:
        self.must_know(node)
        id = len(self.works) + 1
        self.works[id] = lane
        self.open.add(id)
        return id

    def end(self, node: str, id: int) -> None:
        self.must_know(node)
        self.open.discard(id)

    def must_know(self, node: str) -> None:
        if node not in self.nodes:
            raise LeaseLost("it was struck out")

    def read(self, after: int, limit: int, wanted: Callable[[str], bool]) -> list[OpenWork]:
        ids = [id for id in sorted(self.open) if id > after and wanted(self.works[id])][:limit]
        return [OpenWork(id, id, str(id), self.works[id], (), 0, "waiting", 0, 0, "", None, "") for id in ids]


class Reader:
    """The questions of a hub."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open_work(self, _: str, after: int, limit: int, partitions: Collection[int] | None) -> list[OpenWork]:
        wanted = _in(partitions)
        return await self._database.ask(lambda: self._database.read(after, limit, wanted))

    async def open_work_of_lane(self, _: str, lane: str, after: int, limit: int) -> list[OpenWork]:
        return await self._database.ask(lambda: self._database.read(after, limit, lambda other: other == lane))

    async def newer_work(self, after: int, limit: int, partitions: Collection[int]) -> tuple[list[tuple[str, OpenWork]], int]:
        def look() -> tuple[list[tuple[str, OpenWork]], int]:
            rows = self._database.read(after, limit, _in(partitions))
            top = rows[-1].id if len(rows) >= limit else max(after, len(self._database.works))
            return [(TARGET, row) for row in rows], top

        return await self._database.ask(look)


def _in(partitions: Collection[int] | None) -> Callable[[str], bool]:
    return lambda lane: partitions is None or partition_of(lane) in partitions


class PlayedLeases:
    """What hub/store/leases.py says in SQL."""

    def __init__(self, database: Database, node: str, seconds: float) -> None:
        self._database, self._node, self._seconds = database, node, seconds
        self.deadline = 0.0
        self.on_call: Callable[[str], None] = lambda _: None

    async def share(self) -> None:
        self._database.listeners[self._node] = self.on_call
        await self._database.ask(lambda: self._database.nodes[self._node].update(shares=True))

    async def sign(self) -> Members:
        loop = asyncio.get_running_loop()
        began = loop.time()

        def act() -> Members:
            self._database.must_know(self._node)
            nodes, now = self._database.nodes, loop.time()
            nodes[self._node]["until"] = now + self._seconds
            others = {id: node["until"] - now for id, node in nodes.items() if id != self._node}
            return Members(
                sorted(id for id, node in nodes.items() if node["shares"]),
                len(others),
                False,
                any(left < 0 for left in others.values()),
                min((left for left in others.values() if left >= 0), default=self._seconds),
            )

        found = await self._database.ask(act)
        self.deadline = began + self._seconds * (1 - MARGIN)
        return found

    async def bury(self) -> None:
        def act() -> None:
            now, nodes = asyncio.get_running_loop().time(), self._database.nodes
            for id in [id for id, node in nodes.items() if id != self._node and node["until"] < now]:
                del nodes[id]

        await self._database.ask(act)

    async def claim(self, most: int) -> set[int]:
        def act() -> set[int]:
            leases = self._database.leases
            free = [n for n, node in enumerate(leases) if node not in self._database.nodes]
            for number in free[: max(0, most)]:
                leases[number] = self._node
            return {n for n, node in enumerate(leases) if node == self._node}

        return await self._database.ask(act)

    async def give_up(self, partitions: Collection[int]) -> None:
        def act() -> None:
            for number in partitions:
                if self._database.leases[number] == self._node:
                    self._database.leases[number] = None

        await self._database.ask(act)

    async def call(self, about: str) -> None:
        def act() -> None:
            for node, hear in self._database.listeners.items():
                if node != self._node:
                    context = Context()
                    context.run(NODE.set, node)
                    asyncio.get_running_loop().call_soon(hear, about, context=context)

        await self._database.ask(act)

    async def close(self) -> None: ...


class Sending(Target):
    """A target that hands each work to the partner and marks it."""

    world: World
    node: str

    async def handle(self, item: Item) -> None:
        if not self.fence():
            self.lanes.put_back(item)
            return
        await self.world.partner(item)
        try:
            await self.world.database.ask(lambda: self.world.database.end(self.node, item.id))
        except LeaseLost as error:
            self.world.struck_out(self.node, error)
            return
        self.lanes.finish(item)


@dataclass(slots=True)
class Node:
    """A hub."""

    name: str
    target: Sending
    sharing: Sharing
    writer: Any
    receiving: asyncio.Lock = field(default_factory=asyncio.Lock)
    ready: bool = False


class Hubs(VirtualLoop):
    """A loop in which nothing of a hub happens while it stands still."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen: dict[str, float] = {}
        """Until when."""
        self._order = itertools.count(1)

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> Any:
        asked: list[Any] = []
        asked.append(super().call_soon(self._guarded(callback, args, context, asked), context=context))
        return asked[0]

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> Any:
        asked: list[Any] = []
        asked.append(super().call_at(when, self._guarded(callback, args, context, asked), context=context))
        return asked[0]

    def _guarded(self, callback: Any, args: Any, context: Context | None, asked: list[Any]) -> Callable[[], None]:
        """`asked` has what can be cancelled, also while its hub stands still."""
        node = context.get(NODE, "") if context is not None else NODE.get()

        def run() -> None:
            if asked[0].cancelled():
                return
            until = self.frozen.get(node, 0.0) if node else 0.0
            if until == NEVER:
                return
            if until > self.now:  # in the order in which it would have happened
                super(Hubs, self).call_at(until + next(self._order) * 1e-9, run, context=context)
            else:
                callback(*args)

        return run


class World:
    """One story."""

    def __init__(self, seed: int, loop: Hubs, *, fenced: bool = True) -> None:
        self.loop, self.chance, self.fenced = loop, random.Random(seed), fenced
        self.database = Database(self)
        self.nodes: dict[str, Node] = {}
        self.taken: list[int] = []
        self.repeats = self.kills = self.freezes = 0
        self.errors: list[str] = []
        loop.set_exception_handler(self._unexpected)
        self._names = itertools.count(1)
        self._lanes = [f"P{n}" for n in range(self.chance.randint(2, 12))]

    def _unexpected(self, _: object, context: dict[str, Any]) -> None:
        """Tasks of hubs that have died never end, and never hear that they were struck out; that alone is as it should be."""
        if "destroyed but it is pending" not in context["message"] and not isinstance(context.get("exception"), LeaseLost):
            self.errors.append(f"{context['message']}: {context.get('exception')!r}")

    async def partner(self, item: Item) -> None:
        """It has it when it is written; the answer takes a moment."""
        self.taken.append(item.id)
        await asyncio.sleep(self.chance.choice((0.001, 0.01, 0.2)))

    def start_one(self) -> None:
        name = f"h{next(self._names):03d}"
        context = Context()
        context.run(NODE.set, name)
        self.loop.create_task(self._start(name), context=context)

    async def _start(self, name: str) -> None:
        await self.database.ask(lambda: self.database.nodes.setdefault(name, {"until": self.loop.time() + 10, "shares": False}))
        reader = Reader(self.database)
        target = Sending(TARGET, SimpleNamespace(), reader, self.chance.choice((1, 4)), signals=TargetSignals())  # type: ignore[arg-type]
        target.world, target.node = self, name
        writer = SimpleNamespace(url=self.database, node=name, work=len(self.database.works), together=True)
        writer.know = writer.forget_others = _nothing
        hub = SimpleNamespace(
            targets={TARGET: target},
            core=SimpleNamespace(reader=reader, journal=SimpleNamespace(fail=lambda error: self.struck_out(name, error))),
            jobs=SimpleNamespace(stop=_nothing),
            leads=True,
        )
        sharing = Sharing(hub, writer, LEASE, fenced=self.fenced)  # type: ignore[arg-type]
        sharing.admit(target)
        node = self.nodes[name] = Node(name, target, sharing, writer)
        try:
            await sharing.start()
        except LeaseLost as error:
            self.struck_out(name, error)
            return
        target.start(writer.work)
        node.ready = True

    def struck_out(self, name: str, _: object) -> None:
        """It forgets everything and begins again."""
        if self.loop.frozen.get(name) != NEVER:
            self.end(name)
            self.start_one()

    def end(self, name: str) -> None:
        self.loop.frozen[name] = NEVER
        self.nodes.pop(name, None)
        self.database.listeners.pop(name, None)

    # What happens.

    async def run(self) -> None:
        for _ in range(self.chance.randint(2, 3)):
            self.start_one()
        seconds = self.chance.uniform(5, 40)
        troubles = asyncio.create_task(self._trouble(seconds))
        for _ in range(self.chance.randint(20, 150)):
            await asyncio.sleep(self.chance.expovariate(150 / seconds))
            self._receive()
        await troubles
        end = self.loop.now + 120
        while self.database.open or not self.nodes:
            self.must(self.loop.now < end, f"open work is forgotten: {sorted(self.database.open)[:5]}")
            await asyncio.sleep(0.5)
        self._judge()

    def _receive(self) -> None:
        awake = [node for node in self.nodes.values() if node.ready and node.name not in self.loop.frozen]
        if not awake:
            return
        node, lane = self.chance.choice(awake), self.chance.choice(self._lanes)
        context = Context()
        context.run(NODE.set, node.name)
        self.loop.create_task(self._take_in(node, lane), context=context)

    async def _take_in(self, node: Node, lane: str) -> None:
        async with node.receiving:  # one journal
            try:
                id = await self.database.ask(lambda: self.database.add(node.name, lane))
            except LeaseLost as error:
                self.struck_out(node.name, error)
                return
            node.writer.work = id
            if node.sharing.takes(id):
                node.target.offer(item_of(OpenWork(id, id, str(id), lane, (), 0, "waiting", 0, 0, "", None, "")))

    async def _trouble(self, seconds: float) -> None:
        for _ in range(self.chance.randint(0, 6)):
            await asyncio.sleep(self.chance.uniform(0, seconds / 4))
            awake = [name for name in self.nodes if name not in self.loop.frozen]
            if not awake:
                continue
            name, what = self.chance.choice(awake), self.chance.random()
            if what < 0.6:
                self.freezes += 1
                self.loop.frozen[name] = self.loop.now + self.chance.choice((0.1, 1.0, LEASE * 0.8, LEASE, LEASE * 2))
                self.loop.call_at(self.loop.frozen[name] + 0.001, self._awake, name, context=Context())
            elif what < 0.85:
                self.kills += 1
                self.end(name)
                self.start_one()
            elif len(self.nodes) < 4:
                self.start_one()

    def _awake(self, name: str) -> None:
        if self.loop.frozen.get(name) != NEVER:
            self.loop.frozen.pop(name, None)

    # What must be so.

    def must(self, holds: bool, text: str) -> None:
        if not holds:
            raise AssertionError(text)

    def _judge(self) -> None:
        newest: dict[str, int] = {}
        seen: set[int] = set()
        for id in self.taken:
            lane = self.database.works[id]
            self.must(id >= newest.get(lane, 0), f"{'an older message again' if id in seen else 'out of order'}: {lane} {id}")
            self.repeats += id in seen
            newest[lane] = id
            seen.add(id)
        self.must(not self.errors, f"{self.errors[:3]}")
        self.must(seen == set(self.database.works), "something was never sent")
        self.must(self.repeats <= 4 * (self.kills + self.freezes) * 2, f"{self.repeats} repeats")


async def _nothing() -> None: ...


def tell(seed: int, *, fenced: bool = True) -> World:
    """Plays one story; AssertionError names the seed."""
    with virtual_time(Hubs) as (loop, clock):
        real = sharing_module.time, sharing_module.Leases
        sharing_module.time, sharing_module.Leases = clock, PlayedLeases  # type: ignore[assignment,misc]
        world = World(seed, loop, fenced=fenced)
        try:
            loop.run_until_complete(world.run())
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        finally:
            sharing_module.time, sharing_module.Leases = real  # type: ignore[misc]
            for task in world.database.serving:
                task.cancel()
            if world.database.serving:
                loop.run_until_complete(asyncio.wait(set(world.database.serving)))
    return world


if __name__ == "__main__":
    raise SystemExit(tell_all(tell, int(sys.argv[1]), int(sys.argv[2])))
