"""Spreadsheets: tables of text and dates, written as CSV or XLSX and read back; the one home of openpyxl.

Nothing in a table is ever a formula.  In CSV a text that a spreadsheet program would take for one (`=`, `+`, `-`, `@`, tab or
line end first) begins with an apostrophe; in XLSX every text is a cell of type text.  Numbers with leading zeros stay as they
are, in XLSX also on the screen; programs that open CSV with a double click drop them: XLSX is for people, CSV for programs.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time
from typing import Any

from hub.errors import MessageUnusable
from hub.texts import whole_characters

Cell = str | date | datetime | None
"""A datetime is written as the clock on the wall shows it: without its zone, to the second."""

LARGEST_FILE = 16 * 1024 * 1024
"""Bytes of a file that is read."""
LARGEST_UNPACKED = 128 * 1024 * 1024
"""Bytes an XLSX may unpack to."""
MOST_PARTS = 1000
"""Files inside an XLSX."""
MOST_ROWS = 100_000
MOST_COLUMNS = 256
LONGEST_CELL = 32_767
"""Characters; Excel takes no more."""
_RISKY = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
"""How a text begins that must not reach a spreadsheet program as it is; the wide forms count in East Asian editions."""
_QUOTED = re.compile(r"'+[=+\-@\t\r\n＝＋－＠]")
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_CODE = re.compile(r"_x([0-9A-Fa-f]{4})_")
"""How XLSX writes a character that XML cannot hold; a text that looks like one is written with `_x005F_` for its first `_`."""
_FIRST_DAY = date(1900, 3, 1)
"""Days before it are text: spreadsheet programs disagree about them."""
_ZEROS = re.compile(r"0{2,30}")
"""A number format that shows leading zeros."""


# Writing.


def write_csv(rows: Sequence[Sequence[Cell]]) -> bytes:
    """UTF-8 with a byte order mark, every cell in quotes, days as 2026-11-24, times as 2026-11-24 14:30:00."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerows([[_harmless(_text(cell)) for cell in row] for row in rows])
    return out.getvalue().encode("utf-8-sig")


def write_xlsx(rows: Sequence[Sequence[Cell]], title: str = "Sheet") -> bytes:
    """A workbook with one sheet, its first row as a heading that stays in view and can be filtered."""
    from openpyxl import Workbook
    from openpyxl.styles import Alignment, Font
    from openpyxl.utils import get_column_letter

    book = Workbook()
    sheet: Any = book.active
    sheet.title = re.sub(r"[\[\]:*?/\\]", " ", _text(title))[:31].strip(" '") or "Sheet"
    for number, row in enumerate(rows, 1):
        for column, value in enumerate(row, 1):
            _fill(sheet.cell(number, column), value)
    for cell in sheet[1] if rows else ():
        cell.font = Font(bold=True)
    for column, width in enumerate(_widths(rows), 1):
        sheet.column_dimensions[get_column_letter(column)].width = width
        for cell in sheet[get_column_letter(column)]:
            cell.alignment = Alignment(wrap_text=True, vertical="top")
    sheet.freeze_panes = "A2"
    if rows and rows[0]:
        sheet.auto_filter.ref = sheet.dimensions
    sheet.print_title_rows = "1:1"
    sheet.page_setup.orientation = "landscape"
    sheet.page_setup.fitToHeight = 0
    sheet.sheet_properties.pageSetUpPr.fitToPage = True
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _fill(cell: Any, value: Cell) -> None:
    if isinstance(value, date) and _day(value) >= _FIRST_DAY:
        timed = isinstance(value, datetime)
        cell.value = value.replace(tzinfo=None, microsecond=0) if isinstance(value, datetime) else value
        cell.number_format = "yyyy-mm-dd hh:mm:ss" if timed else "yyyy-mm-dd"
        return
    text = _text(value)
    if text:
        cell.value = _CODE.sub(r"_x005F_x\1_", text)
        cell.data_type = "s"  # whatever it looks like
        cell.number_format = "@"


def _day(value: date) -> date:
    return value.date() if isinstance(value, datetime) else value


def _widths(rows: Sequence[Sequence[Cell]]) -> list[int]:
    columns = max((len(row) for row in rows), default=0)
    longest = [max((len(_text(row[index])) for row in rows if index < len(row)), default=0) for index in range(columns)]
    return [min(max(length + 2, 8), 50) for length in longest]


