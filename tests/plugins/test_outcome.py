"""What an answer leaves with its visit: amounts with their reasons, notes beside the outcome, and when those go again."""

from __future__ import annotations

from pathlib import Path

from connectors.simulators.ehr import EhrClient, segment
from hub import WorklistItem
from tests.plugins.clinic import (
    DAY,
    SHARED,
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
from tests.support import ask, port_of, running_hub

RICH = (
    "EB*A**98*****.2***N*Y",
    "EB*G*IND*30***29*900*****Y",
    "EB*R**30**SECOND PLAN",
    "LS*2120",
    "NM1*SEP*2*ACME HEALTH*****PI*88001",
    "LE*2120",
)


async def booked(clinic: Clinic) -> None:
    await clinic.tell(adt("A04", pid(mrn("42")), in1()), siu("S12", "F-1", at(9), pid(mrn("42"))))


async def open_items(clinic: Clinic) -> dict[str, WorklistItem]:
    """By topic."""
    items = await clinic.hub.core.context("test").find(WorklistItem, "open_for", "F-1")
    assert len({item.topic for item in items}) == len(items), "one for each topic"
    return {item.topic: item for item in items}


async def test_the_card_has_every_amount_with_its_segment_and_why(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane(benefits=RICH)) as clinic:
        await booked(clinic)
        card = await clinic.card("F-1")
        said = {name: (chosen["value"], chosen["why"]) for name, chosen in card["chosen"].items()}
        assert said == {
            "co_payment": ("25", "co-payment in network"),
            "co_insurance": (".2", "co-insurance in network"),
            "deductible_remaining": ("310.50", "remaining individual deductible in network"),
            "out_of_pocket_remaining": ("900", "remaining individual out-of-pocket limit in network"),
            "authorization": ("N", "as the payer says"),
        }
        text = clinic.table.answers[-1]
        segments = text[text.index("ST*") :].split("~")
        places = {name: [segments[n - 1].split("*")[1] for n in chosen["segments"]] for name, chosen in card["chosen"].items()}
        assert places == {
            "co_payment": ["B"], "co_insurance": ["A"], "deductible_remaining": ["C"], "out_of_pocket_remaining": ["G"],
            "authorization": ["A"],
        }  # fmt: skip
        assert (card["authorization"], card["owes"]["out_of_pocket_remaining"]) == ("not required", "900")


async def test_what_the_payer_did_not_say_is_null_and_never_zero(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane(co_payment=None, deductible_remaining=None)) as clinic:
        await booked(clinic)
        card = await clinic.card("F-1")
        assert set(card["chosen"].values()) == {None}
        assert card["authorization"] is None
        assert card["owes"] == {
            "co_payment": None, "deductible_remaining": None, "out_of_pocket_remaining": None, "segments": [],
        }  # fmt: skip


async def test_a_difference_is_noted_beside_the_outcome_and_goes_when_the_chart_is_corrected(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane(given="JANET")) as clinic:
        await booked(clinic)
        assert await clinic.outcome("F-1") == "covered"
        (item,) = (await open_items(clinic)).values()
        assert (item.topic, item.who, item.cause) == ("differences", "coordinator", "differs: given name")
        assert "Janet" not in item.text
        card = await clinic.card("F-1")
        assert card["differences"] == [{"field": "given", "ours": "Jane", "payers": "JANET", "asked": False}]
        assert (card["notes"], card["action"]) == ([item.text], None)
        problems = await ask(clinic.hub, "eligibility.list", date=DAY.isoformat(), state="problem")
        assert [line["appointment"] for line in problems] == ["F-1"]
        await clinic.tell(adt("A08", pid(mrn("42"), given="JANET"), in1()))
        assert await open_items(clinic) == {}
        assert (await clinic.card("F-1"))["notes"] == []


async def test_another_birth_date_is_a_mismatch(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane()) as clinic:
        clinic.table.instead["W100"] = ["DMG*D8*19800228*F", "EB*1**30"]
        await booked(clinic)
        card = await clinic.card("F-1")
        assert (card["outcome"], card["who"], card["cause"]) == ("mismatch", "coordinator", "differs: birth date")
        assert {topic: item.text for topic, item in (await open_items(clinic)).items()} == {"": card["action"]}


async def test_another_insurance_is_noted_and_one_that_pays_before_medicare_is_the_outcome(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane(benefits=RICH)) as clinic:
        await booked(clinic)
        items = await open_items(clinic)
        assert set(items) == {"other payer"}
        assert "ACME HEALTH" in items["other payer"].text
        clinic.table.instead["W100"] = ["EB*1**30*MB", "EB*R**30*12*EMPLOYER PLAN"]
        await ask(clinic.hub, "eligibility.check", appointment="F-1")
        await clinic.quiet()
        card = await clinic.card("F-1")
        assert (card["outcome"], card["cause"]) == ("covered_elsewhere", "pays before Medicare")
        assert [other["kind"] for other in card["others"]] == ["medicare_secondary"]
        assert set(await open_items(clinic)) == {""}


async def test_the_notes_go_with_the_visit(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane(given="JANET", benefits=RICH)) as clinic:
        await booked(clinic)
        assert set(await open_items(clinic)) == {"differences", "other payer"}
        await clinic.tell(siu("S15", "F-1", at(9), pid(mrn("42"))))
        assert await open_items(clinic) == {}


async def test_the_notes_stay_while_the_payer_does_not_answer(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane(given="JANET"), plan="{on_booking: true, retry_after: []}") as clinic:
        await booked(clinic)
        clinic.table.instead["W100"] = ["AAA*N**42*R"]
        await ask(clinic.hub, "eligibility.check", appointment="F-1")
        await clinic.quiet()
        assert set(await open_items(clinic)) == {"differences"}


OUT_OF_NETWORK = """payer,name,clearinghouse_id,service_types,network,places
60054,Aetna,60054,30 98,out,VIDEO=02; OFFICE=10
"""
VIDEO = ("EB*B**98***27*40*****N", "III*ZZ*10", "EB*B**98***27*70*****N", "III*ZZ*11")


async def test_the_co_payment_is_that_of_the_clinics_network_and_the_visits_place(tmp_path: Path) -> None:
    """What the payer list says of the network, and of the place for appointments of this type."""
    house = SHARED[0].clearinghouse
    house.table = RecordingTable([jane(benefits=VIDEO), jane(member_id="W200")])
    file = eligibility_file(tmp_path, house.port)
    (tmp_path / "payers.csv").write_text(OUT_OF_NETWORK, encoding="utf-8")
    async with running_hub(file) as hub, EhrClient("127.0.0.1", port_of(hub, "ehr")) as ehr:
        clinic = Clinic(hub, ehr)
        await booked(clinic)
        await clinic.reaches("F-1", "covered")
        assert (await clinic.card("F-1"))["chosen"]["co_payment"] | {"segments": []} == {
            "value": "40", "segments": [], "why": "co-payment out of network",
        }  # fmt: skip
        await clinic.tell(adt("A08", pid(mrn("42")), in1("W200")))
        await clinic.quiet()
        card = await clinic.card("F-1")
        assert card["owes"]["co_payment"] == "255", "the row of no place in particular"
        assert card["owes"]["deductible_remaining"] is None, "what is left in network is not left here"


async def test_the_notes_go_when_nobody_is_asked_any_more(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane(given="JANET")) as clinic:
        await booked(clinic)
        assert set(await open_items(clinic)) == {"differences"}
        await clinic.tell(adt("A08", pid(mrn("42")), segment("PV1", f2="O", f20="SP")))
        assert await clinic.outcome("F-1") == "self_pay"
        assert await open_items(clinic) == {}
