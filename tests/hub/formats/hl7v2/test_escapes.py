"""Escape sequences: decoded without ever losing text, written so that they come back the same."""

import pytest
from hypothesis import example, given, strategies as st

from hub.formats.hl7v2.escapes import Separators, escape, unescape
from tests.hub.formats.hl7v2.wires import separators
from tests.hub.formats.messages import PROPERTY

USUAL = Separators()
text_of_any_kind = st.text(st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("|^~\\&\r\nFSTREX.br")))


def _of(five: str) -> Separators:
    return Separators(*five)


@pytest.mark.parametrize(
    ("wire", "meaning"),
    [
        ("A\\F\\B", "A|B"),
        ("A\\S\\B", "A^B"),
        ("A\\T\\B", "A&B"),
        ("A\\R\\B", "A~B"),
        ("A\\E\\B", "A\\B"),
        ("\\F\\\\S\\\\T\\\\R\\\\E\\", "|^&~\\"),
        ("one\\.br\\two", "one\ntwo"),
        ("one\\.br\\\\.br\\two", "one\n\ntwo"),
        ("one\\.sp\\two", "one\ntwo"),
        ("one\\.sp2\\two", "one\n\ntwo"),
        ("one\\.sp 2\\two", "one\n\ntwo"),
        ("a\\X0D\\b", "a\rb"),
        ("a\\X0D0A\\b", "a\r\nb"),
        ("\\XC3A9\\", "é"),
        ("\\X41\\\\X42\\", "AB"),
        ("\\H\\bold\\N\\ plain", "bold plain"),
        ("a\\.sk3\\b", "a   b"),
        ("\\.in+4\\text", "text"),
        ("\\.fi\\text\\.nf\\", "text"),
        ("one\\.ce\\two", "one\ntwo"),
    ],
)
def test_a_sequence_is_read_as_what_it_means(wire: str, meaning: str) -> None:
    assert unescape(wire, USUAL) == meaning


@pytest.mark.parametrize(
    "wire",
    [
        "BSV 4\\5 re.", "\\", "C:\\temp", "a\\", "\\\\", "\\\\\\", "a\\b\\c", "\\Zlocal\\", "\\C2842\\", "\\M263A2A\\",
        "\\X\\", "\\XZZ\\",
        "\\X0\\", "\\f\\", "\\.BR\\", "\\.xx\\", "\\F", "F\\", "\\ F\\", "\\FF\\", "\\.sp\u0662x\\", "\\.skx\\",
        "a\\\rF\\", "a\\F\n\\",
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_known_sequence_stays_to_the_letter(wire: str) -> None:
    assert unescape(wire, USUAL) == wire


@pytest.mark.parametrize(
    ("wire", "meaning"),
    [
        ("\\F\\F\\", "|F\\"),
        ("5\\6\\F\\7", "5\\6|7"),
        ("\\\\F\\", "\\|"),
        ("\\F\\S\\T\\", "|S&"),
        ("a\\b\\T\\c\\", "a\\b&c\\"),
    ],
)
def test_an_escape_character_without_its_partner_does_not_hide_a_sequence_after_it(wire: str, meaning: str) -> None:
    assert unescape(wire, USUAL) == meaning


@pytest.mark.parametrize(
    ("encoding", "wire", "meaning"),
    [
        ("utf-8", "\\XE9\\", "é"),
        ("iso-8859-1", "\\XE9\\", "é"),
        ("iso-8859-5", "\\XB8\\", "И"),
        ("ascii", "\\XE9\\", "é"),
        ("shift_jis", "\\X8E52\\", "山"),
        ("no such charset", "\\X41\\", "A"),
    ],
)
def test_hexadecimal_bytes_are_of_the_charset_of_the_message_or_latin(encoding: str, wire: str, meaning: str) -> None:
    assert unescape(wire, USUAL, encoding) == meaning


@pytest.mark.parametrize("escape_character", ["", "]", "^", "-", "$", ".", "*", "(", "?"], ids=repr)
def test_any_character_may_be_the_escape_character(escape_character: str) -> None:
    e = escape_character
    separators = Separators("|", ":", "~", e, "&")
    assert unescape(f"A{e}T{e}B", separators) == ("A&B" if e else "ATB")
    assert unescape(f"A{e}B", separators) == f"A{e}B"


@PROPERTY
@given(text=text_of_any_kind, five=separators)
@example(text="\r\n", five="|^~\\&")
@example(text="\\X0D\\ \\.br\\ \\", five="|^~\\&")
@example(text="]]F]", five="|^~]&")
def test_what_is_escaped_comes_back_the_same(text: str, five: str) -> None:
    assert unescape(escape(text, _of(five)), _of(five)) == text


@pytest.mark.parametrize("five", ["|.~\\&", "|^~.&"], ids=["component", "escape character"])
@pytest.mark.parametrize("text", ["one\ntwo", "3.5"], ids=repr)
def test_what_is_escaped_comes_back_the_same_with_a_full_stop_as_separator(text: str, five: str) -> None:
    """Line ends are written `.br`, which must not be taken for a separator."""
    escaped = escape(text, _of(five))
    others = {character for place, character in enumerate(five) if place != 3}
    assert not others & set(escaped)
    assert unescape(escaped, _of(five)) == text


@PROPERTY
@given(text=text_of_any_kind, five=separators)
def test_what_is_escaped_holds_no_separator_and_no_line_end(text: str, five: str) -> None:
    field, component, repetition, _, subcomponent = five
    assert not {field, component, repetition, subcomponent, "\r", "\n"} & set(escape(text, _of(five)))


@PROPERTY
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\\")), at=st.integers(0, 50))
def test_a_single_escape_character_loses_nothing(text: str, at: int) -> None:
    wire = text[:at] + "\\" + text[at:]
    assert unescape(wire, USUAL) == wire


@PROPERTY
@given(words=st.lists(st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz 0189")), min_size=2))
def test_text_between_escape_characters_is_never_lost(words: list[str]) -> None:
    assert unescape("\\".join(words), USUAL) == "\\".join(words)


@pytest.mark.parametrize("character", ["\x0b", "\x1c"], ids=["start of block", "end of block"])
def test_a_value_cannot_end_the_frame_it_will_be_sent_in(character: str) -> None:
    """A frame of MLLP holds neither; a vertical tab comes with every text pasted from a word processor."""
    escaped = escape(f"one{character}two", USUAL)
    assert character not in escaped
    assert unescape(escaped, USUAL) == f"one{character}two"


def test_without_an_escape_character_text_stays_as_it_is() -> None:
    separators = Separators("|", "^", "~", "", "&")
    assert escape("A&B", separators) == "A&B"
    assert unescape("A\\T\\B", separators) == "A\\T\\B"
