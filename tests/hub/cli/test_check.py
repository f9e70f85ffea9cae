"""`hub check`: everything wrong at once, for people, programs and code review; nothing secret is printed."""

import asyncio
import json
import re
from pathlib import Path

import pytest

from connectors.simulators.ehr import EhrServer
from tests.hub.cli.conftest import Cli
from tests.hub.settings.planted import Place, plant
from tests.support import clinic_folder, free_port, run_hub

WRONG = Path(__file__).parents[1] / "settings" / "everything_wrong.yaml.txt"
CANARY = "S3CRET-CANARY-7c1"


@pytest.fixture
def wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[Place]]:
    """A clinic file with more than forty mistakes, and where they are."""
    monkeypatch.chdir(tmp_path)
    expected = plant(tmp_path / "clinic.yaml", WRONG.read_text(encoding="utf-8"))
    expected += plant(tmp_path / "payers.csv", "«CFG-041»payer,name,clearing_house\n")
    return tmp_path / "clinic.yaml", sorted(expected)


def test_people_are_shown_every_mistake_with_its_line_and_what_to_do(cli: Cli, wrong: tuple[Path, list[Place]]) -> None:
    file, expected = wrong
    done = cli("check", file)
    assert (done.code, done.out) == (2, "")
    blocks = re.findall(r"^error\[([A-Z0-9-]+)\]: .+\n +--> ([^:\n]+):(\d+):(\d+)$", done.err, re.MULTILINE)
    assert sorted((code, name, int(line), int(column)) for code, name, line, column in blocks) == expected
    assert f"{len(expected)} error(s), 0 warning(s)" in done.err
    assert CANARY not in done.err
    assert "did you mean 'mllp_sender'" not in done.err
    assert "did you mean 'http'?" in done.err
    assert "hub explain CFG-020" in done.err


def test_the_line_is_underlined_where_it_is_wrong(cli: Cli, wrong: tuple[Path, list[Place]]) -> None:
    lines = cli("check", wrong[0]).err.splitlines()
    at = next(number for number, line in enumerate(lines) if "unknown field 'telefone'" in line)
    place, source, mark = lines[at + 1 : at + 4]
    assert place.endswith("clinic.yaml:4:3")
    assert source.index("telefone") == mark.index("^")
    assert mark.count("^") == len("telefone")


def test_programs_get_one_document(cli: Cli, wrong: tuple[Path, list[Place]]) -> None:
    file, expected = wrong
    done = cli("check", file, "--format", "json")
    assert (done.code, done.err) == (2, "")
    assert done.json["ok"] is False
    found = [(p["code"], p["file"], p["line"], p["column"]) for p in done.json["problems"]]
    assert sorted(found) == expected
    assert all(p["level"] == "error" and p["text"] for p in done.json["problems"])
    assert CANARY not in done.out


def test_code_review_gets_a_line_for_each(cli: Cli, wrong: tuple[Path, list[Place]]) -> None:
    file, expected = wrong
    done = cli("check", file, "--format", "github")
    assert (done.code, done.err) == (2, "")
    pattern = r"::error file=([^,]+),line=(\d+),col=(\d+),title=([A-Z0-9-]+)::\S.*"
    found = [re.fullmatch(pattern, line) for line in done.out.splitlines()]
    assert all(found)
    assert sorted((m[4], m[1], int(m[2]), int(m[3])) for m in found if m) == expected
    assert CANARY not in done.out


def test_what_code_review_gets_is_escaped_as_github_wants_it(cli: Cli, tmp_path: Path) -> None:
    """Line ends and percent signs would cut a workflow command short (GitHub, workflow commands)."""
    (tmp_path / "clinic.yaml").write_text("a: \x07\n", encoding="utf-8")
    done = cli("check", tmp_path / "clinic.yaml", "--format", "github")
    assert [line[:8] for line in done.out.splitlines()] == ["::error "]
    file = clinic_folder(tmp_path, "connections:\n  a: {kind: mllp_listener, port: '1', 100%: x}\n")
    assert "'100%25'" in cli("check", file, "--format", "github").out


def test_the_same_in_a_process_of_its_own(wrong: tuple[Path, list[Place]]) -> None:
    file, expected = wrong
    done = run_hub("check", "-c", file, "--format", "json", cwd=file.parent)
    assert done.returncode == 2
    assert len(json.loads(done.stdout)["problems"]) == len(expected)
    assert CANARY not in done.stdout + done.stderr


def test_a_good_file_is_good_in_every_format(cli: Cli, tmp_path: Path) -> None:
    file = clinic_folder(tmp_path, "")
    text, json, github = (cli("check", file, "--format", form) for form in ("text", "json", "github"))
    assert (text.code, text.out) == (0, "")
    assert "nothing wrong" in text.err
    assert (json.code, json.json["ok"], json.json["problems"]) == (0, True, [])
    assert (github.code, github.out) == (0, "")


