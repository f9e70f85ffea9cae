"""Open work of one target, in order for each ordering key, bounded in memory.

A lane is the open work with one key.  Work runs when it is at the head of all of its lanes (a merge has two or more), so
messages of one patient keep their order and never wait for those of another.

Lanes hold ids, not bodies, and only so many of them: what does not fit stays in the journal and is loaded when there is
room.  Two things are remembered about what was left there: `cursor`, up to which all work was considered, and for each lane
whether there is `more` behind what it holds.  Nothing here waits or reads: the target asks `needs` what to load.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

LIMIT = 4000
"""Works held in memory for one target, not counting heads that wait for a retry or a person."""
WINDOW = 64
"""Works held in memory for one lane."""
TURN_OF_REPLAYS = 10
"""Fresh work goes first; of so many works one is a replay all the same, so that replays come to an end under any load."""


@dataclass(slots=True, eq=False)
class Item:
    """One open work."""

    id: int
    seq: int
    message: str
    """Id of its message."""
    lanes: tuple[str, ...]
    generation: int = 0
    attempts: int = 0
    next_at: float = 0.0
    """When it may be tried again, by the monotonic clock; 0 for at once."""
    step: str = ""
    origin: int | None = None
    config: str = ""
    held: bool = False
    """It waits for a person."""
    doubtful: bool = False
    """It was being sent when the hub stopped."""
    again: int = 0
    """1 when it was asked for after its turn: it gives way to fresh work."""
    running: bool = False
    ready: bool = False
    since: int = 0
    """When the message that caused it was received, in microseconds since 1970."""
    span: Any = None
    """The span it belongs to; None without an SDK."""
    task: asyncio.Task[None] | None = None
    """What does it, while it runs."""
    sent: bool = False
    """It was given to the partner before, and nobody knows whether it arrived."""


@dataclass(slots=True)
class Lane:
    """The loaded part of one lane."""

    items: deque[Item] = field(default_factory=deque)
    last: int = 0
    """Id of the last item that was put in."""
    more: bool = False
    skipped: int = 0
    """Highest id that was left on disk."""
    loading: bool = False


@dataclass(frozen=True, slots=True)
class Need:
    """What is to be read from the journal: the next works of a lane, or of all."""

    lane: str | None
    after: int
    limit: int
    known: int
    """Highest id that was known to be on disk when this was asked."""


class Lanes:
    """All lanes of one target."""

    def __init__(self, *, limit: int = LIMIT, window: int = WINDOW) -> None:
        self.limit = limit
        self.window = window
        self.items: dict[int, Item] = {}
        self.lanes: dict[str, Lane] = {}
        self.cursor = 0
        self.behind = False
        self.skipped = 0
        self._scanning = False
        self._blocked: set[int] = set()
        self._ready: deque[Item] = deque()
        self._ready_again: deque[Item] = deque()
        """Replays, which give way.  Entries count while their item is `ready`; others are left over."""
        self._since_replay = 0
        self.until: int | None = None
        """While a person lets it drain: newer work waits."""
        self._beyond: list[Item] = []
        """Ready, but newer than that."""
        self._claimed: set[int] = set()
        """Works a person is about to end or change; they do not run meanwhile."""
        self._gone: set[int] = set()
        """Works a person has ended; they may be read once more as they were before."""
        self._changed: dict[int, tuple[int, str]] = {}
        """Works whose message a person has replaced: its seq and id."""
        self._timed: list[tuple[float, int, Item]] = []
        self._hungry: set[str] = set()
        """Lanes that may want to load more."""
        self._released: set[int] = set()
        """Held works a person has let go; they may be read once more as they were before."""

    def anew(self) -> Lanes:
        """Empty ones, which still know what people have asked for."""
        fresh = Lanes(limit=self.limit, window=self.window)
        fresh.until = self.until
        fresh._claimed, fresh._gone = self._claimed, self._gone
        fresh._changed, fresh._released = self._changed, self._released
        return fresh

    def __len__(self) -> int:
        return len(self.items)

    # What comes in.

    def recover(self, highest: int) -> None:
        """At a start: everything up to this id may be on disk."""
        self.behind, self.skipped = True, highest

    def offer(self, item: Item) -> None:
        """New work, in the order of ids; what was read from the journal meanwhile is known already."""
        if item.id <= self.cursor:
            return
        if self.behind or len(self.items) - len(self._blocked) >= self.limit:
            self.behind, self.skipped = True, max(self.skipped, item.id)
            return
        self.cursor = item.id
        self._admit(item)

    def _admit(self, item: Item) -> None:
        for key in item.lanes:
            self._append(key, item)

    def _append(self, key: str, item: Item) -> None:
        if item.id in self._gone:
            return
        lane = self.lanes.get(key)
        if lane is None:
            lane = self.lanes[key] = Lane()
        if item.id <= lane.last:
            return
        if lane.more or len(lane.items) >= self.window:
            lane.more, lane.skipped = True, max(lane.skipped, item.id)
            self._hungry.add(key)
            return
        item = self.items.setdefault(item.id, item)
        if item.id in self._changed:
            item.seq, item.message = self._changed[item.id]
        lane.items.append(item)
        lane.last = item.id
        self._consider(item)
        if not item.again and (head := lane.items[0]).again and head.ready:
            self._ready.append(head)  # fresh work waits behind it

    # What is to be loaded.

    def needs(self) -> Iterator[Need]:
        """What should be read now; each need is named once, until `loaded` answers it."""
        if self.behind and not self._scanning and len(self.items) - len(self._blocked) <= self.limit // 2:
            self._scanning = True
            yield Need(None, self.cursor, max(1, self.limit // 2), self.skipped)
        for key in list(self._hungry):
            lane = self.lanes.get(key)
            if lane is None or not lane.more:
                self._hungry.discard(key)
            elif not lane.loading and len(lane.items) <= self.window // 2 and not self._is_blocked(lane):
                lane.loading = True
                yield Need(key, lane.last, self.window, lane.skipped)

    def _is_blocked(self, lane: Lane) -> bool:
        return bool(lane.items) and lane.items[0].id in self._blocked

    def loaded(self, need: Need, items: Iterable[Item]) -> None:
        """Takes what was read for a need."""
        found = list(items)
        if need.lane is None:
            self._scanned(need, found)
        else:
            self._lane_loaded(need, need.lane, found)

    def _scanned(self, need: Need, found: list[Item]) -> None:
        self._scanning = False
        for item in found:
            self.cursor = item.id
            self._admit(item)
        if len(found) < need.limit:
            self.cursor = max(self.cursor, need.known)
            self.behind = self.skipped > self.cursor

    def _lane_loaded(self, need: Need, key: str, found: list[Item]) -> None:
        lane = self.lanes[key]
        lane.loading = False
        if need.after != lane.last:  # meanwhile its head had to wait and gave back what stood behind it
            return
        lane.more = False
        for item in found:
            if item.id > self.cursor:  # not yet considered for its other lanes: the scan brings it
                lane.more, lane.skipped = True, max(lane.skipped, item.id)
                break
            self._append(key, item)
            if lane.more:
                break
        if not lane.more:
            lane.more = len(found) >= need.limit or lane.skipped > max(need.known, lane.last)
        if lane.more:
            self._hungry.add(key)
        elif not lane.items:
            self._drop(key, lane)

    def failed_to_load(self, need: Need) -> None:
        """The journal could not be read; the need will be named again."""
        if need.lane is None:
            self._scanning = False
        else:
            self.lanes[need.lane].loading = False

    @property
    def replays(self) -> int:
        """Works of replays that are here and wait for no time and no person."""
        return sum(1 for item in self.items.values() if item.again and item.id not in self._blocked)

    # What runs.

    def take(self, now: float) -> Item | None:
        """The next work that may run."""
        while self._timed and self._timed[0][0] <= now:
            _, _, item = heapq.heappop(self._timed)
            if item.id in self._blocked and not item.held:
                self._blocked.discard(item.id)
                item.next_at = 0.0
                self._consider(item)
        following = self._next_ready()
        if following is not None:
            following.ready, following.running = False, True
        return following

    def _next_ready(self) -> Item | None:
        while self._ready or self._ready_again:
            item = self._pop_ready()
            if not item.ready:
                continue
            if self.until is not None and item.id > self.until:
                self._beyond.append(item)
                continue
            return item
        return None

    def _pop_ready(self) -> Item:
        self._since_replay += 1
        if not self._ready or (self._ready_again and self._since_replay >= TURN_OF_REPLAYS):
            self._since_replay = 0
            return self._ready_again.popleft()
        return self._ready.popleft()

    def _put_ready(self, item: Item) -> None:
        item.ready = True
        gives_way = item.again and all(other.again for key in item.lanes for other in self.lanes[key].items)
        (self._ready_again if gives_way else self._ready).append(item)

    @property
    def has_ready(self) -> bool:
        """True when something may be there to take."""
        return bool(self._ready or self._ready_again)

    def put_back(self, item: Item) -> None:
        """The connection failed under it: another lane's head is tried first, so that no message can bring all to a stop."""
        item.running = False
        self._put_ready(item)

    @property
    def waiting(self) -> int:
        """How many heads of lanes wait for another try."""
        return sum(1 for id in self._blocked if (item := self.items.get(id)) is not None and not item.held)

    def next_time(self) -> float | None:
        """When something that waits may be tried again."""
        return self._timed[0][0] if self._timed else None

    def finish(self, item: Item) -> None:
        """It is done and that is durable: its lanes go on."""
        item.running = item.ready = False
        self._blocked.discard(item.id)
        self._released.discard(item.id)
        self._changed.pop(item.id, None)
        self.items.pop(item.id, None)
        for key in item.lanes:
            lane = self.lanes[key]
            if lane.items and lane.items[0] is item:
                lane.items.popleft()
            elif item in lane.items:
                lane.items.remove(item)
            if lane.items:
                self._consider(lane.items[0])
            elif not lane.more:
                self._drop(key, lane)
                continue
            if lane.more:
                self._hungry.add(key)

    def wait(self, item: Item, until: float) -> None:
        """It is to be tried again later; its lanes wait with it."""
        item.running, item.next_at = False, until
        self._block(item)
        heapq.heappush(self._timed, (until, item.id, item))

    def hold(self, item: Item) -> None:
        """It waits for a person, and its lanes with it."""
        item.running, item.held = False, True
        self._released.discard(item.id)
        self._block(item)

    def release(self, id: int, generation: int, step: str) -> None:
        """A person lets held work go on, at its place at the head of its lanes."""
        self._released.add(id)
        if (item := self.items.get(id)) is None or not item.held:
            return
        item.held, item.generation, item.step, item.attempts = False, generation, step, 0
        self._blocked.discard(id)
        self._consider(item)

    def held(self) -> list[int]:
        """What is here and waits for a person."""
        return [item.id for item in self.items.values() if item.held]

    # What a person ends or changes.

    def claim(self, id: int) -> bool:
        """It is about to be ended or changed and does not run meanwhile; False when it is running already."""
        item = self.items.get(id)
        if item is not None:
            if item.running:
                return False
            item.ready = False
        self._claimed.add(id)
        return True

    def unclaim(self, id: int) -> None:
        """Nothing came of it."""
        self._claimed.discard(id)
        if (item := self.items.get(id)) is not None:
            self._consider(item)

    def withdraw(self, id: int) -> None:
        """It has been ended, wherever it stood, and that is durable: its lanes go on."""
        self._claimed.discard(id)
        self._gone.add(id)
        if (item := self.items.get(id)) is not None:
            self.finish(item)

    def replace(self, id: int, seq: int, message: str) -> None:
        """An edited message has its place, and that is durable; it goes on at once."""
        self._claimed.discard(id)
        self._released.add(id)
        self._changed[id] = seq, message
        if (item := self.items.get(id)) is not None:
            item.seq, item.message, item.attempts, item.next_at = seq, message, 0, 0.0
            item.held = item.doubtful = False
            self._blocked.discard(id)
            self._consider(item)

    # Draining.

    def drain_until(self, until: int | None) -> None:
        """Only work up to this id is taken; with None everything is again."""
        self.until = until
        beyond, self._beyond = self._beyond, []
        for item in beyond:
            if item.ready:
                self._put_ready(item)

    @property
    def drained(self) -> bool:
        """True when nothing up to `until` can go on without a person."""
        until = self.until
        if until is None or self._scanning or (self.behind and self.cursor < until):
            return False
        if any(item.id <= until and self._goes_on(item) for item in self.items.values()):
            return False
        return not any(
            lane.loading or (lane.more and lane.last < until and not self._is_blocked(lane)) for lane in self.lanes.values()
        )

    def _goes_on(self, item: Item) -> bool:
        return item.running or item.ready or item.id in self._claimed or (item.id in self._blocked and not item.held)

    def _block(self, item: Item) -> None:
        """What stands behind a waiting head is given back to the journal, so that many waiting heads cost little."""
        self._blocked.add(item.id)
        for key in item.lanes:
            lane = self.lanes[key]
            while lane.items and lane.items[-1] is not item:
                behind = lane.items.pop()
                lane.more, lane.skipped = True, max(lane.skipped, behind.id)
                if len(behind.lanes) == 1:
                    self.items.pop(behind.id, None)
            lane.last = item.id
            if lane.more:
                self._hungry.add(key)

    def _consider(self, item: Item) -> None:
        if item.ready or item.running or item.id in self._blocked or item.id in self._claimed:
            return
        if any(not self._heads(key, item) for key in item.lanes):
            return
        if item.held and item.id not in self._released:
            self._block(item)
            return
        if item.next_at:
            self._block(item)
            heapq.heappush(self._timed, (item.next_at, item.id, item))
            return
        self._put_ready(item)

    def _heads(self, key: str, item: Item) -> bool:
        lane = self.lanes.get(key)
        return lane is not None and bool(lane.items) and lane.items[0] is item

    def _drop(self, key: str, lane: Lane) -> None:
        if not lane.loading:
            self.lanes.pop(key, None)
            self._hungry.discard(key)
