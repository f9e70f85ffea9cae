"""The envelope of CAQH CORE connectivity: its fields, and the exchanges it is used in."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

RULE_VERSION = "2.2.0"
_OURS = uuid.UUID("6f3c6a3e-7c0b-4d0e-9a58-0a6a3b1f2c11")
"""Name space of our payload ids (RFC 4122, version 5)."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One kind of request, by its SOAP element and action; forms name only the fields."""

    element: str
    action: str
    batch: bool = True


REAL_TIME = Exchange("COREEnvelopeRealTimeRequest", "RealTimeTransaction", batch=False)
SUBMISSION = Exchange("COREEnvelopeBatchSubmission", "BatchSubmitTransaction")
ACKNOWLEDGEMENT_RETRIEVAL = Exchange("COREEnvelopeBatchSubmissionAckRetrievalRequest", "BatchSubmitAckRetrievalTransaction")
RESULTS_RETRIEVAL = Exchange("COREEnvelopeBatchResultsRetrievalRequest", "BatchResultsRetrievalTransaction")
RESULTS_ACKNOWLEDGEMENT = Exchange("COREEnvelopeBatchResultsAckSubmission", "BatchResultsAckSubmitTransaction")


class NotCore(Exception):
    """What came is no envelope; the text says why without a word of it."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """What is sent or came back."""

    payload_type: str
    payload: bytes = b""
    payload_id: str = ""
    timestamp: str = ""
    sender: str = ""
    receiver: str = ""
    error_code: str = ""
    error_message: str = ""
    """The partner's own words; they may name a patient."""
    checksum: str = ""
    length: str = ""

    @property
    def checksum_fits(self) -> bool:
        """True when the payload is the one its checksum was made of, or there is none."""
        return not self.checksum or self.checksum.strip().lower() == checksum(self.payload)


def checksum(payload: bytes) -> str:
    """SHA-1 of the payload as it is sent, in hex digits: what the rule asks for; it protects from accidents only."""
    return hashlib.sha1(payload, usedforsecurity=False).hexdigest()


def payload_id(message_id: str) -> str:
    """A UUID that is the same whenever a message is sent again, so that a partner can recognise a repeat."""
    return str(uuid.uuid5(_OURS, message_id))


def fields(exchange: Exchange, envelope: Envelope, *, with_length: bool) -> Iterable[tuple[str, str]]:
    """Names and values up to the payload, in the order of the rule's schema."""
    yield "PayloadType", envelope.payload_type
    yield "ProcessingMode", "Batch" if exchange.batch else "RealTime"
    yield "PayloadID", envelope.payload_id
    if with_length:
        yield "PayloadLength", str(len(envelope.payload))
    yield "TimeStamp", envelope.timestamp or datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    yield "SenderID", envelope.sender
    yield "ReceiverID", envelope.receiver
    yield "CORERuleVersion", RULE_VERSION
    if with_length:
        yield "CheckSum", checksum(envelope.payload)


def from_fields(found: dict[str, str], payload: bytes) -> Envelope:
    """An envelope that came.  Raises NotCore when nothing of one is in it."""
    if "PayloadType" not in found and "ErrorCode" not in found:
        raise NotCore("it has neither a PayloadType nor an ErrorCode")
    return Envelope(
        payload_type=found.get("PayloadType", "").strip(),
        payload=payload,
        payload_id=found.get("PayloadID", "").strip(),
        timestamp=found.get("TimeStamp", "").strip(),
        sender=found.get("SenderID", "").strip(),
        receiver=found.get("ReceiverID", "").strip(),
        error_code=found.get("ErrorCode", "").strip(),
        error_message=found.get("ErrorMessage", "").strip(),
        checksum=found.get("CheckSum", "").strip(),
        length=found.get("PayloadLength", "").strip(),
    )
