"""Coverage before the visit: every outcome through a real hub and a simulated payer, and what must not go wrong on the way."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
import pytest_asyncio

from connectors.simulators.clearinghouse import Clearinghouse, Inquiry, Member
from connectors.simulators.ehr import EhrClient, segment
from hub import Appointment, CoverageCheck, Due
from hub.bus.trial import Trial, message_for, try_flow
from hub.cli.operate import operate
from hub.formats.x12 import codes
from hub.records import Outcome, Payer, Rejection
from plugins.eligibility.outcome import decide
from plugins.eligibility.steps import PlanChecksConfig
from tests.plugins.clinic import (
    DAY,
    NEAR,
    PATIENCE,
    PLAN,
    ZONE,
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
    read_clinic,
    siu,
)
from tests.support import HubProcess, ask, free_port, port_of, running_hub, until

# What an answer comes to.

NOT_FOUND = ("64", "67", "72", "75", "77", "78")
MISMATCH = ("58", "65", "66", "71", "73", "74")
FOR_IT = ("04", "33", "41", "43", "44", "45", "46", "47", "48", "50", "51", "97", "T4")
OTHERS = ("15", "35", "49", "52", "53", "54", "55", "56", "57", "60", "61", "62", "63", "68", "69", "70", "76", "98")
NOT_IN_OUR_TABLE = ("AA", "AE", "AF", "AG", "AO", "CI", "E8", "IA", "MA", "ZZ", "")
EVERY_CODE = (*NOT_FOUND, *MISMATCH, *FOR_IT, *OTHERS, "42", "79", "80", *NOT_IN_OUR_TABLE)


def rejected(*given: str, status: str = "rejected") -> CoverageCheck:
    def one(code: str) -> Rejection:
        meaning = codes.rejection(code)
        return Rejection(loop="2100C", code=code, follow_up="C", text=meaning.text, who=meaning.who, action=meaning.action)

    return CoverageCheck(id="F-1", status=status, rejections=[one(code) for code in given])


@pytest.mark.parametrize("code", EVERY_CODE)
def test_every_rejection_has_an_outcome_somebody_who_acts_and_the_payers_words(code: str) -> None:
    decision = decide(rejected(code), None)
    assert decision.outcome in get_args(Outcome)
    assert decision.outcome not in ("covered", "self_pay", "no_coverage_on_file", "pending", "withdrawn")
    assert decision.who in ("coordinator", "it", "hub")
    assert decision.cause == f"AAA {code}"
    assert decision.action is not None
    assert codes.rejection(code).text in decision.action


@pytest.mark.parametrize(
    ("code", "outcome", "who"),
    [
        *((code, "not_found", "coordinator") for code in NOT_FOUND),
        *((code, "mismatch", "coordinator") for code in MISMATCH),
        *((code, "unclear", "it") for code in FOR_IT),
        *((code, "unclear", "coordinator") for code in ("15", "56", "62", "63", "68", "76")),
        *((code, "unclear", "coordinator") for code in NOT_IN_OUR_TABLE),
        ("42", "payer_unavailable", "hub"),
        ("80", "payer_unavailable", "hub"),
        ("79", "payer_unavailable", "it"),
    ],
)
def test_a_rejection_goes_to_who_can_do_something_about_it(code: str, outcome: str, who: str) -> None:
    """x12.md 4.6 and the AAA table of ui_security.md A4."""
    decision = decide(rejected(code), None)
    assert (decision.outcome, decision.who) == (outcome, who)


@pytest.mark.parametrize("follow_up", [*codes.FOLLOW_UP, None, "?"])
def test_a_payer_is_asked_again_unless_it_says_not_to_or_not_for_days(follow_up: str | None) -> None:
    """AAA04 (x12.md 4.6)."""
    answer = rejected("42")
    answer = answer.model_copy(update={"rejections": [answer.rejections[0].model_copy(update={"follow_up": follow_up})]})
    decision = decide(answer, None)
    assert decision.again == (follow_up not in ("N", "S", "W", "X", "Y"))
    assert (decision.outcome, decision.who) == ("payer_unavailable", "hub" if decision.again else "coordinator")


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        (("73", "72"), "not_found"),
        (("42", "71"), "mismatch"),
        (("42", "43"), "unclear"),
        (("71", "73"), "mismatch"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else value,
)
def test_of_several_rejections_none_is_kept_quiet(given: tuple[str, ...], outcome: str) -> None:
    """CAQH CORE rule 259: none is collapsed into another; what a person can do is not left to a retry."""
    decision = decide(rejected(*given), None)
    assert decision.outcome == outcome
    assert decision.who != "hub"
    assert decision.action is not None
    assert decision.cause is not None
    for code in given:
        assert codes.rejection(code).text in decision.action
        assert code in decision.cause


def test_an_active_plan_with_a_rejection_is_shown_as_both() -> None:
    decision = decide(rejected("33", status="active_review"), None)
    assert (decision.outcome, decision.who, decision.cause) == ("unclear", "coordinator", "AAA 33")
    assert "active" in (decision.action or "")


MEDICARE = Payer(payer="CMS", name="Medicare", clearinghouse_id="CMS", medicare=True)
AETNA = Payer(payer="60054", name="Aetna", clearinghouse_id="60054")
BY_STATUS: list[tuple[str | None, str | None, Payer | None, str]] = [
    ("active", None, AETNA, "covered"),
    ("active", None, None, "covered"),
    ("active", "Sunrise", MEDICARE, "covered_elsewhere"),
    ("active_review", "Sunrise", MEDICARE, "covered_elsewhere"),
    ("active", "Sunrise", AETNA, "covered"),
    ("inactive", "Sunrise", MEDICARE, "inactive"),
    ("inactive", None, AETNA, "inactive"),
    ("active_review", None, AETNA, "unclear"),
    ("not_covered", None, AETNA, "unclear"),
    ("unknown", None, AETNA, "unclear"),
    ("rejected", None, AETNA, "unclear"),
    ("something new", None, AETNA, "unclear"),
    (None, None, None, "unclear"),
]


@pytest.mark.parametrize(("status", "other", "payer", "outcome"), BY_STATUS)
def test_every_status_has_an_outcome_and_all_but_covered_say_what_to_do(
    status: str | None, other: str | None, payer: Payer | None, outcome: str
) -> None:
    decision = decide(CoverageCheck(id="F-1", status=status, other_payer=other), payer)
    assert decision.outcome == outcome
    if outcome == "covered":
        assert (decision.action, decision.who, decision.cause) == (None, None, None)
    else:
        assert decision.action
        assert decision.cause
        assert decision.who in ("coordinator", "it")
    if outcome == "covered_elsewhere":
        assert "Sunrise" in (decision.action or "")


def test_an_answer_that_could_not_be_used_is_for_it_whatever_else_it_says() -> None:
    decision = decide(
        CoverageCheck(id="F-1", status="active", failure="The payer refused the form of our inquiry (999)."), AETNA
    )
    assert (decision.outcome, decision.who) == ("unclear", "it")
    assert "999" in (decision.action or "")


# One day with every outcome, played once.


@dataclass
class Expected:
    """One visit of the day: what is sent for it, and how it has to come out."""

    outcome: str
    chart: tuple[str, ...] = ()
    """Segments of the registration after EVN; none when the chart never comes."""
    who: str | None = None
    words: str = ""
    """Must be in what is to be done."""
    cause: str | None = None
    owes: tuple[str | None, str | None] = (None, None)
    payer: str | None = "Aetna"
    then: str = ""
    """A trigger that follows the booking once that was asked."""
    hour: int = 9
    day: date = DAY


def _known(member: str, **changes: Any) -> Member:
    return jane(member_id=member, **changes)


def _chart(member: str, payer: str = "60054", **changes: str) -> tuple[str, ...]:
    return (in1(member, payer, **changes),)


CHILD = Member(
    "60054", "DEP1", "DOE", "ANNA", "19550101", "F", "FAMILY", True, "20", "1200", dependents=(("JANE", "DOE", "19800229"),)
)
ADVANTAGE = (
    "EB*1**30*MA",
    "EB*1**30*MB",
    "EB*R**30*HN*SUNRISE ADVANTAGE",
    "LS*2120",
    "NM1*PRP*2*SUNRISE HEALTH*****PI*H1",
    "LE*2120",
)
MEMBERS = (
    _known("COV1"),
    _known("COV2", co_payment=None, deductible_remaining=None),
    _known("COUNT9", wrong_count=True),
    _known("LATER9", unavailable=2),
    CHILD,
    Member("CMS01", "MEDI", "DOE", "JANE", "19800229", "F", "MEDICARE", benefits=ADVANTAGE),
    _known("ENDED9", active=False),
    _known("BORN9", birth_date="19800228"),
    _known("NAME9", family="ROE"),
    _known("NEVER9", unavailable=1000),
    _known("NEVER8", unavailable=1000),
    _known("R999", reply="999"),
    _known("RTA1", reply="TA1"),
    _known("RHTML", reply="html"),
    _known("TRACE9"),
    _known("GONE1"),
    _known("GONE2"),
    _known("GONE3"),
    _known("GONE4"),
    *(_known(name) for name in ("REVIEW9", "NOTCOV9", "EBI", "BOTH9", "A79", "A42P", "R400")),
    _known("A43", payer="REF01"),
)
DAY_PLAN = {
    "covered": Expected("covered", _chart("COV1"), owes=("25", "310.50"), hour=23),
    "covered, no amounts said": Expected("covered", _chart("COV2")),
    "wrong SE01": Expected("covered", _chart("COUNT9"), owes=("25", "310.50")),
    "answered at the third try": Expected("covered", _chart("LATER9"), owes=("25", "310.50")),
    "dependent": Expected(
        "covered", _chart("DEP1", relation="CHD", insured="DOE^ANNA", born="19550101"), owes=("20", "1200"), hour=0
    ),
    "Medicare Advantage": Expected(
        "covered_elsewhere", _chart("MEDI", "MCR"), "coordinator", "SUNRISE HEALTH", "other plan", payer="Medicare"
    ),
    "inactive": Expected("inactive", _chart("ENDED9"), "coordinator", "not active"),
    "AAA 72": Expected("not_found", _chart("WRONG"), "coordinator", "member id", "AAA 72"),
    "AAA 77": Expected(
        "not_found",
        _chart("COV2", relation="CHD", insured="DOE^JANE", born="19800229"),
        "coordinator",
        "relationship",
        "AAA 77",
    ),
    "AAA 71": Expected("mismatch", _chart("BORN9"), "coordinator", "birth date", "AAA 71"),
    "AAA 73": Expected("mismatch", _chart("NAME9"), "coordinator", "name", "AAA 73"),
    "no insurance": Expected("no_coverage_on_file", ("PV1|1|O",), "coordinator", "insurance", payer=None),
    "no chart": Expected("no_coverage_on_file", (), "coordinator", "insurance", payer=None),
    "pays alone (PV1-20)": Expected("self_pay", (segment("PV1", f2="O", f20="SP"),), payer=None),
    "pays alone (payer list)": Expected("self_pay", _chart("X", "SELFPAY"), payer="Pays himself"),
    "never answers": Expected("payer_unavailable", _chart("NEVER9"), "coordinator", "phone", day=NEAR),
    "never answers, and there is time": Expected("payer_unavailable", _chart("NEVER8"), cause="AAA 42"),
    "AAA 42 of the payer": Expected("payer_unavailable", _chart("A42P"), "coordinator", "phone", day=NEAR),
    "999": Expected("unclear", _chart("R999"), "it", "999"),
    "TA1": Expected("unclear", _chart("RTA1"), "it", "TA1"),
    "HTML": Expected("unclear", _chart("RHTML"), "it"),
    "400": Expected("unclear", _chart("R400"), "it", "400"),
    "foreign trace number": Expected("unclear", _chart("TRACE9"), "it", "trace"),
    "unknown payer": Expected(
        "unclear", _chart("X", "99999", name="NOBODY"), "it", "payers.csv", "payer unknown", payer="NOBODY"
    ),
    "payer on paper": Expected(
        "unclear", _chart("X", "PAPER"), "coordinator", "phone or portal", "payer not electronic", payer="Paper Mutual"
    ),
    "under review": Expected("unclear", _chart("REVIEW9"), "coordinator", "Call the payer"),
    "service not covered": Expected("unclear", _chart("NOTCOV9"), "coordinator", "not covered"),
    "not found in words alone": Expected("unclear", _chart("EBI"), "coordinator"),
    "active and rejected": Expected("unclear", _chart("BOTH9"), "coordinator", "active", "AAA 33", owes=(None, None)),
    "AAA 43": Expected("unclear", _chart("A43", "REFUSES"), cause="AAA 43", payer="Refusing Mutual"),
    "S15": Expected("withdrawn", _chart("GONE1"), then="S15"),
    "S16": Expected("withdrawn", _chart("GONE2"), then="S16"),
    "S17": Expected("withdrawn", _chart("GONE3"), then="S17"),
    "S26": Expected("withdrawn", _chart("GONE4"), then="S26"),
}
ANSWERS = {
    "REVIEW9": ["EB*5**30"],
    "NOTCOV9": ["EB*1**30", "EB*I**98"],
    "EBI": ["EB*I**30", "MSG*Patient not found."],
    "BOTH9": ["AAA*Y**33*C", "EB*1**30"],
    "A43": ["AAA*N**43*C"],
}


@dataclass
class Played:
    """The day, once everything has come to its end."""

    cards: dict[str, dict[str, Any]] = field(default_factory=dict)
    items: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    lines: list[dict[str, Any]] = field(default_factory=list)
    traces: dict[str, str] = field(default_factory=dict)
    checks: dict[str, CoverageCheck] = field(default_factory=dict)
    table: RecordingTable = field(default_factory=RecordingTable)
    took: float = 0.0

    def asked(self, member: str) -> list[Inquiry]:
        return self.table.about(member)

    def segments(self, member: str) -> list[str]:
        """The last answer about a member from its ST on, so that the first segment has index 0."""
        about = [a for i, a in zip(self.table.asked, self.table.answers, strict=True) if i.member_id == member]
        text = about[-1]
        return text[text.index("ST*") :].split("~")


NUMBERS = {name: f"{index:04d}" for index, name in enumerate(DAY_PLAN, 4711)}


def visit_of(name: str) -> str:
    return f"F-{NUMBERS[name]}"


async def _play(folder: Path) -> Played:
    played = Played()
    began = time.monotonic()
    async with eligibility(folder, *MEMBERS) as clinic:
        clinic.table.instead |= ANSWERS
        clinic.table.payer_says["A42P"] = "AAA*Y**42*R"
        clinic.table.trace["TRACE9"] = "SOMEBODYELSE"
        last = [name for name in DAY_PLAN if name == "400"]
        await _book(clinic, [name for name in DAY_PLAN if name not in last])
        assert clinic.clearinghouse is not None
        clinic.clearinghouse.behaviour.status = 400
        await _book(clinic, last)
        for name in DAY_PLAN:
            played.cards[name] = await clinic.card(visit_of(name))
            played.items[name] = await clinic.to_do(visit_of(name))
            played.checks[name] = await clinic.check(visit_of(name))
            trace = await ask(clinic.hub, "trace", id=visit_of(name))
            played.traces[name] = "\n".join(f"{e['what']}: {e['text']}" for e in trace["entries"])
        played.lines = await ask(clinic.hub, "eligibility.list", date=DAY.isoformat())
        played.table = clinic.table
    played.took = time.monotonic() - began
    return played


async def _book(clinic: Clinic, names: list[str]) -> None:
    for name in names:
        if DAY_PLAN[name].chart:
            await clinic.say(adt("A04", pid(mrn(NUMBERS[name])), *DAY_PLAN[name].chart))
    await clinic.quiet()
    for name in names:
        patient = () if name == "no chart" else (pid(mrn(NUMBERS[name])),)
        await clinic.say(siu("S12", visit_of(name), at(DAY_PLAN[name].hour, 30, DAY_PLAN[name].day), *patient))
    await clinic.quiet()
    for name in names:
        if DAY_PLAN[name].then:
            await clinic.say(siu(DAY_PLAN[name].then, visit_of(name), None, pid(mrn(NUMBERS[name]))))
    await _nothing_planned(clinic)


async def _nothing_planned(clinic: Clinic) -> None:
    """Until the last retry is over."""

    async def none_left() -> bool:
        following = await clinic.hub.core.reader.next_due()
        return following is None or following / 1e6 > time.time() + 60

    await clinic.quiet()
    while not await none_left():  # a retry may plan the next one
        await until(none_left, PATIENCE)
        await clinic.quiet()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def day(tmp_path_factory: pytest.TempPathFactory) -> Played:
    return await _play(tmp_path_factory.mktemp("day"))


@pytest.mark.parametrize("name", DAY_PLAN)
def test_every_outcome_is_reached_and_says_what_to_do(day: Played, name: str) -> None:
    expected, card = DAY_PLAN[name], day.cards[name]
    assert card["outcome"] == expected.outcome
    assert card["who"] == expected.who
    assert (card["owes"]["co_payment"], card["owes"]["deductible_remaining"]) == expected.owes
    assert card["payer"] == expected.payer
    if expected.who is None:
        assert card["action"] is None
    else:
        assert expected.words.lower() in card["action"].lower()
    if expected.cause is not None:
        assert card["cause"] == expected.cause


@pytest.mark.parametrize("name", DAY_PLAN)
def test_a_visit_is_on_the_worklist_once_exactly_when_somebody_has_to_do_something(day: Played, name: str) -> None:
    expected, card = DAY_PLAN[name], day.cards[name]
    told = [(item["text"], item["who"], item["cause"]) for item in day.items[name]]
    assert told == ([] if expected.who is None else [(card["action"], card["who"], card["cause"])])


def test_all_outcomes_but_pending_were_played() -> None:
    assert {expected.outcome for expected in DAY_PLAN.values()} == set(get_args(Outcome)) - {"pending"}


def test_nothing_of_the_patient_is_in_a_timeline(day: Played) -> None:
    for name, text in day.traces.items():
        words = set(re.findall(r"\w+", text.replace(visit_of(name), "").upper()))
        assert not words & {"DOE", "JANE", "ANNA", "19800229", NUMBERS[name]}, name
        assert not words & {member.member_id for member in day.table.members.values()}, name


def test_the_list_of_the_day_has_every_visit_that_has_a_line_with_the_promised_keys(day: Played) -> None:
    """INTERFACES section 3."""
    keys = {"appointment", "starts_at", "patient", "payer", "outcome", "owes", "action", "who", "checked_at"}
    assert {line["appointment"] for line in day.lines} == {visit_of(name) for name, e in DAY_PLAN.items() if e.day == DAY}
    assert all(keys <= set(line) for line in day.lines)
    assert all(set(line["patient"]) == {"id", "name"} for line in day.lines)
    assert all({"co_payment", "deductible_remaining", "segments"} <= set(line["owes"]) for line in day.lines)
    assert [line["starts_at"] for line in day.lines] == sorted(line["starts_at"] for line in day.lines)
    times = {line["appointment"]: line["starts_at"] for line in day.lines}
    assert times[visit_of("covered")] == at(23, 30).isoformat()
    assert times[visit_of("dependent")] == at(0, 30).isoformat()


@pytest.mark.parametrize("name", ["covered", "dependent"])
def test_the_amounts_point_at_the_segments_they_come_from(day: Played, name: str) -> None:
    member, amounts = ("COV1", ("25", "310.50")) if name == "covered" else ("DEP1", ("20", "1200"))
    owes = day.cards[name]["owes"]
    places = [day.segments(member)[number - 1].split("*") for number in owes["segments"]]
    assert [(place[0], place[1], place[7]) for place in places] == [("EB", "B", amounts[0]), ("EB", "C", amounts[1])]


def test_the_inquiry_says_who_where_and_for_which_day(day: Played) -> None:
    (asked,) = day.asked("COV1")[:1]
    assert asked.service_date == DAY.strftime("%Y%m%d")
    assert (asked.payer, asked.payer_name.upper()) == ("60054", "AETNA")
    assert asked.provider.startswith("NM1*1P*2*")
    assert asked.provider.endswith("XX*1234567893")
    assert asked.subscriber[3:5] == ["DOE", "JANE"]
    assert asked.subscriber[8:10] == ["MI", "COV1"]
    assert asked.birth_dates == ["22:19800229"]
    assert not asked.dependent
    assert "".join(asked.service_types) in ("3098", "30^98")


def test_a_dependent_is_asked_for_under_the_subscriber(day: Played) -> None:
    (asked,) = day.asked("DEP1")
    assert asked.subscriber[3:5] == ["DOE", "ANNA"]
    assert asked.dependent[3:5] == ["DOE", "JANE"]
    assert "23:19800229" in asked.birth_dates
    assert asked.service_date == DAY.strftime("%Y%m%d")


def test_medicare_is_asked_by_the_id_the_clearinghouse_knows(day: Played) -> None:
    (asked,) = day.asked("MEDI")
    assert (asked.payer, asked.service_types) == ("CMS01", ["30"])


def test_no_control_or_trace_number_is_used_twice(day: Played) -> None:
    """But for the question that was answered with a web page: it is sent again as it was."""
    asked = [inquiry for inquiry in day.table.asked if inquiry.member_id != "RHTML"]
    controls = [inquiry.control_number for inquiry in asked]
    traces = [inquiry.trace[2] for inquiry in asked]
    assert len({inquiry.control_number for inquiry in day.table.about("RHTML")}) == 1
    assert len(set(controls)) == len(controls)
    assert len(set(traces)) == len(traces)


def test_a_payer_that_cannot_answer_is_asked_again_after_each_wait_and_then_a_person_is_told(day: Played) -> None:
    """AAA 42: 50 ms and 100 ms are the waits here."""
    times = [at for at, inquiry in zip(day.table.times, day.table.asked, strict=True) if inquiry.member_id == "NEVER9"]
    assert len(times) == 3
    assert times[1] - times[0] >= 0.05
    assert times[2] - times[1] >= 0.1
    assert "3 times" in day.cards["never answers"]["action"]
    assert day.cards["never answers"]["cause"] == "AAA 42"
    assert len(day.asked("LATER9")) == 3


def test_a_real_payer_is_not_asked_again_before_ninety_seconds() -> None:
    """CAQH CORE infrastructure rule; x12.md 4.6."""
    waits = PlanChecksConfig().retry_after
    assert waits
    assert min(waits) >= 90


def test_nobody_is_asked_about_who_pays_alone_has_no_insurance_or_a_payer_on_paper(day: Played) -> None:
    assert day.asked("X") == []
    assert not [inquiry for inquiry in day.table.asked if not inquiry.member_id]


def test_nothing_of_an_answer_to_somebody_elses_question_is_kept(day: Played) -> None:
    """Plan, group and amounts of another patient would be shown, and told, as this one's."""
    check = day.checks["foreign trace number"]
    assert (check.plan_name, check.group, check.status, check.owes.segments) == (None, None, None, [])


