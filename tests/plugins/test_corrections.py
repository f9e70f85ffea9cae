"""What coordinators do: ask something else, take a question over, note a phone call, say yes or no; the chart is never changed
without a yes, and the audit says who did it.
"""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.simulators.clearinghouse import Clearinghouse, Member
from connectors.simulators.ehr import EhrClient
from hub import Patient
from hub.bus.operations import Operations
from hub.errors import Refused
from tests.plugins.clinic import (
    NEAR,
    PATIENCE,
    Clinic,
    RecordingTable,
    adt,
    at,
    eligibility,
    eligibility_file,
    in1,
    jane,
    mrn,
    pid,
    siu,
)
from tests.plugins.test_outcome import RICH, open_items
from tests.support import HubProcess, free_port, run_hub, until

MEDICARE = Member("CMS01", "MEDI", "DOE", "JANE", "19800229", "F", "MEDICARE")


async def booked(clinic: Clinic, member: str = "W999", **card: str) -> None:
    """A visit; with the default the payer does not know the member id."""
    await clinic.tell(adt("A04", pid(mrn("42")), in1(member, **card)), siu("S12", "F-1", at(9), pid(mrn("42"))))


async def do(clinic: Clinic, verb: str, appointment: str = "F-1", **params: Any) -> Any:
    """An action of Ann, and everything that follows from it."""
    found = await Operations(clinic.hub.core, clinic.hub).run(
        f"eligibility.{verb}", {"appointment": appointment, **params}, "ann"
    )
    await clinic.quiet()
    return found


async def card_on_file(clinic: Clinic) -> tuple[str | None, str | None]:
    chart = await clinic.patient("42")
    assert chart is not None
    return chart.coverages[0].member_id, chart.coverages[0].group


# Edit.


async def test_another_member_id_is_asked_and_the_chart_stays(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane()) as clinic:
        await booked(clinic)
        assert await clinic.outcome("F-1") == "not_found"
        await do(clinic, "edit", member_id="W100")
        card = await clinic.card("F-1")
        assert card["outcome"] == "covered"
        assert await card_on_file(clinic) == ("W999", None)
        assert (card["asked_instead"]["member_id"], card["asked_instead"]["by"]) == ("W100", "ann")
        assert card["differences"] == [{"field": "member_id", "ours": "W999", "payers": "W100", "asked": True}]
        assert set(await open_items(clinic)) == {"differences"}


async def test_with_a_yes_the_chart_is_changed_too(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane()) as clinic:
        await booked(clinic)
        await do(clinic, "edit", member_id="W100", save_to_chart=True)
        card = await clinic.card("F-1")
        assert (card["outcome"], card["asked_instead"], card["differences"]) == ("covered", None, [])
        assert await card_on_file(clinic) == ("W100", None)
        assert await open_items(clinic) == {}
        chart = await clinic.patient("42")
        assert chart is not None
        assert (chart.name.family, chart.name.given) == ("Doe", "Jane")


async def test_a_corrected_birth_date_that_the_payer_agrees_with_is_no_other_person(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane(birth_date="19800228")) as clinic:
        await booked(clinic, "W100")
        assert await clinic.outcome("F-1") == "mismatch"
        await do(clinic, "edit", birth_date="1980-02-28")
        card = await clinic.card("F-1")
        assert card["outcome"] == "covered"
        assert [(d["field"], d["asked"]) for d in card["differences"]] == [("birth_date", True)]


async def test_a_corrected_question_is_asked_again_by_itself_until_the_chart_changes(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane(), jane(member_id="W200")) as clinic:
        await booked(clinic)
        await do(clinic, "edit", member_id="W100")
        await do(clinic, "check")
        assert [inquiry.member_id for inquiry in clinic.table.asked] == ["W999", "W100", "W100"]
        await clinic.tell(adt("A08", pid(mrn("42"), f13="555-0100"), in1("W999")))
        assert len(clinic.table.asked) == 3, "a new phone number is no new question"
        await clinic.tell(adt("A08", pid(mrn("42")), in1("W200")))
        assert clinic.table.asked[-1].member_id == "W200"
        assert (await clinic.card("F-1"))["asked_instead"] is None


