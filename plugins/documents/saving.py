"""Documents the EHR sends, with their patients: what is new, what replaces or adds to what, and what was cancelled.

Nothing is ever deleted.
"""

from __future__ import annotations

from hub import Context, MessageUnusable, RecordKey
from hub.people import usable
from hub.records import Document

_SAID = {
    "new": "New document",
    "status": "Document changed its state",
    "addendum": "Addendum to a document",
    "edited": "Document edited",
    "replacement": "Document replaced by a new one",
    "cancelled": "Document cancelled",
}


async def save_document(update: Document, context: Context) -> Document:
    """Merges what a message says into the document; what it does not speak of, its content too, stays.

    Bytes that a message brought are handed to the store, which keeps them once.
    """
    if not update.id:
        raise MessageUnusable("the document has no id (TXA-12, OBR-3)", code="DOC-020")
    known = await context.get(Document, update.id)
    said = update.model_fields_set - {"patient", "patient_id", "replaced_by", "addenda"}
    document = (known or Document(id=update.id)).model_copy(update={name: getattr(update, name) for name in said})
    if update.patient_id:
        document = document.model_copy(update={"patient_id": update.patient_id})
    if update.patient is not None and usable(update.patient.identifiers):
        chart = await context.save(update.patient.model_copy(update={"provisional": True}))
        document = document.model_copy(update={"patient_id": chart.id})
    if document.content is not None:
        kept = await context.keep(document.content)
        document = document.model_copy(update={"kept": kept, "content": None})
    elif "content" in said:
        document = document.model_copy(update={"kept": None})
    await context.put(document)
    if update.parent and update.parent != update.id:
        await _act_on_parent(update, update.parent, context)
    context.note("document", _SAID[update.event], plain=True)
    return document


async def _act_on_parent(update: Document, parent: str, context: Context) -> None:
    """An edit or a replacement takes the place of the document in TXA-13, an addendum is listed there; each stays as it was."""
    known = await context.get(Document, parent)
    if known is None:
        context.note("document", "The document that this one speaks of (TXA-13) is not known here", plain=True)
    elif update.event in ("replacement", "edited"):
        await context.put(known.model_copy(update={"replaced_by": update.id}))
    elif update.event == "addendum" and update.id not in known.addenda:
        await context.put(known.model_copy(update={"addenda": [*known.addenda, update.id]}))


def document_keys(document: Document) -> list[RecordKey]:
    keys = {"patient": document.patient_id, "filing": document.filing, "appointment": document.appointment}
    return [RecordKey(name, value) for name, value in keys.items() if value]
