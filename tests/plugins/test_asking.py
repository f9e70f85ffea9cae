"""How a payer is asked: no more at once than it takes, in its hours, otherwise after a rejection, not while it refuses us."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from hub import Appointment, Coverage, CoverageCheck, Patient, Person, Visit
from hub.errors import HubError
from hub.records import SEARCHES, CoverageAttempt, OpenHours, Organisation, Payer, Rejection
from plugins.eligibility.searches import MOST_SEARCHES, changed, next_search, with_fields
from plugins.eligibility.times import opens_at
from tests.plugins.clinic import DAY, ZONE, Clinic, adt, at, eligibility, in1, jane, mrn, pid, siu
from tests.support import ask, until

HEAD = "payer,name,clearinghouse_id,also,service_types,check,medicare"


def payers(columns: str, cells: str) -> str:
    """Aetna with more columns, and Medicare as it is."""
    empty = "," * (cells.count(",") + 1)
    return f"{HEAD},{columns}\n60054,Aetna,60054,AETNA,30 98,yes,,{cells}\nCMS,Medicare,CMS01,MCR,30,yes,yes{empty}\n"


async def booked(
    clinic: Clinic, number: int, *, member: str = "W100", payer: str = "60054", day: date = DAY, **who: str
) -> None:
    patient = pid(mrn(str(number)), **who)
    await clinic.say(adt("A04", patient, in1(member, payer)), siu("S12", f"F-{number}", at(9, day=day), patient))


# How many at once, and when.


async def test_a_payer_has_no_more_questions_at_once_than_it_takes_and_blocks_no_other(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane(), payers=payers("at_once", "2")) as clinic:
        house = clinic.clearinghouse
        assert house is not None
        house.behaviour.delay = 0.2
        out: list[int] = []

        async def watch() -> None:
            while True:
                out.append(house.requests - len(clinic.table.asked))
                await asyncio.sleep(0.005)

        watcher = asyncio.create_task(watch())
        for number in range(8):
            await booked(clinic, number, payer="CMS" if number == 7 else "60054", member="MEDI" if number == 7 else "W100")
        await until(lambda: len(clinic.table.asked) == 8)
        watcher.cancel()
        assert "CMS01" in [inquiry.payer for inquiry in clinic.table.asked][:-2], "Medicare did not wait for Aetna's seven"
        assert max(out) == 3, "two of Aetna, and one of Medicare"


NEW_YORK = ZoneInfo("America/New_York")


def open_on(*hours: tuple[int, str, str]) -> Payer:
    listed = tuple(OpenHours(day=day, opens=opens, closes=closes) for day, opens, closes in hours)  # type: ignore[arg-type]
    return Payer(payer="1", name="A", clearinghouse_id="1", hours=listed, zone="America/New_York")


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-11-23T06:59", "2026-11-23T07:00"),
        ("2026-11-23T07:00", "2026-11-23T07:00"),
        ("2026-11-23T18:59", "2026-11-23T18:59"),
        ("2026-11-23T19:00", "2026-11-24T07:00"),
        ("2026-11-27T20:00", "2026-11-30T07:00"),
        ("2026-11-01T05:00", "2026-11-02T07:00"),
    ],
    ids=["before", "as it opens", "in time", "as it closes", "over a weekend", "on the day the clocks go back"],
)
def test_a_payer_is_asked_in_its_hours_where_it_is(now: str, expected: str) -> None:
    week = open_on(*((day, "07:00", "19:00") for day in range(5)))
    moment, wanted = (datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).astimezone(UTC) for text in (now, expected))
    assert opens_at(week, moment, ZONE) == wanted


async def test_a_check_outside_of_a_payers_hours_waits_until_it_opens_and_a_person_need_not(tmp_path: Path) -> None:
    closed = datetime.now(UTC).astimezone(ZONE) + timedelta(days=2)
    day = ("mo", "tu", "we", "th", "fr", "sa", "su")[closed.weekday()]
    async with eligibility(tmp_path, jane(), payers=payers("hours,zone", f"{day} 07:00-19:00,America/Chicago")) as clinic:
        await booked(clinic, 1)
        await clinic.quiet()
        check = await clinic.check("F-1")
        assert (check.outcome, check.cause, clinic.table.asked) == ("pending", "Aetna is closed", [])
        row = await clinic.hub.core.reader.due("eligibility", "F-1/opens")
        assert row is not None
        assert datetime.fromtimestamp(row.at / 1e6, ZONE) == closed.replace(hour=7, minute=0, second=0, microsecond=0)
        await ask(clinic.hub, "eligibility.check", appointment="F-1")
        await clinic.reaches("F-1", "covered")


async def test_service_types_go_by_the_appointments_type_and_fields_by_the_payer(tmp_path: Path) -> None:
    wide = payers("types,fields", "office=UC,member_id name birth_date group")
    async with eligibility(tmp_path, jane(), payers=wide) as clinic:
        patient = pid(mrn("1"))
        await clinic.tell(adt("A04", patient, in1(group="G-7")), siu("S12", "F-1", at(9), patient))
        assert clinic.table.asked[0].service_types == ["UC"]
        sent = clinic.table.asked[0]
        assert sent.birth_dates == ["22:19800229"]
        assert (await clinic.check("F-1")).attempts[0].service_types == ["UC"]


# Again, and otherwise.

SOMEBODY = Visit(
    appointment=Appointment(id="F-1"),
    patient=Patient(
        name=Person(family="O'Donnell-Griswold", given="Jane", middle="M", suffix="III", sex="F", birth_date=date(1980, 2, 29))
    ),
    coverage=Coverage(member_id="W100", group="G-7"),
    payer=Payer(payer="1", name="A", clearinghouse_id="1", searches=SEARCHES),
    organisation=Organisation(name="Clinic", npi="1234567893"),
    service_date=date(2026, 12, 24),
)
CHILD = SOMEBODY.model_copy(
    update={
        "coverage": Coverage(
            member_id="W100", relationship="child", subscriber=Person(family="Doe", given="Ann", birth_date=date(1955, 1, 1))
        )
    }
)
TODAY = date(2026, 12, 1)


def said(*codes: str) -> list[Rejection]:
    return [Rejection(loop="2100C", code=code, text="", who="", action="") for code in codes]


def tried(*searches: str) -> CoverageCheck:
    attempts = [
        CoverageAttempt(trace=f"T{n}", search=s, asked_at=datetime(2026, 12, 1, tzinfo=UTC)) for n, s in enumerate(searches)
    ]
    return CoverageCheck(id="F-1", attempts=attempts)


@pytest.mark.parametrize(
    ("codes", "visit", "before", "expected"),
    [
        (("72",), SOMEBODY, ("",), "without_id"),
        (("64",), SOMEBODY, ("",), "without_id"),
        (("72",), SOMEBODY, ("", "without_id"), None),
        (("72",), SOMEBODY, ("", "without_id", ""), "without_id"),
        (("73",), SOMEBODY, ("",), "plain_name"),
        (("73",), SOMEBODY, ("", "plain_name"), "without_middle"),
        (("74",), SOMEBODY, ("",), "without_sex"),
        (("75",), CHILD, ("",), "as_subscriber"),
        (("75",), SOMEBODY, ("",), None),
        (("77",), CHILD, ("",), "as_subscriber"),
        (("78",), SOMEBODY, ("",), "without_group"),
        (("78",), CHILD, ("",), None),
        (("62",), SOMEBODY, ("",), "as_of_today"),
        (("62",), SOMEBODY.model_copy(update={"service_date": TODAY}), ("",), None),
        (("73", "72"), SOMEBODY, ("",), "without_id"),
        (("71",), SOMEBODY, ("",), None),
        (("72", "71"), SOMEBODY, ("",), None),
        (("76",), SOMEBODY, ("",), None),
        (("15",), SOMEBODY, ("",), None),
        (("ZZ",), SOMEBODY, ("",), None),
        ((), SOMEBODY, ("",), None),
    ],
)
def test_what_is_asked_after_a_rejection(
    codes: tuple[str, ...], visit: Visit, before: tuple[str, ...], expected: str | None
) -> None:
    """x12.md 4.6: each way once, where the data allow it; what needs a correction waits for a person."""
    assert next_search(tried(*before), said(*codes), visit, TODAY) == expected


def test_a_payer_that_allows_no_other_way_is_not_asked_in_one() -> None:
    strict = SOMEBODY.model_copy(update={"payer": Payer(payer="1", name="A", clearinghouse_id="1", searches=("plain_name",))})
    assert next_search(tried(""), said("72"), strict, TODAY) is None
    assert next_search(tried(""), said("72", "73"), strict, TODAY) == "plain_name"


def test_no_more_questions_go_out_by_themselves_than_the_rules_permit() -> None:
    assert next_search(tried("", *["x"] * MOST_SEARCHES), said("72"), SOMEBODY, TODAY) is None


def test_what_each_way_changes() -> None:
    def way(search: str, visit: Visit = SOMEBODY) -> Any:
        other = changed(visit, search, TODAY)
        assert other is not None
        return other

    assert way("without_id").coverage.member_id is None
    assert way("plain_name").patient.name.family == "ODONNELLGRISWOLD"
    assert way("plain_name").patient.name.suffix is None
    assert way("without_middle").patient.name.middle is None
    assert way("without_sex").patient.name.sex is None
    assert (way("as_subscriber", CHILD).coverage.relationship, way("as_subscriber", CHILD).coverage.subscriber) == (
        "self",
        None,
    )
    assert way("without_group").coverage.group is None
    assert way("as_of_today").service_date == TODAY
    plain = with_fields(SOMEBODY, ("name", "birth_date"))
    assert changed(plain, "without_id", TODAY) is None, "there is no id to leave out"
    assert (plain.coverage and plain.coverage.member_id, plain.patient.name.sex, plain.patient.name.family) == (
        None, None, "O'Donnell-Griswold",
    )  # fmt: skip


async def test_a_member_id_the_payer_does_not_know_is_asked_for_without_it(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane(), payers=payers("searches", "without_id")) as clinic:
        await booked(clinic, 1, member="OLD")
        await clinic.reaches("F-1", "covered")
        check = await clinic.check("F-1")
        assert [(a.search, a.codes, a.outcome) for a in check.attempts] == [
            ("", ["72"], "not_found"),
            ("without_id", [], "covered"),
        ]
        assert len({a.trace for a in check.attempts}) == 2


async def test_when_no_other_way_helps_what_counts_is_what_was_said_to_the_data_as_they_are(tmp_path: Path) -> None:
    async with eligibility(tmp_path, payers=payers("searches", "without_id as_subscriber")) as clinic:
        await booked(clinic, 1, member="OLD")
        await clinic.reaches("F-1", "not_found")
        await clinic.quiet()
        check = await clinic.check("F-1")
        assert (check.cause, [a.search for a in check.attempts]) == ("AAA 72", ["", "without_id"])
        assert [item["cause"] for item in await clinic.to_do()] == ["AAA 72"]


# A payer that refuses.


async def test_a_provider_the_payer_does_not_know_is_one_problem_however_many_visits_wait(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane(), plan="{on_booking: true, probe_after: 1h}") as clinic:
        clinic.table.instead["W100"] = ["AAA*N**51*N"]
        await booked(clinic, 0)
        await clinic.quiet()
        for number in range(1, 25):
            await booked(clinic, number)
        await clinic.quiet()
        (item,) = await clinic.to_do()
        assert (item["who"], item["appointment"], item["cause"]) == ("it", None, "Aetna: AAA 51")
        assert len(clinic.table.asked) == 1, "and nothing more was asked"
        cards = [await clinic.card(f"F-{number}") for number in range(25)]
        assert {(c["outcome"], c["cause"], c["action"], c["who"]) for c in cards} == {("unclear", "AAA 51", None, None)}
        (stop,) = await ask(clinic.hub, "eligibility.stops")
        assert (stop["payer"], stop["provider"], stop["cause"]) == ("60054", "1234567893", "AAA 51")

        await booked(clinic, 30, payer="CMS", member="MEDI")
        await clinic.quiet()
        assert clinic.table.asked[-1].payer == "CMS01", "others are asked all the same"

        del clinic.table.instead["W100"]
        assert (await ask(clinic.hub, "eligibility.resume", payer="AETNA"))["visits"] == 25
        await clinic.quiet()
        assert {await clinic.outcome(f"F-{number}") for number in range(25)} == {"covered"}
        assert [i for i in await clinic.to_do() if i["who"] == "it"] == []
        assert await ask(clinic.hub, "eligibility.stops") == []
        with pytest.raises(HubError, match="nothing keeps"):
            await ask(clinic.hub, "eligibility.resume", payer="AETNA")


async def test_one_question_now_and_then_finds_out_that_it_is_over(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane(), plan="{on_booking: true, probe_after: 400ms}") as clinic:
        clinic.table.instead["W100"] = ["AAA*N**50*N"]
        await booked(clinic, 0)
        await clinic.reaches("F-0", "unclear")
        for number in range(1, 6):
            await booked(clinic, number)
        await until(lambda: len(clinic.table.asked) >= 3)
        assert len(await clinic.to_do()) == 1
        del clinic.table.instead["W100"]
        for number in range(6):
            await clinic.reaches(f"F-{number}", "covered")
        await clinic.quiet()
        assert await clinic.to_do() == []


async def test_a_person_may_ask_although_the_payer_refuses(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane(), plan="{on_booking: true, probe_after: 1h}") as clinic:
        clinic.table.instead["W100"] = ["AAA*N**41*N"]
        await booked(clinic, 1)
        await clinic.quiet()
        await booked(clinic, 2)
        await clinic.quiet()
        del clinic.table.instead["W100"]
        await ask(clinic.hub, "eligibility.check", appointment="F-1")
        await clinic.reaches("F-2", "covered")
        assert await clinic.outcome("F-1") == "covered"
        assert await clinic.to_do() == []


async def test_the_commands_list_who_refuses_and_ask_again(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from plugins.commands.eligibility import eligibility as group

    async def said(*arguments: str) -> str:
        config = str(tmp_path / "clinic.yaml")
        result = await asyncio.to_thread(CliRunner().invoke, group, [*arguments, "-c", config])
        assert result.exit_code == 0, result.output
        return result.output

    async with eligibility(tmp_path, jane(), plan="{on_booking: true, probe_after: 1h}") as clinic:
        clinic.table.instead["W100"] = ["AAA*N**50*N"]
        await booked(clinic, 1)
        await clinic.quiet()
    assert "AAA 50" in await said("stops")
    assert "about 1 visits that waited" in await said("resume", "AETNA")
    assert "no payer refuses us" in await said("stops")
    assert await said("stops", "--json") == ""


async def test_each_payer_has_a_target_of_its_own_for_its_answers(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane(), payers=payers("target", "1ms")) as clinic:
        assert clinic.clearinghouse is not None
        clinic.clearinghouse.behaviour.delay = 0.05
        await booked(clinic, 1)
        await booked(clinic, 2, payer="CMS", member="MEDI")
        await clinic.quiet()
        lines = {line["payer"]: line for line in await ask(clinic.hub, "eligibility.stats")}
        assert [(lines[id]["target_s"], lines[id]["in_target"]) for id in ("60054", "CMS")] == [(0.001, 0.0), (20.0, 1.0)]
