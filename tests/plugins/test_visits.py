"""Patients and appointments, from what an EHR says over MLLP: found again, updated, merged, booked, and never mixed up."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.simulators.ehr import EhrClient, segment
from hub import Appointment, Coverage, Identifier, Patient, Person
from hub.bus.trial import Trial, message_for, try_flow
from tests.plugins.clinic import VISITS, Clinic, adt, at, in1, mrn, pid, read_clinic, siu, visits
from tests.support import ask, clinic_folder, port_of


async def reason_of_the_only_quarantined(clinic: Clinic) -> str:
    found = await clinic.quarantined()
    assert len(found) == 1, found
    return str(found[0]["reason"])


def numbers(patient: Patient | None) -> set[str]:
    assert patient is not None
    return {i.value for i in patient.identifiers}


# Finding the chart.


async def test_a_registration_makes_a_chart_that_is_found_by_number_and_authority(tmp_path: Path) -> None:
    async with visits(tmp_path) as clinic:
        await clinic.tell(adt("A04", pid(mrn("42"))))
        chart = await clinic.patient("42")
        assert chart is not None
        assert chart.name == Person(family="Doe", given="Jane", birth_date=date(1980, 2, 29), sex="F")
        assert not chart.provisional
        assert await clinic.patient("42", "LAKE") is None


async def test_the_same_number_of_another_authority_is_another_patient(tmp_path: Path) -> None:
    async with visits(tmp_path) as clinic:
        await clinic.tell(adt("A04", pid(mrn("42"))), adt("A04", pid(mrn("42", "LAKE"), family="ROE")))
        river, lake = await clinic.patient("42"), await clinic.patient("42", "LAKE")
        assert river is not None
        assert lake is not None
        assert (river.name.family, lake.name.family) == ("Doe", "Roe")
        assert river.id != lake.id


async def test_a_number_without_authority_finds_the_only_chart_that_has_it(tmp_path: Path) -> None:
    async with visits(tmp_path) as clinic:
        await clinic.tell(adt("A04", pid(mrn("42"))), adt("A08", pid("42", given="JANET")))
        charts = await clinic.charts("42")
        assert [(c.name.given, c.identifiers) for c in charts] == [
            ("Janet", [Identifier(value="42", authority="RIVER", type="MR")])
        ]


async def test_a_chart_without_authority_is_found_when_the_authority_is_told_later(tmp_path: Path) -> None:
    async with visits(tmp_path) as clinic:
        await clinic.tell(
            adt("A04", pid("42")), adt("A08", pid(mrn("42"), sex="M")), adt("A08", pid("42", given="JANET", sex="M"))
        )
        charts = await clinic.charts("42")
        assert [(c.name.given, c.name.sex) for c in charts] == [("Janet", "M")]


async def test_a_number_without_authority_that_several_charts_have_is_left_to_a_person(tmp_path: Path) -> None:
    async with visits(tmp_path) as clinic:
        await clinic.tell(
            adt("A04", pid(mrn("98765"))), adt("A04", pid(mrn("98765", "LAKE"))), adt("A08", pid("98765", given="WRONG"))
        )
        reason = await reason_of_the_only_quarantined(clinic)
        assert "several charts" in reason
        assert "authority" in reason
        assert "98765" not in reason
        assert {c.name.given for c in await clinic.charts("98765")} == {"Jane"}


async def test_the_connection_says_whose_numbers_come_without_authority(tmp_path: Path) -> None:
    async with visits(tmp_path, ehr="authority: RIVER") as clinic:
        await clinic.tell(
            adt("A04", pid(mrn("42", "LAKE"), family="ROE")), adt("A04", pid("42")), adt("A40", pid("42"), mrg("41"))
        )
        river = await clinic.patient("42")
        assert river is not None
        assert river.name.family == "Doe"
        assert await clinic.patient("41") == river


async def test_a_chart_is_found_by_any_of_its_numbers_and_learns_new_ones(tmp_path: Path) -> None:
    async with visits(tmp_path) as clinic:
        await clinic.tell(
            adt("A04", pid(mrn("42"), "E7^^^EPI^PI")),
            adt("A08", pid("E7^^^EPI^PI", mrn("900", "LAKE"), given="JANET")),
            adt("A08", pid(mrn("900", "LAKE"), given="JOAN")),
        )
        chart = await clinic.patient("42")
        assert chart is not None
        assert chart.name.given == "Joan"
        assert numbers(chart) == {"42", "E7", "900"}
        assert await clinic.quarantined() == []


async def test_numbers_of_two_charts_in_one_message_are_left_to_a_person_in_plain_words(tmp_path: Path) -> None:
    """Nobody said that they are one patient: that takes a merge message."""
    async with visits(tmp_path) as clinic:
        await clinic.tell(adt("A04", pid(mrn("42"))), adt("A04", pid("E7^^^EPI^PI", family="ROE")))
        await clinic.tell(adt("A08", pid(mrn("42"), "E7^^^EPI^PI", given="WRONG")))
        reason = await reason_of_the_only_quarantined(clinic)
        assert "chart" in reason
        assert "again and again" not in reason
        first, second = await clinic.patient("42"), await clinic.patient("E7", "EPI")
        assert first is not None
        assert second is not None
        assert (first.name.family, second.name.family) == ("Doe", "Roe")


@pytest.mark.parametrize("kind", ["SS", "ss", "DL", "PPN"])
async def test_a_number_that_is_no_chart_number_joins_nobody(tmp_path: Path, kind: str) -> None:
    shared = f"900-00-1234^^^USA^{kind}"
    async with visits(tmp_path) as clinic:
        await clinic.tell(adt("A04", pid(mrn("42"), shared)), adt("A04", pid(mrn("43"), shared, family="ROE")))
        first, second = await clinic.patient("42"), await clinic.patient("43")
        assert first is not None
        assert second is not None
        assert first.id != second.id
        assert await clinic.charts("900-00-1234") == []
        await clinic.tell(adt("A08", pid(shared, given="WRONG")))
        reason = await reason_of_the_only_quarantined(clinic)
        assert "PID-3" in reason
        assert "900-00-1234" not in reason


async def test_a_patient_without_any_number_is_not_kept(tmp_path: Path) -> None:
    async with visits(tmp_path) as clinic:
        await clinic.tell(adt("A04", pid()))
        assert "PID-3" in await reason_of_the_only_quarantined(clinic)


# Updating.

FULL = pid(mrn("42"), f13="555-0100^^^jane@example.org", f30="N")


@pytest.mark.parametrize("trigger", ["A01", "A04", "A05", "A08", "A28", "A31"])
async def test_what_a_message_does_not_speak_of_stays(tmp_path: Path, trigger: str) -> None:
    async with visits(tmp_path) as clinic:
        await clinic.tell(adt("A04", FULL, in1("W1")), adt(trigger, segment("PID", f3=mrn("42"), f5="DOE^JANET")))
        chart = await clinic.patient("42")
        assert chart is not None
        assert chart.name == Person(family="Doe", given="Janet", birth_date=date(1980, 2, 29), sex="F")
        assert chart.phone == "555-0100"
        assert [c.member_id for c in chart.coverages] == ["W1"]


async def test_two_quotes_empty_a_field(tmp_path: Path) -> None:
    async with visits(tmp_path) as clinic:
        await clinic.tell(adt("A04", FULL), adt("A08", segment("PID", f3=mrn("42"), f5='DOE^JANE^""', f7='""', f13='""')))
        chart = await clinic.patient("42")
        assert chart is not None
        assert (chart.phone, chart.name.birth_date, chart.name.middle) == (None, None, None)
        assert (chart.name.family, chart.name.sex) == ("Doe", "F")


async def test_insurance_in_a_message_replaces_all_there_was(tmp_path: Path) -> None:
    async with visits(tmp_path) as clinic:
        await clinic.tell(adt("A04", pid(mrn("42")), in1("W1"), in1("W2", "CMS")), adt("A08", pid(mrn("42")), in1("W3")))
        chart = await clinic.patient("42")
        assert chart is not None
        assert [c.member_id for c in chart.coverages] == ["W3"]


@pytest.mark.parametrize(
    ("priorities", "expected"),
    [
        (("", "", ""), ["W0", "W1", "W2"]),
        (("3", "1", "2"), ["W1", "W2", "W0"]),
        (("", "1", ""), ["W1", "W0", "W2"]),
        (("", "", "1"), ["W2", "W0", "W1"]),
        (("2", "", "1"), ["W2", "W0", "W1"]),
        (("1", "1", "2"), ["W0", "W1", "W2"]),
        (("x", "1", "2"), ["W1", "W2", "W0"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
async def test_the_primary_insurance_is_the_one_that_says_so(
    tmp_path: Path, priorities: tuple[str, ...], expected: list[str]
) -> None:
    """By IN1-22; those that do not say follow, in the order they came."""
    async with visits(tmp_path) as clinic:
        insurances = [in1(f"W{number}", f"P{number}", priority=said) for number, said in enumerate(priorities)]
        await clinic.tell(adt("A04", pid(mrn("42")), *insurances))
        chart = await clinic.patient("42")
        assert chart is not None
        assert [c.member_id for c in chart.coverages] == expected


async def test_an_insurance_is_kept_although_only_its_name_is_told(tmp_path: Path) -> None:
    """Some senders fill IN1-4 and IN1-36 and nothing else; that is an insurance, not the lack of one."""
    async with visits(tmp_path) as clinic:
        await clinic.tell(adt("A04", pid(mrn("42")), in1("W1", "", plan="", name="LAKE HEALTH")))
        chart = await clinic.patient("42")
        assert chart is not None
        assert [(c.payer_name, c.member_id) for c in chart.coverages] == [("LAKE HEALTH", "W1")]


async def test_an_insurance_names_whose_it_is(tmp_path: Path) -> None:
    async with visits(tmp_path) as clinic:
        insurance = in1("W1", relation="CHD", insured="DOE^ANNA", born="19550101", group="G-7")
        await clinic.tell(adt("A04", pid(mrn("42")), insurance))
        chart = await clinic.patient("42")
        assert chart is not None
        (coverage,) = chart.coverages
        assert coverage == Coverage(
            priority=1,
            payer="60054",
            payer_name="AETNA",
            plan="PPO",
            member_id="W1",
            group="G-7",
            relationship="child",
            subscriber=Person(family="Doe", given="Anna", birth_date=date(1955, 1, 1)),
        )


@pytest.mark.parametrize("word", ["SP", "SELF"])
async def test_who_pays_alone_is_known_until_the_ehr_says_otherwise(tmp_path: Path, word: str) -> None:
    async with visits(tmp_path) as clinic:
        await clinic.tell(adt("A04", pid(mrn("42")), segment("PV1", f2="O", f20=word)), adt("A08", pid(mrn("42"))))
        chart = await clinic.patient("42")
        assert chart is not None
        assert chart.self_pay
        await clinic.tell(adt("A08", pid(mrn("42")), segment("PV1", f2="O", f20="COM")))
        chart = await clinic.patient("42")
        assert chart is not None
        assert not chart.self_pay


# Merging.


def mrg(*identifiers: str) -> str:
    return segment("MRG", f1="~".join(identifiers))


def merge(survivor: str, retired: str, trigger: str = "A40") -> bytes:
    return adt(trigger, pid(mrn(survivor)), mrg(mrn(retired)))


async def both_charts(clinic: Clinic) -> None:
    """42 without insurance but with a visit; 77 with insurance, another visit and another first name."""
    await clinic.tell(
        adt("A04", pid(mrn("42"))),
        adt("A04", pid(mrn("77"), given="JENNY", f13="555-0177"), in1("W77")),
        siu("S12", "F-42", at(9), pid(mrn("42"))),
        siu("S12", "F-77", at(10), pid(mrn("77"), given="JENNY")),
    )


@pytest.mark.parametrize("trigger", ["A40", "A34", "A18", "A30", "A36", "A39", "A46", "A47"])
async def test_a_merge_of_two_known_charts_leaves_one_with_both_numbers_and_visits(tmp_path: Path, trigger: str) -> None:
    async with visits(tmp_path) as clinic:
        await both_charts(clinic)
        survivor = await clinic.patient("42")
        await clinic.tell(merge("42", "77", trigger))
        chart = await clinic.patient("42")
        assert survivor is not None
        assert chart is not None
        assert chart.id == survivor.id
        assert await clinic.patient("77") == chart
        assert numbers(chart) == {"42", "77"}
        assert chart.name.given == "Jane"
        assert [c.member_id for c in chart.coverages] == ["W77"]
        for visit in ("F-42", "F-77"):
            booking = await clinic.booking(visit)
            assert booking is not None
            assert booking.patient_id == chart.id


async def test_a_merge_says_on_the_timeline_that_it_was_one(tmp_path: Path) -> None:
    async with visits(tmp_path) as clinic:
        await both_charts(clinic)
        await clinic.tell(merge("42", "77"))
        told = await ask(clinic.hub, "trace", id="77")
        assert "merged" in [entry["what"] for entry in told["entries"]]


async def test_the_surviving_chart_keeps_its_own_insurance(tmp_path: Path) -> None:
    async with visits(tmp_path) as clinic:
        await clinic.tell(adt("A04", pid(mrn("42")), in1("W42")), adt("A04", pid(mrn("77")), in1("W77")), merge("42", "77"))
        chart = await clinic.patient("77")
        assert chart is not None
        assert [c.member_id for c in chart.coverages] == ["W42"]


@pytest.mark.parametrize("known", ["42", "77"])
async def test_a_merge_of_which_one_chart_is_known_goes_on_with_that(tmp_path: Path, known: str) -> None:
    async with visits(tmp_path) as clinic:
        await clinic.tell(adt("A04", pid(mrn(known)), in1("W1")), siu("S12", "F-1", at(9), pid(mrn(known))))
        await clinic.tell(merge("42", "77"))
        chart, booking = await clinic.patient("42"), await clinic.booking("F-1")
        assert chart is not None
        assert booking is not None
        assert await clinic.patient("77") == chart
        assert booking.patient_id == chart.id
        assert [c.member_id for c in chart.coverages] == ["W1"]


async def test_a_merge_of_two_unknown_charts_is_remembered(tmp_path: Path) -> None:
    async with visits(tmp_path) as clinic:
        await clinic.tell(merge("42", "77"), adt("A08", pid(mrn("77"), given="JANET")))
        chart = await clinic.patient("42")
        assert chart is not None
        assert chart.name.given == "Janet"
        assert await clinic.patient("77") == chart


async def test_a_message_under_the_old_number_goes_to_the_surviving_chart(tmp_path: Path) -> None:
    async with visits(tmp_path) as clinic:
        await both_charts(clinic)
        await clinic.tell(
            merge("42", "77"),
            adt("A08", pid(mrn("77"), given="JANET"), in1("W99")),
            siu("S12", "F-99", at(11), pid(mrn("77"), given="JANET")),
            siu("S15", "F-77", None),
        )
        chart, new, old = await clinic.patient("42"), await clinic.booking("F-99"), await clinic.booking("F-77")
        assert chart is not None
        assert new is not None
        assert old is not None
        assert (chart.name.given, [c.member_id for c in chart.coverages]) == ("Janet", ["W99"])
        assert new.patient_id == chart.id
        assert (old.patient_id, old.status, old.starts_at) == (chart.id, "cancelled", at(10))


async def test_several_pairs_in_one_merge_message_are_several_merges(tmp_path: Path) -> None:
    async with visits(tmp_path) as clinic:
        await clinic.tell(*(adt("A04", pid(mrn(number), given=f"G{number}")) for number in ("1", "2", "3", "4")))
        await clinic.tell(adt("A40", pid(mrn("1"), given="G1"), mrg(mrn("2")), pid(mrn("3"), given="G3"), mrg(mrn("4"))))
        assert await clinic.quarantined() == []
        assert numbers(await clinic.patient("2")) == {"1", "2"}
        assert numbers(await clinic.patient("4")) == {"3", "4"}


async def test_several_pairs_with_the_same_surviving_chart_leave_one_chart(tmp_path: Path) -> None:
    """The usual way to clean up a patient who has three charts."""
    async with visits(tmp_path) as clinic:
        await clinic.tell(*(adt("A04", pid(mrn(number))) for number in ("1", "2", "3")))
        await clinic.tell(adt("A40", pid(mrn("1")), mrg(mrn("2")), pid(mrn("1")), mrg(mrn("3"))))
        assert await clinic.quarantined() == []
        assert numbers(await clinic.patient("1")) == {"1", "2", "3"}
        assert numbers(await clinic.patient("3")) == {"1", "2", "3"}


async def test_a_chart_with_several_retired_numbers_takes_in_all_of_them(tmp_path: Path) -> None:
    async with visits(tmp_path) as clinic:
        await clinic.tell(*(adt("A04", pid(mrn(number))) for number in ("1", "2", "3")))
        await clinic.tell(adt("A40", pid(mrn("1")), mrg(mrn("2"), mrn("3"))))
        assert await clinic.quarantined() == []
        assert numbers(await clinic.patient("3")) == {"1", "2", "3"}


async def test_a_merge_of_a_merge_ends_at_the_last_chart(tmp_path: Path) -> None:
    async with visits(tmp_path) as clinic:
        await clinic.tell(*(adt("A04", pid(mrn(number))) for number in ("1", "2", "3")))
        await clinic.tell(siu("S12", "F-1", at(9), pid(mrn("1"))), merge("2", "1"), merge("3", "2"))
        chart, booking = await clinic.patient("3"), await clinic.booking("F-1")
        assert chart is not None
        assert booking is not None
        assert numbers(chart) == {"1", "2", "3"}
        assert await clinic.patient("1") == chart
        assert booking.patient_id == chart.id


async def test_a_chain_of_merges_in_one_message_ends_at_the_last_chart(tmp_path: Path) -> None:
    async with visits(tmp_path) as clinic:
        await clinic.tell(*(adt("A04", pid(mrn(number))) for number in ("1", "2", "3")))
        await clinic.tell(adt("A40", pid(mrn("2")), mrg(mrn("1")), pid(mrn("3")), mrg(mrn("2"))))
        assert await clinic.quarantined() == []
        assert numbers(await clinic.patient("1")) == {"1", "2", "3"}


async def test_a_merge_that_is_sent_again_changes_nothing(tmp_path: Path) -> None:
    async with visits(tmp_path) as clinic:
        await both_charts(clinic)
        await clinic.tell(merge("42", "77"))
        before = await clinic.patient("42")
        await clinic.tell(merge("42", "77"))
        assert await clinic.patient("42") == before
        assert await clinic.quarantined() == []


async def test_a_merge_of_a_chart_into_itself_changes_nothing(tmp_path: Path) -> None:
    async with visits(tmp_path) as clinic:
        await clinic.tell(adt("A04", pid(mrn("42")), in1("W1")))
        before = await clinic.patient("42")
        await clinic.tell(merge("42", "42"))
        assert await clinic.patient("42") == before
        assert await clinic.quarantined() == []


async def test_a_merge_back_does_not_tear_the_chart_apart(tmp_path: Path) -> None:
    async with visits(tmp_path) as clinic:
        await both_charts(clinic)
        await clinic.tell(merge("42", "77"), merge("77", "42"))
        chart = await clinic.patient("42")
        assert chart is not None
        assert chart.merged_into is None
        assert await clinic.patient("77") == chart


async def test_a_registration_merged_into_a_chart_that_only_a_booking_knew_is_registered(tmp_path: Path) -> None:
    async with visits(tmp_path) as clinic:
        await clinic.tell(siu("S12", "F-1", at(9), pid(mrn("42"))), adt("A04", pid(mrn("77")), in1("W1")), merge("42", "77"))
        chart = await clinic.patient("42")
        assert chart is not None
        assert not chart.provisional
        assert [c.member_id for c in chart.coverages] == ["W1"]


# Booking.


async def test_a_booking_before_the_chart_waits_for_it(tmp_path: Path) -> None:
    async with visits(tmp_path) as clinic:
        await clinic.tell(siu("S12", "F-1", at(9), pid(mrn("42"))))
        provisional, booking = await clinic.patient("42"), await clinic.booking("F-1")
        assert provisional is not None
        assert booking is not None
        assert provisional.provisional
        assert booking.patient_id == provisional.id
        await clinic.tell(adt("A04", pid(mrn("42"), given="JANET"), in1("W1")))
        chart = await clinic.patient("42")
        assert chart is not None
        assert (chart.id, chart.provisional, chart.name.given) == (provisional.id, False, "Janet")


async def test_a_booking_never_takes_a_registration_back(tmp_path: Path) -> None:
    async with visits(tmp_path) as clinic:
        await clinic.tell(adt("A04", FULL, in1("W1")))
        before = await clinic.patient("42")
        await clinic.tell(siu("S12", "F-1", at(9), pid(mrn("42"))))
        assert await clinic.patient("42") == before


async def test_what_a_booking_says_of_the_patient_does_not_overwrite_the_registration(tmp_path: Path) -> None:
    """A scheduler's copy of name and birth date may be old; the registration is what the card was compared with."""
    async with visits(tmp_path) as clinic:
        await clinic.tell(adt("A04", FULL))
        await clinic.tell(siu("S12", "F-1", at(9), pid(mrn("42"), family="ROE", given="JAN", born="19990101", f13='""')))
        chart = await clinic.patient("42")
        assert chart is not None
        assert chart.name == Person(family="Doe", given="Jane", birth_date=date(1980, 2, 29), sex="F")
        assert chart.phone == "555-0100"


