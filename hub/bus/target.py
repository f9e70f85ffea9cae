"""What flows and connections have in common: open work taken from lanes, run side by side, never two of a key."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from hub.bus.failures import problem_of
from hub.bus.journal import Journal
from hub.bus.lanes import Item, Lanes, Need
from hub.bus.signals import TargetSignals, Trouble
from hub.bus.spans import Spans
from hub.errors import HubError, NotFound, StoreBroken, StoreError, StoreFull
from hub.moments import now_micros
from hub.security.seal import SealBroken
from hub.store.batch import partition_of
from hub.store.reader import Reader
from hub.store.rows import Mark, OpenWork, Write

log = structlog.get_logger(__name__)

T = TypeVar("T")
LONGEST_WAIT = 3600.0
"""Seconds a retry that is read from the journal waits at most, wherever the clock has gone meanwhile."""
LOOK_AGAIN = 0.1
"""Seconds between looks whether another hub is done with what a merge waits for."""
WAIT_FOR_SPACE = 1.0
"""Seconds between tries to write while the disk is full."""


class Target(ABC):
    """One flow, or one connection that sends."""

    def __init__(
        self,
        name: str,
        journal: Journal,
        reader: Reader,
        parallel: int,
        lanes: Lanes | None = None,
        *,
        signals: TargetSignals,
        spans: Spans | None = None,
    ) -> None:
        self.name = name
        self.journal = journal
        self.reader = reader
        self.parallel = parallel
        self.lanes = lanes or Lanes()
        self.running: set[asyncio.Task[None]] = set()
        self._loading: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None
        self._to_pump = False
        self.open = False
        self.paused = False
        """A person has stopped it: work stays where it is."""
        self.on_drained: Callable[[Target], None] = lambda _: None
        """Called when what was there when a drain began has ended."""
        self.trouble: Trouble | None = None
        """Why nothing, or a lane, goes on; None while all does."""
        self.signals = signals
        self.spans = spans
        self.partitions: frozenset[int] | None = None
        """Those this hub does the work of; None for all, when there is no other hub."""
        self.fence: Callable[[], bool] = lambda: True
        """False when another hub may have taken over: nothing is begun and nothing sent."""
        self._closed = False
        self._settling = asyncio.Lock()
        self._unsettled = False
        """It was open when it began to settle."""
        self._joining: set[asyncio.Task[None]] = set()
        """Works (merges) that wait for lanes another hub has."""

    def start(self, highest: int) -> None:
        """Begins with what the journal has."""
        self.lanes.recover(highest)
        if self._settling.locked():
            self._unsettled = True  # it opens when that is done
            return
        self.open = True
        self.pump()

    def does(self, lane: str) -> bool:
        """False when it is another hub that does the work of a lane."""
        return self.partitions is None or partition_of(lane) in self.partitions

    def offer(self, item: Item) -> None:
        if len(item.lanes) == 1 and not self.does(item.lanes[0]):
            return
        self.lanes.offer(item)
        self._pump_soon()

    def close(self) -> None:
        """Takes nothing more; what runs goes on to its end."""
        self.open, self._closed = False, True
        for task in self._joining:
            task.cancel()
        if self._timer is not None:
            self._timer.cancel()

    async def drain(self, timeout: float) -> None:
        """Waits for what runs; what does not end in time is given up (and done again after a restart)."""
        self.close()
        tasks = self.running | self._loading
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=timeout)
            for task in late:
                task.cancel()

    def _pump_soon(self) -> None:
        """Once for everything that happens in this turn of the event loop."""
        if self.open and not self._to_pump:
            self._to_pump = True
            asyncio.get_running_loop().call_soon(self.pump)

    def pump(self) -> None:
        """Starts whatever may run now."""
        self._to_pump = False
        while self.open and not self.paused and len(self.running) < self.parallel and self.fence() and self.may_run():
            item = self.take(time.monotonic())
            if item is None:
                break
            if self.partitions is not None and len(item.lanes) > 1 and (foreign := self._foreign(item)):
                self._join(item, foreign)
                continue
            self._begin(item)
        if self.open:
            for need in self.lanes.needs():
                self._load(need)
            self._set_timer()
            if self.lanes.until is not None and not self.paused and not self.running and self.lanes.drained:
                self.pause()
                self.on_drained(self)

    def _begin(self, item: Item) -> None:
        task = item.task = asyncio.get_running_loop().create_task(self._run(item))
        self.running.add(task)
        task.add_done_callback(self._ran)

    # Other hubs.

    async def settle(self, partitions: frozenset[int] | None, highest: Callable[[], int]) -> None:
        """Begins anew with the work of these partitions, once what is under way has come to its end."""
        async with self._settling:
            self.open, self._unsettled = False, self._unsettled or self.open
            for task in self._joining:
                task.cancel()
            while tasks := self.running | self._loading | self._joining:
                await asyncio.wait(tasks)
            self.partitions = partitions
            self.lanes = self.lanes.anew()
            self.lanes.recover(highest())
            self.open, self._unsettled = self._unsettled and not self._closed, False
            if self.open:
                self.pump()

    def _foreign(self, item: Item) -> list[str]:
        """Its lanes that another hub has."""
        assert self.partitions is not None  # noqa: S101 - asked only then
        return [lane for lane in item.lanes if partition_of(lane) not in self.partitions]

    def _join(self, item: Item, foreign: list[str]) -> None:
        task = asyncio.get_running_loop().create_task(self._wait_for_others(item, foreign))
        self._joining.add(task)
        task.add_done_callback(self._joining.discard)

    async def _wait_for_others(self, item: Item, foreign: list[str]) -> None:
        """A merge is done by the hub that has its first lane, once nothing is before it in those of others; who has one of its
        other lanes waits until it is done.
        """
        ours = item.lanes[0] not in foreign
        while True:
            try:
                if ours and not await self.reader.is_open_before(self.name, foreign, item.id):
                    self._begin(item)
                    return
                if not ours and not await self.reader.is_open(item.id):
                    self.lanes.finish(item)
                    self.pump()
                    return
            except Exception as error:
                log.error("open work cannot be read", target=self.name, error=type(error).__name__)
            await asyncio.sleep(LOOK_AGAIN)

    def take(self, now: float) -> Item | None:
        """The next work, by the monotonic clock."""
        return self.lanes.take(now)

    # What people may ask.

    def pause(self) -> None:
        """What runs goes on to its end; nothing else begins."""
        self.paused = True
        self._set_timer()

    def drain_until(self, until: int) -> None:
        """What is there up to this work is done, what is newer waits; then it is paused."""
        self.paused = False
        self.lanes.drain_until(until)
        self.pump()

    def resume(self) -> None:
        self.paused = False
        self.lanes.drain_until(None)
        self.pump()

    def may_run(self) -> bool:
        return True

    def next_time(self) -> float | None:
        """When something that waits for a time may go on, by the monotonic clock."""
        return self.lanes.next_time()

    def _set_timer(self) -> None:
        full = len(self.running) >= self.parallel  # then what ends looks for the next
        moment = None if self.paused or full else self.next_time()
        if moment == self._timer_at:
            return
        self._timer_at = moment
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if moment is not None:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, moment - time.monotonic()) + 0.001, self._on_time)

    def _on_time(self) -> None:
        self._timer = self._timer_at = None
        self.pump()

    def _ran(self, task: asyncio.Task[None]) -> None:
        self.running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, StoreBroken):
            log.error("work stopped unexpectedly", target=self.name, error=type(error).__name__)
        self._pump_soon()

    async def _run(self, item: Item) -> None:
        try:
            if self.spans is None:
                await self.surely(lambda: self.handle(item))
                return
            with self.spans.stage(self.name, item):
                await self.surely(lambda: self.handle(item))
        except (NotFound, SealBroken) as error:
            log.error("a message cannot be read", target=self.name, message=item.message, reason=str(error))
            await self.hold(item, error)
        except StoreError:
            raise
        except Exception as error:  # a mistake in the hub: people must see that this lane stands still
            if not item.running:
                raise
            log.error("work stopped unexpectedly", target=self.name, message=item.message, error=type(error).__name__)
            await self.hold(item, problem_of(error))

    async def surely(self, act: Callable[[], Awaitable[T]]) -> T:
        """Does what has to be done until it is: on a full disk nothing is lost, everything waits."""
        while True:
            try:
                return await act()
            except StoreFull:
                await asyncio.sleep(WAIT_FOR_SPACE)

    async def commit_surely(self, write: Write) -> None:
        """Commits what has happened already and cannot be undone."""
        await self.surely(lambda: self.journal.commit(write))

    async def hold(self, item: Item, error: HubError) -> None:
        """The message and its lane wait for a person."""
        mark = Mark(item.id, "held", now_micros(), item.attempts, reason=str(error))
        await self.commit_surely(Write(marks=[mark]))
        self.signals.held += 1
        self.lanes.hold(item)

    @abstractmethod
    async def handle(self, item: Item) -> None:
        """Does one work to its end and tells the lanes: finish, wait or hold."""

    def _load(self, need: Need) -> None:
        task = asyncio.get_running_loop().create_task(self._read(need))
        self._loading.add(task)
        task.add_done_callback(self._loading.discard)

    async def _read(self, need: Need) -> None:
        try:
            if need.lane is None:
                rows = await self.reader.open_work(self.name, need.after, need.limit, self.partitions)
            else:
                rows = await self.reader.open_work_of_lane(self.name, need.lane, need.after, need.limit)
        except Exception as error:
            log.error("open work cannot be read", target=self.name, error=type(error).__name__)
            self.lanes.failed_to_load(need)
            await asyncio.sleep(1.0)
        else:
            self.lanes.loaded(need, [item_of(row) for row in rows])
        self.pump()


def being_cancelled() -> bool:
    """True when this task is to end; false when a plugin raised CancelledError of its own."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def item_of(row: OpenWork) -> Item:
    left = min(row.next_at / 1_000_000 - time.time(), LONGEST_WAIT)
    return Item(
        row.id,
        row.seq,
        row.message,
        (row.lane, *row.also),
        row.generation,
        row.attempts,
        time.monotonic() + left if left > 0 else 0.0,
        row.step,
        row.origin,
        row.config,
        held=row.state == "held",
        doubtful=row.state == "working",
        again=row.again,
        since=row.since,
    )
