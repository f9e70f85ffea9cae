"""Acknowledgements beyond the usual one: enhanced mode, commit bytes, and what a listener does not take."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hl7
import pytest
from structlog.testing import capture_logs

from connectors.simulators.ehr import EhrServer
from hub.message import Message
from hub.testing import FakeDeliver, FakeReceipt
from tests.connectors.wire import END, START, Wire, adt, frame, listening, wire
from tests.support import ask, clinic_folder, port_of, running_hub, settled, until

ACK, NAK = b"\x06", b"\x15"
ACKNOWLEDGEMENT = b"MSH|^~\\&|EHR|RIVER|HUB|RIVER|20261123||ACK^A04|X1|P|2.5|||AL|AL\rMSA|AA|77\r"


def enhanced(control_id: str, accept: str = "AL", application: str = "AL", **more: Any) -> bytes:
    return adt(control_id, **more).replace(b"|P|2.5\r", f"|P|2.5|||{accept}|{application}\r".encode())


class Waiting(FakeDeliver):
    """A hub whose flows are done when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.done = asyncio.Event()
        self.refused_again: list[list[int]] = []

    async def __call__(self, messages: Sequence[Message]) -> FakeReceipt:
        receipt = await super().__call__(messages)
        hub = self

        class Receipt(FakeReceipt):
            async def outcomes(self, timeout: float, *, sent_on: bool = False) -> list[str]:
                try:
                    async with asyncio.timeout(timeout):
                        await hub.done.wait()
                except TimeoutError:
                    return ["waiting"] * len(self.ids)
                return [hub.outcome] * len(self.ids)

            async def answered_no(self, numbers: Sequence[int]) -> None:
                hub.refused_again.append(list(numbers))

        return Receipt(receipt.ids, receipt.duplicates)


# Enhanced mode: CA when it is safe, AA when its work is done.


async def test_both_acknowledgements_come_each_a_message_of_its_own() -> None:
    async with listening() as listener, wire(listener.port) as partner:
        await partner.send(frame(enhanced("M1")))
        first, second = await partner.answer(), await partner.answer()
    assert (str(first), str(second)) == ("CA M1", "AA M1")
    assert first.segments["MSH"][9] != second.segments["MSH"][9]


async def test_the_accept_acknowledgement_does_not_wait_for_the_flows_and_the_next_message_neither() -> None:
    """Engines that answer once the route is done block a sender whose message is long safe."""
    deliver = Waiting()
    async with listening(deliver, reply="after_flow") as listener, wire(listener.port) as partner:
        for id in ("M1", "M2"):
            await partner.send(frame(enhanced(id)))
            assert str(await partner.answer(1)) == f"CA {id}"
        deliver.done.set()
        assert {str(await partner.answer()) for _ in range(2)} == {"AA M1", "AA M2"}


async def test_an_accept_acknowledgement_alone_never_waits_for_flows() -> None:
    async with listening(Waiting(), reply="after_flow") as listener, wire(listener.port) as partner:
        await partner.send(frame(enhanced("M1", "AL", "NE")) + frame(enhanced("M2", "AL", "")))
        assert [str(await partner.answer(1)) for _ in range(2)] == ["CA M1", "CA M2"]


@pytest.mark.parametrize(("condition", "expected"), [("AL", "AE"), ("ER", "AE"), ("SU", None), ("NE", None)])
async def test_after_a_failed_flow_the_application_acknowledgement_says_so(condition: str, expected: str | None) -> None:
    """A positive acknowledgement must not hide that the work failed."""
    deliver = Waiting()
    deliver.outcome = "quarantined"
    deliver.done.set()
    async with listening(deliver, reply="after_flow") as listener, wire(listener.port) as partner:
        await partner.send(frame(enhanced("M1", "AL", condition)))
        assert str(await partner.answer()) == "CA M1"
        if expected:
            assert str(await partner.answer()) == f"{expected} M1"
            assert deliver.refused_again == [[0]], "a resend is looked at afresh"
        await partner.send(frame(enhanced("M2", "AL", "NE")))
        assert str(await partner.answer()) == "CA M2"


async def test_whoever_closes_its_half_still_gets_the_application_acknowledgement() -> None:
    deliver = Waiting()
    async with listening(deliver, reply="after_flow") as listener, wire(listener.port) as partner:
        await partner.send(frame(enhanced("M1")))
        assert str(await partner.answer()) == "CA M1"
        partner.writer.write_eof()
        await asyncio.sleep(0.05)
        deliver.done.set()
        assert str(await partner.answer()) == "AA M1"
        assert await partner.rest() == b""


