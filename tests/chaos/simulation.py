"""The bus on virtual time: a flow and its connections as they are, a journal, partners and a clock that are played.

One seed is one story: what arrives, which partner is down, refuses, is silent or loses its answer, when the disk is full, the
clock jumps or the hub is killed.  Hours pass in milliseconds, and the same seed tells the same story again.

    python -m tests.chaos.simulation 1 20000        # these seeds; what goes wrong is printed with its seed
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import selectors
import sys
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC
from types import SimpleNamespace
from typing import Any, TypeVar

from hub import moments
from hub.bus import failures, flow as flow_module, outgoing, target as target_module
from hub.bus.failures import Follower
from hub.bus.flow import FlowTarget
from hub.bus.lanes import Item, Lanes
from hub.bus.outgoing import OutgoingTarget
from hub.bus.signals import Signals
from hub.bus.target import Target
from hub.connector import DestinationConfig, Retry
from hub.errors import ConnectionDown, DoubtfulSend, MessageRejected, MessageUnusable, NotFound, StoreFull
from hub.format import Keys
from hub.message import Message
from hub.store.rows import OPEN_STATES, Mark, NewMessage, NewWork, OpenWork, Write
from tests.chaos.stories import tell_all

EPOCH = 1_700_000_000.0
"""Virtual time begins here."""
A_DAY = 86_400.0


# Virtual time.


class _NoSelector(selectors.SelectSelector):
    """Instead of waiting, lets the time pass."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise AssertionError("nothing will ever happen again")
        self.loop.now += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock stands still while something runs, and jumps while all wait."""

    def __init__(self) -> None:
        self.now = 0.0
        selector = _NoSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now


class Clock:
    """Stands in for the module `time`."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.jumped = 0.0
        """Seconds the wall clock is off, which nothing may depend on."""

    def monotonic(self) -> float:
        return self._loop.now

    def time(self) -> float:
        return EPOCH + self._loop.now + self.jumped

    def time_ns(self) -> int:
        return int(self.time() * 1_000_000_000)


L = TypeVar("L", bound=VirtualLoop)


@contextlib.contextmanager
def virtual_time(kind: type[L] = VirtualLoop) -> Iterator[tuple[L, Clock]]:  # type: ignore[assignment]
    """A loop, and the modules of the bus on its time."""
    places = [(module, "time") for module in (target_module, outgoing, flow_module, failures)] + [(moments, "clock")]
    real = [getattr(module, name) for module, name in places]
    loop = kind()
    clock = Clock(loop)
    try:
        for module, name in places:
            setattr(module, name, clock)
        yield loop, clock
    finally:
        for (module, name), time in zip(places, real, strict=True):
            setattr(module, name, time)
        loop.close()


# What is on disk.


@dataclass(slots=True)
class Row:
    """A work."""

    work: NewWork
    seq: int
    message: str
    attempts: int = 0
    next_at: int = 0

    def opened(self) -> OpenWork:
        work = self.work
        return OpenWork(
            work.id, self.seq, self.message, work.lane, work.also, work.generation, work.state, self.attempts, self.next_at,
            work.step, work.origin, work.config, work.again,
        )  # fmt: skip


class Disk:
    """What survives: messages by id, works by id, resends by their key."""

    def __init__(self) -> None:
        self.messages: dict[str, NewMessage] = {}
        self.works: dict[int, Row] = {}
        self._open: defaultdict[tuple[str, str | None], dict[int, Row]] = defaultdict(dict)
        """Open works by target and lane, and by target alone."""
        self.seen: dict[bytes, int] = {}
        self.full_until = 0.0
        self.seq = 0
        self.wrong: list[str] = []

    def apply(self, write: Write) -> None:
        for message in write.messages:
            self._message(message)
        for mark in write.marks:
            row = self.works[mark.work]
            if row.work.state not in OPEN_STATES:
                self.wrong.append(f"work {mark.work} was {row.work.state} already, now {mark.state}")
                continue
            row.work.state, row.attempts, row.next_at = mark.state, mark.attempts, mark.next_at
            if mark.state not in OPEN_STATES:
                for lane in (None, row.work.lane, *row.work.also):
                    del self._open[row.work.target, lane][mark.work]

    def _message(self, message: NewMessage) -> None:
        if message.seen_key in self.seen:
            message.duplicate = True
            return
        if message.id in self.messages:
            self.wrong.append("the same message was made twice")
            return
        self.seq += 1
        message.seq = self.seq
        self.messages[message.id] = message
        if message.seen_key is not None:
            self.seen[message.seen_key] = message.seq
        for work in message.works:
            work.id = len(self.works) + 1
            row = self.works[work.id] = Row(work, message.seq, message.id)
            for lane in (None, work.lane, *work.also):
                self._open[work.target, lane][work.id] = row

    def open(self, target: str, lane: str | None = None) -> dict[int, Row]:
        """In their order."""
        return self._open[target, lane]


