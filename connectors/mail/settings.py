"""What a clinic file says about mail, in and out."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator, model_validator

from hub.connector import ConnectorConfig, DestinationConfig, Retry, SourceConfig
from hub.formats.mail.fields import is_address
from hub.net.auth import HeaderName, HeaderValue, HttpAuth
from hub.net.hosts import HostName, check_url, is_loopback
from hub.net.mail import ANSWER_WITHIN, Encryption
from hub.net.tls import TlsClient
from hub.records_mail import Receipts
from hub.units import Duration, Size

OWN_FIELDS = frozenset(
    ["from", "to", "cc", "bcc", "subject", "date", "message-id", "mime-version", "content-type", "content-transfer-encoding"]
)
"""Fields of a header that the hub writes itself."""


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _address(text: str) -> str:
    if not is_address(text):
        raise ValueError("expected an address such as referrals@clinic.example")
    return text


OneAddress = Annotated[str, BeforeValidator(lambda value: _address(str(value).strip()))]


class OAuth(BaseModel):
    """An access token instead of a password (XOAUTH2), by client credentials."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, frozen=True, hide_input_in_errors=True)

    token_url: str = Field(pattern=r"^https?://")
    """Where tokens are fetched."""
    client_id: str
    """OAuth2 client id."""
    client_secret: SecretStr
    """OAuth2 client secret."""
    scope: str | None = None
    """OAuth2 scope."""

    def auth(self) -> HttpAuth:
        return HttpAuth(token_url=self.token_url, client_id=self.client_id, client_secret=self.client_secret, scope=self.scope)


class _ServerConfig(ConnectorConfig):
    """A mail server and who we are there."""

    host: HostName = Field(min_length=1)
    """The mail server."""
    encryption: Encryption = "starttls"
    """TLS: `starttls` after a greeting in the clear, `always` from the first byte. Nothing goes anywhere without it; `none`
    is for a server on this machine, or with `allow_plaintext`."""
    tls: TlsClient = TlsClient()
    """Authorities to trust and our own certificate, when the system's defaults do not do."""
    allow_plaintext: str | None = Field(default=None, min_length=1)
    """Why this connection may do without TLS although it leaves this machine, in a few words. A password never does."""
    user: str | None = Field(default=None, pattern=r"^[^\x00-\x1f]+$")
    """Who we are there."""
    password: SecretStr | None = None
    """Our password."""
    oauth: OAuth | None = None
    """A token instead of a password, for servers that take none any more; `user` is the mailbox."""

    @model_validator(mode="after")
    def _can_log_in_safely(self) -> Any:
        if self.user is None and (self.password is not None or self.oauth is not None):
            raise ValueError("`password` and `oauth` belong to a `user`, and there is none")
        if self.user is not None and (self.password is None) == (self.oauth is None):
            raise ValueError("a `user` needs `password` or `oauth`, one of them")
        if self.oauth is not None:
            check_url(self.oauth.token_url, allow_plaintext=None)
        if self.encryption == "none" and not is_loopback(self.host):
            if self.user is not None:
                raise ValueError("a password does not travel without TLS: write encryption: starttls or encryption: always")
            if not self.allow_plaintext:
                raise ValueError("a server beyond this machine needs TLS, or `allow_plaintext` with the reason why not")
        return self


