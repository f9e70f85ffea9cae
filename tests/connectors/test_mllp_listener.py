"""The MLLP listener: what it answers, what it keeps, and what it does with partners that behave badly."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from pydantic import ValidationError
from structlog.testing import capture_logs

from connectors.mllp import ListenerConfig, MllpListener
from connectors.simulators.ehr import EhrClient, EhrServer, script_of
from hub.errors import ConnectionDown, StoreError
from hub.message import Message
from hub.testing import CANARY, ConnectorContract, FakeDeliver, FakeReceipt
from tests.connectors.wire import END, START, Partner, acknowledgement, adt, frame, listening, read_ack, wire
from tests.support import ask, clinic_folder, free_port, port_of, running_hub, settled, until


class TestContract(ConnectorContract):
    connector = MllpListener
    config = {"port": "0"}

    async def bring(self, connection: MllpListener, tmp_path: Path) -> None:
        async with EhrClient("127.0.0.1", connection.port) as ehr:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await ehr.send(self.sample)

    async def bring_again(self, connection: MllpListener, tmp_path: Path) -> None:
        await self.bring(connection, tmp_path)
        await self.bring(connection, tmp_path)


# Order and speed.


async def test_two_hundred_messages_at_once_are_answered_in_order() -> None:
    deliver, ids = FakeDeliver(), [f"P{number}" for number in range(200)]
    async with listening(deliver) as listener, wire(listener.port) as partner:
        await partner.send(b"".join(frame(adt(id)) for id in ids))
        answers = [await partner.answer() for _ in ids]
    assert [str(answer) for answer in answers] == [f"AA {id}" for id in ids]
    assert len({answer.segments["MSH"][9] for answer in answers}) == 200, "each acknowledgement has a control id of its own"
    assert [message.body for message in deliver.delivered] == [adt(id) for id in ids]


async def test_two_hundred_slow_partners_do_not_slow_another_one(tmp_path: Path) -> None:
    file = clinic_folder(tmp_path, 'connections:\n  ehr: {kind: mllp_listener, port: "0"}\n')
    async with running_hub(file) as hub, contextlib.AsyncExitStack() as stack:
        slow = [await stack.enter_async_context(wire(port_of(hub, "ehr"))) for _ in range(200)]
        stop = asyncio.Event()

        async def drip() -> None:
            for byte in START + adt("SLOW") * 100:
                for partner in slow:
                    await partner.send(bytes([byte]))
                if stop.is_set():
                    return
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        times = []
        async with EhrClient("127.0.0.1", port_of(hub, "ehr")) as quick:
            for number in range(30):
                before = time.monotonic()
                assert (await quick.send(adt(f"Q{number}"))).code == "AA"
                times.append(time.monotonic() - before)
        stop.set()
        await dripping
    assert max(times) < 0.5


async def test_a_batch_of_twenty_thousand_messages_does_not_stop_the_others() -> None:
    """A frame may be 20 MiB: what it costs must not grow with the square of what is in it."""
    batch = b"".join(adt(f"B{number}") for number in range(20_000))
    assert len(batch) < 20 * 1024 * 1024
    slowest = 0.0
    async with listening() as listener, wire(listener.port) as large, EhrClient("127.0.0.1", listener.port) as other:
        await large.send(frame(batch))
        answers = asyncio.create_task(large.answers_until("B19999", timeout=60))
        while not answers.done():
            began = time.process_time()
            await other.send(adt("Q1"), timeout=60)
            slowest = max(slowest, time.process_time() - began)
        assert answers.result() == [f"AA B{number}" for number in range(20_000)]
    assert slowest < 2.5, f"the others waited for {slowest:.1f} s of computing"


async def test_a_partner_that_reads_no_answers_is_not_read_for_ever() -> None:
    """Its answers wait in the hub's memory, which is bounded under any input."""

    class Forgetful(FakeDeliver):
        async def __call__(self, messages: Sequence[Message]) -> FakeReceipt:
            return FakeReceipt([], [])

    body = adt("M1").replace(b"|EHR|", b"|" + b"E" * 100_000 + b"|", 1)
    async with listening(Forgetful()) as listener:
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.setblocking(False)
            loop, sent, most = asyncio.get_running_loop(), 0, 400
            await loop.sock_connect(deaf, ("127.0.0.1", listener.port))
            with contextlib.suppress(TimeoutError):
                for _ in range(most):
                    async with asyncio.timeout(1.5):
                        await loop.sock_sendall(deaf, frame(body))
                    sent += 1
            waiting = sum(peer.transport.get_write_buffer_size() for peer in listener.peers)
    assert sent < most
    assert waiting < 16 * 1024 * 1024