async def test_corrections_join_and_service_types_are_asked(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane(family="ROE")) as clinic:
        await booked(clinic)
        await do(clinic, "edit", member_id="W100")
        assert await clinic.outcome("F-1") == "mismatch"
        await do(clinic, "edit", family="Roe", service_types="UC 98")
        assert await clinic.outcome("F-1") == "covered"
        last = clinic.table.asked[-1]
        assert (last.member_id, last.service_types) == ("W100", ["UC", "98"])


async def test_a_visit_without_insurance_is_asked_with_what_the_card_says(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane()) as clinic:
        await clinic.tell(adt("A04", pid(mrn("42"))), siu("S12", "F-1", at(9), pid(mrn("42"))))
        assert await clinic.outcome("F-1") == "no_coverage_on_file"
        await do(clinic, "edit", payer="60054", member_id="W100")
        assert await clinic.outcome("F-1") == "covered"
        assert await open_items(clinic) == {}
        chart = await clinic.patient("42")
        assert chart is not None
        assert chart.coverages == []


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "nothing to change": ("edit", {}, "say what"),
    "a payer nobody listed": ("edit", {"payer": "NOBODY"}, "payer list"),
    "a date that is none": ("edit", {"birth_date": "29.2.1980"}, "birth_date"),
    "no code": ("edit", {"service_types": "office visit"}, "service_types"),
    "the same question": ("clone", {}, "different"),
    "nothing suggested": ("accept", {}, "suggests no change"),
    "nothing noted": ("decline", {}, "nothing to decline"),
    "an outcome nobody finds out": ("verified", {"outcome": "pending", "reference": "1"}, "outcome"),
    "no reference": ("verified", {"outcome": "covered", "reference": ""}, "reference"),
    "no amount": ("verified", {"outcome": "covered", "reference": "1", "co_payment": "=1"}, "co_payment"),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_makes_no_sense_is_refused_with_words(tmp_path: Path, what: str) -> None:
    verb, params, words = REFUSED[what]
    async with eligibility(tmp_path, jane()) as clinic:
        await booked(clinic, "W100")
        with pytest.raises(Refused, match=words):
            await do(clinic, verb, **params)


async def test_a_visit_that_does_not_take_place_is_not_asked_about(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane()) as clinic:
        await booked(clinic, "W100")
        await clinic.tell(siu("S15", "F-1", at(9), pid(mrn("42"))))
        for verb, params in {"edit": {"member_id": "1"}, "clone": {"payer": "CMS"}, "accept": {}}.items():
            with pytest.raises(Refused, match="cancelled"):
                await do(clinic, verb, **params)
        with pytest.raises(Refused, match="cancelled"):
            await do(clinic, "verified", outcome="covered", reference="1")


# Clone.


async def test_a_question_is_put_for_another_visit_of_the_patient(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane()) as clinic:
        await booked(clinic)
        await clinic.tell(siu("S12", "F-2", at(10), pid(mrn("42"))))
        await do(clinic, "edit", member_id="W100")
        await do(clinic, "clone", to="F-2")
        assert (await clinic.outcome("F-1"), await clinic.outcome("F-2")) == ("covered", "covered")


async def test_a_question_is_put_to_another_payer_and_about_other_services(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane(), MEDICARE) as clinic:
        await booked(clinic, "W100")
        await do(clinic, "clone", payer="CMS", member_id="MEDI")
        asked = clinic.table.asked[-1]
        assert (asked.payer, asked.member_id) == ("CMS01", "MEDI")
        assert (await clinic.card("F-1"))["payer"] == "Medicare"
        await do(clinic, "clone", service_types="33")
        assert clinic.table.asked[-1].service_types == ["33"]


async def test_a_question_about_one_patient_is_not_put_for_another(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane()) as clinic:
        await booked(clinic, "W100")
        await clinic.tell(siu("S12", "F-2", at(10), pid(mrn("7"), family="ROE")))
        with pytest.raises(Refused, match="different patients"):
            await do(clinic, "clone", to="F-2")


# Verified by phone.


