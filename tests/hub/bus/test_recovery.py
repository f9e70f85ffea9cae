"""After a restart (sentences 12 and 13): open work goes on in order, what has no home is held and named, memory is bounded."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from connectors.simulators.ehr import EhrClient
from hub.bus.bodies import CACHE_BYTES
from hub.bus.lanes import LIMIT
from hub.errors import ConnectionDown
from hub.message import Message
from hub.step import Context, StepResult
from tests.hub.bus.probe import Place, World, adt, control_ids, deliver, in_turn, rows, states
from tests.support import HubProcess, ask, clinic_folder, free_port, run_hub, running_hub, settled, until

pytestmark = pytest.mark.both_stores

FLOW = """
connections:
  inbox: {kind: probe_in}
  pms: {kind: probe_out, retry: {first: 1ms, most: 2ms}}
flows:
  work: {from: inbox, steps: [{probe: one}, {probe: two}, {send: pms}]}
"""


async def away(message: Message) -> None:
    raise ConnectionDown("pms: away")


async def not_yet(message: Message, context: Context) -> StepResult:
    raise ConnectionDown("not yet", retry_after=3600)


# In order.


async def test_open_work_of_flows_and_connections_goes_on_in_order_after_a_restart(
    world: World, tmp_path: Path, store: Place
) -> None:
    file = clinic_folder(tmp_path, FLOW)
    world.partners["pms"] = away  # type: ignore[assignment]
    async with running_hub(file) as hub:
        await deliver(hub, *(adt(f"P{n % 5}-{n}", f"P{n % 5}") for n in range(100)))
        await until(lambda: states(store, "flow:work") == ["delivered"] * 100)
        world.steps["one"] = not_yet
        await deliver(hub, *(adt(f"P{n % 5}-{n}", f"P{n % 5}") for n in range(100, 200)))
    world.partners.clear()
    world.steps.clear()
    world.sent.clear()
    async with running_hub(file) as hub:
        await settled(hub)
    arrived: dict[str, list[int]] = defaultdict(list)
    for id in control_ids(world.sent["pms"]):
        arrived[id.partition("-")[0]].append(int(id.partition("-")[2]))
    assert arrived == {f"P{p}": list(range(p, 200, 5)) for p in range(5)}


async def test_what_comes_in_while_the_backlog_is_read_keeps_its_place(world: World, tmp_path: Path) -> None:
    file = clinic_folder(tmp_path, FLOW)
    world.steps["one"] = not_yet
    async with running_hub(file) as hub:
        await deliver(hub, *(adt(f"M{n}") for n in range(500)))
    world.steps.clear()
    world.runs.clear()
    async with running_hub(file) as hub:
        for n in range(500, 600):
            await deliver(hub, adt(f"M{n}"))
        await settled(hub)
    assert control_ids(world.sent["pms"]) == [f"M{n}" for n in range(600)]


async def test_a_hub_that_was_killed_goes_on_where_it_was(tmp_path: Path, store: Place, plugin_env: dict[str, str]) -> None:
    port, gone = free_port(), tmp_path / "away"
    gone.touch()
    text = f"""
connections:
  ehr: {{kind: mllp_listener, port: "{port}"}}
  pms: {{kind: probe_out, log: "{tmp_path}/log", away_while: "{gone}", retry: {{first: 20ms, most: 50ms}}}}
flows:
  work: {{from: ehr, steps: [{{send: pms}}]}}
