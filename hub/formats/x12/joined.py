"""Many 270s that were written one by one, as one interchange: what leaves when a payer takes batches.

A mapping writes each question as an interchange of its own; here their transaction sets move into one group, numbered 0001 on.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from hub.errors import MessageUnusable
from hub.formats.x12.envelope import Interchange, read
from hub.formats.x12.tokens import Delimiters, Segment
from hub.formats.x12.write import Element, Line, Parties, interchange, transaction

_CODE = "X12-270"


class Joined(NamedTuple):
    """A file of questions."""

    body: bytes
    taken: Sequence[int]
    """Places of the questions that are in it, in its order; others go to another receiver, or are none."""


def join_270s(questions: Sequence[bytes], *, control_number: int, now: datetime) -> Joined:
    """One interchange with one group of all questions that have the sender, receiver and usage of the first that is one.

    `control_number` (1 to 999,999,999) becomes ISA13 and GS06; trace numbers stay as they are.  `now` is the time of the
    sender's place.  Raises MessageUnusable when none of them is a 270.
    """
    parties: Parties | None = None
    taken: list[int] = []
    sets: list[list[Line]] = []
    for place, question in enumerate(questions):
        found = _one_270(question)
        if found is None or (parties is not None and _parties(found) != parties):
            continue
        parties = _parties(found)
        taken.append(place)
        segments = found.groups[0].transactions[0].segments[1:-1]
        body = [_line(segment, found.delimiters) for segment in segments]
        sets.append(transaction("270", f"{len(sets) + 1:04d}", body))
    if parties is None:
        raise MessageUnusable("there is no 270 to make a batch of", code=_CODE)
    return Joined(interchange(parties, control_number=control_number, now=now, groups=[("270", sets)], code=_CODE), taken)


def is_270(question: bytes) -> bool:
    """Whether it can be a part of a batch."""
    return _one_270(question) is not None


def _one_270(question: bytes) -> Interchange | None:
    """The interchange of a question that holds one 270 from ST to SE."""
    interchanges = read(question).interchanges
    sets = [one for found in interchanges for group in found.groups for one in group.transactions]
    if len(interchanges) != 1 or len(sets) != 1 or sets[0].set != "270" or not sets[0].readable:
        return None
    return interchanges[0] if sets[0].segments[-1].id == "SE" else None


def _parties(found: Interchange) -> Parties:
    header, group = found.header, found.groups[0].header
    return Parties(header[6], header[8], header[15], header[5], header[7], group[2], group[3], found.delimiters)


def _line(segment: Segment, separators: Delimiters) -> Line:
    return [segment.id, *(_element(text, separators) for text in segment.elements)]


def _element(text: str, separators: Delimiters) -> Element:
    """A value with its repetitions or components apart, as what writes it wants them; a 270 has none with both."""
    if separators.repetition and separators.repetition in text:
        return text.split(separators.repetition)
    return tuple(text.split(separators.component)) if separators.component in text else text
