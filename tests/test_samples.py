"""Public sample messages, read where they are: what `hub show` says of them, and how a running hub finds them again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from hub.cli import main
from tests.support import SAMPLES, HubProcess, clinic_folder, free_port, json_lines, run_hub

pytestmark = pytest.mark.usefixtures("samples")


def expected_hl7(samples: Path) -> dict[str, list[dict[str, Any]]]:
    """By file: the messages with their values as they stand in the file, first repetition."""
    lines = (samples / "hl7" / "expected.jsonl").read_text(encoding="utf-8").splitlines()
    return {entry["file"]: entry["messages"] for entry in map(json.loads, lines)}


def plain(raw: str | None) -> str | None:
    """A raw value as INTERFACES section 3 wants it: unescaped, empty as null."""
    if raw is None or raw == '""':
        return None
    for escape, character in (("\\F\\", "|"), ("\\S\\", "^"), ("\\T\\", "&"), ("\\R\\", "~"), ("\\E\\", "\\")):
        raw = raw.replace(escape, character)
    return raw.strip() or None


_SHOWN: dict[Path, dict[str, dict[str, Any]]] = {}


def shown(folder: Path) -> dict[str, dict[str, Any]]:
    """What `hub show --json` says of every sample of a folder, from one process, by file name."""
    if folder not in _SHOWN:
        files = [path for path in sorted(folder.iterdir()) if path.suffix in (".hl7", ".edi")]
        ended = run_hub("show", "--json", *files)
        assert ended.returncode == 1, ended.stderr  # some of them have errors
        assert ended.stderr == ""
        found = json_lines(ended.stdout)
        assert [line["file"] for line in found] == [str(path) for path in files]
        _SHOWN[folder] = {Path(line["file"]).name: line for line in found}
    return _SHOWN[folder]


# HL7 v2.


def test_every_message_says_type_control_id_version_and_segments(samples: Path) -> None:
    wrong = {}
    for file, messages in expected_hl7(samples).items():
        said = shown(samples / "hl7")[file]
        assert said["format"] == "hl7v2", file
        wanted = [
            (
                "^".join(m[part] for part in ("MSH-9.1", "MSH-9.2") if part in m) or None,
                plain(m.get("MSH-10")),
                plain(m.get("MSH-12.1")),
                m["segments"],
            )
            for m in messages
        ]
        found = [(m["type"], plain(m["control_id"]), m["version"], m["segments"]) for m in said["messages"]]
        if found != wanted:
            wrong[file] = (found, wanted)
    assert wrong == {}


PLACES = {
    "sender.application": "MSH-3.1",
    "sender.facility": "MSH-4.1",
    "receiver.application": "MSH-5.1",
    "receiver.facility": "MSH-6.1",
    "patient.id": "PID-3.1",
    "patient.family": "PID-5.1",
    "patient.given": "PID-5.2",
    "patient.birth_date": "PID-7",
    "patient.sex": "PID-8",
    "appointment.placer_id": "SCH-1.1",
    "appointment.filler_id": "SCH-2.1",
    "appointment.starts_at": "SCH-11.4",
}


@pytest.mark.parametrize("name", PLACES)
def test_every_message_says_who_it_is_from_and_about(samples: Path, name: str) -> None:
    group, field = name.split(".")
    wrong = {}
    for file, messages in expected_hl7(samples).items():
        found = [m[group][field] for m in shown(samples / "hl7")[file]["messages"]]
        wanted = [plain(m.get(PLACES[name])) for m in messages]
        if found != wanted:
            wrong[file] = (found, wanted)
    assert wrong == {}


def test_messages_have_the_promised_keys(samples: Path) -> None:
    """INTERFACES section 3."""
    keys = {
        *("type", "structure", "control_id", "version", "encoding", "sender", "receiver"),
        *("patient", "appointment", "segments", "findings"),
    }
    for said in shown(samples / "hl7").values():
        assert {"file", "format", "findings", "messages"} <= set(said)
        for message in said["messages"]:
            assert keys <= set(message)


def test_the_structure_comes_from_type_and_trigger(samples: Path) -> None:
    """hl7.md 3.1: derived from MSH-9.1 and 9.2 (table 0354), never from MSH-9.3."""
    wanted = {
        "07_ADT_A04_2.3_engine.hl7": "ADT_A01",
        "09_ADT_A08_2.3_engine.hl7": "ADT_A01",
        "10_ADT_A40_2.3_engine.hl7": "ADT_A39",
        "24_ADT_A31_2.4_hapi-hl7v2.hl7": "ADT_A05",
        "15_SIU_S12_2.3_engine.hl7": "SIU_S12",
        "18_SIU_S15_2.3_engine.hl7": "SIU_S12",
    }
    found = {file: shown(samples / "hl7")[file]["messages"][0]["structure"] for file in wanted}
    assert found == wanted


REFUSED = (
    "19_ADT_A01_2.2_hapi-hl7v2.hl7",
    "25_ORU_R01_2.4_python-hl7.hl7",
    "28_x_x_x_python-hl7.hl7",
    "29_x_x_x_python-hl7.hl7",
)
"""Those the index wants answered AE or AR."""


def errors(found: dict[str, Any]) -> list[str]:
    findings = [*found["findings"], *(f for message in found.get("messages", ()) for f in message["findings"])]
    return [finding["code"] for finding in findings if finding["level"] == "error"]


def test_exactly_the_messages_that_would_be_refused_have_an_error(samples: Path) -> None:
    assert sorted(file for file, said in shown(samples / "hl7").items() if errors(said)) == sorted(REFUSED)


def test_findings_of_a_message_stand_in_that_message(samples: Path) -> None:
    said = shown(samples / "hl7")[REFUSED[0]]
    assert said["findings"] == []
    assert [f["level"] for f in said["messages"][0]["findings"]] == ["error"]
    assert {"level", "code", "segment", "id", "element", "text"} <= set(said["messages"][0]["findings"][0])


def test_show_ends_with_0_when_nothing_is_wrong_and_1_when_something_is(samples: Path) -> None:
    good = [samples / "hl7" / name for name in expected_hl7(samples) if name not in REFUSED]
    assert run_hub("show", "--json", *good).returncode == 0
    assert run_hub("show", "--json", good[0], samples / "hl7" / REFUSED[0]).returncode == 1


def test_every_sample_is_also_shown_in_words_without_a_traceback(samples: Path) -> None:
    for folder in ("hl7", "x12"):
        files = [path for path in sorted((samples / folder).iterdir()) if path.suffix in (".hl7", ".edi")]
        ended = run_hub("show", *files)
        assert ended.returncode == 1
        assert "Traceback" not in ended.stderr
        assert "BUG-001" not in ended.stderr
        for path in files:
            assert path.name in ended.stdout


# X12.


def transaction(samples: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = shown(samples / "x12")[name]["interchanges"][0]["groups"][0]["transactions"][0]
    return found


def test_every_interchange_has_the_promised_keys(samples: Path) -> None:
    """INTERFACES section 3."""
    coverage_keys = {
        *("status", "trace_numbers", "payer", "provider", "subscriber", "patient", "plan", "benefits", "rejections"),
    }
    benefit_keys = {
        *("segment", "code", "kind", "level", "service_types", "insurance_type", "plan", "period", "amount", "percent"),
        *("quantity", "authorization", "in_network", "dates", "places", "messages", "entity"),
    }
    for name, said in shown(samples / "x12").items():
        assert said["format"] == "x12", name
        assert all({"level", "code", "segment", "id", "element", "text"} <= set(f) for f in said["findings"])
        for interchange in said["interchanges"]:
            assert {"control_number", "sender", "receiver", "version", "groups"} <= set(interchange)
            for group in interchange["groups"]:
                assert {"control_number", "code", "version", "transactions"} <= set(group)
                for one in group["transactions"]:
                    assert {"set", "control_number"} <= set(one)
                    for coverage in one.get("coverages", ()):
                        assert coverage_keys <= set(coverage)
                        assert {"family", "given", "member_id", "birth_date", "group"} <= set(coverage["subscriber"])
                        assert {"relationship", "family", "given", "birth_date"} <= set(coverage["patient"])
                        assert all(benefit_keys <= set(benefit) for benefit in coverage["benefits"])
                    for inquiry in one.get("inquiries", ()):
                        keys = {"payer", "provider", "subscriber", "patient", "service_types", "dates"}
                        assert keys <= set(inquiry)


INQUIRIES = {
    "270-subscriber-generic.edi": ("SMITH", "ROBERT", "11122333301", "19430519"),
    "270-dependent-generic.edi": ("SMITH", "MARY", "11122333301", "19781014"),
    "270-realtime-single.edi": ("DOE", "PATIENT", "000123450", None),
    "270-custom-delimiters.edi": ("DOE", "CUSTOM", "000123453", None),
}
"""Family and given name of the patient, member id, birth date where the index gives it."""


@pytest.mark.parametrize("name", INQUIRIES)
def test_an_inquiry_says_who_is_asked_about(samples: Path, name: str) -> None:
    family, given, member, born = INQUIRIES[name]
    assert errors(shown(samples / "x12")[name]) == []
    (inquiry,) = transaction(samples, name)["inquiries"]
    assert (inquiry["patient"]["family"], inquiry["patient"]["given"]) == (family, given)
    assert inquiry["subscriber"]["member_id"] == member
    assert inquiry["service_types"] == ["30"]
    if born is not None:
        assert inquiry["patient"]["birth_date"] == born


def test_an_old_version_is_refused_by_name(samples: Path) -> None:
    said = shown(samples / "x12")["270-4010-legacy.edi"]
    assert "X12-VERSION" in errors(said)
    assert any("004010" in finding["text"] for finding in said["findings"])
    assert "inquiries" not in transaction(samples, "270-4010-legacy.edi")


COVERAGES = {
    "271-subscriber-active-copay.edi": ("SMITH", "JOHN", "123456789", "self", "GOLD 123 PLAN"),
    "271-dependent-active-copay.edi": ("SMITH", "MARY", None, "child", "GOLD 123 PLAN"),
    "271-rich-open-access-elect-choice.edi": ("SMITH", "JOHN", "1234567899", "self", "Open Access Elect Choice"),
    "271-active-minimal-gs01-hs.edi": ("DOE", "PATIENT", "000123450", "self", None),
    "271-ls-le-wrapper-gs01-hs.edi": ("DOE", "WRAPPED", "000123454", "self", None),
}


@pytest.mark.parametrize("name", COVERAGES)
def test_an_answer_says_that_the_plan_is_active_and_whose_it_is(samples: Path, name: str) -> None:
    family, given, member, relationship, plan = COVERAGES[name]
    (coverage,) = transaction(samples, name)["coverages"]
    assert coverage["status"] == "active"
    assert (coverage["patient"]["family"], coverage["patient"]["given"]) == (family, given)
    assert coverage["patient"]["relationship"] == relationship
    if member is not None:
        assert coverage["subscriber"]["member_id"] == member
    if plan is not None:
        assert coverage["plan"] == plan


def benefits(samples: Path, name: str, **wanted: Any) -> list[dict[str, Any]]:
    (coverage,) = transaction(samples, name)["coverages"]
    return [b for b in coverage["benefits"] if all(b[key] == value for key, value in wanted.items())]


def test_the_subscriber_under_whom_a_dependent_is_covered_is_named(samples: Path) -> None:
    (coverage,) = transaction(samples, "271-dependent-active-copay.edi")["coverages"]
    assert (coverage["subscriber"]["family"], coverage["subscriber"]["given"]) == ("SMITH", "JOHN")


def test_co_payments_in_and_out_of_network_are_told_apart(samples: Path) -> None:
    rows = benefits(samples, "271-subscriber-active-copay.edi", code="B")
    assert {(row["in_network"], Decimal(row["amount"]), row["period"]) for row in rows} == {
        (True, Decimal(10), "27"),
        (False, Decimal(30), "27"),
    }
    named = [b["entity"] for b in benefits(samples, "271-subscriber-active-copay.edi") if b["entity"]]
    assert [(entity["code"], entity["name"]) for entity in named] == [("P3", "JONES, MARCUS")]


def test_a_rich_answer_is_read_whole(samples: Path) -> None:
    name = "271-rich-open-access-elect-choice.edi"
    assert len(benefits(samples, name)) == 19
    assert [b["amount"] for b in benefits(samples, name, code="B", service_types=["33"], in_network=True)] == ["20"]
    assert [b["percent"] for b in benefits(samples, name, code="A", service_types=["98"])] == [".1"]
    assert [(b["amount"], b["period"]) for b in benefits(samples, name, code="G")] == [("2100", None), ("2100", "29")]
    assert benefits(samples, name, code="I", in_network=False)
    assert [b for b in benefits(samples, name, code="I") if "UC" in b["service_types"]]


def test_a_rejection_of_the_provider_stands_above_the_subscriber(samples: Path) -> None:
    name = "271-aaa50-se02-mismatch.edi"
    assert "X12-SE02" in errors(shown(samples / "x12")[name])
    (rejection,) = transaction(samples, name)["rejections"]
    assert (rejection["loop"], rejection["code"], rejection["follow_up"], rejection["who"]) == ("2100B", "50", "N", "it")
    assert "Provider Ineligible" in rejection["text"]
    assert rejection["action"]


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("271-active-minimal-gs01-hs.edi", {"X12-GS01"}),
        ("271-ls-le-wrapper-gs01-hs.edi", {"X12-GS01", "X12-2120"}),
        ("271-aaa50-se02-mismatch.edi", {"X12-SE02"}),
    ],
)
def test_what_is_wrong_with_the_form_is_said_and_the_rest_is_read(samples: Path, name: str, codes: set[str]) -> None:
    assert set(errors(shown(samples / "x12")[name])) == codes


def test_acknowledgements_say_what_became_of_each_transaction(samples: Path) -> None:
    partial = transaction(samples, "999-partial-three-sets.edi")["acknowledgements"]
    assert [a["code"] for a in partial] == ["A", "R", "R"]
    assert [len(a["errors"]) for a in partial] == [0, 1, 1]
    assert partial[1]["errors"][0]["segment"] == "CLM"
    assert partial[2]["errors"][0]["segment"] == "REF"
    assert [a["code"] for a in transaction(samples, "999-accepted-x231.edi")["acknowledgements"]] == ["A"]


def test_a_ta1_says_which_interchange_it_is_about(samples: Path) -> None:
    (interchange,) = shown(samples / "x12")["ta1-accepted-00501.edi"]["interchanges"]
    (acknowledged,) = interchange["interchange_acknowledgements"]
    assert (acknowledged["control_number"], acknowledged["code"], acknowledged["note"]) == ("000000050", "A", "000")


X12_WITH_ERRORS = (
    *("270-4010-legacy.edi", "271-aaa50-se02-mismatch.edi", "271-active-minimal-gs01-hs.edi"),
    *("271-ls-le-wrapper-gs01-hs.edi", "ta1-accepted-00501.edi"),
)
"""Those of which the index names something that is wrong."""


def test_exactly_the_interchanges_of_which_the_index_says_so_have_errors(samples: Path) -> None:
    assert sorted(name for name, said in shown(samples / "x12").items() if errors(said)) == sorted(X12_WITH_ERRORS)
    good = [samples / "x12" / name for name in shown(samples / "x12") if name not in X12_WITH_ERRORS]
    assert run_hub("show", "--json", *good).returncode == 0


# Through a running hub.

CLINIC = """
connections:
  ehr: {kind: mllp_listener, port: "@PORT@"}
