"""Exit codes are for scripts (INTERFACES section 2): 0 ok, 1 findings, 2 usage, 3 some failed, 4 unreachable, 5 refused."""

import asyncio
import json
from pathlib import Path

import pytest

from connectors.simulators.ehr import EhrServer, script_of
from tests.hub.cli.conftest import Cli
from tests.support import adt, clinic_folder, free_port, run_hub

GOOD = adt("1")
CASES = (
    "- case: it\n  given: |\n    MSH|^~\\&|E|R|H|R|2026||ADT^A04|1|P|2.5\n    PID|1||1\n  expect: {identifiers: [{value: 1}]}\n"
)
MAPPING = "from: hl7v2\nto: patient\nfields:\n  identifiers: {each: PID-3, fields: {value: '1'}}\n"


@pytest.fixture
def clinic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a good clinic file and some messages, which is also where commands run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    file = clinic_folder(tmp_path / "config", "mappings: mappings\n")
    (tmp_path / "good.hl7").write_bytes(GOOD)
    (tmp_path / "bad.hl7").write_bytes(GOOD.replace(b"|1|P|2.5", b"||P|2.5"))
    (tmp_path / "config" / "mappings").mkdir()
    (tmp_path / "config" / "mappings" / "own.yaml").write_text(MAPPING, encoding="utf-8")
    (tmp_path / "config" / "mappings" / "own.test.yaml").write_text(CASES, encoding="utf-8")
    (tmp_path / "wrong.yaml").write_text("colour: red\n", encoding="utf-8")
    return file


CODES = {
    "a good file": (0, "check"),
    "an explained code": (0, "explain CFG-001"),
    "the plugins": (0, "plugins"),
    "cases that hold": (0, "test config/mappings"),
    "a message without findings": (0, "show good.hl7"),
    "a new folder": (0, "init elsewhere"),
    "a new connector": (0, "new connector kiosk"),
    "help of a group": (0, "messages --help"),
    "an error in a message": (1, "show bad.hl7"),
    "one bad file of two": (1, "show good.hl7 bad.hl7"),
    "a code there is not": (1, "explain XYZ-999"),
    "no cases at all": (1, "test -k xyzzy"),
    "no cases there": (1, "test wrong.yaml"),
    "an option there is not": (2, "check --colour"),
    "an argument that is missing": (2, "explain --json --json x y"),
    "no file to show": (2, "show"),
    "a file to show that is not there": (2, "show missing.hl7"),
    "a folder to show": (2, "show config"),
    "a file to try that is not there": (2, "try bookings missing.hl7"),
    "a wrong clinic file": (2, "check wrong.yaml"),
    "a clinic file that is not there": (2, "check -c missing.yaml"),
    "to run a wrong clinic file": (2, "run -c wrong.yaml"),
    "to run none": (2, "run -c missing.yaml"),
    "to test with a wrong clinic file": (2, "test -c wrong.yaml"),
    "to test with none": (2, "test -c missing.yaml"),
    "to list by a wrong clinic file": (2, "messages list -c wrong.yaml"),
    "a time that is none": (2, "messages list --since yesterday-ish"),
    "a number that is none": (2, "messages list --limit many"),
    "a place that is none": (2, "send good.hl7 --to nowhere"),
    "a wait that is none": (2, "send good.hl7 --to 127.0.0.1:1 --timeout soon"),
    "a port that is none": (2, "send good.hl7 --to 127.0.0.1:99999"),
    "a name for a connector that is none": (2, "new connector 2nd-floor"),
    "no store yet": (4, "status"),
    "no store to list": (4, "messages list"),
    "no store to trace in": (4, "trace 1"),
    "a folder that is a clinic's already": (5, "init config"),
}


@pytest.mark.parametrize(("code", "arguments"), CODES.values(), ids=CODES)
def test_a_command_ends_with(cli: Cli, clinic: Path, code: int, arguments: str) -> None:
    done = cli(*arguments.split())
    assert done.code == code, done.err
    assert "Traceback" not in done.err
    assert "BUG-001" not in done.err
    if code >= 2:
        assert done.out == ""
        assert done.err


def test_failed_cases_end_with_1_and_name_themselves(cli: Cli, clinic: Path) -> None:
    cases = clinic.parent / "mappings" / "own.test.yaml"
    cases.write_text(CASES.replace("value: 1}", "value: 2}"), encoding="utf-8")
    done = cli("test", clinic.parent / "mappings")
    assert done.code == 1
    assert "FAIL" in done.out
    assert "identifiers.1.value: expected '2', got '1'" in done.out
    assert "own.test.yaml:1" in done.out
    assert "0 passed, 1 failed" in done.err


def test_a_mapping_without_cases_ends_with_1(cli: Cli, clinic: Path) -> None:
    (clinic.parent / "mappings" / "own.test.yaml").unlink()
    done = cli("test", clinic.parent / "mappings")
    assert done.code == 1
    assert "proves nothing" in done.out


def test_a_mistake_in_a_case_file_ends_with_1_although_its_cases_hold(cli: Cli, clinic: Path) -> None:
    cases = clinic.parent / "mappings" / "own.test.yaml"
    cases.write_text(CASES + "  expcet: {}\n", encoding="utf-8")
    done = cli("test", clinic.parent / "mappings")
    assert done.code == 1
    assert "'expcet'" in done.err


