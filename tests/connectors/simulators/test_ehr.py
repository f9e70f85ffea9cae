"""The simulated EHR: it answers as its script says, and it keeps what it accepted."""

from __future__ import annotations

import asyncio
import time

import pytest

from connectors.simulators.ehr import EhrClient, EhrServer, header, message, script_of, segment
from tests.connectors.wire import START, acknowledgement, adt, frame, read_ack, wire


@pytest.mark.parametrize("code", ["AA", "AE", "AR", "CA", "CE", "CR"])
async def test_it_answers_with_the_code_of_its_script(code: str) -> None:
    async with EhrServer(lambda *_: code) as ehr, EhrClient("127.0.0.1", ehr.port) as client:
        answer = await client.send(adt("M1"))
    assert (answer.code, answer.control_id) == (code, "M1")
    assert str(read_ack(answer.raw)) == f"{code} M1"
    assert ehr.seen == {"M1": 1}
    assert ehr.received == ([adt("M1")] if code in ("AA", "CA") else [])


async def test_an_answer_for_another_message() -> None:
    async with EhrServer(lambda *_: "wrong") as ehr, EhrClient("127.0.0.1", ehr.port) as client:
        answer = await client.send(adt("M1"))
    assert (answer.code, answer.control_id != "M1") == ("AA", True)
    assert ehr.control_ids() == ["M1"], "it has taken the message all the same"


async def test_nonsense() -> None:
    async with EhrServer(lambda *_: "garbage") as ehr, EhrClient("127.0.0.1", ehr.port) as client:
        answer = await client.send(adt("M1"))
    assert (answer.code, answer.control_id) == ("", "")
    assert b"MSH" not in answer.raw


async def test_silence() -> None:
    async with EhrServer(lambda *_: "silent") as ehr, EhrClient("127.0.0.1", ehr.port) as client:
        with pytest.raises(TimeoutError):
            await client.send(adt("M1"), timeout=0.2)
    assert ehr.seen == {"M1": 1}
    assert ehr.received == []


async def test_an_answer_that_comes_late() -> None:
    async with EhrServer(lambda *_: "late") as ehr, EhrClient("127.0.0.1", ehr.port) as client:
        began = time.monotonic()
        assert (await client.send(adt("M1"))).code == "AA"
        assert 0.9 < time.monotonic() - began < 3
        assert ehr.control_ids() == ["M1"]


async def test_a_connection_that_is_closed_is_a_connection_error() -> None:
    """As `EhrClient.send` promises: whoever plays a sender has to send again."""
    async with EhrServer(lambda *_: "close") as ehr, EhrClient("127.0.0.1", ehr.port) as client:
        with pytest.raises(ConnectionError):
            await client.send(adt("M1"))
    assert ehr.seen == {"M1": 1}


async def test_a_script_sees_the_message_its_id_and_how_often_it_came() -> None:
    told: list[tuple[bytes, str, int]] = []

    def script(body: bytes, control_id: str, times: int) -> str:
        told.append((body, control_id, times))
        return "AE" if times < 2 else "AA"

    async with EhrServer(script) as ehr, EhrClient("127.0.0.1", ehr.port) as client:
        codes = [(await client.send(adt("M1"))).code for _ in range(3)]
    assert codes == ["AE", "AE", "AA"]
    assert told == [(adt("M1"), "M1", number) for number in range(3)]
    assert ehr.received == [adt("M1")]


async def test_answers_in_order_and_then_all_is_well() -> None:
    async with EhrServer(script_of(["AR", "AE"])) as ehr, EhrClient("127.0.0.1", ehr.port) as client:
        assert [(await client.send(adt(f"M{n}"))).code for n in range(4)] == ["AR", "AE", "AA", "AA"]


async def test_it_reads_frames_however_they_are_cut() -> None:
    stream = frame(adt("M1")) + frame(adt("M2"))
    async with EhrServer() as ehr, wire(ehr.port) as partner:
        await partner.send(stream)
        assert [str(await partner.answer()) for _ in range(2)] == ["AA M1", "AA M2"]
        await partner.send_in_pieces(stream, [1] * len(stream))
        assert [str(await partner.answer()) for _ in range(2)] == ["AA M1", "AA M2"]
    assert ehr.received == [adt("M1"), adt("M2")] * 2


async def test_several_connections_at_once() -> None:
    async def send(number: int) -> str:
        async with EhrClient("127.0.0.1", ehr.port) as client:
            return (await client.send(adt(f"M{number}"))).control_id

    async with EhrServer() as ehr:
        assert await asyncio.gather(*map(send, range(20))) == [f"M{number}" for number in range(20)]
    assert len(ehr.received) == 20


def test_segments_have_their_fields_where_they_belong() -> None:
    assert segment("PID") == "PID"
    assert segment("PID", f5="DOE^JANE", f3="42") == "PID|||42||DOE^JANE"
    head = header("ADT^A04", "C1", sender="PMS", facility="HILL", version="2.3", at="20261123")
    assert head == "MSH|^~\\&|PMS|HILL|HUB|HILL|20261123||ADT^A04|C1|P|2.3"
    assert message(head, "EVN|A04") == head.encode() + b"\rEVN|A04\r"


def test_the_acknowledgements_of_these_tests_are_frames() -> None:
    assert acknowledgement("AA", "M1").startswith(START + b"MSH|")
