"""The settings of a connection to a signing service; what differs between vendors is data here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from hub.calls import ApiSettings, Call
from hub.connector import DestinationConfig
from hub.formats.dotted import path_error
from hub.net.hosts import check_url
from hub.records_signing import EnvelopeState

KNOWN = frozenset(
    {
        "reference",
        "partner_id",
        "title",
        "text",
        "reason",
        "template",
        "expires_at",
        "expires_days",
        "expires",
        "endless",
        "role",
        "name",
        "email",
        "order",
        "rank",
        "number",
        "index",
        "file",
        "file_name",
        "uploaded",
    }
)
"""What calls may be filled with.

`role`, `name`, `email` and `order` (from 1; `rank` from 0) are those of a signer, or of the first one; `file`, `file_name` and
`uploaded` those of a document, or of the first; both have a `number` (from 1) and an `index` (from 0).  `expires` is true or
false, `endless` the contrary.
"""


class StateRule(BaseModel):
    """One of the service's ways to say how far an envelope is."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, frozen=True, populate_by_name=True)

    state: EnvelopeState
    """What it means."""
    if_: dict[str, list[str]] = Field(alias="if", min_length=1)
    """Paths in the answer of `look`, each with the values of which one has to stand there; `*` for any."""

    @model_validator(mode="after")
    def _paths_can_be_read(self) -> Self:
        for path in self.if_:
            if wrong := path_error(path):
                raise ValueError(wrong)
        return self


class Discovery(BaseModel):
    """Asks the vendor where the API of this account is."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, frozen=True)

    url: str = Field(pattern=r"^https?://[^?#]+$")
    """Where to ask."""
    call: Call
    """What to ask; its answer names the `url`. Where the vendor lists accounts, the one that has our `values` counts."""
    hosts: list[str] = Field(min_length=1)
    """Hosts to which documents may go by this answer: whole names, or endings that begin with a dot."""

    @model_validator(mode="after")
    def _says_where(self) -> Self:
        if "url" not in self.call.answer:
            raise ValueError("its call has to say where the `url` stands in the answer")
        return self


class EsignConfig(DestinationConfig, ApiSettings):
    """Has documents signed by a signing service."""

    documents: Path | None = None
    """Folder with the PDF files that packets name."""
    values: dict[str, str] = {}
    """Further blanks of the calls, by name: the number of our account, for instance."""
    discover: Discovery | None = None
    """For services whose accounts live at different addresses: the path of `url` is kept, its host is asked for."""
    upload: Call | None = None
    """Brings one document to the service before `send`; its answer says `uploaded`, by which `send` names it."""
    send: Call | None = None
    """Makes an envelope of documents and sends it; its answer says `partner_id`. `{reference}` is our id of it."""
    send_template: Call | None = None
    """The same with a template of the vendor in place of documents; one of the two has to be there."""
    start: Call | None = None
    """Sends what `send` only made."""
    start_if: dict[str, list[str]] = {}
    """What `look` has to find before `start` can be asked, as in `states`."""
    look: Call
    """Asks how far an envelope is."""
    states: list[StateRule] = Field(min_length=1)
    """The service's words for that, the first that fits counts."""
    find: Call | None = None
    """Looks for an envelope under our `{reference}`: its answer says `partner_id`, and `reference` where the service does.
    After a send that was not answered it tells whether there is one."""
    remind: Call | None = None
    """Has the service remind who has not signed; where there is none, nobody is reminded."""
    void: Call
    """Withdraws an envelope."""
    fetch: Call
    """Fetches the signed document as one PDF."""
    certificate: Call | None = None
    """Fetches the service's certificate, when it is not a part of the signed document."""

    @model_validator(mode="after")
    def _calls_can_be_filled(self) -> Self:
        """Tells the place of each call that wants something nobody knows, or does not say what is needed of it."""
        mistakes = list(self._mistakes())
        if mistakes:
            lines: list[Any] = [
                {"type": PydanticCustomError("call", "{text}", {"text": text}), "loc": (name,), "input": None}
                for name, text in mistakes
            ]
            raise ValidationError.from_exception_data(type(self).__name__, lines, hide_input=True)
        return self

    def _mistakes(self) -> Iterator[tuple[str, str]]:
        known = KNOWN | set(self.values) | {f"secret.{name}" for name in self.secrets}
        for name in type(self).model_fields:
            call = getattr(self, name)
            if isinstance(call, Call) and (unknown := sorted(call.blanks - known)):
                yield name, f"nothing fills {', '.join(unknown)}; there are {', '.join(sorted(known))}, and what `values` names"
        for name, says in (
            ("send", "partner_id"),
            ("send_template", "partner_id"),
            ("find", "partner_id"),
            ("upload", "uploaded"),
        ):
            call = getattr(self, name)
            if call is not None and says not in call.answer:
                yield name, f"its `answer` has to say where `{says}` stands"
        if self.send is None and self.send_template is None:
            yield "send", "there is neither `send` nor `send_template`"
        if self.start is not None and not self.start_if:
            yield "start", "`start_if` has to say when an envelope can be started"
        for path in self.start_if:
            if wrong := path_error(path):
                yield "start_if", wrong

    @model_validator(mode="after")
    def _discovery_can_be_used(self) -> Self:
        if self.discover is not None:
            check_url(self.discover.url, allow_plaintext=self.allow_plaintext)
        return self
