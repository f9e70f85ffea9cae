"""Somebody else's package brings a connector, a step, a mapping and more, without a line changed in this repository."""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from connectors.simulators.ehr import EhrClient
from tests.support import ROOT, adt, clinic_folder, json_lines, run_hub, until

PACKAGE = ROOT / "tests" / "third_party" / "clinic-hub-acme"
CLINIC = """
connections:
  ehr: {vendor: epic, kind: mllp_listener, port: '0'}
  ledger: {vendor: acme, kind: acme_ledger, path: ledger.txt}
flows:
  visitors:
    from: ehr
    when: {type: ADT^*}
    steps:
      - map: acme_visitor
      - acme_badge: Hello
      - send: ledger
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment of its own that has the hub and, besides, the package."""
    folder = tmp_path_factory.mktemp("third_party")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True, timeout=60)
    python = folder / "env" / "bin" / "python"
    asked = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    site = subprocess.run([python, "-c", asked], check=True, capture_output=True, text=True, timeout=30).stdout.strip()
    visible = {sysconfig.get_paths()["purelib"], sysconfig.get_paths()["platlib"], str(ROOT)}
    Path(site, "hub.pth").write_text("".join(f"{path}\n" for path in sorted(visible)), encoding="utf-8")
    shutil.copytree(PACKAGE, folder / "source", ignore=shutil.ignore_patterns("__pycache__"))
    quiet = ["--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [python, "-m", "pip", "install", *quiet, folder / "source"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return python


@pytest.fixture
def there(python: Path, tmp_path: Path) -> Run:
    """A command of the hub in that environment."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [python, "-m", "hub", *map(str, arguments)], capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False
        )

    return run


def test_the_package_is_not_part_of_this_environment(tmp_path: Path) -> None:
    assert "acme" not in run_hub("plugins", cwd=tmp_path).stdout


def test_the_plugin_is_listed_with_what_it_brings(there: Run) -> None:
    lines = {line["plugin"]: line for line in json_lines(there("plugins", "--json").stdout)}
    assert lines["acme"] == {
        "plugin": "acme",
        "module": "clinic_hub_acme",
        "distribution": "clinic-hub-acme",
        "brings": [
            "connectors acme_ledger", "mappings acme_visitor", "steps acme_badge", "transforms initial", "vendors acme",
        ],
    }  # fmt: skip
    assert "mllp" in lines


def test_its_command_is_one_of_the_hub(there: Run) -> None:
    assert "Greet somebody, as Acme does." in there("--help").stdout
    done = there("acme", "Jane")
    assert (done.returncode, done.stdout) == (0, "Acme greets Jane\n")


def test_a_clinic_file_that_uses_it_passes_the_check_there_and_not_here(there: Run, tmp_path: Path) -> None:
    file = clinic_folder(tmp_path, CLINIC)
    done = there("check", file, "--format", "json")
    assert (done.returncode, json.loads(done.stdout)["problems"]) == (0, [])
    here = run_hub("check", file, "--format", "json", cwd=tmp_path)
    assert here.returncode == 2
    texts = [problem["text"] for problem in json.loads(here.stdout)["problems"]]
    for name in ("'acme'", "'acme_ledger'", "'acme_visitor'", "'acme_badge'"):
        assert any(name in text for text in texts)


def test_its_settings_are_checked_like_all_others(there: Run, tmp_path: Path) -> None:
    file = clinic_folder(
        tmp_path, CLINIC.replace("path: ledger.txt", "paht: ledger.txt").replace("acme_badge: Hello", "acme_bagde: Hello")
    )
    done = there("check", file, "--format", "json")
    assert done.returncode == 2
    helps = {problem["code"]: problem["help"] for problem in json.loads(done.stdout)["problems"]}
    assert helps["CFG-020"] == "did you mean 'path'?"
    assert helps["CFG-029"] == "did you mean 'acme_badge'?"


def test_its_profile_fills_in_what_the_clinic_leaves_out(there: Run, tmp_path: Path) -> None:
    done = there("check", clinic_folder(tmp_path, CLINIC), "--effective", "ledger")
    (mark,) = [line for line in done.stdout.splitlines() if line.startswith("mark ")]
    assert re.search(r"\*\s+\S*clinic_hub_acme/vendors/acme\.yaml:6$", mark)


def test_its_cases_run_with_those_of_the_hub(there: Run) -> None:
    done = there("test", "-k", "acme_visitor", "--json")
    assert done.returncode == 0
    assert [case["case"] for case in json.loads(done.stdout)["cases"]] == [
        "a family name is its first letter", "a visitor without a family name",
    ]  # fmt: skip


def test_its_steps_can_be_tried(there: Run, tmp_path: Path) -> None:
    (tmp_path / "a.hl7").write_bytes(adt("M1"))
    done = there("try", "visitors", tmp_path / "a.hl7", "-c", clinic_folder(tmp_path, CLINIC))
    assert done.returncode == 0, done.stderr
    assert "Hello Jane D." in done.stdout


async def test_a_hub_runs_with_all_of_it(python: Path, there: Run, tmp_path: Path) -> None:
    file = clinic_folder(tmp_path, CLINIC.replace("ledger.txt", str(tmp_path / "ledger.txt")))
    process = await asyncio.create_subprocess_exec(
        python, "-m", "hub", "run", "-c", file, stderr=subprocess.PIPE, cwd=tmp_path, env=dict(os.environ)
    )
    try:
        port = await ready_port(process)
        async with EhrClient("127.0.0.1", port) as ehr:
            assert (await ehr.send(adt("M1"))).code == "AA"
            assert (await ehr.send(adt("M2", "00043", family="ROE", given="RICHARD"))).code == "AA"
        ledger = tmp_path / "ledger.txt"
        await until(lambda: ledger.exists() and len(ledger.read_bytes().splitlines()) == 2)
        assert sorted(ledger.read_text(encoding="utf-8").splitlines()) == ["* Hello Jane D.", "* Hello Richard R."]
        await until(lambda: states(there, file) == {"delivered"})
        traced = await asyncio.to_thread(there, "trace", "M1", "-c", file, "--phi", "--json")
        assert "Badge printed" in [entry["text"] for entry in json_lines(traced.stdout)]
    finally:
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            await process.communicate()
    assert process.returncode == 0


async def ready_port(process: asyncio.subprocess.Process) -> int:
    assert process.stderr is not None
    said = b""
    async with asyncio.timeout(20):
        while line := await process.stderr.readline():
            said += line
            if found := re.match(rb"ready .*ehr \(127\.0\.0\.1:(\d+)\)", line):
                return int(found[1])
    raise AssertionError(said.decode())


def states(there: Run, file: Path) -> set[str]:
    return {line["state"] for line in json_lines(there("messages", "list", "-c", file, "--json").stdout)}