def test_an_answer_with_a_wrong_count_is_read_and_flagged(day: Played) -> None:
    assert any("SE01" in finding for finding in day.cards["wrong SE01"]["findings"])


# While the clearinghouse is down.


async def test_a_visit_is_pending_while_the_clearinghouse_is_down_and_checked_once_it_is_back(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane()) as clinic:
        assert clinic.clearinghouse is not None
        clinic.clearinghouse.behaviour.down = True
        await clinic.tell(adt("A04", pid(mrn("42")), in1()))
        await clinic.say(siu("S12", "F-1", at(9), pid(mrn("42"))))
        await until(lambda: clinic.clearinghouse is not None and clinic.clearinghouse.requests >= 3, PATIENCE)
        card, states = await clinic.card("F-1"), (await ask(clinic.hub, "status"))["connections"]
        assert (card["outcome"], card["action"], card["who"]) == ("pending", None, None)
        assert await clinic.to_do("F-1") == []
        assert {s["name"]: s["state"] for s in states}["clearinghouse"] == "down"
        clinic.clearinghouse.behaviour.down = False
        await clinic.reaches("F-1", "covered")
        assert len(clinic.table.asked) == 1


@pytest.mark.parametrize("status", [401, 503])
async def test_an_error_of_the_clearinghouse_itself_is_no_answer_about_the_patient(tmp_path: Path, status: int) -> None:
    async with eligibility(tmp_path, jane()) as clinic:
        assert clinic.clearinghouse is not None
        clinic.clearinghouse.behaviour.status = status
        await clinic.tell(adt("A04", pid(mrn("42")), in1()))
        await clinic.say(siu("S12", "F-1", at(9), pid(mrn("42"))))
        await until(lambda: clinic.clearinghouse is not None and clinic.clearinghouse.requests >= 1, PATIENCE)
        await clinic.reaches("F-1", "pending")
        assert await clinic.quarantined() == []
        clinic.clearinghouse.behaviour.status = 200
        await clinic.reaches("F-1", "covered")


