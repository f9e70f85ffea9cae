"""What is signed: envelopes as the hub knows them, what is asked of a signing service, and what it says."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime

from hub.progress import Progress
from hub.records import Record, Text

EnvelopeState = Literal[
    "ordered",
    "unknown",
    "draft",
    "sent",
    "viewed",
    "partially_signed",
    "completed",
    "declined",
    "voided",
    "expired",
    "bounced",
    "failed",
]
"""How far an envelope is."""

ENVELOPE = Progress(
    ["ordered", "unknown", "draft", "sent", "viewed", "partially_signed"],
    ends=["completed", "declined", "voided", "expired", "bounced", "failed"],
)
"""Of two ends the first of these counts: what was signed is signed, whatever came after it."""

ENVELOPE_WORDS: dict[str, str] = {
    "ordered": "about to be sent",
    "unknown": "not known whether it was sent",
    "draft": "being made ready by the signing service",
    "sent": "sent, not opened yet",
    "viewed": "opened, not signed yet",
    "partially_signed": "signed by some, not by all",
    "completed": "signed",
    "declined": "the signer said no",
    "voided": "withdrawn",
    "expired": "not signed in time",
    "bounced": "did not reach the signer",
    "failed": "could not be sent",
}
"""States as people read them."""

EnvelopeAction = Literal["send", "look", "remind", "void", "fetch", "certificate"]


class Signer(Record):
    """Somebody who signs."""

    role: Text = "patient"
    """Who it is to the packet: patient, guardian, clinician ... Templates of a vendor know signers by it."""
    name: Text = ""
    email: Text = ""
    order: int = 1
    """Who signs first has 1; who has the same number may sign at the same time."""


class EnvelopeOrder(Record):
    """What a signing service is asked to do, for one envelope."""

    id: Text
    """Our id of the envelope; the service keeps it, so that a doubtful send can be looked for."""
    action: EnvelopeAction
    partner_id: Text | None = None
    """The service's id of it; None while we have not been told."""
    title: Text = ""
    """What signers read in the subject: no patient data."""
    text: Text = ""
    """What signers read in the message: no patient data."""
    files: list[Text] = []
    """Names of PDF files in the folder of the connection."""
    template: Text | None = None
    """The service's id of a template, in place of files."""
    signers: list[Signer] = []
    expires_at: AwareDatetime | None = None
    """Until when it may be signed; as long as the service allows when None."""
    reason: Text = ""
    """Why it is withdrawn, as signers read it."""


class EnvelopeReport(Record):
    """What a signing service says of one envelope: to an order, a look, or after a webhook."""

    id: Text
    """Our id of the envelope."""
    action: EnvelopeAction
    partner_id: Text | None = None
    state: EnvelopeState
    detail: Text | None = None
    """The service's words for what went wrong."""
    found: bool = True
    """False when the service does not know the envelope, of which it told the id itself."""
    ready: bool = True
    """False when a document was asked for that the service has not ready yet."""


class SigningPlan(Record):
    """How an envelope is looked after."""

    looks: list[float] = [900.0, 3600.0, 21600.0, 86400.0]
    """Seconds between looks at its state; the last is repeated."""
    valid_for: float | None = None
    """Seconds for which it is good once signed; None: for its visits only."""
    queue: str = "front_desk"
    certificate: bool = True
    """Whether the service's certificate is fetched too."""


class Envelope(Record):
    """One packet of documents of one patient, and how far its signing is."""

    id: str
    packet: Text
    """Name of the packet in the clinic file."""
    title: Text = ""
    text: Text = ""
    files: list[Text] = []
    template: Text | None = None
    signers: list[Signer] = []
    """Who was asked; the patient's name and address are filled in when it is sent."""
    appointments: list[Text] = []
    """The visits it is for."""
    patient_id: str = ""
    state: EnvelopeState = "ordered"
    partner_id: Text | None = None
    detail: Text | None = None
    expires_at: AwareDatetime | None = None
    plan: SigningPlan = SigningPlan()
    lacks: Text | None = None
    """What is missing before it can be sent: email."""
    withdrawn: Text | None = None
    """Why nobody needs it any more."""
    looks: int = 0
    """How often its state was looked at."""
    looking_since: AwareDatetime | None = None
    """When a look went out that is not answered yet."""
    missed: int = 0
    """How often in a row the service did not know it."""
    missed_since: AwareDatetime | None = None
    """Since when it does not."""
    fetches: int = 0
    """How often a document was asked for that was not ready."""
    document: Text | None = None
    """The signed document (`Document.id`)."""
    certificate: Text | None = None
    """The service's certificate (`Document.id`)."""
    ordered_at: AwareDatetime | None = None
    asked_at: AwareDatetime | None = None
    """When the service was asked to send it."""
    told_at: AwareDatetime | None = None
    """When the service told of it last."""
    ended_at: AwareDatetime | None = None
    valid_until: AwareDatetime | None = None
    """Until when it need not be signed again."""

    @property
    def is_over(self) -> bool:
        return ENVELOPE.is_over(self.state)
