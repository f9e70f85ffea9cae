"""The answer of a payer, flat, as mappings read it; and X12 as a format of the hub."""

from __future__ import annotations

from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from connectors.simulators.clearinghouse import Member, MemberTable, read_270
from hub.errors import MessageUnusable
from hub.formats.x12 import report
from hub.formats.x12.codec import X12Format
from hub.formats.x12.exchange import ANSWER_FIELDS, INQUIRY_FIELDS
from hub.message import Message
from tests.hub.formats.messages import ISA, answer_271, group, interchange, transaction
from tests.hub.formats.x12.test_inquiry import CHILD, PLAIN, built

FORMAT = X12Format()


def test_a_good_answer_is_flat() -> None:
    found = report.answer(answer_271("EB*1**30**GOLD", "EB*B**98***27*25*****Y", member=["REF*6P*G1"]), ["98"])
    assert (found["set"], found["status"], found["failure"], found["plan"]) == ("271", "active", None, "GOLD")
    assert found["reference"] == "REF1"
    assert found["trace_numbers"] == ["TRACE1"]
    assert found["payer"]["id"] == "60054"
    assert found["subscriber"]["group"] == "G1"
    assert found["rejections"] == []
    assert found["findings"] == []
    assert found["other_payer"] is None
    assert found["chosen"]["co_payment"]["amount"] == "25"


@pytest.mark.parametrize(
    ("data", "set", "word"),
    [
        (b"", None, "empty"),
        (b"<html><body>502</body></html>", None, "web page"),
        (b'{"error": 1}', None, "JSON"),
        (b"nonsense", None, "ISA"),
        (interchange(group(transaction("999", "AK1*HS*7", "AK2*270*1", "IK5*R*5", "AK9*R*1*1*0"), kind="999")), "999", "999"),
        ((ISA + "TA1*000000050*261130*1430*R*006~IEA*0*000000007~").encode(), "TA1", "006"),
        (built().encode(), None, "271"),
        (interchange(group(transaction("271"))).replace(b"005010X279A1", b"004010X092A1"), None, "version"),
        (ISA.encode() + b"IEA*0*000000007~", None, "271"),
    ],
    ids=["empty", "web page", "JSON", "nonsense", "999", "TA1", "our own question", "another version", "nothing inside"],
)
def test_what_is_no_answer_is_a_failure_in_words(data: bytes, set: str | None, word: str) -> None:
    found = report.answer(data, ["30"])
    assert (found["set"], found["status"], found["rejections"]) == (set, "unknown", [])
    assert word in found["failure"]
    assert found["failure"].endswith(".")


def test_an_answer_without_a_patient_has_the_rejections_of_the_payer() -> None:
    data = interchange(group(transaction("271", "BHT*0022*11*R", "HL*1**20*1", "NM1*PR*2*ACME*****PI*1", "AAA*N**42*R")))
    found = report.answer(data)
    assert (found["set"], found["status"], found["failure"]) == ("271", "rejected", None)
    assert [(r["code"], r["who"]) for r in found["rejections"]] == [("42", "hub")]


def test_a_wrong_count_is_told_beside_the_answer() -> None:
    found = report.answer(answer_271("EB*1**30").replace(b"SE*12", b"SE*99"))
    assert found["status"] == "active"
    assert [text.split(":")[0] for text in found["findings"]] == ["X12-SE01"]


def test_every_key_of_an_answer_can_be_named_in_a_mapping() -> None:
    keys = set(report.answer(answer_271("EB*1**30")))
    assert keys <= ANSWER_FIELDS
    assert set(report.answer(b"")) <= keys


# The simulator answers what we ask.


@pytest.mark.parametrize("inquiry", [PLAIN, CHILD], ids=["subscriber", "dependent"])
def test_the_answer_of_another_program_is_read(inquiry: Any) -> None:
    member = Member(
        "60054", "W100", "Doe", "Jane", "19800229", plan="GOLD", co_payment="25", deductible_remaining="310.50", group="G7",
        dependents=[("Mary", "Doe", "20101014")],
    )  # fmt: skip
    found = report.answer(MemberTable([member]).answer(built(inquiry)).encode(), ["30"])
    assert (found["status"], found["plan"], found["failure"], found["findings"]) == ("active", "GOLD", None, [])
    assert found["trace_numbers"] == ["TRACE1"]
    assert found["chosen"]["co_payment"]["amount"] == "25"
    assert found["chosen"]["deductible_remaining"]["amount"] == "310.50"
    assert found["patient"]["relationship"] == ("self" if inquiry is PLAIN else "child")
    assert found["subscriber"]["group"] == "G7"


