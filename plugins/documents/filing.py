"""Filing: a matched document goes to its chart, and is filed when the EHR says that it has it.

A flow `from: {due: file_document}` does it: a mapping writes the message, `embed_document` puts the bytes in, `ask` sends it,
and `document_filed` takes the acknowledgement.  A flow `from: {failed: ...}` with `filing_failed` shows what was refused.
"""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Mapping

from hub import Appointment, Context, Message, MessageUnusable, Prepared, Step, StepConfig, StepResult
from hub.people import current_chart, usable
from hub.records import Document, Failure
from plugins.documents.records import Filing, FilingOrder
from plugins.documents.settling import JOB, filed, filed_too_late, not_filed

_SUBTYPES = {
    "application/pdf": "PDF",
    "image/tiff": "TIFF",
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "text/plain": "PLAIN",
    "text/html": "HTML",
    "application/rtf": "RTF",
    "application/xml": "XML",
}
"""Kinds of data as HL7 table 0291 names them."""
_PIECE = 3 * 1024 * 1024
"""Bytes that are encoded in one go; a multiple of three, so that pieces can be put one behind the other."""


async def prepare_filing(payload: Mapping[str, str], context: Context) -> Prepared | None:
    """The document with its chart; None when it is not to be filed any more."""
    document = await context.get(Document, payload.get("document", ""))
    filing = await context.get(Filing, document.id) if document is not None else None
    if document is None or filing is None or document.filing != "matched" or filing.out:
        return None
    chart = await current_chart(document.patient_id, context)
    if chart is None or not usable(chart.identifiers) or document.kept is None:
        await not_filed(document, filing, "its chart has no number, or its bytes are gone", context)
        return None
    await context.put(filing.model_copy(update={"out": True, "tries": filing.tries + 1, "why": ""}))
    context.key("document", document.id)
    appointment = await context.get(Appointment, document.appointment) if document.appointment else None
    if appointment is not None:
        context.key("appointment", appointment.id)
    context.note("document", "Goes to the EHR", plain=True)
    order = FilingOrder(
        document=document,
        patient=chart,
        number=usable(chart.identifiers)[0],
        appointment=appointment,
        subtype=_SUBTYPES.get(document.media_type or "", "OCTET-STREAM"),
        content=_mark(document.id, context),
    )
    return Prepared(order, {"document": document.id, "chart": chart.id})


def _mark(id: str, context: Context) -> str:
    """Stands in a message for the bytes of a document; nobody else can write it."""
    return f"content-{context.digest('document content', id)}"


class EmbedDocument(Step[StepConfig]):
    """Puts the bytes of a document into the message that a mapping has made for it, in base64."""

    kind = "embed_document"

    async def run(self, message: Message, context: Context) -> StepResult:
        document, _ = await _known(message, context)
        if document.kept is None:
            raise MessageUnusable("the bytes of the document are not kept", code="DOC-024")
        before, mark, behind = message.body.partition(_mark(document.id, context).encode())
        if not mark:
            raise MessageUnusable("the mapping gives the document no place: it needs `content` of the order", code="DOC-025")
        content = await context.content(document.kept)
        body = await asyncio.to_thread(_embedded, before, content, behind)
        return message.derive(body, format=message.format, type=message.type)


def _embedded(before: bytes, content: bytes, behind: bytes) -> bytes:
    """Written once, piece by piece: a document may be large."""
    body = io.BytesIO()
    body.write(before)
    view = memoryview(content)
    for at in range(0, len(view), _PIECE):
        body.write(base64.b64encode(view[at : at + _PIECE]))
    body.write(behind)
    return body.getvalue()


class DocumentFiled(Step[StepConfig]):
    """Takes the acknowledgement of the EHR: the document is filed."""

    kind = "document_filed"

    async def run(self, message: Message, context: Context) -> StepResult:
        document, filing = await _known(message, context)
        chart = await current_chart(document.patient_id, context)
        meant = await current_chart(message.headers.get("chart", ""), context)
        if document.filing == "matched" and chart is not None and meant is not None and chart.id == meant.id:
            document = await filed(document, filing, context)
        elif document.filing != "filed":
            await filed_too_late(document, context)
        return message.derive(document, format="document")


class FilingFailed(Step[StepConfig]):
    """Shows a person what could not be filed and why; the document stays matched."""

    kind = "filing_failed"

    async def run(self, message: Message, context: Context) -> StepResult:
        failure = message.record or _failure(message)
        if not isinstance(failure, Failure):
            raise MessageUnusable(f"filing_failed works on a failure, but this is {message.format}", code="DOC-026")
        document, filing = await _known(message, context)
        if document.filing == "matched" and document.patient_id:
            await not_filed(document, filing, failure.reason.rstrip("."), context)
        return None


def _failure(message: Message) -> Failure | None:
    return Failure.model_validate_json(message.body) if message.format == "failure" else None


async def _known(message: Message, context: Context) -> tuple[Document, Filing]:
    id = message.headers.get("document", "")
    document, filing = await context.get(Document, id), await context.get(Filing, id)
    if document is None or filing is None:
        raise MessageUnusable("it is not said which document this is about, or it is not known here", code="DOC-023")
    return document, filing


__all__ = ["JOB", "DocumentFiled", "EmbedDocument", "FilingFailed", "prepare_filing"]
