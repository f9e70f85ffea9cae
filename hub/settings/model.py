"""What a clinic file comes to, once everything in it is checked."""

from __future__ import annotations

import hashlib
import json
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from hub.connector import AnyConnector, ConnectorConfig, Keep
from hub.records import Organisation, Payer
from hub.settings.schedule import AS_SOON_AS_POSSIBLE, Schedule, Timing
from hub.settings.signals import AlertSettings, MetricsSettings
from hub.step import AnyStep, Site, StepConfig
from hub.units import YEAR, Duration, Size, Zone
from hub.when import When

DEFAULT_LEASE = 10.0
SHORTEST_LEASE, LONGEST_LEASE = 1.0, 600.0
"""Seconds."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True, frozen=True)


class X12Settings(_Part):
    """How the clinic is addressed in X12 interchanges."""

    sender: str = Field(default="", max_length=15)
    """ISA06 and GS02; the NPI when empty."""
    receiver: str = Field(default="CLEARINGHOUSE", max_length=15)
    """ISA08 and GS03: the id the clearinghouse gave itself."""
    usage: str = Field(default="T", pattern="^[TP]$")
    """ISA15: T for test data (the safe default), P for production."""


class OrganisationSettings(_Part):
    """Who asks payers: the clinic."""

    name: str = Field(min_length=1, max_length=60)
    """As payers know it."""
    npi: str
    """National Provider Identifier: ten digits with a check digit (45 CFR 162.406)."""
    tax_id: str | None = None
    """Employer identification number."""
    x12: X12Settings = X12Settings()

    @field_validator("npi")
    @classmethod
    def _check_digit(cls, npi: str) -> str:
        if not (npi.isascii() and npi.isdecimal() and len(npi) == 10 and _luhn("80840" + npi)):
            raise ValueError("is no NPI: it has ten digits, the last one a check digit")
        return npi

    def record(self) -> Organisation:
        return Organisation(
            name=self.name,
            npi=self.npi,
            tax_id=self.tax_id,
            x12_sender=self.x12.sender or self.npi,
            x12_receiver=self.x12.receiver,
            x12_usage="P" if self.x12.usage == "P" else "T",
        )


def _luhn(digits: str) -> bool:
    """The check of ISO/IEC 7812 with the prefix 80840, as CMS prescribes it for the NPI."""
    total = 0
    for index, character in enumerate(reversed(digits)):
        number = int(character) * (2 if index % 2 else 1)
        total += number - 9 if number > 9 else number
    return total % 10 == 0


class SiteSettings(_Part):
    """A place of the clinic."""

    timezone: Zone
    """IANA name: America/Chicago."""


class LogSettings(_Part):
    """What the hub writes on stderr."""

    level: str = Field(default="info", pattern="^(debug|info|warning|error)$")
    """debug, info, warning or error."""
    format: str = Field(default="text", pattern="^(text|json)$")
    """text for people, json for programs."""


SHORTEST_AUDIT = 6 * YEAR
"""Records of who looked at what are kept for six years: 45 CFR 164.316(b)(2)(i)."""


class RetentionSettings(_Part):
    """How long what is finished stays in the store.  What is open, and what belongs to it, stays whatever its age."""

    messages: Duration = Field(default=2.0 * YEAR, ge=86400)
    """That a message was there: its line in the journal, the ids it is found under, its way."""
    bodies: Duration = Field(default=90 * 86400.0, ge=3600)
    """What messages say, large documents among them.  In quarantine or doubt they stay as long as the message."""
    attempts: Duration = Field(default=1.0 * YEAR, ge=3600)
    """Tries that failed, with what partners wrote about them."""
    notes: Duration = Field(default=2.0 * YEAR, ge=3600)
    """Lines of the timeline in words."""
    seen: Duration = Field(default=7 * 86400.0, ge=3600)
    """By what resends are recognised; never shorter than the longest `remember_for` of a connection."""
    audit: Duration = 6.0 * YEAR
    """Who looked at what and changed what; not less than 6y."""

    @field_validator("bodies", "attempts", "notes")
    @classmethod
    def _not_longer_than_messages(cls, kept: float, info: ValidationInfo) -> float:
        if kept > info.data.get("messages", kept):
            raise ValueError("is longer than `messages`; what belongs to a message goes with it at the latest")
        return kept

    @field_validator("audit")
    @classmethod
    def _long_enough(cls, kept: float) -> float:
        if kept < SHORTEST_AUDIT:
            raise ValueError("is less than 6y; the law wants records of who looked at what kept for six years")
        return kept


class DiskSettings(_Part):
    """How much room the disk of the store must have."""

    warn_below: Size | None = None
    """Less is an alarm; when not set, a tenth of the disk, at most 2GiB."""
    stop_below: Size | None = None
    """With less nothing more is taken in until there is room again; when not set, a fiftieth of the disk, at most 256MiB."""


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """A connection: a connector configured under a name."""

    name: str
    connector: type[AnyConnector]
    config: ConnectorConfig
    effective: Mapping[str, tuple[Any, str]] = field(default_factory=dict)
    """Each value as it counts, and the file and line it came from, for `hub check --effective`."""


@dataclass(frozen=True, slots=True)
class StepSettings:
    """One named step of a flow."""

    name: str
    step: type[AnyStep]
    config: StepConfig


@dataclass(frozen=True, slots=True)
class FlowSettings:
    """A flow: where messages come from, which of them, and what is done to them."""

    name: str
    source: str
    """`connection NAME`, `due JOB`, `failed FLOW`, or `every FLOW` when it begins by the clock."""
    when: When
    steps: tuple[StepSettings, ...]
    fingerprint: str
    """Of its settings, kept with its work."""
    timing: Timing = AS_SOON_AS_POSSIBLE
    schedule: Schedule | None = None
    """When it begins by the clock."""
    keep: Keep | None = None
    """How long the bodies of its messages stay, where their connection does not say."""


@dataclass(slots=True)
class Settings:
    """One clinic, as its file says."""

    file: Path
    organisation: Organisation
    sites: dict[str, Site]
    payers: list[Payer]
    store: str
    files: Path | None
    """Folder of bodies over 256 KB, where it is not beside the store."""
    lease: float
    """Seconds a hub may be silent before another one on the same database takes over."""
    key: Path
    log: LogSettings
    retention: RetentionSettings = field(default_factory=RetentionSettings)
    disk: DiskSettings = field(default_factory=DiskSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    alerts: AlertSettings = field(default_factory=AlertSettings)
    connections: dict[str, ConnectionSettings] = field(default_factory=dict)
    flows: dict[str, FlowSettings] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.file.resolve().parent

    def site_of(self, connection: str) -> Site:
        """The site of a connection; the first one when it names none."""
        found = self.connections.get(connection)
        name = found.config.site if found else None
        return self.sites[name] if name else next(iter(self.sites.values()))

    def zone_of(self, connection: str) -> tzinfo:
        """The zone of times that come over a connection without one: its own, else that of its site."""
        found = self.connections.get(connection)
        own = getattr(found.config, "timezone", None) if found else None
        return zoneinfo.ZoneInfo(own) if own else self.site_of(connection).zone

    def overlays_of(self, connection: str) -> Mapping[str, str]:
        """The mappings that stand in for others in flows from a connection."""
        found = self.connections.get(connection)
        return getattr(found.config, "overlays", {}) if found else {}


def fingerprint(data: Any) -> str:
    text = json.dumps(data, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
