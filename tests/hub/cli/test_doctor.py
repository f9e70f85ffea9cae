"""`hub doctor`: what is wrong with a machine is found, said in words, with what to do; nothing is changed."""

from __future__ import annotations

import asyncio
import json
import socket
import sqlite3
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hub.cli import environment
from hub.cli.environment import Finding, examine_clinic, examine_machine
from hub.clinic import load_clinic
from hub.security.seal import new_key, write_key
from hub.settings.model import DiskSettings
from tests.support import clinic_folder, run_hub, running_hub

LISTENER = (
    'connections: {ehr: {kind: mllp_listener, port: "@PORT@"}}\nflows: {all: {from: ehr, steps: [{map: adt_to_patient}]}}\n'
)


def clinic(folder: Path, port: int = 0) -> Path:
    return clinic_folder(folder, LISTENER.replace("@PORT@", str(port)))


def found(file: Path, what: str) -> list[Finding]:
    return [finding for finding in examine_clinic(load_clinic(file)) if finding.what == what]


def levels(findings: list[Finding]) -> set[str]:
    return {finding.level for finding in findings}


async def made(file: Path) -> None:
    async with running_hub(file):
        pass


def test_every_finding_that_is_not_ok_says_what_to_do(tmp_path: Path) -> None:
    asyncio.run(made(clinic(tmp_path)))
    for finding in [*examine_machine(), *examine_clinic(load_clinic(clinic(tmp_path)))]:
        assert finding.level in ("ok", "warning", "error")
        assert finding.text
        assert finding.level == "ok" or finding.fix, finding


@pytest.mark.parametrize(
    ("version", "level", "says"),
    [
        ((3, 34, 1), "error", "needs 3.35.0"), ((3, 40, 1), "ok", "WAL-reset bug"), ((3, 51, 2), "ok", "WAL-reset bug"),
        ((3, 51, 3), "ok", "SQLite 3.51.3"), ((3, 50, 7), "ok", "SQLite 3.50.7"), ((3, 45, 0), "ok", "WAL-reset bug"),
    ],
)  # fmt: skip
def test_sqlite(monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int], level: str, says: str) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
    monkeypatch.setattr(sqlite3, "sqlite_version", ".".join(map(str, version)))
    finding = environment.sqlite()
    assert finding.level == level
    assert says in finding.text


def test_few_open_files_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 1 << 20))
    finding = environment.open_files()
    assert (finding.level, "1024" in finding.text, "ulimit -n 4096" in finding.fix) == ("warning", True, True)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (65536, 1 << 20))
    assert environment.open_files().level == "ok"


@pytest.mark.parametrize(("state", "level"), [(None, "ok"), (0x2001, "ok"), (0x2041, "warning")])
def test_a_clock_that_nothing_keeps_right(monkeypatch: pytest.MonkeyPatch, state: int | None, level: str) -> None:
    monkeypatch.setattr(environment, "_clock_state", lambda: state)
    assert environment.clock().level == level


def test_a_clock_of_the_past_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import UTC, datetime

    class Past(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime(1970, 1, 2, tzinfo=UTC)

    monkeypatch.setattr(environment, "datetime", Past)
    assert environment.clock().level == "error"


def test_no_uvloop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda _: None)
    assert environment.event_loop().level == "warning"


# A clinic.


def test_a_port_that_is_taken_is_an_error_and_one_of_the_running_hub_is_not(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        file = clinic(tmp_path, taken.getsockname()[1])
        [finding] = found(file, "port")
        assert finding.level == "error"
        assert str(taken.getsockname()[1]) in finding.text
    assert levels(found(file, "port")) == {"ok"}


@pytest.mark.parametrize(("mode", "level"), [(0o600, "ok"), (0o644, "error")])
def test_the_key(tmp_path: Path, mode: int, level: str) -> None:
    file = clinic(tmp_path)
    (tmp_path / "hub.key").chmod(mode)
    assert levels(found(file, "key")) == {level}


def test_no_key_and_a_wrong_one(tmp_path: Path) -> None:
    file = clinic(tmp_path)
    asyncio.run(made(file))
    (tmp_path / "hub.key").unlink()
    assert levels(found(file, "key")) == {"error"}
    write_key(tmp_path / "hub.key", new_key())
    assert [finding.level for finding in found(file, "key")] == ["ok", "error"], "a key, but not the one of this store"


def test_a_store_that_is_open_to_others(tmp_path: Path) -> None:
    file = clinic(tmp_path)
    asyncio.run(made(file))
    assert found(file, "store") == []
    (tmp_path / "var" / "hub.db").chmod(0o644)
    [finding] = found(file, "store")
    assert (finding.level, "chmod go=" in finding.fix) == ("warning", True)


def test_a_store_that_is_no_database(tmp_path: Path) -> None:
    file = clinic(tmp_path)
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "hub.db").write_bytes(b"no database" * 1000)
    assert "error" in levels(found(file, "store"))


