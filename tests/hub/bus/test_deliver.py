"""What `deliver` promises (sentences 1 and 2): when it returns the hub owns the messages, when it raises the sender does."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from connectors.simulators.ehr import EhrClient
from hub.errors import HubError, MessageUnusable, StoreError
from hub.message import Message
from hub.step import Context, StepResult
from tests.hub.bus.probe import (
    Place,
    World,
    adt,
    deliver,
    disk_is_full,
    long_adt,
    one,
    rows,
    states,
    tamper,
    there_is_space_again,
)
from tests.support import ask, clinic_folder, port_of, running_hub, settled, until

pytestmark = pytest.mark.both_stores

INBOX = """
connections:
  inbox: {kind: probe_in}
"""
WORK = """
connections:
  inbox: {kind: probe_in}
flows:
  work: {from: inbox, steps: [{probe: work}]}
"""
POISON = Message(b"x", "bytes", type="no text at all: \ud800")
"""What no store can keep."""


# One call is one transaction.


async def test_a_batch_with_a_message_that_cannot_be_kept_is_refused_whole(world: World, tmp_path: Path, store: Place) -> None:
    async with running_hub(clinic_folder(tmp_path, INBOX)) as hub:
        good = [Message(adt(f"M{number}"), "hl7v2") for number in range(3)]
        with pytest.raises(HubError):
            await hub.sources["inbox"].deliver([*good[:2], POISON, good[2]])
        assert one(store, "SELECT count(*) FROM message") == 0
        receipt = await hub.sources["inbox"].deliver(good)
        assert receipt.duplicates == [False, False, False], "the batch that was refused is not remembered"
        assert one(store, "SELECT count(*) FROM message") == 3


async def test_a_batch_is_one_commit(world: World, tmp_path: Path, store: Place) -> None:
    async with running_hub(clinic_folder(tmp_path, INBOX)) as hub:
        before = hub.core.journal.commits
        await deliver(hub, *(adt(f"M{number}") for number in range(200)))
        assert hub.core.journal.commits == before + 1
        assert one(store, "SELECT count(*) FROM message") == 200


async def test_a_batch_keeps_the_order_it_came_in(world: World, tmp_path: Path, store: Place) -> None:
    async with running_hub(clinic_folder(tmp_path, INBOX)) as hub:
        receipt = await deliver(hub, *(adt(f"M{number}") for number in range(20)))
        kept = [(id, control_id) for id, control_id in rows(store, "SELECT id, control_id FROM message ORDER BY seq")]
        assert kept == [(id, f"M{number}") for number, id in enumerate(receipt.ids)]


async def test_a_bad_delivery_does_not_disturb_those_of_others_at_the_same_time(
    world: World, tmp_path: Path, store: Place
) -> None:
    async with running_hub(clinic_folder(tmp_path, INBOX)) as hub:
        calls = [deliver(hub, adt(f"M{number}")) for number in range(20)]
        calls.insert(10, hub.sources["inbox"].deliver([POISON]))
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [index for index, result in enumerate(results) if isinstance(result, BaseException)] == [10]
        assert isinstance(results[10], HubError)
        assert one(store, "SELECT count(*) FROM message") == 20
        assert [seq for (seq,) in rows(store, "SELECT seq FROM message ORDER BY seq")] == list(range(1, 21))


async def test_a_delivery_of_nothing_is_nothing(world: World, tmp_path: Path, store: Place) -> None:
    async with running_hub(clinic_folder(tmp_path, INBOX)) as hub:
        receipt = await deliver(hub)
        assert list(receipt.ids) == []
        assert await receipt.outcome(1.0) == "delivered"


# It returns after the commit, not before.


@pytest.mark.only_sqlite
async def test_another_process_sees_the_messages_the_moment_deliver_returns(world: World, tmp_path: Path, store: Place) -> None:
    async with running_hub(clinic_folder(tmp_path, INBOX)) as hub:
        receipt = await deliver(hub, adt("M1"), adt("M2"))
        query = "SELECT id FROM message ORDER BY seq"
        script = f"import sqlite3, sys; print([row[0] for row in sqlite3.connect(sys.argv[1]).execute('{query}')])"
        seen = subprocess.run([sys.executable, "-c", script, str(store)], capture_output=True, text=True, check=True)
        assert seen.stdout.strip() == str(receipt.ids)


async def test_an_acknowledged_message_is_in_the_store_when_its_acknowledgement_arrives(tmp_path: Path, store: Place) -> None:
    file = clinic_folder(tmp_path, 'connections:\n  ehr: {kind: mllp_listener, port: "0"}\n')
    async with running_hub(file) as hub, EhrClient("127.0.0.1", port_of(hub, "ehr")) as ehr:
        for number in range(1, 51):
            assert (await ehr.send(adt(f"M{number}"))).code == "AA"
            assert one(store, "SELECT max(control_id) FROM message WHERE seq = ?", number) == f"M{number}"


@pytest.mark.parametrize("threads", [False, True], ids=["on-the-loop", "from-a-thread"])
async def test_when_deliver_raises_the_sender_still_has_the_message(
    world: World, tmp_path: Path, store: Place, threads: bool
) -> None:
    async with running_hub(clinic_folder(tmp_path, INBOX)) as hub:
        source = hub.sources["inbox"]
        with pytest.raises(StoreError):
            await (asyncio.to_thread(source.deliver.threadsafe, [POISON]) if threads else source.deliver([POISON]))
        assert one(store, "SELECT count(*) FROM message") == 0


async def test_a_delivery_to_a_hub_that_has_stopped_raises_and_does_not_hang(world: World, tmp_path: Path) -> None:
    async with running_hub(clinic_folder(tmp_path, INBOX)) as hub:
        source = hub.sources["inbox"]
    async with asyncio.timeout(3):
        with pytest.raises(HubError):
            await source.deliver([Message(adt("M1"), "hl7v2")])


async def test_a_poller_keeps_its_file_until_the_hub_owns_it(world: World, tmp_path: Path, store: Place) -> None:
    box = tmp_path / "box"
    box.mkdir()
    folder = f'  files: {{kind: folder, path: "{box}", every: 20ms, stable_for: 0s}}\n'
    async with running_hub(
        clinic_folder(tmp_path, "connections:\n" + folder + "flows:\n  work: {from: files, steps: [{probe: work}]}\n")
    ) as hub:
        disk_is_full(hub)
        await asyncio.to_thread((box / "a.hl7").write_bytes, large := long_adt("M1"))
        await until(lambda: getattr(hub.sources["files"], "failure", None))
        assert [file.read_bytes() for file in box.rglob("*") if file.is_file()] == [large]
        there_is_space_again(hub)
        await until(lambda: not [file for file in box.rglob("*") if file.is_file()])
        assert one(store, "SELECT control_id FROM message") == "M1"


# Blocking libraries.


async def test_a_library_that_blocks_delivers_from_its_own_thread(world: World, tmp_path: Path, store: Place) -> None:
    async with running_hub(clinic_folder(tmp_path, INBOX)) as hub:
        source = hub.sources["inbox"]
        messages = [[Message(adt(f"M{number}"), "hl7v2")] for number in range(8)]
        receipts = await asyncio.gather(*(asyncio.to_thread(source.deliver.threadsafe, batch) for batch in messages))
        assert sorted(receipt.ids[0] for receipt in receipts) == sorted(id for (id,) in rows(store, "SELECT id FROM message"))


# The outcome.


async def test_the_outcome_is_known_when_all_flows_are_done(world: World, tmp_path: Path) -> None:
    release = asyncio.Event()

    @world.step
    async def work(message: Message, context: Context) -> StepResult:
        await release.wait()
        return None

    async with running_hub(clinic_folder(tmp_path, WORK)) as hub:
        receipt = await deliver(hub, adt("M1"))
        waiting = asyncio.create_task(receipt.outcome(5.0))
        assert await receipt.outcome(0.05) == "waiting"
        assert not waiting.done()
        release.set()
        assert await waiting == "delivered"
        assert await receipt.outcome(0.0) == "delivered", "it can be asked again later"


async def test_the_outcome_of_several_messages_is_the_worst(world: World, tmp_path: Path) -> None:
    @world.step
    async def work(message: Message, context: Context) -> StepResult:
        if b"M2" in message.body:
            raise MessageUnusable("no use")
        return None

    async with running_hub(clinic_folder(tmp_path, WORK)) as hub:
        receipt = await deliver(hub, adt("M1", "1"), adt("M2", "2"), adt("M3", "3"))
        assert await receipt.outcome(5.0) == "quarantined"


async def test_a_resend_is_told_the_outcome_of_the_first(world: World, tmp_path: Path) -> None:
    async with running_hub(clinic_folder(tmp_path, WORK)) as hub:
        first = await deliver(hub, adt("M1"))
        assert await first.outcome(5.0) == "delivered"
        second = await deliver(hub, adt("M1"))
        assert second.duplicates == [True]
        assert await second.outcome(5.0) == "delivered"


# Negative answers.


async def test_a_refused_message_is_kept_and_found_but_not_routed(world: World, tmp_path: Path, store: Place) -> None:
    async with running_hub(clinic_folder(tmp_path, WORK)) as hub:
        await hub.sources["inbox"].deliver.refuse(Message(adt("M1", "77"), "hl7v2"), "MSH-9 is empty; answered AR")
        [by_id], [by_patient], [by_state] = [
            await ask(hub, "messages.list", **selection)
            for selection in ({"control_id": "M1"}, {"patient": "77"}, {"state": "refused"})
        ]
        assert by_id == by_patient == by_state
        assert (by_id["state"], by_id["reason"]) == ("refused", "MSH-9 is empty; answered AR")
        assert (await ask(hub, "messages.show", id=by_id["id"], phi=True))["body"].encode() == adt("M1", "77")
        assert rows(store, "SELECT * FROM work") == []


async def test_a_resend_of_a_refused_message_is_looked_at_afresh(world: World, tmp_path: Path, store: Place) -> None:
    async with running_hub(clinic_folder(tmp_path, WORK)) as hub:
        await hub.sources["inbox"].deliver.refuse(Message(adt("M1"), "hl7v2"), "not today")
        receipt = await deliver(hub, adt("M1"))
        assert receipt.duplicates == [False]
        assert await receipt.outcome(5.0) == "delivered"
        assert states(store, "flow:work") == ["delivered"]


async def test_a_message_answered_negatively_after_its_flow_failed_is_looked_at_afresh_when_it_is_sent_again(
    world: World, tmp_path: Path
) -> None:
    """`reply: after_flow`: the sender was told AE, so its resend must have another chance."""
    broken = True

    @world.step
    async def work(message: Message, context: Context) -> StepResult:
        if broken:
            raise MessageUnusable("the payer list lacks a line")
        return None

    text = WORK.replace("inbox: {kind: probe_in}", 'inbox: {kind: mllp_listener, port: "0", reply: after_flow}')
    async with running_hub(clinic_folder(tmp_path, text)) as hub, EhrClient("127.0.0.1", port_of(hub, "inbox")) as ehr:
        assert (await ehr.send(adt("M1"))).code == "AE"
        broken = False
        assert (await ehr.send(adt("M1"))).code == "AA"
        assert len(world.runs) == 2


async def test_a_message_no_flow_wants_is_kept_and_says_so(world: World, tmp_path: Path) -> None:
    async with running_hub(clinic_folder(tmp_path, INBOX)) as hub:
        await deliver(hub, adt("M1"))
        [found] = await ask(hub, "messages.list", control_id="M1")
        assert (found["state"], found["reason"]) == ("skipped", "no flow wants it")


# Whatever the bytes are.

UNESCAPED = adt("M1").replace(b"^~\\&", b"^~!&")
HOSTILE = {
    "empty": b"",
    "no-hl7": b"\x00\xff\xfe garbage",
    "only-msh": b"MSH|",
    "zero-bytes": adt("M\x001"),
    "latin-1": adt("M1", family="M\xfcller").decode().encode("latin-1"),
    "cut-utf-8": adt("M1", family="DOE") + b"ZZZ|\xe2\x82",
    "charset-that-does-not-exist": adt("M1").replace(b"|P|2.5", b"|P|2.5||||||KLINGON"),
    "charset-that-is-no-charset": adt("M1").replace(b"|P|2.5", b"|P|2.5||||||undefined"),
    "charset-that-makes-half-characters": adt("M1").replace(b"|M1|P|2.5", b"|M+2AA-1|P|2.5||||||utf-7"),
    "charset-that-runs-escapes": UNESCAPED.replace(b"|M1|P|2.5", b"|M\\ud8001|P|2.5||||||unicode_escape"),
    "half-character-as-patient": UNESCAPED.replace(b"|00042^", b"|+2AA-^").replace(b"|P|2.5", b"|P|2.5||||||utf-7"),
    "long-control-id": adt("M" * 50_000),
    "long-patient-id": adt("M1", "9" * 50_000),
    "a-thousand-patients": adt("M1", more=tuple(f"PID|{n}||{n}^^^RIVER^MR" for n in range(1000))),
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
async def test_whatever_the_bytes_are_they_are_kept_as_they_came(world: World, tmp_path: Path, body: bytes) -> None:
    """The codec's keys are a total function, so no content can make a delivery fail."""
    async with running_hub(clinic_folder(tmp_path, WORK)) as hub:
        receipt = await deliver(hub, body)
        assert (await hub.core.bodies.load(receipt.ids[0])).body == body
        after = await deliver(hub, adt("AFTER", "another"))
        assert await after.outcome(5.0) == "delivered"
        await settled(hub)


