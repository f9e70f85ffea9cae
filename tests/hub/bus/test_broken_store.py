"""When the store cannot be written: nothing is acknowledged, a full disk is waited out, a broken one ends the hub."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from pathlib import Path

import pytest

from connectors.simulators.ehr import EhrClient
from hub.errors import HubError, MessageRejected, StoreBroken, StoreFull
from hub.message import Message
from hub.step import Context, StepResult
from tests.hub.bus.probe import (
    World,
    adt,
    control_ids,
    deliver,
    disk_is_full,
    in_turn,
    long_adt,
    one,
    rows,
    states,
    there_is_space_again,
)
from tests.support import HubProcess, ask, clinic_folder, free_port, port_of, running_hub, settled, until

FLOW = """
connections:
  inbox: {kind: @KIND@}
  pms: {kind: probe_out, answer: yes}
flows:
  work: {from: inbox, steps: [{probe: work}, {send: pms}]}
"""


def clinic(folder: Path, kind: str = "probe_in") -> Path:
    return clinic_folder(folder, FLOW.replace("@KIND@", kind))


# A full disk.


async def test_on_a_full_disk_nothing_is_acknowledged_and_afterwards_all_goes_on(
    world: World, tmp_path: Path, store: Path
) -> None:
    file = clinic(tmp_path, 'mllp_listener, port: "0"')
    async with running_hub(file) as hub:
        port = port_of(hub, "inbox")
        async with EhrClient("127.0.0.1", port) as ehr:
            assert (await ehr.send(adt("M1"))).code == "AA"
        await settled(hub)
        disk_is_full(hub)
        for number in range(3):
            async with EhrClient("127.0.0.1", port) as ehr:
                with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                    await ehr.send(long_adt(f"FULL{number}"))
        assert one(store, "SELECT count(*) FROM message WHERE direction = 'in'") == 1
        there_is_space_again(hub)
        async with EhrClient("127.0.0.1", port) as ehr:
            for number in range(3):
                assert (await ehr.send(long_adt(f"FULL{number}"))).code == "AA"
        await settled(hub)
        assert hub.core.journal.broken is None
    assert control_ids(world.sent["pms"]) == ["M1", "FULL0", "FULL1", "FULL2"]


async def test_a_full_disk_is_told_to_whoever_delivers(world: World, tmp_path: Path) -> None:
    async with running_hub(clinic(tmp_path)) as hub:
        disk_is_full(hub)
        with pytest.raises(StoreFull, match="disk of the store is full"):
            await deliver(hub, long_adt("M1"))


async def test_a_flow_waits_for_space_and_quarantines_nothing(world: World, tmp_path: Path, store: Path) -> None:
    @world.step
    async def work(message: Message, context: Context) -> StepResult:
        if not full:
            full.append(True)
            disk_is_full(hub)
        return message.derive(long_adt("M1"), format="hl7v2")

    full: list[bool] = []
    async with running_hub(clinic(tmp_path)) as hub:
        receipt = await deliver(hub, adt("M1"))
        assert await receipt.outcome(0.3) == "waiting"
        there_is_space_again(hub)
        assert await receipt.outcome(5.0) == "delivered"
        await settled(hub)
    assert states(store, "flow:work") == ["delivered"]


async def test_what_a_partner_took_is_not_sent_again_because_the_disk_was_full(
    world: World, tmp_path: Path, store: Path
) -> None:
    """The outcome of a send waits for space; it cannot be undone."""

    @world.partner
    async def pms(message: Message) -> None:
        disk_is_full(hub)
        raise MessageRejected("no: " + "x" * 100_000, answer="AR", final=True)

    async with running_hub(clinic(tmp_path)) as hub:
        await deliver(hub, adt("M1"))
        await until(lambda: world.sent.get("pms"))
        with contextlib.suppress(AssertionError):
            await until(lambda: states(store, "to:pms") != ["waiting"], timeout=0.3)
        assert states(store, "to:pms") == ["waiting"]
        there_is_space_again(hub)
        await settled(hub)
    assert states(store, "to:pms") == ["quarantined"]
    assert len(world.sent["pms"]) == 1


# Large bodies have files of their own, which can fail too.


def no_room_for_files(store: Path) -> list[Path]:
    """Nothing can be written where large bodies go: their folders are taken by files."""
    blocked = [store.with_name(store.name + ".files") / f"{number:02x}" for number in range(256)]
    for path in blocked:
        path.write_bytes(b"")
    return blocked


def large_adt(control_id: str) -> bytes:
    return long_adt(control_id, size=300_000)


async def test_a_large_body_that_cannot_be_written_is_not_acknowledged(world: World, tmp_path: Path, store: Path) -> None:
    file = clinic(tmp_path, 'mllp_listener, port: "0"')
    async with running_hub(file) as hub:
        port = port_of(hub, "inbox")
        blocked = no_room_for_files(store)
        async with EhrClient("127.0.0.1", port) as ehr:
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await ehr.send(large_adt("M1"), timeout=2)
        for path in blocked:
            path.unlink()
        async with EhrClient("127.0.0.1", port) as ehr:
            assert (await ehr.send(large_adt("M1"))).code == "AA"
        await settled(hub)
    assert one(store, "SELECT count(*) FROM message WHERE direction = 'in'") == 1


async def test_a_large_body_that_cannot_be_written_is_an_error_of_the_hub(world: World, tmp_path: Path, store: Path) -> None:
    async with running_hub(clinic(tmp_path)) as hub:
        no_room_for_files(store)
        with pytest.raises(HubError):
            await deliver(hub, large_adt("M1"))


async def test_a_flow_waits_until_its_large_bodies_can_be_written(world: World, tmp_path: Path, store: Path) -> None:
    """The disk is at fault and not the message: it waits, it is not quarantined."""

    @world.step
    async def work(message: Message, context: Context) -> StepResult:
        return message.derive(large_adt("M1"), format="hl7v2")

    async with running_hub(clinic(tmp_path)) as hub:
        blocked = no_room_for_files(store)
        receipt = await deliver(hub, adt("M1"))
        assert await receipt.outcome(0.5) == "waiting"
        for path in blocked:
            path.unlink()
        assert await receipt.outcome(5.0) == "delivered"


async def test_a_large_answer_waits_until_it_can_be_written(world: World, tmp_path: Path, store: Path) -> None:
    """The partner has answered: the answer must not be lost, and its lane must not stand still for ever."""

    @world.partner
    async def pms(message: Message) -> Message:
        return Message(b"y" * 300_000, "bytes")

    text = FLOW.replace("@KIND@", "probe_in").replace("{probe: work}, {send: pms}", "{ask: pms}, {probe: work}")
    async with running_hub(clinic_folder(tmp_path, text)) as hub:
        blocked = no_room_for_files(store)
        await in_turn(hub, [adt("M1")])
        await until(lambda: world.sent.get("pms"))
        for path in blocked:
            path.unlink()
        await until(lambda: [name for name, _ in world.runs] == ["work"], timeout=4)


# A broken disk.


def limited(file: Path, megabytes: float) -> subprocess.Popen[str]:
    """`hub run` in a process whose files may not grow beyond so many bytes: each write beyond fails with an I/O error."""

    limit = f"import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({int(megabytes * 1_000_000)}, -1))"
    script = f"{limit}; os.execv(sys.executable, [sys.executable, '-m', 'hub', 'run', '-c', {str(file)!r}])"
    return subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)


async def test_an_io_error_of_the_store_stops_the_hub_with_a_clear_word_and_loses_nothing(tmp_path: Path, store: Path) -> None:
    port = free_port()
    text = f'connections:\n  ehr: {{kind: mllp_listener, port: "{port}"}}\n'
    file = clinic_folder(tmp_path, text + "flows:\n  f: {from: ehr, steps: [{map: adt_to_patient}, {save: patient}]}\n")
    process = await asyncio.to_thread(limited, file, 1.0)
    acknowledged = []
    try:
        await until(lambda: listening(port), timeout=20)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            async with EhrClient("127.0.0.1", port) as ehr:
                for number in range(100):
                    if (await ehr.send(long_adt(f"M{number}"))).code == "AA":
                        acknowledged.append(f"M{number}")
        said = (await asyncio.to_thread(process.communicate, None, 20))[1]
    finally:
        process.kill()
    assert process.returncode == 4
    assert "stopped: the store cannot be written" in said
    assert "Traceback" not in said
    assert 0 < len(acknowledged) < 100
    with HubProcess(file):
        kept = [id for (id,) in rows(store, "SELECT control_id FROM message WHERE direction = 'in' ORDER BY seq")]
        assert kept[: len(acknowledged)] == acknowledged
        await until(lambda: set(states(store, "flow:f")) == {"delivered"})


def listening(port: int) -> bool:
    import socket

    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


async def test_a_broken_store_is_told_to_all_who_wait_and_to_all_who_come(world: World, tmp_path: Path, store: Path) -> None:
    async with running_hub(clinic(tmp_path)) as hub:
        await deliver(hub, adt("M1"))
        await settled(hub)
        hub.core.store.writer.connection.close()  # as a disk that is gone: no statement works any more
        waiting = [asyncio.ensure_future(deliver(hub, adt(f"W{number}", str(number)))) for number in range(20)]
        results = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 5)
        assert {type(result) for result in results} == {StoreBroken}
        assert isinstance(await asyncio.wait_for(hub.failed, 2), StoreBroken)
        assert not hub.ready
        began = time.monotonic()
        with pytest.raises(StoreBroken):
            await deliver(hub, adt("M2"))
        assert time.monotonic() - began < 1
        with pytest.raises(HubError):
            await ask(hub, "messages.list")


async def test_readers_go_on_while_the_disk_is_full(world: World, tmp_path: Path) -> None:
    async with running_hub(clinic(tmp_path)) as hub:
        await deliver(hub, adt("M1"))
        await settled(hub)
        disk_is_full(hub)
        with pytest.raises(StoreFull):
            await deliver(hub, long_adt("M2"))
        assert (await ask(hub, "status"))["ready"] is True
        assert len(await hub.core.reader.messages_by_seq([1, 2])) == 2
