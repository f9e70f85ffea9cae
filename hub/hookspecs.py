"""Every point where a plugin joins in: the map of the program.

A hook's name says what it is: `register_...` collects (each plugin returns a list, all are joined, two things of one name
are refused naming both modules), `find_...` decides (the first answer that is not None counts; the hub has a default), all
others tell (no answer; an error in one is logged and stops nothing).  Hooks are plain functions, called at start or to
tell; none runs for each message.  An implementation takes only the arguments it needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pluggy

from hub.connector import AnyConnector
from hub.errors import HubError
from hub.format import Format
from hub.step import AnyStep, DueJob, Operation, Reaction, RecordKind
from hub.transform import Transform

PROJECT = "clinic_hub"
"""The entry-point group, and pluggy's name for the project."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


# Collect.


@hookspec
def register_connectors() -> list[type[AnyConnector]]:
    """Connectors, by their `kind`."""
    return []


@hookspec
def register_steps() -> list[type[AnyStep]]:
    """Steps, by their `kind`."""
    return []


@hookspec
def register_formats() -> list[Format]:
    """Codecs, by their `name`."""
    return []


@hookspec
def register_records() -> list[RecordKind]:
    """Kinds of records the plugin owns, by their name."""
    return []


@hookspec
def register_reactions() -> list[Reaction]:
    """What follows when a record of a kind is saved, in the same commit."""
    return []


@hookspec
def register_due() -> list[DueJob]:
    """Kinds of due work, by the name flows use in `from: {due: ...}`."""
    return []


@hookspec
def register_transforms() -> list[Transform]:
    """Transforms for mapping rules, by their name."""
    return []


@hookspec
def register_mappings() -> list[Path]:
    """Folders with mapping files, or single files."""
    return []


@hookspec
def register_vendors() -> list[Path]:
    """Folders with vendor profiles, or single files."""
    return []


@hookspec
def register_operations() -> list[Operation]:
    """What people may ask of a running hub, by `group.verb`."""
    return []


# Decide.


@hookspec(firstresult=True)
def find_secret(reference: str) -> str | None:
    """The secret behind a `{$secret: reference}` of the clinic file; None when it is not yours to know."""


# Tell.


@hookspec
def hub_started(hub: Any) -> None:
    """All sources are open."""


@hookspec
def hub_stopping(hub: Any) -> None:
    """The hub is about to close its connections."""


@hookspec
def message_failed(message_id: str, where: str, error: HubError, attempt: int, final: bool) -> None:
    """A message failed in a flow or at a destination; `final` when it goes to quarantine or is held."""


@hookspec
def connection_changed(connection: str, state: str, reason: str) -> None:
    """A connection went `up` or `down`."""
