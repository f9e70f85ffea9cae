"""What records keep besides themselves: once, sealed, on disk before the record, as long as a record or a message names it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from connectors.simulators.ehr import header, message, segment
from hub.bus import bodyfiles
from hub.bus.hub import Hub
from hub.errors import NotFound
from hub.message import LARGE_BODY, Message, Stored
from hub.records import Content, Document, contents_of
from hub.security.seal import Seal, read_key
from hub.step import Context, StepResult
from hub.store.backup import back_up
from hub.store.outdated import Outdated
from hub.store.restoring import Restore
from hub.store.schema import IS_NAMED
from tests.hub.bus.probe import Place, Thing, World, everything_stored, one, rows, states, tamper
from tests.postgres import query
from tests.support import HubProcess, ask, clinic_folder, run_hub, running_hub, settled, until

FLOW = """
retention: {messages: 30d, bodies: 10d, attempts: 20d, notes: 20d}
connections:
  inbox: {kind: probe_in}
  pms: {kind: probe_out}
flows:
  work: {from: inbox, steps: [{probe: work}, {send: pms}]}
"""
LARGE = b"%PDF a letter " * 40_000
SMALL = b"%PDF a note about ZZYPATIENT"


@pytest.fixture
def keeping(world: World) -> World:
    """A flow that keeps what comes, in a thing named by its first word, and ends."""

    @world.step
    async def work(message: Message, context: Context) -> StepResult:
        kept = await context.keep(message)
        await context.put(Thing(id=message.headers["thing"], kept=[kept]))
        return None

    return world


async def bring(hub: Hub, body: bytes, thing: str = "a") -> None:
    await hub.sources["inbox"].deliver([Message(body, "document", headers={"thing": thing})])  # type: ignore[attr-defined]
    await settled(hub)


async def thing(hub: Hub, id: str = "a") -> Thing:
    found = await hub.core.context("test").get(Thing, id)
    assert found is not None
    return found


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*.files/??/*") if path.is_file()]


def aged(folder: Path) -> None:
    for path in files(folder):
        os.utime(path, (time.time() - 7200, time.time() - 7200))


def longer_ago(store: Place, days: int) -> None:
    for table in ("work", "note", "message"):
        tamper(store, f"UPDATE {table} SET at = at - {days * 86_400_000_000}")


@pytest.mark.both_stores
@pytest.mark.parametrize("body", [LARGE, SMALL])
async def test_what_is_kept_outlives_its_message_and_goes_when_no_record_names_it(
    keeping: World, tmp_path: Path, store: Place, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodyfiles, "GRACE", -1.0)
    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        await bring(hub, body)
        longer_ago(store, 40)
        await ask(hub, "retention.run")
        assert one(store, "SELECT count(*) FROM message") == 0
        [kept] = (await thing(hub)).kept
        assert await hub.core.context("test").content(kept) == body
        await bring(hub, b"instead of it")
        [instead] = (await thing(hub)).kept
        assert (await ask(hub, "retention.run"))["files"] == 1
        assert await hub.core.context("test").content(instead) == b"instead of it"
        with pytest.raises(NotFound, match="is gone"):
            await hub.core.context("test").content(kept)


@pytest.mark.both_stores
async def test_the_same_bytes_are_kept_once_and_stay_for_the_last_who_names_them(
    keeping: World, tmp_path: Path, store: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodyfiles, "GRACE", -1.0)
    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        await bring(hub, LARGE, "a")
        await bring(hub, LARGE, "b")
        assert len(files(tmp_path)) == 1, "the message, and both things, name one file"
        await bring(hub, SMALL, "a")
        longer_ago(store, 40)
        await ask(hub, "retention.run")
        [kept] = (await thing(hub, "b")).kept
        assert await hub.core.context("test").content(kept) == LARGE
        assert len(files(tmp_path)) == 2


async def test_a_message_made_of_what_is_kept_copies_nothing(world: World, tmp_path: Path, store: Place) -> None:
    read: list[str] = []

    @world.step
    async def work(message: Message, context: Context) -> StepResult:
        assert isinstance(message.payload, Stored), "a large body is not read before somebody asks"
        kept = await context.keep(message)
        small = await context.keep(SMALL)
        await context.put(Thing(id="a", kept=[kept, small]))
        return [message.derive(context.body(part), format="document") for part in (kept, small)]

    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        found = hub.core.bodies.files
        reading = found.read
        found.read = lambda name: read.append(name) or reading(name)  # type: ignore[method-assign, func-returns-value]

        @world.partner
        async def pms(message: Message) -> None:
            read.append("sent")

        await bring(hub, LARGE)
        assert read == ["sent", "sent"]
        assert len(files(tmp_path)) == 2
        assert [message.body for message in world.sent["pms"]] == [LARGE, SMALL]
        sent = rows(
            store, "SELECT size, digest = (SELECT digest FROM message WHERE seq = 1) FROM message WHERE direction = 'out'"
        )
        assert sent == [(len(LARGE), 1), (len(SMALL), 0)]


async def test_it_is_sealed_and_on_disk_before_the_run_ends(world: World, tmp_path: Path, store: Place) -> None:
    @world.step
    async def work(message: Message, context: Context) -> StepResult:
        await context.keep(SMALL)
        assert len(files(tmp_path)) == 1
        raise ValueError("nothing comes of it")

    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        await bring(hub, b"begin")
        assert states(store, "flow:work") == ["quarantined"]
        assert b"ZZYPATIENT" not in everything_stored(tmp_path)
        aged(tmp_path)
        in_use = Outdated(hub.core.reader).files_in_use
        assert await hub.core.bodies.files.collect(in_use) == (0, 0), "somebody may still save a record that names it"
    async with running_hub(tmp_path / "clinic.yaml") as hub:
        assert await hub.core.bodies.files.collect(Outdated(hub.core.reader).files_in_use) == (1, 0), "nobody did"


async def test_a_message_of_what_is_gone_is_not_made(world: World, tmp_path: Path, store: Place) -> None:
    @world.step
    async def work(message: Message, context: Context) -> StepResult:
        return message.derive(context.body(Content(name="0" * 32, size=7)), format="document")

    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        await bring(hub, b"begin")
        assert states(store, "flow:work") == ["quarantined"]
        assert "pms" not in world.sent


# Through a crash.

FAXES = """
connections:
  inbox: {kind: folder, path: in, every: 20ms, stable_for: 0s}
