"""What people ask of a hub: filters that use an index, masks, replays that are meant, audit rows with each of them."""

from __future__ import annotations

import re
import sqlite3
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from hub.bus.core import open_core
from hub.bus.hub import Hub
from hub.bus.operations import MASK, Operations
from hub.clinic import load_clinic
from hub.errors import HubError, MessageRejected, MessageUnusable, NotFound, Refused
from hub.message import Message
from hub.step import Context, StepResult
from hub.store.rows import STATES
from hub.store.sqlite import verify_audit
from tests.hub.bus.probe import (
    World,
    adt,
    control_ids,
    deliver,
    disk_is_full,
    in_turn,
    one,
    rows,
    siu,
    states,
    tamper,
    there_is_space_again,
)
from tests.support import ask, clinic_folder, running_hub, settled, until

FLOW = """
connections:
  inbox: {kind: probe_in}
  other: {kind: probe_in}
  pms: {kind: probe_out, on_rejected: quarantine}
flows:
  work: {from: inbox, steps: [{probe: work}, {send: pms}]}
"""


async def refusing(message: Message) -> None:
    if b"BAD" in message.body:
        raise MessageRejected("the partner answered AE", answer="AE")


@pytest.fixture
def file(world: World, tmp_path: Path) -> Path:
    world.partners["pms"] = refusing  # type: ignore[assignment]
    return clinic_folder(tmp_path, FLOW)


# Filters.


async def test_each_filter_finds_what_it_names_and_several_narrow_it_down(file: Path) -> None:
    async with running_hub(file) as hub:
        await in_turn(hub, [adt("M1", "7"), adt("BAD2", "8"), siu("M3", "F-77", "202701010900", "7")])
        await deliver(hub, adt("M4", "7"), source="other")
        await settled(hub)

        async def found(**selection: Any) -> list[str]:
            return [m["control_id"] for m in await ask(hub, "messages.list", **selection)]

        assert await found() == ["M4", *await found()][1:], "newest first"
        assert await found(connection="other") == ["M4"]
        assert sorted(await found(connection="pms")) == ["BAD2", "M1", "M3"]
        assert set(await found(type="SIU^S12")) == set(await found(type="SIU^*")) == {"M3"}
        assert sorted(await found(type="ADT^*", connection="inbox")) == ["BAD2", "M1"]
        assert set(await found(patient="7")) == {"M1", "M3", "M4"}
        assert await found(patient="7", connection="other") == ["M4"]
        assert await found(control_id="BAD2", state="quarantined") == ["BAD2"]
        assert set(await found(appointment="F-77")) == {"M3"}
        assert await found(state="skipped") == ["M4"]
        assert await found(patient="8", appointment="F-77") == []
        assert len(await found(limit=2)) == 2
        assert await found(since=(datetime.now(UTC) + timedelta(hours=1)).isoformat()) == []
        assert len(await found(since=(datetime.now(UTC) - timedelta(hours=1)).isoformat())) == 7


@pytest.mark.parametrize(
    "selection",
    [{"state": "lost"}, {"limit": 0}, {"limit": 10**9}, {"since": "yesterday"}, {"patients": "7"}, {"type": ["ADT^A04"]}],
    ids=str,
)
async def test_a_filter_that_makes_no_sense_is_refused(file: Path, selection: dict[str, Any]) -> None:
    async with running_hub(file) as hub:
        with pytest.raises(Refused):
            await ask(hub, "messages.list", **selection)


async def test_a_message_is_listed_under_the_state_it_shows(file: Path, world: World) -> None:
    """Also after a replay: what was quarantined and then delivered is delivered, and no longer quarantined."""

    @world.step
    async def work(message: Message, context: Context) -> StepResult:
        if b"USELESS" in message.body:
            raise MessageUnusable("no use")
        return message

    async with running_hub(file) as hub:
        await in_turn(hub, [adt("M1", "1"), adt("BAD", "2"), adt("BAD-AND-MENDED", "3"), adt("USELESS", "4")])
        await deliver(hub, adt("M5"), source="other")
        await hub.sources["inbox"].deliver.refuse(Message(adt("M6"), "hl7v2"), "answered AR")  # type: ignore[attr-defined]
        await settled(hub)
        world.partners.clear()
        [stuck] = await ask(hub, "messages.list", control_id="BAD-AND-MENDED", connection="pms")
        await ask(hub, "replay", ids=[stuck["id"]], yes=1)
        await settled(hub)
        shown = {m["id"]: m["state"] for m in await ask(hub, "messages.list")}
        for state in STATES:
            listed = {m["id"] for m in await ask(hub, "messages.list", state=state)}
            assert listed == {id for id, of_message in shown.items() if of_message == state}, state


