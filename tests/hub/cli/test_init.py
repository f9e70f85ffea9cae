"""`hub init`: something to start from that is right from the first moment, and nothing that is there is touched."""

import stat
from pathlib import Path

import pytest

from tests.hub.cli.conftest import Cli
from tests.support import HubProcess


def test_what_init_writes_passes_the_check_at_once(cli: Cli, tmp_path: Path) -> None:
    done = cli("init", tmp_path / "clinic")
    assert (done.code, done.out) == (0, "")
    assert "hub check -c" in done.err
    assert {path.name for path in (tmp_path / "clinic").iterdir()} == {
        "clinic.yaml",
        "payers.csv",
        "hub.key",
        "var",
        "mappings",
    }
    checked = cli("check", "-c", tmp_path / "clinic" / "clinic.yaml", "--format", "json")
    assert (checked.code, checked.json["problems"]) == (0, [])


def test_what_init_writes_runs(cli: Cli, tmp_path: Path) -> None:
    cli("init", tmp_path / "clinic")
    file = tmp_path / "clinic" / "clinic.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("port: 2575", "port: '0'"), encoding="utf-8")
    with HubProcess(file) as hub:
        assert hub.terminate() == 0


def test_the_key_is_for_its_owner_only_and_never_the_same(cli: Cli, tmp_path: Path) -> None:
    keys = []
    for name in ("one", "two"):
        cli("init", tmp_path / name)
        key = tmp_path / name / "hub.key"
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        keys.append(key.read_bytes())
    assert keys[0] != keys[1]


@pytest.mark.parametrize("name", ["clinic.yaml", "hub.key"])
def test_init_over_a_clinic_is_refused_and_touches_nothing(cli: Cli, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine", encoding="utf-8")
    done = cli("init", tmp_path)
    assert done.code == 5
    assert name in done.err
    assert [(path.name, path.read_text(encoding="utf-8")) for path in tmp_path.iterdir()] == [(name, "mine")]


def test_init_leaves_a_payer_list_that_is_there_as_it_is(cli: Cli, tmp_path: Path) -> None:
    """Its help says: nothing that is there already is touched."""
    (tmp_path / "payers.csv").write_text("payer,name\n1,Mine\n", encoding="utf-8")
    cli("init", tmp_path)
    assert (tmp_path / "payers.csv").read_text(encoding="utf-8") == "payer,name\n1,Mine\n"


def test_a_folder_that_cannot_be_made_is_told_without_a_traceback(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    done = cli("init", tmp_path / "file" / "clinic")
    assert done.code != 0
    assert "Traceback" not in done.err
    assert "BUG-001" not in done.err
