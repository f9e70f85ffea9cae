"""YAML is read as text, every mistake has its place, and no file makes the reader fail."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from hub.yaml_text import Document, load_file, load_text


def places(document: Document) -> list[tuple[str, int, int]]:
    return [(p.code, p.line, p.column) for p in document.problems.sorted()]


def read(text: str) -> Any:
    document = load_text(text, "clinic.yaml")
    assert not document.problems.found
    return document.data


@pytest.mark.parametrize(
    "written",
    ["00042", "NO", "yes", "on", "06:00", "12:30:45", "1e3", "0x1F", "010", "1_000", "2026-11-30", "null", "~", ".inf", "3.10"],
)
def test_no_type_is_guessed(written: str) -> None:
    assert read(f"value: {written}") == {"value": written}
    assert read(f"- {written}") == [written]
    assert read(f"{written}: value") == {written: "value"}


def test_a_bare_key_says_nothing_and_quotes_say_empty() -> None:
    assert read("bare:\nempty: ''\nalso: \"\"\n") == {"bare": None, "empty": "", "also": ""}


def test_lists_and_nested_parts_are_plain_data() -> None:
    text = "flows:\n  bookings:\n    when: {type: [SIU^S12, SIU^S13]}\n    steps:\n      - map: a\n      - check\n"
    assert read(text) == {"flows": {"bookings": {"when": {"type": ["SIU^S12", "SIU^S13"]}, "steps": [{"map": "a"}, "check"]}}}


def test_text_blocks_keep_their_lines_and_backslashes() -> None:
    assert read("given: |\n  MSH|^~\\&|EPIC\n  PID|1\n") == {"given": "MSH|^~\\&|EPIC\nPID|1\n"}


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "\n\n"])
def test_an_empty_file_says_nothing(text: str) -> None:
    assert read(text) is None


def test_names_with_accents_and_other_scripts_are_kept() -> None:
    assert read("name: Praxis Müller-Łukasz 李\n") == {"name": "Praxis Müller-Łukasz 李"}


MISTAKES = {
    "a key written twice": ("a: 1\nb: 2\na: 3\n", [("CFG-007", 3, 1)]),
    "a key written twice deep inside": ("x:\n  - y: {a: 1, b: 2, a: 3}\n", [("CFG-007", 2, 21)]),
    "a key written three times": ("a: 1\na: 2\na: 3\n", [("CFG-007", 2, 1), ("CFG-007", 3, 1)]),
    "a mistake inside a second value": ("a: 1\na: {b: 1, b: 2}\n", [("CFG-007", 2, 1), ("CFG-007", 2, 11)]),
    "an anchor on a value": ("a: &x 1\n", [("CFG-004", 1, 4)]),
    "an anchor on a mapping": ("a: &x {b: 1}\n", [("CFG-004", 1, 4)]),
    "an anchor on a list": ("a: &x [1]\n", [("CFG-004", 1, 4)]),
    "an anchor on a key": ("&x a: 1\n", [("CFG-004", 1, 1)]),
    "an alias": ("a: &x 1\nb: *x\n", [("CFG-004", 1, 4), ("CFG-004", 2, 4)]),
    "a merge key": ("a: &x {b: 1}\nc:\n  <<: *x\n", [("CFG-004", 1, 4), ("CFG-004", 3, 7)]),
    "a tag": ("a: !!int 3\n", [("CFG-005", 1, 4)]),
    "a tag that runs code elsewhere": ("a: !!python/object/apply:os.system [ls]\n", [("CFG-005", 1, 4)]),
    "a tag on a key": ("!!str a: 1\n", [("CFG-005", 1, 1)]),
    "a tag on a mapping": ("a: !thing {b: 1}\n", [("CFG-005", 1, 4)]),
    "the tag without a name": ("a: ! 3\n", [("CFG-005", 1, 4)]),
    "a second document": ("a: 1\n---\nb: 2\n", [("CFG-003", 2, 1)]),
    "a list as a key": ("? [a, b]\n: 1\n", [("CFG-006", 1, 3)]),
    "a mapping as a key": ("{a: 1}: 2\n", [("CFG-006", 1, 1)]),
    "an unclosed bracket": ("a: 1\nb: [1, 2\n", [("CFG-002", 3, 1)]),
    "an unclosed quote": ('a: 1\nb: "x\n', [("CFG-002", 3, 1)]),
    "a tab as indentation": ("a:\n\tb: 1\n", [("CFG-002", 2, 1)]),
    "two values in a line": ("a: b: c\n", [("CFG-002", 1, 5)]),
    "an alias to nothing": ("a: *nowhere\n", [("CFG-004", 1, 4)]),
    "a control character": ("a: 1\nb: 2\nc: x\x07y\n", [("CFG-002", 3, 5)]),
    "a zero byte": ("a: 1\nb: \x00\n", [("CFG-002", 2, 4)]),
    "an impossible character": ('a: 1\nb: "\\UFFFFFFFF"\n', [("CFG-002", 2, 4)]),
}


@pytest.mark.parametrize(("text", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_each_mistake_has_its_place(text: str, expected: list[tuple[str, int, int]]) -> None:
    found = places(load_text(text, "clinic.yaml"))
    if expected[0][0] == "CFG-002":  # the parser may point at the end of the text or one column on
        assert [(code, line) for code, line, _ in found] == [(code, line) for code, line, _ in expected]
    else:
        assert found == expected


def test_all_mistakes_are_told_at_once_and_reading_goes_on() -> None:
    text = "a: &x 1\nb: *x\nc: !!int 3\na: 4\nd: {e: 1, e: 2}\nf: ok\n---\ng: 1\n"
    document = load_text(text, "clinic.yaml")
    assert places(document) == [
        ("CFG-004", 1, 4),
        ("CFG-004", 2, 4),
        ("CFG-005", 3, 4),
        ("CFG-007", 4, 1),
        ("CFG-007", 5, 11),
        ("CFG-003", 7, 1),
    ]
    assert document.data["f"] == "ok"


def test_the_first_of_two_equal_keys_counts_and_is_named() -> None:
    document = load_text("port: 1\nhost: x\nport: 2\n", "clinic.yaml")
    (problem,) = document.problems.found
    assert document.data["port"] == "1"
    assert "line 1" in problem.text
    assert (problem.source, problem.width) == ("port: 2", 4)


def test_a_mistake_shows_the_line_as_it_was_written() -> None:
    (problem,) = load_text("# comment\n  \nkey:   &anchor value # why\n", "f").problems.found
    assert problem.source == "key:   &anchor value # why"
    assert problem.source[problem.column - 1 :].startswith("&anchor")


def test_a_mistake_before_a_syntax_error_is_told_too() -> None:
    document = load_text("a: 1\na: 2\nb: [\n", "clinic.yaml")
    assert [(code, line) for code, line, _ in places(document)] == [("CFG-007", 2), ("CFG-002", 4)]


# Places of parts that are there, and of those that are not.


def test_parts_have_places() -> None:
    document = load_text("a:\n  b: [x, {c: y}]\n", "f")
    assert [(p.line, p.column) for p in (document.place(("a", "b", 0)), document.place(("a", "b", 1, "c")))] == [
        (2, 7),
        (2, 14),
    ]
    key = document.place(("a", "b"), of_key=True)
    assert (key.line, key.column, key.width) == (2, 3, 1)


def test_a_missing_part_has_the_place_of_what_it_is_missing_in() -> None:
    document = load_text("a:\n  b: 1\nc: 2\n", "f")
    assert (document.place(("a", "z")).line, document.place(("a", "z")).column) == (1, 1)
    assert (document.place(("nothing",)).line, document.place(("nothing",)).column) == (1, 1)


def test_columns_count_characters_not_bytes() -> None:
    assert places(load_text("ä: ü\nö: {é: 1, é: 2}\n", "f")) == [("CFG-007", 2, 11)]


# Files.


def test_a_byte_order_mark_and_windows_line_ends_are_no_mistake(tmp_path: Path) -> None:
    file = tmp_path / "clinic.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    document = load_file(file)
    assert not document.problems.found
    assert document.data == {"a": "1", "b": "2"}


@pytest.mark.parametrize("content", [b"name: M\xfcller\n", b"\xff\xfea\x00:\x00"], ids=["windows-1252", "utf-16"])
def test_a_file_that_is_not_utf_8_is_a_mistake_without_its_content(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "f.yaml").write_bytes(content)
    (problem,) = load_file(tmp_path / "f.yaml").problems.found
    assert problem.code == "CFG-001"
    assert "UTF-8" in problem.text


@pytest.mark.parametrize("name", ["missing.yaml", "."], ids=["missing", "a folder"])
def test_a_file_that_cannot_be_read_is_a_mistake_not_an_exception(tmp_path: Path, name: str) -> None:
    (problem,) = load_file(tmp_path / name).problems.found
    assert (problem.code, problem.file) == ("CFG-001", str(tmp_path / name))


# Hostile text.

SCRAPS = st.lists(
    st.sampled_from(
        [
            *"&*!|>%@`'\"{}[],:-?#~ \t\n",
            "a",
            "b: ",
            "- ",
            "? ",
            "*a ",
            "&a ",
            "!!int ",
            "---\n",
            "...\n",
            "<<: ",
            "\\U",
            "%YAML ",
        ]
    ),
    max_size=40,
).map("".join)


HOSTILE = {
    "an escape beyond Unicode": 'a: "\\U00110000"',
    "an escape beyond 32 bits": 'a: "\\UFFFFFFFF"',
    "half a surrogate pair": '"\\ud800": 1',
    "an endless version number": f"%YAML 1.{'1' * 5000}\n---\na: 1",
    "lists five thousand deep": "- " * 5000,
    "keys five thousand deep": "? " * 5000,
    "brackets a thousand deep": "[" * 1200 + "]" * 1200,
    "braces a thousand deep": "{a: " * 1200 + "}" * 1200,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_text_made_to_break_the_reader_gives_a_document_all_the_same(text: str) -> None:
    try:
        document = load_text(text, "hostile.yaml")
    except Exception as error:
        pytest.fail(f"{type(error).__name__} came out", pytrace=False)
    assert document.file == "hostile.yaml"


@given(st.one_of(st.text(max_size=200), SCRAPS))
@settings(max_examples=300, deadline=None)
def test_any_text_gives_a_document_and_never_an_exception(text: str) -> None:
    document = load_text(text, "hostile.yaml")
    lines = len(text.splitlines()) + 1
    assert all(1 <= p.line <= lines and p.column >= 1 for p in document.problems.found)


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_bytes_give_a_document_and_never_an_exception(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "bytes.yaml"
    file.write_bytes(data)
    assert load_file(file) is not None
