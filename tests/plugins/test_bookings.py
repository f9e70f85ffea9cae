"""Bookings in the order things were said, what they take, and what becomes of them when accounts and visits move."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from connectors.simulators.ehr import EhrClient, header, message, segment
from hub import Appointment
from hub.clinic import examine
from tests.plugins.clinic import Clinic, adt, at, control_id, mrn, pid, quick_hub
from tests.support import clinic_folder, port_of

FLOWS = """
connections:
  ehr: {kind: mllp_listener, port: "0"}
flows:
  bookings:
    from: ehr
    when: {type: SIU^*}
    steps: [{map: siu_to_appointment}, {save: appointment}]
  visit_states:
    from: ehr
    when: {type: [ADT^A03, ADT^A04], not: {PV1-19: ''}}
    steps: [{map: adt_to_visit_state}, {save: visit_state}]
  visit_moves:
    from: ehr
    when: {type: [ADT^A17, ADT^A41, ADT^A42, ADT^A44, ADT^A45, ADT^A50]}
    steps: [{map: adt_to_visit_move}, {save: visit_move}]
"""
NOW = datetime.now(UTC).replace(microsecond=0)


async def after(folder: Path, *bodies: bytes) -> Clinic:
    """What is known once these messages came in this order."""
    async with quick_hub(clinic_folder(folder, FLOWS)) as hub, EhrClient("127.0.0.1", port_of(hub, "ehr")) as client:
        clinic = Clinic(hub, client)
        await clinic.tell(*bodies)
        assert not await clinic.quarantined()
        for id in ("F-1", "F-2"):
            KNOWN[id] = await clinic.booking(id)
        CHARTS.update({number: chart.id for number in ("1", "2") if (chart := await clinic.patient(number))})
    return clinic


KNOWN: dict[str, Appointment | None] = {}
"""Bookings that the last `after` found, by id."""
CHARTS: dict[str, str] = {}


def known(id: str = "F-1") -> Appointment:
    found = KNOWN[id]
    assert found is not None
    return found


def said(
    minutes: int, trigger: str, *segments: str, status: str = "", reason: str = "", hour: int = 9, id: str = "F-1"
) -> bytes:
    """A booking as it was said so many minutes ago."""
    stamp = (NOW - timedelta(minutes=minutes)).strftime("%Y%m%d%H%M%S+0000")
    sch = segment("SCH", f2=id, f7=reason, f11=f"^^^{at(hour).strftime('%Y%m%d%H%M')}", f25=status)
    return message(header(f"SIU^{trigger}", control_id(), at=stamp), sch, *(segments or (pid(mrn("1")),)))


def visit(minutes: int, trigger: str) -> bytes:
    stamp = (NOW - timedelta(minutes=minutes)).strftime("%Y%m%d%H%M%S+0000")
    return message(header(f"ADT^{trigger}", control_id(), at=stamp), pid(mrn("1")), segment("PV1", f1="1", f2="O", f19="F-1"))


async def test_an_older_message_that_comes_late_fills_gaps_only(tmp_path: Path) -> None:
    await after(tmp_path, said(5, "S15", hour=11), said(30, "S12", reason="knee", hour=9))
    assert (known().status, known().starts_at, known().reason) == ("cancelled", at(11), "knee")


async def test_messages_in_their_order_each_count(tmp_path: Path) -> None:
    await after(tmp_path, said(30, "S12", hour=9), said(20, "S15"), said(10, "S12", hour=11))
    assert (known().status, known().starts_at) == ("booked", at(11))


async def test_a_clock_that_is_ahead_does_not_make_the_next_message_old(tmp_path: Path) -> None:
    await after(tmp_path, said(-60 * 24 * 365, "S12"), said(0, "S15"))
    assert known().status == "cancelled"


async def test_the_time_of_the_status_is_told_apart_from_that_of_the_rest(tmp_path: Path) -> None:
    """A reason that changed later (S14) does not make an arrival (A04) old, and is not made old by it."""
    await after(tmp_path, said(30, "S12"), said(10, "S14", reason="knee"), visit(15, "A04"))
    assert (known().status, known().reason) == ("arrived", "knee")


async def test_a_late_arrival_does_not_undo_that_the_visit_is_over(tmp_path: Path) -> None:
    await after(tmp_path, said(60, "S12"), visit(10, "A03"), visit(30, "A04"))
    assert known().status == "complete"


@pytest.mark.parametrize("status", ["Started", "Cancelled", "Waitlist", "Noshow"])
async def test_a_change_of_something_else_leaves_the_status(tmp_path: Path, status: str) -> None:
    """hl7.md 3.2: S14 and S18 to S22 say nothing about the status by themselves."""
    await after(tmp_path, said(30, "S12", status=status), said(10, "S14", reason="knee"))
    first = {"Started": "arrived", "Cancelled": "cancelled", "Waitlist": "waitlist", "Noshow": "no_show"}[status]
    assert (known().status, known().reason) == (first, "knee")


@pytest.mark.parametrize(("trigger", "word"), [("S12", ""), ("S14", "Booked"), ("S13", "")])
async def test_who_waited_gets_a_time(tmp_path: Path, trigger: str, word: str) -> None:
    await after(tmp_path, said(30, "S12", status="Waitlist"), said(10, trigger, status=word))
    assert known().status in ("booked", "rescheduled")


async def test_resources_come_and_go_by_their_action_code(tmp_path: Path) -> None:
    """Table 0206 on S18 to S22: what is not named stays."""
    first = said(30, "S12", pid(mrn("1")), segment("AIP", f1="1", f3="7^HOUSE"), segment("AIP", f1="2", f3="8^WILSON"))
    second = said(10, "S19", segment("AIP", f1="1", f2="D", f3="7^HOUSE"), segment("AIP", f1="2", f2="A", f3="9^CUDDY"))
    await after(tmp_path, first, second)
    assert [person.name for person in known().people] == ["WILSON", "CUDDY"]
    assert known().practitioner == "CUDDY"


async def test_a_person_as_a_general_resource_is_the_practitioner_and_a_room_is_not(tmp_path: Path) -> None:
    room, person = segment("AIG", f1="1", f3="R1^ROOM ONE", f4="ROOM"), segment("AIG", f1="2", f3="7^HOUSE", f4="P")
    await after(tmp_path, said(10, "S12", pid(mrn("1")), room), said(10, "S12", pid(mrn("2")), room, person, id="F-2"))
    assert (known().practitioner, known("F-2").practitioner) == (None, "HOUSE")
    assert [thing.name for thing in known().things] == ["ROOM ONE"]


# Accounts and visits that move.


def with_account(number: str, account: str) -> str:
    return pid(mrn(number), f18=account)


async def test_merged_accounts_take_their_bookings_along(tmp_path: Path) -> None:
    merge = adt("A41", with_account("1", "ACC-2"), segment("MRG", f1=mrn("1"), f3="ACC-1"))
    await after(tmp_path, said(10, "S12", with_account("1", "ACC-1")), merge)
    assert (known().account, known().status, known().patient_id) == ("ACC-2", "booked", CHARTS["1"])


async def test_an_account_of_another_patient_takes_its_bookings_along(tmp_path: Path) -> None:
    move = adt("A44", with_account("2", "ACC-1"), segment("MRG", f1=mrn("1"), f3="ACC-1"))
    await after(tmp_path, said(10, "S12", with_account("1", "ACC-1")), move)
    assert (known().account, known().patient_id) == ("ACC-1", CHARTS["2"])


async def test_visits_move_to_another_patient_and_the_chart_stays(tmp_path: Path) -> None:
    visits = [
        part for id in ("F-1", "F-2") for part in (segment("MRG", f1=mrn("1"), f5=id), segment("PV1", f1="1", f2="O", f19=id))
    ]
    await after(tmp_path, said(10, "S12"), said(10, "S12", id="F-2"), adt("A45", pid(mrn("2")), *visits))
    assert {known().patient_id, known("F-2").patient_id} == {CHARTS["2"]}
    assert CHARTS["1"] != CHARTS["2"]


@pytest.mark.parametrize("trigger", ["A42", "A50"])
async def test_a_visit_with_a_new_number_goes_on_under_that(tmp_path: Path, trigger: str) -> None:
    visit_now = segment("PV1", f1="1", f2="O", f19="F-2")
    await after(tmp_path, said(10, "S12"), adt(trigger, pid(mrn("1")), segment("MRG", f1=mrn("1"), f5="F-1"), visit_now))
    assert (known().status, known("F-2").status, known("F-2").starts_at) == ("deleted", "booked", at(9))


async def test_visits_that_nobody_booked_and_swapped_beds_change_nothing(tmp_path: Path) -> None:
    swap = adt("A17", pid(mrn("1")), segment("PV1", f1="1", f19="F-1"), pid(mrn("2")), segment("PV1", f1="2", f19="F-2"))
    stays = adt("A45", pid(mrn("2")), segment("MRG", f1=mrn("1"), f5="V-9"), segment("PV1", f1="1", f2="O", f19="V-9"))
    await after(tmp_path, said(10, "S12"), swap, stays)
    assert (known().status, known().patient_id, KNOWN["F-2"]) == ("booked", CHARTS["1"], None)


# Times and order of a connection.


async def test_times_are_of_the_zone_of_the_connection_before_that_of_its_site(tmp_path: Path) -> None:
    """hl7.md 3.2: times without an offset are local; per endpoint zone."""
    text = FLOWS.replace('port: "0"', 'port: "0", timezone: America/Phoenix')
    body = message(header("SIU^S12", control_id()), segment("SCH", f2="F-1", f11="^^^202707150900"), pid(mrn("1")))
    async with quick_hub(clinic_folder(tmp_path, text)) as hub, EhrClient("127.0.0.1", port_of(hub, "ehr")) as client:
        clinic = Clinic(hub, client)
        await clinic.tell(body)
        booking = await clinic.booking("F-1")
    assert booking is not None
    assert booking.starts_at == datetime(2027, 7, 15, 16, tzinfo=UTC)


@pytest.mark.parametrize(
    ("setting", "code"), [("ordering_key: PV1_19", "CFG-034"), ("timezone: America/Springfield", "CFG-019")]
)
def test_a_key_that_is_no_path_and_a_zone_that_is_none_are_told_with_their_place(
    tmp_path: Path, setting: str, code: str
) -> None:
    file = clinic_folder(tmp_path, FLOWS.replace('port: "0"', f'port: "0", {setting}'))
    (problem,) = examine(file).errors
    line = file.read_text(encoding="utf-8").splitlines()[problem.line - 1]
    assert problem.code == code
    assert line[problem.column - 1 :].startswith(setting.partition(": ")[2])
