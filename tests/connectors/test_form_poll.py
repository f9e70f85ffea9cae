"""A form is posted once, its result fetched until it is there; nothing on the way makes the hub ask twice without need."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import pytest
from pydantic import ValidationError

from connectors.form_poll import FormPoll
from connectors.form_poll.remembered import Remembered
from connectors.form_poll.settings import FormPollConfig
from connectors.simulators.clearinghouse import Clearinghouse, Member
from connectors.simulators.clearinghouse.form_poll import FormPoll as Facade
from hub.errors import ConnectionDown, MessageRejected
from hub.message import Message, new_id
from hub.testing import CANARY, ConnectorContract
from tests.connectors.web import Asked, Opening, Web, answer
from tests.support import free_port, until

JANE = Member("60054", "W100", "DOE", "JANE", "19800229", "F", "CHOICE PPO", co_payment="25")
FORM = (
    b"payerId=60054&providerNpi=1234567893&memberId=W100&patientLastName=DOE&patientFirstName=JANE"
    b"&patientBirthDate=1980-02-29&subscriberRelationship=18&asOfDate=2026-11-24&serviceType=30"
)
PENDING = ["0", "R1", "R2"]


class TestContract(ConnectorContract):
    connector = FormPoll
    config = {"url": "http://127.0.0.1:1/questions", "poll_first": "10ms", "remember_in": "{tmp_path}/ids"}

    async def far_side(self, config: dict[str, Any]) -> Any:
        self.web = Web(lambda asked: json_answer(202, id="7") if asked.method == "POST" else json_answer(200, plans=[]))
        return Opening(self.web, config)

    def arrived(self, connection: FormPoll, tmp_path: Path) -> bytes | None:
        return self.web.asked[0].body

    def without_partner(self, settings: dict[str, Any]) -> dict[str, Any]:
        return {**settings, "url": f"http://127.0.0.1:{free_port()}/questions"}


def json_answer(status: int, *, headers: dict[str, str] | None = None, **said: Any) -> bytes:
    return answer(status, json.dumps(said).encode(), **(headers or {}))


def message(body: bytes = FORM, id: str = "") -> Message:
    return Message(body, "coverages", "270", id=id or new_id())


@asynccontextmanager
async def connection(url: str, **settings: Any) -> AsyncIterator[FormPoll]:
    given = {"poll_first": "10ms", "poll_most": "20ms", "give_up_after": "2s", "timeout": "2s", "pending": PENDING, **settings}
    found = FormPoll("clearinghouse", FormPollConfig.model_validate({"kind": "form_poll", "url": url, **given}))
    await found.open_destination()
    try:
        yield found
    finally:
        await found.close()


class Partner:
    """Takes every question as number 7, and gives the looks what it is told to."""

    def __init__(self, *looks: bytes | None, receipt: bytes = b"", after: bytes = b"") -> None:
        self.looks = list(looks)
        self.receipt = receipt or json_answer(202, id="7", statusCode="0")
        self.after = after or json_answer(200, statusCode="4", plans=[])
        self.web = Web(self._reply)

    def _reply(self, asked: Asked) -> Any:
        match asked.method:
            case "POST":
                return self.receipt
            case "GET":
                return self.looks.pop(0) if self.looks else self.after
            case _:
                return answer(204)

    async def __aenter__(self) -> Self:
        await self.web.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.web.__aexit__(*error)

    @property
    def url(self) -> str:
        return self.web.url

    def count(self, method: str) -> int:
        return sum(asked.method == method for asked in self.web.asked)


# Asking and looking.


async def test_a_question_is_posted_once_and_its_result_fetched_when_it_is_there() -> None:
    looks = [json_answer(202), json_answer(202, statusCode="R1"), json_answer(200, statusCode="R2")]
    async with Partner(*looks) as partner, connection(partner.url, answer_format="coverages") as found:
        asked = message()
        got = await found.send(asked)
    assert got is not None
    assert (got.format, got.headers["answer"], json.loads(got.body)["statusCode"]) == ("coverages", "200", "4")
    assert [one.method for one in partner.web.asked] == ["POST", "GET", "GET", "GET", "GET"]
    post, look = partner.web.asked[0], partner.web.asked[1]
    assert (post.body, post.headers["content-type"]) == (FORM, "application/x-www-form-urlencoded")
    assert post.headers["idempotency-key"] == asked.id
    assert (look.path, look.headers["accept"]) == ("/x12/7", "application/json")


async def test_waits_between_looks_grow_to_the_longest() -> None:
    times: list[float] = []

    def reply(asked: Asked) -> bytes:
        times.append(time.monotonic())
        return json_answer(202, id="7") if len(times) < 6 else json_answer(200, statusCode="4")

    async with Web(reply) as web, connection(web.url, poll_first="50ms", poll_most="200ms") as found:
        await found.send(message())
    waits = [later - earlier for earlier, later in itertools.pairwise(times)]
    for wait, least in zip(waits, [0.05, 0.05, 0.1, 0.2, 0.2], strict=True):
        assert wait >= least * 0.9


@pytest.mark.parametrize(
    "receipt",
    [json_answer(200, id="7", statusCode="4"), json_answer(201, headers={"location": "http://elsewhere/v1/questions/7"})],
    ids=["known already", "only a Location"],
)
async def test_the_id_is_found_and_a_finished_one_fetched_at_once(receipt: bytes) -> None:
    async with Partner(receipt=receipt) as partner, connection(partner.url, poll_first="5s") as found:
        begin = time.monotonic()
        assert await found.send(message())
        assert time.monotonic() - begin < 3
    assert [asked.path for asked in partner.web.asked] == ["/x12", "/x12/7"]


async def test_an_answer_without_an_id_is_the_answer() -> None:
    async with Partner(receipt=json_answer(200, plans=[])) as partner, connection(partner.url) as found:
        got = await found.send(message())
    assert got is not None
    assert json.loads(got.body) == {"plans": []}
    assert partner.count("GET") == 0


@pytest.mark.parametrize("id", ["", "a b", "x" * 300, "\u00fc", "\n"])
async def test_taken_without_an_id_that_can_be_one_is_told(id: str) -> None:
    async with Partner(receipt=json_answer(202, id=id)) as partner, connection(partner.url) as found:
        with pytest.raises(MessageRejected, match=r"without an id in `id` or `Location`"):
            await found.send(message())


async def test_an_id_never_leads_elsewhere() -> None:
    async with Partner(receipt=json_answer(202, id="../admin?x=1#y")) as partner, connection(partner.url) as found:
        await found.send(message())
    assert partner.web.asked[1].path == "/x12/..%2Fadmin%3Fx%3D1%23y"


async def test_what_is_wrong_with_a_form_is_an_answer_where_the_profile_says_so() -> None:
    wrong = json_answer(400, errors=[{"field": "memberId"}])
    async with Partner(receipt=wrong) as partner:
        async with connection(partner.url, answers=["400"]) as found:
            got = await found.send(message())
            assert got is not None
            assert (got.headers["answer"], json.loads(got.body)["errors"]) == ("400", [{"field": "memberId"}])
        async with connection(partner.url) as found:
            with pytest.raises(MessageRejected, match="400") as caught:
                await found.send(message())
            assert caught.value.final


# Never twice without need.


@pytest.mark.parametrize(
    "fails", [json_answer(503), json_answer(429), json_answer(401), None], ids=["503", "429", "401", "hangs up"]
)
async def test_after_a_failure_between_looks_the_result_is_looked_for_and_nothing_asked(fails: bytes | None) -> None:
    async with Partner(fails) as partner, connection(partner.url) as found:
        asked = message()
        with pytest.raises(ConnectionDown):
            await found.send(asked)
        assert await found.send(asked)
    assert partner.count("POST") == 1


async def test_a_result_that_is_late_is_looked_for_again_and_nothing_asked() -> None:
    async with Partner(after=json_answer(202)) as partner, connection(partner.url, give_up_after="100ms") as found:
        asked = message()
        with pytest.raises(MessageRejected, match=r"no result within 0\.1 s") as caught:
            await found.send(asked)
        assert (caught.value.code, caught.value.final) == ("NET-023", False)
        partner.after = json_answer(200, statusCode="4")
        assert await found.send(asked)
    assert partner.count("POST") == 1


async def test_after_a_crash_the_result_is_looked_for_before_anything_is_asked(tmp_path: Path) -> None:
    asked = message()
    async with Partner(after=json_answer(202)) as partner:
        async with connection(partner.url, remember_in=str(tmp_path / "ids"), give_up_after="30s") as found:
            sending = asyncio.create_task(found.send(asked))
            await until(lambda: partner.count("GET"))
            sending.cancel()  # the process dies: nothing but the folder is left
            with pytest.raises(asyncio.CancelledError):
                await sending
        partner.after = json_answer(200, statusCode="4")
        async with connection(partner.url, remember_in=str(tmp_path / "ids")) as found:
            assert await found.send(asked)
            assert await found.send(message(id=new_id()))
    assert partner.count("POST") == 2, "one for each question"


async def test_an_answer_that_was_not_kept_is_fetched_again(tmp_path: Path) -> None:
    """The hub dies between the answer and its commit."""
    asked = message()
    async with Partner() as partner:
        for _ in range(2):
            async with connection(partner.url, remember_in=str(tmp_path)) as found:
                assert await found.send(asked)
    assert (partner.count("POST"), partner.count("GET")) == (1, 2)


async def test_a_result_the_partner_has_given_up_is_asked_for_anew() -> None:
    async with Partner(json_answer(503), json_answer(404)) as partner, connection(partner.url) as found:
        asked = message()
        with pytest.raises(ConnectionDown):
            await found.send(asked)
        assert await found.send(asked)
    assert partner.count("POST") == 2


async def test_a_partner_that_forgets_at_once_is_told_and_asked_no_more() -> None:
    async with Partner(after=json_answer(404)) as partner, connection(partner.url) as found:
        with pytest.raises(MessageRejected, match="knows nothing of the question"):
            await found.send(message())
    assert partner.count("POST") == 1


# The folder.


async def test_the_folder_holds_nothing_but_ids_for_us_alone(tmp_path: Path) -> None:
    async with Partner(json_answer(503)) as partner, connection(partner.url, remember_in=str(tmp_path / "a" / "ids")) as found:
        asked = message(b"memberId=" + CANARY.encode())
        with pytest.raises(ConnectionDown):
            await found.send(asked)
    [file] = (tmp_path / "a" / "ids").iterdir()
    assert (file.name, file.read_bytes()) == (asked.id, b"7")
    assert oct((tmp_path / "a" / "ids").stat().st_mode)[-3:] == "700"


async def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConnectionDown, match="remember_in") as caught:
        async with connection("http://127.0.0.1:1/x", remember_in=str(tmp_path / "file" / "ids")):
            pass
    assert caught.value.code == "FIL-001"


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"a b", b"x" * 1000])
def test_a_damaged_file_is_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m1").write_bytes(content)
    assert Remembered("c", tmp_path).get("m1") is None


@pytest.mark.parametrize("name", ["../m", "a/b", "", ".", "a\x00b"])
def test_no_message_id_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    remembered = Remembered("c", tmp_path / "ids")
    remembered.open()
    remembered.put(name, "7")
    assert remembered.get(name) == "7", "in memory"
    assert list((tmp_path / "ids").iterdir()) == []
    remembered.forget(name)
    assert remembered.get(name) is None


# Tidying up.


async def test_a_result_is_deleted_when_it_has_surely_arrived(tmp_path: Path) -> None:
    async with Partner() as partner, connection(partner.url, keep_result="100ms", remember_in=str(tmp_path)) as found:
        await found.send(message())
        assert partner.count("DELETE") == 0
        await until(lambda: partner.count("DELETE"))
        assert partner.web.asked[-1].path == "/x12/7"
        await until(lambda: not list(tmp_path.iterdir()))


async def test_nothing_is_deleted_where_that_is_not_wished() -> None:
    async with Partner() as partner, connection(partner.url, keep_result="0s", delete="false") as found:
        await found.send(message())
        await found.tidy()
    assert partner.count("DELETE") == 0


async def test_a_result_that_cannot_be_deleted_is_no_failure() -> None:
    def reply(asked: Asked) -> Any:
        if asked.method == "DELETE":
            return json_answer(500)
        return json_answer(202, id="7") if asked.method == "POST" else json_answer(200, statusCode="4")

    async with Web(reply) as web, connection(web.url, keep_result="0s") as found:
        assert await found.send(message())
        await found.tidy()
        assert await found.send(message())


async def test_what_a_dead_hub_has_left_is_tidied_up_after_a_day(tmp_path: Path) -> None:
    for name, age in (("old1", 90_000), ("new1", 10)):
        (tmp_path / name).write_text("7")
        os.utime(tmp_path / name, (time.time() - age, time.time() - age))
    async with Partner() as partner, connection(partner.url, remember_in=str(tmp_path)) as found:
        await found.tidy()
    assert [file.name for file in tmp_path.iterdir()] == ["new1"]
    assert partner.count("DELETE") == 1


# The environment.

MOCK = {"x-api-mock-response": "true"}


@pytest.mark.parametrize(
    ("expected", "sent", "good"),
    [
        ("true", "true", True),
        ("true", "TRUE", True),
        ("true", None, False),
        ("true", "false", False),
        ("", None, True),
        ("", "true", False),
    ],
)
async def test_an_answer_of_another_environment_stops_the_connection(expected: str, sent: str | None, good: bool) -> None:
    headers = {"x-api-mock-response": sent} if sent else {}
    partner = Partner(receipt=json_answer(202, id="7", headers=headers), after=json_answer(200, headers=headers))
    async with partner, connection(partner.url, expect_headers={"X-Api-Mock-Response": expected}) as found:
        if good:
            assert await found.send(message())
            return
        with pytest.raises(ConnectionDown, match="another environment") as caught:
            await found.send(message())
        assert caught.value.code == "NET-022"
        assert partner.count("GET") == 0, "nothing more is sent"


@pytest.mark.parametrize("body", [b"<html>502</html>", b"", b"[1]", b'{"id": "7', b"nonsense"])
@pytest.mark.parametrize("where", ["receipt", "look"])
async def test_what_is_no_json_is_told_and_tried_again(body: bytes, where: str) -> None:
    wrong = answer(200, body)
    async with Partner(*([wrong] if where == "look" else [])) as partner, connection(partner.url) as found:
        good, asked = partner.receipt, message()
        partner.receipt = wrong if where == "receipt" else good
        with pytest.raises(MessageRejected, match="answered 200 with") as caught:
            await found.send(asked)
        assert (caught.value.final, caught.value.reply) == (False, body)
        partner.receipt = good
        assert await found.send(asked)
        assert partner.count("POST") == (2 if where == "receipt" else 1)


# Settings.


@pytest.mark.parametrize(
    "settings",
    [
        {"url": "http://partner.example/x"}, {"url": "https://u:p@partner.example/x"}, {"url": "https://partner.example/x?a=1"},
        {"url": "ftp://partner.example/x"}, {"url": "https:///x"}, {"poll_first": "0s"}, {"expect_headers": {"A B": "1"}},
        {"auth": {"token_url": "http://partner.example/token", "client_id": "a"}},
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FormPollConfig.model_validate({"kind": "form_poll", "url": "https://partner.example/x", **settings})


async def test_it_can_be_checked_without_asking_anything() -> None:
    async with Partner() as partner, connection(partner.url) as found:
        assert "answers (204)" in await found.check()
        assert partner.count("POST") == 0


# Against the simulator.

AUTH = {"client_id": "demo", "client_secret": "demo-secret"}


@asynccontextmanager
async def simulated(**settings: Any) -> AsyncIterator[tuple[FormPoll, Clearinghouse, Facade]]:
    async with Clearinghouse([JANE]) as house:
        url = f"{house.base}/v1/coverages"
        given = {"auth": {"token_url": house.token_url, **AUTH}, "expect_headers": MOCK, "timeout": "500ms", **settings}
        async with connection(url, **given) as found:
            yield found, house, house.facade(Facade)


async def sent(found: FormPoll, asked: Message) -> Message:
    """Sent as the bus does: again and again, until it goes."""
    for _ in range(20):
        try:
            got = await found.send(asked)
        except (ConnectionDown, MessageRejected):
            continue
        assert got is not None
        return got
    raise AssertionError("it never came through")


LOOK_FAULTS = [
    "401",
    "expire",
    "429",
    "429 after 1",
    "503",
    "500",
    "504",
    "408",
    "silent",
    "drop",
    "hangup",
    "half",
    "html",
    "empty",
    "pending",
    "slow 0.2",
]


@pytest.mark.parametrize("fault", LOOK_FAULTS)
async def test_whatever_goes_wrong_with_a_look_the_question_is_asked_once(fault: str) -> None:
    async with simulated() as (found, house, facade):
        facade.script(fault, "ok", fault)
        got = await sent(found, message())
        assert json.loads(got.body)["statusCode"] == "4"
        assert len(house.ledger.entries) == 1


async def test_a_token_that_ends_between_looks_is_fetched_anew() -> None:
    async with simulated() as (found, house, facade):
        facade.looks = 4
        facade.script("expire", "ok", "expire")
        assert json.loads((await sent(found, message())).body)["statusCode"] == "4"
        assert len(house.ledger.entries) == 1
        assert house.ledger.needless() == []


@pytest.mark.parametrize("fault", ["silent after commit", "hangup", "half", "silent", "drop", "503", "expire"])
async def test_a_question_is_repeated_when_its_receipt_never_came(fault: str) -> None:
    """It may have been taken all the same; an inquiry may be repeated, and the ledger finds no question that was answered."""
    async with simulated() as (found, house, _):
        house.faults.script(fault)
        assert json.loads((await sent(found, message())).body)["statusCode"] == "4"
        assert house.ledger.needless() == []
        assert len(house.ledger.entries) == 2


async def test_many_questions_side_by_side_get_their_own_results() -> None:
    async with simulated(keep_result="0s") as (found, house, facade):
        facade.looks = 2
        forms = [FORM.replace(b"W100", f"W{number}".encode()) for number in range(100, 120)]
        got = await asyncio.gather(*(found.send(message(form)) for form in forms))
        members = [json.loads(one.body)["subscriber"]["memberId"] for one in got if one is not None]
        assert members == [f"W{number}" for number in range(100, 120)]
        await found.tidy()
        assert all(coverage.deleted for coverage in facade.coverages.values())
        assert len(house.ledger.entries) == 20


def test_every_fault_of_a_look_is_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    check: Callable[..., None] = Facade(Clearinghouse()).script
    check(*LOOK_FAULTS, "gone")
    with pytest.raises(ValueError, match="knows no fault"):
        check("vanished")