async def test_a_booking_fills_what_no_registration_has_said_yet(tmp_path: Path) -> None:
    async with visits(tmp_path) as clinic:
        await clinic.tell(adt("A04", segment("PID", f3=mrn("42"), f5="DOE")), siu("S12", "F-1", at(9), pid(mrn("42"))))
        chart = await clinic.patient("42")
        assert chart is not None
        assert (chart.name.given, chart.name.birth_date) == ("Jane", date(1980, 2, 29))


STATES = [
    ("S12", "", "booked"),
    ("S12", "Booked", "booked"),
    ("S13", "", "rescheduled"),
    ("S14", "", "changed"),
    ("S15", "", "cancelled"),
    ("S16", "", "cancelled"),
    ("S17", "", "deleted"),
    ("S26", "", "no_show"),
    ("S12", "Cancelled", "cancelled"),
    ("S14", "CANCELED", "cancelled"),
    ("S14", "Discontinued", "cancelled"),
    ("S14", "Deleted", "deleted"),
    ("S14", "Noshow", "no_show"),
    ("S14", "Started", "arrived"),
    ("S14", "Complete", "complete"),
    ("S12", "Pending", "pending"),
    ("S12", "Waitlist", "waitlist"),
    ("S12", "Overbook", "booked"),
    ("S14", "Booked", "booked"),
    ("S15", "something of our own", "cancelled"),
]