def test_cases_can_be_chosen_by_a_word_and_told_as_json(cli: Cli, clinic: Path) -> None:
    done = cli("test", "-k", "several pairs", "--json")
    assert done.code == 0
    assert (done.json["passed"], done.json["failed"]) == (1, 0)
    assert done.json["cases"][0]["file"].endswith("adt_to_patient.test.yaml")


@pytest.mark.parametrize("what", ["config/mappings/own.yaml", "config/mappings/own.test.yaml", "config/mappings"])
def test_cases_are_found_by_mapping_by_case_file_and_by_folder(cli: Cli, clinic: Path, what: str) -> None:
    done = cli("test", what, "--json")
    assert [Path(case["file"]).name for case in done.json["cases"]] == ["own.test.yaml"]
    assert done.code == 0


def test_a_mapping_of_another_folder_can_be_tested_by_its_path(cli: Cli, clinic: Path, tmp_path: Path) -> None:
    (tmp_path / "drafts").mkdir()
    (tmp_path / "drafts" / "draft.yaml").write_text(MAPPING, encoding="utf-8")
    (tmp_path / "drafts" / "draft.test.yaml").write_text(CASES, encoding="utf-8")
    done = cli("test", "drafts/draft.yaml")
    assert done.code == 0
    assert "draft.test.yaml" in done.out


# send.


async def sent(tmp_path: Path, *answers: str) -> tuple[int, list[dict[str, str]], str]:
    for number in range(len(answers)):
        (tmp_path / f"{number}.hl7").write_bytes(adt(f"M{number}"))
    files = [tmp_path / f"{number}.hl7" for number in range(len(answers))]
    async with EhrServer(script_of(answers)) as far:
        done = await asyncio.to_thread(
            run_hub, "send", *files, "--to", f"127.0.0.1:{far.port}", "--json", "--timeout", "700ms", timeout=20
        )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


@pytest.mark.parametrize(
    ("answers", "code"),
    [(["AA", "AA"], 0), (["AA", "AE"], 3), (["AE", "AR"], 5)],
    ids=["all accepted", "some refused", "all refused"],
)
async def test_send_ends_with(tmp_path: Path, answers: list[str], code: int) -> None:
    ended, lines, err = await sent(tmp_path, *answers)
    assert ended == code
    assert [(line["control_id"], line["code"]) for line in lines] == [(f"M{n}", a) for n, a in enumerate(answers)]
    assert err == ""


@pytest.mark.parametrize("answer", ["silent", "close", "garbage", "wrong"])
async def test_send_to_a_partner_that_gives_no_answer_ends_with_4(tmp_path: Path, answer: str) -> None:
    ended, lines, err = await sent(tmp_path, answer)
    assert (ended, lines) == (4, [])
    assert "Traceback" not in err


async def test_send_tells_what_was_accepted_before_the_partner_fell_silent(tmp_path: Path) -> None:
    """What went through must be known, or a person sends it again."""
    ended, lines, _ = await sent(tmp_path, "AA", "close", "close")  # a kept connection that is closed is opened once more
    assert ended in (3, 4)
    assert [line["code"] for line in lines][:1] == ["AA"]


async def test_send_of_what_asks_for_no_answer_ends_with_0(tmp_path: Path) -> None:
    """An acknowledgement is not acknowledged; to wait for that would be to wait for ever."""
    ack = b"MSH|^~\\&|A|B|C|D|20261123||ACK^A04|X1|P|2.5\rMSA|AA|M1\r"
    (tmp_path / "ack.hl7").write_bytes(ack)
    async with EhrServer(script_of(["silent"])) as far:
        done = await asyncio.to_thread(
            run_hub, "send", tmp_path / "ack.hl7", "--to", f"127.0.0.1:{far.port}", "--json", timeout=20
        )
        assert far.seen["X1"] == 1
    assert (done.returncode, json.loads(done.stdout)["accepted"]) == (0, True)


def test_send_to_nobody_ends_with_4(cli: Cli, clinic: Path) -> None:
    done = cli("send", "good.hl7", "--to", f"127.0.0.1:{free_port()}")
    assert (done.code, done.out) == (4, "")
    assert "NET-001" in done.err


async def test_what_a_partner_writes_into_its_refusal_is_not_repeated(tmp_path: Path) -> None:
    """MSA-3 and ERR-8 may quote the patient."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\x1c\r")
        header, msa = "MSH|^~\\&|A|B|C|D|2026||ACK|9|P|2.5", "MSA|AE|M1|ZZCANARYPATIENT unknown"
        text = f"{header}\r{msa}\rERR||PID^1^3|204^ZZCANARYPATIENT|E||||ZZCANARY\r"
        writer.write(b"\x0b" + text.encode() + b"\x1c\r")
        await writer.drain()
        writer.close()

    (tmp_path / "a.hl7").write_bytes(adt("M1"))
    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        place = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        done = await asyncio.to_thread(run_hub, "send", tmp_path / "a.hl7", "--to", place, timeout=20)
    assert done.returncode == 5
    assert "AE" in done.stdout
    assert "204" in done.stdout
    assert "ZZCANARY" not in done.stdout + done.stderr


def test_an_empty_file_to_send_is_refused_as_no_message(cli: Cli, clinic: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.hl7").write_bytes(b"")
    done = cli("send", "empty.hl7", "--to", f"127.0.0.1:{free_port()}", "--json")
    assert done.code != 0
    assert done.lines[0]["code"] is None