"""
    with HubProcess(clinic_folder(tmp_path, text), env=plugin_env) as hub:
        async with EhrClient("127.0.0.1", port) as ehr:
            for number in range(20):
                assert (await ehr.send(adt(f"M{number}"))).code == "AA"
        hub.kill()
        gone.unlink()
        await asyncio.to_thread(hub.start)
        await until(lambda: states(store, "to:pms") == ["delivered"] * 20)
    sent = (tmp_path / "log").read_text().split()
    assert sent == [id for (id,) in rows(store, "SELECT id FROM message WHERE direction = 'out' ORDER BY seq")]


# No home any more.


@pytest.mark.parametrize(
    ("before", "now", "words"),
    [
        pytest.param("  work: {from", "  other: {from", "there is no flow 'work' any more", id="flow"),
        pytest.param("{probe: two}", "{probe: three}", "the flow 'work' has no step 'probe:two' any more", id="step"),
        pytest.param("pms", "pms2", "there is no connection 'pms' to send to any more", id="connection"),
    ],
)
async def test_open_work_without_a_home_is_held_and_named_and_nothing_else_waits_for_it(
    world: World, tmp_path: Path, store: Place, plugin_env: dict[str, str], before: str, now: str, words: str
) -> None:
    text = FLOW.replace("{probe: one}, {probe: two}", "{ask: payer}, {probe: two}").replace(
        "  pms:", "  payer: {kind: probe_out, answer: yes}\n  pms:"
    )
    world.steps["two"] = not_yet
    target = "to:pms" if before == "pms" else "flow:work"
    if before == "pms":
        world.steps.clear()
        world.partners["pms"] = away  # type: ignore[assignment]
    async with running_hub(clinic_folder(tmp_path, text)) as hub:
        await in_turn(hub, [adt("M1"), adt("M2", "2")])
        await until(lambda: states(store, target)[-2:] == ["waiting", "waiting"])
        await until(lambda: len(world.sent["payer"]) == 2 and not states(store, "flow:work").count("parked"))
    world.steps.clear()
    world.partners.clear()
    changed = clinic_folder(tmp_path, text.replace(before, now))
    checked = await asyncio.to_thread(run_hub, "check", changed, env=plugin_env)
    assert f"2 message(s) in the store wait, but {words}" in checked.stdout + checked.stderr
    async with running_hub(changed) as hub:
        await until(lambda: states(store, target).count("held") == 2)  # what has lost its step: when its turn comes
        held = await ask(hub, "messages.list", state="held")
        assert len(held) == 2
        assert all(m["reason"].startswith(words) for m in held)
        new = await deliver(hub, adt("M3", "3"))
        assert await new.outcome(3.0) in ("delivered", "parked")
        await until(lambda: [m for m in world.sent.get(now if before == "pms" else "pms", []) if m.body == b"yes"])


async def test_held_work_whose_step_is_gone_goes_on_from_another_step(world: World, tmp_path: Path, store: Place) -> None:
    world.steps["one"] = not_yet
    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        receipt = await deliver(hub, adt("M1"))
        await until(lambda: world.runs)
    world.steps.clear()
    renamed = clinic_folder(tmp_path, FLOW.replace("  work: {from", "  work2: {from"))
    async with running_hub(renamed) as hub:
        assert [m["id"] for m in await ask(hub, "messages.list", state="held")] == list(receipt.ids)
    world.runs.clear()
    back = clinic_folder(tmp_path, FLOW)
    async with running_hub(back) as hub:
        await ask(hub, "replay", state="held", from_step="probe:two", yes=1)
        await settled(hub)
    assert [name for name, _ in world.runs] == ["two"]
    assert control_ids(world.sent["pms"]) == ["M1"]


async def test_an_answer_for_a_flow_that_is_gone_is_kept_and_held(world: World, tmp_path: Path, store: Place) -> None:
    asks = FLOW.replace("{probe: one}, {probe: two}, {send: pms}", "{ask: pms}, {probe: two}")
    world.partners["pms"] = away  # type: ignore[assignment]
    async with running_hub(clinic_folder(tmp_path, asks)) as hub:
        await deliver(hub, adt("M1"))
        await until(lambda: states(store, "flow:work") == ["parked"])

    @world.partner
    async def pms(message: Message) -> Message:
        return Message(b"a precious answer", "bytes")

    async with running_hub(clinic_folder(tmp_path, asks.replace("  work: {", "  other: {"))) as hub:
        await until(lambda: len(world.sent.get("pms", [])) > 1)

        async def is_held() -> bool:
            return bool(await ask(hub, "messages.list", state="held"))

        await until(is_held)
        [found] = await ask(hub, "messages.list", state="held")
        assert "does not exist any more" in found["reason"]
        assert (await ask(hub, "messages.show", id=found["id"], phi=True))["body"] == "a precious answer"


# Memory.

OUTAGE = """
import asyncio, gc, json, logging, resource, sys
from pathlib import Path
import structlog, uvloop
from hub.bus.hub import Hub
from hub.clinic import load_clinic
from hub.errors import ConnectionDown
from hub.message import Message
from tests.hub.bus.probe import WORLD, adt, deliver
from tests.support import settled, until

COUNT = int(sys.argv[2])
arrived, is_away = [], True

async def pms(message):
    if is_away:
        raise ConnectionDown("pms: away")
    arrived.append(message.body.split(b"|", 10)[9].decode())
    WORLD.sent.clear()

def memory():
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

async def main(file):
    global is_away
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    WORLD.partners["pms"] = pms
    hub = Hub(load_clinic(file))
    await hub.start()
    lanes, bodies = hub.targets["to:pms"].lanes, hub.core.bodies
    most, sizes, cached = 0, [], 0
    for start in range(0, COUNT, 1000):
        batch = [adt.__wrapped__(f"P{n % 50}-{n}", f"P{n % 50}", family="X" * 8000) for n in range(start, start + 1000)]
        await deliver(hub, *batch)
        await until(lambda: len(hub.targets["flow:work"].lanes) < 100)
        WORLD.sent.clear()
        most, cached = max(most, len(lanes)), max(cached, bodies._recent_bytes)
        sizes.append(memory())
    is_away = False
    began = asyncio.get_running_loop().time()
    await settled(hub, timeout=COUNT / 300)
    drained = asyncio.get_running_loop().time() - began
    await hub.stop()
    print(json.dumps({"lanes": most, "cached": cached, "sizes": sizes, "drained": drained, "arrived": arrived}))

uvloop.run(main(Path(sys.argv[1])))
"""


@pytest.mark.parametrize("count", [8_000, pytest.param(40_000, marks=pytest.mark.long)])
def test_thousands_of_messages_for_a_partner_that_is_away_cost_no_memory_and_arrive_in_order(
    count: int, tmp_path: Path, plugin_env: dict[str, str]
) -> None:
    """More than lanes hold, and more than the memory of bodies takes."""
    file = clinic_folder(
        tmp_path,
        FLOW.replace("{probe: one}, {probe: two}, ", "").replace(
            "retry: {first: 1ms, most: 2ms}", 'retry: {first: 10ms, most: 50ms}, parallel: "8"'
        ),
    )
    command = [sys.executable, "-c", OUTAGE, str(file), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, env=plugin_env, timeout=count / 100, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert count > LIMIT
    assert seen["lanes"] <= LIMIT
    assert 0.9 * CACHE_BYTES < seen["cached"] <= CACHE_BYTES
    before, after = seen["sizes"][-5], seen["sizes"][-1]
    assert after - before < 8_000_000, "once its memory of bodies is full, an hour more of outage costs nothing"
    arrived: dict[str, list[int]] = defaultdict(list)
    for id in seen["arrived"]:
        arrived[id.partition("-")[0]].append(int(id.partition("-")[2]))
    assert arrived == {f"P{p}": list(range(p, count, 50)) for p in range(50)}
