"""What is known of documents on their way into a chart, beside the document itself."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime

from hub import Appointment, Identifier, Patient, Record
from hub.records import Document, Text

ClueKind = Literal["cover", "number", "name", "birth_date", "appointment"]
"""What can tell whose a document is: a cover sheet of ours, a chart's number, a name, a birth date, an appointment."""


class Clue(Record):
    """One thing on a document that tells whose it is."""

    kind: ClueKind
    values: list[Text]
    """How it can be read: one way, or several where the writing leaves it open (02/03/24 is of 1924 or 2024)."""
    page: int = 0
    """The page it stands on, counted from 1; 0 for what came beside the pages."""


class Filing(Record):
    """How a document finds its chart and gets there: one for each that did not come from the EHR."""

    id: str
    """The document's id."""
    sender: Text = ""
    """Who sent it: a fax number, a mail address."""
    clues: list[Clue] = []
    unseen: Text = ""
    """Why a person has to say whose it is whatever its clues come to: what of it nobody looked at, and could be about somebody
    else."""
    charts: list[str] = []
    """Charts it could belong to, when it waits."""
    why: Text = ""
    """Why it waits, was rejected or could not be filed; without patient data."""
    by: Text = ""
    """Who said whose it is, or rejected it; empty when its clues did."""
    queue: Text = "front_desk"
    """Whose worklist it waits on."""
    file_after: float = 0.0
    """Seconds between its match and its filing."""
    file_at: AwareDatetime | None = None
    """When it goes to the chart, until when it can be taken back."""
    out: bool = False
    """It is on its way to the EHR, and cannot be taken back."""
    tries: int = 0
    filed_at: AwareDatetime | None = None


class CoverSheet(Record):
    """A sheet we printed to lie on top of what is scanned or faxed: its code says whose it is."""

    id: str
    patient_id: Text
    appointment: Text = ""
    kind: Text = ""
    """Kind of the documents it will lie on; empty when their words decide."""
    printed_at: AwareDatetime | None = None
    printed_by: Text = ""


class SeenCode(Record):
    """A bar code on a page."""

    page: int
    text: str


class SeenDocument(Record):
    """What is seen of a document: for the match, and for the mapping that says of which kind it is."""

    id: str
    """The document's id."""
    source: Text = ""
    """fax, scan, mail, hl7 ..."""
    sender: Text = ""
    kind: Text | None = None
    """The kind its sender or its cover sheet names."""
    title: Text | None = None
    media_type: Text | None = None
    pages: int | None = None
    words: str = ""
    """The beginning of its text, all pages together."""
    texts: list[str] = []
    """The text of each page that has some."""
    unread: int = 0
    """Pages whose text was not read, or not to its end: there were too many."""
    unscanned: int = 0
    """Pages on which no bar codes were looked for."""
    codes: list[SeenCode] = []
    clues: list[Clue] = []
    """What came beside the pages (PID)."""


class DocumentKind(Record):
    """Of which kind a document is, in the EHR's words."""

    kind: Text
    title: Text = ""


class FilingOrder(Record):
    """A document with its chart, for mappings that write it for the EHR."""

    document: Document
    patient: Patient
    number: Identifier
    """The chart's number."""
    appointment: Appointment | None = None
    subtype: Text = ""
    """PDF, TIFF, JPEG ..., as HL7 table 0291 names kinds of data."""
    content: Text = ""
    """Stands for the bytes: `embed_document` puts them there in base64."""
