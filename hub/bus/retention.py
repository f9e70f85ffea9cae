"""Retention: what is finished leaves the store when its time is over, a piece at a time, so that no delivery waits for it.

Readers choose what is old; the writer takes it out in pieces of a few milliseconds, as one write among the others, and looks
itself whether anything of it has become open meanwhile.  Between pieces it has the store for itself for four times as long.

What is open (waiting, working, held, parked) stays whatever its age, with its message, its attempts and its notes; a message
stays while one that was made of it does.  Bodies of messages in quarantine or doubt stay as long as the message.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from hub.bus.bodyfiles import BodyFiles
from hub.bus.journal import Journal
from hub.connector import SourceConfig
from hub.errors import StoreFull
from hub.moments import from_micros, now_micros
from hub.settings import Settings
from hub.store.outdated import BODIES_DONE, Outdated
from hub.store.reader import Reader
from hub.store.rows import AuditRow, Removal, Write
from hub.units import iso

log = structlog.get_logger(__name__)

CLASSES = ("bodies", "messages", "attempts", "notes", "seen", "audit")
EVERY = 3600.0
"""Seconds between the end of one sweep and the next."""
FIRST_AFTER = 60.0
"""Seconds after its start before a hub sweeps for the first time: a start has other things to do."""
PIECE_TAKES = 0.005
"""Seconds a piece should keep the writer."""
SMALLEST, LARGEST = 5, 500
"""Rows of a piece; the first one is small, the others go by how long the one before took."""
REST = 4.0
"""After a piece the store is left alone for so many times as long."""


@dataclass(slots=True)
class Swept:
    """What a sweep took out."""

    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CLASSES, 0))
    files: int = 0
    drafts: int = 0
    longest: float = 0.0
    """Seconds the longest piece kept the writer."""

    def __str__(self) -> str:
        found = {**self.rows, "files": self.files, "drafts": self.drafts}
        return ", ".join(f"{name} {count}" for name, count in found.items() if count) or "nothing"


class Retention:
    """Sweeps a store by the clinic's settings."""

    def __init__(self, settings: Settings, journal: Journal, reader: Reader, files: BodyFiles) -> None:
        self._kept = kept_for(settings)
        self._journal, self._files = journal, files
        self._outdated = Outdated(reader)
        self._piece = SMALLEST
        self._sweeping = asyncio.Lock()
        self._next = time.monotonic() + FIRST_AFTER

    def adopt(self, settings: Settings) -> None:
        """The clinic file has changed."""
        self._kept = kept_for(settings)

    async def look(self) -> None:
        """Sweeps when it is time to; called from time to time."""
        if time.monotonic() < self._next:
            return
        try:
            await self.sweep()
        except StoreFull as error:
            log.warning("old messages cannot be taken out now", reason=str(error))
        finally:
            self._next = time.monotonic() + EVERY

    async def preview(self) -> list[dict[str, Any]]:
        """For each class: how long it is kept, the oldest there is, and how much a sweep would take out now."""
        moment = now_micros()
        return [await self._preview(name, moment - _micros(self._kept[name])) for name in CLASSES]

    async def _preview(self, name: str, before: int) -> dict[str, Any]:
        oldest = await self._outdated.oldest(name)
        line = {
            "class": name,
            "kept_days": round(self._kept[name] / 86400, 1),
            "oldest": iso(from_micros(oldest)) if oldest else None,
            "before": iso(from_micros(before)),
            "to_go": await self._outdated.count(name, before),
        }
        return line | ({"open": await self._outdated.kept_although_old(before)} if name == "messages" else {})

    async def sweep(self, actor: str = "hub") -> Swept:
        """Takes out everything that is older than it is kept; what it did is in the audit."""
        async with self._sweeping:
            swept, moment = Swept(), now_micros()
            for name in CLASSES:
                before = moment - _micros(self._kept[name])
                async for removal in getattr(self, f"_{name}")(before):
                    await self._take_out(name, removal, swept)
            swept.files, swept.drafts = await self._files.collect(self._outdated.files_in_use)
            if str(swept) != "nothing":
                await self._journal.commit(Write(audit=[AuditRow(now_micros(), actor, "retention", "", f"removed: {swept}")]))
                log.info("old messages were taken out", actor=actor, removed=str(swept))
            return swept

    async def _take_out(self, name: str, removal: Removal, swept: Swept) -> None:
        await self._journal.commit(Write(removal=removal))
        swept.rows[name] += removal.removed
        swept.longest = max(swept.longest, removal.took)
        wanted = self._piece * PIECE_TAKES / max(removal.took, 1e-5)
        self._piece = int(min(max(SMALLEST, wanted), LARGEST, self._piece * 2))
        await asyncio.sleep(max(0.001, removal.took * REST))

    # The pieces of each class.

    async def _bodies(self, before: int) -> AsyncIterator[Removal]:
        begun = await self._outdated.bodies_done()
        place = (begun, -1)
        while rows := await self._outdated.bodies(before, place, self._piece):
            yield Removal(bodies=[seq for _, seq in rows])
            place = rows[-1]
        left = await self._outdated.first_body_left(before, begun)
        done = before if left is None else min(left, before)
        if done > begun:
            await self._journal.commit(Write(counters=[(BODIES_DONE, done)]))

    async def _messages(self, before: int) -> AsyncIterator[Removal]:
        place: tuple[int, int] | None = None
        while rows := await self._outdated.messages(before, place, self._piece):
            yield Removal(messages=[seq for _, seq in rows])
            place = rows[-1]
        yield Removal(jobs=before)

    async def _attempts(self, before: int) -> AsyncIterator[Removal]:
        place: tuple[int, int] | None = (0, 0)
        while place is not None:
            keys, place = await self._outdated.attempts(before, place)
            for piece in _pieces(keys, self._piece):
                yield Removal(attempts=piece)

    async def _notes(self, before: int) -> AsyncIterator[Removal]:
        place: int | None = 0
        while place is not None:
            ids, place = await self._outdated.notes(before, place)
            for piece in _pieces(ids, self._piece):
                yield Removal(notes=piece)

    async def _seen(self, before: int) -> AsyncIterator[Removal]:
        while True:
            removal = Removal(seen=(before, self._piece))
            most = self._piece
            yield removal
            if removal.removed < most:
                return

    async def _audit(self, before: int) -> AsyncIterator[Removal]:
        count, last = await self._outdated.audit(before)
        for left in range(max(0, count - LARGEST), -1, -LARGEST):
            if count:
                yield Removal(audit=last - left)


def kept_for(settings: Settings) -> dict[str, float]:
    """Seconds that each class is kept; what belongs to a message is not kept longer than the message."""
    retention = settings.retention
    configs = (connection.config for connection in settings.connections.values())
    remembered = [config.remember_for for config in configs if isinstance(config, SourceConfig)]
    kept = {name: min(getattr(retention, name), retention.messages) for name in ("bodies", "messages", "attempts", "notes")}
    return kept | {"seen": max([retention.seen, *remembered]), "audit": retention.audit}


def _pieces(rows: Sequence[Any], size: int) -> list[list[Any]]:
    return [list(rows[start : start + size]) for start in range(0, len(rows), size)]


def _micros(seconds: float) -> int:
    return int(seconds * 1_000_000)
