"""999 (005010X231A1) and TA1: what a partner says about the form of what we sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hub.formats.x12 import codes
from hub.formats.x12.envelope import Transaction
from hub.formats.x12.tokens import Segment, whole_number

ACCEPTED = ("A", "E")
"""Verdicts on what was taken; E tells of errors in it."""


@dataclass(slots=True)
class SetAcknowledgement:
    """The verdict on one transaction set; on a whole group when `set` is empty."""

    group_code: str
    group: str
    """Control number of the group that is answered (AK102)."""
    group_result: str = ""
    """AK901: A accepted, E accepted with errors, P partly, R rejected."""
    set: str = ""
    control_number: str = ""
    code: str = ""
    """IK501: A accepted, E accepted with errors, R rejected."""
    errors: list[dict[str, Any]] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        return self.code or self.group_result

    @property
    def refused(self) -> bool:
        return self.verdict not in ("", *ACCEPTED)

    def as_dict(self) -> dict[str, Any]:
        return {
            "group": self.group,
            "group_code": self.group_code,
            "group_result": self.group_result or None,
            "set": self.set or None,
            "control_number": self.control_number or None,
            "code": self.verdict or None,
            "errors": self.errors,
        }


def read_999(transaction: Transaction) -> list[SetAcknowledgement]:
    """One verdict for each AK2, or one for the group when it has none."""
    found: list[SetAcknowledgement] = []
    group = SetAcknowledgement("", "")
    current: SetAcknowledgement | None = None
    for segment in transaction.segments:
        match segment.id:
            case "AK1":
                group = SetAcknowledgement(segment[1], segment[2])
            case "AK2":
                current = SetAcknowledgement(group.group_code, group.group, set=segment[1], control_number=segment[2])
                found.append(current)
            case "IK3" | "AK3" if current is not None:
                current.errors.append(_segment_error(segment))
            case "IK4" | "AK4" if current is not None and current.errors:
                _add_element_error(current.errors, segment)
            case "IK5" | "AK5" if current is not None:
                current.code = segment[1]
            case "AK9":
                group.group_result = segment[1]
    if not found and (group.group or group.group_result):
        found.append(group)
    for verdict in found:
        verdict.group_result = group.group_result
    return found


def _segment_error(segment: Segment) -> dict[str, Any]:
    code = segment[4]
    return {
        "segment": segment[1],
        "position": whole_number(segment[2]),
        "loop": segment[3] or None,
        "code": code,
        "text": codes.IK3_ERRORS.get(code, "segment error"),
        "element": None,
    }


def _add_element_error(errors: list[dict[str, Any]], segment: Segment) -> None:
    """An IK4 makes the error before it more exact, and a second one adds another."""
    error = errors[-1] if errors[-1]["element"] is None else dict(errors[-1])
    if error is not errors[-1]:
        errors.append(error)
    error["element"] = segment[1]
    error["code"] = segment[3]
    error["text"] = codes.IK4_ERRORS.get(segment[3], "element error")


def read_ta1(segment: Segment) -> dict[str, Any]:
    """The verdict on an interchange: A accepted, E accepted with errors, R rejected."""
    return {
        "control_number": segment[1],
        "date": segment[2],
        "time": segment[3],
        "code": segment[4],
        "note": segment[5],
        "text": codes.TA1_NOTES.get(segment[5], ""),
    }
