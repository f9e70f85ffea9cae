"""The parts of a hub that need no open connection: what a running hub and commands on a store at rest have in common."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime

from hub.bus.admission import Admission
from hub.bus.bodies import Bodies
from hub.bus.contents import StoredContents
from hub.bus.context import RunContext, Surroundings
from hub.bus.filing import Filing
from hub.bus.journal import Journal
from hub.bus.keeping import Keeping
from hub.bus.numbers import StoredNumbers
from hub.bus.records import StoredRecords
from hub.bus.retention import Retention
from hub.bus.router import Router
from hub.bus.signals import Signals
from hub.bus.space import Space
from hub.bus.spans import Spans, find_spans
from hub.clinic import Clinic
from hub.message import new_id
from hub.moments import now, to_micros
from hub.security.seal import Seal, read_key
from hub.step import ChangeSet
from hub.store.opening import AnyStore, Store, open_any_store
from hub.store.outdated import Outdated
from hub.store.reader import Reader
from hub.store.rows import DueRow, Write


@dataclass(slots=True)
class Core:
    """An open store with everything that reads and writes it."""

    clinic: Clinic
    seal: Seal
    store: AnyStore
    journal: Journal
    bodies: Bodies
    filing: Filing
    router: Router
    records: StoredRecords
    surroundings: Surroundings
    retention: Retention
    space: Space
    signals: Signals
    spans: Spans | None
    keeping: Keeping
    by_hand: asyncio.Lock
    """Held from the look at works to the commit that changes them on somebody's request."""
    admission: Admission = field(default_factory=Admission)

    @property
    def reader(self) -> Reader:
        return self.store.reader

    def context(self, name: str, actor: str = "") -> RunContext:
        """A context for something a person asked for."""
        return RunContext(
            self.surroundings, message_id=new_id(), name=name, generation=0, connection="", now=now(), actor=actor
        )

    def write_of(self, changes: ChangeSet, now: datetime) -> Write:
        """Records, due work and what was read, as a write; messages and keys are for whoever knows their message."""
        at = to_micros(now)
        write = Write()
        for (kind, _), saved in changes.records.items():
            write.records.append(self.records.row(self.clinic.catalogue.records[kind], saved.record, saved.version, at))
        write.reads = [
            (kind, id, version) for (kind, id), version in changes.reads.items() if (kind, id) not in changes.records
        ]
        for (job, key), due in changes.due.items():
            write.due.append(DueRow(job, key) if due is None else self.bodies.due_row(due))
        return write

    def adopt(self, clinic: Clinic) -> None:
        """Another clinic file for the same store counts from now on."""
        was, settings = self.surroundings, clinic.settings
        self.clinic = clinic
        self.filing = Filing(clinic.catalogue, self.seal)
        self.router = Router(list(settings.flows.values()), clinic.catalogue.formats)
        self.surroundings = Surroundings(
            settings, clinic.catalogue, clinic.mappings, self.seal, was.records, was.numbers, was.contents
        )
        self.keeping.adopt(settings)
        self.retention.adopt(settings)
        self.space.adopt(settings.disk)

    async def renew_data_keys(self) -> None:
        """Makes the data keys of today and tomorrow, so that there always is one that is on disk."""
        keys = {number: self.seal.new_data_key(number) for number in self.seal.missing_days(datetime.now(UTC))}
        if keys:
            await self.journal.commit(Write(data_keys=list(keys.items())))
        self.seal.load(await self.reader.data_keys())  # another hub on the same database may have been quicker

    async def close(self) -> None:
        if self.spans is not None:
            await asyncio.to_thread(self.spans.close)
        await self.keeping.close()
        await self.journal.stop()
        await self.store.close()


async def open_core(clinic: Clinic, *, key: bytes | None = None, apart: bool = False) -> Core:
    """Opens the store of a clinic, with a writer in a process of its own when SQLite is to be written `apart`.

    Raises ConfigError (no key), Refused (in use) or StoreError.
    """
    settings = clinic.settings
    seal = Seal(key if key is not None else read_key(settings.key))
    store = await open_any_store(settings.store, settings.folder, seal, settings.files)
    journal = Journal(store.writer, lock=store.lock.descriptor if apart and isinstance(store, Store) else None)
    records = StoredRecords(store.reader, seal)
    numbers = StoredNumbers(journal, store.reader)
    bodies = Bodies(seal, store.reader, store.files, on_broken=journal.fail)
    signals = Signals()
    signals.journal = journal.signals
    by_hand = asyncio.Lock()
    core = Core(
        clinic=clinic,
        seal=seal,
        store=store,
        journal=journal,
        bodies=bodies,
        filing=Filing(clinic.catalogue, seal),
        router=Router(list(settings.flows.values()), clinic.catalogue.formats),
        records=records,
        surroundings=Surroundings(settings, clinic.catalogue, clinic.mappings, seal, records, numbers, StoredContents(bodies)),
        keeping=Keeping(settings, journal, store.reader, bodies, by_hand),
        by_hand=by_hand,
        retention=Retention(settings, journal, store.reader, bodies.files),
        space=Space(store.path.parent, settings.disk, Outdated(store.reader).reusable),
        signals=signals,
        spans=find_spans(),
    )
    journal.start()
    return core
