"""Records in and out of the store: sealed bodies, digested search keys."""

from __future__ import annotations

from typing import Any, Protocol

from hub.catalogue import Catalogue
from hub.records import Record, contents_of
from hub.security.seal import Seal
from hub.step import RecordKind
from hub.store.reader import Reader
from hub.store.rows import RecordRow
from hub.store.schema import CONTENT


class RecordSource(Protocol):
    """Where a run reads records from."""

    async def get(self, kind: RecordKind, id: str) -> tuple[Record, int] | None:
        """A record and its version."""
        ...

    async def find(self, kind: RecordKind, name: str, value: str, limit: int) -> list[tuple[Record, int]]: ...


class StoredRecords:
    """The records of the store."""

    def __init__(self, reader: Reader, seal: Seal) -> None:
        self._reader = reader
        self._seal = seal

    async def get(self, kind: RecordKind, id: str) -> tuple[Record, int] | None:
        row = await self._reader.record(kind.name, id)
        return self._open(kind, row) if row is not None else None

    async def find(self, kind: RecordKind, name: str, value: str, limit: int) -> list[tuple[Record, int]]:
        rows = await self._reader.find_records(kind.name, name, self._value(kind, name, value), limit)
        return [self._open(kind, row) for row in rows]

    def row(self, kind: RecordKind, record: Record, version: int, at: int) -> RecordRow:
        id = str(getattr(record, "id", ""))
        body = self._seal.seal(record.model_dump_json().encode(), f"record|{kind.name}|{id}")
        keys = [(key.name, self._value(kind, key.name, key.value), key.unique) for key in kind.keys(record)]
        keys += [(CONTENT, name, False) for name in dict.fromkeys(content.name for content in contents_of(record))]
        return RecordRow(kind.name, id, version, at, body, keys)

    def _open(self, kind: RecordKind, row: Any) -> tuple[Record, int]:
        plain = self._seal.open(row.body, f"record|{kind.name}|{row.id}")
        return kind.model.model_validate_json(plain), row.version

    def _value(self, kind: RecordKind, name: str, value: str) -> str:
        return value if name in kind.plain else self._seal.mac(f"{kind.name}.{name}", value)


class MemoryRecords:
    """Records for a trial run: nothing is kept anywhere."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], tuple[RecordKind, Record, int]] = {}

    async def get(self, kind: RecordKind, id: str) -> tuple[Record, int] | None:
        found = self.kept.get((kind.name, id))
        return (found[1], found[2]) if found else None

    async def find(self, kind: RecordKind, name: str, value: str, limit: int) -> list[tuple[Record, int]]:
        matches = [
            (record, version)
            for (kind_name, _), (owner, record, version) in sorted(self.kept.items())
            if kind_name == kind.name and any(k.name == name and k.value == value for k in owner.keys(record))
        ]
        return matches[:limit]

    def keep(self, kind: RecordKind, record: Record) -> None:
        id = str(getattr(record, "id", ""))
        version = self.kept[kind.name, id][2] + 1 if (kind.name, id) in self.kept else 1
        self.kept[kind.name, id] = (kind, record, version)


def kind_of(catalogue: Catalogue, model: type[Record]) -> RecordKind:
    """The registered kind of a model; raises KeyError naming it."""
    for kind in catalogue.records.values():
        if kind.model is model:
            return kind
    raise KeyError(f"no plugin registers records of {model.__name__}")
