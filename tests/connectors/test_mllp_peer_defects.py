"""What other engines get wrong (research/hl7.md 2.2 to 2.4), each with a test of ours named after it.

More of them: in test_mllp_framing (bytes), test_mllp_acknowledgements, test_mllp_answers, test_mllp_peers and test_mllp_crowd.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from connectors.simulators.ehr import EhrServer
from hub.errors import ConnectionDown, MessageRejected
from hub.message import Message
from hub.testing import FakeDeliver, FakeReceipt
from tests.connectors.wire import END, START, Partner, acknowledgement, adt, control_id_of, frame, listening, sending, wire
from tests.support import ask, clinic_folder, port_of, running_hub, settled, until

M1 = Message(adt("M1"), "hl7v2", "ADT^A04")


# Framing.


async def test_camel_dropped_the_second_frame_of_a_read_as_trailing_data() -> None:
    deliver = FakeDeliver()
    async with listening(deliver) as listener, wire(listener.port) as partner:
        await partner.send(frame(adt("M1")) + frame(adt("M2")) + frame(adt("M3")))
        assert await partner.answers_until("M3") == ["AA M1", "AA M2", "AA M3"]
    assert len(deliver.delivered) == 3


async def test_camel_gives_up_after_half_a_second_between_bytes() -> None:
    async with listening() as listener, wire(listener.port) as partner:
        sent = frame(adt("M1"))
        await partner.send(sent[:50])
        await asyncio.sleep(0.6)
        await partner.send(sent[50:])
        assert str(await partner.answer()) == "AA M1"


async def test_oie_melts_two_messages_into_one_when_an_end_is_missing() -> None:
    deliver = FakeDeliver()
    async with listening(deliver) as listener, wire(listener.port) as partner:
        await partner.send(START + adt("M1") + frame(adt("M2")))
        assert await partner.answers_until("M2") == ["AR M1", "AA M2"]
    assert [message.body for message in deliver.delivered] == [adt("M2")]


async def test_python_hl7_dies_without_an_answer_on_a_bad_block() -> None:
    async with listening() as listener, wire(listener.port) as partner:
        await partner.send(b"\r\n" + frame(b"no message") + frame(b"") + b"x" + frame(adt("M1")))
        assert str(await partner.answer()) == "AA M1"


async def test_simple_hl7_says_aa_to_what_is_no_message() -> None:
    async with listening() as listener, wire(listener.port) as partner:
        await partner.send(frame(b"<html/>") + frame(adt("LAST")))
        assert await partner.answers_until("LAST") == ["AA LAST"]


# The content of acknowledgements.


async def test_oie_numbers_its_acknowledgements_by_the_second() -> None:
    """So two of them have one control id; ours are all different, and short enough for every version."""
    async with listening() as listener, wire(listener.port) as partner:
        await partner.send(b"".join(frame(adt(f"M{n}")) for n in range(100)))
        ids = [(await partner.answer()).segments["MSH"][9] for _ in range(100)]
    assert len(set(ids)) == 100
    assert all(1 <= len(id) <= 20 for id in ids)


async def test_oie_acknowledges_the_message_1_when_there_was_no_control_id() -> None:
    async with listening() as listener, wire(listener.port) as partner:
        await partner.send(frame(adt("")))
        answer = await partner.answer()
    assert (answer.code, answer.control_id) == ("AE", "")


async def test_camel_sends_the_senders_own_conditions_and_control_id_back() -> None:
    """An acknowledgement with MSH-15 AL asks to be acknowledged itself."""
    body = adt("M1").replace(b"|P|2.5\r", b"|P|2.5|17||AL|AL||8859/1\r")
    async with listening() as listener, wire(listener.port) as partner:
        await partner.send(frame(body))
        for answer in (await partner.answer(), await partner.answer()):
            msh = answer.segments["MSH"]
            assert (msh[12:17], msh[17]) == ([""] * 5, "8859/1")
            assert msh[9] != "M1"


@pytest.mark.parametrize("version", ["2.1", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.7", "2.8.2"])
async def test_oie_writes_free_text_where_the_error_code_belongs(version: str) -> None:
    body = adt("M1").replace(b"ADT^A04", b"").replace(b"|P|2.5\r", f"|P|{version}\r".encode())
    async with listening() as listener, wire(listener.port) as partner:
        await partner.send(frame(body))
        answer = await partner.answer()
    err = answer.segments["ERR"]
    old = version < "2.5"
    assert err[1 if old else 3].split("^")[3 if old else 0].split("&")[0] == "101"
    assert answer.segments["MSH"][11] == version
    assert (len(answer.segments["MSA"]) > 3) == (version < "2.7"), "MSA-3 is a courtesy of old versions"


# Acknowledgements that come late, twice, or never.


async def test_mirth_took_a_late_acknowledgement_for_the_next_message() -> None:
    """Tracker 1441 and 2070; here the late one even comes while the next message waits."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if partner.connections == 1:
            await reader.readuntil(END)
            await asyncio.sleep(0.25)
            writer.write(acknowledgement("AA", "M1"))
            await reader.read()
            return
        id = control_id_of((await reader.readuntil(END))[1:-2])
        await asyncio.sleep(0.15)
        writer.write(acknowledgement("AR", id))

    async with Partner(handle) as partner, sending(partner.port, timeout="200ms") as sender:
        with pytest.raises(ConnectionDown, match="within"):
            await sender.send(M1)
        with pytest.raises(MessageRejected, match="AR"):
            await sender.send(Message(adt("M2"), "hl7v2"))


