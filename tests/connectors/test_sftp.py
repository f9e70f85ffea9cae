"""SFTP: a file is fetched whole, once, and deleted only after the hub owns it; it is brought whole or not at all; nobody but
the partner gets anything."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import paramiko
import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from connectors.sftp import Sftp, names, session
from connectors.sftp.settings import SftpConfig, fingerprint_of, parse_pin
from hub.errors import ConnectionDown, MessageRejected
from hub.message import Message, new_id
from hub.testing import CANARY, ConnectorContract, FakeDeliver, FakeReceipt
from tests.connectors.sftp_server import PASSWORD, SftpServer
from tests.connectors.wire import adt
from tests.support import HubProcess, ask, clinic_folder, environment, run_hub, running_hub, settled, until


class TestContract(ConnectorContract):
    connector = Sftp
    config = {}

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        with SftpServer(tmp_path) as server:
            yield server.settings(format="hl7v2")


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    path = tmp_path / "drop"
    path.mkdir()
    return path


@pytest.fixture
def server(drop: Path) -> Iterator[SftpServer]:
    with SftpServer(drop) as server:
        yield server


def sftp(server: SftpServer, connection: str = "far", /, **given: Any) -> Sftp:
    return Sftp(connection, SftpConfig.model_validate(server.settings(**given)))


@asynccontextmanager
async def polling(server: SftpServer, deliver: FakeDeliver, **given: Any) -> AsyncIterator[Sftp]:
    connection = sftp(server, **given)
    await connection.open(deliver)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def sending(server: SftpServer, **given: Any) -> AsyncIterator[Sftp]:
    connection = sftp(server, **given)
    try:
        yield connection
    finally:
        await connection.close()


def put(drop: Path, name: str | bytes, body: bytes) -> Path:
    """As a careful partner does it: written elsewhere, moved into place."""
    draft = drop.parent / f"draft-{os.urandom(4).hex()}"
    draft.write_bytes(body)
    target = drop / os.fsdecode(name)
    draft.rename(target)
    return target


def bodies(deliver: FakeDeliver) -> list[bytes]:
    return [message.body for message in deliver.delivered]


def left(drop: Path) -> list[str]:
    """Everything that is still a file, wherever the connector put it."""
    return sorted(entry.name for entry in drop.rglob("*") if entry.is_file())


async def goes_down(connection: Sftp, message: Message | None = None) -> ConnectionDown:
    with pytest.raises(ConnectionDown) as caught:
        await connection.send(message or Message(b"ISA*1", "x12", id=new_id()))
    return caught.value


# Coming in.


async def test_files_are_delivered_in_the_order_of_their_names_and_then_deleted(server: SftpServer, drop: Path) -> None:
    put(drop, "b.edi", b"ISA*2")
    put(drop, "a.edi", b"ISA*1")
    put(drop, "c.txt", b"other")
    deliver = FakeDeliver()
    async with polling(server, deliver, pattern="*.edi"):
        await until(lambda: len(deliver.delivered) == 2 and left(drop) == ["c.txt"])
    assert bodies(deliver) == [b"ISA*1", b"ISA*2"]
    assert [(message.headers["file"], message.format) for message in deliver.delivered] == [("a.edi", "x12"), ("b.edi", "x12")]


async def test_a_large_file_comes_whole(server: SftpServer, drop: Path) -> None:
    body = os.urandom(3_000_001)
    put(drop, "a.bin", body)
    deliver = FakeDeliver()
    async with polling(server, deliver, format="bytes"):
        await until(lambda: deliver.delivered)
    assert bodies(deliver) == [body]


async def test_a_server_that_gives_less_than_it_is_asked_for_is_asked_again(server: SftpServer, drop: Path) -> None:
    server.faults.short_reads = 1000
    body = os.urandom(300_001)
    put(drop, "a.bin", body)
    deliver = FakeDeliver()
    async with polling(server, deliver, format="bytes"):
        await until(lambda: deliver.delivered)
    assert bodies(deliver) == [body]


async def test_a_batch_of_hl7_messages_is_one_delivery(server: SftpServer, drop: Path) -> None:
    calls: list[int] = []

    class Counting(FakeDeliver):
        async def __call__(self, messages: Sequence[Message]) -> FakeReceipt:
            calls.append(len(messages))
            return await super().__call__(messages)

    put(drop, "day.hl7", b"FHS|^~\\&|PMS|CLINIC\rBHS|^~\\&|PMS|CLINIC\r" + adt("M1") + adt("M2") + b"BTS|2\rFTS|1\r")
    deliver = Counting()
    async with polling(server, deliver, format="hl7v2"):
        await until(lambda: not left(drop))
    assert calls == [2]
    assert len({message.duplicate_key for message in deliver.delivered}) == 2


async def test_a_file_that_grows_is_taken_when_it_has_stopped(server: SftpServer, drop: Path) -> None:
    whole, deliver = b"x" * 5000, FakeDeliver()
    async with polling(server, deliver, stable_for="400ms"):
        with (drop / "slow.edi").open("wb", buffering=0) as handle:
            for at in range(0, len(whole), 1000):
                handle.write(whole[at : at + 1000])
                await asyncio.sleep(0.1)
                assert deliver.delivered == []
        await until(lambda: deliver.delivered)
    assert bodies(deliver) == [whole]


async def test_a_file_that_changed_between_two_rare_looks_is_not_taken_yet(server: SftpServer, drop: Path) -> None:
    deliver = FakeDeliver()
    async with polling(server, deliver, every="250ms", stable_for="100ms"):
        with (drop / "slow.edi").open("wb", buffering=0) as handle:
            for _ in range(24):
                handle.write(b"x")
                await asyncio.sleep(0.05)
                assert deliver.delivered == []
        await until(lambda: deliver.delivered)
    assert bodies(deliver) == [b"x" * 24]


async def test_a_file_that_grows_while_it_is_read_is_read_again(server: SftpServer, drop: Path) -> None:
    """The partner still has it open: a new name does not keep it from writing."""
    deliver, server.faults.hang = FakeDeliver(), "data"
    with (drop / "a.edi").open("wb", buffering=0) as handle:
        handle.write(b"first,")
        async with polling(server, deliver):
            await until(lambda: any(what == "read" for what, _ in server.ops))
            handle.write(b"second")
            server.let_go()
            await until(lambda: deliver.delivered)
            await until(lambda: not left(drop))
    assert bodies(deliver) == [b"first,second"]


@pytest.mark.parametrize("marker", ["a.edi.done", "a.done"])
async def test_a_marker_says_that_a_file_is_whole(marker: str, server: SftpServer, drop: Path) -> None:
    deliver = FakeDeliver()
    put(drop, "a.edi", b"ISA*1")
    async with polling(server, deliver, done_marker=".done"):
        await asyncio.sleep(0.2)
        assert deliver.delivered == []
        put(drop, marker, b"")
        await until(lambda: not left(drop))
    assert bodies(deliver) == [b"ISA*1"]


@pytest.mark.parametrize("ending", [".part", ".tmp", ".filepart", ".crdownload"])
async def test_what_a_program_marks_as_unfinished_is_left_alone(ending: str, server: SftpServer, drop: Path) -> None:
    deliver = FakeDeliver()
    put(drop, f"a.edi{ending}", b"half")
    put(drop, "b.edi", b"ISA*1")
    async with polling(server, deliver):
        await until(lambda: deliver.delivered and left(drop) == [f"a.edi{ending}"])
    assert bodies(deliver) == [b"ISA*1"]


async def test_what_is_moved_is_not_taken_again_and_nothing_there_is_replaced(server: SftpServer, drop: Path) -> None:
    deliver = FakeDeliver()
    async with polling(server, deliver, after="move", moved_to="archive"):
        for number in range(3):
            put(drop, "same.edi", b"ISA*%d" % number)
            await until(lambda kept=number + 1: len(list(drop.glob("archive/*.edi"))) == kept)
    assert sorted(path.read_bytes() for path in drop.glob("archive/*")) == [b"ISA*0", b"ISA*1", b"ISA*2"]
    assert len(deliver.delivered) == 3


async def test_what_is_kept_is_not_fetched_again_until_it_changes(server: SftpServer, drop: Path) -> None:
    deliver = FakeDeliver()
    put(drop, "a.edi", b"ISA*1")
    async with polling(server, deliver, after="keep"):
        await until(lambda: len([what for what, _ in server.ops if what == "list"]) > 5)
        assert [what for what, _ in server.ops if what == "read"] == ["read"]
        put(drop, "a.edi", b"ISA*1, longer")
        await until(lambda: len(deliver.delivered) == 2)
    assert bodies(deliver) == [b"ISA*1", b"ISA*1, longer"]
    assert left(drop) == ["a.edi"]
    assert {what for what, _ in server.ops} <= {"list", "stat", "read"}, "nothing of the partner's is touched"


async def test_what_is_kept_and_older_than_the_memory_is_left_alone_and_told(server: SftpServer, drop: Path) -> None:
    """After a restart nobody could know any more that it was taken."""
    os.utime(put(drop, "old.edi", b"OLD"), (time.time() - 9 * 86400,) * 2)
    put(drop, "new.edi", b"NEW")
    deliver = FakeDeliver()
    with capture_logs() as logs:
        async with polling(server, deliver, after="keep", remember_for="8d") as connection:
            await until(lambda: deliver.delivered)
            await asyncio.sleep(0.1)
            assert connection.failure is None
    assert bodies(deliver) == [b"NEW"]
    assert [line["count"] for line in logs if "older" in line["event"]] == [1]


async def test_thousands_of_files_are_all_taken_once(server: SftpServer, drop: Path) -> None:
    for number in range(1000):
        (drop / f"{number:05}.edi").write_bytes(b"ISA*%d" % number)
    deliver = FakeDeliver()
    async with polling(server, deliver, pattern="*.edi"):
        # a look at the folder may miss what is just being renamed
        await until(lambda: len(deliver.delivered) >= 1000 and not left(drop), timeout=60)
    assert bodies(deliver) == [b"ISA*%d" % number for number in range(1000)]


async def test_a_folder_with_more_names_than_memory_takes_is_worked_off_and_told(
    server: SftpServer, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "MOST_NAMES", 10)
    for number in range(25):
        put(drop, f"{number:03}.edi", b"ISA*%d" % number)
    deliver = FakeDeliver()
    async with polling(server, deliver, every="300ms") as connection:
        await until(lambda: connection.failure)
        assert connection.failure_code == "SFT-006"
        await until(lambda: not left(drop))
        await until(lambda: connection.failure is None)
    assert len(deliver.delivered) == 25


async def test_two_hubs_on_one_folder_share_the_files(server: SftpServer, drop: Path) -> None:
    class Slow(FakeDeliver):
        async def __call__(self, messages: Sequence[Message]) -> FakeReceipt:
            await asyncio.sleep(0.005)
            return await super().__call__(messages)

    for number in range(60):
        put(drop, f"{number}.edi", b"ISA*%d" % number)
    first, second = Slow(), Slow()
    async with polling(server, first, every="3ms"), polling(server, second, every="3ms"):
        await until(lambda: not left(drop))
        await until(lambda: len(set(bodies(first) + bodies(second))) == 60)
    counted = Counter(bodies(first) + bodies(second))
    assert not [body for body, count in counted.items() if count > 1]
    assert first.delivered
    assert second.delivered


async def test_the_claim_of_a_hub_that_died_is_taken_over_after_its_time(server: SftpServer, drop: Path) -> None:
    put(drop, names.claimed_as(b"a.edi", "0123456789ab"), b"ISA*1")
    deliver = FakeDeliver()
    async with polling(server, deliver, claim_for="500ms"):
        await asyncio.sleep(0.25)
        assert deliver.delivered == []
        await until(lambda: not left(drop))
    assert [(m.body, m.headers["file"]) for m in deliver.delivered] == [(b"ISA*1", "a.edi")]


async def test_two_connections_share_a_folder_by_their_patterns(server: SftpServer, drop: Path) -> None:
    """What one has claimed and could not deliver yet is not for the other."""
    answers, reports = FakeDeliver(failures=3), FakeDeliver()
    put(drop, "a.edi", b"ISA*1")
    put(drop, "b.csv", b"scanned")
    async with (
        polling(server, answers, pattern="*.edi", claim_for="20ms"),
        polling(server, reports, pattern="*.csv", format="bytes", claim_for="20ms"),
    ):
        await until(lambda: not left(drop))
    assert (bodies(answers), bodies(reports)) == ([b"ISA*1"], [b"scanned"])


async def test_a_file_stays_until_the_hub_owns_it(server: SftpServer, drop: Path) -> None:
    deliver = FakeDeliver(failures=3)
    put(drop, "a.edi", b"ISA*1")
    async with polling(server, deliver, every="30ms") as connection:
        await until(lambda: connection.failure)
        assert len(left(drop)) == 1
        await until(lambda: not left(drop))
        await until(lambda: connection.failure is None)
    assert bodies(deliver) == [b"ISA*1"]


async def test_a_file_that_cannot_be_deleted_is_delivered_once_and_told(server: SftpServer, drop: Path) -> None:
    deliver, server.faults.deny = FakeDeliver(), {"remove"}
    put(drop, "a.edi", b"ISA*1")
    async with polling(server, deliver) as connection:
        await until(lambda: connection.failure)
        await until(lambda: len([what for what, _ in server.ops if what == "remove"]) > 3)
        assert connection.failure_code == "SFT-005"
        assert "does not allow" in (connection.failure or "")
        put(drop, "b.edi", b"ISA*2")
        await until(lambda: len(deliver.delivered) == 2)
        server.faults.deny = set()
        await until(lambda: not left(drop))
        await until(lambda: connection.failure is None)
    assert bodies(deliver) == [b"ISA*1", b"ISA*2"]


async def test_where_nothing_may_be_renamed_files_are_fetched_without_a_claim(server: SftpServer, drop: Path) -> None:
    deliver, server.faults.deny = FakeDeliver(), {"rename"}
    put(drop, "a.edi", b"ISA*1")
    async with polling(server, deliver) as connection:
        await until(lambda: connection.failure_code == "SFT-005")
        assert deliver.delivered == []
    async with polling(server, deliver, claim="false"):
        await until(lambda: not left(drop))
    assert bodies(deliver) == [b"ISA*1"]


@pytest.mark.parametrize("size", [2048, 2049, 500_000])
async def test_a_file_that_is_too_long_stays_is_told_and_the_others_go_on(size: int, server: SftpServer, drop: Path) -> None:
    put(drop, "a.bin", b"x" * size)
    put(drop, "b.bin", b"y")
    deliver = FakeDeliver()
    async with polling(server, deliver, max_size="2KiB", format="bytes") as connection:
        await until(lambda: b"y" in bodies(deliver))
        if size == 2048:
            await until(lambda: not left(drop))
        else:
            await until(lambda: connection.failure_code == "SFT-006")
            assert "1 file(s) are longer than max_size" in (connection.failure or "")
            assert left(drop) == ["a.bin"]


@pytest.mark.parametrize("way", ["break off", "restart"])
async def test_a_connection_that_breaks_half_way_loses_and_doubles_nothing(way: str, server: SftpServer, drop: Path) -> None:
    body = os.urandom(400_000)
    put(drop, "a.bin", body)
    deliver = FakeDeliver()
    server.faults.drop_after = 200_000
    async with polling(server, deliver, format="bytes") as connection:
        await until(lambda: connection.failure)
        assert deliver.delivered == []
        await until(lambda: not left(drop))
        await until(lambda: connection.failure is None)
        if way == "restart":
            server.__exit__()
            put(drop, "b.bin", b"later")
            await until(lambda: connection.failure)
            server.__enter__()
            await until(lambda: not left(drop))
    assert bodies(deliver) == [body, *([b"later"] if way == "restart" else [])]


@pytest.mark.parametrize("place", ["list", "rename", "stat", "read", "remove"])
async def test_wherever_it_breaks_a_file_comes_once(place: str, server: SftpServer, drop: Path) -> None:
    put(drop, "a.edi", b"ISA*1")
    deliver, server.faults.drop_at = FakeDeliver(), place
    async with polling(server, deliver) as connection:
        await until(lambda: connection.failure)
        server.faults.drop_at = ""
        await until(lambda: not left(drop))
    assert bodies(deliver) == [b"ISA*1"]


# Names and kinds of files are not to be trusted.

NAMES = [
    b"plain.edi",
    b"with space.edi",
    "Müller.edi".encode(),
    b"new\nline.edi",
    b"-rf.edi",
    b"$(touch x).edi",
    b"\xfcber.edi",
]
NAMES += [b"\x01\x1b[31m.edi", b"%s%n{0}.edi", b"CON.edi", b"x" * 251 + b".edi", ("é" * 120 + ".edi").encode(), b"a..edi"]


@pytest.mark.parametrize("after", ["delete", "move"])
@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name[:20]))
async def test_whatever_a_file_is_called_it_is_taken(name: bytes, after: str, server: SftpServer, drop: Path) -> None:
    put(drop, name, b"ISA*1")
    put(drop, "z.edi", b"ISA*2")
    deliver = FakeDeliver()
    async with polling(server, deliver, after=after, pattern="*.edi"):
        await until(lambda: len(deliver.delivered) >= 2 and not [file for file in drop.iterdir() if file.is_file()])
    assert sorted(bodies(deliver)) == [b"ISA*1", b"ISA*2"]
    for message in deliver.delivered:
        assert message.headers["file"].encode(), "it can be kept as text"


HOSTILE = (b"../x.edi", b"/etc/passwd.edi", b"a/b.edi", b"..", b".", b"", b"nul\0.edi", b"..\\x.edi")


async def test_names_that_lead_elsewhere_are_never_used(server: SftpServer, drop: Path, tmp_path: Path) -> None:
    outside = tmp_path / "x.edi"
    outside.write_bytes(b"SECRET")
    server.faults.more_names = HOSTILE
    put(drop, "good.edi", b"ISA*1")
    deliver = FakeDeliver()
    async with polling(server, deliver) as connection:
        await until(lambda: not left(drop))
        await until(lambda: connection.failure_code == "SFT-006")
        assert "8 file(s) have names that lead elsewhere" in (connection.failure or "")
    assert bodies(deliver) == [b"ISA*1"]
    assert outside.read_bytes() == b"SECRET"
    assert {path for what, path in server.ops if what != "list" and "good.edi" not in path} == set()


async def test_a_name_of_300_bytes_does_not_hold_up_the_others(server: SftpServer, drop: Path) -> None:
    """The server lists it and then does not know it."""
    server.faults.more_names = (b"y" * 296 + b".edi",)
    put(drop, "good.edi", b"ISA*1")
    deliver = FakeDeliver()
    async with polling(server, deliver):
        await until(lambda: not left(drop))
    assert bodies(deliver) == [b"ISA*1"]


async def test_only_plain_files_of_the_folder_itself_are_taken(server: SftpServer, drop: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.edi"
    secret.write_bytes(b"SECRET")
    (drop / "link.edi").symlink_to(secret)
    (drop / "loop.edi").symlink_to("loop.edi")
    (drop / "up").symlink_to(tmp_path)
    (drop / "folder.edi").mkdir()
    (drop / "folder.edi" / "deep.edi").write_bytes(b"DEEP")
    (drop / ".hidden.edi").write_bytes(b"HIDDEN")
    os.mkfifo(drop / "pipe.edi")
    put(drop, "good.edi", b"GOOD")
    deliver = FakeDeliver()
    async with polling(server, deliver):
        await until(lambda: not (drop / "good.edi").exists() and deliver.delivered)
        await asyncio.sleep(0.1)
    assert bodies(deliver) == [b"GOOD"]
    assert secret.read_bytes() == b"SECRET"


@pytest.mark.parametrize("modes", [True, False], ids=["modes told", "modes not told"])
async def test_a_file_that_becomes_a_link_while_it_is_claimed_is_not_read(
    modes: bool, server: SftpServer, drop: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.edi"
    secret.write_bytes(b"S" * len(str(secret)))  # as long as the link, so that sizes agree
    put(drop, "a.edi", b"ISA*1")
    deliver, server.faults.hang = FakeDeliver(), "rename"
    async with polling(server, deliver):
        await until(lambda: any(what == "rename" for what, _ in server.ops))
        (drop / "a.edi").unlink()
        (drop / "a.edi").symlink_to(secret)
        server.let_go()
        await asyncio.sleep(0.3)
    assert deliver.delivered == []


async def test_a_server_that_does_not_tell_kinds_is_believed_to_list_files(server: SftpServer, drop: Path) -> None:
    server.faults.no_modes = True
    put(drop, "a.edi", b"ISA*1")
    deliver = FakeDeliver()
    async with polling(server, deliver):
        await until(lambda: not left(drop))
    assert bodies(deliver) == [b"ISA*1"]


async def test_no_event_tells_of_a_patient(server: SftpServer, drop: Path) -> None:
    """Names of files often are those of patients, and servers repeat them in what they say."""
    server.faults.words = f"no space for {CANARY}.edi"
    server.faults.fail = {"read", "write"}
    put(drop, f"{CANARY}.edi", b"ISA*1")
    put(drop, f"{CANARY}-large.edi", b"x" * 5000)
    deliver = FakeDeliver()
    with capture_logs() as logs:
        async with polling(server, deliver, max_size="2KiB") as connection:
            await until(lambda: connection.failure_code == "SFT-005")
            failure = connection.failure
            server.faults.fail = {"write"}
            await until(lambda: connection.failure_code == "SFT-006")
            told = [failure, connection.failure, str(await goes_down(connection, Message(CANARY.encode(), "x12", CANARY)))]
    assert logs
    assert CANARY not in json.dumps([logs, told], default=str)


@pytest.mark.parametrize(
    "size", [5, names.HEAD + names.TAIL, names.HEAD + names.TAIL + 1, names.HEAD + names.TAIL + 2, 255, 300, 4000]
)
def test_a_claimed_name_fits_and_says_what_was_claimed(size: int) -> None:
    name = (b"n" * size)[:-4] + b".edi"
    claimed = names.claimed_as(name, "0123456789ab")
    claim = names.claim_of(claimed)
    assert len(claimed) <= names.LONGEST
    assert claim is not None
    assert (claim.owner, claim.digest) == ("0123456789ab", names.digest_of(name))
    assert claim.name == name if len(name) <= names.HEAD + names.TAIL + 1 else claim.name.endswith(b".edi")
    assert len(names.another(name, 1_800_000_000_000_000_000)) <= names.LONGEST


# Going out.


async def test_a_file_is_written_elsewhere_synced_and_renamed(server: SftpServer, drop: Path) -> None:
    body = os.urandom(500_000)
    message = Message(body, "x12", "270", id=new_id())
    async with sending(server, name="{type}-{id}.edi") as connection:
        await connection.send(message)
    assert {file.name: file.read_bytes() for file in drop.iterdir()} == {f"270-{message.id}.edi": body}
    assert server.synced == 1
    written = [path for what, path in server.ops if what == "write"]
    assert written
    assert all(path.endswith(".part") for path in written)


async def test_a_server_without_extensions_does_as_well(server: SftpServer, drop: Path) -> None:
    server.faults.extensions = ()
    message = Message(b"ISA*1", "x12", id=new_id())
    async with sending(server) as connection:
        await connection.send(message)
        await connection.send(message)
    assert [(file.name, file.read_bytes()) for file in drop.iterdir()] == [(f"{message.id}.edi", b"ISA*1")]
    assert server.synced == 0


async def test_a_written_file_is_never_seen_half(server: SftpServer, drop: Path) -> None:
    size, seen, stop = 2_000_000, set(), threading.Event()

    def watch() -> None:
        while not stop.is_set():
            for file in drop.glob("[!.]*"):
                try:
                    seen.add(file.stat().st_size)
                except FileNotFoundError:
                    continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        async with sending(server) as connection:
            for number in range(3):
                await connection.send(Message(bytes([number]) * size, "bytes", id=new_id()))
    finally:
        stop.set()
        watcher.join()
    assert seen <= {size}
    assert len(left(drop)) == 3


async def test_sending_again_what_is_there_changes_nothing(server: SftpServer) -> None:
    message = Message(b"ISA*1", "x12", id=new_id())
    async with sending(server) as connection:
        await connection.send(message)
        await connection.send(message)
    assert [what for what, _ in server.ops if what == "write"] == ["write"]


@pytest.mark.parametrize("other", [b"ISA*2", b"longer than before"])
async def test_another_file_of_the_name_is_never_replaced(other: bytes, server: SftpServer, drop: Path) -> None:
    message = Message(b"ISA*1", "x12", id=new_id())
    put(drop, f"{message.id}.edi", other)
    async with sending(server) as connection:
        with pytest.raises(MessageRejected) as caught:
            await connection.send(message)
    assert (caught.value.code, caught.value.final) == ("SFT-007", True)
    assert (drop / f"{message.id}.edi").read_bytes() == other


async def test_a_folder_that_may_only_be_written_to_is_written_to(server: SftpServer, drop: Path) -> None:
    server.faults.deny = {"list", "read", "stat", "remove"}
    message = Message(b"ISA*1", "x12", id=new_id())
    async with sending(server) as connection:
        await connection.send(message)
        await connection.send(message)
    assert {file.name: file.read_bytes() for file in drop.iterdir()} == {f"{message.id}.edi": b"ISA*1"}


@pytest.mark.parametrize("fault", ["full", "no rename", "no write", "breaks off"])
async def test_what_cannot_be_brought_whole_waits_and_leaves_nothing(fault: str, server: SftpServer, drop: Path) -> None:
    message = Message(os.urandom(300_000), "bytes", id=new_id())
    match fault:
        case "full":
            server.faults.space = 100_000
        case "no rename":
            server.faults.deny = {"rename"}
        case "no write":
            server.faults.deny = {"write"}
        case "breaks off":
            server.faults.drop_after = 100_000
    async with sending(server) as connection:
        error = await goes_down(connection, message)
        assert error.code == ("NET-001" if fault == "breaks off" else "SFT-005")
        assert [name for name in left(drop) if not name.startswith(".")] == []
        if fault != "breaks off":
            assert left(drop) == []
        server.faults.space, server.faults.deny = None, set()
        await connection.send(message)
    assert [(file.name, file.read_bytes()) for file in drop.iterdir()] == [(f"{message.id}.edi", message.body)]


@pytest.mark.parametrize("type", ["../../evil", "/etc/passwd", "..", "a\x00b", "ADT^A04", "", "\n", "é" * 40], ids=ascii)
async def test_a_type_never_leads_out_of_the_folder(type: str, server: SftpServer, drop: Path) -> None:
    async with sending(server, name="{type}-{id}.msg") as connection:
        await connection.send(Message(b"ISA*1", "x12", type, id=new_id()))
    assert len(left(drop)) == 1
    assert [entry.name for entry in drop.parent.iterdir()] == ["drop"]


# Who is there, and who we are.


def test_a_pin_is_a_line_of_a_key_or_its_fingerprint() -> None:
    key = paramiko.ECDSAKey.generate()
    line, print_ = f"{key.get_name()} {key.get_base64()}", fingerprint_of(key.asbytes())
    for text in (line, f"{line} who@where", f"partner.example {line}", f"[partner.example]:2222 {line}"):
        assert parse_pin(text) == ("ecdsa-sha2-nistp256", print_)
    assert parse_pin(print_) == ("", print_)
    assert parse_pin(f"ssh-rsa {print_}") == ("ssh-rsa", print_)
    assert print_ == key.fingerprint


@pytest.mark.parametrize(
    "pin", ["", "SHA256:", "SHA256:short", "MD5:00:11", "ssh-ed25519", "ssh-ed25519 !!!", "ssh-ed25519 AAAA", "accept"]
)
def test_what_is_no_key_is_no_pin(pin: str, server: SftpServer) -> None:
    with pytest.raises(ValidationError, match="host_key"):
        sftp(server, host_key=pin)


async def test_without_a_pin_nothing_goes_and_the_check_says_how_to_get_one(server: SftpServer, drop: Path) -> None:
    put(drop, "a.edi", b"ISA*1")
    deliver = FakeDeliver()
    async with polling(server, deliver, host_key=[]) as connection:
        await until(lambda: connection.failure)
        assert (await goes_down(connection)).code == "SFT-001"
        with pytest.raises(ConnectionDown) as caught:
            await connection.check()
    assert caught.value.code == "SFT-001"
    assert f"{server.key.get_name()} {server.key.fingerprint}" in str(caught.value)
    assert server.logins == []
    assert deliver.delivered == []
    async with sending(server, host_key=server.key.fingerprint) as connection:
        assert "answers" in await connection.check()


@pytest.mark.parametrize("pin", ["line", "fingerprint"])
async def test_a_changed_key_stops_the_connection_before_anything_is_told(pin: str, server: SftpServer, drop: Path) -> None:
    pinned = server.pin if pin == "line" else server.key.fingerprint
    message = Message(b"ISA*1", "x12", id=new_id())
    put(drop, "a.edi", b"ISA*1")
    server.key = paramiko.ECDSAKey.generate()
    deliver = FakeDeliver()
    async with polling(server, deliver, host_key=pinned) as connection:
        for _ in range(3):
            error = await goes_down(connection, message)
            assert error.code == "SFT-002"
            assert server.key.fingerprint in str(error)
        await until(lambda: connection.failure_code == "SFT-002")
        with pytest.raises(ConnectionDown, match="never accepted by itself"):
            await connection.check()
    assert server.logins == [], "no password leaves for a server that is not the pinned one"
    assert deliver.delivered == []
    assert left(drop) == ["a.edi"]


async def test_while_the_partner_changes_its_key_two_are_pinned(server: SftpServer) -> None:
    both = [server.pin, (new := paramiko.ECDSAKey.generate()).fingerprint]
    for key in (server.key, new):
        server.key = key
        async with sending(server, host_key=both) as connection:
            await connection.send(Message(b"ISA*1", "x12", id=new_id()))


@pytest.mark.parametrize("pinned", ["first", "second"])
async def test_a_server_with_several_keys_is_asked_for_the_pinned_one(pinned: str, server: SftpServer) -> None:
    rsa = paramiko.RSAKey.generate(2048)
    server.more_keys = [rsa]
    pin = server.pin if pinned == "first" else f"ssh-rsa {rsa.fingerprint}"
    async with sending(server, host_key=pin) as connection:
        assert "answers" in await connection.check()


def as_text(key: paramiko.PKey, passphrase: str | None = None) -> str:
    file = io.StringIO()
    key.write_private_key(file, passphrase)
    return file.getvalue().strip()


@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "locked"])
async def test_a_private_key_lets_us_in(kind: str, server: SftpServer) -> None:
    key = paramiko.RSAKey.generate(2048) if kind == "rsa" else paramiko.ECDSAKey.generate()
    server.client_key = key
    given = {"private_key": as_text(key, "open" if kind == "locked" else None), "password": None}
    more = {"passphrase": "open"} if kind == "locked" else {}
    async with sending(server, **given, **more) as connection:
        assert "answers" in await connection.check()
    assert ("publickey", True) in server.logins
    assert ("password", True) not in server.logins


@pytest.mark.parametrize("wrong", ["no key", "another passphrase"])
async def test_a_key_that_cannot_be_used_is_told(wrong: str, server: SftpServer) -> None:
    text = "no key" if wrong == "no key" else as_text(paramiko.ECDSAKey.generate(), "open")
    async with sending(server, private_key=text, passphrase="shut", password=None) as connection:
        error = await goes_down(connection)
    assert error.code == "SFT-004"
    assert "shut" not in str(error)


async def test_a_refused_login_is_not_tried_again_at_once(server: SftpServer) -> None:
    """Partners lock accounts after a few."""
    deliver = FakeDeliver()
    async with polling(server, deliver, password="wrong") as connection:
        await until(lambda: connection.failure_code == "NET-020")
        await asyncio.sleep(0.3)
        error = await goes_down(connection)
    assert error.code == "NET-020"
    assert "wrong" not in str(error)
    assert len(server.logins) <= 2, "password, and perhaps the same as an answer to a question"


async def test_algorithms_of_long_ago_need_a_reason(server: SftpServer) -> None:
    server.faults.old = True
    async with sending(server) as connection:
        assert (await goes_down(connection)).code == "SFT-003"
    async with sending(server, legacy_algorithms="their new server comes in spring") as connection:
        await connection.send(Message(b"ISA*1", "x12", id=new_id()))


# Silence.


@pytest.mark.parametrize("place", ["accept", "login", "subsystem", "list", "data"])
async def test_silence_ends_after_its_time_and_closing_does_not_wait_for_it(place: str, server: SftpServer, drop: Path) -> None:
    put(drop, "a.edi", b"ISA*1")
    deliver, server.faults.hang = FakeDeliver(), place
    whole = "1s" if place == "subsystem" else "60s"
    async with polling(server, deliver, timeout="300ms", file_timeout=whole) as connection:
        await until(lambda: connection.failure, timeout=3)
        assert connection.failure_code in ("NET-001", "NET-020")
    async with polling(server, deliver, timeout="60s", file_timeout="60s") as connection:
        await asyncio.sleep(0.3)
        before = time.monotonic()
        await connection.close()
        assert time.monotonic() - before < 2
    assert deliver.delivered == []


async def test_a_server_that_drips_is_given_up_after_file_timeout(server: SftpServer, drop: Path) -> None:
    server.faults.slow, server.faults.short_reads = 0.1, 10
    put(drop, "a.edi", b"x" * 10_000)
    deliver = FakeDeliver()
    async with polling(server, deliver, file_timeout="500ms") as connection:
        await until(lambda: "file_timeout" in (connection.failure or ""))
        server.faults.slow = 0.0
        server.faults.short_reads = None
        await until(lambda: not left(drop))
    assert bodies(deliver) == [b"x" * 10_000]


async def test_what_does_not_speak_ssh_is_a_connection_that_is_down(server: SftpServer) -> None:
    async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 200)
        writer.close()

    other = await asyncio.start_server(web, "127.0.0.1", 0)
    async with other, sending(server, port=str(other.sockets[0].getsockname()[1])) as connection:
        assert (await goes_down(connection)).code == "NET-001"


async def test_after_a_break_the_next_message_makes_a_new_connection(server: SftpServer, drop: Path) -> None:
    async with sending(server) as connection:
        await connection.send(Message(b"ISA*1", "x12", id=new_id()))
        server.drop()
        await until(lambda: connection._session is None or not connection._session.alive)
        await connection.send(Message(b"ISA*2", "x12", id=new_id()))
    assert sorted(file.read_bytes() for file in drop.iterdir()) == [b"ISA*1", b"ISA*2"]


async def test_no_thread_is_left_behind(server: SftpServer) -> None:
    async with sending(server) as connection:
        await connection.check()
    await until(lambda: not [thread for thread in threading.enumerate() if thread.name == "sftp far"])


# Settings.


@pytest.mark.parametrize(
    "wrong",
    [{"name": ".."}, {"name": "{type}.edi"}, {"name": "../{id}"}, {"pattern": "a/b"}, {"pattern": ""}, {"every": "0s"},
     {"password": None}, {"passphrase": "x"}, {"port": "0"}, {"after": "burn"}, {"host": ""}, {"path": "a\x00b"},
     {"after": "keep", "remember_for": "0s"}, {"done_marker": "a/b"}, {"legacy_algorithms": ""}, {"max_size": "10B"}],
    ids=str,
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any], server: SftpServer) -> None:
    with pytest.raises(ValidationError):
        sftp(server, **wrong)


# With a real hub.

ROUTED = """
connections:
  drop: {kind: sftp, SETTINGS, pattern: "*.edi", path: in, MORE}
  out: {kind: sftp, SETTINGS, path: out}
