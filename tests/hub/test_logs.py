"""What the hub says on stderr: known fields only, each event on one line, never anything about a patient."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from connectors.simulators.ehr import EhrClient, header, message as hl7, segment
from hub import logs
from hub.errors import ConnectionDown, DoubtfulSend, MessageRejected, MessageUnusable
from hub.message import Message
from hub.step import Context, StepResult
from tests.hub.bus import probe
from tests.support import ask, clinic_folder, free_port, in1, port_of, running_hub, settled, until

FORMATS = pytest.mark.parametrize("format", ["text", "json"])


@contextlib.contextmanager
def logging_to(format: str = "text", level: str = "debug") -> Iterator[io.StringIO]:
    """Everything the hub would write on stderr, whichever way it is written."""
    written, stderr, handlers = io.StringIO(), sys.stderr, logging.getLogger().handlers
    sys.stderr = written
    try:
        logs.configure(level, format)
        yield written
    finally:
        sys.stderr = stderr
        structlog.reset_defaults()
        logging.getLogger().handlers = handlers


def line_of(format: str, event: str = "something happened", **fields: Any) -> str:
    with logging_to(format) as written:
        structlog.get_logger("test").warning(event, **fields)
    return written.getvalue()


# Fields.


@FORMATS
def test_known_fields_are_written(format: str) -> None:
    line = line_of(format, connection="ehr", code="MSG-001", attempt=2, reason="the partner answered AE")
    for part in ("something happened", "ehr", "MSG-001", "2", "the partner answered AE"):
        assert part in line


@FORMATS
@pytest.mark.parametrize("name", ["body", "patient", "mrn", "text", "exception", "payload", "exc_info", "stack", "Message"])
def test_unknown_fields_are_dropped_with_their_values(format: str, name: str) -> None:
    line = line_of(format, connection="ehr", **{name: "ZQXPATIENT"})
    assert "ZQXPATIENT" not in line
    assert "ehr" in line


@FORMATS
def test_an_exception_is_not_written_out(format: str) -> None:
    with logging_to(format) as written:
        try:
            raise ValueError("ZQXPATIENT")
        except ValueError:
            structlog.get_logger("test").exception("it failed", connection="ehr")
            structlog.get_logger("test").error("it failed", exc_info=True, stack_info=True)
    assert "ZQXPATIENT" not in written.getvalue()
    assert "Traceback" not in written.getvalue()
    assert written.getvalue().count("it failed") == 2


@FORMATS
def test_what_libraries_log_is_not_written(format: str) -> None:
    with logging_to(format) as written:
        logging.getLogger("httpx").warning("GET https://payer/ZQXPATIENT")
        logging.getLogger("asyncio").error("exception in ZQXPATIENT")
    assert written.getvalue() == ""


# Lines.

BREAKS = {
    "cr": "\r", "lf": "\n", "crlf": "\r\n", "vertical-tab": "\v", "form-feed": "\f", "next-line": "\x85",
    "line-separator": "\u2028", "paragraph-separator": "\u2029", "file-separator": "\x1c",
}  # fmt: skip


@FORMATS
@pytest.mark.parametrize("breaking", BREAKS.values(), ids=BREAKS.keys())
@pytest.mark.parametrize("field", ["event", "reason", "connection"])
def test_one_event_is_one_line_whatever_is_in_it(format: str, breaking: str, field: str) -> None:
    """A partner's words must not look like a line of the hub's own."""
    forged = f"innocent{breaking}2026-01-01 00:00:00 [info     ] connection up"
    line = line_of(format, forged) if field == "event" else line_of(format, **{field: forged})
    assert len(line.rstrip("\n").splitlines()) == 1
    assert "innocent" in line


@pytest.mark.parametrize("control", ["\x1b[2J", "\x1b]0;title\x07", "\x08" * 20, "\x9b2J", "\x00"], ids=repr)
@FORMATS
def test_a_terminal_is_not_steered_by_what_is_logged(format: str, control: str) -> None:
    line = line_of(format, reason=f"before{control}after")
    assert not [character for character in line.rstrip("\n") if not character.isprintable()]


@FORMATS
def test_a_value_that_is_no_text_makes_no_further_line_either(format: str) -> None:
    class Odd:
        def __repr__(self) -> str:
            return "odd\nand ends"

    assert len(line_of(format, reason=Odd(), connections=["a\nb", {"c\r": "d\n"}]).rstrip("\n").splitlines()) == 1


@FORMATS
def test_a_long_value_is_cut(format: str) -> None:
    assert len(line_of(format, reason="x" * 1_000_000)) < 2_000


def test_json_lines_are_json() -> None:
    line = json.loads(line_of("json", connection="ehr", reason='"quoted" \\ and \n broken'))
    assert (line["event"], line["level"], line["connection"]) == ("something happened", "warning", "ehr")
    assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize(("level", "count"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_the_level_of_the_clinic_file_counts(level: str, count: int) -> None:
    with logging_to("json", level) as written:
        logger = structlog.get_logger("test")
        for name in ("debug", "info", "warning", "error"):
            getattr(logger, name)("event")
    assert len(written.getvalue().splitlines()) == count


# No patient data, through every error there is.

FAMILY, GIVEN, MRN, MEMBER, BORN = "ZQXFAMILY", "ZQXGIVEN", "ZQXMRN", "ZQXMEMBER", "19570319"
WORDS = f"{FAMILY}, {GIVEN}, {MRN}, {MEMBER}, {BORN}"
CLINIC = """
connections:
  ehr: {kind: mllp_listener, port: "0", frame_timeout: 100ms, max_frame: 50KB}
  feed: {kind: probe_in}
  mllp: {kind: mllp_sender, host: 127.0.0.1, port: "@PORT@", timeout: 50ms, retry: {first: 1ms, most: 5ms, attempts: "2"}}
  nobody: {kind: mllp_sender, host: 127.0.0.1, port: "@FREE@", retry: {first: 1ms, most: 5ms}}
  payer: {kind: probe_out, retry: {first: 1ms, most: 5ms, attempts: "2"}}
