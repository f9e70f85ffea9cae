"""Hubs that are broken on purpose: each is found out by its campaign, and the same campaign has nothing to say of a whole one.

A mutant without a campaign fails here, so that none can be added that nobody looks for.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from connectors.simulators.ehr import EhrClient
from hub.bus.admission import MOST_BYTES
from hub.bus.failpoints import MUTANTS
from hub.bus.hub import Hub
from hub.bus.inbound import Inbound
from hub.clinic import load_clinic
from hub.message import Message
from tests.chaos.nursery import Hub as HubInNursery, Nursery
from tests.chaos.rig import CLINIC as FORWARD, Rig
from tests.hub.bus.probe import disk_is_full, long_adt, rows, there_is_space_again
from tests.postgres import running_server
from tests.support import clinic_folder, environment, free_port, port_of, running_hub, settled, until

Campaign = Callable[[Path, Nursery, str], Awaitable[object]]
"""Folder, nursery and failpoints; returns what is wrong, nothing of a whole hub."""
CAMPAIGNS: dict[str, Campaign] = {}


def finds(mutant: str) -> Callable[[Campaign], Campaign]:
    def register(campaign: Campaign) -> Campaign:
        CAMPAIGNS[mutant] = campaign
        return campaign

    return register


def together(*names: str) -> str:
    return ",".join(filter(None, names))


@finds("ack_before_commit")
async def kills_inside_commits(folder: Path, nursery: Nursery, mutant: str) -> object:
    async with Rig(folder, nursery, patients=8) as rig:
        rig.send()
        for number in (3, 8, 15):
            await rig.start(failpoints=together(f"kill@in_commit:{number}", mutant))
            await rig.killed()
        await rig.start()
        return (await rig.settle(timeout=1 if mutant else 30)).wrong


@finds("dedupe_off")
async def a_sender_that_sends_everything_twice(folder: Path, nursery: Nursery, mutant: str) -> object:
    async with Rig(folder, nursery, patients=4, senders=2, repeats=2, most=5, refuse=0.0) as rig:
        await rig.start(failpoints=mutant)
        rig.send()
        await rig.all_sent()
        verdict = await rig.settle()
        return verdict.wrong or verdict.repeats


@finds("ordering_key_dropped")
async def refusals_while_a_backlog_drains(folder: Path, nursery: Nursery, mutant: str) -> object:
    async with Rig(folder, nursery, patients=4, senders=4, most=8, refuse=0.3) as rig:
        rig.script = lambda *_: "close"
        await rig.start(failpoints=mutant)
        rig.send()
        await rig.all_sent()
        rig.script = None
        return (await rig.settle()).wrong


@finds("marks_not_awaited")
async def kills_while_a_backlog_drains(folder: Path, nursery: Nursery, mutant: str) -> object:
    """A crash repeats the newest message of a patient at most, for the next one waits until its mark is on disk."""
    async with Rig(folder, nursery, patients=4, senders=4, most=12, refuse=0.0) as rig:
        rig.script = lambda *_: "close"
        await rig.start()
        rig.send()
        await rig.all_sent()
        await rig.kill()
        rig.script = None
        for number in (3, 4, 5):
            await rig.start(failpoints=together(f"kill@in_commit:{number}", mutant))
            await rig.killed()
        await rig.start()
        return (await rig.settle()).wrong


SHARED = FORWARD.replace("first: 20ms, most: 100ms", "first: 1s, most: 1s") + "lease: 1s\n"


@finds("lease_not_fenced")
async def a_hub_that_stands_still_while_another_takes_over(folder: Path, nursery: Nursery, mutant: str) -> object:
    """It has messages that wait for their next try; when it goes on, the other one has sent them, and newer ones."""
    with running_server() as server:
        url = server.database("hub")
        async with Rig(folder, nursery, patients=12, senders=4, most=2, refuse=0.0, store=url, clinic=SHARED) as first:
            first.script = lambda *_: "close"
            second, port = second_hub(first, nursery)
            await first.start(failpoints=mutant)
            await asyncio.to_thread(second.start)
            try:
                await until(lambda: {held for (held,) in server.query("hub", _LEASES)} == {16})
                first.send()
                await first.all_sent()
                refused = first.taken.count("refused")
                await until(lambda: first.taken.count("refused") > refused)
                await asyncio.sleep(0.3)  # the next try is far: it stands still between two
                first.hub.signal(signal.SIGSTOP)
                first.script = None
                for sender in first.senders:
                    sender.port, sender.most = port, 4
                first.send()
                await first.all_sent()
                await until(lambda: not first.verdict().lost)
                first.hub.signal(signal.SIGCONT)
                await asyncio.sleep(2.0)
                return first.verdict().wrong
            finally:
                second.close()


def second_hub(first: Rig, nursery: Nursery) -> tuple[HubInNursery, int]:
    """Another hub of the same clinic, with a port of its own."""
    port = free_port()
    text = first.file.read_text().replace(f'"{first.port}"', f'"{port}"')
    file = clinic_folder(first.folder / "b", f"{text}files: {first.folder}/large\n", head="")
    first.file.write_text(f"{first.file.read_text()}files: {first.folder}/large\n")
    (first.folder / "b" / "hub.key").write_bytes((first.folder / "hub.key").read_bytes())
    return HubInNursery(nursery, file), port


_LEASES = "SELECT count(*) FROM lease WHERE node IS NOT NULL GROUP BY node"
CLINIC = """
connections:
  ehr: {kind: mllp_listener, port: "0"}