flows:
  forward:
    from: drop
    steps: [{send: out}]
"""


def routed(tmp_path: Path, server: SftpServer, more: str = "format: bytes") -> Path:
    """A clinic that moves files from one folder of a server to another."""
    for name in ("in", "out"):
        (server.root / name).mkdir(exist_ok=True)
    given = server.settings(password="{$env: SFTP_PASSWORD}")
    del given["kind"]
    settings = ", ".join(f"{key}: {value}" for key, value in given.items())
    return clinic_folder(tmp_path / "clinic", ROUTED.replace("SETTINGS", settings).replace("MORE", more))


@pytest.fixture
def password() -> Iterator[None]:
    with environment(SFTP_PASSWORD=PASSWORD):
        yield


async def test_a_hub_fetches_and_brings(server: SftpServer, tmp_path: Path, password: None) -> None:
    async with running_hub(routed(tmp_path, server)) as hub:
        for number in range(20):
            put(server.root / "in", f"{number}.edi", b"ISA*%d" % number)
        await until(lambda: len(list((server.root / "out").glob("[!.]*"))) == 20)
        await settled(hub)
    assert left(server.root / "in") == []
    assert {file.read_bytes() for file in (server.root / "out").iterdir()} == {b"ISA*%d" % n for n in range(20)}


@pytest.mark.parametrize("after", ["delete", "keep"])
async def test_after_a_crash_between_delivery_and_deletion_a_file_is_known(
    after: str, server: SftpServer, tmp_path: Path, password: None
) -> None:
    file = routed(tmp_path, server, f"format: bytes, after: {after}, claim_for: 100ms")
    box = server.root / "in"
    put(box, "a.edi", b"ISA*1")
    changed = (box / "a.edi").stat().st_mtime
    async with running_hub(file) as hub:
        await until(lambda: len(list((server.root / "out").iterdir())) == 1)
        await settled(hub)
    if after == "delete":
        os.utime(put(box, names.claimed_as(b"a.edi", "0123456789ab"), b"ISA*1"), (changed, changed))
    async with running_hub(file) as hub:
        put(box, "b.edi", b"ISA*1")
        await until(lambda: len(list((server.root / "out").iterdir())) == 2)
        await until(lambda: after == "keep" or not left(box))
        await settled(hub)
        found = await ask(hub, "messages.list", connection="drop")
        assert len(found) == 2, "the first again is none; another of the same content is one"


async def test_a_hub_that_is_killed_again_and_again_sends_each_file_on_once(
    server: SftpServer, tmp_path: Path, password: None
) -> None:
    """The out folder is the judge: names follow from ids, and ids from what came in."""
    file = routed(tmp_path, server, "format: bytes, claim_for: 100ms")
    box, count = server.root / "in", 40
    for number in range(count):
        put(box, f"{number:03}.edi", b"ISA*%d" % number)
    server.faults.slow = 0.01
    for life in range(3):
        hub = HubProcess(file)
        hub.start()
        before = len(left(box))
        await until(lambda before=before: len(left(box)) < before - 5 or not left(box))
        await asyncio.sleep(0.013 * life)
        hub.kill()
    with HubProcess(file):
        await until(lambda: not left(box) and len(list((server.root / "out").glob("[!.]*"))) >= count, timeout=30)
        await asyncio.sleep(0.5)
    counted = Counter(path.read_bytes() for path in (server.root / "out").glob("[!.]*"))
    assert counted == {b"ISA*%d" % number: 1 for number in range(count)}


async def test_status_says_that_the_key_has_changed(server: SftpServer, tmp_path: Path, password: None) -> None:
    file = routed(tmp_path, server)
    server.key = paramiko.ECDSAKey.generate()
    async with running_hub(file) as hub:

        async def told() -> bool:
            status = await ask(hub, "status")
            line = next(entry for entry in status["connections"] if entry["name"] == "drop")
            return line["state"] == "down" and "another host key" in line["last_error"]

        await until(told)


async def test_the_check_reaches_the_server(server: SftpServer, tmp_path: Path, password: None) -> None:
    file = routed(tmp_path, server)
    done = await asyncio.to_thread(run_hub, "check", file, "--connect")
    assert done.returncode == 0, done.stderr
    assert f"drop: 127.0.0.1:{server.port} answers" in done.stderr
    file.write_text(file.read_text().replace(f"host_key: {server.pin}, ", ""))
    done = await asyncio.to_thread(run_hub, "check", file, "--connect")
    assert done.returncode == 4
    assert server.key.fingerprint in done.stderr
    assert hashlib.sha256(server.key.asbytes()).digest()
