"""Every mistake of a clinic file is told at once, each with its place, what was expected and what to do."""

from pathlib import Path

import pytest

from hub.clinic import load_clinic
from hub.errors import ConfigError
from tests.hub.settings.planted import found, look, look_planted, only, plant
from tests.support import clinic_folder

WRONG = Path(__file__).with_name("everything_wrong.yaml.txt")


def test_forty_mistakes_are_found_and_nothing_else(tmp_path: Path) -> None:
    payers = plant(tmp_path / "payers.csv", "«CFG-041»payer,name,clearing_house\n")
    examined, expected = look_planted(tmp_path, WRONG.read_text(encoding="utf-8"), head="")
    assert len(expected) >= 40
    assert found(examined.problems) == sorted(expected + payers)


def test_loading_to_run_raises_with_all_of_them(tmp_path: Path) -> None:
    expected = plant(tmp_path / "clinic.yaml", WRONG.read_text(encoding="utf-8"))
    plant(tmp_path / "payers.csv", "payer,name\n")
    with pytest.raises(ConfigError) as caught:
        load_clinic(tmp_path / "clinic.yaml")
    assert found(caught.value.problems) == expected
    assert "S3CRET-CANARY" not in str(caught.value)


LISTENER = "connections: {ehr: {kind: mllp_listener, port: '1'}}\n"
HTTP = "connections: {payer_x: {kind: http, url: http://127.0.0.1}}\n"

SPELLING = {
    "a part of the file": ("conections: {}\n", "connections"),
    "a connector": ("connections:\n  a: {kind: mllp_lisener, port: '1'}\n", "mllp_listener"),
    "a setting": ("connections:\n  a: {kind: mllp_listener, port: '1', allow_form: []}\n", "allow_from"),
    "a setting inside a setting": (
        "connections:\n  a: {kind: mllp_sender, host: localhost, port: '1', retry: {attemps: '3'}}\n",
        "attempts",
    ),
    "a vendor": ("connections:\n  a: {vendor: availty, kind: http, url: http://127.0.0.1}\n", "availity"),
    "a site": ("connections:\n  a: {kind: mllp_listener, port: '1', site: mian}\n", "main"),
    "a connection in from": (LISTENER + "flows: {f: {from: ehrr, steps: [check_failed]}}\n", "ehr"),
    "due work": ("flows: {f: {from: {due: eligibilty}, steps: [check_failed]}}\n", "eligibility"),
    "a flow": ("flows: {bookings: {from: {failed: boookings}, steps: [check_failed]}}\n", "bookings"),
    "a field of a flow": ("flows: {f: {from: {due: eligibility}, stepps: [], steps: [check_failed]}}\n", "steps"),
    "a step": ("flows: {f: {from: {due: eligibility}, steps: [chek_failed]}}\n", "check_failed"),
    "a setting of a step": ("flows: {f: {from: {due: eligibility}, steps: [{worklist: {que: it}}]}}\n", "queue"),
    "a mapping": ("flows: {f: {from: {due: eligibility}, steps: [{map: visit_to_207}]}}\n", "visit_to_270"),
    "a kind of record": ("flows: {f: {from: {due: eligibility}, steps: [{save: patiant}]}}\n", "patient"),
    "a connection in ask": (
        HTTP + "flows: {f: {from: {due: eligibility}, steps: [{ask: payerx}]}}\n",
        "payer_x",
    ),
    "a header in when": ("flows: {f: {from: {due: eligibility}, when: {typ: x}, steps: [check_failed]}}\n", "type"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "meant"), SPELLING.values(), ids=SPELLING)
def test_a_misspelt_name_brings_the_right_one(tmp_path: Path, text: str, meant: str) -> None:
    assert only(look(tmp_path, text)).help == f"did you mean {meant!r}?"