@contextmanager
def statements() -> Iterator[list[tuple[str, Any]]]:
    """Every query that is run meanwhile, with its values."""
    found: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, statement: str, values: Any, *_: Any) -> None:
        found.append((statement, values))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def scans(store: Path, query: str, values: Any) -> list[str]:
    """What a query reads from one end to the other."""
    connection = sqlite3.connect(store)
    try:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", values)]
    finally:
        connection.close()
    return [line for line in plan if re.match(r"SCAN [a-z_]+$", line)]


QUERIES: dict[str, Callable[[Hub, str], Awaitable[Any]]] = {
    **{
        f"list {name}": lambda hub, which, name=name, value=value: ask(hub, "messages.list", **{name: value})
        for name, value in {
            "connection": "inbox", "type": "ADT^A04", "patient": "7", "control_id": "M1", "appointment": "F-77",
            "since": "2026-01-01T00:00:00+00:00",
        }.items()
    },
    "list type ADT^*": lambda hub, which: ask(hub, "messages.list", type="ADT^*"),
    **{
        f"list state {state}": lambda hub, which, state=state: ask(hub, "messages.list", state=state)
        for state in STATES if state not in ("delivered", "working")
    },
    "show": lambda hub, which: ask(hub, "messages.show", id=which),
    "trace message": lambda hub, which: ask(hub, "trace", id=which),
    "trace patient": lambda hub, which: ask(hub, "trace", id="7"),
    "status": lambda hub, which: ask(hub, "status"),
    "open work": lambda hub, which: hub.core.reader.open_work("to:pms", 0, 100),
    "open work of a lane": lambda hub, which: hub.core.reader.open_work_of_lane("to:pms", "lane", 0, 100),
    "targets": lambda hub, which: hub.core.reader.targets(),
    "open targets": lambda hub, which: hub.core.reader.open_targets(),
    "keys of a message": lambda hub, which: hub.core.reader.keys_of([1, 2]),
    "due": lambda hub, which: hub.core.reader.due_until(1, 100),
    "records": lambda hub, which: hub.core.reader.find_records("thing", "text", "x", 10),
}  # fmt: skip


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES.keys())
async def test_no_question_reads_a_whole_table(file: Path, store: Path, query: Callable[[Hub, str], Awaitable[Any]]) -> None:
    """A journal of a year has a hundred million rows; every condition has an index."""
    async with running_hub(file) as hub:
        receipt = await deliver(hub, *(adt(f"M{number}", str(number)) for number in range(60)), adt("BAD", "7"))
        await settled(hub)
        with statements() as ran:
            await query(hub, receipt.ids[0])
    assert ran
    assert {line for statement, values in ran for line in scans(store, statement, values)} == set()


async def test_work_is_read_by_the_index_of_open_work(file: Path, store: Path) -> None:
    """Not along all the work there ever was: after a year almost all of it is done."""
    async with running_hub(file) as hub:
        with statements() as ran:
            await hub.core.reader.open_work("to:pms", 0, 100)
            await hub.core.reader.backlog()
        connection = sqlite3.connect(store)
        for statement, values in ran:
            if "keep > 0" in statement:
                continue  # the look a start begins with, for bodies that may go: it goes by messages
            plan = " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values))
            assert any(index in plan for index in ("work_open", "work_by_lane", "work_not_done")), plan
        connection.close()


# Masks.


