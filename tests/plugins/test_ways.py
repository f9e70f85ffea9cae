"""Coverage by every way a clearinghouse offers: the same visits come to the same, and what goes wrong is put right."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from connectors.simulators.clearinghouse import Clearinghouse, Member
from connectors.simulators.clearinghouse.form_poll import FormPoll
from connectors.simulators.clearinghouse.json_v3 import API_KEY, JsonV3
from connectors.simulators.ehr import EhrClient
from hub.cli.operate import operate
from tests.plugins.clinic import (
    ELIGIBILITY,
    PAYERS,
    PLAN,
    SHARED,
    Clinic,
    RecordingTable,
    adt,
    at,
    in1,
    jane,
    mrn,
    pid,
    quick_hub,
    siu,
)
from tests.support import HubProcess, clinic_folder, free_port, port_of, until

TOKEN = 'auth: {token_url: "http://127.0.0.1:@PORT@/token", client_id: demo, client_secret: {$file: secret}}'
KEY = "auth: {api_key: {$file: key}}"


@dataclass(frozen=True)
class Way:
    """A vendor profile with what a clinic writes to use it."""

    vendor: str
    kind: str
    path: str
    ask: str
    read: str
    auth: str = TOKEN


WAYS = {
    "raw X12": Way("availity", "http", "/x12/270", "visit_to_270", "271_to_coverage"),
    "JSON, OAuth2": Way(
        "optum", "http", "/medicalnetwork/eligibility/v3/", "visit_to_eligibility_v3", "eligibility_v3_to_coverage"
    ),
    "JSON, API key": Way(
        "stedi", "http", "/change/medicalnetwork/eligibility/v3", "visit_to_eligibility_v3", "eligibility_v3_to_coverage", KEY
    ),
    "form and poll": Way("availity", "form_poll", "/v1/coverages", "visit_to_coverages_form", "coverages_to_coverage"),
}
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))


def clinic_text(way: Way) -> str:
    """The clinic of the other tests, with another way to ask."""
    head, _, rest = ELIGIBILITY.partition("  clearinghouse:\n")
    quickly = (
        "    poll_first: 20ms\n    poll_most: 50ms\n    give_up_after: 1s\n    keep_result: 50ms\n"
        if way.kind == "form_poll"
        else ""
    )
    flows = rest[rest.index("flows:") :].replace("map: visit_to_270", f"map: {way.ask}").replace("271_to_coverage", way.read)
    return (
        f"{head}  clearinghouse:\n    vendor: {way.vendor}\n    kind: {way.kind}\n    url: http://127.0.0.1:@PORT@{way.path}\n"
        f"    {way.auth}\n    timeout: 2s\n    retry: {{first: 30ms, most: 100ms, attempts: '3'}}\n{quickly}{flows}"
    )


def clinic_of(folder: Path, way: Way, port: int, *, ehr_port: int = 0) -> Path:
    """The clinic file, with its secrets beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "secret").write_text("demo-secret", encoding="utf-8")
    (folder / "key").write_text(API_KEY, encoding="utf-8")
    text = clinic_text(way)
    for mark, value in (("@PORT@", str(port)), ("@PLAN@", PLAN), ("@IN@", str(ehr_port)), ("@EHR@", "")):
        text = text.replace(mark, value)
    return clinic_folder(folder, text, payers=PAYERS)


@asynccontextmanager
async def clinic(folder: Path, way: Way, *members: Member) -> AsyncIterator[Clinic]:
    house = SHARED[0].clearinghouse
    table = RecordingTable(members)
    house.reset(table)
    file = clinic_of(folder, way, house.port)
    async with quick_hub(file) as hub, EhrClient("127.0.0.1", port_of(hub, "ehr")) as client:
        yield Clinic(hub, client, house, table)


async def book(found: Clinic, member: str = "W100", **person: str) -> None:
    await found.tell(adt("A04", pid(mrn("42"), **person), in1(member)), siu("S12", "F-1", at(10), pid(mrn("42"), **person)))


@every_way
async def test_a_visit_is_covered_with_what_is_owed(tmp_path: Path, way: Way) -> None:
    async with clinic(tmp_path, way, jane(group="G-77")) as found:
        await book(found)
        check = await found.check("F-1")
        assert (check.outcome, check.status, check.plan_name, check.group) == ("covered", "active", "CHOICE PPO", "G-77")
        assert (check.owes.co_payment, check.owes.deductible_remaining) == ("25", "310.50")
        assert check.owes.segments
        assert check.findings == []
        card = await found.card("F-1")
        assert card["owes"]["co_payment"] == "25"
        [entry] = found.clearinghouse.ledger.entries  # type: ignore[union-attr]
        assert (entry.member, entry.payer, entry.inquiry.service_types) == ("W100", "60054", ["30", "98"])


@every_way
@pytest.mark.parametrize(
    ("member", "outcome", "cause"),
    [
        (jane(active=False), "inactive", None),
        (jane(member_id="W999"), "not_found", "AAA 72"),
        (jane(birth_date="19800228"), "mismatch", "AAA 71"),
        (jane(family="ROE"), "mismatch", "AAA 73"),
        (jane(faults=["aaa 51 2100B C"] * 5), "unclear", "AAA 51"),
        (jane(faults=["aaa 75 2100C C"] * 5), "not_found", "AAA 75"),
    ],
    ids=["inactive", "unknown member", "another birth date", "another name", "we are unknown", "not found"],
)
async def test_a_refusal_of_the_payer_comes_to_the_same(
    tmp_path: Path, way: Way, member: Member, outcome: str, cause: str | None
) -> None:
    async with clinic(tmp_path, way, member) as found:
        await book(found)
        check = await found.check("F-1")
        assert (check.outcome, check.cause if cause else None) == (outcome, cause)
        assert check.action or await found.to_do(), "what concerns all visits of a payer is one item of its own"


