"""What all plugins together offer, by name: made once by the registry, read by everything above it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hub.connector import AnyConnector
from hub.format import Format
from hub.step import AnyStep, DueJob, Operation, Reaction, RecordKind
from hub.transform import Transform


@dataclass(slots=True)
class Catalogue:
    """Names to things; `origin` tells which module brought each (`step map` -> `hub.steps`)."""

    connectors: dict[str, type[AnyConnector]] = field(default_factory=dict)
    steps: dict[str, type[AnyStep]] = field(default_factory=dict)
    formats: dict[str, Format] = field(default_factory=dict)
    records: dict[str, RecordKind] = field(default_factory=dict)
    reactions: dict[str, Reaction] = field(default_factory=dict)
    due: dict[str, DueJob] = field(default_factory=dict)
    transforms: dict[str, Transform] = field(default_factory=dict)
    mappings: dict[str, Path] = field(default_factory=dict)
    vendors: dict[str, Path] = field(default_factory=dict)
    operations: dict[str, Operation] = field(default_factory=dict)
    plugins: frozenset[str] = frozenset()
    """All that are installed, those that are switched off too."""
    origin: dict[str, str] = field(default_factory=dict)
    find_secret: Callable[[str], str | None] = lambda _: None

    def reactions_to(self, kind: str) -> list[Reaction]:
        return [reaction for reaction in self.reactions.values() if reaction.kind == kind]
