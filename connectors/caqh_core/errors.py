"""What the hub does about each ErrorCode of an envelope, and about SOAP faults.  The HTTP status has no say in it.

The rule's list of codes is open, so they are sorted by how they are named: `SenderIDRequired`, `PayloadTypeIllegal`,
`ChecksumMismatched`; what is not known is tried again and then quarantined.  `error_codes` of the connection goes before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from connectors.caqh_core.envelope import Envelope
from connectors.caqh_core.soap import SoapFault
from hub.errors import ConnectionDown, HubError, MessageRejected

Action = Literal["wait", "refuse", "retry"]
"""wait: the connection is down, messages wait in order. refuse: this message is refused for good. retry: it is tried again, and
then given up."""

SUCCESS = "success"
_CREDENTIALS = ("unauthorized", "username", "password", "authentication", "authorization")
_SETTINGS = ("senderid", "receiverid", "coreruleversion", "versionmismatch", "processingmode", "timestamp")
_AGAIN = ("checksum", "payloadlength")
_TELLABLE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,59}")
_FAULT_CREDENTIALS = (
    "FailedAuthentication",
    "InvalidSecurity",
    "InvalidSecurityToken",
    "FailedCheck",
    "SecurityTokenUnavailable",
)


def is_success(code: str) -> bool:
    return code.lower() in (SUCCESS, "")


def error_of(name: str, host: str, envelope: Envelope, actions: Mapping[str, Action]) -> HubError:
    """The error of an envelope whose ErrorCode is not Success."""
    code = envelope.error_code
    told = code if _TELLABLE.fullmatch(code) else "an ErrorCode that cannot be shown"
    small = code.lower()
    credentials = small.startswith(_CREDENTIALS)
    action = {key.lower(): value for key, value in actions.items()}.get(small) or _action(small)
    if action == "wait" and credentials:
        return ConnectionDown(f"{name}: {host} refuses our credentials ({told}). Check user and password.", code="NET-020")
    if action == "wait":
        return ConnectionDown(
            f"{name}: {host} refuses our envelope ({told}). Check sender_id, receiver_id and the clock; messages wait.",
            code="COR-001",
        )
    return MessageRejected(
        f"{host} refused the envelope ({told})",
        answer=told,
        final=action == "refuse",
        reply=envelope.error_message.encode(),
        code="COR-002",
    )


def _action(code: str) -> Action:
    if code.startswith((*_CREDENTIALS, *_SETTINGS)):
        return "wait"
    if code.startswith(_AGAIN):
        return "retry"
    return "refuse" if code.startswith("payload") else "retry"


def error_of_fault(name: str, host: str, fault: SoapFault) -> HubError:
    """The error of a SOAP fault: its codes are a standard's, its words are the partner's."""
    told = "/".join(code for code in fault.codes if _TELLABLE.fullmatch(code)) or "no code"
    if any(code.startswith(_FAULT_CREDENTIALS) for code in fault.codes):
        return ConnectionDown(f"{name}: {host} refuses our credentials (SOAP fault {told})", code="NET-020")
    if any(code in ("VersionMismatch", "MustUnderstand", "DataEncodingUnknown") for code in fault.codes):
        return ConnectionDown(f"{name}: {host} does not take SOAP as we write it (SOAP fault {told})", code="COR-001")
    if any(code in ("Sender", "Client") for code in fault.codes):
        return MessageRejected(
            f"{host} refused the request (SOAP fault {told})",
            answer=f"fault {told}",
            reply=fault.reason.encode(),
            code="COR-002",
        )
    return ConnectionDown(f"{name}: {host} failed (SOAP fault {told})")