async def test_the_payers_271_in_json_comes_to_the_same(tmp_path: Path) -> None:
    async with clinic(tmp_path, WAYS["JSON, OAuth2"], jane(group="G-77")) as found:
        facade = found.clearinghouse.facade(JsonV3)  # type: ignore[union-attr]
        facade.with_x12 = True
        try:
            await book(found)
        finally:
            facade.with_x12 = False
        check = await found.check("F-1")
        assert (check.outcome, check.owes.co_payment, check.findings) == ("covered", "25", [])
        assert min(check.owes.segments) > 10, "places are those of the 271"


@every_way
async def test_a_dependent_is_asked_for_under_the_insured(tmp_path: Path, way: Way) -> None:
    anna = Member("60054", "U1", "FISCHER", "ANNA", "19870222", "F", "FAMILY", co_payment="30",
                  dependents=(("NOAH", "FISCHER", "20150607"),))  # fmt: skip
    async with clinic(tmp_path, way, anna) as found:
        noah = pid(mrn("7"), family="FISCHER", given="NOAH", born="20150607", sex="M")
        insurance = in1("U1", relation="CHD", insured="FISCHER^ANNA", born="19870222")
        await found.tell(adt("A04", noah, insurance), siu("S12", "F-1", at(10), noah))
        check = await found.check("F-1")
        assert (check.outcome, check.owes.co_payment) == ("covered", "30")


FAULTS = (
    "401",
    "expire",
    "429",
    "429 after 0.05",
    "503 until 0.1",
    "500",
    "502",
    "503",
    "504",
    "408",
    "silent",
    "silent after commit",
    "drop",
    "hangup",
    "slow 0.2",
    "aaa 42 2100A R",
    "aaa 80 2100A R",
)
"""What the hub gets over by itself."""


@every_way
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_failure_on_the_way_is_got_over(tmp_path: Path, way: Way, fault: str) -> None:
    async with clinic(tmp_path, way, jane()) as found:
        found.clearinghouse.faults.script(fault)  # type: ignore[union-attr]
        await book(found)
        await found.reaches("F-1", "covered")
        assert found.clearinghouse.ledger.needless() == []  # type: ignore[union-attr]


@every_way
@pytest.mark.parametrize("fault", ["html", "empty", "half", "999", "ta1 006", "stray", "400", "404"])
async def test_what_is_no_answer_is_told_and_nothing_is_made_of_it(tmp_path: Path, way: Way, fault: str) -> None:
    if fault == "stray" and way.kind == "form_poll":
        pytest.skip("an answer is fetched under the id of its question, so nobody else's can come")
    async with clinic(tmp_path, way, jane()) as found:
        found.clearinghouse.faults.script(*[fault] * 8)  # type: ignore[union-attr]
        await book(found)
        check = await found.check("F-1")
        assert check.outcome in ("unclear", "payer_unavailable")
        assert check.owes.co_payment is None
        assert check.action or check.outcome == "payer_unavailable"


@pytest.mark.parametrize("moment", ["between two looks", "when the result has been fetched"])
async def test_a_question_under_way_survives_kill_9_and_is_asked_once(tmp_path: Path, moment: str) -> None:
    """The id of the question is on disk: the hub that comes back looks for the result before it asks anything."""
    port = free_port()
    async with Clearinghouse([jane()]) as house:
        facade = house.facade(FormPoll)
        facade.looks = 1000 if moment == "between two looks" else 1
        hub = HubProcess(clinic_of(tmp_path, WAYS["form and poll"], house.port, ehr_port=port))
        ending = {} if moment == "between two looks" else {"CLINIC_HUB_FAILPOINTS": "kill@sent"}
        killed = HubProcess(hub.file, env=ending)
        await asyncio.to_thread(killed.start)
        process = killed.process
        assert process is not None
        try:
            async with EhrClient("127.0.0.1", port) as ehr:
                for body in (adt("A04", pid(mrn("42")), in1()), siu("S12", "F-1", at(10), pid(mrn("42")))):
                    assert (await ehr.send(body)).code == "AA"
                await until(lambda: any(coverage.looks > 1 for coverage in facade.coverages.values()), timeout=20)
                await until(lambda: not ending or process.poll() is not None, timeout=20)
        finally:
            await asyncio.to_thread(killed.kill)
        for coverage in facade.coverages.values():
            coverage.looks_left = 0
        await asyncio.to_thread(hub.start)
        try:

            async def is_covered() -> bool:
                card = await asyncio.to_thread(operate, str(hub.file), "eligibility.show", {"appointment": "F-1"})
                return bool(card["outcome"] == "covered")

            await until(is_covered, timeout=20)
            assert len(house.ledger.entries) == 1
            await until(lambda: all(coverage.deleted for coverage in facade.coverages.values()), timeout=20)
        finally:
            await asyncio.to_thread(hub.terminate)
