"""Retention: what is finished goes when its time is over, class by class; what is open never does; nobody waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from hub.bus import bodyfiles
from hub.bus.hub import Hub
from hub.bus.retention import REST, Retention
from hub.clinic import load_clinic
from hub.errors import ConfigError, ConnectionDown, MessageRejected, NotFound, Refused
from hub.message import Message
from hub.settings.model import SHORTEST_AUDIT
from hub.step import Context, StepResult
from hub.store.outdated import Outdated
from hub.store.sqlite import verify_audit
from tests.hub.bus.probe import World, adt, deliver, in_turn, long_adt, one, rows, states, tamper
from tests.support import ask, clinic_folder, run_hub, running_hub, settled, until

FLOW = """
retention: {messages: 30d, bodies: 10d, attempts: 20d, notes: 20d}
connections:
  inbox: {kind: probe_in, remember_for: 7d}
  pms: {kind: probe_out, answer: yes, retry: {first: 20ms, most: 50ms, attempts: "2"}, on_rejected: retry}
flows:
  work: {from: inbox, steps: [{probe: work}, {send: pms}]}
"""
DAY = 86_400_000_000
"""Microseconds."""


@dataclass
class Place:
    """A running hub and its store."""

    hub: Hub
    store: Path

    async def sweep(self) -> dict[str, int]:
        return dict(await ask(self.hub, "retention.run"))

    def count(self, table: str) -> int:
        return int(one(self.store, f"SELECT count(*) FROM {table}"))

    def older(self, days: float, condition: str = "1") -> None:
        """Messages that fulfil the condition, and all that belongs to them, get so many days older."""
        back = int(days * DAY)
        seqs = f"(SELECT seq FROM message WHERE {condition})"
        tamper(self.store, f"UPDATE attempt SET at = at - {back} WHERE work IN (SELECT id FROM work WHERE seq IN {seqs})")
        for table in ("work", "note", "seen", "message"):
            tamper(self.store, f"UPDATE {table} SET at = at - {back} WHERE seq IN {seqs}")


@asynccontextmanager
async def place(folder: Path, text: str = FLOW) -> AsyncIterator[Place]:
    async with running_hub(clinic_folder(folder, text)) as hub:
        yield Place(hub, folder / "var" / "hub.db")


async def test_nothing_that_is_younger_than_it_is_kept_goes(world: World, tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        await in_turn(here.hub, [adt("M1"), adt("M2")])
        await settled(here.hub)
        here.older(9)
        before = {table: here.count(table) for table in ("message", "message_key", "work", "note", "seen")}
        swept = await here.sweep()
        assert {**swept, "seen": 0} == dict.fromkeys(swept, 0)
        del before["seen"]  # 7 days only
        assert {table: here.count(table) for table in before} == before
        assert one(here.store, "SELECT count(*) FROM message WHERE body IS NULL") == 0


async def test_bodies_go_first_and_say_so(world: World, tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        [first, *_] = await in_turn(here.hub, [adt("M1"), adt("M2")])
        await settled(here.hub)
        here.older(11, "control_id = 'M1' AND direction = 'in'")
        assert (await here.sweep())["bodies"] == 1
        shown = await ask(here.hub, "messages.show", id=first.ids[0], phi=True)
        assert (shown["body"], shown["body_hidden"]) == (None, "no longer kept")
        assert shown["state"] == "delivered"
        assert len((await ask(here.hub, "trace", id=first.ids[0]))["entries"]) >= 3
        with pytest.raises(Refused, match="no longer kept") as caught:
            await ask(here.hub, "replay", ids=first.ids, yes=1)
        assert caught.value.code == "RPL-006"
        here.hub.core.bodies.forget(first.ids[0])
        with pytest.raises(NotFound, match="no longer kept"):
            _ = (await here.hub.core.bodies.load(first.ids[0])).body
        assert (await here.sweep())["bodies"] == 0


async def test_messages_go_with_everything_that_belongs_to_them(world: World, tmp_path: Path) -> None:
    @world.partner
    async def pms(message: Message) -> Message | None:
        if b"M1" in message.body:
            raise MessageRejected("no", answer="AE")
        return Message(b"yes", "bytes")

    async with place(tmp_path) as here:
        await in_turn(here.hub, [adt("M1"), adt("M1"), adt("M2")])  # the second is a resend: a note on the first
        await settled(here.hub)
        assert here.count("attempt") == 2
        await until(lambda: here.count("note"))
        here.older(31, "control_id = 'M1' OR parent IN (SELECT id FROM message WHERE control_id = 'M1')")
        gone = await here.sweep()
        assert gone["messages"] == 2
        kept = rows(here.store, "SELECT seq FROM message")
        assert len(kept) == 2
        for table in ("work", "note", "message_key"):
            assert set(rows(here.store, f"SELECT DISTINCT seq FROM {table}")) <= set(kept), table
        assert here.count("attempt") == 0
        with pytest.raises(NotFound):
            await ask(here.hub, "trace", id="M1")
        assert await ask(here.hub, "trace", id="M2")


async def test_what_is_open_stays_whatever_its_age_with_what_belongs_to_it(world: World, tmp_path: Path) -> None:
    away = True

    @world.partner
    async def pms(message: Message) -> Message | None:
        if away:
            raise ConnectionDown("pms: away")
        return Message(b"yes", "bytes")

    async with place(tmp_path) as here:
        await in_turn(here.hub, [adt("M1")])
        await until(lambda: world.sent.get("pms"))
        here.older(400)
        swept = await here.sweep()
        assert {**swept, "seen": 0, "bodies": 0} == dict.fromkeys(swept, 0)
        assert here.count("message") == 2, "the message, and the one it was made of"
        preview = {line["class"]: line for line in await ask(here.hub, "retention.preview")}
        assert (preview["messages"]["to_go"], preview["messages"]["open"]) == (1, 1)
        away = False
        await settled(here.hub)
        assert world.bodies("pms")[-1] == adt("M1")
        here.older(400)
        assert (await here.sweep())["messages"] == 2
        assert here.count("message") == 0


@pytest.mark.parametrize("state", ["held", "parked", "working", "waiting"])
async def test_work_of_every_open_state_keeps_its_message_and_its_body(world: World, tmp_path: Path, state: str) -> None:
    async with place(tmp_path) as here:
        await in_turn(here.hub, [adt("M1")])
        await settled(here.hub)
        tamper(here.store, "UPDATE work SET state = ?", state)
        here.older(400)
        await here.sweep()
        assert here.count("message WHERE body IS NOT NULL") == 2


async def test_a_message_in_quarantine_keeps_its_body_as_long_as_itself(world: World, tmp_path: Path) -> None:
    @world.partner
    async def pms(message: Message) -> Message | None:
        raise MessageRejected("no", answer="AR", final=True)

    async with place(tmp_path) as here:
        await in_turn(here.hub, [adt("M1")])
        await settled(here.hub)
        assert states(here.store, "to:pms") == ["quarantined"]
        here.older(29)
        await here.sweep()
        assert rows(here.store, "SELECT direction FROM message WHERE body IS NOT NULL") == [("out",)]
        assert here.count("attempt") == 0, "what the partner wrote goes with the attempts"
        here.older(2)
        assert (await here.sweep())["messages"] == 2


async def test_a_body_whose_work_ended_late_goes_too(world: World, tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        await in_turn(here.hub, [adt("M1"), adt("M2")])
        await settled(here.hub)
        here.older(15)
        tamper(here.store, "UPDATE work SET state = 'held' WHERE seq = 1")
        await here.sweep()
        assert [seq for (seq,) in rows(here.store, "SELECT seq FROM message WHERE body IS NOT NULL")] == [1]
        tamper(here.store, "UPDATE work SET state = 'delivered' WHERE seq = 1")
        await here.sweep()
        assert here.count("message WHERE body IS NOT NULL") == 0


async def test_what_a_person_replays_while_a_sweep_goes_on_is_left(world: World, tmp_path: Path) -> None:
    """The reader has chosen it, then its work becomes open: the writer looks for itself."""
    async with place(tmp_path) as here:
        await in_turn(here.hub, [adt(f"M{number}") for number in range(5)])
        await settled(here.hub)
        here.older(400)
        chosen = await Outdated(here.hub.core.reader).messages(time.time_ns() // 1000, None, 100)
        tamper(here.store, "UPDATE work SET state = 'held' WHERE target = 'to:pms' AND seq = (SELECT max(seq) FROM message)")
        await here.sweep()
        assert len(chosen) == 10
        assert here.count("message") == 2


# Large bodies.


def files(store: Path) -> list[Path]:
    return [path for path in store.with_name(store.name + ".files").rglob("*") if path.is_file()]


def aged(paths: list[Path]) -> None:
    for path in paths:
        os.utime(path, (time.time() - 7200, time.time() - 7200))


async def test_a_file_goes_when_the_last_message_that_names_it_does(
    world: World, tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodyfiles, "GRACE", -1.0)

    @world.step
    async def work(message: Message, context: Context) -> StepResult:
        return None

    large = long_adt("M1", size=300_000)
    async with place(tmp_path) as here:
        await deliver(here.hub, large)
        await deliver(here.hub, large, format="bytes")
        await settled(here.hub)
        assert here.count("message WHERE file IS NOT NULL") == 2
        assert len(files(store)) == 1
        here.older(11, "seq = 1")
        await here.sweep()
        assert len(files(store)) == 1
        here.older(11, "seq = 2")
        tamper(here.store, "DELETE FROM counter")  # it did not come a moment ago, as the mark of the sweep before has it
        assert (await here.sweep())["files"] == 1
        assert files(store) == []


async def test_a_file_is_left_while_somebody_may_still_commit_its_name(world: World, tmp_path: Path, store: Path) -> None:
    """A body that came before is not written again: its name was handed out, and its row is on its way."""
    async with place(tmp_path) as here:
        found = here.hub.core.bodies.files
        name = found.write(b"x" * 300_000)
        aged(files(store))
        assert await found.collect(Outdated(here.hub.core.reader).files_in_use) == (0, 0), "handed out a moment ago"
        found._handed_out.clear()
        assert found.write(b"x" * 300_000) == name
        found._handed_out.clear()
        assert await found.collect(Outdated(here.hub.core.reader).files_in_use) == (0, 0), "another hub may have been given it"
        aged(files(store))
        assert await found.collect(Outdated(here.hub.core.reader).files_in_use) == (1, 0)
        assert files(store) == []
        with pytest.raises(NotFound):
            found.read(name)


async def test_drafts_that_a_crash_left_are_taken_away(world: World, tmp_path: Path, store: Path) -> None:
    async with place(tmp_path) as here:
        folder = store.with_name(store.name + ".files") / "ab"
        folder.mkdir()
        (folder / "abcd.1.ffff.part").write_bytes(b"half")
        assert (await here.sweep())["drafts"] == 0, "it may still be being written"
        aged(files(store))
        assert (await here.sweep())["drafts"] == 1
        assert files(store) == []


# The audit.


async def test_audit_rows_go_after_six_years_and_the_chain_still_holds(world: World, tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        for number in range(6):
            with contextlib.suppress(NotFound):
                await ask(here.hub, "trace", id=f"nobody {number}")
        chain = rows(here.store, "SELECT seq, at, actor, action, object, detail, chain FROM audit ORDER BY seq")
        assert verify_audit(chain) is None
        outdated = Outdated(here.hub.core.reader)
        count, last = await outdated.audit(chain[3][1])
        assert (count, last) == (3, chain[2][0])
        retention = Retention(here.hub.clinic.settings, here.hub.core.journal, here.hub.core.reader, here.hub.core.bodies.files)
        retention._kept["audit"] = (time.time_ns() // 1000 - chain[3][1]) / 1e6 + 0.0
        await retention.sweep()
        kept = rows(here.store, "SELECT seq, at, actor, action, object, detail, chain FROM audit ORDER BY seq")
        assert kept[0] in chain[3:]
        start = await outdated.audit_start()
        assert verify_audit(kept, start) is None
        assert verify_audit(kept) == kept[0][0], "without its beginning it does not hold"


async def test_the_newest_audit_row_always_stays_so_that_the_chain_goes_on(world: World, tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        await ask(here.hub, "messages.list")
        tamper(here.store, "UPDATE audit SET at = 1")
        retention = here.hub.core.retention
        await retention.sweep()
        assert here.count("audit") >= 1
    async with place(tmp_path) as here:
        await ask(here.hub, "messages.list")
        assert here.count("audit") >= 2


def test_nobody_can_have_the_audit_forgotten_too_early(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="less than 6y"):
        load_clinic(clinic_folder(tmp_path, "retention: {audit: 5y}\n"))
    settings = load_clinic(clinic_folder(tmp_path, "retention: {audit: 6y}\n")).settings
    assert settings.retention.audit == SHORTEST_AUDIT >= (6 * 365 + 2) * 86400


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{bodies: 60d, messages: 30d}", "longer than `messages`"),
        ("{messages: 1h}", "greater than or equal to 86400"),
        ("{bodies: 90}", "with its unit"),
        ("{everything: 1d}", "unknown field 'everything'"),
    ],
)
def test_settings_that_make_no_sense_are_refused_at_their_place(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        load_clinic(clinic_folder(tmp_path, f"retention: {text}\n"))
    assert caught.value.problems[0].line > 0


def test_what_belongs_to_a_message_is_never_kept_longer_than_it(tmp_path: Path) -> None:
    from hub.bus.retention import kept_for

    kept = kept_for(load_clinic(clinic_folder(tmp_path, "retention: {messages: 5d}\n")).settings)
    assert {kept[name] for name in ("messages", "bodies", "attempts", "notes")} == {5 * 86400}


# How it is done.


async def test_a_sweep_leaves_the_store_to_others_between_its_pieces(world: World, tmp_path: Path) -> None:
    """1,500 messages go while others come in: each delivery is answered quickly."""

    @world.step
    async def work(message: Message, context: Context) -> StepResult:
        return None

    slowest, delivered = 0.0, 0
    async with place(tmp_path) as here:
        for start in range(0, 1500, 100):
            await deliver(here.hub, *(adt(f"M{number}", f"{number}") for number in range(start, start + 100)))
        await settled(here.hub)
        here.older(400)
        sweep = asyncio.create_task(here.hub.core.retention.sweep())
        while not sweep.done():
            began = time.monotonic()
            await deliver(here.hub, adt(f"N{delivered}"))
            slowest, delivered = max(slowest, time.monotonic() - began), delivered + 1
        swept = await sweep
        assert swept.rows["messages"] == 1500
        assert swept.longest < 0.1
        await settled(here.hub)
        assert here.count("message") == delivered
    assert delivered > 20
    assert slowest < 0.5
    assert REST >= 4


async def test_a_sweep_that_is_killed_goes_on_at_the_next_start(world: World, tmp_path: Path) -> None:
    @world.step
    async def work(message: Message, context: Context) -> StepResult:
        return None

    async with place(tmp_path) as here:
        await deliver(here.hub, *(adt(f"M{number}", f"{number}") for number in range(300)))
        await settled(here.hub)
        here.older(400)
        sweep = asyncio.create_task(here.hub.core.retention.sweep())
        await until(lambda: here.count("message WHERE body IS NULL"))
        sweep.cancel()
    async with place(tmp_path) as here:
        await here.sweep()
        assert here.count("message") == 0
        assert here.count("message_key") == here.count("work") == 0


async def test_the_preview_is_what_a_sweep_then_takes(world: World, tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        await in_turn(here.hub, [adt("M1"), adt("M2"), adt("M3")])
        await settled(here.hub)
        here.older(31, "control_id IN ('M1', 'M2') AND direction = 'out'")
        here.older(11, "control_id IN ('M1', 'M2') AND direction = 'in'")
        preview = {line["class"]: line for line in await ask(here.hub, "retention.preview")}
        assert here.count("message") == 6, "a preview changes nothing"
        assert preview["bodies"]["kept_days"] == 10.0
        swept = await here.sweep()
        for name, line in preview.items():
            assert swept[name] == line["to_go"], name


async def test_what_was_taken_out_is_in_the_audit(world: World, tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        await in_turn(here.hub, [adt("M1")])
        await settled(here.hub)
        here.older(31)
        await here.sweep()
        [(actor, detail)] = rows(here.store, "SELECT actor, detail FROM audit WHERE action = 'retention'")
        assert actor == "test"
        assert "messages 2" in detail


def test_the_command_shows_and_does_it_without_a_running_hub(world: World, tmp_path: Path) -> None:
    file = clinic_folder(tmp_path, "retention: {bodies: 10d}\n")

    async def make() -> None:
        async with running_hub(file):
            pass

    asyncio.run(make())
    shown = run_hub("retention", "--json", "-c", file)
    assert shown.returncode == 0, shown.stderr
    lines = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [line["class"] for line in lines] == ["bodies", "messages", "attempts", "notes", "seen", "audit"]
    table = run_hub("retention", "-c", file)
    assert "bodies" in table.stdout
    assert "10 d" in table.stdout
    done = run_hub("retention", "--run", "-c", file)
    assert (done.returncode, done.stderr.strip()) == (0, "removed: nothing")
