"""What the fuzzer feeds: framer, parser, escapes and acknowledgements of HL7 v2, each with what must hold for any bytes.

    python -m tests.fuzz.hl7_targets parser FOLDER -max_total_time=60

Run by test_fuzz.py in a process of its own: libFuzzer ends the process it is in.  Besides what it promises, each target takes
large inputs in linear time and bounded memory (`-rss_limit_mb`).
"""

from __future__ import annotations

from collections.abc import Callable

import atheris

from tests.fuzz.running import feed

with atheris.instrument_imports(include=["hub.formats.hl7v2", "connectors.mllp"]):
    from connectors.mllp.framing import Framer
    from hub.errors import MessageUnusable
    from hub.formats.hl7v2 import Hl7, acknowledge, batch, lines, read_acknowledgement, split
    from hub.formats.hl7v2.ack import TABLE_0357, Fault
    from hub.formats.hl7v2.codec import Hl7Format
    from hub.formats.hl7v2.escapes import Separators, escape, unescape

CHARSETS = (None, "utf-8", "8859/1", "ASCII", "ISO IR87", "GB 18030-2000", "klingon")
PATHS = ("MSH-9.1", "PID-3[*].1", "PID-3[5=MR].4.2", "OBX[*]-5", "MSA-2", "PID-5", "ZZZ[2]-1")
LARGE = 64 * 1024
"""Bytes of the input that is made of a small one, to see how time grows."""
LARGE_TIME = 4.0
"""Seconds of CPU it may take, traced as it is: some fifty times what it does."""


def framer(data: bytes) -> None:
    """Frames do not hang on how the bytes are cut, and what is kept of a frame without end is bounded."""
    most, cut = 1024, max(1, data[0] % 64 if data else 1)
    whole, pieces = Framer(most), Framer(most)
    frames = whole.feed(data)
    found = []
    for at in range(0, len(data), cut):
        found += pieces.feed(data[at : at + cut])
        assert len(pieces._buffer) <= most + cut + 1
    assert found == frames
    assert all(len(frame.body) <= most for frame in frames if not frame.fault)
    assert whole.silence() == pieces.silence()


def parser(data: bytes) -> None:
    """A message is unusable or comes back byte for byte, whichever way it is taken apart; keys and parts are total."""
    charset, raw = CHARSETS[data[0] % len(CHARSETS)] if data else None, data[1:]
    keys = Hl7Format().keys(raw, {"charset": charset or "", "authority": "RIVER", "ordering_path": "PV1-19.1"})
    assert all(value.strip() for value in (*keys.patient, *keys.appointment, *keys.member, *keys.ordering))
    assert not batch.is_one(raw) or split(raw) == batch.in_full(raw)
    try:
        message = Hl7(raw, charset)
    except MessageUnusable:
        return
    assert bytes(message) == raw
    quick = lines.quickly(raw, charset)
    assert quick is None or quick[:7] == lines.in_full(raw, charset)[:7]
    for path in PATHS:
        assert message.get(path) == next(iter(message.get_all(path)), None)
    for scope in ("PID", "IN1", "RGS"):
        list(message.each(scope))
    _set(message)


def _set(message: Hl7) -> None:
    """What is set is read again, and no segment comes or goes by it."""
    ids = list(message.ids)
    for place, name in enumerate(ids[:3]):
        path = f"{name}[{ids[: place + 1].count(name)}]-11.2"
        message.set(path, "A|B^C~D&E\\F\rG\nH\x0bI\x1cJ")
        if _tells_apart(message.separators):
            assert message.get(path) == "A|B^C~D&E\\F\rG\nH\x0bI\x1cJ"
    assert message.ids == ids


def _tells_apart(separators: Separators) -> bool:
    """False when MSH-2 makes one character mean several things, or a letter of an escape: then nothing can be read back."""
    marks = [mark for mark in separators if mark]
    return len(set(marks)) == len(marks) and not any(mark.isalnum() or mark in ". \t\0\x0b\x1c" for mark in marks)


def escapes(data: bytes) -> None:
    """Any text is read again as it was written; any wire text is read without an exception and no way longer."""
    text = data.decode("utf-8", "surrogateescape").encode("utf-8", "replace").decode()
    marks = "|^~\\&#*!/+"
    five = Separators(*(marks[(byte + shift) % 2 * 5 + shift] for shift, byte in enumerate(data[:5].ljust(5, b"\0"))))
    assert unescape(escape(text, five), five) == text
    assert not set(escape(text, five)) & {*five[:3], five.subcomponent, "\r", "\n", "\x0b", "\x1c"}
    read = unescape(text, five)
    assert len(read) <= 1000 * len(text) + 1
    assert unescape(text.replace(five.escape, ""), five) == text.replace(five.escape, "")


def ack(data: bytes) -> None:
    """An acknowledgement of any message says to which it belongs, is in proportion to it, and is one of HL7 again."""
    codes = sorted(TABLE_0357)
    code = ("AA", "AE", "AR", "CA", "CE", "CR")[data[0] % 6] if data else "AA"
    fault = None if code in ("AA", "CA") else Fault(codes[data[0] % len(codes)], "PID-3", data[1:40].decode("latin-1"))
    try:
        request = Hl7(data[1:])
    except MessageUnusable:
        return
    answer = acknowledge(request, code, fault)
    assert answer.count(b"\r") == 2 + (fault is not None)
    assert b"\n" not in answer
    frame = {"\x0b", "\x1c"}
    assert not {0x0B, 0x1C} & set(answer) or frame & {*request.separators, *request.fields_of(0)[1]}
    assert len(answer) <= 5 * len(data) + 4096
    try:
        found = read_acknowledgement(answer)
    except MessageUnusable:
        # separators may cut MSA-1 in two, be letters of it, or mean something else in the charset of the shorter answer
        assert any(mark in code or mark.isalnum() or not mark.isascii() for mark in request.separators)
        return
    id = set(request.control_id)
    # a lone escape character may take a frame byte that is escaped behind it for its partner
    unclear = {"\r", "\n"} & id or (frame & id and request.separators.escape in id)
    if _tells_apart(request.separators) and request.control_id.isascii() and not unclear:
        assert found.control_id == request.control_id


def read(data: bytes) -> None:
    """Any bytes are an acknowledgement or not; what is told of one holds nothing but codes."""
    try:
        found = read_acknowledgement(data)
    except MessageUnusable:
        return
    assert set(found.text.split()) <= {*TABLE_0357}


TARGETS: dict[str, Callable[[bytes], None]] = {"framer": framer, "parser": parser, "escapes": escapes, "ack": ack, "read": read}


if __name__ == "__main__":
    feed(TARGETS, "-max_len=2048", "-timeout=200", large=LARGE, seconds=LARGE_TIME)
