"""Inside the limited process: one document out of others.

Pages of a PDF go over as they are.  A page of a scan or fax becomes a page of the same size: black and white without loss
(CCITT group 4), a photograph as it is, other pictures as JPEG of high quality.
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Iterable, Iterator

import pypdfium2
import zxingcpp
from PIL import Image, ImageChops, ImageDraw, ImageFont, ImageOps

from hub.formats.pages.reading import PDF, dpi_of, frames, kind_of, loaded, open_pdf, pdf_page, render
from hub.formats.pages.words import CannotRead, Limits

QUALITY = 92
"""Of pictures with colours or shades, as JPEG."""


def to_pdf(document: bytes, limits: Limits) -> bytes:
    """A PDF is checked and left as it is; raises CannotRead."""
    if kind_of(document) == PDF:
        open_pdf(document, limits)
        return document
    return join([document], limits)


def join(documents: list[bytes], limits: Limits) -> bytes:
    """All pages of all documents, one after another."""
    whole = pypdfium2.PdfDocument.new()
    for document in documents:
        for pages in _as_pdfs(document, limits):
            _take_over(whole, pages, None)
        if len(whole) > limits.pages:
            raise CannotRead("too_many_pages")
    return _saved(whole)


def part(document: bytes, limits: Limits, *, first: int, last: int | None) -> bytes:
    """Its pages from the first to the last, counted from 1."""
    source = open_pdf(to_pdf(document, limits), limits)
    last = len(source) if last is None else last
    if not 1 <= first <= last <= len(source):
        raise CannotRead("no_such_page")
    some = pypdfium2.PdfDocument.new()
    _take_over(some, source, list(range(first - 1, last)))
    return _saved(some)


def _as_pdfs(document: bytes, limits: Limits) -> Iterator[pypdfium2.PdfDocument]:
    if kind_of(document) == PDF:
        yield open_pdf(document, limits)
        return
    for frame in frames(document, limits):
        yield (
            _photograph(document, loaded(frame)) if _is_upright_jpeg(frame) else pypdfium2.PdfDocument(_picture(loaded(frame)))
        )


def _take_over(whole: pypdfium2.PdfDocument, source: pypdfium2.PdfDocument, pages: list[int] | None) -> None:
    try:
        whole.import_pages(source, pages)
    except pypdfium2.PdfiumError:
        raise CannotRead("broken") from None


def _saved(pdf: pypdfium2.PdfDocument) -> bytes:
    out = io.BytesIO()
    pdf.save(out)
    return out.getvalue()


def _is_upright_jpeg(frame: Image.Image) -> bool:
    return frame.format == "JPEG" and frame.mode in ("L", "RGB") and frame.getexif().get(_ORIENTATION, 1) == 1


_ORIENTATION = 0x0112


def _photograph(document: bytes, frame: Image.Image) -> pypdfium2.PdfDocument:
    """A page with the JPEG on it, byte for byte."""
    across, down = dpi_of(frame)
    width, height = frame.width * 72 / across, frame.height * 72 / down
    pdf = pypdfium2.PdfDocument.new()
    picture = pypdfium2.PdfImage.new(pdf)
    picture.load_jpeg(io.BytesIO(document), inline=True)
    picture.set_matrix(pypdfium2.PdfMatrix().scale(width, height))
    page = pdf.new_page(width, height)
    page.insert_obj(picture)
    page.gen_content()
    return pdf


def _picture(frame: Image.Image) -> bytes:
    """A PDF of one page with the picture on it, upright."""
    dpi, out = dpi_of(frame), io.BytesIO()
    upright = _plain(ImageOps.exif_transpose(frame))
    how = {} if upright.mode == "1" else {"quality": QUALITY}
    upright.copy().save(out, "PDF", dpi=dpi, **how)  # a copy does not bring the tags of the file it came from
    return out.getvalue()


def _plain(picture: Image.Image) -> Image.Image:
    """In one of the ways a PDF of ours has pictures: black and white, shades of grey, colours."""
    if picture.mode in ("1", "L", "RGB"):
        return picture
    if picture.mode in ("I", "I;16", "I;16B", "I;16L"):
        return picture.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if picture.has_transparency_data:
        page = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(page, picture.convert("RGBA")).convert("RGB")
    return picture.convert("RGB")


# TIFF/F, as fax engines want it (RFC 2306): 1728 dots across, 204 x 196 or 204 x 98 to the inch, CCITT group 3 or 4.

WIDTH, ACROSS = 1728, 204
DOWN = {"fine": 196, "standard": 98}
LONGEST = 14.0
"""Inches of the longest sheet; longer pages are made smaller."""
_LONG, _SHORT, _RATIONAL = 4, 3, 5
_COMPRESSION = {"group3": 3, "group4": 4}


def to_tiff(document: bytes, limits: Limits, *, resolution: str, compression: str) -> bytes:
    """Every page in black and white; raises CannotRead."""
    source = open_pdf(to_pdf(document, limits), limits)
    source.init_forms()  # what was filled into a form is part of its page
    down = DOWN[resolution]
    sheets = (_sheet(pdf_page(source, number), down) for number in range(len(source)))
    return _tiff(sheets, len(source), down, compression)


def _sheet(page: pypdfium2.PdfPage, down: int) -> Image.Image:
    """A page as the fax machine prints it: across its width when it is wide, with white around it when it is small."""
    if page.get_width() > page.get_height():
        page.set_rotation((page.get_rotation() + 90) % 360)
    width, height = page.get_size()
    scale = min(ACROSS / 72, WIDTH / max(width, 1e-9), LONGEST * ACROSS / max(height, 1e-9))
    grey = render(page, scale, WIDTH * round(LONGEST * ACROSS))
    size = min(WIDTH, grey.width), max(1, round(grey.height * down / ACROSS))
    sheet = Image.new("L", (WIDTH, size[1]), 255)
    sheet.paste(grey.resize(size), ((WIDTH - size[0]) // 2, 0))
    return sheet.convert("1")


def _tiff(sheets: Iterable[Image.Image], count: int, down: int, compression: str) -> bytes:
    out = bytearray(b"II*\0\0\0\0\0")
    link = 4
    """Where the offset of the next directory goes."""
    for number, sheet in enumerate(sheets):
        data = _ccitt(sheet, compression)
        place = len(out)
        out += data + b"\0" * (len(data) % 2)
        struct.pack_into("<I", out, link, len(out))
        link = _directory(out, sheet, number, count, down, compression, place, len(data))
    return bytes(out)


def _directory(
    out: bytearray, sheet: Image.Image, number: int, count: int, down: int, compression: str, place: int, size: int
) -> int:
    """Writes what a reader must know of a page; returns where the offset of the next directory goes."""
    entries = [
        (254, _LONG, 1, 2),  # one page of several
        (256, _LONG, 1, sheet.width),
        (257, _LONG, 1, sheet.height),
        (258, _SHORT, 1, 1),
        (259, _SHORT, 1, _COMPRESSION[compression]),
        (262, _SHORT, 1, 0),  # white is 0
        (266, _SHORT, 1, 1),
        (273, _LONG, 1, place),
        (277, _SHORT, 1, 1),
        (278, _LONG, 1, sheet.height),
        (279, _LONG, 1, size),
        (282, _RATIONAL, 1, 0),
        (283, _RATIONAL, 1, 0),
        (292 if compression == "group3" else 293, _LONG, 1, 0),
        (296, _SHORT, 1, 2),  # inches
        (297, _SHORT, 2, number | min(count, 0xFFFF) << 16),
    ]
    end = len(out) + 2 + 12 * len(entries)
    values = {282: end + 4, 283: end + 12}
    out += struct.pack("<H", len(entries))
    for tag, kind, many, value in entries:
        out += struct.pack("<HHII", tag, kind, many, values.get(tag, value))
    out += struct.pack("<IIIII", 0, ACROSS, 1, down, 1)
    return end


def _ccitt(sheet: Image.Image, compression: str) -> bytes:
    """The picture as CCITT runs, white first; the TIFF around it that Pillow writes is left behind."""
    out = io.BytesIO()
    ImageChops.invert(sheet).save(out, "TIFF", compression=compression, strip_size=sheet.width * sheet.height)
    with Image.open(out, formats=["TIFF"]) as written:
        [start], [size] = written.tag_v2[273], written.tag_v2[279]  # type: ignore[attr-defined]
    return out.getvalue()[start : start + size]


# Cover sheets.

_SHEET = (1728, 2200)
"""Letter at 204 x 200 dots to the inch, as wide as a fax."""
_MARGIN, _QR = 150, 500
_SIZES = {"title": 72, "line": 40}
_DPI = (204.0, 200.0)


def cover(*, title: str, lines: list[str], code: str) -> bytes:
    """A page with a title, lines of text and a QR code; raises CannotRead when the text does not fit on it."""
    sheet = Image.new("L", _SHEET, 255)
    draw = ImageDraw.Draw(sheet)
    y = _write(draw, [title], _SIZES["title"], _MARGIN) if title else _MARGIN
    y = _write(draw, lines, _SIZES["line"], y + 40)
    if code:
        sheet.paste(_qr(code), (_SHEET[0] - _MARGIN - _QR, _SHEET[1] - _MARGIN - _QR))
    if y > _SHEET[1] - _MARGIN - (_QR if code else 0):
        raise CannotRead("too_large")
    out = io.BytesIO()
    sheet.point(lambda value: 255 if value > 127 else 0).convert("1", dither=Image.Dither.NONE).save(out, "PDF", dpi=_DPI)
    return out.getvalue()


def _write(draw: ImageDraw.ImageDraw, lines: Iterable[str], size: int, y: int) -> int:
    """Returns where the next line goes."""
    font = ImageFont.load_default(size)
    for line in (part for text in lines for part in _wrapped(draw, text, font)):
        draw.text((_MARGIN, y), line, fill=0, font=font)
        y += math.ceil(size * 1.4)
    return y


def _wrapped(draw: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> Iterator[str]:
    room, line = _SHEET[0] - 2 * _MARGIN, ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and draw.textlength(longer, font=font) > room:
            yield line
            line = word
        else:
            line = longer
    yield line


def _qr(code: str) -> Image.Image:
    made = memoryview(zxingcpp.write_barcode(zxingcpp.BarcodeFormat.QRCode, code, _QR, _QR))  # type: ignore[arg-type]
    height, width = made.shape or (0, 0)
    return Image.frombytes("L", (width, height), made.tobytes()).resize((_QR, _QR), Image.Resampling.NEAREST)
