"""The MLLP sender beyond one message at a time: what follows from each answer, the window, enhanced mode, commit bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from pydantic import ValidationError
from structlog.testing import capture_logs

from connectors.mllp import SenderConfig
from connectors.simulators.ehr import EhrServer, script_of
from hub.errors import ConnectionDown, HubError, MessageRejected
from hub.message import Message
from tests.connectors.wire import END, Partner, acknowledgement, adt, control_id_of, frame, listening, sending, wire
from tests.support import ask, clinic_folder, port_of, running_hub, until

ACK, NAK = b"\x06", b"\x15"


def message(control_id: str, accept: str = "", application: str = "", **more: Any) -> Message:
    body = adt(control_id, **more)
    if accept or application:
        body = body.replace(b"|P|2.5\r", f"|P|2.5|||{accept}|{application}\r".encode())
    return Message(body, "hl7v2", "ADT^A04")


async def next_id(reader: asyncio.StreamReader) -> str:
    return control_id_of((await reader.readuntil(END))[1:-2])


# What follows from each answer: hl7.md 2.4, "what AE and AR mean differs between text and custom".

POLICY = """
connections:
  ehr: {kind: mllp_listener, port: "0"}
  pms:
    kind: mllp_sender
    host: 127.0.0.1
    port: "@PORT@"
    timeout: 200ms
    on_rejected: retry
    retry: {first: 10ms, most: 20ms, attempts: "2"}
    answers: {@ANSWERS@}
flows:
  forward: {from: ehr, steps: [{send: pms}]}
