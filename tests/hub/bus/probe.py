"""A plugin for tests, found by its entry point: connections and steps that do what a test says, in this process or another.

In this process `WORLD` says what partners answer and what steps do.  A hub in a process of its own is steered by files: what
was sent is written to `log`, and a partner is silent or away while a file exists.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from hub.bus.hub import Hub
from hub.connector import AnyConnector, Deliver, Destination, DestinationConfig, Receipt, Source, SourceConfig
from hub.errors import ConnectionDown
from hub.hookspecs import hookimpl
from hub.message import Message
from hub.records import Content, Record
from hub.step import (
    AnyStep,
    Context,
    DueJob,
    Operation,
    Prepared,
    RecordKey,
    RecordKind,
    Step,
    StepConfig,
    StepResult,
)
from hub.store.rare import numbered
from hub.store.sqlite import SqliteWriter
from tests import postgres, support

Partner = Callable[[Message], Awaitable[Message | None]]
Work = Callable[[Message, Context], Awaitable[StepResult]]


@dataclass(slots=True)
class World:
    """What the far sides and the steps of this process do; fresh for each test."""

    sent: dict[str, list[Message]] = field(default_factory=dict)
    """What each connection was given to send, refused or not, in order."""
    partners: dict[str, Partner] = field(default_factory=dict)
    steps: dict[str, Work] = field(default_factory=dict)
    runs: list[tuple[str, str]] = field(default_factory=list)
    """Step and id of the message of each run."""

    def step(self, work: Work) -> Work:
        """Registers a function as `- probe: NAME`."""
        self.steps[work.__name__] = work
        return work

    def partner(self, work: Partner) -> Partner:
        """Registers a function as what stands behind the connection of its name."""
        self.partners[work.__name__] = work
        return work

    def bodies(self, connection: str) -> list[bytes]:
        return [message.body for message in self.sent.get(connection, [])]


WORLD = World()


# Connections.


class InConfig(SourceConfig):
    """Delivers what a test hands it."""


class ProbeIn(Source[InConfig]):
    """A source whose messages come from the test."""

    kind = "probe_in"
    deliver: Deliver

    async def open(self, deliver: Deliver) -> None:
        self.deliver = deliver


class OutConfig(DestinationConfig):
    """Hands messages to the test."""

    log: Path | None = None
    """Gets a line `id` for each message, on disk before the answer."""
    silent_while: Path | None = None
    """After a message was logged there is no answer while this file exists."""
    away_while: Path | None = None
    """Nobody can be reached while this file exists."""
    answer: str | None = None
    """Body of every answer."""


class ProbeOut(Destination[OutConfig]):
    """A destination that may be sent to again."""

    kind = "probe_out"

    async def send(self, message: Message) -> Message | None:
        config = self.config
        if config.away_while is not None and config.away_while.exists():
            raise ConnectionDown(f"{self.name}: away")
        if config.log is not None:
            await asyncio.to_thread(write_line, config.log, message.id)
        while config.silent_while is not None and config.silent_while.exists():
            await asyncio.sleep(0.01)
        WORLD.sent.setdefault(self.name, []).append(message)
        if (partner := WORLD.partners.get(self.name)) is not None:
            return await partner(message)
        return Message(config.answer.encode(), "bytes") if config.answer is not None else None


class ProbeAsk(ProbeOut):
    """A destination that must not be sent to again when in doubt, as a fax."""

    kind = "probe_ask"
    repeat = "ask"


class ProbeLook(ProbeAsk):
    """The same, and what it is sent here only asks: how is the fax?"""

    kind = "probe_look"

    def may_repeat(self, message: Message) -> bool:
        return True


def write_line(file: Path, line: str) -> None:
    with file.open("a") as handle:
        handle.write(line + "\n")
        handle.flush()
        os.fsync(handle.fileno())


# Steps, records, due work.


class DoConfig(StepConfig):
    """Settings of `probe`."""

    do: str
    """Name of the function in WORLD; without one the message goes on as it is."""


class Do(Step[DoConfig]):
    """Does what the test says."""

    kind = "probe"
    main = "do"

    async def run(self, message: Message, context: Context) -> StepResult:
        WORLD.runs.append((self.config.do, message.id))
        work = WORLD.steps.get(self.config.do)
        return await work(message, context) if work is not None else message


class Thing(Record):
    """A record of the tests."""

    id: str
    text: str = ""
    count: int = 0
    only: str = ""
    """At most one thing may have it."""
    kept: list[Content] = []


def _keys(thing: Thing) -> list[RecordKey]:
    return [RecordKey("text", thing.text), *([RecordKey("only", thing.only, unique=True)] if thing.only else [])]


async def _prepare(payload: Mapping[str, str], context: Context) -> Prepared | None:
    return Prepared(Thing(id=payload.get("id", "none"), text=payload.get("text", "")), {"seen": payload.get("id", "none")})


class ThingParams(BaseModel):
    """Which thing."""

    model_config = ConfigDict(extra="forbid")

    id: str
    text: str = ""
    patient: str = ""


async def _look(params: ThingParams, context: Context) -> dict[str, Any] | None:
    found = await context.get(Thing, params.id)
    return found.model_dump() if found else None


async def _change(params: ThingParams, context: Context) -> dict[str, Any]:
    return (await context.save(Thing(id=params.id, text=params.text))).model_dump()


@hookimpl
def register_connectors() -> list[type[AnyConnector]]:
    return [ProbeIn, ProbeOut, ProbeAsk, ProbeLook]


@hookimpl
def register_steps() -> list[type[AnyStep]]:
    return [Do]


@hookimpl
def register_records() -> list[RecordKind]:
    return [RecordKind("thing", Thing, _keys)]


@hookimpl
def register_due() -> list[DueJob]:
    return [DueJob("probe", _prepare)]


@hookimpl
def register_operations() -> list[Operation]:
    return [
        Operation("thing.look", "Looks at a thing", ThingParams, _look),
        Operation("thing.change", "Changes a thing", ThingParams, _change),
    ]


# For tests.


def plugged_in(folder: Path) -> Path:
    """A folder that makes this module a plugin for whoever has it on the path."""
    info = folder / "clinic_hub_probe-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: clinic-hub-probe\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[clinic_hub]\nprobe = tests.hub.bus.probe\n")
    return folder


async def deliver(hub: Hub, *bodies: bytes, source: str = "inbox", format: str = "hl7v2") -> Receipt:
    """One delivery of these bodies."""
    return await hub.sources[source].deliver([Message(body, format) for body in bodies])  # type: ignore[attr-defined]


async def in_turn(hub: Hub, bodies: Iterable[bytes], source: str = "inbox") -> list[Receipt]:
    """A delivery for each body."""
    return [await deliver(hub, body, source=source) for body in bodies]


Place = Path | str
"""Where a store is: its file, or its address on PostgreSQL."""


def rows(store: Place, query: str, *values: Any) -> list[tuple[Any, ...]]:
    """What another program sees in the store at this moment."""
    if isinstance(store, str):
        return postgres.query(store, numbered(query), *values)
    connection = sqlite3.connect(f"file:{store}?mode=ro", uri=True, timeout=5)
    try:
        return connection.execute(query, values).fetchall()
    finally:
        connection.close()


def one(store: Place, query: str, *values: Any) -> Any:
    """The only value of a query."""
    return rows(store, query, *values)[0][0]


def tamper(store: Place, query: str, *values: Any) -> int:
    """Changes the store behind the hub's back; returns how many rows it changed."""
    if isinstance(store, str):
        return int(postgres.execute(store, numbered(query), *values).rpartition(" ")[2])
    connection = sqlite3.connect(store, timeout=5)
    try:
        with connection:
            return connection.execute(query, values).rowcount
    finally:
        connection.close()


