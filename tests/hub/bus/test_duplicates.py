"""Messages that are sent again (sentence 10): same content is answered and not routed, other content is routed and flagged."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from connectors.simulators.ehr import EhrClient
from hub.message import Message
from tests.hub.bus.probe import Place, World, adt, deliver, in_turn, one, rows, states
from tests.support import HubProcess, ask, clinic_folder, free_port, port_of, running_hub, settled, until

pytestmark = pytest.mark.both_stores

WORK = """
connections:
  inbox: {kind: probe_in, remember_for: @WINDOW@}
  other: {kind: probe_in}
flows:
  work: {from: inbox, steps: [{probe: work}]}
  more: {from: other, steps: [{probe: more}]}
"""


def clinic(folder: Path, window: str = "7d") -> Path:
    return clinic_folder(folder, WORK.replace("@WINDOW@", window))


async def test_the_same_content_is_answered_again_and_not_routed(world: World, tmp_path: Path, store: Place) -> None:
    async with running_hub(clinic(tmp_path)) as hub:
        first = await deliver(hub, adt("M1"))
        second = await deliver(hub, adt("M1"))
        assert (first.duplicates, second.duplicates) == ([False], [True])
        await settled(hub)
        assert one(store, "SELECT count(*) FROM message") == 1
        assert len(world.runs) == 1


async def test_three_sends_get_three_positive_answers_and_one_delivery(tmp_path: Path, world: World) -> None:
    text = WORK.replace("kind: probe_in, remember_for: @WINDOW@", 'kind: mllp_listener, port: "0"')
    file = clinic_folder(tmp_path, text)
    async with running_hub(file) as hub, EhrClient("127.0.0.1", port_of(hub, "inbox")) as ehr:
        assert [(await ehr.send(adt("M1"))).code for _ in range(3)] == ["AA"] * 3
        await settled(hub)
        assert len(world.runs) == 1


async def test_a_resend_in_the_same_batch_is_recognised(world: World, tmp_path: Path) -> None:
    async with running_hub(clinic(tmp_path)) as hub:
        receipt = await deliver(hub, adt("M1"), adt("M2"), adt("M1"))
        assert receipt.duplicates == [False, False, True]
        await settled(hub)
        assert len(world.runs) == 2


async def test_of_two_sends_at_the_same_moment_one_is_routed(world: World, tmp_path: Path) -> None:
    async with running_hub(clinic(tmp_path)) as hub:
        receipts = await asyncio.gather(*(deliver(hub, adt("M1")) for _ in range(10)))
        assert sorted(duplicate for receipt in receipts for duplicate in receipt.duplicates) == [False] + [True] * 9
        await settled(hub)
        assert len(world.runs) == 1


async def test_other_content_under_a_used_control_id_is_routed_and_flagged(world: World, tmp_path: Path) -> None:
    async with running_hub(clinic(tmp_path)) as hub:
        await in_turn(hub, [adt("M1", family="DOE"), adt("M1", family="ROE")])
        await settled(hub)
        assert len(world.runs) == 2
        newest, oldest = await ask(hub, "messages.list", control_id="M1")
        assert (oldest["flag"], newest["flag"]) == (None, "reused control id")


async def test_the_first_content_is_still_known_after_other_content_came_under_its_id(world: World, tmp_path: Path) -> None:
    """`seen` has the hash: a late resend of the old booking must not undo the new one."""
    async with running_hub(clinic(tmp_path)) as hub:
        receipts = await in_turn(hub, [adt("M1", family="OLD"), adt("M1", family="NEW"), adt("M1", family="OLD")])
        await settled(hub)
        assert [receipt.duplicates for receipt in receipts] == [[False], [False], [True]]
        assert len(world.runs) == 2


async def test_the_resend_is_a_line_on_the_timeline_of_what_it_repeats(world: World, tmp_path: Path) -> None:
    async with running_hub(clinic(tmp_path)) as hub:
        first, _ = await in_turn(hub, [adt("M1"), adt("M1")])

        async def lines() -> list[str]:
            return [entry["what"] for entry in (await ask(hub, "trace", id=first.ids[0]))["entries"]]

        async def is_told() -> bool:
            return "resent" in await lines()

        await until(is_told)
        assert (await lines()).count("received") == 1


@pytest.mark.parametrize(
    ("again", "why"),
    [
        pytest.param(adt("M1").replace(b"|EHR|", b"|LAB|", 1), "another sending application", id="msh-3"),
        pytest.param(adt("M1").replace(b"|EHR|RIVER|", b"|EHR|LAKE|", 1), "another sending facility", id="msh-4"),
        pytest.param(adt("M2"), "another control id", id="msh-10"),
    ],
)
async def test_what_another_sender_sends_is_no_resend(world: World, tmp_path: Path, again: bytes, why: str) -> None:
    async with running_hub(clinic(tmp_path)) as hub:
        _, second = await in_turn(hub, [adt("M1"), again])
        assert second.duplicates == [False], why


async def test_the_same_message_on_another_connection_is_no_resend(world: World, tmp_path: Path) -> None:
    async with running_hub(clinic(tmp_path)) as hub:
        await deliver(hub, adt("M1"))
        assert (await deliver(hub, adt("M1"), source="other")).duplicates == [False]


async def test_messages_without_a_control_id_are_never_taken_for_resends(world: World, tmp_path: Path) -> None:
    async with running_hub(clinic(tmp_path)) as hub:
        first, second = await in_turn(hub, [adt(""), adt("")])
        assert (first.duplicates, second.duplicates) == ([False], [False])


async def test_a_file_is_recognised_by_its_name_and_content(world: World, tmp_path: Path) -> None:
    async with running_hub(clinic(tmp_path)) as hub:
        receipts = [
            await hub.sources["inbox"].deliver([Message(b"page", "bytes", duplicate_key=key)]) for key in ("a|1", "a|1", "b|1")
        ]
        assert [receipt.duplicates for receipt in receipts] == [[False], [True], [False]]


async def test_after_the_window_a_resend_is_a_new_message(world: World, tmp_path: Path, store: Place) -> None:
    async with running_hub(clinic(tmp_path, window="200ms")) as hub:
        first = await deliver(hub, adt("M1"))
        again = await deliver(hub, adt("M1"))
        assert (first.duplicates, again.duplicates) == ([False], [True])

        async def is_forgotten() -> bool:
            return (await deliver(hub, adt("M1"))).duplicates == [False]

        await until(is_forgotten, timeout=3)
        flags = [flag for (flag,) in rows(store, "SELECT flag FROM message")]
        assert flags == [None, None], "nothing was reused"


async def test_a_window_of_nothing_switches_it_off(world: World, tmp_path: Path) -> None:
    async with running_hub(clinic(tmp_path, window="0s")) as hub:
        receipts = await in_turn(hub, [adt("M1"), adt("M1")])
        assert [receipt.duplicates for receipt in receipts] == [[False], [False]]


async def test_the_window_is_seven_days_unless_told_otherwise(world: World, tmp_path: Path) -> None:
    async with running_hub(clinic_folder(tmp_path, "connections:\n  inbox: {kind: probe_in}\n")) as hub:
        assert hub.clinic.settings.connections["inbox"].config.remember_for == 7 * 86400  # type: ignore[attr-defined]


async def test_a_resend_is_recognised_after_a_restart(world: World, tmp_path: Path) -> None:
    file = clinic(tmp_path)
    async with running_hub(file) as hub:
        await deliver(hub, adt("M1"))
        await settled(hub)
    async with running_hub(file) as hub:
        assert (await deliver(hub, adt("M1"))).duplicates == [True]
        await settled(hub)
        assert len(world.runs) == 1


async def test_a_resend_is_recognised_after_the_hub_was_killed(tmp_path: Path, store: Place) -> None:
    port = free_port()
    connections = f'connections:\n  ehr: {{kind: mllp_listener, port: "{port}"}}\n'
    file = clinic_folder(tmp_path, connections + "flows:\n  f: {from: ehr, steps: [{map: adt_to_patient}, {save: patient}]}\n")
    with HubProcess(file) as hub:
        async with EhrClient("127.0.0.1", port) as ehr:
            assert (await ehr.send(adt("M1"))).code == "AA"
        hub.kill()
        await asyncio.to_thread(hub.start)
        async with EhrClient("127.0.0.1", port) as ehr:
            assert (await ehr.send(adt("M1"))).code == "AA"
        await until(lambda: states(store, "flow:f") == ["delivered"])
    assert one(store, "SELECT count(*) FROM message") == 1