async def test_a_partner_that_takes_no_answers_is_given_up() -> None:
    """It may not be there any more: keep-alives do not tell while answers wait."""
    body = adt("M1").replace(b"|EHR|", b"|" + b"E" * 100_000 + b"|", 1)
    async with listening(frame_timeout="200ms") as listener:
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.setblocking(False)
            await asyncio.get_running_loop().sock_connect(deaf, ("127.0.0.1", listener.port))
            with contextlib.suppress(OSError):
                async with asyncio.timeout(5):
                    while True:
                        await asyncio.get_running_loop().sock_sendall(deaf, frame(body))
            await until(lambda: not listener.peers, timeout=2)


# When the hub cannot keep a message.


class Failing(FakeDeliver):
    """Whatever it is asked to keep, it cannot."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    async def __call__(self, messages: Sequence[Message]) -> FakeReceipt:
        raise self.error

    async def refuse(self, message: Message, reason: str) -> None:
        raise self.error


BODIES = {
    "good": adt("M1"),
    "not HL7": b"hello",
    "no type": adt("M1").replace(b"ADT^A04", b""),
    "no control id": adt("").replace(b"EVN|A04", b"EVN|A04"),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_what_cannot_be_stored_is_not_answered_at_all(body: bytes) -> None:
    async with listening(Failing(StoreError("the disk is full"))) as listener, wire(listener.port) as partner:
        await partner.send(frame(body) + frame(adt("M2")))
        assert await partner.rest(timeout=2) == b""


@pytest.mark.parametrize("error", [OSError("no"), RuntimeError("a mistake"), ValueError("a mistake")], ids=type)
async def test_a_mistake_in_the_hub_ends_the_connection_without_an_answer(error: Exception) -> None:
    """Silence on an open link would make the sender wait for its time-out, message by message."""
    async with listening(Failing(error)) as listener, wire(listener.port) as partner:
        await partner.send(frame(adt("M1")))
        assert await partner.rest(timeout=2) == b""


async def test_after_a_failure_of_the_store_the_resend_is_taken() -> None:
    deliver = FakeDeliver(failures=1)
    async with listening(deliver) as listener:
        async with wire(listener.port) as partner:
            await partner.send(frame(adt("M1")))
            assert await partner.rest() == b""
        async with wire(listener.port) as partner:
            await partner.send(frame(adt("M1")))
            assert str(await partner.answer()) == "AA M1"
    assert [message.body for message in deliver.delivered] == [adt("M1")]


async def test_the_answer_comes_after_the_store_has_it_and_not_before() -> None:
    class Gate(FakeDeliver):
        opened = asyncio.Event()

        async def __call__(self, messages: Sequence[Message]) -> FakeReceipt:
            await self.opened.wait()
            return await super().__call__(messages)

    deliver = Gate()
    async with listening(deliver) as listener, wire(listener.port) as partner:
        await partner.send(frame(adt("M1")))
        with pytest.raises(TimeoutError):
            await partner.answer(timeout=0.2)
        deliver.opened.set()
        assert str(await partner.answer()) == "AA M1"


# What is refused.

NAMELESS = "|".join(["MSH", "^~\\&", "EHR", "RIVER", "HUB", "RIVER", "20261123", "", "ADT^A04", "", "P", "2.5"])
WITHOUT_TYPE = adt("R1", family=CANARY).replace(b"ADT^A04", b"")
WITHOUT_ID = adt("R2", family=CANARY).replace(b"|R2|", b"||")
REFUSED = {
    "not HL7": (frame(b"<html>" + CANARY.encode()), None, ""),
    "no type": (frame(WITHOUT_TYPE), "AR R1", "101"),
    "no control id": (frame(WITHOUT_ID), "AE ", "101"),
    "too long": (frame(adt("R3", family=CANARY, more=("NTE|1||" + "x" * 9000,))), "AR R3", "207"),
    "no end": (START + adt("R4", family=CANARY), "AR R4", "207"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_answered_negatively_is_kept_as_refused(name: str, tmp_path: Path) -> None:
    sent, answer, code = REFUSED[name]
    file = clinic_folder(tmp_path, 'connections:\n  ehr: {kind: mllp_listener, port: "0", max_frame: 8KiB}\n')
    with capture_logs() as logs:
        async with running_hub(file) as hub, wire(port_of(hub, "ehr")) as partner:
            await partner.send(sent + frame(adt("LAST")))
            found = await partner.answer()
            if answer is not None:
                assert str(found) == answer
                assert found.segments["ERR"][3].split("^")[0] == code, "version 2.5 has the code in ERR-3"
                assert CANARY not in found.raw.decode()
                found = await partner.answer()
            assert str(found) == "AA LAST"
            [refused] = await ask(hub, "messages.list", state="refused")
            assert CANARY not in json.dumps(refused)
            assert refused["connection"] == "ehr"
            shown = await ask(hub, "messages.show", id=refused["id"], phi=True)
            assert CANARY in shown["body"], "what was refused can be looked at"
    assert CANARY not in json.dumps(logs, default=str)


@pytest.mark.parametrize(
    "body",
    [adt("M1").replace(b"|P|2.5\r", b"|P|2.5||A77\r"), adt("M1", more=("DSC|A77",))],
    ids=["the rest of a message", "the beginning of one"],
)
async def test_a_part_of_a_message_is_not_taken_for_a_whole_one(body: bytes) -> None:
    """MSH-14 and DSC say that a message was cut in pieces; half an appointment would be worse than none."""
    deliver = FakeDeliver()
    async with listening(deliver) as listener, wire(listener.port) as partner:
        await partner.send(frame(body))
        answer = await partner.answer()
    assert (str(answer), answer.segments["ERR"][3].split("^")[0]) == ("AR M1", "207")
    assert (deliver.delivered, len(deliver.refused)) == ([], 1)


async def test_a_refused_message_that_was_mended_is_looked_at_afresh(tmp_path: Path) -> None:
    file = clinic_folder(tmp_path, 'connections:\n  ehr: {kind: mllp_listener, port: "0"}\n')
    async with running_hub(file) as hub, EhrClient("127.0.0.1", port_of(hub, "ehr")) as ehr:
        assert (await ehr.send(adt("M1").replace(b"ADT^A04", b""))).code == "AR"
        assert (await ehr.send(adt("M1"))).code == "AA"
        assert {m["state"] for m in await ask(hub, "messages.list", control_id="M1")} == {"refused", "skipped"}


async def test_the_old_form_of_the_error_goes_to_old_versions() -> None:
    async with listening() as listener, wire(listener.port) as partner:
        await partner.send(frame(adt("M1").replace(b"ADT^A04", b"").replace(b"|P|2.5", b"|P|2.3")))
        answer = await partner.answer()
    assert answer.segments["ERR"][1] == "MSH^1^9^101&Required field missing&HL70357"


ADDRESSES = b"|EHR^1.2.3^ISO|RIVER^A&B|HUB^9|HUBTOWN|"


async def test_the_acknowledgement_swaps_the_addresses_whole() -> None:
    async with listening() as listener, wire(listener.port) as partner:
        await partner.send(frame(adt("M1").replace(b"|EHR|RIVER|HUB|RIVER|", ADDRESSES, 1)))
        answer = await partner.answer()
    assert answer.segments["MSH"][2:6] == ["HUB^9", "HUBTOWN", "EHR^1.2.3^ISO", "RIVER^A&B"]
    assert answer.segments["MSH"][8] == "ACK^A04^ACK"


# Acknowledgement modes: MSH-15 and MSH-16, table 0155 (AL always, NE never, SU on success only, ER on error only).

GOOD, BAD_TYPE, BAD_ID, LONG = "good", "no type", "no id", "too long"
MODES = [
    ("", "", GOOD, ["AA"]),
    ("NE", "AL", GOOD, ["AA"]),
    ("", "AL", GOOD, ["AA"]),
    ("NE", "SU", GOOD, ["AA"]),
    ("NE", "ER", GOOD, []),
    ("NE", "NE", GOOD, []),
    ("AL", "NE", GOOD, ["CA"]),
    ("AL", "", GOOD, ["CA"]),
    ("SU", "NE", GOOD, ["CA"]),
    ("ER", "NE", GOOD, []),
    ("", "", BAD_TYPE, ["AR"]),
    ("AL", "NE", BAD_TYPE, ["CR"]),
    ("ER", "NE", BAD_TYPE, ["CR"]),
    ("SU", "NE", BAD_TYPE, []),
    ("NE", "NE", BAD_TYPE, []),
    ("NE", "ER", BAD_TYPE, ["AR"]),
    ("NE", "SU", BAD_TYPE, []),
    ("AL", "NE", BAD_ID, ["CE"]),
    ("", "", LONG, ["AR"]),
    ("AL", "NE", LONG, ["CE"]),
]


@pytest.mark.parametrize(("accept", "application", "what", "codes"), MODES)
async def test_msh_15_and_16_decide_what_is_answered(accept: str, application: str, what: str, codes: list[str]) -> None:
    body = adt("M1").replace(b"|P|2.5\r", f"|P|2.5|||{accept}|{application}\r".encode())
    body = {
        GOOD: body,
        BAD_TYPE: body.replace(b"ADT^A04", b""),
        BAD_ID: body.replace(b"|M1|", b"||"),
        LONG: body + b"NTE|1||" + b"x" * 5000 + b"\r",
    }[what]
    async with listening(max_frame="4KiB") as listener, wire(listener.port) as partner:
        await partner.send(frame(body) + frame(adt("LAST")))
        answers = await partner.answers_until("LAST")
    assert [answer.split(" ")[0] for answer in answers[:-1]] == codes


@pytest.mark.parametrize("type", ["ACK", "ACK^A04", "ACK^A04^ACK", "MCF"])
@pytest.mark.parametrize("wrong", ["", "no control id"])
async def test_an_acknowledgement_is_never_acknowledged(type: str, wrong: str) -> None:
    """Two hubs that answer each other's answers would never stop."""
    body = f"MSH|^~\\&|EHR|RIVER|HUB|RIVER|20261123||{type}|{'' if wrong else 'X1'}|P|2.5\rMSA|AA|77\r".encode()
    async with listening() as listener, wire(listener.port) as partner:
        await partner.send(frame(body) + frame(adt("LAST")))
        assert await partner.answers_until("LAST") == ["AA LAST"]


