"""The wheel: what it holds, and that it works in an environment of its own."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

import hub
from tests.support import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(folder),
        str(ROOT),
    ]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_four_packages_and_nothing_else(wheel: Path) -> None:
    names = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == {"hub", "connectors", "plugins", "mappings"}


@pytest.mark.parametrize(
    "data",
    [
        "mappings/adt_to_patient.yaml",
        "mappings/adt_to_patient.test.yaml",
        "connectors/vendors/epic.yaml",
        "connectors/simulators/demo/clinic.yaml",
        "hub/cli/starter/clinic.yaml",
        "hub/cli/starter/connector/connector.py.txt",
        "hub/store/migrations/versions/0001_first.py",
    ],
)
def test_the_wheel_holds_the_data_files(wheel: Path, data: str) -> None:
    assert data in zipfile.ZipFile(wheel).namelist()


def test_every_connector_and_plugin_has_its_line_among_the_entry_points() -> None:
    lines = set(PYPROJECT["project"]["entry-points"]["clinic_hub"].values())
    connectors = {f"connectors.{file.stem}" for file in (ROOT / "connectors").glob("*.py") if file.stem != "__init__"}
    plugins = {f"plugins.{file.stem}" for file in (ROOT / "plugins").glob("*.py") if file.stem != "__init__"}
    folders = {f"plugins.{folder.parent.name}" for folder in (ROOT / "plugins").glob("*/__init__.py")} - {"plugins.commands"}
    missing = sorted((connectors | plugins | folders) - lines)
    assert missing == [], (
        f'add to pyproject.toml under [project.entry-points.clinic_hub]: NAME = "{missing[0]}"' if missing else ""
    )


def test_the_names_for_plugin_authors_are_those_that_are_there() -> None:
    assert dir(hub) == hub.__all__
    for name, home in hub._HOME_OF.items():
        assert getattr(hub, name) is getattr(importlib.import_module(home), name)
    with pytest.raises(AttributeError, match="plugin authors may import"):
        _ = hub.Journal


def test_importing_hub_imports_nothing_else() -> None:
    code = "import sys, hub; print([m for m in ('pydantic', 'sqlalchemy', 'click') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_the_lock_names_no_index_no_host_and_hashes_everything() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in lock
    assert "--index" not in lock
    assert "--find-links" not in lock
    requirements = [line for line in lock.splitlines() if line and not line.startswith((" ", "#"))]
    assert len(requirements) > 40
    assert all(line.endswith("\\") for line in requirements), "every requirement is followed by its hashes"


def test_the_lock_has_every_dependency() -> None:
    lock = {
        line.split("==")[0].lower()
        for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
        if "==" in line
    }
    wanted = [
        *PYPROJECT["project"]["dependencies"],
        *PYPROJECT["dependency-groups"]["dev"],
        *PYPROJECT["build-system"]["requires"],
    ]
    names = [re.split(r"[\[<>=!~; ]", name)[0].lower() for name in wanted]
    assert [name for name in names if name not in lock] == []


def _environment(folder: Path) -> dict[str, str]:
    """Nothing of this machine but what a shell needs."""
    return {"PATH": f"{folder / 'bin'}:/usr/bin:/bin", "HOME": str(folder), "LANG": "C.UTF-8"}


def test_the_wheel_plays_the_demo_outside_of_the_repository(wheel: Path, tmp_path: Path) -> None:
    """In a fresh environment that sees the libraries of this one, but not the project's folder."""
    folder = tmp_path / "env"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=120)
    site = next(folder.glob("lib/python*/site-packages"))
    pip = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(pip, check=True, capture_output=True, timeout=120)
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    run = [str(folder / "bin/hub"), "demo", "--once", "--json"]
    done = subprocess.run(run, cwd=tmp_path, env=_environment(folder), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    code = "import hub, connectors; print(hub.__file__, connectors.__file__)"
    where = subprocess.run(
        [str(folder / "bin/python"), "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert str(ROOT) not in where


@pytest.mark.long
def test_a_fresh_clone_runs_make_demo_from_the_lock_alone(tmp_path: Path) -> None:
    """With the package index, as a user would: nothing of this environment is visible."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True, timeout=60)
    env = {
        **_environment(tmp_path),
        **{k: v for k, v in os.environ.items() if k.startswith("PIP_")},
        "PATH": os.environ["PATH"],
    }
    done = subprocess.run(["make", "demo"], cwd=clone, env=env, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Every visit came out as it should" in done.stderr
