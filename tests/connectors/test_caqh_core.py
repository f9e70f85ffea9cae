"""CAQH CORE connectivity: envelopes as SOAP and as forms, errors sorted into what the hub does next, batches both ways."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given, strategies as st
from pydantic import ValidationError

from connectors.caqh_core import form, soap
from connectors.caqh_core.envelope import REAL_TIME, SUBMISSION, Envelope, NotCore, payload_id
from connectors.caqh_core.pickup import CaqhCorePickup
from connectors.caqh_core.sender import CaqhCore
from connectors.caqh_core.settings import CaqhCoreConfig
from connectors.caqh_core.soap import Login, SoapFault
from connectors.simulators.clearinghouse import Clearinghouse, Member
from connectors.simulators.clearinghouse.core import Core, CoreForm, CoreSoap
from hub.errors import ConnectionDown, MessageRejected, MessageUnusable, StoreError
from hub.formats.x12.report import answer as read_answer, describe
from hub.message import Message, new_id
from hub.testing import CANARY, ConnectorContract, FakeDeliver
from tests.connectors.certificates import Certificates
from tests.connectors.simulators.inquiries import inquiry
from tests.connectors.simulators.test_clearinghouse_faults import batch_of
from tests.connectors.web import Asked, Web, answer
from tests.support import free_port

SECRET = "demo-secret"
JANE = Member("60054", "W100", "DOE", "JANE", "19800229", "F", "CHOICE PPO", co_payment="25")
ASKED = inquiry("60054", "W100")
FORMS: dict[str, type[Core]] = {"soap": CoreSoap, "mime": CoreForm}


def settings(url: str, **more: Any) -> dict[str, Any]:
    given = {"url": url, "sender_id": "CLINIC", "receiver_id": "CLEARINGHOUSE", "user": "demo", "password": SECRET}
    return {**given, "timeout": "5s", **more}


def url_of(house: Clearinghouse, form: str) -> str:
    return f"{house.base}/core/{form}"


@asynccontextmanager
async def core(url: str, **more: Any) -> AsyncIterator[CaqhCore]:
    connection = CaqhCore("clearinghouse", CaqhCoreConfig.model_validate({"kind": "caqh_core", **settings(url, **more)}))
    try:
        yield connection
    finally:
        await connection.close()


def question(body: str = ASKED, type: str = "270") -> Message:
    return Message(body.encode(), "x12", type, id=new_id())


@pytest.fixture(params=FORMS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class TestSender(ConnectorContract):
    """The contract of a destination; with Base64, which carries any bytes."""

    connector = CaqhCore
    config = settings("http://127.0.0.1:1/core", payload="base64", payload_types={"ADT^A04": "X"})

    async def far_side(self, config: dict[str, Any]) -> Any:
        self.house = Clearinghouse()
        return _Opened(self.house, config)

    def arrived(self, connection: CaqhCore, tmp_path: Path) -> bytes | None:
        import base64

        return base64.b64decode(self.house.facade(CoreSoap).requests[0].fields["Payload"])

    def without_partner(self, settings: dict[str, Any]) -> dict[str, Any]:
        return {**settings, "url": f"http://127.0.0.1:{free_port()}/core"}


class TestPickup(ConnectorContract):
    """The contract of a source."""

    connector = CaqhCorePickup
    config = settings("http://127.0.0.1:1/core", every="50ms")
    sample = b"ISA*00*" + CANARY.encode()

    def make(self, settings: dict[str, Any]) -> Any:
        url = f"http://127.0.0.1:{free_port()}/core/soap"
        self.port = int(url.split(":")[2].split("/")[0])
        return super().make({**settings, "url": url})

    async def bring(self, connection: CaqhCorePickup, tmp_path: Path) -> None:
        self.house = Clearinghouse(port=self.port)
        self.house.facade(CoreSoap).results.append(self.sample.decode())
        await self.house.__aenter__()

    @pytest.fixture(autouse=True)
    async def _closed(self) -> AsyncIterator[None]:
        yield
        if hasattr(self, "house"):
            await self.house.__aexit__()


class _Opened:
    """Opens the simulator and writes its address into the settings."""

    def __init__(self, house: Clearinghouse, config: dict[str, Any]) -> None:
        self.house, self.config = house, config

    async def __aenter__(self) -> None:
        await self.house.__aenter__()
        self.config["url"] = url_of(self.house, "soap")

    async def __aexit__(self, *error: object) -> None:
        await self.house.__aexit__(*error)


# Real time.


async def test_a_question_is_put_into_an_envelope_and_the_answer_taken_out(way: str) -> None:
    async with Clearinghouse([JANE]) as house, core(url_of(house, way), form=way) as connection:
        sent = question()
        found = await connection.send(sent)
        await connection.send(sent)
    assert found is not None
    assert (found.format, found.headers["answer"]) == ("x12", "Success")
    assert read_answer(found.body)["status"] == "active"
    first, second = house.facade(FORMS[way]).requests
    assert first.payload == ASKED.encode()
    assert first.element == "COREEnvelopeRealTimeRequest"
    sent_fields = ("PayloadType", "ProcessingMode", "SenderID", "ReceiverID", "CORERuleVersion")
    assert {name: first.fields[name] for name in sent_fields} == {
        "PayloadType": "X12_270_Request_005010X279A1",
        "ProcessingMode": "RealTime",
        "SenderID": "CLINIC",
        "ReceiverID": "CLEARINGHOUSE",
        "CORERuleVersion": "2.2.0",
    }  # fmt: skip
    assert UUID(first.fields["PayloadID"]).variant == "specified in RFC 4122"
    assert first.fields["PayloadID"] == second.fields["PayloadID"], "a repeat can be recognised"
    assert "PayloadLength" not in first.fields, "that is for batches"


@pytest.mark.parametrize("style", ["cdata", "escaped", "base64", "mtom"])
@pytest.mark.parametrize("payload", ["cdata", "escaped", "base64"])
async def test_payloads_as_partners_write_them(payload: str, style: Any) -> None:
    amp = Member("60054", "W100", "DOE", "JANE", "19800229", plan="A&B <GOLD> ]]")
    async with Clearinghouse([amp]) as house, core(url_of(house, "soap"), payload=payload) as connection:
        house.facade(CoreSoap).style = style
        found = await connection.send(question())
    assert found is not None
    assert read_answer(found.body)["plan"] == "A&B <GOLD> ]]"


@pytest.mark.parametrize(("word", "set"), [("999", "999"), ("ta1 006", "TA1"), ("aaa 42 2100A R", "271")])
async def test_an_acknowledgement_in_place_of_a_271_is_the_answer(word: str, set: str, way: str) -> None:
    async with Clearinghouse([JANE]) as house, core(url_of(house, way), form=way) as connection:
        house.faults.script(word)
        found = await connection.send(question())
    assert found is not None
    assert read_answer(found.body)["set"] == set


async def test_user_and_password_stand_where_each_form_has_them() -> None:
    login = Login("me & you", "pass<word>")
    body, kind = soap.write(REAL_TIME, Envelope("T", b"ISA"), login, "cdata")
    assert b"<wsse:Username>me &amp; you</wsse:Username>" in body
    assert b"pass&lt;word&gt;</wsse:Password>" in body
    assert kind == 'application/soap+xml; charset=utf-8; action="RealTimeTransaction"'
    body, kind = form.write(REAL_TIME, Envelope("T", b"ISA"), login)
    assert b'name="UserName"\r\n\r\nme & you\r\n' in body
    assert kind.startswith("multipart/form-data")
    assert b"Security" not in soap.write(REAL_TIME, Envelope("T", b"ISA"), None, "cdata")[0]


async def test_our_certificate_instead_of_a_password(certificates: Certificates) -> None:
    reply, kind = form.write(REAL_TIME, Envelope("X12_271_Response_005010X279A1", b"ISA*"), None)
    async with Web(lambda _: answer(200, reply, content_type=kind), tls=certificates.server("127.0.0.1", clients=True)) as web:
        tls = {"ca": certificates.ca, **certificates.tls("client@clinic.example")}
        async with core(web.url, form="mime", tls=tls, user=None, password=None) as connection:
            assert await connection.send(question())
        async with core(web.url, form="mime", tls={"ca": certificates.ca}, user=None, password=None) as connection:
            with pytest.raises(ConnectionDown):
                await connection.send(question())
    assert b"UserName" not in web.asked[0].body


async def test_what_cannot_be_put_into_an_envelope_is_told() -> None:
    async with core("https://vendor.example/core") as connection:
        with pytest.raises(MessageUnusable, match="payload_types") as caught:
            await connection.send(question(type="837"))
        assert caught.value.code == "COR-003"
        with pytest.raises(MessageUnusable, match="base64"):
            await connection.send(question(f"ISA\x1c{CANARY}"))
        assert CANARY not in str(caught.value)


# Errors.

SORTED = {
    "UnAuthorized": ("NET-020", None),
    "UserNameRequired": ("NET-020", None),
    "SenderIDIllegal": ("COR-001", None),
    "ReceiverIDRequired": ("COR-001", None),
    "VersionMismatch": ("COR-001", None),
    "CORERuleVersionIllegal": ("COR-001", None),
    "TimeStampIllegal": ("COR-001", None),
    "ProcessingModeRequired": ("COR-001", None),
    "PayloadTypeNotSupported": ("COR-002", True),
    "PayloadTypeIllegal": ("COR-002", True),
    "PayloadRequired": ("COR-002", True),
    "PayloadIDIllegal": ("COR-002", True),
    "ChecksumMismatched": ("COR-002", False),
    "PayloadLengthIllegal": ("COR-002", False),
    "SomethingNobodyKnows": ("COR-002", False),
}


STATUSES = [(code, 200) for code in SORTED] + [("UnAuthorized", 500), ("PayloadRequired", 400), ("SomethingNobodyKnows", 202)]


@pytest.mark.parametrize(("code", "status"), STATUSES)
async def test_an_error_code_decides_whatever_the_status(code: str, status: int, way: str) -> None:
    expected, final = SORTED[code]
    async with Clearinghouse([JANE]) as house, core(url_of(house, way), form=way) as connection:
        house.faults.script(f"core {code} {status}")
        with pytest.raises((ConnectionDown, MessageRejected), match=code) as caught:
            await connection.send(question())
    assert caught.value.code == expected
    assert isinstance(caught.value, ConnectionDown) == (final is None)
    if isinstance(caught.value, MessageRejected):
        assert (caught.value.final, caught.value.answer) == (final, code)
        assert b"own words" in caught.value.reply
    assert "own words" not in str(caught.value), "they may name a patient"


async def test_a_success_counts_whatever_the_status(way: str) -> None:
    async with Clearinghouse([JANE]) as house:
        facade = house.facade(FORMS[way])
        good = facade.envelope("COREEnvelopeRealTimeResponse", "X12_271_Response_005010X279A1", b"ISA*00")
        reply = answer(500, bytes(good.body), content_type=good.headers["content-type"])
    async with Web(lambda _: reply) as web, core(web.url, form=way) as connection:
        found = await connection.send(question())
    assert found is not None
    assert found.body == b"ISA*00"


@pytest.mark.parametrize(
    ("action", "kind", "final"),
    [("wait", ConnectionDown, None), ("refuse", MessageRejected, True), ("retry", MessageRejected, False)],
)
async def test_the_clinic_says_what_an_error_code_means(action: str, kind: type[Exception], final: bool | None) -> None:
    async with (
        Clearinghouse([JANE]) as house,
        core(url_of(house, "soap"), error_codes={"SystemBusy": action}) as connection,
    ):
        house.faults.script("core SYSTEMBUSY")
        with pytest.raises(kind) as caught:
            await connection.send(question())
    assert getattr(caught.value, "final", None) == final


FAULTS = {
    "Sender": "COR-002",
    "Client": "COR-002",
    "Receiver": "NET-001",
    "VersionMismatch": "COR-001",
    "FailedAuthentication": "NET-020",
}


@pytest.mark.parametrize(("code", "expected"), FAULTS.items())
async def test_soap_faults(code: str, expected: str) -> None:
    async with Clearinghouse([JANE]) as house, core(url_of(house, "soap")) as connection:
        house.faults.script(f"fault {code} 500")
        with pytest.raises((ConnectionDown, MessageRejected), match=code) as caught:
            await connection.send(question())
    assert caught.value.code == expected
    assert "something is wrong" not in str(caught.value)


@pytest.mark.parametrize("password", ["", "wrong"])
async def test_a_wrong_password_is_a_connection_that_is_down(password: str, way: str) -> None:
    async with Clearinghouse([JANE]) as house, core(url_of(house, way), form=way, password=password) as connection:
        with pytest.raises(ConnectionDown, match="credentials") as caught:
            await connection.send(question())
    assert caught.value.code == "NET-020"
    assert not house.ledger.entries


@pytest.mark.parametrize(
    "word", ["429 after 7", "503 until 7", "500", "408", "drop", "hangup", "silent", "silent after commit"]
)
async def test_failures_of_the_connection(word: str, way: str) -> None:
    async with Clearinghouse([JANE]) as house, core(url_of(house, way), form=way, timeout="300ms") as connection:
        house.faults.script(word)
        with pytest.raises(ConnectionDown, match="clearinghouse") as caught:
            await connection.send(question())
        assert await connection.send(question())
    if "7" in word:
        assert caught.value.retry_after is not None
        assert 5 <= caught.value.retry_after <= 7


@pytest.mark.parametrize(
    ("word", "says"), [("html", "web page"), ("empty", "without a payload"), ("half", "no CORE envelope"), ("400", "400")]
)
async def test_what_is_no_envelope_is_told(word: str, says: str, way: str) -> None:
    async with Clearinghouse([JANE]) as house, core(url_of(house, way), form=way) as connection:
        house.faults.script(word)
        with pytest.raises(MessageRejected, match=says) as caught:
            await connection.send(question())
    assert (caught.value.code, caught.value.final) == (("MSG-001", True) if word == "400" else ("MSG-007", False))


def _bomb(declaration: str, reference: str = "") -> bytes:
    return f'<?xml version="1.0"?><!DOCTYPE x [{declaration}]><x>{reference}</x>'.encode()


HOSTILE = {
    "entities that grow": _bomb('<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">', "&b;&b;"),
    "a file": _bomb('<!ENTITY f SYSTEM "file:///etc/passwd">', "&f;"),
    "an address": _bomb('<!ENTITY f SYSTEM "http://127.0.0.1:9/">', "&f;"),
    "a document type alone": b'<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd"><x/>',
    "very deep": b"<x>" * 500_000,
    "very wide": b"<x>" + b"<y/>" * 500_000 + b"</x>",
    "another encoding": b'<?xml version="1.0" encoding="klingon"?><x/>',
    "nothing in its body": b'<s:Envelope xmlns:s="x"><s:Body/></s:Envelope>',
    "no envelope": b"<x/>",
    "an attachment that is not there": (
        b'<Envelope><Body><R><ErrorCode>Success</ErrorCode><Payload><Include href="cid:x"/></Payload></R></Body></Envelope>'
    ),
    "bytes": bytes(range(256)),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_xml_is_refused(name: str) -> None:
    reply = answer(200, HOSTILE[name], content_type="application/soap+xml")
    async with Web(lambda _: reply) as web, core(web.url) as connection:
        with pytest.raises(MessageRejected, match="no CORE envelope") as caught:
            await connection.send(question())
    assert caught.value.code == "MSG-007"


@given(
    st.binary(max_size=300),
    st.sampled_from(["text/xml", "multipart/related; boundary=b", "multipart/form-data; boundary=b", ""]),
)
def test_any_bytes_give_an_envelope_or_a_refusal(body: bytes, kind: str) -> None:
    for wrapped in (body, b"--b\r\n" + body + b"\r\n--b--", b"--b\r\nA: b\r\n\r\n<Envelope>" + body + b"</Envelope>\r\n--b--"):
        for read in (soap.read, form.read):
            try:
                read(wrapped, kind)
            except (NotCore, SoapFault):
                pass


@given(st.binary(min_size=1, max_size=200), st.sampled_from(["cdata", "escaped", "base64"]))
def test_a_form_and_base64_carry_any_bytes_and_text_its_characters(payload: bytes, encoding: Any) -> None:
    envelope = Envelope("T", payload, "I", sender="S", receiver="R")
    assert form.read(*form.write(REAL_TIME, envelope, None)).payload == payload
    assert soap.read(*soap.write(SUBMISSION, envelope, None, encoding)).payload == payload
    assert soap.read(*soap.write(REAL_TIME, envelope, None, "base64")).payload == payload


@example("A]]>B & <C>")
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"]), min_size=1))
def test_text_comes_out_of_an_envelope_as_it_went_in(text: str) -> None:
    payload = f"ISA*{text}~"
    for encoding in ("cdata", "escaped"):
        found = soap.read(*soap.write(REAL_TIME, Envelope("T", payload.encode()), None, encoding))  # type: ignore[arg-type]
        assert found.payload.decode() == payload.strip()


@pytest.mark.parametrize("filling", [" ", "A", "=", "\n", "~"])
def test_a_long_payload_takes_no_longer_than_it_is_long(filling: str) -> None:
    """A second is a thousand times what it takes; squared it would be hours."""
    body = f"<Envelope><Body><R><ErrorCode>Success</ErrorCode><Payload>A{filling * 1_000_000}*</Payload></R></Body></Envelope>"
    began = time.process_time()
    assert soap.read(body.encode(), "text/xml").payload.endswith(b"*")
    assert time.process_time() - began < 1.0


def test_payload_ids_are_uuids_of_the_message() -> None:
    assert payload_id("a") == payload_id("a") != payload_id("b")


# Settings.


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"url": "http://vendor.example/core"}, "https"),
        ({"url": f"https://me:{SECRET}@vendor.example/"}, "credentials"),
        ({"password": None}, "come together"),
        ({"user": None}, "come together"),
        ({"form": "rest"}, "form"),
        ({"payload": "zip"}, "payload"),
        ({"mode": "later"}, "mode"),
        ({"sender_id": "a\nb"}, "sender_id"),
        ({"error_codes": {"X": "ignore"}}, "error_codes"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says) as caught:
        CaqhCoreConfig.model_validate({"kind": "caqh_core", **settings("https://vendor.example/core"), **wrong})
    assert SECRET not in str(caught.value)


async def test_the_check_sends_no_envelope() -> None:
    async with Clearinghouse() as house, core(url_of(house, "soap")) as connection:
        assert "answers" in await connection.check()
    assert not house.requests


# Batches.


async def picked_up(house: Clearinghouse, way: str, deliver: FakeDeliver, **more: Any) -> None:
    """One look of a pick-up."""
    url = url_of(house, way)
    config = CaqhCorePickup.Config.model_validate({"kind": "caqh_core_pickup", **settings(url, form=way, **more)})
    pickup = CaqhCorePickup("pickup", config)  # type: ignore[arg-type]
    try:
        await pickup.poll(deliver)
    finally:
        await pickup.close()


async def test_a_batch_goes_out_and_what_became_of_it_is_fetched_once(way: str) -> None:
    text = batch_of("T1", "T2", "T3")
    deliver = FakeDeliver()
    async with Clearinghouse([JANE]) as house:
        async with core(url_of(house, way), form=way, mode="batch") as connection:
            assert await connection.send(question(text)) is None
        for _ in range(3):
            await picked_up(house, way, deliver)
    submitted = house.facade(FORMS[way]).requests[0]
    assert submitted.payload == text.encode()
    assert submitted.fields["PayloadLength"] == str(len(text))
    assert submitted.fields["CheckSum"] == hashlib.sha1(text.encode()).hexdigest()
    kinds = [describe(m.body)["interchanges"][0]["groups"][0]["transactions"][0]["set"] for m in deliver.delivered]
    assert kinds == ["999", "271"]
    assert len(describe(deliver.delivered[1].body)["interchanges"][0]["groups"][0]["transactions"]) == 3
    [acknowledged] = [r for r in house.facade(FORMS[way]).requests if "AckSubmission" in r.element]
    assert acknowledged.fields["PayloadType"] == "X12_999_SubmissionRequest_005010X231A1"
    assert describe(acknowledged.payload)["findings"] == []
    assert not house.ledger.needless()[2:], "T2 and T3 ask what T1 asked"


async def test_results_that_are_not_acknowledged_are_offered_again_and_recognised(way: str) -> None:
    deliver = FakeDeliver()
    async with Clearinghouse([JANE]) as house:
        house.facade(FORMS[way]).results.append(house.table.answer(ASKED))
        for _ in range(2):
            await picked_up(house, way, deliver, acknowledge=False)
    first, second = deliver.delivered
    assert first.duplicate_key == second.duplicate_key is not None


async def test_results_stay_with_the_partner_until_the_hub_owns_them(way: str) -> None:
    async with Clearinghouse([JANE]) as house:
        house.facade(FORMS[way]).results.append(house.table.answer(ASKED))
        with pytest.raises(StoreError):
            await picked_up(house, way, FakeDeliver(failures=1))
        assert len(house.facade(FORMS[way]).results) == 1


async def test_a_damaged_file_is_not_taken(way: str) -> None:
    deliver = FakeDeliver()
    async with Clearinghouse([JANE]) as house:
        facade = house.facade(FORMS[way])
        facade.results.append(house.table.answer(ASKED))
        facade.damaged = True
        with pytest.raises(ConnectionDown, match="CheckSum") as caught:
            await picked_up(house, way, deliver)
        assert (caught.value.code, deliver.delivered) == ("COR-004", [])
        facade.damaged = False
        await picked_up(house, way, deliver)
    assert len(deliver.delivered) == 1


async def test_a_batch_that_is_refused_or_lost(way: str) -> None:
    deliver = FakeDeliver()
    async with Clearinghouse([JANE]) as house:
        house.faults.script_batch("ta1 006", "lose", "twice")
        async with core(url_of(house, way), form=way, mode="batch") as connection:
            for trace in ("T1", "T2", "T3"):
                await connection.send(question(batch_of(trace)))
        await picked_up(house, way, deliver)
    found = [read_answer(message.body)["set"] for message in deliver.delivered]
    assert sorted(filter(None, found)) == ["271", "TA1"]


async def test_words_of_a_partner_for_nothing(way: str) -> None:
    calls: list[Callable[[], Any]] = []

    def nothing(asked: Asked) -> bytes:
        house = Clearinghouse()
        response = house.facade(FORMS[way]).envelope(
            "COREEnvelopeBatchResultsRetrievalResponse", "CoreEnvelopeError", code="EmptyMailbox"
        )
        calls.append(lambda: asked)
        return answer(200, bytes(response.body), content_type=response.headers["content-type"])

    async with Web(nothing) as web:
        for words, fails in ((["EmptyMailbox"], False), (["NoBatch"], True)):
            config = {"kind": "caqh_core_pickup", **settings(web.url, form=way, nothing=words)}
            pickup = CaqhCorePickup("pickup", CaqhCorePickup.Config.model_validate(config))  # type: ignore[arg-type]
            if fails:
                with pytest.raises(ConnectionDown, match="EmptyMailbox"):
                    await pickup.poll(FakeDeliver())
            else:
                await pickup.poll(FakeDeliver())
            await pickup.close()
    assert len(calls) == 4