# Visits that change while the question is out.


@dataclass
class InFlight:
    """A question about F-1 that is out; the payer takes a moment."""

    clinic: Clinic

    async def begin(self, *bodies: bytes, takes: float = 0.25) -> None:
        house = self.clinic.clearinghouse
        assert house is not None
        house.behaviour.delay = takes
        await self.clinic.say(*bodies)
        await until(lambda: house.requests == 1, PATIENCE)
        house.behaviour.delay = 0.0


async def test_an_answer_after_the_cancellation_changes_nothing(tmp_path: Path) -> None:
    async with eligibility(tmp_path) as clinic:
        await clinic.tell(adt("A04", pid(mrn("42")), in1()))
        await InFlight(clinic).begin(siu("S12", "F-1", at(9), pid(mrn("42"))), takes=1.0)
        await clinic.say(siu("S15", "F-1", None, pid(mrn("42"))))
        await clinic.reaches("F-1", "withdrawn", timeout=0.95)  # a busy machine is slow, but the payer is slower
        await clinic.quiet()
        assert len(clinic.table.asked) == 1
        assert (await clinic.check("F-1")).outcome == "withdrawn"
        assert await clinic.all_items("F-1") == []
        trace = await ask(clinic.hub, "trace", id="F-1")
        assert [e["what"] for e in trace["entries"]].count("late") == 1
        assert "not_found" not in [e["what"] for e in trace["entries"]]


