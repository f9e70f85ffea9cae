"""Several hubs on one PostgreSQL: order kept, nothing lost, one takes over when another one dies, hangs or leaves."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import defaultdict
from pathlib import Path

import pytest

from connectors.simulators.ehr import EhrClient
from hub.bus.hub import Hub
from hub.bus.sharing import ALL
from hub.message import Message
from hub.store.batch import partition_of
from tests import support
from tests.hub.bus.probe import World, adt, control_ids, deliver, in_turn
from tests.postgres import query
from tests.support import HubProcess, clinic_folder, clinic_on, free_port, running_hub, until

FLOW = """
lease: 1s
connections:
  inbox: {kind: probe_in}
  pms: {kind: probe_out, retry: {first: 1ms, most: 2ms}}
flows:
  work: {from: inbox, steps: [{probe: one}, {send: pms}]}
"""


@pytest.fixture
def file(url: str, tmp_path: Path) -> Path:
    return clinic_on(url, tmp_path, FLOW)


def owned(*hubs: Hub) -> list[frozenset[int]]:
    return [hub.sharing.own for hub in hubs if hub.sharing is not None]


async def shared_out(*hubs: Hub) -> None:
    """Each has its share, and together they have everything once."""
    await until(lambda: sorted(len(own) for own in owned(*hubs)) == sorted(32 // len(hubs) for _ in hubs))
    assert frozenset().union(*owned(*hubs)) == ALL


def in_order(ids: list[str]) -> None:
    """`P3-17`: of each patient what was first comes first, and nothing twice."""
    seen: dict[str, list[int]] = defaultdict(list)
    for id in ids:
        patient, _, number = id.partition("-")
        seen[patient].append(int(number))
    for patient, numbers in seen.items():
        assert numbers == sorted(set(numbers)), patient


async def test_a_hub_that_is_alone_has_everything_and_takes_no_turns(world: World, file: Path) -> None:
    async with running_hub(file) as hub:
        assert owned(hub) == [ALL]
        assert not hub.core.store.writer.together  # type: ignore[union-attr]


async def test_two_hubs_share_the_keys_and_keep_the_order_of_each(world: World, file: Path, url: str) -> None:
    async with running_hub(file) as first, running_hub(file) as second:
        await shared_out(first, second)

        async def sender(hub: Hub, patient: int) -> None:
            for number in range(10):
                other = second if number % 2 else first
                await deliver(other, adt(f"P{patient}-{number}", f"P{patient}"))

        await asyncio.gather(*(sender(first, patient) for patient in range(20)))
        await until(lambda: len(world.sent.get("pms", [])) == 200)
        in_order(control_ids(world.sent["pms"]))
        await until(lambda: query(url, "SELECT count(*) FROM work WHERE state <> 'delivered'") == [(0,)])
    assert query(url, "SELECT count(*) FROM message WHERE direction = 'out'") == [(200,)]
    assert query(url, "SELECT count(*) FROM node") == [(0,)]


async def test_the_one_that_stays_takes_everything_when_the_other_one_leaves(world: World, file: Path) -> None:
    async with running_hub(file) as first:
        async with running_hub(file) as second:
            await shared_out(first, second)
            await in_turn(second, [adt(f"P{n}-0", f"P{n}") for n in range(20)])
        await until(lambda: owned(first) == [ALL], timeout=1.0)
        await in_turn(first, [adt(f"P{n}-1", f"P{n}") for n in range(20)])
        await until(lambda: len(world.sent.get("pms", [])) == 40)
        in_order(control_ids(world.sent["pms"]))
        await until(lambda: not first.core.store.writer.together)  # type: ignore[union-attr]


async def test_a_merge_of_charts_that_two_hubs_have_waits_for_both_and_holds_both(world: World, file: Path, url: str) -> None:
    gate = asyncio.Event()

    @world.step
    async def one(message: Message, context: object) -> Message:
        if b"-wait" in message.body:
            await gate.wait()
        return message

    def merge(id: str, into: str, gone: str) -> bytes:
        return adt(id, into, trigger="A40", more=(f"MRG|{gone}^^^RIVER^MR",))

    async with running_hub(file) as first, running_hub(file) as second:
        await shared_out(first, second)
        patients = [f"Q{n}" for n in range(12)]
        await in_turn(first, [adt(f"{p}-wait", p) for p in patients])
        pairs = list(zip(patients[::2], patients[1::2], strict=True))
        await in_turn(second, [merge(f"{a}-merge", a, b) for a, b in pairs])
        await in_turn(first, [adt(f"{p}-after", p) for p in patients])
        lanes = query(url, "SELECT lane, also FROM work WHERE target = 'flow:work' AND also IS NOT NULL")
        apart = [
            1 for lane, also in lanes if (partition_of(lane) in first.sharing.own) != (partition_of(also) in first.sharing.own)
        ]  # type: ignore[union-attr]
        assert apart, "some merges are of charts that different hubs have"
        await asyncio.sleep(0.4)
        assert world.sent.get("pms", []) == []
        gate.set()
        await until(lambda: len(world.sent.get("pms", [])) == 12 + 6 + 12, timeout=15)
        order = control_ids(world.sent["pms"])
        for a, b in pairs:
            place = [order.index(id) for id in (f"{a}-wait", f"{b}-wait", f"{a}-merge", f"{a}-after", f"{b}-after")]
            assert max(place[:2]) < place[2] < min(place[3:])


# Two processes.

PROCESS = """
lease: 3s
connections:
  ehr: {kind: mllp_listener, port: "@PORT@"}
  pms: {kind: probe_out, log: "@LOG@", retry: {first: 20ms, most: 50ms}}
