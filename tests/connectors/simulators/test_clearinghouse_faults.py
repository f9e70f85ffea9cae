"""The simulated clearinghouse goes wrong as its script says, the same way each time, and its ledger tells what happened."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx2 as httpx
import pytest

from connectors.simulators.clearinghouse import BatchDrop, Clearinghouse, Inquiry, Member, MemberTable
from connectors.simulators.clearinghouse.faults import fault
from hub.formats.x12 import codes
from hub.formats.x12.report import answer, describe
from tests.connectors.simulators.inquiries import inquiry
from tests.support import until

JANE = Member("60054", "W100", "DOE", "JANE", "19800229", "F", "CHOICE PPO", co_payment="25")
ANNA = Member("60054", "U1", "FISCHER", "ANNA", "19870222", "F", "FAMILY", dependents=(("NOAH", "FISCHER", "20150607"),))
ASKED = inquiry("60054", "W100")
LOOPS = {
    "2000A": codes.AAA_PAYER,
    "2100A": codes.AAA_PAYER,
    "2100B": codes.AAA_PROVIDER,
    "2100C": codes.AAA_SUBSCRIBER,
    "2100D": codes.AAA_DEPENDENT,
    "2110C": codes.AAA_BENEFIT,
    "2110D": codes.AAA_BENEFIT,
}


@asynccontextmanager
async def asking(house: Clearinghouse, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a token."""
    async with httpx.AsyncClient(timeout=0.5, headers=headers) as client:
        await with_token(client, house)
        yield client


async def with_token(client: httpx.AsyncClient, house: Clearinghouse) -> None:
    form = {"grant_type": "client_credentials", "client_id": "demo", "client_secret": "demo-secret"}
    found = (await client.post(house.token_url, data=form)).json()
    client.headers["authorization"] = f"Bearer {found['access_token']}"


async def post(client: httpx.AsyncClient, house: Clearinghouse, text: str = ASKED) -> httpx.Response:
    return await client.post(house.url, content=text)


# Which word is next.


async def test_a_script_is_used_up_in_order_and_then_all_is_well() -> None:
    async with Clearinghouse([JANE]) as house, asking(house) as client:
        house.faults.script("503", "500", "ok", "401")
        house.faults.script("429")
        assert [(await post(client, house)).status_code for _ in range(7)] == [503, 500, 200, 401, 429, 200, 200]
        assert [entry.end for entry in house.ledger.entries] == ["503", "500", "271", "401", "429", "271", "271"]


async def test_a_member_has_a_script_of_its_own() -> None:
    shaky = Member("60054", "W200", "BAKER", "TOM", "19651130", faults=("503", "aaa 42 2100A R", "ok"))
    async with Clearinghouse([JANE, shaky]) as house, asking(house) as client:
        about_tom = inquiry("60054", "W200", family="BAKER", given="TOM", born="19651130")
        codes = []
        for text in (ASKED, about_tom, ASKED, about_tom, about_tom):
            codes.append((await post(client, house, text)).status_code)
        assert codes == [200, 503, 200, 200, 200]
        assert [entry.end for entry in house.ledger.about("W200")] == ["503", "aaa 42", "271"]


async def test_a_header_has_a_script_for_each_question() -> None:
    async with Clearinghouse([JANE]) as house, asking(house, **{"X-Sim-Script": "503, slow 0.01"}) as client:
        first, second = inquiry("60054", "W100", trace="T1"), inquiry("60054", "W100", trace="T2")
        codes = [(await post(client, house, text)).status_code for text in (first, second, first, second, first)]
    assert codes == [503, 503, 200, 200, 200]


@pytest.mark.parametrize(
    "word", ["", "timeout", "aaa", "aaa 4", "aaa 42 2100E", "42", "600", "429 after", "slow", "ta1 6", "ok ok"]
)
def test_a_word_that_is_none_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match="knows no fault"):
        fault(word)


# What goes wrong.


async def test_retry_after_comes_as_seconds_and_as_a_date() -> None:
    async with Clearinghouse([JANE]) as house, asking(house) as client:
        house.faults.script("429", "429 after 7", "503 until 30")
        plain, seconds, date = [await post(client, house) for _ in range(3)]
    assert "retry-after" not in plain.headers
    assert seconds.headers["retry-after"] == "7"
    assert 20 < parsedate_to_datetime(date.headers["retry-after"]).timestamp() - time.time() <= 31


async def test_every_token_is_withdrawn_until_another_is_fetched() -> None:
    async with Clearinghouse([JANE]) as house, asking(house) as client:
        house.faults.script("expire")
        assert [(await post(client, house)).status_code for _ in range(3)] == [401, 401, 401]
        await with_token(client, house)
        assert (await post(client, house)).status_code == 200


