"""The steps `match_document` (whose a document is and of which kind, by what was seen of it) and `file_document` (of one whose
patient is known already)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import Field

from hub import Context, Message, MessageUnusable, Step, StepConfig, StepResult
from hub.people import current_chart
from hub.records import Document
from hub.step import Misreference, References
from hub.units import Duration
from plugins.documents.clues import Labels, Reader
from plugins.documents.covers import clues_of
from plugins.documents.matching import find_chart, unseen
from plugins.documents.records import Clue, CoverSheet, DocumentKind, Filing, SeenDocument
from plugins.documents.settling import belongs, settle


class MatchDocumentConfig(StepConfig):
    """Settings of `match_document`."""

    kinds: str = "document_to_kind"
    """The mapping that says of which kind a document is."""
    file_after: Duration = Field(default=600.0, ge=0)
    """How long after its match a document goes to its chart; until then `hub documents undo` takes it back."""
    queue: str = "front_desk"
    """Whose worklist it waits on when a person has to say whose it is."""
    labels: Labels = Labels()
    """The words in front of what tells whose a document is."""


class MatchDocument(Step[MatchDocumentConfig]):
    """Finds the chart of a document by two independent things on it; without them it waits for a person."""

    kind = "match_document"
    main = "kinds"

    def __init__(self, name: str, config: MatchDocumentConfig) -> None:
        super().__init__(name, config)
        self._reader = Reader(config.labels)

    @classmethod
    def misreferences(cls, config: Any, names: References) -> Iterable[Misreference]:
        if config.kinds not in names.mappings:
            yield Misreference("kinds", f"there is no mapping {config.kinds!r}", list(names.mappings))

    async def run(self, message: Message, context: Context) -> StepResult:
        seen = message.record
        if not isinstance(seen, SeenDocument):
            raise MessageUnusable(
                f"match_document works on what receive_document gives, but this is {message.format}", code="DOC-022"
            )
        document, filing = await context.get(Document, seen.id), await context.get(Filing, seen.id)
        if document is None or filing is None:
            raise MessageUnusable("the document is not known here", code="DOC-023")
        clues = [*seen.clues, *clues_of(seen.codes, context), *self._reader.clues(_lines(seen))]
        said = {"clues": clues, "unseen": unseen(seen, clues), "queue": self.config.queue, "file_after": self.config.file_after}
        filing = filing.model_copy(update=said)
        kind = await self._kind(seen, clues, message, context)
        if kind is not None:
            document = document.model_copy(update={"kind": kind.kind, "title": kind.title or document.title})
        document = await settle(document, filing, await find_chart(clues, context), context)
        return message.derive(document, format="document")

    async def _kind(self, seen: SeenDocument, clues: list[Clue], message: Message, context: Context) -> DocumentKind | None:
        """What the mapping says; the kind a cover sheet names stands for the one its sender names."""
        for clue in clues:
            sheet = await context.get(CoverSheet, clue.values[0]) if clue.kind == "cover" else None
            if sheet is not None and sheet.kind:
                seen = seen.model_copy(update={"kind": sheet.kind})
        found = await context.map(self.config.kinds, message.derive(seen, format="seen_document"))
        record = found[0].record if found else None
        return record if isinstance(record, DocumentKind) else None


class FileDocumentConfig(StepConfig):
    """Settings of `file_document`."""

    file_after: Duration = Field(default=0.0, ge=0)
    """How long until it goes to its chart; until then `hub documents undo` takes it back."""


class FileDocument(Step[FileDocumentConfig]):
    """Has a document filed whose patient the hub knows, because it asked for the document: a signed consent."""

    kind = "file_document"
    main = "file_after"

    async def run(self, message: Message, context: Context) -> StepResult:
        document = message.record
        chart = await current_chart(document.patient_id, context) if isinstance(document, Document) else None
        if not isinstance(document, Document) or chart is None or document.kept is None:
            raise MessageUnusable(
                f"file_document works on a document whose patient is known, but this is {message.format}", code="DOC-027"
            )
        filing = await context.get(Filing, document.id) or Filing(id=document.id)
        filing = filing.model_copy(update={"file_after": self.config.file_after})
        if document.filing in ("filed", "rejected") or filing.out:
            return message
        return message.derive(await belongs(document, filing, chart, document.appointment or "", context), format="document")


def _lines(seen: SeenDocument) -> list[str]:
    """The text of each page, and of its bar codes: `MRN:00042` may stand in one."""
    pages = list(seen.texts) + [""] * max(0, max((code.page for code in seen.codes), default=0) - len(seen.texts))
    for code in seen.codes:
        pages[code.page - 1] += f"\n{code.text}"
    return pages