class MailSenderConfig(_ServerConfig, DestinationConfig):
    """Hands each message in as a mail. All its addresses get it or none."""

    port: int = Field(default=587, ge=1, le=65535)
    """587 with STARTTLS, 465 with TLS from the beginning, 25 as a rule inside of a house."""
    timeout: Duration = Field(default=60.0, gt=0)
    """How long each step of the conversation may take."""
    answer_within: Duration = Field(default=ANSWER_WITHIN, gt=0)
    """How long the server may look at a whole mail before it says whether it takes it. What was not answered then may have been
    taken: the message becomes `unknown` and is not sent again by itself."""
    mail_timeout: Duration = Field(default=1800.0, gt=0)
    """How long one mail may take in all."""
    sender: OneAddress
    """Address the mails are from; bounces come back to it."""
    sender_name: str = Field(default="", max_length=100)
    """Name beside it."""
    to: Annotated[list[OneAddress], BeforeValidator(_listed, json_schema_input_type=list[str] | str)] = []
    """Addresses of messages that bring none of their own (header `to`, or the record of a mail_order)."""
    address: str = Field(default="{to}", pattern=r"^[\x21-\x7e]*\{(to|digits)\}[\x21-\x7e]*$")
    """How the header `to` of a message becomes an address: `{to}` as it is, or `{digits}@fax.example` for a service that faxes
    what it gets by mail, with the digits of the number."""
    subject: str = Field(default="A message for you", min_length=1, max_length=200)
    """Subject of messages that bring none. Many on the way can read it: no patient data. `{id}` is the message's id."""
    subject_prefix: str = Field(default="", max_length=60)
    """Put before every subject, such as the word by which a gateway knows what it has to encrypt."""
    headers: dict[HeaderName, HeaderValue] = {}
    """Further fields of the header, such as the one by which a gateway knows what it has to encrypt."""
    text: str = Field(default="A document is attached.", max_length=10_000)
    """Text of a mail whose message is a document."""
    file_name: str = Field(default="document", pattern=r"^[A-Za-z0-9._{}-]{1,80}$")
    """Name of an attached document, without its ending; `{id}` is the message's id. Never a patient's."""
    receipts: Receipts = "none"
    """Ask the receiving system for receipts (MDN): that it has `processed` the mail, or also that it was `dispatched` to who it
    is for. The header `receipts` of a message counts more."""
    max_size: Size = Field(default=25 * 1024 * 1024, ge=1024)
    """Longest mail, encoded as it is sent: a third more than what is attached."""
    retry: Retry = Retry(first=60.0, most=1800.0, attempts=20)
    """For mails the server does not take now (4xx): by default 20 times over about eight hours."""

    @field_validator("headers")
    @classmethod
    def _are_not_ours(cls, headers: dict[str, str]) -> dict[str, str]:
        if taken := sorted(name for name in headers if name.lower() in OWN_FIELDS):
            raise ValueError(f"the hub writes {', '.join(taken)} itself")
        return headers

    @field_validator("subject", "file_name")
    @classmethod
    def _has_known_places(cls, text: str) -> str:
        if unknown := set(re.findall(r"\{[^}]*\}?", text)) - {"{id}"}:
            raise ValueError(f"knows no {sorted(unknown)[0]}, only {{id}}")
        return text


class MailboxConfig(_ServerConfig, SourceConfig):
    """A folder of a mailbox (IMAP) to fetch mails from. It is the hub's own: what somebody else has read is not fetched."""

    encryption: Encryption = "always"
    """TLS: `always` from the first byte, `starttls` after a greeting in the clear. Nothing is fetched without it; `none` is for
    a server on this machine, or with `allow_plaintext`."""
    port: int = Field(default=993, ge=1, le=65535)
    """993 with TLS from the beginning, 143 with STARTTLS."""
    timeout: Duration = Field(default=60.0, gt=0)
    """How long the server may be silent."""
    mail_timeout: Duration = Field(default=600.0, gt=0)
    """How long one mail, or one list of mails, may take on its way."""
    folder: str = Field(default="INBOX", pattern=r"^[\x20-\x7e]{1,200}$")
    """The folder, as the server names it."""
    every: Duration = Field(default=60.0, gt=0)
    """How often to look."""
    after: Literal["seen", "move", "delete"] = "seen"
    """What happens to a mail the hub owns: it is marked as seen, moved to `moved_to`, or deleted."""
    moved_to: str = Field(default="Done", pattern=r"^[\x20-\x7e]{1,200}$")
    """The folder for `after: move`; it is made when it is missing."""
    attachments: bool = True
    """Each attachment is a message of its own too, of format `document`."""
    max_size: Size = Field(default=64 * 1024 * 1024, ge=1024)
    """Longest mail; a longer one stays where it is, and the status says so."""

    @model_validator(mode="after")
    def _has_a_user(self) -> MailboxConfig:
        if self.user is None:
            raise ValueError("a mailbox needs a `user`")
        return self