"""
SCRIPTED = {
    "AE": "AE", "AR": "AR", "CE": "CE", "CR": "CR", "timeout": "silent", "garbage": "garbage", "wrong_control_id": "wrong",
}  # fmt: skip
STATES = {"hold": "held", "quarantine": "quarantined", "skip": "skipped"}


@pytest.mark.parametrize("answer", SCRIPTED)
@pytest.mark.parametrize("policy", STATES)
async def test_each_answer_has_a_policy_of_its_own(answer: str, policy: str, tmp_path: Path) -> None:
    async with EhrServer(script_of([SCRIPTED[answer]])) as pms:
        text = POLICY.replace("@PORT@", str(pms.port)).replace("@ANSWERS@", f"{answer}: {policy}")
        async with running_hub(clinic_folder(tmp_path, text)) as hub, wire(port_of(hub, "ehr")) as ehr:
            await ehr.send(frame(adt("M1")) + frame(adt("M2", "00043")))
            await until(lambda: pms.seen["M2"])

            async def ended() -> bool:
                listed = await ask(hub, "messages.list", control_id="M1", connection="pms")
                return [m["state"] for m in listed] == [STATES[policy]]

            await until(ended)
    assert pms.seen["M1"] == 1, "it is not sent again: a receiver was once flooded with thousands of copies"


@pytest.mark.parametrize("answer", SCRIPTED)
async def test_after_any_answer_a_message_may_go_again(answer: str, tmp_path: Path) -> None:
    """AE too, whatever the standard says; here nothing else would be tried again."""
    async with EhrServer(script_of([SCRIPTED[answer], SCRIPTED[answer]])) as pms:
        text = POLICY.replace("on_rejected: retry", "on_rejected: quarantine").replace('attempts: "2"', 'attempts: "5"')
        text = text.replace("@PORT@", str(pms.port)).replace("@ANSWERS@", f"{answer}: retry")
        async with running_hub(clinic_folder(tmp_path, text)) as hub, wire(port_of(hub, "ehr")) as ehr:
            await ehr.send(frame(adt("M1")))

            async def delivered() -> bool:
                listed = await ask(hub, "messages.list", control_id="M1", connection="pms")
                return [m["state"] for m in listed] == ["delivered"]

            await until(delivered)
    assert pms.seen["M1"] == 3


async def test_silence_held_for_a_person_does_not_stop_other_patients(tmp_path: Path) -> None:
    """Resending by itself after a time-out is a choice: some receivers have worked on what they did not answer."""
    async with EhrServer(lambda _, control_id, __: "silent" if control_id == "M1" else "AA") as pms:
        text = POLICY.replace("@PORT@", str(pms.port)).replace("@ANSWERS@", "timeout: hold")
        async with running_hub(clinic_folder(tmp_path, text)) as hub, wire(port_of(hub, "ehr")) as ehr:
            await ehr.send(frame(adt("M1")) + frame(adt("M1b")) + frame(adt("M2", "00043")))
            await until(lambda: pms.seen["M2"])
            held = await ask(hub, "messages.list", control_id="M1", connection="pms")
            assert (held[0]["state"], "within 0.2 s" in held[0]["reason"]) == ("held", True)
            assert not pms.seen["M1b"], "the same patient's next message waits behind it"


async def test_without_a_policy_the_general_one_holds(tmp_path: Path) -> None:
    async with EhrServer(script_of(["AE", "AE"])) as pms:
        text = POLICY.replace("@PORT@", str(pms.port)).replace("@ANSWERS@", "AR: skip")
        async with running_hub(clinic_folder(tmp_path, text)) as hub, wire(port_of(hub, "ehr")) as ehr:
            await ehr.send(frame(adt("M1")))

            async def quarantined() -> bool:
                return [m["state"] for m in await ask(hub, "messages.list", control_id="M1", connection="pms")] == [
                    "quarantined"
                ]

            await until(quarantined)
    assert pms.seen["M1"] == 2


@pytest.mark.parametrize(
    ("answers", "says"), [({"AE": "stop"}, "AE"), ({"AX": "hold"}, "AX"), ({"timeout": "fail"}, "timeout")], ids=str
)
def test_policies_that_do_not_exist_are_refused(answers: dict[str, str], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        SenderConfig.model_validate({"kind": "mllp_sender", "host": "127.0.0.1", "port": 1, "answers": answers})


# The window.


async def in_a_window(
    partner_says: Callable[[list[str], asyncio.StreamWriter], None], count: int, **settings: Any
) -> list[Any]:
    """Sends so many at once on one connection; the partner answers when it has them all."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ids = [await next_id(reader) for _ in range(count)]
        partner_says(ids, writer)
        await reader.read()

    async with Partner(handle) as partner, sending(partner.port, window=8, parallel=8, **settings) as sender:
        sends = (sender.send(message(f"M{number}", mrn=str(number))) for number in range(count))
        found = await asyncio.gather(*sends, return_exceptions=True)
        assert partner.connections == 1
        return found


@pytest.mark.parametrize("order", [list, lambda ids: list(reversed(ids))], ids=["in order", "backwards"])
async def test_several_messages_wait_for_their_answers_on_one_connection(order: Callable[[list[str]], list[str]]) -> None:
    def says(ids: list[str], writer: asyncio.StreamWriter) -> None:
        for id in order(ids):
            writer.write(acknowledgement("AE" if id == "M2" else "AA", id))

    answers = await in_a_window(says, 8)
    assert [isinstance(answer, MessageRejected) for answer in answers] == [number == 2 for number in range(8)]
    assert all(f"|M{number}\r".encode() in answer.body for number, answer in enumerate(answers) if number != 2)


async def test_an_answer_that_is_missing_puts_all_of_the_window_in_doubt_and_none_takes_anothers() -> None:
    def says(ids: list[str], writer: asyncio.StreamWriter) -> None:
        for id in ids[1:3]:
            writer.write(acknowledgement("AA", id))

    answers = await in_a_window(says, 6, timeout="200ms")
    assert [type(answer) for answer in answers] == [ConnectionDown, Message, Message, *[ConnectionDown] * 3]
    assert "within 0.2 s" in str(answers[0])
    assert "another message" in str(answers[3])


