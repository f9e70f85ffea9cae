"""Order (sentence 7): each key's messages in the order they came, over retries, merges and restarts, never blocking others."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from pathlib import Path

import pytest

from connectors.simulators.ehr import EhrClient, EhrServer, segment
from hub.errors import ConnectionDown, MessageRejected
from hub.message import Message
from hub.step import Context, StepResult
from tests.hub.bus.probe import Place, World, adt, control_ids, deliver, in_turn, rows, states
from tests.support import clinic_folder, port_of, running_hub, settled, until

pytestmark = pytest.mark.both_stores

FLOW = """
connections:
  inbox: {kind: probe_in@SOURCE@}
  other: {kind: probe_in}
  pms: {kind: probe_out, retry: {first: 2ms, most: 5ms, attempts: "9"}@MORE@}
flows:
  work: {from: inbox, steps: [{probe: work}, {send: pms}]}
  more: {from: other, steps: [{probe: more}]}
"""


def clinic(folder: Path, more: str = "", source: str = "") -> Path:
    return clinic_folder(folder, FLOW.replace("@MORE@", more).replace("@SOURCE@", source))


def merge(control_id: str, survives: str, retired: str) -> bytes:
    return adt(control_id, survives, trigger="A40", more=(segment("MRG", f1=f"{retired}^^^RIVER^MR"),))


def by_patient(ids: list[str]) -> dict[str, list[int]]:
    """`P7-3` is message 3 of patient P7; only the first time each was accepted counts."""
    found: dict[str, list[int]] = defaultdict(list)
    for id in dict.fromkeys(ids):
        patient, _, number = id.partition("-")
        found[patient].append(int(number))
    return found


# Which key a message has.

PID_8 = adt("M1", "8").replace(b"8^^^RIVER^MR", b"8^^^LAKE^MR")
NO_AUTHORITY = adt("M1", "8").replace(b"8^^^RIVER^MR", b"8")
NOBODY = adt("M1").replace(b"00042^^^RIVER^MR", b"")
VISIT = adt("M1", "7", more=("PV1|1|O" + "|" * 17 + "V55",))
KEYS = {
    "same-patient": (adt("M1", "7"), adt("M2", "7"), "", True),
    "other-patient": (adt("M1", "7"), adt("M2", "8"), "", False),
    "same-number-of-another-authority": (PID_8, adt("M2", "8"), "", False),
    "authority-left-out-and-assumed": (NO_AUTHORITY, adt("M2", "8"), ", authority: RIVER", True),
    "authority-left-out": (NO_AUTHORITY, adt("M2", "8"), "", False),
    "no-patient": (NOBODY, NOBODY.replace(b"M1", b"M2"), "", True),
    "no-patient-and-a-patient": (NOBODY, adt("M2", "8"), "", False),
    "key-of-the-clinic-file": (VISIT, VISIT.replace(b"|7^", b"|8^").replace(b"M1", b"M2"), ", ordering_key: PV1-19", True),
    "key-of-the-clinic-file-is-empty": (adt("M1", "7"), adt("M2", "7"), ", ordering_key: PV1-19", True),
}


@pytest.mark.parametrize(("first", "second", "source", "same"), KEYS.values(), ids=KEYS.keys())
async def test_the_ordering_key_is_connection_authority_and_patient_or_what_the_clinic_says(
    world: World, tmp_path: Path, store: Place, first: bytes, second: bytes, source: str, same: bool
) -> None:
    """A message with the same key waits for the first one, any other does not."""
    release = asyncio.Event()

    @world.step
    async def work(message: Message, context: Context) -> StepResult:
        if message.body == first:
            await release.wait()
        return None

    async with running_hub(clinic(tmp_path, source=source)) as hub:
        _, receipt = await in_turn(hub, [first, second])
        if same:
            await until(lambda: len(world.runs) == 1)
            assert await receipt.outcome(0.05) == "waiting"
            release.set()
        assert await receipt.outcome(3.0) == "delivered"
        release.set()
        await settled(hub)


async def test_the_same_patient_on_another_connection_has_another_key(world: World, tmp_path: Path, store: Place) -> None:
    async with running_hub(clinic(tmp_path)) as hub:
        await deliver(hub, adt("M1"))
        await deliver(hub, adt("M1"), source="other")
        await settled(hub)
    assert len({lane for (lane,) in rows(store, "SELECT lane FROM work WHERE target LIKE 'flow:%'")}) == 2


# Order under refusals.


@pytest.mark.parametrize("parallel", [1, 8])
async def test_every_patients_messages_arrive_in_order_although_some_are_refused_at_first(
    tmp_path: Path, parallel: int
) -> None:
    chance = random.Random(parallel)
    refuse = {f"P{p}-{n}" for p in range(10) for n in range(30) if chance.random() < 0.2}

    def script(body: bytes, control_id: str, tries: int) -> str:
        return "AE" if control_id in refuse and tries < 2 else "AA"

    async with EhrServer(script=script) as pms:
        text = f"""
