"""Sends messages to a partner's HTTP interface; the body of a good answer is the partner's answer."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from hub.connector import AnyConnector, Destination, DestinationConfig
from hub.errors import ConnectionDown, MessageRejected
from hub.hookspecs import hookimpl
from hub.message import Message
from hub.net.auth import HeaderName, HeaderValue, HttpAuth
from hub.net.hosts import check_url
from hub.net.http import HttpClient, is_web_page
from hub.net.tls import TlsClient
from hub.units import Duration


class HttpConfig(DestinationConfig):
    """Posts each message to a URL."""

    url: str = Field(pattern=r"^https?://")
    """Where messages go."""
    method: str = Field(default="POST", pattern="^(POST|PUT)$")
    """POST or PUT."""
    content_type: HeaderValue = "application/octet-stream"
    """Content-Type of what is sent, for instance application/edi-x12."""
    headers: dict[HeaderName, HeaderValue] = {}
    """Further headers; no secrets here, they belong under `auth`."""
    auth: HttpAuth = HttpAuth()
    """OAuth2 client credentials, basic authentication, or an API key."""
    tls: TlsClient | None = None
    """Authorities to trust and our own certificate, when the system's defaults do not do."""
    allow_plaintext: str | None = None
    """Why this connection may do without TLS although it leaves this machine, in a few words."""
    timeout: Duration = Field(default=60.0, gt=0)
    """How long an answer may take. For eligibility in real time payers have 20 s (CAQH CORE infrastructure rule)."""
    resend_after: Duration = Field(default=0.0, ge=0)
    """What was not answered in time is not sent again before this time since it was sent. Payers want no question twice before
    90 s, and at most five more within 15 minutes (CAQH CORE): `3m` holds to both."""
    answer_format: str = "bytes"
    """Format of the answer, as mappings name it: x12, eligibility_v3, hl7v2 or bytes. Unless it is bytes, a web page is no
    answer, whatever its status: the message is tried again, and then goes to quarantine."""

    @model_validator(mode="after")
    def _addresses_can_be_used(self) -> HttpConfig:
        for url in filter(None, (self.url, self.auth.token_url)):
            check_url(url, allow_plaintext=self.allow_plaintext)
        return self


class Http(Destination[HttpConfig]):
    """A partner's HTTP interface."""

    kind = "http"
    repeat = "safe"

    def __init__(self, name: str, config: HttpConfig) -> None:
        super().__init__(name, config)
        self._client: HttpClient | None = None

    async def open_destination(self) -> None:
        if self._client is None:
            self._client = HttpClient(self.name, auth=self.config.auth, timeout=self.config.timeout, tls=self.config.tls)

    async def send(self, message: Message) -> Message | None:
        await self.open_destination()
        assert self._client is not None  # noqa: S101 - opened above
        headers = {"Content-Type": self.config.content_type, "Idempotency-Key": message.id, **self.config.headers}
        began = time.monotonic()
        try:
            body = await message.read()
            response = await self._client.request(self.config.method, self.config.url, content=body, headers=headers)
        except ConnectionDown as error:
            if error.unanswered:
                error.retry_after = max(0.0, began + self.config.resend_after - time.monotonic()) or None
            raise
        if not response.content:
            return None
        if self.config.answer_format != "bytes" and is_web_page(response.content):
            raise self._page(response.content, response.status_code)
        return Message(response.content, self.config.answer_format, headers={"answer": str(response.status_code)})

    def _page(self, body: bytes, status: int) -> MessageRejected:
        """Not final: what makes such pages (maintenance, a gateway) passes."""
        host = urlsplit(self.config.url).netloc
        return MessageRejected(
            f"{host} answered {status} with a web page instead of {self.config.answer_format}. Look at it in the attempt:"
            " it may be a page of maintenance or of a login; check `url` and `auth`, then replay.",
            answer="web page",
            reply=body,
            code="MSG-007",
        )

    async def check(self) -> str:
        await self.open_destination()
        assert self._client is not None  # noqa: S101 - opened above
        return await self._client.check(self.config.url)

    async def close(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()


@hookimpl
def register_connectors() -> list[type[AnyConnector]]:
    return [Http]
