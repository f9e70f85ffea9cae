"""Replays of many: each message once, over kills too; fresh messages first; stopped, resumed, told how far they are."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, strategies as st

from hub.bus import jobs, replay
from hub.bus.core import open_core
from hub.bus.operations import Operations
from hub.clinic import load_clinic
from hub.errors import MessageRejected, NotFound, Refused
from hub.message import Message
from tests.hub.bus.probe import Place, World, adt, control_ids, deliver, rows, states
from tests.support import HubProcess, ask, clinic_folder, json_lines, run_hub, running_hub, settled, until

pytestmark = pytest.mark.both_stores

FLOW = """
connections:
  inbox: {kind: probe_in}
  pms: {kind: probe_out, on_rejected: quarantine}
flows:
  work: {from: inbox, steps: [{send: pms}]}
"""
ELSEWHERE = """
connections:
  inbox: {kind: probe_in}
  pms: {kind: probe_out, parallel: "32", log: "@LOG@", away_while: "@AWAY@", retry: {first: 10ms, most: 20ms}}
flows:
  work: {from: inbox, steps: [{send: pms}]}
"""


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few messages are many."""
    for module in (jobs, replay):
        monkeypatch.setattr(module, "AT_ONCE", 5)
    monkeypatch.setattr(jobs, "MOST_OPEN", 5)


@pytest.fixture
def file(world: World, tmp_path: Path) -> Path:
    return clinic_folder(tmp_path, FLOW)


async def all_quarantined(hub: Any, world: World, count: int) -> None:
    @world.partner
    async def pms(_: Message) -> None:
        raise MessageRejected("no", answer="AR", final=True)

    await hub.sources["inbox"].deliver([Message(adt(f"M{n}", str(n)), "hl7v2") for n in range(count)])
    await settled(hub)
    world.partners.clear()
    world.sent.clear()


async def ended(hub: Any, id: str) -> dict[str, Any]:
    async def has_ended() -> bool:
        return next(line for line in await ask(hub, "jobs.list") if line["id"] == id)["state"] != "running"

    await until(has_ended, 20)
    [line] = [line for line in await ask(hub, "jobs.list") if line["id"] == id]
    return dict(line)


async def test_a_job_does_each_message_once_in_their_order_and_says_how_far_it_is(
    file: Path, world: World, small_steps: None
) -> None:
    async with running_hub(file) as hub:
        await all_quarantined(hub, world, 23)
        told = await ask(hub, "replay", state="quarantined", yes=23)
        assert (told["count"], told["replayed"]) == (23, 5)
        assert [line["id"] for line in (await ask(hub, "status"))["jobs"]] == [told["job"]]
        line = await ended(hub, told["job"])
        await settled(hub)
        assert (line["state"], line["total"], line["looked"], line["done"], line["actor"]) == ("done", 23, 23, 23, "test")
        assert (await ask(hub, "status"))["jobs"] == []
    assert control_ids(world.sent["pms"]) == [f"M{n}" for n in range(23)]


async def test_what_somebody_else_replayed_meanwhile_is_passed_over(file: Path, world: World, small_steps: None) -> None:
    async with running_hub(file) as hub:
        await all_quarantined(hub, world, 12)
        await ask(hub, "pause", name="pms")
        told = await ask(hub, "replay", state="quarantined", yes=12)
        [last] = await ask(hub, "messages.list", control_id="M11", connection="pms")
        await ask(hub, "replay", ids=[last["id"]], yes=1)
        await ask(hub, "resume", name="pms")
        line = await ended(hub, told["job"])
        await settled(hub)
        assert (line["looked"], line["done"]) == (12, 11)
    assert sorted(control_ids(world.sent["pms"])) == sorted(f"M{n}" for n in range(12))


async def test_a_job_can_be_stopped_and_goes_on_where_it_was(file: Path, world: World, store: Place, small_steps: None) -> None:
    async with running_hub(file) as hub:
        await all_quarantined(hub, world, 20)
        await ask(hub, "pause", name="pms")
        told = await ask(hub, "replay", state="quarantined", yes=20)
        assert (await ask(hub, "jobs.stop", id=told["job"]))["state"] == "stopped"
        await ask(hub, "resume", name="pms")
        await settled(hub)
        sent = len(world.bodies("pms"))
        assert sent < 20
        with pytest.raises(Refused, match="stopped"):
            await ask(hub, "jobs.stop", id=told["job"])
    async with running_hub(file) as hub:
        await settled(hub)
        assert len(world.bodies("pms")) == sent, "a restart does not begin it again"
        await ask(hub, "jobs.resume", id=told["job"])
        await ended(hub, told["job"])
        await settled(hub)
        with pytest.raises(NotFound):
            await ask(hub, "jobs.stop", id="nothing")
    assert control_ids(world.sent["pms"]) == [f"M{n}" for n in range(20)]
    assert [action for (action,) in rows(store, "SELECT action FROM audit WHERE action LIKE 'jobs.%'")] == [
        "jobs.stop",
        "jobs.resume",
    ]