async def test_an_answer_for_the_former_day_is_ignored_and_the_new_day_is_asked(tmp_path: Path) -> None:
    later = DAY + timedelta(days=1)
    async with eligibility(tmp_path, jane(unavailable=1)) as clinic:
        await clinic.tell(adt("A04", pid(mrn("42")), in1()))
        await InFlight(clinic).begin(siu("S12", "F-1", at(9), pid(mrn("42"))))
        await clinic.say(siu("S13", "F-1", at(9, day=later), pid(mrn("42"))))
        await clinic.reaches("F-1", "covered")
        await clinic.quiet()
        assert [i.service_date for i in clinic.table.asked] == [f"{DAY:%Y%m%d}", f"{later:%Y%m%d}"]
        check = await clinic.check("F-1")
        assert (check.service_date, check.tries) == (later, 0)
        entries = [e["what"] for e in (await ask(clinic.hub, "trace", id="F-1"))["entries"]]
        assert "payer_unavailable" not in entries
        assert entries.count("covered") == 1


async def test_a_booking_that_is_made_again_after_its_cancellation_is_checked(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane()) as clinic:
        await clinic.tell(adt("A04", pid(mrn("42")), in1()), siu("S12", "F-1", at(9), pid(mrn("42"))))
        await clinic.tell(siu("S15", "F-1", None, pid(mrn("42"))))
        assert (await clinic.check("F-1")).outcome == "withdrawn"
        await clinic.tell(siu("S12", "F-1", at(9), pid(mrn("42"))))
        assert (await clinic.check("F-1")).outcome == "covered"


