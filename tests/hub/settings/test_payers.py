"""The payer list is a CSV file people keep in a spreadsheet: every mistake in it is told with its line."""

from pathlib import Path

import pytest

from hub.errors import Problem, Problems
from hub.formats.sheets import write_xlsx
from hub.records import Payer
from hub.settings.payers import read_payers

HEAD = "payer,name,clearinghouse_id,also,service_types,check,medicare\n"


def read(folder: Path, content: str | bytes) -> tuple[list[Payer], list[Problem]]:
    file = folder / "payers.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    problems = Problems()
    return read_payers(file, problems), problems.found


def test_a_good_list_is_read(tmp_path: Path) -> None:
    lines = '60054,"Aetna, Inc.",60054,AETNA US,30 98,yes,\nCMS,Medicare,CMS,,30,,yes\n'
    lines += "SELFPAY,Self-pay,,SP,,self_pay,\nX,Local,,,,no,\n"
    payers, problems = read(tmp_path, HEAD + lines)
    assert not problems
    assert [(p.payer, p.name, p.clearinghouse_id, p.also, p.service_types, p.check, p.medicare) for p in payers] == [
        ("60054", "Aetna, Inc.", "60054", ("AETNA", "US"), ("30", "98"), "yes", False),
        ("CMS", "Medicare", "CMS", (), ("30",), "yes", True),
        ("SELFPAY", "Self-pay", "", ("SP",), ("30",), "self_pay", False),
        ("X", "Local", "", (), ("30",), "no", False),
    ]


def test_columns_may_be_left_out_and_come_in_any_order(tmp_path: Path) -> None:
    payers, problems = read(tmp_path, "clearinghouse_id,name,payer\n60054,Aetna,00054\n")
    assert not problems
    assert (payers[0].payer, payers[0].service_types) == ("00054", ("30",))


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfpayer,name,clearinghouse_id\r\n1,A,1\r\n",
        b"payer,name,clearinghouse_id\n\n1,A,1\n\n\n",
        b"payer,name,clearinghouse_id\n 1 , A ,1 \n",
    ],
    ids=["as Excel saves it", "with empty lines", "with blanks around"],
)
def test_what_spreadsheets_do_to_a_list_is_no_mistake(tmp_path: Path, content: bytes) -> None:
    payers, problems = read(tmp_path, content)
    assert not problems
    assert [(p.payer, p.name) for p in payers] == [("1", "A")]


def test_the_list_may_be_a_spreadsheet_and_its_leading_zeros_stay(tmp_path: Path) -> None:
    file = tmp_path / "payers.xlsx"
    rows = [["payer", "name", "clearinghouse_id", "network", "places"], ["00042", "A, Inc.", "00042", "out", "VIDEO=10 02"]]
    file.write_bytes(write_xlsx(rows))
    problems = Problems()
    (payer,) = read_payers(file, problems)
    assert problems.found == []
    assert (payer.payer, payer.name, payer.clearinghouse_id) == ("00042", "A, Inc.", "00042")
    assert (payer.network, payer.places) == ("out", {"VIDEO": ("10", "02")})
    file.write_bytes(write_xlsx([*rows, ["2", "B", "2", "in", "VIDEO=office"]]))
    read_payers(file, problems)
    assert [(p.code, p.line, p.column) for p in problems.found] == [("CFG-042", 3, 5)]


def test_a_spreadsheet_that_is_none_is_a_mistake_and_no_crash(tmp_path: Path) -> None:
    file, problems = tmp_path / "payers.xlsx", Problems()
    file.write_bytes(b"PK\3\4 and nothing more")
    assert read_payers(file, problems) == []
    assert [(p.code, "XLSX" in p.text) for p in problems.found] == [("CFG-040", True)]