flows:
  registrations: {from: ehr, when: {type: ADT^*}, steps: [{map: adt_to_patient}, {save: patient}]}
  bookings: {from: ehr, when: {type: SIU^*}, steps: [{map: siu_to_appointment}, {save: appointment}]}
  forward: {from: feed, steps: [{send: mllp}, {send: nobody}]}
  questions: {from: feed, steps: [{probe: step}, {ask: payer}, {probe: answer}]}
  failures: {from: {failed: questions}, steps: [{probe: failure}]}
"""


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> probe.World:
    monkeypatch.syspath_prepend(str(probe.plugged_in(tmp_path_factory.mktemp("lib"))))
    for name in ("sent", "partners", "steps", "runs"):
        getattr(probe.WORLD, name).clear()
    return probe.WORLD


def registration(control_id: str) -> bytes:
    pid = segment("PID", f1="1", f3=f"{MRN}^^^RIVER^MR", f5=f"{FAMILY}^{GIVEN}", f7=BORN, f8="F")
    return hl7(header("ADT^A04", control_id), pid, in1(MEMBER))


def broken_messages() -> list[bytes]:
    """Everything that can be wrong with a message, with patient data where it is wrong."""
    good = registration("M1")
    booking = hl7(header("SIU^S12", "S1"), segment("SCH", f2=MRN, f11=f"^^^{FAMILY}"), good.split(b"\r")[1].decode())
    return [
        good.replace(BORN.encode(), FAMILY.encode()),
        booking,
        good.replace(b"|P|2.5", f"|P|2.5||||||{FAMILY}".encode()),
        good.replace(b"ADT^A04", FAMILY.encode()),
        good.replace(b"|M1|", b"||"),
        good.replace(b"ADT^A04", b""),
        WORDS.encode(),
        b"MSH|" + WORDS.encode(),
        good.replace(MRN.encode(), b""),
        good.replace(b"PID|", b"ZPD|"),
        good + b"NTE|" + WORDS.encode() * 2000,
    ]


STORY = ["AE", "AR", "silent", "close", "garbage", "wrong"]


async def far_side(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers in every wrong way there is, with the patient's name in all its words."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while frame := await reader.readuntil(b"\x1c\r"):
            id = frame.split(b"\r")[0].split(b"|")[9]
            what = STORY.pop(0) if STORY else "AA"
            if what == "close":
                break
            if what == "silent":
                continue
            words = WORDS.encode()
            answer = b"MSH|^~\\&|P|P|H|H|20260101||ACK|A1|P|2.5\rMSA|%s|%s|%s\rERR|%s|PID|%s^%s|E|||%s|%s\r" % (
                what.encode() if what in ("AA", "AE", "AR") else words, id if what != "wrong" else words, *[words] * 6
            )  # fmt: skip
            writer.write(b"\x0b" + (words if what == "garbage" else answer) + b"\x1c\r")
    writer.close()


ERRORS = [
    ValueError(WORDS), KeyError(WORDS), RuntimeError(WORDS), OSError(5, WORDS),
    UnicodeDecodeError("utf-8", WORDS.encode(), 0, 1, WORDS),
    MessageUnusable("no use"), MessageRejected("refused", answer="AE", reply=WORDS.encode()), DoubtfulSend("who knows"),
    ConnectionDown("away"),
]  # fmt: skip


@FORMATS
async def test_no_error_writes_patient_data_into_the_log(world: probe.World, tmp_path: Path, format: str) -> None:
    """Bad messages, bad partners, bad plugins, bad peers, a store that is full, questions of people."""
    in_steps, in_sends, in_answers = list(ERRORS[:6]), list(ERRORS), list(ERRORS[:4])

    @world.step
    async def step(message: Message, context: Context) -> StepResult:
        if b"STEP" in message.body and in_steps:
            raise in_steps.pop()
        return message

    @world.step
    async def answer(message: Message, context: Context) -> StepResult:
        if in_answers:
            raise in_answers.pop()
        return None

    @world.partner
    async def payer(message: Message) -> Message:
        if in_sends:
            raise in_sends.pop()
        return Message(WORDS.encode(), "bytes")

    STORY[:] = ["AE", "AR", "silent", "close", "garbage", "wrong"]
    server = await asyncio.start_server(far_side, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    file = clinic_folder(tmp_path, CLINIC.replace("@PORT@", str(port)).replace("@FREE@", str(free_port())))
    with logging_to(format) as written:
        async with running_hub(file) as hub:
            for body in broken_messages():
                with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
                    async with EhrClient("127.0.0.1", port_of(hub, "ehr")) as ehr:
                        await ehr.send(body, timeout=0.2)
            await rude_peers(port_of(hub, "ehr"))
            bodies = [registration(f"{kind}{number}") for kind in ("STEP", "SEND") for number in range(12)]
            await probe.in_turn(hub, bodies, source="feed")
            await until(lambda: not in_steps and not in_sends and not in_answers and not STORY, timeout=15)
            for operation, params in (
                ("trace", {"id": MRN}),
                ("messages.list", {"patient": MRN, "state": WORDS}),
                ("messages.show", {"id": WORDS}),
            ):
                with contextlib.suppress(Exception):
                    await ask(hub, operation, **params)
            probe.disk_is_full(hub)
            with contextlib.suppress(Exception):
                await probe.deliver(hub, registration("FULL") + b"NTE|" + WORDS.encode() * 2000, source="feed")
            probe.there_is_space_again(hub)
    server.close()
    text = written.getvalue()
    assert text.count("a message failed") > 10, "the errors were logged"
    assert "connection down" in text
    for canary in (FAMILY, GIVEN, MRN, MEMBER, BORN):
        assert [line for line in text.splitlines() if canary in line] == []


async def rude_peers(port: int) -> None:
    """Half a message, no MLLP at all, a message in a message."""
    for data in (
        b"\x0b" + registration("HALF"),
        WORDS.encode() * 2000,
        b"\x0bMSH|" + WORDS.encode() + b"\x0b" + registration("TWO") + b"\x1c\r",
    ):
        with contextlib.suppress(OSError, TimeoutError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(data)
            async with asyncio.timeout(0.2):
                await reader.read(10_000)
            writer.close()


async def test_messages_are_named_by_their_id(world: probe.World, tmp_path: Path) -> None:
    @world.step
    async def step(message: Message, context: Context) -> StepResult:
        raise MessageUnusable("no use")

    text = "connections:\n  feed: {kind: probe_in}\nflows:\n  questions: {from: feed, steps: [{probe: step}]}\n"
    with logging_to("json") as written:
        async with running_hub(clinic_folder(tmp_path, text)) as hub:
            receipt = await probe.deliver(hub, registration("M1"), source="feed")
            await settled(hub)
    [line] = [json.loads(line) for line in written.getvalue().splitlines() if "a message failed" in line]
    assert line["message"] == receipt.ids[0]
    assert line["where"] == "flow questions, step probe:step"