async def test_a_refusal_after_the_cancellation_puts_nothing_on_the_worklist(tmp_path: Path) -> None:
    async with eligibility(tmp_path) as clinic:
        await clinic.tell(adt("A04", pid(mrn("42")), in1()))
        assert clinic.clearinghouse is not None
        clinic.clearinghouse.behaviour.status = 400
        await InFlight(clinic).begin(siu("S12", "F-1", at(9), pid(mrn("42"))))
        await clinic.say(siu("S15", "F-1", None, pid(mrn("42"))))
        await clinic.quiet()
        assert (await clinic.check("F-1")).outcome == "withdrawn"
        assert await clinic.all_items("F-1") == []


async def test_an_answer_to_a_member_id_that_was_corrected_meanwhile_is_not_the_last_word(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane()) as clinic:
        await clinic.tell(adt("A04", pid(mrn("42")), in1("WRONG")))
        await InFlight(clinic).begin(siu("S12", "F-1", at(9), pid(mrn("42"))))
        await clinic.say(adt("A08", pid(mrn("42")), in1("W100")))
        await clinic.quiet()
        assert (await clinic.check("F-1")).outcome == "covered"
        assert await clinic.to_do("F-1") == []


async def test_the_same_question_is_not_asked_twice_while_it_is_out(tmp_path: Path) -> None:
    """Updates that change nothing about the insurance come in bursts; payers block who floods them (x12.md 4.3)."""
    async with eligibility(tmp_path, jane()) as clinic:
        await clinic.tell(adt("A04", pid(mrn("42")), in1()))
        await InFlight(clinic).begin(siu("S12", "F-1", at(9), pid(mrn("42"))))
        for number in range(4):
            await clinic.say(adt("A08", pid(mrn("42"), f13=f"555-010{number}"), in1()))
        await clinic.quiet()
        assert (await clinic.check("F-1")).outcome == "covered"
        assert len(clinic.table.asked) == 1


# Fresh answers.


async def asked_after(clinic: Clinic, *bodies: bytes) -> int:
    """How many inquiries these messages lead to."""
    before = len(clinic.table.asked)
    await clinic.tell(*bodies)
    return len(clinic.table.asked) - before


async def checked_visit(clinic: Clinic) -> None:
    await clinic.tell(adt("A04", pid(mrn("42")), in1()), siu("S12", "F-1", at(9), pid(mrn("42"))))
    assert (await clinic.check("F-1")).outcome == "covered"


@pytest.mark.parametrize(
    "body",
    [
        lambda: siu("S14", "F-1", at(9), pid(mrn("42"))),
        lambda: siu("S13", "F-1", at(16), pid(mrn("42"))),
        lambda: adt("A08", pid(mrn("42"), f13="555-0199"), in1()),
        lambda: adt("A31", pid(mrn("42"))),
    ],
    ids=["changed", "moved within the day", "new phone", "nothing new"],
)
async def test_a_fresh_answer_is_not_asked_for_again(tmp_path: Path, body: Callable[[], bytes]) -> None:
    async with eligibility(tmp_path, jane()) as clinic:
        await checked_visit(clinic)
        assert await asked_after(clinic, body()) == 0
        assert (await clinic.check("F-1")).outcome == "covered"


