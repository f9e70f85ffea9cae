"""What becomes of documents: text, bar codes and pages survive every way they are turned."""

from __future__ import annotations

import asyncio
import io

import pypdfium2
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from PIL import Image

from hub.formats import pages
from hub.formats.pages import Limits, UnusableDocument, reading
from tests.hub.formats.pages.hostile import fax, letter, picture

FEW = settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow])


async def texts(document: bytes) -> list[str]:
    looked = await pages.look(document)
    assert looked.state == "whole"
    return [page.text.strip() for page in looked.read]


async def codes(document: bytes) -> list[list[str]]:
    return [[code.text for code in page.codes] for page in (await pages.look(document)).read]


async def test_a_pdf_tells_its_pages_and_their_text() -> None:
    looked = await pages.look(letter(3))
    assert (looked.state, looked.kind, looked.pages, looked.has_text, looked.why) == ("whole", "application/pdf", 3, True, "")
    assert await texts(letter(3)) == ["Dear colleague 1", "Dear colleague 2", "Dear colleague 3"]


async def test_a_picture_has_pages_and_no_text() -> None:
    for body, kind, count in ((fax(3), "image/tiff", 3), (picture("JPEG"), "image/jpeg", 1), (picture("PNG"), "image/png", 1)):
        looked = await pages.look(body)
        assert (looked.state, looked.kind, looked.pages, looked.has_text) == ("whole", kind, count, False)


async def test_a_body_is_read_where_nobody_waits_for_it() -> None:
    assert (await pages.look(lambda: letter(1))).pages == 1


# Bar codes.


@FEW
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=120))
async def test_what_a_cover_sheet_says_in_its_code_is_read_again(text: str) -> None:
    sheet = await pages.cover("Cover sheet", ["To: the chart"], code=text)
    assert await codes(sheet) == [[text]]


async def test_behind_a_page_with_a_code_all_pages_are_looked_at() -> None:
    sheets = [await pages.cover("Cover sheet", [], code=name) for name in ("first", "second")]
    whole = await pages.join(sheets[0], letter(20), sheets[1])
    for body in (whole, await pages.to_tiff(whole)):
        looked = await pages.look(body)
        assert [code.text for page in looked.read for code in page.codes] == ["first", "second"]
        assert (looked.pages, looked.unread, looked.unscanned) == (22, 0, 0)


async def test_it_is_told_what_was_not_looked_at() -> None:
    few = Limits(read=2, scanned=1)
    seen = [await pages.look(body, few) for body in (letter(3), fax(3), letter(1))]
    assert [(looked.unread, looked.unscanned) for looked in seen] == [(1, 2), (0, 2), (0, 0)]
    assert (await pages.look(letter(2), Limits(text=5))).unread == 2


async def test_pages_behind_a_code_are_looked_at_only_while_there_is_time() -> None:
    body = await pages.join(await pages.cover("Cover sheet", [], code="first"), letter(3))
    scanned = [line["page"] for line in reading.look(body, Limits(scanned=2, seconds=0)) if "codes" in line]
    assert scanned == [0, 1]


async def test_the_code_survives_a_fax_of_the_coarse_kind() -> None:
    sheet = await pages.cover("Cover sheet", ["To: the chart"], code="clinic-hub:42:1980")
    sent = await pages.to_tiff(await pages.join(sheet, letter(1)), "standard")
    assert await codes(sent) == [["clinic-hub:42:1980"], []]
    assert await codes(await pages.to_pdf(sent)) == [["clinic-hub:42:1980"], []]


async def test_lines_that_do_not_fit_on_a_cover_sheet_are_refused() -> None:
    wrapped = await pages.cover("Referral", ["word " * 200])
    assert (await pages.look(wrapped)).pages == 1
    with pytest.raises(UnusableDocument) as caught:
        await pages.cover("Referral", ["a line"] * 100)
    assert caught.value.state == "too_large"


# Pages.


@pytest.mark.parametrize(("count", "cut"), [(2, 1), (5, 3)])
async def test_a_part_and_the_rest_are_the_whole(count: int, cut: int) -> None:
    whole = letter(count)
    first, rest = await asyncio.gather(pages.part(whole, 1, cut), pages.part(whole, cut + 1))
    assert (await pages.look(first)).pages == cut
    assert await texts(await pages.join(first, rest)) == [f"Dear colleague {number}" for number in range(1, count + 1)]