async def test_with_reply_never_messages_are_kept_and_nothing_is_answered() -> None:
    deliver = FakeDeliver()
    async with listening(deliver, reply="never") as listener, wire(listener.port) as partner:
        await partner.send(frame(adt("M1")) + frame(adt("M2").replace(b"ADT^A04", b"")) + frame(adt("M3")))
        partner.writer.write_eof()
        assert await partner.rest() == b""
    assert [message.body for message in deliver.delivered] == [adt("M1"), adt("M3")]
    assert len(deliver.refused) == 1


# reply: after_flow.

AFTER_FLOW = """
connections:
  ehr: {kind: mllp_listener, port: "0", reply: after_flow, reply_timeout: 5s}
flows:
  registrations:
    from: ehr
    steps: [{map: adt_to_patient}, {save: patient}]
"""
STUCK = """
connections:
  ehr: {kind: mllp_listener, port: "0", reply: after_flow, reply_timeout: 200ms}
  pms: {kind: mllp_sender, host: 127.0.0.1, port: "1"}
flows:
  questions:
    from: ehr
    steps: [{ask: pms}]
"""
WITHOUT_CHART = adt("BAD").replace(b"00042^^^RIVER^MR", b"")


async def test_after_flow_tells_what_became_of_the_message(tmp_path: Path) -> None:
    async with running_hub(clinic_folder(tmp_path, AFTER_FLOW)) as hub, wire(port_of(hub, "ehr")) as partner:
        await partner.send(frame(adt("GOOD")))
        assert str(await partner.answer()) == "AA GOOD"
        await partner.send(frame(WITHOUT_CHART))
        answer = await partner.answer()
        assert str(answer) == "AE BAD"
        assert "quarantined" in answer.segments["ERR"][8]
        await settled(hub)
        states = {m["control_id"]: m["state"] for m in await ask(hub, "messages.list", connection="ehr")}
        assert states == {"GOOD": "delivered", "BAD": "quarantined"}


