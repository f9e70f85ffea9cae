"""Folders: a file is taken whole, once, and deleted only after the hub owns it; and it is written whole or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from connectors.folder import CLAIMED, Folder, FolderConfig
from hub.errors import ConnectionDown
from hub.message import Message, new_id
from hub.testing import CANARY, ConnectorContract, FakeDeliver, FakeReceipt
from tests.connectors.wire import adt, siu
from tests.support import ask, clinic_folder, running_hub, settled, until


class TestContract(ConnectorContract):
    connector = Folder
    config = {"path": "{tmp_path}", "every": "20ms", "stable_for": "0s"}


def folder(path: Path, connection: str = "drop", /, **given: Any) -> Folder:
    settings = {"kind": "folder", "path": str(path), "every": "10ms", "stable_for": "0s", **given}
    return Folder(connection, FolderConfig.model_validate(settings))


@asynccontextmanager
async def polling(path: Path, deliver: FakeDeliver, **given: Any) -> AsyncIterator[Folder]:
    connection = folder(path, **given)
    await connection.open(deliver)
    try:
        yield connection
    finally:
        await connection.close()


def put(path: Path, name: str, body: bytes) -> Path:
    """As a careful partner does it: written elsewhere, moved into place."""
    draft = path.parent / f"draft-{os.urandom(4).hex()}"
    draft.write_bytes(body)
    draft.rename(path / name)
    return path / name


def bodies(deliver: FakeDeliver) -> list[bytes]:
    return [message.body for message in deliver.delivered]


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    path = tmp_path / "drop"
    path.mkdir()
    return path


def visible(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir() if not entry.name.startswith("."))


def left(path: Path) -> list[str]:
    """Everything that is still a file, wherever the connector put it."""
    return sorted(entry.name for entry in path.rglob("*") if entry.is_file())


# Coming in.


async def test_files_are_delivered_and_then_deleted(drop: Path) -> None:
    put(drop, "b.hl7", adt("M2"))
    put(drop, "a.hl7", adt("M1"))
    deliver = FakeDeliver()
    async with polling(drop, deliver, pattern="*.hl7"):
        await until(lambda: len(deliver.delivered) == 2 and not left(drop))
    assert bodies(deliver) == [adt("M1"), adt("M2")]
    assert [message.headers["file"] for message in deliver.delivered] == ["a.hl7", "b.hl7"]


async def test_files_may_be_kept(drop: Path) -> None:
    deliver = FakeDeliver()
    async with polling(drop, deliver, after="keep"):
        for number in range(3):
            put(drop, "same.hl7", adt(f"M{number}"))
            await until(lambda kept=number + 1: len(list((drop / "done").glob("*"))) == kept)
    assert sorted(path.read_bytes() for path in (drop / "done").iterdir()) == [adt(f"M{number}") for number in range(3)]
    assert len(deliver.delivered) == 3, "what is kept is not taken again"


async def test_a_file_that_grows_is_taken_when_it_has_stopped(drop: Path) -> None:
    whole, deliver = adt("M1", more=("NTE|1||" + "x" * 5000,)), FakeDeliver()
    async with polling(drop, deliver, stable_for="250ms"):
        with (drop / "slow.hl7").open("wb", buffering=0) as handle:
            for at in range(0, len(whole), 600):
                handle.write(whole[at : at + 600])
                await asyncio.sleep(0.1)
                assert deliver.delivered == []
        await until(lambda: deliver.delivered)
    assert bodies(deliver) == [whole]


async def test_a_file_that_is_rewritten_in_the_same_size_is_not_taken_yet(drop: Path) -> None:
    deliver = FakeDeliver()
    async with polling(drop, deliver, stable_for="250ms"):
        for number in range(6):
            (drop / "again.hl7").write_bytes(adt(f"M{number}"))
            await asyncio.sleep(0.1)
        await until(lambda: deliver.delivered)
    assert bodies(deliver) == [adt("M5")]


@pytest.mark.parametrize("ending", [".part", ".tmp", ".filepart", ".crdownload"])
async def test_what_a_program_marks_as_unfinished_is_left_alone(ending: str, drop: Path) -> None:
    deliver = FakeDeliver()
    put(drop, f"a.hl7{ending}", adt("M0"))
    put(drop, "b.hl7", adt("M1"))
    async with polling(drop, deliver):
        await until(lambda: deliver.delivered)
        (drop / f"a.hl7{ending}").rename(drop / "a.hl7")
        await until(lambda: len(deliver.delivered) == 2)
    assert bodies(deliver) == [adt("M1"), adt("M0")]


async def test_two_hubs_on_one_folder_share_the_files(drop: Path) -> None:
    """Claiming decides whose a file is; what one hub has claimed is not there for the other."""

    class Slow(FakeDeliver):
        async def __call__(self, messages: Sequence[Message]) -> FakeReceipt:
            await asyncio.sleep(0.005)
            return await super().__call__(messages)

    first, second = Slow(), Slow()
    async with polling(drop, first, every="3ms"), polling(drop, second, every="3ms"):
        for number in range(60):
            put(drop, f"{number}.hl7", adt(f"M{number}"))
            if number % 7 == 0:
                await asyncio.sleep(0.01)
        await until(lambda: not left(drop))
        await until(lambda: len(set(bodies(first) + bodies(second))) == 60)
    twice = [body for body, count in Counter(bodies(first) + bodies(second)).items() if count > 1]
    assert not twice, f"{len(twice)} of 60 files were delivered by both"


async def test_a_batch_file_is_one_delivery(drop: Path) -> None:
    calls: list[int] = []

    class Counting(FakeDeliver):
        async def __call__(self, messages: Sequence[Message]) -> FakeReceipt:
            calls.append(len(messages))
            return await super().__call__(messages)

    head = b"FHS|^~\\&|PMS|CLINIC\rBHS|^~\\&|PMS|CLINIC\r"
    put(drop, "day.hl7", head + adt("M1") + siu("M2", "F-1", "202611301430") + adt("M3") + b"BTS|3\rFTS|1\r")
    deliver = Counting()
    async with polling(drop, deliver):
        await until(lambda: not left(drop))
    assert calls == [3]
    assert bodies(deliver) == [adt("M1"), siu("M2", "F-1", "202611301430"), adt("M3")]
    assert len({message.duplicate_key for message in deliver.delivered}) == 3


async def test_other_formats_are_never_split(drop: Path) -> None:
    body = b"ISA*00*" + adt("M1") + adt("M2")
    put(drop, "a.edi", body)
    deliver = FakeDeliver()
    async with polling(drop, deliver, format="x12"):
        await until(lambda: deliver.delivered)
    assert [(message.body, message.format) for message in deliver.delivered] == [(body, "x12")]


@pytest.mark.parametrize("size", [2048, 2049, 50_000])
async def test_a_file_that_is_too_long_goes_to_failed_and_the_others_go_on(size: int, drop: Path) -> None:
    deliver = FakeDeliver()
    async with polling(drop, deliver, max_size="2KiB", format="bytes"):
        for content in (b"x", b"y"):
            put(drop, "a.bin", content * size)
            put(drop, "b.bin", content)
            await until(lambda: visible(drop) in ([], ["failed"]))
            await until(lambda wanted=content: wanted in bodies(deliver))
        await until(lambda: not left(drop / CLAIMED))
    if size > 2048:
        assert sorted(path.read_bytes()[:1] for path in (drop / "failed").iterdir()) == [b"x", b"y"]
        assert bodies(deliver) == [b"x", b"y"]
    else:
        assert len(deliver.delivered) == 4


async def test_a_file_stays_until_the_hub_owns_it(drop: Path) -> None:
    deliver = FakeDeliver(failures=3)
    put(drop, "a.hl7", adt("M1"))
    async with polling(drop, deliver, every="30ms") as connection:
        await until(lambda: connection.failure)
        assert left(drop) == ["a.hl7"]
        assert "disk is full" in (connection.failure or "")
        await until(lambda: not left(drop))
        await until(lambda: connection.failure is None)
    assert bodies(deliver) == [adt("M1")]


async def test_two_files_of_one_name_are_two_messages(drop: Path) -> None:
    """The second comes while the first has not been delivered yet; neither may take the other's place."""
    deliver = FakeDeliver(failures=1_000_000)
    put(drop, "a.hl7", adt("M1"))
    async with polling(drop, deliver) as connection:
        await until(lambda: connection.failure)
        put(drop, "a.hl7", adt("M2"))
        await asyncio.sleep(0.1)
        assert len(left(drop)) == 2
        deliver.failures = 0
        await until(lambda: not left(drop))
    assert bodies(deliver) == [adt("M1"), adt("M2")]


