"""What the hub can ask about documents and have made of them; see the package."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from hub.errors import MessageUnusable
from hub.formats.pages.process import Answer, Body, run
from hub.formats.pages.words import Limits, State
from hub.texts import whole_characters

Resolution = Literal["fine", "standard"]
Compression = Literal["group3", "group4"]
_USUAL = Limits()
_WHY: dict[State, tuple[str, str]] = {
    "encrypted": ("DOC-001", "the document is encrypted with a password"),
    "broken": ("DOC-002", "the document is damaged"),
    "too_many_pages": ("DOC-003", "the document has more pages than are read"),
    "too_large": ("DOC-004", "the document, or a page of it, is too large"),
    "not_a_document": ("DOC-005", "these bytes are no PDF, TIFF, JPEG or PNG"),
    "took_too_long": ("DOC-006", "the document takes too long to read"),
    "no_such_page": ("DOC-007", "the document does not have these pages"),
}


class UnusableDocument(MessageUnusable):
    """Nothing can be made of a document; `state` says why in a word."""

    code = "DOC-002"

    def __init__(self, state: State) -> None:
        code, text = _WHY[state]
        super().__init__(text, code=code)
        self.state: State = state


@dataclass(frozen=True, slots=True)
class BarCode:
    """A bar code on a page; what it says may be about a patient."""

    format: str
    """QRCode, DataMatrix, Aztec, PDF417, Code128, Code39 ..."""
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Page:
    """What stands on a page."""

    text: str = field(default="", repr=False)
    """Its text layer; empty where it has none."""
    codes: tuple[BarCode, ...] = ()
    """From top to bottom."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What is known of a document."""

    state: State
    """`whole`, or why it cannot be used."""
    kind: str = ""
    """application/pdf, image/tiff, image/jpeg or image/png, by its first bytes; empty for anything else."""
    pages: int = 0
    """How many it has; 0 when that could not be found out."""
    read: tuple[Page, ...] = ()
    """Its first pages, as many as were read."""
    unread: int = 0
    """Pages whose text was not read, or not to its end."""
    unscanned: int = 0
    """Pages on which no bar codes were looked for."""

    @property
    def has_text(self) -> bool:
        return any(page.text.strip() for page in self.read)

    @property
    def why(self) -> str:
        """Why it cannot be used, for people; empty when it can."""
        return _WHY[self.state][1] if self.state in _WHY else ""


async def look(document: Body, limits: Limits = _USUAL) -> Looked:
    """Never fails for what a document holds: its state tells.  Raises ConnectionDown when it has to be tried later."""
    return _looked(await run({"do": "look"}, [document], limits))


def _looked(answer: Answer) -> Looked:
    known: dict[str, Any] = {}
    pages: dict[int, dict[str, Any]] = {}
    for line in answer.said:
        if "page" in line:
            pages.setdefault(line["page"], {}).update(line)
        else:
            known.update(line)
    kind, count = known.get("kind", ""), known.get("pages", 0)
    return Looked(
        answer.state,
        kind,
        count,
        read=tuple(_page(pages[number]) for number in sorted(pages)),
        unread=count - sum(line.get("cut") is False for line in pages.values()) if kind == "application/pdf" else 0,
        unscanned=count - sum("codes" in line for line in pages.values()),
    )


def _page(line: dict[str, Any]) -> Page:
    codes = tuple(BarCode(code["format"], whole_characters(code["text"])) for code in line.get("codes", ()))
    return Page(whole_characters(line.get("text", "")), codes)


async def to_pdf(document: Body, limits: Limits = _USUAL) -> bytes:
    """A PDF of a TIFF, JPEG or PNG; a PDF is checked and given back as it is.  Raises UnusableDocument, ConnectionDown."""
    return await _make({"do": "to_pdf"}, document, limits=limits)


async def to_tiff(
    document: Body, resolution: Resolution = "fine", compression: Compression = "group4", limits: Limits = _USUAL
) -> bytes:
    """TIFF/F as fax engines want it (RFC 2306): one bit, 1728 dots across, 204 x 196 dots to the inch (`standard`: 204 x 98).

    Raises UnusableDocument, ConnectionDown.
    """
    return await _make({"do": "to_tiff", "resolution": resolution, "compression": compression}, document, limits=limits)


async def part(document: Body, first: int, last: int | None = None, limits: Limits = _USUAL) -> bytes:
    """A PDF of its pages from the first to the last, counted from 1; to its end without a last.

    Raises UnusableDocument, ConnectionDown.
    """
    return await _make({"do": "part", "first": first, "last": last}, document, limits=limits)


async def join(*documents: Body, limits: Limits = _USUAL) -> bytes:
    """One PDF of several documents, in this order.  Raises UnusableDocument, ConnectionDown."""
    return await _make({"do": "join"}, *documents, limits=limits)


async def cover(title: str, lines: list[str], code: str = "", limits: Limits = _USUAL) -> bytes:
    """A cover sheet as PDF, with `code` as a QR code where there is one.

    Raises UnusableDocument when it does not fit on a page, ConnectionDown.
    """
    return await _make({"do": "cover", "title": title, "lines": lines, "code": code}, limits=limits)


async def _make(request: dict[str, Any], *documents: Body, limits: Limits) -> bytes:
    answer = await run(request, documents, limits)
    if answer.state != "whole":
        raise UnusableDocument(answer.state)
    return answer.made