# A hub that starts or stops badly.


@pytest.mark.only_sqlite
async def test_the_store_is_free_again_after_a_start_that_failed(tmp_path: Path) -> None:
    async with running_hub(clinic_folder(tmp_path / "a", 'connections:\n  ehr: {kind: mllp_listener, port: "0"}\n')) as hub:
        taken = clinic_folder(tmp_path / "b", f'connections:\n  ehr: {{kind: mllp_listener, port: "{port_of(hub, "ehr")}"}}\n')
        with pytest.raises(HubError, match="cannot listen"):
            async with running_hub(taken):
                raise AssertionError("it started on a port that is in use")
    async with running_hub(taken):
        pass


async def test_a_store_that_was_changed_by_hand_does_not_keep_the_hub_from_delivering(
    world: World, tmp_path: Path, store: Place
) -> None:
    """Highest numbers are taken from the store, so rows that vanished make no clash."""
    file = clinic_folder(tmp_path, INBOX)
    async with running_hub(file) as hub:
        await deliver(hub, adt("M1"), adt("M2"), adt("M3"))
    tamper(store, "DELETE FROM message WHERE seq = 2")
    async with running_hub(file) as hub:
        await deliver(hub, adt("M4"))
        assert [seq for (seq,) in rows(store, "SELECT seq FROM message ORDER BY seq")] == [1, 3, 4]