async def test_after_flow_each_of_several_messages_gets_its_own_outcome(tmp_path: Path) -> None:
    async with running_hub(clinic_folder(tmp_path, AFTER_FLOW)) as hub, wire(port_of(hub, "ehr")) as partner:
        await partner.send(frame(adt("G1")) + frame(WITHOUT_CHART) + frame(adt("G2", "00043")))
        assert await partner.answers_until("G2") == ["AA G1", "AE BAD", "AA G2"]


FEW_ARE_WANTED = """
connections:
  ehr: {kind: mllp_listener, port: "0", reply: after_flow}
flows:
  registrations: {from: ehr, when: {MSH-10: BAD*}, steps: [{map: adt_to_patient}, {save: patient}]}
"""


@pytest.mark.parametrize("reply", ["after_flow", "after_delivery"])
async def test_each_message_of_a_large_batch_gets_its_own_outcome(reply: str, tmp_path: Path) -> None:
    """More than are asked for at once."""
    ids = [f"BAD{number}" if number % 400 == 7 else f"G{number}" for number in range(1200)]
    bodies = [WITHOUT_CHART.replace(b"|BAD|", f"|{id}|".encode()) for id in ids]
    text = FEW_ARE_WANTED.replace("after_flow", reply)
    async with running_hub(clinic_folder(tmp_path, text)) as hub, wire(port_of(hub, "ehr")) as partner:
        await partner.send(frame(b"".join(bodies)))
        answers = await partner.answers_until(ids[-1], timeout=60)
    assert answers == [f"{'AE' if id.startswith('BAD') else 'AA'} {id}" for id in ids]