connections:
  ehr: {{kind: mllp_listener, port: "0"}}
  pms: {{kind: mllp_sender, host: 127.0.0.1, port: "{pms.port}", parallel: "{parallel}", retry: {{first: 2ms, most: 5ms}}}}
flows:
  forward: {{from: ehr, steps: [{{send: pms}}]}}
"""
        async with running_hub(clinic_folder(tmp_path, text)) as hub, EhrClient("127.0.0.1", port_of(hub, "ehr")) as ehr:
            for number in range(30):
                for patient in range(10):
                    await ehr.send(adt(f"P{patient}-{number}", f"P{patient}"))
            await settled(hub)
        assert by_patient(pms.control_ids()) == {f"P{patient}": list(range(30)) for patient in range(10)}


async def test_a_refused_message_holds_up_its_own_key_only(world: World, tmp_path: Path, store: Place) -> None:
    @world.partner
    async def pms(message: Message) -> None:
        if b"BAD" in message.body:
            raise MessageRejected("the partner answered AE", answer="AE")

    file = clinic_folder(
        tmp_path, FLOW.replace("first: 2ms, most: 5ms", "first: 1h, most: 2h").replace("@MORE@", "").replace("@SOURCE@", "")
    )
    async with running_hub(file) as hub:
        await in_turn(hub, [adt("BAD", "1"), adt("NEXT", "1"), *(adt(f"M{n}", f"{n}") for n in range(5, 25))])
        await until(lambda: len(world.sent.get("pms", [])) == 21)
    assert control_ids(world.sent["pms"]) == ["BAD", *(f"M{n}" for n in range(5, 25))]


async def test_a_long_backlog_of_one_patient_keeps_its_order_although_some_are_refused_at_first(
    world: World, tmp_path: Path
) -> None:
    """More than a lane has in memory, with heads that have to wait while the rest is loaded."""
    refused: set[str] = set()
    accepted: list[str] = []

    @world.partner
    async def pms(message: Message) -> None:
        [id] = control_ids([message])
        if int(id.partition("-")[2]) % 5 == 0 and id not in refused:
            refused.add(id)
            raise MessageRejected("the partner answered AE", answer="AE")
        accepted.append(id)

    async with running_hub(clinic(tmp_path)) as hub:
        await deliver(hub, *(adt(f"P1-{number}", "P1") for number in range(800)))
        await settled(hub, timeout=8)
    assert by_patient(accepted) == {"P1": list(range(800))}


async def test_order_is_kept_over_outages_and_restarts(world: World, tmp_path: Path) -> None:
    chance = random.Random(5)

    @world.partner
    async def pms(message: Message) -> None:
        if chance.random() < 0.1:
            raise ConnectionDown("pms: away")

    file = clinic(tmp_path, ', parallel: "4"')
    for round in range(4):
        async with running_hub(file) as hub:
            batch = [adt(f"P{patient}-{round * 20 + number}", f"P{patient}") for number in range(20) for patient in range(5)]
            await deliver(hub, *batch)
            await until(lambda: len(world.sent.get("pms", [])) > round * 60)  # noqa: B023 - awaited at once
    async with running_hub(file) as hub:
        await settled(hub)
    assert by_patient(control_ids(world.sent["pms"])) == {f"P{patient}": list(range(80)) for patient in range(5)}


# The mark of the one before.


async def test_the_next_message_of_a_key_starts_when_the_mark_of_the_previous_is_on_disk(
    world: World, tmp_path: Path, store: Place
) -> None:
    """Otherwise a crash could repeat an older message behind a newer one."""
    seen: list[list[str]] = []

    def marks(target: str) -> list[str]:
        return [state for state in states(store, target) if state == "delivered"]

    @world.step
    async def work(message: Message, context: Context) -> StepResult:
        seen.append(marks("flow:work"))
        return message

    @world.partner
    async def pms(message: Message) -> None:
        seen.append(marks("to:pms"))

    async with running_hub(clinic(tmp_path, ', parallel: "8"')) as hub:
        await deliver(hub, *(adt(f"M{number}") for number in range(20)))
        await settled(hub)
    assert sorted(len(marks) for marks in seen) == sorted([*range(20), *range(20)])


# Merges.


async def test_a_merge_waits_for_both_charts_and_then_holds_both(world: World, tmp_path: Path) -> None:
    gates: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
    started: list[str] = []
    ended: list[str] = []

    @world.step
    async def work(message: Message, context: Context) -> StepResult:
        [id] = control_ids([message])
        started.append(id)
        await gates[id].wait()
        ended.append(id)
        return None

    async with running_hub(clinic(tmp_path)) as hub:
        await in_turn(
            hub, [adt("A1", "A"), adt("B1", "B"), merge("MERGE", "A", "B"), adt("B2", "B"), adt("A2", "A"), adt("C1", "C")]
        )
        await until(lambda: len(started) == 3)
        assert sorted(started) == ["A1", "B1", "C1"], "another chart does not wait"
        gates["A1"].set()
        await until(lambda: ended == ["A1"])
        assert "MERGE" not in started, "it waits for the retired chart too"
        gates["B1"].set()
        await until(lambda: "MERGE" in started)
        assert len(started) == 4, "both charts wait for the merge"
        gates["MERGE"].set()
        await until(lambda: len(started) == 6)
        assert sorted(started[4:]) == ["A2", "B2"]
        for gate in ("A2", "B2", "C1"):
            gates[gate].set()
        await settled(hub)


async def test_merges_keep_their_place_in_both_lanes_of_a_long_backlog(world: World, tmp_path: Path) -> None:
    """Found again after a restart, from the journal, in the order they came."""
    file, hanging = clinic(tmp_path), asyncio.Event()
    bodies, last = [], {"A": "", "B": "", "C": ""}
    chance, before = random.Random(7), []
    for number in range(400):
        patients = chance.sample("ABC", 2) if chance.random() < 0.1 else [chance.choice("ABC")]
        id = f"M{number}"
        bodies.append(merge(id, *patients) if len(patients) == 2 else adt(id, patients[0]))
        before += [(last[patient], id) for patient in patients if last[patient]]
        last |= dict.fromkeys(patients, id)

    @world.step
    async def work(message: Message, context: Context) -> StepResult:
        if not hanging.is_set():
            raise ConnectionDown("not yet", retry_after=3600)
        return None

    async with running_hub(file) as hub:
        await deliver(hub, *bodies)
    hanging.set()
    world.runs.clear()
    async with running_hub(file) as hub:
        await settled(hub)
        order = {control_ids([await hub.core.bodies.load(id)])[0]: place for place, (_, id) in enumerate(world.runs)}
    assert len(order) == 400
    assert [(earlier, later) for earlier, later in before if order[earlier] > order[later]] == []


async def test_what_is_sent_after_a_merge_waits_for_both_charts_too(world: World, tmp_path: Path, store: Place) -> None:
    silent = True

    @world.partner
    async def pms(message: Message) -> None:
        if b"B1" in message.body:
            await until(lambda: not silent)

    async with running_hub(clinic(tmp_path, ', parallel: "8"')) as hub:
        await in_turn(hub, [adt("B1", "B"), merge("MERGE", "A", "B"), adt("A2", "A"), adt("C1", "C")])
        await until(lambda: len(world.sent.get("pms", [])) == 2)
        await until(lambda: states(store, "flow:work") == ["delivered"] * 4)
        assert sorted(control_ids(world.sent["pms"])) == ["B1", "C1"]
        silent = False
        await settled(hub)
    assert control_ids(world.sent["pms"])[2:] == ["MERGE", "A2"]
