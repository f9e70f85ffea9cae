"""What people ask of documents: the list, one of them, whose it is, and cover sheets."""

from __future__ import annotations

from base64 import b64encode
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from hub import Appointment, Context, Operation, Patient
from hub.errors import NotFound, Refused
from hub.people import current_chart, usable
from hub.records import Document
from hub.step import Due
from hub.units import iso
from plugins.documents.covers import print_cover
from plugins.documents.matching import Match, find_chart
from plugins.documents.records import Filing
from plugins.documents.settling import JOB, belongs, reject, settle, wait

OPEN = ("received", "waiting", "matched")
_MOST = 1000


class _Params(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class ListParams(_Params):
    """Which documents to list."""

    state: Literal["received", "matched", "waiting", "filed", "rejected"] | None = None
    """Default: all that are neither filed nor rejected."""
    patient: str | None = None
    """All of one chart, by its number."""


class DocumentParams(_Params):
    """One document."""

    id: str


class MatchParams(DocumentParams):
    """Whose it is; without a patient or an appointment what it says is looked at again."""

    patient: str | None = None
    appointment: str | None = None
    kind: str | None = None


class RejectParams(DocumentParams):
    """Why it belongs in no chart."""

    why: str


class FileParams(DocumentParams):
    """File it now."""

    again: bool = False
    """Also one that is on its way, for which no answer is to be expected any more."""


class CoverParams(_Params):
    """For whom a cover sheet is."""

    appointment: str | None = None
    patient: str | None = None
    kind: str = ""


# Looking.


async def list_documents(params: ListParams, context: Context) -> list[dict[str, Any]]:
    """A line for each document, oldest first."""
    if params.patient is not None:
        chart = await _chart_with(params.patient, context)
        documents = await context.find(Document, "patient", chart.id, limit=_MOST)
        documents = [one for one in documents if params.state in (None, one.filing)]
    else:
        states = (params.state,) if params.state else OPEN
        documents = [one for state in states for one in await context.find(Document, "filing", state, limit=_MOST)]
    lines = [await _line(document, context) for document in documents]
    return sorted(lines, key=lambda line: (line["received_at"] or "", line["id"]))


async def show_document(params: DocumentParams, context: Context) -> dict[str, Any]:
    """Everything known about one document but its bytes."""
    document = await _document(params.id, context)
    filing = await context.get(Filing, document.id) or Filing(id=document.id)
    charts = [await current_chart(id, context) for id in filing.charts]
    return await _line(document, context) | {
        "author": document.author,
        "written_at": iso(document.written_at) if document.written_at else None,
        "size": document.kept.size if document.kept else None,
        "has_text": document.has_text,
        "trouble": document.trouble,
        "sender": filing.sender or None,
        "partner_ids": document.partner_ids,
        "clues": [clue.model_dump() for clue in filing.clues],
        "charts": [_person(chart) for chart in charts if chart is not None],
        "by": filing.by or None,
        "out": filing.out,
        "tries": filing.tries,
        "filed_at": iso(filing.filed_at) if filing.filed_at else None,
    }


async def content_of(params: DocumentParams, context: Context) -> dict[str, Any]:
    """The bytes of a document, in base64."""
    document = await _document(params.id, context)
    if document.kept is None:
        raise Refused(f"the bytes of the document {document.id} are not kept here")
    content = await context.content(document.kept)
    return {"id": document.id, "media_type": document.media_type, "content": b64encode(content).decode()}


async def _line(document: Document, context: Context) -> dict[str, Any]:
    filing = await context.get(Filing, document.id) or Filing(id=document.id)
    chart = await current_chart(document.patient_id, context)
    return {
        "id": document.id,
        "state": document.filing,
        "source": document.source,
        "received_at": iso(document.received_at) if document.received_at else None,
        "kind": document.kind,
        "title": document.title,
        "pages": document.pages,
        "media_type": document.media_type,
        "patient": _person(chart) if chart is not None else None,
        "appointment": document.appointment,
        "why": filing.why or None,
        "file_at": iso(filing.file_at) if filing.file_at and document.filing == "matched" else None,
    }


def _person(chart: Patient) -> dict[str, Any]:
    numbers = usable(chart.identifiers)
    name = chart.name
    return {
        "id": numbers[0].value if numbers else "",
        "name": " ".join(part for part in (name.given, name.middle, name.family) if part),
        "birth_date": name.birth_date.isoformat() if name.birth_date else None,
    }


# Deciding.


async def match_document(params: MatchParams, context: Context) -> dict[str, Any]:
    """A person says whose it is; or what it says is looked at again, with the charts there are now."""
    document, filing = await _undecided(params.id, context)
    if params.kind is not None:
        document = document.model_copy(update={"kind": params.kind})
    if params.patient is None and params.appointment is None:
        return await _line(await settle(document, filing, await find_chart(filing.clues, context), context), context)
    chart, appointment = await _meant(params.patient, params.appointment, context)
    id = appointment.id if appointment is not None else ""
    return await _line(await belongs(document, filing, chart, id, context, by=context.actor), context)


async def reject_document(params: RejectParams, context: Context) -> dict[str, Any]:
    """It belongs in no chart: advertising, not for this clinic."""
    document, filing = await _undecided(params.id, context)
    return await _line(await reject(document, filing, params.why, context), context)


async def undo(params: DocumentParams, context: Context) -> dict[str, Any]:
    """Takes back a match or a rejection, as long as the document is not on its way to the EHR; it waits for a person again."""
    document, filing = await _with_filing(params.id, context)
    if document.filing not in ("matched", "rejected"):
        raise Refused(f"the document {document.id} is {document.filing}; there is nothing to take back")
    if filing.out:
        raise Refused(f"the document {document.id} is on its way to the EHR; correct it there")
    return await _line(await wait(document, filing, Match(why="what was decided was taken back"), context), context)


async def file_now(params: FileParams, context: Context) -> dict[str, Any]:
    """Files a matched document without waiting, or once more after it failed."""
    document, filing = await _with_filing(params.id, context)
    if document.filing != "matched":
        raise Refused(f"the document {document.id} is {document.filing}; only a matched one can be filed")
    if filing.out and not params.again:
        raise Refused(f"the document {document.id} is on its way to the EHR; with --again it is sent once more")
    await context.put(filing.model_copy(update={"file_at": context.now, "out": False}))
    context.plan(Due(JOB, document.id, context.now, {"document": document.id}, lane=document.id))
    return await _line(document, context)


async def cover_sheet(params: CoverParams, context: Context) -> dict[str, Any]:
    """A cover sheet as PDF, in base64."""
    chart, appointment = await _meant(params.patient, params.appointment, context)
    sheet, content = await print_cover(chart, appointment, params.kind, context)
    return {"id": sheet.id, "content": b64encode(content).decode()}


async def _undecided(id: str, context: Context) -> tuple[Document, Filing]:
    document, filing = await _with_filing(id, context)
    if document.filing in ("received", "waiting"):
        return document, filing
    hint = "; take that back first: hub documents undo" if document.filing in ("matched", "rejected") else ""
    raise Refused(f"the document {document.id} is {document.filing}{hint}")


async def _with_filing(id: str, context: Context) -> tuple[Document, Filing]:
    document = await _document(id, context)
    filing = await context.get(Filing, document.id)
    if filing is None:
        raise Refused(f"the document {document.id} came from the EHR, and is in its chart")
    return document, filing


async def _document(id: str, context: Context) -> Document:
    document = await context.get(Document, id)
    if document is None:
        raise NotFound(f"there is no document {id}")
    context.key("document", document.id)
    return document


async def _meant(patient: str | None, appointment: str | None, context: Context) -> tuple[Patient, Appointment | None]:
    """The chart, and the appointment where one is named; raises Refused when they do not belong together."""
    if appointment is None:
        if patient is None:
            raise Refused("name a patient or an appointment")
        return await _chart_with(patient, context), None
    found = await context.get(Appointment, appointment)
    if found is None:
        raise NotFound(f"there is no appointment {appointment}")
    chart = await current_chart(found.patient_id, context)
    if chart is None:
        raise Refused(f"the patient of the appointment {appointment} is not known")
    if patient is not None and (await _chart_with(patient, context)).id != chart.id:
        raise Refused(f"the appointment {appointment} is that of another patient")
    return chart, found


async def _chart_with(number: str, context: Context) -> Patient:
    """The one chart with this number; `AUTHORITY|NUMBER` where several systems use the same ones."""
    key = "identifier" if "|" in number else "number"
    charts = await context.find(Patient, key, number, limit=2)
    if not charts:
        raise NotFound("no chart has this number")
    if len(charts) > 1:
        raise Refused("several charts have this number; write it with who assigned it: AUTHORITY|NUMBER")
    return charts[0]


OPERATIONS = [
    Operation("documents.list", "Documents on their way into a chart.", ListParams, list_documents),
    Operation("documents.show", "One document.", DocumentParams, show_document),
    Operation("documents.content", "The bytes of a document.", DocumentParams, content_of),
    Operation("documents.match", "Say whose a document is.", MatchParams, match_document),
    Operation(
        "documents.reject", "Say that a document belongs in no chart.", RejectParams, reject_document, frozenset({"why"})
    ),
    Operation("documents.undo", "Take back a match or a rejection.", DocumentParams, undo),
    Operation("documents.file", "File a matched document now.", FileParams, file_now),
    Operation("documents.cover", "Print a cover sheet.", CoverParams, cover_sheet),
]
