"""What we say about what we received: TA1 for an interchange, 999 (005010X231A1) for a group.

Accepted (A), accepted with errors (E) where findings are warnings, refused (R) where one is an error.  What can be read is used
in any case: the verdict is about the form.  A 999 or TA1 is never answered.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby

from hub.formats.x12.check import check
from hub.formats.x12.envelope import Group, Interchange, Transaction, read
from hub.formats.x12.schema import schema
from hub.formats.x12.tokens import Finding, Segment
from hub.formats.x12.write import Line, Parties, clean, interchange, transaction

ANSWERED = ("270", "271", "276", "277")
"""Transaction sets a 999 is written for."""
_TA1_NOTES = {
    "X12-ISA-LENGTH": "024",
    "X12-ISA11": "024",
    "X12-IEA01": "021",
    "X12-IEA02": "001",
    "X12-IEA-MISSING": "023",
}
_GROUP_ERRORS = {
    "X12-GS01": "1",
    "X12-VERSION": "2",
    "X12-GS08": "2",
    "X12-GE-MISSING": "3",
    "X12-GE02": "4",
    "X12-GE01": "5",
}
"""AK905 on (data element 716)."""
_SET_ERRORS = {"X12-SE-MISSING": "2", "X12-SE02": "3", "X12-SE01": "4"}
"""IK502 on (data element 618)."""
_TOKEN_ERRORS = {"X12-SEGMENT-ID": ("1", None), "X12-TOO-LONG": ("8", "5")}
"""IK304 and IK403 of what the tokeniser finds."""
MOST_ERRORS = 100
"""So many faulty segments of one set are told."""


def build_replies(data: bytes, *, control_number: int, now: datetime, duplicate: bool = False) -> bytes | None:
    """TA1 and 999s for what came, in one interchange to its sender; None when nothing wants an answer.

    A TA1 is written where ISA14 asks for it, and where the interchange itself is wrong or a duplicate.  `control_number` is the
    one of the interchange we send (1 to 999,999,999), `now` the time at our place.  Of several interchanges in a file the first
    names the partner.
    """
    file = read(data)
    ta1 = [line for one in file.interchanges if (line := _ta1(one, duplicate=duplicate)) is not None]
    groups = [group for one in file.interchanges for group in one.groups if _wants_999(group)]
    if not (ta1 or groups):
        return None
    sets = [transaction("999", f"{number:04d}", _verdict(group)) for number, group in enumerate(groups, 1)]
    return interchange(
        _back_to(file.interchanges[0]),
        control_number=control_number,
        now=now,
        groups=[("999", sets)] if sets else [],
        before=ta1,
        code="X12-999",
    )


def _back_to(received: Interchange) -> Parties:
    header = received.header
    group = received.groups[0].header if received.groups else header
    return Parties(
        sender=header[8],
        receiver=header[6],
        usage=header[15] if header[15] in ("T", "P") else "T",
        sender_qualifier=_two(header[7]),
        receiver_qualifier=_two(header[5]),
        group_sender=group[3] if received.groups else "",
        group_receiver=group[2] if received.groups else "",
    )


def _two(qualifier: str) -> str:
    return qualifier if len(qualifier) == 2 and qualifier.isascii() and qualifier.isalnum() else "ZZ"


def _ta1(received: Interchange, *, duplicate: bool) -> Line | None:
    header = received.header
    note, code = "000", "A"
    for finding in received.findings:
        if finding.code in _TA1_NOTES:
            note, code = _TA1_NOTES[finding.code], "R" if finding.level == "error" else "E"
            break
    if duplicate:
        note, code = "025", "R"
    if note == "000" and (header[14] != "1" or not received.count):
        return None
    number = header[13] if header[13].isdecimal() and len(header[13]) <= 9 else "0"
    return ["TA1", f"{int(number):09d}", _digits(header[9], 6), _digits(header[10], 4), code, note]


def _digits(text: str, count: int) -> str:
    return text if len(text) == count and text.isascii() and text.isdecimal() else "0" * count


def _wants_999(group: Group) -> bool:
    return any(one.set in ANSWERED for one in group.transactions)


def _verdict(group: Group) -> list[Line]:
    verdicts = [_about_set(one) for one in group.transactions]
    accepted = sum(lines[-1][1] in ("A", "E") for lines in verdicts)
    errors = list(dict.fromkeys(_GROUP_ERRORS[f.code] for f in group.findings if f.code in _GROUP_ERRORS))
    wrong = any(f.level == "error" for f in group.findings)
    if not accepted or (wrong and "2" in errors):
        result = "R"
    elif accepted < len(verdicts):
        result = "P"
    else:
        result = "E" if errors or any(lines[-1][1] == "E" for lines in verdicts) else "A"
    header = group.header
    kind = clean(header[1], 2)
    return [
        ["AK1", kind if len(kind) == 2 else "HB", _number(header[6]), clean(group.version, 12)],
        *(line for lines in verdicts for line in lines),
        ["AK9", result, str(group.count), str(len(verdicts)), str(accepted), *errors[:5]],
    ]


def _number(text: str) -> str:
    return text if text.isascii() and text.isdecimal() and len(text) <= 9 else "0"


def _about_set(received: Transaction) -> list[Line]:
    """AK2 to IK5 about one transaction set."""
    kind, number = clean(received.set, 3), clean(received.control_number, 9)
    opened: list[Line] = [["AK2", f"{kind:0>3}", f"{number:0>4}", clean(received.segments[0][3], 35)]]
    if not received.readable or schema(received.set) is None:
        return [*opened, ["IK5", "R", "I6" if not received.readable else "1"]]
    found = [*received.findings, *check(received)]
    placed = sorted((f for f in map(_with_place, found) if f is not None), key=lambda f: (f.segment or 0, f.id or ""))
    lines: list[Line] = []
    for count, (_, same) in enumerate(groupby(placed, key=lambda f: (f.segment, f.id))):
        if count < MOST_ERRORS:
            lines += _about_segment(received, list(same))
    reasons = list(dict.fromkeys(_SET_ERRORS[f.code] for f in found if f.code in _SET_ERRORS))
    if placed:
        reasons.append("5" if any(f.level == "error" for f in placed) else "I5")
    refused = any(f.level == "error" for f in found)
    verdict = "R" if refused else "E" if placed else "A"
    return [*opened, *lines, ["IK5", verdict, *reasons[:5]]]


def _with_place(finding: Finding) -> Finding | None:
    """A finding with the codes of IK3 and IK4; None for one that a 999 has no words for."""
    from dataclasses import replace

    if finding.ik3 is None and finding.code in _TOKEN_ERRORS:
        ik3, ik4 = _TOKEN_ERRORS[finding.code]
        finding = replace(finding, ik3=ik3, ik4=ik4 if finding.element else None)
    return finding if finding.ik3 is not None and finding.id and finding.segment else None


def _about_segment(received: Transaction, findings: Sequence[Finding]) -> Iterable[Line]:
    """IK3, its context, and an IK4 for each faulty element; an error of the whole segment goes before one of its elements."""
    first = next((f for f in findings if f.ik4 is None), findings[0])
    loop = (first.loop or "")[:4]
    position = first.segment or 0
    yield ["IK3", first.id or "", str(position), loop, first.ik3 or "8"]
    if first.ik3 == "I6":
        yield ["CTX", ("SITUATIONAL TRIGGER",), first.id or "", str(position), loop]
    if trace := _trace(received.segments, position):
        yield ["CTX", ("TRN02", trace)]
    if first.ik3 != "8":
        return
    for finding in findings:
        if finding.ik4 is not None and finding.element:
            reference = finding.reference or ""
            place = (str(finding.element), str(finding.component or ""), str(finding.repetition or ""))
            yield ["IK4", place, reference if reference.isdecimal() else "", finding.ik4]


def _trace(segments: Sequence[Segment], position: int) -> str:
    """The trace number of the person whose level this segment stands in: the business unit of a 999."""
    at = min(position, len(segments)) - 1
    while at > 0 and segments[at].id != "HL":
        at -= 1
    for segment in segments[at + 1 : at + 12]:
        if segment.id == "HL":
            return ""
        if segment.id == "TRN":
            return clean(segment[2], 35)
    return ""
