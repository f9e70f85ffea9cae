"""Inside the limited process: opens PDF, TIFF, JPEG and PNG, and tells what stands on their pages.

A page is text as the document has it (no letters are recognised in pictures) and bar codes as a picture of the page shows them.
"""

from __future__ import annotations

import io
import math
import re
import time
import warnings
from collections.abc import Iterator
from typing import Any

import pypdfium2
import zxingcpp
from PIL import Image, UnidentifiedImageError
from pypdfium2 import raw

from hub.formats.pages.words import CannotRead, Limits

PDF = "application/pdf"
_IMAGES = (
    (b"II*\0", "TIFF", "image/tiff"),
    (b"MM\0*", "TIFF", "image/tiff"),
    (b"\xff\xd8\xff", "JPEG", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "PNG", "image/png"),
)
_HEAD = 1024
"""Bytes in which a PDF may have something else before its first line (ISO 32000-1, annex H.3.4.1)."""
DPI = 150
"""Of a page that is looked at for bar codes."""
MOST_SEEN = 6_000_000
"""Pixels of a page that is looked at for bar codes."""
MOST_CODES = 20
"""Bar codes of one page."""
LONGEST_CODE = 2000
SCANNING = 0.5
"""Of the time a document may take: as much as is gone when no further page is looked at for bar codes."""
CODES = "QRCode,MicroQRCode,DataMatrix,Aztec,PDF417,Code128,Code39,Code93"
"""Those with a check sum or a structure that chance does not make."""
TORN = re.compile(r"[\0-\x08\x0b\x0c\x0e-\x1f]")
Image.MAX_IMAGE_PIXELS = None  # each page is measured before it is opened


def look(document: bytes, limits: Limits) -> Iterator[dict[str, Any]]:
    """What is known of it, the more important first, so that something is known of one that ends in the middle.

    Raises CannotRead.
    """
    kind = kind_of(document)
    yield {"kind": kind}
    if kind == PDF:
        yield from _look_at_pdf(document, limits)
    else:
        yield from _look_at_image(document, limits)


def kind_of(document: bytes) -> str:
    """By its first bytes, whatever its name says; raises CannotRead."""
    for magic, _, kind in _IMAGES:
        if document.startswith(magic):
            return kind
    if b"%PDF-" in document[:_HEAD]:
        return PDF
    raise CannotRead("not_a_document")


# PDF.


def open_pdf(document: bytes, limits: Limits) -> pypdfium2.PdfDocument:
    """Raises CannotRead when it is encrypted, damaged, or has too many pages."""
    pdf = _opened(document)
    if len(pdf) > limits.pages:
        raise CannotRead("too_many_pages")
    return pdf


def _opened(document: bytes) -> pypdfium2.PdfDocument:
    try:
        pdf = pypdfium2.PdfDocument(document)
    except pypdfium2.PdfiumError as error:
        raise CannotRead("encrypted" if error.err_code in _LOCKED else "broken") from None
    if not len(pdf):
        raise CannotRead("broken")
    return pdf


_LOCKED = (raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY)


def _look_at_pdf(document: bytes, limits: Limits) -> Iterator[dict[str, Any]]:
    pdf = _opened(document)
    yield {"pages": len(pdf)}
    if len(pdf) > limits.pages:
        raise CannotRead("too_many_pages")
    for number in range(min(len(pdf), limits.read)):
        text = pdf_page(pdf, number).get_textpage()
        count = text.count_chars()
        words = TORN.sub(" ", text.get_text_range(0, min(count, limits.text)))
        yield {"page": number, "text": words, "cut": count > limits.text}
        text.close()
    yield from _scanned((render(pdf_page(pdf, number), DPI / 72, MOST_SEEN) for number in range(len(pdf))), limits)


def pdf_page(pdf: pypdfium2.PdfDocument, number: int) -> pypdfium2.PdfPage:
    """Raises CannotRead when it is damaged."""
    try:
        return pdf[number]
    except pypdfium2.PdfiumError:
        raise CannotRead("broken") from None


def render(page: pypdfium2.PdfPage, scale: float, most: int) -> Image.Image:
    """A page in shades of grey, smaller than asked for when it would have more pixels than that."""
    width, height = page.get_size()
    if not (math.isfinite(width) and math.isfinite(height) and width > 0 and height > 0):
        raise CannotRead("broken")
    scale = min(scale, math.sqrt(most / (width * height)), most / width, most / height)
    if width * scale < 1 or height * scale < 1:
        raise CannotRead("broken")
    picture: Image.Image = page.render(scale=scale, grayscale=True).to_pil()
    return picture


