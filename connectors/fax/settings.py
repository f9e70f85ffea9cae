"""The settings of a fax line: the calls of its carrier's API, and what the carrier's words mean."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from hub.calls import ApiSettings, Call
from hub.connector import DestinationConfig, SourceConfig
from hub.records_fax import FaxError
from hub.units import Duration

ORDER = frozenset({"reference", "to", "from_name", "cover", "document", "file_name"})
LOOK = frozenset({"reference", "partner_id"})
INBOX = frozenset({"partner_id"})
"""What calls may be told, beside `{value.NAME}` and `{secret.NAME}`."""
REPORT = frozenset({"partner_id", "state", "error", "pages", "reference"})
LISTED = frozenset({"partner_id", "from", "pages", "received_at"})
"""What may be read in their answers."""


class FaxConfig(ApiSettings, SourceConfig, DestinationConfig):
    """A fax line at a carrier."""

    send: Call
    """How a document is sent. Blanks: to (E.164; `to|digits` without the plus), document, file_name, from_name, cover, and
    reference (our id of the try). Answer: partner_id, state, error."""
    look: Call | None = None
    """How the carrier is asked about one. Blanks: partner_id, reference. Answer: state, error, pages (that arrived)."""
    find: Call | None = None
    """How one is found by our reference after an answer that never came. Blanks: reference. Answer: partner_id, state, error,
    pages, reference: of a list only what has our reference counts."""
    fetch: Call | None = None
    """How the document of one that came in is fetched. Blanks: partner_id. Answer: document (`$body`, or where its Base64
    stands), from, pages."""
    inbox: Call | None = None
    """How the carrier lists what came in. Answer, in each of `items`: partner_id, from, pages, received_at."""
    taken: Call | None = None
    """How the carrier is told that the hub has one that came in, so that it is not listed again. Blanks: partner_id."""
    states: dict[str, Literal["queued", "sending", "sent", "failed"]] = {}
    """The carrier's words for how a fax is, and ours: queued, sending, sent, failed. What is not named counts as queued."""
    errors: dict[str, FaxError] = {}
    """The carrier's words for why one failed, and ours: busy, no_answer, partial, bad_number, refused, other. In them
    `*` stands for anything; what is not named is other."""
    document: Literal["pdf", "tiff"] = "pdf"
    """What the carrier takes: PDF, or TIFF as fax machines have it (one bit, 1728 dots across)."""
    values: dict[str, str] = {}
    """What the calls carry beside the order, for instance the number we send from: `{value.NAME}` in a call."""
    every: Duration = Field(default=60.0, gt=0)
    """How often the carrier is asked what came in, where `inbox` says how."""

    @model_validator(mode="after")
    def _blanks_are_known(self) -> FaxConfig:
        values = frozenset(f"value.{name}" for name in self.values)
        for name, known in (
            ("send", ORDER),
            ("look", LOOK),
            ("find", LOOK),
            ("fetch", INBOX),
            ("inbox", frozenset[str]()),
            ("taken", INBOX),
        ):
            call: Call | None = getattr(self, name)
            wanted = (blank for blank in (call.blanks if call is not None else ()) if not blank.startswith("secret."))
            if unknown := sorted(set(wanted) - known - values):
                raise ValueError(f"`{name}` wants {unknown[0]}, which is none of {', '.join(sorted(known | values)) or 'none'}")
        return self

    @model_validator(mode="after")
    def _answers_say_what_is_needed(self) -> FaxConfig:
        for name, needed, known in (
            ("send", "partner_id", REPORT),
            ("look", "state", REPORT),
            ("find", "partner_id", REPORT),
            ("fetch", "document", frozenset({"document"}) | LISTED),
            ("inbox", "partner_id", LISTED),
        ):
            call: Call | None = getattr(self, name)
            if call is None:
                continue
            if needed not in call.answer:
                raise ValueError(f"the answer of `{name}` has to name {needed}")
            if unknown := sorted(set(call.answer) - known):
                raise ValueError(f"the answer of `{name}` names {unknown[0]}, which is none of {', '.join(sorted(known))}")
        if self.inbox is not None and self.fetch is None:
            raise ValueError("`inbox` lists what came in, and without `fetch` nothing of it can be fetched")
        return self
