"""Charsets: what is declared, what is there, and that the same bytes leave that came."""

import encodings.aliases

import pytest
from hypothesis import given, strategies as st

from hub.errors import MessageUnusable
from hub.formats.describe import describe
from hub.formats.hl7v2 import Hl7, charsets
from tests.hub.formats.messages import PROPERTY, hl7, with_charset


def pid(name: str, charset: str) -> bytes:
    return b"PID|1||42||" + name.encode(charset)


@pytest.mark.parametrize(
    ("declared", "really", "name"),
    [
        (b"ASCII", "ascii", "MULLER"),
        (b"8859/1", "iso-8859-1", "Müller"),
        (b"8859/2", "iso-8859-2", "Łukasz"),
        (b"8859/5", "iso-8859-5", "Иван"),
        (b"8859/7", "iso-8859-7", "Νίκος"),
        (b"8859/8", "iso-8859-8", "דוד"),
        (b"8859/9", "iso-8859-9", "Işık"),
        (b"8859/15", "iso-8859-15", "Œuvre €"),
        (b"UNICODE", "utf-8", "山田 Łukasz"),
        (b"UNICODE UTF-8", "utf-8", "山田 Łukasz"),
        (b"UTF-8", "utf-8", "Łukasz"),
        (b"unicode utf-8", "utf-8", "Łukasz"),
        (b" 8859/1 ", "iso-8859-1", "Müller"),
        (b"8859/1~UNICODE UTF-8", "iso-8859-1", "Müller"),
        (b"ISO IR6", "ascii", "MULLER"),
        (b"ISO IR87", "iso2022_jp", "山田"),
        (b"GB 18030-2000", "gb18030", "王小明"),
        (b"KS X 1001", "euc_kr", "김"),
        (b"BIG-5", "big5", "王小明"),
        (b"Windows-1252", "cp1252", "Müller €"),
    ],
)
def test_the_charset_of_msh_18_is_used_and_kept(declared: bytes, really: str, name: str) -> None:
    raw = with_charset(declared, pid(name, really))
    message = Hl7(raw)
    assert message.get("PID-5") == name
    assert message.findings == []
    assert bytes(message) == raw
    message.set("PID-3.1", "43")
    assert bytes(message) == raw.replace(b"|42|", b"|43|").replace(b"|43|P", b"|42|P")


@pytest.mark.parametrize(
    ("declared", "body", "encoding", "value", "finds"),
    [
        (b"", b"M\xc3\xbcller", "utf-8", "Müller", False),
        (b"", b"MULLER", "utf-8", "MULLER", False),
        (b"", b"M\xfcller \x80", "cp1252", "Müller €", False),
        (b"", b"M\xfcller \x81", "iso-8859-1", "Müller \x81", False),
        (b"ASCII", b"M\xc3\xbcller", "utf-8", "Müller", True),
        (b"ASCII", b"M\xfcller", "cp1252", "Müller", True),
        (b"UNICODE UTF-8", b"M\xfcller", "cp1252", "Müller", True),
        (b"UNICODE UTF-8", b"M\xfcller \x81", "iso-8859-1", "Müller \x81", True),
        (b"KLINGON", b"M\xc3\xbcller", "utf-8", "Müller", True),
        (b"UTF-16", b"M\xc3\xbcller", "utf-8", "Müller", True),
        (b"UNICODE UTF-32", b"M\xc3\xbcller", "utf-8", "Müller", True),
    ],
    ids=[
        "nothing said, UTF-8", "nothing said, plain", "nothing said, Windows", "nothing said, any byte", "ASCII that is UTF-8",
        "ASCII that is Windows", "UTF-8 that is Windows", "UTF-8 that is anything", "unknown", "UTF-16", "UTF-32",
    ],
)  # fmt: skip
def test_where_the_charset_is_absent_or_wrong_the_ladder_decides_and_says_so(
    declared: bytes, body: bytes, encoding: str, value: str, finds: bool
) -> None:
    raw = with_charset(declared, b"PID|1||42||" + body)
    message = Hl7(raw)
    assert (message.encoding, message.get("PID-5")) == (encoding, value)
    assert bool(message.findings) == finds
    assert bytes(message) == raw


def test_the_setting_of_the_connection_comes_before_msh_18() -> None:
    raw = with_charset(b"8859/1", pid("Łukasz", "iso-8859-2"))
    assert Hl7(raw, "8859/2").get("PID-5") == "Łukasz"
    assert Hl7(raw, "iso-8859-2").get("PID-5") == "Łukasz"


def test_msh_18_comes_next_when_the_setting_of_the_connection_does_not_fit() -> None:
    message = Hl7(with_charset(b"8859/2", pid("Łukasz", "iso-8859-2")), "UTF-8")
    assert message.encoding == "iso-8859-2"
    assert message.get("PID-5") == "Łukasz"
    assert message.findings


def test_a_setting_nobody_knows_falls_back_to_msh_18() -> None:
    message = Hl7(with_charset(b"8859/2", pid("Łukasz", "iso-8859-2")), "klingon")
    assert message.get("PID-5") == "Łukasz"
    assert message.findings