def test_an_unknown_setting_says_which_there_are(tmp_path: Path) -> None:
    problem = only(look(tmp_path, "connections:\n  a: {kind: mllp_listener, port: '1', colour: red}\n"))
    assert {"port", "allow_from", "site", "vendor", "tls"} <= set(problem.expected.split(", "))
    assert "allow_from" in problem.help or "port" in problem.help


def test_a_step_that_sends_to_a_listener_is_told_so_and_not_that_there_is_nothing(tmp_path: Path) -> None:
    problem = only(look(tmp_path, LISTENER + "flows: {f: {from: ehr, steps: [{ask: ehr}]}}\n"))
    assert "only receives" in problem.text
    assert problem.help != "there are none"


PROFILE_KIND = "connections: {clearinghouse: {vendor: optum, auth: {client_id: us}}, ehr: {vendor: listens, port: '1'}}\n"
LISTENS = "vendor: listens\nproven: none\nkinds: {mllp_listener: {max_connections: '3'}}\n"


@pytest.mark.parametrize(
    ("flow", "code"),
    [
        ("{from: clearinghouse, steps: [check_failed]}", "CFG-025"),
        ("{from: {due: eligibility}, steps: [{ask: ehr}]}", "CFG-030"),
    ],
    ids=["a flow from one that only sends", "a question to one that only receives"],
)
def test_what_a_connection_can_do_is_known_when_its_kind_comes_from_the_profile(tmp_path: Path, flow: str, code: str) -> None:
    examined = look(tmp_path, f"{PROFILE_KIND}flows: {{f: {flow}}}\n", vendors__listens_yaml=LISTENS)
    assert only(examined).code == code


# What is missing altogether.

MISSING = {
    "an empty file": ("", "CFG-008"),
    "a file with comments only": ("# nothing yet\n", "CFG-008"),
    "a text instead of a file": ("hello\n", "CFG-008"),
    "no organisation": ("sites: {main: {timezone: UTC}}\n", "CFG-010"),
    "no sites": ('organisation: {name: A, npi: "1234567893"}\n', "CFG-010"),
    "empty sites": ('organisation: {name: A, npi: "1234567893"}\nsites: {}\n', "CFG-010"),
}


@pytest.mark.parametrize(("text", "code"), MISSING.values(), ids=MISSING)
def test_what_every_clinic_file_needs_is_asked_for(tmp_path: Path, text: str, code: str) -> None:
    assert only(look(tmp_path, text, head="")).code == code


def test_a_clinic_file_that_is_not_there_is_one_problem_and_not_a_flood(tmp_path: Path) -> None:
    from hub.clinic import examine

    problem = only(examine(tmp_path / "clinic.yaml"))
    assert (problem.code, problem.file) == ("CFG-001", str(tmp_path / "clinic.yaml"))


@pytest.mark.parametrize("name", ["mappings", "vendors"])
def test_a_folder_that_is_named_but_not_there_is_a_problem(tmp_path: Path, name: str) -> None:
    problem = only(look(tmp_path, f"{name}: no_such_folder\n"))
    assert problem.line == 4


def test_a_plugin_to_disable_that_does_not_exist_is_a_problem(tmp_path: Path) -> None:
    problem = only(look(tmp_path, "disable: [eligibilty]\n"))
    assert "eligibility" in problem.help


# What counts when nothing is wrong.


def test_a_file_without_mistakes_is_typed(tmp_path: Path) -> None:
    file = clinic_folder(
        tmp_path,
        "connections:\n  ehr: {kind: mllp_listener, port: '0', frame_timeout: 90s, max_frame: 2MiB, authority: RIVER}\n"
        "flows:\n  all: {from: ehr, when: {type: ADT^*}, steps: [{map: adt_to_patient}, {save: patient}]}\n",
        payers="payer,name,clearinghouse_id,also\n60054,Aetna,60054,AETNA US\n",
    )
    settings = load_clinic(file).settings
    ehr = settings.connections["ehr"].config.model_dump()
    assert (ehr["port"], ehr["frame_timeout"], ehr["max_frame"], ehr["authority"]) == (0, 90.0, 2097152, "RIVER")
    assert [step.name for step in settings.flows["all"].steps] == ["map:adt_to_patient", "save:patient"]
    assert settings.flows["all"].source == "connection ehr"
    assert [(p.payer, p.also, p.service_types) for p in settings.payers] == [("60054", ("AETNA", "US"), ("30",))]
    assert (settings.organisation.npi, settings.organisation.x12_sender) == ("1234567893", "1234567893")
    assert str(settings.sites["main"].zone) == "America/Chicago"