@pytest.mark.parametrize("wrong", [frame(b"nonsense"), acknowledgement("AA", "M77")], ids=["nonsense", "of another"])
async def test_with_a_window_a_policy_is_for_the_oldest_message_only(wrong: bytes) -> None:
    answers = await in_a_window(
        lambda _, writer: writer.write(wrong), 3, answers={"garbage": "hold", "wrong_control_id": "hold"}
    )
    assert [type(answer) for answer in answers] == [MessageRejected, ConnectionDown, ConnectionDown]
    assert answers[0].policy == "hold"


async def test_more_than_the_window_opens_another_connection() -> None:
    together = asyncio.Barrier(8)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def answer(id: str) -> None:
            if not id.startswith("X"):
                await together.wait()
            writer.write(acknowledgement("AA", id))

        async with asyncio.TaskGroup() as tasks:
            while True:
                tasks.create_task(answer(await next_id(reader)))

    async with Partner(handle) as partner, sending(partner.port, window=4, parallel=8) as sender:
        await asyncio.gather(*(sender.send(message(f"M{number}")) for number in range(8)))
        assert partner.connections == 2
        for number in range(20):
            await sender.send(message(f"X{number}"))
        assert partner.connections == 2


async def test_two_messages_with_one_control_id_never_share_a_connection() -> None:
    """Nobody could tell their answers apart."""
    both = asyncio.Barrier(2)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        id = await next_id(reader)
        await both.wait()
        writer.write(acknowledgement("AA", id))
        await reader.read()

    async with Partner(handle) as partner, sending(partner.port, window=4, parallel=4) as sender:
        await asyncio.wait_for(asyncio.gather(*(sender.send(message("SAME", mrn=mrn)) for mrn in "12")), 3)
        assert partner.connections == 2


async def test_while_a_connection_is_being_opened_all_wait_for_one_failure() -> None:
    async with sending(1, window=8, parallel=8) as sender:
        found = await asyncio.gather(*(sender.send(message(f"M{n}")) for n in range(8)), return_exceptions=True)
    assert all(isinstance(error, ConnectionDown) for error in found)


async def test_closing_ends_a_connection_that_is_being_opened() -> None:
    """A partner that accepts and never shakes hands would hold up the end of the hub."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with Partner(handle) as partner, sending(partner.port, window=8, parallel=8, tls={}) as sender:
        waiting = asyncio.create_task(sender.send(message("M1")))
        await until(lambda: partner.connections)
        await sender.close()
        with pytest.raises(ConnectionDown, match="while it was being opened"):
            await asyncio.wait_for(waiting, 1)


WINDOW = """
connections:
  ehr: {kind: mllp_listener, port: "0"}
  pms: {kind: mllp_sender, host: 127.0.0.1, port: "@PORT@", parallel: "16", window: "16"}
flows:
  forward: {from: ehr, parallel: "16", steps: [{send: pms}]}
