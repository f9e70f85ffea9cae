"""What steps, reactions and operations are given: reading through, changes collected for one commit."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import TypeVar, cast

from hub.bus.contents import Contents
from hub.bus.numbers import Numbers
from hub.bus.records import RecordSource, kind_of
from hub.bus.spans import Spans
from hub.catalogue import Catalogue
from hub.errors import MessageUnusable
from hub.mapping import Mapping as FieldMapping, run_mapping
from hub.message import Message, Stored, derived_id
from hub.records import Content, Organisation, Payer, Record, WorklistItem
from hub.security.seal import Seal
from hub.settings.model import Settings
from hub.step import ChangeSet, Due, DueJob, Outgoing, RecordKind, SavedRecord, Site
from hub.transform import TransformContext

RecordT = TypeVar("RecordT", bound=Record)


@dataclass(slots=True)
class Surroundings:
    """What all runs of a hub share."""

    settings: Settings
    catalogue: Catalogue
    mappings: Mapping[str, FieldMapping]
    seal: Seal
    records: RecordSource
    numbers: Numbers
    contents: Contents
    payers: dict[str, Payer] = field(default_factory=dict)
    kinds: dict[type[Record], RecordKind] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for payer in self.settings.payers:
            for name in (payer.payer, *payer.also):
                self.payers[name.strip().upper()] = payer
        self.kinds = {kind.model: kind for kind in self.catalogue.records.values()}


class RunContext:
    """The context of one run.  See `hub.step.Context` for what each method promises."""

    def __init__(
        self,
        surroundings: Surroundings,
        *,
        message_id: str,
        name: str,
        generation: int,
        connection: str,
        now: datetime,
        authority: str = "",
        actor: str = "",
        spans: Spans | None = None,
    ) -> None:
        self._all = surroundings
        self._message_id, self._name, self._generation = message_id, name, generation
        self.connection = connection
        self.spans = spans
        self.now = now
        self.authority = authority
        self.actor = actor
        self.sites: Mapping[str, Site] = surroundings.settings.sites
        self.site: Site = surroundings.settings.site_of(connection)
        self.zone: tzinfo = surroundings.settings.zone_of(connection)
        self.organisation: Organisation = surroundings.settings.organisation
        self._overlays = surroundings.settings.overlays_of(connection)
        self.changes = ChangeSet()
        self.step = ""
        self.asked = 0
        """Questions this run puts."""
        self.asked_at = ""
        """The step that put them."""
        self.asked_in = ""
        """The lane they go out in; that of the work when empty."""
        self._counts: dict[str, int] = {}

    def due_job(self, name: str) -> DueJob:
        return self._all.catalogue.due[name]

    def kind_name(self, record: Record) -> str:
        return self._kind(type(record)).name

    # Ids and lookups.

    def payer(self, *ids: str | None) -> Payer | None:
        for id in ids:
            if id and (found := self._all.payers.get(id.strip().upper())):
                return found
        return None

    def digest(self, *parts: str) -> str:
        return self._all.seal.mac("digest", "\x1f".join(parts))

    def new_id(self, prefix: str = "") -> str:
        return prefix + self._derived(f"id:{self.step}")

    def _derived(self, step: str) -> str:
        index = self._counts.get(step, 0)
        self._counts[step] = index + 1
        return derived_id(self._message_id, self._name, step, index, self._generation)

    async def number(self, name: str) -> int:
        return await self._all.numbers.next(name)

    # Records.

    async def get(self, kind: type[RecordT], id: str) -> RecordT | None:
        known = self._kind(kind)
        if saved := self.changes.records.get((known.name, id)):
            return cast(RecordT, saved.record)
        found = await self._all.records.get(known, id)
        self.changes.reads.setdefault((known.name, id), found[1] if found else 0)
        return cast(RecordT, found[0]) if found else None

    async def find(self, kind: type[RecordT], name: str, value: str, limit: int = 100) -> list[RecordT]:
        known = self._kind(kind)
        found: dict[str, Record] = {}
        for record, version in await self._all.records.find(known, name, value, limit):
            id = str(getattr(record, "id", ""))
            self.changes.reads.setdefault((known.name, id), version)
            found[id] = record
        for (kind_name, id), saved in self.changes.records.items():
            if kind_name != known.name:
                continue
            found.pop(id, None)
            if any(key.name == name and key.value == value for key in known.keys(saved.record)):
                found[id] = saved.record
        return [cast(RecordT, record) for record in found.values()]

    async def save(self, record: RecordT) -> RecordT:
        known = self._kind(type(record))
        if known.save is None:
            await self.put(record)
        else:
            record = await known.save(record, self)
        for reaction in self._all.catalogue.reactions_to(known.name):
            await reaction.run(record, self)
        return record

    async def put(self, record: Record) -> None:
        known = self._kind(type(record))
        id = str(getattr(record, "id", ""))
        if (known.name, id) not in self.changes.reads:
            await self.get(type(record), id)
        self.changes.records.pop((known.name, id), None)  # last: what gave up a search key is written before who takes it
        self.changes.records[known.name, id] = SavedRecord(known.name, record, self.changes.reads[known.name, id])

    def _kind(self, model: type[Record]) -> RecordKind:
        return self._all.kinds.get(model) or kind_of(self._all.catalogue, model)

    # Bytes of any size.

    async def keep(self, content: bytes | Message) -> Content:
        return await self._all.contents.keep(content)

    async def content(self, kept: Content) -> bytes:
        return await self._all.contents.read(kept)

    def body(self, kept: Content) -> Stored:
        return self._all.contents.body(kept)

    # Messages, due work, timeline.

    async def map(self, mapping: str, message: Message) -> list[Message]:
        found = self._all.mappings.get(self._overlays.get(mapping, mapping))
        if found is None:
            raise MessageUnusable(f"there is no mapping {mapping!r}", code="MAP-006")
        transforms = TransformContext(self.zone, self.authority, message.headers)
        try:
            if message.large:
                result = await asyncio.to_thread(run_mapping, found, message, transforms)
            else:
                result = run_mapping(found, message, transforms)
        except MessageUnusable as error:
            if found.source_format is None or message.format != found.source:
                raise
            raise MessageUnusable(found.source_format.in_words(str(error), message), code=error.code) from None
        for cause, text in result.notes:
            await self.save(WorklistItem(queue="it", text=text, who="it", cause=cause))
        if found.target_format is not None:
            return [await found.target_format.write(values, message, self) for values in result.values]
        return [message.derive(record, format=found.target) for record in result.records]

    def send(self, destination: str, message: Message) -> None:
        self._queue(destination, message, ask=False)

    def ask(self, destination: str, message: Message) -> None:
        self.asked += 1
        self.asked_at = self.step
        self._queue(destination, message, ask=True)

    def _queue(self, destination: str, message: Message, *, ask: bool) -> None:
        id = self._derived(f"{self.step}>{destination}")
        sent = message.child(id, self._message_id, self._generation)
        self.changes.sent.append(Outgoing(destination, sent, ask))

    def plan(self, due: Due) -> None:
        self.changes.due[due.job, due.key] = due

    def withdraw(self, job: str, key: str) -> None:
        self.changes.due[job, key] = None

    def key(self, kind: str, value: str) -> None:
        if value.strip() and (kind, value) not in self.changes.keys:
            self.changes.keys.append((kind, value))

    def note(self, what: str, text: str, *, plain: bool = False) -> None:
        self.changes.notes.append((what, text, plain))
