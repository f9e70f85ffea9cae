"""The settings of a connection that posts a question and fetches its result; what differs between vendors is data here."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from hub.connector import DestinationConfig
from hub.net.auth import HeaderName, HeaderValue, HttpAuth
from hub.net.hosts import check_url
from hub.net.tls import TlsClient
from hub.units import Duration


class FormPollConfig(DestinationConfig):
    """Posts each message to a URL, and fetches the answer from below it once it is there."""

    url: str = Field(pattern=r"^https?://[^?#]+$")
    """Where questions go; a result is at this address with `/` and its id behind it."""
    content_type: HeaderValue = "application/x-www-form-urlencoded"
    """Content-Type of a question."""
    headers: dict[HeaderName, HeaderValue] = {}
    """Further headers of every request; no secrets here, they belong under `auth`."""
    expect_headers: dict[HeaderName, HeaderValue] = {}
    """Headers an answer must have, with their values; an empty value: the header must not be there. An answer that differs
    comes from another environment than it should: nothing more is sent."""
    auth: HttpAuth = HttpAuth()
    """OAuth2 client credentials, basic authentication, or an API key."""
    tls: TlsClient | None = None
    """Authorities to trust and our own certificate, when the system's defaults do not do."""
    allow_plaintext: str | None = None
    """Why this connection may do without TLS although it leaves this machine, in a few words."""
    timeout: Duration = Field(default=30.0, gt=0)
    """How long one request may take."""
    id_field: str = "id"
    """Field of the JSON that a question is answered with, which names its id; without it the last part of `Location` serves."""
    status_field: str = "statusCode"
    """Field of the JSON that says how far a question is."""
    pending: list[str] = []
    """Values of `status_field` that mean: not yet, look again. HTTP 202 means that in any case."""
    answers: list[int] = []
    """HTTP statuses beside 2xx whose body is an answer to the question, for instance 400 with what is wrong with it."""
    poll_first: Duration = Field(default=1.0, gt=0)
    """Wait before the first look; doubles from there."""
    poll_most: Duration = Field(default=10.0, gt=0)
    """Longest wait between looks."""
    give_up_after: Duration = Field(default=120.0, gt=0)
    """How long a result is looked for in one attempt; the next attempt goes on looking, and asks nothing anew."""
    delete: bool = True
    """Whether a result is deleted at the partner once it has safely arrived."""
    keep_result: Duration = Field(default=60.0, ge=0)
    """How long a result is left at the partner after it was fetched: a hub that dies meanwhile fetches it again."""
    remember_in: Path | None = None
    """Folder for the ids of questions under way, so that after a crash their results are looked for before anything is asked
    again. Without it they are only in memory. It is made when it is missing; no patient data is written there."""
    answer_format: str = "bytes"
    """Format of the answer, as mappings name it."""

    @model_validator(mode="after")
    def _addresses_can_be_used(self) -> FormPollConfig:
        for url in filter(None, (self.url, self.auth.token_url)):
            check_url(url, allow_plaintext=self.allow_plaintext)
        return self