@pytest.mark.parametrize(
    ("member", "loop", "code"),
    [
        (Member("60054", "OTHER", "Doe", "Jane", "19800229"), "2100C", "72"),
        (Member("60054", "W100", "Doe", "Jane", "19800228"), "2100C", "71"),
        (Member("60054", "W100", "Roe", "Jane", "19800229"), "2100C", "73"),
        (Member("60054", "W100", "Doe", "Jane", "19800229", unavailable=1), "2100C", "42"),
    ],
)
def test_the_rejections_of_another_program_are_read(member: Member, loop: str, code: str) -> None:
    found = report.answer(MemberTable([member]).answer(built()).encode(), ["30"])
    assert (found["status"], found["failure"]) == ("rejected", None)
    assert [(r["loop"], r["code"]) for r in found["rejections"]] == [(loop, code)]


@pytest.mark.parametrize(("reply", "set"), [("999", "999"), ("TA1", "TA1"), ("html", None)])
def test_the_refusals_of_another_program_are_read(reply: Any, set: str | None) -> None:
    member = Member("60054", "W100", "Doe", "Jane", "19800229", reply=reply)
    found = report.answer(MemberTable([member]).answer(built()).encode(), ["30"])
    assert (found["set"], found["status"]) == (set, "unknown")
    assert found["failure"]


# The format.


def test_an_answer_is_filed_under_its_trace_and_member() -> None:
    keys = FORMAT.keys(answer_271("EB*1**30"), {})
    assert (keys.type, keys.control_id) == ("271", "000000007")
    assert list(keys.member) == ["W100"]
    assert list(keys.other) == [("trace", "TRACE1")]


@pytest.mark.parametrize(
    ("data", "type"),
    [
        (interchange(group(transaction("999", "AK1*HS*7", "AK9*A*1*1*1"), kind="999")), "999"),
        ((ISA + "TA1*000000050*261130*1430*A*000~IEA*0*000000007~").encode(), "TA1"),
        (built().encode(), "270"),
        (b"<html></html>", ""),
        (b"", ""),
    ],
)
def test_a_file_is_filed_under_what_it_holds(data: bytes, type: str) -> None:
    assert FORMAT.keys(data, {}).type == type


@pytest.mark.parametrize("asked", ["TRACE1", ""])
def test_the_answer_to_our_question_is_opened(asked: str) -> None:
    message = Message(answer_271("EB*1**30**GOLD"), "x12", headers={"trace": asked, "service_types": "30"})
    fields = FORMAT.open(message)
    assert fields.get("status") == "active"
    assert fields.get("plan") == "GOLD"
    assert fields.get("failure") is None
    assert fields.get("subscriber.member_id") == "W100"
    assert fields.get_all("trace_numbers[*]") == ["TRACE1"]
    assert fields.get("benefits[1].service_types[1]") == "30"


def test_the_answer_to_another_question_is_a_failure() -> None:
    fields = FORMAT.open(Message(answer_271("EB*1**30"), "x12", headers={"trace": "OTHER"}))
    assert "another question" in (fields.get("failure") or "")


def test_the_service_types_that_were_asked_for_choose_the_amount() -> None:
    body = answer_271("EB*1**30", "EB*B**98***27*25*****Y", "EB*B**UC***27*75*****Y")
    for asked, amount in (("98", "25"), ("UC", "75"), ("30 UC", "75"), ("", "25")):
        fields = FORMAT.open(Message(body, "x12", headers={"service_types": asked}))
        assert fields.get("chosen.co_payment.amount") == amount


@pytest.mark.parametrize("path", sorted(ANSWER_FIELDS))
def test_every_field_of_an_answer_is_a_path(path: str) -> None:
    assert FORMAT.path_error(path) is None
    assert FORMAT.path_error(f"{path}.x") is None


@pytest.mark.parametrize("path", ["", "statsu", "PID-3.1", "copay"])
def test_a_path_no_answer_has_is_named(path: str) -> None:
    assert repr(path) in (FORMAT.path_error(path) or "")


def test_what_a_270_cannot_say_is_named() -> None:
    assert "'member'" in (FORMAT.target_error("member") or "")
    assert all(FORMAT.target_error(field) is None for field in INQUIRY_FIELDS)