def states(store: Place, target: str) -> list[str]:
    """The states of all work of a target, in order."""
    return [state for (state,) in rows(store, "SELECT state FROM work WHERE target = ? ORDER BY id", target)]


def everything_stored(folder: Path) -> bytes:
    """All bytes a hub has written below a folder, but for its key and the clinic file."""
    files = [f for f in sorted(folder.rglob("*")) if f.is_file() and f.name not in ("hub.key", "clinic.yaml", "payers.csv")]
    return b"\n".join(str(f.relative_to(folder)).encode() + b"\n" + f.read_bytes() for f in files)


def control_ids(messages: Sequence[Message]) -> list[str]:
    """MSH-10 of each, read without the hub's codec."""
    return [message.body.split(b"\r")[0].split(b"|")[9].decode() for message in messages]


@cache
def adt(control_id: str, mrn: str = "00042", **fields: Any) -> bytes:
    """The same bytes whenever it is called with the same arguments: the clock is read once."""
    return support.adt(control_id, mrn, **fields)


@cache
def siu(control_id: str, appointment: str, starts: str, mrn: str = "00042", **fields: Any) -> bytes:
    return support.siu(control_id, appointment, starts, mrn, **fields)


def long_adt(control_id: str, mrn: str = "00042", size: int = 100_000) -> bytes:
    """Too long for the free space that any database has, short enough for a row."""
    return adt(control_id, mrn, more=("NTE|1||" + "x" * size,))


def disk_is_full(hub: Hub) -> None:
    """From now on the store cannot grow, as on a full disk: the database says the same in both cases."""
    if isinstance(hub.core.store.writer, SqliteWriter):
        hub.core.store.writer.connection.execute("PRAGMA max_page_count=1")
    else:
        postgres.execute(support.STORE[-1], postgres.FULL)


def there_is_space_again(hub: Hub) -> None:
    if isinstance(hub.core.store.writer, SqliteWriter):
        hub.core.store.writer.connection.execute("PRAGMA max_page_count=1000000")
    else:
        postgres.execute(support.STORE[-1], postgres.SPACE)