@pytest.mark.parametrize(("trigger", "said", "expected"), STATES, ids=[f"{t}-{s or 'nothing'}" for t, s, _ in STATES])
async def test_the_state_is_what_the_ehr_calls_it_else_what_the_trigger_means(
    tmp_path: Path, trigger: str, said: str, expected: str
) -> None:
    """hl7.md 3.2: SCH-25 (table 0278), else the trigger."""
    trial = await on_trial(tmp_path, siu(trigger, "F-1", at(9), pid(mrn("42")), status=said))
    assert trial.error is None
    assert saved_booking(trial).status == expected


async def on_trial(folder: Path, body: bytes, *known: Any) -> Trial:
    clinic = read_clinic(clinic_folder(folder, VISITS.replace("@EHR@", "")))
    flow = "bookings" if b"|SIU^" in body else "registrations"
    return await try_flow(clinic, flow, message_for(clinic, flow, body, {}), records=known)


def saved_booking(trial: Trial) -> Appointment:
    (found,) = [record for kind, record in trial.saved if kind == "appointment"]
    assert isinstance(found, Appointment)
    return found


async def test_a_booking_that_moves_keeps_everything_else(tmp_path: Path) -> None:
    known = Appointment(
        id="F-1",
        placer_id="P-1",
        starts_at=at(9),
        type="OFFICE",
        reason="knee",
        location="ROOM 2",
        site="main",
        patient_id="p-1",
    )
    trial = await on_trial(tmp_path, siu("S13", "F-1", at(15, 30)), known, Patient(id="p-1"))
    found = saved_booking(trial).model_copy(update={"said_at": None, "status_at": None})
    assert found == known.model_copy(update={"starts_at": at(15, 30), "status": "rescheduled"})