@pytest.mark.parametrize(("word", "done"), [("silent", False), ("silent after commit", True), ("lose", True)])
async def test_silence_before_and_after_it_was_done(word: str, done: bool) -> None:
    """The doubtful case of every partner: it did what it was asked, and the answer never arrived."""
    async with Clearinghouse([JANE]) as house, asking(house) as client:
        house.faults.script(word)
        with pytest.raises(httpx.TimeoutException):
            await post(client, house)
        assert bool(house.table.asked) == done
        assert [(entry.end, entry.answered) for entry in house.ledger.entries] == [(word, False)]
        assert (await post(client, house)).status_code == 200
        assert house.ledger.needless() == [], "who was not answered may ask again"


async def test_closing_does_not_wait_for_who_is_kept_waiting() -> None:
    async with httpx.AsyncClient(timeout=20) as client:
        async with Clearinghouse([JANE]) as house:
            await with_token(client, house)
            house.faults.script("silent")
            waiting = asyncio.create_task(post(client, house))
            await until(lambda: house.ledger.entries)
            began = time.monotonic()
        assert time.monotonic() - began < 2
        with pytest.raises(httpx.HTTPError):
            await waiting


@pytest.mark.parametrize(("word", "done"), [("drop", False), ("hangup", True)])
async def test_a_connection_that_is_closed(word: str, done: bool) -> None:
    async with Clearinghouse([JANE]) as house, asking(house) as client:
        house.faults.script(word)
        with pytest.raises(httpx.RemoteProtocolError):
            await post(client, house)
        assert bool(house.table.asked) == done
        assert (await post(client, house)).status_code == 200
        assert house.ledger.needless() == []


async def test_answers_that_are_late_doubled_cut_off_somebody_elses_or_none() -> None:
    async with Clearinghouse([JANE]) as house, asking(house) as client:
        house.faults.script("slow 0.2", "twice", "half", "stray", "empty", "html")
        began = time.monotonic()
        whole = (await post(client, house)).text
        assert time.monotonic() - began >= 0.2
        twice, half, stray, empty, page = [(await post(client, house)).text for _ in range(5)]
    assert len(describe(twice.encode())["interchanges"]) == 2
    assert len(half) < len(whole)
    assert answer(whole.encode())["trace_numbers"] == ["TRACE0001"]
    assert answer(stray.encode())["trace_numbers"] == ["STRANGER"]
    assert (empty, page.startswith("<html>")) == ("", True)


async def test_the_token_address_goes_wrong_too() -> None:
    async with Clearinghouse([JANE]) as house, httpx.AsyncClient() as client:
        house.faults.script_token("503 after 3", "401", "html", "empty")
        form = {"grant_type": "client_credentials", "client_id": "demo", "client_secret": "demo-secret"}
        found = [await client.post(house.token_url, data=form) for _ in range(5)]
    assert [one.status_code for one in found] == [503, 401, 200, 200, 200]
    assert [len(one.content) > 0 for one in found] == [True, True, True, False, True]
    assert "access_token" in found[4].json()


# Answers of every kind.


@pytest.mark.parametrize(
    ("loop", "code"), [(loop, code) for loop, known in LOOPS.items() for code in sorted(known)], ids=lambda text: text
)
def test_every_rejection_in_every_loop_is_read_without_a_finding(loop: str, code: str) -> None:
    dependent = ("NOAH", "FISCHER", "20150607") if loop in ("2100D", "2110D") else None
    table = MemberTable([ANNA])
    from connectors.simulators.clearinghouse import read_270

    asked = read_270(inquiry("60054", "U1", family="FISCHER", given="ANNA", born="19870222", dependent=dependent))
    verdict = table.decide(asked, fault(f"aaa {code} {loop} N"))
    found = answer(table.write(verdict).encode(), ["30"])
    assert [(r["loop"], r["code"], r["follow_up"]) for r in found["rejections"]] == [(loop, code, "N")]
    assert found["findings"] == []


@pytest.mark.parametrize(("word", "set", "says"), [("ta1 018", "TA1", "018"), ("999", "999", "999")])
def test_acknowledgements(word: str, set: str, says: str) -> None:
    table = MemberTable([JANE])
    found = answer(table.write(table.decide(Inquiry.about("60054", "W100"), fault(word))).encode())
    assert (found["set"], says in found["failure"]) == (set, True)


def test_a_question_of_another_form_is_answered_alike() -> None:
    table = MemberTable([JANE, ANNA])
    jane = Inquiry.about("60054", "W100", family="Doe", given="Jane", birth_date="19800229", trace="T7")
    noah = Inquiry.about("60054", "U1", dependent=("Noah", "Fischer", "20150607"))
    found = answer(table.write(table.decide(jane)).encode())
    assert (found["status"], found["trace_numbers"], found["findings"]) == ("active", ["T7"], [])
    verdict = table.decide(noah)
    assert verdict.dependent == ("NOAH", "FISCHER", "20150607")
    assert answer(table.write(verdict).encode())["status"] == "active"
    assert any(line.startswith("EB*1") for line in verdict.benefits)


@pytest.mark.parametrize(("twins", "born", "code"), [(1, "19800229", None), (1, "19800228", "75"), (2, "19800229", "76")])
def test_without_an_id_the_whole_name_and_the_birth_date_are_searched(twins: int, born: str, code: str | None) -> None:
    table = MemberTable([Member("60054", f"W{n}", "DOE", "JANE", "19800229") for n in range(twins)])
    verdict = table.decide(Inquiry.about("60054", "", family="DOE", given="JANE", birth_date=born))
    assert [r.code for r in verdict.rejections] == ([code] if code else [])