async def test_what_is_not_taken_gets_one_negative_answer_only() -> None:
    async with listening() as listener, wire(listener.port) as partner:
        await partner.send(frame(enhanced("M1").replace(b"ADT^A04", b"")) + frame(adt("LAST")))
        assert await partner.answers_until("LAST") == ["CR M1", "AA LAST"]


RETURN = """
connections:
  ehr: {kind: mllp_listener, port: "0", application_ack: by_flow}
  answers: {kind: mllp_sender, host: 127.0.0.1, port: "@PORT@"}
flows:
  registrations:
    from: ehr
    steps: [{map: adt_to_patient}, {save: patient}, {acknowledge: answers}]
  failures:
    from: {failed: registrations}
    steps: [{acknowledge: answers}]
"""
WITHOUT_CHART = enhanced("BAD").replace(b"00042^^^RIVER^MR", b"")


async def test_application_acknowledgements_go_out_on_the_return_connection(tmp_path: Path) -> None:
    async with EhrServer() as ehr:
        text = RETURN.replace("@PORT@", str(ehr.port))
        async with running_hub(clinic_folder(tmp_path, text)) as hub, wire(port_of(hub, "ehr")) as partner:
            sent = [enhanced("GOOD"), WITHOUT_CHART, enhanced("NOT", "AL", "NE"), enhanced("ONLY", "NE", "AL"), adt("OLD")]
            await partner.send(b"".join(map(frame, sent)))
            assert await partner.answers_until("OLD") == ["CA GOOD", "CA BAD", "CA NOT", "AA OLD"]
            await until(lambda: len(ehr.received) == 3)
            await settled(hub)
    answers = [body.decode().split("\r")[1] for body in ehr.received]
    assert sorted(answer.split("|")[1] + " " + answer.split("|")[2] for answer in answers) == ["AA GOOD", "AA ONLY", "AE BAD"]


# MLLP release 2: a byte for each frame, before any acknowledgement.


async def commit_byte(partner: Wire) -> bytes:
    return await partner.frame()


async def test_with_commit_bytes_each_frame_is_confirmed_when_it_is_on_disk() -> None:
    deliver = FakeDeliver()
    async with listening(deliver, commit_bytes=True) as listener, wire(listener.port) as partner:
        for id in ("M1", "M2"):
            await partner.send(frame(adt(id)))
            assert await commit_byte(partner) == ACK
            assert str(await partner.answer()) == f"AA {id}"
            await partner.send(frame(ACK))
    assert len(deliver.delivered) == 2
    assert deliver.refused == [], "the partner's own commit bytes are no messages"


async def test_with_commit_bytes_what_cannot_be_kept_is_said_and_the_link_lives() -> None:
    deliver = FakeDeliver(failures=1)
    async with listening(deliver, commit_bytes=True) as listener, wire(listener.port) as partner:
        await partner.send(frame(adt("M1")))
        assert await commit_byte(partner) == NAK
        await partner.send(frame(adt("M1")))
        assert await commit_byte(partner) == ACK
        assert str(await partner.answer()) == "AA M1"
    assert [message.body for message in deliver.delivered] == [adt("M1")]


async def test_with_commit_bytes_an_answer_the_partner_could_not_keep_is_sent_again_twice() -> None:
    async with listening(commit_bytes=True) as listener, wire(listener.port) as partner:
        await partner.send(frame(adt("M1")))
        assert await commit_byte(partner) == ACK
        answers = [await partner.frame()]
        for _ in range(2):
            await partner.send(frame(NAK))
            answers.append(await partner.frame())
        await partner.send(frame(NAK) + frame(adt("M2")))
        assert await commit_byte(partner) == ACK
        assert str(await partner.answer()) == "AA M2"
    assert len(set(answers)) == 1


async def test_without_commit_bytes_nothing_of_them_is_said() -> None:
    async with listening() as listener, wire(listener.port) as partner:
        await partner.send(frame(adt("M1")))
        assert (await partner.frame()).startswith(b"MSH")


# What is taken.


@pytest.mark.parametrize(
    ("accept", "body", "code"),
    [
        ({"types": ["SIU^*"]}, adt("M1"), "200"),
        ({"types": ["ADT^A01", "ADT^A08"]}, adt("M1"), "201"),
        ({"processing_ids": ["P"]}, adt("M1").replace(b"|P|2.5", b"|T|2.5"), "202"),
        ({"processing_ids": ["P"]}, adt("M1").replace(b"|P|2.5", b"||2.5"), "202"),
        ({"versions": ["2.3", "2.6*"]}, adt("M1"), "203"),
    ],
    ids=str,
)
async def test_what_a_listener_does_not_take_is_answered_with_its_code(
    accept: dict[str, list[str]], body: bytes, code: str
) -> None:
    deliver = FakeDeliver()
    async with listening(deliver, accept=accept) as listener, wire(listener.port) as partner:
        await partner.send(frame(body))
        answer = await partner.answer()
    assert (str(answer), answer.segments["ERR"][3].split("^")[0]) == ("AR M1", code)
    assert (deliver.delivered, len(deliver.refused)) == ([], 1)