@pytest.mark.parametrize("trigger", ["S15", "S17", "S26"])
async def test_the_end_of_a_booking_needs_no_time_and_keeps_the_one_there_was(tmp_path: Path, trigger: str) -> None:
    async with visits(tmp_path) as clinic:
        await clinic.tell(siu("S12", "F-1", at(9), pid(mrn("42"))), siu(trigger, "F-1", None))
        booking, chart = await clinic.booking("F-1"), await clinic.patient("42")
        assert booking is not None
        assert chart is not None
        assert (booking.starts_at, booking.patient_id) == (at(9), chart.id)
        assert booking.status in ("cancelled", "deleted", "no_show")
        assert await clinic.quarantined() == []


async def test_a_cancellation_of_an_unknown_booking_is_kept_and_stops_nothing(tmp_path: Path) -> None:
    async with visits(tmp_path) as clinic:
        await clinic.tell(siu("S15", "F-9", None))
        booking = await clinic.booking("F-9")
        assert booking is not None
        assert booking.status == "cancelled"
        assert await clinic.quarantined() == []


async def test_a_booking_without_a_time_is_kept_until_the_time_is_told(tmp_path: Path) -> None:
    async with visits(tmp_path) as clinic:
        await clinic.tell(siu("S12", "F-1", None, pid(mrn("42"))))
        booking = await clinic.booking("F-1")
        assert booking is not None
        assert booking.starts_at is None
        await clinic.tell(siu("S13", "F-1", at(9), pid(mrn("42"))))
        booking = await clinic.booking("F-1")
        assert booking is not None
        assert booking.starts_at == at(9)


