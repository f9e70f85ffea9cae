"""What people tell one hub counts for all hubs of its database, for those that come later too."""

from __future__ import annotations

import asyncio
import contextlib
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from hub.bus import jobs, replay
from hub.bus.hub import Hub
from hub.errors import ConnectionDown, MessageRejected, Refused
from hub.message import Message
from hub.store.batch import partition_of
from tests.hub.bus.probe import World, adt, control_ids, deliver, in_turn
from tests.hub.bus.test_sharing import in_order, owned, shared_out
from tests.postgres import query
from tests.support import ask, clinic_on, running_hub, until

FLOW = """
lease: 1s
connections:
  inbox: {kind: probe_in}
  pms: {kind: probe_out, on_rejected: hold, retry: {first: 10ms, most: 20ms}}
flows:
  work: {from: inbox, steps: [{send: pms}]}
"""


@pytest.fixture
def file(url: str, tmp_path: Path) -> Path:
    return clinic_on(url, tmp_path, FLOW)


@asynccontextmanager
async def two_hubs(file: Path) -> AsyncIterator[tuple[Hub, Hub]]:
    """The first one leads."""
    async with running_hub(file) as first, running_hub(file) as second:
        await shared_out(first, second)
        await until(lambda: first.leads and not second.leads)
        yield first, second


def at_rest(hub: Hub) -> bool:
    return hub.targets["to:pms"].paused


def patients_of(hub: Hub, count: int) -> list[str]:
    """Names whose messages a hub does the work of."""
    assert hub.sharing is not None
    names = (f"P{number}" for number in range(200))
    mine = (name for name in names if partition_of(lane_of(hub, name)) in hub.sharing.own)
    return list(islice(mine, count))


def lane_of(hub: Hub, patient: str) -> str:
    keys = hub.core.filing.keys(Message(adt("M", patient), "hl7v2"), {})
    return hub.core.filing.lanes(keys, "inbox")[0]


async def test_a_pause_counts_for_all_and_for_who_comes_later_until_any_of_them_ends_it(world: World, file: Path) -> None:
    async with two_hubs(file) as (first, second):
        await ask(second, "pause", name="pms")
        await until(lambda: at_rest(first))
        async with running_hub(file) as third:
            assert at_rest(third)
            mine = [patients_of(hub, 2) for hub in (first, second)]
            await in_turn(first, [adt(f"{p}-{n}", p) for p in (*mine[0], *mine[1]) for n in range(3)])
            await asyncio.sleep(0.3)
            assert world.sent.get("pms", []) == []
            await ask(third, "resume", name="pms")
            await until(lambda: len(world.sent.get("pms", [])) == 12)
            assert not any(map(at_rest, (first, second, third)))
        in_order(control_ids(world.sent["pms"]))


async def test_a_pause_outlives_all_hubs(world: World, file: Path) -> None:
    async with two_hubs(file) as (first, second):
        await ask(first, "pause", name="inbox")
        await until(lambda: not second.is_open("inbox"))
    async with two_hubs(file) as (first, second):
        assert not first.is_open("inbox")
        assert not second.is_open("inbox")
        await ask(second, "resume", name="inbox")
        await until(lambda: first.is_open("inbox") and second.is_open("inbox"))


async def test_a_drain_ends_when_all_hubs_are_done_with_what_was_there(world: World, file: Path, url: str) -> None:
    slow = asyncio.Event()

    async with two_hubs(file) as (first, second):
        quick, late = patients_of(first, 2), patients_of(second, 2)

        @world.partner
        async def pms(message: Message) -> None:
            if any(f"{p}-".encode() in message.body for p in late):
                await slow.wait()

        await in_turn(first, [adt(f"{p}-{n}", p) for p in (*quick, *late) for n in range(2)])
        await until(lambda: query(url, "SELECT count(*) FROM work WHERE target = 'to:pms'") == [(8,)])
        await ask(first, "drain", name="pms")
        await until(lambda: at_rest(first))
        await asyncio.sleep(0.3)
        assert query(url, "SELECT state FROM route_state") == [("draining",)], "the other hub is not done"
        slow.set()
        await until(lambda: query(url, "SELECT state FROM route_state") == [("paused",)])
        await until(lambda: at_rest(first) and at_rest(second))
        assert len(world.sent["pms"]) == 8
        await deliver(first, adt("AFTER-1", "AFTER"))
        await asyncio.sleep(0.3)
        assert len(world.sent["pms"]) == 8