@pytest.mark.parametrize(
    ("accept", "answers"),
    [
        ({"types": ["SIU^*"]}, ["CR"]),
        ({"processing_ids": ["T"]}, ["CR"]),
        ({"versions": ["2.3"]}, ["CR"]),
    ],
    ids=str,
)
async def test_in_enhanced_mode_it_is_a_commit_reject(accept: dict[str, list[str]], answers: list[str]) -> None:
    async with listening(accept=accept) as listener, wire(listener.port) as partner:
        await partner.send(frame(enhanced("M1")) + frame(ACKNOWLEDGEMENT) + frame(b""))
        partner.writer.write_eof()
        found = (await partner.rest()).split(END)[:-1]
    assert [answer.split(b"\rMSA|")[1][:5].decode() for answer in found] == [f"{code}|M1" for code in answers]


async def test_what_it_takes_is_taken() -> None:
    accept = {"types": ["SIU^*", "ADT^A0[48]"], "processing_ids": ["P"], "versions": ["2.5*"]}
    async with listening(accept=accept) as listener, wire(listener.port) as partner:
        await partner.send(frame(adt("M1")) + frame(adt("M2").replace(b"|2.5\r", b"|2.5.1^USA\r")))
        assert await partner.answers_until("M2") == ["AA M1", "AA M2"]


async def test_a_sender_without_control_ids_need_not_send_for_ever(tmp_path: Path) -> None:
    """Some senders have no MSH-10 and repeat what is answered AE until somebody comes; here it is taken, and once only."""
    text = 'connections:\n  ehr: {kind: mllp_listener, port: "0", missing_control_id: accept}\n'
    async with running_hub(clinic_folder(tmp_path, text)) as hub, wire(port_of(hub, "ehr")) as partner:
        bodies = [adt(""), adt(""), adt("", "00043")]
        for body in bodies:
            await partner.send(frame(body))
            assert str(await partner.answer()) == "AA "
        assert len(await ask(hub, "messages.list", connection="ehr")) == 2


async def test_a_resend_after_a_lost_acknowledgement_is_known_after_a_restart(tmp_path: Path) -> None:
    file = clinic_folder(tmp_path, 'connections:\n  ehr: {kind: mllp_listener, port: "0"}\n')
    ids = []
    for _ in range(2):
        async with running_hub(file) as hub, wire(port_of(hub, "ehr")) as partner:
            await partner.send(frame(adt("M1")))
            answer = await partner.answer()
            assert str(answer) == "AA M1"
            ids.append(answer.segments["MSH"][9])
            assert len(await ask(hub, "messages.list", control_id="M1")) == 1
    assert len(set(ids)) == 2, "each answer has a control id of its own"


async def test_a_batch_that_counts_wrong_is_told_to_it() -> None:
    with capture_logs() as logs:
        async with listening() as listener, wire(listener.port) as partner:
            await partner.send(frame(b"BHS|^~\\&|EHR\r" + adt("M1") + b"BTS|7\r"))
            assert str(await partner.answer()) == "AA M1"
    assert any("announces 7" in str(line.get("finding")) for line in logs)


async def test_a_message_of_a_batch_knows_its_place(tmp_path: Path) -> None:
    batch = b"BHS|^~\\&|EHR|RIVER|HUB|RIVER|20261123||||B77\r" + adt("M1") + adt("M2") + b"BTS|2\r"
    deliver = FakeDeliver()
    async with listening(deliver) as listener, wire(listener.port) as partner:
        await partner.send(frame(batch) + frame(adt("M3")))
        assert await partner.answers_until("M3") == ["AA M1", "AA M2", "AA M3"]
    kept = [dict(message.headers) for message in deliver.delivered]
    assert kept == [{"index": "1 of 2", "batch": "B77"}, {"index": "2 of 2", "batch": "B77"}, {}]


# A batch that is answered with a batch.

BATCH = b"BHS|^~\\&|EHR|RIVER|HUB|LAKE|20261123||||B77\r" + adt("M1") + adt("M2").replace(b"ADT^A04", b"") + b"BTS|2\r"


def parted(frame: bytes) -> list[list[str]]:
    return [line.split("|") for line in frame.decode().removesuffix("\r").split("\r")]