# Writing.

VALUES: dict[str, Any] = {
    "sender": "CLINIC", "receiver": "CLEARING", "usage": "P", "payer.name": "Acme", "payer.id": "60054",
    "provider.name": "Riverside", "provider.npi": "1234567893", "member_id": "W100", "relationship": "self",
    "subscriber.family": "Doe", "patient.family": "Smith", "patient.given": "Jane", "patient.birth_date": date(1980, 2, 29),
    "patient.sex": "F", "service_date": date(2026, 12, 1), "service_types": ["30", "98"],
}  # fmt: skip


def context(number: int = 7) -> Any:
    async def next_number(name: str) -> int:
        assert name == "x12_interchange"
        return number

    site = SimpleNamespace(zone=ZoneInfo("America/Chicago"))
    now = datetime(2026, 12, 1, 3, 30, tzinfo=UTC)
    return SimpleNamespace(new_id=lambda prefix="": "abc123", number=next_number, now=now, site=site)


async def write(number: int = 7, **changes: Any) -> Message:
    values = {k: v for k, v in {**VALUES, **changes}.items() if v is not None}
    return await FORMAT.write(values, Message(b"{}", "visit"), context(number))


async def test_a_mapping_writes_a_270_with_the_clinics_time_and_a_trace() -> None:
    message = await write()
    assert (message.format, message.type) == ("x12", "270")
    found = read_270(message.body.decode())
    assert found.trace[2] == message.headers["trace"] == found.reference
    assert message.headers["service_types"] == "30 98"
    assert found.control_number == "000000007"
    assert "*261130*2130*" in message.body.decode()
    assert report.describe(message.body)["findings"] == []


async def test_the_subscriber_is_as_the_card_says_and_else_as_the_chart() -> None:
    found = read_270((await write()).body.decode())
    assert found.subscriber[3:5] == ["DOE", "JANE"]
    assert found.birth_dates == ["22:19800229"]
    assert found.dependent == []


async def test_the_patient_of_another_relationship_is_a_dependent() -> None:
    message = await write(relationship="child")
    found = read_270(message.body.decode())
    assert found.subscriber[3:5][0] == "DOE"
    assert found.dependent[3:5] == ["SMITH", "JANE"]
    assert found.birth_dates == ["23:19800229"]


@pytest.mark.parametrize("field", ["service_date", "payer.id", "provider.npi", "service_types", "sender", "receiver"])
async def test_a_270_that_lacks_something_is_not_written(field: str) -> None:
    with pytest.raises(MessageUnusable):
        await write(**{field: None})


@pytest.mark.parametrize(("counter", "number"), [(999_999_999, "999999999"), (1_000_000_000, "000000001"), (1, "000000001")])
async def test_the_control_number_starts_again_after_nine_digits(counter: int, number: str) -> None:
    assert read_270((await write(counter)).body.decode()).control_number == number


async def test_the_answer_to_what_was_written_is_ours() -> None:
    message = await write(**{"subscriber.family": "Doe"})
    member = Member("60054", "W100", "Doe", "Jane", "19800229")
    reply = Message(MemberTable([member]).answer(message.body.decode()).encode(), "x12", headers=message.headers)
    assert FORMAT.open(reply).get("failure") is None
    assert FORMAT.open(reply).get("status") == "active"


async def test_a_mapping_can_say_what_some_payers_want_besides() -> None:
    besides = {"service_end": date(2026, 12, 31), "provider.taxonomy": "207Q00000X", "references": ["SY:123456789"],
               "provider.references": "TJ:987654321", "repeat_types": "true"}  # fmt: skip
    text = (await write(**besides)).body.decode()
    for part in (
        "DTP*291*RD8*20261201-20261231~",
        "PRV*BI*PXC*207Q00000X~",
        "REF*SY*123456789~",
        "REF*TJ*987654321~",
        "EQ*30^98~",
    ):
        assert part in text
    assert report.describe(text.encode())["findings"] == []


async def test_the_day_of_the_visit_decides_whether_the_plan_is_in_force() -> None:
    body = answer_271("DTP*347*D8*20261031", "EB*1**30")
    for day, status in (("2026-10-31", "active"), ("2026-11-01", "active_review"), ("", "active")):
        assert FORMAT.open(Message(body, "x12", headers={"service_date": day})).get("status") == status
