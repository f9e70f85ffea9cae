"""The MLLP sender: an acknowledgement counts only for its own message, and a doubtful connection is never used again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from connectors.mllp import MllpSender, SenderConfig
from connectors.simulators.ehr import EhrServer, script_of
from hub.errors import ConnectionDown, HubError, MessageRejected
from hub.message import Message
from hub.testing import CANARY, ConnectorContract
from tests.connectors.wire import END, START, Partner, acknowledgement, adt, control_id_of, frame, sending, wire
from tests.support import ask, clinic_folder, free_port, port_of, running_hub, until


class TestContract(ConnectorContract):
    connector = MllpSender
    config = {"host": "127.0.0.1", "port": "1"}

    async def far_side(self, config: dict[str, Any]) -> EhrServer:
        self.pms = EhrServer(port=free_port())
        config["port"] = self.pms.port
        return self.pms

    def arrived(self, connection: MllpSender, tmp_path: Path) -> bytes | None:
        return self.pms.received[0] if self.pms.received else None


def message(control_id: str, **more: Any) -> Message:
    return Message(adt(control_id, **more), "hl7v2", "ADT^A04")


# What a partner answers.


@pytest.mark.parametrize("code", ["AA", "CA"])
async def test_a_positive_answer_is_the_partners_answer(code: str) -> None:
    async with EhrServer(script_of([code])) as pms, sending(pms.port) as sender:
        answer = await sender.send(message("M1"))
    assert answer is not None
    assert answer.headers["answer"] == code
    assert f"MSA|{code}|M1".encode() in answer.body


@pytest.mark.parametrize("code", ["AE", "AR", "CE", "CR"])
async def test_a_negative_answer_is_about_the_message_and_the_connection_stays(code: str) -> None:
    accepted: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            body = (await reader.readuntil(END))[1:-2]
            accepted.append(body)
            writer.write(acknowledgement(code if len(accepted) == 1 else "AA", control_id_of(body)))

    async with Partner(handle) as partner, sending(partner.port) as sender:
        with pytest.raises(MessageRejected) as caught:
            await sender.send(message("M1"))
        assert (caught.value.answer, caught.value.final) == (code, False)
        assert code in str(caught.value)
        assert f"MSA|{code}|M1".encode() in caught.value.reply
        await sender.send(message("M2"))
        assert partner.connections == 1
    assert accepted == [adt("M1"), adt("M2")]


async def test_the_codes_of_an_error_are_told_and_its_words_are_not() -> None:
    """Other systems write into their error texts what they complain about, names included."""
    more = (f"ERR||PID^1^5|204^{CANARY}^HL70357|E||||Patient {CANARY} not found",)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(END)
        writer.write(acknowledgement("AE", f"M1|{CANARY} unknown", *more))
        await reader.read()

    async with Partner(handle) as partner, sending(partner.port) as sender:
        with pytest.raises(MessageRejected, match=r"AE.*204") as caught:
            await sender.send(message("M1"))
    assert CANARY not in str(caught.value)


HOSTILE = {
    "in ERR-3, where a code belongs": acknowledgement("AE", "M1", f"ERR|||{CANARY} not found|E"),
    "in ERR-1, where a code belongs": acknowledgement("AE", "M1", f"ERR|PID^1^5^{CANARY}&x"),
    "in MSA-1": acknowledgement(f"AE {CANARY}", "M1"),
    "in MSA-2": acknowledgement("AA", CANARY),
    "instead of an acknowledgement": frame(CANARY.encode()),
    "in a message without MSA": frame(adt("M1", family=CANARY)),
    "in an acknowledgement that is too long": acknowledgement("AA", "M1", f"NTE|1||{CANARY}" + "x" * 5000),
    "before the answer": CANARY.encode() + acknowledgement("AR", "M1"),
}  # fmt: skip


@pytest.mark.parametrize("answer", HOSTILE.values(), ids=HOSTILE)
async def test_no_error_tells_of_a_patient_whatever_the_partner_answers(answer: bytes) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(END)
        writer.write(answer)
        await reader.read()

    with capture_logs() as logs:
        async with Partner(handle) as partner, sending(partner.port, max_frame="4KiB", timeout="300ms") as sender:
            with pytest.raises(HubError) as caught:
                await sender.send(message("M1", family=CANARY))
    assert CANARY not in f"{caught.value} {caught.value!r} {caught.value.code} {caught.value.help}"
    assert CANARY not in json.dumps(logs, default=str)


NO_ACKNOWLEDGEMENT = {
    "nonsense": frame(b"this is no acknowledgement"),
    "no MSA": frame(b"MSH|^~\\&|SIM|SIM|HUB|HUB|20261123||ACK|A1|P|2.5\r"),
    "an MSA without its code": acknowledgement("", "M1"),
    "for another message": acknowledgement("AA", "M0"),
    "for no message": acknowledgement("AA", ""),
    "for a message of a similar name": acknowledgement("AA", "M1x"),
    "a refusal of another message": acknowledgement("AE", "M0"),
    "too long": acknowledgement("AA", "M1", "NTE|1||" + "x" * 5000),
    "a web page without frames": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "an empty frame": frame(b""),
    "only its beginning": acknowledgement("AA", "M1")[:-10],
    "nothing": b"",
}


@pytest.mark.parametrize("answer", NO_ACKNOWLEDGEMENT.values(), ids=NO_ACKNOWLEDGEMENT)
async def test_without_an_acknowledgement_the_connection_is_down_and_never_used_again(answer: bytes) -> None:
    heard: list[tuple[int, str]] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = partner.connections
        while True:
            id = control_id_of((await reader.readuntil(END))[1:-2])
            heard.append((number, id))
            writer.write(answer if number == 1 else acknowledgement("AA", id))

    async with Partner(handle) as partner, sending(partner.port, max_frame="4KiB", timeout="300ms") as sender:
        with pytest.raises(ConnectionDown, match="pms"):
            await sender.send(message("M1"))
        await sender.send(message("M2"))
        await sender.send(message("M1"))
    assert heard == [(1, "M1"), (2, "M2"), (2, "M1")]


async def test_a_late_answer_is_never_taken_for_the_next_message() -> None:
    """M1 is answered after its time-out; M2 is refused, and must not be taken for accepted because of it."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            id = control_id_of((await reader.readuntil(END))[1:-2])
            if id == "M1":
                await asyncio.sleep(0.4)
            writer.write(acknowledgement("AA" if id == "M1" else "AR", id))

    async with Partner(handle) as partner, sending(partner.port, timeout="200ms") as sender:
        with pytest.raises(ConnectionDown, match=r"no acknowledgement within 0.2 s"):
            await sender.send(message("M1"))
        with pytest.raises(MessageRejected, match="AR"):
            await sender.send(message("M2"))
        assert partner.connections == 2


