"""Several hubs on one PostgreSQL: each does the work of its share of the ordering keys; when one is gone the others take over.

A partition's work is done by the hub that has its lease, in the order of ids, which is the order of commits (postgres.py).
What a hub commits itself it hands to its lanes at once as long as its numbers follow on each other; what others have put in
between is read in one query for all targets, when they call (NOTIFY) or every 250 ms.

When the set of partitions changes, each target lets what it has under way come to its end, forgets what waits, and begins anew
with what the store has of its partitions; a partition that goes to another hub is given up only then.

Alone, a hub has all partitions and nothing here is on its hot path.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import asyncpg
import structlog

from hub.bus.orders import CALL
from hub.bus.target import Target, item_of
from hub.errors import LeaseLost
from hub.store.batch import PARTITIONS, partition_of
from hub.store.leases import Leases
from hub.store.postgres import LOST, PostgresWriter

if TYPE_CHECKING:
    from hub.bus.hub import Hub

log = structlog.get_logger(__name__)

POLL = 0.25
"""Seconds between looks at what others have committed, when nobody calls."""
CALL_AT_MOST = 0.02
"""Seconds between two calls."""
AT_ONCE = 2000
"""Works read in one go."""
SIGNS = 5
"""Signs of life in the time of a lease."""
ALL = frozenset(range(PARTITIONS))


class Sharing:
    """This hub among others."""

    def __init__(self, hub: Hub, writer: PostgresWriter, seconds: float, *, fenced: bool = True) -> None:
        self._hub, self._writer, self._seconds, self._fenced = hub, writer, seconds, fenced
        self._leases = Leases(writer.url, writer.node, seconds)
        self._leases.on_call = self._called
        self.own: frozenset[int] = frozenset()
        """Partitions whose work this hub does."""
        self.seen = writer.work
        """Up to this id all work of its partitions is in its lanes."""
        self.members = 1
        self._looking = False
        self._one_look = asyncio.Lock()
        self._behind = False
        """Work was committed that is not in its lanes yet."""
        self._wake = asyncio.Event()
        self._sign_now = asyncio.Event()
        self._next_end = seconds
        self._closing = False
        self._tell = False
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def _targets(self) -> Mapping[str, Target]:
        return self._hub.targets

    # Start and stop.

    async def start(self) -> None:
        """Comes back with a first set of partitions: all of them when nobody else is there."""
        await self._leases.share()
        await self._change(self.own)
        await self._sign()
        if self._writer.together:
            await self._leases.call("members")
        self._tasks = [
            asyncio.create_task(self._live(), name="leases"),
            asyncio.create_task(self._follow(), name="work of others"),
        ]

    def close(self) -> None:
        """The hub is stopping: signs of life go on until what is under way has ended, partitions stay as they are."""
        self._closing = True

    async def stop(self) -> None:
        """Gives everything up, so that others go on at once; nothing of it may be under way any more."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        with contextlib.suppress(*LOST, asyncpg.PostgresError):  # else the lease ends by itself
            async with asyncio.timeout(2):
                await self._leases.give_up(self.own)
                await self._leases.call("members")
        await self._leases.close()

    def admit(self, target: Target) -> None:
        """A target does the work of the partitions this hub has, as long as it has them."""
        target.fence = self.may_send
        target.partitions = self._partitions

    @property
    def _partitions(self) -> frozenset[int] | None:
        return None if self.own == ALL else self.own

    async def who_does(self, lane: str) -> str:
        """The hub that does the work of a lane, as machine:process."""
        return await self._leases.holder(partition_of(lane))

    def may_send(self) -> bool:
        """False when another hub may have taken over by now."""
        return not self._fenced or time.monotonic() < self._leases.deadline

    # Work as it is committed.

    def takes(self, work: int) -> bool:
        """True when work this hub has just committed may go into its lanes at once: none of another hub is before it."""
        if not (self._writer.together or self._behind or self._looking):
            self.seen = work
            return True
        self._tell = True
        if work == self.seen + 1 and not self._looking:
            self.seen = work
            self._wake.set()
            return True
        self._behind = True
        self._wake.set()
        return False

    async def call(self, about: str) -> None:
        """Wakes the other hubs; who does not hear it looks by himself a little later."""
        with contextlib.suppress(*LOST, asyncpg.PostgresError):
            await self._leases.call(about)

    def _called(self, about: str) -> None:
        if about == CALL:
            self._hub.orders.called()
            return
        if about == "members":
            self._sign_now.set()
        self._wake.set()

    async def _follow(self) -> None:
        while True:
            try:
                async with asyncio.timeout(POLL):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            if not self._writer.together and not self._behind:
                continue
            try:
                await self._look()
                if self._tell:
                    self._tell = False
                    await self._leases.call("work")
                    await asyncio.sleep(CALL_AT_MOST)
            except Exception as error:  # whatever it is, it must not end what brings the work of others
                log.warning("what other hubs have put into the store cannot be read", reason=type(error).__name__)
                await asyncio.sleep(POLL)

    async def _look(self) -> None:
        """Takes what is newer than what it has.  Meanwhile nothing goes past it: what is committed is looked for afterwards."""
        async with self._one_look:
            self._looking, self._behind = True, False
            try:
                while await self._look_once() >= AT_ONCE:
                    pass
            except BaseException:
                self._behind = True
                raise
            finally:
                self._looking = False

    async def _look_once(self) -> int:
        """How many works it has got."""
        own = self.own
        rows, top = await self._hub.core.reader.newer_work(self.seen, AT_ONCE, own)
        if own is not self.own:
            return AT_ONCE  # what it has gained meanwhile was not asked for: once more
        for target, row in rows:
            if target in self._targets:
                self._targets[target].offer(item_of(row))
        self.seen = max(self.seen, top)
        return len(rows)

    # Leases.

    async def _live(self) -> None:
        """Gives signs of life, takes over what is nobody's, gives up what is more than its share."""
        while True:
            await self._rest()
            try:
                await self._sign()
            except LeaseLost as error:
                self._hub.core.journal.fail(error)
                return
            except Exception as error:  # the database may be away; without a sign this hub stops sending by itself
                log.warning("no sign of life could be given", reason=type(error).__name__)
                await asyncio.sleep(POLL)

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(min(self._seconds / SIGNS, self._next_end + 0.01)):
                await self._sign_now.wait()
        except TimeoutError:
            pass

    async def _sign(self) -> None:
        self._sign_now.clear()
        members = await self._leases.sign()
        if members.unaware or (members.others and not self._writer.together):
            await self._writer.know()
            await self._leases.call("members")
        if members.late:
            await self._leases.bury()
            members = await self._leases.sign()
        self._next_end = members.next_end
        if not members.others and self._writer.together:
            await self._look()
            await self._writer.forget_others()
        if len(members.sharing) != self.members:
            self.members = len(members.sharing)
            log.warning("hubs on this database", count=self.members)
        if not self._closing:
            await self._settle(members.sharing)
        for target in self._targets.values():
            if target.open:
                target.pump()  # it may have waited for this sign

    async def _settle(self, sharing: list[str]) -> None:
        """What the store says it has counts: what could not be given up before is given up now."""
        fair = self._fair(sharing)
        held = frozenset(await self._leases.claim(fair - len(self.own)))
        kept = frozenset(sorted(held & self.own)[:fair]) if len(held) > fair else held
        if kept != self.own:
            await self._change(kept)
        if kept != held:
            await self._leases.give_up(held - kept)
            await self._leases.call("members")

    def _fair(self, sharing: list[str]) -> int:
        if self._writer.node not in sharing:
            return 0
        share, over = divmod(PARTITIONS, len(sharing))
        return share + (sharing.index(self._writer.node) < over)

    async def _change(self, own: frozenset[int]) -> None:
        """All targets begin anew with these; signs of life go on meanwhile."""
        self.own = own
        settling = asyncio.gather(*(target.settle(self._partitions, self._highest) for target in self._targets.values()))
        while not settling.done():
            await asyncio.wait([settling], timeout=self._seconds / SIGNS)
            if not settling.done():
                with contextlib.suppress(*LOST, asyncpg.PostgresError):
                    await self._leases.sign()
        await settling
        if not self._hub.leads:
            await self._hub.jobs.stop()  # before somebody else can lead

    def _highest(self) -> int:
        return max(self.seen, self._writer.work)