async def test_a_booking_is_known_by_its_filler_id_else_by_its_placer_id(tmp_path: Path) -> None:
    async with visits(tmp_path) as clinic:
        await clinic.tell(siu("S12", "F-1", at(9), placer="P-1"), siu("S12", "", at(10), placer="P-2"))
        first, second = await clinic.booking("F-1"), await clinic.booking("P-2")
        assert first is not None
        assert second is not None
        assert (first.placer_id, first.starts_at, second.starts_at) == ("P-1", at(9), at(10))


async def test_a_booking_without_any_id_is_left_to_a_person(tmp_path: Path) -> None:
    async with visits(tmp_path) as clinic:
        await clinic.tell(siu("S12", "", at(9), pid(mrn("42"))))
        reason = await reason_of_the_only_quarantined(clinic)
        assert "SCH-2" in reason or "SCH-1" in reason
        assert "42" not in reason.replace("SCH-2", "")


@pytest.mark.parametrize("patient", [(), (pid(),), (pid("900-00-1234^^^USA^SS"),)], ids=["no-pid", "no-number", "ssn-only"])
async def test_a_booking_whose_patient_is_not_told_is_kept_and_gets_one_later(tmp_path: Path, patient: tuple[str, ...]) -> None:
    async with visits(tmp_path) as clinic:
        await clinic.tell(siu("S12", "F-1", at(9), *patient))
        booking = await clinic.booking("F-1")
        assert booking is not None
        assert booking.patient_id == ""
        await clinic.tell(siu("S14", "F-1", at(9), pid(mrn("42"))))
        booking, chart = await clinic.booking("F-1"), await clinic.patient("42")
        assert booking is not None
        assert chart is not None
        assert booking.patient_id == chart.id


