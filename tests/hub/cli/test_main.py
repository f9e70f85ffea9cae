"""The command `hub`: what it lists, how it starts, and that no failure of a plugin reaches a person as a traceback."""

import asyncio
import importlib
import pkgutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

import hub.cli
from tests.hub.cli.conftest import Cli, Plant
from tests.support import ROOT, adt, clinic_folder, run_hub

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OF_PLUGINS = set(PROJECT["entry-points"]["clinic_hub.commands"])
COMMANDS = sorted(set(hub.cli.CORE) | OF_PLUGINS)


def listed(help: str) -> dict[str, str]:
    """Commands of a help text, and what is said of each."""
    lines = help.split("Commands:\n")[1].splitlines()
    return {line.split()[0]: " ".join(line.split()[1:]) for line in lines if line[2:3].strip()}


# What there is.


def test_help_lists_every_command_with_a_sentence(cli: Cli) -> None:
    done = cli("--help")
    assert done.code == 0
    found = listed(done.out)
    assert set(found) == set(COMMANDS)
    assert all(found.values())


def test_every_command_in_the_source_is_listed() -> None:
    """A command nobody registered would never be found."""
    known = {place for place, _ in hub.cli.CORE.values()}
    for info in pkgutil.iter_modules(hub.cli.__path__, "hub.cli."):
        module = importlib.import_module(info.name)
        own = [value for value in vars(module).values() if isinstance(value, click.Command)]
        parts = {part.callback for command in own if isinstance(command, click.Group) for part in command.commands.values()}
        for name, value in vars(module).items():
            if isinstance(value, click.Command) and value.callback not in parts and value.callback is not None:
                assert f"{info.name}:{name}" in known


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(cli: Cli, command: str) -> None:
    done = cli(command, "--help")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"Usage: hub {command}")


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("chek", "check"), ("mesages", "messages"), ("snd", "send"), ("worklists", "worklist"), ("int", "init")],
)
def test_an_unknown_command_brings_the_right_one(cli: Cli, wrong: str, meant: str) -> None:
    done = cli(wrong)
    assert (done.code, done.out) == (2, "")
    assert f"Did you mean {meant!r}?" in done.err


def test_an_unknown_command_that_resembles_none_says_so(cli: Cli) -> None:
    done = cli("xyzzy")
    assert (done.code, done.out) == (2, "")
    assert "No such command 'xyzzy'" in done.err
    assert "Did you mean" not in done.err


def test_without_a_command_it_says_what_there_is_and_that_this_was_wrong(cli: Cli) -> None:
    done = cli()
    assert done.code == 2
    assert "check" in done.out + done.err


def test_it_tells_its_version(cli: Cli) -> None:
    done = cli("--version")
    assert done.code == 0
    assert PROJECT["version"] in done.out


# How it starts.

SLOW = ("pydantic", "sqlalchemy", "httpx2", "starlette", "uvicorn", "cryptography", "hl7apy", "rich", "apscheduler", "yaml")


