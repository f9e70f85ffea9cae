"""Papers for tests of documents: PDFs with text, and whatever else a scanner or a fax brings.  All people are invented."""

from __future__ import annotations

import io

from PIL import Image
from reportlab.pdfgen.canvas import Canvas


def pdf(*pages: str) -> bytes:
    """A PDF with these texts, a line for each line."""
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=(612, 792), pageCompression=0, invariant=True)
    for text in pages:
        for number, line in enumerate(text.splitlines()):
            canvas.drawString(50, 740 - 16 * number, line)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def tiff(pages: int = 1) -> bytes:
    """A scan without anything on it."""
    buffer = io.BytesIO()
    sheets = [Image.new("1", (400, 600), 1) for _ in range(pages)]
    sheets[0].save(buffer, "TIFF", save_all=True, append_images=sheets[1:], compression="group4")
    return buffer.getvalue()