async def test_at_rest_all_of_it_is_written_down_at_once(file: Path, world: World, store: Place, small_steps: None) -> None:
    async with running_hub(file) as hub:
        await all_quarantined(hub, world, 12)
    core = await open_core(load_clinic(file))
    try:
        told = await Operations(core).run("replay", {"state": "quarantined", "yes": 12}, "carla")
    finally:
        await core.close()
    assert told["replayed"] == 12
    assert states(store, "to:pms").count("waiting") == 12
    async with running_hub(file) as hub:
        await settled(hub)
    assert control_ids(world.sent["pms"]) == [f"M{n}" for n in range(12)]


async def test_fresh_messages_go_before_a_replay_and_the_replay_comes_to_its_end(file: Path, world: World) -> None:
    count = 200
    async with running_hub(file) as hub:
        await all_quarantined(hub, world, count)

        @world.partner
        async def pms(_: Message) -> None:
            await asyncio.sleep(0.002)

        await ask(hub, "replay", state="quarantined", yes=count)
        for n in range(40):
            await deliver(hub, adt(f"F{n}", f"fresh{n}"))
        await settled(hub, 30)
    order = control_ids(world.sent["pms"])
    assert Counter(order) == Counter([f"M{n}" for n in range(count)] + [f"F{n}" for n in range(40)])
    assert order.index("F39") < 120, "it did not wait for 200 others"


async def test_fresh_work_behind_a_replay_of_the_same_patient_takes_it_along(file: Path, world: World, store: Place) -> None:
    async with running_hub(file) as hub:
        await all_quarantined(hub, world, 60)
        await ask(hub, "pause", name="pms")
        await ask(hub, "replay", state="quarantined", yes=60)
        await deliver(hub, adt("F1", "59"))
        await until(lambda: states(store, "to:pms").count("waiting") == 61)
        await ask(hub, "resume", name="pms")
        await settled(hub)
    order = control_ids(world.sent["pms"])
    assert order.index("M59") < order.index("F1") < 10


@pytest.mark.only_sqlite
@given(st.lists(st.integers(1, 2**50), unique=True).map(sorted))
def test_messages_of_a_job_are_written_down_as_they_are(seqs: list[int]) -> None:
    assert jobs.unpacked(jobs.packed(seqs)) == seqs


def _fill(file: Path, count: int, away: Path) -> None:
    """A store with so many delivered messages; made in this process, and left."""

    async def fill() -> None:
        async with running_hub(file) as hub:
            for start in range(0, count, 500):
                await hub.sources["inbox"].deliver(  # type: ignore[attr-defined]
                    [Message(adt(f"M{n}", str(n)), "hl7v2") for n in range(start, min(count, start + 500))]
                )
            await settled(hub, 60)

    asyncio.run(fill())


def _replay_with_kills(
    tmp_path: Path, world: World, plugin_env: dict[str, str], count: int, kills: int, seed: int
) -> tuple[dict[str, Any], Counter[str]]:
    log, away = tmp_path / "log", tmp_path / "away"
    file = clinic_folder(tmp_path, ELSEWHERE.replace("@LOG@", str(log)).replace("@AWAY@", str(away)))
    _fill(file, count, away)
    log.unlink()
    dry = json.loads(run_hub("replay", "--connection", "inbox", "--dry-run", "--json", "-c", file, env=plugin_env).stdout)
    assert dry["count"] == count
    chance = Random(seed)
    hub = HubProcess(file, env=plugin_env)
    hub.start()
    told = json.loads(
        run_hub("replay", "--connection", "inbox", "--yes", str(count), "--json", "-c", file, env=plugin_env).stdout
    )
    for _ in range(kills):
        time.sleep(chance.uniform(0.05, 0.4))
        hub.kill()
        hub.start()
    try:
        end = time.monotonic() + 100 + count / 40
        while True:
            [line] = json_lines(run_hub("jobs", "list", "--json", "-c", file, env=plugin_env).stdout)
            status = json.loads(run_hub("status", "--json", "-c", file, env=plugin_env).stdout)
            if line["state"] == "done" and status["store"]["backlog"] == 0:
                break
            assert time.monotonic() < end, (line, status["store"])
            time.sleep(0.2)
    finally:
        hub.terminate()
    assert line["id"] == told["job"]
    store = file.parent / "var" / "hub.db"
    again = rows(store, "SELECT seq, count(*) FROM work WHERE target = 'flow:work' AND again = 1 GROUP BY seq")
    assert len(again) == count
    assert {n for _, n in again} == {1}, "each message was replayed once"
    return line, Counter(log.read_text().split())


@pytest.mark.only_sqlite
def test_a_job_survives_kills_and_replays_each_message_once(world: World, tmp_path: Path, plugin_env: dict[str, str]) -> None:
    line, sent = _replay_with_kills(tmp_path, world, plugin_env, 1100, 1, seed=1)
    assert (line["total"], line["looked"], line["done"]) == (1100, 1100, 1100)
    assert len(sent) == 1100, "each got a new id once; a kill may send the newest again under the same"


@pytest.mark.only_sqlite
@pytest.mark.long
def test_a_job_of_a_hundred_thousand_survives_many_kills(world: World, tmp_path: Path, plugin_env: dict[str, str]) -> None:
    line, sent = _replay_with_kills(tmp_path, world, plugin_env, 100_000, 20, seed=2)
    assert line["done"] == len(sent) == 100_000
