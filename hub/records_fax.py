"""Faxes: what is known of one, each try to send it, and what a carrier reports."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from hub.progress import Progress
from hub.records import Content, Record, Text
from hub.units import Duration

TryState = Literal["ordered", "unknown", "queued", "sending", "sent", "failed"]
FAX = Progress(["ordered", "unknown", "queued", "sending"], ends=["sent", "failed"])
"""The states of one try.  `sent` is the stronger end: a late success counts, a late failure does not."""

FaxError = Literal["partial", "busy", "no_answer", "bad_number", "refused", "other"]
ERRORS: tuple[FaxError, ...] = ("partial", "busy", "no_answer", "bad_number", "refused", "other")
"""Why a try failed; of two that are told about the same try the one that is named first counts."""

FaxState = Literal["ordered", "unknown", "queued", "sending", "waiting", "sent", "failed", "received", "cancelled"]
"""A fax is what its last try is; `waiting` between two tries, `received` when it came in."""


class FaxReport(Record):
    """What a carrier says of one try: the answer to an order, and to a look."""

    fax: str = ""
    """Our id of the fax; empty when the carrier was asked about one that came in."""
    reference: str = ""
    """Our id of the try."""
    line: str = ""
    """The fax line that says so: ids of a carrier are ids of one line."""
    partner_id: Text | None = None
    """The carrier's id of the try."""
    state: TryState
    error: FaxError | None = None
    """Why it failed."""
    reason: Text | None = None
    """The carrier's own word for it."""
    pages: int | None = None
    """Pages that arrived."""


class FaxTry(Record):
    """One try: what was ordered, and how far it is known to be."""

    reference: str
    """Our id of it, which goes to the carrier, so that it is found again."""
    first_page: int = 1
    """The first page of the document that it carries: what arrived before is not sent again."""
    state: TryState = "ordered"
    to: Text = ""
    """Number it went to: a person may have changed that of the fax since."""
    line: str = ""
    """The fax line it went over."""
    partner_id: Text | None = None
    error: FaxError | None = None
    reason: Text | None = None
    pages: int | None = None
    """Pages that arrived."""
    ordered_at: AwareDatetime
    ended_at: AwareDatetime | None = None
    looks: int = 0
    """How often the carrier was asked about it by itself."""


class FaxPolicy(BaseModel):
    """When a fax is tried again, and when the carrier is asked how it is."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, frozen=True, hide_input_in_errors=True)

    busy: list[Duration] = [120.0, 300.0, 600.0, 1800.0]
    """Waits before each further try while the line is busy."""
    no_answer: list[Duration] = [300.0, 1800.0, 7200.0]
    """Waits before each further try while nobody answers."""
    partial: list[Duration] = [60.0, 300.0]
    """Waits before each further try after the line broke; only the pages that are missing are sent."""
    other: list[Duration] = [300.0]
    """Waits before each further try after an error nobody has a word for."""
    look: list[Duration] = [30.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0]
    """When the carrier is asked how a fax is, each after the one before: a webhook that is lost changes nothing."""

    def waits(self, error: FaxError | None) -> list[float]:
        """What follows an error; nothing for a number that is wrong, or a refusal."""
        match error:
            case "busy" | "no_answer" | "partial" | "other":
                return list(getattr(self, error))
            case _:
                return []


class Fax(Record):
    """One fax, out or in."""

    id: str
    direction: Literal["out", "in"] = "out"
    state: FaxState = "ordered"
    to: Text = ""
    """Number, E.164: +13125550100."""
    sender: Text = ""
    """Number it came from, or the name it is sent under."""
    cover: list[Text] = []
    """Lines of the cover page; never about a patient."""
    document: str = ""
    """Id of the document, where there is a record of it."""
    kept: Content | None = None
    """Its bytes."""
    pages: int | None = None
    """Pages of the document; None while nobody has counted them."""
    appointment: str = ""
    patient_id: str = ""
    line: str = ""
    """Of one that came in: the fax line."""
    partner_id: Text | None = None
    """Of one that came in: the carrier's id."""
    tries: list[FaxTry] = []
    policy: FaxPolicy = Field(default=FaxPolicy())
    queue: str = "front_desk"
    """Worklist for one that does not arrive."""
    ordered_at: AwareDatetime | None = None
    """When it was ordered, or came in."""
    ended_at: AwareDatetime | None = None