async def test_what_another_hub_holds_is_skipped_edited_and_sent_again(world: World, file: Path) -> None:
    refuse = True

    @world.partner
    async def pms(message: Message) -> None:
        if refuse and b"-bad" in message.body:
            raise MessageRejected("no", answer="AR", final=True)

    async with two_hubs(file) as (first, second):
        patients = patients_of(second, 3)
        for patient in patients:
            await in_turn(first, [adt(f"{patient}-bad", patient), adt(f"{patient}-next", patient)])
        held = second.targets["to:pms"].lanes.held
        await until(lambda: len(held()) == 3)
        outs = {m["control_id"].partition("-")[0]: m["id"] for m in await ask(first, "messages.list", state="held")
                if m["direction"] == "out"}  # fmt: skip
        refuse = False
        await ask(first, "messages.skip", id=outs[patients[0]])
        edited = b64encode(adt(f"{patients[1]}-good", patients[1])).decode()
        await ask(first, "messages.edit", id=outs[patients[1]], body=edited)
        await ask(first, "replay", ids=[outs[patients[2]]], yes=1)
        await until(lambda: held() == [])
        await until(lambda: sum(b"-next" in body for body in world.bodies("pms")) == 3)
        took = control_ids(world.sent["pms"])[3:]
    assert [id for id in took if id.partition("-")[0] == patients[0]] == [f"{patients[0]}-next"]
    assert [id for id in took if id.partition("-")[0] == patients[1]] == [f"{patients[1]}-good", f"{patients[1]}-next"]
    assert [id for id in took if id.partition("-")[0] == patients[2]] == [f"{patients[2]}-bad", f"{patients[2]}-next"]


async def test_what_another_hub_may_send_any_moment_is_changed_there_only(world: World, file: Path) -> None:
    @world.partner
    async def pms(_: Message) -> None:
        raise ConnectionDown("nobody is there")

    async with two_hubs(file) as (first, second):
        receipt = await deliver(first, adt("M1", patients_of(second, 1)[0]))
        await until(lambda: world.sent.get("pms"))
        out = (await ask(first, "messages.list", connection="pms"))[0]["id"]
        assert receipt.ids[0] != out
        with pytest.raises(Refused, match=r"is the work of another hub, .*:\d+; ask that one") as caught:
            await ask(first, "messages.skip", id=out)
        assert caught.value.code == "OPS-012"

        async def skipped() -> bool:
            with contextlib.suppress(Refused):  # it may be sending it this moment
                await ask(second, "messages.skip", id=out)
            return (await ask(second, "messages.list", connection="pms"))[0]["state"] == "skipped"

        await until(skipped)


async def test_a_reload_counts_for_all(world: World, file: Path) -> None:
    async with two_hubs(file) as (first, second):
        file.write_text(file.read_text().replace("pms: {kind", "spare: {kind: probe_out}\n  pms: {kind"))
        await ask(second, "reload")
        await until(lambda: "to:spare" in first.targets and "to:spare" in second.targets)
        file.write_text(file.read_text() + "nonsense: 1\n")
        before = first.clinic
        with pytest.raises(Exception, match="nonsense"):
            await ask(second, "reload")
        await asyncio.sleep(0.3)
        assert first.clinic is before


async def many_refused(hub: Hub, world: World, count: int) -> dict[str, Any]:
    """Messages that are put away, and what a replay of all of them is asked with."""
    answers = {"refuse": True}

    @world.partner
    async def pms(message: Message) -> None:
        if answers["refuse"]:
            raise MessageRejected("no", answer="AR", final=True)

    await in_turn(hub, [adt(f"P{n}-0", f"P{n}") for n in range(count)])
    await until(lambda: len(world.sent.get("pms", [])) == count)
    answers["refuse"] = False
    return {"state": "quarantined", "yes": count}


async def test_a_long_replay_is_done_by_the_hub_that_leads_and_goes_on_with_the_next_one(
    world: World, file: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (jobs, replay):
        monkeypatch.setattr(module, "AT_ONCE", 2)
    monkeypatch.setattr(jobs, "MOST_OPEN", 2)
    file.write_text(file.read_text().replace("on_rejected: hold", "on_rejected: quarantine"))
    state = "SELECT state, looked FROM job"
    async with running_hub(file) as first, running_hub(file) as second:
        await shared_out(first, second)
        asked = await many_refused(first, world, 30)
        await until(lambda: query(url, "SELECT count(*) FROM work WHERE state = 'quarantined'") == [(30,)])
        await ask(first, "pause", name="pms")
        await until(lambda: at_rest(second))
        told = await ask(second, "replay", **asked)
        await until(lambda: told["job"] in first.jobs._tasks)
        assert second.jobs._tasks == {}
        await ask(second, "jobs.stop", id=told["job"])
        await until(lambda: first.jobs._tasks == {})
        assert query(url, state)[0][0] == "stopped"
        await ask(second, "jobs.resume", id=told["job"])
        await until(lambda: told["job"] in first.jobs._tasks)
        await first.stop()
        await until(lambda: second.leads and told["job"] in second.jobs._tasks)
        await ask(second, "resume", name="pms")
        await until(lambda: query(url, state) == [("done", 30)])
        await until(lambda: len(world.sent["pms"]) == 60)
    in_order(control_ids(world.sent["pms"][30:]))


async def test_one_hub_leads_and_tells_what_concerns_all(world: World, file: Path) -> None:
    async with two_hubs(file) as (first, second):
        assert (first.leads, second.leads) == (True, False)
        await first.alerts.look()
        await second.alerts.look()
        assert (first.alerts._leads, second.alerts._leads) == (True, False)
        await first.stop()
        await until(lambda: second.leads)
        await second.alerts.look()
        assert second.alerts._leads
        assert owned(second)[0] >= {0}
