"""Alerts: raised once, cleared once, and told until somebody has been told.

The checks (checks.py) say what is so; here it becomes an alert when it is firm, and is cleared when nothing of it has been seen
for `clear_after`.  An alert is a record: it survives a restart, and is not told again after one.  Its item on the worklist is
opened and closed in the same commit.  While the store takes nothing, alerts are kept in memory and told all the same.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from hub.bus.checks import Checks, Finding
from hub.bus.telling import Way, open_alerts, try_to_tell, ways_of
from hub.codes import CODES
from hub.errors import Conflict, StoreError
from hub.records import Alert, WorklistItem
from hub.settings.signals import AlertSettings

if TYPE_CHECKING:
    from hub.bus.hub import Hub

log = structlog.get_logger(__name__)

SHARED = frozenset({"ALR-001", "ALR-002", "ALR-003", "ALR-004"})
"""Codes of what is read from the store: all hubs of it would see the same."""


class Alerts:
    """The alerts of a running hub."""

    def __init__(self, hub: Hub, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        """Seconds since 1970."""
        self.raised: dict[str, Alert] = {}
        self._cleared: dict[str, Alert] = {}
        """Of which somebody has still to be told."""
        self._hub, self._core = hub, hub.core
        self._checks = Checks(hub)
        self._gone: dict[str, float] = {}
        """Since when nothing has been seen of a raised alert."""
        self._unkept: dict[str, bool] = {}
        """What the store has still to take: id, and whether the worklist hears of it."""
        self._ways: list[Way] = ways_of(self.settings)
        self._ways_of = self.settings
        self._tasks: set[asyncio.Task[None]] = set()
        self._leads = False
        self._telling, self._keeping = asyncio.Lock(), asyncio.Lock()

    @property
    def settings(self) -> AlertSettings:
        return self._hub.clinic.settings.alerts

    @property
    def certificates(self) -> dict[str, float]:
        return self._checks.certificates

    async def start(self) -> None:
        await self._take_over(shared=False)
        await self._follow_lead()
        if self.settings.enabled:
            self._tasks.add(asyncio.create_task(self._look_forever(), name="alerts"))

    async def _follow_lead(self) -> None:
        """Of several hubs on one store one looks after what concerns all; when that changes the alerts go with it."""
        if self._hub.leads == self._leads:
            return
        if self._hub.leads:
            await self._take_over(shared=True)
        else:
            for known in (self.raised, self._cleared):
                for id in [id for id, alert in known.items() if _is_shared(alert)]:
                    known.pop(id)
                    self._unkept.pop(id, None)
                    self._gone.pop(id, None)
        self._leads = self._hub.leads

    async def _take_over(self, *, shared: bool) -> None:
        for alert in await open_alerts(self._core):
            if _is_shared(alert) != shared or (not shared and alert.host != self._hub.host):
                continue
            if alert.cleared_at is None:
                self.raised[alert.id] = alert
            else:
                self._cleared[alert.id] = self._settled(alert)
                self._unkept[alert.id] = False

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for way in self._ways:
            await way.close()

    def looks_after(self, alert: Alert) -> bool:
        """True when this hub raises and clears it."""
        return self._leads if _is_shared(alert) else alert.host == self._hub.host

    async def _look_forever(self) -> None:
        while True:
            await asyncio.sleep(self.settings.every)
            try:
                await self.look()
            except StoreError as error:
                log.error("alerts cannot be looked after", reason=str(error))
            except Exception as error:  # alerts must not end because one look failed
                log.error("alerts cannot be looked after", error=type(error).__name__)

    async def look(self) -> None:
        """Raises and clears what has changed, keeps it, and sees to it that it is told."""
        await self._follow_settings()
        await self._follow_lead()
        now = self.clock()
        found = {finding.id: finding for finding in await self._checks.find(self.settings, now)}
        found |= {finding.id: finding for finding in self._untellable()}
        for finding in found.values():
            self._gone.pop(finding.id, None)
            if finding.id in self.raised:
                self.raised[finding.id] = self.raised[finding.id].model_copy(update={"text": finding.text})
            elif finding.firm:
                self._raise(finding, now)
        for id in [id for id in self.raised if id not in found]:
            if now - self._gone.setdefault(id, now) >= self.settings.clear_after:
                self._clear(id, now)
        await self._keep()
        if not self._telling.locked():
            task = asyncio.create_task(self._tell(), name="tell alerts")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _follow_settings(self) -> None:
        """After a `hub reload` others may have to be told, by other ways."""
        if self._ways_of == self.settings:
            return
        async with self._telling:
            for way in self._ways:
                await way.close()
            self._ways, self._ways_of = ways_of(self.settings), self.settings

    def _untellable(self) -> Iterable[Finding]:
        for way in self._ways:
            if way.breaker.down:
                yield Finding("ALR-010", f"alerts by {way.name}", way.breaker.reason).on(self._hub.host)

    def _raise(self, finding: Finding, now: float) -> None:
        before = self._cleared.pop(finding.id, None)
        told = [name for name in before.told if name not in before.told_cleared] if before is not None else []
        moment = datetime.fromtimestamp(now, UTC)
        self.raised[finding.id] = Alert(
            id=finding.id,
            code=finding.code,
            where=finding.where,
            host=finding.host,
            text=finding.text,
            raised_at=moment,
            told=told,
        )
        self._unkept[finding.id] = True
        log.warning("alert raised", code=finding.code, where=finding.where, reason=finding.text)

    def _clear(self, id: str, now: float) -> None:
        alert = self.raised.pop(id)
        self._gone.pop(id, None)
        moment = datetime.fromtimestamp(now, UTC)
        self._cleared[id] = self._settled(alert.model_copy(update={"cleared_at": moment}))
        self._unkept[id] = True
        log.info("alert cleared", code=alert.code, where=alert.where)

    def _settled(self, alert: Alert) -> Alert:
        """A cleared alert is pending while a way that told of it has not told that it is over."""
        ways = {way.name for way in self._ways}
        return alert.model_copy(update={"pending": bool(ways & set(alert.told) - set(alert.told_cleared))})

    # Keeping.

    async def _keep(self) -> None:
        """Brings to the store what it does not have yet; when it takes nothing, the next look tries again."""
        async with self._keeping:
            waiting, self._unkept = self._unkept, {}
            if not waiting:
                return
            try:
                await self._commit(waiting)
            except StoreError as error:
                log.warning("alerts are not kept yet", reason=str(error))
                for id, on_worklist in waiting.items():
                    self._unkept[id] = on_worklist or self._unkept.get(id, False)
                return
            self._forget_settled(waiting)

    def _forget_settled(self, ids: Iterable[str]) -> None:
        for id in ids:
            if id in self._unkept:
                continue
            if (alert := self._cleared.get(id)) is not None and not alert.pending:
                del self._cleared[id]

    async def _commit(self, waiting: dict[str, bool]) -> None:
        for _ in range(20):
            context = self._core.context("alerts")
            for id, on_worklist in waiting.items():
                alert = self.raised.get(id) or self._cleared.get(id)
                if alert is None:
                    continue  # another hub looks after it now
                await context.save(alert)
                if on_worklist and (item := self._item(alert)) is not None:
                    await context.save(item)
            try:
                await self._core.journal.commit(self._core.write_of(context.changes, context.now))
            except Conflict:
                continue
            return

    def _item(self, alert: Alert) -> WorklistItem | None:
        queue = self.settings.worklist
        if not queue or "worklist_item" not in self._core.clinic.catalogue.records:
            return None
        if alert.cleared_at is not None:
            return WorklistItem(queue=queue, cause=alert.id, open=False, closed_because="cleared")
        meaning, help = CODES.get(alert.code, ("", ""))
        text = f"{alert.where[:1].upper()}{alert.where[1:]}: {meaning} {alert.text}. {help}"
        return WorklistItem(queue=queue, text=text, who="it", cause=alert.id)

    # Telling.

    async def _tell(self) -> None:
        async with self._telling:
            for way in self._ways:
                if way.breaker.may_try(time.monotonic(), 0):
                    await self._tell_by(way)

    async def _tell_by(self, way: Way) -> None:
        news = [alert for alert in self.raised.values() if way.name not in alert.told]
        news += [a for a in self._cleared.values() if way.name in a.told and way.name not in a.told_cleared]
        if not news:
            return
        if not await try_to_tell(way, self._core.clinic.settings.organisation.name, news):
            log.warning("alerts cannot be told", name=way.name, reason=way.breaker.reason)
            return
        for told in news:
            self._has_told(way.name, told)
        await self._keep()

    def _has_told(self, name: str, told: Alert) -> None:
        """Meanwhile it may have been cleared, or raised again."""
        if (alert := self.raised.get(told.id)) is not None:
            if told.cleared_at is None:
                self.raised[told.id] = alert.model_copy(update={"told": [*alert.told, name]})
        elif (alert := self._cleared.get(told.id)) is not None:
            field = "told" if told.cleared_at is None else "told_cleared"
            self._cleared[told.id] = self._settled(alert.model_copy(update={field: [*getattr(alert, field), name]}))
        self._unkept.setdefault(told.id, False)


def _is_shared(alert: Alert) -> bool:
    """It concerns the store as a whole, whichever hub looks."""
    return alert.code in SHARED