async def test_an_answer_that_is_not_fresh_any_more_is_asked_for_again(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane(), plan="{on_booking: true, fresh_for: 0s}") as clinic:
        await checked_visit(clinic)
        assert await asked_after(clinic, siu("S14", "F-1", at(9), pid(mrn("42")))) == 1


CHANGES = {
    "member id": (pid(mrn("42")), in1("W200")),
    "payer": (pid(mrn("42")), in1(payer="MCR")),
    "family name": (pid(mrn("42"), family="ROE"), in1()),
    "given name": (pid(mrn("42"), given="JANET"), in1()),
    "birth date": (pid(mrn("42"), born="19800228"), in1()),
    "sex": (pid(mrn("42"), sex="M"), in1()),
    "relationship": (pid(mrn("42")), in1(relation="CHD", insured="DOE^ANNA", born="19550101")),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_whatever_changes_the_question_makes_it_asked_again(tmp_path: Path, change: str) -> None:
    """All of these stand in the 270, and a payer may have rejected the old one (AAA 71 to 75)."""
    async with eligibility(tmp_path, jane()) as clinic:
        await checked_visit(clinic)
        assert await asked_after(clinic, adt("A08", *CHANGES[change])) == 1


async def test_a_coordinator_may_check_at_once_although_the_answer_is_fresh(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane()) as clinic:
        await checked_visit(clinic)
        await ask(clinic.hub, "eligibility.check", appointment="F-1")
        await clinic.quiet()
        assert len(clinic.table.asked) == 2


async def test_a_visit_that_is_moved_to_another_day_is_asked_about_again(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane()) as clinic:
        await checked_visit(clinic)
        assert await asked_after(clinic, siu("S13", "F-1", at(9, day=DAY + timedelta(days=3)), pid(mrn("42")))) == 1


# Corrections and late coverage.


async def test_a_corrected_member_id_leads_to_a_new_check_that_closes_the_item(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane()) as clinic:
        await clinic.tell(adt("A04", pid(mrn("42")), in1("WRONG")), siu("S12", "F-1", at(9), pid(mrn("42"))))
        assert [item["cause"] for item in await clinic.to_do("F-1")] == ["AAA 72"]
        await clinic.tell(adt("A08", pid(mrn("42")), in1("W100")))
        card = await clinic.card("F-1")
        assert (card["outcome"], card["action"], card["rejections"]) == ("covered", None, [])
        assert await clinic.to_do("F-1") == []
        (item,) = await clinic.all_items("F-1")
        assert not item.open
        assert item.closed_at is not None
        assert "covered" in (item.closed_because or "")


async def test_a_corrected_birth_date_leads_to_a_new_check(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane()) as clinic:
        wrong = pid(mrn("42"), born="19800228")
        await clinic.tell(adt("A04", wrong, in1()), siu("S12", "F-1", at(9), wrong))
        assert (await clinic.check("F-1")).cause == "AAA 71"
        await clinic.tell(adt("A08", pid(mrn("42"))))
        assert (await clinic.check("F-1")).outcome == "covered"
        assert await clinic.to_do("F-1") == []


async def test_coverage_that_comes_after_the_booking_is_checked_by_itself(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane()) as clinic:
        await clinic.tell(siu("S12", "F-1", at(9), pid(mrn("42"))))
        assert (await clinic.check("F-1")).outcome == "no_coverage_on_file"
        assert [item["cause"] for item in await clinic.to_do("F-1")] == ["no coverage"]
        await clinic.tell(adt("A04", pid(mrn("42")), in1()))
        assert (await clinic.check("F-1")).outcome == "covered"
        assert await clinic.to_do("F-1") == []


async def test_coverage_that_comes_with_a_merge_is_checked_for_the_visit_of_the_old_chart(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane()) as clinic:
        await clinic.tell(adt("A04", pid(mrn("42")), in1()), siu("S12", "F-1", at(9), pid(mrn("77"))))
        assert (await clinic.check("F-1")).outcome == "no_coverage_on_file"
        await clinic.tell(adt("A40", pid(mrn("42")), segment("MRG", f1=mrn("77"))))
        assert (await clinic.check("F-1")).outcome == "covered"
        assert (await clinic.card("F-1"))["patient"]["id"] == "42"


async def test_who_decides_to_pay_alone_is_not_asked_about_any_more(tmp_path: Path) -> None:
    async with eligibility(tmp_path) as clinic:
        await clinic.tell(adt("A04", pid(mrn("42")), in1("WRONG")), siu("S12", "F-1", at(9), pid(mrn("42"))))
        await clinic.tell(adt("A08", pid(mrn("42")), segment("PV1", f2="O", f20="SP")))
        assert (await clinic.check("F-1")).outcome == "self_pay"
        assert await clinic.to_do("F-1") == []


async def test_amounts_of_an_answer_that_does_not_hold_any_more_are_not_shown(tmp_path: Path) -> None:
    """A plan that is gone, or nobody asked: what it would have cost is no longer true."""
    async with eligibility(tmp_path, jane()) as clinic:
        await checked_visit(clinic)
        await clinic.tell(adt("A08", pid(mrn("42")), segment("PV1", f2="O", f20="SP")))
        card = await clinic.card("F-1")
        assert card["outcome"] == "self_pay"
        assert card["owes"] == {
            "co_payment": None, "deductible_remaining": None, "out_of_pocket_remaining": None, "segments": [],
        }  # fmt: skip


async def test_an_answer_at_a_retry_leaves_nothing_on_any_worklist(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane(unavailable=2)) as clinic:
        await clinic.tell(adt("A04", pid(mrn("42")), in1()), siu("S12", "F-1", at(9), pid(mrn("42"))))
        await clinic.reaches("F-1", "covered")
        assert await clinic.all_items("F-1") == []


async def test_between_two_tries_the_payer_is_unavailable_and_nobody_needs_to_act(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane(unavailable=9), plan="{on_booking: true, retry_after: [1h]}") as clinic:
        await clinic.tell(adt("A04", pid(mrn("42")), in1()), siu("S12", "F-1", at(9), pid(mrn("42"))))
        card = await clinic.card("F-1")
        assert (card["outcome"], card["action"], card["who"]) == ("payer_unavailable", None, None)
        assert await clinic.to_do("F-1") == []
        planned = await clinic.hub.core.reader.next_due()
        assert planned is not None
        assert 3500 < planned / 1e6 - time.time() <= 3600


@pytest.mark.parametrize("follow_up", ["N", "S", "Y"])
async def test_a_payer_that_says_do_not_ask_again_is_not_asked_again(tmp_path: Path, follow_up: str) -> None:
    """AAA04 (x12.md 4.6): N resubmission not allowed, S sent to a third party, Y the payer will answer."""
    async with eligibility(tmp_path, jane()) as clinic:
        clinic.table.instead["W100"] = [f"AAA*Y**42*{follow_up}"]
        await clinic.tell(adt("A04", pid(mrn("42")), in1()), siu("S12", "F-1", at(9), pid(mrn("42"))))
        await _nothing_planned(clinic)
        assert len(clinic.table.asked) == 1
        assert (await clinic.card("F-1"))["who"] == "coordinator"


async def test_a_payer_id_the_clearinghouse_cannot_reach_is_tried_again_before_it_is_told(tmp_path: Path) -> None:
    """AAA 79 (x12.md 4.6): often a route outage, so a few tries, then stop."""
    async with eligibility(tmp_path, jane()) as clinic:
        clinic.table.instead["W100"] = ["AAA*Y**79*C"]
        await clinic.tell(adt("A04", pid(mrn("42")), in1()), siu("S12", "F-1", at(9), pid(mrn("42"))))
        await _nothing_planned(clinic)
        (item,) = await clinic.to_do()
        assert (item["who"], item["appointment"], item["cause"]) == ("it", None, "Aetna: AAA 79")
        assert len(clinic.table.asked) == 3, "the first, and two that found out whether it still is so"


async def test_every_visit_of_a_patient_is_checked_on_its_own(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane()) as clinic:
        await clinic.tell(adt("A04", pid(mrn("42")), in1("WRONG")))
        await clinic.tell(*(siu("S12", f"F-{n}", at(9, day=DAY + timedelta(days=n)), pid(mrn("42"))) for n in range(3)))
        assert len(await clinic.to_do()) == 3
        await clinic.tell(adt("A08", pid(mrn("42")), in1("W100")))
        assert [await clinic.outcome(f"F-{n}") for n in range(3)] == ["covered"] * 3
        assert await clinic.to_do() == []
        assert {i.service_date for i in clinic.table.about("W100")} == {f"{DAY + timedelta(days=n):%Y%m%d}" for n in range(3)}


# When checks are planned.

SITE = "  main: {timezone: America/Chicago}\n"


def at_site(folder: Path, plan: str, site: str = "main") -> Path:
    file = eligibility_file(folder, 1, plan=plan, ehr=f"site: {site}")
    text = file.read_text(encoding="utf-8").replace(SITE, SITE + "  coast: {timezone: America/Los_Angeles}\n")
    file.write_text(text, encoding="utf-8")
    return file


async def planned(folder: Path, plan: str, starts: str, now: datetime, *, site: str = "main", trigger: str = "S12") -> Trial:
    """A booking on trial: what it plans, when it is received at `now`."""
    clinic = read_clinic(at_site(folder, plan, site))
    body = siu(trigger, "F-1", None, pid(mrn("42"))).replace(b"|OFFICE", b"|OFFICE|||^^^" + starts.encode())
    trial = await try_flow(clinic, "bookings", message_for(clinic, "bookings", body, {}), now=now)
    assert trial.error is None
    return trial


def moments(trial: Trial) -> dict[str, datetime]:
    return {key.partition("/")[2]: moment.astimezone(UTC) for _, key, moment in trial.planned}


AHEAD = "{on_booking: false, days_before: [3, 1], at: '06:00'}"
OVER_DST = [
    ("spring", "202703150900", "main", {"3d": datetime(2027, 3, 12, 12), "1d": datetime(2027, 3, 14, 11)}),
    ("autumn", "202711080900", "main", {"3d": datetime(2027, 11, 5, 11), "1d": datetime(2027, 11, 7, 12)}),
    ("another zone", "202703150900", "coast", {"3d": datetime(2027, 3, 12, 14), "1d": datetime(2027, 3, 14, 13)}),
    ("late visit", "202703152345", "main", {"3d": datetime(2027, 3, 12, 12), "1d": datetime(2027, 3, 14, 11)}),
    ("early visit", "202703150015", "main", {"3d": datetime(2027, 3, 12, 12), "1d": datetime(2027, 3, 14, 11)}),
    ("with an offset", "202703160430+0000", "main", {"3d": datetime(2027, 3, 12, 12), "1d": datetime(2027, 3, 14, 11)}),
]


@pytest.mark.parametrize(
    ("starts", "site", "expected"), [c[1:] for c in OVER_DST], ids=[c[0].replace(" ", "-") for c in OVER_DST]
)
async def test_checks_are_planned_by_the_clock_on_the_wall_of_the_site(
    tmp_path: Path, starts: str, site: str, expected: dict[str, datetime]
) -> None:
    trial = await planned(tmp_path, AHEAD, starts, datetime(2027, 3, 1, tzinfo=UTC), site=site)
    assert moments(trial) == {why: moment.replace(tzinfo=UTC) for why, moment in expected.items()}


async def test_a_check_at_a_time_that_the_clock_skips_is_planned_for_that_day_all_the_same(tmp_path: Path) -> None:
    plan = "{on_booking: false, days_before: [1], at: '02:30'}"
    trial = await planned(tmp_path, plan, "202703150900", datetime(2027, 3, 1, tzinfo=UTC))
    assert moments(trial)["1d"].astimezone(ZONE).date() == date(2027, 3, 14)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (datetime(2027, 3, 12, 11, 59, tzinfo=UTC), {"booking", "3d", "1d"}),
        (datetime(2027, 3, 12, 12, 1, tzinfo=UTC), {"booking", "1d"}),
        (datetime(2027, 3, 14, 11, 1, tzinfo=UTC), {"booking"}),
        (datetime(2027, 3, 15, 20, 0, tzinfo=UTC), {"booking"}),
        (datetime(2027, 3, 16, 6, 0, tzinfo=UTC), set()),
    ],
    ids=["before all", "after the first", "after the last", "later that day", "the day after"],
)
async def test_no_check_is_planned_for_a_time_that_is_over(tmp_path: Path, now: datetime, expected: set[str]) -> None:
    trial = await planned(tmp_path, AHEAD.replace("false", "true"), "202703150900", now)
    assert set(moments(trial)) == expected
    assert all(moment >= now for moment in moments(trial).values())


