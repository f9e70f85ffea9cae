"""Documents as a signing service gives them back: a PDF with one page of text, written by hand."""

from __future__ import annotations

from collections.abc import Sequence


def page(lines: Sequence[str]) -> bytes:
    """A PDF of one page; what is no Latin-1 becomes a question mark."""
    text = b"BT /F1 12 Tf 72 760 Td 16 TL "
    for line in lines:
        escaped = line.encode("latin-1", "replace").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
        text += b"(" + escaped + b") Tj T* "
    text += b"ET"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length " + str(len(text)).encode() + b" >>\nstream\n" + text + b"\nendstream",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    body, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(body))
        body += f"{number} 0 obj\n".encode() + content + b"\nendobj\n"
    table = b"".join(f"{place:010d} 00000 n \n".encode() for place in places)
    start = str(len(body)).encode()
    size = str(len(objects) + 1).encode()
    body += b"xref\n0 " + size + b"\n0000000000 65535 f \n" + table
    return body + b"trailer\n<< /Size " + size + b" /Root 1 0 R >>\nstartxref\n" + start + b"\n%%EOF\n"
