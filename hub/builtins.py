"""What the hub itself brings to the catalogue: formats, transforms, mappings, its own record kind."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from hub.format import Format
from hub.formats.coverages.codec import CoveragesFormat
from hub.formats.eligibility_v3.codec import EligibilityV3Format
from hub.formats.hl7v2.codec import Hl7Format
from hub.formats.mail.codec import MailFormat
from hub.formats.x12.codec import X12Format
from hub.hookspecs import hookimpl
from hub.mapping.transforms import TRANSFORMS
from hub.records import Alert, Failure
from hub.step import RecordKey, RecordKind
from hub.transform import Transform
from hub.webhooks import WebhookFormat


@hookimpl
def register_formats() -> list[Format]:
    return [Hl7Format(), X12Format(), EligibilityV3Format(), CoveragesFormat(), MailFormat(), WebhookFormat()]


@hookimpl
def register_transforms() -> list[Transform]:
    return list(TRANSFORMS)


@hookimpl
def register_mappings() -> list[Path]:
    return [Path(str(files("mappings")))]


@hookimpl
def register_records() -> list[RecordKind]:
    def pending(alert: Alert) -> list[RecordKey]:
        return [RecordKey("pending", "yes")] if alert.pending else []

    return [RecordKind("failure", Failure), RecordKind("alert", Alert, pending, frozenset({"pending"}))]