async def test_what_was_found_out_by_phone_counts_and_closes_the_item(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane()) as clinic:
        await booked(clinic)
        assert set(await open_items(clinic)) == {""}
        await do(clinic, "verified", outcome="covered", reference="call 4711", co_payment="20")
        assert await open_items(clinic) == {}
        card = await clinic.card("F-1")
        assert (card["outcome"], card["action"], card["owes"]["co_payment"]) == ("covered", None, "20")
        assert (card["verified"]["by"], card["verified"]["how"]) == ("ann", "phone")
        assert (card["payer_outcome"], card["verified"]["reference"]) == ("not_found", "call 4711"), "both are kept"


async def test_it_counts_until_the_payer_answers(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane(active=False)) as clinic:
        await booked(clinic)
        await do(clinic, "verified", outcome="covered", reference="1")
        await do(clinic, "edit", member_id="W100")
        card = await clinic.card("F-1")
        assert (card["outcome"], card["verified"]) == ("inactive", None)
        assert set(await open_items(clinic)) == {""}


async def test_it_counts_while_the_payer_does_not_answer_and_nobody_is_asked_to_call_again(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane(), plan="{on_booking: true, retry_after: []}") as clinic:
        clinic.table.instead["W100"] = ["AAA*N**42*R"]
        await clinic.tell(adt("A04", pid(mrn("42")), in1()), siu("S12", "F-1", at(9, day=NEAR), pid(mrn("42"))))
        assert set(await open_items(clinic)) == {""}
        await do(clinic, "verified", outcome="covered", reference="1")
        await do(clinic, "check")
        card = await clinic.card("F-1")
        assert (card["outcome"], card["payer_outcome"]) == ("covered", "payer_unavailable")
        assert await open_items(clinic) == {}


async def test_it_counts_for_another_hour_and_not_for_another_day(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane(), plan="{on_booking: true, retry_after: []}") as clinic:
        clinic.table.instead["W100"] = ["AAA*N**42*R"]
        await booked(clinic, "W100")
        await do(clinic, "verified", outcome="covered", reference="1")
        await clinic.tell(siu("S13", "F-1", at(11), pid(mrn("42"))))
        assert (await clinic.card("F-1"))["verified"] is not None
        await clinic.tell(siu("S13", "F-1", at(11) + timedelta(days=1), pid(mrn("42"))))
        assert (await clinic.card("F-1"))["verified"] is None


# A yes or a no.


async def test_the_payers_member_id_is_taken_over_only_on_a_yes(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane(group="G-9")) as clinic:
        await booked(clinic)
        await do(clinic, "edit", member_id="W100")
        assert await card_on_file(clinic) == ("W999", None)
        await do(clinic, "accept")
        assert await card_on_file(clinic) == ("W100", None)
        card = await clinic.card("F-1")
        assert (card["outcome"], card["differences"], card["asked_instead"]) == ("covered", [], None)
        assert await open_items(clinic) == {}


async def test_a_no_is_remembered_as_long_as_the_payer_says_the_same(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane(given="JANET")) as clinic:
        await booked(clinic, "W100")
        await do(clinic, "decline")
        await do(clinic, "check")
        assert await open_items(clinic) == {}
        clinic.table.members["60054", "W100"] = jane(given="JANINA")
        await do(clinic, "check")
        assert set(await open_items(clinic)) == {"differences"}


async def test_a_plan_that_took_the_place_of_medicare_is_registered_on_a_yes_and_asked(tmp_path: Path) -> None:
    benefits = (
        "EB*1**30*MB",
        "EB*R**30*HN*AETNA ADVANTAGE",
        "REF*IG*W100",
        "LS*2120",
        "NM1*PRP*2*AETNA*****PI*60054",
        "LE*2120",
    )
    async with eligibility(tmp_path, jane(), Member("CMS01", "MEDI", "DOE", "JANE", "19800229", benefits=benefits)) as clinic:
        await booked(clinic, "MEDI", payer="MCR")
        assert await clinic.outcome("F-1") == "covered_elsewhere"
        chart = await clinic.patient("42")
        assert chart is not None
        assert [c.payer for c in chart.coverages] == ["MCR"]
        await do(clinic, "accept")
        chart = await clinic.patient("42")
        assert chart is not None
        assert [(c.payer, c.member_id, c.priority) for c in chart.coverages] == [("60054", "W100", 1), ("MCR", "MEDI", 2)]
        card = await clinic.card("F-1")
        assert (card["outcome"], card["payer"]) == ("covered", "Aetna")