async def test_patient_data_is_masked_unless_asked_for(file: Path) -> None:
    async with running_hub(file) as hub:
        receipt = await deliver(hub, adt("M1", "ZQXMRN", family="ZQXNAME"))
        await settled(hub)
        for operation, params in (
            ("messages.list", {}),
            ("messages.show", {"id": receipt.ids[0]}),
            ("trace", {"id": receipt.ids[0]}),
            ("status", {}),
        ):
            hidden = str(await ask(hub, operation, **params))
            assert "ZQX" not in hidden, operation
            if operation.startswith("messages"):
                assert MASK in hidden
                assert "ZQXMRN" in str(await ask(hub, operation, **params, phi=True))
        shown = await ask(hub, "messages.show", id=receipt.ids[0], phi=True)
        assert "ZQXNAME" in shown["body"]


async def test_a_message_without_a_patient_has_nothing_to_mask(file: Path) -> None:
    async with running_hub(file) as hub:
        await deliver(hub, b"a file", format="bytes")
        assert [m["patient"] for m in await ask(hub, "messages.list", connection="inbox")] == [None]


# Replay.


@pytest.mark.parametrize("yes", [None, 0, 1, 3, 99], ids=["none", "0", "one-less", "one-more", "many"])
async def test_a_replay_is_refused_without_the_right_count(file: Path, world: World, store: Path, yes: int | None) -> None:
    async with running_hub(file) as hub:
        await in_turn(hub, [adt("BAD1", "1"), adt("BAD2", "2"), adt("M3", "3")])
        await settled(hub)
        before = len(world.sent["pms"])
        with pytest.raises(Refused, match="--yes 2"):
            await ask(hub, "replay", state="quarantined", yes=yes)
        await settled(hub)
        assert len(world.sent["pms"]) == before
        assert one(store, "SELECT max(generation) FROM work") == 0


async def test_a_dry_run_tells_the_count_and_does_nothing(file: Path, world: World, store: Path) -> None:
    async with running_hub(file) as hub:
        await in_turn(hub, [adt("BAD1", "1"), adt("BAD2", "2"), adt("M3", "3")])
        await settled(hub)
        told = await ask(hub, "replay", state="quarantined", dry_run=True, yes=2)
        await settled(hub)
        assert (told["count"], told["replayed"], len(told["messages"])) == (2, 0, 2)
        assert one(store, "SELECT max(generation) FROM work") == 0
        world.partners.clear()
        done = await ask(hub, "replay", state="quarantined", yes=told["count"])
        await settled(hub)
        assert (done["count"], done["replayed"]) == (2, 2)
        assert (await ask(hub, "replay", state="quarantined", dry_run=True))["count"] == 0
    assert sorted(control_ids(world.sent["pms"])) == ["BAD1", "BAD1", "BAD2", "BAD2", "M3"]


@pytest.mark.parametrize(
    ("params", "words"),
    [
        pytest.param({"yes": 0}, "say which messages", id="everything"),
        pytest.param({"ids": ["@ID@"], "from_step": "probe:nowhere", "yes": 1}, "no step 'probe:nowhere'", id="unknown-step"),
        pytest.param({"state": "refused", "yes": 1}, "was refused", id="refused-message"),
    ],
)
async def test_a_replay_that_makes_no_sense_is_refused(file: Path, params: dict[str, Any], words: str) -> None:
    async with running_hub(file) as hub:
        receipt = await deliver(hub, adt("M1"))
        await hub.sources["inbox"].deliver.refuse(Message(adt("M2"), "hl7v2"), "answered AR")  # type: ignore[attr-defined]
        await settled(hub)
        if "ids" in params:
            params = {**params, "ids": [*receipt.ids]}
        with pytest.raises(Refused, match=words):
            await ask(hub, "replay", **params)


async def test_a_message_that_is_on_its_way_is_not_replayed(file: Path, world: World) -> None:
    gate = []

    @world.step
    async def work(message: Message, context: Context) -> StepResult:
        await until(lambda: gate)
        return message

    async with running_hub(file) as hub:
        receipt = await deliver(hub, adt("M1"))
        await until(lambda: world.runs)
        with pytest.raises(Refused, match="still on its way"):
            await ask(hub, "replay", ids=[*receipt.ids], yes=1)
        gate.append(True)
        await settled(hub)