flows:
  registrations:
    from: ehr
    when: {type: ADT^*}
    steps: [{map: adt_to_patient}, {save: patient}]
  bookings:
    from: ehr
    when: {type: [SIU^S12, SIU^S13, SIU^S14, SIU^S15, SIU^S17, SIU^S26]}
    steps: [{map: siu_to_appointment}, {save: appointment}]
"""


class Received:
    """A hub in a process of its own that has received the ADT and SIU samples, and what it answered."""

    def __init__(self, file: Path, answers: list[dict[str, Any]], code: int, files: list[str]) -> None:
        self.file, self.answers, self.code, self.files = file, answers, code, files

    def found(self, capsys: pytest.CaptureFixture[str], *filters: str) -> list[dict[str, Any]]:
        """`hub messages list ... --json`, asked of the running hub over its control socket."""
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["messages", "list", *filters, "--json", "-c", str(self.file)])
        assert ended.value.code == 0
        return json_lines(capsys.readouterr().out)


@pytest.fixture(scope="module")
def received(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Received]:
    port = free_port()
    file = clinic_folder(tmp_path_factory.mktemp("samples"), CLINIC.replace("@PORT@", str(port)))
    if not SAMPLES.is_dir():
        yield Received(file, [], 0, [])  # the fixture `samples` says that they are not here
        return
    files = [path for path in sorted((SAMPLES / "hl7").glob("*.hl7")) if path.name[3:6] in ("ADT", "SIU")]
    with HubProcess(file):
        ended = run_hub("send", *files, "--to", f"127.0.0.1:{port}", "--json")
        yield Received(file, json_lines(ended.stdout), ended.returncode, [path.name for path in files])


def test_all_but_the_one_without_a_control_id_are_accepted(samples: Path, received: Received) -> None:
    """One sender wants the acknowledgement of the enhanced mode (MSH-15)."""
    codes = [(Path(answer["file"]).name, answer["code"]) for answer in received.answers]
    expected = expected_hl7(samples)
    assert [name for name, _ in codes] == [file for file in received.files for _ in expected[file]]
    assert [name for name, code in codes if code not in ("AA", "CA")] == [REFUSED[0]]
    assert [name for name, code in codes if code == "CA"] == ["05_ADT_A01_2.5.1_hl7v2.hl7"]
    assert dict(codes)[REFUSED[0]] in ("AE", "AR")
    assert received.code == 3


def every(samples: Path, received: Received, *names: str) -> set[str]:
    """The values of some fields in all messages that were sent."""
    messages = [message for file in received.files for message in expected_hl7(samples)[file]]
    values = (plain(message.get(name)) for message in messages for name in names)
    return {value for value in values if value}


FILTERS: dict[str, tuple[str, ...]] = {
    "--patient": ("PID-3.1", "MRG-1.1"),
    "--appointment": ("SCH-1.1", "SCH-2.1"),
    "--control-id": ("MSH-10",),
}


@pytest.mark.parametrize("option", FILTERS)
def test_every_message_is_found_again_by_what_the_index_gives(
    samples: Path, received: Received, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    expected = expected_hl7(samples)
    values = every(samples, received, *FILTERS[option])
    assert values
    for value in values:
        wanted = {
            plain(message.get("MSH-10"))
            for file in received.files
            for message in expected[file]
            if value in {plain(message.get(name)) for name in FILTERS[option]}
        }
        found = received.found(capsys, option, value)
        assert {plain(line["control_id"]) for line in found} == wanted, (option, value)


def test_the_refused_one_is_found_again_too(received: Received, capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = received.found(capsys, "--patient", "00001122")
    assert (line["state"], line["control_id"], line["type"], line["direction"]) == ("refused", None, "ADT^A01", "in")
    assert line["id"] in {refused["id"] for refused in received.found(capsys, "--state", "refused")}


def test_what_is_found_is_masked_unless_it_is_asked_for(received: Received, capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = received.found(capsys, "--patient", "00001122")
    assert line["patient"] == "****"
    (line,) = received.found(capsys, "--patient", "00001122", "--phi")
    assert line["patient"] == "00001122"


def test_messages_of_a_batch_are_found_one_by_one(received: Received, capsys: pytest.CaptureFixture[str]) -> None:
    types: Callable[[list[dict[str, Any]]], list[str]] = lambda lines: sorted({line["type"] for line in lines})  # noqa: E731
    assert types(received.found(capsys, "--appointment", "2196178")) == ["SIU^S12", "SIU^S14", "SIU^S15"]


def test_a_number_that_is_only_part_of_another_finds_nothing(received: Received, capsys: pytest.CaptureFixture[str]) -> None:
    assert received.found(capsys, "--patient", "0000112") == []
    assert received.found(capsys, "--appointment", "219617") == []
