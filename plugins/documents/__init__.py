"""Documents from wherever they come, each in the right chart: kept once, matched, filed; and those the EHR itself sends."""

from __future__ import annotations

from hub import DueJob, Operation, RecordKind, hookimpl
from hub.records import Document
from hub.step import AnyStep
from plugins.documents.filing import DocumentFiled, EmbedDocument, FilingFailed, prepare_filing
from plugins.documents.operations import OPERATIONS
from plugins.documents.receiving import ReceiveDocument
from plugins.documents.records import CoverSheet, DocumentKind, Filing, FilingOrder, SeenDocument
from plugins.documents.saving import document_keys, save_document
from plugins.documents.settling import JOB
from plugins.documents.steps import FileDocument, MatchDocument


@hookimpl
def register_steps() -> list[type[AnyStep]]:
    return [ReceiveDocument, MatchDocument, FileDocument, EmbedDocument, DocumentFiled, FilingFailed]


@hookimpl
def register_records() -> list[RecordKind]:
    plain = frozenset({"patient", "filing", "appointment"})
    return [
        RecordKind("document", Document, document_keys, plain, save=save_document),
        RecordKind("document_filing", Filing),
        RecordKind("cover_sheet", CoverSheet),
        RecordKind("seen_document", SeenDocument),
        RecordKind("document_kind", DocumentKind),
        RecordKind("filing_order", FilingOrder),
    ]


@hookimpl
def register_due() -> list[DueJob]:
    return [DueJob(JOB, prepare_filing)]


@hookimpl
def register_operations() -> list[Operation]:
    return OPERATIONS
