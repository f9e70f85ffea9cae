"""Settings of a webhook listener; what partners have in common stands in their profiles."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hub.connector import SourceConfig
from hub.net.auth import HeaderName, HeaderValue
from hub.net.hosts import HostName, check_url, is_loopback
from hub.net.signatures import Place, Verify
from hub.net.tls import TlsServer
from hub.units import Duration, Rate, Size


class Handshake(BaseModel):
    """What the partner wants to see before it believes in our address."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, frozen=True)

    echo_query: str | None = None
    """A request with this parameter is answered with its value, as text: the partner makes a subscription."""
    echo_header: HeaderName | None = None
    """A request without a body and with this header is answered with the same header."""
    every: bool = False
    """The header goes back with every answer, and only to a partner that `verify` knows; it may come with GET."""

    @model_validator(mode="after")
    def _is_whole(self) -> Handshake:
        if (self.echo_query is None) == (self.echo_header is None):
            raise ValueError("expected one of `echo_query` and `echo_header`")
        if self.every and self.echo_header is None:
            raise ValueError("`every` goes with `echo_header`")
        return self


class Answer(BaseModel):
    """What the partner is answered when all is kept."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, frozen=True)

    status: int = Field(default=200, ge=200, le=299)
    """HTTP status."""
    body: str = Field(default="", max_length=1000)
    """Text of the answer."""
    content_type: HeaderValue = "text/plain; charset=utf-8"
    """Its Content-Type."""
    headers: dict[HeaderName, HeaderValue] = {}
    """Further headers."""


class WebhookConfig(SourceConfig):
    """Receives webhooks: a partner's POST whenever something happened on its side."""

    host: HostName = "127.0.0.1"
    """Address to listen on; if you say nothing only this machine, where a reverse proxy passes on what comes from outside."""
    port: int = Field(ge=0, le=65535)
    """TCP port; 0 takes a free one. Connections with the same host and port share it, each with a path of its own."""
    path: str = Field(pattern=r"^(/[A-Za-z0-9._~-]+)+$", max_length=200)
    """Path of this connection, such as /hooks/fax. All other paths are answered 404."""
    public_url: str | None = Field(default=None, pattern=r"^https?://[^\s?#]+$")
    """The address the partner was given, up to and with the path. Partners that sign the URL sign this one; the Host header of
    a request is never believed."""
    tls: TlsServer | None = None
    """TLS, with `client_ca` for mutual TLS. The same for all connections of a port."""
    allow_plaintext: str | None = None
    """Why this listener may do without TLS although it is not on this machine alone, in a few words."""
    methods: list[Literal["GET", "POST"]] = Field(default=["POST"], min_length=1)
    """Methods that bring events. What comes by GET are the parameters of its URL, kept as the form they are."""
    verify: Verify
    """How deliveries are known to come from the partner."""
    handshake: Handshake | None = None
    """What the partner wants to see before it believes in our address."""
    each: str | None = Field(default=None, min_length=1)
    """One delivery brings several events: the dotted path of their list in JSON, `.` where the body is the list. Each becomes a
    message of its own, all of them together or none; a delivery of more than 1000 stays one message."""
    event: Place | None = None
    """Where it says what happened: the message's header `event` and its type."""
    resource: Place | None = None
    """Where the partner's id of the thing stands that it happened to: the message's header `resource`. Events of one thing keep
    their order. Headers can be read by everybody who sees the journal: an id, nothing of a patient."""
    dedupe: list[Place] = []
    """What together makes an event recognisable when it comes again. When none of it is there, or named, its signature does."""
    answer: Answer = Answer()
    """What the partner is answered when all is kept."""
    deadline: Duration = Field(default=10.0, gt=0)
    """How long the partner waits for an answer. What is not kept after 8/10 of it is not answered as if it were."""
    not_kept: Literal["answer_503", "hang_up"] = "answer_503"
    """What could not be kept in time is answered 503 with Retry-After; or not at all, for partners that send again only when a
    connection fails."""
    max_body: Size = Field(default=32 * 1024 * 1024, ge=1024)
    """Longest body; a longer one is answered 413 and not read. At most 1 MiB where `verify` finds its proof in the body, and
    for forms without files."""
    rate: Rate | None = Field(default=None, gt=0)
    """Most deliveries of the partner in a second; more are answered as `not_kept` says. Default: as many as can be kept."""
    read_timeout: Duration = Field(default=10.0, gt=0)
    """How long a request may take to arrive: its head, and then its body."""
    max_connections: int = Field(default=500, ge=1)
    """Partners' connections at once. One more takes the place of the oldest that asks nothing; when all ask something, it is
    closed. Of several listeners on a port the greatest counts."""

    @model_validator(mode="after")
    def _fits_together(self) -> WebhookConfig:
        if self.tls is None and not is_loopback(self.host) and not self.allow_plaintext:
            raise ValueError("listening beyond this machine needs `tls`, or `allow_plaintext` with the reason why not")
        if self.public_url is not None:
            check_url(self.public_url, allow_plaintext=self.allow_plaintext)
        elif self.verify.signs_url:
            raise ValueError("the partner signs the URL: `public_url` has to say the address it was given")
        if self.handshake is not None and self.handshake.every and self.verify.how != "token":
            raise ValueError("`handshake.every` needs `verify: {how: token}`")
        return self
