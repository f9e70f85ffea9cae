"""The simulated clearinghouse: what its member table answers is what the hub reads, and it misbehaves as told."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from typing import Any

import httpx2 as httpx
import pytest

from connectors.simulators.clearinghouse import Clearinghouse, Member, MemberTable
from connectors.simulators.demo.story import MEMBERS
from hub.formats.x12.report import answer, describe
from tests.connectors.simulators.inquiries import inquiry
from tests.support import ROOT, free_port

JANE = Member("60054", "W100", "DOE", "JANE", "19800229", "F", "CHOICE PPO", True, "25", "310.50", "GRP-7")
TOM = Member("60054", "W200", "BAKER", "TOM", "19651130", "M", "HMO SELECT", active=False, co_payment="10")
ANNA = Member("87726", "U1", "FISCHER", "ANNA", "19870222", "F", "FAMILY", dependents=(("NOAH", "FISCHER", "20150607"),))
SLOW = Member("60054", "W300", "SLOW", "SAM", "19700101", plan="BASIC", unavailable=2)
MISCOUNTED = Member("60054", "W400", "HANSEN", "OLE", "19951212", "M", "PPO", co_payment="15", wrong_count=True)
NO_FORM = Member("60054", "W500", "FORM", "FRED", "19700101", reply="999")
NO_ENVELOPE = Member("60054", "W600", "ENVELOPE", "EVE", "19700101", reply="TA1")
NO_GATEWAY = Member("60054", "W700", "GATEWAY", "GUY", "19700101", reply="html")
SENIOR = Member(
    "CMS", "1EG4TE5MK73", "GARCIA", "ELENA", "19480815", "F", "MEDICARE",
    benefits=("EB*1**30*MA", "EB*R**30*HN*SUNRISE ADVANTAGE", "LS*2120", "NM1*PRP*2*SUNRISE HEALTH*****PI*H1234", "LE*2120"),
)  # fmt: skip
EVERYBODY = [JANE, TOM, ANNA, SLOW, MISCOUNTED, NO_FORM, NO_ENVELOPE, NO_GATEWAY, SENIOR]


def asked(member: Member, **different: Any) -> str:
    """An inquiry that fits a member, but for what is said to be different."""
    given = {"family": member.family, "given": member.given, "born": member.birth_date, **different}
    return inquiry(member.payer, given.pop("id", member.member_id), **given)


def read(table: MemberTable, text: str) -> dict[str, Any]:
    """What the hub reads in the answer."""
    return answer(table.answer(text).encode(), ["30"])


@pytest.fixture
def table() -> MemberTable:
    return MemberTable(EVERYBODY)


def test_a_covered_member(table: MemberTable) -> None:
    found = read(table, asked(JANE, trace="T-1"))
    assert (found["set"], found["status"], found["failure"], found["rejections"]) == ("271", "active", None, [])
    assert found["plan"] == "CHOICE PPO"
    assert found["trace_numbers"] == ["T-1"]
    assert found["subscriber"]["member_id"] == "W100"
    assert found["subscriber"]["group"] == "GRP-7"
    assert found["subscriber"]["birth_date"] == "19800229"
    assert found["payer"]["id"] == "60054"
    assert found["provider"]["npi"] == "1234567893"
    assert found["chosen"]["co_payment"]["amount"] == "25", "in the network, not the dearer one out of it"
    assert found["chosen"]["deductible_remaining"]["amount"] == "310.50"
    assert found["findings"] == []


def test_a_member_whose_coverage_has_ended(table: MemberTable) -> None:
    found = read(table, asked(TOM))
    assert (found["status"], found["rejections"]) == ("inactive", [])
    assert found["chosen"]["co_payment"] is None


REJECTED = {
    "an unknown member": (asked(JANE, id="W999"), "72", "C"),
    "an unknown payer": (inquiry("00000", "W100"), "72", "C"),
    "another birth date": (asked(JANE, born="19800228"), "71", "C"),
    "another name": (asked(JANE, family="ROE"), "73", "C"),
    "an unknown dependent": (asked(ANNA, dependent=("NINA", "FISCHER", "20150607")), "77", "C"),
    "a dependent of another birth date": (asked(ANNA, dependent=("NOAH", "FISCHER", "20150608")), "71", "C"),
    "a payer that is out of order": (asked(SLOW), "42", "R"),
}


@pytest.mark.parametrize("name", REJECTED)
def test_what_is_rejected_is_read_as_rejected(name: str, table: MemberTable) -> None:
    text, code, follow_up = REJECTED[name]
    found = read(table, text)
    assert (found["set"], found["status"], found["failure"]) == ("271", "rejected", None)
    assert [(r["code"], r["follow_up"]) for r in found["rejections"]] == [(code, follow_up)]
    assert found["findings"] == []


def test_the_name_may_be_left_out(table: MemberTable) -> None:
    assert read(table, asked(JANE, family=""))["status"] == "active"


def test_a_dependent_is_found_with_the_member(table: MemberTable) -> None:
    found = read(table, asked(ANNA, dependent=("NOAH", "FISCHER", "20150607")))
    assert found["status"] == "active"
    assert (found["patient"]["given"], found["patient"]["relationship"] != "self") == ("NOAH", True)
    assert found["subscriber"]["given"] == "ANNA"
    assert found["findings"] == []


def test_a_payer_is_out_of_order_as_often_as_told(table: MemberTable) -> None:
    assert [read(table, asked(SLOW))["status"] for _ in range(4)] == ["rejected", "rejected", "active", "active"]


def test_a_wrong_count_is_a_finding_and_the_content_is_read(table: MemberTable) -> None:
    found = read(table, asked(MISCOUNTED))
    assert found["status"] == "active"
    assert found["chosen"]["co_payment"]["amount"] == "15"
    assert [finding.split(":")[0] for finding in found["findings"]] == ["X12-SE01"]


def test_another_payer_is_named(table: MemberTable) -> None:
    assert "SUNRISE" in read(table, asked(SENIOR))["other_payer"]


@pytest.mark.parametrize(
    ("member", "set", "says"), [(NO_FORM, "999", "999"), (NO_ENVELOPE, "TA1", "006"), (NO_GATEWAY, None, "")]
)
def test_what_is_no_271_is_a_failure_that_says_why(member: Member, set: str | None, says: str, table: MemberTable) -> None:
    found = read(table, asked(member))
    assert (found["set"], found["status"]) == (set, "unknown")
    assert says in found["failure"]


def test_the_acknowledgements_say_what_they_are_about(table: MemberTable) -> None:
    [interchange] = describe(table.answer(asked(NO_FORM)).encode())["interchanges"]
    [acknowledged] = interchange["groups"][0]["transactions"][0]["acknowledgements"]
    assert acknowledged["set"] == "270"
    [interchange] = describe(table.answer(asked(NO_ENVELOPE)).encode())["interchanges"]
    [acknowledged] = interchange["interchange_acknowledgements"]
    assert (acknowledged["control_number"], acknowledged["code"]) == ("000000007", "R")


@pytest.mark.parametrize("member", [member for member in MEMBERS if member.reply == "271"], ids=lambda member: member.given)
def test_nothing_is_wrong_with_what_the_demo_answers(member: Member) -> None:
    found = describe(MemberTable([member]).answer(asked(member)).encode())
    wrong = [finding["code"] for finding in found["findings"]]
    assert wrong == (["X12-SE01"] if member.wrong_count else [])
    assert [group["version"] for i in found["interchanges"] for group in i["groups"]] == ["005010X279A1"]


def test_what_was_asked_is_kept(table: MemberTable) -> None:
    read(table, asked(ANNA, dependent=("NOAH", "FISCHER", "20150607")))
    [kept] = table.asked
    assert (kept.payer, kept.member_id, kept.dependent[4], kept.service_types) == ("87726", "U1", "NOAH", ["30"])
    assert (kept.service_date, kept.birth_dates, kept.control_number) == ("20261124", ["23:20150607"], "000000007")


# The server.


async def token(client: httpx.AsyncClient, house: Clearinghouse, secret: str = "demo-secret") -> httpx.Response:
    return await client.post(house.token_url, data={"grant_type": "client_credentials"}, auth=("demo", secret))


async def bearer(client: httpx.AsyncClient, house: Clearinghouse) -> dict[str, str]:
    return {"Authorization": f"Bearer {(await token(client, house)).json()['access_token']}"}


async def test_it_wants_a_token_that_is_alive() -> None:
    async with Clearinghouse(EVERYBODY) as house, httpx.AsyncClient() as client:
        assert (await client.post(house.url, content=asked(JANE))).status_code == 401
        assert (await client.post(house.url, content=asked(JANE), headers={"Authorization": "Bearer x"})).status_code == 401
        headers = await bearer(client, house)
        good = await client.post(house.url, content=asked(JANE), headers=headers)
        assert (good.status_code, good.headers["content-type"].split(";")[0]) == (200, "application/edi-x12")
        house.behaviour.token_lives = 0.05
        short = await bearer(client, house)
        await asyncio.sleep(0.1)
        assert (await client.post(house.url, content=asked(JANE), headers=short)).status_code == 401
        assert (await client.post(house.url, content=asked(JANE), headers=headers)).status_code == 200
        house.behaviour.refuse_token_once = True
        codes = [(await client.post(house.url, content=asked(JANE), headers=headers)).status_code for _ in range(2)]
        assert codes == [401, 200]
        assert house.requests == 7


@pytest.mark.parametrize("secret", ["", "demo", "demo-secret2"])
async def test_it_gives_no_token_for_wrong_credentials(secret: str) -> None:
    async with Clearinghouse() as house, httpx.AsyncClient() as client:
        refused = await token(client, house, secret)
        assert (refused.status_code, refused.json()) == (401, {"error": "invalid_client"})
        assert (
            await client.post(house.token_url, data={"grant_type": "password"}, auth=("demo", "demo-secret"))
        ).status_code == 401


async def test_it_misbehaves_as_told() -> None:
    async with Clearinghouse(EVERYBODY) as house, httpx.AsyncClient() as client:
        headers = await bearer(client, house)
        for status in (429, 500, 503):
            house.behaviour.status = status
            found = await client.post(house.url, content=asked(JANE), headers=headers)
            assert (found.status_code, found.headers["retry-after"]) == (status, "1")
        house.behaviour.status = 200
        house.behaviour.delay = 0.2
        began = time.monotonic()
        assert (await client.post(house.url, content=asked(JANE), headers=headers)).status_code == 200
        assert time.monotonic() - began >= 0.2
        house.behaviour.delay = 0.0
        house.behaviour.down = True
        with pytest.raises(httpx.TransportError):
            await client.post(house.url, content=asked(JANE), headers=headers)
        house.behaviour.down = False
        page = await client.post(house.url, content=asked(NO_GATEWAY), headers=headers)
        assert (page.status_code, page.headers["content-type"].split(";")[0]) == (200, "text/html")


async def test_an_inquiry_is_answered_although_nobody_waits_any_more() -> None:
    """The doubtful case of every partner: it did what it was asked, and the answer never arrived."""
    async with Clearinghouse(EVERYBODY) as house, httpx.AsyncClient() as client:
        headers = await bearer(client, house)
        house.behaviour.delay = 0.3
        with pytest.raises(httpx.TimeoutException):
            await client.post(house.url, content=asked(JANE), headers=headers, timeout=0.1)
        async with asyncio.timeout(3):
            while not house.table.asked:
                await asyncio.sleep(0.01)


TAKEN = """
import asyncio, sys
from connectors.simulators.clearinghouse import Clearinghouse

async def main():
    try:
        async with Clearinghouse(port=int(sys.argv[1])):
            print("open")
    except OSError as error:
        print(error)

asyncio.run(main())
"""


async def test_a_port_that_is_taken_is_told() -> None:
    """In a process of its own, because a server may take the whole process with it."""
    async with Clearinghouse(port=free_port()) as house:
        command = [sys.executable, "-c", TAKEN, str(house.port)]
        run = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=20, cwd=ROOT)
    assert (run.returncode, str(house.port) in run.stdout) == (0, True), run.stderr[-300:]
