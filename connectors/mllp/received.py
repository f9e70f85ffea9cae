"""What came in a frame: its messages, what is wrong with each, and the acknowledgements it gets."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

import structlog
from pydantic import BaseModel, ConfigDict

from connectors.mllp.framing import Frame
from connectors.mllp.modes import ORIGINAL, Mode, is_acknowledgement, mode_of
from hub.errors import MessageUnusable
from hub.formats.hl7v2 import Hl7, Part, acknowledge, opened, split
from hub.formats.hl7v2.ack import Fault
from hub.message import Message

log = structlog.get_logger(__name__)

DONE = ("delivered", "skipped")
"""Outcomes after which the sender hears that all is well; a message no flow wants is one of them."""
CONTROL_ID = 9
"""Where MSH-10 stands among the parts between field separators."""
LONGEST_HEADER = 2000
"""Bytes of an MSH that a message carries along for its application acknowledgement."""


class Accepts(BaseModel):
    """Which messages are taken."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, frozen=True)

    types: list[str] = []
    """Types (MSH-9) such as `ADT^*` or `SIU^S12`; others are answered AR with 200 or 201. All when empty."""
    processing_ids: list[str] = []
    """Processing ids (MSH-11): `P` for production, `T` for training, `D` for debugging; others are answered AR with 202."""
    versions: list[str] = []
    """Versions (MSH-12) such as `2.5.1` or `2.*`; others are answered AR with 203. All when empty."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How a listener looks at what comes in."""

    name: str
    charset: str | None = None
    accept: Accepts | None = None
    """None when it takes everything."""
    without_control_id: bool = False
    """Takes messages without MSH-10."""
    carries_header: bool = False
    """Messages that ask for an application acknowledgement carry their MSH along, for the step `acknowledge`."""
    answers_together: bool = False
    """Messages of a batch are answered with a batch."""


@dataclass(slots=True, eq=False)
class Received:
    """One message of a frame, and what is wrong with it."""

    message: Message
    hl7: Hl7 | None
    mode: Mode = ORIGINAL
    fault: Fault | None = None
    code: Literal["AA", "AE", "AR"] = "AA"
    reason: str = ""
    """Why it is refused, for the journal."""
    outcome: str = "delivered"
    later: bool = False
    """It is turned away for now: rejected, not in error."""
    acknowledges: bool = False
    """It is an acknowledgement itself."""
    batch: bytes = b""
    """Header (BHS) of the batch it is answered together with; empty when it is answered for itself."""

    def turn_away(self, reason: str) -> None:
        """It was not kept, and may be sent again later."""
        self.fault, self.code, self.later = Fault("207", "", reason), "AR", True

    def answers(self, *, by_flow: bool) -> list[bytes]:
        """Everything it is answered, in order.  After a negative accept acknowledgement nothing more is to come, and without
        one the application acknowledgement of a message that is not taken is ours to give, for no flow ever sees it.
        """
        answers = self.accept_answers()
        if self.mode.original or (not answers if self.fault is not None else not by_flow):
            answers += self.application_answers()
        return answers

    def accept_answers(self) -> list[bytes]:
        """CA, CE or CR, when the message asks for it: it says that the message is safe, or why it is not taken."""
        if self.hl7 is None or self.acknowledges or not self.mode.accepts(failed=self.fault is not None):
            return []
        internal = self.fault is not None and self.fault.code == "207" and not self.later
        return [acknowledge(self.hl7, "CE" if internal else f"C{self.code[1]}", self.fault)]

    def application_answers(self) -> list[bytes]:
        """AA, AE or AR, when the message asks for it."""
        if self.hl7 is None or self.acknowledges:
            return []
        fault, code = self.fault, self.code
        if fault is None and self.outcome not in DONE:
            fault, code = Fault("207", "", f"the message is safe, but its work is not done: {self.outcome}"), "AE"
        return [acknowledge(self.hl7, code, fault)] if self.mode.applies(failed=fault is not None) else []


def read(frame: Frame, rules: Rules) -> Iterator[Received]:
    """The messages of a frame, in order."""
    if frame.fault:
        yield _damaged(frame)
        return
    parts, findings = split(frame.body)
    for finding in findings:
        log.warning("a batch is not what it says", connection=rules.name, finding=finding)
    if not parts:
        message = Message(frame.body, "hl7v2")
        yield Received(message, None, fault=Fault("200"), reason="the frame holds no HL7 v2 message; it was not answered")
    for part in parts:
        entry = _examined(part, rules)
        if rules.answers_together:
            entry.batch = part.header
        yield entry


