"""Mappings that a vendor's profile lays over the built-in ones: for its connections, and for no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.simulators.ehr import EhrClient, header, message, segment
from hub import Appointment
from hub.bus.trial import message_for, try_flow
from hub.cli import main
from hub.clinic import load_clinic
from hub.mapping.cases import run_cases
from tests.hub.settings.planted import look, only
from tests.plugins.clinic import Clinic, at, control_id, mrn, pid, quick_hub
from tests.support import clinic_folder, port_of

FLOWS = """
connections:
  ehr: {vendor: otherly, kind: mllp_listener, port: "0"}
  plain: {kind: mllp_listener, port: "0"}
flows:
  bookings:
    from: ehr
    steps: [{map: siu_to_appointment}, {save: appointment}]
  plain_bookings:
    from: plain
    steps: [{map: siu_to_appointment}, {save: appointment}]
"""
PROFILE = """
vendor: otherly
title: A vendor that exists only here
proven: none
kinds:
  mllp_listener:
    overlays: {siu_to_appointment: otherly_siu}
"""
OVERLAY = """
extends: siu_to_appointment
tables:
  filler_status: {CHKIN: arrived}
"""


def folder_of(folder: Path, flows: str = FLOWS) -> Path:
    for name, text in {"vendors/otherly": PROFILE, "mappings/otherly_siu": OVERLAY}.items():
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return clinic_folder(folder, flows)


def checked_in(id: str) -> bytes:
    """S14 in a dialect in which CHKIN means that the patient is here."""
    sch = segment("SCH", f2=id, f11=f"^^^{at(9).strftime('%Y%m%d%H%M')}", f25="CHKIN")
    return message(header("SIU^S14", control_id()), sch, pid(mrn("1")))


async def test_a_vendors_overlay_counts_for_its_connections_and_for_no_others(tmp_path: Path) -> None:
    async with (
        quick_hub(folder_of(tmp_path)) as hub,
        EhrClient("127.0.0.1", port_of(hub, "ehr")) as ehr,
        EhrClient("127.0.0.1", port_of(hub, "plain")) as plain,
    ):
        await Clinic(hub, ehr).tell(checked_in("F-1"))
        await Clinic(hub, plain).tell(checked_in("F-2"))
        known = {id: await Clinic(hub, ehr).booking(id) for id in ("F-1", "F-2")}
    assert {id: found and found.status for id, found in known.items()} == {"F-1": "arrived", "F-2": "changed"}


@pytest.mark.parametrize(("flow", "status"), [("bookings", "arrived"), ("plain_bookings", "changed")])
async def test_a_flow_that_is_tried_reads_as_the_flow_would(tmp_path: Path, flow: str, status: str) -> None:
    clinic = load_clinic(folder_of(tmp_path))
    tried = await try_flow(clinic, flow, message_for(clinic, flow, checked_in("F-1"), {}))
    bookings = [record.status for _, record in tried.saved if isinstance(record, Appointment)]
    assert bookings == [status]


def test_the_connection_has_the_last_word_and_check_shows_who_said_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def effective(file: Path) -> str:
        with pytest.raises(SystemExit):
            main(["check", str(file), "--effective", "ehr"])
        return next(line for line in capsys.readouterr().out.splitlines() if line.startswith("overlays"))

    shown = effective(folder_of(tmp_path))
    assert "otherly_siu" in shown
    assert "otherly.yaml:7" in shown
    own = FLOWS.replace('port: "0"}', 'port: "0", overlays: {siu_to_appointment: ours}}', 1)
    (tmp_path / "mappings" / "ours.yaml").write_text("extends: otherly_siu\n", encoding="utf-8")
    shown = effective(folder_of(tmp_path, own))
    assert "ours" in shown
    assert "clinic.yaml" in shown


def test_an_overlay_needs_cases_as_any_mapping_does(tmp_path: Path) -> None:
    overlay = load_clinic(folder_of(tmp_path)).mappings["otherly_siu"]
    (missing,), _ = run_cases(overlay)
    assert not missing.passed
    case = (
        "- case: arrived\n  given: |\n    MSH|^~\\&|E|R|H|R|20261123090100||SIU^S14|2|P|2.3\n"
        f"    SCH||F-1{'|' * 23}CHKIN\n"
        '  expect: {id: F-1, status: arrived, said_at: "2026-11-23T09:01:00Z"}\n'
    )
    overlay.path.with_name("otherly_siu.test.yaml").write_text(case, encoding="utf-8")
    (found,), _ = run_cases(overlay)
    assert found.passed, found.differences


WRONG = {
    "a mapping there is not": ("{siu_to_apointment: otherly_siu}", "siu_to_apointment", "did you mean 'siu_to_appointment'?"),
    "an overlay there is not": ("{siu_to_appointment: otherly_sui}", "otherly_sui", "did you mean 'otherly_siu'?"),
    "another mapping": ("{siu_to_appointment: adt_to_patient}", "does not extend", ""),
    "the mapping itself": ("{siu_to_appointment: siu_to_appointment}", "does not extend", ""),
}


@pytest.mark.parametrize(("overlays", "words", "help"), WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("in_profile", [True, False])
def test_an_overlay_that_cannot_stand_in_is_told_at_its_place(
    tmp_path: Path, overlays: str, words: str, help: str, *, in_profile: bool
) -> None:
    said = f"vendor: wrong\nproven: none\nkinds: {{mllp_listener: {{overlays: {overlays}}}}}\n"
    line = "connections: {a: {kind: mllp_listener, port: '0', overlays: " + overlays + "}}\n"
    files = {"mappings__otherly_siu_yaml": OVERLAY, **({"vendors__wrong_yaml": said} if in_profile else {})}
    examined = look(tmp_path, "" if in_profile else line, **files)
    problem = only(examined)
    assert (problem.code, Path(problem.file).name) == ("CFG-035", "wrong.yaml" if in_profile else "clinic.yaml")
    assert words in problem.text
    assert problem.help == help
