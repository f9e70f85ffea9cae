"""Documents come in: their bytes are kept once, their pages are looked at, and what was seen goes on to the match.

What cannot be looked at (encrypted, broken, too many pages) is a document too: it waits for a person, who sees why.  What has
no pages (text, RTF, XML) is matched by what its message says of the patient, or by its text.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from hub import Context, Message, MessageUnusable, Step, StepConfig, StepResult
from hub.formats.document import media_type
from hub.formats.pages import Looked, UnusableDocument, look, to_pdf
from hub.people import usable
from hub.records import Content, Document, DocumentSource, Record
from plugins.documents.clues import of_person
from plugins.documents.records import Filing, SeenCode, SeenDocument

WORDS = 20_000
"""Characters of its text by which a mapping tells the kind of a document."""
_PLAIN_TEXT = 1_000_000
"""Bytes of a text without pages that are read."""


class ReceiveDocumentConfig(StepConfig):
    """Settings of `receive_document`."""

    source: DocumentSource
    """Which way documents come here: fax, scan, mail, hl7, signing, person."""
    as_pdf: bool = True
    """Keep scans and faxes (TIFF, JPEG, PNG) as PDF."""


class ReceiveDocument(Step[ReceiveDocumentConfig]):
    """Keeps a document from outside and looks at its pages; `match_document` finds its chart."""

    kind = "receive_document"
    main = "source"

    async def run(self, message: Message, context: Context) -> StepResult:
        brought = message.record if isinstance(message.record, Document) else None
        kept = await context.keep(message if brought is None else _content(brought))
        looked = await look(context.body(kept))
        texts = [page.text for page in looked.read] or await _plain_text(looked, kept, context)
        kept, media, trouble = await self._as_kept(kept, looked, context)
        if looked.state == "not_a_document" and (texts or brought is not None):  # text, RTF, XML: a message says whose it is
            media, trouble = media_type((await context.content(kept))[:_PLAIN_TEXT]), ""
        document = Document(
            **_said(brought, message, context),
            id=context.new_id("d-"),
            kept=kept,
            media_type=media or None,
            source=self.config.source,
            received_at=_moment(message.headers.get("received_at")) or context.now,
            pages=looked.pages or None,
            has_text=any(text.strip() for text in texts),
            trouble=trouble or None,
            filing="received",
        )
        await context.put(document)
        await context.put(Filing(id=document.id, sender=message.headers.get("from", "")))
        context.key("document", document.id)
        context.note("document", f"Received a document ({_in_words(document)})", plain=True)
        seen = _seen(document, message.headers.get("from", ""), texts, looked, brought)
        return message.derive(seen, format="seen_document", headers={"document": document.id})

    async def _as_kept(self, kept: Content, looked: Looked, context: Context) -> tuple[Content, str, str]:
        """The bytes to keep (scans and faxes as PDF), what they are, and why they cannot be used."""
        if looked.state != "whole":
            return kept, looked.kind, looked.state
        if not self.config.as_pdf or not looked.kind.startswith("image/"):
            return kept, looked.kind, ""
        try:
            return await context.keep(await to_pdf(context.body(kept))), "application/pdf", ""
        except UnusableDocument as error:
            return kept, looked.kind, error.state


def _content(document: Document) -> bytes:
    if document.content is None:
        raise MessageUnusable("the message brings no document, only words about one", code="DOC-021")
    return document.content


def _said(brought: Document | None, message: Message, context: Context) -> dict[str, Any]:
    """What its sender says about it, and by which id."""
    if brought is None:
        partner = message.headers.get("partner_id", "")
        return {"partner_ids": {context.connection: partner} if partner else {}}
    return {
        **brought.model_dump(include={"kind", "title", "author", "written_at", "status"}, exclude_none=True),
        "partner_ids": {context.connection: brought.id} if brought.id else {},
    }


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else None


async def _plain_text(looked: Looked, kept: Content, context: Context) -> list[str]:
    """A text without pages, as results bring them."""
    if looked.state != "not_a_document" or kept.size > _PLAIN_TEXT:
        return []
    content = await context.content(kept)
    return [content.decode()] if content.strip() and media_type(content) == "text/plain" else []


def _in_words(document: Document) -> str:
    pages = f"{document.pages} page(s)" if document.pages else "pages not known"
    return f"{document.source}, {pages}" + (f", {document.trouble}" if document.trouble else "")


def _seen(document: Document, sender: str, texts: list[str], looked: Looked, brought: Document | None) -> Record:
    patient = brought.patient if brought is not None else None
    numbers = [identifier.value for identifier in usable(patient.identifiers)] if patient is not None else []
    return SeenDocument(
        id=document.id,
        source=document.source or "",
        sender=sender,
        kind=document.kind,
        title=document.title,
        media_type=document.media_type,
        pages=document.pages,
        words="\n".join(texts)[:WORDS],
        texts=texts,
        unread=looked.unread,
        unscanned=looked.unscanned,
        codes=[SeenCode(page=number, text=code.text) for number, page in enumerate(looked.read, 1) for code in page.codes],
        clues=of_person(patient.name, numbers) if patient is not None else [],
    )
