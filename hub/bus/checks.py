"""What the hub looks at to find out whether something is worth telling a person.

Each check yields findings.  One that is not `firm` is not enough to raise an alert, and keeps one that is raised: so nothing
flutters around a limit.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hub.bus.habit import Habit
from hub.bus.status import place_of
from hub.connector import Poller
from hub.net.tls import certificates_of
from hub.security.certificates import expires_at
from hub.settings.signals import AlertSettings
from hub.store.reader import Backlog
from hub.units import age_in_words

if TYPE_CHECKING:
    from hub.bus.hub import Hub

SLOWLY = 15.0
"""Seconds between counts of what is in quarantine, when nothing new has come there."""
QUICK, SPARING = 0.5, 20.0
"""When counting open work took more than this (seconds), it is not done again for so many times as long."""
AWAY = 600.0
"""Seconds within which what was turned away is counted."""
CERTIFICATES = 3600.0
"""Seconds between looks at certificates."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is so at this moment."""

    code: str
    where: str
    text: str
    firm: bool = True
    host: str = ""

    @property
    def id(self) -> str:
        return f"{self.code} {self.where}"

    def on(self, host: str) -> Finding:
        """The same, told of a machine."""
        return replace(self, where=f"{self.where} on {host}", host=host) if host else self


class Checks:
    """All checks of one hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.habit = Habit(hub.core.reader)
        self.certificates: dict[str, float] = {}
        """When the certificate of each connection expires, in seconds since 1970."""
        self._certificates_at = -CERTIFICATES
        self._clinic = hub.clinic
        self._open: list[Backlog] = []
        self._count_at = 0.0
        """When open work is counted again, by the monotonic clock."""
        self._away: dict[str, deque[tuple[float, int]]] = {}
        """How much each connection had turned away, and when."""
        self._quarantine: dict[str, int] = {}
        self._quarantined_at = -SLOWLY
        self._quarantined_seen = -1

    async def find(self, settings: AlertSettings, now: float) -> list[Finding]:
        """Everything worth telling; `now` is in seconds since 1970.  What concerns the store as a whole one hub tells."""
        own = [*self._lag(settings), *self._disk(settings), *self._certificates(settings, now), *self._down(settings, now)]
        own += self._turned_away(settings, now)
        found = [finding.on(self._hub.host) for finding in own]
        if not self._hub.leads:
            return found
        found += [finding async for finding in self._silence(settings, now)]
        found += [finding async for finding in self._backlog(settings, now)]
        found += [finding async for finding in self._in_quarantine(settings, now)]
        return found

    # This machine.

    def _lag(self, settings: AlertSettings) -> Iterator[Finding]:
        worst, limit = self._hub.core.signals.loop.worst, settings.loop_lag
        if limit and worst >= limit / 2:
            where = self._hub.core.signals.loop.stood_at
            text = f"work was up to {worst:.1f} s late within the last minute" + (
                f"; the hub stood at {where}" if where else ""
            )
            yield Finding("ALR-008", "the hub", text, worst >= limit)

    def _disk(self, settings: AlertSettings) -> Iterator[Finding]:
        space = self._hub.core.space
        if settings.disk and space.level != "ok":
            yield Finding("ALR-007", "the disk of the store", space.text)

    def _certificates(self, settings: AlertSettings, now: float) -> Iterator[Finding]:
        if abs(now - self._certificates_at) >= CERTIFICATES or self._clinic is not self._hub.clinic:
            self._certificates_at, self._clinic = now, self._hub.clinic
            self.certificates = dict(self._expiries())
        for name, moment in self.certificates.items():
            left = moment - now
            if settings.certificate and left < settings.certificate:
                when = f"expires in {age_in_words(left)}" if left > 0 else f"expired {age_in_words(-left)} ago"
                yield Finding("ALR-006", f"connection {name}", f"the certificate {when}")

    def _expiries(self) -> Iterator[tuple[str, float]]:
        for name, connection in self._hub.clinic.settings.connections.items():
            moments = [moment for file in certificates_of(connection.config) if (moment := expires_at(file)) is not None]
            if moments:
                yield name, min(moments)

    # Connections and flows.

    def _down(self, settings: AlertSettings, now: float) -> Iterator[Finding]:
        if not settings.down_for:
            return
        for where, since, text in self._troubles():
            if now - since >= settings.down_for:
                yield Finding("ALR-005", where, f"down for {age_in_words(now - since)}: {text}")

    def _troubles(self) -> Iterator[tuple[str, float, str]]:
        for name, source in self._hub.sources.items():
            if isinstance(source, Poller) and source.failure and source.failing_since:
                yield f"connection {name}", source.failing_since, source.failure
        for target in self._hub.targets.values():
            if target.trouble is not None and not target.paused:
                yield place_of(target.name), target.trouble.since, target.trouble.text

    def _turned_away(self, settings: AlertSettings, now: float) -> Iterator[Finding]:
        if not settings.turned_away:
            return
        for name, signals in self._hub.core.signals.sources.items():
            total = sum(signals.turned_away.values())
            seen = self._away.setdefault(name, deque([(now, 0)]))
            seen.append((now, total))
            while now - seen[0][0] > AWAY:
                seen.popleft()
            count = total - seen[0][1]
            if count >= settings.turned_away / 2:
                reasons = ", ".join(f"{reason} {number}" for reason, number in sorted(signals.turned_away.items()))
                text = f"{count} within {age_in_words(AWAY)}; since the hub started: {reasons}"
                yield Finding("ALR-011", f"connection {name}", text, count >= settings.turned_away)

    async def _silence(self, settings: AlertSettings, now: float) -> AsyncIterator[Finding]:
        open_sources = [name for name in self._hub.sources if self._hub.is_open(name)]
        if not settings.silence or not open_sources:
            return
        await self.habit.learn(open_sources, now)
        last = await self._hub.core.reader.last_messages()
        for name in open_sources:
            since = max(last.get(name, 0) / 1e6, self._hub.started_at.timestamp())
            if now - since < settings.silence_least:
                continue
            zone = self._hub.clinic.settings.site_of(name).zone
            expected = self.habit.expected(name, since, now, zone)
            if expected >= settings.silence:
                text = (
                    f"nothing has come for {age_in_words(now - since)}; about {expected:.0f} messages usually do in that time"
                )
                yield Finding("ALR-001", f"connection {name}", text)

    async def _backlog(self, settings: AlertSettings, now: float) -> AsyncIterator[Finding]:
        for row in await self._open_work():
            where, target = place_of(row.target), self._hub.targets.get(row.target)
            if settings.held and row.held >= settings.held:
                yield Finding("ALR-004", where, f"{row.held} held for a person")
            explained = row.held or target is None or target.trouble is not None or target.paused
            age = now - row.oldest / 1e6
            if settings.backlog_age and not explained and age >= settings.backlog_age / 2:
                text = f"{row.waiting} wait, the oldest for {age_in_words(age)}"
                yield Finding("ALR-002", where, text, age >= settings.backlog_age)

    async def _open_work(self) -> list[Backlog]:
        """Counting millions takes a moment, so that it is done less often then."""
        began = time.monotonic()
        if began >= self._count_at:
            self._open = await self._hub.core.reader.backlog()
            took = time.monotonic() - began
            self._count_at = began + (SPARING * took if took > QUICK else 0.0)
        return self._open

    async def _in_quarantine(self, settings: AlertSettings, now: float) -> AsyncIterator[Finding]:
        if not settings.quarantined:
            return
        seen = sum(target.quarantined for target in self._hub.core.signals.targets.values())
        if seen != self._quarantined_seen or abs(now - self._quarantined_at) >= SLOWLY:
            self._quarantined_seen, self._quarantined_at = seen, now
            self._quarantine = {row.target: row.number for row in await self._hub.core.reader.quarantined()}
        for target, count in self._quarantine.items():
            if count >= settings.quarantined:
                yield Finding("ALR-003", place_of(target), f"{count} in quarantine")
