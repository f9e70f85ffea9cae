"""`hub new connector`: a package that is right before anything in it is changed."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.hub.cli.conftest import Cli
from tests.support import run_hub


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """The scaffold's own tests, run where they stand."""
    parent = tmp_path_factory.mktemp("scaffold")
    assert run_hub("new", "connector", "paper_tray", "--dir", parent).returncode == 0
    folder = parent / "clinic-hub-paper-tray"
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(folder)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_the_scaffolds_own_tests_pass(ran: subprocess.CompletedProcess[str]) -> None:
    assert ran.returncode == 0, ran.stdout + ran.stderr
    passed = int(ran.stdout.split(" passed")[0].split()[-1])
    assert passed >= 8, ran.stdout


def test_the_scaffolds_own_tests_give_no_warning(ran: subprocess.CompletedProcess[str]) -> None:
    """The first thing an author sees should not be somebody else's deprecation."""
    assert "warning" not in (ran.stdout + ran.stderr).lower()


def test_the_scaffold_names_everything_after_the_connector(cli: Cli, tmp_path: Path) -> None:
    cli("new", "connector", "paper_tray", "--dir", tmp_path)
    folder = tmp_path / "clinic-hub-paper-tray"
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert files == ["README.md", "clinic_hub_paper_tray.py", "pyproject.toml", "tests/test_paper_tray.py"]
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["name"] == "clinic-hub-paper-tray"
    assert project["entry-points"]["clinic_hub"] == {"paper_tray": "clinic_hub_paper_tray"}
    assert "class PaperTray(" in (folder / "clinic_hub_paper_tray.py").read_text(encoding="utf-8")
    for path in folder.rglob("*"):
        assert not path.is_file() or "@" not in path.read_text(encoding="utf-8").replace("@hookimpl", "")


def test_the_test_of_a_scaffold_is_as_short_as_is_promised(cli: Cli, tmp_path: Path) -> None:
    """INTERFACES 5: its test inherits the contract in five lines."""
    cli("new", "connector", "kiosk", "--dir", tmp_path)
    text = (tmp_path / "clinic-hub-kiosk" / "tests" / "test_kiosk.py").read_text(encoding="utf-8")
    assert "class TestKiosk(ConnectorContract):" in text


def test_nothing_is_written_over(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "clinic-hub-kiosk").mkdir()
    done = cli("new", "connector", "kiosk", "--dir", tmp_path)
    assert done.code == 5
    assert list((tmp_path / "clinic-hub-kiosk").iterdir()) == []


@pytest.mark.parametrize("name", ["Kiosk", "2nd", "my-kiosk", "a b", "../kiosk", "", "käse", "kiosk!", "-x"])
def test_a_name_that_makes_no_module_is_refused(cli: Cli, tmp_path: Path, name: str) -> None:
    done = cli("new", "connector", "--dir", tmp_path, "--", name)
    assert done.code == 2
    assert list(tmp_path.iterdir()) == []