async def test_pages_that_are_not_there_cannot_be_taken() -> None:
    for first, last in ((0, 1), (2, 1), (1, 3)):
        with pytest.raises(UnusableDocument) as caught:
            await pages.part(letter(2), first, last)
        assert caught.value.state == "no_such_page"


async def test_the_rest_of_a_fax_that_was_cut_off_is_part_of_a_tiff_too() -> None:
    assert (await pages.look(await pages.part(fax(3), 2))).pages == 2


async def test_documents_of_every_kind_become_one() -> None:
    whole = await pages.join(letter(2), fax(3), picture("JPEG"), picture("PNG"), picture("TIFF", "RGB"))
    assert (await pages.look(whole)).pages == 8
    assert await pages.to_pdf(whole) == whole, "a PDF stays as it is"


async def test_pictures_of_every_mode_become_a_page_that_looks_the_same() -> None:
    for modes in (("1", "L"), ("LA", "RGB"), ("RGBA", "P"), ("CMYK", "I;16")):
        await asyncio.gather(*map(_looks_the_same, modes))


async def _looks_the_same(mode: str) -> None:
    out = io.BytesIO()
    Image.linear_gradient("L").resize((400, 520)).convert(mode).save(out, "TIFF", dpi=(100, 100))
    back = Image.open(io.BytesIO(await pages.to_tiff(out.getvalue())))
    assert abs(back.size[1] - 520 * 196 / 100) <= 2, "of the same size on paper"
    if mode != "I;16":  # whose values are too small to be seen here
        shades = [_grey(back, 1728 // 2, int(part * back.size[1])) for part in (0.1, 0.9)]
        assert shades[0] < 80 < 170 < shades[1], mode


def _grey(sheet: Image.Image, x: int, y: int) -> float:
    box = sheet.convert("L").crop((x - 60, y - 20, x + 60, y + 20))
    return sum(box.tobytes()) / (box.width * box.height)


async def test_a_photograph_is_taken_over_byte_for_byte() -> None:
    photograph = picture("JPEG", "RGB")
    assert photograph[20:-2] in await pages.to_pdf(photograph)


async def test_a_photograph_of_a_camera_fits_on_a_sheet() -> None:
    """4,000 dots at 72 to the inch would be a page of 55 inches."""
    page = await pages.to_pdf(picture("JPEG", "L", (4000, 3000), dpi=(72, 72)))
    assert pypdfium2.PdfDocument(page)[0].get_size() == pytest.approx((11 * 72, 8.25 * 72))


async def test_a_photograph_that_was_taken_sideways_stands_upright() -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    out = io.BytesIO()
    Image.new("L", (800, 600), 200).save(out, "JPEG", exif=turned.tobytes(), dpi=(100, 100))
    sheet = Image.open(io.BytesIO(await pages.to_tiff(out.getvalue())))
    assert abs(sheet.height - 8 * 196) <= 2


# TIFF/F.


@pytest.mark.parametrize(("resolution", "down"), [("fine", 196), ("standard", 98)])
@pytest.mark.parametrize(("compression", "number"), [("group3", 3), ("group4", 4)])
async def test_a_fax_is_what_fax_engines_want(
    resolution: pages.Resolution, down: int, compression: pages.Compression, number: int
) -> None:
    """RFC 2306: the fields of a black-and-white page, and each page its number."""
    sent = Image.open(io.BytesIO(await pages.to_tiff(letter(3), resolution, compression)))
    assert sent.n_frames == 3  # type: ignore[attr-defined]
    for page in range(3):
        sent.seek(page)
        tags = dict(sent.tag_v2)  # type: ignore[attr-defined]
        assert tags[256] == 1728
        assert tags[257] == pytest.approx(11 * down * 1728 / 1734, abs=1), "8.5 inches have 1734 dots, a sheet has 1728"
        assert (tags[258], tags[259], tags[262], tags[266], tags[277], tags[296]) == ((1,), number, 0, 1, 1, 2)
        assert (tags[282], tags[283], tags[254], tags[297]) == (204, down, 2, (page, 3))
        assert tags[278] == tags[257], "one strip"
        assert _grey(sent, 1600, 60) == 255, "paper is white"
        assert sum(sent.convert("L").histogram()[:128]) > 100, "and something stands on it"


async def test_a_wide_page_is_faxed_across_the_sheet() -> None:
    out = io.BytesIO()
    Image.new("L", (1100, 850), 0).save(out, "PNG", dpi=(100, 100))
    assert Image.open(io.BytesIO(await pages.to_tiff(out.getvalue()))).size == (1728, pytest.approx(11 * 196, abs=20))
