"""`hub try`: what each step would make of one message; nothing is stored and nothing is sent."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from connectors.simulators.ehr import EhrServer
from tests.hub.cli.conftest import Cli
from tests.support import adt, clinic_folder, free_port, in1, run_hub, siu

CANARY = "ZZCANARYPATIENT"
PAYERS = "payer,name,clearinghouse_id\n60054,Aetna,60054\n"
FLOWS = """
connections:
  ehr: {kind: mllp_listener, port: '0'}
  pms: {kind: mllp_sender, host: 127.0.0.1, port: '@PORT@'}
flows:
  registrations:
    from: ehr
    steps: [{send: pms}, {map: adt_to_patient}, {save: patient}]
  bookings:
    from: ehr
    steps: [{map: siu_to_appointment}, {save: appointment}, {plan_checks: {on_booking: true}}]
  eligibility:
    from: {due: eligibility}
    steps: [{map: visit_to_270}, {ask: pms}, {map: 271_to_coverage}, {save: coverage_check}]
"""
VISIT = """
appointment: {id: F-77, starts_at: "2099-11-24T14:30:00-06:00"}
patient: {id: p-1, name: {family: Doe, given: Jane, birth_date: 1980-02-29, sex: F}}
coverage: {payer: 60054, member_id: W100}
payer: {payer: 60054, name: Aetna, clearinghouse_id: 60054}
organisation: {name: Test Clinic, npi: "1234567893"}
service_date: 2099-11-24
"""


@pytest.fixture
def clinic(tmp_path: Path) -> Path:
    return clinic_folder(tmp_path / "clinic", FLOWS.replace("@PORT@", str(free_port())), payers=PAYERS)


def steps_of(result: dict[str, Any]) -> list[str]:
    return [step["step"] for step in result["steps"]]


async def test_nothing_is_stored_and_nothing_is_sent(tmp_path: Path) -> None:
    async with EhrServer() as pms:
        file = clinic_folder(tmp_path / "clinic", FLOWS.replace("@PORT@", str(pms.port)), payers=PAYERS)
        before = {path: path.stat().st_mtime_ns for path in file.parent.rglob("*")}
        body = adt("M1", more=(in1(),))
        (tmp_path / "a.hl7").write_bytes(body)
        done = await asyncio.to_thread(run_hub, "try", "registrations", tmp_path / "a.hl7", "-c", file, "--json")
        assert pms.received == []
        assert not pms.seen
    result = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert {path: path.stat().st_mtime_ns for path in file.parent.rglob("*")} == before
    assert [(sent["to"], sent["ask"]) for sent in result["sent"]] == [("pms", False)]
    assert result["sent"][0]["body"] == body.decode()


def test_each_step_shows_what_it_made(cli: Cli, clinic: Path, tmp_path: Path) -> None:
    (tmp_path / "a.hl7").write_bytes(adt("M1", more=(in1(),)))
    done = cli("try", "registrations", tmp_path / "a.hl7", "-c", clinic, "--json")
    assert done.code == 0
    assert steps_of(done.json) == ["send:pms", "map:adt_to_patient", "save:patient"]
    mapped = done.json["steps"][1]["messages"][0]
    assert mapped["format"] == "patient"
    assert mapped["body"]["name"] == {"family": "Doe", "given": "Jane", "birth_date": "1980-02-29", "sex": "F"}
    record = next(saved["record"] for saved in done.json["saved"] if saved["kind"] == "patient")
    assert record["coverages"][0]["member_id"] == "W100"
    assert done.json["error"] is None


def test_people_are_told_in_words_what_would_happen(cli: Cli, clinic: Path, tmp_path: Path) -> None:
    (tmp_path / "a.hl7").write_bytes(siu("M1", "F-77", "209911301430"))
    done = cli("try", "bookings", tmp_path / "a.hl7", "-c", clinic)
    assert (done.code, done.err) == (0, "")
    for words in (
        "map:siu_to_appointment",
        "starts_at: 2099-11-30T14:30:00-06:00",
        "would save appointment F-77",
        "would plan",
    ):
        assert words in done.out


def test_a_flow_from_due_work_begins_with_the_fields_of_its_record(cli: Cli, clinic: Path, tmp_path: Path) -> None:
    (tmp_path / "visit.yaml").write_text(VISIT, encoding="utf-8")
    done = cli("try", "eligibility", tmp_path / "visit.yaml", "-c", clinic, "--json")
    assert done.code == 0
    assert steps_of(done.json) == ["map:visit_to_270", "ask:pms"]
    (question,) = done.json["sent"]
    assert (question["to"], question["ask"]) == ("pms", True)
    assert "NM1*IL*1*DOE*JANE****MI*W100~" in question["body"]


def test_the_answer_can_be_tried_from_the_step_behind_the_question(cli: Cli, clinic: Path, tmp_path: Path) -> None:
    isa = "ISA*00*          *00*          *ZZ*PAYER          *ZZ*CLINIC         *261123*1501*^*00501*000000001*0*T*:~"
    (tmp_path / "a.edi").write_text(f"{isa}TA1*000000001*261123*1500*R*006~IEA*0*000000001~", encoding="utf-8")
    behind = ("--from", "map:271_to_coverage", "--header", "appointment=F-77")
    done = cli("try", "eligibility", tmp_path / "a.edi", "-c", clinic, "--json", *behind)
    assert steps_of(done.json)[0] == "map:271_to_coverage"
    answer = done.json["steps"][0]["messages"][0]["body"]
    assert (answer["id"], answer["status"]) == ("F-77", "unknown")
    assert "TA1 006" in answer["failure"]


def test_a_file_with_several_messages_is_tried_message_by_message(cli: Cli, clinic: Path, tmp_path: Path) -> None:
    (tmp_path / "two.hl7").write_bytes(adt("M1") + adt("M2", "00043", given="JOHN"))
    done = cli("try", "registrations", tmp_path / "two.hl7", "-c", clinic, "--json")
    assert [line["steps"][1]["messages"][0]["body"]["name"]["given"] for line in done.lines] == ["Jane", "John"]


def test_a_message_that_is_rejected_ends_with_1_and_the_reason_without_its_data(cli: Cli, clinic: Path, tmp_path: Path) -> None:
    (tmp_path / "a.hl7").write_bytes(siu("M1", "F-77", f"{CANARY}", family=CANARY))
    done = cli("try", "bookings", tmp_path / "a.hl7", "-c", clinic, "--json")
    assert done.code == 1
    assert done.json["error"]["step"] == "map:siu_to_appointment"
    assert done.json["error"]["code"] == "MAP-002"
    assert CANARY not in json.dumps(done.json["error"])
    assert CANARY not in done.err
    text = cli("try", "bookings", tmp_path / "a.hl7", "-c", clinic)
    assert "stopped at map:siu_to_appointment" in text.out


def test_a_message_that_is_changed_and_forwarded_is_shown_as_it_would_leave(cli: Cli, tmp_path: Path) -> None:
    flows = FLOWS.replace(
        "steps: [{send: pms},", "steps: [{map: for_the_pms}, {send: pms}]\n  others:\n    from: ehr\n    steps: ["
    )
    clinic = clinic_folder(tmp_path / "clinic", f"mappings: own\n{flows.replace('@PORT@', '2575')}", payers=PAYERS)
    (clinic.parent / "own").mkdir()
    rules = "from: hl7v2\nto: hl7v2\nfields: {MSH-5: \"'PMS'\", PID-19: \"''\"}\n"
    (clinic.parent / "own" / "for_the_pms.yaml").write_text(rules, encoding="utf-8")
    body = adt("M1", more=(in1(),))
    (tmp_path / "a.hl7").write_bytes(body)
    sent = cli("try", "registrations", tmp_path / "a.hl7", "-c", clinic, "--json").json["sent"]
    assert [one["body"].split("|")[4] for one in sent] == ["PMS"]
    assert sent[0]["body"].partition("PID|")[2] == body.decode().partition("PID|")[2]
    shown = cli("try", "registrations", tmp_path / "a.hl7", "-c", clinic)
    assert "would send to pms\n    MSH|^~\\&|" in shown.out, "a line for each segment, none for each repetition"


MISTAKES = {
    "a flow there is not": ("try nothing a.hl7", "bookings"),
    "a step there is not": ("try bookings a.hl7 --from nothing", "map:siu_to_appointment"),
    "a record that is none": ("try eligibility wrong.yaml", "visit"),
    "a file that is no YAML": ("try eligibility broken.yaml", "broken.yaml"),
    "a message where a record belongs": ("try eligibility a.hl7", ""),
    "a record where a message belongs": ("try bookings visit.yaml", ""),
    "an empty file": ("try bookings empty.hl7", ""),
    "bytes": ("try bookings bytes.bin", ""),
}


@pytest.mark.parametrize(("arguments", "word"), MISTAKES.values(), ids=MISTAKES)
def test_what_cannot_be_tried_is_told_and_never_a_failure_of_the_program(
    cli: Cli, clinic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: str, word: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.hl7").write_bytes(siu("M1", "F-77", "209911301430", family=CANARY))
    Path("visit.yaml").write_text(VISIT, encoding="utf-8")
    Path("wrong.yaml").write_text(VISIT.replace("2099-11-24\n", f"{CANARY}\n"), encoding="utf-8")
    Path("broken.yaml").write_text(f"a: [{CANARY}\n", encoding="utf-8")
    Path("empty.hl7").write_bytes(b"")
    Path("bytes.bin").write_bytes(bytes(range(256)))
    done = cli(*arguments.split(), "-c", clinic)
    assert done.code != 0
    assert "BUG-001" not in done.err + done.out
    assert word in done.err + done.out
    assert CANARY not in done.err
    assert CANARY not in "".join(line for line in done.out.splitlines() if line.startswith("stopped"))


def test_a_step_that_breaks_is_a_failure_with_a_code_and_without_data(cli: Cli, tmp_path: Path, plant_plugin: Any) -> None:
    source = (
        "from hub import Step, StepConfig, hookimpl\n"
        "class Breaks(Step[StepConfig]):\n    kind = 'breaks'\n"
        "    async def run(self, message, context):\n        raise KeyError(message.body.decode())\n"
        "@hookimpl\ndef register_steps():\n    return [Breaks]\n"
    )
    plant_plugin({"clinic_hub": "acme = acme_planted"}, acme_planted=source)
    file = clinic_folder(
        tmp_path / "c", "connections: {e: {kind: mllp_listener, port: '0'}}\nflows: {f: {from: e, steps: [breaks]}}\n"
    )
    (tmp_path / "a.hl7").write_bytes(adt("M1", family=CANARY))
    done = cli("try", "f", tmp_path / "a.hl7", "-c", file)
    assert done.code == 1
    assert "BUG-001" in done.out
    assert CANARY not in done.out + done.err
