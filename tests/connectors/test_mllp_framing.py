"""The framing table of MLLP (research/hl7.md 2.2): each case at once, byte by byte and in chunks, on both event loops."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
import uvloop
from hypothesis import given, settings, strategies as st
from structlog.testing import capture_logs

from connectors.mllp import Frame, Framer, framed
from hub.message import Message
from hub.testing import FakeDeliver, FakeReceipt
from tests.connectors.wire import END, START, adt, at_once, frame, in_chunks, listening, one_by_one, siu, wire
from tests.support import until

LONE = b"\x1c"
"""The end of a message without the carriage return that belongs to it."""
M1, M2, M3, LAST = adt("M1"), adt("M2"), siu("M3", "F-1", "202611301430"), adt("LAST")
LF = M1.replace(b"\r", b"\n")
CRLF = M1.replace(b"\r", b"\r\n")
MIXED = M1.replace(b"\r", b"\r\n", 1)
LATIN_1 = adt("M1", family="M@LLER").replace(b"@", b"\xdc")
UTF_8 = adt("M1", family="MÜLLER").replace(b"|P|2.5\r", b"|P|2.5||||||UNICODE UTF-8\r")
NOT_ASCII = LATIN_1.replace(b"|P|2.5\r", b"|P|2.5||||||ASCII\r")
CONTROL_CHARACTER = adt("M1", family="DO\x1cE")
LARGE = adt("M1", more=("NTE|1||" + "x" * 300_000,))
FITS = adt("M1", more=("NTE|1||" + "x" * (1024 - len(adt("M1")) - 8),))
TOO_LONG = FITS.replace(b"NTE", b"NTES", 1)
FAR_TOO_LONG = adt("M1", more=("NTE|1||" + "x" * 20_000,))
LONG_HEADER = M1.replace(b"|EHR|", b"|" + b"E" * 1024 + b"|", 1)
BHS, BTS = b"BHS|^~\\&|EHR|RIVER|HUB|RIVER|20261123||||B1\r", b"BTS|2\r"
FHS, FTS = b"FHS|^~\\&|EHR|RIVER|HUB|RIVER|20261123\r", b"FTS|1\r"
NO_TYPE = M1.replace(b"ADT^A04", b"")
NO_ID = M1.replace(b"|M1|", b"||")
ACK = b"MSH|^~\\&|EHR|RIVER|HUB|RIVER|20261123||ACK^A04|M1|P|2.5\rMSA|AA|77\r"


@dataclass(frozen=True)
class Case:
    """What is sent, and what has to come of it."""

    sent: bytes
    answers: tuple[str, ...] = ()
    delivered: tuple[bytes, ...] = ()
    refused: int = 0
    silence: bool = False
    """The sender waits for the answers before it goes on."""
    settings: dict[str, Any] = field(default_factory=dict)


SMALL = {"max_frame": "1KiB"}
LENIENT = {"lenient_start": True}
CASES: dict[str, Case] = {
    "one message": Case(frame(M1), ("AA M1",), (M1,)),
    "line ends between frames": Case(frame(M1) + b"\r\n" + frame(M2), ("AA M1", "AA M2"), (M1, M2)),
    "bytes before the first frame": Case(b"hello\r\n" + frame(M1), ("AA M1",), (M1,)),
    "60 KiB before the first frame": Case(b"z" * 60 * 1024 + frame(M1), ("AA M1",), (M1,)),
    "two frames in one read": Case(frame(M1) + frame(M2), ("AA M1", "AA M2"), (M1, M2)),
    "an end without its carriage return, then a start": Case(START + M1 + LONE + frame(M2), ("AA M1", "AA M2"), (M1, M2)),
    "an end without its carriage return, then silence": Case(START + M1 + LONE, ("AA M1",), (M1,), silence=True),
    "ends with a line feed for the carriage return": Case(
        (START + M1 + LONE + b"\n" + START + M2 + LONE + b"\n") * 2, ("AA M1", "AA M2") * 2, (M1, M2) * 2
    ),
    "no end": Case(START + M1 + frame(M2), ("AR M1", "AA M2"), (M2,), refused=1),
    "no end twice": Case(START + M1 + START + M2 + frame(M3), ("AR M1", "AR M2", "AA M3"), (M3,), refused=2),
    "no end, cut within the control id": Case(START + M1[: M1.index(b"M1") + 1] + frame(M2), ("AA M2",), (M2,), refused=1),
    "no end, cut behind the control id": Case(START + M1[: M1.index(b"M1") + 3] + frame(M2), ("AR M1", "AA M2"), (M2,), 1),
    "no end, and no HL7": Case(START + b"hello" + frame(M2), ("AA M2",), (M2,), refused=1),
    "no start": Case(M1 + END + frame(M2), ("AA M2",), (M2,)),
    "no start, leniently": Case(
        M1 + END + b"\r\n" + M2 + END + frame(M3), ("AA M1", "AA M2", "AA M3"), (M1, M2, M3), settings=LENIENT
    ),
    "junk before a start, leniently": Case(b"MSG\r\n" + frame(M1), ("AA M1",), (M1,), settings=LENIENT),
    "the start twice": Case(START + frame(M1), ("AA M1",), (M1,)),
    "an empty frame": Case(frame(b"")),
    "empty frames between messages": Case(frame(M1) + frame(b"") * 3 + frame(M2), ("AA M1", "AA M2"), (M1, M2)),
    "an empty frame without its carriage return": Case(START + LONE + frame(M1), ("AA M1",), (M1,)),
    "no HL7": Case(frame(b"<html>no</html>") + frame(M1), ("AA M1",), (M1,), refused=1),
    "an end character inside of a message": Case(frame(CONTROL_CHARACTER), ("AA M1",), (CONTROL_CHARACTER,)),
    "line feeds": Case(frame(LF), ("AA M1",), (LF,)),
    "carriage returns and line feeds": Case(frame(CRLF), ("AA M1",), (CRLF,)),
    "line ends of several kinds": Case(frame(MIXED), ("AA M1",), (MIXED,)),
    "latin-1 without MSH-18": Case(frame(LATIN_1), ("AA M1",), (LATIN_1,)),
    "UTF-8 with MSH-18": Case(frame(UTF_8), ("AA M1",), (UTF_8,)),
    "not in the charset it names": Case(frame(NOT_ASCII), ("AA M1",), (NOT_ASCII,)),
    "a byte order mark": Case(frame(b"\xef\xbb\xbf" + M1), ("AA M1",), (b"\xef\xbb\xbf" + M1,)),
    "300 KB": Case(frame(LARGE), ("AA M1",), (LARGE,)),
    "as long as may be": Case(frame(FITS), ("AA M1",), (FITS,), settings=SMALL),
    "a byte too long": Case(frame(TOO_LONG) + frame(M2), ("AR M1", "AA M2"), (M2,), refused=1, settings=SMALL),
    "far too long": Case(frame(FAR_TOO_LONG) + frame(M2), ("AR M1", "AA M2"), (M2,), refused=1, settings=SMALL),
    "too long before its control id is told": Case(frame(LONG_HEADER) + frame(M2), ("AA M2",), (M2,), 1, settings=SMALL),
    "two messages in one frame": Case(frame(M1 + M3), ("AA M1", "AA M3"), (M1, M3)),
    "a batch": Case(frame(BHS + M1 + M3 + BTS), ("AA M1", "AA M3"), (M1, M3)),
    "a file of a batch": Case(frame(FHS + BHS + M1 + M3 + BTS + FTS), ("AA M1", "AA M3"), (M1, M3)),
    "a batch that counts wrong": Case(frame(BHS + M1 + M2 + M3 + BTS), ("AA M1", "AA M2", "AA M3"), (M1, M2, M3)),
    "no message type": Case(frame(NO_TYPE) + frame(M2), ("AR M1", "AA M2"), (M2,), refused=1),
    "no control id": Case(frame(NO_ID) + frame(M2), ("AE ", "AA M2"), (M2,), refused=1),
    "one of a batch is refused": Case(frame(BHS + M2 + NO_TYPE + M3 + BTS), ("AA M2", "AR M1", "AA M3"), (M2, M3), 1),
    "an acknowledgement": Case(frame(ACK) + frame(M2), ("AA M2",), (ACK, M2)),
}  # fmt: skip
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.mark.parametrize("cut", [at_once, one_by_one, in_chunks])
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("name", CASES)
def test_the_framing_table(name: str, loop: str, cut: Callable[[bytes], list[int]]) -> None:
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(_play(CASES[name], cut))


@pytest.mark.parametrize("every", [pytest.param(1, marks=pytest.mark.long), 17])
@pytest.mark.parametrize("name", [name for name in CASES if len(CASES[name].sent) < 2000])
async def test_the_framing_table_cut_in_two_at_every_place(name: str, every: int) -> None:
    """In the suite at some places of each case, in the long form at all of them; and at every place without sockets."""
    case = CASES[name]
    sent = case.sent
    whole = _frames(sent, [len(sent)], 10**6)
    for place in range(1, len(sent)):
        assert _frames(sent, [place, len(sent)], 10**6) == whole
    for place in range(1 + len(name) % every, len(sent), every):
        await _play(case, lambda data, place=place: [place, len(data) - place])  # type: ignore[misc]


async def _play(case: Case, cut: Callable[[bytes], list[int]]) -> None:
    """The last message shows that nothing else was answered, and that the connection is alive."""
    deliver = FakeDeliver()
    async with listening(deliver, **case.settings) as listener, wire(listener.port) as partner:
        await partner.send_in_pieces(case.sent, cut(case.sent))
        before = [str(await partner.answer()) for _ in case.answers] if case.silence else []
        await partner.send(frame(LAST))
        answers = before + await partner.answers_until("LAST")
    assert answers == [*case.answers, "AA LAST"]
    assert [message.body for message in deliver.delivered] == [*case.delivered, LAST]
    assert len(deliver.refused) == case.refused


def test_the_cases_are_what_they_say() -> None:
    assert len(FITS) == 1024
    assert len(TOO_LONG) == 1025
    assert len(CASES) >= 24


@pytest.mark.parametrize("cut", [at_once, one_by_one, in_chunks])
@pytest.mark.parametrize("end", ["half-close", "close"])
async def test_what_ends_inside_a_frame_is_never_processed(cut: Callable[[bytes], list[int]], end: str) -> None:
    deliver = FakeDeliver()
    async with listening(deliver) as listener, wire(listener.port) as partner:
        sent = frame(M1) + START + M2
        await partner.send_in_pieces(sent, cut(sent))
        assert str(await partner.answer()) == "AA M1"
        if end == "half-close":
            partner.writer.write_eof()
            assert await partner.rest() == b""
    assert [message.body for message in deliver.delivered] == [M1]
    assert deliver.refused == []


async def test_what_ends_inside_a_frame_is_told_with_its_length_and_which_message_it_was() -> None:
    """Without what it says of a patient."""
    with capture_logs() as logs:
        async with listening() as listener:
            for part in (M2[:-5], M2[:12], b"hello"):
                async with wire(listener.port) as partner:
                    await partner.send(START + part)
                await until(lambda: not listener.peers)
        async with listening(max_frame="1KiB") as listener:
            async with wire(listener.port) as partner:
                await partner.send(START + FAR_TOO_LONG)
            await until(lambda: not listener.peers)
    told = [line for line in logs if "inside a message" in line["event"]]
    assert [line["bytes"] for line in told] == [len(M2) - 5, 12, 5, len(FAR_TOO_LONG)]
    assert [line["control_id"] for line in told] == ["M2", "", "", "M1"]
    assert "DOE" not in str(logs)


ODDITIES = {
    "outside of messages": b"hello" + frame(M1) + b"\r\n",
    "1C alone": START + M1 + LONE,
}


@pytest.mark.parametrize("oddity", ODDITIES)
async def test_what_a_peer_does_wrong_is_told_once_for_each_connection(oddity: str) -> None:
    with capture_logs() as logs:
        async with listening() as listener:
            for _ in range(2):
                async with wire(listener.port) as partner:
                    await partner.send((ODDITIES[oddity] + frame(M2)) * 5)
                    for _ in range(10):
                        assert (await partner.answer()).code == "AA"
            async with wire(listener.port) as good:
                await good.send(frame(M1) + frame(M2) + frame(b""))
                assert await good.answers_until("M2") == ["AA M1", "AA M2"]
    assert [line["connection"] for line in logs if oddity in line["event"]] == ["ehr"] * 2


async def test_a_pause_within_the_end_of_a_frame_is_no_oddity() -> None:
    with capture_logs() as logs:
        async with listening() as listener, wire(listener.port) as partner:
            for id in ("M1", "M2"):
                sent = frame(adt(id))
                await partner.send(sent[:-1])
                await asyncio.sleep(0.1)
                await partner.send(sent[-1:])
                assert str(await partner.answer()) == f"AA {id}"
            [peer] = listener.peers
            assert (peer.framer.junk, peer.framer.lone_ends) == (0, 0)
    assert logs == []


async def test_silence_after_an_end_character_is_200_ms() -> None:
    async with listening() as listener, wire(listener.port) as partner:
        await partner.send(START + M1 + LONE)
        began = time.monotonic()
        assert str(await partner.answer()) == "AA M1"
        assert 0.15 < time.monotonic() - began < 1.5
        await partner.send(b"\r" + frame(M2))
        assert str(await partner.answer()) == "AA M2", "the carriage return that comes late is between frames"


async def test_without_a_setting_a_message_may_be_20_mib() -> None:
    most = 20 * 1024 * 1024
    fits = adt("M1", more=("OBX|1|ED|||^AP^PDF^Base64^" + "A" * (most - len(adt("M1")) - 27),))
    assert len(fits) == most
    deliver = FakeDeliver()
    async with listening(deliver) as listener, wire(listener.port) as partner:
        await partner.send(frame(fits))
        assert str(await partner.answer(30)) == "AA M1"
        await partner.send(frame(fits.replace(b"|M1|", b"|M2x|")) + frame(M3))
        assert await partner.answers_until("M3", 30) == ["AR M2x", "AA M3"]
    assert [message.body for message in deliver.delivered] == [fits, M3]


class SlowDeliver(FakeDeliver):
    """A store that takes its time."""

    async def __call__(self, messages: Sequence[Message]) -> FakeReceipt:
        await asyncio.sleep(0.2)
        return await super().__call__(messages)


@pytest.mark.parametrize("deliver", [FakeDeliver, SlowDeliver])
@pytest.mark.parametrize("loop", LOOPS)
def test_a_partner_that_closes_its_half_gets_all_answers_and_then_the_end(loop: str, deliver: type[FakeDeliver]) -> None:
    async def play() -> None:
        async with listening(deliver()) as listener, wire(listener.port) as partner:
            await partner.send(frame(M1) + frame(M2))
            partner.writer.write_eof()
            answers = [str(await partner.answer()), str(await partner.answer())]
            assert answers == ["AA M1", "AA M2"]
            assert await partner.rest(timeout=2) == b""
            await until(lambda: not listener.peers, timeout=2)

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(play())


async def test_more_than_64_kib_outside_of_frames_ends_the_connection() -> None:
    deliver = FakeDeliver()
    async with listening(deliver) as listener, wire(listener.port) as partner:
        await partner.send(b"GET / HTTP/1.1\r\n" * 4200)
        assert await partner.rest() == b""
        assert not listener.peers
    assert deliver.delivered == []
    assert deliver.refused == []


async def test_line_ends_between_frames_never_add_up_to_a_disconnection() -> None:
    """A link lives for days, and some senders write a line end behind each frame."""
    deliver = FakeDeliver()
    async with listening(deliver) as listener, wire(listener.port) as partner:
        for number in range(100):
            await partner.send(frame(adt(f"N{number}")) + b"\r\n" * 400)
            assert str(await partner.answer()) == f"AA N{number}"
    assert len(deliver.delivered) == 100


# The framer alone: any cut of a stream gives the same frames.

PIECES = st.sampled_from([START, LONE, b"\r", END, b"MSH|^~\\&|A", b"\n", b"x" * 300, b"x" * 1024, b"y"])
CUTS = st.lists(st.integers(1, 700), min_size=1, max_size=30)


def _frames(stream: bytes, sizes: list[int], max_frame: int, lenient: bool = False) -> tuple[list[Frame], bool, int, bool]:
    framer, found, at, turn = Framer(max_frame, lenient), [], 0, 0
    while at < len(stream):
        size = sizes[turn % len(sizes)]
        found += framer.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
    return found, framer.inside, framer.junk, framer.lone_end


@given(st.lists(PIECES, max_size=30).map(b"".join), CUTS, st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_cut_of_a_stream_gives_the_same_frames(stream: bytes, sizes: list[int], lenient: bool) -> None:
    assert _frames(stream, sizes, 10**6, lenient) == _frames(stream, [len(stream) or 1], 10**6, lenient)


@given(st.lists(PIECES, max_size=30).map(b"".join), CUTS)
@settings(max_examples=300, deadline=None)
def test_any_cut_of_a_stream_gives_the_same_frames_when_some_are_too_long(stream: bytes, sizes: list[int]) -> None:
    assert _frames(stream, sizes, 1024) == _frames(stream, [len(stream) or 1], 1024)


def by_the_table(stream: bytes, max_frame: int) -> tuple[list[Frame], int, int, int]:
    """The framing table again, byte after byte and without any haste: frames, junk, empty frames, ends without 0D."""
    frames: list[Frame] = []
    body: list[int] | None = None
    junk = empty = lone = at = 0

    def end(fault: Literal["", "broken"] = "") -> None:
        nonlocal empty
        whole = bytes(body or [])
        if len(whole) > max_frame:
            frames.append(Frame(whole[:4096][:max_frame], fault or "too long"))
        elif whole:
            frames.append(Frame(whole, fault))
        else:
            empty += 1

    while at < len(stream):
        byte, following = stream[at], stream[at + 1 : at + 2]
        at += 1
        if byte == 0x0B:
            if body is not None:
                end("broken")
            body = []
        elif body is None:
            junk += 1
        elif byte == 0x1C and following in (b"\r", b"\n", START):
            end()
            body = None
            lone += following != b"\r"
            at += following == b"\r"
        else:
            body.append(byte)
    return frames, junk, empty, lone


@given(st.lists(PIECES, max_size=40).map(b"".join), CUTS)
@settings(max_examples=500, deadline=None)
def test_a_stream_gives_what_the_table_says(stream: bytes, sizes: list[int]) -> None:
    framer, found, at, turn = Framer(1024), list[Frame](), 0, 0
    while at < len(stream):
        found += framer.feed(stream[at : at + sizes[turn % len(sizes)]])
        at, turn = at + sizes[turn % len(sizes)], turn + 1
    frames, junk, empty, lone = by_the_table(stream, 1024)
    assert [(frame.fault, frame.body[:1024]) for frame in found] == [(frame.fault, frame.body) for frame in frames]
    assert (framer.junk, framer.empty, framer.lone_ends) == (junk, empty, lone)


BODIES = st.binary(min_size=1, max_size=400).map(lambda b: b.replace(START, b"?").replace(LONE, b"?"))
GAPS = st.binary(max_size=5).map(lambda b: b.replace(START, b"?"))


@given(st.lists(st.tuples(GAPS, BODIES), max_size=12), CUTS)
@settings(max_examples=200, deadline=None)
def test_what_is_framed_comes_out_again_whatever_lies_between(messages: list[tuple[bytes, bytes]], sizes: list[int]) -> None:
    stream = b"".join(gap + framed(body) for gap, body in messages)
    found, inside, junk, _ = _frames(stream, sizes, 10**6)
    assert found == [Frame(body) for _, body in messages]
    assert not inside
    assert junk == sum(len(gap) for gap, _ in messages)


@given(BODIES.filter(lambda b: len(b) > 2), st.integers(1, 3))
@settings(max_examples=100, deadline=None)
def test_silence_makes_an_end_of_an_end_character_only(body: bytes, missing: int) -> None:
    framer = Framer(10**6)
    assert framer.feed(START + body[:-missing]) == []
    assert framer.silence() == []
    assert framer.feed(body[-missing:] + LONE) == []
    assert framer.silence() == [Frame(body)]
    assert framer.feed(framed(body)) == [Frame(body)]


def test_what_is_no_message_is_counted() -> None:
    framer = Framer(10**6)
    framer.feed(b"xx" + frame(b"") + b"\r\n" + frame(b"") + START + LONE + frame(M1) + b"y")
    assert (framer.junk, framer.gap, framer.empty, framer.lone_ends, framer.begun) == (5, 1, 3, 1, 4)


def test_a_frame_that_never_ends_is_not_kept_in_memory() -> None:
    framer = Framer(64 * 1024)
    framer.feed(START)
    for _ in range(400):
        framer.feed(b"MSH|^~\\&|" + b"x" * 64 * 1024)
        assert len(framer._buffer) <= 192 * 1024
    [found] = framer.feed(END)
    assert found.fault == "too long"
    assert len(found.body) <= 4096