# Pictures.


def open_image(document: bytes) -> Image.Image:
    """Its first page, not decoded; raises CannotRead."""
    format = next((name for magic, name, _ in _IMAGES if document.startswith(magic)), "")
    warnings.simplefilter("ignore")
    try:
        return Image.open(io.BytesIO(document), formats=[format])
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, TypeError, KeyError):
        raise CannotRead("broken") from None


def frames(document: bytes, limits: Limits) -> Iterator[Image.Image]:
    """Each page, decoded when somebody loads it; raises CannotRead."""
    image, count = open_image(document), 0
    while True:
        if image.width * image.height > limits.pixels:
            raise CannotRead("too_large")
        yield image
        count += 1
        if image.format != "TIFF" or not _goes_on(image, count):
            return
        if count == limits.pages:
            raise CannotRead("too_many_pages")


def _goes_on(image: Image.Image, number: int) -> bool:
    try:
        image.seek(number)
    except EOFError:
        return False
    except (OSError, ValueError, SyntaxError, TypeError, KeyError):
        raise CannotRead("broken") from None
    return True


def loaded(frame: Image.Image) -> Image.Image:
    """The frame itself, decoded; raises CannotRead."""
    try:
        frame.load()
    except MemoryError:
        raise
    except Exception:  # decoders raise whatever comes to them
        raise CannotRead("broken") from None
    return frame


def dpi_of(frame: Image.Image) -> tuple[float, float]:
    """Dots per inch across and down: faxes may have twice as many across; 200 where nothing credible is said.

    Where that makes a page larger than any paper, as many as make it a page.
    """
    across, down = (_credible(value) for value in frame.info.get("dpi", (0, 0)))
    if not across or not down:
        across = down = 200.0
    inches = max(frame.width / across, frame.height / down)
    smaller = inches / _SHEET if inches > _LARGEST else 1.0
    return (across * smaller, down * smaller)


_LARGEST, _SHEET = 22.0, 11.0
"""Inches: what is longer than the largest sheet is a photograph of a camera, which knows no paper; it is made to fit on one."""


def _credible(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return 0.0
    return number if 30 <= number <= 2400 else 0.0


def _look_at_image(document: bytes, limits: Limits) -> Iterator[dict[str, Any]]:
    count = sum(1 for _ in frames(document, limits))
    yield {"pages": count}
    yield from _scanned((_square(loaded(frame)) for frame in frames(document, limits)), limits)


def _square(frame: Image.Image) -> Image.Image:
    """In shades of grey, with as many dots down as across, and no more than bar codes need."""
    grey = frame.convert("L")
    across, down = dpi_of(frame)
    width, height = float(grey.width), grey.height * across / down
    scale = min(1.0, math.sqrt(MOST_SEEN / (width * height)))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return grey if size == grey.size else grey.resize(size)


# Bar codes.


def _scanned(pictures: Iterator[Image.Image], limits: Limits) -> Iterator[dict[str, Any]]:
    """The codes of the first pages; of all, while there is time, where one has some: a sheet may lie before each of several
    documents.
    """
    began, number, found = time.monotonic(), 0, False
    while number < limits.scanned or (found and _is_time(began, limits)):
        picture = next(pictures, None)
        if picture is None:
            return
        on_page = codes(picture)
        yield {"page": number, "codes": on_page}
        number, found = number + 1, found or bool(on_page)


def _is_time(began: float, limits: Limits) -> bool:
    return time.process_time() < limits.seconds * SCANNING and time.monotonic() - began < limits.wall * SCANNING


def codes(picture: Image.Image) -> list[dict[str, str]]:
    """Format and text of each bar code, upper ones first."""
    found = zxingcpp.read_barcodes(
        picture.convert("L"), formats=zxingcpp.barcode_formats_from_str(CODES), text_mode=zxingcpp.TextMode.Plain
    )
    found.sort(key=lambda code: (code.position.top_left.y, code.position.top_left.x))
    return [{"format": code.format.name, "text": code.text[:LONGEST_CODE]} for code in found[:MOST_CODES]]