async def due(clinic: Clinic) -> dict[str, datetime]:
    """What is planned, by the reason for it."""
    found = {}
    for why in ("booking", "3d", "1d", "retry", "coverage", "asked"):
        if row := await clinic.hub.core.reader.due("eligibility", f"F-1/{why}"):
            found[why] = datetime.fromtimestamp(row.at / 1e6, UTC)
    return found


async def test_planned_checks_move_with_the_visit_and_go_with_it(tmp_path: Path) -> None:
    later = DAY + timedelta(days=4)
    async with eligibility(tmp_path, jane(), plan="{on_booking: true, days_before: [3, 1], at: '06:00'}") as clinic:
        await checked_visit(clinic)
        assert await due(clinic) == {"3d": at(6, day=DAY - timedelta(days=3)), "1d": at(6, day=DAY - timedelta(days=1))}
        await clinic.tell(siu("S13", "F-1", at(9, day=later), pid(mrn("42"))))
        assert await due(clinic) == {"3d": at(6, day=later - timedelta(days=3)), "1d": at(6, day=later - timedelta(days=1))}
        await clinic.tell(siu("S15", "F-1", None, pid(mrn("42"))))
        assert await due(clinic) == {}


async def test_a_visit_that_moves_into_the_past_is_not_checked_any_more(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane()) as clinic:
        await checked_visit(clinic)
        assert await asked_after(clinic, siu("S13", "F-1", datetime.now(ZONE) - timedelta(days=2), pid(mrn("42")))) == 0