def _damaged(frame: Frame) -> Received:
    too_long = frame.fault == "too long"
    text = "the message is too long" if too_long else "a new message began before this one was whole"
    hl7 = header_of(frame.body)
    if hl7 is None:
        return Received(Message(frame.body, "hl7v2"), None, ORIGINAL, Fault("207", "", text), "AR", f"{text}; not answered")
    return Received(
        Message(frame.body, "hl7v2"), hl7, mode_of(hl7), Fault("207", "", text), "AR", f"{text}; answered AR",
        acknowledges=is_acknowledgement(hl7),
    )  # fmt: skip


def header_of(part: bytes) -> Hl7 | None:
    """A message of which there is a part only; None when that does not tell which one it is: a control id that may have been
    cut off would be that of another message.
    """
    try:
        hl7 = Hl7(part)
    except MessageUnusable:
        return None
    whole = len(hl7.fields_of(0)) > CONTROL_ID + 1 or len(hl7.ids) > 1
    return hl7 if whole and hl7.control_id.strip() else None


def _examined(part: Part, rules: Rules) -> Received:
    body = part.body
    try:
        hl7 = opened(body, rules.charset)
    except MessageUnusable as error:
        return Received(Message(body, "hl7v2"), None, fault=Fault("200"), reason=f"{error}; it was not answered")
    mode = mode_of(hl7)
    entry = Received(_message(part, hl7, mode, rules), hl7, mode, acknowledges=is_acknowledgement(hl7))
    refusal = _refusal(hl7, rules)
    if refusal is not None:
        entry.code, entry.fault = refusal
        entry.reason = f"{entry.fault.text}; answered {entry.code}"
    return entry


def _message(part: Part, hl7: Hl7, mode: Mode, rules: Rules) -> Message:
    """The message, with what is to be known of it beside its bytes."""
    body, headers = part.body, {}
    if part.count > 1:
        headers["index"] = f"{part.index + 1} of {part.count}"
        if part.batch:
            headers["batch"] = part.batch
    if sequence := hl7.get("MSH-13"):
        headers["sequence"] = sequence
    if rules.carries_header and mode.application:
        headers["msh"] = body[:LONGEST_HEADER].lstrip().replace(b"\n", b"\r").split(b"\r", 1)[0].decode("latin-1")
    duplicate_key = None
    if rules.without_control_id and not hl7.control_id.strip():
        duplicate_key = f"content {hashlib.blake2b(body, digest_size=16).hexdigest()}"
    if headers or duplicate_key:
        return Message(body, "hl7v2", headers=headers, duplicate_key=duplicate_key)
    return Message(body, "hl7v2")


def _refusal(hl7: Hl7, rules: Rules) -> tuple[Literal["AE", "AR"], Fault] | None:
    """Why a message is not taken, and with what it is answered."""
    if not hl7.get("MSH-9.1"):
        return "AR", Fault("101", "MSH-9", "the message type (MSH-9) is missing")
    if rules.accept is not None and (fault := _not_accepted(hl7, rules.accept)):
        return "AR", fault
    if hl7.get("MSH-14") or ("DSC" in hl7.ids and hl7.get("DSC-1")):
        return "AR", Fault("207", "MSH-14", "messages that are continued in others are not understood")
    if not rules.without_control_id and not hl7.control_id.strip():
        return "AE", Fault("101", "MSH-10", "the control id (MSH-10) is missing")
    return None


def _not_accepted(hl7: Hl7, accept: Accepts) -> Fault | None:
    code = (hl7.get("MSH-9.1") or "").strip()
    if accept.types and not _matches(hl7.type, accept.types):
        known = any(fnmatchcase(code, type.partition("^")[0]) for type in accept.types)
        return Fault("201" if known else "200", "MSH-9", "messages of this type or event are not taken here")
    if accept.processing_ids and not _matches((hl7.get("MSH-11.1") or "").strip(), accept.processing_ids):
        return Fault("202", "MSH-11", "messages of this processing id are not taken here")
    if accept.versions and not _matches((hl7.get("MSH-12.1") or "").strip(), accept.versions):
        return Fault("203", "MSH-12", "messages of this version are not taken here")
    return None


def _matches(value: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(value, pattern) for pattern in patterns)
