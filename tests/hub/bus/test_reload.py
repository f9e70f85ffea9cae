"""`hub reload`: a checked file takes the place of the old one, or the old one stays; nothing is lost, nobody is cut off."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from pathlib import Path

import pytest

from connectors.mllp.framing import framed
from hub.bus.core import open_core
from hub.bus.hub import Hub
from hub.bus.operations import Operations
from hub.clinic import load_clinic
from hub.errors import ConfigError, ConnectionDown, Refused, Unreachable
from hub.message import Message
from tests.hub.bus.probe import Place, World, adt, control_ids, deliver, in_turn, one, rows, states
from tests.support import HubProcess, ask, clinic_folder, port_of, run_hub, running_hub, settled, until

pytestmark = pytest.mark.both_stores

FLOW = """
connections:
  inbox: {kind: probe_in}
  ehr: {kind: mllp_listener, port: "0"}
  pms: {kind: probe_out}
  lab: {kind: probe_out}
flows:
  work: {from: inbox, steps: [{send: pms}]}
  copy: {from: ehr, steps: [{send: lab}]}
"""


@pytest.fixture
def file(world: World, tmp_path: Path) -> Path:
    return clinic_folder(tmp_path, FLOW)


def change(file: Path, before: str, after: str) -> None:
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))


async def test_what_did_not_change_keeps_its_link_and_what_did_counts_at_once(file: Path, world: World, store: Place) -> None:
    async with running_hub(file) as hub:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(hub, "ehr"))
        instance = hub.targets["to:lab"]
        settled_again: list[bool] = []
        hub.on_settled = lambda: settled_again.append(True)
        change(file, "work: {from: inbox, steps: [{send: pms}]}", "work: {from: inbox, steps: [{send: pms}, {probe: more}]}")
        change(file, "pms: {kind: probe_out}", "pms: {kind: probe_out, parallel: '2'}\n  third: {kind: probe_out}")
        change(file, "  copy:", "  again: {from: inbox, steps: [{send: third}]}\n  copy:")
        told = await ask(hub, "reload")
        assert told == {
            "connections_added": ["third"],
            "connections_changed": ["pms"],
            "connections_gone": [],
            "flows_added": ["again"],
            "flows_changed": ["work"],
            "flows_gone": [],
        }
        assert hub.targets["to:lab"] is instance
        assert settled_again == [True]
        writer.write(framed(adt("E1")))
        assert b"MSA|AA|E1" in await asyncio.wait_for(reader.readuntil(b"\x1c\r"), 5), "over the link it had"
        writer.close()
        await deliver(hub, adt("M1"))
        await settled(hub)
        assert hub.targets["to:pms"].parallel == 2
    assert [control_ids(world.sent[name]) for name in ("pms", "third", "lab")] == [["M1"], ["M1"], ["E1"]]
    assert [step for step, _ in world.runs] == ["more"]
    [(actor, detail)] = rows(store, "SELECT actor, detail FROM audit WHERE action = 'reload'")
    assert actor == "test"
    assert "connections changed: pms" in detail


async def test_a_file_with_mistakes_changes_nothing_and_all_of_them_are_told(file: Path, world: World) -> None:
    async with running_hub(file) as hub:
        change(file, "{send: pms}", "{send: nobody}, {stamp: x}")
        with pytest.raises(ConfigError) as error:
            await ask(hub, "reload")
        assert len(error.value.problems) == 2
        await deliver(hub, adt("M1"))
        await settled(hub)
    assert control_ids(world.sent["pms"]) == ["M1"]


@pytest.mark.only_sqlite
@pytest.mark.parametrize(
    ("before", "after", "words"),
    [("sqlite:///var/hub.db", "sqlite:///var/other.db", "store"), ("log:", "disable: folder\nlog:", "disable")],
)
async def test_what_needs_a_restart_is_refused(file: Path, world: World, before: str, after: str, words: str) -> None:
    async with running_hub(file) as hub:
        change(file, before, after)
        with pytest.raises(Refused, match=words):
            await ask(hub, "reload")


async def test_a_source_that_cannot_be_opened_puts_everything_back(file: Path, world: World, store: Place) -> None:
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    async with taken, running_hub(file) as hub:
        change(file, 'ehr: {kind: mllp_listener, port: "0"}', f'ehr: {{kind: mllp_listener, port: "{port}"}}')
        change(file, "work: {from: inbox, steps: [{send: pms}]}", "other: {from: inbox, steps: [{send: new}]}")
        change(file, "lab: {kind: probe_out}", "lab: {kind: probe_out}\n  new: {kind: probe_out}")
        with pytest.raises(ConnectionDown, match=str(port)):
            await ask(hub, "reload")
        assert set(hub.targets) == {"flow:work", "flow:copy", "to:pms", "to:lab"}
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(hub, "ehr"))
        writer.write(framed(adt("E1")))
        assert b"MSA|AA|E1" in await asyncio.wait_for(reader.readuntil(b"\x1c\r"), 5)
        writer.close()
        await deliver(hub, adt("M1"))
        await settled(hub)
        assert [detail for (detail,) in rows(store, "SELECT detail FROM audit WHERE action = 'reload' ORDER BY seq")][1:] == [
            "left as it was: NET-010"
        ]
        change(file, str(port), "0")
        await ask(hub, "reload")
        await deliver(hub, adt("M2"))
        await settled(hub)
    assert control_ids(world.sent["pms"]) == ["M1"]
    assert control_ids(world.sent["lab"]) == ["E1"]
    assert control_ids(world.sent["new"]) == ["M2"]


async def test_open_work_whose_home_is_gone_is_held_and_goes_on_when_it_is_back(file: Path, world: World, store: Place) -> None:
    async with running_hub(file) as hub:
        await ask(hub, "pause", name="pms")
        await in_turn(hub, [adt(f"M{n}", "7") for n in range(3)])
        await until(lambda: states(store, "to:pms") == ["waiting"] * 3)
        before = file.read_text()
        change(file, "{send: pms}", "{send: lab}")
        change(file, "  pms: {kind: probe_out}\n", "")
        await ask(hub, "reload")
        assert states(store, "to:pms") == ["held"] * 3
        assert "no connection 'pms'" in one(store, "SELECT min(reason) FROM work WHERE target = 'to:pms'")
        assert rows(store, "SELECT name FROM route_state") == []
        await deliver(hub, adt("N1"))
        await until(lambda: world.bodies("lab"))
        file.write_text(before)
        await ask(hub, "reload")
        await ask(hub, "replay", state="held", yes=3)
        await settled(hub)
    assert control_ids(world.sent["pms"]) == ["M0", "M1", "M2"]


async def test_work_that_waits_at_a_step_that_is_gone_is_held(world: World, tmp_path: Path, store: Place) -> None:
    text = """