def _text(cell: Cell) -> str:
    """The cell as text that both forms can hold."""
    if isinstance(cell, datetime):
        return cell.replace(tzinfo=None).isoformat(" ", "seconds")
    if isinstance(cell, date):
        return cell.isoformat()
    text = _UNWRITABLE.sub("\N{REPLACEMENT CHARACTER}", whole_characters(cell or ""))
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text if len(text) <= LONGEST_CELL else text[: LONGEST_CELL - 1] + "…"


def _harmless(text: str) -> str:
    return f"'{text}" if _RISKY.match(text) else text


# Reading.


def read_sheet(data: bytes) -> list[list[str]]:
    """The rows of a CSV file or of the first sheet of an XLSX, as text; of formulas the result that was saved with them.

    What is empty at the end of rows and of the table is left out; of a row no more than 256 cells are read.  Raises
    MessageUnusable when it is neither, or more than a clinic would send.
    """
    if len(data) > LARGEST_FILE:
        raise MessageUnusable(f"the file is longer than {LARGEST_FILE} bytes; send a smaller one", code="SHT-001")
    rows = _xlsx_rows(data) if data.startswith(b"PK\3\4") else _csv_rows(data)
    found: list[list[str]] = []
    for row in rows:
        if len(found) >= MOST_ROWS:
            raise MessageUnusable(f"the table has more than {MOST_ROWS} rows; send a smaller one", code="SHT-001")
        found.append(_without_empty_end(row[:MOST_COLUMNS]))
    while found and not found[-1]:
        found.pop()
    return found


def _without_empty_end(row: list[str]) -> list[str]:
    while row and not row[-1]:
        row.pop()
    return row


def _csv_rows(data: bytes) -> Iterator[list[str]]:
    try:
        text = data.decode("utf-8-sig")
        for row in csv.reader(io.StringIO(text, newline=""), strict=True):
            yield [cell[1:] if _QUOTED.match(cell) else cell for cell in row]
    except UnicodeDecodeError:
        raise MessageUnusable("the file is neither XLSX nor CSV in UTF-8; save it as one of these", code="SHT-002") from None
    except csv.Error:
        raise MessageUnusable("the CSV cannot be read; is a quote not closed, or a cell very long?", code="SHT-002") from None


def _xlsx_rows(data: bytes) -> Iterator[list[str]]:
    from openpyxl import load_workbook

    _refuse_bomb(data)
    try:
        book = load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)
        sheet: Any = book.worksheets[0]
        sheet.reset_dimensions()  # what the file says of its size is not believed
        for row in sheet.iter_rows(max_row=MOST_ROWS + 1, max_col=MOST_COLUMNS):
            yield _without_empty_end([_shown(cell) for cell in row])
    except Exception as error:  # openpyxl and the XML reader raise anything for a file that is not what it says
        if isinstance(error, MessageUnusable):
            raise
        raise MessageUnusable("the XLSX cannot be read; save it anew, or as CSV", code="SHT-002") from None


def _refuse_bomb(data: bytes) -> None:
    """What is small on the disk and huge when unpacked; a part never gives more bytes than it says here."""
    try:
        parts = zipfile.ZipFile(io.BytesIO(data)).infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
        raise MessageUnusable("the XLSX cannot be read; save it anew, or as CSV", code="SHT-002") from None
    if len(parts) > MOST_PARTS or sum(part.file_size for part in parts) > LARGEST_UNPACKED:
        raise MessageUnusable("the XLSX unpacks to more than a table of a clinic has; it was not read", code="SHT-001")


def _shown(cell: Any) -> str:
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, datetime):
        is_day = value.time() == time() and not re.search("[hs]", cell.number_format or "", re.IGNORECASE)
        return value.date().isoformat() if is_day else value.isoformat(" ", "seconds")
    if isinstance(value, int | float):
        return _number(value, cell.number_format or "")
    return whole_characters(_CODE.sub(lambda code: chr(int(code[1], 16)), str(value)))


def _number(value: float, format: str) -> str:
    text = str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else str(value)
    return text.zfill(len(format)) if _ZEROS.fullmatch(format) and text.isdecimal() else text
