"""What a file says, whatever it is: the JSON of `hub show` (INTERFACES section 3)."""

from __future__ import annotations

from typing import Any

from hub.errors import MessageUnusable
from hub.formats.coverages import answer as coverages
from hub.formats.eligibility_v3 import answer as eligibility_v3
from hub.formats.hl7v2 import Hl7, charsets, split
from hub.formats.hl7v2.structures import structure
from hub.formats.x12 import report
from hub.formats.x12.tokens import transport_error


def describe(data: bytes) -> dict[str, Any]:
    """Total: any bytes give an answer.  What is none of our formats is reported as the one it resembles more."""
    head = data.lstrip(b"\xef\xbb\xbf \t\r\n\x0b")[:512]
    for form in (eligibility_v3, coverages) if head[:1] == b"{" else ():
        if form.is_answer(data):
            return _empty_as_null(form.describe(data))  # type: ignore[no-any-return]
    if b"ISA" in head and head[:3].upper() not in (b"MSH", b"FHS", b"BHS"):
        return _empty_as_null(report.describe(data))  # type: ignore[no-any-return]
    return describe_hl7(data)


def _empty_as_null(value: Any) -> Any:
    """Segments told element by element (lists within lists) keep their empty ones: there the place says what it is."""
    if isinstance(value, dict):
        return {name: _empty_as_null(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [item if isinstance(item, list) else _empty_as_null(item) for item in value if item != ""]
    return None if value == "" else value


def describe_hl7(data: bytes) -> dict[str, Any]:
    parts, batch_findings = split(data)
    findings = [_finding("warning", "HL7-BATCH", text) for text in batch_findings]
    if not parts:
        reason = transport_error(data[:512].decode("latin-1")) or ""
        text = "the file is empty" if "empty" in reason else "there is no MSH segment, so this is no HL7 v2 message"
        findings.append(_finding("error", "HL7-100", text))
    return {"format": "hl7v2", "findings": findings, "messages": [_message(part.body) for part in parts]}


def _message(body: bytes) -> dict[str, Any]:
    try:
        message = Hl7(body)
    except MessageUnusable as error:
        return _unreadable(str(error), error.code)
    code, trigger = message.get("MSH-9.1") or "", message.get("MSH-9.2") or ""
    return {
        "type": message.type or None,
        "structure": structure(code, trigger) if code else None,
        "control_id": message.control_id or None,
        "version": message.get("MSH-12.1"),
        "encoding": charsets.name(message.encoding),
        "sender": {"application": message.get("MSH-3.1"), "facility": message.get("MSH-4.1")},
        "receiver": {"application": message.get("MSH-5.1"), "facility": message.get("MSH-6.1")},
        "patient": {
            "id": message.get("PID-3.1"),
            "family": message.get("PID-5.1.1"),
            "given": message.get("PID-5.2"),
            "birth_date": message.get("PID-7"),
            "sex": message.get("PID-8"),
        },
        "appointment": {
            "placer_id": message.get("SCH-1.1"),
            "filler_id": message.get("SCH-2.1"),
            "starts_at": _start(message) if message.places("SCH") else None,
        },
        "segments": message.ids,
        "findings": [*_header_findings(message), *(_finding("warning", "HL7-CHARSET", text) for text in message.findings)],
    }


def _start(message: Hl7) -> str | None:
    """When the visit begins, wherever senders put it; of several services or resources the earliest counts."""
    for path in ("TQ1-7", "SCH-11.4", "AIS[*]-4", "AIP[*]-6", "AIL[*]-6", "AIG[*]-8", "PV1-44"):
        if times := [time for time in message.get_all(path) if time != '""']:
            return min(times)
    return None


def _header_findings(message: Hl7) -> list[dict[str, Any]]:
    found = []
    for path, level, text in (
        ("MSH-9.1", "error", "the message type is missing"),
        ("MSH-10", "error", "the control id is missing"),
        ("MSH-12.1", "warning", "the version is missing"),
    ):
        if not (message.get(path) or "").strip():
            field = path.split(".")[0]
            found.append(_finding(level, f"HL7-{field}", text, segment=1, id="MSH", element=int(field[4:])))
    return found


def _finding(
    level: str, code: str, text: str, *, segment: int | None = None, id: str | None = None, element: int | None = None
) -> dict[str, Any]:
    return {"level": level, "code": code, "segment": segment, "id": id, "element": element, "text": text}


def _unreadable(text: str, code: str) -> dict[str, Any]:
    nobody = {"application": None, "facility": None}
    return {
        "type": None,
        "structure": None,
        "control_id": None,
        "version": None,
        "encoding": None,
        "sender": nobody,
        "receiver": nobody,
        "patient": dict.fromkeys(("id", "family", "given", "birth_date", "sex")),
        "appointment": dict.fromkeys(("placer_id", "filler_id", "starts_at")),
        "segments": [],
        "findings": [_finding("error", code, text)],
    }