flows:
  work: {from: ehr, steps: [{send: pms}]}
"""


class Pair:
    """Two hub processes of one clinic, and senders that go to the other one when one does not answer."""

    def __init__(self, folder: Path, url: str, env: dict[str, str]) -> None:
        self.log = folder / "log"
        self.url = url
        self.ports = [free_port(), free_port()]
        support.STORE.append(url)
        files = [
            clinic_folder(folder / name, PROCESS.replace("@PORT@", str(port)).replace("@LOG@", str(self.log)))
            for name, port in zip("ab", self.ports, strict=True)
        ]
        support.STORE.pop()
        (folder / "b" / "hub.key").write_bytes((folder / "a" / "hub.key").read_bytes())
        for file in files:
            file.write_text(file.read_text() + f"files: {folder}/large\n")
        self.hubs = [HubProcess(file, env=env) for file in files]
        self.acknowledged: list[str] = []
        self.going_on = True

    async def start(self) -> None:
        for hub in self.hubs:
            await asyncio.to_thread(hub.start)

    async def sender(self, patient: int) -> None:
        number, at = 0, patient % 2
        while self.going_on:
            id = f"P{patient}-{number}"
            try:
                async with asyncio.timeout(1.5):
                    async with EhrClient("127.0.0.1", self.ports[at]) as ehr:
                        while self.going_on:
                            id = f"P{patient}-{number}"
                            if (await ehr.send(adt(id, f"P{patient}"))).code == "AA":
                                self.acknowledged.append(id)
                                number += 1
                            await asyncio.sleep(0.01)
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                at = 1 - at
                await asyncio.sleep(0.05)

    def sent(self) -> list[str]:
        """What the partner got, by control id of what was received."""
        made = dict(
            query(
                self.url, "SELECT o.id, i.control_id FROM message o JOIN message i ON o.parent = i.id WHERE o.direction = 'out'"
            )
        )
        return [made[id] for id in self.log.read_text().split()]

    async def settled(self) -> None:
        async def nothing_open() -> bool:
            count = "SELECT count(*) FROM work WHERE state IN ('waiting', 'working')"
            return await asyncio.to_thread(query, self.url, count) == [(0,)]

        await until(nothing_open, timeout=20)

    def check(self, *, repeats: int, older: int = 0) -> None:
        """Nothing acknowledged is lost; first deliveries are in order; only the newest of a patient may be repeated, but for
        so many `older` ones.
        """
        received = query(
            self.url, "SELECT control_id, count(*) FROM message WHERE direction = 'in' GROUP BY 1 HAVING count(*) > 1"
        )
        assert received == [], "a resend was taken for something new"
        sent = self.sent()
        assert set(self.acknowledged) <= set(sent)
        firsts = list(dict.fromkeys(sent))
        in_order(firsts)
        assert len(sent) - len(firsts) <= repeats
        newest: dict[str, int] = {}
        for id in sent:
            patient, _, number = id.partition("-")
            older -= int(number) < newest.get(patient, 0)
            newest[patient] = max(newest.get(patient, 0), int(number))
        assert older >= 0, "an older message was repeated"

    async def stop(self) -> None:
        for hub in self.hubs:
            if hub.process is not None and hub.process.poll() is None:
                hub.process.send_signal(signal.SIGCONT)
                await asyncio.to_thread(hub.kill)


@pytest.mark.parametrize(
    "trouble", ["kill", pytest.param("freeze", marks=pytest.mark.long), pytest.param("leave", marks=pytest.mark.long)]
)
async def test_one_of_two_processes_dies_hangs_or_leaves_and_the_other_one_goes_on(
    trouble: str, url: str, tmp_path: Path, plugin_env: dict[str, str]
) -> None:
    pair = Pair(tmp_path, url, plugin_env)
    try:
        await pair.start()
        senders = [asyncio.create_task(pair.sender(patient)) for patient in range(8)]
        await until(lambda: len(pair.acknowledged) > 50)
        process = pair.hubs[0].process
        assert process is not None
        if trouble == "kill":
            await asyncio.to_thread(pair.hubs[0].kill)
        elif trouble == "freeze":
            os.kill(process.pid, signal.SIGSTOP)
        else:
            assert await asyncio.to_thread(pair.hubs[0].terminate) == 0
        count = len(pair.acknowledged)
        await until(lambda: len(pair.acknowledged) > count + 50)

        async def taken_over() -> bool:
            leases = "SELECT count(DISTINCT node) FROM lease WHERE node IN (SELECT id FROM node)"
            everything = "SELECT count(*) FROM lease l JOIN node n ON n.id = l.node"
            return (await asyncio.to_thread(query, url, leases), await asyncio.to_thread(query, url, everything)) == (
                [(1,)],
                [(32,)],
            )

        await until(taken_over, timeout=6.0)
        if trouble == "freeze":
            os.kill(process.pid, signal.SIGCONT)

            async def back() -> bool:
                return await asyncio.to_thread(query, url, "SELECT count(*) FROM node WHERE shares = 1") == [(2,)]

            await until(back, timeout=10)
        else:
            await asyncio.to_thread(pair.hubs[0].start)
        count = len(pair.acknowledged)
        await until(lambda: len(pair.acknowledged) > count + 50)
        pair.going_on = False
        await asyncio.gather(*senders)
        await pair.settled()
        # what a hub was about to write when it froze it writes when it goes on: at most one message, on its one connection
        pair.check(repeats=0 if trouble == "leave" else 8, older=int(trouble == "freeze"))
    finally:
        pair.going_on = False
        await pair.stop()