async def test_after_flow_does_not_wait_for_ever(tmp_path: Path) -> None:
    async with running_hub(clinic_folder(tmp_path, STUCK)) as hub, wire(port_of(hub, "ehr")) as partner:
        await partner.send(frame(adt("M1")))
        answer = await partner.answer()
        assert str(answer) == "AE M1"
        assert "safe" in answer.segments["ERR"][8], "the sender learns that it need not send it again"
        assert CANARY not in answer.raw.decode()


# reply: after_delivery.

ALL_THE_WAY = """
connections:
  ehr: {kind: mllp_listener, port: "0", reply: after_delivery, reply_timeout: @TIME@}
  pms: {kind: mllp_sender, host: 127.0.0.1, port: "@PORT@", on_rejected: @REJECTED@, retry: {first: 50ms, most: 100ms}}
flows:
  forward: {from: ehr, steps: [{send: pms}]}
"""


def all_the_way(folder: Path, port: int, rejected: str = "quarantine", time: str = "5s") -> Path:
    text = ALL_THE_WAY.replace("@PORT@", str(port)).replace("@REJECTED@", rejected).replace("@TIME@", time)
    return clinic_folder(folder, text)


async def test_after_delivery_the_sender_hears_what_the_destination_said(tmp_path: Path) -> None:
    """Mirth's tracker 1399: an engine that answers when the route is done hides that the destination refused."""
    async with EhrServer(lambda _, control_id, __: "AE" if control_id == "BAD" else "AA") as pms:
        async with running_hub(all_the_way(tmp_path, pms.port)) as hub, wire(port_of(hub, "ehr")) as partner:
            await partner.send(frame(adt("G1")) + frame(adt("BAD", "00043")) + frame(adt("G2", "00044")))
            answers = [await partner.answer() for _ in range(3)]
            assert [str(answer) for answer in answers] == ["AA G1", "AE BAD", "AA G2"]
            assert "quarantined" in answers[1].segments["ERR"][8]
            await partner.send(frame(adt("BAD", "00043")))
            assert str(await partner.answer()) == "AE BAD"
        assert pms.seen["BAD"] == 2, "after a negative answer a resend is looked at afresh"


async def test_after_delivery_waits_for_the_destination(tmp_path: Path) -> None:
    async with (
        EhrServer(script_of(["AE", "AE", "AA"])) as pms,
        running_hub(all_the_way(tmp_path, pms.port, "retry")) as hub,
        wire(port_of(hub, "ehr")) as partner,
    ):
        await partner.send(frame(adt("M1")))
        assert str(await partner.answer()) == "AA M1"
        assert pms.seen["M1"] == 3


async def test_after_delivery_a_destination_that_is_down_is_told_in_an_answer(tmp_path: Path) -> None:
    """Mirth's tracker 1793: the sender gets a well-formed AE, and the message goes when the destination is back."""
    port = free_port()
    async with running_hub(all_the_way(tmp_path, port, time="300ms")) as hub, wire(port_of(hub, "ehr")) as partner:
        await partner.send(frame(adt("M1")))
        answer = await partner.answer()
        assert str(answer) == "AE M1"
        assert answer.segments["ERR"][8].startswith("the message is safe")
        async with EhrServer(port=port) as pms:
            await until(lambda: pms.seen["M1"] == 1)
            await settled(hub)
            await partner.send(frame(adt("M1")))
            assert str(await partner.answer()) == "AA M1", "the resend hears how it ended, and is not sent on again"
            assert pms.seen["M1"] == 1