# What a hub is made of, played.


class Journal:
    """Commits in groups; on a full disk a group fails; a kill leaves a group on disk or not."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._queue: deque[tuple[Write, asyncio.Future[Write]]] = deque()
        self._wake = asyncio.Event()
        self.committing: list[tuple[Write, asyncio.Future[Write]]] = []

    def submit(self, write: Write) -> asyncio.Future[Write]:
        future: asyncio.Future[Write] = asyncio.get_running_loop().create_future()
        self._queue.append((write, future))
        self._wake.set()
        return future

    async def commit(self, write: Write) -> Write:
        if self._world.broken == "marks_not_awaited" and write.marks and not write.messages:
            self.submit(write).add_done_callback(lambda done: done.cancelled() or done.exception())
            return write
        return await self.submit(write)

    async def run(self) -> None:
        world = self._world
        while True:
            await self._wake.wait()
            self.committing = list(self._queue)
            self._queue.clear()
            self._wake.clear()
            await asyncio.sleep(world.latency())
            if world.loop.now < world.disk.full_until:
                for _, future in self.committing:
                    if not future.done():
                        future.set_exception(StoreFull("full"))
                self.committing = []
                continue
            group, self.committing = self.committing, []
            for write, _ in group:
                world.disk.apply(write)
            await asyncio.sleep(0)
            for write, future in group:
                world.committed(write)
                if not future.done():
                    future.set_result(write)


class Reader:
    """Reads what is on disk at some moment; sometimes it cannot."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def _read(self, target: str, after: int, limit: int, lane: str | None = None) -> list[OpenWork]:
        await asyncio.sleep(self._world.latency())
        rows = (row for id, row in self._world.disk.open(target, lane).items() if id > after)
        found = [row.opened() for row in itertools.islice(rows, limit)]
        await asyncio.sleep(self._world.latency())
        if self._world.chance.random() < self._world.story.unreadable:
            raise OSError("the disk could not be read")
        return found

    async def open_work(self, target: str, after: int, limit: int, partitions: object = None) -> list[OpenWork]:
        return await self._read(target, after, limit)

    async def open_work_of_lane(self, target: str, lane: str, after: int, limit: int) -> list[OpenWork]:
        return await self._read(target, after, limit, lane)

    async def keys_of(self, _: object) -> list[Any]:
        return []