def imported_by(*arguments: str) -> set[str]:
    code = (
        "import sys\nfrom hub.cli import main\n"
        f"try:\n    main({list(arguments)!r})\nexcept SystemExit:\n    pass\n"
        f"print('IMPORTED', *[name for name in {SLOW!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize("arguments", [("--help",), ("send", "--help"), ("check", "--help"), ("explain", "CFG-001")])
def test_a_command_loads_nothing_it_does_not_need(arguments: tuple[str, ...]) -> None:
    assert imported_by(*arguments) == set()


# Failures of plugins.

CANARY = "ZZCANARYPATIENT"
COMMAND = f"""
import click
@click.command()
def planted():
    "Does something."
    raise RuntimeError("{CANARY} was not found")
"""


def test_a_command_that_breaks_says_so_in_a_sentence_without_its_data(cli: Cli, plant_plugin: Plant) -> None:
    plant_plugin({"clinic_hub.commands": "planted = planted_command:planted"}, planted_command=COMMAND)
    done = cli("planted")
    assert done.code == 1
    assert done.out == ""
    assert "BUG-001" in done.err
    assert "RuntimeError" in done.err
    assert "Traceback" not in done.err
    assert CANARY not in done.err


def test_who_asks_for_the_traceback_gets_it(cli: Cli, plant_plugin: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant_plugin({"clinic_hub.commands": "planted = planted_command:planted"}, planted_command=COMMAND)
    monkeypatch.setenv("CLINIC_HUB_TRACEBACK", "1")
    assert "Traceback (most recent call last)" in cli("planted").err


def test_a_command_that_cannot_be_imported_does_not_hide_the_others(cli: Cli, plant_plugin: Plant) -> None:
    plant_plugin(
        {"clinic_hub.commands": "planted = planted_command:planted"}, planted_command=f"raise RuntimeError('{CANARY}')\n"
    )
    done = cli("--help")
    assert done.code == 0
    assert set(COMMANDS) <= set(listed(done.out))
    assert CANARY not in done.out + done.err


def test_a_command_of_a_plugin_cannot_take_the_place_of_one_of_ours_unseen(cli: Cli, plant_plugin: Plant) -> None:
    """Two things of one name are refused naming both (hookspecs); for commands at least one must be told."""
    plant_plugin({"clinic_hub.commands": "send = planted_command:planted"}, planted_command=COMMAND)
    done = cli("send", "--help")
    assert done.code == 2
    assert "planted_command" in done.err
    assert "connectors.commands.send" in done.err


BROKEN_PLUGINS = {
    "cannot be imported": f"raise RuntimeError('{CANARY}')\n",
    "brings something without a name": "from hub import hookimpl\n@hookimpl\ndef register_steps():\n    return [object()]\n",
    "has a misspelt hook": "from hub import hookimpl\n@hookimpl\ndef register_stepps():\n    return []\n",
}


@pytest.mark.parametrize("source", BROKEN_PLUGINS.values(), ids=BROKEN_PLUGINS)
@pytest.mark.parametrize("command", ["check", "plugins", "run", "test"])
def test_a_plugin_that_cannot_be_used_is_named_and_the_way_out_told(
    cli: Cli, plant_plugin: Plant, tmp_path: Path, command: str, source: str
) -> None:
    file = clinic_folder(tmp_path, "")
    plant_plugin({"clinic_hub": "acme = acme_planted"}, acme_planted=source)
    done = cli(command, *(() if command == "plugins" else ("-c", file)))
    assert done.code == 2
    assert "acme" in done.err
    assert "Traceback" not in done.err


def test_a_plugin_that_cannot_be_used_does_not_keep_the_rest_from_working(
    cli: Cli, plant_plugin: Plant, tmp_path: Path
) -> None:
    plant_plugin({"clinic_hub": "acme = acme_planted"}, acme_planted="1 / 0\n")
    assert cli("explain", "PLG-002").code == 0
    assert cli("check", "-c", clinic_folder(tmp_path, "disable: [acme]\n")).code == 0


# How it ends.


def test_a_reader_that_has_enough_is_no_failure() -> None:
    """`hub explain | head -1`: the pipe is closed before everything is written."""
    with subprocess.Popen([sys.executable, "-m", "hub", "explain"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(20) == 0
    assert said == b""


async def test_ctrl_c_ends_a_command_with_130_and_one_word(tmp_path: Path) -> None:
    connected = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\x1c\r")
        connected.set()
        await reader.read()
        writer.close()

    (tmp_path / "a.hl7").write_bytes(adt("1"))
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "hub", "send", str(tmp_path / "a.hl7"), "--to", f"127.0.0.1:{port}",
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(20):
            await connected.wait()
            process.send_signal(signal.SIGINT)
            out, err = await process.communicate()
    assert process.returncode == 130
    assert out == b""
    assert err.strip() == b"interrupted"


def test_it_runs_as_a_module_too(tmp_path: Path) -> None:
    done = run_hub("explain", "CFG-020", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("CFG-020: ")