async def test_node_hl7_server_answers_earlier_messages_again() -> None:
    """Its second answer is once more that of the first message: ours is no confirmation, and the message goes again."""
    before: list[str] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        own: list[str] = []
        while True:
            own.append(control_id_of((await reader.readuntil(END))[1:-2]))
            before.append(own[-1])
            writer.write(b"".join(acknowledgement("AA", id) for id in own))

    async with Partner(handle) as partner, sending(partner.port) as sender:
        await sender.send(M1)
        with pytest.raises(ConnectionDown, match="another message"):
            await sender.send(Message(adt("M2"), "hl7v2"))
        await sender.send(Message(adt("M2"), "hl7v2"))
    assert before == ["M1", "M2", "M2"]


FORWARD = """
connections:
  ehr: {kind: mllp_listener, port: "0"@EHR@}
  pms: {kind: mllp_sender, host: 127.0.0.1, port: "@PORT@", timeout: 250ms, retry: {first: 50ms, most: 100ms}@PMS@}
flows:
  forward: {from: ehr, steps: [{send: pms}]}
"""


def clinic(folder: Path, port: int, *, ehr: str = "", pms: str = "") -> Path:
    return clinic_folder(folder, FORWARD.replace("@PORT@", str(port)).replace("@EHR@", ehr).replace("@PMS@", pms))


async def test_mirth_flooded_a_receiver_with_thousands_of_copies_after_time_outs(tmp_path: Path) -> None:
    """Tracker 1314: a silent partner gets one message at a time, at growing intervals; or none again, where it is held."""
    async with EhrServer(lambda *_: "silent") as pms, running_hub(clinic(tmp_path / "retry", pms.port)) as hub:
        async with wire(port_of(hub, "ehr")) as ehr:
            await ehr.send(b"".join(frame(adt(f"M{n}", str(n))) for n in range(50)))
            await asyncio.sleep(1.0)
        assert sum(pms.seen.values()) <= 6
    async with EhrServer(lambda *_: "silent") as pms:
        file = clinic(tmp_path / "hold", pms.port, pms=", answers: {timeout: hold}")
        async with running_hub(file) as hub, wire(port_of(hub, "ehr")) as ehr:
            await ehr.send(frame(adt("M1")))
            await asyncio.sleep(1.2)
            assert pms.seen["M1"] == 1


async def test_mirth_shows_connection_errors_as_time_outs() -> None:
    """Tracker 1077."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(END)

    async with Partner(handle) as partner, sending(partner.port) as sender:
        with pytest.raises(ConnectionDown, match="closed the connection"):
            await sender.send(M1)


async def test_mirth_answered_before_the_message_was_safe() -> None:
    """Tracker 1399: what could not be stored is not acknowledged, and the resend is."""

    class Full(FakeDeliver):
        async def __call__(self, messages: Sequence[Message]) -> FakeReceipt:
            await asyncio.sleep(0.05)
            return await super().__call__(messages)

    deliver = Full(failures=1)
    async with listening(deliver) as listener:
        async with wire(listener.port) as partner:
            await partner.send(frame(adt("M1")))
            assert await partner.rest() == b""
        async with wire(listener.port) as partner:
            await partner.send(frame(adt("M1")))
            assert str(await partner.answer()) == "AA M1"


async def test_a_positive_answer_hid_that_the_destination_refused(tmp_path: Path) -> None:
    """With `after_flow` the sender hears AE; without, the refusal is in the journal and not in the answer."""
    async with EhrServer(lambda *_: "AE") as pms:
        file = clinic(tmp_path, pms.port, pms=", on_rejected: quarantine")
        async with running_hub(file) as hub, wire(port_of(hub, "ehr")) as ehr:
            await ehr.send(frame(adt("M1")))
            assert str(await ehr.answer()) == "AA M1"
            await settled(hub)
            listed = await ask(hub, "messages.list", control_id="M1", connection="pms")
            assert [m["state"] for m in listed] == ["quarantined"]


# Duplicates.


async def test_a_resend_after_a_lost_acknowledgement_was_worked_on_twice(tmp_path: Path) -> None:
    """The acknowledgement is lost with the connection; the sender sends again on a new one, and after a restart once more."""
    async with EhrServer() as pms:
        file = clinic(tmp_path, pms.port)
        for _ in range(2):
            async with running_hub(file) as hub:
                for _ in range(2):
                    async with wire(port_of(hub, "ehr")) as ehr:
                        await ehr.send(frame(adt("M1")))
                        assert str(await ehr.answer()) == "AA M1"
                await settled(hub)
        assert pms.seen["M1"] == 1


async def test_senders_that_begin_their_numbers_anew_lost_messages_to_the_check_for_duplicates(tmp_path: Path) -> None:
    """`MSG00001` comes every morning: other content under a used control id is a new message."""
    async with EhrServer() as pms, running_hub(clinic(tmp_path, pms.port)) as hub, wire(port_of(hub, "ehr")) as ehr:
        for family in ("DOE", "ROE", "DOE"):
            await ehr.send(frame(adt("MSG00001", family=family)))
            assert str(await ehr.answer()) == "AA MSG00001"
        await until(lambda: pms.seen["MSG00001"] == 2)
        flags = [m["flag"] for m in await ask(hub, "messages.list", connection="ehr")]
    assert flags.count("reused control id") == 1
    assert "DOE" not in json.dumps(flags)