async def test_a_message_no_flow_wanted_can_be_replayed_once_one_does(world: World, tmp_path: Path) -> None:
    async with running_hub(clinic_folder(tmp_path, FLOW.replace("from: inbox", "from: other"))) as hub:
        receipt = await deliver(hub, adt("M1"))
    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        assert (await ask(hub, "replay", state="skipped", yes=1))["replayed"] == 1
        await settled(hub)
        assert (await ask(hub, "messages.show", id=receipt.ids[0]))["state"] == "delivered"
    assert control_ids(world.sent["pms"]) == ["M1"]


async def test_unknown_operations_and_messages_are_not_found(file: Path) -> None:
    async with running_hub(file) as hub:
        for operation, params in (("messages.eat", {}), ("messages.show", {"id": "x"}), ("replay", {"ids": ["x"], "yes": 1})):
            with pytest.raises(NotFound):
                await ask(hub, operation, **params)


# Audit.

AUDITED: dict[str, dict[str, Any]] = {
    "messages.list": {"patient": "7", "phi": True},
    "messages.show": {"id": "@ID@", "phi": True},
    "trace": {"id": "F-77"},
    "replay": {"ids": ["@ID@"], "yes": 1},
    "messages.edit": {"id": "@ID@", "body": b64encode(adt("EDITED")).decode()},
    "pause": {"name": "pms"},
    "resume": {"name": "pms"},
    "drain": {"name": "work"},
    "tail.begin": {"phi": True},
    "reload": {},
    "thing.look": {"id": "t"},
    "thing.change": {"id": "t", "text": "x"},
}


def filled_in(params: dict[str, Any], id: str) -> dict[str, Any]:
    return {name: [id] if value == ["@ID@"] else id if value == "@ID@" else value for name, value in params.items()}


async def with_one_message(hub: Hub) -> str:
    receipt = await deliver(hub, siu("M1", "F-77", "202701010900", "7"))
    await settled(hub)
    return receipt.ids[0]


@pytest.mark.parametrize("operation", AUDITED)
async def test_every_operation_writes_who_did_what_to_what_and_when(file: Path, operation: str) -> None:
    async with running_hub(file) as hub:
        params = filled_in(AUDITED[operation], await with_one_message(hub))
        before = datetime.now(UTC)
        await Operations(hub.core, hub).run(operation, params, "carla")
        [row] = await hub.core.reader.audit_rows()
        assert (row.actor, row.action) == ("carla", operation)
        assert abs(row.at / 1e6 - before.timestamp()) < 5
        if "id" in params or "ids" in params:
            assert (params.get("id") or params["ids"][0]) in row.object
        assert "patient=7" not in row.detail


@pytest.mark.parametrize("operation", [name for name in AUDITED if name != "replay"])
async def test_an_operation_whose_audit_row_cannot_be_written_does_not_happen(file: Path, store: Path, operation: str) -> None:
    async with running_hub(file) as hub:
        params = filled_in(AUDITED[operation], await with_one_message(hub))
        with pytest.raises(HubError):
            await Operations(hub.core, hub).run(operation, params, "nobody: \ud800")
        assert one(store, "SELECT count(*) FROM record") == 0, "nothing was changed either"
        assert await hub.core.reader.audit_rows() == []


async def test_a_full_disk_lets_nobody_look_without_being_seen(file: Path, store: Path) -> None:
    async with running_hub(file) as hub:
        id = await with_one_message(hub)
        disk_is_full(hub)
        await until(lambda: is_refused(hub, id))
        looks = one(store, "SELECT count(*) FROM audit")
        with pytest.raises(HubError):
            await Operations(hub.core, hub).run("messages.list", {"control_id": "z" * 9000}, "z" * 100)
        assert one(store, "SELECT count(*) FROM audit") == looks
        there_is_space_again(hub)
        await Operations(hub.core, hub).run("messages.show", {"id": id}, "carla")


async def is_refused(hub: Hub, id: str) -> bool:
    try:
        await Operations(hub.core, hub).run("messages.show", {"id": id}, "y" * 100)
    except HubError:
        return True
    return False


