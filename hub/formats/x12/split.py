"""A file of answers, taken apart: each answer on its own, with the numbers by which its question is found.

A partner that is asked in batches, or answers later, drops files with many answers: 271s of many patients, 999s about a group,
a TA1 about an interchange.  Each part is an interchange of its own again, so that whatever reads one answer reads it too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hub.formats.x12.acknowledgements import ACCEPTED, read_999, read_ta1
from hub.formats.x12.eligibility import Eligibility, Patient, read_eligibility
from hub.formats.x12.envelope import Interchange, Transaction, read
from hub.formats.x12.tokens import Delimiters, Segment

_WIDTHS = (2, 10, 2, 10, 2, 15, 2, 15, 6, 4, 1, 5, 9, 1, 1, 1)
"""Of the elements of an ISA."""


@dataclass(frozen=True, slots=True)
class AnswerPart:
    """One answer of a file."""

    kind: str
    """271, 999 or TA1."""
    body: bytes
    traces: Sequence[str] = ()
    """Trace numbers it carries: TRN02 of the patient, else BHT03."""
    control_number: str = ""
    """Of a 999 the group it is about (AK102), of a TA1 the interchange (TA101), both without leading zeros."""
    set_number: str = ""
    """Of a 999 the transaction set it is about (AK202); empty when it is about the whole group."""


@dataclass(frozen=True, slots=True)
class AnswerFile:
    """What a file of answers holds."""

    parts: Sequence[AnswerPart]
    unread: int
    """Transaction sets that answer no question about eligibility, or cannot be read."""


def split_answers(data: bytes) -> AnswerFile:
    """Every answer of a file: one part for each patient of a 271, for each refusal of a 999 and of a TA1.

    Acknowledgements that accept are no answers: the 271 is still to come.  Total: any bytes give a result, none an exception.
    In a 271 about several patients the segments of a part are counted in that part.
    """
    parts: list[AnswerPart] = []
    unread = 0
    for interchange in read(data).interchanges:
        parts += _refused_interchanges(interchange)
        for transaction in (one for group in interchange.groups for one in group.transactions):
            found = list(_parts_of(transaction, interchange))
            parts += found
            unread += not found and not (transaction.set == "999" and transaction.readable)
    return AnswerFile(parts, unread)


def _parts_of(transaction: Transaction, interchange: Interchange) -> Iterator[AnswerPart]:
    if not transaction.readable:
        return
    if transaction.set == "271":
        yield from _patients(transaction, interchange)
    elif transaction.set == "999":
        body = _body(interchange, transaction, transaction.segments)
        for verdict in read_999(transaction):
            if verdict.refused:
                yield AnswerPart("999", body, (), verdict.group.lstrip("0"), verdict.control_number)


def _refused_interchanges(interchange: Interchange) -> Iterator[AnswerPart]:
    for segment in interchange.acknowledgements:
        verdict = read_ta1(segment)
        if verdict["code"] not in ACCEPTED:
            lines = [_isa(interchange.header, interchange.delimiters), segment, Segment("IEA", ["0", interchange.header[13]])]
            yield AnswerPart("TA1", _bytes(lines, interchange.delimiters), (), verdict["control_number"].lstrip("0"))


def _patients(transaction: Transaction, interchange: Interchange) -> Iterator[AnswerPart]:
    reply = read_eligibility(transaction)
    if len(reply.patients) < 2:  # one patient, or a rejection above all patients
        body = _body(interchange, transaction, transaction.segments)
        yield AnswerPart("271", body, _traces(reply, reply.patients[0] if reply.patients else None))
        return
    for patient in reply.patients:
        body = _body(interchange, transaction, _only(transaction, patient))
        yield AnswerPart("271", body, _traces(reply, patient))


def _traces(reply: Eligibility, patient: Patient | None) -> Sequence[str]:
    named = [number for _, number in patient.level.traces if number] if patient is not None else []
    return named or ([reply.reference] if reply.reference else [])


def _only(transaction: Transaction, patient: Patient) -> list[Segment]:
    """The segments of one patient with those of the levels above, and a trailer with the right count."""
    segments = transaction.segments
    starts = [index for index, segment in enumerate(segments) if segment.id == "HL"]
    ends = dict(zip(starts, [*starts[1:], _end(segments)], strict=True))
    levels = [patient.payer, patient.provider, patient.subscriber, *([patient.dependent] if patient.dependent else [])]
    kept = segments[: starts[0]]
    numbered = [level for level in levels if level.segment]
    for number, level in enumerate(numbered, 1):
        own = segments[level.segment - 1 : ends[level.segment - 1]]
        below = "1" if number < len(numbered) else "0"
        kept = [*kept, Segment("HL", [str(number), str(number - 1) if number > 1 else "", level.kind, below]), *own[1:]]
    return [*kept, Segment("SE", [str(len(kept) + 1), transaction.control_number])]


def _end(segments: Sequence[Segment]) -> int:
    return len(segments) - 1 if segments and segments[-1].id == "SE" else len(segments)


def _body(interchange: Interchange, transaction: Transaction, segments: Sequence[Segment]) -> bytes:
    number = interchange.header[13]
    lines: list[Segment] = [_isa(interchange.header, interchange.delimiters)]
    group = transaction.group.header if transaction.group is not None and transaction.group.position else None
    if group is not None:
        lines += [group, *segments, Segment("GE", ["1", group[6]])]
    else:
        lines += segments
    lines.append(Segment("IEA", ["1" if group is not None else "0", number]))
    return _bytes(lines, interchange.delimiters)


def _isa(header: Segment, delimiters: Delimiters) -> Segment:
    """With its elements as wide as they must be, and one component separator at its end."""
    given = [header[number] for number in range(1, 16)]
    given[10] = delimiters.repetition or given[10]
    padded = [f"{value:<{width}}"[:width] for value, width in zip(given, _WIDTHS, strict=False)]
    return Segment("ISA", [*padded, delimiters.component])


def _bytes(lines: Sequence[Segment], delimiters: Delimiters) -> bytes:
    text = "".join(delimiters.element.join([line.id, *line.elements]) + delimiters.segment for line in lines)
    return text.encode("utf-8", "surrogateescape")