@pytest.mark.parametrize("pause", [0.0, 0.05], ids=["in one read", "in two reads"])
async def test_an_answer_that_comes_before_its_question_does_not_count(pause: float) -> None:
    got: list[str] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            got.append(control_id_of((await reader.readuntil(END))[1:-2]))
            writer.write(acknowledgement("AA", got[-1]))
            if got[-1] == "M1":
                await asyncio.sleep(pause)
                writer.write(acknowledgement("AA", "M2"))
                sent.set()

    sent = asyncio.Event()
    async with Partner(handle) as partner, sending(partner.port) as sender:
        await sender.send(message("M1"))
        await sent.wait()
        await until(lambda: not sender._links, timeout=2)
        await sender.send(message("M2"))
        assert partner.connections == 2
    assert got == ["M1", "M2"], "the second message did arrive"


ACK = acknowledgement("AA", "M1")
CUTS = {
    "in the middle": [ACK[:30], ACK[30:]],
    "before the carriage return of the end": [ACK[:-1], ACK[-1:]],
    "before the end": [ACK[:-2], ACK[-2:]],
    "after the start": [ACK[:1], ACK[1:]],
    "byte by byte": [bytes([byte]) for byte in ACK],
    "line ends around it": [b"\r\n" + ACK + b"\r\n"],
    "with line feeds": [ACK.replace(b"\r", b"\n").replace(b"\x1c\n", END)],
    "with a keep-alive before it": [frame(b"") + ACK],
    "an end without its carriage return": [ACK[:-1]],
}


@pytest.mark.parametrize("parts", CUTS.values(), ids=CUTS)
async def test_an_acknowledgement_is_understood_however_it_arrives(parts: list[bytes]) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(END)
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.001 if len(parts) > 2 else 0.03)
        await reader.read()

    async with Partner(handle) as partner, sending(partner.port, timeout="2s") as sender:
        answer = await sender.send(message("M1"))
    assert answer is not None
    assert answer.headers["answer"] == "AA"


# Connections.


async def test_one_connection_serves_many_messages() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(acknowledgement("AA", control_id_of((await reader.readuntil(END))[1:-2])))

    async with Partner(handle) as partner, sending(partner.port) as sender:
        for number in range(50):
            await sender.send(message(f"M{number}"))
        assert partner.connections == 1


