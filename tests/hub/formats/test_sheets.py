"""Spreadsheets: what goes in comes out, nothing is a formula, and what is no table of a clinic is refused."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings, strategies as st
from openpyxl import Workbook, load_workbook

from hub.errors import MessageUnusable
from hub.formats import sheets
from hub.formats.sheets import Cell, read_sheet, write_csv, write_xlsx

Write = Callable[[Sequence[Sequence[Cell]]], bytes]
WRITERS: list[Write] = [write_csv, write_xlsx]
DANGEROUS = "=+-@\t\r\n＝＋－＠"
writers = pytest.mark.parametrize("write", WRITERS, ids=["csv", "xlsx"])

texts = (
    st.text(max_size=12) | st.text("=+-@'\"\t\r\n,;_x0041＝", max_size=8) | st.from_regex(r"0{0,5}[0-9]{1,6}", fullmatch=True)
)
days = st.dates(date(1, 1, 1), date(9999, 12, 31))
moments = st.datetimes(datetime(1900, 3, 1), datetime(9999, 12, 31)).map(lambda m: m.replace(microsecond=0))
tables = st.lists(st.lists(texts | days | moments | st.none(), max_size=5), max_size=5)


def plain(cell: Cell) -> str:
    """What has to come back for a cell."""
    if isinstance(cell, datetime):
        return cell.isoformat(" ")
    if isinstance(cell, date):
        return cell.isoformat()
    return "".join(map(writable, (cell or "").replace("\r\n", "\n").replace("\r", "\n")))


def writable(character: str) -> str:
    if character == "\0" or "\ud800" <= character <= "\udfff":
        return "?"
    return (
        "\N{REPLACEMENT CHARACTER}"
        if (character < " " and character not in "\t\n") or character in "\ufffe\uffff"
        else character
    )


def without_ends(rows: list[list[str]]) -> list[list[str]]:
    for row in rows:
        while row and not row[-1]:
            row.pop()
    while rows and not rows[-1]:
        rows.pop()
    return rows


# Round trip.


@writers
@given(tables)
@settings(deadline=None, max_examples=120)
def test_what_is_written_is_read_again(write: Write, rows: list[list[Cell]]) -> None:
    assert read_sheet(write(rows)) == without_ends([[plain(cell) for cell in row] for row in rows])


@writers
def test_leading_zeros_and_days_stay(write: Write) -> None:
    row: list[Cell] = ["00042", "W0100", date(1980, 2, 29), datetime(2026, 11, 24, 8, 5, tzinfo=timezone(timedelta(hours=-6)))]
    assert read_sheet(write([row])) == [["00042", "W0100", "1980-02-29", "2026-11-24 08:05:00"]]


def test_days_are_days_and_numbers_are_text_in_xlsx() -> None:
    sheet = load_workbook(io.BytesIO(write_xlsx([["00042", date(2026, 11, 24), "310.50"]]))).active
    assert sheet is not None
    zeros, day, amount = sheet[1]
    assert (zeros.value, zeros.data_type, zeros.number_format) == ("00042", "s", "@")
    assert (day.is_date, day.number_format) == (True, "yyyy-mm-dd")
    assert (amount.value, amount.data_type) == ("310.50", "s")


def test_zeros_that_only_a_number_format_shows_are_read() -> None:
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append([42, 42, 310.5, True, date(2026, 11, 24), datetime(2026, 11, 24)])
    sheet["A1"].number_format = "00000"
    sheet["F1"].number_format = "yyyy-mm-dd hh:mm"
    out = io.BytesIO()
    book.save(out)
    assert read_sheet(out.getvalue()) == [["00042", "42", "310.5", "TRUE", "2026-11-24", "2026-11-24 00:00:00"]]


@writers
def test_a_cell_longer_than_a_spreadsheet_holds_says_that_it_goes_on(write: Write) -> None:
    (cell,) = read_sheet(write([["x" * 40_000]]))[0]
    assert (len(cell), cell[-1]) == (sheets.LONGEST_CELL, "…")


@pytest.mark.parametrize("title", ["", "Day: 2026/11/24 [x]*?", "'", "a" * 50, "\0"])
def test_any_title_will_do(title: str) -> None:
    assert read_sheet(write_xlsx([["a"]], title)) == [["a"]]


# Formulas.


@given(st.sampled_from(DANGEROUS), st.text(max_size=10), st.text("'", max_size=3))
@settings(deadline=None)
def test_no_text_is_a_formula_in_csv(first: str, rest: str, before: str) -> None:
    body = write_csv([[before + first + rest]]).decode("utf-8-sig")
    (cell,) = next(csv.reader(io.StringIO(body, newline="")))
    assert cell[0] == "'"
    assert body.startswith('"')


@given(st.sampled_from(DANGEROUS), st.text(max_size=10))
@settings(deadline=None, max_examples=50)
def test_no_text_is_a_formula_in_xlsx(first: str, rest: str) -> None:
    data = write_xlsx([[first + rest]])
    assert b"<f" not in zipfile.ZipFile(io.BytesIO(data)).read("xl/worksheets/sheet1.xml")
    sheet = load_workbook(io.BytesIO(data)).active
    assert sheet is not None
    assert sheet["A1"].data_type in ("s", "inlineStr")


@pytest.mark.parametrize("text", ["#N/A", "#REF!", "TRUE", '=HYPERLINK("http://x")', "{=1}"])
def test_what_looks_like_something_else_is_text_in_xlsx(text: str) -> None:
    sheet = load_workbook(io.BytesIO(write_xlsx([[text]]))).active
    assert sheet is not None
    assert (sheet["A1"].value, sheet["A1"].number_format) == (text, "@")


def test_of_a_formula_the_saved_result_is_read_and_nothing_is_computed() -> None:
    book = Workbook()
    assert book.active is not None
    book.active["A1"] = "=1+1"
    out = io.BytesIO()
    book.save(out)
    assert read_sheet(out.getvalue()) == []


# What is refused.


def packed(sheet: str, *, parts: int = 0, more: bytes = b"") -> bytes:
    """An XLSX by hand, with this XML as its sheet."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(write_xlsx([["a"]]))) as good, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for part in good.namelist():
            made.writestr(part, sheet if part == "xl/worksheets/sheet1.xml" and sheet else good.read(part))
        for number in range(parts):
            made.writestr(f"p{number}", b"")
        if more:
            made.writestr("more", more)
    return out.getvalue()


