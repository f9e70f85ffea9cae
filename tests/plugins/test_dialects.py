"""Dialects, as far as they are public: the built-in mappings read them as they come; no profile needs an overlay for them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from hub import Appointment, Patient
from hub.clinic import load_clinic
from hub.mapping import Mapping, run_mapping
from hub.message import Message
from hub.transform import TransformContext
from tests.support import clinic_folder


@pytest.fixture(scope="module")
def mappings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Mapping]:
    return load_clinic(clinic_folder(tmp_path_factory.mktemp("clinic"), "")).mappings


def read(mapping: Mapping, *segments: str) -> Any:
    """What a mapping makes of a message; times are UTC."""
    (record,) = run_mapping(mapping, Message("\r".join(segments).encode(), "hl7v2"), TransformContext(UTC, "", {})).records
    return record


EPIC = (
    r"MSH|^~\&|EPIC|RIVER|HUB|RIVER|20100520110000||SIU^S12|7|P|2.3",
    "SCH|501^EPIC|501^EPIC|||||^NEW COUGH|OFFICE^OFFICE VISIT|30|MIN|^^^201005271115||||||||||||||1^SCH",
    "PID|1||00042^^^RIVER^MR||DOE^JANE||19800229|F",
    f"PV1||O|{'|' * 16}501",
    "RGS|1||10101^MAIN CLINIC",
    "AIS|1||OFFICE^OFFICE VISIT|201005271115|0|MIN|30|MIN",
    "NTE|1||FASTING",
    "AIG|1||900^ROE^RICHARD",
    "NTE|1||LATE",
    "AIP|1||900^ROE^RICHARD||||||30|MIN",
    "ZCH|1|WALKS IN",
)
"""As the outgoing scheduling interface of May 2021 describes it: a start only, codes of its own in SCH-25, ZCH."""


def test_a_booking_of_epic_is_read_as_it_comes(mappings: dict[str, Mapping]) -> None:
    found: Appointment = read(mappings["siu_to_appointment"], *EPIC)
    assert (found.id, found.status, found.practitioner) == ("501", "booked", "ROE")
    assert found.starts_at == datetime(2010, 5, 27, 11, 15, tzinfo=UTC)
    assert found.ends_at == datetime(2010, 5, 27, 11, 45, tzinfo=UTC)


@pytest.mark.parametrize("word", ["1^SCH", "Sch"])
@pytest.mark.parametrize(
    ("trigger", "status"), [("S12", "booked"), ("S14", "changed"), ("S15", "cancelled"), ("S26", "no_show")]
)
def test_its_word_for_scheduled_never_hides_what_the_event_means(
    mappings: dict[str, Mapping], word: str, trigger: str, status: str
) -> None:
    said = [line.replace("SIU^S12", f"SIU^{trigger}").replace("1^SCH", word) for line in EPIC]
    assert read(mappings["siu_to_appointment"], *said).status == status


NOTHING = '""'
CERNER = (
    r'MSH|^~\&|HNAM_PM|MILLENNIUM|HUB|RIVER|20261120110000||SIU^S12|7|P|2.3||||""||8859/1',
    (
        f"SCH|{NOTHING}|881|{NOTHING}|||{NOTHING}|{NOTHING}|OFFICE^CD:4711^^CD:12|30|MIN|^^^202611271115^{NOTHING}"
        f"|{NOTHING}|{NOTHING}|||||||||||||{NOTHING}"
    ),
    f"PID|1|{NOTHING}|00042^^^RIVER POOL^MR^CD:7|{NOTHING}|DOE^JANE^{NOTHING}^{NOTHING}||19800229|F|{NOTHING}||||{NOTHING}",
    "PV1|1|INPATIENT|MAIN",
    f"AIP|1|{NOTHING}|900^ROE^RICHARD|{NOTHING}||{NOTHING}",
)


def test_a_booking_of_oracle_health_with_nothing_in_two_quotes(mappings: dict[str, Mapping]) -> None:
    found: Appointment = read(mappings["siu_to_appointment"], *CERNER)
    assert (found.id, found.status, found.type, found.practitioner, found.reason) == ("881", "booked", "OFFICE", "ROE", None)
    assert found.starts_at == datetime(2026, 11, 27, 11, 15, tzinfo=UTC)
    assert found.ends_at == datetime(2026, 11, 27, 11, 45, tzinfo=UTC)
    assert found.patient is not None
    assert [(i.value, i.authority) for i in found.patient.identifiers] == [("00042", "RIVER POOL")]


def insured(mapping: Mapping, *segments: str) -> Any:
    head = r"MSH|^~\&|EHR|RIVER|HUB|RIVER|20261123090100||ADT^A04|2|P|2.5"
    patient: Patient = read(mapping, head, "PID|1||00042^^^RIVER^MR||DOE^JANE||19800229|F", *segments)
    return patient.coverages


def in1(**fields: str) -> str:
    values = [fields.get(f"f{number}", "") for number in range(1, 50)]
    return "IN1|" + "|".join(values)


def test_insurance_of_oracle_health_with_nothing_in_two_quotes(mappings: dict[str, Mapping]) -> None:
    said = in1(f1="1", f2=NOTHING, f3="60054", f17=NOTHING, f36=NOTHING, f49="W100", f12=NOTHING, f8=NOTHING)
    (coverage,) = insured(mappings["adt_to_patient"], said)
    assert (coverage.payer, coverage.member_id, coverage.relationship) == ("60054", "W100", "self")


# What an IN1 means for a 270 (hl7.md 3.2).


@pytest.mark.parametrize(
    ("fields", "member"),
    [
        ({"f36": "W1"}, "W1"),
        ({"f49": "I1"}, "I1"),
        ({"f36": "W1", "f49": "I1"}, "W1"),
        ({"f36": "W1^5^M10"}, "W1"),
    ],
)
def test_the_policy_number_is_the_member_id_else_the_insureds_id(
    mappings: dict[str, Mapping], fields: dict[str, str], member: str
) -> None:
    (coverage,) = insured(mappings["adt_to_patient"], in1(f1="1", f3="60054", **fields))
    assert coverage.member_id == member


@pytest.mark.parametrize(
    ("code", "meant"),
    [
        ("SEL", "self"), ("18", "self"), ("SELF", "self"), ("SPO", "spouse"), ("01", "spouse"),
        ("CHD", "child"), ("19", "child"), ("PAR", "other"),
    ],
)  # fmt: skip
def test_the_relationship_is_read_from_the_words_of_the_table_and_of_senders(
    mappings: dict[str, Mapping], code: str, meant: str
) -> None:
    (coverage,) = insured(mappings["adt_to_patient"], in1(f1="1", f3="60054", f36="W1", f17=code))
    assert coverage.relationship == meant


def test_each_in1_has_the_in2_behind_it_and_its_own_place(mappings: dict[str, Mapping]) -> None:
    first, second = insured(
        mappings["adt_to_patient"],
        in1(f1="1", f3="60054", f36="W1", f22="2", f12="20260101", f13="20261231", f16="ROE^JOHN", f18="19791111", f17="SPO"),
        "IN2|1" + "|" * 60 + "D-01",
        in1(f1="2", f3="MEDICARE", f22="1"),
        "IN2|1|||||1EG4TE5MK73",
    )
    assert (first.payer, first.priority, first.patient_member_id, first.medicare_id) == ("60054", 2, "D-01", None)
    assert (first.starts_on, first.ends_on) == (date(2026, 1, 1), date(2026, 12, 31))
    assert (first.subscriber.family, first.subscriber.birth_date) == ("Roe", date(1979, 11, 11))
    assert (second.payer, second.priority, second.member_id, second.medicare_id) == (
        "MEDICARE", 1, "1EG4TE5MK73", "1EG4TE5MK73",
    )  # fmt: skip


# Where a booking starts (hl7.md 3.2): the order in which fields are looked at.

PLACES = {
    "TQ1-7": "TQ1|||||||202611270700",
    "SCH-11.4": "SCH||F-1|||||||||^^^202611270800",
    "AIS-4": "AIS|1||X|202611270900",
    "AIP-6": "AIP|1||900|||202611271000",
    "AIL-6": "AIL|1||R1|||202611271100",
    "AIG-8": "AIG|1||T1|||||202611271200",
    "PV1-44": "PV1|1|O" + "|" * 42 + "202611271300",
}


@pytest.mark.parametrize("first", range(len(PLACES)), ids=list(PLACES))
def test_the_start_is_the_first_of_the_places_in_their_order(mappings: dict[str, Mapping], first: int) -> None:
    lines = list(PLACES.values())[first:]
    sch = [] if first <= 1 else ["SCH||F-1"]
    ordered = sorted([*sch, *lines], key=lambda line: ("SCH", "TQ1", "PV1", "AIS", "AIG", "AIL", "AIP").index(line[:3]))
    found = read(mappings["siu_to_appointment"], r"MSH|^~\&|E|R|H|R|20261123090100||SIU^S12|2|P|2.5", *ordered)
    assert found.starts_at == datetime(2026, 11, 27, 7 + first, tzinfo=UTC)


@pytest.mark.parametrize(
    ("trigger", "status"),
    [("S12", "booked"), ("S13", "rescheduled"), ("S15", "cancelled"), ("S17", "deleted"), ("S26", "no_show")],
)
@pytest.mark.parametrize(
    ("word", "meant"), [("Cancelled", "cancelled"), ("Noshow", "no_show"), ("Complete", "complete"), ("", "")]
)
def test_what_the_filler_calls_it_wins_over_the_event(
    mappings: dict[str, Mapping], trigger: str, status: str, word: str, meant: str
) -> None:
    head = rf"MSH|^~\&|E|R|H|R|20261123090100||SIU^{trigger}|2|P|2.5"
    found = read(mappings["siu_to_appointment"], head, "SCH||F-1" + "|" * 23 + word)
    assert found.status == (meant or status)