def test_warnings_do_not_keep_the_hub_from_starting(cli: Cli, tmp_path: Path) -> None:
    text = "connections:\n  a: {kind: http, url: http://127.0.0.1, auth: {user: us, password: {$env: CLINIC_TEST_NOT_SET}}}\n"
    file = clinic_folder(tmp_path, text)
    done = cli("check", file, "--format", "json")
    assert (done.code, done.json["ok"]) == (0, True)
    assert [p["level"] for p in done.json["problems"]] == ["warning"]
    assert "::warning " in cli("check", file, "--format", "github").out


def test_mistakes_of_mappings_and_profiles_are_told_as_well(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    clinic_folder(tmp_path, "mappings: mappings\nvendors: vendors\n")
    expected = plant(tmp_path / "mappings" / "own.yaml", "from: hl7v2\nto: patient\nfields:\n  «MAP-016»fone: PID-13\n")
    expected += plant(tmp_path / "vendors" / "acme.yaml", "vendor: acme\nproven: «CFG-061»maybe\nkinds: {http: {}}\n")
    done = cli("check", "clinic.yaml", "--format", "json")
    assert done.code == 2
    found = [(p["code"], Path(p["file"]).name, p["line"], p["column"]) for p in done.json["problems"]]
    assert sorted(found) == sorted(expected)


def test_the_file_may_come_from_the_environment(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = clinic_folder(tmp_path, "colour: red\n")
    monkeypatch.setenv("CLINIC_HUB_CONFIG", str(file))
    assert cli("check").code == 2
    other = clinic_folder(tmp_path / "other", "")
    assert cli("check", "-c", other).code == 0


def test_a_file_that_is_not_there_is_a_mistake_of_usage(cli: Cli, tmp_path: Path) -> None:
    done = cli("check", tmp_path / "nothing.yaml")
    assert (done.code, done.out) == (2, "")
    assert "nothing.yaml" in done.err


# --effective.

EFFECTIVE = """
connections:
  clearinghouse:
    vendor: availity
    kind: http
    timeout: 20s
    headers: {X-Api-Key: {$file: secret.txt}}
    auth: {client_id: clinic, client_secret: {$file: secret.txt}}
"""


def test_effective_shows_each_value_and_where_it_came_from(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text(CANARY, encoding="utf-8")
    file = clinic_folder(tmp_path, EFFECTIVE.replace("    headers: {X-Api-Key: {$file: secret.txt}}\n", ""))
    done = cli("check", file, "--effective", "clearinghouse")
    assert done.code == 0
    rows = {line.split()[0]: line for line in done.out.splitlines()}
    line = file.read_text(encoding="utf-8").splitlines().index("    timeout: 20s") + 1
    assert rows["timeout"].endswith(f"{file}:{line}")
    assert "20" in rows["timeout"]
    assert "connectors/vendors/availity.yaml:" in rows["content_type"]
    assert rows["method"].endswith("default")
    assert "$file" in rows["auth.client_secret"]
    assert CANARY not in done.out + done.err


def test_effective_shows_no_secret_wherever_it_is_used(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text(CANARY, encoding="utf-8")
    done = cli("check", clinic_folder(tmp_path, EFFECTIVE), "--effective", "clearinghouse")
    assert done.code == 0
    assert CANARY not in done.out + done.err


def test_effective_of_a_connection_there_is_not_says_which_there_are(cli: Cli, tmp_path: Path) -> None:
    done = cli("check", clinic_folder(tmp_path, EFFECTIVE), "--effective", "clearing")
    assert done.code != 0
    assert done.out == ""
    assert "clearinghouse" in done.err


# --connect.


def connected(port: int) -> str:
    return f"connections:\n  pms: {{kind: mllp_sender, host: 127.0.0.1, port: '{port}', connect_timeout: 2s}}\n"


async def test_connect_reaches_every_partner_and_sends_nothing(tmp_path: Path) -> None:
    async with EhrServer() as pms:
        done = await asyncio.to_thread(run_hub, "check", clinic_folder(tmp_path, connected(pms.port)), "--connect")
        assert pms.received == []
    assert done.returncode == 0
    assert "pms:" in done.stderr


def test_a_partner_that_cannot_be_reached_is_named_with_4(cli: Cli, tmp_path: Path) -> None:
    done = cli("check", clinic_folder(tmp_path, connected(free_port())), "--connect")
    assert (done.code, done.out) == (4, "")
    assert "pms: cannot connect to 127.0.0.1" in done.err


def test_connect_needs_the_secrets_that_a_plain_check_does_without(cli: Cli, tmp_path: Path) -> None:
    text = "connections:\n  a: {kind: http, url: http://127.0.0.1:1, auth: {user: us, password: {$env: CLINIC_TEST_NOT_SET}}}\n"
    file = clinic_folder(tmp_path, text)
    assert cli("check", file).code == 0
    assert cli("check", file, "--connect").code == 2


# --schema.


def test_the_schema_is_printed_without_a_clinic_file(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = cli("check", "--schema")
    assert (done.code, done.err) == (0, "")
    assert done.json["$schema"].startswith("https://json-schema.org/")
    assert {"connections", "flows"} <= done.json["properties"].keys()


def test_an_unknown_format_is_a_mistake_of_usage(cli: Cli) -> None:
    assert cli("check", "--format", "xml").code == 2
