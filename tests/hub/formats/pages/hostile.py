"""Documents that break readers: each made here, none taken from anywhere."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterable
from functools import cache

from PIL import Image
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfgen import canvas

LETTER = (612, 792)


# Good ones, to begin with.


@cache
def letter(pages: int = 2, text: str = "Dear colleague", password: str | None = None, owner: str | None = None) -> bytes:
    """A PDF with a line of text on each page."""
    out = io.BytesIO()
    lock = StandardEncryption(password or "", ownerPassword=owner) if password or owner else None
    paper = canvas.Canvas(out, pagesize=LETTER, encrypt=lock)
    for number in range(1, pages + 1):
        paper.drawString(72, 700, f"{text} {number}")
        paper.showPage()
    paper.save()
    return out.getvalue()


@cache
def picture(format: str, mode: str = "L", size: tuple[int, int] = (600, 800), **how: object) -> bytes:
    out = io.BytesIO()
    Image.radial_gradient("L").resize(size).convert(mode).save(out, format, **how)
    return out.getvalue()


@cache
def fax(pages: int = 3) -> bytes:
    out = io.BytesIO()
    sheets = [Image.linear_gradient("L").resize((1728, 1100)).point(lambda v: v // 32 % 2 * 255).convert("1")] * pages
    sheets[0].save(out, "TIFF", compression="group4", dpi=(204, 98), save_all=True, append_images=sheets[1:])
    return out.getvalue()


# PDF by hand.


def pdf(*objects: bytes, root: int = 1, trailer: bytes = b"") -> bytes:
    """A PDF of these objects, numbered from 1."""
    out, places = bytearray(b"%PDF-1.7\n"), []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    return bytes(out) + b"trailer\n<</Size %d/Root %d 0 R%b>>\nstartxref\n%d\n%%%%EOF\n" % (size, root, trailer, start)


def one_page(content: bytes = b"", more: bytes = b"", page: bytes = b"", *others: bytes) -> bytes:
    """A PDF of one page with this content stream (object 4) and these further objects (from 5 on)."""
    return pdf(
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R%b/Contents 4 0 R>>" % (page or b"/MediaBox[0 0 612 792]"),
        b"<</Length %d%b>>stream\n%b\nendstream" % (len(content), more, content),
        *others,
    )


def many_pages(count: int) -> bytes:
    kids = b" ".join(b"%d 0 R" % number for number in range(3, count + 3))
    pages = [b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]>>"] * count
    return pdf(b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[%b]/Count %d>>" % (kids, count), *pages)


def deflated(repeated: bytes, mebibytes: int) -> bytes:
    """A zlib stream of so many MiB: a compressed block that is repeated, so that it takes no time to make."""
    block = repeated * (1024 * 1024 // len(repeated))
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    once = squeeze.compress(block) + squeeze.flush(zlib.Z_FULL_FLUSH)
    return b"\x78\xda" + once * mebibytes + b"\x03\x00" + b"\0\0\0\0"


def with_image(filter: bytes, data: bytes, width: int = 1000, height: int = 1000, more: bytes = b"") -> bytes:
    """A PDF whose page shows one image of this kind."""
    image = b"<</Type/XObject/Subtype/Image/Width %d/Height %d/ColorSpace/DeviceGray/BitsPerComponent 1/Filter/%b%b/Length %d>>"
    return one_page(
        b"q 600 0 0 700 0 0 cm /I Do Q", b"", b"/MediaBox[0 0 612 792]/Resources<</XObject<</I 5 0 R>>>>",
        image % (width, height, filter, more, len(data)) + b"stream\n" + data + b"\nendstream",
    )  # fmt: skip


def deep_tree(levels: int) -> bytes:
    nodes = [b"<</Type/Pages/Kids[%d 0 R]/Count 1/Parent %d 0 R>>" % (n + 3, n + 1) for n in range(levels)]
    leaf = b"<</Type/Page/Parent %d 0 R/MediaBox[0 0 612 792]>>" % (levels + 1)
    return pdf(b"<</Type/Catalog/Pages 2 0 R>>", *nodes, leaf)


def calls_itself() -> bytes:
    """A form that draws itself, twice each time."""
    itself = b"/Resources<</XObject<</F 5 0 R>>>>"
    form = b"<</Type/XObject/Subtype/Form/BBox[0 0 9 9]%b/Length 11>>stream\n/F Do /F Do\nendstream" % itself
    return one_page(b"/F Do", b"", b"/MediaBox[0 0 612 792]" + itself, form)


def previous_is_itself() -> bytes:
    whole = letter()
    start = whole.rindex(b"startxref")
    place = whole[start:].split()[1]
    return whole.replace(b"/Size", b"/Prev %b /Size" % place, 1)


# TIFF by hand.


def ifd(entries: Iterable[tuple[int, int, int, int]], following: int = 0) -> bytes:
    entries = list(entries)
    return struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *e) for e in entries) + struct.pack("<I", following)


def tags(width: int = 8, height: int = 8, compression: int = 1, **more: int) -> list[tuple[int, int, int, int]]:
    size = (width + 7) // 8 * height
    found = {256: width, 257: height, 258: 1, 259: compression, 262: 1, 273: 8, 277: 1, 278: height, 279: min(size, 4096)}
    found.update({int(name[1:]): value for name, value in more.items()})
    return [(tag, 4, 1, value) for tag, value in sorted(found.items())]


def tiff(entries: Iterable[tuple[int, int, int, int]], data: bytes = b"\xaa" * 4096, following: int = 0) -> bytes:
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + ifd(entries, following)


def many_directories(count: int) -> bytes:
    head = b"II*\0" + struct.pack("<I", 16) + b"\xaa" * 8
    one = len(ifd(tags()))
    return head + b"".join(ifd(tags(), 16 + one * (n + 1) if n + 1 < count else 0) for n in range(count))


def directories_in_a_circle() -> bytes:
    one = len(ifd(tags()))
    return b"II*\0" + struct.pack("<I", 16) + b"\xaa" * 8 + ifd(tags(), 16 + one) + ifd(tags(), 16)


def progressive(scans: int) -> bytes:
    """A small JPEG that is drawn anew thousands of times."""
    out = io.BytesIO()
    Image.new("L", (6000, 6000), 128).save(out, "JPEG", progressive=True)
    whole = out.getvalue()
    last = whole.rindex(b"\xff\xda")
    return whole[:last] + whole[last:-2] * scans + whole[-2:]


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *more: bytes, data: bytes = b"") -> bytes:
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")


def large_jpeg() -> bytes:
    whole = bytearray(picture("JPEG"))
    place = whole.index(b"\xff\xc0") + 5
    whole[place : place + 4] = b"\xff\xff\xff\xff"
    return bytes(whole)


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


WHOLE = "whole"
ANY = ("whole", "broken", "too_large", "took_too_long")
"""Whatever the reader makes of it: it comes to an end."""
BAD = ("broken", "too_large", "took_too_long")

CORPUS: dict[str, tuple[Callable[[], bytes], tuple[str, ...]]] = {
    # as they should be
    "a letter": (letter, (WHOLE,)),
    "a letter that nobody may print": (lambda: letter(owner="boss"), (WHOLE,)),
    "a letter behind a banner": (lambda: b"HTTP/1.1 200 OK\r\n\r\n" + letter(), (WHOLE,)),
    "a letter that wants to run programs": (
        lambda: pdf(
            b"<</Type/Catalog/Pages 2 0 R/OpenAction<</S/Launch/F(calc.exe)>>/AA<</WC<</S/JavaScript/JS(app.alert(1))>>>>>>",
            b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]>>",
        ),
        (WHOLE,),
    ),
    "a fax": (fax, (WHOLE,)),
    # locked, or nothing of the kind
    "locked": (lambda: letter(password="sesame"), ("encrypted",)),
    "nothing": (lambda: b"", ("not_a_document",)),
    "text": (lambda: b"Dear colleague", ("not_a_document",)),
    "a web page": (lambda: b"<!doctype html><script>", ("not_a_document",)),
    "an archive": (lambda: b"PK\3\4" + noise(1000), ("not_a_document",)),
    "a program": (lambda: b"MZ" + noise(1000), ("not_a_document",)),
    "PostScript": (lambda: b"%!PS\n(/etc/passwd) run", ("not_a_document",)),
    "another picture": (lambda: picture("GIF", "P"), ("not_a_document",)),
    "a huge TIFF of the new kind": (lambda: b"II+\0\x08\0\0\0" + noise(100), ("not_a_document",)),
    # PDF
    "only a first line": (lambda: b"%PDF-1.7", ("broken",)),
    "a first line and noise": (lambda: b"%PDF-1.7\n" + noise(5000), ("broken",)),
    "ten thousand pages": (lambda: many_pages(10_000), ("too_many_pages",)),
    "pages that are not there": (
        lambda: pdf(b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[]/Count 2000000000>>"),
        ("broken", "too_many_pages"),
    ),
    "fewer than no pages": (lambda: pdf(b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[]/Count -5>>"), ("broken",)),
    "a page that inflates to 4 GiB": (lambda: one_page(deflated(b"q Q ", 4096), b"/Filter/FlateDecode"), ANY),
    "text that inflates to 1 GiB": (
        lambda: one_page(deflated(b"BT (aa) Tj ET   ", 1024), b"/Filter/FlateDecode"),
        ANY,
    ),
    "a bomb within a bomb": (
        lambda: one_page(zlib.compress(deflated(b"    ", 2048)), b"/Filter[/FlateDecode/FlateDecode]"),
        ANY,
    ),
    "a page as large as a country": (lambda: one_page(b"", b"", b"/MediaBox[0 0 1000000000 1000000000]"), ANY),
    "a page like a thread": (lambda: one_page(b"", b"", b"/MediaBox[0 0 0.0001 90000000]"), ANY),
    "a page without a size": (lambda: one_page(b"", b"", b"/MediaBox[5 5 5 5]"), ANY),
    "a page inside out": (lambda: one_page(b"", b"", b"/MediaBox[612 792 0 0]/Rotate 45"), ANY),
    "a page of no number": (lambda: one_page(b"", b"", b"/MediaBox[nan inf -inf 1e999]"), ANY),
    "a tree that is its own branch": (
        lambda: pdf(b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[2 0 R 2 0 R]/Count 5/Parent 2 0 R>>"),
        ANY,
    ),
    "a tree of ten thousand levels": (lambda: deep_tree(10_000), ANY),
    "a form that draws itself": (calls_itself, ANY),
    "a table that is its own past": (previous_is_itself, ANY),
    "brackets without an end": (lambda: one_page(b"[" * 200_000), ANY),
    "states without an end": (lambda: one_page(b"q " * 500_000), ANY),
    "nested names": (lambda: pdf(b"<<" * 50_000), BAD),
    "JBIG2 noise": (lambda: with_image(b"JBIG2Decode", noise(4000)), ANY),
    "JPEG 2000 noise": (lambda: with_image(b"JPXDecode", b"\0\0\0\x0cjP  \r\n\x87\n" + noise(4000)), ANY),
    "fax noise": (lambda: with_image(b"CCITTFaxDecode", noise(4000), more=b"/DecodeParms<</K -1/Columns 60000>>"), ANY),
    "a picture larger than memory": (lambda: with_image(b"FlateDecode", deflated(b"\0" * 16, 64), 100_000, 100_000), ANY),
    # TIFF
    "a fax larger than memory": (lambda: tiff(tags(1_000_000, 1_000_000)), ("too_large",)),
    "ten thousand faxes in one": (lambda: many_directories(10_000), ("too_many_pages",)),
    "pages in a circle": (directories_in_a_circle, (WHOLE, "broken", "too_many_pages")),
    "a directory that is its own next": (lambda: tiff(tags(), following=8 + 4096), (WHOLE, "broken", "too_many_pages")),
    "a description of 4 GiB": (lambda: tiff([*tags(), (270, 2, 0xFFFFFFFF, 8)]), ANY),
    "a billion of strips": (lambda: tiff([*tags()[:5], (273, 4, 1_000_000_000, 8), *tags()[6:]]), ANY),
    "sixty thousand bits": (lambda: tiff(tags(t258=65535)), ANY),
    "no width": (lambda: tiff(tags(t256=0)), BAD),
    "no rows in a strip": (lambda: tiff(tags(t278=0)), ANY),
    "a directory in the dark": (lambda: b"II*\0\xff\xff\xff\x7f", ("broken",)),
    "fax runs of noise": (lambda: tiff(tags(1728, 2200, 4), noise(4096)), ANY),
    "LZW of noise": (lambda: tiff(tags(1728, 2200, 5), noise(4096)), ANY),
    "JPEG of noise": (lambda: tiff(tags(1728, 2200, 7), noise(4096)), ANY),
    "a method nobody knows": (lambda: tiff(tags(1728, 2200, 4711)), BAD),
    "tags of noise": (lambda: tiff([(n * 7, n % 20, n * 99, n * 12345) for n in range(300)]), BAD),
    # JPEG and PNG
    "a photograph larger than memory": (large_jpeg, ("too_large",)),
    "a photograph that is drawn two thousand times": (lambda: progressive(2000), ("took_too_long",)),
    "half a photograph": (lambda: picture("JPEG")[:4000], ("broken",)),
    "a drawing larger than memory": (lambda: png(100_000, 100_000), ("too_large",)),
    "a drawing that inflates to 1 GiB": (lambda: png(100, 100, data=deflated(b"\0" * 16, 1024)), ANY),
    "a caption that inflates to 1 GiB": (
        lambda: png(10, 10, png_chunk(b"zTXt", b"a\0\0" + deflated(b"a" * 16, 1024)), data=zlib.compress(b"\0" * 110)),
        ANY,
    ),
    "a drawing without a picture": (lambda: png(100, 100), BAD),
}


def cut_short() -> Iterable[bytes]:
    """Good documents that end too early, everywhere."""
    for whole in (letter(), fax(), picture("JPEG"), picture("PNG"), picture("TIFF")):
        for part in (1, 3, 5):
            yield whole[: len(whole) * part // 6]


def mutated(chance: random.Random) -> bytes:
    """One of the good or bad documents with some bytes changed, moved, doubled or taken away."""
    makes = [make for make, _ in CORPUS.values()]
    data = bytearray()
    while not data or len(data) > 300_000:
        data = bytearray(chance.choice((letter, fax, lambda: picture("JPEG"), lambda: picture("PNG"), *makes))())
    for _ in range(chance.choice((1, 3, 10, 50))):
        at, size = chance.randrange(len(data)), chance.choice((1, 1, 2, 4, 40))
        what = chance.random()
        if what < 0.4:
            data[at : at + size] = chance.randbytes(size)
        elif what < 0.6:
            data[at : at + size] = chance.choice((b"\xff", b"\0", b"\x7f\xff\xff\xff", b"99999999")) * size
        elif what < 0.8:
            data[at:at] = data[max(0, at - size * 10) : at]
        elif len(data) > size + 1:
            del data[at : at + size]
    return bytes(data)