async def test_a_folder_may_vanish_and_come_back(drop: Path) -> None:
    deliver = FakeDeliver()
    async with polling(drop, deliver) as connection:
        put(drop, "a.hl7", adt("M1"))
        await until(lambda: deliver.delivered and not left(drop))
        drop.rename(drop.parent / "away")
        await until(lambda: connection.failure)
        assert "drop" in (connection.failure or "")
        assert str(drop) in (connection.failure or "")
        (drop.parent / "away").rename(drop)
        put(drop, "b.hl7", adt("M2"))
        await until(lambda: len(deliver.delivered) == 2 and connection.failure is None)


async def test_closing_does_not_wait_for_the_store(drop: Path) -> None:
    class Stuck(FakeDeliver):
        async def __call__(self, messages: Sequence[Message]) -> FakeReceipt:
            begun.set()
            await asyncio.Event().wait()
            raise AssertionError

    begun = asyncio.Event()
    put(drop, "a.hl7", adt("M1"))
    connection = folder(drop)
    await connection.open(Stuck())
    await begun.wait()
    before = time.monotonic()
    await connection.close()
    assert time.monotonic() - before < 2
    assert left(drop) == ["a.hl7"], "it is still there to be delivered after the next start"


# Names and kinds of files are not to be trusted.

NAMES = [b"plain.hl7", b"with space.hl7", "Müller.hl7".encode(), "日本語.hl7".encode(), b"new\nline.hl7", b"-rf.hl7"]
NAMES += [b"$(touch x).hl7", b"a;b|c.hl7", b"\xfcber.hl7", b"\x01\x1b[31m.hl7", b"%s%n{0}.hl7", b"CON", b"~", b"x" * 255]
NAMES += [("é" * 120 + ".hl7").encode(), b"a" * 251 + b".hl7"]
ROUTED = """
connections:
  drop: {kind: folder, path: drop, every: 20ms, stable_for: 0s}
  out: {kind: folder, path: out}
flows:
  forward:
    from: drop
    steps: [{send: out}]
"""


