"""Pause, resume and drain: durable, audited, nothing lost, order kept, the others go on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from hub.bus.core import open_core
from hub.bus.operations import Operations
from hub.clinic import load_clinic
from hub.errors import ConnectionDown, MessageRejected, NotFound, Refused, StoreFull
from hub.message import Message
from tests.hub.bus.probe import (
    Place,
    World,
    adt,
    control_ids,
    deliver,
    disk_is_full,
    in_turn,
    rows,
    states,
    there_is_space_again,
)
from tests.support import ask, clinic_folder, port_of, running_hub, settled, until

pytestmark = pytest.mark.both_stores

FLOW = """
connections:
  inbox: {kind: probe_in}
  pms: {kind: probe_out, on_rejected: hold, retry: {first: 10ms, most: 20ms}}
  lab: {kind: probe_out}
flows:
  work: {from: inbox, steps: [{send: pms}]}
  copy: {from: inbox, steps: [{send: lab}]}
"""


@pytest.fixture
def file(world: World, tmp_path: Path) -> Path:
    return clinic_folder(tmp_path, FLOW)


async def state_of(hub: Any, route: str) -> str:
    [line] = [line for line in await ask(hub, "routes", name=route.partition(":")[2]) if line["route"] == route]
    return str(line["state"])


@pytest.mark.parametrize("name", ["pms", "work"])
async def test_a_paused_route_keeps_its_work_over_a_restart_and_the_others_go_on(
    file: Path, world: World, store: Place, name: str
) -> None:
    ids = [f"M{n}" for n in range(10)]
    async with running_hub(file) as hub:
        [told] = await ask(hub, "pause", name=name)
        assert told["state"] == "paused"
        await in_turn(hub, [adt(id) for id in ids[:5]])
        await until(lambda: len(world.bodies("lab")) == 5)
    async with running_hub(file) as hub:
        await in_turn(hub, [adt(id) for id in ids[5:]])
        await until(lambda: len(world.bodies("lab")) == 10)
        assert world.bodies("pms") == []
        status = await ask(hub, "status")
        assert [line["state"] for line in status["connections"] + status["flows"] if line["name"] == name] == ["paused"]
        [told] = await ask(hub, "resume", name=name)
        assert told["state"] == "running"
        await settled(hub)
    assert control_ids(world.sent["pms"]) == control_ids(world.sent["lab"]) == ids
    assert rows(store, "SELECT name FROM route_state") == []
    assert rows(store, "SELECT action, object FROM audit WHERE action IN ('pause', 'resume')") == [
        ("pause", name),
        ("resume", name),
    ]


async def test_pause_returns_when_what_was_under_way_has_ended(file: Path, world: World) -> None:
    going = asyncio.Event()

    @world.partner
    async def pms(_: Message) -> None:
        going.set()
        await asyncio.sleep(0.2)

    async with running_hub(file) as hub:
        await in_turn(hub, [adt("M1"), adt("M2")])
        await going.wait()
        [told] = await ask(hub, "pause", name="pms")
        assert told["under_way"] == 0
        sent = len(world.bodies("pms"))
        await asyncio.sleep(0.3)
        assert len(world.bodies("pms")) == sent


async def test_a_paused_source_takes_nothing_and_can_be_opened_again(world: World, tmp_path: Path) -> None:
    file = clinic_folder(
        tmp_path,
        "connections: {ehr: {kind: mllp_listener, port: '0'}}\nflows: {work: {from: ehr, steps: [{probe: work}]}}\n",
    )
    async with running_hub(file) as hub:
        await ask(hub, "drain", name="ehr")
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", port_of(hub, "ehr"))
    async with running_hub(file) as hub:
        assert hub.ready
        assert not hub.is_open("ehr"), "also after a restart"
        await ask(hub, "resume", name="ehr")
        _, writer = await asyncio.open_connection("127.0.0.1", port_of(hub, "ehr"))
        writer.close()


async def test_a_source_that_cannot_be_opened_stays_paused(file: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_hub(file) as hub:
        await ask(hub, "pause", name="inbox")

        async def taken(*_: Any) -> None:
            raise ConnectionDown("the port is taken")

        with monkeypatch.context() as patched:
            patched.setattr(type(hub.sources["inbox"]), "open", taken)
            with pytest.raises(ConnectionDown):
                await ask(hub, "resume", name="inbox")
        assert await state_of(hub, "from:inbox") == "paused"
        await ask(hub, "resume", name="inbox")
        await deliver(hub, adt("M1"))
        await settled(hub)
    assert control_ids(world.sent["pms"]) == ["M1"]


async def test_a_drain_does_what_is_there_and_keeps_what_is_newer(file: Path, world: World) -> None:
    gate = asyncio.Event()

    @world.partner
    async def pms(_: Message) -> None:
        await gate.wait()

    async with running_hub(file) as hub:
        await in_turn(hub, [adt(f"M{n}", str(n % 3)) for n in range(6)])
        await until(lambda: world.bodies("pms"))
        await until(lambda: len(world.bodies("lab")) == 6)
        [told] = await ask(hub, "drain", name="pms")
        assert told["state"] == "draining"
        await in_turn(hub, [adt(f"N{n}", str(n % 3)) for n in range(6)])
        gate.set()

        async def drained() -> bool:
            return await state_of(hub, "to:pms") == "paused"

        await until(drained)
        assert sorted(control_ids(world.sent["pms"])) == [f"M{n}" for n in range(6)]
        await ask(hub, "resume", name="pms")
        await settled(hub)
    assert sorted(control_ids(world.sent["pms"])[6:]) == [f"N{n}" for n in range(6)]


async def test_a_drain_goes_on_after_a_restart_and_held_work_does_not_keep_it_from_its_end(
    file: Path, world: World, store: Place
) -> None:
    @world.partner
    async def pms(message: Message) -> None:
        if b"BAD" in message.body:
            raise MessageRejected("no", answer="AR", final=True)
        raise ConnectionDown("away")

    async with running_hub(file) as hub:
        await in_turn(hub, [adt("BAD1", "1"), adt("M2", "1"), adt("M3", "2")])
        await until(lambda: len(world.bodies("lab")) == 3)
        await ask(hub, "drain", name="pms")
        await deliver(hub, adt("N4", "3"))
        await until(lambda: "held" in states(store, "to:pms"))
    world.partners.clear()
    world.sent.clear()
    async with running_hub(file) as hub:

        async def drained() -> bool:
            return await state_of(hub, "to:pms") == "paused"

        await until(drained)
        assert control_ids(world.sent["pms"]) == ["M3"]
        await ask(hub, "resume", name="pms")
        await until(lambda: control_ids(world.sent["pms"]) == ["M3", "N4"])


async def test_a_name_must_be_one_that_is_there_and_mean_one_thing(world: World, tmp_path: Path) -> None:
    file = clinic_folder(
        tmp_path, "connections: {inbox: {kind: probe_in}}\nflows: {inbox: {from: inbox, steps: [{probe: x}]}}\n"
    )
    async with running_hub(file) as hub:
        with pytest.raises(NotFound, match="inbox"):
            await ask(hub, "pause", name="outbox")
        with pytest.raises(Refused, match="flow:inbox"):
            await ask(hub, "pause", name="inbox")
        [told] = await ask(hub, "pause", name="flow:inbox")
        assert told["route"] == "flow:inbox"


@pytest.mark.only_sqlite
async def test_what_cannot_be_written_has_not_happened(file: Path, world: World) -> None:
    async def stop_and_go() -> None:
        while True:
            await ask(hub, "pause", name="pms")
            await ask(hub, "resume", name="pms")

    async with running_hub(file) as hub:
        disk_is_full(hub)
        with pytest.raises(StoreFull):  # once the free pages are used up
            await stop_and_go()
        there_is_space_again(hub)
        await ask(hub, "resume", name="pms")
        await deliver(hub, adt("M1"))
        await settled(hub)
    assert control_ids(world.sent["pms"]) == ["M1"]


async def test_without_a_running_hub_it_counts_from_the_next_start(file: Path, world: World) -> None:
    core = await open_core(load_clinic(file))
    try:
        [told] = await Operations(core).run("pause", {"name": "pms"}, "carla")
    finally:
        await core.close()
    assert told["state"] == "paused"
    async with running_hub(file) as hub:
        await deliver(hub, adt("M1"))
        await until(lambda: world.bodies("lab"))
        assert world.bodies("pms") == []