async def test_a_connection_the_partner_closed_meanwhile_is_opened_again() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(acknowledgement("AA", control_id_of((await reader.readuntil(END))[1:-2])))

    async with Partner(handle) as partner, sending(partner.port) as sender:
        for number in range(3):
            await sender.send(message(f"M{number}"))
            await partner.all_ended()
            await until(lambda: not sender._links)
        assert partner.connections == 3


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize("reset", [False, True], ids=["closes", "resets"])
@pytest.mark.parametrize("read", [0, 10, 10_000], ids=["before reading", "in the middle", "after reading"])
async def test_a_partner_that_goes_away_without_an_answer_is_down(read: int, reset: bool) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if read == 10_000:
            await reader.readuntil(END)
        elif read:
            await reader.readexactly(read)
        if reset:
            _reset(writer)

    async with Partner(handle) as partner, sending(partner.port) as sender:
        began = time.monotonic()
        with pytest.raises(ConnectionDown, match="pms") as caught:
            await sender.send(message("M1"))
        assert time.monotonic() - began < 2, "it is found out at once, not by a time-out"
        assert "within" not in str(caught.value)


async def test_a_partner_that_does_not_read_runs_into_the_time_out() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()
        await asyncio.sleep(10)

    large = Message(adt("M1", more=("NTE|1||" + "x" * 20_000_000,)), "hl7v2")
    async with Partner(handle) as partner, sending(partner.port, timeout="300ms") as sender:
        with pytest.raises(ConnectionDown, match="within"):
            await sender.send(large)


async def test_a_refused_port_names_the_connection_and_the_place() -> None:
    port = free_port()
    async with sending(port) as sender:
        with pytest.raises(ConnectionDown, match=f"pms.*127.0.0.1:{port}"):
            await sender.send(message("M1"))


@pytest.mark.parametrize("host", ["ehr..example", ".ehr.example", "e" * 64 + ".example"])
async def test_a_host_name_that_cannot_be_one_is_a_connection_that_is_down(host: str) -> None:
    """A typing error in the clinic file must not send every message to quarantine."""
    given = {"kind": "mllp_sender", "host": host, "port": 1, "allow_plaintext": "a test"}
    try:
        sender = MllpSender("pms", SenderConfig.model_validate(given))
    except ValidationError:
        return
    await sender.open_destination()
    with pytest.raises(ConnectionDown, match="pms"):
        await sender.send(message("M1"))


async def test_several_messages_at_once_have_a_connection_each_and_get_their_own_answers() -> None:
    together = asyncio.Barrier(8)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            id = control_id_of((await reader.readuntil(END))[1:-2])
            if id.startswith("A"):
                await together.wait()
            writer.write(acknowledgement("AA" if int(id[1:]) % 2 else "AE", id))

    async with Partner(handle) as partner, sending(partner.port, parallel=8) as sender:
        for letter in "AB":
            ids = [f"{letter}{number}" for number in range(8)]
            answers = await asyncio.gather(*(sender.send(message(id)) for id in ids), return_exceptions=True)
            for id, answer in zip(ids, answers, strict=True):
                reply = answer.reply if isinstance(answer, MessageRejected) else answer.body
                assert f"|{id}\r".encode() in reply
                assert isinstance(answer, MessageRejected) == (int(id[1:]) % 2 == 0)
        assert partner.connections == 8, "they are kept"


async def test_a_send_that_is_cancelled_takes_its_connection_with_it() -> None:
    heard: list[str] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            heard.append(control_id_of((await reader.readuntil(END))[1:-2]))
            if heard[-1] != "M1":
                writer.write(acknowledgement("AA", heard[-1]))

    async with Partner(handle) as partner, sending(partner.port) as sender:
        first = asyncio.create_task(sender.send(message("M1")))
        await until(lambda: heard == ["M1"])
        first.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await first
        await sender.send(message("M2"))
        assert partner.connections == 2


async def test_closing_ends_a_send_that_waits() -> None:
    async with EhrServer(lambda *_: "silent") as pms, sending(pms.port) as sender:
        waiting = asyncio.create_task(sender.send(message("M1")))
        await until(lambda: pms.seen["M1"])
        await sender.close()
        with pytest.raises(ConnectionDown):
            await asyncio.wait_for(waiting, 1)


async def test_the_check_reaches_the_partner_and_sends_nothing() -> None:
    got: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.read())

    async with Partner(handle) as partner, sending(partner.port) as sender:
        assert str(partner.port) in await sender.check()
        await partner.all_ended()
    assert got == [b""]
    with pytest.raises(ConnectionDown, match="pms"):
        await sender.check()