_HEAD = '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
BOMBS = {
    "unpacks to gigabytes": lambda: packed("", more=bytes(sheets.LARGEST_UNPACKED)),
    "thousands of parts": lambda: packed("", parts=sheets.MOST_PARTS),
    "entities": lambda: packed(
        f'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>{_HEAD}<sheetData><row r="1"><c r="A1" t="inlineStr"><is>'
        "<t>&b;</t></is></c></row></sheetData></worksheet>"
    ),
    "a row far below": lambda: packed(
        f'{_HEAD}<sheetData><row r="1048576"><c r="A1048576"><v>1</v></c></row></sheetData></worksheet>'
    ),
    "broken XML": lambda: packed(f"{_HEAD}<sheetData><row"),
    "no sheet": lambda: packed("<x/>")[:200],
    "a picture": lambda: b"\x89PNG\r\n\x1a\n\xff\xfe",
    "a quote that is not closed": lambda: b'a,"b\n',
    "too long": lambda: bytes(sheets.LARGEST_FILE + 1),
    "too many rows": lambda: b"a\n" * (sheets.MOST_ROWS + 1),
}


@pytest.mark.parametrize("what", BOMBS)
def test_what_is_no_table_of_a_clinic_is_refused_with_words(what: str) -> None:
    with pytest.raises(MessageUnusable, match=r"smaller|save it|was not read|cannot be read"):
        read_sheet(BOMBS[what]())


@given(st.binary(max_size=300) | st.binary(max_size=200).map(lambda b: b"PK\3\4" + b))
@settings(deadline=None)
def test_any_bytes_are_a_table_or_refused(data: bytes) -> None:
    try:
        assert isinstance(read_sheet(data), list)
    except MessageUnusable:
        pass


def test_a_wide_row_is_cut_and_not_believed_to_be_as_wide_as_it_says() -> None:
    wide = packed(
        f'{_HEAD}<dimension ref="A1:XFD1048576"/><sheetData><row r="1"><c r="A1"><v>1</v></c><c r="XFD1"><v>2</v></c></row>'
        "</sheetData></worksheet>"
    )
    assert read_sheet(wide) == [["1"]]