# The ledger.


async def test_the_ledger_knows_what_was_asked_twice_without_need() -> None:
    async with Clearinghouse([JANE]) as house, asking(house) as client:
        house.faults.script("503", "aaa 42 2100A R", "ok")
        for trace in ("T1", "T1", "T2", "T3"):
            await post(client, house, inquiry("60054", "W100", trace=trace))
        await post(client, house, inquiry("60054", "W999"))
    [needless] = house.ledger.needless()
    assert (needless.trace, needless.number) == ("T3", 4)
    assert [entry.end for entry in house.ledger.before(needless)] == ["503", "aaa 42", "271"]
    first = house.ledger.entries[0]
    assert (first.control_number, first.trace, first.member, first.payer, first.service_date, first.facade) == (
        "000000007", "T1", "W100", "60054", "20261124", "raw",
    )  # fmt: skip


async def test_an_answer_nobody_waited_for_is_none() -> None:
    async with Clearinghouse([JANE]) as house, asking(house) as client:
        house.faults.script("slow 0.8")
        with pytest.raises(httpx.TimeoutException):
            await post(client, house)
        assert house.under_way == 1
        await until(lambda: house.under_way == 0)
        await post(client, house)
    assert [entry.end for entry in house.ledger.entries] == ["gone", "271"]
    assert house.ledger.needless() == []


# Files.


def batch_of(*traces: str, member: str = "W100") -> str:
    """One interchange with several 270s."""
    one = inquiry("60054", member)
    head, rest = one.split("ST*270")
    body = rest.partition("GE*1*7")[0]
    sets = ["ST*270" + body.replace("TRACE0001", trace).replace("*0001*", f"*{n:04d}*") for n, trace in enumerate(traces, 1)]
    return head + "".join(sets) + f"GE*{len(traces)}*7~IEA*1*000000007~"


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    return tmp_path / "in", tmp_path / "out"


def dropped(house: Clearinghouse, folders: tuple[Path, Path], text: str) -> dict[str, str]:
    """What comes back for one file, by name."""
    inbox, outbox = folders
    (inbox / "visits.270").write_text(text)
    BatchDrop(house, inbox, outbox).look()
    assert not list(inbox.iterdir())
    return {file.name: file.read_text() for file in sorted(outbox.iterdir())}


def test_a_file_is_acknowledged_and_every_question_in_it_answered(folders: tuple[Path, Path]) -> None:
    house = Clearinghouse([JANE])
    found = dropped(house, folders, batch_of("T1", "T2", "T3"))
    assert list(found) == ["0001.visits.999", "0002.visits.271"]
    acknowledged, answers = (describe(text.encode()) for text in found.values())
    assert acknowledged["findings"] == answers["findings"] == []
    [group] = answers["interchanges"][0]["groups"]
    traces = [one["coverages"][0]["trace_numbers"] for one in group["transactions"]]
    assert traces == [["T1"], ["T2"], ["T3"]]
    assert [entry.facade for entry in house.ledger.entries] == ["batch drop"] * 3
    assert [entry.trace for entry in house.ledger.needless()] == ["T2", "T3"], "they ask the same as the first"


@pytest.mark.parametrize(
    ("word", "files"),
    [("lose", []), ("ta1 006", ["ta1"]), ("999", ["999"]), ("twice", ["999", "271", "271"]), ("slow 60", ["999"])],
)
def test_a_file_that_goes_wrong(word: str, files: list[str], folders: tuple[Path, Path]) -> None:
    house = Clearinghouse([JANE])
    house.faults.script_batch(word)
    found = dropped(house, folders, batch_of("T1", "T2"))
    assert [name.rpartition(".")[2] for name in found] == files
    for text in found.values():
        assert describe(text.encode())["findings"] == []


def test_one_question_of_a_file_is_lost(folders: tuple[Path, Path]) -> None:
    house = Clearinghouse([JANE])
    house.faults.script("ok", "lose", "aaa 42 2100A R")
    found = dropped(house, folders, batch_of("T1", "T2", "T3"))
    [group] = describe(found["0002.visits.271"].encode())["interchanges"][0]["groups"]
    assert len(group["transactions"]) == 2
    assert [entry.end for entry in house.ledger.entries] == ["271", "lose", "aaa 42"]


async def test_a_folder_is_watched_and_what_is_half_written_is_left_alone(folders: tuple[Path, Path]) -> None:
    inbox, outbox = folders
    (inbox / "b.270.part").write_text("ISA")
    async with BatchDrop(Clearinghouse([JANE]), inbox, outbox) as drop:
        (inbox / "a.270").write_text(batch_of("T1"))
        await until(lambda: len(list(outbox.iterdir())) == 2)
    assert drop.taken == ["a.270"]
    assert [file.name for file in inbox.iterdir()] == ["b.270.part"]