MISTAKES = {
    "a word under network": ("payer,name,clearinghouse_id,network\n1,A,1,maybe\n", "CFG-042", 2, "network"),
    "a word under places": ("payer,name,clearinghouse_id,places\n1,A,1,VIDEO=office\n", "CFG-042", 2, "place of service"),
    "an unknown column": ("payer,name,clearing_house\n1,A,1\n", "CFG-041", 1, "clearing_house"),
    "two unknown columns": ("payer,name,colour,clearing_house\n1,A,r,1\n", "CFG-041", 1, "clearing_house"),
    "a missing column": ("payer,clearinghouse_id\n1,1\n", "CFG-041", 1, "name"),
    "an empty file": ("", "CFG-041", 1, "payer"),
    "a column named twice": ("payer,name,name,clearinghouse_id\n1,A,B,1\n", "CFG-041", 1, "name"),
    "semicolons instead of commas": ("payer;name;clearinghouse_id\n1;A;1\n", "CFG-041", 1, "payer"),
    "no id": (f"{HEAD}1,A,1\n,B,2\n", "CFG-042", 3, "id"),
    "no name": (f"{HEAD}1,A,1\n2,,2\n", "CFG-042", 3, "name"),
    "a word under check": (f"{HEAD}1,A,1,,,sometimes,\n", "CFG-042", 2, "check"),
    "a word under medicare": (f"{HEAD}1,A,1,,,,perhaps\n", "CFG-042", 2, "medicare"),
    "an id that stands twice": (f"{HEAD}1,A,1\n2,B,2\n1,C,3\n", "CFG-043", 4, "'1'"),
    "an id that is another's other name": (f"{HEAD}1,A,1,AETNA\nAETNA,B,2\n", "CFG-043", 3, "'AETNA'"),
    "an id in other letters": (f"{HEAD}aetna,A,1\nAETNA,B,2\n", "CFG-043", 3, "'AETNA'"),
    "nothing to ask by": (f"{HEAD}1,A,\n", "CFG-044", 2, "clearinghouse_id"),
    "a comma that is not quoted": (f"{HEAD}1,Aetna, Inc.,1,,30,yes,,\n", "CFG-042", 2, ""),
    "a cell too many": ("payer,name,clearinghouse_id\n1,Aetna, Inc.,60054\n", "CFG-042", 2, ""),
    "a quote that is never closed": (f'{HEAD}1,"A,1\n2,B,2\n', "", 0, ""),
}


@pytest.mark.parametrize(("content", "code", "line", "word"), MISTAKES.values(), ids=MISTAKES)
def test_each_mistake_is_told_with_its_line(tmp_path: Path, content: str, code: str, line: int, word: str) -> None:
    _, problems = read(tmp_path, content)
    assert problems
    assert {p.file for p in problems} == {str(tmp_path / "payers.csv")}
    if code:
        assert [(p.code, p.line) for p in problems] == [(code, line)]
        assert word in problems[0].text


def test_all_lines_are_told_at_once_and_the_good_ones_are_read(tmp_path: Path) -> None:
    payers, problems = read(tmp_path, f"{HEAD}1,A,1\n,B,2\n3,C,\n4,D,4,,,maybe\n1,E,5\n6,F,6\n")
    assert [(p.code, p.line) for p in problems] == [("CFG-042", 3), ("CFG-044", 4), ("CFG-042", 5), ("CFG-043", 6)]
    assert {"1", "6"} <= {p.payer for p in payers}


def test_lines_are_counted_as_an_editor_counts_them(tmp_path: Path) -> None:
    _, problems = read(tmp_path, f'{HEAD}1,"A\nof B",1\n\n2,C,\n')
    assert [(p.code, p.line) for p in problems] == [("CFG-044", 5)]


@pytest.mark.parametrize(
    "content", [b"payer,name\n1,M\xfcller\n", b"PK\x03\x04\x00\xff\xfe"], ids=["windows-1252", "an Excel file"]
)
def test_a_file_that_is_no_text_is_told(tmp_path: Path, content: bytes) -> None:
    payers, problems = read(tmp_path, content)
    assert not payers
    assert [p.code for p in problems] == ["CFG-040"]


def test_a_cell_longer_than_csv_allows_is_a_problem_not_an_exception(tmp_path: Path) -> None:
    _, problems = read(tmp_path, f'{HEAD}1,"{"x" * 200_000}\n2,B,2\n')
    assert problems


