"""What becomes of a document: it waits for a person, is matched, rejected or filed, and what was decided can be taken back.

    received -> matched -> filed          waiting <-> matched, waiting <-> rejected; nothing leads out of filed

Whoever changes the state does it here, so that the worklist, the timeline and the planned filing always follow.
"""

from __future__ import annotations

from datetime import timedelta

from hub import Context, Due, Patient, WorklistItem
from hub.people import usable
from hub.records import Document
from plugins.documents.matching import Match
from plugins.documents.records import Filing

JOB = "file_document"
TOPIC = "documents"
_CAME: dict[str, str] = {"fax": "fax", "scan": "scan", "mail": "mail attachment"}


async def settle(document: Document, filing: Filing, match: Match, context: Context) -> Document:
    """What its clues come to."""
    if document.trouble:
        match = Match(why=f"its pages cannot be looked at ({document.trouble})", charts=match.charts)
    elif filing.unseen and match.chart is not None:
        match = Match(why=filing.unseen, charts=match.charts)
    if match.chart is None:
        return await wait(document, filing, match, context)
    return await belongs(document, filing, match.chart, match.appointment, context)


async def wait(document: Document, filing: Filing, match: Match, context: Context) -> Document:
    """A person has to say whose it is."""
    document = document.model_copy(update={"filing": "waiting", "patient_id": "", "appointment": None})
    why = {"why": match.why, "by": "", "file_at": None, "out": False, "charts": [chart.id for chart in match.charts]}
    filing = filing.model_copy(update=why)
    await _keep(document, filing, context)
    context.withdraw(JOB, document.id)
    what = _CAME.get(document.source or "", "document")
    text = f"A {what} waits for its patient: {match.why}. See hub documents show {document.id}, then match or reject it."
    await _open_item(document, filing, text, "waits", context)
    context.note("document", f"Waits for a person: {match.why}", plain=True)
    return document


async def belongs(
    document: Document, filing: Filing, chart: Patient, appointment: str, context: Context, *, by: str = ""
) -> Document:
    """It is known whose it is: it is filed after a while, in which that can be taken back."""
    document = document.model_copy(
        update={"filing": "matched", "patient_id": chart.id, "appointment": appointment or None, "patient": None}
    )
    file_at = context.now + timedelta(seconds=filing.file_after)
    filing = filing.model_copy(update={"why": "", "by": by, "file_at": file_at, "out": False, "charts": []})
    await _keep(document, filing, context)
    context.plan(Due(JOB, document.id, file_at, {"document": document.id}, lane=document.id))
    for identifier in usable(chart.identifiers):
        context.key("patient", identifier.value)
    await close_items(document, filing, f"matched by {by}" if by else "matched", context)
    how = "a person said so" if by else "we asked for it" if document.source == "signing" else "it says so"
    context.note("document", f"Its patient is known: {how}", plain=True)
    return document


async def reject(document: Document, filing: Filing, why: str, context: Context) -> Document:
    """It belongs in no chart; it is kept, and that can be taken back."""
    document = document.model_copy(update={"filing": "rejected", "patient_id": "", "appointment": None})
    filing = filing.model_copy(update={"why": why, "by": context.actor, "file_at": None, "charts": []})
    await _keep(document, filing, context)
    context.withdraw(JOB, document.id)
    await close_items(document, filing, "rejected", context)
    context.note("document", "Rejected: it goes to no chart", plain=True)
    return document


async def filed(document: Document, filing: Filing, context: Context) -> Document:
    """The EHR said that it has it."""
    document = document.model_copy(update={"filing": "filed"})
    filing = filing.model_copy(update={"out": False, "why": "", "filed_at": context.now})
    await _keep(document, filing, context)
    await close_items(document, filing, "filed", context)
    context.note("document", "Filed: the EHR has acknowledged it", plain=True)
    return document


async def not_filed(document: Document, filing: Filing, reason: str, context: Context) -> None:
    """The EHR refused it; it stays matched, and a person asks again once that is mended."""
    filing = filing.model_copy(update={"out": False, "why": reason, "file_at": None})
    await _keep(document, filing, context)
    text = f"A document could not be filed: {reason}. Mend that, then hub documents file {document.id}."
    await _open_item(document, filing, text, "not filed", context, who="it", queue="it")
    context.note("document", "Could not be filed", plain=True)


async def filed_too_late(document: Document, context: Context) -> None:
    """An order that had failed was sent again by hand, and is no longer what was decided."""
    text = (
        f"The EHR has filed the document {document.id} into a chart that it was taken out of meanwhile. Correct it in the EHR; "
        f"see hub documents show {document.id}."
    )
    item = WorklistItem(queue="it", topic=TOPIC, text=text, who="it", cause=_cause(document, "filed elsewhere"))
    await context.save(item)
    context.note("document", "The EHR filed it after it had been taken back", plain=True)


async def _keep(document: Document, filing: Filing, context: Context) -> None:
    await context.put(document)
    await context.put(filing)
    context.key("document", document.id)
    if document.appointment:
        context.key("appointment", document.appointment)


async def _open_item(
    document: Document, filing: Filing, text: str, what: str, context: Context, *, who: str = "coordinator", queue: str = ""
) -> None:
    item = WorklistItem(queue=queue or filing.queue, topic=TOPIC, text=text, who=who, cause=_cause(document, what))
    await context.save(item)


async def close_items(document: Document, filing: Filing, because: str, context: Context) -> None:
    for queue, what in ((filing.queue, "waits"), ("it", "not filed")):
        cause = _cause(document, what)
        await context.save(WorklistItem(queue=queue, topic=TOPIC, cause=cause, open=False, closed_because=because))


def _cause(document: Document, what: str) -> str:
    return f"document {document.id} {what}"