async def test_a_change_by_a_person_and_its_audit_row_are_one_commit(world: World, file: Path) -> None:
    async with running_hub(file) as hub:
        id = await with_one_message(hub)
    core = await open_core(load_clinic(file))  # a store at rest: nothing else commits
    try:
        edited = b64encode(adt("EDITED")).decode()
        changes: dict[str, dict[str, Any]] = {
            "messages.edit": {"id": id, "body": edited},
            "replay": {"ids": [id], "yes": 1},
            "messages.skip": {"id": id},
            "pause": {"name": "pms"},
            "resume": {"name": "pms"},
            "thing.change": {"id": "t", "text": "x"},
        }
        for operation, params in changes.items():
            before = core.journal.commits
            await Operations(core).run(operation, params, "carla")
            assert core.journal.commits == before + 1, operation
        assert [row.action for row in await core.reader.audit_rows()] == list(changes)
    finally:
        await core.close()


async def audited(hub: Hub, count: int) -> None:
    for number in range(count):
        await Operations(hub.core, hub).run("messages.list", {"control_id": f"M{number}"}, "carla")


TAMPERINGS = {
    "edited-actor": "UPDATE audit SET actor = 'dora' WHERE seq = 5",
    "edited-time": "UPDATE audit SET at = at - 1 WHERE seq = 5",
    "edited-action": "UPDATE audit SET action = 'status' WHERE seq = 5",
    "edited-object": "UPDATE audit SET object = object || 'x' WHERE seq = 5",
    "edited-detail": "UPDATE audit SET detail = '' WHERE seq = 5",
    "edited-chain": "UPDATE audit SET chain = zeroblob(32) WHERE seq = 5",
    "deleted": "DELETE FROM audit WHERE seq = 5",
    "deleted-first": "DELETE FROM audit WHERE seq = 1",
    "swapped": "UPDATE audit SET seq = CASE seq WHEN 5 THEN -6 ELSE -5 END WHERE seq IN (5, 6)",
    "inserted": "INSERT INTO audit SELECT 100 + seq, at, actor, action, object, detail, chain FROM audit WHERE seq = 5",
}


@pytest.mark.parametrize("statement", TAMPERINGS.values(), ids=TAMPERINGS.keys())
async def test_a_row_of_the_audit_that_was_changed_is_found(file: Path, store: Path, statement: str) -> None:
    async with running_hub(file) as hub:
        await audited(hub, 10)
        assert verify_audit(await hub.core.reader.audit_rows()) is None
    assert tamper(store, statement) > 0
    tamper(store, "UPDATE audit SET seq = -seq WHERE seq < 0")
    async with running_hub(file) as hub:
        assert verify_audit(await hub.core.reader.audit_rows()) is not None


async def test_the_chain_of_the_audit_goes_on_over_restarts_and_failed_commits(file: Path, store: Path) -> None:
    for start in range(3):
        async with running_hub(file) as hub:
            await audited(hub, 3)
            with pytest.raises(HubError):
                await Operations(hub.core, hub).run("messages.list", {}, "\ud800")
            assert verify_audit(await hub.core.reader.audit_rows()) is None, f"after start {start}"
    assert [seq for (seq,) in rows(store, "SELECT seq FROM audit ORDER BY seq")] == list(range(1, 10))


async def test_status_is_no_look_at_a_patient(file: Path, store: Path) -> None:
    async with running_hub(file) as hub:
        await ask(hub, "status")
    assert rows(store, "SELECT * FROM audit") == []


async def test_status_counts_what_waits_and_what_is_held(world: World, tmp_path: Path, store: Path) -> None:
    world.partners["pms"] = refusing  # type: ignore[assignment]
    async with running_hub(clinic_folder(tmp_path, FLOW.replace("on_rejected: quarantine", "on_rejected: hold"))) as hub:
        await in_turn(hub, [adt("BAD", "1"), adt("M2", "1"), adt("M3", "1"), adt("M4", "4")])
        await until(lambda: states(store, "to:pms").count("delivered") == 1 and len(states(store, "to:pms")) == 4)
        status = await ask(hub, "status")
        [line] = [c for c in status["connections"] if c["name"] == "pms"]
        assert (line["held"], line["waiting"], line["state"]) == (1, 3, "up")
        assert status["ready"] is True
        assert status["store"]["backlog"] == 3