async def test_a_batch_may_be_answered_with_a_batch() -> None:
    """BHS and BTS around an acknowledgement for each message; BHS-12 names the batch that is answered."""
    async with listening(batch_reply="together") as listener, wire(listener.port) as partner:
        await partner.send(frame(b"FHS|^~\\&|EHR\r" + BATCH + b"FTS|1\r") + frame(adt("M3")))
        bhs, *acknowledgements, bts = parted(await partner.frame())
        assert str(await partner.answer()) == "AA M3", "a message that came in no batch is answered as ever"
    assert bhs[:6] == ["BHS", "^~\\&", "HUB", "LAKE", "EHR", "RIVER"]
    assert len(bhs[6]) == len("20261123090000+0000")
    assert (len(bhs), bhs[11]) == (12, "B77")
    assert bhs[10] not in ("", "B77")
    assert [line[0] for line in acknowledgements] == ["MSH", "MSA", "MSH", "MSA", "ERR"]
    assert [line[1:3] for line in acknowledgements if line[0] == "MSA"] == [["AA", "M1"], ["AR", "M2"]]
    assert bts == ["BTS", "2"]


async def test_two_batches_in_a_frame_are_answered_with_two() -> None:
    other = b"BHS#^~\\&#LAB########B78\r" + adt("M4") + b"BTS#1\r"
    async with listening(batch_reply="together") as listener, wire(listener.port) as partner:
        await partner.send(frame(BATCH + other) + frame(BATCH))
        found = [parted(await partner.frame()) for _ in range(2)]
        third = parted(await partner.frame())
    assert [lines[0][11] if len(lines[0]) > 1 else lines[0][0].split("#")[11] for lines in found] == ["B77", "B78"]
    assert found[1][-1] == ["BTS#1"]
    assert third[-1] == ["BTS", "2"]


async def test_a_batch_none_of_whose_messages_asks_for_an_answer_gets_none() -> None:
    silent = b"BHS|^~\\&|EHR\r" + enhanced("M1", "NE", "NE") + enhanced("M2", "ER", "NE") + b"BTS|2\r"
    async with listening(batch_reply="together") as listener, wire(listener.port) as partner:
        await partner.send(frame(silent) + frame(adt("LAST")))
        assert await partner.answers_until("LAST") == ["AA LAST"]


async def test_after_flow_both_kinds_of_acknowledgement_come_in_batches_of_their_own() -> None:
    deliver = Waiting()
    both = b"BHS|^~\\&|EHR||||||||B79\r" + enhanced("M1") + enhanced("M2") + b"BTS|2\r"
    async with listening(deliver, batch_reply="together", reply="after_flow") as listener, wire(listener.port) as partner:
        await partner.send(frame(both))
        accepted = parted(await partner.frame(1))
        deliver.done.set()
        applied = parted(await partner.frame())
    assert [line[1:3] for line in accepted if line[0] == "MSA"] == [["CA", "M1"], ["CA", "M2"]]
    assert [line[1:3] for line in applied if line[0] == "MSA"] == [["AA", "M1"], ["AA", "M2"]]


async def test_messages_that_only_stand_one_after_another_are_no_batch() -> None:
    async with listening(batch_reply="together") as listener, wire(listener.port) as partner:
        await partner.send(frame(adt("M1") + adt("M2")))
        assert await partner.answers_until("M2") == ["AA M1", "AA M2"]


async def test_python_hl7_reads_the_batch_of_acknowledgements() -> None:
    """Somebody else's parser."""
    async with listening(batch_reply="together") as listener, wire(listener.port) as partner:
        await partner.send(frame(BATCH))
        batch = hl7.parse_batch((await partner.frame()).decode())
    assert [str(message.segment("MSA")) for message in batch] == ["MSA|AA|M1", "MSA|AR|M2|the message type (MSH-9) is missing"]
    assert str(batch.header[12]) == "B77"


# Silent links.


async def test_a_silent_link_is_closed_only_where_it_is_wanted() -> None:
    async with listening(idle_timeout="150ms") as listener, wire(listener.port) as partner:
        for number in range(3):
            await partner.send(frame(adt(f"M{number}")))
            assert str(await partner.answer()) == f"AA M{number}"
            await asyncio.sleep(0.08)
        assert listener.peers
        assert await partner.rest(timeout=2) == b""


async def test_a_link_whose_answer_is_still_to_come_is_not_silent() -> None:
    deliver = Waiting()
    async with listening(deliver, idle_timeout="100ms", reply="after_flow") as listener, wire(listener.port) as partner:
        await partner.send(frame(adt("M1")))
        await asyncio.sleep(0.3)
        deliver.done.set()
        assert str(await partner.answer()) == "AA M1"


def test_the_bytes_of_these_tests_are_those_of_the_protocol() -> None:
    assert (START, END, ACK, NAK) == (b"\x0b", b"\x1c\x0d", b"\x06", b"\x15")
