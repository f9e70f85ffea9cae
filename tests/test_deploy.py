"""What stands under deploy/ fits the program: its commands, its time to stop, the files it copies."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from hub.cli import hub
from tests.support import ROOT

UNITS = sorted((ROOT / "deploy/systemd").iterdir())


def values(unit: Path, name: str) -> list[str]:
    lines = [line.strip() for line in unit.read_text(encoding="utf-8").splitlines()]
    return [line.partition("=")[2] for line in lines if line.startswith(f"{name}=")]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_have_known_sections_and_settings_of_one_line(unit: Path) -> None:
    for line in unit.read_text(encoding="utf-8").splitlines():
        assert not line or re.fullmatch(r"#.*|\[(Unit|Service|Install|Timer)\]|[A-Z][A-Za-z]+=.*", line), line


def test_commands_that_units_run_exist() -> None:
    run = " ".join(command for unit in UNITS for name in ("ExecStartPre", "ExecStart") for command in values(unit, name))
    commands = re.findall(r"bin/hub (\w+)((?: --\w+| \"\$file\")*)", run)
    assert {name for name, _ in commands} == {"check", "run", "backup", "restore"}
    for name, rest in commands:
        command = hub.get_command(click.Context(hub), name)
        assert command is not None
        arguments = [word if word.startswith("--") else __file__ for word in shlex.split(rest)]
        command.make_context(name, arguments)


def test_a_stop_has_longer_than_the_hub_takes_and_a_wrong_file_is_not_started_again_and_again() -> None:
    [unit] = [unit for unit in UNITS if unit.name == "clinic-hub.service"]
    assert int(values(unit, "TimeoutStopSec")[0]) > 30
    assert values(unit, "RestartPreventExitStatus") == ["2"]
    assert values(unit, "Restart") == ["on-failure"]


def test_the_container_copies_what_is_there_and_installs_only_what_is_locked() -> None:
    text = (ROOT / "deploy/container/Containerfile").read_text(encoding="utf-8")
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["COPY"] and not words[1].startswith("--from"):
            assert [name for name in words[1:-1] if not (ROOT / name).exists()] == []
    assert text.count("pip install") == text.count("--require-hashes") + text.count("--no-deps") == 2


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    for unit in UNITS:
        (tmp_path / unit.name).write_text(unit.read_text(encoding="utf-8").replace("/opt/clinic-hub/bin/hub", "/bin/true"))
    ended = subprocess.run(
        ["systemd-analyze", "verify", *(str(tmp_path / unit.name) for unit in UNITS)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