"""


async def test_with_a_window_the_order_of_each_patient_is_kept(tmp_path: Path) -> None:
    async with EhrServer() as pms:
        text = WINDOW.replace("@PORT@", str(pms.port)).replace(', parallel: "16", steps', ", steps")
        async with running_hub(clinic_folder(tmp_path, text)) as hub, wire(port_of(hub, "ehr")) as ehr:
            await ehr.send(b"".join(frame(adt(f"P{n % 10}N{n:03}", str(n % 10))) for n in range(200)))
            await until(lambda: len(pms.received) == 200, timeout=30)
    ids = pms.control_ids()
    for patient in range(10):
        own = [id for id in ids if id.startswith(f"P{patient}N")]
        assert own == sorted(own)


DEEDS = st.sampled_from(["AA", "AA", "AA", "AE", "later", "twice", "drop", "of another", "nonsense", "close"])


@given(st.lists(DEEDS, min_size=1, max_size=40), st.integers(1, 6), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_whatever_a_partner_does_no_message_takes_the_answer_of_another(deeds: list[str], window: int, dice: Any) -> None:
    """Each message ends with an answer that was written for it after it came, or with none."""
    said: list[tuple[str, str]] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left: list[str] = []

        def say(code: str, id: str) -> None:
            said.append((code, id))
            writer.write(acknowledgement(code, id))

        while True:
            id = await next_id(reader)
            deed = deeds.pop() if deeds else "AA"
            match deed:
                case "AA" | "AE":
                    say(deed, id)
                case "later":
                    left.append(id)
                case "twice":
                    say("AA", id)
                    say("AA", id)
                case "of another":
                    writer.write(acknowledgement("AA", f"{id}0"))
                case "nonsense":
                    writer.write(frame(b"nonsense"))
                case "close":
                    return
            if left and dice.random() < 0.7:
                say(dice.choice(["AA", "AR"]), left.pop(dice.randrange(len(left))))

    async def play() -> list[Any]:
        async with Partner(handle) as partner, sending(partner.port, window=window, parallel=8, timeout="60ms") as sender:

            async def some(name: str) -> list[Any]:
                return [await asyncio.gather(sender.send(message(f"{name}{n}")), return_exceptions=True) for n in range(8)]

            return [(f"{name}{n}", found[0]) for name, all in zip("ABCD", await asyncio.gather(*map(some, "ABCD")), strict=True)
                    for n, found in enumerate(all)]  # fmt: skip

    for id, found in asyncio.run(play()):
        if isinstance(found, Message):
            assert ("AA", id) in said
            assert f"MSA|AA|{id}\r".encode() in found.body
        elif isinstance(found, MessageRejected):
            assert (found.answer, id) in said
        else:
            assert isinstance(found, ConnectionDown), found


# Connections.


async def test_a_partner_that_closes_after_each_answer_costs_no_outage() -> None:
    """hl7apy's server does so: the next message may go out just when its connection is closed."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(acknowledgement("AA", await next_id(reader)))

    async with Partner(handle) as partner, sending(partner.port) as sender:
        for number in range(30):
            assert await sender.send(message(f"M{number}"))
        assert partner.connections == 30


async def test_a_fresh_connection_that_is_closed_without_an_answer_is_not_tried_again() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await next_id(reader)

    async with Partner(handle) as partner, sending(partner.port) as sender:
        with pytest.raises(ConnectionDown, match="closed the connection before it answered"):
            await sender.send(message("M1"))
        assert partner.connections == 1


async def test_a_partner_that_wants_a_connection_for_each_message_gets_it() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(acknowledgement("AA", await next_id(reader)))
        assert await reader.read() == b"", "the hub closes"

    async with Partner(handle) as partner, sending(partner.port, keep_open=False) as sender:
        for number in range(3):
            await sender.send(message(f"M{number}"))
        await partner.all_ended()
        assert partner.connections == 3


# Enhanced mode.


async def test_an_accept_acknowledgement_ends_the_sending_and_a_later_refusal_is_told() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for code in ("AA", "AE"):
            id = await next_id(reader)
            writer.write(acknowledgement("CA", id))
            await asyncio.sleep(0.02)
            writer.write(acknowledgement(code, id))
        writer.write(acknowledgement("AA", await next_id(reader)))
        await reader.read()

    with capture_logs() as logs:
        async with Partner(handle) as partner, sending(partner.port) as sender:
            for id in ("M1", "M2"):
                answer = await sender.send(message(id, "AL", "AL"))
                assert answer is not None
                assert answer.headers["answer"] == "CA"
                await asyncio.sleep(0.1)
            await sender.send(message("M3"))
            assert partner.connections == 1, "the second acknowledgement is expected, it breaks nothing"
    assert [line["answer"] for line in logs if "accepted" in line["event"]] == ["AE"]