def routed(tmp_path: Path, more: str = "") -> Path:
    """A clinic that moves files from one folder to another."""
    for name in ("drop", "out"):
        (tmp_path / name).mkdir(exist_ok=True)
    text = ROUTED.replace("path: drop", f"path: {tmp_path}/drop{more}").replace("path: out", f"path: {tmp_path}/out")
    return clinic_folder(tmp_path / "clinic", text)


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name[:20]))
async def test_whatever_a_file_is_called_it_is_taken_and_does_not_block_others(name: bytes, tmp_path: Path) -> None:
    async with running_hub(routed(tmp_path)) as hub:
        drop = os.fsencode(tmp_path / "drop")
        Path(os.fsdecode(drop + b"/" + name)).write_bytes(adt("M1"))
        await until(lambda: len(visible(tmp_path / "out")) == 1, timeout=3)
        put(tmp_path / "drop", "z.hl7", adt("M2"))
        await until(lambda: len(visible(tmp_path / "out")) == 2, timeout=3)
        await settled(hub)
    assert left(tmp_path / "drop") == []
    assert sorted(path.read_bytes() for path in (tmp_path / "out").iterdir()) == [adt("M1"), adt("M2")]


@pytest.mark.parametrize("after", ["delete", "keep"])
@pytest.mark.parametrize("size", [10, 5000], ids=["taken", "too long"])
async def test_names_as_long_as_may_be_do_not_block_the_folder(after: str, size: int, drop: Path) -> None:
    """The same longest name twice: what is kept needs another name, and there is no room for one."""
    deliver, name = FakeDeliver(), "n" * 255
    async with polling(drop, deliver, format="bytes", after=after, max_size="2KiB"):
        for content in (b"1", b"2"):
            put(drop, name, content * size)
            await until(lambda: not (drop / name).exists() and not (drop / CLAIMED / name).exists(), timeout=3)
        put(drop, "z", b"3")
        await until(lambda: b"3" in bodies(deliver), timeout=3)
    assert bodies(deliver) == ([b"1" * size, b"2" * size, b"3"] if size == 10 else [b"3"])
    kept = {"delete": 0, "keep": 3}[after] if size == 10 else {"delete": 2, "keep": 3}[after]
    assert len(left(drop)) == kept