flows:
  registrations: {from: ehr, steps: [{map: adt_to_patient}, {save: patient}]}
"""


@finds("synchronous_off")
async def how_the_writer_commits(folder: Path, nursery: Nursery, mutant: str) -> object:
    """What it means is shown by a power cut in tests/system, which needs a compiler."""
    with environment(CLINIC_HUB_FAILPOINTS=mutant):
        async with running_hub(clinic_folder(folder, CLINIC)) as hub:
            mode, level = (hub.core.store.writer.connection.execute(f"PRAGMA {name}").fetchone()[0] for name in _PRAGMAS)
    return [] if (mode, level) == ("wal", _FULL) else [f"journal_mode {mode}, synchronous {level}"]


_PRAGMAS, _FULL = ("journal_mode", "synchronous"), 2


@finds("writer_swallows_errors")
async def a_full_disk(folder: Path, nursery: Nursery, mutant: str) -> object:
    acknowledged = []
    with environment(CLINIC_HUB_FAILPOINTS=mutant):
        async with running_hub(clinic_folder(folder, CLINIC)) as hub:
            port = port_of(hub, "ehr")
            disk_is_full(hub)
            for number in range(3):
                with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                    async with EhrClient("127.0.0.1", port) as ehr:
                        if (await ehr.send(long_adt(f"M{number}"))).code == "AA":
                            acknowledged.append(f"M{number}")
            there_is_space_again(hub)
            with contextlib.suppress(AssertionError):
                await settled(hub, timeout=2)
    kept = {id for (id,) in rows(folder / "var" / "hub.db", "SELECT control_id FROM message")}
    return [id for id in acknowledged if id not in kept]


@finds("unbounded_queue")
async def a_disk_that_stands_still_while_messages_pour_in(folder: Path, nursery: Nursery, mutant: str) -> object:
    """Another program has the store for itself; meanwhile comes more than there is room for (a 16th of the room it has)."""
    room = MOST_BYTES // 16
    bodies = [long_adt(f"M{number}", size=240_000) for number in range(room // 240_000 + 8)]
    with environment(CLINIC_HUB_FAILPOINTS=mutant):
        async with running_hub(clinic_folder(folder, CLINIC)) as hub:
            deliver = Inbound(hub.clinic.settings.connections["ehr"], hub.core, hub.follower.outcomes)
            hub.core.admission.most_bytes //= 16
            other = sqlite3.connect(hub.core.store.path, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            coming = [asyncio.create_task(deliver([Message(body, "hl7v2")])) for body in bodies]
            await asyncio.sleep(0.5)
            inside = hub.core.admission.bytes
            other.close()
            await asyncio.gather(*coming)
            await settled(hub)
    return [] if inside <= room else [f"{inside} bytes of bodies wait in memory"]


@pytest.mark.parametrize("mutant", MUTANTS)
async def test_a_hub_that_is_broken_is_found_out(tmp_path: Path, nursery: Nursery, mutant: str) -> None:
    assert mutant in CAMPAIGNS, "nobody looks for this mutant: add a campaign that finds it"
    for attempt in range(3):
        if await CAMPAIGNS[mutant](tmp_path / str(attempt), nursery, mutant):
            return
    raise AssertionError(f"a hub that {MUTANTS[mutant]} was not found out: the campaign is blind")


@pytest.mark.parametrize("campaign", [pytest.param(campaign, id=campaign.__name__) for campaign in CAMPAIGNS.values()])
async def test_the_same_campaign_finds_nothing_wrong_with_a_whole_hub(
    tmp_path: Path, nursery: Nursery, campaign: Campaign
) -> None:
    assert not await campaign(tmp_path, nursery, "")


async def test_an_unknown_failpoint_is_refused(tmp_path: Path) -> None:
    hub = Hub(load_clinic(clinic_folder(tmp_path, CLINIC)))
    with (
        environment(CLINIC_HUB_FAILPOINTS="no_such_thing"),
        pytest.raises(ValueError, match="there is no failpoint no_such_thing"),
    ):
        await hub.start()
