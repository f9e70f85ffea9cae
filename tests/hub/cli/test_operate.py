"""Looking into a hub, running or at rest: lists for people and programs, patient data hidden unless it is asked for."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from connectors.simulators.ehr import EhrClient
from tests.hub.cli.conftest import Cli
from tests.support import HubProcess, adt, clinic_folder, json_lines, port_of, run_hub, running_hub, settled, siu

CANARY, MRN = "ZZCANARY", "7700042"
CLINIC = """
connections:
  ehr: {kind: mllp_listener, port: '0'}
flows:
  registrations:
    from: ehr
    when: {type: ADT^*}
    steps: [{map: adt_to_patient}, {save: patient}]
  bookings:
    from: ehr
    when: {type: SIU^*}
    steps: [{map: siu_to_appointment}, {save: appointment}]
"""


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub at rest that has seen a registration, a booking, and a booking it could not use; for looking only."""
    file = clinic_folder(tmp_path_factory.mktemp("clinic"), CLINIC)

    async def fill() -> None:
        async with running_hub(file) as hub, EhrClient("127.0.0.1", port_of(hub, "ehr")) as ehr:
            await ehr.send(adt("M1", MRN, family=CANARY))
            await ehr.send(siu("M2", "F-77", "209911301430", MRN, family=CANARY))
            await ehr.send(siu("M3", "F-78", f"{CANARY}", MRN, family=CANARY))
            await settled(hub)

    asyncio.run(fill())
    return file


@pytest.fixture
def own(clinic: Path, tmp_path: Path) -> Path:
    """A copy of it, to do something with."""
    return shutil.copytree(clinic.parent, tmp_path / "clinic") / "clinic.yaml"


LOOKS = {
    "messages": ("messages", "list"),
    "messages of a patient": ("messages", "list", "--patient", MRN),
    "a trace by control id": ("trace", "M1"),
    "a trace by appointment": ("trace", "F-77"),
    "what failed": ("messages", "list", "--state", "quarantined"),
    "the status": ("status",),
}


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["text", "json"])
@pytest.mark.parametrize("arguments", LOOKS.values(), ids=LOOKS)
def test_a_look_hides_patient_data(cli: Cli, clinic: Path, arguments: tuple[str, ...], options: tuple[str, ...]) -> None:
    done = cli(*arguments, *options, "-c", clinic)
    assert (done.code, done.err.replace("not running\n", "")) == (0, "")
    assert done.out
    assert CANARY not in done.out
    assert MRN not in done.out
    if options:
        assert done.lines


def test_patient_data_is_shown_to_those_who_ask_for_it(cli: Cli, clinic: Path) -> None:
    hidden = cli("messages", "list", "--json", "-c", clinic).lines
    shown = cli("messages", "list", "--json", "--phi", "-c", clinic).lines
    assert {line["patient"] for line in hidden} == {"****"}
    assert {line["patient"] for line in shown} == {MRN}
    id = next(line["id"] for line in shown if line["control_id"] == "M1")
    body = [cli("messages", "show", id, "--json", *phi, "-c", clinic) for phi in ((), ("--phi",))]
    assert CANARY not in body[0].out
    assert CANARY in body[1].json["body"]


def test_the_reason_of_a_failure_is_told_without_patient_data(cli: Cli, clinic: Path) -> None:
    (failed,) = cli("messages", "list", "--state", "quarantined", "--json", "-c", clinic).lines
    assert failed["control_id"] == "M3"
    for phi in ((), ("--phi",)):
        message = cli("messages", "show", failed["id"], "--json", *phi, "-c", clinic).json
        assert "SCH-11.4 (Appointment timing quantity) is no time" in message["path"][0]["reason"]
        assert CANARY not in json.dumps(message["path"]) + json.dumps(message["attempts_made"])


def test_lists_have_the_fields_of_the_interface(cli: Cli, clinic: Path) -> None:
    lines = cli("messages", "list", "--json", "-c", clinic).lines
    named = {"id", "seq", "at", "connection", "direction", "type", "control_id", "state", "patient", "appointment", "attempts"}
    assert all(named <= line.keys() for line in lines)
    entries = cli("trace", "F-77", "--json", "-c", clinic).lines
    assert all({"seq", "at", "what", "message", "connection", "type", "text"} <= entry.keys() for entry in entries)
    assert "booked" in [entry["what"] for entry in entries]
    assert "New booking" in [entry["text"] for entry in cli("trace", "F-77", "--phi", "--json", "-c", clinic).lines]
    status = cli("status", "--json", "-c", clinic).json
    assert {"ready", "connections", "store"} <= status.keys()
    assert {"name", "state", "waiting", "oldest_s", "last_message_at", "last_error"} <= status["connections"][0].keys()


REFUSED = {
    "a message there is not": (("messages", "show", "0" * 20), 1),
    "a trace of nothing": (("trace", "nothing-of-that-name"), 1),
    "a state there is not": (("messages", "list", "--state", "lost"), 2),
    "a day that is none": (("worklist", "--date", "someday"), 2),
    "a visit there is not": (("eligibility", "show", "F-99"), 1),
    "a replay that was not counted": (("replay", "--state", "quarantined"), 5),
    "a replay of another number": (("replay", "--state", "quarantined", "--yes", "7"), 5),
}


@pytest.mark.parametrize(("arguments", "code"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_there_or_not_allowed_ends_with(cli: Cli, clinic: Path, arguments: tuple[str, ...], code: int) -> None:
    done = cli(*arguments, "-c", clinic)
    assert (done.code, done.out) == (code, ""), done.err
    assert done.err.startswith("error[")
    assert "BUG-001" not in done.err


def test_a_dry_run_counts_and_the_count_lets_it_be_done(cli: Cli, own: Path) -> None:
    counted = cli("replay", "--state", "quarantined", "--dry-run", "--json", "-c", own)
    assert counted.json["count"] == 1
    done = cli("replay", "--state", "quarantined", "--yes", "1", "--json", "-c", own)
    assert (done.code, done.json["replayed"]) == (0, 1)


def test_a_running_hub_is_asked_over_its_socket(cli: Cli, own: Path) -> None:
    with HubProcess(own):
        status = cli("status", "--json", "-c", own).json
        assert status["ready"] is True
        listed = cli("messages", "list", "--json", "-c", own)
        assert len(listed.lines) >= 3
        assert CANARY not in listed.out
        second = run_hub("run", "-c", own)
        assert second.returncode == 5
        assert "STO-007" in second.stderr


def test_a_socket_that_a_dead_hub_left_does_not_keep_the_store_from_being_read(own: Path) -> None:
    process = HubProcess(own)
    process.start()
    process.kill()
    assert list(own.parent.glob("var/*.sock"))
    done = run_hub("messages", "list", "--json", "-c", own)
    assert (done.returncode, len(json_lines(done.stdout))) == (0, 3)


def test_a_wrong_store_is_named_without_a_traceback(cli: Cli, tmp_path: Path) -> None:
    file = clinic_folder(tmp_path, CLINIC)
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "hub.db").write_bytes(b"this is no database" * 100)
    done = cli("messages", "list", "-c", file)
    assert (done.code, done.out) == (4, "")
    assert done.err.startswith("error[STO-")