@pytest.mark.parametrize("setting", ["utf-8-sig", "UTF-8-SIG"])
def test_a_setting_cannot_add_a_byte_order_mark(setting: str) -> None:
    assert bytes(Hl7(hl7("PID|1||42"), setting)) == hl7("PID|1||42")


def test_a_finding_about_the_charset_stands_in_its_message() -> None:
    found = describe(with_charset(b"ASCII", pid("Müller", "utf-8")))
    assert [f["code"] for f in found["messages"][0]["findings"]] == ["HL7-CHARSET"]
    assert found["messages"][0]["encoding"] == "UTF-8"
    assert found["findings"] == []


@pytest.mark.parametrize(
    ("encoding", "shown"), [("utf-8", "UTF-8"), ("ascii", "ASCII"), ("iso-8859-1", "ISO-8859-1"), ("cp1252", "windows-1252")]
)
def test_charsets_are_named_as_people_know_them(encoding: str, shown: str) -> None:
    assert charsets.name(encoding) == shown


# Hostile charsets.

BAIT = b"PID|1||42||a\\u000dZZZ|1 \\x0dZZZ|1 +AA0AWgBaAFo-|1 xn--mller-kva. M\xc3\xbcller " + b"long" * 20
"""Would give a line end and a segment of its own under a charset that is none."""


def test_no_name_in_msh_18_breaks_a_message_or_its_lines() -> None:
    names = {*encodings.aliases.aliases.values(), "undefined", "idna", "punycode", "unicode_escape", "raw_unicode_escape"}
    names |= {
        "utf-8-sig",
        "utf-7",
        "oem",
        "",
        "\x00",
        "a\x00b",
        "a" * 10_000,
        "../etc",
        "é",
        "encodings.utf_8",
        "zlib",
        "rot13",
    }
    wrong = {}
    for name in sorted(names):
        raw = with_charset(name.encode(), BAIT, b"PV1|1|O")
        try:
            message = Hl7(raw)
            if bytes(message) != raw:
                wrong[name[:20]] = "other bytes leave than came"
            elif [s.id for s in message.segments] != ["MSH", "PID", "PV1"]:
                wrong[name[:20]] = "the lines differ"
        except MessageUnusable:
            continue
        except Exception as error:
            wrong[name[:20]] = repr(error)[:80]
    assert wrong == {}


@pytest.mark.parametrize("declared", [b"\x00", b"undefined", b"punycode"], ids=repr)
def test_a_hostile_charset_name_gives_a_finding(declared: bytes) -> None:
    message = Hl7(with_charset(declared, b"PID|1||42||DOE^JANE"))
    assert message.get("PID-5.2") == "JANE"
    assert message.findings


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        (b"ISO IR87", b"\x1b(BDOE"),
        (b"ISO IR87", b"\x1b(JDOE\x1b(B"),
        (b"ISO IR87", b"\x1b$@;3\x1b(B"),
        (b"BIG-5", b"\xa2\xcc"),
        (b"ISO IR14", b"\x81\x5f"),
        (b"ISO IR14", b"\xb1\xb2"),
        (b"GB 18030-2000", b"\xa2\xe3"),
    ],
    ids=["needless escape", "Roman letters of JIS", "older escape", "doubled character", "backslash", "half width", "euro"],
)
def test_bytes_that_a_charset_writes_in_two_ways_leave_as_they_came(declared: bytes, value: bytes) -> None:
    raw = with_charset(declared, b"PID|1||42||" + value, b"PV1|1|O")
    message = Hl7(raw)
    assert bytes(message) == raw
    message.set("PV1-2", "I")
    assert bytes(message) == raw.replace(b"|O\r", b"|I\r")


pieces = [
    b"\x1b(B",
    b"\x1b(J",
    b"\x1b$B",
    b"\x1b$@",
    b"\x1b$(D",
    b"~{",
    b"~}",
    b"+AA0-",
    b"\xa2\xcc",
    b"\x81",
    b"\xfc",
    b"a",
    b";3",
    b"|",
]
any_value = st.one_of(st.binary(max_size=40), st.lists(st.sampled_from(pieces)).map(b"".join))


@PROPERTY
@given(
    declared=st.sampled_from([*charsets.TABLE_0211, "", "UTF-7", "CP932", "HZ", "ISO-2022-KR", "CP037", "UTF-16"]),
    value=any_value,
    setting=st.sampled_from([None, "utf-8", "8859/1", "shift_jis", "klingon", ""]),
)
def test_any_bytes_under_any_charset_leave_as_they_came(declared: str, value: bytes, setting: str | None) -> None:
    raw = with_charset(declared.encode(), b"PID|1||42||" + value)
    assert bytes(Hl7(raw, setting)) == raw


def test_blanks_behind_the_last_line_keep_their_bytes_in_a_charset_with_states() -> None:
    """Found by fuzzing: an escape that Python would not write again, and blanks without a line end at the end."""
    raw = with_charset(b"ISO IR87", b"PID|1||42||\x1b$B;3ED\x1b(B^\x1b(B\x1b(B") + b"\x00 "
    assert bytes(Hl7(raw)) == raw
