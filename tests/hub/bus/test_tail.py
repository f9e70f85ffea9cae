"""`hub tail`: messages as they come, each once, in order, masked unless asked for, audited once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from connectors.simulators.ehr import EhrClient
from hub.bus import tail
from hub.bus.operations import MASK, Operations
from hub.errors import NotFound
from tests.hub.bus.probe import World, adt, deliver, in_turn, one, siu
from tests.support import HubProcess, clinic_folder, free_port, json_lines, run_hub, running_hub

FLOW = """
connections:
  inbox: {kind: probe_in}
  other: {kind: probe_in}
flows:
  work: {from: inbox, steps: [{probe: work}]}
"""
LISTENER = """
connections:
  ehr: {kind: mllp_listener, port: "@IN@"}
flows:
  registrations: {from: ehr, when: {type: ADT^*}, steps: [{map: adt_to_patient}, {save: patient}]}
"""


@pytest.fixture
def file(world: World, tmp_path: Path) -> Path:
    return clinic_folder(tmp_path, FLOW)


class Look:
    def __init__(self, hub: Any) -> None:
        self.operations = Operations(hub.core, hub)

    async def begin(self, **params: Any) -> list[Any]:
        found = await self.operations.run("tail.begin", params, "carla")
        self.id = found["tail"]
        return list(found["messages"])

    async def next(self) -> list[Any]:
        return list((await self.operations.run("tail.next", {"tail": self.id}, "carla"))["messages"])


async def test_each_message_comes_once_in_order_and_the_look_is_audited_once(file: Path, store: Path) -> None:
    async with running_hub(file) as hub:
        await in_turn(hub, [adt("M1"), adt("M2")])
        look = Look(hub)
        assert [m["control_id"] for m in await look.begin(last=1)] == ["M2"]
        seen: list[str] = []
        for n in range(5):
            await deliver(hub, adt(f"N{n}"))
            if n % 2:
                seen += [m["control_id"] for m in await look.next()]
        seen += [m["control_id"] for m in await look.next()]
        assert seen == [f"N{n}" for n in range(5)]
    assert one(store, "SELECT count(*) FROM audit WHERE action LIKE 'tail.%'") == 1


async def test_it_waits_for_what_comes_and_shows_only_what_was_asked_for(file: Path) -> None:
    async with running_hub(file) as hub:
        look = Look(hub)
        await look.begin(connection="inbox", type="SIU^*")
        waiting = asyncio.create_task(look.next())
        await deliver(hub, adt("M1", "7"))
        await deliver(hub, siu("M2", "F-1", "202701010900"), source="other")
        await deliver(hub, siu("M3", "F-77", "202701010900", "7"))
        [message] = await waiting
        assert (message["control_id"], message["appointment"], message["patient"]) == ("M3", "F-77", MASK)


async def test_patient_data_is_shown_when_it_is_asked_for(file: Path) -> None:
    async with running_hub(file) as hub:
        look = Look(hub)
        await look.begin(phi=True)
        await deliver(hub, adt("M1", "7"))
        [message] = await look.next()
        assert message["patient"] == "7"


async def test_a_flood_is_shown_whole_in_pieces(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "AT_ONCE", 7)
    async with running_hub(file) as hub:
        look = Look(hub)
        await look.begin()
        await in_turn(hub, [adt(f"M{n}", str(n)) for n in range(20)])
        seen: list[str] = []
        while len(seen) < 20:
            piece = await look.next()
            assert 0 < len(piece) <= 7
            seen += [m["control_id"] for m in piece]
        assert seen == [f"M{n}" for n in range(20)]


async def test_a_look_nobody_asked_about_for_long_is_forgotten(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "MOST", 2)
    async with running_hub(file) as hub:
        operations = Operations(hub.core, hub)
        first = await operations.run("tail.begin", {}, "carla")
        for _ in range(2):
            await operations.run("tail.begin", {}, "carla")
        with pytest.raises(NotFound):
            await operations.run("tail.next", {"tail": first["tail"]}, "carla")


async def test_the_command_shows_what_comes_and_ends_with_the_hub(tmp_path: Path) -> None:
    port = free_port()
    file = clinic_folder(tmp_path, LISTENER.replace("@IN@", str(port)))
    assert run_hub("tail", "-c", file).returncode == 4, "no hub is running"
    hub = HubProcess(file)
    hub.start()
    try:
        async with EhrClient("127.0.0.1", port) as ehr:
            await ehr.send(adt("M1"))
            command = [sys.executable, "-m", "hub", "tail", "-c", str(file)]
            counted = subprocess.Popen([*command, "--json", "--last", "1", "--count", "2"], stdout=subprocess.PIPE, text=True)
            endless = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for n in range(100):
                await ehr.send(adt(f"N{n}"))
                await asyncio.sleep(0.05)
                if counted.poll() is not None and n > 40:
                    break
        out, _ = await asyncio.to_thread(counted.communicate, timeout=20)
        before, after = json_lines(out)
        assert after["seq"] == before["seq"] + 1
        assert counted.returncode == 0
    finally:
        hub.terminate()
    out, err = await asyncio.to_thread(endless.communicate, timeout=20)
    assert endless.returncode == 4, err
    assert "-> ehr" in out
