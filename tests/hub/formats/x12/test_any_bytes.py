"""Whatever comes, X12 code answers, in time that grows with the bytes and no faster."""

from collections.abc import Callable

import pytest
from hypothesis import given, strategies as st

from hub.formats.describe import describe
from hub.formats.x12 import envelope, report
from hub.formats.x12.codec import X12Format
from tests.hub.formats.messages import (
    HEAD_271,
    ISA,
    PROPERTY,
    SUBSCRIBER,
    answer_271,
    assert_linear,
    group,
    interchange,
    transaction,
)

GOOD = answer_271(
    "REF*6P*G1", "DTP*346*RD8*20260101-20261231", "EB*1**30*HM*GOLD", "EB*B**1^98***27*25*****Y", "MSG*OFFICE", "III*ZZ*11",
    "EB*C*IND*30***29*310.50*****Y", "EB*C*FAM*30***29*900*****Y", "LS*2120", "NM1*PR*2*X", "LE*2120", "AAA*N**72*C",
)  # fmt: skip
VERDICT = interchange(group(transaction("999", "AK1*HS*7", "AK2*270*1", "IK3*NM1*8**8", "IK4*9*67*1", "IK5*R*5"), kind="999"))
WORDS = [
    ISA.encode(), b"ISA", b"ISA*", b"GS*HB*A*B*1*2*3*X*005010X279A1~", b"ST*271*1~", b"ST*270*1~", b"ST*999*1~",
    b"SE*", b"GE*1*7~",
    b"IEA*1*000000007~", b"TA1*", b"HL*1**20*1~", b"HL*3*2*22*0~", b"HL*4*3*23*0~", b"HL*", b"NM1*IL*1*DOE~", b"EB*1**30~",
    b"EB*B**98***27*", b"EB*C*IND*30***29*", b"EB*C*FAM*30***29*", b"EB*R**30*HN~", b"AAA*N**72*C~", b"LS*2120~",
    b"LE~", b"MSG*", b"III*ZZ*",
    b"HSD*", b"DTP*291*RD8*", b"REF*", b"IK3*", b"IK4*", b"IK5*", b"AK9*", b"AK2*", b"~", b"~~", b"*", b"**********",
    b"^", b":", b"\r\n", b" ",
    b"25", b"NaN", b"sNaN", b"1E9", b"-", b"\xb2", "²".encode(), b"9" * 4400, b"\x00", b"\xff", b"\xef\xbb\xbf",
    b"<html>", b"{", b"eb*1~",
]  # fmt: skip
words = st.lists(st.one_of(st.sampled_from(WORDS), st.binary(max_size=3)), max_size=40).map(b"".join)
inside = st.lists(st.sampled_from(WORDS[11:]), max_size=30).map(
    lambda found: b"".join((ISA.encode(), WORDS[3], WORDS[4], WORDS[12], *found))
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A good interchange with pieces taken out, put in or changed."""
    raw = draw(st.sampled_from([GOOD, VERDICT]))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(raw)))
        piece = draw(st.one_of(st.sampled_from(WORDS), st.binary(max_size=4)))
        raw = raw[:at] + piece + raw[at + draw(st.integers(0, 30)) :]
    return raw


anything = st.one_of(st.binary(max_size=300), words, inside, damaged())


@PROPERTY
@given(data=anything)
def test_any_bytes_are_read(data: bytes) -> None:
    file = envelope.read(data)
    assert file.interchanges or file.findings
    assert all(finding.level in ("error", "warning") and finding.code and finding.text for finding in file.findings)


@PROPERTY
@given(data=anything)
def test_any_bytes_are_described(data: bytes) -> None:
    found = report.describe(data)
    assert set(found) == {"format", "findings", "interchanges"}
    assert found["interchanges"] or found["findings"]
    assert describe(data)["format"] in ("x12", "hl7v2")


@PROPERTY
@given(data=anything, asked=st.lists(st.sampled_from(["30", "98", "UC", ""]), max_size=3))
def test_any_bytes_are_an_answer_or_a_failure(data: bytes, asked: list[str]) -> None:
    found = report.answer(data, asked)
    assert found["status"] in ("active", "active_review", "inactive", "not_covered", "unknown", "rejected")
    assert found["set"] == "271" or found["failure"]


@PROPERTY
@given(data=anything)
def test_any_bytes_have_keys(data: bytes) -> None:
    keys = X12Format().keys(data, {})
    assert all(keys.member)
    assert all(value for _, value in keys.other)


# Time.

OPEN = ISA.encode() + b"GS*HB*A*B*20261130*1430*7*X*005010X279A1~ST*271*0001*005010X279A1~"
LEVELS = "~".join([*HEAD_271, *SUBSCRIBER, ""]).encode()
SHAPES: dict[str, tuple[Callable[[int], bytes], int]] = {
    "many benefits": (lambda n: answer_271("EB*1**30", *["EB*B**98***27*25*****Y"] * (n // 24)), 60_000),
    "many transactions": (lambda n: GOOD[:106] + GOOD[106:] * (n // len(GOOD)), 60_000),
    "many interchanges": (lambda n: GOOD * (n // len(GOOD)), 60_000),
    "nothing but terminators": (lambda n: ISA.encode() + b"~" * n, 60_000),
    "nothing but separators": (lambda n: ISA.encode() + b"*" * n, 1_000_000),
    "no terminator": (lambda n: OPEN + b"A" * n, 1_000_000),
    "stray segments": (lambda n: ISA.encode() + b"A~" * (n // 2), 20_000),
    "interchanges that begin and never end": (lambda n: ISA.encode() * (n // 106), 100_000),
    "the letters ISA": (lambda n: b"ISA" * (n // 3), 60_000),
    "groups without end": (lambda n: ISA.encode() + b"GS*HB~" * (n // 6), 30_000),
    "sets of another version": (
        lambda n: ISA.encode() + b"GS*HB*A*B*1*2*3*X*004010~" + b"A~" * (n // 9) + b"ST*271~" * (n // 9), 12_000,
    ),
    "sets of no group": (lambda n: ISA.encode() + b"ST*271~" * (n // 7), 30_000),
    "levels": (lambda n: OPEN + b"HL*1**22~" * (n // 9), 12_000),
    "dependents of a rejected subscriber": (
        lambda n: OPEN + LEVELS + b"AAA*N**72*C~" * (n // 24) + b"HL*2*1*23~" * (n // 24), 7_200,
    ),
    "dependents of a subscriber with many dates": (
        lambda n: OPEN + LEVELS + b"DTP*291*D8~" * (n // 22) + b"HL*2*1*23~" * (n // 22), 8_800,
    ),
    "rejections": (lambda n: OPEN + LEVELS + b"AAA*N**72*C~" * (n // 12), 60_000),
    "messages of one benefit": (lambda n: OPEN + LEVELS + b"EB*1**30~" + b"MSG*x~" * (n // 6), 60_000),
    "repeated service types": (lambda n: OPEN + LEVELS + b"EB*1**" + b"30^" * (min(n, 60_000) // 3) + b"~", 15_000),
    "wrappers": (lambda n: OPEN + LEVELS + b"EB*1**30~" + b"LS~LE~" * (n // 6), 30_000),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_anything_is_described_in_linear_time(shape: str) -> None:
    make, size = SHAPES[shape]
    assert_linear(lambda n: report.describe(make(n)), size)


@pytest.mark.parametrize("shape", ["many benefits", "many transactions", "sets of another version", "no terminator"])
def test_an_answer_is_found_in_linear_time(shape: str) -> None:
    make, size = SHAPES[shape]
    assert_linear(lambda n: report.answer(make(n), ["30"]), size)


@pytest.mark.parametrize("shape", ["many benefits", "levels", "dependents of a rejected subscriber"])
def test_keys_are_found_in_linear_time(shape: str) -> None:
    make, size = SHAPES[shape]
    assert_linear(lambda n: X12Format().keys(make(n), {}), size)