ASKING = """
connections:
  ehr: {kind: mllp_listener, port: "0", reply: after_flow}
  pms: {kind: mllp_sender, host: 127.0.0.1, port: "@PORT@"}
flows:
  questions: {from: ehr, steps: [{ask: pms}]}
"""


async def test_after_flow_waits_for_the_answer_to_a_question(tmp_path: Path) -> None:
    """While a question is out the flow is parked, which is no end."""

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = (await reader.readuntil(END))[1:-2]
        await asyncio.sleep(0.5)
        writer.write(acknowledgement("AA", body.split(b"|")[9].decode()))
        await reader.read()

    async with Partner(slow) as pms:
        text = ASKING.replace("@PORT@", str(pms.port))
        async with running_hub(clinic_folder(tmp_path, text)) as hub, wire(port_of(hub, "ehr")) as partner:
            await partner.send(frame(adt("M1")))
            assert str(await partner.answer()) == "AA M1"


# Partners that are not welcome, and slow ones.


@pytest.mark.parametrize(
    ("allowed", "welcome"),
    [([], True), (["127.0.0.1"], True), (["127.0.0.0/8", "10.0.0.0/8"], True), (["10.0.0.0/8"], False), (["::/0"], False)],
    ids=str,
)
async def test_only_who_is_allowed_may_connect(allowed: list[str], welcome: bool) -> None:
    deliver = FakeDeliver()
    async with listening(deliver, allow_from=allowed) as listener, wire(listener.port) as partner:
        partner.writer.write(frame(adt("M1")))
        assert (b"MSA|AA|M1" in await partner.frame()) if welcome else (await partner.rest() == b"")
    assert bool(deliver.delivered) == welcome


async def test_too_many_connections_are_closed_and_there_is_room_again_afterwards() -> None:
    deliver = FakeDeliver()
    async with listening(deliver, max_connections=2) as listener, wire(listener.port) as first:
        async with wire(listener.port) as second:
            for id, partner in (("M1", first), ("M2", second)):
                await partner.send(frame(adt(id)))
                assert str(await partner.answer()) == f"AA {id}"
            async with wire(listener.port) as third:
                third.writer.write(frame(adt("M3")))
                assert await third.rest() == b""
        await until(lambda: len(listener.peers) == 1)
        async with wire(listener.port) as fourth:
            await fourth.send(frame(adt("M4")))
            assert str(await fourth.answer()) == "AA M4"
        await first.send(frame(adt("M5")))
        assert str(await first.answer()) == "AA M5"
    assert [message.body for message in deliver.delivered] == [adt("M1"), adt("M2"), adt("M4"), adt("M5")]


async def test_a_message_that_stops_in_the_middle_is_given_up() -> None:
    deliver = FakeDeliver()
    with capture_logs() as logs:
        async with listening(deliver, frame_timeout="200ms") as listener, wire(listener.port) as partner:
            await partner.send(frame(adt("M1")) + START + adt("M2")[:70])
            assert str(await partner.answer()) == "AA M1"
            assert await partner.rest(timeout=2) == b""
    assert [message.body for message in deliver.delivered] == [adt("M1")]
    assert [(line["event"], line["bytes"], line["control_id"]) for line in logs] == [
        ("a message did not arrive whole in time", 70, "M2")
    ]


async def test_a_message_that_comes_drop_by_drop_is_given_up_too() -> None:
    """The time is that of the whole message; a drop now and then does not buy more."""
    async with listening(frame_timeout="300ms") as listener, wire(listener.port) as partner:
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            for byte in START + adt("M1"):
                await partner.send(bytes([byte]))
                await asyncio.sleep(0.05)
                if partner.reader.at_eof() or time.monotonic() - began > 2:
                    break
        assert time.monotonic() - began < 1.5
        assert not listener.peers


async def test_a_silent_link_stays_open() -> None:
    """EHRs hold a link for hours without a word: the time for a message does not count between messages."""
    async with listening(frame_timeout="100ms") as listener, wire(listener.port) as partner:
        for number in range(3):
            await partner.send(frame(adt(f"M{number}")))
            assert str(await partner.answer()) == f"AA M{number}"
            await asyncio.sleep(0.25)
        assert len(listener.peers) == 1