async def accepting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accepts each message at once; its application acknowledgement comes when the next message has been accepted."""
    before = ""
    while True:
        id = await next_id(reader)
        writer.write(acknowledgement("CA", id))
        if before:
            writer.write(acknowledgement("AE" if before == "BAD" else "AA", before))
        before = id


async def test_where_it_is_wanted_the_application_acknowledgement_ends_the_sending() -> None:
    async with (
        Partner(accepting) as partner,
        sending(partner.port, wait_for="application", parallel=4, application_timeout="2s") as sender,
    ):
        first = asyncio.create_task(sender.send(message("BAD", "AL", "AL")))
        await until(lambda: sender._links and next(iter(sender._links)).accepted)
        second = asyncio.create_task(sender.send(message("M2", "AL", "AL")))
        await until(lambda: "M2" in next(iter(sender._links)).accepted)
        await sender.send(message("M3", "AL", "NE"))
        with pytest.raises(MessageRejected, match="AE"):
            await first
        answer = await second
        assert answer is not None
        assert answer.headers["answer"] == "AA"
        assert partner.connections == 1, "after the accept acknowledgement the connection serves the next message"


async def test_an_application_acknowledgement_that_never_comes_runs_into_its_own_time_out() -> None:
    async with (
        Partner(accepting) as partner,
        sending(partner.port, wait_for="application", application_timeout="150ms") as sender,
    ):
        with pytest.raises(ConnectionDown, match=r"accepted, but no application acknowledgement came within 0.15 s"):
            await sender.send(message("M1", "AL", "AL"))


@pytest.mark.parametrize("early", [False, True], ids=["after the accept acknowledgement", "before it"])
async def test_application_acknowledgements_come_back_by_a_listener(early: bool) -> None:
    async with listening() as listener:

        async def come_back(id: str) -> None:
            async with wire(listener.port) as back:
                await back.send(acknowledgement("AE" if id == "BAD" else "AA", id))
                await back.send(frame(adt("LAST")))
                assert await back.answers_until("LAST") == ["AA LAST"], "it is not acknowledged itself"

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                id = await next_id(reader)
                if early:
                    await come_back(id)
                writer.write(acknowledgement("CA", id))
                if not early:
                    await asyncio.sleep(0.02)
                    await come_back(id)

        async with Partner(handle) as partner, sending(partner.port, wait_for="application", returned_by="ehr") as sender:
            answer = await sender.send(message("M1", "AL", "AL"))
            assert answer is not None
            assert answer.headers["answer"] == "AA"
            with pytest.raises(MessageRejected, match="AE"):
                await sender.send(message("BAD", "AL", "AL"))


ENHANCED = """
connections:
  ehr: {kind: mllp_listener, port: "0"}
  back: {kind: mllp_listener, port: "0"}
  pms: {kind: mllp_sender, host: 127.0.0.1, port: "@PORT@", wait_for: application, returned_by: back}
flows:
  forward: {from: ehr, steps: [{send: pms}]}