class Bodies:
    """Messages by their id."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    async def load(self, id: str) -> Message:
        kept = self._disk.messages.get(id)
        if kept is None:
            raise NotFound(f"there is no message {id}")
        assert kept.body is not None
        return Message(kept.body, "bytes", id=id)

    async def row(self, message: Message, **more: Any) -> NewMessage:
        return NewMessage(
            id=message.id, at=more["at"], connection=more["connection"], direction=more["direction"], format="bytes", type="",
            control_id="", parent=message.parent, generation=0, size=0, digest=b"", body=message.body,
        )  # fmt: skip

    def reply(self, *_: object) -> None: ...
    def forget(self, _: str) -> None: ...


class Filing:
    """Nothing is looked for here."""

    def keys(self, *_: object) -> Keys:
        return Keys()

    async def keys_of(self, *_: object) -> Keys:
        return Keys()

    def rows(self, *_: object) -> list[tuple[str, str]]:
        return []


class SimulatedFlow:
    """Sends every message to every partner; some messages it cannot use, some steps fail once."""

    name = "forward"
    settings = SimpleNamespace(source="connection in")

    def __init__(self, world: World) -> None:
        self._world = world

    def index(self, _: str) -> int:
        return 0

    async def run(self, message: Message, _: int, context: Any) -> None:
        world = self._world
        await asyncio.sleep(world.latency())
        if message.body in world.story.poison:
            raise MessageUnusable("poison")
        if world.chance.random() < world.story.step_fails:
            raise ConnectionDown("a step reached nobody")
        context.step = "send"
        for name in world.partners:
            context.send(name, message)


class Partner:
    """A destination: takes messages, refuses them, is silent, is away, or loses its answer."""

    def __init__(self, name: str, config: DestinationConfig, repeat: str, world: World) -> None:
        self.name, self.config, self.repeat = name, config, repeat
        self._world = world
        self.taken: Counter[bytes] = Counter()
        self.newest: Counter[str] = Counter()
        """By lane, the number of the newest message that was taken."""
        self.refusals: Counter[bytes] = Counter()
        self.under_way: dict[str, bytes] = {}
        self.while_open: Counter[float] = Counter()
        self.doubtful: set[bytes] = set()
        """Taken without an answer, or without a mark when the hub was killed: it may come once more."""

    def may_repeat(self, message: Message) -> bool:
        return self.repeat == "safe"

    def killed(self) -> None:
        disk = self._world.disk
        unmarked = {disk.messages[row.message].body or b"" for row in disk.open(f"to:{self.name}").values()}
        self.doubtful |= unmarked & self.taken.keys()
        self.under_way.clear()

    async def send(self, message: Message) -> Message | None:
        world, body = self._world, message.body
        target: Any = world.targets[f"to:{self.name}"]
        if (until := target.breaker.open_until) > world.loop.now:
            self.while_open[until] += 1  # begun before it opened: no more than may be under way together
            world.must(self.while_open[until] < self.config.parallel, f"{self.name}: tried while its breaker was open")
        world.must(len(self.under_way) < self.config.parallel, f"{self.name}: more at once than it may")
        lanes = world.lanes_of[body]
        for other in self.under_way.values():
            world.must(not lanes & world.lanes_of[other], f"{self.name}: {other!r} and {body!r} at once")
        self.under_way[message.id] = body
        try:
            return await self._answer(body)
        finally:
            self.under_way.pop(message.id, None)

    async def _answer(self, body: bytes) -> None:
        world, story = self._world, self._world.story
        await asyncio.sleep(world.latency())
        if any(begin <= world.loop.now < end for begin, end in story.outages[self.name]):
            raise ConnectionDown(f"{self.name} is away")
        what = world.chance.choices(("AA", "AE", "AR", "lost", "silent", "bug"), story.answers)[0]
        if what in ("AE", "AR"):
            self.refusals[body] += 1
            raise MessageRejected("no", answer=what, final=what == "AR")
        if what == "bug":
            raise RuntimeError("a mistake in a connector")
        if what == "silent":
            await asyncio.sleep(30.0)
            if self.repeat == "ask":
                raise DoubtfulSend("silence")
            raise ConnectionDown("silence")
        self._take(body)
        if what == "lost":
            self.doubtful.add(body)
            raise DoubtfulSend("no answer") if self.repeat == "ask" else ConnectionDown("no answer")
        await asyncio.sleep(world.latency())

    def _take(self, body: bytes) -> None:
        must = self._world.must
        if body in self.taken:
            must(self.repeat == "safe", f"{self.name}: {body!r} came twice, which must not be")
            must(body in self.doubtful, f"{self.name}: {body!r} came twice without a reason")
        for key in self._world.lanes_of[body]:
            must(self.newest[key] <= _number(body), f"{self.name}: {body!r} behind number {self.newest[key]}")
            self.newest[key] = _number(body)
        self.doubtful.discard(body)
        self.taken[body] += 1


def _number(body: bytes) -> int:
    return int(body.partition(b":")[2])


# A story.


@dataclass(slots=True)
class Story:
    """What will happen, drawn from a seed."""

    keys: int
    messages: int
    policy: str
    parallel: int
    lanes: tuple[int, int]
    slow: float
    kills: list[float]
    full: list[tuple[float, float]]
    jumps: list[tuple[float, float]]
    outages: dict[str, list[tuple[float, float]]]
    answers: list[float]
    step_fails: float
    unreadable: float
    merges: float
    seconds: float
    """In which the messages come."""
    repeat: dict[str, str]
    poison: set[bytes] = field(default_factory=set)
    poisoned: float = 0.0

    @classmethod
    def of(cls, chance: random.Random) -> Story:
        def often(most: int, share: float = 0.5) -> int:
            return chance.randint(1, most) if chance.random() < share else 0

        def spans(most: int, longest: float) -> list[tuple[float, float]]:
            begins = [chance.uniform(0, 60) for _ in range(often(most))]
            return [(begin, begin + chance.uniform(0.1, longest)) for begin in begins]

        partners = ["a", "b"][: chance.choice((1, 1, 2))]
        trouble = chance.choice((0.0, 0.02, 0.2))
        return cls(
            keys=chance.randint(1, 4),
            messages=chance.randint(3, 30),
            policy=chance.choice(("retry", "retry", "hold", "quarantine", "skip")),
            parallel=chance.randint(1, 4),
            lanes=chance.choice(((4, 2), (6, 3), (24, 4), (4000, 64))),
            slow=chance.choice((0.002, 0.05, 2.0)),
            kills=sorted(chance.uniform(0, 60) for _ in range(often(4, 0.7))),
            full=spans(2, 20.0),
            jumps=[(chance.uniform(0, 60), chance.choice((-A_DAY, -3600.0, 3600.0, A_DAY))) for _ in range(often(2, 0.3))],
            outages={name: spans(2, 3600.0) for name in partners},
            answers=[1.0, trouble, trouble / 4, trouble / 2, trouble / 4, trouble / 8],
            step_fails=chance.choice((0.0, 0.1)),
            unreadable=chance.choice((0.0, 0.1)),
            merges=chance.choice((0.0, 0.2)),
            seconds=60.0,
            repeat={name: chance.choice(("safe", "safe", "ask")) for name in partners},
            poisoned=chance.choice((0.0, 0.1)),
        )


class World:
    """A hub and everything around it."""

    def __init__(self, seed: int, loop: VirtualLoop, clock: Clock, story: Story | None, broken: str) -> None:
        self.chance, self.loop, self.clock = random.Random(seed), loop, clock
        self.story = story or Story.of(self.chance)
        self.disk = Disk()
        self.lanes_of: dict[bytes, set[str]] = {}
        self.acknowledged: set[bytes] = set()
        self.broken = broken
        self.wrong = self.disk.wrong
        retry = Retry(first=0.5, most=20.0, attempts=4)
        settings = DestinationConfig(kind="played", parallel=self.story.parallel, retry=retry, on_rejected=self.story.policy)
        self.partners = {name: Partner(name, settings, way, self) for name, way in self.story.repeat.items()}
        self.targets: dict[str, Target] = {}
        self.most_items = 0
        self.begin()

    def must(self, holds: bool, text: str) -> None:
        """Remembers what is wrong: raised where it is seen, the bus would take it for a failure of the partner."""
        if not holds:
            self.wrong.append(text)

    def latency(self) -> float:
        """Seconds something takes; now and then it takes long."""
        return self.chance.uniform(0.0001, self.story.slow) * (20 if self.chance.random() < 0.02 else 1)

    # The hub's life.

    def begin(self) -> None:
        """A new process: only the disk is left."""
        self.up = False
        self.journal, reader = Journal(self), Reader(self)
        site = SimpleNamespace()
        settings = SimpleNamespace(
            connections={}, sites={}, site_of=lambda _: site, zone_of=lambda _: UTC, overlays_of=lambda _: {}, organisation=None
        )
        core: Any = SimpleNamespace(
            clinic=SimpleNamespace(registry=SimpleNamespace(tell=lambda *_, **__: None), settings=settings),
            journal=self.journal, reader=reader, bodies=Bodies(self.disk), filing=Filing(),
            router=SimpleNamespace(wanted=lambda *_: []), surroundings=SimpleNamespace(settings=settings),
            write_of=lambda *_: Write(), signals=Signals(), spans=None,
            keeping=SimpleNamespace(level=lambda *_: 0, ended=lambda _: None),
        )  # fmt: skip
        follower = Follower(core)
        flow: Any = SimulatedFlow(self)
        made: list[Target] = [FlowTarget(flow, core, follower)]
        made += [OutgoingTarget(name, partner, {"forward": flow}, core, follower) for name, partner in self.partners.items()]  # type: ignore[arg-type]
        self.targets = {target.name: target for target in made}
        self.tasks = [self.loop.create_task(self.journal.run())]
        limit, window = self.story.lanes
        for target in made:
            target.lanes = Lanes(limit=limit, window=window)

    def start(self) -> None:
        self.up = True
        for target in self.targets.values():
            target.start(len(self.disk.works))

    async def kill(self) -> None:
        """Whatever was being committed is on disk or not; all else is gone."""
        if self.journal.committing and self.chance.random() < 0.5 and self.loop.now >= self.disk.full_until:
            for write, _ in self.journal.committing:
                self.disk.apply(write)
        self.up = False
        gone = [*self.tasks]
        for target in self.targets.values():
            target.close()
            gone += [*target.running, *target._loading]
        for partner in self.partners.values():
            partner.killed()
        for task in gone:
            task.cancel()
        await asyncio.gather(*gone, return_exceptions=True)

    def committed(self, write: Write) -> None:
        """As Hub._committed does."""
        for message in write.messages:
            for work in message.works:
                target = self.targets[work.target]
                if work.id and work.state == "waiting":
                    target.offer(
                        Item(work.id, message.seq, message.id, (work.lane, *work.also), work.generation, step=work.step)
                    )
        for target in self.targets.values():
            self.most_items = max(self.most_items, len(target.lanes.items))

    # The senders.

    async def sender(self, key: int, bodies: list[bytes]) -> None:
        """Sends the messages of a key in turn, each again until it is acknowledged."""
        for body in bodies:
            await asyncio.sleep(self.chance.choice((0.0, 0.01, self.chance.uniform(0, self.story.seconds / len(bodies)))))
            while body not in self.acknowledged:
                await self._deliver(body)

    async def _deliver(self, body: bytes) -> None:
        if not self.up:
            await asyncio.sleep(0.5)
            return
        id = f"m{self.chance.getrandbits(64):x}"
        lanes = sorted(self.lanes_of[body]) if self.broken != "ordering_key_dropped" else [id]
        work = NewWork("flow:forward", lanes[0], tuple(lanes[1:]))
        message = NewMessage(id, 0, "in", "in", "bytes", "", "", None, 0, 0, b"", body, works=[work], seen_key=body)
        if self.broken == "dedupe_off":
            message.seen_key = None
        try:
            async with asyncio.timeout(60):
                kept = self.journal.submit(Write(messages=[message]))
                if self.broken == "ack_before_commit":
                    kept.add_done_callback(lambda done: done.cancelled() or done.exception())
                else:
                    await kept
        except (TimeoutError, StoreFull):
            await asyncio.sleep(0.5)
            return
        self.acknowledged.add(body)

    # The story.

    async def run(self) -> None:
        story = self.story
        by_key = defaultdict(list)
        for number in range(1, story.messages + 1):
            key = self.chance.randrange(story.keys)
            body = f"{key}:{number}".encode()
            self.lanes_of[body] = {f"k{key}"}
            by_key[key].append(body)
            if self.chance.random() < story.poisoned:
                story.poison.add(body)
        self._some_are_merges(by_key)
        self.start()
        senders = [asyncio.create_task(self.sender(key, bodies)) for key, bodies in by_key.items()]
        disturbances = [
            *((at, self._restart) for at in story.kills),
            *((at, lambda jump=jump: self._jump(jump)) for at, jump in story.jumps),
            *((begin, lambda end=end: self._fill(end)) for begin, end in story.full),
        ]
        for at, disturb in sorted(disturbances, key=lambda pair: pair[0]):
            await asyncio.sleep(max(0.0, at - self.loop.now))
            await disturb()
        async with asyncio.timeout(30 * A_DAY):
            await asyncio.gather(*senders)
            await self._all_done()
        self._judge()
        await self.kill()

    def _some_are_merges(self, by_key: dict[int, list[bytes]]) -> None:
        """A merge has the lanes of both charts; one sender sends everything then, so that there is one order."""
        if self.story.merges and self.story.keys > 1:
            everything = sorted((body for bodies in by_key.values() for body in bodies), key=_number)
            by_key.clear()
            by_key[0] = everything
            for body in everything:
                if self.chance.random() < self.story.merges:
                    self.lanes_of[body] = {f"k{self.chance.randrange(self.story.keys)}" for _ in range(2)}

    async def _restart(self) -> None:
        await self.kill()
        await asyncio.sleep(self.chance.uniform(0.1, 5))
        self.begin()
        self.start()

    async def _jump(self, seconds: float) -> None:
        self.clock.jumped += seconds

    async def _fill(self, until: float) -> None:
        self.disk.full_until = until

    async def _all_done(self) -> None:
        """People let held work go until nothing is open any more."""
        while any(self.disk.open(name) for name in self.targets):
            await asyncio.sleep(30.0)
            for row in [row for name in self.targets for row in self.disk.open(name).values() if row.work.state == "held"]:
                mark = Mark(row.work.id, "waiting", 0)
                with contextlib.suppress(StoreFull):
                    await self.journal.commit(Write(marks=[mark]))
                    self.targets[row.work.target].lanes.release(row.work.id, row.work.generation, row.work.step)
                    self.targets[row.work.target].pump()
        await asyncio.sleep(3600.0)  # whatever is still being read or waited for ends

    def _judge(self) -> None:
        story = self.story
        assert not self.wrong, "; ".join(self.wrong[:3])
        sent = {row.message: row for row in self.disk.works.values() if row.work.target == "flow:forward"}
        assert len(self.acknowledged) == len(self.lanes_of) == len(sent), "an acknowledged message is not kept"
        for row in self.disk.works.values():
            body = self.disk.messages[row.message].body or b""
            state, name = row.work.state, row.work.target.removeprefix("to:")
            if row.work.target == "flow:forward":
                assert state == ("quarantined" if body in story.poison else "delivered"), f"{body!r} is {state}"
                continue
            partner = self.partners[name]
            times = partner.taken[body]
            if state == "delivered":
                assert times >= 1, f"{name}: {body!r} counts as delivered and never came"
            elif state == "unknown":
                assert partner.repeat == "ask", f"{name}: {body!r} is unknown"
            else:
                assert state in ("quarantined", "skipped"), f"{name}: {body!r} is {state}"
            assert row.attempts <= 4 or story.policy == "hold", f"{name}: {body!r} was tried {row.attempts} times"
        for target in self.targets.values():
            assert len(target.lanes) == 0, f"{target.name} keeps {len(target.lanes)} works that are done"
            assert target.lanes.lanes == {}, f"{target.name} keeps empty lanes"
        limit, window = story.lanes
        assert self.most_items <= limit * window + len(self.lanes_of), "memory is not bounded"


def tell(seed: int, story: Story | None = None, *, broken: str = "") -> World:
    """Plays one story, with a whole hub or one that is broken in a way of hub.bus.failpoints; AssertionError names the seed."""
    random.seed(seed)
    with virtual_time() as (loop, clock):
        world = World.__new__(World)

        async def play() -> None:
            world.__init__(seed, loop, clock, story, broken)  # type: ignore[misc]  # it needs the running loop
            await world.run()

        try:
            loop.run_until_complete(play())
        except Exception as error:
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.wait(left))
            raise AssertionError(f"seed {seed}: {error or type(error).__name__}") from error
    return world


if __name__ == "__main__":
    raise SystemExit(tell_all(tell, int(sys.argv[1]), int(sys.argv[2])))
