"""What a clinic file says about metrics and alerts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from hub.net.auth import HttpAuth
from hub.net.hosts import HostName, is_loopback
from hub.net.tls import TlsClient
from hub.units import Duration


class _Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True, frozen=True, validate_default=True
    )


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class MetricsSettings(_Part):
    """A port for Prometheus.  Metrics name connections and flows, never a patient."""

    port: int | None = Field(default=None, ge=0, le=65535)
    """Answers `/metrics`, `/healthz` and `/readyz`; without a port only the control socket does."""
    host: HostName = "127.0.0.1"
    """Address to listen on; beyond this machine anybody who reaches it can read."""


class MailSettings(_Part):
    """Alerts by e-mail."""

    host: HostName
    """The mail server (SMTP)."""
    port: int = Field(default=587, ge=1, le=65535)
    """587 with STARTTLS, 465 with TLS from the beginning, 25 as a rule inside of a house."""
    tls: Literal["starttls", "always", "none"] = "starttls"
    """`none` only for a server on this machine, or without a user."""
    ca: Path | None = None
    """Authorities to trust, PEM. Default: those of the system."""
    user: str | None = None
    """Name to log in with."""
    password: SecretStr | None = None
    """Password to log in with."""
    sender: str = Field(pattern=r"^[^@\s]+@[^@\s]+$")
    """Address the mails are from."""
    to: Annotated[list[str], BeforeValidator(_listed, json_schema_input_type=list[str] | str)] = Field(min_length=1)
    """Addresses they go to."""

    @model_validator(mode="after")
    def _no_password_in_the_clear(self) -> Self:
        if self.tls == "none" and self.user is not None and not is_loopback(self.host):
            raise ValueError("a password does not travel without TLS: write tls: starttls or tls: always")
        if any("\n" in address or "\r" in address or "@" not in address for address in self.to):
            raise ValueError("`to` has addresses such as it@clinic.example")
        return self


class AlertHook(_Part):
    """Alerts to an address of a paging or chat service: POST with JSON."""

    url: str = Field(pattern=r"^https?://[^\s]+$")
    """Where to."""
    auth: HttpAuth = HttpAuth()
    """Who we are."""
    tls: TlsClient | None = None
    """TLS, when the defaults will not do."""
    timeout: Duration = Field(default=10.0, gt=0)
    """For the whole answer."""


class AlertSettings(_Part):
    """What is worth telling a person, and how.  On by default: items on the worklist of the queue `it`."""

    enabled: bool = True
    """`no` switches all alerts off."""
    worklist: str | None = "it"
    """Queue of the items; an empty text for none."""
    email: MailSettings | None = None
    """Also by e-mail."""
    webhook: AlertHook | None = None
    """Also to an address."""
    silence: int = Field(default=10, ge=0)
    """A connection is silent when so many messages should have come by its habit and none did; 0 switches it off."""
    silence_least: Duration = Field(default=600.0, ge=0)
    """And when nothing has come for at least so long."""
    backlog_age: Duration = Field(default=600.0, ge=0)
    """Messages wait too long; 0s switches it off."""
    quarantined: int = Field(default=1, ge=0)
    """Messages in quarantine, for each flow and connection; 0 switches it off."""
    held: int = Field(default=1, ge=0)
    """Messages that wait for a person; 0 switches it off."""
    down_for: Duration = Field(default=300.0, ge=0)
    """A connection, or what a step needs, cannot be reached for so long; 0s switches it off."""
    turned_away: int = Field(default=20, ge=0)
    """What came to a connection within ten minutes and was no message, such as forged webhooks; 0 switches it off."""
    certificate: Duration = Field(default=30 * 86400.0, ge=0)
    """A certificate of ours expires within this time; 0s switches it off."""
    disk: bool = True
    """Less room than `disk.warn_below` says."""
    loop_lag: Duration = Field(default=5.0, ge=0)
    """The hub came so late to its work within the last minute; 0s switches it off."""
    clear_after: Duration = Field(default=60.0, ge=0)
    """The cause must be gone so long before an alert is cleared."""
    every: Duration = Field(default=5.0, gt=0)
    """Time between looks."""
