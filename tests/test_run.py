"""`hub run` in processes of its own: ready, drained, refused, asked while it runs and at rest, and who looked is known."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import io
import json
import re
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.simulators.clearinghouse import Clearinghouse
from connectors.simulators.ehr import EhrClient, EhrServer
from hub.cli import main
from hub.store.sqlite import verify_audit
from tests.plugins.clinic import DAY, Clinic, RecordingTable, adt, at, eligibility_file, in1, jane, mrn, pid, siu
from tests.support import HubProcess, clinic_folder, free_port, json_lines, port_of, run_hub, running_hub, until

LISTENER = """
connections:
  ehr: {kind: mllp_listener, port: "@IN@"}
flows:
  registrations:
    from: ehr
    when: {type: ADT^*}
    steps: [{map: adt_to_patient}, {save: patient}]
"""
FORWARD = """
connections:
  ehr: {kind: mllp_listener, port: "@IN@"}
  pms: {kind: mllp_sender, host: 127.0.0.1, port: "@OUT@", timeout: 60s, retry: {first: 20ms, most: 100ms, attempts: "5"}}
flows:
  forward: {from: ehr, steps: [{send: pms}]}
"""


class Run:
    """`hub run` whose every word is kept."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._err = file.parent / "said.txt"
        self._out = file.parent / "data.txt"
        with self._err.open("w") as err, self._out.open("w") as out:
            self.process = subprocess.Popen([sys.executable, "-m", "hub", "run", "-c", str(file)], stderr=err, stdout=out)

    @property
    def said(self) -> list[str]:
        return self._err.read_text(encoding="utf-8").splitlines()

    @property
    def data(self) -> str:
        return self._out.read_text(encoding="utf-8")

    def until_ready(self) -> str:
        end = time.monotonic() + 20
        while time.monotonic() < end and self.process.poll() is None:
            if ready := [line for line in self.said if line.startswith("ready")]:
                return ready[0]
            time.sleep(0.01)
        raise AssertionError(f"not ready: {self.said}")

    def end(self, way: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(way)
        return self.process.wait(30)


@contextlib.contextmanager
def running(file: Path) -> Iterator[Run]:
    """Ready, and ended whatever happens."""
    run = Run(file)
    try:
        run.until_ready()
        yield run
    finally:
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait(10)


def listener(folder: Path, port: int | None = None) -> Path:
    return clinic_folder(folder, LISTENER.replace("@IN@", str(free_port() if port is None else port)))


def hub(*arguments: str | Path) -> tuple[int, str, str]:
    """A command in this process: exit code, data, everything else."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0), out.getvalue(), err.getvalue()


def store_of(file: Path) -> Path:
    return file.parent / "var" / "hub.db"


# Starting.


@dataclass
class Life:
    """What was seen of a hub from its start to its end."""

    file: Path
    port: int
    said: list[str] = field(default_factory=list)
    said_when_ready: list[str] = field(default_factory=list)
    data: str = ""
    code: int = -1
    modes: dict[str, int] = field(default_factory=dict)
    """Permissions of its files while it ran."""
    nothing: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    """What commands said while there was nothing to show."""
    left: list[str] = field(default_factory=list)
    """Sockets that were left behind."""


NOTHING = {"messages": ("messages", "list"), "worklist": ("worklist",), "eligibility": ("eligibility", "list")}


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Life:
    folder, port = tmp_path_factory.mktemp("life"), free_port()
    seen = Life(listener(folder, port), port)
    with running(seen.file) as run:
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            seen.said_when_ready = run.said
        paths = [*(folder / "var").glob("hub.db*"), folder / "hub.key"]
        seen.modes = {path.name: path.stat().st_mode for path in paths}
        for name, question in NOTHING.items():
            seen.nothing[name] = hub(*question, "-c", seen.file)
            seen.nothing[f"{name} --json"] = hub(*question, "--json", "-c", seen.file)
        seen.code = run.end()
        seen.said, seen.data = run.said, run.data
    seen.left = [path.name for path in paths if path.exists() and stat.S_ISSOCK(path.stat().st_mode)]
    return seen


def test_one_ready_line_is_printed_once_all_connections_are_open(life: Life) -> None:
    (line,) = life.said_when_ready
    assert line.startswith("ready")
    assert f"ehr (127.0.0.1:{life.port})" in line
    assert len([said for said in life.said if said.startswith("ready")]) == 1
    assert life.data == ""


def test_a_hub_that_is_told_to_stop_says_so_and_ends_with_0(life: Life) -> None:
    assert (life.code, life.said[-1]) == (0, "stopped")


def test_a_stopped_hub_leaves_no_socket_and_the_store_to_others(life: Life) -> None:
    assert life.left == []
    code, out, _ = hub("status", "--json", "-c", life.file)
    assert code == 0
    assert json.loads(out)["ready"] is False


def test_only_the_owner_may_ask_a_running_hub_or_read_its_store_and_key(life: Life) -> None:
    open_to_others = {name for name, mode in life.modes.items() if stat.S_IMODE(mode) & 0o077 and not stat.S_ISDIR(mode)}
    assert open_to_others <= {"hub.db.lock"}
    assert any(stat.S_ISSOCK(mode) for mode in life.modes.values())


@pytest.mark.parametrize("name", NOTHING)
def test_nothing_to_show_is_said_beside_the_data(life: Life, name: str) -> None:
    code, out, err = life.nothing[name]
    assert (code, out) == (0, "")
    assert err.strip()
    assert life.nothing[f"{name} --json"] == (0, "", "")


def test_a_port_in_use_is_said_clearly_and_ends_with_4(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        file = listener(tmp_path, port)
        ended = run_hub("run", "-c", file, timeout=20)
    assert ended.returncode == 4
    assert str(port) in ended.stderr
    assert "ehr" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not [line for line in ended.stderr.splitlines() if line.startswith("ready")]
    assert hub("status", "-c", file)[0] == 0


BROKEN = {
    "unknown key": ("    when: {type: ADT^*}", "    wenn: {type: ADT^*}"),
    "unknown mapping": ("adt_to_patient", "adt_to_patients"),
    "unknown connection": ("from: ehr", "from: her"),
    "no port": (', port: "@IN@"', ""),
    "open to the world without TLS": ("{kind: mllp_listener,", "{kind: mllp_listener, host: 0.0.0.0,"),
    "no YAML": ("flows:", "flows: ["),
}


@pytest.mark.parametrize("mistake", BROKEN)
def test_a_broken_configuration_never_starts(tmp_path: Path, mistake: str) -> None:
    old, new = BROKEN[mistake]
    assert old in LISTENER
    file = clinic_folder(tmp_path, LISTENER.replace(old, new).replace("@IN@", str(free_port())))
    code, out, err = hub("run", "-c", file)
    assert code == 2
    assert out == ""
    assert re.search(r"clinic\.yaml:\d+:\d+", err)
    assert "ready" not in err.splitlines()
    assert not store_of(file).exists()


def test_a_clinic_file_that_is_not_there_ends_with_2(tmp_path: Path) -> None:
    code, _, err = hub("run", "-c", tmp_path / "none.yaml")
    assert code == 2
    assert "none.yaml" in err
    assert "Traceback" not in err


def test_a_second_hub_on_the_store_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    port = free_port()
    with running(listener(tmp_path, port)) as first:
        other = clinic_folder(tmp_path, LISTENER.replace("@IN@", str(free_port())))
        ended = run_hub("run", "-c", other, timeout=20)
        assert ended.returncode == 5
        assert "another hub" in ended.stderr
        code, out, _ = hub("status", "--json", "-c", other)
        assert code == 0
        assert json.loads(out)["ready"] is True
        assert first.end() == 0


def test_a_hub_without_its_key_does_not_start_and_does_not_make_another(tmp_path: Path) -> None:
    file = listener(tmp_path)
    (tmp_path / "hub.key").unlink()
    code, _, err = hub("run", "-c", file)
    assert code == 2
    assert "hub.key" in err
    assert not (tmp_path / "hub.key").exists()


async def _made(file: Path, *bodies: bytes) -> None:
    """A hub in this process makes the store, and takes these messages."""
    async with running_hub(file) as hub, EhrClient("127.0.0.1", port_of(hub, "ehr")) as ehr:
        for body in bodies:
            await Clinic(hub, ehr).tell(body)


def test_a_key_that_belongs_to_another_store_is_refused(tmp_path: Path) -> None:
    mine, other = listener(tmp_path / "mine"), listener(tmp_path / "other")
    asyncio.run(_made(mine))
    (tmp_path / "mine" / "hub.key").write_bytes((tmp_path / "other" / "hub.key").read_bytes())
    assert other.exists()
    code, _, err = hub("run", "-c", mine)
    assert code == 4
    assert "key" in err


def test_a_store_with_a_long_path_is_reached_all_the_same(tmp_path: Path) -> None:
    """A Unix socket's path may have some hundred characters only."""
    folder = tmp_path / ("clinic-" + "x" * 60) / ("branch-" + "y" * 60)
    with running(listener(folder)) as run:
        code, out, err = hub("status", "--json", "-c", run.file)
        assert code == 0, err
        assert json.loads(out)["ready"] is True
        assert run.end() == 0


# Stopping.


@dataclass
class Feeder:
    """Senders that never stop; what was acknowledged is remembered."""

    port: int
    acknowledged: set[str] = field(default_factory=set)

    async def feed(self, name: str) -> None:
        number = 0
        try:
            async with EhrClient("127.0.0.1", self.port) as ehr:
                while True:
                    number += 1
                    body = adt("A08", pid(mrn(f"{name}{number % 7}")))
                    answer = await ehr.send(body, timeout=20)
                    if answer.code == "AA":
                        self.acknowledged.add(answer.control_id)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            return  # the hub is gone: what was not answered is still ours


async def test_what_was_acknowledged_is_kept_when_the_hub_is_told_to_stop(tmp_path: Path) -> None:
    """Messages come in, wait and are on their way out while it stops; nothing of them is lost."""
    port = free_port()

    def slowly(_: bytes, control_id: str, __: int) -> str:
        return "late" if control_id.endswith("7") else "AA"

    async with EhrServer(script=slowly) as pms:
        file = clinic_folder(tmp_path, FORWARD.replace("@IN@", str(port)).replace("@OUT@", str(pms.port)))
        process, feeder = HubProcess(file), Feeder(port)
        await asyncio.to_thread(process.start)
        feeding = [asyncio.create_task(feeder.feed(f"{n}-")) for n in range(8)]
        await until(lambda: len(feeder.acknowledged) > 300 and pms.received)
        began = time.monotonic()
        assert process.process is not None
        process.process.send_signal(signal.SIGTERM)
        code = await asyncio.to_thread(process.process.wait, 30)
        assert process.process.stderr is not None
        process.process.stderr.close()
        assert (code, time.monotonic() - began < 30) == (0, True)
        await asyncio.gather(*feeding)
        kept = await asyncio.to_thread(_control_ids, store_of(file))
        assert feeder.acknowledged <= kept
        pms.script = lambda _, __, ___: "AA"
        with HubProcess(file):
            await until(lambda: feeder.acknowledged <= set(pms.seen), timeout=30)


def _control_ids(store: Path) -> set[str]:
    with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as connection:
        found = {row[0] for row in connection.execute("SELECT control_id FROM message WHERE direction = 'in'")}
    connection.close()
    return found


@pytest.mark.long
async def test_a_partner_that_never_answers_does_not_keep_the_hub_from_stopping_within_thirty_seconds(tmp_path: Path) -> None:
    port = free_port()
    async with EhrServer(script=lambda _, __, ___: "silent") as pms:
        file = clinic_folder(tmp_path, FORWARD.replace("@IN@", str(port)).replace("@OUT@", str(pms.port)))
        process = HubProcess(file)
        await asyncio.to_thread(process.start)
        async with EhrClient("127.0.0.1", port) as ehr:
            assert (await ehr.send(adt("A08", pid(mrn("1"))))).code == "AA"
        await until(lambda: pms.seen)
        began = time.monotonic()
        assert await asyncio.to_thread(process.terminate) == 0
        assert time.monotonic() - began < 30


def test_a_hub_that_was_killed_is_asked_at_rest_and_starts_again(tmp_path: Path) -> None:
    with running(listener(tmp_path)) as run:
        run.process.kill()
        run.process.wait(10)
        at_rest = run_hub("status", "--json", "-c", run.file)
        assert at_rest.returncode == 0, at_rest.stderr
        assert json.loads(at_rest.stdout)["ready"] is False
    with running(run.file) as again:
        code, out, err = hub("status", "--json", "-c", run.file)
        assert code == 0, err
        assert json.loads(out)["ready"] is True
        assert again.end() == 0


# Asked while it runs, and at rest.

QUESTIONS: dict[str, tuple[str, ...]] = {
    "status": ("status",),
    "messages": ("messages", "list", "--limit", "500"),
    "messages of a patient": ("messages", "list", "--patient", "4711"),
    "messages of a patient, shown": ("messages", "list", "--patient", "4711", "--phi"),
    "messages of a type": ("messages", "list", "--type", "SIU^*"),
    "messages in quarantine": ("messages", "list", "--state", "quarantined"),
    "trace of an appointment": ("trace", "F-1"),
    "trace of a patient": ("trace", "4711"),
    "worklist": ("worklist",),
    "worklist of a day": ("worklist", "--date", DAY.isoformat()),
    "visits of a day": ("eligibility", "list", "--date", DAY.isoformat()),
    "visits with a problem": ("eligibility", "list", "--date", DAY.isoformat(), "--state", "problem"),
    "one visit": ("eligibility", "show", "F-1"),
}


@dataclass
class Answers:
    """What the hub said over its control socket, and its store at rest."""

    file: Path
    running: dict[str, str] = field(default_factory=dict)
    at_rest: dict[str, str] = field(default_factory=dict)
    body: str = ""
    """`messages show` of the first booking, without --phi."""
    body_shown: str = ""
    audit: list[tuple[Any, ...]] = field(default_factory=list)
    """Rows of the looks over the control socket."""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    return asyncio.run(_ask_everything(tmp_path_factory.mktemp("asked")))


async def _ask_everything(folder: Path) -> Answers:
    port = free_port()
    async with Clearinghouse() as house:
        house.table = RecordingTable([jane(member_id="W100")])
        answers = Answers(eligibility_file(folder, house.port, ehr_port=port))
        with HubProcess(answers.file):
            async with EhrClient("127.0.0.1", port) as ehr:
                for body in (
                    adt("A04", pid(mrn("4711")), in1("W100")),
                    adt("A04", pid(mrn("4712"), family="ROE"), in1("WRONG")),
                    siu("S12", "F-1", at(9), pid(mrn("4711"))),
                    siu("S12", "F-2", at(10), pid(mrn("4712"), family="ROE")),
                    siu("S12", "", at(11), pid(mrn("4711"))),
                ):
                    assert (await ehr.send(body)).code == "AA"
            await until(lambda: len(house.table.asked) == 2)
            await until(lambda: _is_quiet(answers.file))
            await asyncio.to_thread(_ask_all, answers, answers.running)
            first = json_lines(answers.running["messages of a type"])[0]["id"]
            answers.body = (await asyncio.to_thread(hub, "messages", "show", first, "--json", "-c", answers.file))[1]
            answers.body_shown = (
                await asyncio.to_thread(hub, "messages", "show", first, "--json", "--phi", "-c", answers.file)
            )[1]
            answers.audit = await asyncio.to_thread(_audit_rows, store_of(answers.file))
        await asyncio.to_thread(_ask_all, answers, answers.at_rest)
    return answers


async def _is_quiet(file: Path) -> bool:
    _, out, _ = await asyncio.to_thread(hub, "eligibility", "list", "--date", DAY.isoformat(), "--json", "-c", file)
    outcomes = {line["outcome"] for line in json_lines(out)}
    _, out, _ = await asyncio.to_thread(hub, "status", "--json", "-c", file)
    return outcomes == {"covered", "not_found"} and json.loads(out)["store"]["backlog"] == 0


def _ask_all(answers: Answers, into: dict[str, str]) -> None:
    for name, question in QUESTIONS.items():
        code, out, err = hub(*question, "--json", "-c", answers.file)
        into[name] = out if (code, err) == (0, "") else f"{code}: {err}"


def _audit_rows(store: Path) -> list[tuple[Any, ...]]:
    with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as connection:
        rows = connection.execute("SELECT seq, at, actor, action, object, detail, chain FROM audit ORDER BY seq").fetchall()
    connection.close()
    return rows


@pytest.mark.parametrize("name", [name for name in QUESTIONS if name != "status"])
def test_a_running_hub_and_its_store_at_rest_give_the_same(answers: Answers, name: str) -> None:
    assert json_lines(answers.running[name])
    assert json_lines(answers.running[name]) == json_lines(answers.at_rest[name])


def test_status_says_the_same_but_that_the_hub_does_not_run(answers: Answers) -> None:
    up, rest = json.loads(answers.running["status"]), json.loads(answers.at_rest["status"])
    assert (up["ready"], rest["ready"]) == (True, False)
    assert {c["state"] for c in up["connections"]} == {"up"}
    changing = {"state", "last_error"}  # and figures that only a running hub has
    for before, after in zip(up["connections"], rest["connections"], strict=True):
        assert {k: before[k] for k in after if k not in changing} == {k: v for k, v in after.items() if k not in changing}


SHAPES: dict[str, set[str]] = {
    "messages": {
        *("id", "seq", "at", "connection", "direction", "type", "control_id", "state", "patient", "appointment", "attempts"),
    },
    "trace of an appointment": {"seq", "at", "what", "message", "connection", "type", "text"},
    "worklist": {"id", "queue", "appointment", "text", "who", "cause", "opened_at"},
    "visits of a day": {"appointment", "starts_at", "patient", "payer", "outcome", "owes", "action", "who", "checked_at"},
}


@pytest.mark.parametrize("name", SHAPES)
def test_every_line_has_the_promised_keys(answers: Answers, name: str) -> None:
    """INTERFACES section 3."""
    lines = json_lines(answers.running[name])
    assert lines
    for line in lines:
        assert SHAPES[name] <= set(line)


def test_status_has_the_promised_keys(answers: Answers) -> None:
    """INTERFACES section 3."""
    status = json.loads(answers.running["status"])
    assert {"ready", "connections", "store"} <= set(status)
    assert {"backlog", "commits_per_s"} <= set(status["store"])
    assert [c["name"] for c in status["connections"]] == ["ehr", "clearinghouse"]
    for connection in status["connections"]:
        assert {"name", "state", "waiting", "oldest_s", "last_message_at", "last_error"} <= set(connection)
        assert datetime.fromisoformat(connection["last_message_at"]) > datetime.now(UTC) - timedelta(minutes=10)


def test_messages_have_states_and_times_with_their_zone(answers: Answers) -> None:
    lines = json_lines(answers.running["messages"])
    assert {line["direction"] for line in lines} >= {"in", "out"}
    assert {line["state"] for line in lines} == {"delivered", "quarantined"}
    assert [line["seq"] for line in lines] == sorted((line["seq"] for line in lines), reverse=True)
    assert all(datetime.fromisoformat(line["at"]).utcoffset() is not None for line in lines)


def test_the_timeline_of_a_visit_has_everything_from_the_booking_to_the_answer_in_order(answers: Answers) -> None:
    entries = json_lines(answers.running["trace of an appointment"])
    whats = [entry["what"] for entry in entries]
    order = ["received", "booked", "due", "checking", "queued", "answered", "covered"]
    assert [what for what in whats if what in order] == order
    assert [entry["at"] for entry in entries] == sorted(entry["at"] for entry in entries)
    assert {entry["type"] for entry in entries} >= {"SIU^S12", "270", "271"}


PRIVATE = ("4711", "4712", "DOE", "ROE", "JANE", "19800229", "W100", "1980-02-29")


@pytest.mark.parametrize(
    "name",
    ["status", "messages", "messages of a patient", "trace of an appointment", "trace of a patient", "messages of a type"],
)
def test_what_is_not_asked_for_with_phi_has_no_patient_data(answers: Answers, name: str) -> None:
    words = set(re.findall(r"[\w-]+", answers.running[name].upper()))
    assert not words & set(PRIVATE)


def test_a_body_is_hidden_unless_it_is_asked_for(answers: Answers) -> None:
    hidden, body = json.loads(answers.body), json.loads(answers.body_shown)
    assert hidden["body"] is None
    assert not set(re.findall(r"\w+", answers.body.upper())) & set(PRIVATE)
    assert body["body"].startswith("MSH|")
    assert "4711" in body["body"]


def test_with_phi_the_patient_is_named(answers: Answers) -> None:
    assert {line["patient"] for line in json_lines(answers.running["messages of a patient"])} == {"****"}
    shown = {line["patient"] for line in json_lines(answers.running["messages of a patient, shown"])}
    assert "4711" in shown
    assert "****" not in shown


# Who looked.

LOOKS = {"messages": "messages.list", "trace": "trace", "worklist": "worklist.list", "eligibility": "eligibility.list"}


def test_every_look_is_in_the_audit_with_who_looked_and_what_for(answers: Answers) -> None:
    """INTERFACES section 2: looks into the store are audited; DESIGN 4.11: in a chain that shows every change."""
    asked = [question for name, question in QUESTIONS.items() if name != "status"]
    actions = [(row[2], row[3]) for row in answers.audit]
    assert {actor for actor, _ in actions} == {getpass.getuser()}
    for command in ("messages", "trace", "worklist"):
        wanted = sum(question[0] == command for question in asked)
        assert len([action for _, action in actions if action == LOOKS[command]]) >= wanted
    assert "eligibility.show" in {action for _, action in actions}
    assert len([action for _, action in actions if action == "messages.show"]) == 2
    assert verify_audit(answers.audit) is None


def test_the_audit_says_what_was_looked_at_without_patient_data(answers: Answers) -> None:
    """DESIGN 4.11: patient and member ids are kept as keyed digests."""
    subjects = {row[4] for row in answers.audit}
    assert "F-1" in subjects
    for row in answers.audit:
        assert not set(re.findall(r"\w+", f"{row[4]} {row[5]}".upper())) & set(PRIVATE), row


def test_looks_at_a_store_at_rest_are_in_the_audit_too(answers: Answers) -> None:
    rows = _audit_rows(store_of(answers.file))
    looks = [row for row in rows[len(answers.audit) :] if row[3] in LOOKS.values()]
    assert len(looks) >= len(QUESTIONS) - 2
    assert verify_audit(rows) is None


def test_nothing_of_a_patient_is_readable_in_the_files_of_the_store(answers: Answers) -> None:
    """DESIGN 4.11: bodies are sealed, ids of patients and members are keyed digests."""
    for path in (answers.file.parent / "var").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for private in (b"DOE^JANE", b"19800229", b'"4711"', b"4711^^^RIVER", b"Jane", b"1980-02-29"):
                assert private not in content, (path.name, private)


# Asked wrongly.


WRONG: dict[str, tuple[Callable[[Path], tuple[str | Path, ...]], int, str]] = {
    "a message that is not there": (lambda f: ("messages", "show", "nope", "-c", f), 1, "nope"),
    "a timeline of nothing": (lambda f: ("trace", "nope", "-c", f), 1, "nothing is known"),
    "a visit that is not there": (lambda f: ("eligibility", "show", "nope", "-c", f), 1, "nope"),
    "a check of nothing": (lambda f: ("eligibility", "check", "nope", "-c", f), 1, "nope"),
    "a state that does not exist": (lambda f: ("messages", "list", "--state", "lost", "-c", f), 2, "waiting"),
    "a day that is none": (lambda f: ("worklist", "--date", "someday", "-c", f), 2, "tomorrow"),
    "a day that is none for visits": (lambda f: ("eligibility", "list", "--date", "2026-13-01", "-c", f), 2, "tomorrow"),
    "a time that is none": (lambda f: ("messages", "list", "--since", "lunch", "-c", f), 2, "24h"),
    "no limit at all": (lambda f: ("messages", "list", "--limit", "0", "-c", f), 2, "limit"),
    "a command that does not exist": (lambda f: ("mesages", "list"), 2, "messages"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_question_that_cannot_be_answered_says_why(answers: Answers, mistake: str) -> None:
    arguments, code, word = WRONG[mistake]
    ended, out, err = hub(*arguments(answers.file))
    assert ended == code, err
    assert out == ""
    assert word in err
    assert "Traceback" not in err


def test_a_store_that_is_not_there_yet_ends_with_4_and_is_not_made(tmp_path: Path) -> None:
    file = listener(tmp_path)
    for question in (("messages", "list"), ("status",), ("worklist",), ("eligibility", "list"), ("trace", "x")):
        code, out, err = hub(*question, "--json", "-c", file)
        assert (code, out) == (4, "")
        assert "hub run" in err
    assert not store_of(file).exists()


def test_a_check_of_a_cancelled_visit_is_refused(tmp_path: Path) -> None:
    file = eligibility_file(tmp_path, 1)
    asyncio.run(_made(file, siu("S15", "F-1", at(9), pid(mrn("42")))))
    code, _, err = hub("eligibility", "check", "F-1", "-c", file)
    assert code == 5
    assert "cancelled" in err


def test_the_clinic_file_may_be_named_by_the_environment(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINIC_HUB_CONFIG", str(answers.file))
    code, out, _ = hub("worklist", "--json")
    assert code == 0
    assert out == answers.at_rest["worklist"]