def test_an_other_name_that_repeats_the_lines_own_id_is_no_clash(tmp_path: Path) -> None:
    payers, problems = read(tmp_path, f"{HEAD}AETNA,Aetna,60054,AETNA 60054\n")
    assert not problems
    assert len(payers) == 1


# How and when a payer is asked.

WIDE = "payer,name,clearinghouse_id,types,fields,searches,at_once,hours,zone,batch,patience,target\n"


def test_what_a_payer_wants_is_data(tmp_path: Path) -> None:
    line = "1,A,1,office visit=98; PHYSIO=PT AE,member_id name group,without_id without_group,4,"
    line += "mo-we 07:00-19:00; sa 08:30-24:00,America/New_York,20:30,15m,30s\n2,B,2,,,,,,,,,\n"
    (first, second), problems = read(tmp_path, WIDE + line)
    assert not problems
    assert first.types == {"OFFICE VISIT": ("98",), "PHYSIO": ("PT", "AE")}
    assert (first.fields, first.searches) == (("member_id", "name", "group"), ("without_id", "without_group"))
    assert [(h.day, str(h.opens), str(h.closes)) for h in first.hours] == [
        *((day, "07:00:00", "19:00:00") for day in (0, 1, 2)),
        (5, "08:30:00", "23:59:59"),
    ]
    assert (first.at_once, first.zone, str(first.batch), first.patience, first.target) == (
        4, "America/New_York", "20:30:00", 900.0, 30.0,
    )  # fmt: skip
    assert second == Payer(payer="2", name="B", clearinghouse_id="2")
    assert "group" not in second.fields


WRONG_CELLS = {
    "a type that is none": ("types", "PHYSIO=P7", "'P7' is no service type"),
    "a type without codes": ("types", "PHYSIO=", "PHYSIO="),
    "a type without an equals sign": ("types", "PHYSIO PT", "URGENT CARE=UC"),
    "a type that stands twice": ("types", "A=98; a=PT", "twice"),
    "a field that is none": ("fields", "member_id ssn", "'ssn'"),
    "a search that is none": ("searches", "without_name", "'without_name'"),
    "a search that has nothing to leave out": ("searches", "without_group", "group"),
    "no number": ("at_once", "many", "number"),
    "none at once": ("at_once", "0", "number"),
    "days that are none": ("hours", "xx 07:00-19:00", "mo tu we"),
    "hours that are none": ("hours", "mo-fr 07:00-25:00", "time of day"),
    "hours without days": ("hours", "07:00-19:00", "mo-fr"),
    "hours that end before they begin": ("hours", "mo 19:00-07:00", "closes before it opens"),
    "a zone that is none": ("zone", "America/Gotham", "time zone"),
    "a zone for nothing": ("zone", "America/New_York", "neither"),
    "a time that is none": ("batch", "8 pm", "time of day"),
    "a time without a unit": ("patience", "15", "unit"),
    "no time at all": ("target", "0s", "longer"),
}


@pytest.mark.parametrize(("column", "cell", "word"), WRONG_CELLS.values(), ids=WRONG_CELLS)
def test_a_mistake_in_a_cell_is_told_with_line_and_column(tmp_path: Path, column: str, cell: str, word: str) -> None:
    names = WIDE.strip().split(",")
    cells = {"payer": "2", "name": '"Acme, Inc."', "clearinghouse_id": "2", column: cell}
    row = ",".join(cells.get(name, "") for name in names)
    _, problems = read(tmp_path, f"{WIDE}1,A,1,,,,,,,,,\n\n{row}\n")
    (problem,) = problems
    assert (problem.code, problem.line, problem.column) == ("CFG-042", 4, row.index(f",{cell}") + 2)
    assert word in problem.text
    assert column in problem.text


def test_every_mistake_of_a_line_is_told_at_once(tmp_path: Path) -> None:
    _, problems = read(tmp_path, f"{WIDE}1,A,1,X=Y9,ssn,never,none,noon,Nowhere,late,soon,later\n")
    assert [problem.text.partition(":")[0] for problem in problems] == WIDE.strip().split(",")[3:]