async def test_another_insurance_is_registered_behind_and_two_suggestions_are_told_apart(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane(group="G-9", benefits=RICH)) as clinic:
        await booked(clinic, "W100", group="G-8")
        with pytest.raises(Refused, match="two changes"):
            await do(clinic, "accept")
        await do(clinic, "accept", change="payer", member_id="X1")
        chart: Patient | None = await clinic.patient("42")
        assert chart is not None
        assert [(c.payer_name, c.member_id) for c in chart.coverages] == [("AETNA", "W100"), ("ACME HEALTH", "X1")]
        assert chart.coverages[0].group == "G-8"


# The audit.


async def test_the_audit_says_who_did_what_and_keeps_no_patient_data(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane()) as clinic:
        await booked(clinic)
        await do(clinic, "edit", member_id="W100", family="Roe", birth_date="1980-02-29")
        await do(clinic, "verified", outcome="covered", reference="Mrs Miller said so")
        rows = [r for r in await clinic.hub.core.reader.audit_rows() if r.action.startswith("eligibility.")]
        assert [(r.actor, r.action, r.object) for r in rows] == [
            ("ann", "eligibility.edit", "F-1"),
            ("ann", "eligibility.verified", "F-1"),
        ]
        text = " ".join(r.detail for r in rows)
        assert "outcome=covered" in text
        assert "member_id=" in text
        for secret in ("W100", "Roe", "1980", "Miller"):
            assert secret not in text


# The commands, and a hub that dies.


async def test_the_commands_do_it_and_what_they_did_survives_kill_9(tmp_path: Path) -> None:
    port = free_port()
    async with Clearinghouse() as house:
        house.table = RecordingTable([jane(group="G-9")])
        file = eligibility_file(tmp_path, house.port, ehr_port=port)
        hub = HubProcess(file)
        await asyncio.to_thread(hub.start)

        async def say(*words: str, code: int = 0) -> str:
            done = await asyncio.to_thread(run_hub, "eligibility", *words, "-c", file)
            assert done.returncode == code, done.stderr
            return done.stdout or done.stderr

        async def is_(outcome: str) -> bool:
            return bool(json.loads(await say("show", "F-1", "--json"))["outcome"] == outcome)

        try:
            async with EhrClient("127.0.0.1", port) as ehr:
                for body in (adt("A04", pid(mrn("42")), in1("W999")), siu("S12", "F-1", at(9), pid(mrn("42")))):
                    assert (await ehr.send(body)).code == "AA"
            await until(lambda: is_("not_found"), PATIENCE)
            assert "checked as soon as" in await say("edit", "F-1", "--member-id", "W100")
            await asyncio.to_thread(hub.kill)
            await asyncio.to_thread(hub.start)
            await until(lambda: is_("covered"), PATIENCE)
            card = await say("show", "F-1", "--raw")
            for words in ("COVERED", "co-pay", "25 (segment", "the payer did not say", "member_id: chart W999, payer W100",
                          "asked instead", "attempt", "NM1*IL*1*DOE*JANE****MI*W100~\n"):  # fmt: skip
                assert words in card, card
            assert json.loads(await say("show", "F-1", "--raw", "--json"))["raw"].startswith("ISA*")
            assert "checked as soon as" in await say("accept", "F-1")
            await until(lambda: is_("covered"), PATIENCE)
            assert "noted" in await say("verified", "F-1", "--by-phone", "--outcome", "inactive", "--reference", "call 1")
            assert "verified        by phone" in await say("show", "F-1")
            assert "reference" in await say("verified", "F-1", "--outcome", "covered", code=2)
            assert "nothing to decline" in await say("decline", "F-1", code=5)
            assert "different" in await say("clone", "F-1", code=2)
        finally:
            await asyncio.to_thread(hub.terminate)