"""


async def test_after_a_restart_what_was_accepted_and_not_yet_worked_on_goes_again(tmp_path: Path) -> None:
    """The wait for the application acknowledgement is in memory; the message is not, and keeps its control id."""
    async with EhrServer(lambda *_: "CA") as pms:
        file = clinic_folder(tmp_path, ENHANCED.replace("@PORT@", str(pms.port)))
        async with running_hub(file) as hub, wire(port_of(hub, "ehr")) as ehr:
            await ehr.send(frame(message("M1", "AL", "AL").body))
            await until(lambda: pms.seen["M1"] == 1)
            states = {m["state"] for m in await ask(hub, "messages.list", control_id="M1", connection="pms")}
            assert states <= {"waiting", "working"}, "accepted is not delivered"
            target = hub.targets["to:pms"]
            for task in target.running:
                task.cancel()
        async with running_hub(file) as hub, wire(port_of(hub, "back")) as back:
            await until(lambda: pms.seen["M1"] == 2)
            await asyncio.sleep(0.05)
            await back.send(acknowledgement("AA", "M1"))

            async def delivered() -> bool:
                listed = await ask(hub, "messages.list", control_id="M1", connection="pms")
                return [m["state"] for m in listed] == ["delivered"]

            await until(delivered)


async def test_a_return_that_nobody_waits_for_is_kept_like_any_message(tmp_path: Path) -> None:
    text = 'connections:\n  back: {kind: mllp_listener, port: "0"}\n'
    async with running_hub(clinic_folder(tmp_path, text)) as hub, wire(port_of(hub, "back")) as partner:
        await partner.send(acknowledgement("AA", "UNKNOWN") + frame(adt("LAST")))
        assert await partner.answers_until("LAST") == ["AA LAST"]
        assert [m["type"] for m in await ask(hub, "messages.list", connection="back")] == ["ADT^A04", "ACK"]


@pytest.mark.parametrize(
    "sent",
    [
        message("M1", "NE", "NE"),
        Message(acknowledgement("AA", "X1")[1:-2], "hl7v2", "ACK"),
        Message(acknowledgement("AA", "X1")[1:-2].replace(b"|P|2.5", b"|P|2.5|||NE|NE"), "hl7v2", "ACK"),
    ],
    ids=["never", "an acknowledgement", "an acknowledgement that says so"],
)
async def test_what_asks_for_no_answer_is_not_waited_for(sent: Message) -> None:
    """A hub that waits for the acknowledgement of an acknowledgement would send it for ever."""
    got: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            got.append((await reader.readuntil(END))[1:-2])

    async with Partner(handle) as partner, sending(partner.port, timeout="5s") as sender:
        assert await asyncio.wait_for(sender.send(sent), 1) is None
        assert await asyncio.wait_for(sender.send(sent), 1) is None
        await until(lambda: got == [sent.body] * 2)
        assert partner.connections == 1


@pytest.mark.parametrize(("says", "refused"), [(None, False), ("CE", True), ("AE", True)])
async def test_where_only_errors_are_answered_silence_is_consent(says: str | None, refused: bool) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        id = await next_id(reader)
        if says:
            writer.write(acknowledgement(says, id))
        await reader.read()

    async with Partner(handle) as partner, sending(partner.port, timeout="150ms") as sender:
        sent = message("M1", "ER", "NE") if says != "AE" else message("M1", "NE", "ER")
        if refused:
            with pytest.raises(MessageRejected):
                await sender.send(sent)
        else:
            assert await sender.send(sent) is None


# MLLP release 2.


async def with_commit_bytes(*script: bytes | str, id: str = "M1", accept: str = "", application: str = "") -> list[bytes]:
    """Sends one message; the partner writes these bytes, or answers with these codes. Returns the frames it got."""
    got: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append((await reader.readuntil(END))[1:-2])
        for what in script:
            writer.write(frame(what) if isinstance(what, bytes) else acknowledgement(what, id))
            if what == NAK or isinstance(what, str):
                got.append((await reader.readuntil(END))[1:-2])
        await reader.read()

    async with Partner(handle) as partner, sending(partner.port, commit_bytes=True, timeout="500ms") as sender:
        try:
            await sender.send(message(id, accept, application))
            await asyncio.sleep(0.05)
        except HubError as error:
            got.append(str(error).encode())
    return got


async def test_an_answer_is_confirmed_with_a_commit_byte() -> None:
    assert await with_commit_bytes(ACK, "AA") == [adt("M1"), ACK]


async def test_a_frame_the_partner_could_not_keep_is_sent_again_at_most_twice() -> None:
    assert await with_commit_bytes(NAK, ACK, "AA") == [adt("M1"), adt("M1"), ACK]
    *sent, error = await with_commit_bytes(NAK, NAK, NAK)
    assert sent == [adt("M1")] * 3
    assert b"could not keep" in error


async def test_the_commit_byte_alone_ends_what_asks_for_no_answer() -> None:
    body = message("M1", "NE", "NE").body
    assert await with_commit_bytes(ACK, accept="NE", application="NE") == [body]
    assert b"within 0.5 s" in (await with_commit_bytes(accept="NE", application="NE"))[-1]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"commit_bytes": True, "window": 4}, "window: 1"),
        ({"window": 0}, "window"),
        ({"returned_by": "back"}, "wait_for: application"),
        ({"wait_for": "both"}, "wait_for"),
    ],
    ids=str,
)
def test_settings_that_do_not_fit_together_are_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        SenderConfig.model_validate({"kind": "mllp_sender", "host": "127.0.0.1", "port": 1, **wrong})