flows:
  documents: {from: inbox, steps: [{map: mdm_to_document}, {save: document}]}
"""


@pytest.mark.parametrize("stage", ["body_named", "flow_ran"])
async def test_a_hub_that_is_killed_has_the_record_with_its_bytes_or_neither(tmp_path: Path, stage: str) -> None:
    file = clinic_folder(tmp_path, FAXES)
    (tmp_path / "in").mkdir()
    letter = segment("TXA", f1="1", f12="D-1"), segment("OBX", f1="1", f2="TX", f5="dear colleague")
    (tmp_path / "in" / "letter.hl7").write_bytes(message(header("MDM^T02", "C1"), *letter))
    hub = HubProcess(file, env={"CLINIC_HUB_FAILPOINTS": f"kill@{stage}"})
    with contextlib.suppress(AssertionError):  # it may be killed before it says that it is ready
        hub.start()
    assert hub.process is not None
    assert await asyncio.to_thread(hub.process.wait, 60) == -signal.SIGKILL
    hub.kill()
    async with running_hub(file) as again:
        context = again.core.context("test")
        await until(lambda: context.get(Document, "D-1"))
        document = await context.get(Document, "D-1")
        assert document is not None
        assert document.kept is not None
        assert await context.content(document.kept) == b"dear colleague"


async def test_who_names_a_file_is_found_by_indexes(world: World, tmp_path: Path, store: Path) -> None:
    async with running_hub(clinic_folder(tmp_path, FLOW)):
        plan = " ".join(str(row) for row in rows(store, f"EXPLAIN QUERY PLAN {IS_NAMED}", "0" * 32))
    assert "record_key_content" in plan
    assert "message_file" in plan
    assert "SCAN" not in plan.replace("SCAN CONSTANT ROW", "")


# Moves with the store.


async def test_a_backup_has_it(keeping: World, tmp_path: Path, store: Path) -> None:
    file = clinic_folder(tmp_path, FLOW)
    async with running_hub(file) as hub:
        await bring(hub, SMALL)
    back_up(store, tmp_path / "b.tar")
    for path in files(tmp_path):
        path.unlink()
    Restore(tmp_path / "b.tar", store, Seal(read_key(tmp_path / "hub.key"))).run(asking=[], moved=False, actor="test")
    async with running_hub(file) as hub:
        [kept] = (await thing(hub)).kept
        assert await hub.core.context("test").content(kept) == SMALL


async def test_a_backup_of_a_store_that_lost_it_says_so(keeping: World, tmp_path: Path, store: Path) -> None:
    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        await bring(hub, SMALL)
    for path in files(tmp_path):
        path.unlink()
    with pytest.raises(Exception, match="body or document is gone"):
        back_up(store, tmp_path / "b.tar")


async def test_it_moves_to_postgresql_and_into_its_backups(
    keeping: World, tmp_path: Path, url: str, plugin_env: dict[str, str]
) -> None:
    file = clinic_folder(tmp_path, FLOW)
    async with running_hub(file) as hub:
        await bring(hub, SMALL)
    done = run_hub("store", "copy", "sqlite:///var/hub.db", url, "-c", file, "--json", env=plugin_env)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["files"] == 1
    file.write_text(file.read_text().replace("sqlite:///var/hub.db", url))
    done = run_hub("backup", tmp_path / "b.tar", "-c", file, env=plugin_env)
    assert done.returncode == 0, done.stderr
    assert query(url, "SELECT count(*) FROM record_key WHERE name = '=content'") == [(1,)]
    async with running_hub(file) as hub:
        [kept] = (await thing(hub)).kept
        assert await hub.core.context("test").content(kept) == SMALL


# Which fields are looked at.


def test_contents_are_found_wherever_a_record_has_them() -> None:
    one, two = Content(name="1", size=1), Content(name="2", size=2)
    assert list(contents_of(Document(id="D", kept=one))) == [one]
    assert list(contents_of(Thing(id="T", kept=[one, two]))) == [one, two]
    assert list(contents_of(Document(id="D"))) == []


# Messages and their bodies.


async def test_a_stored_body_is_not_read_to_know_its_size() -> None:
    def read() -> bytes:
        raise AssertionError("it was read")

    for size, large in ((10, False), (LARGE_BODY, False), (LARGE_BODY + 1, True)):
        stored, whole = Message(Stored("0" * 32, size, read)), Message(b"x" * size)
        assert (stored.size, stored.large) == (whole.size, whole.large) == (size, large)


async def test_a_body_is_read_beside_the_event_loop() -> None:
    threads: list[int] = []

    def read() -> bytes:
        threads.append(threading.get_ident())
        return b"letter"

    assert await Message(Stored("0" * 32, 6, read)).read() == b"letter"
    assert await Message(b"letter").read() == b"letter"
    assert await Message(Thing(id="a")).read() == b'{"id":"a"}'
    assert threads
    assert threads != [threading.get_ident()]
