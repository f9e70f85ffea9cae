"""A message that nobody changes leaves byte for byte as it came, and setting a field changes the bytes of that field only:
generated messages with any separators, escapes, charsets and line ends.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from hub.errors import MessageUnusable
from hub.formats.hl7v2 import Hl7, acknowledge, read_acknowledgement
from tests.hub.formats.hl7v2.wires import PUNCTUATION
from tests.hub.formats.messages import MSH, hl7, with_charset

FEW = settings(max_examples=2_000, deadline=None, database=None, suppress_health_check=list(HealthCheck))
MANY = settings(FEW, max_examples=100_000)
CHARSETS = {
    "": ("utf-8", "éŁ日😀"),
    "UNICODE UTF-8": ("utf-8", "éŁ日😀"),
    "ASCII": ("ascii", "abcd"),
    "8859/1": ("iso-8859-1", "éüßÿ"),
    "8859/2": ("iso-8859-2", "Łőž"),
    "ISO IR14": ("shift_jis", "表ソ能ｱ"),
    "ISO IR87": ("iso2022_jp", "日本語表"),
    "GB 18030-2000": ("gb18030", "中文é😀"),
    "KS X 1001": ("euc_kr", "한글말"),
    "BIG-5": ("big5", "許功蓋中"),
}
"""MSH-18, its encoding, and characters: such too whose second byte is a separator."""
ENDS = ("\r", "\n", "\r\n", "\r\r")


@dataclass(slots=True)
class Made:
    """A message whose parts are known."""

    charset: str
    five: str
    segments: list[list[str]]
    """Fields as they stand, part 0 the name."""
    ends: list[str]
    lead: bytes

    @property
    def encoding(self) -> str:
        return CHARSETS[self.charset][0]

    def encoded(self) -> bytes:
        lines = [self.five[0].join(fields) for fields in self.segments]
        return self.lead + b"".join((line + end).encode(self.encoding) for line, end in zip(lines, self.ends, strict=True))


def made(tape: bytes) -> Made:
    """A message made of bytes: each says what comes next, so that what fails becomes small."""
    dice = random.Random(tape[:3])
    five = "|^~\\&" if dice.random() < 0.5 else "".join(dice.sample(sorted(set(PUNCTUATION) - set("/-")), 5))
    charset = dice.choice(list(CHARSETS))
    letters = CHARSETS[charset][1]
    f, c, r, e, s = five
    words = [
        "A",
        "b c",
        "42",
        '""',
        "",
        c,
        c,
        r,
        s,
        s,
        e,
        f"{e}F{e}",
        f"{e}.br{e}",
        f"{e}X0D{e}",
        f"{e}Zq9{e}",
        f"{e}H{e}bold",
        *letters,
    ]
    header = (
        ["MSH", five[1:], "X", "", "", "", "", "", "ADT", "M1", "P", "2.5", *[""] * 5, charset]
        if charset
        else ["MSH", five[1:]]
    )
    segments, ends = [header], [dice.choice(ENDS)]
    segments.append(["PID", ""])
    for byte in tape[3:]:
        if byte >= 230:
            segments.append([("PID", "ZX1", "obx", "PV1")[byte % 4], ""])
            ends.append(dice.choice(ENDS))
        elif byte >= 170:
            segments[-1].append("")
        else:
            segments[-1][-1] += words[byte % len(words)].replace(f, "") if byte % len(words) < 5 else words[byte % len(words)]
    ends.append(dice.choice(["\r", "\n", ""]))
    return Made(charset, five, segments, ends, dice.choice([b"", b"", b"\xef\xbb\xbf", b"\r\n"]))


def leaves_as_it_came(tape: bytes) -> None:
    message = made(tape)
    raw = message.encoded()
    assert bytes(Hl7(raw)) == raw
    assert bytes(Hl7(raw, message.charset)) == raw


def one_field_is_set(tape: bytes) -> None:
    message, dice = made(tape), random.Random(tape)
    read = Hl7(message.encoded())
    assert read.encoding == message.encoding
    place = dice.randrange(1, len(message.segments))
    name = message.segments[place][0]
    occurrence = [fields[0].upper() for fields in message.segments[: place + 1]].count(name.upper())
    number = dice.randrange(1, len(message.segments[place]) + 2)
    value = dice.choice(["", "NEW", CHARSETS[message.charset][1][0]])
    fields = message.segments[place]
    fields += [""] * (number + 1 - len(fields))
    fields[number] = message.five[2].join([value, *fields[number].split(message.five[2])[1:]])
    read.set(f"{name}[{occurrence}]-{number}", value)
    assert bytes(read) == message.encoded()


tapes = st.binary(min_size=3, max_size=150)


@FEW
@given(tape=tapes)
def test_any_message_leaves_as_it_came(tape: bytes) -> None:
    leaves_as_it_came(tape)


@FEW
@given(tape=tapes)
def test_setting_a_field_changes_the_bytes_of_that_field_only(tape: bytes) -> None:
    one_field_is_set(tape)


@pytest.mark.long
@MANY
@given(tape=tapes)
def test_any_of_very_many_messages_leaves_as_it_came(tape: bytes) -> None:
    leaves_as_it_came(tape)


@pytest.mark.long
@MANY
@given(tape=tapes)
def test_setting_a_field_of_very_many_messages_changes_that_field_only(tape: bytes) -> None:
    one_field_is_set(tape)


# What the fuzzer and these properties found.

TWICE = b"PID|1||42||\x1b(BDOE^\x1b$B;3ED\x1b(B|\x1b(Bx\x1b(B"
"""ISO 2022 with escapes that change nothing: no encoder writes them."""


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        ("PID-3", b"1||42|", b"1||43|"),
        ("PID-5.1", b"\x1b(BDOE^", b"X^"),
        ("PID-6", b"|\x1b(Bx\x1b(B", b"|X"),
        ("PID-8", b"Bx\x1b(B", b"Bx\x1b(B||X"),
    ],
)
def test_bytes_that_no_encoder_would_write_stay_around_a_field_that_is_set(path: str, before: bytes, after: bytes) -> None:
    raw = with_charset(b"ISO IR87", TWICE, b"PV1|1|\x1b(BO")
    message = Hl7(raw)
    message.set(path, after.strip(b"|^").rpartition(b"|")[2].decode())
    assert message.encoding == "iso2022_jp"
    if path == "PID-5.1":  # the whole field is written anew
        assert bytes(message).count(b"\x1b(B") == raw.count(b"\x1b(B") - 1
        assert Hl7(bytes(message)).get("PID-5") == "X^山田"
    else:
        assert bytes(message) == raw.replace(before, after)


def test_a_value_that_depends_on_the_state_before_it_is_still_the_same() -> None:
    raw = with_charset(b"ISO IR87", b"PID|1||42|\x1b(Ja|b|c\x1b(B")
    message = Hl7(raw)
    message.set("PID-4", "山")
    assert [Hl7(bytes(message)).get(f"PID-{n}") for n in (3, 4, 5, 6)] == ["42", "山", "b", "c"]


def test_a_broken_value_in_a_charset_with_states_leaves_as_it_came() -> None:
    raw = with_charset(b"ISO IR87", b"PID|1||\x1b(B42", b"lines without a segment").removesuffix(b"\r")
    assert bytes(Hl7(raw)) == raw


@pytest.mark.parametrize("line", ["Été", "ÉTÉ|x", "²AB|", "PIÿ|1"])
def test_a_line_that_begins_with_other_letters_is_no_segment(line: str) -> None:
    raw = hl7("OBX|1|TX|||Vu en", line, "PV1|1|O")
    message = Hl7(raw)
    assert message.ids == ["MSH", "OBX", "PV1"]
    assert message.get("OBX-5") == f"Vu en\r{line.partition('|')[0]}"
    assert bytes(message) == raw


def test_a_header_broken_over_lines_is_acknowledged_in_whole_lines() -> None:
    broken = MSH.replace("A04|42", "A0\r4 of the sender|42\r43").encode() + b"\rPID|1"
    answer = acknowledge(Hl7(broken), "AA")
    assert [line[:4] for line in answer.split(b"\r")] == [b"MSH|", b"MSA|", b""]
    assert read_acknowledgement(answer).control_id == "42"


def test_a_field_whose_other_parts_no_encoder_can_write_is_refused_in_words() -> None:
    """Python's ISO 2022 reads bytes over 7F, and does not write them."""
    raw = with_charset(b"ISO IR87", b"PID|1||42^\x1b\xff||DOE")
    message = Hl7(raw)
    message.set("PID-3.4", "RIVER")
    with pytest.raises(MessageUnusable, match="MSH-18"):
        bytes(message)
    other = Hl7(raw)
    other.set("PID-8", "F")
    assert bytes(other) == raw.replace(b"DOE\r", b"DOE|||F\r")