async def test_a_partner_that_is_gone_without_a_word_is_found_out_by_keep_alives() -> None:
    async with EhrServer() as pms, sending(pms.port) as sender:
        await sender.send(message("M1"))
        [link] = sender._links
        sock = link.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        options = [socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT]
        assert [sock.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [60, 15, 4]


# What is not sent.


async def test_what_is_no_hl7_is_refused_before_anything_is_sent() -> None:
    async with EhrServer() as pms, sending(pms.port) as sender:
        with pytest.raises(MessageRejected, match="HL7") as caught:
            await sender.send(Message(b"ISA*00*" + CANARY.encode(), "x12"))
    assert caught.value.final
    assert CANARY not in str(caught.value)
    assert not pms.seen


SMUGGLED = {
    "a second message": adt("M1") + b"\x1c\r\x0b" + adt("M2"),
    "a start": adt("M1") + START + adt("M2"),
    "an end": adt("M1") + END + b"PID|1||666\r",
    "an end without its carriage return": adt("M1", family="DO\x1cE"),
}


@pytest.mark.parametrize("body", SMUGGLED.values(), ids=SMUGGLED)
async def test_a_body_with_frame_characters_never_becomes_two_messages(body: bytes) -> None:
    """Whoever may drop a file for the hub could otherwise send messages the journal knows nothing of."""
    wires: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(acknowledgement("AA", "M1"))
        wires.append(await reader.read())

    async with Partner(handle) as partner, sending(partner.port, timeout="300ms") as sender:
        with contextlib.suppress(MessageRejected):
            await sender.send(Message(body, "hl7v2"))
        await sender.close()
        await partner.all_ended()
    sent = b"".join(wires)
    assert sent.count(START) <= 1
    assert sent.count(b"\x1c") <= 1


# Settings, and the hub as a whole.


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"host": "10.1.2.3"}, "allow_plaintext"),
        ({"host": "ehr.example"}, "allow_plaintext"),
        ({"host": ""}, "host|allow_plaintext"),
        ({"host": "ehr.example", "allow_plaintext": ""}, "allow_plaintext"),
        ({"port": 0}, "port"),
        ({"port": 70000}, "port"),
        ({"timeout": "0s"}, "timeout"),
        ({"timeout": 30, "connect_timeout": "5"}, "unit"),
        ({"parallel": 0}, "parallel"),
        ({"password": "x"}, "password"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        SenderConfig.model_validate({"kind": "mllp_sender", "host": "127.0.0.1", "port": 6661, **wrong})


FORWARD = """
connections:
  ehr: {kind: mllp_listener, port: "0"}
  pms: {kind: mllp_sender, host: 127.0.0.1, port: "@PORT@", timeout: 300ms, on_rejected: quarantine, retry: {first: 20ms}}
flows:
  forward:
    from: ehr
    steps: [{send: pms}]
"""


async def test_a_refusal_is_told_without_a_patient_in_journal_status_and_logs(tmp_path: Path) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            id = control_id_of((await reader.readuntil(END))[1:-2])
            writer.write(acknowledgement("AE", f"{id}|{CANARY}", f"ERR|||{CANARY} is unknown^x^HL70357|E||||{CANARY}"))

    with capture_logs() as logs:
        async with Partner(handle) as partner:
            text = FORWARD.replace("@PORT@", str(partner.port))
            async with running_hub(clinic_folder(tmp_path, text)) as hub, wire(port_of(hub, "ehr")) as ehr:
                await ehr.send(frame(adt("M1", family=CANARY)))
                assert str(await ehr.answer()) == "AA M1"
                await until(lambda: hub.targets["to:pms"].last_error)  # type: ignore[attr-defined]
                listed = await ask(hub, "messages.list", state="quarantined")
                status = await ask(hub, "status")
    assert len(listed) >= 1
    assert "AE" in listed[-1]["reason"]
    assert CANARY not in json.dumps([listed, status, logs], default=str)


async def test_silence_costs_no_attempt_and_the_message_goes_when_the_partner_is_back(tmp_path: Path) -> None:
    script = script_of(["silent", "garbage", "wrong", "close", "AA"])
    async with EhrServer(script) as pms:
        text = FORWARD.replace("@PORT@", str(pms.port))
        async with running_hub(clinic_folder(tmp_path, text)) as hub, wire(port_of(hub, "ehr")) as ehr:
            await ehr.send(frame(adt("M1")))
            assert str(await ehr.answer()) == "AA M1"
            await until(lambda: pms.seen["M1"] == 5)
            await until(lambda: not hub.targets["to:pms"].lanes.items)
            states = {m["state"] for m in await ask(hub, "messages.list", control_id="M1")}
            attempts = {m["attempts"] for m in await ask(hub, "messages.list", control_id="M1")}
    assert states == {"delivered"}
    assert attempts <= {0, 1}, "only the answer that counted is an attempt"
    assert pms.received[-1] == adt("M1")
