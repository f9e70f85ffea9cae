"""Settings of the two connections of CAQH CORE connectivity."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr, model_validator

from connectors.caqh_core.errors import Action
from connectors.caqh_core.soap import Encoding, Login
from hub.connector import ConnectorConfig, DestinationConfig, SourceConfig
from hub.net.hosts import check_url
from hub.net.tls import TlsClient
from hub.units import Duration

Words = Annotated[str, Field(pattern=r"^[\x20-\x7e]*$", max_length=200)]


class CoreSettings(ConnectorConfig):
    """What both have: where, who, and in which form."""

    url: str = Field(pattern=r"^https?://")
    """The partner's address for CORE envelopes."""
    form: Literal["soap", "mime"] = "soap"
    """SOAP 1.2, or HTTP with multipart/form-data; the partner's companion guide says which."""
    payload: Encoding = "cdata"
    """How the X12 stands in a SOAP envelope: as CDATA, escaped, or Base64. In batches it is an attachment (MTOM)."""
    sender_id: Words
    """SenderID: the id the partner gave us."""
    receiver_id: Words
    """ReceiverID: the partner's own id."""
    user: Words | None = None
    """User name: WS-Security UsernameToken in SOAP, field UserName in a form. None where our certificate does (`tls`)."""
    password: SecretStr | None = None
    """Its password."""
    tls: TlsClient | None = None
    """Authorities to trust, and our own certificate (X.509), where the partner wants one instead of a password."""
    allow_plaintext: str | None = None
    """Why this connection may do without TLS although it leaves this machine, in a few words."""
    timeout: Duration = Field(default=60.0, gt=0)
    """How long an answer may take. For eligibility in real time payers have 20 s (CAQH CORE infrastructure rule)."""
    error_codes: dict[str, Action] = {}
    """What to do about an ErrorCode, where the built-in sorting does not fit this partner: `wait` (the connection is down),
    `refuse` (the message is refused for good), `retry` (it is tried again, then quarantined)."""

    @model_validator(mode="after")
    def _can_be_used(self) -> CoreSettings:
        check_url(self.url, allow_plaintext=self.allow_plaintext)
        if (self.user is None) != (self.password is None):
            raise ValueError("`user` and `password` come together; leave out both where our certificate does")
        return self

    @property
    def login(self) -> Login | None:
        if self.user is None or self.password is None:
            return None
        return Login(self.user, self.password.get_secret_value())


class CaqhCoreConfig(CoreSettings, DestinationConfig):
    """Sends X12 in CORE envelopes."""

    mode: Literal["real_time", "batch"] = "real_time"
    """`real_time`: each message is a question, the answer comes at once. `batch`: messages are files of many questions; the
    partner confirms them, and `caqh_core_pickup` fetches what became of them."""
    payload_types: dict[str, Words] = {"270": "X12_270_Request_005010X279A1", "276": "X12_276_Request_005010X212"}
    """PayloadType by type of message."""


class CaqhCorePickupConfig(CoreSettings, SourceConfig):
    """Fetches acknowledgements and results of batches."""

    every: Duration = Field(default=600.0, gt=0)
    """How often to look. Results of a day's batch are due at 7:00 of the next business day (CAQH CORE infrastructure rule)."""
    acknowledgements: list[Words] = ["X12_999_RetrievalRequest_005010X231A1", "X12_TA1_RetrievalRequest_00501X231A1"]
    """PayloadTypes to ask acknowledgements with; empty to ask for none."""
    results: list[Words] = ["X12_005010_Request_Batch_Results_271"]
    """PayloadTypes to ask results with."""
    nothing: list[Words] = ["NoBatch", "NoFile", "NoData"]
    """Words in the PayloadType or ErrorCode of an answer that mean: there is nothing."""
    payload_id: Words = ""
    """PayloadID of what is asked with; some partners want a fixed word. Default: a new UUID each time."""
    acknowledge: bool = True
    """Whether results are acknowledged with a 999 or TA1 once the hub owns them; partners offer a file until then."""
    most: int = Field(default=100, ge=1, le=10_000)
    """Files taken of each kind at one look."""