connections:
  inbox: {kind: probe_in}
  payer: {kind: probe_out, answer: "yes"}
flows:
  work: {from: inbox, steps: [{ask: payer}, {probe: after}]}
"""
    file = clinic_folder(tmp_path, text)
    async with running_hub(file) as hub:
        await ask(hub, "pause", name="payer")
        await deliver(hub, adt("M1"))
        await until(lambda: states(store, "to:payer") == ["waiting"])
        await ask(hub, "pause", name="work")
        await ask(hub, "resume", name="payer")
        await until(lambda: states(store, "flow:work") == ["delivered", "waiting"])
        change(file, "{probe: after}", "{probe: other}")
        await ask(hub, "reload")
        await ask(hub, "resume", name="work")
        await until(lambda: states(store, "flow:work") == ["delivered", "held"])
        change(file, "{probe: other}", "{probe: other}, {probe: after}")
        await ask(hub, "reload")
        await ask(hub, "replay", state="held", yes=1)
        await settled(hub)
    assert [step for step, _ in world.runs] == ["after"]


async def test_what_a_changed_connection_is_sending_ends_before_it_goes_on_as_the_new_file_says(
    file: Path, world: World, store: Place
) -> None:
    gate, at_once, most = asyncio.Event(), 0, 0

    @world.partner
    async def pms(_: Message) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await gate.wait()
        at_once -= 1

    async with running_hub(file) as hub:
        await in_turn(hub, [adt(f"M{n}", "7") for n in range(3)])
        await until(lambda: at_once == 1)
        change(file, "pms: {kind: probe_out}", "pms: {kind: probe_out, parallel: '4'}")
        going = asyncio.create_task(ask(hub, "reload"))
        await asyncio.sleep(0.1)
        await deliver(hub, adt("M3", "7"))
        gate.set()
        await going
        await settled(hub)
    assert control_ids(world.sent["pms"]) == ["M0", "M1", "M2", "M3"]
    assert most == 1, "two objects never send for one patient at once"


@pytest.mark.parametrize("times", [15, pytest.param(100, marks=pytest.mark.long)])
async def test_reloads_under_load_lose_nothing_and_keep_the_order(file: Path, world: World, store: Place, times: int) -> None:
    """Every reload changes a flow and the connection it sends to; each third file is wrong."""
    good = file.read_text()
    count = 0
    going = True

    async def load(hub: Hub) -> None:
        nonlocal count
        while going:
            await deliver(hub, adt(f"M{count}", str(count % 5)))
            count += 1
            await asyncio.sleep(0.001)

    async with running_hub(file) as hub:
        sending = asyncio.create_task(load(hub))
        refused = 0
        for number in range(times):
            text = good.replace("pms: {kind: probe_out}", f"pms: {{kind: probe_out, parallel: '{1 + number % 7}'}}")
            text = text.replace("steps: [{send: pms}]", f"steps: [{{probe: step{number}}}, {{send: pms}}]")
            file.write_text(text if number % 3 else text.replace("{send: lab}", "{send: nobody}"))
            try:
                await ask(hub, "reload")
            except ConfigError:
                refused += 1
        going = False
        await sending
        await settled(hub, 30)
        assert refused == -(-times // 3)
    ids = control_ids(world.sent["pms"])
    assert sorted(ids) == sorted(f"M{n}" for n in range(count))
    for patient in range(5):
        own = [int(id[1:]) for id in ids if int(id[1:]) % 5 == patient]
        assert own == sorted(own)


async def test_at_rest_there_is_nothing_to_reload(file: Path) -> None:
    core = await open_core(load_clinic(file))
    try:
        with pytest.raises(Unreachable, match="when it starts"):
            await Operations(core).run("reload", {}, "carla")
    finally:
        await core.close()


@pytest.mark.only_sqlite
def test_the_command_and_the_signal(world: World, tmp_path: Path, plugin_env: dict[str, str]) -> None:
    file = clinic_folder(tmp_path, FLOW)

    def flows() -> list[str]:
        done = run_hub("status", "--json", "-c", file, env=plugin_env)
        return [flow["name"] for flow in json.loads(done.stdout)["flows"]]

    with HubProcess(file, env=plugin_env) as hub:
        change(file, "  copy:", "  more: {from: inbox, steps: [{send: lab}]}\n  copy:")
        done = run_hub("reload", "-c", file, "--json", env=plugin_env)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["flows_added"] == ["more"]
        change(file, "{send: pms}", "{send: nobody}")
        done = run_hub("reload", "-c", file, env=plugin_env)
        assert done.returncode == 2
        assert "clinic.yaml:" in done.stderr
        assert flows() == ["work", "more", "copy"]
        change(file, "{send: nobody}", "{send: pms}")
        change(file, "  more: {from: inbox, steps: [{send: lab}]}\n", "")
        assert hub.process is not None
        hub.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + 10
        while flows() != ["work", "copy"]:
            assert time.monotonic() < end
            time.sleep(0.1)
    done = run_hub("reload", "-c", file, env=plugin_env)
    assert done.returncode == 4
