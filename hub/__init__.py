"""Clinic Hub: the names that plugin authors import.  Everything else may change without notice.

Names are looked up when they are first used, so that `import hub` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOMES = {
    "hub.connector": (
        "ConnectorConfig",
        "Deliver",
        "Destination",
        "DestinationConfig",
        "Poller",
        "Receipt",
        "Source",
        "SourceConfig",
    ),
    "hub.errors": ("ConfigError", "ConnectionDown", "DoubtfulSend", "HubError", "MessageRejected", "MessageUnusable"),
    "hub.format": ("Fields", "Format", "Keys", "WritableFormat"),
    "hub.hookspecs": ("hookimpl",),
    "hub.message": ("Message",),
    "hub.records": (
        "Appointment",
        "Coverage",
        "CoverageCheck",
        "Identifier",
        "Patient",
        "Person",
        "Record",
        "Visit",
        "WorklistItem",
    ),
    "hub.step": (
        "Context",
        "Due",
        "DueJob",
        "Operation",
        "Prepared",
        "Reaction",
        "RecordKey",
        "RecordKind",
        "Step",
        "StepConfig",
        "StepResult",
    ),
    "hub.transform": ("Transform", "TransformContext"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)  # noqa: PLE0605 - a list of names, made from the table above

if TYPE_CHECKING:
    from hub.connector import (
        ConnectorConfig as ConnectorConfig,
        Deliver as Deliver,
        Destination as Destination,
        DestinationConfig as DestinationConfig,
        Poller as Poller,
        Receipt as Receipt,
        Source as Source,
        SourceConfig as SourceConfig,
    )
    from hub.errors import (
        ConfigError as ConfigError,
        ConnectionDown as ConnectionDown,
        DoubtfulSend as DoubtfulSend,
        HubError as HubError,
        MessageRejected as MessageRejected,
        MessageUnusable as MessageUnusable,
    )
    from hub.format import (
        Fields as Fields,
        Format as Format,
        Keys as Keys,
        WritableFormat as WritableFormat,
    )
    from hub.hookspecs import (
        hookimpl as hookimpl,
    )
    from hub.message import (
        Message as Message,
    )
    from hub.records import (
        Appointment as Appointment,
        Coverage as Coverage,
        CoverageCheck as CoverageCheck,
        Identifier as Identifier,
        Patient as Patient,
        Person as Person,
        Record as Record,
        Visit as Visit,
        WorklistItem as WorklistItem,
    )
    from hub.step import (
        Context as Context,
        Due as Due,
        DueJob as DueJob,
        Operation as Operation,
        Prepared as Prepared,
        Reaction as Reaction,
        RecordKey as RecordKey,
        RecordKind as RecordKind,
        Step as Step,
        StepConfig as StepConfig,
        StepResult as StepResult,
    )
    from hub.transform import (
        Transform as Transform,
        TransformContext as TransformContext,
    )


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"hub has no {name!r}; plugin authors may import {', '.join(__all__)}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