async def test_time_the_hub_itself_takes_is_not_held_against_the_sender() -> None:
    """While many messages wait for the store the link is not read, so the next message cannot get whole."""

    class Slow(FakeDeliver):
        async def __call__(self, messages: Sequence[Message]) -> FakeReceipt:
            await asyncio.sleep(0.4)
            return await super().__call__(messages)

    ids = [f"M{number}" for number in range(150)]
    long = ("NTE|1||" + "x" * 5000,)
    async with listening(Slow(), frame_timeout="200ms") as listener, wire(listener.port) as partner:
        await partner.send(b"".join(frame(adt(id, more=long)) for id in ids))
        assert await partner.answers_until("M149") == [f"AA {id}" for id in ids]


async def test_half_open_links_are_found_out() -> None:
    async with listening() as listener, wire(listener.port) as partner:
        await partner.send(frame(adt("M1")))
        await partner.answer()
        [peer] = listener.peers
        sock = peer.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        options = [socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT]
        assert [sock.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [60, 15, 4]


# Opening and closing.


async def test_closing_answers_what_is_under_way() -> None:
    class Slow(FakeDeliver):
        async def __call__(self, messages: Sequence[Message]) -> FakeReceipt:
            begun.set()
            await asyncio.sleep(0.3)
            return await super().__call__(messages)

    begun = asyncio.Event()
    async with listening(Slow()) as listener, wire(listener.port) as partner:
        await partner.send(frame(adt("M1")))
        await begun.wait()
        await listener.close()
        assert str(await partner.answer()) == "AA M1"
        assert await partner.rest() == b""
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", listener.port)


async def test_closing_takes_two_seconds_whatever_partners_and_store_do() -> None:
    class Stuck(FakeDeliver):
        async def __call__(self, messages: Sequence[Message]) -> FakeReceipt:
            await asyncio.Event().wait()
            raise AssertionError

    async with (
        listening(Stuck()) as listener,
        wire(listener.port) as waiting,
        wire(listener.port) as slow,
        wire(listener.port) as silent,
    ):
        await waiting.send(frame(adt("M1")))
        await slow.send(START + b"MSH|")
        await until(lambda: len(listener.peers) == 3)
        began = time.monotonic()
        await listener.close()
        assert time.monotonic() - began < 2.3
        for partner in (waiting, slow, silent):
            assert await partner.rest() == b""


async def test_a_port_that_is_taken_is_a_connection_that_is_down_and_says_which() -> None:
    async with listening() as listener:
        config = ListenerConfig.model_validate({"kind": "mllp_listener", "port": listener.port})
        with pytest.raises(ConnectionDown, match=f"second.*{listener.port}"):
            await MllpListener("second", config).open(FakeDeliver())


# Settings.


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"host": "0.0.0.0"}, "allow_plaintext"),
        ({"host": "::"}, "allow_plaintext"),
        ({"host": ""}, "allow_plaintext"),
        ({"host": "192.168.1.4"}, "allow_plaintext"),
        ({"host": "hub.clinic.example"}, "allow_plaintext"),
        ({"host": "127.0.0.1.example.org"}, "allow_plaintext"),
        ({"host": "0.0.0.0", "allow_plaintext": ""}, "allow_plaintext"),
        ({"allow_from": ["10.0.0.0/99"]}, "10.0.0.0/99"),
        ({"allow_from": ["the hospital"]}, "the hospital"),
        ({"port": 65536}, "port"),
        ({"frame_timeout": "0s"}, "frame_timeout"),
        ({"frame_timeout": "30"}, "unit"),
        ({"max_frame": "10B"}, "max_frame"),
        ({"max_connections": 0}, "max_connections"),
        ({"reply": "perhaps"}, "reply"),
        ({"tls": {"cert": "a.pem"}}, "key"),
        ({"tls": {"cert": "a.pem", "key": "b.pem", "verify": "no"}}, "verify"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        ListenerConfig.model_validate({"kind": "mllp_listener", "port": 2575, **wrong})


@pytest.mark.parametrize(
    "right",
    [
        {"host": "127.0.0.1"},
        {"host": "127.8.8.8"},
        {"host": "::1"},
        {"host": "localhost"},
        {"host": "0.0.0.0", "allow_plaintext": "inside the VPN to the hospital"},
        {"host": "0.0.0.0", "tls": {"cert": "a.pem", "key": "b.pem"}},
        {"allow_from": ["10.20.0.0/16", "192.168.1.4", "fd00::/8"]},
    ],
    ids=str,
)
def test_settings_that_make_sense_are_taken(right: dict[str, Any]) -> None:
    ListenerConfig.model_validate({"kind": "mllp_listener", "port": 2575, **right})


# Hostile content: whatever a frame holds, the link lives on and nothing is lost.

CHARSETS = ["\x00", "undefined", "hex", "zip", "rot13", "idna", "punycode", "utf-7", "unicode_escape", "raw_unicode_escape"]
CHARSETS += ["UTF-16", "UNICODE UTF-16", "utf_32_be", "mbcs", "utf-8-sig", "é", "x" * 5000, "../../etc/passwd", "a.b", "~", "^"]


@pytest.mark.parametrize("charset", CHARSETS, ids=lambda charset: ascii(charset[:20]))
async def test_whatever_msh_18_says_the_message_is_kept_and_the_link_lives(charset: str, tmp_path: Path) -> None:
    hostile = adt("+2AA-\\ud800", family="A" * 80 + ".\\ud800+2AA-").replace(b"2.5\r", f"2.5||||||{charset}\r".encode(), 1)
    file = clinic_folder(tmp_path, 'connections:\n  ehr: {kind: mllp_listener, port: "0"}\n')
    async with running_hub(file) as hub, wire(port_of(hub, "ehr")) as partner:
        await partner.send(frame(hostile))
        await partner.send(frame(adt("LAST")))
        answers = await partner.answers_until("LAST", timeout=3)
        assert len(answers) <= 2
        kept = [
            await ask(hub, "messages.show", id=m["id"], phi=True) for m in await ask(hub, "messages.list", connection="ehr")
        ]
        assert sorted(m["size"] for m in kept) == sorted([len(hostile), len(adt("LAST"))])


FIELDS = st.text("|^~\\&\r\nA1é\x00 \x1b\x85\udcff", max_size=30).map(lambda text: text.encode("utf-8", "surrogatepass"))
HOSTILE = st.one_of(
    st.binary(max_size=60),
    st.lists(FIELDS, max_size=25).map(lambda fields: b"MSH|^~\\&|" + b"|".join(fields)),
    st.tuples(st.binary(max_size=6), FIELDS).map(lambda parts: b"MSH" + parts[0] + parts[1] * 4),
    st.binary(max_size=12).map(lambda noise: adt("H1").replace(b"^", noise)),
).map(lambda body: body.replace(b"\x0b", b"").replace(b"\x1c", b""))


@given(st.lists(HOSTILE, min_size=1, max_size=8))
@settings(max_examples=150, deadline=None)
def test_no_content_of_a_frame_kills_the_link(bodies: list[bytes]) -> None:
    async def play() -> None:
        deliver = FakeDeliver()
        async with listening(deliver) as listener, wire(listener.port) as partner:
            await partner.send(b"".join(map(frame, bodies)) + frame(adt("LAST")))
            await partner.answers_until("LAST", timeout=3)
        kept = b"".join(message.body for message in deliver.delivered) + b"".join(m.body for m, _ in deliver.refused)
        assert len(kept) >= len(adt("LAST")) + sum(len(body.strip()) for body in bodies) - 8 * len(bodies)

    asyncio.run(play())


async def test_no_event_of_the_listener_tells_of_a_patient() -> None:
    body = adt("M1", family=CANARY)
    with capture_logs() as logs:
        async with listening(Failing(StoreError("full"))) as listener:
            for sent in (frame(body), frame(body[3:]), START + body, body * 800):
                async with wire(listener.port) as partner:
                    partner.writer.write(sent)
                    await partner.writer.drain()
                    partner.writer.write_eof()
                    await partner.rest()
        async with (
            listening(max_connections=1, frame_timeout="50ms", allow_from=["10.0.0.0/8"]) as listener,
            wire(listener.port) as partner,
        ):
            await partner.rest()
    assert len(logs) >= 3
    assert CANARY not in json.dumps(logs, default=str)


def test_the_wire_of_these_tests_reads_acknowledgements() -> None:
    ack = read_ack(b"MSH|^~\\&|A\rMSA|AE|M1|no\rERR|||101\r")
    assert (str(ack), ack.segments["ERR"][3], END) == ("AE M1", "101", b"\x1c\r")