async def test_only_plain_files_of_the_folder_itself_are_taken(drop: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.hl7"
    secret.write_bytes(adt("SECRET"))
    (drop / "link.hl7").symlink_to(secret)
    (drop / "loop.hl7").symlink_to("loop.hl7")
    (drop / "nowhere.hl7").symlink_to(tmp_path / "nowhere")
    (drop / "up").symlink_to(tmp_path)
    (drop / "folder.hl7").mkdir()
    (drop / "folder.hl7" / "deep.hl7").write_bytes(adt("DEEP"))
    (drop / ".hidden.hl7").write_bytes(adt("HIDDEN"))
    os.mkfifo(drop / "pipe.hl7")
    deliver = FakeDeliver()
    for pattern in ("*", "*.hl7", "[!x]*", ".*"):
        async with polling(drop, deliver, pattern=pattern):
            put(drop, "good.hl7", adt("GOOD"))
            await asyncio.sleep(0.06)
    good = [body for body in bodies(deliver) if body == adt("GOOD")]
    assert good
    assert bodies(deliver) == good
    assert secret.read_bytes() == adt("SECRET")


TRAPS = ["the box is a link", "a link in the box", "failed is a link", "done is a link"]


@pytest.mark.parametrize("trap", TRAPS)
async def test_who_may_write_into_the_folder_cannot_reach_out_of_it(trap: str, drop: Path, tmp_path: Path) -> None:
    """Partners drop files by SFTP: their links must not make the hub read, move or delete what lies elsewhere."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.hl7").write_bytes(adt("SECRET"))
    match trap:
        case "the box is a link":
            (drop / CLAIMED).symlink_to(outside)
        case "a link in the box":
            (drop / CLAIMED).mkdir()
            (drop / CLAIMED / "a.hl7").symlink_to(outside / "secret.hl7")
        case "failed is a link":
            (drop / "failed").symlink_to(outside)
        case "done is a link":
            (drop / "done").symlink_to(outside)
    deliver = FakeDeliver()
    async with polling(drop, deliver, max_size="2KiB", after="keep"):
        put(drop, "large.hl7", adt("LARGE", more=("NTE|1||" + "x" * 5000,)))
        put(drop, "small.hl7", adt("SMALL"))
        await asyncio.sleep(0.15)
    assert adt("SECRET") not in bodies(deliver)
    assert visible(outside) == ["secret.hl7"]


@pytest.mark.parametrize("pattern", ["", "/etc/*", "**/*", "../*", "*/../*", "sub/*.hl7", "a\x00b"], ids=ascii)
def test_a_pattern_that_leads_elsewhere_or_nowhere_is_refused(pattern: str, drop: Path) -> None:
    """It is for names in the folder itself; with any other nothing would ever be taken, and nobody would be told."""
    with pytest.raises(ValidationError, match="names of files in the folder itself"):
        folder(drop, pattern=pattern)


async def test_two_connections_share_a_folder_by_their_patterns(drop: Path) -> None:
    """What one has claimed and could not deliver yet is not for the other, whose format is another one."""
    messages, scans = FakeDeliver(failures=3), FakeDeliver()
    put(drop, "a.hl7", adt("M1"))
    put(drop, "b.csv", b"scanned")
    async with polling(drop, messages, pattern="*.hl7"), polling(drop, scans, pattern="*.csv", format="bytes"):
        await until(lambda: not left(drop))
    assert (bodies(messages), bodies(scans)) == ([adt("M1")], [b"scanned"])


@pytest.mark.parametrize("pattern", ["[", "***", "**a"])
async def test_a_strange_pattern_never_stops_polling_silently(pattern: str, drop: Path) -> None:
    put(drop, "a.hl7", adt("M1"))
    async with polling(drop, FakeDeliver(), pattern=pattern) as connection:
        await asyncio.sleep(0.05)
        assert connection._task is not None
        assert not connection._task.done(), "nobody looks into the folder any more, and nobody is told"


async def test_no_event_of_a_folder_tells_of_a_patient(drop: Path) -> None:
    """The names of files often are those of patients."""
    deliver = FakeDeliver(failures=2)
    with capture_logs() as logs:
        async with polling(drop, deliver, max_size="2KiB") as connection:
            put(drop, f"{CANARY}.hl7", adt("M1", family=CANARY))
            put(drop, f"{CANARY}-large.hl7", adt("M1", family=CANARY, more=("x" * 5000,)))
            await until(lambda: connection.failure)
            failure = connection.failure
            await until(lambda: deliver.delivered)
            drop.rename(drop.parent / "away")
            await until(lambda: connection.failure)
        with pytest.raises(ConnectionDown) as caught:
            await folder(drop, "out").send(Message(adt("M1", family=CANARY), "hl7v2", CANARY))
    assert logs, "a file that is too long is worth a line"
    assert CANARY not in json.dumps([logs, failure, connection.failure, str(caught.value)], default=str)


# With a real hub.


async def test_after_a_crash_between_delivery_and_deletion_a_file_is_known(tmp_path: Path) -> None:
    """The crash leaves a claimed file whose message is in the journal."""
    file = routed(tmp_path)
    async with running_hub(file) as hub:
        put(tmp_path / "drop", "a.hl7", adt("M1"))
        await until(lambda: len(visible(tmp_path / "out")) == 1)
        await settled(hub)
    (tmp_path / "drop" / CLAIMED / "a.hl7").write_bytes(adt("M1"))
    async with running_hub(file) as hub:
        await until(lambda: not left(tmp_path / "drop"))
        await settled(hub)
        found = await ask(hub, "messages.list", connection="drop")
        assert [m["control_id"] for m in found] == ["M1"]
        assert len(visible(tmp_path / "out")) == 1


async def test_after_a_crash_a_file_without_control_ids_is_known_by_name_and_content(tmp_path: Path) -> None:
    file = routed(tmp_path, ", format: bytes")
    body = b"scanned," + CANARY.encode()
    async with running_hub(file) as hub:
        put(tmp_path / "drop", "a.csv", body)
        await until(lambda: len(visible(tmp_path / "out")) == 1)
        await settled(hub)
    (tmp_path / "drop" / CLAIMED / "a.csv").write_bytes(body)
    async with running_hub(file) as hub:
        await until(lambda: not left(tmp_path / "drop"))
        put(tmp_path / "drop", "a.csv", body + b"!")
        put(tmp_path / "drop", "b.csv", body)
        await until(lambda: len(visible(tmp_path / "out")) == 3)
        await settled(hub)
        assert len(await ask(hub, "messages.list", connection="drop")) == 3


async def test_after_a_crash_between_claim_and_delivery_a_file_is_delivered(tmp_path: Path) -> None:
    file = routed(tmp_path)
    (tmp_path / "drop" / CLAIMED).mkdir()
    (tmp_path / "drop" / CLAIMED / "a.hl7").write_bytes(adt("M1"))
    async with running_hub(file):
        await until(lambda: len(visible(tmp_path / "out")) == 1)
        await until(lambda: not left(tmp_path / "drop"))


async def test_a_folder_that_is_only_written_to_is_not_read(tmp_path: Path) -> None:
    file = routed(tmp_path)
    theirs = tmp_path / "out" / "theirs.hl7"
    theirs.write_bytes(adt("THEIRS"))
    async with running_hub(file) as hub:
        put(tmp_path / "drop", "a.hl7", adt("M1"))
        await until(lambda: len(visible(tmp_path / "out")) == 2)
        await settled(hub)
        assert {m["connection"] for m in await ask(hub, "messages.list", limit=10, type="ADT^A04")} == {"drop", "out"}
    assert theirs.read_bytes() == adt("THEIRS")
    assert not (tmp_path / "out" / CLAIMED).exists()


async def test_status_says_that_a_folder_is_gone_and_that_it_is_back(tmp_path: Path) -> None:
    async with running_hub(routed(tmp_path)) as hub:

        async def line(name: str) -> Any:
            status = await ask(hub, "status")
            return next(entry for entry in status["connections"] if entry["name"] == name)

        async def is_(state: str) -> bool:
            return (await line("drop"))["state"] == state

        (tmp_path / "drop").rename(tmp_path / "away")
        await until(lambda: is_("down"))

        async def names_the_folder() -> bool:  # not when it went while it was being looked through
            return str(tmp_path / "drop") in (await line("drop"))["last_error"]

        await until(names_the_folder)
        (tmp_path / "away").rename(tmp_path / "drop")
        await until(lambda: is_("up"))


# Going out.


async def test_a_written_file_is_never_seen_half(drop: Path) -> None:
    size, seen, stop = 5 * 1024 * 1024, set(), threading.Event()

    def watch() -> None:
        while not stop.is_set():
            for entry in os.scandir(drop):
                if not entry.name.startswith("."):
                    with contextlib.suppress(FileNotFoundError):
                        seen.add(entry.stat().st_size)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        connection = folder(drop, "out")
        for number in range(6):
            await connection.send(Message(bytes([number]) * size, "bytes", id=new_id()))
    finally:
        stop.set()
        watcher.join()
    assert seen <= {size}
    assert len(visible(drop)) == 6
    assert left(drop) == visible(drop), "nothing unfinished is left behind"


async def test_sending_again_under_the_same_id_makes_no_second_file(drop: Path) -> None:
    connection, message = folder(drop, "out"), Message(adt("M1"), "hl7v2", id=new_id())
    for _ in range(3):
        await connection.send(message)
    assert [path.read_bytes() for path in drop.iterdir()] == [adt("M1")]


async def test_what_cannot_be_written_whole_leaves_nothing_behind(drop: Path) -> None:
    """A limit on the size of files stands for a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    connection, message = folder(drop, "out"), Message(b"x" * 3_000_000, "bytes", id=new_id())
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(ConnectionDown, match="out"):
            await connection.send(message)
        assert list(drop.iterdir()) == []
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    await connection.send(message)
    assert [path.stat().st_size for path in drop.iterdir()] == [3_000_000]


@pytest.mark.parametrize("obstacle", ["missing", "a file", "vanished"])
async def test_a_folder_that_cannot_be_written_is_a_connection_that_is_down(obstacle: str, drop: Path) -> None:
    path = drop / "inner"
    if obstacle == "a file":
        path.write_text("in the way")
    connection = folder(path, "out")
    with pytest.raises(ConnectionDown, match="out"):
        await connection.check()
    with pytest.raises(ConnectionDown, match="out") as caught:
        await connection.send(Message(adt("M1", family=CANARY), "hl7v2"))
    assert CANARY not in str(caught.value)


async def test_a_name_that_is_too_long_is_refused_or_tells_what_is_wrong(drop: Path) -> None:
    """It is the clinic file that has to change: the messages wait, none goes to quarantine."""
    with pytest.raises((ValidationError, ConnectionDown)):
        await folder(drop, "out", name="{id}" + "x" * 300).send(Message(adt("M1"), "hl7v2"))


@pytest.mark.parametrize(
    "type", ["../../evil", "/etc/passwd", "..", "a\x00b", "ADT^A04", "", "\n", "é" * 40, "~", "a/b"], ids=ascii
)
async def test_a_type_never_leads_out_of_the_folder(type: str, drop: Path) -> None:
    await folder(drop, "out", name="{type}-{id}.msg").send(Message(adt("M1"), "hl7v2", type, id=new_id()))
    assert len(visible(drop)) == 1
    assert visible(drop.parent) == ["drop"]


@pytest.mark.parametrize("name", ["latest.msg", "{type}.msg", "{ID}.msg"])
async def test_a_message_never_takes_the_place_of_another_one(name: str, drop: Path) -> None:
    """With a name that is always the same, what nobody fetched yet would be overwritten and lost."""
    try:
        connection = folder(drop, "out", name=name)
    except ValidationError:
        return
    with contextlib.suppress(ConnectionDown):
        for id in ("M1", "M2"):
            await connection.send(Message(adt(id), "hl7v2", "ADT^A04", id=new_id()))
    assert adt("M1") in [path.read_bytes() for path in drop.iterdir()]


@pytest.mark.parametrize(
    "wrong",
    [{"name": ".."}, {"name": "."}, {"name": "../{id}"}, {"name": "{id}/x"}, {"name": ""},
     {"every": "0s"}, {"stable_for": "2"}, {"after": "move"}, {"max_size": "10B"}, {"user": "x"}],
    ids=str,
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any], drop: Path) -> None:
    with pytest.raises(ValidationError):
        folder(drop, **wrong)