def test_numbers_that_are_names_stay_as_they_are_written(tmp_path: Path) -> None:
    text = "connections: {007: {kind: mllp_listener, port: '1', authority: 00042}}\n"
    text += "flows: {NO: {from: 007, steps: [check_failed]}}\n"
    examined = look(tmp_path, text)
    assert examined.clinic is not None
    assert examined.clinic.settings.connections["007"].config.model_dump()["authority"] == "00042"
    assert examined.clinic.settings.flows["NO"].source == "connection 007"


def test_steps_of_one_name_get_a_number_so_that_each_can_be_named(tmp_path: Path) -> None:
    steps = "[{map: visit_to_270}, {map: visit_to_270}, check_failed, check_failed]"
    text = f"flows: {{f: {{from: {{due: eligibility}}, steps: {steps}}}}}\n"
    examined = look(tmp_path, text)
    assert examined.clinic is not None
    names = [step.name for step in examined.clinic.settings.flows["f"].steps]
    assert names == ["map:visit_to_270", "map:visit_to_270#2", "check_failed", "check_failed#2"]


@pytest.mark.parametrize("npi", ["1234567893", "1245319599"])
def test_a_good_npi_passes(tmp_path: Path, npi: str) -> None:
    examined = look(tmp_path, "", head=f"organisation: {{name: A, npi: '{npi}'}}\nsites: {{main: {{timezone: UTC}}}}\n")
    assert not examined.errors


@pytest.mark.parametrize(
    "npi", ["1234567890", "123456789", "12345678930", "123456789a", "", "１２３４５６７８９３", "2134567893"]
)
def test_a_bad_npi_is_told(tmp_path: Path, npi: str) -> None:
    examined = look(tmp_path, "", head=f"organisation: {{name: A, npi: '{npi}'}}\nsites: {{main: {{timezone: UTC}}}}\n")
    assert (only(examined).code, only(examined).line) == ("CFG-019", 1)
    assert "check digit" in only(examined).text


@pytest.mark.parametrize("zone", ["America/Chicagoo", "CET+2", "../../etc/passwd", "", "/UTC", "America", "US/Central\x00"])
def test_a_time_zone_that_does_not_exist_is_told(tmp_path: Path, zone: str) -> None:
    head = f'organisation: {{name: A, npi: "1234567893"}}\nsites: {{main: {{timezone: "{zone}"}}}}\n'.replace("\x00", "\\0")
    examined = look(tmp_path, "", head=head)
    assert (only(examined).code, only(examined).line) == ("CFG-019", 2)


def test_a_setting_without_a_value_says_nothing_and_leaves_the_default(tmp_path: Path) -> None:
    examined = look(tmp_path, "connections:\n  ehr: {kind: mllp_listener, port: '1', host: , allow_from: }\n")
    assert examined.clinic is not None
    assert examined.clinic.settings.connections["ehr"].config.model_dump()["host"] == "127.0.0.1"


def test_the_site_of_a_connection_must_be_said_when_there_are_several(tmp_path: Path) -> None:
    """The default is documented as "the only site": with two, times of an EHR in the other zone would be wrong by an hour."""
    sites = "sites: {east: {timezone: America/New_York}, west: {timezone: America/Denver}}"
    head = f'organisation: {{name: A, npi: "1234567893"}}\n{sites}\n'
    examined = look(tmp_path, "connections:\n  ehr: {kind: mllp_listener, port: '1'}\n", head=head)
    assert [p.line for p in examined.problems] == [4]