async def test_a_visit_of_the_past_is_not_checked_when_its_patient_gets_another_insurance(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane()) as clinic:
        yesterday = datetime.now(ZONE) - timedelta(days=1)
        await clinic.tell(adt("A04", pid(mrn("42")), in1("OLD")), siu("S12", "F-1", yesterday, pid(mrn("42"))))
        assert await asked_after(clinic, adt("A08", pid(mrn("42")), in1())) == 0
        assert await clinic.to_do() == []


async def test_an_arrived_or_finished_visit_is_not_planned(tmp_path: Path) -> None:
    clinic = read_clinic(at_site(tmp_path, AHEAD.replace("false", "true")))
    for status in ("arrived", "complete"):
        record = Appointment(id="F-1", starts_at=at(9), status=status)
        message = message_for(clinic, "bookings", siu("S14", "F-1", at(9)), {})
        trial = await try_flow(clinic, "bookings", message.derive(record, format="appointment"), start="plan_checks")
        assert (trial.error, trial.planned) == (None, [])


async def test_what_is_due_is_never_forgotten(tmp_path: Path) -> None:
    """Work that becomes due while the hub looks at what else is due is done at once, not at the next regular look (30 s)."""
    async with eligibility(tmp_path) as clinic:
        reader = clinic.hub.core.reader
        for number in range(150):
            await plan(clinic, f"a{number}", 0.0)
            await asyncio.sleep(0.001 + number % 3 * 0.0005)  # the hub is just looking
            await plan(clinic, f"b{number}", number % 4 * 0.001)

            async def nothing_due() -> bool:
                return await reader.next_due() is None

            await until(nothing_due, timeout=5.0)


async def plan(clinic: Clinic, visit: str, seconds: float) -> None:
    context = clinic.hub.core.context("test")
    context.plan(Due("eligibility", visit, context.now + timedelta(seconds=seconds)))
    await clinic.hub.core.journal.commit(clinic.hub.core.write_of(context.changes, context.now))


# kill -9.


async def registered(file: Path, body: bytes) -> None:
    """A hub of this process takes a registration before the one that is killed starts."""
    async with running_hub(file) as hub, EhrClient("127.0.0.1", port_of(hub, "ehr")) as ehr:
        await Clinic(hub, ehr).tell(body)


async def killed_and_started(hub: HubProcess) -> None:
    await asyncio.to_thread(hub.kill)
    await asyncio.to_thread(hub.start)


@pytest.mark.parametrize("moment", ["while the question is out", "when the answer is on its way"])
async def test_a_check_survives_kill_9_and_has_one_outcome(tmp_path: Path, moment: str) -> None:
    port = free_port()
    async with Clearinghouse() as house:
        table = RecordingTable([jane()])
        house.table = table
        file = eligibility_file(tmp_path, house.port, plan=PLAN, ehr_port=port)
        await registered(file, adt("A04", pid(mrn("42")), in1()))
        hub = HubProcess(file)
        await asyncio.to_thread(hub.start)
        try:
            async with EhrClient("127.0.0.1", port) as ehr:
                house.behaviour.delay = 1.0 if moment == "while the question is out" else 0.0
                assert (await ehr.send(siu("S12", "F-1", at(9), pid(mrn("42"))))).code == "AA"
                if moment == "while the question is out":
                    await until(lambda: house.requests == 1, PATIENCE)
                else:
                    await until(lambda: table.answers, PATIENCE)
            house.behaviour.delay = 0.0
            await killed_and_started(hub)
            await until(lambda: _outcome_over_there(hub.file), PATIENCE)
            card = await asked_there(hub.file, "eligibility.show", appointment="F-1")
            trace = await asked_there(hub.file, "trace", id="F-1")
            assert (card["outcome"], card["owes"]["co_payment"]) == ("covered", "25")
            assert [entry["what"] for entry in trace["entries"]].count("covered") == 1
            assert len({(i.control_number, i.trace[2]) for i in table.asked}) == 1
        finally:
            await asyncio.to_thread(hub.terminate)


async def asked_there(file: Path, operation: str, **params: Any) -> Any:
    """An operation of the hub in the other process, over its control socket."""
    return await asyncio.to_thread(operate, str(file), operation, params)


async def _outcome_over_there(file: Path) -> bool:
    return bool((await asked_there(file, "eligibility.show", appointment="F-1"))["outcome"] == "covered")
