"""Lanes against a simple model: the order of every key, nothing lost, nothing twice, memory bounded (sentences 7 and 13)."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hub.bus.lanes import LIMIT, WINDOW, Item, Lanes, Need

KEYS = "abc"


@dataclass(slots=True)
class Row:
    """One open work as the journal has it."""

    id: int
    lanes: tuple[str, ...]
    next_at: float = 0.0
    held: bool = False
    again: int = 0


@dataclass(slots=True)
class Journal:
    """Open work on disk, and the two questions lanes ask of it."""

    open: dict[int, Row] = field(default_factory=dict)
    last: int = 0

    def add(self, lanes: tuple[str, ...]) -> Row:
        self.last += 1
        row = self.open[self.last] = Row(self.last, lanes, again=self.last % 3 == 0)
        return row

    def read(self, need: Need) -> list[Item]:
        found = [row for id, row in sorted(self.open.items()) if id > need.after and need.lane in (None, *row.lanes)]
        return [item_of(row) for row in found[: need.limit]]

    def earlier(self, row: Row) -> list[int]:
        """Open work that has to be done before this one."""
        return [id for id, other in self.open.items() if id < row.id and set(other.lanes) & set(row.lanes)]


def item_of(row: Row) -> Item:
    return Item(row.id, row.id, f"m{row.id}", row.lanes, next_at=row.next_at, held=row.held, again=row.again)


class LanesMachine(RuleBasedStateMachine):
    """Commits, announcements, loads that are late, work that ends in every way, and restarts, in any order."""

    limit = 4
    window = 2

    @initialize(keys=st.lists(st.sampled_from(KEYS), min_size=10, max_size=40))
    def begin(self, keys: list[str]) -> None:
        """A hub that was down for a while finds a backlog."""
        self.journal, self.now, self.restarts = Journal(), 100.0, 0
        self.done: list[int] = []
        self.until: int | None = None
        for key in keys:
            self.journal.add((key,))
        self.begin_again()

    def begin_again(self) -> None:
        """A new process: only the journal is left."""
        self.lanes = Lanes(limit=self.limit, window=self.window)
        self.lanes.recover(self.journal.last)
        self.lanes.drain_until(self.until)
        self.unannounced: deque[Row] = deque()
        self.asked: list[Need] = []
        self.read: list[tuple[Need, list[Item]]] = []
        self.running: dict[int, Item] = {}
        self.held: dict[int, Item] = {}

    # What comes in.

    @rule(lanes=st.lists(st.sampled_from(KEYS), min_size=1, max_size=3, unique=True), announced=st.booleans())
    def commit(self, lanes: list[str], announced: bool) -> None:
        self.unannounced.append(self.journal.add(tuple(lanes)))
        if announced:
            self.announce_all()

    @rule(keys=st.lists(st.sampled_from(KEYS), min_size=2, max_size=20))
    def commit_many(self, keys: list[str]) -> None:
        for key in keys:
            self.unannounced.append(self.journal.add((key,)))
        self.announce_all()

    @precondition(lambda self: self.unannounced)
    @rule()
    def announce(self) -> None:
        self.lanes.offer(item_of(self.unannounced.popleft()))

    def announce_all(self) -> None:
        while self.unannounced:
            self.announce()

    # What is loaded: asked for, read by another thread, answered later.

    @rule(at_once=st.booleans())
    def ask(self, at_once: bool) -> None:
        self.asked += self.lanes.needs()
        while at_once and self.asked:
            self.read_one()

    @precondition(lambda self: self.asked)
    @rule()
    def read_one(self) -> None:
        need = self.asked.pop(0)
        self.read.append((need, self.journal.read(need)))

    @precondition(lambda self: self.read)
    @rule(index=st.integers(0, 3))
    def answer(self, index: int) -> None:
        need, items = self.read.pop(index % len(self.read))
        self.lanes.loaded(need, items)

    @precondition(lambda self: self.asked)
    @rule()
    def fail_to_read(self) -> None:
        self.lanes.failed_to_load(self.asked.pop())

    def load_everything_now(self) -> None:
        self.asked += self.lanes.needs()
        while self.asked:
            self.read_one()
        while self.read:
            self.answer(0)

    # What runs.

    @rule()
    def take_and_finish(self) -> None:
        """As most of the work ends: at once."""
        before = set(self.running)
        self.take()
        for id in set(self.running) - before:
            self.end(self.running.pop(id))

    @rule()
    def take(self) -> None:
        item = self.lanes.take(self.now)
        if item is None:
            return
        row = self.journal.open.get(item.id)
        assert row is not None, f"{item.id} was done already"
        assert item.id not in self.running, f"{item.id} runs twice at once"
        assert not row.held, f"{item.id} is held for a person"
        assert row.next_at <= self.now, f"{item.id} waits until {row.next_at}"
        assert self.journal.earlier(row) == [], f"{item.id} overtakes"
        assert self.until is None or item.id <= self.until, f"{item.id} is newer than the drain"
        self.running[item.id] = item

    def pick(self, index: int) -> Item:
        return self.running.pop(sorted(self.running)[index % len(self.running)])

    @precondition(lambda self: self.running)
    @rule(index=st.integers(0, 20))
    def finish(self, index: int) -> None:
        self.end(self.pick(index))

    def end(self, item: Item) -> None:
        """Its mark is a later commit than the one that brought it, so that one has been told of before."""
        while self.unannounced and self.unannounced[0].id <= item.id:
            self.announce()
        del self.journal.open[item.id]
        self.done.append(item.id)
        self.lanes.finish(item)

    @precondition(lambda self: self.running)
    @rule(index=st.integers(0, 20), seconds=st.integers(1, 3))
    def wait(self, index: int, seconds: int) -> None:
        item = self.pick(index)
        self.journal.open[item.id].next_at = self.now + seconds
        self.lanes.wait(item, self.now + seconds)

    @precondition(lambda self: self.running and not any(row.held for row in self.journal.open.values()))
    @rule(index=st.integers(0, 20))
    def hold(self, index: int) -> None:
        item = self.pick(index)
        self.journal.open[item.id].held = True
        self.held[item.id] = item
        self.lanes.hold(item)

    @precondition(lambda self: self.running)
    @rule(index=st.integers(0, 20))
    def put_back(self, index: int) -> None:
        self.lanes.put_back(self.pick(index))

    @precondition(lambda self: any(row.held for row in self.journal.open.values()) and not self.asked and not self.read)
    @rule(index=st.integers(0, 20))
    def release_a_held_one(self, index: int) -> None:
        """As a replay does: its row ends, and the lanes are told when they have it."""
        held = sorted(id for id, row in self.journal.open.items() if row.held)
        id = held[index % len(held)]
        del self.journal.open[id]
        self.done.append(id)
        self.held.pop(id, None)
        item = self.lanes.items.get(id)
        if item is not None:
            self.lanes.finish(item)

    @precondition(lambda self: self.journal.open)
    @rule(index=st.integers(0, 50), committed=st.booleans())
    def skip(self, index: int, committed: bool) -> None:
        """A person ends work wherever it stands, also what is only on disk or is being read this moment."""
        id = sorted(self.journal.open)[index % len(self.journal.open)]
        if not self.lanes.claim(id):
            assert id in self.running
            return
        assert id not in self.running
        if committed:
            del self.journal.open[id]
            self.done.append(id)
            self.held.pop(id, None)
            self.lanes.withdraw(id)
        self.lanes.unclaim(id)

    @rule()
    def drain(self) -> None:
        self.until = self.journal.last
        self.lanes.drain_until(self.until)

    @rule()
    def drain_no_more(self) -> None:
        self.until = None
        self.lanes.drain_until(None)

    def waits_for_a_person(self, row: Row) -> bool:
        return row.held or any(self.waits_for_a_person(self.journal.open[id]) for id in self.journal.earlier(row))

    @rule(seconds=st.integers(1, 5))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @precondition(lambda self: self.restarts < 2)
    @rule()
    def restart(self) -> None:
        self.restarts += 1
        self.begin_again()

    @rule(seed=st.integers(0, 2**32 - 1))
    def many_things_happen(self, seed: int) -> None:
        """Ten events, each as likely as any other: what the choices of Hypothesis alone seldom bring together."""
        chance = Random(seed)
        for _ in range(10):
            chance.choice(self.possible_events(chance))()
            self.memory_is_bounded()
            self.what_is_in_memory_is_open()

    def possible_events(self, chance: Random) -> list[Callable[[], None]]:
        index = chance.randrange(20)
        held = any(row.held for row in self.journal.open.values())
        found: list[tuple[object, Callable[[], None]]] = [
            (True, lambda: self.commit(chance.sample(KEYS, chance.randint(1, 3)), announced=chance.random() < 0.5)),
            (True, lambda: self.commit_many(chance.choices(KEYS, k=chance.randint(2, 20)))),
            (self.unannounced, self.announce),
            (True, lambda: self.ask(at_once=chance.random() < 0.7)),
            (self.asked, self.read_one),
            (self.read, lambda: self.answer(index)),
            (True, self.take),
            (True, self.take_and_finish),
            (self.running, lambda: self.finish(index)),
            (self.running, lambda: self.wait(index, 1)),
            (self.running, lambda: self.put_back(index)),
            (self.running and not held, lambda: self.hold(index)),
            (held and not self.asked and not self.read, lambda: self.release_a_held_one(index)),
            (True, lambda: self.time_passes(1)),
            (self.journal.open and chance.random() < 0.5, lambda: self.skip(index, committed=chance.random() < 0.7)),
            (chance.random() < 0.2, self.drain),
            (chance.random() < 0.2, self.drain_no_more),
        ]
        return [event for possible, event in found if possible]

    # What holds all the time.

    @invariant()
    def memory_is_bounded(self) -> None:
        waiting = sum(1 for row in self.journal.open.values() if row.held or row.next_at)
        assert len(self.lanes.items) <= self.limit * self.window + waiting
        for key, lane in self.lanes.lanes.items():
            assert len(lane.items) <= self.window, f"lane {key}"

    @invariant()
    def a_drain_ends_when_nothing_goes_on_without_a_person(self) -> None:
        if hasattr(self, "until") and self.lanes.drained and not self.unannounced:
            assert self.until is not None
            late = [id for id, row in self.journal.open.items() if id <= self.until and not self.waits_for_a_person(row)]
            assert late == []

    @invariant()
    def what_is_in_memory_is_open(self) -> None:
        assert set(self.lanes.items) <= set(self.journal.open)

    def teardown(self) -> None:
        """Whatever happened: everything that is open gets its turn."""
        if not hasattr(self, "journal"):
            return
        self.announce_all()
        self.drain_no_more()
        for _ in range(20 * (len(self.journal.open) + 5)):
            if not self.journal.open:
                break
            self.now += 10
            self.load_everything_now()
            self.take()
            while self.running:
                self.finish(0)
            while any(row.held for row in self.journal.open.values()):
                self.release_a_held_one(0)
        assert self.journal.open == {}, "forgotten"
        assert sorted(self.done) == list(range(1, self.journal.last + 1))
        assert len(self.lanes) == 0
        assert self.lanes.lanes == {}, "empty lanes are kept"


class RoomierMachine(LanesMachine):
    """With room for work behind a head, which is given back when the head has to wait."""

    limit = 24
    window = 4


STORIES = 2000 if os.environ.get("CLINIC_HUB_LONG") else 100
EXAMPLES = settings(
    max_examples=STORIES,
    stateful_step_count=60,
    deadline=None,
    derandomize=True,
    report_multiple_bugs=False,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow],
)


class TestNarrowLanes(LanesMachine.TestCase):
    """Stories of 60 events."""

    settings = EXAMPLES


class TestRoomierLanes(RoomierMachine.TestCase):
    """Stories of 60 events."""

    settings = EXAMPLES


# Single stories.


def loaded_lanes(keys: list[str], *, limit: int, window: int) -> tuple[Lanes, Journal]:
    """Lanes that have just found this backlog."""
    journal, lanes = Journal(), Lanes(limit=limit, window=window)
    for key in keys:
        journal.add((key,))
    lanes.recover(journal.last)
    for need in list(lanes.needs()):
        lanes.loaded(need, journal.read(need))
    return lanes, journal


def finish_one(lanes: Lanes, journal: Journal, now: float = 0.0) -> int:
    item = lanes.take(now)
    assert item is not None
    del journal.open[item.id]
    lanes.finish(item)
    return item.id


def test_what_is_read_late_does_not_overtake_what_a_waiting_head_gave_back() -> None:
    """A lane asks for more, then its head has to wait for a retry, then the answer comes."""
    lanes, journal = loaded_lanes(["a"] * 10, limit=100, window=4)
    assert [finish_one(lanes, journal), finish_one(lanes, journal)] == [1, 2]
    head = lanes.take(0.0)
    assert head is not None
    [need] = lanes.needs()
    late = journal.read(need)
    lanes.wait(head, until=5.0)
    lanes.loaded(need, late)
    order = []
    for moment in range(10, 20):
        for again in list(lanes.needs()):
            lanes.loaded(again, journal.read(again))
        order.append(finish_one(lanes, journal, float(moment)))
        if not journal.open:
            break
    assert order == [3, 4, 5, 6, 7, 8, 9, 10]


@pytest.mark.parametrize(
    "key_of",
    [
        pytest.param(lambda number: "one", id="all-of-one-patient"),
        pytest.param(str, id="each-of-another-patient"),
        pytest.param(lambda number: str(number % 62), id="few-patients-with-many-each"),
        pytest.param(lambda number: str(number // 200), id="one-patient-after-the-other"),
    ],
)
def test_thirty_thousand_works_cost_no_more_memory_than_the_limit(key_of: Callable[[int], str]) -> None:
    keys = [key_of(number) for number in range(30_000)]
    rows = {key: [id for id, other in enumerate(keys, 1) if other == key] for key in set(keys)} if len(set(keys)) < 1000 else {}
    lanes, most, done = Lanes(), 0, 0
    for id, key in enumerate(keys, 1):
        lanes.offer(Item(id, id, "", (key,)))
        most = max(most, len(lanes))
    while done < len(keys):
        for need in list(lanes.needs()):
            lanes.loaded(need, [Item(id, id, "", (keys[id - 1],)) for id in _next_ids(need, keys, rows)])
            most = max(most, len(lanes))
        while (item := lanes.take(0.0)) is not None:
            lanes.finish(item)
            done += 1
    assert most <= 2 * LIMIT, "lanes that fill up again while a scan is under way may go a little over, not more"
    assert len(lanes.lanes) == 0


def _next_ids(need: Need, keys: list[str], rows: dict[str, list[int]]) -> Iterable[int]:
    if need.lane is None:
        return range(need.after + 1, min(need.after + need.limit, len(keys)) + 1)
    own = rows[need.lane]
    start = bisect_right(own, need.after)
    return own[start : start + need.limit]


def test_many_heads_that_wait_hold_nothing_behind_them() -> None:
    """A partner that refuses the first message of each of 500 patients costs 500 works in memory, not 500 lanes full."""
    patients = [str(number) for number in range(500)]
    lanes, _ = loaded_lanes(patients * 6, limit=10_000, window=WINDOW)
    for _ in patients:
        item = lanes.take(0.0)
        assert item is not None
        lanes.wait(item, until=100.0)
    assert lanes.take(50.0) is None
    assert len(lanes) == len(patients)
    assert list(lanes.needs()) == []
    assert lanes.next_time() == 100.0


def test_a_message_put_back_lets_the_heads_of_other_lanes_go_first() -> None:
    lanes, _ = loaded_lanes(["a", "b"], limit=10, window=4)
    first = lanes.take(0.0)
    assert first is not None
    lanes.put_back(first)
    second = lanes.take(0.0)
    again = lanes.take(0.0)
    assert second is not None
    assert second.lanes == ("b",)
    assert again is first