def test_a_store_without_a_backup_of_this_week(tmp_path: Path) -> None:
    file = clinic(tmp_path)
    asyncio.run(made(file))
    [finding] = found(file, "backup")
    assert (finding.level, "never" in finding.text) == ("warning", True)
    assert run_hub("backup", tmp_path / "b.tar", "-c", file).returncode == 0
    assert levels(found(file, "backup")) == {"ok"}


@pytest.mark.parametrize(("free", "level"), [(500, "ok"), (50, "warning"), (10, "error")])
def test_room_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, level: str) -> None:
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda _: SimpleNamespace(total=1000 << 20, free=free << 20))
    assert environment.room(tmp_path / "hub.db", DiskSettings()).level == level


@pytest.mark.parametrize(
    ("kind", "postgres", "level"),
    [
        ("ext4", False, "ok"),
        ("nfs4", False, "error"),
        ("nfs4", True, "ok"),
        ("cifs", False, "error"),
        ("tmpfs", False, "error"),
    ],
)
def test_file_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, postgres: bool, level: str) -> None:
    monkeypatch.setattr(environment, "kind_of_file_system", lambda _: kind)
    assert environment.file_system(tmp_path / "hub.db", postgres).level == level


def test_the_nearest_mount_counts(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    (tmp_path / "share" / "deep").mkdir(parents=True)
    mounts.write_text(f"a / ext4 rw 0 0\nb {tmp_path} xfs rw 0 0\nc {tmp_path}/share nfs4 rw 0 0\n")
    assert environment.kind_of_file_system(tmp_path / "share" / "deep", mounts) == "nfs4"
    assert environment.kind_of_file_system(tmp_path, mounts) == "xfs"
    assert environment.kind_of_file_system(tmp_path, tmp_path / "none") is None


@pytest.mark.parametrize(("rate", "level"), [(50.0, "warning"), (500.0, "ok"), (500_000.0, "warning")])
def test_flushes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: float, level: str) -> None:
    monkeypatch.setattr(environment, "flush_rate", lambda _: (rate, 0.01))
    assert environment.flushes(tmp_path / "hub.db").level == level


def test_flushes_are_measured_and_leave_nothing(tmp_path: Path) -> None:
    rate, worst = environment.flush_rate(tmp_path, 5)
    assert rate > 1
    assert 0 < worst < 60
    assert list(tmp_path.iterdir()) == []


# The command.


def test_the_command_ends_with_1_when_something_will_not_work(tmp_path: Path) -> None:
    file = clinic(tmp_path)
    asyncio.run(made(file))
    ended = run_hub("doctor", "--json", "-c", file)
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    assert ended.returncode == (1 if any(line["level"] == "error" for line in lines) else 0)
    assert {"sqlite", "disk", "flushes", "key", "port", "clock", "open files"} <= {line["what"] for line in lines} | {"port"}
    (tmp_path / "hub.key").unlink()
    ended = run_hub("doctor", "-c", file)
    assert ended.returncode == 1
    assert "SEC-002" in ended.stdout


def test_without_a_clinic_file_the_machine_is_looked_at(tmp_path: Path) -> None:
    ended = run_hub("doctor", "-c", tmp_path / "none.yaml")
    assert ended.returncode == 0, ended.stderr
    assert "hub init" in ended.stdout


async def test_it_does_not_disturb_a_running_hub(tmp_path: Path) -> None:
    file = clinic(tmp_path)
    async with running_hub(file) as hub:
        began = time.monotonic()
        ended = await asyncio.to_thread(run_hub, "doctor", "-c", file)
        assert "cannot be read" not in ended.stdout
        assert time.monotonic() - began < 60
        assert hub.core.journal.broken is None
