"""The steps every hub has: map, save, ask, send."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hub.connector import AnyConnector, Destination
from hub.errors import MessageUnusable
from hub.hookspecs import hookimpl
from hub.message import Message
from hub.step import AnyStep, Context, Misreference, References, Step, StepConfig, StepResult


class MapConfig(StepConfig):
    """Settings of `map`."""

    mapping: str
    """Name of the mapping file, without `.yaml`."""


class Map(Step[MapConfig]):
    """Turns a message into the next thing by a mapping file."""

    kind = "map"
    main = "mapping"

    @classmethod
    def misreferences(cls, config: Any, names: References) -> Iterable[Misreference]:
        if config.mapping not in names.mappings:
            yield Misreference("mapping", f"there is no mapping {config.mapping!r}", list(names.mappings))

    async def run(self, message: Message, context: Context) -> StepResult:
        return await context.map(self.config.mapping, message)


class SaveConfig(StepConfig):
    """Settings of `save`."""

    record: str
    """Kind of the record the message carries."""


class Save(Step[SaveConfig]):
    """Saves the record a message carries, the way its plugin says."""

    kind = "save"
    main = "record"

    @classmethod
    def misreferences(cls, config: Any, names: References) -> Iterable[Misreference]:
        if config.record not in names.records:
            yield Misreference("record", f"there is no kind of record {config.record!r}", list(names.records))

    async def run(self, message: Message, context: Context) -> StepResult:
        if message.record is None or message.format != self.config.record:
            raise MessageUnusable(f"there is no {self.config.record} to save here, but {message.format}", code="FLW-001")
        saved = await context.save(message.record)  # type: ignore[type-var]  # every record a mapping makes is a Record
        return message.derive(saved, format=self.config.record)


class ToConfig(StepConfig):
    """Settings of `send` and `ask`."""

    to: str
    """The connection."""


def _unknown_destination(config: Any, names: References) -> Iterable[Misreference]:
    if config.to not in names.connections:
        yield Misreference("to", f"there is no connection {config.to!r}", list(names.connections))
        return
    connector: type[AnyConnector] | None = names.connections[config.to]
    if connector is not None and not issubclass(connector, Destination):
        yield Misreference("to", f"the connection {config.to!r} ({connector.kind}) only receives")


class Send(Step[ToConfig]):
    """Queues the message for a connection and goes on with it."""

    kind = "send"
    main = "to"

    @classmethod
    def misreferences(cls, config: Any, names: References) -> Iterable[Misreference]:
        return _unknown_destination(config, names)

    async def run(self, message: Message, context: Context) -> StepResult:
        context.send(self.config.to, message)
        return message


class Ask(Step[ToConfig]):
    """Queues the message for a connection; the flow goes on with the partner's answer, a second or days later."""

    kind = "ask"
    main = "to"

    @classmethod
    def misreferences(cls, config: Any, names: References) -> Iterable[Misreference]:
        return _unknown_destination(config, names)

    async def run(self, message: Message, context: Context) -> StepResult:
        context.ask(self.config.to, message)
        return None


@hookimpl
def register_steps() -> list[type[AnyStep]]:
    return [Map, Save, Send, Ask]
