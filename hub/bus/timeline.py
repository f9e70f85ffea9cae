"""The timeline of a message, a control id, a patient or an appointment: everything that happened, in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from hub.bus.core import Core
from hub.bus.filing import SECRET_KINDS
from hub.errors import NotFound
from hub.moments import from_micros
from hub.units import iso

MASK = "****"
"""Stands for what a look without `--phi` does not show."""
MOST_MESSAGES = 5000
_KINDS = ("appointment", "placer", "control", "patient", "member", "trace", "partner")
_ENDS = {
    "delivered": "delivered",
    "quarantined": "quarantined",
    "held": "held",
    "unknown": "unknown",
    "skipped": "skipped",
    "parked": "parked",
}


class TraceParams(BaseModel):
    """`trace`."""

    model_config = ConfigDict(extra="forbid")

    id: str
    phi: bool = False


class Timeline:
    """Builds timelines from the journal."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def trace(self, params: TraceParams) -> dict[str, Any]:
        """Entries in order; or, when a control id was used for several messages, a list of these."""
        reader = self._core.reader
        row = await reader.message(params.id)
        if row is not None:
            return {"entries": await self._entries(await self._family(row), params.phi), "matches": []}
        found = await self._known_under(params.id)
        if not found:
            raise NotFound("nothing is known under this id: no message, control id, patient or appointment")
        seqs = sorted({seq for of_kind in found.values() for seq in of_kind})
        one_story = any(len(of_kind) == len(seqs) for kind, of_kind in found.items() if kind != "control")
        if len(seqs) > 1 and not one_story:
            return {"entries": [], "matches": [_match(r) for r in await reader.messages_by_seq(seqs)]}
        if not one_story:
            [row] = await reader.messages_by_seq(seqs)
            seqs = await self._family(row)
        return {"entries": await self._entries(seqs, params.phi), "matches": []}

    async def is_no_patient(self, id: str) -> bool:
        """True when the id is surely no patient's: that of a message, an appointment or a control id and nothing else."""
        if await self._core.reader.message(id) is not None:
            return True
        found = await self._known_under(id)
        return bool(found) and not SECRET_KINDS & found.keys()

    async def _known_under(self, id: str) -> dict[str, list[int]]:
        """The seqs of the messages that have the id, by the kind of id it is there."""
        found = {}
        for kind in _KINDS:
            seqs = await self._core.reader.seqs_with_key([kind], [self._core.filing.value(kind, id)], limit=MOST_MESSAGES)
            if seqs:
                found[kind] = seqs
        return found

    async def _family(self, row: Any) -> list[int]:
        """The seqs of a message, of those it was made of and those made of it."""
        top = row
        while top.parent is not None and (parent := await self._core.reader.message(top.parent)) is not None:
            top = parent
        found, generation = [top], [top.id]
        while generation and len(found) < MOST_MESSAGES:
            children = await self._core.reader.children(generation)
            found += children
            generation = [child.id for child in children]
        return [message.seq for message in found]

    async def _entries(self, seqs: Sequence[int], phi: bool) -> list[dict[str, Any]]:
        reader = self._core.reader
        rows = {row.seq: row for row in await reader.messages_by_seq(seqs)}
        works = await reader.works_of(seqs)
        by_work = {work.id: work for work in works}
        moments: list[tuple[int, int, int, dict[str, Any]]] = []

        def add(row: Any, at: int, place: int, what: str, text: str) -> None:
            entry = {"seq": row.seq, "at": iso(from_micros(at)), "what": what, "message": row.id, "connection": row.connection}
            moments.append((at, row.seq, place, entry | {"type": row.type or None, "text": text}))

        for row in rows.values():
            what, text = _beginning(row)
            add(row, row.at, 0, what, text)
        for attempt in await reader.attempts_of(list(by_work)):
            add(rows[by_work[attempt.work].seq], attempt.at, 1, "failed", f"Attempt {attempt.number}: {attempt.text}")
        for note in await reader.notes_of(seqs):
            text, plain = self._core.bodies.note_text(note.seq, note.what, note.text)
            add(rows[note.seq], note.at, 2, note.what, text if phi or plain else MASK)
        for work in works:
            if work.state in _ENDS:
                add(rows[work.seq], work.at, 3, _ENDS[work.state], _ending(work))
        return [entry for _, _, _, entry in sorted(moments, key=lambda moment: moment[:3])]


def _match(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "seq": row.seq,
        "at": iso(from_micros(row.at)),
        "connection": row.connection,
        "type": row.type or None,
    }


def _beginning(row: Any) -> tuple[str, str]:
    if row.direction == "own":
        return (
            ("failure", f"A failure in {row.connection} is looked after")
            if row.format == "failure"
            else ("due", f"{row.connection} is due")
        )
    if row.flag == "edited":
        return "edited", f"{row.type or row.format} sent again by a person, edited"
    if row.direction == "out":
        return "queued", f"{row.type or row.format} for {row.connection}"
    if row.parent is not None:
        return "answered", f"{row.connection} answered with {row.type or row.format}"
    if row.state == "refused":
        return "refused", row.reason or "Answered negatively"
    flag = f" ({row.flag})" if row.flag else ""
    return "received", f"{row.type or row.format} from {row.connection}{flag}"


def _ending(work: Any) -> str:
    kind, _, name = work.target.partition(":")
    who = f"flow {name}" if kind == "flow" else name
    match work.state:
        case "delivered":
            return f"Done by {who}" if kind == "flow" else f"Taken by {who}" + (f" ({work.answer})" if work.answer else "")
        case "parked":
            return f"{who} waits for an answer"
        case _:
            return (
                f"{who}: {work.reason}"
                if work.reason and not work.reason.startswith(("flow", "connection"))
                else work.reason or who
            )