async def test_a_booking_under_a_number_that_several_charts_have_is_left_to_a_person(tmp_path: Path) -> None:
    async with visits(tmp_path) as clinic:
        await clinic.tell(adt("A04", pid(mrn("98765"))), adt("A04", pid(mrn("98765", "LAKE"))))
        await clinic.tell(siu("S12", "F-1", at(9), pid("98765")))
        assert "several charts" in await reason_of_the_only_quarantined(clinic)
        assert await clinic.booking("F-1") is None


async def test_a_booking_that_was_under_the_wrong_chart_moves_to_the_right_one(tmp_path: Path) -> None:
    async with visits(tmp_path) as clinic:
        await clinic.tell(siu("S12", "F-1", at(9), pid(mrn("42"))), siu("S14", "F-1", at(9), pid(mrn("43"), family="ROE")))
        booking, chart = await clinic.booking("F-1"), await clinic.patient("43")
        assert booking is not None
        assert chart is not None
        assert booking.patient_id == chart.id


STARTS = [
    ("TQ1 before all", {"sch": "^^^202701151000"}, [segment("TQ1", f7="202701150900")], datetime(2027, 1, 15, 15, tzinfo=UTC)),
    ("SCH-11 in winter", {"sch": "^^^202701150900"}, [], datetime(2027, 1, 15, 15, 0, tzinfo=UTC)),
    ("SCH-11 in summer", {"sch": "^^^202707150900"}, [], datetime(2027, 7, 15, 14, 0, tzinfo=UTC)),
    ("an offset is believed", {"sch": "^^^202701150900-0500"}, [], datetime(2027, 1, 15, 14, 0, tzinfo=UTC)),
    ("AIS", {}, [segment("AIS", f1="1", f3="X", f4="202701150900")], datetime(2027, 1, 15, 15, 0, tzinfo=UTC)),
    ("AIP", {}, [segment("AIP", f1="1", f3="X", f6="202701150900")], datetime(2027, 1, 15, 15, 0, tzinfo=UTC)),
    ("AIL", {}, [segment("AIL", f1="1", f3="X", f6="202701150900")], datetime(2027, 1, 15, 15, 0, tzinfo=UTC)),
    ("AIG", {}, [segment("AIG", f1="1", f3="X", f8="202701150900")], datetime(2027, 1, 15, 15, 0, tzinfo=UTC)),
    ("PV1-44", {}, [segment("PV1", f1="1", f44="202701150900")], datetime(2027, 1, 15, 15, 0, tzinfo=UTC)),
    (
        "the earliest of several services",
        {},
        [segment("AIS", f1="1", f3="X", f4="202701151100"), segment("AIS", f1="2", f3="Y", f4="202701150900")],
        datetime(2027, 1, 15, 15, 0, tzinfo=UTC),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("sch", "more", "expected"), [s[1:] for s in STARTS], ids=[s[0].replace(" ", "-") for s in STARTS])
async def test_a_visit_starts_where_senders_of_all_versions_say_it(
    tmp_path: Path, sch: dict[str, str], more: list[str], expected: datetime
) -> None:
    """hl7.md 3.2: TQ1-7, SCH-11.4, earliest AIS-4, AIP-6, AIL-6, AIG-8, PV1-44; times without offset are of the site."""
    body = siu("S12", "F-1", None, *more)
    body = body.replace(b"|OFFICE||", b"|OFFICE|||" + sch["sch"].encode() + b"||", 1) if sch else body
    trial = await on_trial(tmp_path, body)
    assert trial.error is None
    assert saved_booking(trial).starts_at == expected


async def test_a_visit_ends_as_long_after_its_start_as_it_takes(tmp_path: Path) -> None:
    """hl7.md 3.2: TQ1-8, SCH-11.5, else the start and SCH-9 in the units of SCH-10."""
    body = siu("S12", "F-1", at(9)).replace(b"|OFFICE|||", b"|OFFICE|45|MIN|", 1)
    assert saved_booking(await on_trial(tmp_path, body)).ends_at == at(9) + timedelta(minutes=45)


# At the same time.


async def test_messages_of_one_patient_in_two_flows_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    """Registrations and bookings run side by side on the same charts: whoever comes second goes again on what is there."""
    count = 40
    async with visits(tmp_path) as clinic:
        sends = [adt("A04", pid(mrn(str(n))), in1(f"W{n}")) for n in range(count)]
        sends += [siu("S12", f"F-{n}", at(9), pid(mrn(str(n)))) for n in range(count)]
        await at_once(clinic, sends)
        assert await clinic.quarantined() == []
        for n in range(count):
            chart, booking = await clinic.patient(str(n)), await clinic.booking(f"F-{n}")
            assert chart is not None
            assert booking is not None
            assert booking.patient_id == chart.id
            assert not chart.provisional
            assert [c.member_id for c in chart.coverages] == [f"W{n}"]


async def at_once(clinic: Clinic, bodies: list[bytes]) -> None:
    """Each message on a connection of its own."""

    async def one(body: bytes) -> None:
        async with EhrClient("127.0.0.1", port_of(clinic.hub, "ehr")) as ehr:
            assert (await ehr.send(body)).code == "AA"

    await asyncio.gather(*(one(body) for body in bodies))
    await clinic.quiet()


async def test_first_messages_at_once_with_and_without_authority_make_one_chart(tmp_path: Path) -> None:
    """A scheduler often leaves out the authority that the registration names."""
    count = 20
    async with visits(tmp_path) as clinic:
        sends = [adt("A04", pid(mrn(str(n)))) for n in range(count)]
        sends += [siu("S12", f"F-{n}", at(9), pid(str(n))) for n in range(count)]
        await at_once(clinic, sends)
        assert [len(await clinic.charts(str(n))) for n in range(count)] == [1] * count


async def test_bookings_and_merges_of_one_patient_at_the_same_time_end_in_one_chart(tmp_path: Path) -> None:
    async with visits(tmp_path) as clinic:
        await clinic.tell(adt("A04", pid(mrn("42"))), adt("A04", pid(mrn("77"))))
        bookings = [siu("S12", f"F-{n}", at(8 + n % 8), pid(mrn("42" if n % 2 else "77"))) for n in range(20)]
        await at_once(clinic, [*bookings[:10], merge("42", "77"), *bookings[10:]])
        assert await clinic.quarantined() == []
        chart = await clinic.patient("77")
        assert chart is not None
        assert numbers(chart) == {"42", "77"}
        owners = [await clinic.booking(f"F-{n}") for n in range(20)]
        assert {b.patient_id for b in owners if b is not None} == {chart.id}
        assert None not in owners


async def test_updates_of_one_patient_keep_their_order(tmp_path: Path) -> None:
    async with visits(tmp_path) as clinic:
        for n in range(30):
            await clinic.say(adt("A08", pid(mrn("42"), given=f"N{n}")), siu("S14", "F-1", at(8, n), pid(mrn("42"))))
        await clinic.quiet()
        chart, booking = await clinic.patient("42"), await clinic.booking("F-1")
        assert chart is not None
        assert booking is not None
        assert chart.name.given == "N29"
        assert booking.starts_at == at(8, 29)
